//! Vector kernels behind one handle, selected once.

#[cfg(target_arch = "x86_64")]
pub(super) mod avx2;
mod embedding;
#[cfg(target_arch = "x86_64")]
pub(super) mod ifma;
mod scalar;

use super::{ArithError, Modulus, NttTable, PackedLimb};
use crate::instrument::{self, Stage};
use num_complex::Complex64;

/// Largest number of digits of a key switch.
pub const MAX_DIGITS: usize = 32;

/// Largest number of terms of an inner product: their sum then stays below `2^128`.
pub const MAX_TERMS: usize = 1 << 20;

/// Largest magnitude of an integer that [`Kernels::ntt_integers`] takes: `2^50`.
pub const MAX_INTEGER: f64 = (1u64 << 50) as f64;

/// The implementations a [`Kernels`] handle can stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KernelKind {
    /// Portable 64-bit integer arithmetic.
    Scalar,
    /// Double-precision FMA arithmetic on AVX2 (x86-64).
    Avx2,
    /// 52-bit integer multiply-add on AVX-512 (x86-64 with IFMA).
    Avx512Ifma,
}

impl KernelKind {
    /// All kinds, the slowest first.
    pub const ALL: [Self; 3] = [Self::Scalar, Self::Avx2, Self::Avx512Ifma];

    /// The kinds that this processor runs, the slowest first; never empty.
    pub fn available() -> impl DoubleEndedIterator<Item = Self> {
        Self::ALL.into_iter().filter(|kind| kind.table().is_some())
    }

    /// The kernels of this kind, if this processor runs them.
    fn table(self) -> Option<&'static Table> {
        match self {
            Self::Scalar => Some(&scalar::TABLE),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => avx2::table(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Ifma => ifma::table(),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 | Self::Avx512Ifma => None,
        }
    }

    /// What a processor needs to run it.
    fn requirement(self) -> &'static str {
        match self {
            Self::Scalar => "any processor",
            Self::Avx2 => "a processor with AVX2 and FMA",
            Self::Avx512Ifma => "a processor with AVX-512 F, BW, IFMA and VBMI",
        }
    }
}

