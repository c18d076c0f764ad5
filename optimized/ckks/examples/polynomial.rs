//! A sigmoid on every slot by a Chebyshev polynomial, its error beside the predicted bound.
//!
//! ```text
//! cargo run --release -p touchstone-ckks --example polynomial [-- PRESET]
//! ```

use std::f64::consts::PI;
use touchstone_ckks::circuits::polynomial::{Plan, Polynomial};
use touchstone_ckks::debug::{DebugSession, OnViolation, Tap};
use touchstone_ckks::prediction::TrackedEvaluator;
use touchstone_ckks::{
    CkksError, Complex64, Context, EvaluationKeys, Evaluator, KeyGenerator, Parameters, Security, Seed,
};

/// The slots lie in `[-RANGE, RANGE]`.
const RANGE: f64 = 8.0;
const DEGREE: usize = 31;

fn main() -> Result<(), CkksError> {
    let preset = std::env::args().nth(1).unwrap_or_else(|| "n15-leveled".to_owned());
    let context = Context::new(Parameters::preset(&preset, Security::AllowInsecure)?)?;
    let n = context.parameters().slots();
    println!("{preset}, secure: {}; {n} numbers", context.parameters().is_secure());

    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let polynomial = Polynomial::chebyshev(interpolate(|u| sigmoid(RANGE * u)))?;
    // One level maps [-RANGE, RANGE] to [-1, 1], the polynomial takes ceil(log2(degree + 1)).
    let level = 1 + Plan::new(&polynomial).depth();
    println!("degree {DEGREE}, {level} levels");

    let generator = KeyGenerator::new(&context, Seed::from_os()?);
    let secret = generator.secret_key();
    let public = generator.public_key(&secret)?;
    let mut keys = EvaluationKeys::new();
    keys.insert(generator.relinearisation_key(&secret, level)?);
    let server = TrackedEvaluator::new(&Evaluator::new(&context, &keys));
    let x: Vec<f64> = (0..n).map(|j| RANGE * (2.0 * j as f64 / (n - 1) as f64 - 1.0)).collect();
    let ct = server.encrypt_public(&public, &complex(&x), level, &Seed::from_os()?, 0)?;

    let start = std::time::Instant::now();
    let argument = server.normalise(&ct, -RANGE, RANGE)?;
    let result = server.polynomial(&argument, &polynomial)?;
    println!("computed in {:.3} s", start.elapsed().as_secs_f64());

    // A guard on the argument: outside [-1, 1] a Chebyshev polynomial explodes.
    let mut session = DebugSession::new(&context, &secret, OnViolation::Fail)?;
    println!("{}", session.tap(&Tap::new("argument").within(-1.0, 1.0), &argument)?);
    let expected: Vec<f64> = x.iter().map(|x| polynomial.evaluate(x / RANGE)).collect();
    println!("{}", session.tap(&Tap::new("polynomial").expecting(&complex(&expected)), &result)?);
    let distance = x.iter().zip(&expected).map(|(x, p)| (sigmoid(*x) - p).abs()).fold(0.0, f64::max);
    println!("the polynomial itself is within {distance:.1e} of the sigmoid");
    Ok(())
}

/// Chebyshev coefficients of the interpolation of `f` at the zeros of `T_(DEGREE + 1)`.
fn interpolate(f: impl Fn(f64) -> f64) -> Vec<f64> {
    let points = DEGREE + 1;
    let angle = |i: usize| (i as f64 + 0.5) * PI / points as f64;
    let coefficient = |k: usize| {
        let sum: f64 = (0..points).map(|i| f(angle(i).cos()) * (k as f64 * angle(i)).cos()).sum();
        sum * if k == 0 { 1.0 } else { 2.0 } / points as f64
    };
    (0..points).map(coefficient).collect()
}

fn complex(x: &[f64]) -> Vec<Complex64> {
    x.iter().map(|x| Complex64::new(*x, 0.0)).collect()
}
