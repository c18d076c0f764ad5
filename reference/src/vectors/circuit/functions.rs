//! Polynomials, activations, reciprocals and inverse square roots, number by number.

use super::{About, encrypted, matrix, per_entry, rows};
use crate::approx::{Domain, Method, Request, Target, approximate, certify_on};
use crate::error::ReferenceError;
use crate::interval::Interval;
use crate::model::gelu;
use crate::vectors::noise::{Steps, Tracked, real};
use rug::float::Round;
use touchstone_spec::artifact::Refinement;
use touchstone_spec::vector::{Case, Value};

/// An approximation that a case hands to the backend, with its certified error.
pub struct Site {
    target: Target,
    interval: [f64; 2],
    coefficients: Vec<f64>,
    iterations: u32,
    /// Certified error, absolute or relative as usual for the function.
    error: f64,
}

impl Site {
    /// The best polynomial of a degree, refined, certified.
    pub fn new(target: Target, interval: [f64; 2], degree: usize, iterations: u32) -> Result<Self, ReferenceError> {
        let (domain, kind) = (Domain::interval(interval)?, target.error_kind());
        let request = Request { target, domain: &domain, degree, kind, method: Method::Minimax, parity: None };
        let coefficients = approximate(&request)?;
        let refinement = match iterations {
            0 => Refinement::None,
            iterations => Refinement::Newton { iterations },
        };
        let error = certify_on(&target, &domain, kind, &coefficients, refinement)?.sup_error;
        Ok(Self { target, interval, coefficients, iterations, error })
    }

    /// Inputs `interval`, `coefficients`, `iterations` and `error` of a case.
    pub fn inputs(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("interval", Value::reals(&self.interval)),
            ("coefficients", Value::reals(&self.coefficients)),
            ("iterations", Value::integer(self.iterations)),
            ("error", Value::real(self.error)),
        ]
    }

    /// The exact function with the errors of evaluating the approximation.
    pub fn apply(&self, x: &Tracked, steps: &Steps) -> Tracked {
        let start = x.chebyshev(self.interval, &self.coefficients, steps);
        match self.target {
            Target::InverseSqrt { shift } => {
                let half = x.add_constant(shift, steps).scale(0.5, steps);
                let step = |y: Tracked| {
                    let cubic = half.mul(&y, steps).mul(&y.mul(&y, steps), steps);
                    y.scale(1.5, steps).sub(&cubic)
                };
                let value = (0..self.iterations).fold(start, |y, _| step(y));
                let exact = (&x.value + &real(shift)).sqrt().recip();
                let error = self.error * upper(&exact);
                value.standing_for(exact, error)
            }
            Target::Gelu => start.standing_for(gelu(&x.value), self.error),
            _ => start.standing_for(x.value.tanh(), self.error),
        }
    }
}

fn upper(x: &Interval) -> f64 {
    x.magnitude().to_f64_round(Round::Up)
}

/// `1/a` by Goldschmidt's iteration on `interval` until the relative error is at most `error`.
pub fn reciprocal(a: &Tracked, [low, high]: [f64; 2], error: f64, steps: &Steps) -> Tracked {
    let start = 2.0 / (low + high);
    let scaled = a.scale(-start, steps);
    let mut e = scaled.add_constant(1.0, steps);
    let mut y = Tracked::affine(2.0 * start, &[-start * start], std::slice::from_ref(a), steps);
    let mut reached = ((high - low) / (high + low)).powi(2);
    while reached > error {
        e = e.mul(&e, steps);
        y = y.mul(&e.add_constant(1.0, steps), steps);
        reached *= reached;
    }
    let exact = a.value.recip();
    let approximation = error * upper(&exact);
    y.standing_for(exact, approximation)
}

/// Name, interval, degree and flags of a polynomial.
type Series<'a> = (&'a str, [f64; 2], usize, &'a [&'a str]);

