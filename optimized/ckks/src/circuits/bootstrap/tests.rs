//! Bootstrapping on all kinds of inputs, stage by stage, and kernel against kernel.

use super::*;
use crate::arith::KernelKind;
use crate::circuits::testing::numbers;
use crate::ckks::noise::{NoiseModel, slot_bound_factor};
use crate::{Complex64, EvaluationKeys, KeyGenerator, Parameters, SecretKey, Security, Seed, decrypt, encrypt_secret};

/// Chance that a correct bootstrap fails a comparison, over all slots of one result.
pub(super) const FAILURE: f64 = 1e-9;

pub(super) struct Fixture {
    pub(super) context: Context,
    pub(super) encoder: Encoder,
    secret: SecretKey,
    keys: EvaluationKeys,
    pub(super) bootstrapper: Bootstrapper,
}

impl Fixture {
    fn new(preset: &str, kind: Option<KernelKind>) -> Option<Self> {
        Self::with_periods(preset, kind, &[])
    }

    pub(super) fn with_periods(preset: &str, kind: Option<KernelKind>, periods: &[usize]) -> Option<Self> {
        println!("{preset}, seed 60");
        let parameters = Parameters::preset(preset, Security::AllowInsecure).unwrap();
        let context = match kind {
            Some(kind) => Context::with_kernel(parameters, kind).ok()?,
            None => Context::new(parameters).unwrap(),
        };
        let generator = KeyGenerator::new(&context, Seed::insecure(60));
        let secret = generator.secret_key();
        let mut bootstrapper = Bootstrapper::new(&context).unwrap();
        periods.iter().for_each(|period| bootstrapper.prepare_sparse(*period).unwrap());
        let mut keys = EvaluationKeys::new();
        bootstrapper.generate_keys(&generator, &secret, &mut keys).unwrap();
        Some(Self { encoder: Encoder::new(&context), context, secret, keys, bootstrapper })
    }

    pub(super) fn evaluator(&self) -> Evaluator {
        Evaluator::new(&self.context, &self.keys)
    }

    pub(super) fn slots(&self) -> usize {
        self.context.parameters().slots()
    }

    pub(super) fn encrypt(&self, slots: &[Complex64], level: usize) -> Ciphertext {
        let plain = self.encoder.encode(slots, level, self.context.parameters().canonical_scale(level)).unwrap();
        encrypt_secret(&self.context, &self.secret, &plain, &Seed::insecure(61), 0).unwrap()
    }

    pub(super) fn secret(&self) -> &SecretKey {
        &self.secret
    }

    pub(super) fn decrypt(&self, ct: &Ciphertext) -> Vec<Complex64> {
        self.encoder.decode(&decrypt(&self.context, &self.secret, ct).unwrap()).unwrap()
    }

    /// Bound on a part of a slot: noise and approximation of the bootstrap, and the input's encryption.
    fn bound(&self, level: usize) -> f64 {
        let error = self.bootstrapper.predicted_error();
        self.bound_of(error.deviation, error.approximation, level)
    }

    /// Bound on a part of a slot for noise and approximation of some bootstrap, and the input's encryption.
    pub(super) fn bound_of(&self, deviation: f64, approximation: f64, level: usize) -> f64 {
        let model = NoiseModel::new(self.context.parameters());
        let fresh = model.fresh_secret() + crate::ckks::noise::encode();
        let input = model.slot_std(fresh, self.context.parameters().canonical_scale(level));
        let factor = slot_bound_factor(FAILURE, 2.0 * self.slots() as f64);
        factor * deviation.hypot(input) + approximation
    }
}

