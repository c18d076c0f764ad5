//! Exact slots: numbers of `Z[zeta][1/2]`, and their encoding from the exact value.
//!
//! The diagonals of the factors of the canonical embedding are such numbers (`r[boot.factors]`). Rounding them to
//! binary64 before encoding would make their plaintexts depend on how they were computed.

use super::{Encoder, Roots, round_rational, round_within};
use crate::error::ReferenceError;
use rug::{Float, Integer, Rational};
use std::collections::BTreeMap;

/// `2^-shift sum_k c_k zeta^k`, `zeta = exp(i pi / N)`, `0 <= k < N`, in lowest terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cyclotomic {
    n: usize,
    /// `c_k` by `k`; no entry is 0.
    terms: BTreeMap<usize, i64>,
    shift: u32,
}

impl Cyclotomic {
    /// Zero, for the ring degree `n`.
    #[must_use]
    pub fn zero(n: usize) -> Self {
        Self { n, terms: BTreeMap::new(), shift: 0 }
    }

    /// `zeta^exponent` for the ring degree `n`.
    #[must_use]
    pub fn root(n: usize, exponent: usize) -> Self {
        let sign = if exponent % (2 * n) < n { 1 } else { -1 };
        Self { n, terms: BTreeMap::from([(exponent % n, sign)]), shift: 0 }
    }

    /// Whether the number is 0.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.terms.is_empty()
    }

    /// Half of the number.
    #[must_use]
    pub fn half(&self) -> Self {
        let shift = self.shift + u32::from(!self.is_zero());
        Self { shift, ..self.clone() }.reduced()
    }

    /// The negative.
    #[must_use]
    pub fn neg(&self) -> Self {
        Self { terms: self.terms.iter().map(|(k, c)| (*k, -c)).collect(), ..self.clone() }
    }

    /// The sum.
    #[must_use]
    pub fn add(&self, other: &Self) -> Self {
        let shift = self.shift.max(other.shift);
        let mut terms = BTreeMap::new();
        for part in [self, other] {
            for (k, c) in &part.terms {
                *terms.entry(*k).or_insert(0) += c << (shift - part.shift);
            }
        }
        Self { n: self.n, terms, shift }.reduced()
    }

    /// The product.
    #[must_use]
    pub fn mul(&self, other: &Self) -> Self {
        let mut terms = BTreeMap::new();
        for (i, a) in &self.terms {
            for (j, b) in &other.terms {
                let (k, sign) = if i + j < self.n { (i + j, 1) } else { (i + j - self.n, -1) };
                *terms.entry(k).or_insert(0) += sign * a * b;
            }
        }
        Self { n: self.n, terms, shift: self.shift + other.shift }.reduced()
    }

    /// Drops zeros and common factors 2.
    fn reduced(mut self) -> Self {
        self.terms.retain(|_, c| *c != 0);
        let common = self.terms.values().map(|c| c.trailing_zeros()).min().unwrap_or(u32::MAX).min(self.shift);
        self.terms.values_mut().for_each(|c| *c >>= common);
        self.shift -= common;
        if self.terms.is_empty() {
            self.shift = 0;
        }
        self
    }
}

impl Encoder {
    /// The integer coefficients of exact slots at `scale`, correctly rounded, ties to even, term by term from the
    /// definition (`r[ckks.encode]`).
    ///
    /// # Errors
    /// As [`Encoder::encode`], and [`ReferenceError::BadOperand`] for slots of another ring degree.
    pub fn encode_exact(&self, slots: &[Cyclotomic], scale: f64) -> Result<Vec<i64>, ReferenceError> {
        super::check_shape("encode", self.n() / 2, "slots", slots.len(), scale)?;
        if let Some(slot) = slots.iter().find(|z| z.n != self.n()) {
            let (expected, got) = (format!("ring degree {}", self.n()), slot.n.to_string());
            return Err(ReferenceError::BadOperand { operation: "encode", expected, got });
        }
        let shift = slots.iter().map(|z| z.shift).max().unwrap_or(0);
        let round = |t: usize| {
            let value = self.round_cosines(&self.cosines(slots, shift, t), scale, shift);
            match value.to_i64() {
                Some(c) if c.abs() < super::COEFFICIENT_LIMIT => Ok(c),
                _ => Err(ReferenceError::NotEncodable {
                    operation: "encode",
                    expected: "coefficients below 2^62 in magnitude".to_owned(),
                    got: format!("coefficient {t} equal to {value}"),
                }),
            }
        };
        (0..self.n()).map(round).collect()
    }

