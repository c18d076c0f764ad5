//! Generation that stops anywhere and goes on gives the bits of one that does not stop (`r[generate.resume]`).

use super::model::{PRESET, SEED, TOKENS, generating_model, small_model, toy_bootstrapping};
use super::world::World;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use touchstone_ckks::{Ciphertext, Context, EvaluationKeys, KeyGenerator, PublicKey, Seed};
use touchstone_llm::artifact::Model;
use touchstone_llm::checkpoint::{Checkpoints, Identity};
use touchstone_llm::circuit::{Cache, Circuit, LayerCache, Start, State};
use touchstone_llm::generation::Generation;
use touchstone_llm::session::{Passed, Server, Task, encrypt, evaluation_keys};
use touchstone_llm::tap::{Decode, Observer};
use touchstone_llm::{LlmError, Result};

/// Stops a pass before block `at`, with what a checkpoint would hold.
struct Stop {
    at: usize,
    state: Option<State<Ciphertext>>,
}

impl Observer<Ciphertext> for Stop {
    fn wants(&self, _name: &str) -> bool {
        false
    }

    fn tap(&mut self, _name: &str, _ciphertexts: &[&Ciphertext], _decode: &Decode) -> Result<()> {
        Ok(())
    }

    fn boundary(&mut self, next: usize, stream: &[Ciphertext], kept: &[LayerCache<Ciphertext>]) -> Result<()> {
        if next < self.at {
            return Ok(());
        }
        self.state = Some(State { next, stream: stream.to_vec(), kept: kept.to_vec() });
        Err(LlmError::Operand { operation: "test".to_owned(), expected: "no stop".to_owned(), got: "stop".to_owned() })
    }
}

/// A client and a server of a toy model.
struct Pair {
    model: Model,
    context: Context,
    generation: Generation,
    public: PublicKey,
    server: Server,
}

impl Pair {
    fn new() -> (Self, Vec<u32>) {
        let (model, tokens) = generating_model(true, 2, (2, 0.5), &TOKENS[..4]);
        let parameters = toy_bootstrapping(9);
        let generation = Generation::find(&model, &parameters).unwrap();
        let context = Context::new(parameters).unwrap();
        let generator = KeyGenerator::new(&context, Seed::insecure(u128::from(SEED)));
        let secret = generator.secret_key();
        let keys: EvaluationKeys = evaluation_keys(&context, &generator, &secret, &generation.keys).unwrap();
        let public = generator.public_key(&secret).unwrap();
        let server = Server::new(&context, &keys, &generation.keys).unwrap();
        (Self { model, context, generation, public, server }, tokens)
    }

    fn circuit(&self, cache: Option<&Cache<Ciphertext>>) -> Circuit<'_> {
        let slots = self.context.parameters().slots();
        match cache {
            None => Circuit::new(&self.model, slots, 4).unwrap(),
            Some(cache) => self.generation.step(&self.model, slots, cache.length()).unwrap(),
        }
    }

    fn task<'t>(&'t self, cache: Option<&'t Cache<Ciphertext>>) -> Task<'t> {
        cache.map_or(Task::Prefill(&self.generation), |cache| Task::Step(&self.generation, cache))
    }

    fn input(&self, cache: Option<&Cache<Ciphertext>>, tokens: &[u32]) -> Vec<Ciphertext> {
        let fed = match cache {
            None => &tokens[..4],
            Some(cache) => &tokens[cache.length()..=cache.length()],
        };
        let (slots, seed) = (self.circuit(cache).input(fed).unwrap(), Seed::insecure(u128::from(SEED) + 1));
        encrypt(&self.context, &self.public, &slots, self.task(cache).plan().input_level(), &seed).unwrap()
    }

    fn pass(&self, cache: Option<&Cache<Ciphertext>>, input: &[Ciphertext], observer: &mut Stop) -> Result<Passed> {
        let (circuit, start) = (self.circuit(cache), Start::Input(input));
        Ok(self.server.pass(&circuit, self.task(cache), start, observer, &|_| ())?.0)
    }
}

