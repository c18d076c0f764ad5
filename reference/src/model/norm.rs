//! LayerNorm on one row (`r[ln.definition]`), and the parts of it that the graph uses one by one.

use super::scalar::{Real, Ring};
use super::weights::Norm;
use crate::error::ReferenceError;
use crate::rungs::Replacement;
use touchstone_spec::artifact::Function;

/// `x - mean(x)`.
#[must_use]
pub fn centre<S: Ring>(x: &[S], context: S::Context) -> Vec<S> {
    let mean = S::sum(x, context).over(&S::constant(x.len() as f64, context));
    x.iter().map(|x| x.sub(&mean)).collect()
}

/// Mean of the squares of a centred row: its variance without Bessel's correction.
#[must_use]
pub fn variance<S: Ring>(centred: &[S], context: S::Context) -> S {
    let squares: Vec<S> = centred.iter().map(|x| x.powi(2)).collect();
    S::sum(&squares, context).over(&S::constant(centred.len() as f64, context))
}

/// `gamma (x - mean) / sqrt(var + eps) + beta`.
///
/// # Errors
/// [`ReferenceError::BadOperand`] for an empty row, for gain or offset of another length, or for `eps <= 0`.
pub fn layer_norm<S: Real>(x: &[S], norm: &Norm, eps: f64, context: S::Context) -> Result<Vec<S>, ReferenceError> {
    let exact = |variance: &S| Ok(S::constant(1.0, context).div(&variance.plus(&S::constant(eps, context)).sqrt()));
    normalise(x, norm, eps, exact, context)
}

/// LayerNorm with `inverse_sqrt(var)` in place of `1 / sqrt(var + eps)` (`r[ln.polynomial]`).
///
/// # Errors
/// As [`layer_norm`], and what `inverse_sqrt` refuses.
pub fn polynomial_layer_norm<S: Ring>(
    x: &[S],
    norm: &Norm,
    inverse_sqrt: &Replacement,
    context: S::Context,
) -> Result<Vec<S>, ReferenceError> {
    let Function::InverseSqrt { shift } = inverse_sqrt.function() else {
        return Err(ReferenceError::BadOperand {
            operation: "polynomial LayerNorm",
            expected: "a replacement of 1 / sqrt(x + eps)".to_owned(),
            got: format!("{:?}", inverse_sqrt.function()),
        });
    };
    normalise(x, norm, shift.0, |variance| inverse_sqrt.value(variance, context), context)
}

fn normalise<S: Ring>(
    x: &[S],
    norm: &Norm,
    eps: f64,
    inverse_sqrt: impl Fn(&S) -> Result<S, ReferenceError>,
    context: S::Context,
) -> Result<Vec<S>, ReferenceError> {
    let sizes = [x.len(), norm.gamma.len(), norm.beta.len()];
    if x.is_empty() || sizes != [x.len(); 3] || eps.is_nan() || eps <= 0.0 {
        return Err(ReferenceError::BadOperand {
            operation: "LayerNorm",
            expected: "a row, a gain and an offset of one length, and eps > 0".to_owned(),
            got: format!("lengths {sizes:?}, eps = {eps}"),
        });
    }
    let centred = centre(x, context);
    let factor = inverse_sqrt(&variance(&centred, context))?;
    let normalised: Vec<S> = centred.iter().map(|x| x.mul(&factor)).collect();
    Ok(norm.apply(&normalised, context))
}
