//! Values of vectors and protocol messages (`r[vector.value]`).

use crate::SpecError;
use crate::hexfloat::HexFloat;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// A datum of a case (`r[vector.value]`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, try_from = "Raw")]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DataType {
    /// Unsigned 64-bit integers.
    U64,
    /// IEEE 754 binary64.
    F64,
}

/// JSON as it stands in a file, before the kind of each value is known.
///
/// Reading into this first takes time in proportion to the text. Trying the variants of [`Value`] in turn does not: nested
/// `{"mid": ...}` would be read once as certified reals and once as a record at every depth.
enum Raw {
    Text(String),
    /// Admitted in the shape of a side file only.
    Number(u64),
    List(Vec<Raw>),
    Fields(BTreeMap<String, Raw>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, an array or a record")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Raw, E> {
        Ok(Raw::Text(text))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Raw, E> {
        Ok(Raw::Number(number))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(entry) = entries.next_element()? {
            list.push(entry);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut fields = BTreeMap::new();
        while let Some((name, value)) = entries.next_entry::<String, Raw>()? {
            if fields.contains_key(&name) {
                return Err(de::Error::custom(format_args!("field {name:?} stands twice")));
            }
            fields.insert(name, value);
        }
        Ok(Raw::Fields(fields))
    }
}

impl TryFrom<Raw> for Value {
    type Error = SpecError;

    fn try_from(raw: Raw) -> Result<Self, SpecError> {
        match raw {
            Raw::Text(text) => Ok(Self::Text(text)),
            Raw::Number(number) => Err(wrong("value", "text, an array or a record", &format!("the number {number}"))),
            Raw::List(entries) => entries.into_iter().map(Self::try_from).collect::<Result<_, _>>().map(Self::List),
            Raw::Fields(fields) if fields.keys().eq(["dtype", "file", "sha256", "shape"]) => side_file(fields),
            Raw::Fields(fields) if fields.keys().eq(["mid", "rad"]) => certified(fields),
            Raw::Fields(fields) => {
                let convert = |(name, raw)| Ok((name, Self::try_from(raw)?));
                fields.into_iter().map(convert).collect::<Result<_, _>>().map(Self::Record)
            }
        }
    }
}

fn side_file(fields: BTreeMap<String, Raw>) -> Result<Value, SpecError> {
    let parts: Vec<Raw> = fields.into_values().collect();
    let Ok([Raw::Text(dtype), Raw::Text(file), Raw::Text(sha256), Raw::List(shape)]) = <[Raw; 4]>::try_from(parts)
    else {
        return Err(wrong("side file", "texts dtype, file and sha256 and an array shape", "other kinds"));
    };
    let dtype = match dtype.as_str() {
        "u64" => DataType::U64,
        "f64" => DataType::F64,
        other => return Err(wrong("side file, dtype", "u64 or f64", other)),
    };
    let length = |raw| match raw {
        Raw::Number(length) => {
            usize::try_from(length).map_err(|_| wrong("side file, shape", "lengths", "a larger number"))
        }
        _ => Err(wrong("side file, shape", "lengths", "another value")),
    };
    let shape = shape.into_iter().map(length).collect::<Result<_, _>>()?;
    Ok(Value::File(FileArray { file, sha256, dtype, shape }))
}

fn certified(fields: BTreeMap<String, Raw>) -> Result<Value, SpecError> {
    let mut parts = fields.into_values().map(|raw| Value::try_from(raw).map(Box::new));
    match (parts.next().transpose()?, parts.next().transpose()?) {
        (Some(mid), Some(rad)) => Ok(Value::Certified { mid, rad }),
        _ => Err(wrong("certified reals", "mid and rad", "fewer fields")),
    }
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

pub(super) fn wrong(what: &str, expected: &str, got: &str) -> SpecError {
    SpecError::Field { what: what.to_owned(), expected: expected.to_owned(), got: got.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    /// Untagged variants tried in turn would take 2^60 steps here.
    #[test]
    fn reading_takes_time_in_proportion_to_the_text() {
        for (open, close) in [(r#"{"mid":"#, "}"), (r#"{"mid":"0","rad":"#, "}"), ("[", "]")] {
            let text = |leaf: &str| open.repeat(60) + leaf + &close.repeat(60);
            assert!(serde_json::from_str::<Value>(&text("1.5")).is_err());
            let value: Value = serde_json::from_str(&text(r#""x""#)).unwrap();
            assert_eq!(serde_json::to_string(&value).unwrap(), text(r#""x""#));
        }
    }

    #[test]
    fn records_are_refused_by_field() {
        let refused = [
            (r#"{"a":1}"#, "the number 1"),
            (r#"{"a":"1","a":"2"}"#, "stands twice"),
            (r#"{"file":"a","sha256":"0","dtype":"u8","shape":[1]}"#, "u64 or f64"),
            (r#"{"file":"a","sha256":"0","dtype":"u64","shape":["1"]}"#, "lengths"),
            (r#"{"file":"a","sha256":"0","dtype":"u64","shape":[-1]}"#, "invalid type"),
            (r#"{"file":["a"],"sha256":"0","dtype":"u64","shape":[1]}"#, "texts"),
        ];
        for (text, expected) in refused {
            let message = serde_json::from_str::<Value>(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }
}
