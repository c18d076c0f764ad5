//! Both packings of the encrypted transformer on one model and the same prompts, tap by tap (`r[packing.twins]`).
//!
//! The batched run is held against R1 like any encrypted run, with its own declared fresh errors, and the packed one against
//! the batched one within the sum of their bounds. Rings are small and rows short, so that this takes seconds; nothing here is secure.

use super::encrypted::{Encrypted, Model, Predicted, parameters};
use super::exact::{Reference, Rungs};
use super::ladder::{self, Bounded};
use super::{missing_model, side};
use crate::metrics::{Expected, compare};
use crate::{CaseOutcome, ConformError, Options, Verdict};
use std::collections::BTreeMap;
use touchstone_ckks::{Context, KeyGenerator, Seed};
use touchstone_llm::LlmError;
use touchstone_llm::batched::{self, BatchedCircuit};
use touchstone_llm::bounds::compose;
use touchstone_llm::session::{DecryptedTaps, Server, encrypt, evaluation_keys};
use touchstone_llm::tap::{PerPrompt, Tensor};
use touchstone_spec::record::TapRecord;

/// Preset of both runs.
pub const PRESET: &str = "toy-n9-deep";
/// Tokens of a row of the batch: the longest prompt.
const ROW: usize = 8;
/// Longest second prompt, shorter than a row so that it is repeated.
const SECOND: usize = 5;

/// Runs the case on the prompt of the options, cut into two.
pub fn run(options: &Options) -> Result<CaseOutcome, ConformError> {
    if let Some(skip) = missing_model(options) {
        return Ok(skip);
    }
    let (model, reference) = (Model::load(&options.model)?, Reference::load(&options.model)?);
    let tokens = reference.tokens(&options.prompt)?;
    let (first, rest) = tokens.split_at(tokens.len().min(ROW));
    let second = &rest[..rest.len().min(SECOND)];
    let prompts: Vec<Vec<u32>> = [first, second].iter().filter(|p| !p.is_empty()).map(|p| p.to_vec()).collect();
    let mut ladders = Vec::new();
    for prompt in &prompts {
        match reference.rungs(prompt)? {
            Rungs::Inside(ladder) => ladders.push(ladder),
            Rungs::Escaped(message) => return Ok(CaseOutcome::new(Verdict::Escape, message, prompts.len())),
        }
    }
    let packed = Encrypted::new(&model, PRESET, options.seed)?;
    let (predicted, batch) = batched_run(&model, &prompts, options.seed).map_err(|e| side("optimized", "batch", e))?;
    let (mut records, mut failures) = (Vec::new(), Vec::new());
    for (((prompt, ladder), predicted), got) in prompts.iter().zip(ladders).zip(predicted).zip(&batch) {
        let own = Bounded::new(&reference, ladder, predicted)?;
        // Groups of `r[noise.too-little]` are those of the packed layout, so the batch is not held against them.
        let against_r1 = ladder::outcome(&own, got, prompt, false)?;
        if against_r1.verdict != Verdict::Pass {
            failures.push(format!("batched against R1: {}", against_r1.message));
        }
        let (other, others) = (packed.taps(&model, prompt)?, model.predict(PRESET, prompt)?);
        failures.extend(twins((&others, &other), (&own, got), &mut records)?);
    }
    Ok(outcome(prompts.len(), records, &failures, packed.facts()))
}

fn outcome(prompts: usize, taps: Vec<TapRecord>, failures: &[String], facts: BTreeMap<String, String>) -> CaseOutcome {
    let (verdict, message) = match failures.first() {
        None => (Verdict::Pass, format!("{} taps of {prompts} prompts the same in both packings", taps.len())),
        Some(first) => (Verdict::Fail, format!("{first}; {} in all", failures.len())),
    };
    let mut outcome = CaseOutcome::new(verdict, message, prompts);
    (outcome.taps, outcome.facts) = (taps, facts);
    outcome
}

