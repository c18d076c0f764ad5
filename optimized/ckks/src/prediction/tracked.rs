//! Ciphertexts with their predictions. Circuits extend [`TrackedEvaluator`] in their own file.

use super::{Prediction, Predictor};
use crate::{
    Ciphertext, CkksError, Complex64, Encoder, Evaluator, Plaintext, PublicKey, SecretKey, Seed, encrypt_public,
    encrypt_secret,
};

/// A ciphertext and what is predicted of it.
#[derive(Clone, Debug)]
pub struct Tracked {
    ciphertext: Ciphertext,
    prediction: Prediction,
}

impl Tracked {
    /// Attaches a prediction, for instance that of its encryption to a ciphertext that was received. The caller vouches for magnitude and
    /// error.
    ///
    /// # Errors
    /// [`CkksError::Level`], [`CkksError::Scale`] or [`CkksError::Degree`] if the prediction is of another form.
    pub fn new(ciphertext: Ciphertext, prediction: Prediction) -> Result<Self, CkksError> {
        let operation = "Tracked::new";
        if ciphertext.level() != prediction.level {
            return Err(CkksError::Level { operation, expected: ciphertext.level(), got: prediction.level });
        }
        if ciphertext.scale() != prediction.scale {
            return Err(CkksError::Scale { operation, expected: ciphertext.scale(), got: prediction.scale });
        }
        if ciphertext.degree() != prediction.degree {
            return Err(CkksError::Degree { operation, expected: ciphertext.degree(), got: prediction.degree });
        }
        Ok(Self { ciphertext, prediction })
    }

    /// The ciphertext.
    #[must_use]
    pub fn ciphertext(&self) -> &Ciphertext {
        &self.ciphertext
    }

    /// The prediction.
    #[must_use]
    pub fn prediction(&self) -> &Prediction {
        &self.prediction
    }

    /// The ciphertext alone.
    #[must_use]
    pub fn into_ciphertext(self) -> Ciphertext {
        self.ciphertext
    }

    /// The same with another bound on the slots, which the caller vouches for: what is known of a computation's values is often less
    /// than the product of its factors' bounds.
    #[must_use]
    pub fn with_magnitude(self, magnitude: f64) -> Self {
        Self { prediction: self.prediction.with_magnitude(magnitude), ..self }
    }
}

/// An [`Evaluator`] that carries a [`Prediction`] through every operation.
///
/// Ciphertexts are those of the plain evaluator, bit for bit; a prediction costs microseconds.
#[derive(Clone, Debug)]
pub struct TrackedEvaluator {
    evaluator: Evaluator,
    encoder: Encoder,
    predictor: Predictor,
}

impl TrackedEvaluator {
    /// Tracks what `evaluator` does; fresh errors exceed their bounds with probability `2^-60` each.
    #[must_use]
    pub fn new(evaluator: &Evaluator) -> Self {
        Self::with_predictor(evaluator, Predictor::new(evaluator.context().parameters()))
    }

    /// Tracks with a predictor of the same parameters.
    #[must_use]
    pub fn with_predictor(evaluator: &Evaluator, predictor: Predictor) -> Self {
        Self { evaluator: evaluator.clone(), encoder: Encoder::new(evaluator.context()), predictor }
    }

    /// The evaluator.
    #[must_use]
    pub fn evaluator(&self) -> &Evaluator {
        &self.evaluator
    }

    /// The encoder.
    #[must_use]
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// The predictor.
    #[must_use]
    pub fn predictor(&self) -> &Predictor {
        &self.predictor
    }

    /// Encodes and encrypts under the secret key at the canonical scale of `level`; the largest slot becomes the magnitude.
    ///
    /// # Errors
    /// Those of [`Encoder::encode`] and [`encrypt_secret`].
    pub fn encrypt_secret(
        &self,
        secret: &SecretKey,
        slots: &[Complex64],
        level: usize,
        seed: &Seed,
        index: u32,
    ) -> Result<Tracked, CkksError> {
        let (plain, prediction) = self.encode_canonical(slots, level)?;
        let ciphertext = encrypt_secret(self.evaluator.context(), secret, &plain, seed, index)?;
        Tracked::new(ciphertext, self.predictor.encrypt_secret(&prediction))
    }

    /// Encodes and encrypts under the public key at the canonical scale of `level`; the largest slot becomes the magnitude.
    ///
    /// # Errors
    /// Those of [`Encoder::encode`] and [`encrypt_public`].
    pub fn encrypt_public(
        &self,
        public: &PublicKey,
        slots: &[Complex64],
        level: usize,
        seed: &Seed,
        index: u32,
    ) -> Result<Tracked, CkksError> {
        let (plain, prediction) = self.encode_canonical(slots, level)?;
        let ciphertext = encrypt_public(self.evaluator.context(), public, &plain, seed, index)?;
        Tracked::new(ciphertext, self.predictor.encrypt_public(&prediction))
    }

