//! Circuits on ciphertexts: linear maps, polynomials, reciprocals, inverse square roots and bootstrapping.
//!
//! Circuits take and return ciphertexts of canonical scale (`r[ckks.scale.canonical]`) unless they say otherwise. Sums are formed *before*
//! a rescale, where a product of canonical ciphertexts of level `l` has the label `fl(D_l D_l)`: a weight given towards
//! that label costs no level, and the one rescale after it lands on the canonical scale of level `l - 1` exactly.

pub mod bootstrap;
pub mod inverse;
pub mod linear;
pub mod polynomial;
#[cfg(test)]
pub(crate) mod testing;

use crate::{Ciphertext, CkksError, Evaluator};

/// Refuses a ciphertext that is fewer than `depth` steps above the bottom or has not the canonical scale of its level.
fn check_input(operation: &'static str, evaluator: &Evaluator, ct: &Ciphertext, depth: usize) -> Result<(), CkksError> {
    if evaluator.context().parameters().below(ct.level(), depth).is_none() {
        return Err(CkksError::LevelExhausted { operation, expected: depth, got: ct.level() });
    }
    let expected = evaluator.context().parameters().canonical_scale(ct.level());
    if ct.scale() != expected {
        return Err(CkksError::Scale { operation, expected, got: ct.scale() });
    }
    Ok(())
}

/// The label of a product of two canonical ciphertexts of level `level` before its rescale.
fn product_label(evaluator: &Evaluator, level: usize) -> f64 {
    let scale = evaluator.context().parameters().canonical_scale(level);
    scale * scale
}

/// `c * ct` as a summand of a sum that is formed at `level` and rescaled afterwards.
///
/// `ct` is canonical at `level` or above; the result has level `level` and the label of products there.
fn summand(evaluator: &Evaluator, ct: &Ciphertext, c: f64, level: usize) -> Result<Ciphertext, CkksError> {
    evaluator.weighted_sum(&[(ct, c)], level, product_label(evaluator, level))
}
