//! One transformer block: attention and MLP around the residual stream.

use super::Run;
use super::refresh::handed_over;
use crate::backend::Backend;
use crate::circuit::Held;
use crate::error::Result;
use crate::plan::{BlockPlan, Entry};
use crate::tap::Observer;

impl<B: Backend, O: Observer<B::Ct>> Run<'_, '_, B, O> {
    /// One block: stream in, stream out, each scaled for the LayerNorm that reads it next and for the bootstrap before that.
    pub(super) fn block(&mut self, layer: usize, x: Vec<B::Ct>, plan: BlockPlan, next: Entry) -> Result<Vec<B::Ct>> {
        let circuit = self.circuit;
        let held = circuit.held(layer, plan.entry)?;
        let next = handed_over(circuit.held(layer + 1, next)?, next.bootstrap);
        let x = self.enter(&x, plan.entry)?;
        let (layernorm, site) = (format!("layers.{layer}.layernorm"), format!("layers.{layer}.inverse-sqrt"));
        let factor = self.normalise((&layernorm, &site), &x, held)?;
        let mut out = if circuit.model.config.use_parallel_residual {
            let attention = self.attention(layer, (&x, &factor), next, plan.denominator)?;
            let mlp = self.mlp(layer, (&x, &factor), next, Some(self.level(&attention)))?;
            let level = self.level(&attention).min(self.level(&mlp));
            let sum = |(a, b)| self.backend.add(&self.backend.to_level(a, level)?, &self.backend.to_level(b, level)?);
            let update = attention.iter().zip(&mlp).map(sum).collect::<Result<Vec<_>>>()?;
            self.residual(&update, &x, next / held.scale)?
        } else {
            let site = format!("layers.{layer}.mlp-inverse-sqrt");
            let middle = Held::new(circuit.model.site(&site)?, circuit.ciphertexts(), plan.middle, None);
            let scale = handed_over(middle, plan.middle);
            let attention = self.attention(layer, (&x, &factor), scale, plan.denominator)?;
            let mut x = self.residual(&attention, &x, scale / held.scale)?;
            if plan.middle {
                x = self.refreshed(&x, None)?;
            }
            let factor = self.normalise((&format!("layers.{layer}.mlp-layernorm"), &site), &x, middle)?;
            let mlp = self.mlp(layer, (&x, &factor), next, None)?;
            self.residual(&mlp, &x, next / middle.scale)?
        };
        let name = format!("layers.{layer}.residual");
        self.tap(&name, &mut out, |prompt| prompt.channels(circuit.ciphertexts(), 1.0 / next, 0.0))?;
        Ok(out)
    }

    /// `update + factor * x` at the level of the update.
    fn residual(&self, update: &[B::Ct], x: &[B::Ct], factor: f64) -> Result<Vec<B::Ct>> {
        self.backend.stage("residual");
        let add = |(update, x): (&B::Ct, &B::Ct)| {
            self.backend.add(update, &self.backend.scale_to(x, factor, self.backend.level(update))?)
        };
        update.iter().zip(x).map(add).collect()
    }
}
