//! Bootstrapping of all slots.

use crate::{Outcome, Side, describe, largest_error, slots, time};
use serde_json::{Value, json};
use touchstone_ckks::circuits::bootstrap::Bootstrapper;
use touchstone_ckks::{
    Ciphertext, Complex64, Context, Encoder, EvaluationKeys, Evaluator, KeyGenerator, Parameters, SecretKey, Security,
    Seed, decrypt, encrypt_public,
};

/// Errors below this count as this when precision is taken as a logarithm.
const SMALLEST_ERROR: f64 = 1.0 / (1u64 << 60) as f64;

/// An exhausted ciphertext and what refreshes it.
pub struct Refresh {
    context: Context,
    secret: SecretKey,
    bootstrapper: Bootstrapper,
    evaluator: Evaluator,
    key_bytes: usize,
    values: Vec<Complex64>,
    exhausted: Ciphertext,
}

impl Refresh {
    pub fn new(preset: &str, mebibytes: usize) -> Outcome<Self> {
        let context = Context::new(Parameters::preset(preset, Security::AllowInsecure)?)?;
        let mut bootstrapper = Bootstrapper::new(&context)?;
        bootstrapper.keep_transforms(mebibytes << 20)?;
        let generator = KeyGenerator::new(&context, Seed::insecure(1));
        let secret = generator.secret_key();
        let mut keys = EvaluationKeys::new();
        bootstrapper.generate_keys(&generator, &secret, &mut keys)?;
        let level = bootstrapper.input_level();
        let values = slots(1, context.parameters().slots());
        let scale = context.parameters().canonical_scale(level);
        let plain = Encoder::new(&context).encode(&values, level, scale)?;
        let public = generator.public_key(&secret)?;
        let exhausted = encrypt_public(&context, &public, &plain, &Seed::insecure(2), 0)?;
        let evaluator = Evaluator::new(&context, &keys);
        Ok(Self { secret, bootstrapper, evaluator, key_bytes: keys.bytes(), values, exhausted, context })
    }
}

impl Side for Refresh {
    fn parameters(&self) -> Value {
        let parameters = self.context.parameters();
        let scale = parameters.canonical_scale(self.bootstrapper.input_level());
        let mut values = describe(&self.context, parameters.max_level(), scale.log2());
        values.insert("order".to_owned(), json!("StC first"));
        let weight = parameters.bootstrap().map(|section| section.ephemeral_weight);
        values.insert("ephemeral_weight".to_owned(), json!(weight));
        values.insert("key_bytes".to_owned(), json!(self.key_bytes));
        values.insert("plaintext_bytes".to_owned(), json!(self.bootstrapper.plaintext_bytes()));
        values.insert("operations".to_owned(), json!(["bootstrap"]));
        Value::Object(values)
    }

    fn perform(&mut self, operation: &str, count: usize) -> Outcome<Value> {
        if operation != "bootstrap" {
            return Err(format!("no operation {operation:?}").into());
        }
        let run = |_| Ok(self.bootstrapper.bootstrap(&self.evaluator, &self.exhausted)?);
        let (times, result) = time(count, run)?;
        let got = Encoder::new(&self.context).decode(&decrypt(&self.context, &self.secret, &result)?)?;
        let difference: Vec<Complex64> = got.iter().zip(&self.values).map(|(a, b)| a - b).collect();
        let bits = |part: f64| -part.abs().max(SMALLEST_ERROR).log2();
        let parts: Vec<f64> = difference.iter().flat_map(|d| [bits(d.re), bits(d.im)]).collect();
        Ok(json!({
            "ns": times,
            // The levels that the next bootstrap starts with are not left for other work.
            "level": result.level() - self.bootstrapper.input_level(),
            "error": largest_error(&got, &self.values),
            "mean_bits": parts.iter().sum::<f64>() / parts.len() as f64,
            "worst_bits": parts.iter().copied().fold(f64::INFINITY, f64::min),
            "worst_bits_real": difference.iter().map(|d| bits(d.re)).fold(f64::INFINITY, f64::min),
            "peak_mib": peak_mib()?,
        }))
    }
}

/// Largest resident size so far, in MiB; 0 where the system does not tell.
fn peak_mib() -> Outcome<u64> {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return Ok(0) };
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM in the status")?;
    let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kibibytes / 1024)
}
