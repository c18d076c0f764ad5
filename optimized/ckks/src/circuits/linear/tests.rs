//! Maps against their definitions.

use super::*;
use crate::circuits::testing::{Fixture, numbers};
use crate::ckks::noise::{SlotError, mul_plain};

fn diagonals(slots: usize, shifts: &[i64]) -> BTreeMap<i64, Vec<Complex64>> {
    let diagonal = |shift: &i64| {
        let drawn = numbers(*shift as u64, 2 * slots);
        drawn.chunks(2).map(|pair| Complex64::new(pair[0], pair[1])).collect()
    };
    shifts.iter().map(|shift| (*shift, diagonal(shift))).collect()
}

/// The definition: `out[s] = sum_r d_r[s] in[s + r]`.
fn direct(diagonals: &BTreeMap<i64, Vec<Complex64>>, input: &[Complex64]) -> Vec<Complex64> {
    let n = input.len() as i64;
    let slot = |s: i64| diagonals.iter().map(|(r, d)| d[s as usize] * input[(s + r).rem_euclid(n) as usize]).sum();
    (0..n).map(slot).collect()
}

fn check_map(preset: &str, seed: u128, shifts: &[i64]) {
    let slots = Fixture::new(preset, seed, []).slots();
    let diagonals = diagonals(slots, shifts);
    let map = LinearMap::from_diagonals(slots, &diagonals).unwrap();
    let fixture = Fixture::new(preset, seed, map.rotations());
    let input: Vec<_> = numbers(9, 2 * slots).chunks(2).map(|pair| Complex64::new(pair[0], pair[1])).collect();
    let value = map.apply(&fixture.evaluator(), &fixture.encoder, &fixture.encrypt(&input)).unwrap();

    // Every term multiplies a rotated input by an encoded diagonal; values are below sqrt(2) in absolute value.
    let root = std::f64::consts::SQRT_2;
    let baby = SlotError { value: root, error: fixture.input_error() + fixture.rotation_error() };
    let term = mul_plain(baby, SlotError { value: root, error: fixture.encoding_error() });
    let rescales = (map.giant_steps().len() + 1) as f64 * fixture.steps(1).rescale;
    let bound = shifts.len() as f64 * term + rescales;
    let got = fixture.decrypt(&value, fixture.top() - 1);
    for (slot, (got, expected)) in got.iter().zip(direct(&diagonals, &input)).enumerate() {
        let error = (got - expected).norm();
        assert!(error <= bound, "{preset}, {} shifts, slot {slot}: {error:e} above {bound:e}", shifts.len());
    }
}

#[test]
fn maps_equal_their_definition() {
    let dense: Vec<i64> = (0..128).collect();
    check_map("toy-n8", 1, &dense);
    check_map("toy-n8", 2, &[0]);
    check_map("toy-n8", 3, &[5]);
    check_map("toy-n8", 4, &[-3, -2, -1, 0, 1, 2, 3]);
    check_map("toy-n8", 5, &[0, 17, 34, 51, 68, -17]);
    check_map("small-n12", 6, &[0, 1, 2, 3, 4, 5, 6, 7, 64, 65, 1024, -1]);
}

#[test]
fn schedules_need_few_rotations() {
    let rotations = |slots: usize, shifts: &[i64]| {
        LinearMap::from_diagonals(slots, &diagonals(slots, shifts)).unwrap().rotations().len()
    };
    let dense: Vec<i64> = (0..1024).collect();
    // 32 babies and 32 giants, one of each is 0.
    assert_eq!(rotations(1024, &dense), 62);
    assert_eq!(rotations(1024, &[0]), 0);
    assert_eq!(rotations(1024, &[1023]), 1);
}

