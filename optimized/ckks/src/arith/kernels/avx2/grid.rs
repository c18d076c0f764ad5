//! Limbs as matrices, for the passes of a transform.

use std::arch::x86_64::*;

use super::lanes::{LANES, to_f64};

/// A matrix of doubles in memory: `rows` rows, `stride` apart, of `columns` elements (a multiple of 4). All
/// accesses of a pass go through [`Grid::load`] and [`Grid::store`] at rows below `rows` and columns below `columns`.
#[derive(Clone, Copy)]
pub(super) struct Grid {
    pub(super) start: *mut f64,
    pub(super) rows: usize,
    pub(super) stride: usize,
    pub(super) columns: usize,
}

impl Grid {
    /// # Safety
    /// Row `row`, columns `column..column + 4` lie inside live memory the caller may access.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn load<const FROM_U64: bool>(self, row: usize, column: usize) -> __m256d {
        debug_assert!(row < self.rows && column + LANES <= self.columns);
        // SAFETY: by the caller's contract; unaligned loads have no alignment requirement.
        let x = unsafe { _mm256_loadu_pd(self.start.add(row * self.stride + column)) };
        if FROM_U64 { to_f64(_mm256_castpd_si256(x)) } else { x }
    }

    /// # Safety
    /// As [`Grid::load`], for writing.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn store(self, row: usize, column: usize, x: __m256d) {
        debug_assert!(row < self.rows && column + LANES <= self.columns);
        // SAFETY: by the caller's contract; unaligned stores have no alignment requirement.
        unsafe { _mm256_storeu_pd(self.start.add(row * self.stride + column), x) }
    }

    /// Asks for the cache lines `ahead` elements after the start of every row, inside memory or not.
    #[inline]
    pub(super) fn fetch(self, ahead: usize) {
        for row in 0..self.rows {
            let line = self.start.wrapping_add(row * self.stride + ahead);
            // SAFETY: a prefetch is a hint: it reads nothing and does not fault.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast()) }
        }
    }

    /// The contiguous block of `len` elements at `start` as a matrix of `rows` rows.
    pub(super) fn block(start: *mut f64, len: usize, rows: usize) -> Self {
        Self { start, rows, stride: len / rows, columns: len / rows }
    }
}
