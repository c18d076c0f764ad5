//! Models of any shape with weights drawn from a seed: for measuring time, memory and error where no trained
//! Power-Softmax model exists. They have learnt nothing.
//!
//! Deviations are chosen such that every input of a replaced function stays in the range that the range loss of training
//! aims at (`r[train.range-loss]`): scores are about normal with deviation 0.35, so that means of their fourth powers rarely
//! leave [0, 5]; GELU inputs are about normal with deviation 0.6; a block adds about 0.3 to the variance of the stream.

mod draw;
mod tensors;

pub use draw::{Draw, values};
pub use tensors::{Tensor, decoder, encoder};

use crate::error::ReferenceError;
use rayon::prelude::*;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use std::path::Path;
use touchstone_spec::SpecError;
use touchstone_spec::artifact::AnyConfig;

/// Sizes that replace those of a configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resize {
    /// Number of blocks.
    pub layers: Option<usize>,
    /// Longest prompt in tokens.
    pub tokens: Option<usize>,
    /// Number of tokens in the vocabulary.
    pub vocabulary: Option<usize>,
}

impl Resize {
    /// The configuration with the sizes given here.
    ///
    /// # Errors
    /// As [`touchstone_spec::artifact::ModelConfig::check`].
    pub fn apply(&self, config: AnyConfig) -> Result<AnyConfig, SpecError> {
        match config {
            AnyConfig::Decoder(mut config) => {
                config.num_hidden_layers = self.layers.unwrap_or(config.num_hidden_layers);
                config.max_position_embeddings = self.tokens.unwrap_or(config.max_position_embeddings);
                config.vocab_size = self.vocabulary.unwrap_or(config.vocab_size);
                config.check()?;
                Ok(AnyConfig::Decoder(config))
            }
            AnyConfig::Encoder(mut config) => {
                config.num_hidden_layers = self.layers.unwrap_or(config.num_hidden_layers);
                let first = config.first_position();
                let rows = self.tokens.map(|tokens| tokens.saturating_add(first));
                config.max_position_embeddings = rows.unwrap_or(config.max_position_embeddings);
                config.vocab_size = self.vocabulary.unwrap_or(config.vocab_size);
                config.check()?;
                Ok(AnyConfig::Encoder(config))
            }
        }
    }
}

/// The tensors of a model.
#[must_use]
pub fn tensors(config: &AnyConfig) -> Vec<Tensor> {
    match config {
        AnyConfig::Decoder(config) => decoder(config),
        AnyConfig::Encoder(config) => encoder(config),
    }
}

/// Draws the tensors of a model and writes them as a weights file of binary32 numbers.
///
/// # Errors
/// [`ReferenceError::BadFile`] when the file cannot be written.
pub fn write_weights(config: &AnyConfig, seed: u64, path: &Path) -> Result<(), ReferenceError> {
    let tensors = tensors(config);
    let bytes = |tensor: &Tensor| -> Vec<u8> {
        let columns = tensor.shape.last().copied().unwrap_or(1);
        values(seed, &tensor.name, columns, &tensor.rows).into_iter().flat_map(f32::to_le_bytes).collect()
    };
    let contents: Vec<Vec<u8>> = tensors.par_iter().map(bytes).collect();
    let unwritten = |error: safetensors::SafeTensorError| ReferenceError::BadFile {
        file: path.display().to_string(),
        what: "content".to_owned(),
        expected: "a place to write weights to".to_owned(),
        got: error.to_string(),
    };
    let views = tensors.iter().zip(&contents).map(|(tensor, bytes)| {
        TensorView::new(Dtype::F32, tensor.shape.clone(), bytes).map(|view| (tensor.name.as_str(), view))
    });
    let views = views.collect::<Result<Vec<_>, _>>().map_err(unwritten)?;
    safetensors::serialize_to_file(views, None, path).map_err(unwritten)
}
