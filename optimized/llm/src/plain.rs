//! The model in binary64: the anchor that encrypted results are compared with.
//!
//! Written for clarity over whole matrices, sharing no code with the encrypted circuit. `Functions::Polynomial` is the model
//! that the circuit evaluates; `Functions::Exact` has the true inverse square root, reciprocal and GELU.

mod encoder;

pub use encoder::classify;

use crate::artifact::{Linear, Model, Norm};
use crate::error::{LlmError, Result};
use crate::tap::Tensor;
use touchstone_spec::artifact::{Function, Refinement, Site};

/// Which functions stand at the sites of `polynomials.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Functions {
    /// The functions themselves (rung R0).
    Exact,
    /// Their replacements (rung R1).
    Polynomial,
}

/// An input that lies outside the interval on which its replacement is certified.
#[derive(Clone, Debug, PartialEq)]
pub struct Escape {
    /// The site.
    pub site: String,
    /// The input.
    pub value: f64,
    /// The certified interval.
    pub interval: [f64; 2],
}

/// Every tap of a forward pass, and the inputs that left their intervals.
#[derive(Clone, Debug)]
pub struct Pass {
    /// Taps of `r[model.taps]` in order. `attention.output`, `mlp.output` and `residual` have their mean over channels removed,
    /// as the circuit computes them (`r[model.centred]`). `logits` is last.
    pub taps: Vec<Tensor>,
    /// Inputs outside their intervals, at most one (the worst) per site.
    pub escapes: Vec<Escape>,
}

impl Pass {
    /// The tap called `name`.
    #[must_use]
    pub fn tap(&self, name: &str) -> Option<&Tensor> {
        self.taps.iter().find(|tap| tap.name == name)
    }

    /// Logits of the last token.
    #[must_use]
    pub fn logits(&self) -> &[f64] {
        self.taps.last().map_or(&[], |tap| &tap.values)
    }
}

/// Runs the model on `tokens` and returns every tap; logits are those of position `last`.
///
/// # Errors
/// [`LlmError::Prompt`] for an empty prompt, a token outside the vocabulary or `last` outside the prompt.
pub fn forward(model: &Model, tokens: &[u32], last: usize, functions: Functions) -> Result<Pass> {
    let mut run = Run { model, functions, causal: true, taps: Vec::new(), escapes: Vec::new() };
    let mut x = run.embed(tokens)?;
    run.push("embedding", &x);
    if last >= tokens.len() {
        let (expected, got) = (format!("a position below {}", tokens.len()), last.to_string());
        return Err(LlmError::Prompt { expected, got });
    }
    for layer in 0..model.layers.len() {
        x = run.block(layer, x)?;
    }
    let normal = run.normalise("final.layernorm", "final.inverse-sqrt", &x)?;
    let y = affine(&model.final_norm, &normal[last]);
    let logits = model.head.apply(&y);
    run.taps.push(Tensor { name: "logits".to_owned(), shape: vec![logits.len()], values: logits });
    Ok(Pass { taps: run.taps, escapes: run.escapes })
}

type Rows = Vec<Vec<f64>>;

struct Run<'a> {
    model: &'a Model,
    functions: Functions,
    /// Whether token `i` sees tokens up to `i` only; else it sees all.
    causal: bool,
    taps: Vec<Tensor>,
    escapes: Vec<Escape>,
}

