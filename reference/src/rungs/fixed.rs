//! R2: fixed point without noise (`r[rung.r2]`).

use super::homomorphic::Scheme;
use crate::ckks::Parameters;
use crate::error::ReferenceError;
use crate::ring::centred;
use rug::{Float, Integer};

/// Bits in which values and constants are formed; products of two binary64 numbers are exact in them.
const PREC: u32 = 128;
/// Constants and labels carry at most eight binary64 roundings.
const CONSTANT_ERROR: f64 = 8.0 * f64::EPSILON / 2.0;
/// Covers the binary64 roundings of the bound itself.
const SAFETY: f64 = 1.0 + 1e-12;
/// Integers that stand for constants must be below this.
const CONSTANT_LIMIT: f64 = (1u64 << 62) as f64;

/// One slot's value as an integer at a level and a scale label, rounded wherever CKKS rounds.
///
/// It carries a bound of its distance from the value in exact arithmetic (`r[rung.r2-bound]`).
#[derive(Clone, Debug)]
pub struct Fixed<'a> {
    params: &'a Parameters,
    integer: Integer,
    level: usize,
    scale: f64,
    error: f64,
}

impl<'a> Fixed<'a> {
    /// `x` at the top level and its canonical scale.
    ///
    /// # Errors
    /// [`ReferenceError::NotEncodable`] for a number that is not finite or is `2^62` or more at that scale.
    pub fn new(x: f64, params: &'a Parameters) -> Result<Self, ReferenceError> {
        let level = params.max_level();
        let scale = params.canonical_scale(level)?;
        let integer = Float::with_val(PREC, Float::with_val(PREC, x) * scale).round_even().to_integer();
        match integer {
            Some(integer) if (x * scale).abs() < CONSTANT_LIMIT => {
                Self { params, integer, level, scale, error: 0.5 / scale }.checked()
            }
            _ => Err(too_large("fixed point number", x * scale)),
        }
    }

    /// The integer.
    #[must_use]
    pub fn integer(&self) -> &Integer {
        &self.integer
    }

    /// `integer / scale`, in binary64.
    #[must_use]
    pub fn value(&self) -> f64 {
        self.exact_value().to_f64()
    }

    /// `integer / scale` to 256 bits.
    #[must_use]
    pub fn exact_value(&self) -> Float {
        Float::with_val(256, &self.integer) / self.scale
    }

    /// Bound of the distance from the value in exact arithmetic (`r[rung.r2-bound]`).
    #[must_use]
    pub fn error(&self) -> f64 {
        self.error
    }

    /// Refuses an integer that the modulus cannot hold.
    fn checked(self) -> Result<Self, ReferenceError> {
        let modulus = self.params.modulus(self.level)?;
        if centred(&self.integer, &modulus) == self.integer {
            return Ok(self);
        }
        Err(ReferenceError::BadOperand {
            operation: "fixed point number",
            expected: format!("a magnitude below half the modulus of level {}", self.level),
            got: format!("{:e} at scale {:e}", self.value(), self.scale),
        })
    }
}

fn too_large(operation: &'static str, got: f64) -> ReferenceError {
    ReferenceError::NotEncodable {
        operation,
        expected: "a number below 2^62 in magnitude at its scale".to_owned(),
        got: format!("{got:e}"),
    }
}

/// `rne(x)` of a constant at its scale.
fn constant(operation: &'static str, x: f64) -> Result<Integer, ReferenceError> {
    match Integer::from_f64(x.round_ties_even()) {
        Some(k) if x.abs() < CONSTANT_LIMIT => Ok(k),
        _ => Err(too_large(operation, x)),
    }
}

impl<'a> Scheme for Fixed<'a> {
    type Context = &'a Parameters;

    fn public(x: f64, params: &'a Parameters) -> Result<Self, ReferenceError> {
        Self::new(x, params)
    }
    fn parameters(&self) -> &Parameters {
        self.params
    }
    fn level(&self) -> usize {
        self.level
    }
    fn scale(&self) -> f64 {
        self.scale
    }
    fn add(&self, other: &Self) -> Result<Self, ReferenceError> {
        let operation = "addition";
        if self.level != other.level {
            return Err(ReferenceError::LevelMismatch { operation, expected: self.level, got: other.level });
        }
        if self.scale != other.scale {
            return Err(ReferenceError::ScaleMismatch { operation, expected: self.scale, got: other.scale });
        }
        let integer = Integer::from(&self.integer + &other.integer);
        Self { integer, error: (self.error + other.error) * SAFETY, ..self.clone() }.checked()
    }
    fn neg(&self) -> Self {
        Self { integer: Integer::from(-&self.integer), ..self.clone() }
    }
    fn add_constant(&self, c: f64) -> Result<Self, ReferenceError> {
        let integer = &self.integer + constant("scalar addition", c * self.scale)?;
        let error = (self.error + 0.5 / self.scale + c.abs() * CONSTANT_ERROR) * SAFETY;
        Self { integer, error, ..self.clone() }.checked()
    }
    fn mul_constant(&self, c: f64, target: f64) -> Result<Self, ReferenceError> {
        let k = constant("scalar product", c * target / self.scale)?;
        let unit = self.scale / target;
        let factor = (k.to_f64() * unit).abs();
        let value = self.value().abs();
        let error = (self.error * (factor + c.abs() * CONSTANT_ERROR)
            + (value + self.error) * (0.5 * unit + c.abs() * CONSTANT_ERROR))
            * SAFETY;
        Self { integer: &self.integer * k, scale: target, error, ..self.clone() }.checked()
    }
    fn mul(&self, other: &Self) -> Result<Self, ReferenceError> {
        if self.level != other.level {
            let operation = "product";
            return Err(ReferenceError::LevelMismatch { operation, expected: self.level, got: other.level });
        }
        let [a, b] = [self.value().abs(), other.value().abs()];
        let error = a * other.error + b * self.error + self.error * other.error + a * b * f64::EPSILON;
        let integer = Integer::from(&self.integer * &other.integer);
        let scale = self.scale * other.scale;
        Self { integer, scale, error: error * SAFETY, ..self.clone() }.checked()
    }
    fn relinearise(&self) -> Result<Self, ReferenceError> {
        Ok(self.clone())
    }
    fn rescale(&self) -> Result<Self, ReferenceError> {
        let Some(level) = self.level.checked_sub(1) else {
            return Err(ReferenceError::LevelExhausted { operation: "rescale", expected: 1, got: 0 });
        };
        let q = self.params.chain(self.level)?[self.level];
        let remainder = centred(&self.integer, &Integer::from(q));
        let integer = (&self.integer - remainder).div_exact(&Integer::from(q));
        let scale = self.scale / q as f64;
        let error = (self.error + 0.5 / scale + self.value().abs() * f64::EPSILON) * SAFETY;
        Self { params: self.params, integer, level, scale, error }.checked()
    }
    fn drop_level(&self, level: usize) -> Result<Self, ReferenceError> {
        if level > self.level {
            let operation = "level drop";
            return Err(ReferenceError::LevelExhausted { operation, expected: level, got: self.level });
        }
        Self { level, ..self.clone() }.checked()
    }
    fn within(&self, [a, b]: [f64; 2]) -> Result<bool, ReferenceError> {
        let value = self.exact_value();
        Ok(value >= a && value <= b)
    }
    fn describe(&self) -> String {
        format!("{:e} at level {}", self.value(), self.level)
    }
}
