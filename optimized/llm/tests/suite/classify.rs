//! `touchstone run` on encoders, from outside.

use super::encoder::small_encoder;
use super::model::TOKENS;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use std::path::Path;
use std::process::{Command, Output};
use touchstone_llm::artifact::{Encoder, Linear, Matrix, Norm};
use touchstone_llm::plain::{Functions, classify};
use touchstone_spec::artifact::{EncoderKind, Pooling};

/// Name, shape and values of a tensor.
type Named = (String, Vec<usize>, Vec<f64>);

fn widened(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| x.into()).collect()
}

fn linear(name: &str, linear: &Linear<f32>) -> [Named; 2] {
    let shape = vec![linear.weight.rows, linear.weight.cols];
    let bias = (format!("{name}.bias"), vec![linear.bias.len()], linear.bias.clone());
    [(format!("{name}.weight"), shape, widened(&linear.weight.data)), bias]
}

fn norm(name: &str, norm: &Norm) -> [Named; 2] {
    let part = |kind: &str, values: &Vec<f64>| (format!("{name}.{kind}"), vec![values.len()], values.clone());
    [part("weight", &norm.gain), part("bias", &norm.shift)]
}

fn table(name: &str, matrix: &Matrix<f32>) -> Named {
    (format!("roberta.embeddings.{name}.weight"), vec![matrix.rows, matrix.cols], widened(&matrix.data))
}

/// One of the three projections that a layer holds as one.
fn projection(joined: &Linear<f32>, which: usize, head_size: usize) -> Linear<f32> {
    let rows: Vec<usize> = (0..joined.weight.rows).filter(|row| row / head_size % 3 == which).collect();
    let data = rows.iter().flat_map(|&row| joined.weight.row(row).to_vec()).collect();
    let weight = Matrix { rows: rows.len(), cols: joined.weight.cols, data };
    Linear { weight, bias: rows.iter().map(|&row| joined.bias[row]).collect() }
}

/// Hugging Face names of a RoBERTa classifier with mean pooling.
fn tensors(encoder: &Encoder) -> Vec<Named> {
    let body = &encoder.body;
    let mut all = vec![
        table("word_embeddings", &body.embedding),
        table("position_embeddings", &encoder.positions),
        table("token_type_embeddings", &encoder.types),
    ];
    all.extend(norm("roberta.embeddings.LayerNorm", encoder.entry_norm(0)));
    for (index, layer) in body.layers.iter().enumerate() {
        let name = |part: &str| format!("roberta.encoder.layer.{index}.{part}");
        for (which, part) in ["query", "key", "value"].into_iter().enumerate() {
            let projection = projection(&layer.qkv, which, encoder.config.head_size());
            all.extend(linear(&name(&format!("attention.self.{part}")), &projection));
        }
        all.extend(linear(&name("attention.output.dense"), &layer.dense));
        all.extend(norm(&name("attention.output.LayerNorm"), &layer.mlp_norm));
        all.extend(linear(&name("intermediate.dense"), &layer.up));
        all.extend(linear(&name("output.dense"), &layer.down));
        all.extend(norm(&name("output.LayerNorm"), encoder.entry_norm(index + 1)));
    }
    let classifier = Linear { weight: body.head.clone(), bias: encoder.classifier_bias.clone() };
    all.extend(linear("classifier", &classifier));
    all
}

fn save(encoder: &Encoder, directory: &Path) {
    let write = |name: &str, text: String| std::fs::write(directory.join(name), text).unwrap();
    write("config.json", serde_json::to_string(&encoder.config).unwrap());
    write("polynomials.json", serde_json::to_string(&encoder.body.polynomials).unwrap());
    let bytes = |values: &[f64]| values.iter().flat_map(|&x| (x as f32).to_le_bytes()).collect::<Vec<u8>>();
    let data: Vec<_> =
        tensors(encoder).into_iter().map(|(name, shape, values)| (name, shape, bytes(&values))).collect();
    let views =
        data.iter().map(|(name, shape, bytes)| (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    safetensors::serialize_to_file(views, None, &directory.join("model.safetensors")).unwrap();
}

fn run(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_touchstone"));
    let toy = ["run", "--preset", "toy-n9-deep", "--allow-toy", "--insecure-seed", "5", "--model"];
    command.args(toy).arg(directory).args(arguments).output().unwrap()
}

fn ids(tokens: &[u32]) -> String {
    tokens.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// The class of the polynomial model, logits within the bound, and a prediction beside the measurement.
#[test]
fn encoders_classify() {
    let encoder = small_encoder(EncoderKind::Roberta, Pooling::Mean, 1);
    let directory = tempfile::tempdir().unwrap();
    save(&encoder, directory.path());
    assert_eq!(Encoder::load(directory.path()).unwrap().body.layers, encoder.body.layers);
    let output = run(directory.path(), &["--token-ids", &ids(&TOKENS), "--task", "classify", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let plain = classify(&encoder, &TOKENS, Functions::Polynomial).unwrap();
    let logits: Vec<f64> = serde_json::from_value(json["logits"].clone()).unwrap();
    let errors = logits.iter().zip(plain.logits()).map(|(got, want)| (got - want).abs());
    let (largest, bound) = (errors.fold(0.0, f64::max), json["fidelity"]["bound"].as_f64().unwrap());
    println!("error {largest:e}, bound {bound:e}");
    assert!(logits.len() == 3 && largest <= bound, "{logits:?}, error {largest:e} over {bound:e}");
    assert_eq!(json["fidelity"]["max_abs_error"].as_f64(), Some(largest));
    let margin = {
        let mut sorted = plain.logits().to_vec();
        sorted.sort_by(|a, b| b.total_cmp(a));
        sorted[0] - sorted[1]
    };
    assert!(margin > 2.0 * bound, "the test's own classes are too close: {margin:e}");
    assert_eq!(json["fidelity"]["token_unchanged"].as_bool(), Some(true));
    // A run that can be resumed gives the same and leaves nothing.
    let kept = directory.path().join("kept");
    let more = ["--token-ids", &ids(&TOKENS), "--json", "--checkpoint", kept.to_str().unwrap()];
    let again: serde_json::Value = serde_json::from_slice(&run(directory.path(), &more).stdout).unwrap();
    assert_eq!(again["logits"], json["logits"]);
    assert_eq!(std::fs::read_dir(&kept).unwrap().count(), 0);
    let predicted = &json["predicted"];
    assert_eq!(predicted["measured_seconds"], json["phases"]["compute"]);
    assert!(predicted["predicted_seconds"].as_f64().unwrap() > 0.0);
    assert!(predicted["predicted_bytes"].as_u64().unwrap() > 0);
}

#[test]
fn encoders_refuse_what_decoders_do() {
    let directory = tempfile::tempdir().unwrap();
    save(&small_encoder(EncoderKind::Roberta, Pooling::Mean, 1), directory.path());
    let refused = |arguments: &[&str], pieces: &[&str]| {
        let output = run(directory.path(), arguments);
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{message}");
        for piece in pieces {
            assert!(message.contains(piece), "no {piece:?} in: {message}");
        }
    };
    let tokens = ids(&TOKENS);
    refused(&["--token-ids", &tokens, "--task", "next-token"], &["--task", "classify", "next-token"]);
    refused(&["--token-ids", &tokens, "--max-new-tokens", "2"], &["--max-new-tokens", "encoder"]);
    refused(&["--token-ids", &ids(&[1; 9])], &["1 to 8 tokens", "9 tokens"]);
    refused(&["--token-ids", "99"], &["token ids below 32", "99"]);
}
