//! The noise rules of `spec/book/noise.md` for a secret of which the Hamming weight `h` is known, and rules on slots.
//!
//! Two kinds of quantity occur. A *variance* is that of one coefficient of the error polynomial before division by
//! the scale; variances of independent causes add. [`super::components`] has the same rules by power of the secret, which
//! products need. A *slot error* is in the unit of the message; [`slot_bound`] turns the first into the second. The caller
//! says which `h` applies: [`Parameters::secret_weight`] for a prediction before the key is drawn, the weight of the key
//! itself afterwards.

use super::Bound;
use super::components::{self, Noise};
use super::secret::SecretNorms;
use crate::ckks::Parameters;
use crate::error::ReferenceError;

/// Standard deviation of an error coefficient.
pub const SIGMA: f64 = 3.2;

/// `D = sqrt(2 ln(2 n / f))`: how many standard deviations bound `count` Gaussian numbers at failure probability
/// `failure` (`r[noise.bound]`).
///
/// # Errors
/// [`ReferenceError::BadOperand`] unless `0 < failure < 1` and `count >= 1`.
pub fn tail_factor(failure: f64, count: usize) -> Result<f64, ReferenceError> {
    if failure > 0.0 && failure < 1.0 && count > 0 {
        return Ok((2.0 * (2.0 * count as f64 / failure).ln()).sqrt());
    }
    Err(ReferenceError::BadOperand {
        operation: "tail factor",
        expected: "a failure probability in (0, 1) and at least one number".to_owned(),
        got: format!("{failure:e} and {count}"),
    })
}

/// `D = ln(n / f) / sqrt 2`: the same for real or imaginary parts of slots, whose errors follow a Laplace law
/// (`r[noise.bound.slot]`).
///
/// # Errors
/// As [`tail_factor`].
pub fn slot_tail_factor(failure: f64, count: usize) -> Result<f64, ReferenceError> {
    tail_factor(failure, count).map(|_| (count as f64 / failure).ln() / std::f64::consts::SQRT_2)
}

/// Standard deviation of the real or imaginary part of a slot's error, `sqrt(N V / 2) / scale`.
#[must_use]
pub fn slot_deviation(variance: f64, n: usize, scale: f64) -> f64 {
    (n as f64 * variance / 2.0).sqrt() / scale
}

/// Bound on the real or imaginary part of a slot's error, `D` standard deviations (`r[noise.bound]`).
///
/// `d` is from [`tail_factor`]. The terms are those of `variance`, each converted alone: they combine by root sum
/// square.
#[must_use]
pub fn slot_bound(variance: &Bound, n: usize, scale: f64, d: f64) -> Bound {
    let convert = |term: &super::Term| (term.name, d * slot_deviation(term.value, n, scale));
    let terms: Vec<_> = variance.terms.iter().map(convert).collect();
    Bound::root_sum_square("noise.bound", &terms)
}

/// Variance of encoding: the rounding of each coefficient (`r[noise.encode]`).
#[must_use]
pub fn encode() -> Bound {
    of_weight(&components::encode(), 0.0)
}

/// Variance of secret-key encryption, `sigma^2` (`r[noise.fresh.secret]`).
#[must_use]
pub fn fresh_secret() -> Bound {
    of_weight(&components::fresh_secret(), 0.0)
}

/// Variance of public-key encryption (`r[noise.fresh.public]`); the weight of `v` is its mean, `2N/3`.
#[must_use]
pub fn fresh_public(params: &Parameters, h: f64) -> Bound {
    of_weight(&components::fresh_public(params), h)
}

/// Variance of a sum or difference of independent errors (`r[noise.add]`).
#[must_use]
pub fn add(first: f64, second: f64) -> Bound {
    Bound::sum("noise.add", &[("first operand", first), ("second operand", second)])
}

/// Variance after rescaling an error of `variance` by `q` (`r[noise.rescale]`).
#[must_use]
pub fn rescale(variance: f64, q: u64, h: f64) -> Bound {
    of_weight(&components::rescale(&Noise::new("noise.rescale", vec![("input", vec![variance])]), q, 2), h)
}

/// Variance that a key switch at `level` adds: relinearisation, rotation, conjugation (`r[noise.keyswitch]`).
///
/// # Errors
/// Level errors of [`Parameters::chain`].
pub fn keyswitch(params: &Parameters, level: usize, h: f64) -> Result<Bound, ReferenceError> {
    Ok(of_weight(&components::keyswitch(params, level)?, h))
}

/// Variance of an error without powers of the secret above the first.
fn of_weight(noise: &Noise, h: f64) -> Bound {
    noise.variance(&SecretNorms::of_weight(h))
}

/// How much a bound of `d` standard deviations grows where the error is a product of two random polynomials
/// (`r[noise.bound.product]`): `sqrt(1 + 2 sqrt(y / terms) + 2 y / terms)`, `y = d^2 / 2`.
#[must_use]
pub fn product_factor(d: f64, terms: f64) -> f64 {
    let y = d * d / 2.0 / terms;
    (1.0 + 2.0 * y.sqrt() + 2.0 * y).sqrt()
}

/// Slot error of a plaintext product: `e m + z r` (`r[noise.mul.plain]`).
///
/// All arguments bound moduli: `e` the ciphertext's error, `m` the plaintext's slot, `z` the message, `r` the encoding
/// error of the plaintext.
#[must_use]
pub fn mul_plain(e: f64, m: f64, z: f64, r: f64) -> Bound {
    Bound::sum("noise.mul.plain", &[("ciphertext error", e * m), ("plaintext encoding", z * r)])
}

