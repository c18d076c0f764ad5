//! Forward and inverse transforms.
//!
//! A limb of `N = 2^16` doubles fills the second-level cache, so it is swept as rarely as possible. Seen as a
//! matrix of `2^head` rows, the *head* runs the outermost stages on eight columns at a time (one cache line per row,
//! gathered into a small tile); the *blocks* then are contiguous and run all remaining stages, quarter by quarter after the first
//! two, so that a quarter stays in the first-level cache. The last four stages of a block form the *tail*: groups of 16 elements, the two innermost
//! stages on transposed 4 by 4 squares. The inverse runs the same pieces in reverse order.
//!
//! Between passes the limb holds doubles; the first pass converts from canonical residues, the last one back.

use std::arch::x86_64::*;

use super::grid::Grid;
use super::lanes::{Factor, Field, LANES, to_u64, transpose};
use super::plan::inverse;
use super::roots::{FmaRoots, Roots, TAIL, TailRoots};
use crate::arith::kernels::Finish;
use crate::arith::{Modulus, NttTable};

/// Elements that stay in the first-level cache, roots beside them, for several passes.
const CACHED: usize = 1 << 10;
/// Columns of a head tile: one cache line.
const TILE_COLUMNS: usize = 8;
/// Columns ahead of a head tile that are fetched while it is computed.
const AHEAD: usize = 2 * TILE_COLUMNS;
/// Rows of the largest head (`log2 N = 17`).
const TILE_ROWS: usize = 128;

/// Storage for one head tile.
#[repr(C, align(64))]
struct Tile([f64; TILE_ROWS * TILE_COLUMNS]);

/// What the last inverse pass leaves behind.
#[derive(Clone, Copy, PartialEq)]
enum Output {
    /// Canonical residues as `u64`.
    Canonical,
    /// Centred representatives as `f64`.
    Centred,
}

/// What the first pass of a forward transform reads.
mod input {
    /// Doubles of the pass before.
    pub const PLAIN: u8 = 0;
    /// Canonical residues.
    pub const RESIDUES: u8 = 1;
    /// Integers in doubles that exceed `p`, to be reduced.
    pub const WIDE: u8 = 2;
}

/// Forward transform in place. `a.len()` is the table's `N >= 32`.
#[target_feature(enable = "avx2,fma")]
pub(super) fn forward(table: &NttTable, a: &mut [u64]) {
    debug_assert_eq!(a.len(), table.n());
    let work = a.as_mut_ptr().cast::<f64>();
    // SAFETY: `work` is `a`, borrowed mutably for the whole call and of length `N`; `f64` and `u64` agree in size
    // and alignment, and every bit pattern is valid for both.
    unsafe { forward_passes(table, work, work, input::RESIDUES, &mut |_, _| {}) }
}

/// Forward transform of the integers `src`, of magnitude at most `bound <= 2^53`, to `out`; lengths as above. The plan of reductions
/// starts from magnitude `p`; larger integers are reduced as they are read.
#[target_feature(enable = "avx2,fma")]
pub(super) fn forward_integers(table: &NttTable, out: &mut [u64], src: &[f64], bound: f64, finish: Finish) {
    debug_assert!(out.len() == table.n() && src.len() == table.n());
    let input = if bound <= table.modulus().value() as f64 { input::PLAIN } else { input::WIDE };
    let src = src.as_ptr().cast_mut();
    // SAFETY: both slices have length `N` and stay borrowed for the whole call; `src` is only read.
    unsafe { forward_passes(table, src, out.as_mut_ptr().cast(), input, finish) }
}

