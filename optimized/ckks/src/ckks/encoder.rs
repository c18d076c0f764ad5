//! Encoding and decoding (`r[ckks.encode]`, `r[ckks.decode]`).

use super::ciphertext::Plaintext;
use super::context::Context;
use super::embedding::Embedding;
use crate::CkksError;
use crate::arith::MAX_INTEGER;
use crate::instrument::{self, Operation};
use crate::ring::{Form, Poly};
use num_complex::Complex64;
use rayon::prelude::*;
use std::sync::Arc;

/// Coefficients and constants must be below this in magnitude.
pub(crate) const COEFFICIENT_LIMIT: f64 = (1u64 << 62) as f64;

/// Coefficients reconstructed at once when decoding.
const DECODE_BLOCK: usize = 1024;

/// Translates between slots and plaintext polynomials. Clones share the roots.
#[derive(Debug, Clone)]
pub struct Encoder {
    context: Context,
    embedding: Arc<Embedding>,
}

impl Encoder {
    /// An encoder for the parameter set of `context`.
    #[must_use]
    pub fn new(context: &Context) -> Self {
        Self { context: context.clone(), embedding: Arc::new(Embedding::new(context.parameters().slots())) }
    }

    /// Encodes `N/2` slots at `level` and `scale` (`r[ckks.encode]`, error `r[noise.encode]`).
    ///
    /// The transform is in binary64: coefficients beyond about `2^48` carry its relative error.
    ///
    /// # Errors
    /// [`CkksError::Slots`] for another number of slots; [`CkksError::Level`]; [`CkksError::Argument`] for a slot that is
    /// NaN or infinite, a scale that is not positive and finite, or a coefficient of `2^62` or more.
    pub fn encode(&self, slots: &[Complex64], level: usize, scale: f64) -> Result<Plaintext, CkksError> {
        self.context.check_level("encode", level)?;
        let _operation = instrument::operation(Operation::Encode, level);
        Ok(self.plaintext(&self.coefficients(slots, scale)?, level, scale))
    }

    /// The context.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The `N` integer coefficients of the encoding of `N/2` slots at `scale` (`r[ckks.encode]`), the same for all levels.
    ///
    /// # Errors
    /// As [`Encoder::encode`].
    pub fn coefficients(&self, slots: &[Complex64], scale: f64) -> Result<Vec<i64>, CkksError> {
        self.check("encode", slots.len(), self.context.parameters().slots(), scale)?;
        self.integers(slots, scale)
    }

    /// The coefficients of `X^0, X^(N/2P), X^(2N/2P), ..`, `2P` of them, of the encoding of slots with period `P` at `scale`; all
    /// others are 0. Given is one period, `P` a power of two up to `N/2`: slot `j` holds value `j mod P`.
    ///
    /// The integers are those of [`Encoder::coefficients`] of all slots, bit for bit: there, the stages above `P` add equal
    /// numbers and subtract them, which is exact, and the others are the same operations on values that are larger by a power of two.
    ///
    /// # Errors
    /// As [`Encoder::encode`]; [`CkksError::Slots`] also for a period that does not divide `N/2`.
    pub fn coefficients_periodic(&self, period: &[Complex64], scale: f64) -> Result<Vec<i64>, CkksError> {
        let slots = self.context.parameters().slots();
        let expected = if period.is_empty() || !slots.is_multiple_of(period.len()) { slots } else { period.len() };
        self.check("encode", period.len(), expected, scale)?;
        self.integers(period, scale)
    }

    /// [`Encoder::encode`] of real slots.
    ///
    /// # Errors
    /// As [`Encoder::encode`].
    pub fn encode_real(&self, slots: &[f64], level: usize, scale: f64) -> Result<Plaintext, CkksError> {
        let slots: Vec<Complex64> = slots.iter().map(|&x| Complex64::new(x, 0.0)).collect();
        self.encode(&slots, level, scale)
    }

    /// The plaintext with the given `N` integer coefficients, exactly.
    ///
    /// # Errors
    /// [`CkksError::Slots`] for another number of coefficients; [`CkksError::Level`]; [`CkksError::Argument`] for a
    /// coefficient of magnitude `2^62` or more or a bad scale.
    pub fn encode_coeffs(&self, coefficients: &[i64], level: usize, scale: f64) -> Result<Plaintext, CkksError> {
        let operation = "encode_coeffs";
        self.context.check_level(operation, level)?;
        self.check(operation, coefficients.len(), self.context.parameters().n(), scale)?;
        if let Some(c) = coefficients.iter().find(|c| c.unsigned_abs() >= 1 << 62) {
            return Err(CkksError::Argument { operation, expected: "coefficients below 2^62", got: c.to_string() });
        }
        let _operation = instrument::operation(Operation::Encode, level);
        Ok(self.plaintext(coefficients, level, scale))
    }

    /// The `N/2` slots of a plaintext (`r[ckks.decode]`).
    ///
    /// Coefficients are reconstructed exactly modulo `Q_l`, centred, and rounded once to binary64. Values of a wrong key
    /// at a high level can exceed binary64 and come out infinite or NaN.
    ///
    /// # Errors
    /// [`CkksError::Fingerprint`] for a plaintext of other parameters.
    pub fn decode(&self, plain: &Plaintext) -> Result<Vec<Complex64>, CkksError> {
        let coefficients = self.decode_coeffs(plain)?;
        let (real, imaginary) = coefficients.split_at(coefficients.len() / 2);
        let pack = |(&re, &im): (&f64, &f64)| Complex64::new(re / plain.scale, im / plain.scale);
        let mut slots: Vec<Complex64> = real.iter().zip(imaginary).map(pack).collect();
        self.embedding.to_slots(&mut slots);
        Ok(slots)
    }

