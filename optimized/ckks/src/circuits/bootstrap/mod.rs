//! Bootstrapping: a ciphertext of a low level to one of a high level (chapter `bootstrapping.md` of the book).
//!
//! SlotsToCoeffs runs first, on few limbs; ModRaise then works on coefficients, under an ephemeral secret of small weight;
//! CoeffsToSlots and EvalMod remove the multiples of `q_0` that ModRaise added. A [`Bootstrapper`] holds the plaintexts of
//! the two maps; keys are those of the [`Evaluator`].

mod error;
mod eval_mod;
mod factors;
mod keys;
mod shape;
mod sparse;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_sparse;

pub use error::{BootstrapError, SparseBootstrapError};
pub use keys::KeysNeeded;
pub use shape::MapShape;
pub use sparse::Sparse;

use super::linear::{LinearMap, PreparedMap, plaintext_scale};
use crate::ckks::ephemeral::section;
use crate::instrument;
use crate::{Ciphertext, CkksError, Context, Encoder, Evaluator, Parameters};
use eval_mod::EvalMod;
use factors::{Diagonals, Direction, factors, restricted};
use sparse::SparseMaps;
use std::collections::BTreeMap;
use touchstone_spec::params::MapFactor;

/// One factor of a map: its plaintexts, the level at which it starts and the label that it ends with.
#[derive(Clone, Debug)]
struct Factor {
    map: PreparedMap,
    level: usize,
    label: f64,
}

/// Both linear maps, in order of application.
#[derive(Clone, Debug)]
struct Maps {
    slots_to_coeffs: Vec<Factor>,
    coeffs_to_slots: Vec<Factor>,
}

impl Maps {
    /// Encodes the maps for slots of a period (`r[boot.factors]`, `r[boot.sparse.factors]`).
    fn new(context: &Context, period: usize) -> Result<Self, CkksError> {
        let parameters = context.parameters();
        let boot = section(parameters, "Bootstrapper::new")?;
        let bottom = radices(&boot.slots_to_coeffs, period, Direction::SlotsToCoeffs).len();
        let down = (bottom, parameters.canonical_scale(bottom));
        let up = (raised_level(parameters, period)?, raised_label(parameters)?);
        Ok(Self {
            slots_to_coeffs: prepare(context, &boot.slots_to_coeffs, period, down, Direction::SlotsToCoeffs)?,
            coeffs_to_slots: prepare(context, &boot.coeffs_to_slots, period, up, Direction::CoeffsToSlots)?,
        })
    }

    fn factors(&self) -> impl Iterator<Item = &Factor> {
        self.slots_to_coeffs.iter().chain(&self.coeffs_to_slots)
    }
}

/// Everything a bootstrap precomputes for a parameter set with a bootstrapping section. Clones are expensive.
#[derive(Clone, Debug)]
pub struct Bootstrapper {
    context: Context,
    maps: Maps,
    /// By period.
    sparse: BTreeMap<usize, SparseMaps>,
    /// `fl(q_0 range)`, the label after ModRaise.
    raised_label: f64,
    eval_mod: EvalMod,
}

impl Bootstrapper {
    /// Prepares the maps.
    ///
    /// # Errors
    /// [`CkksError::Argument`] for a parameter set without bootstrapping.
    pub fn new(context: &Context) -> Result<Self, CkksError> {
        let parameters = context.parameters();
        let boot = section(parameters, "Bootstrapper::new")?;
        Ok(Self {
            maps: Maps::new(context, parameters.slots())?,
            sparse: BTreeMap::new(),
            raised_label: raised_label(parameters)?,
            eval_mod: EvalMod::new(boot, parameters.canonical_scale(boot.output_level))?,
            context: context.clone(),
        })
    }

    /// Keeps the transforms of plaintexts of the maps for all slots for as long as they take at most `limit` bytes in all, the factors that work on most
    /// limbs first; gives the bytes spent.
    ///
    /// # Errors
    /// None for a bootstrapper that [`Bootstrapper::new`] made.
    pub fn keep_transforms(&mut self, limit: usize) -> Result<usize, CkksError> {
        let mut spent = 0;
        for factor in self.maps.coeffs_to_slots.iter_mut().chain(&mut self.maps.slots_to_coeffs) {
            let before = factor.map.bytes();
            if factor.map.keep_transforms(factor.level, limit - spent)? {
                spent += factor.map.bytes() - before;
            }
        }
        Ok(spent)
    }

