//! Keys whose uniform halves are drawn when they are used: the same bits for half the memory.

use super::*;

/// All keys of a fixture, compressed.
fn compressed(f: &Fixture) -> EvaluationKeys {
    let mut keys = EvaluationKeys::new();
    for key in f.keys.switch_keys() {
        keys.insert(key.compressed(&f.context).unwrap());
    }
    keys
}

#[test]
fn compressed_keys_give_the_same_bits() {
    for preset in PRESETS {
        let f = Fixture::new(preset);
        let small = Evaluator::new(&f.context, &compressed(&f));
        let top = f.parameters().max_level();
        for level in [top, top / 2, 1] {
            let (x, y) = (f.encrypt(&f.slots(1), level, 0), f.encrypt(&f.slots(2), level, 1));
            assert_eq!(small.mul_rescale(&x, &y).unwrap(), f.evaluator.mul_rescale(&x, &y).unwrap());
            assert_eq!(small.conjugate(&x).unwrap(), f.evaluator.conjugate(&x).unwrap());
            assert_eq!(small.rotate(&x, STEPS[1]).unwrap(), f.evaluator.rotate(&x, STEPS[1]).unwrap());
            assert_eq!(small.rotate_hoisted(&x, &STEPS).unwrap(), f.evaluator.rotate_hoisted(&x, &STEPS).unwrap());
        }
    }
}

#[test]
fn a_compressed_key_takes_half_the_memory_and_is_the_key_of_the_book() {
    let f = Fixture::new("toy-n8");
    for key in f.keys.switch_keys() {
        let small = key.compressed(&f.context).unwrap();
        assert_eq!(2 * small.bytes(), key.bytes());
        for digit in 0..key.digit_count() {
            assert_eq!(small.digit(&f.context, digit).unwrap(), key.digit(&f.context, digit).unwrap());
        }
        let lower = key.level() - 1;
        let cut = key.truncated(&f.context, lower).unwrap().compressed(&f.context).unwrap();
        assert_eq!(small.truncated(&f.context, lower).unwrap(), cut);
    }
}

#[test]
fn keys_fit_a_limit_or_stay_as_they_are() {
    let f = Fixture::new("toy-n8");
    let (all, least) = (f.keys.bytes(), compressed(&f).bytes());
    assert!(least < all);
    for limit in [usize::MAX, all, all - 1, (all + least) / 2, least] {
        let mut keys = f.keys.clone();
        let bytes = keys.fit(&f.context, limit).unwrap();
        assert_eq!(bytes, keys.bytes());
        assert!(bytes <= limit, "{bytes} bytes of at most {limit}");
        let halves = keys.switch_keys().zip(f.keys.switch_keys()).filter(|(a, b)| a.bytes() < b.bytes()).count();
        let largest = f.keys.switch_keys().map(|key| key.bytes() / 2).max().unwrap();
        assert_eq!(halves, all.saturating_sub(limit).div_ceil(largest), "all keys of this fixture are equally large");
    }
    let mut keys = f.keys.clone();
    let error = keys.fit(&f.context, least - 1).unwrap_err();
    assert!(error.to_string().contains(&least.to_string()), "{error}");
    assert_eq!(keys, f.keys);
}
