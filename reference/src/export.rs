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
use crate::rungs::{Exact, Replaced, site_function};
use rayon::prelude::*;
use std::collections::BTreeMap;
use touchstone_spec::artifact::{
    Function, ModelConfig, POLYNOMIALS_FORMAT, Polynomials, Site, Stream, site_names, stream_tap,
};
use touchstone_spec::hexfloat::HexFloat;

/// Degrees of inverse square roots and the certified relative error that is aimed at: the first that holds is taken, so
/// that an error above 2^-16 is admitted only where it saves the level that degree 127 costs.
const INVERSE_SQRT_CHOICES: [(usize, f64); 5] =
    [(15, 1.0 / 65536.0), (31, 1.0 / 65536.0), (63, 1.0 / 65536.0), (63, 1.0 / 4096.0), (127, 1.0 / 4096.0)];
/// Degrees of GELU and of the reciprocal, tried in this order until the logits are close enough.
const ACTIVATION_DEGREES: [[usize; 2]; 5] = [[15, 127], [31, 127], [31, 255], [63, 255], [63, 511]];
/// Factor on an input's maximum over all prompts: room for rounding here and for the noise of encrypted inputs.
const CEILING_MARGIN: f64 = 1.0 + 1.0 / 64.0;

/// Smallest and largest input of each site, and smallest and largest entry of the residual stream at each of its taps.
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

/// What a choice of degrees must achieve, and with what.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Targets {
    /// Largest admitted difference of a logit on held-out prompts.
    pub logits: f64,
    /// Largest degree of an inverse square root.
    pub inverse_sqrt: usize,
    /// Largest degree of a reciprocal.
    pub reciprocal: usize,
    /// Largest degree of an activation.
    pub activation: usize,
}

impl Default for Targets {
    fn default() -> Self {
        Self { logits: 0.02, inverse_sqrt: 127, reciprocal: 511, activation: 63 }
    }
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
    /// Prompts on which an input left its interval or the stream its limit, so that the polynomial model has no value.
    pub escapes: usize,
}

/// Smallest and largest input of every site and entry of every stream tap, with the exact functions in binary64.
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

