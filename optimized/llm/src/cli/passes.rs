//! Client and server of `touchstone run`, pass by pass: prediction, encryption, computation, decryption, comparison.

use super::predicted::Comparison;
use super::run::{BoundKind, Fidelity, Phases, Run};
use super::{Steps, seed};
use anyhow::{Context as _, Result};
use serde::Serialize;
use std::path::Path;
use std::time::Instant;
use touchstone_ckks::{Ciphertext, Context, KeyGenerator, Parameters, PublicKey, SecretKey};
use touchstone_llm::artifact::Model;
use touchstone_llm::backend::slots::Predictions;
use touchstone_llm::bounds::root_sum_square;
use touchstone_llm::checkpoint::{Checkpoints, Identity};
use touchstone_llm::circuit::{Cache, CacheLevels, Circuit, Requirements, Start};
use touchstone_llm::generation::{Generation, Predictor};
use touchstone_llm::plain::{Functions, forward};
use touchstone_llm::plan::Plan;
use touchstone_llm::profile::Profile;
use touchstone_llm::sampling::Choice;
use touchstone_llm::session::{Server, Task, bounds, encrypt, evaluation_keys, predict, read};
use touchstone_llm::tap::Blind;

/// Logits are below `2^7` in size (`r[model.head]` as the circuit scales them): a larger bound on their errors says nothing.
const USEFUL_BOUND: f64 = 128.0;

/// What a pass computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// All tokens so far, without a cache.
    Full,
    /// The prompt, keeping its keys and values.
    Prefill,
    /// One token behind the cache.
    Decode,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Full => "full pass",
            Self::Prefill => "prefill",
            Self::Decode => "decoding",
        })
    }
}

/// What is reported about one pass.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Pass {
    pub kind: Kind,
    /// The token that was picked.
    pub token: u32,
    /// Seconds of the server.
    pub compute: f64,
    pub bootstraps: usize,
    #[serde(flatten)]
    pub fidelity: Fidelity,
}

/// Plans by how tokens are computed.
pub enum Plans {
    /// Each by a full pass.
    Full(Requirements),
    /// Behind a cache.
    Cached(Generation),
}

impl Plans {
    /// What the run needs.
    pub fn find(run: &Run, model: &Model, parameters: &Parameters) -> Result<Self> {
        if run.no_cache || run.max_new_tokens == 1 {
            let circuit = Circuit::new(model, parameters.slots(), model.config.max_position_embeddings)?;
            return Ok(Self::Full(circuit.requirements(parameters)?));
        }
        Ok(Self::Cached(Generation::find(model, parameters)?))
    }

    /// Of the first pass, with the keys of all.
    fn first(&self) -> Requirements {
        match self {
            Self::Full(requirements) => requirements.clone(),
            Self::Cached(generation) => generation.prefilling(),
        }
    }
}

/// One pass before it is run.
struct Step<'a> {
    kind: Kind,
    circuit: Circuit<'a>,
    plan: &'a Plan,
    /// Of the cache that it keeps, if it does.
    cache_levels: Option<&'a [CacheLevels]>,
    bootstraps: usize,
    /// How many of the last tokens are encrypted.
    fed: usize,
}

/// What is known about the logits beforehand.
struct Forecast {
    plain: Vec<f64>,
    bound: f64,
    bound_kind: BoundKind,
    estimate: f64,
}

/// Keys, and the server's evaluator with the evaluation keys.
pub struct Client<'a> {
    model: &'a Model,
    steps: &'a Steps,
    parameters: &'a Parameters,
    plans: &'a Plans,
    context: Context,
    secret: SecretKey,
    public: PublicKey,
    server: Server,
    /// The server's, and what is predicted about it.
    cache: Option<Cache<Ciphertext>>,
    predictor: Option<Predictor<'a>>,
    /// Of the passes so far.
    pub checkpoints: Vec<Checkpoints>,
    pub phases: Phases,
    /// Of all passes.
    pub profile: Option<Profile>,
    /// Of the first pass.
    predicted: Comparison,
}

