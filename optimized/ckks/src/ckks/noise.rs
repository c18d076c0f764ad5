//! The noise rules of the book (`r[noise.*]`), one function per rule.
//!
//! A *variance* is that of a coefficient of an error polynomial before division by the scale; a *slot error* is an absolute
//! error of a decoded slot. Nothing here looks at keys or ciphertexts: parameters, levels and scales determine every value.

use super::params::Parameters;
use touchstone_spec::params::SecretDistribution;

/// `r[noise.bound]`: how many standard deviations bound `n` Gaussian numbers at once, except with probability `failure`.
///
/// `sqrt(2 ln(2 n / failure))`, the union bound over both tails; 0 where `2 n <= failure`.
#[must_use]
pub fn bound_factor(failure: f64, n: f64) -> f64 {
    (2.0 * (2.0 * n / failure).ln()).max(0.0).sqrt()
}

/// `r[noise.bound.slot]`: the same for slots, whose errors follow a Laplace law: `ln(n / failure) / sqrt 2`.
///
/// 0 where `n <= failure`.
#[must_use]
pub fn slot_bound_factor(failure: f64, n: f64) -> f64 {
    (n / failure).ln().max(0.0) / std::f64::consts::SQRT_2
}

/// `r[noise.encode]`: variance of rounding to integer coefficients.
#[must_use]
pub fn encode() -> f64 {
    1.0 / 12.0
}

/// `r[noise.add]`: variance of a sum of independent errors.
#[must_use]
pub fn add(variance_1: f64, variance_2: f64) -> f64 {
    variance_1 + variance_2
}

/// A value and the largest error it may carry, both absolute values in a slot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlotError {
    /// Bound on the exact value.
    pub value: f64,
    /// Bound on the error.
    pub error: f64,
}

/// `r[noise.mul]`, worst case: a bound on `z_1 e_2 + z_2 e_1 + e_1 e_2`.
#[must_use]
pub fn mul(a: SlotError, b: SlotError) -> f64 {
    a.value * b.error + b.value * a.error + a.error * b.error
}

/// `r[noise.mul.plain]`, worst case: a bound on `e m + z r` for a ciphertext and a plaintext whose own error is `r`.
///
/// The plaintext multiplies as it is encoded, so `m` is its exact value and error together.
#[must_use]
pub fn mul_plain(ciphertext: SlotError, plaintext: SlotError) -> f64 {
    mul(ciphertext, plaintext)
}

/// `r[noise.scalar.mul]`, worst case: a bound on `e c + z r` for a real constant `c` given at scale `constant_scale = T/s`.
///
/// A complex constant is rounded in both parts; its rounding error is `sqrt(2)` times as large.
#[must_use]
pub fn mul_const(ciphertext: SlotError, c: f64, constant_scale: f64) -> f64 {
    mul(ciphertext, SlotError { value: c.abs(), error: constant_rounding(constant_scale) })
}

/// `r[noise.scalar.mul]`, `r[ckks.scalar.add]`: slot error of a real constant rounded to an integer at `scale`.
#[must_use]
pub fn constant_rounding(scale: f64) -> f64 {
    0.5 / scale
}

/// `r[noise.scale-label]`: relative error of a value after `operations` products and rescales.
#[must_use]
pub fn scale_label(operations: usize) -> f64 {
    operations as f64 * f64::EPSILON
}

/// `r[noise.polynomial]`: error of a polynomial's value from the error of its argument alone, `max |p'|` given.
#[must_use]
pub fn polynomial(argument_error: f64, max_derivative: f64) -> f64 {
    argument_error * max_derivative
}

/// `r[noise.worst-case]`: a bound on the sum of errors that may all have the same sign.
#[must_use]
pub fn worst_case(errors: impl IntoIterator<Item = f64>) -> f64 {
    errors.into_iter().map(f64::abs).sum()
}

/// `r[noise.rss]`: the size of the sum of errors that are taken to be independent. An estimate, not a bound.
#[must_use]
pub fn root_sum_square(errors: impl IntoIterator<Item = f64>) -> f64 {
    errors.into_iter().map(|error| error * error).sum::<f64>().sqrt()
}

/// Errors that single steps of a circuit add to a slot, in absolute value (`r[noise.worst-case]`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepError {
    /// A sum or product after its rescale, its key switch included.
    pub rescale: f64,
    /// Rounding of a real constant.
    pub constant: f64,
}

/// The numbers of a parameter set on which noise depends.
#[derive(Clone, Debug, PartialEq)]
pub struct NoiseModel {
    log_n: u32,
    weight: f64,
    /// Expected sum of squared coefficients of the secret's square.
    square_weight: f64,
    sigma: f64,
    chain: Vec<f64>,
    special_product: f64,
    first_special: f64,
    digit_size: usize,
    scales: Vec<f64>,
    /// Whether a level lies between the primes of a pair, where no ciphertext is canonical (`r[ckks.step]`).
    within_pair: Vec<bool>,
}

