//! The choice of degrees.

use super::calibration::{Calibration, interval};
use super::compare::{Agreement, compare};
use super::network::Network;
use super::prompts::Prompts;
use crate::approx::replacement;
use crate::error::ReferenceError;
use rayon::prelude::*;
use touchstone_spec::artifact::{Function, POLYNOMIALS_FORMAT, Polynomials, Site};

/// Degrees of inverse square roots and the certified relative error that is aimed at: the first that holds is taken, so
/// that an error above 2^-16 is admitted only where it saves the level that degree 127 costs.
const INVERSE_SQRT_CHOICES: [(usize, f64); 5] =
    [(15, 1.0 / 65536.0), (31, 1.0 / 65536.0), (63, 1.0 / 65536.0), (63, 1.0 / 4096.0), (127, 1.0 / 4096.0)];
/// Degrees of the pooler's tanh and the certified absolute error that is aimed at.
const TANH_CHOICES: [(usize, f64); 4] =
    [(15, 1.0 / 65536.0), (31, 1.0 / 65536.0), (63, 1.0 / 65536.0), (127, 1.0 / 4096.0)];
/// Degrees of GELU and of the reciprocal, tried in this order until the logits are close enough.
const ACTIVATION_DEGREES: [[usize; 2]; 5] = [[15, 127], [31, 127], [31, 255], [63, 255], [63, 511]];

/// What a choice of degrees must achieve, and with what.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Targets {
    /// Largest admitted difference of a logit on held-out prompts.
    pub logits: f64,
    /// Largest degree of an inverse square root.
    pub inverse_sqrt: usize,
    /// Largest degree of a reciprocal.
    pub reciprocal: usize,
    /// Largest degree of GELU.
    pub activation: usize,
}

impl Default for Targets {
    fn default() -> Self {
        Self { logits: 0.02, inverse_sqrt: 127, reciprocal: 511, activation: 63 }
    }
}

/// Certifies one replacement per site with the largest degrees of `targets` (tanh: the smallest that is accurate), whatever
/// the logits; also compares the result with the exact functions on each set of held-out prompts.
///
/// # Errors
/// As [`replacement`]; [`ReferenceError::BadOperand`] when a site was not observed.
pub fn replace_at(
    model: &dyn Network,
    calibration: &Calibration,
    held_out: &[Prompts],
    targets: &Targets,
) -> Result<(Polynomials, Vec<Agreement>), ReferenceError> {
    replaced(model, calibration, held_out, &|entry| match entry.function {
        Function::Gelu => entry.fitted(targets.activation),
        Function::Reciprocal { .. } => entry.fitted(targets.reciprocal),
        Function::InverseSqrt { .. } => entry.fitted(targets.inverse_sqrt),
        Function::Tanh => entry.first(&TANH_CHOICES, TANH_CHOICES[3].0),
    })
}

/// Chooses degrees and certifies one replacement per site; also compares the result with the exact functions on each
/// set of held-out prompts. On the first set, natural text, no prompt may escape; escapes on the others are only counted.
///
/// # Errors
/// As [`replacement`]; [`ReferenceError::BadOperand`] when no admitted degree meets the targets or a site was not
/// observed.
pub fn replace(
    model: &dyn Network,
    calibration: &Calibration,
    held_out: &[Prompts],
    targets: &Targets,
) -> Result<(Polynomials, Vec<Agreement>), ReferenceError> {
    let admitted = |[gelu, reciprocal]: &[usize; 2]| *gelu <= targets.activation && *reciprocal <= targets.reciprocal;
    let mut best = None;
    for [gelu, reciprocal] in ACTIVATION_DEGREES.into_iter().filter(admitted) {
        let (polynomials, agreements) = replaced(model, calibration, held_out, &|entry| match entry.function {
            Function::Gelu => entry.fitted(gelu),
            Function::Reciprocal { .. } => entry.fitted(reciprocal),
            Function::InverseSqrt { .. } => entry.first(&INVERSE_SQRT_CHOICES, targets.inverse_sqrt),
            Function::Tanh => entry.first(&TANH_CHOICES, TANH_CHOICES[3].0),
        })?;
        let close = agreements.iter().all(|one| one.max_difference <= targets.logits);
        if close && agreements.first().is_none_or(|natural| natural.escapes == 0) {
            return Ok((polynomials, agreements));
        }
        best = Some(agreements);
    }
    Err(ReferenceError::BadOperand {
        operation: "choice of degrees",
        expected: format!("logits within {} of the exact model, no escape on natural prompts", targets.logits),
        got: format!("{best:?} at the highest admitted degrees"),
    })
}

/// The artifact with the sites that `fit` gives, and how far it is from the exact model.
fn replaced(
    model: &dyn Network,
    calibration: &Calibration,
    held_out: &[Prompts],
    fit: &(dyn Fn(&Entry) -> Result<Site, ReferenceError> + Sync),
) -> Result<(Polynomials, Vec<Agreement>), ReferenceError> {
    let sites = model.sites().into_par_iter().map(|(name, function)| fit(&Entry { name, function, calibration }));
    let polynomials = Polynomials {
        format: POLYNOMIALS_FORMAT.to_owned(),
        calibration: calibration.description.clone(),
        sites: sites.collect::<Result<Vec<Site>, _>>()?,
        streams: calibration.streams(model.layers())?,
    };
    let agreements = held_out.iter().map(|prompts| compare(model, prompts, &polynomials));
    let agreements = agreements.collect::<Result<Vec<Agreement>, _>>()?;
    Ok((polynomials, agreements))
}

/// A site to be replaced.
struct Entry<'a> {
    name: String,
    function: Function,
    calibration: &'a Calibration,
}

impl Entry<'_> {
    /// The best polynomial of a degree.
    fn fitted(&self, degree: usize) -> Result<Site, ReferenceError> {
        let observed = self.calibration.observed(&self.name)?;
        let ceiling = self.calibration.ceilings.get(&self.name).copied();
        let certified = interval(&self.function, observed, self.calibration.margin, ceiling);
        replacement(&self.name, self.function, observed, certified, degree)
    }

    /// The first choice of degree, at most `largest`, whose certified error is within its target.
    fn first(&self, choices: &[(usize, f64)], largest: usize) -> Result<Site, ReferenceError> {
        for &(degree, target) in choices.iter().filter(|choice| choice.0 <= largest) {
            let site = self.fitted(degree)?;
            if site.sup_error.0 <= target {
                return Ok(site);
            }
        }
        Err(ReferenceError::BadOperand {
            operation: "choice of degrees",
            expected: format!("an error within the target at degree {largest} or below"),
            got: format!("{} on {:?}", self.name, self.calibration.observed(&self.name)?),
        })
    }
}
