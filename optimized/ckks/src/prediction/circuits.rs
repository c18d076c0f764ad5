//! Predictions of linear maps, polynomials and bootstrapping.

use super::predictor::{check_degree, labelled};
use super::{MapNorms, Prediction, Predictor};
use crate::CkksError;
use crate::circuits::bootstrap::Bootstrapper;
use crate::circuits::polynomial::{Plan, Polynomial};
use crate::ckks::noise::{self, StepError, scale_label};
use num_complex::Complex64;
use std::f64::consts::SQRT_2;

impl Predictor {
    /// A linear map before its rescale (`r[noise.linear.map]`).
    ///
    /// # Errors
    /// [`CkksError::Degree`] unless the degree is 1.
    pub fn linear_map_unscaled(&self, a: &Prediction, map: &MapNorms) -> Result<Prediction, CkksError> {
        check_degree("Predictor::linear_map", a, 1)?;
        let (model, scale) = (&self.model, a.scale * map.scale);
        let key = model.key_product(a.level);
        let giants = map.giant_steps as f64;
        let rounded = giants * (model.rounding_of(1) - model.rounding_of(0)) + model.rounding_of(1);
        let fresh = noise::root_sum_square([
            a.magnitude * (map.diagonals as f64).sqrt() * self.encoding(map.scale, map.largest),
            map.moved_square.sqrt() * model.slot_std(key, a.scale),
            model.slot_std(giants * key + rounded, scale),
        ]);
        let image = Prediction {
            scale,
            magnitude: map.row_sum * a.magnitude,
            deviation: map.row_square.sqrt() * a.deviation,
            bound: map.row_sum * a.bound,
            ..*a
        };
        Ok(labelled(self.fresh(image, fresh)))
    }

    /// A linear map, rescaled (`r[noise.linear.map]`, `r[noise.rescale]`): one level lower, with the label `target` if there is one
    /// ([`PreparedMap::apply`](crate::circuits::linear::PreparedMap::apply)).
    ///
    /// # Errors
    /// [`CkksError::Degree`] unless the degree is 1; [`CkksError::LevelExhausted`] at level 0.
    pub fn linear_map(&self, a: &Prediction, map: &MapNorms, target: Option<f64>) -> Result<Prediction, CkksError> {
        let result = self.rescale(&self.linear_map_unscaled(a, map)?)?;
        Ok(Prediction { scale: target.unwrap_or(result.scale), ..result })
    }

    /// A sum of `count` slots at distance `stride` (`r[noise.inner-sum]`, [`inner_sum`](crate::circuits::linear::inner_sum)).
    ///
    /// # Errors
    /// [`CkksError::Argument`] for `count = 0`; [`CkksError::Degree`] unless the degree is 1.
    pub fn inner_sum(&self, a: &Prediction, count: usize, stride: i64) -> Result<Prediction, CkksError> {
        let operation = "Predictor::inner_sum";
        if count == 0 {
            return Err(CkksError::Argument { operation, expected: "at least one summand", got: "0".to_owned() });
        }
        let (mut block, mut size) = (*a, 1);
        let (mut sum, mut done) = (None, 0);
        loop {
            if count & size != 0 {
                let part = self.rotate(&block, stride.wrapping_mul(done as i64))?;
                sum = Some(sum.map_or(Ok(part), |sum| self.add(&sum, &part))?);
                done += size;
            }
            if done == count {
                return Ok(sum.unwrap_or(block));
            }
            block = self.add(&block, &self.rotate(&block, stride.wrapping_mul(size as i64))?)?;
            size *= 2;
        }
    }

    /// The map of `[lo, hi]` to `[-1, 1]` (`r[circuit.normalise]`), for slots that lie in `[lo, hi]`.
    ///
    /// # Errors
    /// [`CkksError::LevelExhausted`] at level 0.
    pub fn normalise(&self, a: &Prediction, lo: f64, hi: f64) -> Result<Prediction, CkksError> {
        let scale = self.parameters().canonical_scale(a.level);
        let scaled = self.rescale(&self.mul_const(a, real(2.0 / (hi - lo)), scale * scale))?;
        Ok(self.add_const(&scaled, real(-(lo + hi) / (hi - lo))).with_magnitude(1.0))
    }

