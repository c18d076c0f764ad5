//! Slow, obvious, arbitrary-precision reference for encrypted transformers under CKKS.

pub mod approx;
pub mod bounds;
pub mod circuits;
pub mod ckks;
pub mod error;
pub mod eval;
pub mod export;
pub mod interval;
pub mod model;
pub mod ring;
pub mod rungs;
pub mod sample;
pub mod synth;
pub mod vectors;
