//! The largest slope of a replaced function near a point (`r[noise.layer.slope]`).

use touchstone_spec::artifact::{Function, Refinement, Site};

/// Sampling points per degree: the maximum of a polynomial of degree `d` is at most `1 / cos(pi / 16)`, 2 %, above that over
/// `8 d` Chebyshev points (Ehlich and Zeller 1964).
const OVERSAMPLING: usize = 8;

/// A value with its derivative.
#[derive(Clone, Copy)]
struct Dual {
    value: f64,
    slope: f64,
}

impl Dual {
    fn times(self, other: Self) -> Self {
        Self { value: self.value * other.value, slope: self.value * other.slope + self.slope * other.value }
    }

    /// `factor * self + constant`.
    fn affine(self, factor: f64, constant: f64) -> Self {
        Self { value: factor * self.value + constant, slope: factor * self.slope }
    }

    fn minus(self, other: Self) -> Self {
        Self { value: self.value - other.value, slope: self.slope - other.slope }
    }
}

/// A replaced function: Chebyshev series and refinement (`r[approx.refinement]`).
pub(super) struct Replacement {
    coefficients: Vec<f64>,
    interval: [f64; 2],
    function: Function,
    iterations: u32,
}

impl Replacement {
    pub fn new(site: &Site) -> Self {
        let iterations = if let Refinement::Newton { iterations } = site.refinement { iterations } else { 0 };
        let coefficients = site.coefficients.iter().map(|c| c.0).collect();
        Self { coefficients, interval: site.interval.map(|x| x.0), function: site.function, iterations }
    }

    /// A bound on `|f(v) - f(u)| / |v - u|` over `|v - u| <= r`; `|f'(u)|` for `r = 0`.
    pub fn slope(&self, u: f64, r: f64) -> f64 {
        if r <= 0.0 {
            return self.at(u).slope.abs();
        }
        // By the mean value theorem the quotient is a value of the derivative in between.
        let points = OVERSAMPLING * self.degree().max(1);
        let angle = |i: usize| (2 * i + 1) as f64 * std::f64::consts::PI / (2 * points) as f64;
        let sampled = (0..points).map(|i| self.at(u + r * angle(i).cos()).slope.abs()).fold(0.0, f64::max);
        sampled / (std::f64::consts::PI / (2 * OVERSAMPLING) as f64).cos()
    }

    fn degree(&self) -> usize {
        let series = self.coefficients.len() - 1;
        (0..self.iterations).fold(series, |degree, _| match self.function {
            Function::InverseSqrt { .. } => 3 * degree + 1,
            Function::Reciprocal { .. } => 2 * degree + 1,
            _ => degree,
        })
    }

    fn at(&self, x: f64) -> Dual {
        let [a, b] = self.interval;
        let u = Dual { value: ((x - a) - (b - x)) / (b - a), slope: 2.0 / (b - a) };
        let zero = Dual { value: 0.0, slope: 0.0 };
        let (mut next, mut after) = (zero, zero);
        for &c in self.coefficients.iter().skip(1).rev() {
            (next, after) = (u.times(next).affine(2.0, c).minus(after), next);
        }
        let constant = self.coefficients.first().copied().unwrap_or(0.0);
        let mut y = u.times(next).affine(1.0, constant).minus(after);
        for _ in 0..self.iterations {
            y = match self.function {
                Function::InverseSqrt { shift } => {
                    let product = Dual { value: x + shift.0, slope: 1.0 }.times(y).times(y);
                    y.times(product.affine(-0.5, 1.5))
                }
                Function::Reciprocal { shift } => {
                    y.times(Dual { value: x + shift.0, slope: 1.0 }.times(y).affine(-1.0, 2.0))
                }
                _ => y,
            };
        }
        y
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use touchstone_spec::artifact::ErrorKind;
    use touchstone_spec::hexfloat::HexFloat;

    fn site(function: Function, refinement: Refinement, coefficients: &[f64]) -> Replacement {
        Replacement::new(&Site {
            site: "test".to_owned(),
            function,
            observed: [HexFloat(1.0), HexFloat(3.0)],
            interval: [HexFloat(1.0), HexFloat(3.0)],
            coefficients: coefficients.iter().map(|&c| HexFloat(c)).collect(),
            refinement,
            sup_error: HexFloat(0.1),
            error_kind: ErrorKind::Absolute,
        })
    }

    #[test]
    fn slopes_bound_difference_quotients_closely() {
        let reciprocal = Function::Reciprocal { shift: HexFloat(0.0) };
        let inverse_sqrt = Function::InverseSqrt { shift: HexFloat(0.1) };
        let start = [0.56, -0.3, 0.07];
        for replacement in [
            site(Function::Gelu, Refinement::None, &[0.3, 1.0, -0.4, 0.2, 0.05]),
            site(reciprocal, Refinement::Newton { iterations: 2 }, &start),
            site(inverse_sqrt, Refinement::Newton { iterations: 2 }, &[0.75, -0.2, 0.04]),
        ] {
            for (u, r) in [(1.5, 0.2), (2.0, 1e-3), (2.9, 0.4)] {
                let quotient = |i: i32| {
                    let step = r * f64::from(i) / 500.0;
                    ((replacement.at(u + step).value - replacement.at(u).value) / step).abs()
                };
                let seen = (-500..=500).filter(|i| *i != 0).map(quotient).fold(0.0, f64::max);
                let bound = replacement.slope(u, r);
                // Differences of values near 1 over 2e-6 carry a rounding of 1e-10 at most.
                assert!(seen <= bound + 1e-9, "{u} +- {r}: {seen} > {bound}");
                let derivative = |i: i32| replacement.at(u + r * f64::from(i) / 500.0).slope.abs();
                let largest = (-500..=500).map(derivative).fold(0.0, f64::max);
                assert!(bound <= largest * 1.03, "{u} +- {r}: {bound} for {largest}");
            }
        }
    }

    #[test]
    fn refined_reciprocal_has_the_slope_of_the_reciprocal() {
        let function = Function::Reciprocal { shift: HexFloat(0.0) };
        let replacement = site(function, Refinement::Newton { iterations: 5 }, &[0.56, -0.3, 0.07]);
        assert!((replacement.slope(2.0, 0.0) - 0.25).abs() < 1e-9);
    }
}
