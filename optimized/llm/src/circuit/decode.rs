//! Attention of a decoding step (`r[generate.step]`): one query against the cache.
//!
//! The token is at every position of a row, and so is its query; the cache has another key at each. One product of ciphertexts and a
//! sum over channels give all scores of a head, in the places of the keys. Positions that are not live hold zero keys: their powers are
//! zero, and no mask is needed. Position and length are public, so the rotary factor, the place of the new key and
//! the factor `1/n` are folded into the maps' weights.
//!
//! Sums over a row of positions are right at its first token only. The denominator is masked there; for the weighted values the
//! mask is part of the output map, whose result is then copied to all positions.

use super::attention::{DENOMINATOR_SHRINK, name_of_site, score_factor};
use super::cache::{LayerCache, Memory, Step};
use super::linear::{RowMap, complex_weight};
use super::normal::Normal;
use super::{Run, interval, places};
use crate::artifact::{Linear, Matrix};
use crate::backend::Backend;
use crate::error::{LlmError, Result};
use crate::tap::Observer;
use num_complex::Complex64;

impl<B: Backend, O: Observer<B::Ct>> Run<'_, '_, B, O> {
    /// Attention with its output projection, scaled by `scale`, all replicas and positions equal; extends the cache.
    ///
    /// Levels below the LayerNorm factor: query, new key and value 1, or the cached key's if that is lower; below the query: score 1,
    /// powers `1 + ceil(log2 p)`, weighted values and denominator 1 more; then as in a prompt's attention.
    pub(super) fn step_attention(
        &mut self,
        step: &Step,
        layer: usize,
        normal: &Normal<B::Ct>,
        scale: f64,
        bootstrap_denominator: bool,
    ) -> Result<Vec<B::Ct>> {
        let (circuit, backend) = (self.circuit, self.backend);
        let (layout, position) = (&circuit.layout, step.position);
        let name = |tap: &str| format!("layers.{layer}.attention.{tap}");
        let shrink = if bootstrap_denominator { DENOMINATOR_SHRINK } else { 1.0 };
        let p = circuit.model.config.power_softmax.p;
        let unit = shrink * interval(circuit.model.site(&name_of_site(layer))?).1;
        let factor = score_factor(unit, position + 1, p);
        // Twice the real part is taken later.
        let query_scale = factor / 2.0 / circuit.score_scale(layer);
        let [query, key, value] = self.projections(layer, query_scale);

        backend.stage("query, key, value maps");
        let mut query = self.projected(&query, normal, Some(position), None)?;
        let mut key = self.projected(&key, normal, Some(position), Some(position))?;
        let mut value = self.projected(&value, normal, None, Some(position))?;
        self.tap_all(&name("query"), &mut query, || places::channels(layout, 1, query_scale.recip()))?;
        self.tap_all(&name("key"), &mut key, || places::channels_at(layout, position, 1.0))?;
        self.tap_all(&name("value"), &mut value, || places::channels_at(layout, position, 1.0))?;

        let keys = self.extended(layer, key, |cache| &cache.keys, self.level(&query))?;
        let mut powers = self.step_powers(layer, position, &query, &keys, (p, factor))?;
        let values = self.extended(layer, value, |cache| &cache.values, self.level(&powers))?;
        self.tap_all(&name("powers"), &mut powers, || places::row(layout, position + 1, unit))?;
        let denominators = self.step_denominators(layer, &powers, shrink)?;
        backend.stage("weighted values");
        let weighted = |(part, value): (usize, &B::Ct)| {
            backend.fold(&backend.mul(&powers[part / layout.group_parts()], value)?, &layout.fold_tokens())
        };
        let mixed = values.iter().enumerate().map(weighted).collect::<Result<Vec<_>>>()?;
        if let Memory::Extend { next, .. } = &mut self.memory {
            next.push(LayerCache { keys, values });
        }
        self.divided(layer, &mixed, denominators, shrink, scale)
    }

    /// A projection of the token: its map times the LayerNorm factor, with its bias, turned as at position `turned`; at all
    /// positions or at one.
    fn projected(
        &self,
        layer: &Linear,
        normal: &Normal<B::Ct>,
        turned: Option<usize>,
        only: Option<usize>,
    ) -> Result<Vec<B::Ct>> {
        let circuit = self.circuit;
        let turn = |part: usize, row: usize| turned.map_or(Complex64::ONE, |tau| circuit.turn(part, row, tau));
        let map = self.map_at(&normal.babies, &layer.weight, &turn, only)?;
        let finish = |(part, map): (usize, &B::Ct)| {
            let slot = |row: usize, tau: usize| match only.is_none_or(|token| token == tau) {
                true => turn(part, row),
                false => Complex64::ZERO,
            };
            self.finish((part, map), &layer.bias, &normal.factor, false, slot)
        };
        map.iter().enumerate().map(finish).collect()
    }

