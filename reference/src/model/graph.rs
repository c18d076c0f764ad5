//! The forward pass, generic over numbers and rung.

use super::norm::{centre, variance};
use super::scalar::Scalar;
use super::weights::{Affine, Layer, Model, Norm};
use crate::error::ReferenceError;
use crate::rungs::{Rung, site_function};
use rayon::prelude::*;

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

/// Logits at position `position` of `tokens` (`r[model.head]`): one number per vocabulary entry.
///
/// Every token goes through every layer; causality makes the positions after `position` irrelevant to the result, but
/// their taps are reported and their inputs guarded as well.
///
/// # Errors
/// [`ReferenceError::BadOperand`] for no tokens, more than the context, a token outside the vocabulary or a position
/// outside the prompt; what the rung refuses, such as [`ReferenceError::Escape`].
pub fn forward<S: Scalar>(
    model: &Model,
    tokens: &[u32],
    position: usize,
    rung: &dyn Rung<S>,
    precision: S::Precision,
    observer: &mut dyn Observer<S>,
) -> Result<Vec<S>, ReferenceError> {
    let config = &model.config;
    let refuse =
        |expected: String, got: String| ReferenceError::BadOperand { operation: "forward pass", expected, got };
    if tokens.len() > config.max_position_embeddings || position >= tokens.len() {
        let expected = format!("position < number of tokens <= {}", config.max_position_embeddings);
        return Err(refuse(expected, format!("position {position} of {} tokens", tokens.len())));
    }
    if let Some(token) = tokens.iter().find(|&&token| token as usize >= config.vocab_size) {
        return Err(refuse(format!("tokens below {}", config.vocab_size), token.to_string()));
    }
    let context = Context { model, rung, precision };
    Pass { context: &context, observer }.run(tokens, position)
}

/// Everything but the observer, so that rows can be worked on in parallel.
struct Context<'a, S: Scalar> {
    model: &'a Model,
    rung: &'a dyn Rung<S>,
    precision: S::Precision,
}

struct Pass<'a, S: Scalar> {
    context: &'a Context<'a, S>,
    observer: &'a mut dyn Observer<S>,
}

/// One row per token.
type Rows<S> = Vec<Vec<S>>;

