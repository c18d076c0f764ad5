//! The batched twin against the packed circuit and the model in binary64, on predicted slots and under encryption.

use super::model::{SEED, TOKENS, calibrate, deep_model, repeated, toy_bootstrapping, toy_parameters};
use touchstone_ckks::{Ciphertext, Context, KeyGenerator, Parameters, Seed};
use touchstone_llm::LlmError;
use touchstone_llm::artifact::Model;
use touchstone_llm::batched::{self, BatchedCircuit};
use touchstone_llm::bounds::Bounds;
use touchstone_llm::circuit::Circuit;
use touchstone_llm::plain::{Functions, Pass, forward};
use touchstone_llm::session::{self, DecryptedTaps, Server, evaluation_keys};
use touchstone_llm::tap::{PerPrompt, Tensor};

/// Tokens of a row: the context.
const ROW: usize = 8;

/// Prompts of several lengths for a parallel model of one layer. Polynomials of low degree are far from the functions that intervals are
/// found with, so only the first is sure to stay inside.
fn several() -> Vec<Vec<u32>> {
    vec![TOKENS.to_vec(), vec![5, 2, 29], TOKENS[..5].to_vec()]
}

/// A parallel model of one layer for them.
fn model_of_several() -> Model {
    calibrated_on(true, 1, &[TOKENS.to_vec(), vec![5, 2, 29], vec![11, 4, 4, 27, 19, 8, 6, 13]])
}

/// A model calibrated on prompts, each extended to the context.
fn calibrated_on(parallel: bool, layers: usize, prompts: &[Vec<u32>]) -> Model {
    let mut model = deep_model(parallel, layers);
    calibrate(&mut model, &prompts.iter().map(|prompt| repeated(prompt)).collect::<Vec<_>>());
    model
}

/// Prompts that are inside the intervals of every model: the one that models are calibrated on, and more of its repetition.
fn alike() -> Vec<Vec<u32>> {
    vec![TOKENS.to_vec(), TOKENS.iter().copied().cycle().take(ROW).collect()]
}

fn batch<'a>(model: &'a Model, parameters: &Parameters, prompts: &[Vec<u32>]) -> BatchedCircuit<'a> {
    let lengths: Vec<usize> = prompts.iter().map(Vec::len).collect();
    BatchedCircuit::new(model, parameters.slots(), ROW, &lengths).unwrap()
}

/// The first tap at which two runs of one prompt differ by more than the sum of their bounds times `share`.
fn first_apart(a: (&[Tensor], &Bounds), b: (&[Tensor], &Bounds), share: f64) -> Option<String> {
    assert_eq!(a.0.len(), b.0.len());
    let apart = |(x, y): &(&Tensor, &Tensor)| {
        assert_eq!((&x.name, &x.shape), (&y.name, &y.shape));
        let count = x.values.len();
        let limits = |bounds: &Bounds| {
            let all = bounds.bound(&x.name).unwrap();
            all[all.len() - count..].to_vec()
        };
        let (own, other) = (limits(a.1), limits(b.1));
        let inside = |i: usize| (x.values[i] - y.values[i]).abs() <= share * (own[i] + other[i]);
        !(0..count).all(inside)
    };
    a.0.iter().zip(b.0).find(apart).map(|(tap, _)| tap.name.clone())
}

/// Rules: `r[packing.batched]`, `r[packing.batched.full]`, `r[packing.batched.rotations]`.
#[test]
fn predicted_slots_agree_with_both_other_forms_at_every_tap() {
    for log_n in [5, 6, 9] {
        let parameters = toy_parameters(log_n);
        // Two places at N = 2^5.
        let prompts: Vec<_> = several().into_iter().take(parameters.slots() / ROW).collect();
        assert_eq!(slots_agree(&model_of_several(), &parameters, &prompts), 0);
    }
}

/// Rules: `r[packing.batched.refresh]`, `r[packing.twins]`.
#[test]
fn predicted_slots_of_two_layers_agree_with_both_other_forms_at_every_tap() {
    for (parallel, parameters) in [(true, toy_bootstrapping(6)), (false, toy_bootstrapping(6))] {
        let prompts = alike();
        let model = calibrated_on(parallel, 2, &prompts);
        assert!(slots_agree(&model, &parameters, &prompts) > 0, "parallel residual {parallel}: no bootstrap");
    }
}

