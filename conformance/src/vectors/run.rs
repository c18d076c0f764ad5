//! One case on one backend.

use super::compare::{Finding, Mismatch, bits, check, decide};
use super::{draw, load};
use crate::backend::{Backend, Reply, Session};
use crate::{CaseOutcome, ConformError, Verdict};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use touchstone_spec::params::ParameterLiteral;
use touchstone_spec::protocol::{Answer, Failure, Form, Greeting, Open, Opened, PROTOCOL, Ran, Run, as_handle, handle};
use touchstone_spec::rules;
use touchstone_spec::vector::{Accept, Case, Expectation, Group, Value, VectorFile};

/// Drives a backend through cases; keeps the session of the last group.
pub struct Driver {
    directory: PathBuf,
    backend: Box<dyn Backend>,
    features: BTreeSet<String>,
    open: Option<OpenSession>,
    restarted: bool,
}

struct OpenSession {
    key: String,
    name: String,
    literal: ParameterLiteral,
    session: Box<dyn Session>,
    /// What is not as it was asked for.
    differs: Option<String>,
}

/// An answer that is not a result.
enum Stop {
    Error(Failure),
    Outcome(Verdict, String),
    Broken(ConformError),
}

impl From<ConformError> for Stop {
    fn from(error: ConformError) -> Self {
        Self::Broken(error)
    }
}

type Step<T> = Result<T, Stop>;

/// The result of an answer.
fn settle<T>(reply: Reply<T>) -> Step<T> {
    match reply? {
        Answer::Ok(result) => Ok(result),
        Answer::Skipped(skip) => Err(Stop::Outcome(Verdict::Skip, format!("{} ({})", skip.reason, skip.issue))),
        Answer::Error(failure) => Err(Stop::Error(failure)),
    }
}

/// The greeting of a backend that speaks this version.
pub fn greeting(backend: &mut dyn Backend) -> Result<Greeting, ConformError> {
    let broken = |message: String| ConformError::Broken { what: "hello".to_owned(), message };
    match backend.hello()? {
        Answer::Ok(greeting) if greeting.protocol == PROTOCOL => Ok(greeting),
        Answer::Ok(greeting) => Err(broken(format!("expected {PROTOCOL}, got {}", greeting.protocol))),
        Answer::Skipped(skip) => Err(broken(skip.reason)),
        Answer::Error(failure) => Err(broken(failure.message)),
    }
}

impl Driver {
    pub fn new(directory: &Path, mut backend: Box<dyn Backend>) -> Result<Self, ConformError> {
        let features = greeting(backend.as_mut())?.features.into_iter().collect();
        Ok(Self { directory: directory.to_owned(), backend, features, open: None, restarted: false })
    }

    /// Runs a case. A broken backend is restarted once (`r[protocol.broken]`).
    pub fn run(&mut self, file: &VectorFile, group: &Group, case: &Case) -> Result<CaseOutcome, ConformError> {
        let missing: Vec<&String> = group.features.iter().filter(|tag| !self.features.contains(*tag)).collect();
        if !missing.is_empty() {
            let message = format!("the backend lacks {missing:?} (by design)");
            return Ok(CaseOutcome::new(Verdict::Skip, message, 0));
        }
        match self.attempt(file, group, case) {
            Ok(outcome) => Ok(outcome),
            Err(Stop::Outcome(verdict, message)) => Ok(CaseOutcome::new(verdict, message, 0)),
            Err(Stop::Error(failure)) => {
                let message = format!("{}: {}", failure.kind, failure.message);
                Ok(CaseOutcome::new(Verdict::Error, message, 0))
            }
            Err(Stop::Broken(error)) => {
                self.open = None;
                if !self.restarted {
                    self.restarted = true;
                    self.backend.restart()?;
                    greeting(self.backend.as_mut())?;
                }
                Err(error)
            }
        }
    }

