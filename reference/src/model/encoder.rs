//! The BERT and RoBERTa encoders (`r[encoder.block]`).

use super::graph::{Constants, Frame, Observer, Pass, Projections, Rows, checked};
use super::scalar::Ring;
use super::weights::{Affine, Matrix, Norm};
use crate::error::ReferenceError;
use crate::rungs::Rung;
use touchstone_spec::artifact::{EncoderConfig, Function, Pooling};

/// One post-LayerNorm block.
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderLayer {
    /// Query projection: `d x d`, heads side by side.
    pub query: Affine,
    /// Key projection: `d x d`.
    pub key: Affine,
    /// Value projection: `d x d`.
    pub value: Affine,
    /// Output projection of attention: `d x d`.
    pub output: Affine,
    /// LayerNorm after attention.
    pub attention_norm: Norm,
    /// First MLP map: `f x d`.
    pub up: Affine,
    /// Second MLP map: `d x f`.
    pub down: Affine,
    /// LayerNorm after the MLP.
    pub mlp_norm: Norm,
}

/// A BERT or RoBERTa classifier with Power-Softmax attention.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoder {
    /// Sizes and constants.
    pub config: EncoderConfig,
    /// One row per token.
    pub words: Matrix,
    /// One row per position.
    pub positions: Matrix,
    /// One row per segment.
    pub types: Matrix,
    /// LayerNorm of the embedding.
    pub embedding_norm: Norm,
    /// The blocks, first to last.
    pub layers: Vec<EncoderLayer>,
    /// Dense map before tanh, `d x d`; absent with mean pooling.
    pub pooler: Option<Affine>,
    /// Classifier: classes by d.
    pub classifier: Affine,
}

/// What an encoder reads: per position a token, its segment and whether it is live.
#[derive(Clone, Copy, Debug)]
pub struct EncoderInput<'a> {
    /// Tokens.
    pub tokens: &'a [u32],
    /// Segment of each token.
    pub types: &'a [u32],
    /// False for padding.
    pub mask: &'a [bool],
}

fn refuse(expected: impl Into<String>, got: impl Into<String>) -> ReferenceError {
    ReferenceError::BadOperand { operation: "encoder", expected: expected.into(), got: got.into() }
}

/// Logits of the classes (`r[encoder.head]`).
///
/// # Errors
/// [`ReferenceError::BadOperand`] for inputs of different or excessive length, a token or segment outside its table, or
/// no live token; what the rung refuses, such as [`ReferenceError::Escape`].
pub fn encoder_forward<S: Ring>(
    model: &Encoder,
    input: &EncoderInput,
    rung: &dyn Rung<S>,
    numbers: S::Context,
    observer: &mut dyn Observer<S>,
) -> Result<Vec<S>, ReferenceError> {
    let rows = embedding_rows(model, input)?;
    let points = |row: Vec<f64>| row.into_iter().map(|x| S::point(x, numbers)).collect();
    let parts: Vec<[Vec<S>; 3]> = rows.into_iter().map(|parts| parts.map(points)).collect();
    let sum = |[word, position, kind]: &[Vec<S>; 3]| {
        word.iter().zip(position).zip(kind).map(|((a, b), c)| a.add(b).add(c)).collect()
    };
    encoder_forward_embedded(model, parts.iter().map(sum).collect(), input.mask, rung, numbers, observer)
}

/// Word, position and segment rows of each token, to be added (`r[encoder.embed]`).
///
/// # Errors
/// [`ReferenceError::BadOperand`] as [`encoder_forward`].
pub fn embedding_rows(model: &Encoder, input: &EncoderInput) -> Result<Vec<[Vec<f64>; 3]>, ReferenceError> {
    let config = &model.config;
    let EncoderInput { tokens, types, mask } = *input;
    let lengths = [tokens.len(), types.len(), mask.len()];
    if lengths != [tokens.len(); 3] || !(1..=config.max_tokens()).contains(&tokens.len()) {
        let expected = format!("1..={} tokens with a segment and a mask each", config.max_tokens());
        return Err(refuse(expected, format!("lengths {lengths:?}")));
    }
    let row = |i: usize| {
        let (token, kind) = (tokens[i] as usize, types[i] as usize);
        if token >= model.words.rows || kind >= model.types.rows {
            let expected = format!("tokens below {} and segments below {}", model.words.rows, model.types.rows);
            return Err(refuse(expected, format!("token {token}, segment {kind}")));
        }
        let position = model.positions.row(config.first_position() + i);
        Ok([model.words.row(token).to_vec(), position.to_vec(), model.types.row(kind).to_vec()])
    };
    (0..tokens.len()).map(row).collect()
}

