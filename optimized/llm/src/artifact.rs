//! Loading of a model directory (`r[artifact.files]`): configuration, weights, polynomials, tokenizer.
//!
//! Everything is checked before it is used: file sizes before reading, shapes against the configuration, every number
//! for being finite. Matrices stay f32, which holds all that a file can hold exactly; they are folded in f64, map by map, before
//! diagonals are made of them.

mod encoder;

pub use encoder::{Encoder, joined_qkv};

use crate::error::{LlmError, Result};
use safetensors::{Dtype, SafeTensors};
use std::path::{Path, PathBuf};
use tokenizers::Tokenizer;
use touchstone_spec::artifact::{
    AnyConfig, MAX_JSON_BYTES, MAX_TOKENIZER_BYTES, MAX_WEIGHTS_BYTES, ModelConfig, Polynomials, Site,
};

const WEIGHTS: &str = "model.safetensors";

/// A row-major matrix of shape `[rows][cols]`: of f32 as a model holds it, of f64 once something is folded in.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix<T = f64> {
    /// Number of rows (outputs).
    pub rows: usize,
    /// Number of columns (inputs).
    pub cols: usize,
    /// `rows * cols` entries, row by row.
    pub data: Vec<T>,
}

impl<T: Copy + Into<f64>> Matrix<T> {
    /// A matrix of which only the shape is known, for models that are planned but never computed with.
    pub(crate) fn outline(rows: usize, cols: usize) -> Self {
        Self { rows, cols, data: Vec::new() }
    }

    /// Whether only the shape is known.
    pub(crate) fn is_outline(&self) -> bool {
        self.data.is_empty()
    }

    /// Entry in row `i`, column `j`.
    #[must_use]
    pub fn at(&self, i: usize, j: usize) -> f64 {
        self.data[i * self.cols + j].into()
    }

    /// Row `i`.
    #[must_use]
    pub fn row(&self, i: usize) -> &[T] {
        &self.data[i * self.cols..(i + 1) * self.cols]
    }

    /// Entries of row `i`, widened.
    pub fn entries(&self, i: usize) -> impl Iterator<Item = f64> {
        self.row(i).iter().map(|&x| x.into())
    }

    /// `self * x`, `x` of length `cols`.
    #[must_use]
    pub fn apply(&self, x: &[f64]) -> Vec<f64> {
        (0..self.rows).map(|i| self.entries(i).zip(x).map(|(w, v)| w * v).sum()).collect()
    }
}

/// A linear layer `y = weight x + bias`.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear<T = f64> {
    /// Shape `[outputs][inputs]`.
    pub weight: Matrix<T>,
    /// Shape `[outputs]`.
    pub bias: Vec<f64>,
}

/// Gain and shift of a LayerNorm, each of shape `[d]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Norm {
    /// `gamma` of `r[ln.definition]`.
    pub gain: Vec<f64>,
    /// `beta` of `r[ln.definition]`.
    pub shift: Vec<f64>,
}

/// Weights of one block.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// LayerNorm before attention.
    pub attention_norm: Norm,
    /// LayerNorm before the MLP.
    pub mlp_norm: Norm,
    /// `query_key_value`, `[3d][d]` in the order of `r[model.qkv]`.
    pub qkv: Linear<f32>,
    /// Output projection, `[d][d]`.
    pub dense: Linear<f32>,
    /// MLP up projection, `[f][d]`.
    pub up: Linear<f32>,
    /// MLP down projection, `[d][f]`.
    pub down: Linear<f32>,
}

/// A polynomial GPT-NeoX model, without its tokenizer.
#[derive(Clone, Debug)]
pub struct Model {
    /// Shapes and constants.
    pub config: ModelConfig,
    /// Replacements of the non-polynomial functions.
    pub polynomials: Polynomials,
    /// Embedding, `[vocabulary][d]`.
    pub embedding: Matrix<f32>,
    /// Blocks, first to last.
    pub layers: Vec<Layer>,
    /// Final LayerNorm.
    pub final_norm: Norm,
    /// LM head, `[vocabulary][d]`.
    pub head: Matrix<f32>,
}

