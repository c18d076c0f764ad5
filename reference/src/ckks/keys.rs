//! Secret, public and key-switching keys, drawn from a seed.

use super::Parameters;
use crate::error::ReferenceError;
use crate::ring::{Poly, idempotents};
use crate::sample::{Seed, Stream, StreamId, uniform_poly};
use rug::Integer;
use touchstone_spec::params::SecretDistribution;
use touchstone_spec::sampling::{RELINEARISATION_KEY_ID, domain};

/// The secret polynomial `s` (`r[ckks.key.secret]`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretKey {
    coefficients: Vec<i64>,
}

impl SecretKey {
    /// Draws the secret as the parameter set says.
    ///
    /// # Errors
    /// [`ReferenceError::BadOperand`] if the weight is above `N`, which validated parameters exclude.
    pub fn generate(params: &Parameters, seed: &Seed) -> Result<Self, ReferenceError> {
        let mut stream = Stream::new(seed, StreamId::new(domain::SECRET, 0));
        let coefficients = match params.secret() {
            SecretDistribution::UniformTernary => stream.ternary(params.n()),
            SecretDistribution::FixedWeight { weight } => stream.fixed_weight(params.n(), weight)?,
        };
        Ok(Self { coefficients })
    }

    /// Draws the ephemeral secret of bootstrapping (`r[boot.key.ephemeral]`).
    ///
    /// # Errors
    /// [`ReferenceError::BadOperand`] if the weight is above `N`, which validated parameters exclude.
    pub fn ephemeral(params: &Parameters, seed: &Seed, weight: usize) -> Result<Self, ReferenceError> {
        let mut stream = Stream::new(seed, StreamId::new(domain::EPHEMERAL_SECRET, 0));
        Ok(Self { coefficients: stream.fixed_weight(params.n(), weight)? })
    }

    /// Coefficients in `{-1, 0, 1}`.
    #[must_use]
    pub fn coefficients(&self) -> &[i64] {
        &self.coefficients
    }

    /// Number of coefficients that are not zero.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.coefficients.iter().filter(|&&c| c != 0).count()
    }

    /// `s` modulo `modulus`.
    #[must_use]
    pub fn poly(&self, modulus: &Integer) -> Poly {
        Poly::from_small(&self.coefficients, modulus)
    }
}

/// The public key `(b, a)` over `R_{Q_L P}` (`r[ckks.key.public]`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// `b = -a s + e`.
    pub b: Poly,
    /// The uniform half.
    pub a: Poly,
}

impl PublicKey {
    /// Draws the key for `secret`.
    ///
    /// # Errors
    /// Those of the polynomial operations, which validated parameters exclude.
    pub fn generate(params: &Parameters, seed: &Seed, secret: &SecretKey) -> Result<Self, ReferenceError> {
        let level = params.max_level();
        let (primes, ids) = (params.extended_chain(level)?, params.limb_ids(level));
        let a = uniform_poly(seed, StreamId::new(domain::PUBLIC_UNIFORM, 0), params.n(), &primes, &ids)?;
        let error = Stream::new(seed, StreamId::new(domain::PUBLIC_ERROR, 0)).gaussian(params.n());
        let error = Poly::from_small(&error, a.modulus());
        let b = error.sub(&a.mul(&secret.poly(a.modulus()))?)?;
        Ok(Self { b, a })
    }
    /// Limbs of `b` and of `a` in the order `q_0..q_L, p_*`.
    ///
    /// # Errors
    /// None for a key of these parameters.
    pub fn residues(&self, params: &Parameters) -> Result<[Vec<Vec<u64>>; 2], ReferenceError> {
        let primes = params.extended_chain(params.max_level())?;
        Ok([self.b.residues(&primes), self.a.residues(&primes)])
    }
}

/// A key-switching key, truncated to the level up to which it can be used (`r[ckks.key.switch]`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySwitchKey {
    /// 0 for relinearisation, `g` for the automorphism `X -> X^g`.
    pub key_id: u32,
    /// Highest level at which the key can be used.
    pub level: usize,
    /// One pair `(b_i, a_i)` over `R_{Q_l P}` per digit.
    pub pairs: Vec<(Poly, Poly)>,
}

