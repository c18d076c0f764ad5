//! Interval arithmetic on MPFR numbers: every operation rounds its ends outward, so that a result always contains the
//! real value (of every choice of operands from their intervals).
//!
//! Ends rather than midpoint and radius, because monotone functions are then exact up to one rounding and an even
//! power never dips below zero. An undefined operation (division by an interval around zero, the square root of a
//! negative number) gives the whole line, never a NaN.

use rug::float::{Constant, Round, Special};
use rug::ops::{AddAssignRound, AssignRound, NegAssign, Pow};
use rug::{Assign, Float, Rational};
use std::fmt;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// A closed interval of real numbers with MPFR ends; an end may be infinite.
#[derive(Clone, Debug, PartialEq)]
pub struct Interval {
    lo: Float,
    hi: Float,
}

impl Interval {
    /// The interval `[lo, hi]`; the whole line when an end is NaN or the ends are out of order.
    #[must_use]
    pub fn new(lo: Float, hi: Float) -> Self {
        if lo <= hi { Self { lo, hi } } else { Self::whole(lo.prec().max(hi.prec())) }
    }

    /// The narrowest interval at `prec` bits that contains the binary64 number `x`; a point when `prec >= 53`.
    #[must_use]
    pub fn from_f64(x: f64, prec: u32) -> Self {
        Self::new(Float::with_val_round(prec, x, Round::Down).0, Float::with_val_round(prec, x, Round::Up).0)
    }

    /// The narrowest interval at `prec` bits that contains `[lo, hi]`.
    #[must_use]
    pub fn from_f64_ends(lo: f64, hi: f64, prec: u32) -> Self {
        Self::new(Float::with_val_round(prec, lo, Round::Down).0, Float::with_val_round(prec, hi, Round::Up).0)
    }

    /// The narrowest interval at `prec` bits that contains `x`.
    #[must_use]
    pub fn from_rational(x: &Rational, prec: u32) -> Self {
        Self::new(Float::with_val_round(prec, x, Round::Down).0, Float::with_val_round(prec, x, Round::Up).0)
    }

    /// The narrowest interval at `prec` bits that contains `x`.
    #[must_use]
    pub fn from_float(x: &Float, prec: u32) -> Self {
        Self::new(Float::with_val_round(prec, x, Round::Down).0, Float::with_val_round(prec, x, Round::Up).0)
    }

    /// All real numbers.
    #[must_use]
    pub fn whole(prec: u32) -> Self {
        Self { lo: Float::with_val(prec, Special::NegInfinity), hi: Float::with_val(prec, Special::Infinity) }
    }

    /// An enclosure of pi.
    #[must_use]
    pub fn pi(prec: u32) -> Self {
        let round = |round| Float::with_val_round(prec, Constant::Pi, round).0;
        Self::new(round(Round::Down), round(Round::Up))
    }

    /// Precision of the ends in bits.
    #[must_use]
    pub fn prec(&self) -> u32 {
        self.lo.prec()
    }

    /// Lower end.
    #[must_use]
    pub fn lo(&self) -> &Float {
        &self.lo
    }

    /// Upper end.
    #[must_use]
    pub fn hi(&self) -> &Float {
        &self.hi
    }

    /// A point of the interval near its middle.
    #[must_use]
    pub fn mid(&self) -> Float {
        let sum = Float::with_val(self.prec() + 1, &self.lo + &self.hi);
        let mut mid = Float::with_val(self.prec(), sum / 2u32);
        if !(mid >= self.lo && mid <= self.hi) {
            mid.assign(&self.lo);
        }
        mid
    }

    /// An upper bound of the distance from [`Self::mid`] to the ends.
    #[must_use]
    pub fn rad(&self) -> Float {
        let mid = self.mid();
        let below = Float::with_val_round(self.prec(), &mid - &self.lo, Round::Up).0;
        let above = Float::with_val_round(self.prec(), &self.hi - &mid, Round::Up).0;
        if below > above { below } else { above }
    }

