//! Validated parameter sets.

use crate::error::ReferenceError;
use crate::ring::product;
use rug::Integer;
use rug::integer::IsPrime;
use std::collections::HashSet;
use std::fmt::Display;
use std::ops::Range;
use touchstone_spec::params::{
    BootstrapLiteral, CLASSICAL_128_TERNARY, MapFactor, ParameterLiteral, SecretDistribution, SecurityClaim,
};
use touchstone_spec::sampling::SPECIAL_LIMB;

/// Largest failure probability of a bootstrap that is admitted (`r[boot.params]`).
const FAILURE_LIMIT: f64 = 1.0 / (1u64 << 40) as f64;

/// A parameter set whose every field has been checked against the specification.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameters {
    name: String,
    log_n: u32,
    q: Vec<u64>,
    p: Vec<u64>,
    digit_size: usize,
    canonical_scales: Vec<f64>,
    secret: SecretDistribution,
    security: SecurityClaim,
    bootstrap: Option<BootstrapLiteral>,
}

impl Parameters {
    /// Checks a literal: ring and primes (`r[ckks.ring]`), canonical scales, recomputed and compared bit for bit
    /// (`r[ckks.scale.canonical]`, `r[ckks.scale.canonical.sections]`), bootstrapping (`r[boot.params]`), secret, sigma, and the security claim (`r[ckks.params.security]`).
    ///
    /// # Errors
    /// [`ReferenceError::BadParameters`] names the first field that is not admitted.
    pub fn new(literal: &ParameterLiteral) -> Result<Self, ReferenceError> {
        let parameters = Self {
            name: literal.name.clone(),
            log_n: literal.log_n,
            q: literal.q.clone(),
            p: literal.p.clone(),
            digit_size: literal.digit_size,
            canonical_scales: literal.canonical_scales.iter().map(|x| x.0).collect(),
            secret: literal.secret,
            security: literal.security,
            bootstrap: literal.bootstrap.clone(),
        };
        parameters.check_ring()?;
        parameters.check_primes()?;
        parameters.check_scales(literal.scale.0)?;
        parameters.check_distributions(literal.sigma.0)?;
        parameters.check_bootstrap()?;
        parameters.check_security()?;
        Ok(parameters)
    }

    /// Name of the preset.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Ring degree `N`.
    #[must_use]
    pub fn n(&self) -> usize {
        1 << self.log_n
    }

    /// `log2 N`.
    #[must_use]
    pub fn log_n(&self) -> u32 {
        self.log_n
    }

