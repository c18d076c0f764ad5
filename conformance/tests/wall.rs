//! The wall: `reference` and `optimized` never see each other, and inference links no GMP.
//!
//! A shared bug on both sides would make every comparison between them pass, so the two sides share names and data
//! (`touchstone-spec`) and no code of this project.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

const OPTIMIZED: [&str; 2] = ["touchstone-ckks", "touchstone-llm"];
const REFERENCE: &str = "touchstone-reference";
const REFERENCE_ONLY: [&str; 2] = ["rug", "gmp-mpfr-sys"];

/// Package name to the names of all packages that a build of it needs, development dependencies left out.
fn dependency_closures() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--all-features"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo metadata runs");
    assert!(output.status.success(), "cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let names: BTreeMap<&str, &str> =
        array(&metadata["packages"]).iter().map(|package| (text(&package["id"]), text(&package["name"]))).collect();
    let edges: BTreeMap<&str, Vec<&str>> =
        array(&metadata["resolve"]["nodes"]).iter().map(|node| (text(&node["id"]), built_dependencies(node))).collect();
    names.iter().map(|(id, name)| ((*name).to_owned(), closure(id, &edges, &names))).collect()
}

fn built_dependencies(node: &Value) -> Vec<&str> {
    array(&node["deps"])
        .iter()
        .filter(|dep| array(&dep["dep_kinds"]).iter().any(|kind| kind["kind"] != "dev"))
        .map(|dep| text(&dep["pkg"]))
        .collect()
}

fn closure(root: &str, edges: &BTreeMap<&str, Vec<&str>>, names: &BTreeMap<&str, &str>) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let mut stack = vec![root];
    while let Some(id) = stack.pop() {
        for dep in &edges[id] {
            if seen.insert(*dep) {
                stack.push(dep);
            }
        }
    }
    seen.iter().map(|id| names[id].to_owned()).collect()
}

fn array(value: &Value) -> &[Value] {
    value.as_array().expect("an array in cargo metadata")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string in cargo metadata")
}

#[test]
fn the_two_sides_do_not_see_each_other() {
    let closures = dependency_closures();
    for name in OPTIMIZED {
        assert!(!closures[name].contains(REFERENCE), "{name} depends on {REFERENCE}");
        assert!(!closures[REFERENCE].contains(name), "{REFERENCE} depends on {name}");
    }
    // The check must be able to see an edge: conformance depends on both sides by design.
    let conformance = &closures["touchstone-conformance"];
    assert!(conformance.contains(REFERENCE) && OPTIMIZED.iter().all(|name| conformance.contains(*name)));
}

#[test]
fn inference_links_no_gmp() {
    let closures = dependency_closures();
    for name in OPTIMIZED {
        for forbidden in REFERENCE_ONLY {
            assert!(!closures[name].contains(forbidden), "{name} needs {forbidden}");
        }
    }
    assert!(closures[REFERENCE].contains("gmp-mpfr-sys"));
}

#[test]
fn the_specification_needs_no_project_code() {
    let closures = dependency_closures();
    let own: Vec<&String> = closures["touchstone-spec"].iter().filter(|name| name.starts_with("touchstone")).collect();
    assert!(own.is_empty(), "touchstone-spec depends on {own:?}");
}