    /// An upper bound of the absolute value.
    #[must_use]
    pub fn magnitude(&self) -> Float {
        let lo = Float::with_val(self.prec(), self.lo.abs_ref());
        let hi = Float::with_val(self.prec(), self.hi.abs_ref());
        if lo > hi { lo } else { hi }
    }

    /// A lower bound of the absolute value; zero when the interval contains zero.
    #[must_use]
    pub fn mignitude(&self) -> Float {
        if self.contains_zero() {
            return Float::new(self.prec());
        }
        let lo = Float::with_val(self.prec(), self.lo.abs_ref());
        let hi = Float::with_val(self.prec(), self.hi.abs_ref());
        if lo < hi { lo } else { hi }
    }

    /// Whether both ends are finite.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        self.lo.is_finite() && self.hi.is_finite()
    }

    /// Whether `x` lies in the interval.
    #[must_use]
    pub fn contains(&self, x: &Float) -> bool {
        *x >= self.lo && *x <= self.hi
    }

    /// Whether every point of `other` lies in the interval.
    #[must_use]
    pub fn encloses(&self, other: &Self) -> bool {
        other.lo >= self.lo && other.hi <= self.hi
    }

    /// Whether zero lies in the interval.
    #[must_use]
    pub fn contains_zero(&self) -> bool {
        self.lo <= 0 && self.hi >= 0
    }

    /// The smallest interval that contains both.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let lo = if other.lo < self.lo { &other.lo } else { &self.lo };
        let hi = if other.hi > self.hi { &other.hi } else { &self.hi };
        Self::new(lo.clone(), hi.clone())
    }

    /// The interval `[max(lo, floor), max(hi, floor)]`: for values that are known to be at least `floor`.
    #[must_use]
    pub fn clamp_below(&self, floor: f64) -> Self {
        let clamp = |x: &Float| if *x < floor { Float::with_val(self.prec(), floor) } else { x.clone() };
        Self::new(clamp(&self.lo), clamp(&self.hi))
    }

    /// `[lo - radius, hi + radius]` for `radius >= 0`.
    #[must_use]
    pub fn widen(&self, radius: &Float) -> Self {
        let prec = self.prec();
        Self::new(
            Float::with_val_round(prec, &self.lo - radius, Round::Down).0,
            Float::with_val_round(prec, &self.hi + radius, Round::Up).0,
        )
    }

    /// The same interval with ends of `prec` bits, rounded outward.
    #[must_use]
    pub fn with_prec(&self, prec: u32) -> Self {
        Self::new(
            Float::with_val_round(prec, &self.lo, Round::Down).0,
            Float::with_val_round(prec, &self.hi, Round::Up).0,
        )
    }

    /// Absolute value.
    #[must_use]
    pub fn abs(&self) -> Self {
        Self::new(self.mignitude(), self.magnitude())
    }

    /// Square; never below zero.
    #[must_use]
    pub fn sqr(&self) -> Self {
        self.powi(2)
    }

    /// The power `x^exponent`; an even power is never below zero, and `x^0 = 1`.
    #[must_use]
    pub fn powi(&self, exponent: u32) -> Self {
        let prec = self.prec();
        let ends = if exponent.is_multiple_of(2) { self.abs() } else { self.clone() };
        let down = Float::with_val_round(prec, (&ends.lo).pow(exponent), Round::Down).0;
        let up = Float::with_val_round(prec, (&ends.hi).pow(exponent), Round::Up).0;
        Self::new(down, up)
    }

    /// Square root; the part of the interval below zero is ignored, and an interval below zero gives the whole line.
    #[must_use]
    pub fn sqrt(&self) -> Self {
        if self.hi < 0 {
            return Self::whole(self.prec());
        }
        self.clamp_below(0.0).increasing(|x, round| Float::with_val_round(x.prec(), x.sqrt_ref(), round).0)
    }

    /// `e^x`.
    #[must_use]
    pub fn exp(&self) -> Self {
        self.increasing(|x, round| Float::with_val_round(x.prec(), x.exp_ref(), round).0)
    }

    /// Natural logarithm; the whole line where the argument is not positive.
    #[must_use]
    pub fn ln(&self) -> Self {
        if self.lo <= 0 {
            return Self::whole(self.prec());
        }
        self.increasing(|x, round| Float::with_val_round(x.prec(), x.ln_ref(), round).0)
    }

    /// The error function.
    #[must_use]
    pub fn erf(&self) -> Self {
        self.increasing(|x, round| Float::with_val_round(x.prec(), x.erf_ref(), round).0)
    }

    /// The complementary error function, `1 - erf(x)` without cancellation.
    #[must_use]
    pub fn erfc(&self) -> Self {
        let at = |x: &Float, round| Float::with_val_round(x.prec(), x.erfc_ref(), round).0;
        Self::new(at(&self.hi, Round::Down), at(&self.lo, Round::Up))
    }

    /// The hyperbolic tangent.
    #[must_use]
    pub fn tanh(&self) -> Self {
        self.increasing(|x, round| Float::with_val_round(x.prec(), x.tanh_ref(), round).0)
    }

    /// Sine, by its value at the midpoint and its Lipschitz constant 1.
    #[must_use]
    pub fn sin(&self) -> Self {
        self.lipschitz(|x, round| Float::with_val_round(x.prec(), x.sin_ref(), round).0)
    }

    /// Cosine, by its value at the midpoint and its Lipschitz constant 1.
    #[must_use]
    pub fn cos(&self) -> Self {
        self.lipschitz(|x, round| Float::with_val_round(x.prec(), x.cos_ref(), round).0)
    }

    /// The reciprocal; the whole line when the interval contains zero.
    #[must_use]
    pub fn recip(&self) -> Self {
        &Self::from_f64(1.0, self.prec()) / self
    }

    /// Adds `weight * x` in place. `product` is scratch space: it spares an allocation per term of a long sum.
    pub fn add_scaled(&mut self, weight: f64, x: &Self, product: &mut Float) {
        let (low_end, high_end) = if weight < 0.0 { (&x.hi, &x.lo) } else { (&x.lo, &x.hi) };
        product.assign_round(low_end * weight, Round::Down);
        self.lo.add_assign_round(&*product, Round::Down);
        product.assign_round(high_end * weight, Round::Up);
        self.hi.add_assign_round(&*product, Round::Up);
        if self.lo.is_nan() || self.hi.is_nan() {
            *self = Self::whole(self.prec());
        }
    }

    fn increasing(&self, f: impl Fn(&Float, Round) -> Float) -> Self {
        Self::new(f(&self.lo, Round::Down), f(&self.hi, Round::Up))
    }

    /// Enclosure of a function with values in [-1, 1] and Lipschitz constant 1.
    fn lipschitz(&self, f: impl Fn(&Float, Round) -> Float) -> Self {
        let prec = self.prec();
        if !self.is_finite() {
            return Self::from_f64_ends(-1.0, 1.0, prec);
        }
        let mid = self.mid();
        let wide = Self::new(f(&mid, Round::Down), f(&mid, Round::Up)).widen(&self.rad());
        let lo = if wide.lo < -1 { Float::with_val(prec, -1) } else { wide.lo };
        let hi = if wide.hi > 1 { Float::with_val(prec, 1) } else { wide.hi };
        Self::new(lo, hi)
    }

    fn common_prec(&self, other: &Self) -> u32 {
        self.prec().max(other.prec())
    }
}

