//! Operations on ciphertexts of one level.

use crate::{Outcome, Side, describe, largest_error, slots, time};
use serde_json::{Value, json};
use touchstone_ckks::{
    Ciphertext, Complex64, Context, Encoder, EvaluationKeys, Evaluator, KeyGenerator, Parameters, Plaintext, PublicKey,
    SecretKey, Security, Seed, decrypt, encrypt_public,
};

/// Steps of the hoisted rotations; the single rotation has the first of them.
const STEPS: std::ops::RangeInclusive<i64> = 1..=8;

/// The operations by name.
const OPERATIONS: [&str; 7] = ["encode", "encrypt", "multiply", "square", "rotate", "rotations", "plain"];

/// Two encrypted vectors and the keys that have been needed so far.
pub struct Operations {
    context: Context,
    encoder: Encoder,
    level: usize,
    secret: SecretKey,
    public: PublicKey,
    keys: EvaluationKeys,
    has_relinearisation: bool,
    rotations: Vec<i64>,
    x: Vec<Complex64>,
    y: Vec<Complex64>,
    plain_x: Plaintext,
    plain_y: Plaintext,
    cipher_x: Ciphertext,
    cipher_y: Ciphertext,
}

impl Operations {
    pub fn new(preset: &str, level: usize) -> Outcome<Self> {
        let context = Context::new(Parameters::preset(preset, Security::AllowInsecure)?)?;
        let generator = KeyGenerator::new(&context, Seed::insecure(1));
        let secret = generator.secret_key();
        let public = generator.public_key(&secret)?;
        let encoder = Encoder::new(&context);
        let parameters = context.parameters();
        let (x, y) = (slots(1, parameters.slots()), slots(2, parameters.slots()));
        let scale = parameters.canonical_scale(level);
        let (plain_x, plain_y) = (encoder.encode(&x, level, scale)?, encoder.encode(&y, level, scale)?);
        let cipher_x = encrypt_public(&context, &public, &plain_x, &Seed::insecure(2), 0)?;
        let cipher_y = encrypt_public(&context, &public, &plain_y, &Seed::insecure(2), 1)?;
        let (keys, has_relinearisation, rotations) = (EvaluationKeys::new(), false, Vec::new());
        Ok(Self {
            context,
            encoder,
            level,
            secret,
            public,
            keys,
            has_relinearisation,
            rotations,
            x,
            y,
            plain_x,
            plain_y,
            cipher_x,
            cipher_y,
        })
    }

    /// Makes the keys that the operation needs, the first time.
    fn make_keys(&mut self, operation: &str) -> Outcome<()> {
        let generator = KeyGenerator::new(&self.context, Seed::insecure(1));
        if matches!(operation, "multiply" | "square") && !self.has_relinearisation {
            self.keys.insert(generator.relinearisation_key(&self.secret, self.level)?);
            self.has_relinearisation = true;
        }
        let steps: Vec<i64> = match operation {
            "rotate" => vec![*STEPS.start()],
            "rotations" => STEPS.collect(),
            _ => Vec::new(),
        };
        for step in steps {
            if !self.rotations.contains(&step) {
                self.keys.insert(generator.rotation_key(&self.secret, step, self.level)?);
                self.rotations.push(step);
            }
        }
        Ok(())
    }

    fn finish(&self, (times, result): (Vec<u64>, Ciphertext), expected: &[Complex64]) -> Outcome<Value> {
        let got = self.encoder.decode(&decrypt(&self.context, &self.secret, &result)?)?;
        Ok(report(&times, result.level(), largest_error(&got, expected)))
    }
}

impl Side for Operations {
    fn parameters(&self) -> Value {
        let scale = self.context.parameters().canonical_scale(self.level);
        let mut values = describe(&self.context, self.level, scale.log2());
        values.insert("operations".to_owned(), json!(OPERATIONS));
        Value::Object(values)
    }

    fn perform(&mut self, operation: &str, count: usize) -> Outcome<Value> {
        self.make_keys(operation)?;
        let evaluator = Evaluator::new(&self.context, &self.keys);
        let level = self.level;
        let scale = self.context.parameters().canonical_scale(level);
        let (x, y) = (&self.cipher_x, &self.cipher_y);
        let product = |a: &[Complex64], b: &[Complex64]| a.iter().zip(b).map(|(a, b)| a * b).collect::<Vec<_>>();
        let rotated = |steps: i64| {
            let mut slots = self.x.clone();
            slots.rotate_left(steps as usize);
            slots
        };
        match operation {
            "encode" => {
                let (times, plain) = time(count, |_| Ok(self.encoder.encode(&self.x, level, scale)?))?;
                Ok(report(&times, level, largest_error(&self.encoder.decode(&plain)?, &self.x)))
            }
            "encrypt" => {
                let (context, seed) = (&self.context, Seed::from_os()?);
                let run = |i| Ok(encrypt_public(context, &self.public, &self.plain_x, &seed, i)?);
                self.finish(time(count, run)?, &self.x)
            }
            "multiply" => self.finish(time(count, |_| Ok(evaluator.mul_rescale(x, y)?))?, &product(&self.x, &self.y)),
            "square" => self.finish(time(count, |_| Ok(evaluator.mul_rescale(x, x)?))?, &product(&self.x, &self.x)),
            "plain" => {
                let run = |_| Ok(evaluator.mul_plain_rescale(x, &self.plain_y)?);
                self.finish(time(count, run)?, &product(&self.x, &self.y))
            }
            "rotate" => {
                self.finish(time(count, |_| Ok(evaluator.rotate(x, *STEPS.start())?))?, &rotated(*STEPS.start()))
            }
            "rotations" => {
                let steps: Vec<i64> = STEPS.collect();
                let (times, mut results) = time(count, |_| Ok(evaluator.rotate_hoisted(x, &steps)?))?;
                let last = results.pop().ok_or("no rotation")?;
                self.finish((times, last), &rotated(*STEPS.end()))
            }
            other => Err(format!("no operation {other:?}").into()),
        }
    }
}

fn report(times: &[u64], level: usize, error: f64) -> Value {
    json!({"ns": times, "level": level, "error": error})
}
