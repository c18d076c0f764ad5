//! Inputs of a call, read field by field.

use crate::error::ReferenceError;
use crate::interval::Interval;
use std::str::FromStr;
use touchstone_spec::hexfloat::HexFloat;
use touchstone_spec::vector::{Call, Value};

/// The inputs of a call and the precision of the numbers made from them.
pub struct Inputs<'a> {
    call: &'a Call,
    precision: u32,
}

fn bad(field: &str, expected: impl Into<String>, got: impl Into<String>) -> ReferenceError {
    ReferenceError::BadInput { field: field.to_owned(), expected: expected.into(), got: got.into() }
}

impl<'a> Inputs<'a> {
    /// The inputs of `call`, which must all be among `names`.
    pub fn new(call: &'a Call, names: &[&str], precision: u32) -> Result<Self, ReferenceError> {
        match call.inputs.keys().find(|name| !names.contains(&name.as_str())) {
            None => Ok(Self { call, precision }),
            Some(name) => Err(bad(&format!("inputs.{name}"), format!("one of {}", names.join(", ")), "this field")),
        }
    }

    /// Whether the field is given.
    pub fn has(&self, name: &str) -> bool {
        self.call.inputs.contains_key(name)
    }

    fn value(&self, name: &str) -> Result<&'a Value, ReferenceError> {
        let missing = || bad(&format!("inputs.{name}"), format!("a value for {}", self.call.op), "nothing");
        self.call.inputs.get(name).ok_or_else(missing)
    }

    /// A finite binary64 number.
    pub fn real(&self, name: &str) -> Result<f64, ReferenceError> {
        real(&format!("inputs.{name}"), self.value(name)?)
    }

    /// A finite binary64 number, or `default` where the field is absent.
    pub fn real_or(&self, name: &str, default: f64) -> Result<f64, ReferenceError> {
        if self.has(name) { self.real(name) } else { Ok(default) }
    }

    /// A word or an integer.
    fn text(&self, name: &str, expected: &str) -> Result<&'a str, ReferenceError> {
        match self.value(name)? {
            Value::Text(text) => Ok(text),
            other => Err(bad(&format!("inputs.{name}"), expected, other.kind())),
        }
    }

    /// An integer that fits its type.
    pub fn integer<T: FromStr>(&self, name: &str) -> Result<T, ReferenceError> {
        let expected = "a decimal integer in range";
        let text = self.text(name, expected)?;
        text.parse().map_err(|_| bad(&format!("inputs.{name}"), expected, format!("{text:?}")))
    }

    /// An integer, or `default` where the field is absent.
    pub fn integer_or<T: FromStr>(&self, name: &str, default: T) -> Result<T, ReferenceError> {
        if self.has(name) { self.integer(name) } else { Ok(default) }
    }

    /// `true` or `false`, also `1` and `0`; false where the field is absent.
    pub fn flag(&self, name: &str) -> Result<bool, ReferenceError> {
        if self.has(name) { flag(&format!("inputs.{name}"), self.value(name)?) } else { Ok(false) }
    }

    /// One of the given words, or `default` where the field is absent.
    pub fn word_or(&self, name: &str, words: &[&str], default: &'static str) -> Result<&'a str, ReferenceError> {
        if !self.has(name) {
            return Ok(default);
        }
        let expected = words.join(", ");
        let text = self.text(name, &expected)?;
        if words.contains(&text) {
            Ok(text)
        } else {
            Err(bad(&format!("inputs.{name}"), expected, format!("{text:?}")))
        }
    }

    fn list(&self, name: &str) -> Result<&'a [Value], ReferenceError> {
        list(&format!("inputs.{name}"), self.value(name)?)
    }

    /// A vector of finite binary64 numbers, at least one.
    pub fn reals(&self, name: &str) -> Result<Vec<f64>, ReferenceError> {
        reals(&format!("inputs.{name}"), self.list(name)?)
    }

    /// A vector of `length` numbers, or `default` in every place where the field is absent.
    pub fn reals_or(&self, name: &str, length: usize, default: f64) -> Result<Vec<f64>, ReferenceError> {
        if !self.has(name) {
            return Ok(vec![default; length]);
        }
        let found = self.reals(name)?;
        if found.len() == length {
            return Ok(found);
        }
        Err(bad(&format!("inputs.{name}"), format!("{length} numbers"), found.len().to_string()))
    }

    /// A vector as intervals.
    pub fn points(&self, name: &str) -> Result<Vec<Interval>, ReferenceError> {
        Ok(self.reals(name)?.into_iter().map(|x| Interval::from_f64(x, self.precision)).collect())
    }

    /// A matrix, rows of one length.
    pub fn rows(&self, name: &str) -> Result<Vec<Vec<f64>>, ReferenceError> {
        let row = |(i, row): (usize, &Value)| {
            let field = format!("inputs.{name}[{i}]");
            reals(&field, list(&field, row)?)
        };
        let rows: Vec<Vec<f64>> = self.list(name)?.iter().enumerate().map(row).collect::<Result<_, _>>()?;
        let width = rows.first().map_or(0, Vec::len);
        match rows.iter().position(|row| row.len() != width) {
            None if width > 0 => Ok(rows),
            None => Err(bad(&format!("inputs.{name}"), "at least one row", "none")),
            Some(i) => Err(bad(&format!("inputs.{name}[{i}]"), format!("{width} numbers"), rows[i].len().to_string())),
        }
    }

    /// A matrix as intervals.
    pub fn point_rows(&self, name: &str) -> Result<Vec<Vec<Interval>>, ReferenceError> {
        let points = |row: Vec<f64>| row.into_iter().map(|x| Interval::from_f64(x, self.precision)).collect();
        Ok(self.rows(name)?.into_iter().map(points).collect())
    }

    /// A vector of flags; `None` where the field is absent.
    pub fn flags(&self, name: &str) -> Result<Option<Vec<bool>>, ReferenceError> {
        if !self.has(name) {
            return Ok(None);
        }
        let field = |i: usize| format!("inputs.{name}[{i}]");
        self.list(name)?.iter().enumerate().map(|(i, x)| flag(&field(i), x)).collect::<Result<_, _>>().map(Some)
    }

    /// Two numbers `[a, b]`.
    pub fn interval(&self, name: &str) -> Result<[f64; 2], ReferenceError> {
        let ends = self.reals(name)?;
        match ends[..] {
            [a, b] => Ok([a, b]),
            _ => Err(bad(&format!("inputs.{name}"), "two numbers", ends.len().to_string())),
        }
    }
}