    fn attempt(&mut self, file: &VectorFile, group: &Group, case: &Case) -> Step<CaseOutcome> {
        let key = format!("{} {} {:?} {}", file.preset, group.seed, group.rotations, group.conjugation);
        if self.open.as_ref().is_none_or(|open| open.key != key) {
            if let Some(mut old) = self.open.take() {
                settle(old.session.close())?;
            }
            self.open = Some(self.start(key, file, group)?);
        }
        let mut case = load::with_side_files(&self.directory, case)?;
        for (name, value) in &group.inputs {
            case.call.inputs.entry(name.clone()).or_insert_with(|| value.clone());
        }
        let Some(open) = &mut self.open else {
            return Err(Stop::Outcome(Verdict::Error, "no session".to_owned()));
        };
        if let Some(differs) = &open.differs {
            return Ok(CaseOutcome::new(Verdict::Fail, format!("r[protocol.open]: {differs}"), 0));
        }
        open.case(group, &case)
    }

    fn start(&mut self, key: String, file: &VectorFile, group: &Group) -> Step<OpenSession> {
        let unknown = |error: touchstone_spec::SpecError| ConformError::Vector {
            what: file.name.clone(),
            message: error.to_string(),
        };
        let literal = ParameterLiteral::preset(&file.preset).map_err(unknown)?;
        let request = Open {
            preset: file.preset.clone(),
            parameters: literal.clone(),
            seed: Some(group.seed.clone()),
            rotations: group.rotations.clone(),
            conjugation: group.conjugation,
        };
        let (opened, session) = settle(self.backend.open(&request))?;
        let differs = differs(&literal, &opened);
        Ok(OpenSession { key, name: opened.session, literal, session, differs })
    }
}

/// Whether the session has the parameters that were asked for.
fn differs(literal: &ParameterLiteral, opened: &Opened) -> Option<String> {
    let decimal = |primes: &[u64]| primes.iter().map(u64::to_string).collect::<Vec<_>>();
    let pairs = [
        ("chain", decimal(&literal.q), opened.chain.clone()),
        ("special primes", decimal(&literal.p), opened.special.clone()),
        ("scale", vec![literal.scale.to_string()], vec![opened.scale.clone()]),
    ];
    let wrong = pairs.into_iter().find(|(_, want, got)| want != got);
    wrong.map(|(name, want, got)| format!("{name}: expected {want:?}, got {got:?}"))
}

/// Outputs and taps by name.
struct Results {
    outputs: BTreeMap<String, Value>,
    taps: BTreeMap<String, Value>,
}

impl OpenSession {
    fn case(&mut self, group: &Group, case: &Case) -> Step<CaseOutcome> {
        match &case.accept {
            Accept::Reject { errors } => self.rejected(case, errors),
            Accept::Statistical { draws, predicted, low, high, .. } => {
                let ends = [low.0, high.0];
                self.statistical(case, parse(draws)?, predicted.0, ends)
            }
            Accept::Accumulated { draws, sha256 } => self.accumulated(group, case, parse(draws)?, sha256),
            Accept::Units { units } => self.compared(case, parse(units)?),
            Accept::Exact | Accept::Interval => self.compared(case, 0),
            Accept::Decision { index } => self.decided(case, index),
        }
    }

    /// Runs the operation; handles that it made are read and dropped.
    fn call(&mut self, case: &Case, inputs: &BTreeMap<String, Value>) -> Step<Results> {
        let mut stored = Vec::new();
        let mut arguments = inputs.clone();
        let result = self.put_and_run(case, &mut arguments, &mut stored);
        for name in stored {
            settle(self.session.discard(&name))?;
        }
        let ran = result?;
        Ok(Results { outputs: self.fetch(ran.outputs)?, taps: self.fetch(ran.taps)? })
    }

