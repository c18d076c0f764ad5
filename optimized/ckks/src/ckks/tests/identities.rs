//! What must agree bit for bit.

use super::*;
use crate::CkksError;
use crate::arith::Modulus;
use crate::ckks::keyswitch::{key_product, mod_down_add};
use crate::ring::Poly;
use touchstone_spec::sampling::domain;

#[test]
fn fused_product_equals_separate_operations() {
    for preset in PRESETS {
        let fixture = Fixture::new(preset);
        for level in 1..=fixture.parameters().max_level() {
            let a = fixture.encrypt(&fixture.slots(1), level, 0);
            let b = fixture.encrypt(&fixture.slots(2), level, 1);
            let separate = fixture.evaluator.rescale(&fixture.evaluator.mul(&a, &b).unwrap()).unwrap();
            assert!(fixture.evaluator.mul_rescale(&a, &b).unwrap() == separate, "{preset}, level {level}");
        }
    }
}

#[test]
fn fused_plaintext_product_equals_separate_operations() {
    for preset in PRESETS {
        let fixture = Fixture::new(preset);
        for level in 1..=fixture.parameters().max_level() {
            let a = fixture.encrypt(&fixture.slots(1), level, 0);
            let plain = fixture.encoder.encode(&fixture.slots(2), level, fixture.scale(level)).unwrap();
            let separate = fixture.evaluator.rescale(&fixture.evaluator.mul_plain(&a, &plain).unwrap()).unwrap();
            assert!(fixture.evaluator.mul_plain_rescale(&a, &plain).unwrap() == separate, "{preset}, level {level}");
        }
    }
}

/// One polynomial of a public-key encryption by the rule, without the message, in coefficient form.
fn encrypted_half(context: &Context, key: &Poly, level: usize, v: &[i8], e: &[i8]) -> Vec<Vec<u64>> {
    let ring = context.ring();
    let mut u = context.small_poly(e, level, true);
    let v = context.small_poly(v, level, true);
    for i in 0..u.limb_count() {
        let prime = ring.prime_index(level, i);
        let key = if i <= level { key.limb(i) } else { key.special_limb(i - level - 1) };
        ring.kernels().mul_add_assign(ring.modulus(prime), u.limb_mut(i), v.limb(i), key);
    }
    u.make_coeff(ring);
    let p0 = ring.modulus(ring.chain_len());
    let divided = |modulus: &Modulus, (&u, &r): (&u64, &u64)| {
        let inverse = modulus.inv(modulus.reduce_u64(p0.value()));
        modulus.mul(modulus.sub(u, modulus.from_i64(p0.center(r))), inverse)
    };
    let limb = |j| u.limb(j).iter().zip(u.special_limb(0)).map(|pair| divided(ring.modulus(j), pair)).collect();
    (0..=level).map(limb).collect()
}

/// `r[ckks.encrypt.public]`
#[test]
fn public_key_encryption_follows_the_rule() {
    for preset in PRESETS {
        let fixture = Fixture::new(preset);
        let (context, n, seed) = (&fixture.context, fixture.parameters().n(), Seed::insecure(SEED + 2));
        let public = fixture.generator.public_key(&fixture.secret).unwrap();
        for level in [0, 1, fixture.parameters().max_level()] {
            let plain = fixture.encoder.encode(&fixture.slots(1), level, fixture.scale(level)).unwrap();
            let message = context.to_coeff(plain.poly());
            let cipher = encrypt_public(context, &public, &plain, &seed, 3).unwrap().to_coeff(context);
            let v = seed.stream(domain::ENCRYPT_TERNARY, 3, 0, 0).ternary(n);
            let halves = [(public.b(), domain::ENCRYPT_ERROR_0), (public.a(), domain::ENCRYPT_ERROR_1)];
            for (i, (key, error_domain)) in halves.into_iter().enumerate() {
                let e = seed.stream(error_domain, 3, 0, 0).gaussian(n);
                for (j, mut expected) in encrypted_half(context, key, level, &v, &e).into_iter().enumerate() {
                    if i == 0 {
                        context.ring().kernels().add_assign(context.ring().modulus(j), &mut expected, message.limb(j));
                    }
                    assert_eq!(cipher[i].limb(j), expected, "{preset}, level {level}, polynomial {i}, limb {j}");
                }
            }
        }
    }
}