    /// The level of an input: SlotsToCoeffs takes it to level 0.
    #[must_use]
    pub fn input_level(&self) -> usize {
        self.maps.slots_to_coeffs.len()
    }

    /// Bytes held by the plaintexts of all maps.
    #[must_use]
    pub fn plaintext_bytes(&self) -> usize {
        let sparse = self.sparse.values().map(SparseMaps::bytes);
        self.maps.factors().map(|factor| factor.map.bytes()).chain(sparse).sum()
    }

    /// The factors of SlotsToCoeffs, in order of application.
    pub fn slots_to_coeffs_maps(&self) -> impl Iterator<Item = &PreparedMap> {
        self.maps.slots_to_coeffs.iter().map(|factor| &factor.map)
    }

    /// The factors of CoeffsToSlots, in order of application.
    pub fn coeffs_to_slots_maps(&self) -> impl Iterator<Item = &PreparedMap> {
        self.maps.coeffs_to_slots.iter().map(|factor| &factor.map)
    }

    /// Bootstraps complex slots (`r[boot.join]`): in canonical, of level [`Bootstrapper::input_level`] or more, real and
    /// imaginary parts of slots in `[-1, 1]` (`r[boot.input]`; nothing can check that); out canonical, of the parameter set's output level. The error
    /// is that of [`Bootstrapper::predicted_error`].
    ///
    /// # Errors
    /// [`CkksError::Level`] below the input level, [`CkksError::Scale`] at it with another than the canonical scale;
    /// [`CkksError::MissingKey`], [`CkksError::KeyLevel`] for keys of [`Bootstrapper::keys_needed`] or ephemeral ones;
    /// [`CkksError::Degree`] for a ciphertext of degree 2; [`CkksError::Fingerprint`].
    pub fn bootstrap(&self, evaluator: &Evaluator, ct: &Ciphertext) -> Result<Ciphertext, CkksError> {
        let _bootstrap = instrument::bootstrap(ct.level());
        let raised = self.raise(evaluator, ct)?;
        let [real, imaginary] = self.coeffs_to_slots(evaluator, &raised)?;
        let (real, imaginary) =
            instrument::join(|| self.eval_mod(evaluator, &real), || self.eval_mod(evaluator, &imaginary));
        evaluator.add(&real?, &evaluator.mul_i(&imaginary?)?)
    }

    /// [`Bootstrapper::bootstrap`] of slots that are real, for half of EvalMod (`r[boot.real]`): imaginary parts are dropped.
    ///
    /// # Errors
    /// As [`Bootstrapper::bootstrap`].
    pub fn bootstrap_real(&self, evaluator: &Evaluator, ct: &Ciphertext) -> Result<Ciphertext, CkksError> {
        let _bootstrap = instrument::bootstrap(ct.level());
        let raised = self.raise(evaluator, ct)?;
        let doubled = self.conjugate_pair(evaluator, &raised, &Vec::from_iter(&self.maps.coeffs_to_slots))?;
        let real = evaluator.add(&doubled[0], &doubled[1])?;
        self.eval_mod(evaluator, &self.middle(evaluator, &real)?)
    }

    /// All stages up to CoeffsToSlots.
    fn raise(&self, evaluator: &Evaluator, ct: &Ciphertext) -> Result<Ciphertext, CkksError> {
        let coefficients = self.slots_to_coeffs(evaluator, ct)?;
        self.mod_raise(evaluator, &coefficients)
    }

    /// SlotsToCoeffs (`r[boot.stc]`): level 0, the slots as coefficients, in bit-reversed order.
    ///
    /// # Errors
    /// As [`Bootstrapper::bootstrap`].
    pub fn slots_to_coeffs(&self, evaluator: &Evaluator, ct: &Ciphertext) -> Result<Ciphertext, CkksError> {
        self.lowered("Bootstrapper::slots_to_coeffs", evaluator, ct, &self.maps.slots_to_coeffs)
    }

