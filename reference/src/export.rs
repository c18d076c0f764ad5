//! Turns a trained Power-Softmax model into a polynomial-model artifact (`r[artifact.files]`).
//!
//! Intervals come from calibration in binary64 over prompts in the padding convention (`r[model.pad]`), natural ones and
//! ones of rare tokens, and over every embedding row; degrees are the smallest of a fixed list that meet the stated
//! targets.

mod ceiling;
mod prompts;

pub use ceiling::first_layer_denominator;
pub use prompts::Prompts;

use crate::approx::replacement;
use crate::error::ReferenceError;
use crate::model::{Model, centre, forward, variance};
use crate::rungs::{Exact, Replaced, Rung, site_function};
use rayon::prelude::*;
use std::collections::BTreeMap;
use touchstone_spec::artifact::{Function, ModelConfig, POLYNOMIALS_FORMAT, Polynomials, Site, site_names};

/// Degrees of inverse square roots and the certified relative error that is aimed at: the first that holds is taken, so
/// that an error above 2^-16 is admitted only where it saves the level that degree 127 costs.
const INVERSE_SQRT_CHOICES: [(usize, f64); 5] =
    [(15, 1.0 / 65536.0), (31, 1.0 / 65536.0), (63, 1.0 / 65536.0), (63, 1.0 / 4096.0), (127, 1.0 / 4096.0)];
/// Degrees of GELU and of the reciprocal, tried in this order until logits stay within [`LOGIT_TARGET`].
const ACTIVATION_DEGREES: [[usize; 2]; 5] = [[15, 127], [31, 127], [31, 255], [63, 255], [63, 511]];
/// Largest admitted difference of a logit on the held-out prompts.
const LOGIT_TARGET: f64 = 0.02;
/// Factor on an input's maximum over all prompts: room for rounding here and for the noise of encrypted inputs.
const CEILING_MARGIN: f64 = 1.0 + 1.0 / 64.0;

/// Smallest and largest input of each site.
pub type Ranges = BTreeMap<String, [f64; 2]>;

/// What is known of the inputs of each site, and how far intervals go beyond it.
#[derive(Clone, Debug)]
pub struct Calibration {
    /// Inputs seen ([`calibrate`]).
    pub ranges: Ranges,
    /// Largest inputs over all prompts, at sites where they are known ([`first_layer_denominator`]).
    pub ceilings: BTreeMap<String, f64>,
    /// Factor between the ranges and the intervals, at least 1.
    pub margin: f64,
    /// The artifact's account of the data and the margin.
    pub description: String,
}

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

/// Smallest and largest input of every site over the prompts, with the exact functions in binary64.
///
/// The first LayerNorm reads embedding rows, so its range includes the variance of every row of the vocabulary.
///
/// # Errors
/// What [`forward`] refuses.
pub fn calibrate(model: &Model, prompts: &[Prompts]) -> Result<Ranges, ReferenceError> {
    let windows: Vec<&Vec<u32>> = prompts.iter().flat_map(|set| &set.windows).collect();
    let ranges = windows.into_par_iter().map(|tokens| {
        let mut ranges = Ranges::new();
        let mut observe = |name: &str, _: &[usize], values: &[f64]| {
            if let Some(site) = site_of_tap(name) {
                include(&mut ranges, &site, values);
            }
        };
        forward(model, tokens, tokens.len() - 1, &Exact, (), &mut observe).map(|_| ranges)
    });
    let mut ranges = ranges.try_reduce(Ranges::new, |mut all, one| {
        one.iter().for_each(|(site, ends)| include(&mut all, site, ends));
        Ok(all)
    })?;
    let rows = (0..model.embedding.rows).map(|row| variance(&centre::<f64>(model.embedding.row(row), ()), ()));
    include(&mut ranges, "layers.0.inverse-sqrt", &rows.collect::<Vec<f64>>());
    Ok(ranges)
}

/// Extends the range of a site to some values.
fn include(ranges: &mut Ranges, site: &str, values: &[f64]) {
    let range = ranges.entry(site.to_owned()).or_insert([f64::INFINITY, f64::NEG_INFINITY]);
    for &x in values {
        *range = [range[0].min(x), range[1].max(x)];
    }
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
/// at first positions, and end 1/64 above their maximum over all prompts where that `ceiling` is given; GELU's interval
/// is symmetric.
#[must_use]
pub fn interval(function: &Function, [low, high]: [f64; 2], margin: f64, ceiling: Option<f64>) -> [f64; 2] {
    match function {
        Function::InverseSqrt { .. } => [low / margin, high * margin],
        Function::Reciprocal { .. } => [0.0, ceiling.map_or(high * margin, |most| most * CEILING_MARGIN)],
        Function::Gelu | Function::Tanh => {
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

/// Chooses degrees and certifies one replacement per site; also compares the result with the exact functions on each
/// set of held-out prompts.
///
/// # Errors
/// As [`replacement`]; [`ReferenceError::BadOperand`] when no degree of the list meets the targets or a site was not
/// observed.
pub fn replace(
    model: &Model,
    calibration: &Calibration,
    held_out: &[Prompts],
) -> Result<(Polynomials, Vec<Agreement>), ReferenceError> {
    let mut best = None;
    for [gelu, reciprocal] in ACTIVATION_DEGREES {
        let sites = site_names(&model.config)
            .iter()
            .map(|name| choose(&model.config, name, calibration, gelu, reciprocal))
            .collect::<Result<Vec<Site>, _>>()?;
        let polynomials =
            Polynomials { format: POLYNOMIALS_FORMAT.to_owned(), calibration: calibration.description.clone(), sites };
        let rung = Replaced::new(&model.config, &polynomials)?;
        let agreements =
            held_out.iter().map(|prompts| compare(model, prompts, &rung)).collect::<Result<Vec<Agreement>, _>>()?;
        if agreements.iter().all(|one| one.max_difference <= LOGIT_TARGET && one.escapes == 0) {
            return Ok((polynomials, agreements));
        }
        best = Some(agreements);
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
    calibration: &Calibration,
    gelu: usize,
    reciprocal: usize,
) -> Result<Site, ReferenceError> {
    let function = site_function(config, name);
    let observed = *calibration.ranges.get(name).ok_or_else(|| ReferenceError::BadOperand {
        operation: "choice of degrees",
        expected: format!("inputs of {name}"),
        got: "none".to_owned(),
    })?;
    let certified = interval(&function, observed, calibration.margin, calibration.ceilings.get(name).copied());
    match function {
        Function::Gelu | Function::Tanh => replacement(name, function, observed, certified, gelu),
        Function::Reciprocal { .. } => replacement(name, function, observed, certified, reciprocal),
        Function::InverseSqrt { .. } => {
            for (degree, target) in INVERSE_SQRT_CHOICES {
                let site = replacement(name, function, observed, certified, degree)?;
                if site.sup_error.0 <= target {
                    return Ok(site);
                }
            }
            Err(ReferenceError::BadOperand {
                operation: "choice of degrees",
                expected: "an error within the target at degree 127 or below".to_owned(),
                got: format!("{name} on {certified:?}"),
            })
        }
    }
}