#[test]
fn fused_sums_and_constants_equal_separate_operations() {
    for preset in PRESETS {
        let fixture = Fixture::new(preset);
        let (ev, top) = (&fixture.evaluator, fixture.parameters().max_level());
        let [a, b] = [(1, top), (2, top - 1)].map(|(stream, level)| fixture.encrypt(&fixture.slots(stream), level, 0));
        assert!(
            ev.double(ev.mul_lazy(&a, &a).unwrap()).unwrap() == {
                let product = ev.mul_lazy(&a, &a).unwrap();
                ev.add(&product, &product).unwrap()
            }
        );
        for level in 0..top - 1 {
            let c = Complex64::new(-0.37, 0.81);
            let dropped = ev.drop_level(&a, level + 1).unwrap();
            let canonical = fixture.scale(level + 1);
            let separate = ev.rescale(&ev.mul_const(&dropped, c, canonical * canonical).unwrap()).unwrap();
            assert!(ev.mul_const_to_level(&a, c, level).unwrap() == separate, "{preset}, level {level}");

            let target = fixture.scale(level) * 2f64.powi(39);
            let part = |x: &Ciphertext, c: f64| {
                ev.mul_const(&ev.drop_level(x, level).unwrap(), Complex64::new(c, 0.0), target).unwrap()
            };
            let separate = ev.add(&ev.add(&part(&a, 0.3), &part(&b, -1.7)).unwrap(), &part(&b, 1e-9)).unwrap();
            let terms = [(&a, 0.3), (&b, -1.7), (&b, 1e-9)];
            assert!(ev.weighted_sum(&terms, level, target).unwrap() == separate, "{preset}, level {level}");
        }
        assert!(matches!(ev.weighted_sum(&[], 0, 1.0), Err(CkksError::Argument { .. })));
        assert!(matches!(ev.weighted_sum(&[(&b, 1.0)], top, 1.0), Err(CkksError::Level { .. })));
        assert!(matches!(ev.weighted_sum(&[(&b, f64::NAN)], 0, 1.0), Err(CkksError::Argument { .. })));
    }
}

#[test]
fn hoisted_rotations_equal_plain_ones() {
    for preset in PRESETS {
        let fixture = Fixture::new(preset);
        for level in [0, 1, fixture.parameters().max_level()] {
            let a = fixture.encrypt(&fixture.slots(1), level, 0);
            let steps = [STEPS[0], 0, STEPS[1], STEPS[2], STEPS[3]];
            for (steps, hoisted) in steps.iter().zip(fixture.evaluator.rotate_hoisted(&a, &steps).unwrap()) {
                let plain = fixture.evaluator.rotate(&a, *steps).unwrap();
                assert!(hoisted == plain, "{preset}, level {level}, steps {steps}");
            }
        }
    }
}

/// `r[ckks.galois]` as written: automorphism on the input, then a switch with the key of the book.
#[test]
fn rotation_equals_the_definition() {
    for preset in PRESETS {
        let fixture = Fixture::new(preset);
        let context = &fixture.context;
        let level = fixture.parameters().max_level() - 1;
        let a = fixture.encrypt(&fixture.slots(1), level, 0);
        for steps in STEPS {
            let g = context.galois_element(steps);
            let image = |poly: &Poly| {
                let mut image = poly.clone();
                let permutation = context.permutation(g).unwrap();
                for i in 0..=level {
                    context.ring().kernels().permute(poly.limb(i), &permutation, image.limb_mut(i));
                }
                image
            };
            let stored = &fixture.keys.galois[&g];
            let digits = (0..stored.digit_count()).map(|i| stored.digit(context, i).unwrap());
            let streams = (0..stored.digit_count()).map(|i| stored.streams(i).to_vec()).collect();
            // Filed as a relinearisation key, the key is used as it stands in the book.
            let book =
                SwitchKey::from_book(context, RELINEARISATION_KEY_ID, stored.level(), digits.unzip(), streams).unwrap();
            let (u0, u1) = key_product(context, &image(a.poly(1)), &book);
            let expected = [mod_down_add(context, u0, Some(&image(a.poly(0)))), mod_down_add(context, u1, None)];
            let rotated = fixture.evaluator.rotate(&a, steps).unwrap();
            assert!((0..2).all(|i| *rotated.poly(i) == expected[i]), "{preset}, steps {steps}");
        }
    }
}

