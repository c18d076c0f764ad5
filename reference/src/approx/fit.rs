//! Choice of a replacement polynomial for each function of the model.

use super::certify::certify;
use super::chebyshev::interpolate;
use super::remez::minimax;
use crate::error::ReferenceError;
use rug::Float;
use rug::ops::Pow;
use touchstone_spec::artifact::{ErrorKind, Function, Refinement, Site};
use touchstone_spec::hexfloat::HexFloat;

/// Precision of the construction in bits; it does not enter the certificate.
const PREC: u32 = 256;

/// What the certified error of a function is relative to: absolute for GELU, which has a zero, relative otherwise.
#[must_use]
pub fn error_kind(function: &Function) -> ErrorKind {
    match function {
        Function::Gelu => ErrorKind::Absolute,
        Function::InverseSqrt { .. } | Function::Reciprocal { .. } => ErrorKind::Relative,
    }
}

/// A complete artifact entry: best polynomial of the given degree without refinement, certified.
///
/// # Errors
/// As [`fit`] and [`certify`].
pub fn replacement(
    site: &str,
    function: Function,
    observed: [f64; 2],
    interval: [f64; 2],
    degree: usize,
) -> Result<Site, ReferenceError> {
    let coefficients = fit(&function, interval, degree)?;
    let certificate = certify(&function, interval, &coefficients, Refinement::None)?;
    Ok(Site {
        site: site.to_owned(),
        function,
        observed: observed.map(HexFloat),
        interval: interval.map(HexFloat),
        coefficients: coefficients.into_iter().map(HexFloat).collect(),
        refinement: Refinement::None,
        sup_error: HexFloat(certificate.sup_error),
        error_kind: error_kind(&function),
    })
}

/// Binary64 Chebyshev coefficients `c_0..=c_degree` of the best polynomial for `function` on `interval`.
///
/// Best means smallest maximal relative error, for GELU absolute error. On an interval `[-r, r]` GELU is `x/2` plus an
/// even function, so every odd coefficient but `c_1` is zero and an odd degree ends in a zero coefficient.
///
/// # Errors
/// [`ReferenceError::BadOperand`] for an empty interval, a pole in it, or a degree above 1023 or too small for the
/// symmetry (GELU: below 2).
pub fn fit(function: &Function, interval: [f64; 2], degree: usize) -> Result<Vec<f64>, ReferenceError> {
    let [a, b] = interval;
    let shift = match function {
        Function::InverseSqrt { shift } | Function::Reciprocal { shift } => Some(shift.0),
        Function::Gelu => None,
    };
    let pole = shift.is_some_and(|shift| a + shift <= 0.0);
    if pole || a >= b || !a.is_finite() || !b.is_finite() || degree > 1023 {
        return Err(ReferenceError::BadOperand {
            operation: "polynomial fit",
            expected: "a < b without a pole between, and a degree up to 1023".to_owned(),
            got: format!("{function:?} on [{a}, {b}], degree {degree}"),
        });
    }
    let coefficients = match *function {
        Function::Reciprocal { shift } => best_reciprocal(interval, shift.0, degree),
        Function::InverseSqrt { shift } => {
            let root = |x: &Float| (Float::with_val(PREC, x) + shift.0).sqrt();
            minimax(&|x| root(x).recip(), &root, interval, degree, PREC)?.coefficients
        }
        Function::Gelu if a == -b && degree >= 2 => symmetric_gelu(b, degree)?,
        Function::Gelu => minimax(&gelu, &|_| Float::with_val(PREC, 1), interval, degree, PREC)?.coefficients,
    };
    Ok(coefficients.iter().map(Float::to_f64).collect())
}

/// The polynomial p of degree n with the smallest maximal relative error as `1 / (x + shift)`, in closed form:
/// `1 - (x + shift) p(x) = T_(n+1)(u(x)) / T_(n+1)(u(-shift))`, whose size is `1 / |T_(n+1)(u(-shift))|`.
///
/// It is best because the right-hand side is the smallest polynomial of degree n + 1 that is 1 at the pole.
#[must_use]
pub fn best_reciprocal(interval: [f64; 2], shift: f64, degree: usize) -> Vec<Float> {
    let prec = PREC + 2 * degree as u32;
    let [a, b] = interval.map(|end| Float::with_val(prec, end));
    let argument = |x: &Float| (Float::with_val(prec, x * 2u32) - &a - &b) / Float::with_val(prec, &b - &a);
    let order = degree as u32 + 1;
    let at_pole = chebyshev_outside(&argument(&Float::with_val(prec, -shift)), order);
    let value = |x: &Float| {
        let ratio = argument(x).acos() * order;
        (Float::with_val(prec, 1) - ratio.cos() / &at_pole) / (Float::with_val(prec, x) + shift)
    };
    interpolate(&value, interval, degree, prec)
}

/// `T_n(u)` for `|u| > 1`.
fn chebyshev_outside(u: &Float, n: u32) -> Float {
    let size = Float::with_val(u.prec(), u.abs_ref());
    let value = (size.acosh() * n).cosh();
    if u.is_sign_negative() && n % 2 == 1 { -value } else { value }
}

/// GELU in MPFR arithmetic, not certified.
fn gelu(x: &Float) -> Float {
    let root = Float::with_val(x.prec(), 2).sqrt();
    let erf = Float::with_val(x.prec(), x / root).erf();
    (erf + 1u32) * x / 2u32
}

/// GELU on `[-r, r]` as `x / 2 + g(x^2)`: the best g in `z = x^2` gives the even coefficients, as
/// `T_k(2 u^2 - 1) = T_2k(u)`.
fn symmetric_gelu(r: f64, degree: usize) -> Result<Vec<Float>, ReferenceError> {
    let even = |z: &Float| {
        let x = Float::with_val(PREC, z).max(&Float::new(PREC)).sqrt();
        gelu(&x) - x / 2u32
    };
    let half = minimax_on_square(&even, r, degree / 2)?;
    let mut coefficients = vec![Float::new(PREC); degree + 1];
    for (k, c) in half.into_iter().enumerate() {
        coefficients[2 * k] = c;
    }
    coefficients[1] = Float::with_val(PREC, r) / 2u32;
    Ok(coefficients)
}

fn minimax_on_square(f: &dyn Fn(&Float) -> Float, r: f64, degree: usize) -> Result<Vec<Float>, ReferenceError> {
    // The interval [0, r^2] is scaled to [0, 1]: r^2 may not be a binary64 number.
    let square = Float::with_val(PREC, r).pow(2u32);
    let scaled = |z: &Float| f(&Float::with_val(PREC, z * &square));
    Ok(minimax(&scaled, &|_| Float::with_val(PREC, 1), [0.0, 1.0], degree, PREC)?.coefficients)
}
