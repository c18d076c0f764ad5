//! Reader of model directories (`r[artifact.files]`, `r[artifact.limits]`).
//!
//! Sizes are checked before anything is allocated for them, shapes against the configuration, values for NaN and
//! infinity; every refusal names file, tensor, what was expected and what was found.

use super::weights::{Affine, Layer, Matrix, Model, Norm};
use crate::error::ReferenceError;
use safetensors::{Dtype, SafeTensors};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use tokenizers::Tokenizer;
use touchstone_spec::artifact::{MAX_JSON_BYTES, MAX_TOKENIZER_BYTES, MAX_WEIGHTS_BYTES, ModelConfig, Polynomials};

/// Reads `config.json` and `model.safetensors` of a model directory.
///
/// # Errors
/// [`ReferenceError::BadFile`] for an unreadable or oversized file, a missing tensor, a wrong shape or type, or a value
/// that is not finite; [`ReferenceError::Spec`] for a configuration that the format does not admit.
pub fn load(directory: &Path) -> Result<Model, ReferenceError> {
    let config = ModelConfig::from_json(&read_text(&directory.join("config.json"), MAX_JSON_BYTES)?)?;
    let bytes = read_limited(&directory.join("model.safetensors"), MAX_WEIGHTS_BYTES)?;
    let tensors =
        SafeTensors::deserialize(&bytes).map_err(|e| refuse("header", "a safetensors file", e.to_string()))?;
    Reader { tensors, config: &config }.model()
}

/// Reads `polynomials.json` of a model directory.
///
/// # Errors
/// [`ReferenceError::BadFile`] for an unreadable or oversized file, [`ReferenceError::Spec`] for one that does not fit
/// the configuration.
pub fn load_polynomials(directory: &Path, config: &ModelConfig) -> Result<Polynomials, ReferenceError> {
    Ok(Polynomials::from_json(&read_text(&directory.join("polynomials.json"), MAX_JSON_BYTES)?, config)?)
}

/// Reads `tokenizer.json` of a model directory.
///
/// # Errors
/// [`ReferenceError::BadFile`] for an unreadable, oversized or malformed file.
pub fn load_tokenizer(directory: &Path) -> Result<Tokenizer, ReferenceError> {
    let bytes = read_limited(&directory.join("tokenizer.json"), MAX_TOKENIZER_BYTES)?;
    Tokenizer::from_bytes(bytes).map_err(|e| ReferenceError::BadFile {
        file: "tokenizer.json".to_owned(),
        what: "document".to_owned(),
        expected: "a Hugging Face tokenizer".to_owned(),
        got: e.to_string(),
    })
}

/// Reads a whole file of at most `limit` bytes; the length is checked before memory is allocated.
///
/// # Errors
/// [`ReferenceError::BadFile`] for an unreadable or oversized file.
pub fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>, ReferenceError> {
    let file = path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned());
    let refuse = |what: &str, expected: String, got: String| ReferenceError::BadFile {
        file: file.clone(),
        what: what.to_owned(),
        expected,
        got,
    };
    let unreadable = |e: std::io::Error| refuse("content", "a readable file".to_owned(), e.to_string());
    let handle = File::open(path).map_err(unreadable)?;
    let length = handle.metadata().map_err(unreadable)?.len();
    if length > limit {
        return Err(refuse("length", format!("at most {limit} bytes"), format!("{length} bytes")));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    // The file may grow while it is read: one byte over the limit is enough to notice.
    handle.take(limit + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > limit {
        return Err(refuse("length", format!("at most {limit} bytes"), "more".to_owned()));
    }
    Ok(bytes)
}

fn read_text(path: &Path, limit: u64) -> Result<String, ReferenceError> {
    String::from_utf8(read_limited(path, limit)?).map_err(|e| ReferenceError::BadFile {
        file: path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
        what: "content".to_owned(),
        expected: "UTF-8 text".to_owned(),
        got: e.to_string(),
    })
}

fn refuse(what: &str, expected: impl Into<String>, got: impl Into<String>) -> ReferenceError {
    ReferenceError::BadFile {
        file: "model.safetensors".to_owned(),
        what: what.to_owned(),
        expected: expected.into(),
        got: got.into(),
    }
}

struct Reader<'a> {
    tensors: SafeTensors<'a>,
    config: &'a ModelConfig,
}

impl Reader<'_> {
    fn model(&self) -> Result<Model, ReferenceError> {
        let config = self.config;
        let [d, vocabulary] = [config.hidden_size, config.vocab_size];
        let embedding = self.matrix("gpt_neox.embed_in", vocabulary, d)?;
        let layers = (0..config.num_hidden_layers).map(|i| self.layer(i)).collect::<Result<_, _>>()?;
        let final_norm = self.norm("gpt_neox.final_layer_norm", d)?;
        let head =
            if config.tie_word_embeddings { embedding.clone() } else { self.matrix("embed_out", vocabulary, d)? };
        Ok(Model { config: config.clone(), embedding, layers, final_norm, head })
    }

    fn layer(&self, index: usize) -> Result<Layer, ReferenceError> {
        let [d, f] = [self.config.hidden_size, self.config.intermediate_size];
        let name = |part: &str| format!("gpt_neox.layers.{index}.{part}");
        Ok(Layer {
            attention_norm: self.norm(&name("input_layernorm"), d)?,
            mlp_norm: self.norm(&name("post_attention_layernorm"), d)?,
            query_key_value: self.affine(&name("attention.query_key_value"), 3 * d, d)?,
            output: self.affine(&name("attention.dense"), d, d)?,
            up: self.affine(&name("mlp.dense_h_to_4h"), f, d)?,
            down: self.affine(&name("mlp.dense_4h_to_h"), d, f)?,
        })
    }

    fn norm(&self, name: &str, size: usize) -> Result<Norm, ReferenceError> {
        Ok(Norm {
            gamma: self.tensor(&format!("{name}.weight"), &[size])?,
            beta: self.tensor(&format!("{name}.bias"), &[size])?,
        })
    }

    fn affine(&self, name: &str, rows: usize, columns: usize) -> Result<Affine, ReferenceError> {
        Ok(Affine { weight: self.matrix(name, rows, columns)?, bias: self.tensor(&format!("{name}.bias"), &[rows])? })
    }

    fn matrix(&self, name: &str, rows: usize, columns: usize) -> Result<Matrix, ReferenceError> {
        let values = self.tensor(&format!("{name}.weight"), &[rows, columns])?;
        Ok(Matrix { rows, columns, values })
    }

    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f64>, ReferenceError> {
        let view = self.tensors.tensor(name).map_err(|e| refuse(name, "a tensor of that name", e.to_string()))?;
        if view.shape() != shape {
            return Err(refuse(name, format!("shape {shape:?}"), format!("{:?}", view.shape())));
        }
        let values: Vec<f64> = match view.dtype() {
            Dtype::F32 => {
                let words = view.data().chunks_exact(4);
                words.map(|w| f64::from(f32::from_le_bytes([w[0], w[1], w[2], w[3]]))).collect()
            }
            Dtype::F16 => {
                let words = view.data().chunks_exact(2);
                words.map(|w| half::f16::from_le_bytes([w[0], w[1]]).to_f64()).collect()
            }
            other => return Err(refuse(name, "F32 or F16", format!("{other:?}"))),
        };
        match values.iter().position(|x| !x.is_finite()) {
            Some(index) => Err(refuse(name, "finite values", format!("{} at index {index}", values[index]))),
            None => Ok(values),
        }
    }
}
