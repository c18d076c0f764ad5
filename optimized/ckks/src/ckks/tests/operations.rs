//! Every operation against arithmetic on slots, within the bounds of `spec/book/noise.md`.

use super::*;

/// Largest modulus of the fixture's slots.
const LARGEST: f64 = std::f64::consts::SQRT_2;

/// The rules of `noise.md` for one parameter set. Bounds are on the modulus of a slot's error, for failure probability
/// `2^-40` over all slots.
struct Rules {
    n: f64,
    weight: f64,
    /// `D` of `r[noise.bound]`.
    deviations: f64,
    /// `sum_i alpha_i Q_i^2 / P^2`.
    digit_ratio: f64,
}

impl Rules {
    fn new(parameters: &Parameters, level: usize) -> Self {
        let log = |primes: &[u64]| primes.iter().map(|&p| (p as f64).log2()).sum::<f64>();
        let special = log(parameters.special());
        let ratio = |digit: &[u64]| digit.len() as f64 * 2f64.powf(2.0 * (log(digit) - special));
        Self {
            n: parameters.n() as f64,
            weight: parameters.secret_weight(),
            deviations: (2.0 * (2.0 * parameters.n() as f64 * 2f64.powi(40)).ln()).sqrt(),
            digit_ratio: parameters.chain()[..=level].chunks(parameters.digit_size()).map(ratio).sum(),
        }
    }

    /// From a coefficient variance to a bound on the modulus of a slot's error.
    fn slot(&self, variance: f64, scale: f64) -> f64 {
        std::f64::consts::SQRT_2 * self.deviations * (self.n * variance / 2.0).sqrt() / scale
    }

    /// `r[noise.encode]`.
    fn encode(&self) -> f64 {
        1.0 / 12.0
    }

    /// `r[noise.fresh.secret]` and the encoding.
    fn fresh(&self) -> f64 {
        3.2 * 3.2 + self.encode()
    }

    /// The rounding of ModDown and of rescaling.
    fn rounding(&self) -> f64 {
        (self.weight + 1.0) / 12.0
    }

    /// `r[noise.keyswitch]`.
    fn keyswitch(&self) -> f64 {
        3.2 * 3.2 * self.n / 12.0 * self.digit_ratio + self.rounding()
    }

    /// Rounding of one transform in binary64: `log2 n` stages, each of relative error below 6 units in the 2-norm,
    /// which bounds the largest slot.
    fn transform(&self, magnitude: f64) -> f64 {
        let slots = self.n / 2.0;
        6.0 * f64::EPSILON * slots.log2() * slots.sqrt() * magnitude
    }

    /// What every comparison of decoded slots carries: the encoder's and the decoder's transform.
    fn codec(&self, magnitude: f64) -> f64 {
        2.0 * self.transform(magnitude)
    }
}

fn for_presets(body: impl Fn(&Fixture, &Rules, usize)) {
    for preset in PRESETS {
        let fixture = Fixture::new(preset);
        let level = fixture.parameters().max_level();
        body(&fixture, &Rules::new(fixture.parameters(), level), level);
    }
}

fn map2(a: &[Complex64], b: &[Complex64], f: impl Fn(Complex64, Complex64) -> Complex64) -> Vec<Complex64> {
    a.iter().zip(b).map(|(&a, &b)| f(a, b)).collect()
}

#[test]
fn encoding_inverts_to_the_precision_of_the_transform() {
    for_presets(|fixture, rules, level| {
        let slots = fixture.slots(1);
        for log_scale in [30, 40, 50, 58] {
            let scale = 2f64.powi(log_scale);
            let plain = fixture.encoder.encode(&slots, level, scale).unwrap();
            let decoded = fixture.encoder.decode(&plain).unwrap();
            let error = slots.iter().zip(&decoded).map(|(a, b)| (a - b).norm()).fold(0.0, f64::max);
            let bound = rules.slot(rules.encode(), scale) + rules.codec(LARGEST);
            println!("scale 2^{log_scale}: error 2^{:.2}, bound 2^{:.2}", error.log2(), bound.log2());
            assert!(error <= bound, "scale 2^{log_scale}: {error:e} above {bound:e}");
        }
    });
}

#[test]
fn integer_coefficients_survive_exactly() {
    for_presets(|fixture, _, level| {
        let n = fixture.parameters().n() as i64;
        let coefficients: Vec<i64> = (0..n).map(|t| (t * t - 7 * n) * if t % 3 == 0 { 1 << 20 } else { -1 }).collect();
        for level in [0, 1, level] {
            let plain = fixture.encoder.encode_coeffs(&coefficients, level, 1.0).unwrap();
            let decoded = fixture.encoder.decode_coeffs(&plain).unwrap();
            assert!(decoded.iter().zip(&coefficients).all(|(&a, &b)| a == b as f64), "level {level}");
        }
    });
}

