//! Sparse packing: bootstrapping of slots that repeat with a period (`r[boot.sparse.*]`).
//!
//! The message lies in the subring of polynomials in a power of `X`, so the maps have only the layers up to the period, ModRaise
//! goes to a lower level where a factor is left out, and real and imaginary parts share one EvalMod.

use super::{Bootstrapper, Diagonals, Factor, Maps, encode, raised_level};
use crate::circuits::bootstrap::factors::{Direction, factors};
use crate::circuits::linear::{LinearMap, PreparedMap, inner_sum};
use crate::ckks::ephemeral::section;
use crate::instrument;
use crate::{Ciphertext, CkksError, Complex64, Context, Encoder, Evaluator, Parameters};
use std::collections::BTreeMap;

/// The maps of one period.
#[derive(Clone, Debug)]
pub(super) struct SparseMaps {
    pub(super) maps: Maps,
    /// The last factor of CoeffsToSlots, for complex slots (`r[boot.sparse.packing]`).
    packing: Factor,
    /// From packed parts to complex slots (`r[boot.sparse.unpack]`).
    unpacking: PreparedMap,
}

impl SparseMaps {
    fn new(context: &Context, period: usize) -> Result<Self, CkksError> {
        let boot = section(context.parameters(), "Bootstrapper::prepare_sparse")?;
        let maps = Maps::new(context, period)?;
        let level = boot.output_level;
        let unpacking =
            LinearMap::from_diagonals(context.parameters().slots(), &unpacking(context.parameters(), period))?;
        let unpacking = unpacking.prepare(&Encoder::new(context), context.parameters().canonical_scale(level))?;
        Ok(Self { packing: packing(context, &maps, period)?, maps, unpacking })
    }

    pub(super) fn bytes(&self) -> usize {
        let factors = self.maps.factors().chain([&self.packing]);
        factors.map(|factor| factor.map.bytes()).sum::<usize>() + self.unpacking.bytes()
    }
}

/// The last factor of CoeffsToSlots times `-i` in the second half of every two periods.
fn packing(context: &Context, maps: &Maps, period: usize) -> Result<Factor, CkksError> {
    let parameters = context.parameters();
    let boot = section(parameters, "Bootstrapper::prepare_sparse")?;
    let radices = super::radices(&boot.coeffs_to_slots, period, Direction::CoeffsToSlots);
    let mut last = factors(parameters.slots(), period, &radices, Direction::CoeffsToSlots).split_off(radices.len() - 1);
    let entries = last.iter_mut().flat_map(|factor| factor.values_mut());
    entries.for_each(|diagonal| times_in_second_half(diagonal, period, -Complex64::I));
    let count = maps.coeffs_to_slots.len();
    let label = match count.checked_sub(2) {
        Some(before) => maps.coeffs_to_slots[before].label,
        None => super::raised_label(parameters)?,
    };
    let level = raised_level(parameters, period)? + 1 - count;
    let literal = &boot.coeffs_to_slots[boot.coeffs_to_slots.len() - 1..];
    let none =
        CkksError::Argument { operation: "Bootstrapper::prepare_sparse", expected: "a factor", got: "none".to_owned() };
    encode(context, literal, last, (level, label))?.pop().ok_or(none)
}

/// The diagonals of the map that adds the second half of every two periods, times `i`, to the first, and the same the other way.
fn unpacking(parameters: &Parameters, period: usize) -> Diagonals {
    let mut own = vec![Complex64::ONE; parameters.slots()];
    times_in_second_half(&mut own, period, Complex64::I);
    let mut other = own.clone();
    other.rotate_left(period);
    BTreeMap::from([(0, own), (period as i64, other)])
}

/// Multiplies the slots in the second half of every two periods.
fn times_in_second_half(slots: &mut [Complex64], period: usize, factor: Complex64) {
    slots.chunks_mut(period).skip(1).step_by(2).flatten().for_each(|slot| *slot *= factor);
}

/// Refuses what is not a power of two from 2 to half the slots.
pub(super) fn check_period(operation: &'static str, parameters: &Parameters, period: usize) -> Result<(), CkksError> {
    if period.is_power_of_two() && (2..=parameters.slots() / 2).contains(&period) {
        return Ok(());
    }
    let expected = "a period that is a power of two from 2 to half the slots";
    Err(CkksError::Argument { operation, expected, got: period.to_string() })
}