    /// A `d x d` map whose outputs are multiplied by `factor(part, row)`, at all positions or at one, zero elsewhere.
    fn map_at(
        &self,
        babies: &[B::Ct],
        weight: &Matrix,
        factor: &(dyn Fn(usize, usize) -> Complex64 + Sync),
        only: Option<usize>,
    ) -> Result<Vec<B::Ct>> {
        let (layout, steps) = (&self.circuit.layout, &self.circuit.steps);
        let part = |part: usize| {
            let entry = |source: usize, output: usize, input: usize| match (
                layout.real_channels(part, output),
                layout.real_channels(source / 2, input),
            ) {
                (Some(outputs), Some(inputs)) => {
                    factor(part, output) * complex_weight(weight, outputs, inputs, source % 2 == 1)
                }
                _ => Complex64::ZERO,
            };
            let map = RowMap { layout, steps, weight: &entry };
            self.backend.linear(babies, &steps.giants, &|giant, baby| {
                let mut diagonal = map.diagonal(giant, baby)?;
                if let Some(only) = only {
                    let others = diagonal.iter_mut().enumerate().filter(|(slot, _)| slot % layout.tokens != only);
                    others.for_each(|(_, weight)| *weight = Complex64::ZERO);
                }
                Some(diagonal)
            })
        };
        (0..layout.parts).map(part).collect()
    }

    /// A `d x d` map of what is right at the first token of each row, at all positions.
    pub(super) fn first_token_everywhere(&self, babies: &[B::Ct], weight: &Matrix) -> Result<Vec<B::Ct>> {
        let map = self.map_at(babies, weight, &|_, _| Complex64::ONE, Some(0))?;
        map.iter().map(|part| self.backend.fold(part, &self.circuit.layout.spread_first_token())).collect()
    }

    /// Keys or values of the cache with the new token's, at `level` or at the cache's, if that is lower.
    fn extended(
        &self,
        layer: usize,
        new: Vec<B::Ct>,
        of: impl Fn(&LayerCache<B::Ct>) -> &Vec<B::Ct>,
        level: usize,
    ) -> Result<Vec<B::Ct>> {
        self.backend.stage("key-value cache");
        let cached = match &self.memory {
            Memory::Extend { layers, .. } => layers.get(layer),
            Memory::None | Memory::Fill { .. } => None,
        };
        let cached = of(cached.ok_or_else(|| LlmError::Operand {
            operation: "decoding step".to_owned(),
            expected: format!("a cache of layer {layer}"),
            got: "none".to_owned(),
        })?);
        let level = level.min(self.level(cached));
        let (cached, new) = (self.lowered(cached, level)?, self.lowered(&new, level)?);
        cached.iter().zip(&new).map(|(cached, new)| self.backend.add(cached, new)).collect()
    }

    /// `x^p / n` in the unit, one by group of heads: the key of position `tau` at position `tau`, equal for all channels of a head.
    fn step_powers(
        &mut self,
        layer: usize,
        position: usize,
        query: &[B::Ct],
        keys: &[B::Ct],
        (p, factor): (u32, f64),
    ) -> Result<Vec<B::Ct>> {
        let (layout, backend) = (&self.circuit.layout, self.backend);
        backend.stage("query-key products");
        let level = self.level(keys);
        let conjugates =
            self.lowered(query, level)?.iter().map(|part| backend.conjugate(part)).collect::<Result<Vec<_>>>()?;
        let pairs: Vec<_> = conjugates.iter().zip(keys).collect();
        let score = |pairs: &[(&B::Ct, &B::Ct)]| {
            backend.twice_real(&backend.fold(&backend.sum_of_products(pairs)?, &layout.fold_channels())?)
        };
        let mut scores = pairs.chunks(layout.group_parts()).map(score).collect::<Result<Vec<_>>>()?;
        let name = format!("layers.{layer}.attention.scores");
        self.tap_all(&name, &mut scores, || places::row(layout, position + 1, factor.recip()))?;
        backend.stage("power-softmax powers");
        scores.into_iter().map(|score| backend.power(score, p)).collect()
    }

    /// The sums of powers as in a prompt, one by group of heads, at the first token of each row; elsewhere the middle of the interval.
    fn step_denominators(&mut self, layer: usize, powers: &[B::Ct], shrink: f64) -> Result<Vec<B::Ct>> {
        let (circuit, backend) = (self.circuit, self.backend);
        let layout = &circuit.layout;
        backend.stage("power-softmax denominator");
        let (middle, half) = interval(circuit.model.site(&name_of_site(layer))?);
        let (low, unit) = (middle - half, shrink * half);
        let at_first =
            |here: f64, elsewhere: f64| layout.fill(|_, tau| Complex64::from(if tau == 0 { here } else { elsewhere }));
        let above = |power: &B::Ct| {
            let sum = backend.mul_plain(&backend.fold(power, &layout.fold_tokens())?, &at_first(1.0, 0.0))?;
            backend.add_plain(&sum, &at_first(-low / unit, shrink.recip()))
        };
        let mut above = powers.iter().map(above).collect::<Result<Vec<_>>>()?;
        let name = format!("layers.{layer}.attention.denominator");
        self.tap_all(&name, &mut above, || places::heads(layout, 1, unit, low))?;
        Ok(above)
    }
}
