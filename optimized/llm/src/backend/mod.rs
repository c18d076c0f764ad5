//! What the circuit needs from whoever carries it out.
//!
//! The circuit is written once over [`Backend`]. [`ckks::Encrypted`] runs it on ciphertexts, [`slots::Predicted`] on plain
//! slots with predicted noise, [`dry::DryRun`] on levels alone, to find the input level and the keys.
//!
//! Every ciphertext has the canonical scale of its level (`r[ckks.scale.canonical]`) on entry and exit of each operation.

pub mod ckks;
pub mod dry;
pub mod slots;

use crate::error::{LlmError, Result};
use num_complex::Complex64;
use touchstone_ckks::Parameters;

/// Diagonals of a linear map: `(giant, baby)` to one value per slot, `None` for all zeros.
pub type Diagonals<'a> = dyn Fn(usize, usize) -> Option<Vec<Complex64>> + Sync + 'a;

/// What a bootstrap keeps of slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Packing {
    /// Real and imaginary parts of all slots.
    Complex,
    /// Real parts of all slots; imaginary parts are dropped (`r[boot.real]`).
    Real,
    /// Real parts of slots that repeat with this period, a power of two from 2 to half the slots; copies are replaced by their mean
    /// (`r[boot.sparse.input]`).
    Periodic(usize),
}

impl Packing {
    /// Real slots that repeat with a period, or not if the period is all slots or one.
    #[must_use]
    pub fn periodic(period: usize, slots: usize) -> Self {
        if period > 1 && period < slots { Self::Periodic(period) } else { Self::Real }
    }
}

/// What is known about slots that are bootstrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refresh {
    /// What is kept.
    pub packing: Packing,
    /// How many slots a later sum may add up. Errors of approximation are functions of the values, so in a sum of `n` slots they may
    /// all have the same sign, unlike noise: a prediction counts their variance `n` times.
    pub summands: usize,
}

/// Operations on ciphertexts; `l` is the level of the operands.
pub trait Backend {
    /// A ciphertext, or what stands for it.
    type Ct: Clone;

    /// A sum of products on its way to be relinearised.
    type Sum;

    /// Slots of a ciphertext.
    fn slots(&self) -> usize;

    /// Level of a ciphertext.
    fn level(&self, ct: &Self::Ct) -> usize;

