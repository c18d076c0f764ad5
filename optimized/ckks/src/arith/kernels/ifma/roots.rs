//! Roots of unity with their 52-bit quotients.

use super::field::{self, Factor};
use super::lanes::{Lanes, Pattern};
use crate::arith::{Modulus, NttTable};

/// Both directions of one prime and one length.
#[derive(Debug)]
pub(in crate::arith) struct IfmaRoots {
    pub(super) forward: Roots,
    pub(super) inverse: Roots,
}

/// Entry `k` is `root^brv(k)`, and `floor(2^52 root^brv(k) / p)`.
#[derive(Debug)]
pub(super) struct Roots {
    w: Vec<u64>,
    quotient: Vec<u64>,
}

impl IfmaRoots {
    pub(in crate::arith) fn new(table: &NttTable) -> Self {
        let m = table.modulus();
        let roots = |root| Roots::new(m, table.roots(root));
        Self { forward: roots(table.psi()), inverse: roots(m.inv(table.psi())) }
    }
}

impl Roots {
    fn new(m: &Modulus, w: Vec<u64>) -> Self {
        Self { quotient: w.iter().map(|&w| field::quotient(m, w)).collect(), w }
    }

    /// Root `k` in all lanes.
    #[inline(always)]
    pub(super) fn one<L: Lanes>(&self, l: L, k: usize) -> Factor<L> {
        Factor { w: l.splat(self.w[k]), quotient: l.splat(self.quotient[k]) }
    }

    /// Roots `k` to `k + count - 1`, arranged by `pattern`.
    #[inline(always)]
    pub(super) fn several<L: Lanes>(&self, l: L, k: usize, count: usize, pattern: &Pattern) -> Factor<L> {
        let (w, quotient) = (l.load(&self.w[k..k + count]), l.load(&self.quotient[k..k + count]));
        Factor { w: l.permute(w, w, pattern), quotient: l.permute(quotient, quotient, pattern) }
    }
}
