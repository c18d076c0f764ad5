//! Validated parameter sets.

mod bootstrap;

pub(crate) use bootstrap::wrap_failure;

use crate::CkksError;
use crate::arith::{MAX_BASIS, MAX_DIGITS, MAX_LOG_N, MIN_LOG_N, Modulus};
use sha2::{Digest, Sha256};
use std::fmt::{Display, Write};
use touchstone_spec::params::{
    BootstrapLiteral, CLASSICAL_128_TERNARY, ParameterLiteral, SecretDistribution, SecurityClaim,
};

/// The only standard deviation of errors that the book defines.
const SIGMA: f64 = 3.2;

/// Whether parameter sets without 128-bit security are admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Only sets that satisfy `r[ckks.params.security]`.
    Enforce,
    /// Insecure sets too, for tests. A set that claims security must have it even so.
    AllowInsecure,
}

/// A parameter set that obeys `r[ckks.ring]`, `r[ckks.scale.canonical]` and `r[ckks.params.security]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameters {
    literal: ParameterLiteral,
    scales: Vec<f64>,
    log_qp: f64,
    fingerprint: [u8; 32],
}

impl Parameters {
    /// Checks a literal.
    ///
    /// # Errors
    /// [`CkksError::Parameters`] for a set that breaks a rule or this engine's limits (at most 16 primes per digit,
    /// 16 special primes, 32 digits; the special primes' product at least that of any digit);
    /// [`CkksError::Insecure`] for a false claim, or an insecure set under [`Security::Enforce`].
    pub fn from_literal(literal: &ParameterLiteral, security: Security) -> Result<Self, CkksError> {
        check_sizes(literal)?;
        check_primes(literal)?;
        check_digits(literal)?;
        check_secret(literal)?;
        let scales = check_scales(literal)?;
        bootstrap::check(literal, &scales)?;
        let log_qp = literal.q.iter().chain(&literal.p).map(|&p| (p as f64).log2()).sum();
        check_security(literal, log_qp, security)?;
        let fingerprint = Sha256::digest(canonical_text(literal)).into();
        Ok(Self { literal: literal.clone(), scales, log_qp, fingerprint })
    }

    /// The preset called `name` (`spec/params`).
    ///
    /// # Errors
    /// [`CkksError::Spec`] if there is none; [`CkksError::Insecure`] as in [`Parameters::from_literal`].
    pub fn preset(name: &str, security: Security) -> Result<Self, CkksError> {
        let literal = ParameterLiteral::preset(name).map_err(|error| CkksError::Spec {
            operation: "Parameters::preset",
            expected: "the name of a preset",
            got: error.to_string(),
        })?;
        Self::from_literal(&literal, security)
    }

    /// The literal the set was made from.
    #[must_use]
    pub fn literal(&self) -> &ParameterLiteral {
        &self.literal
    }

    /// `log2 N`.
    #[must_use]
    pub fn log_n(&self) -> u32 {
        self.literal.log_n
    }

    /// The ring degree `N`.
    #[must_use]
    pub fn n(&self) -> usize {
        1 << self.literal.log_n
    }

