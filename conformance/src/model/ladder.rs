//! The ladder at every tap: R0 to R1 within the certified approximation error, R1 to the run within the noise bound.

use super::encrypted::Predicted;
use super::exact::{Certified, Compositions, Ladder, Reference};
use super::side;
use crate::metrics::{Comparison, Expected, TokenVerdict, compare, compare_token, least_rms, standardised_rms};
use crate::{CaseOutcome, ConformError, Verdict};
use touchstone_llm::tap::Tensor;
use touchstone_reference::bounds::Bound;
use touchstone_reference::bounds::layer::{Composed, FAILURE};
use touchstone_spec::record::TapRecord;

/// Factor by which the two sides' composed bounds may differ (`r[noise.cross-check]`).
const AGREEMENT: f64 = 2.0;

/// The rungs of a prompt with what both sides predict about its errors.
pub struct Bounded {
    /// R0 and R1.
    pub ladder: Ladder,
    /// The optimised side's declaration, estimates and own bounds.
    pub predicted: Predicted,
    /// Composed by the reference.
    pub composed: Compositions,
}

impl Bounded {
    /// Composes the declared fresh errors.
    ///
    /// # Errors
    /// As [`Reference::compose`].
    pub fn new(reference: &Reference, ladder: Ladder, predicted: Predicted) -> Result<Self, ConformError> {
        let composed = reference.compose(&ladder, &predicted.fresh)?;
        Ok(Self { ladder, predicted, composed })
    }
}

/// What tap `name` should be: R1 with the bound that the reference composes (`r[noise.layer]`).
///
/// # Errors
/// [`ConformError::MissingTap`], or [`ConformError::Length`] if the sides disagree about the tap's size.
pub fn expected(bounded: &Bounded, name: &str) -> Result<Vec<Expected>, ConformError> {
    let r1 = reference_tap(&bounded.ladder.r1, name)?;
    let bounds = composed(&bounded.composed.layer, name)?;
    if r1.len() != bounds.len() {
        let (expected, got) = (r1.len(), bounds.len());
        return Err(ConformError::Length { what: format!("bounds of {name}"), expected, got });
    }
    let pairs = r1.iter().zip(bounds);
    Ok(pairs.map(|(value, bound)| Expected { mid: value.mid, rad: value.rad, bound: bound.total }).collect())
}

/// Where the bounds that the two sides compose for tap `name` differ by more than [`AGREEMENT`] (`r[noise.cross-check]`), in
/// words.
///
/// # Errors
/// [`ConformError::MissingTap`], [`ConformError::Length`].
pub fn disagreement(bounded: &Bounded, name: &str) -> Result<Option<String>, ConformError> {
    let reference = composed(&bounded.composed.layer, name)?;
    let missing = |_| ConformError::MissingTap { tap: name.to_owned(), side: "optimized" };
    let optimized = bounded.predicted.bounds.bound(name).map_err(missing)?;
    if reference.len() != optimized.len() {
        let (expected, got) = (reference.len(), optimized.len());
        return Err(ConformError::Length { what: format!("composed bounds of {name}"), expected, got });
    }
    let apart = |(bound, other): &(&Bound, &f64)| {
        let close = bound.total <= AGREEMENT * **other && **other <= AGREEMENT * bound.total;
        !close
    };
    let found = reference.iter().zip(&optimized).enumerate().find(|(_, pair)| apart(pair));
    Ok(found.map(|(index, (bound, other))| {
        let total = bound.total;
        format!("{name}, value {index}: composed bound {total:e} by the reference, {other:e} by the optimised side")
    }))
}

/// Compares every tap of the graph; the first one out of bound is named.
///
/// `noisy` says that the values come from an encrypted run, so that too little noise is a failure.
///
/// # Errors
/// [`ConformError::MissingTap`] if a side left a tap out, and those of [`compare`].
pub fn outcome(bounded: &Bounded, got: &[Tensor], tokens: &[u32], noisy: bool) -> Result<CaseOutcome, ConformError> {
    let (mut taps, mut out) = (Vec::new(), Vec::new());
    for name in &bounded.ladder.names {
        let values = &tensor(got, name)?.values;
        let (record, failure) = tap(bounded, name, values)?;
        out.extend(failure);
        out.extend(disagreement(bounded, name)?);
        if noisy {
            out.extend(too_little(bounded, name, values, tokens.len())?);
        }
        taps.push(record);
    }
    let token = compare_token(&expected(bounded, "logits")?, &tensor(got, "logits")?.values)?;
    if token == TokenVerdict::Different {
        out.push("another token is predicted".to_owned());
    }
    let verdict = if out.is_empty() { Verdict::Pass } else { Verdict::Fail };
    let message = match out.first() {
        None => format!("{} taps inside their bounds, token {token:?}", taps.len()),
        Some(first) => format!("first tap out of bound: {first}; {} in all", out.len()),
    };
    let mut outcome = CaseOutcome::new(verdict, message, 1);
    outcome.facts.insert("prompt".to_owned(), format!("{} tokens", tokens.len()));
    outcome.facts.insert("predicted token".to_owned(), format!("{token:?}"));
    outcome.facts.insert("propagated to the logits".to_owned(), propagated(bounded)?);
    outcome.taps = taps;
    Ok(outcome)
}