impl<S: Scalar> Pass<'_, S> {
    fn run(&mut self, tokens: &[u32], position: usize) -> Result<Vec<S>, ReferenceError> {
        let context = self.context;
        let (model, precision) = (context.model, context.precision);
        let embed =
            |token: &u32| model.embedding.row(*token as usize).iter().map(|&x| S::point(x, precision)).collect();
        let mut stream: Rows<S> = tokens.iter().map(embed).collect();
        self.centred_rows("embedding", &stream);
        for (index, layer) in model.layers.iter().enumerate() {
            stream = self.block(index, layer, stream)?;
            let centred: Rows<S> = stream.par_iter().map(|x| centre(x, precision)).collect();
            self.rows(&format!("layers.{index}.residual"), &centred);
        }
        let normalised = self.normalise("final.layernorm", "final.inverse-sqrt", &stream)?;
        let last = model.final_norm.apply(&normalised[position], precision);
        let logits: Vec<S> =
            (0..model.head.rows).into_par_iter().map(|i| S::affine(0.0, model.head.row(i), &last, precision)).collect();
        self.observer.tap("logits", &[logits.len()], &logits);
        Ok(logits)
    }

    fn block(&mut self, index: usize, layer: &Layer, stream: Rows<S>) -> Result<Rows<S>, ReferenceError> {
        let context = self.context;
        let site = |kind: &str| format!("layers.{index}.{kind}");
        let normalised = self.normalise(&site("layernorm"), &site("inverse-sqrt"), &stream)?;
        let attention = self.attention(index, layer, &context.scaled(&layer.attention_norm, &normalised))?;
        let after_attention = context.sum(&stream, &attention);
        let mlp_input = if context.model.config.use_parallel_residual {
            normalised
        } else {
            self.normalise(&site("mlp-layernorm"), &site("mlp-inverse-sqrt"), &after_attention)?
        };
        let mlp = self.mlp(index, layer, &context.scaled(&layer.mlp_norm, &mlp_input))?;
        Ok(context.sum(&after_attention, &mlp))
    }

    /// `(x - mean) / sqrt(var + eps)` of each row (`r[ln.definition]`).
    fn normalise(&mut self, tap: &str, site: &str, stream: &Rows<S>) -> Result<Rows<S>, ReferenceError> {
        let context = self.context;
        let precision = context.precision;
        let function = site_function(&context.model.config, site);
        let centred: Rows<S> = stream.par_iter().map(|x| centre(x, precision)).collect();
        let variances: Vec<S> = centred.par_iter().map(|row| variance(row, precision)).collect();
        self.observer.tap(&format!("{tap}.variance"), &[variances.len()], &variances);
        let evaluate = |x: &S| context.rung.evaluate(site, &function, x, precision);
        let inverse = variances.par_iter().map(evaluate).collect::<Result<Vec<S>, _>>()?;
        self.observer.tap(&format!("{tap}.inverse-sqrt"), &[inverse.len()], &inverse);
        let scale = |(row, factor): (Vec<S>, &S)| row.iter().map(|x| x.mul(factor)).collect();
        let normalised: Rows<S> = centred.into_par_iter().zip(&inverse).map(scale).collect();
        self.rows(&format!("{tap}.normalised"), &normalised);
        Ok(normalised)
    }

    fn attention(&mut self, index: usize, layer: &Layer, input: &Rows<S>) -> Result<Rows<S>, ReferenceError> {
        let context = self.context;
        let name = |tap: &str| format!("layers.{index}.attention.{tap}");
        let projected = context.affine(&layer.query_key_value, input);
        let [query, key, value] = context.split(&projected);
        for (tap, rows) in [("query", &query), ("key", &key), ("value", &value)] {
            self.rows(&name(tap), rows);
        }
        let config = &context.model.config;
        let (heads, tokens) = (config.num_attention_heads, input.len());
        let cells: Vec<(usize, usize)> = (0..heads).flat_map(|h| (0..tokens).map(move |i| (h, i))).collect();
        let scores: Rows<S> = cells.par_iter().map(|&(h, i)| context.scores(index, h, i, &query, &key)).collect();
        self.squares(&name("scores"), heads, &scores);
        let powers: Rows<S> = scores.par_iter().map(|row| context.powers(row)).collect();
        self.squares(&name("powers"), heads, &powers);
        let zero = S::point(0.0, context.precision);
        let denominators: Vec<S> =
            powers.iter().map(|row| row.iter().fold(zero.clone(), |sum, y| sum.add(y))).collect();
        self.observer.tap(&name("denominator"), &[heads, tokens], &denominators);
        let site = format!("layers.{index}.reciprocal");
        let function = site_function(config, &site);
        let evaluate = |x: &S| context.rung.evaluate(&site, &function, x, context.precision);
        let reciprocals = denominators.par_iter().map(evaluate).collect::<Result<Vec<S>, _>>()?;
        self.observer.tap(&name("reciprocal"), &[heads, tokens], &reciprocals);
        let mixed: Rows<S> = (0..tokens)
            .into_par_iter()
            .map(|i| {
                (0..heads)
                    .flat_map(|h| context.mix(h, &powers[h * tokens + i], &reciprocals[h * tokens + i], &value))
                    .collect()
            })
            .collect();
        self.rows(&name("heads"), &mixed);
        let output = context.affine(&layer.output, &mixed);
        self.centred_rows(&name("output"), &output);
        Ok(output)
    }

    fn mlp(&mut self, index: usize, layer: &Layer, input: &Rows<S>) -> Result<Rows<S>, ReferenceError> {
        let context = self.context;
        let name = |tap: &str| format!("layers.{index}.mlp.{tap}");
        let hidden = context.affine(&layer.up, input);
        self.rows(&name("hidden"), &hidden);
        let site = format!("layers.{index}.gelu");
        let function = site_function(&context.model.config, &site);
        let evaluate = |x: &S| context.rung.evaluate(&site, &function, x, context.precision);
        let activation = hidden
            .par_iter()
            .map(|row| row.iter().map(evaluate).collect::<Result<Vec<S>, _>>())
            .collect::<Result<Rows<S>, _>>()?;
        self.rows(&name("activation"), &activation);
        let output = context.affine(&layer.down, &activation);
        self.centred_rows(&name("output"), &output);
        Ok(output)
    }

    /// Reports rows of equal length as `[token][channel]`.
    fn rows(&mut self, name: &str, rows: &Rows<S>) {
        let width = rows.first().map_or(0, Vec::len);
        self.observer.tap(name, &[rows.len(), width], &rows.concat());
    }

    /// Reports rows without their mean over channels (`r[model.centred]`).
    fn centred_rows(&mut self, name: &str, rows: &Rows<S>) {
        let precision = self.context.precision;
        let centred: Rows<S> = rows.par_iter().map(|row| centre(row, precision)).collect();
        self.rows(name, &centred);
    }

    /// Reports live rows as `[head][token][token]`, zero above the diagonal.
    fn squares(&mut self, name: &str, heads: usize, rows: &Rows<S>) {
        let tokens = rows.len() / heads;
        let zero = S::point(0.0, self.context.precision);
        let mut values = Vec::with_capacity(rows.len() * tokens);
        for row in rows {
            values.extend_from_slice(row);
            values.resize(values.len() + tokens - row.len(), zero.clone());
        }
        self.observer.tap(name, &[heads, tokens, tokens], &values);
    }
}

