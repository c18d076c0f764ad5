//! Laws of the constructions against closed forms, and certificates against dense grids and planted errors.

use super::*;
use crate::interval::Interval;
use proptest::prelude::*;
use rug::Float;
use touchstone_spec::artifact::{ErrorKind, Function, Refinement};
use touchstone_spec::hexfloat::HexFloat;

mod composites;
mod constructions;

const PREC: u32 = 200;

fn inverse_sqrt(shift: f64) -> Function {
    Function::InverseSqrt { shift: HexFloat(shift) }
}

fn reciprocal(shift: f64) -> Function {
    Function::Reciprocal { shift: HexFloat(shift) }
}

fn newton(iterations: u32) -> Refinement {
    if iterations == 0 { Refinement::None } else { Refinement::Newton { iterations } }
}

fn form(coefficients: &[f64], steps: u32) -> Form {
    Form::Refined { coefficients: coefficients.to_vec(), iteration: Iteration::Newton, steps }
}

/// Error at a point, in plain arithmetic at [`PREC`] bits: no code of the certificate is used.
fn error_at(target: &Target, kind: ErrorKind, form: &Form, hull: [f64; 2], x: f64) -> f64 {
    let x = Float::with_val(PREC, x);
    let exact = target.value(&x);
    let difference = form.value(target, hull, &x) - &exact;
    let error = if kind == ErrorKind::Relative { difference / exact } else { difference };
    error.to_f64().abs()
}

/// Largest error on a grid of every interval that is dense at its ends.
fn grid_error(target: &Target, domain: &Domain, kind: ErrorKind, form: &Form, count: usize) -> f64 {
    let points = domain.pieces().iter().flat_map(|&[a, b]| {
        (0..=count).map(move |i| {
            let cosine = (std::f64::consts::PI * i as f64 / count as f64).cos();
            (f64::midpoint(a, b) + (b - a) / 2.0 * cosine).clamp(a, b)
        })
    });
    points.fold(0.0, |most: f64, x| most.max(error_at(target, kind, form, domain.hull(), x)))
}

/// A minimax polynomial with its certificate.
fn solve(target: Target, domain: &Domain, degree: usize, kind: ErrorKind) -> (Vec<f64>, Certificate) {
    let request = Request { target, domain, degree, kind, method: Method::Minimax, parity: None };
    let coefficients = approximate(&request).unwrap();
    let certificate = certify_on(&target, domain, kind, &coefficients, Refinement::None).unwrap();
    (coefficients, certificate)
}

/// A certificate is an upper bound of the error on a dense grid, and at most one percent above it.
fn check(target: &Target, domain: &Domain, kind: ErrorKind, coefficients: &[f64], steps: u32) {
    let certificate = certify_on(target, domain, kind, coefficients, newton(steps)).unwrap();
    // Between two of these points a cosine of the composite's order falls by less than half a percent.
    let count = (40 * coefficients.len()) << steps.min(2);
    let seen = grid_error(target, domain, kind, &form(coefficients, steps), count);
    let case = format!("{target:?}, {} coefficients, {steps} steps", coefficients.len());
    assert!(certificate.sup_error >= seen, "{case}: {certificate:?} below {seen:e}");
    assert!(certificate.sup_error <= 1.01 * seen, "{case}: {certificate:?} above {seen:e}");
    assert!(certificate.witness <= certificate.sup_error);
}

/// The functions of the shipped model at smaller degrees, and cases with refinement.
#[test]
fn certificates_bound_the_error_within_one_percent() {
    let cases: [(Function, [f64; 2], usize, u32); 8] = [
        (inverse_sqrt(1e-5), [2.9e-4, 7.2e-3], 31, 0),
        (inverse_sqrt(0.0), [0.1, 4.5], 7, 0),
        (inverse_sqrt(0.0), [0.1, 4.5], 3, 2),
        (reciprocal(0.01), [0.0, 4.5], 127, 0),
        (reciprocal(0.01), [0.0, 1.0], 15, 3),
        (Function::Gelu, [-5.4, 5.4], 15, 0),
        (Function::Gelu, [-5.4, 5.4], 31, 0),
        (Function::Gelu, [-1.0, 3.0], 9, 0),
    ];
    for (function, interval, degree, steps) in cases {
        let coefficients = fit(&function, interval, degree).unwrap();
        let target = Target::from(&function);
        check(&target, &Domain::interval(interval).unwrap(), error_kind(&function), &coefficients, steps);
    }
}

