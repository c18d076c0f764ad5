//! Transforms: definition, order of the values, automorphisms, products, and agreement of all kernels.

use super::super::{ArithError, Kernels, MAX_INTEGER, Modulus, NttTable, apply_galois_coeff, galois_permutation};
use super::{BITS, Rng, primes, scalar_kernels, vector_kernels};

/// The product modulo `X^N + 1` by its definition.
fn schoolbook(m: &Modulus, a: &[u64], b: &[u64]) -> Vec<u64> {
    let n = a.len();
    let mut out = vec![0; n];
    for (i, &x) in a.iter().enumerate() {
        for (j, &y) in b.iter().enumerate() {
            let term = m.mul(x, y);
            let k = (i + j) % n;
            out[k] = if i + j < n { m.add(out[k], term) } else { m.sub(out[k], term) };
        }
    }
    out
}

fn product(kernels: Kernels, table: &NttTable, a: &[u64], b: &[u64]) -> Vec<u64> {
    let (mut a, mut b) = (a.to_vec(), b.to_vec());
    kernels.ntt(table, &mut a);
    kernels.ntt(table, &mut b);
    kernels.mul_assign(table.modulus(), &mut a, &b);
    kernels.intt(table, &mut a);
    a
}

#[test]
fn root_follows_the_rule() {
    for (bits, log_n) in [(30, 4), (40, 10), (50, 16)] {
        let m = primes(bits, log_n, 1)[0];
        let table = NttTable::new(log_n, m).unwrap();
        let n = 1u64 << log_n;
        let candidate = |g: u64| m.pow(g, (m.value() - 1) / (2 * n));
        let smallest = (2..).find(|&g| m.pow(candidate(g), n) == m.value() - 1).unwrap();
        assert_eq!(table.psi(), candidate(smallest));
    }
    let m = primes(30, 4, 1)[0];
    assert!(matches!(NttTable::new(3, m), Err(ArithError::Size { got: 3, .. })));
    assert!(matches!(NttTable::new(18, m), Err(ArithError::Size { got: 18, .. })));
    assert!(matches!(NttTable::new(17, Modulus::new(1_048_583).unwrap()), Err(ArithError::Modulus { .. })));
}

#[test]
fn values_are_where_eval_exponent_says() {
    let mut rng = Rng::new(2);
    for log_n in [4, 5, 7] {
        let m = primes(45, log_n, 1)[0];
        let table = NttTable::new(log_n, m).unwrap();
        let coefficients = rng.residues(&m, table.n());
        let mut values = coefficients.clone();
        scalar_kernels().ntt(&table, &mut values);
        for (i, &value) in values.iter().enumerate() {
            let x = m.pow(table.psi(), table.eval_exponent(i) as u64);
            let horner = coefficients.iter().rev().fold(0, |acc, &c| m.add(m.mul(acc, x), c));
            assert_eq!(value, horner, "index {i}");
        }
    }
}

#[test]
fn scalar_product_matches_schoolbook() {
    let mut rng = Rng::new(3);
    for bits in BITS {
        for log_n in [4, 6, 9] {
            let m = primes(bits, log_n, 1)[0];
            let table = NttTable::new(log_n, m).unwrap();
            let (a, b) = (rng.residues(&m, table.n()), rng.residues(&m, table.n()));
            assert_eq!(product(scalar_kernels(), &table, &a, &b), schoolbook(&m, &a, &b));
        }
    }
}

#[test]
fn automorphism_is_an_index_map_in_evaluation_form() {
    let mut rng = Rng::new(4);
    let kernels = Kernels::detect();
    for log_n in [4, 8, 11] {
        let m = primes(49, log_n, 1)[0];
        let table = NttTable::new(log_n, m).unwrap();
        let a = rng.residues(&m, table.n());
        let mut values = a.clone();
        kernels.ntt(&table, &mut values);
        for g in [1, 5, 25, 2 * table.n() - 1, 3] {
            let (mut by_coefficients, mut by_index) = (vec![0; table.n()], vec![0; table.n()]);
            apply_galois_coeff(&m, g, &a, &mut by_coefficients).unwrap();
            kernels.ntt(&table, &mut by_coefficients);
            kernels.permute(&values, &galois_permutation(log_n, g).unwrap(), &mut by_index);
            assert_eq!(by_index, by_coefficients, "log_n {log_n}, g {g}");
        }
    }
    assert!(galois_permutation(8, 2).is_err());
}

/// Random residues and the inputs that make intermediate values largest.
pub(super) fn inputs(rng: &mut Rng, m: &Modulus, n: usize) -> Vec<Vec<u64>> {
    let p = m.value();
    let alternating = |period: usize| (0..n).map(|i| if (i / period).is_multiple_of(2) { p - 1 } else { 0 }).collect();
    vec![
        rng.residues(m, n),
        vec![0; n],
        vec![p - 1; n],
        vec![p / 2; n],
        alternating(1),
        alternating(n / 2),
        (0..n).map(|i| p / 2 + (i as u64 & 1)).collect(),
    ]
}