/// The inputs of `r[boot.precision]`, both parts in `[-1, 1]`.
pub(super) fn inputs(slots: usize) -> Vec<(&'static str, Vec<Complex64>)> {
    let draw = |seed| numbers(seed, slots);
    let complex = |re: &dyn Fn(usize) -> f64, im: &dyn Fn(usize) -> f64| {
        (0..slots).map(|j| Complex64::new(re(j), im(j))).collect::<Vec<_>>()
    };
    let (a, b) = (draw(1), draw(2));
    vec![
        ("random", complex(&|j| a[j], &|j| b[j])),
        ("constant", complex(&|_| 1.0, &|_| -1.0)),
        ("one-sided", complex(&|j| a[j].abs(), &|j| b[j].abs())),
        ("periodic", complex(&|j| [1.0, -0.5, 0.25, -1.0][j % 4], &|j| [0.5, 1.0][j % 2])),
        ("spike", complex(&|j| f64::from(u8::from(j == 3)), &|j| -f64::from(u8::from(j == 3)))),
    ]
}

pub(super) fn check(what: &str, got: &[Complex64], expected: &[Complex64], bound: f64) {
    let part = |d: Complex64| d.re.abs().max(d.im.abs());
    let worst = got.iter().zip(expected).map(|(g, e)| part(g - e)).fold(0.0, f64::max);
    println!("{what}: worst 2^{:.2}, bound 2^{:.2}", worst.log2(), bound.log2());
    assert!(worst <= bound, "{what}: {worst:e} above {bound:e}");
}

#[test]
fn all_kinds_of_inputs_come_back_within_the_bound() {
    for preset in ["toy-n5-boot", "toy-n8-boot", "small-n12-boot"] {
        let fixture = Fixture::new(preset, None).unwrap();
        let (ev, boot) = (fixture.evaluator(), &fixture.bootstrapper);
        let output = fixture.context.parameters().bootstrap().unwrap().output_level;
        for (name, input) in inputs(fixture.slots()) {
            for level in [boot.input_level(), output] {
                let result = boot.bootstrap(&ev, &fixture.encrypt(&input, level)).unwrap();
                assert_eq!(result.level(), output);
                assert_eq!(result.scale(), fixture.context.parameters().canonical_scale(output));
                let what = format!("{preset}, {name}, from level {level}");
                check(&what, &fixture.decrypt(&result), &input, fixture.bound(boot.input_level()));
            }
            let real: Vec<_> = input.iter().map(|z| Complex64::new(z.re, 0.0)).collect();
            let result = boot.bootstrap_real(&ev, &fixture.encrypt(&input, boot.input_level())).unwrap();
            check(
                &format!("{preset}, {name}, real"),
                &fixture.decrypt(&result),
                &real,
                fixture.bound(boot.input_level()),
            );
        }
    }
}

#[test]
fn stages_hold_what_the_book_says() {
    let fixture = Fixture::new("toy-n8-boot", None).unwrap();
    let (ev, boot, n) = (fixture.evaluator(), &fixture.bootstrapper, fixture.slots());
    let section = fixture.context.parameters().bootstrap().unwrap();
    let q0 = fixture.context.parameters().chain()[0] as f64;
    let input = inputs(n).remove(0).1;
    let bound = fixture.bound(boot.input_level());
    let unit = f64::from(section.message_ratio).exp2();

    let down = boot.slots_to_coeffs(&ev, &fixture.encrypt(&input, boot.input_level())).unwrap();
    assert_eq!((down.level(), down.scale()), (0, q0 / unit));
    let coefficients = |ct: &Ciphertext| -> Vec<f64> {
        let plain = decrypt(&fixture.context, &fixture.secret, ct).unwrap();
        fixture.encoder.decode_coeffs(&plain).unwrap()
    };
    let reversed = |t: usize| t.reverse_bits() >> (usize::BITS - n.trailing_zeros());
    let pack = |c: &[f64], unit: f64| -> Vec<Complex64> {
        (0..n).map(|k| Complex64::new(c[reversed(k)] / unit, c[reversed(k) + n] / unit)).collect()
    };
    check("coefficients", &pack(&coefficients(&down), q0 / unit), &input, bound);

    let raised = boot.mod_raise(&ev, &down).unwrap();
    let t: Vec<f64> = coefficients(&raised).iter().map(|c| c / q0).collect();
    let largest = t.iter().fold(0.0f64, |largest, t| largest.max(t.abs()));
    assert!(largest <= (section.ephemeral_weight as f64 + 1.0) / 2.0, "{largest}");
    assert!(t.iter().any(|t| t.abs() > 0.75), "no multiple of q_0 was added");
    let fraction: Vec<f64> = t.iter().map(|t| (t - t.round()) * unit).collect();
    check("raised", &pack(&fraction, 1.0), &input, bound);

    let halves = boot.coeffs_to_slots(&ev, &raised).unwrap();
    let range = f64::from(section.range);
    for (i, half) in halves.iter().enumerate() {
        let expected: Vec<_> = (0..n).map(|k| Complex64::new(t[reversed(k) + i * n], 0.0)).collect();
        let got: Vec<_> = fixture.decrypt(half).iter().map(|z| z * range).collect();
        check("slots of t", &got, &expected, bound / unit);
        let value = fixture.decrypt(&boot.eval_mod(&ev, half).unwrap());
        let expected: Vec<_> = input.iter().map(|z| Complex64::new(if i == 0 { z.re } else { z.im }, 0.0)).collect();
        check("after EvalMod", &value, &expected, bound);
    }
}

