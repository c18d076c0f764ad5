//! A computation that is killed and resumed gives the bits of an uninterrupted one.

use super::model::{SEED, TOKENS, deep_model, toy_bootstrapping};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use touchstone_ckks::ckks::serialise::{read_ciphertexts, write_ciphertexts};
use touchstone_ckks::{Ciphertext, Context, EvaluationKeys, KeyGenerator, Parameters, Security, Seed};
use touchstone_llm::artifact::Model;
use touchstone_llm::checkpoint::{Checkpoints, Identity};
use touchstone_llm::circuit::{Circuit, Requirements, State};
use touchstone_llm::session::{Server, Task, encrypt, evaluation_keys};
use touchstone_llm::tap::Blind;

/// Tells the child process where to work.
const DIRECTORY: &str = "TOUCHSTONE_TEST_DIRECTORY";
/// Set if the child is to compute the shipped model.
const SHIPPED: &str = "TOUCHSTONE_TEST_SHIPPED";

/// Everything of one computation, made again from fixed seeds by each process.
struct Computation {
    model: Model,
    context: Context,
    requirements: Requirements,
    keys: EvaluationKeys,
    input: Vec<Ciphertext>,
    prompt: usize,
}

impl Computation {
    fn toy() -> Self {
        Self::new(deep_model(true, 3), toy_bootstrapping(7), &TOKENS)
    }

    fn shipped() -> Self {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/fairy-4l");
        let tokens: Vec<u32> = (0..64).map(|i| (i * 37 + 11) % 1024).collect();
        let parameters = Parameters::preset("n16-boot-deep", Security::Enforce).unwrap();
        Self::new(Model::load(&directory).unwrap(), parameters, &tokens)
    }

    fn new(model: Model, parameters: Parameters, tokens: &[u32]) -> Self {
        let circuit = Circuit::new(&model, parameters.slots(), tokens.len()).unwrap();
        let requirements = circuit.requirements(&parameters).unwrap();
        let context = Context::new(parameters).unwrap();
        let generator = KeyGenerator::new(&context, Seed::insecure(u128::from(SEED)));
        let secret = generator.secret_key();
        let keys = evaluation_keys(&context, &generator, &secret, &requirements.keys).unwrap();
        let (slots, seed) = (circuit.input(tokens).unwrap(), Seed::insecure(u128::from(SEED) + 1));
        let public = generator.public_key(&secret).unwrap();
        let input = encrypt(&context, &public, &slots, requirements.plan.input_level(), &seed).unwrap();
        Self { model, context, requirements, keys, input, prompt: tokens.len() }
    }

    fn circuit(&self) -> Circuit<'_> {
        Circuit::new(&self.model, self.context.parameters().slots(), self.prompt).unwrap()
    }

    fn identity(&self) -> Identity {
        Identity::new(&self.context, &self.circuit(), (&self.requirements.plan, None), &self.input).unwrap()
    }

    fn checkpoints(&self, directory: &Path, identity: Identity) -> Checkpoints {
        Checkpoints::new(directory, &self.context, identity).unwrap()
    }

    fn uninterrupted(&self) -> Vec<Ciphertext> {
        let server = Server::new(&self.context, &self.keys, &self.requirements.keys).unwrap();
        server.compute(&self.circuit(), &self.requirements.plan, &self.input, &mut Blind, &|_| ()).unwrap().0
    }

    /// Computes with checkpoints and writes the result beside them.
    fn resumable(&self, directory: &Path) {
        let checkpoints = self.checkpoints(directory, self.identity());
        let server = Server::new(&self.context, &self.keys, &self.requirements.keys).unwrap();
        let task = Task::Whole(&self.requirements.plan);
        let (passed, _) = checkpoints.compute(&server, &self.circuit(), task, &self.input, &|_| ()).unwrap();
        let file = std::fs::File::create(result(directory)).unwrap();
        write_ciphertexts(file, &self.context, &passed.logits).unwrap();
    }
}

fn result(directory: &Path) -> PathBuf {
    directory.join("result")
}

/// Runs in a process of its own, for the tests below.
#[test]
#[ignore = "the child process of other tests"]
fn child() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let computation = if std::env::var_os(SHIPPED).is_some() { Computation::shipped() } else { Computation::toy() };
    computation.resumable(Path::new(&directory));
}

