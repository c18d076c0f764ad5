//! Reference and engine side by side: the same keys, the same inputs, results in one form.

use crate::ConformError;
use crate::scheme::draws::Draws;
use crate::scheme::fixture::{EngineSide, Output, ReferenceSide};
use crate::scheme::side;
use touchstone_ckks::{self as ckks, CkksError, EvaluationKeys, Evaluator, KeyGenerator};
use touchstone_reference::circuits::{Circuits, Keys};
use touchstone_reference::ckks as exact;
use touchstone_reference::error::ReferenceError;

/// Both sides of one preset under one kernel.
pub struct Pair<'a> {
    /// The reference.
    pub reference: &'a ReferenceSide,
    /// The engine.
    pub engine: &'a EngineSide,
}

/// One ciphertext on both sides.
pub struct Both {
    /// For the reference.
    pub exact: exact::Ciphertext,
    /// For the engine.
    pub fast: ckks::Ciphertext,
}

impl<'a> Pair<'a> {
    /// Sides made from one seed.
    pub fn new(reference: &'a ReferenceSide, engine: &'a EngineSide) -> Self {
        Self { reference, engine }
    }

    /// The top level.
    pub fn top(&self) -> usize {
        self.reference.params.max_level()
    }

    /// Number of slots.
    pub fn slots(&self) -> usize {
        self.reference.params.slots()
    }

    /// A random level of at least `depth`.
    pub fn level(&self, draws: &mut Draws, depth: usize) -> usize {
        depth + draws.below((self.top() - depth + 1) as u64) as usize
    }

    /// A canonical ciphertext of uniform residues.
    pub fn uniform(&self, draws: &mut Draws, level: usize) -> Result<Both, ConformError> {
        let scale = self.exact(self.reference.params.canonical_scale(level))?;
        self.labelled(draws, level, scale)
    }

    /// A ciphertext of uniform residues with the given label.
    pub fn labelled(&self, draws: &mut Draws, level: usize, scale: f64) -> Result<Both, ConformError> {
        let params = &self.reference.params;
        let primes = &params.q()[..=level];
        let polys = [draws.poly(params.n(), primes), draws.poly(params.n(), primes)];
        Ok(Both {
            exact: self.exact(self.reference.ciphertext(&polys, scale))?,
            fast: self.fast(self.engine.ciphertext(&polys, scale))?,
        })
    }

    /// Keys of both sides for use up to `level`: relinearisation and the given rotations.
    pub fn keys(
        &self,
        rotations: impl IntoIterator<Item = i64>,
        level: usize,
    ) -> Result<(Keys, EvaluationKeys), ConformError> {
        let (r, e) = (self.reference, self.engine);
        let generator = KeyGenerator::new(&e.context, e.seed.clone());
        let (mut exact_keys, mut fast_keys) = (Keys::new(), EvaluationKeys::new());
        exact_keys.insert(r.relin.clone());
        fast_keys.insert(self.fast(generator.relinearisation_key(&e.secret, self.top()))?);
        for steps in rotations {
            let g = exact::rotation_element(&r.params, steps);
            exact_keys.insert(self.exact(exact::KeySwitchKey::galois(&r.params, &r.seed, &r.secret, g, level))?);
            fast_keys.insert(self.fast(generator.rotation_key(&e.secret, steps, level))?);
        }
        Ok((exact_keys, fast_keys))
    }

    /// Runs a circuit on both sides, with keys for relinearisation and the given rotations.
    pub fn run(
        &self,
        rotations: impl IntoIterator<Item = i64>,
        reference: impl FnOnce(&Circuits<'_>) -> Result<exact::Ciphertext, ReferenceError>,
        engine: impl FnOnce(&Evaluator) -> Result<ckks::Ciphertext, CkksError>,
    ) -> Result<(Output, Output), ConformError> {
        let (exact_keys, fast_keys) = self.keys(rotations, self.top())?;
        let expected = self.exact(reference(&Circuits::new(&self.reference.params, &exact_keys)))?;
        let got = self.fast(engine(&Evaluator::new(&self.engine.context, &fast_keys)))?;
        Ok((self.exact(self.reference.output(&expected))?, self.engine.cipher_output(&got)))
    }

    /// A result of the reference.
    pub fn exact<T>(&self, result: Result<T, ReferenceError>) -> Result<T, ConformError> {
        result.map_err(|error| side("reference", "circuit", error))
    }

    /// A result of the engine.
    pub fn fast<T>(&self, result: Result<T, CkksError>) -> Result<T, ConformError> {
        result.map_err(|error| side("optimized", "circuit", error))
    }
}
