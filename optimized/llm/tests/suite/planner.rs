//! Plans: those of models without weights, the search against a dry run of the whole, and `touchstone plan` from outside.

use super::encoder::small_encoder;
use super::model::{TOKENS, deep_model, equal, toy_bootstrapping, toy_parameters};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use touchstone_ckks::{Parameters, Security};
use touchstone_llm::backend::dry::DryRun;
use touchstone_llm::batched::BatchedCircuit;
use touchstone_llm::circuit::Circuit;
use touchstone_llm::plan::costs::{Costs, Units};
use touchstone_llm::plan::forecast::Forecast;
use touchstone_llm::plan::memory::key_bytes;
use touchstone_llm::plan::outline::{Degrees, Outline};
use touchstone_llm::tap::Blind;
use touchstone_spec::artifact::{AnyConfig, EncoderKind, Pooling};

/// A dry run looks at no weight: the same operations, keys and limbs with weights as without.
#[test]
fn weights_do_not_matter() {
    let parameters = toy_bootstrapping(9);
    let costs = Costs::new(&parameters, Units::default()).unwrap();
    let compare = |circuit: &Circuit<'_>, outline: &Outline| {
        let requirements = circuit.requirements(&parameters).unwrap();
        let outlined = outline.circuit(parameters.slots(), TOKENS.len()).unwrap();
        assert_eq!(outlined.requirements(&parameters).unwrap(), requirements);
        let plan = &requirements.plan;
        let weighted = DryRun::new(&parameters, &costs);
        let input = weighted.input(circuit.layout().parts, plan.input_level());
        circuit.run(&weighted, plan, &input, &mut Blind).unwrap();
        let empty = outlined.dry_run(&parameters, &costs, plan).unwrap();
        assert_eq!(empty.entries(), weighted.entries());
        assert_eq!(empty.keys().unwrap(), weighted.keys().unwrap());
    };
    for parallel in [true, false] {
        let model = deep_model(parallel, 2);
        let outline = Outline::new(&AnyConfig::Decoder(model.config.clone()), model.polynomials.clone());
        compare(&Circuit::new(&model, parameters.slots(), TOKENS.len()).unwrap(), &outline);
    }
    for pooling in [Pooling::First, Pooling::Mean] {
        let encoder = small_encoder(EncoderKind::Roberta, pooling, 2);
        let outline = Outline::new(&AnyConfig::Encoder(encoder.config.clone()), encoder.body.polynomials.clone());
        compare(&Circuit::encoder(&encoder, parameters.slots(), TOKENS.len()).unwrap(), &outline);
    }
}

/// The cost that the search adds up, block by block, is that of the whole, up to one sum per part where a bootstrapped stream is
/// held by half.
#[test]
fn costs_of_blocks_add_up() {
    for (layers, parallel, parameters) in
        [(1, true, toy_parameters(9)), (3, true, toy_bootstrapping(9)), (2, false, toy_bootstrapping(6))]
    {
        let model = deep_model(parallel, layers);
        let circuit = Circuit::new(&model, parameters.slots(), TOKENS.len()).unwrap();
        let costs = Costs::new(&parameters, Units::default()).unwrap();
        let plan = circuit.requirements(&parameters).unwrap().plan;
        let whole = circuit.dry_run(&parameters, &costs, &plan).unwrap().seconds();
        let bootstrapped =
            plan.blocks.iter().map(|block| block.entry).chain([plan.head]).filter(|entry| entry.bootstrap);
        let sum = costs.seconds(&costs.basis().add(parameters.max_level(), 2));
        let doubled = (bootstrapped.count() * circuit.layout().parts) as f64 * sum;
        let rounding = 1e-12 * whole;
        assert!(plan.seconds <= whole + rounding && whole <= plan.seconds + doubled + rounding, "{plan:?}, {whole}");
    }
}

/// The same of the batched twin, and its dry runs look at no weight either.
#[test]
fn costs_of_a_batch_add_up() {
    for (layers, parallel, parameters) in
        [(1, true, toy_parameters(6)), (3, true, toy_bootstrapping(6)), (2, false, toy_bootstrapping(6))]
    {
        let model = deep_model(parallel, layers);
        let circuit = BatchedCircuit::new(&model, parameters.slots(), 8, &[TOKENS.len()]).unwrap();
        let costs = Costs::new(&parameters, Units::default()).unwrap();
        let requirements = circuit.requirements(&parameters).unwrap();
        let plan = &requirements.plan;
        let empty = circuit.dry_run(&parameters, &costs, plan).unwrap();
        let weighted = DryRun::new(&parameters, &costs);
        let input = weighted.input(circuit.ciphertexts(), plan.input_level());
        circuit.run(&weighted, plan, &input, &mut Blind).unwrap();
        assert_eq!(empty.entries(), weighted.entries());
        assert_eq!(
            (requirements.keys.clone(), requirements.bootstraps),
            (weighted.keys().unwrap(), empty.bootstraps())
        );
        assert_eq!(requirements.bootstraps > 0, parameters.bootstrap().is_some());
        let bootstrapped =
            plan.blocks.iter().map(|block| block.entry).chain([plan.head]).filter(|entry| entry.bootstrap);
        // One sum where a bootstrapped stream is held by half.
        let doubled = bootstrapped.count() as f64 * costs.seconds(&costs.basis().add(parameters.max_level(), 2));
        let (whole, rounding) = (empty.seconds(), 1e-12 * empty.seconds());
        assert!(plan.seconds <= whole + rounding && whole <= plan.seconds + doubled + rounding, "{plan:?}, {whole}");
    }
}

