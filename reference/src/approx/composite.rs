//! Shallowest composition of a start and iterations for reciprocals and inverse square roots (`r[approx.composite]`).

use super::certify::{Certificate, certify_on};
use super::cost::{polynomial_depth, polynomial_products};
use super::domain::Domain;
use super::fit::best_reciprocal;
use super::goldschmidt::{Goldschmidt, Relaxation};
use super::remez::minimax;
use super::target::Target;
use crate::error::ReferenceError;
use rug::Float;
use rug::ops::Pow;
use std::collections::BTreeMap;
use touchstone_spec::artifact::{ErrorKind, Refinement};

const PREC: u32 = 256;
/// Deepest composition that is tried.
const MAX_DEPTH: usize = 24;
/// Deepest polynomial that is tried: degree 1023 in closed form, 255 by the exchange.
const MAX_POLYNOMIAL_DEPTH: [usize; 2] = [10, 8];
/// Degrees added when rounding to binary64 or the exchange's tolerance spoils the smallest sufficient degree.
const SPARE_DEGREES: usize = 2;

/// Steps after a polynomial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Iteration {
    /// Newton steps (`r[approx.refinement]`): two levels each, one for the first from a constant.
    Newton,
    /// Goldschmidt steps `y <- y (1 + e)`, `e <- e^2` from `e = 1 - (x + shift) y`
    /// (`r[approx.goldschmidt.refine]`): one level each and one. Only reciprocals.
    Goldschmidt,
}

/// How a value is computed.
#[derive(Clone, Debug, PartialEq)]
pub enum Form {
    /// A Chebyshev series on the interval (one coefficient: a constant), then steps.
    Refined {
        /// Coefficients `c_0, c_1, ...`.
        coefficients: Vec<f64>,
        /// Kind of step.
        iteration: Iteration,
        /// Number of steps.
        steps: u32,
    },
    /// Goldschmidt steps from a constant.
    Goldschmidt(Goldschmidt),
}

/// A composition with its cost and its proof.
#[derive(Clone, Debug, PartialEq)]
pub struct Composite {
    /// How the value is computed.
    pub form: Form,
    /// Levels consumed.
    pub depth: usize,
    /// Products of two ciphertexts.
    pub products: usize,
    /// The proved error.
    pub certificate: Certificate,
}

/// The composition of smallest depth, and among those of fewest ciphertext products, whose certified error on `interval` is
/// at most `error`.
///
/// Considered are polynomials, polynomials and constants followed by Newton steps, and for reciprocals polynomials followed
/// by Goldschmidt steps and, for relative errors, plain and relaxed Goldschmidt steps from a constant.
///
/// # Errors
/// [`ReferenceError::BadOperand`] for another function, a pole in the interval, an error that is not positive, or one that
/// 24 levels do not reach.
pub fn optimise(target: &Target, interval: [f64; 2], kind: ErrorKind, error: f64) -> Result<Composite, ReferenceError> {
    let domain = Domain::interval(interval)?;
    target.check(OPERATION, &domain)?;
    let shift = match *target {
        Target::Reciprocal { shift } | Target::InverseSqrt { shift } if interval[0] + shift > 0.0 => shift,
        _ => {
            return Err(refusal(
                "a reciprocal or an inverse square root of a positive argument",
                format!("{target:?}"),
            ));
        }
    };
    if error <= 0.0 || !error.is_finite() {
        return Err(refusal("a positive error", error.to_string()));
    }
    let mut search = Search { target: *target, shift, domain, kind, error, starts: BTreeMap::new() };
    for depth in 0..=MAX_DEPTH {
        if let Some(found) = search.at_depth(depth)? {
            return Ok(found);
        }
    }
    Err(refusal("an error that 24 levels reach", format!("{error:e} on [{}, {}]", interval[0], interval[1])))
}

const OPERATION: &str = "composite approximation";

fn refusal(expected: &str, got: String) -> ReferenceError {
    ReferenceError::BadOperand { operation: OPERATION, expected: expected.to_owned(), got }
}

impl Form {
    /// Value at `x` in MPFR arithmetic of the precision of `x`, not certified.
    #[must_use]
    pub fn value(&self, target: &Target, interval: [f64; 2], x: &Float) -> Float {
        let prec = x.prec();
        let (argument, is_reciprocal) = match *target {
            Target::Reciprocal { shift } => (Float::with_val(prec, x + shift), true),
            Target::InverseSqrt { shift } => (Float::with_val(prec, x + shift), false),
            _ => (x.clone(), true),
        };
        match self {
            Self::Goldschmidt(schedule) => schedule.value(&argument),
            Self::Refined { coefficients, iteration, steps } => {
                let mut y = clenshaw(coefficients, interval, x);
                let mut e = Float::with_val(prec, 1) - Float::with_val(prec, &argument * &y);
                for _ in 0..*steps {
                    match (iteration, is_reciprocal) {
                        (Iteration::Goldschmidt, _) => {
                            y *= Float::with_val(prec, &e + 1u32);
                            e.square_mut();
                        }
                        (Iteration::Newton, true) => y *= 2u32 - Float::with_val(prec, &argument * &y),
                        (Iteration::Newton, false) => {
                            let square = Float::with_val(prec, y.square_ref());
                            y *= (3u32 - square * &argument) / 2u32;
                        }
                    }
                }
                y
            }
        }
    }
}