/// # Safety
/// `src` and `start` point to `N` elements each, the same or disjoint; the caller may read `src` and access `start`.
#[target_feature(enable = "avx2,fma")]
unsafe fn forward_passes(table: &NttTable, src: *mut f64, start: *mut f64, input: u8, finish: Finish) {
    let fma = table.fma_roots();
    let f = Field::new(table.modulus());
    let (n, rows) = (table.n(), 1usize << fma.head);
    let passes = fma.head as usize / 2;
    // SAFETY: the grids below cover exactly the `n` elements of `src` and `start`, or the tile; all accesses stay inside by
    // `Grid`'s contract. No reference to a block outlives `finish`.
    unsafe {
        forward_head(f, fma, src, start, n, input);
        let len = n / rows;
        for b in 0..rows {
            let block = start.add(b * len);
            let reductions = &fma.plan.forward[passes..];
            let (outer, inner) = reductions.split_at(if len > CACHED { 1 } else { 0 });
            for &reduce in outer {
                let grid = Grid::block(block, len, 4);
                forward_pass(f, &fma.forward.main, rows + b, 1, grid, grid, reduce, input::PLAIN);
            }
            let parts = 1 << (2 * outer.len());
            for part in b * parts..(b + 1) * parts {
                let (first, len) = (rows * parts + part, len / parts);
                let block = start.add(part * len);
                forward_block(f, fma, inner, first, block, len);
                finish(part * len, std::slice::from_raw_parts_mut(block.cast::<u64>(), len));
            }
        }
    }
}

/// All stages left on `len` elements that stay in the first-level cache; `first` is the root of the outermost one.
///
/// # Safety
/// `block` points to `len` elements the caller may read and write.
#[target_feature(enable = "avx2,fma")]
unsafe fn forward_block(f: Field, fma: &FmaRoots, reductions: &[bool], first: usize, block: *mut f64, len: usize) {
    let mut m = 1;
    // SAFETY: the grids cover the block.
    unsafe {
        for &reduce in reductions {
            let grid = Grid::block(block, len, 4 * m);
            forward_pass(f, &fma.forward.main, first * m, m, grid, grid, reduce, input::PLAIN);
            m *= 4;
        }
        let tail = fma.forward.tail_of(first, len);
        match fma.plan.forward_tail {
            false => forward_tail::<false>(f, tail, block),
            true => forward_tail::<true>(f, tail, block),
        }
    }
}

/// The outermost `head` stages, from `from` to `start`.
///
/// # Safety
/// As [`forward_passes`].
#[target_feature(enable = "avx2,fma")]
unsafe fn forward_head(f: Field, fma: &FmaRoots, from: *mut f64, start: *mut f64, n: usize, input: u8) {
    let rows = 1usize << fma.head;
    let stride = n / rows;
    let roots = &fma.forward.main;
    let odd = fma.head as usize % 2;
    let steps = fma.head as usize / 2 + odd;
    let columns = if steps == 1 { stride } else { TILE_COLUMNS };
    let mut tile = Tile([0.0; TILE_ROWS * TILE_COLUMNS]);
    let inner = Grid { start: tile.0.as_mut_ptr(), rows, stride: TILE_COLUMNS, columns: TILE_COLUMNS };
    for column in (0..stride).step_by(columns) {
        // SAFETY: `column < stride <= n`.
        let [first, outer] = [from, start].map(|p| Grid { start: unsafe { p.add(column) }, rows, stride, columns });
        if steps > 1 {
            first.fetch(AHEAD);
        }
        for step in 0..steps {
            let (src, input) = if step == 0 { (first, input) } else { (inner, input::PLAIN) };
            let dst = if step == steps - 1 { outer } else { inner };
            // SAFETY: `first` and `outer` lie inside the `n` elements, `inner` inside the tile.
            unsafe {
                if step < odd {
                    forward_pair(f, roots[1], src, dst, input);
                } else {
                    let m = 1 << (2 * (step - odd) + odd);
                    let reduce = fma.plan.forward[step - odd];
                    forward_pass(f, roots, m, m, src, dst, reduce, input);
                }
            }
        }
    }
}

