//! LayerNorm on one row (`r[ln.definition]`), and the parts of it that the graph uses one by one.

use super::scalar::Scalar;
use super::weights::Norm;
use crate::error::ReferenceError;

/// `x - mean(x)`.
#[must_use]
pub fn centre<S: Scalar>(x: &[S], precision: S::Precision) -> Vec<S> {
    let sum = x.iter().fold(S::point(0.0, precision), |sum, x| sum.add(x));
    let mean = sum.div(&S::point(x.len() as f64, precision));
    x.iter().map(|x| x.sub(&mean)).collect()
}

/// Mean of the squares of a centred row: its variance without Bessel's correction.
#[must_use]
pub fn variance<S: Scalar>(centred: &[S], precision: S::Precision) -> S {
    let sum = centred.iter().fold(S::point(0.0, precision), |sum, x| sum.add(&x.powi(2)));
    sum.div(&S::point(centred.len() as f64, precision))
}

/// `gamma (x - mean) / sqrt(var + eps) + beta`.
///
/// # Errors
/// [`ReferenceError::BadOperand`] for an empty row, for gain or offset of another length, or for `eps <= 0`.
pub fn layer_norm<S: Scalar>(
    x: &[S],
    norm: &Norm,
    eps: f64,
    precision: S::Precision,
) -> Result<Vec<S>, ReferenceError> {
    let sizes = [x.len(), norm.gamma.len(), norm.beta.len()];
    if x.is_empty() || sizes != [x.len(); 3] || eps.is_nan() || eps <= 0.0 {
        return Err(ReferenceError::BadOperand {
            operation: "LayerNorm",
            expected: "a row, a gain and an offset of one length, and eps > 0".to_owned(),
            got: format!("lengths {sizes:?}, eps = {eps}"),
        });
    }
    let centred = centre(x, precision);
    let root = variance(&centred, precision).add(&S::point(eps, precision)).sqrt();
    let normalised: Vec<S> = centred.iter().map(|x| x.div(&root)).collect();
    Ok(norm.apply(&normalised, precision))
}
