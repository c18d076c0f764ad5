//! Linear maps with plaintexts prepared once and both kinds of rotations hoisted (`r[circuit.linear.*]`).

use super::LinearMap;
use crate::ckks::factor::{Factor, SHORTEST_RUN, SHORTEST_TRANSFORM};
use crate::ckks::hoist::Plaintexts;
use crate::instrument::{self, Operation};
use crate::{Ciphertext, CkksError, Context, Encoder, Evaluator};
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Residues of a plaintext in evaluation form, by prime index; `None` for primes that no limb uses.
type Transforms = Vec<Option<Vec<u64>>>;

/// The plaintext scale `T` that takes a map from an input with label `label` at `level` to the label `target` after the
/// rescale: `fl(fl(target q_l) / label)` (`r[circuit.linear.scale]`).
///
/// # Errors
/// [`CkksError::Level`] if there is no such level.
pub fn plaintext_scale(context: &Context, level: usize, label: f64, target: f64) -> Result<f64, CkksError> {
    context.check_level("linear::plaintext_scale", level)?;
    Ok(target * context.parameters().chain()[level] as f64 / label)
}

/// A [`LinearMap`] with its diagonals encoded at one plaintext scale (`r[circuit.linear.plaintext]`), for inputs of any
/// level.
///
/// Plaintexts are kept as integer coefficients and transformed where they are used. Diagonals with a period encode to
/// polynomials in a power of `X`; where all have one, only every `stride`-th coefficient is kept and transforms are as short.
#[derive(Debug, Clone)]
pub struct PreparedMap {
    context: Context,
    baby_steps: Vec<i64>,
    giant_steps: Vec<i64>,
    scale: f64,
    stride: usize,
    /// Coefficients `0, stride, 2 stride, ..` by (giant index, baby index).
    coefficients: BTreeMap<(usize, usize), Vec<i64>>,
    /// Transforms modulo all primes of a level, by (giant index, baby index) and prime index.
    transforms: Option<BTreeMap<(usize, usize), Transforms>>,
}

impl LinearMap {
    /// Encodes the diagonals at plaintext scale `scale` (see [`plaintext_scale`]; the canonical scale of the input's level if
    /// no target label is wanted).
    ///
    /// # Errors
    /// [`CkksError::Slots`] for a map of another number of slots; [`CkksError::Argument`] as [`Encoder::encode`].
    pub fn prepare(&self, encoder: &Encoder, scale: f64) -> Result<PreparedMap, CkksError> {
        let context = encoder.context();
        let n = context.parameters().n();
        let encode = |(&step, diagonal): (&(usize, usize), &Vec<_>)| Ok((step, encoder.coefficients(diagonal, scale)?));
        let full = self.diagonals.par_iter().map(encode).collect::<Result<BTreeMap<_, _>, CkksError>>()?;
        let stride = common_stride(full.values(), n);
        let keep = |(step, all): (_, Vec<i64>)| (step, all.into_iter().step_by(stride).collect());
        Ok(PreparedMap {
            context: context.clone(),
            baby_steps: self.baby_steps.clone(),
            giant_steps: self.giant_steps.clone(),
            scale,
            stride,
            coefficients: full.into_iter().map(keep).collect(),
            transforms: None,
        })
    }
}

/// The largest power of two that divides the index of every coefficient that is not 0; 1 if runs would be too short, and
/// at most `n / 16`, the shortest transform being 16 long.
fn common_stride<'a>(polynomials: impl Iterator<Item = &'a Vec<i64>>, n: usize) -> usize {
    let places = polynomials.flat_map(|c| c.iter().enumerate().filter(|(_, c)| **c != 0).map(|(i, _)| i));
    let stride = places
        .fold(n / SHORTEST_TRANSFORM, |stride, i| if i == 0 { stride } else { stride.min(1 << i.trailing_zeros()) });
    if stride < SHORTEST_RUN { 1 } else { stride }
}

impl PreparedMap {
    /// Rotations of the input, ascending, 0 included where used.
    #[must_use]
    pub fn baby_steps(&self) -> &[i64] {
        &self.baby_steps
    }

    /// Rotations of the inner sums, ascending, 0 included where used.
    #[must_use]
    pub fn giant_steps(&self) -> &[i64] {
        &self.giant_steps
    }

    /// The rotations whose keys the map needs at the level of its input.
    #[must_use]
    pub fn rotations(&self) -> BTreeSet<i64> {
        self.baby_steps.iter().chain(&self.giant_steps).copied().filter(|step| *step != 0).collect()
    }

    /// The plaintext scale `T`.
    #[must_use]
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// The `N` coefficients of the plaintext of giant step number `giant` and baby step number `baby`; `None` where the
    /// map has no such diagonal.
    #[must_use]
    pub fn coefficients(&self, giant: usize, baby: usize) -> Option<Vec<i64>> {
        let kept = self.coefficients.get(&(giant, baby))?;
        let mut all = vec![0; self.context.parameters().n()];
        all.iter_mut().step_by(self.stride).zip(kept).for_each(|(all, kept)| *all = *kept);
        Some(all)
    }

