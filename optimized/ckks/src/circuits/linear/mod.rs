//! Linear maps on slots: diagonals by baby-step giant-step, and sums of shifted slots.
//!
//! Slot `s` of a rotation by `r` is slot `s + r` of the input (`r[ckks.rotate]`), indices modulo the number of slots. A map is
//! `out[s] = sum_r diagonal_r[s] * in[s + r]`. Splitting `r = giant + baby` shares the rotations by baby steps among
//! all giant steps: `out = sum_g rot_g(sum_b rot_(-g)(diagonal_(g+b)) * rot_b(in))`.

mod diagonals;
mod prepared;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_diagonals;
#[cfg(test)]
mod tests_prepared;

pub use diagonals::{Diagonal, apply_diagonals};
pub use prepared::{PreparedMap, plaintext_scale};

use crate::{Ciphertext, CkksError, Complex64, Encoder, Evaluator};
use std::collections::{BTreeMap, BTreeSet};

/// A linear map given by its diagonals, scheduled and pre-rotated.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearMap {
    slots: usize,
    baby_steps: Vec<i64>,
    giant_steps: Vec<i64>,
    /// By (giant index, baby index), rotated by minus the giant step.
    diagonals: BTreeMap<(usize, usize), Vec<Complex64>>,
}

impl LinearMap {
    /// The map `out[s] = sum_r diagonals[r][s] * in[s + r]`, shifts `r` modulo `slots`.
    ///
    /// The number of baby steps is the power of two that needs the fewest rotations, the smallest such.
    ///
    /// # Errors
    /// [`CkksError::Slots`] for a diagonal that has not `slots` values, [`CkksError::Argument`] for a map without
    /// diagonals or two shifts that are equal modulo `slots`.
    pub fn from_diagonals(slots: usize, diagonals: &BTreeMap<i64, Vec<Complex64>>) -> Result<Self, CkksError> {
        let operation = "LinearMap::from_diagonals";
        let mut centred = BTreeMap::new();
        for (shift, values) in diagonals {
            if values.len() != slots {
                return Err(CkksError::Slots { operation, expected: slots, got: values.len() });
            }
            if centred.insert(centre(*shift, slots), values).is_some() {
                let got = format!("shift {shift} twice");
                return Err(CkksError::Argument { operation, expected: "distinct shifts", got });
            }
        }
        if centred.is_empty() {
            let got = "none".to_owned();
            return Err(CkksError::Argument { operation, expected: "at least one diagonal", got });
        }
        let width = best_width(slots, &centred.keys().copied().collect());
        Ok(Self::scheduled(slots, &centred, width))
    }

    fn scheduled(slots: usize, centred: &BTreeMap<i64, &Vec<Complex64>>, width: i64) -> Self {
        let (babies, giants) = steps(centred.keys().copied(), width);
        let (baby_steps, giant_steps) = (Vec::from_iter(babies), Vec::from_iter(giants));
        let place = |steps: &[i64], step: i64| steps.partition_point(|s| *s < step);
        let entry = |(shift, values): (&i64, &&Vec<Complex64>)| {
            let baby = shift.rem_euclid(width);
            let giant = shift - baby;
            let mut rotated = (*values).clone();
            rotated.rotate_right(giant.rem_euclid(slots as i64) as usize);
            ((place(&giant_steps, giant), place(&baby_steps, baby)), rotated)
        };
        let diagonals = centred.iter().map(entry).collect();
        Self { slots, baby_steps, giant_steps, diagonals }
    }

    /// Rotations of the input that [`LinearMap::apply`] shares among giant steps, ascending, 0 included where used.
    #[must_use]
    pub fn baby_steps(&self) -> &[i64] {
        &self.baby_steps
    }

    /// Rotations of the inner sums, ascending, 0 included where used.
    #[must_use]
    pub fn giant_steps(&self) -> &[i64] {
        &self.giant_steps
    }

    /// The rotations whose keys [`LinearMap::apply`] needs at the level of its input; several maps' sets may be united.
    #[must_use]
    pub fn rotations(&self) -> BTreeSet<i64> {
        self.baby_steps.iter().chain(&self.giant_steps).copied().filter(|step| *step != 0).collect()
    }

    /// Applies the map to a canonical ciphertext of level `l >= 1`; canonical scale and level `l - 1` out.
    ///
    /// # Errors
    /// As [`apply_diagonals`], and [`CkksError::Slots`] for a map of another number of slots.
    pub fn apply(&self, evaluator: &Evaluator, encoder: &Encoder, ct: &Ciphertext) -> Result<Ciphertext, CkksError> {
        let babies = evaluator.rotate_hoisted(ct, &self.baby_steps)?;
        self.apply_to_babies(evaluator, encoder, &babies)
    }

