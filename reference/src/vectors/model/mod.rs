//! Vectors of whole networks: every tap of `r[model.taps]` and `r[encoder.taps]` at R1, and decisions.
//!
//! Sizes are the least at which heads, layers of normalisation, rotary embedding, masks and residual sums all show;
//! weights and polynomials stand in the vector, so that nothing else is needed to read it.

mod network;
mod number;

use super::noise::{self, Steps, Tracked};
use super::suite::{Suite, hex};
use crate::approx::replacement;
use crate::ckks::Parameters;
use crate::error::ReferenceError;
use crate::rungs::{Replaced, Rung, exact};
use network::{Network, SEED, TOKENS, VOCABULARY, decoder, encoder};
use number::Number;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use touchstone_spec::artifact::{Function, POLYNOMIALS_FORMAT, Polynomials};
use touchstone_spec::params::ParameterLiteral;
use touchstone_spec::vector::{Accept, Call, Case, Expectation, Group, Level, Value};

const PRESET: &str = "toy-n5-deep";
/// Degree of every polynomial: the sequential block and the encoder must fit the levels of the preset.
const DEGREE: usize = 2;
/// Tokens of the two inputs of a batch.
const BATCH: [[usize; TOKENS]; 2] = [[0, 3, 1, 5], [2, 2, 4, 0]];

/// Adds all files of this level.
pub(super) fn add(suite: &mut Suite) -> Result<(), ReferenceError> {
    let params = Parameters::new(&ParameterLiteral::preset(PRESET)?)?;
    let steps = Steps::new(&params)?;
    let (parallel, sequential) = (Subject::decoder(true, 4, &steps)?, Subject::decoder(false, 2, &steps)?);
    let groups = vec![
        parallel.group(vec![
            parallel.interval(
                "model.block.parallel",
                "One block with parallel residual, p = 4, and the LM head.",
                &[],
            )?,
            parallel.decision(true)?,
            parallel.decision(false)?,
        ]),
        sequential.group(vec![
            sequential.interval("model.block.sequential", "One block with sequential residual, p = 2.", &[])?,
            sequential.decision(true)?,
        ]),
    ];
    suite.add(Level::Model, "model/gpt-neox", PRESET, groups)?;
    let bert = Subject::new("bert/mean-pooling", "bert", encoder(3, 2), &steps)?;
    let about = "One post-LayerNorm block, p = 2, mean pooling, the last token is padding.";
    let cases = vec![bert.interval("encoder.block", about, &["masked"])?, bert.decision(true)?];
    suite.add(Level::Model, "model/bert", PRESET, vec![bert.group(cases)])
}

/// A network under test.
struct Subject<'a> {
    name: &'a str,
    op: &'a str,
    network: Network,
    polynomials: Polynomials,
    rung: Replaced,
    steps: &'a Steps,
}

/// R0 that remembers the inputs of each site.
#[derive(Default)]
struct Calibration(Mutex<BTreeMap<String, [f64; 2]>>);

impl Rung<f64> for Calibration {
    fn evaluate(&self, site: &str, function: &Function, x: &f64, (): ()) -> Result<f64, ReferenceError> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ends = seen.entry(site.to_owned()).or_insert([*x, *x]);
        *ends = [ends[0].min(*x), ends[1].max(*x)];
        Ok(exact(function, x, ()))
    }
}

