//! The forward transform.
//!
//! A product `t` is below `2p`, so `x + t` and `x + 2p - t` are at most `2p` above `x`. Where `(3 + 2 log2 N) p` is at most
//! `2^52` (`LAZY`), nothing is reduced: values below `3p` at the start stay operands of products through all stages, and a product with
//! 1 reduces them at the end. Else `x < 4p` is brought below `2p` first, so that values stay in
//! `[0, 4p)`; that rests on `4p < 2^52`.

use super::super::bits;
use super::super::field::{Factor, Field, LOW, WORD};
use super::super::lanes::{LANES, Lanes};
use super::super::roots::{Root, Roots};
use super::{CACHED, SWEPT, TAIL, eighths, load, quarters, stages, store, transpose};
use crate::arith::NttTable;
use crate::arith::kernels::{Finish, scalar};

/// Whether nothing need be reduced in a forward transform of length `n`.
fn lazy_forward(f: &Field<impl Lanes>, n: usize) -> bool {
    u64::from(3 + 2 * n.ilog2()) * f.modulus() <= 1 << WORD
}

/// Forward transform in place of values below `3p`.
#[inline(always)]
pub(in crate::arith::kernels::ifma) fn forward<L: Lanes>(l: L, table: &NttTable, a: &mut [u64]) {
    debug_assert_eq!(a.len(), table.n());
    let f = Field::new(l, table.modulus());
    if a.len() < TAIL {
        a.iter_mut().for_each(|x| *x %= f.modulus());
        (scalar::TABLE.ntt)(table, a);
    } else if lazy_forward(&f, a.len()) {
        forward_passes::<L, true>(f, &table.ifma_roots().forward, a, a.len());
    } else {
        forward_passes::<L, false>(f, &table.ifma_roots().forward, a, a.len());
    }
}

