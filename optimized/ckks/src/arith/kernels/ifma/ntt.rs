//! Forward and inverse transforms by Harvey's butterflies on lazy residues.
//!
//! Two stages are done per pass, in registers. Stages on blocks beyond the first-level cache sweep the limb; below, a block
//! finishes all its stages before the next one. The last four stages run on 16 elements in two vectors, which exchange lanes
//! so that a butterfly always takes one element from each.
//!
//! Forward values lie in `[0, 4p)`: `x < 4p` is brought below `2p`, the product `t` is below `2p`, so `x + t` and `x + 2p - t` are
//! below `4p`. Inverse values lie in `[0, 2p)`: `x + y < 4p` is brought below `2p`, `x + 2p - y < 4p` is an operand of a
//! product, which is below `2p`. Both rest on `4p < 2^52`.

use super::bits;
use super::field::{Factor, Field, LOW, WORD};
use super::lanes::{LANES, Lanes, Pattern};
use super::roots::Roots;
use crate::arith::NttTable;
use crate::arith::kernels::Finish;

/// Elements of a block that stays in the first-level cache.
const CACHED: usize = 1 << 12;
/// Elements per group of the last four stages.
const TAIL: usize = 2 * LANES;

/// Lower and upper halves of two vectors: their own inverse, as the two pairs below.
const HALVES: [Pattern; 2] = [[0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15]];
/// Even and odd pairs.
const PAIRS: [Pattern; 2] = [[0, 1, 8, 9, 4, 5, 12, 13], [2, 3, 10, 11, 6, 7, 14, 15]];
/// Even and odd elements.
const SINGLES: [Pattern; 2] = [[0, 8, 2, 10, 4, 12, 6, 14], [1, 9, 3, 11, 5, 13, 7, 15]];
/// Even and odd lanes to elements in order.
const ZIP: [Pattern; 2] = [[0, 8, 1, 9, 2, 10, 3, 11], [4, 12, 5, 13, 6, 14, 7, 15]];
/// Elements in order to even and odd ones.
const UNZIP: [Pattern; 2] = [[0, 2, 4, 6, 8, 10, 12, 14], [1, 3, 5, 7, 9, 11, 13, 15]];
/// Two roots four times each, four roots twice each, eight roots.
const SPREAD: [Pattern; 3] = [[0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 1, 1, 2, 2, 3, 3], [0, 1, 2, 3, 4, 5, 6, 7]];

/// Length of the blocks that finish in the cache, for `n` elements: an odd number of stages takes one off first.
fn cached_length(n: usize) -> usize {
    let mut len = if n.trailing_zeros() % 2 == 1 { n / 2 } else { n };
    while len > CACHED {
        len /= 4;
    }
    len
}

/// Forward transform in place.
#[inline(always)]
pub(super) fn forward<L: Lanes>(l: L, table: &NttTable, a: &mut [u64]) {
    let (f, roots) = (Field::new(l, table.modulus()), &table.ifma_roots().forward);
    let (n, cached) = (a.len(), cached_length(a.len()));
    debug_assert_eq!(n, table.n());
    let mut len = n;
    if n.trailing_zeros() % 2 == 1 {
        forward_two(f, roots.one(l, 1), a);
        len /= 2;
    }
    while len > cached {
        for (i, block) in a.chunks_exact_mut(len).enumerate() {
            forward_four(f, roots, n / len + i, block);
        }
        len /= 4;
    }
    for (b, block) in a.chunks_exact_mut(cached).enumerate() {
        let first = n / cached + b;
        let mut len = cached;
        while len > TAIL {
            for (i, part) in block.chunks_exact_mut(len).enumerate() {
                forward_four(f, roots, first * (cached / len) + i, part);
            }
            len /= 4;
        }
        for (g, group) in block.chunks_exact_mut(TAIL).enumerate() {
            forward_tail(f, roots, first * (cached / TAIL) + g, group);
        }
    }
}

/// Forward transform of integers of magnitude at most `2^50`, held in doubles.
///
/// `x + 2^50`, in `[0, 2^51]`, is the mantissa of `x + (2^52 + 2^50)`. Reduced to below `2p`, plus `-2^50 mod p`, it is below `3p` and an
/// input of the butterflies.
#[inline(always)]
pub(super) fn forward_integers<L: Lanes>(
    l: L,
    table: &NttTable,
    out: &mut [u64],
    src: &[f64],
    _bound: f64,
    finish: Finish,
) {
    let m = table.modulus();
    let f = Field::new(l, m);
    let one = f.factor(1);
    let offset = 1u64 << 50;
    let (magic, low) = (l.splat((((1u64 << WORD) + offset) as f64).to_bits()), l.splat(LOW));
    let down = l.splat(m.neg(m.reduce_u64(offset)));
    for (out, src) in out.chunks_exact_mut(LANES).zip(bits::of(src).chunks_exact(LANES)) {
        let shifted = l.and(l.add_f64(l.load(src), magic), low);
        l.store(l.add(f.mul(shifted, one), down), out);
    }
    forward(l, table, out);
    finish(0, out);
}