#[test]
fn fresh_encryptions_decrypt() {
    for_presets(|fixture, rules, top| {
        let slots = fixture.slots(2);
        let public = fixture.generator.public_key(&fixture.secret).unwrap();
        for level in [0, 1, top] {
            let scale = fixture.scale(level);
            let bound = rules.slot(rules.fresh(), scale) + rules.codec(LARGEST);
            fixture.check("secret", &fixture.encrypt(&slots, level, 3), &slots, bound);
            let plain = fixture.encoder.encode(&slots, level, scale).unwrap();
            let seed = Seed::insecure(SEED + 2);
            let cipher = encrypt_public(&fixture.context, &public, &plain, &seed, 0).unwrap();
            let bound = rules.slot(rules.encode() + rules.rounding(), scale) + rules.codec(LARGEST);
            fixture.check("public", &cipher, &slots, bound);
        }
    });
}

#[test]
fn linear_operations_match_slots() {
    for_presets(|fixture, rules, level| {
        let (x, y) = (fixture.slots(3), fixture.slots(4));
        let (a, b) = (fixture.encrypt(&x, level, 0), fixture.encrypt(&y, level, 1));
        let scale = fixture.scale(level);
        let evaluator = &fixture.evaluator;
        let two = rules.slot(2.0 * rules.fresh(), scale) + rules.codec(2.0 * LARGEST);
        fixture.check("add", &evaluator.add(&a, &b).unwrap(), &map2(&x, &y, |x, y| x + y), two);
        fixture.check("sub", &evaluator.sub(&a, &b).unwrap(), &map2(&x, &y, |x, y| x - y), two);
        fixture.check("neg", &evaluator.neg(&a).unwrap(), &map2(&x, &x, |x, _| -x), two);
        let plain = fixture.encoder.encode(&y, level, scale).unwrap();
        fixture.check("add_plain", &evaluator.add_plain(&a, &plain).unwrap(), &map2(&x, &y, |x, y| x + y), two);
        fixture.check("sub_plain", &evaluator.sub_plain(&a, &plain).unwrap(), &map2(&x, &y, |x, y| x - y), two);
        let c = Complex64::new(0.7, -1.3);
        // Half a unit in each of two coefficients moves a slot by less than one unit.
        let expected = map2(&x, &x, |x, _| x + c);
        fixture.check("add_const", &evaluator.add_const(&a, c).unwrap(), &expected, two + 1.0 / scale);
        let expected = map2(&x, &x, |x, _| x * Complex64::i());
        fixture.check("mul_i", &evaluator.mul_i(&a).unwrap(), &expected, two);
        let expected = map2(&x, &x, |x, _| -5.0 * x);
        fixture.check("mul_int", &evaluator.mul_int(&a, -5).unwrap(), &expected, 5.0 * two);
    });
}

#[test]
fn plaintext_and_constant_products_match_slots() {
    for_presets(|fixture, rules, level| {
        let (x, y) = (fixture.slots(5), fixture.slots(6));
        let a = fixture.encrypt(&x, level, 0);
        let scale = fixture.scale(level);
        let fresh = rules.slot(rules.fresh(), scale);
        let rescaled = rules.slot(rules.rounding(), fixture.scale(level - 1)) + rules.codec(2.0 * LARGEST);

        let plain = fixture.encoder.encode(&y, level, scale).unwrap();
        let product = fixture.evaluator.rescale(&fixture.evaluator.mul_plain(&a, &plain).unwrap()).unwrap();
        assert_eq!(product.scale(), fixture.scale(level - 1));
        let encoded = rules.slot(rules.encode(), scale);
        let bound = LARGEST * (fresh + encoded) + fresh * encoded + rescaled;
        fixture.check("mul_plain", &product, &map2(&x, &y, |x, y| x * y), bound);

        let mut sum = fixture.evaluator.mul_plain(&a, &plain).unwrap();
        fixture.evaluator.mul_plain_acc(&mut sum, &a, &plain).unwrap();
        let sum = fixture.evaluator.rescale(&sum).unwrap();
        fixture.check("mul_plain_acc", &sum, &map2(&x, &y, |x, y| 2.0 * x * y), 2.0 * bound);

        let c = Complex64::new(-0.3, 1.1);
        let product = fixture.evaluator.mul_const_to_level(&a, c, level - 1).unwrap();
        assert_eq!(product.scale(), fixture.scale(level - 1));
        // r[noise.scalar.mul]: half a unit of T / s in two coefficients.
        let bound = c.norm() * fresh + LARGEST / scale + rescaled;
        fixture.check("mul_const", &product, &map2(&x, &x, |x, _| c * x), bound);
    });
}

