//! Key switching: lifts of digits, key products and ModDown (`r[ckks.modup]`, `r[ckks.keyswitch]`, `r[ckks.moddown]`).

use super::context::Context;
use super::keys::SwitchKey;
use crate::instrument::{self, Stage};
use crate::ring::{Buffer, Form, Limb, Poly};
use rayon::prelude::*;
use std::ops::Range;

/// Limbs lifted together, so that the rows of a digit come from memory once per group and not once per limb.
pub(crate) const GROUP: usize = 4;

/// Coefficients of a digit's rows that are lifted to a whole group at once: up to 16 rows of this length stay in the
/// second-level cache.
const CACHED_PART: usize = 4096;

/// Stage one of the lifts of all digits: per digit the rows `y_j` of `r[ckks.bconv]`.
pub(crate) struct Digits<'a> {
    poly: &'a Poly,
    blocks: Vec<Buffer<f64>>,
}

impl<'a> Digits<'a> {
    /// Decomposes a polynomial in evaluation form.
    pub(crate) fn new(context: &Context, poly: &'a Poly) -> Self {
        let (level, n) = (poly.level(), context.parameters().n());
        let (alpha, ring) = (context.parameters().digit_size(), context.ring());
        let _stage = instrument::stage(Stage::Decompose, (level + 1) * n);
        let scope = instrument::scope();
        let block = |digit: usize| {
            let _scope = scope.enter();
            let scalars = context.lift(digit, level).input_scalars();
            let mut block = context.scratch_block();
            let rows = block[..scalars.len() * n].par_chunks_exact_mut(n).zip(scalars);
            rows.enumerate().for_each(|(row, (y, &scalar))| {
                let _scope = scope.enter();
                let j = digit * alpha + row;
                ring.kernels().intt_center(ring.table(j), y, poly.limb(j), scalar);
            });
            block
        };
        let digits = context.parameters().digits(level);
        Self { poly, blocks: (0..digits).into_par_iter().map(block).collect() }
    }

    /// The lifts of all digits modulo the primes of some limbs of `R_{Q_l P}`, in evaluation form: per limb one entry per
    /// digit. `None` stands for the polynomial's own limb, which is the lift of the digit that holds it.
    pub(crate) fn lift(&self, context: &Context, limbs: Range<usize>) -> Vec<Vec<Option<Limb>>> {
        let (level, n) = (self.poly.level(), context.parameters().n());
        let (ring, alpha) = (context.ring(), context.parameters().digit_size());
        let _stage = instrument::stage(Stage::Decompose, 0);
        let is_own = |limb: usize, digit: usize| limb <= level && limb / alpha == digit;
        let scratch = |limb, digit| (!is_own(limb, digit)).then(|| context.scratch_limb());
        let entries = |limb| (0..self.blocks.len()).map(|digit| scratch(limb, digit)).collect();
        let mut lifts: Vec<Vec<Option<Limb>>> = limbs.clone().map(entries).collect();
        let part = CACHED_PART.min(n);
        for (digit, block) in self.blocks.iter().enumerate() {
            let converter = context.lift(digit, level);
            let y = &block[..converter.from().len() * n];
            for start in (0..n).step_by(part) {
                for (limb, lifts) in limbs.clone().zip(&mut lifts) {
                    let Some(lift) = &mut lifts[digit] else { continue };
                    let prime = ring.prime_index(level, limb);
                    converter.convert_part(ring.kernels(), y, start, prime, &mut lift[start..start + part]);
                }
            }
        }
        for (limb, lifts) in limbs.zip(&mut lifts) {
            let table = ring.table(ring.prime_index(level, limb));
            lifts.iter_mut().flatten().for_each(|lift| ring.kernels().ntt(table, lift));
        }
        lifts
    }
}

/// The lifts of all digits of a polynomial, kept for several key products (hoisting).
pub(crate) struct Lifted<'a> {
    poly: &'a Poly,
    /// What [`Digits::lift`] gives for all limbs of `R_{Q_l P}`.
    pub(crate) limbs: Vec<Vec<Option<Limb>>>,
}

impl<'a> Lifted<'a> {
    /// Lifts all digits of a polynomial in evaluation form.
    pub(crate) fn new(context: &Context, poly: &'a Poly) -> Self {
        let digits = Digits::new(context, poly);
        let count = poly.level() + 1 + context.ring().special_len();
        let groups = (0..count).into_par_iter().step_by(GROUP);
        let scope = instrument::scope();
        let lift = |start: usize| {
            let _scope = scope.enter();
            digits.lift(context, start..(start + GROUP).min(count))
        };
        Self { poly, limbs: groups.flat_map_iter(lift).collect() }
    }

