//! Element-by-element kernels: each loads a vector from every input, maps it, and stores a vector. The last one may be shorter.

use super::bits;
use super::field::Field;
use super::lanes::{LANES, Lanes};
use crate::arith::Modulus;

/// `out[i] = f(inputs[0][i], ..)`.
#[inline(always)]
fn map<L: Lanes, const K: usize>(l: L, out: &mut [u64], inputs: [&[u64]; K], f: impl Fn([L::Vector; K]) -> L::Vector) {
    for (i, out) in out.chunks_mut(LANES).enumerate() {
        l.store(f(l.load_all(inputs, i * LANES)), out);
    }
}

/// `acc[i] = f(acc[i], inputs[0][i], ..)`.
#[inline(always)]
fn assign<L: Lanes, const K: usize>(
    l: L,
    acc: &mut [u64],
    inputs: [&[u64]; K],
    f: impl Fn(L::Vector, [L::Vector; K]) -> L::Vector,
) {
    for (i, acc) in acc.chunks_mut(LANES).enumerate() {
        l.store(f(l.load(acc), l.load_all(inputs, i * LANES)), acc);
    }
}

/// `a + b` of canonical residues.
#[inline(always)]
fn sum<L: Lanes>(f: Field<L>, a: L::Vector, b: L::Vector) -> L::Vector {
    f.below(f.l.add(a, b), f.p)
}

/// `a - b` of canonical residues: a negative difference wraps and is larger than itself plus `p`.
#[inline(always)]
fn difference<L: Lanes>(f: Field<L>, a: L::Vector, b: L::Vector) -> L::Vector {
    let d = f.l.sub(a, b);
    f.l.min(d, f.l.add(d, f.p))
}

/// `a - b + p`, in `(0, 2p)`.
#[inline(always)]
fn lazy_difference<L: Lanes>(f: Field<L>, a: L::Vector, b: L::Vector) -> L::Vector {
    f.l.sub(f.l.add(a, f.p), b)
}

#[inline(always)]
pub(super) fn add<L: Lanes>(l: L, m: &Modulus, out: &mut [u64], a: &[u64], b: &[u64]) {
    let f = Field::new(l, m);
    map(l, out, [a, b], |[a, b]| sum(f, a, b));
}

#[inline(always)]
pub(super) fn add_assign<L: Lanes>(l: L, m: &Modulus, acc: &mut [u64], a: &[u64]) {
    let f = Field::new(l, m);
    assign(l, acc, [a], |x, [a]| sum(f, x, a));
}

#[inline(always)]
pub(super) fn sub<L: Lanes>(l: L, m: &Modulus, out: &mut [u64], a: &[u64], b: &[u64]) {
    let f = Field::new(l, m);
    map(l, out, [a, b], |[a, b]| difference(f, a, b));
}

#[inline(always)]
pub(super) fn sub_assign<L: Lanes>(l: L, m: &Modulus, acc: &mut [u64], a: &[u64]) {
    let f = Field::new(l, m);
    assign(l, acc, [a], |x, [a]| difference(f, x, a));
}

#[inline(always)]
pub(super) fn neg<L: Lanes>(l: L, m: &Modulus, out: &mut [u64], a: &[u64]) {
    let f = Field::new(l, m);
    let zero = l.splat(0);
    map(l, out, [a], |[a]| difference(f, zero, a));
}

#[inline(always)]
pub(super) fn mul<L: Lanes>(l: L, m: &Modulus, out: &mut [u64], a: &[u64], b: &[u64]) {
    let f = Field::new(l, m);
    let barrett = f.barrett();
    map(l, out, [a, b], |[a, b]| f.canonical(f.product(a, b, barrett)));
}

#[inline(always)]
pub(super) fn mul_assign<L: Lanes>(l: L, m: &Modulus, acc: &mut [u64], a: &[u64]) {
    let f = Field::new(l, m);
    let barrett = f.barrett();
    assign(l, acc, [a], |x, [a]| f.canonical(f.product(x, a, barrett)));
}

/// The product is below `2.5 p`, the sum below `3.5 p`.
#[inline(always)]
pub(super) fn mul_add_assign<L: Lanes>(l: L, m: &Modulus, acc: &mut [u64], a: &[u64], b: &[u64]) {
    let f = Field::new(l, m);
    let barrett = f.barrett();
    assign(l, acc, [a, b], |x, [a, b]| f.canonical(l.add(x, f.product(a, b, barrett))));
}

#[inline(always)]
pub(super) fn mul_scalar<L: Lanes>(l: L, m: &Modulus, out: &mut [u64], a: &[u64], c: u64) {
    let f = Field::new(l, m);
    let c = f.factor(c);
    map(l, out, [a], |[a]| f.mul_canonical(a, c));
}

#[inline(always)]
pub(super) fn mul_scalar_assign<L: Lanes>(l: L, m: &Modulus, acc: &mut [u64], c: u64) {
    let f = Field::new(l, m);
    let c = f.factor(c);
    assign(l, acc, [], |x, []| f.mul_canonical(x, c));
}

