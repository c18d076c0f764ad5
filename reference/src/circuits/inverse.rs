//! Reciprocals and inverse square roots by iteration (`r[circuit.goldschmidt.schedule]` and the rules after it).

use super::Circuits;
use crate::ckks::Ciphertext;
use crate::error::ReferenceError;

/// Which steps of a Goldschmidt schedule are relaxed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relaxation {
    /// Only the first.
    FirstStep,
    /// All.
    EveryStep,
}

/// A schedule for `numerator / a`, `a` in `[low, high]` (`r[circuit.goldschmidt.schedule]`).
#[derive(Clone, Debug, PartialEq)]
pub struct Goldschmidt {
    /// `h` if the input is divided by it first.
    divisor: Option<f64>,
    /// `(f_i, tau_i)`.
    steps: Vec<(i64, f64)>,
    /// `W`.
    weight: f64,
}

impl Goldschmidt {
    /// The schedule with the given number of steps.
    ///
    /// # Errors
    /// [`ReferenceError::BadOperand`] unless `0 < low <= high`, all numbers are finite, there is a step and no factor
    /// exceeds `2^24`.
    pub fn new(
        [low, high]: [f64; 2],
        numerator: f64,
        steps: usize,
        relaxation: Relaxation,
    ) -> Result<Self, ReferenceError> {
        let bad = |expected: &str, got: String| ReferenceError::BadOperand {
            operation: "Goldschmidt schedule",
            expected: expected.to_owned(),
            got,
        };
        if !(low > 0.0 && low <= high && high.is_finite() && numerator.is_finite() && steps > 0) {
            let got = format!("[{low:e}, {high:e}], numerator {numerator:e}, {steps} steps");
            return Err(bad("0 < low <= high, all finite, at least one step", got));
        }
        let centre = |x: f64| 2.0 / (1.0 + x);
        let mut x = low / high;
        let divisor = (centre(x) < high).then_some(high);
        let mut sigma = if divisor.is_some() { 1.0 } else { 1.0 / high };
        let mut schedule = Vec::new();
        for i in 0..steps {
            let relaxed = i == 0 || relaxation == Relaxation::EveryStep;
            let k = if relaxed { centre(x) } else { 1.0 };
            let v: f64 = k * sigma;
            let w = v * v;
            let f = w.floor().max(1.0);
            if f > 24f64.exp2() {
                return Err(bad("an upper end of at least 2^-12", format!("{high:e}")));
            }
            schedule.push((f as i64, 2.0 / v));
            sigma = w / f;
            let kx = k * x;
            x = kx * (2.0 - kx);
        }
        let weight = numerator * centre(x) * sigma * schedule[0].0 as f64 / divisor.unwrap_or(1.0);
        Ok(Self { divisor, steps: schedule, weight })
    }

    /// The number by which the input is divided first, if it is.
    #[must_use]
    pub fn divisor(&self) -> Option<f64> {
        self.divisor
    }

    /// `(f_i, tau_i)` of every step.
    #[must_use]
    pub fn steps(&self) -> &[(i64, f64)] {
        &self.steps
    }

    /// `W`: the first value of the result is `W (tau_0 - z)`.
    #[must_use]
    pub fn weight(&self) -> f64 {
        self.weight
    }

    /// Levels that the evaluation takes.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.steps.len() + usize::from(self.divisor.is_some())
    }
}

/// Where an iteration starts.
#[derive(Clone, Copy, Debug)]
pub enum Start<'a> {
    /// The same number in every slot (`r[circuit.newton.start]`).
    Constant(f64),
    /// A canonical ciphertext.
    Value(&'a Ciphertext),
}

