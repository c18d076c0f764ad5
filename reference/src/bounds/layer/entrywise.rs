//! Propagation entry by entry through the derivatives of the network, with one way of combining errors throughout.

use super::composed::live;
use super::spread::origin;
use super::{Parts, Run, centred, inner, partner};
use crate::error::ReferenceError;
use crate::model::{Affine, Matrix};
use std::collections::BTreeMap;

type Result<T> = std::result::Result<T, ReferenceError>;

/// How errors of different causes and entries combine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combination {
    /// Absolute values add (`r[noise.worst-case]`).
    WorstCase,
    /// Squares add (`r[noise.rss]`).
    RootSumSquare,
}

impl Combination {
    /// The combination of numbers.
    pub fn combine(self, sizes: impl Iterator<Item = f64>) -> f64 {
        match self {
            Self::WorstCase => sizes.map(f64::abs).sum(),
            Self::RootSumSquare => sizes.map(|x| x * x).sum::<f64>().sqrt(),
        }
    }

    fn join(self, parts: impl Iterator<Item = Parts>) -> Parts {
        match self {
            Self::WorstCase => parts.fold(Parts::default(), |a, b| a + b),
            Self::RootSumSquare => Parts::root_sum_square(parts),
        }
    }

    fn pair(self, a: Parts, b: Parts) -> Parts {
        self.join([a, b].into_iter())
    }

    /// `sum_j w_j x_j`.
    fn weighted(self, weights: &[f64], errors: &[Parts]) -> Parts {
        self.join(weights.iter().zip(errors).map(|(w, error)| *error * w.abs()))
    }
}

/// Errors of a matrix of values: one row per token.
type Rows = Vec<Vec<Parts>>;

struct Pass<'a> {
    run: &'a Run<'a>,
    how: Combination,
    /// What a fresh deviation is multiplied with.
    factor: f64,
    taps: BTreeMap<String, Vec<Parts>>,
}

pub(super) fn compose(run: &Run<'_>, how: Combination, factor: f64) -> Result<BTreeMap<String, Vec<Parts>>> {
    let mut pass = Pass { run, how, factor, taps: BTreeMap::new() };
    let width = run.width();
    let embedded = pass.fresh("embedding", origin::STREAM)?;
    pass.taps.insert("embedding".to_owned(), embedded.clone());
    let mut stream: Rows = embedded.chunks(width).map(<[Parts]>::to_vec).collect();
    for layer in 0..run.model.layers.len() {
        stream = pass.block(layer, stream)?;
    }
    let norm = pass.normaliser("final.layernorm", "final.inverse-sqrt", &stream)?;
    let map = run.head();
    let last = stream.len() - 1;
    let own = pass.fresh("logits", origin::HEAD)?;
    let logits = pass.affine(&map, last, &stream[last], &norm, None);
    let errors = logits.into_iter().zip(own).map(|(error, own)| how.pair(error, own)).collect();
    pass.taps.insert("logits".to_owned(), errors);
    Ok(pass.taps)
}

struct Normaliser {
    factor: Vec<f64>,
    error: Vec<Parts>,
    stream: Vec<Vec<f64>>,
}