/// A handle to one set of kernels. Outputs are the same bit for bit for every kind.
///
/// Slices are limbs of canonical residues unless stated otherwise. Argument order follows the
/// assignment: modulus, outputs, inputs.
///
/// # Panics
/// Every method panics when slice lengths differ (or, for transforms, differ from `N`), when a scalar
/// is not a canonical residue, or when more inputs are passed than documented. The engine fixes all of
/// these when it builds its context; they never depend on data.
#[derive(Debug, Clone, Copy)]
pub struct Kernels(&'static Table);

/// What is done with the blocks of a transform as they are finished: called with the index of the first element and the values, in
/// order, for blocks that make up the limb.
type Finish<'a> = &'a mut dyn FnMut(usize, &mut [u64]);

/// What an implementation provides. Lengths and scalars have been checked by the caller.
#[derive(Debug)]
#[expect(clippy::type_complexity, reason = "one plain function type per kernel")]
struct Table {
    kind: KernelKind,
    ntt: fn(&NttTable, &mut [u64]),
    ntt_integers: fn(&NttTable, &mut [u64], &[f64], f64, Finish),
    intt_scaled: fn(&NttTable, &mut [u64], u64),
    intt_center: fn(&NttTable, &mut [f64], &[u64], u64),
    add: fn(&Modulus, &mut [u64], &[u64], &[u64]),
    add_assign: fn(&Modulus, &mut [u64], &[u64]),
    sub: fn(&Modulus, &mut [u64], &[u64], &[u64]),
    sub_assign: fn(&Modulus, &mut [u64], &[u64]),
    neg: fn(&Modulus, &mut [u64], &[u64]),
    mul: fn(&Modulus, &mut [u64], &[u64], &[u64]),
    mul_assign: fn(&Modulus, &mut [u64], &[u64]),
    mul_add_assign: fn(&Modulus, &mut [u64], &[u64], &[u64]),
    mul_scalar: fn(&Modulus, &mut [u64], &[u64], u64),
    mul_scalar_assign: fn(&Modulus, &mut [u64], u64),
    mul_scalar_add_assign: fn(&Modulus, &mut [u64], &[u64], u64),
    dot2: fn(&Modulus, [&mut [u64]; 2], &[&[u64]], [&[&[u64]]; 2], bool),
    dot2_packed: fn(&Modulus, [&mut [u64]; 2], &[&[u64]], [&[&PackedLimb]; 2]),
    weighted_sum: fn(&Modulus, &mut [u64], &[&[u64]], &[u64]),
    dot2_repeated: fn(&Modulus, [&mut [u64]; 2], &[&[u64]], [&[&[u64]]; 2], bool),
    sub_mul_scalar: fn(&Modulus, &mut [u64], &[u64], &[u64], u64),
    sub_mul_scalar_add: fn(&Modulus, &mut [u64], &[u64], &[u64], u64, &[u64]),
    product_tail: fn(&Modulus, &mut [u64], [&[u64]; 2], u64),
    product_tail_add: fn(&Modulus, &mut [u64], [&[u64]; 2], u64, &[u64]),
    combine2_sub: fn(&Modulus, &mut [u64], [&[u64]; 2], [u64; 2], &[u64]),
    reduce_centered: fn(&[u64], &Modulus, &mut [u64], &Modulus),
    reduce_signed: fn(&Modulus, &mut [u64], &[i64]),
    center_scaled: fn(&Modulus, &mut [f64], &[u64], u64),
    quotient: fn(&[&[f64]], &[f64], &mut [f64]),
    combine: fn(&Modulus, &[&[f64]], &[f64], &mut [u64]),
    slots_to_packed: fn(&[Complex64], &mut [Complex64]),
    round_packed: fn(f64, &[Complex64], &mut [i64], &mut [i64]) -> f64,
}

impl Kernels {
    /// The fastest kernels this processor runs.
    pub fn detect() -> Self {
        Self(KernelKind::ALL.into_iter().rev().find_map(KernelKind::table).unwrap_or(&scalar::TABLE))
    }

    /// The kernels of one kind.
    ///
    /// # Errors
    /// [`ArithError::Kernel`] if the processor lacks the features the kind needs.
    pub fn with_kind(kind: KernelKind) -> Result<Self, ArithError> {
        let expected = kind.requirement();
        kind.table().map(Self).ok_or(ArithError::Kernel { operation: "Kernels::with_kind", expected, got: kind })
    }

    /// The code of [`KernelKind::Avx512Ifma`] on plain arrays in place of vector registers.
    #[cfg(all(test, target_arch = "x86_64"))]
    pub(super) fn portable_ifma() -> Self {
        Self(ifma::portable_table())
    }

    /// Which kernels this handle stands for.
    pub fn kind(self) -> KernelKind {
        self.0.kind
    }

    /// Forward transform in place: coefficient form to evaluation form.
    #[inline]
    pub fn ntt(self, table: &NttTable, a: &mut [u64]) {
        same_length(&[a.len(), table.n()]);
        let _stage = instrument::stage(Stage::ForwardTransform, a.len());
        (self.0.ntt)(table, a);
    }

    /// `out` = the forward transform of the integers `src`, exact doubles of magnitude at most `bound <= 2^50`.
    #[inline]
    pub fn ntt_integers(self, table: &NttTable, out: &mut [u64], src: &[f64], bound: f64) {
        self.ntt_integers_then(table, out, src, bound, |_, _| {});
    }

    /// [`Kernels::ntt_integers`], and `finish` on the values of a block, which it may change, while they are in the first-level
    /// cache. It is called with the index of a block's first element and the block, for blocks that make up the limb.
    #[inline]
    pub fn ntt_integers_then(
        self,
        table: &NttTable,
        out: &mut [u64],
        src: &[f64],
        bound: f64,
        mut finish: impl FnMut(usize, &mut [u64]),
    ) {
        same_length(&[out.len(), src.len(), table.n()]);
        assert!((0.0..=MAX_INTEGER).contains(&bound), "integers of magnitude {bound}");
        debug_assert!(src.iter().all(|x| x.abs() <= bound && x.fract() == 0.0), "integers up to {bound}");
        let _stage = instrument::stage(Stage::ForwardTransform, out.len());
        (self.0.ntt_integers)(table, out, src, bound, &mut finish);
    }

    /// Inverse transform in place: evaluation form to coefficient form.
    #[inline]
    pub fn intt(self, table: &NttTable, a: &mut [u64]) {
        self.intt_scaled(table, a, 1);
    }

    /// Inverse transform in place, the result multiplied by `c` at no extra cost.
    #[inline]
    pub fn intt_scaled(self, table: &NttTable, a: &mut [u64], c: u64) {
        same_length(&[a.len(), table.n()]);
        canonical(table.modulus(), &[c]);
        let _stage = instrument::stage(Stage::InverseTransform, a.len());
        (self.0.intt_scaled)(table, a, c);
    }

    /// Inverse transform multiplied by `c` and written to `y` as centred representatives in
    /// `[-(p-1)/2, (p-1)/2]`: an inverse transform and stage one of a base conversion in one go.
    #[inline]
    pub fn intt_center(self, table: &NttTable, y: &mut [f64], a: &[u64], c: u64) {
        same_length(&[a.len(), y.len(), table.n()]);
        canonical(table.modulus(), &[c]);
        let _stage = instrument::stage(Stage::InverseTransform, a.len());
        (self.0.intt_center)(table, y, a, c);
    }

    /// `out = a + b`.
    #[inline]
    pub fn add(self, m: &Modulus, out: &mut [u64], a: &[u64], b: &[u64]) {
        same_length(&[out.len(), a.len(), b.len()]);
        (self.0.add)(m, out, a, b);
    }

    /// `acc += a`.
    #[inline]
    pub fn add_assign(self, m: &Modulus, acc: &mut [u64], a: &[u64]) {
        same_length(&[acc.len(), a.len()]);
        (self.0.add_assign)(m, acc, a);
    }

    /// `out = a - b`.
    #[inline]
    pub fn sub(self, m: &Modulus, out: &mut [u64], a: &[u64], b: &[u64]) {
        same_length(&[out.len(), a.len(), b.len()]);
        (self.0.sub)(m, out, a, b);
    }

    /// `acc -= a`.
    #[inline]
    pub fn sub_assign(self, m: &Modulus, acc: &mut [u64], a: &[u64]) {
        same_length(&[acc.len(), a.len()]);
        (self.0.sub_assign)(m, acc, a);
    }

    /// `out = -a`.
    #[inline]
    pub fn neg(self, m: &Modulus, out: &mut [u64], a: &[u64]) {
        same_length(&[out.len(), a.len()]);
        (self.0.neg)(m, out, a);
    }

    /// `out = a * b` element by element.
    #[inline]
    pub fn mul(self, m: &Modulus, out: &mut [u64], a: &[u64], b: &[u64]) {
        same_length(&[out.len(), a.len(), b.len()]);
        (self.0.mul)(m, out, a, b);
    }

    /// `acc *= a` element by element.
    #[inline]
    pub fn mul_assign(self, m: &Modulus, acc: &mut [u64], a: &[u64]) {
        same_length(&[acc.len(), a.len()]);
        (self.0.mul_assign)(m, acc, a);
    }

    /// `acc += a * b` element by element.
    #[inline]
    pub fn mul_add_assign(self, m: &Modulus, acc: &mut [u64], a: &[u64], b: &[u64]) {
        same_length(&[acc.len(), a.len(), b.len()]);
        (self.0.mul_add_assign)(m, acc, a, b);
    }

    /// `out = a * c`.
    #[inline]
    pub fn mul_scalar(self, m: &Modulus, out: &mut [u64], a: &[u64], c: u64) {
        same_length(&[out.len(), a.len()]);
        canonical(m, &[c]);
        (self.0.mul_scalar)(m, out, a, c);
    }

    /// `acc *= c`.
    #[inline]
    pub fn mul_scalar_assign(self, m: &Modulus, acc: &mut [u64], c: u64) {
        canonical(m, &[c]);
        (self.0.mul_scalar_assign)(m, acc, c);
    }

    /// `acc += a * c`.
    #[inline]
    pub fn mul_scalar_add_assign(self, m: &Modulus, acc: &mut [u64], a: &[u64], c: u64) {
        same_length(&[acc.len(), a.len()]);
        canonical(m, &[c]);
        (self.0.mul_scalar_add_assign)(m, acc, a, c);
    }

    /// Key product: `out0 = sum_i digits[i] * key0[i]`, `out1 = sum_i digits[i] * key1[i]`, element by
    /// element, for at most [`MAX_TERMS`] digits. Nothing but the outputs is stored.
    #[inline]
    pub fn dot2(
        self,
        m: &Modulus,
        out0: &mut [u64],
        out1: &mut [u64],
        digits: &[&[u64]],
        key0: &[&[u64]],
        key1: &[&[u64]],
    ) {
        dot2_lengths([out0.len(), out1.len()], digits, [key0, key1]);
        (self.0.dot2)(m, [out0, out1], digits, [key0, key1], false);
    }

    /// [`Kernels::dot2`] with packed keys.
    #[inline]
    pub fn dot2_packed(
        self,
        m: &Modulus,
        out0: &mut [u64],
        out1: &mut [u64],
        digits: &[&[u64]],
        key0: &[&PackedLimb],
        key1: &[&PackedLimb],
    ) {
        same_length(&[digits.len(), key0.len(), key1.len()]);
        assert!(digits.len() <= MAX_TERMS, "at most {MAX_TERMS} digits");
        let n = out0.len();
        same_length(&[n, out1.len()]);
        for (digit, (key0, key1)) in digits.iter().zip(key0.iter().zip(key1)) {
            same_length(&[n, digit.len(), key0.len(), key1.len()]);
        }
        (self.0.dot2_packed)(m, [out0, out1], digits, [key0, key1]);
    }

    /// [`Kernels::dot2`] added to canonical residues: `acc0 += ..`, `acc1 += ..`.
    #[inline]
    pub fn dot2_add(
        self,
        m: &Modulus,
        acc0: &mut [u64],
        acc1: &mut [u64],
        factors: &[&[u64]],
        x: &[&[u64]],
        y: &[&[u64]],
    ) {
        dot2_lengths([acc0.len(), acc1.len()], factors, [x, y]);
        (self.0.dot2)(m, [acc0, acc1], factors, [x, y], true);
    }

    /// `out = sum_i x[i] * c[i]` for at most [`MAX_TERMS`] limbs `x[i]` and residues `c[i]`, in one pass.
    #[inline]
    pub fn weighted_sum(self, m: &Modulus, out: &mut [u64], x: &[&[u64]], c: &[u64]) {
        same_length(&[x.len(), c.len()]);
        assert!(x.len() <= MAX_TERMS, "at most {MAX_TERMS} terms");
        for limb in x {
            same_length(&[out.len(), limb.len()]);
        }
        canonical(m, c);
        (self.0.weighted_sum)(m, out, x, c);
    }

    /// [`Kernels::dot2`] of limbs in which every value occurs `n / factors[j].len()` times in a row, given once each:
    /// the evaluation form of polynomials in a power of `X`. At least four repetitions, the same for all factors, and at
    /// most [`MAX_TERMS`] of them.
    #[inline]
    pub fn dot2_repeated(
        self,
        m: &Modulus,
        out0: &mut [u64],
        out1: &mut [u64],
        factors: &[&[u64]],
        x: &[&[u64]],
        y: &[&[u64]],
    ) {
        repeated_lengths([out0.len(), out1.len()], factors, [x, y]);
        (self.0.dot2_repeated)(m, [out0, out1], factors, [x, y], false);
    }

    /// [`Kernels::dot2_repeated`] added to canonical residues: `acc0 += ..`, `acc1 += ..`.
    #[inline]
    pub fn dot2_repeated_add(
        self,
        m: &Modulus,
        acc0: &mut [u64],
        acc1: &mut [u64],
        factors: &[&[u64]],
        x: &[&[u64]],
        y: &[&[u64]],
    ) {
        repeated_lengths([acc0.len(), acc1.len()], factors, [x, y]);
        (self.0.dot2_repeated)(m, [acc0, acc1], factors, [x, y], true);
    }

    /// `out = (x - r) * c`: the tail of a rescale or of ModDown, `r` being the transformed remainder
    /// and `c` the inverse of the dropped prime or product.
    #[inline]
    pub fn sub_mul_scalar(self, m: &Modulus, out: &mut [u64], x: &[u64], r: &[u64], c: u64) {
        same_length(&[out.len(), x.len(), r.len()]);
        canonical(m, &[c]);
        (self.0.sub_mul_scalar)(m, out, x, r, c);
    }

    /// `out = (x - r) * c + d`: the tail of ModDown followed by an addition.
    #[inline]
    pub fn sub_mul_scalar_add(self, m: &Modulus, out: &mut [u64], x: &[u64], r: &[u64], c: u64, d: &[u64]) {
        same_length(&[out.len(), x.len(), r.len(), d.len()]);
        canonical(m, &[c]);
        (self.0.sub_mul_scalar_add)(m, out, x, r, c, d);
    }

    /// `acc = (x[0] * x[1] - acc) * c`: the tail of a rescale of a product, `acc` being the transformed remainder.
    #[inline]
    pub fn product_tail(self, m: &Modulus, acc: &mut [u64], x: [&[u64]; 2], c: u64) {
        same_length(&[acc.len(), x[0].len(), x[1].len()]);
        canonical(m, &[c]);
        (self.0.product_tail)(m, acc, x, c);
    }

    /// `acc = (x[0] * x[1] - acc) * c + d`: the tail of ModDown of a product followed by an addition.
    #[inline]
    pub fn product_tail_add(self, m: &Modulus, acc: &mut [u64], x: [&[u64]; 2], c: u64, d: &[u64]) {
        same_length(&[acc.len(), x[0].len(), x[1].len(), d.len()]);
        canonical(m, &[c]);
        (self.0.product_tail_add)(m, acc, x, c, d);
    }

    /// `out = x[0] * c[0] + x[1] * c[1] - s`: the tail of ModDown, addition and rescale in one.
    ///
    /// Per remaining prime `q`, `d + (x - ntt(r)) / P` rescaled by `q_l` with remainder `rho` is
    /// `x / (P q_l) + d / q_l - ntt(r / (P q_l) + rho / q_l)`. The argument of the one transform is
    /// what [`BaseConverter::convert_exact_add_part`](super::BaseConverter::convert_exact_add_part) yields for
    /// target scale `1 / (P q_l)`, extra input `rho` and `c = 1 / q_l`.
    #[inline]
    pub fn combine2_sub(self, m: &Modulus, out: &mut [u64], x: [&[u64]; 2], c: [u64; 2], s: &[u64]) {
        same_length(&[out.len(), x[0].len(), x[1].len(), s.len()]);
        canonical(m, &c);
        (self.0.combine2_sub)(m, out, x, c, s);
    }

    /// `dst` = the representative of `src` in `[-(p-1)/2, (p-1)/2]`, `p` the prime of `m_src`,
    /// reduced modulo `m_dst`.
    #[inline]
    pub fn reduce_centered(self, src: &[u64], m_src: &Modulus, dst: &mut [u64], m_dst: &Modulus) {
        same_length(&[src.len(), dst.len()]);
        let _stage = instrument::stage(Stage::BaseConversion, dst.len());
        (self.0.reduce_centered)(src, m_src, dst, m_dst);
    }

    /// `dst` = residues of integers of magnitude below `2^62`.
    #[inline]
    pub fn reduce_signed(self, m: &Modulus, dst: &mut [u64], src: &[i64]) {
        same_length(&[dst.len(), src.len()]);
        debug_assert!(src.iter().all(|c| c.unsigned_abs() < 1 << 62), "integers below 2^62");
        (self.0.reduce_signed)(m, dst, src);
    }

    /// `y` = the representative of `src * c` in `[-(p-1)/2, (p-1)/2]`, as exact doubles.
    #[inline]
    pub fn center_scaled(self, m: &Modulus, y: &mut [f64], src: &[u64], c: u64) {
        same_length(&[y.len(), src.len()]);
        canonical(m, &[c]);
        let _stage = instrument::stage(Stage::BaseConversion, 0);
        (self.0.center_scaled)(m, y, src, c);
    }

    /// `v = rne(fl(.. fl(fl(y_0 r_0) + fl(y_1 r_1)) ..))`: products and sums rounded to binary64 one
    /// by one in order, then rounded to the nearest integer, ties to even.
    #[inline]
    pub(crate) fn quotient(self, y: &[&[f64]], recips: &[f64], v: &mut [f64]) {
        same_length(&[y.len(), recips.len()]);
        for row in y {
            same_length(&[row.len(), v.len()]);
        }
        let _stage = instrument::stage(Stage::BaseConversion, 0);
        (self.0.quotient)(y, recips, v);
    }

    /// `dst = sum_j rows[j] * coefficients[j] mod p`, all of them integers with
    /// `|rows[j]| <= 2^49` and `|coefficients[j]| <= (p-1)/2`.
    #[inline]
    pub(crate) fn combine(self, m: &Modulus, rows: &[&[f64]], coefficients: &[f64], dst: &mut [u64]) {
        same_length(&[rows.len(), coefficients.len()]);
        for row in rows {
            same_length(&[row.len(), dst.len()]);
        }
        let _stage = instrument::stage(Stage::BaseConversion, dst.len());
        (self.0.combine)(m, rows, coefficients, dst);
    }

    /// The stages of the inverse embedding on a power of two of values, in place, the result in bit-reversed order: for
    /// `len = n, n/2, .., 2`, in every block of `len`, `(a, b)` becomes `(a + b, (a - b) conj(root))`. Stage `len` has its `len/2`
    /// roots from index `len/2 - 1`. Every operation is rounded on its own, so that all kernels give the same numbers.
    #[inline]
    pub(crate) fn slots_to_packed(self, roots: &[Complex64], values: &mut [Complex64]) {
        assert!(values.len().is_power_of_two() && roots.len() + 1 >= values.len(), "roots for {} values", values.len());
        (self.0.slots_to_packed)(roots, values);
    }

    /// `re[k] + i im[k]` = the parts of `packed[k'] factor`, `k'` the index `k` bit-reversed, rounded to integers, ties to even, and
    /// saturated at the range of `i64`. Gives the largest rounded magnitude, infinity if a part is NaN.
    #[inline]
    pub(crate) fn round_packed(self, factor: f64, packed: &[Complex64], re: &mut [i64], im: &mut [i64]) -> f64 {
        assert!(packed.len().is_power_of_two(), "{} values", packed.len());
        same_length(&[packed.len(), re.len(), im.len()]);
        (self.0.round_packed)(factor, packed, re, im)
    }

    /// `dst[i] = src[perm[i]]`, for instance an automorphism in evaluation form (see
    /// [`galois_permutation`](super::galois_permutation)).
    ///
    /// Plain indexing: a gather instruction does not beat it on the processors at hand.
    #[inline]
    pub fn permute(self, src: &[u64], perm: &[u32], dst: &mut [u64]) {
        same_length(&[src.len(), perm.len(), dst.len()]);
        for (d, &i) in dst.iter_mut().zip(perm) {
            *d = src[i as usize];
        }
    }
}

/// The length contract of all methods.
#[inline]
#[track_caller]
fn same_length(lengths: &[usize]) {
    assert!(lengths.iter().all(|&l| l == lengths[0]), "slice lengths differ: {lengths:?}");
}

/// The contract of [`Kernels::dot2`].
#[inline]
#[track_caller]
fn dot2_lengths([n, second]: [usize; 2], factors: &[&[u64]], [x, y]: [&[&[u64]]; 2]) {
    same_length(&[factors.len(), x.len(), y.len()]);
    assert!(factors.len() <= MAX_TERMS, "at most {MAX_TERMS} digits");
    same_length(&[n, second]);
    for limb in factors.iter().chain(x).chain(y) {
        same_length(&[n, limb.len()]);
    }
}

/// The contract of [`Kernels::dot2_repeated`].
#[inline]
#[track_caller]
fn repeated_lengths([n, second]: [usize; 2], factors: &[&[u64]], [x, y]: [&[&[u64]]; 2]) {
    same_length(&[factors.len(), x.len(), y.len()]);
    assert!((1..=MAX_TERMS).contains(&factors.len()), "between 1 and {MAX_TERMS} terms");
    let values = factors[0].len();
    assert!(4 * values <= n && n.is_multiple_of(4 * values), "a multiple of four repetitions");
    same_length(&[n, second]);
    for factor in factors {
        same_length(&[values, factor.len()]);
    }
    for limb in x.iter().chain(y) {
        same_length(&[n, limb.len()]);
    }
}

/// The contract on scalar arguments.
#[inline]
#[track_caller]
fn canonical(m: &Modulus, scalars: &[u64]) {
    let p = m.value();
    assert!(scalars.iter().all(|&c| c < p), "scalars {scalars:?} are not canonical residues modulo {p}");
}