/// The site whose inputs a tap shows; for a tap of the residual stream its own name.
fn site_of_tap(tap: &str) -> Option<String> {
    const INPUTS: [(&str, &str); 4] = [
        ("mlp-layernorm.variance", "mlp-inverse-sqrt"),
        ("layernorm.variance", "inverse-sqrt"),
        ("attention.denominator", "reciprocal"),
        ("mlp.hidden", "gelu"),
    ];
    if tap.ends_with(".residual") {
        return Some(tap.to_owned());
    }
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

/// Compares the polynomials with the exact functions on prompts, at each prompt's last position.
///
/// # Errors
/// What [`forward`] refuses, except escapes, which are counted; as [`Replaced::new`].
pub fn compare(model: &Model, prompts: &Prompts, polynomials: &Polynomials) -> Result<Agreement, ReferenceError> {
    let rung = Replaced::new(&model.config, polynomials)?;
    let each = prompts.windows.par_iter().zip(&prompts.lengths).map(|(tokens, &length)| {
        let exact = forward(model, tokens, length - 1, &Exact, (), &mut ())?;
        let mut within = true;
        let mut observe = |name: &str, _: &[usize], values: &[f64]| {
            let stream = polynomials.streams.iter().find(|stream| stream.tap == name);
            within &= stream.is_none_or(|stream| values.iter().all(|x| x.abs() <= stream.limit.0));
        };
        let replaced = match forward(model, tokens, length - 1, &rung, (), &mut observe) {
            Err(ReferenceError::Escape { .. }) => None,
            other => Some(other?),
        };
        let Some(replaced) = replaced.filter(|_| within) else {
            return Ok(Agreement { prompts: 1, max_difference: 0.0, same_token: 0, escapes: 1 });
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
/// set of held-out prompts. On the first set, natural text, no prompt may escape; escapes on the others are only counted.
///
/// # Errors
/// As [`replacement`]; [`ReferenceError::BadOperand`] when no admitted degree meets the targets or a site was not
/// observed.
pub fn replace(
    model: &Model,
    calibration: &Calibration,
    held_out: &[Prompts],
    targets: &Targets,
) -> Result<(Polynomials, Vec<Agreement>), ReferenceError> {
    let mut best = None;
    let streams = streams(calibration, model.config.num_hidden_layers)?;
    let admitted = |[gelu, reciprocal]: &[usize; 2]| *gelu <= targets.activation && *reciprocal <= targets.reciprocal;
    for [gelu, reciprocal] in ACTIVATION_DEGREES.into_iter().filter(admitted) {
        let sites = site_names(&model.config)
            .iter()
            .map(|name| choose(&model.config, name, calibration, gelu, reciprocal, targets.inverse_sqrt))
            .collect::<Result<Vec<Site>, _>>()?;
        let polynomials = Polynomials {
            format: POLYNOMIALS_FORMAT.to_owned(),
            calibration: calibration.description.clone(),
            sites,
            streams: streams.clone(),
        };
        let agreements = held_out.iter().map(|prompts| compare(model, prompts, &polynomials));
        let agreements = agreements.collect::<Result<Vec<Agreement>, _>>()?;
        let close = agreements.iter().all(|one| one.max_difference <= targets.logits);
        if close && agreements.first().is_none_or(|natural| natural.escapes == 0) {
            return Ok((polynomials, agreements));
        }
        best = Some(agreements);
    }
    Err(ReferenceError::BadOperand {
        operation: "choice of degrees",
        expected: format!("logits within {} of the exact model, no escape on natural prompts", targets.logits),
        got: format!("{best:?} at the highest admitted degrees"),
    })
}

/// The streams of an artifact: what was observed, and the limit a margin beyond it (`r[artifact.streams]`).
fn streams(calibration: &Calibration, layers: usize) -> Result<Vec<Stream>, ReferenceError> {
    let stream = |layer| {
        let tap = stream_tap(layer);
        let [low, high] = calibration.observed(&tap)?;
        let observed = low.abs().max(high.abs());
        Ok(Stream { tap, observed: HexFloat(observed), limit: HexFloat(observed * calibration.margin) })
    };
    (0..layers).map(stream).collect()
}

impl Calibration {
    fn observed(&self, name: &str) -> Result<[f64; 2], ReferenceError> {
        self.ranges.get(name).copied().ok_or_else(|| ReferenceError::BadOperand {
            operation: "choice of degrees",
            expected: format!("inputs of {name}"),
            got: "none".to_owned(),
        })
    }
}

fn choose(
    config: &ModelConfig,
    name: &str,
    calibration: &Calibration,
    gelu: usize,
    reciprocal: usize,
    inverse_sqrt: usize,
) -> Result<Site, ReferenceError> {
    let function = site_function(config, name);
    let observed = calibration.observed(name)?;
    let certified = interval(&function, observed, calibration.margin, calibration.ceilings.get(name).copied());
    match function {
        Function::Gelu | Function::Tanh => replacement(name, function, observed, certified, gelu),
        Function::Reciprocal { .. } => replacement(name, function, observed, certified, reciprocal),
        Function::InverseSqrt { .. } => {
            for (degree, target) in INVERSE_SQRT_CHOICES.into_iter().filter(|choice| choice.0 <= inverse_sqrt) {
                let site = replacement(name, function, observed, certified, degree)?;
                if site.sup_error.0 <= target {
                    return Ok(site);
                }
            }
            Err(ReferenceError::BadOperand {
                operation: "choice of degrees",
                expected: format!("an error within the target at degree {inverse_sqrt} or below"),
                got: format!("{name} on {certified:?}"),
            })
        }
    }
}
