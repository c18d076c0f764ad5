//! One transformer block: attention and MLP around the residual stream.

use super::{Held, Run, places};
use crate::backend::Backend;
use crate::error::Result;
use crate::plan::{BlockPlan, Entry};
use crate::tap::Observer;

impl<B: Backend, O: Observer<B::Ct>> Run<'_, '_, B, O> {
    /// One block: stream in, stream out, each scaled for the LayerNorm that reads it next and for the bootstrap before that.
    pub(super) fn block(&mut self, layer: usize, x: Vec<B::Ct>, plan: BlockPlan, next: Entry) -> Result<Vec<B::Ct>> {
        let circuit = self.circuit;
        if let Some(encoder) = circuit.encoder {
            return self.encoder_block(encoder, layer, x, plan, next);
        }
        let held = circuit.held(layer, plan.entry)?;
        let next = circuit.held(layer + 1, next)?.scale;
        let x = self.enter(x, plan.entry)?;
        let prefix = format!("layers.{layer}");
        let (layernorm, site) = (format!("{prefix}.layernorm"), format!("{prefix}.inverse-sqrt"));
        let normal = self.normalise((&layernorm, &site), &x, held, circuit.prompt)?;
        let mut out = if circuit.model.config.use_parallel_residual {
            let attention = self.attention(layer, &normal, next, plan.denominator)?;
            let mlp = self.mlp(layer, &normal, next, Some(self.level(&attention)))?;
            let sum = self.sum(&attention, &mlp)?;
            self.residual(sum, &x, next / held.scale)?
        } else {
            let site = format!("{prefix}.mlp-inverse-sqrt");
            let middle = Held::new(circuit.model.site(&site)?, circuit.model.config.hidden_size, plan.middle, None);
            let attention = self.attention(layer, &normal, middle.scale, plan.denominator)?;
            drop(normal);
            let mut x = self.residual(attention, &x, middle.scale / held.scale)?;
            if plan.middle {
                x = self.bootstrapped(&x)?;
            }
            let normal = self.normalise((&format!("{prefix}.mlp-layernorm"), &site), &x, middle, circuit.prompt)?;
            let mlp = self.mlp(layer, &normal, next, None)?;
            self.residual(mlp, &x, next / middle.scale)?
        };
        self.tap_all(&format!("{prefix}.residual"), &mut out, || {
            places::channels(&circuit.layout, circuit.prompt, 1.0 / next)
        })?;
        Ok(out)
    }

    /// `update + factor * x` at the level of the update.
    pub(super) fn residual(&self, update: Vec<B::Ct>, x: &[B::Ct], factor: f64) -> Result<Vec<B::Ct>> {
        self.backend.stage("residual");
        let add = |(update, x): (&B::Ct, &B::Ct)| {
            let level = self.backend.level(update);
            self.backend.add(update, &self.backend.scale_to(x, factor, level)?)
        };
        update.iter().zip(x).map(add).collect()
    }

    /// The sum at the lower of the two levels.
    fn sum(&self, a: &[B::Ct], b: &[B::Ct]) -> Result<Vec<B::Ct>> {
        let level = self.level(a).min(self.level(b));
        let (a, b) = (self.lowered(a, level)?, self.lowered(b, level)?);
        a.iter().zip(&b).map(|(a, b)| self.backend.add(a, b)).collect()
    }
}
