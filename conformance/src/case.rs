//! What a case is.

use crate::ConformError;
use std::collections::BTreeMap;
use std::path::PathBuf;
use touchstone_spec::record::{TapRecord, Verdict};

/// What the user can choose for a run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Draws per scheme case.
    pub draws: usize,
    /// 128-bit seed of all draws.
    pub seed: u128,
    /// Model directory for model cases.
    pub model: PathBuf,
    /// Text from which held-out prompts are cut.
    pub prompts_file: Option<PathBuf>,
    /// Number of held-out prompts.
    pub prompts: usize,
    /// The single prompt of the tap case.
    pub prompt: String,
}

/// How long a case takes, which decides whether a quick run selects it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// Seconds.
    Quick,
    /// Minutes: full-size parameters.
    Long,
}

/// What a case found out.
#[derive(Clone, Debug)]
pub struct CaseOutcome {
    /// Outcome.
    pub verdict: Verdict,
    /// One line: what was compared, or what went wrong.
    pub message: String,
    /// Number of independent draws or prompts.
    pub draws: usize,
    /// Taps of real-valued cases.
    pub taps: Vec<TapRecord>,
    /// Facts that are not errors.
    pub facts: BTreeMap<String, String>,
}

impl CaseOutcome {
    /// An outcome without taps.
    #[must_use]
    pub fn new(verdict: Verdict, message: String, draws: usize) -> Self {
        Self { verdict, message, draws, taps: Vec::new(), facts: BTreeMap::new() }
    }
}

type Run = Box<dyn Fn(&Options) -> Result<CaseOutcome, ConformError>>;

/// One case of the suite.
pub struct Case {
    /// Permanent slug.
    pub id: String,
    /// Id of the rule that it checks.
    pub rule: &'static str,
    /// What is compared with what.
    pub about: String,
    /// How long it takes.
    pub cost: Cost,
    run: Run,
}

impl Case {
    /// A case that `run` decides.
    pub fn new(
        id: String,
        rule: &'static str,
        about: String,
        cost: Cost,
        run: impl Fn(&Options) -> Result<CaseOutcome, ConformError> + 'static,
    ) -> Self {
        Self { id, rule, about, cost, run: Box::new(run) }
    }

    /// Runs the case.
    ///
    /// # Errors
    /// Whatever keeps the case from being decided.
    pub fn run(&self, options: &Options) -> Result<CaseOutcome, ConformError> {
        (self.run)(options)
    }
}
