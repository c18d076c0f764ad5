//! Encryption and decryption (`r[ckks.encrypt.*]`, `r[ckks.decrypt]`).

use super::ciphertext::{Ciphertext, Plaintext};
use super::context::Context;
use super::keygen::masked;
use super::keys::{PublicKey, SecretKey, stream_keys, uniform_poly};
use super::sampler::{Seed, Stream, StreamKey};
use crate::CkksError;
use crate::ring::{Buffer, Form, Limb, Poly, columns};
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
    let masks = Masks::new(context, seed, index);
    let remainders = [
        masks.remainder(context, &public.b, seed.stream(domain::ENCRYPT_ERROR_0, index, 0, 0)),
        masks.remainder(context, &public.a, seed.stream(domain::ENCRYPT_ERROR_1, index, 0, 0)),
    ];
    let polys = masks.divide(context, public, &remainders, &plain.poly);
    Ok(Ciphertext { polys, scale: plain.scale, fingerprint: plain.fingerprint })
}

/// The ternary `v` of one encryption. Erased when dropped.
struct Masks {
    /// Coefficients.
    row: Buffer<f64>,
    /// Evaluation form modulo the first special prime.
    special: Limb,
}

impl Drop for Masks {
    fn drop(&mut self) {
        self.row.zeroize();
        self.special.zeroize();
    }
}

/// A limb that is erased when dropped.
struct Erased(Limb);

impl Drop for Erased {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl Masks {
    fn new(context: &Context, seed: &Seed, index: u32) -> Self {
        let ring = context.ring();
        let mut ternary = seed.stream(domain::ENCRYPT_TERNARY, index, 0, 0).ternary(ring.n());
        let (mut row, mut special) = (context.scratch_row(), context.scratch_limb());
        row.iter_mut().zip(&ternary).for_each(|(x, &c)| *x = f64::from(c));
        ternary.zeroize();
        ring.kernels().ntt_integers(ring.table(ring.chain_len()), &mut special, &row, 1.0);
        Self { row, special }
    }

    /// `r - e` with `r = <v key + e>_{p_0}`, integers of magnitude below `p_0 / 2 + 2^7`; `e` is drawn from `errors`.
    ///
    /// With `t = <v key>_{p_0}`, `r` is `t + e` up to a multiple of `p_0`, so `r - e` is `t` up to the same multiple.
    fn remainder(&self, context: &Context, key: &Poly, mut errors: Stream) -> Buffer<f64> {
        let (ring, kernels) = (context.ring(), context.ring().kernels());
        let table = ring.table(ring.chain_len());
        let (mut product, mut row) = (context.scratch_limb(), context.scratch_row());
        kernels.mul(table.modulus(), &mut product, &self.special, key.special_limb(0));
        kernels.intt_center(table, &mut row, &product, 1);
        let mut errors = errors.gaussian(ring.n());
        let (p0, half) = (table.modulus().value() as f64, (table.modulus().value() / 2) as f64);
        for (t, &e) in row.iter_mut().zip(&errors) {
            let sum = *t + f64::from(e);
            *t -= if sum > half { p0 } else { 0.0 };
            *t += if sum < -half { p0 } else { 0.0 };
        }
        errors.zeroize();
        row
    }

    /// `(u - <u>_{p_0}) / p_0`, `u = v key + e`, for both halves of the key, the first plus `plain`.
    ///
    /// With `r = <u>_{p_0}` the result modulo `q_j` is `(v key - (r - e)) / p_0`: one transform, of `r - e`. All that needs `v` modulo
    /// `q_j` is done before the next prime.
    fn divide(&self, context: &Context, public: &PublicKey, remainders: &[Buffer<f64>; 2], plain: &Poly) -> Vec<Poly> {
        let (ring, kernels, level) = (context.ring(), context.ring().kernels(), plain.level());
        let p0 = ring.modulus(ring.chain_len()).value();
        let bound = (p0 / 2) as f64 - f64::from(i8::MIN);
        let mut halves = vec![ring.scratch(level, false, Form::Eval), ring.scratch(level, false, Form::Eval)];
        let limbs = columns(&mut halves).into_par_iter().enumerate();
        limbs.for_each_init(
            || Erased(context.scratch_limb()),
            |v, (j, outs)| {
                let (modulus, table, v) = (ring.modulus(j), ring.table(j), &mut v.0[..]);
                let inverse = modulus.inv(modulus.reduce_u64(p0));
                kernels.ntt_integers(table, v, &self.row, 1.0);
                let keys = [public.b.limb(j), public.a.limb(j)];
                for (half, ((out, key), remainder)) in outs.into_iter().zip(keys).zip(remainders).enumerate() {
                    kernels.ntt_integers_then(table, out, remainder, bound, |start, values| {
                        let range = start..start + values.len();
                        let factors = [&v[range.clone()], &key[range.clone()]];
                        match half {
                            0 => kernels.product_tail_add(modulus, values, factors, inverse, &plain.limb(j)[range]),
                            _ => kernels.product_tail(modulus, values, factors, inverse),
                        }
                    });
                }
            },
        );
        halves
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
