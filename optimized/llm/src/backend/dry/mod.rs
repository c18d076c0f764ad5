//! The circuit on levels alone: which level it needs, which keys, how many operations of each kind, what they do and what is in
//! memory meanwhile.

mod keys;
mod ledger;
mod live;

pub use keys::KeyPlan;
pub use ledger::Entry;
pub use live::DryCiphertext;

use super::{
    Backend, Diagonals, Packing, Refresh, bootstrap_levels, no_products, require_equal_levels, require_level,
    require_terms,
};
use crate::error::Result;
use crate::plan::costs::Costs;
use crate::plan::work::{Work, passes};
use crate::profile::Operation;
use live::Live;
use num_complex::Complex64;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use touchstone_ckks::Parameters;
use touchstone_ckks::circuits::bootstrap::KeysNeeded;
use touchstone_ckks::circuits::polynomial::{Plan, Polynomial, depth_of};

/// Plaintexts that a linear map holds at once, unless one giant step has more.
const TERMS_AT_ONCE: usize = 64;

/// A backend whose ciphertexts are their levels. It never looks at values, so that models without weights can be run.
#[derive(Debug)]
pub struct DryRun<'a> {
    parameters: &'a Parameters,
    costs: &'a Costs,
    layer: Cell<Option<usize>>,
    stage: Cell<&'static str>,
    keys: RefCell<KeyPlan>,
    /// Of what was bootstrapped.
    packings: RefCell<BTreeSet<Packing>>,
    entries: RefCell<Vec<Entry>>,
    live: Rc<Live>,
}

/// One operation, to be booked.
struct Booked {
    operation: Operation,
    from: usize,
    to: usize,
    key_switches: usize,
    encodings: usize,
    work: Work,
    /// Limbs held besides operands and results.
    held: usize,
}

impl Booked {
    fn new(operation: Operation, from: usize, to: usize, work: Work) -> Self {
        Self { operation, from, to, key_switches: 0, encodings: 0, work, held: 0 }
    }
}

impl<'a> DryRun<'a> {
    /// A dry run for a parameter set.
    #[must_use]
    pub fn new(parameters: &'a Parameters, costs: &'a Costs) -> Self {
        Self {
            parameters,
            costs,
            layer: Cell::new(None),
            stage: Cell::new("input"),
            keys: RefCell::default(),
            packings: RefCell::default(),
            entries: RefCell::default(),
            live: Rc::default(),
        }
    }

    /// Input ciphertexts at a level.
    #[must_use]
    pub fn input(&self, parts: usize, level: usize) -> Vec<DryCiphertext> {
        (0..parts).map(|_| self.ciphertext(level)).collect()
    }

    /// The keys used so far.
    ///
    /// # Errors
    /// Those of [`KeysNeeded::of_sparse`] for a period that cannot be bootstrapped.
    pub fn keys(&self) -> Result<KeyPlan> {
        let mut keys = self.keys.borrow().clone();
        for packing in self.packings.borrow().iter() {
            let needed = match packing {
                Packing::Complex | Packing::Real => KeysNeeded::of(self.parameters)?,
                Packing::Periodic(period) => KeysNeeded::of_sparse(self.parameters, *period)?,
            };
            keys.include(&needed, self.slots());
            if let Packing::Periodic(period) = packing {
                keys.periods.insert(*period);
            }
        }
        Ok(keys)
    }

    /// What was done so far, in the order in which it began.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        self.entries.borrow().clone()
    }

    /// Key switches so far: rotations, conjugations and relinearisations, those of bootstrapping left out.
    #[must_use]
    pub fn key_switches(&self) -> usize {
        self.entries.borrow().iter().map(|entry| entry.key_switches).sum()
    }

    /// Bootstraps so far.
    #[must_use]
    pub fn bootstraps(&self) -> usize {
        let entries = self.entries.borrow();
        entries.iter().filter(|entry| entry.operation == Operation::Bootstrap).map(|entry| entry.count).sum()
    }

    /// Predicted processor seconds so far.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.entries.borrow().iter().map(|entry| self.costs.seconds(&entry.work)).sum()
    }

    /// Limbs of `N` residues that were in memory at once, in ciphertexts and in operations.
    #[must_use]
    pub fn peak_limbs(&self) -> usize {
        self.live.peak()
    }

    fn ciphertext(&self, level: usize) -> DryCiphertext {
        DryCiphertext::new(level, 2, &self.live)
    }

    fn sum(&self, level: usize) -> DryCiphertext {
        DryCiphertext::new(level, 3, &self.live)
    }

    fn book(&self, booked: Booked) {
        let Booked { operation, from, to, key_switches, encodings, work, held } = booked;
        self.live.work(held);
        let (layer, part) = (self.layer.get(), self.stage.get());
        let entry = Entry { layer, part, operation, from, to, count: 1, key_switches, encodings, work };
        ledger::add(&mut self.entries.borrow_mut(), entry);
    }

    fn relinearised(&self, level: usize) {
        let keys = &mut self.keys.borrow_mut().relinearisation;
        *keys = (*keys).max(Some(level));
    }

    /// Rotations among the given ones that are not the identity, whose keys are noted.
    fn rotated(&self, steps: &[i64], level: usize) -> usize {
        let slots = self.slots() as i64;
        let steps = steps.iter().map(|step| step.rem_euclid(slots)).filter(|step| *step != 0);
        steps.inspect(|step| self.keys.borrow_mut().rotate(*step, level)).count()
    }

    fn consume(&self, operation: &str, level: usize, count: usize) -> Result<usize> {
        require_level(operation, self.stage.get(), count, level)?;
        Ok(level - count)
    }
}