    fn put_and_run(
        &mut self,
        case: &Case,
        arguments: &mut BTreeMap<String, Value>,
        stored: &mut Vec<String>,
    ) -> Step<Ran> {
        for name in &case.encrypted {
            if let Some(value) = arguments.get_mut(name) {
                let put = settle(self.session.put(value))?;
                *value = handle(&put.handle);
                stored.push(put.handle);
            }
        }
        let request = Run {
            session: self.name.clone(),
            case: case.id.clone(),
            op: case.call.op.clone(),
            inputs: arguments.clone(),
            taps: case.taps.iter().map(|tap| tap.name.clone()).collect(),
        };
        settle(self.session.run(&request))
    }

    fn fetch(&mut self, values: BTreeMap<String, Value>) -> Step<BTreeMap<String, Value>> {
        let mut fetched = BTreeMap::new();
        for (name, value) in values {
            let value = match as_handle(&value) {
                None => value,
                Some(stored) => {
                    let form = Form::Residues;
                    let read = match self.session.get(stored, form)? {
                        Answer::Error(failure) if failure.kind == "unsupported" => {
                            settle(self.session.get(stored, Form::Slots))?
                        }
                        answer => settle(Ok(answer))?,
                    };
                    settle(self.session.discard(stored))?;
                    read.value
                }
            };
            fetched.insert(name, value);
        }
        Ok(fetched)
    }

    fn compared(&mut self, case: &Case, units: u64) -> Step<CaseOutcome> {
        let results = self.call(case, &case.call.inputs)?;
        let mut report = Report::default();
        for tap in &case.taps {
            if let Some(value) = results.taps.get(&tap.name) {
                report.add(tap, check(tap, value, units, &self.literal.q)?);
            }
        }
        for output in &case.outputs {
            match results.outputs.get(&output.name) {
                Some(value) => report.add(output, check(output, value, units, &self.literal.q)?),
                None => report.missing(&output.name),
            }
        }
        Ok(report.outcome(case))
    }

    fn decided(&mut self, case: &Case, index: &str) -> Step<CaseOutcome> {
        let results = self.call(case, &case.call.inputs)?;
        let [output] = &case.outputs[..] else {
            let message = "a decision is about one output".to_owned();
            return Err(ConformError::Vector { what: case.id.clone(), message }.into());
        };
        let Some(value) = results.outputs.get(&output.name) else {
            return Ok(CaseOutcome::new(Verdict::Fail, format!("{} is not delivered", output.name), 1));
        };
        let (verdict, message) = decide(output, index, value)?;
        Ok(CaseOutcome::new(verdict, message, 1))
    }

    fn rejected(&mut self, case: &Case, errors: &[String]) -> Step<CaseOutcome> {
        Ok(match self.call(case, &case.call.inputs) {
            Err(Stop::Error(failure)) if errors.contains(&failure.kind) => {
                CaseOutcome::new(Verdict::Pass, format!("refused: {}", failure.kind), 1)
            }
            Err(Stop::Error(failure)) => {
                let message =
                    format!("expected an error of kind {errors:?}, got {}: {}", failure.kind, failure.message);
                CaseOutcome::new(Verdict::Fail, message, 1)
            }
            Err(stop) => return Err(stop),
            Ok(_) => CaseOutcome::new(Verdict::Fail, format!("expected an error of kind {errors:?}, got a result"), 1),
        })
    }

    fn statistical(&mut self, case: &Case, draws: u64, predicted: f64, [low, high]: [f64; 2]) -> Step<CaseOutcome> {
        let (mut squares, mut count) = (0.0, 0usize);
        for _ in 0..draws {
            let results = self.call(case, &case.call.inputs)?;
            let errors = results.outputs.get("errors").map(|value| value.as_reals("errors"));
            let errors = match errors {
                Some(Ok(errors)) if !errors.is_empty() && errors.iter().all(|e| e.is_finite()) => errors,
                _ => return Ok(CaseOutcome::new(Verdict::Fail, "no finite error coefficients".to_owned(), 1)),
            };
            squares += errors.iter().map(|e| e * e).sum::<f64>();
            count += errors.len();
        }
        let measured = (squares / count as f64).sqrt();
        let inside = measured >= low && measured <= high;
        let side = if measured < low { ", too little" } else { "" };
        let message =
            format!("deviation {measured:.4}, predicted {predicted:.4}, admitted {low:.4} to {high:.4}{side}");
        let verdict = if inside { Verdict::Pass } else { Verdict::Fail };
        Ok(CaseOutcome::new(verdict, message, draws as usize))
    }

