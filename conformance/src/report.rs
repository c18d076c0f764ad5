//! Text printed from a run record.

use std::fmt::Write;
use touchstone_spec::record::{CaseRecord, RunRecord, TapRecord, Verdict};
use touchstone_spec::rules;

/// Slack above which a bound says little (`r[conform.slack]`).
const UNINFORMATIVE_BITS: f64 = 20.0;

/// The end of a run: tap tables, then everything that did not pass, then one line of counts.
#[must_use]
pub fn text(record: &RunRecord) -> String {
    let mut out = String::new();
    for case in &record.cases {
        if !case.taps.is_empty() {
            tap_table(&mut out, case);
        }
    }
    for case in record.cases.iter().filter(|case| case.verdict != Verdict::Pass) {
        failure(&mut out, record, case);
    }
    let counts: Vec<String> = record.counts.iter().map(|(verdict, n)| format!("{n} {}", verdict.name())).collect();
    let worst = record.cases.iter().flat_map(|case| &case.taps).map(|tap| tap.slack_bits).fold(f64::INFINITY, f64::min);
    let slack = if worst.is_finite() { format!(", least slack {worst:.1} bits") } else { String::new() };
    let _ = writeln!(out, "{}{slack}, {:.1} s", counts.join(", "), record.seconds);
    out
}

/// Errors as powers of two: what they are compared by.
fn bits(value: f64) -> String {
    if value == 0.0 { "0".to_owned() } else { format!("2^{:.1}", value.log2()) }
}

fn tap_table(out: &mut String, case: &CaseRecord) {
    let _ = writeln!(out, "\n{}", case.id);
    for (key, value) in &case.facts {
        let _ = writeln!(out, "  {key}: {value}");
    }
    let _ = writeln!(
        out,
        "  {:<36} {:>7} {:>8} {:>8} | {:>8} {:>8} | {:>8} {:>8} {:>8} {:>8} {:>6}",
        "tap", "values", "|value|", "radius", "R1-R0", "bound", "R4-R1", "rms", "rss", "bound", "slack"
    );
    for tap in &case.taps {
        tap_row(out, tap);
    }
}

fn tap_row(out: &mut String, tap: &TapRecord) {
    let flag = if tap.slack_bits > UNINFORMATIVE_BITS { " bound uninformative" } else { "" };
    let _ = writeln!(
        out,
        "  {:<36} {:>7} {:>8.3} {:>8} | {:>8} {:>8} | {:>8} {:>8} {:>8} {:>8} {:>6.1}{flag}",
        tap.name,
        tap.values,
        tap.magnitude,
        bits(tap.radius),
        bits(tap.approximation),
        bits(tap.approximation_bound),
        bits(tap.encryption),
        bits(tap.encryption_rms),
        bits(tap.encryption_rss),
        bits(tap.encryption_bound),
        tap.slack_bits,
    );
    if !tap.terms.is_empty() {
        let terms: Vec<String> = tap.terms.iter().map(|(name, value)| format!("{name} {}", bits(*value))).collect();
        let _ = writeln!(out, "  {:<36} bound at value {}: {}", "", tap.worst_index, terms.join(" | "));
    }
}

fn failure(out: &mut String, record: &RunRecord, case: &CaseRecord) {
    let _ = writeln!(out, "\n{:<9} {}   {}", case.verdict.name().to_uppercase(), case.id, record.backend);
    let chapter = rules::find(&case.rule).map_or("", |rule| rule.chapter);
    let _ = writeln!(out, "  rule      r[{}]   spec/book/{chapter}", case.rule);
    let _ = writeln!(out, "  found     {}", case.message);
    let _ = writeln!(out, "  again     cargo conform run --case {} --seed {}", case.id, record.seed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn record(verdict: Verdict) -> RunRecord {
        let case = CaseRecord {
            id: "scheme/rescale/toy-n5/scalar".to_owned(),
            verdict,
            rule: "ckks.rescale".to_owned(),
            message: "limb 2, coefficient 7: expected 5, got 6".to_owned(),
            draws: 12,
            taps: vec![TapRecord { name: "logits".to_owned(), slack_bits: 25.0, ..TapRecord::default() }],
            facts: BTreeMap::new(),
            seconds: 0.1,
        };
        RunRecord {
            format: String::new(),
            suite: String::new(),
            backend: "engine".to_owned(),
            environment: BTreeMap::new(),
            seed: "7f".to_owned(),
            counts: BTreeMap::from([(verdict, 1)]),
            cases: vec![case],
            seconds: 0.1,
        }
    }

    #[test]
    fn a_failure_names_rule_place_and_command() {
        let text = text(&record(Verdict::Fail));
        for part in ["FAIL", "r[ckks.rescale]", "ckks.md", "coefficient 7", "--case scheme/rescale/toy-n5/scalar"] {
            assert!(text.contains(part), "{part:?} is missing from:\n{text}");
        }
    }

    #[test]
    fn a_pass_prints_its_counts_and_flags_loose_bounds() {
        let text = text(&record(Verdict::Pass));
        assert!(!text.contains("again") && text.contains("1 pass"), "{text}");
        assert!(text.contains("bound uninformative"), "{text}");
    }
}