impl Add for &Interval {
    type Output = Interval;
    fn add(self, other: Self) -> Interval {
        let prec = self.common_prec(other);
        Interval::new(
            Float::with_val_round(prec, &self.lo + &other.lo, Round::Down).0,
            Float::with_val_round(prec, &self.hi + &other.hi, Round::Up).0,
        )
    }
}

impl Sub for &Interval {
    type Output = Interval;
    fn sub(self, other: Self) -> Interval {
        let prec = self.common_prec(other);
        Interval::new(
            Float::with_val_round(prec, &self.lo - &other.hi, Round::Down).0,
            Float::with_val_round(prec, &self.hi - &other.lo, Round::Up).0,
        )
    }
}

impl Mul for &Interval {
    type Output = Interval;
    fn mul(self, other: Self) -> Interval {
        let prec = self.common_prec(other);
        let down = |a: &Float, b: &Float| Float::with_val_round(prec, a * b, Round::Down).0;
        let up = |a: &Float, b: &Float| Float::with_val_round(prec, a * b, Round::Up).0;
        let ([a, b], [c, d]) = ([&self.lo, &self.hi], [&other.lo, &other.hi]);
        let sign = |x: &Interval| if x.lo >= 0 { 1 } else { -i32::from(x.hi <= 0) };
        let (lo, hi) = match (sign(self), sign(other)) {
            (1, 1) => (down(a, c), up(b, d)),
            (1, 0) => (down(b, c), up(b, d)),
            (1, _) => (down(b, c), up(a, d)),
            (0, 1) => (down(a, d), up(b, d)),
            (0, 0) => {
                let (low, other_low) = (down(a, d), down(b, c));
                let (high, other_high) = (up(a, c), up(b, d));
                (if other_low < low { other_low } else { low }, if other_high > high { other_high } else { high })
            }
            (0, _) => (down(b, c), up(a, c)),
            (_, 1) => (down(a, d), up(b, c)),
            (_, 0) => (down(a, d), up(a, c)),
            (_, _) => (down(b, d), up(a, c)),
        };
        // Zero times infinity is NaN, which makes the result the whole line.
        Interval::new(lo, hi)
    }
}

