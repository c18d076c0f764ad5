//! Bad input is refused with the error that names it.

use super::*;
use crate::CkksError;

#[test]
fn levels_and_scales_must_match() {
    let fixture = Fixture::new("toy-n8");
    let (evaluator, x) = (&fixture.evaluator, fixture.slots(1));
    let (high, low) = (fixture.encrypt(&x, 3, 0), fixture.encrypt(&x, 2, 1));
    for result in [evaluator.add(&high, &low), evaluator.sub(&high, &low), evaluator.mul(&high, &low)] {
        assert!(matches!(result, Err(CkksError::Level { expected: 3, got: 2, .. })), "{result:?}");
    }
    let dropped = evaluator.drop_level(&high, 2).unwrap();
    let plain = fixture.encoder.encode(&x, 2, high.scale()).unwrap();
    for result in [
        evaluator.add(&dropped, &low),
        evaluator.add_plain(&low, &plain),
        evaluator.sub_plain(&low, &plain),
        evaluator.to_level(&dropped, 2),
    ] {
        assert!(matches!(result, Err(CkksError::Scale { .. })), "{result:?}");
    }
    assert!(matches!(evaluator.mul_plain(&high, &plain), Err(CkksError::Level { .. })));
    let mut sum = low.clone();
    assert!(matches!(evaluator.mul_plain_acc(&mut sum, &low, &plain), Err(CkksError::Scale { .. })));
    assert!(matches!(evaluator.drop_level(&low, 3), Err(CkksError::Level { .. })));
    assert!(matches!(evaluator.to_level(&low, 3), Err(CkksError::Level { .. })));
}

#[test]
fn levels_run_out() {
    let fixture = Fixture::new("toy-n8");
    let a = fixture.encrypt(&fixture.slots(1), 0, 0);
    let evaluator = &fixture.evaluator;
    let one = Complex64::new(1.0, 0.0);
    for result in [evaluator.rescale(&a), evaluator.mul_rescale(&a, &a), evaluator.mul_const_to_level(&a, one, 0)] {
        assert!(matches!(result, Err(CkksError::LevelExhausted { got: 0, .. })), "{result:?}");
    }
}

#[test]
fn keys_must_exist_and_reach_the_level() {
    let fixture = Fixture::new("toy-n8");
    let mut keys = EvaluationKeys::new();
    let a = fixture.encrypt(&fixture.slots(1), 3, 0);
    let bare = Evaluator::new(&fixture.context, &keys);
    let missing = |result: Result<_, CkksError>, name: &str| match result {
        Err(CkksError::MissingKey { what, level: 3 }) => assert_eq!(what, name),
        other => panic!("{name}: {:?}", other.map(|_: Ciphertext| "a ciphertext")),
    };
    missing(bare.rotate(&a, 3), "rotation by 3");
    missing(bare.conjugate(&a), "conjugation");
    missing(bare.mul(&a, &a), "relinearisation");
    missing(bare.rotate_hoisted(&a, &[0, 5]).map(|mut all| all.remove(0)), "rotation by 5");
    keys.insert(fixture.generator.relinearisation_key(&fixture.secret, 2).unwrap());
    let evaluator = Evaluator::new(&fixture.context, &keys);
    let error = evaluator.mul_rescale(&a, &a).unwrap_err();
    assert!(matches!(error, CkksError::KeyLevel { expected: 3, got: 2, .. }), "{error}");
    assert!(matches!(fixture.evaluator.galois(&a, 4), Err(CkksError::Argument { .. })));
    let top = fixture.parameters().max_level();
    assert!(matches!(fixture.generator.conjugation_key(&fixture.secret, top + 1), Err(CkksError::Level { .. })));
    let key = fixture.keys.relinearisation(top).unwrap();
    let low = key.truncated(&fixture.context, 1).unwrap();
    assert!(matches!(low.truncated(&fixture.context, 2), Err(CkksError::KeyLevel { .. })));
}

#[test]
fn objects_of_other_parameters_are_refused() {
    let (fixture, other) = (Fixture::new("toy-n8"), Fixture::new("toy-n5"));
    let (mine, foreign) = (fixture.encrypt(&fixture.slots(1), 2, 0), other.encrypt(&other.slots(1), 2, 0));
    let evaluator = &fixture.evaluator;
    for result in [
        evaluator.add(&mine, &foreign),
        evaluator.neg(&foreign),
        evaluator.rotate(&foreign, 0),
        evaluator.rescale(&foreign),
        Evaluator::new(&fixture.context, &other.keys).mul(&mine, &mine),
    ] {
        assert!(matches!(result, Err(CkksError::Fingerprint { .. })), "{result:?}");
    }
    let result = decrypt(&fixture.context, &other.secret, &mine);
    assert!(matches!(result, Err(CkksError::Fingerprint { .. })));
    let plain = other.encoder.encode(&other.slots(1), 0, other.scale(0)).unwrap();
    assert!(matches!(fixture.encoder.decode(&plain), Err(CkksError::Fingerprint { .. })));
}

