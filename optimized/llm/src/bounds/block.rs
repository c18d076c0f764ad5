//! Errors through one transformer block: the local derivatives of `r[noise.layer]`.

use super::norm::{frobenius, length, spectral};
use super::spread::VectorError;
use super::stream::{Mapped, Stream};
use super::{Composed, Local, Origin, Spread, site_interval};
use crate::artifact::{Linear, Matrix};
use crate::backend::slots::Growth;
use crate::circuit::{after_norm, centred, split_qkv};
use crate::error::Result;
use rayon::prelude::*;

/// The factor of a LayerNorm and its error, per token, and the normalised stream.
pub(super) struct Normaliser {
    pub(super) inverse: Vec<f64>,
    pub(super) error: Vec<Spread>,
    normalised: Vec<Vec<f64>>,
}

/// Errors of vectors cut into heads, and the vectors.
struct Projected<'a> {
    entries: Vec<Spread>,
    /// `[token][head]`.
    parts: Vec<Vec<VectorError>>,
    /// `[token][channel]`.
    values: Vec<&'a [f64]>,
    size: usize,
}

impl Projected<'_> {
    fn part(&self, token: usize, head: usize) -> &[f64] {
        &self.values[token][head * self.size..(head + 1) * self.size]
    }
}

/// Errors of powers, `[head][token][token]`: uncorrelated along a row, and what came through sums before.
struct Powers {
    fresh: Vec<Spread>,
    inherited: Vec<Spread>,
}

/// One block; pushes its taps and returns the errors of the stream after it.
pub(super) fn compose_block(
    local: &Local<'_>,
    layer: usize,
    stream: &Stream,
    taps: &mut Vec<Composed>,
) -> Result<Stream> {
    let parallel = local.model.config.use_parallel_residual;
    let prefix = format!("layers.{layer}");
    let normal = normaliser(local, &format!("{prefix}.layernorm"), &format!("{prefix}.inverse-sqrt"), stream, taps)?;
    let (attention, own) = attention(local, layer, stream, &normal, taps)?;
    let after = stream.settled().plus(attention, &own);
    let (mlp, own) = if parallel {
        mlp(local, layer, stream, &normal, taps)?
    } else {
        let site = format!("{prefix}.mlp-inverse-sqrt");
        let normal = normaliser(local, &format!("{prefix}.mlp-layernorm"), &site, &after, taps)?;
        mlp(local, layer, &after, &normal, taps)?
    };
    let name = format!("{prefix}.residual");
    let width = local.model.config.hidden_size;
    let fresh: Vec<_> = local.fresh(&name, Origin::Stream)?.chunks(width).map(VectorError::of_entries).collect();
    let sum = after.plus(mlp, &own).plus_direct(&fresh);
    let spreads = (0..sum.tokens()).flat_map(|i| (0..width).map(move |c| (i, c))).map(|(i, c)| sum.entry(i, c));
    taps.push(Composed { name, spreads: spreads.collect() });
    Ok(sum)
}

