//! Polynomials of `R_m = Z_m[X]/(X^N + 1)` as vectors of big integers (`r[ckks.ring]`).
//!
//! A polynomial keeps one big integer per coefficient, in `[0, m)`; there are no limbs and no transforms. Limbs
//! appear only where a rule speaks of them, and are then computed from the coefficients ([`Poly::residues`]). A modulus is
//! a positive integer throughout.
//! Products have two independent routes: [`Poly::mul`] packs each operand into one integer (Kronecker
//! substitution), [`Poly::mul_schoolbook`] follows the definition. They give the same integers.

use crate::error::ReferenceError;
use rug::integer::Order;
use rug::ops::RemRounding;
use rug::{Assign, Complete, Integer};

/// A polynomial of degree below `N` over `Z_m`, constant term first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poly {
    modulus: Integer,
    coefficients: Vec<Integer>,
}

impl Poly {
    /// The zero polynomial of `n` coefficients modulo `modulus`.
    #[must_use]
    pub fn zero(n: usize, modulus: &Integer) -> Self {
        Self { modulus: modulus.clone(), coefficients: vec![Integer::new(); n] }
    }

    /// The polynomial with the given integer coefficients, each reduced modulo `modulus`.
    #[must_use]
    pub fn from_integers(coefficients: &[Integer], modulus: &Integer) -> Self {
        let coefficients = coefficients.iter().map(|c| c.rem_euc(modulus).complete()).collect();
        Self { modulus: modulus.clone(), coefficients }
    }

    /// The polynomial with the given small integer coefficients, such as a secret or an error.
    #[must_use]
    pub fn from_small(coefficients: &[i64], modulus: &Integer) -> Self {
        let integers: Vec<Integer> = coefficients.iter().map(|&c| Integer::from(c)).collect();
        Self::from_integers(&integers, modulus)
    }

    /// The polynomial with the given residues: `limbs[i][t]` is coefficient `t` modulo `primes[i]`.
    ///
    /// The modulus of the result is the product of `primes`, which must be coprime.
    ///
    /// # Errors
    /// [`ReferenceError::BadOperand`] if limbs are missing, have different lengths or hold an entry `>=` its prime.
    pub fn from_residues(limbs: &[Vec<u64>], primes: &[u64]) -> Result<Self, ReferenceError> {
        let bad = |expected: String, got: String| ReferenceError::BadOperand {
            operation: "polynomial from residues",
            expected,
            got,
        };
        if limbs.len() != primes.len() || limbs.is_empty() {
            return Err(bad(format!("{} limbs", primes.len().max(1)), format!("{}", limbs.len())));
        }
        let n = limbs[0].len();
        for (limb, &prime) in limbs.iter().zip(primes) {
            if limb.len() != n {
                return Err(bad(format!("{n} coefficients in each limb"), format!("{}", limb.len())));
            }
            if let Some(x) = limb.iter().find(|&&x| x >= prime) {
                return Err(bad(format!("residues below {prime}"), format!("{x}")));
            }
        }
        let modulus = product(primes);
        let idempotents = idempotents(primes)?;
        let coefficients = (0..n)
            .map(|t| {
                let sum: Integer = limbs.iter().zip(&idempotents).map(|(limb, e)| Integer::from(e * limb[t])).sum();
                sum.rem_euc(&modulus)
            })
            .collect();
        Ok(Self { modulus, coefficients })
    }

    /// Number of coefficients `N`.
    #[must_use]
    pub fn len(&self) -> usize {
        self.coefficients.len()
    }

