//! Generation behind a cache of keys and values: every decoding step against the last row of the model in binary64 on all tokens so far,
//! on predicted slots and under encryption.

use super::model::{SEED, TOKENS, deep_model, generating_model, small_model, toy_bootstrapping, toy_parameters};
use std::path::Path;
use touchstone_ckks::{Context, KeyGenerator, Parameters, Security, Seed};
use touchstone_llm::artifact::Model;
use touchstone_llm::backend::slots::{Predicted, Predictions};
use touchstone_llm::bounds::root_sum_square;
use touchstone_llm::circuit::{Cache, Circuit, Start};
use touchstone_llm::generation::{Generation, Predictor};
use touchstone_llm::plain::{Functions, Pass, forward};
use touchstone_llm::sampling::argmax;
use touchstone_llm::session::{DecryptedTaps, Server, Task, encrypt, evaluation_keys, predict};
use touchstone_llm::tap::{Blind, Tensor};

/// `r[generate.step]`, `r[generate.cache]`: parts, groups of heads and replicas, one and several layers, heads with and without rotary embedding, both kinds of residual,
/// prompts of one token and of all but one, up to the context limit.
#[test]
fn steps_on_slots_equal_the_last_row_of_the_whole_text() {
    let shapes = [
        (true, 1, (2, 0.5), 9, 3),
        (true, 1, (2, 0.5), 6, 1),
        (true, 1, (2, 0.5), 5, 7),
        (false, 2, (2, 0.5), 9, 2),
        (true, 2, (4, 1.0), 8, 3),
        (false, 1, (4, 0.0), 6, 1),
        (true, 1, (1, 0.25), 7, 4),
        (true, 1, (2, 0.0), 8, 5),
        (true, 1, (4, 0.5), 5, 3),
        (true, 2, (4, 1.0), 5, 3),
        (true, 1, (8, 1.0), 5, 4),
    ];
    for (parallel, layers, heads, log_n, length) in shapes {
        println!(
            "parallel {parallel}, {layers} layers, heads and rotary {heads:?}, N = 2^{log_n}, {length} tokens first"
        );
        let (model, tokens) = generating_model(parallel, layers, heads, &TOKENS[..length]);
        let parameters = if layers == 1 { toy_parameters(log_n) } else { toy_bootstrapping(log_n) };
        slots(&model, &parameters, &tokens, length);
    }
}

/// As in `predicted.rs`, values without noise may be off by binary64 rounding, at most `2^-7` of the bound.
fn slots(model: &Model, parameters: &Parameters, tokens: &[u32], length: usize) {
    let generation = Generation::find(model, parameters).unwrap();
    println!(
        "{} and {} bootstraps, cache {:?}",
        generation.prefill_bootstraps, generation.decode_bootstraps, generation.cache
    );
    let mut predictor = Predictor::new(parameters, model, &generation);
    for count in length..=tokens.len() {
        let text = &tokens[..count];
        let predictions = predictor.pass(text).unwrap();
        // An input just outside its interval is no harm here: both sides evaluate the same polynomial.
        let pass = forward(model, text, count - 1, Functions::Polynomial).unwrap();
        let circuit = Circuit::new(model, parameters.slots(), count).unwrap();
        let full = predict(parameters, &circuit, text).unwrap();
        let (got, want) = (predictions.tap("logits").unwrap(), full.tap("logits").unwrap());
        let limits = root_sum_square(&predictions, "logits").unwrap();
        for (i, (got, want)) in got.tensor.values.iter().zip(&want.tensor.values).enumerate() {
            assert!((got - want).abs() <= limits[i] / 128.0, "{count} tokens, logit {i}: {got}, full pass {want}");
        }
        if count > length {
            assert_eq!(predictions.taps.len(), pass.taps.len());
            last_rows(&predictions, &pass);
        }
    }
}

fn last_rows(predictions: &Predictions, pass: &Pass) {
    for prediction in &predictions.taps {
        let (name, values) = (&prediction.tensor.name, &prediction.tensor.values);
        let (shape, expected) = last_row(pass.tap(name).unwrap());
        assert_eq!(prediction.tensor.shape, shape, "{name}");
        let limits = root_sum_square(predictions, name).unwrap();
        for (i, (got, want)) in values.iter().zip(&expected).enumerate() {
            assert!((got - want).abs() <= limits[i] / 128.0, "{name}[{i}]: expected {want}, got {got}");
        }
    }
}

