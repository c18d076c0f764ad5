//! The uniform half of a switching key: held, or drawn again from its streams wherever it is used.
//!
//! Held halves are half of a key's memory. Drawing one again costs a stream, a transform and a permutation per limb, and
//! gives the same residues, so that results do not depend on the choice.

use super::context::Context;
use super::sampler::{Stream, StreamKey};
use crate::CkksError;
use crate::arith::PackedLimb;
use crate::ring::Limb;
use std::borrow::Cow;
use std::sync::Arc;

/// The limbs of the uniform half by digit, in the stored form of [`super::SwitchKey`].
#[derive(Debug, Clone, PartialEq)]
pub(super) enum UniformHalf {
    /// In memory.
    Held(Arc<[Vec<PackedLimb>]>),
    /// Drawn when used, and permuted by this index map for a key of an automorphism.
    Drawn(Option<Arc<[u32]>>),
}

impl UniformHalf {
    /// Bytes of residues in memory.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Held(limbs) => limbs.iter().flatten().map(PackedLimb::size).sum(),
            Self::Drawn(_) => 0,
        }
    }

    /// Limb `own` of digit `digit`, of the prime with index `prime`, drawn from `stream` if it is not held.
    pub(super) fn limb(
        &self,
        context: &Context,
        (digit, own, prime): (usize, usize, usize),
        stream: &StreamKey,
    ) -> Cow<'_, PackedLimb> {
        let permutation = match self {
            Self::Held(limbs) => return Cow::Borrowed(&limbs[digit][own]),
            Self::Drawn(permutation) => permutation,
        };
        let mut limb = context.scratch_limb();
        draw(context, prime, stream, &mut limb);
        if let Some(permutation) = permutation {
            let mut permuted = context.scratch_limb();
            context.ring().kernels().permute(&limb, permutation, &mut permuted);
            limb = permuted;
        }
        Cow::Owned(PackedLimb::new(context.ring().modulus(prime), &limb))
    }
}

/// Residues of a uniform polynomial modulo one prime, in evaluation form (`r[ckks.key.switch]`).
pub(super) fn draw(context: &Context, prime: usize, stream: &StreamKey, limb: &mut Limb) {
    let table = context.ring().table(prime);
    Stream::new(stream).uniform(table.modulus().value(), limb);
    context.ring().kernels().ntt(table, limb);
}

/// Which keys of a set to hold without their uniform halves so that `limit` bytes suffice: the largest first.
///
/// `keys` are the bytes that uniform halves take now; `rest` is everything else that the set holds.
pub(super) fn to_compress(keys: &[usize], rest: usize, limit: usize) -> Result<Vec<usize>, CkksError> {
    let mut total = rest + keys.iter().sum::<usize>();
    let mut order: Vec<usize> = (0..keys.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(keys[i]));
    let mut chosen = Vec::new();
    for i in order {
        if total <= limit {
            break;
        }
        total -= keys[i];
        chosen.push(i);
    }
    if total <= limit {
        return Ok(chosen);
    }
    Err(CkksError::Argument {
        operation: "EvaluationKeys::fit",
        expected: "a limit of at least the bytes of the keys without their uniform halves",
        got: format!("{limit} bytes, {rest} needed"),
    })
}