/// Every shipped shape has a plan, and bytes of keys by level add up.
#[test]
fn shipped_shapes_have_plans() {
    let parameters = Parameters::preset("n16-boot-deep", Security::Enforce).unwrap();
    let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/configs");
    for (name, tokens, parts) in [
        ("pythia-70m", 128, 1),
        ("pythia-160m", 128, 2),
        ("pythia-410m", 128, 2),
        ("roberta-base", 128, 2),
        ("small-encoder", 32, 1),
    ] {
        let text = std::fs::read_to_string(configs.join(format!("{name}.json"))).unwrap();
        let mut config = AnyConfig::from_json(&text).unwrap();
        if let AnyConfig::Decoder(config) = &mut config {
            config.max_position_embeddings = tokens;
        }
        let outline = Outline::new(&config, Degrees::default().typical(&config));
        let circuit = outline.circuit(parameters.slots(), tokens).unwrap();
        assert_eq!(circuit.layout().parts, parts, "{name}");
        let requirements = circuit.requirements(&parameters).unwrap();
        let forecast = Forecast::new(&circuit, &parameters, &requirements, Units::default()).unwrap();
        let keys: usize = forecast.keys.iter().map(|row| row.bytes).sum();
        let bytes: usize = forecast.keys.iter().map(|row| row.count * key_bytes(&parameters, row.level)).sum();
        assert_eq!((keys, forecast.memory.keys), (bytes, bytes), "{name}");
        // All keys but the one to the ephemeral secret, which has two limbs only.
        assert_eq!(forecast.keys.iter().map(|row| row.count).sum::<usize>(), requirements.keys.count() - 1, "{name}");
        let by_node: f64 = forecast.by_node().iter().map(|(_, seconds)| seconds).sum();
        assert!(equal(by_node, forecast.seconds(), forecast.entries.len()), "{name}");
        println!("{name}: {:.0} s, {} bootstraps", forecast.seconds(), forecast.bootstraps);
    }
}

/// Bytes of keys are those of generated ones.
#[test]
fn key_bytes_are_those_of_keys() {
    let parameters = toy_parameters(6);
    let context = touchstone_ckks::Context::new(parameters.clone()).unwrap();
    let generator = touchstone_ckks::KeyGenerator::new(&context, touchstone_ckks::Seed::insecure(70));
    let secret = generator.secret_key();
    for level in [0, 7, 8, parameters.max_level()] {
        let key = generator.relinearisation_key(&secret, level).unwrap();
        assert_eq!(key.bytes(), key_bytes(&parameters, level), "level {level}");
    }
}

fn plan(model: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_touchstone"));
    command.arg("plan").arg("--model").arg(model).args(arguments).output().unwrap()
}

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models").join(name)
}

#[test]
fn plans_are_printed() {
    let output = plan(&shipped("configs/small-encoder.json"), &["--tokens", "16", "--memory", "4G"]);
    let text = String::from_utf8(output.stdout).unwrap();
    for piece in ["layer 0", "layer 1", "attention output map", "linear map", "DOES NOT FIT 4.00 GiB", "n16-boot-deep"]
    {
        assert!(text.contains(piece), "no {piece:?} in: {text}");
    }
    let output = plan(&shipped("fairy-1l"), &["--preset", "n16-leveled", "--memory", "20G", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let sum = |rows: &str, field: &str| -> f64 {
        json[rows].as_array().unwrap().iter().map(|row| row[field].as_f64().unwrap()).sum()
    };
    assert_eq!((json["tokens"].as_u64(), json["fits"].as_bool()), (Some(64), Some(true)));
    assert_eq!(json["bootstraps"].as_u64(), Some(0));
    let seconds = json["seconds"].as_f64().unwrap();
    let terms = json["operations"].as_array().unwrap().len();
    assert!(equal(sum("operations", "seconds"), seconds, terms));
    assert!(equal(sum("by_node", "seconds"), seconds, terms));
    assert_eq!(sum("keys", "bytes"), json["memory"]["keys"].as_f64().unwrap());
}

/// `r[packing.slots]`: 32 heads of 2048 tokens are two ciphertexts for each of 64 complex channels.
#[test]
fn heads_of_a_long_context_are_in_groups() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/configs/pythia-2.8b.json");
    let config = AnyConfig::from_json(&std::fs::read_to_string(path).unwrap()).unwrap();
    let outline = Outline::new(&config, Degrees::default().typical(&config));
    let circuit = outline.circuit(1 << 15, 2048).unwrap();
    assert_eq!((circuit.layout().groups, circuit.layout().parts, circuit.layout().replicas), (2, 128, 1));
}

#[test]
fn what_cannot_be_planned_is_refused() {
    let refused = |model: &str, arguments: &[&str], pieces: &[&str]| {
        let output = plan(&shipped(model), arguments);
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && output.stdout.is_empty(), "{message}");
        for piece in pieces {
            assert!(message.contains(piece), "no {piece:?} in: {message}");
        }
    };
    refused("configs/pythia-70m.json", &["--tokens", "4096"], &["--tokens", "2048", "4096"]);
    refused("configs/pythia-70m.json", &["--degrees", "1,2"], &["--degrees", "three degrees"]);
    refused("configs/pythia-70m.json", &["--memory", "20X"], &["--memory", "20X"]);
    refused("configs/pythia-70m.json", &["--preset", "n15-leveled"], &["out of levels"]);
    refused("nothing", &[], &["nothing"]);
}

#[test]
fn a_run_that_does_not_fit_is_refused() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_touchstone"));
    let output = command.args(["run", "--memory", "1G", "--model"]).arg(shipped("fairy-4l")).output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && output.stdout.is_empty(), "{message}");
    assert!(message.contains("--memory") && message.contains("keys") && message.contains("1.00 GiB"), "{message}");
}
