//! `touchstone run --packing batched`: many prompts in one encrypted run, and how far each result is from the model in the clear.

use super::passes::{lap, largest};
use super::run::{BoundKind, Fidelity, Phases, Run, decode, merge};
use super::{Steps, describe, peak_bytes, seed, tokenise, within_context};
use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use serde::Serialize;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tokenizers::Tokenizer;
use touchstone_ckks::ckks::noise::slot_bound_factor;
use touchstone_ckks::{Context, KeyGenerator, Parameters};
use touchstone_llm::artifact::Model;
use touchstone_llm::backend::slots::Prediction;
use touchstone_llm::batched::{BatchedCircuit, predict_tap};
use touchstone_llm::bounds::FAILURE;
use touchstone_llm::circuit::Requirements;
use touchstone_llm::plain::{Functions, forward};
use touchstone_llm::profile::Profile;
use touchstone_llm::sampling::argmax;
use touchstone_llm::session::{Server, decrypted, encrypt, evaluation_keys};
use touchstone_llm::tap::Blind;

/// Largest file of prompts that is read.
const MAX_PROMPTS_BYTES: u64 = 1 << 24;

/// How prompts lie in ciphertexts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Packing {
    /// Channels and tokens of one prompt side by side: least time for one prompt
    Packed,
    /// One ciphertext per channel, as many prompts as places: least time per prompt
    Batched,
}

/// Options of `touchstone run` about many prompts.
#[derive(Debug, Args)]
pub struct BatchOptions {
    /// How prompts lie in ciphertexts
    #[arg(long, value_enum, default_value_t = Packing::Packed)]
    packing: Packing,
    /// Prompts of `--packing batched`, one per line
    #[arg(long, value_name = "FILE", conflicts_with_all = ["prompt", "token_ids"])]
    prompts_file: Option<PathBuf>,
    /// Tokens that a batched prompt has room for, a power of two: fewer tokens leave room for more prompts [default: the context]
    #[arg(long, value_name = "T")]
    row_tokens: Option<usize>,
}

impl BatchOptions {
    /// Whether the run is one of a batch.
    pub fn wanted(&self) -> Result<bool> {
        let batched = self.packing == Packing::Batched;
        for (option, given) in
            [("--prompts-file", self.prompts_file.is_some()), ("--row-tokens", self.row_tokens.is_some())]
        {
            anyhow::ensure!(batched || !given, "{option}: expected together with --packing batched");
        }
        Ok(batched)
    }
}

/// What is printed.
#[derive(Debug, Serialize)]
struct Outcome {
    prompts: Vec<Answer>,
    /// Places of the batch; those beyond the prompts held copies of them.
    places: usize,
    fidelity: Fidelity,
    bootstraps: usize,
    /// Predicted seconds of computation on one thread.
    predicted_seconds: f64,
    seconds: f64,
    phases: Phases,
    /// Of computation.
    seconds_per_prompt: f64,
    prompts_per_second: f64,
    peak_bytes: Option<u64>,
    parameters: String,
}

/// One prompt's result.
#[derive(Debug, Serialize)]
struct Answer {
    prompt_tokens: Vec<u32>,
    new_token: u32,
    /// None for a prompt of token ids.
    text: Option<String>,
    fidelity: Fidelity,
}