fn list<'v>(field: &str, value: &'v Value) -> Result<&'v [Value], ReferenceError> {
    match value {
        Value::List(entries) => Ok(entries),
        other => Err(bad(field, "an array", other.kind())),
    }
}

fn reals(field: &str, entries: &[Value]) -> Result<Vec<f64>, ReferenceError> {
    if entries.is_empty() {
        return Err(bad(field, "at least one number", "none"));
    }
    entries.iter().enumerate().map(|(i, entry)| real(&format!("{field}[{i}]"), entry)).collect()
}

fn real(field: &str, value: &Value) -> Result<f64, ReferenceError> {
    let expected = "a finite binary64 number, hexadecimal such as 0x1.8p+1 or decimal";
    let Value::Text(text) = value else {
        return Err(bad(field, expected, value.kind()));
    };
    let number = HexFloat::parse(text).map(|x| x.0).ok().or_else(|| text.trim().parse().ok());
    match number {
        Some(x) if x.is_finite() => Ok(x),
        _ => Err(bad(field, expected, format!("{text:?}"))),
    }
}

fn flag(field: &str, value: &Value) -> Result<bool, ReferenceError> {
    let expected = "0, 1, false or true";
    match value {
        Value::Text(text) => match text.as_str() {
            "0" | "false" | "0x0p+0" => Ok(false),
            "1" | "true" | "0x1p+0" => Ok(true),
            _ => Err(bad(field, expected, format!("{text:?}"))),
        },
        other => Err(bad(field, expected, other.kind())),
    }
}