    /// The key product `(sum_i d_i b_i, sum_i d_i a_i)` over `R_{Q_l P}`.
    pub(crate) fn product(&self, context: &Context, key: &SwitchKey) -> (Poly, Poly) {
        product(context, self.poly, key, |group, out0, out1| {
            dot_limbs(context, self.poly, key, group.start, &self.limbs[group], out0, out1);
        })
    }
}

/// The key product of a polynomial that is used once: no lift outlives the limb it belongs to.
pub(crate) fn key_product(context: &Context, poly: &Poly, key: &SwitchKey) -> (Poly, Poly) {
    let digits = Digits::new(context, poly);
    product(context, poly, key, |group, out0, out1| {
        let lifts = digits.lift(context, group.clone());
        dot_limbs(context, poly, key, group.start, &lifts, out0, out1);
    })
}

/// A key product, group of limbs by group of limbs.
fn product(
    context: &Context,
    poly: &Poly,
    key: &SwitchKey,
    of_group: impl Fn(Range<usize>, &mut [Limb], &mut [Limb]) + Sync,
) -> (Poly, Poly) {
    debug_assert!(key.level() >= poly.level(), "the caller looked the key up for this level");
    let mut u0 = context.ring().scratch(poly.level(), true, Form::Eval);
    let mut u1 = context.ring().scratch(poly.level(), true, Form::Eval);
    let groups = u0.limbs_mut().par_chunks_mut(GROUP).zip(u1.limbs_mut().par_chunks_mut(GROUP));
    let scope = instrument::scope();
    groups.enumerate().for_each(|(i, (out0, out1))| {
        let _scope = scope.enter();
        of_group(i * GROUP..i * GROUP + out0.len(), out0, out1);
    });
    (u0, u1)
}

/// The limbs of a key product from limb `start` on, one per entry of `lifts`.
fn dot_limbs(
    context: &Context,
    poly: &Poly,
    key: &SwitchKey,
    start: usize,
    lifts: &[Vec<Option<Limb>>],
    out0: &mut [Limb],
    out1: &mut [Limb],
) {
    for (i, (lifts, (out0, out1))) in lifts.iter().zip(out0.iter_mut().zip(out1)).enumerate() {
        let limb = start + i;
        let lifts: Vec<&[u64]> = lifts.iter().map(|lift| lift.as_deref().unwrap_or_else(|| poly.limb(limb))).collect();
        key.dot(context, (poly.level(), limb), &lifts, [out0, out1]);
    }
}

/// What ModDown subtracts, shared by all chain primes: the rows `y_j` of the special limbs and the correction `v`.
struct Remainder {
    block: Buffer<f64>,
    v: Buffer<f64>,
    /// Used length of `block`.
    len: usize,
}

impl Remainder {
    /// Takes the special limbs off `u`, which lies over `R_{Q_l P}` in evaluation form.
    fn take(context: &Context, u: &mut Poly) -> Self {
        let (level, n) = (u.level(), context.parameters().n());
        let (ring, converter) = (context.ring(), context.mod_down());
        let len = ring.special_len() * n;
        let (mut block, mut v) = (context.scratch_block(), context.scratch_row());
        let rows = block[..len].par_chunks_exact_mut(n).zip(&u.limbs()[level + 1..]);
        let scope = instrument::scope();
        rows.enumerate().for_each(|(j, (y, limb))| {
            let _scope = scope.enter();
            let table = ring.table(ring.chain_len() + j);
            ring.kernels().intt_center(table, y, limb, converter.input_scalars()[j]);
        });
        converter.quotient(ring.kernels(), &block[..len], &mut v);
        u.drop_special();
        Self { block, v, len }
    }

    fn y(&self) -> &[f64] {
        &self.block[..self.len]
    }

    /// The remainder modulo some chain primes, in evaluation form.
    fn limbs(&self, context: &Context, primes: Range<usize>) -> Vec<Limb> {
        let converter = context.mod_down();
        self.transformed(context, primes, |j, start, part| {
            converter.convert_exact_part(context.ring().kernels(), self.y(), &self.v, start, j, part);
        })
    }

    /// Limbs of some chain primes in evaluation form, filled part by part by `convert(j, start, part)`, so that the rows
    /// come from memory once for all of them.
    fn transformed(
        &self,
        context: &Context,
        primes: Range<usize>,
        convert: impl Fn(usize, usize, &mut [u64]),
    ) -> Vec<Limb> {
        let ring = context.ring();
        let mut limbs: Vec<Limb> = primes.clone().map(|_| context.scratch_limb()).collect();
        let part = CACHED_PART.min(ring.n());
        for start in (0..ring.n()).step_by(part) {
            for (j, limb) in primes.clone().zip(&mut limbs) {
                convert(j, start, &mut limb[start..start + part]);
            }
        }
        primes.zip(&mut limbs).for_each(|(j, limb)| ring.kernels().ntt(ring.table(j), limb));
        limbs
    }
}