/// `v = |x|^2 / d`, so `dv = (2/d) x . dx`; then the inverse square root's polynomial.
pub(super) fn normaliser(
    local: &Local<'_>,
    prefix: &str,
    site: &str,
    stream: &Stream,
    taps: &mut Vec<Composed>,
) -> Result<Normaliser> {
    let name = |tap: &str| format!("{prefix}.{tap}");
    let width = local.model.config.hidden_size;
    let inverse = local.values(&name("inverse-sqrt"))?.to_vec();
    let normalised: Vec<Vec<f64>> = local.values(&name("normalised"))?.chunks(width).map(<[f64]>::to_vec).collect();
    let fresh = local.fresh(&name("variance"), Origin::LayerNorm)?;
    let variance = |i: usize| {
        let x: Vec<f64> = normalised[i].iter().map(|y| y / inverse[i]).collect();
        // The part of second order, |dx|^2 / d.
        let whole = stream.collapsed(i).through(1.0, (width as f64).sqrt());
        let second = whole * (local.factor * whole.total());
        (stream.along(i, &stream.profile(&x)) * 2.0 + second) * (width as f64).recip() + fresh[i]
    };
    let variance: Vec<Spread> = (0..stream.tokens()).map(variance).collect();
    let fresh = local.fresh(&name("inverse-sqrt"), Origin::LayerNorm)?;
    let error = through_site(local, site, local.values(&name("variance"))?, &variance, &fresh)?;
    let fresh = local.fresh(&name("normalised"), Origin::LayerNorm)?;
    let entry = |(i, c): (usize, usize)| {
        let reach = inverse[i] + local.factor * error[i].total();
        stream.entry(i, c) * reach + error[i] * (normalised[i][c].abs() / inverse[i]) + fresh[i * width + c]
    };
    let spreads = (0..stream.tokens()).flat_map(|i| (0..width).map(move |c| (i, c))).map(entry).collect();
    taps.push(Composed { name: name("variance"), spreads: variance });
    taps.push(Composed { name: name("inverse-sqrt"), spreads: error.clone() });
    taps.push(Composed { name: name("normalised"), spreads });
    Ok(Normaliser { inverse, error, normalised })
}

/// A replaced function: the largest slope within the bound of the argument's error.
fn through_site(
    local: &Local<'_>,
    site: &str,
    values: &[f64],
    errors: &[Spread],
    fresh: &[Spread],
) -> Result<Vec<Spread>> {
    let (middle, half) = site_interval(local, site)?;
    let coefficients: Vec<f64> = local.model.site(site)?.coefficients.iter().map(|c| c.0).collect();
    let growth = Growth::new(&coefficients);
    let through = |((&x, &error), &fresh): ((&f64, &Spread), &Spread)| {
        let slope = growth.factor((x - middle) / half, local.factor * error.total() / half) / half;
        error * slope + fresh
    };
    Ok(values.iter().zip(errors).zip(fresh).map(through).collect())
}

/// `y = r W x + b` cut into parts of `size` rows; `partner(c)` names the row that a rotation mixes with row `c`.
fn after_normaliser<'a>(
    local: &'a Local<'_>,
    layer: &Linear,
    size: usize,
    partner: impl Fn(usize) -> Option<usize>,
    (stream, normal): (&Stream, &Normaliser),
    (values, fresh): (&'a [f64], &[Spread]),
) -> Projected<'a> {
    let (rows, width) = (layer.weight.rows, layer.weight.cols);
    let ranges: Vec<_> = (0..rows / size).map(|h| h * size..(h + 1) * size).collect();
    let norms: Vec<[f64; 2]> = ranges
        .iter()
        .map(|range| [spectral(&layer.weight, range.clone(), 0..width), frobenius(&layer.weight, range.clone())])
        .collect();
    let own: Vec<Vec<f64>> = (0..rows).map(|c| stream.profile(layer.weight.row(c))).collect();
    let both = |(a, b): (&f64, &f64)| a.hypot(*b);
    let profile = |c: usize| match partner(c) {
        Some(p) => own[c].iter().zip(&own[p]).map(both).collect(),
        None => own[c].clone(),
    };
    let profiles: Vec<Vec<f64>> = (0..rows).map(profile).collect();
    let mixed = |x: &[f64], c: usize| partner(c).map_or(x[c].abs(), |p| x[c].hypot(x[p]));
    let mut out = Projected { entries: Vec::new(), parts: Vec::new(), values: values.chunks(rows).collect(), size };
    for i in 0..stream.tokens() {
        let linear = layer.weight.apply(&normal.normalised[i]);
        let reach = normal.inverse[i] + local.factor * normal.error[i].total();
        let relative = normal.error[i] * normal.inverse[i].recip();
        let fresh = &fresh[i * rows..(i + 1) * rows];
        let entry = |c: usize| stream.along(i, &profiles[c]) * reach + relative * mixed(&linear, c) + fresh[c];
        out.entries.extend((0..rows).map(entry));
        let part = |(range, [spectral, frobenius]): (&std::ops::Range<usize>, &[f64; 2])| {
            let through = stream.collapsed(i).through(*spectral, *frobenius) * reach;
            let inherited = through + relative * length(&linear[range.clone()]);
            VectorError { inherited, ..VectorError::of_entries(&fresh[range.clone()]) }
        };
        out.parts.push(ranges.iter().zip(&norms).map(part).collect());
    }
    out
}

