//! Random draws in the order that the specification writes (`r[sample.stream]` and the rules after it).
//!
//! The counter mode is written out here on the bare AES block cipher, so that it does not share a stream
//! implementation with the engine; a test compares it with an independent generator.

use crate::error::ReferenceError;
use crate::ring::Poly;
use aes::Aes128;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use touchstone_spec::sampling::GAUSSIAN_TABLE;

/// The randomness of a run: 16 bytes.
pub type Seed = [u8; 16];

/// The four numbers that name a stream (`r[sample.stream]`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamId {
    /// What is drawn, from `touchstone_spec::sampling::domain`.
    pub domain: u32,
    /// Key id or ciphertext index.
    pub object: u32,
    /// Key-switching digit.
    pub digit: u32,
    /// Limb id.
    pub limb: u32,
}

impl StreamId {
    /// The stream of a domain for one object, digit 0 and limb 0.
    #[must_use]
    pub fn new(domain: u32, object: u32) -> Self {
        Self { domain, object, digit: 0, limb: 0 }
    }
}

/// The bytes of one stream: `AES_K(0) | AES_K(1) | ...` with a little-endian counter.
pub struct Stream {
    cipher: Aes128,
    counter: u128,
    block: [u8; 16],
    used: usize,
}

impl Stream {
    /// The stream `id` of `seed`: its key is the seed's encryption of the four numbers.
    #[must_use]
    pub fn new(seed: &Seed, id: StreamId) -> Self {
        let mut name = [0u8; 16];
        for (bytes, word) in name.chunks_exact_mut(4).zip([id.domain, id.object, id.digit, id.limb]) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        let key = encrypt_block(&Aes128::new(&(*seed).into()), name);
        Self { cipher: Aes128::new(&key.into()), counter: 0, block: [0; 16], used: 16 }
    }

    /// The next byte.
    pub fn next_byte(&mut self) -> u8 {
        if self.used == self.block.len() {
            self.block = encrypt_block(&self.cipher, self.counter.to_le_bytes());
            self.counter = self.counter.wrapping_add(1);
            self.used = 0;
        }
        self.used += 1;
        self.block[self.used - 1]
    }

    /// The next 8 bytes as a little-endian number.
    pub fn next_u64(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.next_byte()))
    }

    /// `n` residues modulo a prime `q`, uniform by rejection (`r[sample.uniform]`).
    pub fn uniform(&mut self, n: usize, q: u64) -> Vec<u64> {
        let mask = u64::MAX >> q.leading_zeros();
        let mut one = || {
            loop {
                let x = self.next_u64() & mask;
                if x < q {
                    return x;
                }
            }
        };
        (0..n).map(|_| one()).collect()
    }

    /// `n` coefficients uniform in `{-1, 0, 1}` (`r[sample.ternary]`).
    pub fn ternary(&mut self, n: usize) -> Vec<i64> {
        let mut one = || {
            loop {
                let byte = self.next_byte();
                if byte < 255 {
                    return i64::from(byte % 3) - 1;
                }
            }
        };
        (0..n).map(|_| one()).collect()
    }

    /// `n` coefficients of which exactly `weight` are `-1` or `1` (`r[sample.fixed-weight]`).
    ///
    /// # Errors
    /// [`ReferenceError::BadOperand`] if `weight > n`.
    pub fn fixed_weight(&mut self, n: usize, weight: usize) -> Result<Vec<i64>, ReferenceError> {
        if weight > n {
            return Err(ReferenceError::BadOperand {
                operation: "sampling of a secret of fixed weight",
                expected: format!("a weight of at most {n}"),
                got: weight.to_string(),
            });
        }
        let mut coefficients = vec![0i64; n];
        let mut set = 0;
        while set < weight {
            let x = self.next_u64();
            let coefficient = &mut coefficients[(x % n as u64) as usize];
            if *coefficient == 0 {
                *coefficient = if x >> 63 == 1 { -1 } else { 1 };
                set += 1;
            }
        }
        Ok(coefficients)
    }

    /// `n` error coefficients, sigma = 3.2 (`r[sample.gaussian]`).
    pub fn gaussian(&mut self, n: usize) -> Vec<i64> {
        (0..n).map(|_| gaussian_from(self.next_u64())).collect()
    }
}

/// A uniform polynomial whose limb `i`, modulo `primes[i]`, comes from the stream with limb id `limb_ids[i]`.
///
/// # Errors
/// [`ReferenceError::BadOperand`] if the primes are not coprime.
pub fn uniform_poly(
    seed: &Seed,
    id: StreamId,
    n: usize,
    primes: &[u64],
    limb_ids: &[u32],
) -> Result<Poly, ReferenceError> {
    let limb = |(&q, &limb)| Stream::new(seed, StreamId { limb, ..id }).uniform(n, q);
    let limbs: Vec<Vec<u64>> = primes.iter().zip(limb_ids).map(limb).collect();
    Poly::from_residues(&limbs, primes)
}

/// The error coefficient that the 64 drawn bits `x` give.
fn gaussian_from(x: u64) -> i64 {
    let u = x >> 1;
    let magnitude = GAUSSIAN_TABLE.iter().filter(|&&t| t <= u).count() as i64;
    if x & 1 == 1 { -magnitude } else { magnitude }
}

