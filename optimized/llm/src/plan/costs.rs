//! What operations cost, by level: predicted seconds on one thread.
//!
//! An operation is a number of transforms of one limb and a number of passes over one limb; both unit costs are measured.

use crate::backend::Packing;
use touchstone_ckks::Parameters;
use touchstone_spec::params::{BootstrapLiteral, MapFactor};

/// Seconds of a transform of one limb of `2^16` coefficients on the machine where the defaults were measured
/// (`cargo bench -p touchstone-benches --bench ntt`).
const TRANSFORM: f64 = 0.21e-3;
/// Seconds of a multiply-accumulate pass over one limb of `2^16` coefficients there.
const PASS: f64 = 0.05e-3;
/// Transforms' worth of one encoding beyond the transforms of its limbs: the embedding and its roundings.
const EMBEDDING: f64 = 6.0;

/// A model of costs for one parameter set.
#[derive(Clone, Debug)]
pub struct Costs {
    transform: f64,
    pass: f64,
    digit_size: usize,
    special: usize,
    slots: usize,
    top: usize,
    bootstrap: Option<BootstrapLiteral>,
}

impl Costs {
    /// Costs from the parameters and default unit costs.
    #[must_use]
    pub fn new(parameters: &Parameters) -> Self {
        let n = parameters.n() as f64;
        let size = n / 65536.0;
        let special = parameters.special().len();
        let transform = TRANSFORM * size * n.log2() / 16.0;
        Self {
            transform,
            pass: PASS * size,
            digit_size: parameters.literal().digit_size,
            special,
            slots: parameters.slots(),
            top: parameters.max_level(),
            bootstrap: parameters.bootstrap().cloned(),
        }
    }

    /// One key switch at a level: decomposition, inner products with the key, ModDown.
    #[must_use]
    pub fn key_switch(&self, level: usize) -> f64 {
        let limbs = level + 1;
        let extended = limbs + self.special;
        let digits = limbs.div_ceil(self.digit_size);
        let transforms = limbs + digits * extended - limbs + 2 * extended;
        let passes = digits * (self.digit_size.min(limbs) + 2) * extended + 2 * self.special * limbs;
        transforms as f64 * self.transform + passes as f64 * self.pass
    }

    /// One rescale of both components.
    #[must_use]
    pub fn rescale(&self, level: usize) -> f64 {
        2.0 * (level + 1) as f64 * (self.transform + self.pass)
    }

    /// A product of two ciphertexts, not relinearised.
    #[must_use]
    pub fn product(&self, level: usize) -> f64 {
        4.0 * (level + 1) as f64 * self.pass
    }

    /// A product of a ciphertext and an encoded plaintext, not rescaled.
    #[must_use]
    pub fn plain_product(&self, level: usize) -> f64 {
        2.0 * (level + 1) as f64 * self.pass
    }

    /// A sum.
    #[must_use]
    pub fn add(&self, level: usize) -> f64 {
        2.0 * (level + 1) as f64 * self.pass
    }

    /// Encoding of a vector of slots.
    #[must_use]
    pub fn encode(&self, level: usize) -> f64 {
        (EMBEDDING + (level + 1) as f64) * self.transform
    }

    /// One bootstrap: the rotations of both maps and of the projection, the products of EvalMod; 0 without a section for it.
    #[must_use]
    pub fn bootstrap(&self, packing: Packing) -> f64 {
        let Some(boot) = &self.bootstrap else { return 0.0 };
        let period = match packing {
            Packing::Complex | Packing::Real => self.slots,
            Packing::Periodic(period) => period,
        };
        let sines = if packing == Packing::Complex { 2.0 } else { 1.0 };
        let middle = self.top - boot.coeffs_to_slots.len();
        let down = kept(boot.slots_to_coeffs.iter(), period);
        let mut up = kept(boot.coeffs_to_slots.iter().rev(), period);
        up.reverse();
        let raised = middle + up.len();
        let projection = f64::from((self.slots / period).ilog2()) * (self.key_switch(raised) + self.add(raised));
        let maps = self.map(&down, down.len()) + self.map(&up, raised);
        let shared = maps + projection + self.key_switch(raised) + self.key_switch(middle + 1);
        shared + sines * self.sine(boot, middle)
    }

    /// Factors with these numbers of layers, the first starting at a level.
    fn map(&self, radices: &[u32], start: usize) -> f64 {
        let factor = |(done, radix): (usize, &u32)| {
            let diagonals = (2usize << radix) - 1;
            // Baby and giant steps need about twice the square root of the diagonals.
            let rotations = 2.0 * (diagonals as f64).sqrt();
            rotations * self.key_switch(start - done) + diagonals as f64 * self.plain_product(start - done)
        };
        radices.iter().enumerate().map(factor).sum()
    }

    /// EvalMod from level `top`.
    fn sine(&self, boot: &BootstrapLiteral, top: usize) -> f64 {
        let middle = (top + boot.output_level) / 2;
        let products =
            2.0 * (boot.cosine.len() as f64).sqrt() + f64::from(boot.double_angles) + boot.output.len() as f64;
        products * (self.key_switch(middle) + self.product(middle) + self.rescale(middle))
    }
}

/// The numbers of layers that factors keep for a period, from the one with the smallest layers (`r[boot.sparse.factors]`).
fn kept<'a>(factors: impl Iterator<Item = &'a MapFactor>, period: usize) -> Vec<u32> {
    let mut left = period.ilog2();
    let own = factors.map(|factor| {
        let own = left.min(factor.log_radix);
        left -= own;
        own
    });
    own.filter(|own| *own > 0).collect()
}
