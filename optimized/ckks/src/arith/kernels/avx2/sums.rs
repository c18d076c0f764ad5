//! Inner products: key products and base conversion.
//!
//! Up to [`GROUP`] exact products of magnitude below `2^100` are summed as a pair (`hi`, `lo`) of doubles. `hi`
//! starts at a constant whose unit in the last place stays the same for the whole sum: `hi' = fma(a, b, hi)` moves
//! by multiples of that unit, so `d = hi' - hi` is exact, and `fma(a, b, -d)` is the exact remainder, at most half a
//! unit, collected in `lo`.
//!
//! - Key products (`0 <= a, b < p`): start `2^103`. Eight products stay below `8 (2^50 - 27)^2 < 2^103 - 2^56`, so
//!   `hi < 2^104`, its unit is `2^51`, remainders are at most `2^50` and their sum at most `2^53`: exact.
//! - Base conversion (`|a| <= 2^49`, `|b| <= (p-1)/2 <= 2^49 - 14`): start `1.5 * 2^102`. Eight products stay
//!   below `2^101 - 2^55`, so `hi` lies in `[2^102, 2^103]`, its unit is `2^50`, remainders are at most `2^49` and
//!   their sum at most `2^52`.
//!
//! In both cases the rounding errors shift `hi` by at most `2^53`, far less than the room left.

use std::arch::x86_64::*;

use super::lanes::{Field, LANES, to_f64, to_u64};
use crate::arith::kernels::scalar;
use crate::arith::{Modulus, PackedLimb};

/// Products per partial sum.
const GROUP: usize = 8;
/// `2^103`.
const UNSIGNED_START: f64 = (1u128 << 103) as f64;
/// `1.5 * 2^102`.
const SIGNED_START: f64 = 1.5 * (1u128 << 102) as f64;

/// A running sum of products.
#[derive(Clone, Copy)]
struct Sum {
    hi: __m256d,
    lo: __m256d,
}

impl Sum {
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn new(start: __m256d) -> Self {
        Self { hi: start, lo: _mm256_setzero_pd() }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn add(&mut self, a: __m256d, b: __m256d) {
        let hi = _mm256_fmadd_pd(a, b, self.hi);
        let moved = _mm256_sub_pd(hi, self.hi);
        self.lo = _mm256_add_pd(self.lo, _mm256_fmsub_pd(a, b, moved));
        self.hi = hi;
    }

    /// The sum plus `carry`, `|carry| < p`, reduced to magnitude at most `p/2 + 1`.
    ///
    /// `hi - start` is exact and at most `8 p^2 + 2^53`, so its quotient by `p` is below `2^53` and rounds to an
    /// integer with total error at most 2: the remainder is at most `2p < 2^51` and exact. With `lo` reduced first
    /// and the carry the sum stays below `4p < 2^52`.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn fold(self, f: Field, start: __m256d, carry: __m256d) -> __m256d {
        let lo = _mm256_add_pd(f.reduce(self.lo), carry);
        f.reduce(_mm256_add_pd(f.reduce_large(_mm256_sub_pd(self.hi, start)), lo))
    }
}

/// Elements per step of the base conversion: four vectors hide the latency of the sums.
const STEP: usize = 4 * LANES;

/// Elements `i..i + 4` as doubles.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn load(limb: &[u64], i: usize) -> __m256d {
    let x = &limb[i..i + LANES];
    // SAFETY: `x` holds four elements.
    to_f64(unsafe { _mm256_loadu_si256(x.as_ptr().cast()) })
}

/// Elements `i..i + 16` of a row.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn load_step(row: &[f64], i: usize) -> [__m256d; 4] {
    let x = &row[i..i + STEP];
    let mut out = [_mm256_setzero_pd(); 4];
    for (k, out) in out.iter_mut().enumerate() {
        // SAFETY: `x` holds sixteen elements.
        *out = unsafe { _mm256_loadu_pd(x.as_ptr().add(k * LANES)) };
    }
    out
}

/// Canonical residues to elements `i..i + 4`.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn store(out: &mut [u64], i: usize, x: __m256d) {
    let out = &mut out[i..i + LANES];
    // SAFETY: `out` holds four elements.
    unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), to_u64(x)) }
}

/// What a sum over elements `i..i + 4` starts with: the residues there or zero.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn initial(out: &[u64], i: usize, add: bool) -> __m256d {
    if add { load(out, i) } else { _mm256_setzero_pd() }
}

/// The rest of every limb from element `i` on.
fn rest<'a, T>(limbs: &[&'a [T]], i: usize) -> Vec<&'a [T]> {
    limbs.iter().map(|limb| &limb[i..]).collect()
}

