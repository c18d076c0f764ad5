//! R3: a ciphertext per number, its slots a batch of independent inputs (`r[rung.r3]`).

use super::homomorphic::Scheme;
use crate::ckks::{
    Ciphertext, Encoder, Evaluator, KeySwitchKey, Parameters, Plaintext, SecretKey, decrypt, encrypt_secret,
};
use crate::error::ReferenceError;
use crate::ring::Poly;
use crate::sample::Seed;
use num_complex::Complex64;
use rug::Integer;
use std::sync::atomic::{AtomicU32, Ordering};

/// Keys of one run. The secret key encrypts inputs and observes values; no operation uses it.
#[derive(Debug)]
pub struct Session {
    params: Parameters,
    encoder: Encoder,
    seed: Seed,
    secret: SecretKey,
    relinearisation: KeySwitchKey,
    /// Index of the next encryption: streams must not be used twice.
    next: AtomicU32,
}

impl Session {
    /// Keys for `params` from a seed.
    ///
    /// # Errors
    /// Those of key generation.
    pub fn new(params: Parameters, seed: Seed) -> Result<Self, ReferenceError> {
        let secret = SecretKey::generate(&params, &seed)?;
        let relinearisation = KeySwitchKey::relinearisation(&params, &seed, &secret, params.max_level())?;
        let encoder = Encoder::new(&params);
        Ok(Self { params, encoder, seed, secret, relinearisation, next: AtomicU32::new(0) })
    }

    /// The preset.
    #[must_use]
    pub fn params(&self) -> &Parameters {
        &self.params
    }

    /// `|s(zeta^(5^j))|^2` for each slot j: what takes the place of the Hamming weight in the variance of that slot.
    ///
    /// # Errors
    /// Those of decoding.
    pub fn slot_weights(&self) -> Result<Vec<f64>, ReferenceError> {
        let coefficients: Vec<Integer> = self.secret.coefficients().iter().map(|&c| Integer::from(c)).collect();
        let slots = self.encoder.decode_coefficients(&coefficients, 1.0)?.slots;
        Ok(slots.iter().map(Complex64::norm_sqr).collect())
    }

    /// A fresh encryption of one number per slot, at the top level (`r[ckks.encrypt.secret]`).
    ///
    /// # Errors
    /// Those of encoding and encryption.
    pub fn encrypt(&self, slots: &[f64]) -> Result<Cipher<'_>, ReferenceError> {
        let level = self.params.max_level();
        let slots: Vec<Complex64> = slots.iter().map(|&x| Complex64::new(x, 0.0)).collect();
        let scale = self.params.canonical_scale(level)?;
        let message = self.encoder.encode_at(&self.params, &slots, level, scale)?;
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        let ciphertext = encrypt_secret(&self.params, &self.seed, &self.secret, index, &message)?;
        Ok(Cipher { session: self, ciphertext })
    }
}

/// A ciphertext with the session that made it.
#[derive(Clone, Debug)]
pub struct Cipher<'a> {
    session: &'a Session,
    ciphertext: Ciphertext,
}

impl Cipher<'_> {
    /// The ciphertext.
    #[must_use]
    pub fn ciphertext(&self) -> &Ciphertext {
        &self.ciphertext
    }

    /// The real parts of the slots, decrypted.
    ///
    /// # Errors
    /// Those of decryption and decoding.
    pub fn slots(&self) -> Result<Vec<f64>, ReferenceError> {
        let message = decrypt(&self.session.secret, &self.ciphertext)?;
        Ok(self.session.encoder.decode(&message)?.slots.iter().map(|z| z.re).collect())
    }

    fn evaluator(&self) -> Evaluator<'_> {
        Evaluator::new(&self.session.params)
    }

    fn with(&self, ciphertext: Ciphertext) -> Self {
        Self { session: self.session, ciphertext }
    }

    /// The ciphertext as a product that has not been relinearised: the third polynomial is 0 (`r[circuit.product]`).
    fn as_triple(&self) -> Ciphertext {
        let mut triple = self.ciphertext.clone();
        if let [c0, _] = triple.polys.as_slice() {
            let zero = Poly::zero(c0.len(), c0.modulus());
            triple.polys.push(zero);
        }
        triple
    }
}

impl<'a> Scheme for Cipher<'a> {
    type Context = &'a Session;

    /// A ciphertext `(m, 0)`, which anyone can read.
    fn public(x: f64, session: &'a Session) -> Result<Self, ReferenceError> {
        let params = &session.params;
        let level = params.max_level();
        let slots = vec![Complex64::new(x, 0.0); params.slots()];
        let Plaintext { poly, scale, .. } =
            session.encoder.encode_at(params, &slots, level, params.canonical_scale(level)?)?;
        let zero = Poly::zero(poly.len(), poly.modulus());
        Ok(Self { session, ciphertext: Ciphertext { polys: vec![poly, zero], level, scale } })
    }
    fn parameters(&self) -> &Parameters {
        &self.session.params
    }
    fn level(&self) -> usize {
        self.ciphertext.level
    }
    fn scale(&self) -> f64 {
        self.ciphertext.scale
    }
    fn add(&self, other: &Self) -> Result<Self, ReferenceError> {
        if self.ciphertext.polys.len() == other.ciphertext.polys.len() {
            return Ok(self.with(self.evaluator().add(&self.ciphertext, &other.ciphertext)?));
        }
        Ok(self.with(self.evaluator().add(&self.as_triple(), &other.as_triple())?))
    }
    fn neg(&self) -> Self {
        self.with(self.evaluator().neg(&self.ciphertext))
    }
    fn add_constant(&self, constant: f64) -> Result<Self, ReferenceError> {
        Ok(self.with(self.evaluator().add_scalar(&self.ciphertext, Complex64::new(constant, 0.0))?))
    }
    fn mul_constant(&self, constant: f64, target: f64) -> Result<Self, ReferenceError> {
        Ok(self.with(self.evaluator().mul_scalar(&self.ciphertext, Complex64::new(constant, 0.0), target)?))
    }
    fn mul(&self, other: &Self) -> Result<Self, ReferenceError> {
        Ok(self.with(self.evaluator().mul(&self.ciphertext, &other.ciphertext)?))
    }
    fn relinearise(&self) -> Result<Self, ReferenceError> {
        Ok(self.with(self.evaluator().relinearise(&self.ciphertext, &self.session.relinearisation)?))
    }
    fn rescale(&self) -> Result<Self, ReferenceError> {
        Ok(self.with(self.evaluator().rescale(&self.ciphertext)?))
    }
    fn drop_level(&self, level: usize) -> Result<Self, ReferenceError> {
        Ok(self.with(self.evaluator().drop_level(&self.ciphertext, level)?))
    }
    fn within(&self, [a, b]: [f64; 2]) -> Result<bool, ReferenceError> {
        Ok(self.slots()?.iter().all(|x| *x >= a && *x <= b))
    }
    fn describe(&self) -> String {
        match self.slots() {
            Ok(slots) => format!("{slots:?} at level {}", self.ciphertext.level),
            Err(error) => error.to_string(),
        }
    }
}
