//! Vectors of keys, encoding, encryption and single operations on ciphertexts.
//!
//! One table of operations ([`operations`]) serves three presets: at `toy-n5` everything stands in the JSON, at `toy-n8`
//! arrays lie in side files, at `small-n12` one hash covers several draws.

mod operations;
mod real;
mod refused;
mod setup;

use super::suite::{Suite, hex};
use crate::error::ReferenceError;
use operations::{Computed, Operation};
use setup::{Operands, Part, Setup};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use touchstone_spec::vector::{Accept, Call, Case, Expectation, Group, Level, Value};

/// Where the arrays of a case go.
#[derive(Clone, Copy, PartialEq)]
enum Storage {
    /// Into the JSON.
    Inline,
    /// Into side files.
    Side,
    /// Nowhere: inputs are drawn, outputs hashed.
    Hash {
        /// Number of draws.
        draws: u32,
    },
}

/// Presets with their storage and the level of plain cases.
const PRESETS: [(&str, Storage, usize); 3] =
    [("toy-n5", Storage::Inline, 2), ("toy-n8", Storage::Side, 3), ("small-n12", Storage::Hash { draws: 3 }, 3)];

/// Adds all files of this level.
pub(super) fn add(suite: &mut Suite) -> Result<(), ReferenceError> {
    for (preset, storage, level) in PRESETS {
        let setup = Setup::new(preset)?;
        let mut files: BTreeMap<&str, Vec<Case>> = BTreeMap::new();
        for operation in operations::all() {
            if operation.op == "encode" && matches!(storage, Storage::Hash { .. }) {
                // A hash cannot grant the unit that encoding in binary64 may be off.
                continue;
            }
            let cases = files.entry(operation.file).or_default();
            for variant in variants(&operation, &setup, storage, level) {
                let case = match storage {
                    Storage::Hash { draws } => accumulated(&setup, &operation, &variant, draws)?,
                    _ => stored(suite, &setup, &operation, &variant, storage)?,
                };
                cases.push(case);
            }
        }
        if storage == Storage::Inline {
            files.insert("refused", refused::cases(&setup)?);
        }
        if storage != Storage::Side {
            files.insert("noise", real::noise(&setup)?);
        }
        if storage == Storage::Inline {
            files.insert("decode", real::decode(&setup)?);
        }
        for (file, cases) in files {
            let groups = by_features(&setup, cases);
            suite.add(Level::Scheme, &format!("scheme/{file}"), preset, groups)?;
        }
    }
    Ok(())
}

/// Features that an operation needs besides exact residues (`r[vector.features]`).
fn features(case: &Case) -> Vec<String> {
    let own = match case.call.op.as_str() {
        "rotate" | "rotate-hoisted" | "galois" | "conjugate" => "ckks.rotate",
        "rescale" | "mul-rescale" => "ckks.rescale",
        "mul" | "relinearise" | "key-relinearisation" => "ckks.mul",
        _ => "ckks.linear",
    };
    let sampling = match case.accept {
        Accept::Interval | Accept::Statistical { .. } | Accept::Reject { .. } => None,
        _ => Some("det.sampling"),
    };
    [Some(own), sampling].into_iter().flatten().map(str::to_owned).collect()
}

fn by_features(setup: &Setup, cases: Vec<Case>) -> Vec<Group> {
    let mut groups: BTreeMap<Vec<String>, Vec<Case>> = BTreeMap::new();
    for case in cases {
        groups.entry(features(&case)).or_default().push(case);
    }
    let group = |(features, cases)| Group {
        features,
        seed: hex(&setup.seed),
        rotations: setup.rotations.keys().map(i64::to_string).collect(),
        conjugation: true,
        inputs: BTreeMap::new(),
        cases,
    };
    groups.into_iter().map(group).collect()
}

/// One case of an operation: which operands, and why.
struct Variant {
    name: &'static str,
    about: &'static str,
    flags: Vec<&'static str>,
    level: usize,
    extreme: bool,
    steps: i64,
}

