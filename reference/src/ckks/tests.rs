//! Laws, noise and refusals of whole operations, on toy rings.

use super::*;
use crate::bounds::{Bound, noise};
use crate::error::ReferenceError;
use crate::ring::{Poly, centred};
use crate::sample::{Seed, StreamId, uniform_poly};
use num_complex::Complex64;
use proptest::prelude::*;
use rug::{Integer, Rational};
use touchstone_spec::params::{ParameterLiteral, SecretDistribution};

/// Failure probability that every statistical assertion here is allowed.
const FAILURE: f64 = 1e-9;

/// Everything that one seed gives.
struct Setup {
    params: Parameters,
    seed: Seed,
    secret: SecretKey,
    encoder: Encoder,
}

impl Setup {
    fn new(preset: &str, seed: u64) -> Self {
        Self::of(Parameters::new(&ParameterLiteral::preset(preset).unwrap()).unwrap(), seed)
    }

    fn of(params: Parameters, seed: u64) -> Self {
        let seed = u128::from(seed).to_le_bytes();
        let secret = SecretKey::generate(&params, &seed).unwrap();
        let encoder = Encoder::new(&params);
        Self { params, seed, secret, encoder }
    }

    /// Slots in the unit square, from the seed.
    fn slots(&self, index: u32) -> Vec<Complex64> {
        let mut stream = crate::sample::Stream::new(&self.seed, StreamId::new(1000, index));
        let mut part = || (stream.next_u64() >> 11) as f64 * f64::EPSILON - 1.0;
        (0..self.params.slots()).map(|_| Complex64::new(part(), part())).collect()
    }

    fn plaintext(&self, slots: &[Complex64], level: usize) -> Plaintext {
        let scale = self.params.canonical_scale(level).unwrap();
        self.encoder.encode_at(&self.params, slots, level, scale).unwrap()
    }

    fn encrypt(&self, index: u32, level: usize) -> Ciphertext {
        let message = self.plaintext(&self.slots(index), level);
        encrypt_secret(&self.params, &self.seed, &self.secret, index, &message).unwrap()
    }

    fn decrypt(&self, ciphertext: &Ciphertext) -> Poly {
        decrypt(&self.secret, ciphertext).unwrap().poly
    }

    fn relinearisation_key(&self, level: usize) -> KeySwitchKey {
        KeySwitchKey::relinearisation(&self.params, &self.seed, &self.secret, level).unwrap()
    }

    fn rotation_key(&self, r: i64, level: usize) -> KeySwitchKey {
        let g = rotation_element(&self.params, r);
        KeySwitchKey::galois(&self.params, &self.seed, &self.secret, g, level).unwrap()
    }

    fn conjugation_key(&self, level: usize) -> KeySwitchKey {
        let g = conjugation_element(&self.params);
        KeySwitchKey::galois(&self.params, &self.seed, &self.secret, g, level).unwrap()
    }

    fn evaluator(&self) -> Evaluator<'_> {
        Evaluator::new(&self.params)
    }

    /// The keyswitch rule with the weight of this key.
    fn keyswitch_variance(&self, level: usize) -> Bound {
        noise::keyswitch(&self.params, level, self.secret.weight() as f64).unwrap()
    }

    /// Whether both polynomials have the same slots up to the error that `variance` predicts.
    fn assert_close(&self, a: &Poly, b: &Poly, variance: &Bound, scale: f64) {
        let difference = self.encoder.decode_coefficients(&a.sub(b).unwrap().centred(), scale).unwrap();
        let d = noise::tail_factor(FAILURE, self.params.n()).unwrap();
        let bound = noise::slot_bound(variance, self.params.n(), scale, d).total + difference.radius;
        for (j, z) in difference.slots.iter().enumerate() {
            assert!(z.re.abs().max(z.im.abs()) <= bound, "seed {:?}, slot {j}: {z} beyond {bound:e}", self.seed);
        }
    }
}

/// Toy parameters whose special modulus is too small, so that the key errors dominate a key switch.
fn weak_special_modulus() -> Parameters {
    let mut literal = ParameterLiteral::preset("toy-n5").unwrap();
    literal.p.truncate(1);
    Parameters::new(&literal).unwrap()
}

