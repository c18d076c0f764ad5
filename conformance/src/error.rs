//! Errors of the conformance suite.

use crate::metrics::Expected;
use thiserror::Error;

/// What can stop a case from being decided.
#[derive(Debug, Error)]
pub enum ConformError {
    /// Two sets of values cannot be compared because their lengths differ, or because there is nothing to compare.
    #[error("{what}: expected {expected} values, got {got}")]
    Length {
        /// Tap or case.
        what: String,
        /// Number of reference values.
        expected: usize,
        /// Number of values under test.
        got: usize,
    },
    /// A value is NaN or infinite, or a bound or radius is negative (`r[conform.nan]`).
    #[error("{what}, value {index}: expected {expected:?}, got {got}")]
    NotFinite {
        /// Tap or case.
        what: String,
        /// Index of the value.
        index: usize,
        /// The reference value and its allowance.
        expected: Expected,
        /// The value under test.
        got: f64,
    },
    /// A side of the comparison returned an error.
    #[error("{side}, {operation}: {message}")]
    Side {
        /// `reference` or `optimized`.
        side: &'static str,
        /// What was attempted.
        operation: String,
        /// The side's own message.
        message: String,
    },
    /// A tap that the case compares was not delivered by one side.
    #[error("tap {tap}: not delivered by {side}")]
    MissingTap {
        /// Name of the tap.
        tap: String,
        /// `reference` or `optimized`.
        side: &'static str,
    },
    /// A vector file or side file cannot be used (`r[vector.side-file]`).
    #[error("vectors, {what}: {message}")]
    Vector {
        /// File or case.
        what: String,
        /// What is wrong with it.
        message: String,
    },
    /// A backend broke (`r[protocol.broken]`).
    #[error("backend, {what}: {message}")]
    Broken {
        /// What it was asked for.
        what: String,
        /// What happened.
        message: String,
    },
}
