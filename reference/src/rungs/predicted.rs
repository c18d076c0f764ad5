//! R3p: fixed point with the noise predicted instead of drawn (`r[rung.r3p]`).

use super::fixed::Fixed;
use super::homomorphic::Scheme;
use crate::bounds::noise;
use crate::ckks::Parameters;
use crate::error::ReferenceError;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// What a prediction depends on besides the number.
#[derive(Clone, Debug)]
pub struct Prediction {
    params: Parameters,
    weight: f64,
}

impl Prediction {
    /// Predictions for `params`; `weight` is the Hamming weight of the secret, or for one slot of a known key
    /// `|s(zeta^(5^j))|^2` (`r[noise.bound.slot]`).
    #[must_use]
    pub fn new(params: Parameters, weight: f64) -> Self {
        Self { params, weight }
    }

    /// A fresh encryption of `x`, the `index`-th of the run.
    ///
    /// # Errors
    /// As [`Fixed::new`].
    pub fn encrypt(&self, x: f64, index: u64) -> Result<Predicted<'_>, ReferenceError> {
        let fixed = Fixed::new(x, &self.params)?;
        let variance = noise::fresh_secret().total + noise::encode().total;
        let number = Predicted { model: self, fixed, name: named(("encrypt", index)), errors: Arc::default() };
        Ok(number.with_fresh(variance, 1.0))
    }
}

/// A number of R2 with its error as a linear form in independent fresh errors of variance 1.
///
/// A fresh error is named by the operation that makes it and that operation's operands, so that the same operation
/// done twice makes the same error; correlations are kept exactly, to first order.
#[derive(Clone, Debug)]
pub struct Predicted<'a> {
    model: &'a Prediction,
    fixed: Fixed<'a>,
    name: u64,
    /// Name of a fresh error and its coefficient, in the unit of the message, sorted by name.
    errors: Arc<Vec<(u64, f64)>>,
}

fn named(what: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// `x a + y b` of two linear forms.
fn combined(x: f64, a: &[(u64, f64)], y: f64, b: &[(u64, f64)]) -> Arc<Vec<(u64, f64)>> {
    let mut sum = Vec::with_capacity(a.len() + b.len());
    let (mut i, mut j) = (0, 0);
    loop {
        match (a.get(i), b.get(j)) {
            (None, None) => return Arc::new(sum),
            (Some(&(name, c)), Some(&(other, d))) if name == other => {
                sum.push((name, x * c + y * d));
                (i, j) = (i + 1, j + 1);
            }
            (Some(&(name, c)), other) if other.is_none_or(|other| name < other.0) => {
                sum.push((name, x * c));
                i += 1;
            }
            (_, Some(&(name, d))) => {
                sum.push((name, y * d));
                j += 1;
            }
            (Some(_), None) => return Arc::new(sum),
        }
    }
}

impl<'a> Predicted<'a> {
    /// The number without noise.
    #[must_use]
    pub fn fixed(&self) -> &Fixed<'a> {
        &self.fixed
    }

    /// Standard deviation of the real part of the slot's distance from [`Self::fixed`].
    #[must_use]
    pub fn deviation(&self) -> f64 {
        self.errors.iter().map(|(_, c)| c * c).sum::<f64>().sqrt()
    }

    /// Adds the fresh error of the operation that made the number: `variance` of a coefficient, and `roundings` of R2
    /// itself, each uniform in one unit, which are absent from a ciphertext.
    fn with_fresh(self, variance: f64, roundings: f64) -> Self {
        let scale = self.fixed.scale();
        let slot = noise::slot_deviation(variance, self.model.params.n(), scale);
        let own = roundings * noise::encode().total / (scale * scale);
        let fresh = [(named(("fresh", self.name)), (slot * slot + own).sqrt())];
        Self { errors: combined(1.0, &self.errors, 1.0, &fresh), ..self }
    }

    /// The result of an operation on this number that multiplies errors by `factor`.
    fn unary(&self, operation: (&str, u64), fixed: Fixed<'a>, factor: f64) -> Self {
        let errors = if factor == 1.0 { Arc::clone(&self.errors) } else { combined(factor, &self.errors, 0.0, &[]) };
        Self { model: self.model, fixed, name: named((operation, self.name)), errors }
    }

    /// The result of a symmetric operation on two numbers with the given slopes.
    fn binary(&self, operation: &str, other: &Self, fixed: Fixed<'a>, slopes: [f64; 2]) -> Self {
        let names = [self.name.min(other.name), self.name.max(other.name)];
        let errors = combined(slopes[0], &self.errors, slopes[1], &other.errors);
        Self { model: self.model, fixed, name: named((operation, names)), errors }
    }
}

impl<'a> Scheme for Predicted<'a> {
    type Context = &'a Prediction;

    fn public(x: f64, model: &'a Prediction) -> Result<Self, ReferenceError> {
        let fixed = Fixed::new(x, &model.params)?;
        Ok(Self { model, fixed, name: named(("public", x.to_bits())), errors: Arc::default() })
    }
    fn parameters(&self) -> &Parameters {
        &self.model.params
    }
    fn level(&self) -> usize {
        self.fixed.level()
    }
    fn scale(&self) -> f64 {
        self.fixed.scale()
    }
    fn add(&self, other: &Self) -> Result<Self, ReferenceError> {
        Ok(self.binary("add", other, self.fixed.add(&other.fixed)?, [1.0, 1.0]))
    }
    fn neg(&self) -> Self {
        self.unary(("neg", 0), self.fixed.neg(), -1.0)
    }
    fn add_constant(&self, constant: f64) -> Result<Self, ReferenceError> {
        Ok(self.unary(("add constant", constant.to_bits()), self.fixed.add_constant(constant)?, 1.0))
    }
    fn mul_constant(&self, constant: f64, target: f64) -> Result<Self, ReferenceError> {
        let fixed = self.fixed.mul_constant(constant, target)?;
        Ok(self.unary(("mul constant", constant.to_bits()), fixed, constant))
    }
    fn mul(&self, other: &Self) -> Result<Self, ReferenceError> {
        let slopes = [other.fixed.value(), self.fixed.value()];
        Ok(self.binary("mul", other, self.fixed.mul(&other.fixed)?, slopes))
    }
    fn relinearise(&self) -> Result<Self, ReferenceError> {
        let variance = noise::keyswitch(&self.model.params, self.level(), self.model.weight)?.total;
        Ok(self.unary(("relinearise", 0), self.fixed.clone(), 1.0).with_fresh(variance, 0.0))
    }
    fn rescale(&self) -> Result<Self, ReferenceError> {
        let fixed = self.fixed.rescale()?;
        let q = self.model.params.chain(self.level())?[self.level()];
        let variance = noise::rescale(0.0, q, self.model.weight).total;
        Ok(self.unary(("rescale", 0), fixed, 1.0).with_fresh(variance, 1.0))
    }
    fn drop_level(&self, level: usize) -> Result<Self, ReferenceError> {
        Ok(self.unary(("drop", level as u64), self.fixed.drop_level(level)?, 1.0))
    }
    fn within(&self, interval: [f64; 2]) -> Result<bool, ReferenceError> {
        self.fixed.within(interval)
    }
    fn describe(&self) -> String {
        format!("{} +- {:e}", self.fixed.describe(), self.deviation())
    }
}
