//! Prepared maps: bit for bit the rules of the book, whatever is compressed, kept or fused.

use super::*;
use crate::arith::KernelKind;
use crate::circuits::testing::{Fixture, numbers};
use crate::ckks::Extended;
use crate::ckks::keyswitch::mod_down;
use crate::ckks::noise::{SlotError, mul_plain};
use crate::ring::{Form, Poly};
use crate::{Context, EvaluationKeys, KeyGenerator, Parameters, Security, Seed};

/// Diagonals of period `period`.
fn periodic(slots: usize, period: usize, shifts: &[i64]) -> BTreeMap<i64, Vec<Complex64>> {
    let diagonal = |shift: &i64| {
        let drawn = numbers(*shift as u64 ^ 77, 2 * period);
        (0..slots).map(|s| Complex64::new(drawn[2 * (s % period)], drawn[2 * (s % period) + 1])).collect()
    };
    shifts.iter().map(|shift| (*shift, diagonal(shift))).collect()
}

fn input(fixture: &Fixture) -> Vec<Complex64> {
    numbers(9, 2 * fixture.slots()).chunks(2).map(|pair| Complex64::new(pair[0], pair[1])).collect()
}

/// `acc += X^g applied to x`, over `R_{Q_l P}`.
fn add_image(context: &Context, acc: &mut Poly, x: &Poly, steps: i64) {
    let permutation = context.permutation(context.galois_element(steps)).unwrap();
    let ring = context.ring();
    for i in 0..x.limb_count() {
        let mut image = vec![0; ring.n()];
        ring.kernels().permute(x.limb(i), &permutation, &mut image);
        ring.kernels().add_assign(ring.modulus(ring.prime_index(x.level(), i)), acc.limb_mut(i), &image);
    }
}

/// The rules step by step, on whole polynomials and full transforms.
fn by_the_book(ev: &Evaluator, map: &PreparedMap, ct: &Ciphertext) -> Ciphertext {
    let (context, level) = (ev.context(), ct.level());
    let ring = context.ring();
    let babies: Vec<Extended> = ev.rotate_hoisted_extended(ct, map.baby_steps()).unwrap();
    let mut sums = [ring.zero(level, true, Form::Eval), ring.zero(level, true, Form::Eval)];
    for (g, &giant) in map.giant_steps().iter().enumerate() {
        let mut inner = [ring.zero(level, true, Form::Eval), ring.zero(level, true, Form::Eval)];
        for (b, baby) in babies.iter().enumerate() {
            let Some(coefficients) = map.coefficients(g, b) else { continue };
            for (half, inner) in inner.iter_mut().enumerate() {
                for i in 0..inner.limb_count() {
                    let table = ring.table(ring.prime_index(level, i));
                    let mut plain: Vec<u64> = coefficients.iter().map(|c| table.modulus().from_i64(*c)).collect();
                    ring.kernels().ntt(table, &mut plain);
                    ring.kernels().mul_add_assign(table.modulus(), inner.limb_mut(i), baby.poly(half).limb(i), &plain);
                }
            }
        }
        let [u, w] = inner;
        add_image(context, &mut sums[0], &u, giant);
        if giant == 0 {
            add_image(context, &mut sums[1], &w, 0);
            continue;
        }
        let zero = ring.zero(level, false, Form::Eval);
        let lowered = mod_down(context, w);
        let switched = Ciphertext::from_polys(context, vec![zero, lowered], ct.scale()).unwrap();
        let raised = ev.rotate_hoisted_extended(&switched, &[giant]).unwrap();
        for (half, sum) in sums.iter_mut().enumerate() {
            add_image(context, sum, raised[0].poly(half), 0);
        }
    }
    let lowered = sums.into_iter().map(|sum| mod_down(context, sum)).collect();
    Ciphertext::from_polys(context, lowered, ct.scale() * map.scale()).unwrap()
}

