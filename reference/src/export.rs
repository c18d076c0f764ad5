//! Turns a trained Power-Softmax model into a polynomial-model artifact (`r[artifact.files]`).
//!
//! Intervals come from calibration in binary64 over windows of a text and over short prompts in the padding
//! convention (`r[model.pad]`); degrees are the smallest of a fixed list that meet the stated targets.

use crate::approx::replacement;
use crate::error::ReferenceError;
use crate::model::{Model, cyclic, encode, forward};
use crate::rungs::{Exact, Replaced, Rung, site_function};
use rayon::prelude::*;
use std::collections::BTreeMap;
use tokenizers::Tokenizer;
use touchstone_spec::artifact::{Function, ModelConfig, POLYNOMIALS_FORMAT, Polynomials, Site, site_names};

/// Text between two stories.
const SEPARATOR: &str = "<|endoftext|>";
/// Degrees tried for inverse square roots; the first with a certified relative error of at most
/// [`INVERSE_SQRT_TARGET`] is taken.
const INVERSE_SQRT_DEGREES: [usize; 4] = [15, 31, 63, 127];
/// Relative error aimed at for inverse square roots.
const INVERSE_SQRT_TARGET: f64 = 1.0 / 65536.0;
/// Degrees of GELU and of the reciprocal, tried in this order until logits stay within [`LOGIT_TARGET`].
const ACTIVATION_DEGREES: [[usize; 2]; 5] = [[15, 127], [31, 127], [31, 255], [63, 255], [63, 511]];
/// Largest admitted difference of a logit on the held-out prompts.
const LOGIT_TARGET: f64 = 0.02;

/// Smallest and largest input of each site.
pub type Ranges = BTreeMap<String, [f64; 2]>;

/// How far the polynomial model is from the exact one on held-out prompts, both in binary64.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Agreement {
    /// Prompts compared.
    pub prompts: usize,
    /// Largest difference of a logit at the last position.
    pub max_difference: f64,
    /// Prompts with the same most likely token.
    pub same_token: usize,
    /// Prompts on which an input left its interval, so that the polynomial model has no value.
    pub escapes: usize,
}

/// Windows of a text and short prompts made from their beginnings.
#[derive(Clone, Debug)]
pub struct Prompts {
    /// Token sequences of the context's full length.
    pub windows: Vec<Vec<u32>>,
    /// Number of leading tokens that are the prompt proper, for each window.
    pub lengths: Vec<usize>,
}

impl Prompts {
    /// `count` windows evenly spread over the stories of `text`, each preceded by a short prompt from its beginning,
    /// extended cyclically. The lengths of the short prompts go through `1..context` in turn.
    ///
    /// # Errors
    /// [`ReferenceError::BadOperand`] when the text does not tokenise or is shorter than one window.
    pub fn draw(tokenizer: &Tokenizer, text: &str, context: usize, count: usize) -> Result<Self, ReferenceError> {
        let mut all: Vec<Vec<u32>> = Vec::new();
        for story in text.split(SEPARATOR) {
            let tokens = encode(tokenizer, story.trim())?;
            all.extend(tokens.chunks_exact(context).map(<[u32]>::to_vec));
        }
        if all.is_empty() || count == 0 {
            return Err(ReferenceError::BadOperand {
                operation: "calibration",
                expected: format!("at least one window of {context} tokens"),
                got: format!("{} windows, {count} asked for", all.len()),
            });
        }
        let count = count.min(all.len());
        let (mut windows, mut lengths) = (Vec::new(), Vec::new());
        for i in 0..count {
            let window = all[i * all.len() / count].clone();
            let length = 1 + i % (context.max(2) - 1);
            windows.push(cyclic(&window[..length], context));
            lengths.push(length);
            windows.push(window);
            lengths.push(context);
        }
        Ok(Self { windows, lengths })
    }
}

/// Smallest and largest input of every site over the prompts, with the exact functions in binary64.
///
/// # Errors
/// What [`forward`] refuses.
pub fn calibrate(model: &Model, prompts: &Prompts) -> Result<Ranges, ReferenceError> {
    let ranges = prompts.windows.par_iter().map(|tokens| {
        let mut ranges = Ranges::new();
        let mut observe = |name: &str, _: &[usize], values: &[f64]| {
            if let Some(site) = site_of_tap(name) {
                let range = ranges.entry(site).or_insert([f64::INFINITY, f64::NEG_INFINITY]);
                for &x in values {
                    *range = [range[0].min(x), range[1].max(x)];
                }
            }
        };
        forward(model, tokens, tokens.len() - 1, &Exact, (), &mut observe).map(|_| ranges)
    });
    ranges.try_reduce(Ranges::new, |mut all, one| {
        for (site, [low, high]) in one {
            let range = all.entry(site).or_insert([low, high]);
            *range = [range[0].min(low), range[1].max(high)];
        }
        Ok(all)
    })
}

