//! What operations cost, by level: predicted seconds on one thread.
//!
//! An operation is a number of transforms of one limb and a number of passes over one limb; both unit costs are measured.

use touchstone_ckks::Parameters;

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
    /// Of a bootstrap of complex slots, and of real ones.
    bootstraps: [f64; 2],
}

impl Costs {
    /// Costs from the parameters and default unit costs.
    #[must_use]
    pub fn new(parameters: &Parameters) -> Self {
        let n = parameters.n() as f64;
        let size = n / 65536.0;
        let special = parameters.special().len();
        let transform = TRANSFORM * size * n.log2() / 16.0;
        let mut costs = Self {
            transform,
            pass: PASS * size,
            digit_size: parameters.literal().digit_size,
            special,
            bootstraps: [0.0; 2],
        };
        costs.bootstraps = costs.bootstrapping(parameters);
        costs
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

    /// One bootstrap.
    #[must_use]
    pub fn bootstrap(&self, real: bool) -> f64 {
        self.bootstraps[usize::from(real)]
    }

    /// Bootstraps of complex and of real slots: the rotations of both maps and the products of EvalMod.
    fn bootstrapping(&self, parameters: &Parameters) -> [f64; 2] {
        let Some(boot) = parameters.bootstrap() else { return [0.0; 2] };
        let maps =
            [(&boot.slots_to_coeffs, boot.slots_to_coeffs.len()), (&boot.coeffs_to_slots, parameters.max_level())];
        let map = |(factors, start): (&Vec<touchstone_spec::params::MapFactor>, usize)| {
            let factor = |(done, factor): (usize, &touchstone_spec::params::MapFactor)| {
                let diagonals = (2usize << factor.log_radix) - 1;
                // Baby and giant steps need about twice the square root of the diagonals.
                let rotations = 2.0 * (diagonals as f64).sqrt();
                rotations * self.key_switch(start - done) + diagonals as f64 * self.plain_product(start - done)
            };
            factors.iter().enumerate().map(factor).sum::<f64>()
        };
        let top = parameters.max_level() - boot.coeffs_to_slots.len();
        let middle = (top + boot.output_level) / 2;
        let products =
            2.0 * (boot.cosine.len() as f64).sqrt() + f64::from(boot.double_angles) + boot.output.len() as f64;
        let product = self.key_switch(middle) + self.product(middle) + self.rescale(middle);
        let sine = products * product;
        let maps = maps.into_iter().map(map).sum::<f64>();
        let shared = maps + self.key_switch(parameters.max_level()) + self.key_switch(top + 1);
        [shared + 2.0 * sine, shared + sine]
    }
}
