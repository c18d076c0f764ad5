//! The circuit under encryption: every tap within its predicted bound.

use super::model::{SEED, TOKENS, deep_model, generating_model, small_model, toy_bootstrapping, toy_parameters};
use std::path::Path;
use touchstone_ckks::{Context, KeyGenerator, Parameters, Security, Seed};
use touchstone_llm::artifact::Model;
use touchstone_llm::circuit::Circuit;
use touchstone_llm::plain::{Functions, forward};
use touchstone_llm::session::{DecryptedTaps, Server, bounds, encrypt, evaluation_keys, predict};

#[test]
fn small_model_is_within_bounds_at_every_tap() {
    for (parallel, log_n) in [(true, 9), (false, 9), (true, 7), (true, 6), (false, 5)] {
        println!("parallel residual {parallel}, N = 2^{log_n}, seed {SEED}");
        within_bounds(&small_model(parallel), toy_parameters(log_n), &TOKENS);
    }
}

/// `r[packing.slots]`: heads in four groups, and in two with bootstraps.
#[test]
fn groups_of_heads_are_within_bounds_at_every_tap() {
    println!("N = 2^5, seed {SEED}");
    within_bounds(&generating_model(true, 1, (8, 1.0), &TOKENS).0, toy_parameters(5), &TOKENS);
    within_bounds(&generating_model(true, 2, (4, 1.0), &TOKENS).0, toy_bootstrapping(5), &TOKENS);
}

#[test]
fn deep_model_with_bootstraps_is_within_bounds_at_every_tap() {
    for (parallel, log_n) in [(true, 9), (false, 6)] {
        println!("parallel residual {parallel}, N = 2^{log_n}, seed {SEED}");
        within_bounds(&deep_model(parallel, 2), toy_bootstrapping(log_n), &TOKENS);
    }
}

#[test]
#[ignore = "full size: minutes and several gigabytes"]
fn shipped_model_is_within_bounds_at_every_tap() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/fairy-1l");
    let model = Model::load(&directory).unwrap();
    let tokens: Vec<u32> = (0..64).map(|i| (i * 37 + 11) % 1024).collect();
    within_bounds(&model, Parameters::preset("n16-leveled", Security::Enforce).unwrap(), &tokens);
}

fn within_bounds(model: &Model, parameters: Parameters, tokens: &[u32]) {
    let circuit = Circuit::new(model, parameters.slots(), tokens.len()).unwrap();
    let escapes = forward(model, &circuit.padded(tokens), 0, Functions::Polynomial).unwrap().escapes;
    assert!(escapes.is_empty(), "{escapes:?}");
    let requirements = circuit.requirements(&parameters).unwrap();
    println!("{} bootstraps: {:?}", requirements.bootstraps, requirements.plan);
    let predicted = predict(&parameters, &circuit, tokens).unwrap();
    let composed = bounds(&parameters, &circuit, tokens).unwrap();
    let context = Context::new(parameters).unwrap();
    let generator = KeyGenerator::new(&context, Seed::insecure(u128::from(SEED)));
    let secret = generator.secret_key();
    let keys = evaluation_keys(&context, &generator, &secret, &requirements.keys).unwrap();
    let public = generator.public_key(&secret).unwrap();
    let slots = circuit.input(tokens).unwrap();
    let seed = Seed::insecure(u128::from(SEED) + 1);
    let input = encrypt(&context, &public, &slots, requirements.plan.input_level(), &seed).unwrap();
    let mut taps = DecryptedTaps::new(&context, &secret);
    let server = Server::new(&context, &keys, &requirements.keys).unwrap();
    server.compute(&circuit, &requirements.plan, &input, &mut taps, &|_| ()).unwrap();
    assert_eq!(taps.taps.len(), predicted.taps.len());
    for (tap, prediction) in taps.taps.iter().zip(&predicted.taps) {
        assert_eq!((&tap.name, &tap.shape), (&prediction.tensor.name, &prediction.tensor.shape));
        let limits = composed.bound(&tap.name).unwrap();
        let (mut worst, mut bound, mut ratio) = (0.0f64, 0.0f64, 0.0f64);
        let (mut squares, mut tightest) = (0.0, 0.0f64);
        for (i, (got, want)) in tap.values.iter().zip(&prediction.tensor.values).enumerate() {
            let error = (got - want).abs();
            let limit = limits[i];
            assert!(error <= limit, "{}[{i}]: expected {want}, got {got}, error {error:e} over {limit:e}", tap.name);
            (worst, bound) = (worst.max(error), bound.max(limit));
            tightest = tightest.max(if limit > 0.0 { error / limit } else { 0.0 });
            if prediction.deviation[i] > 0.0 {
                ratio = ratio.max(error / prediction.deviation[i]);
                squares += (error / prediction.deviation[i]).powi(2) / tap.values.len() as f64;
            }
        }
        // r[conform.slack]: with more than 20 bits of slack a bound would say nothing.
        assert!(tightest >= 2f64.powi(-20), "{}: largest ratio of error to bound {tightest:e}", tap.name);
        let spread = squares.sqrt();
        println!(
            "{:<36} error {worst:.1e} bound {bound:.1e}; in estimates: worst {ratio:.1}, rms {spread:.2}",
            tap.name
        );
    }
    let logits = taps.taps.last().unwrap();
    assert_eq!(logits.name, "logits");
    assert!(logits.values.iter().any(|value| value.abs() > 0.1));
}