#[test]
fn products_match_slots() {
    for_presets(|fixture, rules, level| {
        let (x, y) = (fixture.slots(7), fixture.slots(8));
        let (a, b) = (fixture.encrypt(&x, level, 0), fixture.encrypt(&y, level, 1));
        let scale = fixture.scale(level);
        let fresh = rules.slot(rules.fresh(), scale);
        let switched = rules.slot(rules.keyswitch(), scale * scale);
        let rescaled = rules.slot(rules.rounding(), fixture.scale(level - 1));
        let product = 2.0 * LARGEST * fresh + fresh * fresh;
        let bound = product + switched + rescaled + rules.codec(2.0 * LARGEST);
        let xy = map2(&x, &y, |x, y| x * y);
        let evaluator = &fixture.evaluator;

        fixture.check("mul_lazy", &evaluator.mul_lazy(&a, &b).unwrap(), &xy, bound);
        fixture.check("mul", &evaluator.mul(&a, &b).unwrap(), &xy, bound);
        let rescaled = evaluator.mul_rescale(&a, &b).unwrap();
        assert_eq!((rescaled.level(), rescaled.scale()), (level - 1, fixture.scale(level - 1)));
        fixture.check("mul_rescale", &rescaled, &xy, bound);
        fixture.check("square", &evaluator.square(&a).unwrap(), &map2(&x, &x, |x, _| x * x), bound);

        let mut lazy = evaluator.mul_lazy(&a, &b).unwrap();
        evaluator.add_assign(&mut lazy, &evaluator.mul_lazy(&a, &a).unwrap()).unwrap();
        let sum = evaluator.relinearise_rescale(&lazy).unwrap();
        fixture.check("sum of lazy products", &sum, &map2(&x, &y, |x, y| x * y + x * x), 2.0 * bound);
        let difference = evaluator.sub(&evaluator.mul(&a, &a).unwrap(), &evaluator.mul_lazy(&a, &b).unwrap()).unwrap();
        assert_eq!(difference.degree(), 2);
        fixture.check("difference of degrees", &difference, &map2(&x, &y, |x, y| x * x - x * y), 2.0 * bound);
    });
}

#[test]
fn rotations_and_conjugation_match_slots() {
    for_presets(|fixture, rules, level| {
        let x = fixture.slots(9);
        let count = x.len();
        let a = fixture.encrypt(&x, level, 0);
        let bound = rules.slot(rules.fresh() + rules.keyswitch(), fixture.scale(level)) + rules.codec(2.0 * LARGEST);
        for steps in STEPS {
            let source = |j: usize| (j as i64 + steps).rem_euclid(count as i64) as usize;
            let expected: Vec<_> = (0..count).map(|j| x[source(j)]).collect();
            fixture.check(&format!("rotate {steps}"), &fixture.evaluator.rotate(&a, steps).unwrap(), &expected, bound);
        }
        let expected: Vec<_> = x.iter().map(Complex64::conj).collect();
        fixture.check("conjugate", &fixture.evaluator.conjugate(&a).unwrap(), &expected, bound);
    });
}

#[test]
fn squaring_to_the_lowest_level_stays_within_the_propagated_bound() {
    for_presets(|fixture, _, top| {
        // Modulus one: powers neither vanish nor grow.
        let mut x: Vec<_> = fixture.slots(10).iter().map(|z| z / z.norm()).collect();
        let mut a = fixture.encrypt(&x, top, 0);
        let rules = Rules::new(fixture.parameters(), top);
        let mut bound = rules.slot(rules.fresh(), fixture.scale(top)) + rules.codec(1.0);
        for level in (1..=top).rev() {
            let rules = Rules::new(fixture.parameters(), level);
            a = fixture.evaluator.mul_rescale(&a, &a).unwrap();
            x = map2(&x, &x, |x, _| x * x);
            let switched = rules.slot(rules.keyswitch(), fixture.scale(level).powi(2));
            let rescaled = rules.slot(rules.rounding(), fixture.scale(level - 1));
            // The expected values, too, are rounded: a product of complex numbers by at most 4 units.
            bound = 2.0 * bound + bound * bound + switched + rescaled + 4.0 * f64::EPSILON;
            assert_eq!(a.scale(), fixture.scale(level - 1));
            fixture.check(&format!("level {}", level - 1), &a, &x, bound + rules.codec(1.0));
        }
    });
}

#[test]
fn lower_levels_are_reached_with_canonical_scales() {
    for_presets(|fixture, rules, top| {
        let x = fixture.slots(11);
        let a = fixture.encrypt(&x, top, 0);
        for level in 0..=top {
            let lowered = fixture.evaluator.to_level(&a, level).unwrap();
            assert_eq!((lowered.level(), lowered.scale()), (level, fixture.scale(level)));
            let fresh = rules.slot(rules.fresh(), fixture.scale(top));
            let rounding = rules.slot(rules.rounding(), fixture.scale(level));
            // r[noise.scalar.mul]: the constant is rounded at scale T / s, about the canonical one.
            let constant = 2.0 * LARGEST / fixture.scale(level);
            let bound = 2.0 * fresh + rounding + constant + rules.codec(LARGEST);
            fixture.check(&format!("to level {level}"), &lowered, &x, bound);
        }
        let dropped = fixture.evaluator.drop_level(&a, 1).unwrap();
        assert_eq!(dropped.scale(), a.scale());
        fixture.check("drop", &dropped, &x, rules.slot(rules.fresh(), a.scale()) + rules.codec(LARGEST));
    });
}
