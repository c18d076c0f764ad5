//! `conform rules`: which rules of the book are checked by what.

use crate::coverage::{Coverage, Rule};
use std::fmt::Write;

/// One line per rule with what cites it, then those that nothing cites.
#[must_use]
pub fn text(coverage: &Coverage) -> String {
    let mut out = String::new();
    for rule in &coverage.rules {
        let _ = writeln!(out, "{:<34} {}", rule.id, citations(rule));
    }
    let uncovered: Vec<&Rule> = coverage.uncovered().collect();
    let _ = writeln!(out, "\n{} rules, {} without a citation:", coverage.rules.len(), uncovered.len());
    for rule in uncovered {
        let reason = coverage.accepted.get(&rule.id).map_or("NOT LISTED in uncovered.toml", String::as_str);
        let _ = writeln!(out, "  {:<32} {reason}", rule.id);
    }
    for id in coverage.stale() {
        let _ = writeln!(out, "listed in uncovered.toml, but covered or not a rule: {id}");
    }
    out
}

fn citations(rule: &Rule) -> String {
    let [vectors, cases, tests, bounds] =
        [&rule.vectors, &rule.cases, &rule.tests, &rule.bounds].map(std::collections::BTreeSet::len);
    format!("{vectors:>4} vectors {cases:>4} cases {tests:>4} tests {bounds:>4} bound functions")
}