/// [`encoder_forward`] from the sums of embedding rows, one of length d per token: what a server receives encrypted.
///
/// # Errors
/// As [`encoder_forward`]; [`ReferenceError::BadOperand`] for a row of another length.
pub fn encoder_forward_embedded<S: Ring>(
    model: &Encoder,
    rows: Vec<Vec<S>>,
    mask: &[bool],
    rung: &dyn Rung<S>,
    numbers: S::Context,
    observer: &mut dyn Observer<S>,
) -> Result<Vec<S>, ReferenceError> {
    let config = &model.config;
    if rows.len() != mask.len() || rows.iter().any(|row| row.len() != config.hidden_size) {
        let expected = format!("rows of {} numbers, one per entry of the mask", config.hidden_size);
        return Err(refuse(expected, format!("{} rows, {} entries", rows.len(), mask.len())));
    }
    let live: Vec<usize> = (0..mask.len()).filter(|&i| mask[i]).collect();
    if live.is_empty() {
        return Err(refuse("at least one live token", "none"));
    }
    let constants = Constants {
        heads: config.num_attention_heads,
        head_size: config.head_size(),
        power: config.power_softmax.p,
        softmax_eps: config.power_softmax.eps,
        norm_eps: config.layer_norm_eps,
    };
    let frame = Frame { rung, numbers, constants };
    checked(run(model, &mut Pass { frame: &frame, observer }, rows, &live)?)
}

fn run<S: Ring>(model: &Encoder, pass: &mut Pass<S>, rows: Rows<S>, live: &[usize]) -> Result<Vec<S>, ReferenceError> {
    pass.centred_rows("embedding", &rows);
    let normalised = pass.normalise("embedding.layernorm", "embedding.inverse-sqrt", &rows)?;
    let mut stream = pass.frame.scaled(&model.embedding_norm, &normalised);
    for (index, layer) in model.layers.iter().enumerate() {
        stream = block(model, pass, index, layer, &stream, live)?;
        pass.rows(&format!("layers.{index}.residual"), &stream);
    }
    let pooled = pool(model, pass, &stream, live)?;
    let logits = model.classifier.apply(&pooled, pass.frame.numbers);
    pass.observer.tap("logits", &[logits.len()], &logits);
    Ok(logits)
}

fn block<S: Ring>(
    model: &Encoder,
    pass: &mut Pass<S>,
    index: usize,
    layer: &EncoderLayer,
    stream: &Rows<S>,
    live: &[usize],
) -> Result<Rows<S>, ReferenceError> {
    let frame = pass.frame;
    let block = format!("layers.{index}");
    let site = |kind: &str| format!("{block}.{kind}");
    let projections = Projections {
        query: frame.affine(&layer.query, stream),
        key: frame.affine(&layer.key, stream),
        value: frame.affine(&layer.value, stream),
    };
    let live = vec![live.to_vec(); stream.len()];
    let mixed = pass.attention(&block, &projections, &live, model.config.power_softmax.scale(index))?;
    let attention = frame.affine(&layer.output, &mixed);
    pass.centred_rows(&site("attention.output"), &attention);
    let sum = frame.sum(stream, &attention);
    let normalised = pass.normalise(&site("attention-layernorm"), &site("attention-inverse-sqrt"), &sum)?;
    let after_attention = frame.scaled(&layer.attention_norm, &normalised);
    let mlp = pass.mlp(&block, &layer.up, &layer.down, &after_attention)?;
    let sum = frame.sum(&after_attention, &mlp);
    let normalised = pass.normalise(&site("mlp-layernorm"), &site("mlp-inverse-sqrt"), &sum)?;
    Ok(frame.scaled(&layer.mlp_norm, &normalised))
}

/// What the classifier reads (`r[encoder.head]`).
fn pool<S: Ring>(
    model: &Encoder,
    pass: &mut Pass<S>,
    stream: &Rows<S>,
    live: &[usize],
) -> Result<Vec<S>, ReferenceError> {
    let numbers = pass.frame.numbers;
    match (&model.pooler, model.config.pooling) {
        (Some(pooler), Pooling::First) => {
            let dense = pooler.apply(&stream[0], numbers);
            pass.observer.tap("pooler.input", &[dense.len()], &dense);
            let pooled = pass.frame.evaluate("pooler.tanh", &Function::Tanh, &dense)?;
            pass.observer.tap("pooler.output", &[pooled.len()], &pooled);
            Ok(pooled)
        }
        (None, Pooling::Mean) => {
            let count = S::constant(live.len() as f64, numbers);
            let channel = |c: usize| {
                let column: Vec<S> = live.iter().map(|&i| stream[i][c].clone()).collect();
                S::sum(&column, numbers).over(&count)
            };
            let pooled: Vec<S> = (0..model.config.hidden_size).map(channel).collect();
            pass.observer.tap("pooler.input", &[pooled.len()], &pooled);
            Ok(pooled)
        }
        (pooler, pooling) => {
            let found = if pooler.is_some() { "a dense map" } else { "none" };
            Err(refuse(format!("a dense map for pooling {pooling:?} exactly where it has one"), found))
        }
    }
}