impl Backend for DryRun<'_> {
    type Ct = DryCiphertext;
    type Sum = DryCiphertext;

    fn slots(&self) -> usize {
        self.parameters.slots()
    }

    fn level(&self, ct: &DryCiphertext) -> usize {
        ct.level()
    }

    fn stage(&self, name: &'static str) {
        self.stage.set(name);
    }

    fn layer(&self, layer: Option<usize>) {
        self.layer.set(layer);
    }

    fn add(&self, a: &DryCiphertext, b: &DryCiphertext) -> Result<DryCiphertext> {
        let level = a.level();
        require_equal_levels("add", level, b.level())?;
        self.book(Booked::new(Operation::Add, level, level, self.costs.basis().add(level, 2)));
        Ok(self.ciphertext(level))
    }

    fn sub(&self, a: &DryCiphertext, b: &DryCiphertext) -> Result<DryCiphertext> {
        let level = a.level();
        require_equal_levels("subtract", level, b.level())?;
        self.book(Booked::new(Operation::Add, level, level, self.costs.basis().add(level, 2)));
        Ok(self.ciphertext(level))
    }

    fn add_const(&self, a: &DryCiphertext, _c: f64) -> Result<DryCiphertext> {
        self.book(Booked::new(Operation::Add, a.level(), a.level(), passes(a.level() + 1)));
        Ok(a.clone())
    }

    fn add_plain(&self, a: &DryCiphertext, _values: &[Complex64]) -> Result<DryCiphertext> {
        let level = a.level();
        let work = self.costs.basis().encode(level) + passes(level + 1);
        self.book(Booked { encodings: 1, held: level + 3, ..Booked::new(Operation::Add, level, level, work) });
        Ok(a.clone())
    }

    fn mul_plain(&self, a: &DryCiphertext, _values: &[Complex64]) -> Result<DryCiphertext> {
        let (level, basis) = (a.level(), self.costs.basis());
        let result = self.consume("plaintext product", level, 1)?;
        let work = basis.encode(level) + basis.plain_product(level) + basis.rescale(level);
        let booked = Booked::new(Operation::PlaintextProduct, level, result, work);
        self.book(Booked { encodings: 1, held: 3 * (level + 1), ..booked });
        Ok(self.ciphertext(result))
    }

    fn scale_to(&self, a: &DryCiphertext, _c: f64, level: usize) -> Result<DryCiphertext> {
        require_level("scaling to a lower level", self.stage.get(), level + 1, a.level())?;
        self.book(Booked::new(Operation::Rescale, a.level(), level, self.costs.basis().rescale(level + 1)));
        Ok(self.ciphertext(level))
    }

    fn weighted_sum(&self, terms: &[(&DryCiphertext, f64)], level: usize) -> Result<DryCiphertext> {
        require_terms(self.stage.get(), terms.iter().map(|term| term.0.level()), level)?;
        let basis = self.costs.basis();
        let work = basis.weighted_sum(level + 1, terms.len()) + basis.rescale(level + 1);
        self.book(Booked { held: 2 * (level + 2), ..Booked::new(Operation::LinearMap, level + 1, level, work) });
        Ok(self.ciphertext(level))
    }

    fn mul_i(&self, a: &DryCiphertext) -> Result<DryCiphertext> {
        let level = a.level();
        self.book(Booked::new(Operation::Add, level, level, self.costs.basis().add(level, 2)));
        Ok(a.clone())
    }

    fn accumulate(&self, sum: &mut Option<DryCiphertext>, a: &DryCiphertext, b: &DryCiphertext) -> Result<()> {
        let (level, basis) = (a.level(), self.costs.basis());
        require_equal_levels("product", level, b.level())?;
        let mut work = basis.product(level);
        if let Some(sum) = sum.as_ref() {
            require_equal_levels("product", sum.level(), level)?;
            work += basis.add(level, 3);
        }
        let held = if sum.is_some() { 3 * (level + 1) } else { 0 };
        self.book(Booked { held, ..Booked::new(Operation::CiphertextProduct, level, level, work) });
        sum.get_or_insert_with(|| self.sum(level));
        Ok(())
    }

    fn relinearise(&self, sum: Option<DryCiphertext>) -> Result<DryCiphertext> {
        let level = sum.as_ref().ok_or_else(no_products)?.level();
        let (result, basis) = (self.consume("product", level, 1)?, self.costs.basis());
        self.relinearised(level);
        let booked = Booked::new(Operation::Relinearisation, level, result, basis.relinearise_rescale(level));
        self.book(Booked { key_switches: 1, held: basis.key_switch_limbs(level), ..booked });
        Ok(self.ciphertext(result))
    }

    fn bootstrap(&self, a: &DryCiphertext, refresh: Refresh) -> Result<DryCiphertext> {
        let (input, output) = bootstrap_levels(self.parameters, self.stage.get())?;
        require_level("bootstrapping", self.stage.get(), input, a.level())?;
        self.packings.borrow_mut().insert(refresh.packing);
        let work = self.costs.bootstrap(refresh.packing, a.level());
        let held = self.costs.bootstrapping().limbs;
        self.book(Booked { held, ..Booked::new(Operation::Bootstrap, a.level(), output, work) });
        Ok(self.ciphertext(output))
    }

    fn rotate(&self, a: &DryCiphertext, steps: i64) -> Result<DryCiphertext> {
        let (level, basis) = (a.level(), self.costs.basis());
        let key_switches = self.rotated(&[steps], level);
        let booked = Booked::new(Operation::Rotation, level, level, basis.rotate_hoisted(level, key_switches));
        self.book(Booked { key_switches, held: basis.key_switch_limbs(level), ..booked });
        Ok(a.clone())
    }

    fn rotate_many(&self, a: &DryCiphertext, steps: &[i64]) -> Result<Vec<DryCiphertext>> {
        let (level, basis) = (a.level(), self.costs.basis());
        let key_switches = self.rotated(steps, level);
        let work = basis.rotate_hoisted(level, key_switches);
        let results = vec![a.clone(); steps.len()];
        let booked = Booked::new(Operation::HoistedRotations, level, level, work);
        self.book(Booked { key_switches, held: basis.hoisted_limbs(level), ..booked });
        Ok(results)
    }

    fn conjugate(&self, a: &DryCiphertext) -> Result<DryCiphertext> {
        let (level, basis) = (a.level(), self.costs.basis());
        let keys = &mut self.keys.borrow_mut().conjugation;
        *keys = (*keys).max(Some(level));
        let booked = Booked::new(Operation::Conjugation, level, level, basis.rotate(level));
        self.book(Booked { key_switches: 1, held: basis.key_switch_limbs(level), ..booked });
        Ok(a.clone())
    }

    fn linear(&self, babies: &[DryCiphertext], giants: &[i64], _diagonals: &Diagonals<'_>) -> Result<DryCiphertext> {
        let (level, basis) = (babies.first().map_or(0, DryCiphertext::level), self.costs.basis());
        for baby in babies {
            require_equal_levels("linear map", level, baby.level())?;
        }
        let result = self.consume("linear map", level, 1)?;
        let (diagonals, key_switches) = (babies.len() * giants.len(), self.rotated(giants, level));
        let at_once = (TERMS_AT_ONCE / babies.len().max(1)).clamp(1, giants.len().max(1));
        let held = at_once * (babies.len() + 2 * (level + 1)) + basis.key_switch_limbs(level);
        let work = basis.linear(level, diagonals, key_switches);
        let booked = Booked::new(Operation::LinearMap, level, result, work);
        self.book(Booked { key_switches, encodings: diagonals, held, ..booked });
        Ok(self.ciphertext(result))
    }

    fn chebyshev(&self, a: &DryCiphertext, coefficients: &[f64]) -> Result<DryCiphertext> {
        let (level, basis) = (a.level(), self.costs.basis());
        let result = self.consume("polynomial", level, super::chebyshev_depth(coefficients))?;
        let plan = Plan::new(&Polynomial::chebyshev(coefficients.to_vec())?);
        if plan.key_switches() > 0 {
            self.relinearised(level);
        }
        let powers = plan.powers().iter().map(|power| 2 * (level + 1 - depth_of(power.index)));
        let held = powers.sum::<usize>() + 6 * (level + 1) + basis.key_switch_limbs(level);
        let booked = Booked::new(Operation::Polynomial, level, result, basis.polynomial(&plan, level));
        self.book(Booked { key_switches: plan.key_switches(), held, ..booked });
        Ok(self.ciphertext(result))
    }
}
