//! Truncated Taylor expansions in intervals: jets (coefficients only) and Taylor models (with a remainder).

use crate::interval::Interval;
use rug::Float;
use rug::float::Round;

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

/// `constant + x` of a jet.
pub(super) fn add(x: &[Interval], constant: f64) -> Jet {
    let mut sum = x.to_vec();
    sum[0] = &sum[0] + &Interval::from_f64(constant, x[0].prec());
    sum
}

/// `factor x` of a jet.
pub(super) fn scale(x: &[Interval], factor: &Interval) -> Jet {
    x.iter().map(|a| a * factor).collect()
}

/// Product of two jets.
pub(super) fn mul(x: &[Interval], y: &[Interval]) -> Jet {
    (0..x.len()).map(|n| convolve(x, y, n, 0)).collect()
}

/// `1 / x` of a jet, from `x y = 1`.
pub(super) fn recip(x: &[Interval]) -> Jet {
    let first = x[0].recip();
    let mut y = vec![first.clone()];
    for n in 1..x.len() {
        let sum = (1..=n).fold(zero(x[0].prec()), |sum, k| &sum + &(&x[k] * &y[n - k]));
        y.push(-&(&sum * &first));
    }
    y
}

/// Coefficient `n` of the primitive of `x' g`: `(1/n) sum_(k=1..=n) k x_k g_(n-k)`.
fn primitive(x: &[Interval], g: &[Interval], n: usize) -> Interval {
    let prec = x[0].prec();
    let constant = |value: usize| Interval::from_f64(value as f64, prec);
    let sum = (1..=n).fold(zero(prec), |sum, k| &sum + &(&(&x[k] * &g[n - k]) * &constant(k)));
    &sum / &constant(n)
}

/// `e^x` of a jet, from `(e^x)' = x' e^x`.
pub(super) fn exp(x: &[Interval]) -> Jet {
    let mut y = vec![x[0].exp()];
    for n in 1..x.len() {
        y.push(primitive(x, &y, n));
    }
    y
}

/// Hyperbolic tangent of a jet, from `y' = x' (1 - y^2)`.
pub(super) fn tanh(x: &[Interval]) -> Jet {
    let prec = x[0].prec();
    let end = |end: &Float, round| Float::with_val_round(prec, end.tanh_ref(), round).0;
    let mut y = vec![Interval::new(end(x[0].lo(), Round::Down), end(x[0].hi(), Round::Up))];
    let mut slope = Vec::with_capacity(x.len());
    for n in 1..x.len() {
        let square = convolve(&y, &y, n - 1, 0);
        slope.push(if n == 1 { &Interval::from_f64(1.0, prec) - &square } else { -&square });
        y.push(primitive(x, &slope, n));
    }
    y
}

/// `1 / (1 + e^-x)` of a jet, which is `(1 + tanh(x / 2)) / 2`.
pub(super) fn sigmoid(x: &[Interval]) -> Jet {
    let half = Interval::from_f64(0.5, x[0].prec());
    scale(&add(&tanh(&scale(x, &half)), 1.0), &half)
}

/// Sine and cosine of a jet.
pub(super) fn sin_cos(x: &[Interval]) -> (Jet, Jet) {
    let (mut sin, mut cos) = (vec![x[0].sin()], vec![x[0].cos()]);
    for n in 1..x.len() {
        let (next_sin, next_cos) = (primitive(x, &cos, n), -&primitive(x, &sin, n));
        sin.push(next_sin);
        cos.push(next_cos);
    }
    (sin, cos)
}

/// Arcsine of a jet, from `y' = x' / sqrt(1 - x^2)`; the whole line where the argument leaves [-1, 1].
pub(super) fn asin(x: &[Interval]) -> Jet {
    let prec = x[0].prec();
    let end = |end: &Float, round| Float::with_val_round(prec, end.asin_ref(), round).0;
    let slope = recip(&sqrt(&add(&scale(&mul(x, x), &Interval::from_f64(-1.0, prec)), 1.0)));
    let first = Interval::new(end(x[0].lo(), Round::Down), end(x[0].hi(), Round::Up));
    std::iter::once(first).chain((1..x.len()).map(|n| primitive(x, &slope, n))).collect()
}

/// `erf(x / sqrt 2)` of a jet, whose derivative is `sqrt(2 / pi) e^(-x^2 / 2) x'`.
pub(super) fn erf_of_root_half(x: &[Interval]) -> Jet {
    let prec = x[0].prec();
    let constant = |value: f64| Interval::from_f64(value, prec);
    let mut exponent = scale(&mul(x, x), &constant(-0.5));
    exponent[0] = &x[0].sqr() * &constant(-0.5);
    let bell = exp(&exponent);
    let factor = (&constant(2.0) / &Interval::pi(prec)).sqrt();
    let first = (&x[0] / &constant(2.0).sqrt()).erf();
    std::iter::once(first).chain((1..x.len()).map(|n| &primitive(x, &bell, n) * &factor)).collect()
}

/// `x (1 + erf(x / sqrt 2)) / 2` of a jet.
pub(super) fn gelu(x: &[Interval]) -> Jet {
    let factor = add(&erf_of_root_half(x), 1.0);
    scale(&mul(x, &factor), &Interval::from_f64(0.5, x[0].prec()))
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
    use crate::approx::Target;

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
        let targets = [
            Target::Gelu,
            Target::Silu,
            Target::Sigmoid,
            Target::Tanh,
            Target::Erf,
            Target::Exp,
            Target::Reciprocal { shift: 0.25 },
            Target::InverseSqrt { shift: -0.125 },
            Target::Cosine { turns: 0.375 },
            Target::Sine { turns: 0.375 },
            Target::Arcsine { factor: 8.0 },
        ];
        for target in targets {
            let x = 0.75;
            let jet = target.jet(&padded(x));
            let step = 2f64.powi(-20);
            let value = Interval::from_float(&target.value(&Float::with_val(prec, x + step)), prec);
            let sum = jet.iter().rev().fold(zero(prec), |sum, a| &(&sum * &Interval::from_f64(step, prec)) + a);
            let difference = (&value - &sum).magnitude();
            // The radius of convergence is at least 0.3 (arcsine), so that the first neglected term is below (4 step)^8.
            assert!(difference < 65536.0 * step.powi(8), "{target:?}: {difference}");
            assert!(difference > step.powi(8) * 1e-7, "{target:?}, {difference}: the truncation must be visible");
        }
    }
}
