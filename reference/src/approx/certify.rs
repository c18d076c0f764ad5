//! Proof of an approximation's error by interval subdivision (`r[approx.certificate]`,
//! `r[approx.certificate.enclosure]`).
//!
//! The interval `[a, b]` is the image of `[0, pi]` under `x = (a + b)/2 + (b - a)/2 cos t`, in which a Chebyshev series
//! is a sum of cosines and its error oscillates evenly. On each cell of a subdivision of `[0, pi]` the error function
//! is enclosed by a Taylor model; cells whose bound is not close to the largest error seen are bisected.

use super::domain::Domain;
use super::jet::{self, Jet, ORDER, TaylorModel};
use super::target::Target;
use crate::error::ReferenceError;
use crate::interval::Interval;
use rug::float::Round;
use rug::{Assign, Float};
use touchstone_spec::artifact::{ErrorKind, Function, Refinement};

/// Precision of the proof in bits.
const PREC: u32 = 160;
/// Cells per oscillation of the error at the start.
const CELLS_PER_DEGREE: usize = 8;
/// A cell is bisected while its bound exceeds the largest error seen by this factor (`r[approx.certificate.tight]`).
const SLACK: f64 = 1.004;
/// Bisections of one cell after which its bound is accepted as it is.
const MAX_DEPTH: u32 = 12;

/// What has been proved of an approximation, in exact arithmetic (`r[approx.certificate.scope]`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Certificate {
    /// Upper bound of the error over the whole domain, rounded up.
    pub sup_error: f64,
    /// Lower bound of the same supremum: the largest error at a cell's centre, rounded down.
    pub witness: f64,
    /// Number of cells of the final subdivision.
    pub cells: usize,
}

/// Certifies a Chebyshev series with refinement as a replacement of a model's function on `[a, b]`.
///
/// The error is absolute for GELU and relative for the other functions; it is that of the composite in exact
/// arithmetic, for exactly these coefficients.
///
/// # Errors
/// As [`certify_on`].
pub fn certify(
    function: &Function,
    interval: [f64; 2],
    coefficients: &[f64],
    refinement: Refinement,
) -> Result<Certificate, ReferenceError> {
    let target = Target::from(function);
    certify_on(&target, &Domain::interval(interval)?, target.error_kind(), coefficients, refinement)
}

/// Certifies a Chebyshev series on the hull of `domain`, with refinement, as a replacement of `target` on `domain`.
///
/// # Errors
/// [`ReferenceError::BadOperand`] for no or non-finite coefficients, where the function has a pole in the domain, for a
/// refinement that the function does not have, and for an error without a bound (a relative error around a zero).
pub fn certify_on(
    target: &Target,
    domain: &Domain,
    kind: ErrorKind,
    coefficients: &[f64],
    refinement: Refinement,
) -> Result<Certificate, ReferenceError> {
    target.check("certification", domain)?;
    let refusal = |expected: &str| ReferenceError::BadOperand {
        operation: "certification",
        expected: expected.to_owned(),
        got: format!("{target:?} on {domain}, {} coefficients, refinement {refinement:?}", coefficients.len()),
    };
    if coefficients.is_empty() || !coefficients.iter().all(|c| c.is_finite()) {
        return Err(refusal("finite coefficients"));
    }
    let refinable = matches!(target, Target::Reciprocal { .. } | Target::InverseSqrt { .. });
    if refinement != Refinement::None && !refinable {
        return Err(refusal("a refinement that the function has"));
    }
    let certificate = Proof::new(*target, domain, kind, coefficients, refinement).run(domain);
    if !certificate.sup_error.is_finite() {
        return Err(refusal("an error with a bound: for a relative one, a function without a zero"));
    }
    Ok(certificate)
}

struct Proof<'a> {
    target: Target,
    kind: ErrorKind,
    refinement: Refinement,
    coefficients: &'a [f64],
    centre: Interval,
    half: Interval,
    /// Upper bounds of `sum_k k^j |c_k|` for `j` in `0..=ORDER`.
    moments: Vec<Float>,
}