/// The product is below `2p`, the sum below `3p`.
#[inline(always)]
pub(super) fn mul_scalar_add_assign<L: Lanes>(l: L, m: &Modulus, acc: &mut [u64], a: &[u64], c: u64) {
    let f = Field::new(l, m);
    let c = f.factor(c);
    assign(l, acc, [a], |x, [a]| f.canonical(l.add(x, f.mul(a, c))));
}

#[inline(always)]
pub(super) fn sub_mul_scalar<L: Lanes>(l: L, m: &Modulus, out: &mut [u64], x: &[u64], r: &[u64], c: u64) {
    let f = Field::new(l, m);
    let c = f.factor(c);
    map(l, out, [x, r], |[x, r]| f.mul_canonical(lazy_difference(f, x, r), c));
}

/// The product is below `2p`, the sum below `3p`.
#[inline(always)]
pub(super) fn sub_mul_scalar_add<L: Lanes>(
    l: L,
    m: &Modulus,
    out: &mut [u64],
    x: &[u64],
    r: &[u64],
    c: u64,
    d: &[u64],
) {
    let f = Field::new(l, m);
    let c = f.factor(c);
    map(l, out, [x, r, d], |[x, r, d]| f.canonical(l.add(f.mul(lazy_difference(f, x, r), c), d)));
}

/// The product is below `2.5 p`, its difference to a residue plus `p` below `3.5 p`: an operand of the product with `c`.
#[inline(always)]
pub(super) fn product_tail<L: Lanes>(l: L, m: &Modulus, acc: &mut [u64], x: [&[u64]; 2], c: u64) {
    let f = Field::new(l, m);
    let (barrett, c) = (f.barrett(), f.factor(c));
    assign(l, acc, x, |r, [a, b]| f.mul_canonical(lazy_difference(f, f.product(a, b, barrett), r), c));
}

/// As [`product_tail`]; the last product is below `2p`, the sum below `3p`.
#[inline(always)]
pub(super) fn product_tail_add<L: Lanes>(l: L, m: &Modulus, acc: &mut [u64], x: [&[u64]; 2], c: u64, d: &[u64]) {
    let f = Field::new(l, m);
    let (barrett, c) = (f.barrett(), f.factor(c));
    assign(l, acc, [x[0], x[1], d], |r, [a, b, d]| {
        f.canonical(l.add(f.mul(lazy_difference(f, f.product(a, b, barrett), r), c), d))
    });
}

/// Two products below `2p`, plus `p - s`: below `5p`.
#[inline(always)]
pub(super) fn combine2_sub<L: Lanes>(l: L, m: &Modulus, out: &mut [u64], x: [&[u64]; 2], c: [u64; 2], s: &[u64]) {
    let f = Field::new(l, m);
    let c = [f.factor(c[0]), f.factor(c[1])];
    map(l, out, [x[0], x[1], s], |[a, b, s]| {
        f.canonical_of_eight(lazy_difference(f, l.add(f.mul(a, c[0]), f.mul(b, c[1])), s))
    });
}

/// With `h = (p-1)/2` of the source, `x + h mod p` is the centred representative plus `h`. That is reduced to below twice the
/// target's prime, and `-h` is added modulo it: below three times.
#[inline(always)]
pub(super) fn reduce_centered<L: Lanes>(l: L, src: &[u64], m_src: &Modulus, dst: &mut [u64], m_dst: &Modulus) {
    let (from, to) = (Field::new(l, m_src), Field::new(l, m_dst));
    let (half, one) = (m_src.value() / 2, to.factor(1));
    let (up, down) = (l.splat(half), l.splat(m_dst.neg(m_dst.reduce_u64(half))));
    map(l, dst, [src], |[x]| {
        let shifted = from.below(l.add(x, up), from.p);
        to.canonical(l.add(to.mul(shifted, one), down))
    });
}

/// `c + 2^62`, below `2^63`, in a low part of 52 bits and a high one of 11. Their multiples modulo `p` are below `2p` each, and with
/// `-2^62 mod p` the sum is below `5p`.
#[inline(always)]
pub(super) fn reduce_signed<L: Lanes>(l: L, m: &Modulus, dst: &mut [u64], src: &[i64]) {
    let f = Field::new(l, m);
    let (one, high) = (f.factor(1), f.power_of_two(52));
    let (up, down) = (l.splat(1 << 62), l.splat(m.neg(m.reduce_u64(1 << 62))));
    let (word, low) = (l.splat(52), l.splat((1 << 52) - 1));
    for (dst, src) in dst.chunks_mut(LANES).zip(src.chunks(LANES)) {
        let mut bits = [0; LANES];
        bits.iter_mut().zip(src).for_each(|(bits, &c)| *bits = c as u64);
        let x = l.add(l.load(&bits), up);
        let parts = l.add(f.mul(l.and(x, low), one), f.mul(l.shift_right(x, word), high));
        l.store(f.canonical_of_eight(l.add(parts, down)), dst);
    }
}

#[inline(always)]
pub(super) fn center_scaled<L: Lanes>(l: L, m: &Modulus, y: &mut [f64], src: &[u64], c: u64) {
    let f = Field::new(l, m);
    let c = f.factor(c);
    map(l, bits::of_mut(y), [src], |[x]| f.centred(f.mul_canonical(x, c)));
}
