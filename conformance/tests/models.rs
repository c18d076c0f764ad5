//! Vectors of whole networks: the engine conforms, planted errors are found where they are.

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use touchstone_ckks::{Ciphertext, CkksError, Complex64, Evaluator};
use touchstone_conformance::backend::engine::{Engine, Operations};
use touchstone_conformance::backend::{Backend, Reply, Session};
use touchstone_conformance::vectors::{DIRECTORY, cases};
use touchstone_conformance::{ConformError, Options, Verdict, runner};
use touchstone_spec::protocol::{Answer, Closed, Dropped, Fetched, Form, Greeting, Open, Opened, Ran, Run, Stored};
use touchstone_spec::record::RunRecord;
use touchstone_spec::vector::Value;

fn run(backend: Box<dyn Backend>, pattern: &str) -> RunRecord {
    let mut all = cases(Path::new(DIRECTORY), backend).unwrap();
    all.retain(|case| case.id.starts_with("vectors/model/") && case.id.contains(pattern));
    let options =
        Options { draws: 1, seed: 1, model: "none".into(), prompts_file: None, prompts: 0, prompt: String::new() };
    runner::run(&all, &options, |_| ())
}

fn verdict<'a>(record: &'a RunRecord, id: &str) -> (Verdict, &'a str) {
    let case = record.cases.iter().find(|case| case.id == format!("vectors/model/{id}")).expect("the case ran");
    (case.verdict, &case.message)
}

/// Taps r[model.taps], r[encoder.taps], centred where r[model.centred] says so, of r[model.attention] in r[model.block.parallel],
/// r[model.block.sequential] and r[encoder.block], projections r[model.qkv], masks r[encoder.mask], heads r[model.head] and
/// r[encoder.head]; bounds r[vector.bound.model]; decisions r[conform.token].
#[test]
fn the_engine_computes_whole_networks_within_their_bounds() {
    let record = run(Box::new(Engine::detect()), "");
    let mut verdicts: Vec<Verdict> = record.cases.iter().map(|case| case.verdict).collect();
    verdicts.sort();
    for case in &record.cases {
        println!("{}: {:?} {}", case.id, case.verdict, case.message);
    }
    let expected = [[Verdict::Pass; 6].as_slice(), &[Verdict::Undecided]].concat();
    assert_eq!(verdicts, expected, "three networks, three decided inputs and an open one");
    let (open, message) = verdict(&record, "gpt-neox/parallel/undecided");
    assert!(open == Verdict::Undecided && message.contains("margin 0"), "{message}");
    assert_eq!(record.counts.get(&Verdict::Pass), Some(&6), "an undecided case is no pass: {:?}", record.counts);
}

/// Adds an error to one slot of one product.
struct WrongProduct {
    which: usize,
    made: Cell<usize>,
}

impl Operations for WrongProduct {
    fn mul_rescale(&self, evaluator: &Evaluator, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext, CkksError> {
        let product = evaluator.mul_rescale(a, b)?;
        let index = self.made.replace(self.made.get() + 1);
        if index != self.which {
            return Ok(product);
        }
        evaluator.add_const(&product, Complex64::new(2f64.powi(-8), 0.0))
    }
}

/// The products of the decoder, in order: 32 squares, 32 normalised entries; first head, first token: 4 terms of the score, its square
/// and fourth power, then the weighted value.
#[test]
fn a_wrong_product_fails_at_its_tap() {
    for (which, tap) in [
        (0, "layers.0.layernorm.variance"),
        (32, "layers.0.layernorm.normalised"),
        (64, "layers.0.attention.scores"),
        (68, "layers.0.attention.powers"),
        (70, "layers.0.attention.heads"),
    ] {
        let operations = WrongProduct { which, made: Cell::new(0) };
        let record = run(Box::new(Engine::with_operations(Rc::new(operations))), "parallel/taps");
        let (verdict, message) = verdict(&record, "gpt-neox/parallel/taps");
        assert_eq!(verdict, Verdict::Fail, "product {which}: {message}");
        assert!(message.starts_with(&format!("first tap out of bound: {tap},")), "product {which}: {message}");
    }
}

/// Negates what it decrypts: the largest logit becomes the least.
struct Negated(Engine);

struct NegatedSession(Box<dyn Session>);

impl Backend for Negated {
    fn hello(&mut self) -> Reply<Greeting> {
        self.0.hello()
    }

    fn open(&mut self, request: &Open) -> Reply<(Opened, Box<dyn Session>)> {
        Ok(match self.0.open(request)? {
            Answer::Ok((opened, session)) => {
                let session: Box<dyn Session> = Box::new(NegatedSession(session));
                Answer::Ok((opened, session))
            }
            other => other,
        })
    }

    fn restart(&mut self) -> Result<(), ConformError> {
        self.0.restart()
    }
}

impl Session for NegatedSession {
    fn put(&mut self, value: &Value) -> Reply<Stored> {
        self.0.put(value)
    }

    fn get(&mut self, handle: &str, form: Form) -> Reply<Fetched> {
        let answer = self.0.get(handle, form)?;
        Ok(match answer {
            Answer::Ok(fetched) => {
                let rows = fetched.value.as_rows("slots").unwrap();
                let negate = |row: &Vec<f64>| Value::reals(&row.iter().map(|x| -x).collect::<Vec<_>>());
                Answer::Ok(Fetched { value: Value::List(rows.iter().map(negate).collect()), ..fetched })
            }
            other => other,
        })
    }

    fn discard(&mut self, handle: &str) -> Reply<Dropped> {
        self.0.discard(handle)
    }

    fn run(&mut self, request: &Run) -> Reply<Ran> {
        self.0.run(request)
    }

    fn close(&mut self) -> Reply<Closed> {
        self.0.close()
    }
}

/// r[vector.decision], r[conform.token]
#[test]
fn a_flipped_decision_fails_and_an_open_one_stays_open() {
    let record = run(Box::new(Negated(Engine::detect())), "decided");
    for id in ["gpt-neox/parallel/decided", "gpt-neox/sequential/decided", "bert/mean-pooling/decided"] {
        let (verdict, message) = verdict(&record, id);
        assert!(verdict == Verdict::Fail && message.contains("expected entry"), "{id}: {message}");
    }
    assert_eq!(verdict(&record, "gpt-neox/parallel/undecided").0, Verdict::Undecided);
}