/// Every function, both errors where it has no zero, symmetric and lopsided intervals, and unions.
///
/// Rules: `r[approx.functions]`, `r[approx.error]`, `r[approx.certificate.enclosure]`.
#[test]
fn certificates_of_every_function_are_tight() {
    use ErrorKind::{Absolute, Relative};
    let one = |a, b| vec![[a, b]];
    let cases = [
        (Target::Silu, one(-8.0, 8.0), 14, Absolute),
        (Target::Sigmoid, one(-6.0, 6.0), 11, Absolute),
        (Target::Sigmoid, one(-3.0, 5.0), 8, Relative),
        (Target::Tanh, one(-4.0, 4.0), 15, Absolute),
        (Target::Tanh, one(0.5, 4.0), 9, Relative),
        (Target::Erf, one(-3.0, 3.0), 13, Absolute),
        (Target::Exp, one(-1.0, 2.0), 6, Absolute),
        (Target::Exp, one(-4.0, 0.0), 7, Relative),
        (Target::Reciprocal { shift: 0.0 }, one(0.1, 2.0), 12, Absolute),
        (Target::Reciprocal { shift: 0.0 }, vec![[-2.0, -0.5], [0.5, 2.0]], 9, Relative),
        (Target::InverseSqrt { shift: 0.1 }, one(0.0, 2.0), 10, Absolute),
        (Target::Cosine { turns: 4.25 }, one(-1.0, 1.0), 56, Absolute),
        (Target::Cosine { turns: 1.0 }, vec![[-1.0, -0.75], [-0.1, 0.1], [0.75, 1.0]], 10, Absolute),
        (Target::Sine { turns: 1.0 }, vec![[-1.0, -0.9], [-0.1, 0.1], [0.9, 1.0]], 7, Absolute),
        (Target::Gelu, vec![[-4.0, -1.0], [2.0, 5.0]], 8, Absolute),
        (Target::Arcsine { factor: 128.0 }, one(-0.049, 0.049), 3, Absolute),
    ];
    for (target, pieces, degree, kind) in cases {
        let domain = Domain::new(pieces).unwrap();
        let (coefficients, _) = solve(target, &domain, degree, kind);
        check(&target, &domain, kind, &coefficients, 0);
    }
}

/// One coefficient changed by a known amount moves the certified error by about that amount.
#[test]
fn certificates_notice_a_planted_error() {
    let interval = [-5.4, 5.4];
    let mut coefficients = fit(&Function::Gelu, interval, 31).unwrap();
    let before = certify(&Function::Gelu, interval, &coefficients, Refinement::None).unwrap();
    coefficients[7] += 1e-3;
    let planted = certify(&Function::Gelu, interval, &coefficients, Refinement::None).unwrap();
    // |T_7| reaches 1, so the error is 1e-3 up to the error before.
    assert!(planted.witness >= 1e-3 * 0.996 - before.sup_error, "{planted:?}");
    assert!(planted.sup_error <= 1.004 * (1e-3 + before.sup_error), "{planted:?}");
    // On a union too, where T_1 is 1 at the end.
    let domain = Domain::new(vec![[-4.0, -1.0], [2.0, 5.0]]).unwrap();
    let (mut coefficients, before) = solve(Target::Gelu, &domain, 8, ErrorKind::Absolute);
    coefficients[1] -= 0.25;
    let planted = certify_on(&Target::Gelu, &domain, ErrorKind::Absolute, &coefficients, Refinement::None).unwrap();
    assert!(planted.sup_error >= 0.25 - before.sup_error, "{planted:?}");
}

#[test]
fn certification_refuses_what_has_no_bound() {
    let one = Domain::interval([0.0, 1.0]).unwrap();
    let on =
        |target: Target, kind, coefficients: &[f64]| certify_on(&target, &one, kind, coefficients, Refinement::None);
    let refused = [
        certify(&reciprocal(0.0), [0.0, 1.0], &[1.0], Refinement::None),
        certify(&inverse_sqrt(0.0), [-1.0, 1.0], &[1.0], Refinement::None),
        certify(&Function::Gelu, [1.0, 1.0], &[1.0], Refinement::None),
        certify(&Function::Gelu, [0.0, 1.0], &[], Refinement::None),
        certify(&Function::Gelu, [0.0, 1.0], &[f64::NAN], Refinement::None),
        certify(&Function::Gelu, [0.0, 1.0], &[1.0], Refinement::Newton { iterations: 1 }),
        on(Target::Tanh, ErrorKind::Relative, &[1.0]),
        on(Target::Arcsine { factor: 1.0 }, ErrorKind::Absolute, &[1.0]),
        on(Target::Cosine { turns: f64::INFINITY }, ErrorKind::Absolute, &[1.0]),
    ];
    assert!(refused.iter().all(Result::is_err), "{refused:?}");
    for pieces in [vec![], vec![[0.0, 1.0], [1.0, 2.0]], vec![[0.0, f64::NAN]], vec![[0.0, 1e-15], [0.5, 1.0]]] {
        assert!(Domain::new(pieces.clone()).is_err(), "{pieces:?}");
    }
}

