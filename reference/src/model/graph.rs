//! The parts that all graphs share, generic over numbers and rung.

use super::norm::{centre, variance};
use super::scalar::{Real, Ring};
use super::weights::{Affine, Norm};
use crate::error::ReferenceError;
use crate::rungs::Rung;
use rayon::prelude::*;
use touchstone_spec::artifact::Function;
use touchstone_spec::hexfloat::HexFloat;

/// Receives the named intermediate values of `r[model.taps]`.
pub trait Observer<S> {
    /// Called once per tap, in the order of evaluation; `values` are in row-major order of `shape`.
    fn tap(&mut self, name: &str, shape: &[usize], values: &[S]);
}

/// Ignores every tap.
impl<S> Observer<S> for () {
    fn tap(&mut self, _: &str, _: &[usize], _: &[S]) {}
}

/// Any closure `(name, shape, values)` observes.
impl<S, F: FnMut(&str, &[usize], &[S])> Observer<S> for F {
    fn tap(&mut self, name: &str, shape: &[usize], values: &[S]) {
        self(name, shape, values);
    }
}

/// One row per token.
pub(super) type Rows<S> = Vec<Vec<S>>;

/// What attention and LayerNorm need to know of a model.
#[derive(Clone, Copy, Debug)]
pub(super) struct Constants {
    /// Attention heads.
    pub heads: usize,
    /// Width of a head.
    pub head_size: usize,
    /// Power p of Power-Softmax.
    pub power: u32,
    /// Added to the denominator of Power-Softmax.
    pub softmax_eps: f64,
    /// Added to the variance in LayerNorm.
    pub norm_eps: f64,
}

/// Everything but the observer, so that rows can be worked on in parallel.
pub(super) struct Frame<'a, S: Ring> {
    pub rung: &'a dyn Rung<S>,
    pub numbers: S::Context,
    pub constants: Constants,
}

/// One run of a graph.
pub(super) struct Pass<'a, S: Ring> {
    pub frame: &'a Frame<'a, S>,
    pub observer: &'a mut dyn Observer<S>,
}

/// Queries, keys and values of all heads side by side, one row per token.
pub(super) struct Projections<S> {
    pub query: Rows<S>,
    pub key: Rows<S>,
    pub value: Rows<S>,
}

impl<S: Ring> Pass<'_, S> {
    /// `(x - mean) / sqrt(var + eps)` of each row (`r[ln.definition]`).
    pub fn normalise(&mut self, tap: &str, site: &str, stream: &Rows<S>) -> Result<Rows<S>, ReferenceError> {
        let frame = self.frame;
        let function = Function::InverseSqrt { shift: HexFloat(frame.constants.norm_eps) };
        let centred: Rows<S> = stream.par_iter().map(|x| centre(x, frame.numbers)).collect();
        let variances: Vec<S> = centred.par_iter().map(|row| variance(row, frame.numbers)).collect();
        self.observer.tap(&format!("{tap}.variance"), &[variances.len()], &variances);
        let inverse = frame.evaluate(site, &function, &variances)?;
        self.observer.tap(&format!("{tap}.inverse-sqrt"), &[inverse.len()], &inverse);
        let scale = |(row, factor): (Vec<S>, &S)| row.iter().map(|x| x.mul(factor)).collect();
        let normalised: Rows<S> = centred.into_par_iter().zip(&inverse).map(scale).collect();
        self.rows(&format!("{tap}.normalised"), &normalised);
        Ok(normalised)
    }

    /// Power-Softmax attention up to the weighted values, heads side by side; row `i` has the live keys `live[i]`.
    ///
    /// `block` is the prefix of tap and site names, scores are divided by `sqrt(head_size) * score_scale`.
    pub fn attention(
        &mut self,
        block: &str,
        projections: &Projections<S>,
        live: &[Vec<usize>],
        score_scale: f64,
    ) -> Result<Rows<S>, ReferenceError> {
        let frame = self.frame;
        let name = |tap: &str| format!("{block}.attention.{tap}");
        let Projections { query, key, value } = projections;
        for (tap, rows) in [("query", query), ("key", key), ("value", value)] {
            self.rows(&name(tap), rows);
        }
        let (heads, tokens) = (frame.constants.heads, query.len());
        let cells: Vec<(usize, usize)> = (0..heads).flat_map(|h| (0..tokens).map(move |i| (h, i))).collect();
        let score = |&(h, i): &(usize, usize)| frame.scores(h, &query[i], key, &live[i], score_scale);
        let scores: Rows<S> = cells.par_iter().map(score).collect();
        self.squares(&name("scores"), heads, live, &scores);
        let powers: Rows<S> = scores.par_iter().map(|row| frame.powers(row)).collect();
        self.squares(&name("powers"), heads, live, &powers);
        let denominators: Vec<S> = powers.iter().map(|row| S::sum(row, frame.numbers)).collect();
        self.observer.tap(&name("denominator"), &[heads, tokens], &denominators);
        let function = Function::Reciprocal { shift: HexFloat(frame.constants.softmax_eps) };
        let reciprocals = frame.evaluate(&format!("{block}.reciprocal"), &function, &denominators)?;
        self.observer.tap(&name("reciprocal"), &[heads, tokens], &reciprocals);
        let mix = |i: usize| {
            let head = |h: usize| frame.mix(h, &live[i], &powers[h * tokens + i], &reciprocals[h * tokens + i], value);
            (0..heads).flat_map(head).collect()
        };
        let mixed: Rows<S> = (0..tokens).into_par_iter().map(mix).collect();
        self.rows(&name("heads"), &mixed);
        Ok(mixed)
    }

    /// `W_down GELU(W_up x + b) + b` of each row; `block` is the prefix of tap and site names.
    pub fn mlp(&mut self, block: &str, up: &Affine, down: &Affine, input: &Rows<S>) -> Result<Rows<S>, ReferenceError> {
        let frame = self.frame;
        let name = |tap: &str| format!("{block}.mlp.{tap}");
        let hidden = frame.affine(up, input);
        self.rows(&name("hidden"), &hidden);
        let site = format!("{block}.gelu");
        let activate = |row: &Vec<S>| frame.evaluate(&site, &Function::Gelu, row);
        let activation = hidden.iter().map(activate).collect::<Result<Rows<S>, _>>()?;
        self.rows(&name("activation"), &activation);
        let output = frame.affine(down, &activation);
        self.centred_rows(&name("output"), &output);
        Ok(output)
    }

    /// Reports rows of equal length as `[token][channel]`.
    pub fn rows(&mut self, name: &str, rows: &Rows<S>) {
        let width = rows.first().map_or(0, Vec::len);
        self.observer.tap(name, &[rows.len(), width], &rows.concat());
    }

    /// Reports rows without their mean over channels (`r[model.centred]`).
    pub fn centred_rows(&mut self, name: &str, rows: &Rows<S>) {
        let numbers = self.frame.numbers;
        let centred: Rows<S> = rows.par_iter().map(|row| centre(row, numbers)).collect();
        self.rows(name, &centred);
    }

    /// Reports live entries as `[head][token][token]`, zero where a key is masked.
    fn squares(&mut self, name: &str, heads: usize, live: &[Vec<usize>], rows: &Rows<S>) {
        let tokens = live.len();
        let zero = S::point(0.0, self.frame.numbers);
        let mut values = vec![zero; heads * tokens * tokens];
        for (cell, row) in rows.iter().enumerate() {
            for (j, x) in live[cell % tokens].iter().zip(row) {
                values[cell * tokens + j] = x.clone();
            }
        }
        self.observer.tap(name, &[heads, tokens, tokens], &values);
    }
}

