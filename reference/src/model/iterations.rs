//! Reciprocals and inverse square roots by iteration, with the error that theory gives them.

use super::scalar::{Real, Ring};
use crate::error::ReferenceError;

/// Goldschmidt's reciprocal on an interval (`r[goldschmidt.iteration]`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Goldschmidt {
    /// Ends `0 < lo <= hi` of the interval of arguments.
    pub interval: [f64; 2],
    /// Number of steps, at least 1.
    pub steps: u32,
    /// Whether every step is relaxed, `k_i = 2 / (1 + lo_i)`, or only the first.
    pub relaxed: bool,
}

/// Most steps of an iteration: every one doubles the number of correct bits, so more are a mistake.
const MAX_STEPS: u32 = 64;

impl Goldschmidt {
    /// Checks interval and number of steps.
    ///
    /// # Errors
    /// [`ReferenceError::BadOperand`] unless `0 < lo <= hi`, both finite, and `1 <= steps <= 64`.
    pub fn check(&self) -> Result<(), ReferenceError> {
        let [lo, hi] = self.interval;
        if lo > 0.0 && lo <= hi && hi.is_finite() && (1..=MAX_STEPS).contains(&self.steps) {
            return Ok(());
        }
        Err(ReferenceError::BadOperand {
            operation: "Goldschmidt reciprocal",
            expected: format!("an interval [lo, hi] with 0 < lo <= hi and 1..={MAX_STEPS} steps"),
            got: format!("[{lo}, {hi}] and {} steps", self.steps),
        })
    }

    /// The factors `k_i` and the last lower end, all in `R`.
    fn schedule<R: Real>(&self, context: R::Context) -> (Vec<R>, R) {
        let [lo, hi] = self.interval.map(|end| R::point(end, context));
        let [one, two] = [1.0, 2.0].map(|x| R::point(x, context));
        let mut low = lo.div(&hi);
        let mut factors = Vec::new();
        for step in 0..self.steps {
            let factor = if step == 0 || self.relaxed { two.div(&one.add(&low)) } else { one.clone() };
            low = one.sub(&one.sub(&factor.mul(&low)).powi(2));
            factors.push(factor);
        }
        (factors, low)
    }

    /// The approximation of `1 / a`.
    ///
    /// # Errors
    /// As [`Self::check`]; [`ReferenceError::Escape`] when `a` is not certain to lie in the interval.
    pub fn value<S: Ring>(&self, a: &S, context: S::Context) -> Result<S, ReferenceError> {
        self.check()?;
        a.check()?;
        let [low, high] = self.interval;
        if !a.within(self.interval) {
            return Err(ReferenceError::Escape { site: "Goldschmidt".to_owned(), low, high, got: a.to_string() });
        }
        let (factors, last) = self.schedule::<S::Constant>(S::constants(context));
        let [one, two] = [1.0, 2.0].map(|x| S::constant(x, context));
        let inverse = one.div(&S::constant(high, context));
        let mut x = a.times(&inverse);
        let mut y: Option<S> = None;
        for factor in &factors {
            // With e = 1 - k x the step reads y <- k y (1 + e), x <- 1 - e^2.
            let error = x.times(&factor.neg()).plus(&one);
            let correction = error.plus(&one);
            y = Some(match y {
                // The first y is public, so its product is one with a constant.
                None => correction.times(&inverse.mul(factor)),
                Some(y) => y.times(factor).mul(&correction),
            });
            x = error.powi(2).neg().plus(&one);
        }
        let centring = two.div(&one.add(&last));
        Ok(y.map_or_else(|| a.clone(), |y| y.times(&centring)))
    }

    /// The largest relative error on the interval, `(1 - lo_r) / (1 + lo_r)`, in exact arithmetic.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn relative_error<R: Real>(&self, context: R::Context) -> Result<R, ReferenceError> {
        self.check()?;
        let (_, last) = self.schedule::<R>(context);
        let one = R::point(1.0, context);
        Ok(one.sub(&last).div(&one.add(&last)))
    }
}

/// `steps` Newton steps `y <- y (3 - a y^2) / 2` for `1 / sqrt(a)` from the public start `y` (`r[newton.inverse-sqrt]`).
///
/// # Errors
/// [`ReferenceError::BadOperand`] for a start that is not positive and finite, or more than 64 steps.
pub fn newton_inverse_sqrt<S: Ring>(a: &S, start: f64, steps: u32, context: S::Context) -> Result<S, ReferenceError> {
    check_newton("Newton inverse square root", start, steps)?;
    let [half, three] = [0.5, 3.0].map(|x| S::constant(x, context));
    let next = |a: &S, y: &S| y.mul(&a.mul(&y.powi(2)).neg().plus(&three)).times(&half);
    // From a public number the first step is linear in a.
    let start = S::constant(start, context);
    let first = |a: &S| a.times(&start.powi(3).neg()).plus(&start.mul(&three)).times(&half);
    Ok(newton(a, &start, steps, first, next, context))
}

/// `steps` Newton steps `y <- y (2 - a y)` for `1 / a` from the public start `y` (`r[newton.reciprocal]`).
///
/// # Errors
/// As [`newton_inverse_sqrt`].
pub fn newton_reciprocal<S: Ring>(a: &S, start: f64, steps: u32, context: S::Context) -> Result<S, ReferenceError> {
    check_newton("Newton reciprocal", start, steps)?;
    let two = S::constant(2.0, context);
    let next = |a: &S, y: &S| y.mul(&a.mul(y).neg().plus(&two));
    let start = S::constant(start, context);
    let first = |a: &S| a.times(&start.powi(2).neg()).plus(&start.mul(&two));
    Ok(newton(a, &start, steps, first, next, context))
}

fn newton<S: Ring>(
    a: &S,
    start: &S::Constant,
    steps: u32,
    first: impl Fn(&S) -> S,
    next: impl Fn(&S, &S) -> S,
    context: S::Context,
) -> S {
    if steps == 0 {
        return S::point(0.0, context).plus(start);
    }
    (1..steps).fold(first(a), |y, _| next(a, &y))
}

fn check_newton(operation: &'static str, start: f64, steps: u32) -> Result<(), ReferenceError> {
    if start.is_finite() && start > 0.0 && steps <= MAX_STEPS {
        return Ok(());
    }
    Err(ReferenceError::BadOperand {
        operation,
        expected: format!("a finite start > 0 and at most {MAX_STEPS} steps"),
        got: format!("start {start} and {steps} steps"),
    })
}
