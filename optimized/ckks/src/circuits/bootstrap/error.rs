//! Predicted error of a bootstrap (`r[boot.noise]`, `r[boot.sparse.noise]`, `r[boot.approximation]`).

use super::Bootstrapper;
use super::eval_mod::EvalMod;
use super::factors::Direction;
use super::sparse::check_period;
use crate::ckks::ephemeral::section;
use crate::ckks::noise::NoiseModel;
use crate::ckks::params::wrap_failure;
use crate::{CkksError, Parameters};
use std::f64::consts::PI;
use touchstone_spec::params::{BootstrapLiteral, MapFactor};

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
        let slots = parameters.slots();
        let variance =
            [chain.slots_to_coeffs(slots), chain.switch(), chain.coeffs_to_slots(slots), chain.sine(&eval_mod)];
        Ok(Self {
            deviation: variance.iter().sum::<f64>().sqrt(),
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

/// What a bootstrap of slots that repeat with a period adds to the real or imaginary part of a slot, in units of the message
/// (`r[boot.sparse.noise]`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SparseBootstrapError {
    /// Standard deviation of the noise that all copies of a slot share.
    pub shared: f64,
    /// Standard deviation of the noise that every copy has of its own; a mean over copies takes it back.
    pub own: f64,
    /// Bound on the errors of the approximations, which copies share.
    pub approximation: f64,
    /// Bound on the probability that any slot is wrong by more, over random ciphertexts (`r[boot.sparse.range]`).
    pub failure: f64,
}

impl SparseBootstrapError {
    /// The error that [`Bootstrapper::bootstrap_sparse_real`] adds, or [`Bootstrapper::bootstrap_sparse`] if `real` is false, to slots with
    /// parts in `[-1, 1]`. Of the input's own error the mean over copies stays.
    ///
    /// # Errors
    /// [`CkksError::Argument`] for a parameter set without bootstrapping, or unless the period is a power of two from 2 to half
    /// the slots.
    pub fn of(parameters: &Parameters, period: usize, real: bool) -> Result<Self, CkksError> {
        let operation = "SparseBootstrapError::of";
        let boot = section(parameters, operation)?;
        check_period(operation, parameters, period)?;
        let model = NoiseModel::new(parameters);
        let eval_mod = EvalMod::new(boot, parameters.canonical_scale(boot.output_level))?;
        let chain = Chain { parameters, boot, model: &model };
        let rho = |label: f64| model.slot_std(model.rounding(), label).powi(2);
        let copies = (parameters.slots() / period) as f64;
        let shared = chain.slots_to_coeffs(period) / copies + chain.switch() + chain.trace(period)?;
        let once = chain.coeffs_to_slots(period) + chain.sine(&eval_mod);
        let own = match real {
            true => once,
            false => 2.0 * once + rho(parameters.canonical_scale(boot.output_level - 1)),
        };
        let approximation = cosine_error(boot) + arcsine_error(boot);
        let failure = wrap_failure(2 * period, boot);
        Ok(Self { shared: shared.sqrt(), own: own.sqrt(), approximation, failure })
    }

    /// Standard deviation of all noise of a slot; as for every slot error, a Laplace law bounds its tail (`r[noise.bound.slot]`).
    #[must_use]
    pub fn deviation(&self) -> f64 {
        self.shared.hypot(self.own)
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
    /// Variance from the rescales of SlotsToCoeffs for slots of a period.
    fn slots_to_coeffs(&self, period: usize) -> f64 {
        let literal = &self.boot.slots_to_coeffs;
        let radices = super::radices(literal, period, Direction::SlotsToCoeffs);
        let mut layers = 0;
        let factors = radices.iter().zip(&literal[literal.len() - radices.len()..]);
        let variance = factors.map(|(radix, factor)| {
            layers += radix;
            self.rescale(factor) * 0.5f64.powi(layers as i32)
        });
        variance.sum()
    }

    /// Variance from the rescales of CoeffsToSlots for slots of a period.
    fn coeffs_to_slots(&self, period: usize) -> f64 {
        let radices = super::radices(&self.boot.coeffs_to_slots, period, Direction::CoeffsToSlots);
        let unit = f64::from(self.boot.range) * message_unit(self.boot);
        let mut layers = 0;
        let factors = radices.iter().rev().zip(self.boot.coeffs_to_slots.iter().rev());
        let variance = factors.map(|(radix, factor)| {
            let variance = self.rescale(factor) * unit * unit * 0.5f64.powi(layers as i32);
            layers += radix;
            variance
        });
        variance.sum()
    }

    /// Variance of a slot from the rescale of a factor.
    fn rescale(&self, factor: &MapFactor) -> f64 {
        self.model.slot_std(self.model.rounding(), factor.label.0).powi(2)
    }

    /// Variance from the key switches of the projection to the subring for a period.
    fn trace(&self, period: usize) -> Result<f64, CkksError> {
        let copies = (self.parameters.slots() / period) as f64;
        let switch = self.model.key_switch(super::raised_level(self.parameters, period)?);
        Ok(copies * (copies - 1.0) * switch * (message_unit(self.boot) / self.parameters.chain()[0] as f64).powi(2))
    }

    /// Variance from the switch to the ephemeral secret.
    fn switch(&self) -> f64 {
        let (parameters, boot) = (self.parameters, self.boot);
        let (q0, p0) = (parameters.chain()[0] as f64, parameters.special()[0] as f64);
        let key = self.model.key_product_variance(q0 / p0);
        let rounding = (boot.ephemeral_weight as f64 + 1.0) / 12.0;
        (key + rounding) * (message_unit(boot) / q0).powi(2)
    }

    /// Variance from the cosine, the double-angle steps and the output polynomial.
    fn sine(&self, eval_mod: &EvalMod) -> f64 {
        let (parameters, boot, model) = (self.parameters, self.boot, self.model);
        let (last, terms) = (parameters.canonical_scale(boot.output_level), boot.output.len());
        // With one output coefficient the sine ends at the output level, before its label is replaced (`r[boot.output]`).
        let scale = |level: usize| match level == boot.output_level {
            true => last * boot.output[0].0,
            false => parameters.canonical_scale(level),
        };
        let rho = |scale: f64| model.slot_std(model.rounding(), scale);
        let top = parameters.max_level() - boot.coeffs_to_slots.len();
        // Parameter sets are checked to have levels for all steps.
        let at = |steps: usize| parameters.below(top, steps).unwrap_or(0);
        let bottom = at(eval_mod.cosine.depth());
        let cosine = eval_mod.cosine.deviation(|steps| rho(scale(at(steps)))) * gain(boot.double_angles);
        let step = |done: u32| rho(scale(bottom - done as usize)) * gain(boot.double_angles - done);
        let steps = (1..=boot.double_angles).map(|done| step(done).powi(2));
        let rescaled = if terms > 1 { rho(eval_mod.label).powi(2) } else { 0.0 };
        (steps.sum::<f64>() + cosine * cosine) * sine_unit(boot).powi(2) + rescaled
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
