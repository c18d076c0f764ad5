//! Level changes, weighted sums, products and inner sums.

use super::Circuits;
use crate::ckks::Ciphertext;
use crate::error::ReferenceError;
use num_complex::Complex64;

impl Circuits<'_> {
    /// Brings a ciphertext of any label to a lower level with the canonical scale, or copies a canonical one that is
    /// there already (`r[circuit.to-level]`).
    ///
    /// # Errors
    /// [`ReferenceError::LevelExhausted`] if `level` is above the ciphertext's; [`ReferenceError::ScaleMismatch`] if
    /// it is the ciphertext's own and the scale is not canonical.
    pub fn to_level(&self, a: &Ciphertext, level: usize) -> Result<Ciphertext, ReferenceError> {
        if level == a.level {
            self.check_input("level change", a, 0)?;
            return Ok(a.clone());
        }
        self.weighted_to_level(a, 1.0, level)
    }

    /// `weight * a` at a level below that of `a`, canonical (`r[circuit.to-level]`).
    ///
    /// # Errors
    /// [`ReferenceError::LevelExhausted`] unless `level` is below the ciphertext's; [`ReferenceError::NotEncodable`]
    /// for a weight that is too large.
    pub fn weighted_to_level(&self, a: &Ciphertext, weight: f64, level: usize) -> Result<Ciphertext, ReferenceError> {
        self.step(&self.summand(a, weight, self.params.above(level))?)
    }

    /// One rescale, or two at the level of a pair (`r[ckks.step]`).
    pub(super) fn step(&self, a: &Ciphertext) -> Result<Ciphertext, ReferenceError> {
        let rescaled = self.evaluator.rescale(a)?;
        if self.params.is_pair(a.level) { self.evaluator.rescale(&rescaled) } else { Ok(rescaled) }
    }

    /// `weight * a` as a summand of a sum that is formed at `level` and rescaled afterwards (`r[circuit.summand]`).
    ///
    /// # Errors
    /// [`ReferenceError::LevelExhausted`] if `level` is above the ciphertext's; [`ReferenceError::NotEncodable`] for a
    /// weight that is too large.
    pub fn summand(&self, a: &Ciphertext, weight: f64, level: usize) -> Result<Ciphertext, ReferenceError> {
        let dropped = self.evaluator.drop_level(a, level)?;
        let canonical = self.params.canonical_scale(level)?;
        self.evaluator.mul_scalar(&dropped, real(weight), canonical * canonical)
    }

    /// `slope * a + offset`, one level lower (`r[circuit.affine]`).
    ///
    /// # Errors
    /// [`ReferenceError::LevelExhausted`], [`ReferenceError::ScaleMismatch`], [`ReferenceError::NotEncodable`].
    pub fn affine(&self, a: &Ciphertext, slope: f64, offset: f64) -> Result<Ciphertext, ReferenceError> {
        self.check_input("affine map", a, 1)?;
        let scaled = self.evaluator.rescale(&self.summand(a, slope, a.level)?)?;
        self.add_constant(&scaled, offset)
    }

    /// Maps `[low, high]` to `[-1, 1]`, one level lower (`r[circuit.normalise]`).
    ///
    /// # Errors
    /// [`ReferenceError::BadOperand`] unless `low < high`, both finite; those of [`Self::affine`].
    pub fn normalise(&self, a: &Ciphertext, low: f64, high: f64) -> Result<Ciphertext, ReferenceError> {
        if !(low < high && low.is_finite() && high.is_finite()) {
            let (operation, expected) = ("normalisation", "finite low < high".to_owned());
            return Err(ReferenceError::BadOperand { operation, expected, got: format!("[{low:e}, {high:e}]") });
        }
        self.affine(a, 2.0 / (high - low), -(low + high) / (high - low))
    }

    /// The product, relinearised and rescaled (`r[circuit.product]`).
    ///
    /// # Errors
    /// [`ReferenceError::LevelMismatch`], [`ReferenceError::LevelExhausted`], [`ReferenceError::MissingKey`].
    pub fn product(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext, ReferenceError> {
        self.evaluator.rescale(&self.relinearise(&self.evaluator.mul(a, b)?)?)
    }

    /// `sum of a b` over the given pairs, relinearised once and rescaled once (`r[circuit.product]`).
    ///
    /// # Errors
    /// [`ReferenceError::BadOperand`] without pairs; those of [`Self::product`] and of additions.
    pub fn sum_of_products(&self, pairs: &[(&Ciphertext, &Ciphertext)]) -> Result<Ciphertext, ReferenceError> {
        let products = pairs.iter().map(|(a, b)| self.evaluator.mul(a, b)).collect::<Result<Vec<_>, _>>()?;
        let sum = self.sum("sum of products", products)?;
        self.evaluator.rescale(&self.relinearise(&sum)?)
    }

    /// The sum of at least one ciphertext.
    pub(super) fn sum(
        &self,
        operation: &'static str,
        parts: impl IntoIterator<Item = Ciphertext>,
    ) -> Result<Ciphertext, ReferenceError> {
        let mut parts = parts.into_iter();
        let first = parts.next().ok_or_else(|| ReferenceError::BadOperand {
            operation,
            expected: "at least one summand".to_owned(),
            got: "none".to_owned(),
        })?;
        parts.try_fold(first, |sum, part| self.evaluator.add(&sum, &part))
    }

    /// Adds a real number to every slot (`r[ckks.scalar.add]`).
    pub(super) fn add_constant(&self, a: &Ciphertext, constant: f64) -> Result<Ciphertext, ReferenceError> {
        self.evaluator.add_scalar(a, real(constant))
    }

    /// `out[j] = sum over 0 <= i < count of in[j + i stride]` (`r[circuit.inner-sum]`); level and scale unchanged.
    ///
    /// # Errors
    /// [`ReferenceError::BadOperand`] for `count = 0`; [`ReferenceError::MissingKey`].
    pub fn inner_sum(&self, a: &Ciphertext, count: u32, stride: i64) -> Result<Ciphertext, ReferenceError> {
        let mut contributions = Vec::new();
        let mut block = a.clone();
        for digit in 0..u32::BITS - count.leading_zeros() {
            let weight = 1 << digit;
            if count & weight != 0 {
                let below = count & (weight - 1);
                contributions.push(self.rotate(&block, i64::from(below) * stride)?);
            }
            // The doubled block is needed only if a digit above this one is set.
            if count >> digit > 1 {
                block = self.evaluator.add(&block, &self.rotate(&block, i64::from(weight) * stride)?)?;
            }
        }
        self.sum("inner sum", contributions)
    }

    /// The rotations whose keys [`Self::inner_sum`] needs.
    #[must_use]
    pub fn inner_sum_rotations(count: u32, stride: i64) -> Vec<i64> {
        let digits = 0..u32::BITS - count.leading_zeros();
        let rotations = digits.flat_map(|digit| {
            let (weight, below) = (1u32 << digit, count & ((1 << digit) - 1));
            let contribution = (count & weight != 0 && below != 0).then_some(below);
            contribution.into_iter().chain((count >> digit > 1).then_some(weight))
        });
        rotations.map(|steps| i64::from(steps) * stride).collect()
    }
}

/// A real constant for every slot.
fn real(value: f64) -> Complex64 {
    Complex64::new(value, 0.0)
}
