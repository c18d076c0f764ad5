//! Predicted errors, carried beside ciphertexts or without any (rung R3p).
//!
//! A [`Prediction`] says of a ciphertext how large its slots may be, what standard deviation their errors have and which bound holds for
//! them with which probability. A [`Predictor`] has one method per operation of [`Evaluator`](crate::Evaluator) and needs nothing but
//! parameters, so that the precision of a computation can be known before a key exists. A [`TrackedEvaluator`] does both at once: it
//! runs the operation on the ciphertext and carries the prediction along.
//!
//! Rules of prediction are those of `spec/book/noise.md`:
//!
//! | operation | deviation of a slot's real part | bound on a slot's error |
//! |---|---|---|
//! | [`plaintext`](Predictor::plaintext) | `r[noise.encode]` | fresh |
//! | [`encrypt_secret`](Predictor::encrypt_secret), [`encrypt_public`](Predictor::encrypt_public) | `r[noise.fresh.secret]`, `r[noise.fresh.public]` | fresh |
//! | [`add`](Predictor::add), [`sub`](Predictor::sub) | `r[noise.add]` | sum |
//! | [`add_const`](Predictor::add_const), [`mul_const`](Predictor::mul_const) | `r[noise.scalar.add]`, `r[noise.scalar.mul]` | of the rounded constant |
//! | [`mul`](Predictor::mul), [`square`](Predictor::square) | `r[noise.mul]`, `r[noise.square]` | the same with absolute values |
//! | [`relinearise`](Predictor::relinearise), [`rotate`](Predictor::rotate), [`conjugate`](Predictor::conjugate) | `r[noise.keyswitch]`, `r[noise.galois]` | fresh |
//! | [`rescale`](Predictor::rescale) | `r[noise.rescale]` | fresh |
//! | [`linear_map`](Predictor::linear_map) | `r[noise.linear.map]` | row sums times the input's bound, and fresh |
//! | [`polynomial`](Predictor::polynomial) | `r[noise.polynomial]` | step by step along the plan |
//! | [`bootstrap`](Predictor::bootstrap) | `r[boot.noise]`, `r[boot.approximation]` | fresh, and the approximation |
//!
//! *Fresh* means that the error is new and enters the bound with `D` deviations of both parts of a slot (`r[noise.bound.slot]`,
//! `r[noise.worst-case]`). Every product and rescale also counts the rounding of its label (`r[noise.scale-label]`).

mod circuits;
mod map;
mod predictor;
#[cfg(test)]
mod tests;
mod tracked;
mod tracked_circuits;

pub use map::MapNorms;
pub use predictor::Predictor;
pub use tracked::{Tracked, TrackedEvaluator};

/// What is known of a plaintext (degree 0) or a ciphertext without decrypting it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction {
    /// Level.
    pub level: usize,
    /// Scale label (`r[ckks.scale]`).
    pub scale: f64,
    /// Degree in the secret: 0 for a plaintext, 2 after a product that is not relinearised.
    pub degree: usize,
    /// Bound on the absolute value of every slot without its error (`r[noise.magnitude]`).
    pub magnitude: f64,
    /// Standard deviation of the error of a slot's real part, and of its imaginary part: the largest of all slots if they
    /// differ, over the choice of keys (`r[noise.tracked]`).
    pub deviation: f64,
    /// Bound on the absolute value of every slot's error.
    pub bound: f64,
    /// Probability that some slot's error exceeds [`Prediction::bound`], at most.
    pub failure: f64,
}

impl Prediction {
    /// The prediction with another bound on the slots, which the caller vouches for.
    #[must_use]
    pub fn with_magnitude(self, magnitude: f64) -> Self {
        Self { magnitude, ..self }
    }

    /// Bits of an error of one deviation below 1.
    #[must_use]
    pub fn bits(&self) -> f64 {
        -self.deviation.log2()
    }
}
