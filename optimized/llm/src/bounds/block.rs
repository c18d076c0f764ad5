//! Errors through one transformer block: the local derivatives of `r[noise.layer]`.

use super::norm::{length, spectral};
use super::{Composed, Local, Origin, Spread, site_interval};
use crate::artifact::{Linear, Norm};
use crate::backend::slots::Growth;
use crate::circuit::{after_norm, centred, split_qkv};
use crate::error::Result;

/// Errors of the residual stream.
pub(super) struct Stream {
    /// Per token, of the vector over channels.
    pub(super) norm: Vec<Spread>,
}

impl Stream {
    /// From errors of the entries, `[token][width]`.
    pub(super) fn of_entries(entries: &[Spread], width: usize) -> Self {
        Self { norm: entries.chunks(width).map(|row| Spread::stacked(row.iter().copied())).collect() }
    }

    pub(super) fn tokens(&self) -> usize {
        self.norm.len()
    }
}

/// The factor of a LayerNorm and its error, per token, and the normalised stream.
pub(super) struct Normaliser {
    pub(super) inverse: Vec<f64>,
    pub(super) error: Vec<Spread>,
    normalised: Vec<Vec<f64>>,
}

/// Errors of vectors cut into heads: of the entries, and of each head's part.
struct Projected {
    entries: Vec<Spread>,
    /// `[token][head]`.
    norms: Vec<Vec<Spread>>,
    /// Lengths of the parts, `[token][head]`.
    lengths: Vec<Vec<f64>>,
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
    let attention = attention(local, layer, stream, &normal, taps)?;
    let add = |a: &Stream, b: &Stream| Stream { norm: a.norm.iter().zip(&b.norm).map(|(&a, &b)| a + b).collect() };
    let after = add(stream, &attention);
    let mlp = if parallel {
        mlp(local, layer, stream, &normal, taps)?
    } else {
        let site = format!("{prefix}.mlp-inverse-sqrt");
        let normal = normaliser(local, &format!("{prefix}.mlp-layernorm"), &site, &after, taps)?;
        mlp(local, layer, &after, &normal, taps)?
    };
    let name = format!("{prefix}.residual");
    let width = local.model.config.hidden_size;
    let fresh = local.fresh(&name, Origin::Stream)?;
    let sum = add(&add(&after, &mlp), &Stream::of_entries(&fresh, width));
    // An entry's error is at most that of its token's vector.
    let spreads = sum.norm.iter().flat_map(|&norm| std::iter::repeat_n(norm, width)).collect();
    taps.push(Composed { name, spreads });
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
    let variances = local.values(&name("variance"))?;
    let fresh = local.fresh(&name("variance"), Origin::LayerNorm)?;
    let variance: Vec<Spread> = (0..stream.tokens())
        .map(|i| {
            let reach = (variances[i].max(0.0) * width as f64).sqrt() + local.factor * stream.norm[i].total() / 2.0;
            stream.norm[i] * (2.0 * reach / width as f64) + fresh[i]
        })
        .collect();
    let inverse = local.values(&name("inverse-sqrt"))?.to_vec();
    let error =
        through_site(local, site, variances, &variance, &local.fresh(&name("inverse-sqrt"), Origin::LayerNorm)?)?;
    let normalised: Vec<Vec<f64>> = local.values(&name("normalised"))?.chunks(width).map(<[f64]>::to_vec).collect();
    let fresh = local.fresh(&name("normalised"), Origin::LayerNorm)?;
    let entry = |i: usize, c: usize| {
        let reach = inverse[i] + local.factor * error[i].total();
        stream.norm[i] * reach + error[i] * (normalised[i][c].abs() / inverse[i]) + fresh[i * width + c]
    };
    let spreads =
        (0..stream.tokens()).flat_map(|i| (0..width).map(move |c| (i, c))).map(|(i, c)| entry(i, c)).collect();
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
fn after_normaliser(
    local: &Local<'_>,
    layer: &Linear,
    size: usize,
    partner: impl Fn(usize) -> Option<usize>,
    (stream, normal): (&Stream, &Normaliser),
    (values, fresh): (&[f64], &[Spread]),
) -> Projected {
    let (rows, width) = (layer.weight.rows, layer.weight.cols);
    let parts = rows / size;
    let norms: Vec<f64> = (0..parts).map(|h| spectral(&layer.weight, h * size..(h + 1) * size, 0..width)).collect();
    let row_lengths: Vec<f64> = (0..rows).map(|c| length(layer.weight.row(c))).collect();
    let mixed = |x: &[f64], c: usize| partner(c).map_or(x[c].abs(), |p| x[c].hypot(x[p]));
    let mut out = Projected { entries: Vec::new(), norms: Vec::new(), lengths: Vec::new() };
    for i in 0..stream.tokens() {
        let linear = layer.weight.apply(&normal.normalised[i]);
        let reach = normal.inverse[i] + local.factor * normal.error[i].total();
        let relative = normal.error[i] * normal.inverse[i].recip();
        let fresh = &fresh[i * rows..(i + 1) * rows];
        let entry = |c| stream.norm[i] * (mixed(&row_lengths, c) * reach) + relative * mixed(&linear, c) + fresh[c];
        out.entries.extend((0..rows).map(entry));
        let part = |h: usize| {
            let range = h * size..(h + 1) * size;
            let own = Spread::stacked(fresh[range.clone()].iter().copied());
            stream.norm[i] * (norms[h] * reach) + relative * length(&linear[range]) + own
        };
        out.norms.push((0..parts).map(part).collect());
        let values = &values[i * rows..(i + 1) * rows];
        out.lengths.push(values.chunks(size).map(length).collect());
    }
    out
}

fn attention(
    local: &Local<'_>,
    layer: usize,
    stream: &Stream,
    normal: &Normaliser,
    taps: &mut Vec<Composed>,
) -> Result<Stream> {
    let config = &local.model.config;
    let (size, rotary) = (config.head_size(), config.rotary_size());
    let name = |tap: &str| format!("layers.{layer}.attention.{tap}");
    let turned = |c: usize| {
        let (head, at) = (c / size * size, c % size);
        let half = rotary / 2;
        (at < rotary).then(|| head + if at < half { at + half } else { at - half })
    };
    let weights = &local.model.layers[layer];
    let mut project = |part: &Linear, tap: &str, rotates: bool| {
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
    output(local, layer, &heads, taps)
}

/// Scores `q . k / (sqrt(d_k) c)` and their powers `s^p / n`; errors of powers, `[head][token][token]`.
fn powers(
    local: &Local<'_>,
    layer: usize,
    query: &Projected,
    key: &Projected,
    taps: &mut Vec<Composed>,
) -> Result<Vec<Spread>> {
    let config = &local.model.config;
    let (heads, tokens) = (config.num_attention_heads, query.norms.len());
    let name = |tap: &str| format!("layers.{layer}.attention.{tap}");
    let unit = (config.head_size() as f64).sqrt() * config.score_scale(layer);
    let fresh = local.fresh(&name("scores"), Origin::Scores)?;
    let own = local.fresh(&name("powers"), Origin::Powers)?;
    let (values, p) = (local.values(&name("scores"))?, config.power_softmax.p as i32);
    let (mut scores, mut powers) = (Vec::new(), Vec::new());
    for (h, i, j) in cells(heads, tokens) {
        let at = (h * tokens + i) * tokens + j;
        if j > i {
            scores.push(Spread::default());
            powers.push(Spread::default());
            continue;
        }
        let (dq, dk) = (query.norms[i][h], key.norms[j][h]);
        let reach = query.lengths[i][h] + local.factor * dq.total();
        let score = (dk * reach + dq * key.lengths[j][h]) * unit.recip() + fresh[at];
        let slope = f64::from(p) * (values[at].abs() + local.factor * score.total()).powi(p - 1) / (i + 1) as f64;
        powers.push(score * slope + own[at]);
        scores.push(score);
    }
    taps.push(Composed { name: name("scores"), spreads: scores });
    taps.push(Composed { name: name("powers"), spreads: powers.clone() });
    Ok(powers)
}

fn cells(heads: usize, tokens: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..heads).flat_map(move |h| (0..tokens).flat_map(move |i| (0..tokens).map(move |j| (h, i, j))))
}

/// Errors of the reciprocal, `[head][token]`.
fn reciprocal(local: &Local<'_>, layer: usize, powers: &[Spread], taps: &mut Vec<Composed>) -> Result<Vec<Spread>> {
    let name = |tap: &str| format!("layers.{layer}.attention.{tap}");
    let values = local.values(&name("denominator"))?;
    let tokens = powers.len() / values.len();
    let own = local.fresh(&name("denominator"), Origin::Powers)?;
    let row = |(row, &own): (&[Spread], &Spread)| row.iter().fold(own, |sum, &error| sum + error);
    let sums: Vec<Spread> = powers.chunks(tokens).zip(&own).map(row).collect();
    let fresh = local.fresh(&name("reciprocal"), Origin::Reciprocal)?;
    let errors = through_site(local, &format!("layers.{layer}.reciprocal"), values, &sums, &fresh)?;
    taps.push(Composed { name: name("denominator"), spreads: sums });
    taps.push(Composed { name: name("reciprocal"), spreads: errors.clone() });
    Ok(errors)
}

/// `o = rho sum_j y_j v_j`: errors of each head's part, `[token][head]`.
fn heads(
    local: &Local<'_>,
    layer: usize,
    powers: &[Spread],
    value: &Projected,
    reciprocal: &[Spread],
    taps: &mut Vec<Composed>,
) -> Result<Vec<Vec<Spread>>> {
    let config = &local.model.config;
    let (heads, size, width) = (config.num_attention_heads, config.head_size(), config.hidden_size);
    let tokens = value.norms.len();
    let name = |tap: &str| format!("layers.{layer}.attention.{tap}");
    let (weights, factors) = (local.values(&name("powers"))?, local.values(&name("reciprocal"))?);
    let (mixed, fresh) = (local.values(&name("heads"))?, local.fresh(&name("heads"), Origin::Heads)?);
    let (mut norms, mut entries) = (vec![Vec::with_capacity(heads); tokens], vec![Spread::default(); tokens * width]);
    for i in 0..tokens {
        for h in 0..heads {
            let row = (h * tokens + i) * tokens;
            let (factor, error) = (factors[h * tokens + i], reciprocal[h * tokens + i]);
            let reach = factor + local.factor * error.total();
            let sum = (0..=i).fold(Spread::default(), |sum, j| {
                let weight = weights[row + j].abs() + local.factor * powers[row + j].total();
                sum + value.norms[j][h] * weight + powers[row + j] * value.lengths[j][h]
            });
            let range = i * width + h * size..i * width + (h + 1) * size;
            let part = sum * reach + error * (length(&mixed[range.clone()]) / factor);
            entries[range.clone()].iter_mut().zip(&fresh[range.clone()]).for_each(|(e, &fresh)| *e = part + fresh);
            norms[i].push(part + Spread::stacked(fresh[range].iter().copied()));
        }
    }
    taps.push(Composed { name: name("heads"), spreads: entries });
    Ok(norms)
}

/// The output projection.
fn output(local: &Local<'_>, layer: usize, heads: &[Vec<Spread>], taps: &mut Vec<Composed>) -> Result<Stream> {
    let dense = centred(&local.model.layers[layer].dense, 1.0);
    let norms: Vec<Spread> = heads.iter().map(|parts| Spread::stacked(parts.iter().copied())).collect();
    through_matrix(local, &dense, &norms, &format!("layers.{layer}.attention.output"), Origin::Output, taps)
}

/// `y = W x + b` for vectors whose errors are known by their size.
fn through_matrix(
    local: &Local<'_>,
    layer: &Linear,
    norms: &[Spread],
    name: &str,
    origin: Origin,
    taps: &mut Vec<Composed>,
) -> Result<Stream> {
    let (rows, columns) = (layer.weight.rows, layer.weight.cols);
    let norm = spectral(&layer.weight, 0..rows, 0..columns);
    let lengths: Vec<f64> = (0..rows).map(|c| length(layer.weight.row(c))).collect();
    let fresh = local.fresh(name, origin)?;
    let entry = |(i, c): (usize, usize)| norms[i] * lengths[c] + fresh[i * rows + c];
    let spreads = (0..norms.len()).flat_map(|i| (0..rows).map(move |c| (i, c))).map(entry).collect();
    taps.push(Composed { name: name.to_owned(), spreads });
    let own = Stream::of_entries(&fresh, rows);
    Ok(Stream { norm: norms.iter().zip(own.norm).map(|(&x, own)| x * norm + own).collect() })
}

fn mlp(
    local: &Local<'_>,
    layer: usize,
    stream: &Stream,
    normal: &Normaliser,
    taps: &mut Vec<Composed>,
) -> Result<Stream> {
    let name = |tap: &str| format!("layers.{layer}.mlp.{tap}");
    let weights = &local.model.layers[layer];
    let norm: &Norm = &weights.mlp_norm;
    let up = after_norm(&weights.up.weight, Some(&weights.up.bias), norm, 1.0);
    let units = up.weight.rows;
    let (values, fresh) = (local.values(&name("hidden"))?, local.fresh(&name("hidden"), Origin::Mlp)?);
    let hidden = after_normaliser(local, &up, units, |_| None, (stream, normal), (values, &fresh));
    let fresh = local.fresh(&name("activation"), Origin::Mlp)?;
    let active = through_site(local, &format!("layers.{layer}.gelu"), values, &hidden.entries, &fresh)?;
    // The vector's error grows by at most the largest slope of its entries.
    let zero = vec![Spread::default(); fresh.len()];
    let unit: Vec<Spread> = hidden.entries.iter().map(|e| Spread::of(Origin::Mlp, e.total())).collect();
    let slopes = through_site(local, &format!("layers.{layer}.gelu"), values, &unit, &zero)?;
    let slope = |i: usize| {
        let range = i * units..(i + 1) * units;
        let ratios = slopes[range.clone()].iter().zip(&unit[range]);
        ratios.map(|(after, before)| after.total() / before.total()).fold(0.0, f64::max)
    };
    let own = Stream::of_entries(&fresh, units);
    let norms: Vec<Spread> = (0..stream.tokens()).map(|i| hidden.norms[i][0] * slope(i) + own.norm[i]).collect();
    taps.push(Composed { name: name("hidden"), spreads: hidden.entries });
    taps.push(Composed { name: name("activation"), spreads: active });
    let down = centred(&weights.down, 1.0);
    through_matrix(local, &down, &norms, &name("output"), Origin::Mlp, taps)
}