impl<'a> Client<'a> {
    /// Generates the keys of the plans.
    pub fn new(
        run: &Run,
        (model, parameters): (&'a Model, &'a Parameters),
        plans: &'a Plans,
        steps: &'a Steps,
    ) -> Result<Self> {
        let requirements = plans.first();
        let circuit = Circuit::new(model, parameters.slots(), model.config.max_position_embeddings)?;
        let predicted = Comparison::new(&circuit, parameters, &requirements)?;
        run.refuse_memory(&predicted)?;
        let start = Instant::now();
        steps.enter("generating keys");
        let context = Context::new(parameters.clone())?;
        let generator = KeyGenerator::new(&context, seed(run.insecure_seed)?);
        let secret = generator.secret_key();
        let public = generator.public_key(&secret)?;
        let keys = evaluation_keys(&context, &generator, &secret, &requirements.keys)?;
        let mut server = Server::new(&context, &keys, &requirements.keys)?;
        server.keep_transforms(run.cache_bytes(&predicted))?;
        let predictor = match plans {
            Plans::Full(_) => None,
            Plans::Cached(generation) => Some(Predictor::new(parameters, model, generation)),
        };
        let phases = Phases { keygen: start.elapsed().as_secs_f64(), ..Phases::default() };
        Ok(Self {
            model,
            steps,
            parameters,
            plans,
            context,
            secret,
            public,
            server,
            cache: None,
            predictor,
            checkpoints: Vec::new(),
            phases,
            profile: None,
            predicted,
        })
    }

    /// Pass `number`, for the tokens so far: decrypted logits, and the pick by `choice` with a draw.
    pub fn pass(
        &mut self,
        run: &Run,
        number: u16,
        tokens: &[u32],
        (choice, draw): (Choice, f64),
    ) -> Result<(Vec<f64>, Pass)> {
        let step = self.step(number, tokens)?;
        let start = Instant::now();
        self.steps.enter("predicting noise");
        let Forecast { plain, bound, bound_kind, estimate } = self.forecast(&step, tokens)?;
        self.phases.predict += lap(start);

        let start = Instant::now();
        self.steps.enter("encrypting");
        // Keys and every encryption draw from streams of their own, so the one seed may serve all.
        let fresh = seed(run.insecure_seed.map(|seed| seed.wrapping_add(1 + u128::from(number))))?;
        let slots = step.circuit.input(&tokens[tokens.len() - step.fed..])?;
        let input = encrypt(&self.context, &self.public, &slots, step.plan.input_level(), &fresh)?;
        self.phases.encrypt += lap(start);

        let start = Instant::now();
        let checkpoint = run.checkpoint.as_ref().map(|directory| directory.join(format!("pass-{number}")));
        let result = self.compute(&step, checkpoint.as_deref(), &input)?;
        let compute = lap(start);
        self.phases.compute += compute;

        let start = Instant::now();
        let parts: Vec<_> = result.iter().collect();
        let logits = read(&self.context, &self.secret, &parts, &step.circuit.logits())?;
        self.phases.decrypt += lap(start);
        let errors: Vec<f64> = logits.iter().zip(&plain).map(|(a, b)| (a - b).abs()).collect();
        let token = choice.pick(&logits, draw);
        let fidelity = Fidelity {
            max_abs_error: largest(&errors),
            bound,
            bound_kind,
            estimate,
            mse: errors.iter().map(|e| e * e).sum::<f64>() / errors.len() as f64,
            token_unchanged: token == choice.pick(&plain, draw),
        };
        Ok((logits, Pass { kind: step.kind, token, compute, bootstraps: step.bootstraps, fidelity }))
    }

    /// Prediction beside measurement, of passes that are all alike.
    pub fn compared(&self, peak: Option<u64>) -> Option<Comparison> {
        match (self.plans, &self.profile) {
            (Plans::Full(_), Some(profile)) => {
                Some(self.predicted.clone().measured(self.phases.compute, peak, profile))
            }
            _ => None,
        }
    }