/// A Chebyshev series at `x` by Clenshaw's recurrence.
fn clenshaw(coefficients: &[f64], [a, b]: [f64; 2], x: &Float) -> Float {
    let prec = x.prec();
    let [a, b] = [a, b].map(|end| Float::with_val(prec, end));
    let u = (Float::with_val(prec, x * 2u32) - &a - &b) / Float::with_val(prec, &b - &a);
    let (mut next, mut after) = (Float::new(prec), Float::new(prec));
    for &c in coefficients.iter().skip(1).rev() {
        let value = Float::with_val(prec, &u * &next) * 2u32 - &after + c;
        after = std::mem::replace(&mut next, value);
    }
    u * next - after + coefficients[0]
}

/// A start polynomial with its weighted error, by degree and by the number of steps when its weight depends on them.
type Starts = BTreeMap<(u32, usize), (Vec<f64>, f64)>;

struct Search {
    target: Target,
    shift: f64,
    domain: Domain,
    kind: ErrorKind,
    error: f64,
    starts: Starts,
}

impl Search {
    /// The cheapest sufficient composition of exactly this depth.
    fn at_depth(&mut self, depth: usize) -> Result<Option<Composite>, ReferenceError> {
        let mut found = self.goldschmidt(depth)?;
        let is_reciprocal = matches!(self.target, Target::Reciprocal { .. });
        for steps in 0..=depth as u32 {
            let newton = (Iteration::Newton, 2 * steps as usize);
            // From one step, Newton and Goldschmidt cost the same; Newton steps correct rounding errors.
            let goldschmidt = (Iteration::Goldschmidt, steps as usize + 1);
            let kinds = if is_reciprocal && steps > 1 { vec![newton, goldschmidt] } else { vec![newton] };
            for (iteration, levels) in kinds {
                let Some(left) = depth.checked_sub(levels) else { continue };
                self.refined(left, iteration, steps, &mut found)?;
            }
            // From a constant the first step is linear.
            if steps > 0 && depth + 1 == 2 * steps as usize {
                let start = vec![self.constant()];
                self.consider(start, Iteration::Newton, steps, &mut found)?;
            }
        }
        Ok(found)
    }

    fn ends(&self) -> [f64; 2] {
        self.domain.hull().map(|end| end + self.shift)
    }

    fn goldschmidt(&self, depth: usize) -> Result<Option<Composite>, ReferenceError> {
        let [lo, hi] = self.ends();
        let steps = depth.saturating_sub(usize::from(lo + hi > 2.0));
        if !matches!(self.target, Target::Reciprocal { .. }) || self.kind == ErrorKind::Absolute || steps == 0 {
            return Ok(None);
        }
        for relaxation in [Relaxation::FirstStep, Relaxation::EveryStep] {
            let schedule = Goldschmidt::new([lo, hi], steps, relaxation)?;
            let certificate = schedule.certify(self.domain.hull(), self.shift)?;
            if certificate.sup_error <= self.error {
                let products = schedule.products();
                return Ok(Some(Composite { form: Form::Goldschmidt(schedule), depth, products, certificate }));
            }
        }
        Ok(None)
    }

