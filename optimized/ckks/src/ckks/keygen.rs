//! Key generation (`r[ckks.key.*]`).

use super::context::{Context, small_limb};
use super::keys::{PublicKey, SecretKey, SwitchKey, check_galois, stream_keys, uniform_poly};
use super::sampler::Seed;
use crate::CkksError;
use crate::ring::{Form, Poly};
use rayon::prelude::*;
use touchstone_spec::params::SecretDistribution;
use touchstone_spec::sampling::{RELINEARISATION_KEY_ID, domain};
use zeroize::Zeroize;

/// Draws the keys of a parameter set from one seed: the same seed gives the same keys, in any order of calls.
#[derive(Debug, Clone)]
pub struct KeyGenerator {
    context: Context,
    seed: Seed,
}

impl KeyGenerator {
    /// A generator for the parameter set of `context`.
    #[must_use]
    pub fn new(context: &Context, seed: Seed) -> Self {
        Self { context: context.clone(), seed }
    }

    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    pub(crate) fn seed(&self) -> &Seed {
        &self.seed
    }

    /// The secret key (`r[ckks.key.secret]`).
    #[must_use]
    pub fn secret_key(&self) -> SecretKey {
        let parameters = self.context.parameters();
        let mut stream = self.seed.stream(domain::SECRET, 0, 0, 0);
        let coefficients = match parameters.secret() {
            SecretDistribution::UniformTernary => stream.ternary(parameters.n()),
            SecretDistribution::FixedWeight { weight } => stream.fixed_weight(parameters.n(), weight),
        };
        SecretKey::from_draw(&self.context, coefficients)
    }

    /// The public key of `secret` (`r[ckks.key.public]`).
    ///
    /// # Errors
    /// [`CkksError::Fingerprint`] if the secret belongs to other parameters.
    pub fn public_key(&self, secret: &SecretKey) -> Result<PublicKey, CkksError> {
        let (context, seed) = (&self.context, &self.seed);
        context.check_fingerprint("public_key", &secret.fingerprint)?;
        let level = context.parameters().max_level();
        let streams = stream_keys(context, level, true, |limb| seed.stream_key(domain::PUBLIC_UNIFORM, 0, 0, limb));
        let a = uniform_poly(context, "public_key", level, true, &streams)?;
        let mut errors = seed.stream(domain::PUBLIC_ERROR, 0, 0, 0).gaussian(context.parameters().n());
        let b = masked(context, &a, &secret.poly, &errors);
        errors.zeroize();
        Ok(PublicKey::from_halves(context, b, a, streams))
    }

    /// The key that brings products back to degree 1, for use up to `level` (`r[ckks.key.relin]`).
    ///
    /// # Errors
    /// [`CkksError::Level`] if `level` is above the top one; [`CkksError::Fingerprint`] for another set's secret.
    pub fn relinearisation_key(&self, secret: &SecretKey, level: usize) -> Result<SwitchKey, CkksError> {
        self.context.check_level("relinearisation_key", level)?;
        self.context.check_fingerprint("relinearisation_key", &secret.fingerprint)?;
        let ring = self.context.ring();
        let mut square = secret.poly.truncated(level);
        square.limbs_mut().par_iter_mut().enumerate().for_each(|(i, limb)| {
            let s = limb.clone();
            ring.kernels().mul_assign(ring.modulus(ring.prime_index(level, i)), limb, &s);
        });
        self.switch_key(secret, square, RELINEARISATION_KEY_ID, level)
    }

