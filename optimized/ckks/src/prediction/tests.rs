//! Predictions against measured errors.

use super::*;
use crate::circuits::bootstrap::Bootstrapper;
use crate::circuits::linear::{LinearMap, PreparedMap};
use crate::circuits::polynomial::Polynomial;
use crate::ckks::noise::bound_factor;
use crate::{
    CkksError, Complex64, Context, Encoder, EvaluationKeys, Evaluator, KeyGenerator, Parameters, PublicKey, SecretKey,
    Security, Seed, decrypt,
};
use std::collections::BTreeMap;

/// Chance that any comparison of deviations fails for a correct engine and correct rules.
const FAILURE: f64 = 1e-9;
/// Comparisons of deviations made, rounded up.
const COMPARISONS: f64 = 64.0;
/// `r[noise.measured]`: at most 6 for a product of two random polynomials, and 1/2 for the weight of a uniform ternary secret. A sum
/// of `m` automorphisms has `m` times as much.
const SPREAD: f64 = 6.5;
/// The same for an error `e s^2`: in a slot its variance is `|s|^4`, the square of an exponential variable, which has the relative
/// variance 5. It varies with the key, which gives `2 * 5`, and with the draw given the key, `2 * 6`.
const SQUARE_SPREAD: f64 = 22.0;
/// Diagonals `-REACH..=REACH` of the linear map.
const REACH: i64 = 3;

struct Fixture {
    context: Context,
    secret: SecretKey,
    public: PublicKey,
    tracked: TrackedEvaluator,
    seed: Seed,
}

impl Fixture {
    fn new(preset: &str, seed: u128) -> Self {
        let context = Context::new(Parameters::preset(preset, Security::AllowInsecure).unwrap()).unwrap();
        let seed = Seed::insecure(seed);
        let generator = KeyGenerator::new(&context, seed.clone());
        let secret = generator.secret_key();
        let public = generator.public_key(&secret).unwrap();
        let top = context.parameters().max_level();
        let mut keys = EvaluationKeys::new();
        keys.insert(generator.relinearisation_key(&secret, top).unwrap());
        keys.insert(generator.conjugation_key(&secret, top).unwrap());
        for steps in -4..=4 {
            keys.insert(generator.rotation_key(&secret, steps, top).unwrap());
        }
        let tracked = TrackedEvaluator::new(&Evaluator::new(&context, &keys));
        Self { context, secret, public, tracked, seed }
    }

    fn slots(&self) -> usize {
        self.context.parameters().slots()
    }

    fn top(&self) -> usize {
        self.context.parameters().max_level()
    }

    fn encrypt(&self, slots: &[Complex64], index: u32) -> Tracked {
        self.tracked.encrypt_secret(&self.secret, slots, self.top(), &self.seed, index).unwrap()
    }

    fn decrypt(&self, ct: &Tracked) -> Vec<Complex64> {
        self.tracked.encoder().decode(&decrypt(&self.context, &self.secret, ct.ciphertext()).unwrap()).unwrap()
    }

    /// Slots of equal size, so that predictions, which take all slots to be as large as the largest, are exact.
    fn flat(&self, size: f64, turn: f64) -> Vec<Complex64> {
        (0..self.slots()).map(|j| Complex64::from_polar(size, turn * (j * j) as f64)).collect()
    }
}

/// A result with the slots that it should have.
struct Outcome {
    name: &'static str,
    result: Tracked,
    expected: Vec<Complex64>,
    /// `N` times the relative variance of a mean square over all slots and one draw of keys.
    spread: f64,
}

fn map(fixture: &Fixture) -> (BTreeMap<i64, Vec<Complex64>>, PreparedMap, MapNorms) {
    let diagonals: BTreeMap<i64, _> =
        (-REACH..=REACH).map(|shift| (shift, fixture.flat(0.3, 0.1 + shift as f64))).collect();
    let map = LinearMap::from_diagonals(fixture.slots(), &diagonals).unwrap();
    let scale = fixture.context.parameters().canonical_scale(fixture.top());
    let map = map.prepare(&Encoder::new(&fixture.context), scale).unwrap();
    let norms = MapNorms::new(&fixture.context, &map).unwrap();
    (diagonals, map, norms)
}