fn variants(operation: &Operation, setup: &Setup, storage: Storage, level: usize) -> Vec<Variant> {
    let plain = |name, about| Variant { name, about, flags: Vec::new(), level, extreme: false, steps: 1 };
    let mut all = vec![Variant { ..plain("uniform", "Uniform residues.") }];
    let partial = !(level + 1).is_multiple_of(setup.params.digit_size());
    if partial {
        all[0].flags.push("partial-digit");
    }
    if storage != Storage::Inline {
        return all;
    }
    if operation.residues {
        let about = "Residues from 0, 1, q - 1 and the two halves.";
        all.push(Variant { extreme: true, flags: vec!["extreme-residues"], ..plain("extremes", about) });
        let lowest = usize::from(operation.consumes_level);
        let about = "The lowest level at which the operation is defined.";
        all.push(Variant { level: lowest, flags: vec!["lowest-level"], ..plain("lowest-level", about) });
    }
    if operation.op == "rotate" {
        let wrap = plain("backwards", "Rotation by -3 slots.");
        all.push(Variant { steps: -3, flags: vec!["wrap-around"], ..wrap });
        let identity = plain("identity", "Rotation by N/2 slots: a copy.");
        all.push(Variant { steps: setup.params.slots() as i64, flags: vec!["identity-rotation"], ..identity });
    }
    all
}

fn id(setup: &Setup, operation: &Operation, variant: &Variant) -> String {
    format!("scheme/{}/{}/{}", operation.name, setup.params.name(), variant.name)
}

fn case(setup: &Setup, operation: &Operation, variant: &Variant, inputs: BTreeMap<String, Value>) -> Case {
    Case {
        id: id(setup, operation, variant),
        rule: operation.rule.to_owned(),
        about: format!("{} {}", operation.about, variant.about),
        flags: variant.flags.iter().map(|&flag| flag.to_owned()).collect(),
        call: Call { op: operation.op.to_owned(), inputs },
        encrypted: operation.ciphertexts(),
        taps: Vec::new(),
        outputs: Vec::new(),
        accept: Accept::Exact,
    }
}

fn compute(
    setup: &Setup,
    operation: &Operation,
    variant: &Variant,
    draw: u32,
) -> Result<(Operands, Computed), ReferenceError> {
    let operands = Operands::draw(setup, variant.level, variant.extreme, variant.steps, draw)?;
    let computed = (operation.compute)(setup, &operands)?;
    Ok((operands, computed))
}

fn stored(
    suite: &mut Suite,
    setup: &Setup,
    operation: &Operation,
    variant: &Variant,
    storage: Storage,
) -> Result<Case, ReferenceError> {
    let (operands, computed) = compute(setup, operation, variant, 0)?;
    let base = format!("scheme/{}/{}.{}", setup.params.name(), operation.name, variant.name);
    let mut place = |name: &str, part: &Part| match part {
        Part::Residues(residues) if storage == Storage::Side => {
            let values = residues.polys.iter().flatten().flatten().copied();
            let shape = vec![residues.polys.len(), residues.polys[0].len(), setup.params.n()];
            residues.value(suite.side(format!("{base}.{name}.bin"), shape, values))
        }
        part => part.value(),
    };
    let named = operation.inputs.iter().map(|&name| Ok((name, operands.part(setup, name)?)));
    let inputs = named.collect::<Result<Vec<_>, ReferenceError>>()?;
    let inputs = inputs.iter().map(|(name, part)| ((*name).to_owned(), place(name, part))).collect();
    let mut expect = |values: &[(&'static str, Part)]| -> Vec<Expectation> {
        let one = |(name, part): &(&'static str, Part)| Expectation {
            name: (*name).to_owned(),
            value: place(name, part),
            bound: None,
        };
        values.iter().map(one).collect()
    };
    let (taps, outputs) = (expect(&computed.taps), expect(&computed.outputs));
    let accept = if operation.op == "encode" { Accept::Units { units: "1".to_owned() } } else { Accept::Exact };
    Ok(Case { taps, outputs, accept, ..case(setup, operation, variant, inputs) })
}

fn accumulated(setup: &Setup, operation: &Operation, variant: &Variant, draws: u32) -> Result<Case, ReferenceError> {
    let mut hash = Sha256::new();
    let mut inputs = BTreeMap::new();
    for draw in 0..draws {
        let (operands, computed) = compute(setup, operation, variant, draw)?;
        for (_, part) in &computed.outputs {
            part.bytes(&mut hash);
        }
        if draw == 0 {
            inputs = operation
                .inputs
                .iter()
                .map(|&name| Ok((name.to_owned(), operands.drawn(setup, name)?)))
                .collect::<Result<_, ReferenceError>>()?;
        }
    }
    let accept = Accept::Accumulated { draws: draws.to_string(), sha256: hex(&hash.finalize()) };
    Ok(Case { accept, ..case(setup, operation, variant, inputs) })
}