/// See [`Kernels::dot2`](crate::arith::Kernels::dot2); `add` tells whether to add to the outputs.
#[target_feature(enable = "avx2,fma")]
pub(super) fn dot2(m: &Modulus, out: [&mut [u64]; 2], digits: &[&[u64]], keys: [&[&[u64]]; 2], add: bool) {
    let f = Field::new(m);
    let start = _mm256_set1_pd(UNSIGNED_START);
    let [out0, out1] = out;
    let whole = out0.len() - out0.len() % LANES;
    for i in (0..whole).step_by(LANES) {
        let mut carry = [initial(out0, i, add), initial(out1, i, add)];
        for first in (0..digits.len()).step_by(GROUP) {
            let mut sums = [Sum::new(start); 2];
            for j in first..digits.len().min(first + GROUP) {
                let d = load(digits[j], i);
                sums[0].add(d, load(keys[0][j], i));
                sums[1].add(d, load(keys[1][j], i));
            }
            for (carry, sum) in carry.iter_mut().zip(sums) {
                *carry = sum.fold(f, start, *carry);
            }
        }
        store(out0, i, f.lift(carry[0]));
        store(out1, i, f.lift(carry[1]));
    }
    if whole < out0.len() {
        let keys = keys.map(|key| rest(key, whole));
        let out = [&mut out0[whole..], &mut out1[whole..]];
        (scalar::TABLE.dot2)(m, out, &rest(digits, whole), [&keys[0], &keys[1]], add);
    }
}

/// The shuffle that brings two residues of `width` bytes, packed at the start of each half, to 8 bytes each.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn spread(width: usize) -> __m256i {
    let place = |at: usize| if at % 8 < width { (at / 8 * width + at % 8) as i8 } else { -1 };
    let half: [i8; 16] = std::array::from_fn(place);
    // SAFETY: the array holds sixteen bytes.
    _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(half.as_ptr().cast()) })
}

/// Four packed residues as doubles; `spread` is that of their width.
///
/// # Safety
/// `x` is readable for `2 width + 16` bytes.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn load_packed(x: *const u8, width: usize, spread: __m256i) -> __m256d {
    // SAFETY: by the contract of this function.
    let (low, high) = unsafe { (_mm_loadu_si128(x.cast()), _mm_loadu_si128(x.add(2 * width).cast())) };
    to_f64(_mm256_shuffle_epi8(_mm256_set_m128i(high, low), spread))
}

/// See [`Kernels::dot2_packed`](crate::arith::Kernels::dot2_packed).
#[target_feature(enable = "avx2,fma")]
pub(super) fn dot2_packed(m: &Modulus, out: [&mut [u64]; 2], digits: &[&[u64]], keys: [&[&PackedLimb]; 2]) {
    let n = out[0].len();
    let width = PackedLimb::width(m);
    let fits = |key: &[&PackedLimb]| key.iter().all(|limb| limb.size() == n * width);
    if !n.is_multiple_of(LANES) || !digits.iter().all(|digit| digit.len() == n) || !keys.into_iter().all(fits) {
        return (scalar::TABLE.dot2_packed)(m, out, digits, keys);
    }
    let (f, spread) = (Field::new(m), spread(width));
    let start = _mm256_set1_pd(UNSIGNED_START);
    let [out0, out1] = out;
    let term = |((digit, key0), key1): ((&&[u64], &&PackedLimb), &&PackedLimb)| {
        (digit.as_ptr(), key0.bytes().as_ptr(), key1.bytes().as_ptr())
    };
    let terms: Vec<_> = digits.iter().zip(keys[0]).zip(keys[1]).map(term).collect();
    for i in (0..n).step_by(LANES) {
        let mut carry = [_mm256_setzero_pd(); 2];
        for group in terms.chunks(GROUP) {
            let mut sums = [Sum::new(start); 2];
            for &(digit, key0, key1) in group {
                // SAFETY: digits have `n` residues, keys `n width` bytes and 16 more, and `i + 4 <= n`.
                unsafe {
                    let d = to_f64(_mm256_loadu_si256(digit.add(i).cast()));
                    sums[0].add(d, load_packed(key0.add(i * width), width, spread));
                    sums[1].add(d, load_packed(key1.add(i * width), width, spread));
                }
            }
            for (carry, sum) in carry.iter_mut().zip(sums) {
                *carry = sum.fold(f, start, *carry);
            }
        }
        store(out0, i, f.lift(carry[0]));
        store(out1, i, f.lift(carry[1]));
    }
}

