//! Reciprocals and inverse square roots by iteration.
//!
//! | circuit | levels | products per step |
//! |---|---|---|
//! | [`Goldschmidt`] on an interval `[lo, hi]` | one per step, one more if `lo + hi > 2` | 2 |
//! | [`goldschmidt_refine`] from a ciphertext | one per step and one | 2 |
//! | [`newton_reciprocal`] | two per step; the first step from a constant takes one | 2 |
//! | [`newton_inverse_sqrt`] | two per step; the first step from a constant takes one | 3 |
//!
//! `r` steps from a constant are a polynomial of degree `2^r - 1` in the input (Goldschmidt), so one level per step is the least
//! possible; a Newton step multiplies three ciphertexts and so needs two. Newton steps correct the errors of earlier
//! steps, Goldschmidt steps keep them.

use super::{check_input, product_label, summand};
use crate::instrument;
use crate::{Ciphertext, CkksError, Complex64, Evaluator};

/// Largest integer by which a step multiplies; keeps `step * value * scale` far from the modulus.
const MAX_FACTOR: f64 = (1u64 << 24) as f64;

/// How the factors `k_i` of [`Goldschmidt`] are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relaxation {
    /// `k_0 = 2 / (1 + lo_0)`, then 1: the classical iteration from the start `2 / (lo + hi)`.
    FirstStep,
    /// `k_i = 2 / (1 + lo_i)` in every step, `lo_i` the lower end of the interval that step `i` sees.
    EveryStep,
}

/// A schedule for `1/a`, `a` in `[lo, hi]`: `x_0 = y_0 a`, `y_0 = 1/hi`, and in each step
/// `x <- k x (2 - k x)`, `y <- k y (2 - k x)`, which keeps `x = y a` and drives `x` to 1.
///
/// A factor `k` costs no level: with `x = sigma z` and an integer `m` near `k^2 sigma^2` both updates are a product with
/// `m (2/(k sigma) - z)`, and the new `sigma` is `k^2 sigma^2 / m`, in `[1, 2)`. The constant that is left over enters the
/// first value of `y`, which is linear in `a`. This needs `k_0 >= hi`, that is `lo + hi <= 2`; otherwise the input is
/// divided by `hi` first, which costs one level.
#[derive(Clone, Debug, PartialEq)]
pub struct Goldschmidt {
    /// Divides the input first, one level.
    divisor: Option<f64>,
    steps: Vec<Step>,
    /// `y_1 = weight * (tau_0 - z_0)`.
    weight: f64,
    relative_error: f64,
}

/// One step: both updates multiply by `factor * (tau - z)`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Step {
    tau: f64,
    factor: i64,
}

impl Goldschmidt {
    /// The schedule with `steps` steps for `numerator / a`, `a` in `[lo, hi]`.
    ///
    /// # Errors
    /// [`CkksError::Argument`] unless `0 < lo <= hi`, `hi >= 2^-12`, all numbers are finite and `steps >= 1`.
    pub fn new(lo: f64, hi: f64, numerator: f64, steps: usize, relaxation: Relaxation) -> Result<Self, CkksError> {
        let operation = "Goldschmidt::new";
        if !(lo > 0.0 && lo <= hi && hi.is_finite() && numerator.is_finite()) {
            let got = format!("[{lo:e}, {hi:e}], numerator {numerator:e}");
            return Err(CkksError::Argument { operation, expected: "0 < lo <= hi, all finite", got });
        }
        if steps == 0 {
            return Err(CkksError::Argument { operation, expected: "at least one step", got: "0".to_owned() });
        }
        let divisor = Some(hi).filter(|hi| 2.0 / (1.0 + lo / hi) < *hi);
        let mut x_lo = lo / hi;
        let mut sigma = if divisor.is_some() { 1.0 } else { hi.recip() };
        let mut schedule = Vec::with_capacity(steps);
        for i in 0..steps {
            let k = if i == 0 || relaxation == Relaxation::EveryStep { 2.0 / (1.0 + x_lo) } else { 1.0 };
            let square = (k * sigma).powi(2);
            let factor = square.floor().max(1.0);
            if factor > MAX_FACTOR {
                return Err(CkksError::Argument { operation, expected: "hi >= 2^-12", got: format!("{hi:e}") });
            }
            schedule.push(Step { tau: 2.0 / (k * sigma), factor: factor as i64 });
            sigma = square / factor;
            x_lo = k * x_lo * (2.0 - k * x_lo);
        }
        // The last x lies in [x_lo, 1]; the factor 2 / (1 + x_lo) centres it on 1.
        let centring = 2.0 / (1.0 + x_lo);
        let weight = numerator * centring * sigma * schedule[0].factor as f64 / divisor.unwrap_or(1.0);
        Ok(Self { divisor, steps: schedule, weight, relative_error: (1.0 - x_lo) / (1.0 + x_lo) })
    }

