//! Circuits on tracked ciphertexts.

use super::{MapNorms, Tracked, TrackedEvaluator};
use crate::CkksError;
use crate::circuits::bootstrap::Bootstrapper;
use crate::circuits::linear::{self, PreparedMap};
use crate::circuits::polynomial::{self, Polynomial};

impl TrackedEvaluator {
    /// [`PreparedMap::apply`]; `norms` are the map's own.
    ///
    /// # Errors
    /// As [`PreparedMap::apply`].
    pub fn linear_map(
        &self,
        a: &Tracked,
        map: &PreparedMap,
        norms: &MapNorms,
        target: Option<f64>,
    ) -> Result<Tracked, CkksError> {
        let image = map.apply(self.evaluator(), a.ciphertext(), target)?;
        Tracked::new(image, self.predictor().linear_map(a.prediction(), norms, target)?)
    }

    /// [`linear::inner_sum`].
    ///
    /// # Errors
    /// As [`linear::inner_sum`].
    pub fn inner_sum(&self, a: &Tracked, count: usize, stride: i64) -> Result<Tracked, CkksError> {
        let sum = linear::inner_sum(self.evaluator(), a.ciphertext(), count, stride)?;
        Tracked::new(sum, self.predictor().inner_sum(a.prediction(), count, stride)?)
    }

    /// [`polynomial::normalise`].
    ///
    /// # Errors
    /// As [`polynomial::normalise`].
    pub fn normalise(&self, a: &Tracked, lo: f64, hi: f64) -> Result<Tracked, CkksError> {
        let normalised = polynomial::normalise(self.evaluator(), a.ciphertext(), lo, hi)?;
        Tracked::new(normalised, self.predictor().normalise(a.prediction(), lo, hi)?)
    }

    /// [`polynomial::evaluate`] of slots that are real.
    ///
    /// # Errors
    /// As [`polynomial::evaluate`], and [`CkksError::Argument`] for a magnitude above 1.
    pub fn polynomial(&self, a: &Tracked, polynomial: &Polynomial) -> Result<Tracked, CkksError> {
        let prediction = self.predictor().polynomial(a.prediction(), polynomial)?;
        Tracked::new(polynomial::evaluate(self.evaluator(), a.ciphertext(), polynomial)?, prediction)
    }

    /// [`Bootstrapper::bootstrap`].
    ///
    /// # Errors
    /// As [`Bootstrapper::bootstrap`], and [`CkksError::Argument`] for a magnitude above `sqrt 2`.
    pub fn bootstrap(&self, a: &Tracked, bootstrapper: &Bootstrapper) -> Result<Tracked, CkksError> {
        let prediction = self.predictor().bootstrap(a.prediction(), bootstrapper)?;
        Tracked::new(bootstrapper.bootstrap(self.evaluator(), a.ciphertext())?, prediction)
    }

    /// [`Bootstrapper::bootstrap_real`].
    ///
    /// # Errors
    /// As [`TrackedEvaluator::bootstrap`].
    pub fn bootstrap_real(&self, a: &Tracked, bootstrapper: &Bootstrapper) -> Result<Tracked, CkksError> {
        let prediction = self.predictor().bootstrap(a.prediction(), bootstrapper)?;
        Tracked::new(bootstrapper.bootstrap_real(self.evaluator(), a.ciphertext())?, prediction)
    }
}
