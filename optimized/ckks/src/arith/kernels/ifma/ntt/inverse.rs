//! The inverse transform.
//!
//! Values of a pass start below `4p`. Where `32p <= 2^52` (`LAZY`), a sum of two values below `b` stays below `2b`, and
//! `x - y + b` is an operand of a product, which is below `2p`: bounds of the eight values of a pass are 4; 8 and 2; 16, 2, 4 and 2;
//! 32, 2, 4, 2, 8, 2, 4 and 2, in units of `p`, and only the 32 and the 8 are reduced. Else values start below `2p` and sums
//! are brought below `2p` at once. That rests on `4p < 2^52`.

use super::super::bits;
use super::super::field::{Field, WORD};
use super::super::lanes::{LANES, Lanes};
use super::super::roots::{Root, Roots};
use super::{CACHED, SWEPT, TAIL, eighths, load, quarters, stages, store, transpose};
use crate::arith::NttTable;
use crate::arith::kernels::scalar;

/// Whether sums of a pass of an inverse transform need not be reduced.
fn lazy_inverse(f: &Field<impl Lanes>) -> bool {
    32 * f.modulus() <= 1 << WORD
}

/// Inverse transform in place, times `c`.
#[inline(always)]
pub(in crate::arith::kernels::ifma) fn inverse_scaled<L: Lanes>(l: L, table: &NttTable, a: &mut [u64], c: u64) {
    if a.len() < TAIL {
        return (scalar::TABLE.intt_scaled)(table, a, c);
    }
    let f = Field::new(l, table.modulus());
    inverse_stages(f, table, a);
    let scale = f.factor(table.scaled_n_inverse(c));
    for x in a.chunks_exact_mut(LANES) {
        l.store(f.mul_canonical(l.load(x), scale), x);
    }
}

/// Inverse transform of `a`, times `c`, as centred doubles in `y`.
#[inline(always)]
pub(in crate::arith::kernels::ifma) fn inverse_center<L: Lanes>(
    l: L,
    table: &NttTable,
    y: &mut [f64],
    a: &[u64],
    c: u64,
) {
    if a.len() < TAIL {
        return (scalar::TABLE.intt_center)(table, y, a, c);
    }
    let work = bits::of_mut(y);
    work.copy_from_slice(a);
    let f = Field::new(l, table.modulus());
    inverse_stages(f, table, work);
    let scale = f.factor(table.scaled_n_inverse(c));
    for x in work.chunks_exact_mut(LANES) {
        l.store(f.centred(f.mul_canonical(l.load(x), scale)), x);
    }
}

/// All stages: the inverse transform times `N`, below `4p`.
#[inline(always)]
fn inverse_stages<L: Lanes>(f: Field<L>, table: &NttTable, a: &mut [u64]) {
    debug_assert_eq!(a.len(), table.n());
    match lazy_inverse(&f) {
        true => inverse_passes::<L, true>(f, &table.ifma_roots().inverse, a),
        false => inverse_passes::<L, false>(f, &table.ifma_roots().inverse, a),
    }
}

#[inline(always)]
fn inverse_passes<L: Lanes, const LAZY: bool>(f: Field<L>, roots: &Roots, a: &mut [u64]) {
    let n = a.len();
    let (swept, cached) = (blocks(n, SWEPT), blocks(n, CACHED));
    for (b, block) in a.chunks_exact_mut(swept).enumerate() {
        for (c, part) in block.chunks_exact_mut(cached).enumerate() {
            let start = b * swept + c * cached;
            for (g, group) in part.chunks_exact_mut(TAIL).enumerate() {
                inverse_tail::<L, LAZY>(f, roots, (n / TAIL, start / TAIL + g), group);
            }
            let mut len = TAIL;
            while len < cached {
                len = inverse_pass::<L, LAZY>(f, roots, (n, start), len, part);
            }
        }
        let mut len = cached;
        while len < swept {
            len = inverse_pass::<L, LAZY>(f, roots, (n, b * swept), len, block);
        }
    }
    let mut len = swept;
    while len < n {
        len = inverse_pass::<L, LAZY>(f, roots, (n, 0), len, a);
    }
}