/// The site whose inputs a tap shows.
fn site_of_tap(tap: &str) -> Option<String> {
    const INPUTS: [(&str, &str); 4] = [
        ("mlp-layernorm.variance", "mlp-inverse-sqrt"),
        ("layernorm.variance", "inverse-sqrt"),
        ("attention.denominator", "reciprocal"),
        ("mlp.hidden", "gelu"),
    ];
    INPUTS.iter().find_map(|(tail, site)| Some(format!("{}{site}", tap.strip_suffix(tail)?)))
}

/// Interval on which a site's replacement is certified: the observed range with a margin.
///
/// A positive range `[low, high]` becomes `[low / margin, high * margin]`; denominators start at 0, which they approach
/// at first positions; GELU's interval is symmetric.
#[must_use]
pub fn interval(function: &Function, [low, high]: [f64; 2], margin: f64) -> [f64; 2] {
    match function {
        Function::InverseSqrt { .. } => [low / margin, high * margin],
        Function::Reciprocal { .. } => [0.0, high * margin],
        Function::Gelu => {
            let largest = low.abs().max(high.abs()) * margin;
            [-largest, largest]
        }
    }
}

/// Compares a rung with the exact functions on prompts, at each prompt's last position.
///
/// # Errors
/// What [`forward`] refuses, except escapes, which are counted.
pub fn compare(model: &Model, prompts: &Prompts, rung: &dyn Rung<f64>) -> Result<Agreement, ReferenceError> {
    let each = prompts.windows.par_iter().zip(&prompts.lengths).map(|(tokens, &length)| {
        let exact = forward(model, tokens, length - 1, &Exact, (), &mut ())?;
        let replaced = match forward(model, tokens, length - 1, rung, (), &mut ()) {
            Err(ReferenceError::Escape { .. }) => {
                return Ok(Agreement { prompts: 1, max_difference: 0.0, same_token: 0, escapes: 1 });
            }
            other => other?,
        };
        let differences = exact.iter().zip(&replaced).map(|(a, b): (&f64, &f64)| f64::abs(a - b));
        let same_token = usize::from(argmax(&exact) == argmax(&replaced));
        Ok(Agreement { prompts: 1, max_difference: differences.fold(0.0, f64::max), same_token, escapes: 0 })
    });
    each.try_reduce(
        || Agreement { prompts: 0, max_difference: 0.0, same_token: 0, escapes: 0 },
        |a, b| {
            Ok(Agreement {
                prompts: a.prompts + b.prompts,
                max_difference: a.max_difference.max(b.max_difference),
                same_token: a.same_token + b.same_token,
                escapes: a.escapes + b.escapes,
            })
        },
    )
}

fn argmax(logits: &[f64]) -> usize {
    (0..logits.len()).fold(0, |best, i| if logits[i] > logits[best] { i } else { best })
}

/// Chooses degrees and certifies one replacement per site.
///
/// # Errors
/// As [`replacement`]; [`ReferenceError::BadOperand`] when no degree of the list meets the targets or a site was not
/// observed.
pub fn replace(
    model: &Model,
    ranges: &Ranges,
    held_out: &Prompts,
    margin: f64,
    calibration: &str,
) -> Result<(Polynomials, Agreement), ReferenceError> {
    let mut best = None;
    for [gelu, reciprocal] in ACTIVATION_DEGREES {
        let sites = site_names(&model.config)
            .iter()
            .map(|name| choose(&model.config, name, ranges, margin, gelu, reciprocal))
            .collect::<Result<Vec<Site>, _>>()?;
        let polynomials =
            Polynomials { format: POLYNOMIALS_FORMAT.to_owned(), calibration: calibration.to_owned(), sites };
        let agreement = compare(model, held_out, &Replaced::new(&model.config, &polynomials)?)?;
        if agreement.max_difference <= LOGIT_TARGET && agreement.escapes == 0 {
            return Ok((polynomials, agreement));
        }
        best = Some(agreement);
    }
    Err(ReferenceError::BadOperand {
        operation: "choice of degrees",
        expected: format!("logits within {LOGIT_TARGET} of the exact model on held-out prompts, without escapes"),
        got: format!("{best:?} at the highest degrees"),
    })
}

fn choose(
    config: &ModelConfig,
    name: &str,
    ranges: &Ranges,
    margin: f64,
    gelu: usize,
    reciprocal: usize,
) -> Result<Site, ReferenceError> {
    let function = site_function(config, name);
    let observed = *ranges.get(name).ok_or_else(|| ReferenceError::BadOperand {
        operation: "choice of degrees",
        expected: format!("inputs of {name}"),
        got: "none".to_owned(),
    })?;
    let certified = interval(&function, observed, margin);
    match function {
        Function::Gelu => replacement(name, function, observed, certified, gelu),
        Function::Reciprocal { .. } => replacement(name, function, observed, certified, reciprocal),
        Function::InverseSqrt { .. } => {
            for degree in INVERSE_SQRT_DEGREES {
                let site = replacement(name, function, observed, certified, degree)?;
                if site.sup_error.0 <= INVERSE_SQRT_TARGET {
                    return Ok(site);
                }
            }
            Err(ReferenceError::BadOperand {
                operation: "choice of degrees",
                expected: format!("relative error {INVERSE_SQRT_TARGET:e} at degree 127 or below"),
                got: format!("{name} on {certified:?}"),
            })
        }
    }
}
