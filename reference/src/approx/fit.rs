//! Construction of an approximating polynomial for each function, by several methods.

use super::certify::certify;
use super::chebyshev::{interpolate, series};
use super::domain::Domain;
use super::least_squares::least_squares;
use super::remez::{Region, exchange, minimax};
use super::target::{Parity, Symmetry, Target};
use crate::error::ReferenceError;
use rug::Float;
use rug::ops::Pow;
use touchstone_spec::artifact::{ErrorKind, Function, Refinement, Site};
use touchstone_spec::hexfloat::HexFloat;

/// Precision of the construction in bits; it does not enter the certificate.
const PREC: u32 = 256;
/// Largest degree of every method but least squares.
const MAX_DEGREE: usize = 1023;
/// Largest degree of least squares, whose cost grows with the third power of the degree.
const MAX_LEAST_SQUARES: usize = 255;

/// How a polynomial is constructed (`r[approx.construction]`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Smallest largest error, by the Remez exchange; in closed form for the relative error of a reciprocal.
    Minimax,
    /// Interpolation in the Chebyshev points of one interval.
    Interpolation,
    /// The Chebyshev series on one interval, cut off after the degree.
    Series,
    /// Least squares over Chebyshev points of every interval.
    LeastSquares,
}

/// What is asked of a polynomial.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Request<'a> {
    /// The function.
    pub target: Target,
    /// Where it is approximated; coefficients refer to the hull.
    pub domain: &'a Domain,
    /// Degree of the polynomial.
    pub degree: usize,
    /// The error that is made small.
    pub kind: ErrorKind,
    /// The construction.
    pub method: Method,
    /// Parity of the polynomial. Without one, a function's own symmetry is used where the domain has it too.
    pub parity: Option<Parity>,
}

