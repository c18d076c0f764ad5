//! Arithmetic modulo one prime on eight lanes.
//!
//! `p` is a prime of `n` bits, `2^20 <= p < 2^50`, so that `4p < 2^52`: numbers below `4p` are whole operands of the 52-bit
//! multiply-add, and sums below `8p` fit a lane with room to spare.
//!
//! **Conditional subtraction** ([`Field::below`]). For `0 <= x < 2c` and `c <= 2^52`, `min(x, x - c)` as unsigned numbers is `x` reduced to
//! `[0, c)`: if `x < c` the difference wraps to at least `2^64 - c > x`.
//!
//! **Product with a fixed operand** ([`Field::mul`]; Shoup, Harvey 2014). Let `0 <= x < 2^52`, `0 <= w < p` and
//! `w' = floor(2^52 w / p)`, so `w' < 2^52` and `2^52 w / p - w'` lies in `[0, 1)`. With `q = floor(x w' / 2^52)`,
//! `x w / p - q` lies in `[0, 1 + x / 2^52)`, hence `r = x w - q p` in `[0, 2p)`. As `2p < 2^52`, `r` is known from the low 52 bits
//! of both products. With `2^52 - p` in place of `p` the second is added: the low 52 bits of
//! `lo(x w) + lo(q (2^52 - p))` are those of `x w - q p`.
//!
//! **Product of two residues** ([`Field::product`]; Barrett). For `0 <= a, b < p`, `a b < 2^2n`, in a high and a low part of 52 bits.
//! `c = floor(a b / 2^(n-2)) < 2^(n+2) <= 2^52`, put together by shifts; `mu = floor(2^(n+50) / p)`, at most `2^51`
//! because `p >= 2^(n-1)`. With `q = floor(c mu / 2^52)` the error `a b / p - q` is at least 0 and below
//! `2^(n-2) / p + 2^(2n) / 2^(n+50) + 1 <= 1/2 + 1 + 1`: the first term from rounding `c`, the second from rounding `mu`, the third
//! from rounding `q`. So `a b - q p` lies in `[0, 2.5 p)`, below `2^52`, and its low 52 bits are all of it.

use super::lanes::Lanes;
use crate::arith::Modulus;

/// Bits of an operand of the multiply-add.
pub(super) const WORD: u32 = 52;
/// `2^52 - 1`.
pub(super) const LOW: u64 = (1 << WORD) - 1;

/// One prime, spread over the lanes.
#[derive(Clone, Copy)]
pub(super) struct Field<L: Lanes> {
    pub(super) l: L,
    m: Modulus,
    pub(super) p: L::Vector,
    pub(super) two_p: L::Vector,
    /// `2^52 - p`.
    minus_p: L::Vector,
    low: L::Vector,
    zero: L::Vector,
}

/// A fixed operand `w < p` with `floor(2^52 w / p)`.
#[derive(Clone, Copy)]
pub(super) struct Factor<L: Lanes> {
    pub(super) w: L::Vector,
    pub(super) quotient: L::Vector,
}

/// Constants of the product of two residues.
#[derive(Clone, Copy)]
pub(super) struct Barrett<L: Lanes> {
    up: L::Vector,
    down: L::Vector,
    mu: L::Vector,
}

/// `floor(2^52 w / p)` of a residue.
pub(super) fn quotient(m: &Modulus, w: u64) -> u64 {
    ((u128::from(w) << WORD) / u128::from(m.value())) as u64
}

impl<L: Lanes> Field<L> {
    #[inline(always)]
    pub(super) fn new(l: L, m: &Modulus) -> Self {
        let p = m.value();
        debug_assert!(4 * p < 1 << WORD, "primes below 2^50");
        let (two_p, minus_p) = (l.splat(2 * p), l.splat((1 << WORD) - p));
        Self { l, m: *m, p: l.splat(p), two_p, minus_p, low: l.splat(LOW), zero: l.splat(0) }
    }

    /// The prime.
    pub(super) fn modulus(&self) -> u64 {
        self.m.value()
    }

    /// `c p`.
    #[inline(always)]
    pub(super) fn multiple(self, c: u64) -> L::Vector {
        self.l.splat(c * self.m.value())
    }

    /// The canonical scalar `c` as a factor.
    #[inline(always)]
    pub(super) fn factor(self, c: u64) -> Factor<L> {
        Factor { w: self.l.splat(c), quotient: self.l.splat(quotient(&self.m, c)) }
    }

    /// `2^exponent` as a factor.
    #[inline(always)]
    pub(super) fn power_of_two(self, exponent: u32) -> Factor<L> {
        self.factor(self.m.pow(2, u64::from(exponent)))
    }

    #[inline(always)]
    pub(super) fn barrett(self) -> Barrett<L> {
        let bits = u64::BITS - self.m.value().leading_zeros();
        let mu = ((1u128 << (bits + 50)) / u128::from(self.m.value())) as u64;
        let l = self.l;
        Barrett { up: l.splat(u64::from(54 - bits)), down: l.splat(u64::from(bits - 2)), mu: l.splat(mu) }
    }

