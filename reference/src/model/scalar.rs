//! The numbers that the graph is evaluated with.

use crate::approx::Chebyshev;
use crate::interval::Interval;
use rug::Float;
use std::fmt::{Debug, Display};

/// A real number or an enclosure of one.
///
/// Weights, biases and public constants are binary64 numbers taken as exact.
pub trait Scalar: Clone + Debug + Display + Send + Sync {
    /// What has to be known to make a number: `()` for binary64, bits for intervals.
    type Precision: Copy + Send + Sync;

    /// The number `x`.
    fn point(x: f64, precision: Self::Precision) -> Self;
    /// Sum.
    #[must_use]
    fn add(&self, other: &Self) -> Self;
    /// Difference.
    #[must_use]
    fn sub(&self, other: &Self) -> Self;
    /// Product.
    #[must_use]
    fn mul(&self, other: &Self) -> Self;
    /// Quotient.
    #[must_use]
    fn div(&self, other: &Self) -> Self;
    /// Integer power.
    #[must_use]
    fn powi(&self, exponent: u32) -> Self;
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
    /// `bias + sum_i weights_i x_i`; both slices have the same length.
    fn affine(bias: f64, weights: &[f64], x: &[Self], precision: Self::Precision) -> Self;
    /// `sum_i a_i b_i` over pairs.
    fn inner<'a>(pairs: impl Iterator<Item = (&'a Self, &'a Self)>, precision: Self::Precision) -> Self
    where
        Self: 'a;
    /// Cosine and sine of `position * base^(-2 index / size)` (`r[model.rotary]`).
    fn rotation(position: usize, index: usize, size: usize, base: f64, precision: Self::Precision) -> [Self; 2];
    /// Value of a Chebyshev series.
    #[must_use]
    fn chebyshev(&self, series: &Chebyshev) -> Self;
    /// Whether the number is certain to lie in `[a, b]`.
    fn within(&self, interval: [f64; 2]) -> bool;
    /// Whether the number may be zero.
    fn may_be_zero(&self) -> bool;
}

impl Scalar for f64 {
    type Precision = ();

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
    fn div(&self, other: &Self) -> Self {
        self / other
    }
    fn powi(&self, exponent: u32) -> Self {
        (0..exponent).fold(1.0, |power, _| power * self)
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
    fn rotation(position: usize, index: usize, size: usize, base: f64, (): ()) -> [Self; 2] {
        let angle = position as f64 / base.powf(2.0 * index as f64 / size as f64);
        [angle.cos(), angle.sin()]
    }
    fn chebyshev(&self, series: &Chebyshev) -> Self {
        series.value(*self)
    }
    fn within(&self, [a, b]: [f64; 2]) -> bool {
        *self >= a && *self <= b
    }
    fn may_be_zero(&self) -> bool {
        *self == 0.0
    }
}

impl Scalar for Interval {
    type Precision = u32;

    fn point(x: f64, precision: u32) -> Self {
        Self::from_f64(x, precision)
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
    fn div(&self, other: &Self) -> Self {
        self / other
    }
    fn powi(&self, exponent: u32) -> Self {
        Self::powi(self, exponent)
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
    fn affine(bias: f64, weights: &[f64], x: &[Self], precision: u32) -> Self {
        let mut sum = Self::from_f64(bias, precision);
        let mut product = Float::new(precision);
        for (&weight, x) in weights.iter().zip(x) {
            sum.add_scaled(weight, x, &mut product);
        }
        sum
    }
    fn inner<'a>(pairs: impl Iterator<Item = (&'a Self, &'a Self)>, precision: u32) -> Self {
        pairs.fold(Self::from_f64(0.0, precision), |sum, (a, b)| &sum + &(a * b))
    }
    fn rotation(position: usize, index: usize, size: usize, base: f64, precision: u32) -> [Self; 2] {
        // The angle may be large, so it gets guard bits; position and size are far below 2^32.
        let guarded = precision + 32;
        let point = |x: usize| Self::from_f64(x as f64, guarded);
        let exponent = &point(2 * index) / &point(size);
        let period = (&exponent * &Self::from_f64(base, guarded).ln()).exp();
        let angle = &point(position) / &period;
        [angle.cos().with_prec(precision), angle.sin().with_prec(precision)]
    }
    fn chebyshev(&self, series: &Chebyshev) -> Self {
        series.enclosure(self)
    }
    fn within(&self, [a, b]: [f64; 2]) -> bool {
        *self.lo() >= a && *self.hi() <= b
    }
    fn may_be_zero(&self) -> bool {
        self.contains_zero()
    }
}

/// GELU of an interval (`r[gelu.definition]`).
///
/// GELU falls below its minimum at -0.7517915... and rises above it, so the hull of the values at the ends is exact
/// where the minimum is outside; otherwise the value on a small interval around the minimum joins the hull.
#[must_use]
pub fn gelu(x: &Interval) -> Interval {
    const MINIMUM: [f64; 2] = [-0.751_791_6, -0.751_791_4];
    let prec = x.prec();
    let at = |x: &Interval| {
        let root = Interval::from_f64(2.0, prec).sqrt();
        let erf = &(x / &root).erf() + &Interval::from_f64(1.0, prec);
        &(x * &erf) * &Interval::from_f64(0.5, prec)
    };
    let hull = at(&Interval::from_float(x.lo(), prec)).union(&at(&Interval::from_float(x.hi(), prec)));
    let around = Interval::from_f64_ends(MINIMUM[0], MINIMUM[1], prec);
    if x.hi() < around.lo() || x.lo() > around.hi() { hull } else { hull.union(&at(&around)) }
}
