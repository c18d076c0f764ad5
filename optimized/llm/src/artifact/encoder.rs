//! Loading of BERT and RoBERTa classifiers (`r[encoder.shapes]`).

use super::{Layer, Linear, Matrix, Model, Norm, Reader, WEIGHTS, parse_weights, read_limited, read_text};
use crate::error::{LlmError, Result};
use std::path::Path;
use touchstone_spec::artifact::{
    EncoderConfig, EncoderKind, MAX_JSON_BYTES, MAX_WEIGHTS_BYTES, ModelConfig, Polynomials, Pooling,
};

/// A polynomial BERT or RoBERTa classifier, without its tokenizer.
///
/// Its blocks are held in the types of a decoder with sequential residual, which they resemble: `attention_norm` of a layer is the
/// LayerNorm whose result the layer's attention reads (`LN_E`, or `LN_M` of the layer before), `mlp_norm` is its `LN_A`,
/// `final_norm` the last `LN_M`, and `head` the classifier. What differs is that the residual branch starts behind a LayerNorm.
#[derive(Clone, Debug)]
pub struct Encoder {
    /// Shapes and constants.
    pub config: EncoderConfig,
    /// Position rows, `[positions][d]`.
    pub positions: Matrix<f32>,
    /// Segment rows, `[segments][d]`.
    pub types: Matrix<f32>,
    /// Dense map before tanh, `[d][d]`; absent with mean pooling.
    pub pooler: Option<Linear<f32>>,
    /// Bias of the classifier, `[classes]`; its weight is `body.head`.
    pub classifier_bias: Vec<f64>,
    /// Token rows, blocks, polynomials and the classifier's weight.
    pub body: Model,
}

impl Encoder {
    /// Loads `config.json`, `polynomials.json` and `model.safetensors` of `directory`.
    ///
    /// # Errors
    /// [`LlmError::Io`], [`LlmError::File`], [`LlmError::Tensor`] or [`LlmError::Spec`], naming file and tensor or field.
    pub fn load(directory: &Path) -> Result<Self> {
        let config = EncoderConfig::from_json(&read_text(&directory.join("config.json"), MAX_JSON_BYTES)?)?;
        let text = read_text(&directory.join("polynomials.json"), MAX_JSON_BYTES)?;
        let polynomials = Polynomials::from_json_for(&text, &config.site_names())?;
        let bytes = read_limited(&directory.join(WEIGHTS), MAX_WEIGHTS_BYTES)?;
        Reader { tensors: parse_weights(&bytes)? }.encoder(config, polynomials)
    }

    /// The sum of token, position and segment rows of every token, all of segment 0 (`r[encoder.embed]`).
    ///
    /// # Errors
    /// [`LlmError::Prompt`] for a number of tokens that the position table does not hold, or a token outside the vocabulary.
    pub fn embed(&self, tokens: &[u32]) -> Result<Vec<Vec<f64>>> {
        let refuse = |expected: String, got: String| Err(LlmError::Prompt { expected, got });
        let (limit, words) = (self.config.max_tokens(), &self.body.embedding);
        if !(1..=limit).contains(&tokens.len()) {
            return refuse(format!("1 to {limit} tokens"), format!("{} tokens", tokens.len()));
        }
        if let Some(token) = tokens.iter().find(|&&token| token as usize >= words.rows) {
            return refuse(format!("token ids below {}", words.rows), token.to_string());
        }
        let row = |(i, &token): (usize, &u32)| {
            let position = self.positions.entries(self.config.first_position() + i);
            let parts = words.entries(token as usize).zip(position).zip(self.types.entries(0));
            parts.map(|((word, position), kind)| word + position + kind).collect()
        };
        Ok(tokens.iter().enumerate().map(row).collect())
    }

    /// The LayerNorm whose result block `layer` reads; the head after the last block.
    #[must_use]
    pub fn entry_norm(&self, layer: usize) -> &Norm {
        self.body.layers.get(layer).map_or(&self.body.final_norm, |layer| &layer.attention_norm)
    }

    /// Site and tap prefix of [`Encoder::entry_norm`].
    pub(crate) fn entry_names(layer: usize) -> (String, String) {
        match layer.checked_sub(1) {
            None => ("embedding.inverse-sqrt".to_owned(), "embedding.layernorm".to_owned()),
            Some(before) => (format!("layers.{before}.mlp-inverse-sqrt"), format!("layers.{before}.mlp-layernorm")),
        }
    }