impl NoiseModel {
    /// The model of a parameter set.
    #[must_use]
    pub fn new(parameters: &Parameters) -> Self {
        Self {
            log_n: parameters.log_n(),
            weight: parameters.secret_weight(),
            square_weight: square_weight(parameters),
            sigma: parameters.sigma(),
            chain: parameters.chain().iter().map(|q| *q as f64).collect(),
            special_product: parameters.special().iter().map(|p| *p as f64).product(),
            first_special: parameters.special()[0] as f64,
            digit_size: parameters.digit_size(),
            scales: (0..=parameters.max_level()).map(|level| parameters.canonical_scale(level)).collect(),
            within_pair: (0..=parameters.max_level()).map(|level| parameters.is_pair(level + 1)).collect(),
        }
    }

    fn n(&self) -> f64 {
        f64::from(1u32 << self.log_n)
    }

    /// Standard deviation of a slot's real (or imaginary) part for a coefficient variance: `sqrt(N V / 2) / scale`.
    #[must_use]
    pub fn slot_std(&self, variance: f64, scale: f64) -> f64 {
        (self.n() * variance / 2.0).sqrt() / scale
    }

    /// Variance of rounding both polynomials of a ciphertext to integers: `(h + 1) / 12`.
    #[must_use]
    pub fn rounding(&self) -> f64 {
        self.rounding_of(1)
    }

    /// `r[noise.components]`: variance of rounding all polynomials of a ciphertext of the given degree, 0 for a plaintext, at most 2.
    #[must_use]
    pub fn rounding_of(&self, degree: usize) -> f64 {
        let powers = [1.0, self.weight, self.square_weight];
        powers.iter().take(degree + 1).sum::<f64>() / 12.0
    }

    /// `r[noise.fresh.secret]`: variance of a secret-key encryption, without the encoding error.
    #[must_use]
    pub fn fresh_secret(&self) -> f64 {
        self.sigma * self.sigma
    }

    /// `r[noise.fresh.public]`: variance of a public-key encryption, without the encoding error.
    #[must_use]
    pub fn fresh_public(&self) -> f64 {
        let ternary_weight = 2.0 * self.n() / 3.0;
        let product = self.sigma * self.sigma * (ternary_weight + self.weight + 1.0);
        product / (self.first_special * self.first_special) + self.rounding()
    }

    /// `r[noise.rescale]`: variance after rescaling from `level`, which divides by `q_level`.
    ///
    /// # Panics
    /// If `level` is above the top one.
    #[must_use]
    pub fn rescale(&self, variance: f64, level: usize) -> f64 {
        variance / (self.chain[level] * self.chain[level]) + self.rounding()
    }

    /// `r[noise.keyswitch]`: variance that a key switch at `level` adds.
    ///
    /// # Panics
    /// If `level` is above the top one.
    #[must_use]
    pub fn key_switch(&self, level: usize) -> f64 {
        self.key_product(level) + self.rounding()
    }

    /// The part of [`NoiseModel::key_switch`] that the key's own errors cause, `V_raw / P^2` of `r[noise.keyswitch]`.
    ///
    /// # Panics
    /// If `level` is above the top one.
    #[must_use]
    pub fn key_product(&self, level: usize) -> f64 {
        let digit =
            |primes: &[f64]| primes.len() as f64 * (primes.iter().product::<f64>() / self.special_product).powi(2);
        let digits: f64 = self.chain[..=level].chunks(self.digit_size).map(digit).sum();
        self.sigma * self.sigma * self.n() / 12.0 * digits
    }

    /// Variance of a uniform polynomial times a key's error, divided by a special modulus: `sigma^2 (N/12) ratio^2`, `ratio`
    /// the polynomial's modulus over the special one.
    #[must_use]
    pub fn key_product_variance(&self, ratio: f64) -> f64 {
        self.sigma * self.sigma * self.n() / 12.0 * ratio * ratio
    }

    /// Errors of the steps that start at `from` or below and end at `to` or above, each entering with `factor` standard
    /// deviations of the real and of the imaginary part ([`bound_factor`]).
    ///
    /// A step is a sum or product at the product's scale, at most one key switch, and a rescale to the canonical scale.
    ///
    /// # Panics
    /// If `from` is above the top level or not above `to`.
    #[must_use]
    pub fn step_error(&self, from: usize, to: usize, factor: f64) -> StepError {
        let rescale = std::f64::consts::SQRT_2 * factor * self.step_deviation(from, to);
        let scales = || (to..=from).filter(|level| !self.within_pair[*level]).map(|level| self.scales[level]);
        let smallest = scales().fold(f64::INFINITY, f64::min);
        let largest = scales().fold(0.0, f64::max);
        // A constant's own scale is T/s: at least the square of the smallest over the largest canonical scale.
        let constant = constant_rounding(smallest * smallest / largest);
        StepError { rescale, constant }
    }

