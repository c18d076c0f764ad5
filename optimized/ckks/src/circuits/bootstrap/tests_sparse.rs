//! Bootstrapping of slots with a period: all kinds of inputs, stage by stage, kernel against kernel, keys.

use super::tests::{FAILURE, Fixture, check, inputs};
use super::*;
use crate::arith::KernelKind;
use crate::circuits::testing::numbers;
use crate::ckks::noise::{NoiseModel, slot_bound_factor};
use crate::{Complex64, Security};

/// Presets with the periods to test: one factor, several, the largest period.
const PERIODS: [(&str, &[usize]); 3] =
    [("toy-n5-boot", &[2, 4, 8]), ("toy-n8-boot", &[2, 8, 64]), ("small-n12-boot", &[64])];

/// The inputs of `r[boot.precision]` with a period.
fn periodic_inputs(slots: usize, period: usize) -> impl Iterator<Item = (&'static str, Vec<Complex64>)> {
    inputs(period).into_iter().map(move |(name, input)| (name, input.repeat(slots / period)))
}

fn real_parts(slots: &[Complex64]) -> Vec<Complex64> {
    slots.iter().map(|z| Complex64::new(z.re, 0.0)).collect()
}

#[test]
fn all_kinds_of_inputs_come_back_within_the_bound() {
    for (preset, periods) in PERIODS {
        let fixture = Fixture::with_periods(preset, None, periods).unwrap();
        let (ev, boot, parameters) = (fixture.evaluator(), &fixture.bootstrapper, fixture.context.parameters());
        let output = parameters.bootstrap().unwrap().output_level;
        for &period in periods {
            let bound = |real: bool, level: usize| {
                let error = SparseBootstrapError::of(parameters, period, real).unwrap();
                fixture.bound_of(error.deviation(), error.approximation, level)
            };
            let low = boot.sparse(period).unwrap().input_level();
            for ((name, input), level) in
                periodic_inputs(fixture.slots(), period).zip([low, output].into_iter().cycle())
            {
                let what = format!("{preset}, period {period}, {name}, from level {level}");
                let ct = fixture.encrypt(&input, level);
                let result = boot.bootstrap_sparse(&ev, &ct, period).unwrap();
                assert_eq!((result.level(), result.scale()), (output - 1, parameters.canonical_scale(output - 1)));
                check(&what, &fixture.decrypt(&result), &input, bound(false, low));
                let result = boot.bootstrap_sparse_real(&ev, &ct, period).unwrap();
                assert_eq!((result.level(), result.scale()), (output, parameters.canonical_scale(output)));
                check(&format!("{what}, real"), &fixture.decrypt(&result), &real_parts(&input), bound(true, low));
            }
        }
    }
}

/// `r[boot.sparse.range]`: a period has its share of the coefficients that may exceed the range.
#[test]
fn failure_is_in_proportion_to_the_period() {
    for preset in ["n16-boot", "n16-boot-deep", "n16-boot-17"] {
        let parameters = Parameters::preset(preset, Security::Enforce).unwrap();
        let full = BootstrapError::of(&parameters).unwrap().failure;
        assert!(full > 0.0 && full < 2f64.powi(-59), "{preset}: {full:e}");
        for period in [2, 256, parameters.slots() / 2] {
            let sparse = SparseBootstrapError::of(&parameters, period, true).unwrap().failure;
            assert_eq!(sparse, full * period as f64 / parameters.slots() as f64, "{preset}, period {period}");
        }
    }
}

