//! The two breakdowns of runs on small rings: parts add up, counts are those of the dry run, and
//! every form carries the numbers.
//!
//! The engine's counters are those of the process, so these tests are a program of their own that runs once.

#[expect(dead_code, reason = "this program needs the models only")]
#[path = "suite/model.rs"]
mod model;

use num_complex::Complex64;
use std::path::Path;
use std::sync::OnceLock;
use touchstone_ckks::instrument::Recording;
use touchstone_ckks::{Ciphertext, Context, KeyGenerator, ParameterLiteral, Parameters, Security, Seed};
use touchstone_llm::LlmError;
use touchstone_llm::artifact::Model;
use touchstone_llm::backend::dry::{DryRun, Entry};
use touchstone_llm::batched::BatchedCircuit;
use touchstone_llm::circuit::{Circuit, Requirements};
use touchstone_llm::plan::costs::{Costs, Units};
use touchstone_llm::plan::work::Work;
use touchstone_llm::profile::{Kernel, Node, Operation, Primitive, Profile};
use touchstone_llm::session::{Server, encrypt, evaluation_keys};
use touchstone_llm::tap::Blind;
use touchstone_spec::params::SecurityClaim;

/// A profile, and what a dry run of the same circuit counts.
struct Run {
    profile: Profile,
    /// Outside of bootstraps.
    key_switches: u64,
    bootstraps: u64,
    /// Of the dry run.
    entries: Vec<Entry>,
}

/// The shipped model without bootstraps, and a small one of two layers with them.
fn runs() -> &'static [Run; 2] {
    &all().0
}

/// Those of [`runs`], and a batch with bootstraps; one after the other.
fn all() -> &'static ([Run; 2], Run) {
    static RUNS: OnceLock<([Run; 2], Run)> = OnceLock::new();
    RUNS.get_or_init(|| {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/fairy-1l");
        // The smallest ring that the model's 64 tokens by 128 channels fit.
        let mut literal = ParameterLiteral::preset("n16-leveled").unwrap();
        (literal.log_n, literal.security) = (13, SecurityClaim::Insecure);
        let parameters = Parameters::from_literal(&literal, Security::AllowInsecure).unwrap();
        let tokens: Vec<u32> = (0..64).collect();
        let shipped = run(&Model::load(&directory).unwrap(), parameters, &tokens);
        let deep = run(&model::deep_model(true, 2), model::toy_bootstrapping(9), &model::TOKENS);
        ([shipped, deep], run_batch(&model::deep_model(true, 2), model::toy_bootstrapping(6), &model::TOKENS))
    })
}

fn run(model: &Model, parameters: Parameters, tokens: &[u32]) -> Run {
    let circuit = Circuit::new(model, parameters.slots(), tokens.len()).unwrap();
    let requirements = circuit.requirements(&parameters).unwrap();
    let costs = Costs::new(&parameters, Units::default()).unwrap();
    let dry = circuit.dry_run(&parameters, &costs, &requirements.plan).unwrap();
    encrypted(&parameters, &requirements, &dry, &circuit.input(tokens).unwrap(), |server, input| {
        server.compute(&circuit, &requirements.plan, input, &mut Blind, &|_| ()).unwrap().1
    })
}

/// A batch of one prompt.
fn run_batch(model: &Model, parameters: Parameters, tokens: &[u32]) -> Run {
    let rows = model.config.max_position_embeddings;
    let circuit = BatchedCircuit::new(model, parameters.slots(), rows, &[tokens.len()]).unwrap();
    let requirements = circuit.requirements(&parameters).unwrap();
    let costs = Costs::new(&parameters, Units::default()).unwrap();
    let dry = circuit.dry_run(&parameters, &costs, &requirements.plan).unwrap();
    encrypted(&parameters, &requirements, &dry, &circuit.input(&[tokens.to_vec()]).unwrap(), |server, input| {
        server.compute_batch(&circuit, &requirements.plan, input, &mut Blind, &|_| ()).unwrap().1
    })
}

