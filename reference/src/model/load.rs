//! Reader of model directories (`r[artifact.files]`, `r[artifact.limits]`).
//!
//! Sizes are checked before anything is allocated for them, shapes against the configuration, values for NaN and
//! infinity; every refusal names file, tensor, what was expected and what was found.

use super::encoder::{Encoder, EncoderLayer};
use super::weights::{Affine, Layer, Matrix, Model, Norm};
use crate::error::ReferenceError;
use safetensors::{Dtype, SafeTensors};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use tokenizers::Tokenizer;
use touchstone_spec::artifact::{
    AnyConfig, EncoderConfig, EncoderKind, MAX_JSON_BYTES, MAX_TOKENIZER_BYTES, MAX_WEIGHTS_BYTES, ModelConfig,
    Polynomials, Pooling,
};

/// Reads `config.json` and `model.safetensors` of a model directory.
///
/// # Errors
/// [`ReferenceError::BadFile`] for an unreadable or oversized file, a missing tensor, a wrong shape or type, or a value
/// that is not finite; [`ReferenceError::Spec`] for a configuration that the format does not admit.
pub fn load(directory: &Path) -> Result<Model, ReferenceError> {
    let config = ModelConfig::from_json(&read_text(&directory.join("config.json"), MAX_JSON_BYTES)?)?;
    read_model(&config, &read_limited(&directory.join("model.safetensors"), MAX_WEIGHTS_BYTES)?)
}

/// Reads the weights of a decoder from the bytes of a `model.safetensors`; the configuration must have been checked.
///
/// # Errors
/// [`ReferenceError::BadFile`] as for [`load`].
pub fn read_model(config: &ModelConfig, weights: &[u8]) -> Result<Model, ReferenceError> {
    reader(weights)?.model(config)
}

/// Reads `config.json` and `model.safetensors` of an encoder's directory (`r[encoder.shapes]`).
///
/// # Errors
/// As [`load`].
pub fn load_encoder(directory: &Path) -> Result<Encoder, ReferenceError> {
    let config = EncoderConfig::from_json(&read_text(&directory.join("config.json"), MAX_JSON_BYTES)?)?;
    read_encoder(&config, &read_limited(&directory.join("model.safetensors"), MAX_WEIGHTS_BYTES)?)
}

/// Reads the weights of an encoder from the bytes of a `model.safetensors`; the configuration must have been checked.
///
/// # Errors
/// [`ReferenceError::BadFile`] as for [`load`].
pub fn read_encoder(config: &EncoderConfig, weights: &[u8]) -> Result<Encoder, ReferenceError> {
    reader(weights)?.encoder(config)
}

/// Reads `polynomials.json` of an encoder's directory.
///
/// # Errors
/// As [`load_polynomials`].
pub fn load_encoder_polynomials(directory: &Path, config: &EncoderConfig) -> Result<Polynomials, ReferenceError> {
    let text = read_text(&directory.join("polynomials.json"), MAX_JSON_BYTES)?;
    Ok(Polynomials::from_json_for(&text, &config.site_names())?)
}

/// Reads `config.json` of a model directory of either family.
///
/// # Errors
/// As [`read_config`].
pub fn load_config(directory: &Path) -> Result<AnyConfig, ReferenceError> {
    read_config(&directory.join("config.json"))
}

/// Reads a configuration of either family.
///
/// # Errors
/// [`ReferenceError::BadFile`] for an unreadable or oversized file, [`ReferenceError::Spec`] for one that the format does
/// not admit.
pub fn read_config(path: &Path) -> Result<AnyConfig, ReferenceError> {
    Ok(AnyConfig::from_json(&read_text(path, MAX_JSON_BYTES)?)?)
}

fn reader(bytes: &[u8]) -> Result<Reader<'_>, ReferenceError> {
    let tensors = SafeTensors::deserialize(bytes).map_err(|e| refuse("header", "a safetensors file", e.to_string()))?;
    Ok(Reader { tensors })
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
}

