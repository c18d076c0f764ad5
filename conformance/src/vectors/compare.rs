//! Comparison of a backend's value with a case's (`r[vector.accept]`).

use crate::metrics::{Expected, TokenVerdict, compare, compare_token, largest};
use crate::{ConformError, Verdict};
use touchstone_spec::SpecError;
use touchstone_spec::hexfloat::HexFloat;
use touchstone_spec::vector::{Bound, Expectation, Value};

/// What is wrong with one value.
#[derive(Clone, Debug)]
pub struct Mismatch {
    /// Where, what was expected and what came.
    pub place: String,
    /// Size of the error and of the excess, for reals.
    pub size: String,
    /// The bound, for reals.
    pub bound: Option<Bound>,
}

/// How a value did.
#[derive(Clone, Debug)]
pub enum Finding {
    /// Inside; bits of slack where there is a bound.
    Inside(Option<f64>),
    /// Outside.
    Outside(Mismatch),
}

/// Compares; residues may be `units` off, with the primes of their limbs.
///
/// # Errors
/// [`ConformError::Vector`] if the expected value itself is malformed.
pub fn check(expected: &Expectation, got: &Value, units: u64, primes: &[u64]) -> Result<Finding, ConformError> {
    match (&expected.value, &expected.bound) {
        (Value::Certified { mid, rad }, Some(bound)) => reals(expected, mid, rad, bound, got),
        (want, _) => exact(expected, want, got, units, primes),
    }
}

fn malformed(name: &str, error: impl ToString) -> ConformError {
    ConformError::Vector { what: name.to_owned(), message: error.to_string() }
}

fn outside(place: String) -> Finding {
    Finding::Outside(Mismatch { place, size: String::new(), bound: None })
}

fn parse(values: &Value, name: &str) -> Result<Vec<f64>, SpecError> {
    values.flatten(name)?.into_iter().map(|text| Value::word(text).as_real(name)).collect()
}

fn reals(
    expected: &Expectation,
    mid: &Value,
    rad: &Value,
    bound: &Bound,
    got: &Value,
) -> Result<Finding, ConformError> {
    let name = &expected.name;
    let mids = parse(mid, name).map_err(|error| malformed(name, error))?;
    let rads = parse(rad, name).map_err(|error| malformed(name, error))?;
    let values = match parse(got, name) {
        Ok(values) => values,
        Err(error) => return Ok(outside(error.to_string())),
    };
    let limit = bound.total.0;
    let want: Vec<Expected> = mids.iter().zip(&rads).map(|(&mid, &rad)| Expected { mid, rad, bound: limit }).collect();
    let comparison = match compare(name, &want, &values) {
        Ok(comparison) => comparison,
        Err(error) => return Ok(outside(error.to_string())),
    };
    if comparison.conforms() {
        return Ok(Finding::Inside(Some(comparison.slack_bits())));
    }
    let (i, error) = (comparison.worst_index, comparison.worst_error);
    let columns =
        mid.list(name).ok().and_then(|rows| rows.first()).and_then(|row| row.list(name).ok()).map_or(1, <[Value]>::len);
    let place = format!(
        "row {}, entry {}: expected {} +- {}, got {}",
        i / columns,
        i % columns,
        HexFloat(mids[i]),
        bits(limit + rads[i]),
        HexFloat(values[i])
    );
    let over = (error / comparison.worst_allowance).log2();
    let size = format!("error {}, over by {over:.1} bits", bits(error));
    Ok(Finding::Outside(Mismatch { place, size, bound: Some(bound.clone()) }))
}

/// Whether the largest of `got` is entry `index`, where the margin of the expected ones decides that (`r[conform.token]`).
///
/// # Errors
/// [`ConformError::Vector`] if the expected value is not certified reals with a bound, or `index` is not its largest.
pub fn decide(expected: &Expectation, index: &str, got: &Value) -> Result<(Verdict, String), ConformError> {
    let name = &expected.name;
    let (Value::Certified { mid, rad }, Some(bound)) = (&expected.value, &expected.bound) else {
        return Err(malformed(name, "a decision needs certified reals with a bound"));
    };
    let mids = parse(mid, name).map_err(|error| malformed(name, error))?;
    let rads = parse(rad, name).map_err(|error| malformed(name, error))?;
    let stated: usize = index.parse().map_err(|_| malformed(name, format!("index {index:?}")))?;
    if mids.is_empty() || largest(mids.iter().copied()) != stated {
        return Err(malformed(name, format!("entry {stated} is not the first largest")));
    }
    let values = match parse(got, name) {
        Ok(values) => values,
        Err(error) => return Ok((Verdict::Fail, error.to_string())),
    };
    let want: Vec<Expected> =
        mids.iter().zip(&rads).map(|(&mid, &rad)| Expected { mid, rad, bound: bound.total.0 }).collect();
    let verdict = match compare_token(&want, &values) {
        Ok(verdict) => verdict,
        Err(error) => return Ok((Verdict::Fail, error.to_string())),
    };
    let margin = mids.iter().enumerate().filter(|(i, _)| *i != stated).map(|(_, x)| mids[stated] - x);
    let text = format!(
        "{name}: expected entry {stated}, got {}; margin {}, bound of each {}",
        largest(values.iter().copied()),
        bits(margin.fold(f64::INFINITY, f64::min)),
        bits(bound.total.0)
    );
    Ok(match verdict {
        TokenVerdict::Same => (Verdict::Pass, text),
        TokenVerdict::Undecided { .. } => (Verdict::Undecided, text),
        TokenVerdict::Different => (Verdict::Fail, text),
    })
}