    /// The number of slots, `N/2`.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.n() / 2
    }

    /// The top level `L`.
    #[must_use]
    pub fn max_level(&self) -> usize {
        self.literal.max_level()
    }

    /// The canonical scale of `level` (`r[ckks.scale.canonical]`).
    ///
    /// # Panics
    /// If `level` is above [`Parameters::max_level`].
    #[must_use]
    pub fn canonical_scale(&self, level: usize) -> f64 {
        self.scales[level]
    }

    /// The constants of bootstrapping, if the set has levels for it (`r[boot.params]`).
    #[must_use]
    pub fn bootstrap(&self) -> Option<&BootstrapLiteral> {
        self.literal.bootstrap.as_ref()
    }

    /// Whether a step at `level` divides by two primes (`r[ckks.step]`).
    #[must_use]
    pub fn is_pair(&self, level: usize) -> bool {
        self.literal.is_pair(level)
    }

    /// The level at which a step to `level` starts (`r[ckks.step]`).
    #[must_use]
    pub fn above(&self, level: usize) -> usize {
        if self.is_pair(level + 2) { level + 2 } else { level + 1 }
    }

    /// The level that is `steps` steps below `level`, if there is one (`r[ckks.step]`).
    #[must_use]
    pub fn below(&self, level: usize, steps: usize) -> Option<usize> {
        (0..steps).try_fold(level, |level, _| level.checked_sub(if self.is_pair(level) { 2 } else { 1 }))
    }

    /// The chain primes `q_0..q_L`.
    #[must_use]
    pub fn chain(&self) -> &[u64] {
        &self.literal.q
    }

    /// The special primes.
    #[must_use]
    pub fn special(&self) -> &[u64] {
        &self.literal.p
    }

    /// The digit size alpha.
    #[must_use]
    pub fn digit_size(&self) -> usize {
        self.literal.digit_size
    }

    /// The number of key-switching digits at `level`, `ceil((level + 1) / alpha)`.
    #[must_use]
    pub fn digits(&self, level: usize) -> usize {
        (level + 1).div_ceil(self.literal.digit_size)
    }

    /// The distribution of the secret.
    #[must_use]
    pub fn secret(&self) -> SecretDistribution {
        self.literal.secret
    }

    /// The Hamming weight of the secret: exact for a fixed weight, `2N/3` on average for a uniform ternary secret.
    #[must_use]
    pub fn secret_weight(&self) -> f64 {
        match self.literal.secret {
            SecretDistribution::UniformTernary => 2.0 * self.n() as f64 / 3.0,
            SecretDistribution::FixedWeight { weight } => weight as f64,
        }
    }

    /// Standard deviation of errors.
    #[must_use]
    pub fn sigma(&self) -> f64 {
        SIGMA
    }

    /// `log2(Q_L P)`.
    #[must_use]
    pub fn log_qp(&self) -> f64 {
        self.log_qp
    }

    /// Whether the set has 128-bit security (`r[ckks.params.security]`).
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.literal.security == SecurityClaim::Classical128
    }

    /// SHA-256 of everything that gives keys and ciphertexts their meaning (not the name and the description).
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }
}

fn refuse<T>(operation: &'static str, expected: impl Display, got: impl Display) -> Result<T, CkksError> {
    Err(CkksError::Parameters { operation, expected: expected.to_string(), got: got.to_string() })
}

fn check_sizes(literal: &ParameterLiteral) -> Result<(), CkksError> {
    if !(MIN_LOG_N..=MAX_LOG_N).contains(&literal.log_n) {
        return refuse("log_n", format_args!("{MIN_LOG_N}..={MAX_LOG_N}"), literal.log_n);
    }
    if literal.q.is_empty() || literal.q.len() > MAX_BASIS * MAX_DIGITS {
        return refuse("q", format_args!("1 to {} chain primes", MAX_BASIS * MAX_DIGITS), literal.q.len());
    }
    if literal.p.is_empty() || literal.p.len() > MAX_BASIS {
        return refuse("p", format_args!("1 to {MAX_BASIS} special primes"), literal.p.len());
    }
    if !(1..=MAX_BASIS).contains(&literal.digit_size) {
        return refuse("digit_size", format_args!("1 to {MAX_BASIS} primes"), literal.digit_size);
    }
    let digits = literal.q.len().div_ceil(literal.digit_size);
    if digits > MAX_DIGITS {
        return refuse("digit_size", format_args!("at most {MAX_DIGITS} digits"), digits);
    }
    Ok(())
}

fn check_primes(literal: &ParameterLiteral) -> Result<(), CkksError> {
    let mut primes: Vec<u64> = literal.q.iter().chain(&literal.p).copied().collect();
    for &prime in &primes {
        Modulus::new(prime)?;
        if prime % (2 << literal.log_n) != 1 {
            return refuse("q, p", "primes that are 1 modulo 2N", prime);
        }
    }
    primes.sort_unstable();
    match primes.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => refuse("q, p", "distinct primes", format_args!("{} twice", pair[0])),
        None => Ok(()),
    }
}

/// `P >= Q_i` for every digit: otherwise the key-switching error outgrows the rounding error.
fn check_digits(literal: &ParameterLiteral) -> Result<(), CkksError> {
    let special = product(&literal.p);
    for (i, digit) in literal.q.chunks(literal.digit_size).enumerate() {
        let digit = product(digit);
        // Little-endian words without leading zeros: longer is larger, then compare from the top.
        let longer = digit.len().cmp(&special.len());
        if longer.then_with(|| digit.iter().rev().cmp(special.iter().rev())).is_gt() {
            return refuse("p", format_args!("a product of at least that of digit {i}"), "a smaller product");
        }
    }
    Ok(())
}

