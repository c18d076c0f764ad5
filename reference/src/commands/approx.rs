//! `reference approx`: one polynomial, or one composition of a polynomial and iterations, with its proof.

use anyhow::{Context, bail, ensure};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::io::{Write, stdout};
use touchstone_reference::approx::{
    Certificate, Composite, Domain, Form, Iteration, Method, Parity, Request, Target, approximate, certify_on,
    optimise, polynomial_depth,
};
use touchstone_spec::artifact::{ErrorKind, Refinement};
use touchstone_spec::hexfloat::HexFloat;

/// The functions that can be approximated.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Name {
    /// x (1 + erf(x / sqrt 2)) / 2
    Gelu,
    /// x / (1 + e^-x)
    Silu,
    /// 1 / (1 + e^-x)
    Sigmoid,
    Tanh,
    Erf,
    Exp,
    /// 1 / (x + shift)
    Reciprocal,
    /// 1 / sqrt(x + shift)
    InverseSqrt,
    /// cos(2 pi range x / 2^double-angles)
    Cosine,
    /// sin(2 pi range x / 2^double-angles)
    Sine,
    /// scale arcsin(x) / (2 pi)
    Arcsine,
}

#[derive(Clone, Copy, ValueEnum)]
enum ParityName {
    Even,
    Odd,
}