/// Reads what `INPUT` says, as doubles of magnitude at most `p`.
///
/// # Safety
/// As [`Grid::load`].
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn read<const INPUT: u8>(f: Field, src: Grid, row: usize, column: usize) -> __m256d {
    // SAFETY: forwarded.
    unsafe {
        match INPUT {
            input::RESIDUES => src.load::<true>(row, column),
            input::WIDE => f.reduce(src.load::<false>(row, column)),
            _ => src.load::<false>(row, column),
        }
    }
}

/// Radix-2 pass over the first stage.
///
/// # Safety
/// As [`Grid::load`] for all of `src` and `dst`.
#[target_feature(enable = "avx2,fma")]
unsafe fn forward_pair(f: Field, root: [f64; 2], src: Grid, dst: Grid, input: u8) {
    // SAFETY: forwarded.
    unsafe {
        match input {
            input::RESIDUES => forward_pair_rows::<{ input::RESIDUES }>(f, root, src, dst),
            input::WIDE => forward_pair_rows::<{ input::WIDE }>(f, root, src, dst),
            _ => forward_pair_rows::<{ input::PLAIN }>(f, root, src, dst),
        }
    }
}

/// See [`forward_pair`].
///
/// # Safety
/// As [`forward_pair`].
#[target_feature(enable = "avx2,fma")]
unsafe fn forward_pair_rows<const INPUT: u8>(f: Field, root: [f64; 2], src: Grid, dst: Grid) {
    let w = Factor::new(root);
    let half = src.rows / 2;
    for row in 0..half {
        for column in (0..src.columns).step_by(LANES) {
            // SAFETY: rows and columns are below the bounds of the grids.
            unsafe {
                let x = read::<INPUT>(f, src, row, column);
                let t = f.mul_factor(read::<INPUT>(f, src, row + half, column), w);
                dst.store(row, column, _mm256_add_pd(x, t));
                dst.store(row + half, column, _mm256_sub_pd(x, t));
            }
        }
    }
}

/// Two stages on `m` groups of rows; group `i` uses roots `k + i`, `2 (k + i)`, `2 (k + i) + 1`.
///
/// # Safety
/// As [`Grid::load`] for all of `src` and `dst`.
#[expect(clippy::too_many_arguments, reason = "one pass is described by its roots, its two grids and two switches")]
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn forward_pass(
    f: Field,
    roots: &[[f64; 2]],
    k: usize,
    m: usize,
    src: Grid,
    dst: Grid,
    reduce: bool,
    input: u8,
) {
    // SAFETY: forwarded.
    unsafe {
        match (reduce, input) {
            (false, input::PLAIN) => forward_rows::<false, { input::PLAIN }>(f, roots, k, m, src, dst),
            (true, input::PLAIN) => forward_rows::<true, { input::PLAIN }>(f, roots, k, m, src, dst),
            (false, input::RESIDUES) => forward_rows::<false, { input::RESIDUES }>(f, roots, k, m, src, dst),
            (true, input::RESIDUES) => forward_rows::<true, { input::RESIDUES }>(f, roots, k, m, src, dst),
            // Reduced already.
            (_, _) => forward_rows::<false, { input::WIDE }>(f, roots, k, m, src, dst),
        }
    }
}

/// See [`forward_pass`].
///
/// # Safety
/// As [`forward_pass`].
#[target_feature(enable = "avx2,fma")]
unsafe fn forward_rows<const REDUCE: bool, const INPUT: u8>(
    f: Field,
    roots: &[[f64; 2]],
    k: usize,
    m: usize,
    src: Grid,
    dst: Grid,
) {
    let quarter = src.rows / (4 * m);
    for i in 0..m {
        let w = factors(roots[k + i], roots[2 * (k + i)], roots[2 * (k + i) + 1]);
        for r in 0..quarter {
            let row = 4 * quarter * i + r;
            for column in (0..src.columns).step_by(LANES) {
                // SAFETY: rows are below `4 quarter m = rows`, columns below `columns`.
                unsafe {
                    let x = [0, 1, 2, 3].map(|j| read::<INPUT>(f, src, row + j * quarter, column));
                    let z = forward_four::<REDUCE>(f, x, |x, i| f.mul_factor(x, w[i]));
                    for (j, z) in z.into_iter().enumerate() {
                        dst.store(row + j * quarter, column, z);
                    }
                }
            }
        }
    }
}

