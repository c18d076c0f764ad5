//! `reference approx`: one replacement polynomial with its proof.

use anyhow::bail;
use clap::{Args, ValueEnum};
use touchstone_reference::approx::{certify, error_kind, fit};
use touchstone_spec::artifact::{ErrorKind, Function, Refinement};
use touchstone_spec::hexfloat::HexFloat;

/// The functions that a model replaces.
#[derive(Clone, Copy, ValueEnum)]
enum Name {
    Gelu,
    InverseSqrt,
    Reciprocal,
}

/// Arguments of `reference approx`.
#[derive(Args)]
pub struct Approx {
    /// Function to replace.
    function: Name,
    /// Ends of the interval, such as 0.1,4.5.
    #[arg(long, value_delimiter = ',', num_args = 1, allow_hyphen_values = true, required = true)]
    interval: Vec<f64>,
    /// Degree of the polynomial.
    #[arg(long)]
    degree: usize,
    /// Added to the argument of the inverse square root and of the reciprocal.
    #[arg(long, default_value_t = 0.0)]
    shift: f64,
}

pub fn run(arguments: &Approx) -> anyhow::Result<()> {
    let shift = HexFloat(arguments.shift);
    let function = match arguments.function {
        Name::Gelu => Function::Gelu,
        Name::InverseSqrt => Function::InverseSqrt { shift },
        Name::Reciprocal => Function::Reciprocal { shift },
    };
    let &[a, b] = arguments.interval.as_slice() else {
        bail!("--interval: expected two numbers a,b, got {}", arguments.interval.len());
    };
    let coefficients = fit(&function, [a, b], arguments.degree)?;
    let certificate = certify(&function, [a, b], &coefficients, Refinement::None)?;
    println!("Chebyshev coefficients on [{a}, {b}]:");
    for (k, &c) in coefficients.iter().enumerate() {
        println!("{k:4}  {:<24} {c:e}", HexFloat(c).to_string());
    }
    let kind = match error_kind(&function) {
        ErrorKind::Absolute => "absolute",
        ErrorKind::Relative => "relative",
    };
    println!(
        "certified {kind} error {:.6e} = 2^{:.2} on {} cells; largest error seen {:.6e}",
        certificate.sup_error,
        certificate.sup_error.log2(),
        certificate.cells,
        certificate.witness
    );
    Ok(())
}