impl Div for &Interval {
    type Output = Interval;
    fn div(self, other: Self) -> Interval {
        let prec = self.common_prec(other);
        if other.contains_zero() {
            return Interval::whole(prec);
        }
        let one = Float::with_val(prec, 1);
        let recip = Interval::new(
            Float::with_val_round(prec + 8, &one / &other.hi, Round::Down).0,
            Float::with_val_round(prec + 8, &one / &other.lo, Round::Up).0,
        );
        (self * &recip).with_prec(prec)
    }
}

impl Neg for &Interval {
    type Output = Interval;
    fn neg(self) -> Interval {
        let (mut lo, mut hi) = (self.hi.clone(), self.lo.clone());
        lo.neg_assign();
        hi.neg_assign();
        Interval { lo, hi }
    }
}

impl fmt::Display for Interval {
    /// Midpoint and radius in decimal: `0.3142 +- 1.2e-30`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(17);
        write!(f, "{} +- {:.1e}", self.mid().to_string_radix(10, Some(digits)), self.rad().to_f64_round(Round::Up))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PREC: u32 = 40;
    const FINE: u32 = 300;

    /// Intervals of `PREC` bits between two numbers, and a point of each.
    fn operand() -> impl Strategy<Value = (Interval, f64)> {
        (-8.0..8.0f64, 0.0..2.0f64, 0.0..=1.0f64).prop_map(|(lo, width, part)| {
            let hi = lo + width * width * width;
            let point = (lo + (hi - lo) * part).clamp(lo, hi);
            (Interval::from_f64_ends(lo, hi, PREC), point)
        })
    }

