//! Ids of the rules that tests, bounds and failure messages cite; the text of each stands in `spec/book`.

/// The chapters of the book, embedded so that a rule's text can be printed and its existence checked.
pub const CHAPTERS: [(&str, &str); 18] = [
    ("notation.md", include_str!("../book/notation.md")),
    ("conformance.md", include_str!("../book/conformance.md")),
    ("ckks.md", include_str!("../book/ckks.md")),
    ("circuits.md", include_str!("../book/circuits.md")),
    ("bootstrapping.md", include_str!("../book/bootstrapping.md")),
    ("format.md", include_str!("../book/format.md")),
    ("security.md", include_str!("../book/security.md")),
    ("power-softmax.md", include_str!("../book/power-softmax.md")),
    ("polynomial-functions.md", include_str!("../book/polynomial-functions.md")),
    ("graphs.md", include_str!("../book/graphs.md")),
    ("packing.md", include_str!("../book/packing.md")),
    ("generation.md", include_str!("../book/generation.md")),
    ("training.md", include_str!("../book/training.md")),
    ("rungs.md", include_str!("../book/rungs.md")),
    ("approximation.md", include_str!("../book/approximation.md")),
    ("noise.md", include_str!("../book/noise.md")),
    ("vectors.md", include_str!("../book/vectors.md")),
    ("protocol.md", include_str!("../book/protocol.md")),
];

/// A rule: its id, its chapter and its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Such as `ckks.rescale`.
    pub id: &'static str,
    /// File name of the chapter in `spec/book`.
    pub chapter: &'static str,
    /// The paragraph that states the rule, without its label.
    pub text: &'static str,
}

/// All rules in the order of the book: every paragraph that starts with `r[id]`.
#[must_use]
pub fn all() -> Vec<Rule> {
    let mut rules = Vec::new();
    for (chapter, body) in CHAPTERS {
        for paragraph in body.split("\n\n") {
            let labelled = paragraph.trim_start().strip_prefix("r[").and_then(|rest| rest.split_once(']'));
            if let Some((id, text)) = labelled {
                rules.push(Rule { id, chapter, text: text.trim() });
            }
        }
    }
    rules
}

/// The rule called `id`, if the book states it.
#[must_use]
pub fn find(id: &str) -> Option<Rule> {
    all().into_iter().find(|rule| rule.id == id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_are_unique_and_texts_are_not_empty() {
        let mut seen = HashSet::new();
        for rule in all() {
            assert!(seen.insert(rule.id), "rule {} is stated twice", rule.id);
            assert!(!rule.text.is_empty(), "rule {} has no text", rule.id);
        }
        assert!(seen.contains("ckks.rescale"));
    }

    #[test]
    fn every_reference_in_the_book_is_stated() {
        let ids: HashSet<&str> = all().iter().map(|rule| rule.id).collect();
        for (chapter, body) in CHAPTERS {
            for piece in body.split("`r[").skip(1) {
                let id = piece.split(']').next().unwrap_or_default();
                assert!(id == "..." || ids.contains(id), "{chapter} cites r[{id}], which no paragraph states");
            }
        }
    }
}
