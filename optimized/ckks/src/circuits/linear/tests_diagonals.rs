//! Maps with plaintexts encoded on the fly against the operations one by one, bit for bit.

use super::*;
use crate::circuits::testing::{Fixture, numbers};
use crate::{Context, KernelKind};

fn complex(seed: u64, count: usize) -> Vec<Complex64> {
    numbers(seed, 2 * count).chunks(2).map(|pair| Complex64::new(pair[0], pair[1])).collect()
}

/// All slots of a diagonal.
fn slots_of(diagonal: &Diagonal, slots: usize) -> Vec<Complex64> {
    match diagonal {
        Diagonal::Slots(values) => values.clone(),
        Diagonal::Periodic(period) => period.iter().copied().cycle().take(slots).collect(),
    }
}

/// The rule with nothing fused: encode, multiply, add, rotate, rescale.
fn by_the_book(
    ev: &Evaluator,
    encoder: &Encoder,
    babies: &[Ciphertext],
    giants: &[i64],
    diagonal: impl Fn(usize, usize) -> Option<Diagonal>,
) -> Ciphertext {
    let (level, scale) = (babies[0].level(), babies[0].scale());
    let mut total: Option<Ciphertext> = None;
    let join = |total: &mut Option<Ciphertext>, term: Ciphertext| match total {
        Some(total) => ev.add_assign(total, &term).unwrap(),
        None => *total = Some(term),
    };
    for (g, giant) in giants.iter().enumerate() {
        let mut sum = None;
        for (b, baby) in babies.iter().enumerate() {
            if let Some(diagonal) = diagonal(g, b) {
                let slots = slots_of(&diagonal, encoder.context().parameters().slots());
                let plain = encoder.encode(&slots, level, scale).unwrap();
                join(&mut sum, ev.mul_plain(baby, &plain).unwrap());
            }
        }
        if let Some(sum) = sum {
            join(&mut total, ev.rotate(&sum, *giant).unwrap());
        }
    }
    ev.rescale(&total.unwrap()).unwrap()
}

/// Full and short diagonals of several periods, some missing; the giant step with number 2 has none.
fn mixed(slots: usize) -> impl Fn(usize, usize) -> Option<Diagonal> + Sync {
    move |g, b| match (g, b % 7) {
        (2, _) | (_, 6) => None,
        (_, kind @ 0..=1) => Some(Diagonal::Slots(complex((10 * g + kind) as u64, slots))),
        (_, kind) => {
            let period = [1, 8, 16, slots / 2][kind - 2];
            Some(Diagonal::Periodic(complex((10 * g + b) as u64, period)))
        }
    }
}

#[test]
fn maps_equal_separate_operations() {
    let giants = [0, 16, -3, 5];
    for (preset, babies) in [("toy-n8", 37), ("small-n12", 10)] {
        let fixture = Fixture::new(preset, 50, giants.into_iter().chain([1]));
        let ev = fixture.evaluator();
        let babies: Vec<Ciphertext> = (0..babies).map(|b| fixture.encrypt(&complex(b, fixture.slots()))).collect();
        for level in [1, fixture.top()] {
            let babies: Vec<Ciphertext> = babies.iter().map(|baby| ev.to_level(baby, level).unwrap()).collect();
            let diagonal = mixed(fixture.slots());
            let got = apply_diagonals(&ev, &fixture.encoder, &babies, &giants, &diagonal).unwrap();
            let expected = by_the_book(&ev, &fixture.encoder, &babies, &giants, &diagonal);
            assert!(got == expected, "{preset}, level {level}");
        }
    }
}

#[test]
fn kernels_agree() {
    let fixture = Fixture::new("toy-n8", 51, []);
    let babies: Vec<Ciphertext> = (0..20).map(|b| fixture.encrypt(&complex(b, fixture.slots()))).collect();
    let run = |kind| {
        let context = Context::with_kernel(fixture.context.parameters().clone(), kind).unwrap();
        let keys = crate::EvaluationKeys::new();
        let (ev, encoder) = (Evaluator::new(&context, &keys), Encoder::new(&context));
        apply_diagonals(&ev, &encoder, &babies, &[0], mixed(fixture.slots())).unwrap()
    };
    let scalar = run(KernelKind::Scalar);
    assert!(KernelKind::available().all(|kind| run(kind) == scalar));
}

#[test]
fn periods_encode_to_the_same_integers() {
    for preset in ["toy-n8", "small-n12"] {
        let fixture = Fixture::new(preset, 52, []);
        let (n, slots) = (2 * fixture.slots(), fixture.slots());
        for log_period in 0..=slots.ilog2() {
            let period = complex(u64::from(log_period), 1 << log_period);
            let all = slots_of(&Diagonal::Periodic(period.clone()), slots);
            // 2^61 leaves integers whose low bits are rounding: even these are the same.
            for scale in [1.0, 1.1 * 2f64.powi(40), 2f64.powi(61)] {
                let kept = fixture.encoder.coefficients_periodic(&period, scale).unwrap();
                let full = fixture.encoder.coefficients(&all, scale).unwrap();
                let stride = n / kept.len();
                for (i, c) in full.iter().enumerate() {
                    let expected = if i % stride == 0 { kept[i / stride] } else { 0 };
                    assert_eq!(*c, expected, "{preset}, period {}, coefficient {i}", period.len());
                }
            }
        }
    }
}

#[test]
fn runs_have_no_short_form() {
    let fixture = Fixture::new("toy-n8", 53, []);
    let values = complex(1, fixture.slots() / 8);
    let runs: Vec<Complex64> = values.iter().flat_map(|v| [*v; 8]).collect();
    let full = fixture.encoder.coefficients(&runs, 2f64.powi(40)).unwrap();
    let zeros = full.iter().filter(|c| **c == 0).count();
    assert!(zeros < full.len() / 4, "{zeros} zeros");
}

#[test]
fn unsuitable_periods_are_refused() {
    let fixture = Fixture::new("toy-n8", 54, []);
    let ev = fixture.evaluator();
    let babies = [fixture.encrypt(&complex(1, fixture.slots()))];
    for length in [0, 3, 2 * fixture.slots()] {
        let diagonal = |_, _| Some(Diagonal::Periodic(vec![Complex64::ONE; length]));
        let error = apply_diagonals(&ev, &fixture.encoder, &babies, &[0], diagonal).unwrap_err();
        assert!(matches!(error, CkksError::Slots { got, .. } if got == length), "{error}");
    }
    let other = Fixture::new("small-n12", 55, []);
    let diagonal = |_, _| Some(Diagonal::Periodic(vec![Complex64::ONE]));
    let error = apply_diagonals(&ev, &other.encoder, &babies, &[0], diagonal).unwrap_err();
    assert!(matches!(error, CkksError::Fingerprint { .. }), "{error}");
}