    /// Whether the polynomial has no coefficients at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.coefficients.is_empty()
    }

    /// The modulus `m`.
    #[must_use]
    pub fn modulus(&self) -> &Integer {
        &self.modulus
    }

    /// Coefficients in `[0, m)`.
    #[must_use]
    pub fn coefficients(&self) -> &[Integer] {
        &self.coefficients
    }

    /// Centred coefficients, for odd `m` in `[-(m-1)/2, (m-1)/2]`.
    #[must_use]
    pub fn centred(&self) -> Vec<Integer> {
        self.coefficients.iter().map(|c| centred(c, &self.modulus)).collect()
    }

    /// `limbs[i][t]`: coefficient `t` modulo `primes[i]`.
    #[must_use]
    pub fn residues(&self, primes: &[u64]) -> Vec<Vec<u64>> {
        primes.iter().map(|&q| self.coefficients.iter().map(|c| residue(c, q)).collect()).collect()
    }

    /// The polynomial reduced modulo `modulus`, a divisor of the present modulus.
    ///
    /// # Errors
    /// [`ReferenceError::BadOperand`] if `modulus` is not a divisor.
    pub fn reduce(&self, modulus: &Integer) -> Result<Self, ReferenceError> {
        if *modulus <= 0 || !self.modulus.is_divisible(modulus) {
            return Err(ReferenceError::BadOperand {
                operation: "reduction to a smaller modulus",
                expected: format!("a divisor of {}", self.modulus),
                got: modulus.to_string(),
            });
        }
        Ok(Self::from_integers(&self.coefficients, modulus))
    }

    /// Sum.
    ///
    /// # Errors
    /// [`ReferenceError::BadOperand`] if length or modulus differ.
    pub fn add(&self, other: &Self) -> Result<Self, ReferenceError> {
        self.check_same_ring("polynomial addition", other)?;
        Ok(self.zip(other, |a, b| Integer::from(a + b)))
    }

    /// Difference.
    ///
    /// # Errors
    /// [`ReferenceError::BadOperand`] if length or modulus differ.
    pub fn sub(&self, other: &Self) -> Result<Self, ReferenceError> {
        self.check_same_ring("polynomial subtraction", other)?;
        Ok(self.zip(other, |a, b| Integer::from(a - b)))
    }

    /// Negation.
    #[must_use]
    pub fn neg(&self) -> Self {
        self.map(|c| Integer::from(-c))
    }

    /// Product with an integer.
    #[must_use]
    pub fn mul_integer(&self, factor: &Integer) -> Self {
        self.map(|c| Integer::from(c * factor))
    }

    /// Product, by Kronecker substitution: both operands are evaluated at a power of two so large that the
    /// coefficients of the product do not overlap.
    ///
    /// # Errors
    /// [`ReferenceError::BadOperand`] if length or modulus differ.
    pub fn mul(&self, other: &Self) -> Result<Self, ReferenceError> {
        self.check_same_ring("polynomial product", other)?;
        let n = self.len();
        // A coefficient of the integer product is a sum of at most n products below m^2.
        let bits = 2 * self.modulus.significant_bits() as usize + usize::BITS as usize - n.leading_zeros() as usize;
        let words = bits.div_ceil(64);
        let packed = self.pack(words) * other.pack(words);
        let digits: Vec<u64> = packed.to_digits(Order::Lsf);
        let coefficient = |t: usize| {
            let start = (t * words).min(digits.len());
            let end = (start + words).min(digits.len());
            Integer::from_digits(&digits[start..end], Order::Lsf)
        };
        let coefficients = (0..n).map(|t| (coefficient(t) - coefficient(t + n)).rem_euc(&self.modulus)).collect();
        Ok(Self { modulus: self.modulus.clone(), coefficients })
    }

    /// Product, by the definition: `X^a X^b = X^(a+b)`, with a sign change when `a + b >= N`.
    ///
    /// # Errors
    /// [`ReferenceError::BadOperand`] if length or modulus differ.
    pub fn mul_schoolbook(&self, other: &Self) -> Result<Self, ReferenceError> {
        self.check_same_ring("polynomial product", other)?;
        let n = self.len();
        let mut sums = vec![Integer::new(); n];
        for (i, a) in self.coefficients.iter().enumerate() {
            for (j, b) in other.coefficients.iter().enumerate() {
                if i + j < n {
                    sums[i + j] += a * b;
                } else {
                    sums[i + j - n] -= a * b;
                }
            }
        }
        Ok(Self::from_integers(&sums, &self.modulus))
    }

    /// The automorphism `X -> X^g`.
    ///
    /// # Errors
    /// [`ReferenceError::BadOperand`] if `g` is even, in which case the map is not an automorphism.
    pub fn automorphism(&self, g: u64) -> Result<Self, ReferenceError> {
        if g.is_multiple_of(2) {
            return Err(ReferenceError::BadOperand {
                operation: "automorphism X -> X^g",
                expected: "an odd g".to_owned(),
                got: g.to_string(),
            });
        }
        let n = self.len() as u64;
        let mut result = Self::zero(self.len(), &self.modulus);
        for (t, c) in (0u64..).zip(&self.coefficients) {
            let exponent = (u128::from(t) * u128::from(g) % u128::from(2 * n)) as u64;
            let target = &mut result.coefficients[(exponent % n) as usize];
            if exponent < n {
                target.assign(c);
            } else if *c != 0 {
                target.assign(&self.modulus - c);
            }
        }
        Ok(result)
    }

    /// The polynomial whose coefficients are `f` of these, reduced modulo `modulus`.
    #[must_use]
    pub fn map_into(&self, modulus: &Integer, f: impl Fn(&Integer) -> Integer) -> Self {
        let coefficients = self.coefficients.iter().map(|c| f(c).rem_euc(modulus)).collect();
        Self { modulus: modulus.clone(), coefficients }
    }

    fn map(&self, f: impl Fn(&Integer) -> Integer) -> Self {
        self.map_into(&self.modulus, f)
    }

    fn zip(&self, other: &Self, f: impl Fn(&Integer, &Integer) -> Integer) -> Self {
        let pairs = self.coefficients.iter().zip(&other.coefficients);
        let coefficients = pairs.map(|(a, b)| f(a, b).rem_euc(&self.modulus)).collect();
        Self { modulus: self.modulus.clone(), coefficients }
    }

    /// The value at `2^(64 words)`.
    fn pack(&self, words: usize) -> Integer {
        let mut digits = vec![0u64; self.len() * words];
        for (slot, c) in digits.chunks_exact_mut(words).zip(&self.coefficients) {
            c.write_digits(slot, Order::Lsf);
        }
        Integer::from_digits(&digits, Order::Lsf)
    }

    fn check_same_ring(&self, operation: &'static str, other: &Self) -> Result<(), ReferenceError> {
        if self.len() == other.len() && self.modulus == other.modulus {
            return Ok(());
        }
        let describe = |p: &Self| format!("{} coefficients modulo {}", p.len(), p.modulus);
        Err(ReferenceError::BadOperand { operation, expected: describe(self), got: describe(other) })
    }
}

