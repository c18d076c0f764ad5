//! A plain matrix times an encrypted vector, its error beside the predicted bound.
//!
//! ```text
//! cargo run --release -p touchstone-ckks --example matrix [-- PRESET]
//! ```

use std::collections::BTreeMap;
use touchstone_ckks::circuits::linear::LinearMap;
use touchstone_ckks::debug::{DebugSession, OnViolation, Tap};
use touchstone_ckks::prediction::{MapNorms, TrackedEvaluator};
use touchstone_ckks::{
    CkksError, Complex64, Context, EvaluationKeys, Evaluator, KeyGenerator, Parameters, Security, Seed,
};

/// Rows and columns.
const SIZE: usize = 64;
/// Level of the vector; the product takes one.
const LEVEL: usize = 2;

fn main() -> Result<(), CkksError> {
    let preset = std::env::args().nth(1).unwrap_or_else(|| "n15-leveled".to_owned());
    let context = Context::new(Parameters::preset(&preset, Security::AllowInsecure)?)?;
    let n = context.parameters().slots();
    println!(
        "{preset}, secure: {}; {SIZE} x {SIZE} on vectors repeated in {n} slots",
        context.parameters().is_secure()
    );

    let entry = |row: usize, column: usize| ((row * SIZE + column) as f64).sin() / SIZE as f64;
    let vector = |slot: usize| ((slot % SIZE) as f64).cos();

    // Diagonal r holds in slot j the entry by which slot j + r of the input enters slot j of the result.
    let diagonal = |r: usize| (0..n).map(|j| Complex64::new(entry(j % SIZE, (j + r) % SIZE), 0.0)).collect();
    let diagonals: BTreeMap<i64, Vec<Complex64>> = (0..SIZE).map(|r| (r as i64, diagonal(r))).collect();
    let map = LinearMap::from_diagonals(n, &diagonals)?;

    let generator = KeyGenerator::new(&context, Seed::from_os()?);
    let secret = generator.secret_key();
    let public = generator.public_key(&secret)?;
    let mut keys = EvaluationKeys::new();
    for steps in map.rotations() {
        keys.insert(generator.rotation_key(&secret, steps, LEVEL)?);
    }
    println!("{} diagonals, {} rotations, keys: {:.1} MB", SIZE, map.rotations().len(), keys.bytes() as f64 / 1e6);

    let server = TrackedEvaluator::new(&Evaluator::new(&context, &keys));
    let prepared = map.prepare(server.encoder(), context.parameters().canonical_scale(LEVEL))?;
    let norms = MapNorms::new(&context, &prepared)?;
    let x: Vec<Complex64> = (0..n).map(|j| Complex64::new(vector(j), 0.0)).collect();
    let ct = server.encrypt_public(&public, &x, LEVEL, &Seed::from_os()?, 0)?;

    let start = std::time::Instant::now();
    let product = server.linear_map(&ct, &prepared, &norms, None)?;
    println!("computed in {:.3} s", start.elapsed().as_secs_f64());

    let row = |j: usize| (0..SIZE).map(|column| entry(j % SIZE, column) * vector(column)).sum();
    let expected: Vec<Complex64> = (0..n).map(|j| Complex64::new(row(j), 0.0)).collect();
    let mut session = DebugSession::new(&context, &secret, OnViolation::Fail)?;
    println!("{}", session.tap(&Tap::new("matrix times vector").expecting(&expected), &product)?);
    Ok(())
}