/// `(x + y w, x - y w)`.
#[inline(always)]
fn forward_butterfly<L: Lanes>(f: Field<L>, [x, y]: [L::Vector; 2], w: Factor<L>) -> [L::Vector; 2] {
    let (x, t) = (f.below(x, f.two_p), f.mul(y, w));
    [f.l.add(x, t), f.l.sub(f.l.add(x, f.two_p), t)]
}

/// One stage.
#[inline(always)]
fn forward_two<L: Lanes>(f: Field<L>, w: Factor<L>, block: &mut [u64]) {
    let (low, high) = block.split_at_mut(block.len() / 2);
    for (x, y) in low.chunks_exact_mut(LANES).zip(high.chunks_exact_mut(LANES)) {
        let [u, v] = forward_butterfly(f, [f.l.load(x), f.l.load(y)], w);
        f.l.store(u, x);
        f.l.store(v, y);
    }
}

/// Four quarters of a block, vector by vector.
#[inline(always)]
fn quarters(block: &mut [u64]) -> impl Iterator<Item = [&mut [u64]; 4]> {
    let (low, high) = block.split_at_mut(block.len() / 2);
    let ((x0, x1), (x2, x3)) = (low.split_at_mut(low.len() / 2), high.split_at_mut(high.len() / 2));
    let vectors = |x| <[u64]>::chunks_exact_mut(x, LANES);
    vectors(x0).zip(vectors(x1)).zip(vectors(x2).zip(vectors(x3))).map(|((x0, x1), (x2, x3))| [x0, x1, x2, x3])
}

/// Two stages of a block with roots `k`, then `2k` and `2k + 1`.
#[inline(always)]
fn forward_four<L: Lanes>(f: Field<L>, roots: &Roots, k: usize, block: &mut [u64]) {
    let w = [roots.one(f.l, k), roots.one(f.l, 2 * k), roots.one(f.l, 2 * k + 1)];
    for [p0, p1, p2, p3] in quarters(block) {
        let (x0, x1, x2, x3) = (f.l.load(p0), f.l.load(p1), f.l.load(p2), f.l.load(p3));
        let ([y0, y2], [y1, y3]) = (forward_butterfly(f, [x0, x2], w[0]), forward_butterfly(f, [x1, x3], w[0]));
        let ([z0, z1], [z2, z3]) = (forward_butterfly(f, [y0, y1], w[1]), forward_butterfly(f, [y2, y3], w[2]));
        f.l.store(z0, p0);
        f.l.store(z1, p1);
        f.l.store(z2, p2);
        f.l.store(z3, p3);
    }
}

/// Both vectors from lanes of both.
#[inline(always)]
fn exchange<L: Lanes>(l: L, [a, b]: [L::Vector; 2], patterns: &[Pattern; 2]) -> [L::Vector; 2] {
    [l.permute(a, b, &patterns[0]), l.permute(a, b, &patterns[1])]
}

/// The last four stages of 16 elements with root `k` first; leaves canonical residues.
#[inline(always)]
fn forward_tail<L: Lanes>(f: Field<L>, roots: &Roots, k: usize, group: &mut [u64]) {
    let (low, high) = group.split_at_mut(LANES);
    let x = forward_butterfly(f, [f.l.load(low), f.l.load(high)], roots.one(f.l, k));
    let x = exchange(f.l, x, &HALVES);
    let x = forward_butterfly(f, x, roots.several(f.l, 2 * k, 2, &SPREAD[0]));
    let x = exchange(f.l, x, &PAIRS);
    let x = forward_butterfly(f, x, roots.several(f.l, 4 * k, 4, &SPREAD[1]));
    let x = exchange(f.l, x, &SINGLES);
    let x = forward_butterfly(f, x, roots.several(f.l, 8 * k, 8, &SPREAD[2]));
    let [x, y] = exchange(f.l, [f.canonical(x[0]), f.canonical(x[1])], &ZIP);
    f.l.store(x, low);
    f.l.store(y, high);
}

/// Inverse transform in place, times `c`.
#[inline(always)]
pub(super) fn inverse_scaled<L: Lanes>(l: L, table: &NttTable, a: &mut [u64], c: u64) {
    inverse_stages(l, table, a);
    let f = Field::new(l, table.modulus());
    let scale = f.factor(table.scaled_n_inverse(c));
    for x in a.chunks_exact_mut(LANES) {
        l.store(f.mul_canonical(l.load(x), scale), x);
    }
}