/// Polynomials on what all inputs of the vocabulary show under R0, with a margin for what replacing moves.
fn calibrate(network: &Network) -> Result<Polynomials, ReferenceError> {
    let calibration = Calibration::default();
    for tokens in BATCH.into_iter().chain(prompts()) {
        network.run(network.embed(tokens), &calibration, (), &mut ())?;
    }
    let seen = calibration.0.into_inner().unwrap_or_else(PoisonError::into_inner);
    let site = |(name, function): (String, Function)| {
        let observed = seen.get(&name).copied().unwrap_or_default();
        let interval = match function {
            Function::Gelu | Function::Tanh => {
                let reach = observed[0].abs().max(observed[1].abs()) * 1.5;
                [-reach, reach]
            }
            Function::InverseSqrt { .. } | Function::Reciprocal { .. } => [observed[0] * 0.5, observed[1] * 1.5],
        };
        // Multiples of 2^-12: short to write.
        let interval = [(interval[0] * 4096.0).floor() / 4096.0, (interval[1] * 4096.0).ceil() / 4096.0];
        replacement(&name, function, observed, interval, DEGREE)
    };
    let sites = network.sites().into_iter().map(site).collect::<Result<_, _>>()?;
    let calibration = "R0 on the inputs of the vectors".to_owned();
    Ok(Polynomials { format: POLYNOMIALS_FORMAT.to_owned(), calibration, sites, streams: Vec::new() })
}

/// Inputs among which decided and undecided ones are looked for.
fn prompts() -> impl Iterator<Item = [usize; TOKENS]> {
    (0..12).map(|i| std::array::from_fn(|t| (i / 2 + (i + 1) * t) % VOCABULARY))
}

impl<'a> Subject<'a> {
    fn new(name: &'a str, op: &'a str, network: Network, steps: &'a Steps) -> Result<Self, ReferenceError> {
        let polynomials = calibrate(&network)?;
        let rung = network.replaced(&polynomials)?;
        Ok(Self { name, op, network, polynomials, rung, steps })
    }

    fn decoder(parallel: bool, p: u32, steps: &'a Steps) -> Result<Self, ReferenceError> {
        let name = if parallel { "gpt-neox/parallel" } else { "gpt-neox/sequential" };
        Self::new(name, "gpt-neox", decoder(1 + u32::from(!parallel), parallel, p), steps)
    }

    fn group(&self, cases: Vec<Case>) -> Group {
        Group {
            features: vec!["model.block".to_owned()],
            seed: hex(SEED),
            rotations: Vec::new(),
            conjugation: false,
            inputs: self.network.inputs(&self.polynomials),
            cases,
        }
    }

    /// All taps of one input, logits last.
    fn taps(&self, tokens: [usize; TOKENS]) -> Result<Vec<(String, Vec<Tracked>)>, ReferenceError> {
        let encrypt = |row: Vec<f64>| row.into_iter().map(|x| Number::encrypted(x, self.steps)).collect();
        let rows = self.network.embed(tokens).into_iter().map(encrypt).collect();
        let mut taps = Vec::new();
        let mut observe = |name: &str, _: &[usize], values: &[Number]| {
            taps.push((name.to_owned(), values.iter().map(|x| x.tracked.clone()).collect()));
        };
        self.network.run(rows, &self.rung, self.steps, &mut observe)?;
        Ok(taps)
    }

    fn case(&self, part: &str, rule: &str, about: String, batch: &[[usize; TOKENS]]) -> Case {
        let x = batch.iter().map(|&tokens| Value::reals(&self.network.embed(tokens).concat())).collect();
        let inputs = BTreeMap::from([("x".to_owned(), Value::List(x))]);
        Case {
            id: format!("model/{}/{part}", self.name),
            rule: rule.to_owned(),
            about,
            flags: Vec::new(),
            call: Call { op: self.op.to_owned(), inputs },
            encrypted: vec!["x".to_owned()],
            taps: Vec::new(),
            outputs: Vec::new(),
            accept: Accept::Interval,
        }
    }

    /// All taps of a batch.
    fn interval(&self, rule: &str, about: &str, flags: &[&str]) -> Result<Case, ReferenceError> {
        let all = BATCH.iter().map(|&tokens| self.taps(tokens)).collect::<Result<Vec<_>, _>>()?;
        let names: Vec<&String> = all.iter().take(1).flatten().map(|(name, _)| name).collect();
        let expect = |(i, name): (usize, &&String)| {
            let rows: Vec<Vec<Tracked>> = all.iter().map(|taps| taps[i].1.clone()).collect();
            expectation(name, &rows)
        };
        let mut taps = names.iter().enumerate().map(expect).collect::<Result<Vec<_>, _>>()?;
        let outputs = taps.pop().into_iter().collect();
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        Ok(Case { taps, outputs, flags, ..self.case("taps", rule, about.to_owned(), &BATCH) })
    }

