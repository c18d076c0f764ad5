//! The MLP: up projection, GELU polynomial, down projection.
//!
//! Hidden units are real and fill all rows of a ciphertext, replicas included.

use super::linear::RowMap;
use super::normal::Normal;
use super::{Run, coefficients, interval, places, weights};
use crate::artifact::{Linear, Matrix};
use crate::backend::{Backend, chebyshev_depth};
use crate::error::{LlmError, Result};
use crate::tap::Observer;
use num_complex::Complex64;

/// Rotated ciphertexts of hidden units that are in memory at once.
const BABIES_AT_ONCE: usize = 128;

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
    ) -> Result<Vec<B::Ct>> {
        let (circuit, backend) = (self.circuit, self.backend);
        let (layout, prompt) = (&circuit.layout, circuit.prompt);
        let name = |tap: &str| format!("layers.{layer}.mlp.{tap}");
        let site = circuit.model.site(&format!("layers.{layer}.gelu"))?;
        let (middle, half) = interval(site);
        let series = coefficients(site, 1.0);
        let highest = backend.level(&normal.factor).saturating_sub(1);
        let below = chebyshev_depth(&series) + 1 + usize::from(layout.replicas > 1);
        let hidden_level = level.map_or(highest, |level| highest.min(level + below));

        backend.stage("MLP up map");
        let weights = &circuit.model.layers[layer];
        let up = weights::after_norm(&weights.up.weight, Some(&weights.up.bias), &weights.mlp_norm, half.recip());
        let mut hidden = self.units(&up, normal, middle / half, hidden_level, None)?;
        let units = circuit.model.config.intermediate_size;
        self.tap_all(&name("hidden"), &mut hidden, || places::units(layout, prompt, units, half, middle))?;
        backend.stage("GELU");
        let mut active = hidden.iter().map(|part| backend.chebyshev(part, &series)).collect::<Result<Vec<_>>>()?;
        drop(hidden);
        self.tap_all(&name("activation"), &mut active, || places::units(layout, prompt, units, 1.0, 0.0))?;

        backend.stage("MLP down map");
        let down = weights::centred(&circuit.model.layers[layer].down, scale);
        let sums = self.down(&down.weight, &active)?;
        let sums = sums.iter().map(|sum| self.gather_replicas(sum)).collect::<Result<Vec<_>>>()?;
        let mut output = self.biased(sums, &down.bias)?;
        self.tap_all(&name("output"), &mut output, || places::channels(layout, prompt, scale.recip()))?;
        Ok(output)
    }

    /// Real outputs `layer(normalised x) - shift` at `level`, unit `u` in row `u mod rows` of ciphertext `u / rows`; of one token, 0 at
    /// all others, if `only` names it.
    ///
    /// A real output is twice the real part of a complex weighted sum; the conjugate is added after normalising.
    pub(super) fn units(
        &self,
        layer: &Linear,
        normal: &Normal<B::Ct>,
        shift: f64,
        level: usize,
        only: Option<usize>,
    ) -> Result<Vec<B::Ct>> {
        let (layout, steps, backend) = (&self.circuit.layout, &self.circuit.steps, self.backend);
        let (units, rows) = (layer.weight.rows, layout.rows());
        // Every second source is a conjugate, which real outputs do not need.
        let plain = normal.babies.chunks(steps.width).step_by(2).flatten();
        let babies = plain.map(|baby| backend.to_level(baby, level + 2)).collect::<Result<Vec<_>>>()?;
        let factor = backend.to_level(&normal.factor, level + 1)?;
        let kept = |tau: usize| only.is_none_or(|token| token == tau);
        let mut parts = Vec::new();
        for first in (0..units).step_by(rows) {
            let entry = |part: usize, output: usize, input: usize| match layout.real_channels(part, input) {
                Some((a, b)) if first + output < units => {
                    Complex64::new(layer.weight.at(first + output, a), -layer.weight.at(first + output, b)) / 2.0
                }
                _ => Complex64::ZERO,
            };
            let map = RowMap { layout, steps, weight: &entry };
            let diagonals = |giant, baby| match only {
                None => map.diagonal(giant, baby),
                Some(_) => map.diagonal_by_token((giant, baby), |part, output, tau, input| {
                    if kept(tau) { entry(part, output, input) } else { Complex64::ZERO }
                }),
            };
            let product = backend.mul(&backend.linear(&babies, &steps.giants, &diagonals)?, &factor)?;
            let real = backend.twice_real(&product)?;
            let bias = |row: usize| layer.bias.get(first + row).map_or(0.0, |b| b - shift);
            let kept_bias = |row, tau| Complex64::from(if kept(tau) { bias(row) } else { 0.0 });
            parts.push(backend.add_plain(&real, &layout.fill(kept_bias))?);
        }
        Ok(parts)
    }

    /// The down projection; each replica holds a partial sum over other units.
    fn down(&self, weight: &Matrix, active: &[B::Ct]) -> Result<Vec<B::Ct>> {
        let (layout, backend) = (&self.circuit.layout, self.backend);
        let at_once = (BABIES_AT_ONCE / self.circuit.steps.width).max(1);
        let mut sums: Vec<B::Ct> = Vec::new();
        for (group, parts) in active.chunks(at_once).enumerate() {
            let babies = parts.iter().map(|part| self.babies(part)).collect::<Result<Vec<_>>>()?.concat();
            let mut maps = Vec::with_capacity(layout.parts);
            for part in 0..layout.parts {
                let entry = |source: usize, output: usize, input: usize| {
                    let unit = (group * at_once + source) * layout.rows() + input;
                    match layout.real_channels(part, output) {
                        Some((a, b)) if unit < weight.cols => Complex64::new(weight.at(a, unit), weight.at(b, unit)),
                        _ => Complex64::ZERO,
                    }
                };
                maps.push(self.rows(&babies, &entry)?);
            }
            sums = match sums.is_empty() {
                true => maps,
                false => sums.iter().zip(&maps).map(|(a, b)| backend.add(a, b)).collect::<Result<_>>()?,
            };
        }
        if sums.is_empty() {
            let expected = "at least one hidden unit".to_owned();
            return Err(LlmError::Operand { operation: "MLP down map".to_owned(), expected, got: "none".to_owned() });
        }
        Ok(sums)
    }
}
