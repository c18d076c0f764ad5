//! Sums of products of ciphertexts and plaintexts, formed limb by limb without storing a product.

use super::ciphertext::Ciphertext;
use super::context::Context;
use super::evaluator::Evaluator;
use super::factor::Factor;
use crate::instrument::{self, Operation};
use crate::ring::{Form, Limb, Poly};
use rayon::prelude::*;

/// Full plaintexts that are transformed before their products are added: as many as one sum of the kernels holds.
const FULL_AT_ONCE: usize = 8;

/// Residues of each short product that are formed at once: those of all factors then fit the second-level cache.
const BLOCK: usize = 512;

/// One product of a sum.
pub(crate) struct Term {
    /// Index of the ciphertext.
    pub(crate) baby: usize,
    /// The plaintext's coefficients of `X^0, X^run, X^(2 run), ..`; short ones of one sum are equally many.
    pub(crate) coefficients: Vec<i64>,
}

impl Evaluator {
    /// `sum p babies[b]` over the terms of each of `sums`, all babies of degree 1 and one level: the integers of
    /// [`Evaluator::mul_plain`] and [`Evaluator::add`] (`r[ckks.fused]`), with the label `scale`.
    pub(crate) fn sums_of_products(&self, babies: &[Ciphertext], sums: &[Vec<Term>], scale: f64) -> Vec<Ciphertext> {
        let level = babies[0].level();
        let terms = sums.iter().map(Vec::len).sum();
        instrument::count(Operation::Encode, level, terms);
        instrument::count(Operation::MultiplyPlain, level, terms);
        let _operation = instrument::within(Operation::MultiplyPlain);
        let scope = instrument::scope();
        let limb = |limb| {
            let _scope = scope.enter();
            limb_sums(self.context(), babies, sums, limb)
        };
        let limbs: Vec<Vec<[Limb; 2]>> = (0..=level).into_par_iter().map(limb).collect();
        let mut polys: Vec<[Vec<Limb>; 2]> = sums.iter().map(|_| [Vec::new(), Vec::new()]).collect();
        for limb in limbs {
            for (polys, limbs) in polys.iter_mut().zip(limb) {
                polys.iter_mut().zip(limbs).for_each(|(poly, limb)| poly.push(limb));
            }
        }
        let poly = |limbs| Poly::from_limbs(level, Form::Eval, limbs);
        let cipher = |polys: [Vec<Limb>; 2]| {
            let polys = polys.into_iter().map(poly).collect();
            Ciphertext { polys, scale, fingerprint: babies[0].fingerprint }
        };
        polys.into_iter().map(cipher).collect()
    }
}

/// One limb of the sums.
fn limb_sums(context: &Context, babies: &[Ciphertext], sums: &[Vec<Term>], limb: usize) -> Vec<[Limb; 2]> {
    instrument::read_plaintext(sums.iter().flatten().map(|term| term.coefficients.len()).sum());
    let mut results: Vec<[Limb; 2]> = sums.iter().map(|_| [context.zero_limb(), context.zero_limb()]).collect();
    // All sums take a few babies before the next few are read.
    for first in (0..babies.len()).step_by(FULL_AT_ONCE) {
        for (result, terms) in results.iter_mut().zip(sums) {
            let used = first..first + FULL_AT_ONCE;
            let full = |term: &&Term| used.contains(&term.baby) && term.coefficients.len() == context.ring().n();
            add_full(context, babies, terms.iter().filter(full), limb, result);
        }
    }
    let short: Vec<Short> = sums.iter().map(|terms| Short::new(context, babies, terms, limb)).collect();
    let block = BLOCK.min(context.ring().n());
    for start in (0..context.ring().n()).step_by(block) {
        for (result, short) in results.iter_mut().zip(&short) {
            short.add_block(context, limb, start..start + block, result);
        }
    }
    results
}

/// Adds products with full plaintexts.
fn add_full<'a>(
    context: &Context,
    babies: &[Ciphertext],
    terms: impl Iterator<Item = &'a Term>,
    limb: usize,
    [sum0, sum1]: &mut [Limb; 2],
) {
    let (mut factors, mut x, mut y) = (Vec::new(), Vec::new(), Vec::new());
    for term in terms {
        factors.push(Factor::transform(context, &term.coefficients, limb));
        x.push(babies[term.baby].polys[0].limb(limb));
        y.push(babies[term.baby].polys[1].limb(limb));
    }
    if factors.is_empty() {
        return;
    }
    let factors: Vec<&[u64]> = factors.iter().map(|factor| &factor[..]).collect();
    context.ring().kernels().dot2_add(context.ring().modulus(limb), sum0, sum1, &factors, &x, &y);
}

/// The short products of one sum modulo one prime.
struct Short<'a> {
    factors: Vec<Factor<'static>>,
    x: Vec<&'a [u64]>,
    y: Vec<&'a [u64]>,
}

impl<'a> Short<'a> {
    fn new(context: &Context, babies: &'a [Ciphertext], terms: &[Term], limb: usize) -> Self {
        let (mut factors, mut x, mut y) = (Vec::new(), Vec::new(), Vec::new());
        for term in terms.iter().filter(|term| term.coefficients.len() < context.ring().n()) {
            factors.push(Factor::transform(context, &term.coefficients, limb));
            x.push(babies[term.baby].polys[0].limb(limb));
            y.push(babies[term.baby].polys[1].limb(limb));
        }
        Self { factors, x, y }
    }

    /// Adds the products at the residues in `range`.
    fn add_block(&self, context: &Context, limb: usize, range: std::ops::Range<usize>, sums: &mut [Limb; 2]) {
        let Some(first) = self.factors.first() else { return };
        let run = context.ring().n() / first.len();
        let values = range.start / run..range.end.div_ceil(run);
        let factors: Vec<&[u64]> = self.factors.iter().map(|factor| &factor[values.clone()]).collect();
        let part = |limbs: &[&'a [u64]]| -> Vec<&'a [u64]> { limbs.iter().map(|x| &x[range.clone()]).collect() };
        let [sum0, sum1] = sums;
        let (sum0, sum1) = (&mut sum0[range.clone()], &mut sum1[range.clone()]);
        let modulus = context.ring().modulus(limb);
        context.ring().kernels().dot2_repeated_add(modulus, sum0, sum1, &factors, &part(&self.x), &part(&self.y));
    }
}
