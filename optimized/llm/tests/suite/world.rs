//! Models and the binary's files in a directory of their own.

use super::model::PRESET;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use touchstone_llm::artifact::{Linear, Matrix, Model, Norm};

/// A model directory and a place for keys and messages.
pub struct World {
    directory: TempDir,
}

impl World {
    pub fn new(model: &Model) -> Self {
        let world = Self { directory: tempfile::tempdir().unwrap() };
        save(model, world.directory.path());
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A command on this model with small parameters; arguments that start with `@` are files of this world.
    pub fn touchstone(&self, arguments: &[&str], preset: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_touchstone"));
        for argument in arguments {
            match argument.strip_prefix('@') {
                Some(name) => command.arg(self.path(name)),
                None => command.arg(argument),
            };
        }
        command.args(["--preset", preset, "--allow-toy", "--model"]).arg(self.directory.path());
        command
    }

    pub fn accepts(&self, arguments: &[&str]) -> String {
        let output = self.touchstone(arguments, PRESET).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn refuses(&self, arguments: &[&str], preset: &str, pieces: &[&str]) {
        let output = self.touchstone(arguments, preset).output().unwrap();
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{message}");
        for piece in pieces {
            assert!(message.contains(piece), "no {piece:?} in: {message}");
        }
    }
}

/// Writes a model in the format of `r[artifact.files]` and a tokenizer of words `w0, w1, ...`.
fn save(model: &Model, directory: &Path) {
    let write = |name: &str, text: String| std::fs::write(directory.join(name), text).unwrap();
    write("config.json", serde_json::to_string(&model.config).unwrap());
    write("polynomials.json", serde_json::to_string(&model.polynomials).unwrap());
    let words: serde_json::Map<_, _> = (0..model.embedding.rows).map(|i| (format!("w{i}"), i.into())).collect();
    let tokenizer = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": words, "unk_token": "w0"}
    });
    write("tokenizer.json", tokenizer.to_string());
    let bytes = |values: &[f32]| values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    let data: Vec<_> = tensors(model).into_iter().map(|(name, shape, values)| (name, shape, bytes(&values))).collect();
    let views: Vec<_> = data
        .iter()
        .map(|(name, shape, bytes)| (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()))
        .collect();
    safetensors::serialize_to_file(views, None, &directory.join("model.safetensors")).unwrap();
}

/// A tensor's name, shape and values.
type Named = (String, Vec<usize>, Vec<f32>);

/// Hugging Face names, shapes and values.
fn tensors(model: &Model) -> Vec<Named> {
    let vector = |name: &str, values: &[f64]| -> Named {
        (format!("gpt_neox.{name}"), vec![values.len()], values.iter().map(|&x| x as f32).collect())
    };
    let matrix = |name: &str, matrix: &Matrix<f32>| -> Named {
        (name.to_owned(), vec![matrix.rows, matrix.cols], matrix.data.clone())
    };
    let norm = |name: &str, norm: &Norm| {
        [vector(&format!("{name}.weight"), &norm.gain), vector(&format!("{name}.bias"), &norm.shift)]
    };
    let linear = |name: &str, linear: &Linear<f32>| {
        let weight = matrix(&format!("gpt_neox.{name}.weight"), &linear.weight);
        [weight, vector(&format!("{name}.bias"), &linear.bias)]
    };
    let mut all = vec![matrix("gpt_neox.embed_in.weight", &model.embedding), matrix("embed_out.weight", &model.head)];
    all.extend(norm("final_layer_norm", &model.final_norm));
    for (i, layer) in model.layers.iter().enumerate() {
        all.extend(norm(&format!("layers.{i}.input_layernorm"), &layer.attention_norm));
        all.extend(norm(&format!("layers.{i}.post_attention_layernorm"), &layer.mlp_norm));
        all.extend(linear(&format!("layers.{i}.attention.query_key_value"), &layer.qkv));
        all.extend(linear(&format!("layers.{i}.attention.dense"), &layer.dense));
        all.extend(linear(&format!("layers.{i}.mlp.dense_h_to_4h"), &layer.up));
        all.extend(linear(&format!("layers.{i}.mlp.dense_4h_to_h"), &layer.down));
    }
    all
}
