//! `touchstone run --task classify`: an encoder's classes of an encrypted text, and how far they are from the model in the clear.

use super::predicted::Comparison;
use super::run::{BoundKind, Fidelity, Phases, Run};
use super::{Steps, describe, encode, kept, peak_bytes, seed};
use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use std::time::Instant;
use touchstone_ckks::ckks::noise::slot_bound_factor;
use touchstone_ckks::{Context, KeyGenerator, Parameters};
use touchstone_llm::artifact::Encoder;
use touchstone_llm::backend::slots::Predictions;
use touchstone_llm::bounds::FAILURE;
use touchstone_llm::checkpoint::{Checkpoints, Identity};
use touchstone_llm::circuit::{Circuit, Requirements, Start};
use touchstone_llm::plain::{Functions, classify};
use touchstone_llm::profile::Profile;
use touchstone_llm::sampling::argmax;
use touchstone_llm::session::{Server, Task, encrypt, evaluation_keys, predict, read};
use touchstone_llm::tap::Blind;

/// What is printed.
#[derive(Debug, Serialize)]
struct Outcome {
    tokens: Vec<u32>,
    class: u32,
    logits: Vec<f64>,
    fidelity: Fidelity,
    bootstraps: usize,
    seconds: f64,
    phases: Phases,
    predicted: Comparison,
    peak_bytes: Option<u64>,
    parameters: String,
}

/// Runs the command for a model directory with an encoder.
pub(super) fn execute(run: &Run) -> Result<()> {
    let start = Instant::now();
    ensure!(run.max_new_tokens == 1, "--max-new-tokens: expected a decoder, got an encoder, which classifies");
    run.common.start_threads()?;
    let directory = run.common.directory();
    let encoder = Encoder::load(&directory).with_context(|| format!("model {}", directory.display()))?;
    let tokens = match &run.token_ids {
        Some(ids) => ids.clone(),
        None => encode(&run.common.tokenizer()?, &run.prompt, true)?,
    };
    let parameters = run.common.parameters()?;
    let steps = Steps::new();
    let work = Work { run, encoder: &encoder, parameters: &parameters, steps: &steps };
    let (outcome, profile, checkpoints) = work.outcome(tokens, start)?;
    steps.finish();
    if run.json {
        println!("{}", serde_json::to_string(&outcome)?)
    } else {
        outcome.print(run)
    }
    if let Some(path) = &run.logits {
        std::fs::write(path, serde_json::to_string(&outcome.logits)?).with_context(|| format!("{}", path.display()))?;
    }
    run.profile.report(&format!("touchstone run, {} tokens", outcome.tokens.len()), &profile)?;
    if run.profile.printed() {
        outcome.predicted.print_nodes();
    }
    kept::remove(run, checkpoints.as_slice())
}

/// What all phases share.
struct Work<'a> {
    run: &'a Run,
    encoder: &'a Encoder,
    parameters: &'a Parameters,
    steps: &'a Steps,
}

