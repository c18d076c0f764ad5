//! Inputs that a case draws instead of storing them (`r[vector.draw]`).

use crate::ConformError;
use std::collections::BTreeMap;
use touchstone_reference::sample::{Seed, Stream, StreamId};
use touchstone_spec::SpecError;
use touchstone_spec::params::ParameterLiteral;
use touchstone_spec::vector::{Case, DRAW_DOMAIN, Value};

/// The inputs of draw `draw`.
///
/// # Errors
/// [`ConformError::Vector`] for a malformed rule or seed.
pub fn inputs(
    case: &Case,
    literal: &ParameterLiteral,
    seed: &str,
    draw: u32,
) -> Result<BTreeMap<String, Value>, ConformError> {
    let bad = |message: String| ConformError::Vector { what: case.id.clone(), message };
    let seed = u128::from_str_radix(seed, 16).map_err(|_| bad(format!("seed {seed:?}")))?.to_be_bytes();
    let expand = |(name, value): (&String, &Value)| {
        let value = expand(name, value, literal, &seed, draw).map_err(|error| bad(error.to_string()))?;
        Ok((name.clone(), value))
    };
    case.call.inputs.iter().map(expand).collect()
}

fn expand(name: &str, value: &Value, literal: &ParameterLiteral, seed: &Seed, draw: u32) -> Result<Value, SpecError> {
    let stream = |digit, limb| Stream::new(seed, StreamId { domain: DRAW_DOMAIN, object: draw, digit, limb });
    let n = 1usize << literal.log_n;
    let drawn = |value: &Value| matches!(value, Value::Text(text) if text == "drawn");
    match value {
        value if drawn(value) && name == "index" => Ok(Value::integer(draw)),
        value if drawn(value) => {
            let mut words = stream(101, 0);
            let mut part = || (words.next_u64() as i64 >> 11) as f64 / (1u64 << 52) as f64;
            Ok(Value::List((0..n / 2).map(|_| Value::reals(&[part(), part()])).collect()))
        }
        Value::Record(fields) if fields.contains_key("draw-from") => {
            let (first, count): (u32, u32) =
                (value.field(name, "draw-from")?.as_integer(name)?, value.field(name, "draw-count")?.as_integer(name)?);
            let level: usize = value.field(name, "level")?.as_integer(name)?;
            let limb = |digit: u32| {
                let limbs = (0u32..).zip(literal.q.iter().take(level + 1));
                Value::List(limbs.map(|(limb, &q)| Value::integers(&stream(digit, limb).uniform(n, q))).collect())
            };
            let mut fields = fields.clone();
            fields.retain(|name, _| name == "level" || name == "scale");
            fields.insert("polys".to_owned(), Value::List((first..first + count).map(limb).collect()));
            Ok(Value::Record(fields))
        }
        Value::Record(fields) if fields.get("coefficients").is_some_and(drawn) => {
            let mut words = stream(100, 0);
            let coefficients: Vec<i64> = (0..n).map(|_| words.next_u64() as i64 >> 22).collect();
            let mut fields = fields.clone();
            fields.insert("coefficients".to_owned(), Value::integers(&coefficients));
            Ok(Value::Record(fields))
        }
        other => Ok(other.clone()),
    }
}