#[test]
fn kernels_agree_on_keys_ciphertexts_and_operations() {
    for preset in PRESETS {
        let results: Vec<Vec<Ciphertext>> = kernels()
            .map(|kind| {
                let fixture = Fixture::on(Context::with_kernel(parameters(preset), kind).unwrap());
                let (top, evaluator) = (fixture.parameters().max_level(), &fixture.evaluator);
                let public = fixture.generator.public_key(&fixture.secret).unwrap();
                let plain = fixture.encoder.encode(&fixture.slots(1), top, fixture.scale(top)).unwrap();
                let a = encrypt_public(&fixture.context, &public, &plain, &Seed::insecure(5), 9).unwrap();
                let b = fixture.encrypt(&fixture.slots(2), top, 1);
                let c = Complex64::new(0.1, -0.7);
                vec![
                    evaluator.mul(&a, &b).unwrap(),
                    evaluator.mul_rescale(&a, &b).unwrap(),
                    evaluator.rotate(&a, STEPS[1]).unwrap(),
                    evaluator.conjugate(&b).unwrap(),
                    evaluator.mul_plain(&b, &plain).unwrap(),
                    evaluator.add_const(&evaluator.sub(&a, &b).unwrap(), c).unwrap(),
                    evaluator.mul_const_to_level(&a, c, 1).unwrap(),
                    evaluator.neg(&evaluator.rescale(&b).unwrap()).unwrap(),
                    a,
                    b,
                ]
            })
            .collect();
        println!("{preset}: {} kernels compared", results.len());
        for other in &results[1..] {
            for (i, (a, b)) in results[0].iter().zip(other).enumerate() {
                assert!(a == b, "{preset}, result {i}");
            }
        }
    }
}

#[test]
fn truncated_keys_give_the_results_of_full_keys() {
    for preset in PRESETS {
        let fixture = Fixture::new(preset);
        let (context, top) = (&fixture.context, fixture.parameters().max_level());
        for key_level in [1, 3, top] {
            let relin = fixture.generator.relinearisation_key(&fixture.secret, key_level).unwrap();
            let rotation = fixture.generator.rotation_key(&fixture.secret, STEPS[2], key_level).unwrap();
            let full = &fixture.keys;
            assert!(full.relinearisation(top).unwrap().truncated(context, key_level).unwrap() == relin);
            let g = context.galois_element(STEPS[2]);
            assert!(full.galois[&g].truncated(context, key_level).unwrap() == rotation);
            let mut keys = EvaluationKeys::new();
            keys.insert(relin);
            keys.insert(rotation);
            let evaluator = Evaluator::new(context, &keys);
            for level in 1..=key_level {
                let a = fixture.encrypt(&fixture.slots(1), level, 0);
                assert!(evaluator.mul_rescale(&a, &a).unwrap() == fixture.evaluator.mul_rescale(&a, &a).unwrap());
                let rotated = evaluator.rotate(&a, STEPS[2]).unwrap();
                assert!(rotated == fixture.evaluator.rotate(&a, STEPS[2]).unwrap(), "{preset}, {level} of {key_level}");
            }
        }
    }
}

#[test]
fn keys_and_ciphertexts_are_rebuilt_from_their_parts() {
    let fixture = Fixture::new("toy-n8");
    let context = &fixture.context;
    for key in fixture.keys.galois.values().chain(&fixture.keys.relin) {
        let b = (0..key.digit_count()).map(|i| key.digit(context, i).unwrap().0).collect();
        let streams = (0..key.digit_count()).map(|i| key.streams(i).to_vec()).collect();
        assert!(SwitchKey::from_parts(context, key.key_id(), key.level(), b, streams).unwrap() == *key);
    }
    let public = fixture.generator.public_key(&fixture.secret).unwrap();
    assert!(PublicKey::from_parts(context, public.b().clone(), public.streams().to_vec()).unwrap() == public);
    let secret = SecretKey::from_coefficients(context, fixture.secret.coefficients().to_vec()).unwrap();
    let cipher = fixture.encrypt(&fixture.slots(1), 2, 0);
    assert!(decrypt(context, &secret, &cipher).unwrap() == decrypt(context, &fixture.secret, &cipher).unwrap());
    let polys = vec![cipher.poly(0).clone(), cipher.poly(1).clone()];
    assert!(Ciphertext::from_polys(context, polys, cipher.scale()).unwrap() == cipher);
}

#[test]
fn the_imaginary_unit_is_the_monomial() {
    let fixture = Fixture::new("toy-n8");
    let n = fixture.parameters().n();
    let a = fixture.encrypt(&fixture.slots(1), 1, 0);
    let (before, after) =
        (a.to_coeff(&fixture.context), fixture.evaluator.mul_i(&a).unwrap().to_coeff(&fixture.context));
    for (before, after) in before.iter().zip(&after) {
        for i in 0..before.limb_count() {
            let (modulus, x, y) = (fixture.context.ring().modulus(i), before.limb(i), after.limb(i));
            assert!((0..n / 2).all(|t| y[t + n / 2] == x[t] && y[t] == modulus.neg(x[t + n / 2])));
        }
    }
}