fn mean_square(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let n = values.len() as f64;
    values.map(|x| x * x).sum::<f64>() / n
}

fn coefficient_mean_square(error: &Poly) -> f64 {
    mean_square(error.centred().iter().map(Integer::to_f64))
}

/// Checks a predicted variance from both sides: `measure(seed)` is the mean square of one independent run.
///
/// The allowed deviation is `D` standard errors of the measured mean; it must be below a quarter of the prediction, or the
/// test could not tell the rule from a wrong one.
fn assert_variance(predicted: &Bound, seeds: u64, measure: impl Fn(u64) -> f64) {
    let runs: Vec<f64> = (0..seeds).map(measure).collect();
    let mean = runs.iter().sum::<f64>() / seeds as f64;
    let spread = mean_square(runs.iter().map(|x| x - mean)) * seeds as f64 / (seeds - 1) as f64;
    let allowed = noise::tail_factor(FAILURE, 1).unwrap() * (spread / seeds as f64).sqrt();
    let predicted_total = predicted.total;
    assert!(allowed < predicted_total / 4.0, "{}: {seeds} seeds measure too little", predicted.rule);
    assert!(
        (mean - predicted_total).abs() <= allowed,
        "{}: predicted {predicted_total}, measured {mean} +- {allowed} over seeds 0..{seeds}",
        predicted.rule
    );
}

#[test]
fn fresh_noise_is_that_of_the_rule() {
    assert_variance(&noise::fresh_secret(), 400, |seed| {
        let setup = Setup::new("toy-n5", seed);
        let message = setup.plaintext(&setup.slots(0), 3);
        let error = setup.decrypt(&setup.encrypt(0, 3)).sub(&message.poly).unwrap();
        coefficient_mean_square(&error)
    });
    let params = Setup::new("toy-n5", 0).params;
    assert_variance(&noise::fresh_public(&params, params.secret_weight()), 400, |seed| {
        let setup = Setup::new("toy-n5", seed);
        let message = setup.plaintext(&setup.slots(0), 3);
        let key = PublicKey::generate(&setup.params, &setup.seed, &setup.secret).unwrap();
        let ciphertext = encrypt_public(&setup.params, &setup.seed, &key, 0, &message).unwrap();
        coefficient_mean_square(&setup.decrypt(&ciphertext).sub(&message.poly).unwrap())
    });
}

#[test]
fn encoding_noise_is_that_of_the_rule() {
    // A low scale and short roots would hide nothing: the exact coefficient is read off an encoding 2^20 times finer.
    assert_variance(&noise::encode(), 100, |seed| {
        let setup = Setup::new("toy-n5", seed);
        let slots = setup.slots(0);
        let coarse = setup.encoder.encode(&slots, 20f64.exp2()).unwrap();
        let fine = setup.encoder.encode(&slots, 40f64.exp2()).unwrap();
        mean_square(coarse.iter().zip(&fine).map(|(c, f)| (c * (1 << 20) - f) as f64 / 20f64.exp2()))
    });
}

#[test]
fn rescale_noise_is_that_of_the_rule() {
    let params = Setup::new("toy-n5", 0).params;
    assert_variance(&noise::rescale(0.0, params.q()[3], params.secret_weight()), 400, |seed| {
        let setup = Setup::new("toy-n5", seed);
        let ciphertext = setup.encrypt(0, 3);
        let q = Integer::from(setup.params.q()[3]);
        let before = setup.decrypt(&ciphertext).centred();
        let after = setup.decrypt(&setup.evaluator().rescale(&ciphertext).unwrap()).centred();
        let error = |(b, a): (&Integer, &Integer)| Rational::from((Integer::from(a * &q) - b, q.clone())).to_f64();
        mean_square(before.iter().zip(&after).map(error))
    });
}

