//! Errors by power of the secret (`r[noise.components]`): `e_0 + e_1 s + e_2 s^2`, each `e_k` with a variance of its own.
//!
//! A rounding of both polynomials of a ciphertext is `r_0 + r_1 s`. Kept apart, the parts of a product come out right: two
//! factors that carry `r_1 s` each make an `s^2`, whose square is twice the square of `h` and not the square of `h`.

use super::Bound;
use super::noise::SIGMA;
use super::secret::SecretNorms;
use crate::ckks::Parameters;
use crate::error::ReferenceError;
use crate::ring::product;
use rug::Float;

/// Variance of a rounding that is uniform in one unit.
pub(super) const UNIT_ROUNDING: f64 = 1.0 / 12.0;

/// Variances of the error polynomials `e_k` in `sum_k e_k s^k`, by cause; errors of different causes and powers are
/// uncorrelated.
///
/// A variance is that of a coefficient, or the mean over coefficients where a rule says so; it refers to integers, before
/// division by the scale.
#[derive(Clone, Debug, PartialEq)]
pub struct Noise {
    rule: &'static str,
    causes: Vec<(&'static str, Vec<f64>)>,
}

impl Noise {
    /// Noise of a rule: per cause the variances of `e_0, e_1, ...`.
    #[must_use]
    pub fn new(rule: &'static str, causes: Vec<(&'static str, Vec<f64>)>) -> Self {
        Self { rule, causes }
    }

    /// Id of the rule of the last operation.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        self.rule
    }

    /// Variances of `e_0, e_1, ...` over all causes.
    #[must_use]
    pub fn components(&self) -> Vec<f64> {
        let longest = self.causes.iter().map(|(_, powers)| powers.len()).max().unwrap_or(0);
        let mut sums = vec![0.0; longest];
        for (_, powers) in &self.causes {
            sums.iter_mut().zip(powers).for_each(|(sum, v)| *sum += v);
        }
        sums
    }

    /// Variance of a coefficient of the whole error under a secret of the given norms, one term per cause
    /// (`r[noise.components]`).
    #[must_use]
    pub fn variance(&self, secret: &SecretNorms) -> Bound {
        let terms: Vec<_> = self.causes.iter().map(|(name, powers)| (*name, secret.weigh(powers))).collect();
        Bound::sum(self.rule, &terms)
    }

    /// Variance of the real (or imaginary) part of each slot's error before division by the scale, under the key at hand:
    /// `N/2 sum_k V_k |s(zeta_j)|^(2k)` (`r[noise.bound.slot]`).
    ///
    /// `squares` are `|s(zeta_j)|^2`, [`SecretNorms::slots`]. Valid for errors with white coefficients.
    #[must_use]
    pub fn slot_variances(&self, squares: &[f64]) -> Vec<f64> {
        let components = self.components();
        let one = |x: &f64| components.iter().rev().fold(0.0, |sum, v| sum * x + v);
        // A vector of N/2 slots belongs to N coefficients.
        squares.iter().map(|x| squares.len() as f64 * one(x)).collect()
    }

    /// The part of the given causes.
    #[must_use]
    pub fn only(&self, causes: &[&str]) -> Self {
        let kept = self.causes.iter().filter(|(name, _)| causes.contains(name)).cloned();
        Self { rule: self.rule, causes: kept.collect() }
    }

    fn scaled(&self, factor: f64) -> Vec<f64> {
        self.components().iter().map(|v| v * factor).collect()
    }
}

/// Coefficients of the product of polynomials with the given coefficients.
fn convolve(a: &[f64], b: &[f64]) -> Vec<f64> {
    let mut out = vec![0.0; (a.len() + b.len()).saturating_sub(1)];
    for (i, x) in a.iter().enumerate() {
        for (j, y) in b.iter().enumerate() {
            out[i + j] += x * y;
        }
    }
    out
}

/// Rounding of each coefficient in encoding (`r[noise.encode]`).
#[must_use]
pub fn encode() -> Noise {
    Noise::new("noise.encode", vec![("rounding", vec![UNIT_ROUNDING])])
}

/// Secret-key encryption, without the error of encoding (`r[noise.fresh.secret]`).
#[must_use]
pub fn fresh_secret() -> Noise {
    Noise::new("noise.fresh.secret", vec![("fresh error", vec![SIGMA * SIGMA])])
}

