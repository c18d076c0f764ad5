//! What the engine's operations move and compute, counted from their passes.
//!
//! The unit is a limb, `N` residues or `8 N` bytes. A *pass* reads its inputs and writes its outputs once:
//!
//! | pass | reads | writes |
//! |---|---|---|
//! | transform in place, or of a row to a limb | 1 | 1 |
//! | inverse transform to centred rows | 1 | 1 |
//! | base conversion of `r` rows to a group of up to [`GROUP`] limbs, part by part | `r` | one per limb |
//! | key product of `d` digits | `d` for lifts, and both halves of the key, packed in whole bytes | 2 |
//! | tail of ModDown or of a rescale | 2, and 1 for what is added | 1 |
//! | permutation | 1.5: an index has half the size of a residue | 1 |
//!
//! Passes that a function of the engine makes on one block that stays in the second-level cache count once. Between passes every limb is taken
//! to leave the caches, which is what happens to a polynomial of tens of megabytes; where a limb survives in the last-level cache, less
//! is moved. The functions here mirror those of `optimized/ckks/src/ckks` with the same names.

use std::ops::{Add, Mul};
use touchstone_ckks::Parameters;

/// Limbs that the engine lifts together.
const GROUP: usize = 4;

/// What an operation moves and computes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// Limbs read and written by all passes.
    pub passes: f64,
    /// Transforms of a limb in either direction.
    pub transforms: usize,
    /// Rows of base conversions: `N` exact multiply-adds each.
    pub conversions: usize,
    /// Element-by-element products of limbs.
    pub products: usize,
    /// Limbs' worth of packed keys read, part of [`Work::passes`].
    pub keys: f64,
}

impl Add for Work {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            passes: self.passes + other.passes,
            transforms: self.transforms + other.transforms,
            conversions: self.conversions + other.conversions,
            products: self.products + other.products,
            keys: self.keys + other.keys,
        }
    }
}

impl Mul<usize> for Work {
    type Output = Self;

    fn mul(self, times: usize) -> Self {
        Self {
            passes: self.passes * times as f64,
            transforms: self.transforms * times,
            conversions: self.conversions * times,
            products: self.products * times,
            keys: self.keys * times as f64,
        }
    }
}

/// A pass that only moves limbs.
fn moved(limbs: f64) -> Work {
    Work { passes: limbs, ..Work::default() }
}

/// Element-by-element products of `count` limbs that move `limbs`.
fn pointwise(count: usize, limbs: usize) -> Work {
    Work { passes: limbs as f64, products: count, ..Work::default() }
}

/// `count` transforms.
fn transforms(count: usize) -> Work {
    Work { passes: 2.0 * count as f64, transforms: count, ..Work::default() }
}

/// Base conversion of `rows` rows to `limbs` limbs in groups; `extra` rows are read along.
fn conversion(rows: usize, extra: usize, limbs: usize) -> Work {
    let reads = (rows + extra) * limbs.div_ceil(GROUP);
    Work { passes: (reads + limbs) as f64, conversions: rows * limbs, ..Work::default() }
}

/// Numbers of limbs at a level of a parameter set.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Chain primes in use, `l + 1`.
    pub chain: usize,
    /// Special primes.
    pub special: usize,
    /// Primes per digit.
    pub alpha: usize,
    /// Bytes of one residue of each prime in use, special ones included, packed.
    pub packed: usize,
}

impl Shape {
    /// The shape of `level`.
    pub fn new(parameters: &Parameters, level: usize) -> Self {
        let special = parameters.special();
        let primes = parameters.chain()[..=level].iter().chain(special);
        let packed = primes.map(|prime| (u64::BITS - prime.leading_zeros()).div_ceil(u8::BITS) as usize).sum();
        Self { chain: level + 1, special: special.len(), alpha: parameters.digit_size(), packed }
    }

