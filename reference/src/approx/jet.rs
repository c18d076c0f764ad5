//! Truncated Taylor expansions in intervals: jets (coefficients only) and Taylor models (with a remainder).

use crate::interval::Interval;
use rug::Float;

/// Number of coefficients of a Taylor model; its remainder is of this order.
pub(super) const ORDER: usize = 8;

/// Taylor coefficients `f^(j) / j!`, `j = 0, 1, ...`; of equal length in every operation.
pub(super) type Jet = Vec<Interval>;

fn zero(prec: u32) -> Interval {
    Interval::from_f64(0.0, prec)
}

/// `sum_(i=from..=n) a_i b_(n-i)`.
fn convolve(a: &[Interval], b: &[Interval], n: usize, from: usize) -> Interval {
    (from..=n).fold(zero(a[0].prec()), |sum, i| &sum + &(&a[i] * &b[n - i]))
}

/// Square root of a jet.
pub(super) fn sqrt(x: &[Interval]) -> Jet {
    let mut root = vec![x[0].sqrt()];
    let twice = &root[0] + &root[0];
    for n in 1..x.len() {
        let inner = (1..n).fold(zero(x[0].prec()), |sum, i| &sum + &(&root[i] * &root[n - i]));
        root.push(&(&x[n] - &inner) / &twice);
    }
    root
}

/// `x (1 + erf(x / sqrt 2)) / 2` of a jet, from `(e^h)' = h' e^h` and `erf'(y / sqrt 2) = sqrt(2 / pi) e^(-y^2 / 2) y'`.
pub(super) fn gelu(x: &[Interval]) -> Jet {
    let prec = x[0].prec();
    let constant = |value: f64| Interval::from_f64(value, prec);
    let order = x.len();
    let half = constant(-0.5);
    let exponent: Jet = (0..order).map(|n| &convolve(x, x, n, 0) * &half).collect();
    let mut bell = vec![(&x[0].sqr() * &half).exp()];
    let mut erf = vec![(&x[0] / &constant(2.0).sqrt()).erf()];
    let scale = (&constant(2.0) / &Interval::pi(prec)).sqrt();
    for n in 1..order {
        let weighted = |jet: &[Interval]| {
            let sum = (1..=n).fold(zero(prec), |sum, k| &sum + &(&(&jet[k] * &bell[n - k]) * &constant(k as f64)));
            &sum / &constant(n as f64)
        };
        let (bell_next, erf_next) = (weighted(&exponent), &weighted(x) * &scale);
        bell.push(bell_next);
        erf.push(erf_next);
    }
    erf[0] = &erf[0] + &constant(1.0);
    (0..order).map(|n| &convolve(x, &erf, n, 0) * &constant(0.5)).collect()
}

/// A function on `[m - r, m + r]`: `f(m + t)` lies in `sum_j a_j t^j + remainder` for every `|t| <= r`.
#[derive(Clone, Debug)]
pub(super) struct TaylorModel {
    coefficients: Jet,
    remainder: Interval,
    /// Enclosures of `[-r, r]^j` magnitudes: upper bounds of `r^j` for `j` in `0..2 * ORDER`.
    powers: Vec<Interval>,
}

impl TaylorModel {
    /// From the jet at the midpoint and a bound of the coefficient of order [`ORDER`] over the whole cell.
    pub(super) fn new(coefficients: Jet, last: &Float, radius: &Float) -> Self {
        let prec = coefficients[0].prec();
        let radius = Interval::from_float(radius, prec);
        let mut powers = vec![Interval::from_f64(1.0, prec)];
        for j in 1..2 * ORDER {
            powers.push(&powers[j - 1] * &radius);
        }
        let bound = (&Interval::from_float(last, prec) * &powers[ORDER]).magnitude();
        Self { coefficients, remainder: zero(prec).widen(&bound), powers }
    }

