//! The engine passes every vector, in this process and as a child; broken backends fail where they are broken.

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;
use touchstone_ckks::ring::{Form, Poly};
use touchstone_ckks::{Ciphertext, CkksError, Complex64, Encoder, Evaluator, KernelKind, Plaintext};
use touchstone_conformance::backend::Backend;
use touchstone_conformance::backend::child::{Child, Launch};
use touchstone_conformance::backend::engine::{Engine, Keys, Operations};
use touchstone_conformance::vectors::{DIRECTORY, cases};
use touchstone_conformance::{ConformError, Options, Verdict, runner};
use touchstone_spec::protocol::Opened;
use touchstone_spec::record::RunRecord;

fn options() -> Options {
    Options { draws: 1, seed: 1, model: "none".into(), prompts_file: None, prompts: 0, prompt: String::new() }
}

/// Runs the vectors whose id contains one of `patterns`.
fn run(backend: Box<dyn Backend>, patterns: &[&str]) -> RunRecord {
    let mut all = cases(Path::new(DIRECTORY), backend).unwrap();
    all.retain(|case| patterns.iter().any(|pattern| case.id.contains(pattern)));
    assert!(!all.is_empty(), "no vector matches {patterns:?}");
    runner::run(&all, &options(), |_| ())
}

/// Every case passes, but those that no backend can decide.
fn assert_passes(record: &RunRecord) {
    for case in &record.cases {
        let expected = if case.id.ends_with("/undecided") { Verdict::Undecided } else { Verdict::Pass };
        assert_eq!(case.verdict, expected, "{}: {}", case.id, case.message);
    }
}

/// Residues r[conform.exact], values r[vector.value], r[vector.ciphertext], side files r[vector.side-file], acceptances r[vector.accept],
/// r[vector.bound], r[vector.reject], drawn inputs r[vector.draw], hashes r[vector.accumulated]; all operations of
/// r[vector.op.arithmetic], r[vector.op.scheme], r[vector.op.circuit] and r[vector.op.model].
#[test]
fn the_engine_passes_every_vector_with_both_kernels() {
    assert_passes(&run(Box::new(Engine::with_kernel(KernelKind::Scalar)), &["vectors/"]));
    assert_passes(&run(Box::new(Engine::detect()), &["vectors/"]));
}

fn engine_child(limit: f64) -> Child {
    let command = vec![env!("CARGO_BIN_EXE_conform").to_owned(), "serve-engine".to_owned()];
    Child::start(Launch { command, limit: Duration::from_secs_f64(limit), validate: true }).unwrap()
}

/// r[protocol.line], r[protocol.request], r[protocol.answer], r[protocol.put], r[protocol.get], r[protocol.run], r[protocol.keys].
#[test]
fn the_engine_passes_as_a_child() {
    assert_passes(&run(Box::new(engine_child(60.0)), &["arith/", "toy-n5/", "psm/", "circuit/"]));
}

fn broken(operations: impl Operations + 'static, patterns: &[&str]) -> RunRecord {
    run(Box::new(Engine::with_operations(Rc::new(operations))), patterns)
}

/// Verdict and message of one case.
fn outcome<'a>(record: &'a RunRecord, id: &str) -> (Verdict, &'a str) {
    let case = record.cases.iter().find(|case| case.id == format!("vectors/{id}")).expect("the case ran");
    (case.verdict, &case.message)
}

fn assert_fails_at(record: &RunRecord, id: &str, tap: &str) {
    let (verdict, message) = outcome(record, id);
    assert_eq!(verdict, Verdict::Fail, "{id}: {message}");
    assert!(message.starts_with(&format!("first tap out of bound: {tap},")), "{id}: {message}");
}

/// Rescales by flooring: subtracts the residue in `[0, q)` in place of the centred one.
struct TruncatingRescale;

impl Operations for TruncatingRescale {
    fn rescale(&self, evaluator: &Evaluator, ct: &Ciphertext) -> Result<Ciphertext, CkksError> {
        let (level, ring) = (ct.level(), evaluator.context().ring());
        let exact = evaluator.rescale(ct)?;
        let above_half: Vec<Vec<bool>> = ct
            .to_coeff(evaluator.context())
            .iter()
            .map(|poly| poly.limb(level).iter().map(|&x| x > ring.modulus(level).value() / 2).collect())
            .collect();
        let mut index = 0;
        let polys: Vec<Poly> = exact
            .to_coeff(evaluator.context())
            .into_iter()
            .map(|mut poly| {
                for i in 0..level {
                    let q = ring.modulus(i).value();
                    for (x, above) in poly.limb_mut(i).iter_mut().zip(&above_half[index]) {
                        *x = (*x + if *above { q - 1 } else { 0 }) % q;
                    }
                }
                index += 1;
                poly.make_eval(ring);
                poly
            })
            .collect();
        Ciphertext::from_polys(evaluator.context(), polys, exact.scale())
    }