/// Error of relinearising a product of two fresh ciphertexts.
fn relinearisation_error(setup: &Setup, level: usize) -> f64 {
    let evaluator = setup.evaluator();
    let triple = evaluator.mul(&setup.encrypt(0, level), &setup.encrypt(1, level)).unwrap();
    let result = evaluator.relinearise(&triple, &setup.relinearisation_key(level)).unwrap();
    coefficient_mean_square(&setup.decrypt(&result).sub(&setup.decrypt(&triple)).unwrap())
}

#[test]
fn keyswitch_noise_is_that_of_the_rule() {
    let params = Setup::new("toy-n5", 0).params;
    let weak = weak_special_modulus();
    // The last digit is whole at level 5 and short at level 4.
    for level in [5, 4] {
        let rounding = noise::keyswitch(&params, level, params.secret_weight()).unwrap();
        assert_variance(&rounding, 400, |seed| relinearisation_error(&Setup::new("toy-n5", seed), level));
        let key_errors = noise::keyswitch(&weak, level, weak.secret_weight()).unwrap();
        assert!(key_errors.terms[0].value > 1e6 * key_errors.terms[1].value);
        assert_variance(&key_errors, 400, |seed| relinearisation_error(&Setup::of(weak.clone(), seed), level));
    }
}

#[test]
fn fixed_weight_secrets_follow_the_same_rules() {
    let params = Setup::new("toy-n8", 0).params;
    assert_eq!(params.secret(), SecretDistribution::FixedWeight { weight: 64 });
    let predicted = noise::keyswitch(&params, 2, params.secret_weight()).unwrap();
    assert_variance(&predicted, 60, |seed| relinearisation_error(&Setup::new("toy-n8", seed), 2));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn exact_operations_commute_with_decryption(seed: u64, level in 0usize..6) {
        let setup = Setup::new("toy-n5", seed);
        let evaluator = setup.evaluator();
        let (a, b) = (setup.encrypt(0, level), setup.encrypt(1, level));
        let m = setup.plaintext(&setup.slots(2), level);
        let (da, db) = (setup.decrypt(&a), setup.decrypt(&b));
        prop_assert_eq!(setup.decrypt(&evaluator.add(&a, &b).unwrap()), da.add(&db).unwrap());
        prop_assert_eq!(setup.decrypt(&evaluator.sub(&a, &b).unwrap()), da.sub(&db).unwrap());
        prop_assert_eq!(setup.decrypt(&evaluator.neg(&a)), da.neg());
        prop_assert_eq!(setup.decrypt(&evaluator.add_plain(&a, &m).unwrap()), da.add(&m.poly).unwrap());
        prop_assert_eq!(setup.decrypt(&evaluator.sub_plain(&a, &m).unwrap()), da.sub(&m.poly).unwrap());
        let product = evaluator.mul_plain(&a, &m).unwrap();
        prop_assert_eq!(product.scale, a.scale * m.scale);
        prop_assert_eq!(setup.decrypt(&product), da.mul(&m.poly).unwrap());
        let triple = evaluator.mul(&a, &b).unwrap();
        prop_assert_eq!(setup.decrypt(&triple), da.mul(&db).unwrap());
        let sum = evaluator.add(&triple, &evaluator.mul(&a, &a).unwrap()).unwrap();
        prop_assert_eq!(setup.decrypt(&sum), da.mul(&da.add(&db).unwrap()).unwrap());
        let low = evaluator.drop_level(&a, level / 2).unwrap();
        prop_assert_eq!(setup.decrypt(&low), da.reduce(&setup.params.modulus(level / 2).unwrap()).unwrap());
        prop_assert_eq!(low.scale, a.scale);
    }

    #[test]
    fn limbs_round_trip(seed: u64, level in 0usize..6) {
        let setup = Setup::new("toy-n5", seed);
        let a = setup.encrypt(0, level);
        let limbs: Vec<_> = (0..2).map(|i| a.residues(&setup.params, i).unwrap()).collect();
        prop_assert_eq!(Ciphertext::from_residues(&setup.params, &limbs, a.scale).unwrap(), a);
        let m = setup.plaintext(&setup.slots(2), level);
        let limbs = m.residues(&setup.params).unwrap();
        prop_assert_eq!(Plaintext::from_residues(&setup.params, &limbs, m.scale).unwrap(), m);
    }

    #[test]
    fn both_orders_of_hoisting_give_the_same_integers(seed: u64, r in 1i64..16, level in 0usize..6) {
        let setup = Setup::new("toy-n5", seed);
        let evaluator = setup.evaluator();
        let a = setup.encrypt(0, level);
        // Keys that reach further than the ciphertext are truncated.
        let (rotate, conjugate) = (setup.rotation_key(r, 5), setup.conjugation_key(level));
        let direct = [evaluator.rotate(&a, r, &rotate).unwrap(), evaluator.conjugate(&a, &conjugate).unwrap()];
        let keys = [(rotate.key_id, &rotate), (conjugate.key_id, &conjugate)];
        prop_assert_eq!(evaluator.galois_hoisted(&a, &keys).unwrap(), direct);
    }

    #[test]
    fn rotating_there_and_back_stays_within_the_bound(seed: u64, r in 1i64..16, level in 0usize..6) {
        let setup = Setup::new("toy-n5", seed);
        let evaluator = setup.evaluator();
        let a = setup.encrypt(0, level);
        let there = evaluator.rotate(&a, r, &setup.rotation_key(r, level)).unwrap();
        let back = evaluator.rotate(&there, -r, &setup.rotation_key(-r, level)).unwrap();
        let once = setup.keyswitch_variance(level);
        let twice = noise::add(once.total, once.total);
        setup.assert_close(&setup.decrypt(&back), &setup.decrypt(&a), &twice, a.scale);
    }

    #[test]
    fn rotation_and_conjugation_act_on_slots(seed: u64, r in 0i64..16) {
        let setup = Setup::new("toy-n5", seed);
        let evaluator = setup.evaluator();
        let (a, slots) = (setup.encrypt(0, 2), setup.slots(0));
        let variance = noise::add(noise::fresh_secret().total, setup.keyswitch_variance(2).total);
        // Both the ciphertext and the comparison value are rounded by encoding.
        let variance = noise::add(variance.total, 2.0 * noise::encode().total);
        let mut rotated = slots.clone();
        rotated.rotate_left(r as usize);
        let result = evaluator.rotate(&a, r, &setup.rotation_key(r, 2)).unwrap();
        setup.assert_close(&setup.decrypt(&result), &setup.plaintext(&rotated, 2).poly, &variance, a.scale);
        let conjugated: Vec<Complex64> = slots.iter().map(Complex64::conj).collect();
        let result = evaluator.conjugate(&a, &setup.conjugation_key(2)).unwrap();
        setup.assert_close(&setup.decrypt(&result), &setup.plaintext(&conjugated, 2).poly, &variance, a.scale);
    }

    #[test]
    fn products_become_canonical_and_stay_within_the_bound(seed: u64, level in 1usize..6) {
        let setup = Setup::new("toy-n5", seed);
        let evaluator = setup.evaluator();
        let (n, h) = (setup.params.n(), setup.secret.weight() as f64);
        let triple = evaluator.mul(&setup.encrypt(0, level), &setup.encrypt(1, level)).unwrap();
        let product = evaluator.relinearise(&triple, &setup.relinearisation_key(level)).unwrap();
        let result = evaluator.rescale(&product).unwrap();
        prop_assert_eq!(result.level, level - 1);
        prop_assert_eq!(result.scale, setup.params.canonical_scale(level - 1).unwrap());
        let d = noise::tail_factor(FAILURE, n).unwrap();
        let top = setup.params.canonical_scale(level).unwrap();
        let part = |variance: f64, scale: f64| d * noise::slot_deviation(variance, n, scale);
        // A part of an operand is at most 1, so a modulus is at most sqrt(2), for errors as for messages.
        let root2 = std::f64::consts::SQRT_2;
        let operand = root2 * part(noise::fresh_secret().total + noise::encode().total, top);
        let tail = noise::rescale(setup.keyswitch_variance(level).total, setup.params.q()[level], h);
        let bound = noise::mul(root2, operand, root2, operand).total
            + root2 * part(tail.total, result.scale)
            + noise::scale_label(2.0, 2).total;
        let got = setup.encoder.decode(&decrypt(&setup.secret, &result).unwrap()).unwrap();
        for ((x, y), z) in setup.slots(0).iter().zip(&setup.slots(1)).zip(&got.slots) {
            prop_assert!((x * y - z).norm() <= bound + 2.0 * got.radius + 8.0 * f64::EPSILON, "seed {seed}");
        }
    }

    #[test]
    fn scalars_act_on_every_slot(seed: u64, re in -8.0..8.0f64, im in -8.0..8.0f64) {
        let setup = Setup::new("toy-n5", seed);
        let evaluator = setup.evaluator();
        let (a, constant) = (setup.encrypt(0, 3), Complex64::new(re, im));
        let before = setup.encoder.decode(&decrypt(&setup.secret, &a).unwrap()).unwrap();
        let decode = |c: &Ciphertext| setup.encoder.decode(&decrypt(&setup.secret, c).unwrap()).unwrap();
        let sum = decode(&evaluator.add_scalar(&a, constant).unwrap());
        // Half a unit on each part; the comparison value is computed in binary64 from numbers below 16.
        let slack = 64.0 * f64::EPSILON + 20.0 * (before.radius + sum.radius);
        for (x, y) in before.slots.iter().zip(&sum.slots) {
            prop_assert!((x + constant - y).norm() <= 1.0 / a.scale + slack);
        }
        let target = setup.params.canonical_scale(2).unwrap() * setup.params.q()[3] as f64;
        let product = evaluator.mul_scalar(&a, constant, target).unwrap();
        prop_assert_eq!(product.scale, target);
        let after = decode(&product);
        let largest = before.slots.iter().map(|z| z.norm()).fold(0.0, f64::max);
        let bound = noise::scalar_mul(0.0, constant.norm(), largest, a.scale, target).total;
        for (x, y) in before.slots.iter().zip(&after.slots) {
            prop_assert!((x * constant - y).norm() <= bound + slack + 20.0 * after.radius);
        }
    }
}

