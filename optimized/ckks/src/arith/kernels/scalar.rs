//! Portable kernels on 64-bit integers: Barrett products, Shoup constants for fixed multiplicands.

use super::{Finish, KernelKind, Table, embedding};
use crate::arith::{Modulus, NttTable, PackedLimb};

pub(super) static TABLE: Table = Table {
    kind: KernelKind::Scalar,
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
    slots_to_packed: embedding::slots_to_packed,
    round_packed: embedding::round_packed,
};

/// Cooley-Tukey butterflies with lazy values (Harvey, 2014): inputs and outputs of each stage lie in
/// `[0, 4p)`, which fits because `p < 2^50`.
fn ntt(table: &NttTable, a: &mut [u64]) {
    let m = table.modulus();
    let (p, two_p) = (m.value(), 2 * m.value());
    let roots = &table.shoup_roots().forward;
    let mut blocks = 1;
    let mut half = a.len() / 2;
    while half > 0 {
        for (block, &(w, ws)) in a.chunks_exact_mut(2 * half).zip(&roots[blocks..]) {
            let (lower, upper) = block.split_at_mut(half);
            for (u, v) in lower.iter_mut().zip(upper) {
                let x = if *u >= two_p { *u - two_p } else { *u };
                let y = m.mul_shoup_lazy(*v, w, ws);
                *u = x + y;
                *v = x + two_p - y;
            }
        }
        blocks *= 2;
        half /= 2;
    }
    for x in a {
        let r = if *x >= two_p { *x - two_p } else { *x };
        *x = if r >= p { r - p } else { r };
    }
}

fn ntt_integers(table: &NttTable, out: &mut [u64], src: &[f64], _bound: f64, finish: Finish) {
    for (o, &x) in out.iter_mut().zip(src) {
        *o = table.modulus().from_i64(x as i64);
    }
    ntt(table, out);
    finish(0, out);
}

/// Gentleman-Sande butterflies with values in `[0, 2p)`, then one multiplication by `c / N`.
fn intt_scaled(table: &NttTable, a: &mut [u64], c: u64) {
    let m = table.modulus();
    let two_p = 2 * m.value();
    let roots = &table.shoup_roots().inverse;
    let mut blocks = a.len() / 2;
    let mut half = 1;
    while blocks > 0 {
        for (block, &(w, ws)) in a.chunks_exact_mut(2 * half).zip(&roots[blocks..]) {
            let (lower, upper) = block.split_at_mut(half);
            for (u, v) in lower.iter_mut().zip(upper) {
                let sum = *u + *v;
                let difference = *u + two_p - *v;
                *u = if sum >= two_p { sum - two_p } else { sum };
                *v = m.mul_shoup_lazy(difference, w, ws);
            }
        }
        blocks /= 2;
        half *= 2;
    }
    mul_scalar_assign(m, a, table.scaled_n_inverse(c));
}

fn intt_center(table: &NttTable, y: &mut [f64], a: &[u64], c: u64) {
    let mut a = a.to_vec();
    intt_scaled(table, &mut a, c);
    for (y, x) in y.iter_mut().zip(a) {
        *y = table.modulus().center(x) as f64;
    }
}

fn add(m: &Modulus, out: &mut [u64], a: &[u64], b: &[u64]) {
    for ((o, &a), &b) in out.iter_mut().zip(a).zip(b) {
        *o = m.add(a, b);
    }
}

fn add_assign(m: &Modulus, acc: &mut [u64], a: &[u64]) {
    for (o, &a) in acc.iter_mut().zip(a) {
        *o = m.add(*o, a);
    }
}

fn sub(m: &Modulus, out: &mut [u64], a: &[u64], b: &[u64]) {
    for ((o, &a), &b) in out.iter_mut().zip(a).zip(b) {
        *o = m.sub(a, b);
    }
}

fn sub_assign(m: &Modulus, acc: &mut [u64], a: &[u64]) {
    for (o, &a) in acc.iter_mut().zip(a) {
        *o = m.sub(*o, a);
    }
}

