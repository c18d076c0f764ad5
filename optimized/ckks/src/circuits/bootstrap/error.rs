//! Predicted error of a bootstrap (`r[boot.noise]`, `r[boot.approximation]`).

use super::Bootstrapper;
use super::eval_mod::EvalMod;
use crate::ckks::ephemeral::section;
use crate::ckks::noise::NoiseModel;
use crate::ckks::params::wrap_failure;
use crate::{CkksError, Parameters};
use std::f64::consts::PI;
use touchstone_spec::params::BootstrapLiteral;

/// Intervals into which half the range of the sine is cut to find the largest error of the output polynomial.
const ARCSINE_GRID: usize = 4096;

/// What a bootstrap adds to the real or imaginary part of a slot, in units of the message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BootstrapError {
    /// Standard deviation of the noise; as for every slot error, a Laplace law bounds its tail (`r[noise.bound.slot]`).
    pub deviation: f64,
    /// Bound on the errors of the approximations.
    pub approximation: f64,
    /// Bound on the probability that any slot is wrong by more, over random ciphertexts (`r[boot.modraise.range]`).
    pub failure: f64,
}

impl BootstrapError {
    /// The error that a bootstrap with these parameters adds to slots with parts in `[-1, 1]`.
    ///
    /// # Errors
    /// [`CkksError::Argument`] for a parameter set without bootstrapping.
    pub fn of(parameters: &Parameters) -> Result<Self, CkksError> {
        let boot = section(parameters, "BootstrapError::of")?;
        let model = NoiseModel::new(parameters);
        let eval_mod = EvalMod::new(boot, parameters.canonical_scale(boot.output_level))?;
        let chain = Chain { parameters, boot, model: &model };
        let variance = [chain.maps(), chain.switch(), chain.sine(&eval_mod)];
        let output = model.slot_std(model.rounding(), eval_mod.label);
        Ok(Self {
            deviation: (variance.iter().sum::<f64>() + output * output).sqrt(),
            approximation: cosine_error(boot) + arcsine_error(boot),
            failure: wrap_failure(parameters.n(), boot),
        })
    }

    /// Bound on the errors of the approximations for one real number `z` in `[-1, 1]`: far less than
    /// [`BootstrapError::approximation`] for small ones.
    ///
    /// # Errors
    /// [`CkksError::Argument`] for a parameter set without bootstrapping.
    pub fn approximation_at(parameters: &Parameters, z: f64) -> Result<f64, CkksError> {
        let boot = section(parameters, "BootstrapError::approximation_at")?;
        Ok(cosine_error(boot) + arcsine_difference(boot, (2.0 * PI * z / message_unit(boot)).sin()))
    }
}

impl Bootstrapper {
    /// The error that [`Bootstrapper::bootstrap`] adds to slots with parts in `[-1, 1]`.
    #[must_use]
    pub fn predicted_error(&self) -> BootstrapError {
        // A bootstrapper exists only for sets with the section.
        let none = BootstrapError { deviation: 0.0, approximation: 0.0, failure: 0.0 };
        BootstrapError::of(self.context.parameters()).unwrap_or(none)
    }
}

/// What the variances are computed from.
struct Chain<'a> {
    parameters: &'a Parameters,
    boot: &'a BootstrapLiteral,
    model: &'a NoiseModel,
}

impl Chain<'_> {
    /// Variance from the rescales of both maps.
    fn maps(&self) -> f64 {
        let (boot, model) = (self.boot, self.model);
        let rho = |label: f64| model.slot_std(model.rounding(), label);
        let mut layers = 0;
        let mut variance = 0.0;
        for factor in &boot.slots_to_coeffs {
            layers += factor.log_radix;
            variance += rho(factor.label.0).powi(2) * 0.5f64.powi(layers as i32);
        }
        let unit = f64::from(boot.range) * message_unit(boot);
        layers = 0;
        for factor in boot.coeffs_to_slots.iter().rev() {
            variance += (rho(factor.label.0) * unit).powi(2) * 0.5f64.powi(layers as i32);
            layers += factor.log_radix;
        }
        variance
    }

    /// Variance from the switch to the ephemeral secret.
    fn switch(&self) -> f64 {
        let (parameters, boot) = (self.parameters, self.boot);
        let (q0, p0) = (parameters.chain()[0] as f64, parameters.special()[0] as f64);
        let key = self.model.key_product_variance(q0 / p0);
        let rounding = (boot.ephemeral_weight as f64 + 1.0) / 12.0;
        (key + rounding) * (message_unit(boot) / q0).powi(2)
    }

    /// Variance from the cosine and the double-angle steps.
    fn sine(&self, eval_mod: &EvalMod) -> f64 {
        let (parameters, boot, model) = (self.parameters, self.boot, self.model);
        let rho = |level: usize| model.slot_std(model.rounding(), parameters.canonical_scale(level));
        let top = parameters.max_level() - boot.coeffs_to_slots.len();
        // Parameter sets are checked to have levels for all steps.
        let at = |steps: usize| parameters.below(top, steps).unwrap_or(0);
        let bottom = at(eval_mod.cosine.depth());
        let cosine = eval_mod.cosine.deviation(|steps| rho(at(steps))) * gain(boot.double_angles);
        let step = |done: u32| rho(bottom - done as usize) * gain(boot.double_angles - done);
        let steps = (1..=boot.double_angles).map(|done| step(done).powi(2));
        (steps.sum::<f64>() + cosine * cosine) * sine_unit(boot).powi(2)
    }
}

/// What the error of the cosine polynomial becomes in the message.
fn cosine_error(boot: &BootstrapLiteral) -> f64 {
    boot.cosine_error.0 * gain(boot.double_angles) * sine_unit(boot)
}

/// `2^ratio`: what a unit of `t` is in the message.
fn message_unit(boot: &BootstrapLiteral) -> f64 {
    f64::from(boot.message_ratio).exp2()
}

/// `2^ratio / (2 pi)`: what a unit of the sine is in the message.
fn sine_unit(boot: &BootstrapLiteral) -> f64 {
    message_unit(boot) / (2.0 * PI)
}

/// The factor by which the last `steps` double-angle steps enlarge an error, at most.
fn gain(steps: u32) -> f64 {
    (1..=steps).map(|i| 4.0 * (PI / f64::from(i + 1).exp2()).cos()).product()
}

/// The largest difference between the output polynomial and the arcsine it stands for.
fn arcsine_error(boot: &BootstrapLiteral) -> f64 {
    let end = (2.0 * PI / message_unit(boot)).sin();
    let error = |k: usize| arcsine_difference(boot, end * k as f64 / ARCSINE_GRID as f64);
    (0..=ARCSINE_GRID).map(error).fold(0.0, f64::max)
}

/// The difference between the output polynomial and the arcsine at a sine `s`.
fn arcsine_difference(boot: &BootstrapLiteral, s: f64) -> f64 {
    let value = boot.output.iter().rev().fold(0.0, |value, c| value * s * s + c.0) * s;
    (value - sine_unit(boot) * s.asin()).abs()
}
