//! The MLP: up projection, GELU polynomial, down projection.
//!
//! Hidden units are real and fill all rows of a ciphertext, replicas included: the packing has room for `R d/2` of them.

use super::{Normal, Run, coefficients, interval, places, weights};
use crate::artifact::Matrix;
use crate::backend::Backend;
use crate::error::{LlmError, Result};
use crate::tap::Observer;
use num_complex::Complex64;

impl<B: Backend, O: Observer<B::Ct>> Run<'_, '_, B, O> {
    /// The MLP's output scaled by `scale`, all replicas equal, at `level` or, if that cannot be reached, below.
    ///
    /// With a level given, maps and polynomial run as low as that allows, where operations are cheapest.
    pub(super) fn mlp(
        &mut self,
        layer: usize,
        normal: &Normal<B::Ct>,
        scale: f64,
        level: Option<usize>,
    ) -> Result<B::Ct> {
        let (circuit, backend) = (self.circuit, self.backend);
        let (layout, prompt) = (&circuit.layout, circuit.prompt);
        let name = |tap: &str| format!("layers.{layer}.mlp.{tap}");
        let site = circuit.model.site(&format!("layers.{layer}.gelu"))?;
        let (middle, half) = interval(site);
        let highest = backend.level(&normal.factor).saturating_sub(1);
        let below = self.unit_depth(site) + 1 + usize::from(layout.replicas > 1);
        let hidden_level = level.map_or(highest, |level| highest.min(level + below));

        backend.stage("MLP up map");
        let mut hidden = self.hidden(layer, normal, (middle, half), hidden_level)?;
        let units = circuit.model.config.intermediate_size;
        self.tap(&name("hidden"), &mut hidden.iter_mut().collect::<Vec<_>>(), || {
            places::units(layout, prompt, units, half, middle)
        })?;
        backend.stage("GELU");
        let series = coefficients(site, 1.0);
        let mut active = hidden.iter().map(|part| backend.chebyshev(part, &series)).collect::<Result<Vec<_>>>()?;
        self.tap(&name("activation"), &mut active.iter_mut().collect::<Vec<_>>(), || {
            places::units(layout, prompt, units, 1.0, 0.0)
        })?;

        backend.stage("MLP down map");
        let down = weights::centred(&circuit.model.layers[layer].down, scale);
        let mut sum: Option<B::Ct> = None;
        for (part, active) in active.iter().enumerate() {
            let product = self.down(&down.weight, part, active)?;
            sum = Some(match sum {
                Some(sum) => backend.add(&sum, &product)?,
                None => product,
            });
        }
        let none = || LlmError::Operand {
            operation: name("output"),
            expected: "at least one hidden unit".to_owned(),
            got: "none".to_owned(),
        };
        let sum = self.gather_replicas(&sum.ok_or_else(none)?)?;
        let mut output = backend.add_plain(&sum, &self.channel_bias(&down.bias, false, |_, _, _| true))?;
        self.tap(&name("output"), &mut [&mut output], || places::channels(layout, prompt, scale.recip()))?;
        Ok(output)
    }

    /// Hidden units at `level` as the GELU polynomial's variable: `(unit - middle) / half`.
    ///
    /// A real output is twice the real part of a complex weighted sum; the conjugate is added after normalising.
    fn hidden(
        &self,
        layer: usize,
        normal: &Normal<B::Ct>,
        (middle, half): (f64, f64),
        level: usize,
    ) -> Result<Vec<B::Ct>> {
        let (layout, backend) = (&self.circuit.layout, self.backend);
        let weights = &self.circuit.model.layers[layer];
        let up = weights::after_norm(&weights.up.weight, Some(&weights.up.bias), self.norm(layer, true), half.recip());
        let (units, rows) = (up.weight.rows, layout.rows());
        let babies = self.lowered(&normal.babies[..self.circuit.steps.width], level + 2)?;
        let factor = backend.to_level(&normal.factor, level + 1)?;
        let mut parts = Vec::new();
        for first in (0..units).step_by(rows) {
            let entry = |_: bool, output: usize, input: usize| match first + output < units {
                true => {
                    let (a, b) = layout.real_channels(layout.channel_of_row(input));
                    Complex64::new(up.weight.at(first + output, a), -up.weight.at(first + output, b)) / 2.0
                }
                false => Complex64::ZERO,
            };
            let product = backend.mul(&self.rows(&babies, &entry, None)?, &factor)?;
            let real = backend.twice_real(&product)?;
            let bias = |slot: usize| up.bias.get(first + slot / layout.tokens).map_or(0.0, |b| b - middle / half);
            let bias: Vec<_> = (0..layout.slots).map(|slot| Complex64::from(bias(slot))).collect();
            parts.push(backend.add_plain(&real, &bias)?);
        }
        Ok(parts)
    }

    /// One ciphertext's part of the down projection; each replica holds a partial sum over other units.
    fn down(&self, weight: &Matrix, part: usize, active: &B::Ct) -> Result<B::Ct> {
        let layout = &self.circuit.layout;
        let first = part * layout.rows();
        let entry = |_: bool, output: usize, input: usize| {
            let (a, b) = layout.real_channels(layout.channel_of_row(output));
            match first + input < weight.cols {
                true => Complex64::new(weight.at(a, first + input), weight.at(b, first + input)),
                false => Complex64::ZERO,
            }
        };
        let babies = self.backend.rotate_many(active, &self.circuit.steps.babies)?;
        self.rows(&babies, &entry, None)
    }
}