/// Compares the packings at every tap, the packed one's values taken as expected; keeps the record with the least slack per tap.
fn twins(
    packed: (&Predicted, &[Tensor]),
    batched: (&Bounded, &[Tensor]),
    records: &mut Vec<TapRecord>,
) -> Result<Option<String>, ConformError> {
    let mut failure = None;
    for name in &batched.0.ladder.names {
        let (want, got) = (&ladder::tensor(packed.1, name)?.values, &ladder::tensor(batched.1, name)?.values);
        let own = packed.0.bounds.bound(name).map_err(|e| side("optimized", "packed bounds", e))?;
        let other = ladder::expected(batched.0, name)?;
        // A packed circuit with a wide head reports the final LayerNorm of the last token alone.
        let skipped = got.len().saturating_sub(want.len());
        let deviations = [ladder::estimate(batched.0, name)?, ladder::estimate_of(&packed.0.estimates, name)?];
        if want.len() != own.len() || got.len() != other.len() || (skipped > 0 && !name.starts_with("final.")) {
            return Err(ConformError::Length { what: name.clone(), expected: want.len(), got: got.len() });
        }
        let sum =
            |((&mid, own), other): ((&f64, &f64), &Expected)| Expected { mid, rad: 0.0, bound: own + other.bound };
        let expected: Vec<Expected> = want.iter().zip(&own).zip(&other[skipped..]).map(sum).collect();
        let found = compare(name, &expected, &got[skipped..])?;
        if !found.conforms() && failure.is_none() {
            let (index, error, bound) = (found.worst_index, found.worst_error, found.worst_allowance);
            failure = Some(format!("{name}, value {index}: packings differ by {error:e}, bound {bound:e}"));
        }
        let worst = found.worst_index;
        let rss = deviations[0].deviation[skipped + worst].hypot(deviations[1].deviation[worst]);
        let terms = [("packed", own[worst]), ("batched", other[skipped + worst].bound)];
        keep(
            records,
            TapRecord {
                name: name.clone(),
                values: want.len(),
                magnitude: want.iter().copied().map(f64::abs).fold(0.0, f64::max),
                encryption: found.max_error,
                encryption_rms: found.rms,
                worst_index: worst,
                encryption_bound: found.worst_allowance,
                encryption_rss: rss,
                terms: terms.map(|(packing, bound)| (packing.to_owned(), bound)).into(),
                slack_bits: if found.worst_error > 0.0 { found.slack_bits() } else { 0.0 },
                ..TapRecord::default()
            },
        );
    }
    Ok(failure)
}

/// Keeps the record of a tap unless one with less slack is there.
fn keep(records: &mut Vec<TapRecord>, record: TapRecord) {
    match records.iter_mut().find(|known| known.name == record.name) {
        Some(known) if known.slack_bits <= record.slack_bits => {}
        Some(known) => *known = record,
        None => records.push(record),
    }
}

/// Predictions and decrypted taps of one batch, by prompt.
fn batched_run(
    model: &Model,
    prompts: &[Vec<u32>],
    seed: u128,
) -> Result<(Vec<Predicted>, Vec<Vec<Tensor>>), LlmError> {
    let context = Context::new(parameters(PRESET)?)?;
    let (parameters, lengths) = (context.parameters(), prompts.iter().map(Vec::len).collect::<Vec<_>>());
    let circuit = BatchedCircuit::new(&model.0, parameters.slots(), ROW, &lengths)?;
    let requirements = circuit.requirements(parameters)?;
    let generator = KeyGenerator::new(&context, Seed::insecure(seed));
    let secret = generator.secret_key();
    let public = generator.public_key(&secret)?;
    let keys = evaluation_keys(&context, &generator, &secret, &requirements.keys)?;
    let (slots, level) = (circuit.input(prompts)?, requirements.plan.input_level());
    let input = encrypt(&context, &public, &slots, level, &Seed::from_os()?)?;
    let mut taps = PerPrompt::new(prompts.iter().map(|_| DecryptedTaps::new(&context, &secret)).collect());
    Server::new(&context, &keys)?.compute_batch(&circuit, &requirements.plan, &input, &mut taps, &|_| ())?;
    let estimates = batched::predict(parameters, &circuit, prompts)?;
    let cut = batched::fresh(parameters, &circuit, prompts)?;
    let predicted = estimates.into_iter().zip(cut).map(|(estimates, cut)| {
        let bounds = compose(&model.0, &cut)?;
        let fresh = cut.taps.into_iter().map(|tap| (tap.tensor.name, tap.deviation)).collect();
        Ok(Predicted { estimates, bounds, fresh })
    });
    let predicted = predicted.collect::<Result<Vec<_>, LlmError>>()?;
    Ok((predicted, taps.observers.into_iter().map(|observer| observer.taps).collect()))
}