/// The forward radix-4 butterfly; bounds in `plan`.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn forward_four<const REDUCE: bool>(
    f: Field,
    x: [__m256d; 4],
    mul: impl Fn(__m256d, usize) -> __m256d,
) -> [__m256d; 4] {
    let x0 = if REDUCE { f.reduce(x[0]) } else { x[0] };
    let t2 = mul(x[2], 0);
    let t3 = mul(x[3], 0);
    let y0 = _mm256_add_pd(x0, t2);
    let y2 = _mm256_sub_pd(x0, t2);
    let t1 = mul(_mm256_add_pd(x[1], t3), 1);
    let t3 = mul(_mm256_sub_pd(x[1], t3), 2);
    [_mm256_add_pd(y0, t1), _mm256_sub_pd(y0, t1), _mm256_add_pd(y2, t3), _mm256_sub_pd(y2, t3)]
}

/// The last four stages of a block; leaves canonical residues.
///
/// # Safety
/// `block` points to `16 tail.len()` elements the caller may read and write.
#[target_feature(enable = "avx2,fma")]
unsafe fn forward_tail<const REDUCE: bool>(f: Field, tail: &[TailRoots], block: *mut f64) {
    // Three sweeps, not one: a butterfly is a long chain of dependent operations, and several chains in a row exceed
    // what the processor can overlap with the next group.
    // SAFETY: group `g` covers elements `16 g .. 16 g + 16` of the block, `line` all of it.
    unsafe {
        for (g, roots) in tail.iter().enumerate() {
            let grid = Grid::block(block.add(TAIL * g), TAIL, 4);
            let x = [0, 1, 2, 3].map(|j| grid.load::<false>(j, 0));
            let w = outer_factors(roots);
            let z = forward_four::<REDUCE>(f, x, |x, i| f.mul_factor(x, w[i]));
            for (j, z) in z.into_iter().enumerate() {
                grid.store(j, 0, z);
            }
        }
        for (g, roots) in tail.iter().enumerate() {
            let grid = Grid::block(block.add(TAIL * g), TAIL, 4);
            let x = transpose([0, 1, 2, 3].map(|j| grid.load::<false>(j, 0)));
            let w = inner_roots(roots);
            let z = forward_four::<REDUCE>(f, x, |x, i| f.mul_fixed(x, w[i]));
            for (j, z) in transpose(z).into_iter().enumerate() {
                grid.store(j, 0, z);
            }
        }
        let line = Grid::block(block, TAIL * tail.len(), 1);
        for column in (0..line.columns).step_by(LANES) {
            let z = f.canonical(line.load::<false>(0, column));
            line.store(0, column, _mm256_castsi256_pd(to_u64(z)));
        }
    }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn factors(w1: [f64; 2], w2: [f64; 2], w3: [f64; 2]) -> [Factor; 3] {
    [Factor::new(w1), Factor::new(w2), Factor::new(w3)]
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn outer_factors(roots: &TailRoots) -> [Factor; 3] {
    factors(roots.outer[0], roots.outer[1], roots.outer[2])
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn inner_roots(roots: &TailRoots) -> [__m256d; 3] {
    // SAFETY: each array holds four doubles.
    [&roots.w1, &roots.w2, &roots.w3].map(|w| unsafe { _mm256_loadu_pd(w.as_ptr()) })
}

/// Inverse transform in place, times `c`. `a.len()` is the table's `N >= 32`, `c` a canonical residue.
#[target_feature(enable = "avx2,fma")]
pub(super) fn inverse_scaled(table: &NttTable, a: &mut [u64], c: u64) {
    let work = a.as_mut_ptr().cast::<f64>();
    // SAFETY: `work` is `a`, borrowed mutably for the whole call and of length `N`; `f64` and `u64` agree in size
    // and alignment, and every bit pattern is valid for both.
    unsafe { inverse_passes(table, work, work, c, Output::Canonical) }
}

/// Inverse transform of `a`, times `c`, as centred representatives in `y`; lengths and `c` as above.
#[target_feature(enable = "avx2,fma")]
pub(super) fn inverse_center(table: &NttTable, y: &mut [f64], a: &[u64], c: u64) {
    let src = a.as_ptr().cast::<f64>().cast_mut();
    // SAFETY: both slices have length `N` and stay borrowed for the whole call; `src` is only read.
    unsafe { inverse_passes(table, src, y.as_mut_ptr(), c, Output::Centred) }
}

/// # Safety
/// `src` and `work` point to `N` elements each, the same or disjoint; the caller may read `src` and access `work`.
#[target_feature(enable = "avx2,fma")]
unsafe fn inverse_passes(table: &NttTable, src: *mut f64, work: *mut f64, c: u64, output: Output) {
    let fma = table.fma_roots();
    let f = Field::new(table.modulus());
    let (n, rows) = (table.n(), 1usize << fma.head);
    let len = n / rows;
    let (modes, _) = fma.plan.inverse.split_at(fma.plan.inverse.len() - fma.head as usize / 2);
    let (inner, outer) = modes.split_at(modes.len() - if len > CACHED { 1 } else { 0 });
    let parts = 1 << (2 * outer.len());
    // SAFETY: blocks `b len .. (b + 1) len` cover the `n` elements.
    unsafe {
        for b in 0..rows {
            for part in b * parts..(b + 1) * parts {
                let (first, len) = (rows * parts + part, len / parts);
                inverse_block(f, fma, inner, first, src.add(part * len), work.add(part * len), len);
            }
            for &mode in outer {
                let grid = Grid::block(work.add(b * len), len, 4);
                inverse_pass(f, &fma.inverse.main, rows + b, 1, grid, grid, mode);
            }
        }
        inverse_head(f, table, work, table.scaled_n_inverse(c), output);
    }
}

/// Mirror of [`forward_block`], from `src` to `block`.
///
/// # Safety
/// `src` and `block` point to `len` elements each that the caller may read, `block` also for writing.
#[target_feature(enable = "avx2,fma")]
unsafe fn inverse_block(
    f: Field,
    fma: &FmaRoots,
    modes: &[u8],
    first: usize,
    src: *mut f64,
    block: *mut f64,
    len: usize,
) {
    // SAFETY: the grids cover the block.
    unsafe {
        inverse_tail(f, fma.inverse.tail_of(first, len), src, block, fma.plan.inverse_tail);
        let mut m = len / TAIL;
        for &mode in modes {
            m /= 4;
            let grid = Grid::block(block, len, 4 * m);
            inverse_pass(f, &fma.inverse.main, first * m, m, grid, grid, mode);
        }
    }
}

/// The outermost stages and the multiplication by `scale`.
///
/// # Safety
/// `start` points to `N` elements the caller may read and write.
#[target_feature(enable = "avx2,fma")]
unsafe fn inverse_head(f: Field, table: &NttTable, start: *mut f64, scale: u64, output: Output) {
    let fma = table.fma_roots();
    let rows = 1usize << fma.head;
    let stride = table.n() / rows;
    let (odd, passes) = (fma.head as usize % 2, fma.head as usize / 2);
    let modes = &fma.plan.inverse[fma.plan.inverse.len() - passes..];
    let mode = |step: usize| modes.get(step).copied().unwrap_or(inverse::NONE);
    let steps = passes + odd;
    let last = LastRoots::new(table.modulus(), &fma.inverse, scale);
    let columns = if steps == 1 { stride } else { TILE_COLUMNS };
    let mut tile = Tile([0.0; TILE_ROWS * TILE_COLUMNS]);
    let inner = Grid { start: tile.0.as_mut_ptr(), rows, stride: TILE_COLUMNS, columns: TILE_COLUMNS };
    for column in (0..stride).step_by(columns) {
        // SAFETY: `column < stride <= n`.
        let outer = Grid { start: unsafe { start.add(column) }, rows, stride, columns };
        if steps > 1 {
            outer.fetch(AHEAD);
        }
        for step in 0..steps {
            let src = if step == 0 { outer } else { inner };
            let dst = if step == steps - 1 { outer } else { inner };
            // SAFETY: `outer` lies inside the `n` elements, `inner` inside the tile.
            unsafe {
                if step < steps - 1 {
                    let m = rows >> (2 * step + 2);
                    inverse_pass(f, &fma.inverse.main, m, m, src, dst, mode(step));
                } else if odd == 1 {
                    inverse_pair(f, &last, src, dst, output);
                } else {
                    inverse_last(f, &last, src, dst, mode(step), output);
                }
            }
        }
    }
}

/// Mirror of [`forward_pass`].
///
/// # Safety
/// As [`Grid::load`] for all of `src` and `dst`.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn inverse_pass(f: Field, roots: &[[f64; 2]], k: usize, m: usize, src: Grid, dst: Grid, mode: u8) {
    // SAFETY: forwarded.
    unsafe {
        match mode {
            inverse::NONE => inverse_rows::<{ inverse::NONE }>(f, roots, k, m, src, dst),
            inverse::SUM => inverse_rows::<{ inverse::SUM }>(f, roots, k, m, src, dst),
            inverse::SUMS => inverse_rows::<{ inverse::SUMS }>(f, roots, k, m, src, dst),
            _ => inverse_rows::<{ inverse::EARLY }>(f, roots, k, m, src, dst),
        }
    }
}

/// See [`inverse_pass`].
///
/// # Safety
/// As [`inverse_pass`].
#[target_feature(enable = "avx2,fma")]
unsafe fn inverse_rows<const MODE: u8>(f: Field, roots: &[[f64; 2]], k: usize, m: usize, src: Grid, dst: Grid) {
    let quarter = src.rows / (4 * m);
    for i in 0..m {
        let w = factors(roots[k + i], roots[2 * (k + i)], roots[2 * (k + i) + 1]);
        for r in 0..quarter {
            let row = 4 * quarter * i + r;
            for column in (0..src.columns).step_by(LANES) {
                // SAFETY: rows are below `4 quarter m = rows`, columns below `columns`.
                unsafe {
                    let x = [0, 1, 2, 3].map(|j| src.load::<false>(row + j * quarter, column));
                    let z = inverse_four::<MODE>(f, x, |x, i| f.mul_factor(x, w[i]));
                    for (j, z) in z.into_iter().enumerate() {
                        dst.store(row + j * quarter, column, z);
                    }
                }
            }
        }
    }
}

/// The inverse radix-4 butterfly; bounds in `plan`.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn inverse_four<const MODE: u8>(f: Field, x: [__m256d; 4], mul: impl Fn(__m256d, usize) -> __m256d) -> [__m256d; 4] {
    let [y0, y1, y2, y3] = inverse_inner::<MODE>(f, x, &mul);
    let z0 = _mm256_add_pd(y0, y2);
    let z1 = _mm256_add_pd(y1, y3);
    [
        if MODE == inverse::SUM || MODE == inverse::SUMS { f.reduce(z0) } else { z0 },
        if MODE == inverse::SUMS || MODE == inverse::EARLY { f.reduce(z1) } else { z1 },
        mul(_mm256_sub_pd(y0, y2), 0),
        mul(_mm256_sub_pd(y1, y3), 0),
    ]
}

/// The inner of the two stages of an inverse butterfly.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn inverse_inner<const MODE: u8>(f: Field, x: [__m256d; 4], mul: impl Fn(__m256d, usize) -> __m256d) -> [__m256d; 4] {
    let y0 = _mm256_add_pd(x[0], x[1]);
    let y2 = _mm256_add_pd(x[2], x[3]);
    [
        if MODE == inverse::EARLY { f.reduce(y0) } else { y0 },
        mul(_mm256_sub_pd(x[0], x[1]), 1),
        if MODE == inverse::EARLY { f.reduce(y2) } else { y2 },
        mul(_mm256_sub_pd(x[2], x[3]), 2),
    ]
}

