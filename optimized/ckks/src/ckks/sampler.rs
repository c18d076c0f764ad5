//! Seeds, streams and draws (`r[sample.*]`).

use crate::CkksError;
use aes::Aes128;
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};
use touchstone_spec::sampling::{GAUSSIAN_TABLE, SPECIAL_LIMB};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes of a stream that are generated at once; large enough to keep the cipher's pipeline full.
const CHUNK: usize = 4096;
const BLOCK: usize = 16;
/// Gaussian coefficients that are drawn at once.
const TOGETHER: usize = 8;
/// Entries of the Gaussian table that decide almost all coefficients.
const COMMON: usize = 16;

/// The 128-bit seed of a run (`r[sample.stream]`). Whoever knows it can derive the secret key. Erased when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Seed([u8; 16]);

impl Seed {
    /// A fresh seed from the operating system.
    ///
    /// # Errors
    /// [`CkksError::Randomness`] if the system has no randomness to give.
    pub fn from_os() -> Result<Self, CkksError> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|error| CkksError::Randomness {
            operation: "Seed::from_os",
            expected: "16 random bytes",
            got: error.to_string(),
        })?;
        Ok(Self(bytes))
    }

    /// A seed that everybody can guess, for tests and reproducible measurements; the 16 bytes are `seed` little-endian.
    #[must_use]
    pub fn insecure(seed: u128) -> Self {
        Self(seed.to_le_bytes())
    }

    /// The key of the stream `(domain, object, digit, limb)`: `AES128_seed` of the four numbers.
    #[must_use]
    pub fn stream_key(&self, domain: u32, object: u32, digit: u32, limb: u32) -> StreamKey {
        let mut block = [0; BLOCK];
        for (bytes, number) in block.chunks_exact_mut(4).zip([domain, object, digit, limb]) {
            bytes.copy_from_slice(&number.to_le_bytes());
        }
        let mut block = Array::from(block);
        Aes128::new(&Array::from(self.0)).encrypt_block(&mut block);
        StreamKey(block.into())
    }

    /// The stream `(domain, object, digit, limb)`.
    pub(crate) fn stream(&self, domain: u32, object: u32, digit: u32, limb: u32) -> Stream {
        Stream::new(&self.stream_key(domain, object, digit, limb))
    }
}

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed(..)")
    }
}

/// The key of one stream.
///
/// That of a uniform half (domains 2, 4 and 6) may be published in place of the half: it tells nothing about the seed
/// or any other stream. All others are secret.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct StreamKey([u8; 16]);

impl StreamKey {
    /// The key with these bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes of the key.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl std::fmt::Debug for StreamKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StreamKey(..)")
    }
}

/// The limb id of a prime (`r[sample.stream]`), from its prime index and the number of chain primes.
pub(crate) fn limb_id(prime_index: usize, chain_len: usize) -> u32 {
    match prime_index.checked_sub(chain_len) {
        None => prime_index as u32,
        Some(special) => SPECIAL_LIMB + special as u32,
    }
}

/// The bytes of one stream, generated in bulk and handed out in order. Erased when dropped.
pub struct Stream {
    cipher: Aes128,
    counter: u128,
    chunk: [Array<u8, aes::cipher::consts::U16>; CHUNK / BLOCK],
    /// Bytes of `chunk` already handed out.
    used: usize,
}

impl Drop for Stream {
    fn drop(&mut self) {
        for block in &mut self.chunk {
            block.as_mut_slice().zeroize();
        }
    }
}

impl Stream {
    /// The stream of a key.
    #[must_use]
    pub fn new(key: &StreamKey) -> Self {
        let cipher = Aes128::new(&Array::from(key.0));
        Self { cipher, counter: 0, chunk: [Array::default(); CHUNK / BLOCK], used: CHUNK }
    }