/// A given polynomial: no approximation, only evaluation.
pub fn polynomials(steps: &Steps) -> Result<Vec<Case>, ReferenceError> {
    let table: [Series<'_>; 4] = [
        ("degree-1", [-1.0, 1.0], 1, &[]),
        ("degree-7", [-1.0, 1.0], 7, &[]),
        ("degree-15", [-2.0, 6.0], 15, &[]),
        ("degree-27-ends", [-4.0, 4.0], 27, &["interval-end"]),
    ];
    let case = |(index, (name, interval, degree, flags)): (u32, Series<'_>)| {
        let coefficients: Vec<f64> =
            (0..=degree).map(|k| (0.9 * k as f64 + 0.4).sin() / (1.0 + k as f64 / 2.0)).collect();
        let x = rows(100 + index, 2, interval[0], interval[1]);
        let values = per_entry(&encrypted(&x, steps), |x| x.chebyshev(interval, &coefficients, steps));
        let about = About {
            id: format!("circuit/polynomial/{name}"),
            rule: "noise.polynomial",
            about: "A Chebyshev series with given coefficients; expected is the series itself, both ends included.",
            flags,
            op: "polynomial",
            encrypted: &["x"],
        };
        let inputs = vec![
            ("x", matrix(&x)),
            ("interval", Value::reals(&interval)),
            ("coefficients", Value::reals(&coefficients)),
        ];
        about.case(inputs, vec![("value", values)])
    };
    (0..).zip(table).map(case).collect()
}

/// Name, operation, function, interval, degree and rule of an activation.
type Activation<'a> = (&'a str, &'a str, Target, [f64; 2], usize, &'a str);

/// GELU and tanh by approximations that the cases hand over.
pub fn activations(steps: &Steps) -> Result<Vec<Case>, ReferenceError> {
    let table: [Activation<'_>; 3] = [
        ("gelu/degree-16", "gelu", Target::Gelu, [-6.0, 6.0], 16, "gelu.definition"),
        ("gelu/one-sided", "gelu", Target::Gelu, [-2.0, 8.0], 24, "gelu.definition"),
        ("tanh/degree-15", "tanh", Target::Tanh, [-4.0, 4.0], 15, "approx.certificate"),
    ];
    let case = |(index, (name, op, target, interval, degree, rule)): (u32, Activation<'_>)| {
        let site = Site::new(target, interval, degree, 0)?;
        let x = rows(200 + index, 2, interval[0], interval[1]);
        let values = per_entry(&encrypted(&x, steps), |x| site.apply(x, steps));
        let about = About {
            id: format!("circuit/{name}"),
            rule,
            about: "Expected is the exact function; the certified error of the given polynomial is a term of the bound.",
            flags: &["interval-end"],
            op,
            encrypted: &["x"],
        };
        about.case([vec![("x", matrix(&x))], site.inputs()].concat(), vec![("value", values)])
    };
    (0..).zip(table).map(case).collect()
}

/// Reciprocals and inverse square roots.
pub fn inverses(steps: &Steps) -> Result<Vec<Case>, ReferenceError> {
    let mut cases = Vec::new();
    for (index, (name, interval, flags)) in (0..)
        .zip([("narrow", [0.5, 1.5], &[][..]), ("wide", [2f64.powi(-8), 2.0], &["interval-end", "wide-spread"][..])])
    {
        let error = 2f64.powi(-20);
        let x = rows(300 + index, 2, interval[0], interval[1]);
        let values = per_entry(&encrypted(&x, steps), |x| reciprocal(x, interval, error, steps));
        let about = About {
            id: format!("circuit/goldschmidt/{name}"),
            rule: "approx.refinement",
            about: "1/x; any iteration whose relative error on the interval is at most the stated one.",
            flags,
            op: "goldschmidt",
            encrypted: &["x"],
        };
        let inputs = vec![("x", matrix(&x)), ("interval", Value::reals(&interval)), ("error", Value::real(error))];
        cases.push(about.case(inputs, vec![("value", values)])?);
    }
    for (index, (name, shift, interval)) in
        (0..).zip([("unit", 0.0, [0.5, 2.0]), ("shifted", 2f64.powi(-10), [2f64.powi(-5), 4.0])])
    {
        let site = Site::new(Target::InverseSqrt { shift }, interval, 7, 2)?;
        let x = rows(310 + index, 2, interval[0], interval[1]);
        let values = per_entry(&encrypted(&x, steps), |x| site.apply(x, steps));
        let about = About {
            id: format!("circuit/inverse-sqrt/{name}"),
            rule: "approx.refinement",
            about: "1/sqrt(x + shift) by the given polynomial and Newton steps, against the exact function.",
            flags: &["interval-end"],
            op: "inverse-sqrt",
            encrypted: &["x"],
        };
        let inputs = [vec![("x", matrix(&x)), ("shift", Value::real(shift))], site.inputs()].concat();
        cases.push(about.case(inputs, vec![("value", values)])?);
    }
    Ok(cases)
}