impl Run<'_> {
    fn embed(&self, tokens: &[u32]) -> Result<Rows> {
        let vocabulary = self.model.embedding.rows;
        if tokens.is_empty() {
            return Err(LlmError::Prompt { expected: "at least one token".to_owned(), got: "none".to_owned() });
        }
        let row = |&token: &u32| match (token as usize) < vocabulary {
            true => Ok(self.model.embedding.entries(token as usize).collect()),
            false => {
                Err(LlmError::Prompt { expected: format!("token ids below {vocabulary}"), got: token.to_string() })
            }
        };
        let mut x = tokens.iter().map(row).collect::<Result<Rows>>()?;
        centre(&mut x);
        Ok(x)
    }

    fn block(&mut self, layer: usize, x: Rows) -> Result<Rows> {
        let model = self.model;
        let weights = &model.layers[layer];
        let prefix = format!("layers.{layer}");
        let normal = self.normalise(&format!("{prefix}.layernorm"), &format!("{prefix}.inverse-sqrt"), &x)?;
        let attention = self.attention(layer, &each(&normal, |row| affine(&weights.attention_norm, row)))?;
        let mut next = sum(&x, &attention);
        let normal = match model.config.use_parallel_residual {
            true => normal,
            false => {
                self.normalise(&format!("{prefix}.mlp-layernorm"), &format!("{prefix}.mlp-inverse-sqrt"), &next)?
            }
        };
        let mlp = self.mlp(layer, &each(&normal, |row| affine(&weights.mlp_norm, row)))?;
        next = sum(&next, &mlp);
        self.push(&format!("{prefix}.residual"), &next);
        Ok(next)
    }

    /// `(x - mean) / sqrt(var + eps)`; taps variance, inverse square root and result.
    fn normalise(&mut self, prefix: &str, site: &str, x: &Rows) -> Result<Rows> {
        let mut normal = x.clone();
        centre(&mut normal);
        let width = self.model.config.hidden_size as f64;
        let variance: Vec<f64> = normal.iter().map(|row| row.iter().map(|v| v * v).sum::<f64>() / width).collect();
        let inverse = variance.iter().map(|&v| self.function(site, v)).collect::<Result<Vec<f64>>>()?;
        for (row, r) in normal.iter_mut().zip(&inverse) {
            row.iter_mut().for_each(|v| *v *= r);
        }
        self.push_flat(&format!("{prefix}.variance"), vec![variance.len()], variance);
        self.push_flat(&format!("{prefix}.inverse-sqrt"), vec![inverse.len()], inverse);
        self.push(&format!("{prefix}.normalised"), &normal);
        Ok(normal)
    }

    fn attention(&mut self, layer: usize, x: &Rows) -> Result<Rows> {
        let config = &self.model.config;
        let (d, heads, width, tokens) = (config.hidden_size, config.num_attention_heads, config.head_size(), x.len());
        let qkv = each(x, |row| linear(&self.model.layers[layer].qkv, row));
        let part = |which: usize| -> Rows {
            let pick = |row: &Vec<f64>| (0..d).map(|c| row[(c / width * 3 + which) * width + c % width]).collect();
            qkv.iter().map(pick).collect()
        };
        let (query, key, value) = (self.turn(part(0)), self.turn(part(1)), part(2));
        let prefix = format!("layers.{layer}.attention");
        self.push(&format!("{prefix}.query"), &query);
        self.push(&format!("{prefix}.key"), &key);
        self.push(&format!("{prefix}.value"), &value);
        let scale = (width as f64).sqrt() * config.score_scale(layer);
        let power = config.power_softmax.p as i32;
        let shape = vec![heads, tokens, tokens];
        let causal = self.causal;
        let live = |i: usize| if causal { i + 1 } else { tokens };
        let scores = scores(&query, &key, (width, scale), live);
        let mean = |(at, x): (usize, &f64)| x.powi(power) / live(at / tokens % tokens) as f64;
        let powers: Vec<f64> = scores.iter().enumerate().map(mean).collect();
        let denominator: Vec<f64> = powers.chunks(tokens).map(|row| row.iter().sum()).collect();
        let site = format!("layers.{layer}.reciprocal");
        let reciprocal = denominator.iter().map(|&s| self.function(&site, s)).collect::<Result<Vec<f64>>>()?;
        let mut mixed = vec![vec![0.0; d]; tokens];
        for (i, row) in mixed.iter_mut().enumerate() {
            for (c, out) in row.iter_mut().enumerate() {
                let at = c / width * tokens + i;
                let weighted: f64 = (0..live(i)).map(|j| powers[at * tokens + j] * value[j][c]).sum();
                *out = weighted * reciprocal[at];
            }
        }
        self.push_flat(&format!("{prefix}.scores"), shape.clone(), scores);
        self.push_flat(&format!("{prefix}.powers"), shape, powers);
        self.push_flat(&format!("{prefix}.denominator"), vec![heads, tokens], denominator);
        self.push_flat(&format!("{prefix}.reciprocal"), vec![heads, tokens], reciprocal);
        self.push(&format!("{prefix}.heads"), &mixed);
        let mut output = each(&mixed, |row| linear(&self.model.layers[layer].dense, row));
        centre(&mut output);
        self.push(&format!("{prefix}.output"), &output);
        Ok(output)
    }

    /// Rotary embedding (`r[model.rotary]`).
    fn turn(&self, mut x: Rows) -> Rows {
        let config = &self.model.config;
        let (width, half) = (config.head_size(), config.rotary_size() / 2);
        for (tau, row) in x.iter_mut().enumerate() {
            for head in row.chunks_mut(width) {
                for i in 0..half {
                    let angle = rotary_angle(config.rotary_emb_base, tau, i, half);
                    let (a, b, (sin, cos)) = (head[i], head[i + half], angle.sin_cos());
                    head[i] = a * cos - b * sin;
                    head[i + half] = b * cos + a * sin;
                }
            }
        }
        x
    }

    fn mlp(&mut self, layer: usize, x: &Rows) -> Result<Rows> {
        let hidden = each(x, |row| linear(&self.model.layers[layer].up, row));
        let site = format!("layers.{layer}.gelu");
        let mut active = hidden.clone();
        for value in active.iter_mut().flatten() {
            *value = self.function(&site, *value)?;
        }
        let mut output = each(&active, |row| linear(&self.model.layers[layer].down, row));
        centre(&mut output);
        self.push(&format!("layers.{layer}.mlp.hidden"), &hidden);
        self.push(&format!("layers.{layer}.mlp.activation"), &active);
        self.push(&format!("layers.{layer}.mlp.output"), &output);
        Ok(output)
    }

    fn function(&mut self, site: &str, x: f64) -> Result<f64> {
        let entry = self.model.site(site)?;
        let interval = entry.interval.map(|bound| bound.0);
        if !(interval[0]..=interval[1]).contains(&x) {
            self.escape(Escape { site: site.to_owned(), value: x, interval });
        }
        Ok(match self.functions {
            Functions::Exact => exact(&entry.function, x),
            Functions::Polynomial => replacement(entry, x),
        })
    }

    fn escape(&mut self, found: Escape) {
        let excess = |escape: &Escape| (escape.interval[0] - escape.value).max(escape.value - escape.interval[1]);
        match self.escapes.iter_mut().find(|known| known.site == found.site) {
            Some(known) if excess(known) < excess(&found) => *known = found,
            Some(_) => {}
            None => self.escapes.push(found),
        }
    }

    fn push(&mut self, name: &str, rows: &Rows) {
        let shape = vec![rows.len(), rows.first().map_or(0, Vec::len)];
        self.push_flat(name, shape, rows.concat());
    }

    fn push_flat(&mut self, name: &str, shape: Vec<usize>, values: Vec<f64>) {
        self.taps.push(Tensor { name: name.to_owned(), shape, values });
    }
}