/// The largest logit's error by each way of propagation.
fn propagated(bounded: &Bounded) -> Result<String, ConformError> {
    let largest = |composed_by: &Composed| {
        let bounds = composed(composed_by, "logits")?;
        Ok::<_, ConformError>(bounds.iter().map(|bound| bound.total).fold(0.0, f64::max).log2())
    };
    let all = &bounded.composed;
    Ok(format!(
        "bound 2^{:.1} (noise.layer), worst case 2^{:.1} (noise.worst-case), root sum square 2^{:.1} (noise.rss, a deviation)",
        largest(&all.layer)?,
        largest(&all.worst_case)?,
        largest(&all.root_sum_square)?
    ))
}

/// Whether the errors at a tap are far below what is predicted (`r[noise.too-little]`), in words.
fn too_little(bounded: &Bounded, name: &str, got: &[f64], tokens: usize) -> Result<Option<String>, ConformError> {
    let deviations = &estimate(bounded, name)?.deviation;
    let Some(rms) = standardised_rms(name, &expected(bounded, name)?, deviations, got)? else {
        return Ok(None);
    };
    let least = least_rms(groups(&bounded.ladder, name, tokens), FAILURE);
    Ok((rms < least).then(|| format!("{name}: too little noise, rms {rms:.3} of the estimate, least {least:.3}")))
}

/// Groups of errors at a tap that may share a factor.
fn groups(ladder: &Ladder, name: &str, tokens: usize) -> usize {
    let per_row = ["scores", "powers", "denominator", "reciprocal"];
    match name.rsplit_once('.') {
        Some((part, tap)) if per_row.contains(&tap) => {
            ladder.r1.get(&format!("{part}.denominator")).map_or(tokens, Vec::len)
        }
        Some(_) => tokens,
        None if name == "embedding" => tokens,
        None => 1,
    }
}

/// One row of the table, and what is wrong with it.
fn tap(bounded: &Bounded, name: &str, got: &[f64]) -> Result<(TapRecord, Option<String>), ConformError> {
    let ladder = &bounded.ladder;
    let approximation = approximation(ladder, name)?;
    let run = compare(name, &expected(bounded, name)?, got)?;
    let worst = run.worst_index;
    let bound = &composed(&bounded.composed.layer, name)?[worst];
    let r1 = reference_tap(&ladder.r1, name)?;
    let record = TapRecord {
        name: name.to_owned(),
        values: got.len(),
        magnitude: r1.iter().map(|value| value.mid.abs()).fold(0.0, f64::max),
        radius: r1.iter().map(|value| value.rad).fold(0.0, f64::max),
        approximation: approximation.max_error,
        approximation_bound: approximation.worst_allowance,
        encryption: run.max_error,
        encryption_rms: run.rms,
        worst_index: worst,
        encryption_bound: bound.total,
        encryption_rss: estimate(bounded, name)?.deviation[worst],
        terms: bound.terms.iter().map(|term| (term.name.to_owned(), term.value)).collect(),
        slack_bits: if run.worst_error > 0.0 { run.slack_bits() } else { 0.0 },
    };
    let failure =
        [("R1-R0", &approximation), ("R4-R1", &run)].into_iter().find(|(_, c)| !c.conforms()).map(|(step, c)| {
            format!(
                "{name} ({step}), value {}: error {:e}, bound {:e}",
                c.worst_index, c.worst_error, c.worst_allowance
            )
        });
    Ok((record, failure))
}

/// R1 against R0, bounded by the width of widened R0, which encloses both.
fn approximation(ladder: &Ladder, name: &str) -> Result<Comparison, ConformError> {
    let (r0, r1) = (reference_tap(&ladder.r0, name)?, reference_tap(&ladder.r1, name)?);
    let widened = reference_tap(&ladder.widened, name)?;
    let expected: Vec<Expected> = r0
        .iter()
        .zip(r1)
        .zip(widened)
        .map(|((r0, r1), wide)| Expected { mid: r0.mid, rad: r0.rad + r1.rad, bound: 2.0 * wide.rad })
        .collect();
    let mids: Vec<f64> = r1.iter().map(|value| value.mid).collect();
    compare(name, &expected, &mids)
}

fn reference_tap<'a>(
    taps: &'a std::collections::BTreeMap<String, Vec<Certified>>,
    name: &str,
) -> Result<&'a Vec<Certified>, ConformError> {
    taps.get(name).ok_or_else(|| ConformError::MissingTap { tap: name.to_owned(), side: "reference" })
}

fn tensor<'a>(taps: &'a [Tensor], name: &str) -> Result<&'a Tensor, ConformError> {
    let missing = || ConformError::MissingTap { tap: name.to_owned(), side: "optimized" };
    taps.iter().find(|tensor| tensor.name == name).ok_or_else(missing)
}

fn estimate<'a>(
    bounded: &'a Bounded,
    name: &str,
) -> Result<&'a touchstone_llm::backend::slots::Prediction, ConformError> {
    let missing = || ConformError::MissingTap { tap: name.to_owned(), side: "optimized" };
    bounded.predicted.estimates.tap(name).ok_or_else(missing)
}

fn composed(composed: &Composed, name: &str) -> Result<Vec<Bound>, ConformError> {
    composed.tap(name).map_err(|e| side("reference", "composed errors", e))
}
