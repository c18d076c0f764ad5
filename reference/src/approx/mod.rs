//! Polynomial replacements of the model's functions: construction and proof of their error.
//!
//! A replacement is constructed in multi-precision ([`minimax`], [`best_reciprocal`]), rounded to the binary64
//! coefficients that an artifact stores, and only then certified ([`certify`]): the proof is about the numbers that
//! are shipped, and does not depend on how they were found. Composition of functions is not attempted.

mod certify;
mod chebyshev;
mod fit;
mod jet;
mod remez;
#[cfg(test)]
mod tests;

pub use certify::{Certificate, certify};
pub use chebyshev::{Chebyshev, interpolate};
pub use fit::{best_reciprocal, error_kind, fit, replacement};
pub use remez::{Minimax, minimax};