    /// Names the part of the circuit that the following operations belong to, for profiles and messages.
    fn stage(&self, name: &'static str);

    /// The layer that the following operations belong to; none before the first and after the last.
    fn layer(&self, _layer: Option<usize>) {}

    /// Called on a ciphertext after its tap; only a prediction of fresh errors does anything.
    fn cut(&self, _ct: &mut Self::Ct) {}

    /// `a + b`, equal levels (`r[ckks.add]`).
    ///
    /// # Errors
    /// Operands of different levels.
    fn add(&self, a: &Self::Ct, b: &Self::Ct) -> Result<Self::Ct>;

    /// `a - b`, equal levels (`r[ckks.add]`).
    ///
    /// # Errors
    /// Operands of different levels.
    fn sub(&self, a: &Self::Ct, b: &Self::Ct) -> Result<Self::Ct>;

    /// Adds a real constant to every slot (`r[ckks.scalar.add]`).
    ///
    /// # Errors
    /// A constant too large for the scale.
    fn add_const(&self, a: &Self::Ct, c: f64) -> Result<Self::Ct>;

    /// Adds a vector of slots (`r[ckks.add]`).
    ///
    /// # Errors
    /// A vector of wrong length.
    fn add_plain(&self, a: &Self::Ct, values: &[Complex64]) -> Result<Self::Ct>;

    /// Multiplies by a vector of slots and rescales: level `l - 1` (`r[ckks.mul.plain]`, `r[ckks.rescale]`).
    ///
    /// # Errors
    /// Level 0; a vector of wrong length.
    fn mul_plain(&self, a: &Self::Ct, values: &[Complex64]) -> Result<Self::Ct>;

    /// `c * a` at `level`, strictly below `l`: drop to `level + 1`, multiply, rescale (`r[ckks.scalar.mul]`).
    ///
    /// # Errors
    /// `level >= l`.
    fn scale_to(&self, a: &Self::Ct, c: f64, level: usize) -> Result<Self::Ct>;

    /// `sum_i c_i a_i` at `level`, strictly below the level of every `a_i`: a sum of summands at `level + 1`, rescaled once
    /// (`r[circuit.summand]`).
    ///
    /// # Errors
    /// No terms, a term of level `level` or below, a weight too large for the scale.
    fn weighted_sum(&self, terms: &[(&Self::Ct, f64)], level: usize) -> Result<Self::Ct>;

    /// `i * a`, exact (`r[circuit.integer]`).
    ///
    /// # Errors
    /// A ciphertext of other parameters.
    fn mul_i(&self, a: &Self::Ct) -> Result<Self::Ct>;

    /// Adds `a * b` to a sum, not relinearised; equal levels (`r[ckks.mul]`).
    ///
    /// # Errors
    /// Operands of different levels.
    fn accumulate(&self, sum: &mut Option<Self::Sum>, a: &Self::Ct, b: &Self::Ct) -> Result<()>;

    /// A sum of products relinearised once and rescaled once: level `l - 1` (`r[ckks.relin]`).
    ///
    /// # Errors
    /// No operands, level 0, no relinearisation key.
    fn relinearise(&self, sum: Option<Self::Sum>) -> Result<Self::Ct>;

    /// Bootstraps slots whose real and imaginary parts are in `[-1, 1]`, of the parameter set's input level or more
    /// (`r[boot.input]`); gives its output level.
    ///
    /// # Errors
    /// Parameters without bootstrapping, a lower level, missing keys, a period that is not prepared.
    fn bootstrap(&self, a: &Self::Ct, refresh: Refresh) -> Result<Self::Ct>;

    /// Sum of products, relinearised once and rescaled once: level `l - 1`.
    ///
    /// # Errors
    /// As [`Backend::accumulate`] and [`Backend::relinearise`].
    fn sum_of_products(&self, pairs: &[(&Self::Ct, &Self::Ct)]) -> Result<Self::Ct> {
        let mut sum = None;
        for (a, b) in pairs {
            self.accumulate(&mut sum, a, b)?;
        }
        self.relinearise(sum)
    }

    /// Slot `j` becomes slot `j + steps` of the input (`r[ckks.rotate]`).
    ///
    /// # Errors
    /// No key for this rotation.
    fn rotate(&self, a: &Self::Ct, steps: i64) -> Result<Self::Ct>;

    /// Several rotations of one ciphertext, sharing what can be shared.
    ///
    /// # Errors
    /// No key for one of the rotations.
    fn rotate_many(&self, a: &Self::Ct, steps: &[i64]) -> Result<Vec<Self::Ct>>;

    /// Complex conjugate of every slot (`r[ckks.conjugate]`).
    ///
    /// # Errors
    /// No conjugation key.
    fn conjugate(&self, a: &Self::Ct) -> Result<Self::Ct>;

    /// `sum_g rotate(sum_b diagonals(g, b) * babies[b], giants[g])`, one rescale: level `l - 1`.
    ///
    /// # Errors
    /// No babies or diagonals, babies of different levels, level 0, no key for a giant step.
    fn linear(&self, babies: &[Self::Ct], giants: &[i64], diagonals: &Diagonals<'_>) -> Result<Self::Ct>;

    /// `sum_k coefficients[k] T_k` on slots in `[-1, 1]`: level `l - ceil(log2(degree + 1))`.
    ///
    /// # Errors
    /// Too few levels, no relinearisation key.
    fn chebyshev(&self, a: &Self::Ct, coefficients: &[f64]) -> Result<Self::Ct>;

    /// `a` at `level`, at most `l`.
    ///
    /// # Errors
    /// `level > l`.
    fn to_level(&self, a: &Self::Ct, level: usize) -> Result<Self::Ct> {
        if self.level(a) == level { Ok(a.clone()) } else { self.scale_to(a, 1.0, level) }
    }

    /// `a * b` rescaled, operands brought to the lower of the two levels first.
    ///
    /// # Errors
    /// As [`Backend::sum_of_products`].
    fn mul(&self, a: &Self::Ct, b: &Self::Ct) -> Result<Self::Ct> {
        let level = self.level(a).min(self.level(b));
        self.sum_of_products(&[(&self.to_level(a, level)?, &self.to_level(b, level)?)])
    }

    /// `a + conj(a)`, twice the real part of every slot.
    ///
    /// # Errors
    /// No conjugation key.
    fn twice_real(&self, a: &Self::Ct) -> Result<Self::Ct> {
        self.add(a, &self.conjugate(a)?)
    }

    /// `x^p`, `p` at least 1, by squaring and multiplying: `ceil(log2 p)` levels.
    ///
    /// # Errors
    /// As [`Backend::mul`].
    fn power(&self, x: Self::Ct, mut p: u32) -> Result<Self::Ct> {
        let (mut square, mut product): (Self::Ct, Option<Self::Ct>) = (x, None);
        loop {
            if p % 2 == 1 {
                product = Some(match product {
                    Some(product) => self.mul(&product, &square)?,
                    None => square.clone(),
                });
            }
            p /= 2;
            match product {
                Some(product) if p == 0 => return Ok(product),
                _ => square = self.mul(&square, &square)?,
            }
        }
    }

    /// Adds rotations of the running sum by each of `steps` in turn.
    ///
    /// # Errors
    /// No key for one of the rotations.
    fn fold(&self, a: &Self::Ct, steps: &[i64]) -> Result<Self::Ct> {
        steps.iter().try_fold(a.clone(), |sum, &step| self.add(&sum, &self.rotate(&sum, step)?))
    }
}

/// Refuses a level below what an operation consumes.
pub(crate) fn require_level(operation: &str, stage: &str, expected: usize, got: usize) -> Result<()> {
    if got >= expected {
        return Ok(());
    }
    Err(LlmError::Levels { operation: format!("{stage}, {operation}"), expected, got })
}

/// Input and output level of bootstrapping (`r[boot.input]`).
pub(crate) fn bootstrap_levels(parameters: &Parameters, stage: &str) -> Result<(usize, usize)> {
    let levels = parameters.bootstrap().map(|boot| (boot.slots_to_coeffs.len(), boot.output_level));
    levels.ok_or_else(|| LlmError::Operand {
        operation: format!("{stage}, bootstrapping"),
        expected: "a parameter set with bootstrapping".to_owned(),
        got: parameters.literal().name.clone(),
    })
}

/// Refuses operands of different levels.
pub(crate) fn require_equal_levels(operation: &str, a: usize, b: usize) -> Result<()> {
    if a == b {
        return Ok(());
    }
    let (expected, got) = (format!("level {a}"), format!("level {b}"));
    Err(LlmError::Operand { operation: operation.to_owned(), expected, got })
}

/// Levels that a Chebyshev sum consumes: `ceil(log2(degree + 1))`.
#[must_use]
pub fn chebyshev_depth(coefficients: &[f64]) -> usize {
    let length = coefficients.iter().rposition(|c| *c != 0.0).map_or(1, |degree| degree + 1);
    length.next_power_of_two().ilog2() as usize
}

/// Refuses a weighted sum at `level` of no terms, or of terms that do not lie above it.
pub(crate) fn require_terms(stage: &str, levels: impl Iterator<Item = usize>, level: usize) -> Result<()> {
    let lowest = levels.min().ok_or_else(no_products)?;
    require_level("weighted sum", stage, level + 1, lowest)
}

/// The error for a sum without summands.
pub(crate) fn no_products() -> LlmError {
    LlmError::Operand {
        operation: "sum of products".to_owned(),
        expected: "at least one product".to_owned(),
        got: "none".to_owned(),
    }
}
