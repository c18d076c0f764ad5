//! The files of the suite, in memory.

use super::notes::note;
use crate::error::ReferenceError;
use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{self, Write};
use touchstone_spec::vector::{Case, DataType, FileArray, Group, Level, VECTOR_FORMAT, Value, VectorFile};

/// Vector files and their side files, by path relative to the vector directory.
#[derive(Debug, Default)]
pub struct Suite {
    /// Parsed form of the JSON files.
    pub documents: Vec<VectorFile>,
    /// Contents of all files.
    pub files: BTreeMap<String, Vec<u8>>,
}

impl Suite {
    /// Adds a file; its notes are those that its cases cite.
    ///
    /// # Errors
    /// [`ReferenceError::BadOperand`] for a flag without a note.
    pub(super) fn add(
        &mut self,
        level: Level,
        name: &str,
        preset: &str,
        groups: Vec<Group>,
    ) -> Result<(), ReferenceError> {
        let flags = groups.iter().flat_map(|group| &group.cases).flat_map(|case: &Case| &case.flags);
        let notes = flags.map(|flag| Ok((flag.clone(), note(flag)?))).collect::<Result<_, ReferenceError>>()?;
        let (format, name, preset) = (VECTOR_FORMAT.to_owned(), name.to_owned(), preset.to_owned());
        let document = VectorFile { format, name, level, preset, notes, groups };
        let path = format!("{}.{}.json", document.name, document.preset);
        self.files.insert(path, render(&document)?);
        self.documents.push(document);
        Ok(())
    }

    /// Puts integers into a side file and returns the reference to it.
    pub(super) fn side(&mut self, path: String, shape: Vec<usize>, values: impl Iterator<Item = u64>) -> Value {
        let bytes: Vec<u8> = values.flat_map(u64::to_le_bytes).collect();
        let sha256 = hex(&Sha256::digest(&bytes));
        self.files.insert(path.clone(), bytes);
        Value::File(FileArray { file: path, sha256, dtype: DataType::U64, shape })
    }

    /// Total size in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.files.values().map(Vec::len).sum()
    }
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn render(document: &VectorFile) -> Result<Vec<u8>, ReferenceError> {
    let mut bytes = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut bytes, Layout::default());
    document.serialize(&mut serializer).map_err(|error| ReferenceError::BadOperand {
        operation: "rendering of vectors",
        expected: "finite numbers".to_owned(),
        got: error.to_string(),
    })?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// One field per line, arrays on one line: differences stay readable and arrays do not fill pages.
#[derive(Default)]
struct Layout {
    depth: usize,
}

impl Formatter for Layout {
    fn begin_object<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth += 1;
        writer.write_all(b"{")
    }

    fn end_object<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        write!(writer, "\n{:1$}}}", "", self.depth)
    }

    fn begin_object_key<W: Write + ?Sized>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        write!(writer, "{}\n{:2$}", if first { "" } else { "," }, "", self.depth)
    }

    fn begin_object_value<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}
