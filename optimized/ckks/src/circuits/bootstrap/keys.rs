//! The keys of a bootstrap (`r[boot.key.rotations]`, `r[boot.sparse.keys]`).

use super::factors::{Direction, shifts};
use super::{Bootstrapper, Factor};
use crate::arith::PackedLimb;
use crate::circuits::linear::{centre, inner_sum_rotations, rotations_of};
use crate::ckks::ephemeral::section;
use crate::{CkksError, EvaluationKeys, KeyGenerator, Parameters, SecretKey};
use std::collections::BTreeMap;

/// Keys that a bootstrap uses besides the ephemeral ones, with the highest level at which it uses them
/// (`r[boot.key.rotations]`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeysNeeded {
    /// Level of the relinearisation key.
    pub relinearisation: usize,
    /// Level of the conjugation key.
    pub conjugation: usize,
    /// Levels of rotation keys, by steps in `[-slots/2, slots/2)`.
    pub rotations: BTreeMap<i64, usize>,
}

impl KeysNeeded {
    /// The keys that [`Bootstrapper::bootstrap`] needs, without preparing its maps.
    ///
    /// # Errors
    /// [`CkksError::Argument`] for a parameter set without bootstrapping.
    pub fn of(parameters: &Parameters) -> Result<Self, CkksError> {
        section(parameters, "KeysNeeded::of")?;
        Self::of_period(parameters, parameters.slots())
    }

    /// The keys that [`Bootstrapper::bootstrap_sparse`] and [`Bootstrapper::bootstrap_sparse_real`] need for slots of a
    /// period, without preparing its maps (`r[boot.sparse.keys]`).
    ///
    /// # Errors
    /// [`CkksError::Argument`] for a parameter set without bootstrapping, or unless the period is a power of two from 2 to half
    /// the slots.
    pub fn of_sparse(parameters: &Parameters, period: usize) -> Result<Self, CkksError> {
        let operation = "KeysNeeded::of_sparse";
        section(parameters, operation)?;
        super::sparse::check_period(operation, parameters, period)?;
        let mut needed = Self::of_period(parameters, period)?;
        let top = super::raised_level(parameters, period)?;
        for steps in trace_steps(parameters.slots(), period) {
            needed.rotate(steps, top);
        }
        Ok(needed)
    }

    /// Relinearisation, conjugation and the rotations of both maps for slots of a period.
    fn of_period(parameters: &Parameters, period: usize) -> Result<Self, CkksError> {
        let boot = section(parameters, "KeysNeeded::of")?;
        let slots = parameters.slots();
        let middle = parameters.max_level() - boot.coeffs_to_slots.len();
        let mut needed = Self { relinearisation: middle, conjugation: middle + 1, rotations: BTreeMap::new() };
        let maps = [
            (&boot.slots_to_coeffs, 0, Direction::SlotsToCoeffs),
            (&boot.coeffs_to_slots, middle, Direction::CoeffsToSlots),
        ];
        for (literal, bottom, direction) in maps {
            let factors = shifts(slots, period, &super::radices(literal, period, direction), direction);
            let start = bottom + factors.len();
            for (done, shifts) in factors.into_iter().enumerate() {
                for steps in rotations_of(slots, shifts.into_iter()) {
                    needed.rotate(steps, start - done);
                }
            }
        }
        Ok(needed)
    }

    fn rotate(&mut self, steps: i64, level: usize) {
        let known = self.rotations.entry(steps).or_default();
        *known = level.max(*known);
    }

    /// Adds the keys of another bootstrap.
    pub fn include(&mut self, other: &Self) {
        self.relinearisation = self.relinearisation.max(other.relinearisation);
        self.conjugation = self.conjugation.max(other.conjugation);
        for (steps, level) in &other.rotations {
            self.rotate(*steps, *level);
        }
    }
}

impl Bootstrapper {
    /// The keys that this bootstrapper uses, for all slots and for its periods, besides the ephemeral ones.
    #[must_use]
    pub fn keys_needed(&self) -> KeysNeeded {
        let middle = self.middle_level();
        let mut needed = KeysNeeded { relinearisation: middle, conjugation: middle + 1, rotations: BTreeMap::new() };
        let mut include = |factor: &Factor| {
            factor.map.rotations().into_iter().for_each(|steps| needed.rotate(steps, factor.level));
        };
        self.maps.factors().for_each(&mut include);
        self.sparse.values().flat_map(|sparse| sparse.maps.factors()).for_each(&mut include);
        for (period, sparse) in &self.sparse {
            for steps in trace_steps(self.context.parameters().slots(), *period) {
                needed.rotate(steps, middle + sparse.maps.coeffs_to_slots.len());
            }
        }
        needed
    }

    /// Generates what `keys` lacks of [`Bootstrapper::keys_needed`] and the ephemeral keys. Keys that serve higher levels stay.
    ///
    /// # Errors
    /// [`CkksError::Fingerprint`] if generator or secret belong to other parameters.
    pub fn generate_keys(
        &self,
        generator: &KeyGenerator,
        secret: &SecretKey,
        keys: &mut EvaluationKeys,
    ) -> Result<(), CkksError> {
        let needed = self.keys_needed();
        if keys.relinearisation(needed.relinearisation).is_err() {
            keys.insert(generator.relinearisation_key(secret, needed.relinearisation)?);
        }
        let conjugation = (self.context.conjugation_element(), needed.conjugation);
        let rotations = needed.rotations.iter().map(|(steps, level)| (self.context.galois_element(*steps), *level));
        for (g, level) in rotations.chain([conjugation]) {
            if keys.galois(g, level, String::new).is_err() {
                keys.insert(generator.galois_key(secret, g, level)?);
            }
        }
        if keys.to_ephemeral.is_none() || keys.from_ephemeral(self.context.parameters().max_level()).is_err() {
            let (to, from) = generator.ephemeral_keys(secret)?;
            keys.insert(to);
            keys.insert(from);
        }
        Ok(())
    }

    /// Bytes of the keys that a bootstrap needs, ephemeral ones included, without generating them.
    #[must_use]
    pub fn key_bytes(&self) -> usize {
        let (parameters, ring) = (self.context.parameters(), self.context.ring());
        let limb = |prime| PackedLimb::width(ring.modulus(prime)) * parameters.n();
        let special: usize = (0..ring.special_len()).map(|j| limb(ring.chain_len() + j)).sum();
        let key = |level: usize| 2 * parameters.digits(level) * ((0..=level).map(limb).sum::<usize>() + special);
        let needed = self.keys_needed();
        let levels = [needed.relinearisation, needed.conjugation, parameters.max_level()];
        let to_ephemeral = 4 * size_of::<u64>() * parameters.n();
        levels.into_iter().chain(needed.rotations.into_values()).map(key).sum::<usize>() + to_ephemeral
    }
}

/// The rotations of the trace for a period, in `[-slots/2, slots/2)` (`r[boot.sparse.trace]`).
fn trace_steps(slots: usize, period: usize) -> impl Iterator<Item = i64> {
    inner_sum_rotations(slots / period, period as i64).into_iter().map(move |steps| centre(steps, slots))
}
