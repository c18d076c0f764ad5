//! Fuzz targets for every reader of untrusted bytes; `fuzz/run` runs them.
//!
//! What a target checks is in [`readers`], which `conformance/tests/corpus.rs` includes too, to replay the corpus without
//! a fuzzer.

pub mod models;
pub mod readers;
