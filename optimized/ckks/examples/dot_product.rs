//! The dot product of two encrypted vectors, its error beside the predicted bound.
//!
//! ```text
//! cargo run --release -p touchstone-ckks --example dot_product [-- PRESET]
//! ```

use touchstone_ckks::circuits::linear::inner_sum_rotations;
use touchstone_ckks::debug::{DebugSession, OnViolation, Tap};
use touchstone_ckks::prediction::TrackedEvaluator;
use touchstone_ckks::{
    CkksError, Complex64, Context, EvaluationKeys, Evaluator, KeyGenerator, Parameters, Security, Seed,
};

/// Level of the inputs: the product takes one, the result keeps one, which is room for a sum of many values.
const LEVEL: usize = 2;

fn main() -> Result<(), CkksError> {
    let preset = std::env::args().nth(1).unwrap_or_else(|| "n15-leveled".to_owned());
    let context = Context::new(Parameters::preset(&preset, Security::AllowInsecure)?)?;
    let n = context.parameters().slots();
    println!("{preset}, secure: {}; vectors of {n} numbers", context.parameters().is_secure());

    // The client makes the keys; secret stays with it, the others go to the server.
    let generator = KeyGenerator::new(&context, Seed::from_os()?);
    let secret = generator.secret_key();
    let public = generator.public_key(&secret)?;
    let mut keys = EvaluationKeys::new();
    keys.insert(generator.relinearisation_key(&secret, LEVEL)?);
    for steps in inner_sum_rotations(n, 1) {
        keys.insert(generator.rotation_key(&secret, steps, LEVEL - 1)?);
    }
    println!("keys: {:.1} MB", keys.bytes() as f64 / 1e6);

    let vector = |phase: f64| (0..n).map(|j| Complex64::new((phase * j as f64).sin(), 0.0)).collect::<Vec<_>>();
    let (x, y) = (vector(0.1), vector(0.1001));
    let server = TrackedEvaluator::new(&Evaluator::new(&context, &keys));
    let seed = Seed::from_os()?;
    let a = server.encrypt_public(&public, &x, LEVEL, &seed, 0)?;
    let b = server.encrypt_public(&public, &y, LEVEL, &seed, 1)?;

    // On the server: the product, then the sum of all slots, which ends in every slot.
    let start = std::time::Instant::now();
    let dot = server.inner_sum(&server.mul_rescale(&a, &b)?, n, 1)?;
    println!("computed in {:.3} s", start.elapsed().as_secs_f64());

    let expected: Complex64 = x.iter().zip(&y).map(|(x, y)| x * y).sum();
    let mut session = DebugSession::new(&context, &secret, OnViolation::Fail)?;
    println!("expected {:.6}", expected.re);
    println!("{}", session.tap(&Tap::new("dot product").expecting(&vec![expected; n]), &dot)?);
    Ok(())
}
