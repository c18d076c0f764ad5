//! How far the polynomial model is from the exact one.

use super::network::Network;
use super::prompts::Prompts;
use crate::error::ReferenceError;
use crate::rungs::Exact;
use rayon::prelude::*;
use touchstone_spec::artifact::Polynomials;

/// How far the polynomial model is from the exact one on held-out prompts, both in binary64.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Agreement {
    /// Prompts compared.
    pub prompts: usize,
    /// Largest difference of a logit at the last position.
    pub max_difference: f64,
    /// Prompts with the same most likely token.
    pub same_token: usize,
    /// Prompts on which an input left its interval or the stream its limit, so that the polynomial model has no value.
    pub escapes: usize,
}

impl Agreement {
    fn joined(self, other: Self) -> Self {
        Self {
            prompts: self.prompts + other.prompts,
            max_difference: self.max_difference.max(other.max_difference),
            same_token: self.same_token + other.same_token,
            escapes: self.escapes + other.escapes,
        }
    }
}

/// Compares the polynomials with the exact functions on prompts, at each prompt's last position.
///
/// # Errors
/// What [`Network::logits`] refuses, except escapes, which are counted; as [`Network::replaced`].
pub fn compare(model: &dyn Network, prompts: &Prompts, polynomials: &Polynomials) -> Result<Agreement, ReferenceError> {
    let rung = model.replaced(polynomials)?;
    let each = prompts.windows.par_iter().zip(&prompts.lengths).map(|(tokens, &length)| {
        let mut within = true;
        let mut observe = |name: &str, _: &[usize], values: &[f64]| {
            let stream = polynomials.streams.iter().find(|stream| stream.tap == name);
            within &= stream.is_none_or(|stream| values.iter().all(|x| x.abs() <= stream.limit.0));
        };
        let replaced = match model.logits(tokens, length, &rung, &mut observe) {
            Err(ReferenceError::Escape { .. }) => None,
            other => Some(other?),
        };
        let Some(replaced) = replaced.filter(|_| within) else {
            return Ok(Agreement { prompts: 1, escapes: 1, ..Agreement::default() });
        };
        let exact = model.logits(tokens, length, &Exact, &mut ())?;
        let differences = exact.iter().zip(&replaced).map(|(a, b)| (a - b).abs());
        let same_token = usize::from(argmax(&exact) == argmax(&replaced));
        Ok(Agreement { prompts: 1, max_difference: differences.fold(0.0, f64::max), same_token, escapes: 0 })
    });
    each.try_reduce(Agreement::default, |a, b| Ok(a.joined(b)))
}

fn argmax(logits: &[f64]) -> usize {
    (0..logits.len()).fold(0, |best, i| if logits[i] > logits[best] { i } else { best })
}