#[test]
fn kernels_and_kept_transforms_agree() {
    for preset in ["toy-n5-boot", "toy-n8-boot"] {
        let mut results = Vec::new();
        for kind in KernelKind::available() {
            let Some(mut fixture) = Fixture::new(preset, Some(kind)) else { continue };
            let ct = fixture.encrypt(&inputs(fixture.slots()).remove(0).1, fixture.bootstrapper.input_level());
            results.push(fixture.bootstrapper.bootstrap(&fixture.evaluator(), &ct).unwrap());
            let before = fixture.bootstrapper.plaintext_bytes();
            assert_eq!(fixture.bootstrapper.keep_transforms(0).unwrap(), 0);
            let spent = fixture.bootstrapper.keep_transforms(usize::MAX).unwrap();
            assert_eq!(fixture.bootstrapper.plaintext_bytes(), before + spent);
            results.push(fixture.bootstrapper.bootstrap(&fixture.evaluator(), &ct).unwrap());
        }
        assert!(results.iter().all(|result| *result == results[0]), "{preset}");
    }
}

#[test]
fn key_bytes_are_those_of_the_keys() {
    let fixture = Fixture::new("toy-n8-boot", None).unwrap();
    assert_eq!(fixture.keys.bytes(), fixture.bootstrapper.key_bytes());
}

#[test]
fn unsuitable_inputs_are_refused() {
    let plain = Context::new(Parameters::preset("toy-n8", Security::AllowInsecure).unwrap()).unwrap();
    assert!(matches!(Bootstrapper::new(&plain), Err(CkksError::Argument { .. })));
    let mut fixture = Fixture::new("toy-n5-boot", None).unwrap();
    let (ev, boot) = (fixture.evaluator(), &fixture.bootstrapper);
    let ct = fixture.encrypt(&vec![Complex64::new(0.5, 0.0); fixture.slots()], boot.input_level());
    let low = ev.drop_level(&ct, boot.input_level() - 1).unwrap();
    assert!(matches!(boot.bootstrap(&ev, &low), Err(CkksError::Level { .. })));
    let label = ct.scale() * 2.0;
    let doubled = ev.mul_const(&ct, Complex64::new(1.0, 0.0), label).unwrap();
    assert!(matches!(boot.bootstrap(&ev, &doubled), Err(CkksError::Scale { .. })));
    assert!(matches!(boot.mod_raise(&ev, &ct), Err(CkksError::Level { .. })));
    assert!(matches!(boot.coeffs_to_slots(&ev, &ct), Err(CkksError::Level { .. })));
    assert!(matches!(boot.eval_mod(&ev, &ct), Err(CkksError::Level { .. })));
    let lazy = ev.mul_lazy(&ct, &ct).unwrap();
    assert!(matches!(boot.bootstrap(&ev, &lazy), Err(CkksError::Degree { .. })));

    for lacking in ["the switch from the ephemeral secret", "the switch to the ephemeral secret"] {
        match fixture.keys.from_ephemeral.take() {
            Some(_) => {}
            None => fixture.keys.to_ephemeral = None,
        }
        let error = fixture.bootstrapper.bootstrap(&fixture.evaluator(), &ct).unwrap_err();
        assert!(matches!(&error, CkksError::MissingKey { what, .. } if what == lacking), "{error}");
    }
    let bare = Evaluator::new(&fixture.context, &EvaluationKeys::new());
    assert!(matches!(fixture.bootstrapper.bootstrap(&bare, &ct), Err(CkksError::MissingKey { .. })));
}

