//! Error sizes by origin.

use std::ops::{Add, AddAssign, Mul};

pub use touchstone_spec::record::ERROR_ORIGINS as ORIGINS;

/// Where an error was made: between the tap of that name and the taps before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Encryption, and what the residual stream collects between blocks.
    Stream = 0,
    /// Variance and inverse square root.
    LayerNorm = 1,
    /// Queries, keys and values.
    Projections = 2,
    /// Scores.
    Scores = 3,
    /// Powers, and the sum of them.
    Powers = 4,
    /// The reciprocal.
    Reciprocal = 5,
    /// Weighted values.
    Heads = 6,
    /// The output projection.
    Output = 7,
    /// The MLP.
    Mlp = 8,
    /// The LM head.
    Head = 9,
}

/// Standard deviations by origin; their sum bounds the standard deviation of the whole, whatever the dependence
/// (`r[noise.layer]`).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spread(pub [f64; ORIGINS.len()]);

impl Spread {
    /// One origin only.
    #[must_use]
    pub fn of(origin: Origin, size: f64) -> Self {
        let mut spread = Self::default();
        spread.0[origin as usize] = size;
        spread
    }

    /// The sum over origins.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.0.iter().sum()
    }

    /// Per origin the length of the vector of the parts' sizes: the size of a vector made of parts.
    pub(super) fn stacked(parts: impl Iterator<Item = Self>) -> Self {
        let squares = parts.fold([0.0; ORIGINS.len()], |mut sum, part| {
            sum.iter_mut().zip(part.0).for_each(|(s, x)| *s += x * x);
            sum
        });
        Self(squares.map(f64::sqrt))
    }
}

/// Error of a vector, in two parts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct VectorError {
    /// Largest standard deviation of an entry's fresh error; entries are uncorrelated.
    pub(super) fresh: Spread,
    /// Standard deviation of the length of what came through earlier taps.
    pub(super) inherited: Spread,
}

impl VectorError {
    /// Entries with fresh errors only.
    pub(super) fn of_entries(entries: &[Spread]) -> Self {
        let largest = entries.iter().fold(Spread::default(), |sum, entry| {
            let mut sum = sum;
            sum.0.iter_mut().zip(entry.0).for_each(|(a, b)| *a = a.max(b));
            sum
        });
        Self { fresh: largest, inherited: Spread::default() }
    }

    /// Of an inner product with a vector of length 1.
    pub(super) fn along(&self) -> Spread {
        self.fresh + self.inherited
    }

    /// Length of the image under a matrix of the given spectral and Frobenius norms.
    pub(super) fn through(&self, spectral: f64, frobenius: f64) -> Spread {
        self.inherited * spectral + self.fresh * frobenius
    }
}

impl Add for VectorError {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { fresh: self.fresh + other.fresh, inherited: self.inherited + other.inherited }
    }
}

impl Add for Spread {
    type Output = Self;
    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

impl AddAssign for Spread {
    fn add_assign(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(a, b)| *a += b);
    }
}

impl Mul<f64> for Spread {
    type Output = Self;
    fn mul(self, factor: f64) -> Self {
        Self(self.0.map(|x| x * factor))
    }
}
