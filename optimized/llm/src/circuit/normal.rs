//! LayerNorm: the factor `1 / sqrt(var + eps)`, and the rotations of the stream that the linear maps after it share.

use super::{Held, Run, coefficients, interval, places};
use crate::backend::Backend;
use crate::error::Result;
use crate::tap::Observer;

/// What a LayerNorm provides.
pub(super) struct Normal<C> {
    /// `1 / (alpha sqrt(var + eps))` in every slot, `alpha` the scale of the stream.
    pub(super) factor: C,
    /// Baby rotations by source: of part 0, of its conjugate, of part 1, ...
    pub(super) babies: Vec<C>,
}

impl<B: Backend, O: Observer<B::Ct>> Run<'_, '_, B, O> {
    /// Variance, its inverse square root, and the rotations of the stream. Taps are called `prefix.*` and report `tokens`.
    ///
    /// Levels: variance at `l - 1`, factor `depth` below, rotations two above the factor so that a masked copy of a
    /// map's result still meets the factor; one above it in a decoding step, which masks in the maps.
    pub(super) fn normalise(
        &mut self,
        (prefix, site): (&str, &str),
        x: &[B::Ct],
        held: Held,
        tokens: usize,
    ) -> Result<Normal<B::Ct>> {
        let (circuit, backend) = (self.circuit, self.backend);
        let (layout, site) = (&circuit.layout, circuit.model.site(site)?);
        let (middle, half) = interval(site);
        backend.stage("layernorm variance");
        let conjugates = x.iter().map(|part| backend.conjugate(part)).collect::<Result<Vec<_>>>()?;
        let pairs: Vec<_> = x.iter().zip(&conjugates).collect();
        let squares = backend.sum_of_products(&pairs)?;
        let mut sums = backend.fold(&squares, &[layout.fold_channels(), layout.fold_heads()].concat())?;
        if held.halved {
            sums = backend.add(&sums, &sums)?;
        }
        let mut variable = backend.add_const(&sums, -middle / half)?;
        let name = |tap: &str| format!("{prefix}.{tap}");
        self.tap(&name("variance"), &mut [&mut variable], || places::tokens(layout, tokens, half, middle))?;
        backend.stage("layernorm inverse square root");
        let mut factor = backend.chebyshev(&variable, &coefficients(site, 1.0 / held.scale))?;
        self.tap(&name("inverse-sqrt"), &mut [&mut factor], || places::tokens(layout, tokens, held.scale, 0.0))?;
        if self.observer.wants(&name("normalised")) {
            let mut normalised = x.iter().map(|part| backend.mul(part, &factor)).collect::<Result<Vec<_>>>()?;
            self.tap_all(&name("normalised"), &mut normalised, || places::channels(layout, tokens, 1.0))?;
        }
        backend.stage("linear maps");
        let above = if circuit.step.is_some() { 1 } else { 2 };
        let level = (backend.level(&factor) + above).min(self.level(x));
        let mut babies = Vec::new();
        for source in x.iter().zip(&conjugates).flat_map(|(part, conjugate)| [part, conjugate]) {
            babies.extend(self.babies(&backend.to_level(source, level)?)?);
        }
        Ok(Normal { factor, babies })
    }

    /// Baby rotations of one source.
    pub(super) fn babies(&self, source: &B::Ct) -> Result<Vec<B::Ct>> {
        self.backend.rotate_many(source, &self.circuit.steps.babies)
    }

    /// Baby rotations of parts and their conjugates, by source as in [`Normal::babies`].
    pub(super) fn babies_of_parts(&self, parts: &[B::Ct]) -> Result<Vec<B::Ct>> {
        let mut babies = Vec::new();
        for part in parts {
            babies.extend(self.babies(part)?);
            babies.extend(self.babies(&self.backend.conjugate(part)?)?);
        }
        Ok(babies)
    }
}
