//! Seeded inputs of scheme cases.

use super::fixture::{Fixture, ROTATIONS};
use num_complex::Complex64;

/// Inputs of one draw; each operation uses the parts that it needs.
pub struct Inputs {
    /// Level of all operands.
    pub level: usize,
    /// Residues `[polynomial][limb][coefficient]` of the first ciphertext.
    pub a: [Vec<Vec<u64>>; 2],
    /// Residues of the second ciphertext.
    pub b: [Vec<Vec<u64>>; 2],
    /// A third polynomial, for products that are not yet relinearised.
    pub c: Vec<Vec<u64>>,
    /// Scale label of the ciphertexts.
    pub scale: f64,
    /// Slots to encode.
    pub slots: Vec<Complex64>,
    /// Integer coefficients of a plaintext.
    pub coefficients: Vec<i64>,
    /// A complex constant.
    pub constant: Complex64,
    /// Number of slots to rotate by, one of [`ROTATIONS`].
    pub steps: i64,
    /// A level at or below `level`.
    pub lower: usize,
    /// Ciphertext index of encryption streams.
    pub index: u32,
}

/// SplitMix64: a small generator with a published sequence, so that a draw can be repeated anywhere.
pub struct Draws(u64);

impl Draws {
    /// The draws of one case: its name and the run's seed.
    pub fn new(seed: u128, case: &str) -> Self {
        let start = (seed as u64) ^ (seed >> 64) as u64;
        Self(case.bytes().fold(start, |state, byte| (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)))
    }

    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Uniform in `[-1, 1)`.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    /// Both parts uniform in `[-1, 1)`.
    pub fn complex(&mut self) -> Complex64 {
        Complex64::new(self.unit(), self.unit())
    }

    /// Uniform residues, `[limb][coefficient]`.
    pub fn poly(&mut self, n: usize, primes: &[u64]) -> Vec<Vec<u64>> {
        // One draw in eight takes the extremes 0 and q - 1, where reductions go wrong first.
        let extreme = self.below(8) == 0;
        primes
            .iter()
            .map(|&q| (0..n).map(|_| if extreme { (self.next() & 1) * (q - 1) } else { self.below(q) }).collect())
            .collect()
    }

    /// Inputs of draw `index` at a level of at least `min_level`.
    pub fn inputs(&mut self, fixture: &Fixture, min_level: usize, index: u32) -> Inputs {
        let params = fixture.reference.params.clone();
        let (n, slots) = (params.n(), params.slots());
        let level = min_level + self.below((params.max_level() - min_level + 1) as u64) as usize;
        let primes = &params.q()[..=level];
        let magnitude = 2f64.powi(self.below(6) as i32 - 2);
        Inputs {
            level,
            a: [self.poly(n, primes), self.poly(n, primes)],
            b: [self.poly(n, primes), self.poly(n, primes)],
            c: self.poly(n, primes),
            scale: fixture.canonical_scale(level),
            slots: (0..slots).map(|_| self.complex() * magnitude).collect(),
            coefficients: (0..n).map(|_| self.next() as i64 >> (2 + self.below(40))).collect(),
            constant: self.complex() * magnitude,
            steps: ROTATIONS[self.below(ROTATIONS.len() as u64) as usize],
            lower: self.below(level as u64 + 1) as usize,
            index,
        }
    }
}
