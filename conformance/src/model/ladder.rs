//! The ladder at every tap: R0 to R1 within the certified approximation error, R1 to the run within the noise bound.

use super::encrypted::Predicted;
use super::exact::{Certified, Ladder};
use crate::metrics::{Comparison, Expected, TokenVerdict, compare, compare_token};
use crate::{CaseOutcome, ConformError, Verdict};
use touchstone_llm::bounds::{Composed, ORIGINS};
use touchstone_llm::tap::Tensor;
use touchstone_spec::record::TapRecord;

/// What tap `name` should be: R1 with the predicted worst-case bound.
///
/// # Errors
/// [`ConformError::MissingTap`], or [`ConformError::Length`] if the sides disagree about the tap's size.
pub fn expected(ladder: &Ladder, predicted: &Predicted, name: &str) -> Result<Vec<Expected>, ConformError> {
    let r1 = reference_tap(&ladder.r1, name)?;
    let spreads = &composed(predicted, name)?.spreads;
    if r1.len() != spreads.len() {
        let (expected, got) = (r1.len(), spreads.len());
        return Err(ConformError::Length { what: format!("bounds of {name}"), expected, got });
    }
    let factor = predicted.bounds.factor;
    let pairs = r1.iter().zip(spreads);
    Ok(pairs
        .map(|(value, spread)| Expected { mid: value.mid, rad: value.rad, bound: factor * spread.total() })
        .collect())
}

/// Compares every tap of the graph; the first one out of bound is named.
///
/// # Errors
/// [`ConformError::MissingTap`] if a side left a tap out, and those of [`compare`].
pub fn outcome(
    ladder: &Ladder,
    predicted: &Predicted,
    got: &[Tensor],
    tokens: &[u32],
) -> Result<CaseOutcome, ConformError> {
    let (mut taps, mut out) = (Vec::new(), Vec::new());
    for name in &ladder.names {
        let tensor = got.iter().find(|tensor| tensor.name == *name);
        let tensor = tensor.ok_or_else(|| ConformError::MissingTap { tap: name.clone(), side: "optimized" })?;
        let (record, failure) = tap(ladder, predicted, name, &tensor.values)?;
        out.extend(failure);
        taps.push(record);
    }
    let token = token(ladder, predicted, got)?;
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
    outcome.taps = taps;
    Ok(outcome)
}

fn token(ladder: &Ladder, predicted: &Predicted, got: &[Tensor]) -> Result<TokenVerdict, ConformError> {
    let expected = expected(ladder, predicted, "logits")?;
    let logits = got.iter().find(|tensor| tensor.name == "logits");
    let logits = logits.ok_or_else(|| ConformError::MissingTap { tap: "logits".to_owned(), side: "optimized" })?;
    compare_token(&expected, &logits.values)
}

/// One row of the table, and what is wrong with it.
fn tap(
    ladder: &Ladder,
    predicted: &Predicted,
    name: &str,
    got: &[f64],
) -> Result<(TapRecord, Option<String>), ConformError> {
    let approximation = approximation(ladder, name)?;
    let expected = expected(ladder, predicted, name)?;
    let run = compare(name, &expected, got)?;
    let estimate = predicted.estimates.tap(name);
    let estimate = estimate.ok_or_else(|| ConformError::MissingTap { tap: name.to_owned(), side: "optimized" })?;
    let worst = run.worst_index;
    let spread = composed(predicted, name)?.spreads[worst];
    let factor = predicted.bounds.factor;
    let terms = ORIGINS.iter().zip(spread.0).filter(|(_, size)| *size > 0.0);
    let terms = terms.map(|(origin, size)| ((*origin).to_owned(), factor * size));
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
        encryption_bound: factor * spread.total(),
        encryption_rss: estimate.deviation[worst],
        terms: terms.collect(),
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

fn composed<'a>(predicted: &'a Predicted, name: &str) -> Result<&'a Composed, ConformError> {
    let missing = |_| ConformError::MissingTap { tap: name.to_owned(), side: "optimized" };
    predicted.bounds.tap(name).map_err(missing)
}
