//! The table of `r[noise.layer]`.

use super::spread::{Normed, length, origin};
use super::{Parts, Run, centred, inner, partner, rows};
use crate::error::ReferenceError;
use crate::model::{Affine, Matrix};
use std::collections::BTreeMap;

type Result<T> = std::result::Result<T, ReferenceError>;

/// Error of a vector: the largest deviation of its entries' fresh errors, and the length of what is inherited.
#[derive(Clone, Copy, Debug, Default)]
struct Vector {
    fresh: Parts,
    inherited: Parts,
}

impl Vector {
    fn of_entries(entries: &[Parts]) -> Self {
        Self { fresh: Parts::largest(entries), inherited: Parts::default() }
    }

    fn plus(self, other: Self) -> Self {
        Self { fresh: self.fresh + other.fresh, inherited: self.inherited + other.inherited }
    }

    /// Along a vector of length 1.
    fn along(&self) -> Parts {
        self.fresh + self.inherited
    }

    /// Length of the image under a matrix with these norms.
    fn image(&self, spectral: f64, frobenius: f64) -> Parts {
        self.fresh * frobenius + self.inherited * spectral
    }

    /// Length of the vector itself, with `entries` entries.
    fn length(&self, entries: usize) -> Parts {
        self.image(1.0, (entries as f64).sqrt())
    }
}

/// The residual stream's error per token: vectors, and images of vectors under the last block's matrices.
#[derive(Clone)]
struct Stream {
    direct: Vec<Vector>,
    images: Vec<(Normed, Vec<Vector>)>,
}

impl Stream {
    fn tokens(&self) -> usize {
        self.direct.len()
    }

    /// One token's error with the images multiplied out.
    fn whole(&self, token: usize) -> Vector {
        self.images.iter().fold(self.direct[token], |sum, (matrix, vectors)| {
            let inherited = vectors[token].image(matrix.spectral, matrix.frobenius);
            sum.plus(Vector { inherited, ..Vector::default() })
        })
    }

    /// `|w|` and the lengths of `w W`.
    fn reach(&self, w: &[f64]) -> Vec<f64> {
        std::iter::once(length(w)).chain(self.images.iter().map(|(matrix, _)| matrix.pulled(w))).collect()
    }

    /// One token's error along the vector with the given reach.
    fn along(&self, token: usize, reach: &[f64]) -> Parts {
        let vectors = std::iter::once(&self.direct[token]).chain(self.images.iter().map(|(_, v)| &v[token]));
        vectors.zip(reach).fold(Parts::default(), |sum, (vector, &size)| sum + vector.along() * size)
    }

    fn settled(&self) -> Self {
        Self { direct: (0..self.tokens()).map(|token| self.whole(token)).collect(), images: Vec::new() }
    }

    fn add(&mut self, fresh: &[Parts]) {
        let width = fresh.len() / self.tokens();
        let vectors = fresh.chunks(width).map(Vector::of_entries);
        self.direct.iter_mut().zip(vectors).for_each(|(sum, vector)| *sum = sum.plus(vector));
    }
}

/// The factor of a LayerNorm per token, its error, and the centred stream.
struct Normaliser {
    factor: Vec<f64>,
    error: Vec<Parts>,
    stream: Vec<Vec<f64>>,
}

/// Queries, keys or values: `[token][head]`.
struct Heads {
    vectors: Vec<Vec<Vector>>,
    values: Vec<Vec<Vec<f64>>>,
}

/// Errors of powers, `[head][query][key]`.
struct Powers {
    fresh: Vec<Parts>,
    inherited: Vec<Parts>,
}

struct Pass<'a> {
    run: &'a Run<'a>,
    d: f64,
    taps: BTreeMap<String, Vec<Parts>>,
}

pub(super) fn compose(run: &Run<'_>, d: f64) -> Result<BTreeMap<String, Vec<Parts>>> {
    let mut pass = Pass { run, d, taps: BTreeMap::new() };
    let embedded = run.fresh_of("embedding", origin::STREAM)?;
    let direct = embedded.chunks(run.width()).map(Vector::of_entries).collect();
    let mut stream = Stream { direct, images: Vec::new() };
    pass.taps.insert("embedding".to_owned(), embedded);
    for layer in 0..run.model.layers.len() {
        stream = pass.block(layer, stream)?;
    }
    pass.head(&stream)?;
    Ok(pass.taps)
}

