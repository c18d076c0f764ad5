//! The canonical embedding on pairs of complex numbers: the portable kernel's operations, rounded one by one, in an order that
//! takes two stages per pass and finishes a block before the next one.

use std::arch::x86_64::*;

use crate::arith::kernels::embedding as portable;
use num_complex::Complex64;

/// Values of a block that stays in the first-level cache for all its stages.
const CACHED: usize = 1 << 10;
/// `1.5 * 2^52`: adding it rounds a number below `2^51` to an integer, ties to even, and puts that into the mantissa.
const MAGIC: f64 = 6_755_399_441_055_744.0;
/// `2^51`.
const EXACT: f64 = 2_251_799_813_685_248.0;

/// Values `i` and `i + 1`.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn load(values: &[Complex64], i: usize) -> __m256d {
    let x = &values[i..i + 2];
    // SAFETY: `x` holds two pairs of doubles, laid out in a row (`repr(C)`).
    unsafe { _mm256_loadu_pd(x.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn store(values: &mut [Complex64], i: usize, x: __m256d) {
    let out = &mut values[i..i + 2];
    // SAFETY: as in `load`.
    unsafe { _mm256_storeu_pd(out.as_mut_ptr().cast(), x) }
}

/// `d conj(w)`: products and sums as complex multiplication writes them, none fused.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn mul_conj(d: __m256d, w: __m256d) -> __m256d {
    let (re, im) = (_mm256_movedup_pd(w), _mm256_permute_pd::<0b1111>(w));
    let negated = _mm256_xor_pd(im, _mm256_set1_pd(-0.0));
    _mm256_addsub_pd(_mm256_mul_pd(d, re), _mm256_mul_pd(_mm256_permute_pd::<0b0101>(d), negated))
}

/// See [`Kernels::slots_to_packed`](crate::arith::Kernels::slots_to_packed).
#[target_feature(enable = "avx2,fma")]
pub(super) fn slots_to_packed(roots: &[Complex64], values: &mut [Complex64]) {
    if values.len() < 4 {
        return portable::slots_to_packed(roots, values);
    }
    if values.len().trailing_zeros().is_multiple_of(2) {
        return even_stages(roots, values);
    }
    let half = values.len() / 2;
    let (low, high) = values.split_at_mut(half);
    let stage = &roots[half - 1..2 * half - 1];
    for i in (0..half).step_by(2) {
        let (a, b) = (load(low, i), load(high, i));
        store(low, i, _mm256_add_pd(a, b));
        store(high, i, mul_conj(_mm256_sub_pd(a, b), load(stage, i)));
    }
    even_stages(roots, low);
    even_stages(roots, high);
}

/// All stages of a block whose length is a power of four.
#[target_feature(enable = "avx2,fma")]
fn even_stages(roots: &[Complex64], block: &mut [Complex64]) {
    let mut len = block.len();
    if len > CACHED {
        two_stages(roots, block);
        for quarter in block.chunks_exact_mut(len / 4) {
            even_stages(roots, quarter);
        }
        return;
    }
    while len > 4 {
        for part in block.chunks_exact_mut(len) {
            two_stages(roots, part);
        }
        len /= 4;
    }
    last_stages(roots, block);
}

/// The stages of length `block.len()`, at least 16, and half of it.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn two_stages(roots: &[Complex64], block: &mut [Complex64]) {
    let quarter = block.len() / 4;
    let (outer, inner) = (&roots[2 * quarter - 1..4 * quarter - 1], &roots[quarter - 1..2 * quarter - 1]);
    let (outer0, outer1) = outer.split_at(quarter);
    let (low, high) = block.split_at_mut(2 * quarter);
    let ((x0, x1), (x2, x3)) = (low.split_at_mut(quarter), high.split_at_mut(quarter));
    for j in (0..quarter).step_by(2) {
        let (a, b, c, d) = (load(x0, j), load(x1, j), load(x2, j), load(x3, j));
        let (a, c) = (_mm256_add_pd(a, c), mul_conj(_mm256_sub_pd(a, c), load(outer0, j)));
        let (b, d) = (_mm256_add_pd(b, d), mul_conj(_mm256_sub_pd(b, d), load(outer1, j)));
        let root = load(inner, j);
        store(x0, j, _mm256_add_pd(a, b));
        store(x1, j, mul_conj(_mm256_sub_pd(a, b), root));
        store(x2, j, _mm256_add_pd(c, d));
        store(x3, j, mul_conj(_mm256_sub_pd(c, d), root));
    }
}

