//! Base conversion against integers.

use super::super::{ArithError, BaseConverter, Kernels, MAX_BASIS, Modulus};
use super::{Rng, primes, scalar_kernels, vector_kernels};

const N: usize = 67;

fn residues(from: &[Modulus], x: &[i128]) -> Vec<Vec<u64>> {
    let residue = |b: &Modulus, x: i128| x.rem_euclid(i128::from(b.value())) as u64;
    from.iter().map(|b| x.iter().map(|&x| residue(b, x)).collect()).collect()
}

fn stage_one(k: Kernels, converter: &BaseConverter, inputs: &[Vec<u64>]) -> Vec<f64> {
    let views: Vec<&[u64]> = inputs.iter().map(Vec::as_slice).collect();
    let mut y = vec![0.0; inputs.len() * inputs[0].len()];
    converter.scale_inputs(k, &views, &mut y);
    y
}

/// Bases of every size, targets of every size disjoint from them.
fn bases() -> Vec<(Vec<Modulus>, Vec<Modulus>)> {
    let targets: Vec<Modulus> = [21, 30, 40, 49, 50].iter().map(|&b| primes(b, 5, 1)[0]).collect();
    let basis = |(bits, m): (u32, usize)| (primes(bits, 5, m + 1)[1..].to_vec(), targets.clone());
    [(50, 1), (30, 2), (50, 3), (40, 7), (50, 8), (49, 9), (50, MAX_BASIS)].into_iter().map(basis).collect()
}

/// Signed integers well inside `(-B/2, B/2)`.
fn small_integers(rng: &mut Rng, from: &[Modulus]) -> Vec<i128> {
    let bits: u32 = from.iter().map(|b| b.value().ilog2()).sum();
    let shift = 128 - bits.min(120);
    let draw = |rng: &mut Rng| ((u128::from(rng.next()) << 64 | u128::from(rng.next())) as i128) >> (shift + 3);
    (0..N).map(|_| draw(rng)).collect()
}

#[test]
fn exact_conversion_returns_the_integer() {
    let mut rng = Rng::new(10);
    for (from, to) in bases() {
        let x = small_integers(&mut rng, &from);
        let inputs = residues(&from, &x);
        let converter = BaseConverter::new(&from, &to).unwrap();
        for k in vector_kernels().into_iter().chain([scalar_kernels()]) {
            let y = stage_one(k, &converter, &inputs);
            let mut v = vec![0.0; N];
            converter.quotient(k, &y, &mut v);
            for (i, t) in to.iter().enumerate() {
                let mut dst = vec![0; N];
                converter.convert_exact(k, &y, &v, i, &mut dst);
                assert_eq!(dst, residues(&[*t], &x)[0], "{} primes, {:?}", from.len(), k.kind());
            }
        }
    }
}

/// The integer of the fast conversion differs from the input by a multiple of `B` of at most `m/2`, the same
/// multiple for every target, and that multiple is the quotient.
#[test]
fn fast_conversion_is_off_by_the_quotient() {
    let mut rng = Rng::new(11);
    for (from, to) in bases() {
        let x = small_integers(&mut rng, &from);
        let inputs = residues(&from, &x);
        let converter = BaseConverter::new(&from, &to).unwrap();
        for k in vector_kernels().into_iter().chain([scalar_kernels()]) {
            let y = stage_one(k, &converter, &inputs);
            let mut v = vec![0.0; N];
            converter.quotient(k, &y, &mut v);
            for (i, t) in to.iter().enumerate() {
                let product = from.iter().fold(1, |acc, b| t.mul(acc, t.reduce_u64(b.value())));
                let mut dst = vec![0; N];
                converter.convert(k, &y, i, &mut dst);
                for (j, &got) in dst.iter().enumerate() {
                    assert!(v[j].abs() <= from.len() as f64 / 2.0);
                    let x = x[j].rem_euclid(i128::from(t.value())) as u64;
                    assert_eq!(got, t.add(x, t.mul(t.from_i64(v[j] as i64), product)));
                }
            }
        }
    }
}

