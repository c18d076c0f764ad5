//! The circuit on levels alone: which level it needs, which keys, how many operations of each kind, and what they cost.

use super::{Backend, Diagonals, Refresh, bootstrap_levels, no_products, require_equal_levels, require_level};
use crate::error::Result;
use crate::plan::costs::Costs;
use num_complex::Complex64;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use touchstone_ckks::Parameters;
use touchstone_ckks::circuits::bootstrap::KeysNeeded;
use touchstone_ckks::circuits::polynomial::{Plan, Polynomial};

/// The keys that a circuit uses, each with the highest level at which it is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyPlan {
    /// Rotations by slots, in `1..slots`.
    pub rotations: BTreeMap<i64, usize>,
    /// Level of the conjugation key.
    pub conjugation: Option<usize>,
    /// Level of the relinearisation key.
    pub relinearisation: Option<usize>,
    /// Whether the keys to and from the ephemeral secret of bootstrapping are used.
    pub ephemeral: bool,
}

impl KeyPlan {
    /// Number of keys.
    #[must_use]
    pub fn count(&self) -> usize {
        let single = [self.conjugation.is_some(), self.relinearisation.is_some()];
        self.rotations.len() + single.into_iter().filter(|used| *used).count() + if self.ephemeral { 2 } else { 0 }
    }

    /// The keys of both, each up to the higher of its levels.
    #[must_use]
    pub fn with(mut self, other: &Self) -> Self {
        for (&steps, &level) in &other.rotations {
            self.rotate(steps, level);
        }
        self.conjugation = self.conjugation.max(other.conjugation);
        self.relinearisation = self.relinearisation.max(other.relinearisation);
        self.ephemeral |= other.ephemeral;
        self
    }

    fn include(&mut self, needed: &KeysNeeded) {
        for (&steps, &level) in &needed.rotations {
            self.rotate(steps, level);
        }
        self.conjugation = self.conjugation.max(Some(needed.conjugation));
        self.relinearisation = self.relinearisation.max(Some(needed.relinearisation));
        self.ephemeral = true;
    }

    fn rotate(&mut self, steps: i64, level: usize) {
        let known = self.rotations.entry(steps).or_default();
        *known = level.max(*known);
    }
}

/// A backend whose ciphertexts are their levels.
#[derive(Debug)]
pub struct DryRun<'a> {
    parameters: &'a Parameters,
    costs: &'a Costs,
    stage: Cell<&'static str>,
    keys: RefCell<KeyPlan>,
    key_switches: Cell<usize>,
    bootstraps: Cell<usize>,
    seconds: Cell<f64>,
}

impl<'a> DryRun<'a> {
    /// A dry run for a parameter set.
    #[must_use]
    pub fn new(parameters: &'a Parameters, costs: &'a Costs) -> Self {
        Self {
            parameters,
            costs,
            stage: Cell::new("input"),
            keys: RefCell::default(),
            key_switches: Cell::new(0),
            bootstraps: Cell::new(0),
            seconds: Cell::new(0.0),
        }
    }

    /// The keys used so far.
    ///
    /// # Errors
    /// None but those of parameters without bootstrapping, which a bootstrap has refused before.
    pub fn keys(&self) -> Result<KeyPlan> {
        let mut keys = self.keys.borrow().clone();
        if keys.ephemeral {
            keys.include(&KeysNeeded::of(self.parameters)?);
        }
        Ok(keys)
    }

    /// Key switches so far: rotations, conjugations and relinearisations, those of bootstrapping left out.
    #[must_use]
    pub fn key_switches(&self) -> usize {
        self.key_switches.get()
    }

    /// Bootstraps so far.
    #[must_use]
    pub fn bootstraps(&self) -> usize {
        self.bootstraps.get()
    }

    /// Predicted seconds so far, on one thread.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.seconds.get()
    }

    fn spend(&self, seconds: f64) {
        self.seconds.set(self.seconds.get() + seconds);
    }

    fn switch(&self, level: usize) {
        self.key_switches.set(self.key_switches.get() + 1);
        self.spend(self.costs.key_switch(level));
    }

    fn relinearised(&self, level: usize) {
        self.switch(level);
        let keys = &mut self.keys.borrow_mut().relinearisation;
        *keys = (*keys).max(Some(level));
    }

    fn consume(&self, operation: &str, level: usize, count: usize) -> Result<usize> {
        require_level(operation, self.stage.get(), count, level)?;
        Ok(level - count)
    }
}

