//! Power-Softmax attention (`r[psm.definition]`).

use super::distances::Shiftable;
use super::normal::Normal;
use super::{Run, coefficients, interval, places, weights};
use crate::artifact::Linear;
use crate::backend::{Backend, Packing, Refresh, chebyshev_depth};
use crate::error::Result;
use crate::tap::Observer;
use num_complex::Complex64;

/// How much smaller denominators are held that are bootstrapped: at most 1/2 then.
pub(super) const DENOMINATOR_SHRINK: f64 = 4.0;

impl<B: Backend, O: Observer<B::Ct>> Run<'_, '_, B, O> {
    /// Attention with its output projection, scaled by `scale`, all replicas equal.
    ///
    /// Levels below the LayerNorm factor: query and key 1, score 2, masked 3, powers `3 + ceil(log2 p)`; heads 1 below the lower of
    /// weighted values (1 below the powers, 2 with replicas) and reciprocal (`depth` below the denominator); output 1 more.
    pub(super) fn attention(
        &mut self,
        layer: usize,
        normal: &Normal<B::Ct>,
        scale: f64,
        bootstrap_denominator: bool,
    ) -> Result<Vec<B::Ct>> {
        let (circuit, backend) = (self.circuit, self.backend);
        if let Some(step) = &circuit.step {
            return self.step_attention(step, layer, normal, scale, bootstrap_denominator);
        }
        let (layout, prompt) = (&circuit.layout, circuit.prompt);
        let name = |tap: &str| format!("layers.{layer}.attention.{tap}");
        let score_scale = circuit.score_scale(layer);
        let [query, key, value] = self.projections(layer, score_scale.recip());

        backend.stage("query, key, value maps");
        let mut query = self.query(&query, normal)?;
        let maps = [&key, &value].map(|projection| self.channel_map(&normal.babies, &projection.weight, true));
        let [keys, values] = maps;
        let (keys, values) = (keys?, values?);
        self.keep(layer, [(&keys, &key), (&values, &value)], normal)?;
        let mut key = self.shiftable(&keys, &key, normal, true)?;
        let mut value = self.shiftable(&values, &value, normal, false)?;
        drop((keys, values));
        self.tap_all(&name("query"), &mut query, || places::channels(layout, prompt, score_scale))?;
        self.tap_all(&name("key"), &mut key.full, || places::channels(layout, prompt, 1.0))?;
        self.tap_all(&name("value"), &mut value.full, || places::channels(layout, prompt, 1.0))?;

        let shrink = if bootstrap_denominator { DENOMINATOR_SHRINK } else { 1.0 };
        let powers = self.powers(layer, &query, key, shrink)?;
        let denominators = self.denominators(layer, &powers, shrink)?;
        let mixed = self.weighted_values(&powers, value)?;
        drop(powers);
        self.divided(layer, &mixed, denominators, shrink, scale)
    }

    /// Weighted values times the reciprocals of the denominators, one by group of heads, through the output projection, scaled by
    /// `scale`.
    pub(super) fn divided(
        &mut self,
        layer: usize,
        mixed: &[B::Ct],
        denominators: Vec<B::Ct>,
        shrink: f64,
        scale: f64,
    ) -> Result<Vec<B::Ct>> {
        let (circuit, backend) = (self.circuit, self.backend);
        let (layout, prompt) = (&circuit.layout, circuit.prompt);
        let name = |tap: &str| format!("layers.{layer}.attention.{tap}");
        let reciprocals = self.reciprocals(layer, denominators, shrink, self.level(mixed))?;
        backend.stage("power-softmax division");
        let groups = mixed.chunks(layout.group_parts()).zip(&reciprocals);
        let pairs = groups.flat_map(|(parts, reciprocal)| parts.iter().map(move |part| (part, reciprocal)));
        let mut heads = pairs.map(|(part, reciprocal)| backend.mul(part, reciprocal)).collect::<Result<Vec<_>>>()?;
        self.tap_all(&name("heads"), &mut heads, || places::channels(layout, prompt, 1.0))?;

        backend.stage("attention output map");
        let dense = weights::centred(&circuit.model.layers[layer].dense, scale);
        let babies = self.babies_of_parts(&heads)?;
        let map = match circuit.step {
            Some(_) => self.first_token_everywhere(&babies, &dense.weight)?,
            None => self.channel_map(&babies, &dense.weight, false)?,
        };
        let mut output = self.biased(map, &dense.bias)?;
        self.tap_all(&name("output"), &mut output, || places::channels(layout, prompt, scale.recip()))?;
        Ok(output)
    }

    /// Query, key and value layers on the normalised stream; queries carry the scale of the scores.
    pub(super) fn projections(&self, layer: usize, query_scale: f64) -> [Linear; 3] {
        weights::projections(self.circuit.model, layer, query_scale)
    }

