//! The rungs: how the graph evaluates the functions that a model replaces, and on which numbers.
//!
//! R0 and R1 are [`Exact`] and [`Replaced`] on intervals. R2, R3 and R3p are [`Replaced`] on [`Homomorphic`] numbers over
//! [`Fixed`], [`Cipher`] and [`Predicted`].

mod cipher;
mod fixed;
mod homomorphic;
mod predicted;

pub use cipher::{Cipher, Session};
pub use fixed::Fixed;
pub use homomorphic::{Homomorphic, Scheme};
pub use predicted::{Predicted, Prediction};

use crate::approx::Chebyshev;
use crate::error::ReferenceError;
use crate::interval::Interval;
use crate::model::{Real, Ring};
use rug::Float;
use rug::float::Round;
use std::collections::BTreeMap;
use touchstone_spec::artifact::{
    EncoderConfig, ErrorKind, Function, ModelConfig, Polynomials, Refinement, Site, site_names,
};
use touchstone_spec::hexfloat::HexFloat;

/// Evaluates the replaced functions of a model.
pub trait Rung<S: Ring>: Sync {
    /// Value of `function` at `x`, at the site called `site`.
    ///
    /// # Errors
    /// [`ReferenceError::Escape`] when `x` is not certain to lie in the site's interval.
    fn evaluate(&self, site: &str, function: &Function, x: &S, context: S::Context) -> Result<S, ReferenceError>;
}

/// R0: the exact functions (`r[rung.r0]`).
#[derive(Clone, Copy, Debug, Default)]
pub struct Exact;

impl<S: Real> Rung<S> for Exact {
    fn evaluate(&self, _: &str, function: &Function, x: &S, context: S::Context) -> Result<S, ReferenceError> {
        Ok(exact(function, x, context))
    }
}

/// The exact value of a function: what a replacement replaces.
pub fn exact<S: Real>(function: &Function, x: &S, context: S::Context) -> S {
    let one = S::point(1.0, context);
    let shifted = |shift: HexFloat| x.plus(&S::constant(shift.0, context));
    match *function {
        Function::InverseSqrt { shift } => one.div(&shifted(shift).sqrt()),
        Function::Reciprocal { shift } => one.div(&shifted(shift)),
        Function::Gelu => x.gelu(),
        Function::Tanh => x.tanh(),
    }
}

/// The function that the graph evaluates at a site, from the constants of the configuration.
#[must_use]
pub fn site_function(config: &ModelConfig, site: &str) -> Function {
    if site.ends_with("inverse-sqrt") {
        Function::InverseSqrt { shift: HexFloat(config.layer_norm_eps) }
    } else if site.ends_with("reciprocal") {
        Function::Reciprocal { shift: HexFloat(config.power_softmax.eps) }
    } else {
        Function::Gelu
    }
}

/// The function that an encoder evaluates at a site, from the constants of the configuration.
#[must_use]
pub fn encoder_site_function(config: &EncoderConfig, site: &str) -> Function {
    if site.ends_with("inverse-sqrt") {
        Function::InverseSqrt { shift: HexFloat(config.layer_norm_eps) }
    } else if site.ends_with("reciprocal") {
        Function::Reciprocal { shift: HexFloat(config.power_softmax.eps) }
    } else if site.ends_with("tanh") {
        Function::Tanh
    } else {
        Function::Gelu
    }
}

/// R1: the artifact's replacements (`r[rung.r0]`), for intervals and, without an error bound, for binary64.
#[derive(Clone, Debug)]
pub struct Replaced {
    sites: BTreeMap<String, Replacement>,
}

/// One replacement in the form in which it is evaluated.
#[derive(Clone, Debug)]
pub struct Replacement {
    name: String,
    function: Function,
    series: Chebyshev,
    refinement: Refinement,
    sup_error: f64,
    error_kind: ErrorKind,
}

