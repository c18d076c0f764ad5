//! Attention without a causal mask: every query sees every live token (`r[encoder.mask]`).
//!
//! Distances between query and key count cyclically. Keys at a distance are two copies of the row: turned back by the distance, right
//! where the query is at least that far in its row, and turned forward by what is left of the row, right elsewhere. Masks of
//! the two copies complement each other, and zero the keys that are padding.

use super::attention::{DENOMINATOR_SHRINK, name_of_site};
use super::normal::Normal;
use super::{Run, interval, places};
use crate::artifact::Linear;
use crate::backend::Backend;
use crate::error::Result;
use crate::tap::Observer;
use num_complex::Complex64;

/// Keys or values in replica 0, one ciphertext per part.
struct Cyclic<C> {
    full: Vec<C>,
    /// What shifts of replicas move over the edges of replica 0; absent with one replica.
    edges: Option<Edges<C>>,
}

/// Parts of the ciphertexts in replica 0.
struct Edges<C> {
    /// Tokens of the last head that the shift of the last replica moves into the first head of replica 0.
    tail: Vec<C>,
    /// Tokens of the first head that lie where those are read.
    lead: Vec<C>,
}

impl<C> Cyclic<C> {
    fn map(&self, operation: impl Fn(&C) -> Result<C>) -> Result<Self> {
        let all = |parts: &Vec<C>| parts.iter().map(&operation).collect::<Result<Vec<_>>>();
        let edges = |edges: &Edges<C>| -> Result<_> { Ok(Edges { tail: all(&edges.tail)?, lead: all(&edges.lead)? }) };
        Ok(Self { full: all(&self.full)?, edges: self.edges.as_ref().map(edges).transpose()? })
    }
}

impl<B: Backend, O: Observer<B::Ct>> Run<'_, '_, B, O> {
    /// Attention with its output projection, scaled by `scale`, all replicas equal. Levels as in a decoder's attention.
    pub(super) fn full_attention(
        &mut self,
        layer: usize,
        normal: &Normal<B::Ct>,
        scale: f64,
        bootstrap_denominator: bool,
    ) -> Result<Vec<B::Ct>> {
        let (circuit, backend) = (self.circuit, self.backend);
        let (layout, prompt) = (&circuit.layout, circuit.prompt);
        let name = |tap: &str| format!("layers.{layer}.attention.{tap}");
        let score_scale = (circuit.model.config.head_size() as f64).sqrt() * circuit.model.config.score_scale(layer);
        let [query, key, value] = self.projections(layer, score_scale.recip());

        backend.stage("query, key, value maps");
        let mut query = self.finished(&self.channel_map(&normal.babies, &query.weight, false)?, &query, normal)?;
        let mut key = self.cyclic(&key, normal)?;
        let mut value = self.cyclic(&value, normal)?;
        self.tap_all(&name("query"), &mut query, || places::channels(layout, prompt, score_scale))?;
        self.tap_all(&name("key"), &mut key.full, || places::channels(layout, prompt, 1.0))?;
        self.tap_all(&name("value"), &mut value.full, || places::channels(layout, prompt, 1.0))?;

        let shrink = if bootstrap_denominator { DENOMINATOR_SHRINK } else { 1.0 };
        let powers = self.full_powers(layer, &query, &key, shrink)?;
        drop((query, key));
        let denominators = self.denominators(layer, &powers, shrink)?;
        let mixed = self.full_weighted_values(&powers, &value)?;
        drop((powers, value));
        self.divided(layer, &mixed, denominators, shrink, scale)
    }

    /// A map's result, normalised, with its bias.
    fn finished(&self, map: &[B::Ct], layer: &Linear, normal: &Normal<B::Ct>) -> Result<Vec<B::Ct>> {
        let finish = |part| self.finish(part, &layer.bias, &normal.factor, false, |_, _| Complex64::ONE);
        map.iter().enumerate().map(finish).collect()
    }

    /// Keys or values in replica 0, with the edges that shifts move.
    fn cyclic(&self, layer: &Linear, normal: &Normal<B::Ct>) -> Result<Cyclic<B::Ct>> {
        let layout = &self.circuit.layout;
        let map = self.channel_map(&normal.babies, &layer.weight, true)?;
        let parts = |masked: bool, keep: &dyn Fn(usize, usize) -> bool| {
            let slot = |row, tau| Complex64::from(f64::from(u8::from(keep(row, tau))));
            let finish = |part| self.finish(part, &layer.bias, &normal.factor, masked, slot);
            map.iter().enumerate().map(finish).collect::<Result<Vec<_>>>()
        };
        let (heads, reach) = (layout.heads, layout.replicas - 1);
        let first = |row: usize| layout.row_parts(row).1 == 0;
        let full = parts(false, &|row, _| first(row))?;
        let edges = match reach {
            0 => None,
            _ => Some(Edges {
                tail: parts(true, &|row, tau| first(row) && row % heads == heads - 1 && tau + reach >= layout.tokens)?,
                lead: parts(true, &|row, tau| first(row) && row % heads == 0 && tau < reach)?,
            }),
        };
        Ok(Cyclic { full, edges })
    }

