//! Reading vectors, side files included.

use crate::ConformError;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use touchstone_spec::hexfloat::HexFloat;
use touchstone_spec::vector::{Case, DataType, FileArray, Value, VectorFile};

/// All vector files below a directory, in the order of their paths; side files stay unread.
///
/// # Errors
/// [`ConformError::Vector`] for an unreadable or malformed file, or a directory without any.
pub fn load(directory: &Path) -> Result<Vec<VectorFile>, ConformError> {
    let mut paths = Vec::new();
    collect(directory, &mut paths)?;
    paths.sort();
    if paths.is_empty() {
        return Err(bad(directory, "holds no vectors"));
    }
    let read = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).map_err(|error| bad(path, error))?;
        VectorFile::from_json(&path.display().to_string(), &text).map_err(|error| bad(path, error))
    };
    paths.iter().map(read).collect()
}

fn collect(directory: &Path, paths: &mut Vec<PathBuf>) -> Result<(), ConformError> {
    for entry in std::fs::read_dir(directory).map_err(|error| bad(directory, error))? {
        let path = entry.map_err(|error| bad(directory, error))?.path();
        if path.is_dir() {
            collect(&path, paths)?;
        } else if path.extension().is_some_and(|extension| extension == "json") {
            paths.push(path);
        }
    }
    Ok(())
}

fn bad(path: &Path, message: impl ToString) -> ConformError {
    ConformError::Vector { what: path.display().to_string(), message: message.to_string() }
}

/// The case with its side files read in (`r[vector.side-file]`).
///
/// # Errors
/// [`ConformError::Vector`] for a file that is missing or is not the one that the case names.
pub fn with_side_files(directory: &Path, case: &Case) -> Result<Case, ConformError> {
    let mut case = case.clone();
    for value in case.call.inputs.values_mut() {
        inline(directory, value)?;
    }
    for expected in case.taps.iter_mut().chain(&mut case.outputs) {
        inline(directory, &mut expected.value)?;
    }
    Ok(case)
}

fn inline(directory: &Path, value: &mut Value) -> Result<(), ConformError> {
    match value {
        Value::File(array) => *value = read(directory, array)?,
        Value::Record(fields) => fields.values_mut().try_for_each(|field| inline(directory, field))?,
        Value::Text(_) | Value::List(_) | Value::Certified { .. } => (),
    }
    Ok(())
}

fn read(directory: &Path, array: &FileArray) -> Result<Value, ConformError> {
    let path = directory.join(&array.file);
    let bytes = std::fs::read(&path).map_err(|error| bad(&path, error))?;
    let hash: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    if hash != array.sha256 {
        return Err(bad(&path, format!("expected SHA-256 {}, got {hash}", array.sha256)));
    }
    let count = array.shape.iter().try_fold(8usize, |product, &length| product.checked_mul(length));
    if count != Some(bytes.len()) || bytes.is_empty() {
        return Err(bad(&path, format!("expected shape {:?}, got {} bytes", array.shape, bytes.len())));
    }
    let text = |word: &[u8]| {
        let word = u64::from_le_bytes(word.try_into().unwrap_or_default());
        match array.dtype {
            DataType::U64 => Value::integer(word),
            DataType::F64 => Value::Text(HexFloat(f64::from_bits(word)).to_string()),
        }
    };
    let mut level: Vec<Value> = bytes.chunks_exact(8).map(text).collect();
    for &length in array.shape.iter().skip(1).rev() {
        level = level.chunks(length).map(|chunk| Value::List(chunk.to_vec())).collect();
    }
    Ok(Value::List(level))
}