    fn refill(&mut self) {
        for block in &mut self.chunk {
            *block = Array::from(self.counter.to_le_bytes());
            self.counter += 1;
        }
        self.cipher.encrypt_blocks(&mut self.chunk);
        self.used = 0;
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        if self.used == CHUNK {
            self.refill();
        }
        let byte = self.chunk[self.used / BLOCK][self.used % BLOCK];
        self.used += 1;
        byte
    }

    /// The next eight bytes as a little-endian number. Draws of bytes and of words are never mixed in one stream,
    /// so words do not straddle chunks.
    pub(crate) fn word(&mut self) -> u64 {
        if self.used == CHUNK {
            self.refill();
        }
        let block = &self.chunk[self.used / BLOCK];
        let start = self.used % BLOCK;
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&block[start..start + 8]);
        self.used += 8;
        u64::from_le_bytes(bytes)
    }

    /// A uniform limb modulo `prime` in coefficient form (`r[sample.uniform]`).
    pub fn uniform(&mut self, prime: u64, limb: &mut [u64]) {
        let mask = u64::MAX >> prime.leading_zeros();
        for coefficient in limb {
            *coefficient = loop {
                let candidate = self.word() & mask;
                if candidate < prime {
                    break candidate;
                }
            };
        }
    }

    /// Uniform ternary coefficients (`r[sample.ternary]`).
    pub fn ternary(&mut self, n: usize) -> Vec<i8> {
        let trit = |byte: u8| (byte % 3) as i8 - 1;
        let mut coefficients = Vec::with_capacity(n);
        while coefficients.len() < n {
            if self.used == CHUNK {
                self.refill();
            }
            let block = &self.chunk[self.used / BLOCK];
            let whole = self.used.is_multiple_of(BLOCK) && n - coefficients.len() >= BLOCK;
            if whole && block.iter().all(|&byte| byte < 255) {
                // A block without rejections at once: it maps without branches.
                coefficients.extend(block.iter().map(|&byte| trit(byte)));
                self.used += BLOCK;
            } else {
                // One byte, and the rest of its block so too.
                coefficients.extend(Some(self.byte()).filter(|&byte| byte < 255).map(trit));
            }
        }
        coefficients
    }

    /// Coefficients of which exactly `weight <= n` are -1 or 1 (`r[sample.fixed-weight]`).
    pub fn fixed_weight(&mut self, n: usize, weight: usize) -> Vec<i8> {
        let mut coefficients = vec![0; n];
        let mut set = 0;
        while set < weight {
            let word = self.word();
            let coefficient = &mut coefficients[(word % n as u64) as usize];
            if *coefficient == 0 {
                *coefficient = if word >> 63 == 1 { -1 } else { 1 };
                set += 1;
            }
        }
        coefficients
    }

    /// Discrete Gaussian coefficients, sigma 3.2 (`r[sample.gaussian]`).
    pub fn gaussian(&mut self, n: usize) -> Vec<i8> {
        let mut coefficients = vec![0; n];
        for coefficients in coefficients.chunks_mut(TOGETHER) {
            let mut words = [0; TOGETHER];
            words[..coefficients.len()].fill_with(|| self.word());
            // All entries are above a word that one of the first ones is above; others, one in a million, are compared with all.
            let (first, last) = GAUSSIAN_TABLE.split_at(COMMON);
            let above = entries_above(first, &words);
            let rare = above.contains(&0);
            let more = if rare { entries_above(last, &words) } else { [last.len() as u64; TOGETHER] };
            for (((coefficient, word), above), more) in coefficients.iter_mut().zip(&words).zip(above).zip(more) {
                let magnitude = (GAUSSIAN_TABLE.len() as u64 - above - more) as i8;
                *coefficient = if word & 1 == 1 { -magnitude } else { magnitude };
            }
            words.zeroize();
        }
        coefficients
    }
}

