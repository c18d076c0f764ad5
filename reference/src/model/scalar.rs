//! The numbers that the graph is evaluated with.
//!
//! [`Ring`] is what every rung can do, [`Real`] what only plain numbers can. The graph with polynomials needs [`Ring`]
//! alone, so the same lines run on binary64, intervals, fixed point and ciphertexts.

use crate::approx::Chebyshev;
use crate::error::ReferenceError;
use crate::interval::Interval;
use rug::Float;
use rug::float::Round;
use std::fmt::{Debug, Display};

/// A number that can be added and multiplied: what encryption can compute with.
///
/// Public numbers enter as [`Self::Constant`]. An implementation whose operations can fail keeps its first error in the
/// value and hands it out in [`Self::check`], so that formulas stay formulas.
pub trait Ring: Clone + Debug + Display + Send + Sync {
    /// What has to be known to make a number: `()` for binary64, bits for intervals, a preset or keys for CKKS.
    type Context: Copy + Send + Sync;
    /// Public real numbers, binary64 or intervals.
    type Constant: Real;

    /// What has to be known to make a public number.
    fn constants(context: Self::Context) -> <Self::Constant as Ring>::Context;
    /// The number `x`.
    fn point(x: f64, context: Self::Context) -> Self;
    /// Sum.
    #[must_use]
    fn add(&self, other: &Self) -> Self;
    /// Difference.
    #[must_use]
    fn sub(&self, other: &Self) -> Self;
    /// Product.
    #[must_use]
    fn mul(&self, other: &Self) -> Self;
    /// The negative.
    #[must_use]
    fn neg(&self) -> Self;
    /// Sum with a public number.
    #[must_use]
    fn plus(&self, constant: &Self::Constant) -> Self;
    /// Product with a public number.
    #[must_use]
    fn times(&self, constant: &Self::Constant) -> Self;
    /// Quotient by a public number.
    #[must_use]
    fn over(&self, constant: &Self::Constant) -> Self;
    /// The power `x^exponent`, `exponent >= 1`.
    #[must_use]
    fn powi(&self, exponent: u32) -> Self;
    /// `bias + sum_i weights_i x_i`; both slices have the same length.
    fn affine(bias: f64, weights: &[f64], x: &[Self], context: Self::Context) -> Self;
    /// `sum_i a_i b_i` over pairs.
    fn inner<'a>(pairs: impl Iterator<Item = (&'a Self, &'a Self)>, context: Self::Context) -> Self
    where
        Self: 'a;
    /// Value of a Chebyshev series.
    #[must_use]
    fn chebyshev(&self, series: &Chebyshev) -> Self;
    /// Whether the number is certain to lie in `[a, b]`.
    fn within(&self, interval: [f64; 2]) -> bool;
    /// The error that the number carries, if an operation on the way to it failed.
    ///
    /// # Errors
    /// The first error met.
    fn check(&self) -> Result<(), ReferenceError> {
        Ok(())
    }
    /// The public number `x`.
    #[must_use]
    fn constant(x: f64, context: Self::Context) -> Self::Constant {
        Self::Constant::point(x, Self::constants(context))
    }
    /// The sum of all numbers; zero for none.
    #[must_use]
    fn sum(numbers: &[Self], context: Self::Context) -> Self {
        let Some((first, rest)) = numbers.split_first() else { return Self::point(0.0, context) };
        rest.iter().fold(first.clone(), |sum, x| sum.add(x))
    }
}

/// A real number or an enclosure of one, with the functions that no encrypted number has.
pub trait Real: Ring<Constant = Self> {
    /// Quotient.
    #[must_use]
    fn div(&self, other: &Self) -> Self;
    /// Square root.
    #[must_use]
    fn sqrt(&self) -> Self;
    /// Absolute value.
    #[must_use]
    fn abs(&self) -> Self;
    /// The larger of two numbers.
    #[must_use]
    fn max(&self, other: &Self) -> Self;
    /// GELU in its erf form (`r[gelu.definition]`).
    #[must_use]
    fn gelu(&self) -> Self;
    /// Hyperbolic tangent.
    #[must_use]
    fn tanh(&self) -> Self;
    /// Cosine and sine of `position * base^(-2 index / size)` (`r[model.rotary]`).
    fn rotation(position: usize, index: usize, size: usize, base: f64, context: Self::Context) -> [Self; 2];
    /// Whether the number may be zero.
    fn may_be_zero(&self) -> bool;
}

impl Ring for f64 {
    type Context = ();
    type Constant = Self;

    fn constants((): ()) {}
    fn point(x: f64, (): ()) -> Self {
        x
    }
    fn add(&self, other: &Self) -> Self {
        self + other
    }
    fn sub(&self, other: &Self) -> Self {
        self - other
    }
    fn mul(&self, other: &Self) -> Self {
        self * other
    }
    fn powi(&self, exponent: u32) -> Self {
        (0..exponent).fold(1.0, |power, _| power * self)
    }
    fn affine(bias: f64, weights: &[f64], x: &[Self], (): ()) -> Self {
        // Four partial sums, so that additions do not wait for one another.
        let mut sums = [bias, 0.0, 0.0, 0.0];
        let (heads, tails) = (weights.chunks_exact(4), x.chunks_exact(4));
        for (w, x) in heads.remainder().iter().zip(tails.remainder()) {
            sums[3] += w * x;
        }
        for (w, x) in heads.zip(tails) {
            for lane in 0..4 {
                sums[lane] += w[lane] * x[lane];
            }
        }
        (sums[0] + sums[1]) + (sums[2] + sums[3])
    }
    fn inner<'a>(pairs: impl Iterator<Item = (&'a Self, &'a Self)>, (): ()) -> Self {
        pairs.map(|(a, b)| a * b).sum()
    }
    fn chebyshev(&self, series: &Chebyshev) -> Self {
        series.value(*self)
    }
    fn within(&self, [a, b]: [f64; 2]) -> bool {
        *self >= a && *self <= b
    }
    fn neg(&self) -> Self {
        -self
    }
    fn plus(&self, constant: &Self) -> Self {
        self + constant
    }
    fn times(&self, constant: &Self) -> Self {
        self * constant
    }
    fn over(&self, constant: &Self) -> Self {
        self / constant
    }
}

