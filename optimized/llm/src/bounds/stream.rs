//! Errors of the residual stream.

use super::norm::{frobenius, length, spectral};
use super::spread::{Spread, VectorError};
use crate::artifact::Matrix;

/// Errors of the stream's vectors, one per token: a direct part, and images of other vectors' errors under matrices.
///
/// The last block's matrices are kept apart until the next one, because along a direction `w` the image of a fresh error
/// under `W` is `|w W|` long, far less than `|w|` times the norm of `W`.
#[derive(Clone)]
pub(super) struct Stream {
    direct: Vec<VectorError>,
    mapped: Vec<Mapped>,
}

/// The image of errors under a matrix.
#[derive(Clone)]
pub(super) struct Mapped {
    weight: Matrix,
    spectral: f64,
    frobenius: f64,
    errors: Vec<VectorError>,
}

impl Mapped {
    /// `weight` times vectors with the given errors.
    pub(super) fn new(weight: Matrix, errors: Vec<VectorError>) -> Self {
        let (spectral, frobenius) =
            (spectral(&weight, 0..weight.rows, 0..weight.cols), frobenius(&weight, 0..weight.rows));
        Self { weight, spectral, frobenius, errors }
    }

    /// Error of entry `c` of the image.
    pub(super) fn entry(&self, token: usize, c: usize) -> Spread {
        self.errors[token].along() * length(self.weight.row(c))
    }

    /// Length of the row vector `w` times the matrix.
    fn pulled(&self, w: &[f64]) -> f64 {
        let mut sums = vec![0.0; self.weight.cols];
        for (factor, row) in w.iter().zip(self.weight.data.chunks(self.weight.cols)) {
            sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += factor * x);
        }
        length(&sums)
    }
}

impl Stream {
    /// Errors without matrices.
    pub(super) fn new(direct: Vec<VectorError>) -> Self {
        Self { direct, mapped: Vec::new() }
    }

    /// Number of tokens.
    pub(super) fn tokens(&self) -> usize {
        self.direct.len()
    }

    /// The stream of the last `count` tokens, or of all if there are fewer.
    pub(super) fn last_tokens(&self, count: usize) -> Self {
        let last = |errors: &[VectorError]| errors[errors.len().saturating_sub(count)..].to_vec();
        let mapped = self.mapped.iter().map(|mapped| Mapped { errors: last(&mapped.errors), ..mapped.clone() });
        Self { direct: last(&self.direct), mapped: mapped.collect() }
    }

    /// The stream with matrices multiplied out.
    pub(super) fn settled(&self) -> Self {
        Self::new((0..self.tokens()).map(|token| self.collapsed(token)).collect())
    }

    /// The sum with further errors.
    #[must_use]
    pub(super) fn plus(mut self, mapped: Mapped, direct: &[VectorError]) -> Self {
        self.mapped.push(mapped);
        self.plus_direct(direct)
    }

    /// The sum with further direct errors.
    #[must_use]
    pub(super) fn plus_direct(mut self, direct: &[VectorError]) -> Self {
        self.direct.iter_mut().zip(direct).for_each(|(error, &more)| *error = *error + more);
        self
    }

    /// Error of one token's vector, matrices multiplied out.
    pub(super) fn collapsed(&self, token: usize) -> VectorError {
        self.mapped.iter().fold(self.direct[token], |sum, mapped| {
            let inherited = mapped.errors[token].through(mapped.spectral, mapped.frobenius);
            sum + VectorError { inherited, ..VectorError::default() }
        })
    }

    /// Factors by which the parts of the stream's error enter an inner product with `w`; see [`Stream::along`].
    pub(super) fn profile(&self, w: &[f64]) -> Vec<f64> {
        std::iter::once(length(w)).chain(self.mapped.iter().map(|mapped| mapped.pulled(w))).collect()
    }

    /// Error of one token's inner product with the vector that has the given profile.
    pub(super) fn along(&self, token: usize, profile: &[f64]) -> Spread {
        let errors = std::iter::once(&self.direct[token]).chain(self.mapped.iter().map(|mapped| &mapped.errors[token]));
        errors.zip(profile).fold(Spread::default(), |sum, (error, &factor)| sum + error.along() * factor)
    }

    /// Error of entry `c` of one token's vector.
    pub(super) fn entry(&self, token: usize, c: usize) -> Spread {
        self.mapped.iter().fold(self.direct[token].along(), |sum, mapped| sum + mapped.entry(token, c))
    }
}
