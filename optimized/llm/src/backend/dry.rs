//! The circuit on levels alone: which level it needs, which keys, how many operations of each kind.

use super::{Backend, Diagonals, require_equal_levels, require_level};
use crate::error::Result;
use num_complex::Complex64;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

/// The keys that a circuit uses, each with the highest level at which it is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyPlan {
    /// Rotations by slots, in `1..slots`.
    pub rotations: BTreeMap<i64, usize>,
    /// Level of the conjugation key.
    pub conjugation: Option<usize>,
    /// Level of the relinearisation key.
    pub relinearisation: Option<usize>,
}

impl KeyPlan {
    /// Number of keys.
    #[must_use]
    pub fn count(&self) -> usize {
        self.rotations.len() + usize::from(self.conjugation.is_some()) + usize::from(self.relinearisation.is_some())
    }
}

/// A backend whose ciphertexts are their levels.
#[derive(Debug)]
pub struct DryRun {
    slots: usize,
    stage: Cell<&'static str>,
    keys: RefCell<KeyPlan>,
    key_switches: Cell<usize>,
}

impl DryRun {
    /// A dry run over ciphertexts of `slots` slots.
    #[must_use]
    pub fn new(slots: usize) -> Self {
        Self { slots, stage: Cell::new("input"), keys: RefCell::default(), key_switches: Cell::new(0) }
    }

    /// The keys used so far.
    #[must_use]
    pub fn keys(&self) -> KeyPlan {
        self.keys.borrow().clone()
    }

    /// Key switches so far: rotations, conjugations and relinearisations.
    #[must_use]
    pub fn key_switches(&self) -> usize {
        self.key_switches.get()
    }

    fn switch(&self) {
        self.key_switches.set(self.key_switches.get() + 1);
    }

    fn relinearise(&self, level: usize) {
        self.switch();
        let keys = &mut self.keys.borrow_mut().relinearisation;
        *keys = (*keys).max(Some(level));
    }

    fn consume(&self, operation: &str, level: usize, count: usize) -> Result<usize> {
        require_level(operation, self.stage.get(), count, level)?;
        Ok(level - count)
    }
}

impl Backend for DryRun {
    type Ct = usize;

    fn slots(&self) -> usize {
        self.slots
    }

    fn level(&self, ct: &usize) -> usize {
        *ct
    }

    fn stage(&self, name: &'static str) {
        self.stage.set(name);
    }

    fn add(&self, a: &usize, b: &usize) -> Result<usize> {
        require_equal_levels("add", *a, *b).map(|()| *a)
    }

    fn sub(&self, a: &usize, b: &usize) -> Result<usize> {
        require_equal_levels("subtract", *a, *b).map(|()| *a)
    }

    fn add_const(&self, a: &usize, _c: f64) -> Result<usize> {
        Ok(*a)
    }

    fn add_plain(&self, a: &usize, _values: &[Complex64]) -> Result<usize> {
        Ok(*a)
    }

    fn mul_plain(&self, a: &usize, _values: &[Complex64]) -> Result<usize> {
        self.consume("plaintext product", *a, 1)
    }

    fn scale_to(&self, a: &usize, _c: f64, level: usize) -> Result<usize> {
        require_level("scaling to a lower level", self.stage.get(), level + 1, *a)?;
        Ok(level)
    }

    fn sum_of_products(&self, pairs: &[(&usize, &usize)]) -> Result<usize> {
        let level = pairs.first().map_or(0, |pair| *pair.0);
        for (a, b) in pairs {
            require_equal_levels("product", level, **a)?;
            require_equal_levels("product", level, **b)?;
        }
        self.relinearise(level);
        self.consume("product", level, 1)
    }

    fn rotate(&self, a: &usize, steps: i64) -> Result<usize> {
        let steps = steps.rem_euclid(self.slots as i64);
        if steps != 0 {
            self.switch();
            let mut keys = self.keys.borrow_mut();
            let level = keys.rotations.entry(steps).or_default();
            *level = (*level).max(*a);
        }
        Ok(*a)
    }

    fn rotate_many(&self, a: &usize, steps: &[i64]) -> Result<Vec<usize>> {
        steps.iter().map(|&step| self.rotate(a, step)).collect()
    }

    fn conjugate(&self, a: &usize) -> Result<usize> {
        self.switch();
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
        self.consume("linear map", level, 1)
    }

    fn chebyshev(&self, a: &usize, coefficients: &[f64]) -> Result<usize> {
        let result = self.consume("polynomial", *a, super::chebyshev_depth(coefficients))?;
        self.relinearise(*a);
        Ok(result)
    }
}
