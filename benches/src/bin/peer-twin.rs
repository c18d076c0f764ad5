//! The project's side of `benches/peers/run`: performs named operations on request and reports their times.
//!
//! `peer-twin PRESET LEVEL THREADS` prints one JSON line with the parameters in force, then reads requests from standard
//! input, one a line: an operation's name and how often to perform it. Each is answered by one JSON line: the nanoseconds
//! of every run and the largest slot error of the last result, which shows that the work was done. Keys and inputs of
//! an operation are made before its first run and are not timed.
//!
//! Parameters of any security are accepted, keys come from a fixed seed: this is for measurements only.

use rayon::ThreadPoolBuilder;
use serde_json::{Value, json};
use std::error::Error;
use std::io::{BufRead, Write};
use std::time::Instant;
use touchstone_ckks::{
    Ciphertext, Complex64, Context, Encoder, EvaluationKeys, Evaluator, KeyGenerator, Parameters, Plaintext, PublicKey,
    SecretKey, Security, Seed, decrypt, encrypt_public,
};

/// Steps of the hoisted rotations; the single rotation has the first of them.
const STEPS: std::ops::RangeInclusive<i64> = 1..=8;

/// The operations by name.
const OPERATIONS: [&str; 7] = ["encode", "encrypt", "multiply", "square", "rotate", "rotations", "plain"];

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [preset, level, threads] = arguments.as_slice() else {
        return Err("usage: peer-twin PRESET LEVEL THREADS".into());
    };
    ThreadPoolBuilder::new().num_threads(threads.parse()?).use_current_thread().build_global()?;
    let mut twin = Twin::new(preset, level.parse()?)?;
    answer(&twin.parameters())?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let mut words = line.split_whitespace();
        let (Some(operation), Some(count)) = (words.next(), words.next()) else {
            return Err(format!("expected OPERATION COUNT, got {line:?}").into());
        };
        answer(&twin.perform(operation, count.parse()?)?)?;
    }
    Ok(())
}

fn answer(value: &Value) -> Outcome<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{value}")?;
    Ok(out.flush()?)
}

/// Number `index` of the inputs that both sides share: SplitMix64 of a counter, as a number in `[-0.7, 0.7)`, so that
/// complex slots lie in the unit disc.
fn input(seed: u64, index: u64) -> f64 {
    let mut z = seed.wrapping_add((index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    0.7 * ((z >> 11) as f64 * 2f64.powi(-52) - 1.0)
}

fn slots(seed: u64, count: usize) -> Vec<Complex64> {
    (0..count as u64).map(|i| Complex64::new(input(seed, 2 * i), input(seed, 2 * i + 1))).collect()
}

/// Two encrypted vectors and the keys that have been needed so far.
struct Twin {
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

impl Twin {
    fn new(preset: &str, level: usize) -> Outcome<Self> {
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

    fn parameters(&self) -> Value {
        let parameters = self.context.parameters();
        let bits = |primes: &[u64]| primes.iter().map(|&q| (q as f64).log2()).collect::<Vec<_>>();
        let (chain, special) = (bits(&parameters.chain()[..=self.level]), bits(parameters.special()));
        let log_q: f64 = chain.iter().sum();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "kernel": format!("{:?}", self.context.kernel()).to_lowercase(),
            "log_n": parameters.log_n(),
            "levels": self.level,
            "primes": chain.len(),
            "first_bits": chain[0],
            "log_q": log_q,
            "special_primes": special.len(),
            "log_qp": log_q + special.iter().sum::<f64>(),
            "digits": parameters.digits(self.level),
            "scale_bits": parameters.canonical_scale(self.level).log2(),
            "secret": format!("{:?}", parameters.secret()),
            "secure": parameters.is_secure(),
            "operations": OPERATIONS,
        })
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
                let run = |_| Ok(evaluator.rescale(&evaluator.mul_plain(x, &self.plain_y)?)?);
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

fn largest_error(got: &[Complex64], expected: &[Complex64]) -> f64 {
    got.iter().zip(expected).map(|(a, b)| (a - b).norm()).fold(0.0, f64::max)
}

fn report(times: &[u64], level: usize, error: f64) -> Value {
    json!({"ns": times, "level": level, "error": error})
}

/// Nanoseconds of every run, and the last result; earlier ones are dropped outside the timed span.
fn time<T>(count: usize, mut run: impl FnMut(u32) -> Outcome<T>) -> Outcome<(Vec<u64>, T)> {
    let mut times = Vec::with_capacity(count);
    let mut last = None;
    for i in 0..u32::try_from(count)? {
        let start = Instant::now();
        let result = run(i)?;
        times.push(u64::try_from(start.elapsed().as_nanos())?);
        last = Some(result);
    }
    Ok((times, last.ok_or("a count of at least one is needed")?))
}