fn neg(m: &Modulus, out: &mut [u64], a: &[u64]) {
    for (o, &a) in out.iter_mut().zip(a) {
        *o = m.neg(a);
    }
}

fn mul(m: &Modulus, out: &mut [u64], a: &[u64], b: &[u64]) {
    for ((o, &a), &b) in out.iter_mut().zip(a).zip(b) {
        *o = m.mul(a, b);
    }
}

fn mul_assign(m: &Modulus, acc: &mut [u64], a: &[u64]) {
    for (o, &a) in acc.iter_mut().zip(a) {
        *o = m.mul(*o, a);
    }
}

fn mul_add_assign(m: &Modulus, acc: &mut [u64], a: &[u64], b: &[u64]) {
    for ((o, &a), &b) in acc.iter_mut().zip(a).zip(b) {
        *o = m.reduce_product(u128::from(a) * u128::from(b) + u128::from(*o));
    }
}

fn mul_scalar(m: &Modulus, out: &mut [u64], a: &[u64], c: u64) {
    let cs = m.shoup(c);
    for (o, &a) in out.iter_mut().zip(a) {
        *o = m.mul_shoup(a, c, cs);
    }
}

fn mul_scalar_assign(m: &Modulus, acc: &mut [u64], c: u64) {
    let cs = m.shoup(c);
    for o in acc {
        *o = m.mul_shoup(*o, c, cs);
    }
}

fn mul_scalar_add_assign(m: &Modulus, acc: &mut [u64], a: &[u64], c: u64) {
    let cs = m.shoup(c);
    for (o, &a) in acc.iter_mut().zip(a) {
        *o = m.add(*o, m.mul_shoup(a, c, cs));
    }
}

/// Up to `2^20` products below `2^100` sum below `2^120`, so one reduction per output suffices.
fn dot2(m: &Modulus, out: [&mut [u64]; 2], digits: &[&[u64]], keys: [&[&[u64]]; 2], add: bool) {
    for (out, key) in out.into_iter().zip(keys) {
        for (i, o) in out.iter_mut().enumerate() {
            let product = |(d, k): (&&[u64], &&[u64])| u128::from(d[i]) * u128::from(k[i]);
            let start = if add { u128::from(*o) } else { 0 };
            *o = m.reduce_u128(start + digits.iter().zip(key).map(product).sum::<u128>());
        }
    }
}

/// As [`dot2`], keys packed.
fn dot2_packed(m: &Modulus, out: [&mut [u64]; 2], digits: &[&[u64]], keys: [&[&PackedLimb]; 2]) {
    for (out, key) in out.into_iter().zip(keys) {
        for (i, o) in out.iter_mut().enumerate() {
            let product = |(d, k): (&&[u64], &&PackedLimb)| u128::from(d[i]) * u128::from(k.get(i));
            *o = m.reduce_u128(digits.iter().zip(key).map(product).sum());
        }
    }
}

/// As [`dot2`], one factor per limb.
fn weighted_sum(m: &Modulus, out: &mut [u64], x: &[&[u64]], c: &[u64]) {
    for (i, o) in out.iter_mut().enumerate() {
        let product = |(x, &c): (&&[u64], &u64)| u128::from(x[i]) * u128::from(c);
        *o = m.reduce_u128(x.iter().zip(c).map(product).sum());
    }
}

/// As [`dot2`], every factor spread over a run of elements.
fn dot2_repeated(m: &Modulus, out: [&mut [u64]; 2], factors: &[&[u64]], limbs: [&[&[u64]]; 2], add: bool) {
    for (out, limbs) in out.into_iter().zip(limbs) {
        let run = out.len() / factors[0].len();
        for (i, o) in out.iter_mut().enumerate() {
            let product = |(f, x): (&&[u64], &&[u64])| u128::from(f[i / run]) * u128::from(x[i]);
            let start = if add { u128::from(*o) } else { 0 };
            *o = m.reduce_u128(start + factors.iter().zip(limbs).map(product).sum::<u128>());
        }
    }
}

