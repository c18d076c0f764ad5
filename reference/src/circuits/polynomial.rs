//! Polynomials on ciphertexts (`r[circuit.polynomial]` and the rules after it).

use super::Circuits;
use crate::ckks::Ciphertext;
use crate::error::ReferenceError;
use std::collections::{BTreeMap, BTreeSet};

/// The basis `B_0, B_1, ...` of a polynomial's coefficients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// Chebyshev polynomials of the first kind.
    Chebyshev,
    /// Powers.
    Monomial,
}

/// A sum of products and weighted basis polynomials (`r[circuit.polynomial.split]`).
#[derive(Clone, Debug, PartialEq)]
pub struct Sum {
    /// Levels below the input at which the sum is formed.
    pub depth: usize,
    /// Added after the rescale.
    pub constant: f64,
    /// `(i, c_i)`: the basis polynomial `B_i` with its weight.
    pub terms: Vec<(usize, f64)>,
    /// `(h, q)`: the value of `q` times `B_h`.
    pub products: Vec<(usize, Sum)>,
}

/// How a polynomial is evaluated (`r[circuit.polynomial.plan]`).
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    basis: Basis,
    depth: usize,
    /// `i -> (left, right)`, the basis polynomials formed by a product.
    powers: BTreeMap<usize, (usize, usize)>,
    /// The constant of a polynomial of degree 0, or the sum.
    value: Result<Sum, f64>,
}

/// `ceil(log2 i)` for `i >= 1`: how far below the input `B_i` is.
fn depth(i: usize) -> usize {
    i.next_power_of_two().ilog2() as usize
}

/// The last index with a coefficient that is not 0; 0 if there is none.
fn degree(c: &[f64]) -> usize {
    c.iter().rposition(|c| *c != 0.0).unwrap_or(0)
}

/// Quotient and remainder by `B_h`, `h <= degree < 2h` (`r[circuit.polynomial.divide]`).
fn divide(basis: Basis, c: &[f64], h: usize) -> (Vec<f64>, Vec<f64>) {
    let mut quotient = c[h..=degree(c)].to_vec();
    let mut remainder = c[..h].to_vec();
    if basis == Basis::Chebyshev {
        for i in (1..quotient.len()).filter(|i| c[h + i] != 0.0) {
            quotient[i] = 2.0 * c[h + i];
            remainder[h - i] = c[h - i] - c[h + i];
        }
    }
    (quotient, remainder)
}

impl Sum {
    /// `Sum(c, e, m)` (`r[circuit.polynomial.split]`).
    fn split(basis: Basis, c: &[f64], e: usize, m: usize) -> Self {
        let others = || (1..c.len()).filter(|i| c[*i] != 0.0);
        if others().all(|i| i <= m && depth(i) <= e) {
            let terms = others().map(|i| (i, c[i])).collect();
            return Self { depth: e, constant: c[0], terms, products: Vec::new() };
        }
        let h = 1 << degree(c).ilog2();
        let (quotient, remainder) = divide(basis, c, h);
        let mut sum = Self::split(basis, &remainder, e, m);
        if degree(&quotient) == 0 {
            sum.terms.push((h, quotient[0]));
        } else {
            sum.products.push((h, Self::split(basis, &quotient, e - 1, m)));
        }
        sum
    }

    /// This sum and all sums inside it.
    fn all(&self) -> Vec<&Self> {
        let inner = self.products.iter().flat_map(|(_, q)| q.all());
        std::iter::once(self).chain(inner).collect()
    }
}

/// The products that form the needed basis polynomials (`r[circuit.polynomial.powers]`).
fn powers(basis: Basis, root: &Sum) -> BTreeMap<usize, (usize, usize)> {
    let indices = |sum: &Sum| {
        let terms: Vec<usize> = sum.terms.iter().map(|(i, _)| *i).collect();
        terms.into_iter().chain(sum.products.iter().map(|(h, _)| *h).collect::<Vec<_>>())
    };
    let mut needed: BTreeSet<usize> = root.all().into_iter().flat_map(indices).chain([1]).collect();
    let mut powers = BTreeMap::new();
    for i in (2..=needed.last().copied().unwrap_or(1)).rev() {
        if !needed.contains(&i) {
            continue;
        }
        let uses = |right: usize| -> BTreeSet<usize> {
            let difference = (basis == Basis::Chebyshev && i != 2 * right).then(|| i - 2 * right);
            [i - right, right].into_iter().chain(difference).collect()
        };
        let fresh = |right: usize| uses(right).difference(&needed).count();
        let admitted = (1..=i / 2).filter(|right| depth(i - right) < depth(i));
        // Of several with the least, `min_by_key` gives the first: the largest right.
        if let Some(right) = admitted.rev().min_by_key(|right| fresh(*right)) {
            let used = uses(right);
            powers.insert(i, (i - right, right));
            needed.extend(used);
        }
    }
    powers
}

