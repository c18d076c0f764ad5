//! The canonical embedding in portable arithmetic: `f64` as it stands, which fixes every rounding for the other kernels.

use num_complex::Complex64;

/// See [`Kernels::slots_to_packed`](super::Kernels::slots_to_packed).
pub(super) fn slots_to_packed(roots: &[Complex64], values: &mut [Complex64]) {
    let mut len = values.len();
    while len >= 2 {
        stage(roots, values, len);
        len /= 2;
    }
}

/// One stage of [`slots_to_packed`] on blocks of `len` values.
fn stage(roots: &[Complex64], values: &mut [Complex64], len: usize) {
    let roots = &roots[len / 2 - 1..len - 1];
    for block in values.chunks_exact_mut(len) {
        let (low, high) = block.split_at_mut(len / 2);
        for ((a, b), root) in low.iter_mut().zip(high).zip(roots) {
            (*a, *b) = (*a + *b, (*a - *b) * root.conj());
        }
    }
}

/// See [`Kernels::round_packed`](super::Kernels::round_packed).
pub(super) fn round_packed(factor: f64, packed: &[Complex64], re: &mut [i64], im: &mut [i64]) -> f64 {
    // Reversing all bits puts the low ones on top; one value has none.
    let unused = packed.len().leading_zeros() + 1;
    let mut largest = 0.0;
    for (k, (re, im)) in re.iter_mut().zip(im).enumerate() {
        let value = packed[k.reverse_bits().checked_shr(unused).unwrap_or(0)];
        *re = round(value.re * factor, &mut largest);
        *im = round(value.im * factor, &mut largest);
    }
    largest
}

/// Rounds to an integer, ties to even, and saturates at the range of `i64`; keeps the largest magnitude, infinite for a NaN.
pub(super) fn round(x: f64, largest: &mut f64) -> i64 {
    let rounded = x.round_ties_even();
    *largest = if rounded.is_nan() { f64::INFINITY } else { largest.max(rounded.abs()) };
    rounded as i64
}
