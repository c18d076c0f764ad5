//! Encoders: the circuit on predicted slots against binary64, and under encryption, tap by tap.

use super::model::{Draws, SEED, TOKENS, calibrated, site, toy_bootstrapping, toy_parameters};
use touchstone_ckks::ckks::noise::slot_bound_factor;
use touchstone_ckks::{Context, KeyGenerator, Parameters, Seed};
use touchstone_llm::LlmError;
use touchstone_llm::artifact::{Encoder, Layer, Model};
use touchstone_llm::backend::slots::Predictions;
use touchstone_llm::bounds::FAILURE;
use touchstone_llm::circuit::Circuit;
use touchstone_llm::plain::{Functions, classify};
use touchstone_llm::session::{DecryptedTaps, Server, encrypt, evaluation_keys, predict};
use touchstone_spec::artifact::{EncoderConfig, EncoderKind, POLYNOMIALS_FORMAT, Polynomials, Pooling, PowerSoftmax};

/// d = 12 in three heads, so that a head and two of eight complex channels are padding; 20 hidden units, 3 classes.
pub fn small_encoder(kind: EncoderKind, pooling: Pooling, layers: usize) -> Encoder {
    let config = EncoderConfig {
        model_type: kind,
        hidden_size: 12,
        num_hidden_layers: layers,
        num_attention_heads: 3,
        intermediate_size: 20,
        vocab_size: 32,
        max_position_embeddings: 10,
        type_vocab_size: 2,
        layer_norm_eps: 1e-5,
        hidden_act: "gelu".to_owned(),
        pad_token_id: 1,
        num_labels: 3,
        pooling,
        power_softmax: PowerSoftmax {
            p: 4,
            eps: 0.05,
            eps_on: "mean".to_owned(),
            score_scale: 1.5,
            layer_score_scales: Vec::new(),
        },
    };
    config.check().unwrap();
    let body_config = Encoder::body_config(&config);
    let mut draws = Draws(SEED);
    let layer = |_| Layer {
        attention_norm: draws.norm(12),
        mlp_norm: draws.norm(12),
        qkv: draws.linear(36, 12, 0.4),
        dense: draws.linear(12, 12, 0.4),
        up: draws.linear(20, 12, 0.4),
        down: draws.linear(12, 20, 0.3),
    };
    let layers = (0..layers).map(layer).collect();
    let sites = config.site_names().into_iter().map(|name| site(&body_config, name, [-2.0, -1.0])).collect();
    let (format, calibration) = (POLYNOMIALS_FORMAT.to_owned(), "the tests' own prompt".to_owned());
    let classifier = draws.linear(3, 12, 0.7);
    let mut encoder = Encoder {
        positions: draws.matrix(10, 12, 0.5),
        types: draws.matrix(2, 12, 0.5),
        pooler: (pooling == Pooling::First).then(|| draws.linear(12, 12, 0.4)),
        classifier_bias: classifier.bias,
        body: Model {
            polynomials: Polynomials { format, calibration, sites, streams: Vec::new() },
            embedding: draws.matrix(32, 12, 1.0),
            layers,
            final_norm: draws.norm(12),
            head: classifier.weight,
            config: body_config,
        },
        config,
    };
    let mut probe = encoder.clone();
    let escapes = |polynomials: &Polynomials| {
        probe.body.polynomials = polynomials.clone();
        classify(&probe, &TOKENS, Functions::Exact).unwrap().escapes
    };
    encoder.body.polynomials = calibrated(&encoder.body.config, encoder.body.polynomials.clone(), escapes);
    encoder
}

/// The two families with either pooling; seven live tokens of eight in a row (`r[encoder.pad]`).
const FAMILIES: [(EncoderKind, Pooling); 4] = [
    (EncoderKind::Bert, Pooling::First),
    (EncoderKind::Roberta, Pooling::Mean),
    (EncoderKind::Bert, Pooling::Mean),
    (EncoderKind::Roberta, Pooling::First),
];

/// Several groups of heads, several parts, one replica and several: rows of 8 tokens times 4 heads and 2 channels are 64 slots.
#[test]
fn small_encoders_agree_with_binary64_at_every_tap() {
    for (kind, pooling) in FAMILIES {
        for log_n in [5, 6, 7, 8, 9] {
            println!("{kind:?} {pooling:?}, N = 2^{log_n}");
            compare(&small_encoder(kind, pooling, 1), &toy_bootstrapping(log_n));
        }
    }
}

/// Predicted values carry binary64 rounding only, see `predicted::compare`; bounds are root-sum-square here.
fn compare(encoder: &Encoder, parameters: &Parameters) {
    let circuit = Circuit::encoder(encoder, parameters.slots(), TOKENS.len()).unwrap();
    let predicted = predict(parameters, &circuit, &TOKENS).unwrap();
    let pass = classify(encoder, &TOKENS, Functions::Polynomial).unwrap();
    assert!(pass.escapes.is_empty(), "{:?}", pass.escapes);
    let factor = bound_factor(&predicted);
    let names = |taps: &mut dyn Iterator<Item = &String>| taps.cloned().collect::<Vec<_>>();
    assert_eq!(
        names(&mut predicted.taps.iter().map(|tap| &tap.tensor.name)),
        names(&mut pass.taps.iter().map(|tap| &tap.name))
    );
    for (prediction, expected) in predicted.taps.iter().zip(&pass.taps) {
        let name = &expected.name;
        assert_eq!(prediction.tensor.shape, expected.shape, "{name}");
        let (mut worst, mut estimate) = (0.0f64, 0.0f64);
        for (i, (got, want)) in prediction.tensor.values.iter().zip(&expected.values).enumerate() {
            let (difference, limit) = ((got - want).abs(), factor * prediction.deviation[i]);
            assert!(difference <= limit / 128.0, "{name}[{i}]: expected {want}, got {got}, bound {limit:e}");
            (worst, estimate) = (worst.max(difference), estimate.max(prediction.deviation[i]));
        }
        println!("{name:<40} level {:>2} rounding {worst:.1e} estimate {estimate:.1e}", prediction.level);
    }
}

