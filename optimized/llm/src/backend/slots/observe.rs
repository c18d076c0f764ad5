//! Predictions at taps.

use super::slot::SlotCt;
use crate::error::Result;
use crate::tap::{Decode, Observer, Place, Tensor};
use num_complex::Complex64;

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

impl Prediction {
    /// What is predicted about tap `name`.
    #[must_use]
    pub fn at(name: &str, ciphertexts: &[&SlotCt], decode: &Decode) -> Self {
        let slots: Vec<&[Complex64]> = ciphertexts.iter().map(|ct| &ct.values[..]).collect();
        let deviation = |place: &Place| place.factor.abs() * ciphertexts[place.ciphertext].variance[place.slot].sqrt();
        let deviation = decode.places.iter().map(|place| place.as_ref().map_or(0.0, deviation)).collect();
        let tensor = Tensor { name: name.to_owned(), shape: decode.shape.clone(), values: decode.values(&slots) };
        Self { tensor, deviation, level: ciphertexts.first().map_or(0, |ct| ct.level) }
    }
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
        self.taps.push(Prediction::at(name, ciphertexts, decode));
        Ok(())
    }
}
