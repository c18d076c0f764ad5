//! Attention of one head as a function of its own (`r[psm.attention]`).

use super::power_softmax::{Form, masked_power_softmax};
use super::scalar::Real;
use crate::error::ReferenceError;

/// Parameters of one head.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Head {
    /// Form of Power-Softmax.
    pub form: Form,
    /// Even power p.
    pub power: u32,
    /// Added to the denominator, where the form says.
    pub eps: f64,
    /// Public number c by which scores are divided on top of `sqrt(d_k)`.
    pub score_scale: f64,
}

/// Weighted values, one row per query: `sum_j PS(q_i . k / (sqrt(d_k) c))_j v_j`.
///
/// `query` and `key` are rows of one length, `value` has one row per key, `mask[i][j]` says whether query `i` sees key
/// `j`.
///
/// # Errors
/// [`ReferenceError::BadOperand`] for sizes that do not fit, a scale that is not positive and finite, and as
/// [`masked_power_softmax`].
pub fn attention<S: Real>(
    head: &Head,
    query: &[Vec<S>],
    key: &[Vec<S>],
    value: &[Vec<S>],
    mask: &[Vec<bool>],
    context: S::Context,
) -> Result<Vec<Vec<S>>, ReferenceError> {
    let refuse = |expected: &str, got: String| ReferenceError::BadOperand {
        operation: "attention",
        expected: expected.to_owned(),
        got,
    };
    let (size, width) = (query.first().map_or(0, Vec::len), value.first().map_or(0, Vec::len));
    if size == 0 || width == 0 || query.iter().chain(key).any(|row| row.len() != size) {
        return Err(refuse("query and key rows of one length and at least one value channel", format!("d_k = {size}")));
    }
    if key.len() != value.len() || value.iter().any(|row| row.len() != width) {
        return Err(refuse("one value row of one length per key", format!("{} and {}", key.len(), value.len())));
    }
    if mask.len() != query.len() {
        return Err(refuse("one row of the mask per query", mask.len().to_string()));
    }
    if !(head.score_scale.is_finite() && head.score_scale > 0.0) {
        return Err(refuse("a finite score scale > 0", head.score_scale.to_string()));
    }
    let divisor = S::point(size as f64, context).sqrt().mul(&S::point(head.score_scale, context));
    let row = |(q, mask): (&Vec<S>, &Vec<bool>)| {
        let scores: Vec<S> = key.iter().map(|k| S::inner(q.iter().zip(k), context).div(&divisor)).collect();
        let weights = masked_power_softmax(head.form, &scores, mask, head.power, head.eps, context)?;
        Ok((0..width).map(|c| S::inner(weights.iter().zip(value.iter().map(|v| &v[c])), context)).collect())
    };
    query.iter().zip(mask).map(row).collect()
}
