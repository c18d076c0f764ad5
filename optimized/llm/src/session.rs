//! Client and server steps of one inference, in memory. The files of the binary's subcommands hold the same objects.

use crate::backend::ckks::{Encrypted, Progress};
use crate::backend::dry::KeyPlan;
use crate::backend::slots::{Predicted, Predictions};
use crate::bounds::{Bounds, compose};
use crate::circuit::{Cache, CacheLevels, Circuit, Keeping, Start};
use crate::error::{LlmError, Result};
use crate::generation::Generation;
use crate::plan::Plan;
use crate::profile::Profile;
use crate::tap::{Decode, Observer, Tensor};
use num_complex::Complex64;
use touchstone_ckks::circuits::bootstrap::Bootstrapper;
use touchstone_ckks::{
    Ciphertext, CkksError, Context, Encoder, EvaluationKey, EvaluationKeys, Evaluator, KeyGenerator, Parameters,
    PublicKey, SecretKey, Seed, decrypt, encrypt_public,
};
use touchstone_spec::sampling::{FROM_EPHEMERAL_KEY_ID, RELINEARISATION_KEY_ID, TO_EPHEMERAL_KEY_ID};

/// Generates the keys of a plan one after the other, in ascending order of key id, and hands each on, so that they need not
/// be in memory together.
///
/// # Errors
/// Those of key generation and of `receive`.
pub fn generate_keys<E: From<CkksError>>(
    context: &Context,
    generator: &KeyGenerator,
    secret: &SecretKey,
    plan: &KeyPlan,
    mut receive: impl FnMut(EvaluationKey) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    // One ephemeral secret belongs to both of its keys, so they are made together.
    let mut ephemeral = if plan.ephemeral { Some(generator.ephemeral_keys(secret)?) } else { None };
    let (mut to, mut from) = ephemeral.take().unzip();
    for (key_id, level) in key_entries(context, plan) {
        let key = match key_id {
            RELINEARISATION_KEY_ID => Some(generator.relinearisation_key(secret, level)?.into()),
            TO_EPHEMERAL_KEY_ID => to.take().map(EvaluationKey::from),
            FROM_EPHEMERAL_KEY_ID => from.take().map(EvaluationKey::from),
            galois => Some(generator.galois_key(secret, u64::from(galois), level)?.into()),
        };
        key.map_or(Ok(()), &mut receive)?;
    }
    Ok(())
}

/// Key ids of a plan (`r[ckks.key.galois]`, `r[boot.key.from-ephemeral]`) with their levels, ascending.
#[must_use]
pub fn key_entries(context: &Context, plan: &KeyPlan) -> Vec<(u32, usize)> {
    let relinearisation = plan.relinearisation.map(|level| (RELINEARISATION_KEY_ID, level));
    let conjugation = plan.conjugation.map(|level| (context.conjugation_element() as u32, level));
    let rotations = plan.rotations.iter().map(|(&steps, &level)| (context.galois_element(steps) as u32, level));
    let ephemeral = [(FROM_EPHEMERAL_KEY_ID, context.parameters().max_level()), (TO_EPHEMERAL_KEY_ID, 0)];
    let ephemeral = ephemeral.into_iter().filter(|_| plan.ephemeral);
    let mut entries: Vec<_> =
        relinearisation.into_iter().chain(conjugation).chain(rotations).chain(ephemeral).collect();
    entries.sort_unstable();
    entries
}

/// All keys of a plan in memory.
///
/// # Errors
/// Those of key generation.
pub fn evaluation_keys(
    context: &Context,
    generator: &KeyGenerator,
    secret: &SecretKey,
    plan: &KeyPlan,
) -> Result<EvaluationKeys> {
    let mut keys = EvaluationKeys::new();
    generate_keys(context, generator, secret, plan, |key| {
        keys.insert(key);
        Ok::<_, LlmError>(())
    })?;
    Ok(keys)
}

/// Client: encrypts packed slots, one vector per part, at `level` under the public key. `seed` must be fresh for every call.
///
/// # Errors
/// Slots of wrong length or size, or a key of other parameters.
pub fn encrypt(
    context: &Context,
    public: &PublicKey,
    parts: &[Vec<Complex64>],
    level: usize,
    seed: &Seed,
) -> Result<Vec<Ciphertext>> {
    let scale = context.parameters().canonical_scale(level);
    let encoder = Encoder::new(context);
    let part = |(index, slots): (u32, &Vec<Complex64>)| {
        Ok(encrypt_public(context, public, &encoder.encode(slots, level, scale)?, seed, index)?)
    };
    (0..).zip(parts).map(part).collect()
}

