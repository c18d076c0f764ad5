//! Norms of the powers of a secret: what the components of an error are weighed with.

use crate::ckks::{Parameters, SecretKey};
use num_complex::Complex64;
use touchstone_spec::params::SecretDistribution;

/// Highest power that is kept: products of two errors that carry `s^2` each.
const POWERS: usize = 5;

/// Sums of squared coefficients of `1, s, s^2, ...`, expected or of a key (`r[noise.components]`).
#[derive(Clone, Debug, PartialEq)]
pub struct SecretNorms {
    norms: [f64; POWERS],
    slots: Vec<f64>,
}

impl SecretNorms {
    /// Expected norms for a secret that is yet to be drawn; those of `s` and `s^2` are exact.
    #[must_use]
    pub fn expected(params: &Parameters) -> Self {
        let (n, h) = (params.n() as f64, params.secret_weight());
        let mut norms = Self::of_weight(h);
        norms.norms[2] = match params.secret() {
            SecretDistribution::UniformTernary => 2.0 * h * h - h,
            SecretDistribution::FixedWeight { .. } => 2.0 * h * h - 2.0 * h + h * (n - h) / (n - 1.0),
        };
        norms
    }

    /// Norms for a secret of which only the weight is known: powers above the first as those of a complex Gaussian of
    /// variance `h`, `k! h^k`.
    #[must_use]
    pub fn of_weight(h: f64) -> Self {
        Self { norms: [1.0, h, 2.0 * h.powi(2), 6.0 * h.powi(3), 24.0 * h.powi(4)], slots: Vec::new() }
    }

    /// Norms of a key.
    #[must_use]
    pub fn of(secret: &SecretKey, embedding: &Embedding) -> Self {
        let coefficients: Vec<f64> = secret.coefficients().iter().map(|&c| c as f64).collect();
        let slots: Vec<f64> = embedding.slots(&coefficients).iter().map(Complex64::norm_sqr).collect();
        let mean = |k: i32| slots.iter().map(|x| x.powi(k)).sum::<f64>() / slots.len() as f64;
        Self { norms: std::array::from_fn(|k| mean(k as i32)), slots }
    }

    /// `|s(zeta_j)|^2` of a key's slots; empty for expected norms.
    #[must_use]
    pub fn slots(&self) -> &[f64] {
        &self.slots
    }

    /// `sum_k V_k |s^k|^2`; components of the fifth power and above, which no rule makes, are not weighed.
    #[must_use]
    pub fn weigh(&self, components: &[f64]) -> f64 {
        components.iter().zip(self.norms).map(|(v, norm)| v * norm).sum()
    }
}

/// The slots of polynomials with real coefficients, in binary64: `e(zeta^(5^j))`, `j = 0..N/2-1` (`r[ckks.encode]`).
#[derive(Clone, Debug)]
pub struct Embedding {
    roots: Vec<Complex64>,
}

impl Embedding {
    /// For the ring degree `n`, a power of two.
    #[must_use]
    pub fn new(n: usize) -> Self {
        let angle = |k: usize| std::f64::consts::PI * k as f64 / n as f64;
        Self { roots: (0..2 * n).map(|k| Complex64::cis(angle(k))).collect() }
    }

    /// Slots of the polynomial with the given coefficients, term by term.
    #[must_use]
    pub fn slots(&self, coefficients: &[f64]) -> Vec<Complex64> {
        let order = self.roots.len();
        let exponents = std::iter::successors(Some(1usize), |k| Some(k * 5 % order)).take(order / 4);
        let value = |k: usize| coefficients.iter().enumerate().map(|(t, c)| self.roots[t * k % order] * c).sum();
        exponents.map(value).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::Poly;
    use rug::Integer;
    use touchstone_spec::params::ParameterLiteral;

    fn parameters(name: &str) -> Parameters {
        Parameters::new(&ParameterLiteral::preset(name).unwrap()).unwrap()
    }

    #[test]
    fn norms_are_sums_of_squares_of_powers() {
        let params = parameters("toy-n8");
        let secret = SecretKey::generate(&params, &[3; 16]).unwrap();
        let norms = SecretNorms::of(&secret, &Embedding::new(params.n()));
        let s = secret.poly(&(Integer::from(1) << 60));
        let mut power = s.clone();
        for k in 1..POWERS {
            let square = |p: &Poly| p.centred().iter().map(|c| c.to_f64().powi(2)).sum::<f64>();
            let mut unit = vec![0.0; k + 1];
            unit[k] = 1.0;
            assert!((norms.weigh(&unit) / square(&power) - 1.0).abs() < 1e-9, "power {k}");
            power = power.mul(&s).unwrap();
        }
    }

    #[test]
    fn expected_norms_are_means_over_keys() {
        for name in ["toy-n5", "toy-n8"] {
            let params = parameters(name);
            let (embedding, keys) = (Embedding::new(params.n()), 2000u32);
            let expected = SecretNorms::expected(&params);
            let mut sums = [0.0; 2];
            let mut squares = 0.0;
            for key in 0..keys {
                let mut seed = [5; 16];
                seed[..4].copy_from_slice(&key.to_le_bytes());
                let norms = SecretNorms::of(&SecretKey::generate(&params, &seed).unwrap(), &embedding);
                sums[0] += norms.weigh(&[0.0, 1.0]);
                sums[1] += norms.weigh(&[0.0, 0.0, 1.0]);
                squares += norms.weigh(&[0.0, 0.0, 1.0]).powi(2);
            }
            let means = sums.map(|sum| sum / f64::from(keys));
            let error = ((squares / f64::from(keys) - means[1] * means[1]) / f64::from(keys)).sqrt();
            // Six standard errors; the expectation without the correlation, h^2, is far outside.
            let square = expected.weigh(&[0.0, 0.0, 1.0]);
            assert!((means[1] - square).abs() < 6.0 * error, "{name}: {} and {square}, error {error}", means[1]);
            assert!(square - params.secret_weight().powi(2) > 20.0 * error);
            // Weights are binomial with variance 2N/9 at most.
            let weight_error = (2.0 * params.n() as f64 / 9.0 / f64::from(keys)).sqrt();
            assert!((means[0] - params.secret_weight()).abs() < 6.0 * weight_error, "{name}");
        }
    }
}
