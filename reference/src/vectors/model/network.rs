//! Tiny networks with drawn weights, and their form as inputs of a case.

use crate::error::ReferenceError;
use crate::model::{
    Affine, Encoder, EncoderLayer, Layer, Matrix, Model, Norm, Observer, Ring, encoder_forward_embedded,
    forward_embedded,
};
use crate::rungs::{Replaced, Rung, encoder_site_function, site_function};
use crate::sample::{Stream, StreamId};
use std::collections::BTreeMap;
use touchstone_spec::artifact::{
    EncoderConfig, EncoderKind, Function, ModelConfig, Polynomials, Pooling, PowerSoftmax, site_names,
};
use touchstone_spec::vector::{DRAW_DOMAIN, Value};

/// Seed of weights, keys and encryptions.
pub const SEED: &[u8; 16] = b"model level.....";
/// Hidden width.
pub const WIDTH: usize = 8;
/// Tokens of an input.
pub const TOKENS: usize = 4;
/// Rows of the embedding and of the decoder's head.
pub const VOCABULARY: usize = 6;
/// Rows of the decoder's head that are equal: no accuracy decides between them.
pub const TWINS: [usize; 2] = [1, 4];
const HEADS: usize = 2;
const HIDDEN: usize = 6;
const LABELS: usize = 3;
/// Fraction of a head that is turned.
const ROTARY: f64 = 0.5;
const ROTARY_BASE: f64 = 100.0;

/// A network and, for an encoder, its padding mask.
pub enum Network {
    /// GPT-NeoX.
    Decoder(Model),
    /// BERT with mean pooling.
    Encoder(Encoder, Vec<bool>),
}

/// Weights in the order of their drawing: multiples of `2^-8`, so that they are short to write.
struct Draw(Stream);

impl Draw {
    fn new(object: u32) -> Self {
        Self(Stream::new(SEED, StreamId::new(DRAW_DOMAIN, object)))
    }

    /// Numbers in `[centre - size, centre + size]`.
    fn numbers(&mut self, count: usize, centre: f64, size: f64) -> Vec<f64> {
        let mut one = || {
            let part = (self.0.next_u64() >> 11) as f64 / (1u64 << 52) as f64 - 1.0;
            ((centre + size * part) * 256.0).round_ties_even() / 256.0
        };
        (0..count).map(|_| one()).collect()
    }

    fn matrix(&mut self, rows: usize, columns: usize, size: f64) -> Matrix {
        Matrix { rows, columns, values: self.numbers(rows * columns, 0.0, size) }
    }

    /// Entries shrink with the number of inputs, so that values keep their size.
    fn affine(&mut self, rows: usize, columns: usize) -> Affine {
        let weight = self.matrix(rows, columns, 1.5 / (columns as f64).sqrt());
        Affine { weight, bias: self.numbers(rows, 0.0, 0.25) }
    }

    fn norm(&mut self) -> Norm {
        Norm { gamma: self.numbers(WIDTH, 1.0, 0.25), beta: self.numbers(WIDTH, 0.0, 0.25) }
    }
}

fn power_softmax(p: u32) -> PowerSoftmax {
    let eps_on = "mean".to_owned();
    PowerSoftmax { p, eps: 2f64.powi(-4), eps_on, score_scale: 2.0, layer_score_scales: Vec::new() }
}

/// A decoder of one block.
pub fn decoder(object: u32, parallel: bool, p: u32) -> Network {
    let mut draw = Draw::new(object);
    let layer = Layer {
        attention_norm: draw.norm(),
        mlp_norm: draw.norm(),
        query_key_value: draw.affine(3 * WIDTH, WIDTH),
        output: draw.affine(WIDTH, WIDTH),
        up: draw.affine(HIDDEN, WIDTH),
        down: draw.affine(WIDTH, HIDDEN),
    };
    let mut head = draw.matrix(VOCABULARY, WIDTH, 1.0);
    let twin = head.row(TWINS[0]).to_vec();
    head.values[TWINS[1] * WIDTH..(TWINS[1] + 1) * WIDTH].copy_from_slice(&twin);
    let config = ModelConfig {
        model_type: "gpt_neox".to_owned(),
        hidden_size: WIDTH,
        num_hidden_layers: 1,
        num_attention_heads: HEADS,
        intermediate_size: HIDDEN,
        vocab_size: VOCABULARY,
        max_position_embeddings: TOKENS,
        rotary_pct: ROTARY,
        rotary_emb_base: ROTARY_BASE,
        use_parallel_residual: parallel,
        layer_norm_eps: 2f64.powi(-10),
        hidden_act: "gelu".to_owned(),
        tie_word_embeddings: false,
        power_softmax: power_softmax(p),
    };
    let (final_norm, embedding) = (draw.norm(), draw.matrix(VOCABULARY, WIDTH, 1.0));
    Network::Decoder(Model { config, embedding, layers: vec![layer], final_norm, head })
}

