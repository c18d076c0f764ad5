//! The GPT-NeoX decoder (`r[model.block.parallel]`, `r[model.block.sequential]`).

use super::graph::{Constants, Frame, Observer, Pass, Projections, Rows, checked};
use super::norm::centre;
use super::rotary::{angles, turn};
use super::scalar::Ring;
use super::weights::{Layer, Model};
use crate::error::ReferenceError;
use crate::rungs::Rung;
use rayon::prelude::*;

/// Logits at position `position` of `tokens` (`r[model.head]`): one number per vocabulary entry.
///
/// Every token goes through every layer; causality makes the positions after `position` irrelevant to the result, but
/// their taps are reported and their inputs guarded as well.
///
/// # Errors
/// [`ReferenceError::BadOperand`] for no tokens, more than the context, a token outside the vocabulary or a position
/// outside the prompt; what the rung refuses, such as [`ReferenceError::Escape`].
pub fn forward<S: Ring>(
    model: &Model,
    tokens: &[u32],
    position: usize,
    rung: &dyn Rung<S>,
    numbers: S::Context,
    observer: &mut dyn Observer<S>,
) -> Result<Vec<S>, ReferenceError> {
    let size = model.config.vocab_size;
    if let Some(token) = tokens.iter().find(|&&token| token as usize >= size) {
        return Err(refuse(format!("tokens below {size}"), token.to_string()));
    }
    let embed = |&token: &u32| model.embedding.row(token as usize).iter().map(|&x| S::point(x, numbers)).collect();
    forward_embedded(model, tokens.iter().map(embed).collect(), position, rung, numbers, observer)
}

/// [`forward`] from embedding rows, one of length d per token: what a server receives encrypted.
///
/// # Errors
/// As [`forward`]; [`ReferenceError::BadOperand`] for a row of another length.
pub fn forward_embedded<S: Ring>(
    model: &Model,
    rows: Vec<Vec<S>>,
    position: usize,
    rung: &dyn Rung<S>,
    numbers: S::Context,
    observer: &mut dyn Observer<S>,
) -> Result<Vec<S>, ReferenceError> {
    let config = &model.config;
    if rows.len() > config.max_position_embeddings || position >= rows.len() {
        let expected = format!("position < number of tokens <= {}", config.max_position_embeddings);
        return Err(refuse(expected, format!("position {position} of {} tokens", rows.len())));
    }
    if let Some(row) = rows.iter().find(|row| row.len() != config.hidden_size) {
        return Err(refuse(format!("rows of {} numbers", config.hidden_size), row.len().to_string()));
    }
    let constants = Constants {
        heads: config.num_attention_heads,
        head_size: config.head_size(),
        power: config.power_softmax.p,
        softmax_eps: config.power_softmax.eps,
        norm_eps: config.layer_norm_eps,
    };
    let frame = Frame { rung, numbers, constants };
    checked(run(model, &mut Pass { frame: &frame, observer }, rows, position)?)
}

fn refuse(expected: String, got: String) -> ReferenceError {
    ReferenceError::BadOperand { operation: "forward pass", expected, got }
}

fn run<S: Ring>(
    model: &Model,
    pass: &mut Pass<S>,
    mut stream: Rows<S>,
    position: usize,
) -> Result<Vec<S>, ReferenceError> {
    let numbers = pass.frame.numbers;
    pass.centred_rows("embedding", &stream);
    for (index, layer) in model.layers.iter().enumerate() {
        stream = block(model, pass, index, layer, stream)?;
        let centred: Rows<S> = stream.par_iter().map(|x| centre(x, numbers)).collect();
        pass.rows(&format!("layers.{index}.residual"), &centred);
    }
    let normalised = pass.normalise("final.layernorm", "final.inverse-sqrt", &stream)?;
    let last = model.final_norm.apply(&normalised[position], numbers);
    let logit = |i: usize| S::affine(0.0, model.head.row(i), &last, numbers);
    let logits: Vec<S> = (0..model.head.rows).into_par_iter().map(logit).collect();
    pass.observer.tap("logits", &[logits.len()], &logits);
    Ok(logits)
}

fn block<S: Ring>(
    model: &Model,
    pass: &mut Pass<S>,
    index: usize,
    layer: &Layer,
    stream: Rows<S>,
) -> Result<Rows<S>, ReferenceError> {
    let (frame, config) = (pass.frame, &model.config);
    let block = format!("layers.{index}");
    let site = |kind: &str| format!("{block}.{kind}");
    let normalised = pass.normalise(&site("layernorm"), &site("inverse-sqrt"), &stream)?;
    let projected = frame.affine(&layer.query_key_value, &frame.scaled(&layer.attention_norm, &normalised));
    let live: Vec<Vec<usize>> = (0..stream.len()).map(|i| (0..=i).collect()).collect();
    let mixed = pass.attention(&block, &split(model, frame, &projected), &live, config.score_scale(index))?;
    let attention = frame.affine(&layer.output, &mixed);
    pass.centred_rows(&site("attention.output"), &attention);
    let after_attention = frame.sum(&stream, &attention);
    let mlp_input = if config.use_parallel_residual {
        normalised
    } else {
        pass.normalise(&site("mlp-layernorm"), &site("mlp-inverse-sqrt"), &after_attention)?
    };
    let mlp = pass.mlp(&block, &layer.up, &layer.down, &frame.scaled(&layer.mlp_norm, &mlp_input))?;
    Ok(frame.sum(&after_attention, &mlp))
}

/// Queries, keys and values with heads side by side (`r[model.qkv]`), queries and keys turned (`r[model.rotary]`).
fn split<S: Ring>(model: &Model, frame: &Frame<S>, projected: &Rows<S>) -> Projections<S> {
    let config = &model.config;
    let size = config.head_size();
    let constants = S::constants(frame.numbers);
    let angles: Vec<Vec<[S::Constant; 2]>> = (0..projected.len())
        .map(|position| angles(position, config.rotary_size(), config.rotary_emb_base, constants))
        .collect();
    let part = |which: usize| -> Rows<S> {
        let gather = |(row, angles): (&Vec<S>, &Vec<[S::Constant; 2]>)| {
            let head = |head: usize| {
                let start = (3 * head + which) * size;
                let mut values = row[start..start + size].to_vec();
                if which < 2 {
                    turn(&mut values, angles);
                }
                values
            };
            (0..config.num_attention_heads).flat_map(head).collect()
        };
        projected.par_iter().zip(&angles).map(gather).collect()
    };
    Projections { query: part(0), key: part(1), value: part(2) }
}