#[test]
fn numbers_out_of_range_are_refused() {
    let fixture = Fixture::new("toy-n8");
    let (encoder, count) = (&fixture.encoder, fixture.parameters().slots());
    let zeros = vec![Complex64::default(); count];
    assert!(matches!(encoder.encode(&zeros[1..], 0, 1.0), Err(CkksError::Slots { .. })));
    assert!(matches!(encoder.encode(&zeros, 9, 1.0), Err(CkksError::Level { .. })));
    for scale in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(encoder.encode(&zeros, 0, scale), Err(CkksError::Argument { .. })), "{scale}");
    }
    for slot in [f64::NAN, f64::INFINITY, 2f64.powi(62), f64::MAX] {
        let slots = vec![Complex64::new(slot, 0.0); count];
        assert!(matches!(encoder.encode(&slots, 0, 1.0), Err(CkksError::Argument { .. })), "{slot}");
    }
    let mut coefficients = vec![0; 2 * count];
    coefficients[3] = i64::MIN;
    assert!(matches!(encoder.encode_coeffs(&coefficients, 0, 1.0), Err(CkksError::Argument { .. })));
    let a = fixture.encrypt(&zeros, 1, 0);
    let huge = Complex64::new(0.0, 2f64.powi(23));
    assert!(matches!(fixture.evaluator.add_const(&a, huge), Err(CkksError::Argument { .. })));
    assert!(matches!(fixture.evaluator.mul_const(&a, huge, 2f64.powi(80)), Err(CkksError::Argument { .. })));
    let nan = Complex64::new(f64::NAN, 0.0);
    assert!(matches!(fixture.evaluator.mul_const(&a, nan, 2f64.powi(80)), Err(CkksError::Argument { .. })));
    assert!(matches!(fixture.evaluator.mul_int(&a, i64::MIN), Err(CkksError::Argument { .. })));
}

#[test]
fn degrees_must_fit() {
    let fixture = Fixture::new("toy-n8");
    let (evaluator, a) = (&fixture.evaluator, fixture.encrypt(&fixture.slots(1), 2, 0));
    let lazy = evaluator.mul_lazy(&a, &a).unwrap();
    for result in
        [evaluator.mul(&lazy, &a), evaluator.rotate(&lazy, 0), evaluator.rotate(&lazy, 1), evaluator.relinearise(&a)]
    {
        assert!(matches!(result, Err(CkksError::Degree { .. })), "{result:?}");
    }
    let polys = vec![a.poly(0).clone()];
    assert!(matches!(Ciphertext::from_polys(&fixture.context, polys, 1.0), Err(CkksError::Degree { .. })));
}

#[test]
fn parts_of_other_shapes_are_refused() {
    let fixture = Fixture::new("toy-n8");
    let context = &fixture.context;
    let n = fixture.parameters().n();
    let refused = |coefficients: Vec<i8>| SecretKey::from_coefficients(context, coefficients).unwrap_err();
    assert!(matches!(refused(vec![0; n - 1]), CkksError::Slots { .. }));
    assert!(matches!(refused(vec![2; n]), CkksError::Argument { .. }));
    assert!(matches!(refused(vec![1; n]), CkksError::Argument { .. }), "toy-n8 has a fixed weight");

    let mut a = fixture.encrypt(&fixture.slots(1), 1, 0);
    a.polys[0].limb_mut(1)[7] = fixture.parameters().chain()[1];
    let polys = vec![a.poly(0).clone(), a.poly(1).clone()];
    assert!(matches!(Ciphertext::from_polys(context, polys, 1.0), Err(CkksError::Argument { .. })));

    let key = &fixture.keys.galois[&context.galois_element(1)];
    let (b, _) = key.digit(context, 0).unwrap();
    let streams = vec![key.streams(0).to_vec(); key.digit_count()];
    let halves = vec![b; key.digit_count()];
    let made = |id, level, halves, streams| SwitchKey::from_parts(context, id, level, halves, streams).unwrap_err();
    assert!(matches!(made(4, key.level(), halves.clone(), streams.clone()), CkksError::Argument { .. }));
    assert!(matches!(made(5, key.level() - 1, halves.clone(), streams.clone()), CkksError::Level { .. }));
    assert!(matches!(made(5, key.level(), halves[1..].to_vec(), streams.clone()), CkksError::Slots { .. }));
    let short = vec![streams[0][1..].to_vec(); key.digit_count()];
    assert!(matches!(made(5, key.level(), halves, short), CkksError::Slots { .. }));
}
