//! Plaintexts modulo one prime, in evaluation form, for sums of products with ciphertexts.
//!
//! A plaintext whose slots have the period `P` is a polynomial in `X^(N / 2P)` (`r[ckks.encode]`: its slots are fixed by the
//! automorphism `5^P`). It is given by its `2P` coefficients, transformed as a polynomial of that length, and its full
//! evaluation form repeats every residue `N / 2P` times in a row.

use super::context::Context;
use crate::arith::MIN_LOG_N;
use crate::instrument::{self, Operation};
use crate::ring::Limb;
use std::ops::Deref;

/// Shortest run of equal residues that the kernels take as one.
pub(crate) const SHORTEST_RUN: usize = 4;

/// Fewest coefficients of a short plaintext: the shortest transform.
pub(crate) const SHORTEST_TRANSFORM: usize = 1 << MIN_LOG_N;

/// A plaintext modulo one prime.
pub(crate) enum Factor<'a> {
    /// Transformed before.
    Kept(&'a [u64]),
    /// One residue per run.
    Short(Vec<u64>),
    /// All residues.
    Full(Limb),
}

impl Factor<'static> {
    /// Transforms the coefficients of `X^0, X^run, X^(2 run), ..`, `run` the ring degree over their number, modulo the prime
    /// with index `prime`.
    pub(crate) fn transform(context: &Context, coefficients: &[i64], prime: usize) -> Self {
        let _operation = instrument::within(Operation::Encode);
        let ring = context.ring();
        let kernels = ring.kernels();
        let table = ring.subring_table(prime, coefficients.len().trailing_zeros());
        if coefficients.len() == ring.n() {
            let mut limb = context.scratch_limb();
            kernels.reduce_signed(table.modulus(), &mut limb, coefficients);
            kernels.ntt(table, &mut limb);
            return Self::Full(limb);
        }
        let mut limb = vec![0; coefficients.len()];
        kernels.reduce_signed(table.modulus(), &mut limb, coefficients);
        kernels.ntt(table, &mut limb);
        Self::Short(limb)
    }
}

impl Deref for Factor<'_> {
    type Target = [u64];

    fn deref(&self) -> &[u64] {
        match self {
            Self::Kept(residues) => residues,
            Self::Short(residues) => residues,
            Self::Full(limb) => limb,
        }
    }
}