/// The longest blocks of at most `limit` elements between passes on `n` elements, the forward transform's.
fn blocks(n: usize, limit: usize) -> usize {
    let mut len = n;
    while len > limit {
        len >>= stages(len);
    }
    len
}

/// Stages of the pass that joins blocks of length `len`: those of the forward transform's that makes them.
pub(super) fn stages_above(len: usize, n: usize) -> u32 {
    match (n / len).ilog2() {
        left @ (1 | 2) => left,
        4 => 2,
        _ => 3,
    }
}

/// A pass that joins blocks of length `len` of a part, as in [`super::forward::forward_pass`]; gives the length of the blocks after it.
#[inline(always)]
fn inverse_pass<L: Lanes, const LAZY: bool>(
    f: Field<L>,
    roots: &Roots,
    (n, start): (usize, usize),
    len: usize,
    part: &mut [u64],
) -> usize {
    let stages = stages_above(len, n);
    let joined = len << stages;
    for (i, block) in part.chunks_exact_mut(joined).enumerate() {
        let k = (n + start) / joined + i;
        match stages {
            1 => inverse_two(f, roots, k, block),
            2 => inverse_four::<L, LAZY>(f, roots, k, block),
            _ => inverse_eight::<L, LAZY>(f, roots, k, block),
        }
    }
    joined
}

/// `(x + y, (x - y) w)` for values below `bound`; the sum is below `2 bound` or, for `bound = 2p` and `reduce`, below `2p`.
#[inline(always)]
fn inverse_butterfly<L: Lanes>(
    f: Field<L>,
    [x, y]: [L::Vector; 2],
    w: Root<L>,
    bound: L::Vector,
    reduce: bool,
) -> [L::Vector; 2] {
    let sum = f.l.add(x, y);
    let sum = if reduce { f.below(sum, f.two_p) } else { sum };
    [sum, w.times(f, f.l.sub(f.l.add(x, bound), y))]
}

/// Mirror of [`super::forward::forward_two`]: values below `4p` stay below `4p`.
#[inline(always)]
fn inverse_two<L: Lanes>(f: Field<L>, roots: &Roots, k: usize, block: &mut [u64]) {
    let w = roots.one(f.l, k);
    let (low, high) = block.split_at_mut(block.len() / 2);
    for (x, y) in low.chunks_exact_mut(LANES).zip(high.chunks_exact_mut(LANES)) {
        // `4p < 2^52` alone leaves no room for a difference plus `4p`.
        let operands = [f.below(f.l.load(x), f.two_p), f.below(f.l.load(y), f.two_p)];
        let [u, v] = inverse_butterfly(f, operands, w, f.two_p, false);
        f.l.store(u, x);
        f.l.store(v, y);
    }
}

/// Mirror of [`super::forward::forward_quarters`] for values below `bound p`: 4 or, if not `LAZY`, 2. The first value stays below `4 bound p`, or below `2p` if not
/// `LAZY`, the second below `4p` or `2p`, the others below `2p`.
#[inline(always)]
fn inverse_quarters<L: Lanes, const LAZY: bool>(
    f: Field<L>,
    [x0, x1, x2, x3]: [L::Vector; 4],
    w: [Root<L>; 3],
    bound: u64,
) -> [L::Vector; 4] {
    let (start, sums) = (f.multiple(bound), if LAZY { f.multiple(2 * bound) } else { f.two_p });
    let [y0, y1] = inverse_butterfly(f, [x0, x1], w[1], start, !LAZY);
    let [y2, y3] = inverse_butterfly(f, [x2, x3], w[2], start, !LAZY);
    let [z0, z2] = inverse_butterfly(f, [y0, y2], w[0], sums, !LAZY);
    let [z1, z3] = inverse_butterfly(f, [y1, y3], w[0], f.two_p, !LAZY);
    [z0, z1, z2, z3]
}