/// Deviations in a bound (`r[noise.bound.slot]`).
fn bound_factor(predicted: &Predictions) -> f64 {
    let compared: usize = predicted.taps.iter().map(|tap| tap.tensor.values.len()).sum();
    slot_bound_factor(FAILURE, compared as f64)
}

#[test]
fn small_encoders_are_within_their_predicted_noise_at_every_tap() {
    for ((kind, pooling), log_n) in FAMILIES.into_iter().zip([9, 5, 6, 8]) {
        println!("{kind:?} {pooling:?}, N = 2^{log_n}, seed {SEED}");
        within_predicted_noise(&small_encoder(kind, pooling, 1), toy_bootstrapping(log_n));
    }
}

#[test]
fn deep_encoder_with_bootstraps_is_within_its_predicted_noise_at_every_tap() {
    within_predicted_noise(&small_encoder(EncoderKind::Roberta, Pooling::First, 2), toy_bootstrapping(8));
}

/// Errors are held against the root-sum-square estimate times the factor of `r[noise.bound.slot]`.
fn within_predicted_noise(encoder: &Encoder, parameters: Parameters) {
    let circuit = Circuit::encoder(encoder, parameters.slots(), TOKENS.len()).unwrap();
    let requirements = circuit.requirements(&parameters).unwrap();
    println!("{} bootstraps: {:?}", requirements.bootstraps, requirements.plan);
    let predicted = predict(&parameters, &circuit, &TOKENS).unwrap();
    let factor = bound_factor(&predicted);
    let context = Context::new(parameters).unwrap();
    let generator = KeyGenerator::new(&context, Seed::insecure(u128::from(SEED)));
    let secret = generator.secret_key();
    let keys = evaluation_keys(&context, &generator, &secret, &requirements.keys).unwrap();
    let public = generator.public_key(&secret).unwrap();
    let (slots, seed) = (circuit.input(&TOKENS).unwrap(), Seed::insecure(u128::from(SEED) + 1));
    let input = encrypt(&context, &public, &slots, requirements.plan.input_level(), &seed).unwrap();
    let mut taps = DecryptedTaps::new(&context, &secret);
    let server = Server::new(&context, &keys, &requirements.keys).unwrap();
    server.compute(&circuit, &requirements.plan, &input, &mut taps, &|_| ()).unwrap();
    assert_eq!(taps.taps.len(), predicted.taps.len());
    for (tap, prediction) in taps.taps.iter().zip(&predicted.taps) {
        let name = &tap.name;
        assert_eq!((name, &tap.shape), (&prediction.tensor.name, &prediction.tensor.shape));
        let (mut worst, mut largest) = (0.0f64, 0.0f64);
        for (i, (got, want)) in tap.values.iter().zip(&prediction.tensor.values).enumerate() {
            let (error, limit) = ((got - want).abs(), factor * prediction.deviation[i]);
            assert!(error <= limit, "{name}[{i}]: expected {want}, got {got}, error {error:e} over {limit:e}");
            largest = largest.max(error);
            worst = worst.max(if limit > 0.0 { error / limit } else { 0.0 });
        }
        // r[conform.slack]: with more than 20 bits of slack a bound would say nothing.
        assert!(worst >= 2f64.powi(-20), "{name}: largest ratio of error to bound {worst:e}");
        println!("{name:<40} error {largest:.1e}, {worst:.3} of the bound");
    }
    assert_eq!(taps.taps.last().unwrap().name, "logits");
}

/// What does not fit is refused with what was expected and what was given.
#[test]
fn unfit_inputs_are_refused() {
    let encoder = small_encoder(EncoderKind::Roberta, Pooling::Mean, 1);
    let slots = toy_parameters(8).slots();
    let refused = |error: LlmError, pieces: &[&str]| {
        let text = error.to_string();
        assert!(pieces.iter().all(|piece| text.contains(piece)), "{text}");
    };
    // Positions start behind the padding token, so ten rows hold eight tokens.
    refused(Circuit::encoder(&encoder, slots, 9).unwrap_err(), &["1 to 8 tokens", "9 tokens"]);
    refused(Circuit::encoder(&encoder, slots, 0).unwrap_err(), &["1 to 8 tokens", "0 tokens"]);
    refused(Circuit::encoder(&encoder, 4, 8).unwrap_err(), &["ring degree", "8 slots", "got 4"]);
    let circuit = Circuit::encoder(&encoder, slots, 3).unwrap();
    refused(circuit.input(&[1, 2]).unwrap_err(), &["3 tokens", "2 tokens"]);
    refused(circuit.input(&[1, 2, 32]).unwrap_err(), &["token ids below 32", "32"]);
    let shallow = Parameters::preset("toy-n8", touchstone_ckks::Security::AllowInsecure).unwrap();
    let circuit = Circuit::encoder(&encoder, shallow.slots(), 7).unwrap();
    refused(circuit.requirements(&shallow).unwrap_err(), &["out of levels"]);
}