    /// [`Evaluator::add`]; errors as [`Predictor::add`], those of a ciphertext added to itself (the same object) as
    /// [`Predictor::mul_int`].
    ///
    /// # Errors
    /// As [`Evaluator::add`].
    pub fn add(&self, a: &Tracked, b: &Tracked) -> Result<Tracked, CkksError> {
        let sum = self.evaluator.add(&a.ciphertext, &b.ciphertext)?;
        let twice = std::ptr::eq(a, b);
        let predictor = &self.predictor;
        Tracked::new(
            sum,
            if twice { predictor.mul_int(&a.prediction, 2) } else { predictor.add(&a.prediction, &b.prediction)? },
        )
    }

    /// [`Evaluator::sub`].
    ///
    /// # Errors
    /// As [`Evaluator::sub`].
    pub fn sub(&self, a: &Tracked, b: &Tracked) -> Result<Tracked, CkksError> {
        let difference = self.evaluator.sub(&a.ciphertext, &b.ciphertext)?;
        Tracked::new(difference, self.predictor.sub(&a.prediction, &b.prediction)?)
    }

    /// [`Evaluator::neg`].
    ///
    /// # Errors
    /// As [`Evaluator::neg`].
    pub fn neg(&self, a: &Tracked) -> Result<Tracked, CkksError> {
        Tracked::new(self.evaluator.neg(&a.ciphertext)?, a.prediction)
    }

    /// Encodes slots at the ciphertext's level and scale and adds them.
    ///
    /// # Errors
    /// Those of [`Encoder::encode`] and [`Evaluator::add_plain`].
    pub fn add_plain(&self, a: &Tracked, slots: &[Complex64]) -> Result<Tracked, CkksError> {
        let (plain, prediction) = self.encode(slots, a.prediction.level, a.prediction.scale)?;
        let sum = self.evaluator.add_plain(&a.ciphertext, &plain)?;
        Tracked::new(sum, self.predictor.add(&a.prediction, &prediction)?)
    }

    /// Encodes slots at the ciphertext's level and scale and subtracts them.
    ///
    /// # Errors
    /// Those of [`Encoder::encode`] and [`Evaluator::sub_plain`].
    pub fn sub_plain(&self, a: &Tracked, slots: &[Complex64]) -> Result<Tracked, CkksError> {
        let (plain, prediction) = self.encode(slots, a.prediction.level, a.prediction.scale)?;
        let difference = self.evaluator.sub_plain(&a.ciphertext, &plain)?;
        Tracked::new(difference, self.predictor.sub(&a.prediction, &prediction)?)
    }

    /// [`Evaluator::add_const`].
    ///
    /// # Errors
    /// As [`Evaluator::add_const`].
    pub fn add_const(&self, a: &Tracked, constant: Complex64) -> Result<Tracked, CkksError> {
        let sum = self.evaluator.add_const(&a.ciphertext, constant)?;
        Tracked::new(sum, self.predictor.add_const(&a.prediction, constant))
    }

    /// Encodes slots at the canonical scale of the ciphertext's level and multiplies by them, not rescaled.
    ///
    /// # Errors
    /// Those of [`Encoder::encode`] and [`Evaluator::mul_plain`].
    pub fn mul_plain(&self, a: &Tracked, slots: &[Complex64]) -> Result<Tracked, CkksError> {
        let (plain, prediction) = self.encode_canonical(slots, a.prediction.level)?;
        let product = self.evaluator.mul_plain(&a.ciphertext, &plain)?;
        Tracked::new(product, self.predictor.mul(&a.prediction, &prediction)?)
    }

    /// [`Evaluator::mul_const`].
    ///
    /// # Errors
    /// As [`Evaluator::mul_const`].
    pub fn mul_const(&self, a: &Tracked, constant: Complex64, target: f64) -> Result<Tracked, CkksError> {
        let product = self.evaluator.mul_const(&a.ciphertext, constant, target)?;
        Tracked::new(product, self.predictor.mul_const(&a.prediction, constant, target))
    }

    /// [`Evaluator::mul_const_to_level`].
    ///
    /// # Errors
    /// As [`Evaluator::mul_const_to_level`].
    pub fn mul_const_to_level(&self, a: &Tracked, constant: Complex64, level: usize) -> Result<Tracked, CkksError> {
        let product = self.evaluator.mul_const_to_level(&a.ciphertext, constant, level)?;
        Tracked::new(product, self.predictor.mul_const_to_level(&a.prediction, constant, level)?)
    }

    /// [`Evaluator::mul_int`].
    ///
    /// # Errors
    /// As [`Evaluator::mul_int`].
    pub fn mul_int(&self, a: &Tracked, k: i64) -> Result<Tracked, CkksError> {
        Tracked::new(self.evaluator.mul_int(&a.ciphertext, k)?, self.predictor.mul_int(&a.prediction, k))
    }

    /// [`Evaluator::mul_i`].
    ///
    /// # Errors
    /// As [`Evaluator::mul_i`].
    pub fn mul_i(&self, a: &Tracked) -> Result<Tracked, CkksError> {
        Tracked::new(self.evaluator.mul_i(&a.ciphertext)?, a.prediction)
    }