/// Runs the command.
pub fn execute(run: &Run) -> Result<()> {
    let start = Instant::now();
    run.refuse_with_batch()?;
    let model = run.common.load()?;
    let (tokenizer, prompts) = prompts(run, &model)?;
    let rows = run.batch.row_tokens.unwrap_or(model.config.max_position_embeddings);
    let parameters = run.common.parameters()?;
    let lengths: Vec<usize> = prompts.iter().map(Vec::len).collect();
    let circuit = BatchedCircuit::new(&model, parameters.slots(), rows, &lengths)?;
    let computed = compute(run, &circuit, &parameters, &prompts)?;

    let values: usize = computed.logits.iter().map(Vec::len).sum();
    let factor = slot_bound_factor(FAILURE, values as f64);
    let answer = |((tokens, logits), prediction): ((&Vec<u32>, &Vec<f64>), &Prediction)| {
        let new_token = argmax(logits);
        Ok(Answer {
            prompt_tokens: tokens.clone(),
            new_token,
            text: tokenizer.as_ref().map(|tokenizer| decode(tokenizer, &[new_token])).transpose()?,
            fidelity: fidelity(&circuit, tokens, logits, prediction, factor)?,
        })
    };
    let results = prompts.iter().zip(&computed.logits).zip(&computed.predictions);
    let answers = results.map(answer).collect::<Result<Vec<_>>>()?;
    let (count, phases) = (answers.len() as f64, computed.phases);
    let outcome = Outcome {
        fidelity: merge(&answers.iter().map(|answer| answer.fidelity).collect::<Vec<_>>()),
        prompts: answers,
        places: circuit.layout().batch,
        bootstraps: computed.requirements.bootstraps,
        predicted_seconds: computed.requirements.plan.seconds,
        seconds: start.elapsed().as_secs_f64(),
        phases,
        seconds_per_prompt: phases.compute / count,
        prompts_per_second: count / phases.compute,
        peak_bytes: peak_bytes(),
        parameters: describe(&parameters),
    };
    match run.json {
        true => println!("{}", serde_json::to_string(&outcome)?),
        false => print(&outcome),
    }
    run.profile.report(&format!("touchstone run, {} prompts", prompts.len()), &computed.profile)
}

/// What client and server found.
struct Computed {
    requirements: Requirements,
    /// Of the logits, by prompt.
    predictions: Vec<Prediction>,
    /// By prompt.
    logits: Vec<Vec<f64>>,
    phases: Phases,
    profile: Profile,
}

/// Prediction, keys, encryption, computation, decryption.
fn compute(run: &Run, circuit: &BatchedCircuit<'_>, parameters: &Parameters, prompts: &[Vec<u32>]) -> Result<Computed> {
    let (steps, mut phases, mut last) = (Steps::new(), Phases::default(), Instant::now());
    let lapped = |last: &mut Instant| lap(std::mem::replace(last, Instant::now()));
    steps.enter("predicting noise");
    let requirements = circuit.requirements(parameters)?;
    let (predictions, largest_bootstrapped) = predict_tap(parameters, circuit, prompts, "logits")?;
    if largest_bootstrapped > 1.0 {
        eprintln!("warning: a slot of size {largest_bootstrapped} enters bootstrapping, at most 1");
    }
    phases.predict = lapped(&mut last);

    steps.enter("generating keys");
    let context = Context::new(parameters.clone())?;
    let generator = KeyGenerator::new(&context, seed(run.insecure_seed)?);
    let secret = generator.secret_key();
    let public = generator.public_key(&secret)?;
    let server = {
        let keys = evaluation_keys(&context, &generator, &secret, &requirements.keys)?;
        Server::new(&context, &keys, &requirements.keys)?
    };
    phases.keygen = lapped(&mut last);

    steps.enter("encrypting");
    // Keys and encryption draw from streams of their own, so the one seed may serve both.
    let fresh = seed(run.insecure_seed.map(|seed| seed.wrapping_add(1)))?;
    let input = encrypt(&context, &public, &circuit.input(prompts)?, requirements.plan.input_level(), &fresh)?;
    phases.encrypt = lapped(&mut last);

    let recording = run.profile.recording();
    let progress = |step: &'static str| steps.enter(step);
    let (result, profile) = server.compute_batch(circuit, &requirements.plan, &input, &mut Blind, &progress)?;
    drop(recording);
    phases.compute = lapped(&mut last);

    let slots = decrypted(&context, &secret, &result.iter().collect::<Vec<_>>())?;
    let logits = |prompt| circuit.logits(prompt).map(|decode| decode.values(&slots)).context("no such prompt");
    let logits = (0..prompts.len()).map(logits).collect::<Result<Vec<_>>>()?;
    phases.decrypt = lapped(&mut last);
    steps.finish();
    Ok(Computed { requirements, predictions, logits, phases, profile })
}