    /// [`LinearMap::apply`] with the input's rotations by [`LinearMap::baby_steps`] already made.
    ///
    /// # Errors
    /// As [`LinearMap::apply`], and [`CkksError::Argument`] if the number of babies is not that of the baby steps.
    pub fn apply_to_babies(
        &self,
        evaluator: &Evaluator,
        encoder: &Encoder,
        babies: &[Ciphertext],
    ) -> Result<Ciphertext, CkksError> {
        let operation = "LinearMap::apply";
        let slots = evaluator.context().parameters().slots();
        if slots != self.slots {
            return Err(CkksError::Slots { operation, expected: slots, got: self.slots });
        }
        if babies.len() != self.baby_steps.len() {
            let got = format!("{} for {} baby steps", babies.len(), self.baby_steps.len());
            return Err(CkksError::Argument { operation, expected: "one ciphertext per baby step", got });
        }
        let diagonal = |g, b| self.diagonals.get(&(g, b)).cloned();
        apply_diagonals(evaluator, encoder, babies, &self.giant_steps, diagonal)
    }
}

/// The representative of `shift` modulo `slots` in `[-slots/2, slots/2)`, so that maps near the diagonal stay compact.
pub(crate) fn centre(shift: i64, slots: usize) -> i64 {
    let slots = slots as i64;
    let residue = shift.rem_euclid(slots);
    if 2 * residue >= slots { residue - slots } else { residue }
}

/// The number of baby steps for a map with the given centred shifts: the power of two that needs the fewest rotations.
fn best_width(slots: usize, centred: &BTreeSet<i64>) -> i64 {
    let rotations = |width: &i64| {
        let (babies, giants) = steps(centred.iter().copied(), *width);
        babies.iter().chain(&giants).filter(|step| **step != 0).count()
    };
    let widths = std::iter::successors(Some(1i64), |width| Some(width * 2)).take_while(|w| *w as usize <= slots);
    widths.min_by_key(rotations).unwrap_or(1)
}

/// [`LinearMap::rotations`] of a map with the given shifts, without its diagonals.
pub(crate) fn rotations_of(slots: usize, shifts: impl Iterator<Item = i64>) -> BTreeSet<i64> {
    let (babies, giants) = steps_of(slots, shifts);
    babies.into_iter().chain(giants).filter(|step| *step != 0).collect()
}

/// Baby steps and giant steps of a map with the given shifts, without its diagonals.
pub(crate) fn steps_of(slots: usize, shifts: impl Iterator<Item = i64>) -> (BTreeSet<i64>, BTreeSet<i64>) {
    let centred: BTreeSet<i64> = shifts.map(|shift| centre(shift, slots)).collect();
    steps(centred.iter().copied(), best_width(slots, &centred))
}

/// Baby steps in `[0, width)` and giant steps, multiples of `width`, of the given shifts.
fn steps(shifts: impl Iterator<Item = i64>, width: i64) -> (BTreeSet<i64>, BTreeSet<i64>) {
    shifts.map(|shift| (shift.rem_euclid(width), shift - shift.rem_euclid(width))).unzip()
}

/// `out[s] = sum over i in 0..count of in[s + i * stride]`; level and scale stay.
///
/// Doubles partial sums, so it rotates `floor(log2 count)` times and once more per further one bit of `count`. A
/// negative stride copies a value to the slots after it. Needs the keys of [`inner_sum_rotations`].
///
/// # Errors
/// [`CkksError::Argument`] for `count = 0`, [`CkksError::MissingKey`] for a missing rotation.
pub fn inner_sum(evaluator: &Evaluator, ct: &Ciphertext, count: usize, stride: i64) -> Result<Ciphertext, CkksError> {
    if count == 0 {
        let got = "0".to_owned();
        return Err(CkksError::Argument { operation: "linear::inner_sum", expected: "at least one summand", got });
    }
    // `block` is the sum of `size` values; `sum` that of the `done` values that the low bits of `count` stand for.
    let (mut block, mut size) = (ct.clone(), 1);
    let (mut sum, mut done) = (None, 0);
    loop {
        if count & size != 0 {
            let part =
                if done == 0 { block.clone() } else { evaluator.rotate(&block, stride.wrapping_mul(done as i64))? };
            match &mut sum {
                Some(sum) => evaluator.add_assign(sum, &part)?,
                None => sum = Some(part),
            }
            done += size;
        }
        if done == count {
            return Ok(sum.unwrap_or(block));
        }
        let shifted = evaluator.rotate(&block, stride.wrapping_mul(size as i64))?;
        evaluator.add_assign(&mut block, &shifted)?;
        size *= 2;
    }
}

/// The rotations that [`inner_sum`] makes for this count and stride.
#[must_use]
pub fn inner_sum_rotations(count: usize, stride: i64) -> BTreeSet<i64> {
    let mut rotations = BTreeSet::new();
    let (mut size, mut done) = (1, 0);
    while done < count {
        if count & size != 0 {
            if done != 0 {
                rotations.insert(stride.wrapping_mul(done as i64));
            }
            done += size;
        }
        if done < count {
            rotations.insert(stride.wrapping_mul(size as i64));
        }
        size *= 2;
    }
    rotations
}
