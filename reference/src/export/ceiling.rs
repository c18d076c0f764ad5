//! The largest denominator that any prompt gives in the first layer.

use crate::error::ReferenceError;
use crate::model::{Model, Ring, forward};
use crate::rungs::Exact;
use rayon::prelude::*;

/// Queries and keys of one token of the first layer.
struct Token {
    /// At every position, rotated: `[position][d]`.
    queries: Vec<f64>,
    /// At position 0.
    key: Vec<f64>,
}

/// Largest denominator of the first layer over all prompts of up to the context's length.
///
/// The first layer's queries and keys depend on the token and the position alone, and scores on the distance of the
/// positions. So a row's mean of powers is largest when each key is the token with the largest power for that query
/// token and distance, and the maximum over prompts is a maximum over query tokens, heads and row lengths. The work
/// grows with the square of the vocabulary. Computed in binary64, without a bound of its rounding error.
///
/// # Errors
/// What [`forward`] refuses.
pub fn first_layer_denominator(model: &Model) -> Result<f64, ReferenceError> {
    let config = &model.config;
    let tokens = (0..config.vocab_size as u32).into_par_iter().map(|token| observe(model, token));
    let tokens = tokens.collect::<Result<Vec<Token>, _>>()?;
    let largest = tokens.par_iter().enumerate().map(|(index, query)| {
        (0..config.num_attention_heads).map(|head| largest_mean(model, &tokens, index, query, head)).fold(0.0, f64::max)
    });
    Ok(largest.reduce(|| 0.0, f64::max))
}

fn observe(model: &Model, token: u32) -> Result<Token, ReferenceError> {
    let context = model.config.max_position_embeddings;
    let mut seen = Token { queries: Vec::new(), key: Vec::new() };
    let mut observer = |name: &str, shape: &[usize], values: &[f64]| match name {
        "layers.0.attention.query" => seen.queries = values.to_vec(),
        "layers.0.attention.key" => seen.key = values[..shape[1]].to_vec(),
        _ => {}
    };
    forward(model, &vec![token; context], 0, &Exact, (), &mut observer)?;
    Ok(seen)
}

/// Largest mean of powers of a row whose query is token `index`.
fn largest_mean(model: &Model, tokens: &[Token], index: usize, query: &Token, head: usize) -> f64 {
    let config = &model.config;
    let size = config.head_size();
    let channels = head * size..(head + 1) * size;
    let divisor = (size as f64).sqrt() * config.score_scale(0);
    let power = |distance: usize, key: &Token| {
        let row = &query.queries[distance * config.hidden_size..][channels.clone()];
        let score: f64 = row.iter().zip(&key.key[channels.clone()]).map(|(a, b)| a * b).sum();
        Ring::powi(&(score / divisor), config.power_softmax.p)
    };
    let (mut sum, mut largest) = (0.0, 0.0f64);
    for distance in 0..config.max_position_embeddings {
        // The nearest key is the query's own token.
        sum += match distance {
            0 => power(0, &tokens[index]),
            _ => tokens.iter().map(|key| power(distance, key)).fold(0.0, f64::max),
        };
        largest = largest.max(sum / (distance + 1) as f64);
    }
    largest
}
