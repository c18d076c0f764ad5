//! Where the time of a run goes, as text or files.

use anyhow::{Context as _, Result};
use clap::Args;
use std::path::PathBuf;
use touchstone_ckks::instrument::Recording;
use touchstone_llm::profile::Profile;

/// Options of commands that compute.
#[derive(Debug, Args)]
pub struct ProfileOptions {
    /// Print time by node of the network and by primitive of CKKS, on standard error
    #[arg(long)]
    profile: bool,
    /// Write both breakdowns as JSON
    #[arg(long, value_name = "FILE")]
    profile_json: Option<PathBuf>,
    /// Write both breakdowns as a web page with charts
    #[arg(long, value_name = "FILE")]
    profile_html: Option<PathBuf>,
}

impl ProfileOptions {
    /// Lets the engine record while the result exists, if anything is to be reported.
    pub fn recording(&self) -> Option<Recording> {
        let wanted = self.profile || self.profile_json.is_some() || self.profile_html.is_some();
        wanted.then(Recording::start)
    }

    /// Whether a breakdown is printed.
    pub fn printed(&self) -> bool {
        self.profile
    }

    /// Prints and writes what was asked for.
    pub fn report(&self, title: &str, profile: &Profile) -> Result<()> {
        if self.profile {
            eprint!("{profile}");
        }
        if let Some(path) = &self.profile_json {
            std::fs::write(path, profile.to_json()?).with_context(|| format!("{}", path.display()))?;
        }
        if let Some(path) = &self.profile_html {
            std::fs::write(path, profile.to_html(title)).with_context(|| format!("{}", path.display()))?;
        }
        Ok(())
    }
}
