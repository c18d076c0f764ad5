//! Bytes of an encrypted run: keys, plaintexts, weights, ciphertexts.

use super::BootstrapCost;
use crate::artifact::{Matrix, Model};
use crate::backend::dry::{DryRun, KeyPlan};
use serde::Serialize;
use std::collections::BTreeMap;
use touchstone_ckks::Parameters;
use touchstone_ckks::arith::{Modulus, PackedLimb};

/// Bytes of a weight as the model holds it, and folded.
const WEIGHT: usize = size_of::<f32>();
const FOLDED: usize = size_of::<f64>();
/// Bytes of tables by residue of a prime: roots of both directions with their quotients, the widest layout of a kernel.
const ROOTS: usize = 32;
/// Program, tokenizer and allocator.
const PROGRAM: usize = 48 << 20;

/// Evaluation keys of one level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct KeyRow {
    /// The highest level at which they are used.
    pub level: usize,
    /// How many there are.
    pub count: usize,
    /// Bytes of all of them in memory.
    pub bytes: usize,
}

/// What a run holds at its peak, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Evaluation keys.
    pub keys: usize,
    /// Plaintexts of bootstrapping, held as coefficients.
    pub bootstrapping: usize,
    /// Weights, and those of the largest map that is folded at a time.
    pub weights: usize,
    /// Ciphertexts and what operations on them hold.
    pub ciphertexts: usize,
    /// Roots of unity, index maps, secret and public key, program.
    pub fixed: usize,
}

impl Memory {
    /// All together.
    #[must_use]
    pub fn total(&self) -> usize {
        self.keys + self.bootstrapping + self.weights + self.ciphertexts + self.fixed
    }

    /// The memory of a run in one process.
    pub(super) fn of(
        parameters: &Parameters,
        model: &Model,
        keys: &KeyPlan,
        bootstrapping: &BootstrapCost,
        dry: &DryRun<'_>,
    ) -> Self {
        let n = parameters.n();
        let primes = parameters.chain().len() + parameters.special().len();
        let own_keys = 3 * primes * n * size_of::<u64>();
        let index_maps = keys.count() * n * size_of::<u32>();
        Self {
            keys: key_rows(parameters, keys).iter().map(|row| row.bytes).sum(),
            bootstrapping: if dry.bootstraps() > 0 { bootstrapping.plaintext_bytes } else { 0 },
            weights: WEIGHT * weights(model) + folded(model),
            ciphertexts: dry.peak_limbs() * n * size_of::<u64>(),
            fixed: primes * n * ROOTS + own_keys + index_maps + PROGRAM,
        }
    }
}

/// Keys by level, the highest first; the key to the ephemeral secret, of two primes, is not among them.
#[must_use]
pub fn key_rows(parameters: &Parameters, keys: &KeyPlan) -> Vec<KeyRow> {
    let ephemeral = keys.ephemeral.then(|| parameters.max_level());
    let single = [keys.conjugation, keys.relinearisation, ephemeral];
    let levels = keys.rotations.values().copied().chain(single.into_iter().flatten());
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    levels.for_each(|level| *counts.entry(level).or_default() += 1);
    let row = |(level, count)| KeyRow { level, count, bytes: count * key_bytes(parameters, level) };
    counts.into_iter().rev().map(row).collect()
}

/// Bytes of a switching key up to a level, packed.
#[must_use]
pub fn key_bytes(parameters: &Parameters, level: usize) -> usize {
    let limb = |prime: &u64| Modulus::new(*prime).map_or(size_of::<u64>(), |m| PackedLimb::width(&m)) * parameters.n();
    let limbs: usize = parameters.chain()[..=level].iter().chain(parameters.special()).map(limb).sum();
    2 * parameters.digits(level) * limbs
}

/// Entries of all matrices.
fn weights(model: &Model) -> usize {
    let size = |matrix: &Matrix<f32>| matrix.rows * matrix.cols;
    let layers = model.layers.iter().flat_map(|layer| [&layer.qkv, &layer.dense, &layer.up, &layer.down]);
    layers.map(|linear| size(&linear.weight)).sum::<usize>() + size(&model.embedding) + size(&model.head)
}

/// Bytes of the copies that are folded for a map and dropped after it: three projections before and after folding, both
/// maps of the MLP, or the head.
fn folded(model: &Model) -> usize {
    let (d, f) = (model.config.hidden_size, model.config.intermediate_size);
    (3 * (WEIGHT + FOLDED) * d * d).max(2 * FOLDED * d * f).max(FOLDED * model.head.rows * d)
}
