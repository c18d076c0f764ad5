//! Roots of unity with their 52-bit quotients.

use super::field::{self, Factor};
use super::lanes::{LANES, Lanes};
use super::ntt::TAIL;
use crate::arith::{Modulus, NttTable};

/// Vectors of roots by tail: one for the stage on eight elements, two and four for those on four and two.
const VECTORS: usize = 7;

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
        // Block `b` of eight elements has roots `k = blocks + b`, `2k` and `2k + 1`, `4k` to `4k + 3`: lane `b mod 8` of each vector.
        let tail = |tail: usize| {
            let first = blocks + tail * LANES;
            let vector = move |scale: usize, offset: usize| (first..first + LANES).map(move |k| scale * k + offset);
            [(1, 0), (2, 0), (4, 0), (4, 1), (2, 1), (4, 2), (4, 3)].into_iter().flat_map(move |(s, o)| vector(s, o))
        };
        let inner = (0..w.len() / TAIL).flat_map(tail).map(|k| w[k]).collect();
        Self { outer: Pairs::new(m, w[..blocks].to_vec()), inner: Pairs::new(m, inner) }
    }

    /// Root `k` in all lanes.
    #[inline(always)]
    pub(super) fn one<L: Lanes>(&self, l: L, k: usize) -> Factor<L> {
        Factor { w: l.splat(self.outer.w[k]), quotient: l.splat(self.outer.quotient[k]) }
    }

    /// Roots of three stages of a block: `k`, then `2k`, `4k` and `4k + 1`, then `2k + 1`, `4k + 2` and `4k + 3`.
    #[inline(always)]
    pub(super) fn three_stages<L: Lanes>(&self, l: L, k: usize) -> [Factor<L>; VECTORS] {
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

    /// The same of the last three stages of a tail, each lane those of its own eight elements.
    #[inline(always)]
    pub(super) fn last_stages<L: Lanes>(&self, l: L, tail: usize) -> [Factor<L>; VECTORS] {
        let range = tail * VECTORS * LANES..(tail + 1) * VECTORS * LANES;
        let (w, quotient) = (&self.inner.w[range.clone()], &self.inner.quotient[range]);
        let mut out = [Factor { w: l.splat(0), quotient: l.splat(0) }; VECTORS];
        for (i, out) in out.iter_mut().enumerate() {
            *out = Factor { w: l.load(&w[i * LANES..]), quotient: l.load(&quotient[i * LANES..]) };
        }
        out
    }
}

impl Pairs {
    fn new(m: &Modulus, w: Vec<u64>) -> Self {
        Self { quotient: w.iter().map(|&w| field::quotient(m, w)).collect(), w }
    }
}