/// What a server holds: a client's evaluation keys, and what it prepares for bootstrapping.
#[derive(Debug)]
pub struct Server {
    evaluator: Evaluator,
    bootstrapper: Option<Bootstrapper>,
}

impl Server {
    /// A server for a parameter set; it prepares bootstrapping if the set has it, with the periods of the plan of keys.
    ///
    /// # Errors
    /// Those of [`Bootstrapper::new`] and [`Bootstrapper::prepare_sparse`].
    pub fn new(context: &Context, keys: &EvaluationKeys, plan: &KeyPlan) -> Result<Self> {
        let mut bootstrapper = context.parameters().bootstrap().map(|_| Bootstrapper::new(context)).transpose()?;
        if let Some(bootstrapper) = &mut bootstrapper {
            plan.periods.iter().try_for_each(|period| bootstrapper.prepare_sparse(*period))?;
        }
        Ok(Self { evaluator: Evaluator::new(context, keys), bootstrapper })
    }

    /// The backend of one run.
    pub(crate) fn backend<'s>(&'s self, progress: &'s Progress<'s>) -> Encrypted<'s> {
        Encrypted::new(&self.evaluator, self.bootstrapper.as_ref(), progress)
    }

    /// Keeps transforms of bootstrapping's plaintexts, as many as `limit` bytes hold; gives the bytes spent. Results stay the same.
    ///
    /// # Errors
    /// As [`Bootstrapper::keep_transforms`].
    pub fn keep_transforms(&mut self, limit: usize) -> Result<usize> {
        Ok(self.bootstrapper.as_mut().map_or(Ok(0), |bootstrapper| bootstrapper.keep_transforms(limit))?)
    }

    /// Runs the circuit on an encrypted input, one ciphertext per part; returns the ciphertexts of the logits.
    ///
    /// # Errors
    /// Ciphertexts of another number or level than the plan's, missing keys.
    pub fn compute<O: Observer<Ciphertext>>(
        &self,
        circuit: &Circuit<'_>,
        plan: &Plan,
        input: &[Ciphertext],
        observer: &mut O,
        progress: &Progress<'_>,
    ) -> Result<(Vec<Ciphertext>, Profile)> {
        let (passed, profile) = self.pass(circuit, Task::Whole(plan), Start::Input(input), observer, progress)?;
        Ok((passed.logits, profile))
    }

    /// Runs any pass of a circuit, from its input, at [`Plan::input_level`], or from where it stopped: [`Circuit::pass`] under encryption.
    ///
    /// # Errors
    /// As [`Server::compute`] and [`Circuit::pass`].
    pub fn pass<O: Observer<Ciphertext>>(
        &self,
        circuit: &Circuit<'_>,
        task: Task<'_>,
        start: Start<'_, Ciphertext>,
        observer: &mut O,
        progress: &Progress<'_>,
    ) -> Result<(Passed, Profile)> {
        if let Start::Input(input) = &start {
            check_input((circuit.layout().parts, task.plan()), input)?;
        }
        let backend = self.backend(progress);
        let (logits, kept) = circuit.pass(&backend, task.plan(), task.keeping(), start, observer)?;
        let cache = task.cache_levels().is_some().then(|| circuit.cache(kept));
        Ok((Passed { logits, cache }, backend.profile()))
    }
}

/// What a server computes in one pass.
#[derive(Clone, Copy, Debug)]
pub enum Task<'t> {
    /// The logits of a text, without a cache.
    Whole(&'t Plan),
    /// The prompt of a generation (`r[generate.prefill]`), on the circuit of its length.
    Prefill(&'t Generation),
    /// One token behind a cache (`r[generate.step]`), on the circuit of [`Generation::step`].
    Step(&'t Generation, &'t Cache<Ciphertext>),
}

impl<'t> Task<'t> {
    /// Where levels go.
    #[must_use]
    pub fn plan(&self) -> &'t Plan {
        match self {
            Self::Whole(plan) => plan,
            Self::Prefill(generation) => &generation.prefill,
            Self::Step(generation, _) => &generation.decode,
        }
    }

    /// Levels at which keys and values are kept, if they are.
    #[must_use]
    pub fn cache_levels(&self) -> Option<&'t [CacheLevels]> {
        match self {
            Self::Whole(_) => None,
            Self::Prefill(generation) | Self::Step(generation, _) => Some(&generation.cache),
        }
    }

    fn keeping(&self) -> Keeping<'t, Ciphertext> {
        match self {
            Self::Whole(_) => Keeping::Nothing,
            Self::Prefill(generation) => Keeping::Prompt(Some(&generation.cache)),
            Self::Step(_, cache) => Keeping::Step(cache),
        }
    }
}

/// Results of one pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Passed {
    /// Ciphertexts of the logits.
    pub logits: Vec<Ciphertext>,
    /// What the next step reads, if the pass keeps it.
    pub cache: Option<Cache<Ciphertext>>,
}