fn attention(
    local: &Local<'_>,
    layer: usize,
    stream: &Stream,
    normal: &Normaliser,
    taps: &mut Vec<Composed>,
) -> Result<(Mapped, Vec<VectorError>)> {
    let config = &local.model.config;
    let (size, rotary) = (config.head_size(), config.rotary_size());
    let name = |tap: &str| format!("layers.{layer}.attention.{tap}");
    let turned = |c: usize| {
        let (head, at) = (c / size * size, c % size);
        let half = rotary / 2;
        (at < rotary).then(|| head + if at < half { at + half } else { at - half })
    };
    let weights = &local.model.layers[layer];
    let mut project = |part: &Linear<f32>, tap: &str, rotates: bool| {
        let folded = after_norm(&part.weight, Some(&part.bias), &weights.attention_norm, 1.0);
        let fresh = local.fresh(&name(tap), Origin::Projections)?;
        let partner = |c: usize| if rotates { turned(c) } else { None };
        let values = local.values(&name(tap))?;
        let projected = after_normaliser(local, &folded, size, partner, (stream, normal), (values, &fresh));
        taps.push(Composed { name: name(tap), spreads: projected.entries.clone() });
        Ok::<_, crate::LlmError>(projected)
    };
    let [query, key, value] = split_qkv(weights, size);
    let (query, key) = (project(&query, "query", true)?, project(&key, "key", true)?);
    let value = project(&value, "value", false)?;
    let powers = powers(local, layer, &query, &key, taps)?;
    let reciprocal = reciprocal(local, layer, &powers, taps)?;
    let heads = heads(local, layer, &powers, &value, &reciprocal, taps)?;
    let dense = centred(&weights.dense, 1.0);
    through_matrix(local, dense.weight, heads, &name("output"), Origin::Output, taps)
}

/// Scores `q . k / (sqrt(d_k) c)` and their powers `s^p / n`.
fn powers(
    local: &Local<'_>,
    layer: usize,
    query: &Projected<'_>,
    key: &Projected<'_>,
    taps: &mut Vec<Composed>,
) -> Result<Powers> {
    let config = &local.model.config;
    let (heads, tokens) = (config.num_attention_heads, query.parts.len());
    let name = |tap: &str| format!("layers.{layer}.attention.{tap}");
    let unit = (config.head_size() as f64).sqrt() * config.score_scale(layer);
    let fresh = local.fresh(&name("scores"), Origin::Scores)?;
    let own = local.fresh(&name("powers"), Origin::Powers)?;
    let (values, p) = (local.values(&name("scores"))?, config.power_softmax.p as i32);
    let zero = vec![Spread::default(); values.len()];
    let (mut scores, mut powers) = (zero.clone(), Powers { fresh: zero.clone(), inherited: zero });
    for (h, i, j) in live_cells(heads, tokens) {
        let at = (h * tokens + i) * tokens + j;
        let (dq, dk) = (query.parts[i][h], key.parts[j][h]);
        let second = local.factor * dq.through(1.0, (query.size as f64).sqrt()).total();
        let reach = length(query.part(i, h)) + second;
        let inherited = (dk.along() * reach + dq.along() * length(key.part(j, h))) * unit.recip();
        scores[at] = inherited + fresh[at];
        let slope = f64::from(p) * (values[at].abs() + local.factor * scores[at].total()).powi(p - 1) / (i + 1) as f64;
        powers.inherited[at] = inherited * slope;
        powers.fresh[at] = fresh[at] * slope + own[at];
    }
    let sums = powers.fresh.iter().zip(&powers.inherited).map(|(&fresh, &inherited)| fresh + inherited);
    taps.push(Composed { name: name("powers"), spreads: sums.collect() });
    taps.push(Composed { name: name("scores"), spreads: scores });
    Ok(powers)
}

