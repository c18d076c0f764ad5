//! `reference vectors`: writes the test vectors, or checks those of the repository.

use anyhow::{Context, bail};
use clap::Args;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use touchstone_reference::vectors::{Suite, catalogue, generate, lint};

/// Withdrawn ids; the only file of the directory that is written by hand.
const RETIRED: &str = "retired.txt";

/// Writes the vectors unless told to check.
#[derive(Args)]
pub struct Vectors {
    /// Vector directory.
    #[arg(long, default_value = "conformance/vectors")]
    directory: PathBuf,
    /// Regenerate into memory and fail where the directory differs.
    #[arg(long)]
    check: bool,
    /// Check ids, rules, flags and acceptances only.
    #[arg(long)]
    lint: bool,
}

pub fn run(arguments: &Vectors) -> anyhow::Result<()> {
    let directory = &arguments.directory;
    let retired = fs::read_to_string(directory.join(RETIRED)).unwrap_or_default();
    let suite = generate()?;
    let problems = lint(&suite, &retired);
    if !problems.is_empty() {
        bail!("{} problems:\n{}", problems.len(), problems.join("\n"));
    }
    if arguments.lint {
        println!("{} files without a problem", suite.documents.len());
        return Ok(());
    }
    let files = contents(suite);
    let differences = differences(directory, &files)?;
    if arguments.check {
        if !differences.is_empty() {
            bail!("the vectors in {} are not those of the generator:\n{}", directory.display(), differences.join("\n"));
        }
        println!("{} files are those of the generator", files.len());
        return Ok(());
    }
    for path in existing(directory)?.keys().filter(|path| !files.contains_key(*path)) {
        fs::remove_file(directory.join(path)).with_context(|| format!("removing {path}"))?;
    }
    for (path, bytes) in &files {
        let path = directory.join(path);
        fs::create_dir_all(path.parent().unwrap_or(directory)).context("creating the vector directory")?;
        fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))?;
    }
    let size: usize = files.values().map(Vec::len).sum();
    println!("{} files, {:.2} MB, {} changed", files.len(), size as f64 / 1e6, differences.len());
    Ok(())
}

/// All files of the directory but the hand-written one.
fn contents(suite: Suite) -> BTreeMap<String, Vec<u8>> {
    let table = catalogue(&suite);
    let mut files = suite.files;
    files.insert("CATALOGUE.md".to_owned(), table.into_bytes());
    files
}

/// What differs, one line per file.
fn differences(directory: &Path, files: &BTreeMap<String, Vec<u8>>) -> anyhow::Result<Vec<String>> {
    let present = existing(directory)?;
    let mut lines = Vec::new();
    for (path, bytes) in files {
        match present.get(path) {
            None => lines.push(format!("{path}: missing")),
            Some(found) if found != bytes => {
                let same = found.iter().zip(bytes).take_while(|(a, b)| a == b).count();
                let line = bytes[..same].iter().filter(|byte| **byte == b'\n').count() + 1;
                lines.push(format!("{path}: differs from byte {same} (line {line}) on"));
            }
            Some(_) => (),
        }
    }
    lines.extend(present.keys().filter(|path| !files.contains_key(*path)).map(|path| format!("{path}: not generated")));
    Ok(lines)
}

/// Files below the directory by relative path, without the hand-written one.
fn existing(directory: &Path) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(folder) = open.pop() {
        if !folder.exists() {
            continue;
        }
        for entry in fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let name = path.strip_prefix(directory)?.to_string_lossy().replace('\\', "/");
            if name != RETIRED {
                found.insert(name, fs::read(&path)?);
            }
        }
    }
    Ok(found)
}
