//! Rule coverage: every rule of the book is cited by a vector, a case, a test or a bound function, or listed with a reason.

use crate::case::Case;
use crate::{ConformError, runner, vectors};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use touchstone_spec::rules;
use touchstone_spec::vector::{Accept, VectorFile};

/// What cites a rule.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    /// Id of the rule.
    pub id: String,
    /// Vector cases that check it, or whose bounds or predictions follow from it.
    pub vectors: BTreeSet<String>,
    /// Cases of the suite.
    pub cases: BTreeSet<String>,
    /// Test sources that cite it as `r[id]`.
    pub tests: BTreeSet<String>,
    /// Sources of bound functions that return its id.
    pub bounds: BTreeSet<String>,
}

impl Rule {
    /// Whether anything cites it.
    #[must_use]
    pub fn is_covered(&self) -> bool {
        !(self.vectors.is_empty() && self.cases.is_empty() && self.tests.is_empty() && self.bounds.is_empty())
    }
}

/// Coverage of the whole book.
#[derive(Clone, Debug)]
pub struct Coverage {
    /// All rules in the order of the book.
    pub rules: Vec<Rule>,
    /// Rules that may stay without a citation, with the reason (`uncovered.toml`).
    pub accepted: BTreeMap<String, String>,
}

impl Coverage {
    /// Reads vectors, sources and the list of the repository at `root`.
    ///
    /// # Errors
    /// [`ConformError::Vector`] for unreadable vectors, sources or list.
    pub fn of_repository(root: &Path) -> Result<Self, ConformError> {
        let list = root.join("conformance/uncovered.toml");
        let text = std::fs::read_to_string(&list).map_err(|error| unreadable(&list, error))?;
        let files = vectors::load::load(&root.join("conformance/vectors"))?;
        Ok(Self::new(&files, &runner::all_cases(), &sources(root)?, accepted(&list, &text)?))
    }

    fn new(files: &[VectorFile], cases: &[Case], sources: &[Source], accepted: BTreeMap<String, String>) -> Self {
        let all = rules::all();
        let mut found: BTreeMap<&str, Rule> =
            all.iter().map(|rule| (rule.id, Rule { id: rule.id.to_owned(), ..Rule::default() })).collect();
        for case in files.iter().flat_map(VectorFile::cases) {
            let expectations = case.taps.iter().chain(&case.outputs);
            let mut cited: Vec<&str> = expectations.filter_map(|e| Some(e.bound.as_ref()?.rule.as_str())).collect();
            cited.push(&case.rule);
            if let Accept::Statistical { rule, .. } = &case.accept {
                cited.push(rule);
            }
            for rule in cited {
                if let Some(rule) = found.get_mut(rule) {
                    rule.vectors.insert(case.id.clone());
                }
            }
        }
        for case in cases {
            if let Some(rule) = found.get_mut(case.rule) {
                rule.cases.insert(case.id.clone());
            }
        }
        for source in sources {
            for rule in found.values_mut() {
                if source.tests.contains(&format!("r[{}]", rule.id)) {
                    rule.tests.insert(source.path.clone());
                }
                if source.is_bound && source.code.contains(&format!("\"{}\"", rule.id)) {
                    rule.bounds.insert(source.path.clone());
                }
            }
        }
        Self { rules: all.iter().filter_map(|rule| found.remove(rule.id)).collect(), accepted }
    }

    /// Rules that nothing cites.
    pub fn uncovered(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(|rule| !rule.is_covered())
    }

    /// Rules that nothing cites and nobody accepted.
    #[must_use]
    pub fn unlisted(&self) -> Vec<&str> {
        self.uncovered().map(|rule| rule.id.as_str()).filter(|id| !self.accepted.contains_key(*id)).collect()
    }

    /// Listed ids that are covered or are no rules.
    #[must_use]
    pub fn stale(&self) -> Vec<&str> {
        let open: BTreeSet<&str> = self.uncovered().map(|rule| rule.id.as_str()).collect();
        self.accepted.keys().map(String::as_str).filter(|id| !open.contains(id)).collect()
    }
}

