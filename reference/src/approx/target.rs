//! The functions that can be approximated: value, Taylor expansion in intervals, symmetry and domain.

use super::domain::Domain;
use super::jet::{self, Jet};
use crate::error::ReferenceError;
use crate::interval::Interval;
use rug::Float;
use rug::float::Constant;
use touchstone_spec::artifact::{ErrorKind, Function};

/// A function of one real variable (`r[approx.functions]`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// `x (1 + erf(x / sqrt 2)) / 2`.
    Gelu,
    /// `x / (1 + e^-x)`.
    Silu,
    /// `1 / (1 + e^-x)`.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// The error function.
    Erf,
    /// `e^x`.
    Exp,
    /// `1 / (x + shift)`.
    Reciprocal {
        /// Added to the argument.
        shift: f64,
    },
    /// `1 / sqrt(x + shift)`.
    InverseSqrt {
        /// Added to the argument.
        shift: f64,
    },
    /// `cos(2 pi turns x)`.
    Cosine {
        /// Turns per unit of the argument.
        turns: f64,
    },
    /// `sin(2 pi turns x)`.
    Sine {
        /// Turns per unit of the argument.
        turns: f64,
    },
    /// `factor arcsin(x) / (2 pi)`.
    Arcsine {
        /// Multiplies the angle, which is counted in turns.
        factor: f64,
    },
}

/// Which powers of the argument a polynomial has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parity {
    /// Even powers: `p(-x) = p(x)`.
    Even,
    /// Odd powers: `p(-x) = -p(x)`.
    Odd,
}

/// `f(x) = constant + slope x + g(x)` with an even or odd `g`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Symmetry {
    pub constant: f64,
    pub slope: f64,
    pub parity: Parity,
}

impl From<&Function> for Target {
    fn from(function: &Function) -> Self {
        match *function {
            Function::Gelu => Self::Gelu,
            Function::Tanh => Self::Tanh,
            Function::Reciprocal { shift } => Self::Reciprocal { shift: shift.0 },
            Function::InverseSqrt { shift } => Self::InverseSqrt { shift: shift.0 },
        }
    }
}

impl Target {
    /// The error by which the function is approximated unless told otherwise: relative for reciprocals and inverse square
    /// roots, absolute for functions with a zero or of bounded size (`r[approx.error]`).
    #[must_use]
    pub fn error_kind(&self) -> ErrorKind {
        match self {
            Self::Reciprocal { .. } | Self::InverseSqrt { .. } => ErrorKind::Relative,
            _ => ErrorKind::Absolute,
        }
    }

    /// The parity that the function has.
    #[must_use]
    pub fn parity(&self) -> Option<Parity> {
        self.symmetry().filter(|s| s.constant == 0.0 && s.slope == 0.0).map(|s| s.parity)
    }

    pub(super) fn symmetry(&self) -> Option<Symmetry> {
        let (constant, slope, parity) = match self {
            Self::Gelu | Self::Silu => (0.0, 0.5, Parity::Even),
            Self::Sigmoid => (0.5, 0.0, Parity::Odd),
            Self::Tanh | Self::Erf | Self::Sine { .. } | Self::Arcsine { .. } => (0.0, 0.0, Parity::Odd),
            Self::Cosine { .. } => (0.0, 0.0, Parity::Even),
            Self::Exp | Self::Reciprocal { .. } | Self::InverseSqrt { .. } => return None,
        };
        Some(Symmetry { constant, slope, parity })
    }

    /// Value at `x` in MPFR arithmetic of the precision of `x`, not certified.
    #[must_use]
    pub fn value(&self, x: &Float) -> Float {
        let prec = x.prec();
        let shifted = |shift: f64| Float::with_val(prec, x + shift);
        let turn = || Float::with_val(prec, Constant::Pi) * 2u32;
        let sigmoid = || (Float::with_val(prec, -x).exp() + 1u32).recip();
        match *self {
            Self::Gelu => {
                let root = Float::with_val(prec, 2).sqrt();
                let erf = Float::with_val(prec, x / root).erf();
                (erf + 1u32) * x / 2u32
            }
            Self::Silu => sigmoid() * x,
            Self::Sigmoid => sigmoid(),
            Self::Tanh => Float::with_val(prec, x.tanh_ref()),
            Self::Erf => Float::with_val(prec, x.erf_ref()),
            Self::Exp => Float::with_val(prec, x.exp_ref()),
            Self::Reciprocal { shift } => shifted(shift).recip(),
            Self::InverseSqrt { shift } => shifted(shift).sqrt().recip(),
            Self::Cosine { turns } => (turn() * turns * x).cos(),
            Self::Sine { turns } => (turn() * turns * x).sin(),
            Self::Arcsine { factor } => Float::with_val(prec, x.asin_ref()) * factor / turn(),
        }
    }

    /// Jet of the function at a jet.
    pub(super) fn jet(&self, x: &[Interval]) -> Jet {
        let prec = x[0].prec();
        let constant = |value: f64| Interval::from_f64(value, prec);
        let turn = || &Interval::pi(prec) * &constant(2.0);
        let angle = |turns: f64| jet::scale(x, &(&turn() * &constant(turns)));
        match *self {
            Self::Gelu => jet::gelu(x),
            Self::Silu => jet::mul(x, &jet::sigmoid(x)),
            Self::Sigmoid => jet::sigmoid(x),
            Self::Tanh => jet::tanh(x),
            Self::Erf => {
                let root = constant(2.0).sqrt();
                jet::erf_of_root_half(&jet::scale(x, &root))
            }
            Self::Exp => jet::exp(x),
            Self::Reciprocal { shift } => jet::recip(&jet::add(x, shift)),
            Self::InverseSqrt { shift } => jet::recip(&jet::sqrt(&jet::add(x, shift))),
            Self::Cosine { turns } => jet::sin_cos(&angle(turns)).1,
            Self::Sine { turns } => jet::sin_cos(&angle(turns)).0,
            Self::Arcsine { factor } => jet::scale(&jet::asin(x), &(&constant(factor) / &turn())),
        }
    }

    /// Refuses a domain that holds a pole or leaves the function's domain, and a parameter that is not finite.
    pub(super) fn check(&self, operation: &'static str, domain: &Domain) -> Result<(), ReferenceError> {
        let everywhere = |holds: &dyn Fn(f64, f64) -> bool| domain.pieces().iter().all(|&[a, b]| holds(a, b));
        let (defined, parameter) = match *self {
            Self::Reciprocal { shift } => (everywhere(&|a, b| a + shift > 0.0 || b + shift < 0.0), shift),
            Self::InverseSqrt { shift } => (everywhere(&|a, _| a + shift > 0.0), shift),
            Self::Arcsine { factor } => (everywhere(&|a, b| -1.0 < a && b < 1.0), factor),
            Self::Cosine { turns } | Self::Sine { turns } => (true, turns),
            _ => (true, 0.0),
        };
        if defined && parameter.is_finite() {
            return Ok(());
        }
        Err(ReferenceError::BadOperand {
            operation,
            expected: "a finite parameter and intervals on which the function is smooth".to_owned(),
            got: format!("{self:?} on {domain}"),
        })
    }
}
