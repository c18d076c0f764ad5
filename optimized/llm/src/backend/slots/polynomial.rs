//! Chebyshev sums on predicted slots, by the engine's own plan.
//!
//! Errors of the input and of the evaluation are treated apart (`r[noise.polynomial]`): pushing the input's error through
//! every product of the plan would multiply it by far more than the polynomial's derivative, because the products'
//! errors cancel.

use super::taylor::Growth;
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

/// Adds the error that the input's error makes, to first order.
fn add_input_error(out: &mut SlotCt, input: &SlotCt, coefficients: &[f64]) {
    let growth = Growth::new(coefficients);
    for i in 0..out.values.len() {
        out.variance[i] += growth.slope(input.values[i].re).powi(2) * input.variance[i];
    }
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
