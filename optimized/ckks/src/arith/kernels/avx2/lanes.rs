//! Four residues at a time in double-precision arithmetic.
//!
//! All values are integers held exactly in `f64` (magnitude at most `2^53`); `p` is a prime with
//! `2^20 <= p < 2^50`; `recip = fl(1/p) = (1 + e)/p`, `|e| <= 2^-53`. Rounding to nearest is the
//! processor's default mode and Rust never changes it.
//!
//! **Rounding to an integer.** For `|x| <= 2^51` the sum `x + MAGIC`, `MAGIC = 1.5 * 2^52`, lies in
//! `[2^52, 2^53]`, where doubles are the integers, so `fma(a, b, MAGIC) - MAGIC` is the nearest integer to
//! the *exact* product `a b` whenever `|a b| <= 2^51`; the subtraction is exact.
//!
//! **Product with a fixed operand** ([`Field::mul_fixed`]). Let `|a| <= 2^52` and `|w| <= (p-1)/2`.
//! `h = fl(a w)` and `l = fma(a, w, -h) = a w - h` (exact: the error of a product is a double).
//! `q` is the nearest integer to `h recip`; since `h = a w (1 + e1)` with `|e1| <= 2^-53`,
//! `|h recip - a w / p| <= |a w / p| (2^-52 + 2^-106)`, and `|a w / p| < 2^51 (1 - 2^-50)` keeps the
//! rounding valid. Hence `a w - q p` is congruent to `a w` and
//!
//! `|a w - q p| <= T(a) = p/2 + p |a| 2^-53 (1 + 2^-54) <= p`.
//!
//! `h - q p` is an integer of magnitude at most `p + |l| <= 2^50 + 2^48 < 2^53`, so the FMA that forms it is
//! exact, and adding `l` gives `a w - q p` exactly.
//!
//! With `fl(w / p)` stored ([`Field::mul_factor`]) `q` is the nearest integer to `a fl(w / p)`, which is off by at most
//! `|a w / p| 2^-53`: half the error, so everything above holds.
//!
//! **Reduction** ([`Field::reduce`]). For `|x| <= 2^53`, `|x / p| <= 2^33` because `p >= 2^20`, and the nearest
//! integer `q` to `x recip` satisfies `|x - q p| <= R(x) = p/2 + |x| 2^-53`, below `p/2 + 1`. The result is
//! exact. If moreover `|x| < 3.5 p` the result is *the* centred representative: the points where `q` must step
//! are `x / p = k + 1/2`, no integer `x` comes closer to one than `1/(2p) > 2^-51`, and the error of `x recip`
//! is at most `3.5 * 2^-53`.
//!
//! **Product of two residues** ([`Field::mul`]). For `0 <= a, b < p` the same steps apply with
//! `h <= 2^100`, `|h recip - a b / p| <= p (2^-52 + 2^-106) <= 1/4 (1 + 2^-54)`, `h recip < 2^51`, so the result
//! `a b - q p` has magnitude at most `p (3/4 + 2^-50)`; `|l| <= 2^46`.

use std::arch::x86_64::*;

use crate::arith::Modulus;

/// `1.5 * 2^52`, see the module text.
const MAGIC: f64 = 6_755_399_441_055_744.0;
/// `2^52`: a double in `[2^52, 2^53)` carries its integer offset in the low mantissa bits.
const TWO_52: f64 = 4_503_599_627_370_496.0;

/// Number of residues in a vector.
pub(super) const LANES: usize = 4;

/// One prime, spread over the lanes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    p: __m256d,
    recip: __m256d,
    magic: __m256d,
}

/// A fixed operand `w`, `|w| <= (p-1)/2`, in all lanes, with `fl(w / p)`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Factor {
    pub(super) w: __m256d,
    pub(super) quotient: __m256d,
}

impl Factor {
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn new([w, quotient]: [f64; 2]) -> Self {
        Self { w: _mm256_set1_pd(w), quotient: _mm256_set1_pd(quotient) }
    }
}

impl Field {
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn new(m: &Modulus) -> Self {
        Self { p: _mm256_set1_pd(m.value() as f64), recip: _mm256_set1_pd(m.recip()), magic: _mm256_set1_pd(MAGIC) }
    }

