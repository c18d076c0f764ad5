//! Kernels in double-precision FMA arithmetic on AVX2.
//!
//! Residues are integers held exactly in doubles; the quotient of a modular product comes from one FMA and its exact
//! remainder from two more. The ranges in which this is exact are derived in `lanes` (single operations), `plan`
//! (transforms) and `sums` (inner products); all of them rest on `p < 2^50`, which [`Modulus`] enforces.

mod embedding;
mod grid;
mod lanes;
mod ntt;
mod plan;
mod pointwise;
mod roots;
mod sums;

pub(in crate::arith) use roots::FmaRoots;

use super::{Finish, KernelKind, Table, scalar};
use crate::arith::{MIN_LOG_N, Modulus, NttTable, PackedLimb};
use num_complex::Complex64;

/// The table, if this processor can run it.
pub(super) fn table() -> Option<&'static Table> {
    let supported = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    supported.then_some(&TABLE)
}

/// Wraps functions compiled for AVX2 into plain ones for the table.
macro_rules! plain {
    ($($name:ident = $path:path, ($($arg:ident: $ty:ty),*);)*) => {$(
        fn $name($($arg: $ty),*) {
            // SAFETY: `TABLE` is private and only leaves this module through `table`, which has found both features.
            unsafe { $path($($arg),*) }
        }
    )*};
}

plain! {
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
    mul_scalar_add_assign = pointwise::mul_scalar_add_assign, (m: &Modulus, acc: &mut [u64], a: &[u64], c: u64);
    sub_mul_scalar = pointwise::sub_mul_scalar, (m: &Modulus, out: &mut [u64], x: &[u64], r: &[u64], c: u64);
    sub_mul_scalar_add = pointwise::sub_mul_scalar_add,
        (m: &Modulus, out: &mut [u64], x: &[u64], r: &[u64], c: u64, d: &[u64]);
    product_tail = pointwise::product_tail, (m: &Modulus, acc: &mut [u64], x: [&[u64]; 2], c: u64);
    product_tail_add = pointwise::product_tail_add,
        (m: &Modulus, acc: &mut [u64], x: [&[u64]; 2], c: u64, d: &[u64]);
    combine2_sub = pointwise::combine2_sub,
        (m: &Modulus, out: &mut [u64], x: [&[u64]; 2], c: [u64; 2], s: &[u64]);
    reduce_centered = pointwise::reduce_centered, (src: &[u64], m_src: &Modulus, dst: &mut [u64], m_dst: &Modulus);
    reduce_signed = pointwise::reduce_signed, (m: &Modulus, dst: &mut [u64], src: &[i64]);
    center_scaled = pointwise::center_scaled, (m: &Modulus, y: &mut [f64], src: &[u64], c: u64);
    dot2 = sums::dot2, (m: &Modulus, out: [&mut [u64]; 2], digits: &[&[u64]], keys: [&[&[u64]]; 2], add: bool);
    dot2_packed = sums::dot2_packed, (m: &Modulus, out: [&mut [u64]; 2], digits: &[&[u64]], keys: [&[&PackedLimb]; 2]);
    weighted_sum = sums::weighted_sum, (m: &Modulus, out: &mut [u64], x: &[&[u64]], c: &[u64]);
    dot2_repeated = sums::dot2_repeated,
        (m: &Modulus, out: [&mut [u64]; 2], factors: &[&[u64]], limbs: [&[&[u64]]; 2], add: bool);
    quotient = sums::quotient, (y: &[&[f64]], recips: &[f64], v: &mut [f64]);
    combine = sums::combine, (m: &Modulus, rows: &[&[f64]], coefficients: &[f64], dst: &mut [u64]);
    slots_to_packed = embedding::slots_to_packed, (roots: &[Complex64], values: &mut [Complex64]);
    forward_integers = ntt::forward_integers,
        (table: &NttTable, out: &mut [u64], src: &[f64], bound: f64, finish: Finish);
    forward = ntt::forward, (table: &NttTable, a: &mut [u64]);
    inverse_scaled = ntt::inverse_scaled, (table: &NttTable, a: &mut [u64], c: u64);
    inverse_center = ntt::inverse_center, (table: &NttTable, y: &mut [f64], a: &[u64], c: u64);
}

fn round_packed(factor: f64, packed: &[Complex64], re: &mut [i64], im: &mut [i64]) -> f64 {
    // SAFETY: as in `plain`.
    unsafe { embedding::round_packed(factor, packed, re, im) }
}

/// `N = 16` is all tail and has no pass outside it to convert or to scale in: it stays scalar.
fn is_tiny(table: &NttTable) -> bool {
    table.log_n() == MIN_LOG_N
}

fn ntt(table: &NttTable, a: &mut [u64]) {
    if is_tiny(table) { (scalar::TABLE.ntt)(table, a) } else { forward(table, a) }
}

fn ntt_integers(table: &NttTable, out: &mut [u64], src: &[f64], bound: f64, finish: Finish) {
    let run = if is_tiny(table) { scalar::TABLE.ntt_integers } else { forward_integers };
    run(table, out, src, bound, finish);
}

fn intt_scaled(table: &NttTable, a: &mut [u64], c: u64) {
    if is_tiny(table) { (scalar::TABLE.intt_scaled)(table, a, c) } else { inverse_scaled(table, a, c) }
}

fn intt_center(table: &NttTable, y: &mut [f64], a: &[u64], c: u64) {
    if is_tiny(table) { (scalar::TABLE.intt_center)(table, y, a, c) } else { inverse_center(table, y, a, c) }
}

static TABLE: Table = Table {
    kind: KernelKind::Avx2,
    ntt,
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