fn sub_mul_scalar(m: &Modulus, out: &mut [u64], x: &[u64], r: &[u64], c: u64) {
    let cs = m.shoup(c);
    for ((o, &x), &r) in out.iter_mut().zip(x).zip(r) {
        *o = m.mul_shoup(m.sub(x, r), c, cs);
    }
}

fn sub_mul_scalar_add(m: &Modulus, out: &mut [u64], x: &[u64], r: &[u64], c: u64, d: &[u64]) {
    let cs = m.shoup(c);
    for (((o, &x), &r), &d) in out.iter_mut().zip(x).zip(r).zip(d) {
        *o = m.add(m.mul_shoup(m.sub(x, r), c, cs), d);
    }
}

fn product_tail(m: &Modulus, acc: &mut [u64], x: [&[u64]; 2], c: u64) {
    let cs = m.shoup(c);
    for ((o, &a), &b) in acc.iter_mut().zip(x[0]).zip(x[1]) {
        *o = m.mul_shoup(m.sub(m.mul(a, b), *o), c, cs);
    }
}

fn product_tail_add(m: &Modulus, acc: &mut [u64], x: [&[u64]; 2], c: u64, d: &[u64]) {
    product_tail(m, acc, x, c);
    add_assign(m, acc, d);
}

fn combine2_sub(m: &Modulus, out: &mut [u64], x: [&[u64]; 2], c: [u64; 2], s: &[u64]) {
    let cs = c.map(|c| m.shoup(c));
    for (((o, &a), &b), &s) in out.iter_mut().zip(x[0]).zip(x[1]).zip(s) {
        let sum = m.add(m.mul_shoup(a, c[0], cs[0]), m.mul_shoup(b, c[1], cs[1]));
        *o = m.sub(sum, s);
    }
}

fn reduce_centered(src: &[u64], m_src: &Modulus, dst: &mut [u64], m_dst: &Modulus) {
    for (d, &x) in dst.iter_mut().zip(src) {
        *d = m_dst.from_i64(m_src.center(x));
    }
}

fn reduce_signed(m: &Modulus, dst: &mut [u64], src: &[i64]) {
    let prime = m.value() as i64;
    let reciprocal = 1.0 / prime as f64;
    for (residue, &c) in dst.iter_mut().zip(src) {
        // The quotient is below 2^42, so its binary64 estimate is off by less than 2^-9 before truncation: the
        // remainder lies within (-2p, 2p).
        let mut r = c - (c as f64 * reciprocal) as i64 * prime;
        r += if r < 0 { prime } else { 0 };
        r += if r < 0 { prime } else { 0 };
        r -= if r >= prime { prime } else { 0 };
        *residue = r as u64;
    }
}

fn center_scaled(m: &Modulus, y: &mut [f64], src: &[u64], c: u64) {
    let cs = m.shoup(c);
    for (y, &x) in y.iter_mut().zip(src) {
        *y = m.center(m.mul_shoup(x, c, cs)) as f64;
    }
}

fn quotient(y: &[&[f64]], recips: &[f64], v: &mut [f64]) {
    for (i, v) in v.iter_mut().enumerate() {
        let mut sum = y[0][i] * recips[0];
        for (row, r) in y[1..].iter().zip(&recips[1..]) {
            sum += row[i] * r;
        }
        *v = sum.round_ties_even();
    }
}

/// At most 18 terms below `2^98`, so the sum fits an `i128` with room to spare.
fn combine(m: &Modulus, rows: &[&[f64]], coefficients: &[f64], dst: &mut [u64]) {
    let p = i128::from(m.value());
    for (i, d) in dst.iter_mut().enumerate() {
        let term = |(row, &c): (&&[f64], &f64)| i128::from(row[i] as i64) * i128::from(c as i64);
        let sum: i128 = rows.iter().zip(coefficients).map(term).sum();
        *d = sum.rem_euclid(p) as u64;
    }
}