#[test]
fn vector_transforms_match_scalar() {
    let mut rng = Rng::new(5);
    let scalar = scalar_kernels();
    for kernels in vector_kernels() {
        for log_n in 4..=17 {
            for bits in BITS {
                let m = primes(bits, log_n, 1)[0];
                let table = NttTable::new(log_n, m).unwrap();
                for a in inputs(&mut rng, &m, table.n()).into_iter().take(if log_n > 12 { 3 } else { 7 }) {
                    let c = m.reduce_u64(rng.next());
                    same_transforms(scalar, kernels, &table, &a, c);
                }
            }
        }
    }
}

/// Both transforms of `a`, and the inverse ones times `c`.
fn same_transforms(scalar: Kernels, kernels: Kernels, table: &NttTable, a: &[u64], c: u64) {
    let (m, what) =
        (table.modulus(), format!("N = {}, p = {}, {:?}", table.n(), table.modulus().value(), kernels.kind()));
    let (mut expected, mut got) = (a.to_vec(), a.to_vec());
    scalar.ntt(table, &mut expected);
    kernels.ntt(table, &mut got);
    assert!(got == expected, "ntt, {what}");
    kernels.intt(table, &mut got);
    assert!(got == a, "ntt and intt, {what}");
    let mut expected = a.to_vec();
    scalar.intt_scaled(table, &mut expected, c);
    kernels.intt_scaled(table, &mut got, c);
    assert!(got == expected, "intt, {what}");
    let mut y = vec![0.0; table.n()];
    kernels.intt_center(table, &mut y, a, c);
    let centred = expected.iter().map(|&x| m.center(x) as f64);
    assert!(y.into_iter().eq(centred), "intt_center, {what}");
}

/// The kernels in 52-bit integers leave out reductions below two sizes of a prime: the primes next to those, on either side.
#[test]
fn transforms_match_scalar_where_reductions_begin() {
    let (mut rng, scalar) = (Rng::new(15), scalar_kernels());
    for log_n in [6, 11, 16] {
        let step = 2u64 << log_n;
        for limit in [(1 << 52) / u64::from(3 + 2 * log_n), 1 << 47] {
            let first = limit / step * step + 1;
            let below = (0..).find_map(|i| Modulus::new(first - i * step).ok().filter(|m| m.value() <= limit));
            let above = (1..).find_map(|i| Modulus::new(first + i * step).ok());
            for m in [below, above].into_iter().flatten() {
                let table = NttTable::new(log_n, m).unwrap();
                for a in inputs(&mut rng, &m, table.n()).into_iter().take(3) {
                    let c = m.reduce_u64(rng.next());
                    vector_kernels().into_iter().for_each(|kernels| same_transforms(scalar, kernels, &table, &a, c));
                }
            }
        }
    }
}

/// Integers below and beyond the prime, up to the largest admitted; blocks come in order and cover the limb.
#[test]
fn transforms_of_integers_match_those_of_residues() {
    let mut rng = Rng::new(14);
    let scalar = scalar_kernels();
    for log_n in 4..=17 {
        for bits in BITS.into_iter().chain([21]) {
            if bits < log_n + 4 || (log_n > 12 && bits != 40) {
                continue;
            }
            let m = primes(bits, log_n, 1)[0];
            let table = NttTable::new(log_n, m).unwrap();
            for bound in [1, m.value() / 2, m.value(), m.value() + 1, 1 << 50] {
                let bound = bound.min(MAX_INTEGER as u64);
                let mut integer = || (rng.next() % (2 * bound + 1)) as i64 - bound as i64;
                let mut integers: Vec<i64> = (0..table.n()).map(|_| integer()).collect();
                integers[..2].copy_from_slice(&[bound as i64, -(bound as i64)]);
                let mut expected: Vec<u64> = integers.iter().map(|&x| m.from_i64(x)).collect();
                scalar.ntt(&table, &mut expected);
                let src: Vec<f64> = integers.iter().map(|&x| x as f64).collect();
                for kernels in vector_kernels().into_iter().chain([scalar]) {
                    let (mut out, mut seen) = (vec![1; table.n()], Vec::new());
                    kernels.ntt_integers_then(&table, &mut out, &src, bound as f64, |start, block| {
                        assert_eq!(start, seen.len());
                        seen.extend_from_slice(block);
                        block.fill(7);
                    });
                    assert!(seen == expected, "log_n {log_n}, {bits} bits, bound {bound}, {:?}", kernels.kind());
                    assert!(out.iter().all(|&x| x == 7), "what is done with a block stays");
                    kernels.ntt_integers(&table, &mut out, &src, bound as f64);
                    assert!(out == expected);
                }
            }
        }
    }
}

#[test]
fn product_matches_tfhe_ntt() {
    let mut rng = Rng::new(6);
    for (bits, log_n) in [(40, 11), (49, 12), (50, 13)] {
        let m = primes(bits, log_n, 1)[0];
        let table = NttTable::new(log_n, m).unwrap();
        let plan = tfhe_ntt::prime64::Plan::try_new(table.n(), m.value()).expect("a suitable prime");
        let (a, b) = (rng.residues(&m, table.n()), rng.residues(&m, table.n()));
        let (mut x, mut y) = (a.clone(), b.clone());
        plan.fwd(&mut x);
        plan.fwd(&mut y);
        plan.mul_assign_normalize(&mut x, &y);
        plan.inv(&mut x);
        assert_eq!(product(Kernels::detect(), &table, &a, &b), x);
    }
}
