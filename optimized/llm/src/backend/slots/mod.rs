//! Predicted noise: the circuit on plain slots, with an estimate of each slot's error (rung R3p).
//!
//! The estimate is a root-sum-square standard deviation (`r[noise.rss]`). It uses the values of the slots at hand, so it
//! holds for this input, not for all inputs. With taps cut, it is the error made since the last tap, from which
//! [`crate::bounds`] composes bounds.
//!
//! Operations, levels and scales are those of the engine, step for step; only the integers are left out.

mod observe;
mod polynomial;
mod slot;
mod taylor;

pub use observe::{Prediction, Predictions};
pub use slot::SlotCt;
pub(crate) use taylor::Growth;

use super::{
    Backend, Diagonals, Packing, Refresh, bootstrap_levels, no_products, require_equal_levels, require_level,
    require_terms,
};
use crate::error::{LlmError, Result};
use num_complex::Complex64;
use std::cell::Cell;
use touchstone_ckks::Parameters;
use touchstone_ckks::circuits::bootstrap::{BootstrapError, SparseBootstrapError};
use touchstone_ckks::ckks::noise::{self, NoiseModel};

/// The backend that predicts values and errors.
#[derive(Debug)]
pub struct Predicted {
    parameters: Parameters,
    noise: NoiseModel,
    /// Whether taps drop the error that they have seen.
    cut: bool,
    stage: Cell<&'static str>,
    /// Largest part of a slot that was bootstrapped.
    largest: Cell<f64>,
}

impl Predicted {
    /// The backend for a parameter set.
    #[must_use]
    pub fn new(parameters: &Parameters) -> Self {
        let noise = NoiseModel::new(parameters);
        Self { parameters: parameters.clone(), noise, cut: false, stage: Cell::new("input"), largest: Cell::new(0.0) }
    }

    /// The backend whose ciphertexts lose their error at every tap, so that a tap sees the error made since the last one.
    #[must_use]
    pub fn cut_at_taps(parameters: &Parameters) -> Self {
        Self { cut: true, ..Self::new(parameters) }
    }

    /// Largest real or imaginary part of a slot that was bootstrapped so far; above 1 it leaves the range of `r[boot.input]`.
    #[must_use]
    pub fn largest_bootstrapped(&self) -> f64 {
        self.largest.get()
    }

    /// What encryption under the public key makes of `values` at `level`.
    ///
    /// # Errors
    /// [`LlmError::Operand`] for a vector of wrong length.
    pub fn encrypt(&self, values: Vec<Complex64>, level: usize) -> Result<SlotCt> {
        self.check_length("encrypt", &values)?;
        let mut ct = SlotCt::exact(values, level, self.parameters.canonical_scale(level));
        self.add_fresh(&mut ct, noise::encode());
        self.add_fresh(&mut ct, self.noise.fresh_public());
        Ok(ct)
    }

    /// `D_l^2`, the scale of products at a level.
    fn product_scale(&self, level: usize) -> f64 {
        let scale = self.parameters.canonical_scale(level);
        scale * scale
    }

    /// Adds an independent error of a coefficient variance.
    fn add_fresh(&self, ct: &mut SlotCt, coefficient_variance: f64) {
        let deviation = self.noise.slot_std(coefficient_variance, ct.scale);
        ct.variance.iter_mut().for_each(|v| *v += deviation * deviation);
    }

    fn check_length(&self, operation: &str, values: &[Complex64]) -> Result<()> {
        if values.len() == self.slots() {
            return Ok(());
        }
        let (expected, got) = (format!("{} slots", self.slots()), values.len().to_string());
        Err(LlmError::Operand { operation: operation.to_owned(), expected, got })
    }

    /// `c * ct` towards scale `target` (`r[ckks.scalar.mul]`, `r[noise.scalar.mul]`).
    fn times_const(&self, ct: &SlotCt, c: f64, target: f64) -> SlotCt {
        let mut out = SlotCt::exact(vec![Complex64::ZERO; ct.values.len()], ct.level, target);
        out.add_scaled(ct, c, ct.scale / target);
        out
    }

    /// Adds a constant to every slot; rounding is at most half a unit in one coefficient.
    fn plus_const(&self, ct: &SlotCt, c: f64) -> SlotCt {
        let mut out = ct.clone();
        let unit = 1.0 / ct.scale;
        out.values.iter_mut().for_each(|z| *z += c);
        out.variance.iter_mut().for_each(|v| *v += unit * unit / 12.0);
        out
    }

