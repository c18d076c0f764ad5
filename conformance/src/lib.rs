//! Error bounds between reference and optimized, layer by layer.
//!
//! A *case* has a permanent id, cites the rule that it checks, and ends in a [`Verdict`]. Cases of the family `scheme`
//! compare every CKKS operation bit for bit, and random programs of them, those of the family `circuit` whole circuits; cases of the family `model`
//! compare the exact model, the polynomial model and the decrypted encrypted run at every tap. A run writes one record,
//! from which every report is printed.
//!
//! Non-goals: speed (see the benches), and any tolerance that is not computed from a rule.

pub mod backend;
pub mod case;
pub mod circuit;
pub mod commands;
pub mod coverage;
pub mod error;
pub mod metrics;
pub mod model;
pub mod programs;
pub mod report;
pub mod runner;
pub mod scheme;
pub mod vectors;

pub use case::{Case, CaseOutcome, Options};
pub use error::ConformError;
pub use touchstone_spec::record::Verdict;