/// Period and shifts of the maps under test.
fn cases(slots: usize) -> Vec<(usize, Vec<i64>)> {
    let butterflies = (-3..4).map(|k| k * (slots as i64 / 8)).collect();
    vec![
        (slots, (0..40).collect()),
        (slots, vec![0]),
        (slots, vec![5]),
        (8, (-7..8).collect()),
        (slots / 4, vec![-3, 0, 1, 64]),
        (4, butterflies),
    ]
}

#[test]
fn maps_follow_the_rules_bit_by_bit() {
    for preset in ["toy-n8", "small-n12"] {
        let slots = Fixture::new(preset, 40, []).slots();
        for (period, shifts) in cases(slots) {
            let shifts = shifts.into_iter().filter(|s| *s != slots as i64 / 2).collect::<Vec<_>>();
            let map = LinearMap::from_diagonals(slots, &periodic(slots, period, &shifts)).unwrap();
            let fixture = Fixture::new(preset, 41, map.rotations());
            let (ev, ct) = (fixture.evaluator(), fixture.encrypt(&input(&fixture)));
            for level in [1, fixture.top()] {
                let ct = ev.drop_level(&ct, level).unwrap();
                let target = 1.1 * 2f64.powi(38);
                let scale = plaintext_scale(&fixture.context, level, ct.scale(), target).unwrap();
                let mut prepared = map.prepare(&fixture.encoder, scale).unwrap();
                let expected = by_the_book(&ev, &prepared, &ct);
                assert!(prepared.apply_unscaled(&ev, &ct).unwrap() == expected, "{preset}, period {period}");
                let rescaled = ev.rescale(&expected).unwrap();
                let before = prepared.bytes();
                for keep in [false, true] {
                    assert!(!keep || prepared.keep_transforms(level, usize::MAX).unwrap());
                    let got = prepared.apply(&ev, &ct, Some(target)).unwrap();
                    assert_eq!((got.level(), got.scale()), (level - 1, target));
                    assert!((0..2).all(|i| got.poly(i) == rescaled.poly(i)), "{preset}, period {period}, {keep}");
                }
                assert!(prepared.bytes() > before);
            }
        }
    }
}

#[test]
fn maps_equal_their_definition_within_the_bound() {
    for (preset, seed) in [("toy-n8", 42), ("small-n12", 43)] {
        let slots = Fixture::new(preset, seed, []).slots();
        let diagonals = periodic(slots, slots, &(-9..14).collect::<Vec<_>>());
        let map = LinearMap::from_diagonals(slots, &diagonals).unwrap();
        let fixture = Fixture::new(preset, seed, map.rotations());
        let (ev, values) = (fixture.evaluator(), input(&fixture));
        let ct = fixture.encrypt(&values);
        let prepared = map.prepare(&fixture.encoder, ct.scale()).unwrap();
        let got = fixture.decrypt(&prepared.apply(&ev, &ct, None).unwrap(), fixture.top() - 1);
        let root = std::f64::consts::SQRT_2;
        let baby = SlotError { value: root, error: fixture.input_error() + fixture.rotation_error() };
        let term = mul_plain(baby, SlotError { value: root, error: fixture.encoding_error() });
        let bound = diagonals.len() as f64 * term + (map.giant_steps().len() + 1) as f64 * fixture.steps(1).rescale;
        for (slot, got) in got.iter().enumerate() {
            let n = slots as i64;
            let at = |r: i64| values[(slot as i64 + r).rem_euclid(n) as usize];
            let expected: Complex64 = diagonals.iter().map(|(r, d)| d[slot] * at(*r)).sum();
            let error = (got - expected).norm();
            assert!(error <= bound, "{preset}, slot {slot}: {error:e} above {bound:e}");
        }
    }
}

