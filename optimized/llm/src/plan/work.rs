//! What operations of the engine do, in work of its kernels.
//!
//! Counts follow the engine operation by operation: a key switch lifts digits, multiplies them with a key and divides by `P`; hoisted
//! rotations share the lift. They depend on the number of limbs only, so that a test on a small ring holds them against what the
//! engine counts itself.

use std::iter::Sum;
use std::ops::{Add, AddAssign, Mul};
use touchstone_ckks::Parameters;
use touchstone_ckks::circuits::polynomial::{Node, Plan, depth_of};

/// Work of kernels, in limbs of `N` residues.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// Forward transforms.
    pub forward: f64,
    /// Inverse transforms.
    pub inverse: f64,
    /// Rows that base conversions read, once per limb that they give.
    pub conversion: f64,
    /// Limbs of digits, each multiplied with both halves of a key.
    pub key: f64,
    /// Limbs of plaintexts, each multiplied with both halves of a ciphertext and added to a sum.
    pub plain: f64,
    /// Limbs that other operations write or add to.
    pub pass: f64,
    /// Vectors of slots turned into coefficients.
    pub embedding: f64,
}

impl Add for Work {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            forward: self.forward + other.forward,
            inverse: self.inverse + other.inverse,
            conversion: self.conversion + other.conversion,
            key: self.key + other.key,
            plain: self.plain + other.plain,
            pass: self.pass + other.pass,
            embedding: self.embedding + other.embedding,
        }
    }
}

impl AddAssign for Work {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Mul<f64> for Work {
    type Output = Self;

    fn mul(self, times: f64) -> Self {
        Self {
            forward: self.forward * times,
            inverse: self.inverse * times,
            conversion: self.conversion * times,
            key: self.key * times,
            plain: self.plain * times,
            pass: self.pass * times,
            embedding: self.embedding * times,
        }
    }
}

impl Sum for Work {
    fn sum<I: Iterator<Item = Self>>(works: I) -> Self {
        works.fold(Self::default(), Add::add)
    }
}

/// The basis of a parameter set, as far as work depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Basis {
    digit_size: usize,
    special: usize,
}

impl Basis {
    /// The basis of a parameter set.
    #[must_use]
    pub fn new(parameters: &Parameters) -> Self {
        Self { digit_size: parameters.digit_size(), special: parameters.special().len() }
    }

    /// Limbs of a polynomial over `R_{Q_l P}`.
    #[must_use]
    pub fn extended(&self, level: usize) -> usize {
        level + 1 + self.special
    }

    /// Digits of a polynomial.
    #[must_use]
    pub fn digits(&self, level: usize) -> usize {
        (level + 1).div_ceil(self.digit_size)
    }

    /// Decomposition into digits and their lifts to all limbs: shared by hoisted rotations.
    #[must_use]
    pub fn lift(&self, level: usize) -> Work {
        let (limbs, extended) = (level + 1, self.extended(level));
        let sizes = (0..limbs).step_by(self.digit_size).map(|first| self.digit_size.min(limbs - first));
        let conversion: usize = sizes.map(|size| size * (extended - size)).sum();
        Work {
            inverse: limbs as f64,
            forward: (self.digits(level) * extended - limbs) as f64,
            conversion: conversion as f64,
            ..Work::default()
        }
    }

    /// The inner product of lifted digits with a key.
    #[must_use]
    pub fn key_product(&self, level: usize) -> Work {
        Work { key: (self.digits(level) * self.extended(level)) as f64, ..Work::default() }
    }

    /// Division of one polynomial by `P`.
    #[must_use]
    pub fn mod_down(&self, level: usize) -> Work {
        let (limbs, special) = ((level + 1) as f64, self.special as f64);
        Work { inverse: special, forward: limbs, conversion: special * (limbs + 1.0), pass: limbs, ..Work::default() }
    }

    /// Division of one polynomial by `P`, fused with a rescale.
    #[must_use]
    pub fn mod_down_rescale(&self, level: usize) -> Work {
        let (limbs, special) = (level as f64, self.special as f64);
        Work {
            inverse: special + 1.0,
            forward: limbs + 1.0,
            conversion: special * (limbs + 2.0) + limbs,
            pass: 2.0 * limbs + 1.0,
            ..Work::default()
        }
    }

    /// Rotation or conjugation: one key switch and an automorphism.
    #[must_use]
    pub fn rotate(&self, level: usize) -> Work {
        self.rotate_hoisted(level, 1)
    }