impl<S: Scalar> Context<'_, S> {
    /// Queries, keys and values with heads side by side (`r[model.qkv]`), queries and keys turned (`r[model.rotary]`).
    fn split(&self, projected: &Rows<S>) -> [Rows<S>; 3] {
        let config = &self.model.config;
        let size = config.head_size();
        let angles: Vec<Vec<[S; 2]>> = (0..projected.len())
            .map(|t| {
                let rotary = config.rotary_size();
                let angle = |i| S::rotation(t, i, rotary, config.rotary_emb_base, self.precision);
                (0..rotary / 2).map(angle).collect()
            })
            .collect();
        let part = |which: usize| -> Rows<S> {
            let gather = |(row, angles): (&Vec<S>, &Vec<[S; 2]>)| {
                let mut gathered = Vec::with_capacity(config.hidden_size);
                for head in 0..config.num_attention_heads {
                    let start = (3 * head + which) * size;
                    let mut values = row[start..start + size].to_vec();
                    if which < 2 {
                        turn(&mut values, angles);
                    }
                    gathered.append(&mut values);
                }
                gathered
            };
            projected.par_iter().zip(&angles).map(gather).collect()
        };
        [part(0), part(1), part(2)]
    }

    /// Scores of query `i` with its live keys `0..=i` (`r[psm.scores]`).
    fn scores(&self, layer: usize, head: usize, i: usize, query: &Rows<S>, key: &Rows<S>) -> Vec<S> {
        let config = &self.model.config;
        let range = head * config.head_size()..(head + 1) * config.head_size();
        let size = S::point(config.head_size() as f64, self.precision).sqrt();
        let divisor = size.mul(&S::point(config.score_scale(layer), self.precision));
        let score = |j: usize| {
            let pairs = query[i][range.clone()].iter().zip(&key[j][range.clone()]);
            S::inner(pairs, self.precision).div(&divisor)
        };
        (0..=i).map(score).collect()
    }

    /// `x^p / n` for the n live scores of a row.
    fn powers(&self, scores: &[S]) -> Vec<S> {
        let count = S::point(scores.len() as f64, self.precision);
        scores.iter().map(|x| x.powi(self.model.config.power_softmax.p).div(&count)).collect()
    }

    /// Values of a head weighted by one row of attention.
    fn mix(&self, head: usize, powers: &[S], reciprocal: &S, value: &Rows<S>) -> Vec<S> {
        let size = self.model.config.head_size();
        let channel = |c: usize| {
            let pairs = powers.iter().zip(value).map(|(y, row)| (y, &row[head * size + c]));
            S::inner(pairs, self.precision).mul(reciprocal)
        };
        (0..size).map(channel).collect()
    }

    fn affine(&self, map: &Affine, rows: &Rows<S>) -> Rows<S> {
        rows.par_iter().map(|row| map.apply(row, self.precision)).collect()
    }

    fn scaled(&self, norm: &Norm, rows: &Rows<S>) -> Rows<S> {
        rows.par_iter().map(|row| norm.apply(row, self.precision)).collect()
    }

    fn sum(&self, a: &Rows<S>, b: &Rows<S>) -> Rows<S> {
        a.iter().zip(b).map(|(a, b)| a.iter().zip(b).map(|(a, b)| a.add(b)).collect()).collect()
    }
}

/// Turns the pairs `(i, i + angles.len())` of a head's first dimensions.
fn turn<S: Scalar>(values: &mut [S], angles: &[[S; 2]]) {
    let half = angles.len();
    for (i, [cos, sin]) in angles.iter().enumerate() {
        let (a, b) = (values[i].clone(), values[i + half].clone());
        values[i] = a.mul(cos).sub(&b.mul(sin));
        values[i + half] = b.mul(cos).add(&a.mul(sin));
    }
}
