//! Forward and inverse transforms by Harvey's butterflies on lazy residues.
//!
//! Three stages are done per pass, in registers, or two where three do not fit the number that is left. Passes on blocks beyond
//! [`SWEPT`] elements sweep the limb; below, a block of the second-level cache, and in it one of the first-level cache, finishes all
//! its stages before the next one. The last six stages run on 64 elements in eight vectors: three between the vectors, then, after a
//! transposition, three more, whose roots differ by lane.
//!
//! **Forward.** A product `t` is below `2p`, so `x + t` and `x + 2p - t` are at most `2p` above `x`. Where `(3 + 2 log2 N) p` is at most
//! `2^52` (`LAZY`), nothing is reduced: values below `3p` at the start stay operands of products through all stages, and a product with
//! 1 reduces them at the end. Else `x < 4p` is brought below `2p` first, so that values stay in `[0, 4p)`.
//!
//! **Inverse.** Values of a pass start below `4p`. Where `32p <= 2^52` (`LAZY`), a sum of two values below `b` stays below `2b`, and
//! `x - y + b` is an operand of a product, which is below `2p`: bounds of the eight values of a pass are 4; 8 and 2; 16, 2, 4 and 2;
//! 32, 2, 4, 2, 8, 2, 4 and 2, in units of `p`, and only the 32 and the 8 are reduced. Else values start below `2p` and sums
//! are brought below `2p` at once. Without laziness both rest on `4p < 2^52`.

use super::bits;
use super::field::{Factor, Field, LOW, WORD};
use super::lanes::{LANES, Lanes, Pattern};
use super::roots::Roots;
use crate::arith::NttTable;
use crate::arith::kernels::{Finish, scalar};

/// Elements of a block that stays in the second-level cache beside its roots.
const SWEPT: usize = 1 << 14;
/// Elements of a block that stays in the first-level cache.
const CACHED: usize = 1 << 10;
/// Elements per group of the last six stages. Shorter limbs are the scalar kernel's.
pub(super) const TAIL: usize = LANES * LANES;

/// Lower and upper halves of two vectors, even and odd pairs, even and odd elements: each its own inverse.
const EXCHANGES: [[Pattern; 2]; 3] = [
    [[0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15]],
    [[0, 1, 8, 9, 4, 5, 12, 13], [2, 3, 10, 11, 6, 7, 14, 15]],
    [[0, 8, 2, 10, 4, 12, 6, 14], [1, 9, 3, 11, 5, 13, 7, 15]],
];

/// Stages of a pass over blocks of length `len`, above [`TAIL`].
fn stages(len: usize) -> u32 {
    match (len / TAIL).ilog2() {
        1 => 1,
        left if left % 3 == 0 => 3,
        _ => 2,
    }
}

/// Whether nothing need be reduced in a forward transform of length `n`.
fn lazy_forward(f: &Field<impl Lanes>, n: usize) -> bool {
    u64::from(3 + 2 * n.ilog2()) * f.modulus() <= 1 << WORD
}

/// Whether sums of a pass of an inverse transform need not be reduced.
fn lazy_inverse(f: &Field<impl Lanes>) -> bool {
    32 * f.modulus() <= 1 << WORD
}

/// Forward transform in place of values below `3p`.
#[inline(always)]
pub(super) fn forward<L: Lanes>(l: L, table: &NttTable, a: &mut [u64]) {
    debug_assert_eq!(a.len(), table.n());
    let f = Field::new(l, table.modulus());
    if a.len() < TAIL {
        a.iter_mut().for_each(|x| *x %= f.modulus());
        (scalar::TABLE.ntt)(table, a);
    } else if lazy_forward(&f, a.len()) {
        forward_passes::<L, true>(f, &table.ifma_roots().forward, a);
    } else {
        forward_passes::<L, false>(f, &table.ifma_roots().forward, a);
    }
}

