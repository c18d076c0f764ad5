//! `config.json` of an encoder.

use super::{PowerSoftmax, require};
use crate::SpecError;
use serde::{Deserialize, Serialize};

/// `config.json` of a BERT or RoBERTa encoder (`r[encoder.config]`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EncoderConfig {
    /// Which family: tensor names and positions differ.
    pub model_type: EncoderKind,
    /// Hidden width d.
    pub hidden_size: usize,
    /// Number of transformer blocks.
    pub num_hidden_layers: usize,
    /// Attention heads; divides `hidden_size`.
    pub num_attention_heads: usize,
    /// Width of the MLP's hidden layer.
    pub intermediate_size: usize,
    /// Number of tokens.
    pub vocab_size: usize,
    /// Rows of the position table.
    pub max_position_embeddings: usize,
    /// Rows of the segment table.
    pub type_vocab_size: usize,
    /// Added to the variance in every LayerNorm.
    pub layer_norm_eps: f64,
    /// Always `gelu` (the erf form).
    pub hidden_act: String,
    /// Token of padding; RoBERTa's positions start behind it.
    #[serde(default)]
    pub pad_token_id: usize,
    /// Number of classes.
    #[serde(default = "two")]
    pub num_labels: usize,
    /// What the classifier reads.
    #[serde(default)]
    pub pooling: Pooling,
    /// Parameters of Power-Softmax attention.
    pub power_softmax: PowerSoftmax,
}

/// Families of encoders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EncoderKind {
    /// Positions count from 0.
    Bert,
    /// Positions count from `pad_token_id + 1`.
    Roberta,
}

/// What the classifier of an encoder reads (`r[encoder.head]`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pooling {
    /// The first token, through a dense map and tanh.
    #[default]
    First,
    /// The mean over live tokens.
    Mean,
}

fn two() -> usize {
    2
}

impl EncoderConfig {
    /// Reads and checks `config.json`.
    ///
    /// # Errors
    /// [`SpecError::Json`] for malformed text, [`SpecError::Field`] naming the first field whose value is not admitted.
    pub fn from_json(text: &str) -> Result<Self, SpecError> {
        let config: Self =
            serde_json::from_str(text).map_err(|source| SpecError::Json { what: "config.json".to_owned(), source })?;
        config.check()?;
        Ok(config)
    }

    /// Width of one head.
    #[must_use]
    pub fn head_size(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }

    /// Row of the position table for the first token (`r[encoder.embed]`).
    #[must_use]
    pub fn first_position(&self) -> usize {
        match self.model_type {
            EncoderKind::Bert => 0,
            EncoderKind::Roberta => self.pad_token_id + 1,
        }
    }

    /// Longest input: what the position table has rows for.
    #[must_use]
    pub fn max_tokens(&self) -> usize {
        self.max_position_embeddings.saturating_sub(self.first_position())
    }

    /// Names of the sites in the order in which the model meets them (`r[encoder.sites]`).
    #[must_use]
    pub fn site_names(&self) -> Vec<String> {
        let mut names = vec!["embedding.inverse-sqrt".to_owned()];
        for layer in 0..self.num_hidden_layers {
            let kinds = ["reciprocal", "attention-inverse-sqrt", "gelu", "mlp-inverse-sqrt"];
            names.extend(kinds.map(|kind| format!("layers.{layer}.{kind}")));
        }
        if self.pooling == Pooling::First {
            names.push("pooler.tanh".to_owned());
        }
        names
    }

    /// Checks every field against what the format admits (`r[encoder.config]`).
    ///
    /// # Errors
    /// [`SpecError::Field`] for the first offending field.
    pub fn check(&self) -> Result<(), SpecError> {
        let sizes = [
            ("hidden_size", self.hidden_size, 1 << 16),
            ("num_hidden_layers", self.num_hidden_layers, 1 << 10),
            ("num_attention_heads", self.num_attention_heads, 1 << 10),
            ("intermediate_size", self.intermediate_size, 1 << 18),
            ("vocab_size", self.vocab_size, 1 << 20),
            ("max_position_embeddings", self.max_position_embeddings, 1 << 20),
            ("type_vocab_size", self.type_vocab_size, 1 << 10),
            ("num_labels", self.num_labels, 1 << 16),
        ];
        for (name, value, limit) in sizes {
            require(name, (1..=limit).contains(&value), format!("1..={limit}"), value)?;
        }
        let divides = self.hidden_size.is_multiple_of(self.num_attention_heads);
        require(
            "num_attention_heads",
            divides,
            format!("a divisor of {}", self.hidden_size),
            self.num_attention_heads,
        )?;
        require("hidden_act", self.hidden_act == "gelu", "gelu".to_owned(), &self.hidden_act)?;
        require("pad_token_id", self.pad_token_id < self.vocab_size, "a token".to_owned(), self.pad_token_id)?;
        let rows = self.max_position_embeddings;
        require("max_position_embeddings", self.max_tokens() > 0, "rows behind the padding token".to_owned(), rows)?;
        let eps = self.layer_norm_eps;
        require("layer_norm_eps", eps > 0.0 && eps < 1.0, "a number in (0, 1)".to_owned(), eps)?;
        self.power_softmax.check(self.num_hidden_layers)
    }
}
