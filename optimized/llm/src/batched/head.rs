//! Final LayerNorm and LM head: one ciphertext per logit, at every position.

use super::Run;
use crate::backend::Backend;
use crate::circuit::{head_layer, logit_scale};
use crate::error::Result;
use crate::plan::Entry;
use crate::tap::Observer;

impl<B: Backend, O: Observer<B::Ct>> Run<'_, '_, B, O> {
    /// The logits one level below LayerNorm's factor.
    pub(super) fn head(&mut self, x: Vec<B::Ct>, entry: Entry) -> Result<Vec<B::Ct>> {
        let (circuit, backend) = (self.circuit, self.backend);
        let x = self.enter(&x, entry)?;
        let held = circuit.held(circuit.model.layers.len(), entry)?;
        let factor = self.normalise(("final.layernorm", "final.inverse-sqrt"), &x, held)?;
        backend.stage("LM head");
        let layer = head_layer(circuit.model, logit_scale(circuit.model));
        let logit = |row: usize| {
            let map = self.weighted((&layer.weight, row, 0), &x, backend.level(&factor))?;
            backend.add_const(&backend.mul(&map, &factor)?, layer.bias[row])
        };
        let mut logits = (0..layer.weight.rows).map(logit).collect::<Result<Vec<_>>>()?;
        self.tap("logits", &mut logits, |prompt| circuit.last_logits(prompt))?;
        Ok(logits)
    }
}