/// The stages of length 4 and 2.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn last_stages(roots: &[Complex64], block: &mut [Complex64]) {
    let (outer, inner) = (load(roots, 1), load(&[roots[0]; 2], 0));
    for part in block.chunks_exact_mut(4) {
        let (x, y) = (load(part, 0), load(part, 2));
        let (x, y) = (_mm256_add_pd(x, y), mul_conj(_mm256_sub_pd(x, y), outer));
        // Values 0 and 2, then 1 and 3.
        let (even, odd) = (_mm256_permute2f128_pd::<0x20>(x, y), _mm256_permute2f128_pd::<0x31>(x, y));
        let (even, odd) = (_mm256_add_pd(even, odd), mul_conj(_mm256_sub_pd(even, odd), inner));
        store(part, 0, _mm256_permute2f128_pd::<0x20>(even, odd));
        store(part, 2, _mm256_permute2f128_pd::<0x31>(even, odd));
    }
}

/// See [`Kernels::round_packed`](crate::arith::Kernels::round_packed).
#[target_feature(enable = "avx2,fma")]
pub(super) fn round_packed(factor: f64, packed: &[Complex64], re: &mut [i64], im: &mut [i64]) -> f64 {
    let n = packed.len();
    if n < 4 {
        return portable::round_packed(factor, packed, re, im);
    }
    let scale = _mm256_set1_pd(factor);
    let unused = n.leading_zeros() + 1;
    let mut largest = _mm256_setzero_pd();
    let mut beyond = 0.0;
    for (k, (re, im)) in re.chunks_exact_mut(4).zip(im.chunks_exact_mut(4)).enumerate() {
        // Indices 4k .. 4k + 3 reversed: the low bits become the high ones.
        let first = (4 * k).reverse_bits() >> unused;
        let [a, b, c, d] = [first, first + n / 2, first + n / 4, first + 3 * (n / 4)].map(|i| pair(&packed[i]));
        let (ac, bd) = (_mm256_set_m128d(c, a), _mm256_set_m128d(d, b));
        for (out, x) in [(re, _mm256_unpacklo_pd(ac, bd)), (im, _mm256_unpackhi_pd(ac, bd))] {
            let x = _mm256_mul_pd(x, scale);
            let magnitude = _mm256_andnot_pd(_mm256_set1_pd(-0.0), x);
            if _mm256_movemask_pd(_mm256_cmp_pd::<_CMP_NLE_UQ>(magnitude, _mm256_set1_pd(EXACT))) != 0 {
                let mut lanes = [0.0; 4];
                // SAFETY: the array holds four doubles.
                unsafe { _mm256_storeu_pd(lanes.as_mut_ptr(), x) };
                out.iter_mut().zip(lanes).for_each(|(out, x)| *out = portable::round(x, &mut beyond));
                continue;
            }
            largest = _mm256_max_pd(largest, magnitude);
            let magic = _mm256_set1_pd(MAGIC);
            let integer = _mm256_sub_epi64(_mm256_castpd_si256(_mm256_add_pd(x, magic)), _mm256_castpd_si256(magic));
            // SAFETY: `out` holds four integers.
            unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), integer) };
        }
    }
    let mut lanes = [0.0; 4];
    // SAFETY: the array holds four doubles.
    unsafe { _mm256_storeu_pd(lanes.as_mut_ptr(), largest) };
    lanes.into_iter().map(f64::round_ties_even).fold(beyond, f64::max)
}

/// Both parts of a value.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn pair(value: &Complex64) -> __m128d {
    // SAFETY: a value is two doubles in a row (`repr(C)`).
    unsafe { _mm_loadu_pd(std::ptr::from_ref(value).cast()) }
}