#[derive(Clone, Copy, ValueEnum)]
enum KindName {
    Absolute,
    Relative,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum MethodName {
    /// Smallest largest error.
    Remez,
    /// Interpolation in Chebyshev points.
    Chebyshev,
    /// Chebyshev series, cut off.
    Series,
    /// Least squares over Chebyshev points.
    LeastSquares,
}

/// Arguments of `reference approx`.
#[derive(Args)]
pub struct Approx {
    /// Function to approximate.
    function: Name,
    /// Ends a,b of the interval, or a,b,c,d,... of a union of intervals; -1,1 unless given for cosine and sine.
    #[arg(long, value_delimiter = ',', num_args = 1, allow_hyphen_values = true)]
    interval: Vec<f64>,
    /// Degree of the polynomial.
    #[arg(long, required_unless_present = "composite", conflicts_with = "composite")]
    degree: Option<usize>,
    /// Powers that the polynomial may have; by default those of the function where the interval is symmetric.
    #[arg(long, conflicts_with = "composite")]
    parity: Option<ParityName>,
    /// Error that is made small and certified: by default relative for reciprocal and inverse-sqrt, else absolute.
    #[arg(long)]
    error_kind: Option<KindName>,
    /// Construction of the polynomial.
    #[arg(long, default_value = "remez", conflicts_with = "composite")]
    method: MethodName,
    /// Added to the argument of reciprocal and inverse-sqrt.
    #[arg(long, default_value_t = 0.0, allow_hyphen_values = true)]
    shift: f64,
    /// Argument range K of cosine and sine.
    #[arg(long, default_value_t = 1.0)]
    range: f64,
    /// Number of double-angle steps that follow a cosine.
    #[arg(long, default_value_t = 0)]
    double_angles: u32,
    /// Factor of arcsine.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Look for the shallowest composition with an error of at most --error: reciprocal and inverse-sqrt only.
    #[arg(long, requires = "error")]
    composite: bool,
    /// Error to reach, such as 1e-6 or 2^-20.
    #[arg(long, requires = "composite", value_parser = parse_error)]
    error: Option<f64>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Reads `2^-20` or a decimal number.
fn parse_error(text: &str) -> Result<f64, String> {
    let value = match text.split_once('^') {
        Some(("2", exponent)) => exponent.parse::<i32>().map(|exponent| 2f64.powi(exponent)).ok(),
        Some(_) => None,
        None => text.parse::<f64>().ok(),
    };
    value
        .filter(|x| *x > 0.0 && x.is_finite())
        .ok_or_else(|| "expected a positive number such as 1e-6 or 2^-20".to_owned())
}

/// Runs the command; the result goes to standard output.
pub fn run(arguments: &Approx) -> anyhow::Result<()> {
    let (target, domain) = (arguments.target()?, arguments.domain()?);
    let kind = match arguments.error_kind {
        Some(KindName::Absolute) => ErrorKind::Absolute,
        Some(KindName::Relative) => ErrorKind::Relative,
        None => target.error_kind(),
    };
    let report = if let Some(error) = arguments.error {
        let &[interval] = domain.pieces() else { bail!("--composite: expected one interval, got {domain}") };
        Report { target, domain, kind, composite: Some(optimise(&target, interval, kind, error)?), polynomial: None }
    } else {
        let degree = arguments.degree.context("--degree is missing")?;
        let (method, parity) = (arguments.method(), arguments.parity());
        let coefficients = approximate(&Request { target, domain: &domain, degree, kind, method, parity })?;
        let certificate = certify_on(&target, &domain, kind, &coefficients, Refinement::None)?;
        Report { target, domain, kind, composite: None, polynomial: Some((coefficients, certificate)) }
    };
    let text = if arguments.json { format!("{:#}", report.json()) } else { report.lines().join("\n") };
    writeln!(stdout(), "{text}").context("standard output")
}

impl Approx {
    fn target(&self) -> anyhow::Result<Target> {
        use Name::{Arcsine, Cosine, InverseSqrt, Reciprocal, Sine};
        let name = self.function;
        let admits = [
            ("--shift", self.shift != 0.0, matches!(name, Reciprocal | InverseSqrt)),
            ("--range", self.range.to_bits() != 1.0f64.to_bits(), matches!(name, Cosine | Sine)),
            ("--double-angles", self.double_angles != 0, matches!(name, Cosine | Sine)),
            ("--scale", self.scale.to_bits() != 1.0f64.to_bits(), matches!(name, Arcsine)),
        ];
        for (flag, given, admitted) in admits {
            ensure!(admitted || !given, "{flag}: {name:?} has no such parameter");
        }
        ensure!(self.double_angles <= 64, "--double-angles: expected at most 64, got {}", self.double_angles);
        let turns = self.range / 2f64.powi(self.double_angles as i32);
        Ok(match name {
            Name::Gelu => Target::Gelu,
            Name::Silu => Target::Silu,
            Name::Sigmoid => Target::Sigmoid,
            Name::Tanh => Target::Tanh,
            Name::Erf => Target::Erf,
            Name::Exp => Target::Exp,
            Reciprocal => Target::Reciprocal { shift: self.shift },
            InverseSqrt => Target::InverseSqrt { shift: self.shift },
            Cosine => Target::Cosine { turns },
            Sine => Target::Sine { turns },
            Arcsine => Target::Arcsine { factor: self.scale },
        })
    }

    fn domain(&self) -> anyhow::Result<Domain> {
        if self.interval.is_empty() && matches!(self.function, Name::Cosine | Name::Sine) {
            return Ok(Domain::interval([-1.0, 1.0])?);
        }
        let (pieces, rest) = self.interval.as_chunks::<2>();
        ensure!(
            rest.is_empty() && !pieces.is_empty(),
            "--interval: expected an even number of ends a,b[,c,d...], got {}",
            self.interval.len()
        );
        Ok(Domain::new(pieces.to_vec())?)
    }

    fn method(&self) -> Method {
        match self.method {
            MethodName::Remez => Method::Minimax,
            MethodName::Chebyshev => Method::Interpolation,
            MethodName::Series => Method::Series,
            MethodName::LeastSquares => Method::LeastSquares,
        }
    }

    fn parity(&self) -> Option<Parity> {
        self.parity.map(|parity| match parity {
            ParityName::Even => Parity::Even,
            ParityName::Odd => Parity::Odd,
        })
    }
}

/// What was found, in both forms of output.
struct Report {
    target: Target,
    domain: Domain,
    kind: ErrorKind,
    polynomial: Option<(Vec<f64>, Certificate)>,
    composite: Option<Composite>,
}

impl Report {
    fn kind(&self) -> &'static str {
        match self.kind {
            ErrorKind::Absolute => "absolute",
            ErrorKind::Relative => "relative",
        }
    }