impl KeySwitchKey {
    /// The relinearisation key, from `s^2` to `s`, for use up to `level` (`r[ckks.key.relin]`).
    ///
    /// # Errors
    /// Level errors of [`Parameters::chain`].
    pub fn relinearisation(
        params: &Parameters,
        seed: &Seed,
        secret: &SecretKey,
        level: usize,
    ) -> Result<Self, ReferenceError> {
        let s = secret.poly(&params.extended_modulus(level)?);
        Self::from_secret(params, seed, secret, RELINEARISATION_KEY_ID, &s.mul(&s)?, level)
    }

    /// The key for `X -> X^g`, from `s(X^g)` to `s`, for use up to `level` (`r[ckks.key.galois]`).
    ///
    /// `g` comes from [`rotation_element`] or [`conjugation_element`].
    ///
    /// # Errors
    /// [`ReferenceError::BadOperand`] if `g` is even; level errors of [`Parameters::chain`].
    pub fn galois(
        params: &Parameters,
        seed: &Seed,
        secret: &SecretKey,
        g: u32,
        level: usize,
    ) -> Result<Self, ReferenceError> {
        let s = secret.poly(&params.extended_modulus(level)?);
        Self::from_secret(params, seed, secret, g, &s.automorphism(g.into())?, level)
    }

    /// The key from `source`, a polynomial over `R_{Q_l P}`, to `secret` that is drawn for `key_id`.
    ///
    /// # Errors
    /// Level errors of [`Parameters::chain`]; [`ReferenceError::BadOperand`] if `source` has another modulus.
    pub fn from_secret(
        params: &Parameters,
        seed: &Seed,
        secret: &SecretKey,
        key_id: u32,
        source: &Poly,
        level: usize,
    ) -> Result<Self, ReferenceError> {
        let (primes, ids) = (params.extended_chain(level)?, params.limb_ids(level));
        let idempotents = idempotents(&primes)?;
        let special = params.special_modulus();
        let mut pairs = Vec::new();
        for (digit, range) in (0u32..).zip(params.digits(level)) {
            let id = StreamId { domain: domain::SWITCH_UNIFORM, object: key_id, digit, limb: 0 };
            let a = uniform_poly(seed, id, params.n(), &primes, &ids)?;
            let id = StreamId { domain: domain::SWITCH_ERROR, ..id };
            let error = Stream::new(seed, id).gaussian(params.n());
            let error = Poly::from_small(&error, a.modulus());
            // P modulo the primes of the digit, 0 modulo every other prime.
            let gadget: Integer = idempotents[range].iter().map(|e| Integer::from(e * &special)).sum();
            let b = error.sub(&a.mul(&secret.poly(a.modulus()))?)?.add(&source.mul_integer(&gadget))?;
            pairs.push((b, a));
        }
        Ok(Self { key_id, level, pairs })
    }

    /// The key for use up to a lower level: fewer digits, fewer limbs.
    ///
    /// # Errors
    /// [`ReferenceError::LevelMismatch`] if `level` is above the key's.
    pub fn truncate(&self, params: &Parameters, level: usize) -> Result<Self, ReferenceError> {
        if level > self.level {
            let operation = "truncation of a key-switching key";
            return Err(ReferenceError::LevelMismatch { operation, expected: self.level, got: level });
        }
        let modulus = params.extended_modulus(level)?;
        let digits = params.digits(level).len();
        let reduce = |(b, a): &(Poly, Poly)| Ok((b.reduce(&modulus)?, a.reduce(&modulus)?));
        let pairs = self.pairs.iter().take(digits).map(reduce).collect::<Result<_, ReferenceError>>()?;
        Ok(Self { key_id: self.key_id, level, pairs })
    }

