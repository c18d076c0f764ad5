//! Errors of a plan: a worst case on noisy inputs, and the deviation that its own roundings cause.

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

/// Points on half the interval at which deviations are computed.
const DEVIATION_GRID: usize = 256;
/// Perturbation whose effect stands for a derivative.
const STEP: f64 = 1e-6;

impl Plan {
    /// The largest standard deviation over `[-1, 1]` of a slot of the result, for an exact input, when a step that ends `d` steps
    /// below the input has deviation `rescale(d)` and roundings are independent (`r[noise.rss]`).
    #[must_use]
    pub fn deviation(&self, rescale: impl Fn(usize) -> f64) -> f64 {
        let at = |k: usize| {
            let x = k as f64 / DEVIATION_GRID as f64;
            let mut deviations = Vec::new();
            let exact = self.perturbed(x, &mut |depth| {
                deviations.push(rescale(depth));
                0.0
            });
            let effect = |(source, deviation): (usize, &f64)| {
                let mut count = 0;
                let value = self.perturbed(x, &mut |_| {
                    count += 1;
                    if count == source + 1 { STEP } else { 0.0 }
                });
                ((value - exact) / STEP * deviation).powi(2)
            };
            deviations.iter().enumerate().map(effect).sum::<f64>()
        };
        // Errors at -x are those at x up to signs of odd powers, which squares do not see.
        (0..=DEVIATION_GRID).map(at).fold(0.0, f64::max).sqrt()
    }

    /// The value at `x` when `noise`, asked once per step in a fixed order for how far below the input the step ends, is added
    /// after each.
    fn perturbed(&self, x: f64, noise: &mut impl FnMut(usize) -> f64) -> f64 {
        let Some(root) = &self.root else { return self.constant };
        let mut values = BTreeMap::from([(1, x)]);
        for power in &self.powers {
            let level = depth_of(power.index) - 1;
            let mut factor = |index: usize| values[&index] + if depth_of(index) < level { noise(level) } else { 0.0 };
            let left = factor(power.left);
            let right = if power.left == power.right { left } else { factor(power.right) };
            let value = match (self.basis, power.left - power.right) {
                (Basis::Monomial, _) => left * right,
                (Basis::Chebyshev, 0) => 2.0 * left * right - 1.0,
                (Basis::Chebyshev, difference) => 2.0 * left * right - values[&difference],
            };
            values.insert(power.index, value + noise(level + 1));
        }
        root.perturbed(&values, noise)
    }
}

/// The error after an optional move to a lower level, which multiplies by a rounded 1 and rescales.
fn moved(error: f64, moves: bool, step: StepError) -> f64 {
    if moves { error + step.constant * (1.0 + error) + step.rescale } else { error }
}

impl Node {
    /// See [`Plan::perturbed`].
    fn perturbed(&self, values: &BTreeMap<usize, f64>, noise: &mut impl FnMut(usize) -> f64) -> f64 {
        let mut sum: f64 = self.terms.iter().map(|(index, c)| c * values[index]).sum();
        for (giant, child) in &self.products {
            let child = child.perturbed(values, noise);
            let moved = if depth_of(*giant) < self.depth { noise(self.depth) } else { 0.0 };
            sum += child * (values[giant] + moved);
        }
        sum + self.constant + noise(self.depth + 1)
    }

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