    /// The centred representative of a scalar, spread over the lanes.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn constant(m: &Modulus, c: u64) -> __m256d {
        _mm256_set1_pd(m.center(c) as f64)
    }

    /// The nearest integer to `x / p`, up to the errors of the module text.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn quotient(self, x: __m256d) -> __m256d {
        _mm256_sub_pd(_mm256_fmadd_pd(x, self.recip, self.magic), self.magic)
    }

    /// `x` reduced to magnitude at most `R(x)`.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn reduce(self, x: __m256d) -> __m256d {
        debug_assert!(within(x, 2.0 * TWO_52));
        _mm256_fnmadd_pd(self.quotient(x), self.p, x)
    }

    /// `x` reduced to magnitude at most `2p`, for the integers `|x| < 2^104` of `sums`, multiples of `2^50` whose
    /// quotient by `p` is below `2^53`: the quotient is off by at most 2 and `x - q p` is exact.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn reduce_large(self, x: __m256d) -> __m256d {
        let q = _mm256_round_pd::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(_mm256_mul_pd(x, self.recip));
        _mm256_fnmadd_pd(q, self.p, x)
    }

    /// `a w` reduced to magnitude at most `T(a)`; `|a| <= 2^52`, `|w| <= (p-1)/2`.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn mul_fixed(self, a: __m256d, w: __m256d) -> __m256d {
        debug_assert!(within(a, TWO_52));
        let h = _mm256_mul_pd(a, w);
        let l = _mm256_fmsub_pd(a, w, h);
        _mm256_add_pd(_mm256_fnmadd_pd(self.quotient(h), self.p, h), l)
    }

    /// [`Field::mul_fixed`] with the quotient `fl(w / p)` at hand: the same bounds, a shorter chain of operations.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn mul_factor(self, a: __m256d, factor: Factor) -> __m256d {
        debug_assert!(within(a, TWO_52));
        let h = _mm256_mul_pd(a, factor.w);
        let q = _mm256_sub_pd(_mm256_fmadd_pd(a, factor.quotient, self.magic), self.magic);
        let l = _mm256_fmsub_pd(a, factor.w, h);
        _mm256_add_pd(_mm256_fnmadd_pd(q, self.p, h), l)
    }

    /// `a b` reduced to magnitude at most `p (3/4 + 2^-50)`; `0 <= a, b < p`.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn mul(self, a: __m256d, b: __m256d) -> __m256d {
        self.mul_fixed(a, b)
    }

    /// Adds `p` to negative lanes: `(-p, p)` to `[0, p)`.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn lift(self, x: __m256d) -> __m256d {
        _mm256_blendv_pd(x, _mm256_add_pd(x, self.p), x)
    }

    /// Any `|x| <= 2^53` to its canonical residue.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn canonical(self, x: __m256d) -> __m256d {
        self.lift(self.reduce(x))
    }
}

/// Whether all lanes have magnitude at most `bound`; for assertions.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn within(x: __m256d, bound: f64) -> bool {
    let magnitude = _mm256_andnot_pd(_mm256_set1_pd(-0.0), x);
    _mm256_movemask_pd(_mm256_cmp_pd::<_CMP_LE_OQ>(magnitude, _mm256_set1_pd(bound))) == 0xf
}

/// Integers below `2^52` to doubles: as mantissa of a number in `[2^52, 2^53)`, minus `2^52`.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn to_f64(x: __m256i) -> __m256d {
    let magic = _mm256_set1_pd(TWO_52);
    _mm256_sub_pd(_mm256_or_pd(_mm256_castsi256_pd(x), magic), magic)
}

/// Doubles holding integers in `[0, 2^52)` to integers.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn to_u64(x: __m256d) -> __m256i {
    let magic = _mm256_set1_pd(TWO_52);
    _mm256_castpd_si256(_mm256_xor_pd(_mm256_add_pd(x, magic), magic))
}

/// Transposes a 4 by 4 block held in rows.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn transpose(r: [__m256d; 4]) -> [__m256d; 4] {
    let even01 = _mm256_unpacklo_pd(r[0], r[1]);
    let odd01 = _mm256_unpackhi_pd(r[0], r[1]);
    let even23 = _mm256_unpacklo_pd(r[2], r[3]);
    let odd23 = _mm256_unpackhi_pd(r[2], r[3]);
    [
        _mm256_permute2f128_pd::<0x20>(even01, even23),
        _mm256_permute2f128_pd::<0x20>(odd01, odd23),
        _mm256_permute2f128_pd::<0x31>(even01, even23),
        _mm256_permute2f128_pd::<0x31>(odd01, odd23),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arith::tests::Rng;

    fn lanes(x: __m256d) -> [f64; LANES] {
        // SAFETY: both types are 32 bytes of plain data.
        unsafe { std::mem::transmute(x) }
    }

    /// Products at and near the ends of the admitted range: congruent, and within the proved bound.
    #[test]
    fn products_are_exact_over_the_whole_range() {
        if !is_x86_feature_detected!("avx2") || !is_x86_feature_detected!("fma") {
            return;
        }
        let mut rng = Rng::new(13);
        for p in [(1u64 << 50) - 27, (1 << 49) - 81, (1 << 40) - 87, (1 << 20) + 7] {
            let m = Modulus::new(p).expect("prime");
            for _ in 0..20_000 {
                let near_end = rng.next().is_multiple_of(2);
                let size = if near_end { (1i64 << 52) - (rng.next() % 1024) as i64 } else { (rng.next() >> 12) as i64 };
                let a = if rng.next().is_multiple_of(2) { size } else { -size };
                let w = if near_end { m.value() / 2 - rng.next() % 16 } else { m.reduce_u64(rng.next()) };
                let wide = i128::from(a) * i128::from(m.center(w));
                let bound = (p as f64 * (0.5 + size as f64 / (1u64 << 53) as f64)).ceil();
                // SAFETY: both features were found above.
                let results = unsafe {
                    let (f, a, w) = (Field::new(&m), _mm256_set1_pd(a as f64), m.center(w) as f64);
                    [f.mul_fixed(a, _mm256_set1_pd(w)), f.mul_factor(a, Factor::new([w, w / p as f64]))]
                };
                for r in results.into_iter().flat_map(lanes) {
                    assert_eq!((wide - r as i128) % i128::from(p), 0, "{a} * {w} mod {p}");
                    assert!(r.abs() <= bound, "{a} * {w} mod {p} gave {r}");
                }
            }
        }
    }
}