    fn lines(&self) -> Vec<String> {
        let [a, b] = self.domain.hull();
        let series =
            |coefficients: &[f64]| format!("Chebyshev coefficients on [{a}, {b}], {} levels:", levels(coefficients));
        let mut lines = Vec::new();
        if let Some((coefficients, certificate)) = &self.polynomial {
            lines.push(format!("{:?}: {}", self.target, series(coefficients)));
            lines.extend(reals(coefficients));
            lines.push(self.proved(certificate));
        }
        let Some(composite) = &self.composite else { return lines };
        lines.push(format!(
            "{:?} on [{a}, {b}]: {} levels, {} products",
            self.target, composite.depth, composite.products
        ));
        match &composite.form {
            Form::Refined { coefficients, iteration, steps } => {
                if *steps > 0 {
                    lines.push(format!("{iteration:?} iteration, number of steps {steps}, from the start"));
                }
                lines.push(series(coefficients));
                lines.extend(reals(coefficients));
            }
            Form::Goldschmidt(schedule) => {
                let (start, scale) = (schedule.start, schedule.scale);
                lines.push(format!("Goldschmidt from y = {start}, times {scale} at the end; factors:"));
                lines.extend(reals(&schedule.factors));
            }
        }
        lines.push(self.proved(&composite.certificate));
        lines
    }

    fn proved(&self, certificate: &Certificate) -> String {
        format!(
            "certified {} error {:.6e} = 2^{:.2} on {}: {} cells; largest error seen {:.6e}",
            self.kind(),
            certificate.sup_error,
            certificate.sup_error.log2(),
            self.domain,
            certificate.cells,
            certificate.witness
        )
    }

    fn json(&self) -> Value {
        let mut report = json!({
            "function": format!("{:?}", self.target),
            "intervals": self.domain.pieces().iter().map(|ends| hex(ends)).collect::<Vec<_>>(),
            "error_kind": self.kind(),
        });
        let certificate = |certificate: &Certificate| {
            json!({
                "sup_error": HexFloat(certificate.sup_error),
                "largest_seen": HexFloat(certificate.witness),
                "cells": certificate.cells,
            })
        };
        if let Some((coefficients, proof)) = &self.polynomial {
            report["levels"] = json!(levels(coefficients));
            report["coefficients"] = hex(coefficients);
            report["certificate"] = certificate(proof);
        }
        if let Some(composite) = &self.composite {
            report["levels"] = json!(composite.depth);
            report["products"] = json!(composite.products);
            report["certificate"] = certificate(&composite.certificate);
            match &composite.form {
                Form::Refined { coefficients, iteration, steps } => {
                    report["coefficients"] = hex(coefficients);
                    report["steps"] = json!(steps);
                    report["iteration"] = json!(match iteration {
                        Iteration::Newton => "newton",
                        Iteration::Goldschmidt => "goldschmidt",
                    });
                }
                Form::Goldschmidt(schedule) => {
                    report["start"] = json!(HexFloat(schedule.start));
                    report["factors"] = hex(&schedule.factors);
                    report["scale"] = json!(HexFloat(schedule.scale));
                }
            }
        }
        report
    }
}

/// Levels of the polynomial without its trailing zeros.
fn levels(coefficients: &[f64]) -> usize {
    polynomial_depth(coefficients.iter().rposition(|c| *c != 0.0).unwrap_or(0))
}

fn hex(values: &[f64]) -> Value {
    json!(values.iter().map(|x| HexFloat(*x)).collect::<Vec<_>>())
}

/// One line per number: index, hexadecimal, decimal.
fn reals(values: &[f64]) -> impl Iterator<Item = String> {
    values.iter().enumerate().map(|(k, &value)| format!("{k:4}  {:<24} {value:e}", HexFloat(value).to_string()))
}
