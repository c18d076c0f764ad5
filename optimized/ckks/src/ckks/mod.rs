//! The CKKS scheme: parameters, keys, encoding, encryption and evaluation.

mod ciphertext;
mod context;
pub(crate) mod embedding;
mod encoder;
mod encrypt;
pub(crate) mod ephemeral;
mod evaluator;
pub(crate) mod factor;
mod galois;
pub(crate) mod hoist;
pub(crate) mod inner;
mod keygen;
mod keys;
pub(crate) mod keyswitch;
mod multiply;
pub mod noise;
pub(crate) mod params;
mod rescale;
mod sampler;
pub mod serialise;
#[cfg(test)]
mod tests;
mod uniform;

pub use ciphertext::{Ciphertext, Plaintext};
pub use context::Context;
pub use encoder::Encoder;
pub use encrypt::{decrypt, encrypt_public, encrypt_secret, encryption_stream_keys};
pub use ephemeral::ToEphemeralKey;
pub use evaluator::Evaluator;
pub use hoist::Extended;
pub use keygen::KeyGenerator;
pub use keys::{EvaluationKey, EvaluationKeys, PublicKey, SecretKey, SwitchKey};
pub use params::{Parameters, Security};
pub use sampler::{Seed, Stream, StreamKey};
