//! Linear maps on slots with double hoisting (`r[circuit.linear.map]` and the rules after it).

use super::Circuits;
use crate::ckks::{Ciphertext, Cyclotomic, Encoder, Plaintext, mod_down, mod_up, rotation_element};
use crate::error::ReferenceError;
use crate::ring::Poly;
use num_complex::Complex64;
use std::collections::{BTreeMap, BTreeSet};

/// How the shifts of a map split into baby and giant steps (`r[circuit.linear.schedule]`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    slots: usize,
    width: i64,
    /// Shifts in `[-n/2, n/2)`.
    shifts: BTreeSet<i64>,
}

impl Schedule {
    /// The schedule for shifts modulo `slots`, a power of two.
    ///
    /// # Errors
    /// [`ReferenceError::BadOperand`] without shifts.
    pub fn new(slots: usize, shifts: impl IntoIterator<Item = i64>) -> Result<Self, ReferenceError> {
        let n = slots as i64;
        let shifts: BTreeSet<i64> = shifts.into_iter().map(|r| (r + n / 2).rem_euclid(n) - n / 2).collect();
        if shifts.is_empty() {
            let (expected, got) = ("at least one diagonal".to_owned(), "none".to_owned());
            return Err(ReferenceError::BadOperand { operation: "linear map", expected, got });
        }
        let mut best = Self { slots, width: 1, shifts };
        for width in (1..=slots.ilog2()).map(|log| 1 << log) {
            let candidate = Self { width, ..best.clone() };
            if candidate.cost() < best.cost() {
                best = candidate;
            }
        }
        Ok(best)
    }

    /// Giant and baby step `(g, b)` of every shift `g + b`.
    #[must_use]
    pub fn steps(&self) -> Vec<(i64, i64)> {
        let split = |r: &i64| (r - r.rem_euclid(self.width), r.rem_euclid(self.width));
        self.shifts.iter().map(split).collect()
    }

    /// The steps that are rotations: baby and giant ones, not 0.
    #[must_use]
    pub fn rotations(&self) -> BTreeSet<i64> {
        self.steps().into_iter().flat_map(|(g, b)| [g, b]).filter(|step| *step != 0).collect()
    }

    /// Non-zero baby steps and non-zero giant steps.
    fn cost(&self) -> usize {
        let (giants, babies): (BTreeSet<i64>, BTreeSet<i64>) = self.steps().into_iter().unzip();
        giants.iter().filter(|g| **g != 0).count() + babies.iter().filter(|b| **b != 0).count()
    }
}

/// A linear map as integer plaintexts `p_{g,b}` at one plaintext scale (`r[circuit.linear.plaintext]`).
#[derive(Clone, Debug, PartialEq)]
pub struct LinearMap {
    plaintexts: BTreeMap<(i64, i64), Vec<i64>>,
    scale: f64,
}

impl LinearMap {
    /// The map with the given diagonals `r -> d_r`, correctly rounded at plaintext scale `scale`.
    ///
    /// # Errors
    /// [`ReferenceError::BadOperand`] without diagonals, for one of another length, or a bad scale;
    /// [`ReferenceError::NotEncodable`].
    pub fn encode(
        encoder: &Encoder,
        slots: usize,
        diagonals: &BTreeMap<i64, Vec<Complex64>>,
        scale: f64,
    ) -> Result<Self, ReferenceError> {
        Self::encode_with(slots, diagonals, scale, |values| encoder.encode(values, scale))
    }