impl Model {
    /// Loads `config.json`, `polynomials.json` and `model.safetensors` of `directory`.
    ///
    /// # Errors
    /// [`LlmError::Io`], [`LlmError::File`], [`LlmError::Tensor`] or [`LlmError::Spec`], naming file and tensor or field.
    pub fn load(directory: &Path) -> Result<Self> {
        let config = ModelConfig::from_json(&read_text(&directory.join("config.json"), MAX_JSON_BYTES)?)?;
        let text = read_text(&directory.join("polynomials.json"), MAX_JSON_BYTES)?;
        let polynomials = Polynomials::from_json(&text, &config)?;
        Self::read(config, polynomials, &read_limited(&directory.join(WEIGHTS), MAX_WEIGHTS_BYTES)?)
    }

    /// Reads the weights from the bytes of a `model.safetensors`; the other two parts must have been checked.
    ///
    /// # Errors
    /// [`LlmError::File`] or [`LlmError::Tensor`].
    pub fn read(config: ModelConfig, polynomials: Polynomials, weights: &[u8]) -> Result<Self> {
        let (d, f, v) = (config.hidden_size, config.intermediate_size, config.vocab_size);
        let reader = Reader { tensors: parse_weights(weights)? };
        let embedding = reader.matrix("gpt_neox.embed_in.weight", v, d)?;
        let layers = (0..config.num_hidden_layers).map(|i| reader.layer(i, d, f)).collect::<Result<_>>()?;
        let final_norm = reader.norm("gpt_neox.final_layer_norm", d)?;
        let head =
            if config.tie_word_embeddings { embedding.clone() } else { reader.matrix("embed_out.weight", v, d)? };
        Ok(Self { config, polynomials, embedding, layers, final_norm, head })
    }

    /// Rows of the embedding, one per token (`r[model.embed]`).
    ///
    /// # Errors
    /// [`LlmError::Prompt`] for a token outside the vocabulary.
    pub fn embed(&self, tokens: &[u32]) -> Result<Vec<Vec<f64>>> {
        let row = |&token: &u32| match (token as usize) < self.embedding.rows {
            true => Ok(self.embedding.entries(token as usize).collect()),
            false => {
                let expected = format!("token ids below {}", self.embedding.rows);
                Err(LlmError::Prompt { expected, got: token.to_string() })
            }
        };
        tokens.iter().map(row).collect()
    }

    /// The replacement at `name`.
    ///
    /// # Errors
    /// [`LlmError::File`] if `polynomials.json` has no such site; a loaded model always has it.
    pub fn site(&self, name: &str) -> Result<&Site> {
        self.polynomials.site(name).ok_or_else(|| LlmError::File {
            file: "polynomials.json".to_owned(),
            operation: "sites".to_owned(),
            expected: name.to_owned(),
            got: "no such site".to_owned(),
        })
    }
}

/// Loads `config.json` of `directory`, of either family.
///
/// # Errors
/// [`LlmError::Io`], [`LlmError::File`] or [`LlmError::Spec`].
pub fn load_config(directory: &Path) -> Result<AnyConfig> {
    Ok(AnyConfig::from_json(&read_text(&directory.join("config.json"), MAX_JSON_BYTES)?)?)
}

/// Loads `tokenizer.json` of `directory`.
///
/// # Errors
/// [`LlmError::Io`] or [`LlmError::File`].
pub fn load_tokenizer(directory: &Path) -> Result<Tokenizer> {
    let bytes = read_limited(&directory.join("tokenizer.json"), MAX_TOKENIZER_BYTES)?;
    Tokenizer::from_bytes(&bytes).map_err(|error| LlmError::File {
        file: "tokenizer.json".to_owned(),
        operation: "tokenizer".to_owned(),
        expected: "a Hugging Face tokenizer".to_owned(),
        got: error.to_string(),
    })
}

/// Directory of the model that ships with the project: below the current directory, else below the source tree.
#[must_use]
pub fn shipped_model() -> PathBuf {
    let relative = Path::new("models/fairy-4l");
    if relative.is_dir() {
        return relative.to_owned();
    }
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(relative)
}

/// Reads a file whose size is checked first.
pub(crate) fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let size = std::fs::metadata(path).map_err(LlmError::io(path))?.len();
    if size > limit {
        return Err(LlmError::File {
            file: path.display().to_string(),
            operation: "size".to_owned(),
            expected: format!("at most {limit} bytes"),
            got: format!("{size} bytes"),
        });
    }
    std::fs::read(path).map_err(LlmError::io(path))
}