impl Backend for DryRun<'_> {
    type Ct = usize;
    type Sum = usize;

    fn slots(&self) -> usize {
        self.parameters.slots()
    }

    fn level(&self, ct: &usize) -> usize {
        *ct
    }

    fn stage(&self, name: &'static str) {
        self.stage.set(name);
    }

    fn add(&self, a: &usize, b: &usize) -> Result<usize> {
        self.spend(self.costs.add(*a));
        require_equal_levels("add", *a, *b).map(|()| *a)
    }

    fn sub(&self, a: &usize, b: &usize) -> Result<usize> {
        self.spend(self.costs.add(*a));
        require_equal_levels("subtract", *a, *b).map(|()| *a)
    }

    fn add_const(&self, a: &usize, _c: f64) -> Result<usize> {
        Ok(*a)
    }

    fn add_plain(&self, a: &usize, _values: &[Complex64]) -> Result<usize> {
        self.spend(self.costs.encode(*a));
        Ok(*a)
    }

    fn mul_plain(&self, a: &usize, _values: &[Complex64]) -> Result<usize> {
        self.spend(self.costs.encode(*a) + self.costs.plain_product(*a) + self.costs.rescale(*a));
        self.consume("plaintext product", *a, 1)
    }

    fn scale_to(&self, a: &usize, _c: f64, level: usize) -> Result<usize> {
        require_level("scaling to a lower level", self.stage.get(), level + 1, *a)?;
        self.spend(self.costs.rescale(level + 1));
        Ok(level)
    }

    fn accumulate(&self, sum: &mut Option<usize>, a: &usize, b: &usize) -> Result<()> {
        require_equal_levels("product", *a, *b)?;
        require_equal_levels("product", sum.unwrap_or(*a), *a)?;
        self.spend(self.costs.product(*a));
        *sum = Some(*a);
        Ok(())
    }

    fn relinearise(&self, sum: Option<usize>) -> Result<usize> {
        let level = sum.ok_or_else(no_products)?;
        self.relinearised(level);
        self.spend(self.costs.rescale(level));
        self.consume("product", level, 1)
    }

    fn bootstrap(&self, a: &usize, refresh: Refresh) -> Result<usize> {
        let (input, output) = bootstrap_levels(self.parameters, self.stage.get())?;
        require_level("bootstrapping", self.stage.get(), input, *a)?;
        self.keys.borrow_mut().ephemeral = true;
        self.bootstraps.set(self.bootstraps.get() + 1);
        self.spend(self.costs.bootstrap(refresh.real));
        Ok(output)
    }

    fn rotate(&self, a: &usize, steps: i64) -> Result<usize> {
        let steps = steps.rem_euclid(self.slots() as i64);
        if steps != 0 {
            self.switch(*a);
            self.keys.borrow_mut().rotate(steps, *a);
        }
        Ok(*a)
    }

    fn rotate_many(&self, a: &usize, steps: &[i64]) -> Result<Vec<usize>> {
        steps.iter().map(|&step| self.rotate(a, step)).collect()
    }

    fn conjugate(&self, a: &usize) -> Result<usize> {
        self.switch(*a);
        let keys = &mut self.keys.borrow_mut().conjugation;
        *keys = (*keys).max(Some(*a));
        Ok(*a)
    }

    fn linear(&self, babies: &[usize], giants: &[i64], _diagonals: &Diagonals<'_>) -> Result<usize> {
        let level = babies.first().copied().unwrap_or(0);
        for baby in babies {
            require_equal_levels("linear map", level, *baby)?;
        }
        self.rotate_many(&level, giants)?;
        self.spend(self.costs.plain_product(level) * (babies.len() * giants.len()) as f64 + self.costs.rescale(level));
        self.consume("linear map", level, 1)
    }

    fn chebyshev(&self, a: &usize, coefficients: &[f64]) -> Result<usize> {
        let result = self.consume("polynomial", *a, super::chebyshev_depth(coefficients))?;
        let plan = Plan::new(&Polynomial::chebyshev(coefficients.to_vec())?);
        if let Some(more) = plan.key_switches().checked_sub(1) {
            self.relinearised(*a);
            self.key_switches.set(self.key_switches.get() + more);
        }
        let middle = (*a + result) / 2;
        let product = self.costs.product(middle) + self.costs.key_switch(middle) + self.costs.rescale(middle);
        self.spend(product * plan.key_switches() as f64);
        Ok(result)
    }
}