    /// [`Self::encode`] for exact diagonals.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn encode_exact(
        encoder: &Encoder,
        slots: usize,
        diagonals: &BTreeMap<i64, Vec<Cyclotomic>>,
        scale: f64,
    ) -> Result<Self, ReferenceError> {
        Self::encode_with(slots, diagonals, scale, |values| encoder.encode_exact(values, scale))
    }

    fn encode_with<T: Clone>(
        slots: usize,
        diagonals: &BTreeMap<i64, Vec<T>>,
        scale: f64,
        encode: impl Fn(&[T]) -> Result<Vec<i64>, ReferenceError>,
    ) -> Result<Self, ReferenceError> {
        let n = slots as i64;
        let schedule = Schedule::new(slots, diagonals.keys().copied())?;
        let mut plaintexts = BTreeMap::new();
        for (g, b) in schedule.steps() {
            for (_, diagonal) in diagonals.iter().filter(|(shift, _)| (g + b - **shift).rem_euclid(n) == 0) {
                if diagonal.len() != slots {
                    let (expected, got) = (format!("diagonals of {slots} slots"), diagonal.len().to_string());
                    return Err(ReferenceError::BadOperand { operation: "linear map", expected, got });
                }
                let rotated: Vec<T> = (0..n).map(|j| diagonal[(j - g).rem_euclid(n) as usize].clone()).collect();
                plaintexts.insert((g, b), encode(&rotated)?);
            }
        }
        Ok(Self { plaintexts, scale })
    }

    /// The map with the given plaintexts `(g, b) -> p_{g,b}`, for instance those that another implementation encoded.
    ///
    /// # Errors
    /// [`ReferenceError::BadOperand`] without plaintexts.
    pub fn from_plaintexts(plaintexts: BTreeMap<(i64, i64), Vec<i64>>, scale: f64) -> Result<Self, ReferenceError> {
        if plaintexts.is_empty() {
            let (expected, got) = ("at least one plaintext".to_owned(), "none".to_owned());
            return Err(ReferenceError::BadOperand { operation: "linear map", expected, got });
        }
        Ok(Self { plaintexts, scale })
    }

    /// The integer plaintexts by giant and baby step.
    #[must_use]
    pub fn plaintexts(&self) -> &BTreeMap<(i64, i64), Vec<i64>> {
        &self.plaintexts
    }

    /// The plaintext scale `T`.
    #[must_use]
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// The steps that are rotations: baby and giant ones, not 0.
    #[must_use]
    pub fn rotations(&self) -> BTreeSet<i64> {
        self.plaintexts.keys().flat_map(|(g, b)| [*g, *b]).filter(|step| *step != 0).collect()
    }

    fn giants(&self) -> BTreeSet<i64> {
        self.plaintexts.keys().map(|(g, _)| *g).collect()
    }

    /// The baby steps, ascending.
    #[must_use]
    pub fn babies(&self) -> BTreeSet<i64> {
        self.plaintexts.keys().map(|(_, b)| *b).collect()
    }
}

/// A pair of polynomials over `R_{Q_l P}`.
pub type Raised = (Poly, Poly);

