//! Which evaluation keys a circuit uses.

use std::collections::{BTreeMap, BTreeSet};
use touchstone_ckks::circuits::bootstrap::KeysNeeded;

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
    /// Periods of the slots that are bootstrapped with sparse packing; a server prepares them.
    pub periods: BTreeSet<usize>,
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
        self.periods.extend(&other.periods);
        self
    }

    pub(super) fn include(&mut self, needed: &KeysNeeded, slots: usize) {
        for (&steps, &level) in &needed.rotations {
            self.rotate(steps.rem_euclid(slots as i64), level);
        }
        self.conjugation = self.conjugation.max(Some(needed.conjugation));
        self.relinearisation = self.relinearisation.max(Some(needed.relinearisation));
        self.ephemeral = true;
    }

    pub(super) fn rotate(&mut self, steps: i64, level: usize) {
        let known = self.rotations.entry(steps).or_default();
        *known = level.max(*known);
    }
}
