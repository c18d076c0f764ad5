//! Bounds of circuit cases (`r[vector.bound.circuit]`): exact values that carry the worst error of their evaluation.
//!
//! A [`Tracked`] number is what a slot should hold and, by cause, how far it may be off after the operations that led to
//! it. Errors are moduli of complex numbers; they add as absolute values (`r[noise.worst-case]`). One batch entry is
//! one number: in the batched layout a slot never meets another slot.

use super::RADIUS_FACTOR;
use crate::bounds::noise;
use crate::ckks::Parameters;
use crate::error::ReferenceError;
use crate::interval::Interval;
use rug::float::Round;
use std::collections::BTreeMap;
use touchstone_spec::hexfloat::HexFloat;
use touchstone_spec::vector::{Bound, Expectation, Value};

/// Bits of interval ends.
pub const PREC: u32 = 160;
/// Failure probability of a suite run, over all values of all cases.
const FAILURE: f64 = 1.0 / (1u64 << 40) as f64;
/// Errors drawn in a suite run, rounded up: operations times slots.
const COMPARED: usize = 1 << 20;

/// Causes of error, in the order of [`Tracked::errors`].
const CAUSES: [&str; 4] = ["encryption", "rescaled operations", "constants", "approximation"];
const OPERATIONS: usize = 1;
const CONSTANTS: usize = 2;
const APPROXIMATION: usize = 3;

/// What single steps add to a slot at a preset, in modulus.
#[derive(Clone, Copy, Debug)]
pub struct Steps {
    /// A fresh secret-key encryption with its encoding.
    encryption: f64,
    /// A product of ciphertexts: relinearised and rescaled.
    product: f64,
    /// A product with a constant or plaintext: rescaled.
    scaled: f64,
    /// Rounding of a constant at its own scale.
    constant: f64,
}

impl Steps {
    /// The largest values over all levels of the preset.
    ///
    /// # Errors
    /// None for validated parameters.
    pub fn new(params: &Parameters) -> Result<Self, ReferenceError> {
        let d = std::f64::consts::SQRT_2 * noise::slot_tail_factor(FAILURE, COMPARED)?;
        let (n, h, top) = (params.n(), params.secret_weight(), params.max_level());
        let slot = |variance: f64, scale: f64| d * noise::slot_deviation(variance, n, scale);
        let mut steps = Self { encryption: 0.0, product: 0.0, scaled: 0.0, constant: 0.0 };
        let fresh = noise::add(noise::fresh_secret().total, noise::encode().total).total;
        let mut smallest = f64::INFINITY;
        for level in 0..=top {
            let scale = params.canonical_scale(level)?;
            smallest = smallest.min(scale);
            steps.encryption = steps.encryption.max(slot(fresh, scale));
            if level > 0 {
                let (q, below) = (params.q()[level], params.canonical_scale(level - 1)?);
                let switched = noise::keyswitch(params, level, h)?.total;
                steps.product = steps.product.max(slot(noise::rescale(switched, q, h).total, below));
                steps.scaled = steps.scaled.max(slot(noise::rescale(0.0, q, h).total, below));
            }
        }
        // A constant is given at the quotient of two canonical scales' product and one of them, within 2^-10 of their least.
        steps.constant = std::f64::consts::FRAC_1_SQRT_2 / (smallest * (1.0 - 2f64.powi(-10)));
        Ok(steps)
    }
}

/// An exact value and the errors of its encrypted counterpart.
#[derive(Clone, Debug)]
pub struct Tracked {
    /// The exact value.
    pub value: Interval,
    errors: [f64; 4],
}

/// Largest error of a public constant after at most eight binary64 roundings, for magnitudes below 1 as for 1: cosines may
/// vanish where the angle's error does not.
fn rounding(constant: &Interval) -> f64 {
    8.0 * f64::EPSILON * constant.magnitude().to_f64_round(Round::Up).max(1.0)
}

/// An exact real.
pub fn real(x: f64) -> Interval {
    Interval::from_f64(x, PREC)
}

impl Tracked {
    /// An encrypted number.
    pub fn encrypted(x: f64, steps: &Steps) -> Self {
        Self { value: real(x), errors: [steps.encryption, 0.0, 0.0, 0.0] }
    }

    /// The number 0, known to everybody.
    pub fn zero() -> Self {
        Self { value: real(0.0), errors: [0.0; 4] }
    }

    /// Total error.
    pub fn error(&self) -> f64 {
        self.errors.iter().sum()
    }

    fn magnitude(&self) -> f64 {
        self.value.magnitude().to_f64_round(Round::Up)
    }

    /// The same errors around another exact value, from which `approximation` separates the evaluated one.
    pub fn standing_for(&self, value: Interval, approximation: f64) -> Self {
        let mut errors = self.errors;
        errors[APPROXIMATION] += approximation;
        Self { value, errors }
    }

    fn combine(value: Interval, f: impl Fn(usize) -> f64) -> Self {
        Self { value, errors: std::array::from_fn(f) }
    }

    /// Sum (`r[noise.add]`, worst case).
    pub fn add(&self, other: &Self) -> Self {
        Self::combine(&self.value + &other.value, |i| self.errors[i] + other.errors[i])
    }

