//! Chebyshev sums on predicted slots, by the engine's own plan.
//!
//! Errors of the input and of the evaluation are treated apart (`r[noise.polynomial]`): pushing the input's error through
//! every product of the plan would multiply it by far more than the polynomial's derivative, because the products'
//! errors cancel.

use super::{Predicted, SlotCt};
use crate::error::{LlmError, Result};
use std::collections::BTreeMap;
use touchstone_ckks::circuits::polynomial::{Node, Plan, Polynomial, Power, depth_of};

pub(super) fn evaluate(backend: &Predicted, input: &SlotCt, coefficients: &[f64]) -> Result<SlotCt> {
    let polynomial = Polynomial::chebyshev(coefficients.to_vec()).map_err(LlmError::from)?;
    let plan = Plan::new(&polynomial);
    let exact = SlotCt::exact(input.values.clone(), input.level, input.scale);
    let mut run = Run { backend, top: input.level, powers: BTreeMap::from([(1, exact)]) };
    for power in plan.powers() {
        let value = run.power(power);
        run.powers.insert(power.index, value);
    }
    let mut out = match plan.root() {
        Some(root) => run.value(root),
        None => backend.plus_const(&run.powers[&1].times_exact(0.0), plan.constant()),
    };
    add_input_error(&mut out, input, coefficients);
    Ok(out)
}

/// Adds `|p'(u)| e + sup|p''| e^2 / 2` for the input's error `e`.
///
/// A point within `e` of `[-1, 1]` lies in the Bernstein ellipse of parameter `rho = 1 + e + sqrt(2 e + e^2)`, on which a
/// polynomial of degree `n` is at most `rho^n` times its maximum on `[-1, 1]`; `|T_k''| <= k^2 (k^2 - 1) / 3` there.
fn add_input_error(out: &mut SlotCt, input: &SlotCt, coefficients: &[f64]) {
    let largest = (0..input.values.len()).map(|i| input.total(i)).fold(0.0, f64::max);
    let rho = 1.0 + largest + (largest * (2.0 + largest)).sqrt();
    let second = |(k, c): (usize, &f64)| {
        let square = (k * k) as f64;
        c.abs() * square * (square - 1.0) / 3.0 * rho.powi(k as i32)
    };
    let curvature: f64 = coefficients.iter().enumerate().skip(2).map(second).sum();
    for i in 0..out.values.len() {
        let slope = derivative(coefficients, input.values[i].re).abs();
        out.variance[i] += slope * slope * input.variance[i];
        let growth = slope + curvature * input.total(i) / 2.0;
        for (mine, theirs) in out.bound.iter_mut().zip(&input.bound) {
            mine[i] += growth * theirs[i];
        }
    }
}

/// `sum_k c_k k U_(k-1)(u)`, the derivative of a Chebyshev sum.
fn derivative(coefficients: &[f64], u: f64) -> f64 {
    let (mut previous, mut current, mut sum) = (0.0, 1.0, 0.0);
    for (k, c) in coefficients.iter().enumerate().skip(1) {
        sum += c * k as f64 * current;
        (previous, current) = (current, 2.0 * u * current - previous);
    }
    sum
}

/// Chebyshev polynomials found so far; number `i` is canonical at level `top - depth_of(i)`.
struct Run<'a> {
    backend: &'a Predicted,
    top: usize,
    powers: BTreeMap<usize, SlotCt>,
}

impl Run<'_> {
    /// `T_(a+b) = 2 T_a T_b - T_(a-b)`, summed before its one rescale.
    fn power(&self, power: &Power) -> SlotCt {
        let level = self.top + 1 - depth_of(power.index);
        let left = self.at_level(power.left, level);
        let product = if power.left == power.right {
            left.product(&left)
        } else {
            left.product(&self.at_level(power.right, level))
        };
        let double = self.backend.switched(product).times_exact(2.0);
        match power.left - power.right {
            0 => self.backend.plus_const(&self.backend.rescaled(double), -1.0),
            difference => {
                let correction = self.summand(difference, 1.0, level);
                self.backend.rescaled(double.combined(&correction, -1.0))
            }
        }
    }

    /// The node's value, canonical at level `top - node.depth - 1`.
    fn value(&self, node: &Node) -> SlotCt {
        let level = self.top - node.depth;
        let product = |(giant, child): &(usize, Node)| self.value(child).product(&self.at_level(*giant, level));
        let products = node.products.iter().map(product).reduce(|a, b| a.combined(&b, 1.0));
        let terms = node.terms.iter().map(|(index, c)| self.summand(*index, *c, level));
        let sum = products.map(|sum| self.backend.switched(sum)).into_iter().chain(terms);
        let sum = sum.reduce(|a, b| a.combined(&b, 1.0));
        let sum = sum.unwrap_or_else(|| self.powers[&1].times_exact(0.0));
        self.backend.plus_const(&self.backend.rescaled(sum), node.constant)
    }

    /// `c * T_index` at `level` with the scale of products there.
    fn summand(&self, index: usize, c: f64, level: usize) -> SlotCt {
        let target = self.backend.product_scale(level);
        self.backend.times_const(&Predicted::dropped(&self.powers[&index], level), c, target)
    }

    fn at_level(&self, index: usize, level: usize) -> SlotCt {
        let ct = &self.powers[&index];
        if ct.level == level {
            return ct.clone();
        }
        let lowered = Predicted::dropped(ct, level + 1);
        let target = self.backend.product_scale(level + 1);
        self.backend.rescaled(self.backend.times_const(&lowered, 1.0, target))
    }
}
