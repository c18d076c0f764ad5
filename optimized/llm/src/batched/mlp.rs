//! The MLP: up projection, GELU polynomial, down projection.

use super::Run;
use crate::backend::{Backend, chebyshev_depth};
use crate::circuit::{after_norm, centred, coefficients};
use crate::error::Result;
use crate::tap::Observer;

/// Hidden units that are in memory at once.
const UNITS_AT_ONCE: usize = 64;

impl<B: Backend, O: Observer<B::Ct>> Run<'_, '_, B, O> {
    /// The MLP's output scaled by `scale`, at `level` or, if that cannot be reached, below.
    ///
    /// Hidden units come in groups, each a summand of the output: memory does not grow with their number.
    pub(super) fn mlp(
        &mut self,
        layer: usize,
        (x, factor): (&[B::Ct], &B::Ct),
        scale: f64,
        level: Option<usize>,
    ) -> Result<Vec<B::Ct>> {
        let (circuit, backend) = (self.circuit, self.backend);
        let name = |tap: &str| format!("layers.{layer}.mlp.{tap}");
        let (site, middle, half) = circuit.site(&format!("layers.{layer}.gelu"))?;
        let series = coefficients(site, 1.0);
        let highest = backend.level(factor).saturating_sub(1);
        let hidden_level = level.map_or(highest, |level| highest.min(level + chebyshev_depth(&series) + 1));
        let weights = &circuit.model.layers[layer];
        let up = after_norm(&weights.up.weight, Some(&weights.up.bias), &weights.mlp_norm, half.recip());
        let down = centred(&weights.down, scale);
        let factor = backend.to_level(factor, hidden_level + 1)?;
        let (mut hiddens, mut actives) = (self.pieces(name("hidden")), self.pieces(name("activation")));
        let mut output: Vec<B::Ct> = Vec::new();
        for first in (0..up.weight.rows).step_by(UNITS_AT_ONCE) {
            let mut active = Vec::new();
            for unit in first..up.weight.rows.min(first + UNITS_AT_ONCE) {
                backend.stage("MLP up map");
                let map = self.weighted((&up.weight, unit, 0), x, hidden_level + 1)?;
                let mut hidden = backend.add_const(&backend.mul(&map, &factor)?, up.bias[unit] - middle / half)?;
                self.piece(&mut hiddens, &mut hidden);
                backend.stage("GELU");
                active.push(backend.chebyshev(&hidden, &series)?);
                active.iter_mut().last().into_iter().for_each(|ct| self.piece(&mut actives, ct));
            }
            backend.stage("MLP down map");
            let level = self.level(&active).saturating_sub(1);
            for channel in 0..down.weight.rows {
                let sum = self.weighted((&down.weight, channel, first), &active, level)?;
                match output.get_mut(channel) {
                    Some(output) => *output = backend.add(output, &sum)?,
                    None => output.push(backend.add_const(&sum, down.bias[channel])?),
                }
            }
        }
        let units = up.weight.rows;
        self.report(hiddens, |prompt| prompt.channels(units, half, middle))?;
        self.report(actives, |prompt| prompt.channels(units, 1.0, 0.0))?;
        self.tap(&name("output"), &mut output, |prompt| prompt.channels(x.len(), scale.recip(), 0.0))?;
        Ok(output)
    }
}
