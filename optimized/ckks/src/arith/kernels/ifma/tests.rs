//! The lanes: arrays against 128-bit arithmetic, and intrinsics against arrays where the processor has them.

use super::lanes::{LANES, Lanes, Pattern};
use super::portable::Portable;
use super::zmm::Zmm;
use crate::arith::tests::Rng;

/// Words with all bits random, and those at the ends of the 52-bit and 64-bit ranges.
fn vectors(rng: &mut Rng) -> Vec<[u64; LANES]> {
    let edges = [0, 1, (1 << 52) - 1, 1 << 52, (1 << 52) + 1, 1 << 63, u64::MAX, (1 << 51) + 1];
    let mut vectors = vec![edges, [u64::MAX; LANES], [(1 << 52) - 1; LANES], [1 << 52; LANES]];
    vectors.extend((0..50).map(|_| std::array::from_fn(|_| rng.next())));
    vectors.extend((0..50).map(|_| std::array::from_fn(|_| edges[rng.next() as usize % LANES])));
    vectors
}

/// `f` on 128-bit integers, lane by lane, cut to 64 bits.
fn expected(x: [&[u64; LANES]; 3], f: impl Fn(u128, u128, u128) -> u128) -> [u64; LANES] {
    std::array::from_fn(|i| f(u128::from(x[0][i]), u128::from(x[1][i]), u128::from(x[2][i])) as u64)
}

#[test]
fn arrays_do_what_the_instructions_are_documented_to_do() {
    let (mut rng, l) = (Rng::new(51), Portable);
    let words = vectors(&mut rng);
    let cut = |x: u128| x & ((1 << 52) - 1);
    for (i, a) in words.iter().enumerate() {
        for b in &words {
            let c = &words[(i + 7) % words.len()];
            let x = [a, b, c];
            assert_eq!(l.madd_lo(*a, *b, *c), expected(x, |a, b, c| a + cut(cut(b) * cut(c))));
            assert_eq!(l.madd_hi(*a, *b, *c), expected(x, |a, b, c| a + ((cut(b) * cut(c)) >> 52)));
            assert_eq!(l.add(*a, *b), expected(x, |a, b, _| a + b));
            assert_eq!(l.sub(*a, *b), expected(x, |a, b, _| a + (1 << 64) - b));
            assert_eq!(l.min(*a, *b), expected(x, |a, b, _| if a < b { a } else { b }));
            assert_eq!(l.and(*a, *b), expected(x, |a, b, _| !(!a | !b)));
            let count = b.map(|b| b % 64);
            let shifted = [a, &count, c];
            assert_eq!(l.shift_left(*a, count), expected(shifted, |a, count, _| a * (1 << count)));
            assert_eq!(l.shift_right(*a, count), expected(shifted, |a, count, _| a / (1 << count)));
            let sum: [f64; LANES] = std::array::from_fn(|i| f64::from_bits(a[i] >> 2) + f64::from_bits(b[i] >> 2));
            assert_eq!(l.add_f64(a.map(|a| a >> 2), b.map(|b| b >> 2)), sum.map(f64::to_bits));
            let pattern: Pattern = c.map(|c| c % 16);
            let both = |i: u64| if i < 8 { a[i as usize] } else { b[i as usize - 8] };
            assert_eq!(l.permute(*a, *b, &pattern), pattern.map(both));
            let byte = |x: &[u64; LANES], i: usize| (x[i / 8] >> (8 * (i % 8))) as u8;
            let bytes: Vec<u8> = (0..64).map(|i| byte(a, i)).collect();
            let permuted = l.permute_bytes(*a, *b);
            assert!((0..64).all(|i| byte(&permuted, i) == bytes[usize::from(byte(b, i) % 64)]));
            let count = c[0] as usize % 65;
            let loaded = l.load_bytes(&bytes, count);
            assert!((0..64).all(|i| byte(&loaded, i) == if i < count { bytes[i] } else { 0 }));
        }
        let mut out = [7; LANES];
        for count in 0..=LANES {
            let loaded = l.load(&a[..count]);
            assert!((0..LANES).all(|i| loaded[i] == if i < count { a[i] } else { 0 }));
            l.store(*a, &mut out[..count]);
            assert_eq!(out[..count], a[..count]);
            assert!(out[count..].iter().all(|&x| x == 7));
        }
        assert_eq!(l.splat(a[0]), [a[0]; LANES]);
    }
}

/// Everything that the operations of `l` make of some words.
fn outputs<L: Lanes>(l: L, [a, b, c]: [&[u64; LANES]; 3]) -> Vec<[u64; LANES]> {
    let back = |x: L::Vector| {
        let mut lanes = [0; LANES];
        l.store(x, &mut lanes);
        lanes
    };
    let [x, y, z] = [a, b, c].map(|x| l.load(x));
    let count = l.and(y, l.splat(63));
    let pattern: Pattern = c.map(|c| c % 16);
    let bytes: Vec<u8> = a.iter().flat_map(|a| a.to_le_bytes()).collect();
    let positive = |x| l.shift_right(x, l.splat(2));
    let mut part = [7; LANES];
    l.store(x, &mut part[..c[0] as usize % 9]);
    vec![
        back(l.madd_lo(x, y, z)),
        back(l.madd_hi(x, y, z)),
        back(l.add(x, y)),
        back(l.sub(x, y)),
        back(l.min(x, y)),
        back(l.and(x, y)),
        back(l.shift_left(x, count)),
        back(l.shift_right(x, count)),
        back(l.add_f64(positive(x), positive(y))),
        back(l.permute(x, y, &pattern)),
        back(l.permute_bytes(x, y)),
        back(l.load_bytes(&bytes, c[1] as usize % 65)),
        back(l.load(&a[..c[0] as usize % 9])),
        part,
    ]
}

#[test]
fn intrinsics_equal_arrays_where_there_are_any() {
    let Some(zmm) = Zmm::detect() else {
        println!("skipped: this processor has no AVX-512 IFMA");
        return;
    };
    let words = vectors(&mut Rng::new(52));
    for (i, a) in words.iter().enumerate() {
        for (j, b) in words.iter().enumerate() {
            let x = [a, b, &words[(i + 3 * j) % words.len()]];
            assert_eq!(outputs(zmm, x), outputs(Portable, x));
        }
    }
}