/// `x < 16p` to below `4p`, nothing if not `LAZY`.
#[inline(always)]
fn below_four<L: Lanes, const LAZY: bool>(f: Field<L>, x: L::Vector) -> L::Vector {
    if LAZY { f.below(f.below(x, f.multiple(8)), f.multiple(4)) } else { x }
}

/// Mirror of [`super::forward::forward_four`].
#[inline(always)]
fn inverse_four<L: Lanes, const LAZY: bool>(f: Field<L>, roots: &Roots, k: usize, block: &mut [u64]) {
    let w = [roots.one(f.l, k), roots.one(f.l, 2 * k), roots.one(f.l, 2 * k + 1)];
    let bound = if LAZY { 4 } else { 2 };
    for parts in quarters(block) {
        let [z0, z1, z2, z3] = inverse_quarters::<L, LAZY>(f, load(f.l, &parts), w, bound);
        store(f.l, [below_four::<L, LAZY>(f, z0), z1, z2, z3], parts);
    }
}

/// Mirror of [`super::forward::forward_eighths`] for values below `4p` or, if not `LAZY`, `2p`, and so are the results.
#[inline(always)]
fn inverse_eighths<L: Lanes, const LAZY: bool>(
    f: Field<L>,
    [x0, x1, x2, x3, x4, x5, x6, x7]: [L::Vector; 8],
    [outer, w0, w1, w2, w3, w4, w5]: [Root<L>; 7],
) -> [L::Vector; 8] {
    let bound = if LAZY { 4 } else { 2 };
    let [x0, x1, x2, x3] = inverse_quarters::<L, LAZY>(f, [x0, x1, x2, x3], [w0, w1, w2], bound);
    let [x4, x5, x6, x7] = inverse_quarters::<L, LAZY>(f, [x4, x5, x6, x7], [w3, w4, w5], bound);
    // Bounds of the first and of the second of four values after two stages.
    let (first, second) = if LAZY { (f.multiple(16), f.multiple(4)) } else { (f.two_p, f.two_p) };
    let [z0, z4] = inverse_butterfly(f, [x0, x4], outer, first, !LAZY);
    let [z1, z5] = inverse_butterfly(f, [x1, x5], outer, second, !LAZY);
    let [z2, z6] = inverse_butterfly(f, [x2, x6], outer, f.two_p, !LAZY);
    let [z3, z7] = inverse_butterfly(f, [x3, x7], outer, f.two_p, !LAZY);
    let (z0, z1) = match LAZY {
        true => (below_four::<L, LAZY>(f, f.below(z0, f.multiple(16))), f.below(z1, f.multiple(4))),
        false => (z0, z1),
    };
    [z0, z1, z2, z3, z4, z5, z6, z7]
}

/// Mirror of [`super::forward::forward_eight`].
#[inline(always)]
fn inverse_eight<L: Lanes, const LAZY: bool>(f: Field<L>, roots: &Roots, k: usize, block: &mut [u64]) {
    let w = roots.three_stages(f.l, k);
    for parts in eighths(block) {
        let x = load(f.l, &parts);
        store(f.l, inverse_eighths::<L, LAZY>(f, x, w), parts);
    }
}

/// Mirror of [`super::forward::forward_tail`]; reads canonical residues.
#[inline(always)]
fn inverse_tail<L: Lanes, const LAZY: bool>(
    f: Field<L>,
    roots: &Roots,
    (tails, tail): (usize, usize),
    group: &mut [u64],
) {
    let Some(parts) = eighths(group).next() else { return };
    let x = transpose(f.l, load(f.l, &parts));
    let x = inverse_eighths::<L, LAZY>(f, x, roots.last_stages(f.l, tail));
    let x = inverse_eighths::<L, LAZY>(f, transpose(f.l, x), roots.three_stages(f.l, tails + tail));
    store(f.l, x, parts);
}