    /// The factors of SlotsToCoeffs in turn, from the level at which the first starts.
    fn lowered(
        &self,
        operation: &'static str,
        evaluator: &Evaluator,
        ct: &Ciphertext,
        factors: &[Factor],
    ) -> Result<Ciphertext, CkksError> {
        self.check(operation, evaluator, ct)?;
        if ct.level() < factors.len() {
            return Err(CkksError::Level { operation, expected: factors.len(), got: ct.level() });
        }
        let start = evaluator.to_level(ct, factors.len())?;
        factors.iter().try_fold(start, |value, factor| factor.map.apply(evaluator, &value, Some(factor.label)))
    }

    /// To the ephemeral secret, ModRaise and back (`r[boot.switch.to-ephemeral]`, `r[boot.modraise]`,
    /// `r[boot.switch.from-ephemeral]`): level 0 to the top, coefficients `z / 2^ratio + I` in units of `q_0`.
    ///
    /// # Errors
    /// [`CkksError::Level`] at another level; [`CkksError::MissingKey`]; [`CkksError::Degree`]; [`CkksError::Fingerprint`].
    pub fn mod_raise(&self, evaluator: &Evaluator, ct: &Ciphertext) -> Result<Ciphertext, CkksError> {
        self.raised("Bootstrapper::mod_raise", evaluator, ct, self.context.parameters().max_level())
    }

    /// To the ephemeral secret, ModRaise to a level and back.
    fn raised(
        &self,
        operation: &'static str,
        evaluator: &Evaluator,
        ct: &Ciphertext,
        level: usize,
    ) -> Result<Ciphertext, CkksError> {
        self.check(operation, evaluator, ct)?;
        let switched = evaluator.to_ephemeral(ct)?;
        evaluator.from_ephemeral(&evaluator.mod_raise(&switched, level, self.raised_label)?)
    }

    /// CoeffsToSlots (`r[boot.cts]`): coefficients that stand for `t_k` and `t_(k + n)` as real slots `t / range` of two
    /// canonical ciphertexts.
    ///
    /// # Errors
    /// [`CkksError::Level`] or [`CkksError::Scale`] for anything but the result of [`Bootstrapper::mod_raise`];
    /// [`CkksError::MissingKey`], [`CkksError::KeyLevel`]; [`CkksError::Degree`]; [`CkksError::Fingerprint`].
    pub fn coeffs_to_slots(&self, evaluator: &Evaluator, ct: &Ciphertext) -> Result<[Ciphertext; 2], CkksError> {
        let factors = Vec::from_iter(&self.maps.coeffs_to_slots);
        let [value, conjugate] = self.conjugate_pair(evaluator, ct, &factors)?;
        let real = evaluator.add(&value, &conjugate)?;
        // -i (B - C) is i (C - B).
        let imaginary = evaluator.mul_i(&evaluator.sub(&conjugate, &value)?)?;
        Ok([self.middle(evaluator, &real)?, self.middle(evaluator, &imaginary)?])
    }

    /// The slots of CoeffsToSlots by these factors and their conjugates, before the last rescale.
    fn conjugate_pair(
        &self,
        evaluator: &Evaluator,
        ct: &Ciphertext,
        factors: &[&Factor],
    ) -> Result<[Ciphertext; 2], CkksError> {
        let operation = "Bootstrapper::coeffs_to_slots";
        self.check(operation, evaluator, ct)?;
        let top = self.middle_level() + factors.len();
        if ct.level() != top {
            return Err(CkksError::Level { operation, expected: top, got: ct.level() });
        }
        if ct.scale() != self.raised_label {
            return Err(CkksError::Scale { operation, expected: self.raised_label, got: ct.scale() });
        }
        let mut value = ct.clone();
        for (i, factor) in factors.iter().enumerate() {
            value = match i + 1 == factors.len() {
                false => factor.map.apply(evaluator, &value, Some(factor.label))?,
                true => factor.map.apply_unscaled(evaluator, &value)?,
            };
        }
        let conjugate = evaluator.conjugate(&value)?;
        Ok([value, conjugate])
    }