    /// A polynomial of real slots in `[-1, 1]` ([`evaluate`](crate::circuits::polynomial::evaluate)). The input's deviation grows by the largest
    /// slope (`r[noise.polynomial]`), the evaluation's own by its plan; the bound follows the plan step by step (`r[noise.mul]`).
    ///
    /// # Errors
    /// [`CkksError::Degree`] unless the degree is 1; [`CkksError::LevelExhausted`]; [`CkksError::Scale`] for a scale that is not
    /// canonical; [`CkksError::Argument`] for a magnitude above 1.
    pub fn polynomial(&self, a: &Prediction, polynomial: &Polynomial) -> Result<Prediction, CkksError> {
        let operation = "Predictor::polynomial";
        let plan = Plan::new(polynomial);
        self.check_input(operation, a, plan.depth())?;
        if a.magnitude > 1.0 {
            let got = format!("slots up to {:e}", a.magnitude);
            return Err(CkksError::Argument { operation, expected: "slots of absolute value at most 1", got });
        }
        let exhausted = CkksError::LevelExhausted { operation, expected: plan.depth(), got: a.level };
        let level = self.parameters().below(a.level, plan.depth()).ok_or(exhausted)?;
        let magnitude = polynomial.largest();
        if plan.root().is_none() {
            let zero = Prediction { magnitude: 0.0, deviation: 0.0, bound: 0.0, failure: 0.0, ..*a };
            return Ok(self.add_const(&zero, real(plan.constant())));
        }
        let rescale = self.model.step_deviation(a.level, level);
        let own = plan.deviation(|_| rescale);
        let step = self.model.step_error(a.level, level, self.factor());
        let coefficients: f64 = polynomial.coefficients().iter().map(|c| c.abs()).sum();
        let labels = scale_label(2) * coefficients.max(1.0);
        // A power and a product each take at most two moves to a lower level and one rescale.
        let rescales = 3 * plan.multiplications() + 1;
        Ok(Prediction {
            level,
            scale: self.parameters().canonical_scale(level),
            magnitude,
            deviation: (polynomial.derivative().largest() * a.deviation).hypot(own),
            bound: plan.error_bound(a.bound, StepError { rescale: step.rescale + labels, ..step }),
            failure: a.failure + self.failure_of(rescales),
            ..*a
        })
    }

    /// A bootstrap (`r[boot.noise]`, `r[boot.approximation]`) of slots with parts in `[-1, 1]`
    /// ([`Bootstrapper::bootstrap`]). Errors of the approximation are in the bound only.
    ///
    /// # Errors
    /// [`CkksError::Degree`] unless the degree is 1; [`CkksError::Level`] below the input level; [`CkksError::Scale`] at it for a
    /// scale that is not canonical; [`CkksError::Argument`] for a magnitude above `sqrt 2`, or a parameter set without
    /// bootstrapping.
    pub fn bootstrap(&self, a: &Prediction, bootstrapper: &Bootstrapper) -> Result<Prediction, CkksError> {
        let operation = "Predictor::bootstrap";
        let Some(boot) = self.parameters().bootstrap() else {
            let expected = "a parameter set with bootstrapping";
            return Err(CkksError::Argument { operation, expected, got: "one without".to_owned() });
        };
        let (from, to) = (bootstrapper.input_level(), boot.output_level);
        if a.level < from {
            return Err(CkksError::Level { operation, expected: from, got: a.level });
        }
        let input = self.to_level(a, from)?;
        self.check_input(operation, &input, 0)?;
        if a.magnitude > SQRT_2 {
            let got = format!("slots up to {:e}", a.magnitude);
            return Err(CkksError::Argument { operation, expected: "slots with parts in [-1, 1]", got });
        }
        let error = bootstrapper.predicted_error();
        let output = self.fresh(input, error.deviation);
        let bound = output.bound + SQRT_2 * error.approximation;
        let failure = output.failure + error.failure;
        Ok(Prediction { level: to, scale: self.parameters().canonical_scale(to), bound, failure, ..output })
    }

    /// Degree 1, enough levels, canonical scale.
    fn check_input(&self, operation: &'static str, a: &Prediction, depth: usize) -> Result<(), CkksError> {
        check_degree(operation, a, 1)?;
        if self.parameters().below(a.level, depth).is_none() {
            return Err(CkksError::LevelExhausted { operation, expected: depth, got: a.level });
        }
        let expected = self.parameters().canonical_scale(a.level);
        if a.scale != expected {
            return Err(CkksError::Scale { operation, expected, got: a.scale });
        }
        Ok(())
    }
}

fn real(x: f64) -> Complex64 {
    Complex64::new(x, 0.0)
}