    /// Bytes held by the plaintexts, kept transforms included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let residues = |limbs: &Transforms| limbs.iter().flatten().map(Vec::len).sum::<usize>();
        let kept: usize = self.transforms.iter().flat_map(BTreeMap::values).map(residues).sum();
        8 * (kept + self.coefficients.values().map(Vec::len).sum::<usize>())
    }

    /// Keeps the transforms for inputs up to `level` if they take at most `limit` bytes; tells whether it does. Faster for
    /// full plaintexts, by a transform per plaintext and limb of every application.
    ///
    /// # Errors
    /// [`CkksError::Level`] if there is no such level.
    pub fn keep_transforms(&mut self, level: usize, limit: usize) -> Result<bool, CkksError> {
        self.context.check_level("PreparedMap::keep_transforms", level)?;
        let ring = self.context.ring();
        let bytes = 8 * (level + 1 + ring.special_len()) * self.coefficients.values().map(Vec::len).sum::<usize>();
        if bytes > limit {
            return Ok(false);
        }
        let primes = ring.chain_len() + ring.special_len();
        let used = |prime: usize| prime <= level || prime >= ring.chain_len();
        let transform = |(&step, coefficients): (&(usize, usize), &Vec<i64>)| {
            let limb = |prime| used(prime).then(|| Factor::transform(&self.context, coefficients, prime).to_vec());
            (step, (0..primes).map(limb).collect())
        };
        let kept = self.coefficients.par_iter().map(transform).collect();
        self.transforms = Some(kept);
        Ok(true)
    }

    /// Applies the map and rescales (`r[circuit.linear.result]`): level `l >= 1` to `l - 1`.
    ///
    /// Without a target label the input and [`PreparedMap::scale`] must be canonical, and so is the result. With one, the
    /// scale must be [`plaintext_scale`] of the input's level and label and the target, and the result has label `target`.
    ///
    /// # Errors
    /// [`CkksError::LevelExhausted`] at level 0; [`CkksError::Scale`]; [`CkksError::MissingKey`], [`CkksError::KeyLevel`];
    /// [`CkksError::Degree`] for a ciphertext of degree 2; [`CkksError::Fingerprint`].
    pub fn apply(&self, evaluator: &Evaluator, ct: &Ciphertext, target: Option<f64>) -> Result<Ciphertext, CkksError> {
        let operation = "PreparedMap::apply";
        let level = evaluator.check_rescale(operation, ct)?;
        let canonical = self.context.parameters().canonical_scale(level);
        let expected = match target {
            Some(target) => plaintext_scale(&self.context, level, ct.scale(), target)?,
            None if ct.scale() != canonical => {
                return Err(CkksError::Scale { operation, expected: canonical, got: ct.scale() });
            }
            None => canonical,
        };
        if self.scale != expected {
            return Err(CkksError::Scale { operation, expected, got: self.scale });
        }
        let sums = self.sums(operation, evaluator, ct)?;
        let label = target.unwrap_or_else(|| evaluator.rescaled_label(ct.scale() * self.scale, level));
        Ok(evaluator.lower_rescale(sums, ct, label))
    }

    /// Applies the map without the rescale: level unchanged, label `fl(s T)`.
    ///
    /// # Errors
    /// [`CkksError::MissingKey`], [`CkksError::KeyLevel`]; [`CkksError::Degree`] for a ciphertext of degree 2;
    /// [`CkksError::Fingerprint`].
    pub fn apply_unscaled(&self, evaluator: &Evaluator, ct: &Ciphertext) -> Result<Ciphertext, CkksError> {
        let sums = self.sums("PreparedMap::apply_unscaled", evaluator, ct)?;
        Ok(evaluator.lower(sums, ct, ct.scale() * self.scale))
    }

    fn sums(
        &self,
        operation: &'static str,
        evaluator: &Evaluator,
        ct: &Ciphertext,
    ) -> Result<[crate::ring::Poly; 2], CkksError> {
        evaluator.context().check_fingerprint(operation, &self.context.parameters().fingerprint())?;
        instrument::count(Operation::MultiplyPlain, ct.level(), self.coefficients.len());
        if self.transforms.is_none() {
            instrument::count(Operation::Encode, ct.level(), self.coefficients.len());
        }
        evaluator.double_hoisted(operation, ct, (&self.baby_steps, &self.giant_steps), self)
    }
}

impl Plaintexts for PreparedMap {
    fn run(&self) -> usize {
        self.stride
    }

    fn limb(&self, giant: usize, baby: usize, prime: usize) -> Option<Factor<'_>> {
        let kept = self.transforms.as_ref().and_then(|all| all.get(&(giant, baby))?[prime].as_deref());
        if let Some(kept) = kept {
            return Some(Factor::Kept(kept));
        }
        Some(Factor::transform(&self.context, self.coefficients.get(&(giant, baby))?, prime))
    }
}
