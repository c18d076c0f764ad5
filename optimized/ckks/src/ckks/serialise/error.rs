//! What can be wrong with a serialised object.

use super::Kind;
use thiserror::Error;

/// Why bytes were refused; `offset` counts from the first byte of the header.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The bytes end too early.
    #[error("{what} at byte {offset}: expected {expected} bytes, got {got}")]
    Truncated {
        /// The field.
        what: &'static str,
        /// Where the field starts.
        offset: u64,
        /// Its length in bytes.
        expected: usize,
        /// The bytes that were there.
        got: usize,
    },
    /// There are bytes after the object (`r[format.length]`).
    #[error("expected the end at byte {offset}, got more bytes")]
    Trailing {
        /// Where the object ends.
        offset: u64,
    },
    /// The first bytes are not those of a Touchstone file (`r[format.header]`).
    #[error("magic at byte 0: expected {expected:02x?}, got {got:02x?}")]
    Magic {
        /// The magic bytes.
        expected: [u8; 8],
        /// The bytes found.
        got: [u8; 8],
    },
    /// The format has a version that this crate does not read.
    #[error("version at byte {offset}: expected {expected}, got {got}")]
    Version {
        /// Where the version stands.
        offset: u64,
        /// The version that is read.
        expected: u32,
        /// The version found.
        got: u32,
    },
    /// The object is of another kind.
    #[error("kind at byte {offset}: expected {expected}, got {got}")]
    Kind {
        /// Where the kind stands.
        offset: u64,
        /// The kind asked for.
        expected: Kind,
        /// The kind found.
        got: Kind,
    },
    /// The object belongs to another parameter set.
    #[error("parameter fingerprint at byte {offset}: expected {expected}.., got {got}..")]
    Parameters {
        /// Where the fingerprint stands.
        offset: u64,
        /// First bytes of the context's fingerprint, in hexadecimal.
        expected: String,
        /// First bytes of the fingerprint found.
        got: String,
    },
    /// A length is not what the parameters and the fields before it imply (`r[format.length]`).
    #[error("{what} at byte {offset}: expected {expected}, got {got}")]
    Length {
        /// The field.
        what: &'static str,
        /// Where the field stands, or where the part that is too long starts.
        offset: u64,
        /// The length or limit.
        expected: u64,
        /// The length found.
        got: u64,
    },
    /// A field holds a value outside its range.
    #[error("{what} at byte {offset}: expected {expected}, got {got}")]
    Value {
        /// The field.
        what: &'static str,
        /// Where the field stands.
        offset: u64,
        /// Its range.
        expected: String,
        /// The value found.
        got: String,
    },
    /// Reading or writing failed.
    #[error("{what} at byte {offset}: {message}")]
    Io {
        /// The field.
        what: &'static str,
        /// Where the field starts.
        offset: u64,
        /// The system's message.
        message: String,
    },
}
