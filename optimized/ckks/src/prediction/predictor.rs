//! Predictions of the operations of `Evaluator`. Circuits extend [`Predictor`] in their own file.

use super::Prediction;
use crate::CkksError;
use crate::ckks::Parameters;
use crate::ckks::noise::{
    NoiseModel, SlotError, bound_factor, constant_rounding, encode, mul, scale_label, slot_bound_factor,
};
use num_complex::Complex64;
use std::f64::consts::SQRT_2;

/// Default probability that one fresh error exceeds its bound in some slot: a million of them fail with probability `2^-40`.
const FAILURE: f64 = 1.0 / (1u64 << 60) as f64;

/// Relative error of a coefficient from the binary64 transform of an encoder (`r[ckks.encode]`).
const TRANSFORM: f64 = 1.0 / (1u64 << 46) as f64;

/// Predicts errors for one parameter set. Needs no keys.
#[derive(Clone, Debug)]
pub struct Predictor {
    parameters: Parameters,
    pub(super) model: NoiseModel,
    failure: f64,
    /// `D` of `r[noise.bound.slot]` for the real and imaginary parts of all slots.
    factor: f64,
}

impl Predictor {
    /// The predictor whose fresh errors exceed their bounds with probability `2^-60` each.
    #[must_use]
    pub fn new(parameters: &Parameters) -> Self {
        let factor = slot_bound_factor(FAILURE, parameters.n() as f64);
        Self { parameters: parameters.clone(), model: NoiseModel::new(parameters), failure: FAILURE, factor }
    }

    /// The predictor whose fresh errors exceed their bounds with probability `failure` each.
    ///
    /// # Errors
    /// [`CkksError::Argument`] unless `0 < failure < 1`.
    pub fn with_failure(parameters: &Parameters, failure: f64) -> Result<Self, CkksError> {
        if !(failure > 0.0 && failure < 1.0) {
            let (operation, expected) = ("Predictor::with_failure", "a probability above 0 and below 1");
            return Err(CkksError::Argument { operation, expected, got: failure.to_string() });
        }
        let factor = slot_bound_factor(failure, parameters.n() as f64);
        Ok(Self { failure, factor, ..Self::new(parameters) })
    }

    /// The parameter set.
    #[must_use]
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// How many standard deviations of a part of a slot bound a fresh error (`r[noise.bound.slot]`).
    #[must_use]
    pub fn factor(&self) -> f64 {
        self.factor
    }

    /// What errors stay below, except with the probability of one fresh error, if all that went into them are independent
    /// (`r[noise.rss]`): an estimate, often far below [`Prediction::bound`], and not a bound.
    #[must_use]
    pub fn estimate(&self, a: &Prediction) -> f64 {
        SQRT_2 * self.factor * a.deviation
    }

    /// Bits between the largest possible coefficient and half the modulus; below 0 decryption may wrap around, and no
    /// prediction holds.
    ///
    /// A coefficient is at most the largest slot times the scale.
    #[must_use]
    pub fn headroom(&self, a: &Prediction) -> f64 {
        let modulus: f64 = self.parameters.chain().iter().take(a.level + 1).map(|q| (*q as f64).log2()).sum();
        modulus - 1.0 - (a.scale * (a.magnitude + a.bound)).log2()
    }

    /// Encoding of slots of absolute value up to `magnitude` (`r[noise.encode]`).
    ///
    /// # Errors
    /// [`CkksError::Level`]; [`CkksError::Argument`] for a scale that is not positive or a magnitude below 0, or one that is not
    /// finite.
    pub fn plaintext(&self, level: usize, scale: f64, magnitude: f64) -> Result<Prediction, CkksError> {
        let operation = "Predictor::plaintext";
        let top = self.parameters.max_level();
        if level > top {
            return Err(CkksError::Level { operation, expected: top, got: level });
        }
        if !(scale > 0.0 && scale.is_finite() && magnitude >= 0.0 && magnitude.is_finite()) {
            let expected = "a positive scale and a magnitude of at least 0, finite";
            return Err(CkksError::Argument { operation, expected, got: format!("{scale:e}, {magnitude:e}") });
        }
        let exact = Prediction { level, scale, degree: 0, magnitude, deviation: 0.0, bound: 0.0, failure: 0.0 };
        let encoded = self.fresh(exact, self.encoding(scale, magnitude));
        Ok(Prediction { deviation: self.model.slot_std(encode(), scale), ..encoded })
    }

