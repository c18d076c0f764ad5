//! The record of an error budget (`r[record.budget]`): what it holds, its table, its file.

use super::super::side;
use super::Request;
use crate::ConformError;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

/// Format name of the record.
const FORMAT: &str = "touchstone-budget-1";

/// Sizes of errors over entries and prompts.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Size {
    /// Largest absolute value.
    pub max: f64,
    /// Root mean square.
    pub rms: f64,
}

/// One tap over all prompts.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct TapBudget {
    /// Tap name.
    pub name: String,
    /// Entries compared.
    pub values: usize,
    /// R1 - R0: what the polynomials cost.
    pub approximation: Size,
    /// Predicted deviations of R4 - R1 (`r[noise.rss]`).
    pub predicted: Size,
    /// R4 - R1: noise and rounding, as decrypted.
    pub measured: Size,
    /// Entries whose error exceeds the slot bound on their predicted deviation.
    pub outside: usize,
}

/// One prompt.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PromptBudget {
    /// Number of tokens.
    pub tokens: usize,
    /// Whether it was compared at every tap.
    pub tapped: bool,
    /// Largest error of a logit against R1.
    pub max_error: f64,
    /// Mean square error of the logits against R1.
    pub mse: f64,
    /// Difference between the two largest logits of R1.
    pub margin: f64,
    /// Whether R1 and the encrypted run predict the same token.
    pub same_token: bool,
    /// Largest part of a slot that entered a bootstrap; at most 1 (`r[boot.input]`).
    pub largest_bootstrapped: f64,
    /// Seconds of the encrypted run, decryptions included.
    pub seconds: f64,
}

impl std::fmt::Display for PromptBudget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { tokens, max_error, margin, seconds, .. } = self;
        let token = if self.same_token { "same token" } else { "another token" };
        write!(f, "{tokens} tokens, {token}, largest error {max_error:.2e}, margin {margin:.2e}, {seconds:.0} s")
    }
}

/// The record (`r[record.budget]`).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Budget {
    /// `touchstone-budget-1`.
    pub format: String,
    /// Model directory.
    pub model: String,
    /// Parameter preset.
    pub preset: String,
    /// SHA-256 of the text from which the prompts are cut.
    pub text_sha256: String,
    /// Facts of the run.
    pub facts: BTreeMap<String, String>,
    /// Standard deviations in a bound.
    pub factor: f64,
    /// Prompts with an input outside its certified interval, or a bootstrapped slot beyond 1.
    pub escapes: usize,
    /// Those with an input outside its certified interval, which are not run.
    pub escaped: usize,
    /// Prompts that were run.
    pub prompts: Vec<PromptBudget>,
    /// Taps in the order of the graph.
    pub taps: Vec<TapBudget>,
}

impl Budget {
    /// A record of no prompts.
    ///
    /// # Errors
    /// [`ConformError::Side`] if the text cannot be read.
    pub fn new(request: &Request) -> Result<Self, ConformError> {
        let text = std::fs::read(&request.text).map_err(|error| side("reference", request.text.display(), error))?;
        Ok(Self {
            format: FORMAT.to_owned(),
            model: request.model.display().to_string(),
            preset: request.preset.clone(),
            text_sha256: Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect(),
            facts: BTreeMap::new(),
            factor: 0.0,
            escapes: 0,
            escaped: 0,
            prompts: Vec::new(),
            taps: Vec::new(),
        })
    }

    /// Prompts that were looked at.
    #[must_use]
    pub fn done(&self) -> usize {
        self.prompts.len() + self.escaped
    }

    /// Entries outside their bounds, over all taps.
    #[must_use]
    pub fn outside(&self) -> usize {
        self.taps.iter().map(|tap| tap.outside).sum()
    }

    /// Prompts whose predicted token is the polynomial model's.
    #[must_use]
    pub fn same(&self) -> usize {
        self.prompts.iter().filter(|prompt| prompt.same_token).count()
    }

