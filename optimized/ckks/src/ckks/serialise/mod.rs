//! Files of keys and ciphertexts (`spec/book/format.md`, rules `r[format.*]`).
//!
//! Every object starts with a header that names its kind, its parameter set and its length. Readers take any bytes: they
//! check each length against the parameters before they allocate, refuse residues that are not canonical and bytes after
//! the end, and say in a [`FormatError`] which field at which byte was wrong. Polynomials are written in coefficient form, so that a file
//! does not depend on an implementation's transform. Uniform halves are written as the keys of their streams.
//!
//! The format has no checksum and no signature: a changed residue of a ciphertext or key is still a residue.

mod ciphertexts;
mod error;
mod keys;
#[cfg(test)]
mod tests;
mod wire;

pub use ciphertexts::{read_ciphertexts, write_ciphertexts, write_fresh_ciphertexts};
pub use error::FormatError;
pub use keys::{
    EvaluationKeyReader, EvaluationKeyWriter, read_evaluation_keys, read_public_key, read_secret_key,
    write_evaluation_keys, write_public_key, write_secret_key,
};

use super::context::Context;
use crate::CkksError;
use std::fmt;
use std::io::{Read, Write};
use wire::{Sink, Source};

/// First bytes of every object; the line ending shows transfers in text mode.
const MAGIC: [u8; 8] = *b"TSCKKS\r\n";
/// The version that is written and read.
const VERSION: u32 = 1;

/// Kinds of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A secret key.
    SecretKey,
    /// A public key.
    PublicKey,
    /// Key-switching keys.
    EvaluationKeys,
    /// A list of ciphertexts.
    Ciphertexts,
}

impl Kind {
    const ALL: [(u32, Self); 4] =
        [(1, Self::SecretKey), (2, Self::PublicKey), (3, Self::EvaluationKeys), (4, Self::Ciphertexts)];

    fn code(self) -> u32 {
        Self::ALL.iter().find(|(_, kind)| *kind == self).map_or(0, |(code, _)| *code)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SecretKey => "secret key",
            Self::PublicKey => "public key",
            Self::EvaluationKeys => "evaluation keys",
            Self::Ciphertexts => "ciphertexts",
        })
    }
}

/// What the first 56 bytes of an object say (`r[format.header]`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The kind of the object.
    pub kind: Kind,
    /// Fingerprint of its parameter set.
    pub fingerprint: [u8; 32],
    /// Bytes that follow the header.
    pub payload: u64,
}

/// Reads a header only, to learn what a file holds; nothing but the header is consumed.
///
/// # Errors
/// [`CkksError::Format`].
pub fn read_header<R: Read>(reader: R) -> Result<Header, CkksError> {
    Ok(header(&mut Source::new(reader))?)
}

fn header<R: Read>(source: &mut Source<R>) -> Result<Header, FormatError> {
    let magic = source.array("magic")?;
    if magic != MAGIC {
        return Err(FormatError::Magic { expected: MAGIC, got: magic });
    }
    let offset = source.offset();
    let version = source.u32("version")?;
    if version != VERSION {
        return Err(FormatError::Version { offset, expected: VERSION, got: version });
    }
    let offset = source.offset();
    let code = source.u32("kind")?;
    let kind = Kind::ALL.iter().find(|(known, _)| *known == code).map(|(_, kind)| *kind);
    let expected = "1, 2, 3 or 4".to_owned();
    let kind = kind.ok_or(FormatError::Value { what: "kind", offset, expected, got: code.to_string() })?;
    let fingerprint = source.array("parameter fingerprint")?;
    let payload = source.u64("payload length")?;
    Ok(Header { kind, fingerprint, payload })
}

/// Reads a header, which must be of this kind and parameter set; payload reads are limited to its length.
fn open<R: Read>(reader: R, context: &Context, expected: Kind) -> Result<Source<R>, FormatError> {
    let mut source = Source::new(reader);
    let header = header(&mut source)?;
    if header.kind != expected {
        return Err(FormatError::Kind { offset: 12, expected, got: header.kind });
    }
    let own = context.parameters().fingerprint();
    if header.fingerprint != own {
        let (expected, got) = (hex(&own), hex(&header.fingerprint));
        return Err(FormatError::Parameters { offset: 16, expected, got });
    }
    source.limit(header.payload);
    Ok(source)
}

/// Writes the header of an object with `payload` bytes.
fn begin<W: Write>(writer: W, context: &Context, kind: Kind, payload: u64) -> Result<Sink<W>, FormatError> {
    let mut sink = Sink::new(writer);
    sink.bytes("magic", &MAGIC)?;
    sink.u32("version", VERSION)?;
    sink.u32("kind", kind.code())?;
    sink.bytes("parameter fingerprint", &context.parameters().fingerprint())?;
    sink.bytes("payload length", &payload.to_le_bytes())?;
    Ok(sink)
}

fn hex(bytes: &[u8; 32]) -> String {
    bytes[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}