/// Compares predicted values with the model in binary64 and with the packed circuit, tap by tap; returns the number of bootstraps.
fn slots_agree(model: &Model, parameters: &Parameters, prompts: &[Vec<u32>]) -> usize {
    let circuit = batch(model, parameters, prompts);
    let requirements = circuit.requirements(parameters).unwrap();
    println!("N = 2^{}: {:?}", parameters.log_n(), requirements.plan);
    let predicted = batched::predict(parameters, &circuit, prompts).unwrap();
    let bounds = batched::bounds(parameters, &circuit, prompts).unwrap();
    for (prompt, (predicted, bounds)) in prompts.iter().zip(predicted.iter().zip(&bounds)) {
        let taps: Vec<Tensor> = predicted.taps.iter().map(|tap| tap.tensor.clone()).collect();
        let pass = forward(model, prompt, prompt.len() - 1, Functions::Polynomial).unwrap();
        // What a polynomial makes of a repeated token outside its interval may be infinite, and the causal mask times that is none.
        let extended = forward(model, &repeated(prompt), prompt.len() - 1, Functions::Polynomial).unwrap();
        if prompt != &prompts[0] && !extended.escapes.is_empty() {
            println!("a prompt of {} tokens leaves its intervals: {:?}", prompt.len(), extended.escapes);
            continue;
        }
        assert!(extended.escapes.is_empty(), "{:?}", extended.escapes);
        agrees_with_plain(&pass, &taps, bounds);
        let packed = Circuit::new(model, parameters.slots(), prompt.len()).unwrap();
        let other = session::predict(parameters, &packed, prompt).unwrap();
        let other: Vec<Tensor> = other.taps.into_iter().map(|tap| tap.tensor).collect();
        let others = session::bounds(parameters, &packed, prompt).unwrap();
        assert_eq!(first_apart((&in_order(&taps, &other), bounds), (&other, &others), 1.0 / 128.0), None);
    }
    requirements.bootstraps
}

/// The taps in the order of others, which the packings may meet in another order; of the last token alone where the others are.
fn in_order(taps: &[Tensor], others: &[Tensor]) -> Vec<Tensor> {
    let find = |other: &Tensor| {
        let mut tap = taps.iter().find(|tap| tap.name == other.name).unwrap().clone();
        if other.name.starts_with("final.") && other.shape[0] == 1 {
            tap.values.drain(..tap.values.len() - other.values.len());
            tap.shape[0] = 1;
        }
        tap
    };
    others.iter().map(find).collect()
}

/// Predicted values carry binary64 rounding only, which is below `2^-7` of the bound: see `predicted::compare`.
fn agrees_with_plain(pass: &Pass, taps: &[Tensor], bounds: &Bounds) {
    assert!(pass.escapes.is_empty(), "{:?}", pass.escapes);
    assert_eq!(taps.len(), pass.taps.len());
    for tap in taps {
        let (want, limits) = (pass.tap(&tap.name).unwrap(), bounds.bound(&tap.name).unwrap());
        assert_eq!(tap.shape, want.shape, "{}", tap.name);
        for (i, (got, want)) in tap.values.iter().zip(&want.values).enumerate() {
            let inside = (got - want).abs() <= limits[i] / 128.0;
            assert!(inside, "{}[{i}]: expected {want}, got {got}, bound {:e}", tap.name, limits[i]);
        }
    }
}

/// Decrypted taps by prompt, and the ciphertexts of the logits.
fn encrypted_batch(
    model: &Model,
    parameters: &Parameters,
    prompts: &[Vec<u32>],
) -> (Vec<Vec<Tensor>>, Vec<Ciphertext>) {
    let circuit = batch(model, parameters, prompts);
    let requirements = circuit.requirements(parameters).unwrap();
    let context = Context::new(parameters.clone()).unwrap();
    let generator = KeyGenerator::new(&context, Seed::insecure(u128::from(SEED)));
    let secret = generator.secret_key();
    let keys = evaluation_keys(&context, &generator, &secret, &requirements.keys).unwrap();
    let public = generator.public_key(&secret).unwrap();
    let (slots, level) = (circuit.input(prompts).unwrap(), requirements.plan.input_level());
    let seed = Seed::insecure(u128::from(SEED) + 1);
    let input = session::encrypt(&context, &public, &slots, level, &seed).unwrap();
    let mut taps = PerPrompt::new(prompts.iter().map(|_| DecryptedTaps::new(&context, &secret)).collect());
    let server = Server::new(&context, &keys, &requirements.keys).unwrap();
    let (logits, _) = server.compute_batch(&circuit, &requirements.plan, &input, &mut taps, &|_| ()).unwrap();
    (taps.observers.into_iter().map(|observer| observer.taps).collect(), logits)
}