impl Pass<'_> {
    fn fresh(&self, tap: &str, from: usize) -> Result<Vec<Parts>> {
        Ok(self.run.fresh_of(tap, from)?.into_iter().map(|part| part * self.factor).collect())
    }

    fn size(&self, error: &Parts) -> f64 {
        self.how.combine(error.0.into_iter())
    }

    /// The size of a factor: enlarged by its error where the result is to be a bound.
    fn hat(&self, value: f64, error: &Parts) -> f64 {
        match self.how {
            Combination::WorstCase => value.abs() + self.size(error),
            Combination::RootSumSquare => value.abs(),
        }
    }

    /// Adds a tap's fresh errors and files the sum.
    fn file(&mut self, tap: &str, from: usize, errors: Vec<Parts>) -> Result<Vec<Parts>> {
        let own = self.fresh(tap, from)?;
        let errors: Vec<Parts> = errors.into_iter().zip(own).map(|(a, b)| self.how.pair(a, b)).collect();
        self.taps.insert(tap.to_owned(), errors.clone());
        Ok(errors)
    }

    fn file_rows(&mut self, tap: &str, from: usize, errors: Rows) -> Result<Rows> {
        let width = errors.first().map_or(1, Vec::len);
        Ok(self.file(tap, from, errors.concat())?.chunks(width).map(<[Parts]>::to_vec).collect())
    }

    fn block(&mut self, layer: usize, stream: Rows) -> Result<Rows> {
        let name = |tap: &str| format!("layers.{layer}.{tap}");
        let weights = &self.run.model.layers[layer];
        let norm = self.normaliser(&name("layernorm"), &name("inverse-sqrt"), &stream)?;
        let mixed = self.attention(layer, &stream, &norm)?;
        let output = self.image(&centred(&weights.output.weight), &mixed);
        let output = self.file_rows(&name("attention.output"), origin::OUTPUT, output)?;
        let after = self.sum(&stream, &output);
        let active = if self.run.model.config.use_parallel_residual {
            self.mlp(layer, &stream, &norm)?
        } else {
            let norm = self.normaliser(&name("mlp-layernorm"), &name("mlp-inverse-sqrt"), &after)?;
            self.mlp(layer, &after, &norm)?
        };
        let down = self.image(&centred(&weights.down.weight), &active);
        let down = self.file_rows(&name("mlp.output"), origin::MLP, down)?;
        self.file_rows(&name("residual"), origin::STREAM, self.sum(&after, &down))
    }

    fn sum(&self, a: &Rows, b: &Rows) -> Rows {
        let row = |(a, b): (&Vec<Parts>, &Vec<Parts>)| a.iter().zip(b).map(|(x, y)| self.how.pair(*x, *y)).collect();
        a.iter().zip(b).map(row).collect()
    }

    fn image(&self, weight: &Matrix, errors: &Rows) -> Rows {
        let row = |x: &Vec<Parts>| (0..weight.rows).map(|c| self.how.weighted(weight.row(c), x)).collect();
        errors.iter().map(row).collect()
    }

    fn normaliser(&mut self, tap: &str, site: &str, stream: &Rows) -> Result<Normaliser> {
        let (run, width) = (self.run, self.run.width());
        let name = |part: &str| format!("{tap}.{part}");
        let factor = run.values(&name("inverse-sqrt"))?.to_vec();
        let rows = run.values(&name("normalised"))?.chunks(width);
        let values: Vec<Vec<f64>> = rows.zip(&factor).map(|(row, r)| row.iter().map(|x| x / r).collect()).collect();
        let variance = |(x, dx): (&Vec<f64>, &Vec<Parts>)| {
            let hats: Vec<f64> = x.iter().zip(dx).map(|(x, dx)| self.hat(*x, dx)).collect();
            self.how.weighted(&hats, dx) * (2.0 / width as f64)
        };
        let variance = values.iter().zip(stream).map(variance).collect();
        let variance = self.file(&name("variance"), origin::LAYERNORM, variance)?;
        let inverse = self.replaced(site, run.values(&name("variance"))?, &variance)?;
        let error = self.file(&name("inverse-sqrt"), origin::LAYERNORM, inverse)?;
        let row = |(i, (x, dx)): (usize, (&Vec<f64>, &Vec<Parts>))| {
            let hat = self.hat(factor[i], &error[i]);
            let entries = x.iter().zip(dx).map(|(x, dx)| self.how.pair(*dx * hat, error[i] * x.abs()));
            entries.collect::<Vec<_>>()
        };
        let normalised = values.iter().zip(stream).enumerate().flat_map(row).collect();
        self.file(&name("normalised"), origin::LAYERNORM, normalised)?;
        Ok(Normaliser { factor, error, stream: values })
    }

    fn replaced(&self, site: &str, values: &[f64], errors: &[Parts]) -> Result<Vec<Parts>> {
        let replacement = self.run.replacement(site)?;
        let reach = |error: &Parts| match self.how {
            Combination::WorstCase => self.size(error),
            Combination::RootSumSquare => 0.0,
        };
        Ok(values.iter().zip(errors).map(|(&u, error)| *error * replacement.slope(u, reach(error))).collect())
    }

    /// `r W x + b` for one token, queries and keys turned.
    fn affine(
        &self,
        map: &Affine,
        token: usize,
        dx: &[Parts],
        norm: &Normaliser,
        turning: Option<(usize, usize)>,
    ) -> Vec<Parts> {
        let (hat, error) = (self.hat(norm.factor[token], &norm.error[token]), norm.error[token]);
        let row = |c: usize| match turning.and_then(|(size, rotary)| Some((size, rotary, partner(c, size, rotary)?))) {
            Some((size, rotary, p)) => self.turned(map, token, c, p, (size, rotary)),
            None => map.weight.row(c).to_vec(),
        };
        let one = |c: usize| {
            let row = row(c);
            let through = self.how.weighted(&row, dx) * hat;
            self.how.pair(through, error * inner(&row, &norm.stream[token]).abs())
        };
        (0..map.weight.rows).map(one).collect()
    }

    /// Row `c` of the projection of position `token` after rotary embedding (`r[model.rotary]`), `p` the other row of the pair.
    fn turned(&self, map: &Affine, token: usize, c: usize, p: usize, (size, rotary): (usize, usize)) -> Vec<f64> {
        let half = rotary / 2;
        let index = c % size % half;
        let angle = token as f64 * self.run.model.config.rotary_emb_base.powf(-2.0 * index as f64 / rotary as f64);
        // (a cos - b sin, b cos + a sin): the first half subtracts.
        let sine = if c % size < half { -angle.sin() } else { angle.sin() };
        map.weight.row(c).iter().zip(map.weight.row(p)).map(|(a, b)| a * angle.cos() + b * sine).collect()
    }

    fn projected(
        &mut self,
        map: &Affine,
        stream: &Rows,
        norm: &Normaliser,
        turning: Option<(usize, usize)>,
        (tap, from): (&str, usize),
    ) -> Result<Rows> {
        let errors = stream.iter().enumerate().map(|(i, dx)| self.affine(map, i, dx, norm, turning)).collect();
        self.file_rows(tap, from, errors)
    }

    fn attention(&mut self, layer: usize, stream: &Rows, norm: &Normaliser) -> Result<Rows> {
        let (run, how) = (self.run, self.how);
        let config = &run.model.config;
        let (size, heads, tokens) = (config.head_size(), config.num_attention_heads, stream.len());
        let turning = Some((size, config.rotary_size()));
        let name = |tap: &str| format!("layers.{layer}.attention.{tap}");
        let place = |tap: &str| (name(tap), origin::PROJECTIONS);
        let mut part = |which: usize, tap: &str, turning| {
            let (tap, from) = place(tap);
            self.projected(&run.projection(layer, which), stream, norm, turning, (&tap, from))
        };
        let (dq, dk, dv) = (part(0, "query", turning)?, part(1, "key", turning)?, part(2, "value", None)?);
        let width = run.width();
        let (q, k) = (run.values(&name("query"))?, run.values(&name("key"))?);
        let divisor = (size as f64).sqrt() * config.score_scale(layer);
        let mut scores = vec![Parts::default(); heads * tokens * tokens];
        for at in live(heads, tokens) {
            let (h, i, j) = (at / (tokens * tokens), at / tokens % tokens, at % tokens);
            let terms = (h * size..(h + 1) * size).flat_map(|c| {
                let hat = self.hat(q[i * width + c], &dq[i][c]);
                [dk[j][c] * hat, dq[i][c] * k[j * width + c].abs()]
            });
            scores[at] = how.join(terms) * (1.0 / divisor);
        }
        let scores = self.file(&name("scores"), origin::SCORES, scores)?;
        let (values, p) = (run.values(&name("scores"))?, config.power_softmax.p as i32);
        let mut powers = vec![Parts::default(); scores.len()];
        for at in live(heads, tokens) {
            let count = (at / tokens % tokens + 1) as f64;
            powers[at] = scores[at] * (f64::from(p) * self.hat(values[at], &scores[at]).powi(p - 1) / count);
        }
        let powers = self.file(&name("powers"), origin::POWERS, powers)?;
        let sums = powers.chunks(tokens).map(|row| how.join(row.iter().copied())).collect();
        let sums = self.file(&name("denominator"), origin::POWERS, sums)?;
        let site = format!("layers.{layer}.reciprocal");
        let reciprocal = self.replaced(&site, run.values(&name("denominator"))?, &sums)?;
        let reciprocal = self.file(&name("reciprocal"), origin::RECIPROCAL, reciprocal)?;
        self.weighted(layer, &powers, &dv, &reciprocal)
    }

    fn weighted(&mut self, layer: usize, powers: &[Parts], dv: &Rows, reciprocal: &[Parts]) -> Result<Rows> {
        let (run, how) = (self.run, self.how);
        let name = |tap: &str| format!("layers.{layer}.attention.{tap}");
        let (size, tokens, width) = (run.model.config.head_size(), dv.len(), run.width());
        let (y, rho) = (run.values(&name("powers"))?, run.values(&name("reciprocal"))?);
        let (v, o) = (run.values(&name("value"))?, run.values(&name("heads"))?);
        let entry = |i: usize, c: usize| {
            let (at, row) = (c / size * tokens + i, (c / size * tokens + i) * tokens);
            let terms = (0..=i).flat_map(|j| {
                let weight = self.hat(y[row + j], &powers[row + j]);
                [dv[j][c] * weight, powers[row + j] * v[j * width + c].abs()]
            });
            let sum = how.join(terms) * self.hat(rho[at], &reciprocal[at]);
            how.pair(sum, reciprocal[at] * (o[i * width + c] / rho[at]).abs())
        };
        let errors = (0..tokens).map(|i| (0..width).map(|c| entry(i, c)).collect()).collect();
        self.file_rows(&name("heads"), origin::HEADS, errors)
    }

    fn mlp(&mut self, layer: usize, stream: &Rows, norm: &Normaliser) -> Result<Rows> {
        let run = self.run;
        let name = |tap: &str| format!("layers.{layer}.mlp.{tap}");
        let hidden = self.projected(&run.up(layer), stream, norm, None, (&name("hidden"), origin::MLP))?;
        let width = hidden.first().map_or(1, Vec::len);
        let active = self.replaced(&format!("layers.{layer}.gelu"), run.values(&name("hidden"))?, &hidden.concat())?;
        self.file_rows(&name("activation"), origin::MLP, active.chunks(width).map(<[Parts]>::to_vec).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn combinations_are_norms() {
        let parts = [Parts::of(origin::MLP, 3.0), Parts::of(origin::MLP, 4.0), Parts::of(origin::HEAD, 1.0)];
        let total = |how: Combination| how.join(parts.into_iter());
        assert_eq!(total(Combination::WorstCase).0[origin::MLP], 7.0);
        assert_eq!(total(Combination::RootSumSquare).0[origin::MLP], 5.0);
        assert_eq!(Combination::RootSumSquare.combine([3.0, -4.0].into_iter()), 5.0);
        assert_eq!(Combination::WorstCase.combine([3.0, -4.0].into_iter()), 7.0);
    }
}