    /// Limbs of `R_{Q_l P}`.
    pub fn all(self) -> usize {
        self.chain + self.special
    }

    /// Digits.
    pub fn digits(self) -> usize {
        self.chain.div_ceil(self.alpha)
    }

    /// Limbs' worth of a packed key-switching key at this level.
    pub fn key(self) -> f64 {
        (2 * self.digits() * self.packed) as f64 / size_of::<u64>() as f64
    }

    /// `Digits::new`: inverse transforms to centred rows.
    fn decompose(self) -> Work {
        transforms(self.chain)
    }

    /// `Digits::lift` for all limbs: a digit is converted to the primes of others and transformed.
    fn lift(self) -> Work {
        let digit = |i: usize| {
            let rows = self.alpha.min(self.chain - i * self.alpha);
            let others = self.all() - rows;
            conversion(rows, 0, others) + transforms(others)
        };
        (0..self.digits()).map(digit).fold(Work::default(), Add::add)
    }

    /// `dot_limbs` for all limbs.
    fn key_sum(self) -> Work {
        let digits = self.digits();
        let key = Work { passes: self.key(), keys: self.key(), ..Work::default() };
        key + pointwise(2 * digits * self.all(), (digits + 2) * self.all())
    }

    /// `key_product`.
    fn key_product(self) -> Work {
        self.decompose() + self.lift() + self.key_sum()
    }

    /// `Remainder::take`: special limbs to rows, and the quotient.
    fn take(self) -> Work {
        transforms(self.special) + moved((self.special + 1) as f64)
    }

    /// `mod_down_galois` of one polynomial, with an addition and a permutation or without.
    fn mod_down(self, add: bool, permuted: bool) -> Work {
        let tail = pointwise(self.chain, (3 + usize::from(add)) * self.chain);
        let permutation = moved(if permuted { 2.5 * self.chain as f64 } else { 0.0 });
        self.take() + conversion(self.special, 1, self.chain) + transforms(self.chain) + tail + permutation
    }

    /// `mod_down_add_rescale` of one polynomial with an addition, or without.
    fn mod_down_rescale(self, add: bool) -> Work {
        let rest = self.chain - 1;
        let last = conversion(self.special, 1, 1) + transforms(2) + pointwise(1, 3 + usize::from(add));
        // Two products and a difference in one pass; without an addition a product and a difference in two.
        let tail = if add { pointwise(2 * rest, 4 * rest) } else { pointwise(rest, 5 * rest) };
        self.take() + last + conversion(self.special, 2, rest) + transforms(rest) + tail
    }

    /// `Evaluator::add`: a copy, then a sum in place.
    pub fn add(self) -> Work {
        moved(2.0 * 5.0 * self.chain as f64)
    }

    /// `Evaluator::mul_plain`.
    pub fn mul_plain(self) -> Work {
        pointwise(2 * self.chain, 6 * self.chain)
    }

    /// `Evaluator::mul_lazy`: blocks of both operands are read once.
    fn mul_lazy(self) -> Work {
        pointwise(4 * self.chain, 7 * self.chain)
    }

    /// `Evaluator::rescale`: per polynomial the last limb to a row, and per remaining limb a transform of that row with the tail, which
    /// reads the limb, on its blocks.
    pub fn rescale(self) -> Work {
        let rest = self.chain - 1;
        (transforms(1) + transforms(rest) + pointwise(rest, rest)) * 2
    }

    /// `Evaluator::mul_plain_rescale`: the product of the last limb, then as [`Shape::rescale`] with a product in the tail. A limb of the
    /// plaintext is read once for both polynomials.
    pub fn mul_plain_rescale(self) -> Work {
        let rest = self.chain - 1;
        let last = pointwise(1, 3) + transforms(1);
        let poly = last + transforms(rest) + pointwise(2 * rest, rest);
        poly * 2 + moved(rest as f64)
    }

