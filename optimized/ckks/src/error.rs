//! The error type of this crate.

use crate::arith::ArithError;
use crate::ckks::serialise::FormatError;
use crate::debug::Violation;
use thiserror::Error;

/// Why an operation was refused. No operation changes its inputs when it fails.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum CkksError {
    /// A parameter set breaks a rule of `r[ckks.ring]`, `r[ckks.scale.canonical]` or this engine's limits.
    #[error("{operation}: expected {expected}, got {got}")]
    Parameters {
        /// The check that failed.
        operation: &'static str,
        /// What the rule asks for.
        expected: String,
        /// What the set holds.
        got: String,
    },
    /// A parameter set without 128-bit security, or one whose claim is false (`r[ckks.params.security]`).
    #[error("{operation}: insecure parameters: expected {expected}, got {got}")]
    Insecure {
        /// The check that failed.
        operation: &'static str,
        /// What security asks for.
        expected: String,
        /// What the set holds.
        got: String,
    },
    /// A modulus, transform or kernel could not be prepared.
    #[error(transparent)]
    Arith(#[from] ArithError),
    /// The spec crate refused its data, for instance an unknown preset.
    #[error("{operation}: expected {expected}, got {got}")]
    Spec {
        /// What was read.
        operation: &'static str,
        /// What should have been there.
        expected: &'static str,
        /// The spec crate's message.
        got: String,
    },
    /// Operands, or an operand and an argument, have levels that do not fit (`r[ckks.scale.mismatch]`).
    #[error("{operation}: expected level {expected}, got {got}")]
    Level {
        /// The operation.
        operation: &'static str,
        /// The admissible level, or the upper end of the admissible range.
        expected: usize,
        /// The level found.
        got: usize,
    },
    /// The operation consumes more levels than the ciphertext has.
    #[error("{operation}: needs level {expected} or more, the ciphertext has level {got}")]
    LevelExhausted {
        /// The operation.
        operation: &'static str,
        /// The lowest level at which it works.
        expected: usize,
        /// The ciphertext's level.
        got: usize,
    },
    /// Operands have different scale labels (`r[ckks.scale.mismatch]`).
    #[error("{operation}: expected scale {expected:e}, got {got:e}")]
    Scale {
        /// The operation.
        operation: &'static str,
        /// The scale asked for.
        expected: f64,
        /// The scale found.
        got: f64,
    },
    /// The set of evaluation keys lacks a key.
    #[error("no key for {what} (needed at level {level})")]
    MissingKey {
        /// Such as `rotation by 3` or `relinearisation`.
        what: String,
        /// The level at which it was needed.
        level: usize,
    },
    /// A key was generated for lower levels only.
    #[error("the key for {what} reaches level {got}, needed at level {expected}")]
    KeyLevel {
        /// Such as `rotation by 3` or `relinearisation`.
        what: String,
        /// The level at which it was needed.
        expected: usize,
        /// The highest level the key serves.
        got: usize,
    },
    /// An object belongs to another parameter set.
    #[error("{operation}: made under parameter set {got}, expected {expected}")]
    Fingerprint {
        /// The operation.
        operation: &'static str,
        /// First bytes of the context's parameter fingerprint, in hexadecimal.
        expected: String,
        /// First bytes of the object's parameter fingerprint.
        got: String,
    },
    /// A vector has a wrong number of slots or coefficients.
    #[error("{operation}: expected {expected} values, got {got}")]
    Slots {
        /// The operation.
        operation: &'static str,
        /// The number asked for.
        expected: usize,
        /// The number found.
        got: usize,
    },
    /// A ciphertext has more (or fewer) polynomials than the operation takes.
    #[error("{operation}: expected a ciphertext of degree {expected}, got {got}")]
    Degree {
        /// The operation.
        operation: &'static str,
        /// The degree asked for.
        expected: usize,
        /// The degree found.
        got: usize,
    },
    /// An argument outside its range: a NaN, a constant or coefficient that is too large, an even Galois element.
    #[error("{operation}: expected {expected}, got {got}")]
    Argument {
        /// The operation.
        operation: &'static str,
        /// The admissible range.
        expected: &'static str,
        /// The value found.
        got: String,
    },
    /// Bytes that are not a serialised object of this crate, or a file that cannot be read or written.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A tap of a debug session saw what was not predicted.
    #[error("tap {tap}: {violation}")]
    Tap {
        /// Name of the tap.
        tap: String,
        /// What it saw.
        violation: Violation,
    },
    /// The operating system gave no randomness.
    #[error("{operation}: expected {expected}, got {got}")]
    Randomness {
        /// The call that failed.
        operation: &'static str,
        /// What was asked for.
        expected: &'static str,
        /// The system's message.
        got: String,
    },
}