/// The last four stages run first; reads canonical residues.
///
/// # Safety
/// `src` and `block` point to `16 tail.len()` elements the caller may read, `block` also for writing.
#[target_feature(enable = "avx2,fma")]
unsafe fn inverse_tail(f: Field, tail: &[TailRoots], src: *mut f64, block: *mut f64, mode: u8) {
    // SAFETY: forwarded.
    unsafe {
        match mode {
            inverse::NONE => inverse_groups::<{ inverse::NONE }>(f, tail, src, block),
            inverse::SUM => inverse_groups::<{ inverse::SUM }>(f, tail, src, block),
            inverse::SUMS => inverse_groups::<{ inverse::SUMS }>(f, tail, src, block),
            _ => inverse_groups::<{ inverse::EARLY }>(f, tail, src, block),
        }
    }
}

/// See [`inverse_tail`].
///
/// # Safety
/// As [`inverse_tail`].
#[target_feature(enable = "avx2,fma")]
unsafe fn inverse_groups<const MODE: u8>(f: Field, tail: &[TailRoots], src: *mut f64, block: *mut f64) {
    // SAFETY: group `g` covers elements `16 g .. 16 g + 16` of the block.
    unsafe {
        for (g, roots) in tail.iter().enumerate() {
            let src = Grid::block(src.add(TAIL * g), TAIL, 4);
            let dst = Grid::block(block.add(TAIL * g), TAIL, 4);
            let x = transpose([0, 1, 2, 3].map(|j| src.load::<true>(j, 0)));
            let w = inner_roots(roots);
            let z = transpose(inverse_four::<MODE>(f, x, |x, i| f.mul_fixed(x, w[i])));
            for (j, z) in z.into_iter().enumerate() {
                dst.store(j, 0, z);
            }
        }
        for (g, roots) in tail.iter().enumerate() {
            let grid = Grid::block(block.add(TAIL * g), TAIL, 4);
            let x = [0, 1, 2, 3].map(|j| grid.load::<false>(j, 0));
            let w = outer_factors(roots);
            let z = inverse_four::<MODE>(f, x, |x, i| f.mul_factor(x, w[i]));
            for (j, z) in z.into_iter().enumerate() {
                grid.store(j, 0, z);
            }
        }
    }
}

