//! Sizes of errors by origin, and norms of matrices.

use crate::model::Matrix;
use std::ops::{Add, Mul};

pub use touchstone_spec::record::ERROR_ORIGINS as ORIGINS;

/// Indices into [`ORIGINS`].
pub(super) mod origin {
    pub const STREAM: usize = 0;
    pub const LAYERNORM: usize = 1;
    pub const PROJECTIONS: usize = 2;
    pub const SCORES: usize = 3;
    pub const POWERS: usize = 4;
    pub const RECIPROCAL: usize = 5;
    pub const HEADS: usize = 6;
    pub const OUTPUT: usize = 7;
    pub const MLP: usize = 8;
    pub const HEAD: usize = 9;
}

/// Sizes of an error's parts by origin.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Parts(pub [f64; ORIGINS.len()]);

impl Parts {
    pub(super) fn of(origin: usize, size: f64) -> Self {
        let mut parts = Self::default();
        parts.0[origin] = size;
        parts
    }

    /// The sum over origins.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.0.iter().sum()
    }

    /// Per origin the root of the sum of squares.
    pub(super) fn root_sum_square(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut squares = [0.0f64; ORIGINS.len()];
        for part in parts {
            squares.iter_mut().zip(part.0).for_each(|(sum, x)| *sum += x * x);
        }
        Self(squares.map(f64::sqrt))
    }

    /// Per origin the largest.
    pub(super) fn largest(parts: &[Self]) -> Self {
        parts.iter().fold(Self::default(), |a, b| Self(std::array::from_fn(|i| a.0[i].max(b.0[i]))))
    }
}

impl Add for Parts {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] + other.0[i]))
    }
}

impl Mul<f64> for Parts {
    type Output = Self;
    fn mul(self, factor: f64) -> Self {
        Self(self.0.map(|x| x * factor))
    }
}

/// Euclidean length.
pub(super) fn length(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// A matrix with bounds on its norms.
#[derive(Clone, Debug)]
pub(super) struct Normed {
    pub matrix: Matrix,
    /// At least the spectral norm, and at most 1 % more for a matrix that is not tiny.
    pub spectral: f64,
    pub frobenius: f64,
}

impl Normed {
    pub fn new(matrix: Matrix) -> Self {
        let (spectral, frobenius) = (spectral(&matrix), length(&matrix.values));
        Self { matrix, spectral, frobenius }
    }

    /// Length of the row vector `w` times the matrix.
    pub fn pulled(&self, w: &[f64]) -> f64 {
        let mut sums = vec![0.0; self.matrix.columns];
        for (i, factor) in w.iter().enumerate() {
            sums.iter_mut().zip(self.matrix.row(i)).for_each(|(sum, x)| *sum += factor * x);
        }
        length(&sums)
    }
}

/// A bound on the spectral norm: `b` such that `b^2 1 - A A^T` has a Cholesky factor, and so is positive definite.
fn spectral(a: &Matrix) -> f64 {
    let gram = gram(a);
    let trace: f64 = (0..gram.len()).map(|i| gram[i][i]).sum();
    if trace == 0.0 {
        return 0.0;
    }
    let mut bound = 1.01 * largest_eigenvalue(&gram);
    while bound < trace && !dominates(bound, &gram) {
        bound *= 1.02;
    }
    bound.min(trace).sqrt()
}

/// `A A^T`, or `A^T A` where that is smaller: both have the same largest eigenvalue.
fn gram(a: &Matrix) -> Vec<Vec<f64>> {
    let rows: Vec<Vec<f64>> = if a.rows <= a.columns {
        (0..a.rows).map(|i| a.row(i).to_vec()).collect()
    } else {
        (0..a.columns).map(|j| (0..a.rows).map(|i| a.row(i)[j]).collect()).collect()
    };
    let inner = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum();
    rows.iter().map(|a| rows.iter().map(|b| inner(a, b)).collect()).collect()
}

/// An estimate from below, by power iteration; [`dominates`] makes the bound.
fn largest_eigenvalue(gram: &[Vec<f64>]) -> f64 {
    let mut vector: Vec<f64> = (0..gram.len()).map(|i| 1.0 + 0.1 * (i as f64).sin()).collect();
    let mut value = 0.0;
    for _ in 0..100 {
        let image: Vec<f64> = gram.iter().map(|row| row.iter().zip(&vector).map(|(g, v)| g * v).sum()).collect();
        value = length(&image) / length(&vector);
        let size = length(&image).max(f64::MIN_POSITIVE);
        vector = image.iter().map(|x| x / size).collect();
    }
    value
}

/// Whether `bound 1 - gram` is positive definite.
fn dominates(bound: f64, gram: &[Vec<f64>]) -> bool {
    let mut factor = vec![vec![0.0; gram.len()]; gram.len()];
    for i in 0..gram.len() {
        for j in 0..=i {
            let unit = if i == j { bound } else { 0.0 };
            let products: f64 = (0..j).map(|k| factor[i][k] * factor[j][k]).sum();
            let rest = unit - gram[i][j] - products;
            if i == j && rest <= 0.0 {
                return false;
            }
            factor[i][j] = if i == j { rest.sqrt() } else { rest / factor[j][j] };
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spectral_norms_are_bounded_closely() {
        // Singular values 3, 2 and 0.5 behind a rotation.
        let (s, c) = 0.7f64.sin_cos();
        let values = vec![3.0 * c, -2.0 * s, 0.0, 3.0 * s, 2.0 * c, 0.0, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0];
        let norm = Normed::new(Matrix { rows: 4, columns: 3, values });
        assert!((3.0..3.03).contains(&norm.spectral), "{}", norm.spectral);
        assert!((norm.frobenius - 13.25f64.sqrt()).abs() < 1e-12);
        assert_eq!(Normed::new(Matrix { rows: 1, columns: 2, values: vec![0.0; 2] }).spectral, 0.0);
    }

    #[test]
    fn a_start_orthogonal_to_the_largest_direction_still_gives_a_bound() {
        // The start of the power iteration is (1, 1 + sin(1)/10): the largest singular direction is orthogonal to it.
        let (x, y) = (1.0 + 0.1 * 1f64.sin(), -1.0);
        let values = [10.0 * x, 10.0 * y, -0.01 * y, 0.01 * x];
        let norm =
            Normed::new(Matrix { rows: 2, columns: 2, values: vec![values[0], values[2], values[1], values[3]] });
        assert!(norm.spectral >= 10.0 * x.hypot(y), "{}", norm.spectral);
    }
}
