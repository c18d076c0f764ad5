//! A post-LayerNorm block (`r[encoder.block]`).
//!
//! Linear maps read the stream behind a LayerNorm as a decoder's do, with gain and shift folded into the weights and the factor applied
//! afterwards. The residual branch starts there too, so it is formed explicitly, with its mean over channels removed: gain and mean need
//! the stream before the LayerNorm only, so they are applied while the inverse square root is computed.

use super::normal::Normal;
use super::{Held, Run, places};
use crate::artifact::{Encoder, Norm};
use crate::backend::Backend;
use crate::error::Result;
use crate::plan::{BlockPlan, Entry};
use crate::tap::Observer;
use num_complex::Complex64;

impl<B: Backend, O: Observer<B::Ct>> Run<'_, '_, B, O> {
    /// From the sum that a LayerNorm reads to the sum that the LayerNorm of the next block reads.
    pub(super) fn encoder_block(
        &mut self,
        encoder: &Encoder,
        layer: usize,
        x: Vec<B::Ct>,
        plan: BlockPlan,
        next: Entry,
    ) -> Result<Vec<B::Ct>> {
        let circuit = self.circuit;
        let next = circuit.held(layer + 1, next)?.scale;
        let normal = self.entry(encoder, layer, x, plan.entry)?;
        let site = format!("layers.{layer}.attention-inverse-sqrt");
        let width = circuit.model.config.hidden_size;
        let middle = Held::new(circuit.model.site(&site)?, width, plan.middle, None);
        let branch = self.branch(&normal, encoder.entry_norm(layer))?;
        let attention = self.full_attention(layer, &normal, middle.scale, plan.denominator)?;
        drop(normal);
        let mut x = self.residual(attention, &branch, middle.scale)?;
        if plan.middle {
            x = self.bootstrapped(&x)?;
        }
        let prefix = format!("layers.{layer}.attention-layernorm");
        let normal = self.normalise((&prefix, &site), &x, middle, circuit.prompt)?;
        let branch = self.branch(&normal, &circuit.model.layers[layer].mlp_norm)?;
        let mlp = self.mlp(layer, &normal, next, None)?;
        self.residual(mlp, &branch, next)
    }

    /// The LayerNorm at which block `layer`, or the head after the last one, takes over.
    pub(super) fn entry(
        &mut self,
        encoder: &Encoder,
        layer: usize,
        x: Vec<B::Ct>,
        entry: Entry,
    ) -> Result<Normal<B::Ct>> {
        let circuit = self.circuit;
        let held = circuit.held(layer, entry)?;
        let x = self.enter(x, entry)?;
        let (site, prefix) = Encoder::entry_names(layer);
        let normal = self.normalise((&prefix, &site), &x, held, circuit.prompt)?;
        if let Some(before) = layer.checked_sub(1) {
            self.tap_residual(&format!("layers.{before}.residual"), &normal, encoder.entry_norm(layer))?;
        }
        Ok(normal)
    }

    /// The stream behind a LayerNorm, which no operation of the circuit needs as such.
    fn tap_residual(&mut self, name: &str, normal: &Normal<B::Ct>, norm: &Norm) -> Result<()> {
        let (layout, prompt) = (&self.circuit.layout, self.circuit.prompt);
        if self.observer.wants(name) {
            let mut stream = self.normalised(&self.gained(normal, norm, |_| 1.0)?, normal, &norm.shift, |_| 1.0)?;
            self.tap_all(name, &mut stream, || places::channels(layout, prompt, 1.0))?;
        }
        Ok(())
    }

    /// `gain * x` of each part times a real factor of the token, one level above the LayerNorm's factor.
    ///
    /// The gains `g, g'` of the channels of a slot act on `z = x + i x'` as `(g + g')/2 z + (g - g')/2 conj(z)`.
    pub(super) fn gained(
        &self,
        normal: &Normal<B::Ct>,
        norm: &Norm,
        token: impl Fn(usize) -> f64,
    ) -> Result<Vec<B::Ct>> {
        let (layout, backend, gain) = (&self.circuit.layout, self.backend, &norm.gain);
        let level = backend.level(&normal.factor) + 1;
        let part = |part: usize| {
            let (x, conjugate) = self.stream_before(normal, part);
            let weights = |sign: f64| {
                layout.fill(|row, tau| match layout.real_channels(part, row) {
                    Some((a, b)) => Complex64::from(token(tau) * (gain[a] + sign * gain[b]) / 2.0),
                    None => Complex64::ZERO,
                })
            };
            let sum =
                backend.add(&backend.mul_plain(x, &weights(1.0))?, &backend.mul_plain(conjugate, &weights(-1.0))?)?;
            backend.to_level(&sum, level)
        };
        (0..layout.parts).map(part).collect()
    }

