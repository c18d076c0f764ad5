//! How far a Chebyshev sum moves when its argument does.

/// Derivatives taken at the slot itself; what is left is bounded over the whole interval.
const ORDER: usize = 24;

/// Bounds `|p(u + e) - p(u)|` for a Chebyshev sum `p`.
///
/// Taylor's formula: `sum_(m < ORDER) |p^(m)(u)| e^m / m!`, and for the remainder `sup |p^(ORDER)| e^ORDER / ORDER!` over points within
/// `e` of `[-1, 1]`. Those lie in the Bernstein ellipse of parameter `rho = 1 + e + sqrt(2 e + e^2)`, on which a polynomial of
/// degree `n` is at most `rho^n` times its maximum on `[-1, 1]`; for derivatives of `T_k` that maximum is at 1.
pub(crate) struct Growth {
    /// Chebyshev coefficients of `p^(m) / m!`, `m = 1, ...`.
    derivatives: Vec<Vec<f64>>,
    /// `|c_k| T_k^(ORDER)(1) / ORDER!`.
    remainder: Vec<f64>,
}

impl Growth {
    pub(crate) fn new(coefficients: &[f64]) -> Self {
        let mut derivatives: Vec<Vec<f64>> = Vec::new();
        let mut current = coefficients.to_vec();
        for m in 1..ORDER {
            current = derivative(&current);
            current.iter_mut().for_each(|c| *c /= m as f64);
            derivatives.push(current.clone());
        }
        let at_one = |k: usize| {
            let factor = |i: usize| {
                let (k, i) = (k as f64, i as f64);
                (k - i) * (k + i) / ((2.0 * i + 1.0) * (i + 1.0))
            };
            if k < ORDER { 0.0 } else { (0..ORDER).map(factor).product() }
        };
        let remainder = coefficients.iter().enumerate().map(|(k, c)| c.abs() * at_one(k)).collect();
        Self { derivatives, remainder }
    }

    /// `|p'(u)|`.
    pub(crate) fn slope(&self, u: f64) -> f64 {
        self.derivatives.first().map_or(0.0, |first| clenshaw(first, u).abs())
    }

    /// The bound divided by `e`; for `e = 0` the slope.
    pub(crate) fn factor(&self, u: f64, e: f64) -> f64 {
        let rho = 1.0 + e + (e * (2.0 + e)).sqrt();
        let remainder = self.remainder.iter().rev().fold(0.0, |sum, c| sum * rho + c);
        let local = self.derivatives.iter().rev().fold(0.0, |sum, series| sum * e + clenshaw(series, u).abs());
        local + remainder * e.powi(ORDER as i32 - 1)
    }
}

/// Coefficients of the derivative: `c'_(k-1) = c'_(k+1) + 2 k c_k`, the first one halved.
fn derivative(coefficients: &[f64]) -> Vec<f64> {
    let degree = coefficients.len().saturating_sub(1);
    let mut out = vec![0.0; degree + 2];
    for k in (1..=degree).rev() {
        out[k - 1] = out[k + 1] + 2.0 * k as f64 * coefficients[k];
    }
    out[0] /= 2.0;
    out.truncate(degree.max(1));
    out
}

fn clenshaw(coefficients: &[f64], u: f64) -> f64 {
    crate::plain::chebyshev(coefficients, u)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derivatives_of_chebyshev_polynomials() {
        // T_3 = 4x^3 - 3x, so the derivative is 12x^2 - 3 = 6 T_2 + 3.
        assert_eq!(derivative(&[0.0, 0.0, 0.0, 1.0]), [3.0, 0.0, 6.0]);
        assert_eq!(derivative(&[5.0]), [0.0]);
    }

    #[test]
    fn growth_bounds_differences_and_is_close_for_small_ones() {
        let series: Vec<f64> = (0..20).map(|k| (-0.3 * f64::from(k)).exp()).collect();
        let growth = Growth::new(&series);
        for i in 0..200 {
            let u = -1.0 + f64::from(i) / 100.0;
            for e in [1e-6, 1e-3, 0.05] {
                let moved = [u - e, u + e].map(|v| (clenshaw(&series, v) - clenshaw(&series, u)).abs());
                // Clenshaw's sums of 20 terms below 2 each carry a rounding of at most 20 * 20 * 2^-52 < 1e-13.
                let bound = growth.factor(u, e) * e + 2e-13;
                assert!(moved[0].max(moved[1]) <= bound, "u = {u}, e = {e}");
            }
            assert!(growth.factor(u, 1e-9) <= growth.slope(u) + 1e-5, "u = {u}");
        }
    }
}
