//! Element-by-element kernels: each loads a vector from every input, maps it, and stores a vector.

use std::arch::x86_64::*;

use super::lanes::{Field, LANES, to_f64, to_u64};
use crate::arith::Modulus;
use crate::arith::kernels::scalar;

/// `out[i] = f(inputs[0][i], ..)` over `n` elements; a remainder of fewer than four goes through buffers.
///
/// # Safety
/// `out` is writable and every input readable for `n` elements; an input may equal `out` but not overlap it
/// otherwise. Both element types are 8 bytes wide and accept every bit pattern.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn map<const K: usize, T>(out: *mut T, inputs: [*const u64; K], n: usize, f: impl Fn([__m256i; K]) -> __m256i) {
    let whole = n - n % LANES;
    for i in (0..whole).step_by(LANES) {
        // SAFETY: `i + 4 <= n`.
        unsafe {
            let x = inputs.map(|p| _mm256_loadu_si256(p.add(i).cast()));
            _mm256_storeu_si256(out.add(i).cast(), f(x));
        }
    }
    if whole < n {
        let mut buffer = [0u64; LANES];
        // SAFETY: the copies move `n - whole < 4` elements that exist on both sides.
        unsafe {
            let x = inputs.map(|p| {
                let mut lanes = [0u64; LANES];
                p.add(whole).copy_to_nonoverlapping(lanes.as_mut_ptr(), n - whole);
                _mm256_loadu_si256(lanes.as_ptr().cast())
            });
            _mm256_storeu_si256(buffer.as_mut_ptr().cast(), f(x));
            buffer.as_ptr().copy_to_nonoverlapping(out.add(whole).cast(), n - whole);
        }
    }
}

/// [`map`] into a slice of its own.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn map_into<const K: usize>(out: &mut [u64], inputs: [&[u64]; K], f: impl Fn([__m256i; K]) -> __m256i) {
    let n = inputs.iter().fold(out.len(), |n, x| n.min(x.len()));
    // SAFETY: `n` is within every slice, and `out` is borrowed exclusively.
    unsafe { map(out.as_mut_ptr(), inputs.map(<[u64]>::as_ptr), n, f) }
}

/// [`map`] of an accumulator and one more input, in place.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn map_assign(acc: &mut [u64], a: &[u64], f: impl Fn([__m256i; 2]) -> __m256i) {
    let n = acc.len().min(a.len());
    let out = acc.as_mut_ptr();
    // SAFETY: `n` is within both slices; the accumulator is the only input that equals the output.
    unsafe { map(out, [out.cast_const(), a.as_ptr()], n, f) }
}

/// `x` where the sign of `choice` is clear, `y` where it is set.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn select(x: __m256i, y: __m256i, choice: __m256i) -> __m256i {
    let [x, y, choice] = [x, y, choice].map(|v| _mm256_castsi256_pd(v));
    _mm256_castpd_si256(_mm256_blendv_pd(x, y, choice))
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn splat(m: &Modulus) -> __m256i {
    _mm256_set1_epi64x(m.value() as i64)
}

/// `a + b`, in integers: no conversion is cheaper than one.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn sum(p: __m256i, a: __m256i, b: __m256i) -> __m256i {
    let s = _mm256_add_epi64(a, b);
    let t = _mm256_sub_epi64(s, p);
    select(t, s, t)
}

