//! Roots of unity in the layout of the FMA kernels.

use super::plan::Plan;
use crate::arith::{Modulus, NttTable};

/// Elements per group of the tail of a transform.
pub(super) const TAIL: usize = 16;
/// `log2` of the contiguous block finished in the first-level cache.
const BLOCK_LOG_N: u32 = 12;

/// Both directions of one prime and one length, with the plan of reductions.
#[derive(Debug)]
pub(in crate::arith) struct FmaRoots {
    pub(super) plan: Plan,
    /// Stages done on columns of the limb seen as a matrix of `2^head` rows; the rest run on contiguous blocks.
    /// Its parity is that of `log2 N`, so that all passes but at most one are radix-4.
    pub(super) head: u32,
    pub(super) forward: Roots,
    pub(super) inverse: Roots,
}

/// Centred roots of one direction.
#[derive(Debug)]
pub(super) struct Roots {
    /// Entry `k` is `root^brv(k)` with its quotient by `p`; the first `N/16` serve all stages before the tail.
    pub(super) main: Vec<[f64; 2]>,
    /// The last four stages, one entry per 16 elements.
    pub(super) tail: Vec<TailRoots>,
}

/// Roots of the last four stages on 16 consecutive elements (number `g`, `k = N/16 + g`). The inner ones come without
/// quotients: there are as many of them as residues, and reading twice as many costs more than it saves.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(16))]
pub(super) struct TailRoots {
    /// Entries `k`, `2k`, `2k + 1` with their quotients: strides 8 and 4.
    pub(super) outer: [[f64; 2]; 3],
    /// Entries `4k + i`: stride 2.
    pub(super) w1: [f64; 4],
    /// Entries `2 (4k + i)`: stride 1, first pair.
    pub(super) w2: [f64; 4],
    /// Entries `2 (4k + i) + 1`: stride 1, second pair.
    pub(super) w3: [f64; 4],
}

impl FmaRoots {
    /// Lays out the roots of `table`, whose `log2 N` is at least 5.
    pub(in crate::arith) fn new(table: &NttTable) -> Self {
        let m = table.modulus();
        let log_n = table.log_n();
        let odd = log_n % 2;
        let passes = (log_n - TAIL.trailing_zeros()) / 2;
        Self {
            plan: Plan::new(m, passes as usize, odd == 1),
            head: log_n.saturating_sub(BLOCK_LOG_N).max(2 - odd),
            forward: Roots::new(m, &table.roots(table.psi())),
            inverse: Roots::new(m, &table.roots(m.inv(table.psi()))),
        }
    }
}

impl Roots {
    /// The roots of the last four stages of `len` elements whose outermost stage has root `first`.
    pub(super) fn tail_of(&self, first: usize, len: usize) -> &[TailRoots] {
        let groups = len / TAIL;
        &self.tail[first * groups - self.tail.len()..][..groups]
    }

    fn new(m: &Modulus, roots: &[u64]) -> Self {
        let groups = roots.len() / TAIL;
        let root = |k: usize| m.center(roots[k]) as f64;
        let pair = |k: usize| [root(k), root(k) / m.value() as f64];
        let four = |f: &dyn Fn(usize) -> usize| [0, 1, 2, 3].map(|i| root(f(i)));
        let tail = |k: usize| TailRoots {
            outer: [pair(k), pair(2 * k), pair(2 * k + 1)],
            w1: four(&|i| 4 * k + i),
            w2: four(&|i| 2 * (4 * k + i)),
            w3: four(&|i| 2 * (4 * k + i) + 1),
        };
        Self { main: (0..groups).map(pair).collect(), tail: (groups..2 * groups).map(tail).collect() }
    }
}
