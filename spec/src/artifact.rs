//! The polynomial-model artifact: `config.json` and `polynomials.json` of a model directory (`r[artifact.files]`).
//!
//! Weights are in `model.safetensors` under Hugging Face GPT-NeoX names, the tokenizer in `tokenizer.json`.

mod encoder;
mod family;
mod polynomials;

pub use encoder::{EncoderConfig, EncoderKind, Pooling};
pub use family::AnyConfig;
pub use polynomials::{ErrorKind, Function, POLYNOMIALS_FORMAT, Polynomials, Refinement, Site, Stream, stream_tap};

use crate::SpecError;
use serde::{Deserialize, Serialize};

/// Largest accepted `config.json` and `polynomials.json`, in bytes (`r[artifact.limits]`).
pub const MAX_JSON_BYTES: u64 = 16 << 20;
/// Largest accepted `tokenizer.json`, in bytes.
pub const MAX_TOKENIZER_BYTES: u64 = 64 << 20;
/// Largest accepted `model.safetensors`, in bytes.
pub const MAX_WEIGHTS_BYTES: u64 = 16 << 30;

/// `config.json`: Hugging Face GPT-NeoX field names and a `power_softmax` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelConfig {
    /// Always `gpt_neox`.
    pub model_type: String,
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
    /// Longest context.
    pub max_position_embeddings: usize,
    /// Fraction of each head's dimensions that rotary embedding turns.
    pub rotary_pct: f64,
    /// Base of the rotary frequencies.
    pub rotary_emb_base: f64,
    /// Attention and MLP read the same residual stream.
    pub use_parallel_residual: bool,
    /// Added to the variance in every LayerNorm.
    pub layer_norm_eps: f64,
    /// Always `gelu` (the erf form).
    pub hidden_act: String,
    /// Whether the LM head is the embedding matrix.
    pub tie_word_embeddings: bool,
    /// Parameters of Power-Softmax attention.
    pub power_softmax: PowerSoftmax,
}

/// Parameters of Power-Softmax attention (`r[psm.definition]`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PowerSoftmax {
    /// Even power p.
    pub p: u32,
    /// Added to the denominator.
    pub eps: f64,
    /// Where eps sits; only `mean` is defined (`r[psm.eps]`).
    pub eps_on: String,
    /// Public scale by which scores are divided, the same in every layer.
    pub score_scale: f64,
    /// Public scale per layer; overrides `score_scale` where present.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layer_score_scales: Vec<f64>,
}

impl ModelConfig {
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

    /// Dimensions of a head that rotary embedding turns: `floor(head_size * rotary_pct)`.
    #[must_use]
    pub fn rotary_size(&self) -> usize {
        (self.head_size() as f64 * self.rotary_pct) as usize
    }

    /// Public scale by which the scores of `layer` are divided.
    #[must_use]
    pub fn score_scale(&self, layer: usize) -> f64 {
        self.power_softmax.scale(layer)
    }

    /// Checks every field against what the format admits (`r[artifact.config]`).
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
        ];
        for (name, value, limit) in sizes {
            require(name, (1..=limit).contains(&value), format!("1..={limit}"), value)?;
        }
        let heads = self.num_attention_heads;
        require(
            "num_attention_heads",
            self.hidden_size.is_multiple_of(heads),
            "a divisor of hidden_size".to_owned(),
            heads,
        )?;
        require("model_type", self.model_type == "gpt_neox", "gpt_neox".to_owned(), &self.model_type)?;
        require("hidden_act", self.hidden_act == "gelu", "gelu".to_owned(), &self.hidden_act)?;
        self.check_reals()
    }

    fn check_reals(&self) -> Result<(), SpecError> {
        let pct = self.rotary_pct;
        require("rotary_pct", (0.0..=1.0).contains(&pct), "0..=1".to_owned(), pct)?;
        require(
            "rotary_pct",
            self.rotary_size().is_multiple_of(2),
            "an even number of rotary dimensions".to_owned(),
            pct,
        )?;
        let base = self.rotary_emb_base;
        require("rotary_emb_base", base > 1.0 && base.is_finite(), "a finite number above 1".to_owned(), base)?;
        let eps = self.layer_norm_eps;
        require("layer_norm_eps", eps > 0.0 && eps < 1.0, "a number in (0, 1)".to_owned(), eps)?;
        self.power_softmax.check(self.num_hidden_layers)
    }
}

impl PowerSoftmax {
    /// Public scale by which the scores of `layer` are divided.
    #[must_use]
    pub fn scale(&self, layer: usize) -> f64 {
        self.layer_score_scales.get(layer).copied().unwrap_or(self.score_scale)
    }

    /// Checks every field for a model of `layers` layers (`r[psm.parameters]`, `r[artifact.config]`).
    ///
    /// # Errors
    /// [`SpecError::Field`] for the first offending field.
    pub fn check(&self, layers: usize) -> Result<(), SpecError> {
        let psm = self;
        let even = psm.p >= 2 && psm.p <= 12 && psm.p.is_multiple_of(2);
        require("power_softmax.p", even, "an even number in 2..=12".to_owned(), psm.p)?;
        require("power_softmax.eps", psm.eps > 0.0 && psm.eps < 1.0, "a number in (0, 1)".to_owned(), psm.eps)?;
        require("power_softmax.eps_on", psm.eps_on == "mean", "mean".to_owned(), &psm.eps_on)?;
        let listed = psm.layer_score_scales.len();
        let complete = listed == 0 || listed == layers;
        require("power_softmax.layer_score_scales", complete, "one per layer".to_owned(), listed)?;
        for &scale in psm.layer_score_scales.iter().chain([&psm.score_scale]) {
            require("power_softmax.score_scale", scale > 0.0 && scale.is_finite(), "positive".to_owned(), scale)?;
        }
        Ok(())
    }
}

fn require(field: &str, holds: bool, expected: String, got: impl ToString) -> Result<(), SpecError> {
    if holds {
        return Ok(());
    }
    Err(SpecError::Field { what: format!("config.json, {field}"), expected, got: got.to_string() })
}

/// Names of the sites of a model, in the order in which the model meets them.
#[must_use]
pub fn site_names(config: &ModelConfig) -> Vec<String> {
    let mut names = Vec::new();
    for layer in 0..config.num_hidden_layers {
        names.push(format!("layers.{layer}.inverse-sqrt"));
        names.push(format!("layers.{layer}.reciprocal"));
        if !config.use_parallel_residual {
            names.push(format!("layers.{layer}.mlp-inverse-sqrt"));
        }
        names.push(format!("layers.{layer}.gelu"));
    }
    names.push("final.inverse-sqrt".to_owned());
    names
}
