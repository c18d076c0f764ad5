//! What one seed gives: keys, messages, exact errors.

use crate::bounds::Bound;
use crate::bounds::components::Noise;
use crate::bounds::noise::product_factor;
use crate::bounds::secret::{Embedding, SecretNorms};
use crate::ckks::{
    Ciphertext, Encoder, Evaluator, KeySwitchKey, Parameters, Plaintext, PublicKey, SecretKey, conjugation_element,
    decrypt, encrypt_public, encrypt_secret, rotation_element,
};
use crate::error::ReferenceError;
use crate::ring::Poly;
use crate::sample::{Seed, Stream, StreamId};
use num_complex::Complex64;
use rug::{Integer, Rational};
use std::cell::OnceCell;

/// Domain of the streams of messages and constants, which are no draws of the specification.
const MESSAGE_DOMAIN: u32 = 1000;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// Coefficients of the error polynomial, in units of the integers.
    Coefficients,
    /// Real and imaginary parts of slots, each divided by its deviation under the key at hand (`r[noise.bound.slot]`).
    Slots,
}

/// How far an error may go.
#[derive(Clone, Debug)]
pub enum Limit {
    /// `D` standard deviations (`r[noise.bound]`) times a factor: 1, or more where a rule states a mean over coefficients.
    Deviations {
        /// Largest deviation of a number over the stated one.
        factor: f64,
    },
    /// The same where a part of the error is a product of two random polynomials (`r[noise.bound.product]`).
    Product {
        /// Variance of that part.
        variance: f64,
        /// Its independent terms.
        terms: f64,
        /// Largest variance of a number over the stated one, for that part.
        times: f64,
    },
    /// A bound per number that holds whatever is drawn (`r[noise.worst-case]`), on top of `D` deviations of `random`, the
    /// part of the variance that has no such bound.
    WorstCase {
        /// Bounds, one per number.
        sizes: Vec<f64>,
        /// Variance of the rest.
        random: f64,
    },
}

/// Errors of one run, with what is predicted about them.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The errors.
    pub errors: Vec<f64>,
    /// Predicted variance: one for all numbers, or one each.
    pub variances: Vec<f64>,
    /// How far they may go.
    pub limit: Limit,
    /// Relative variance of the mean square of `errors`, at most.
    pub spread: f64,
}

impl Sample {
    /// Errors whose coefficients have the predicted variance each.
    #[must_use]
    pub fn of(bench: &Bench<'_>, errors: Vec<f64>, noise: &Noise) -> Self {
        let variances = vec![bench.variance(noise).total];
        Self { errors, variances, limit: Limit::Deviations { factor: 1.0 }, spread: bench.spread(noise) }
    }

    /// The same where `part` of the error is a product of two random polynomials.
    ///
    /// The mean square of a product of two complex Gaussians has three times the relative variance of one.
    #[must_use]
    pub fn product(self, bench: &Bench<'_>, part: &Noise) -> Self {
        let weights = part.slot_variances(bench.norms.slots());
        let largest = weights.iter().copied().fold(0.0, f64::max);
        let terms = 2.0 * weights.iter().sum::<f64>() / largest;
        let limit = Limit::Product { variance: bench.variance(part).total, terms, times: 1.0 };
        Self { limit, spread: 3.0 * self.spread, ..self }
    }

    /// The same for a sum over `count` distinct automorphisms of one error: the rule states the mean over coefficients, and an
    /// automorphism that fixes a coefficient adds it to itself.
    #[must_use]
    pub fn summed(self, count: usize) -> Self {
        let count = count as f64;
        let limit = match self.limit {
            Limit::Product { variance, terms, times } => Limit::Product { variance, terms, times: times * count },
            _ => Limit::Deviations { factor: count.sqrt() },
        };
        Self { limit, spread: count * self.spread, ..self }
    }

    pub(super) fn variance(&self, index: usize) -> f64 {
        self.variances[index % self.variances.len()]
    }

    pub(super) fn limit(&self, index: usize, d: f64) -> f64 {
        let total = self.variance(index);
        match &self.limit {
            Limit::Deviations { factor } => factor * d * total.sqrt(),
            Limit::Product { variance, terms, times } => {
                d * (total - variance + variance * times * product_factor(d, *terms).powi(2)).sqrt()
            }
            Limit::WorstCase { sizes, random } => sizes[index % sizes.len()] + d * random.sqrt(),
        }
    }
}

/// Keys and messages of one seed.
pub struct Bench<'a> {
    /// The parameter set.
    pub params: &'a Parameters,
    /// The seed of all draws.
    pub seed: Seed,
    /// The secret.
    pub secret: SecretKey,
    /// Norms of its powers.
    pub norms: SecretNorms,
    /// Level of the operations: the last digit is short there.
    pub level: usize,
    pub(super) embedding: Embedding,
    pub(super) encoder: Encoder,
    public: OnceCell<PublicKey>,
    relinearisation: OnceCell<KeySwitchKey>,
}

impl<'a> Bench<'a> {
    /// Draws the secret.
    ///
    /// # Errors
    /// None for validated parameters.
    pub fn new(params: &'a Parameters, seed: Seed) -> Result<Self, ReferenceError> {
        let secret = SecretKey::generate(params, &seed)?;
        let embedding = Embedding::new(params.n());
        let norms = SecretNorms::of(&secret, &embedding);
        let level = params.max_level().saturating_sub(1);
        let encoder = Encoder::new(params);
        let (public, relinearisation) = (OnceCell::new(), OnceCell::new());
        Ok(Self { params, seed, secret, norms, level, embedding, encoder, public, relinearisation })
    }

    /// Predicted variance of a coefficient under this key.
    #[must_use]
    pub fn variance(&self, noise: &Noise) -> Bound {
        noise.variance(&self.norms)
    }

