//! Prime moduli below `2^50` and scalar modular arithmetic.

use super::ArithError;

/// Smallest accepted modulus (inclusive).
pub const MIN_MODULUS: u64 = 1 << 20;
/// Upper limit of a modulus (exclusive). The ranges proved for the vector kernels rest on it.
pub const MAX_MODULUS: u64 = 1 << 50;

/// An odd prime `p` with `2^20 <= p < 2^50`, with the constants its reductions need.
///
/// Unless stated otherwise the methods take and return canonical residues, that is integers in
/// `[0, p)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Modulus {
    value: u64,
    /// Bit length of `value`.
    bits: u32,
    /// `floor(2^(2 bits) / p)`, the Barrett constant.
    barrett: u64,
    /// `1 / p` rounded to nearest.
    recip: f64,
}

impl Eq for Modulus {}

impl Modulus {
    /// Checks range and primality and prepares the constants.
    ///
    /// # Errors
    /// [`ArithError::Modulus`] unless `p` is a prime with `2^20 <= p < 2^50`.
    pub fn new(p: u64) -> Result<Self, ArithError> {
        if !(MIN_MODULUS..MAX_MODULUS).contains(&p) || !is_prime(p) {
            return Err(ArithError::Modulus { operation: "Modulus::new", expected: "a prime in [2^20, 2^50)", got: p });
        }
        let bits = u64::BITS - p.leading_zeros();
        Ok(Self { value: p, bits, barrett: ((1u128 << (2 * bits)) / u128::from(p)) as u64, recip: 1.0 / p as f64 })
    }

    /// The prime.
    #[inline]
    pub const fn value(&self) -> u64 {
        self.value
    }

    /// `1 / p` rounded to nearest.
    #[inline]
    pub(crate) const fn recip(&self) -> f64 {
        self.recip
    }

    /// `a + b mod p`.
    #[inline]
    pub const fn add(&self, a: u64, b: u64) -> u64 {
        let s = a + b;
        if s >= self.value { s - self.value } else { s }
    }

    /// `a - b mod p`.
    #[inline]
    pub const fn sub(&self, a: u64, b: u64) -> u64 {
        if a >= b { a - b } else { a + self.value - b }
    }

    /// `-a mod p`.
    #[inline]
    pub const fn neg(&self, a: u64) -> u64 {
        if a == 0 { 0 } else { self.value - a }
    }

    /// `a * b mod p`.
    #[inline]
    pub const fn mul(&self, a: u64, b: u64) -> u64 {
        self.reduce_product(a as u128 * b as u128)
    }

    /// Barrett reduction of `x < 2^(2 bits)`, which covers `p^2 + p`.
    ///
    /// With `k = bits` the quotient estimate `((x >> (k-1)) * floor(2^2k / p)) >> (k+1)` is at most
    /// 2 below `floor(x / p)` (Menezes et al., Handbook of Applied Cryptography, 14.42), so two
    /// conditional subtractions finish.
    #[inline]
    pub(crate) const fn reduce_product(&self, x: u128) -> u64 {
        let top = (x >> (self.bits - 1)) as u64;
        let q = ((top as u128 * self.barrett as u128) >> (self.bits + 1)) as u64;
        let mut r = (x as u64).wrapping_sub(q.wrapping_mul(self.value));
        if r >= 2 * self.value {
            r -= 2 * self.value;
        }
        if r >= self.value { r - self.value } else { r }
    }

    /// `a^e mod p`.
    pub const fn pow(&self, a: u64, mut e: u64) -> u64 {
        let mut base = a;
        let mut acc = 1;
        while e > 0 {
            if e & 1 == 1 {
                acc = self.mul(acc, base);
            }
            base = self.mul(base, base);
            e >>= 1;
        }
        acc
    }

    /// `a^-1 mod p` by Fermat's theorem; 0 for `a = 0`, which has no inverse.
    pub const fn inv(&self, a: u64) -> u64 {
        self.pow(a, self.value - 2)
    }

    /// `x mod p` for any `x`.
    #[inline]
    pub const fn reduce_u64(&self, x: u64) -> u64 {
        x % self.value
    }

    /// `x mod p` for any `x`.
    #[inline]
    pub const fn reduce_u128(&self, x: u128) -> u64 {
        (x % self.value as u128) as u64
    }

    /// The residue of a signed integer.
    #[inline]
    pub const fn from_i64(&self, x: i64) -> u64 {
        x.rem_euclid(self.value as i64) as u64
    }

    /// The representative of `x` in `[-(p-1)/2, (p-1)/2]`.
    #[inline]
    pub const fn center(&self, x: u64) -> i64 {
        if x > self.value / 2 { x as i64 - self.value as i64 } else { x as i64 }
    }

    /// The Shoup constant `floor(2^64 w / p)` of a fixed multiplicand.
    #[inline]
    pub(crate) const fn shoup(&self, w: u64) -> u64 {
        (((w as u128) << 64) / self.value as u128) as u64
    }

    /// `a * w mod p` in `[0, 2p)` for any `a`, given `w_shoup = shoup(w)`.
    #[inline]
    pub(crate) const fn mul_shoup_lazy(&self, a: u64, w: u64, w_shoup: u64) -> u64 {
        let q = ((a as u128 * w_shoup as u128) >> 64) as u64;
        a.wrapping_mul(w).wrapping_sub(q.wrapping_mul(self.value))
    }

    /// `a * w mod p` for any `a`, given `w_shoup = shoup(w)`.
    #[inline]
    pub(crate) const fn mul_shoup(&self, a: u64, w: u64, w_shoup: u64) -> u64 {
        let r = self.mul_shoup_lazy(a, w, w_shoup);
        if r >= self.value { r - self.value } else { r }
    }
}

/// Deterministic Miller-Rabin: the first twelve primes as bases decide every `n < 2^64`
/// (Sorenson and Webster, 2015).
fn is_prime(n: u64) -> bool {
    const BASES: [u64; 12] = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37];
    if n < 2 {
        return false;
    }
    for b in BASES {
        if n.is_multiple_of(b) {
            return n == b;
        }
    }
    let mul = |a: u64, b: u64| (u128::from(a) * u128::from(b) % u128::from(n)) as u64;
    let twos = (n - 1).trailing_zeros();
    'bases: for b in BASES {
        let (mut x, mut base, mut e) = (1, b, (n - 1) >> twos);
        while e > 0 {
            if e & 1 == 1 {
                x = mul(x, base);
            }
            base = mul(base, base);
            e >>= 1;
        }
        if x == 1 || x == n - 1 {
            continue;
        }
        for _ in 1..twos {
            x = mul(x, x);
            if x == n - 1 {
                continue 'bases;
            }
        }
        return false;
    }
    true
}