impl Replacement {
    /// Checks an artifact's entry and prepares its evaluation.
    ///
    /// # Errors
    /// [`ReferenceError::BadOperand`] for an entry that defines no replacement: Newton steps for GELU or tanh, or a negative
    /// error.
    pub fn new(site: &Site) -> Result<Self, ReferenceError> {
        let iterative = matches!(site.function, Function::InverseSqrt { .. } | Function::Reciprocal { .. });
        if (!iterative && site.refinement != Refinement::None) || site.sup_error.0 < 0.0 {
            return Err(ReferenceError::BadOperand {
                operation: "replacement",
                expected: "a refinement that the function has and an error >= 0".to_owned(),
                got: format!("{}: {:?}, error {}", site.site, site.refinement, site.sup_error),
            });
        }
        Ok(Self {
            name: site.site.clone(),
            function: site.function,
            series: Chebyshev::new(site.interval.map(|x| x.0), site.coefficients.iter().map(|c| c.0).collect())?,
            refinement: site.refinement,
            sup_error: site.sup_error.0,
            error_kind: site.error_kind,
        })
    }

    /// The function that is replaced.
    #[must_use]
    pub fn function(&self) -> Function {
        self.function
    }

    /// Value of the polynomial and its refinement (`r[approx.refinement]`).
    ///
    /// # Errors
    /// [`ReferenceError::Escape`] when `x` is not certain to lie in the interval.
    pub fn value<S: Ring>(&self, x: &S, context: S::Context) -> Result<S, ReferenceError> {
        self.guard(x)?;
        let mut y = x.chebyshev(&self.series);
        let Refinement::Newton { iterations } = self.refinement else {
            return Ok(y);
        };
        let constant = |value: f64| S::constant(value, context);
        for _ in 0..iterations {
            y = match self.function {
                Function::InverseSqrt { shift } => {
                    let product = x.plus(&constant(shift.0)).mul(&y.powi(2));
                    y.mul(&product.neg().plus(&constant(3.0))).times(&constant(0.5))
                }
                Function::Reciprocal { shift } => {
                    let product = x.plus(&constant(shift.0)).mul(&y);
                    y.mul(&product.neg().plus(&constant(2.0)))
                }
                Function::Gelu | Function::Tanh => y,
            };
        }
        Ok(y)
    }

    /// The exact value widened by the certified error (`r[rung.r0-widened]`).
    ///
    /// # Errors
    /// [`ReferenceError::Escape`] when `x` is not certain to lie in the interval: nothing is certified outside.
    pub fn widened(&self, x: &Interval) -> Result<Interval, ReferenceError> {
        self.guard(x)?;
        let exact = exact(&self.function, x, x.prec());
        let error = Float::with_val(x.prec(), self.sup_error);
        Ok(match self.error_kind {
            ErrorKind::Absolute => exact.widen(&error),
            ErrorKind::Relative => {
                let radius = Float::with_val_round(x.prec(), &exact.magnitude() * &error, Round::Up).0;
                exact.widen(&radius)
            }
        })
    }

    fn guard<S: Ring>(&self, x: &S) -> Result<(), ReferenceError> {
        x.check()?;
        let [low, high] = self.series.interval();
        if x.within([low, high]) {
            return Ok(());
        }
        Err(ReferenceError::Escape { site: self.name.clone(), low, high, got: x.to_string() })
    }
}

impl Replaced {
    /// The replacements of a model.
    ///
    /// # Errors
    /// [`ReferenceError::BadOperand`] when a site is missing or replaces another function than the graph evaluates
    /// there, or as [`Replacement::new`].
    pub fn new(config: &ModelConfig, polynomials: &Polynomials) -> Result<Self, ReferenceError> {
        Self::for_sites(site_names(config), |site| site_function(config, site), polynomials)
    }

    /// The replacements of an encoder.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn for_encoder(config: &EncoderConfig, polynomials: &Polynomials) -> Result<Self, ReferenceError> {
        Self::for_sites(config.site_names(), |site| encoder_site_function(config, site), polynomials)
    }

    fn for_sites(
        names: Vec<String>,
        function: impl Fn(&str) -> Function,
        polynomials: &Polynomials,
    ) -> Result<Self, ReferenceError> {
        let mut sites = BTreeMap::new();
        for name in names {
            let expected = function(&name);
            match polynomials.site(&name) {
                Some(site) if site.function == expected => sites.insert(name, Replacement::new(site)?),
                other => {
                    return Err(ReferenceError::BadOperand {
                        operation: "replacements of a model",
                        expected: format!("{name}: {expected:?}"),
                        got: format!("{:?}", other.map(|site| site.function)),
                    });
                }
            };
        }
        Ok(Self { sites })
    }

    /// The replacement of a site.
    ///
    /// # Errors
    /// [`ReferenceError::BadOperand`] for a site that the model does not have.
    pub fn site(&self, name: &str) -> Result<&Replacement, ReferenceError> {
        self.sites.get(name).ok_or_else(|| ReferenceError::BadOperand {
            operation: "replacements of a model",
            expected: self.sites.keys().cloned().collect::<Vec<_>>().join(", "),
            got: name.to_owned(),
        })
    }
}

