//! Weights of a GPT-NeoX model; values are binary64 copies of what the file holds, so they are exact.

use super::scalar::Ring;
use touchstone_spec::artifact::ModelConfig;

/// A matrix of `rows x columns`, stored row by row as Hugging Face stores it: output by input.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    /// Number of outputs.
    pub rows: usize,
    /// Number of inputs.
    pub columns: usize,
    /// Entries, row by row.
    pub values: Vec<f64>,
}

impl Matrix {
    /// Row `index`, of length `columns`.
    #[must_use]
    pub fn row(&self, index: usize) -> &[f64] {
        &self.values[index * self.columns..(index + 1) * self.columns]
    }
}

/// An affine map `W x + b`.
#[derive(Clone, Debug, PartialEq)]
pub struct Affine {
    /// W.
    pub weight: Matrix,
    /// b, one entry per row of W.
    pub bias: Vec<f64>,
}

impl Affine {
    /// `W x + b`; `x` has one entry per column of W.
    #[must_use]
    pub fn apply<S: Ring>(&self, x: &[S], context: S::Context) -> Vec<S> {
        (0..self.weight.rows).map(|i| S::affine(self.bias[i], self.weight.row(i), x, context)).collect()
    }
}

/// Gain and offset of a LayerNorm.
#[derive(Clone, Debug, PartialEq)]
pub struct Norm {
    /// Gain, one entry per channel.
    pub gamma: Vec<f64>,
    /// Offset, one entry per channel.
    pub beta: Vec<f64>,
}

impl Norm {
    /// `gamma x + beta` for a normalised `x`.
    #[must_use]
    pub fn apply<S: Ring>(&self, x: &[S], context: S::Context) -> Vec<S> {
        let rows = self.gamma.iter().zip(&self.beta).zip(x);
        rows.map(|((gamma, beta), x)| S::affine(*beta, &[*gamma], std::slice::from_ref(x), context)).collect()
    }
}

/// One transformer block.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// LayerNorm before attention.
    pub attention_norm: Norm,
    /// LayerNorm before the MLP.
    pub mlp_norm: Norm,
    /// Query, key and value projection, interleaved by head (`r[model.qkv]`): `3d x d`.
    pub query_key_value: Affine,
    /// Output projection of attention: `d x d`.
    pub output: Affine,
    /// First MLP map: `f x d`.
    pub up: Affine,
    /// Second MLP map: `d x f`.
    pub down: Affine,
}

/// A GPT-NeoX decoder with Power-Softmax attention.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// Sizes and constants.
    pub config: ModelConfig,
    /// One row per token.
    pub embedding: Matrix,
    /// The blocks, first to last.
    pub layers: Vec<Layer>,
    /// LayerNorm before the head.
    pub final_norm: Norm,
    /// LM head: `vocabulary x d`.
    pub head: Matrix,
}
