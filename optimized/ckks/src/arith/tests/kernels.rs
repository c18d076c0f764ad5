//! Element-by-element kernels and key products: all kernels against the scalar ones, and the scalar ones against
//! the definition.

use super::super::{Kernels, MAX_DIGITS, Modulus, PackedLimb};
use super::transform::inputs;
use super::{BITS, Rng, primes, scalar_kernels, vector_kernels};

/// Every kernel on one triple of limbs, as a list of named results.
fn all(k: Kernels, m: &Modulus, other: &Modulus, [a, b, d]: [&[u64]; 3], c: u64) -> Vec<(&'static str, Vec<u64>)> {
    let into = |f: &dyn Fn(&mut [u64])| {
        let mut out = vec![u64::MAX; a.len()];
        f(&mut out);
        out
    };
    let assign = |f: &dyn Fn(&mut [u64])| {
        let mut out = d.to_vec();
        f(&mut out);
        out
    };
    let mut y = vec![0.0; a.len()];
    k.center_scaled(m, &mut y, a, c);
    vec![
        ("add", into(&|o| k.add(m, o, a, b))),
        ("add_assign", assign(&|o| k.add_assign(m, o, a))),
        ("sub", into(&|o| k.sub(m, o, a, b))),
        ("sub_assign", assign(&|o| k.sub_assign(m, o, a))),
        ("neg", into(&|o| k.neg(m, o, a))),
        ("mul", into(&|o| k.mul(m, o, a, b))),
        ("mul_assign", assign(&|o| k.mul_assign(m, o, a))),
        ("mul_add_assign", assign(&|o| k.mul_add_assign(m, o, a, b))),
        ("mul_scalar", into(&|o| k.mul_scalar(m, o, a, c))),
        ("mul_scalar_assign", assign(&|o| k.mul_scalar_assign(m, o, c))),
        ("mul_scalar_add_assign", assign(&|o| k.mul_scalar_add_assign(m, o, a, c))),
        ("sub_mul_scalar", into(&|o| k.sub_mul_scalar(m, o, a, b, c))),
        ("sub_mul_scalar_add", into(&|o| k.sub_mul_scalar_add(m, o, a, b, c, d))),
        ("product_tail", assign(&|o| k.product_tail(m, o, [a, b], c))),
        ("product_tail_add", assign(&|o| k.product_tail_add(m, o, [a, b], c, a))),
        ("combine2_sub", into(&|o| k.combine2_sub(m, o, [a, b], [c, m.neg(c)], d))),
        ("reduce_centered", into(&|o| k.reduce_centered(a, m, o, other))),
        ("center_scaled", y.into_iter().map(|y| m.from_i64(y as i64)).collect()),
    ]
}

/// The same results from their definitions, one element at a time.
fn defined(m: &Modulus, other: &Modulus, [a, b, d]: [&[u64]; 3], c: u64) -> Vec<Vec<u64>> {
    let map = |f: &dyn Fn(i128, i128, i128) -> i128| -> Vec<u64> {
        let wide = |i: usize| f(i128::from(a[i]), i128::from(b[i]), i128::from(d[i]));
        (0..a.len()).map(|i| wide(i).rem_euclid(i128::from(m.value())) as u64).collect()
    };
    let (c, p) = (i128::from(c), i128::from(m.value()));
    let centred = |&x: &u64| i128::from(m.center(x)).rem_euclid(i128::from(other.value())) as u64;
    vec![
        map(&|a, b, _| a + b),
        map(&|a, _, d| d + a),
        map(&|a, b, _| a - b),
        map(&|a, _, d| d - a),
        map(&|a, _, _| -a),
        map(&|a, b, _| a * b),
        map(&|a, _, d| d * a),
        map(&|a, b, d| d + a * b),
        map(&|a, _, _| a * c),
        map(&|_, _, d| d * c),
        map(&|a, _, d| d + a * c),
        map(&|a, b, _| (a - b) * c),
        map(&|a, b, d| (a - b) * c + d),
        map(&|a, b, d| (a * b - d) % p * c),
        map(&|a, b, d| (a * b - d) % p * c + a),
        map(&|a, b, d| a * c - b * c - d),
        a.iter().map(centred).collect(),
        map(&|a, _, _| a * c),
    ]
}

