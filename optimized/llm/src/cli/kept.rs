//! What `touchstone run --checkpoint` keeps besides checkpoints: the seed of keys and encryptions, which a resumed run must make again.

use super::files::private;
use super::hexadecimal;
use super::run::Run;
use anyhow::{Context as _, Result, ensure};
use std::io::Write;
use std::path::Path;
use touchstone_llm::checkpoint::Checkpoints;

/// In hexadecimal: whoever reads it can derive the secret key.
const SEED_FILE: &str = "client.seed";

/// The seed that a checkpointed run began with, or a new one, written so that only its owner may read it; of other runs the one given.
pub(super) fn seed(run: &Run) -> Result<Option<u128>> {
    let Some(directory) = &run.checkpoint else { return Ok(run.insecure_seed) };
    let (path, given) = (directory.join(SEED_FILE), run.insecure_seed);
    if path.exists() {
        let text = std::fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
        let kept = hexadecimal(text.trim())
            .map_err(|error| anyhow::anyhow!("{}: expected a seed in hexadecimal, got {error}", path.display()))?;
        ensure!(
            given.is_none_or(|given| given == kept),
            "--insecure-seed: expected the seed that {} began with",
            directory.display()
        );
        return Ok(Some(kept));
    }
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).context("randomness of the operating system")?;
    let seed = given.unwrap_or(u128::from_le_bytes(bytes));
    write(directory, &path, seed).with_context(|| format!("{}", path.display()))?;
    Ok(Some(seed))
}

fn write(directory: &Path, path: &Path, seed: u128) -> std::io::Result<()> {
    std::fs::create_dir_all(directory)?;
    // A kill must not leave half a seed under the name.
    let partial = directory.join("client.seed.partial");
    if partial.exists() {
        std::fs::remove_file(&partial)?;
    }
    let mut file = private().open(&partial)?;
    write!(file, "{seed:x}")?;
    file.sync_all()?;
    std::fs::rename(&partial, path)
}

/// Removes what a finished run kept.
pub(super) fn remove(run: &Run, checkpoints: &[Checkpoints]) -> Result<()> {
    checkpoints.iter().try_for_each(Checkpoints::remove)?;
    let seed = run.checkpoint.as_ref().map(|directory| directory.join(SEED_FILE));
    seed.map_or(Ok(()), |path| std::fs::remove_file(&path).with_context(|| format!("{}", path.display())))
}
