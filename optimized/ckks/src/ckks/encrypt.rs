//! Encryption and decryption (`r[ckks.encrypt.*]`, `r[ckks.decrypt]`).

use super::ciphertext::{Ciphertext, Plaintext};
use super::context::Context;
use super::keygen::masked;
use super::keys::{PublicKey, SecretKey, stream_keys, uniform_poly};
use super::keyswitch::mod_down_add;
use super::sampler::{Seed, StreamKey};
use crate::CkksError;
use crate::ring::{Form, Poly};
use rayon::prelude::*;
use touchstone_spec::sampling::domain;
use zeroize::Zeroize;

/// The keys of the streams that [`encrypt_secret`] draws the uniform half of ciphertext `index` from, one per limb.
/// They may be sent in place of that half.
#[must_use]
pub fn encryption_stream_keys(context: &Context, seed: &Seed, index: u32, level: usize) -> Vec<StreamKey> {
    stream_keys(context, level, false, |limb| seed.stream_key(domain::ENCRYPT_UNIFORM, index, 0, limb))
}

/// Encrypts under the secret key (`r[ckks.encrypt.secret]`, error `r[noise.fresh.secret]`); level and scale are the
/// plaintext's. One pair of seed and index must never be used for two plaintexts.
///
/// # Errors
/// [`CkksError::Fingerprint`] if key or plaintext belong to other parameters.
pub fn encrypt_secret(
    context: &Context,
    secret: &SecretKey,
    plain: &Plaintext,
    seed: &Seed,
    index: u32,
) -> Result<Ciphertext, CkksError> {
    let operation = "encrypt_secret";
    context.check_fingerprint(operation, &secret.fingerprint)?;
    context.check_fingerprint(operation, &plain.fingerprint)?;
    let level = plain.level();
    let streams = encryption_stream_keys(context, seed, index, level);
    let a = uniform_poly(context, operation, level, false, &streams)?;
    let mut errors = seed.stream(domain::ENCRYPT_ERROR, index, 0, 0).gaussian(context.parameters().n());
    let mut c0 = masked(context, &a, &secret.poly, &errors);
    errors.zeroize();
    let ring = context.ring();
    c0.limbs_mut().par_iter_mut().enumerate().for_each(|(i, limb)| {
        ring.kernels().add_assign(ring.modulus(i), limb, plain.poly.limb(i));
    });
    Ok(Ciphertext { polys: vec![c0, a], scale: plain.scale, fingerprint: plain.fingerprint })
}

/// Encrypts under the public key (`r[ckks.encrypt.public]`, error `r[noise.fresh.public]`); level and scale are the
/// plaintext's. One pair of seed and index must never be used for two plaintexts.
///
/// # Errors
/// [`CkksError::Fingerprint`] if key or plaintext belong to other parameters.
pub fn encrypt_public(
    context: &Context,
    public: &PublicKey,
    plain: &Plaintext,
    seed: &Seed,
    index: u32,
) -> Result<Ciphertext, CkksError> {
    let operation = "encrypt_public";
    context.check_fingerprint(operation, &public.fingerprint)?;
    context.check_fingerprint(operation, &plain.fingerprint)?;
    let (level, n) = (plain.level(), context.parameters().n());
    let mut ternary = seed.stream(domain::ENCRYPT_TERNARY, index, 0, 0).ternary(n);
    let mut v = context.small_poly(&ternary, level, true);
    ternary.zeroize();
    let half = |key: &Poly, error_domain: u32, plain: Option<&Poly>| {
        let mut errors = seed.stream(error_domain, index, 0, 0).gaussian(n);
        let mut u = context.small_poly(&errors, level, true);
        errors.zeroize();
        let ring = context.ring();
        u.limbs_mut().par_iter_mut().enumerate().for_each(|(i, limb)| {
            let prime = ring.prime_index(level, i);
            let key = if i <= level { key.limb(i) } else { key.special_limb(i - level - 1) };
            ring.kernels().mul_add_assign(ring.modulus(prime), limb, v.limb(i), key);
        });
        mod_down_add(context, u, plain)
    };
    let c0 = half(&public.b, domain::ENCRYPT_ERROR_0, Some(&plain.poly));
    let c1 = half(&public.a, domain::ENCRYPT_ERROR_1, None);
    v.erase();
    Ok(Ciphertext { polys: vec![c0, c1], scale: plain.scale, fingerprint: plain.fingerprint })
}

/// Decrypts (`r[ckks.decrypt]`), also a lazy product of degree 2; level and scale are the ciphertext's.
///
/// The result carries the ciphertext's error, which depends on the secret: whoever may see it can learn about the key
/// unless noise is added that drowns the error.
///
/// # Errors
/// [`CkksError::Fingerprint`] if key or ciphertext belong to other parameters.
pub fn decrypt(context: &Context, secret: &SecretKey, cipher: &Ciphertext) -> Result<Plaintext, CkksError> {
    context.check_fingerprint("decrypt", &secret.fingerprint)?;
    context.check_fingerprint("decrypt", &cipher.fingerprint)?;
    let ring = context.ring();
    let mut poly = ring.zero(cipher.level(), false, Form::Eval);
    poly.limbs_mut().par_iter_mut().enumerate().for_each(|(i, limb)| {
        // Horner in the secret: ((c_2) s + c_1) s + c_0.
        for c in cipher.polys.iter().rev() {
            ring.kernels().mul_assign(ring.modulus(i), limb, secret.poly.limb(i));
            ring.kernels().add_assign(ring.modulus(i), limb, c.limb(i));
        }
    });
    Ok(Plaintext { poly, scale: cipher.scale, fingerprint: cipher.fingerprint })
}
