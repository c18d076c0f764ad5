//! Polynomials on ciphertexts by Paterson-Stockmeyer, in the Chebyshev and in the monomial basis.
//!
//! A polynomial is split recursively, `p = q B_(2^j) + r`, until only basis polynomials of small degree are left. Depth is
//! `ceil(log2(degree + 1))`, the least possible: leaves are weighted sums formed before a rescale, and the leading
//! leaf is split down to degree 1, so that its constants cost no level. Products that meet in one sum are relinearised and
//! rescaled together. Coefficients that are 0 are skipped, so odd and even polynomials cost less.

mod bound;
mod evaluate;
mod extrema;
mod plan;
#[cfg(test)]
mod tests;

pub use evaluate::{evaluate, evaluate_plan, normalise};
pub use plan::{Node, Plan, Power, depth_of};

use crate::CkksError;

/// The basis in which a polynomial's coefficients are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// Chebyshev polynomials of the first kind `T_i`, arguments in `[-1, 1]`.
    Chebyshev,
    /// Powers `x^i`.
    Monomial,
}

/// A real polynomial `sum_i c_i B_i(x)` in one of the two bases.
#[derive(Clone, Debug, PartialEq)]
pub struct Polynomial {
    basis: Basis,
    coefficients: Vec<f64>,
}

impl Polynomial {
    /// `sum_i coefficients[i] T_i(x)`.
    ///
    /// # Errors
    /// [`CkksError::Argument`] for a coefficient that is NaN or infinite.
    pub fn chebyshev(coefficients: Vec<f64>) -> Result<Self, CkksError> {
        Self::new(Basis::Chebyshev, coefficients)
    }

    /// `sum_i coefficients[i] x^i`.
    ///
    /// # Errors
    /// [`CkksError::Argument`] for a coefficient that is NaN or infinite.
    pub fn monomial(coefficients: Vec<f64>) -> Result<Self, CkksError> {
        Self::new(Basis::Monomial, coefficients)
    }

    fn new(basis: Basis, mut coefficients: Vec<f64>) -> Result<Self, CkksError> {
        if let Some(c) = coefficients.iter().find(|c| !c.is_finite()) {
            let (operation, expected) = ("Polynomial", "finite coefficients");
            return Err(CkksError::Argument { operation, expected, got: c.to_string() });
        }
        let degree = coefficients.iter().rposition(|c| *c != 0.0).unwrap_or(0);
        coefficients.resize(degree + 1, 0.0);
        Ok(Self { basis, coefficients })
    }

    /// The basis of the coefficients.
    #[must_use]
    pub fn basis(&self) -> Basis {
        self.basis
    }

    /// Coefficients `c_0..=c_degree`; the last is not 0 unless the polynomial is 0.
    #[must_use]
    pub fn coefficients(&self) -> &[f64] {
        &self.coefficients
    }

    /// Degree; 0 for constants.
    #[must_use]
    pub fn degree(&self) -> usize {
        self.coefficients.len() - 1
    }

    /// The value at `x` in binary64, by Clenshaw's or Horner's recurrence.
    #[must_use]
    pub fn evaluate(&self, x: f64) -> f64 {
        match self.basis {
            Basis::Monomial => self.coefficients.iter().rev().fold(0.0, |value, c| value * x + c),
            Basis::Chebyshev => {
                let (mut b1, mut b2) = (0.0, 0.0);
                for c in self.coefficients.iter().skip(1).rev() {
                    (b1, b2) = (c + 2.0 * x * b1 - b2, b1);
                }
                self.coefficients[0] + x * b1 - b2
            }
        }
    }
}
