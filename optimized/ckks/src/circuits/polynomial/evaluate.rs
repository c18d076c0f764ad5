//! Running a plan on a ciphertext.

use super::plan::{Node, Power, depth_of};
use super::{Basis, Plan, Polynomial};
use crate::circuits::{check_input, product_label, summand};
use crate::instrument;
use crate::{Ciphertext, CkksError, Complex64, Evaluator};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Evaluates `polynomial` on every slot of `ct`.
///
/// In: canonical scale, level `l >= Plan::depth`, slots in `[-1, 1]` (nothing can check that; outside, Chebyshev values grow like
/// `cosh(degree * arccosh|x|)`). Out: canonical scale, level `l - depth`, `depth = ceil(log2(degree + 1))`, or one lower for every
/// pair on the way (`r[ckks.step]`). A constant
/// polynomial gives a ciphertext without noise that anyone can read.
///
/// # Errors
/// [`CkksError::LevelExhausted`], [`CkksError::Scale`], [`CkksError::MissingKey`] without a relinearisation key, and
/// [`CkksError::Argument`] for a coefficient too large for its scale.
pub fn evaluate(evaluator: &Evaluator, ct: &Ciphertext, polynomial: &Polynomial) -> Result<Ciphertext, CkksError> {
    evaluate_plan(evaluator, ct, &Plan::new(polynomial))
}

/// [`evaluate`] with a plan made before, for polynomials that are evaluated many times.
///
/// # Errors
/// As [`evaluate`].
pub fn evaluate_plan(evaluator: &Evaluator, ct: &Ciphertext, plan: &Plan) -> Result<Ciphertext, CkksError> {
    check_input("polynomial::evaluate", evaluator, ct, plan.depth())?;
    let Some(root) = &plan.root else {
        return evaluator.add_const(&evaluator.sub(ct, ct)?, Complex64::new(plan.constant, 0.0));
    };
    let run = Run { evaluator, basis: plan.basis, top: ct.level(), powers: BTreeMap::from([(1, ct.clone())]) };
    run.with_powers(&plan.powers)?.value(root)
}

/// Maps the interval `[lo, hi]` to `[-1, 1]`, the argument that a Chebyshev polynomial on that interval takes.
///
/// In: canonical, level `l >= 1`. Out: canonical, level `l - 1`.
///
/// # Errors
/// [`CkksError::Argument`] unless `lo < hi` and both are finite; [`CkksError::LevelExhausted`], [`CkksError::Scale`].
pub fn normalise(evaluator: &Evaluator, ct: &Ciphertext, lo: f64, hi: f64) -> Result<Ciphertext, CkksError> {
    let operation = "polynomial::normalise";
    if !(lo < hi && lo.is_finite() && hi.is_finite()) {
        let got = format!("[{lo:e}, {hi:e}]");
        return Err(CkksError::Argument { operation, expected: "finite lo < hi", got });
    }
    check_input(operation, evaluator, ct, 1)?;
    let scaled = summand(evaluator, ct, 2.0 / (hi - lo), ct.level())?;
    evaluator.add_const(&evaluator.rescale(&scaled)?, Complex64::new(-(lo + hi) / (hi - lo), 0.0))
}

/// The basis polynomials found so far; number `i` is canonical, `depth_of(i)` steps below `top` (`r[ckks.step]`).
struct Run<'a> {
    evaluator: &'a Evaluator,
    basis: Basis,
    top: usize,
    powers: BTreeMap<usize, Ciphertext>,
}

impl Run<'_> {
    /// Forms all powers, those of one depth in parallel.
    fn with_powers(mut self, powers: &[Power]) -> Result<Self, CkksError> {
        let deepest = powers.iter().map(|power| depth_of(power.index)).max().unwrap_or(0);
        for depth in 1..=deepest {
            let layer: Vec<_> = powers.iter().filter(|power| depth_of(power.index) == depth).collect();
            let scope = instrument::scope();
            let form = |power: &&Power| {
                let _scope = scope.enter();
                Ok((power.index, self.power(power)?))
            };
            let formed: Vec<_> = layer.par_iter().map(form).collect::<Result<_, CkksError>>()?;
            self.powers.extend(formed);
        }
        Ok(self)
    }

    fn power(&self, power: &Power) -> Result<Ciphertext, CkksError> {
        let ev = self.evaluator;
        let level = self.level(depth_of(power.index) - 1)?;
        let left = self.at_level(power.left, level)?;
        let product = match power.left - power.right {
            0 => ev.mul_lazy(&left, &left)?,
            _ => ev.mul_lazy(&left, &self.at_level(power.right, level)?)?,
        };
        if self.basis == Basis::Monomial {
            return ev.relinearise_step(&product);
        }
        let mut doubled = ev.double(product)?;
        match power.left - power.right {
            0 => {
                let mut value = ev.relinearise_step(&doubled)?;
                ev.add_const_assign(&mut value, Complex64::new(-1.0, 0.0))?;
                Ok(value)
            }
            difference => {
                let correction = [(&self.powers[&difference], -1.0)];
                ev.add_assign(&mut doubled, &ev.weighted_sum(&correction, level, product_label(ev, level))?)?;
                ev.relinearise_step(&doubled)
            }
        }
    }

    /// The level `steps` steps below the input.
    fn level(&self, steps: usize) -> Result<usize, CkksError> {
        let (operation, got) = ("polynomial::evaluate", self.top);
        let exhausted = CkksError::LevelExhausted { operation, expected: steps, got };
        self.evaluator.context().parameters().below(self.top, steps).ok_or(exhausted)
    }

    fn at_level(&self, index: usize, level: usize) -> Result<Ciphertext, CkksError> {
        self.evaluator.to_level(&self.powers[&index], level)
    }

    /// The node's value, canonical, `node.depth + 1` steps below the input.
    fn value(&self, node: &Node) -> Result<Ciphertext, CkksError> {
        let level = self.level(node.depth)?;
        let ev = self.evaluator;
        let mut sum = self.products(node, level)?;
        if !node.terms.is_empty() {
            let terms: Vec<_> = node.terms.iter().map(|(index, c)| (&self.powers[index], *c)).collect();
            let terms = ev.weighted_sum(&terms, level, product_label(ev, level))?;
            match &mut sum {
                Some(sum) => ev.add_assign(sum, &terms)?,
                None => sum = Some(terms),
            }
        }
        // A node without terms and products is a constant, which a split never leaves behind.
        let sum = sum.ok_or_else(|| CkksError::Argument {
            operation: "polynomial::evaluate",
            expected: "a plan whose sums have terms",
            got: "an empty sum".to_owned(),
        })?;
        let mut value = if node.products.is_empty() { ev.step(&sum)? } else { ev.relinearise_step(&sum)? };
        ev.add_const_assign(&mut value, Complex64::new(node.constant, 0.0))?;
        Ok(value)
    }

    /// The sum of the node's products, neither relinearised nor rescaled.
    fn products(&self, node: &Node, level: usize) -> Result<Option<Ciphertext>, CkksError> {
        let ev = self.evaluator;
        let scope = instrument::scope();
        let product = |(giant, child): &(usize, Node)| {
            let _scope = scope.enter();
            ev.mul_lazy(&self.value(child)?, &self.at_level(*giant, level)?)
        };
        let products: Vec<_> = node.products.par_iter().map(product).collect::<Result<_, CkksError>>()?;
        let mut products = products.into_iter();
        let Some(mut sum) = products.next() else { return Ok(None) };
        products.try_for_each(|product| ev.add_assign(&mut sum, &product))?;
        Ok(Some(sum))
    }
}