#[test]
fn shared_babies_serve_several_maps() {
    let fixture = Fixture::new("toy-n8", 11, [1, 2, 4]);
    let ev = fixture.evaluator();
    let input: Vec<_> = numbers(2, fixture.slots()).into_iter().map(|x| Complex64::new(x, 0.0)).collect();
    let babies = ev.rotate_hoisted(&fixture.encrypt(&input), &[0, 1, 2]).unwrap();
    for weight in [1.0, -0.5] {
        let diagonal = |g, b| (g == b || b == 0).then(|| vec![Complex64::new(weight, 0.0); input.len()]);
        let value = apply_diagonals(&ev, &fixture.encoder, &babies, &[0, 4], diagonal).unwrap();
        let got = fixture.decrypt(&value, fixture.top() - 1);
        let at = |s: usize| input[s % input.len()];
        let baby = SlotError { value: 1.0, error: fixture.input_error() + fixture.rotation_error() };
        let term = mul_plain(baby, SlotError { value: 1.0, error: fixture.encoding_error() });
        let bound = 3.0 * term + 3.0 * fixture.steps(1).rescale;
        for (s, got) in got.iter().enumerate() {
            let expected = weight * (at(s) + at(s + 4) + at(s + 5));
            assert!((got - expected).norm() <= bound, "slot {s}, weight {weight}");
        }
    }
}

#[test]
fn inner_sums_equal_their_definition() {
    for (count, stride) in [(1, 1), (2, 3), (3, 1), (8, 4), (13, -2), (128, 1)] {
        let rotations = inner_sum_rotations(count, stride);
        let ones = count.count_ones() as usize;
        assert!(rotations.len() < count.ilog2() as usize + ones, "{count}: {rotations:?}");
        let fixture = Fixture::new("toy-n8", 20 + count as u128, rotations);
        let input = numbers(4, fixture.slots());
        let sum = inner_sum(&fixture.evaluator(), &fixture.encrypt_real(&input), count, stride).unwrap();
        let got = fixture.decrypt(&sum, fixture.top());
        // Every rotation's error reaches at most as many summands as its block holds.
        let bound = count as f64 * (fixture.input_error() + 2.0 * fixture.rotation_error());
        for (s, got) in got.iter().enumerate() {
            let index = |i: usize| (s as i64 + i as i64 * stride).rem_euclid(input.len() as i64) as usize;
            let expected: f64 = (0..count).map(|i| input[index(i)]).sum();
            assert!((got - expected).norm() <= bound, "count {count}, stride {stride}, slot {s}");
        }
    }
}

#[test]
fn unsuitable_maps_are_refused() {
    let fixture = Fixture::new("toy-n8", 30, []);
    let ev = fixture.evaluator();
    let ct = fixture.encrypt_real(&vec![0.0; fixture.slots()]);
    let refused = |got: Result<Ciphertext, CkksError>| got.unwrap_err();
    let none = apply_diagonals(&ev, &fixture.encoder, &[], &[0], |_, _| None::<Diagonal>);
    assert!(matches!(refused(none), CkksError::Argument { .. }));
    let none = apply_diagonals(&ev, &fixture.encoder, std::slice::from_ref(&ct), &[0], |_, _| None::<Diagonal>);
    assert!(matches!(refused(none), CkksError::Argument { .. }));
    let short = |_, _| Some(vec![Complex64::new(1.0, 0.0); 3]);
    let short = apply_diagonals(&ev, &fixture.encoder, std::slice::from_ref(&ct), &[0], short);
    assert!(matches!(refused(short), CkksError::Slots { .. }));
    let map = LinearMap::from_diagonals(fixture.slots(), &diagonals(fixture.slots(), &[1])).unwrap();
    assert!(matches!(refused(map.apply(&ev, &fixture.encoder, &ct)), CkksError::MissingKey { .. }));
    assert!(LinearMap::from_diagonals(8, &diagonals(8, &[1, 9])).is_err());
    assert!(LinearMap::from_diagonals(8, &diagonals(4, &[1])).is_err());
    assert!(matches!(refused(inner_sum(&ev, &ct, 0, 1)), CkksError::Argument { .. }));
}
