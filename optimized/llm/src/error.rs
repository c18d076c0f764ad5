//! The one error type of this crate: each variant names the operation or file, what was expected and what was found.

use std::path::PathBuf;
use thiserror::Error;

/// What can go wrong between a prompt and a decrypted token.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LlmError {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// A file breaks its format or a size limit (`r[artifact.limits]`).
    #[error("{file}: {operation}: expected {expected}, got {got}")]
    File {
        /// File name.
        file: String,
        /// What was being read.
        operation: String,
        /// What the format admits.
        expected: String,
        /// What was found.
        got: String,
    },
    /// A tensor is missing, has another shape or type than the configuration implies, or holds a NaN or infinity.
    #[error("{file}, tensor {tensor}: expected {expected}, got {got}")]
    Tensor {
        /// File name.
        file: String,
        /// Hugging Face tensor name.
        tensor: String,
        /// What the configuration implies.
        expected: String,
        /// What was found.
        got: String,
    },
    /// A configuration or polynomial file is not admitted by its format.
    #[error(transparent)]
    Spec(#[from] touchstone_spec::SpecError),
    /// The CKKS engine refused an operation.
    #[error(transparent)]
    Engine(#[from] touchstone_ckks::CkksError),
    /// The prompt cannot be run.
    #[error("prompt: expected {expected}, got {got}")]
    Prompt {
        /// What the model admits.
        expected: String,
        /// What was given.
        got: String,
    },
    /// The model does not fit the slots of the parameter set.
    #[error("packing, {operation}: expected {expected}, got {got}")]
    Packing {
        /// The condition that fails.
        operation: String,
        /// What the packing needs.
        expected: String,
        /// What model and parameters give.
        got: String,
    },
    /// An operation needs more levels than its operand has left.
    #[error("{operation}: out of levels: expected at least {expected}, got {got}")]
    Levels {
        /// The operation and its place in the circuit.
        operation: String,
        /// Level that the operand would need.
        expected: usize,
        /// Level that it has.
        got: usize,
    },
    /// Operands do not belong together.
    #[error("{operation}: expected {expected}, got {got}")]
    Operand {
        /// The operation.
        operation: String,
        /// What it needs.
        expected: String,
        /// What it was given.
        got: String,
    },
}

/// Shorthand for this crate's results.
pub type Result<T> = std::result::Result<T, LlmError>;

impl LlmError {
    /// Wraps an operating-system error with the file that it is about.
    pub fn io(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_owned(), source }
    }
}
