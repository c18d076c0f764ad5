//! Chebyshev series with binary64 coefficients, evaluated in binary64 and in certified interval arithmetic.

use crate::error::ReferenceError;
use crate::interval::Interval;
use rug::float::{Constant, Round};
use rug::ops::{AddAssignRound, MulAssignRound};
use rug::{Assign, Float};

/// `sum_k c_k T_k((2x - a - b) / (b - a))` on `[a, b]` (`r[artifact.site]`).
#[derive(Clone, Debug)]
pub struct Chebyshev {
    interval: [f64; 2],
    coefficients: Vec<f64>,
    /// Upper bound of the second derivative with respect to the argument in [-1, 1].
    curvature: Float,
}

impl Chebyshev {
    /// A series with the given coefficients `c_0, c_1, ...` on `interval`.
    ///
    /// # Errors
    /// [`ReferenceError::BadOperand`] when there is no coefficient, a number is not finite or `a >= b`.
    pub fn new(interval: [f64; 2], coefficients: Vec<f64>) -> Result<Self, ReferenceError> {
        let finite = interval.iter().chain(&coefficients).all(|x| x.is_finite());
        if coefficients.is_empty() || !finite || interval[0] >= interval[1] {
            return Err(ReferenceError::BadOperand {
                operation: "Chebyshev series",
                expected: "finite coefficients on an interval [a, b] with a < b".to_owned(),
                got: format!("{} coefficients on [{}, {}]", coefficients.len(), interval[0], interval[1]),
            });
        }
        // max |T_k''| on [-1, 1] is k^2 (k^2 - 1) / 3, reached at the ends.
        let mut curvature = Float::new(64);
        for (k, c) in coefficients.iter().enumerate().skip(2) {
            let square = (k * k) as f64;
            let mut term = Float::with_val(64, c.abs());
            term.mul_assign_round(square * (square - 1.0) / 3.0 * (1.0 + f64::EPSILON), Round::Up);
            curvature.add_assign_round(&term, Round::Up);
        }
        Ok(Self { interval, coefficients, curvature })
    }

    /// Ends `[a, b]`.
    #[must_use]
    pub fn interval(&self) -> [f64; 2] {
        self.interval
    }

    /// The coefficients `c_0, c_1, ...`.
    #[must_use]
    pub fn coefficients(&self) -> &[f64] {
        &self.coefficients
    }

    /// Value at `x` in binary64, by Clenshaw's recurrence; no error bound is claimed.
    #[must_use]
    pub fn value(&self, x: f64) -> f64 {
        let [a, b] = self.interval;
        let u = ((x - a) - (b - x)) / (b - a);
        let (mut next, mut after) = (0.0, 0.0);
        for &c in self.coefficients.iter().skip(1).rev() {
            (next, after) = (2.0f64.mul_add(u * next, c - after), next);
        }
        self.coefficients[0] + u * next - after
    }

    /// An enclosure of the values on `x`, whose points outside `[a, b]` are ignored.
    ///
    /// Second-order Taylor form about the midpoint, so the width is that of `x` times the slope there plus a term of
    /// second order; meant for narrow `x`.
    #[must_use]
    pub fn enclosure(&self, x: &Interval) -> Interval {
        let prec = x.prec();
        let u = self.argument(x, prec + 32);
        let mid = u.mid();
        let (value, slope) = self.value_and_slope(&mid);
        let step = &u - &Interval::from_float(&mid, prec + 32);
        let half_square = (&step.sqr() * &Interval::from_f64(0.5, prec)).magnitude();
        let remainder = Float::with_val_round(prec, &half_square * &self.curvature, Round::Up).0;
        (&value + &(&slope * &step)).widen(&remainder).with_prec(prec)
    }

    /// `(2x - a - b) / (b - a)`, cut to [-1, 1].
    fn argument(&self, x: &Interval, prec: u32) -> Interval {
        let [a, b] = self.interval.map(|end| Interval::from_f64(end, prec));
        let u = &(&(x - &a) - &(&b - x)) / &(&b - &a);
        let cut = |end: &Float| Float::with_val(prec, end.clamp_ref(&-1, &1));
        Interval::new(cut(u.lo()), cut(u.hi()))
    }