impl Work<'_> {
    fn outcome(&self, tokens: Vec<u32>, start: Instant) -> Result<(Outcome, Profile, Option<Checkpoints>)> {
        let circuit = Circuit::encoder(self.encoder, self.parameters.slots(), tokens.len())?;
        let requirements = circuit.requirements(self.parameters)?;
        let comparison = Comparison::new(&circuit, self.parameters, &requirements)?;
        self.run.refuse_memory(&comparison)?;
        let mut phases = Phases::default();
        self.steps.enter("predicting noise");
        let begin = Instant::now();
        let predictions = predict(self.parameters, &circuit, &tokens)?;
        phases.predict = begin.elapsed().as_secs_f64();
        let (logits, profile, checkpoints) =
            self.encrypted(&circuit, &requirements, &tokens, (self.run.cache_bytes(&comparison), &mut phases))?;
        let peak_bytes = peak_bytes();
        let outcome = Outcome {
            class: argmax(&logits),
            fidelity: self.fidelity(&tokens, &logits, &predictions)?,
            logits,
            bootstraps: requirements.bootstraps,
            seconds: start.elapsed().as_secs_f64(),
            predicted: comparison.measured(phases.compute, peak_bytes, &profile),
            phases,
            peak_bytes,
            parameters: describe(self.parameters),
            tokens,
        };
        Ok((outcome, profile, checkpoints))
    }

    /// Decrypted logits of the classes, and the checkpoints of a run that has some.
    fn encrypted(
        &self,
        circuit: &Circuit<'_>,
        requirements: &Requirements,
        tokens: &[u32],
        (cache_bytes, phases): (usize, &mut Phases),
    ) -> Result<(Vec<f64>, Profile, Option<Checkpoints>)> {
        let (run, steps, plan) = (self.run, self.steps, &requirements.plan);
        let start = Instant::now();
        steps.enter("generating keys");
        let kept = kept::seed(run)?;
        let context = Context::new(self.parameters.clone())?;
        let generator = KeyGenerator::new(&context, seed(kept)?);
        let secret = generator.secret_key();
        let public = generator.public_key(&secret)?;
        let keys = evaluation_keys(&context, &generator, &secret, &requirements.keys)?;
        let mut server = Server::new(&context, &keys, &requirements.keys)?;
        server.keep_transforms(cache_bytes)?;
        phases.keygen = start.elapsed().as_secs_f64();

        let start = Instant::now();
        steps.enter("encrypting");
        let fresh = seed(kept.map(|seed| seed.wrapping_add(1)))?;
        let input = encrypt(&context, &public, &circuit.input(tokens)?, plan.input_level(), &fresh)?;
        phases.encrypt = start.elapsed().as_secs_f64();

        let start = Instant::now();
        let recording = run.profile.recording();
        let (task, progress) = (Task::Whole(plan), |step: &'static str| steps.enter(step));
        let checkpoints = run.checkpoint.as_ref().map(|directory| {
            let identity = Identity::new(&context, circuit, (plan, None), &input)?;
            Checkpoints::new(&directory.join("pass-0"), &context, identity)
        });
        let checkpoints = checkpoints.transpose()?;
        let (passed, profile) = match &checkpoints {
            Some(checkpoints) => checkpoints.compute(&server, circuit, task, &input, &progress)?,
            None => server.pass(circuit, task, Start::Input(&input), &mut Blind, &progress)?,
        };
        drop(recording);
        phases.compute = start.elapsed().as_secs_f64();

        let start = Instant::now();
        let logits = read(&context, &secret, &passed.logits.iter().collect::<Vec<_>>(), &circuit.logits())?;
        phases.decrypt = start.elapsed().as_secs_f64();
        Ok((logits, profile, checkpoints))
    }

    /// Logits against the polynomial model in binary64.
    fn fidelity(&self, tokens: &[u32], logits: &[f64], predictions: &Predictions) -> Result<Fidelity> {
        let plain = classify(self.encoder, tokens, Functions::Polynomial)?;
        for escape in &plain.escapes {
            let [a, b] = escape.interval;
            eprintln!("warning: {}: input {} is outside the certified interval [{a}, {b}]", escape.site, escape.value);
        }
        if predictions.largest_bootstrapped > 1.0 {
            eprintln!("warning: a slot of size {} enters bootstrapping, at most 1", predictions.largest_bootstrapped);
        }
        let prediction = predictions.tap("logits").context("the circuit has no logits")?;
        let errors: Vec<f64> = logits.iter().zip(plain.logits()).map(|(a, b)| (a - b).abs()).collect();
        let largest = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
        let estimate = largest(&prediction.deviation);
        Ok(Fidelity {
            max_abs_error: largest(&errors),
            // Composition layer by layer exists for decoders only.
            bound: slot_bound_factor(FAILURE, logits.len() as f64) * estimate,
            bound_kind: BoundKind::RootSumSquare,
            estimate,
            mse: errors.iter().map(|e| e * e).sum::<f64>() / errors.len() as f64,
            token_unchanged: argmax(logits) == argmax(plain.logits()),
        })
    }
}

impl Outcome {
    fn print(&self, run: &Run) {
        match &run.token_ids {
            None => println!("text        {:?} ({} tokens)", run.prompt, self.tokens.len()),
            Some(_) => println!("text        {} tokens", self.tokens.len()),
        }
        let logits: Vec<String> = self.logits.iter().map(|logit| format!("{logit:.5}")).collect();
        println!("class       {} (logits {})", self.class, logits.join(", "));
        self.fidelity.print("class");
        self.phases.print(self.seconds);
        println!("bootstraps  {}", self.bootstraps);
        self.predicted.print();
        println!("parameters  {}", self.parameters);
    }
}