    /// Deviation of an encoding that bounds the error of a binary64 transform too.
    pub(super) fn encoding(&self, scale: f64, magnitude: f64) -> f64 {
        self.model.slot_std(encode() + (TRANSFORM * scale * magnitude).powi(2), scale)
    }

    /// Encryption of a plaintext under the secret key (`r[noise.fresh.secret]`).
    #[must_use]
    pub fn encrypt_secret(&self, plain: &Prediction) -> Prediction {
        self.encrypt(plain, self.model.fresh_secret())
    }

    /// Encryption of a plaintext under the public key (`r[noise.fresh.public]`).
    #[must_use]
    pub fn encrypt_public(&self, plain: &Prediction) -> Prediction {
        self.encrypt(plain, self.model.fresh_public())
    }

    fn encrypt(&self, plain: &Prediction, variance: f64) -> Prediction {
        let deviation = self.model.slot_std(variance, plain.scale);
        self.fresh(Prediction { degree: plain.degree.max(1), ..*plain }, deviation)
    }

    /// A sum, of ciphertexts or with a plaintext (`r[noise.add]`, `r[noise.add.plain]`). Deviations add as if the errors were independent
    /// (`r[noise.rss]`); of a ciphertext with itself use [`Predictor::mul_int`].
    ///
    /// # Errors
    /// [`CkksError::Level`] or [`CkksError::Scale`] if the labels differ.
    pub fn add(&self, a: &Prediction, b: &Prediction) -> Result<Prediction, CkksError> {
        let operation = "Predictor::add";
        check_levels(operation, a, b)?;
        if a.scale != b.scale {
            return Err(CkksError::Scale { operation, expected: a.scale, got: b.scale });
        }
        Ok(Prediction {
            degree: a.degree.max(b.degree),
            magnitude: a.magnitude + b.magnitude,
            deviation: a.deviation.hypot(b.deviation),
            bound: a.bound + b.bound,
            failure: a.failure + b.failure,
            ..*a
        })
    }

    /// A difference: as [`Predictor::add`].
    ///
    /// # Errors
    /// As [`Predictor::add`].
    pub fn sub(&self, a: &Prediction, b: &Prediction) -> Result<Prediction, CkksError> {
        self.add(a, b)
    }

    /// A constant added (`r[noise.scalar.add]`).
    #[must_use]
    pub fn add_const(&self, a: &Prediction, constant: Complex64) -> Prediction {
        let unit = 1.0 / a.scale;
        // The product of constant and scale is rounded before it is rounded to an integer.
        let rounding = SQRT_2 * constant_rounding(a.scale) + scale_label(1) * constant.norm();
        Prediction {
            magnitude: a.magnitude + constant.norm(),
            deviation: a.deviation.hypot(unit / 12f64.sqrt()),
            bound: a.bound + rounding,
            ..*a
        }
    }

    /// Multiplication by a constant towards the scale `target`, not rescaled (`r[noise.scalar.mul]`).
    #[must_use]
    pub fn mul_const(&self, a: &Prediction, constant: Complex64, target: f64) -> Prediction {
        let (size, unit) = (constant.norm(), a.scale / target);
        let inherited = (size * size + unit * unit / 6.0).sqrt() * a.deviation;
        let rounding = SQRT_2 * constant_rounding(1.0 / unit) + scale_label(2) * size;
        Prediction {
            scale: target,
            magnitude: size * a.magnitude,
            deviation: inherited.hypot(a.magnitude * unit / 12f64.sqrt()),
            bound: mul(slot(a), SlotError { value: size, error: rounding }),
            ..*a
        }
    }

    /// Multiplication by an integer, which is exact.
    #[must_use]
    pub fn mul_int(&self, a: &Prediction, k: i64) -> Prediction {
        let k = k.unsigned_abs() as f64;
        Prediction { magnitude: k * a.magnitude, deviation: k * a.deviation, bound: k * a.bound, ..*a }
    }

