//! Slow, obvious, arbitrary-precision reference for encrypted transformers under CKKS.

pub mod bounds;
pub mod ckks;
pub mod error;
pub mod ring;
pub mod sample;
