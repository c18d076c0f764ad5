//! CKKS by its definition: big-integer coefficients, no limb arithmetic, no transforms.
//!
//! Every operation is the formula of its rule in `spec/book/ckks.md`. With the seed of an implementation that
//! follows the same chapter, keys and ciphertexts are the same integers; [`Ciphertext::residues`] gives them limb by
//! limb for the comparison. Speed is not a goal beyond toy rings staying interactive.

mod base;
mod encode;
mod encrypt;
mod evaluator;
mod keys;
mod params;
#[cfg(test)]
mod tests;

pub use base::{bconv, centred_shares, mod_down, mod_up, rescale_poly};
pub use encode::{Cyclotomic, Decoded, Encoder};
pub use encrypt::{Ciphertext, Plaintext, decrypt, encrypt_public, encrypt_secret, public_product};
pub use evaluator::Evaluator;
pub use keys::{KeySwitchKey, PublicKey, SecretKey, conjugation_element, rotation_element};
pub use params::Parameters;