    /// One part of a map's result, normalised, with its bias; both times `slot(row, tau)`, which is 1 where the map
    /// is not 0 unless `multiply`.
    pub(super) fn finish(
        &self,
        (part, map): (usize, &B::Ct),
        bias: &[f64],
        factor: &B::Ct,
        multiply: bool,
        slot: impl Fn(usize, usize) -> Complex64,
    ) -> Result<B::Ct> {
        let (layout, backend) = (&self.circuit.layout, self.backend);
        let product = match multiply {
            true => backend.mul(&backend.mul_plain(map, &layout.fill(&slot))?, factor)?,
            false => backend.mul(map, factor)?,
        };
        backend.add_plain(&product, &self.channel_bias(bias, part, slot))
    }

    fn query(&self, layer: &Linear, normal: &Normal<B::Ct>) -> Result<Vec<B::Ct>> {
        let map = self.channel_map(&normal.babies, &layer.weight, false)?;
        let finish = |(part, map)| {
            self.finish((part, map), &layer.bias, &normal.factor, true, |row, tau| self.circuit.turn(part, row, tau))
        };
        map.iter().enumerate().map(finish).collect()
    }

    /// Keys or values in replica 0, with the tokens of the last head that a shift by `R - 1` pushes out of the row.
    fn shiftable(
        &self,
        map: &[B::Ct],
        layer: &Linear,
        normal: &Normal<B::Ct>,
        turned: bool,
    ) -> Result<Shiftable<B::Ct>> {
        let layout = &self.circuit.layout;
        let parts = |multiply: bool, keep: &dyn Fn(usize, usize) -> bool| {
            let finish = |(part, map)| {
                self.finish((part, map), &layer.bias, &normal.factor, multiply, |row, tau| match keep(row, tau) {
                    true if turned => self.circuit.turn(part, row, tau),
                    true => Complex64::ONE,
                    false => Complex64::ZERO,
                })
            };
            map.iter().enumerate().map(finish).collect::<Result<Vec<_>>>()
        };
        let first = |row: usize| layout.row_parts(row).1 == 0;
        let wraps = |row: usize, tau: usize| {
            first(row) && row % layout.heads == layout.heads - 1 && tau + layout.replicas > layout.tokens
        };
        let full = parts(turned, &|row, _| first(row))?;
        let tail = if layout.replicas == 1 { None } else { Some(parts(true, &wraps)?) };
        Ok(Shiftable { full, tail })
    }

    /// `x^p / n` in units of `shrink` times half the width of the reciprocal's interval, one ciphertext per `R` distances and group of
    /// heads, group by group, equal for all channels of a head.
    fn powers(&mut self, layer: usize, query: &[B::Ct], key: Shiftable<B::Ct>, shrink: f64) -> Result<Vec<B::Ct>> {
        let (circuit, backend) = (self.circuit, self.backend);
        let (layout, prompt) = (&circuit.layout, circuit.prompt);
        let p = circuit.model.config.power_softmax.p;
        let unit = shrink * interval(circuit.model.site(&name_of_site(layer))?).1;
        let factors: Vec<f64> = (1..=layout.tokens).map(|n| score_factor(unit, n, p)).collect();
        backend.stage("query-key products");
        let keys = self.shifted(&key.map(|part| backend.conjugate(part))?)?;
        drop(key);
        let mut scores: Vec<Vec<B::Ct>> = vec![Vec::new(); layout.groups];
        self.for_each_distance(&keys, |j, keys| {
            let mask = layout.fill(|row, tau| match tau >= j * layout.replicas + layout.row_parts(row).1 {
                true => Complex64::from(factors[tau] / 2.0),
                false => Complex64::ZERO,
            });
            let pairs: Vec<_> = query.iter().zip(keys.iter().copied()).collect();
            for (pairs, scores) in pairs.chunks(layout.group_parts()).zip(&mut scores) {
                let product = backend.mul_plain(&backend.sum_of_products(pairs)?, &mask)?;
                scores.push(backend.twice_real(&backend.fold(&product, &layout.fold_channels())?)?);
            }
            Ok(())
        })?;
        let mut scores: Vec<B::Ct> = scores.into_iter().flatten().collect();
        let name = |tap: &str| format!("layers.{layer}.attention.{tap}");
        self.tap_all(&name("scores"), &mut scores, || {
            places::pairs(layout, prompt, usize::checked_sub, |tau| factors[tau].recip())
        })?;
        backend.stage("power-softmax powers");
        let mut powers = scores.into_iter().map(|score| backend.power(score, p)).collect::<Result<Vec<_>>>()?;
        self.tap_all(&name("powers"), &mut powers, || places::pairs(layout, prompt, usize::checked_sub, |_| unit))?;
        Ok(powers)
    }

    /// How far the sum of powers lies above the low end of the reciprocal's interval, in the unit of the powers: in
    /// `[0, 2 / shrink]`; one by group of heads.
    pub(super) fn denominators(&mut self, layer: usize, powers: &[B::Ct], shrink: f64) -> Result<Vec<B::Ct>> {
        let (circuit, backend) = (self.circuit, self.backend);
        let (layout, prompt) = (&circuit.layout, circuit.prompt);
        backend.stage("power-softmax denominator");
        let (middle, half) = interval(circuit.model.site(&name_of_site(layer))?);
        let (low, unit) = (middle - half, shrink * half);
        let above = |powers: &[B::Ct]| {
            let sum = powers[1..].iter().try_fold(powers[0].clone(), |sum, power| backend.add(&sum, power))?;
            backend.add_const(&backend.fold(&sum, &layout.fold_replicas())?, -low / unit)
        };
        let mut above = powers.chunks(layout.distances()).map(above).collect::<Result<Vec<_>>>()?;
        let name = format!("layers.{layer}.attention.denominator");
        self.tap_all(&name, &mut above, || places::heads(layout, prompt, unit, low))?;
        Ok(above)
    }