#[inline(always)]
fn forward_passes<L: Lanes, const LAZY: bool>(f: Field<L>, roots: &Roots, a: &mut [u64]) {
    let (n, one) = (a.len(), f.factor(1));
    let mut len = n;
    while len > SWEPT {
        len = forward_pass::<L, LAZY>(f, roots, (n, 0), len, a);
    }
    let swept = len;
    for (b, block) in a.chunks_exact_mut(swept).enumerate() {
        let mut len = swept;
        while len > CACHED {
            len = forward_pass::<L, LAZY>(f, roots, (n, b * swept), len, block);
        }
        let cached = len;
        for (c, part) in block.chunks_exact_mut(cached).enumerate() {
            let (start, mut len) = (b * swept + c * cached, cached);
            while len > TAIL {
                len = forward_pass::<L, LAZY>(f, roots, (n, start), len, part);
            }
            for (g, group) in part.chunks_exact_mut(TAIL).enumerate() {
                forward_tail::<L, LAZY>(f, roots, (n / TAIL, start / TAIL + g), group, one);
            }
        }
    }
}

/// A pass over all blocks of length `len` of a part that starts at an element of a limb of `n`; gives the length of the blocks after it.
#[inline(always)]
fn forward_pass<L: Lanes, const LAZY: bool>(
    f: Field<L>,
    roots: &Roots,
    (n, start): (usize, usize),
    len: usize,
    part: &mut [u64],
) -> usize {
    let stages = stages(len);
    for (i, block) in part.chunks_exact_mut(len).enumerate() {
        let k = (n + start) / len + i;
        match stages {
            1 => forward_two::<L, LAZY>(f, roots, k, block),
            2 => forward_four::<L, LAZY>(f, roots, k, block),
            _ => forward_eight::<L, LAZY>(f, roots, k, block),
        }
    }
    len >> stages
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
fn forward_butterfly<L: Lanes, const LAZY: bool>(f: Field<L>, [x, y]: [L::Vector; 2], w: Factor<L>) -> [L::Vector; 2] {
    let x = if LAZY { x } else { f.below(x, f.two_p) };
    let t = f.mul(y, w);
    [f.l.add(x, t), f.l.sub(f.l.add(x, f.two_p), t)]
}

/// One stage of a block with root `k`.
#[inline(always)]
fn forward_two<L: Lanes, const LAZY: bool>(f: Field<L>, roots: &Roots, k: usize, block: &mut [u64]) {
    let w = roots.one(f.l, k);
    let (low, high) = block.split_at_mut(block.len() / 2);
    for (x, y) in low.chunks_exact_mut(LANES).zip(high.chunks_exact_mut(LANES)) {
        let [u, v] = forward_butterfly::<L, LAZY>(f, [f.l.load(x), f.l.load(y)], w);
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

/// Eight eighths of a block, vector by vector.
#[inline(always)]
fn eighths(block: &mut [u64]) -> impl Iterator<Item = [&mut [u64]; 8]> {
    let (low, high) = block.split_at_mut(block.len() / 2);
    quarters(low).zip(quarters(high)).map(|([x0, x1, x2, x3], [x4, x5, x6, x7])| [x0, x1, x2, x3, x4, x5, x6, x7])
}

/// Two stages of a block with roots `k`, then `2k` and `2k + 1`.
#[inline(always)]
fn forward_four<L: Lanes, const LAZY: bool>(f: Field<L>, roots: &Roots, k: usize, block: &mut [u64]) {
    let w = [roots.one(f.l, k), roots.one(f.l, 2 * k), roots.one(f.l, 2 * k + 1)];
    for [p0, p1, p2, p3] in quarters(block) {
        let (x0, x1, x2, x3) = (f.l.load(p0), f.l.load(p1), f.l.load(p2), f.l.load(p3));
        let [z0, z1, z2, z3] = forward_quarters::<L, LAZY>(f, [x0, x1, x2, x3], w);
        f.l.store(z0, p0);
        f.l.store(z1, p1);
        f.l.store(z2, p2);
        f.l.store(z3, p3);
    }
}

/// Two stages of four values.
#[inline(always)]
fn forward_quarters<L: Lanes, const LAZY: bool>(
    f: Field<L>,
    [x0, x1, x2, x3]: [L::Vector; 4],
    w: [Factor<L>; 3],
) -> [L::Vector; 4] {
    let [y0, y2] = forward_butterfly::<L, LAZY>(f, [x0, x2], w[0]);
    let [y1, y3] = forward_butterfly::<L, LAZY>(f, [x1, x3], w[0]);
    let [z0, z1] = forward_butterfly::<L, LAZY>(f, [y0, y1], w[1]);
    let [z2, z3] = forward_butterfly::<L, LAZY>(f, [y2, y3], w[2]);
    [z0, z1, z2, z3]
}

/// Three stages of eight values, with roots as [`Roots::three_stages`] arranges them.
#[inline(always)]
fn forward_eighths<L: Lanes, const LAZY: bool>(
    f: Field<L>,
    [x0, x1, x2, x3, x4, x5, x6, x7]: [L::Vector; 8],
    [outer, w0, w1, w2, w3, w4, w5]: [Factor<L>; 7],
) -> [L::Vector; 8] {
    let [x0, x4] = forward_butterfly::<L, LAZY>(f, [x0, x4], outer);
    let [x1, x5] = forward_butterfly::<L, LAZY>(f, [x1, x5], outer);
    let [x2, x6] = forward_butterfly::<L, LAZY>(f, [x2, x6], outer);
    let [x3, x7] = forward_butterfly::<L, LAZY>(f, [x3, x7], outer);
    let [z0, z1, z2, z3] = forward_quarters::<L, LAZY>(f, [x0, x1, x2, x3], [w0, w1, w2]);
    let [z4, z5, z6, z7] = forward_quarters::<L, LAZY>(f, [x4, x5, x6, x7], [w3, w4, w5]);
    [z0, z1, z2, z3, z4, z5, z6, z7]
}

/// Three stages of a block.
#[inline(always)]
fn forward_eight<L: Lanes, const LAZY: bool>(f: Field<L>, roots: &Roots, k: usize, block: &mut [u64]) {
    let w = roots.three_stages(f.l, k);
    for parts in eighths(block) {
        let x = load(f.l, &parts);
        store(f.l, forward_eighths::<L, LAZY>(f, x, w), parts);
    }
}

/// A vector from each of eight slices.
#[inline(always)]
fn load<L: Lanes>(l: L, parts: &[&mut [u64]; 8]) -> [L::Vector; 8] {
    let mut out = [l.splat(0); 8];
    for (out, part) in out.iter_mut().zip(parts) {
        *out = l.load(part);
    }
    out
}

/// Mirror of [`load`].
#[inline(always)]
fn store<L: Lanes>(l: L, x: [L::Vector; 8], parts: [&mut [u64]; 8]) {
    for (x, part) in x.into_iter().zip(parts) {
        l.store(x, part);
    }
}

/// Element `j` of vector `i` to element `i` of vector `j`.
#[inline(always)]
fn transpose<L: Lanes>(l: L, mut x: [L::Vector; 8]) -> [L::Vector; 8] {
    for (round, patterns) in EXCHANGES.iter().enumerate() {
        let distance = 4 >> round;
        let before = x;
        for i in 0..8 {
            if i & distance == 0 {
                let (a, b) = (before[i], before[i + distance]);
                x[i] = l.permute(a, b, &patterns[0]);
                x[i + distance] = l.permute(a, b, &patterns[1]);
            }
        }
    }
    x
}

/// The last six stages of the tail with this number among so many; leaves canonical residues. `one` is the factor 1.
#[inline(always)]
fn forward_tail<L: Lanes, const LAZY: bool>(
    f: Field<L>,
    roots: &Roots,
    (tails, tail): (usize, usize),
    group: &mut [u64],
    one: Factor<L>,
) {
    let Some(parts) = eighths(group).next() else { return };
    let x = forward_eighths::<L, LAZY>(f, load(f.l, &parts), roots.three_stages(f.l, tails + tail));
    let mut x = forward_eighths::<L, LAZY>(f, transpose(f.l, x), roots.last_stages(f.l, tail));
    for x in &mut x {
        *x = if LAZY { f.mul_canonical(*x, one) } else { f.canonical(*x) };
    }
    store(f.l, transpose(f.l, x), parts);
}

/// Inverse transform in place, times `c`.
#[inline(always)]
pub(super) fn inverse_scaled<L: Lanes>(l: L, table: &NttTable, a: &mut [u64], c: u64) {
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
pub(super) fn inverse_center<L: Lanes>(l: L, table: &NttTable, y: &mut [f64], a: &[u64], c: u64) {
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

/// Stages of the pass that joins blocks of length `len`, the forward transform's that makes them.
fn stages_up_to(len: usize, n: usize) -> u32 {
    let mut whole = n;
    while whole >> stages(whole) > len {
        whole >>= stages(whole);
    }
    stages(whole)
}

/// A pass that joins blocks of length `len` of a part, as in [`forward_pass`]; gives the length of the blocks after it.
#[inline(always)]
fn inverse_pass<L: Lanes, const LAZY: bool>(
    f: Field<L>,
    roots: &Roots,
    (n, start): (usize, usize),
    len: usize,
    part: &mut [u64],
) -> usize {
    let stages = stages_up_to(len, n);
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

/// `(x + y, (x - y) w)` for values below `bound`; the sum is below `2 bound`, or below `2p` if `reduce`, for `bound = 2p`.
#[inline(always)]
fn inverse_butterfly<L: Lanes>(
    f: Field<L>,
    [x, y]: [L::Vector; 2],
    w: Factor<L>,
    bound: L::Vector,
    reduce: bool,
) -> [L::Vector; 2] {
    let sum = f.l.add(x, y);
    let sum = if reduce { f.below(sum, f.two_p) } else { sum };
    [sum, f.mul(f.l.sub(f.l.add(x, bound), y), w)]
}
/// Mirror of [`forward_two`]: values below `4p` stay below `4p`.
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

/// Mirror of [`forward_quarters`] for values below `bound p`: 4 or, if not `LAZY`, 2. The first value stays below `4 bound p`, or below `2p` if not
/// `LAZY`, the second below `4p` or `2p`, the others below `2p`.
#[inline(always)]
fn inverse_quarters<L: Lanes, const LAZY: bool>(
    f: Field<L>,
    [x0, x1, x2, x3]: [L::Vector; 4],
    w: [Factor<L>; 3],
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

/// Mirror of [`forward_four`].
#[inline(always)]
fn inverse_four<L: Lanes, const LAZY: bool>(f: Field<L>, roots: &Roots, k: usize, block: &mut [u64]) {
    let w = [roots.one(f.l, k), roots.one(f.l, 2 * k), roots.one(f.l, 2 * k + 1)];
    let bound = if LAZY { 4 } else { 2 };
    for [p0, p1, p2, p3] in quarters(block) {
        let x = [f.l.load(p0), f.l.load(p1), f.l.load(p2), f.l.load(p3)];
        let [z0, z1, z2, z3] = inverse_quarters::<L, LAZY>(f, x, w, bound);
        f.l.store(below_four::<L, LAZY>(f, z0), p0);
        f.l.store(z1, p1);
        f.l.store(z2, p2);
        f.l.store(z3, p3);
    }
}

/// Mirror of [`forward_eighths`] for values below `4p` or, if not `LAZY`, `2p`, and so are the results.
#[inline(always)]
fn inverse_eighths<L: Lanes, const LAZY: bool>(
    f: Field<L>,
    [x0, x1, x2, x3, x4, x5, x6, x7]: [L::Vector; 8],
    [outer, w0, w1, w2, w3, w4, w5]: [Factor<L>; 7],
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

/// Mirror of [`forward_eight`].
#[inline(always)]
fn inverse_eight<L: Lanes, const LAZY: bool>(f: Field<L>, roots: &Roots, k: usize, block: &mut [u64]) {
    let w = roots.three_stages(f.l, k);
    for parts in eighths(block) {
        let x = load(f.l, &parts);
        store(f.l, inverse_eighths::<L, LAZY>(f, x, w), parts);
    }
}

/// Mirror of [`forward_tail`]; reads canonical residues.
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
