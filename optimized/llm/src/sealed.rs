//! Files that hold ciphertexts behind a header, whole or not at all: a line of JSON, a list of ciphertexts
//! (`r[format.ciphertexts]`), the SHA-256 of both.

use crate::error::{LlmError, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;
use touchstone_ckks::ckks::serialise::{read_ciphertexts, write_ciphertexts};
use touchstone_ckks::{Ciphertext, Context};

/// Name of a file that is being written.
pub(crate) const PARTIAL: &str = "partial";
/// Longest header that is read.
const MAX_HEADER_BYTES: u64 = 1 << 16;
const HASH_BYTES: u64 = 32;

/// Writes a file of a directory: it gets its name once all of it is durable.
pub(crate) fn write<H: Serialize>(
    (directory, path): (&Path, &Path),
    context: &Context,
    header: &H,
    ciphertexts: &[&Ciphertext],
) -> Result<()> {
    let partial = directory.join(PARTIAL);
    let mut out = BufWriter::new(File::create(&partial).map_err(LlmError::io(&partial))?);
    write_to(&mut out, (context, &partial), header, ciphertexts)?;
    let file = out.into_inner().map_err(|error| LlmError::io(&partial)(error.into_error()))?;
    file.sync_all().map_err(LlmError::io(&partial))?;
    std::fs::rename(&partial, path).map_err(LlmError::io(path))?;
    sync_directory(directory)
}

/// The bytes of a file; its name is for errors.
pub(crate) fn write_to<H: Serialize>(
    out: &mut impl Write,
    (context, path): (&Context, &Path),
    header: &H,
    ciphertexts: &[&Ciphertext],
) -> Result<()> {
    let header = serde_json::to_string(header).map_err(|error| LlmError::io(path)(error.into()))?;
    let mut out = Hashed { inner: out, hash: Sha256::new() };
    writeln!(out, "{header}").map_err(LlmError::io(path))?;
    write_ciphertexts(&mut out, context, ciphertexts)?;
    out.inner.write_all(&out.hash.finalize()).map_err(LlmError::io(path))
}

/// Reads the bytes of a file, whose hash is checked first, then the header, by `check`, and only then ciphertexts.
pub(crate) fn read<H: DeserializeOwned>(
    mut file: impl Read + Seek,
    (context, path): (&Context, &Path),
    what: &str,
    check: impl FnOnce(&H) -> Result<()>,
) -> Result<(H, Vec<Ciphertext>)> {
    let refuse = |operation: &str, expected: &str, got: &str| {
        let (operation, expected, got) = (operation.to_owned(), expected.to_owned(), got.to_owned());
        LlmError::File { file: path.display().to_string(), operation, expected, got }
    };
    let size = file.seek(SeekFrom::End(0)).map_err(LlmError::io(path))?;
    let body = size.checked_sub(HASH_BYTES).ok_or_else(|| refuse("size", what, &size.to_string()))?;
    file.rewind().map_err(LlmError::io(path))?;
    let hash = copy_hash(&mut (&mut file).take(body)).map_err(LlmError::io(path))?;
    let mut stored = [0; HASH_BYTES as usize];
    file.read_exact(&mut stored).map_err(LlmError::io(path))?;
    if hash != stored {
        return Err(refuse("hash", &hexadecimal(&stored), &hexadecimal(&hash)));
    }
    file.rewind().map_err(LlmError::io(path))?;
    let mut reader = BufReader::new(file).take(body);
    let mut line = String::new();
    (&mut reader).take(MAX_HEADER_BYTES).read_line(&mut line).map_err(LlmError::io(path))?;
    let header: H = serde_json::from_str(&line)
        .map_err(|error| refuse("header", &format!("the header of {what}"), &error.to_string()))?;
    check(&header)?;
    let ciphertexts = read_ciphertexts(reader, context)?;
    Ok((header, ciphertexts))
}

/// Makes names in a directory durable, where the system can.
fn sync_directory(path: &Path) -> Result<()> {
    if cfg!(unix) {
        File::open(path).and_then(|directory| directory.sync_all()).map_err(LlmError::io(path))?;
    }
    Ok(())
}

fn copy_hash(reader: &mut impl Read) -> std::io::Result<[u8; 32]> {
    let mut hash = Sha256Writer::default();
    std::io::copy(reader, &mut hash)?;
    Ok(hash.finish())
}

/// A writer that only hashes.
#[derive(Default)]
pub(crate) struct Sha256Writer(Sha256);

impl Sha256Writer {
    pub(crate) fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

impl Write for Sha256Writer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A writer that hashes what it passes on.
struct Hashed<W> {
    inner: W,
    hash: Sha256,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