/// Public-key encryption before the division by `p_0` (`r[noise.fresh.public-product]`).
#[must_use]
pub fn public_product(params: &Parameters) -> Noise {
    let v = 2.0 * params.n() as f64 / 3.0;
    let causes = vec![("key product", vec![SIGMA * SIGMA * v]), ("fresh errors", vec![SIGMA * SIGMA; 2])];
    Noise::new("noise.fresh.public-product", causes)
}

/// Public-key encryption, without the error of encoding (`r[noise.fresh.public]`).
#[must_use]
pub fn fresh_public(params: &Parameters) -> Noise {
    Noise { rule: "noise.fresh.public", ..divided(&public_product(params), params.p()[0] as f64) }
}

/// Division of both polynomials by `P` (`r[noise.moddown]`).
#[must_use]
pub fn mod_down(input: &Noise, params: &Parameters) -> Noise {
    divided(input, params.special_modulus().to_f64())
}

/// Division of both polynomials by `p`, with its rounding.
fn divided(input: &Noise, p: f64) -> Noise {
    let causes = vec![("input", input.scaled(1.0 / (p * p))), ("rounding", vec![UNIT_ROUNDING; 2])];
    Noise::new("noise.moddown", causes)
}

/// Division of `polys` polynomials (3 for a product that is not relinearised) by the prime `q` (`r[noise.rescale]`).
#[must_use]
pub fn rescale(input: &Noise, q: u64, polys: usize) -> Noise {
    let q = q as f64;
    let causes = vec![("input", input.scaled(1.0 / (q * q))), ("rounding", vec![UNIT_ROUNDING; polys])];
    Noise::new("noise.rescale", causes)
}

/// Sum or difference of ciphertexts with uncorrelated errors (`r[noise.add]`).
#[must_use]
pub fn add(first: &Noise, second: &Noise) -> Noise {
    let causes = vec![("first operand", first.components()), ("second operand", second.components())];
    Noise::new("noise.add", causes)
}

/// Sum with an encoded plaintext (`r[noise.add.plain]`).
#[must_use]
pub fn add_plain(input: &Noise) -> Noise {
    let causes = vec![("ciphertext error", input.components()), ("plaintext encoding", encode().components())];
    Noise::new("noise.add.plain", causes)
}

/// Product with a plaintext (`r[noise.mul.plain]`): `e m + z r`.
///
/// `plain` and `message` are the sums of squared coefficients of the encoded plaintext and of the message polynomial.
#[must_use]
pub fn mul_plain(input: &Noise, plain: f64, message: f64) -> Noise {
    let encoding = encode().scaled(message);
    Noise::new("noise.mul.plain", vec![("ciphertext error", input.scaled(plain)), ("plaintext encoding", encoding)])
}

/// Sum with a complex constant in a ring of degree `n` (`r[noise.scalar.add]`): two rounded coefficients.
#[must_use]
pub fn scalar_add(input: &Noise, n: usize) -> Noise {
    let rounding = vec![2.0 * UNIT_ROUNDING / n as f64];
    Noise::new("noise.scalar.add", vec![("ciphertext error", input.components()), ("constant rounding", rounding)])
}

/// Product with a complex constant (`r[noise.scalar.mul]`): `e k + z r`.
///
/// `constant` is `|c|^2 (T / s)^2`, the squared modulus of the constant at its own scale; `message` the sum of squared
/// coefficients of the message polynomial; `n` the ring degree.
#[must_use]
pub fn scalar_mul(input: &Noise, constant: f64, message: f64, n: usize) -> Noise {
    let rounding = 2.0 * UNIT_ROUNDING;
    let causes = vec![
        ("ciphertext error", input.scaled(constant + rounding)),
        ("constant rounding", vec![message / n as f64 * rounding]),
    ];
    Noise::new("noise.scalar.mul", causes)
}

/// Product of two ciphertexts as a triple (`r[noise.mul]`, `r[noise.mul.components]`).
///
/// `first_message` and `second_message` are sums of squared coefficients of the message polynomials, `n` the ring degree.
#[must_use]
pub fn mul(first: &Noise, first_message: f64, second: &Noise, second_message: f64, n: usize) -> Noise {
    let both = convolve(&first.components(), &second.components());
    let causes = vec![
        ("second error", second.scaled(first_message)),
        ("first error", first.scaled(second_message)),
        ("both errors", both.iter().map(|v| n as f64 * v).collect()),
    ];
    Noise::new("noise.mul", causes)
}