    /// Integers `a_k` with `2^shift Re(sum_j z_j zeta^(-t 5^j)) = sum_k a_k cos(k pi / N)`, `0 <= k < N/2`.
    fn cosines(&self, slots: &[Cyclotomic], shift: u32, t: usize) -> Vec<i64> {
        let n = self.n();
        let mut a = vec![0; n / 2];
        for (power, z) in self.slot_exponents().zip(slots) {
            for (k, c) in &z.terms {
                let c = c << (shift - z.shift);
                let k = (k + 2 * n - t * power % (2 * n)) % (2 * n);
                let k = k.min(2 * n - k);
                match k {
                    _ if k < n / 2 => a[k] += c,
                    _ if k > n / 2 => a[n - k] -= c,
                    _ => {}
                }
            }
        }
        a
    }

    /// `rne((2/N) scale 2^-shift sum_k a_k cos(k pi / N))`: the cosines are linearly independent over the rationals,
    /// so a sum is rational only if all but `a_0` vanish, and an irrational one is no tie.
    fn round_cosines(&self, a: &[i64], scale: f64, shift: u32) -> Integer {
        let down = self.log_n - 1 + shift;
        if a[1..].iter().all(|c| *c == 0) {
            let scale = Rational::from_f64(scale).unwrap_or_default();
            return round_rational(&((scale * a[0]) >> down));
        }
        let magnitude: i64 = a.iter().map(|c| c.abs()).sum();
        let mut precision = super::BASE_PRECISION;
        loop {
            let longer;
            let roots = if precision == super::BASE_PRECISION {
                &self.roots
            } else {
                longer = Roots::new(self.log_n, precision);
                &longer
            };
            let terms = a.iter().enumerate().filter(|(_, c)| **c != 0);
            let zero = Float::new(precision);
            let sum = terms.fold(zero, |sum, (k, c)| sum + Float::with_val(precision, &roots.power(k).re * *c));
            // A cosine is off by 2^4 units, products and partial sums by one unit of the largest partial sum each.
            let error = Float::with_val(precision, magnitude) * (32 + a.len() as u32) * scale;
            if let Some(value) = round_within(&((sum * scale) >> down), &((error >> down) >> (precision - 1))) {
                return value;
            }
            precision *= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ckks::Parameters;
    use num_complex::Complex64;
    use touchstone_spec::params::ParameterLiteral;

    #[test]
    fn exact_encodings_agree_with_those_of_binary64_slots() {
        let params = Parameters::new(&ParameterLiteral::preset("toy-n5").unwrap()).unwrap();
        let encoder = Encoder::new(&params);
        // Numbers that binary64 holds: Gaussian integers over powers of two.
        let parts = |j: usize| ((j * j % 13) as i64 - 6, (j * 7 % 11) as i64 - 5);
        let exact: Vec<_> = (0..16).map(|j| gaussian(parts(j))).collect();
        let floating: Vec<_> =
            (0..16).map(|j| Complex64::new(parts(j).0 as f64 / 8.0, parts(j).1 as f64 / 8.0)).collect();
        for scale in [1.0, 8.0, 12345.75, 40f64.exp2() / 3.0] {
            assert_eq!(encoder.encode_exact(&exact, scale).unwrap(), encoder.encode(&floating, scale).unwrap());
        }
        assert!(encoder.encode_exact(&exact[1..], 1.0).is_err());
        assert!(encoder.encode_exact(&vec![gaussian((8, 0)); 16], 62f64.exp2()).is_err());
    }

    /// `(a + b i) / 8`.
    fn gaussian((a, b): (i64, i64)) -> Cyclotomic {
        Cyclotomic { n: 32, terms: BTreeMap::from([(0, a), (16, b)]), shift: 3 }.reduced()
    }

    #[test]
    fn field_laws_hold() {
        let zeta = |e| Cyclotomic::root(32, e);
        assert_eq!(zeta(5).mul(&zeta(60)), zeta(1));
        assert_eq!(zeta(3).add(&zeta(35)), Cyclotomic::zero(32));
        let x = zeta(1).add(&zeta(7)).half();
        assert_eq!(x.add(&x), zeta(1).add(&zeta(7)));
        assert_eq!(x.mul(&zeta(9)).add(&x.neg()), zeta(10).add(&zeta(16)).add(&zeta(1).add(&zeta(7)).neg()).half());
    }
}
