//! Power-Softmax attention (`r[psm.definition]`).
//!
//! Queries are in every replica; keys and values are brought to replica `r` shifted by `r` tokens, so that one product
//! of ciphertexts covers `R` distances between query and key, and rotations by multiples of `R` tokens cover the rest.
//! A shift moves the end of a row into the next row; what lands there is at a token below the distance of that replica,
//! which the causal mask zeroes. The one exception, the end of the last replica falling into replica 0, is removed by
//! subtracting it: it was masked out of the map's result while levels were to spare.

use super::{Normal, Run, coefficients, interval, places, weights};
use crate::artifact::Linear;
use crate::backend::Backend;
use crate::error::Result;
use crate::tap::Observer;
use num_complex::Complex64;

/// Keys or values: replica 0 in full, and the part of it that must not wrap around.
struct Shiftable<C> {
    full: C,
    /// Absent with one replica, where nothing is shifted.
    tail: Option<C>,
}

impl<B: Backend, O: Observer<B::Ct>> Run<'_, '_, B, O> {
    /// Attention with its output projection, scaled by `scale`, all replicas equal.
    ///
    /// Levels below the LayerNorm factor: query and key 1, score 2, masked 3, powers `3 + ceil(log2 p)`, reciprocal `depth`
    /// more, heads 1 more, output 1 more.
    pub(super) fn attention(&mut self, layer: usize, normal: &Normal<B::Ct>, scale: f64) -> Result<B::Ct> {
        let (circuit, backend) = (self.circuit, self.backend);
        let (layout, prompt) = (&circuit.layout, circuit.prompt);
        let name = |tap: &str| format!("layers.{layer}.attention.{tap}");
        let score_scale = (circuit.model.config.head_size() as f64).sqrt() * circuit.model.config.score_scale(layer);
        let [query, key, value] = self.projections(layer, score_scale.recip());

        backend.stage("query, key, value maps");
        let mut query = self.query(&query, normal)?;
        let mut key = self.shiftable(&key, normal, true)?;
        let mut value = self.shiftable(&value, normal, false)?;
        self.tap(&name("query"), &mut [&mut query], || places::channels(layout, prompt, score_scale))?;
        self.tap(&name("key"), &mut [&mut key.full], || places::channels(layout, prompt, 1.0))?;
        self.tap(&name("value"), &mut [&mut value.full], || places::channels(layout, prompt, 1.0))?;

        let powers = self.powers(layer, &query, key)?;
        backend.stage("power-softmax denominator");
        let site = circuit.model.site(&name_of_site(layer))?;
        let (middle, half) = interval(site);
        let mut sum = powers[0].clone();
        for power in &powers[1..] {
            sum = backend.add(&sum, power)?;
        }
        let mut variable = backend.add_const(&backend.fold(&sum, &layout.fold_replicas())?, -middle / half)?;
        self.tap(&name("denominator"), &mut [&mut variable], || places::heads(layout, prompt, half, middle))?;
        backend.stage("power-softmax reciprocal");
        let mut reciprocal = backend.chebyshev(&variable, &coefficients(site, half))?;
        self.tap(&name("reciprocal"), &mut [&mut reciprocal], || places::heads(layout, prompt, half.recip(), 0.0))?;

        let mixed = self.weighted_values(&powers, value)?;
        drop(powers);
        let mut heads = backend.mul(&mixed, &reciprocal)?;
        self.tap(&name("heads"), &mut [&mut heads], || places::channels(layout, prompt, 1.0))?;

        backend.stage("attention output map");
        let dense = weights::centred(&circuit.model.layers[layer].dense, scale);
        let babies = self.babies(&heads, &backend.conjugate(&heads)?)?;
        let output = self.channel_map(&babies, &dense.weight, false, false)?;
        let mut output = backend.add_plain(&output, &self.channel_bias(&dense.bias, false, |_, _, _| true))?;
        self.tap(&name("output"), &mut [&mut output], || places::channels(layout, prompt, scale.recip()))?;
        Ok(output)
    }

    /// Query, key and value layers on the normalised stream; queries carry the scale of the scores.
    fn projections(&self, layer: usize, query_scale: f64) -> [Linear; 3] {
        let model = self.circuit.model;
        let [query, key, value] = weights::split_qkv(&model.layers[layer], model.config.head_size());
        let norm = self.norm(layer, false);
        let fold = |part: &Linear, scale| weights::after_norm(&part.weight, Some(&part.bias), norm, scale);
        [fold(&query, query_scale), fold(&key, 1.0), fold(&value, 1.0)]
    }

    fn query(&self, layer: &Linear, normal: &Normal<B::Ct>) -> Result<B::Ct> {
        let map = self.channel_map(&normal.babies, &layer.weight, false, true)?;
        let product = self.backend.mul(&map, &normal.factor)?;
        self.backend.add_plain(&product, &self.channel_bias(&layer.bias, true, |_, _, _| true))
    }

    /// Keys or values in replica 0, with the tokens of the last head that a shift by `R - 1` pushes out of the row.
    fn shiftable(&self, layer: &Linear, normal: &Normal<B::Ct>, turned: bool) -> Result<Shiftable<B::Ct>> {
        let (layout, backend) = (&self.circuit.layout, self.backend);
        let map = self.channel_map(&normal.babies, &layer.weight, true, turned)?;
        let finish = |map: &B::Ct, bias: &[Complex64]| backend.add_plain(&backend.mul(map, &normal.factor)?, bias);
        let full = finish(&map, &self.channel_bias(&layer.bias, turned, |rep, _, _| rep == 0))?;
        if layout.replicas == 1 {
            return Ok(Shiftable { full, tail: None });
        }
        let wraps = |rep: usize, head: usize, tau: usize| {
            rep == 0 && head == layout.heads - 1 && tau + layout.replicas > layout.tokens
        };
        let mask = layout.fill(|_, rep, head, tau| Complex64::from(f64::from(u8::from(wraps(rep, head, tau)))));
        let tail = finish(&backend.mul_plain(&map, &mask)?, &self.channel_bias(&layer.bias, turned, wraps))?;
        Ok(Shiftable { full, tail: Some(tail) })
    }

