//! Scheme cases: every CKKS operation, reference against engine, bit for bit (`r[conform.exact]`).
//!
//! Inputs of most operations are ciphertexts whose residues are uniform, at a random level: they exercise the whole
//! range of every limb, which honest ciphertexts of small messages would do as well but for keys that happen to agree.
//! The engine runs each draw under every kernel that the machine has.

pub(crate) mod draws;
pub(crate) mod fixture;
mod keys;
mod operations;

use crate::case::{Case, Cost};
use crate::{CaseOutcome, ConformError, Options, Verdict};
use draws::Draws;
use fixture::{Fixture, Output};
use std::cell::OnceCell;
use std::rc::Rc;

/// Presets of the scheme cases, with the divisor of the number of draws that keeps the slow side in minutes.
const PRESETS: [(&str, usize); 3] = [("toy-n5", 1), ("toy-n8", 1), ("small-n12", 100)];
/// Key cases draw whole key sets, each as costly as hundreds of operations.
const KEY_DIVISORS: [usize; 3] = [1, 20, 500];

/// All scheme cases.
#[must_use]
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for ((preset, divisor), key_divisor) in PRESETS.into_iter().zip(KEY_DIVISORS) {
        for key in keys::all() {
            let about = format!("{}; drawn from the same seeds by reference and engine at {preset}.", key.about);
            cases.push(Case::new(
                format!("scheme/{}/{preset}", key.name),
                key.rule,
                about,
                Cost::Quick,
                move |options| keys::run(&key, preset, share(options.draws, key_divisor), options.seed),
            ));
        }
        // The fixture (keys of both sides) is shared by the operations of a preset and made when the first one runs.
        let fixture: Rc<OnceCell<Fixture>> = Rc::default();
        for operation in operations::all() {
            let fixture = Rc::clone(&fixture);
            let about = format!("{}; every limb of the result at {preset}.", operation.about);
            let id = format!("scheme/{}/{preset}", operation.name);
            cases.push(Case::new(id, operation.rule, about, Cost::Quick, move |options| {
                if fixture.get().is_none() {
                    let _ = fixture.set(Fixture::new(preset, options.seed)?);
                }
                let fixture = fixture.get().ok_or_else(|| side("reference", "fixture", "was not made"))?;
                run(&operation, fixture, share(options.draws, divisor), options)
            }));
        }
    }
    cases
}

pub(crate) fn share(draws: usize, divisor: usize) -> usize {
    draws.div_ceil(divisor)
}

pub(crate) fn side(side: &'static str, operation: impl ToString, message: impl ToString) -> ConformError {
    ConformError::Side { side, operation: operation.to_string(), message: message.to_string() }
}

fn run(
    operation: &operations::Operation,
    fixture: &Fixture,
    count: usize,
    options: &Options,
) -> Result<CaseOutcome, ConformError> {
    let mut draws = Draws::new(options.seed, operation.name);
    let mut compared = 0;
    for draw in 0..count {
        let inputs = draws.inputs(fixture, operation.min_level, draw as u32);
        let expected =
            (operation.reference)(&fixture.reference, &inputs).map_err(|e| side("reference", operation.name, e))?;
        for engine in &fixture.engines {
            let got = (operation.engine)(engine, &inputs)?;
            if let Some(difference) = first_difference(&expected, &got, operation.unit_tolerance) {
                let place = format!("draw {draw}, kernel {:?}, level {}", engine.kernel, inputs.level);
                return Ok(CaseOutcome::new(Verdict::Fail, format!("{place}: {difference}"), draw + 1));
            }
            compared += expected.residue_count();
        }
    }
    let kernels: Vec<String> = fixture.engines.iter().map(|engine| format!("{:?}", engine.kernel)).collect();
    let agree = if operation.unit_tolerance == 0 { "equal" } else { "within one unit" };
    let message = format!("{compared} residues {agree}, kernels {}", kernels.join(" and "));
    Ok(CaseOutcome::new(Verdict::Pass, message, count))
}

/// The first place where two results differ, in words; `tolerance` is in units of an integer coefficient and 0 for
/// everything but encoding.
pub(crate) fn first_difference(expected: &Output, got: &Output, tolerance: u64) -> Option<String> {
    if expected.scale.to_bits() != got.scale.to_bits() {
        return Some(format!("scale label: expected {:e}, got {:e}", expected.scale, got.scale));
    }
    if expected.shape() != got.shape() {
        return Some(format!("shape: expected {:?}, got {:?}", expected.shape(), got.shape()));
    }
    for (p, (expected_poly, got_poly)) in expected.polys.iter().zip(&got.polys).enumerate() {
        for (l, (want, have)) in expected_poly.iter().zip(got_poly).enumerate() {
            let unequal = |(a, b): (&u64, &u64)| a != b && !within(*a, *b, tolerance, expected.primes[l]);
            if let Some(t) = want.iter().zip(have).position(unequal) {
                let (want, have) = (want[t], have[t]);
                return Some(format!("polynomial {p}, limb {l}, coefficient {t}: expected {want}, got {have}"));
            }
        }
    }
    None
}

/// Whether two residues modulo `q` are at most `tolerance` apart, cyclically.
fn within(a: u64, b: u64, tolerance: u64, q: u64) -> bool {
    let distance = a.abs_diff(b);
    distance.min(q - distance) <= tolerance
}

#[cfg(test)]
mod tests;
