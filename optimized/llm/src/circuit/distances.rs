//! Keys and values as a query sees them: from so many tokens back.
//!
//! Queries are in every replica; keys and values are brought to replica `r` shifted by `r` tokens, so that one product
//! of ciphertexts covers `R` distances between query and key, and rotations by multiples of `R` tokens cover the rest.
//! A shift moves the end of a row into the next row; what lands there is at a token below the distance of that replica,
//! which the causal mask zeroes. The one exception, the end of the last replica falling into replica 0, is removed by
//! subtracting it: it was masked out of the map's result while levels were to spare.

use super::Run;
use crate::backend::Backend;
use crate::error::Result;
use crate::layout::Layout;
use crate::tap::Observer;

/// Distances up to this many share one decomposition; more of them are split, so that their keys stay few.
const HOISTED: usize = 16;

/// Keys or values: replica 0 in full, and the part of it that must not wrap around. One ciphertext per part.
pub(super) struct Shiftable<C> {
    pub(super) full: Vec<C>,
    /// Absent with one replica, where nothing is shifted.
    pub(super) tail: Option<Vec<C>>,
}

impl<C> Shiftable<C> {
    /// Applies an operation to all ciphertexts.
    pub(super) fn map(&self, operation: impl Fn(&C) -> Result<C>) -> Result<Self> {
        let all = |parts: &Vec<C>| parts.iter().map(&operation).collect::<Result<Vec<_>>>();
        Ok(Self { full: all(&self.full)?, tail: self.tail.as_ref().map(all).transpose()? })
    }
}

/// Rotations by distances: giant steps, each followed by hoisted baby steps.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Split {
    giants: Vec<i64>,
    babies: Vec<i64>,
}

impl Split {
    fn new(layout: &Layout) -> Self {
        let count = layout.distances();
        let babies = if count <= HOISTED { count } else { 1 << count.ilog2().div_ceil(2) };
        let back = |distance: usize| -((distance * layout.replicas) as i64);
        Self {
            giants: (0..count / babies).map(|g| back(g * babies)).collect(),
            babies: (0..babies).map(back).collect(),
        }
    }
}

impl<B: Backend, O: Observer<B::Ct>> Run<'_, '_, B, O> {
    /// Replica `r` shifted by `r` tokens, for all `r`.
    pub(super) fn shifted(&self, source: &Shiftable<B::Ct>) -> Result<Vec<B::Ct>> {
        let (layout, backend) = (&self.circuit.layout, self.backend);
        let steps = layout.shift_replicas();
        let copies = source.full.iter().map(|part| backend.fold(part, &steps)).collect::<Result<Vec<_>>>()?;
        let Some(tail) = &source.tail else { return Ok(copies) };
        let last = (layout.replicas - 1) * (layout.heads * layout.tokens + 1);
        let subtract = |(copy, tail)| backend.sub(copy, &backend.rotate(tail, -(last as i64))?);
        copies.iter().zip(tail).map(subtract).collect()
    }

    /// Calls `visit(j, parts)` for `j = 0, 1, ...` with the parts rotated back by `j R` tokens. Few of them are in memory at once.
    pub(super) fn for_each_distance(
        &self,
        parts: &[B::Ct],
        mut visit: impl FnMut(usize, &[&B::Ct]) -> Result<()>,
    ) -> Result<()> {
        let split = Split::new(&self.circuit.layout);
        for (g, &giant) in split.giants.iter().enumerate() {
            let rotated = |part: &B::Ct| {
                let turned = if giant == 0 { part.clone() } else { self.backend.rotate(part, giant)? };
                self.backend.rotate_many(&turned, &split.babies)
            };
            let rotated = parts.iter().map(rotated).collect::<Result<Vec<_>>>()?;
            for b in 0..split.babies.len() {
                let at: Vec<&B::Ct> = rotated.iter().map(|babies| &babies[b]).collect();
                visit(g * split.babies.len() + b, &at)?;
            }
        }
        Ok(())
    }
}