/// An encoder of one block whose last token is padding.
pub fn encoder(object: u32, p: u32) -> Network {
    let mut draw = Draw::new(object);
    let layer = EncoderLayer {
        query: draw.affine(WIDTH, WIDTH),
        key: draw.affine(WIDTH, WIDTH),
        value: draw.affine(WIDTH, WIDTH),
        output: draw.affine(WIDTH, WIDTH),
        attention_norm: draw.norm(),
        up: draw.affine(HIDDEN, WIDTH),
        down: draw.affine(WIDTH, HIDDEN),
        mlp_norm: draw.norm(),
    };
    let config = EncoderConfig {
        model_type: EncoderKind::Bert,
        hidden_size: WIDTH,
        num_hidden_layers: 1,
        num_attention_heads: HEADS,
        intermediate_size: HIDDEN,
        vocab_size: VOCABULARY,
        max_position_embeddings: TOKENS,
        type_vocab_size: 1,
        layer_norm_eps: 2f64.powi(-10),
        hidden_act: "gelu".to_owned(),
        pad_token_id: 0,
        num_labels: LABELS,
        pooling: Pooling::Mean,
        power_softmax: power_softmax(p),
    };
    let words = draw.matrix(VOCABULARY, WIDTH, 0.75);
    let positions = draw.matrix(TOKENS, WIDTH, 0.25);
    let types = draw.matrix(1, WIDTH, 0.25);
    let (embedding_norm, classifier) = (draw.norm(), draw.affine(LABELS, WIDTH));
    let layers = vec![layer];
    let live = (0..TOKENS).map(|i| i + 1 < TOKENS).collect();
    let model = Encoder { config, words, positions, types, embedding_norm, layers, pooler: None, classifier };
    Network::Encoder(model, live)
}

impl Network {
    /// Embedding rows of tokens: what enters encrypted (`r[model.embed]`, `r[encoder.embed]`). All sums are exact.
    pub fn embed(&self, tokens: [usize; TOKENS]) -> Vec<Vec<f64>> {
        let row = |(i, &token): (usize, &usize)| match self {
            Self::Decoder(model) => model.embedding.row(token).to_vec(),
            Self::Encoder(model, _) => {
                let parts = model.words.row(token).iter().zip(model.positions.row(i)).zip(model.types.row(0));
                parts.map(|((word, position), kind)| word + position + kind).collect()
            }
        };
        tokens.iter().enumerate().map(row).collect()
    }

    /// Logits of the last token, or of the labels, with all taps.
    pub fn run<S: Ring>(
        &self,
        rows: Vec<Vec<S>>,
        rung: &dyn Rung<S>,
        numbers: S::Context,
        observer: &mut dyn Observer<S>,
    ) -> Result<Vec<S>, ReferenceError> {
        match self {
            Self::Decoder(model) => forward_embedded(model, rows, TOKENS - 1, rung, numbers, observer),
            Self::Encoder(model, live) => encoder_forward_embedded(model, rows, live, rung, numbers, observer),
        }
    }

    /// Sites with their functions, in the order in which they are met.
    pub fn sites(&self) -> Vec<(String, Function)> {
        let of = |names: Vec<String>, function: &dyn Fn(&str) -> Function| {
            names.into_iter().map(|name| (name.clone(), function(&name))).collect()
        };
        match self {
            Self::Decoder(model) => of(site_names(&model.config), &|site| site_function(&model.config, site)),
            Self::Encoder(model, _) => {
                of(model.config.site_names(), &|site| encoder_site_function(&model.config, site))
            }
        }
    }

    /// R1 with these polynomials.
    pub fn replaced(&self, polynomials: &Polynomials) -> Result<Replaced, ReferenceError> {
        match self {
            Self::Decoder(model) => Replaced::new(&model.config, polynomials),
            Self::Encoder(model, _) => Replaced::for_encoder(&model.config, polynomials),
        }
    }

