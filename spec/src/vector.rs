//! Test vectors, format `touchstone-vectors-1` (`spec/book/vectors.md`).
//!
//! A file holds the cases of one operation under one preset. Numbers are text, either hexadecimal floats or decimal
//! integers, so that no parser rounds them; large arrays lie in side files. Whoever runs vectors needs a JSON parser.

mod value;

pub use value::{DataType, FileArray, Value};

use crate::SpecError;
use crate::hexfloat::HexFloat;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use value::wrong;

/// Version tag of a vector file (`r[vector.file]`).
pub const VECTOR_FORMAT: &str = "touchstone-vectors-1";

/// Stream domain of the residues that cases draw as inputs (`r[vector.draw]`).
pub const DRAW_DOMAIN: u32 = 100;

/// A vector file (`r[vector.file]`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VectorFile {
    /// [`VECTOR_FORMAT`].
    pub format: String,
    /// What the file is about, such as `scheme/mul`; its path is this name, a dot and the preset.
    pub name: String,
    /// Level of the system that the cases exercise.
    pub level: Level,
    /// Parameter preset of all cases.
    pub preset: String,
    /// What each flag means (`r[vector.flags]`).
    pub notes: BTreeMap<String, Note>,
    /// Cases by shared needs.
    pub groups: Vec<Group>,
}

/// Levels of vectors, from residues to whole models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Residues, transforms, base conversion, random draws.
    Arithmetic,
    /// Keys, encoding, encryption and single operations on ciphertexts.
    Scheme,
    /// Functions of real vectors on ciphertexts.
    Circuit,
    /// Whole networks.
    Model,
}

/// Why a flag exists (`r[vector.flags]`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Note {
    /// The kind of mistake that flagged cases find.
    pub bug: String,
    /// Why implementations make it.
    pub why: String,
    /// What happens to a user if it goes unnoticed.
    pub effect: String,
}

/// Cases that need the same of a backend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Feature tags that a backend must have (`r[vector.features]`).
    pub features: Vec<String>,
    /// Seed of keys and encryptions, 32 hexadecimal digits, byte 0 first.
    pub seed: String,
    /// Rotations for which keys are made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rotations: Vec<String>,
    /// Whether there is a conjugation key.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub conjugation: bool,
    /// Inputs that all cases of the group share, under their names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, Value>,
    /// The cases.
    pub cases: Vec<Case>,
}

/// One case (`r[vector.case]`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// Permanent slug.
    pub id: String,
    /// Id of the rule that the case checks.
    pub rule: String,
    /// What is particular about it, in words.
    pub about: String,
    /// Names of notes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
    /// Operation and inputs.
    #[serde(flatten)]
    pub call: Call,
    /// Inputs that enter encrypted; real arrays among them are encrypted by the backend.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub encrypted: Vec<String>,
    /// Intermediate values in the order in which they arise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taps: Vec<Expectation>,
    /// Results.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<Expectation>,
    /// When the case is passed.
    pub accept: Accept,
}

/// An operation and its inputs: what `reference eval` reads on its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Name of the operation.
    pub op: String,
    /// Inputs by name.
    pub inputs: BTreeMap<String, Value>,
}

/// A value that a backend must deliver.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// Name of the output or tap.
    pub name: String,
    /// The exact value, or [`Value::Certified`] for reals.
    pub value: Value,
    /// Allowed error on top of the certified radius; absent where the value is compared exactly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound: Option<Bound>,
}

/// How far a real value may be off, and why (`r[vector.bound]`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bound {
    /// Rule that states the formula.
    pub rule: String,
    /// One number for all entries of the value.
    pub total: HexFloat,
    /// What each cause contributes.
    pub terms: BTreeMap<String, HexFloat>,
}