/// One source file of the workspace.
struct Source {
    path: String,
    /// Code outside tests.
    code: String,
    /// Text of tests.
    tests: String,
    is_bound: bool,
}

fn unreadable(path: &Path, error: impl ToString) -> ConformError {
    ConformError::Vector { what: path.display().to_string(), message: error.to_string() }
}

/// Lines `"rule.id" = "reason"`; comments and blank lines are skipped.
fn accepted(path: &Path, text: &str) -> Result<BTreeMap<String, String>, ConformError> {
    let mut found = BTreeMap::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let pair =
            line.strip_prefix('"').and_then(|line| line.strip_suffix('"')).and_then(|line| line.split_once("\" = \""));
        match pair {
            Some((id, reason)) if !reason.is_empty() => found.insert(id.to_owned(), reason.to_owned()),
            _ => return Err(unreadable(path, format!("expected \"rule\" = \"reason\", got {line}"))),
        };
    }
    Ok(found)
}

/// All Rust sources of the crates below `root`.
fn sources(root: &Path) -> Result<Vec<Source>, ConformError> {
    let mut files = Vec::new();
    for crate_directory in ["spec", "reference", "optimized", "conformance"] {
        for part in ["src", "tests"] {
            for directory in
                [root.join(crate_directory).join(part)].into_iter().chain(nested(root, crate_directory, part))
            {
                collect(&directory, &mut files)?;
            }
        }
    }
    files.into_iter().map(|path| read(root, path)).collect()
}

/// Crates one directory further down, such as `optimized/ckks`.
fn nested(root: &Path, parent: &str, part: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root.join(parent)).into_iter().flatten().flatten();
    let crates = entries.map(|entry| entry.path()).filter(|path| path.join("Cargo.toml").exists());
    crates.map(|path| path.join(part)).collect()
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> Result<(), ConformError> {
    if !directory.exists() {
        return Ok(());
    }
    for entry in std::fs::read_dir(directory).map_err(|error| unreadable(directory, error))? {
        let path = entry.map_err(|error| unreadable(directory, error))?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn read(root: &Path, path: PathBuf) -> Result<Source, ConformError> {
    let text = std::fs::read_to_string(&path).map_err(|error| unreadable(&path, error))?;
    let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
    let is_test =
        name.split('/').any(|part| part == "tests" || part.starts_with("tests.") || part.starts_with("tests_"));
    // By the order of the house, tests are the end of a file.
    let split = if is_test { 0 } else { text.find("#[cfg(test)]\nmod").unwrap_or(text.len()) };
    let (code, tests) = text.split_at(split);
    let is_bound = name.contains("/bounds/") || name.ends_with("noise.rs");
    Ok(Source { path: name, code: code.to_owned(), tests: tests.to_owned(), is_bound })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_citation_counts_and_its_absence_shows() {
        let source = Source {
            path: "planted".to_owned(),
            code: "Bound::sum(\"noise.add\", &[])".to_owned(),
            tests: "// r[ckks.add] holds".to_owned(),
            is_bound: true,
        };
        let coverage = Coverage::new(&[], &[], &[source], BTreeMap::from([("ckks.add".to_owned(), "why".to_owned())]));
        let rule = |id: &str| coverage.rules.iter().find(|rule| rule.id == id).unwrap();
        assert!(rule("ckks.add").is_covered() && rule("noise.add").is_covered() && !rule("ckks.mul").is_covered());
        assert!(coverage.unlisted().contains(&"ckks.mul"));
        assert_eq!(coverage.stale(), ["ckks.add"]);
    }

    #[test]
    fn the_list_is_read_strictly() {
        let read = |text: &str| accepted(Path::new("test"), text);
        assert_eq!(read("# why\n\"a.b\" = \"reason\"\n").unwrap().len(), 1);
        assert!(read("\"a.b\" = \"\"").is_err() && read("a.b").is_err());
    }
}
