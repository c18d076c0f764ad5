//! Polynomials as residue limbs.

use super::{Limb, RingBasis};
use rayon::prelude::*;
use zeroize::Zeroize;

/// What the numbers of a limb are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Coefficients of `X^0, X^1, ..`.
    Coeff,
    /// Values at the roots of `X^N + 1`, in the order of [`NttTable::eval_exponent`](crate::arith::NttTable::eval_exponent).
    Eval,
}

/// An element of `R_{Q_l}` or `R_{Q_l P}`: limbs of `N` canonical residues in the order `q_0..q_l` and then, over
/// `R_{Q_l P}`, the special primes.
#[derive(Debug, Clone, PartialEq)]
pub struct Poly {
    level: usize,
    form: Form,
    limbs: Vec<Limb>,
}

impl Poly {
    pub(crate) fn from_limbs(level: usize, form: Form, limbs: Vec<Limb>) -> Self {
        Self { level, form, limbs }
    }

    /// The level `l`.
    #[must_use]
    pub fn level(&self) -> usize {
        self.level
    }

    /// The form of all limbs.
    #[must_use]
    pub fn form(&self) -> Form {
        self.form
    }

    /// The number of limbs: `l + 1`, plus the number of special primes over `R_{Q_l P}`.
    #[must_use]
    pub fn limb_count(&self) -> usize {
        self.limbs.len()
    }

    /// Limb `i`.
    ///
    /// # Panics
    /// If `i` is not below [`Poly::limb_count`].
    #[must_use]
    pub fn limb(&self, i: usize) -> &[u64] {
        &self.limbs[i]
    }

    /// Limb `i`, to be filled with canonical residues.
    ///
    /// # Panics
    /// If `i` is not below [`Poly::limb_count`].
    pub fn limb_mut(&mut self, i: usize) -> &mut [u64] {
        &mut self.limbs[i]
    }

    /// All limbs in order.
    #[must_use]
    pub fn limbs(&self) -> &[Limb] {
        &self.limbs
    }

    pub(crate) fn limbs_mut(&mut self) -> &mut [Limb] {
        &mut self.limbs
    }

    /// The limb of special prime `j`.
    pub(crate) fn special_limb(&self, j: usize) -> &[u64] {
        &self.limbs[self.level + 1 + j]
    }

    /// Drops the limbs above level `level`, keeping special limbs. Does nothing if the level is already lower.
    pub(crate) fn truncate(&mut self, level: usize) {
        if level < self.level {
            self.limbs.drain(level + 1..=self.level);
            self.level = level;
        }
    }

    /// Overwrites all limbs with zeros, in a way that is not optimised away.
    pub(crate) fn erase(&mut self) {
        self.limbs.iter_mut().for_each(|limb| limb.zeroize());
    }

    /// Drops the special limbs.
    pub(crate) fn drop_special(&mut self) {
        self.limbs.truncate(self.level + 1);
    }

    /// A copy of the limbs up to level `level`, which is at most the polynomial's own; special limbs are kept.
    pub(crate) fn truncated(&self, level: usize) -> Self {
        let special = &self.limbs[self.level + 1..];
        let limbs = self.limbs[..=level].iter().chain(special).cloned().collect();
        Self { level, form: self.form, limbs }
    }

    /// Brings the polynomial to evaluation form, in parallel over limbs.
    pub fn make_eval(&mut self, basis: &RingBasis) {
        if self.form == Form::Coeff {
            let level = self.level;
            let forward = |(i, limb): (usize, &mut Limb)| {
                basis.kernels().ntt(basis.table(basis.prime_index(level, i)), limb);
            };
            self.limbs.par_iter_mut().enumerate().for_each(forward);
            self.form = Form::Eval;
        }
    }

    /// Brings the polynomial to coefficient form, in parallel over limbs.
    pub fn make_coeff(&mut self, basis: &RingBasis) {
        if self.form == Form::Eval {
            let level = self.level;
            let inverse = |(i, limb): (usize, &mut Limb)| {
                basis.kernels().intt(basis.table(basis.prime_index(level, i)), limb);
            };
            self.limbs.par_iter_mut().enumerate().for_each(inverse);
            self.form = Form::Coeff;
        }
    }
}

/// Limb `i` of every polynomial, for all `i`: for work that reads something once for all of them.
pub(crate) fn columns(polys: &mut [Poly]) -> Vec<Vec<&mut Limb>> {
    let mut columns = Vec::new();
    for poly in polys {
        columns.resize_with(poly.limbs.len().max(columns.len()), Vec::new);
        poly.limbs.iter_mut().zip(&mut columns).for_each(|(limb, column)| column.push(limb));
    }
    columns
}
