//! Slots of a program of operations, exactly evaluated, with a worst-case bound on the error of each (`r[noise.program]`).
//!
//! The exact values are binary64 numbers; what their rounding adds, far below any noise, is part of the bound.

use super::components::{self, Noise, UNIT_ROUNDING};
use super::noise::{self, product_factor, tail_factor};
use super::secret::{Embedding, SecretNorms};
use crate::circuits::{Basis, LinearMap, Plan, Sum};
use crate::ckks::{Parameters, SecretKey};
use crate::error::ReferenceError;
use num_complex::Complex64;
use std::collections::BTreeMap;
use std::f64::consts::{FRAC_1_SQRT_2, SQRT_2};

/// Relative error of a product or sum of complex numbers in binary64, generously.
const BINARY64: f64 = 4.0 * f64::EPSILON;

/// What the slots of a ciphertext should hold and how far each may be off.
#[derive(Clone, Debug, PartialEq)]
pub struct Slots {
    /// Level of the ciphertext.
    pub level: usize,
    /// Its scale label.
    pub scale: f64,
    /// Exact values.
    pub values: Vec<Complex64>,
    /// Bounds on the modulus of value minus exact value.
    pub bounds: Vec<f64>,
}

impl Slots {
    /// The largest modulus that a slot may have, error included.
    #[must_use]
    pub fn magnitude(&self) -> f64 {
        self.values.iter().zip(&self.bounds).map(|(z, e)| z.norm() + e).fold(0.0, f64::max)
    }

    fn map(&self, value: impl Fn(Complex64) -> Complex64, bound: impl Fn(f64, f64) -> f64) -> Self {
        let pairs = || self.values.iter().zip(&self.bounds);
        Self {
            values: pairs().map(|(z, _)| value(*z)).collect(),
            bounds: pairs().map(|(z, e)| bound(z.norm(), *e) + BINARY64 * value(*z).norm()).collect(),
            ..*self
        }
    }

    fn plus(mut self, errors: &[f64]) -> Self {
        self.bounds.iter_mut().zip(errors).for_each(|(bound, error)| *bound += error);
        self
    }

    /// Slot `j` holds what slot `j + steps` held.
    fn rotated(&self, steps: i64) -> Self {
        let n = self.values.len() as i64;
        let from = |j: i64| (j + steps).rem_euclid(n) as usize;
        Self {
            values: (0..n).map(|j| self.values[from(j)]).collect(),
            bounds: (0..n).map(|j| self.bounds[from(j)]).collect(),
            ..*self
        }
    }
}

/// Follows [`Slots`] through operations under a known key. An operation gives nothing where a coefficient may reach half the modulus:
/// the program is then outside of what the scheme promises.
#[derive(Clone, Debug)]
pub struct Program<'a> {
    params: &'a Parameters,
    /// `|s(zeta_j)|^2`.
    squares: Vec<f64>,
    d: f64,
}

impl<'a> Program<'a> {
    /// Bounds that hold for `count` fresh errors (real numbers) together, except with probability `failure`.
    ///
    /// # Errors
    /// [`ReferenceError::BadOperand`] as [`tail_factor`].
    pub fn new(params: &'a Parameters, key: &SecretKey, failure: f64, count: usize) -> Result<Self, ReferenceError> {
        let norms = SecretNorms::of(key, &Embedding::new(params.n()));
        Ok(Self { params, squares: norms.slots().to_vec(), d: tail_factor(failure, count)? })
    }

    /// Bounds on the modulus of a fresh error, slot by slot; of `products`, the causes that are products of two random
    /// polynomials, with the factor of `r[noise.bound.product]` for the two parts of one number.
    fn fresh(&self, noise: &Noise, products: &[&str], scale: f64) -> Vec<f64> {
        let factor = product_factor(self.d, 2.0).powi(2) - 1.0;
        let all = noise.slot_variances(&self.squares);
        let enlarged = noise.only(products).slot_variances(&self.squares);
        let bound = |(v, p): (&f64, &f64)| SQRT_2 * self.d * (v + factor * p).sqrt() / scale;
        all.iter().zip(&enlarged).map(bound).collect()
    }