    fn mul_rescale(&self, evaluator: &Evaluator, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext, CkksError> {
        self.rescale(evaluator, &evaluator.mul(a, b)?)
    }
}

#[test]
fn truncating_rescale_fails_at_the_rescaled_tap() {
    let record = broken(TruncatingRescale, &["scheme/rescale/toy-n5", "scheme/mul-rescale/toy", "scheme/mul/toy-n5"]);
    assert_fails_at(&record, "scheme/rescale/toy-n5/uniform", "result");
    assert_fails_at(&record, "scheme/mul-rescale/toy-n5/uniform", "rescaled");
    assert_fails_at(&record, "scheme/mul-rescale/toy-n8/uniform", "rescaled");
    assert_eq!(outcome(&record, "scheme/mul/toy-n5/uniform").0, Verdict::Pass);
}

/// Products after their rescale are off by `2^-16` in slot 5.
struct WrongSlot;

impl Operations for WrongSlot {
    fn mul_lazy(&self, evaluator: &Evaluator, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext, CkksError> {
        self.spoil(evaluator, &evaluator.mul_lazy(a, b)?)
    }

    fn mul_rescale(&self, evaluator: &Evaluator, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext, CkksError> {
        self.spoil(evaluator, &evaluator.mul_rescale(a, b)?)
    }
}

impl WrongSlot {
    fn spoil(&self, evaluator: &Evaluator, ct: &Ciphertext) -> Result<Ciphertext, CkksError> {
        if ct.scale() > 2f64.powi(60) {
            // A product before its rescale, where the encoder's range ends: one unit in every slot.
            return evaluator.add_const(ct, Complex64::new(2f64.powi(-40), 0.0));
        }
        let mut slots = vec![0.0; evaluator.context().parameters().slots()];
        slots[5] = 2f64.powi(-16);
        let plain = Encoder::new(evaluator.context()).encode_real(&slots, ct.level(), ct.scale())?;
        evaluator.add_plain(ct, &plain)
    }
}

#[test]
fn one_wrong_slot_fails_at_the_first_product() {
    let record = broken(WrongSlot, &["scheme/mul/toy-n5/uniform", "psm/p4-n8/wide-spread", "circuit/layer-norm/d8"]);
    assert_fails_at(&record, "scheme/mul/toy-n5/uniform", "d0");
    assert_fails_at(&record, "psm/p4-n8/wide-spread", "powers");
    let (_, message) = outcome(&record, "psm/p4-n8/wide-spread");
    assert!(message.contains("row 5,") && message.contains("budget") && message.contains("over by"), "{message}");
    assert_fails_at(&record, "circuit/layer-norm/d8", "variance");
}

/// Forgets `u_0`: the result is `(d_0, d_1 + u_1)`.
struct DroppedTerm;

impl Operations for DroppedTerm {
    fn relinearise(&self, evaluator: &Evaluator, ct: &Ciphertext) -> Result<Ciphertext, CkksError> {
        let right = evaluator.relinearise(ct)?;
        let polys = vec![ct.poly(0).clone(), right.poly(1).clone()];
        Ciphertext::from_polys(evaluator.context(), polys, right.scale())
    }

    fn mul_rescale(&self, evaluator: &Evaluator, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext, CkksError> {
        evaluator.rescale(&self.relinearise(evaluator, &evaluator.mul_lazy(a, b)?)?)
    }
}

#[test]
fn a_dropped_relinearisation_term_fails_at_the_key_switch() {
    let record = broken(DroppedTerm, &["scheme/mul/toy", "scheme/relinearise/toy-n5", "psm/p2-n8"]);
    for id in ["scheme/mul/toy-n5/uniform", "scheme/mul/toy-n8/uniform", "scheme/relinearise/toy-n5/uniform"] {
        assert_fails_at(&record, id, "key-switched");
    }
    assert_fails_at(&record, "psm/p2-n8/wide-spread", "powers");
}

/// Encrypts without an error polynomial.
struct NoNoise;

impl Operations for NoNoise {
    fn encrypt(&self, keys: &Keys, plain: &Plaintext, _: u32) -> Result<Ciphertext, CkksError> {
        let ring = keys.context.ring();
        let zero = ring.zero(plain.level(), false, Form::Eval);
        Ciphertext::from_polys(&keys.context, vec![plain.poly().clone(), zero], plain.scale())
    }
}

/// r[vector.statistical]
#[test]
fn too_little_noise_fails_the_statistics_and_nothing_real() {
    let record = broken(NoNoise, &["scheme/noise/toy-n5", "circuit/rotary"]);
    let (verdict, message) = outcome(&record, "scheme/noise/toy-n5/encrypt-secret");
    assert!(verdict == Verdict::Fail && message.contains("too little"), "{message}");
    assert_eq!(outcome(&record, "circuit/rotary/position-3").0, Verdict::Pass, "accuracy does not see it");
}

/// Claims another prime than it uses.
struct Liar;

impl Operations for Liar {
    fn opened(&self, opened: Opened) -> Opened {
        let mut chain = opened.chain.clone();
        chain.swap(1, 2);
        Opened { chain, ..opened }
    }
}

/// r[protocol.open]
#[test]
fn lying_metadata_fails() {
    let record = broken(Liar, &["scheme/add/toy-n5", "scheme/linear"]);
    let (verdict, message) = outcome(&record, "scheme/add/toy-n5/uniform");
    assert!(verdict == Verdict::Fail && message.contains("protocol.open"), "{message}");
}

fn script(text: &str, limit: f64) -> Result<Child, ConformError> {
    let command = ["sh", "-c", text].map(str::to_owned).to_vec();
    Child::start(Launch { command, limit: Duration::from_secs_f64(limit), validate: true })
}

/// A greeting as a shell line.
const GREETING: &str = r#"read l; echo '{"ok":{"protocol":"touchstone-protocol-1","name":"sh","version":"1","language":"sh","features":["arith.modular","det.sampling"]}}'"#;

fn shell(rest: &str, limit: f64) -> RunRecord {
    run(Box::new(script(&format!("{GREETING}; {rest}"), limit).unwrap()), &["arith/modular"])
}

/// r[protocol.broken], r[protocol.error], r[protocol.validate]
#[test]
fn silent_slow_dead_and_babbling_children_are_errors() {
    for (rest, limit, expected) in [
        ("while read l; do :; done", 0.3, "silent for 0.3 s"),
        ("read l; sleep 2; echo '{\"ok\":{}}'", 0.3, "silent"),
        ("exit 3", 5.0, ""),
        ("read l; echo hello", 5.0, "not an answer"),
        ("read l; echo '{\"error\":{\"kind\":\"bored\",\"message\":\"\"}}'", 5.0, "unknown kind of error"),
    ] {
        let record = shell(rest, limit);
        assert!(record.cases.iter().all(|case| case.verdict == Verdict::Error), "{rest}: {:?}", record.counts);
        assert!(record.cases[0].message.contains(expected), "{rest}: {}", record.cases[0].message);
        assert_eq!(runner::exit_code(&record), 3);
    }
}

/// r[protocol.skip], r[conform.skip]
#[test]
fn a_skip_is_not_a_pass() {
    let record = shell(r#"while read l; do echo '{"skipped":{"reason":"not built","issue":"by design"}}'; done"#, 5.0);
    assert!(record.cases.iter().all(|case| case.verdict == Verdict::Skip));
    assert_eq!(runner::exit_code(&record), 5);
}

/// r[protocol.hello]
#[test]
fn another_protocol_version_is_refused() {
    let child =
        script(r#"read l; echo '{"ok":{"protocol":"other","name":"","version":"","language":"","features":[]}}'"#, 5.0);
    assert!(cases(Path::new(DIRECTORY), Box::new(child.unwrap())).is_err());
}

/// r[vector.features]: a group whose tags the backend lacks is skipped without being asked for.
#[test]
fn missing_features_are_skips() {
    let backend = script(&format!("{GREETING}; exit 3"), 5.0).unwrap();
    let record = run(Box::new(backend), &["psm/p2-n8"]);
    assert!(record.cases.iter().all(|case| case.verdict == Verdict::Skip), "{:?}", record.counts);
}
