//! The graph on tracked numbers (`r[vector.bound.model]`): exact values of R1 with the worst error of their evaluation.

use crate::approx::Chebyshev;
use crate::interval::Interval;
use crate::model::Ring;
use crate::vectors::noise::{PREC, Steps, Tracked, real};
use std::fmt;

/// A [`Tracked`] number with what its operations add.
#[derive(Clone, Debug)]
pub struct Number<'a> {
    /// Exact value and errors.
    pub tracked: Tracked,
    steps: &'a Steps,
}

impl<'a> Number<'a> {
    /// An encrypted number.
    pub fn encrypted(x: f64, steps: &'a Steps) -> Self {
        Self { tracked: Tracked::encrypted(x, steps), steps }
    }

    fn with(&self, tracked: Tracked) -> Self {
        Self { tracked, steps: self.steps }
    }
}

impl fmt::Display for Number<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} +- {:e}", self.tracked.value, self.tracked.error())
    }
}

impl<'a> Ring for Number<'a> {
    type Context = &'a Steps;
    type Constant = Interval;

    fn constants(_: &'a Steps) -> u32 {
        PREC
    }
    fn point(x: f64, steps: &'a Steps) -> Self {
        Self { tracked: Tracked::zero().standing_for(real(x), 0.0), steps }
    }
    fn add(&self, other: &Self) -> Self {
        self.with(self.tracked.add_aligned(&other.tracked, self.steps))
    }
    fn sub(&self, other: &Self) -> Self {
        self.add(&other.neg())
    }
    fn mul(&self, other: &Self) -> Self {
        self.with(self.tracked.mul(&other.tracked, self.steps))
    }
    fn neg(&self) -> Self {
        self.with(self.tracked.neg())
    }
    fn plus(&self, constant: &Interval) -> Self {
        self.with(self.tracked.plus(constant, self.steps))
    }
    fn times(&self, constant: &Interval) -> Self {
        self.with(self.tracked.scale_by(constant, self.steps))
    }
    fn over(&self, constant: &Interval) -> Self {
        self.times(&constant.recip())
    }
    fn powi(&self, exponent: u32) -> Self {
        match exponent {
            0 | 1 => self.clone(),
            _ => self.powi(exponent / 2).mul(&self.powi(exponent - exponent / 2)),
        }
    }
    fn affine(bias: f64, weights: &[f64], x: &[Self], steps: &'a Steps) -> Self {
        let x: Vec<Tracked> = x.iter().map(|x| x.tracked.clone()).collect();
        Self { tracked: Tracked::affine(bias, weights, &x, steps), steps }
    }
    fn inner<'b>(pairs: impl Iterator<Item = (&'b Self, &'b Self)>, steps: &'a Steps) -> Self
    where
        Self: 'b,
    {
        let products: Vec<Self> = pairs.map(|(a, b)| a.mul(b)).collect();
        Self::sum(&products, steps)
    }
    fn chebyshev(&self, series: &Chebyshev) -> Self {
        self.with(self.tracked.chebyshev(series.interval(), series.coefficients(), self.steps))
    }
    fn within(&self, interval: [f64; 2]) -> bool {
        self.tracked.within(interval)
    }
}