/// `ModDown(u)` (`r[ckks.moddown]`).
pub(crate) fn mod_down(context: &Context, u: Poly) -> Poly {
    mod_down_galois(context, u, None, None)
}

/// `ModDown(u)` (`r[ckks.moddown]`), plus `add` if given.
pub(crate) fn mod_down_add(context: &Context, u: Poly, add: Option<&Poly>) -> Poly {
    mod_down_galois(context, u, add, None)
}

/// `ModDown(u)` plus `add` if given, then the automorphism with index map `permutation` if given.
pub(crate) fn mod_down_galois(context: &Context, mut u: Poly, add: Option<&Poly>, permutation: Option<&[u32]>) -> Poly {
    let _stage = instrument::stage(Stage::ModDown, (u.level() + 1) * context.ring().n());
    let remainder = Remainder::take(context, &mut u);
    let (ring, kernels) = (context.ring(), context.ring().kernels());
    let scope = instrument::scope();
    u.limbs_mut().par_chunks_mut(GROUP).enumerate().for_each(|(group, limbs)| {
        let _scope = scope.enter();
        let first = group * GROUP;
        let remainders = remainder.limbs(context, first..first + limbs.len());
        for ((j, limb), mut r) in (first..).zip(limbs).zip(remainders) {
            let (modulus, inverse) = (ring.modulus(j), context.special_inverse(j));
            let mut out = context.scratch_limb();
            match add {
                Some(add) => kernels.sub_mul_scalar_add(modulus, &mut out, limb, &r, inverse, add.limb(j)),
                None => kernels.sub_mul_scalar(modulus, &mut out, limb, &r, inverse),
            }
            *limb = match permutation {
                Some(permutation) => {
                    kernels.permute(&out, permutation, &mut r);
                    r
                }
                None => out,
            };
        }
    });
    u
}

/// `Rescale(ModDown(u))` for `u` of level `l >= 1`, see [`mod_down_rescale`].
pub(crate) fn mod_down_only_rescale(context: &Context, u: Poly) -> Poly {
    mod_down_add_rescale(context, u, None)
}

/// `Rescale(ModDown(u) + d)` for `u` and `d` of level `l >= 1`.
pub(crate) fn mod_down_rescale(context: &Context, u: Poly, d: &Poly) -> Poly {
    mod_down_add_rescale(context, u, Some(d))
}

/// `Rescale(ModDown(u) + d)` with one transform per remaining limb; no `d` stands for 0.
///
/// With the remainder `r` of ModDown and `rho = <ModDown(u) + d>_{q_l}` the result modulo `q_j` is
/// `u / (P q_l) + d / q_l - ntt(r / (P q_l) + rho / q_l)`: the integers of the separate operations (`r[ckks.fused]`).
fn mod_down_add_rescale(context: &Context, mut u: Poly, d: Option<&Poly>) -> Poly {
    let level = u.level();
    let _stage = instrument::stage(Stage::ModDown, level * context.ring().n());
    let remainder = Remainder::take(context, &mut u);
    let (ring, kernels) = (context.ring(), context.ring().kernels());

    let r = &remainder.limbs(context, level..level + 1)[0];
    let mut last = context.scratch_limb();
    let inverse = context.special_inverse(level);
    match d {
        Some(d) => {
            kernels.sub_mul_scalar_add(ring.modulus(level), &mut last, u.limb(level), r, inverse, d.limb(level));
        }
        None => kernels.sub_mul_scalar(ring.modulus(level), &mut last, u.limb(level), r, inverse),
    }
    let mut rho = context.scratch_row();
    kernels.intt_center(ring.table(level), &mut rho, &last, 1);

    u.truncate(level - 1);
    let converter = context.mod_down_rescale(level);
    let (y, v) = (remainder.y(), &remainder.v);
    let scope = instrument::scope();
    u.limbs_mut().par_chunks_mut(GROUP).enumerate().for_each(|(group, limbs)| {
        let _scope = scope.enter();
        let first = group * GROUP;
        let sums = remainder.transformed(context, first..first + limbs.len(), |j, start, part| {
            let extra = (&rho[..], context.chain_inverse(level, j));
            converter.convert_exact_add_part(kernels, y, v, extra, start, j, part);
        });
        for ((j, limb), sum) in (first..).zip(limbs).zip(sums) {
            let modulus = ring.modulus(j);
            let chain_inverse = context.chain_inverse(level, j);
            let both = modulus.mul(context.special_inverse(j), chain_inverse);
            let mut out = context.scratch_limb();
            match d {
                Some(d) => kernels.combine2_sub(modulus, &mut out, [limb, d.limb(j)], [both, chain_inverse], &sum),
                None => {
                    kernels.mul_scalar(modulus, &mut out, limb, both);
                    kernels.sub_assign(modulus, &mut out, &sum);
                }
            }
            *limb = out;
        }
    });
    u
}