    /// Pass `number`.
    fn step(&self, number: u16, tokens: &[u32]) -> Result<Step<'a>> {
        let (model, slots, length) = (self.model, self.parameters.slots(), tokens.len());
        Ok(match self.plans {
            Plans::Full(needed) => Step {
                kind: Kind::Full,
                circuit: Circuit::new(model, slots, length)?,
                plan: &needed.plan,
                cache_levels: None,
                bootstraps: needed.bootstraps,
                fed: length,
            },
            Plans::Cached(generation) if number == 0 => Step {
                kind: Kind::Prefill,
                circuit: Circuit::new(model, slots, length)?,
                plan: &generation.prefill,
                cache_levels: Some(&generation.cache),
                bootstraps: generation.prefill_bootstraps,
                fed: length,
            },
            Plans::Cached(generation) => Step {
                kind: Kind::Decode,
                circuit: generation.step(model, slots, length - 1)?,
                plan: &generation.decode,
                cache_levels: Some(&generation.cache),
                bootstraps: generation.decode_bootstraps,
                fed: 1,
            },
        })
    }

    /// The polynomial model in the clear on all tokens so far, and bounds; warns of values outside their intervals.
    fn forecast(&mut self, step: &Step<'_>, tokens: &[u32]) -> Result<Forecast> {
        let predictions = match &mut self.predictor {
            Some(predictor) => predictor.pass(tokens)?,
            None => predict(self.parameters, &step.circuit, tokens)?,
        };
        let (bound, bound_kind) = self.largest_bound(step, tokens, &predictions)?;
        let prediction = predictions.tap("logits").context("the circuit has no logits")?;
        let estimate = largest(&prediction.deviation);
        // Prompts are extended to the packed length, single tokens are not.
        let seen = if step.kind == Kind::Decode { tokens.to_vec() } else { step.circuit.padded(tokens) };
        let plain = forward(self.model, &seen, tokens.len() - 1, Functions::Polynomial)?;
        for escape in &plain.escapes {
            let [a, b] = escape.interval;
            eprintln!("warning: {}: input {} is outside the certified interval [{a}, {b}]", escape.site, escape.value);
        }
        if predictions.largest_bootstrapped > 1.0 {
            eprintln!("warning: a slot of size {} enters bootstrapping, at most 1", predictions.largest_bootstrapped);
        }
        Ok(Forecast { plain: plain.logits().to_vec(), bound, bound_kind, estimate })
    }

    /// The largest bound on a logit; of a decoding step, whose cache carries errors of earlier passes, it is not composed.
    fn largest_bound(&self, step: &Step<'_>, tokens: &[u32], predictions: &Predictions) -> Result<(f64, BoundKind)> {
        if step.kind != Kind::Decode {
            let composed = bounds(self.parameters, &step.circuit, tokens)?.bound("logits")?;
            if composed.iter().all(|bound| *bound < USEFUL_BOUND) {
                return Ok((largest(&composed), BoundKind::Composed));
            }
        }
        Ok((largest(&root_sum_square(predictions, "logits")?), BoundKind::RootSumSquare))
    }

    /// The server's part; keeps the cache.
    fn compute(&mut self, step: &Step<'_>, directory: Option<&Path>, input: &[Ciphertext]) -> Result<Vec<Ciphertext>> {
        let checkpoints = directory.map(|directory| self.checkpoints_of(step, directory, input)).transpose()?;
        let saved = checkpoints.as_ref().map(|checkpoints| checkpoints.finished(&step.circuit)).transpose()?.flatten();
        let passed = match saved {
            Some(passed) => passed,
            None => {
                let progress = |part: &'static str| self.steps.enter(part);
                let (circuit, server, task) = (&step.circuit, &self.server, self.task(step)?);
                let (passed, profile) = match &checkpoints {
                    Some(checkpoints) => checkpoints.compute(server, circuit, task, input, &progress)?,
                    None => server.pass(circuit, task, Start::Input(input), &mut Blind, &progress)?,
                };
                match &mut self.profile {
                    Some(all) => all.merge(profile),
                    None => self.profile = Some(profile),
                }
                passed
            }
        };
        if let Some(checkpoints) = checkpoints {
            self.checkpoints.last().map_or(Ok(()), Checkpoints::forget_cache)?;
            self.checkpoints.push(checkpoints);
        }
        self.cache = passed.cache;
        Ok(passed.logits)
    }

    /// What the server computes in a step.
    fn task(&self, step: &Step<'_>) -> Result<Task<'_>> {
        Ok(match (self.plans, step.kind) {
            (Plans::Full(needed), _) => Task::Whole(&needed.plan),
            (Plans::Cached(generation), Kind::Decode) => {
                let cache = self.cache.as_ref().context("expected the key-value cache of the pass before, got none")?;
                Task::Step(generation, cache)
            }
            (Plans::Cached(generation), _) => Task::Prefill(generation),
        })
    }

    fn checkpoints_of(&self, step: &Step<'_>, directory: &Path, input: &[Ciphertext]) -> Result<Checkpoints> {
        let identity = Identity::new(&self.context, &step.circuit, (step.plan, step.cache_levels), input)?;
        let identity = match self.checkpoints.last().filter(|_| step.kind == Kind::Decode) {
            Some(before) => identity.after(before.identity())?,
            None => identity,
        };
        Ok(Checkpoints::new(directory, &self.context, identity)?)
    }
}

pub(super) fn largest(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

pub(super) fn lap(start: Instant) -> f64 {
    start.elapsed().as_secs_f64()
}
