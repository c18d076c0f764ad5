//! Generation behind an encrypted cache of keys and values (`spec/book/generation.md`): plans, keys and predictions.
//!
//! Prefill is the circuit of a prompt that keeps its keys and values; then one decoding step per token. Both have plans of their own,
//! found by the same search; the keys are those of both.

use crate::artifact::Model;
use crate::backend::dry::{DryCiphertext, DryRun, KeyPlan};
use crate::backend::slots::{Predicted, Predictions, SlotCt};
use crate::circuit::{Cache, CacheLevels, Circuit, Requirements};
use crate::error::{LlmError, Result};
use crate::plan::Plan;
use crate::plan::costs::{Costs, Units};
use crate::tap::Blind;
use touchstone_ckks::Parameters;

/// What prefill and decoding steps need.
#[derive(Clone, Debug, PartialEq)]
pub struct Generation {
    /// Where levels go in prefill; the client encrypts the prompt at [`Plan::input_level`].
    pub prefill: Plan,
    /// Where levels go in a decoding step, at any position; the client encrypts each token at [`Plan::input_level`].
    pub decode: Plan,
    /// Levels of the cache, by layer.
    pub cache: Vec<CacheLevels>,
    /// Evaluation keys of both.
    pub keys: KeyPlan,
    /// Bootstraps of prefill.
    pub prefill_bootstraps: usize,
    /// Bootstraps of a decoding step.
    pub decode_bootstraps: usize,
}

impl Generation {
    /// The cheapest plans for a model and a parameter set.
    ///
    /// Prefill is planned as if alone. A step is planned for a cache as high as prefill can leave it; where its queries and powers meet
    /// it is where it is kept from the beginning.
    ///
    /// # Errors
    /// As [`Circuit::new`] and [`Plan::find`].
    pub fn find(model: &Model, parameters: &Parameters) -> Result<Self> {
        let (slots, context, costs) =
            (parameters.slots(), model.config.max_position_embeddings, Costs::new(parameters, Units::default())?);
        let prompt = Circuit::new(model, slots, context)?;
        let prefill = Plan::find(&prompt, parameters, &costs)?;
        let kept = |circuit: &Circuit<'_>, levels: Option<&[CacheLevels]>| {
            let dry = DryRun::new(parameters, &costs);
            let input = dry.input(circuit.layout().parts, prefill.input_level());
            let (_, cache) = circuit.prefill(&dry, (&prefill, levels), &input, &mut Blind)?;
            Ok::<_, LlmError>((dry, cache))
        };
        let (_, highest) = kept(&prompt, None)?;
        let first = Circuit::decoding(model, slots, context - 1, highest.levels(DryCiphertext::level))?;
        let decode = Plan::find(&first, parameters, &costs)?;
        let stepped = |circuit: &Circuit<'_>, cache: &Cache<DryCiphertext>| {
            let dry = DryRun::new(parameters, &costs);
            let input = dry.input(circuit.layout().parts, decode.input_level());
            let (_, cache) = circuit.decode(&dry, &decode, cache, &input, &mut Blind)?;
            Ok::<_, LlmError>((dry, cache.levels(DryCiphertext::level)))
        };
        let at_last = |cache: Cache<DryCiphertext>| Cache { length: context - 1, ..cache };
        let (_, cache) = stepped(&first, &at_last(highest))?;
        let (prefilling, filled) = kept(&prompt, Some(&cache))?;
        let step = Circuit::decoding(model, slots, context - 1, cache.clone())?;
        let (decoding, _) = stepped(&step, &at_last(filled))?;
        let keys = prefilling.keys()?.with(&decoding.keys()?);
        let (prefill_bootstraps, decode_bootstraps) = (prefilling.bootstraps(), decoding.bootstraps());
        Ok(Self { prefill, decode, cache, keys, prefill_bootstraps, decode_bootstraps })
    }

    /// What prefill needs, with the keys of all passes.
    #[must_use]
    pub fn prefilling(&self) -> Requirements {
        Requirements { plan: self.prefill.clone(), keys: self.keys.clone(), bootstraps: self.prefill_bootstraps }
    }

    /// The circuit of the step for the token at `position`.
    ///
    /// # Errors
    /// As [`Circuit::decoding`].
    pub fn step<'a>(&self, model: &'a Model, slots: usize, position: usize) -> Result<Circuit<'a>> {
        Circuit::decoding(model, slots, position, self.cache.clone())
    }
}

/// Predicted values and errors of a generation (rung R3p), step by step: the errors of the cache are carried along.
#[derive(Debug)]
pub struct Predictor<'a> {
    parameters: &'a Parameters,
    model: &'a Model,
    generation: &'a Generation,
    cache: Option<Cache<SlotCt>>,
}

impl<'a> Predictor<'a> {
    /// Before prefill.
    #[must_use]
    pub fn new(parameters: &'a Parameters, model: &'a Model, generation: &'a Generation) -> Self {
        Self { parameters, model, generation, cache: None }
    }

    /// The next pass for the tokens so far: prefill of all of them the first time, then the step of the last one.
    ///
    /// # Errors
    /// [`LlmError::Operand`] if tokens were left out; else as [`Circuit::input`], [`Circuit::prefill`] and [`Circuit::decode`].
    pub fn pass(&mut self, tokens: &[u32]) -> Result<Predictions> {
        let (slots, backend) = (self.parameters.slots(), Predicted::new(self.parameters));
        let mut predictions = Predictions::default();
        let cache = match &self.cache {
            None => {
                let circuit = Circuit::new(self.model, slots, tokens.len())?;
                let input = encrypt(&backend, &circuit, tokens, &self.generation.prefill)?;
                let plan = (&self.generation.prefill, Some(self.generation.cache.as_slice()));
                circuit.prefill(&backend, plan, &input, &mut predictions)?.1
            }
            Some(cache) => {
                let last = tokens.len().saturating_sub(1);
                let circuit = self.generation.step(self.model, slots, last)?;
                let token = tokens.get(last..).unwrap_or_default();
                let input = encrypt(&backend, &circuit, token, &self.generation.decode)?;
                circuit.decode(&backend, &self.generation.decode, cache, &input, &mut predictions)?.1
            }
        };
        self.cache = Some(cache);
        predictions.largest_bootstrapped = backend.largest_bootstrapped();
        Ok(predictions)
    }
}

fn encrypt(backend: &Predicted, circuit: &Circuit<'_>, tokens: &[u32], plan: &Plan) -> Result<Vec<SlotCt>> {
    let encrypt = |slots| backend.encrypt(slots, plan.input_level());
    circuit.input(tokens)?.into_iter().map(encrypt).collect()
}
