//! Generator of the test vectors (`spec/book/vectors.md`).
//!
//! [`generate`] computes every file of the suite from the reference, in memory; a command writes them or compares them
//! with those in the repository. Everything follows from constants of this module, so that two runs give the same
//! bytes. Expected values are never typed in: they come from [`crate::ckks`], [`crate::interval`] and the graph, and
//! bounds from [`noise`].

mod arithmetic;
mod catalogue;
mod circuit;
mod lint;
mod model;
pub mod noise;
mod notes;
mod scheme;
mod suite;

use crate::error::ReferenceError;
pub use catalogue::catalogue;
pub use lint::lint;
pub use suite::Suite;

/// How far the certified radius of an expected value must be below its bound (`r[vector.radius]`).
pub const RADIUS_FACTOR: f64 = 1.0 / 256.0;

/// All vectors.
///
/// # Errors
/// What the reference refuses, and [`ReferenceError::BadOperand`] for a value whose radius is not far below its bound.
pub fn generate() -> Result<Suite, ReferenceError> {
    let mut suite = Suite::default();
    arithmetic::add(&mut suite)?;
    scheme::add(&mut suite)?;
    circuit::add(&mut suite)?;
    model::add(&mut suite)?;
    Ok(suite)
}
