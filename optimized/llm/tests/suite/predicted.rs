//! The circuit on predicted slots against the model in binary64, tap by tap.

use super::model::{TOKENS, generating_model, small_model, toy_bootstrapping, toy_parameters};
use std::path::Path;
use touchstone_ckks::{Parameters, Security};
use touchstone_llm::artifact::Model;
use touchstone_llm::circuit::Circuit;
use touchstone_llm::plain::{Functions, forward};
use touchstone_llm::session::{bounds, predict};

#[test]
fn small_model_agrees_at_every_tap() {
    for (parallel, log_n) in [(true, 9), (true, 8), (true, 7), (true, 6), (true, 5), (false, 9), (false, 6)] {
        println!("parallel residual {parallel}, N = 2^{log_n}");
        compare(&small_model(parallel), &toy_parameters(log_n), &TOKENS);
    }
}

/// Two groups of two heads in two parts each, and four groups in one: `r[packing.slots]`.
#[test]
fn groups_of_heads_agree_at_every_tap() {
    for (parallel, layers, heads) in [(true, 1, (4, 0.5)), (true, 1, (8, 1.0)), (true, 2, (4, 1.0))] {
        println!("parallel residual {parallel}, {layers} layers, {heads:?} heads and rotary");
        let (model, _) = generating_model(parallel, layers, heads, &TOKENS);
        let parameters = if layers == 1 { toy_parameters(5) } else { toy_bootstrapping(5) };
        compare(&model, &parameters, &TOKENS);
    }
}

#[test]
fn shipped_model_agrees_at_every_tap() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/fairy-1l");
    let model = Model::load(&directory).unwrap();
    let parameters = Parameters::preset("n16-leveled", Security::Enforce).unwrap();
    let tokenizer = touchstone_llm::artifact::load_tokenizer(&directory).unwrap();
    let prompt = "Once upon a time there was a poor woodcutter who lived with his wife at the edge of a great forest.";
    let tokens = tokenizer.encode(prompt, false).unwrap().get_ids().to_vec();
    compare(&model, &parameters, &tokens);
}

/// Predicted values carry binary64 rounding only. A rounding is below `2^-53` of a value, values are below `2^8`, sums have
/// at most `2^8` terms; the circuit's own operations each add an error of at least `2^-30` to the bound and errors travel
/// alike, so rounding stays below `2^(30 + 8 + 8 - 53) = 2^-7` of the bound.
fn compare(model: &Model, parameters: &Parameters, tokens: &[u32]) {
    let circuit = Circuit::new(model, parameters.slots(), tokens.len()).unwrap();
    let requirements = circuit.requirements(parameters).unwrap();
    println!("input level {}, {} keys", requirements.plan.input_level(), requirements.keys.count());
    let start = std::time::Instant::now();
    let predicted = predict(parameters, &circuit, tokens).unwrap();
    let composed = bounds(parameters, &circuit, tokens).unwrap();
    println!("prediction and bounds {:.1?}", start.elapsed());
    let pass = forward(model, tokens, tokens.len() - 1, Functions::Polynomial).unwrap();
    assert!(pass.escapes.is_empty(), "{:?}", pass.escapes);
    assert_eq!(predicted.taps.len(), pass.taps.len());
    for prediction in &predicted.taps {
        let name = &prediction.tensor.name;
        let expected = pass.tap(name).unwrap_or_else(|| panic!("no tap {name}"));
        // A wide head reports the final LayerNorm of the last token alone.
        let wide = circuit.reads_last_token() && name.starts_with("final.");
        let skipped = if wide { expected.values.len() / expected.shape[0] * (expected.shape[0] - 1) } else { 0 };
        assert_eq!(prediction.tensor.shape[0], if wide { 1 } else { expected.shape[0] }, "{name}");
        assert_eq!(prediction.tensor.shape[1..], expected.shape[1..], "{name}");
        let limits = composed.bound(name).unwrap();
        let (mut worst, mut bound, mut deviation, mut size) = (0.0f64, 0.0f64, 0.0f64, 0.0f64);
        for (i, (got, want)) in prediction.tensor.values.iter().zip(&expected.values[skipped..]).enumerate() {
            let difference = (got - want).abs();
            assert!(difference <= limits[i] / 128.0, "{name}[{i}]: expected {want}, got {got}, bound {:e}", limits[i]);
            (worst, bound) = (worst.max(difference), bound.max(limits[i]));
            (deviation, size) = (deviation.max(prediction.deviation[i]), size.max(want.abs()));
        }
        let level = prediction.level;
        println!(
            "{name:<36} level {level:>2} size {size:<9.3} rounding {worst:.1e} estimate {deviation:.1e} bound {bound:.1e}"
        );
    }
}