/// The product as 64-bit words, least significant first, without leading zeros.
fn product(primes: &[u64]) -> Vec<u64> {
    let mut words = vec![1];
    for &prime in primes {
        let mut carry = 0;
        for word in &mut words {
            let wide = u128::from(*word) * u128::from(prime) + carry;
            *word = wide as u64;
            carry = wide >> 64;
        }
        if carry > 0 {
            words.push(carry as u64);
        }
    }
    words
}

fn check_secret(literal: &ParameterLiteral) -> Result<(), CkksError> {
    if literal.sigma.0 != SIGMA {
        return refuse("sigma", SIGMA, literal.sigma.0);
    }
    let n = 1 << literal.log_n;
    match literal.secret {
        SecretDistribution::FixedWeight { weight } if weight == 0 || weight > n => {
            refuse("secret weight", format_args!("1..={n}"), weight)
        }
        _ => Ok(()),
    }
}

/// Recomputes the table of `r[ckks.scale.canonical]`; it must agree bit for bit. At the output level of bootstrapping it
/// starts anew (`r[ckks.scale.canonical.sections]`).
fn check_scales(literal: &ParameterLiteral) -> Result<Vec<f64>, CkksError> {
    let top = literal.max_level();
    if literal.canonical_scales.len() != top + 1 {
        return refuse("canonical_scales", format_args!("{} entries", top + 1), literal.canonical_scales.len());
    }
    let restart = literal.bootstrap.as_ref().map(|bootstrap| bootstrap.output_level);
    let mut scale = literal.scale.0;
    let mut scales = vec![0.0; top + 1];
    for level in (0..=top).rev() {
        let given = literal.canonical_scales[level];
        if restart == Some(level) && level < top {
            scale = given.0;
        }
        if given.0 != scale {
            return refuse("canonical_scales", format_args!("{scale:e} at level {level}"), given);
        }
        // Between the primes of a pair nothing is squared, and no ciphertext has the scale in the table.
        let within = literal.is_pair(level + 1);
        if !within && !(1.0..=2f64.powi(62)).contains(&scale) {
            return refuse("canonical_scales", format_args!("1 to 2^62 at level {level}"), scale);
        }
        scales[level] = scale;
        let product = if within { scale } else { scale * scale };
        scale = product / literal.q[level] as f64;
    }
    Ok(scales)
}

fn check_security(literal: &ParameterLiteral, log_qp: f64, security: Security) -> Result<(), CkksError> {
    let insecure = |expected: String, got: String| {
        Err(CkksError::Insecure { operation: "Parameters::from_literal", expected, got })
    };
    match literal.security {
        SecurityClaim::Insecure if security == Security::AllowInsecure => Ok(()),
        SecurityClaim::Insecure => {
            insecure("a set marked classical-128".to_owned(), format!("{} is marked insecure", literal.name))
        }
        // The table is for ternary secrets of full weight: a sparse secret is weaker.
        SecurityClaim::Classical128 if literal.secret != SecretDistribution::UniformTernary => {
            insecure("a uniform ternary secret".to_owned(), format!("{:?}", literal.secret))
        }
        SecurityClaim::Classical128 => {
            let limit = CLASSICAL_128_TERNARY.iter().find(|(log_n, _)| *log_n == literal.log_n);
            let limit = limit.map_or(0, |(_, bits)| *bits);
            if log_qp <= f64::from(limit) {
                return Ok(());
            }
            insecure(format!("log2(QP) <= {limit}"), format!("{log_qp:.2}"))
        }
    }
}