fn encrypted(
    parameters: &Parameters,
    requirements: &Requirements,
    dry: &DryRun<'_>,
    slots: &[Vec<Complex64>],
    compute: impl FnOnce(&Server, &[Ciphertext]) -> Profile,
) -> Run {
    let context = Context::new(parameters.clone()).unwrap();
    let generator = KeyGenerator::new(&context, Seed::insecure(80));
    let secret = generator.secret_key();
    let public = generator.public_key(&secret).unwrap();
    let keys = evaluation_keys(&context, &generator, &secret, &requirements.keys).unwrap();
    let level = requirements.plan.input_level();
    let input = encrypt(&context, &public, slots, level, &Seed::insecure(81)).unwrap();
    let server = Server::new(&context, &keys, &requirements.keys).unwrap();
    let _recording = Recording::start();
    let profile = compute(&server, &input);
    let (key_switches, bootstraps) = (dry.key_switches() as u64, dry.bootstraps() as u64);
    Run { profile, key_switches, bootstraps, entries: dry.entries() }
}

/// Whether sums of so many positive terms may differ so far by rounding alone.
fn equal(a: f64, b: f64, terms: usize) -> bool {
    (a - b).abs() <= 2.0 * terms as f64 * f64::EPSILON * a.abs().max(b.abs())
}

/// r[profile.node], r[profile.primitive]
#[test]
fn parts_add_up_to_totals() {
    for Run { profile, .. } in runs() {
        let total = profile.sum(|_| true);
        assert!(equal(total.seconds, profile.seconds, profile.nodes.len()));
        assert!(equal(total.cpu_seconds, profile.cpu_seconds, profile.nodes.len()));
        let kernels: Vec<_> = profile.primitives.iter().flat_map(|entry| &entry.kernels).collect();
        let booked: f64 = kernels.iter().map(|kernel| kernel.cpu_seconds).sum();
        assert!(equal(booked, profile.cpu_seconds, kernels.len()), "{booked} of {}", profile.cpu_seconds);
        assert_eq!(total.key_bytes, kernels.iter().map(|kernel| kernel.key_bytes).sum::<u64>());
        assert_eq!(total.plaintext_bytes, kernels.iter().map(|kernel| kernel.plaintext_bytes).sum::<u64>());
        assert!(total.key_bytes > 0 && total.plaintext_bytes > 0);
        let by_node: u64 = profile.by_node().iter().map(|(_, cost)| cost.calls).sum();
        assert_eq!(by_node, total.calls);
    }
}

/// What the cost model multiplies with unit costs is what the engine counts, in bootstraps and outside.
#[test]
fn work_is_what_the_engine_counts() {
    let (packed, batch) = all();
    assert!(batch.bootstraps > 0);
    for Run { profile, entries, .. } in packed.iter().chain([batch]) {
        let encodings: usize = entries.iter().map(|entry| entry.encodings).sum();
        let encoded = profile.sum(|entry| entry.node != Node::Bootstrap).encodings;
        assert_eq!(encodings as u64, encoded);
        for bootstrap in [false, true] {
            let counted = |kernel: Kernel| -> f64 {
                let entries = profile.primitives.iter().filter(|entry| entry.bootstrap == bootstrap);
                entries.flat_map(|entry| &entry.kernels).filter(|entry| entry.kernel == kernel).map(|k| k.limbs).sum()
            };
            let inside = entries.iter().filter(|entry| (entry.operation == Operation::Bootstrap) == bootstrap);
            let work: Work = inside.map(|entry| entry.work).sum();
            println!("bootstrap {bootstrap}: {work:?}");
            for (kernel, predicted) in [
                (Kernel::ForwardTransform, work.forward),
                (Kernel::InverseTransform, work.inverse),
                (Kernel::InnerProduct, work.key),
            ] {
                let counted = counted(kernel);
                assert!(equal(counted, predicted, entries.len()), "{kernel}: counted {counted}, predicted {predicted}");
            }
        }
    }
}

