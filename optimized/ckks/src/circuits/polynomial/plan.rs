//! What a polynomial evaluation will do, decided on numbers alone: which powers, which products, at which depth.

use super::{Basis, Polynomial};
use std::collections::{BTreeMap, BTreeSet};

/// Smallest `d` with `2^d >= i`: the depth at which the basis polynomial of degree `i >= 1` exists.
#[must_use]
pub fn depth_of(i: usize) -> usize {
    i.next_power_of_two().trailing_zeros() as usize
}

/// A basis polynomial formed by one product of two earlier ones, `index = left + right`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Power {
    /// Degree of the basis polynomial.
    pub index: usize,
    /// Degree of the larger factor.
    pub left: usize,
    /// Degree of the smaller factor.
    pub right: usize,
}

/// A weighted sum of basis polynomials and of products (smaller polynomial times basis polynomial of degree `2^j`).
///
/// The sum is formed before its one rescale, `depth` levels below the input; its value is one level lower.
#[derive(Clone, Debug)]
pub struct Node {
    /// Levels between the input and the level at which the sum is formed.
    pub depth: usize,
    /// Added after the rescale.
    pub constant: f64,
    /// Degrees of basis polynomials with their weights.
    pub terms: Vec<(usize, f64)>,
    /// Degrees of basis polynomials with the sums that they multiply.
    pub products: Vec<(usize, Node)>,
}

/// The operations of one evaluation: powers first, then the tree of sums.
///
/// Its counts are the cost that the evaluator pays; no ciphertext is needed to compute them.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(super) basis: Basis,
    pub(super) powers: Vec<Power>,
    /// Absent for a constant polynomial, whose value is `constant`.
    pub(super) root: Option<Node>,
    pub(super) constant: f64,
    depth: usize,
}

impl Plan {
    /// The plan with the fewest key switches, and among those the fewest ciphertext products.
    #[must_use]
    pub fn new(polynomial: &Polynomial) -> Self {
        let degree = polynomial.degree();
        let depth = depth_of(degree + 1);
        let constant = polynomial.coefficients()[0];
        if degree == 0 {
            return Self { basis: polynomial.basis(), powers: Vec::new(), root: None, constant, depth };
        }
        let candidate = |baby_bits| Self::with_baby_bits(polynomial, depth, baby_bits);
        let mut best = candidate(0);
        for baby_bits in 1..=depth {
            let plan = candidate(baby_bits);
            if plan.cost() < best.cost() {
                best = plan;
            }
        }
        best
    }

    fn with_baby_bits(polynomial: &Polynomial, depth: usize, baby_bits: usize) -> Self {
        let basis = polynomial.basis();
        let root = split(basis, polynomial.coefficients().to_vec(), depth - 1, 1 << baby_bits);
        let mut needed = BTreeSet::new();
        root.collect_indices(&mut needed);
        Self { basis, powers: close_under_products(basis, needed), root: Some(root), constant: 0.0, depth }
    }

    fn cost(&self) -> (usize, usize) {
        (self.key_switches(), self.multiplications())
    }

    /// The products that form basis polynomials, each after those that it uses.
    #[must_use]
    pub fn powers(&self) -> &[Power] {
        &self.powers
    }

    /// The tree of sums; absent for a constant polynomial.
    #[must_use]
    pub fn root(&self) -> Option<&Node> {
        self.root.as_ref()
    }

    /// The value of a constant polynomial, 0 for others.
    #[must_use]
    pub fn constant(&self) -> f64 {
        self.constant
    }

    /// Levels consumed: `ceil(log2(degree + 1))`.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Products of two ciphertexts.
    #[must_use]
    pub fn multiplications(&self) -> usize {
        self.powers.len() + self.root.as_ref().map_or(0, Node::product_count)
    }

    /// Relinearisations: one per power and one per sum that contains products.
    #[must_use]
    pub fn key_switches(&self) -> usize {
        self.powers.len() + self.root.as_ref().map_or(0, Node::relinearisation_count)
    }

    /// The polynomial's value at `x`, computed by the plan's own steps in binary64.
    #[must_use]
    pub fn evaluate(&self, x: f64) -> f64 {
        let Some(root) = &self.root else { return self.constant };
        let mut values = BTreeMap::from([(1, x)]);
        for power in &self.powers {
            let product = values[&power.left] * values[&power.right];
            let value = match (self.basis, power.left - power.right) {
                (Basis::Monomial, _) => product,
                (Basis::Chebyshev, 0) => 2.0 * product - 1.0,
                (Basis::Chebyshev, difference) => 2.0 * product - values[&difference],
            };
            values.insert(power.index, value);
        }
        root.evaluate(&values)
    }
}