    /// A product, of ciphertexts or with a plaintext, neither relinearised nor rescaled (`r[noise.mul]`, `r[noise.mul.plain]`). Of a ciphertext with
    /// itself use [`Predictor::square`].
    ///
    /// # Errors
    /// [`CkksError::Level`] if the levels differ; [`CkksError::Degree`] if the degrees add to more than 2.
    pub fn mul(&self, a: &Prediction, b: &Prediction) -> Result<Prediction, CkksError> {
        let operation = "Predictor::mul";
        check_levels(operation, a, b)?;
        let degree = a.degree + b.degree;
        if degree > 2 {
            return Err(CkksError::Degree { operation, expected: 2 - a.degree.min(2), got: b.degree });
        }
        // Real parts of e_1 e_2 have the variance 2 v_1 v_2, each factor having v in both parts.
        let cross = SQRT_2 * a.deviation * b.deviation;
        let deviation = (a.magnitude * b.deviation).hypot(b.magnitude * a.deviation).hypot(cross);
        let product = Prediction {
            scale: a.scale * b.scale,
            degree,
            magnitude: a.magnitude * b.magnitude,
            deviation,
            bound: mul(slot(a), slot(b)),
            failure: a.failure + b.failure,
            ..*a
        };
        Ok(labelled(product))
    }

    /// The product of a ciphertext with itself, neither relinearised nor rescaled (`r[noise.square]`).
    ///
    /// # Errors
    /// [`CkksError::Degree`] for a ciphertext of degree 2.
    pub fn square(&self, a: &Prediction) -> Result<Prediction, CkksError> {
        let product = self.mul(a, a)?;
        let deviation = 2.0 * a.deviation * a.magnitude.hypot(a.deviation);
        Ok(Prediction { deviation, failure: a.failure, ..product })
    }

    /// Relinearisation (`r[noise.keyswitch]`): degree 2 to 1.
    ///
    /// # Errors
    /// [`CkksError::Degree`] unless the degree is 2.
    pub fn relinearise(&self, a: &Prediction) -> Result<Prediction, CkksError> {
        check_degree("Predictor::relinearise", a, 2)?;
        Ok(Prediction { degree: 1, ..self.switched(a) })
    }

    /// Rescale by the prime of the level (`r[noise.rescale]`).
    ///
    /// # Errors
    /// [`CkksError::LevelExhausted`] at level 0.
    pub fn rescale(&self, a: &Prediction) -> Result<Prediction, CkksError> {
        if a.level == 0 {
            return Err(CkksError::LevelExhausted { operation: "Predictor::rescale", expected: 1, got: 0 });
        }
        let scale = a.scale / self.parameters.chain()[a.level] as f64;
        let lower = Prediction { level: a.level - 1, scale, ..*a };
        let rounded = self.fresh(lower, self.model.slot_std(self.model.rounding_of(a.degree.min(1)), scale));
        Ok(labelled(if a.degree == 2 { self.rounded_third(rounded) } else { rounded }))
    }

    /// Adds the rounding of a triple's third polynomial, an error `e s^2`, whose tails are heavier than those of other errors
    /// (`r[noise.tracked]`).
    fn rounded_third(&self, a: Prediction) -> Prediction {
        let deviation = self.model.slot_std(self.model.rounding_of(2) - self.model.rounding_of(1), a.scale);
        let factor = self.factor * bound_factor(self.failure, self.parameters.n() as f64);
        Prediction {
            deviation: a.deviation.hypot(deviation),
            bound: a.bound + SQRT_2 * factor * deviation,
            failure: a.failure + 2.0 * self.failure,
            ..a
        }
    }

    /// Product, relinearised and rescaled: [`Predictor::mul`], [`Predictor::relinearise`], [`Predictor::rescale`].
    ///
    /// # Errors
    /// Those of the three.
    pub fn mul_rescale(&self, a: &Prediction, b: &Prediction) -> Result<Prediction, CkksError> {
        self.rescale(&self.relinearise(&self.mul(a, b)?)?)
    }

    /// Square, relinearised and rescaled: [`Predictor::square`], [`Predictor::relinearise`], [`Predictor::rescale`].
    ///
    /// # Errors
    /// Those of the three.
    pub fn square_rescale(&self, a: &Prediction) -> Result<Prediction, CkksError> {
        self.rescale(&self.relinearise(&self.square(a)?)?)
    }