/// Every operation once, on fresh ciphertexts.
fn outcomes(fixture: &Fixture) -> Vec<Outcome> {
    let ev = &fixture.tracked;
    let (x, y) = (fixture.flat(0.9, 0.7), fixture.flat(0.8, 1.3));
    let (a, b) = (fixture.encrypt(&x, 0), fixture.encrypt(&y, 1));
    let (n, top) = (fixture.slots(), fixture.top());
    let both = |f: &dyn Fn(Complex64, Complex64) -> Complex64| x.iter().zip(&y).map(|(x, y)| f(*x, *y)).collect();
    let shifted = |steps: usize| (0..n).map(|j| x[(j + steps) % n]).collect::<Vec<_>>();
    let c = Complex64::new(0.31, -0.77);
    let target = fixture.context.parameters().canonical_scale(top).powi(2);
    let (diagonals, map, norms) = map(fixture);
    let image = |j: usize| -> Complex64 {
        let at = |shift: i64| x[(j as i64 + shift).rem_euclid(n as i64) as usize];
        diagonals.iter().map(|(shift, d)| d[j] * at(*shift)).sum()
    };
    let public = ev.encrypt_public(&fixture.public, &x, top, &fixture.seed, 2);
    let hoisted = ev.rotate_hoisted(&a, &[2]).unwrap().remove(0);
    let one = |name, result: Result<Tracked, CkksError>, expected| Outcome {
        name,
        result: result.unwrap(),
        expected,
        spread: SPREAD,
    };
    let wider = |spread, outcome| Outcome { spread, ..outcome };
    let lazy = ev.rescale(&ev.mul_lazy(&a, &b).unwrap());
    let window = |j: usize| (0..4).map(|i| x[(j + i) % n]).sum();
    let mapped = ev.linear_map(&a, &map, &norms, None);
    vec![
        one("encryption under the public key", public, x.clone()),
        one("sum", ev.add(&a, &b), both(&|x, y| x + y)),
        one("sum with itself", ev.add(&a, &a), both(&|x, _| 2.0 * x)),
        one("difference", ev.sub(&a, &b), both(&|x, y| x - y)),
        one("negation", ev.neg(&a), both(&|x, _| -x)),
        one("plaintext added", ev.add_plain(&a, &y), both(&|x, y| x + y)),
        one("plaintext subtracted", ev.sub_plain(&a, &y), both(&|x, y| x - y)),
        one("constant added", ev.add_const(&a, c), both(&|x, _| x + c)),
        one("plaintext product", ev.mul_plain(&a, &y), both(&|x, y| x * y)),
        one("constant product", ev.mul_const(&a, c, target), both(&|x, _| c * x)),
        one("constant product, rescaled", ev.mul_const_to_level(&a, c, top - 2), both(&|x, _| c * x)),
        one("integer product", ev.mul_int(&a, -3), both(&|x, _| -3.0 * x)),
        one("product with i", ev.mul_i(&a), both(&|x, _| x * Complex64::I)),
        one("lazy product", ev.mul_lazy(&a, &b), both(&|x, y| x * y)),
        wider(SQUARE_SPREAD, one("lazy product, rescaled", lazy, both(&|x, y| x * y))),
        one("product", ev.mul(&a, &b), both(&|x, y| x * y)),
        one("product, rescaled", ev.mul_rescale(&a, &b), both(&|x, y| x * y)),
        one("square", ev.mul(&a, &a), both(&|x, _| x * x)),
        one("rescale", ev.rescale(&ev.mul_int(&a, 1 << 40).unwrap()), both(&|x, _| x * (1u64 << 40) as f64)),
        one("lower level", ev.to_level(&a, top - 3), x.clone()),
        one("limbs dropped", ev.drop_level(&a, top - 3), x.clone()),
        one("rotation", ev.rotate(&a, 3), shifted(3)),
        one("hoisted rotation", Ok(hoisted), shifted(2)),
        wider(4.0 * SPREAD, one("sum of four slots", ev.inner_sum(&a, 4, 1), (0..n).map(window).collect())),
        one("conjugation", ev.conjugate(&a), both(&|x, _| x.conj())),
        wider(SPREAD * (2 * REACH + 1) as f64, one("linear map", mapped, (0..n).map(image).collect())),
        one("encryption under the secret key", Ok(a.clone()), x.clone()),
    ]
}