/// `a - b`, in integers.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn difference(p: __m256i, a: __m256i, b: __m256i) -> __m256i {
    let d = _mm256_sub_epi64(a, b);
    select(d, _mm256_add_epi64(d, p), d)
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn add(m: &Modulus, out: &mut [u64], a: &[u64], b: &[u64]) {
    let p = splat(m);
    map_into(out, [a, b], |[a, b]| sum(p, a, b));
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn add_assign(m: &Modulus, acc: &mut [u64], a: &[u64]) {
    let p = splat(m);
    map_assign(acc, a, |[x, a]| sum(p, x, a));
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn sub(m: &Modulus, out: &mut [u64], a: &[u64], b: &[u64]) {
    let p = splat(m);
    map_into(out, [a, b], |[a, b]| difference(p, a, b));
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn sub_assign(m: &Modulus, acc: &mut [u64], a: &[u64]) {
    let p = splat(m);
    map_assign(acc, a, |[x, a]| difference(p, x, a));
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn neg(m: &Modulus, out: &mut [u64], a: &[u64]) {
    let p = splat(m);
    let zero = _mm256_setzero_si256();
    map_into(out, [a], |[a]| difference(p, zero, a));
}

/// The canonical product of two residues.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn product(f: Field, a: __m256i, b: __m256i) -> __m256i {
    to_u64(f.lift(f.mul(to_f64(a), to_f64(b))))
}

/// The canonical product with a constant: `|T(p)| < p`.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn scaled(f: Field, a: __m256i, c: __m256d) -> __m256i {
    to_u64(f.lift(f.mul_fixed(to_f64(a), c)))
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn mul(m: &Modulus, out: &mut [u64], a: &[u64], b: &[u64]) {
    let f = Field::new(m);
    map_into(out, [a, b], |[a, b]| product(f, a, b));
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn mul_assign(m: &Modulus, acc: &mut [u64], a: &[u64]) {
    let f = Field::new(m);
    map_assign(acc, a, |[x, a]| product(f, x, a));
}

/// The product lies in `(-p, p)`, the sum in `(-p, 2p)`.
#[target_feature(enable = "avx2,fma")]
pub(super) fn mul_add_assign(m: &Modulus, acc: &mut [u64], a: &[u64], b: &[u64]) {
    let f = Field::new(m);
    let n = acc.len().min(a.len()).min(b.len());
    let out = acc.as_mut_ptr();
    let body = |[x, a, b]: [__m256i; 3]| to_u64(f.canonical(_mm256_add_pd(to_f64(x), f.mul(to_f64(a), to_f64(b)))));
    // SAFETY: `n` is within all slices; the accumulator is the only input that equals the output.
    unsafe { map(out, [out.cast_const(), a.as_ptr(), b.as_ptr()], n, body) }
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn mul_scalar(m: &Modulus, out: &mut [u64], a: &[u64], c: u64) {
    let f = Field::new(m);
    let c = Field::constant(m, c);
    map_into(out, [a], |[a]| scaled(f, a, c));
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn mul_scalar_assign(m: &Modulus, acc: &mut [u64], c: u64) {
    let f = Field::new(m);
    let c = Field::constant(m, c);
    let out = acc.as_mut_ptr();
    // SAFETY: input and output are the same slice.
    unsafe { map(out, [out.cast_const()], acc.len(), |[x]| scaled(f, x, c)) }
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn mul_scalar_add_assign(m: &Modulus, acc: &mut [u64], a: &[u64], c: u64) {
    let f = Field::new(m);
    let c = Field::constant(m, c);
    map_assign(acc, a, |[x, a]| to_u64(f.canonical(_mm256_add_pd(to_f64(x), f.mul_fixed(to_f64(a), c)))));
}

/// `x - r` lies in `(-p, p)`.
#[target_feature(enable = "avx2,fma")]
pub(super) fn sub_mul_scalar(m: &Modulus, out: &mut [u64], x: &[u64], r: &[u64], c: u64) {
    let f = Field::new(m);
    let c = Field::constant(m, c);
    let body = |[x, r]: [__m256i; 2]| f.mul_fixed(_mm256_sub_pd(to_f64(x), to_f64(r)), c);
    map_into(out, [x, r], |v| to_u64(f.lift(body(v))));
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn sub_mul_scalar_add(m: &Modulus, out: &mut [u64], x: &[u64], r: &[u64], c: u64, d: &[u64]) {
    let f = Field::new(m);
    let c = Field::constant(m, c);
    map_into(out, [x, r, d], |[x, r, d]| {
        let t = f.mul_fixed(_mm256_sub_pd(to_f64(x), to_f64(r)), c);
        to_u64(f.canonical(_mm256_add_pd(t, to_f64(d))))
    });
}

/// The product lies in `(-p, p)`, its difference to a residue in `(-2p, p)`.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn product_difference(f: Field, [r, a, b]: [__m256i; 3]) -> __m256d {
    _mm256_sub_pd(f.mul(to_f64(a), to_f64(b)), to_f64(r))
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn product_tail(m: &Modulus, acc: &mut [u64], x: [&[u64]; 2], c: u64) {
    let f = Field::new(m);
    let c = Field::constant(m, c);
    let n = acc.len().min(x[0].len()).min(x[1].len());
    let out = acc.as_mut_ptr();
    let body = |v: [__m256i; 3]| to_u64(f.lift(f.mul_fixed(product_difference(f, v), c)));
    // SAFETY: `n` is within all slices; the accumulator is the only input that equals the output.
    unsafe { map(out, [out.cast_const(), x[0].as_ptr(), x[1].as_ptr()], n, body) }
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn product_tail_add(m: &Modulus, acc: &mut [u64], x: [&[u64]; 2], c: u64, d: &[u64]) {
    let f = Field::new(m);
    let c = Field::constant(m, c);
    let n = acc.len().min(x[0].len()).min(x[1].len()).min(d.len());
    let out = acc.as_mut_ptr();
    let body = |[r, a, b, d]: [__m256i; 4]| {
        let t = f.mul_fixed(product_difference(f, [r, a, b]), c);
        to_u64(f.canonical(_mm256_add_pd(t, to_f64(d))))
    };
    // SAFETY: as above.
    unsafe { map(out, [out.cast_const(), x[0].as_ptr(), x[1].as_ptr(), d.as_ptr()], n, body) }
}

/// Two products in `(-p, p)` and a residue: magnitude below `3p`.
#[target_feature(enable = "avx2,fma")]
pub(super) fn combine2_sub(m: &Modulus, out: &mut [u64], x: [&[u64]; 2], c: [u64; 2], s: &[u64]) {
    let f = Field::new(m);
    let c = c.map(|c| Field::constant(m, c));
    map_into(out, [x[0], x[1], s], |[a, b, s]| {
        let t = _mm256_add_pd(f.mul_fixed(to_f64(a), c[0]), f.mul_fixed(to_f64(b), c[1]));
        to_u64(f.canonical(_mm256_sub_pd(t, to_f64(s))))
    });
}

/// Reducing a canonical residue centres it; the result is below `2^49` and reduces again.
#[target_feature(enable = "avx2,fma")]
pub(super) fn reduce_centered(src: &[u64], m_src: &Modulus, dst: &mut [u64], m_dst: &Modulus) {
    let (from, to) = (Field::new(m_src), Field::new(m_dst));
    map_into(dst, [src], |[x]| to_u64(to.canonical(from.reduce(to_f64(x)))));
}

/// Vectors of integers below `2^51` go through doubles, as offsets from `1.5 * 2^52` in the mantissa; others one by one.
#[target_feature(enable = "avx2,fma")]
pub(super) fn reduce_signed(m: &Modulus, dst: &mut [u64], src: &[i64]) {
    let f = Field::new(m);
    let magic = _mm256_set1_pd(1.5 * (1u64 << 52) as f64);
    let half_range = _mm256_set1_epi64x(1 << 51);
    let whole = dst.len().min(src.len()) / LANES * LANES;
    for (dst, src) in dst[..whole].chunks_exact_mut(LANES).zip(src.chunks_exact(LANES)) {
        // SAFETY: both chunks hold four elements.
        unsafe {
            let x = _mm256_loadu_si256(src.as_ptr().cast());
            let high = _mm256_srli_epi64::<52>(_mm256_add_epi64(x, half_range));
            if _mm256_testz_si256(high, high) == 0 {
                (scalar::TABLE.reduce_signed)(m, dst, src);
                continue;
            }
            let x = _mm256_castsi256_pd(_mm256_add_epi64(x, _mm256_castpd_si256(magic)));
            let residues = to_u64(f.canonical(_mm256_sub_pd(x, magic)));
            _mm256_storeu_si256(dst.as_mut_ptr().cast(), residues);
        }
    }
    (scalar::TABLE.reduce_signed)(m, &mut dst[whole..], &src[whole..]);
}

/// Reducing a product below `p` in magnitude centres it.
#[target_feature(enable = "avx2,fma")]
pub(super) fn center_scaled(m: &Modulus, y: &mut [f64], src: &[u64], c: u64) {
    let f = Field::new(m);
    let c = Field::constant(m, c);
    let n = y.len().min(src.len());
    let body = |[x]: [__m256i; 1]| _mm256_castpd_si256(f.reduce(f.mul_fixed(to_f64(x), c)));
    // SAFETY: `n` is within both slices and `y` is borrowed exclusively.
    unsafe { map(y.as_mut_ptr(), [src.as_ptr()], n, body) }
}