/// For each `u = floor(word / 2)` the number of entries above it, without branches: `u` and an entry are at most `2^63`, so their
/// difference wraps to a number of `2^63` or more exactly if the entry is above `u`.
fn entries_above(entries: &[u64], words: &[u64; TOGETHER]) -> [u64; TOGETHER] {
    let mut above = [0; TOGETHER];
    for entry in entries {
        for (above, word) in above.iter_mut().zip(words) {
            *above += (word >> 1).wrapping_sub(*entry) >> 63;
        }
    }
    above
}

#[cfg(test)]
mod tests {
    use super::*;
    use tfhe_csprng::generators::{RandomGenerator, SoftwareRandomGenerator};

    #[test]
    fn streams_equal_an_independent_generator() {
        for seed in [0u128, 1, 0x0123_4567_89ab_cdef_0011_2233_4455_6677, u128::MAX] {
            let mut stream = Stream::new(&StreamKey(seed.to_le_bytes()));
            let mut other = SoftwareRandomGenerator::new(tfhe_csprng::seeders::Seed(seed));
            for position in 0..3 * CHUNK + 5 {
                assert_eq!(Some(stream.byte()), other.next(), "seed {seed:#x}, byte {position}");
            }
        }
    }

    #[test]
    fn stream_keys_are_blocks_of_the_seed() {
        let name = [7u32, 11, 13, 1 << 31];
        let mut expected = [0u8; 16];
        for (bytes, number) in expected.chunks_exact_mut(4).zip(name) {
            bytes.copy_from_slice(&number.to_le_bytes());
        }
        let index = u128::from_le_bytes(expected);
        // A stream is the cipher on counters, so the name read as a counter gives the same block.
        let mut stream = Stream::new(&StreamKey(9u128.to_le_bytes()));
        stream.counter = index;
        let block: Vec<u8> = (0..16).map(|_| stream.byte()).collect();
        assert_eq!(Seed::insecure(9).stream_key(7, 11, 13, 1 << 31).as_bytes(), &block[..]);
    }

    #[test]
    fn draws_follow_their_definitions_byte_by_byte() {
        let key = StreamKey([3; 16]);
        let word = |other: &mut SoftwareRandomGenerator| {
            u64::from_le_bytes(std::array::from_fn(|_| other.next().expect("an endless stream")))
        };
        let fresh = || SoftwareRandomGenerator::new(tfhe_csprng::seeders::Seed(u128::from_le_bytes([3; 16])));

        let prime = 1_099_511_629_121; // 41 bits: half of all words are rejected
        let (mut limb, mut other) = (vec![0; 700], fresh());
        Stream::new(&key).uniform(prime, &mut limb);
        for &got in &limb {
            let mut candidate = word(&mut other) & ((1 << 41) - 1);
            while candidate >= prime {
                candidate = word(&mut other) & ((1 << 41) - 1);
            }
            assert_eq!(got, candidate);
        }

        let mut other = fresh();
        let mut rare = 0;
        for got in Stream::new(&key).gaussian(3_000_000) {
            let x = word(&mut other);
            let magnitude = GAUSSIAN_TABLE.partition_point(|&entry| entry <= x / 2) as i8;
            assert_eq!(got, if x % 2 == 1 { -magnitude } else { magnitude });
            rare += usize::from(magnitude as usize >= COMMON);
        }
        assert!(rare > 0, "no coefficient needs the whole table");

        let mut other = fresh();
        let mut bytes = std::iter::from_fn(|| other.next()).filter(|&byte| byte < 255);
        for got in Stream::new(&key).ternary(5000) {
            assert_eq!(Some(got), bytes.next().map(|byte| (byte % 3) as i8 - 1));
        }
    }

    #[test]
    fn fixed_weight_has_that_weight() {
        let drawn = Stream::new(&StreamKey([5; 16])).fixed_weight(256, 64);
        assert_eq!(drawn.iter().filter(|&&c| c != 0).count(), 64);
        assert!(drawn.contains(&1) && drawn.contains(&-1));
    }
}
