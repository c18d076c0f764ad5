//! Roots of unity with their 52-bit quotients.

use super::field::{self, Factor, Field};
use super::lanes::{LANES, Lanes};
use super::ntt::TAIL;
use crate::arith::{Modulus, NttTable};

/// Roots of three stages: one, two and four.
const ROOTS: usize = 7;
/// Vectors of roots by tail: the first root of each of the last three stages.
const VECTORS: usize = 3;
/// How many tails ahead their roots are asked for.
const AHEAD: usize = 8;

/// Both directions of one prime and one length.
#[derive(Debug)]
pub(in crate::arith) struct IfmaRoots {
    pub(super) forward: Roots,
    pub(super) inverse: Roots,
}

/// Roots with their quotients, `floor(2^52 root / p)`.
#[derive(Debug)]
pub(super) struct Roots {
    /// Entry `k` is `root^brv(k)`, for stages on more than eight elements.
    outer: Pairs,
    /// Roots of the last three stages, tail by tail, in the order in which they are read.
    inner: Pairs,
}

/// A root, or the product of two, by which values are multiplied one after the other.
#[derive(Clone, Copy)]
pub(super) struct Root<L: Lanes> {
    first: Factor<L>,
    then: Option<Factor<L>>,
}

impl<L: Lanes> Root<L> {
    /// `x` times the root, in `[0, 2p)`; `x < 2^52`.
    #[inline(always)]
    pub(super) fn times(self, f: Field<L>, x: L::Vector) -> L::Vector {
        let product = f.mul(x, self.first);
        self.then.map_or(product, |then| f.mul(product, then))
    }
}

#[derive(Debug)]
struct Pairs {
    w: Vec<u64>,
    quotient: Vec<u64>,
}

impl IfmaRoots {
    pub(in crate::arith) fn new(table: &NttTable) -> Self {
        let m = table.modulus();
        let roots = |root| Roots::new(m, &table.roots(root));
        Self { forward: roots(table.psi()), inverse: roots(m.inv(table.psi())) }
    }
}

impl Roots {
    fn new(m: &Modulus, w: &[u64]) -> Self {
        let blocks = w.len() / LANES;
        // Block `b` of eight elements has roots `k = blocks + b`, `2k` and `2k + 1`, `4k` to `4k + 3`: lane `b mod 8` of each vector. Those kept are
        // `k`, `2k` and `4k`; for `i < 4`, `root^brv(4k + i)` is `root^brv(4k)` times `root^brv(i)`, and so with `2k + 1`.
        let tail = |tail: usize| {
            let first = blocks + tail * LANES;
            [1, 2, 4].into_iter().flat_map(move |scale| (first..first + LANES).map(move |k| scale * k))
        };
        let inner = (0..w.len() / TAIL).flat_map(tail).map(|k| w[k]).collect();
        Self { outer: Pairs::new(m, w[..blocks].to_vec()), inner: Pairs::new(m, inner) }
    }

    /// Root `k` in all lanes.
    #[inline(always)]
    pub(super) fn one<L: Lanes>(&self, l: L, k: usize) -> Root<L> {
        Root { first: self.splat(l, k), then: None }
    }

    #[inline(always)]
    fn splat<L: Lanes>(&self, l: L, k: usize) -> Factor<L> {
        Factor { w: l.splat(self.outer.w[k]), quotient: l.splat(self.outer.quotient[k]) }
    }

    /// Roots of three stages of a block: `k`, then `2k`, `4k` and `4k + 1`, then `2k + 1`, `4k + 2` and `4k + 3`.
    #[inline(always)]
    pub(super) fn three_stages<L: Lanes>(&self, l: L, k: usize) -> [Root<L>; ROOTS] {
        [
            self.one(l, k),
            self.one(l, 2 * k),
            self.one(l, 4 * k),
            self.one(l, 4 * k + 1),
            self.one(l, 2 * k + 1),
            self.one(l, 4 * k + 2),
            self.one(l, 4 * k + 3),
        ]
    }

    /// The same of the last three stages of a tail, each lane those of its own eight elements. Tables of all primes exceed a cache, so
    /// four of the seven are products: reading them would take longer than multiplying twice.
    #[inline(always)]
    pub(super) fn last_stages<L: Lanes>(&self, l: L, tail: usize) -> [Root<L>; ROOTS] {
        let range = tail * VECTORS * LANES..(tail + 1) * VECTORS * LANES;
        for i in 0..VECTORS {
            l.prefetch(&self.inner.w, range.start + (AHEAD * VECTORS + i) * LANES);
            l.prefetch(&self.inner.quotient, range.start + (AHEAD * VECTORS + i) * LANES);
        }
        let (w, quotient) = (&self.inner.w[range.clone()], &self.inner.quotient[range]);
        let kept = |i: usize| Factor { w: l.load(&w[i * LANES..]), quotient: l.load(&quotient[i * LANES..]) };
        let (k, twice, fourfold) = (kept(0), kept(1), kept(2));
        let plain = |first| Root { first, then: None };
        let times = |first, i| Root { first, then: Some(self.splat(l, i)) };
        [
            plain(k),
            plain(twice),
            plain(fourfold),
            times(fourfold, 1),
            times(twice, 1),
            times(fourfold, 2),
            times(fourfold, 3),
        ]
    }
}

impl Pairs {
    fn new(m: &Modulus, w: Vec<u64>) -> Self {
        Self { quotient: w.iter().map(|&w| field::quotient(m, w)).collect(), w }
    }
}
