//! Client and server as processes that exchange files.

use super::model::{PRESET, SEED, TOKENS, calibrate, equal, repeated, small_model, toy_parameters};
use super::world::World;
use std::path::Path;
use touchstone_ckks::ckks::serialise::{EvaluationKeyReader, write_evaluation_keys};
use touchstone_ckks::{Context, EvaluationKeys};
use touchstone_llm::bounds::root_sum_square;
use touchstone_llm::circuit::Circuit;
use touchstone_llm::generation::{Generation, Predictor};
use touchstone_llm::plain::{Functions, forward};
use touchstone_llm::profile::Profile;
use touchstone_llm::session::bounds;

fn prompt() -> String {
    TOKENS.map(|token| format!("w{token}")).join(" ")
}

#[test]
fn key_generation_encryption_computation_and_decryption_in_four_processes() {
    let model = small_model(true);
    let world = World::new(&model);
    let (seed, prompt) = (format!("{SEED:x}"), prompt());
    world.accepts(&["keygen", "--out", "@client", "--insecure-seed", &seed]);
    // A second key generation does not overwrite a secret key.
    world.refuses(&["keygen", "--out", "@client"], PRESET, &["secret.key", "exists"]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(world.path("client/secret.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "secret.key can be read by others");
    }
    let message = ["--prompt", &prompt, "--public", "@client/public.key", "--out", "@input", "--insecure-seed", "9"];
    world.accepts(&[&["encrypt"], &message[..]].concat());
    // The server's directory has the evaluation keys, nothing else of the client's.
    std::fs::create_dir(world.path("server")).unwrap();
    std::fs::rename(world.path("client/evaluation.keys"), world.path("server/evaluation.keys")).unwrap();
    world.accepts(&["compute", "--keys", "@server/evaluation.keys", "--in", "@input", "--out", "@output"]);
    let again = ["--keys", "@server/evaluation.keys", "--in", "@input", "--out", "@again", "--checkpoint", "@kept"];
    world.accepts(&[&["compute"], &again[..]].concat());
    let bytes = |name: &str| std::fs::read(world.path(name)).unwrap();
    assert_eq!(bytes("again"), bytes("output"), "computing is deterministic");
    assert_eq!(std::fs::read_dir(world.path("kept")).unwrap().count(), 0, "a finished computation leaves nothing");
    let secret = ["--secret", "@client/secret.key", "--in", "@output", "--logits", "@logits"];
    let answer = world.accepts(&[&["decrypt", "--prompt", &prompt], &secret[..]].concat());

    let parameters = toy_parameters(9);
    let circuit = Circuit::new(&model, parameters.slots(), TOKENS.len()).unwrap();
    let bound = bounds(&parameters, &circuit, &TOKENS).unwrap().bound("logits").unwrap();
    let plain = forward(&model, &circuit.padded(&TOKENS), TOKENS.len() - 1, Functions::Polynomial).unwrap();
    let logits: Vec<f64> = serde_json::from_slice(&std::fs::read(world.path("logits")).unwrap()).unwrap();
    assert_eq!(logits.len(), plain.logits().len());
    for (i, (got, want)) in logits.iter().zip(plain.logits()).enumerate() {
        assert!((got - want).abs() <= bound[i], "logit {i}: expected {want}, got {got}, bound {:e}", bound[i]);
    }
    let best = (0..32).max_by(|&a, &b| plain.logits()[a].total_cmp(&plain.logits()[b])).unwrap();
    assert!(answer.contains(&format!("w{best}")), "{answer}");
    refusals(&world, &prompt);
}

/// What server and client say about damaged and misplaced files.
fn refusals(world: &World, prompt: &str) {
    let cut = |from: &str, to: &str| {
        let bytes = std::fs::read(world.path(from)).unwrap();
        std::fs::write(world.path(to), &bytes[..bytes.len() - 100]).unwrap();
    };
    cut("server/evaluation.keys", "short.keys");
    cut("input", "short.input");
    cut("client/secret.key", "short.secret");
    let compute = |keys: &str, input: &str, preset: &str, pieces: &[&str]| {
        world.refuses(&["compute", "--keys", keys, "--in", input, "--out", "@x"], preset, pieces);
    };
    compute("@short.keys", "@input", PRESET, &["short.keys"]);
    drop_one_rotation(&world.path("server/evaluation.keys"), &world.path("lacking.keys"));
    compute("@lacking.keys", "@input", PRESET, &["no key for rotation by", "level"]);
    compute("@server/evaluation.keys", "@short.input", PRESET, &["short.input"]);
    // The encrypted logits are a ciphertext, but of the wrong level.
    let level = ["input ciphertexts", "expected level 23", "got level 0"];
    compute("@server/evaluation.keys", "@output", PRESET, &level);
    let kind = ["public.key", "expected ciphertexts", "got public key"];
    compute("@server/evaluation.keys", "@client/public.key", PRESET, &kind);
    // Another parameter set: the message was not made for it.
    compute("@server/evaluation.keys", "@input", "toy-n8", &["input", "parameter"]);
    let decrypt = ["decrypt", "--prompt", prompt, "--secret", "@short.secret", "--in", "@output"];
    world.refuses(&decrypt, PRESET, &["short.secret"]);
}

/// Copies evaluation keys but for the rotation of highest key id.
fn drop_one_rotation(from: &Path, to: &Path) {
    let context = Context::new(toy_parameters(9)).unwrap();
    let mut reader = EvaluationKeyReader::new(std::fs::File::open(from).unwrap(), &context).unwrap();
    let conjugation = context.conjugation_element() as u32;
    let dropped = reader.entries().iter().map(|entry| entry.0).filter(|&id| id != conjugation).max().unwrap();
    let mut keys = EvaluationKeys::new();
    while let Some(key) = reader.next_key().unwrap() {
        if key.key_id() != dropped {
            keys.insert(key);
        }
    }
    write_evaluation_keys(std::fs::File::create(to).unwrap(), &context, &keys).unwrap();
}

#[test]
fn run_prints_one_json_object_and_generates_tokens() {
    let world = World::new(&small_model(true));
    let run = ["run", "--prompt", "w3 w17", "--max-new-tokens", "3", "--json", "--insecure-seed", "5"];
    let text = world.accepts(&run);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["prompt_tokens"], serde_json::json!([3, 17]));
    assert_eq!(value["new_tokens"].as_array().unwrap().len(), 3);
    assert_eq!(value["fidelity"]["token_unchanged"], true);
    let fidelity = |name: &str| value["fidelity"][name].as_f64().unwrap();
    assert!(fidelity("max_abs_error") <= fidelity("bound"), "{text}");
    assert!(fidelity("mse") <= fidelity("max_abs_error").powi(2), "{text}");
    for field in ["text", "parameters"] {
        assert!(value[field].is_string(), "{field} in {text}");
    }
    assert!(value["seconds"].as_f64().unwrap() > 0.0);
    let kinds: Vec<_> = value["passes"].as_array().unwrap().iter().map(|pass| pass["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["prefill", "decode", "decode"]);
    let profiled = [&run[..], &["--profile-json", "@profile.json", "--profile-html", "@profile.html"]].concat();
    let again: serde_json::Value = serde_json::from_str(&world.accepts(&profiled)).unwrap();
    assert_eq!(again["fidelity"], value["fidelity"], "a fixed seed repeats a run, recorded or not");
    let profile = Profile::parse(&std::fs::read_to_string(world.path("profile.json")).unwrap()).unwrap();
    assert_eq!((profile.passes, profile.primitives.is_empty()), (3, false));
    let page = std::fs::read_to_string(world.path("profile.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("touchstone run, 2 tokens"), "{page}");
    let mut picked = [&run[..], &["--top-p", "0.9", "--temperature", "2"]].concat();
    // A third unlikely token would leave the intervals of this model, which is calibrated on another text.
    picked[4] = "2";
    let [picked, same] = [(); 2].map(|()| serde_json::from_str::<serde_json::Value>(&world.accepts(&picked)).unwrap());
    assert_eq!(picked["new_tokens"], same["new_tokens"], "draws of a fixed seed repeat");
    assert_eq!(picked["fidelity"]["token_unchanged"], true, "{picked}");
    // Full passes are the obvious twin.
    let full = [&run[..], &["--no-cache"]].concat();
    let full: serde_json::Value = serde_json::from_str(&world.accepts(&full)).unwrap();
    assert_eq!(full["new_tokens"], value["new_tokens"]);
    assert!(full["passes"].as_array().unwrap().iter().all(|pass| pass["kind"] == "full"), "{full}");
    // The seed that a run was killed with is used again; a finished run leaves nothing.
    std::fs::create_dir(world.path("kept")).unwrap();
    let kept = ["run", "--prompt", "w3 w17", "--max-new-tokens", "3", "--json", "--checkpoint", "@kept"];
    for (more, expected) in [(&[][..], &value), (&["--no-cache"], &full)] {
        std::fs::write(world.path("kept/client.seed"), "5").unwrap();
        let resumed: serde_json::Value = serde_json::from_str(&world.accepts(&[&kept[..], more].concat())).unwrap();
        assert_eq!(resumed["fidelity"], expected["fidelity"], "the kept seed repeats a run");
        assert_eq!(std::fs::read_dir(world.path("kept")).unwrap().count(), 0);
    }
}

#[test]
fn a_batch_of_prompts_runs_at_once() {
    let prompts = [TOKENS.to_vec(), vec![5, 2, 29]];
    let mut model = small_model(true);
    calibrate(&mut model, &prompts.clone().map(|prompt| repeated(&prompt)));
    let world = World::new(&model);
    let line = |prompt: &Vec<u32>| prompt.iter().map(|token| format!("w{token}")).collect::<Vec<_>>().join(" ") + "\n";
    let write = |name: &str, text: String| std::fs::write(world.path(name), text).unwrap();
    write("prompts", prompts.iter().map(line).collect());
    write("many", line(&prompts[1]).repeat(33));
    write("none", String::new());
    let run = ["run", "--packing", "batched", "--insecure-seed", "5"];
    let with = |more: &[&'static str]| [&run[..], more].concat();
    let text = world.accepts(&with(&["--prompts-file", "@prompts", "--json"]));
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((value["places"].as_u64(), value["prompts"].as_array().map(Vec::len)), (Some(32), Some(2)));
    for (prompt, answer) in prompts.iter().zip(value["prompts"].as_array().unwrap()) {
        let plain = forward(&model, prompt, prompt.len() - 1, Functions::Polynomial).unwrap();
        let best = (0..32).max_by(|&a, &b| plain.logits()[a].total_cmp(&plain.logits()[b])).unwrap();
        assert_eq!(answer["new_token"].as_u64(), Some(best as u64), "{text}");
        assert_eq!(answer["prompt_tokens"], serde_json::json!(prompt));
        let fidelity = |name: &str| answer["fidelity"][name].as_f64().unwrap();
        assert!(fidelity("max_abs_error") <= fidelity("bound"), "{text}");
    }
    let per_prompt = value["seconds_per_prompt"].as_f64().unwrap();
    assert!(equal(per_prompt * 2.0, value["phases"]["compute"].as_f64().unwrap(), 1), "{text}");
    let spoken = world.accepts(&with(&["--prompt", "w5 w2 w29", "--row-tokens", "4"]));
    assert!(spoken.contains("all 64 places") && spoken.contains("same token on 1 of 1"), "{spoken}");

    let refuses = |more: &[&'static str], pieces: &[&str]| world.refuses(&with(more), PRESET, pieces);
    refuses(&["--prompts-file", "@many"], &["1 to 32 prompts", "33 prompts"]);
    refuses(&["--prompts-file", "@none"], &["one prompt per line"]);
    refuses(&["--prompts-file", "@missing"], &["missing"]);
    refuses(&["--prompts-file", "@prompts", "--row-tokens", "4"], &["1 to 4 tokens", "7 tokens"]);
    refuses(&["--row-tokens", "9"], &["at most the context, 8", "9"]);
    refuses(&["--checkpoint", "@kept"], &["--checkpoint", "--packing packed"]);
    world.refuses(&["run", "--prompts-file", "@prompts"], PRESET, &["--prompts-file", "--packing batched"]);
}

/// `r[generate.file]`: prefill and a step in processes of their own, logits as close to the model in the clear as bounds allow.
#[test]
fn generation_in_processes_that_share_a_cache() {
    let (model, parameters) = (small_model(true), toy_parameters(9));
    let world = World::new(&model);
    world.accepts(&["keygen", "--generation", "--out", "@client", "--insecure-seed", "5"]);
    let encrypt = ["encrypt", "--public", "@client/public.key", "--out", "@input", "--insecure-seed"];
    let compute = ["compute", "--keys", "@client/evaluation.keys", "--in", "@input", "--out", "@output"];
    let decrypt = ["decrypt", "--secret", "@client/secret.key", "--in", "@output", "--logits", "@logits"];
    world.accepts(&[&encrypt[..], &["9", "--prompt", "w3 w17"]].concat());
    let cached = [&compute[..], &["--cache", "@kept"]].concat();
    world.refuses(&cached, PRESET, &["--length", "no cache"]);
    world.accepts(&[&cached[..], &["--length", "2"]].concat());
    world.accepts(&[&decrypt[..], &["--prompt", "w3 w17"]].concat());
    let generation = Generation::find(&model, &parameters).unwrap();
    let mut predictor = Predictor::new(&parameters, &model, &generation);
    let mut close = |tokens: &[u32]| {
        let bounds = root_sum_square(&predictor.pass(tokens).unwrap(), "logits").unwrap();
        let pass = forward(&model, tokens, tokens.len() - 1, Functions::Polynomial).unwrap();
        let logits: Vec<f64> = serde_json::from_slice(&std::fs::read(world.path("logits")).unwrap()).unwrap();
        for (i, (got, want)) in logits.iter().zip(pass.logits()).enumerate() {
            assert!((got - want).abs() <= bounds[i], "logit {i}: expected {want}, got {got}, bound {:e}", bounds[i]);
        }
    };
    close(&[3, 17]);
    // The cache of another model and damaged ones are refused.
    let kept = std::fs::read(world.path("kept/cache")).unwrap();
    world.accepts(&[&encrypt[..], &["10", "--next-token", "9"]].concat());
    let other = World::new(&small_model(false));
    std::fs::create_dir(other.path("kept")).unwrap();
    std::fs::write(other.path("kept/cache"), &kept).unwrap();
    std::fs::copy(world.path("input"), other.path("input")).unwrap();
    std::fs::create_dir(other.path("client")).unwrap();
    std::fs::copy(world.path("client/evaluation.keys"), other.path("client/evaluation.keys")).unwrap();
    other.refuses(&cached, PRESET, &["cache: model: expected"]);
    let mut damaged = kept.clone();
    damaged[3000] ^= 1;
    std::fs::write(world.path("kept/cache"), damaged).unwrap();
    world.refuses(&cached, PRESET, &["cache: hash"]);
    std::fs::write(world.path("kept/cache"), &kept[..20]).unwrap();
    world.refuses(&cached, PRESET, &["cache: size"]);
    std::fs::write(world.path("kept/cache"), &kept).unwrap();
    world.accepts(&cached);
    world.accepts(&[&decrypt[..], &["--step"]].concat());
    close(&[3, 17, 9]);
}