    /// Several rotations of one ciphertext.
    #[must_use]
    pub fn rotate_hoisted(&self, level: usize, count: usize) -> Work {
        if count == 0 {
            return Work::default();
        }
        let each = self.key_product(level) + self.mod_down(level) * 2.0 + passes(2 * (level + 1));
        self.lift(level) + each * count as f64
    }

    /// Relinearisation of a product, with the rescale fused to it.
    #[must_use]
    pub fn relinearise_rescale(&self, level: usize) -> Work {
        self.lift(level) + self.key_product(level) + self.mod_down_rescale(level) * 2.0
    }

    /// Rescale of both polynomials of a ciphertext, with a constant or not.
    #[must_use]
    pub fn rescale(&self, level: usize) -> Work {
        let limbs = level as f64;
        Work { inverse: 2.0, forward: 2.0 * limbs, pass: 4.0 * limbs + 2.0, ..Work::default() }
    }

    /// A product of two ciphertexts, not relinearised.
    #[must_use]
    pub fn product(&self, level: usize) -> Work {
        passes(4 * (level + 1))
    }

    /// A sum of two ciphertexts of `polys` polynomials.
    #[must_use]
    pub fn add(&self, level: usize, polys: usize) -> Work {
        passes(polys * (level + 1))
    }

    /// Encoding of a vector of slots.
    #[must_use]
    pub fn encode(&self, level: usize) -> Work {
        let limbs = (level + 1) as f64;
        Work { forward: limbs, pass: limbs, embedding: 1.0, ..Work::default() }
    }

    /// A sum of ciphertexts times constants, not rescaled.
    #[must_use]
    pub fn weighted_sum(&self, level: usize, terms: usize) -> Work {
        passes(2 * terms * (level + 1))
    }

    /// A product with an encoded plaintext, not rescaled.
    #[must_use]
    pub fn plain_product(&self, level: usize) -> Work {
        passes(2 * (level + 1))
    }

    /// A linear map by diagonals encoded on use, its giant steps and its rescale.
    #[must_use]
    pub fn linear(&self, level: usize, diagonals: usize, rotations: usize) -> Work {
        let term = Work { embedding: 1.0, ..self.plaintext(level + 1, 1.0) };
        let giant = self.rotate(level) + self.add(level, 2);
        term * diagonals as f64 + giant * rotations as f64 + self.rescale(level)
    }

    /// A plaintext held as coefficients, `1 / share` of `N` of them, reduced and transformed modulo so many primes and multiplied.
    pub(super) fn plaintext(&self, limbs: usize, share: f64) -> Work {
        let limbs = limbs as f64;
        Work { forward: limbs * share, pass: limbs * share, plain: limbs, ..Work::default() }
    }

    /// Evaluation of a polynomial on a ciphertext of a level.
    #[must_use]
    pub fn polynomial(&self, plan: &Plan, top: usize) -> Work {
        let powers = plan.powers().iter().map(|power| {
            let level = top + 1 - depth_of(power.index);
            let lowered = |index: usize| self.lowered(top - depth_of(index), level);
            let difference = power.left - power.right;
            let other = if difference == 0 { Work::default() } else { lowered(power.right) + passes(5 * (level + 1)) };
            lowered(power.left)
                + other
                + self.product(level)
                + passes(3 * (level + 1))
                + self.relinearise_rescale(level)
        });
        powers.sum::<Work>() + plan.root().map_or(Work::default(), |root| self.node(root, top))
    }

    fn node(&self, node: &Node, top: usize) -> Work {
        let level = top - node.depth;
        let mut work = passes(2 * node.terms.len() * (level + 1));
        for (giant, child) in &node.products {
            work += self.node(child, top) + self.lowered(top - depth_of(*giant), level) + self.product(level);
        }
        let finish = if node.products.is_empty() { self.rescale(level) } else { self.relinearise_rescale(level) };
        work + passes(3 * node.products.len().saturating_sub(1) * (level + 1)) + finish
    }

    /// Limbs that a key switch holds besides its operand and its result: digits and the product over `R_{Q_l P}`.
    #[must_use]
    pub fn key_switch_limbs(&self, level: usize) -> usize {
        level + 1 + 2 * self.extended(level)
    }

    /// Limbs that hoisted rotations hold besides operand and results: all lifts, and one product.
    #[must_use]
    pub fn hoisted_limbs(&self, level: usize) -> usize {
        (self.digits(level) + 2) * self.extended(level)
    }

    /// Change of level.
    #[must_use]
    pub fn lowered(&self, from: usize, to: usize) -> Work {
        if from > to { self.rescale(to + 1) } else { Work::default() }
    }
}

/// Passes over so many limbs.
pub(crate) fn passes(limbs: usize) -> Work {
    Work { pass: limbs as f64, ..Work::default() }
}