    /// Replica `r` turned back by `r` tokens, for all `r`; then the same turned forward by a row. All parts of the one, then of the
    /// other.
    ///
    /// Shifting the replicas leaves the end of a row in the next one, where the copy that is turned forward finds it. Both copies
    /// would read the same slots at the edges of replica 0, so each has the other's tokens removed there.
    fn turned(&self, source: &Cyclic<B::Ct>) -> Result<Vec<B::Ct>> {
        let (layout, backend) = (&self.circuit.layout, self.backend);
        let steps = layout.shift_replicas();
        let last = (layout.replicas - 1) * (layout.heads * layout.tokens + 1);
        let (mut back, mut forward) = (Vec::new(), Vec::new());
        for (q, part) in source.full.iter().enumerate() {
            let copies = backend.fold(part, &steps)?;
            let (near, far) = match &source.edges {
                None => (copies.clone(), copies),
                Some(Edges { tail, lead }) => {
                    (backend.sub(&copies, &backend.rotate(&tail[q], -(last as i64))?)?, backend.sub(&copies, &lead[q])?)
                }
            };
            back.push(near);
            forward.push(backend.rotate(&far, layout.tokens as i64)?);
        }
        back.append(&mut forward);
        Ok(back)
    }

    /// Where one copy of the keys at distance `j R + r` is right, as a mask with the given value: the copy turned back, or the one
    /// turned forward. Only keys below `live` count. None if there are no such slots.
    fn mask(&self, j: usize, forward: bool, live: usize, value: f64) -> Option<Vec<Complex64>> {
        let layout = &self.circuit.layout;
        let mut empty = true;
        let mask = layout.fill(|row, tau| {
            let distance = j * layout.replicas + layout.row_parts(row).1;
            let key = if forward { tau + layout.tokens } else { tau }.checked_sub(distance);
            let kept = (tau < distance) == forward && key.is_some_and(|key| key < live);
            empty &= !kept;
            if kept { Complex64::from(value) } else { Complex64::ZERO }
        });
        (!empty).then_some(mask)
    }

    /// `x^p / n` as a decoder's, `n` the number of live tokens.
    fn full_powers(&mut self, layer: usize, query: &[B::Ct], key: &Cyclic<B::Ct>, shrink: f64) -> Result<Vec<B::Ct>> {
        let (circuit, backend) = (self.circuit, self.backend);
        let (layout, prompt) = (&circuit.layout, circuit.prompt);
        let p = circuit.model.config.power_softmax.p;
        let unit = shrink * interval(circuit.model.site(&name_of_site(layer))?).1;
        let factor = (unit * prompt as f64).powf(-f64::from(p).recip());
        backend.stage("query-key products");
        let keys = self.turned(&key.map(|part| backend.conjugate(part))?)?;
        let mut scores: Vec<Vec<B::Ct>> = vec![Vec::new(); layout.groups];
        self.for_each_distance(&keys, |j, keys| {
            let mut sums: Vec<Option<B::Ct>> = vec![None; layout.groups];
            for (forward, keys) in keys.chunks(layout.parts).enumerate() {
                let Some(mask) = self.mask(j, forward == 1, prompt, factor / 2.0) else { continue };
                let pairs: Vec<_> = query.iter().zip(keys.iter().copied()).collect();
                for (pairs, sum) in pairs.chunks(layout.group_parts()).zip(&mut sums) {
                    let product = backend.mul_plain(&backend.sum_of_products(pairs)?, &mask)?;
                    *sum = Some(sum.take().map_or(Ok(product.clone()), |sum| backend.add(&sum, &product))?);
                }
            }
            for (sum, scores) in sums.into_iter().zip(&mut scores) {
                let sum = sum.ok_or_else(crate::backend::no_products)?;
                scores.push(backend.twice_real(&backend.fold(&sum, &layout.fold_channels())?)?);
            }
            Ok(())
        })?;
        let mut scores: Vec<B::Ct> = scores.into_iter().flatten().collect();
        let name = |tap: &str| format!("layers.{layer}.attention.{tap}");
        let distance = |query: usize, key: usize| Some((query + layout.tokens - key) % layout.tokens);
        self.tap_all(&name("scores"), &mut scores, || places::pairs(layout, prompt, distance, |_| factor.recip()))?;
        backend.stage("power-softmax powers");
        let mut powers = scores.into_iter().map(|score| backend.power(score, p)).collect::<Result<Vec<_>>>()?;
        self.tap_all(&name("powers"), &mut powers, || places::pairs(layout, prompt, distance, |_| unit))?;
        Ok(powers)
    }

    /// `sum_j (x_j^p / n) v_j`, all replicas equal. The copies of the values are put together first, one level above the powers.
    fn full_weighted_values(&self, powers: &[B::Ct], value: &Cyclic<B::Ct>) -> Result<Vec<B::Ct>> {
        let (layout, backend) = (&self.circuit.layout, self.backend);
        backend.stage("weighted values");
        let level = backend.level(&powers[0]);
        let values = self.turned(&value.map(|part| backend.to_level(part, level + 1))?)?;
        let mut sums: Vec<Option<B::Sum>> = (0..layout.parts).map(|_| None).collect();
        self.for_each_distance(&values, |j, values| {
            let masks = [false, true].map(|forward| self.mask(j, forward, layout.tokens, 1.0));
            for (q, sum) in sums.iter_mut().enumerate() {
                let mut seen: Option<B::Ct> = None;
                for (mask, values) in masks.iter().zip(values.chunks(layout.parts)) {
                    let Some(mask) = mask else { continue };
                    let kept = backend.mul_plain(values[q], mask)?;
                    seen = Some(seen.map_or(Ok(kept.clone()), |seen| backend.add(&seen, &kept))?);
                }
                let power = &powers[q / layout.group_parts() * layout.distances() + j];
                backend.accumulate(sum, power, &seen.ok_or_else(crate::backend::no_products)?)?;
            }
            Ok(())
        })?;
        sums.into_iter().map(|sum| self.gather_replicas(&backend.relinearise(sum)?)).collect()
    }
}