/// Arbitrary residues, so that `x` fills the whole range and `v` meets its ties: against the defining sums.
#[test]
fn conversions_match_their_formulas() {
    let mut rng = Rng::new(12);
    for (from, to) in bases() {
        let mut inputs: Vec<Vec<u64>> = from.iter().map(|b| rng.residues(b, N)).collect();
        for (b, input) in from.iter().zip(&mut inputs) {
            let p = b.value();
            input[..6].copy_from_slice(&[0, 1, p - 1, p / 2, p / 2 + 1, p - 2]);
        }
        let scales: Vec<u64> = to.iter().map(|t| t.reduce_u64(rng.next())).collect();
        let converter = BaseConverter::new_scaled(&from, &to, &scales).unwrap();
        let extra: Vec<f64> = (0..N).map(|_| (rng.next() as i64 >> 14) as f64).collect();
        let product = |t: &Modulus, skip: usize| {
            let others = from.iter().enumerate().filter(|&(i, _)| i != skip);
            others.fold(1, |acc, (_, b)| t.mul(acc, t.reduce_u64(b.value())))
        };
        let centred = |j: usize, i: usize| from[j].center(from[j].mul(inputs[j][i], from[j].inv(product(&from[j], j))));
        let mut expected_v = vec![0.0; N];
        for (i, v) in expected_v.iter_mut().enumerate() {
            let term = |j: usize| centred(j, i) as f64 * (1.0 / from[j].value() as f64);
            *v = (1..from.len()).fold(term(0), |acc, j| acc + term(j)).round_ties_even();
        }
        for k in vector_kernels().into_iter().chain([scalar_kernels()]) {
            let y = stage_one(k, &converter, &inputs);
            let mut v = vec![0.0; N];
            converter.quotient(k, &y, &mut v);
            assert_eq!(v, expected_v);
            for (index, t) in to.iter().enumerate() {
                let c = t.reduce_u64(rng.next());
                let [mut fast, mut exact, mut added] = [(); 3].map(|()| vec![0; N]);
                converter.convert(k, &y, index, &mut fast);
                converter.convert_exact(k, &y, &v, index, &mut exact);
                for (part, added) in added.chunks_mut(N / 2).enumerate() {
                    converter.convert_exact_add_part(k, &y, &v, (&extra, c), part * (N / 2), index, added);
                }
                let mut parts = vec![0; N];
                for (part, exact) in parts.chunks_mut(N / 2).enumerate() {
                    converter.convert_exact_part(k, &y, &v, part * (N / 2), index, exact);
                }
                assert_eq!(parts, exact);
                for i in 0..N {
                    let term = |j: usize| t.mul(t.from_i64(centred(j, i)), product(t, j));
                    let w = (0..from.len()).fold(0, |acc, j| t.add(acc, term(j)));
                    assert_eq!(fast[i], t.mul(w, scales[index]));
                    let vb = t.mul(t.from_i64(v[i] as i64), product(t, from.len()));
                    assert_eq!(exact[i], t.mul(t.sub(w, vb), scales[index]));
                    assert_eq!(added[i], t.add(exact[i], t.mul(t.from_i64(extra[i] as i64), c)));
                }
            }
        }
    }
}

#[test]
fn extremes_stay_exact() {
    let from = primes(50, 5, MAX_BASIS + 1)[1..].to_vec();
    let to = primes(50, 5, 1);
    let t = to[0];
    let converter = BaseConverter::new_scaled(&from, &to, &[t.value() / 2]).unwrap();
    for sign in [1.0, -1.0] {
        let y: Vec<f64> = from.iter().flat_map(|b| vec![sign * (b.value() / 2) as f64; N]).collect();
        let [mut expected, mut got] = [(); 2].map(|()| vec![0; N]);
        converter.convert(scalar_kernels(), &y, 0, &mut expected);
        converter.convert(Kernels::detect(), &y, 0, &mut got);
        assert_eq!(got, expected);
    }
}

#[test]
fn bad_bases_are_refused() {
    let p = primes(40, 5, MAX_BASIS + 1);
    assert!(matches!(BaseConverter::new(&[], &p), Err(ArithError::Size { got: 0, .. })));
    assert!(matches!(BaseConverter::new(&p, &p), Err(ArithError::Size { got: 17, .. })));
    assert!(matches!(BaseConverter::new(&[p[0], p[0]], &p[1..]), Err(ArithError::Modulus { .. })));
    assert!(BaseConverter::new_scaled(&p[..2], &p[2..4], &[1]).is_err());
    assert!(BaseConverter::new_scaled(&p[..2], &p[2..4], &[1, p[3].value()]).is_err());
}