    /// The schedule with the fewest steps whose relative error is at most `relative_error`.
    ///
    /// # Errors
    /// As [`Goldschmidt::new`], and [`CkksError::Argument`] if 64 steps do not suffice.
    pub fn with_relative_error(
        lo: f64,
        hi: f64,
        numerator: f64,
        relative_error: f64,
        relaxation: Relaxation,
    ) -> Result<Self, CkksError> {
        for steps in 1..=64 {
            let schedule = Self::new(lo, hi, numerator, steps, relaxation)?;
            if schedule.relative_error <= relative_error {
                return Ok(schedule);
            }
        }
        let (operation, expected) = ("Goldschmidt::with_relative_error", "an error that 64 steps reach");
        Err(CkksError::Argument { operation, expected, got: format!("{relative_error:e}") })
    }

    /// Levels consumed.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.steps.len() + usize::from(self.divisor.is_some())
    }

    /// Number of steps.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.steps.len()
    }

    /// Products of two ciphertexts.
    #[must_use]
    pub fn multiplications(&self) -> usize {
        2 * (self.steps.len() - 1)
    }

    /// Supremum over `[lo, hi]` of the relative error in exact arithmetic.
    #[must_use]
    pub fn relative_error(&self) -> f64 {
        self.relative_error
    }

    /// The schedule's own steps in binary64.
    #[must_use]
    pub fn evaluate(&self, a: f64) -> f64 {
        let mut z = a / self.divisor.unwrap_or(1.0);
        let mut y = self.weight * (self.steps[0].tau - z);
        for (i, step) in self.steps.iter().enumerate() {
            let f = step.factor as f64 * (step.tau - z);
            if i > 0 {
                y *= f;
            }
            z *= f;
        }
        y
    }

    /// `numerator / ct` slot by slot; slots outside `[lo, hi]` give nonsense, above `2 hi` large nonsense.
    ///
    /// In: canonical, level `l >= depth`. Out: canonical, level `l - depth`.
    ///
    /// # Errors
    /// [`CkksError::LevelExhausted`], [`CkksError::Scale`], [`CkksError::MissingKey`] without a relinearisation key.
    pub fn apply(&self, evaluator: &Evaluator, ct: &Ciphertext) -> Result<Ciphertext, CkksError> {
        check_input("Goldschmidt::apply", evaluator, ct, self.depth())?;
        let mut z = match self.divisor {
            Some(hi) => evaluator.mul_const_to_level(ct, real(hi.recip()), ct.level() - 1)?,
            None => ct.clone(),
        };
        let first = self.steps[0];
        let mut y = linear(evaluator, &z, -self.weight, self.weight * first.tau)?;
        if self.steps.len() == 1 {
            return Ok(y);
        }
        for (i, step) in self.steps.iter().enumerate() {
            let f = step.multiplier(evaluator, &z)?;
            let last = i + 1 == self.steps.len();
            let (next_y, next_z) = instrument::join(
                || if i == 0 { Ok(None) } else { evaluator.mul_rescale(&y, &f).map(Some) },
                || if last { Ok(None) } else { evaluator.mul_rescale(&z, &f).map(Some) },
            );
            y = next_y?.unwrap_or(y);
            z = next_z?.unwrap_or(z);
        }
        Ok(y)
    }
}