    /// Enclosures of the series and of its derivative at a point `u` of [-1, 1].
    ///
    /// The recurrences run in plain MPFR arithmetic of P bits with an error bound known beforehand: a rounding error
    /// `r_j` of step j reaches step k as `U_(k-1-j)(u) r_j`, and `|U_m| <= m + 1`. As `|T_k| <= 1` and
    /// `|U_k| <= k + 1`, a step commits at most `4 * 2^-P` and `4 (k + 2) 2^-P`, so `T_k` is off by at most
    /// `4 k^2 2^-P` and `U_k` by `4 (k + 2)^3 2^-P`. Each of the n sums adds at most `2^-P` of the sum of magnitudes.
    fn value_and_slope(&self, u: &Float) -> (Interval, Interval) {
        let prec = u.prec();
        let twice = Float::with_val(prec, u * 2u32);
        let [mut t, mut t_next] = [Float::with_val(prec, 1), u.clone()];
        let [mut second, mut second_next] = [Float::with_val(prec, 1), twice.clone()];
        let mut value = Float::with_val(prec, self.coefficients[0]);
        let mut slope = Float::new(prec);
        let (mut value_bound, mut slope_bound) = (self.coefficients[0].abs(), 0.0f64);
        let terms = self.coefficients.len() as f64;
        let mut scratch = Float::new(prec);
        for (k, &c) in self.coefficients.iter().enumerate().skip(1) {
            let order = k as f64;
            scratch.assign(&t_next * c);
            value += &scratch;
            scratch.assign(&second * c);
            scratch *= k as u64;
            slope += &scratch;
            value_bound += c.abs() * (4.0 * order * order + terms + 4.0);
            slope_bound += c.abs() * order * (4.0 * (order + 2.0).powi(3) + (terms + 4.0) * (order + 1.0));
            scratch.assign(&twice * &t_next);
            scratch -= &t;
            std::mem::swap(&mut t, &mut t_next);
            std::mem::swap(&mut t_next, &mut scratch);
            scratch.assign(&twice * &second_next);
            scratch -= &second;
            std::mem::swap(&mut second, &mut second_next);
            std::mem::swap(&mut second_next, &mut scratch);
        }
        let radius = |bound: f64| Float::with_val_round(64, bound * 1.001, Round::Up).0 >> prec;
        let point = |x: &Float| Interval::from_float(x, prec);
        (point(&value).widen(&radius(value_bound)), point(&slope).widen(&radius(slope_bound)))
    }
}

/// Coefficients of the polynomial of degree `degree` that agrees with `f` in the Chebyshev points of `[a, b]`.
///
/// `f` is called at `degree + 1` points of `prec` bits.
#[must_use]
pub fn interpolate(f: &dyn Fn(&Float) -> Float, interval: [f64; 2], degree: usize, prec: u32) -> Vec<Float> {
    project(f, interval, degree + 1, degree, prec)
}

/// The first `degree + 1` coefficients of the Chebyshev series of `f` on `[a, b]`, to about `prec / 2` bits of the
/// largest one.
///
/// # Errors
/// [`ReferenceError::BadOperand`] when 8,192 points do not settle the coefficients: `f` has a singularity too close to the
/// interval.
pub fn series(
    f: &dyn Fn(&Float) -> Float,
    interval: [f64; 2],
    degree: usize,
    prec: u32,
) -> Result<Vec<Float>, ReferenceError> {
    let mut nodes = 2 * (degree + 1);
    let mut coarse = project(f, interval, nodes, degree, prec);
    while nodes < MAX_NODES {
        nodes *= 2;
        let fine = project(f, interval, nodes, degree, prec);
        let largest = fine.iter().fold(Float::new(prec), |most, c| most.max(&Float::with_val(prec, c.abs_ref())));
        let tolerance = largest >> (prec / 2);
        if fine.iter().zip(&coarse).all(|(a, b)| Float::with_val(prec, a - b).abs() <= tolerance) {
            return Ok(fine);
        }
        coarse = fine;
    }
    Err(ReferenceError::BadOperand {
        operation: "Chebyshev series",
        expected: format!("coefficients that {MAX_NODES} points settle"),
        got: format!("degree {degree} on [{}, {}]", interval[0], interval[1]),
    })
}

/// Most points from which the coefficients of a series are computed.
const MAX_NODES: usize = 8192;

/// The discrete Chebyshev transform of `f` in `count` Chebyshev points of `[a, b]`, up to index `degree < count`.
fn project(f: &dyn Fn(&Float) -> Float, interval: [f64; 2], count: usize, degree: usize, prec: u32) -> Vec<Float> {
    let pi = Float::with_val(prec, Constant::Pi);
    // cos(pi m / (2 count)) for m in 0..4 count serves both the nodes and every T_k at every node.
    let cosines: Vec<Float> =
        (0..4 * count).map(|m| (Float::with_val(prec, &pi * m as u64) / (2 * count) as u64).cos()).collect();
    let [a, b] = interval.map(|end| Float::with_val(prec, end));
    let centre = Float::with_val(prec, &a + &b) / 2u32;
    let half = Float::with_val(prec, &b - &a) / 2u32;
    let values: Vec<Float> =
        (0..count).map(|j| f(&(Float::with_val(prec, &half * &cosines[2 * j + 1]) + &centre))).collect();
    (0..=degree)
        .map(|k| {
            let mut sum = Float::new(prec);
            for (j, value) in values.iter().enumerate() {
                sum += Float::with_val(prec, value * &cosines[(2 * j + 1) * k % (4 * count)]);
            }
            sum * if k == 0 { 1u32 } else { 2u32 } / count as u64
        })
        .collect()
}
