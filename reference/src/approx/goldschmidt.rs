//! Goldschmidt division from a constant, plain and adaptively relaxed (`r[approx.goldschmidt]`).

use super::certify::Certificate;
use crate::error::ReferenceError;
use crate::interval::Interval;
use rug::Float;
use rug::float::Round;

const PREC: u32 = 256;

/// How the factors `k_i` are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relaxation {
    /// `k_0 = 2 / (1 + lo_0)`, then 1: the classical iteration from the start `2 / (lo + hi)`.
    FirstStep,
    /// `k_i = 2 / (1 + lo_i)` in every step, `lo_i` the lower end of the values that step `i` sees.
    EveryStep,
}

/// `1/a` by steps `x <- k x (2 - k x)`, `y <- k y (2 - k x)` from `y = start`, `x = start a`; the value is `scale y`.
#[derive(Clone, Debug, PartialEq)]
pub struct Goldschmidt {
    /// First value of y.
    pub start: f64,
    /// The factors `k_i`.
    pub factors: Vec<f64>,
    /// Centres the last x on 1.
    pub scale: f64,
}

impl Goldschmidt {
    /// The schedule for `a` in `[lo, hi]`.
    ///
    /// # Errors
    /// [`ReferenceError::BadOperand`] unless `0 < lo < hi < infinity` and there is a step.
    pub fn new([lo, hi]: [f64; 2], steps: usize, relaxation: Relaxation) -> Result<Self, ReferenceError> {
        if lo <= 0.0 || lo >= hi || !hi.is_finite() || lo.is_nan() || steps == 0 {
            return Err(refusal(format!("[{lo}, {hi}], {steps} steps")));
        }
        let start = hi.recip();
        let mut low = lo * start;
        let mut factors = Vec::with_capacity(steps);
        for i in 0..steps {
            let k = if i == 0 || relaxation == Relaxation::EveryStep { 2.0 / (1.0 + low) } else { 1.0 };
            factors.push(k);
            low = k * low * (2.0 - k * low);
        }
        Ok(Self { start, factors, scale: 2.0 / (1.0 + low) })
    }

    /// Products of two ciphertexts: two per step, but none in the first, which is linear, and x is not needed after the last.
    #[must_use]
    pub fn products(&self) -> usize {
        2 * (self.factors.len() - 1)
    }

    /// Value for `a` in MPFR arithmetic of its precision.
    #[must_use]
    pub fn value(&self, a: &Float) -> Float {
        let mut y = Float::with_val(a.prec(), self.start);
        let mut x = Float::with_val(a.prec(), a * self.start);
        for &k in &self.factors {
            let factor = (2u32 - Float::with_val(a.prec(), &x * k)) * k;
            y *= &factor;
            x *= factor;
        }
        y * self.scale
    }

    /// Proves the relative error as an approximation of `1 / (x + shift)` on `interval`.
    ///
    /// `x_i = y_i a` holds exactly, so the relative error is `scale x_r - 1`, and `x_r` is a scalar function of `x_0`: a
    /// composition of parabolas, whose range follows from the ends of the range before, and the vertex where it lies inside.
    ///
    /// # Errors
    /// [`ReferenceError::BadOperand`] when the interval holds the pole.
    pub fn certify(&self, interval: [f64; 2], shift: f64) -> Result<Certificate, ReferenceError> {
        let constant = |value: f64| Interval::from_f64(value, PREC);
        let [mut low, mut high] = interval.map(|end| &(&constant(end) + &constant(shift)) * &constant(self.start));
        if *low.lo() <= 0 {
            return Err(refusal(format!("[{}, {}] + {shift}", interval[0], interval[1])));
        }
        for &k in &self.factors {
            let step = |x: &Interval| {
                let kx = x * &constant(k);
                &kx * &(&constant(2.0) - &kx)
            };
            let [at_low, at_high] = [step(&low), step(&high)];
            let vertex = constant(1.0);
            let inside = (&low * &constant(k)).lo() <= vertex.lo() && (&high * &constant(k)).hi() >= vertex.hi();
            let top = if inside { vertex } else { larger(&at_low, &at_high) };
            low = -&larger(&-&at_low, &-&at_high);
            high = top;
        }
        let error = |x: &Interval| (&(x * &constant(self.scale)) - &constant(1.0)).abs();
        let worst = larger(&error(&low), &error(&high));
        Ok(Certificate {
            sup_error: worst.hi().to_f64_round(Round::Up),
            witness: worst.lo().to_f64_round(Round::Down),
            cells: 1,
        })
    }
}

/// Enclosure of the larger of two numbers.
fn larger(a: &Interval, b: &Interval) -> Interval {
    let max = |x: &Float, y: &Float| if x > y { x.clone() } else { y.clone() };
    Interval::new(max(a.lo(), b.lo()), max(a.hi(), b.hi()))
}

fn refusal(got: String) -> ReferenceError {
    ReferenceError::BadOperand {
        operation: "Goldschmidt schedule",
        expected: "0 < lo < hi < infinity and at least one step".to_owned(),
        got,
    }
}