    /// Relative variance of the mean square of one run's coefficients: `2/N` times the mean square over the squared mean of the
    /// slots' variances, for Gaussian errors; less for bounded ones.
    pub(super) fn spread(&self, noise: &Noise) -> f64 {
        let weights = noise.slot_variances(self.norms.slots());
        let mean = |power: i32| weights.iter().map(|w| w.powi(power)).sum::<f64>() / weights.len() as f64;
        mean(2) / mean(1).powi(2) * 2.0 / self.params.n() as f64
    }

    /// Uniform numbers in `[0, 1)`, of 53 bits.
    pub fn uniform(&self, object: u32, count: usize) -> Vec<f64> {
        let mut stream = Stream::new(&self.seed, StreamId::new(MESSAGE_DOMAIN, object));
        (0..count).map(|_| (stream.next_u64() >> 11) as f64 / 2f64.powi(53)).collect()
    }

    /// Slots of modulus 1 and random argument: a product with them leaves the length of an error as it is.
    pub fn message(&self, object: u32) -> Vec<Complex64> {
        let arguments = self.uniform(object, self.params.slots());
        arguments.into_iter().map(|x| Complex64::cis(std::f64::consts::TAU * x)).collect()
    }

    /// The message number `object`, encoded at `scale`.
    ///
    /// # Errors
    /// Those of encoding.
    pub fn plaintext(&self, object: u32, level: usize, scale: f64) -> Result<Plaintext, ReferenceError> {
        self.encoder.encode_at(self.params, &self.message(object), level, scale)
    }

    /// The canonical scale of the bench's level.
    ///
    /// # Errors
    /// None for validated parameters.
    pub fn scale(&self) -> Result<f64, ReferenceError> {
        self.params.canonical_scale(self.level)
    }

    /// A plaintext of zeros.
    ///
    /// # Errors
    /// Level errors of [`Parameters::chain`].
    pub fn zero(&self, level: usize) -> Result<Plaintext, ReferenceError> {
        Plaintext::from_coefficients(self.params, &vec![0; self.params.n()], level, 1.0)
    }

    /// Secret-key encryption number `index`.
    ///
    /// # Errors
    /// As [`encrypt_secret`].
    pub fn by_secret(&self, index: u32, message: &Plaintext) -> Result<Ciphertext, ReferenceError> {
        encrypt_secret(self.params, &self.seed, &self.secret, index, message)
    }

    /// Public-key encryption number `index`.
    ///
    /// # Errors
    /// As [`encrypt_public`].
    pub fn by_public(&self, index: u32, message: &Plaintext) -> Result<Ciphertext, ReferenceError> {
        encrypt_public(self.params, &self.seed, self.public()?, index, message)
    }

    /// The evaluator of the parameter set.
    #[must_use]
    pub fn evaluator(&self) -> Evaluator<'a> {
        Evaluator::new(self.params)
    }

    /// The public key.
    ///
    /// # Errors
    /// None for validated parameters.
    pub fn public(&self) -> Result<&PublicKey, ReferenceError> {
        if self.public.get().is_none() {
            let _ = self.public.set(PublicKey::generate(self.params, &self.seed, &self.secret)?);
        }
        self.public.get().ok_or_else(not_made)
    }

    /// The relinearisation key for the bench's level.
    ///
    /// # Errors
    /// None for validated parameters.
    pub fn relinearisation(&self) -> Result<&KeySwitchKey, ReferenceError> {
        if self.relinearisation.get().is_none() {
            let key = KeySwitchKey::relinearisation(self.params, &self.seed, &self.secret, self.level)?;
            let _ = self.relinearisation.set(key);
        }
        self.relinearisation.get().ok_or_else(not_made)
    }

    pub(super) fn rotation(&self, steps: i64) -> Result<KeySwitchKey, ReferenceError> {
        KeySwitchKey::galois(self.params, &self.seed, &self.secret, rotation_element(self.params, steps), self.level)
    }

    pub(super) fn conjugation(&self) -> Result<KeySwitchKey, ReferenceError> {
        let g = conjugation_element(self.params);
        KeySwitchKey::galois(self.params, &self.seed, &self.secret, g, self.level)
    }

    /// Coefficients of the difference of a ciphertext's message and `exact`.
    ///
    /// # Errors
    /// As [`decrypt`]; [`ReferenceError::BadOperand`] if the moduli differ.
    pub fn error(&self, ciphertext: &Ciphertext, exact: &Poly) -> Result<Vec<f64>, ReferenceError> {
        Ok(floats(&decrypt(&self.secret, ciphertext)?.poly.sub(exact)?))
    }

    /// `c_0 + c_1 s + ...`.
    pub(super) fn phase(&self, ciphertext: &Ciphertext) -> Result<Poly, ReferenceError> {
        Ok(decrypt(&self.secret, ciphertext)?.poly)
    }
}

fn not_made() -> ReferenceError {
    ReferenceError::BadOperand { operation: "keys", expected: "a key".to_owned(), got: "none".to_owned() }
}

/// Centred coefficients in binary64.
pub(super) fn floats(poly: &Poly) -> Vec<f64> {
    poly.centred().iter().map(Integer::to_f64).collect()
}

/// Sum of squared coefficients.
pub(super) fn norm(poly: &Poly) -> f64 {
    floats(poly).iter().map(|c| c * c).sum()
}

/// Coefficients of `after - before / divisor`, exact up to the last rounding.
pub(super) fn divided(after: &Poly, before: &Poly, divisor: &Integer) -> Vec<f64> {
    let pairs = after.centred().into_iter().zip(before.centred());
    pairs.map(|(a, b)| Rational::from((a * divisor - b, divisor.clone())).to_f64()).collect()
}
