//! Errors composed through a network, from what is fresh at every tap (`r[noise.layer]`, `r[noise.worst-case]`, `r[noise.rss]`).
//!
//! Inputs are the reference's own values and weights and the fresh deviations that an implementation declares
//! (`r[noise.layer.fresh]`). Nothing of an implementation is run here.

mod composed;
mod entrywise;
mod slope;
mod spread;
#[cfg(test)]
mod tests;

pub use entrywise::Combination;
pub use spread::{ORIGINS, Parts};

use super::noise::slot_tail_factor;
use super::{Bound, Term};
use crate::error::ReferenceError;
use crate::model::{Affine, Matrix, Model, Norm};
use slope::Replacement;
use std::collections::BTreeMap;
use touchstone_spec::artifact::Polynomials;

/// Failure probability of all bounds of one run together (`r[noise.layer.bound]`): 2^-40.
pub const FAILURE: f64 = 1.0 / (1u64 << 40) as f64;

/// One number per value of every tap.
pub type Taps = BTreeMap<String, Vec<f64>>;

/// What composition reads.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// Weights.
    pub model: &'a Model,
    /// Replacements of the non-polynomial functions.
    pub polynomials: &'a Polynomials,
    /// Values of R1 at every tap of `r[model.taps]`.
    pub values: &'a Taps,
    /// Declared fresh standard deviations at every tap.
    pub fresh: &'a Taps,
}

/// Composed errors of a run.
#[derive(Clone, Debug)]
pub struct Composed {
    /// Rule by which errors were combined.
    pub rule: &'static str,
    /// Standard deviations in a bound (`r[noise.bound.slot]`); 1 where `taps` holds bounds.
    pub factor: f64,
    /// How the parts of a value combine.
    pub combination: Combination,
    taps: BTreeMap<String, Vec<Parts>>,
}

impl Composed {
    /// Names of the taps.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.taps.keys().map(String::as_str)
    }

    /// Bounds (for root-sum-square composition: deviations) of the values of a tap, each with its terms by origin.
    ///
    /// # Errors
    /// [`ReferenceError::BadOperand`] if there is no such tap.
    pub fn tap(&self, name: &str) -> Result<Vec<Bound>, ReferenceError> {
        let parts = self.taps.get(name).ok_or_else(|| missing("composed errors", name))?;
        Ok(parts.iter().map(|parts| self.bound(parts)).collect())
    }

    fn bound(&self, parts: &Parts) -> Bound {
        let terms = ORIGINS.iter().zip(parts.0).filter(|(_, size)| *size > 0.0);
        let terms: Vec<Term> = terms.map(|(name, size)| Term { name, value: self.factor * size }).collect();
        let total = self.combination.combine(terms.iter().map(|term| term.value));
        Bound { rule: self.rule, total, terms }
    }
}

/// Bounds by `r[noise.layer]`.
///
/// # Errors
/// [`ReferenceError::BadOperand`] if a tap or a site is missing, a tap has another length in `fresh`, or a fresh deviation is negative
/// or not finite.
pub fn compose(run: &Run<'_>) -> Result<Composed, ReferenceError> {
    run.check()?;
    let factor = run.factor()?;
    let taps = composed::compose(run, factor)?;
    Ok(Composed { rule: "noise.layer", factor, combination: Combination::WorstCase, taps })
}

/// Entry by entry, all errors of equal sign (`r[noise.worst-case]`) or all independent (`r[noise.rss]`).
///
/// In the worst case fresh errors enter with `D` deviations, so the result is a bound; otherwise it is a deviation and an
/// estimate.
///
/// # Errors
/// As [`compose`].
pub fn compose_entrywise(run: &Run<'_>, combination: Combination) -> Result<Composed, ReferenceError> {
    run.check()?;
    let (rule, factor) = match combination {
        Combination::WorstCase => ("noise.worst-case", run.factor()?),
        Combination::RootSumSquare => ("noise.rss", 1.0),
    };
    let taps = entrywise::compose(run, combination, factor)?;
    Ok(Composed { rule, factor: 1.0, combination, taps })
}