    /// The reciprocals for weighted values at `level`, in the unit of the powers; bootstraps if they are shrunk.
    fn reciprocals(&mut self, layer: usize, above: Vec<B::Ct>, shrink: f64, level: usize) -> Result<Vec<B::Ct>> {
        let (circuit, backend) = (self.circuit, self.backend);
        let (layout, prompt) = (&circuit.layout, circuit.prompt);
        let site = circuit.model.site(&name_of_site(layer))?;
        let unit = shrink * interval(site).1;
        let series = coefficients(site, unit);
        let reciprocal = |above: B::Ct| {
            let above = match shrink > 1.0 {
                true => self.bootstrapped_mean(&above, shrink, level + chebyshev_depth(&series))?,
                false => above,
            };
            backend.stage("power-softmax reciprocal");
            backend.chebyshev(&backend.add_const(&above, -1.0)?, &series)
        };
        let mut reciprocals = above.into_iter().map(reciprocal).collect::<Result<Vec<_>>>()?;
        let name = format!("layers.{layer}.attention.reciprocal");
        self.tap_all(&name, &mut reciprocals, || places::heads(layout, prompt, unit.recip(), 0.0))?;
        Ok(reciprocals)
    }

    /// Bootstraps a value of which all channels and replicas hold copies, and brings `shrink` times their mean to `level`, or as
    /// close to it as bootstrapping's output allows.
    ///
    /// The input is small, where the errors of approximation are small too; the mean takes back the noise that this costs: copies
    /// are bootstrapped as one (`r[boot.sparse.input]`), but most noise is drawn for each of them (`r[boot.sparse.noise]`).
    fn bootstrapped_mean(&self, above: &B::Ct, shrink: f64, level: usize) -> Result<B::Ct> {
        let (layout, backend) = (&self.circuit.layout, self.backend);
        backend.stage("bootstrapping");
        let copies = layout.head_pairs * layout.replicas;
        let packing = Packing::periodic(layout.heads * layout.tokens, layout.slots);
        let raised = backend.bootstrap(above, Refresh { packing, summands: copies })?;
        let level = level.min(backend.level(&raised).saturating_sub(1));
        let lowered = backend.to_level(&raised, level + 1)?;
        let sum = backend.fold(&lowered, &[layout.fold_channels(), layout.fold_replicas()].concat())?;
        backend.scale_to(&sum, shrink / copies as f64, level)
    }

    /// `sum_j (x_j^p / n) v_j`, all replicas equal, while the reciprocal is computed elsewhere.
    fn weighted_values(&self, powers: &[B::Ct], value: Shiftable<B::Ct>) -> Result<Vec<B::Ct>> {
        let (layout, backend) = (&self.circuit.layout, self.backend);
        backend.stage("weighted values");
        let level = backend.level(&powers[0]);
        let lowered = value.map(|part| backend.to_level(part, level))?;
        drop(value);
        let values = self.shifted(&lowered)?;
        let mut sums: Vec<Option<B::Sum>> = values.iter().map(|_| None).collect();
        self.for_each_distance(&values, |j, values| {
            let powers = powers.iter().skip(j).step_by(layout.distances());
            let powers = powers.flat_map(|power| std::iter::repeat_n(power, layout.group_parts()));
            let mut terms = sums.iter_mut().zip(values).zip(powers);
            terms.try_for_each(|((sum, value), power)| backend.accumulate(sum, power, value))
        })?;
        sums.into_iter().map(|sum| self.gather_replicas(&backend.relinearise(sum)?)).collect()
    }

    /// The sum over replicas in all replicas. One replica's sum is right after folding, the others mix channels, so a mask
    /// keeps replica 0 before it is copied: one level.
    pub(super) fn gather_replicas(&self, ct: &B::Ct) -> Result<B::Ct> {
        let (layout, backend) = (&self.circuit.layout, self.backend);
        if layout.replicas == 1 {
            return Ok(ct.clone());
        }
        let first = layout.fill(|row, _| Complex64::from(f64::from(u8::from(layout.row_parts(row).1 == 0))));
        let kept = backend.mul_plain(&backend.fold(ct, &layout.fold_replicas())?, &first)?;
        backend.fold(&kept, &layout.spread_replicas())
    }
}

/// A score's factor, whose p-th power is `1/n` in the unit.
pub(super) fn score_factor(unit: f64, n: usize, p: u32) -> f64 {
    (unit * n as f64).powf(-f64::from(p).recip())
}

pub(super) fn name_of_site(layer: usize) -> String {
    format!("layers.{layer}.reciprocal")
}