impl Step {
    fn multiplier(&self, evaluator: &Evaluator, z: &Ciphertext) -> Result<Ciphertext, CkksError> {
        let scaled = evaluator.mul_int(z, -self.factor)?;
        evaluator.add_const(&scaled, real(self.factor as f64 * self.tau))
    }
}

/// Where an iteration starts.
#[derive(Clone, Copy, Debug)]
pub enum Start<'a> {
    /// The same number in every slot.
    Constant(f64),
    /// A canonical ciphertext, for instance the value of a polynomial.
    Value(&'a Ciphertext),
}

/// Goldschmidt steps for `1/a` from a start `y`: `e = 1 - a y`, then `y <- y (1 + e)`, `e <- e^2`.
///
/// In exact arithmetic the same as `steps` Newton steps. In: canonical, of any levels, the lower one `l`. Out: canonical,
/// level `l - 1 - steps`; with no steps the start itself.
///
/// # Errors
/// [`CkksError::LevelExhausted`], [`CkksError::Scale`], [`CkksError::MissingKey`].
pub fn goldschmidt_refine(
    evaluator: &Evaluator,
    a: &Ciphertext,
    start: &Ciphertext,
    steps: usize,
) -> Result<Ciphertext, CkksError> {
    let operation = "goldschmidt_refine";
    let needed = if steps == 0 { 0 } else { steps + 1 };
    check_input(operation, evaluator, a, needed)?;
    check_input(operation, evaluator, start, needed)?;
    if steps == 0 {
        return Ok(start.clone());
    }
    let level = a.level().min(start.level());
    let mut y = evaluator.to_level(start, level)?;
    let product = evaluator.mul_rescale(&evaluator.to_level(a, level)?, &y)?;
    let mut e = evaluator.add_const(&evaluator.neg(&product)?, real(1.0))?;
    for step in 0..steps {
        let factor = evaluator.add_const(&e, real(1.0))?;
        y = evaluator.mul_rescale(&evaluator.to_level(&y, factor.level())?, &factor)?;
        if step + 1 < steps {
            e = evaluator.mul_rescale(&e, &e)?;
        }
    }
    Ok(y)
}

/// Newton steps `y <- y (2 - a y)` for `1/a` (`r[approx.refinement]`).
///
/// In: canonical. Out: canonical; from a ciphertext two levels per step below the lower of the two inputs, from a
/// constant one level for the first step and two for each further one.
///
/// # Errors
/// [`CkksError::LevelExhausted`], [`CkksError::Scale`], [`CkksError::MissingKey`]; [`CkksError::Argument`] for a
/// constant start without steps.
pub fn newton_reciprocal(
    evaluator: &Evaluator,
    a: &Ciphertext,
    start: Start,
    steps: usize,
) -> Result<Ciphertext, CkksError> {
    let first = |c: f64| (-c * c, 2.0 * c);
    let (mut y, steps) = begin("newton_reciprocal", evaluator, a, start, steps, 0, first)?;
    for _ in 0..steps {
        let level = a.level().min(y.level());
        y = evaluator.to_level(&y, level)?;
        let product = evaluator.mul_rescale(&evaluator.to_level(a, level)?, &y)?;
        let factor = evaluator.add_const(&evaluator.neg(&product)?, real(2.0))?;
        y = evaluator.mul_rescale(&evaluator.to_level(&y, factor.level())?, &factor)?;
    }
    Ok(y)
}

