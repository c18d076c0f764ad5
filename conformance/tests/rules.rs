//! Every rule of the book is cited, or stands in `uncovered.toml` with a reason.

use std::path::Path;
use touchstone_conformance::coverage::Coverage;

#[test]
fn every_rule_is_cited_or_listed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let coverage = Coverage::of_repository(&root).unwrap();
    assert!(coverage.rules.len() > 50);
    assert_eq!(coverage.unlisted(), Vec::<&str>::new(), "cite these rules or list them in conformance/uncovered.toml");
    assert_eq!(coverage.stale(), Vec::<&str>::new(), "these are covered now, or no rules: take them off the list");
}
