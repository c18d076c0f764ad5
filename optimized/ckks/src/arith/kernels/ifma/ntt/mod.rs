//! Forward and inverse transforms by Harvey's butterflies on lazy residues.
//!
//! Three stages are done per pass, in registers, or two where three do not fit the number that is left. Passes on blocks beyond
//! [`SWEPT`] elements sweep the limb; below, a block of the second-level cache, and in it one of the first-level cache, finishes all
//! its stages before the next one. The last six stages run on 64 elements in eight vectors: three between the vectors, then, after a
//! transposition, three more, whose roots differ by lane.

mod forward;
mod inverse;

pub(super) use forward::{forward, forward_integers};
pub(super) use inverse::{inverse_center, inverse_scaled};

use super::lanes::{LANES, Lanes, Pattern};

/// Elements of a block that stays in the second-level cache beside its roots.
const SWEPT: usize = 1 << 14;
/// Elements of a block that stays in the first-level cache.
const CACHED: usize = 1 << 10;
/// Elements per group of the last six stages. Shorter limbs are the scalar kernel's.
pub(super) const TAIL: usize = LANES * LANES;

/// Lower and upper halves of two vectors, even and odd pairs, even and odd elements: each its own inverse.
const EXCHANGES: [[Pattern; 2]; 3] = [
    [[0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15]],
    [[0, 1, 8, 9, 4, 5, 12, 13], [2, 3, 10, 11, 6, 7, 14, 15]],
    [[0, 8, 2, 10, 4, 12, 6, 14], [1, 9, 3, 11, 5, 13, 7, 15]],
];

/// Stages of a pass over blocks of length `len`, above [`TAIL`].
fn stages(len: usize) -> u32 {
    match (len / TAIL).ilog2() {
        1 => 1,
        left if left % 3 == 0 => 3,
        _ => 2,
    }
}

/// Four quarters of a block, vector by vector.
#[inline(always)]
fn quarters(block: &mut [u64]) -> impl Iterator<Item = [&mut [u64]; 4]> {
    let (low, high) = block.split_at_mut(block.len() / 2);
    let ((x0, x1), (x2, x3)) = (low.split_at_mut(low.len() / 2), high.split_at_mut(high.len() / 2));
    let vectors = |x| <[u64]>::chunks_exact_mut(x, LANES);
    vectors(x0).zip(vectors(x1)).zip(vectors(x2).zip(vectors(x3))).map(|((x0, x1), (x2, x3))| [x0, x1, x2, x3])
}

/// Eight eighths of a block, vector by vector.
#[inline(always)]
fn eighths(block: &mut [u64]) -> impl Iterator<Item = [&mut [u64]; 8]> {
    let (low, high) = block.split_at_mut(block.len() / 2);
    quarters(low).zip(quarters(high)).map(|([x0, x1, x2, x3], [x4, x5, x6, x7])| [x0, x1, x2, x3, x4, x5, x6, x7])
}

/// A vector from each of as many slices.
#[inline(always)]
fn load<L: Lanes, const PARTS: usize>(l: L, parts: &[&mut [u64]; PARTS]) -> [L::Vector; PARTS] {
    let mut out = [l.splat(0); PARTS];
    for (out, part) in out.iter_mut().zip(parts) {
        *out = l.load(part);
    }
    out
}

/// Mirror of [`load`].
#[inline(always)]
fn store<L: Lanes, const PARTS: usize>(l: L, x: [L::Vector; PARTS], parts: [&mut [u64]; PARTS]) {
    for (x, part) in x.into_iter().zip(parts) {
        l.store(x, part);
    }
}

/// Element `j` of vector `i` to element `i` of vector `j`.
#[inline(always)]
fn transpose<L: Lanes>(l: L, mut x: [L::Vector; 8]) -> [L::Vector; 8] {
    for (round, patterns) in EXCHANGES.iter().enumerate() {
        let distance = 4 >> round;
        let before = x;
        for i in 0..8 {
            if i & distance == 0 {
                let (a, b) = (before[i], before[i + distance]);
                x[i] = l.permute(a, b, &patterns[0]);
                x[i + distance] = l.permute(a, b, &patterns[1]);
            }
        }
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The inverse undoes the forward transform pass by pass, so both must cut the stages alike.
    #[test]
    fn passes_up_are_the_passes_down() {
        for n in (6..=17).map(|log_n| 1usize << log_n) {
            let mut len = n;
            while len > TAIL {
                let below = len >> stages(len);
                assert!(below >= TAIL);
                assert_eq!(inverse::stages_above(below, n), stages(len), "N = {n}, blocks of {len}");
                len = below;
            }
        }
    }
}