    fn rounding(&self, polys: usize, scale: f64) -> Vec<f64> {
        self.fresh(&Noise::new("noise.program", vec![("rounding", vec![UNIT_ROUNDING; polys])]), &[], scale)
    }

    fn key_switch(&self, level: usize, scale: f64) -> Option<Vec<f64>> {
        let noise = components::keyswitch(self.params, level).ok()?;
        Some(self.fresh(&noise, &["key errors"], scale))
    }

    /// The slots, if no coefficient can reach half the modulus: coefficients are at most the largest slot times the scale.
    fn fitting(&self, slots: Slots) -> Option<Slots> {
        let chain = self.params.chain(slots.level).ok()?;
        let bits: f64 = chain.iter().map(|q| (*q as f64).log2()).sum();
        (slots.magnitude().log2() + slots.scale.log2() < bits - 1.0).then_some(slots)
    }

    /// A fresh encryption, of which `noise` is [`components::fresh_secret`] or [`components::fresh_public`].
    pub fn encrypt(&self, values: &[Complex64], level: usize, scale: f64, noise: &Noise) -> Option<Slots> {
        let bounds = vec![0.0; values.len()];
        let exact = Slots { level, scale, values: values.to_vec(), bounds };
        self.fitting(exact.plus(&self.fresh(noise, &["input"], scale)).plus(&self.rounding(1, scale)))
    }

    /// `a + b` or `a - b`; level and label of both are the same.
    pub fn add(&self, a: &Slots, b: &Slots, sign: f64) -> Option<Slots> {
        let values: Vec<_> = a.values.iter().zip(&b.values).map(|(x, y)| x + sign * y).collect();
        let rounding: Vec<f64> = values.iter().map(|z| BINARY64 * z.norm()).collect();
        self.fitting(Slots { values, ..a.clone() }.plus(&b.bounds).plus(&rounding))
    }

    /// Product with a fourth root of 1, which rounds nothing.
    #[must_use]
    pub fn turn(&self, a: &Slots, unit: Complex64) -> Slots {
        Slots { values: a.values.iter().map(|z| z * unit).collect(), ..a.clone() }
    }

    /// Sum with an encoded plaintext of the same label.
    pub fn add_plain(&self, a: &Slots, plain: &[Complex64]) -> Option<Slots> {
        let plain = Slots { values: plain.to_vec(), bounds: self.rounding(1, a.scale), ..*a };
        self.add(a, &plain, 1.0)
    }

    /// Product with a plaintext that was encoded at `scale`.
    pub fn mul_plain(&self, a: &Slots, plain: &[Complex64], scale: f64) -> Option<Slots> {
        let plain = Slots { values: plain.to_vec(), bounds: self.rounding(1, scale), scale, ..*a };
        self.mul(a, &plain)
    }

    /// Sum with a complex constant.
    pub fn add_scalar(&self, a: &Slots, constant: Complex64) -> Option<Slots> {
        let rounding = FRAC_1_SQRT_2 / a.scale + BINARY64 * constant.norm();
        self.fitting(a.map(|z| z + constant, |_, e| e + rounding))
    }

    /// Product with a complex constant towards the label `target`.
    pub fn mul_scalar(&self, a: &Slots, constant: Complex64, target: f64) -> Option<Slots> {
        let bound = |z, e| noise::scalar_mul(e, constant.norm(), z, a.scale, target).total;
        self.fitting(Slots { scale: target, ..a.map(|z| z * constant, bound) })
    }

    /// Product of ciphertexts of one level, before relinearisation.
    pub fn mul(&self, a: &Slots, b: &Slots) -> Option<Slots> {
        let pairs = || a.values.iter().zip(&a.bounds).zip(b.values.iter().zip(&b.bounds));
        let bound = |((x, e), (y, f)): ((&Complex64, &f64), (&Complex64, &f64))| {
            let z = (x * y).norm();
            noise::mul(x.norm(), *e, y.norm(), *f).total + noise::scale_label(z, 1).total + BINARY64 * z
        };
        let values = pairs().map(|((x, _), (y, _))| x * y).collect();
        self.fitting(Slots { level: a.level, scale: a.scale * b.scale, values, bounds: pairs().map(bound).collect() })
    }

