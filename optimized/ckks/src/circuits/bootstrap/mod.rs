//! Bootstrapping: a ciphertext of a low level to one of a high level (chapter `bootstrapping.md` of the book).
//!
//! SlotsToCoeffs runs first, on few limbs; ModRaise then works on coefficients, under an ephemeral secret of small weight;
//! CoeffsToSlots and EvalMod remove the multiples of `q_0` that ModRaise added. A [`Bootstrapper`] holds the plaintexts of
//! the two maps; keys are those of the [`Evaluator`].

mod error;
mod eval_mod;
mod factors;
mod shape;
#[cfg(test)]
mod tests;

pub use error::BootstrapError;
pub use shape::MapShape;

use super::linear::{LinearMap, PreparedMap, plaintext_scale, rotations_of};
use crate::arith::PackedLimb;
use crate::ckks::ephemeral::section;
use crate::instrument;
use crate::{Ciphertext, CkksError, Context, Encoder, EvaluationKeys, Evaluator, KeyGenerator, Parameters, SecretKey};
use eval_mod::EvalMod;
use factors::{Direction, factors, shifts};
use std::collections::BTreeMap;
use touchstone_spec::params::MapFactor;

/// Keys that a bootstrap uses besides the ephemeral ones, with the highest level at which it uses them
/// (`r[boot.key.rotations]`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeysNeeded {
    /// Level of the relinearisation key.
    pub relinearisation: usize,
    /// Level of the conjugation key.
    pub conjugation: usize,
    /// Levels of rotation keys, by steps.
    pub rotations: BTreeMap<i64, usize>,
}

impl KeysNeeded {
    /// The keys that [`Bootstrapper::bootstrap`] needs, without preparing its maps.
    ///
    /// # Errors
    /// [`CkksError::Argument`] for a parameter set without bootstrapping.
    pub fn of(parameters: &Parameters) -> Result<Self, CkksError> {
        let boot = section(parameters, "KeysNeeded::of")?;
        let slots = parameters.slots();
        let radices = |factors: &[MapFactor]| factors.iter().map(|factor| factor.log_radix).collect::<Vec<_>>();
        let down = shifts(slots, &radices(&boot.slots_to_coeffs), Direction::SlotsToCoeffs);
        let up = shifts(slots, &radices(&boot.coeffs_to_slots), Direction::CoeffsToSlots);
        let starts = [boot.slots_to_coeffs.len(), parameters.max_level()];
        let mut rotations = BTreeMap::new();
        for (factors, start) in [down, up].into_iter().zip(starts) {
            for (done, shifts) in factors.into_iter().enumerate() {
                for steps in rotations_of(slots, shifts.into_iter()) {
                    let level = rotations.entry(steps).or_default();
                    *level = (start - done).max(*level);
                }
            }
        }
        let middle = parameters.max_level() - boot.coeffs_to_slots.len();
        Ok(Self { relinearisation: middle, conjugation: middle + 1, rotations })
    }
}

/// One factor of a map: its plaintexts, the level at which it starts and the label that it ends with.
#[derive(Clone, Debug)]
struct Factor {
    map: PreparedMap,
    level: usize,
    label: f64,
}

