//! Encrypted Power-Softmax transformers: client, server and the touchstone binary.
//!
//! A client tokenises and embeds a prompt and encrypts it; a server that holds the weights in plain and
//! the client's evaluation keys runs the blocks, the final LayerNorm and the LM head on it; the client decrypts logits.
//!
//! * [`artifact`]: the model directory.
//! * [`layout`], [`circuit`]: packing, and the circuit over any [`backend`].
//! * [`batched`]: its twin in the plainest packing, for many prompts at once.
//! * [`backend`]: ciphertexts, predicted noise, or levels alone.
//! * [`bounds`]: bounds on the errors of an encrypted run.
//! * [`generation`], [`sampling`], [`cache_file`]: token after token behind an encrypted cache of keys and values.
//! * [`checkpoint`]: long computations that survive being killed.
//! * [`plain`]: the model in binary64.
//! * [`plan`]: where to bootstrap.
//! * [`session`]: what client and server do, in memory.
//! * [`tap`]: named intermediate values.

pub mod artifact;
pub mod backend;
pub mod batched;
pub mod bounds;
pub mod cache_file;
pub mod checkpoint;
pub mod circuit;
mod error;
mod fingerprint;
pub mod generation;
pub mod layout;
pub mod plain;
pub mod plan;
pub mod profile;
pub mod sampling;
mod sealed;
pub mod session;
pub mod tap;

pub use error::{LlmError, Result};
