//! Circuits by their rules (`spec/book/circuits.md`): linear maps, sums, polynomials, reciprocals and inverse square
//! roots.
//!
//! Every circuit is a fixed sequence of operations, so its result is the same integers in every implementation. The
//! plan of a polynomial and the schedule of a linear map are derived here from the rules alone.

mod bootstrap;
mod embedding;
mod inverse;
mod linear;
mod polynomial;
mod sparse;
mod sums;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_bootstrap;
#[cfg(test)]
mod tests_sparse;

pub use bootstrap::{Bootstrap, BootstrapMaps, EphemeralKeys, SlotKind};
pub use embedding::SlotMatrix;
pub use inverse::{Goldschmidt, Relaxation, Start};
pub use linear::{LinearMap, Raised, Schedule};
pub use polynomial::{Basis, Plan, Sum};
pub use sparse::{SparseBootstrap, SparseMaps};

use crate::ckks::{Ciphertext, Evaluator, KeySwitchKey, Parameters, rotation_element};
use crate::error::ReferenceError;
use std::collections::BTreeMap;

/// Evaluation keys by key id (`r[ckks.key.switch]`): 0 for relinearisation, `g` for the automorphism `X -> X^g`.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    by_id: BTreeMap<u32, KeySwitchKey>,
}

impl Keys {
    /// No keys.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Files a key under its id.
    pub fn insert(&mut self, key: KeySwitchKey) {
        self.by_id.insert(key.key_id, key);
    }

    fn get(&self, operation: &'static str, key_id: u32) -> Result<&KeySwitchKey, ReferenceError> {
        self.by_id.get(&key_id).ok_or(ReferenceError::MissingKey { operation, key_id })
    }
}

/// Runs circuits of one parameter set with one set of keys.
#[derive(Clone, Copy, Debug)]
pub struct Circuits<'a> {
    params: &'a Parameters,
    evaluator: Evaluator<'a>,
    keys: &'a Keys,
}

impl<'a> Circuits<'a> {
    /// Circuits over `params`; keys are looked up when a circuit needs them.
    #[must_use]
    pub fn new(params: &'a Parameters, keys: &'a Keys) -> Self {
        Self { params, evaluator: Evaluator::new(params), keys }
    }

    /// The operations that the circuits are made of.
    #[must_use]
    pub fn evaluator(&self) -> Evaluator<'a> {
        self.evaluator
    }

    /// Rotation with the key looked up (`r[ckks.rotate]`).
    ///
    /// # Errors
    /// [`ReferenceError::MissingKey`]; those of [`Evaluator::rotate`].
    pub fn rotate(&self, a: &Ciphertext, steps: i64) -> Result<Ciphertext, ReferenceError> {
        if self.is_copy(steps) {
            return Ok(a.clone());
        }
        self.evaluator.rotate(a, steps, self.rotation_key("rotation", steps)?)
    }

    /// Relinearisation with the key looked up (`r[ckks.relin]`).
    ///
    /// # Errors
    /// [`ReferenceError::MissingKey`]; those of [`Evaluator::relinearise`].
    pub fn relinearise(&self, a: &Ciphertext) -> Result<Ciphertext, ReferenceError> {
        let key = self.keys.get("relinearisation", touchstone_spec::sampling::RELINEARISATION_KEY_ID)?;
        self.evaluator.relinearise(a, key)
    }

    fn rotation_key(&self, operation: &'static str, steps: i64) -> Result<&'a KeySwitchKey, ReferenceError> {
        self.keys.get(operation, rotation_element(self.params, steps))
    }

    /// Whether a rotation is by a multiple of the number of slots.
    fn is_copy(&self, steps: i64) -> bool {
        steps.rem_euclid(self.params.slots() as i64) == 0
    }

    /// Refuses a ciphertext that is fewer than `depth` steps above the bottom or has not the canonical scale of its level.
    fn check_input(&self, operation: &'static str, a: &Ciphertext, depth: usize) -> Result<(), ReferenceError> {
        if self.params.below(a.level, depth).is_none() {
            return Err(ReferenceError::LevelExhausted { operation, expected: depth, got: a.level });
        }
        let expected = self.params.canonical_scale(a.level)?;
        if a.scale == expected {
            return Ok(());
        }
        Err(ReferenceError::ScaleMismatch { operation, expected, got: a.scale })
    }
}