/// When a case is passed (`r[vector.accept]`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Accept {
    /// Every value equals the expected one.
    Exact,
    /// Every residue is cyclically at most `units` off: encoding in binary64 (`r[ckks.encode]`).
    Units {
        /// Admitted difference.
        units: String,
    },
    /// Every real is within bound plus radius.
    Interval,
    /// The standard deviation over `draws` repetitions lies in an interval; both ends matter.
    Statistical {
        /// Repetitions.
        draws: String,
        /// Predicted standard deviation.
        predicted: HexFloat,
        /// Least admitted measured value.
        low: HexFloat,
        /// Largest admitted measured value.
        high: HexFloat,
        /// Rule of the prediction.
        rule: String,
    },
    /// The index of the largest output, decided where its margin exceeds the bounds (`r[conform.token]`).
    Decision {
        /// The reference's index.
        index: String,
    },
    /// The backend must answer with an error.
    Reject {
        /// Admitted kinds of error.
        errors: Vec<String>,
    },
    /// One hash over the outputs of many draws (`r[vector.accumulated]`).
    Accumulated {
        /// Number of draws.
        draws: String,
        /// SHA-256 of all output residues, hexadecimal.
        sha256: String,
    },
}

impl Accept {
    /// Name as written in files.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Units { .. } => "units",
            Self::Interval => "interval",
            Self::Statistical { .. } => "statistical",
            Self::Decision { .. } => "decision",
            Self::Reject { .. } => "reject",
            Self::Accumulated { .. } => "accumulated",
        }
    }
}

impl Call {
    /// Reads `{"op": ..., "inputs": {...}}`; other fields are ignored, so that a whole case can be read.
    ///
    /// # Errors
    /// [`SpecError::Json`].
    pub fn from_json(what: &str, text: &str) -> Result<Self, SpecError> {
        serde_json::from_str(text).map_err(|source| SpecError::Json { what: what.to_owned(), source })
    }

    /// The input called `name`.
    ///
    /// # Errors
    /// [`SpecError::Field`] if there is none.
    pub fn input(&self, name: &str) -> Result<&Value, SpecError> {
        self.inputs.get(name).ok_or_else(|| wrong(&self.op, &format!("input {name:?}"), "none"))
    }

    /// A real input.
    ///
    /// # Errors
    /// As [`Self::input`] and [`Value::as_real`].
    pub fn real(&self, name: &str) -> Result<f64, SpecError> {
        self.input(name)?.as_real(name)
    }

    /// An integer input.
    ///
    /// # Errors
    /// As [`Self::input`] and [`Value::as_integer`].
    pub fn integer<T: std::str::FromStr>(&self, name: &str) -> Result<T, SpecError> {
        self.input(name)?.as_integer(name)
    }

    /// A vector of reals.
    ///
    /// # Errors
    /// As [`Self::input`] and [`Value::as_reals`].
    pub fn reals(&self, name: &str) -> Result<Vec<f64>, SpecError> {
        self.input(name)?.as_reals(name)
    }
}

impl VectorFile {
    /// Reads a vector file.
    ///
    /// # Errors
    /// [`SpecError::Json`]; [`SpecError::Field`] for another format.
    pub fn from_json(what: &str, text: &str) -> Result<Self, SpecError> {
        let file: Self =
            serde_json::from_str(text).map_err(|source| SpecError::Json { what: what.to_owned(), source })?;
        if file.format != VECTOR_FORMAT {
            return Err(wrong(&format!("{what}: format"), VECTOR_FORMAT, &file.format));
        }
        Ok(file)
    }

    /// All cases.
    pub fn cases(&self) -> impl Iterator<Item = &Case> {
        self.groups.iter().flat_map(|group| &group.cases)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_read_with_numbers_as_text() {
        let call = Call::from_json("test", r#"{"op":"gelu","inputs":{"x":["0x1p+0","-3"],"p":"4"},"id":"x"}"#).unwrap();
        assert_eq!(call.reals("x").unwrap(), [1.0, -3.0]);
        assert_eq!(call.integer::<u32>("p").unwrap(), 4);
        assert!(call.integer::<u32>("x").is_err() && call.real("q").is_err());
        assert!(Call::from_json("test", r#"{"op":"gelu","inputs":{"x":1.5}}"#).is_err(), "JSON numbers are refused");
    }
}