    /// `x < 2c` to below `c`.
    #[inline(always)]
    pub(super) fn below(self, x: L::Vector, c: L::Vector) -> L::Vector {
        self.l.min(x, self.l.sub(x, c))
    }

    /// `x < 4p` to its canonical residue.
    #[inline(always)]
    pub(super) fn canonical(self, x: L::Vector) -> L::Vector {
        debug_assert!(self.l.below(x, 4 * self.m.value()));
        self.below(self.below(x, self.two_p), self.p)
    }

    /// `x < 8p` to its canonical residue.
    #[inline(always)]
    pub(super) fn canonical_of_eight(self, x: L::Vector) -> L::Vector {
        debug_assert!(self.l.below(x, 8 * self.m.value()));
        self.canonical(self.below(x, self.l.add(self.two_p, self.two_p)))
    }

    /// `x w` in `[0, 2p)`; `x < 2^52`.
    #[inline(always)]
    pub(super) fn mul(self, x: L::Vector, factor: Factor<L>) -> L::Vector {
        debug_assert!(self.l.below(x, 1 << WORD));
        let q = self.l.madd_hi(self.zero, x, factor.quotient);
        let r = self.l.and(self.l.madd_lo(self.l.madd_lo(self.zero, x, factor.w), q, self.minus_p), self.low);
        debug_assert!(self.l.below(r, 2 * self.m.value()));
        r
    }

    /// The canonical residue of `x w`; `x < 2^52`.
    #[inline(always)]
    pub(super) fn mul_canonical(self, x: L::Vector, factor: Factor<L>) -> L::Vector {
        self.below(self.mul(x, factor), self.p)
    }

    /// `a b` in `[0, 2.5 p)`; `a, b < p`.
    #[inline(always)]
    pub(super) fn product(self, a: L::Vector, b: L::Vector, barrett: Barrett<L>) -> L::Vector {
        let l = self.l;
        debug_assert!(l.below(a, self.m.value()) && l.below(b, self.m.value()));
        let (hi, lo) = (l.madd_hi(self.zero, a, b), l.madd_lo(self.zero, a, b));
        // The parts do not overlap, so their sum puts them together.
        let c = l.add(l.shift_left(hi, barrett.up), l.shift_right(lo, barrett.down));
        let q = l.madd_hi(self.zero, c, barrett.mu);
        let r = l.and(l.madd_lo(lo, q, self.minus_p), self.low);
        debug_assert!(l.below(r, 5 * self.m.value() / 2));
        r
    }

    /// A canonical residue as the double of its representative in `[-(p-1)/2, (p-1)/2]`.
    ///
    /// With `h = (p-1)/2`, `s = x + h mod p` is that representative plus `h`. As mantissa of a number in `[2^52, 2^53)` it becomes the
    /// double `2^52 + s`, and taking away `2^52 + h`, which is exact, leaves the representative.
    #[inline(always)]
    pub(super) fn centred(self, x: L::Vector) -> L::Vector {
        const TWO_52: f64 = (1u64 << WORD) as f64;
        let half = self.m.value() / 2;
        let shifted = self.below(self.l.add(x, self.l.splat(half)), self.p);
        let double = self.l.add(shifted, self.l.splat(TWO_52.to_bits()));
        self.l.add_f64(double, self.l.splat((-(TWO_52 + half as f64)).to_bits()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::lanes::LANES;
    use super::super::portable::Portable;
    use super::*;
    use crate::arith::tests::Rng;

    /// Products and reductions at and near the ends of the admitted ranges.
    #[test]
    fn products_stay_in_their_ranges() {
        let mut rng = Rng::new(41);
        for p in [(1u64 << 50) - 27, (1 << 49) - 81, (1 << 40) - 87, (1 << 20) + 7] {
            let m = Modulus::new(p).expect("prime");
            let f = Field::new(Portable, &m);
            for round in 0..5_000 {
                let mut near =
                    |end: u64| if rng.next().is_multiple_of(2) { end - 1 - rng.next() % 16 } else { rng.next() % end };
                let (x, w, a, b) = (near(1 << WORD), near(p), near(p), near(p));
                let r = f.mul([x; LANES], f.factor(w));
                let wide = |a: u64, b: u64| (u128::from(a) * u128::from(b) % u128::from(p)) as u64;
                assert!(r[0] < 2 * p && r[0] % p == wide(x, w), "{x} * {w} mod {p}, round {round}");
                let r = f.product([a; LANES], [b; LANES], f.barrett());
                assert!(2 * r[0] < 5 * p && r[0] % p == wide(a, b), "{a} * {b} mod {p}, round {round}");
                assert_eq!(f64::from_bits(f.centred([a; LANES])[0]), m.center(a) as f64);
                let wide = near(8 * p);
                assert_eq!(f.canonical_of_eight([wide; LANES])[0], wide % p);
            }
        }
    }
}