#[test]
fn key_switch_is_the_formula_written_out() {
    // Independent of the evaluator's helpers: everything in one expression per coefficient, over the integers.
    let setup = Setup::new("toy-n5", 5);
    let (params, level) = (&setup.params, 5);
    let ids: Vec<u32> = (0..6).collect();
    let c = uniform_poly(&setup.seed, StreamId::new(77, 0), 32, params.q(), &ids).unwrap();
    let key = setup.relinearisation_key(level);
    let (u0, u1) = setup.evaluator().key_switch(&c, level, &key).unwrap();
    let modulus = params.extended_modulus(level).unwrap();
    let mut sums = [Poly::zero(32, &modulus), Poly::zero(32, &modulus)];
    for (digit, (b, a)) in params.digits(level).into_iter().zip(&key.pairs) {
        let (q0, q1) = (Integer::from(params.q()[digit.start]), Integer::from(params.q()[digit.start + 1]));
        let share = |x: &Integer, own: &Integer, other: &Integer| {
            centred(&(x * other.clone().invert(own).unwrap()), own) * other
        };
        let lift: Vec<Integer> = c.coefficients().iter().map(|x| share(x, &q0, &q1) + share(x, &q1, &q0)).collect();
        let lift = Poly::from_integers(&lift, &modulus);
        sums[0] = sums[0].add(&lift.mul_schoolbook(b).unwrap()).unwrap();
        sums[1] = sums[1].add(&lift.mul_schoolbook(a).unwrap()).unwrap();
    }
    let special = params.special_modulus();
    for (sum, got) in sums.iter().zip([u0, u1]) {
        let expected = sum.map_into(got.modulus(), |x| (x - centred(x, &special)) / &special);
        assert_eq!(got, expected);
    }
}

