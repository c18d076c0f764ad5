//! RNS-CKKS on the CPU: 50-bit primes, f64-FMA kernels, bit-exact semantics.
//!
//! The meaning of every operation is fixed on integers by the book (`spec/book/ckks.md`, rule ids `r[ckks.*]`); kernels,
//! threads and fused operations never change a bit of a result.
//!
//! * [`arith`]: residue vectors, transforms and base conversion.
//! * [`ring`]: polynomials in residue form over the primes of a parameter set.
//! * [`ckks`]: parameters, keys, encoding, encryption and evaluation, files, noise prediction.
//! * [`circuits`]: linear maps, polynomials, reciprocals, inverse square roots and bootstrapping.
//!
//! ```
//! use num_complex::Complex64;
//! use touchstone_ckks::{Context, Encoder, EvaluationKeys, Evaluator, KeyGenerator, Parameters, Security, Seed};
//! use touchstone_ckks::{decrypt, encrypt_secret};
//!
//! # fn main() -> Result<(), touchstone_ckks::CkksError> {
//! let context = Context::new(Parameters::preset("toy-n8", Security::AllowInsecure)?)?;
//! let level = context.parameters().max_level();
//! let scale = context.parameters().canonical_scale(level);
//! let generator = KeyGenerator::new(&context, Seed::insecure(7));
//! let secret = generator.secret_key();
//! let mut keys = EvaluationKeys::new();
//! keys.insert(generator.relinearisation_key(&secret, level)?);
//!
//! let values = vec![Complex64::new(0.5, -0.25); context.parameters().slots()];
//! let plain = Encoder::new(&context).encode(&values, level, scale)?;
//! let cipher = encrypt_secret(&context, &secret, &plain, &Seed::from_os()?, 0)?;
//! let square = Evaluator::new(&context, &keys).mul_rescale(&cipher, &cipher)?;
//! let slots = Encoder::new(&context).decode(&decrypt(&context, &secret, &square)?)?;
//! assert!((slots[0] - values[0] * values[0]).norm() < 1e-6);
//! # Ok(())
//! # }
//! ```

pub mod arith;
pub mod circuits;
pub mod ckks;
mod error;
pub mod ring;

pub use arith::KernelKind;
pub use ckks::{
    Ciphertext, Context, Encoder, EvaluationKeys, Evaluator, KeyGenerator, Parameters, Plaintext, PublicKey, SecretKey,
    Security, Seed, SwitchKey, decrypt, encrypt_public, encrypt_secret,
};
pub use error::CkksError;
pub use num_complex::Complex64;
pub use touchstone_spec::params::{ParameterLiteral, SecretDistribution};