/// What the certified error of a model's function is relative to: absolute for GELU, which has a zero, relative otherwise.
#[must_use]
pub fn error_kind(function: &Function) -> ErrorKind {
    Target::from(function).error_kind()
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

/// Binary64 Chebyshev coefficients `c_0..=c_degree` of the best polynomial for a model's function on `interval`.
///
/// Best means smallest maximal relative error, for GELU absolute error. On an interval `[-r, r]` GELU is `x/2` plus an
/// even function, so every odd coefficient but `c_1` is zero and an odd degree ends in a zero coefficient.
///
/// # Errors
/// As [`approximate`].
pub fn fit(function: &Function, interval: [f64; 2], degree: usize) -> Result<Vec<f64>, ReferenceError> {
    let (target, domain) = (Target::from(function), Domain::interval(interval)?);
    let kind = target.error_kind();
    approximate(&Request { target, domain: &domain, degree, kind, method: Method::Minimax, parity: None })
}

/// Binary64 Chebyshev coefficients `c_0..=c_degree` on the hull of the domain, each the one nearest to the constructed
/// polynomial's (`r[approx.rounding]`).
///
/// # Errors
/// [`ReferenceError::BadOperand`] for a function that is not smooth on the domain, a degree above 1023 (least squares: 255),
/// a parity that the function or the domain does not have, an interpolation or series on several intervals, a
/// relative error of a function with a zero in the domain, and as [`minimax`], [`series`] and [`least_squares`].
pub fn approximate(request: &Request) -> Result<Vec<f64>, ReferenceError> {
    let Request { target, domain, degree, method, .. } = *request;
    target.check(OPERATION, domain)?;
    let limit = if method == Method::LeastSquares { MAX_LEAST_SQUARES } else { MAX_DEGREE };
    if degree > limit {
        return Err(refusal(format!("a degree up to {limit}"), degree.to_string()));
    }
    let symmetry = request.symmetry()?;
    let f = |x: &Float| target.value(x);
    let coefficients = match (method, symmetry) {
        (Method::Minimax, Some(symmetry)) => request.symmetric_minimax(symmetry)?,
        (Method::Minimax, None) => request.minimax()?,
        (Method::LeastSquares, _) => request.least_squares(symmetry)?,
        (Method::Interpolation, _) => masked(interpolate(&f, request.single()?, degree, PREC), symmetry),
        (Method::Series, _) => masked(series(&f, request.single()?, degree, PREC)?, symmetry),
    };
    Ok(coefficients.iter().map(Float::to_f64).collect())
}

const OPERATION: &str = "polynomial fit";

fn refusal(expected: String, got: String) -> ReferenceError {
    ReferenceError::BadOperand { operation: OPERATION, expected, got }
}

impl Request<'_> {
    /// The symmetry that the construction uses (`r[approx.symmetry]`).
    fn symmetry(&self) -> Result<Option<Symmetry>, ReferenceError> {
        let own = self.target.symmetry().filter(|_| self.domain.is_symmetric());
        if self.parity.is_some() && (own.is_none() || self.target.parity() != self.parity) {
            let expected = "a function and intervals of the parity asked for".to_owned();
            return Err(refusal(expected, format!("{:?}, {:?} on {}", self.parity, self.target, self.domain)));
        }
        let least = if self.target.parity() == Some(Parity::Odd) { 1 } else { 2 };
        let pure = self.kind == ErrorKind::Absolute || self.target.parity().is_some();
        Ok(own.filter(|own| pure && (self.degree >= least || own.parity == Parity::Even && own.slope == 0.0)))
    }

    fn single(&self) -> Result<[f64; 2], ReferenceError> {
        match self.domain.pieces() {
            &[interval] => Ok(interval),
            _ => Err(refusal("one interval for this method".to_owned(), self.domain.to_string())),
        }
    }

    /// `1` or `1 / |f|`.
    fn weight(&self, x: &Float) -> Float {
        let shifted = |shift: f64| Float::with_val(x.prec(), x + shift);
        match (self.kind, self.target) {
            (ErrorKind::Absolute, _) => Float::with_val(x.prec(), 1),
            (_, Target::Reciprocal { shift }) => shifted(shift).abs(),
            (_, Target::InverseSqrt { shift }) => shifted(shift).sqrt(),
            _ => self.target.value(x).recip().abs(),
        }
    }

    fn minimax(&self) -> Result<Vec<Float>, ReferenceError> {
        if let (Target::Reciprocal { shift }, ErrorKind::Relative, &[interval]) =
            (self.target, self.kind, self.domain.pieces())
        {
            return Ok(best_reciprocal(interval, shift, self.degree));
        }
        let f = |x: &Float| self.target.value(x);
        Ok(minimax(&f, &|x| self.weight(x), self.domain, self.degree, PREC)?.coefficients)
    }

    /// The even or odd part `g` by the exchange in `z = (x/r)^2`: as `T_k(2 u^2 - 1) = T_2k(u)`, the best polynomial in
    /// z gives the even coefficients. An odd `g` is `x` times an even function; `u T_2k = (T_(2k+1) + T_(2k-1)) / 2`.
    fn symmetric_minimax(&self, symmetry: Symmetry) -> Result<Vec<Float>, ReferenceError> {
        let end = self.domain.hull()[1];
        let square = Float::with_val(PREC, end).pow(2u32);
        let argument = |z: &Float| Float::with_val(PREC, z * &square).max(&Float::new(PREC)).sqrt();
        let part = |x: &Float| self.target.value(x) - Float::with_val(PREC, x * symmetry.slope) - symmetry.constant;
        let region = Region::of_squares(self.domain, PREC);
        let mut coefficients = vec![Float::new(PREC); self.degree + 1];
        if symmetry.parity == Parity::Even {
            let even = |z: &Float| part(&argument(z));
            let best = exchange(&even, &|z| self.weight(&argument(z)), region, self.degree / 2, PREC)?;
            for (k, c) in best.coefficients.into_iter().enumerate() {
                coefficients[2 * k] = c;
            }
        } else {
            let quotient = |z: &Float| {
                let x = argument(z);
                // The weight is zero there, so any finite value will do.
                if x.is_zero() { x } else { part(&x) / x }
            };
            let weight = |z: &Float| {
                let x = argument(z);
                if x.is_zero() { x } else { self.weight(&x) * x }
            };
            let best = exchange(&quotient, &weight, region, (self.degree - 1) / 2, PREC)?;
            for (k, c) in best.coefficients.into_iter().enumerate() {
                let half = Float::with_val(PREC, &c * end) / 2u32;
                if k == 0 {
                    coefficients[1] += &half;
                } else {
                    coefficients[2 * k - 1] += &half;
                }
                coefficients[2 * k + 1] += half;
            }
        }
        coefficients[0] += symmetry.constant;
        if symmetry.slope != 0.0 {
            coefficients[1] += Float::with_val(PREC, end) * symmetry.slope;
        }
        Ok(coefficients)
    }

    fn least_squares(&self, symmetry: Option<Symmetry>) -> Result<Vec<Float>, ReferenceError> {
        let indices: Vec<usize> = (0..=self.degree).filter(|&k| symmetry.is_none_or(|s| s.allows(k))).collect();
        // On a union the basis is the less independent, the higher the degree.
        let prec = if self.domain.pieces().len() == 1 { PREC } else { PREC + 16 * (self.degree as u32 + 1) };
        let f = |x: &Float| self.target.value(x);
        let solution = least_squares(&f, &|x| self.weight(x), self.domain, &indices, prec)?;
        let mut coefficients = vec![Float::new(prec); self.degree + 1];
        for (k, c) in indices.into_iter().zip(solution) {
            coefficients[k] = c;
        }
        Ok(coefficients)
    }
}

impl Symmetry {
    /// Whether a series with this symmetry has a term of index `k`.
    fn allows(&self, k: usize) -> bool {
        let of_parity = k.is_multiple_of(2) == (self.parity == Parity::Even);
        of_parity || (k == 0 && self.constant != 0.0) || (k == 1 && self.slope != 0.0)
    }
}

/// Terms that the symmetry forbids are rounding noise of the construction: they become zero.
fn masked(mut coefficients: Vec<Float>, symmetry: Option<Symmetry>) -> Vec<Float> {
    for (k, c) in coefficients.iter_mut().enumerate() {
        if symmetry.is_some_and(|s| !s.allows(k)) {
            *c = Float::new(c.prec());
        }
    }
    coefficients
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