fn live_cells(heads: usize, tokens: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..heads).flat_map(move |h| (0..tokens).flat_map(move |i| (0..=i).map(move |j| (h, i, j))))
}

/// Errors of the reciprocal, `[head][token]`.
fn reciprocal(local: &Local<'_>, layer: usize, powers: &Powers, taps: &mut Vec<Composed>) -> Result<Vec<Spread>> {
    let name = |tap: &str| format!("layers.{layer}.attention.{tap}");
    let values = local.values(&name("denominator"))?;
    let tokens = powers.fresh.len() / values.len();
    let own = local.fresh(&name("denominator"), Origin::Powers)?;
    let row = |((fresh, inherited), &own): ((&[Spread], &[Spread]), &Spread)| {
        inherited.iter().fold(own + Spread::stacked(fresh.iter().copied()), |sum, &error| sum + error)
    };
    let rows = powers.fresh.chunks(tokens).zip(powers.inherited.chunks(tokens));
    let sums: Vec<Spread> = rows.zip(&own).map(row).collect();
    let fresh = local.fresh(&name("reciprocal"), Origin::Reciprocal)?;
    let errors = through_site(local, &format!("layers.{layer}.reciprocal"), values, &sums, &fresh)?;
    taps.push(Composed { name: name("denominator"), spreads: sums });
    taps.push(Composed { name: name("reciprocal"), spreads: errors.clone() });
    Ok(errors)
}

/// `o = rho sum_j y_j v_j`: errors of the vectors over all heads, per token.
fn heads(
    local: &Local<'_>,
    layer: usize,
    powers: &Powers,
    value: &Projected<'_>,
    reciprocal: &[Spread],
    taps: &mut Vec<Composed>,
) -> Result<Vec<VectorError>> {
    let (heads, size) = (local.model.config.num_attention_heads, value.size);
    let tokens = value.parts.len();
    let name = |tap: &str| format!("layers.{layer}.attention.{tap}");
    let (weights, factors) = (local.values(&name("powers"))?, local.values(&name("reciprocal"))?);
    let (mixed, fresh) = (local.values(&name("heads"))?, local.fresh(&name("heads"), Origin::Heads)?);
    let (mut entries, mut errors) = (Vec::new(), Vec::new());
    for i in 0..tokens {
        let part = |h: usize| {
            let row = (h * tokens + i) * tokens;
            let (factor, error) = (factors[h * tokens + i], reciprocal[h * tokens + i]);
            let reach = factor + local.factor * error.total();
            let weight = |j: usize| {
                let error = powers.fresh[row + j].total() + powers.inherited[row + j].total();
                weights[row + j].abs() + local.factor * error
            };
            // Errors of the weighted sum, with the size of value `j` given by `size_of`.
            let sum = |size_of: &dyn Fn(usize) -> f64, spread: f64| {
                let inherited = (0..=i).fold(Spread::default(), |sum, j| {
                    sum + value.parts[j][h].inherited * weight(j) + powers.inherited[row + j] * size_of(j)
                });
                let values = Spread::stacked((0..=i).map(|j| value.parts[j][h].fresh * weight(j)));
                let powers = Spread::stacked((0..=i).map(|j| powers.fresh[row + j] * size_of(j)));
                (inherited + values * spread + powers) * reach
            };
            let whole = sum(&|j| length(value.part(j, h)), (size as f64).sqrt());
            let range = i * heads * size + h * size..i * heads * size + (h + 1) * size;
            let inherited = whole + error * (length(&mixed[range.clone()]) / factor);
            let entry = |c: usize| {
                let at = range.start + c;
                sum(&|j| value.part(j, h)[c].abs(), 1.0) + error * (mixed[at].abs() / factor) + fresh[at]
            };
            (inherited, (0..size).map(entry).collect::<Vec<_>>())
        };
        let parts: Vec<_> = (0..heads).into_par_iter().map(part).collect();
        let own = &fresh[i * heads * size..(i + 1) * heads * size];
        let inherited = Spread::stacked(parts.iter().map(|part| part.0));
        errors.push(VectorError { inherited, ..VectorError::of_entries(own) });
        entries.extend(parts.into_iter().flat_map(|part| part.1));
    }
    taps.push(Composed { name: name("heads"), spreads: entries });
    Ok(errors)
}