/// The enclosure of a series on a narrow interval contains its values and is hardly wider than the slope demands;
/// binary64 evaluation agrees with it.
#[test]
fn series_enclosures_contain_values_and_stay_narrow() {
    let interval = [0.0, 4.5];
    let coefficients = fit(&reciprocal(0.01), interval, 127).unwrap();
    let series = Chebyshev::new(interval, coefficients).unwrap();
    let error = certify(&reciprocal(0.01), interval, series.coefficients(), Refinement::None).unwrap().sup_error;
    let radius = Float::with_val(128, 1e-30);
    let magnitudes: f64 = series.coefficients().iter().map(|c| c.abs()).sum();
    for i in 0..=50 {
        let x = 4.5 * f64::from(i) / 50.0;
        let point = series.enclosure(&Interval::from_f64(x, 600));
        let around = series.enclosure(&Interval::from_f64(x, 128).widen(&radius));
        assert!(around.encloses(&point), "at {x}");
        // p = f (1 - e) with |e| <= error, so by Markov's inequality |p'| <= f^2 (1 + error) + f error 128^2 2 / 4.5.
        let value = 1.0 / (x + 0.01);
        let slope = value * (value * (1.0 + error) + error * 128.0 * 128.0 * 2.0 / 4.5);
        let limit = 1e-30 * slope + magnitudes * 2f64.powi(-120);
        assert!(around.rad().to_f64() < limit, "at {x}: {:e} over {limit:e}", around.rad().to_f64());
        // Clenshaw in binary64: a rounding error of step k is multiplied by at most k + 1.
        let rounding = f64::EPSILON * 128.0 * 128.0 * magnitudes;
        assert!((series.value(x) - point.mid().to_f64()).abs() < rounding);
    }
}

/// A function, chosen with an interval on which it is smooth.
fn problem() -> impl Strategy<Value = (Target, [f64; 2])> {
    let anywhere = prop_oneof![
        Just(Target::Gelu),
        Just(Target::Silu),
        Just(Target::Sigmoid),
        Just(Target::Tanh),
        Just(Target::Erf),
        Just(Target::Exp),
        (0.1..2.0f64).prop_map(|turns| Target::Cosine { turns }),
        (0.1..2.0f64).prop_map(|turns| Target::Sine { turns }),
    ];
    let ends = (-4.0..4.0f64, 0.5..5.0f64);
    let positive = prop_oneof![
        (0.0..0.1f64).prop_map(|shift| Target::Reciprocal { shift }),
        (0.0..0.1f64).prop_map(|shift| Target::InverseSqrt { shift }),
    ];
    prop_oneof![
        (anywhere, ends).prop_map(|(target, (a, width))| (target, [a, a + width])),
        (positive, 0.05..1.0f64, 0.5..5.0f64).prop_map(|(target, a, width)| (target, [a, a + width])),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// On random intervals, unions of two parts of them included, a certificate bounds the error at random points, for
    /// random coefficients as well as for good ones.
    ///
    /// Rules: `r[approx.union]`.
    #[test]
    fn certificates_bound_random_evaluations(
        (target, [a, b]) in problem(),
        gap in prop::option::of((0.1..0.4f64, 0.5..0.9f64)),
        degree in 0usize..12,
        noise in prop::option::of(-0.5..0.5f64),
        parts in prop::collection::vec(0.0..=1.0f64, 24),
    ) {
        let at = |part: f64| (a + (b - a) * part).clamp(a, b);
        let pieces = gap.map_or(vec![[a, b]], |(c, d)| vec![[a, at(c)], [at(d), b]]);
        let domain = Domain::new(pieces).unwrap();
        let kind = target.error_kind();
        let method = if gap.is_none() { Method::Interpolation } else { Method::LeastSquares };
        let request = Request { target, domain: &domain, degree, kind, method, parity: None };
        let mut coefficients = approximate(&request).unwrap();
        coefficients[degree / 2] += noise.unwrap_or(0.0);
        let certificate = certify_on(&target, &domain, kind, &coefficients, Refinement::None).unwrap();
        let form = form(&coefficients, 0);
        for (i, part) in parts.iter().enumerate() {
            let [c, d] = domain.pieces()[i % domain.pieces().len()];
            let x = (c + (d - c) * part).clamp(c, d);
            let error = error_at(&target, kind, &form, domain.hull(), x);
            prop_assert!(error <= certificate.sup_error, "{:?} at {}: {} above {:?}", target, x, error, certificate);
        }
        prop_assert!(certificate.sup_error <= 1.01 * certificate.witness);
    }
}