    /// Number of slots, `N/2`.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.n() / 2
    }

    /// The top level `L`.
    #[must_use]
    pub fn max_level(&self) -> usize {
        self.q.len() - 1
    }

    /// Chain primes `q_0..q_L`.
    #[must_use]
    pub fn q(&self) -> &[u64] {
        &self.q
    }

    /// Special primes.
    #[must_use]
    pub fn p(&self) -> &[u64] {
        &self.p
    }

    /// Digit size alpha.
    #[must_use]
    pub fn digit_size(&self) -> usize {
        self.digit_size
    }

    /// Distribution of the secret.
    #[must_use]
    pub fn secret(&self) -> SecretDistribution {
        self.secret
    }

    /// The checked security claim.
    #[must_use]
    pub fn security(&self) -> SecurityClaim {
        self.security
    }

    /// Expected Hamming weight of the secret: `2N/3` for a uniform ternary one.
    #[must_use]
    pub fn secret_weight(&self) -> f64 {
        match self.secret {
            SecretDistribution::UniformTernary => 2.0 * self.n() as f64 / 3.0,
            SecretDistribution::FixedWeight { weight } => weight as f64,
        }
    }

    /// Chain primes of a level, `q_0..q_l`.
    ///
    /// # Errors
    /// [`ReferenceError::LevelMismatch`] if there is no such level.
    pub fn chain(&self, level: usize) -> Result<&[u64], ReferenceError> {
        self.q.get(..=level).ok_or(ReferenceError::LevelMismatch {
            operation: "look-up of a level's primes",
            expected: self.max_level(),
            got: level,
        })
    }

    /// Chain primes of a level followed by the special primes: the limbs of `R_{Q_l P}`.
    ///
    /// # Errors
    /// [`ReferenceError::LevelMismatch`] if there is no such level.
    pub fn extended_chain(&self, level: usize) -> Result<Vec<u64>, ReferenceError> {
        Ok([self.chain(level)?, &self.p].concat())
    }

    /// Limb ids of [`Self::extended_chain`]; the first `level + 1` are those of [`Self::chain`] (`r[sample.stream]`).
    #[must_use]
    pub fn limb_ids(&self, level: usize) -> Vec<u32> {
        let special = (0..self.p.len() as u32).map(|j| SPECIAL_LIMB + j);
        (0..=level as u32).chain(special).collect()
    }

    /// `Q_l`.
    ///
    /// # Errors
    /// [`ReferenceError::LevelMismatch`] if there is no such level.
    pub fn modulus(&self, level: usize) -> Result<Integer, ReferenceError> {
        Ok(product(self.chain(level)?))
    }

    /// `Q_l P`.
    ///
    /// # Errors
    /// [`ReferenceError::LevelMismatch`] if there is no such level.
    pub fn extended_modulus(&self, level: usize) -> Result<Integer, ReferenceError> {
        Ok(self.modulus(level)? * self.special_modulus())
    }

    /// `P`.
    #[must_use]
    pub fn special_modulus(&self) -> Integer {
        product(&self.p)
    }

    /// Canonical scale of a level.
    ///
    /// # Errors
    /// [`ReferenceError::LevelMismatch`] if there is no such level.
    pub fn canonical_scale(&self, level: usize) -> Result<f64, ReferenceError> {
        self.chain(level)?;
        Ok(self.canonical_scales[level])
    }

    /// Whether a step at `level` divides by two primes (`r[ckks.step]`).
    #[must_use]
    pub fn is_pair(&self, level: usize) -> bool {
        self.bootstrap.as_ref().is_some_and(|boot| boot.pairs.contains(&level))
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

    /// Index ranges of the digits at a level: digit `i` holds the limbs `[i alpha, min((i+1) alpha, l+1))` (`r[ckks.modup]`).
    #[must_use]
    pub fn digits(&self, level: usize) -> Vec<Range<usize>> {
        let starts = (0..=level).step_by(self.digit_size);
        starts.map(|start| start..(start + self.digit_size).min(level + 1)).collect()
    }

    fn check_ring(&self) -> Result<(), ReferenceError> {
        if !(4..=17).contains(&self.log_n) {
            return bad("log_n", "4 to 17", self.log_n);
        }
        if self.q.is_empty() || self.p.is_empty() {
            return bad(
                "q, p",
                "at least one chain prime and one special prime",
                format!("{:?}, {:?}", self.q, self.p),
            );
        }
        if self.digit_size == 0 {
            return bad("digit_size", "at least 1", self.digit_size);
        }
        Ok(())
    }

    fn check_primes(&self) -> Result<(), ReferenceError> {
        let mut seen = HashSet::new();
        for &prime in self.q.iter().chain(&self.p) {
            // GMP's test is a proof below 2^64.
            if prime >= 1 << 50 || Integer::from(prime).is_probably_prime(40) == IsPrime::No {
                return bad("q, p", "primes below 2^50", prime);
            }
            if prime % (2 << self.log_n) != 1 {
                return bad("q, p", format!("primes congruent to 1 modulo {}", 2u64 << self.log_n), prime);
            }
            if !seen.insert(prime) {
                return bad("q, p", "distinct primes", format!("{prime} twice"));
            }
        }
        Ok(())
    }

    fn check_scales(&self, top: f64) -> Result<(), ReferenceError> {
        if !(top.is_finite() && top > 0.0) {
            return bad("scale", "a positive finite number", top);
        }
        if self.canonical_scales.len() != self.q.len() {
            return bad("canonical_scales", format!("{} entries", self.q.len()), self.canonical_scales.len());
        }
        let restart = self.bootstrap.as_ref().map(|bootstrap| bootstrap.output_level);
        let mut scale = top;
        for level in (0..self.q.len()).rev() {
            let got = self.canonical_scales[level];
            if restart == Some(level) && got.is_finite() && got > 0.0 {
                scale = got;
            }
            if got.to_bits() != scale.to_bits() {
                return bad("canonical_scales", format!("{scale:e} at level {level}"), format!("{got:e}"));
            }
            // Between the primes of a pair nothing is squared.
            let product = if self.is_pair(level + 1) { scale } else { scale * scale };
            scale = product / self.q[level] as f64;
        }
        Ok(())
    }

    fn check_distributions(&self, sigma: f64) -> Result<(), ReferenceError> {
        if sigma.to_bits() != 3.2f64.to_bits() {
            return bad("sigma", 3.2, sigma);
        }
        match self.secret {
            SecretDistribution::FixedWeight { weight } if weight == 0 || weight > self.n() => {
                bad("secret", format!("a weight of 1 to {}", self.n()), weight)
            }
            _ => Ok(()),
        }
    }

    /// `r[boot.params]`: constants that fit each other, the ring and the levels.
    fn check_bootstrap(&self) -> Result<(), ReferenceError> {
        let Some(boot) = &self.bootstrap else { return Ok(()) };
        if boot.ephemeral_weight == 0 || boot.ephemeral_weight > self.n() || self.wrap_failure() > FAILURE_LIMIT {
            let expected =
                format!("a weight of 1 to {} and a failure probability of at most {FAILURE_LIMIT:e}", self.n());
            return bad("bootstrap.range", expected, format!("{}, {}", boot.ephemeral_weight, boot.range));
        }
        if self.p[0] < self.q[0] {
            return bad("p", format!("a first special prime of at least {}", self.q[0]), self.p[0]);
        }
        let odd = boot.cosine.iter().skip(1).step_by(2).any(|c| c.0 != 0.0);
        if odd || boot.cosine.len() % 2 == 0 || !(1..=3).contains(&boot.output.len()) {
            return bad("bootstrap.cosine, output", "an even polynomial; one to three coefficients", boot.cosine.len());
        }
        for (field, factors) in [("slots_to_coeffs", &boot.slots_to_coeffs), ("coeffs_to_slots", &boot.coeffs_to_slots)]
        {
            let layers: u64 = factors.iter().map(|factor| u64::from(factor.log_radix)).sum();
            if layers != u64::from(self.log_n) - 1
                || factors.iter().any(|f| !(f.label.0.is_finite() && f.label.0 > 0.0))
            {
                return bad(field, format!("{} layers in all and positive labels", self.log_n - 1), layers);
            }
        }
        let depth = (0..).find(|d| 1usize << d >= boot.cosine.len()).unwrap_or(0);
        let output = [0, 2, 3][boot.output.len() - 1];
        let cosine = depth + boot.pairs.len();
        let used = boot.coeffs_to_slots.len() + cosine + boot.double_angles as usize + output;
        if boot.output_level < boot.slots_to_coeffs.len() || boot.output_level + used != self.max_level() {
            let expected = format!("{used} levels below the top level {}", self.max_level());
            return bad("bootstrap.output_level", expected, boot.output_level);
        }
        let middle = self.max_level() - boot.coeffs_to_slots.len();
        if !pairs_fit(&boot.pairs, middle - cosine, middle) {
            return bad("bootstrap.pairs", "disjoint pairs of levels of the cosine, highest first", boot.pairs.len());
        }
        // The argument, at the middle level, is no summand: the cosine is even.
        let summand = |pair: usize, level: usize| self.canonical_scales[pair].powi(2) / self.canonical_scales[level];
        if boot.pairs.iter().any(|&pair| (pair..middle).any(|level| summand(pair, level) >= 2f64.powi(62))) {
            return bad("bootstrap.pairs", "summands below 2^62 at the level of a pair", boot.pairs.len());
        }
        self.check_bootstrap_labels(boot)
    }

    /// Labels that meet: of the message before ModRaise, of the slots before EvalMod, of the output.
    fn check_bootstrap_labels(&self, boot: &BootstrapLiteral) -> Result<(), ReferenceError> {
        let last = |factors: &[MapFactor]| factors.last().map_or(0.0, |factor| factor.label.0);
        let message = self.q[0] as f64 / f64::from(boot.message_ratio).exp2();
        if last(&boot.slots_to_coeffs) != message {
            return bad("slots_to_coeffs", format!("a last label of {message:e}"), last(&boot.slots_to_coeffs));
        }
        let slots = self.canonical_scales[self.max_level() - boot.coeffs_to_slots.len()];
        if last(&boot.coeffs_to_slots) != slots {
            return bad("coeffs_to_slots", format!("a last label of {slots:e}"), last(&boot.coeffs_to_slots));
        }
        let above = self.canonical_scales[boot.output_level + 1];
        let linear = above * above / self.q[boot.output_level + 1] as f64 / boot.output[0].0;
        let output = self.canonical_scales[boot.output_level];
        if boot.output.len() == 1 && output != linear {
            return bad("canonical_scales", format!("{linear:e} at the output level"), output);
        }
        Ok(())
    }

    /// The bound of `r[boot.modraise.range]` on the probability that a bootstrap fails; 0 without bootstrapping.
    #[must_use]
    pub fn wrap_failure(&self) -> f64 {
        let Some(boot) = &self.bootstrap else { return 0.0 };
        let (h, range) = (boot.ephemeral_weight as f64, f64::from(boot.range));
        if range >= (h + 1.0) / 2.0 + 0.25 {
            return 0.0;
        }
        let y = h / 2.0 - range + 0.5 + 2f64.powf(-f64::from(boot.message_ratio));
        // y^h / h!, factor by factor: neither power nor factorial leaves the range of binary64.
        let tail = |y: f64| (1..=boot.ephemeral_weight).map(|i| y.max(0.0) / i as f64).product::<f64>();
        self.n() as f64 * (tail(y) + tail(y - 1.0))
    }

    /// The constants of bootstrapping, for sets that have them (`r[boot.params]`).
    #[must_use]
    pub fn bootstrap(&self) -> Option<&BootstrapLiteral> {
        self.bootstrap.as_ref()
    }

    fn check_security(&self) -> Result<(), ReferenceError> {
        if self.security == SecurityClaim::Insecure {
            return Ok(());
        }
        if self.secret != SecretDistribution::UniformTernary {
            return bad("security", "a uniform ternary secret, which the table is for", format!("{:?}", self.secret));
        }
        let limit = CLASSICAL_128_TERNARY.iter().find(|(log_n, _)| *log_n == self.log_n);
        let Some((_, bits)) = limit else {
            return bad("security", "a ring degree that the table has", format!("log_n = {}", self.log_n));
        };
        let total = product(&self.q) * product(&self.p);
        if total > Integer::from(1) << *bits {
            return bad("security", format!("log2(QP) <= {bits}"), format!("{} bits", total.significant_bits()));
        }
        Ok(())
    }
}