impl Reader<'_> {
    fn model(&self, config: &ModelConfig) -> Result<Model, ReferenceError> {
        let [d, vocabulary] = [config.hidden_size, config.vocab_size];
        let embedding = self.matrix("gpt_neox.embed_in", vocabulary, d)?;
        let layers = (0..config.num_hidden_layers).map(|i| self.layer(config, i)).collect::<Result<_, _>>()?;
        let final_norm = self.norm("gpt_neox.final_layer_norm", d)?;
        let head =
            if config.tie_word_embeddings { embedding.clone() } else { self.matrix("embed_out", vocabulary, d)? };
        Ok(Model { config: config.clone(), embedding, layers, final_norm, head })
    }

    fn layer(&self, config: &ModelConfig, index: usize) -> Result<Layer, ReferenceError> {
        let [d, f] = [config.hidden_size, config.intermediate_size];
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

    fn encoder(&self, config: &EncoderConfig) -> Result<Encoder, ReferenceError> {
        let [d, classes] = [config.hidden_size, config.num_labels];
        let prefix = match config.model_type {
            EncoderKind::Bert => "bert",
            EncoderKind::Roberta => "roberta",
        };
        let table = |name: &str, rows: usize| self.matrix(&format!("{prefix}.embeddings.{name}"), rows, d);
        let layer = |index: usize| self.encoder_layer(config, &format!("{prefix}.encoder.layer.{index}"));
        let (pooler, classifier) = match (config.pooling, config.model_type) {
            (Pooling::Mean, _) => (None, "classifier"),
            (Pooling::First, EncoderKind::Bert) => (Some("bert.pooler.dense"), "classifier"),
            (Pooling::First, EncoderKind::Roberta) => (Some("classifier.dense"), "classifier.out_proj"),
        };
        Ok(Encoder {
            config: config.clone(),
            words: table("word_embeddings", config.vocab_size)?,
            positions: table("position_embeddings", config.max_position_embeddings)?,
            types: table("token_type_embeddings", config.type_vocab_size)?,
            embedding_norm: self.norm(&format!("{prefix}.embeddings.LayerNorm"), d)?,
            layers: (0..config.num_hidden_layers).map(layer).collect::<Result<_, _>>()?,
            pooler: pooler.map(|name| self.affine(name, d, d)).transpose()?,
            classifier: self.affine(classifier, classes, d)?,
        })
    }

    fn encoder_layer(&self, config: &EncoderConfig, layer: &str) -> Result<EncoderLayer, ReferenceError> {
        let [d, f] = [config.hidden_size, config.intermediate_size];
        let affine = |part: &str, rows, columns| self.affine(&format!("{layer}.{part}"), rows, columns);
        Ok(EncoderLayer {
            query: affine("attention.self.query", d, d)?,
            key: affine("attention.self.key", d, d)?,
            value: affine("attention.self.value", d, d)?,
            output: affine("attention.output.dense", d, d)?,
            attention_norm: self.norm(&format!("{layer}.attention.output.LayerNorm"), d)?,
            up: affine("intermediate.dense", f, d)?,
            down: affine("output.dense", d, f)?,
            mlp_norm: self.norm(&format!("{layer}.output.LayerNorm"), d)?,
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    /// A one-layer model directory with the smallest sizes, under a name of its own.
    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("touchstone-load-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        let config = r#"{"model_type": "gpt_neox", "hidden_size": 2, "num_hidden_layers": 1, "num_attention_heads": 1,
            "intermediate_size": 3, "vocab_size": 4, "max_position_embeddings": 8, "rotary_pct": 1.0,
            "rotary_emb_base": 10000.0, "use_parallel_residual": true, "layer_norm_eps": 1e-5, "hidden_act": "gelu",
            "tie_word_embeddings": false, "power_softmax": {"p": 4, "eps": 0.01, "eps_on": "mean", "score_scale": 1.0}}"#;
        std::fs::write(path.join("config.json"), config).unwrap();
        path
    }

    fn shapes() -> Vec<(&'static str, Vec<usize>)> {
        vec![
            ("gpt_neox.embed_in.weight", vec![4, 2]),
            ("gpt_neox.layers.0.input_layernorm.weight", vec![2]),
            ("gpt_neox.layers.0.input_layernorm.bias", vec![2]),
            ("gpt_neox.layers.0.post_attention_layernorm.weight", vec![2]),
            ("gpt_neox.layers.0.post_attention_layernorm.bias", vec![2]),
            ("gpt_neox.layers.0.attention.query_key_value.weight", vec![6, 2]),
            ("gpt_neox.layers.0.attention.query_key_value.bias", vec![6]),
            ("gpt_neox.layers.0.attention.dense.weight", vec![2, 2]),
            ("gpt_neox.layers.0.attention.dense.bias", vec![2]),
            ("gpt_neox.layers.0.mlp.dense_h_to_4h.weight", vec![3, 2]),
            ("gpt_neox.layers.0.mlp.dense_h_to_4h.bias", vec![3]),
            ("gpt_neox.layers.0.mlp.dense_4h_to_h.weight", vec![2, 3]),
            ("gpt_neox.layers.0.mlp.dense_4h_to_h.bias", vec![2]),
            ("gpt_neox.final_layer_norm.weight", vec![2]),
            ("gpt_neox.final_layer_norm.bias", vec![2]),
            ("embed_out.weight", vec![4, 2]),
        ]
    }

    /// A weights file with the given shapes; entry `i` of every tensor is `i / 2`, but `poison` replaces the first.
    fn weights(shapes: &[(&str, Vec<usize>)], dtype: Dtype, poison: Option<(&str, f32)>) -> Vec<u8> {
        let data: Vec<(String, Vec<usize>, Vec<u8>)> = shapes
            .iter()
            .map(|(name, shape)| {
                let value = |i: usize| match poison {
                    Some((poisoned, x)) if i == 0 && poisoned == *name => x,
                    _ => i as f32 / 2.0,
                };
                let values = (0..shape.iter().product()).map(value);
                let bytes = match dtype {
                    Dtype::F16 => values.flat_map(|x| half::f16::from_f32(x).to_le_bytes()).collect(),
                    _ => values.flat_map(f32::to_le_bytes).collect(),
                };
                ((*name).to_owned(), shape.clone(), bytes)
            })
            .collect();
        let views = data.iter().map(|(name, shape, bytes)| {
            (name.clone(), safetensors::tensor::TensorView::new(dtype, shape.clone(), bytes).unwrap())
        });
        safetensors::serialize(views, None).unwrap()
    }

    /// The refusal of a weights file, as text.
    fn refusal(name: &str, bytes: &[u8]) -> String {
        let path = directory(name);
        std::fs::write(path.join("model.safetensors"), bytes).unwrap();
        let result = load(&path);
        std::fs::remove_dir_all(&path).unwrap();
        result.unwrap_err().to_string()
    }

    #[test]
    fn reads_both_number_formats() {
        for (name, dtype) in [("f32", Dtype::F32), ("f16", Dtype::F16)] {
            let path = directory(name);
            std::fs::write(path.join("model.safetensors"), weights(&shapes(), dtype, None)).unwrap();
            let model = load(&path).unwrap();
            std::fs::remove_dir_all(&path).unwrap();
            assert_eq!(model.layers[0].up.weight.row(2), [2.0, 2.5]);
            assert_eq!(model.head.values.len(), 8);
        }
    }

    #[test]
    fn refuses_a_wrong_shape() {
        let mut shapes = shapes();
        shapes[5].1 = vec![2, 6];
        let text = refusal("shape", &weights(&shapes, Dtype::F32, None));
        for part in ["model.safetensors", "query_key_value.weight", "[6, 2]", "[2, 6]"] {
            assert!(text.contains(part), "{text:?} lacks {part:?}");
        }
    }

    #[test]
    fn refuses_a_missing_tensor() {
        let text = refusal("missing", &weights(&shapes()[..15], Dtype::F32, None));
        assert!(text.contains("embed_out.weight"), "{text:?}");
    }

    #[test]
    fn refuses_values_that_are_not_finite() {
        for x in [f32::NAN, f32::INFINITY] {
            let poison = Some(("gpt_neox.final_layer_norm.bias", x));
            let text = refusal(&format!("poison-{x}"), &weights(&shapes(), Dtype::F32, poison));
            assert!(text.contains("final_layer_norm.bias") && text.contains("index 0"), "{text:?}");
        }
    }

    #[test]
    fn refuses_another_number_format() {
        let text = refusal("format", &weights(&shapes(), Dtype::I32, None));
        assert!(text.contains("F32 or F16") && text.contains("I32"), "{text:?}");
    }

    #[test]
    fn refuses_truncated_and_malformed_files() {
        let bytes = weights(&shapes(), Dtype::F32, None);
        for cut in [0, 7, 100, bytes.len() - 1] {
            assert!(refusal(&format!("cut-{cut}"), &bytes[..cut]).contains("model.safetensors"));
        }
        let mut huge_header = bytes;
        huge_header[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(refusal("header", &huge_header).contains("a safetensors file"));
    }

    #[test]
    fn refuses_malformed_and_oversized_documents() {
        let path = directory("documents");
        std::fs::write(path.join("config.json"), "{").unwrap();
        assert!(load(&path).unwrap_err().to_string().contains("config.json"));
        std::fs::write(path.join("tokenizer.json"), "{}").unwrap();
        assert!(load_tokenizer(&path).unwrap_err().to_string().contains("tokenizer.json"));
        std::fs::write(path.join("config.json"), [0xff, 0xfe]).unwrap();
        assert!(load(&path).unwrap_err().to_string().contains("UTF-8"));
        // A sparse file: longer than the limit without taking that space.
        File::create(path.join("config.json")).unwrap().set_len(MAX_JSON_BYTES + 1).unwrap();
        let text = load(&path).unwrap_err().to_string();
        assert!(text.contains("config.json") && text.contains("16777217"), "{text:?}");
        std::fs::remove_dir_all(&path).unwrap();
        assert!(load(&path).unwrap_err().to_string().contains("config.json"));
    }
}