    /// A part of the stream before a LayerNorm, and its conjugate: the baby steps by nothing.
    fn stream_before<'n>(&self, normal: &'n Normal<B::Ct>, part: usize) -> (&'n B::Ct, &'n B::Ct) {
        let width = self.circuit.steps.width;
        (&normal.babies[2 * part * width], &normal.babies[(2 * part + 1) * width])
    }

    /// `gained * factor + shift`, the shift times a real factor of the token; one level below the LayerNorm's factor.
    pub(super) fn normalised(
        &self,
        gained: &[B::Ct],
        normal: &Normal<B::Ct>,
        shift: &[f64],
        token: impl Fn(usize) -> f64,
    ) -> Result<Vec<B::Ct>> {
        let backend = self.backend;
        let finish = |(part, gained): (usize, &B::Ct)| {
            let shift = self.channel_bias(shift, part, |_, tau| Complex64::from(token(tau)));
            backend.add_plain(&backend.mul(gained, &normal.factor)?, &shift)
        };
        gained.iter().enumerate().map(finish).collect()
    }

    /// The residual branch behind a LayerNorm, its mean over channels removed, one level below the LayerNorm's factor.
    fn branch(&self, normal: &Normal<B::Ct>, norm: &Norm) -> Result<Vec<B::Ct>> {
        let (layout, backend) = (&self.circuit.layout, self.backend);
        backend.stage("residual branch");
        let (gained, mean) = (self.gained(normal, norm, |_| 1.0)?, self.mean_of_gained(normal, norm)?);
        let centre = |(part, gained): (usize, &B::Ct)| {
            let live = layout.fill(|row, _| match layout.real_channels(part, row) {
                Some(_) => Complex64::new(1.0, 1.0),
                None => Complex64::ZERO,
            });
            let mean = backend.mul_plain(&mean, &live)?;
            backend.sub(&backend.to_level(gained, backend.level(&mean))?, &mean)
        };
        let centred = gained.iter().enumerate().map(centre).collect::<Result<Vec<_>>>()?;
        let mean = norm.shift.iter().sum::<f64>() / norm.shift.len() as f64;
        let shift: Vec<f64> = norm.shift.iter().map(|b| b - mean).collect();
        self.normalised(&centred, normal, &shift, |_| 1.0)
    }

    /// The mean over channels of `gain * x` in every slot, one level above the LayerNorm's factor: the sum over slots of
    /// `Re((g - i g') z) / d`.
    fn mean_of_gained(&self, normal: &Normal<B::Ct>, norm: &Norm) -> Result<B::Ct> {
        let (layout, backend, gain) = (&self.circuit.layout, self.backend, &norm.gain);
        let mut sum: Option<B::Ct> = None;
        for part in 0..layout.parts {
            let (x, conjugate) = self.stream_before(normal, part);
            let weights = |sign: f64| {
                layout.fill(|row, _| match layout.real_channels(part, row) {
                    Some((a, b)) => Complex64::new(gain[a], -sign * gain[b]) / (2.0 * gain.len() as f64),
                    None => Complex64::ZERO,
                })
            };
            for term in [backend.mul_plain(x, &weights(1.0))?, backend.mul_plain(conjugate, &weights(-1.0))?] {
                sum = Some(sum.map_or(Ok(term.clone()), |sum| backend.add(&sum, &term))?);
            }
        }
        let sum = sum.ok_or_else(crate::backend::no_products)?;
        let folded = backend.fold(&sum, &[layout.fold_channels(), layout.fold_heads()].concat())?;
        backend.to_level(&folded, backend.level(&normal.factor) + 1)
    }
}
