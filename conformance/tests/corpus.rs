//! The fuzz corpus through every reader, so that a regression shows without a fuzzer.

#[path = "../../fuzz/src/models.rs"]
mod models;
#[path = "../../fuzz/src/readers.rs"]
mod readers;

use std::path::{Path, PathBuf};

fn files(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// One test for all: memory is counted per process. Rules: `r[format.memory]`, `r[format.memory.text]`, `r[artifact.memory]`,
/// `r[artifact.limits]`, `r[artifact.config]`, `r[vector.file]`, `r[vector.group]`.
#[test]
fn every_reader_takes_its_corpus() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    for (name, check) in readers::ALL {
        let (mut accepted, mut refused) = (0, 0);
        for path in ["corpus", "regressions"].iter().flat_map(|kind| files(&root.join(kind).join(name))) {
            // Shown if the reader panics.
            println!("{}", path.display());
            *(if check(&std::fs::read(&path).unwrap()) { &mut accepted } else { &mut refused }) += 1;
        }
        assert!(
            accepted > 0 && refused > 0,
            "{name}: {accepted} accepted, {refused} refused; the corpus shows nothing"
        );
    }
}
