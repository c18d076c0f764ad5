//! The optimised side of one prompt: predictions, and encrypted runs.

use super::side;
use crate::ConformError;
use num_complex::Complex64;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;
use touchstone_ckks::{Ciphertext, Context, KeyGenerator, Parameters, SecretKey, Security, Seed};
use touchstone_llm::LlmError;
use touchstone_llm::backend::slots::Predictions;
use touchstone_llm::batched::BatchedCircuit;
use touchstone_llm::bounds::{Bounds, compose};
use touchstone_llm::circuit::{Circuit, Requirements};
use touchstone_llm::plan::Plan;
use touchstone_llm::session::{self, DecryptedTaps, Server};
use touchstone_llm::tap::{Blind, PerPrompt, Tensor};

/// What is predicted for one prompt.
pub struct Predicted {
    /// Values and root-sum-square estimates at every tap (rung R3p).
    pub estimates: Predictions,
    /// Bounds at every tap as the optimised side composes them (`r[noise.layer]`): a check of the reference's.
    pub bounds: Bounds,
    /// Declared fresh standard deviations at every tap (`r[noise.layer.fresh]`).
    pub fresh: BTreeMap<String, Vec<f64>>,
}

/// A model as the optimised side reads it.
pub struct Model(pub(super) touchstone_llm::artifact::Model);

impl Model {
    /// Reads a model directory.
    ///
    /// # Errors
    /// [`ConformError::Side`] with the reader's message.
    pub fn load(directory: &Path) -> Result<Self, ConformError> {
        touchstone_llm::artifact::Model::load(directory).map(Self).map_err(|e| side("optimized", "model", e))
    }

    /// Predicted values and estimates at every tap.
    ///
    /// # Errors
    /// [`ConformError::Side`].
    pub fn estimate(&self, preset: &str, tokens: &[u32]) -> Result<Predictions, ConformError> {
        let run = || {
            let parameters = Parameters::preset(preset, Security::Enforce)?;
            let circuit = Circuit::new(&self.0, parameters.slots(), tokens.len())?;
            session::predict(&parameters, &circuit, tokens)
        };
        run().map_err(|e: LlmError| side("optimized", "prediction", e))
    }

    /// Predicted values, estimates and bounds at every tap.
    ///
    /// # Errors
    /// [`ConformError::Side`].
    pub fn predict(&self, preset: &str, tokens: &[u32]) -> Result<Predicted, ConformError> {
        let run = || {
            let parameters = Parameters::preset(preset, Security::Enforce)?;
            let circuit = Circuit::new(&self.0, parameters.slots(), tokens.len())?;
            let estimates = session::predict(&parameters, &circuit, tokens)?;
            let cut = session::fresh(&parameters, &circuit, tokens)?;
            let bounds = compose(&self.0, &cut)?;
            let fresh = cut.taps.into_iter().map(|tap| (tap.tensor.name, tap.deviation)).collect();
            Ok(Predicted { estimates, bounds, fresh })
        };
        run().map_err(|e: LlmError| side("optimized", "prediction", e))
    }
}

/// A client and a server in one process, with keys.
pub struct Encrypted {
    context: Context,
    secret: SecretKey,
    public: touchstone_ckks::PublicKey,
    server: Server,
    plan: Plan,
    key_seconds: f64,
}

impl Encrypted {
    /// Generates the keys that the model's circuit needs.
    ///
    /// # Errors
    /// [`ConformError::Side`].
    pub fn new(model: &Model, preset: &str, seed: u128) -> Result<Self, ConformError> {
        let make = || {
            let parameters = Parameters::preset(preset, Security::Enforce)?;
            let requirements = Circuit::new(&model.0, parameters.slots(), 1)?.requirements(&parameters)?;
            Self::meeting(requirements, parameters, seed)
        };
        make().map_err(|e: LlmError| side("optimized", "keys", e))
    }

    /// Generates the keys of a circuit with these requirements.
    ///
    /// # Errors
    /// Those of key generation.
    pub fn meeting(requirements: Requirements, parameters: Parameters, seed: u128) -> Result<Self, LlmError> {
        let start = Instant::now();
        let context = Context::new(parameters)?;
        let generator = KeyGenerator::new(&context, Seed::insecure(seed));
        let secret = generator.secret_key();
        let public = generator.public_key(&secret)?;
        let keys = session::evaluation_keys(&context, &generator, &secret, &requirements.keys)?;
        let server = Server::new(&context, &keys, &requirements.keys)?;
        let key_seconds = start.elapsed().as_secs_f64();
        Ok(Self { secret, public, server, plan: requirements.plan, key_seconds, context })
    }

    /// Decrypted values at every tap.
    ///
    /// # Errors
    /// [`ConformError::Side`].
    pub fn taps(&self, model: &Model, tokens: &[u32]) -> Result<Vec<Tensor>, ConformError> {
        let run = || {
            let circuit = Circuit::new(&model.0, self.context.parameters().slots(), tokens.len())?;
            let input = self.encrypt(&circuit.input(tokens)?)?;
            let mut taps = DecryptedTaps::new(&self.context, &self.secret);
            self.server.compute(&circuit, &self.plan, &input, &mut taps, &|_| ())?;
            Ok(taps.taps)
        };
        run().map_err(|e: LlmError| side("optimized", "encrypted run", e))
    }

    /// Decrypted logits of the last position.
    ///
    /// # Errors
    /// [`ConformError::Side`].
    pub fn logits(&self, model: &Model, tokens: &[u32]) -> Result<Vec<f64>, ConformError> {
        let run = || {
            let circuit = Circuit::new(&model.0, self.context.parameters().slots(), tokens.len())?;
            let input = self.encrypt(&circuit.input(tokens)?)?;
            let (logits, _) = self.server.compute(&circuit, &self.plan, &input, &mut Blind, &|_| ())?;
            let logits: Vec<_> = logits.iter().collect();
            session::read(&self.context, &self.secret, &logits, &circuit.logits())
        };
        run().map_err(|e: LlmError| side("optimized", "encrypted run", e))
    }

    /// Decrypted values at every tap of the batched twin, prompt by prompt.
    ///
    /// # Errors
    /// Those of the run.
    pub fn batched_taps(
        &self,
        circuit: &BatchedCircuit<'_>,
        prompts: &[Vec<u32>],
    ) -> Result<Vec<Vec<Tensor>>, LlmError> {
        let input = self.encrypt(&circuit.input(prompts)?)?;
        let observers = prompts.iter().map(|_| DecryptedTaps::new(&self.context, &self.secret)).collect();
        let mut taps = PerPrompt::new(observers);
        self.server.compute_batch(circuit, &self.plan, &input, &mut taps, &|_| ())?;
        Ok(taps.observers.into_iter().map(|observer| observer.taps).collect())
    }

    fn encrypt(&self, slots: &[Vec<Complex64>]) -> Result<Vec<Ciphertext>, LlmError> {
        session::encrypt(&self.context, &self.public, slots, self.plan.input_level(), &Seed::from_os()?)
    }

    /// What a reader of a record wants to know about the run.
    pub fn facts(&self) -> BTreeMap<String, String> {
        let parameters = self.context.parameters();
        let log_qp = parameters.log_qp();
        let security = if parameters.is_secure() { "128-bit classical" } else { "insecure" };
        [
            ("parameters", format!("log N {}, log QP {log_qp:.1}, {security}", parameters.log_n())),
            ("kernel", format!("{:?}", self.context.kernel())),
            ("input level", self.plan.input_level().to_string()),
            ("key generation", format!("{:.1} s", self.key_seconds)),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
    }
}