impl Pass<'_> {
    fn block(&mut self, layer: usize, stream: Stream) -> Result<Stream> {
        let name = |tap: &str| format!("layers.{layer}.{tap}");
        let norm = self.normaliser(&name("layernorm"), &name("inverse-sqrt"), &stream)?;
        let mixed = self.attention(layer, &stream, &norm)?;
        let mut after = stream.settled();
        let output = centred(&self.run.model.layers[layer].output.weight);
        self.add_image(&mut after, output, mixed, &name("attention.output"), origin::OUTPUT)?;
        let active = if self.run.model.config.use_parallel_residual {
            self.mlp(layer, &stream, &norm)?
        } else {
            let norm = self.normaliser(&name("mlp-layernorm"), &name("mlp-inverse-sqrt"), &after)?;
            self.mlp(layer, &after, &norm)?
        };
        let down = centred(&self.run.model.layers[layer].down.weight);
        self.add_image(&mut after, down, active, &name("mlp.output"), origin::MLP)?;
        after.add(&self.run.fresh_of(&name("residual"), origin::STREAM)?);
        let units = (0..self.run.width()).map(|c| after.reach(&unit(self.run.width(), c))).collect::<Vec<_>>();
        let errors = (0..after.tokens()).flat_map(|i| units.iter().map(move |reach| (i, reach)));
        let errors = errors.map(|(i, reach)| after.along(i, reach)).collect();
        self.taps.insert(name("residual"), errors);
        Ok(after)
    }

    /// Adds `W x` and the tap's own errors to the stream; the tap is `W x` alone.
    fn add_image(&mut self, stream: &mut Stream, weight: Matrix, x: Vec<Vector>, tap: &str, from: usize) -> Result<()> {
        let fresh = self.run.fresh_of(tap, from)?;
        let sizes: Vec<f64> = (0..weight.rows).map(|c| length(weight.row(c))).collect();
        let errors = x.iter().flat_map(|x| sizes.iter().map(|&size| x.along() * size));
        self.taps.insert(tap.to_owned(), errors.zip(&fresh).map(|(error, &own)| error + own).collect());
        stream.images.push((Normed::new(weight), x));
        stream.add(&fresh);
        Ok(())
    }

    /// Variance `|x|^2 / d` and the polynomial of its inverse square root.
    fn normaliser(&mut self, tap: &str, site: &str, stream: &Stream) -> Result<Normaliser> {
        let (run, d, width) = (self.run, self.d, self.run.width());
        let name = |part: &str| format!("{tap}.{part}");
        let factor = run.values(&name("inverse-sqrt"))?.to_vec();
        let rows = run.values(&name("normalised"))?.chunks(width);
        let centred: Vec<Vec<f64>> = rows.zip(&factor).map(|(row, r)| row.iter().map(|x| x / r).collect()).collect();
        let own = run.fresh_of(&name("variance"), origin::LAYERNORM)?;
        let variance: Vec<Parts> = (0..stream.tokens())
            .map(|i| {
                let size = stream.whole(i).length(width);
                let sum = stream.along(i, &stream.reach(&centred[i])) * 2.0 + size * (d * size.total());
                sum * (1.0 / width as f64) + own[i]
            })
            .collect();
        let own = run.fresh_of(&name("inverse-sqrt"), origin::LAYERNORM)?;
        let error = self.replaced(site, run.values(&name("variance"))?, &variance, &own)?;
        let own = run.fresh_of(&name("normalised"), origin::LAYERNORM)?;
        let units: Vec<Vec<f64>> = (0..width).map(|c| stream.reach(&unit(width, c))).collect();
        let entry = |at: usize| {
            let (i, c) = (at / width, at % width);
            stream.along(i, &units[c]) * self.hat(factor[i], &error[i]) + error[i] * centred[i][c].abs() + own[at]
        };
        let normalised = (0..own.len()).map(entry).collect();
        self.taps.insert(name("variance"), variance);
        self.taps.insert(name("inverse-sqrt"), error.clone());
        self.taps.insert(name("normalised"), normalised);
        Ok(Normaliser { factor, error, stream: centred })
    }

    /// A value enlarged by its bound.
    fn hat(&self, value: f64, error: &Parts) -> f64 {
        value.abs() + self.d * error.total()
    }

    fn replaced(&self, site: &str, values: &[f64], errors: &[Parts], own: &[Parts]) -> Result<Vec<Parts>> {
        let replacement = self.run.replacement(site)?;
        let one =
            |((&u, error), &own): ((&f64, &Parts), &Parts)| *error * replacement.slope(u, self.d * error.total()) + own;
        Ok(values.iter().zip(errors).zip(own).map(one).collect())
    }

    /// `y = r W x + b` in parts of `size` rows.
    fn projected(
        &mut self,
        map: &Affine,
        size: usize,
        rotary: usize,
        stream: &Stream,
        norm: &Normaliser,
        (tap, from): (&str, usize),
    ) -> Result<(Vec<Parts>, Vec<Vec<Vector>>)> {
        let (own, count) = (self.run.fresh_of(tap, from)?, map.weight.rows);
        let parts: Vec<Normed> =
            (0..count / size).map(|h| Normed::new(rows(&map.weight, h * size..(h + 1) * size))).collect();
        let reaches: Vec<Vec<f64>> = (0..count).map(|c| stream.reach(map.weight.row(c))).collect();
        // A turned entry is a combination of two rows with factors whose squares sum to 1.
        let reach = |c: usize| match partner(c, size, rotary) {
            Some(p) => reaches[c].iter().zip(&reaches[p]).map(|(a, b)| a.hypot(*b)).collect(),
            None => reaches[c].clone(),
        };
        let reach: Vec<Vec<f64>> = (0..count).map(reach).collect();
        let (mut entries, mut vectors) = (Vec::new(), Vec::new());
        for i in 0..stream.tokens() {
            let image: Vec<f64> = (0..count).map(|c| inner(map.weight.row(c), &norm.stream[i])).collect();
            let (hat, error) = (self.hat(norm.factor[i], &norm.error[i]), norm.error[i]);
            let own = &own[i * count..(i + 1) * count];
            let turned = |c: usize| partner(c, size, rotary).map_or(image[c].abs(), |p| image[c].hypot(image[p]));
            entries.extend((0..count).map(|c| stream.along(i, &reach[c]) * hat + error * turned(c) + own[c]));
            let whole = stream.whole(i);
            let part = |(h, matrix): (usize, &Normed)| {
                let range = h * size..(h + 1) * size;
                let inherited =
                    whole.image(matrix.spectral, matrix.frobenius) * hat + error * length(&image[range.clone()]);
                Vector { inherited, ..Vector::of_entries(&own[range]) }
            };
            vectors.push(parts.iter().enumerate().map(part).collect());
        }
        self.taps.insert(tap.to_owned(), entries.clone());
        Ok((entries, vectors))
    }

    /// Errors of the weighted values of all heads, per token.
    fn attention(&mut self, layer: usize, stream: &Stream, norm: &Normaliser) -> Result<Vec<Vector>> {
        let config = &self.run.model.config;
        let (size, rotary) = (config.head_size(), config.rotary_size());
        let name = |tap: &str| format!("layers.{layer}.attention.{tap}");
        let mut part = |which: usize, tap: &str, rotary: usize| {
            let map = self.run.projection(layer, which);
            let place = (name(tap), origin::PROJECTIONS);
            let (_, vectors) = self.projected(&map, size, rotary, stream, norm, (&place.0, place.1))?;
            let tokens = self.run.values(&name(tap))?.chunks(map.weight.rows);
            let values = tokens.map(|row| row.chunks(size).map(<[f64]>::to_vec).collect()).collect();
            Ok::<_, ReferenceError>(Heads { vectors, values })
        };
        let (query, key) = (part(0, "query", rotary)?, part(1, "key", rotary)?);
        let value = part(2, "value", 0)?;
        let powers = self.powers(layer, &query, &key)?;
        let reciprocal = self.reciprocal(layer, &powers)?;
        self.weighted(layer, &powers, &value, &reciprocal)
    }

    fn powers(&mut self, layer: usize, query: &Heads, key: &Heads) -> Result<Powers> {
        let config = &self.run.model.config;
        let (heads, tokens, size) = (config.num_attention_heads, query.vectors.len(), config.head_size());
        let name = |tap: &str| format!("layers.{layer}.attention.{tap}");
        let divisor = (size as f64).sqrt() * config.score_scale(layer);
        let p = config.power_softmax.p as i32;
        let values = self.run.values(&name("scores"))?;
        let (own, power_own) =
            (self.run.fresh_of(&name("scores"), origin::SCORES)?, self.run.fresh_of(&name("powers"), origin::POWERS)?);
        let none = vec![Parts::default(); heads * tokens * tokens];
        let (mut scores, mut sums) = (none.clone(), none.clone());
        let mut powers = Powers { fresh: none.clone(), inherited: none };
        for at in live(heads, tokens) {
            let (h, i, j) = (at / (tokens * tokens), at / tokens % tokens, at % tokens);
            let (dq, dk) = (query.vectors[i][h], key.vectors[j][h]);
            let hat = length(&query.values[i][h]) + self.d * dq.length(size).total();
            let inherited = (dk.along() * hat + dq.along() * length(&key.values[j][h])) * (1.0 / divisor);
            scores[at] = inherited + own[at];
            let slope = f64::from(p) * self.hat(values[at], &scores[at]).powi(p - 1) / (i + 1) as f64;
            powers.inherited[at] = inherited * slope;
            powers.fresh[at] = own[at] * slope + power_own[at];
            sums[at] = powers.inherited[at] + powers.fresh[at];
        }
        self.taps.insert(name("scores"), scores);
        self.taps.insert(name("powers"), sums);
        Ok(powers)
    }

    fn reciprocal(&mut self, layer: usize, powers: &Powers) -> Result<Vec<Parts>> {
        let name = |tap: &str| format!("layers.{layer}.attention.{tap}");
        let values = self.run.values(&name("denominator"))?;
        let own = self.run.fresh_of(&name("denominator"), origin::POWERS)?;
        let tokens = powers.fresh.len() / values.len().max(1);
        let row = |r: usize| {
            let range = r * tokens..(r + 1) * tokens;
            let fresh = Parts::root_sum_square(powers.fresh[range.clone()].iter().copied());
            powers.inherited[range].iter().fold(own[r] + fresh, |sum, &part| sum + part)
        };
        let sums: Vec<Parts> = (0..values.len()).map(row).collect();
        let own = self.run.fresh_of(&name("reciprocal"), origin::RECIPROCAL)?;
        let errors = self.replaced(&format!("layers.{layer}.reciprocal"), values, &sums, &own)?;
        self.taps.insert(name("denominator"), sums);
        self.taps.insert(name("reciprocal"), errors.clone());
        Ok(errors)
    }

    /// `o = rho sum_j y_j v_j`.
    fn weighted(&mut self, layer: usize, powers: &Powers, value: &Heads, reciprocal: &[Parts]) -> Result<Vec<Vector>> {
        let config = &self.run.model.config;
        let (heads, tokens, size) = (config.num_attention_heads, value.vectors.len(), config.head_size());
        let name = |tap: &str| format!("layers.{layer}.attention.{tap}");
        let (y, rho) = (self.run.values(&name("powers"))?, self.run.values(&name("reciprocal"))?);
        let (o, own) = (self.run.values(&name("heads"))?, self.run.fresh_of(&name("heads"), origin::HEADS)?);
        let (mut errors, mut vectors) = (Vec::new(), Vec::new());
        for i in 0..tokens {
            let mut lengths = Vec::new();
            for h in 0..heads {
                let (at, row) = (h * tokens + i, (h * tokens + i) * tokens);
                let (hat, drho) = (self.hat(rho[at], &reciprocal[at]), reciprocal[at]);
                let weight: Vec<f64> = (0..=i)
                    .map(|j| self.hat(y[row + j], &(powers.fresh[row + j] + powers.inherited[row + j])))
                    .collect();
                let inherited =
                    (0..=i).fold(Parts::default(), |sum, j| sum + value.vectors[j][h].inherited * weight[j]);
                let fresh = Parts::root_sum_square((0..=i).map(|j| value.vectors[j][h].fresh * weight[j]));
                // Errors of the powers against values of size `v(j)`.
                let against = |v: &dyn Fn(usize) -> f64| {
                    let through = (0..=i).fold(Parts::default(), |sum, j| sum + powers.inherited[row + j] * v(j));
                    through + Parts::root_sum_square((0..=i).map(|j| powers.fresh[row + j] * v(j)))
                };
                let start = i * heads * size + h * size;
                let vector = inherited + fresh * (size as f64).sqrt() + against(&|j| length(&value.values[j][h]));
                lengths.push(vector * hat + drho * (length(&o[start..start + size]) / rho[at].abs()));
                errors.extend((0..size).map(|c| {
                    let sum = inherited + fresh + against(&|j| value.values[j][h][c].abs());
                    sum * hat + drho * (o[start + c] / rho[at]).abs() + own[start + c]
                }));
            }
            let entries = &own[i * heads * size..(i + 1) * heads * size];
            vectors.push(Vector { inherited: Parts::root_sum_square(lengths), ..Vector::of_entries(entries) });
        }
        self.taps.insert(name("heads"), errors);
        Ok(vectors)
    }

    /// Errors of the activations, per token.
    fn mlp(&mut self, layer: usize, stream: &Stream, norm: &Normaliser) -> Result<Vec<Vector>> {
        let name = |tap: &str| format!("layers.{layer}.mlp.{tap}");
        let (map, site) = (self.run.up(layer), format!("layers.{layer}.gelu"));
        let units = map.weight.rows;
        let (hidden, vectors) = self.projected(&map, units, 0, stream, norm, (&name("hidden"), origin::MLP))?;
        let (values, own) = (self.run.values(&name("hidden"))?, self.run.fresh_of(&name("activation"), origin::MLP)?);
        let replacement = self.run.replacement(&site)?;
        let slope = |at: usize| replacement.slope(values[at], self.d * hidden[at].total());
        let slopes: Vec<f64> = (0..values.len()).map(slope).collect();
        let active = (0..values.len()).map(|at| hidden[at] * slopes[at] + own[at]).collect();
        self.taps.insert(name("activation"), active);
        // The vector grows by at most the largest slope of its entries.
        let rows = slopes.chunks(units).zip(own.chunks(units)).zip(&vectors);
        Ok(rows
            .map(|((slopes, own), parts)| {
                let slope = slopes.iter().copied().fold(0.0, f64::max);
                let grown = Vector { fresh: parts[0].fresh * slope, inherited: parts[0].inherited * slope };
                grown.plus(Vector::of_entries(own))
            })
            .collect())
    }

    fn head(&mut self, stream: &Stream) -> Result<()> {
        let norm = self.normaliser("final.layernorm", "final.inverse-sqrt", stream)?;
        let (map, last) = (self.run.head(), stream.tokens() - 1);
        let (hat, error) = (self.hat(norm.factor[last], &norm.error[last]), norm.error[last]);
        let own = self.run.fresh_of("logits", origin::HEAD)?;
        let one = |o: usize| {
            let row = map.weight.row(o);
            stream.along(last, &stream.reach(row)) * hat + error * inner(row, &norm.stream[last]).abs() + own[o]
        };
        self.taps.insert("logits".to_owned(), (0..map.weight.rows).map(one).collect());
        Ok(())
    }
}

fn unit(width: usize, c: usize) -> Vec<f64> {
    let mut unit = vec![0.0; width];
    unit[c] = 1.0;
    unit
}

/// Places `[head][query][key]` with `key <= query`.
pub(super) fn live(heads: usize, tokens: usize) -> impl Iterator<Item = usize> {
    (0..heads * tokens).flat_map(move |row| (0..=row % tokens).map(move |j| row * tokens + j))
}