/// Everything a bootstrap precomputes for a parameter set with a bootstrapping section. Clones are expensive.
#[derive(Clone, Debug)]
pub struct Bootstrapper {
    context: Context,
    slots_to_coeffs: Vec<Factor>,
    coeffs_to_slots: Vec<Factor>,
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
        let boot = section(context.parameters(), "Bootstrapper::new")?;
        let parameters = context.parameters();
        let bottom = boot.slots_to_coeffs.len();
        let raised_label = parameters.chain()[0] as f64 * f64::from(boot.range);
        let down = (bottom, parameters.canonical_scale(bottom));
        let up = (parameters.max_level(), raised_label);
        let eval_mod = EvalMod::new(boot, parameters.canonical_scale(boot.output_level))?;
        Ok(Self {
            slots_to_coeffs: prepare(context, &boot.slots_to_coeffs, down, Direction::SlotsToCoeffs)?,
            coeffs_to_slots: prepare(context, &boot.coeffs_to_slots, up, Direction::CoeffsToSlots)?,
            raised_label,
            eval_mod,
            context: context.clone(),
        })
    }

    /// Keeps the transforms of plaintexts for as long as they take at most `limit` bytes in all, the factors that work on most
    /// limbs first; gives the bytes spent.
    ///
    /// # Errors
    /// None for a bootstrapper that [`Bootstrapper::new`] made.
    pub fn keep_transforms(&mut self, limit: usize) -> Result<usize, CkksError> {
        let mut spent = 0;
        for factor in self.coeffs_to_slots.iter_mut().chain(&mut self.slots_to_coeffs) {
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
        self.slots_to_coeffs.len()
    }

    /// Bytes held by the plaintexts of the maps.
    #[must_use]
    pub fn plaintext_bytes(&self) -> usize {
        self.slots_to_coeffs.iter().chain(&self.coeffs_to_slots).map(|factor| factor.map.bytes()).sum()
    }

    /// The factors of SlotsToCoeffs, in order of application.
    pub fn slots_to_coeffs_maps(&self) -> impl Iterator<Item = &PreparedMap> {
        self.slots_to_coeffs.iter().map(|factor| &factor.map)
    }

    /// The factors of CoeffsToSlots, in order of application.
    pub fn coeffs_to_slots_maps(&self) -> impl Iterator<Item = &PreparedMap> {
        self.coeffs_to_slots.iter().map(|factor| &factor.map)
    }

    /// The keys that [`Bootstrapper::bootstrap`] uses, besides the ephemeral ones.
    #[must_use]
    pub fn keys_needed(&self) -> KeysNeeded {
        let middle = self.middle_level();
        let mut rotations = BTreeMap::new();
        for factor in self.slots_to_coeffs.iter().chain(&self.coeffs_to_slots) {
            for steps in factor.map.rotations() {
                let level = rotations.entry(steps).or_insert(factor.level);
                *level = factor.level.max(*level);
            }
        }
        KeysNeeded { relinearisation: middle, conjugation: middle + 1, rotations }
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
        let doubled = self.conjugate_pair(evaluator, &raised)?;
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
        let operation = "Bootstrapper::slots_to_coeffs";
        self.check(operation, evaluator, ct)?;
        if ct.level() < self.input_level() {
            return Err(CkksError::Level { operation, expected: self.input_level(), got: ct.level() });
        }
        let mut value = evaluator.to_level(ct, self.input_level())?;
        for factor in &self.slots_to_coeffs {
            value = factor.map.apply(evaluator, &value, Some(factor.label))?;
        }
        Ok(value)
    }

    /// To the ephemeral secret, ModRaise and back (`r[boot.switch.to-ephemeral]`, `r[boot.modraise]`,
    /// `r[boot.switch.from-ephemeral]`): level 0 to the top, coefficients `z / 2^ratio + I` in units of `q_0`.
    ///
    /// # Errors
    /// [`CkksError::Level`] at another level; [`CkksError::MissingKey`]; [`CkksError::Degree`]; [`CkksError::Fingerprint`].
    pub fn mod_raise(&self, evaluator: &Evaluator, ct: &Ciphertext) -> Result<Ciphertext, CkksError> {
        self.check("Bootstrapper::mod_raise", evaluator, ct)?;
        let switched = evaluator.to_ephemeral(ct)?;
        evaluator.from_ephemeral(&evaluator.mod_raise(&switched, self.raised_label)?)
    }

    /// CoeffsToSlots (`r[boot.cts]`): coefficients that stand for `t_k` and `t_(k + n)` as real slots `t / range` of two
    /// canonical ciphertexts.
    ///
    /// # Errors
    /// [`CkksError::Level`] or [`CkksError::Scale`] for anything but the result of [`Bootstrapper::mod_raise`];
    /// [`CkksError::MissingKey`], [`CkksError::KeyLevel`]; [`CkksError::Degree`]; [`CkksError::Fingerprint`].
    pub fn coeffs_to_slots(&self, evaluator: &Evaluator, ct: &Ciphertext) -> Result<[Ciphertext; 2], CkksError> {
        let [value, conjugate] = self.conjugate_pair(evaluator, ct)?;
        let real = evaluator.add(&value, &conjugate)?;
        // -i (B - C) is i (C - B).
        let imaginary = evaluator.mul_i(&evaluator.sub(&conjugate, &value)?)?;
        Ok([self.middle(evaluator, &real)?, self.middle(evaluator, &imaginary)?])
    }

    /// The slots of CoeffsToSlots and their conjugates, before the last rescale.
    fn conjugate_pair(&self, evaluator: &Evaluator, ct: &Ciphertext) -> Result<[Ciphertext; 2], CkksError> {
        let operation = "Bootstrapper::coeffs_to_slots";
        self.check(operation, evaluator, ct)?;
        let top = self.context.parameters().max_level();
        if ct.level() != top {
            return Err(CkksError::Level { operation, expected: top, got: ct.level() });
        }
        if ct.scale() != self.raised_label {
            return Err(CkksError::Scale { operation, expected: self.raised_label, got: ct.scale() });
        }
        let mut value = ct.clone();
        for (i, factor) in self.coeffs_to_slots.iter().enumerate() {
            value = match i + 1 == self.coeffs_to_slots.len() {
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
        self.context.parameters().max_level() - self.coeffs_to_slots.len()
    }

    fn check(&self, operation: &'static str, evaluator: &Evaluator, ct: &Ciphertext) -> Result<(), CkksError> {
        evaluator.context().check_fingerprint(operation, &self.context.parameters().fingerprint())?;
        self.context.check_fingerprint(operation, &ct.fingerprint())?;
        evaluator.check_degree(operation, ct, 1)
    }
}

/// Encodes the factors of a map that starts at the given level with the given label.
fn prepare(
    context: &Context,
    literal: &[MapFactor],
    (mut level, mut label): (usize, f64),
    direction: Direction,
) -> Result<Vec<Factor>, CkksError> {
    let encoder = Encoder::new(context);
    let slots = context.parameters().slots();
    let log_radices: Vec<u32> = literal.iter().map(|factor| factor.log_radix).collect();
    let mut prepared = Vec::with_capacity(literal.len());
    for (diagonals, factor) in factors(slots, &log_radices, direction).into_iter().zip(literal) {
        let scale = plaintext_scale(context, level, label, factor.label.0)?;
        let map = LinearMap::from_diagonals(slots, &diagonals)?.prepare(&encoder, scale)?;
        prepared.push(Factor { map, level, label: factor.label.0 });
        (level, label) = (level - 1, factor.label.0);
    }
    Ok(prepared)
}