impl<S: Ring> Frame<'_, S> {
    /// Values of a replaced function.
    pub fn evaluate(&self, site: &str, function: &Function, x: &[S]) -> Result<Vec<S>, ReferenceError> {
        x.par_iter().map(|x| self.rung.evaluate(site, function, x, self.numbers)).collect()
    }

    /// Scores of a query with its live keys (`r[psm.scores]`).
    fn scores(&self, head: usize, query: &[S], key: &Rows<S>, live: &[usize], score_scale: f64) -> Vec<S> {
        let size = self.constants.head_size;
        let range = head * size..(head + 1) * size;
        let divisor = self.constant(size as f64).sqrt().mul(&self.constant(score_scale));
        let score = |&j: &usize| {
            let pairs = query[range.clone()].iter().zip(&key[j][range.clone()]);
            S::inner(pairs, self.numbers).over(&divisor)
        };
        live.iter().map(score).collect()
    }

    /// `x^p / n` for the n live scores of a row.
    fn powers(&self, scores: &[S]) -> Vec<S> {
        let count = self.constant(scores.len() as f64);
        scores.iter().map(|x| x.powi(self.constants.power).over(&count)).collect()
    }

    /// Values of a head weighted by one row of attention.
    fn mix(&self, head: usize, live: &[usize], powers: &[S], reciprocal: &S, value: &Rows<S>) -> Vec<S> {
        let size = self.constants.head_size;
        let channel = |c: usize| {
            let pairs = powers.iter().zip(live).map(|(y, &j)| (y, &value[j][head * size + c]));
            S::inner(pairs, self.numbers).mul(reciprocal)
        };
        (0..size).map(channel).collect()
    }

    /// A public number.
    pub fn constant(&self, x: f64) -> S::Constant {
        S::constant(x, self.numbers)
    }

    /// An affine map of each row.
    pub fn affine(&self, map: &Affine, rows: &Rows<S>) -> Rows<S> {
        rows.par_iter().map(|row| map.apply(row, self.numbers)).collect()
    }

    /// Gain and offset of each row.
    pub fn scaled(&self, norm: &Norm, rows: &Rows<S>) -> Rows<S> {
        rows.par_iter().map(|row| norm.apply(row, self.numbers)).collect()
    }

    /// The sum of two streams.
    pub fn sum(&self, a: &Rows<S>, b: &Rows<S>) -> Rows<S> {
        a.iter().zip(b).map(|(a, b)| a.iter().zip(b).map(|(a, b)| a.add(b)).collect()).collect()
    }
}

/// The first error that a result carries, if any.
pub(super) fn checked<S: Ring>(values: Vec<S>) -> Result<Vec<S>, ReferenceError> {
    values.iter().try_for_each(Ring::check)?;
    Ok(values)
}