/// Constants of the last inverse pass, with the factor `scale` folded in.
struct LastRoots {
    /// Roots 2 and 3; unused when the last pass is radix-2.
    inner: [Factor; 2],
    /// Root 1 times `scale`.
    outer: Factor,
    scale: Factor,
}

impl LastRoots {
    #[target_feature(enable = "avx2,fma")]
    fn new(m: &Modulus, roots: &Roots, scale: u64) -> Self {
        let root = |k: usize| Factor::new(roots.main.get(k).copied().unwrap_or_default());
        let factor = |c: u64| {
            let w = m.center(c) as f64;
            Factor::new([w, w / m.value() as f64])
        };
        let outer = m.mul(m.from_i64(roots.main[1][0] as i64), scale);
        Self { inner: [root(2), root(3)], outer: factor(outer), scale: factor(scale) }
    }
}

/// The final butterfly of radix 4, every output times `scale`.
///
/// # Safety
/// As [`Grid::load`] for all of `src` and `dst`.
#[target_feature(enable = "avx2,fma")]
unsafe fn inverse_last(f: Field, last: &LastRoots, src: Grid, dst: Grid, mode: u8, output: Output) {
    // SAFETY: forwarded.
    unsafe {
        match (mode, output) {
            (inverse::NONE, Output::Canonical) => inverse_last_rows::<{ inverse::NONE }, false>(f, last, src, dst),
            (inverse::NONE, Output::Centred) => inverse_last_rows::<{ inverse::NONE }, true>(f, last, src, dst),
            (_, Output::Canonical) => inverse_last_rows::<{ inverse::EARLY }, false>(f, last, src, dst),
            (_, Output::Centred) => inverse_last_rows::<{ inverse::EARLY }, true>(f, last, src, dst),
        }
    }
}