/// Mean squares of errors over all slots and seeds, in units of what is predicted.
struct Measured {
    sum: f64,
    count: f64,
    worst: f64,
}

fn check_deviations(preset: &str, seeds: std::ops::Range<u128>) {
    println!("{preset}, seeds {seeds:?}");
    let mut measured: BTreeMap<&str, (Measured, f64)> = BTreeMap::new();
    for seed in seeds {
        let fixture = Fixture::new(preset, seed);
        for Outcome { name, result, expected, spread } in outcomes(&fixture) {
            let prediction = *result.prediction();
            let entry = measured.entry(name);
            let (entry, _) = entry.or_insert((Measured { sum: 0.0, count: 0.0, worst: 0.0 }, spread));
            for (got, expected) in fixture.decrypt(&result).iter().zip(&expected) {
                entry.sum += (got - expected).norm_sqr() / prediction.deviation.powi(2);
                entry.count += 2.0;
                entry.worst = entry.worst.max((got - expected).norm() / prediction.bound);
            }
        }
    }
    for (name, (entry, spread)) in measured {
        let ratio = (entry.sum / entry.count).sqrt();
        let tolerance = 0.5 * (spread / entry.count).sqrt() * bound_factor(FAILURE, COMPARISONS);
        println!(
            "{preset}, {name}: {ratio:.4} of the deviation, tolerance {tolerance:.4}; {:.3} of the bound",
            entry.worst
        );
        assert!((ratio - 1.0).abs() <= tolerance, "{preset}, {name}: {ratio} is not 1 within {tolerance}");
        assert!(entry.worst <= 1.0, "{preset}, {name}: an error is {} of its bound", entry.worst);
    }
}

/// `r[noise.tracked]`: a prediction is exact where all slots have the stated magnitude.
#[test]
fn single_operations_have_the_predicted_deviation() {
    check_deviations("toy-n8", 1000..1064);
    check_deviations("small-n12", 2000..2004);
}

/// `r[noise.magnitude]`, `r[noise.worst-case]`: bounds hold through compositions, also where errors are copies of each other.
#[test]
fn bounds_hold_through_compositions() {
    for seed in 3000..3064 {
        let fixture = Fixture::new("toy-n8", seed);
        let ev = &fixture.tracked;
        let (x, y) = (fixture.flat(0.9, 0.7), fixture.flat(0.8, 1.3));
        let (mut a, b) = (fixture.encrypt(&x, 0), fixture.encrypt(&y, 1));
        let (mut values, n) = (x, fixture.slots());
        for _ in 0..5 {
            // a <- (a b + a)^2 and the slot after it, which is full of copies of one error.
            let lower = a.prediction().level - 1;
            let product = ev.mul_rescale(&a, &ev.to_level(&b, a.prediction().level).unwrap()).unwrap();
            let sum = ev.add(&product, &ev.to_level(&a, lower).unwrap()).unwrap();
            a = ev.add(&sum, &ev.rotate(&sum, 1).unwrap()).unwrap();
            values = values.iter().zip(&y).map(|(x, y)| x * y + x).collect();
            values = (0..n).map(|j| values[j] + values[(j + 1) % n]).collect();
            let prediction = a.prediction();
            let worst = fixture.decrypt(&a).iter().zip(&values).map(|(a, b)| (a - b).norm()).fold(0.0, f64::max);
            assert!(worst <= prediction.bound, "seed {seed}: {worst:e} above {:e}", prediction.bound);
            assert!(ev.predictor().estimate(prediction) < prediction.bound, "seed {seed}");
            assert!(values.iter().all(|z| z.norm() <= prediction.magnitude), "seed {seed}");
            assert!(prediction.failure < 2f64.powi(-40));
            assert!(ev.predictor().headroom(prediction) > 0.0);
        }
    }
}

