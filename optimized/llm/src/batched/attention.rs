//! Power-Softmax attention (`r[psm.definition]`), head by head.
//!
//! A query meets the key `distance` tokens back after the key's channels are rotated by so many tokens (`r[packing.batched.rotations]`);
//! scores of different distances are different ciphertexts, so that sums over keys are sums of ciphertexts.

use super::Run;
use crate::artifact::Linear;
use crate::backend::{Backend, Packing, Refresh, chebyshev_depth};
use crate::circuit::{coefficients, projections};
use crate::error::Result;
use crate::plain::rotary_angle;
use crate::tap::Observer;
use num_complex::Complex64;

/// How much smaller denominators are held that are bootstrapped: in `[0, 1]` then, small ones with small errors of approximation.
const DENOMINATOR_SHRINK: f64 = 2.0;
/// Distances that share one decomposition; they are also the ciphertexts of rotated channels that are in memory at once.
const HOISTED: usize = 8;

impl<B: Backend, O: Observer<B::Ct>> Run<'_, '_, B, O> {
    /// Attention with its output projection, scaled by `scale`.
    ///
    /// Levels below the LayerNorm factor: query, key and value 1, score 2, masked 3, powers `3 + ceil(log2 p)`; heads 1 below the lower of
    /// weighted values (1 below the powers) and reciprocal (`depth` below the denominator); output 1 more.
    pub(super) fn attention(
        &mut self,
        layer: usize,
        stream: (&[B::Ct], &B::Ct),
        scale: f64,
        bootstrap_denominator: bool,
    ) -> Result<Vec<B::Ct>> {
        let (circuit, backend) = (self.circuit, self.backend);
        let config = &circuit.model.config;
        let (width, heads) = (config.hidden_size, config.num_attention_heads);
        let name = |tap: &str| format!("layers.{layer}.attention.{tap}");
        let score_scale = (config.head_size() as f64).sqrt() * config.score_scale(layer);
        let maps = projections(circuit.model, layer, score_scale.recip());
        let mask = Mask::new(self, layer, if bootstrap_denominator { DENOMINATOR_SHRINK } else { 1.0 })?;

        let mut projected = ["query", "key", "value"].map(|tap| self.pieces(name(tap)));
        let mut pairs = ["scores", "powers"].map(|tap| self.pieces(name(tap)));
        let (mut mixed, mut denominators) = (Vec::with_capacity(width), Vec::with_capacity(heads));
        for head in 0..heads {
            backend.stage("query, key, value maps");
            let mut vectors = Vec::with_capacity(3);
            for (which, (map, pieces)) in maps.iter().zip(&mut projected).enumerate() {
                let mut vector = self.projected(map, head, stream, which < 2)?;
                vector.iter_mut().for_each(|ct| self.piece(pieces, ct));
                vectors.push(vector);
            }
            let powers = self.powers(&vectors[0], &vectors[1], &mask, &mut pairs)?;
            denominators.push(self.denominator(&powers, &mask)?);
            mixed.extend(self.weighted_values(&powers, &vectors[2])?);
        }
        for (pieces, factor) in projected.into_iter().zip([score_scale, 1.0, 1.0]) {
            self.report(pieces, |prompt| prompt.channels(width, factor, 0.0))?;
        }
        let [scores, powers] = pairs;
        self.report(scores, |prompt| prompt.pairs(heads, |query| mask.factor(query).recip()))?;
        self.report(powers, |prompt| prompt.pairs(heads, |_| mask.unit))?;
        let (unit, low) = (mask.unit, mask.low);
        self.tap(&name("denominator"), &mut denominators, |prompt| prompt.heads(heads, unit, low))?;

        let mut heads = self.divided(layer, &mixed, &denominators, &mask)?;
        drop(mixed);
        self.tap(&name("heads"), &mut heads, |prompt| prompt.channels(width, 1.0, 0.0))?;
        backend.stage("attention output map");
        let dense = crate::circuit::centred(&circuit.model.layers[layer].dense, scale);
        let mut output = self.linear(&dense, &heads)?;
        self.tap(&name("output"), &mut output, |prompt| prompt.channels(width, scale.recip(), 0.0))?;
        Ok(output)
    }