    /// Relinearisation, at the level and label of `a`.
    pub fn relinearise(&self, a: &Slots) -> Option<Slots> {
        self.fitting(a.clone().plus(&self.key_switch(a.level, a.scale)?))
    }

    /// Rescaling of `polys` polynomials (3 before relinearisation).
    pub fn rescale(&self, a: &Slots, polys: usize) -> Option<Slots> {
        let scale = a.scale / *self.params.chain(a.level).ok()?.last()? as f64;
        let labelled = a.map(|z| z, |z, e| e + noise::scale_label(z, 1).total);
        let level = a.level.checked_sub(1)?;
        self.fitting(Slots { level, scale, ..labelled }.plus(&self.rounding(polys, scale)))
    }

    /// Dropping limbs.
    pub fn drop_level(&self, a: &Slots, level: usize) -> Option<Slots> {
        self.fitting(Slots { level, ..a.clone() })
    }

    /// Rotation; a multiple of the number of slots switches no key.
    pub fn rotate(&self, a: &Slots, steps: i64) -> Option<Slots> {
        if steps.rem_euclid(a.values.len() as i64) == 0 {
            return Some(a.clone());
        }
        self.relinearise(&a.rotated(steps))
    }

    /// Conjugation.
    pub fn conjugate(&self, a: &Slots) -> Option<Slots> {
        self.relinearise(&Slots { values: a.values.iter().map(Complex64::conj).collect(), ..a.clone() })
    }

    /// `weight * a` as a summand of a sum that is formed at `level` (`r[circuit.summand]`).
    pub fn summand(&self, a: &Slots, weight: f64, level: usize) -> Option<Slots> {
        let canonical = self.params.canonical_scale(level).ok()?;
        self.mul_scalar(&self.drop_level(a, level)?, weight.into(), canonical * canonical)
    }

    /// A ciphertext of two polynomials at a level at or below its own (`r[circuit.to-level]`).
    pub fn to_level(&self, a: &Slots, level: usize) -> Option<Slots> {
        if level == a.level {
            return Some(a.clone());
        }
        self.rescale(&self.summand(a, 1.0, level + 1)?, 2)
    }

    /// A double-hoisted linear map with its rescale (`r[circuit.linear.result]`); `diagonals` are those that `map` encodes.
    pub fn linear(&self, a: &Slots, map: &LinearMap, diagonals: &BTreeMap<i64, Vec<Complex64>>) -> Option<Slots> {
        let n = a.values.len() as i64;
        let scale = a.scale * map.scale();
        let p = self.params.special_modulus().to_f64();
        let raised = components::raised_keyswitch(self.params, a.level).ok()?.components();
        let key = Noise::new("noise.linear.map", vec![("key errors", raised.iter().map(|v| v / (p * p)).collect())]);
        // Neither part carries the secret, so all slots are alike.
        let key_error = |scale| self.fresh(&key, &["key errors"], scale)[0];
        let (baby_key, encoding) = (key_error(a.scale), self.rounding(1, map.scale())[0]);
        let mut sum = Slots { values: vec![Complex64::ZERO; n as usize], bounds: vec![0.0; n as usize], scale, ..*a };
        for &(giant, baby) in map.plaintexts().keys() {
            let shift = giant + baby;
            let diagonal = diagonals.iter().find(|(r, _)| (*r - shift).rem_euclid(n) == 0)?.1;
            let input = a.rotated(shift);
            let key = if baby == 0 { 0.0 } else { baby_key };
            for (j, d) in diagonal.iter().enumerate() {
                let (z, e) = (input.values[j], input.bounds[j] + key);
                sum.values[j] += d * z;
                sum.bounds[j] += noise::mul_plain(e, d.norm() + encoding, z.norm(), encoding).total
                    + 2.0 * BINARY64 * ((d * z).norm() + sum.values[j].norm());
            }
        }
        let mut giants: Vec<i64> = map.plaintexts().keys().map(|(giant, _)| *giant).filter(|g| *g != 0).collect();
        giants.dedup();
        let half = Noise::new("noise.linear.map", vec![("ModDown rounding", vec![0.0, UNIT_ROUNDING])]);
        for giant in giants {
            let rounding = Slots { bounds: self.fresh(&half, &[], scale), ..a.clone() }.rotated(giant);
            sum = sum.plus(&rounding.bounds).plus(&vec![key_error(scale); n as usize]);
        }
        let labelled = sum.map(|z| z, |z, e| e + noise::scale_label(z, 1).total);
        self.rescale(&self.fitting(labelled.plus(&self.rounding(2, scale)))?, 2)
    }