    /// Considers polynomials that consume exactly `levels` levels, followed by `steps` steps.
    fn refined(
        &mut self,
        levels: usize,
        iteration: Iteration,
        steps: u32,
        found: &mut Option<Composite>,
    ) -> Result<(), ReferenceError> {
        let closed = usize::from(!self.has_closed_form());
        // A constant with steps is cheaper than a polynomial of degree 0: it is considered on its own.
        if levels > MAX_POLYNOMIAL_DEPTH[closed] || (levels == 0 && steps > 0) {
            return Ok(());
        }
        let (mut low, most) = ((1 << levels) / 2, (1 << levels) - 1);
        if self.predicted(steps, most)? > self.error {
            return Ok(());
        }
        let mut high = most;
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.predicted(steps, middle)? <= self.error { high = middle } else { low = middle + 1 }
        }
        for least in low..=most.min(low + SPARE_DEGREES) {
            let cheapest = (least..=most).min_by_key(|n| polynomial_products(*n)).unwrap_or(least);
            let (start, _) = self.start(steps, cheapest)?;
            if self.consider(start, iteration, steps, found)? {
                break;
            }
        }
        Ok(())
    }

    /// Certifies a start with steps and keeps it if it suffices and is cheaper; tells whether it suffices.
    fn consider(
        &self,
        coefficients: Vec<f64>,
        iteration: Iteration,
        steps: u32,
        found: &mut Option<Composite>,
    ) -> Result<bool, ReferenceError> {
        let (depth, products) = self.cost(coefficients.len() - 1, iteration, steps);
        if found.as_ref().is_some_and(|best| best.products <= products) {
            return Ok(true);
        }
        // In exact arithmetic Goldschmidt steps from a polynomial give the value of as many Newton steps.
        let refinement = if steps == 0 { Refinement::None } else { Refinement::Newton { iterations: steps } };
        let certificate = certify_on(&self.target, &self.domain, self.kind, &coefficients, refinement)?;
        let suffices = certificate.sup_error <= self.error;
        if suffices {
            let form = Form::Refined { coefficients, iteration, steps };
            *found = Some(Composite { form, depth, products, certificate });
        }
        Ok(suffices)
    }

    /// Levels and products of a polynomial with steps.
    fn cost(&self, degree: usize, iteration: Iteration, steps: u32) -> (usize, usize) {
        let steps = steps as usize;
        let per_step = if matches!(self.target, Target::Reciprocal { .. }) { 2 } else { 3 };
        let (depth, products) = (polynomial_depth(degree), polynomial_products(degree));
        match iteration {
            _ if steps == 0 => (depth, products),
            Iteration::Newton if degree == 0 => (2 * steps - 1, per_step * (steps - 1)),
            Iteration::Newton => (depth + 2 * steps, products + per_step * steps),
            Iteration::Goldschmidt => (depth + steps + 1, products + 2 * steps),
        }
    }

    /// The constant from which the first Newton step leaves equal relative errors at both ends.
    fn constant(&self) -> f64 {
        let [lo, hi] = self.ends();
        match self.target {
            Target::Reciprocal { .. } => 2.0 / (lo + hi),
            _ => (3.0 / (lo + (lo * hi).sqrt() + hi)).sqrt(),
        }
    }

    fn has_closed_form(&self) -> bool {
        matches!(self.target, Target::Reciprocal { .. }) && self.kind == ErrorKind::Relative
    }

    /// What the error will be after `steps` steps from the best start of this degree, before rounding.
    ///
    /// With the relative error e, a reciprocal's step gives `e^2`, an inverse square root's at most `e^2 (3 + e) / 2`. For an
    /// absolute error the start's weight is such that the same power of its weighted error bounds the result.
    fn predicted(&mut self, steps: u32, degree: usize) -> Result<f64, ReferenceError> {
        let (_, mut error) = self.start(steps, degree)?;
        if steps > 0 && error >= 0.7 {
            return Ok(f64::INFINITY);
        }
        for _ in 0..steps {
            error *= error;
            if matches!(self.target, Target::InverseSqrt { .. }) {
                error *= 1.5 + if self.kind == ErrorKind::Relative { error.sqrt() / 2.0 } else { 0.0 };
            }
        }
        Ok(error)
    }

    /// The best start of this degree and its weighted error.
    ///
    /// After m steps a relative error e has become about `e^(2^m)`; divided by the function's value `f^-1` it is level if
    /// `|e| f^(2^-m)` is. So the weight is `1/f` for a relative and `f^(2^-m - 1)` for an absolute error.
    fn start(&mut self, steps: u32, degree: usize) -> Result<(Vec<f64>, f64), ReferenceError> {
        let weighting = if self.kind == ErrorKind::Relative { 0 } else { steps };
        if let Some(start) = self.starts.get(&(weighting, degree)) {
            return Ok(start.clone());
        }
        let round = |coefficients: &[Float]| coefficients.iter().map(Float::to_f64).collect::<Vec<f64>>();
        let start = if self.has_closed_form() {
            let [lo, hi] = self.ends();
            // T_(n+1) at the pole, (lo + hi) / (hi - lo) away from the centre.
            let pole = (lo + hi) / (hi - lo);
            let error = 1.0 / ((degree + 1) as f64 * pole.acosh()).cosh();
            (round(&best_reciprocal(self.domain.hull(), self.shift, degree)), error)
        } else {
            let exponent = if self.kind == ErrorKind::Relative { 1.0 } else { 1.0 - 0.5f64.powi(steps as i32) };
            let target = self.target;
            let weight = |x: &Float| target.value(x).pow(Float::with_val(PREC, -exponent));
            let best = minimax(&|x| target.value(x), &weight, &self.domain, degree, PREC)?;
            (round(&best.coefficients), best.error)
        };
        self.starts.insert((weighting, degree), start.clone());
        Ok(start)
    }
}
