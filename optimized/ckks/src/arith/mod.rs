//! Arithmetic on residue vectors: moduli, number-theoretic transforms, base conversion and the
//! kernels that run them.
//!
//! A *limb* is a slice of `N` residues of one prime `p < 2^50`, stored as `u64` in `[0, p)` at every
//! function boundary. Everything here works on one limb (or on the limbs of one base conversion) and
//! on one thread; the caller spreads limbs over threads.
//!
//! Results never depend on the [`Kernels`] that computed them: all outputs are canonical residues or
//! integers fixed by a formula, so the scalar and the vector kernels agree bit for bit.

mod base;
mod kernels;
mod modulus;
mod ntt;
mod packed;
#[cfg(test)]
mod tests;

pub use base::{BaseConverter, MAX_BASIS};
pub use kernels::{KernelKind, Kernels, MAX_DIGITS, MAX_INTEGER, MAX_TERMS};
pub use modulus::{MAX_MODULUS, MIN_MODULUS, Modulus};
pub use ntt::{MAX_LOG_N, MIN_LOG_N, NttTable, apply_galois_coeff, galois_permutation};
pub use packed::PackedLimb;

/// Why an arithmetic object could not be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArithError {
    /// The modulus is not usable: not prime, out of range, or not 1 modulo 2N.
    #[error("{operation}: expected {expected}, got {got}")]
    Modulus {
        /// Function that refused its input.
        operation: &'static str,
        /// What it accepts.
        expected: &'static str,
        /// What it was given.
        got: u64,
    },
    /// A transform length or a number of primes outside the supported range.
    #[error("{operation}: expected {expected}, got {got}")]
    Size {
        /// Function that refused its input.
        operation: &'static str,
        /// What it accepts.
        expected: &'static str,
        /// What it was given.
        got: usize,
    },
    /// The requested kernel needs processor features this machine lacks.
    #[error("{operation}: expected {expected}, got {got:?}")]
    Kernel {
        /// Function that refused its input.
        operation: &'static str,
        /// Processor features the kernel needs.
        expected: &'static str,
        /// The requested kernel.
        got: KernelKind,
    },
}