/// The text under the fingerprint: one field per line, floats as hexadecimal.
fn canonical_text(literal: &ParameterLiteral) -> String {
    let mut text = format!("touchstone-ckks-parameters 1\nlog_n {}\n", literal.log_n);
    let mut line = |name: &str, value: &dyn Display| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name} {value}");
    };
    for prime in &literal.q {
        line("q", prime);
    }
    for prime in &literal.p {
        line("p", prime);
    }
    line("digit_size", &literal.digit_size);
    line("scale", &literal.scale);
    line("sigma", &literal.sigma);
    match literal.secret {
        SecretDistribution::UniformTernary => line("secret", &"uniform-ternary"),
        SecretDistribution::FixedWeight { weight } => line("secret", &format_args!("fixed-weight {weight}")),
    }
    if let Some(boot) = &literal.bootstrap {
        line("ephemeral", &boot.ephemeral_weight);
        line("output_level", &boot.output_level);
        line("output_scale", &literal.canonical_scales[boot.output_level]);
        for pair in &boot.pairs {
            line("pair", pair);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use touchstone_spec::hexfloat::HexFloat;
    use touchstone_spec::params::preset_names;

    fn literal() -> ParameterLiteral {
        ParameterLiteral::preset("toy-n8").unwrap()
    }

    fn refused(change: impl FnOnce(&mut ParameterLiteral)) -> CkksError {
        let mut literal = literal();
        change(&mut literal);
        Parameters::from_literal(&literal, Security::AllowInsecure).unwrap_err()
    }

    #[test]
    fn presets_are_valid_and_security_is_enforced() {
        let mut fingerprints = std::collections::HashSet::new();
        for name in preset_names() {
            let parameters = Parameters::preset(name, Security::AllowInsecure).unwrap();
            assert!(fingerprints.insert(parameters.fingerprint()), "{name}");
            let enforced = Parameters::preset(name, Security::Enforce);
            assert_eq!(enforced.is_ok(), parameters.is_secure(), "{name}: {enforced:?}");
        }
        assert!(matches!(Parameters::preset("n99", Security::Enforce), Err(CkksError::Spec { .. })));
    }

    #[test]
    fn broken_sets_are_refused() {
        assert!(matches!(refused(|l| l.q[1] += 2), CkksError::Arith(_)));
        assert!(matches!(refused(|l| l.q[1] = 1_048_583), CkksError::Parameters { .. }));
        assert!(matches!(refused(|l| l.q[2] = l.q[1]), CkksError::Parameters { .. }));
        assert!(matches!(refused(|l| l.log_n = 3), CkksError::Parameters { .. }));
        assert!(matches!(refused(|l| l.q.clear()), CkksError::Parameters { .. }));
        assert!(matches!(refused(|l| l.p.truncate(2)), CkksError::Parameters { .. }));
        assert!(matches!(refused(|l| l.digit_size = 0), CkksError::Parameters { .. }));
        assert!(matches!(refused(|l| l.sigma = HexFloat(3.19)), CkksError::Parameters { .. }));
        assert!(matches!(refused(|l| l.canonical_scales[3].0 *= 1.0 + 1e-15), CkksError::Parameters { .. }));
        let weight = SecretDistribution::FixedWeight { weight: 257 };
        assert!(matches!(refused(|l| l.secret = weight), CkksError::Parameters { .. }));
        assert!(matches!(refused(|l| l.security = SecurityClaim::Classical128), CkksError::Insecure { .. }));
    }

    #[test]
    fn false_security_claims_are_refused() {
        let mut literal = literal();
        literal.secret = SecretDistribution::UniformTernary;
        literal.security = SecurityClaim::Classical128;
        let error = Parameters::from_literal(&literal, Security::AllowInsecure).unwrap_err();
        assert!(matches!(error, CkksError::Insecure { .. }), "{error}");
    }

    #[test]
    fn the_weight_of_the_ephemeral_secret_enters_the_fingerprint() {
        let literal = ParameterLiteral::preset("toy-n8-boot").unwrap();
        let made = |l: &ParameterLiteral| Parameters::from_literal(l, Security::AllowInsecure).unwrap().fingerprint();
        let mut other = literal.clone();
        if let Some(boot) = &mut other.bootstrap {
            boot.ephemeral_weight = 16;
        }
        assert_ne!(made(&other), made(&literal));
    }

    #[test]
    fn name_and_description_do_not_enter_the_fingerprint() {
        let mut renamed = literal();
        renamed.name = "other".to_owned();
        let made = |l: &ParameterLiteral| Parameters::from_literal(l, Security::AllowInsecure).unwrap().fingerprint();
        assert_eq!(made(&renamed), made(&literal()));
        renamed.secret = SecretDistribution::UniformTernary;
        assert_ne!(made(&renamed), made(&literal()));
    }
}