impl Circuits<'_> {
    /// `numerator / a` by the schedule (`r[circuit.goldschmidt.apply]`); canonical, `depth` levels lower.
    ///
    /// # Errors
    /// [`ReferenceError::LevelExhausted`], [`ReferenceError::ScaleMismatch`], [`ReferenceError::MissingKey`].
    pub fn goldschmidt(&self, a: &Ciphertext, schedule: &Goldschmidt) -> Result<Ciphertext, ReferenceError> {
        self.check_input("Goldschmidt iteration", a, schedule.depth())?;
        let mut z = match schedule.divisor {
            Some(high) => self.weighted_to_level(a, 1.0 / high, a.level - 1)?,
            None => a.clone(),
        };
        let tau_0 = schedule.steps[0].1;
        let mut y = self.affine(&z, -schedule.weight, schedule.weight * tau_0)?;
        let count = schedule.steps.len();
        // A single step is the affine map alone.
        for (i, (f, tau)) in schedule.steps.iter().enumerate().filter(|_| count > 1) {
            let factor = self.add_constant(&self.evaluator.mul_integer(&z, [-f, 0])?, *f as f64 * tau)?;
            if i > 0 {
                y = self.product(&y, &factor)?;
            }
            if i + 1 < count {
                z = self.product(&z, &factor)?;
            }
        }
        Ok(y)
    }

    /// Goldschmidt steps for `1/a` from the start `y` (`r[circuit.goldschmidt.refine]`); canonical, `steps + 1`
    /// levels below the lower input.
    ///
    /// # Errors
    /// [`ReferenceError::LevelExhausted`], [`ReferenceError::ScaleMismatch`], [`ReferenceError::MissingKey`].
    pub fn goldschmidt_refine(
        &self,
        a: &Ciphertext,
        start: &Ciphertext,
        steps: usize,
    ) -> Result<Ciphertext, ReferenceError> {
        if steps == 0 {
            return Ok(start.clone());
        }
        let level = a.level.min(start.level);
        let mut y = self.to_level(start, level)?;
        let mut e = self.subtracted_product(1.0, &self.to_level(a, level)?, &y)?;
        for step in 1..=steps {
            let factor = self.add_constant(&e, 1.0)?;
            y = self.product(&self.to_level(&y, factor.level)?, &factor)?;
            if step < steps {
                e = self.product(&e, &e)?;
            }
        }
        Ok(y)
    }

    /// Newton steps for `1/a` (`r[circuit.newton.start]`, `r[circuit.newton.reciprocal]`); canonical, two levels per
    /// step, one for the first from a constant.
    ///
    /// # Errors
    /// [`ReferenceError::LevelExhausted`], [`ReferenceError::ScaleMismatch`], [`ReferenceError::MissingKey`];
    /// [`ReferenceError::BadOperand`] for a constant start without steps.
    pub fn newton_reciprocal(
        &self,
        a: &Ciphertext,
        start: Start<'_>,
        steps: usize,
    ) -> Result<Ciphertext, ReferenceError> {
        let (mut y, left) = self.start(a, start, steps, |c| (-c * c, 2.0 * c))?;
        for _ in 0..left {
            let level = a.level.min(y.level);
            y = self.to_level(&y, level)?;
            let factor = self.subtracted_product(2.0, &self.to_level(a, level)?, &y)?;
            y = self.product(&self.to_level(&y, factor.level)?, &factor)?;
        }
        Ok(y)
    }

    /// Newton steps for `1/sqrt(a)` (`r[circuit.newton.start]`, `r[circuit.newton.inverse-sqrt]`); canonical, two
    /// levels per step, one for the first from a constant; from a ciphertext the first general step also uses one
    /// level of `a`.
    ///
    /// # Errors
    /// As [`Self::newton_reciprocal`].
    pub fn newton_inverse_sqrt(
        &self,
        a: &Ciphertext,
        start: Start<'_>,
        steps: usize,
    ) -> Result<Ciphertext, ReferenceError> {
        let (mut y, left) = self.start(a, start, steps, |c| (-0.5 * c * c * c, 1.5 * c))?;
        if left == 0 {
            return Ok(y);
        }
        let below = a.level.checked_sub(1).ok_or(ReferenceError::LevelExhausted {
            operation: "Newton iteration",
            expected: 1,
            got: 0,
        })?;
        let mut half = self.weighted_to_level(a, 0.5, y.level.min(below))?;
        for _ in 0..left {
            y = self.to_level(&y, half.level.min(y.level))?;
            half = self.to_level(&half, y.level)?;
            let (square, scaled) = (self.product(&y, &y)?, self.product(&half, &y)?);
            let cubic = self.relinearise(&self.evaluator.mul(&square, &scaled)?)?;
            let linear = self.summand(&y, 1.5, cubic.level)?;
            y = self.evaluator.rescale(&self.evaluator.sub(&linear, &cubic)?)?;
        }
        Ok(y)
    }

    /// The start and the number of steps left; `first` gives slope and offset of the first step from a constant.
    fn start(
        &self,
        a: &Ciphertext,
        start: Start<'_>,
        steps: usize,
        first: impl Fn(f64) -> (f64, f64),
    ) -> Result<(Ciphertext, usize), ReferenceError> {
        match start {
            Start::Value(y) => Ok((y.clone(), steps)),
            Start::Constant(_) if steps == 0 => Err(ReferenceError::BadOperand {
                operation: "Newton iteration",
                expected: "at least one step from a constant".to_owned(),
                got: "0".to_owned(),
            }),
            Start::Constant(c) => {
                let (slope, offset) = first(c);
                Ok((self.affine(a, slope, offset)?, steps - 1))
            }
        }
    }

    /// `-(a b) + constant`.
    fn subtracted_product(&self, constant: f64, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext, ReferenceError> {
        self.add_constant(&self.evaluator.neg(&self.product(a, b)?), constant)
    }
}
