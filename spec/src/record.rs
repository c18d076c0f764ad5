//! The run record: what a conformance run writes, and the one source of every report (`r[record.form]`).
//!
//! Reals that are measurements are JSON numbers; nothing compares them. Values that are compared never pass through
//! a record.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version tag of a run record.
pub const RECORD_FORMAT: &str = "touchstone-run-1";

/// Where errors are made, between a tap of that part of a network and the taps before it (`r[noise.layer.fresh]`): the
/// names under which both sides break bounds down.
pub const ERROR_ORIGINS: [&str; 10] = [
    "stream",
    "layernorm",
    "query, key, value",
    "scores",
    "powers",
    "reciprocal",
    "weighted values",
    "output",
    "mlp",
    "head",
];

/// One conformance run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunRecord {
    /// [`RECORD_FORMAT`].
    pub format: String,
    /// Version of the conformance suite.
    pub suite: String,
    /// Backend under test, such as `touchstone-ckks avx2`.
    pub backend: String,
    /// Machine and build.
    pub environment: BTreeMap<String, String>,
    /// Seed of all draws, hexadecimal.
    pub seed: String,
    /// Results in the order in which the cases ran.
    pub cases: Vec<CaseRecord>,
    /// Number of cases by verdict.
    pub counts: BTreeMap<Verdict, usize>,
    /// Wall time in seconds.
    pub seconds: f64,
}

/// One case.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CaseRecord {
    /// Permanent slug, such as `scheme/rescale/toy-n5/avx2`.
    pub id: String,
    /// Outcome.
    pub verdict: Verdict,
    /// The rule that the case checks.
    pub rule: String,
    /// What was compared, or why the case failed or was skipped.
    pub message: String,
    /// Number of independent draws or prompts.
    pub draws: usize,
    /// Taps, for cases that compare real values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taps: Vec<TapRecord>,
    /// Facts of the run that are not errors: parameters, levels, memory.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, String>,
    /// Wall time in seconds.
    pub seconds: f64,
}

/// Errors at one tap, largest over its values (`r[record.tap]`).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct TapRecord {
    /// Name from `r[model.taps]`.
    pub name: String,
    /// Number of real values compared.
    pub values: usize,
    /// Largest magnitude of the R1 value.
    pub magnitude: f64,
    /// Largest certified radius of the R1 values.
    pub radius: f64,
    /// Largest difference of R0 and R1 midpoints.
    pub approximation: f64,
    /// Bound on it.
    pub approximation_bound: f64,
    /// Largest difference of the decrypted value and R1.
    pub encryption: f64,
    /// Root mean square of those differences.
    pub encryption_rms: f64,
    /// Where the largest ratio of error to bound occurs, as an index into the tap's values.
    pub worst_index: usize,
    /// Bound at that index (`r[noise.layer]`).
    pub encryption_bound: f64,
    /// Root-sum-square prediction (standard deviation) at that index; an estimate, not a bound.
    pub encryption_rss: f64,
    /// The bound by origin of the error, at that index.
    pub terms: BTreeMap<String, f64>,
    /// Bits between bound and error at that index.
    pub slack_bits: f64,
}

/// Outcome of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Everything inside its bound.
    Pass,
    /// Something outside its bound.
    Fail,
    /// A decision that the bound leaves open, such as a token whose margin is below it.
    Undecided,
    /// An input outside a polynomial's interval.
    Escape,
    /// Not run; never counts as a pass.
    Skip,
    /// The backend broke.
    Error,
}

impl Verdict {
    /// Lower-case name, as in records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Undecided => "undecided",
            Self::Escape => "escape",
            Self::Skip => "skip",
            Self::Error => "error",
        }
    }
}