/// See [`inverse_last`].
///
/// # Safety
/// As [`inverse_last`].
#[target_feature(enable = "avx2,fma")]
unsafe fn inverse_last_rows<const MODE: u8, const CENTRED: bool>(f: Field, last: &LastRoots, src: Grid, dst: Grid) {
    let quarter = src.rows / 4;
    let w = [last.outer, last.inner[0], last.inner[1]];
    for row in 0..quarter {
        for column in (0..src.columns).step_by(LANES) {
            // SAFETY: rows are below `4 quarter = rows`, columns below `columns`.
            unsafe {
                let x = [0, 1, 2, 3].map(|j| src.load::<false>(row + j * quarter, column));
                let [y0, y1, y2, y3] = inverse_inner::<MODE>(f, x, |x, i| f.mul_factor(x, w[i]));
                let z = [
                    f.mul_factor(_mm256_add_pd(y0, y2), last.scale),
                    f.mul_factor(_mm256_add_pd(y1, y3), last.scale),
                    f.mul_factor(_mm256_sub_pd(y0, y2), last.outer),
                    f.mul_factor(_mm256_sub_pd(y1, y3), last.outer),
                ];
                for (j, z) in z.into_iter().enumerate() {
                    dst.store(row + j * quarter, column, finish::<CENTRED>(f, z));
                }
            }
        }
    }
}

