//! CKKS homomorphic encryption on a CPU, bootstrapping included: arithmetic on encrypted vectors of real or complex numbers.
//!
//! Ten lines from keys to a result, with an insecure toy set so that the example runs in a moment; for real use take
//! `n15-leveled` (128-bit security) with [`Security::Enforce`]:
//!
//! ```
//! use touchstone_ckks::*;
//!
//! # fn main() -> Result<(), CkksError> {
//! let context = Context::new(Parameters::preset("toy-n8", Security::AllowInsecure)?)?;
//! let generator = KeyGenerator::new(&context, Seed::from_os()?);
//! let (secret, mut keys) = (generator.secret_key(), EvaluationKeys::new());
//! keys.insert(generator.relinearisation_key(&secret, 8)?);
//! let (encoder, evaluator) = (Encoder::new(&context), Evaluator::new(&context, &keys));
//! let plain = encoder.encode_real(&[0.5; 128], 8, context.parameters().canonical_scale(8))?;
//! let cipher = encrypt_secret(&context, &secret, &plain, &Seed::from_os()?, 0)?;
//! let square = evaluator.mul_rescale(&cipher, &cipher)?;
//! let slots = encoder.decode(&decrypt(&context, &secret, &square)?)?;
//! assert!((slots[0].re - 0.25).abs() < 1e-6);
//! # Ok(())
//! # }
//! ```
//!
//! The meaning of every operation is fixed on integers by the book (`spec/book/ckks.md`, rule ids `r[ckks.*]`); kernels,
//! threads and fused operations never change a bit of a result. Every ciphertext has a level, the number of products that it can still take,
//! and a scale; operands must agree in both, and nothing is adjusted silently. At the *canonical* scale of its level a
//! ciphertext stays canonical through products and rescales.
//!
//! * [`ckks`]: parameters, keys, encoding, encryption and evaluation, files, noise rules.
//! * [`circuits`]: linear maps, polynomials, reciprocals, inverse square roots and bootstrapping.
//! * [`prediction`]: the error of every result, predicted with it or before anything is encrypted.
//! * [`debug`]: decryption at taps while developing.
//! * [`instrument`]: counts and processor time of every operation, opt-in.
//! * [`guide`]: how to choose parameters.
//! * [`ring`], [`arith`]: polynomials in residue form; residue vectors, transforms and base conversion.

pub mod arith;
pub mod circuits;
pub mod ckks;
pub mod debug;
mod error;
#[doc = include_str!("../docs/parameters.md")]
pub mod guide {}
pub mod instrument;
pub mod prediction;
pub mod ring;

pub use arith::KernelKind;
pub use ckks::{
    Ciphertext, Context, Encoder, EvaluationKey, EvaluationKeys, Evaluator, KeyGenerator, Parameters, Plaintext,
    PublicKey, SecretKey, Security, Seed, SwitchKey, decrypt, encrypt_public, encrypt_secret,
};
pub use error::CkksError;
pub use num_complex::Complex64;
pub use touchstone_spec::params::{ParameterLiteral, SecretDistribution};