    /// For each digit the limbs of `b_i` and of `a_i` in the order `q_0..q_l, p_*`.
    ///
    /// # Errors
    /// None for a key of these parameters.
    pub fn residues(&self, params: &Parameters) -> Result<Vec<[Vec<Vec<u64>>; 2]>, ReferenceError> {
        let primes = params.extended_chain(self.level)?;
        Ok(self.pairs.iter().map(|(b, a)| [b.residues(&primes), a.residues(&primes)]).collect())
    }
}

/// `5^r mod 2N`, `r` taken modulo `N/2`: the automorphism that rotates slots by `r` (`r[ckks.key.galois]`).
#[must_use]
pub fn rotation_element(params: &Parameters, r: i64) -> u32 {
    let modulus = 2 * params.n() as u32;
    let steps = r.rem_euclid(params.slots() as i64);
    // 2N is at most 2^18, so no product exceeds u32.
    (0..steps).fold(1, |g, _| g * 5 % modulus)
}

/// `2N - 1`: the automorphism that conjugates slots.
#[must_use]
pub fn conjugation_element(params: &Parameters) -> u32 {
    2 * params.n() as u32 - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::product;
    use touchstone_spec::params::ParameterLiteral;

    fn setup(name: &str) -> (Parameters, Seed, SecretKey) {
        let params = Parameters::new(&ParameterLiteral::preset(name).unwrap()).unwrap();
        let seed = [11; 16];
        let secret = SecretKey::generate(&params, &seed).unwrap();
        (params, seed, secret)
    }

    #[test]
    fn a_key_for_a_level_is_the_truncation_of_the_full_key() {
        let (params, seed, secret) = setup("toy-n5");
        let full = KeySwitchKey::galois(&params, &seed, &secret, 5, 5).unwrap();
        for level in 0..=5 {
            let direct = KeySwitchKey::galois(&params, &seed, &secret, 5, level).unwrap();
            assert_eq!(full.truncate(&params, level).unwrap(), direct);
        }
        assert!(direct_level_error(&full, &params));
    }

    fn direct_level_error(key: &KeySwitchKey, params: &Parameters) -> bool {
        matches!(key.truncate(params, 6), Err(ReferenceError::LevelMismatch { .. }))
    }

    #[test]
    fn key_relations_hold_up_to_a_table_sized_error() {
        let (params, seed, secret) = setup("toy-n8");
        let largest = Integer::from(touchstone_spec::sampling::GAUSSIAN_TABLE.len());
        let small = |p: &Poly| p.centred().iter().all(|c| Integer::from(c.abs_ref()) <= largest);
        let public = PublicKey::generate(&params, &seed, &secret).unwrap();
        let s = secret.poly(public.a.modulus());
        assert!(small(&public.b.add(&public.a.mul(&s).unwrap()).unwrap()));
        // The gadget of a digit is P times the idempotent of its primes among the chain, and 0 modulo P.
        let key = KeySwitchKey::relinearisation(&params, &seed, &secret, 8).unwrap();
        let s2 = s.mul_schoolbook(&s).unwrap();
        for ((b, a), digit) in key.pairs.iter().zip(params.digits(8)) {
            let phase = b.add(&a.mul(&s).unwrap()).unwrap();
            let others = product(&params.q()[..digit.start]) * product(&params.q()[digit.end..]) * product(params.p());
            let inside = product(&params.q()[digit.clone()]);
            assert!(small(&phase.reduce(&others).unwrap()));
            let masked = s2.reduce(&inside).unwrap().mul_integer(&params.special_modulus());
            assert!(small(&phase.reduce(&inside).unwrap().sub(&masked).unwrap()));
        }
    }

    #[test]
    fn automorphism_elements_follow_the_definition() {
        let (params, ..) = setup("toy-n5");
        assert_eq!(rotation_element(&params, 0), 1);
        assert_eq!(rotation_element(&params, 3), 125 % 64);
        assert_eq!(rotation_element(&params, -1), rotation_element(&params, 15));
        assert_eq!(rotation_element(&params, -1) * 5 % 64, 1);
        assert_eq!(conjugation_element(&params), 63);
    }
}