/// The passes on blocks of length `len` and shorter ones.
#[inline(always)]
fn forward_passes<L: Lanes, const LAZY: bool>(f: Field<L>, roots: &Roots, a: &mut [u64], mut len: usize) {
    let (n, one) = (a.len(), f.factor(1));
    while len > SWEPT {
        len = forward_pass::<L, LAZY>(f, roots, (n, 0), len, a, InPlace);
    }
    let swept = len;
    for (b, block) in a.chunks_exact_mut(swept).enumerate() {
        let mut len = swept;
        while len > CACHED {
            len = forward_pass::<L, LAZY>(f, roots, (n, b * swept), len, block, InPlace);
        }
        let cached = len;
        for (c, part) in block.chunks_exact_mut(cached).enumerate() {
            let (start, mut len) = (b * swept + c * cached, cached);
            while len > TAIL {
                len = forward_pass::<L, LAZY>(f, roots, (n, start), len, part, InPlace);
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
    source: impl Source<L>,
) -> usize {
    let stages = stages(len);
    for (i, block) in part.chunks_exact_mut(len).enumerate() {
        let k = (n + start) / len + i;
        match stages {
            1 => forward_two::<L, LAZY>(f, roots, k, block, source),
            2 => forward_four::<L, LAZY>(f, roots, k, block, source),
            _ => forward_eight::<L, LAZY>(f, roots, k, block, source),
        }
    }
    len >> stages
}

/// Forward transform of integers of magnitude at most `2^50`, held in doubles; the first pass reads them.
#[inline(always)]
pub(in crate::arith::kernels::ifma) fn forward_integers<L: Lanes>(
    l: L,
    table: &NttTable,
    out: &mut [u64],
    src: &[f64],
    _bound: f64,
    finish: Finish,
) {
    let (source, src) = (Integers::new(l, table), bits::of(src));
    if out.len() <= TAIL {
        for (out, src) in out.chunks_exact_mut(LANES).zip(src.chunks_exact(LANES)) {
            l.store(source.residues(src), out);
        }
        forward(l, table, out);
    } else if lazy_forward(&source.field, out.len()) {
        integer_passes::<L, true>(&source, &table.ifma_roots().forward, out, src);
    } else {
        integer_passes::<L, false>(&source, &table.ifma_roots().forward, out, src);
    }
    finish(0, out);
}

/// Integers of magnitude at most `2^50` in doubles, as residues below `3p`.
///
/// `x + 2^50`, in `[0, 2^51]`, is the mantissa of `x + (2^52 + 2^50)`. Reduced to below `2p`, plus `-2^50 mod p`, it is below `3p` and an
/// input of the butterflies.
struct Integers<L: Lanes> {
    field: Field<L>,
    one: Factor<L>,
    magic: L::Vector,
    low: L::Vector,
    down: L::Vector,
}

impl<L: Lanes> Integers<L> {
    #[inline(always)]
    fn new(l: L, table: &NttTable) -> Self {
        let (m, offset) = (table.modulus(), 1u64 << 50);
        let field = Field::new(l, m);
        Self {
            field,
            one: field.factor(1),
            magic: l.splat((((1u64 << WORD) + offset) as f64).to_bits()),
            low: l.splat(LOW),
            down: l.splat(m.neg(m.reduce_u64(offset))),
        }
    }

    #[inline(always)]
    fn residues(&self, src: &[u64]) -> L::Vector {
        let l = self.field.l;
        let shifted = l.and(l.add_f64(l.load(src), self.magic), self.low);
        l.add(self.field.mul(shifted, self.one), self.down)
    }
}

/// All passes, the first from integers.
#[inline(always)]
fn integer_passes<L: Lanes, const LAZY: bool>(integers: &Integers<L>, roots: &Roots, out: &mut [u64], src: &[u64]) {
    let (f, n) = (integers.field, out.len());
    let len = forward_pass::<L, LAZY>(f, roots, (n, 0), n, out, Row { integers, src });
    forward_passes::<L, LAZY>(f, roots, out, len);
}

/// What a pass reads.
trait Source<L: Lanes>: Copy {
    /// The vectors at `start` of the parts of a block.
    fn load<const PARTS: usize>(self, f: Field<L>, parts: &[&mut [u64]; PARTS], start: usize) -> [L::Vector; PARTS];
}

/// The block itself.
#[derive(Clone, Copy)]
struct InPlace;

impl<L: Lanes> Source<L> for InPlace {
    #[inline(always)]
    fn load<const PARTS: usize>(self, f: Field<L>, parts: &[&mut [u64]; PARTS], _start: usize) -> [L::Vector; PARTS] {
        load(f.l, parts)
    }
}

/// Integers in doubles, for a block that is the whole limb.
#[derive(Clone, Copy)]
struct Row<'a, L: Lanes> {
    integers: &'a Integers<L>,
    src: &'a [u64],
}

impl<L: Lanes> Source<L> for Row<'_, L> {
    #[inline(always)]
    fn load<const PARTS: usize>(self, _f: Field<L>, _parts: &[&mut [u64]; PARTS], start: usize) -> [L::Vector; PARTS] {
        let mut x = [self.integers.low; PARTS];
        for (x, part) in x.iter_mut().zip(self.src.chunks_exact(self.src.len() / PARTS)) {
            *x = self.integers.residues(&part[start..start + LANES]);
        }
        x
    }
}

/// `(x + y w, x - y w)`.
#[inline(always)]
fn forward_butterfly<L: Lanes, const LAZY: bool>(f: Field<L>, [x, y]: [L::Vector; 2], w: Root<L>) -> [L::Vector; 2] {
    let x = if LAZY { x } else { f.below(x, f.two_p) };
    let t = w.times(f, y);
    [f.l.add(x, t), f.l.sub(f.l.add(x, f.two_p), t)]
}

/// One stage of a block with root `k`.
#[inline(always)]
fn forward_two<L: Lanes, const LAZY: bool>(
    f: Field<L>,
    roots: &Roots,
    k: usize,
    block: &mut [u64],
    source: impl Source<L>,
) {
    let w = roots.one(f.l, k);
    let (low, high) = block.split_at_mut(block.len() / 2);
    let parts = low.chunks_exact_mut(LANES).zip(high.chunks_exact_mut(LANES));
    for (start, (x, y)) in (0..).step_by(LANES).zip(parts) {
        let parts = [x, y];
        let x = source.load(f, &parts, start);
        store(f.l, forward_butterfly::<L, LAZY>(f, x, w), parts);
    }
}

/// Two stages of a block with roots `k`, then `2k` and `2k + 1`.
#[inline(always)]
fn forward_four<L: Lanes, const LAZY: bool>(
    f: Field<L>,
    roots: &Roots,
    k: usize,
    block: &mut [u64],
    source: impl Source<L>,
) {
    let w = [roots.one(f.l, k), roots.one(f.l, 2 * k), roots.one(f.l, 2 * k + 1)];
    for (start, parts) in (0..).step_by(LANES).zip(quarters(block)) {
        let x = source.load(f, &parts, start);
        store(f.l, forward_quarters::<L, LAZY>(f, x, w), parts);
    }
}

/// Two stages of four values.
#[inline(always)]
fn forward_quarters<L: Lanes, const LAZY: bool>(
    f: Field<L>,
    [x0, x1, x2, x3]: [L::Vector; 4],
    w: [Root<L>; 3],
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
    [outer, w0, w1, w2, w3, w4, w5]: [Root<L>; 7],
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
fn forward_eight<L: Lanes, const LAZY: bool>(
    f: Field<L>,
    roots: &Roots,
    k: usize,
    block: &mut [u64],
    source: impl Source<L>,
) {
    let w = roots.three_stages(f.l, k);
    for (start, parts) in (0..).step_by(LANES).zip(eighths(block)) {
        let x = source.load(f, &parts, start);
        store(f.l, forward_eighths::<L, LAZY>(f, x, w), parts);
    }
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
