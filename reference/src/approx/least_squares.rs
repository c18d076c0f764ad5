//! Weighted discrete least squares in a Chebyshev basis.

use super::domain::Domain;
use super::remez::solve;
use crate::error::ReferenceError;
use rug::Float;
use rug::float::Constant;

/// Points per coefficient on every interval of the domain.
const POINTS_PER_DEGREE: usize = 4;

/// Coefficients of the polynomial with the given Chebyshev indices that minimises `sum_j (weight(x_j) (p(x_j) - f(x_j)))^2`
/// over the Chebyshev points `x_j` of every interval of `domain`; in the order of `indices`.
///
/// The normal equations are solved at `prec` bits. On one interval they are well conditioned. On a union the Chebyshev
/// polynomials of the hull are nearly dependent, and `prec` must grow with the degree.
///
/// # Errors
/// [`ReferenceError::BadOperand`] when the equations are singular at this precision.
pub fn least_squares(
    f: &dyn Fn(&Float) -> Float,
    weight: &dyn Fn(&Float) -> Float,
    domain: &Domain,
    indices: &[usize],
    prec: u32,
) -> Result<Vec<Float>, ReferenceError> {
    let count = indices.len();
    let mut rows = vec![vec![Float::new(prec); count + 1]; count];
    let points = POINTS_PER_DEGREE * (indices.iter().max().map_or(0, |k| *k) + 1);
    for x in domain.pieces().iter().flat_map(|piece| chebyshev_points(*piece, points, prec)) {
        let scale = weight(&x);
        let angle = angle(domain, &x);
        let mut terms: Vec<Float> =
            indices.iter().map(|k| Float::with_val(prec, &angle * *k as u64).cos() * &scale).collect();
        terms.push(f(&x) * &scale);
        for (row, factor) in rows.iter_mut().zip(&terms) {
            for (entry, term) in row.iter_mut().zip(&terms) {
                *entry += Float::with_val(prec, factor * term);
            }
        }
    }
    solve(rows, prec).ok_or_else(|| ReferenceError::BadOperand {
        operation: "least squares",
        expected: "a function and a weight that determine the polynomial".to_owned(),
        got: format!("singular equations for {count} coefficients on {domain}"),
    })
}

/// The angle of `x` on the hull of `domain`.
fn angle(domain: &Domain, x: &Float) -> Float {
    let prec = x.prec();
    let [a, b] = domain.hull().map(|end| Float::with_val(prec, end));
    let u = (Float::with_val(prec, x * 2u32) - &a - &b) / Float::with_val(prec, &b - &a);
    // Chebyshev points lie inside the hull, up to a rounding.
    u.clamp(&-1, &1).acos()
}

fn chebyshev_points([a, b]: [f64; 2], count: usize, prec: u32) -> Vec<Float> {
    let [a, b] = [a, b].map(|end| Float::with_val(prec, end));
    let centre = Float::with_val(prec, &a + &b) / 2u32;
    let half = Float::with_val(prec, &b - &a) / 2u32;
    let pi = Float::with_val(prec, Constant::Pi);
    let cosine = |j: usize| (Float::with_val(prec, &pi * (2 * j + 1) as u64) / (2 * count) as u64).cos();
    (0..count).map(|j| cosine(j) * &half + &centre).collect()
}