#[test]
fn periodic_plaintexts_are_kept_short() {
    let fixture = Fixture::new("small-n12", 44, []);
    let slots = fixture.slots();
    for (period, kept) in [(slots, 2 * slots), (slots / 2, 2 * slots), (slots / 4, slots / 2), (8, 16), (1, 16)] {
        let map = LinearMap::from_diagonals(slots, &periodic(slots, period, &[3])).unwrap();
        let prepared = map.prepare(&fixture.encoder, 2f64.powi(40)).unwrap();
        assert_eq!(prepared.bytes(), 8 * kept, "period {period}");
        let all = fixture.encoder.coefficients(&map.diagonals[&(0, 0)], 2f64.powi(40));
        assert_eq!(prepared.coefficients(0, 0), all.ok(), "period {period}");
        let mut prepared = prepared;
        assert!(!prepared.keep_transforms(2, 8 * kept).unwrap());
        assert_eq!(prepared.bytes(), 8 * kept);
    }
}

#[test]
fn kernels_agree() {
    for preset in ["toy-n8", "small-n12"] {
        let results: Vec<Ciphertext> = KernelKind::available()
            .filter_map(|kind| {
                let parameters = Parameters::preset(preset, Security::AllowInsecure).unwrap();
                let context = Context::with_kernel(parameters, kind).ok()?;
                let (slots, level) = (context.parameters().slots(), context.parameters().max_level());
                let diagonals = periodic(slots, 16, &(-15..16).collect::<Vec<_>>());
                let map = LinearMap::from_diagonals(slots, &diagonals).unwrap();
                let generator = KeyGenerator::new(&context, Seed::insecure(45));
                let (secret, mut keys) = (generator.secret_key(), EvaluationKeys::new());
                for steps in map.rotations() {
                    keys.insert(generator.rotation_key(&secret, steps, level).unwrap());
                }
                let encoder = Encoder::new(&context);
                let scale = context.parameters().canonical_scale(level);
                let plain = encoder.encode_real(&numbers(3, slots), level, scale).unwrap();
                let ct = crate::encrypt_secret(&context, &secret, &plain, &Seed::insecure(46), 0).unwrap();
                let prepared = map.prepare(&encoder, scale).unwrap();
                Some(prepared.apply(&Evaluator::new(&context, &keys), &ct, None).unwrap())
            })
            .collect();
        println!("{preset}, seeds 45 and 46: {} kernels", results.len());
        assert!(results.iter().all(|result| *result == results[0]), "{preset}");
    }
}

#[test]
fn unsuitable_inputs_are_refused() {
    let fixture = Fixture::new("toy-n8", 47, [1]);
    let (ev, slots) = (fixture.evaluator(), fixture.slots());
    let ct = fixture.encrypt(&input(&fixture));
    let prepare = |shift, scale| {
        LinearMap::from_diagonals(slots, &periodic(slots, slots, &[shift])).unwrap().prepare(&fixture.encoder, scale)
    };
    let map = prepare(1, ct.scale()).unwrap();
    let bottom = ev.drop_level(&ct, 0).unwrap();
    assert!(matches!(map.apply(&ev, &bottom, None), Err(CkksError::LevelExhausted { .. })));
    let other = ev.drop_level(&ct, 1).unwrap();
    assert!(matches!(map.apply(&ev, &other, None), Err(CkksError::Scale { .. })));
    assert!(matches!(map.apply(&ev, &ct, Some(1e10)), Err(CkksError::Scale { .. })));
    assert!(matches!(prepare(1, 1e10).unwrap().apply(&ev, &ct, None), Err(CkksError::Scale { .. })));
    let error = prepare(2, ct.scale()).unwrap().apply(&ev, &ct, None).unwrap_err();
    assert!(matches!(error, CkksError::MissingKey { .. }), "{error}");
    assert!(matches!(prepare(1, f64::NAN), Err(CkksError::Argument { .. })));
    assert!(matches!(plaintext_scale(&fixture.context, 99, 1.0, 1.0), Err(CkksError::Level { .. })));
}