    /// Difference.
    pub fn sub(&self, other: &Self) -> Self {
        Self::combine(&self.value - &other.value, |i| self.errors[i] + other.errors[i])
    }

    /// Sum with a constant, rounded to the ciphertext's scale.
    pub fn add_constant(&self, constant: f64, steps: &Steps) -> Self {
        let mut sum = Self { value: &self.value + &real(constant), errors: self.errors };
        sum.errors[CONSTANTS] += steps.constant;
        sum
    }

    /// Product of ciphertexts, relinearised and rescaled, one factor brought to the other's level first (`r[noise.mul]`).
    pub fn mul(&self, other: &Self, steps: &Steps) -> Self {
        let (a, b) = (self.magnitude(), other.magnitude());
        let both = |i: usize| a * other.errors[i] + b * self.errors[i] + self.errors[i] * other.error();
        let mut product = Self::combine(&self.value * &other.value, both);
        let moved = a.max(b);
        product.errors[OPERATIONS] += steps.product + moved * steps.scaled;
        product.errors[CONSTANTS] += moved * moved.max(1.0) * steps.constant;
        product
    }

    /// Product with a constant, rescaled (`r[noise.scalar.mul]`).
    pub fn scale(&self, constant: f64, steps: &Steps) -> Self {
        let c = constant.abs();
        let mut product = Self::combine(&self.value * &real(constant), |i| c * self.errors[i]);
        product.errors[OPERATIONS] += steps.scaled;
        product.errors[CONSTANTS] += (self.magnitude() + self.error()) * steps.constant;
        product
    }

    /// The mean's share `x / count`, by a product with the rounded reciprocal.
    pub fn share(&self, count: usize, steps: &Steps) -> Self {
        let mut product = self.scale(1.0 / count as f64, steps);
        product.value = &self.value / &real(count as f64);
        product.errors[CONSTANTS] += f64::EPSILON * self.magnitude();
        product
    }

    /// Product with a public real that the evaluator rounds to binary64 (`r[rung.constants]`), rescaled.
    pub fn scale_by(&self, constant: &Interval, steps: &Steps) -> Self {
        let mut product = self.scale(constant.mid().to_f64(), steps);
        product.value = &self.value * constant;
        product.errors[CONSTANTS] += (self.magnitude() + self.error()) * rounding(constant);
        product
    }

    /// Sum with a public real that the evaluator rounds to binary64.
    pub fn plus(&self, constant: &Interval, steps: &Steps) -> Self {
        let mut sum = Self { value: &self.value + constant, errors: self.errors };
        sum.errors[CONSTANTS] += steps.constant + rounding(constant);
        sum
    }

    /// Sum of numbers of which one may have been brought to the other's level by a product with 1
    /// (`r[vector.bound.model]`).
    pub fn add_aligned(&self, other: &Self, steps: &Steps) -> Self {
        let mut sum = self.add(other);
        let moved = (self.magnitude() + self.error()).max(other.magnitude() + other.error());
        sum.errors[OPERATIONS] += steps.scaled;
        sum.errors[CONSTANTS] += moved * steps.constant;
        sum
    }

    /// The negative.
    pub fn neg(&self) -> Self {
        Self { value: -&self.value, errors: self.errors }
    }

    /// Whether every value within the error lies in `[low, high]`.
    pub fn within(&self, [low, high]: [f64; 2]) -> bool {
        let reach = self.value.widen(&rug::Float::with_val_round(PREC, self.error(), Round::Up).0);
        *reach.lo() >= low && *reach.hi() <= high
    }

    /// `bias + sum_i weights_i x_i`, rescaled once (`r[noise.scalar.mul]`, `r[noise.add]`).
    pub fn affine(bias: f64, weights: &[f64], x: &[Self], steps: &Steps) -> Self {
        let mut sum = Self { value: real(bias), errors: [0.0; 4] };
        for (weight, x) in weights.iter().zip(x) {
            sum.value = &sum.value + &(&x.value * &real(*weight));
            for i in 0..CAUSES.len() {
                sum.errors[i] += weight.abs() * x.errors[i];
            }
            sum.errors[CONSTANTS] += (x.magnitude() + x.error()) * steps.constant;
        }
        sum.errors[OPERATIONS] += steps.scaled;
        sum.errors[CONSTANTS] += steps.constant;
        sum
    }

    /// The even power `x^p`, `p` up to 12, by squarings and one product.
    pub fn power(&self, p: u32, steps: &Steps) -> Self {
        let square = self.mul(self, steps);
        match p {
            2 => square,
            _ if p.is_power_of_two() => square.power(p / 2, steps),
            _ => {
                let high = 1 << p.ilog2();
                self.power(high, steps).mul(&self.power(p - high, steps), steps)
            }
        }
    }

