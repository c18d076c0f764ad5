//! Plaintexts, ciphertexts, encryption and decryption.

use super::base::divide_first_special;
use super::{Parameters, PublicKey, SecretKey};
use crate::error::ReferenceError;
use crate::ring::Poly;
use crate::sample::{Seed, Stream, StreamId, uniform_poly};
use rug::Integer;
use touchstone_spec::sampling::domain;

/// A message polynomial over `R_{Q_l}` with its scale label.
#[derive(Clone, Debug, PartialEq)]
pub struct Plaintext {
    /// The polynomial `m`.
    pub poly: Poly,
    /// Level `l`.
    pub level: usize,
    /// Scale label (`r[ckks.scale]`).
    pub scale: f64,
}

impl Plaintext {
    /// The plaintext with the given integer coefficients, such as those of [`super::Encoder::encode`].
    ///
    /// # Errors
    /// [`ReferenceError::BadOperand`] if there are not `N` coefficients or the scale is not positive and finite;
    /// level errors of [`Parameters::chain`].
    pub fn from_coefficients(
        params: &Parameters,
        coefficients: &[i64],
        level: usize,
        scale: f64,
    ) -> Result<Self, ReferenceError> {
        check_scale("plaintext", scale)?;
        check_length("plaintext", coefficients.len(), params.n())?;
        Ok(Self { poly: Poly::from_small(coefficients, &params.modulus(level)?), level, scale })
    }

    /// The plaintext with the given limbs `q_0..q_l`; the level follows from their number.
    ///
    /// # Errors
    /// As [`Self::from_coefficients`], and for entries that are not residues.
    pub fn from_residues(params: &Parameters, limbs: &[Vec<u64>], scale: f64) -> Result<Self, ReferenceError> {
        check_scale("plaintext", scale)?;
        let (poly, level) = poly_from_limbs(params, limbs)?;
        Ok(Self { poly, level, scale })
    }

    /// Limbs in the order `q_0..q_l`.
    ///
    /// # Errors
    /// None for a plaintext of these parameters.
    pub fn residues(&self, params: &Parameters) -> Result<Vec<Vec<u64>>, ReferenceError> {
        Ok(self.poly.residues(params.chain(self.level)?))
    }
}

/// A ciphertext `(c_0, c_1)`, or a product `(d_0, d_1, d_2)` that has not been relinearised (`r[ckks.mul]`).
#[derive(Clone, Debug, PartialEq)]
pub struct Ciphertext {
    /// Two or three polynomials over `R_{Q_l}`; the message is `sum_i c_i s^i`.
    pub polys: Vec<Poly>,
    /// Level `l`.
    pub level: usize,
    /// Scale label (`r[ckks.scale]`).
    pub scale: f64,
}

impl Ciphertext {
    /// The ciphertext with the given limbs: `polys[i][j][t]` is coefficient `t` of `c_i` modulo `q_j`.
    ///
    /// # Errors
    /// [`ReferenceError::BadOperand`] unless there are two or three polynomials of the same number of limbs, each
    /// of `N` residues, and the scale is positive and finite; level errors of [`Parameters::chain`].
    pub fn from_residues(params: &Parameters, polys: &[Vec<Vec<u64>>], scale: f64) -> Result<Self, ReferenceError> {
        check_scale("ciphertext", scale)?;
        let parts: Vec<(Poly, usize)> =
            polys.iter().map(|limbs| poly_from_limbs(params, limbs)).collect::<Result<_, _>>()?;
        let levels: Vec<usize> = parts.iter().map(|(_, level)| *level).collect();
        if !(2..=3).contains(&parts.len()) || levels.iter().any(|level| *level != levels[0]) {
            return Err(ReferenceError::BadOperand {
                operation: "ciphertext",
                expected: "two or three polynomials of one level".to_owned(),
                got: format!("levels {levels:?}"),
            });
        }
        Ok(Self { polys: parts.into_iter().map(|(poly, _)| poly).collect(), level: levels[0], scale })
    }

    /// Limbs of polynomial `i` in the order `q_0..q_l`.
    ///
    /// # Errors
    /// [`ReferenceError::BadOperand`] if there is no polynomial `i`.
    pub fn residues(&self, params: &Parameters, i: usize) -> Result<Vec<Vec<u64>>, ReferenceError> {
        let poly = self.polys.get(i).ok_or_else(|| ReferenceError::BadOperand {
            operation: "residues of a ciphertext",
            expected: format!("a polynomial index below {}", self.polys.len()),
            got: i.to_string(),
        })?;
        Ok(poly.residues(params.chain(self.level)?))
    }
}

