//! Inputs shared by the arithmetic benches.
#![allow(dead_code, reason = "each bench uses its own part")]

use touchstone_ckks::arith::{KernelKind, Kernels, Modulus};

/// Words of a cache line.
const LINE: usize = 8;

/// The `count` largest primes below `2^bits` that are 1 modulo `2^(log_n + 1)`.
pub fn primes(bits: u32, log_n: u32, count: usize) -> Vec<Modulus> {
    let step = 2u64 << log_n;
    let candidates = (1u64..).map(|i| (1u64 << bits) + 1 - i * step);
    candidates.filter_map(|p| Modulus::new(p).ok()).take(count).collect()
}

/// The largest of [`primes`].
pub fn prime(bits: u32, log_n: u32) -> Modulus {
    primes(bits, log_n, 1)[0]
}

/// Every kernel this processor runs.
pub fn kernels() -> Vec<Kernels> {
    KernelKind::available().filter_map(|kind| Kernels::with_kind(kind).ok()).collect()
}

/// `n` residues in storage that [`aligned`] cuts to a cache-line boundary.
pub fn limb(m: &Modulus, n: usize) -> Vec<u64> {
    let mut storage: Vec<u64> =
        (0..(n + LINE) as u64).map(|i| m.reduce_u64(i.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    storage.shrink_to_fit();
    storage
}

/// The part of [`limb`]'s storage that starts on a cache line.
pub fn aligned(storage: &mut [u64]) -> &mut [u64] {
    let n = storage.len() - LINE;
    let skip = storage.as_ptr().align_offset(LINE * size_of::<u64>()).min(LINE);
    &mut storage[skip..skip + n]
}