#[test]
fn all_operations_run_at_n_4096() {
    let setup = Setup::new("small-n12", 1);
    let (evaluator, level) = (setup.evaluator(), 3);
    let (a, b) = (setup.encrypt(0, level), setup.encrypt(1, level));
    let triple = evaluator.mul(&a, &b).unwrap();
    let product = evaluator.relinearise(&triple, &setup.relinearisation_key(level)).unwrap();
    let variance = setup.keyswitch_variance(level);
    setup.assert_close(&setup.decrypt(&product), &setup.decrypt(&triple), &variance, product.scale);
    let key = setup.rotation_key(3, level);
    let rotated = evaluator.rotate(&a, 3, &key).unwrap();
    assert_eq!(evaluator.galois_hoisted(&a, &[(key.key_id, &key)]).unwrap()[0], rotated);
    let image = setup.decrypt(&a).automorphism(key.key_id.into()).unwrap();
    setup.assert_close(&setup.decrypt(&rotated), &image, &variance, rotated.scale);
    assert_eq!(evaluator.rescale(&product).unwrap().scale, setup.params.canonical_scale(level - 1).unwrap());
}

#[test]
fn unsuitable_operands_are_refused() {
    let setup = Setup::new("toy-n5", 0);
    let evaluator = setup.evaluator();
    let (a, low) = (setup.encrypt(0, 3), setup.encrypt(1, 2));
    let other_scale = Ciphertext { scale: a.scale.next_up(), ..a.clone() };
    let triple = evaluator.mul(&a, &a).unwrap();
    let (relin, rotation) = (setup.relinearisation_key(2), setup.rotation_key(1, 5));
    use ReferenceError as E;
    assert!(matches!(evaluator.add(&a, &low), Err(E::LevelMismatch { expected: 3, got: 2, .. })));
    assert!(matches!(evaluator.mul(&a, &low), Err(E::LevelMismatch { .. })));
    assert!(matches!(evaluator.sub(&a, &other_scale), Err(E::ScaleMismatch { .. })));
    assert!(matches!(evaluator.add_plain(&a, &setup.plaintext(&setup.slots(0), 2)), Err(E::LevelMismatch { .. })));
    assert!(matches!(evaluator.add(&a, &triple), Err(E::ScaleMismatch { .. })));
    assert!(matches!(evaluator.mul(&triple, &a), Err(E::BadOperand { .. })));
    assert!(matches!(evaluator.relinearise(&a, &setup.relinearisation_key(3)), Err(E::BadOperand { .. })));
    assert!(matches!(evaluator.relinearise(&triple, &relin), Err(E::LevelMismatch { .. })));
    assert!(matches!(evaluator.relinearise(&triple, &rotation), Err(E::WrongKey { expected: 0, got: 5, .. })));
    assert!(matches!(evaluator.rotate(&a, 2, &rotation), Err(E::WrongKey { expected: 25, got: 5, .. })));
    let bottom = evaluator.drop_level(&a, 0).unwrap();
    assert!(matches!(evaluator.rescale(&bottom), Err(E::LevelExhausted { .. })));
    assert!(matches!(evaluator.drop_level(&low, 3), Err(E::LevelExhausted { expected: 3, got: 2, .. })));
    assert!(matches!(evaluator.add_scalar(&a, Complex64::new(1e9, 0.0)), Err(E::NotEncodable { .. })));
    assert!(matches!(evaluator.add_scalar(&a, Complex64::new(0.0, f64::NAN)), Err(E::NotEncodable { .. })));
    assert!(matches!(evaluator.mul_scalar(&a, Complex64::ONE, f64::NAN), Err(E::BadOperand { .. })));
    assert!(matches!(evaluator.mul_scalar(&a, Complex64::ONE, 1e60), Err(E::NotEncodable { .. })));
    let limbs = a.residues(&setup.params, 0).unwrap();
    assert!(Ciphertext::from_residues(&setup.params, std::slice::from_ref(&limbs), a.scale).is_err());
    assert!(Ciphertext::from_residues(&setup.params, &[limbs.clone(), limbs[..2].to_vec()], a.scale).is_err());
    assert!(Ciphertext::from_residues(&setup.params, &[limbs.clone(), limbs], -1.0).is_err());
    assert!(a.residues(&setup.params, 2).is_err());
}