/// A number as a power of two.
pub fn bits(x: f64) -> String {
    if x == 0.0 { "0".to_owned() } else { format!("2^{:.1}", x.log2()) }
}

fn exact(
    expected: &Expectation,
    want: &Value,
    got: &Value,
    units: u64,
    primes: &[u64],
) -> Result<Finding, ConformError> {
    if let (Value::Record(want_fields), Value::Record(got_fields)) = (want, got) {
        for (name, want) in want_fields.iter().filter(|(name, _)| *name != "polys") {
            let got = got_fields.get(name).and_then(|value| value.text(name).ok()).unwrap_or("nothing");
            let want = want.text(name).map_err(|error| malformed(name, error))?;
            if got != want {
                return Ok(outside(format!("{name}: expected {want}, got {got}")));
            }
        }
        let (Some(want), Some(got)) = (want_fields.get("polys"), got_fields.get("polys")) else {
            return Ok(outside("no polynomials".to_owned()));
        };
        return polys(expected, want, got, units, primes);
    }
    let want = want.flatten(&expected.name).map_err(|error| malformed(&expected.name, error))?;
    let got = match got.flatten(&expected.name) {
        Ok(got) => got,
        Err(error) => return Ok(outside(error.to_string())),
    };
    if want.len() != got.len() {
        return Ok(outside(format!("expected {} values, got {}", want.len(), got.len())));
    }
    let differs = want.iter().zip(&got).position(|(want, got)| want != got);
    Ok(match differs {
        Some(i) => outside(format!("value {i}: expected {}, got {}", want[i], got[i])),
        None => Finding::Inside(None),
    })
}

fn polys(
    expected: &Expectation,
    want: &Value,
    got: &Value,
    units: u64,
    primes: &[u64],
) -> Result<Finding, ConformError> {
    let name = &expected.name;
    let shape = |value: &Value| -> Result<Vec<Vec<Vec<u64>>>, SpecError> {
        let limb = |limb: &Value| limb.list(name)?.iter().map(|x| x.as_integer(name)).collect();
        let poly = |poly: &Value| poly.list(name)?.iter().map(limb).collect();
        value.list(name)?.iter().map(poly).collect()
    };
    let want = shape(want).map_err(|error| malformed(name, error))?;
    let got = match shape(got) {
        Ok(got) => got,
        Err(error) => return Ok(outside(error.to_string())),
    };
    let lengths = |polys: &[Vec<Vec<u64>>]| -> Vec<Vec<usize>> {
        polys.iter().map(|poly| poly.iter().map(Vec::len).collect()).collect()
    };
    if lengths(&want) != lengths(&got) {
        return Ok(outside(format!("shape: expected {:?}, got {:?}", lengths(&want), lengths(&got))));
    }
    for (p, (want, got)) in want.iter().zip(&got).enumerate() {
        for (l, (want, got)) in want.iter().zip(got).enumerate() {
            let off = |(a, b): (&u64, &u64)| {
                let distance = a.abs_diff(*b);
                let around = primes.get(l).map_or(u64::MAX, |q| q.saturating_sub(distance));
                distance.min(around) > units
            };
            if let Some(t) = want.iter().zip(got).position(off) {
                let place = format!("polynomial {p}, limb {l}, coefficient {t}: expected {}, got {}", want[t], got[t]);
                return Ok(outside(place));
            }
        }
    }
    Ok(Finding::Inside(None))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn logits(mid: &[f64], bound: f64) -> Expectation {
        let bound = Bound { rule: "vector.bound.circuit".into(), total: HexFloat(bound), terms: BTreeMap::new() };
        let value = Value::certified(mid, &vec![0.0; mid.len()]);
        Expectation { name: "logits".into(), value, bound: Some(bound) }
    }

    /// r[conform.token]
    #[test]
    fn a_decision_is_passed_failed_or_undecided() {
        let decided = logits(&[0.0, 1.0, 0.5], 0.125);
        let verdict = |expected: &Expectation, got: &[f64]| decide(expected, "1", &Value::reals(got)).unwrap().0;
        assert_eq!(verdict(&decided, &[0.0, 1.0, 0.5]), Verdict::Pass);
        assert_eq!(verdict(&decided, &[1.0, 0.0, 0.5]), Verdict::Fail, "flipped");
        assert_eq!(verdict(&decided, &[0.0, f64::NAN, 0.5]), Verdict::Fail);
        assert_eq!(verdict(&decided, &[0.0, 1.0]), Verdict::Fail, "an entry is missing");
        let close = logits(&[0.0, 1.0, 0.9], 0.125);
        assert_eq!(verdict(&close, &[0.0, 1.0, 0.9]), Verdict::Undecided);
        assert_eq!(verdict(&close, &[0.0, 0.9, 1.0]), Verdict::Undecided);
        assert!(decide(&decided, "0", &Value::reals(&[0.0, 1.0, 0.5])).is_err(), "a vector that contradicts itself");
    }
}
