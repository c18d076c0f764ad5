//! Inner products: key products and base conversion.
//!
//! A sum of products is kept as two lanes, of their low 52 bits and of what is above. Products below `2^100` have parts below
//! `2^52` and `2^48`. After [`GROUP`] of them, with a residue below `2^50` to start from, the low sum is below
//! `16 * 2^52 = 2^56` and the high one below `15 * 2^48`; with the carry of the low one, at most 15, the high sum stays below `2^52`. So
//! it is an operand of a product with `2^52 mod p`, and the low 52 bits are one of a product with 1: both below
//! `2p`, their sum below `4p`.

use super::bits;
use super::field::{Factor, Field, LOW, WORD};
use super::lanes::{LANES, Lanes};
use crate::arith::{Modulus, PackedLimb};

/// Products per partial sum.
const GROUP: usize = 15;

/// What reduces sums.
#[derive(Clone, Copy)]
struct Reducer<L: Lanes> {
    f: Field<L>,
    one: Factor<L>,
    word: Factor<L>,
    low: L::Vector,
    count: L::Vector,
}

/// A running sum of products.
#[derive(Clone, Copy)]
struct Sum<L: Lanes> {
    hi: L::Vector,
    lo: L::Vector,
}

impl<L: Lanes> Reducer<L> {
    #[inline(always)]
    fn new(l: L, m: &Modulus) -> Self {
        let f = Field::new(l, m);
        let (one, word) = (f.factor(1), f.power_of_two(WORD));
        Self { f, one, word, low: l.splat(LOW), count: l.splat(u64::from(WORD)) }
    }

    /// The sum that starts with residues.
    #[inline(always)]
    fn start(self, residue: L::Vector) -> Sum<L> {
        Sum { hi: self.f.l.splat(0), lo: residue }
    }

    #[inline(always)]
    fn add(self, sum: &mut Sum<L>, a: L::Vector, b: L::Vector) {
        sum.hi = self.f.l.madd_hi(sum.hi, a, b);
        sum.lo = self.f.l.madd_lo(sum.lo, a, b);
    }

    /// The canonical residue of a sum of at most [`GROUP`] products.
    #[inline(always)]
    fn fold(self, sum: Sum<L>) -> L::Vector {
        let l = self.f.l;
        let hi = l.add(sum.hi, l.shift_right(sum.lo, self.count));
        let lo = l.and(sum.lo, self.low);
        self.f.canonical(l.add(self.f.mul(hi, self.word), self.f.mul(lo, self.one)))
    }
}

/// What a sum over elements from `i` on starts with: the residues there or zero.
#[inline(always)]
fn initial<L: Lanes>(l: L, out: &[u64], i: usize, add: bool) -> L::Vector {
    if add { l.load(&out[i..]) } else { l.splat(0) }
}

/// Two inner products over the vector of elements that starts at `i`: `term(j)` gives the common factor and the other two.
#[inline(always)]
fn two_sums<L: Lanes>(
    reducer: Reducer<L>,
    terms: usize,
    start: [L::Vector; 2],
    term: impl Fn(usize) -> [L::Vector; 3],
) -> [L::Vector; 2] {
    let mut carry = start;
    for first in (0..terms).step_by(GROUP) {
        let mut sums = [reducer.start(carry[0]), reducer.start(carry[1])];
        for j in first..terms.min(first + GROUP) {
            let [d, x, y] = term(j);
            reducer.add(&mut sums[0], d, x);
            reducer.add(&mut sums[1], d, y);
        }
        carry = [reducer.fold(sums[0]), reducer.fold(sums[1])];
    }
    carry
}

/// See [`Kernels::dot2`](crate::arith::Kernels::dot2); `add` tells whether to add to the outputs.
#[inline(always)]
pub(super) fn dot2<L: Lanes>(
    l: L,
    m: &Modulus,
    out: [&mut [u64]; 2],
    digits: &[&[u64]],
    keys: [&[&[u64]]; 2],
    add: bool,
) {
    let (reducer, [out0, out1]) = (Reducer::new(l, m), out);
    for i in (0..out0.len()).step_by(LANES) {
        let start = [initial(l, out0, i, add), initial(l, out1, i, add)];
        let sums = two_sums(reducer, digits.len(), start, |j| l.load_all([digits[j], keys[0][j], keys[1][j]], i));
        l.store(sums[0], &mut out0[i..]);
        l.store(sums[1], &mut out1[i..]);
    }
}

/// The byte indices that bring residues of `width` bytes in a row to 8 bytes each. A vector holds at most 56 packed bytes, so that
/// byte 63 is 0.
fn spread(width: usize) -> [u64; LANES] {
    let index = |lane: usize, byte: usize| if byte < width { (lane * width + byte) as u8 } else { 63 };
    std::array::from_fn(|lane| u64::from_le_bytes(std::array::from_fn(|byte| index(lane, byte))))
}

