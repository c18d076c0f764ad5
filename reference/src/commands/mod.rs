//! The subcommands, one file each.

mod approx;
mod card;
mod eval;
mod export;
mod model;
mod noise;
mod synth;
mod vectors;

use clap::Subcommand;

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Calibrate a trained model and write its polynomial-model directory.
    Export(export::Export),
    /// Draw the weights of a model from a seed and write its polynomial-model directory.
    Synth(synth::Synth),
    /// Fit a polynomial to one function and certify its error.
    Approx(approx::Approx),
    /// Evaluate one function in interval arithmetic.
    Eval(Box<eval::Eval>),
    /// Evaluate a model on a prompt in interval arithmetic.
    Model(model::Run),
    /// Measure the noise of every primitive against its rule.
    Noise(noise::Noise),
    /// Write the test vectors, or check those of the repository.
    Vectors(vectors::Vectors),
}

/// Runs one command; its result goes to standard output.
pub fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Export(arguments) => export::run(&arguments),
        Command::Synth(arguments) => synth::run(&arguments),
        Command::Approx(arguments) => approx::run(&arguments),
        Command::Eval(arguments) => eval::run(&arguments),
        Command::Model(arguments) => model::run(&arguments),
        Command::Noise(arguments) => noise::run(&arguments),
        Command::Vectors(arguments) => vectors::run(&arguments),
    }
}
