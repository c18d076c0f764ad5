//! Polynomial approximation: construction and proof of the error (`r[approx.construction]`).
//!
//! A polynomial is constructed in multi-precision ([`approximate`]: Remez exchange, interpolation, Chebyshev series, least
//! squares), rounded to the binary64 coefficients that are shipped, and only then certified ([`certify_on`]): the proof is
//! about those numbers and does not depend on how they were found. [`optimise`] finds the shallowest composition of a
//! polynomial and iterations for reciprocals and inverse square roots.

mod certify;
mod chebyshev;
mod composite;
mod cost;
mod domain;
mod fit;
mod goldschmidt;
mod jet;
mod least_squares;
mod remez;
mod target;
#[cfg(test)]
mod tests;

pub use certify::{Certificate, certify, certify_on};
pub use chebyshev::{Chebyshev, interpolate, series};
pub use composite::{Composite, Form, Iteration, optimise};
pub use cost::{polynomial_depth, polynomial_products};
pub use domain::Domain;
pub use fit::{Method, Request, approximate, best_reciprocal, error_kind, fit, replacement};
pub use goldschmidt::{Goldschmidt, Relaxation};
pub use least_squares::least_squares;
pub use remez::{Minimax, minimax};
pub use target::{Parity, Target};
