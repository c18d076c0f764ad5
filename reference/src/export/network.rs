//! What export needs of a model, decoder or encoder.

use super::calibration::{Ranges, include, joined};
use super::prompts::Padding;
use crate::error::ReferenceError;
use crate::model::{
    Encoder, EncoderInput, Matrix, Model, Observer, centre, encoder_forward, forward, load, load_config, load_encoder,
    variance,
};
use crate::rungs::{Replaced, Rung, encoder_site_function, site_function};
use rayon::prelude::*;
use std::path::Path;
use touchstone_spec::artifact::{AnyConfig, Function, Polynomials, site_names};

/// A model in binary64 whose functions are to be replaced.
pub trait Network: Sync {
    /// Sites in order, each with the function evaluated there.
    fn sites(&self) -> Vec<(String, Function)>;
    /// Number of blocks.
    fn layers(&self) -> usize;
    /// Number of tokens in the vocabulary.
    fn vocabulary(&self) -> u32;
    /// Longest prompt in tokens.
    fn context(&self) -> usize;
    /// How prompts are extended to the length of the context.
    fn padding(&self) -> Padding;
    /// Inputs that are known without a prompt because they depend on single embedding rows.
    fn tabulated(&self) -> Ranges;
    /// The replacements of an artifact.
    ///
    /// # Errors
    /// As [`Replaced::new`].
    fn replaced(&self, polynomials: &Polynomials) -> Result<Replaced, ReferenceError>;
    /// Logits of the first `length` tokens; the others are padding.
    ///
    /// # Errors
    /// What [`forward`] and [`encoder_forward`] refuse.
    fn logits(
        &self,
        tokens: &[u32],
        length: usize,
        rung: &dyn Rung<f64>,
        observer: &mut dyn Observer<f64>,
    ) -> Result<Vec<f64>, ReferenceError>;
}

impl Network for Model {
    fn sites(&self) -> Vec<(String, Function)> {
        let function = |site: String| {
            let function = site_function(&self.config, &site);
            (site, function)
        };
        site_names(&self.config).into_iter().map(function).collect()
    }

    fn layers(&self) -> usize {
        self.config.num_hidden_layers
    }

    fn vocabulary(&self) -> u32 {
        self.config.vocab_size as u32
    }

    fn context(&self) -> usize {
        self.config.max_position_embeddings
    }

    fn padding(&self) -> Padding {
        Padding::Cyclic
    }

    /// The first LayerNorm reads embedding rows.
    fn tabulated(&self) -> Ranges {
        let mut ranges = Ranges::new();
        let rows = (0..self.embedding.rows).map(|row| variance(&centre::<f64>(self.embedding.row(row), ()), ()));
        include(&mut ranges, "layers.0.inverse-sqrt", &rows.collect::<Vec<f64>>());
        ranges
    }

    fn replaced(&self, polynomials: &Polynomials) -> Result<Replaced, ReferenceError> {
        Replaced::new(&self.config, polynomials)
    }

    fn logits(
        &self,
        tokens: &[u32],
        length: usize,
        rung: &dyn Rung<f64>,
        observer: &mut dyn Observer<f64>,
    ) -> Result<Vec<f64>, ReferenceError> {
        forward(self, tokens, length - 1, rung, (), observer)
    }
}

impl Network for Encoder {
    fn sites(&self) -> Vec<(String, Function)> {
        let function = |site: String| {
            let function = encoder_site_function(&self.config, &site);
            (site, function)
        };
        self.config.site_names().into_iter().map(function).collect()
    }

    fn layers(&self) -> usize {
        self.config.num_hidden_layers
    }

    fn vocabulary(&self) -> u32 {
        self.config.vocab_size as u32
    }

    fn context(&self) -> usize {
        self.config.max_tokens()
    }

    fn padding(&self) -> Padding {
        Padding::Token(self.config.pad_token_id as u32)
    }

    /// The first LayerNorm reads the sum of a word, a position and a segment row.
    fn tabulated(&self) -> Ranges {
        let centred = |matrix: &Matrix| -> Vec<Vec<f64>> {
            (0..matrix.rows).map(|row| centre::<f64>(matrix.row(row), ())).collect()
        };
        let [words, positions, types] = [&self.words, &self.positions, &self.types].map(centred);
        let places: Vec<Vec<f64>> = positions[self.config.first_position()..]
            .iter()
            .flat_map(|a| types.iter().map(move |b| a.iter().zip(b).map(|(a, b)| a + b).collect()))
            .collect();
        let of_word = |word: &Vec<f64>| {
            let sum = |place: &Vec<f64>| word.iter().zip(place).map(|(a, b)| a + b).collect::<Vec<f64>>();
            let mut ranges = Ranges::new();
            let variances: Vec<f64> = places.iter().map(|place| variance(&sum(place), ())).collect();
            include(&mut ranges, "embedding.inverse-sqrt", &variances);
            ranges
        };
        words.par_iter().map(of_word).reduce(Ranges::new, |all, one| joined(all, &one))
    }

    fn replaced(&self, polynomials: &Polynomials) -> Result<Replaced, ReferenceError> {
        Replaced::for_encoder(&self.config, polynomials)
    }

    fn logits(
        &self,
        tokens: &[u32],
        length: usize,
        rung: &dyn Rung<f64>,
        observer: &mut dyn Observer<f64>,
    ) -> Result<Vec<f64>, ReferenceError> {
        let mask: Vec<bool> = (0..tokens.len()).map(|i| i < length).collect();
        let input = EncoderInput { tokens, types: &vec![0; tokens.len()], mask: &mask };
        encoder_forward(self, &input, rung, (), observer)
    }
}

/// A model directory of either family.
#[derive(Clone, Debug)]
pub enum Trained {
    /// GPT-NeoX.
    Decoder(Model),
    /// BERT or RoBERTa.
    Encoder(Encoder),
}

impl Trained {
    /// Reads `config.json` and `model.safetensors` of a directory.
    ///
    /// # Errors
    /// As [`load`].
    pub fn load(directory: &Path) -> Result<Self, ReferenceError> {
        match load_config(directory)? {
            AnyConfig::Decoder(_) => load(directory).map(Self::Decoder),
            AnyConfig::Encoder(_) => load_encoder(directory).map(Self::Encoder),
        }
    }

    /// What export needs of it.
    #[must_use]
    pub fn network(&self) -> &dyn Network {
        match self {
            Self::Decoder(model) => model,
            Self::Encoder(model) => model,
        }
    }

    /// Its configuration.
    #[must_use]
    pub fn config(&self) -> AnyConfig {
        match self {
            Self::Decoder(model) => AnyConfig::Decoder(model.config.clone()),
            Self::Encoder(model) => AnyConfig::Encoder(model.config.clone()),
        }
    }
}