impl<'a> Proof<'a> {
    fn new(target: Target, domain: &Domain, kind: ErrorKind, coefficients: &'a [f64], refinement: Refinement) -> Self {
        let [a, b] = domain.hull().map(|end| Interval::from_f64(end, PREC));
        let half = Interval::from_f64(0.5, PREC);
        let moments = (0..=ORDER as u32).map(|j| {
            let sum = coefficients.iter().enumerate().fold(Interval::from_f64(0.0, PREC), |sum, (k, c)| {
                &sum + &(&Interval::from_f64(k as f64, PREC).powi(j) * &Interval::from_f64(c.abs(), PREC))
            });
            sum.hi().clone()
        });
        Self {
            target,
            kind,
            refinement,
            coefficients,
            centre: &(&a + &b) * &half,
            half: &(&b - &a) * &half,
            moments: moments.collect(),
        }
    }

    fn run(&self, domain: &Domain) -> Certificate {
        let mut open: Vec<Cell> = domain.arcs(PREC).iter().flat_map(|arc| self.cells(arc)).collect();
        let mut witness = open.iter().fold(0.0, |most: f64, cell| most.max(cell.witness));
        let (mut sup_error, mut cells) = (0.0f64, 0);
        while let Some(cell) = open.pop() {
            if cell.bound <= witness * SLACK || cell.depth >= MAX_DEPTH {
                sup_error = sup_error.max(cell.bound);
                cells += 1;
                continue;
            }
            let radius = Float::with_val(PREC, &cell.radius / 2u32);
            for centre in [Float::with_val(PREC, &cell.centre - &radius), Float::with_val(PREC, &cell.centre + &radius)]
            {
                let half = self.cell(centre, radius.clone(), cell.depth + 1);
                witness = witness.max(half.witness);
                open.push(half);
            }
        }
        Certificate { sup_error, witness, cells }
    }

    /// Cells that cover an arc of the domain and as many units in the last place beyond as its ends may be off.
    fn cells(&self, [start, end]: &[Float; 2]) -> Vec<Cell> {
        let whole = CELLS_PER_DEGREE * (self.coefficients.len() + 1);
        let pi = Interval::pi(PREC).hi().clone();
        let (start, end) = if start.is_zero() && *end >= *Interval::pi(PREC).lo() {
            (start.clone(), pi.clone())
        } else {
            // The cosine is flat at the ends of the hull: there an angle is known to half the precision only.
            let margin = Float::with_val(PREC, 1) >> (PREC / 2 - 8);
            (Float::with_val(PREC, start - &margin), Float::with_val(PREC, end + &margin))
        };
        let length = Float::with_val_round(PREC, &end - &start, Round::Up).0;
        let share = (Float::with_val(PREC, &length / &pi) * whole as u64).to_f64().ceil();
        let count = (share as usize).clamp(CELLS_PER_DEGREE, whole);
        let width = Float::with_val_round(PREC, &length / count as u64, Round::Up).0;
        let radius = Float::with_val(PREC, &width / 2u32);
        (0..count)
            .map(|i| {
                let offset = Float::with_val(PREC, &width * (2 * i + 1) as u64) / 2u32;
                self.cell(offset + &start, radius.clone(), 0)
            })
            .collect()
    }

    /// Bounds the error on one cell. Centres are rounded, so the radius gets a margin that keeps the cells overlapping.
    fn cell(&self, centre: Float, radius: Float, depth: u32) -> Cell {
        let covering = Float::with_val_round(PREC, &radius * (1.0 + f64::EPSILON), Round::Up).0;
        let error = self.error(&centre, &covering);
        Cell {
            bound: error.magnitude().to_f64_round(Round::Up),
            witness: error.centre_mignitude().to_f64_round(Round::Down),
            centre,
            radius,
            depth,
        }
    }