fn bad(field: &'static str, expected: impl Display, got: impl Display) -> Result<(), ReferenceError> {
    Err(ReferenceError::BadParameters { field, expected: expected.to_string(), got: got.to_string() })
}

/// Whether pairs lie within the levels from `middle` down to `bottom`, apart from each other, highest first (`r[boot.params]`).
fn pairs_fit(pairs: &[usize], bottom: usize, middle: usize) -> bool {
    let inside = pairs.iter().all(|&pair| pair <= middle && pair >= bottom + 2);
    inside && pairs.windows(2).all(|two| two[1] + 2 <= two[0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use rug::Rational;
    use rug::ops::Pow;
    use touchstone_spec::hexfloat::HexFloat;
    use touchstone_spec::params::preset_names;

    fn refused_field(change: impl Fn(&mut ParameterLiteral)) -> &'static str {
        let mut literal = ParameterLiteral::preset("toy-n5").unwrap();
        change(&mut literal);
        match Parameters::new(&literal) {
            Err(ReferenceError::BadParameters { field, .. }) => field,
            other => panic!("accepted or wrong error: {other:?}"),
        }
    }

    #[test]
    fn every_preset_is_admitted() {
        for name in preset_names() {
            let parameters = Parameters::new(&ParameterLiteral::preset(name).unwrap()).unwrap();
            assert_eq!(parameters.name(), name);
        }
    }

    #[test]
    fn wrong_fields_are_named() {
        assert_eq!(refused_field(|l| l.log_n = 3), "log_n");
        assert_eq!(refused_field(|l| l.log_n = 18), "log_n");
        assert_eq!(refused_field(|l| l.log_n = 16), "q, p");
        assert_eq!(refused_field(|l| l.q[1] += 64), "q, p");
        assert_eq!(refused_field(|l| l.q[1] = l.q[2]), "q, p");
        assert_eq!(refused_field(|l| l.p[0] = l.q[2]), "q, p");
        assert_eq!(refused_field(|l| l.p.clear()), "q, p");
        assert_eq!(refused_field(|l| l.q.clear()), "q, p");
        assert_eq!(refused_field(|l| l.digit_size = 0), "digit_size");
        assert_eq!(refused_field(|l| l.scale = HexFloat(-1.0)), "scale");
        assert_eq!(refused_field(|l| l.scale = HexFloat(1.0)), "canonical_scales");
        assert_eq!(refused_field(|l| l.canonical_scales.truncate(2)), "canonical_scales");
        let next = |x: &mut HexFloat| *x = HexFloat(x.0.next_up());
        assert_eq!(refused_field(|l| next(&mut l.canonical_scales[0])), "canonical_scales");
        assert_eq!(refused_field(|l| l.sigma = HexFloat(3.0)), "sigma");
        assert_eq!(refused_field(|l| l.secret = SecretDistribution::FixedWeight { weight: 33 }), "secret");
        assert_eq!(refused_field(|l| l.security = SecurityClaim::Classical128), "security");
    }

    fn refused_bootstrap(change: impl FnOnce(&mut ParameterLiteral)) -> &'static str {
        let mut literal = ParameterLiteral::preset("toy-n5-boot-pair").unwrap();
        change(&mut literal);
        match Parameters::new(&literal) {
            Err(ReferenceError::BadParameters { field, .. }) => field,
            other => panic!("accepted or wrong error: {other:?}"),
        }
    }

    /// `r[ckks.step]` and `r[boot.params]`.
    #[test]
    fn pairs_that_do_not_fit_are_refused() {
        let literal = ParameterLiteral::preset("toy-n5-boot-pair").unwrap();
        let parameters = Parameters::new(&literal).unwrap();
        let pair = parameters.bootstrap().unwrap().pairs[0];
        assert_eq!((parameters.below(pair, 1), parameters.above(pair - 2)), (Some(pair - 2), pair));
        assert_eq!((parameters.below(pair + 1, 2), parameters.above(pair)), (Some(pair - 2), pair + 1));
        assert_eq!((parameters.below(1, 1), parameters.below(1, 2)), (Some(0), None));
        // The table between the primes of a pair is that of one square.
        assert_eq!(refused_bootstrap(|l| l.bootstrap.as_mut().unwrap().pairs.clear()), "canonical_scales");
        assert_eq!(refused_bootstrap(|l| l.bootstrap.as_mut().unwrap().pairs[0] += 1), "canonical_scales");
        assert_eq!(
            refused_bootstrap(|l| l.bootstrap.as_mut().unwrap().pairs.push(usize::MAX)),
            "bootstrap.output_level"
        );
        assert!(pairs_fit(&[], 5, 9) && pairs_fit(&[9, 7], 5, 9));
        for pairs in [[9, 8], [9, 9], [7, 9], [10, 8], [9, 6]] {
            assert!(!pairs_fit(&pairs, 5, 9), "{pairs:?}");
        }
    }

    /// `r[boot.modraise.range]`: the bound of every preset is what its description states, and an exact tail is below it.
    #[test]
    fn the_failure_probability_is_the_stated_one() {
        for name in preset_names() {
            let literal = ParameterLiteral::preset(name).unwrap();
            let parameters = Parameters::new(&literal).unwrap();
            let bound = parameters.wrap_failure();
            let stated =
                literal.description.split("with probability below 2^").nth(1).map(|bits| bits.parse::<f64>().unwrap());
            let Some(stated) = stated else {
                assert_eq!(bound, 0.0, "{name}");
                continue;
            };
            assert!(bound <= stated.exp2() && bound > (stated - 1.0).exp2(), "{name}: {bound:e}");
            let boot = parameters.bootstrap().unwrap();
            let message = 2f64.powf(-f64::from(boot.message_ratio));
            let exact = |x: f64| irwin_hall_tail(boot.ephemeral_weight as u32, x);
            let range = f64::from(boot.range);
            let exact = parameters.n() as f64 * (exact(range - 0.5 - message) + exact(range + 0.5 - message));
            assert!(exact <= bound && exact > 0.9 * bound, "{name}: {exact:e} of {bound:e}");
        }
        assert_eq!(refused_bootstrap(|l| l.bootstrap.as_mut().unwrap().range -= 1), "bootstrap.range");
    }

    /// `Pr(X >= x)` for the sum `X` of `h` independent numbers that are uniform in `[-1/2, 1/2]`, exactly (Irwin 1927, Hall 1927).
    fn irwin_hall_tail(h: u32, x: f64) -> f64 {
        let start = Rational::from((h, 2)) - Rational::from_f64(x).unwrap();
        let term = |k: u32| {
            let y = start.clone() - k;
            let sign = if k.is_multiple_of(2) { 1 } else { -1 };
            (y > 0).then(|| y.pow(h) * Integer::from(Integer::binomial_u(h, k)) * sign)
        };
        let sum = (0..=h).filter_map(term).fold(Rational::new(), |sum, term| sum + term);
        (sum / Integer::from(Integer::factorial(h))).to_f64()
    }

    #[test]
    fn security_is_a_limit_on_the_product() {
        let mut literal = ParameterLiteral::preset("n15-leveled").unwrap();
        literal.secret = SecretDistribution::FixedWeight { weight: 64 };
        assert!(Parameters::new(&literal).is_err());
        let mut literal = ParameterLiteral::preset("small-n12").unwrap();
        literal.security = SecurityClaim::Classical128;
        assert!(Parameters::new(&literal).is_err());
    }

    #[test]
    fn digits_cover_the_limbs_in_order() {
        let parameters = Parameters::new(&ParameterLiteral::preset("toy-n5").unwrap()).unwrap();
        assert_eq!(parameters.digits(4), vec![0..2, 2..4, 4..5]);
        assert_eq!(parameters.digits(0), vec![0..1]);
    }
}
