//! The lanes of AVX-512.

use std::arch::x86_64::*;

use super::lanes::{LANES, Lanes, Pattern};

/// Vectors in AVX-512 registers. Every method is inlined into a function that is compiled for the features.
#[derive(Debug, Clone, Copy)]
pub(super) struct Zmm(());

impl Zmm {
    /// # Safety
    /// The processor has all features that [`Zmm::detect`] looks for.
    #[inline(always)]
    pub(super) unsafe fn assume() -> Self {
        Self(())
    }

    /// The lanes, if this processor has AVX-512 with its byte (BW), 52-bit (IFMA) and byte-permuting (VBMI) parts: those of Intel
    /// since Ice Lake and of AMD since Zen 4.
    pub(super) fn detect() -> Option<Self> {
        let found = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512ifma")
            && is_x86_feature_detected!("avx512vbmi");
        found.then_some(Self(()))
    }
}

/// Wraps intrinsics of two vectors.
macro_rules! binary {
    ($($name:ident = $intrinsic:path;)*) => {$(
        #[inline(always)]
        fn $name(self, a: __m512i, b: __m512i) -> __m512i {
            // SAFETY: a `Zmm` exists only where the processor has the features.
            unsafe { $intrinsic(a, b) }
        }
    )*};
}

// SAFETY of every method: a `Zmm` exists only where the processor has the features.
impl Lanes for Zmm {
    type Vector = __m512i;

    binary! {
        add = _mm512_add_epi64;
        sub = _mm512_sub_epi64;
        min = _mm512_min_epu64;
        and = _mm512_and_epi64;
        shift_left = _mm512_sllv_epi64;
        shift_right = _mm512_srlv_epi64;
    }

    #[inline(always)]
    fn prefetch(self, x: &[u64], at: usize) {
        // SAFETY: a prefetch of any address has no effect that a program could see.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(x.as_ptr().wrapping_add(at).cast()) }
    }

    #[inline(always)]
    fn splat(self, x: u64) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_set1_epi64(x as i64) }
    }

    #[inline(always)]
    fn load(self, x: &[u64]) -> __m512i {
        // SAFETY: see above; the first branch reads eight elements that exist, the second as many as there are.
        unsafe {
            if x.len() >= LANES {
                _mm512_loadu_epi64(x.as_ptr().cast())
            } else {
                _mm512_maskz_loadu_epi64((1 << x.len()) - 1, x.as_ptr().cast())
            }
        }
    }

    #[inline(always)]
    fn store(self, x: __m512i, out: &mut [u64]) {
        // SAFETY: as in `load`.
        unsafe {
            if out.len() >= LANES {
                _mm512_storeu_epi64(out.as_mut_ptr().cast(), x);
            } else {
                _mm512_mask_storeu_epi64(out.as_mut_ptr().cast(), (1 << out.len()) - 1, x);
            }
        }
    }

    #[inline(always)]
    fn load_bytes(self, x: &[u8], count: usize) -> __m512i {
        let x = &x[..count];
        // SAFETY: see above; the mask names bytes that exist.
        unsafe { _mm512_maskz_loadu_epi8(u64::MAX.checked_shr(64 - count as u32).unwrap_or(0), x.as_ptr().cast()) }
    }

    #[inline(always)]
    fn permute_bytes(self, x: __m512i, indices: __m512i) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_permutexvar_epi8(indices, x) }
    }

    #[inline(always)]
    fn permute(self, a: __m512i, b: __m512i, pattern: &Pattern) -> __m512i {
        let pattern = self.load(pattern);
        // SAFETY: see above.
        unsafe { _mm512_permutex2var_epi64(a, pattern, b) }
    }

    #[inline(always)]
    fn madd_lo(self, acc: __m512i, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_madd52lo_epu64(acc, a, b) }
    }

    #[inline(always)]
    fn madd_hi(self, acc: __m512i, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_madd52hi_epu64(acc, a, b) }
    }

    #[inline(always)]
    fn add_f64(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_castpd_si512(_mm512_add_pd(_mm512_castsi512_pd(a), _mm512_castsi512_pd(b))) }
    }
}
