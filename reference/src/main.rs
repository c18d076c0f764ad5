//! Command line of the reference: artifacts, approximations, single functions and whole models in interval arithmetic.

mod commands;

use clap::Parser;
use std::process::ExitCode;

/// Exact values with certified error, and the artifacts that approximate them.
#[derive(Parser)]
#[command(name = "reference", version)]
struct Arguments {
    #[command(subcommand)]
    command: commands::Command,
}

/// Exits with 0 on success, 1 on failure and, by way of the argument parser, 2 on wrong usage.
fn main() -> ExitCode {
    match commands::run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("reference: {error:#}");
            ExitCode::FAILURE
        }
    }
}
