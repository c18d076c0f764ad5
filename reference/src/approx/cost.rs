//! Levels and ciphertext products that an approximation costs when it is evaluated under encryption (`r[approx.depth]`,
//! `r[approx.products]`).

use std::collections::BTreeSet;

/// Levels that a polynomial of degree `degree` consumes: `ceil(log2(degree + 1))`.
#[must_use]
pub fn polynomial_depth(degree: usize) -> usize {
    exists_at(degree + 1)
}

/// Products of two ciphertexts in the plan of `r[circuit.polynomial.plan]` for a polynomial of degree `degree` without
/// zero coefficients: of the plans for babies up to `2^k`, the one with the fewest relinearisations, then products.
#[must_use]
pub fn polynomial_products(degree: usize) -> usize {
    if degree == 0 {
        return 0;
    }
    let depth = polynomial_depth(degree);
    let plan = |babies: usize| {
        let mut plan = Plan::default();
        plan.sum(degree, depth - 1, 1 << babies);
        let powers = plan.powers();
        (powers + plan.sums, powers + plan.products)
    };
    (0..=depth).map(plan).min().map_or(0, |(_, products)| products)
}

/// Smallest `d` with `2^d >= i`: levels below the input at which the basis polynomial of degree `i` exists.
fn exists_at(i: usize) -> usize {
    i.next_power_of_two().trailing_zeros() as usize
}

#[derive(Default)]
struct Plan {
    /// Degrees of the basis polynomials in use.
    needed: BTreeSet<usize>,
    /// Products of a sum and a basis polynomial.
    products: usize,
    /// Sums that contain a product, each relinearised once.
    sums: usize,
}

impl Plan {
    /// A sum of all terms up to `degree`, formed `level` levels below the input, from babies up to `babies`.
    fn sum(&mut self, mut degree: usize, level: usize, babies: usize) {
        let mut has_product = false;
        while degree > 0 && (degree > babies || exists_at(degree) > level) {
            let giant = 1 << degree.ilog2();
            self.needed.insert(giant);
            if degree > giant {
                self.products += 1;
                has_product = true;
                self.sum(degree - giant, level - 1, babies);
            }
            degree = giant - 1;
        }
        self.needed.extend(1..=degree);
        self.sums += usize::from(has_product);
    }

    /// Products that form the basis polynomials: the babies are consecutive, the giants powers of two, so that every one of
    /// them needs one product and nothing beyond its halves.
    fn powers(&self) -> usize {
        let largest = self.needed.last().copied().unwrap_or(1);
        let doublings = (1..usize::BITS).map(|j| 1usize << j).take_while(|power| *power <= largest);
        let all: BTreeSet<usize> = self.needed.iter().copied().filter(|i| *i > 1).chain(doublings).collect();
        all.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand: a line needs no product, `T_2` one; a cubic is a line plus a line times `T_2`, with `T_2` two products; a
    /// degree of 7 needs `T_2`, `T_4` and three products of lines, or `T_2`, `T_3`, `T_4` and one of a cubic.
    #[test]
    fn counts_of_small_degrees() {
        assert_eq!([0, 1, 2, 3, 7, 15].map(polynomial_depth), [0, 1, 2, 2, 3, 4]);
        assert_eq!([0, 1, 2, 3].map(polynomial_products), [0, 0, 1, 2]);
        assert!([4, 5].contains(&polynomial_products(7)));
        // Depth d needs at least d - 1 products in a row.
        assert!((1..512).all(|n| polynomial_products(n) >= polynomial_depth(n) - 1));
    }
}