#[test]
fn scales_start_anew_at_the_output_level() {
    let fixture = Fixture::new("toy-n5-boot", None).unwrap();
    let output = fixture.context.parameters().bootstrap().unwrap().output_level;
    let ct = fixture.encrypt(&vec![Complex64::new(0.5, 0.0); fixture.slots()], output + 1);
    assert!(matches!(fixture.evaluator().to_level(&ct, output), Err(CkksError::Scale { .. })));
}

#[test]
fn keys_needed_are_known_without_preparing_the_maps() {
    for preset in ["toy-n5-boot", "toy-n8-boot", "small-n12-boot"] {
        let parameters = Parameters::preset(preset, Security::AllowInsecure).unwrap();
        let prepared = Bootstrapper::new(&Context::new(parameters.clone()).unwrap()).unwrap();
        assert_eq!(KeysNeeded::of(&parameters).unwrap(), prepared.keys_needed(), "{preset}");
    }
    let without = Parameters::preset("toy-n5", Security::AllowInsecure).unwrap();
    assert!(matches!(KeysNeeded::of(&without), Err(CkksError::Argument { .. })));
}

#[test]
fn the_error_of_the_approximations_grows_with_the_value() {
    let parameters = Parameters::preset("toy-n8-boot", Security::AllowInsecure).unwrap();
    let largest = BootstrapError::of(&parameters).unwrap().approximation;
    let at = |z: f64| BootstrapError::approximation_at(&parameters, z).unwrap();
    // One output coefficient c: c s - z changes sign once between 0 and 1, so only small values compare in this way.
    assert!(at(0.0) < at(0.25) && at(0.25) < at(0.5));
    assert!(at(0.5) <= largest && at(1.0) <= largest);
}

/// `r[boot.noise.trade]`: as many levels as `n16-boot-deep`, with less of both errors. With one output coefficient the approximation is off by
/// `theta^2 / 6` at most, `theta = 2 pi / 2^ratio`, by the next term of the series at least `theta^4 / 120` less, besides the cosine. A step of
/// the sine is not predicted at the scale of the output level: that alone would be more than all.
#[test]
fn seventeen_levels_come_with_more_precision_for_larger_keys() {
    let errors = ["n16-boot-deep", "n16-boot-17"].map(|preset| {
        let parameters = Parameters::preset(preset, Security::Enforce).unwrap();
        let (boot, error) = (parameters.bootstrap().unwrap(), BootstrapError::of(&parameters).unwrap());
        assert_eq!(boot.output_level - boot.slots_to_coeffs.len(), 17, "{preset}");
        let theta = std::f64::consts::TAU / f64::from(boot.message_ratio).exp2();
        let cubic = theta * theta / 6.0;
        let cosine = boot.cosine_error.0 * 4f64.powi(boot.double_angles as i32) / theta;
        let least = cubic - theta.powi(4) / 120.0;
        assert!(least <= error.approximation && error.approximation <= cubic + cosine, "{preset}: {error:?}");
        let model = NoiseModel::new(&parameters);
        let misplaced = model.slot_std(model.rounding(), parameters.canonical_scale(boot.output_level)) / theta;
        (error, misplaced)
    });
    let [(deep, _), (precise, misplaced)] = errors;
    assert!(precise.approximation < deep.approximation && precise.deviation < deep.deviation, "{deep:?}, {precise:?}");
    assert!(precise.deviation < misplaced, "{precise:?}, {misplaced:e}");
}
