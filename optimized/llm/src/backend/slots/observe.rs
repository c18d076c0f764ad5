//! Predictions at taps.

use super::slot::SlotCt;
use crate::error::Result;
use crate::tap::{Decode, Observer, Tensor};

/// What is predicted about one tap, entry by entry.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// Name, shape and values without noise.
    pub tensor: Tensor,
    /// Root-sum-square estimate of the standard deviation of each entry (`r[noise.rss]`).
    pub deviation: Vec<f64>,
    /// Level of the tap's ciphertexts.
    pub level: usize,
}

/// An observer that keeps a [`Prediction`] per tap.
#[derive(Clone, Debug, Default)]
pub struct Predictions {
    /// Predictions in the order of the circuit.
    pub taps: Vec<Prediction>,
    /// Largest real or imaginary part of a slot that was bootstrapped; above 1 it leaves the range of `r[boot.input]`.
    pub largest_bootstrapped: f64,
}

impl Predictions {
    /// The prediction for tap `name`.
    #[must_use]
    pub fn tap(&self, name: &str) -> Option<&Prediction> {
        self.taps.iter().find(|tap| tap.tensor.name == name)
    }
}

impl Observer<SlotCt> for Predictions {
    fn wants(&self, _name: &str) -> bool {
        true
    }

    fn tap(&mut self, name: &str, ciphertexts: &[&SlotCt], decode: &Decode) -> Result<()> {
        let slots: Vec<_> = ciphertexts.iter().map(|ct| ct.values.clone()).collect();
        let deviations: Vec<Vec<f64>> =
            ciphertexts.iter().map(|ct| ct.variance.iter().map(|v| v.sqrt()).collect()).collect();
        let tensor = Tensor { name: name.to_owned(), shape: decode.shape.clone(), values: decode.values(&slots) };
        let level = ciphertexts.first().map_or(0, |ct| ct.level);
        self.taps.push(Prediction { tensor, deviation: decode.errors(&deviations), level });
        Ok(())
    }
}