/// The product of machine integers.
#[must_use]
pub fn product(factors: &[u64]) -> Integer {
    factors.iter().fold(Integer::from(1), |acc, &f| acc * f)
}

/// The representative of `x` modulo `m` of least magnitude: for odd `m` in `[-(m-1)/2, (m-1)/2]`.
#[must_use]
pub fn centred(x: &Integer, m: &Integer) -> Integer {
    let r = x.rem_euc(m).complete();
    if Integer::from(&r * 2) > *m { r - m } else { r }
}

/// `x` modulo `q`, in `[0, q)`.
#[must_use]
pub fn residue(x: &Integer, q: u64) -> u64 {
    // Truncation is exact: a residue modulo a u64 fits a u64.
    x.rem_euc(Integer::from(q)).to_u64_wrapping()
}

/// The inverse of `x` modulo `m`.
///
/// # Errors
/// [`ReferenceError::BadOperand`] if `x` and `m` have a common factor.
pub fn inverse(x: &Integer, m: &Integer) -> Result<Integer, ReferenceError> {
    x.invert_ref(m).map(Integer::from).ok_or_else(|| ReferenceError::BadOperand {
        operation: "modular inverse",
        expected: format!("a number coprime to {m}"),
        got: x.to_string(),
    })
}

/// For each prime the integer below the product that is 1 modulo this prime and 0 modulo the others.
///
/// # Errors
/// [`ReferenceError::BadOperand`] if the primes are not coprime.
pub fn idempotents(primes: &[u64]) -> Result<Vec<Integer>, ReferenceError> {
    let modulus = product(primes);
    primes
        .iter()
        .map(|&q| {
            let others = Integer::from(&modulus / q);
            let inverse = inverse(&others, &Integer::from(q))?;
            Ok(others * inverse)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PRIMES: [u64; 3] = [562_949_953_420_609, 1_099_511_623_297, 281_474_976_709_249];

    fn poly(n: usize) -> impl Strategy<Value = Poly> {
        let limbs: Vec<_> = PRIMES.iter().map(|&q| proptest::collection::vec(0..q, n)).collect();
        limbs.prop_map(|limbs| Poly::from_residues(&limbs, &PRIMES).unwrap())
    }

    proptest! {
        #[test]
        fn both_product_routes_agree(a in poly(16), b in poly(16)) {
            prop_assert_eq!(a.mul(&b).unwrap(), a.mul_schoolbook(&b).unwrap());
        }

        #[test]
        fn ring_laws(a in poly(8), b in poly(8), c in poly(8)) {
            prop_assert_eq!(a.mul(&b).unwrap(), b.mul(&a).unwrap());
            prop_assert_eq!(a.mul(&b).unwrap().mul(&c).unwrap(), a.mul(&b.mul(&c).unwrap()).unwrap());
            let sum = b.add(&c).unwrap();
            prop_assert_eq!(a.mul(&sum).unwrap(), a.mul(&b).unwrap().add(&a.mul(&c).unwrap()).unwrap());
            prop_assert_eq!(a.sub(&b).unwrap(), a.add(&b.neg()).unwrap());
        }

        #[test]
        fn automorphisms_are_ring_maps_and_compose(a in poly(16), b in poly(16), g in 0u64..16, h in 0u64..16) {
            let (g, h) = (2 * g + 1, 2 * h + 1);
            let image = |p: &Poly| p.automorphism(g).unwrap();
            prop_assert_eq!(image(&a.mul(&b).unwrap()), image(&a).mul(&image(&b)).unwrap());
            prop_assert_eq!(image(&a).automorphism(h).unwrap(), a.automorphism(g * h % 32).unwrap());
        }

        #[test]
        fn residues_round_trip(a in poly(16)) {
            prop_assert_eq!(&Poly::from_residues(&a.residues(&PRIMES), &PRIMES).unwrap(), &a);
            for (x, c) in a.coefficients().iter().zip(a.centred()) {
                prop_assert_eq!(&c.clone().rem_euc(a.modulus()), x);
                prop_assert!(Integer::from(&c * 2).abs() < *a.modulus());
            }
        }
    }

    #[test]
    fn product_routes_agree_at_degree_256_with_extreme_coefficients() {
        let modulus = product(&PRIMES);
        let largest = Poly::from_integers(&vec![Integer::from(-1); 256], &modulus);
        assert_eq!(largest.mul(&largest).unwrap(), largest.mul_schoolbook(&largest).unwrap());
        let zero = Poly::zero(256, &modulus);
        assert_eq!(largest.mul(&zero).unwrap(), zero);
    }

    #[test]
    fn x_to_the_n_is_minus_one() {
        let modulus = product(&PRIMES);
        let x = Poly::from_small(&[0, 1, 0, 0], &modulus);
        let x_cubed = Poly::from_small(&[0, 0, 0, 1], &modulus);
        assert_eq!(x.mul(&x_cubed).unwrap(), Poly::from_small(&[-1, 0, 0, 0], &modulus));
    }

    #[test]
    fn operands_of_different_rings_are_refused() {
        let a = Poly::zero(8, &product(&PRIMES));
        assert!(matches!(a.add(&Poly::zero(4, a.modulus())), Err(ReferenceError::BadOperand { .. })));
        assert!(matches!(a.mul(&Poly::zero(8, &product(&PRIMES[..2]))), Err(ReferenceError::BadOperand { .. })));
        assert!(matches!(a.automorphism(4), Err(ReferenceError::BadOperand { .. })));
        assert!(matches!(a.reduce(&Integer::from(7)), Err(ReferenceError::BadOperand { .. })));
        assert!(Poly::from_residues(&[vec![PRIMES[0]]], &PRIMES[..1]).is_err());
        assert!(Poly::from_residues(&[vec![0], vec![0, 0]], &PRIMES[..2]).is_err());
    }
}