    /// A Chebyshev series on `[low, high]`: basis polynomials by `T_(a+b) = 2 T_a T_b - T_(a-b)`, then a weighted sum.
    pub fn chebyshev(&self, [low, high]: [f64; 2], coefficients: &[f64], steps: &Steps) -> Self {
        let half = 2.0 / (high - low);
        let argument = Self::affine(-(high + low) / (high - low), &[half], std::slice::from_ref(self), steps);
        let mut basis = vec![Self { value: real(1.0), errors: [0.0; 4] }, argument];
        for k in 2..coefficients.len() {
            let (a, b) = (k.div_ceil(2), k / 2);
            let product = basis[a].mul(&basis[b], steps);
            let double = product.add(&product);
            basis.push(double.sub(&basis[a - b].scale(1.0, steps)));
        }
        let constant = coefficients.first().copied().unwrap_or(0.0);
        let weights = coefficients.get(1..).unwrap_or(&[]);
        Self::affine(constant, weights, &basis[1..basis.len().min(coefficients.len()).max(1)], steps)
    }
}

/// A bound that is the sum of its terms.
pub fn bound(rule: &str, terms: &[(&str, f64)]) -> Bound {
    let total = terms.iter().map(|(_, value)| value).sum();
    let terms: BTreeMap<_, _> = terms.iter().map(|&(name, value)| (name.to_owned(), HexFloat(value))).collect();
    Bound { rule: rule.to_owned(), total: HexFloat(total), terms }
}

/// An expected array; refused unless every radius is far below the bound (`r[vector.radius]`).
///
/// # Errors
/// [`ReferenceError::BadOperand`] names the output.
pub fn expectation(name: &str, mid: &[f64], rad: &[f64], bound: Bound) -> Result<Expectation, ReferenceError> {
    check_radius(name, rad, &bound)?;
    Ok(Expectation { name: name.to_owned(), value: Value::certified(mid, rad), bound: Some(bound) })
}

/// Expected values of tracked numbers, `shape` as nested arrays, under the bound of the entry with the largest error.
///
/// # Errors
/// As [`expectation`].
pub fn tracked(name: &str, rows: &[Vec<Tracked>]) -> Result<Expectation, ReferenceError> {
    let worst = rows.iter().flatten().max_by(|a, b| a.error().total_cmp(&b.error()));
    let terms: Vec<_> = worst.iter().flat_map(|worst| CAUSES.into_iter().zip(worst.errors)).collect();
    let terms: Vec<_> = terms.into_iter().filter(|(_, value)| *value > 0.0).collect();
    let bound = bound("vector.bound.circuit", &terms);
    let (mut mids, mut rads) = (Vec::new(), Vec::new());
    for row in rows {
        let (mid, rad): (Vec<f64>, Vec<f64>) = row.iter().map(|x| split(&x.value)).unzip();
        check_radius(name, &rad, &bound)?;
        mids.push(Value::reals(&mid));
        rads.push(Value::reals(&rad));
    }
    let value = Value::Certified { mid: Box::new(Value::List(mids)), rad: Box::new(Value::List(rads)) };
    Ok(Expectation { name: name.to_owned(), value, bound: Some(bound) })
}

/// Binary64 midpoint and a radius that covers its rounding.
pub fn split(x: &Interval) -> (f64, f64) {
    let mid = x.mid().to_f64();
    let off = (x - &Interval::from_f64(mid, PREC)).magnitude();
    (mid, off.to_f64_round(Round::Up))
}

fn check_radius(name: &str, rad: &[f64], bound: &Bound) -> Result<(), ReferenceError> {
    let limit = bound.total.0 * RADIUS_FACTOR;
    match rad.iter().find(|&&rad| rad.is_nan() || rad > limit) {
        None => Ok(()),
        Some(rad) => Err(ReferenceError::BadOperand {
            operation: "vector value",
            expected: format!("{name}: a radius of at most {limit:e}"),
            got: format!("{rad:e}"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// r[vector.radius]
    #[test]
    fn a_wide_value_is_refused() {
        let limit = bound("vector.bound.circuit", &[("constants", 1.0)]);
        assert!(expectation("x", &[1.0], &[RADIUS_FACTOR], limit.clone()).is_ok());
        assert!(expectation("x", &[1.0], &[RADIUS_FACTOR * 1.01], limit.clone()).is_err());
        assert!(expectation("x", &[1.0], &[f64::NAN], limit).is_err());
    }

    #[test]
    fn tracked_values_are_those_of_the_functions() {
        let params = Parameters::new(&touchstone_spec::params::ParameterLiteral::preset("toy-n5").unwrap()).unwrap();
        let steps = Steps::new(&params).unwrap();
        let x = Tracked::encrypted(0.75, &steps);
        for p in [2, 4, 6, 8, 10, 12] {
            assert!(x.power(p, &steps).value.encloses(&Interval::from_f64(0.75f64, 400).powi(p)), "power {p}");
        }
        // T_3(u) = 4 u^3 - 3 u at u = (2 * 0.75 - 1 - 0) / 1 = 0.5 is -1.
        let series = x.chebyshev([0.0, 1.0], &[0.25, 0.0, 0.0, 2.0], &steps);
        assert!(series.value.contains(&rug::Float::with_val(PREC, -1.75)), "{}", series.value);
        assert!(series.error() > x.error());
    }
}
