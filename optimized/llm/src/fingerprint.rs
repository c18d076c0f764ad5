//! SHA-256 of everything that a model computes with, in hexadecimal: files of a computation are only read for the model that they belong to.

use crate::artifact::{Encoder, Linear, Matrix, Model, Norm};
use crate::circuit::Circuit;
use crate::error::{LlmError, Result};
use crate::sealed::hexadecimal;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::path::Path;

/// Hash of everything that a circuit's model computes with.
pub(crate) fn hash_of_weights(circuit: &Circuit<'_>) -> Result<String> {
    let mut hash = Weights::default();
    hash.model(circuit.model())?;
    circuit.encoder_model().map_or(Ok(()), |encoder| hash.encoder(encoder))?;
    Ok(hash.finish())
}

/// Hash of everything that a decoder computes with.
pub(crate) fn hash_of_model(model: &Model) -> Result<String> {
    let mut hash = Weights::default();
    hash.model(model)?;
    Ok(hash.finish())
}

/// A hash of numbers in the order of a model.
#[derive(Default)]
struct Weights(Sha256);

impl Weights {
    fn json(&mut self, value: &impl Serialize) -> Result<()> {
        let json = serde_json::to_vec(value).map_err(|error| LlmError::io(Path::new("model"))(error.into()))?;
        self.0.update(json);
        Ok(())
    }

    fn values(&mut self, values: &[f64]) {
        values.iter().for_each(|x| self.0.update(x.to_le_bytes()));
    }

    fn matrix(&mut self, matrix: &Matrix<f32>) {
        matrix.data.iter().for_each(|&x| self.0.update(f64::from(x).to_le_bytes()));
    }

    fn norm(&mut self, norm: &Norm) {
        [&norm.gain, &norm.shift].into_iter().for_each(|x| self.values(x));
    }

    fn linear(&mut self, linear: &Linear<f32>) {
        self.matrix(&linear.weight);
        self.values(&linear.bias);
    }

    fn model(&mut self, model: &Model) -> Result<()> {
        self.json(&model.config)?;
        self.json(&model.polynomials)?;
        self.matrix(&model.embedding);
        for layer in &model.layers {
            self.norm(&layer.attention_norm);
            self.norm(&layer.mlp_norm);
            [&layer.qkv, &layer.dense, &layer.up, &layer.down].into_iter().for_each(|linear| self.linear(linear));
        }
        self.norm(&model.final_norm);
        self.matrix(&model.head);
        Ok(())
    }

    /// What an encoder has besides its body.
    fn encoder(&mut self, encoder: &Encoder) -> Result<()> {
        self.json(&encoder.config)?;
        self.matrix(&encoder.positions);
        self.matrix(&encoder.types);
        encoder.pooler.iter().for_each(|pooler| self.linear(pooler));
        self.values(&encoder.classifier_bias);
        Ok(())
    }

    fn finish(self) -> String {
        hexadecimal(&self.0.finalize())
    }
}