#[test]
fn counts_are_those_of_the_dry_run() {
    for Run { profile, key_switches, bootstraps, .. } in runs() {
        let outside = profile.primitives.iter().filter(|entry| entry.primitive.switches_keys() && !entry.bootstrap);
        assert_eq!(outside.map(|entry| entry.calls).sum::<u64>(), *key_switches, "by primitive");
        let nodes = profile.sum(|entry| entry.node != Node::Bootstrap);
        assert_eq!(nodes.key_switches, *key_switches, "by node");
        let total = profile.sum(|_| true);
        assert_eq!((profile.key_switches(), profile.calls(Primitive::Encode)), (total.key_switches, total.encodings));
        let inside = profile.sum(|entry| entry.node == Node::Bootstrap);
        assert_eq!((inside.calls, inside.key_switches > 0), (*bootstraps, *bootstraps > 0));
        // Every part of the circuit is known to the breakdown: other is the time between operations.
        let other: Vec<_> = profile.nodes.iter().filter(|entry| entry.node == Node::Other).collect();
        assert!(other.iter().all(|entry| entry.cost.calls == 0), "{other:?}");
        for node in [Node::PlaintextMatmul, Node::CiphertextMatmul, Node::PowerSoftmax, Node::Gelu, Node::InverseSqrt] {
            assert!(profile.sum(|entry| entry.node == node).key_switches > 0, "{node}");
        }
    }
    let [shipped, deep] = runs();
    assert_eq!(shipped.profile.layers(), [Some(0), None]);
    assert_eq!(deep.profile.layers(), [Some(0), Some(1), None]);
    assert!(shipped.bootstraps == 0 && deep.bootstraps > 0);
}

/// r[profile.format]
#[test]
fn json_is_read_back() {
    for Run { profile, .. } in runs() {
        let text = profile.to_json().unwrap();
        assert_eq!(&Profile::parse(&text).unwrap(), profile);
        let newer = text.replacen("\"version\": 1", "\"version\": 2", 1);
        let message = Profile::parse(&newer).unwrap_err().to_string();
        assert!(message.contains("version 1") && message.contains("version 2"), "{message}");
    }
    assert!(matches!(Profile::parse("{}"), Err(LlmError::File { .. })));
}

#[test]
fn merging_adds() {
    for Run { profile, .. } in runs() {
        let mut twice = profile.clone();
        twice.merge(profile.clone());
        assert_eq!((twice.passes, twice.nodes.len()), (2, profile.nodes.len()));
        assert_eq!(twice.sum(|_| true).key_switches, 2 * profile.sum(|_| true).key_switches);
        assert_eq!(twice.key_switches(), 2 * profile.key_switches());
    }
}

#[test]
fn pages_are_well_formed_and_carry_every_number() {
    for Run { profile, .. } in runs() {
        let page = profile.to_html("a <title> & \"more\"");
        well_formed(&page);
        let own = page.replace("xmlns=\"http://www.w3.org/1999/xhtml\"", "");
        assert!(["<script", "http://", "https://"].iter().all(|outside| !own.contains(outside)));
        let text = profile.to_string();
        for (node, cost) in profile.by_node() {
            for number in [format!("{:.3}", cost.seconds), cost.key_switches.to_string(), node.to_string()] {
                assert!(page.contains(&format!(">{number}<")), "{node}: {number} in the page");
                assert!(text.contains(&number), "{node}: {number} in the text");
            }
        }
        for entry in profile.primitives.iter().filter(|entry| !entry.bootstrap) {
            let number = format!(">{:.3}<", entry.total().cpu_seconds);
            assert!(page.contains(&number), "{}: {number}", entry.primitive);
        }
    }
}

/// Elements are closed in order, attributes are quoted, and `&` begins one of the four entities in use.
fn well_formed(page: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = page.strip_prefix("<!DOCTYPE html>").unwrap();
    while let Some(start) = rest.find('<') {
        entities(&rest[..start]);
        let end = start + rest[start..].find('>').unwrap();
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "closed in order");
            continue;
        }
        entities(tag);
        assert!(!tag.contains('<') && tag.matches('"').count().is_multiple_of(2), "{tag}");
        let name = tag.split([' ', '/']).next().unwrap();
        assert!(!name.is_empty(), "{tag}");
        let outside: Vec<&str> = tag.split('"').step_by(2).collect();
        let (last, before) = outside.split_last().unwrap();
        assert!(!last.contains('=') && before.iter().all(|text| text.find('=') == Some(text.len() - 1)), "{tag}");
        if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert!(open.is_empty() && rest.trim().is_empty(), "{open:?}");
}

fn entities(text: &str) {
    for (at, _) in text.match_indices('&') {
        let known = ["&amp;", "&lt;", "&gt;", "&quot;"];
        assert!(known.iter().any(|entity| text[at..].starts_with(entity)), "{}", &text[at..]);
    }
    assert!(!text.contains('>'), "{text}");
}
