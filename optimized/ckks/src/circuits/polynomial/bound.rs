//! Worst-case error of a plan on noisy inputs.

use super::plan::{Node, depth_of};
use super::{Basis, Plan};
use crate::ckks::noise::StepError;
use std::collections::BTreeMap;

impl Plan {
    /// A bound on the slot error of the plan's result when the slots are within `input` of exact values in `[-1, 1]`
    /// (`r[noise.polynomial]`, `r[noise.mul]`).
    ///
    /// Every basis polynomial is at most 1 on `[-1, 1]`, every sum at most the sum of its absolute coefficients.
    #[must_use]
    pub fn error_bound(&self, input: f64, step: StepError) -> f64 {
        let Some(root) = &self.root else { return step.constant };
        let mut errors = BTreeMap::from([(1, input)]);
        for power in &self.powers {
            let level = depth_of(power.index) - 1;
            let left = moved(errors[&power.left], depth_of(power.left) < level, step);
            let right = moved(errors[&power.right], depth_of(power.right) < level, step);
            let product = left + right + left * right;
            let error = match (self.basis, power.left - power.right) {
                (Basis::Monomial, _) => product + step.rescale,
                (Basis::Chebyshev, 0) => 2.0 * product + step.rescale + step.constant,
                (Basis::Chebyshev, difference) => {
                    2.0 * product + errors[&difference] + step.constant * (1.0 + errors[&difference]) + step.rescale
                }
            };
            errors.insert(power.index, error);
        }
        root.error_bound(&errors, step).1
    }
}

/// The error after an optional move to a lower level, which multiplies by a rounded 1 and rescales.
fn moved(error: f64, moves: bool, step: StepError) -> f64 {
    if moves { error + step.constant * (1.0 + error) + step.rescale } else { error }
}

impl Node {
    /// A bound on the exact value on `[-1, 1]` and a bound on the error.
    fn error_bound(&self, errors: &BTreeMap<usize, f64>, step: StepError) -> (f64, f64) {
        let mut value = self.constant.abs();
        let mut error = step.rescale + step.constant;
        for (index, c) in &self.terms {
            value += c.abs();
            error += c.abs() * errors[index] + step.constant * (1.0 + errors[index]);
        }
        for (giant, child) in &self.products {
            let (child_value, child_error) = child.error_bound(errors, step);
            let giant = moved(errors[giant], depth_of(*giant) < self.depth, step);
            value += child_value;
            error += child_error + child_value * giant + child_error * giant;
        }
        (value, error)
    }
}
