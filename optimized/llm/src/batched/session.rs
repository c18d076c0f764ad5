//! What client and server do with a batch, in memory.

use super::BatchedCircuit;
use crate::backend::ckks::Progress;
use crate::backend::slots::{Predicted, Prediction, Predictions, SlotCt};
use crate::bounds::{Bounds, compose};
use crate::error::{LlmError, Result};
use crate::plan::Plan;
use crate::profile::Profile;
use crate::session::{Server, check_input};
use crate::tap::{Decode, Observer, PerPrompt};
use touchstone_ckks::{Ciphertext, Parameters};

impl Server {
    /// Runs the circuit on an encrypted batch, one ciphertext per channel; returns one ciphertext per logit.
    ///
    /// # Errors
    /// Ciphertexts of another number or level than the plan's, missing keys.
    pub fn compute_batch<O: Observer<Ciphertext>>(
        &self,
        circuit: &BatchedCircuit<'_>,
        plan: &Plan,
        input: &[Ciphertext],
        observer: &mut O,
        progress: &Progress<'_>,
    ) -> Result<(Vec<Ciphertext>, Profile)> {
        check_input((circuit.ciphertexts(), plan), input)?;
        let backend = self.backend(progress);
        let logits = circuit.run(&backend, plan, input, observer)?;
        Ok((logits, backend.profile()))
    }
}

/// Predicted values and estimated errors of every tap of every prompt (rung R3p).
///
/// # Errors
/// As [`BatchedCircuit::input`] and [`BatchedCircuit::run`].
pub fn predict(
    parameters: &Parameters,
    circuit: &BatchedCircuit<'_>,
    prompts: &[Vec<u32>],
) -> Result<Vec<Predictions>> {
    let backend = Predicted::new(parameters);
    let mut predictions = run(&backend, parameters, circuit, prompts, Predictions::default())?;
    predictions.iter_mut().for_each(|one| one.largest_bootstrapped = backend.largest_bootstrapped());
    Ok(predictions)
}

/// Predicted values and estimated errors of one tap of every prompt, for batches whose every tap would be too much; and the largest
/// slot that was bootstrapped.
///
/// # Errors
/// As [`predict`]; [`LlmError::Operand`] if there is no such tap.
pub fn predict_tap(
    parameters: &Parameters,
    circuit: &BatchedCircuit<'_>,
    prompts: &[Vec<u32>],
    name: &str,
) -> Result<(Vec<Prediction>, f64)> {
    let backend = Predicted::new(parameters);
    let only = Only { name: name.to_owned(), found: None };
    let missing = || {
        let expected = format!("tap {name}");
        LlmError::Operand { operation: "prediction".to_owned(), expected, got: "none".to_owned() }
    };
    let found = run(&backend, parameters, circuit, prompts, only)?.into_iter().map(|only| only.found);
    let predictions = found.map(|found| found.ok_or_else(missing)).collect::<Result<Vec<_>>>()?;
    Ok((predictions, backend.largest_bootstrapped()))
}

/// Fresh errors of every tap of every prompt: made between the taps before it and itself (`r[noise.layer.fresh]`).
///
/// # Errors
/// As [`predict`].
pub fn fresh(parameters: &Parameters, circuit: &BatchedCircuit<'_>, prompts: &[Vec<u32>]) -> Result<Vec<Predictions>> {
    run(&Predicted::cut_at_taps(parameters), parameters, circuit, prompts, Predictions::default())
}

/// Bounds on the errors at every tap of every prompt (`r[noise.layer]`).
///
/// # Errors
/// As [`predict`].
pub fn bounds(parameters: &Parameters, circuit: &BatchedCircuit<'_>, prompts: &[Vec<u32>]) -> Result<Vec<Bounds>> {
    fresh(parameters, circuit, prompts)?.iter().map(|one| compose(circuit.model(), one)).collect()
}

/// Runs the circuit on predicted slots with an observer per prompt.
fn run<O: Observer<SlotCt> + Clone>(
    backend: &Predicted,
    parameters: &Parameters,
    circuit: &BatchedCircuit<'_>,
    prompts: &[Vec<u32>],
    observer: O,
) -> Result<Vec<O>> {
    let plan = circuit.requirements(parameters)?.plan;
    let encrypt = |slots| backend.encrypt(slots, plan.input_level());
    let input = circuit.input(prompts)?.into_iter().map(encrypt).collect::<Result<Vec<_>>>()?;
    let mut observers = PerPrompt::new(vec![observer; prompts.len()]);
    circuit.run(backend, &plan, &input, &mut observers)?;
    Ok(observers.observers)
}

/// Keeps one tap.
#[derive(Clone)]
struct Only {
    name: String,
    found: Option<Prediction>,
}

impl Observer<SlotCt> for Only {
    fn wants(&self, name: &str) -> bool {
        self.name == name
    }

    fn tap(&mut self, name: &str, ciphertexts: &[&SlotCt], decode: &Decode) -> Result<()> {
        self.found = Some(Prediction::at(name, ciphertexts, decode));
        Ok(())
    }
}