    /// The first input whose decision the bounds leave decided, or undecided.
    fn decision(&self, decided: bool) -> Result<Case, ReferenceError> {
        for tokens in prompts() {
            let logits = self.taps(tokens)?.pop().map(|(_, values)| values).unwrap_or_default();
            let output = expectation("logits", std::slice::from_ref(&logits))?;
            let Some((index, apart)) = decide(&logits, &output) else { continue };
            if apart != decided {
                continue;
            }
            let (part, about) = match decided {
                true => ("decided", "The margin of the largest logit exceeds what the bounds allow.".to_owned()),
                false => {
                    let about =
                        "Two rows of the head are equal, so the largest logit is a tie: undecided for everybody.";
                    ("undecided", about.to_owned())
                }
            };
            let accept = Accept::Decision { index: index.to_string() };
            let case = self.case(part, "conform.token", about, &[tokens]);
            return Ok(Case { outputs: vec![output], accept, ..case });
        }
        Err(ReferenceError::BadOperand {
            operation: "decision vectors",
            expected: format!(
                "an input of {} whose decision is {}",
                self.name,
                if decided { "decided" } else { "open" }
            ),
            got: "none".to_owned(),
        })
    }
}

/// The expected rows under the bound of the model level.
fn expectation(name: &str, rows: &[Vec<Tracked>]) -> Result<Expectation, ReferenceError> {
    let mut expected = noise::tracked(name, rows)?;
    if let Some(bound) = &mut expected.bound {
        bound.rule = "vector.bound.model".to_owned();
    }
    Ok(expected)
}

/// Index of the first largest logit and whether every other one is further away than bounds and radii (`r[conform.token]`).
fn decide(logits: &[Tracked], expected: &Expectation) -> Option<(usize, bool)> {
    let bound = expected.bound.as_ref()?.total.0;
    let ends: Vec<(f64, f64)> = logits.iter().map(|x| noise::split(&x.value)).collect();
    let first = (0..ends.len()).reduce(|best, i| if ends[i].0 > ends[best].0 { i } else { best })?;
    let apart = |i: usize| ends[first].0 - ends[i].0 > 2.0 * bound + ends[first].1 + ends[i].1;
    Some((first, (0..ends.len()).all(|i| i == first || apart(i))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::RADIUS_FACTOR;

    /// r[vector.bound.model]: the tracked values are those of R1 in binary64, far inside their bounds.
    #[test]
    fn tracked_taps_are_those_of_the_polynomial_model() {
        let params = Parameters::new(&ParameterLiteral::preset(PRESET).unwrap()).unwrap();
        let steps = Steps::new(&params).unwrap();
        let bert = Subject::new("bert/mean-pooling", "bert", encoder(3, 2), &steps).unwrap();
        for subject in [Subject::decoder(false, 2, &steps).unwrap(), bert] {
            let tracked = subject.taps(BATCH[0]).unwrap();
            let mut plain = Vec::new();
            let mut observe = |name: &str, _: &[usize], values: &[f64]| plain.push((name.to_owned(), values.to_vec()));
            subject.network.run(subject.network.embed(BATCH[0]), &subject.rung, (), &mut observe).unwrap();
            assert_eq!(tracked.len(), plain.len());
            for ((name, tracked), (other, plain)) in tracked.iter().zip(&plain) {
                assert_eq!(name, other);
                let bound = tracked.iter().map(Tracked::error).fold(0.0, f64::max);
                for (x, y) in tracked.iter().zip(plain) {
                    let distance = (noise::split(&x.value).0 - y).abs();
                    assert!(distance < bound * RADIUS_FACTOR, "{name}: {distance:e} against {bound:e}");
                }
            }
        }
    }
}
