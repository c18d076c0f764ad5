//! Names, parameters and data formats shared by every part of Touchstone.
//!
//! This crate is data and types only: it holds no arithmetic, so that the reference and the optimized
//! side share a contract and no code. The prose that gives the data its meaning is in `spec/book`.

pub mod artifact;
pub mod hexfloat;
pub mod params;
pub mod protocol;
pub mod record;
pub mod rules;
pub mod sampling;
pub mod vector;

use thiserror::Error;

/// What can be wrong with data that this crate reads.
#[derive(Debug, Error)]
pub enum SpecError {
    /// The text is not the JSON that the format asks for.
    #[error("{what}: not valid JSON for this format: {source}")]
    Json {
        /// Which document was read.
        what: String,
        /// The parser's own message, with line and column.
        source: serde_json::Error,
    },
    /// A hexadecimal float could not be read.
    #[error("{text:?} is not a hexadecimal float such as 0x1.8p+1")]
    HexFloat {
        /// The offending text.
        text: String,
    },
    /// A field has a value that the format does not admit.
    #[error("{what}: expected {expected}, got {got}")]
    Field {
        /// Document and field.
        what: String,
        /// What the format admits.
        expected: String,
        /// What was found.
        got: String,
    },
    /// There is no preset of that name.
    #[error("no parameter preset is called {name:?}; known: {known}")]
    UnknownPreset {
        /// The name asked for.
        name: String,
        /// The names that exist.
        known: String,
    },
}