fn start_child(directory: &Path, shipped: bool) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "checkpoint::child", "--ignored"]).env(DIRECTORY, directory);
    if shipped {
        command.env(SHIPPED, "1");
    }
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// The furthest checkpoint's block.
fn reached(directory: &Path) -> Option<usize> {
    let names = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let number = |name: String| name.strip_prefix("layer-")?.strip_suffix(".checkpoint")?.parse().ok();
    names.filter_map(number).max()
}

/// Kills a child `kills` times, each after some fraction of the time of a whole run, then lets it finish; what is reached never
/// goes back.
fn killed_and_resumed(computation: &Computation, kills: u32, shipped: bool) {
    let expected = computation.uninterrupted();
    let directory = tempfile::tempdir().unwrap();
    let whole = Instant::now();
    assert!(start_child(directory.path(), shipped).wait().unwrap().success());
    let whole = whole.elapsed();
    std::fs::remove_file(result(directory.path())).unwrap();
    computation.checkpoints(directory.path(), computation.identity()).clear().unwrap();

    let mut draw = SEED;
    let mut furthest = None;
    for kill in 0..kills {
        draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // Late enough to reach a boundary now and then, early enough not to finish.
        let moment = whole.mul_f64(0.2 + 0.6 * (draw >> 11) as f64 / (1u64 << 53) as f64);
        let mut child = start_child(directory.path(), shipped);
        std::thread::sleep(moment.max(Duration::from_millis(1)));
        child.kill().unwrap();
        child.wait().unwrap();
        let now = reached(directory.path());
        println!("kill {kill} after {moment:.1?}: next block {now:?}");
        assert!(now >= furthest, "{now:?} after {furthest:?}");
        furthest = now;
    }
    assert!(start_child(directory.path(), shipped).wait().unwrap().success());
    let file = std::fs::File::open(result(directory.path())).unwrap();
    assert_eq!(read_ciphertexts(file, &computation.context).unwrap(), expected);
}

#[test]
fn killed_at_random_moments_and_resumed_gives_the_same_bits() {
    killed_and_resumed(&Computation::toy(), 5, false);
}

#[test]
#[ignore = "full size: a quarter of an hour with --release, and 14 gigabytes"]
fn shipped_model_killed_ten_times_gives_the_same_bits() {
    killed_and_resumed(&Computation::shipped(), 10, true);
}

#[test]
fn a_checkpoint_of_another_computation_or_a_damaged_one_is_refused() {
    let computation = Computation::toy();
    let directory = tempfile::tempdir().unwrap();
    let own = computation.identity();
    let checkpoints = computation.checkpoints(directory.path(), own.clone());
    assert!(checkpoints.latest().unwrap().is_none());
    checkpoints.save(1, &computation.input, &[]).unwrap();
    checkpoints.save(2, &computation.input, &[]).unwrap();
    // What a kill in the middle of writing leaves behind.
    std::fs::write(directory.path().join("partial"), b"half").unwrap();
    let state = checkpoints.latest().unwrap().unwrap();
    assert_eq!(state, State { next: 2, stream: computation.input.clone(), kept: Vec::new() });

    let other = "other".to_owned();
    let strangers = [
        ("model", Identity { model: other.clone(), ..own.clone() }),
        ("parameters", Identity { parameters: other.clone(), ..own.clone() }),
        ("plan", Identity { plan: other.clone(), ..own.clone() }),
        ("encrypted input", Identity { input: other.clone(), ..own.clone() }),
        ("key-value cache", Identity { cache: other, ..own.clone() }),
    ];
    for (what, identity) in strangers {
        let message = computation.checkpoints(directory.path(), identity).latest().unwrap_err().to_string();
        assert!(message.contains(what) && message.contains("layer-2.checkpoint"), "{message}");
        assert!(message.contains("expected other"), "{message}");
    }
    let path = directory.path().join("layer-2.checkpoint");
    let good = std::fs::read(&path).unwrap();
    for damage in [|bytes: &mut Vec<u8>| bytes[2000] ^= 1, |bytes: &mut Vec<u8>| bytes.truncate(1000)] {
        let mut bytes = good.clone();
        damage(&mut bytes);
        std::fs::write(&path, bytes).unwrap();
        let message = checkpoints.latest().unwrap_err().to_string();
        assert!(message.contains("layer-2.checkpoint: hash"), "{message}");
    }
    std::fs::write(&path, b"").unwrap();
    assert!(checkpoints.latest().unwrap_err().to_string().contains("size"));
    checkpoints.clear().unwrap();
    assert!(checkpoints.latest().unwrap().is_none());
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}