/// Slot error of a product: `z_1 e_2 + z_2 e_1 + e_1 e_2` (`r[noise.mul]`). All arguments bound moduli.
#[must_use]
pub fn mul(z1: f64, e1: f64, z2: f64, e2: f64) -> Bound {
    let terms = [("second error", z1 * e2), ("first error", z2 * e1), ("both errors", e1 * e2)];
    Bound::sum("noise.mul", &terms)
}

/// Slot error of a product with the constant `c` from scale `scale` to scale `target`: `e c + z r`
/// (`r[noise.scalar.mul]`).
///
/// `e` and `z` bound the moduli of the error and of the message. `r` is half a unit of `target / scale` on each part,
/// so `sqrt(1/2)` units in modulus; computing the constant in binary64 adds two roundings on each part.
#[must_use]
pub fn scalar_mul(e: f64, c: f64, z: f64, scale: f64, target: f64) -> Bound {
    let rounding = std::f64::consts::FRAC_1_SQRT_2 * scale / target;
    let terms = [
        ("ciphertext error", e * (c + rounding)),
        ("constant rounding", z * rounding),
        ("binary64", z * c * f64::EPSILON),
    ];
    Bound::sum("noise.scalar.mul", &terms)
}

/// Slot error from `operations` products and rescales of which each rounds the scale label, on slots of modulus up to
/// `z` (`r[noise.scale-label]`).
#[must_use]
pub fn scale_label(z: f64, operations: usize) -> Bound {
    Bound::sum("noise.scale-label", &[("label rounding", z * operations as f64 * f64::EPSILON)])
}

/// Slot error of a polynomial on `x + e`: `e max |p'|` over the interval, plus the evaluation's own error
/// (`r[noise.polynomial]`).
#[must_use]
pub fn polynomial(e: f64, max_derivative: f64, evaluation: f64) -> Bound {
    Bound::sum("noise.polynomial", &[("input error", e * max_derivative), ("evaluation", evaluation)])
}

/// Propagation that adds absolute values: a guarantee (`r[noise.worst-case]`).
#[must_use]
pub fn worst_case(contributions: &[(&'static str, f64)]) -> Bound {
    let magnitudes: Vec<_> = contributions.iter().map(|&(name, value)| (name, value.abs())).collect();
    Bound::sum("noise.worst-case", &magnitudes)
}

/// Propagation that adds variances: an estimate, not a bound (`r[noise.rss]`).
#[must_use]
pub fn rss(contributions: &[(&'static str, f64)]) -> Bound {
    Bound::root_sum_square("noise.rss", contributions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use touchstone_spec::params::ParameterLiteral;

    #[test]
    fn tail_factor_bounds_the_gaussian_tail() {
        // 2 Pr(X > D) <= 2 exp(-D^2/2) = f / n.
        for (failure, count) in [(1e-9, 1), (1e-6, 4096), (0.5, 3)] {
            let d = tail_factor(failure, count).unwrap();
            let union = 2.0 * count as f64 * (-d * d / 2.0).exp();
            assert!((union / failure - 1.0).abs() < 1e-12);
        }
        for (failure, count) in [(0.0, 1), (1.0, 1), (f64::NAN, 1), (0.1, 0)] {
            assert!(tail_factor(failure, count).is_err());
        }
    }

    #[test]
    fn every_bound_cites_a_rule_of_the_book() {
        let params = Parameters::new(&ParameterLiteral::preset("toy-n5").unwrap()).unwrap();
        let bounds = [
            encode(),
            fresh_secret(),
            fresh_public(&params, 20.0),
            add(1.0, 2.0),
            rescale(1.0, 97, 20.0),
            keyswitch(&params, 5, 20.0).unwrap(),
            slot_bound(&encode(), 32, 1.0, 6.0),
            mul_plain(1.0, 1.0, 1.0, 1.0),
            mul(1.0, 1.0, 1.0, 1.0),
            scalar_mul(1.0, 1.0, 1.0, 1.0, 1.0),
            scale_label(1.0, 1),
            polynomial(1.0, 1.0, 1.0),
            worst_case(&[("a", -1.0), ("b", 2.0)]),
            rss(&[("a", 3.0), ("b", 4.0)]),
        ];
        for bound in &bounds {
            assert!(touchstone_spec::rules::find(bound.rule).is_some(), "{}", bound.rule);
            assert!(bound.total > 0.0 && !bound.terms.is_empty(), "{}", bound.rule);
        }
        assert_eq!(bounds[12].total, 3.0);
        assert_eq!(bounds[13].total, 5.0);
    }

    #[test]
    fn slot_bound_converts_the_total_variance() {
        let variance = add(3.0, 5.0);
        let bound = slot_bound(&variance, 64, 16.0, 6.0);
        assert!((bound.total - 6.0 * slot_deviation(8.0, 64, 16.0)).abs() < 1e-14);
    }

    #[test]
    fn keyswitch_needs_an_existing_level() {
        let params = Parameters::new(&ParameterLiteral::preset("toy-n5").unwrap()).unwrap();
        assert!(keyswitch(&params, 6, 20.0).is_err());
    }
}
