//! Runs selected cases and collects one record.

use crate::{Case, CaseOutcome, Options, Verdict};
use std::collections::BTreeMap;
use std::time::Instant;
use touchstone_spec::record::{CaseRecord, RECORD_FORMAT, RunRecord};

/// All cases, in the order in which a run takes them.
#[must_use]
pub fn all_cases() -> Vec<Case> {
    let mut cases = crate::scheme::cases();
    cases.extend(crate::programs::cases());
    cases.extend(crate::circuit::cases());
    cases.extend(crate::model::cases());
    cases
}

/// Runs `cases` in turn; `progress` is told each case's id before it starts and its record after it ended.
pub fn run(cases: &[Case], options: &Options, mut progress: impl FnMut(Progress<'_>)) -> RunRecord {
    let start = Instant::now();
    let mut records = Vec::with_capacity(cases.len());
    let mut counts = BTreeMap::new();
    for case in cases {
        progress(Progress::Start(&case.id));
        let record = run_one(case, options);
        progress(Progress::End(&record));
        *counts.entry(record.verdict).or_insert(0) += 1;
        records.push(record);
    }
    RunRecord {
        format: RECORD_FORMAT.to_owned(),
        suite: env!("CARGO_PKG_VERSION").to_owned(),
        backend: format!("touchstone-ckks {}", env!("CARGO_PKG_VERSION")),
        environment: environment(),
        seed: format!("{:032x}", options.seed),
        cases: records,
        counts,
        seconds: start.elapsed().as_secs_f64(),
    }
}

/// What [`run`] reports while it runs.
pub enum Progress<'a> {
    /// The case of this id starts.
    Start(&'a str),
    /// A case ended.
    End(&'a CaseRecord),
}

fn run_one(case: &Case, options: &Options) -> CaseRecord {
    let start = Instant::now();
    let outcome = case.run(options).unwrap_or_else(|error| CaseOutcome::new(Verdict::Error, error.to_string(), 0));
    CaseRecord {
        id: case.id.clone(),
        verdict: outcome.verdict,
        rule: case.rule.to_owned(),
        message: outcome.message,
        draws: outcome.draws,
        taps: outcome.taps,
        facts: outcome.facts,
        seconds: start.elapsed().as_secs_f64(),
    }
}

fn environment() -> BTreeMap<String, String> {
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get());
    let build = if cfg!(debug_assertions) { "debug assertions" } else { "release" };
    [
        ("arch", std::env::consts::ARCH.to_owned()),
        ("os", std::env::consts::OS.to_owned()),
        ("threads", threads.to_string()),
        ("build", build.to_owned()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

/// Exit code of a run: 0 conforms, 1 failed, 3 something broke, 4 nothing selected, 5 nothing decided (all skipped).
#[must_use]
pub fn exit_code(record: &RunRecord) -> u8 {
    let count = |verdict| record.counts.get(&verdict).copied().unwrap_or(0);
    if record.cases.is_empty() {
        4
    } else if count(Verdict::Error) > 0 {
        3
    } else if count(Verdict::Fail) + count(Verdict::Escape) > 0 {
        1
    } else if count(Verdict::Pass) == 0 {
        5
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ConformError;
    use crate::case::Cost;
    use std::collections::HashSet;

    fn options() -> Options {
        Options { draws: 1, seed: 1, model: "none".into(), prompts_file: None, prompts: 0, prompt: String::new() }
    }

    fn case(verdict: Option<Verdict>) -> Case {
        Case::new("planted".to_owned(), "conform.exact", String::new(), Cost::Quick, move |_| match verdict {
            Some(verdict) => Ok(CaseOutcome::new(verdict, String::new(), 1)),
            None => Err(ConformError::MissingTap { tap: "logits".to_owned(), side: "optimized" }),
        })
    }

    #[test]
    fn exit_codes_tell_failures_from_skips_and_breakage() {
        let code = |verdicts: &[Option<Verdict>]| {
            let cases: Vec<Case> = verdicts.iter().map(|verdict| case(*verdict)).collect();
            exit_code(&run(&cases, &options(), |_| ()))
        };
        let (pass, fail, skip) = (Some(Verdict::Pass), Some(Verdict::Fail), Some(Verdict::Skip));
        assert_eq!(code(&[pass, skip]), 0);
        assert_eq!(code(&[pass, fail]), 1);
        assert_eq!(code(&[pass, Some(Verdict::Escape)]), 1);
        assert_eq!(code(&[pass, None, fail]), 3);
        assert_eq!(code(&[]), 4);
        assert_eq!(code(&[skip, skip]), 5);
    }

    #[test]
    fn case_ids_are_unique_and_cite_stated_rules() {
        let mut seen = HashSet::new();
        for case in all_cases() {
            assert!(seen.insert(case.id.clone()), "{} is there twice", case.id);
            assert!(touchstone_spec::rules::find(case.rule).is_some(), "{} cites r[{}]", case.id, case.rule);
            assert!(!case.about.is_empty(), "{} does not say what it compares", case.id);
        }
    }
}