    /// Sizes, constants, weights and polynomials as inputs (`r[vector.op.model]`).
    pub fn inputs(&self, polynomials: &Polynomials) -> BTreeMap<String, Value> {
        let (norm_eps, softmax) = match self {
            Self::Decoder(model) => (model.config.layer_norm_eps, &model.config.power_softmax),
            Self::Encoder(model, _) => (model.config.layer_norm_eps, &model.config.power_softmax),
        };
        let mut inputs = vec![
            ("tokens", Value::integer(TOKENS)),
            ("heads", Value::integer(HEADS)),
            ("p", Value::integer(softmax.p)),
            ("softmax-eps", Value::real(softmax.eps)),
            ("score-scale", Value::real(softmax.score_scale)),
            ("norm-eps", Value::real(norm_eps)),
            ("polynomials", written(polynomials)),
        ];
        match self {
            Self::Decoder(model) => inputs.extend([
                ("residual", Value::word(if model.config.use_parallel_residual { "parallel" } else { "sequential" })),
                ("rotary-size", Value::integer(model.config.rotary_size())),
                ("rotary-base", Value::real(model.config.rotary_emb_base)),
                ("weights", decoder_weights(model)),
            ]),
            Self::Encoder(model, live) => inputs.extend([
                ("live", Value::integers(&live.iter().map(|&live| u32::from(live)).collect::<Vec<_>>())),
                ("weights", encoder_weights(model)),
            ]),
        }
        inputs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// By site: `interval` and Chebyshev `coefficients`.
fn written(polynomials: &Polynomials) -> Value {
    let site = |site: &touchstone_spec::artifact::Site| {
        let coefficients: Vec<f64> = site.coefficients.iter().map(|c| c.0).collect();
        let fields = [
            ("interval".to_owned(), Value::reals(&site.interval.map(|x| x.0))),
            ("coefficients".to_owned(), Value::reals(&coefficients)),
        ];
        (site.site.clone(), Value::Record(BTreeMap::from(fields)))
    };
    Value::Record(polynomials.sites.iter().map(site).collect())
}

/// Tensors by name.
#[derive(Default)]
struct Tensors(BTreeMap<String, Value>);

impl Tensors {
    fn matrix(&mut self, name: &str, matrix: &Matrix) {
        let rows = (0..matrix.rows).map(|i| Value::reals(matrix.row(i))).collect();
        self.0.insert(format!("{name}.weight"), Value::List(rows));
    }

    fn affine(&mut self, name: &str, map: &Affine) {
        self.matrix(name, &map.weight);
        self.0.insert(format!("{name}.bias"), Value::reals(&map.bias));
    }

    fn norm(&mut self, name: &str, norm: &Norm) {
        self.0.insert(format!("{name}.weight"), Value::reals(&norm.gamma));
        self.0.insert(format!("{name}.bias"), Value::reals(&norm.beta));
    }
}

/// Everything of `r[model.shapes]` but the embedding, whose rows are the input.
fn decoder_weights(model: &Model) -> Value {
    let mut tensors = Tensors::default();
    for (i, layer) in model.layers.iter().enumerate() {
        let name = |part: &str| format!("gpt_neox.layers.{i}.{part}");
        tensors.norm(&name("input_layernorm"), &layer.attention_norm);
        tensors.norm(&name("post_attention_layernorm"), &layer.mlp_norm);
        tensors.affine(&name("attention.query_key_value"), &layer.query_key_value);
        tensors.affine(&name("attention.dense"), &layer.output);
        tensors.affine(&name("mlp.dense_h_to_4h"), &layer.up);
        tensors.affine(&name("mlp.dense_4h_to_h"), &layer.down);
    }
    tensors.norm("gpt_neox.final_layer_norm", &model.final_norm);
    tensors.matrix("embed_out", &model.head);
    Value::Record(tensors.0)
}

/// Everything of `r[encoder.shapes]` but the embeddings.
fn encoder_weights(model: &Encoder) -> Value {
    let mut tensors = Tensors::default();
    tensors.norm("bert.embeddings.LayerNorm", &model.embedding_norm);
    for (i, layer) in model.layers.iter().enumerate() {
        let name = |part: &str| format!("bert.encoder.layer.{i}.{part}");
        tensors.affine(&name("attention.self.query"), &layer.query);
        tensors.affine(&name("attention.self.key"), &layer.key);
        tensors.affine(&name("attention.self.value"), &layer.value);
        tensors.affine(&name("attention.output.dense"), &layer.output);
        tensors.norm(&name("attention.output.LayerNorm"), &layer.attention_norm);
        tensors.affine(&name("intermediate.dense"), &layer.up);
        tensors.affine(&name("output.dense"), &layer.down);
        tensors.norm(&name("output.LayerNorm"), &layer.mlp_norm);
    }
    tensors.affine("classifier", &model.classifier);
    Value::Record(tensors.0)
}
