//! Error bounds as formulas: one function per rule of `spec/book/noise.md`, with the contribution of each cause.

pub mod components;
pub mod layer;
pub mod measure;
pub mod noise;
pub mod program;
pub mod secret;

/// A bound, or a predicted variance, with its break-down.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    /// Id of the rule that states the formula.
    pub rule: &'static str,
    /// The value of the formula.
    pub total: f64,
    /// What each cause contributes; the function says how they combine.
    pub terms: Vec<Term>,
}

/// The contribution of one cause.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Term {
    /// The cause.
    pub name: &'static str,
    /// Its contribution, in the unit of the bound.
    pub value: f64,
}

impl Bound {
    /// The bound that is the sum of its terms.
    #[must_use]
    pub fn sum(rule: &'static str, terms: &[(&'static str, f64)]) -> Self {
        let terms: Vec<Term> = terms.iter().map(|&(name, value)| Term { name, value }).collect();
        Self { rule, total: terms.iter().map(|term| term.value).sum(), terms }
    }

    /// The bound that is the root of the sum of the squares of its terms.
    #[must_use]
    pub fn root_sum_square(rule: &'static str, terms: &[(&'static str, f64)]) -> Self {
        let mut bound = Self::sum(rule, terms);
        bound.total = bound.terms.iter().map(|term| term.value * term.value).sum::<f64>().sqrt();
        bound
    }
}
