//! Test vectors, format `touchstone-vectors-1` (`spec/book/vectors.md`).
//!
//! A file holds the cases of one operation under one preset. Numbers are text, either hexadecimal floats or decimal
//! integers, so that no parser rounds them; large arrays lie in side files. Whoever runs vectors needs a JSON parser.

use crate::SpecError;
use crate::hexfloat::HexFloat;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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

/// A datum of a case (`r[vector.value]`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// A hexadecimal float, a decimal integer or a word.
    Text(String),
    /// An array, row-major.
    List(Vec<Value>),
    /// An array in a side file.
    File(FileArray),
    /// Reals with a certified radius each.
    Certified {
        /// Midpoints.
        mid: Box<Value>,
        /// Radii, of the same shape.
        rad: Box<Value>,
    },
    /// A record such as a ciphertext.
    Record(BTreeMap<String, Value>),
}

/// An array in a side file: little-endian, row-major (`r[vector.side-file]`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileArray {
    /// Path relative to the vector directory.
    pub file: String,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
    /// Element type.
    pub dtype: DataType,
    /// Lengths, outermost first.
    pub shape: Vec<usize>,
}

/// Element type of a side file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DataType {
    /// Unsigned 64-bit integers.
    U64,
    /// IEEE 754 binary64.
    F64,
}

impl Value {
    /// A real number.
    #[must_use]
    pub fn real(x: f64) -> Self {
        Self::Text(HexFloat(x).to_string())
    }

    /// An integer.
    #[must_use]
    pub fn integer(x: impl std::fmt::Display) -> Self {
        Self::Text(x.to_string())
    }

    /// A word.
    #[must_use]
    pub fn word(x: &str) -> Self {
        Self::Text(x.to_owned())
    }

    /// An array of reals.
    #[must_use]
    pub fn reals(x: &[f64]) -> Self {
        Self::List(x.iter().map(|&x| Self::real(x)).collect())
    }

    /// An array of integers.
    #[must_use]
    pub fn integers<T: std::fmt::Display>(x: &[T]) -> Self {
        Self::List(x.iter().map(Self::integer).collect())
    }

    /// Reals with radii.
    #[must_use]
    pub fn certified(mid: &[f64], rad: &[f64]) -> Self {
        Self::Certified { mid: Box::new(Self::reals(mid)), rad: Box::new(Self::reals(rad)) }
    }

    /// The text of a scalar.
    ///
    /// # Errors
    /// [`SpecError::Field`] for anything but a scalar; `what` names it in the message.
    pub fn text(&self, what: &str) -> Result<&str, SpecError> {
        match self {
            Self::Text(text) => Ok(text),
            other => Err(wrong(what, "text", other.kind())),
        }
    }

    /// A real: hexadecimal float or decimal integer.
    ///
    /// # Errors
    /// [`SpecError::Field`] for other values.
    pub fn as_real(&self, what: &str) -> Result<f64, SpecError> {
        let text = self.text(what)?;
        if let Ok(number) = HexFloat::parse(text) {
            return Ok(number.0);
        }
        let integer: i64 = text.parse().map_err(|_| wrong(what, "a hexadecimal float or decimal integer", text))?;
        Ok(integer as f64)
    }

    /// An integer of any type that is read from decimal digits.
    ///
    /// # Errors
    /// [`SpecError::Field`] for other values and integers out of range.
    pub fn as_integer<T: std::str::FromStr>(&self, what: &str) -> Result<T, SpecError> {
        let text = self.text(what)?;
        text.parse().map_err(|_| wrong(what, "a decimal integer of this field's range", text))
    }

    /// The entries of an array; side files must have been read before.
    ///
    /// # Errors
    /// [`SpecError::Field`] for anything but a list.
    pub fn list(&self, what: &str) -> Result<&[Value], SpecError> {
        match self {
            Self::List(entries) => Ok(entries),
            other => Err(wrong(what, "an array", other.kind())),
        }
    }

    /// A vector of reals.
    ///
    /// # Errors
    /// [`SpecError::Field`] for other values.
    pub fn as_reals(&self, what: &str) -> Result<Vec<f64>, SpecError> {
        self.list(what)?.iter().map(|entry| entry.as_real(what)).collect()
    }

    /// A matrix of reals, one inner vector per row; rows may differ in length.
    ///
    /// # Errors
    /// [`SpecError::Field`] for other values.
    pub fn as_rows(&self, what: &str) -> Result<Vec<Vec<f64>>, SpecError> {
        self.list(what)?.iter().map(|row| row.as_reals(what)).collect()
    }

    /// All scalars of nested arrays in row-major order.
    ///
    /// # Errors
    /// [`SpecError::Field`] for records and unread side files.
    pub fn flatten<'a>(&'a self, what: &str) -> Result<Vec<&'a str>, SpecError> {
        match self {
            Self::Text(text) => Ok(vec![text]),
            Self::List(entries) => {
                let parts = entries.iter().map(|entry| entry.flatten(what)).collect::<Result<Vec<_>, _>>()?;
                Ok(parts.concat())
            }
            other => Err(wrong(what, "nested arrays", other.kind())),
        }
    }

    /// A field of a record.
    ///
    /// # Errors
    /// [`SpecError::Field`] if this is no record or has no such field.
    pub fn field(&self, what: &str, name: &str) -> Result<&Value, SpecError> {
        let Self::Record(fields) = self else {
            return Err(wrong(what, "a record", self.kind()));
        };
        fields.get(name).ok_or_else(|| wrong(what, &format!("field {name:?}"), "none"))
    }

    /// What the value is, in a word.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::List(_) => "an array",
            Self::File(_) => "a side file",
            Self::Certified { .. } => "certified reals",
            Self::Record(_) => "a record",
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

fn wrong(what: &str, expected: &str, got: &str) -> SpecError {
    SpecError::Field { what: what.to_owned(), expected: expected.to_owned(), got: got.to_owned() }
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

    #[test]
    fn values_keep_their_kind_through_json() {
        let file = FileArray { file: "a.bin".into(), sha256: "00".into(), dtype: DataType::U64, shape: vec![2, 3] };
        let values = [
            Value::real(0.1),
            Value::integers(&[1u64, 2]),
            Value::certified(&[1.0], &[0.0]),
            Value::File(file),
            Value::Record(BTreeMap::from([("level".to_owned(), Value::integer(3))])),
        ];
        for value in values {
            let text = serde_json::to_string(&value).unwrap();
            assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value, "{text}");
        }
    }
}