    /// The configuration of the body of an encoder.
    #[must_use]
    pub fn body_config(config: &EncoderConfig) -> ModelConfig {
        let model_type = match config.model_type {
            EncoderKind::Bert => "bert",
            EncoderKind::Roberta => "roberta",
        };
        ModelConfig {
            model_type: model_type.to_owned(),
            hidden_size: config.hidden_size,
            num_hidden_layers: config.num_hidden_layers,
            num_attention_heads: config.num_attention_heads,
            intermediate_size: config.intermediate_size,
            vocab_size: config.vocab_size,
            max_position_embeddings: config.max_tokens(),
            rotary_pct: 0.0,
            // Without turned channels there is no angle to compute.
            rotary_emb_base: 1.0,
            use_parallel_residual: false,
            layer_norm_eps: config.layer_norm_eps,
            hidden_act: config.hidden_act.clone(),
            tie_word_embeddings: false,
            power_softmax: config.power_softmax.clone(),
        }
    }
}

/// Query, key and value layers as one, rows in the order of `r[model.qkv]`.
#[must_use]
pub fn joined_qkv(parts: &[Linear<f32>; 3], head_size: usize) -> Linear<f32> {
    let (d, cols) = (parts[0].weight.rows, parts[0].weight.cols);
    let source = |o: usize| (&parts[o / head_size % 3], o / (3 * head_size) * head_size + o % head_size);
    let data = (0..3 * d).flat_map(|o| source(o).0.weight.row(source(o).1).iter().copied()).collect();
    let bias = (0..3 * d).map(|o| source(o).0.bias[source(o).1]).collect();
    Linear { weight: Matrix { rows: 3 * d, cols, data }, bias }
}

impl Reader<'_> {
    fn encoder(&self, config: EncoderConfig, polynomials: Polynomials) -> Result<Encoder> {
        let body_config = Encoder::body_config(&config);
        let (d, prefix) = (config.hidden_size, body_config.model_type.clone());
        let table = |name: &str, rows| self.matrix(&format!("{prefix}.embeddings.{name}.weight"), rows, d);
        let (pooler, classifier) = match (config.pooling, config.model_type) {
            (Pooling::Mean, _) => (None, "classifier"),
            (Pooling::First, EncoderKind::Bert) => (Some("bert.pooler.dense"), "classifier"),
            (Pooling::First, EncoderKind::Roberta) => (Some("classifier.dense"), "classifier.out_proj"),
        };
        let classifier = self.linear(classifier, config.num_labels, d)?;
        let mut norm = self.norm(&format!("{prefix}.embeddings.LayerNorm"), d)?;
        let mut layers = Vec::new();
        for index in 0..config.num_hidden_layers {
            let (layer, next) = self.encoder_layer(&config, &format!("{prefix}.encoder.layer.{index}"), norm)?;
            layers.push(layer);
            norm = next;
        }
        Ok(Encoder {
            positions: table("position_embeddings", config.max_position_embeddings)?,
            types: table("token_type_embeddings", config.type_vocab_size)?,
            pooler: pooler.map(|name| self.linear(name, d, d)).transpose()?,
            classifier_bias: classifier.bias,
            body: Model {
                polynomials,
                embedding: table("word_embeddings", config.vocab_size)?,
                layers,
                final_norm: norm,
                head: classifier.weight,
                config: body_config,
            },
            config,
        })
    }

    /// A layer that reads the result of `before`, and its `LN_M`.
    fn encoder_layer(&self, config: &EncoderConfig, prefix: &str, before: Norm) -> Result<(Layer, Norm)> {
        let (d, f) = (config.hidden_size, config.intermediate_size);
        let name = |part: &str| format!("{prefix}.{part}");
        let projection = |part: &str| self.linear(&name(&format!("attention.self.{part}")), d, d);
        let layer = Layer {
            attention_norm: before,
            mlp_norm: self.norm(&name("attention.output.LayerNorm"), d)?,
            qkv: joined_qkv(&[projection("query")?, projection("key")?, projection("value")?], config.head_size()),
            dense: self.linear(&name("attention.output.dense"), d, d)?,
            up: self.linear(&name("intermediate.dense"), f, d)?,
            down: self.linear(&name("output.dense"), d, f)?,
        };
        Ok((layer, self.norm(&name("output.LayerNorm"), d)?))
    }
}