impl Plan {
    /// The plan of the polynomial with the given coefficients `c_0, c_1, ...`.
    ///
    /// # Errors
    /// [`ReferenceError::BadOperand`] without coefficients or for one that is not finite.
    pub fn new(basis: Basis, coefficients: &[f64]) -> Result<Self, ReferenceError> {
        if coefficients.is_empty() || coefficients.iter().any(|c| !c.is_finite()) {
            let expected = "at least one coefficient, all finite".to_owned();
            let got = format!("{coefficients:?}");
            return Err(ReferenceError::BadOperand { operation: "polynomial", expected, got });
        }
        let c = &coefficients[..=degree(coefficients)];
        let whole = depth(c.len());
        if whole == 0 {
            return Ok(Self { basis, depth: 0, powers: BTreeMap::new(), value: Err(c[0]) });
        }
        let candidate = |k: usize| {
            let sum = Sum::split(basis, c, whole - 1, 1 << k);
            Self { basis, depth: whole, powers: powers(basis, &sum), value: Ok(sum) }
        };
        let cost = |plan: &Self| (plan.relinearisations(), plan.multiplications());
        let best = (1..=whole).map(candidate).fold(candidate(0), |a, b| if cost(&b) < cost(&a) { b } else { a });
        Ok(best)
    }

    /// Levels that the evaluation takes: `ceil(log2(degree + 1))`.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// `i -> (left, right)`: the basis polynomials that are formed by a product.
    #[must_use]
    pub fn powers(&self) -> &BTreeMap<usize, (usize, usize)> {
        &self.powers
    }

    /// The outermost sum; none for a constant.
    #[must_use]
    pub fn sum(&self) -> Option<&Sum> {
        self.value.as_ref().ok()
    }

    /// One per power and one per sum with products.
    #[must_use]
    pub fn relinearisations(&self) -> usize {
        self.powers.len() + self.sums().filter(|sum| !sum.products.is_empty()).count()
    }

    /// One per power and one per product.
    #[must_use]
    pub fn multiplications(&self) -> usize {
        self.powers.len() + self.sums().map(|sum| sum.products.len()).sum::<usize>()
    }

    fn sums(&self) -> impl Iterator<Item = &Sum> {
        self.value.iter().flat_map(Sum::all)
    }
}

impl Circuits<'_> {
    /// The polynomial of `plan` in every slot. In: canonical; out: canonical, `depth` steps lower (`r[ckks.step]`), without
    /// pairs level `l - depth`.
    ///
    /// # Errors
    /// [`ReferenceError::LevelExhausted`], [`ReferenceError::ScaleMismatch`], [`ReferenceError::MissingKey`];
    /// [`ReferenceError::NotEncodable`] for a coefficient too large for its scale.
    pub fn polynomial(&self, a: &Ciphertext, plan: &Plan) -> Result<Ciphertext, ReferenceError> {
        self.check_input("polynomial", a, plan.depth)?;
        let sum = match &plan.value {
            Ok(sum) => sum,
            Err(constant) => return self.add_constant(&self.evaluator.sub(a, a)?, *constant),
        };
        let mut basis = BTreeMap::from([(1, a.clone())]);
        for (i, (left, right)) in &plan.powers {
            let power = self.basis_polynomial(plan.basis, &basis, a.level, *i, (*left, *right))?;
            basis.insert(*i, power);
        }
        self.sum_value(&basis, a.level, sum)
    }

    /// `B_i` from earlier ones (`r[circuit.polynomial.power]`).
    fn basis_polynomial(
        &self,
        kind: Basis,
        basis: &BTreeMap<usize, Ciphertext>,
        top: usize,
        i: usize,
        (left, right): (usize, usize),
    ) -> Result<Ciphertext, ReferenceError> {
        let level = self.level_at(top, depth(i) - 1)?;
        let (a, b) = (self.to_level(&basis[&left], level)?, self.to_level(&basis[&right], level)?);
        let d = self.evaluator.mul(&a, &b)?;
        let finish = |d: &Ciphertext| self.step(&self.relinearise(d)?);
        if kind == Basis::Monomial {
            return finish(&d);
        }
        let doubled = self.evaluator.add(&d, &d)?;
        if left == right {
            return self.add_constant(&finish(&doubled)?, -1.0);
        }
        finish(&self.evaluator.sub(&doubled, &self.summand(&basis[&(left - right)], 1.0, level)?)?)
    }

    /// The value of a sum (`r[circuit.polynomial.sum]`).
    fn sum_value(
        &self,
        basis: &BTreeMap<usize, Ciphertext>,
        top: usize,
        sum: &Sum,
    ) -> Result<Ciphertext, ReferenceError> {
        let level = self.level_at(top, sum.depth)?;
        let mut parts = Vec::new();
        for (h, factor) in &sum.products {
            let value = self.sum_value(basis, top, factor)?;
            parts.push(self.evaluator.mul(&value, &self.to_level(&basis[h], level)?)?);
        }
        for (i, c) in &sum.terms {
            parts.push(self.summand(&basis[i], *c, level)?);
        }
        let mut total = self.sum("polynomial", parts)?;
        if !sum.products.is_empty() {
            total = self.relinearise(&total)?;
        }
        self.add_constant(&self.step(&total)?, sum.constant)
    }

    /// The level `steps` steps below `top`.
    fn level_at(&self, top: usize, steps: usize) -> Result<usize, ReferenceError> {
        let exhausted = ReferenceError::LevelExhausted { operation: "polynomial", expected: steps, got: top };
        self.params.below(top, steps).ok_or(exhausted)
    }
}
