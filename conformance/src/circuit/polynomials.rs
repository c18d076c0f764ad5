//! Polynomials in both bases.

use super::Circuit;
use super::pair::Pair;
use crate::ConformError;
use crate::scheme::draws::Draws;
use crate::scheme::fixture::Output;
use crate::scheme::side;
use touchstone_ckks::circuits::polynomial::{Polynomial, evaluate};
use touchstone_reference::circuits::{Basis, Plan};

pub fn all() -> Vec<Circuit> {
    let circuit = |name, about, draw| Circuit { name, rule: "circuit.polynomial", about, unit_tolerance: 0, draw };
    vec![
        circuit(
            "polynomial-chebyshev",
            "A random Chebyshev polynomial: dense, odd, even or sparse, up to degree 127",
            |pair, draws| draw(pair, draws, Basis::Chebyshev),
        ),
        circuit(
            "polynomial-monomial",
            "A random polynomial in powers: dense, odd, even or sparse, up to degree 127",
            |pair, draws| draw(pair, draws, Basis::Monomial),
        ),
    ]
}

/// Coefficients of a random degree below `limit`, of one of four kinds.
fn coefficients(draws: &mut Draws, limit: u64) -> Vec<f64> {
    let degree = draws.below(limit) as usize;
    let kind = draws.below(4);
    let mut keep = |i: usize| match kind {
        0 => true,
        1 => i % 2 == 1,
        2 => i.is_multiple_of(2),
        _ => draws.below(4) == 0,
    };
    let kept: Vec<bool> = (0..=degree).map(&mut keep).collect();
    kept.into_iter().map(|keep| if keep { draws.unit() } else { 0.0 }).collect()
}

fn draw(pair: &Pair<'_>, draws: &mut Draws, basis: Basis) -> Result<(Output, Output), ConformError> {
    let limit = (1u64 << pair.top().min(7)).min(128);
    let coefficients = coefficients(draws, limit);
    let plan = pair.exact(Plan::new(basis, &coefficients))?;
    let polynomial = pair.fast(match basis {
        Basis::Chebyshev => Polynomial::chebyshev(coefficients),
        Basis::Monomial => Polynomial::monomial(coefficients),
    })?;
    if plan.depth() > pair.top() {
        return Err(side("reference", "polynomial", format!("depth {} at {} levels", plan.depth(), pair.top())));
    }
    let level = pair.level(draws, plan.depth());
    let a = pair.uniform(draws, level)?;
    pair.run([], |c| c.polynomial(&a.exact, &plan), |e| evaluate(e, &a.fast, &polynomial))
}