#[test]
fn stages_hold_what_the_book_says() {
    let period = 16;
    let fixture = Fixture::with_periods("toy-n8-boot", None, &[period]).unwrap();
    let (ev, boot) = (fixture.evaluator(), &fixture.bootstrapper);
    let (sparse, parameters) = (boot.sparse(period).unwrap(), fixture.context.parameters());
    let section = parameters.bootstrap().unwrap();
    let (q0, unit, n) = (parameters.chain()[0] as f64, f64::from(section.message_ratio).exp2(), fixture.slots());
    let error = SparseBootstrapError::of(parameters, period, false).unwrap();
    let bound = fixture.bound_of(error.deviation(), error.approximation, sparse.input_level());
    let input = periodic_inputs(n, period).next().unwrap().1;
    let step = n / period;
    let coefficients = |ct: &Ciphertext| {
        let plain = crate::decrypt(&fixture.context, fixture.secret(), ct).unwrap();
        fixture.encoder.decode_coeffs(&plain).unwrap()
    };
    let reversed = |k: usize| k.reverse_bits() >> (usize::BITS - period.trailing_zeros());
    let pack = |c: &[f64], unit: f64| -> Vec<Complex64> {
        let part = |k: usize| c[step * k] / unit;
        (0..period).map(|k| Complex64::new(part(reversed(k)), part(reversed(k) + period))).collect()
    };

    let down = sparse.slots_to_coeffs(&ev, &fixture.encrypt(&input, sparse.input_level())).unwrap();
    assert_eq!((down.level(), down.scale()), (0, q0 / unit));
    check("coefficients", &pack(&coefficients(&down), q0 / unit), &input[..period], bound);

    let raised = sparse.mod_raise(&ev, &down).unwrap();
    let whole: Vec<f64> = coefficients(&raised).iter().map(|c| c / q0).collect();
    assert!((0..whole.len()).any(|i| i % step != 0 && whole[i].abs() > 0.5), "nothing outside the subring");
    let projected = sparse.project(&ev, &raised).unwrap();
    assert_eq!((projected.level(), projected.scale()), (raised.level(), raised.scale()));
    let t: Vec<f64> = coefficients(&projected).iter().map(|c| c / q0).collect();
    for (i, (t, whole)) in t.iter().zip(&whole).enumerate() {
        let expected = if i % step == 0 { *whole } else { 0.0 };
        assert!((t - expected).abs() <= bound / unit, "coefficient {i}: {t}, expected {expected}");
    }
    let limit = (section.ephemeral_weight as f64 + 1.0) / 2.0;
    assert!(t.iter().all(|t| t.abs() <= limit) && t.iter().any(|t| t.abs() > 0.75));

    let packed = sparse.pack_slots(&ev, &projected).unwrap();
    let range = f64::from(section.range);
    let part = |j: usize| t[step * (reversed(j % period) + j / period % 2 * period)];
    let expected: Vec<_> = (0..n).map(|j| Complex64::new(part(j), 0.0)).collect();
    let got: Vec<_> = fixture.decrypt(&packed).iter().map(|z| z * range).collect();
    check("packed slots of t", &got, &expected, bound / unit);
    let value = boot.eval_mod(&ev, &packed).unwrap();
    check("unpacked", &fixture.decrypt(&sparse.unpack(&ev, &value).unwrap()), &input, bound);
}

/// Noise of its own that every copy has averages out; what copies share does not (`r[boot.sparse.noise]`).
#[test]
fn copies_share_what_the_prediction_says() {
    let period = 4;
    let fixture = Fixture::with_periods("small-n12-boot", None, &[period]).unwrap();
    let (ev, boot) = (fixture.evaluator(), &fixture.bootstrapper);
    let copies = fixture.slots() / period;
    let level = boot.sparse(period).unwrap().input_level();
    // Near 0 the errors of the approximations vanish.
    let input = vec![Complex64::new(0.0, 0.0); fixture.slots()];
    let got = fixture.decrypt(&boot.bootstrap_sparse_real(&ev, &fixture.encrypt(&input, level), period).unwrap());
    let mean = |j: usize| got.iter().skip(j).step_by(period).map(|z| z.re).sum::<f64>() / copies as f64;
    let spread: f64 = got.iter().enumerate().map(|(i, z)| (z.re - mean(i % period)).powi(2)).sum();
    let own = (spread / ((copies - 1) * period) as f64).sqrt();
    let error = SparseBootstrapError::of(fixture.context.parameters(), period, true).unwrap();
    println!("own: {own:e}, predicted {:e}; shared: predicted {:e}", error.own, error.shared);
    // The prediction takes the worst argument of the cosine, so it bounds from above.
    assert!(own <= 1.1 * error.own, "{own:e}, predicted {:e}", error.own);
    let model = NoiseModel::new(fixture.context.parameters());
    let fresh = model.slot_std(model.fresh_secret(), fixture.context.parameters().canonical_scale(level));
    let deviation = error.shared.hypot(fresh.hypot(error.own) / (copies as f64).sqrt());
    for j in 0..period {
        let bound = slot_bound_factor(FAILURE, period as f64) * deviation;
        assert!(mean(j).abs() <= bound, "slot {j}: mean {:e}, bound {bound:e}", mean(j));
    }
}