    /// The `N` coefficients, centred modulo `Q_l` and rounded to binary64; not divided by the scale.
    ///
    /// # Errors
    /// [`CkksError::Fingerprint`] for a plaintext of other parameters.
    pub fn decode_coeffs(&self, plain: &Plaintext) -> Result<Vec<f64>, CkksError> {
        self.context.check_fingerprint("decode", &plain.fingerprint)?;
        let poly = self.context.to_coeff(&plain.poly);
        let mut coefficients = vec![0.0; self.context.parameters().n()];
        coefficients
            .par_chunks_mut(DECODE_BLOCK)
            .enumerate()
            .for_each(|(block, values)| self.reconstruct(&poly, block * DECODE_BLOCK, values));
        Ok(coefficients)
    }

    /// Centred mixed-radix digits (Garner): `x = v_0 + v_1 q_0 + v_2 q_0 q_1 + ..` with `|v_j| < q_j / 2` is the centred
    /// representative, and its high digits vanish if it is small, so summing from the top loses nothing.
    fn reconstruct(&self, poly: &Poly, start: usize, values: &mut [f64]) {
        let (ring, len) = (self.context.ring(), values.len());
        let kernels = ring.kernels();
        let mut digits: Vec<Vec<u64>> = Vec::with_capacity(poly.level() + 1);
        let mut reduced = vec![0; len];
        for j in 0..=poly.level() {
            let modulus = ring.modulus(j);
            let mut digit = poly.limb(j)[start..start + len].to_vec();
            for (i, earlier) in digits.iter().enumerate() {
                kernels.reduce_centered(earlier, ring.modulus(i), &mut reduced, modulus);
                kernels.sub_assign(modulus, &mut digit, &reduced);
                kernels.mul_scalar_assign(modulus, &mut digit, self.mixed_inverse(i, j));
            }
            digits.push(digit);
        }
        for (j, digit) in digits.iter().enumerate().rev() {
            let modulus = ring.modulus(j);
            let radix = modulus.value() as f64;
            for (value, &v) in values.iter_mut().zip(digit) {
                *value = *value * radix + modulus.center(v) as f64;
            }
        }
    }

    /// `1/q_i` modulo `q_j`, `i < j`.
    fn mixed_inverse(&self, i: usize, j: usize) -> u64 {
        let modulus = self.context.ring().modulus(j);
        modulus.inv(modulus.reduce_u64(self.context.ring().modulus(i).value()))
    }

    /// `2P` coefficients of one period of slots.
    fn integers(&self, period: &[Complex64], scale: f64) -> Result<Vec<i64>, CkksError> {
        let operation = "encode";
        if let Some(slot) = period.iter().find(|z| !(z.re.is_finite() && z.im.is_finite())) {
            return Err(CkksError::Argument { operation, expected: "finite slots", got: slot.to_string() });
        }
        let _operation = instrument::within(Operation::Encode);
        let mut coefficients = vec![0; 2 * period.len()];
        let parts = coefficients.split_at_mut(period.len());
        let factor = scale / period.len() as f64;
        let kernels = self.context.ring().kernels();
        // Coefficients beyond the range of i64 saturate, and NaN counts as infinite: both are refused here.
        let largest = self.embedding.to_integers(kernels, period.to_vec(), factor, parts.into());
        if largest >= COEFFICIENT_LIMIT {
            let got = format!("{largest:e}");
            return Err(CkksError::Argument { operation, expected: "coefficients below 2^62", got });
        }
        Ok(coefficients)
    }

    fn check(&self, operation: &'static str, got: usize, expected: usize, scale: f64) -> Result<(), CkksError> {
        if got != expected {
            return Err(CkksError::Slots { operation, expected, got });
        }
        if !(scale > 0.0 && scale.is_finite()) {
            let expected = "a positive finite scale";
            return Err(CkksError::Argument { operation, expected, got: scale.to_string() });
        }
        Ok(())
    }

    fn plaintext(&self, coefficients: &[i64], level: usize, scale: f64) -> Plaintext {
        let ring = self.context.ring();
        let mut poly = ring.scratch(level, false, Form::Eval);
        let mut row = self.context.scratch_row();
        let mut bound = 0.0f64;
        for (x, &c) in row.iter_mut().zip(coefficients) {
            *x = c as f64;
            bound = bound.max(x.abs());
        }
        let scope = instrument::scope();
        poly.limbs_mut().par_iter_mut().enumerate().for_each(|(i, limb)| {
            let _scope = scope.enter();
            let table = ring.table(i);
            if bound <= MAX_INTEGER {
                // The row holds the integers exactly.
                ring.kernels().ntt_integers(table, limb, &row, bound);
            } else {
                ring.kernels().reduce_signed(table.modulus(), limb, coefficients);
                ring.kernels().ntt(table, limb);
            }
        });
        Plaintext { poly, scale, fingerprint: self.context.parameters().fingerprint() }
    }
}
