//! Kernels in 52-bit integer arithmetic on AVX-512 (IFMA).
//!
//! The kernels are written over eight lanes with one operation per instruction (`lanes`), so that the same code runs on vector
//! registers (`zmm`) and, in tests on any processor, on arrays (`portable`). Ranges are derived in `field` (single operations),
//! `ntt` (butterflies) and `sums` (inner products); all of them rest on `p < 2^50`, which [`Modulus`] enforces.
//!
//! `tests` compares the instructions with arrays where a processor has them, and says so where it skips that. They have run on an AMD EPYC
//! of the Zen 4 generation.
//!
//! Kernels of binary64 arithmetic, the embedding and the quotient of a base conversion, are those of AVX2, which every processor with
//! these features has.

mod bits;
mod field;
mod lanes;
mod ntt;
mod pointwise;
#[cfg(test)]
mod portable;
mod roots;
mod sums;
#[cfg(test)]
mod tests;
mod zmm;

pub(in crate::arith) use roots::IfmaRoots;

use super::Table;

/// Plain functions for a table, each running a kernel in a function with the attribute, so that all it inlines is compiled for
/// the features.
macro_rules! kernels {
    ($attribute:meta, $lanes:expr, $($name:ident = $path:path, ($($arg:ident: $ty:ty),*);)*) => {$(
        fn $name($($arg: $ty),*) {
            #[$attribute]
            fn run($($arg: $ty),*) {
                $path($lanes, $($arg),*);
            }
            // SAFETY: the table of intrinsics only leaves its module through `table`, which has found the features; the portable
            // one needs none.
            #[allow(unused_unsafe, reason = "the portable lanes need no features")]
            unsafe { run($($arg),*) }
        }
    )*};
}