    /// One head's channels of a layer on the normalised stream, with rotary embedding if `turned`.
    fn projected(
        &self,
        layer: &Linear,
        head: usize,
        (x, factor): (&[B::Ct], &B::Ct),
        turned: bool,
    ) -> Result<Vec<B::Ct>> {
        let (config, layout, backend) = (&self.circuit.model.config, &self.circuit.layout, self.backend);
        let (size, half) = (config.head_size(), if turned { config.rotary_size() / 2 } else { 0 });
        let level = backend.level(factor);
        let row = |c: usize| head * size + c;
        let map = |c: usize| self.weighted((&layer.weight, row(c), 0), x, level + usize::from(c < 2 * half));
        let maps = (0..size).map(map).collect::<Result<Vec<_>>>()?;
        let channel = |c: usize| {
            if c >= 2 * half {
                return backend.add_const(&backend.mul(&maps[c], factor)?, layer.bias[row(c)]);
            }
            // Channels `i` and `i + half` turn by `(a cos - b sin, b cos + a sin)` (`r[model.rotary]`).
            let (partner, sign) = if c < half { (c + half, -1.0) } else { (c - half, 1.0) };
            let angle = |token: usize| rotary_angle(config.rotary_emb_base, token, c % half, half);
            let diagonal = |own: bool| {
                layout.fill(|token| Complex64::from(if own { angle(token).cos() } else { sign * angle(token).sin() }))
            };
            let pair = [maps[c].clone(), maps[partner].clone()];
            let turned = backend.linear(&pair, &[0], &|_, baby| Some(diagonal(baby == 0)))?;
            let bias = layout.fill(|token| {
                let (sin, cos) = angle(token).sin_cos();
                Complex64::from(layer.bias[row(c)] * cos + sign * layer.bias[row(partner)] * sin)
            });
            backend.add_plain(&backend.mul(&turned, factor)?, &bias)
        };
        (0..size).map(channel).collect()
    }

    /// `x^p / n` in the unit of the mask, one ciphertext per distance.
    fn powers(
        &self,
        query: &[B::Ct],
        key: &[B::Ct],
        mask: &Mask,
        [scores, powers]: &mut [super::Pieces<B::Ct>; 2],
    ) -> Result<Vec<B::Ct>> {
        let (layout, backend) = (&self.circuit.layout, self.backend);
        backend.stage("query-key products");
        let mut sums: Vec<Option<B::Sum>> = (0..layout.tokens).map(|_| None).collect();
        for (query, key) in query.iter().zip(key) {
            self.for_each_distance(key, |distance, key| backend.accumulate(&mut sums[distance], query, key))?;
        }
        let mut all = Vec::with_capacity(sums.len());
        for (distance, sum) in sums.into_iter().enumerate() {
            backend.stage("query-key products");
            let live = layout.fill(|token| Complex64::from(if token < distance { 0.0 } else { mask.factor(token) }));
            let mut score = backend.mul_plain(&backend.relinearise(sum)?, &live)?;
            self.piece(scores, &mut score);
            backend.stage("power-softmax powers");
            let mut power = backend.power(score, mask.p)?;
            self.piece(powers, &mut power);
            all.push(power);
        }
        Ok(all)
    }

    /// How far the sum of powers lies above the low end of the reciprocal's interval, in the unit of the mask.
    fn denominator(&self, powers: &[B::Ct], mask: &Mask) -> Result<B::Ct> {
        self.backend.stage("power-softmax denominator");
        let mut sum = powers[0].clone();
        for power in &powers[1..] {
            sum = self.backend.add(&sum, power)?;
        }
        self.backend.add_const(&sum, -mask.low / mask.unit)
    }

