//! Checks of the suite as a whole (`r[vector.flags]`, `r[vector.retired]`).

use super::Suite;
use std::collections::{BTreeMap, HashSet};
use touchstone_spec::rules;
use touchstone_spec::vector::{Accept, Case, Expectation, Level, Value, VectorFile};

/// Everything that is wrong with a suite, one line each; `retired` holds one withdrawn id per line.
#[must_use]
pub fn lint(suite: &Suite, retired: &str) -> Vec<String> {
    let retired: HashSet<&str> = retired.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let rules: HashSet<&str> = rules::all().iter().map(|rule| rule.id).collect();
    let mut problems = Vec::new();
    let mut ids: BTreeMap<&str, &str> = BTreeMap::new();
    for file in &suite.documents {
        for case in file.cases() {
            if let Some(other) = ids.insert(&case.id, &file.name) {
                problems.push(format!("{}: the id is also in {other}", case.id));
            }
            if retired.contains(case.id.as_str()) {
                problems.push(format!("{}: the id was retired", case.id));
            }
            problems.extend(check_case(file, case, &rules).into_iter().map(|text| format!("{}: {text}", case.id)));
        }
        let used: HashSet<&String> = file.cases().flat_map(|case| &case.flags).collect();
        let unused = file.notes.keys().filter(|flag| !used.contains(flag));
        problems.extend(unused.map(|flag| format!("{}: note {flag} is not used", file.name)));
    }
    problems
}

fn check_case(file: &VectorFile, case: &Case, rules: &HashSet<&str>) -> Vec<String> {
    let mut problems = Vec::new();
    let slug = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-/^".contains(c);
    if case.id.is_empty() || !case.id.chars().all(slug) {
        problems.push("the id is not a slug".to_owned());
    }
    let mut cited = vec![case.rule.as_str()];
    let expectations: Vec<&Expectation> = case.taps.iter().chain(&case.outputs).collect();
    cited.extend(expectations.iter().filter_map(|expected| expected.bound.as_ref()).map(|bound| bound.rule.as_str()));
    if let Accept::Statistical { rule, .. } = &case.accept {
        cited.push(rule);
    }
    problems.extend(cited.iter().filter(|rule| !rules.contains(*rule)).map(|rule| format!("no rule r[{rule}]")));
    let unexplained = case.flags.iter().filter(|flag| !file.notes.contains_key(*flag));
    problems.extend(unexplained.map(|flag| format!("flag {flag} has no note")));
    let missing = case.encrypted.iter().filter(|name| !case.call.inputs.contains_key(*name));
    problems.extend(missing.map(|name| format!("encrypted input {name} does not exist")));
    problems.extend(check_acceptance(case, &expectations));
    if case.about.is_empty() {
        problems.push("nothing says what it is about".to_owned());
    }
    if matches!(file.level, Level::Circuit | Level::Model) && case.encrypted.is_empty() {
        problems.push("a case on ciphertexts encrypts nothing".to_owned());
    }
    problems
}

fn check_acceptance(case: &Case, expectations: &[&Expectation]) -> Vec<String> {
    let mut problems = Vec::new();
    let stores =
        matches!(case.accept, Accept::Exact | Accept::Units { .. } | Accept::Interval | Accept::Decision { .. });
    if stores == case.outputs.is_empty() {
        problems.push(format!("{} outputs under acceptance {}", case.outputs.len(), case.accept.name()));
    }
    if matches!(case.accept, Accept::Decision { .. }) && case.outputs.len() != 1 {
        problems.push("a decision is about one output".to_owned());
    }
    for expected in expectations {
        let certified = matches!(expected.value, Value::Certified { .. });
        if certified != expected.bound.is_some() {
            problems.push(format!("{}: a bound belongs to certified reals", expected.name));
        }
        if let Some(bound) = &expected.bound {
            let sum: f64 = bound.terms.values().map(|term| term.0).sum();
            if !(bound.total.0 > 0.0 && (sum - bound.total.0).abs() <= 1e-12 * sum) {
                problems.push(format!("{}: the terms do not add up to the bound", expected.name));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    /// r[vector.case], r[vector.flags], r[vector.retired]
    #[test]
    fn planted_mistakes_are_found() {
        let suite = crate::vectors::generate().unwrap();
        assert_eq!(lint(&suite, ""), Vec::<String>::new());
        let id = suite.documents[0].groups[0].cases[0].id.clone();
        assert!(lint(&suite, &id).iter().any(|problem| problem.contains("retired")));
        let planted = |edit: fn(&mut Case)| {
            let mut broken = Suite { documents: suite.documents.clone(), ..Suite::default() };
            edit(&mut broken.documents[0].groups[0].cases[1]);
            lint(&broken, "").len()
        };
        assert!(planted(|case| case.rule = "no.such.rule".to_owned()) > 0);
        assert!(planted(|case| case.flags.push("unexplained".to_owned())) > 0);
        assert!(planted(|case| case.id = "arith/modular/top-chain-prime".to_owned()) > 0);
        assert!(planted(|case| case.outputs.clear()) > 0);
        assert!(planted(|case| case.about.clear()) > 0);
        assert!(planted(|case| case.encrypted.push("ghost".to_owned())) > 0);
    }
}