    /// The key of the automorphism `X -> X^g`, `g` odd and below `2N`, for use up to `level` (`r[ckks.key.galois]`).
    ///
    /// # Errors
    /// [`CkksError::Argument`] for another `g`; [`CkksError::Level`] if `level` is above the top one;
    /// [`CkksError::Fingerprint`] for another set's secret.
    pub fn galois_key(&self, secret: &SecretKey, g: u64, level: usize) -> Result<SwitchKey, CkksError> {
        self.context.check_level("galois_key", level)?;
        self.context.check_fingerprint("galois_key", &secret.fingerprint)?;
        check_galois(&self.context, "galois_key", g)?;
        let permutation = self.context.permutation(g)?;
        let mut image = secret.poly.truncated(level);
        image.limbs_mut().par_iter_mut().for_each(|limb| {
            let s = limb.clone();
            self.context.ring().kernels().permute(&s, &permutation, limb);
        });
        self.switch_key(secret, image, g as u32, level)
    }

    /// The key of the rotation by `steps` slots, any integer (`r[ckks.rotate]`), for use up to `level`.
    ///
    /// # Errors
    /// As [`KeyGenerator::galois_key`].
    pub fn rotation_key(&self, secret: &SecretKey, steps: i64, level: usize) -> Result<SwitchKey, CkksError> {
        self.galois_key(secret, self.context.galois_element(steps), level)
    }

    /// The key of the conjugation (`r[ckks.conjugate]`), for use up to `level`.
    ///
    /// # Errors
    /// As [`KeyGenerator::galois_key`].
    pub fn conjugation_key(&self, secret: &SecretKey, level: usize) -> Result<SwitchKey, CkksError> {
        self.galois_key(secret, self.context.conjugation_element(), level)
    }

    /// The key from `source` (over `R_{Q_level P}`, evaluation form; erased) to the secret (`r[ckks.key.switch]`).
    pub(crate) fn switch_key(
        &self,
        secret: &SecretKey,
        mut source: Poly,
        key_id: u32,
        level: usize,
    ) -> Result<SwitchKey, CkksError> {
        let (context, seed) = (&self.context, &self.seed);
        let alpha = context.parameters().digit_size();
        let digit = |i: usize| -> Result<_, CkksError> {
            let number = i as u32;
            let of_limb = |limb| seed.stream_key(domain::SWITCH_UNIFORM, key_id, number, limb);
            let streams = stream_keys(context, level, true, of_limb);
            let a = uniform_poly(context, "switch_key", level, true, &streams)?;
            let mut errors = seed.stream(domain::SWITCH_ERROR, key_id, number, 0).gaussian(context.parameters().n());
            let mut b = masked(context, &a, &secret.poly, &errors);
            errors.zeroize();
            for j in i * alpha..((i + 1) * alpha).min(level + 1) {
                let modulus = context.ring().modulus(j);
                let gadget = context.special_product(j);
                context.ring().kernels().mul_scalar_add_assign(modulus, b.limb_mut(j), source.limb(j), gadget);
            }
            Ok(((b, a), streams))
        };
        let digits = (0..context.parameters().digits(level)).into_par_iter().map(digit);
        let (halves, streams): (Vec<_>, Vec<_>) = digits.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
        source.erase();
        SwitchKey::from_book(context, key_id, level, halves.into_iter().unzip(), streams)
    }
}

/// `-a s + e` in evaluation form, over the ring of `a`; `secret` reaches at least as far.
pub(crate) fn masked(context: &Context, a: &Poly, secret: &Poly, errors: &[i8]) -> Poly {
    let (ring, level) = (context.ring(), a.level());
    let mut result = ring.scratch(level, a.limb_count() > level + 1, Form::Eval);
    result.limbs_mut().par_iter_mut().enumerate().for_each(|(i, limb)| {
        let prime = ring.prime_index(level, i);
        let (modulus, kernels) = (ring.modulus(prime), ring.kernels());
        small_limb(modulus, errors, limb);
        kernels.ntt(ring.table(prime), limb);
        let mut product = context.scratch_limb();
        let s = if i <= level { secret.limb(i) } else { secret.special_limb(i - level - 1) };
        kernels.mul(modulus, &mut product, a.limb(i), s);
        kernels.sub_assign(modulus, limb, &product);
    });
    result
}