/// A table of all kernels on the lanes given.
macro_rules! table {
    ($attribute:meta, $lanes:expr) => {
        use super::{ntt, pointwise, sums};
        use crate::arith::kernels::{Finish, KernelKind, Table, avx2, scalar};
        use crate::arith::{Modulus, NttTable, PackedLimb};
        use num_complex::Complex64;

        kernels! {
            $attribute, $lanes,
            forward = ntt::forward, (table: &NttTable, a: &mut [u64]);
            ntt_integers = ntt::forward_integers,
                (table: &NttTable, out: &mut [u64], src: &[f64], bound: f64, finish: Finish);
            intt_scaled = ntt::inverse_scaled, (table: &NttTable, a: &mut [u64], c: u64);
            intt_center = ntt::inverse_center, (table: &NttTable, y: &mut [f64], a: &[u64], c: u64);
            add = pointwise::add, (m: &Modulus, out: &mut [u64], a: &[u64], b: &[u64]);
            add_assign = pointwise::add_assign, (m: &Modulus, acc: &mut [u64], a: &[u64]);
            sub = pointwise::sub, (m: &Modulus, out: &mut [u64], a: &[u64], b: &[u64]);
            sub_assign = pointwise::sub_assign, (m: &Modulus, acc: &mut [u64], a: &[u64]);
            neg = pointwise::neg, (m: &Modulus, out: &mut [u64], a: &[u64]);
            mul = pointwise::mul, (m: &Modulus, out: &mut [u64], a: &[u64], b: &[u64]);
            mul_assign = pointwise::mul_assign, (m: &Modulus, acc: &mut [u64], a: &[u64]);
            mul_add_assign = pointwise::mul_add_assign, (m: &Modulus, acc: &mut [u64], a: &[u64], b: &[u64]);
            mul_scalar = pointwise::mul_scalar, (m: &Modulus, out: &mut [u64], a: &[u64], c: u64);
            mul_scalar_assign = pointwise::mul_scalar_assign, (m: &Modulus, acc: &mut [u64], c: u64);
            mul_scalar_add_assign = pointwise::mul_scalar_add_assign,
                (m: &Modulus, acc: &mut [u64], a: &[u64], c: u64);
            sub_mul_scalar = pointwise::sub_mul_scalar, (m: &Modulus, out: &mut [u64], x: &[u64], r: &[u64], c: u64);
            sub_mul_scalar_add = pointwise::sub_mul_scalar_add,
                (m: &Modulus, out: &mut [u64], x: &[u64], r: &[u64], c: u64, d: &[u64]);
            product_tail = pointwise::product_tail, (m: &Modulus, acc: &mut [u64], x: [&[u64]; 2], c: u64);
            product_tail_add = pointwise::product_tail_add,
                (m: &Modulus, acc: &mut [u64], x: [&[u64]; 2], c: u64, d: &[u64]);
            combine2_sub = pointwise::combine2_sub,
                (m: &Modulus, out: &mut [u64], x: [&[u64]; 2], c: [u64; 2], s: &[u64]);
            reduce_centered = pointwise::reduce_centered,
                (src: &[u64], m_src: &Modulus, dst: &mut [u64], m_dst: &Modulus);
            reduce_signed = pointwise::reduce_signed, (m: &Modulus, dst: &mut [u64], src: &[i64]);
            center_scaled = pointwise::center_scaled, (m: &Modulus, y: &mut [f64], src: &[u64], c: u64);
            dot2 = sums::dot2,
                (m: &Modulus, out: [&mut [u64]; 2], digits: &[&[u64]], keys: [&[&[u64]]; 2], add: bool);
            dot2_packed = sums::dot2_packed,
                (m: &Modulus, out: [&mut [u64]; 2], digits: &[&[u64]], keys: [&[&PackedLimb]; 2]);
            weighted_sum = sums::weighted_sum, (m: &Modulus, out: &mut [u64], x: &[&[u64]], c: &[u64]);
            dot2_repeated = sums::dot2_repeated,
                (m: &Modulus, out: [&mut [u64]; 2], factors: &[&[u64]], limbs: [&[&[u64]]; 2], add: bool);
            combine = sums::combine, (m: &Modulus, rows: &[&[f64]], coefficients: &[f64], dst: &mut [u64]);
        }

        /// The kernels of binary64 arithmetic.
        fn doubles() -> &'static Table {
            avx2::table().unwrap_or(&scalar::TABLE)
        }

        fn quotient(y: &[&[f64]], recips: &[f64], v: &mut [f64]) {
            (doubles().quotient)(y, recips, v);
        }

        fn slots_to_packed(roots: &[Complex64], values: &mut [Complex64]) {
            (doubles().slots_to_packed)(roots, values);
        }

        fn round_packed(factor: f64, packed: &[Complex64], re: &mut [i64], im: &mut [i64]) -> f64 {
            (doubles().round_packed)(factor, packed, re, im)
        }

        pub(super) static TABLE: Table = Table {
            kind: KernelKind::Avx512Ifma,
            ntt: forward,
            ntt_integers,
            intt_scaled,
            intt_center,
            add,
            add_assign,
            sub,
            sub_assign,
            neg,
            mul,
            mul_assign,
            mul_add_assign,
            mul_scalar,
            mul_scalar_assign,
            mul_scalar_add_assign,
            dot2,
            dot2_packed,
            dot2_repeated,
            weighted_sum,
            sub_mul_scalar,
            sub_mul_scalar_add,
            product_tail,
            product_tail_add,
            combine2_sub,
            reduce_centered,
            reduce_signed,
            center_scaled,
            quotient,
            combine,
            slots_to_packed,
            round_packed,
        };
    };
}

mod intrinsics {
    table!(target_feature(enable = "avx512f,avx512bw,avx512ifma,avx512vbmi"), {
        // SAFETY: as for the function that this runs in.
        unsafe { super::zmm::Zmm::assume() }
    });
}

/// The table, if this processor can run it.
pub(super) fn table() -> Option<&'static Table> {
    zmm::Zmm::detect().map(|_| &intrinsics::TABLE)
}

/// The table that runs everywhere, for tests.
#[cfg(test)]
pub(super) fn portable_table() -> &'static Table {
    &arrays::TABLE
}

/// The same code on arrays.
#[cfg(test)]
mod arrays {
    table!(inline, super::portable::Portable);
}