    fn dropped(ct: &SlotCt, level: usize) -> SlotCt {
        SlotCt { level, ..ct.clone() }
    }

    fn switched(&self, mut ct: SlotCt) -> SlotCt {
        let variance = self.noise.key_switch(ct.level);
        self.add_fresh(&mut ct, variance);
        ct
    }

    /// Rescale by the prime of the level; the labels of product and rescale are rounded (`r[noise.scale-label]`).
    fn rescaled(&self, mut ct: SlotCt) -> SlotCt {
        ct.scale /= self.parameters.chain()[ct.level] as f64;
        ct.level -= 1;
        self.add_fresh(&mut ct, self.noise.rounding());
        ct
    }

    fn turned(&self, ct: &SlotCt, steps: i64) -> SlotCt {
        let steps = steps.rem_euclid(self.slots() as i64) as usize;
        if steps == 0 { ct.clone() } else { self.switched(ct.rotated(steps)) }
    }

    /// `sum_b diagonals(b) * babies[b]`, not rescaled.
    fn inner_sum(&self, babies: &[SlotCt], giant: usize, diagonals: &Diagonals<'_>) -> Option<SlotCt> {
        let first = babies.first()?;
        let (scale, encode) = (first.scale, self.noise.slot_std(noise::encode(), first.scale));
        let mut sum = SlotCt::exact(vec![Complex64::ZERO; self.slots()], first.level, scale * scale);
        let mut empty = true;
        for (b, baby) in babies.iter().enumerate() {
            if let Some(weights) = diagonals(giant, b) {
                sum.add_weighted(baby, &weights, encode);
                empty = false;
            }
        }
        (!empty).then_some(sum)
    }
}

impl Backend for Predicted {
    type Ct = SlotCt;
    type Sum = SlotCt;

    fn slots(&self) -> usize {
        self.parameters.slots()
    }

    fn level(&self, ct: &SlotCt) -> usize {
        ct.level
    }

    fn stage(&self, name: &'static str) {
        self.stage.set(name);
    }

    fn cut(&self, ct: &mut SlotCt) {
        if self.cut {
            ct.variance.fill(0.0);
        }
    }

    fn add(&self, a: &SlotCt, b: &SlotCt) -> Result<SlotCt> {
        require_equal_levels("add", a.level, b.level)?;
        Ok(a.combined(b, 1.0))
    }

    fn sub(&self, a: &SlotCt, b: &SlotCt) -> Result<SlotCt> {
        require_equal_levels("subtract", a.level, b.level)?;
        Ok(a.combined(b, -1.0))
    }

    fn add_const(&self, a: &SlotCt, c: f64) -> Result<SlotCt> {
        Ok(self.plus_const(a, c))
    }

    fn add_plain(&self, a: &SlotCt, values: &[Complex64]) -> Result<SlotCt> {
        self.check_length("add a plaintext", values)?;
        let mut out = a.clone();
        out.values.iter_mut().zip(values).for_each(|(z, v)| *z += v);
        self.add_fresh(&mut out, noise::encode());
        Ok(out)
    }

    fn mul_plain(&self, a: &SlotCt, values: &[Complex64]) -> Result<SlotCt> {
        require_level("plaintext product", self.stage.get(), 1, a.level)?;
        self.check_length("plaintext product", values)?;
        let encode = self.noise.slot_std(noise::encode(), a.scale);
        let mut out = SlotCt::exact(vec![Complex64::ZERO; self.slots()], a.level, a.scale * a.scale);
        out.add_weighted(a, values, encode);
        Ok(self.rescaled(out))
    }

    fn scale_to(&self, a: &SlotCt, c: f64, level: usize) -> Result<SlotCt> {
        require_level("scaling to a lower level", self.stage.get(), level + 1, a.level)?;
        let target = self.product_scale(level + 1);
        Ok(self.rescaled(self.times_const(&Self::dropped(a, level + 1), c, target)))
    }

    fn weighted_sum(&self, terms: &[(&SlotCt, f64)], level: usize) -> Result<SlotCt> {
        require_terms(self.stage.get(), terms.iter().map(|term| term.0.level), level)?;
        let target = self.product_scale(level + 1);
        let mut out = SlotCt::exact(vec![Complex64::ZERO; self.slots()], level + 1, target);
        for (ct, c) in terms {
            out.add_scaled(ct, *c, ct.scale / target);
        }
        Ok(self.rescaled(out))
    }

