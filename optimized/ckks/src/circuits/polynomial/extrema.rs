//! Derivatives, and bounds on values over `[-1, 1]`.

use super::{Basis, Polynomial};
use std::f64::consts::PI;

/// Points per degree at which a polynomial is evaluated to bound it.
const OVERSAMPLING: usize = 16;

impl Polynomial {
    /// A bound on the absolute value over `[-1, 1]`, at most 0.5 % above the maximum.
    ///
    /// The maximum of a polynomial of degree `d` is at most that over the `m > d` zeros of `T_m`, divided by
    /// `cos(pi d / (2 m))` (Ehlich and Zeller 1964).
    #[must_use]
    pub fn largest(&self) -> f64 {
        let degree = self.degree();
        if degree == 0 {
            return self.coefficients[0].abs();
        }
        let points = OVERSAMPLING * degree;
        let node = |i: usize| ((2 * i + 1) as f64 * PI / (2 * points) as f64).cos();
        let most = (0..points).map(|i| self.evaluate(node(i)).abs()).fold(0.0, f64::max);
        // Each of the `d` steps of a recurrence rounds, and its rounding grows by at most `d`.
        let sum: f64 = self.coefficients.iter().map(|c| c.abs()).sum();
        let rounding = 4.0 * (degree * degree) as f64 * f64::EPSILON * sum;
        (most + rounding) / (PI / (2 * OVERSAMPLING) as f64).cos()
    }

    /// The derivative, in the same basis.
    #[must_use]
    pub fn derivative(&self) -> Self {
        let degree = self.degree();
        let mut coefficients = vec![0.0; degree.max(1)];
        match self.basis {
            Basis::Monomial => (1..=degree).for_each(|k| coefficients[k - 1] = k as f64 * self.coefficients[k]),
            // c'_(k-1) = c'_(k+1) + 2 k c_k, the first one halved.
            Basis::Chebyshev => {
                for k in (1..=degree).rev() {
                    let above = coefficients.get(k + 1).copied().unwrap_or(0.0);
                    coefficients[k - 1] = above + 2.0 * k as f64 * self.coefficients[k];
                }
                coefficients[0] /= 2.0;
            }
        }
        Self { basis: self.basis, coefficients }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derivatives_are_the_textbook_ones() {
        // T_3 = 4x^3 - 3x has the derivative 12x^2 - 3 = 3 + 6 T_2; T_2 has 4 T_1.
        let cubic = Polynomial::chebyshev(vec![5.0, 0.0, 2.0, 1.0]).unwrap().derivative();
        assert_eq!(cubic.coefficients(), [3.0, 8.0, 6.0]);
        let monomial = Polynomial::monomial(vec![1.0, 2.0, 3.0]).unwrap().derivative();
        assert_eq!(monomial.coefficients(), [2.0, 6.0]);
        assert_eq!(Polynomial::chebyshev(vec![7.0]).unwrap().derivative().coefficients(), [0.0]);
    }

    #[test]
    fn largest_values_are_bounded_and_close() {
        for degree in [1, 2, 5, 31, 63] {
            // T_d has the maximum 1, its derivative d^2, x^d the maximum 1.
            let mut coefficients = vec![0.0; degree + 1];
            coefficients[degree] = 1.0;
            let chebyshev = Polynomial::chebyshev(coefficients.clone()).unwrap();
            let monomial = Polynomial::monomial(coefficients).unwrap();
            for (polynomial, most) in [
                (chebyshev.derivative(), (degree * degree) as f64),
                (chebyshev, 1.0),
                (monomial.derivative(), degree as f64),
                (monomial, 1.0),
            ] {
                let bound = polynomial.largest();
                assert!(bound >= most && bound <= 1.005 * most, "degree {degree}: {bound} for {most}");
            }
        }
    }
}