impl Node {
    fn collect_indices(&self, into: &mut BTreeSet<usize>) {
        into.extend(self.terms.iter().map(|(index, _)| *index));
        for (giant, child) in &self.products {
            into.insert(*giant);
            child.collect_indices(into);
        }
    }

    fn product_count(&self) -> usize {
        self.products.iter().map(|(_, child)| 1 + child.product_count()).sum()
    }

    fn relinearisation_count(&self) -> usize {
        let own = usize::from(!self.products.is_empty());
        own + self.products.iter().map(|(_, child)| child.relinearisation_count()).sum::<usize>()
    }

    fn evaluate(&self, values: &BTreeMap<usize, f64>) -> f64 {
        let terms: f64 = self.terms.iter().map(|(index, c)| c * values[index]).sum();
        let products: f64 = self.products.iter().map(|(giant, child)| child.evaluate(values) * values[giant]).sum();
        terms + products + self.constant
    }
}

/// Writes `coefficients` as a sum formed `depth` levels below the input from basis polynomials of degree at most
/// `baby_limit` and products with basis polynomials of degree `2^j`.
///
/// Requires `degree < 2^(depth + 1)`, which a split hands on: the quotient by `2^j` with `j <= depth` has half the
/// degree and one level less, the remainder a smaller degree and the same level. A term whose power would only exist
/// below this level (it sits in the leading chunk) is split further, which is what keeps the depth minimal.
fn split(basis: Basis, mut coefficients: Vec<f64>, depth: usize, baby_limit: usize) -> Node {
    let mut node = Node { depth, constant: 0.0, terms: Vec::new(), products: Vec::new() };
    while !is_leaf(&coefficients, depth, baby_limit) {
        let giant = 1 << (degree(&coefficients).ilog2());
        let (quotient, remainder) = divide(basis, coefficients, giant);
        if degree(&quotient) == 0 {
            node.terms.push((giant, quotient[0]));
        } else {
            node.products.push((giant, split(basis, quotient, depth - 1, baby_limit)));
        }
        coefficients = remainder;
    }
    node.constant = coefficients[0];
    let nonzero = coefficients.into_iter().enumerate().skip(1).filter(|(_, c)| *c != 0.0);
    node.terms.extend(nonzero);
    node
}

fn degree(coefficients: &[f64]) -> usize {
    coefficients.iter().rposition(|c| *c != 0.0).unwrap_or(0)
}

fn is_leaf(coefficients: &[f64], depth: usize, baby_limit: usize) -> bool {
    let available = |i: usize| i <= baby_limit && depth_of(i) <= depth;
    coefficients.iter().enumerate().skip(1).all(|(i, c)| *c == 0.0 || available(i))
}

/// Quotient and remainder by the basis polynomial of degree `n`, for a degree below `2n`.
///
/// Chebyshev: `T_i = 2 T_n T_(i-n) - T_(2n-i)` for `n < i < 2n`.
fn divide(basis: Basis, mut coefficients: Vec<f64>, n: usize) -> (Vec<f64>, Vec<f64>) {
    let mut quotient = coefficients.split_off(n);
    let mut remainder = coefficients;
    if basis == Basis::Chebyshev {
        for (i, c) in quotient.iter_mut().enumerate().skip(1).filter(|(_, c)| **c != 0.0) {
            remainder[n - i] -= *c;
            *c *= 2.0;
        }
    }
    (quotient, remainder)
}

/// All products needed to form the basis polynomials in `needed`, in an order in which each uses earlier ones.
///
/// Every index is split so that both factors exist one level above it, preferring factors that are wanted anyway and
/// then balanced ones (whose levels are closest).
fn close_under_products(basis: Basis, mut needed: BTreeSet<usize>) -> Vec<Power> {
    let mut powers = Vec::new();
    needed.insert(1);
    let mut next = needed.last().copied();
    while let Some(index) = next.filter(|i| *i > 1) {
        let half_range = index.next_power_of_two() / 2;
        let splits = (index - half_range.min(index - 1)..=index / 2).rev();
        let fresh = |right: usize| -> usize {
            let difference = if basis == Basis::Chebyshev { index - 2 * right } else { 0 };
            let parts = BTreeSet::from([index - right, right, difference]);
            parts.into_iter().filter(|part| *part != 0 && !needed.contains(part)).count()
        };
        let right = splits.min_by_key(|right| fresh(*right)).unwrap_or(index / 2);
        let power = Power { index, left: index - right, right };
        needed.extend([power.left, power.right]);
        if basis == Basis::Chebyshev && power.left != power.right {
            needed.insert(power.left - power.right);
        }
        powers.push(power);
        next = needed.range(..index).next_back().copied();
    }
    powers.reverse();
    powers
}