impl Bootstrapper {
    /// Prepares the maps for slots of a period, a power of two from 2 to half the slots. Call it before
    /// [`Bootstrapper::generate_keys`].
    ///
    /// # Errors
    /// [`CkksError::Argument`] for another period.
    pub fn prepare_sparse(&mut self, period: usize) -> Result<(), CkksError> {
        check_period("Bootstrapper::prepare_sparse", self.context.parameters(), period)?;
        if !self.sparse.contains_key(&period) {
            let maps = SparseMaps::new(&self.context, period)?;
            self.sparse.insert(period, maps);
        }
        Ok(())
    }

    /// The stages for slots of a period that [`Bootstrapper::prepare_sparse`] has prepared.
    ///
    /// # Errors
    /// [`CkksError::Argument`] for a period that was not prepared.
    pub fn sparse(&self, period: usize) -> Result<Sparse<'_>, CkksError> {
        let maps = self.sparse.get(&period).ok_or_else(|| CkksError::Argument {
            operation: "Bootstrapper::sparse",
            expected: "a period that was prepared",
            got: period.to_string(),
        })?;
        Ok(Sparse { boot: self, maps, period })
    }

    /// Bootstraps complex slots that repeat with a period (`r[boot.sparse.input]`): in as for [`Bootstrapper::bootstrap`], of
    /// [`Sparse::input_level`] or more; out canonical, one level below the parameter set's output level, for one EvalMod
    /// (`r[boot.sparse.unpack]`). Copies that differ are replaced by their mean. The error is that of
    /// [`SparseBootstrapError::of`](super::SparseBootstrapError::of).
    ///
    /// # Errors
    /// As [`Bootstrapper::bootstrap`]; [`CkksError::Argument`] for a period that was not prepared.
    pub fn bootstrap_sparse(
        &self,
        evaluator: &Evaluator,
        ct: &Ciphertext,
        period: usize,
    ) -> Result<Ciphertext, CkksError> {
        let _bootstrap = instrument::bootstrap(ct.level());
        let sparse = self.sparse(period)?;
        let packed = sparse.pack_slots(evaluator, &sparse.raise(evaluator, ct)?)?;
        sparse.unpack(evaluator, &self.eval_mod(evaluator, &packed)?)
    }

    /// [`Bootstrapper::bootstrap_sparse`] of real slots (`r[boot.real]`), at the parameter set's output level.
    ///
    /// # Errors
    /// As [`Bootstrapper::bootstrap_sparse`].
    pub fn bootstrap_sparse_real(
        &self,
        evaluator: &Evaluator,
        ct: &Ciphertext,
        period: usize,
    ) -> Result<Ciphertext, CkksError> {
        let _bootstrap = instrument::bootstrap(ct.level());
        let sparse = self.sparse(period)?;
        self.eval_mod(evaluator, &sparse.real_slots(evaluator, &sparse.raise(evaluator, ct)?)?)
    }
}

/// The stages of a bootstrap of slots of one period, besides [`Bootstrapper::eval_mod`].
#[derive(Clone, Copy, Debug)]
pub struct Sparse<'a> {
    boot: &'a Bootstrapper,
    maps: &'a SparseMaps,
    period: usize,
}

impl<'a> Sparse<'a> {
    /// The level of an input: SlotsToCoeffs takes it to level 0.
    #[must_use]
    pub fn input_level(&self) -> usize {
        self.maps.maps.slots_to_coeffs.len()
    }

