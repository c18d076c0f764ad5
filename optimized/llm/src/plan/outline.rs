//! Models without weights: enough to plan, as a dry run never looks at a weight.

use crate::artifact::{Encoder, Layer, Linear, Matrix, Model, Norm};
use crate::circuit::Circuit;
use crate::error::Result;
use touchstone_spec::artifact::{
    AnyConfig, EncoderConfig, ErrorKind, Function, ModelConfig, POLYNOMIALS_FORMAT, Polynomials, Pooling, Refinement,
    Site,
};
use touchstone_spec::hexfloat::HexFloat;

/// Degrees of replacements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Degrees {
    /// Of inverse square roots.
    pub inverse_sqrt: usize,
    /// Of reciprocals.
    pub reciprocal: usize,
    /// Of GELU and tanh.
    pub activation: usize,
}

impl Default for Degrees {
    /// Those of the shipped four-layer model, and of `cargo reference synth`.
    fn default() -> Self {
        Self { inverse_sqrt: 63, reciprocal: 127, activation: 31 }
    }
}

impl Degrees {
    /// Replacements of these degrees at every site of a model, which stand for those of a trained one in a plan: only their degrees and
    /// parity are right.
    #[must_use]
    pub fn typical(&self, config: &AnyConfig) -> Polynomials {
        let sites = config.site_names().into_iter().map(|name| self.site(name)).collect();
        let calibration = "none: these stand for replacements of the same degrees".to_owned();
        Polynomials { format: POLYNOMIALS_FORMAT.to_owned(), calibration, sites, streams: Vec::new() }
    }

    fn site(&self, name: String) -> Site {
        let shift = HexFloat(0.0);
        let (function, degree) = match name.rsplit('.').next() {
            Some("gelu") => (Function::Gelu, self.activation),
            Some("tanh") => (Function::Tanh, self.activation),
            Some("reciprocal") => (Function::Reciprocal { shift }, self.reciprocal),
            _ => (Function::InverseSqrt { shift }, self.inverse_sqrt),
        };
        // On an interval around 0, GELU is x/2 and an even function, and tanh is odd.
        let vanishes = |k: usize| match function {
            Function::Gelu => k > 1 && !k.is_multiple_of(2),
            Function::Tanh => k.is_multiple_of(2),
            _ => false,
        };
        let coefficient = |k| HexFloat(if vanishes(k) { 0.0 } else { 1.0 });
        let interval = [HexFloat(0.0), HexFloat(1.0)];
        Site {
            site: name,
            observed: interval,
            interval,
            coefficients: (0..=degree).map(coefficient).collect(),
            refinement: Refinement::None,
            sup_error: HexFloat(0.0),
            error_kind: ErrorKind::Absolute,
            function,
        }
    }
}

/// The shapes and replacements of a model, without its weights.
#[derive(Clone, Debug)]
pub struct Outline(Family);

#[derive(Clone, Debug)]
enum Family {
    Decoder(Box<Model>),
    Encoder(Box<Encoder>),
}

impl Outline {
    /// The outline of a configuration.
    #[must_use]
    pub fn new(config: &AnyConfig, polynomials: Polynomials) -> Self {
        match config {
            AnyConfig::Decoder(config) => Self(Family::Decoder(Box::new(decoder(config, polynomials)))),
            AnyConfig::Encoder(config) => Self(Family::Encoder(Box::new(encoder(config, polynomials)))),
        }
    }

    /// The outline of a circuit's model.
    pub(crate) fn of(model: &Model, of_encoder: Option<&Encoder>) -> Self {
        let polynomials = model.polynomials.clone();
        Self(match of_encoder {
            Some(of_encoder) => Family::Encoder(Box::new(encoder(&of_encoder.config, polynomials))),
            None => Family::Decoder(Box::new(decoder(&model.config, polynomials))),
        })
    }

    /// The circuit for `tokens` tokens, laid out as for a model with weights: a decoder's rows hold its context.
    ///
    /// # Errors
    /// As [`Circuit::new`] and [`Circuit::encoder`].
    pub fn circuit(&self, slots: usize, tokens: usize) -> Result<Circuit<'_>> {
        match &self.0 {
            Family::Decoder(model) => Circuit::new(model, slots, tokens),
            Family::Encoder(encoder) => Circuit::encoder(encoder, slots, tokens),
        }
    }

    /// The model, or the body of the encoder, and the encoder.
    pub(crate) fn parts(&self) -> (&Model, Option<&Encoder>) {
        match &self.0 {
            Family::Decoder(model) => (model, None),
            Family::Encoder(encoder) => (&encoder.body, Some(encoder)),
        }
    }
}

fn linear(rows: usize, cols: usize) -> Linear<f32> {
    Linear { weight: Matrix::outline(rows, cols), bias: vec![0.0; rows] }
}

fn norm(width: usize) -> Norm {
    Norm { gain: vec![1.0; width], shift: vec![0.0; width] }
}

fn decoder(config: &ModelConfig, polynomials: Polynomials) -> Model {
    let (d, f) = (config.hidden_size, config.intermediate_size);
    let layer = |_| Layer {
        attention_norm: norm(d),
        mlp_norm: norm(d),
        qkv: linear(3 * d, d),
        dense: linear(d, d),
        up: linear(f, d),
        down: linear(d, f),
    };
    Model {
        config: config.clone(),
        polynomials,
        embedding: Matrix::outline(config.vocab_size, d),
        layers: (0..config.num_hidden_layers).map(layer).collect(),
        final_norm: norm(d),
        head: Matrix::outline(config.vocab_size, d),
    }
}

fn encoder(config: &EncoderConfig, polynomials: Polynomials) -> Encoder {
    let d = config.hidden_size;
    let body = decoder(&Encoder::body_config(config), polynomials);
    Encoder {
        config: config.clone(),
        positions: Matrix::outline(config.max_position_embeddings, d),
        types: Matrix::outline(config.type_vocab_size, d),
        pooler: (config.pooling == Pooling::First).then(|| linear(d, d)),
        classifier_bias: vec![0.0; config.num_labels],
        body: Model { head: Matrix::outline(config.num_labels, d), ..body },
    }
}