fn read_text(path: &Path, limit: u64) -> Result<String> {
    String::from_utf8(read_limited(path, limit)?).map_err(|error| LlmError::File {
        file: path.display().to_string(),
        operation: "text".to_owned(),
        expected: "UTF-8".to_owned(),
        got: error.to_string(),
    })
}

fn parse_weights(bytes: &[u8]) -> Result<SafeTensors<'_>> {
    SafeTensors::deserialize(bytes).map_err(|error| LlmError::File {
        file: WEIGHTS.to_owned(),
        operation: "header".to_owned(),
        expected: "a safetensors file".to_owned(),
        got: error.to_string(),
    })
}

struct Reader<'a> {
    tensors: SafeTensors<'a>,
}

impl Reader<'_> {
    fn layer(&self, index: usize, d: usize, f: usize) -> Result<Layer> {
        let name = |part: &str| format!("gpt_neox.layers.{index}.{part}");
        Ok(Layer {
            attention_norm: self.norm(&name("input_layernorm"), d)?,
            mlp_norm: self.norm(&name("post_attention_layernorm"), d)?,
            qkv: self.linear(&name("attention.query_key_value"), 3 * d, d)?,
            dense: self.linear(&name("attention.dense"), d, d)?,
            up: self.linear(&name("mlp.dense_h_to_4h"), f, d)?,
            down: self.linear(&name("mlp.dense_4h_to_h"), d, f)?,
        })
    }

    fn norm(&self, name: &str, d: usize) -> Result<Norm> {
        Ok(Norm { gain: self.vector(&format!("{name}.weight"), d)?, shift: self.vector(&format!("{name}.bias"), d)? })
    }

    fn linear(&self, name: &str, rows: usize, cols: usize) -> Result<Linear<f32>> {
        let weight = self.matrix(&format!("{name}.weight"), rows, cols)?;
        Ok(Linear { weight, bias: self.vector(&format!("{name}.bias"), rows)? })
    }

    fn matrix(&self, name: &str, rows: usize, cols: usize) -> Result<Matrix<f32>> {
        Ok(Matrix { rows, cols, data: self.values(name, &[rows, cols])? })
    }

    fn vector(&self, name: &str, length: usize) -> Result<Vec<f64>> {
        Ok(self.values(name, &[length])?.into_iter().map(f64::from).collect())
    }

    fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let wrong = |expected: String, got: String| LlmError::Tensor {
            file: WEIGHTS.to_owned(),
            tensor: name.to_owned(),
            expected,
            got,
        };
        let view = self.tensors.tensor(name).map_err(|_| wrong(format!("shape {shape:?}"), "no such tensor".into()))?;
        if view.shape() != shape {
            return Err(wrong(format!("shape {shape:?}"), format!("shape {:?}", view.shape())));
        }
        let values: Vec<f32> = match view.dtype() {
            Dtype::F32 => {
                let read = |b: &[u8; 4]| f32::from_le_bytes(*b);
                view.data().as_chunks().0.iter().map(read).collect()
            }
            Dtype::F16 => {
                let read = |b: &[u8; 2]| half::f16::from_le_bytes(*b).to_f32();
                view.data().as_chunks().0.iter().map(read).collect()
            }
            other => return Err(wrong("dtype F32 or F16".to_owned(), format!("dtype {other:?}"))),
        };
        match values.iter().position(|x| !x.is_finite()) {
            Some(at) => Err(wrong("finite numbers".to_owned(), format!("{} at index {at}", values[at]))),
            None => Ok(values),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The four-layer model loads with the size of its stream, the one-layer model without (`r[artifact.streams]`).
    #[test]
    fn shipped_models_load() {
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models");
        let model = Model::load(&models.join("fairy-4l")).unwrap();
        let limits: Vec<f64> = (0..4).filter_map(|layer| model.polynomials.stream_limit(layer)).collect();
        assert!(limits.len() == 4 && limits.iter().all(|limit| *limit > 1.0), "{limits:?}");
        assert_eq!(Model::load(&models.join("fairy-1l")).unwrap().polynomials.stream_limit(0), None);
    }
}