/// Copies that differ are replaced by their mean (`r[boot.sparse.input]`).
#[test]
fn the_result_is_the_mean_of_copies() {
    let period = 8;
    let fixture = Fixture::with_periods("toy-n8-boot", None, &[period]).unwrap();
    let (ev, boot, n) = (fixture.evaluator(), &fixture.bootstrapper, fixture.slots());
    let values = numbers(3, n);
    let input: Vec<_> = values.iter().map(|x| Complex64::new(*x, 0.0)).collect();
    let mean = |j: usize| values.iter().skip(j % period).step_by(period).sum::<f64>() * period as f64 / n as f64;
    let expected: Vec<_> = (0..n).map(|j| Complex64::new(mean(j), 0.0)).collect();
    let error = SparseBootstrapError::of(fixture.context.parameters(), period, true).unwrap();
    let level = boot.sparse(period).unwrap().input_level();
    let result = boot.bootstrap_sparse_real(&ev, &fixture.encrypt(&input, level), period).unwrap();
    let bound = fixture.bound_of(error.deviation(), error.approximation, level);
    check("mean", &fixture.decrypt(&result), &expected, bound);
}

#[test]
fn kernels_agree() {
    for (preset, periods) in &PERIODS[..2] {
        for &period in *periods {
            let mut results = Vec::new();
            for kind in [KernelKind::Scalar, KernelKind::Avx2] {
                let Some(fixture) = Fixture::with_periods(preset, Some(kind), &[period]) else { continue };
                let input = periodic_inputs(fixture.slots(), period).next().unwrap().1;
                let (ev, boot) = (fixture.evaluator(), &fixture.bootstrapper);
                let ct = fixture.encrypt(&input, boot.input_level());
                results.push(boot.bootstrap_sparse(&ev, &ct, period).unwrap());
            }
            assert!(results.iter().all(|result| *result == results[0]), "{preset}, period {period}");
        }
    }
}

#[test]
fn keys_needed_are_known_without_preparing_the_maps() {
    for (preset, periods) in PERIODS {
        let parameters = Parameters::preset(preset, Security::AllowInsecure).unwrap();
        let mut bootstrapper = Bootstrapper::new(&Context::new(parameters.clone()).unwrap()).unwrap();
        let mut needed = KeysNeeded::of(&parameters).unwrap();
        for &period in periods {
            bootstrapper.prepare_sparse(period).unwrap();
            let own = KeysNeeded::of_sparse(&parameters, period).unwrap();
            assert!(own.rotations.keys().all(|steps| 2 * steps.unsigned_abs() as usize <= parameters.slots()));
            needed.include(&own);
            assert_eq!(needed, bootstrapper.keys_needed(), "{preset}, period {period}");
        }
    }
}

#[test]
fn unsuitable_periods_and_inputs_are_refused() {
    let fixture = Fixture::with_periods("toy-n5-boot", None, &[4]).unwrap();
    let (ev, mut boot) = (fixture.evaluator(), fixture.bootstrapper.clone());
    let parameters = fixture.context.parameters();
    for period in [0, 1, 3, fixture.slots(), 2 * fixture.slots(), usize::MAX] {
        assert!(matches!(boot.prepare_sparse(period), Err(CkksError::Argument { .. })), "{period}");
        assert!(matches!(KeysNeeded::of_sparse(parameters, period), Err(CkksError::Argument { .. })), "{period}");
        assert!(matches!(SparseBootstrapError::of(parameters, period, true), Err(CkksError::Argument { .. })));
    }
    let ct = fixture.encrypt(&vec![Complex64::new(0.5, 0.0); fixture.slots()], boot.input_level());
    assert!(matches!(boot.bootstrap_sparse(&ev, &ct, 8), Err(CkksError::Argument { .. })));
    let sparse = boot.sparse(4).unwrap();
    let bottom = ev.drop_level(&ct, 0).unwrap();
    assert!(matches!(boot.bootstrap_sparse(&ev, &bottom, 4), Err(CkksError::Level { .. })));
    assert!(matches!(sparse.mod_raise(&ev, &ct), Err(CkksError::Level { .. })));
    assert!(matches!(sparse.real_slots(&ev, &ct), Err(CkksError::Level { .. })));
    assert!(matches!(ev.mul_inverse(&ct, 0), Err(CkksError::Argument { .. })));
    let bare = Evaluator::new(&fixture.context, &crate::EvaluationKeys::new());
    assert!(matches!(boot.bootstrap_sparse_real(&bare, &ct, 4), Err(CkksError::MissingKey { .. })));
}