#[test]
fn prefill_and_steps_stopped_before_any_block_give_the_same_bits() {
    let (pair, tokens) = Pair::new();
    let mut cache = None;
    for pass in 0..2 {
        let (circuit, task) = (pair.circuit(cache.as_ref()), pair.task(cache.as_ref()));
        let input = pair.input(cache.as_ref(), &tokens);
        let whole = pair.pass(cache.as_ref(), &input, &mut Stop { at: usize::MAX, state: None }).unwrap();
        let key = (task.plan(), task.cache_levels());
        let own = Identity::new(&pair.context, &circuit, key, &input).unwrap();
        let own = cache.iter().fold(own, |own, cache| own.behind(&pair.context, cache).unwrap());
        for at in 1..=2 {
            let directory = tempfile::tempdir().unwrap();
            let checkpoints = Checkpoints::new(directory.path(), &pair.context, own.clone()).unwrap();
            let mut stop = Stop { at, state: None };
            pair.pass(cache.as_ref(), &input, &mut stop).unwrap_err();
            let State { next, stream, kept } = stop.state.unwrap();
            assert_eq!((next, kept.len()), (at, at), "pass {pass}");
            checkpoints.save(next, &stream, &kept).unwrap();
            assert!(checkpoints.finished(&circuit).unwrap().is_none());
            let computed = AtomicUsize::new(0);
            let count = |_: &'static str| {
                computed.fetch_add(1, Ordering::Relaxed);
            };
            let compute = || checkpoints.compute(&pair.server, &circuit, task, &input, &count).unwrap().0;
            assert_eq!(compute(), whole, "pass {pass} from block {at}");
            assert!(computed.swap(0, Ordering::Relaxed) > 0);
            // Once more: the result is there.
            assert_eq!((compute(), computed.into_inner()), (whole.clone(), 0));
            checkpoints.forget_cache().unwrap();
            let logits = checkpoints.finished(&circuit).unwrap().unwrap();
            assert_eq!(logits, Passed { cache: None, ..whole.clone() });
        }
        cache = whole.cache;
    }
}

#[test]
fn states_of_other_passes_are_refused() {
    let (pair, tokens) = Pair::new();
    let (circuit, input) = (pair.circuit(None), pair.input(None, &tokens));
    let mut stop = Stop { at: 1, state: None };
    pair.pass(None, &input, &mut stop).unwrap_err();
    let state = stop.state.unwrap();
    let refused = |task: Task<'_>, state: State<Ciphertext>, pieces: [&str; 2]| {
        let start = Start::Saved(state);
        let mut blind = Stop { at: usize::MAX, state: None };
        let message = pair.server.pass(&circuit, task, start, &mut blind, &|_| ()).unwrap_err().to_string();
        assert!(message.contains("state between two blocks"), "{message}");
        assert!(pieces.iter().all(|piece| message.contains(piece)), "{message}");
    };
    let prefill = pair.task(None);
    refused(prefill, State { next: 3, ..state.clone() }, ["a next block up to 2", "got 3"]);
    refused(prefill, State { stream: Vec::new(), ..state.clone() }, ["expected 1 ciphertexts", "got 0"]);
    refused(prefill, State { kept: Vec::new(), ..state.clone() }, ["keys and values of 1 blocks", "got 0"]);
    refused(Task::Whole(&pair.generation.prefill), state, ["keys and values of 0 blocks", "got 1"]);
}

/// Processes that are killed some time after each pass has begun.
#[test]
fn a_generation_that_is_killed_in_every_pass_gives_the_same_tokens_and_errors() {
    let world = World::new(&small_model(true));
    let run = ["run", "--prompt", "w3 w17", "--max-new-tokens", "3", "--json", "--insecure-seed", "5"];
    let expected: serde_json::Value = serde_json::from_str(&world.accepts(&run)).unwrap();
    let kept = [&run[..], &["--checkpoint", "@kept"]].concat();
    let mut draw = SEED;
    for pass in 0..3 {
        draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut command = world.touchstone(&kept, PRESET);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while !world.path(&format!("kept/pass-{pass}")).exists() {
            assert!(child.try_wait().unwrap().is_none(), "the run ended before pass {pass}");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(draw >> 58));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let resumed: serde_json::Value = serde_json::from_str(&world.accepts(&kept)).unwrap();
    for field in ["new_tokens", "fidelity"] {
        assert_eq!(resumed[field], expected[field], "{field}");
    }
    assert_eq!(std::fs::read_dir(world.path("kept")).unwrap().count(), 0, "a finished run leaves nothing");
}