/// The entries of the last token, by the axes of `r[model.taps]`.
fn last_row(tap: &Tensor) -> (Vec<usize>, Vec<f64>) {
    let (name, shape, values) = (&tap.name, &tap.shape, &tap.values);
    let kind = name.rsplit('.').next().unwrap();
    match kind {
        "logits" => (shape.clone(), values.clone()),
        "scores" | "powers" | "denominator" | "reciprocal" => {
            let width = if shape.len() == 3 { shape[2] } else { 1 };
            let rows: Vec<_> = values.chunks(shape[1] * width).map(|head| &head[head.len() - width..]).collect();
            ([&[shape[0], 1], &shape[2..]].concat(), rows.concat())
        }
        _ => {
            let width = shape[1..].iter().product::<usize>();
            ([&[1], &shape[1..]].concat(), values[values.len() - width..].to_vec())
        }
    }
}

/// `r[generate.prefill]`, `r[generate.bound]`: tokens picked from decrypted logits are those of the polynomial model, and every tap is
/// within its bound.
#[test]
fn generated_tokens_are_those_of_the_model_in_the_clear() {
    for (parallel, layers, log_n) in [(true, 1, 9), (true, 2, 9), (false, 2, 6)] {
        println!("parallel {parallel}, {layers} layers, N = 2^{log_n}, seed {SEED}");
        let (model, tokens) = generating_model(parallel, layers, (2, 0.5), &TOKENS[..4]);
        let parameters = if layers == 1 { toy_parameters(log_n) } else { toy_bootstrapping(log_n) };
        encrypted(&model, parameters, &tokens[..4], 4);
    }
}

fn encrypted(model: &Model, parameters: Parameters, prompt: &[u32], count: usize) {
    let generation = Generation::find(model, &parameters).unwrap();
    println!("bootstraps: {} in prefill, {} in a step", generation.prefill_bootstraps, generation.decode_bootstraps);
    let mut predictor = Predictor::new(&parameters, model, &generation);
    let (slots, context) = (parameters.slots(), Context::new(parameters.clone()).unwrap());
    let generator = KeyGenerator::new(&context, Seed::insecure(u128::from(SEED)));
    let secret = generator.secret_key();
    let keys = evaluation_keys(&context, &generator, &secret, &generation.keys).unwrap();
    let public = generator.public_key(&secret).unwrap();
    let server = Server::new(&context, &keys, &generation.keys).unwrap();
    let (mut tokens, mut cache): (Vec<u32>, Option<Cache<_>>) = (prompt.to_vec(), None);
    for pass in 0..count {
        let predictions = predictor.pass(&tokens).unwrap();
        let seed = Seed::insecure(u128::from(SEED) + 1 + pass as u128);
        let mut taps = DecryptedTaps::new(&context, &secret);
        let (circuit, task, fed) = match &cache {
            None => (Circuit::new(model, slots, tokens.len()).unwrap(), Task::Prefill(&generation), 0),
            Some(cache) => {
                let circuit = generation.step(model, slots, cache.length()).unwrap();
                (circuit, Task::Step(&generation, cache), cache.length())
            }
        };
        let input = circuit.input(&tokens[fed..]).unwrap();
        let input = encrypt(&context, &public, &input, task.plan().input_level(), &seed).unwrap();
        cache = server.pass(&circuit, task, Start::Input(&input), &mut taps, &|_| ()).unwrap().0.cache;
        within_bounds(&taps.taps, &predictions);
        let plain = forward(model, &tokens, tokens.len() - 1, Functions::Polynomial).unwrap();
        assert!(plain.escapes.is_empty(), "{:?}", plain.escapes);
        let token = argmax(&taps.taps.last().unwrap().values);
        assert_eq!(token, argmax(plain.logits()), "token {}", tokens.len());
        tokens.push(token);
    }
}