fn encrypt_block(cipher: &Aes128, block: [u8; 16]) -> [u8; 16] {
    let mut block = block.into();
    cipher.encrypt_block(&mut block);
    block.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rug::Float;
    use rug::ops::Pow;
    use tfhe_csprng::generators::{RandomGenerator, SoftwareRandomGenerator};
    use tfhe_csprng::seeders::Seed as PeerSeed;

    const SEED: Seed = [7; 16];

    #[test]
    fn aes_block_is_that_of_fips_197() {
        let key: [u8; 16] = std::array::from_fn(|i| i as u8);
        let plain: [u8; 16] = std::array::from_fn(|i| (i * 0x11) as u8);
        let cipher = 0x69c4_e0d8_6a7b_0430_d8cd_b780_70b4_c55a_u128.to_be_bytes();
        assert_eq!(encrypt_block(&Aes128::new(&key.into()), plain), cipher);
    }

    #[test]
    fn stream_is_that_of_an_independent_generator() {
        let id = StreamId { domain: 4, object: 5, digit: 1, limb: 1 << 31 };
        let mut name = Vec::new();
        for word in [4u32, 5, 1, 1 << 31] {
            name.extend(word.to_le_bytes());
        }
        // The peer's stream keyed by the seed starts at counter 0; block `name` is reached as a block encryption.
        let key = encrypt_block(&Aes128::new(&SEED.into()), name.try_into().unwrap());
        let peer = SoftwareRandomGenerator::new(PeerSeed(u128::from_le_bytes(key)));
        let mut own = Stream::new(&SEED, id);
        for (i, byte) in peer.take(5000).enumerate() {
            assert_eq!(own.next_byte(), byte, "byte {i}, seed {SEED:?}");
        }
    }

    #[test]
    fn gaussian_table_is_its_definition() {
        // rho(i) = exp(-i^2 / (2 * 3.2^2)) with 3.2 the decimal number: 2 * 3.2^2 = 512 / 25.
        let precision = 512;
        let rho = |i: u32| Float::with_val(precision, -25 * i64::from(i).pow(2)) / 512u32;
        let rho = |i: u32| rho(i).exp();
        let total = (1..200).fold(rho(0), |acc, i| acc + rho(i) * 2u32);
        let mut inside = Float::with_val(precision, 0);
        let mut table = Vec::new();
        for k in 0.. {
            inside += if k == 0 { rho(0) } else { rho(k) * 2u32 };
            let scaled = Float::with_val(precision, 2u32).pow(63u32) * &inside / &total;
            let entry = scaled.to_integer_round(rug::float::Round::Nearest).unwrap().0;
            match entry.to_u64() {
                Some(entry) if entry < 1 << 63 => table.push(entry),
                _ => break,
            }
        }
        assert_eq!(table, GAUSSIAN_TABLE);
    }

    #[test]
    fn gaussian_edges_follow_the_table() {
        assert_eq!(gaussian_from(0), 0);
        assert_eq!(gaussian_from(2 * GAUSSIAN_TABLE[0] - 2), 0);
        assert_eq!(gaussian_from(2 * GAUSSIAN_TABLE[0]), 1);
        assert_eq!(gaussian_from(2 * GAUSSIAN_TABLE[0] + 1), -1);
        assert_eq!(gaussian_from(u64::MAX), -(GAUSSIAN_TABLE.len() as i64));
    }

    #[test]
    fn draws_have_the_stated_moments() {
        let n = 1 << 16;
        let mut stream = Stream::new(&SEED, StreamId::new(3, 0));
        let deviations = |sum: f64, variance: f64| sum / (variance * f64::from(n)).sqrt();
        let sum = |draw: &[i64], f: fn(f64) -> f64| draw.iter().map(|&x| f(x as f64)).sum::<f64>();
        let errors = stream.gaussian(n as usize);
        // Fourth central moment 3 sigma^4, so x^2 has variance 2 sigma^4.
        let square = sum(&errors, |x| x * x) - 10.24 * f64::from(n);
        assert!(deviations(sum(&errors, |x| x), 10.24).abs() < 6.0, "seed {SEED:?}");
        assert!(deviations(square, 2.0 * 10.24 * 10.24).abs() < 6.0, "seed {SEED:?}");
        let ternary = stream.ternary(n as usize);
        assert!(deviations(sum(&ternary, |x| x), 2.0 / 3.0).abs() < 6.0, "seed {SEED:?}");
        assert!(deviations(sum(&ternary, |x| x * x) - 2.0 / 3.0 * f64::from(n), 2.0 / 9.0).abs() < 6.0);
    }

    #[test]
    fn fixed_weight_has_the_weight_and_refuses_an_impossible_one() {
        let mut stream = Stream::new(&SEED, StreamId::new(1, 0));
        let secret = stream.fixed_weight(256, 64).unwrap();
        assert_eq!(secret.iter().filter(|x| x.abs() == 1).count(), 64);
        assert_eq!(secret.iter().filter(|x| **x == 0).count(), 192);
        assert!(stream.fixed_weight(8, 9).is_err());
    }

    #[test]
    fn uniform_polynomial_takes_each_limb_from_its_own_stream() {
        let primes = [97u64, 193, 257];
        let id = StreamId::new(2, 0);
        let poly = uniform_poly(&SEED, id, 32, &primes, &[0, 1, 1 << 31]).unwrap();
        let limbs = poly.residues(&primes);
        for (limb, (&q, limb_id)) in limbs.iter().zip(primes.iter().zip([0, 1, 1 << 31])) {
            assert_eq!(*limb, Stream::new(&SEED, StreamId { limb: limb_id, ..id }).uniform(32, q));
        }
    }
}