    fn mul_i(&self, a: &SlotCt) -> Result<SlotCt> {
        let mut out = a.clone();
        out.values.iter_mut().for_each(|z| *z *= Complex64::I);
        Ok(out)
    }

    fn accumulate(&self, sum: &mut Option<SlotCt>, a: &SlotCt, b: &SlotCt) -> Result<()> {
        require_equal_levels("product", a.level, b.level)?;
        let product = a.product(b);
        match sum {
            Some(sum) => {
                require_equal_levels("product", sum.level, a.level)?;
                sum.add_combined(&product);
            }
            None => *sum = Some(product),
        }
        Ok(())
    }

    fn relinearise(&self, sum: Option<SlotCt>) -> Result<SlotCt> {
        let sum = sum.ok_or_else(no_products)?;
        require_level("product", self.stage.get(), 1, sum.level)?;
        Ok(self.rescaled(self.switched(sum)))
    }

    fn bootstrap(&self, a: &SlotCt, refresh: Refresh) -> Result<SlotCt> {
        let (input, output) = bootstrap_levels(&self.parameters, self.stage.get())?;
        require_level("bootstrapping", self.stage.get(), input, a.level)?;
        let mut out = SlotCt { level: output, scale: self.parameters.canonical_scale(output), ..a.clone() };
        // What a later sum meets once, and what it meets with the same sign in every summand.
        let summands = refresh.summands as f64;
        let (own, shared) = match refresh.packing {
            Packing::Complex | Packing::Real => (BootstrapError::of(&self.parameters)?.deviation, 0.0),
            Packing::Periodic(period) => {
                out.average_copies(period, summands);
                let error = SparseBootstrapError::of(&self.parameters, period, true)?;
                (error.own, error.shared)
            }
        };
        let at = |part: f64| BootstrapError::approximation_at(&self.parameters, part);
        for (z, variance) in out.values.iter_mut().zip(&mut out.variance) {
            if refresh.packing != Packing::Complex {
                z.im = 0.0;
            }
            self.largest.set(self.largest.get().max(z.re.abs()).max(z.im.abs()));
            let approximation = at(z.re)?.max(at(z.im)?);
            // (a_1 e_1 + ... + a_n e_n)^2 <= n (a_1^2 e_1^2 + ... + a_n^2 e_n^2), whatever the signs.
            *variance += own.powi(2) + summands * (shared.powi(2) + approximation.powi(2));
        }
        Ok(out)
    }

    fn rotate(&self, a: &SlotCt, steps: i64) -> Result<SlotCt> {
        Ok(self.turned(a, steps))
    }

    fn rotate_many(&self, a: &SlotCt, steps: &[i64]) -> Result<Vec<SlotCt>> {
        Ok(steps.iter().map(|&step| self.turned(a, step)).collect())
    }

    fn conjugate(&self, a: &SlotCt) -> Result<SlotCt> {
        Ok(self.switched(a.conjugated()))
    }

    fn linear(&self, babies: &[SlotCt], giants: &[i64], diagonals: &Diagonals<'_>) -> Result<SlotCt> {
        let level = babies.first().map_or(0, |baby| baby.level);
        require_level("linear map", self.stage.get(), 1, level)?;
        for baby in babies {
            require_equal_levels("linear map", level, baby.level)?;
        }
        let giant = |g: usize| self.inner_sum(babies, g, diagonals).map(|sum| self.turned(&sum, giants[g]));
        let sum = (0..giants.len()).filter_map(giant).reduce(|a, b| a.combined(&b, 1.0));
        let none = || LlmError::Operand {
            operation: "linear map".to_owned(),
            expected: "at least one diagonal".to_owned(),
            got: "none".to_owned(),
        };
        Ok(self.rescaled(sum.ok_or_else(none)?))
    }

    fn twice_real(&self, a: &SlotCt) -> Result<SlotCt> {
        let mut out = a.times_exact(2.0);
        out.values.iter_mut().for_each(|z| z.im = 0.0);
        Ok(self.switched(out))
    }

    fn chebyshev(&self, a: &SlotCt, coefficients: &[f64]) -> Result<SlotCt> {
        require_level("polynomial", self.stage.get(), super::chebyshev_depth(coefficients), a.level)?;
        polynomial::evaluate(self, a, coefficients)
    }
}