/// `q_i . k_j / scale` per head for `j < live(i)`, 0 elsewhere; shape `[head][token][token]`.
fn scores(query: &Rows, key: &Rows, (width, scale): (usize, f64), live: impl Fn(usize) -> usize) -> Vec<f64> {
    let tokens = query.len();
    let heads = query.first().map_or(0, |row| row.len() / width);
    let mut scores = vec![0.0; heads * tokens * tokens];
    for (at, score) in scores.iter_mut().enumerate() {
        let (head, i, j) = (at / (tokens * tokens), at / tokens % tokens, at % tokens);
        if j < live(i) {
            let span = head * width..(head + 1) * width;
            let products = query[i][span.clone()].iter().zip(&key[j][span]).map(|(a, b)| a * b);
            *score = products.sum::<f64>() / scale;
        }
    }
    scores
}

/// Angle by which rotary embedding turns pair `i` of `half` at position `tau`.
pub(crate) fn rotary_angle(base: f64, tau: usize, i: usize, half: usize) -> f64 {
    tau as f64 * base.powf(-(i as f64) / half as f64)
}

/// A site's function itself.
#[must_use]
pub fn exact(function: &Function, x: f64) -> f64 {
    match function {
        Function::InverseSqrt { shift } => 1.0 / (x + shift.0).sqrt(),
        Function::Reciprocal { shift } => 1.0 / (x + shift.0),
        Function::Gelu => 0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2)),
        Function::Tanh => libm::tanh(x),
    }
}

/// A site's replacement: Chebyshev sum by Clenshaw's recurrence, then the refinement.
#[must_use]
pub fn replacement(site: &Site, x: f64) -> f64 {
    let [a, b] = site.interval.map(|bound| bound.0);
    let coefficients: Vec<f64> = site.coefficients.iter().map(|c| c.0).collect();
    let mut y = chebyshev(&coefficients, (2.0 * x - a - b) / (b - a));
    if let Refinement::Newton { iterations } = site.refinement {
        for _ in 0..iterations {
            y = match &site.function {
                Function::InverseSqrt { shift } => y * (3.0 - (x + shift.0) * y * y) / 2.0,
                Function::Reciprocal { shift } => y * (2.0 - (x + shift.0) * y),
                Function::Gelu | Function::Tanh => y,
            };
        }
    }
    y
}

/// `sum_k c_k T_k(u)` by Clenshaw's recurrence.
#[must_use]
pub fn chebyshev(coefficients: &[f64], u: f64) -> f64 {
    let (mut b1, mut b2) = (0.0, 0.0);
    for &c in coefficients.iter().skip(1).rev() {
        (b1, b2) = (2.0 * u * b1 - b2 + c, b1);
    }
    coefficients.first().copied().unwrap_or(0.0) + u * b1 - b2
}

fn linear(layer: &Linear<f32>, x: &[f64]) -> Vec<f64> {
    layer.weight.apply(x).iter().zip(&layer.bias).map(|(y, b)| y + b).collect()
}

fn affine(norm: &Norm, x: &[f64]) -> Vec<f64> {
    x.iter().zip(&norm.gain).zip(&norm.shift).map(|((v, g), s)| v * g + s).collect()
}

fn each(rows: &Rows, f: impl Fn(&[f64]) -> Vec<f64>) -> Rows {
    rows.iter().map(|row| f(row)).collect()
}

fn sum(a: &Rows, b: &Rows) -> Rows {
    a.iter().zip(b).map(|(x, y)| x.iter().zip(y).map(|(u, v)| u + v).collect()).collect()
}

fn centre(rows: &mut Rows) {
    for row in rows {
        let mean = row.iter().sum::<f64>() / row.len() as f64;
        row.iter_mut().for_each(|v| *v -= mean);
    }
}