    /// Limbs dropped (`r[noise.level-drop]`).
    ///
    /// # Errors
    /// [`CkksError::Level`] for a level above the ciphertext's.
    pub fn drop_level(&self, a: &Prediction, level: usize) -> Result<Prediction, CkksError> {
        if level > a.level {
            return Err(CkksError::Level { operation: "Predictor::drop_level", expected: a.level, got: level });
        }
        Ok(Prediction { level, ..*a })
    }

    /// Multiplication by a constant that lands on the canonical scale of a lower level
    /// ([`Evaluator::mul_const_to_level`](crate::Evaluator::mul_const_to_level)).
    ///
    /// # Errors
    /// [`CkksError::LevelExhausted`] unless `level` is below the ciphertext's.
    pub fn mul_const_to_level(&self, a: &Prediction, c: Complex64, level: usize) -> Result<Prediction, CkksError> {
        let above = self.parameters.above(level);
        if above > a.level {
            let operation = "Predictor::mul_const_to_level";
            return Err(CkksError::LevelExhausted { operation, expected: above, got: a.level });
        }
        let canonical = self.parameters.canonical_scale(above);
        let rescaled = self.rescale(&self.mul_const(&self.drop_level(a, above)?, c, canonical * canonical))?;
        if self.parameters.is_pair(above) { self.rescale(&rescaled) } else { Ok(rescaled) }
    }

    /// A lower level with its canonical scale ([`Evaluator::to_level`](crate::Evaluator::to_level)); a copy at its own level.
    ///
    /// # Errors
    /// [`CkksError::Level`] for a level above the ciphertext's.
    pub fn to_level(&self, a: &Prediction, level: usize) -> Result<Prediction, CkksError> {
        if level < a.level { self.mul_const_to_level(a, Complex64::ONE, level) } else { self.drop_level(a, level) }
    }

    /// Rotation (`r[noise.galois]`); a copy for multiples of the number of slots.
    ///
    /// # Errors
    /// [`CkksError::Degree`] unless the degree is 1.
    pub fn rotate(&self, a: &Prediction, steps: i64) -> Result<Prediction, CkksError> {
        check_degree("Predictor::rotate", a, 1)?;
        Ok(if steps.rem_euclid(self.parameters.slots() as i64) == 0 { *a } else { self.switched(a) })
    }

    /// Conjugation (`r[noise.galois]`).
    ///
    /// # Errors
    /// [`CkksError::Degree`] unless the degree is 1.
    pub fn conjugate(&self, a: &Prediction) -> Result<Prediction, CkksError> {
        check_degree("Predictor::conjugate", a, 1)?;
        Ok(self.switched(a))
    }

    /// Adds the error of a key switch.
    fn switched(&self, a: &Prediction) -> Prediction {
        self.fresh(*a, self.model.slot_std(self.model.key_switch(a.level), a.scale))
    }

    /// Adds an independent error with the given deviation of both parts of a slot (`r[noise.worst-case]`).
    pub(super) fn fresh(&self, a: Prediction, deviation: f64) -> Prediction {
        Prediction {
            deviation: a.deviation.hypot(deviation),
            bound: a.bound + SQRT_2 * self.factor * deviation,
            failure: a.failure + self.failure,
            ..a
        }
    }

    /// The probability that one of `count` fresh errors exceeds its bound.
    pub(super) fn failure_of(&self, count: usize) -> f64 {
        count as f64 * self.failure
    }
}

/// Value and error as the worst-case rules take them.
fn slot(a: &Prediction) -> SlotError {
    SlotError { value: a.magnitude, error: a.bound }
}

/// Adds the rounding of a new label (`r[noise.scale-label]`).
pub(super) fn labelled(a: Prediction) -> Prediction {
    Prediction { bound: a.bound + scale_label(1) * a.magnitude, ..a }
}

pub(super) fn check_degree(operation: &'static str, a: &Prediction, expected: usize) -> Result<(), CkksError> {
    if a.degree != expected {
        return Err(CkksError::Degree { operation, expected, got: a.degree });
    }
    Ok(())
}

fn check_levels(operation: &'static str, a: &Prediction, b: &Prediction) -> Result<(), CkksError> {
    if a.level != b.level {
        return Err(CkksError::Level { operation, expected: a.level, got: b.level });
    }
    Ok(())
}
