//! Residues in as few whole bytes as their prime needs, for keys: 7 bytes for primes of 50 bits, 5 for those of 40.

use super::Modulus;

/// Bytes beyond the last residue, so that every residue can be read with the 15 bytes after it.
const PADDING: usize = 16;

/// A limb of canonical residues of one prime, each little-endian in [`PackedLimb::width`] bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedLimb {
    bytes: Box<[u8]>,
    width: usize,
}

impl PackedLimb {
    /// Packs canonical residues modulo the prime of `m`.
    #[must_use]
    pub fn new(m: &Modulus, limb: &[u64]) -> Self {
        let width = Self::width(m);
        let mut bytes = vec![0; limb.len() * width + PADDING].into_boxed_slice();
        for (i, residue) in limb.iter().enumerate() {
            debug_assert!(*residue < m.value());
            bytes[i * width..(i + 1) * width].copy_from_slice(&residue.to_le_bytes()[..width]);
        }
        Self { bytes, width }
    }

    /// Bytes of a residue of this prime.
    #[must_use]
    pub fn width(m: &Modulus) -> usize {
        (u64::BITS - m.value().leading_zeros()).div_ceil(u8::BITS) as usize
    }

    /// Bytes of all residues.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len() - PADDING
    }

    /// The number of residues.
    #[must_use]
    pub fn len(&self) -> usize {
        self.size() / self.width
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Residue `i`.
    ///
    /// # Panics
    /// If there is no residue `i`.
    #[inline]
    #[must_use]
    pub fn get(&self, i: usize) -> u64 {
        assert!(i < self.len(), "residue {i} of {}", self.len());
        let mut word = [0; 8];
        word.copy_from_slice(&self.bytes[i * self.width..][..8]);
        u64::from_le_bytes(word) & (u64::MAX >> (u64::BITS - self.width as u32 * u8::BITS))
    }

    /// Writes all residues to `out`.
    ///
    /// # Panics
    /// If `out` has another length.
    pub fn unpack(&self, out: &mut [u64]) {
        assert_eq!(out.len(), self.len(), "one place per residue");
        out.iter_mut().enumerate().for_each(|(i, out)| *out = self.get(i));
    }

    /// The packed residues, and 16 more bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}