fn encrypted_packed(model: &Model, parameters: &Parameters, prompt: &[u32]) -> Vec<Tensor> {
    let circuit = Circuit::new(model, parameters.slots(), prompt.len()).unwrap();
    let requirements = circuit.requirements(parameters).unwrap();
    let context = Context::new(parameters.clone()).unwrap();
    let generator = KeyGenerator::new(&context, Seed::insecure(u128::from(SEED) + 2));
    let secret = generator.secret_key();
    let keys = evaluation_keys(&context, &generator, &secret, &requirements.keys).unwrap();
    let public = generator.public_key(&secret).unwrap();
    let (slots, level) = (circuit.input(prompt).unwrap(), requirements.plan.input_level());
    let seed = Seed::insecure(u128::from(SEED) + 3);
    let input = session::encrypt(&context, &public, &slots, level, &seed).unwrap();
    let mut taps = DecryptedTaps::new(&context, &secret);
    let server = Server::new(&context, &keys, &requirements.keys).unwrap();
    server.compute(&circuit, &requirements.plan, &input, &mut taps, &|_| ()).unwrap();
    taps.taps
}

/// Rules: `r[packing.channels]`, `r[packing.batched]`, `r[packing.batched.refresh]`, `r[packing.twins]`.
#[test]
fn packings_agree_under_encryption_at_every_tap() {
    for (parallel, layers, parameters) in [(true, 1, toy_parameters(6)), (false, 2, toy_bootstrapping(6))] {
        println!("parallel residual {parallel}, {layers} layers, seed {SEED}");
        let (model, prompts) = match layers {
            1 => (model_of_several(), several()),
            _ => (deep_model(parallel, layers), alike()),
        };
        let (taps, logits) = encrypted_batch(&model, &parameters, &prompts);
        let (again, repeated) = encrypted_batch(&model, &parameters, &prompts);
        assert!(logits == repeated, "a run is deterministic");
        assert_eq!(taps, again);
        let circuit = batch(&model, &parameters, &prompts);
        let bounds = batched::bounds(&parameters, &circuit, &prompts).unwrap();
        for (i, prompt) in prompts.iter().enumerate() {
            let packed = Circuit::new(&model, parameters.slots(), prompt.len()).unwrap();
            let others = session::bounds(&parameters, &packed, prompt).unwrap();
            let other = encrypted_packed(&model, &parameters, prompt);
            let own = in_order(&taps[i], &other);
            assert_eq!(first_apart((&own, &bounds[i]), (&other, &others), 1.0), None, "prompt {i}");
            assert!(own.last().unwrap().values.iter().any(|value| value.abs() > 0.1));
            // r[conform.slack]: with more than 20 bits of slack a bound would say nothing.
            if layers == 1 {
                let apart = first_apart((&own, &bounds[i]), (&other, &others), 2f64.powi(-20));
                assert_eq!(apart.as_deref(), Some("embedding"), "prompt {i}");
            }
        }
    }
}

/// One weight of a model.
type Weight = fn(&mut Model) -> &mut f32;