    /// The factors of SlotsToCoeffs, in order of application.
    pub fn slots_to_coeffs_maps(&self) -> impl Iterator<Item = &'a PreparedMap> {
        self.maps.maps.slots_to_coeffs.iter().map(|factor| &factor.map)
    }

    /// The factors of CoeffsToSlots for real slots, in order of application.
    pub fn coeffs_to_slots_maps(&self) -> impl Iterator<Item = &'a PreparedMap> {
        self.maps.maps.coeffs_to_slots.iter().map(|factor| &factor.map)
    }

    /// The last factor of CoeffsToSlots for complex slots.
    #[must_use]
    pub fn packing_map(&self) -> &'a PreparedMap {
        &self.maps.packing.map
    }

    /// The map of [`Sparse::unpack`].
    #[must_use]
    pub fn unpacking_map(&self) -> &'a PreparedMap {
        &self.maps.unpacking
    }

    /// SlotsToCoeffs (`r[boot.sparse.stc]`): level 0, one period of slots as coefficients of powers of `X^(N / (2 period))`.
    ///
    /// # Errors
    /// As [`Bootstrapper::bootstrap`].
    pub fn slots_to_coeffs(&self, evaluator: &Evaluator, ct: &Ciphertext) -> Result<Ciphertext, CkksError> {
        self.boot.lowered("Sparse::slots_to_coeffs", evaluator, ct, &self.maps.maps.slots_to_coeffs)
    }

    /// To the ephemeral secret, ModRaise and back (`r[boot.sparse.modraise]`): to the level at which CoeffsToSlots starts.
    ///
    /// # Errors
    /// As [`Bootstrapper::mod_raise`].
    pub fn mod_raise(&self, evaluator: &Evaluator, ct: &Ciphertext) -> Result<Ciphertext, CkksError> {
        let level = self.boot.middle_level() + self.maps.maps.coeffs_to_slots.len();
        self.boot.raised("Sparse::mod_raise", evaluator, ct, level)
    }

    /// The projection to the subring (`r[boot.sparse.trace]`): coefficients outside it become 0, those inside stay.
    ///
    /// # Errors
    /// [`CkksError::MissingKey`], [`CkksError::KeyLevel`]; [`CkksError::Degree`]; [`CkksError::Fingerprint`].
    pub fn project(&self, evaluator: &Evaluator, ct: &Ciphertext) -> Result<Ciphertext, CkksError> {
        let copies = self.boot.context.parameters().slots() / self.period;
        let divided = evaluator.mul_inverse(ct, copies as u64)?;
        inner_sum(evaluator, &divided, copies, self.period as i64)
    }

    /// All stages up to CoeffsToSlots.
    fn raise(&self, evaluator: &Evaluator, ct: &Ciphertext) -> Result<Ciphertext, CkksError> {
        let raised = self.mod_raise(evaluator, &self.slots_to_coeffs(evaluator, ct)?)?;
        self.project(evaluator, &raised)
    }

    /// CoeffsToSlots of real slots (`r[boot.sparse.cts]`): slots `t / range` of the period, canonical.
    ///
    /// # Errors
    /// As [`Bootstrapper::coeffs_to_slots`].
    pub fn real_slots(&self, evaluator: &Evaluator, ct: &Ciphertext) -> Result<Ciphertext, CkksError> {
        self.slots(evaluator, ct, &Vec::from_iter(&self.maps.maps.coeffs_to_slots))
    }

    /// CoeffsToSlots of complex slots (`r[boot.sparse.packing]`): real parts in the first half of every two periods, imaginary
    /// parts in the second.
    ///
    /// # Errors
    /// As [`Bootstrapper::coeffs_to_slots`].
    pub fn pack_slots(&self, evaluator: &Evaluator, ct: &Ciphertext) -> Result<Ciphertext, CkksError> {
        let factors = &self.maps.maps.coeffs_to_slots;
        let packed = factors[..factors.len() - 1].iter().chain([&self.maps.packing]);
        self.slots(evaluator, ct, &Vec::from_iter(packed))
    }

    fn slots(&self, evaluator: &Evaluator, ct: &Ciphertext, factors: &[&Factor]) -> Result<Ciphertext, CkksError> {
        let [value, conjugate] = self.boot.conjugate_pair(evaluator, ct, factors)?;
        self.boot.middle(evaluator, &evaluator.add(&value, &conjugate)?)
    }

    /// From packed parts of the output level to complex slots one level lower (`r[boot.sparse.unpack]`).
    ///
    /// # Errors
    /// [`CkksError::LevelExhausted`], [`CkksError::Scale`] for anything but a result of [`Bootstrapper::eval_mod`];
    /// [`CkksError::MissingKey`], [`CkksError::KeyLevel`]; [`CkksError::Degree`]; [`CkksError::Fingerprint`].
    pub fn unpack(&self, evaluator: &Evaluator, ct: &Ciphertext) -> Result<Ciphertext, CkksError> {
        self.maps.unpacking.apply(evaluator, ct, None)
    }
}