/// Inverse transform of `a`, times `c`, as centred doubles in `y`.
#[inline(always)]
pub(super) fn inverse_center<L: Lanes>(l: L, table: &NttTable, y: &mut [f64], a: &[u64], c: u64) {
    let work = bits::of_mut(y);
    work.copy_from_slice(a);
    inverse_stages(l, table, work);
    let f = Field::new(l, table.modulus());
    let scale = f.factor(table.scaled_n_inverse(c));
    for x in work.chunks_exact_mut(LANES) {
        l.store(f.centred(f.mul_canonical(l.load(x), scale)), x);
    }
}

/// All stages: the inverse transform times `N`, below `2p`.
#[inline(always)]
fn inverse_stages<L: Lanes>(l: L, table: &NttTable, a: &mut [u64]) {
    let (f, roots) = (Field::new(l, table.modulus()), &table.ifma_roots().inverse);
    let (n, cached) = (a.len(), cached_length(a.len()));
    debug_assert_eq!(n, table.n());
    for (b, block) in a.chunks_exact_mut(cached).enumerate() {
        let first = n / cached + b;
        for (g, group) in block.chunks_exact_mut(TAIL).enumerate() {
            inverse_tail(f, roots, first * (cached / TAIL) + g, group);
        }
        let mut len = 4 * TAIL;
        while len <= cached {
            for (i, part) in block.chunks_exact_mut(len).enumerate() {
                inverse_four(f, roots, first * (cached / len) + i, part);
            }
            len *= 4;
        }
    }
    let mut len = 4 * cached;
    while len <= n {
        for (i, block) in a.chunks_exact_mut(len).enumerate() {
            inverse_four(f, roots, n / len + i, block);
        }
        len *= 4;
    }
    if n.trailing_zeros() % 2 == 1 {
        inverse_two(f, roots.one(l, 1), a);
    }
}

/// `(x + y, (x - y) w)`.
#[inline(always)]
fn inverse_butterfly<L: Lanes>(f: Field<L>, [x, y]: [L::Vector; 2], w: Factor<L>) -> [L::Vector; 2] {
    [f.below(f.l.add(x, y), f.two_p), f.mul(f.l.sub(f.l.add(x, f.two_p), y), w)]
}

/// Mirror of [`forward_two`].
#[inline(always)]
fn inverse_two<L: Lanes>(f: Field<L>, w: Factor<L>, block: &mut [u64]) {
    let (low, high) = block.split_at_mut(block.len() / 2);
    for (x, y) in low.chunks_exact_mut(LANES).zip(high.chunks_exact_mut(LANES)) {
        let [u, v] = inverse_butterfly(f, [f.l.load(x), f.l.load(y)], w);
        f.l.store(u, x);
        f.l.store(v, y);
    }
}

/// Mirror of [`forward_four`].
#[inline(always)]
fn inverse_four<L: Lanes>(f: Field<L>, roots: &Roots, k: usize, block: &mut [u64]) {
    let w = [roots.one(f.l, k), roots.one(f.l, 2 * k), roots.one(f.l, 2 * k + 1)];
    for [p0, p1, p2, p3] in quarters(block) {
        let (x0, x1, x2, x3) = (f.l.load(p0), f.l.load(p1), f.l.load(p2), f.l.load(p3));
        let ([y0, y1], [y2, y3]) = (inverse_butterfly(f, [x0, x1], w[1]), inverse_butterfly(f, [x2, x3], w[2]));
        let ([z0, z2], [z1, z3]) = (inverse_butterfly(f, [y0, y2], w[0]), inverse_butterfly(f, [y1, y3], w[0]));
        f.l.store(z0, p0);
        f.l.store(z1, p1);
        f.l.store(z2, p2);
        f.l.store(z3, p3);
    }
}

/// Mirror of [`forward_tail`]; reads canonical residues.
#[inline(always)]
fn inverse_tail<L: Lanes>(f: Field<L>, roots: &Roots, k: usize, group: &mut [u64]) {
    let (low, high) = group.split_at_mut(LANES);
    let x = exchange(f.l, [f.l.load(low), f.l.load(high)], &UNZIP);
    let x = inverse_butterfly(f, x, roots.several(f.l, 8 * k, 8, &SPREAD[2]));
    let x = exchange(f.l, x, &SINGLES);
    let x = inverse_butterfly(f, x, roots.several(f.l, 4 * k, 4, &SPREAD[1]));
    let x = exchange(f.l, x, &PAIRS);
    let x = inverse_butterfly(f, x, roots.several(f.l, 2 * k, 2, &SPREAD[0]));
    let x = exchange(f.l, x, &HALVES);
    let [x, y] = inverse_butterfly(f, x, roots.one(f.l, k));
    f.l.store(x, low);
    f.l.store(y, high);
}