/// Refuses ciphertexts of another number or level than the plan's.
pub(crate) fn check_input((parts, plan): (usize, &Plan), input: &[Ciphertext]) -> Result<()> {
    let level = plan.input_level();
    let refuse =
        |expected: String, got: String| LlmError::Operand { operation: "input ciphertexts".to_owned(), expected, got };
    if input.len() != parts {
        return Err(refuse(format!("{parts} ciphertexts"), input.len().to_string()));
    }
    match input.iter().find(|ct| ct.level() != level) {
        Some(ct) => Err(refuse(format!("level {level}"), format!("level {}", ct.level()))),
        None => Ok(()),
    }
}

/// Client: decrypts ciphertexts and reads a tensor out of them.
///
/// # Errors
/// Ciphertexts of other parameters, or fewer than the tensor needs.
pub fn read(context: &Context, secret: &SecretKey, ciphertexts: &[&Ciphertext], decode: &Decode) -> Result<Vec<f64>> {
    let needed = decode.places.iter().flatten().map(|place| place.ciphertext + 1).max().unwrap_or(0);
    if ciphertexts.len() < needed {
        let (expected, got) = (format!("{needed} ciphertexts"), ciphertexts.len().to_string());
        return Err(LlmError::Operand { operation: "decryption".to_owned(), expected, got });
    }
    Ok(decode.values(&decrypted(context, secret, ciphertexts)?))
}

/// Client: the slots of ciphertexts, from which several tensors may be read.
///
/// # Errors
/// Ciphertexts of other parameters.
pub fn decrypted(context: &Context, secret: &SecretKey, ciphertexts: &[&Ciphertext]) -> Result<Vec<Vec<Complex64>>> {
    let encoder = Encoder::new(context);
    ciphertexts.iter().map(|ct| Ok(encoder.decode(&decrypt(context, secret, ct)?)?)).collect()
}

/// An observer that decrypts every tap: for tests and conformance, never for production.
#[derive(Debug)]
pub struct DecryptedTaps<'a> {
    context: &'a Context,
    secret: &'a SecretKey,
    /// Taps in the order of the circuit.
    pub taps: Vec<Tensor>,
}

impl<'a> DecryptedTaps<'a> {
    /// An observer with the secret key.
    #[must_use]
    pub fn new(context: &'a Context, secret: &'a SecretKey) -> Self {
        Self { context, secret, taps: Vec::new() }
    }
}

impl Observer<Ciphertext> for DecryptedTaps<'_> {
    fn wants(&self, _name: &str) -> bool {
        true
    }

    fn tap(&mut self, name: &str, ciphertexts: &[&Ciphertext], decode: &Decode) -> Result<()> {
        let values = read(self.context, self.secret, ciphertexts, decode)?;
        self.taps.push(Tensor { name: name.to_owned(), shape: decode.shape.clone(), values });
        Ok(())
    }
}

/// Predicted values and estimated errors of every tap for a prompt (rung R3p).
///
/// # Errors
/// As [`Circuit::input`] and [`Circuit::run`].
pub fn predict(parameters: &Parameters, circuit: &Circuit<'_>, tokens: &[u32]) -> Result<Predictions> {
    run_predicted(&Predicted::new(parameters), parameters, circuit, tokens)
}

/// Fresh errors of every tap for a prompt: made between the taps before it and itself (`r[noise.layer.fresh]`).
///
/// # Errors
/// As [`predict`].
pub fn fresh(parameters: &Parameters, circuit: &Circuit<'_>, tokens: &[u32]) -> Result<Predictions> {
    run_predicted(&Predicted::cut_at_taps(parameters), parameters, circuit, tokens)
}

/// Bounds on the errors at every tap for a prompt (`r[noise.layer]`).
///
/// # Errors
/// As [`predict`].
pub fn bounds(parameters: &Parameters, circuit: &Circuit<'_>, tokens: &[u32]) -> Result<Bounds> {
    compose(circuit.model(), &fresh(parameters, circuit, tokens)?)
}

fn run_predicted(
    backend: &Predicted,
    parameters: &Parameters,
    circuit: &Circuit<'_>,
    tokens: &[u32],
) -> Result<Predictions> {
    let plan = circuit.requirements(parameters)?.plan;
    let encrypt = |slots| backend.encrypt(slots, plan.input_level());
    let input = circuit.input(tokens)?.into_iter().map(encrypt).collect::<Result<Vec<_>>>()?;
    let mut predictions = Predictions::default();
    circuit.run(backend, &plan, &input, &mut predictions)?;
    predictions.largest_bootstrapped = backend.largest_bootstrapped();
    Ok(predictions)
}
