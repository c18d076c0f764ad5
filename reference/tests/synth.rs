//! Models with weights drawn from a seed: complete artifacts, reproducible, inside their intervals.

use std::path::{Path, PathBuf};
use touchstone_reference::export::{Agreement, Calibration, Prompts, Targets, Trained, calibrate, replace_at};
use touchstone_reference::model::{load, read_config};
use touchstone_reference::synth::{Resize, tensors, values, write_weights};
use touchstone_spec::artifact::{AnyConfig, EncoderConfig, Polynomials, Pooling};

fn shape(name: &str) -> AnyConfig {
    read_config(&Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../models/configs/{name}.json"))).unwrap()
}

/// A directory with the drawn model, under a name of its own.
fn directory(name: &str, config: &AnyConfig, seed: u64) -> PathBuf {
    let path = std::env::temp_dir().join(format!("touchstone-synth-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&path).unwrap();
    std::fs::write(path.join("config.json"), serde_json::to_string(config).unwrap()).unwrap();
    write_weights(config, seed, &path.join("model.safetensors")).unwrap();
    path
}

/// Calibrates, certifies and compares a drawn model.
fn polynomial_model(name: &str, config: &AnyConfig) -> (Polynomials, Agreement) {
    let path = directory(name, config, 5);
    let trained = Trained::load(&path).unwrap();
    std::fs::remove_dir_all(&path).unwrap();
    let model = trained.network();
    let draw = |counts, seed| Prompts::uniform(model.vocabulary(), model.context(), model.padding(), counts, seed);
    let ranges = calibrate(model, &[draw([8, 400], 1)]).unwrap();
    let calibration = Calibration { ranges, ceilings: Default::default(), margin: 1.5, description: String::new() };
    let targets = Targets { inverse_sqrt: 63, reciprocal: 127, activation: 31, ..Targets::default() };
    let (polynomials, agreements) = replace_at(model, &calibration, &[draw([2, 16], 2)], &targets).unwrap();
    // The document is one that readers take.
    let text = serde_json::to_string(&polynomials).unwrap();
    assert_eq!(Polynomials::from_json_for(&text, &config.site_names()).unwrap(), polynomials);
    (polynomials, agreements[0])
}

/// A decoder of the shape of Pythia in miniature: every site has a replacement of the stated degree, no input leaves its
/// interval, and the logits stay as near to the exact ones as export asks of a trained model.
#[test]
fn a_small_decoder_is_a_complete_artifact() {
    let AnyConfig::Decoder(mut config) = shape("pythia-70m") else { panic!("an encoder") };
    (config.hidden_size, config.num_attention_heads, config.intermediate_size) = (32, 2, 64);
    let resize = Resize { layers: Some(2), tokens: Some(16), vocabulary: Some(100) };
    let config = resize.apply(AnyConfig::Decoder(config)).unwrap();
    let (polynomials, agreement) = polynomial_model("decoder", &config);
    assert_eq!((agreement.prompts, agreement.escapes), (20, 0));
    assert!(agreement.max_difference > 0.0 && agreement.max_difference <= Targets::default().logits, "{agreement:?}");
    let degrees: Vec<usize> = polynomials.sites.iter().map(|site| site.coefficients.len() - 1).collect();
    assert_eq!(degrees, [63, 127, 31, 63, 127, 31, 63]);
    assert_eq!(polynomials.streams.len(), 2);
}

/// A RoBERTa classifier with either pooling: every site of `r[encoder.sites]` has a replacement, and no input escapes.
#[test]
fn small_encoders_are_complete_artifacts() {
    for (pooling, sites) in [(Pooling::First, 10), (Pooling::Mean, 9)] {
        let AnyConfig::Encoder(config) = shape("roberta-base") else { panic!("a decoder") };
        let config = EncoderConfig {
            hidden_size: 32,
            num_attention_heads: 2,
            intermediate_size: 64,
            num_labels: 3,
            pooling,
            ..config
        };
        let resize = Resize { layers: Some(2), tokens: Some(16), vocabulary: Some(100) };
        let config = resize.apply(AnyConfig::Encoder(config)).unwrap();
        let (polynomials, agreement) = polynomial_model(&format!("{pooling:?}"), &config);
        assert_eq!((agreement.prompts, agreement.escapes, agreement.same_token), (20, 0, 20));
        assert_eq!((polynomials.sites.len(), polynomials.streams.len()), (sites, 2));
    }
}

/// The weights file holds what [`values`] says, layer by layer the same whatever the number of layers.
#[test]
fn weights_are_reproducible() {
    let AnyConfig::Decoder(mut config) = shape("pythia-70m") else { panic!("an encoder") };
    (config.hidden_size, config.num_attention_heads, config.intermediate_size) = (16, 2, 32);
    let drawn = |layers: usize| {
        let resize = Resize { layers: Some(layers), tokens: Some(8), vocabulary: Some(50) };
        let config = resize.apply(AnyConfig::Decoder(config.clone())).unwrap();
        let path = directory(&format!("weights-{layers}"), &config, 9);
        let model = load(&path).unwrap();
        std::fs::remove_dir_all(&path).unwrap();
        (model, tensors(&config))
    };
    let ((one, names), (three, _)) = (drawn(1), drawn(3));
    assert_eq!(one.layers[0], three.layers[0]);
    assert_eq!(one.head, three.head);
    assert_ne!(three.layers[0], three.layers[1]);
    let tensor = names.iter().find(|tensor| tensor.name.ends_with("query_key_value.weight")).unwrap();
    let expected: Vec<f64> = values(9, &tensor.name, 16, &tensor.rows).into_iter().map(f64::from).collect();
    assert_eq!(one.layers[0].query_key_value.weight.values, expected);
}

/// Sizes that make no model are refused with the field's name.
#[test]
fn impossible_sizes_are_refused() {
    let resize = Resize { tokens: Some(0), ..Resize::default() };
    for name in ["pythia-70m", "roberta-base"] {
        let text = resize.apply(shape(name)).unwrap_err().to_string();
        assert!(text.contains("max_position_embeddings"), "{text}");
    }
    let resize = Resize { vocabulary: Some(1 << 30), ..Resize::default() };
    assert!(resize.apply(shape("pythia-70m")).unwrap_err().to_string().contains("vocab_size"));
}
