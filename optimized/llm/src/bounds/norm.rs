//! Upper bounds on norms of matrices.

use crate::artifact::Matrix;
use rayon::prelude::*;

/// Squarings of the Gram matrix: a bound is at most `m^(1/2^(SQUARINGS + 1))` times the norm, 4 % for 128 columns.
const SQUARINGS: u32 = 6;

/// A bound on the spectral norm of the submatrix with the given rows and columns.
///
/// For the Gram matrix `G` of the shorter side, `|A|^2 <= (tr G^(2^k))^(1/2^k)`.
pub(super) fn spectral(a: &Matrix, rows: std::ops::Range<usize>, columns: std::ops::Range<usize>) -> f64 {
    let vectors: Vec<Vec<f64>> = if rows.len() <= columns.len() {
        rows.map(|i| a.row(i)[columns.clone()].to_vec()).collect()
    } else {
        columns.map(|j| rows.clone().map(|i| a.at(i, j)).collect()).collect()
    };
    let mut gram = product(&vectors);
    let mut log_scale = 0.0;
    for _ in 0..SQUARINGS {
        let trace: f64 = (0..gram.len()).map(|i| gram[i][i]).sum();
        if trace == 0.0 {
            return 0.0;
        }
        gram.iter_mut().flatten().for_each(|entry| *entry /= trace);
        // G = t G' and (t G')^2 = t^2 G'^2: the logarithm of the factor doubles with every squaring.
        log_scale = 2.0 * (log_scale + trace.ln());
        gram = product(&gram);
    }
    let trace: f64 = (0..gram.len()).map(|i| gram[i][i]).sum();
    ((trace.ln() + log_scale) / f64::from(1 << (SQUARINGS + 1))).exp()
}

/// `V V^T` for vectors as rows; the square for a symmetric matrix.
fn product(vectors: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let row = |i: usize| vectors[..=i].iter().map(|b| inner(&vectors[i], b)).collect();
    let mut rows: Vec<Vec<f64>> = (0..vectors.len()).into_par_iter().map(row).collect();
    for i in 0..rows.len() {
        let mirrored: Vec<f64> = rows[i + 1..].iter().map(|row| row[i]).collect();
        rows[i].extend(mirrored);
    }
    rows
}

/// The inner product, in lanes that a processor's vectors can hold.
fn inner(a: &[f64], b: &[f64]) -> f64 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut lanes = [0.0; 8];
    for (x, y) in a.iter().zip(b) {
        lanes.iter_mut().zip(x).zip(y).for_each(|((lane, x), y)| *lane += x * y);
    }
    lanes.iter().sum::<f64>() + a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum::<f64>()
}

/// The Frobenius norm of the submatrix with the given rows.
pub(super) fn frobenius(a: &Matrix, rows: std::ops::Range<usize>) -> f64 {
    length(&a.data[rows.start * a.cols..rows.end * a.cols])
}

/// Euclidean length.
pub(super) fn length(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_those_of_the_definition() {
        // Small integers: every sum is exact in any order.
        let vectors: Vec<Vec<f64>> =
            (0..5).map(|i| (0..19).map(|j| f64::from((i * 7 + j * 3) % 11 - 5)).collect()).collect();
        let got = product(&vectors);
        for (i, j) in (0..25).map(|k| (k / 5, k % 5)) {
            assert_eq!(got[i][j], vectors[i].iter().zip(&vectors[j]).map(|(x, y)| x * y).sum::<f64>());
        }
    }

    #[test]
    fn bounds_the_norm_from_above_and_closely() {
        // Singular values 3, 2 and 0.5, turned by a rotation that hides them.
        let (s, c) = 0.7f64.sin_cos();
        let data = vec![3.0 * c, -2.0 * s, 0.0, 3.0 * s, 2.0 * c, 0.0, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0];
        let a = Matrix { rows: 4, cols: 3, data };
        let bound = spectral(&a, 0..4, 0..3);
        assert!((3.0..3.0 * 3f64.powf(1.0 / 128.0) + 1e-12).contains(&bound), "{bound}");
        assert!((spectral(&a, 2..3, 0..3) - 0.5).abs() < 1e-12);
        assert_eq!(spectral(&a, 3..4, 0..3), 0.0);
    }
}