    /// `encrypt_public`: `v` and two remainders modulo the first special prime, then per limb `v` and both halves with their tails, which read
    /// `v`, the key and for one half the plaintext. Draws are not counted.
    pub fn encrypt(self) -> Work {
        let special = transforms(1) + (pointwise(1, 3) + transforms(1) + moved(2.0)) * 2;
        let half = transforms(self.chain) + pointwise(2 * self.chain, 2 * self.chain);
        special + transforms(self.chain) + half * 2 + moved(self.chain as f64)
    }

    /// `Evaluator::mul_rescale`.
    pub fn mul_rescale(self) -> Work {
        self.mul_lazy() + self.key_product() + self.mod_down_rescale(true) * 2
    }

    /// `Evaluator::rotate`.
    pub fn rotate(self) -> Work {
        self.key_product() + self.mod_down(true, true) + self.mod_down(false, true)
    }

    /// `Evaluator::rotate_hoisted` by `count` numbers of slots.
    pub fn rotate_hoisted(self, count: usize) -> Work {
        let each = self.key_sum() + self.mod_down(true, true) + self.mod_down(false, true);
        self.decompose() + self.lift() + each * count
    }

    /// `Encoder::encode`: slots to coefficients and those to a row (read and written once each), then a transform of the row per limb.
    pub fn encode(self) -> Work {
        moved(4.0) + transforms(self.chain)
    }

    /// `PreparedMap::apply` with full plaintexts kept as coefficients: `babies` and `giants` are steps that are not 0, both
    /// kinds have the step 0 too, and every pair of steps has a diagonal.
    pub fn linear_map(self, babies: usize, giants: usize) -> Work {
        let (all, diagonals) = (self.all(), (babies + 1) * (giants + 1));
        let raise = pointwise(2 * self.chain, 4 * self.chain);
        let moves = moved(5.0 * all as f64);
        let baby = self.key_sum() + pointwise(self.chain, 3 * self.chain) + moves;
        let plaintexts = (moved(2.0 * all as f64) + transforms(all)) * diagonals;
        let inner = pointwise(2 * all * diagonals, (3 * diagonals + 2 * (giants + 1)) * all);
        let sums = moved((2.5 + 3.0) * (all * giants) as f64 + 6.0 * all as f64);
        let giant = self.mod_down(false, false) + self.key_product() + moved(2.0 * (2.5 + 3.0) * all as f64);
        self.decompose()
            + self.lift()
            + raise
            + baby * babies
            + plaintexts
            + inner
            + sums
            + giant * giants
            + self.mod_down_rescale(false) * 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `l = 3`, digits of two primes, two special primes, by hand.
    #[test]
    fn counts_are_those_of_a_small_case() {
        // Four primes of 5 bytes and two of 7.
        let shape = Shape { chain: 4, special: 2, alpha: 2, packed: 34 };
        assert_eq!((shape.all(), shape.digits(), shape.key()), (6, 2, 17.0));
        // Each digit goes to 4 other primes: 2 rows, one group.
        let lift = Work { passes: 2.0 * (2.0 + 4.0 + 8.0), transforms: 8, conversions: 16, ..Work::default() };
        assert_eq!(shape.lift(), lift);
        assert_eq!(shape.key_sum(), Work { passes: 41.0, products: 24, keys: 17.0, ..Work::default() });
        // Two to rows, quotient of 3, conversion of 2 rows and the quotient to 4, 4 transforms, tail of 3 limbs each.
        let passes = 4.0 + 3.0 + 7.0 + 8.0 + 12.0;
        let down = Work { passes, transforms: 6, conversions: 8, products: 4, keys: 0.0 };
        assert_eq!(shape.mod_down(false, false), down);
        let rotation = shape.decompose() + shape.lift() + shape.key_sum() + down * 2 + moved(4.0 + 20.0);
        assert_eq!(shape.rotate(), rotation);
        assert_eq!(shape.rotate_hoisted(1), rotation);
    }
}