#[test]
fn pointwise_kernels_match_definition() {
    let mut rng = Rng::new(7);
    for bits in BITS.into_iter().chain([21]) {
        let m = primes(bits, 4, 1)[0];
        for other in [primes(21, 4, 1)[0], primes(50, 4, 1)[0]] {
            // 39 elements: a remainder of three after whole vectors.
            for n in [16, 39, 256] {
                let limbs = inputs(&mut rng, &m, n);
                for i in 0..limbs.len() {
                    let l = limbs.len();
                    let triple = [&limbs[i][..], &limbs[(i + 2) % l], &limbs[(3 * i) % l]];
                    for c in [0, 1, m.value() / 2, m.value() - 1, m.reduce_u64(rng.next())] {
                        let expected = defined(&m, &other, triple, c);
                        for k in vector_kernels().into_iter().chain([scalar_kernels()]) {
                            let got = all(k, &m, &other, triple, c);
                            assert_eq!(got.len(), expected.len());
                            for ((name, got), expected) in got.iter().zip(&expected) {
                                assert_eq!(got, expected, "{name} {:?}, {bits} bits, n {n}", k.kind());
                            }
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn centred_output_is_centred() {
    let mut rng = Rng::new(8);
    for bits in BITS {
        let m = primes(bits, 4, 1)[0];
        let a = rng.residues(&m, 64);
        let c = m.reduce_u64(rng.next());
        for k in vector_kernels().into_iter().chain([scalar_kernels()]) {
            let mut y = vec![0.0; 64];
            k.center_scaled(&m, &mut y, &a, c);
            let expected: Vec<f64> = a.iter().map(|&a| m.center(m.mul(a, c)) as f64).collect();
            assert_eq!(y, expected);
        }
    }
}

#[test]
fn key_products_match_definition() {
    let mut rng = Rng::new(9);
    for bits in BITS {
        let m = primes(bits, 4, 1)[0];
        for (digits, extreme) in [(1, false), (3, false), (8, true), (9, false), (MAX_DIGITS, true)] {
            let n = 37;
            let mut draw = || -> Vec<Vec<u64>> {
                let limb = |rng: &mut Rng| if extreme { vec![m.value() - 1; n] } else { rng.residues(&m, n) };
                (0..digits).map(|_| limb(&mut rng)).collect()
            };
            let (d, k0, k1) = (draw(), draw(), draw());
            let views = [&d, &k0, &k1].map(|x| x.iter().map(Vec::as_slice).collect::<Vec<_>>());
            let sum = |key: &[Vec<u64>], i: usize| (0..digits).fold(0, |acc, j| m.add(acc, m.mul(d[j][i], key[j][i])));
            for k in vector_kernels().into_iter().chain([scalar_kernels()]) {
                let (mut out0, mut out1) = (vec![0; n], vec![0; n]);
                k.dot2(&m, &mut out0, &mut out1, &views[0], &views[1], &views[2]);
                let mut added = [&out0, &out1].map(|out| out.iter().map(|_| m.value() - 1).collect::<Vec<_>>());
                let [acc0, acc1] = &mut added;
                k.dot2_add(&m, acc0, acc1, &views[0], &views[1], &views[2]);
                for i in 0..n {
                    let expected = [sum(&k0, i), sum(&k1, i)];
                    assert_eq!([out0[i], out1[i]], expected, "{bits} bits, {digits} digits");
                    let plus = expected.map(|x| m.add(x, m.value() - 1));
                    assert_eq!([added[0][i], added[1][i]], plus, "{bits} bits, {digits} digits, added");
                }
            }
        }
    }
}

#[test]
fn packed_keys_give_the_products_of_plain_ones() {
    let mut rng = Rng::new(12);
    for bits in BITS.into_iter().chain([21, 40]) {
        let m = primes(bits, 4, 1)[0];
        assert_eq!(PackedLimb::width(&m), bits.div_ceil(8) as usize);
        for (digits, n) in [(1, 16), (4, 37), (9, 64)] {
            let mut limbs = |n| -> Vec<Vec<u64>> { (0..digits).map(|_| rng.residues(&m, n)).collect() };
            let (d, mut k0, k1) = (limbs(n), limbs(n), limbs(n));
            k0[0][n - 1] = m.value() - 1;
            let packed = [&k0, &k1].map(|k| k.iter().map(|k| PackedLimb::new(&m, k)).collect::<Vec<_>>());
            for (plain, packed) in k0.iter().zip(&packed[0]) {
                let mut out = vec![0; n];
                packed.unpack(&mut out);
                assert_eq!((&out, packed.len(), packed.size()), (plain, n, n * bits.div_ceil(8) as usize));
            }
            let [d, k0, k1] = [&d, &k0, &k1].map(|x| x.iter().map(Vec::as_slice).collect::<Vec<_>>());
            let packed = [&packed[0], &packed[1]].map(|k| k.iter().collect::<Vec<_>>());
            let mut expected = [vec![0; n], vec![0; n]];
            let [out0, out1] = &mut expected;
            scalar_kernels().dot2(&m, out0, out1, &d, &k0, &k1);
            for k in vector_kernels().into_iter().chain([scalar_kernels()]) {
                let mut got = [vec![1; n], vec![1; n]];
                let [out0, out1] = &mut got;
                k.dot2_packed(&m, out0, out1, &d, &packed[0], &packed[1]);
                assert_eq!(got, expected, "{bits} bits, {digits} digits, {:?}", k.kind());
            }
        }
    }
}

#[test]
fn weighted_sums_match_definition() {
    let mut rng = Rng::new(11);
    for bits in BITS {
        let m = primes(bits, 4, 1)[0];
        for (terms, extreme) in [(0, false), (1, false), (3, false), (8, true), (30, true)] {
            let n = 45;
            let limb = |rng: &mut Rng| if extreme { vec![m.value() - 1; n] } else { rng.residues(&m, n) };
            let x: Vec<Vec<u64>> = (0..terms).map(|_| limb(&mut rng)).collect();
            let c = if extreme { vec![m.value() - 1; terms] } else { rng.residues(&m, terms) };
            let views: Vec<&[u64]> = x.iter().map(Vec::as_slice).collect();
            let sum = |i: usize| (0..terms).fold(0, |acc, j| m.add(acc, m.mul(x[j][i], c[j])));
            let expected: Vec<u64> = (0..n).map(sum).collect();
            for k in vector_kernels().into_iter().chain([scalar_kernels()]) {
                let mut out = vec![1; n];
                k.weighted_sum(&m, &mut out, &views, &c);
                assert_eq!(out, expected, "{bits} bits, {terms} terms, {:?}", k.kind());
            }
        }
    }
}

#[test]
fn products_with_repeated_factors_match_full_ones() {
    let mut rng = Rng::new(10);
    for bits in BITS {
        let m = primes(bits, 4, 1)[0];
        for (terms, run) in [(1, 4), (7, 8), (8, 16), (40, 32)] {
            let (values, n) = (6, 6 * run);
            let mut limbs = |n: usize| -> Vec<Vec<u64>> { (0..terms).map(|_| rng.residues(&m, n)).collect() };
            let (factors, x, y) = (limbs(values), limbs(n), limbs(n));
            let spread = |f: &Vec<u64>| (0..n).map(|i| f[i / run]).collect();
            let full: Vec<Vec<u64>> = factors.iter().map(spread).collect();
            let views = [&factors, &full, &x, &y].map(|v| v.iter().map(Vec::as_slice).collect::<Vec<_>>());
            for k in vector_kernels().into_iter().chain([scalar_kernels()]) {
                let (mut got, mut expected) = ([vec![0; n], vec![0; n]], [vec![0; n], vec![0; n]]);
                let [got0, got1] = &mut got;
                k.dot2_repeated(&m, got0, got1, &views[0], &views[2], &views[3]);
                let [expected0, expected1] = &mut expected;
                scalar_kernels().dot2(&m, expected0, expected1, &views[1], &views[2], &views[3]);
                assert_eq!(got, expected, "{bits} bits, {terms} terms, runs of {run}");
                let [got0, got1] = &mut got;
                k.dot2_repeated_add(&m, got0, got1, &views[0], &views[2], &views[3]);
                let doubled = expected.map(|half| half.iter().map(|&x| m.add(x, x)).collect::<Vec<_>>());
                assert_eq!(got, doubled, "{bits} bits, {terms} terms, runs of {run}, added");
            }
        }
    }
}

#[test]
fn residues_of_signed_integers() {
    let edges = [0, 1, -1, (1 << 62) - 1, 1 - (1 << 62), 1 << 51, -(1 << 51), 1 << 40, -(1 << 40)];
    for prime in [1_048_583u64, 1_099_511_623_297, 562_949_953_420_609] {
        let modulus = Modulus::new(prime).unwrap();
        let near = edges.iter().flat_map(|&e| (-2..=2).map(move |d: i64| e + d));
        let multiples = (-40..40i64).flat_map(|k| (-1..=1).map(move |d| k * prime as i64 + d));
        let inputs: Vec<i64> = near.chain(multiples).filter(|c| c.unsigned_abs() < 1 << 62).collect();
        for k in vector_kernels().into_iter().chain([scalar_kernels()]) {
            let mut limb = vec![0; inputs.len()];
            k.reduce_signed(&modulus, &mut limb, &inputs);
            for (&c, &got) in inputs.iter().zip(&limb) {
                assert_eq!(got, modulus.from_i64(c), "{c} modulo {prime}, {:?}", k.kind());
            }
        }
    }
}

#[test]
#[should_panic(expected = "slice lengths differ")]
fn unequal_lengths_are_refused() {
    let m = primes(30, 4, 1)[0];
    Kernels::detect().add_assign(&m, &mut [0; 16], &[0; 15]);
}