    /// [`Evaluator::mul_lazy`]: degree 2; of a ciphertext with itself (the same object) as [`Predictor::square`].
    ///
    /// # Errors
    /// As [`Evaluator::mul_lazy`].
    pub fn mul_lazy(&self, a: &Tracked, b: &Tracked) -> Result<Tracked, CkksError> {
        let product = self.evaluator.mul_lazy(&a.ciphertext, &b.ciphertext)?;
        Tracked::new(product, self.predict_product(a, b)?)
    }

    /// [`Evaluator::relinearise`].
    ///
    /// # Errors
    /// As [`Evaluator::relinearise`].
    pub fn relinearise(&self, a: &Tracked) -> Result<Tracked, CkksError> {
        Tracked::new(self.evaluator.relinearise(&a.ciphertext)?, self.predictor.relinearise(&a.prediction)?)
    }

    /// [`Evaluator::mul`]: relinearised, not rescaled.
    ///
    /// # Errors
    /// As [`Evaluator::mul`].
    pub fn mul(&self, a: &Tracked, b: &Tracked) -> Result<Tracked, CkksError> {
        self.relinearise(&self.mul_lazy(a, b)?)
    }

    /// [`Evaluator::mul_rescale`]; of a ciphertext with itself (the same object) as [`Predictor::square_rescale`].
    ///
    /// # Errors
    /// As [`Evaluator::mul_rescale`].
    pub fn mul_rescale(&self, a: &Tracked, b: &Tracked) -> Result<Tracked, CkksError> {
        let product = self.evaluator.mul_rescale(&a.ciphertext, &b.ciphertext)?;
        let predictor = &self.predictor;
        Tracked::new(product, predictor.rescale(&predictor.relinearise(&self.predict_product(a, b)?)?)?)
    }

    /// [`Evaluator::rescale`].
    ///
    /// # Errors
    /// As [`Evaluator::rescale`].
    pub fn rescale(&self, a: &Tracked) -> Result<Tracked, CkksError> {
        Tracked::new(self.evaluator.rescale(&a.ciphertext)?, self.predictor.rescale(&a.prediction)?)
    }

    /// [`Evaluator::drop_level`].
    ///
    /// # Errors
    /// As [`Evaluator::drop_level`].
    pub fn drop_level(&self, a: &Tracked, level: usize) -> Result<Tracked, CkksError> {
        let dropped = self.evaluator.drop_level(&a.ciphertext, level)?;
        Tracked::new(dropped, self.predictor.drop_level(&a.prediction, level)?)
    }

    /// [`Evaluator::to_level`].
    ///
    /// # Errors
    /// As [`Evaluator::to_level`].
    pub fn to_level(&self, a: &Tracked, level: usize) -> Result<Tracked, CkksError> {
        let lowered = self.evaluator.to_level(&a.ciphertext, level)?;
        Tracked::new(lowered, self.predictor.to_level(&a.prediction, level)?)
    }

    /// [`Evaluator::rotate`].
    ///
    /// # Errors
    /// As [`Evaluator::rotate`].
    pub fn rotate(&self, a: &Tracked, steps: i64) -> Result<Tracked, CkksError> {
        Tracked::new(self.evaluator.rotate(&a.ciphertext, steps)?, self.predictor.rotate(&a.prediction, steps)?)
    }

    /// [`Evaluator::rotate_hoisted`].
    ///
    /// # Errors
    /// As [`Evaluator::rotate_hoisted`].
    pub fn rotate_hoisted(&self, a: &Tracked, steps: &[i64]) -> Result<Vec<Tracked>, CkksError> {
        let rotated = self.evaluator.rotate_hoisted(&a.ciphertext, steps)?;
        let pair = |(ct, steps): (Ciphertext, &i64)| Tracked::new(ct, self.predictor.rotate(&a.prediction, *steps)?);
        rotated.into_iter().zip(steps).map(pair).collect()
    }

    /// [`Evaluator::conjugate`].
    ///
    /// # Errors
    /// As [`Evaluator::conjugate`].
    pub fn conjugate(&self, a: &Tracked) -> Result<Tracked, CkksError> {
        Tracked::new(self.evaluator.conjugate(&a.ciphertext)?, self.predictor.conjugate(&a.prediction)?)
    }

    fn predict_product(&self, a: &Tracked, b: &Tracked) -> Result<Prediction, CkksError> {
        if std::ptr::eq(a, b) {
            return self.predictor.square(&a.prediction);
        }
        self.predictor.mul(&a.prediction, &b.prediction)
    }

    fn encode_canonical(&self, slots: &[Complex64], level: usize) -> Result<(Plaintext, Prediction), CkksError> {
        let parameters = self.evaluator.context().parameters();
        self.evaluator.context().check_level("encode", level)?;
        self.encode(slots, level, parameters.canonical_scale(level))
    }

    fn encode(&self, slots: &[Complex64], level: usize, scale: f64) -> Result<(Plaintext, Prediction), CkksError> {
        let plain = self.encoder.encode(slots, level, scale)?;
        let largest = slots.iter().map(|z| z.norm()).fold(0.0, f64::max);
        Ok((plain, self.predictor.plaintext(level, scale, largest)?))
    }
}