/// `y = W x + b`: the image of the errors of `x`, and fresh errors.
fn through_matrix(
    local: &Local<'_>,
    weight: Matrix,
    errors: Vec<VectorError>,
    name: &str,
    origin: Origin,
    taps: &mut Vec<Composed>,
) -> Result<(Mapped, Vec<VectorError>)> {
    let (rows, tokens) = (weight.rows, errors.len());
    let mapped = Mapped::new(weight, errors);
    let fresh = local.fresh(name, origin)?;
    let entry = |(i, c): (usize, usize)| mapped.entry(i, c) + fresh[i * rows + c];
    let spreads = (0..tokens).flat_map(|i| (0..rows).map(move |c| (i, c))).map(entry).collect();
    taps.push(Composed { name: name.to_owned(), spreads });
    Ok((mapped, fresh.chunks(rows).map(VectorError::of_entries).collect()))
}

fn mlp(
    local: &Local<'_>,
    layer: usize,
    stream: &Stream,
    normal: &Normaliser,
    taps: &mut Vec<Composed>,
) -> Result<(Mapped, Vec<VectorError>)> {
    let name = |tap: &str| format!("layers.{layer}.mlp.{tap}");
    let weights = &local.model.layers[layer];
    let up = after_norm(&weights.up.weight, Some(&weights.up.bias), &weights.mlp_norm, 1.0);
    let units = up.weight.rows;
    let (values, fresh) = (local.values(&name("hidden"))?, local.fresh(&name("hidden"), Origin::Mlp)?);
    let hidden = after_normaliser(local, &up, units, |_| None, (stream, normal), (values, &fresh));
    let fresh = local.fresh(&name("activation"), Origin::Mlp)?;
    let site = format!("layers.{layer}.gelu");
    let active = through_site(local, &site, values, &hidden.entries, &fresh)?;
    // The vector's error grows by at most the largest slope of its entries.
    let zero = vec![Spread::default(); fresh.len()];
    let sizes: Vec<Spread> = hidden.entries.iter().map(|e| Spread::of(Origin::Mlp, e.total())).collect();
    let moved = through_site(local, &site, values, &sizes, &zero)?;
    let slope = |i: usize| {
        let range = i * units..(i + 1) * units;
        let ratios = moved[range.clone()].iter().zip(&sizes[range]);
        ratios.map(|(after, before)| after.total() / before.total()).fold(0.0, f64::max)
    };
    let errors: Vec<VectorError> = (0..stream.tokens())
        .map(|i| {
            let (slope, before) = (slope(i), hidden.parts[i][0]);
            let own = VectorError::of_entries(&fresh[i * units..(i + 1) * units]);
            VectorError { fresh: before.fresh * slope + own.fresh, inherited: before.inherited * slope }
        })
        .collect();
    taps.push(Composed { name: name("hidden"), spreads: hidden.entries });
    taps.push(Composed { name: name("activation"), spreads: active });
    let down = centred(&weights.down, 1.0);
    through_matrix(local, down.weight, errors, &name("output"), Origin::Mlp, taps)
}