    /// Replica `r` shifted by `r` tokens, for all `r`.
    fn shifted(&self, source: &Shiftable<B::Ct>) -> Result<B::Ct> {
        let (layout, backend) = (&self.circuit.layout, self.backend);
        let copies = backend.fold(&source.full, &layout.shift_replicas())?;
        let Some(tail) = &source.tail else { return Ok(copies) };
        let last = (layout.replicas - 1) * (layout.heads * layout.tokens + 1);
        backend.sub(&copies, &backend.rotate(tail, -(last as i64))?)
    }

    /// Rotations that bring keys from `0, R, 2R, ...` tokens back.
    fn distances(&self) -> Vec<i64> {
        let layout = &self.circuit.layout;
        (0..layout.tokens).step_by(layout.replicas).map(|delta| -(delta as i64)).collect()
    }

    /// `x^p / n` in the scale of the reciprocal's variable, one ciphertext per `R` distances, equal for all channels of a head.
    fn powers(&mut self, layer: usize, query: &B::Ct, key: Shiftable<B::Ct>) -> Result<Vec<B::Ct>> {
        let (circuit, backend) = (self.circuit, self.backend);
        let (layout, prompt) = (&circuit.layout, circuit.prompt);
        let p = circuit.model.config.power_softmax.p;
        let (_, half) = interval(circuit.model.site(&name_of_site(layer))?);
        // A score's factor: its p-th power is 1/n in the variable's unit.
        let factor = |tau: usize| (half * (tau + 1) as f64).powf(-f64::from(p).recip());
        backend.stage("query-key products");
        let keys = backend.rotate_many(
            &self.shifted(&Shiftable {
                full: backend.conjugate(&key.full)?,
                tail: key.tail.as_ref().map(|tail| backend.conjugate(tail)).transpose()?,
            })?,
            &self.distances(),
        )?;
        drop(key);
        let mut scores = Vec::with_capacity(keys.len());
        for (j, key) in keys.into_iter().enumerate() {
            let mask = layout.fill(|_, rep, _, tau| match tau >= j * layout.replicas + rep {
                true => Complex64::from(factor(tau) / 2.0),
                false => Complex64::ZERO,
            });
            let product = backend.mul_plain(&backend.sum_of_products(&[(query, &key)])?, &mask)?;
            let sum = backend.fold(&product, &layout.fold_channels())?;
            scores.push(backend.twice_real(&sum)?);
        }
        let name = |tap: &str| format!("layers.{layer}.attention.{tap}");
        self.tap(&name("scores"), &mut scores.iter_mut().collect::<Vec<_>>(), || {
            places::pairs(layout, prompt, |tau| factor(tau).recip())
        })?;
        backend.stage("power-softmax powers");
        let mut powers = scores.into_iter().map(|score| self.power(score, p)).collect::<Result<Vec<_>>>()?;
        self.tap(&name("powers"), &mut powers.iter_mut().collect::<Vec<_>>(), || {
            places::pairs(layout, prompt, |_| half)
        })?;
        Ok(powers)
    }

    /// `x^p` by squaring and multiplying, `ceil(log2 p)` levels.
    fn power(&self, mut square: B::Ct, mut p: u32) -> Result<B::Ct> {
        let mut product: Option<B::Ct> = None;
        loop {
            if p % 2 == 1 {
                product = Some(match product {
                    Some(product) => self.backend.mul(&product, &square)?,
                    None => square.clone(),
                });
            }
            p /= 2;
            match product {
                Some(product) if p == 0 => return Ok(product),
                _ => square = self.backend.mul(&square, &square)?,
            }
        }
    }

    /// `sum_j (x_j^p / n) v_j`, all replicas equal, while the reciprocal is computed elsewhere.
    fn weighted_values(&self, powers: &[B::Ct], value: Shiftable<B::Ct>) -> Result<B::Ct> {
        let backend = self.backend;
        backend.stage("weighted values");
        let level = backend.level(&powers[0]);
        let lowered = Shiftable {
            full: backend.to_level(&value.full, level)?,
            tail: value.tail.as_ref().map(|tail| backend.to_level(tail, level)).transpose()?,
        };
        drop(value);
        let values = backend.rotate_many(&self.shifted(&lowered)?, &self.distances())?;
        let pairs: Vec<_> = powers.iter().zip(&values).collect();
        self.gather_replicas(&backend.sum_of_products(&pairs)?)
    }

    /// The sum over replicas in all replicas. One replica's sum is right after folding, the others mix channels, so a mask
    /// keeps replica 0 before it is copied: one level.
    pub(super) fn gather_replicas(&self, ct: &B::Ct) -> Result<B::Ct> {
        let (layout, backend) = (&self.circuit.layout, self.backend);
        if layout.replicas == 1 {
            return Ok(ct.clone());
        }
        let first = layout.fill(|_, rep, _, _| Complex64::from(f64::from(u8::from(rep == 0))));
        let kept = backend.mul_plain(&backend.fold(ct, &layout.fold_replicas())?, &first)?;
        backend.fold(&kept, &layout.spread_replicas())
    }
}

fn name_of_site(layer: usize) -> String {
    format!("layers.{layer}.reciprocal")
}