/// Encryption under the secret key, at the level of the plaintext (`r[ckks.encrypt.secret]`).
///
/// `index` is the ciphertext index of the random streams; it must not be used twice with one seed. Noise: rule
/// `noise.fresh.secret`.
///
/// # Errors
/// [`ReferenceError::BadOperand`] if the plaintext is not of these parameters.
pub fn encrypt_secret(
    params: &Parameters,
    seed: &Seed,
    secret: &SecretKey,
    index: u32,
    message: &Plaintext,
) -> Result<Ciphertext, ReferenceError> {
    let level = message.level;
    let ids = params.limb_ids(level);
    let id = StreamId::new(domain::ENCRYPT_UNIFORM, index);
    let a = uniform_poly(seed, id, params.n(), params.chain(level)?, &ids[..=level])?;
    let error = Stream::new(seed, StreamId::new(domain::ENCRYPT_ERROR, index)).gaussian(params.n());
    let error = Poly::from_small(&error, a.modulus());
    let c0 = error.sub(&a.mul(&secret.poly(a.modulus()))?)?.add(&message.poly)?;
    Ok(Ciphertext { polys: vec![c0, a], level, scale: message.scale })
}

/// Encryption under the public key, at the level of the plaintext (`r[ckks.encrypt.public]`).
///
/// `index` is the ciphertext index of the random streams; it must not be used twice with one seed. Noise: rule
/// `noise.fresh.public`.
///
/// # Errors
/// [`ReferenceError::BadOperand`] if key or plaintext are not of these parameters.
pub fn encrypt_public(
    params: &Parameters,
    seed: &Seed,
    public: &PublicKey,
    index: u32,
    message: &Plaintext,
) -> Result<Ciphertext, ReferenceError> {
    let level = message.level;
    let modulus = params.modulus(level)? * params.p()[0];
    let [u0, u1] = public_product(seed, public, index, &modulus)?;
    let c0 = divide_first_special(params, &u0, level)?.add(&message.poly)?;
    let c1 = divide_first_special(params, &u1, level)?;
    Ok(Ciphertext { polys: vec![c0, c1], level, scale: message.scale })
}

/// `u_0` and `u_1` of `r[ckks.encrypt.public]`, with the public key reduced modulo `modulus`, a divisor of `Q_L P`. Noise: rule
/// `noise.fresh.public-product`.
///
/// # Errors
/// None for such a modulus.
pub fn public_product(
    seed: &Seed,
    public: &PublicKey,
    index: u32,
    modulus: &Integer,
) -> Result<[Poly; 2], ReferenceError> {
    let (b, a) = (public.b.reduce(modulus)?, public.a.reduce(modulus)?);
    let n = a.len();
    let stream = |domain| Stream::new(seed, StreamId::new(domain, index));
    let v = Poly::from_small(&stream(domain::ENCRYPT_TERNARY).ternary(n), modulus);
    let e0 = Poly::from_small(&stream(domain::ENCRYPT_ERROR_0).gaussian(n), modulus);
    let e1 = Poly::from_small(&stream(domain::ENCRYPT_ERROR_1).gaussian(n), modulus);
    Ok([v.mul(&b)?.add(&e0)?, v.mul(&a)?.add(&e1)?])
}

/// Decryption: `c_0 + c_1 s`, and `+ d_2 s^2` for a product that was not relinearised (`r[ckks.decrypt]`).
///
/// The message is the centred polynomial ([`Poly::centred`]) of the result.
///
/// # Errors
/// [`ReferenceError::BadOperand`] if the polynomials do not belong together.
pub fn decrypt(secret: &SecretKey, ciphertext: &Ciphertext) -> Result<Plaintext, ReferenceError> {
    let Some(last) = ciphertext.polys.last() else {
        let (expected, got) = ("two or three polynomials".to_owned(), "none".to_owned());
        return Err(ReferenceError::BadOperand { operation: "decryption", expected, got });
    };
    let s = secret.poly(last.modulus());
    let mut sum = Poly::zero(last.len(), last.modulus());
    for c in ciphertext.polys.iter().rev() {
        sum = sum.mul(&s)?.add(c)?;
    }
    Ok(Plaintext { poly: sum, level: ciphertext.level, scale: ciphertext.scale })
}

/// Refuses a scale that is not positive and finite.
fn check_scale(operation: &'static str, scale: f64) -> Result<(), ReferenceError> {
    if scale.is_finite() && scale > 0.0 {
        return Ok(());
    }
    let expected = "a positive finite scale".to_owned();
    Err(ReferenceError::BadOperand { operation, expected, got: format!("{scale:e}") })
}

fn check_length(operation: &'static str, got: usize, n: usize) -> Result<(), ReferenceError> {
    if got == n {
        return Ok(());
    }
    Err(ReferenceError::BadOperand { operation, expected: format!("{n} coefficients"), got: got.to_string() })
}

/// The polynomial and the level that limbs `q_0..q_l` stand for.
fn poly_from_limbs(params: &Parameters, limbs: &[Vec<u64>]) -> Result<(Poly, usize), ReferenceError> {
    let operation = "polynomial from limbs";
    let level = limbs.len().checked_sub(1).ok_or_else(|| ReferenceError::BadOperand {
        operation,
        expected: "at least one limb".to_owned(),
        got: "none".to_owned(),
    })?;
    let poly = Poly::from_residues(limbs, params.chain(level)?)?;
    check_length(operation, poly.len(), params.n())?;
    Ok((poly, level))
}