    fn error(&self, centre: &Float, radius: &Float) -> TaylorModel {
        let point = self.argument(&Interval::from_float(centre, PREC));
        let cell = self.argument(&Interval::from_float(centre, PREC).widen(radius));
        let mut value = self.polynomial(centre, radius);
        let model = |f: &dyn Fn(&[Interval]) -> Jet| TaylorModel::from_jets(f(&point), &f(&cell), radius);
        let steps = match self.refinement {
            Refinement::None => 0,
            Refinement::Newton { iterations } => iterations,
        };
        match self.target {
            Target::Reciprocal { shift } => {
                let shifted = model(&|x| jet::add(x, shift));
                for _ in 0..steps {
                    value = value.mul(&shifted.mul(&value).subtracted_from(2.0));
                }
                if self.kind == ErrorKind::Relative {
                    return shifted.mul(&value).subtracted_from(1.0);
                }
            }
            Target::InverseSqrt { shift } => {
                let shifted = model(&|x| jet::add(x, shift));
                for _ in 0..steps {
                    value = value.mul(&shifted.mul(&value.mul(&value)).subtracted_from(3.0)).scale(0.5);
                }
                if self.kind == ErrorKind::Relative {
                    return model(&|x| jet::sqrt(&jet::add(x, shift))).mul(&value).subtracted_from(1.0);
                }
            }
            _ => {}
        }
        match self.kind {
            ErrorKind::Absolute => value.sub(&model(&|x| self.target.jet(x))),
            ErrorKind::Relative => value.mul(&model(&|x| jet::recip(&self.target.jet(x)))).subtracted_from(1.0),
        }
    }

    /// Jet of `x(t)` with `ORDER + 1` coefficients.
    fn argument(&self, t: &Interval) -> Jet {
        let [cos, sin] = [t.cos(), t.sin()];
        let derivatives = [cos.clone(), -&sin, -&cos, sin];
        let mut factorial = Interval::from_f64(1.0, PREC);
        let mut jet = Vec::with_capacity(ORDER + 1);
        for j in 0..=ORDER {
            if j > 0 {
                factorial = &factorial * &Interval::from_f64(j as f64, PREC);
            }
            jet.push(&(&derivatives[j % 4] * &self.half) / &factorial);
        }
        jet[0] = &jet[0] + &self.centre;
        jet
    }

    /// Taylor model of `sum_k c_k cos(k t)`.
    ///
    /// The powers `z_k = e^(ikt)` run in plain arithmetic of P bits: a complex product commits at most `4 * 2^-P`,
    /// turning preserves magnitudes, so `z_k` is off by less than `8 k 2^-P`; a sum of n terms adds `(n + 2) 2^-P` of
    /// the sum of magnitudes for its products, and as much for its additions.
    fn polynomial(&self, centre: &Float, radius: &Float) -> TaylorModel {
        let prec = PREC + 32;
        let (cos, sin) = (Float::with_val(prec, centre.cos_ref()), Float::with_val(prec, centre.sin_ref()));
        let [mut re, mut im] = [Float::with_val(prec, 1), Float::new(prec)];
        let mut sums = vec![Float::new(prec); ORDER];
        let mut term = Float::new(prec);
        for (k, &c) in self.coefficients.iter().enumerate() {
            let mut parts = [Float::with_val(prec, &re * c), Float::with_val(prec, &im * c)];
            for (j, sum) in sums.iter_mut().enumerate() {
                term.assign(&parts[j % 2]);
                // Derivatives of cos: cos, -sin, -cos, sin.
                if j % 4 == 1 || j % 4 == 2 {
                    *sum -= &term
                } else {
                    *sum += &term
                }
                for part in &mut parts {
                    *part *= k as u64;
                }
            }
            let turned = Float::with_val(prec, &re * &cos) - Float::with_val(prec, &im * &sin);
            im = Float::with_val(prec, &re * &sin) + Float::with_val(prec, &im * &cos);
            re = turned;
        }
        let count = self.coefficients.len() as f64;
        let mut factorial = Interval::from_f64(1.0, PREC);
        let mut jet = Vec::with_capacity(ORDER);
        for (j, sum) in sums.iter().enumerate() {
            if j > 0 {
                factorial = &factorial * &Interval::from_f64(j as f64, PREC);
            }
            let error = Float::with_val_round(PREC, &self.moments[j] * (12.0 * count + 4.0 + j as f64), Round::Up).0;
            jet.push(&Interval::from_float(sum, PREC).widen(&(error >> prec)) / &factorial);
        }
        let last =
            &Interval::from_float(&self.moments[ORDER], PREC) / &(&factorial * &Interval::from_f64(ORDER as f64, PREC));
        TaylorModel::new(jet, last.hi(), radius)
    }
}

struct Cell {
    centre: Float,
    radius: Float,
    bound: f64,
    witness: f64,
    depth: u32,
}