/// Newton steps `y <- y (3 - a y^2) / 2` for `1/sqrt(a)` (`r[approx.refinement]`).
///
/// Half of `a` is formed one level below it, so that a step is `1.5 y - (y^2) ((a/2) y)`. In: canonical. Out: canonical;
/// from a ciphertext of level `l'` two levels per step below the lower of `l'` and `l - 1`, from a constant one level for
/// the first step and two for each further one.
///
/// # Errors
/// As [`newton_reciprocal`].
pub fn newton_inverse_sqrt(
    evaluator: &Evaluator,
    a: &Ciphertext,
    start: Start,
    steps: usize,
) -> Result<Ciphertext, CkksError> {
    let first = |c: f64| (-0.5 * c * c * c, 1.5 * c);
    let (mut y, steps) = begin("newton_inverse_sqrt", evaluator, a, start, steps, 1, first)?;
    if steps == 0 {
        return Ok(y);
    }
    let mut half = evaluator.mul_const_to_level(a, real(0.5), y.level().min(a.level() - 1))?;
    for _ in 0..steps {
        y = evaluator.to_level(&y, half.level().min(y.level()))?;
        half = evaluator.to_level(&half, y.level())?;
        let (square, scaled) = instrument::join(|| evaluator.mul_rescale(&y, &y), || evaluator.mul_rescale(&half, &y));
        let cubic = evaluator.mul(&square?, &scaled?)?;
        let linear = summand(evaluator, &y, 1.5, y.level() - 1)?;
        y = evaluator.rescale(&evaluator.sub(&linear, &cubic)?)?;
    }
    Ok(y)
}

/// The value after the steps that are linear in `a`, and the number of steps left.
///
/// `first(c)` gives slope and offset of the first step from the constant `c`; `reserve` is how many levels `a` loses
/// before a general step may use it.
fn begin(
    operation: &'static str,
    evaluator: &Evaluator,
    a: &Ciphertext,
    start: Start,
    steps: usize,
    reserve: usize,
    first: impl Fn(f64) -> (f64, f64),
) -> Result<(Ciphertext, usize), CkksError> {
    match start {
        Start::Constant(c) => {
            let left = steps.checked_sub(1).ok_or_else(|| CkksError::Argument {
                operation,
                expected: "at least one step from a constant",
                got: "0".to_owned(),
            })?;
            check_input(operation, evaluator, a, 1 + 2 * left)?;
            let (slope, offset) = first(c);
            Ok((linear(evaluator, a, slope, offset)?, left))
        }
        Start::Value(y) => {
            check_input(operation, evaluator, y, 2 * steps)?;
            check_input(operation, evaluator, a, if steps == 0 { 0 } else { 2 * steps + reserve })?;
            Ok((y.clone(), steps))
        }
    }
}

/// `slope * ct + offset`, one level lower.
fn linear(evaluator: &Evaluator, ct: &Ciphertext, slope: f64, offset: f64) -> Result<Ciphertext, CkksError> {
    let scaled = evaluator.mul_const(ct, real(slope), product_label(evaluator, ct.level()))?;
    evaluator.add_const(&evaluator.rescale(&scaled)?, real(offset))
}

