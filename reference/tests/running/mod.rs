//! Binary64 numbers with a running bound of their rounding error, valid for any order of summation.

use std::fmt;
use touchstone_reference::approx::Chebyshev;
use touchstone_reference::model::{Real, Ring};

/// Unit roundoff of binary64.
const U: f64 = f64::EPSILON / 2.0;
/// Covers the rounding of the bounds themselves.
const SAFETY: f64 = 1.0 + 1e-9;

/// A computed value, and a bound of its distance from the exact one in whatever order sums were taken.
#[derive(Clone, Copy, Debug)]
pub struct Running {
    /// The value as computed here.
    pub value: f64,
    /// The bound.
    pub error: f64,
}

impl Running {
    fn new(value: f64, error: f64) -> Self {
        Self { value, error: (error + U * value.abs()) * SAFETY }
    }

    /// Adds the error of a sum of `count` rounded products whose magnitudes add up to `magnitude`.
    fn sum(value: f64, error: f64, magnitude: f64, count: usize) -> Self {
        let gamma = count as f64 * U / (1.0 - count as f64 * U);
        Self { value, error: (error + gamma * magnitude) * SAFETY }
    }
}

impl fmt::Display for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} +- {:e}", self.value, self.error)
    }
}

impl Ring for Running {
    type Context = ();
    type Constant = Self;

    fn constants((): ()) {}
    fn point(x: f64, (): ()) -> Self {
        Self { value: x, error: 0.0 }
    }
    fn add(&self, other: &Self) -> Self {
        Self::new(self.value + other.value, self.error + other.error)
    }
    fn sub(&self, other: &Self) -> Self {
        Self::new(self.value - other.value, self.error + other.error)
    }
    fn mul(&self, other: &Self) -> Self {
        let [a, b] = [self.value.abs(), other.value.abs()];
        Self::new(self.value * other.value, a * other.error + b * self.error + self.error * other.error)
    }
    fn powi(&self, exponent: u32) -> Self {
        (1..exponent).fold(*self, |power, _| power.mul(self))
    }
    fn affine(bias: f64, weights: &[f64], x: &[Self], (): ()) -> Self {
        let (mut value, mut error, mut magnitude) = (bias, 0.0, bias.abs());
        for (w, x) in weights.iter().zip(x) {
            value += w * x.value;
            error += w.abs() * x.error;
            magnitude += (w * x.value).abs();
        }
        Self::sum(value, error, magnitude + error, weights.len() + 2)
    }
    fn inner<'a>(pairs: impl Iterator<Item = (&'a Self, &'a Self)>, (): ()) -> Self {
        let (mut value, mut error, mut magnitude, mut count) = (0.0, 0.0, 0.0, 1);
        for (a, b) in pairs {
            let product = a.mul(b);
            value += product.value;
            error += product.error;
            magnitude += product.value.abs();
            count += 1;
        }
        Self::sum(value, error, magnitude + error, count)
    }
    fn chebyshev(&self, series: &Chebyshev) -> Self {
        // Only the exact functions are run with these numbers.
        Self { value: series.value(self.value), error: f64::INFINITY }
    }
    fn within(&self, [a, b]: [f64; 2]) -> bool {
        self.value - self.error >= a && self.value + self.error <= b
    }
    fn neg(&self) -> Self {
        Self { value: -self.value, error: self.error }
    }
    fn plus(&self, constant: &Self) -> Self {
        self.add(constant)
    }
    fn times(&self, constant: &Self) -> Self {
        self.mul(constant)
    }
    fn over(&self, constant: &Self) -> Self {
        self.div(constant)
    }
}

impl Real for Running {
    fn div(&self, other: &Self) -> Self {
        let value = self.value / other.value;
        Self::new(value, (self.error + value.abs() * other.error) / (other.value.abs() - other.error))
    }
    fn sqrt(&self) -> Self {
        // |sqrt a - sqrt b| = |a - b| / (sqrt a + sqrt b).
        let root = self.value.sqrt();
        Self::new(root, self.error / root)
    }
    fn abs(&self) -> Self {
        Self { value: self.value.abs(), error: self.error }
    }
    fn max(&self, other: &Self) -> Self {
        Self { value: self.value.max(other.value), error: self.error.max(other.error) }
    }
    fn gelu(&self) -> Self {
        // |GELU'| < 1.13; the argument's scaling, an error function good to 4 units, the sum and the product commit at
        // most 8 units of |x|.
        Self::new(self.value.gelu(), 1.13 * self.error + 8.0 * U * self.value.abs())
    }
    fn rotation(position: usize, index: usize, size: usize, base: f64, (): ()) -> [Self; 2] {
        // The power and the division are good to 4 units, cosine and sine are 1-Lipschitz and good to 2 units of 1.
        let angle = position as f64 / base.powf(2.0 * index as f64 / size as f64);
        [angle.cos(), angle.sin()].map(|value| Self::new(value, 4.0 * U * angle + 2.0 * U))
    }
    fn may_be_zero(&self) -> bool {
        self.value.abs() <= self.error
    }
    fn tanh(&self) -> Self {
        // 1-Lipschitz; the function is good to 4 units of its value, which is below that of the argument.
        Self::new(self.value.tanh(), self.error + 4.0 * U * self.value.abs())
    }
}
