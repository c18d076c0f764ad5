//! The forms of Power-Softmax on one row of live scores.

use super::scalar::Scalar;
use crate::error::ReferenceError;

/// Which form of Power-Softmax is meant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form {
    /// `x_j^p / sum_i x_i^p` (`r[psm.ideal]`).
    Ideal,
    /// `x_j^p / (eps + sum_i x_i^p)` (`r[psm.sum-eps]`).
    Sum,
    /// `(x_j^p / n) / (eps + (1/n) sum_i x_i^p)` (`r[psm.definition]`), the form of models.
    Mean,
    /// The mean form evaluated on scores divided by their largest magnitude plus `delta` (`r[psm.stable]`).
    Stable {
        /// Keeps the divisor positive.
        delta: f64,
    },
}

/// Attention weights of one row of live scores; `power` is even and `eps` sits where the form says.
///
/// # Errors
/// [`ReferenceError::BadOperand`] for an empty row, an odd or zero power, a negative `eps`, a `delta` that is not
/// positive, or a denominator that may be zero (a row of zeros in the ideal form has no value).
pub fn power_softmax<S: Scalar>(
    form: Form,
    scores: &[S],
    power: u32,
    eps: f64,
    precision: S::Precision,
) -> Result<Vec<S>, ReferenceError> {
    let refuse = |expected: &str, got: String| ReferenceError::BadOperand {
        operation: "Power-Softmax",
        expected: expected.to_owned(),
        got,
    };
    if scores.is_empty() || power == 0 || !power.is_multiple_of(2) {
        return Err(refuse("a row of scores and an even power", format!("{} scores, p = {power}", scores.len())));
    }
    if eps.is_nan() || eps < 0.0 {
        return Err(refuse("eps >= 0", eps.to_string()));
    }
    let eps = S::point(eps, precision);
    let (scores, eps) = match form {
        Form::Stable { delta } if delta.is_nan() || delta <= 0.0 => {
            return Err(refuse("delta > 0", delta.to_string()));
        }
        Form::Stable { delta } => {
            let largest = scores.iter().fold(S::point(0.0, precision), |most, x| most.max(&x.abs()));
            let scale = largest.add(&S::point(delta, precision));
            (scores.iter().map(|x| x.div(&scale)).collect(), eps.div(&scale.powi(power)))
        }
        _ => (scores.to_vec(), eps),
    };
    let count = S::point(scores.len() as f64, precision);
    let powers: Vec<S> = scores
        .iter()
        .map(|x| match form {
            Form::Ideal | Form::Sum => x.powi(power),
            Form::Mean | Form::Stable { .. } => x.powi(power).div(&count),
        })
        .collect();
    let start = if form == Form::Ideal { S::point(0.0, precision) } else { eps };
    let denominator = powers.iter().fold(start, |sum, y| sum.add(y));
    if denominator.may_be_zero() {
        return Err(refuse("a denominator other than zero", denominator.to_string()));
    }
    Ok(powers.iter().map(|y| y.div(&denominator)).collect())
}