    /// A unary operation, its value in plain arithmetic, and where it is defined.
    type Unary = (&'static str, fn(&Interval) -> Interval, fn(Float) -> Float, fn(f64) -> bool);

    const UNARY: [Unary; 12] = [
        ("sqr", Interval::sqr, |x| x.square(), |_| true),
        ("cube", |x| x.powi(3), |x| x.pow(3), |_| true),
        ("sqrt", Interval::sqrt, |x| x.sqrt(), |x| x >= 0.0),
        ("exp", Interval::exp, |x| x.exp(), |_| true),
        ("ln", Interval::ln, |x| x.ln(), |x| x > 0.0),
        ("erf", Interval::erf, |x| x.erf(), |_| true),
        ("erfc", Interval::erfc, |x| x.erfc(), |_| true),
        ("tanh", Interval::tanh, |x| x.tanh(), |_| true),
        ("sin", Interval::sin, |x| x.sin(), |_| true),
        ("cos", Interval::cos, |x| x.cos(), |_| true),
        ("recip", Interval::recip, |x| x.recip(), |x| x != 0.0),
        ("abs", Interval::abs, |x| x.abs(), |_| true),
    ];

    proptest! {
        /// Every operation contains the value at every point of its operands, computed at far higher precision.
        #[test]
        fn operations_contain_their_values((x, a) in operand(), (y, b) in operand()) {
            let fine = |x: f64| Float::with_val(FINE, x);
            for (name, enclose, value, defined) in UNARY {
                if defined(a) {
                    prop_assert!(enclose(&x).contains(&value(fine(a))), "{name} of {a} in {x:?}");
                }
            }
            prop_assert!((&x + &y).contains(&(fine(a) + fine(b))));
            prop_assert!((&x - &y).contains(&(fine(a) - fine(b))));
            prop_assert!((&x * &y).contains(&(fine(a) * fine(b))));
            prop_assert!(b == 0.0 || (&x / &y).contains(&(fine(a) / fine(b))));
            prop_assert!((-&x).contains(&-fine(a)));
            prop_assert!(x.union(&y).encloses(&x) && x.union(&y).encloses(&y));
            let mut sum = y.clone();
            sum.add_scaled(-1.7, &x, &mut Float::new(PREC));
            prop_assert!(sum.contains(&(fine(b) - fine(1.7) * fine(a))));
            let gelu = fine(a) * ((fine(a) / fine(2.0).sqrt()).erf() + 1u32) / 2u32;
            prop_assert!(crate::model::gelu(&x).contains(&gelu));
        }

        /// Midpoint and radius describe the interval; widening moves both ends outward by at least the radius given.
        #[test]
        fn midpoint_radius_and_widening((x, _) in operand(), more in 0.0..1.0f64) {
            let around = Interval::from_float(&x.mid(), FINE).widen(&x.rad());
            prop_assert!(around.encloses(&x.with_prec(FINE)));
            let more = Float::with_val(FINE, more);
            let wide = x.widen(&more);
            prop_assert!(Float::with_val(FINE, wide.hi() - x.hi()) >= more);
            prop_assert!(Float::with_val(FINE, x.lo() - wide.lo()) >= more);
        }

        /// On points the result is as narrow as two roundings allow.
        #[test]
        fn operations_on_points_are_narrow(a in 0.1..8.0f64, b in 0.1..8.0f64) {
            let (x, y) = (Interval::from_f64(a, 128), Interval::from_f64(b, 128));
            for z in [&x * &y, &x / &y, x.sqrt(), x.erf(), x.exp()] {
                let width = Float::with_val(128, z.hi() - z.lo());
                prop_assert!(width <= Float::with_val(128, z.magnitude() >> 126u32), "{z:?}");
            }
        }
    }

    #[test]
    fn undefined_operations_give_the_whole_line() {
        let around_zero = Interval::from_f64_ends(-1.0, 1.0, PREC);
        let whole = Interval::whole(PREC);
        assert_eq!(around_zero.recip(), whole);
        assert_eq!(around_zero.ln(), whole);
        assert_eq!(Interval::from_f64(-1.0, PREC).sqrt(), whole);
        assert_eq!(Interval::from_f64(f64::NAN, PREC), whole);
        assert_eq!(&whole * &Interval::from_f64(0.0, PREC), whole);
        assert_eq!(&whole - &whole, whole);
    }

    #[test]
    fn pi_and_rationals_are_enclosed_tightly() {
        let pi = Interval::pi(PREC);
        assert!(pi.contains(&Float::with_val(FINE, Constant::Pi)));
        let third = Interval::from_rational(&Rational::from((1, 3)), PREC);
        assert!(third.contains(&(Float::with_val(FINE, 1) / 3u32)));
        assert!(Float::with_val(PREC, third.hi() - third.lo()) > 0);
    }

    /// `1 / 3` is not enclosed when the ends are rounded inward: the containment tests above can fail.
    #[test]
    fn inward_rounding_would_be_noticed() {
        let third = Float::with_val(FINE, 1) / 3u32;
        let inward = Interval::new(
            Float::with_val_round(PREC, &third, Round::Up).0,
            Float::with_val_round(PREC, &third, Round::Up).0,
        );
        assert!(!inward.contains(&third));
    }
}