/// One wrong weight of the twin shows at the first tap behind it, and at no tap before.
#[test]
fn a_wrong_scalar_in_one_channel_is_caught() {
    let (parameters, prompts, model) = (toy_parameters(6), several(), model_of_several());
    let packed = Circuit::new(&model, parameters.slots(), prompts[0].len()).unwrap();
    let other = encrypted_packed(&model, &parameters, &prompts[0]);
    let others = session::bounds(&parameters, &packed, &prompts[0]).unwrap();
    let entries: [(Weight, &str); 3] = [
        (|model| &mut model.layers[0].dense.weight.data[37], "layers.0.attention.output"),
        (|model| &mut model.layers[0].up.weight.data[100], "layers.0.mlp.hidden"),
        (|model| &mut model.head.data[5 * 16 + 2], "logits"),
    ];
    for (entry, tap) in entries {
        let mut wrong = model.clone();
        *entry(&mut wrong) += 0.01;
        let bounds = batched::bounds(&parameters, &batch(&wrong, &parameters, &prompts), &prompts).unwrap();
        let (taps, _) = encrypted_batch(&wrong, &parameters, &prompts);
        let own = in_order(&taps[0], &other);
        let found = first_apart((&own, &bounds[0]), (&other, &others), 1.0);
        assert_eq!(found.as_deref(), Some(tap));
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let model = deep_model(true, 1);
    let slots = toy_parameters(6).slots();
    let refused = |tokens: usize, lengths: &[usize]| BatchedCircuit::new(&model, slots, tokens, lengths).unwrap_err();
    let prompt = |error: LlmError, pieces: [&str; 2]| match error {
        LlmError::Prompt { expected, got } => assert_eq!([&expected[..], &got[..]], pieces),
        other => panic!("{other}"),
    };
    prompt(refused(ROW, &[1; 5]), ["1 to 4 prompts", "5 prompts"]);
    prompt(refused(ROW, &[]), ["1 to 4 prompts", "0 prompts"]);
    prompt(refused(ROW, &[3, 9]), ["1 to 8 tokens", "9 tokens"]);
    prompt(refused(4, &[3, 5]), ["1 to 4 tokens", "5 tokens"]);
    prompt(refused(ROW, &[0]), ["1 to 8 tokens", "0 tokens"]);
    assert!(matches!(refused(16, &[3]), LlmError::Packing { .. }));
    assert!(matches!(refused(0, &[3]), LlmError::Packing { .. }));

    let circuit = BatchedCircuit::new(&model, slots, ROW, &[3, 2]).unwrap();
    prompt(circuit.input(&[vec![1, 2, 3], vec![4]]).unwrap_err(), ["prompts of [3, 2] tokens", "[3, 1] tokens"]);
    prompt(circuit.input(&[vec![1, 2, 3], vec![4, 32]]).unwrap_err(), ["token ids below 32", "32"]);
    assert!(circuit.logits(2).is_none());
    let few = touchstone_llm::backend::slots::Predicted::new(&toy_parameters(6));
    let plan = circuit.requirements(&toy_parameters(6)).unwrap().plan;
    let refused = circuit.run(&few, &plan, &[], &mut touchstone_llm::tap::Blind).unwrap_err();
    assert!(matches!(refused, LlmError::Operand { expected, .. } if expected == "16 ciphertexts"));
    // Without bootstrapping two layers need more levels than there are.
    let deep = deep_model(true, 3);
    let circuit = BatchedCircuit::new(&deep, slots, ROW, &[3]).unwrap();
    assert!(matches!(circuit.requirements(&toy_parameters(6)), Err(LlmError::Levels { .. })));
}

/// What a full batch of the shipped model costs, from dry runs alone.
#[test]
#[ignore = "dry runs at full size: a minute"]
fn shipped_model_costs_are_predicted() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/fairy-4l");
    let model = Model::load(&directory).unwrap();
    let parameters = Parameters::preset("n16-boot-deep", touchstone_ckks::Security::Enforce).unwrap();
    for rows in [64, 8] {
        let circuit = BatchedCircuit::new(&model, parameters.slots(), rows, &[rows]).unwrap();
        let requirements = circuit.requirements(&parameters).unwrap();
        let (plan, places) = (&requirements.plan, circuit.layout().batch);
        println!("rows of {rows} tokens: {} bootstraps, {} keys", requirements.bootstraps, requirements.keys.count());
        println!("{:.0} s on one thread, {:.2} s per prompt", plan.seconds, plan.seconds / places as f64);
        println!("{plan:?}\nrotation keys {:?}", requirements.keys.rotations);
        assert_eq!(places * rows, parameters.slots());
        // Two channels a bootstrap, in front of three blocks and the head at most.
        let streams = plan.blocks.iter().map(|block| block.entry).chain([plan.head]).filter(|entry| entry.bootstrap);
        let denominators = plan.blocks.iter().filter(|block| block.denominator).count();
        assert_eq!(requirements.bootstraps, 64 * streams.count() + 4 * denominators);
    }
}