/// Square of a ciphertext as a triple (`r[noise.square]`): `2 z e + e^2`.
#[must_use]
pub fn square(input: &Noise, message: f64, n: usize) -> Noise {
    let components = input.components();
    let both = convolve(&components, &components).iter().map(|v| 2.0 * n as f64 * v).collect();
    Noise::new("noise.square", vec![("error", input.scaled(4.0 * message)), ("error squared", both)])
}

/// What a key switch at `level` adds, before the division by `P` (`r[noise.keyswitch]`): products of digits and key errors.
///
/// # Errors
/// Level errors of [`Parameters::chain`].
pub fn raised_keyswitch(params: &Parameters, level: usize) -> Result<Noise, ReferenceError> {
    let chain = params.chain(level)?;
    let digit = |digit: std::ops::Range<usize>| {
        let whole = Float::with_val(64, product(&chain[digit.clone()])).to_f64();
        digit.len() as f64 * whole * whole
    };
    let digits: f64 = params.digits(level).into_iter().map(digit).sum();
    let key = SIGMA * SIGMA * params.n() as f64 * UNIT_ROUNDING * digits;
    Ok(Noise::new("noise.keyswitch", vec![("key errors", vec![key])]))
}

/// What a key switch at `level` adds (`r[noise.keyswitch]`): relinearisation, rotation, conjugation.
///
/// # Errors
/// Level errors of [`Parameters::chain`].
pub fn keyswitch(params: &Parameters, level: usize) -> Result<Noise, ReferenceError> {
    let divided = mod_down(&raised_keyswitch(params, level)?, params);
    let names = ["key errors", "ModDown rounding"];
    let causes = names.into_iter().zip(divided.causes).map(|(name, (_, powers))| (name, powers)).collect();
    Ok(Noise::new("noise.keyswitch", causes))
}

/// A ciphertext after relinearisation, rotation or conjugation at `level` (`r[noise.galois]`).
///
/// # Errors
/// Level errors of [`Parameters::chain`].
pub fn switched(input: &Noise, params: &Parameters, level: usize) -> Result<Noise, ReferenceError> {
    let key = keyswitch(params, level)?.components();
    Ok(Noise::new("noise.galois", vec![("ciphertext error", input.components()), ("key switch", key)]))
}

/// Dropping limbs changes no error (`r[noise.level-drop]`).
#[must_use]
pub fn level_drop(input: &Noise) -> Noise {
    Noise::new("noise.level-drop", vec![("ciphertext error", input.components())])
}

/// The integer polynomial `I` of raising the modulus from `q_0`, in units of `q_0` (`r[noise.modraise]`).
#[must_use]
pub fn mod_raise() -> Noise {
    Noise::new("noise.modraise", vec![("lifted halves", vec![UNIT_ROUNDING; 2])])
}

/// Sum of `count` neighbours by rotations and additions, mean over coefficients (`r[noise.inner-sum]`).
///
/// # Errors
/// Level errors of [`Parameters::chain`].
pub fn inner_sum(input: &Noise, params: &Parameters, level: usize, count: usize) -> Result<Noise, ReferenceError> {
    let key = keyswitch(params, level)?.scaled(count.saturating_sub(1) as f64);
    let causes = vec![("ciphertext error", input.scaled(count as f64)), ("key switches", key)];
    Ok(Noise::new("noise.inner-sum", causes))
}

/// One step of a linear map: which rotations it needs and how large its plaintext is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MapStep {
    /// Baby step; 0 needs no key switch.
    pub baby: usize,
    /// Giant step; 0 needs no key switch.
    pub giant: i64,
    /// Sum of squared coefficients of the encoded diagonal.
    pub plain: f64,
}

