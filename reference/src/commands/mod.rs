//! The subcommands, one file each.

mod export;

use clap::Subcommand;

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Calibrate a trained model and write its polynomial-model directory.
    Export(export::Export),
}

/// Runs one command; its result goes to standard output.
pub fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Export(arguments) => export::run(&arguments),
    }
}
