//! The polynomial-model artifact: `config.json` and `polynomials.json` of a model directory (`r[artifact.files]`).
//!
//! Weights are in `model.safetensors` under Hugging Face GPT-NeoX names, the tokenizer in `tokenizer.json`.

use crate::SpecError;
use crate::hexfloat::HexFloat;
use serde::{Deserialize, Serialize};

/// Largest accepted `config.json` and `polynomials.json`, in bytes (`r[artifact.limits]`).
pub const MAX_JSON_BYTES: u64 = 16 << 20;
/// Largest accepted `tokenizer.json`, in bytes.
pub const MAX_TOKENIZER_BYTES: u64 = 64 << 20;
/// Largest accepted `model.safetensors`, in bytes.
pub const MAX_WEIGHTS_BYTES: u64 = 16 << 30;
/// Version tag of `polynomials.json`.
pub const POLYNOMIALS_FORMAT: &str = "touchstone-polynomials-1";

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

/// `polynomials.json`: what replaces each non-polynomial function of the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Polynomials {
    /// [`POLYNOMIALS_FORMAT`].
    pub format: String,
    /// How the intervals were found: data, number of tokens, margin.
    pub calibration: String,
    /// One entry per site, in the order in which the model meets them.
    pub sites: Vec<Site>,
}

/// One replaced function (`r[artifact.site]`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// `layers.I.inverse-sqrt`, `layers.I.reciprocal`, `layers.I.gelu` or `final.inverse-sqrt`; a sequential-residual
    /// block has `layers.I.mlp-inverse-sqrt` too. Encoders: `r[encoder.sites]`.
    pub site: String,
    /// The function that is replaced.
    pub function: Function,
    /// Smallest and largest input seen in calibration.
    pub observed: [HexFloat; 2],
    /// Interval on which the replacement is certified.
    pub interval: [HexFloat; 2],
    /// Chebyshev coefficients `c_0, c_1, ...` on `interval`: `sum_k c_k T_k((2x - a - b) / (b - a))`.
    pub coefficients: Vec<HexFloat>,
    /// Iterations that refine the polynomial's value.
    pub refinement: Refinement,
    /// Certified supremum of the error on `interval`, refinement included, in exact arithmetic.
    pub sup_error: HexFloat,
    /// Whether `sup_error` is absolute or relative to the function's value.
    pub error_kind: ErrorKind,
}

/// The functions that a model replaces.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Function {
    /// `1 / sqrt(x + shift)`.
    InverseSqrt {
        /// The LayerNorm epsilon.
        shift: HexFloat,
    },
    /// `1 / (x + shift)`.
    Reciprocal {
        /// The Power-Softmax epsilon.
        shift: HexFloat,
    },
    /// `x (1 + erf(x / sqrt 2)) / 2`.
    Gelu,
    /// The hyperbolic tangent.
    Tanh,
}

/// Iterations after the polynomial (`r[approx.refinement]`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Refinement {
    /// The polynomial alone.
    None,
    /// Newton: `y (3 - (x + shift) y^2) / 2` for inverse square roots, `y (2 - (x + shift) y)` for reciprocals.
    Newton {
        /// Number of iterations.
        iterations: u32,
    },
}

/// What a certified error is relative to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// `|polynomial - function|`.
    Absolute,
    /// `|polynomial / function - 1|`.
    Relative,
}

impl Polynomials {
    /// Reads and checks `polynomials.json` against its model (`r[artifact.polynomials]`).
    ///
    /// # Errors
    /// [`SpecError::Json`] for malformed text; [`SpecError::Field`] for a wrong format tag, a missing or unexpected site,
    /// an empty interval, or a number of coefficients outside `1..=4096`.
    pub fn from_json(text: &str, config: &ModelConfig) -> Result<Self, SpecError> {
        Self::from_json_for(text, &site_names(config))
    }

    /// [`Self::from_json`] for a model with the given sites.
    ///
    /// # Errors
    /// As [`Self::from_json`].
    pub fn from_json_for(text: &str, sites: &[String]) -> Result<Self, SpecError> {
        let polynomials: Self = serde_json::from_str(text)
            .map_err(|source| SpecError::Json { what: "polynomials.json".to_owned(), source })?;
        let field = |what: &str, expected: String, got: String| SpecError::Field {
            what: format!("polynomials.json, {what}"),
            expected,
            got,
        };
        if polynomials.format != POLYNOMIALS_FORMAT {
            return Err(field("format", POLYNOMIALS_FORMAT.to_owned(), polynomials.format));
        }
        let expected = sites.join(", ");
        let got: Vec<&str> = polynomials.sites.iter().map(|site| site.site.as_str()).collect();
        if got.join(", ") != expected {
            return Err(field("sites", expected, got.join(", ")));
        }
        for site in &polynomials.sites {
            let [a, b] = site.interval.map(|x| x.0);
            if a >= b {
                return Err(field(&site.site, "an interval [a, b] with a < b".to_owned(), format!("[{a}, {b}]")));
            }
            let count = site.coefficients.len();
            if !(1..=4096).contains(&count) {
                return Err(field(&site.site, "1..=4096 coefficients".to_owned(), count.to_string()));
            }
        }
        Ok(polynomials)
    }

    /// The entry called `name`, if there is one.
    #[must_use]
    pub fn site(&self, name: &str) -> Option<&Site> {
        self.sites.iter().find(|site| site.site == name)
    }
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