    /// A polynomial of degree 1 or more by its plan (`r[circuit.polynomial]`), operation by operation.
    pub fn polynomial(&self, a: &Slots, basis: Basis, plan: &Plan) -> Option<Slots> {
        let mut powers = BTreeMap::from([(1, a.clone())]);
        for (&i, &(left, right)) in plan.powers() {
            let level = a.level + 1 - i.next_power_of_two().ilog2() as usize;
            let product = self.mul(&self.to_level(&powers[&left], level)?, &self.to_level(&powers[&right], level)?)?;
            let power = match basis {
                Basis::Monomial => self.rescale(&self.relinearise(&product)?, 2)?,
                Basis::Chebyshev => {
                    let mut sum = self.add(&product, &product, 1.0)?;
                    if left != right {
                        sum = self.add(&sum, &self.summand(&powers[&(left - right)], 1.0, level)?, -1.0)?;
                    }
                    let power = self.rescale(&self.relinearise(&sum)?, 2)?;
                    if left == right { self.add_scalar(&power, (-1.0).into())? } else { power }
                }
            };
            powers.insert(i, power);
        }
        self.sum(&powers, a.level, plan.sum()?)
    }

    fn sum(&self, powers: &BTreeMap<usize, Slots>, top: usize, sum: &Sum) -> Option<Slots> {
        let level = top - sum.depth;
        let product =
            |(h, factor): &(usize, Sum)| self.mul(&self.sum(powers, top, factor)?, &self.to_level(&powers[h], level)?);
        let products = sum.products.iter().map(product);
        let terms = sum.terms.iter().map(|(i, c)| self.summand(&powers[i], *c, level));
        let mut parts = products.chain(terms);
        let first = parts.next()??;
        let mut total = parts.try_fold(first, |total, part| self.add(&total, &part?, 1.0))?;
        if !sum.products.is_empty() {
            total = self.relinearise(&total)?;
        }
        self.add_scalar(&self.rescale(&total, 2)?, sum.constant.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use touchstone_spec::params::ParameterLiteral;

    #[test]
    fn polynomials_have_their_values_and_programs_that_overflow_are_none() {
        let params = Parameters::new(&ParameterLiteral::preset("toy-n5").unwrap()).unwrap();
        let key = SecretKey::generate(&params, &[4; 16]).unwrap();
        let program = Program::new(&params, &key, 1e-12, 1000).unwrap();
        let values: Vec<Complex64> = (0..params.slots()).map(|j| Complex64::new(0.05 * j as f64 - 0.4, 0.0)).collect();
        let top = params.max_level();
        let scale = params.canonical_scale(top).unwrap();
        let x = program.encrypt(&values, top, scale, &components::fresh_secret()).unwrap();
        let coefficients = [0.5, 0.0, -1.0, 0.25];
        for (basis, value) in [
            (Basis::Monomial, (|x: f64| 0.5 - x * x + 0.25 * x * x * x) as fn(f64) -> f64),
            (Basis::Chebyshev, |x| 0.5 - (2.0 * x * x - 1.0) + 0.25 * (4.0 * x * x * x - 3.0 * x)),
        ] {
            let plan = Plan::new(basis, &coefficients).unwrap();
            let y = program.polynomial(&x, basis, &plan).unwrap();
            assert_eq!((y.level, y.scale), (top - plan.depth(), params.canonical_scale(top - plan.depth()).unwrap()));
            for ((x, y), bound) in values.iter().zip(&y.values).zip(&y.bounds) {
                assert!(
                    (y.re - value(x.re)).abs() < 1e-14 && *bound > 2f64.powi(-38) && *bound < 2f64.powi(-28),
                    "{bound:e}"
                );
            }
        }
        let square = program.mul(&x, &x).unwrap();
        assert!(program.drop_level(&square, 0).is_none(), "2^80 does not fit into q_0");
    }
}