    fn accumulated(&mut self, group: &Group, case: &Case, draws: u64, sha256: &str) -> Step<CaseOutcome> {
        let mut hash = Sha256::new();
        for index in 0..draws {
            let inputs = draw::inputs(case, &self.literal, &group.seed, index as u32)?;
            let results = self.call(case, &inputs)?;
            for value in results.outputs.values() {
                let polys = value.field("output", "polys").and_then(|polys| polys.flatten("output"));
                let residues = polys.map_err(|error| Stop::Outcome(Verdict::Fail, error.to_string()))?;
                for residue in residues {
                    hash.update(parse(residue)?.to_le_bytes());
                }
            }
        }
        let got: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let same = got == sha256;
        let message = if same { "hash equal".to_owned() } else { format!("expected SHA-256 {sha256}, got {got}") };
        Ok(CaseOutcome::new(if same { Verdict::Pass } else { Verdict::Fail }, message, draws as usize))
    }
}

fn parse(text: &str) -> Step<u64> {
    text.parse().map_err(|_| Stop::Outcome(Verdict::Fail, format!("{text:?} is not a decimal integer")))
}

/// Findings of one case, in the order of taps and outputs.
#[derive(Default)]
struct Report {
    first: Option<(String, Mismatch)>,
    others: Vec<String>,
    slack: Option<f64>,
    compared: usize,
}

impl Report {
    fn add(&mut self, expected: &Expectation, finding: Finding) {
        self.compared += 1;
        match finding {
            Finding::Inside(slack) => {
                if let Some(slack) = slack {
                    self.slack = Some(self.slack.map_or(slack, |least| least.min(slack)));
                }
                if self.first.is_some() {
                    self.others.push(format!("{} inside", expected.name));
                }
            }
            Finding::Outside(mismatch) if self.first.is_none() => self.first = Some((expected.name.clone(), mismatch)),
            Finding::Outside(mismatch) => self.others.push(format!("{} outside {}", expected.name, mismatch.size)),
        }
    }

    fn missing(&mut self, name: &str) {
        let mismatch = Mismatch { place: "not delivered".to_owned(), size: String::new(), bound: None };
        self.first.get_or_insert_with(|| (name.to_owned(), mismatch));
    }

    /// The text of a failure: rule, place, first bad tap, budget.
    fn outcome(self, case: &Case) -> CaseOutcome {
        let Some((name, mismatch)) = self.first else {
            let slack = self.slack.map_or_else(String::new, |slack| format!(", least slack {slack:.1} bits"));
            return CaseOutcome::new(Verdict::Pass, format!("{} values{slack}", self.compared), 1);
        };
        let rule =
            rules::find(&case.rule).map_or("", |rule| rule.text).split_whitespace().collect::<Vec<_>>().join(" ");
        let rule: String = rule.chars().take(160).collect();
        let mut message = format!("first tap out of bound: {name}, {}", mismatch.place);
        if !mismatch.size.is_empty() {
            message += &format!("\n            {}", mismatch.size);
        }
        message += &format!("\n  text      {rule}");
        if let Some(bound) = &mismatch.bound {
            let terms = bound.terms.iter().map(|(name, value)| format!("{name} {}", bits(value.0)));
            message += &format!("\n  budget    {}   r[{}]", terms.collect::<Vec<_>>().join(" | "), bound.rule);
        }
        if !self.others.is_empty() {
            message += &format!("\n  later     {}", self.others.join(", "));
        }
        CaseOutcome::new(Verdict::Fail, message, 1)
    }
}