    /// The last rescale of CoeffsToSlots.
    fn middle(&self, evaluator: &Evaluator, ct: &Ciphertext) -> Result<Ciphertext, CkksError> {
        let mut value = evaluator.rescale(ct)?;
        value.scale = self.context.parameters().canonical_scale(self.middle_level());
        Ok(value)
    }

    /// EvalMod (`r[boot.evalmod]`, `r[boot.output]`): a canonical ciphertext of slots `t / range` to one of the output level with
    /// slots `z`, `t - z / 2^ratio` an integer.
    ///
    /// # Errors
    /// [`CkksError::Level`] or [`CkksError::Scale`] for anything but a result of [`Bootstrapper::coeffs_to_slots`];
    /// [`CkksError::MissingKey`], [`CkksError::KeyLevel`]; [`CkksError::Degree`]; [`CkksError::Fingerprint`].
    pub fn eval_mod(&self, evaluator: &Evaluator, ct: &Ciphertext) -> Result<Ciphertext, CkksError> {
        let operation = "Bootstrapper::eval_mod";
        self.check(operation, evaluator, ct)?;
        if ct.level() != self.middle_level() {
            return Err(CkksError::Level { operation, expected: self.middle_level(), got: ct.level() });
        }
        self.eval_mod.output(evaluator, &self.eval_mod.sine(evaluator, ct)?)
    }

    /// The level between CoeffsToSlots and EvalMod.
    fn middle_level(&self) -> usize {
        self.context.parameters().max_level() - self.maps.coeffs_to_slots.len()
    }

    fn check(&self, operation: &'static str, evaluator: &Evaluator, ct: &Ciphertext) -> Result<(), CkksError> {
        evaluator.context().check_fingerprint(operation, &self.context.parameters().fingerprint())?;
        self.context.check_fingerprint(operation, &ct.fingerprint())?;
        evaluator.check_degree(operation, ct, 1)
    }
}

/// `fl(q_0 range)`, the label after ModRaise.
fn raised_label(parameters: &Parameters) -> Result<f64, CkksError> {
    let boot = section(parameters, "Bootstrapper::new")?;
    Ok(parameters.chain()[0] as f64 * f64::from(boot.range))
}

/// The level that ModRaise goes to for slots of a period (`r[boot.modraise]`, `r[boot.sparse.modraise]`).
fn raised_level(parameters: &Parameters, period: usize) -> Result<usize, CkksError> {
    let boot = section(parameters, "Bootstrapper::new")?;
    let unused = boot.coeffs_to_slots.len() - radices(&boot.coeffs_to_slots, period, Direction::CoeffsToSlots).len();
    Ok(parameters.max_level() - unused)
}

/// The numbers of layers of the factors of a map for slots of a period.
fn radices(literal: &[MapFactor], period: usize, direction: Direction) -> Vec<u32> {
    let all: Vec<u32> = literal.iter().map(|factor| factor.log_radix).collect();
    restricted(&all, period.ilog2(), direction)
}

/// Encodes the factors of a map that starts at the given level with the given label, for slots of a period.
fn prepare(
    context: &Context,
    literal: &[MapFactor],
    period: usize,
    start: (usize, f64),
    direction: Direction,
) -> Result<Vec<Factor>, CkksError> {
    let log_radices = radices(literal, period, direction);
    let all = factors(context.parameters().slots(), period, &log_radices, direction);
    encode(context, &literal[literal.len() - all.len()..], all, start)
}

/// Encodes factors that end with the labels of `literal`, the first of which starts at the given level with the given label.
fn encode(
    context: &Context,
    literal: &[MapFactor],
    factors: Vec<Diagonals>,
    (mut level, mut label): (usize, f64),
) -> Result<Vec<Factor>, CkksError> {
    let encoder = Encoder::new(context);
    let mut prepared = Vec::with_capacity(literal.len());
    for (diagonals, factor) in factors.into_iter().zip(literal) {
        let scale = plaintext_scale(context, level, label, factor.label.0)?;
        let map = LinearMap::from_diagonals(context.parameters().slots(), &diagonals)?.prepare(&encoder, scale)?;
        prepared.push(Factor { map, level, label: factor.label.0 });
        (level, label) = (level - 1, factor.label.0);
    }
    Ok(prepared)
}