    /// From the jet at the midpoint and the jet, one order longer, over the whole cell.
    pub(super) fn from_jets(mut point: Jet, cell: &[Interval], radius: &Float) -> Self {
        point.truncate(ORDER);
        Self::new(point, &cell[ORDER].magnitude(), radius)
    }

    pub(super) fn sub(&self, other: &Self) -> Self {
        let coefficients = self.coefficients.iter().zip(&other.coefficients).map(|(a, b)| a - b).collect();
        Self { coefficients, remainder: &self.remainder - &other.remainder, powers: self.powers.clone() }
    }

    /// `constant - self`.
    pub(super) fn subtracted_from(&self, constant: f64) -> Self {
        let mut coefficients: Jet = self.coefficients.iter().map(|a| -a).collect();
        coefficients[0] = &coefficients[0] + &Interval::from_f64(constant, coefficients[0].prec());
        Self { coefficients, remainder: -&self.remainder, powers: self.powers.clone() }
    }

    pub(super) fn scale(&self, factor: f64) -> Self {
        let factor = Interval::from_f64(factor, self.remainder.prec());
        let coefficients = self.coefficients.iter().map(|a| a * &factor).collect();
        Self { coefficients, remainder: &self.remainder * &factor, powers: self.powers.clone() }
    }

    pub(super) fn mul(&self, other: &Self) -> Self {
        let prec = self.remainder.prec();
        let (a, b) = (&self.coefficients, &other.coefficients);
        let coefficients = (0..ORDER).map(|n| convolve(a, b, n, 0)).collect();
        let mut remainder = &self.remainder * &other.remainder;
        remainder = &remainder + &(&self.remainder * &zero(prec).widen(&other.polynomial_bound()));
        remainder = &remainder + &(&other.remainder * &zero(prec).widen(&self.polynomial_bound()));
        for n in ORDER..2 * ORDER - 1 {
            let sum = (n + 1 - ORDER..ORDER).fold(zero(prec), |sum, i| &sum + &(&a[i] * &b[n - i]));
            remainder = remainder.widen(&(&sum * &self.powers[n]).magnitude());
        }
        Self { coefficients, remainder, powers: self.powers.clone() }
    }

    fn polynomial_bound(&self) -> Float {
        let prec = self.remainder.prec();
        let sum = self.coefficients.iter().zip(&self.powers).fold(zero(prec), |sum, (a, r)| &sum + &(&a.abs() * r));
        sum.magnitude()
    }

    /// An upper bound of the absolute value over the cell.
    pub(super) fn magnitude(&self) -> Float {
        let prec = self.remainder.prec();
        (&Interval::from_float(&self.polynomial_bound(), prec) + &self.remainder.abs()).magnitude()
    }

    /// A lower bound of the absolute value at the midpoint.
    pub(super) fn centre_mignitude(&self) -> Float {
        self.coefficients[0].mignitude()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Taylor coefficients against central differences of the function at 300 bits.
    #[test]
    fn jets_agree_with_higher_precision_values() {
        let prec = 300;
        let at = |x: f64| vec![Interval::from_f64(x, prec), Interval::from_f64(1.0, prec)];
        let padded = |x: f64| {
            let mut jet = at(x);
            jet.resize(ORDER, zero(prec));
            jet
        };
        for (jet, f) in [
            (sqrt(&padded(1.75)), (|x: &Interval| x.sqrt()) as fn(&Interval) -> Interval),
            (gelu(&padded(1.75)), crate::model::gelu),
        ] {
            let step = 2f64.powi(-20);
            let value = f(&Interval::from_f64(1.75 + step, prec));
            let sum = jet.iter().rev().fold(zero(prec), |sum, a| &(&sum * &Interval::from_f64(step, prec)) + a);
            let difference = (&value - &sum).magnitude();
            // The first neglected term is below step^8 for both functions.
            assert!(difference < step.powi(8), "{difference}");
            assert!(difference > step.powi(8) * 1e-6, "{difference}: the truncation must be visible");
        }
    }
}
