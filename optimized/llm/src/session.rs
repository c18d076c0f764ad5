//! Client and server steps of one inference, in memory. The files of the binary's subcommands hold the same objects.

use crate::backend::Backend;
use crate::backend::ckks::{Encrypted, Progress};
use crate::backend::dry::KeyPlan;
use crate::backend::slots::{Predicted, Predictions};
use crate::bounds::{Bounds, compose};
use crate::circuit::Circuit;
use crate::error::{LlmError, Result};
use crate::profile::Profile;
use crate::tap::{Blind, Decode, Observer, Tensor};
use num_complex::Complex64;
use touchstone_ckks::{
    Ciphertext, CkksError, Context, Encoder, EvaluationKeys, Evaluator, KeyGenerator, Parameters, PublicKey, SecretKey,
    Seed, SwitchKey, decrypt, encrypt_public,
};
use touchstone_spec::sampling::RELINEARISATION_KEY_ID;

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
    mut receive: impl FnMut(SwitchKey) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    for (key_id, level) in key_entries(context, plan) {
        receive(match key_id {
            RELINEARISATION_KEY_ID => generator.relinearisation_key(secret, level)?,
            galois => generator.galois_key(secret, u64::from(galois), level)?,
        })?;
    }
    Ok(())
}

/// Key ids of a plan (`r[ckks.key.galois]`) with their levels, ascending.
#[must_use]
pub fn key_entries(context: &Context, plan: &KeyPlan) -> Vec<(u32, usize)> {
    let relinearisation = plan.relinearisation.map(|level| (RELINEARISATION_KEY_ID, level));
    let conjugation = plan.conjugation.map(|level| (context.conjugation_element() as u32, level));
    let rotations = plan.rotations.iter().map(|(&steps, &level)| (context.galois_element(steps) as u32, level));
    let mut entries: Vec<_> = relinearisation.into_iter().chain(conjugation).chain(rotations).collect();
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

/// Client: encrypts packed slots at `level` under the public key. `seed` must be fresh for every call.
///
/// # Errors
/// Slots of wrong length or size, or a key of other parameters.
pub fn encrypt(
    context: &Context,
    public: &PublicKey,
    slots: &[Complex64],
    level: usize,
    seed: &Seed,
) -> Result<Ciphertext> {
    let scale = context.parameters().canonical_scale(level);
    let plain = Encoder::new(context).encode(slots, level, scale)?;
    Ok(encrypt_public(context, public, &plain, seed, 0)?)
}

/// Server: runs the circuit on an encrypted input; returns the ciphertexts of the logits.
///
/// # Errors
/// A ciphertext of another level than the circuit's, missing keys.
pub fn compute<O: Observer<Ciphertext>>(
    circuit: &Circuit<'_>,
    evaluator: &Evaluator,
    input: &Ciphertext,
    observer: &mut O,
    progress: &Progress<'_>,
) -> Result<(Vec<Ciphertext>, Profile)> {
    let parameters = evaluator.context().parameters();
    let expected = circuit.requirements(parameters.max_level())?.input_level;
    if input.level() != expected {
        let (expected, got) = (format!("level {expected}"), format!("level {}", input.level()));
        return Err(LlmError::Operand { operation: "input ciphertext".to_owned(), expected, got });
    }
    let backend = Encrypted::new(evaluator, progress);
    let logits = circuit.run(&backend, input, observer)?;
    debug_assert!(logits.iter().all(|ct| backend.level(ct) == 0));
    Ok((logits, backend.profile()))
}

/// [`compute`] without an observer.
///
/// # Errors
/// As [`compute`].
pub fn compute_blind(
    circuit: &Circuit<'_>,
    evaluator: &Evaluator,
    input: &Ciphertext,
    progress: &Progress<'_>,
) -> Result<(Vec<Ciphertext>, Profile)> {
    compute(circuit, evaluator, input, &mut Blind, progress)
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
    let encoder = Encoder::new(context);
    let slots = ciphertexts.iter().map(|ct| Ok(encoder.decode(&decrypt(context, secret, ct)?)?));
    Ok(decode.values(&slots.collect::<Result<Vec<_>>>()?))
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
    let level = circuit.requirements(parameters.max_level())?.input_level;
    let input = backend.encrypt(circuit.input(tokens)?, level)?;
    let mut predictions = Predictions::default();
    circuit.run(backend, &input, &mut predictions)?;
    Ok(predictions)
}
