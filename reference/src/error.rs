//! The one error type of the reference.

use std::sync::Arc;
use thiserror::Error;

/// Why the reference refuses to compute something.
#[derive(Debug, Error)]
pub enum ReferenceError {
    /// A parameter set that the specification does not admit (`r[ckks.ring]`, `r[ckks.params.security]`, `r[ckks.scale.canonical]`).
    #[error("parameters: {field}: expected {expected}, got {got}")]
    BadParameters {
        /// The offending field.
        field: &'static str,
        /// What is admitted.
        expected: String,
        /// What was found.
        got: String,
    },
    /// Operands of different level (`r[ckks.scale.mismatch]`).
    #[error("{operation}: expected an operand of level {expected}, got level {got}")]
    LevelMismatch {
        /// The operation that refuses.
        operation: &'static str,
        /// Level of the first operand, or the level that a key or table admits.
        expected: usize,
        /// Level of the second operand.
        got: usize,
    },
    /// An operation needs more levels than the ciphertext has left.
    #[error("{operation}: needs level {expected} or above, got level {got}")]
    LevelExhausted {
        /// The operation that refuses.
        operation: &'static str,
        /// Lowest admissible level.
        expected: usize,
        /// Level of the operand.
        got: usize,
    },
    /// Operands of different scale label (`r[ckks.scale.mismatch]`).
    #[error("{operation}: expected scale {expected:e}, got scale {got:e}")]
    ScaleMismatch {
        /// The operation that refuses.
        operation: &'static str,
        /// Label of the first operand.
        expected: f64,
        /// Label of the second operand.
        got: f64,
    },
    /// An operand of the wrong size or with an entry out of range.
    #[error("{operation}: expected {expected}, got {got}")]
    BadOperand {
        /// The operation that refuses.
        operation: &'static str,
        /// What is admitted.
        expected: String,
        /// What was found.
        got: String,
    },
    /// A field of a request that is missing, unknown or malformed.
    #[error("{field}: expected {expected}, got {got}")]
    BadInput {
        /// Path of the field.
        field: String,
        /// What is admitted.
        expected: String,
        /// What was found.
        got: String,
    },
    /// A key that the operation needs was not supplied (`r[ckks.key.galois]`).
    #[error("{operation}: expected a key for the automorphism X -> X^{expected}, got one with key id {got}")]
    WrongKey {
        /// The operation that refuses.
        operation: &'static str,
        /// Key id that is needed; 0 for relinearisation.
        expected: u32,
        /// Key id that was given.
        got: u32,
    },
    /// A circuit needs a key that was not supplied (`r[ckks.key.galois]`).
    #[error("{operation}: expected a key with id {key_id}, got none")]
    MissingKey {
        /// The circuit that refuses.
        operation: &'static str,
        /// Key id that is needed; 0 for relinearisation.
        key_id: u32,
    },
    /// A value that cannot be encoded (`r[ckks.encode]`, `r[ckks.scalar.mul]`).
    #[error("{operation}: expected {expected}, got {got}")]
    NotEncodable {
        /// The operation that refuses.
        operation: &'static str,
        /// What is admitted.
        expected: String,
        /// What was found.
        got: String,
    },
    /// A file of a model directory that does not hold what it must (`r[artifact.files]`, `r[artifact.limits]`).
    #[error("{file}, {what}: expected {expected}, got {got}")]
    BadFile {
        /// Name of the file.
        file: String,
        /// The offending tensor or field.
        what: String,
        /// What is admitted.
        expected: String,
        /// What was found.
        got: String,
    },
    /// A document that the specification refuses (`r[artifact.config]`, `r[artifact.polynomials]`).
    #[error(transparent)]
    Spec(#[from] touchstone_spec::SpecError),
    /// The first error met on the way to a number that was computed nonetheless.
    #[error(transparent)]
    Deferred(Arc<ReferenceError>),
    /// An input of a replaced function outside the interval on which the replacement is certified (`r[approx.certificate]`).
    #[error("{site}: expected an input within [{low}, {high}], got {got}")]
    Escape {
        /// Name of the site.
        site: String,
        /// Lower end of the certified interval.
        low: f64,
        /// Upper end of the certified interval.
        high: f64,
        /// The input.
        got: String,
    },
}

impl ReferenceError {
    /// The error itself, also where it was deferred.
    #[must_use]
    pub fn cause(&self) -> &Self {
        match self {
            Self::Deferred(first) => first.cause(),
            other => other,
        }
    }
}
