//! Vectors of functions of real vectors on ciphertexts.
//!
//! Inputs are `[batch][n]`: rows are independent, so that a backend may put one row into one slot of `n` ciphertexts, or
//! pack as it likes. Expected values are those of the exact functions (R0) unless the case says that it is about a given
//! polynomial; a stated approximation error is then a term of the bound.

mod attention;
mod functions;
mod norm;

use super::noise::{self, Steps, Tracked};
use super::suite::Suite;
use crate::ckks::Parameters;
use crate::error::ReferenceError;
use crate::sample::{Stream, StreamId};
use std::collections::BTreeMap;
use touchstone_spec::params::ParameterLiteral;
use touchstone_spec::vector::{Accept, Call, Case, DRAW_DOMAIN, Group, Level, Value};

/// Preset of the cases: deep enough for attention at 16 slots.
const PRESET: &str = "toy-n5-deep";
/// Rows of a batch: half of the slots, so that packing shows.
const BATCH: usize = 8;

/// Adds all files of this level.
pub(super) fn add(suite: &mut Suite) -> Result<(), ReferenceError> {
    let params = Parameters::new(&ParameterLiteral::preset(PRESET)?)?;
    let steps = Steps::new(&params)?;
    let files = [
        ("polynomial", "circuit.poly", functions::polynomials(&steps)?),
        ("activation", "circuit.poly", functions::activations(&steps)?),
        ("inverse", "circuit.inverse", functions::inverses(&steps)?),
        ("linear", "circuit.matmul", norm::linear(&steps)?),
        ("layer-norm", "circuit.layernorm", norm::layer_norm(&steps)?),
        ("power-softmax", "circuit.power-softmax", attention::power_softmax(&steps)?),
        ("rotary", "circuit.rotary", attention::rotary(&steps)?),
        ("attention", "circuit.attention", attention::attention(&steps)?),
    ];
    for (name, feature, cases) in files {
        let group = Group {
            features: vec![feature.to_owned()],
            seed: super::suite::hex(b"circuit level..."),
            rotations: Vec::new(),
            conjugation: false,
            inputs: BTreeMap::new(),
            cases,
        };
        suite.add(Level::Circuit, &format!("circuit/{name}"), PRESET, vec![group])?;
    }
    Ok(())
}

/// What a circuit case is about.
struct About<'a> {
    id: String,
    rule: &'a str,
    about: &'a str,
    flags: &'a [&'a str],
    op: &'a str,
    encrypted: &'a [&'a str],
}

/// Named rows of tracked numbers.
type Named<'a> = (&'a str, Vec<Vec<Tracked>>);

impl About<'_> {
    /// The case with these inputs; the last of `values` is the output, the others are taps.
    fn case(&self, inputs: Vec<(&str, Value)>, mut values: Vec<Named<'_>>) -> Result<Case, ReferenceError> {
        let output = values.pop();
        let expect = |(name, rows): &Named<'_>| noise::tracked(name, rows);
        Ok(Case {
            taps: values.iter().map(expect).collect::<Result<_, _>>()?,
            outputs: output.iter().map(expect).collect::<Result<_, _>>()?,
            ..self.bare(inputs, Accept::Interval)
        })
    }

    /// A case that must be refused.
    fn refused(&self, inputs: Vec<(&str, Value)>) -> Case {
        self.bare(inputs, Accept::Reject { errors: vec!["argument".to_owned()] })
    }

    fn bare(&self, inputs: Vec<(&str, Value)>, accept: Accept) -> Case {
        let own = |text: &&str| (*text).to_owned();
        Case {
            id: self.id.clone(),
            rule: self.rule.to_owned(),
            about: self.about.to_owned(),
            flags: self.flags.iter().map(own).collect(),
            call: Call {
                op: self.op.to_owned(),
                inputs: inputs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            },
            encrypted: self.encrypted.iter().map(own).collect(),
            taps: Vec::new(),
            outputs: Vec::new(),
            accept,
        }
    }
}

/// `BATCH` rows of `n` numbers in `[low, high]`, multiples of `2^-20`; both ends occur in the first row where it has room.
fn rows(object: u32, n: usize, low: f64, high: f64) -> Vec<Vec<f64>> {
    let mut stream = Stream::new(b"circuit level...", StreamId::new(DRAW_DOMAIN, object));
    let unit = 2f64.powi(20);
    let mut one = || {
        let part = (stream.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        ((low + (high - low) * part) * unit).round_ties_even() / unit
    };
    let mut rows: Vec<Vec<f64>> = (0..BATCH).map(|_| (0..n).map(|_| one()).collect()).collect();
    rows[0][0] = low;
    let last = if n > 1 { &mut rows[0][1] } else { &mut rows[1][0] };
    *last = high;
    rows
}

fn matrix(rows: &[Vec<f64>]) -> Value {
    Value::List(rows.iter().map(|row| Value::reals(row)).collect())
}

/// Every number of every row encrypted.
fn encrypted(rows: &[Vec<f64>], steps: &Steps) -> Vec<Vec<Tracked>> {
    rows.iter().map(|row| row.iter().map(|&x| Tracked::encrypted(x, steps)).collect()).collect()
}

/// `f` of each row.
fn per_row<T>(rows: &[Vec<Tracked>], f: impl Fn(&[Tracked]) -> T) -> Vec<T> {
    rows.iter().map(|row| f(row)).collect()
}

/// `f` of each number.
fn per_entry(rows: &[Vec<Tracked>], f: impl Fn(&Tracked) -> Tracked) -> Vec<Vec<Tracked>> {
    rows.iter().map(|row| row.iter().map(&f).collect()).collect()
}
