//! Names, shapes and distributions of the tensors of a model (`r[model.shapes]`, `r[encoder.shapes]`).

use super::draw::Draw;
use touchstone_spec::artifact::{EncoderConfig, EncoderKind, ModelConfig, Pooling};

/// Deviation of the entries of queries and keys; scores have the square of it.
const QUERY_KEY: f64 = 0.59;
/// Deviation of the hidden values before GELU.
const HIDDEN: f64 = 0.6;
/// Deviation of what attention adds to the stream where it looks at one key only.
const ATTENTION: f64 = 0.5;
/// Deviation of `W_down`'s outputs for unit inputs; GELU's outputs are about 0.4.
const DOWN: f64 = 1.0;
/// Deviation of an embedding row of the middle size; rows are half to twice as large.
const EMBEDDING: f64 = 0.5;
/// Deviation of position and segment rows.
const POSITION: f64 = 0.1;
/// Deviation of logits.
const LOGIT: f64 = 2.0;
/// Deviation of the inputs of the pooler's tanh.
const POOLER: f64 = 0.6;
/// Deviation of gains around 1 and of offsets and biases around 0.
const SMALL: f64 = 0.05;

/// One tensor: how each row is drawn. A vector is one row.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Name in the weights file.
    pub name: String,
    /// Shape in the weights file.
    pub shape: Vec<usize>,
    /// Distribution of each row.
    pub rows: Vec<Draw>,
}

impl Tensor {
    fn matrix(name: impl Into<String>, columns: usize, rows: Vec<Draw>) -> Self {
        Self { name: name.into(), shape: vec![rows.len(), columns], rows }
    }

    fn vector(name: impl Into<String>, size: usize, mean: f64) -> Self {
        let draw = Draw { mean, deviation: SMALL, uneven: false };
        Self { name: name.into(), shape: vec![size], rows: vec![draw] }
    }
}

/// Weight and bias of an affine map with inputs of deviation 1 and outputs of the given deviation.
fn affine(name: &str, rows: usize, columns: usize, deviation: f64) -> [Tensor; 2] {
    affine_rows(name, columns, vec![Draw::around_zero(deviation / (columns as f64).sqrt()); rows])
}

fn affine_rows(name: &str, columns: usize, rows: Vec<Draw>) -> [Tensor; 2] {
    let size = rows.len();
    [Tensor::matrix(format!("{name}.weight"), columns, rows), Tensor::vector(format!("{name}.bias"), size, 0.0)]
}

fn norm(name: &str, size: usize) -> [Tensor; 2] {
    [Tensor::vector(format!("{name}.weight"), size, 1.0), Tensor::vector(format!("{name}.bias"), size, 0.0)]
}

/// Rows of deviation 1/2, each times a factor in [1/2, 2].
fn words(name: String, rows: usize, d: usize) -> Tensor {
    Tensor::matrix(name, d, vec![Draw { mean: 0.0, deviation: EMBEDDING, uneven: true }; rows])
}

/// The tensors of a GPT-NeoX model.
#[must_use]
pub fn decoder(config: &ModelConfig) -> Vec<Tensor> {
    let [d, f, vocabulary] = [config.hidden_size, config.intermediate_size, config.vocab_size];
    let mut tensors = vec![words("gpt_neox.embed_in.weight".to_owned(), vocabulary, d)];
    let root = (d as f64).sqrt();
    let size = config.head_size();
    let projection = |row: usize| Draw::around_zero(if row % (3 * size) < 2 * size { QUERY_KEY } else { 1.0 } / root);
    for layer in 0..config.num_hidden_layers {
        let name = |part: &str| format!("gpt_neox.layers.{layer}.{part}");
        tensors.extend(norm(&name("input_layernorm"), d));
        tensors.extend(norm(&name("post_attention_layernorm"), d));
        tensors.extend(affine_rows(&name("attention.query_key_value"), d, (0..3 * d).map(projection).collect()));
        tensors.extend(affine(&name("attention.dense"), d, d, ATTENTION));
        tensors.extend(affine(&name("mlp.dense_h_to_4h"), f, d, HIDDEN));
        tensors.extend(affine(&name("mlp.dense_4h_to_h"), d, f, DOWN));
    }
    tensors.extend(norm("gpt_neox.final_layer_norm", d));
    if !config.tie_word_embeddings {
        let head = vec![Draw::around_zero(LOGIT / root); vocabulary];
        tensors.push(Tensor::matrix("embed_out.weight", d, head));
    }
    tensors
}

/// The tensors of a BERT or RoBERTa classifier.
#[must_use]
pub fn encoder(config: &EncoderConfig) -> Vec<Tensor> {
    let [d, f] = [config.hidden_size, config.intermediate_size];
    let prefix = match config.model_type {
        EncoderKind::Bert => "bert",
        EncoderKind::Roberta => "roberta",
    };
    let table = |name: &str, rows: usize| {
        let draws = vec![Draw::around_zero(POSITION); rows];
        Tensor::matrix(format!("{prefix}.embeddings.{name}.weight"), d, draws)
    };
    let mut tensors = vec![
        words(format!("{prefix}.embeddings.word_embeddings.weight"), config.vocab_size, d),
        table("position_embeddings", config.max_position_embeddings),
        table("token_type_embeddings", config.type_vocab_size),
    ];
    tensors.extend(norm(&format!("{prefix}.embeddings.LayerNorm"), d));
    for layer in 0..config.num_hidden_layers {
        let name = |part: &str| format!("{prefix}.encoder.layer.{layer}.{part}");
        tensors.extend(affine(&name("attention.self.query"), d, d, QUERY_KEY));
        tensors.extend(affine(&name("attention.self.key"), d, d, QUERY_KEY));
        tensors.extend(affine(&name("attention.self.value"), d, d, 1.0));
        tensors.extend(affine(&name("attention.output.dense"), d, d, ATTENTION));
        tensors.extend(norm(&name("attention.output.LayerNorm"), d));
        tensors.extend(affine(&name("intermediate.dense"), f, d, HIDDEN));
        tensors.extend(affine(&name("output.dense"), d, f, DOWN));
        tensors.extend(norm(&name("output.LayerNorm"), d));
    }
    let (pooler, classifier) = match (config.pooling, config.model_type) {
        (Pooling::Mean, _) => (None, "classifier"),
        (Pooling::First, EncoderKind::Bert) => (Some("bert.pooler.dense"), "classifier"),
        (Pooling::First, EncoderKind::Roberta) => (Some("classifier.dense"), "classifier.out_proj"),
    };
    tensors.extend(pooler.into_iter().flat_map(|name| affine(name, d, d, POOLER)));
    tensors.extend(affine(classifier, config.num_labels, d, LOGIT));
    tensors
}