/// The prompts of the command line, tokenised.
fn prompts(run: &Run, model: &Model) -> Result<(Option<Tokenizer>, Vec<Vec<u32>>)> {
    if let Some(ids) = &run.token_ids {
        return Ok((None, vec![within_context(model, ids.clone())?]));
    }
    let tokenizer = run.common.tokenizer()?;
    let texts = match &run.batch.prompts_file {
        Some(path) => lines(path)?,
        None => vec![run.prompt.clone()],
    };
    let number = |(index, text): (usize, &OsString)| {
        tokenise(&tokenizer, model, text).with_context(|| format!("prompt {}", index + 1))
    };
    let prompts = texts.iter().enumerate().map(number).collect::<Result<Vec<_>>>()?;
    Ok((Some(tokenizer), prompts))
}

fn lines(path: &Path) -> Result<Vec<OsString>> {
    let name = || format!("{}", path.display());
    let size = std::fs::metadata(path).with_context(name)?.len();
    anyhow::ensure!(size <= MAX_PROMPTS_BYTES, "{}: expected at most {MAX_PROMPTS_BYTES} bytes, got {size}", name());
    let text = std::fs::read_to_string(path).with_context(name)?;
    anyhow::ensure!(!text.is_empty(), "{}: expected one prompt per line, got no lines", name());
    Ok(text.lines().map(OsString::from).collect())
}

/// One prompt's decrypted logits against the polynomial model in binary64, with the bound that takes errors as independent.
fn fidelity(
    circuit: &BatchedCircuit<'_>,
    tokens: &[u32],
    logits: &[f64],
    prediction: &Prediction,
    factor: f64,
) -> Result<Fidelity> {
    let plain = forward(circuit.model(), &circuit.padded(tokens), tokens.len() - 1, Functions::Polynomial)?;
    for escape in &plain.escapes {
        let [a, b] = escape.interval;
        eprintln!("warning: {}: input {} is outside the certified interval [{a}, {b}]", escape.site, escape.value);
    }
    let errors: Vec<f64> = logits.iter().zip(plain.logits()).map(|(a, b)| (a - b).abs()).collect();
    let estimate = largest(&prediction.deviation);
    Ok(Fidelity {
        max_abs_error: largest(&errors),
        bound: factor * estimate,
        bound_kind: BoundKind::RootSumSquare,
        estimate,
        mse: errors.iter().map(|e| e * e).sum::<f64>() / errors.len() as f64,
        token_unchanged: argmax(logits) == argmax(plain.logits()),
    })
}

fn print(outcome: &Outcome) {
    for answer in &outcome.prompts {
        let (count, token) = (answer.prompt_tokens.len(), answer.new_token);
        let changed = if answer.fidelity.token_unchanged { "" } else { ", CHANGED" };
        match &answer.text {
            Some(text) => println!("next        {text:?} (token {token} after {count}{changed})"),
            None => println!("next        token {token} (after {count}{changed})"),
        }
    }
    let same = outcome.prompts.iter().filter(|answer| answer.fidelity.token_unchanged).count();
    let Fidelity { max_abs_error, bound, bound_kind, estimate, mse, .. } = outcome.fidelity;
    let (phases, count) = (outcome.phases, outcome.prompts.len());
    println!(
        "fidelity    logits within {max_abs_error:.2e} of the model in the clear ({bound_kind} bound {bound:.2e}, \
         estimate {estimate:.2e}, mean square {mse:.2e}); same token on {same} of {count} prompts"
    );
    println!(
        "time        {:.1} s: keys {:.1}, encryption {:.1}, computation {:.1}, decryption {:.1}, prediction {:.1}",
        outcome.seconds, phases.keygen, phases.encrypt, phases.compute, phases.decrypt, phases.predict
    );
    println!(
        "throughput  {:.3} s per prompt, {:.3} prompts per second; {:.3} s per prompt with all {} places taken",
        outcome.seconds_per_prompt,
        outcome.prompts_per_second,
        phases.compute / outcome.places as f64,
        outcome.places
    );
    println!(
        "bootstraps  {}; {:.0} s of computation predicted on one thread",
        outcome.bootstraps, outcome.predicted_seconds
    );
    if let Some(peak) = outcome.peak_bytes {
        println!("memory      {:.2} GiB at most", peak as f64 / f64::from(1 << 30));
    }
    println!("parameters  {}", outcome.parameters);
}