    /// The largest standard deviation of a slot's part from one step as in [`NoiseModel::step_error`].
    ///
    /// # Panics
    /// If `from` is above the top level.
    #[must_use]
    pub fn step_deviation(&self, from: usize, to: usize) -> f64 {
        let one = |level: usize| {
            let variance = self.rescale(self.key_switch(level), level);
            self.slot_std(variance, self.scales[level - 1])
        };
        (to + 1..=from).map(one).fold(0.0, f64::max)
    }
}

/// `r[noise.components]`: the expected sum of squared coefficients of the square of a secret.
fn square_weight(parameters: &Parameters) -> f64 {
    let (n, h) = (parameters.n() as f64, parameters.secret_weight());
    match parameters.secret() {
        SecretDistribution::UniformTernary => 2.0 * h * h - h,
        SecretDistribution::FixedWeight { .. } => 2.0 * h * h - 2.0 * h + h * (n - h) / (n - 1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ckks::{decrypt, encrypt_public, encrypt_secret};
    use crate::{Context, Encoder, EvaluationKeys, Evaluator, KeyGenerator, ParameterLiteral, Security, Seed};
    use touchstone_spec::hexfloat::HexFloat;

    /// Chance that any comparison of this module fails for a correct engine and correct rules.
    const FAILURE: f64 = 1e-9;
    /// Comparisons made, rounded up.
    const COMPARISONS: f64 = 32.0;

    /// A set in which the special primes are barely larger than the digits, so that a key switch's error shows.
    fn tight(preset: &str) -> Parameters {
        let mut literal = ParameterLiteral::preset(preset).unwrap();
        let mut primes = literal.q.split_off(1);
        primes.sort_unstable();
        literal.p = primes.split_off(primes.len() - 2);
        literal.q = primes;
        literal.digit_size = 2;
        let mut scale = literal.scale.0;
        literal.canonical_scales = vec![literal.scale; literal.q.len()];
        for level in (0..literal.q.len()).rev() {
            literal.canonical_scales[level] = HexFloat(scale);
            scale = scale * scale / literal.q[level] as f64;
        }
        Parameters::from_literal(&literal, Security::AllowInsecure).unwrap()
    }

    /// Mean squares of the coefficients of encryptions of 0 after an operation, over several key pairs.
    struct Measured {
        name: &'static str,
        predicted: f64,
        sum: f64,
        count: f64,
    }

    impl Measured {
        /// Compares standard deviations.
        ///
        /// The variance of a sample variance of `m` independent Gaussians is `2/m` of its square. An error polynomial that is a
        /// product of two random polynomials has frequencies that are products of complex Gaussians, whose squares have
        /// relative variance 3 instead of 1, so `6/m` bounds every case here; a uniform ternary secret's weight
        /// varies by another `1/(2m)`. Half of it is the relative deviation of a standard deviation.
        fn check(&self, set: &str) {
            let ratio = (self.sum / self.count / self.predicted).sqrt();
            let tolerance = 0.5 * (6.5 / self.count).sqrt() * bound_factor(FAILURE, COMPARISONS);
            println!("{set}, {}: measured/predicted {ratio:.4}, tolerance {tolerance:.4}", self.name);
            assert!((ratio - 1.0).abs() <= tolerance, "{set}, {}: {ratio} is not 1 within {tolerance}", self.name);
        }
    }

    fn measure(set: &str, parameters: &Parameters, seeds: std::ops::Range<u128>) {
        println!("{set}, seeds {seeds:?}");
        let model = NoiseModel::new(parameters);
        let context = Context::new(parameters.clone()).unwrap();
        let (top, low) = (parameters.max_level(), parameters.max_level() / 2);
        let fresh = model.fresh_secret();
        let predicted = [
            ("fresh, secret key", fresh),
            ("fresh, public key", model.fresh_public()),
            ("sum", add(fresh, model.fresh_public())),
            ("rescale", model.rescale(fresh, top)),
            ("key switch, top level", add(fresh, model.key_switch(top))),
            ("key switch, lower level", add(fresh, model.key_switch(low))),
        ];
        let mut measured = predicted.map(|(name, predicted)| Measured { name, predicted, sum: 0.0, count: 0.0 });
        let encoder = Encoder::new(&context);
        for seed in seeds {
            let generator = KeyGenerator::new(&context, Seed::insecure(seed));
            let secret = generator.secret_key();
            let public = generator.public_key(&secret).unwrap();
            let mut keys = EvaluationKeys::new();
            keys.insert(generator.rotation_key(&secret, 1, top).unwrap());
            let ev = Evaluator::new(&context, &keys);
            let zero = encoder.encode_coeffs(&vec![0; parameters.n()], top, 1.0).unwrap();
            let encrypt = |index| encrypt_secret(&context, &secret, &zero, &Seed::insecure(seed), index).unwrap();
            let by_public = |index| encrypt_public(&context, &public, &zero, &Seed::insecure(seed), index).unwrap();
            let results = [
                encrypt(0),
                by_public(0),
                ev.add(&encrypt(1), &by_public(1)).unwrap(),
                ev.rescale(&encrypt(2)).unwrap(),
                ev.rotate(&encrypt(3), 1).unwrap(),
                ev.rotate(&ev.drop_level(&encrypt(4), low).unwrap(), 1).unwrap(),
            ];
            for (result, measured) in results.iter().zip(&mut measured) {
                let errors = encoder.decode_coeffs(&decrypt(&context, &secret, result).unwrap()).unwrap();
                measured.sum += errors.iter().map(|e| e * e).sum::<f64>();
                measured.count += errors.len() as f64;
            }
        }
        measured.iter().for_each(|measured| measured.check(set));
    }

    #[test]
    fn predictions_match_measurements() {
        let preset = |name| Parameters::preset(name, Security::AllowInsecure).unwrap();
        measure("toy-n8", &preset("toy-n8"), 100..164);
        measure("toy-n8, tight special primes", &tight("toy-n8"), 200..264);
        measure("small-n12", &preset("small-n12"), 300..308);
        measure("small-n12, tight special primes", &tight("small-n12"), 400..408);
    }

    #[test]
    fn slot_errors_have_the_predicted_size() {
        let parameters = Parameters::preset("small-n12", Security::AllowInsecure).unwrap();
        let model = NoiseModel::new(&parameters);
        let context = Context::new(parameters).unwrap();
        let (level, scale) = (3, context.parameters().canonical_scale(3));
        let generator = KeyGenerator::new(&context, Seed::insecure(9));
        let secret = generator.secret_key();
        let encoder = Encoder::new(&context);
        let values = vec![crate::Complex64::new(0.3, -0.7); context.parameters().slots()];
        let plain = encoder.encode(&values, level, scale).unwrap();
        let cipher = encrypt_secret(&context, &secret, &plain, &Seed::insecure(9), 0).unwrap();
        let slots = encoder.decode(&decrypt(&context, &secret, &cipher).unwrap()).unwrap();
        let squares: f64 = slots.iter().zip(&values).map(|(got, z)| (got - z).norm_sqr()).sum();
        // The two parts of a slot are two of the N independent real numbers; a constant encodes exactly but for two coefficients.
        let n = 2.0 * slots.len() as f64;
        let ratio = (squares / n).sqrt() / model.slot_std(model.fresh_secret(), scale);
        let tolerance = 0.5 * (2.0 / n).sqrt() * bound_factor(FAILURE, COMPARISONS);
        println!("seed 9: measured/predicted {ratio:.4}, tolerance {tolerance:.4}");
        assert!((ratio - 1.0).abs() <= tolerance);
    }

    #[test]
    fn closed_forms() {
        assert_eq!(encode(), 1.0 / 12.0);
        assert_eq!(worst_case([1.0, -2.0]), 3.0);
        assert_eq!(root_sum_square([3.0, -4.0]), 5.0);
        assert_eq!(polynomial(0.25, 4.0), 1.0);
        assert_eq!(scale_label(4), 2f64.powi(-50));
        let (a, b) = (SlotError { value: 2.0, error: 0.5 }, SlotError { value: 3.0, error: 0.25 });
        assert_eq!(mul(a, b), 2.0 * 0.25 + 3.0 * 0.5 + 0.5 * 0.25);
        assert_eq!(mul_plain(a, b), mul(a, b));
        assert_eq!(mul_const(a, -3.0, 2.0), 2.0 * 0.25 + 3.0 * 0.5 + 0.5 * 0.25);
        // The tail of one Gaussian beyond D, by its asymptotic bound, stays below failure / n.
        // exp(-sqrt 2 D) is the two-sided tail of a Laplace law of variance 1.
        let d = slot_bound_factor(1e-6, 1e4);
        assert!((1e4 * (-std::f64::consts::SQRT_2 * d).exp() - 1e-6).abs() < 1e-12);
        let d = bound_factor(1e-6, 1e4);
        assert!(2.0 * (-d * d / 2.0).exp() / (d * (2.0 * std::f64::consts::PI).sqrt()) <= 1e-6 / 1e4);
        assert_eq!(bound_factor(1.0, 0.5), 0.0);
    }
}
