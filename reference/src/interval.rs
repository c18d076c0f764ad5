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
        let mut result: Option<Interval> = None;
        for a in [&self.lo, &self.hi] {
            for b in [&other.lo, &other.hi] {
                let down = Float::with_val_round(prec, a * b, Round::Down).0;
                let up = Float::with_val_round(prec, a * b, Round::Up).0;
                if down.is_nan() {
                    return Interval::whole(prec);
                }
                let product = Interval { lo: down, hi: up };
                result = Some(result.map_or_else(|| product.clone(), |hull| hull.union(&product)));
            }
        }
        result.unwrap_or_else(|| Interval::whole(prec))
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