/// The final butterfly of radix 2, both outputs times `scale`.
///
/// # Safety
/// As [`Grid::load`] for all of `src` and `dst`.
#[target_feature(enable = "avx2,fma")]
unsafe fn inverse_pair(f: Field, last: &LastRoots, src: Grid, dst: Grid, output: Output) {
    // SAFETY: forwarded.
    unsafe {
        match output {
            Output::Canonical => inverse_pair_rows::<false>(f, last, src, dst),
            Output::Centred => inverse_pair_rows::<true>(f, last, src, dst),
        }
    }
}

/// See [`inverse_pair`].
///
/// # Safety
/// As [`inverse_pair`].
#[target_feature(enable = "avx2,fma")]
unsafe fn inverse_pair_rows<const CENTRED: bool>(f: Field, last: &LastRoots, src: Grid, dst: Grid) {
    let half = src.rows / 2;
    for row in 0..half {
        for column in (0..src.columns).step_by(LANES) {
            // SAFETY: rows are below `2 half = rows`, columns below `columns`.
            unsafe {
                let x = src.load::<false>(row, column);
                let y = src.load::<false>(row + half, column);
                let sum = f.mul_factor(_mm256_add_pd(x, y), last.scale);
                let difference = f.mul_factor(_mm256_sub_pd(x, y), last.outer);
                dst.store(row, column, finish::<CENTRED>(f, sum));
                dst.store(row + half, column, finish::<CENTRED>(f, difference));
            }
        }
    }
}

/// A product, of magnitude below `p`, as output.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn finish<const CENTRED: bool>(f: Field, z: __m256d) -> __m256d {
    if CENTRED { f.reduce(z) } else { _mm256_castsi256_pd(to_u64(f.lift(z))) }
}