/// See [`Kernels::dot2_repeated`](crate::arith::Kernels::dot2_repeated); `add` tells whether to add to the outputs.
#[target_feature(enable = "avx2,fma")]
pub(super) fn dot2_repeated(m: &Modulus, out: [&mut [u64]; 2], factors: &[&[u64]], limbs: [&[&[u64]]; 2], add: bool) {
    let f = Field::new(m);
    let start = _mm256_set1_pd(UNSIGNED_START);
    let [out0, out1] = out;
    let run = out0.len() / factors[0].len();
    for value in 0..factors[0].len() {
        // A run is a multiple of four, so one factor serves the whole vector.
        for i in (value * run..(value + 1) * run).step_by(LANES) {
            let mut carry = [initial(out0, i, add), initial(out1, i, add)];
            for first in (0..factors.len()).step_by(GROUP) {
                let mut sums = [Sum::new(start); 2];
                for j in first..factors.len().min(first + GROUP) {
                    let d = to_f64(_mm256_set1_epi64x(factors[j][value] as i64));
                    sums[0].add(d, load(limbs[0][j], i));
                    sums[1].add(d, load(limbs[1][j], i));
                }
                for (carry, sum) in carry.iter_mut().zip(sums) {
                    *carry = sum.fold(f, start, *carry);
                }
            }
            store(out0, i, f.lift(carry[0]));
            store(out1, i, f.lift(carry[1]));
        }
    }
}

/// See [`Kernels::weighted_sum`](crate::arith::Kernels::weighted_sum).
#[target_feature(enable = "avx2,fma")]
pub(super) fn weighted_sum(m: &Modulus, out: &mut [u64], x: &[&[u64]], c: &[u64]) {
    let f = Field::new(m);
    let start = _mm256_set1_pd(UNSIGNED_START);
    let whole = out.len() - out.len() % (2 * LANES);
    for i in (0..whole).step_by(2 * LANES) {
        let mut carry = [_mm256_setzero_pd(); 2];
        for (x, c) in x.chunks(GROUP).zip(c.chunks(GROUP)) {
            let mut sums = [Sum::new(start); 2];
            for (x, &c) in x.iter().zip(c) {
                let c = _mm256_set1_pd(c as i64 as f64);
                sums[0].add(load(x, i), c);
                sums[1].add(load(x, i + LANES), c);
            }
            for (carry, sum) in carry.iter_mut().zip(sums) {
                *carry = sum.fold(f, start, *carry);
            }
        }
        store(out, i, f.lift(carry[0]));
        store(out, i + LANES, f.lift(carry[1]));
    }
    if whole < out.len() {
        (scalar::TABLE.weighted_sum)(m, &mut out[whole..], &rest(x, whole), c);
    }
}

/// See `Kernels::combine`.
#[target_feature(enable = "avx2,fma")]
pub(super) fn combine(m: &Modulus, rows: &[&[f64]], coefficients: &[f64], dst: &mut [u64]) {
    let f = Field::new(m);
    let start = _mm256_set1_pd(SIGNED_START);
    let whole = dst.len() - dst.len() % STEP;
    for i in (0..whole).step_by(STEP) {
        let mut carry = [_mm256_setzero_pd(); 4];
        for (rows, coefficients) in rows.chunks(GROUP).zip(coefficients.chunks(GROUP)) {
            let mut sums = [Sum::new(start); 4];
            for (row, &c) in rows.iter().zip(coefficients) {
                let c = _mm256_set1_pd(c);
                let x = load_step(row, i);
                for (sum, x) in sums.iter_mut().zip(x) {
                    sum.add(x, c);
                }
            }
            for (carry, sum) in carry.iter_mut().zip(sums) {
                *carry = sum.fold(f, start, *carry);
            }
        }
        for (k, x) in carry.into_iter().enumerate() {
            store(dst, i + k * LANES, f.lift(x));
        }
    }
    if whole < dst.len() {
        (scalar::TABLE.combine)(m, &rest(rows, whole), coefficients, &mut dst[whole..]);
    }
}

/// See `Kernels::quotient`. Separate multiplications and additions: the rule fixes every rounding.
#[target_feature(enable = "avx2,fma")]
pub(super) fn quotient(y: &[&[f64]], recips: &[f64], v: &mut [f64]) {
    let whole = v.len() - v.len() % STEP;
    for i in (0..whole).step_by(STEP) {
        let mut sums = load_step(y[0], i);
        for sum in &mut sums {
            *sum = _mm256_mul_pd(*sum, _mm256_set1_pd(recips[0]));
        }
        for (row, &r) in y[1..].iter().zip(&recips[1..]) {
            let r = _mm256_set1_pd(r);
            for (sum, x) in sums.iter_mut().zip(load_step(row, i)) {
                *sum = _mm256_add_pd(*sum, _mm256_mul_pd(x, r));
            }
        }
        for (chunk, sum) in v[i..i + STEP].chunks_exact_mut(LANES).zip(sums) {
            let rounded = _mm256_round_pd::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(sum);
            // SAFETY: `chunk` holds four elements.
            unsafe { _mm256_storeu_pd(chunk.as_mut_ptr(), rounded) }
        }
    }
    if whole < v.len() {
        (scalar::TABLE.quotient)(&rest(y, whole), recips, &mut v[whole..]);
    }
}