/// See [`Kernels::dot2_packed`](crate::arith::Kernels::dot2_packed).
#[inline(always)]
pub(super) fn dot2_packed<L: Lanes>(
    l: L,
    m: &Modulus,
    out: [&mut [u64]; 2],
    digits: &[&[u64]],
    keys: [&[&PackedLimb]; 2],
) {
    let (reducer, width, [out0, out1]) = (Reducer::new(l, m), PackedLimb::width(m), out);
    debug_assert!(width * LANES < 64, "primes below 2^50 pack into 7 bytes");
    let (spread, zero) = (l.load(&spread(width)), l.splat(0));
    let n = out0.len();
    for i in (0..n).step_by(LANES) {
        let count = width * LANES.min(n - i);
        let key = |key: &PackedLimb| l.permute_bytes(l.load_bytes(&key.bytes()[i * width..], count), spread);
        let sums =
            two_sums(reducer, digits.len(), [zero; 2], |j| [l.load(&digits[j][i..]), key(keys[0][j]), key(keys[1][j])]);
        l.store(sums[0], &mut out0[i..]);
        l.store(sums[1], &mut out1[i..]);
    }
}

/// See [`Kernels::dot2_repeated`](crate::arith::Kernels::dot2_repeated); `add` tells whether to add to the outputs.
#[inline(always)]
pub(super) fn dot2_repeated<L: Lanes>(
    l: L,
    m: &Modulus,
    out: [&mut [u64]; 2],
    factors: &[&[u64]],
    limbs: [&[&[u64]]; 2],
    add: bool,
) {
    let (reducer, [out0, out1]) = (Reducer::new(l, m), out);
    let run = out0.len() / factors[0].len();
    let factor = |j: usize, i: usize| {
        if run.is_multiple_of(LANES) {
            return l.splat(factors[j][i / run]);
        }
        // Runs of four: a vector may reach into the next one, the last vector beyond the end.
        let values = factors[j];
        l.load(&std::array::from_fn::<u64, LANES, _>(|lane| values[((i + lane) / run).min(values.len() - 1)]))
    };
    for i in (0..out0.len()).step_by(LANES) {
        let start = [initial(l, out0, i, add), initial(l, out1, i, add)];
        let sums = two_sums(reducer, factors.len(), start, |j| {
            [factor(j, i), l.load(&limbs[0][j][i..]), l.load(&limbs[1][j][i..])]
        });
        l.store(sums[0], &mut out0[i..]);
        l.store(sums[1], &mut out1[i..]);
    }
}

/// One inner product with `term(j)` as its terms.
#[inline(always)]
fn one_sum<L: Lanes>(
    reducer: Reducer<L>,
    terms: usize,
    start: L::Vector,
    term: impl Fn(usize) -> [L::Vector; 2],
) -> L::Vector {
    let mut carry = start;
    for first in (0..terms).step_by(GROUP) {
        let mut sum = reducer.start(carry);
        for j in first..terms.min(first + GROUP) {
            let [a, b] = term(j);
            reducer.add(&mut sum, a, b);
        }
        carry = reducer.fold(sum);
    }
    carry
}

/// See [`Kernels::weighted_sum`](crate::arith::Kernels::weighted_sum).
#[inline(always)]
pub(super) fn weighted_sum<L: Lanes>(l: L, m: &Modulus, out: &mut [u64], x: &[&[u64]], c: &[u64]) {
    let (reducer, zero) = (Reducer::new(l, m), l.splat(0));
    for (i, out) in out.chunks_mut(LANES).enumerate() {
        let sum = one_sum(reducer, x.len(), zero, |j| [l.load(&x[j][i * LANES..]), l.splat(c[j])]);
        l.store(sum, out);
    }
}

/// See `Kernels::combine`.
///
/// A row holds integers `|y| <= 2^49` as doubles. `y + 2^49`, in `[0, 2^50]`, is the mantissa of `y + (2^52 + 2^49)`, and products with
/// residues are below `2^100`. The sum starts with `-2^49` times the sum of the coefficients.
#[inline(always)]
pub(super) fn combine<L: Lanes>(l: L, m: &Modulus, rows: &[&[f64]], coefficients: &[f64], dst: &mut [u64]) {
    const OFFSET: u64 = 1 << 49;
    let reducer = Reducer::new(l, m);
    let residue = |c: &f64| m.from_i64(*c as i64);
    let sum = coefficients.iter().fold(0, |sum, c| m.add(sum, residue(c)));
    let start = l.splat(m.neg(m.mul(sum, m.reduce_u64(OFFSET))));
    let (magic, low) = (l.splat((((1u64 << WORD) + OFFSET) as f64).to_bits()), l.splat(LOW));
    for (i, dst) in dst.chunks_mut(LANES).enumerate() {
        let total = one_sum(reducer, rows.len(), start, |j| {
            let y = l.load(bits::of(&rows[j][i * LANES..]));
            [l.and(l.add_f64(y, magic), low), l.splat(residue(&coefficients[j]))]
        });
        l.store(total, dst);
    }
}
