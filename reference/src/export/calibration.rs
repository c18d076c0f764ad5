//! Ranges of the inputs of replaced functions and of the residual stream, and intervals that hold them.

use super::network::Network;
use super::prompts::Prompts;
use crate::error::ReferenceError;
use crate::rungs::Exact;
use rayon::prelude::*;
use std::collections::BTreeMap;
use touchstone_spec::artifact::{Function, Stream, stream_tap};
use touchstone_spec::hexfloat::HexFloat;

/// Factor on an input's maximum over all prompts: room for rounding here and for the noise of encrypted inputs.
const CEILING_MARGIN: f64 = 1.0 + 1.0 / 64.0;

/// Smallest and largest input of each site, and smallest and largest entry of the residual stream at each of its taps.
pub type Ranges = BTreeMap<String, [f64; 2]>;

/// What is known of the inputs of each site, and how far intervals go beyond it.
#[derive(Clone, Debug)]
pub struct Calibration {
    /// Inputs seen ([`calibrate`]).
    pub ranges: Ranges,
    /// Largest inputs over all prompts, at sites where they are known ([`super::first_layer_denominator`]).
    pub ceilings: BTreeMap<String, f64>,
    /// Factor between the ranges and the intervals, at least 1.
    pub margin: f64,
    /// The artifact's account of the data and the margin.
    pub description: String,
}

impl Calibration {
    /// Range of a site or stream tap.
    ///
    /// # Errors
    /// [`ReferenceError::BadOperand`] if it was not observed.
    pub(super) fn observed(&self, name: &str) -> Result<[f64; 2], ReferenceError> {
        self.ranges.get(name).copied().ok_or_else(|| ReferenceError::BadOperand {
            operation: "choice of degrees",
            expected: format!("inputs of {name}"),
            got: "none".to_owned(),
        })
    }

    /// The streams of an artifact: what was observed, and the limit a margin beyond it (`r[artifact.streams]`).
    pub(super) fn streams(&self, layers: usize) -> Result<Vec<Stream>, ReferenceError> {
        let stream = |layer| {
            let tap = stream_tap(layer);
            let [low, high] = self.observed(&tap)?;
            let observed = low.abs().max(high.abs());
            Ok(Stream { tap, observed: HexFloat(observed), limit: HexFloat(observed * self.margin) })
        };
        (0..layers).map(stream).collect()
    }
}

/// Smallest and largest input of every site and entry of every stream tap, with the exact functions in binary64.
///
/// Inputs that depend on embedding rows alone are those of the whole vocabulary ([`Network::tabulated`]).
///
/// # Errors
/// What [`Network::logits`] refuses.
pub fn calibrate(model: &dyn Network, prompts: &[Prompts]) -> Result<Ranges, ReferenceError> {
    let windows: Vec<(&Vec<u32>, usize)> =
        prompts.iter().flat_map(|set| set.windows.iter().zip(set.lengths.iter().copied())).collect();
    let ranges = windows.into_par_iter().map(|(tokens, length)| {
        let mut ranges = Ranges::new();
        let mut observe = |name: &str, _: &[usize], values: &[f64]| {
            if let Some(site) = site_of_tap(name) {
                include(&mut ranges, &site, values);
            }
        };
        model.logits(tokens, length, &Exact, &mut observe).map(|_| ranges)
    });
    let seen = ranges.try_reduce(Ranges::new, |all, one| Ok(joined(all, &one)))?;
    Ok(joined(seen, &model.tabulated()))
}

/// The ranges that hold both.
pub(super) fn joined(mut all: Ranges, one: &Ranges) -> Ranges {
    one.iter().for_each(|(site, ends)| include(&mut all, site, ends));
    all
}

/// Extends the range of a site to some values.
pub(super) fn include(ranges: &mut Ranges, site: &str, values: &[f64]) {
    let range = ranges.entry(site.to_owned()).or_insert([f64::INFINITY, f64::NEG_INFINITY]);
    for &x in values {
        *range = [range[0].min(x), range[1].max(x)];
    }
}

/// The site whose inputs a tap shows; for a tap of the residual stream its own name.
fn site_of_tap(tap: &str) -> Option<String> {
    const INPUTS: [(&str, &str); 4] = [
        ("layernorm.variance", "inverse-sqrt"),
        ("attention.denominator", "reciprocal"),
        ("mlp.hidden", "gelu"),
        ("pooler.input", "pooler.tanh"),
    ];
    if tap.ends_with(".residual") {
        return Some(tap.to_owned());
    }
    INPUTS.iter().find_map(|(tail, site)| Some(format!("{}{site}", tap.strip_suffix(tail)?)))
}

/// Interval on which a site's replacement is certified: the observed range with a margin (`r[train.margin]`).
///
/// A positive range `[low, high]` becomes `[low / margin, high * margin]`; denominators start at 0, which they approach
/// at first positions, and end 1/64 above their maximum over all prompts where that `ceiling` is given; the intervals of
/// GELU and tanh are symmetric.
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