/// A linear map with double hoisting, before its rescale, mean over coefficients (`r[noise.linear.map]`).
///
/// `message` is the sum of squared coefficients of the message polynomial.
///
/// # Errors
/// Level errors of [`Parameters::chain`].
pub fn linear_map(
    input: &Noise,
    params: &Parameters,
    level: usize,
    steps: &[MapStep],
    message: f64,
) -> Result<Noise, ReferenceError> {
    let p = params.special_modulus().to_f64();
    let raised = raised_keyswitch(params, level)?.scaled(1.0 / (p * p));
    let sum = |steps: &mut dyn Iterator<Item = &MapStep>| steps.map(|step| step.plain).sum::<f64>();
    let giants: std::collections::BTreeSet<i64> = steps.iter().map(|step| step.giant).filter(|g| *g != 0).collect();
    let giants = giants.len() as f64;
    let babies = sum(&mut steps.iter().filter(|step| step.baby != 0));
    let times = |powers: &[f64], factor: f64| powers.iter().map(|v| v * factor).collect::<Vec<f64>>();
    let causes = vec![
        ("ciphertext error", input.scaled(sum(&mut steps.iter()))),
        ("plaintext encoding", encode().scaled(message * steps.len() as f64)),
        ("baby key errors", times(&raised, babies)),
        ("giant key errors", times(&raised, giants)),
        ("giant ModDown rounding", vec![0.0, giants * UNIT_ROUNDING]),
        ("ModDown rounding", vec![UNIT_ROUNDING; 2]),
    ];
    Ok(Noise::new("noise.linear.map", causes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use touchstone_spec::params::ParameterLiteral;

    fn parameters() -> Parameters {
        Parameters::new(&ParameterLiteral::preset("toy-n5").unwrap()).unwrap()
    }

    fn noise(components: &[f64]) -> Noise {
        Noise::new("noise.components", vec![("input", components.to_vec())])
    }

    /// What every rule makes of an input.
    fn all(input: &Noise) -> Vec<Noise> {
        let params = parameters();
        let steps = [MapStep { baby: 0, giant: 4, plain: 7.0 }, MapStep { baby: 1, giant: 0, plain: 5.0 }];
        vec![
            encode(),
            fresh_secret(),
            public_product(&params),
            fresh_public(&params),
            mod_down(input, &params),
            rescale(input, 97, 3),
            add(input, &fresh_secret()),
            add_plain(input),
            mul_plain(input, 9.0, 4.0),
            scalar_add(input, 32),
            scalar_mul(input, 9.0, 4.0, 32),
            mul(input, 3.0, &fresh_public(&params), 5.0, 32),
            square(input, 3.0, 32),
            keyswitch(&params, 4).unwrap(),
            switched(input, &params, 4).unwrap(),
            level_drop(input),
            mod_raise(),
            inner_sum(input, &params, 4, 8).unwrap(),
            linear_map(input, &params, 4, &steps, 11.0).unwrap(),
        ]
    }

    proptest! {
        #[test]
        fn totals_are_sums_of_terms_and_grow_with_the_input(v in proptest::collection::vec(0.0f64..1e6, 3), more in 0.0f64..1e6) {
            let secret = SecretNorms::expected(&parameters());
            let larger: Vec<f64> = v.iter().map(|x| x + more).collect();
            for (small, large) in all(&noise(&v)).iter().zip(all(&noise(&larger))) {
                let (a, b) = (small.variance(&secret), large.variance(&secret));
                let sum: f64 = a.terms.iter().map(|term| term.value).sum();
                prop_assert!((a.total - sum).abs() <= 1e-12 * sum, "{}", a.rule);
                prop_assert!((a.total - secret.weigh(&small.components())).abs() <= 1e-12 * sum, "{}", a.rule);
                prop_assert!(a.total <= b.total * (1.0 + 1e-12), "{}", a.rule);
                prop_assert!(touchstone_spec::rules::find(a.rule).is_some(), "{}", a.rule);
            }
        }

        #[test]
        fn products_are_symmetric(a in proptest::collection::vec(0.0f64..1e3, 2), b in proptest::collection::vec(0.0f64..1e3, 3)) {
            let [x, y] = [mul(&noise(&a), 3.0, &noise(&b), 5.0, 32), mul(&noise(&b), 5.0, &noise(&a), 3.0, 32)];
            for (x, y) in x.components().iter().zip(y.components()) {
                prop_assert!((x - y).abs() <= 1e-12 * x.abs());
            }
        }
    }

    #[test]
    fn slots_of_a_key_have_the_coefficients_variance_on_average() {
        let params = parameters();
        let secret = crate::ckks::SecretKey::generate(&params, &[2; 16]).unwrap();
        let norms = SecretNorms::of(&secret, &super::super::secret::Embedding::new(params.n()));
        let error = noise(&[2.0, 0.5, 0.1]);
        let slots = error.slot_variances(norms.slots());
        let mean = slots.iter().sum::<f64>() / slots.len() as f64;
        let expected = params.n() as f64 / 2.0 * error.variance(&norms).total;
        assert!((mean / expected - 1.0).abs() < 1e-12);
    }
}