impl Real for f64 {
    fn div(&self, other: &Self) -> Self {
        self / other
    }
    fn sqrt(&self) -> Self {
        f64::sqrt(*self)
    }
    fn abs(&self) -> Self {
        f64::abs(*self)
    }
    fn max(&self, other: &Self) -> Self {
        f64::max(*self, *other)
    }
    fn gelu(&self) -> Self {
        self * (1.0 + libm::erf(self * std::f64::consts::FRAC_1_SQRT_2)) / 2.0
    }
    fn rotation(position: usize, index: usize, size: usize, base: f64, (): ()) -> [Self; 2] {
        let angle = position as f64 / base.powf(2.0 * index as f64 / size as f64);
        [angle.cos(), angle.sin()]
    }
    fn may_be_zero(&self) -> bool {
        *self == 0.0
    }
    fn tanh(&self) -> Self {
        libm::tanh(*self)
    }
}

impl Ring for Interval {
    type Context = u32;
    type Constant = Self;

    fn constants(context: u32) -> u32 {
        context
    }
    fn point(x: f64, context: u32) -> Self {
        Self::from_f64(x, context)
    }
    fn add(&self, other: &Self) -> Self {
        self + other
    }
    fn sub(&self, other: &Self) -> Self {
        self - other
    }
    fn mul(&self, other: &Self) -> Self {
        self * other
    }
    fn powi(&self, exponent: u32) -> Self {
        Self::powi(self, exponent)
    }
    fn affine(bias: f64, weights: &[f64], x: &[Self], context: u32) -> Self {
        let mut sum = Self::from_f64(bias, context);
        let mut product = Float::new(context);
        for (&weight, x) in weights.iter().zip(x) {
            sum.add_scaled(weight, x, &mut product);
        }
        sum
    }
    fn inner<'a>(pairs: impl Iterator<Item = (&'a Self, &'a Self)>, context: u32) -> Self {
        pairs.fold(Self::from_f64(0.0, context), |sum, (a, b)| &sum + &(a * b))
    }
    fn chebyshev(&self, series: &Chebyshev) -> Self {
        series.enclosure(self)
    }
    fn within(&self, [a, b]: [f64; 2]) -> bool {
        *self.lo() >= a && *self.hi() <= b
    }
    fn neg(&self) -> Self {
        -self
    }
    fn plus(&self, constant: &Self) -> Self {
        self + constant
    }
    fn times(&self, constant: &Self) -> Self {
        self * constant
    }
    fn over(&self, constant: &Self) -> Self {
        self / constant
    }
}

impl Real for Interval {
    fn div(&self, other: &Self) -> Self {
        self / other
    }
    fn sqrt(&self) -> Self {
        Self::sqrt(self)
    }
    fn abs(&self) -> Self {
        Self::abs(self)
    }
    fn max(&self, other: &Self) -> Self {
        let larger = |a: &Float, b: &Float| if a > b { a.clone() } else { b.clone() };
        Self::new(larger(self.lo(), other.lo()), larger(self.hi(), other.hi()))
    }
    fn gelu(&self) -> Self {
        gelu(self)
    }
    fn rotation(position: usize, index: usize, size: usize, base: f64, context: u32) -> [Self; 2] {
        // The angle may be large, so it gets guard bits; position and size are far below 2^32.
        let guarded = context + 32;
        let point = |x: usize| Self::from_f64(x as f64, guarded);
        let exponent = &point(2 * index) / &point(size);
        let period = (&exponent * &Self::from_f64(base, guarded).ln()).exp();
        let angle = &point(position) / &period;
        [angle.cos().with_prec(context), angle.sin().with_prec(context)]
    }
    fn may_be_zero(&self) -> bool {
        self.contains_zero()
    }
    fn tanh(&self) -> Self {
        Self::tanh(self)
    }
}

/// GELU of an interval (`r[gelu.definition]`).
///
/// GELU falls below its minimum at -0.7517915... and rises above it, so the hull of the values at the ends is exact
/// where the minimum is outside. Around the minimum the slope, at most 1.13, bounds the distance from the value at the
/// midpoint.
#[must_use]
pub fn gelu(x: &Interval) -> Interval {
    const MINIMUM: [f64; 2] = [-0.751_791_6, -0.751_791_4];
    let prec = x.prec();
    let at = |x: &Float| {
        let x = Interval::from_float(x, prec);
        let root = Interval::from_f64(2.0, prec).sqrt();
        // x erfc(-x / sqrt 2) / 2: no cancellation where x is negative.
        &(&x * &(&-&x / &root).erfc()) * &Interval::from_f64(0.5, prec)
    };
    let around = Interval::from_f64_ends(MINIMUM[0], MINIMUM[1], prec);
    if x.hi() < around.lo() || x.lo() > around.hi() {
        return at(x.lo()).union(&at(x.hi()));
    }
    let drift = Float::with_val_round(prec, &x.rad() * 1.13, Round::Up).0;
    at(&x.mid()).widen(&drift)
}
