//! Doubles as the integers of their bits, so that one type of vector serves both.

/// The bits of every element.
pub(super) fn of(x: &[f64]) -> &[u64] {
    // SAFETY: both types have the same size and alignment and accept every bit pattern; the borrow carries over.
    unsafe { std::slice::from_raw_parts(x.as_ptr().cast(), x.len()) }
}

/// The bits of every element, to be written.
pub(super) fn of_mut(x: &mut [f64]) -> &mut [u64] {
    // SAFETY: as in `of`, and the borrow is exclusive.
    unsafe { std::slice::from_raw_parts_mut(x.as_mut_ptr().cast(), x.len()) }
}