impl<S: Ring> Rung<S> for Replaced {
    fn evaluate(&self, site: &str, _: &Function, x: &S, context: S::Context) -> Result<S, ReferenceError> {
        self.site(site)?.value(x, context)
    }
}

/// R0 widened by the certified errors: encloses R0 and R1 (`r[rung.r0-widened]`).
#[derive(Clone, Debug)]
pub struct Widened(pub Replaced);

impl Rung<Interval> for Widened {
    fn evaluate(&self, site: &str, _: &Function, x: &Interval, _: u32) -> Result<Interval, ReferenceError> {
        self.0.site(site)?.widened(x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::approx::{certify, error_kind, fit};

    /// A site with Newton steps, certified as a whole.
    fn refined(function: Function, interval: [f64; 2], degree: usize, iterations: u32) -> Site {
        let coefficients = fit(&function, interval, degree).unwrap();
        let refinement = Refinement::Newton { iterations };
        let proof = certify(&function, interval, &coefficients, refinement).unwrap();
        Site {
            site: "test".to_owned(),
            function,
            observed: interval.map(HexFloat),
            interval: interval.map(HexFloat),
            coefficients: coefficients.into_iter().map(HexFloat).collect(),
            refinement,
            sup_error: HexFloat(proof.sup_error),
            error_kind: error_kind(&function),
        }
    }

    /// The widened value encloses the refined polynomial and the exact value everywhere, and no longer does once the
    /// certified error is understated by a tenth.
    #[test]
    fn widening_by_the_certified_error_is_enough_and_needed() {
        let cases = [
            refined(Function::InverseSqrt { shift: HexFloat(1e-5) }, [0.1, 4.5], 3, 2),
            refined(Function::Reciprocal { shift: HexFloat(0.01) }, [0.0, 1.0], 7, 3),
        ];
        for site in cases {
            let mut understated = site.clone();
            understated.sup_error = HexFloat(site.sup_error.0 * 0.9);
            let [full, short] = [&site, &understated].map(|site| Replacement::new(site).unwrap());
            let [a, b] = site.interval.map(|x| x.0);
            let mut outside = 0;
            for i in 0..=400 {
                let x = Interval::from_f64(a + (b - a) * f64::from(i) / 400.0, 128);
                let value = full.value(&x, 128).unwrap();
                assert!(full.widened(&x).unwrap().encloses(&value), "{:?} at {x}", site.function);
                assert!(full.widened(&x).unwrap().encloses(&exact(&site.function, &x, 128)));
                outside += usize::from(!short.widened(&x).unwrap().encloses(&value));
            }
            assert!(outside > 0, "{:?}: the certified error is not needed", site.function);
        }
    }

    #[test]
    fn refuses_entries_that_define_no_replacement() {
        let mut site = refined(Function::InverseSqrt { shift: HexFloat(0.0) }, [0.5, 1.0], 3, 1);
        site.sup_error = HexFloat(-1.0);
        assert!(Replacement::new(&site).is_err());
        site.sup_error = HexFloat(1.0);
        site.function = Function::Gelu;
        assert!(Replacement::new(&site).is_err());
    }

    #[test]
    fn inputs_not_certain_to_be_inside_escape() {
        let site = refined(Function::InverseSqrt { shift: HexFloat(0.0) }, [0.5, 1.0], 3, 1);
        let replacement = Replacement::new(&site).unwrap();
        let edge = Interval::from_f64(1.0, 128);
        assert!(replacement.value(&edge, 128).is_ok());
        let over = edge.widen(&Float::with_val(128, 1e-20));
        assert!(matches!(replacement.value(&over, 128), Err(ReferenceError::Escape { .. })));
        assert!(matches!(replacement.widened(&over), Err(ReferenceError::Escape { .. })));
        assert!(matches!(replacement.value(&f64::NAN, ()), Err(ReferenceError::Escape { .. })));
    }
}