impl Run<'_> {
    /// `D` over all compared values.
    fn factor(&self) -> Result<f64, ReferenceError> {
        slot_tail_factor(FAILURE, self.values.values().map(Vec::len).sum())
    }

    fn check(&self) -> Result<(), ReferenceError> {
        for (name, values) in self.values {
            let fresh = self.fresh(name)?;
            let bad = |got: String| ReferenceError::BadOperand {
                operation: "declared fresh errors",
                expected: format!("{} finite deviations >= 0 at {name}", values.len()),
                got,
            };
            if fresh.len() != values.len() {
                return Err(bad(fresh.len().to_string()));
            }
            if let Some(x) = fresh.iter().find(|x| !(x.is_finite() && **x >= 0.0)) {
                return Err(bad(x.to_string()));
            }
        }
        Ok(())
    }

    fn values(&self, name: &str) -> Result<&[f64], ReferenceError> {
        self.values.get(name).map(Vec::as_slice).ok_or_else(|| missing("values", name))
    }

    fn fresh(&self, name: &str) -> Result<&[f64], ReferenceError> {
        self.fresh.get(name).map(Vec::as_slice).ok_or_else(|| missing("declared fresh errors", name))
    }

    fn fresh_of(&self, name: &str, origin: usize) -> Result<Vec<Parts>, ReferenceError> {
        Ok(self.fresh(name)?.iter().map(|&size| Parts::of(origin, size)).collect())
    }

    fn replacement(&self, site: &str) -> Result<Replacement, ReferenceError> {
        self.polynomials.site(site).map(Replacement::new).ok_or_else(|| missing("replacements", site))
    }

    fn width(&self) -> usize {
        self.model.config.hidden_size
    }

    /// Query, key or value rows of a layer with the LayerNorm's gain and offset folded in, heads side by side (`r[model.qkv]`).
    fn projection(&self, layer: usize, which: usize) -> Affine {
        let (weights, size) = (&self.model.layers[layer], self.model.config.head_size());
        let rows: Vec<usize> = (0..self.width()).map(|c| (3 * (c / size) + which) * size + c % size).collect();
        fold(&weights.query_key_value, &weights.attention_norm, rows)
    }

    /// The first MLP map with gain and offset folded in.
    fn up(&self, layer: usize) -> Affine {
        let weights = &self.model.layers[layer];
        fold(&weights.up, &weights.mlp_norm, 0..weights.up.weight.rows)
    }

    /// The LM head with the final LayerNorm's gain and offset folded in.
    fn head(&self) -> Affine {
        let head = Affine { weight: self.model.head.clone(), bias: vec![0.0; self.model.head.rows] };
        fold(&head, &self.model.final_norm, 0..self.model.head.rows)
    }
}

fn missing(operation: &'static str, name: &str) -> ReferenceError {
    ReferenceError::BadOperand { operation, expected: name.to_owned(), got: "nothing of that name".to_owned() }
}

/// The given rows of `W (gamma x + beta) + b` as a map of `x`.
fn fold(map: &Affine, norm: &Norm, rows: impl IntoIterator<Item = usize>) -> Affine {
    let (mut values, mut bias) = (Vec::new(), Vec::new());
    for i in rows {
        let row = map.weight.row(i);
        values.extend(row.iter().zip(&norm.gamma).map(|(w, g)| w * g));
        bias.push(map.bias[i] + row.iter().zip(&norm.beta).map(|(w, b)| w * b).sum::<f64>());
    }
    Affine { weight: Matrix { rows: bias.len(), columns: map.weight.columns, values }, bias }
}

/// The matrix without the mean of each column: what centring the output does (`r[model.centred]`).
fn centred(matrix: &Matrix) -> Matrix {
    let mut out = matrix.clone();
    for j in 0..matrix.columns {
        let mean = (0..matrix.rows).map(|i| matrix.row(i)[j]).sum::<f64>() / matrix.rows as f64;
        (0..matrix.rows).for_each(|i| out.values[i * matrix.columns + j] -= mean);
    }
    out
}

/// Rows `range` of a matrix.
fn rows(matrix: &Matrix, range: std::ops::Range<usize>) -> Matrix {
    let columns = matrix.columns;
    let values = matrix.values[range.start * columns..range.end * columns].to_vec();
    Matrix { rows: range.len(), columns, values }
}

fn inner(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// The channel with which rotary embedding mixes channel `c` of heads of `size` (`r[model.rotary]`).
fn partner(c: usize, size: usize, rotary: usize) -> Option<usize> {
    let at = c % size;
    (at < rotary).then(|| if at < rotary / 2 { c + rotary / 2 } else { c - rotary / 2 })
}
