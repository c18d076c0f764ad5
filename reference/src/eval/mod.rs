//! A calculator for porters: one operation on given numbers, with certified radius.
//!
//! Operations are those of the specification's real functions; no encryption is involved. A call is a
//! [`Call`] of the vector format, so that a case of a vector file can be evaluated as it stands.

mod decimal;
mod inputs;
mod operations;

pub use decimal::{Decimal, decimal};
pub use operations::OPERATIONS;

use crate::error::ReferenceError;
use crate::interval::Interval;
use touchstone_spec::vector::Call;

/// Precisions that [`evaluate`] admits, in bits.
pub const PRECISIONS: std::ops::RangeInclusive<u32> = 24..=4096;

/// The value of an operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Lengths, outermost first.
    pub shape: Vec<usize>,
    /// Entries in row-major order; all finite.
    pub values: Vec<Interval>,
}

/// Evaluates a call in interval arithmetic with ends of `precision` bits.
///
/// Reals are hexadecimal floats or decimal numbers, which are rounded to binary64; [`OPERATIONS`] lists the names.
///
/// # Errors
/// [`ReferenceError::BadInput`] naming the field that is missing, unknown or malformed, or the entry without a finite
/// value; what the operation itself refuses.
pub fn evaluate(call: &Call, precision: u32) -> Result<Answer, ReferenceError> {
    if !PRECISIONS.contains(&precision) {
        return Err(ReferenceError::BadInput {
            field: "precision".to_owned(),
            expected: format!("{} to {} bits", PRECISIONS.start(), PRECISIONS.end()),
            got: precision.to_string(),
        });
    }
    let answer = operations::run(call, precision)?;
    match answer.values.iter().position(|value| !value.is_finite()) {
        None => Ok(answer),
        Some(index) => Err(ReferenceError::BadInput {
            field: format!("{}, entry {index} of the result", call.op),
            expected: "inputs where the function has a finite value".to_owned(),
            got: answer.values[index].to_string(),
        }),
    }
}