fn within_bounds(taps: &[Tensor], predictions: &Predictions) {
    assert_eq!(taps.len(), predictions.taps.len());
    for (tap, prediction) in taps.iter().zip(&predictions.taps) {
        assert_eq!((&tap.name, &tap.shape), (&prediction.tensor.name, &prediction.tensor.shape));
        let limits = root_sum_square(predictions, &tap.name).unwrap();
        let mut tightest = 0.0f64;
        for (i, (got, want)) in tap.values.iter().zip(&prediction.tensor.values).enumerate() {
            let (error, limit) = ((got - want).abs(), limits[i]);
            assert!(error <= limit, "{}[{i}]: expected {want}, got {got}, error {error:e} over {limit:e}", tap.name);
            tightest = tightest.max(if limit > 0.0 { error / limit } else { 0.0 });
        }
        // r[conform.slack]: with more than 20 bits of slack a bound would say nothing.
        assert!(tightest >= 2f64.powi(-20), "{}: largest ratio of error to bound {tightest:e}", tap.name);
    }
}

/// `r[generate.cache.match]`
#[test]
fn caches_and_positions_that_do_not_fit_are_refused() {
    let (model, parameters) = (small_model(true), toy_parameters(6));
    let generation = Generation::find(&model, &parameters).unwrap();
    let backend = Predicted::new(&parameters);
    let slots = parameters.slots();
    let encrypt = |circuit: &Circuit<'_>, tokens: &[u32], level: usize| -> Vec<_> {
        let parts = circuit.input(tokens).unwrap().into_iter();
        parts.map(|slots| backend.encrypt(slots, level).unwrap()).collect()
    };
    let filled = |levels| {
        let circuit = Circuit::new(&model, slots, 3).unwrap();
        let input = encrypt(&circuit, &TOKENS[..3], generation.prefill.input_level());
        circuit.prefill(&backend, (&generation.prefill, levels), &input, &mut Blind).unwrap().1
    };
    let cache = filled(Some(generation.cache.as_slice()));
    let refused = |circuit: &Circuit<'_>, cache: &Cache<_>, pieces: &[&str]| {
        let message = circuit.decode(&backend, &generation.decode, cache, &[], &mut Blind).unwrap_err().to_string();
        assert!(pieces.iter().all(|piece| message.contains(piece)), "{message}");
    };
    let step = |position| generation.step(&model, slots, position);
    refused(&step(5).unwrap(), &cache, &["key-value cache", "5 live tokens", "got 3"]);
    refused(&step(3).unwrap(), &filled(None), &["key-value cache", "levels"]);
    refused(&Circuit::new(&model, slots, 1).unwrap(), &cache, &["decoding step", "that of a prompt"]);
    let deeper = deep_model(true, 2);
    let other = Circuit::decoding(&deeper, slots, 3, generation.cache.clone()).unwrap();
    refused(&other, &cache, &["key-value cache", "2 layers", "got 1"]);
    // Twice the slots hold an activation in one ciphertext in place of two.
    let wider = Circuit::decoding(&model, 2 * slots, 3, generation.cache.clone()).unwrap();
    refused(&wider, &cache, &["key-value cache", "expected 1 ciphertexts", "got 2"]);
    let full = step(8).unwrap_err().to_string();
    assert!(full.contains("room in the cache, which holds 8 tokens") && full.contains("position 8"), "{full}");
    let input = encrypt(&step(3).unwrap(), &[7], generation.decode.input_level());
    let (_, next) = step(3).unwrap().decode(&backend, &generation.decode, &cache, &input, &mut Blind).unwrap();
    assert_eq!((cache.length(), next.length()), (3, 4));
}

/// A step of the shipped model needs fewer bootstraps than a full pass or as many, and less time by the planner's own count.
#[test]
fn a_step_of_the_shipped_model_costs_less_than_a_full_pass() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/fairy-4l");
    let parameters = Parameters::preset("n16-boot-deep", Security::Enforce).unwrap();
    let generation = Generation::find(&Model::load(&directory).unwrap(), &parameters).unwrap();
    println!(
        "prefill {} bootstraps, {:.0} s: {:?}",
        generation.prefill_bootstraps, generation.prefill.seconds, generation.prefill
    );
    println!(
        "step {} bootstraps, {:.0} s: {:?}",
        generation.decode_bootstraps, generation.decode.seconds, generation.decode
    );
    println!("cache {:?}, {} keys", generation.cache, generation.keys.count());
    assert!(generation.decode_bootstraps <= generation.prefill_bootstraps);
    assert!(generation.decode.seconds < generation.prefill.seconds);
}
