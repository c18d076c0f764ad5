//! Encryption and decryption (`r[ckks.encrypt.*]`, `r[ckks.decrypt]`).

use super::ciphertext::{Ciphertext, Plaintext};
use super::context::{Context, small_limb};
use super::keygen::masked;
use super::keys::{PublicKey, SecretKey, stream_keys, uniform_poly};
use super::sampler::{Seed, StreamKey};
use crate::CkksError;
use crate::ring::{Form, Limb, Poly};
use rayon::prelude::*;
use touchstone_spec::sampling::domain;
use zeroize::Zeroize;

/// Residues that are combined at once, within the first-level cache.
const BLOCK: usize = 1024;

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
    let masks = Masks::new(context, &ternary, level);
    ternary.zeroize();
    let half = |key: &Poly, error_domain: u32, plain: Option<&Poly>| {
        let mut errors = seed.stream(error_domain, index, 0, 0).gaussian(n);
        let half = masks.half(context, key, &errors, plain);
        errors.zeroize();
        half
    };
    let c0 = half(&public.b, domain::ENCRYPT_ERROR_0, Some(&plain.poly));
    let c1 = half(&public.a, domain::ENCRYPT_ERROR_1, None);
    Ok(Ciphertext { polys: vec![c0, c1], scale: plain.scale, fingerprint: plain.fingerprint })
}

/// The ternary `v` of one encryption over `R_{Q_l p_0}`, in evaluation form. Erased when dropped.
struct Masks {
    /// Modulo the chain primes.
    chain: Poly,
    /// Modulo the first special prime.
    special: Limb,
}

impl Drop for Masks {
    fn drop(&mut self) {
        self.chain.erase();
        self.special.zeroize();
    }
}

impl Masks {
    fn new(context: &Context, ternary: &[i8], level: usize) -> Self {
        let ring = context.ring();
        let table = ring.table(ring.chain_len());
        let mut special = context.scratch_limb();
        small_limb(table.modulus(), ternary, &mut special);
        ring.kernels().ntt(table, &mut special);
        Self { chain: context.small_poly(ternary, level, false), special }
    }

    /// `(u - <u>_{p_0}) / p_0`, `u = v key + e`, plus `plain` if given.
    ///
    /// With `r = <u>_{p_0}` the result modulo `q_j` is `(v key - (r - e)) / p_0`: one transform, of `r - e`.
    fn half(&self, context: &Context, key: &Poly, errors: &[i8], plain: Option<&Poly>) -> Poly {
        let (ring, level) = (context.ring(), self.chain.level());
        let (kernels, first_special) = (ring.kernels(), ring.chain_len());
        let p0 = ring.modulus(first_special);
        let mut remainder = context.scratch_limb();
        kernels.mul(p0, &mut remainder, &self.special, key.special_limb(0));
        kernels.intt(ring.table(first_special), &mut remainder);
        let mut small = context.scratch_limb();
        small_limb(p0, errors, &mut small);
        kernels.add_assign(p0, &mut remainder, &small);
        small.zeroize();

        let mut result = ring.scratch(level, false, Form::Eval);
        result.limbs_mut().par_iter_mut().enumerate().for_each(|(j, out)| {
            let modulus = ring.modulus(j);
            let (mut r, mut part) = (context.scratch_limb(), [0; BLOCK]);
            let blocks = r.chunks_mut(BLOCK).zip(remainder.chunks(BLOCK)).zip(errors.chunks(BLOCK));
            blocks.for_each(|((r, remainder), errors)| {
                let part = &mut part[..errors.len()];
                kernels.reduce_centered(remainder, p0, r, modulus);
                small_limb(modulus, errors, part);
                kernels.sub_assign(modulus, r, part);
            });
            kernels.ntt(ring.table(j), &mut r);
            let inverse = modulus.inv(modulus.reduce_u64(p0.value()));
            for start in (0..ring.n()).step_by(BLOCK.min(ring.n())) {
                let range = start..start + BLOCK.min(ring.n());
                let product = &mut part[..range.len()];
                kernels.mul(modulus, product, &self.chain.limb(j)[range.clone()], &key.limb(j)[range.clone()]);
                let (out, r) = (&mut out[range.clone()], &r[range.clone()]);
                match plain {
                    Some(plain) => {
                        kernels.sub_mul_scalar_add(modulus, out, product, r, inverse, &plain.limb(j)[range]);
                    }
                    None => kernels.sub_mul_scalar(modulus, out, product, r, inverse),
                }
            }
        });
        result
    }
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