impl Circuits<'_> {
    /// The plaintext scale `T` of a map on a ciphertext of this level and label (`r[circuit.linear.scale]`).
    ///
    /// # Errors
    /// [`ReferenceError::ScaleMismatch`] for a label that is not canonical if there is no target.
    pub fn plaintext_scale(&self, a: &Ciphertext, target: Option<f64>) -> Result<f64, ReferenceError> {
        let Some(target) = target else {
            self.check_input("linear map", a, 1)?;
            return Ok(a.scale);
        };
        Ok(target * self.params.chain(a.level)?[a.level] as f64 / a.scale)
    }

    /// Applies a map with double hoisting and rescales once; with a target, that is the label of the result
    /// (`r[circuit.linear.result]`, `r[circuit.linear.scale]`). Level `l >= 1` to `l - 1`.
    ///
    /// # Errors
    /// [`ReferenceError::ScaleMismatch`] if the map was not encoded at [`Self::plaintext_scale`];
    /// [`ReferenceError::LevelExhausted`], [`ReferenceError::MissingKey`]; [`ReferenceError::BadOperand`] for a
    /// ciphertext that is not relinearised.
    pub fn linear(&self, a: &Ciphertext, map: &LinearMap, target: Option<f64>) -> Result<Ciphertext, ReferenceError> {
        let expected = self.plaintext_scale(a, target)?;
        if map.scale != expected {
            return Err(ReferenceError::ScaleMismatch { operation: "linear map", expected, got: map.scale });
        }
        let rescaled = self.evaluator.rescale(&self.linear_unscaled(a, map)?)?;
        Ok(Ciphertext { scale: target.unwrap_or(rescaled.scale), ..rescaled })
    }

    /// [`Self::linear`] before its rescale: level unchanged, label `fl(s T)` (`r[circuit.linear.result]`).
    ///
    /// # Errors
    /// [`ReferenceError::MissingKey`]; [`ReferenceError::BadOperand`] for a ciphertext that is not relinearised.
    pub fn linear_unscaled(&self, a: &Ciphertext, map: &LinearMap) -> Result<Ciphertext, ReferenceError> {
        let babies = self.raised_babies(a, &map.babies())?;
        let zero = Poly::zero(self.params.n(), &self.params.extended_modulus(a.level)?);
        let mut sum = (zero.clone(), zero.clone());
        for giant in map.giants() {
            let mut inner = (zero.clone(), zero.clone());
            for ((_, b), coefficients) in map.plaintexts.iter().filter(|((g, _), _)| *g == giant) {
                let plaintext = Poly::from_small(coefficients, zero.modulus());
                let (x, y) = &babies[b];
                inner = (inner.0.add(&x.mul(&plaintext)?)?, inner.1.add(&y.mul(&plaintext)?)?);
            }
            let (u, w) = self.raised_giant(inner, giant, a.level)?;
            sum = (sum.0.add(&u)?, sum.1.add(&w)?);
        }
        let polys = vec![mod_down(self.params, &sum.0, a.level)?, mod_down(self.params, &sum.1, a.level)?];
        Ok(Ciphertext { polys, level: a.level, scale: a.scale * map.scale })
    }

    /// `(x_b, y_b)` over `R_{Q_l P}` for every baby step (`r[circuit.linear.baby]`).
    ///
    /// # Errors
    /// As [`Self::linear_unscaled`].
    pub fn raised_babies(
        &self,
        a: &Ciphertext,
        steps: &BTreeSet<i64>,
    ) -> Result<BTreeMap<i64, Raised>, ReferenceError> {
        let [c0, c1] = a.polys.as_slice() else {
            let (expected, got) = ("2 polynomials".to_owned(), a.polys.len().to_string());
            return Err(ReferenceError::BadOperand { operation: "linear map", expected, got });
        };
        let (special, modulus) = (self.params.special_modulus(), self.params.extended_modulus(a.level)?);
        let raise = |c: &Poly| c.map_into(&modulus, |x| (x * &special).into());
        let lifts = mod_up(self.params, c1, a.level)?;
        let baby = |&step: &i64| {
            if self.is_copy(step) {
                return Ok((step, (raise(c0), raise(c1))));
            }
            let g = u64::from(rotation_element(self.params, step));
            let images = lifts.iter().map(|d| d.automorphism(g)).collect::<Result<Vec<_>, _>>()?;
            let key = self.rotation_key("linear map", step)?;
            let (u, y) = self.evaluator.raised_key_product(&images, a.level, key)?;
            Ok((step, (raise(c0).automorphism(g)?.add(&u)?, y)))
        };
        steps.iter().map(baby).collect()
    }

    /// What the giant step adds to `(A_0, A_1)` for the inner sums `(u_g, w_g)` (`r[circuit.linear.giant]`).
    fn raised_giant(&self, (u, w): Raised, step: i64, level: usize) -> Result<Raised, ReferenceError> {
        if self.is_copy(step) {
            return Ok((u, w));
        }
        let g = u64::from(rotation_element(self.params, step));
        let turned = mod_down(self.params, &w, level)?.automorphism(g)?;
        let lifts = mod_up(self.params, &turned, level)?;
        let (v0, v1) = self.evaluator.raised_key_product(&lifts, level, self.rotation_key("linear map", step)?)?;
        Ok((u.automorphism(g)?.add(&v0)?, v1))
    }

    /// The map on babies that are ciphertexts, without raised sums; rescaled once (`r[circuit.linear.single]`).
    ///
    /// # Errors
    /// [`ReferenceError::BadOperand`] for a baby step of the map without a baby; [`ReferenceError::ScaleMismatch`],
    /// [`ReferenceError::LevelMismatch`], [`ReferenceError::LevelExhausted`], [`ReferenceError::MissingKey`].
    pub fn linear_single(
        &self,
        babies: &BTreeMap<i64, Ciphertext>,
        map: &LinearMap,
    ) -> Result<Ciphertext, ReferenceError> {
        let mut rotated = Vec::new();
        for giant in map.giants() {
            let own = map.plaintexts.iter().filter(|((g, _), _)| *g == giant);
            let products = own.map(|((_, b), coefficients)| {
                let baby = babies.get(b).ok_or_else(|| ReferenceError::BadOperand {
                    operation: "linear map",
                    expected: format!("a baby for step {b}"),
                    got: "none".to_owned(),
                })?;
                let plain = Plaintext::from_coefficients(self.params, coefficients, baby.level, map.scale)?;
                self.check_input("linear map", baby, 1)?;
                self.evaluator.mul_plain(baby, &plain)
            });
            let inner = self.sum("linear map", products.collect::<Result<Vec<_>, _>>()?)?;
            rotated.push(self.rotate(&inner, giant)?);
        }
        self.evaluator.rescale(&self.sum("linear map", rotated)?)
    }
}
