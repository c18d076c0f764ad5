//! Slow, obvious, arbitrary-precision reference for encrypted transformers under CKKS.

pub mod error;