fn real(value: f64) -> Complex64 {
    Complex64::new(value, 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circuits::polynomial::{Plan, Polynomial, evaluate};
    use crate::circuits::testing::{Fixture, Tracked, assert_close, numbers};

    fn points(lo: f64, hi: f64, count: usize) -> Vec<f64> {
        let mut xs: Vec<f64> = numbers(5, count).iter().map(|x| lo + (hi - lo) * (x + 1.0) / 2.0).collect();
        xs[..2].copy_from_slice(&[lo, hi]);
        xs
    }

    fn tracked(fixture: &Fixture, value: f64, depth: usize) -> Tracked {
        Tracked { value, error: fixture.input_error(), step: fixture.steps(depth) }
    }

    #[test]
    fn schedules_reach_their_relative_error() {
        for relaxation in [Relaxation::FirstStep, Relaxation::EveryStep] {
            for (lo, hi, steps) in
                [(0.05, 1.0, 6), (1e-3, 1.01, 8), (0.1, 5.0, 6), (0.01, 0.05, 3), (1.0, 1.0, 1), (0.5, 1.5, 3)]
            {
                let schedule = Goldschmidt::new(lo, hi, 2.0, steps, relaxation).unwrap();
                let relative = |a: f64| (schedule.evaluate(a) * a / 2.0 - 1.0).abs();
                let worst =
                    (0..=4000).map(|i| relative(lo * (hi / lo).powf(f64::from(i) / 4000.0))).fold(0.0, f64::max);
                // Each step makes a handful of roundings, amplified at most like 1/x.
                let rounding = 16.0 * steps as f64 * hi / lo * f64::EPSILON;
                let claimed = schedule.relative_error();
                assert!(worst <= claimed + rounding, "[{lo}, {hi}] {relaxation:?}: {worst:e} above {claimed:e}");
                assert!(relative(lo) >= claimed * (1.0 - 1e-9) - rounding, "the claim is attained at lo");
            }
        }
    }

    #[test]
    fn relaxation_saves_steps() {
        let steps = |ratio: f64, relaxation| {
            Goldschmidt::with_relative_error(ratio.recip(), 1.0, 1.0, 2f64.powi(-16), relaxation).unwrap().steps()
        };
        let classical = [1e2, 1e3, 1e4].map(|ratio| steps(ratio, Relaxation::FirstStep));
        let relaxed = [1e2, 1e3, 1e4].map(|ratio| steps(ratio, Relaxation::EveryStep));
        println!("steps for 16 bits: classical {classical:?}, relaxed {relaxed:?}");
        // Classical: error ((k-1)/(k+1))^(2^r), halved by the final centring.
        for (ratio, steps) in [1e2f64, 1e3, 1e4].into_iter().zip(classical) {
            let base = ((ratio - 1.0) / (ratio + 1.0)).ln();
            assert!(base * 2f64.powi(steps as i32) <= -15.0 * std::f64::consts::LN_2, "{ratio}");
        }
        assert!(relaxed.iter().zip(classical).all(|(relaxed, classical)| *relaxed + 3 <= classical));
    }

    #[test]
    fn encrypted_goldschmidt_is_within_the_bound() {
        for (preset, lo, hi, steps) in
            [("toy-n8", 0.05, 1.0, 6), ("toy-n8", 0.5, 5.0, 4), ("toy-n8", 1.0, 1.5, 1), ("small-n12", 0.1, 1.0, 5)]
        {
            let fixture = Fixture::new(preset, 40, []);
            let schedule = Goldschmidt::new(lo, hi, 0.5, steps, Relaxation::EveryStep).unwrap();
            assert_eq!(schedule.depth(), steps + usize::from(lo + hi > 2.0));
            let xs = points(lo, hi, fixture.slots());
            let value = schedule.apply(&fixture.evaluator(), &fixture.encrypt_real(&xs)).unwrap();
            let expected: Vec<f64> = xs.iter().map(|a| schedule.evaluate(*a)).collect();
            let bound = |slot: usize| {
                let mut z = tracked(&fixture, xs[slot], schedule.depth());
                if let Some(hi) = schedule.divisor {
                    z = z.weighted(hi.recip()).rescaled();
                }
                let first = schedule.steps[0];
                let mut y = z.weighted(-schedule.weight).rescaled().plus(schedule.weight * first.tau);
                for (i, step) in schedule.steps.iter().enumerate() {
                    let f = z.scaled(-step.factor as f64).plus(step.factor as f64 * step.tau);
                    y = if i == 0 { y } else { y.times(f) };
                    z = z.times(f);
                }
                y.error
            };
            let got = fixture.decrypt(&value, fixture.top() - schedule.depth());
            assert_close(&format!("{preset} [{lo}, {hi}] {steps} steps"), &got, &expected, bound);
        }
    }

    /// The start polynomial of degree 3 for tests: interpolation of `f` at the Chebyshev points of `[-1, 1]`.
    fn start_polynomial(f: impl Fn(f64) -> f64) -> Polynomial {
        let nodes: Vec<f64> = (0..4).map(|k| std::f64::consts::PI * (f64::from(k) + 0.5) / 4.0).collect();
        let coefficient = |i: usize| {
            let sum: f64 = nodes.iter().map(|t| f(t.cos()) * (i as f64 * t).cos()).sum();
            sum * if i == 0 { 0.25 } else { 0.5 }
        };
        Polynomial::chebyshev((0..4).map(coefficient).collect()).unwrap()
    }

    /// Newton's recurrence in binary64 with error bounds, from the value after the linear steps.
    fn follow(mut y: Tracked, steps: usize, step: impl Fn(Tracked) -> Tracked) -> Tracked {
        for _ in 0..steps {
            y = step(y);
        }
        y
    }

    #[test]
    fn reciprocals_from_a_constant_and_from_a_polynomial() {
        let fixture = Fixture::new("toy-n8", 50, []);
        let ev = fixture.evaluator();
        // The argument of the polynomial is a - 1.5, in [-1, 1].
        let ts = points(-1.0, 1.0, fixture.slots());
        let argument = fixture.encrypt_real(&ts);
        let a = ev.add_const(&argument, real(1.5)).unwrap();
        let newton = |a: Tracked| move |y: Tracked| y.moved().times(a.moved().times(y.moved()).scaled(-1.0).plus(2.0));

        let c = 0.6;
        let from_constant = newton_reciprocal(&ev, &a, Start::Constant(c), 3).unwrap();
        let value = |slot: usize| {
            let a = tracked(&fixture, ts[slot], 5).plus(1.5);
            follow(a.weighted(-c * c).rescaled().plus(2.0 * c), 2, newton(a))
        };
        let expected: Vec<f64> = (0..ts.len()).map(|slot| value(slot).value).collect();
        let got = fixture.decrypt(&from_constant, fixture.top() - 5);
        assert_close("constant, 3 Newton steps", &got, &expected, |slot| value(slot).error);

        let polynomial = start_polynomial(|t| 1.0 / (t + 1.5));
        let plan = Plan::new(&polynomial);
        let start = evaluate(&ev, &argument, &polynomial).unwrap();
        let begun = |slot: usize| {
            let error = plan.error_bound(fixture.input_error(), fixture.steps(6));
            Tracked { value: polynomial.evaluate(ts[slot]), error, step: fixture.steps(6) }
        };
        let refined = newton_reciprocal(&ev, &a, Start::Value(&start), 2).unwrap();
        let value = |slot: usize| follow(begun(slot), 2, newton(tracked(&fixture, ts[slot], 6).plus(1.5)));
        let expected: Vec<f64> = (0..ts.len()).map(|slot| value(slot).value).collect();
        let got = fixture.decrypt(&refined, fixture.top() - 6);
        assert_close("polynomial, 2 Newton steps", &got, &expected, |slot| value(slot).error);

        // In exact arithmetic Goldschmidt steps give the same value, one level earlier.
        let refined = goldschmidt_refine(&ev, &a, &start, 2).unwrap();
        let bound = |slot: usize| {
            let y = begun(slot);
            let e = tracked(&fixture, ts[slot], 6).plus(1.5).moved().times(y).scaled(-1.0).plus(1.0);
            y.moved().times(e.plus(1.0)).moved().times(e.times(e).plus(1.0)).error
        };
        assert_close(
            "polynomial, 2 Goldschmidt steps",
            &fixture.decrypt(&refined, fixture.top() - 5),
            &expected,
            bound,
        );
    }

    #[test]
    fn inverse_square_roots_from_a_constant_and_from_a_polynomial() {
        let fixture = Fixture::new("toy-n8", 60, []);
        let ev = fixture.evaluator();
        let ts = points(-1.0, 1.0, fixture.slots());
        let argument = fixture.encrypt_real(&ts);
        let a = ev.add_const(&argument, real(1.5)).unwrap();
        let newton = |a: Tracked| {
            let half = a.weighted(0.5).rescaled().moved();
            move |y: Tracked| {
                let y = y.moved();
                y.weighted(1.5).minus(y.times(y).times(half.times(y)))
            }
        };

        let c = 0.7;
        let from_constant = newton_inverse_sqrt(&ev, &a, Start::Constant(c), 4).unwrap();
        let value = |slot: usize| {
            let a = tracked(&fixture, ts[slot], 7).plus(1.5);
            follow(a.weighted(-0.5 * c * c * c).rescaled().plus(1.5 * c), 3, newton(a))
        };
        let expected: Vec<f64> = (0..ts.len()).map(|slot| value(slot).value).collect();
        let got = fixture.decrypt(&from_constant, fixture.top() - 7);
        assert_close("constant, 4 steps", &got, &expected, |slot| value(slot).error);

        let polynomial = start_polynomial(|t| 1.0 / (t + 1.5).sqrt());
        let start = evaluate(&ev, &argument, &polynomial).unwrap();
        let refined = newton_inverse_sqrt(&ev, &a, Start::Value(&start), 2).unwrap();
        let value = |slot: usize| {
            let error = Plan::new(&polynomial).error_bound(fixture.input_error(), fixture.steps(6));
            let begun = Tracked { value: polynomial.evaluate(ts[slot]), error, step: fixture.steps(6) };
            follow(begun, 2, newton(tracked(&fixture, ts[slot], 6).plus(1.5)))
        };
        let expected: Vec<f64> = (0..ts.len()).map(|slot| value(slot).value).collect();
        let got = fixture.decrypt(&refined, fixture.top() - 6);
        assert_close("polynomial, 2 steps", &got, &expected, |slot| value(slot).error);
        let exact =
            (0..ts.len()).map(|slot| (expected[slot] * (ts[slot] + 1.5).sqrt() - 1.0).abs()).fold(0.0, f64::max);
        println!("relative error of the recurrence itself {exact:.1e}");
    }

    #[test]
    fn unsuitable_arguments_are_refused() {
        let new = |lo, hi, steps| Goldschmidt::new(lo, hi, 1.0, steps, Relaxation::EveryStep);
        for bad in
            [new(0.0, 1.0, 3), new(2.0, 1.0, 3), new(0.1, f64::INFINITY, 3), new(f64::NAN, 1.0, 3), new(0.1, 1.0, 0)]
        {
            assert!(matches!(bad, Err(CkksError::Argument { .. })), "{bad:?}");
        }
        assert!(matches!(new(1e-6, 1e-5, 3), Err(CkksError::Argument { .. })));
        let fixture = Fixture::new("toy-n8", 70, []);
        let ev = fixture.evaluator();
        let ct = fixture.encrypt_real(&vec![1.0; fixture.slots()]);
        let low = ev.to_level(&ct, 2).unwrap();
        let exhausted = |got: Result<Ciphertext, CkksError>| matches!(got, Err(CkksError::LevelExhausted { .. }));
        assert!(exhausted(new(0.5, 1.0, 3).unwrap().apply(&ev, &low)));
        assert!(exhausted(newton_reciprocal(&ev, &low, Start::Constant(1.0), 2)));
        assert!(exhausted(newton_inverse_sqrt(&ev, &low, Start::Value(&low), 1)));
        assert!(exhausted(goldschmidt_refine(&ev, &low, &low, 2)));
        assert!(matches!(newton_reciprocal(&ev, &ct, Start::Constant(1.0), 0), Err(CkksError::Argument { .. })));
    }
}
