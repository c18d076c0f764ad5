//! Tests of the arithmetic layer. Every random input comes from a seed that is printed on failure.

mod conversion;
mod kernels;
mod transform;

use super::{ArithError, KernelKind, Kernels, MAX_MODULUS, Modulus};

/// SplitMix64: small, fast, and good enough to draw test inputs.
pub(crate) struct Rng(u64);

impl Rng {
    /// Prints the seed, which the test harness shows when the test fails.
    pub(crate) fn new(seed: u64) -> Self {
        println!("seed {seed}");
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// `n` canonical residues.
    pub(crate) fn residues(&mut self, m: &Modulus, n: usize) -> Vec<u64> {
        (0..n).map(|_| m.reduce_u64(self.next())).collect()
    }
}

/// The `count` largest primes below `2^bits` that are 1 modulo `2^(log_n + 1)`.
pub(crate) fn primes(bits: u32, log_n: u32, count: usize) -> Vec<Modulus> {
    let step = 2u64 << log_n;
    let mut candidate = (1u64 << bits) + 1;
    let mut found = Vec::new();
    while found.len() < count {
        candidate -= step;
        found.extend(Modulus::new(candidate));
    }
    found
}

pub(crate) const BITS: [u32; 6] = [30, 40, 47, 48, 49, 50];

/// All kernels besides the scalar one that this machine can run, and the code of those in 52-bit integers on arrays, which every
/// machine can.
fn vector_kernels() -> Vec<Kernels> {
    for kind in KernelKind::ALL.into_iter().filter(|&kind| Kernels::with_kind(kind).is_err()) {
        println!("this processor does not run the {kind:?} kernels");
    }
    let vector = KernelKind::available().filter(|&kind| kind != KernelKind::Scalar);
    let kernels = vector.filter_map(|kind| Kernels::with_kind(kind).ok());
    #[cfg(target_arch = "x86_64")]
    let kernels = kernels.chain([Kernels::portable_ifma()]);
    kernels.collect()
}

fn scalar_kernels() -> Kernels {
    Kernels::with_kind(KernelKind::Scalar).expect("always present")
}

#[test]
fn modulus_refuses_composites_and_other_ranges() {
    let largest = (1u64 << 50) - 27;
    assert_eq!(Modulus::new(largest).map(|m| m.value()), Ok(largest));
    for p in [0, 1, 2, 65_537, (1 << 20) + 1, largest - 2, MAX_MODULUS, (1 << 50) + 55, u64::MAX, 1_048_573] {
        assert!(matches!(Modulus::new(p), Err(ArithError::Modulus { got, .. }) if got == p), "{p}");
    }
    // Strong pseudoprimes to the bases 2, 3, 5, 7 and 2, 3, 5, 7, 11, 13, and a square of a prime.
    for p in [3_215_031_751, 3_474_749_660_383, 1_048_583 * 1_048_583] {
        assert!(Modulus::new(p).is_err(), "{p}");
    }
}

#[test]
fn modulus_agrees_with_wide_integers() {
    let mut rng = Rng::new(1);
    for bits in BITS.into_iter().chain([21]) {
        let m = primes(bits, 4, 1)[0];
        let p = m.value();
        let mut values = rng.residues(&m, 60);
        values.extend([0, 1, 2, p / 2, p / 2 + 1, p - 2, p - 1]);
        for &a in &values {
            assert_eq!(m.from_i64(m.center(a)), a);
            assert!(m.center(a).unsigned_abs() <= (p - 1) / 2);
            assert_eq!(m.add(a, m.neg(a)), 0);
            assert_eq!(m.mul(a, m.inv(a)), u64::from(a != 0));
            assert_eq!(m.pow(a, 3), m.mul(a, m.mul(a, a)));
            for &b in &values {
                let wide = |x: i128| x.rem_euclid(i128::from(p)) as u64;
                let (wa, wb) = (i128::from(a), i128::from(b));
                assert_eq!(m.add(a, b), wide(wa + wb));
                assert_eq!(m.sub(a, b), wide(wa - wb));
                assert_eq!(m.mul(a, b), wide(wa * wb));
                assert_eq!(m.mul_shoup(a, b, m.shoup(b)), wide(wa * wb));
            }
        }
        assert_eq!(m.reduce_u128(u128::MAX), (u128::MAX % u128::from(p)) as u64);
        assert_eq!(m.from_i64(i64::MIN), i128::from(i64::MIN).rem_euclid(i128::from(p)) as u64);
    }
}
