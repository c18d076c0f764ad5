//! Sparse packing at toy sizes: stages against their meaning, and the precision against its prediction.

use super::tests_bootstrap::{FAILURE, PRESETS, Setup};
use super::*;
use crate::ckks::{SecretKey, decrypt};
use num_complex::Complex64;
use rug::Integer;

/// Setup, maps and keys for one period.
fn sparse_setup(preset: &str, seed: u8, period: usize) -> (Setup, SparseMaps) {
    println!("period {period}");
    let mut setup = Setup::new(preset, seed);
    let maps = SparseMaps::encode(&setup.params, &setup.encoder, period).unwrap();
    setup.add_rotations(maps.rotations(&setup.params));
    (setup, maps)
}

fn periods(setup: &Setup) -> impl Iterator<Item = usize> + use<> {
    let slots = setup.params.slots();
    [2, slots / 4, slots / 2].into_iter()
}

fn repeated(slots: &[Complex64], period: usize) -> Vec<Complex64> {
    slots[..period].repeat(slots.len() / period)
}

/// `r[boot.sparse.input]`, `r[boot.sparse.factors]` and `r[boot.sparse.stc]`.
#[test]
fn a_period_becomes_coefficients_of_the_subring() {
    for preset in PRESETS {
        for period in periods(&Setup::new(preset, 1)) {
            let (setup, maps) = sparse_setup(preset, 1, period);
            let slots = repeated(&setup.random(1), period);
            let bootstrap = SparseBootstrap::new(setup.bootstrap(), &maps);
            let low = bootstrap.slots_to_coeffs(&setup.encrypt(&slots, 0)).unwrap();
            let label = setup.boot().slots_to_coeffs.last().unwrap().label.0;
            assert_eq!((low.level, low.scale), (0, label));
            let coefficients = decrypt(&setup.secret, &low).unwrap().poly.centred();
            let copies = slots.len() / period;
            // Not averaged over copies, a slot's error appears as in a full bootstrap.
            let deviation = setup.shared_variance(&maps).sqrt() * (copies as f64).sqrt() + setup.input_deviation();
            let bound = (2.0 * slots.len() as f64 / FAILURE).ln() / 2f64.sqrt() * deviation;
            for (k, z) in slots[..period].iter().enumerate() {
                let t = copies * (k.reverse_bits() >> (usize::BITS - period.ilog2()));
                let imaginary = &coefficients[t + copies * period];
                let got = Complex64::new(coefficients[t].to_f64() / label, imaginary.to_f64() / label);
                assert!((got - z).norm() <= bound, "{preset}, slot {k}: {got} for {z}, bound {bound:e}");
            }
        }
    }
}

/// `r[boot.sparse.modraise]`, `r[boot.sparse.trace]` and `r[boot.sparse.range]`: what is in the subring stays, the rest goes, up to the errors of
/// key switches.
#[test]
fn the_projection_keeps_the_subring_and_the_range() {
    for preset in PRESETS {
        for period in periods(&Setup::new(preset, 2)) {
            let (setup, maps) = sparse_setup(preset, 2, period);
            let slots = repeated(&setup.random(2), period);
            let (full, bootstrap) = (setup.bootstrap(), SparseBootstrap::new(setup.bootstrap(), &maps));
            let low = bootstrap.slots_to_coeffs(&setup.encrypt(&slots, 0)).unwrap();
            let raised = bootstrap.mod_raise(&full.to_ephemeral(&low).unwrap()).unwrap();
            let left_out = setup.boot().coeffs_to_slots.len() - maps.coeffs_to_slots.len();
            assert_eq!(raised.level, setup.params.max_level() - left_out);
            let weight = setup.boot().ephemeral_weight;
            let ephemeral = SecretKey::ephemeral(&setup.params, &setup.seed, weight).unwrap();
            let before = decrypt(&ephemeral, &raised).unwrap().poly.centred();
            let projected = bootstrap.project(&full.from_ephemeral(&raised).unwrap()).unwrap();
            let after = decrypt(&setup.secret, &projected).unwrap().poly.centred();
            let (q0, copies) = (Integer::from(setup.params.q()[0]), slots.len() / period);
            let limit = &q0 * Integer::from(weight + 1) / 2u32;
            // Key switches: `g - 1` of the trace and that from the ephemeral secret, as often as copies meet.
            let variance = copies as f64 * copies as f64 * setup.keyswitch_variance(projected.level);
            let bound = (2.0 * (2.0 * after.len() as f64 / FAILURE).ln()).sqrt() * variance.sqrt();
            for (i, (x, y)) in before.iter().zip(&after).enumerate() {
                let expected = if i % copies == 0 { x.clone() } else { Integer::new() };
                let error = (y - expected).to_f64().abs();
                assert!(
                    error <= bound && x.clone().abs() <= limit,
                    "{preset}, coefficient {i}: {error:e} above {bound:e}"
                );
            }
            assert!(before.iter().any(|x| x.clone().abs() > q0), "{preset}: no multiple of q_0 was added");
        }
    }
}

/// `r[boot.sparse.cts]`, `r[boot.sparse.packing]`, `r[boot.sparse.unpack]` with the keys of `r[boot.sparse.keys]`: the error is that of
/// `r[boot.sparse.noise]` and `r[boot.approximation]`, for the inputs of `r[boot.precision]`.
#[test]
fn sparse_bootstraps_are_within_the_predicted_precision() {
    for preset in PRESETS {
        for period in periods(&Setup::new(preset, 3)) {
            let (setup, maps) = sparse_setup(preset, 3, period);
            let bootstrap = SparseBootstrap::new(setup.bootstrap(), &maps);
            let output = setup.boot().output_level;
            let mut worst: f64 = 0.0;
            for (index, (name, slots)) in (0..).zip(setup.inputs()) {
                let slots = repeated(&slots, period);
                let real: Vec<Complex64> = slots.iter().map(|z| Complex64::new(z.re, 0.0)).collect();
                for (kind, slots, level) in [(SlotKind::Complex, &slots, output - 1), (SlotKind::Real, &real, output)] {
                    let result = bootstrap.apply(&setup.encrypt(slots, index), kind).unwrap();
                    assert_eq!((result.level, result.scale), (level, setup.params.canonical_scale(level).unwrap()));
                    let variance = setup.shared_variance(&maps) + setup.own_variance(&maps, kind);
                    let deviation = variance.sqrt().hypot(setup.input_deviation());
                    let tail = (2.0 * slots.len() as f64 / FAILURE).ln() / 2f64.sqrt();
                    let bound = tail * deviation + setup.approximation();
                    for (got, z) in setup.slots_of(&result).iter().zip(slots.iter()) {
                        let error = (got.re - z.re).abs().max((got.im - z.im).abs());
                        assert!(error <= bound, "{preset}, {name}, {kind:?}: {error:e} above {bound:e}");
                        worst = worst.max(error / deviation);
                    }
                }
            }
            println!("worst {worst:.2} deviations");
            assert!(worst > 0.25, "{preset}, period {period}: worst {worst:e} deviations");
        }
    }
}

#[test]
fn unsuitable_periods_are_refused() {
    let setup = Setup::new("toy-n5-boot", 4);
    for period in [0, 1, 3, setup.params.slots(), usize::MAX] {
        let refused = SparseMaps::encode(&setup.params, &setup.encoder, period);
        assert!(matches!(refused, Err(ReferenceError::BadOperand { operation: "sparse packing", .. })), "{period}");
    }
}