/// The deviation of `p(x + e)` is at most the predicted one: `r[noise.polynomial]` takes the largest slope, and the plan the worst slot.
#[test]
fn polynomials_stay_within_their_prediction() {
    for (preset, seeds) in [("toy-n8", 4000..4032), ("small-n12", 5000..5002)] {
        for seed in seeds {
            let fixture = Fixture::new(preset, seed);
            let ev = &fixture.tracked;
            let x: Vec<_> = (0..fixture.slots()).map(|j| Complex64::new((0.37 * j as f64).sin(), 0.0)).collect();
            let polynomial = Polynomial::chebyshev(vec![0.1, 0.4, -0.2, 0.0, 0.1, -0.05, 0.3, 0.2]).unwrap();
            let result = ev.polynomial(&fixture.encrypt(&x, 0), &polynomial).unwrap();
            let values = x.iter().map(|x| polynomial.evaluate(x.re));
            let errors: Vec<_> = fixture.decrypt(&result).iter().zip(values).map(|(a, b)| (a - b).norm()).collect();
            let prediction = result.prediction();
            assert!(errors.iter().all(|e| *e <= prediction.bound), "{preset}, seed {seed}");
            let deviation = (errors.iter().map(|e| e * e).sum::<f64>() / (2 * errors.len()) as f64).sqrt();
            let tolerance = 0.5 * (SPREAD / (2 * errors.len()) as f64).sqrt() * bound_factor(FAILURE, COMPARISONS);
            assert!(deviation <= prediction.deviation * (1.0 + tolerance), "{preset}, seed {seed}: {deviation:e}");
            assert!(polynomial.largest() == prediction.magnitude);
        }
    }
}

#[test]
fn bootstraps_stay_within_their_prediction() {
    let context = Context::new(Parameters::preset("toy-n8-boot", Security::AllowInsecure).unwrap()).unwrap();
    let generator = KeyGenerator::new(&context, Seed::insecure(60));
    let (secret, boot) = (generator.secret_key(), Bootstrapper::new(&context).unwrap());
    let mut keys = EvaluationKeys::new();
    boot.generate_keys(&generator, &secret, &mut keys).unwrap();
    let ev = TrackedEvaluator::new(&Evaluator::new(&context, &keys));
    let slots: Vec<_> = (0..context.parameters().slots()).map(|j| Complex64::from_polar(1.0, j as f64)).collect();
    for level in [boot.input_level(), boot.input_level() + 1] {
        let ct = ev.encrypt_secret(&secret, &slots, level, &Seed::insecure(61), 0).unwrap();
        let fresh = ev.bootstrap(&ct, &boot).unwrap();
        assert!(fresh.prediction().level > boot.input_level());
        let got = ev.encoder().decode(&decrypt(&context, &secret, fresh.ciphertext()).unwrap()).unwrap();
        let worst = got.iter().zip(&slots).map(|(a, b)| (a - b).norm()).fold(0.0, f64::max);
        println!("from level {level}: worst {worst:e}, bound {:e}", fresh.prediction().bound);
        assert!(worst <= fresh.prediction().bound);
        assert!(matches!(ev.bootstrap(&ct.with_magnitude(1.5), &boot), Err(CkksError::Argument { .. })));
    }
}

/// `r[ckks.step]`: from two levels above a pair, `T_2`, `T_4` and the sum end where the steps of the book end.
#[test]
fn polynomials_across_a_pair_stay_within_their_prediction() {
    let context = Context::new(Parameters::preset("toy-n5-boot-pair", Security::AllowInsecure).unwrap()).unwrap();
    let pair = context.parameters().bootstrap().unwrap().pairs[0];
    let generator = KeyGenerator::new(&context, Seed::insecure(62));
    let secret = generator.secret_key();
    let mut keys = EvaluationKeys::new();
    keys.insert(generator.relinearisation_key(&secret, pair + 2).unwrap());
    let ev = TrackedEvaluator::new(&Evaluator::new(&context, &keys));
    let polynomial = Polynomial::chebyshev(vec![0.125, 0.0, -0.25, 0.0, 0.375, 0.0, 0.25]).unwrap();
    let slots: Vec<_> = (0..context.parameters().slots()).map(|j| Complex64::new((j as f64).cos(), 0.0)).collect();
    let encrypt = |level| ev.encrypt_secret(&secret, &slots, level, &Seed::insecure(63), 0).unwrap();
    let ct = encrypt(pair + 2);
    let low = ev.to_level(&encrypt(pair + 1), pair - 2).unwrap();
    let value = ev.polynomial(&ct, &polynomial).unwrap();
    for (result, expected) in
        [(low, slots.clone()), (value, slots.iter().map(|x| polynomial.evaluate(x.re).into()).collect())]
    {
        assert_eq!(result.ciphertext().level(), pair - 2);
        assert_eq!(result.ciphertext().scale(), context.parameters().canonical_scale(pair - 2));
        let got = ev.encoder().decode(&decrypt(&context, &secret, result.ciphertext()).unwrap()).unwrap();
        let worst = got.iter().zip(&expected).map(|(a, b)| (a - b).norm()).fold(0.0, f64::max);
        println!("worst {worst:e}, bound {:e}", result.prediction().bound);
        assert!(worst <= result.prediction().bound);
    }
    let between = ev.drop_level(&ct, pair - 1).unwrap();
    assert!(matches!(ev.to_level(&between, pair - 2), Err(CkksError::LevelExhausted { .. })));
}