    /// `sum (x^p / n) v` over distances, one ciphertext per channel of the head.
    fn weighted_values(&self, powers: &[B::Ct], value: &[B::Ct]) -> Result<Vec<B::Ct>> {
        let backend = self.backend;
        backend.stage("weighted values");
        let level = self.level(powers);
        let channel = |value: &B::Ct| {
            let mut sum: Option<B::Sum> = None;
            self.for_each_distance(&backend.to_level(value, level)?, |distance, value| {
                backend.accumulate(&mut sum, &powers[distance], value)
            })?;
            backend.relinearise(sum)
        };
        value.iter().map(channel).collect()
    }

    /// Weighted values times the reciprocals of the denominators, which are bootstrapped if they are shrunk.
    fn divided(&mut self, layer: usize, mixed: &[B::Ct], above: &[B::Ct], mask: &Mask) -> Result<Vec<B::Ct>> {
        let backend = self.backend;
        let (site, ..) = self.circuit.site(&format!("layers.{layer}.reciprocal"))?;
        let series = coefficients(site, mask.unit);
        let level = self.level(mixed) + chebyshev_depth(&series);
        let reciprocal = |above: &B::Ct| {
            let above = match mask.shrink > 1.0 {
                true => {
                    backend.stage("bootstrapping");
                    let raised = backend.bootstrap(above, Refresh { packing: Packing::Real, summands: 1 })?;
                    let level = level.min(backend.level(&raised).saturating_sub(1));
                    backend.scale_to(&raised, mask.shrink, level)?
                }
                false => above.clone(),
            };
            backend.stage("power-softmax reciprocal");
            backend.chebyshev(&backend.add_const(&above, -1.0)?, &series)
        };
        let mut reciprocals = above.iter().map(reciprocal).collect::<Result<Vec<_>>>()?;
        let (name, count) = (format!("layers.{layer}.attention.reciprocal"), above.len());
        self.tap(&name, &mut reciprocals, |prompt| prompt.heads(count, mask.unit.recip(), 0.0))?;
        backend.stage("power-softmax division");
        let size = mixed.len() / count;
        mixed.iter().enumerate().map(|(c, mixed)| backend.mul(mixed, &reciprocals[c / size])).collect()
    }

    /// Calls `visit(distance, rotated)` for every distance with the ciphertext rotated back by so many tokens.
    fn for_each_distance(&self, ct: &B::Ct, mut visit: impl FnMut(usize, &B::Ct) -> Result<()>) -> Result<()> {
        let layout = &self.circuit.layout;
        let near = HOISTED.min(layout.tokens);
        let far: Vec<i64> = (0..layout.tokens).step_by(near).map(|distance| layout.back(distance)).collect();
        let near: Vec<i64> = (0..near).map(|distance| layout.back(distance)).collect();
        for (group, turned) in self.backend.rotate_many(ct, &far)?.iter().enumerate() {
            for (distance, rotated) in self.backend.rotate_many(turned, &near)?.iter().enumerate() {
                visit(group * near.len() + distance, rotated)?;
            }
        }
        Ok(())
    }
}

/// What the causal mask carries, and the unit of the powers.
struct Mask {
    p: u32,
    shrink: f64,
    /// `shrink` times half the width of the reciprocal's interval.
    unit: f64,
    /// Low end of that interval.
    low: f64,
}

impl Mask {
    fn new<B: Backend, O>(run: &Run<'_, '_, B, O>, layer: usize, shrink: f64) -> Result<Self> {
        let (_, middle, half) = run.circuit.site(&format!("layers.{layer}.reciprocal"))?;
        Ok(Self { p: run.circuit.model.config.power_softmax.p, shrink, unit: shrink * half, low: middle - half })
    }

    /// A score's factor: its `p`-th power is `1/n` in the unit of the powers.
    fn factor(&self, token: usize) -> f64 {
        (self.unit * (token + 1) as f64).powf(-f64::from(self.p).recip())
    }
}