    /// A table of the taps and one line on the prompts.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(
            out,
            "{:<38} {:>9} | {:>9} {:>9} | {:>9} {:>9} {:>9} | {:>7}",
            "tap", "values", "R1-R0 rms", "max", "predicted", "R4-R1 rms", "max", "outside"
        );
        for tap in &self.taps {
            let _ = writeln!(
                out,
                "{:<38} {:>9} | {:>9.2e} {:>9.2e} | {:>9.2e} {:>9.2e} {:>9.2e} | {:>7}",
                tap.name,
                tap.values,
                tap.approximation.rms,
                tap.approximation.max,
                tap.predicted.rms,
                tap.measured.rms,
                tap.measured.max,
                tap.outside
            );
        }
        let count = self.prompts.len();
        let mean = self.prompts.iter().map(|prompt| prompt.mse).sum::<f64>() / count.max(1) as f64;
        let most = self.prompts.iter().map(|prompt| prompt.max_error).fold(0.0, f64::max);
        let _ = writeln!(
            out,
            "{count} prompts: same token on {}, largest error of a logit {most:.2e}, mean square {mean:.2e}, {} escapes, \
             {} values outside {:.1} predicted deviations",
            self.same(),
            self.escapes,
            self.outside(),
            self.factor
        );
        out
    }
}

impl Size {
    /// Adds values to the sizes of `before` others.
    pub(super) fn include(&mut self, before: usize, values: &[f64]) {
        let squares = self.rms * self.rms * before as f64 + values.iter().map(|x| x * x).sum::<f64>();
        self.rms = (squares / (before + values.len()).max(1) as f64).sqrt();
        self.max = values.iter().copied().fold(self.max, f64::max);
    }
}

/// Reads the record of an earlier run of the same request with fewer prompts, or starts one where there is no file.
///
/// # Errors
/// [`ConformError::Side`] for a file that cannot be read, is no record, or is one of another model, preset or text.
pub fn resume(request: &Request, path: &Path) -> Result<Budget, ConformError> {
    let fail = |message: String| side("optimized", path.display(), message);
    let fresh = Budget::new(request)?;
    if !path.exists() {
        return Ok(fresh);
    }
    let text = std::fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
    let budget: Budget = serde_json::from_str(&text).map_err(|error| fail(format!("not a record: {error}")))?;
    let header = |b: &Budget| [b.format.clone(), b.model.clone(), b.preset.clone(), b.text_sha256.clone()];
    match (header(&fresh), header(&budget)) {
        (expected, got) if expected != got => Err(fail(format!("expected a record of {expected:?}, got {got:?}"))),
        _ => Ok(budget),
    }
}

/// Writes the record, the earlier one staying in place until the new one is whole.
///
/// # Errors
/// [`ConformError::Side`] if the file cannot be written.
pub fn write(budget: &Budget, path: &Path) -> Result<(), ConformError> {
    let fail = |error: &dyn std::fmt::Display| side("optimized", path.display(), error);
    let text = serde_json::to_string_pretty(budget).map_err(|error| fail(&error))?;
    let part = path.with_extension("part");
    std::fs::write(&part, text + "\n").map_err(|error| fail(&error))?;
    std::fs::rename(&part, path).map_err(|error| fail(&error))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A request for prompts of a text in a folder of its own.
    pub fn request() -> (tempfile::TempDir, Request) {
        let folder = tempfile::tempdir().unwrap();
        let text = folder.path().join("text");
        std::fs::write(&text, "once upon a time").unwrap();
        (folder, Request { model: "MODEL".into(), preset: "toy-n5".to_owned(), text, prompts: 2, tapped: 1, seed: 1 })
    }

    /// `r[record.budget]`: a record goes on where it ended, and only with the request that it was made for.
    #[test]
    fn a_record_is_resumed_by_its_own_request() {
        let (folder, request) = request();
        let path = folder.path().join("record.json");
        assert_eq!(resume(&request, &path).unwrap().done(), 0);
        let mut budget = Budget::new(&request).unwrap();
        budget.escaped = 3;
        write(&budget, &path).unwrap();
        assert_eq!(resume(&request, &path).unwrap().done(), 3);
        let other = Request { preset: "toy-n8".to_owned(), ..request.clone() };
        let message = resume(&other, &path).unwrap_err().to_string();
        assert!(message.contains("toy-n8") && message.contains("toy-n5"), "{message}");
        std::fs::write(&request.text, "twice").unwrap();
        assert!(resume(&request, &path).is_err(), "another text under the same name");
        std::fs::write(&path, "{").unwrap();
        assert!(resume(&request, &path).unwrap_err().to_string().contains("not a record"));
    }

    #[test]
    fn sizes_of_parts_make_the_size_of_the_whole() {
        let (mut parts, mut whole) = (Size::default(), Size::default());
        parts.include(0, &[3.0]);
        parts.include(1, &[4.0, 0.0, 12.0]);
        whole.include(0, &[3.0, 4.0, 0.0, 12.0]);
        assert_eq!((parts.max, whole.max), (12.0, 12.0));
        assert!((parts.rms - 6.5).abs() < 1e-12 && (whole.rms - 6.5).abs() < 1e-12);
    }
}