#[test]
fn predictions_need_no_ciphertext() {
    let fixture = Fixture::new("toy-n8", 1);
    let (ev, x) = (&fixture.tracked, fixture.flat(0.9, 0.7));
    let a = fixture.encrypt(&x, 0);
    let p = Predictor::new(fixture.context.parameters());
    let scale = fixture.context.parameters().canonical_scale(fixture.top());
    let b = p.encrypt_secret(&p.plaintext(fixture.top(), scale, a.prediction().magnitude).unwrap());
    assert_eq!(*a.prediction(), b);
    let square = ev.rotate(&ev.mul_rescale(&a, &a).unwrap(), 1).unwrap();
    assert_eq!(*square.prediction(), p.rotate(&p.square_rescale(&b).unwrap(), 1).unwrap());
    // A smaller failure probability costs a larger bound, and no deviation.
    let strict = Predictor::with_failure(fixture.context.parameters(), 1e-30).unwrap();
    let c = strict.encrypt_secret(&strict.plaintext(fixture.top(), scale, 0.9).unwrap());
    assert!(c.bound > b.bound && c.failure < b.failure && (c.bits() - b.bits()).abs() < 1e-12);
}

#[test]
fn unsuitable_arguments_are_refused() {
    let fixture = Fixture::new("toy-n8", 2);
    let ev = &fixture.tracked;
    let p = ev.predictor();
    let a = *fixture.encrypt(&fixture.flat(0.9, 0.7), 0).prediction();
    let low = p.drop_level(&a, 0).unwrap();
    assert!(matches!(p.add(&a, &low), Err(CkksError::Level { .. })));
    assert!(matches!(p.add(&a, &p.mul_const(&a, Complex64::ONE, a.scale * 2.0)), Err(CkksError::Scale { .. })));
    assert!(matches!(p.rescale(&low), Err(CkksError::LevelExhausted { .. })));
    assert!(matches!(p.mul_const_to_level(&a, Complex64::ONE, a.level), Err(CkksError::LevelExhausted { .. })));
    assert!(matches!(p.drop_level(&low, 1), Err(CkksError::Level { .. })));
    let lazy = p.mul(&a, &a).unwrap();
    assert!(matches!(p.rotate(&lazy, 1), Err(CkksError::Degree { .. })));
    assert!(matches!(p.conjugate(&lazy), Err(CkksError::Degree { .. })));
    assert!(matches!(p.mul(&lazy, &a), Err(CkksError::Degree { .. })));
    assert!(matches!(p.relinearise(&a), Err(CkksError::Degree { .. })));
    let cube = Polynomial::monomial(vec![0.0, 0.0, 0.0, 1.0]).unwrap();
    assert!(matches!(p.polynomial(&a.with_magnitude(2.0), &cube), Err(CkksError::Argument { .. })));
    assert!(matches!(p.polynomial(&low, &cube), Err(CkksError::LevelExhausted { .. })));
    assert!(matches!(p.plaintext(99, 1.0, 1.0), Err(CkksError::Level { .. })));
    assert!(matches!(p.plaintext(0, 1.0, f64::NAN), Err(CkksError::Argument { .. })));
    assert!(matches!(Predictor::with_failure(p.parameters(), 0.0), Err(CkksError::Argument { .. })));
    let ct = fixture.encrypt(&fixture.flat(0.9, 0.7), 1).into_ciphertext();
    assert!(matches!(Tracked::new(ct.clone(), low), Err(CkksError::Level { .. })));
    assert!(matches!(Tracked::new(ct.clone(), Prediction { scale: 1.0, ..a }), Err(CkksError::Scale { .. })));
    assert!(matches!(Tracked::new(ct, Prediction { degree: 2, ..a }), Err(CkksError::Degree { .. })));
}
