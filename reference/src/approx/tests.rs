//! Laws of the constructions, and certificates against dense grids and planted errors.

use super::*;
use crate::interval::Interval;
use crate::rungs::exact;
use rug::Float;
use touchstone_spec::artifact::{ErrorKind, Function, Refinement};
use touchstone_spec::hexfloat::HexFloat;

const PREC: u32 = 200;

fn inverse_sqrt(shift: f64) -> Function {
    Function::InverseSqrt { shift: HexFloat(shift) }
}

fn reciprocal(shift: f64) -> Function {
    Function::Reciprocal { shift: HexFloat(shift) }
}

/// Lower bound of the error at one point, by the interval evaluation that the rungs use.
fn error_at(function: &Function, series: &Chebyshev, newton: u32, x: f64) -> f64 {
    let point = Interval::from_f64(x, PREC);
    let constant = |value: f64| Interval::from_f64(value, PREC);
    let mut y = series.enclosure(&point);
    for _ in 0..newton {
        y = match function {
            Function::InverseSqrt { shift } => {
                let product = &(&point + &constant(shift.0)) * &y.sqr();
                &(&y * &(&constant(3.0) - &product)) * &constant(0.5)
            }
            Function::Reciprocal { shift } => {
                let product = &(&point + &constant(shift.0)) * &y;
                &y * &(&constant(2.0) - &product)
            }
            Function::Gelu => y,
        };
    }
    let value = exact(function, &point, PREC);
    let error = match error_kind(function) {
        ErrorKind::Absolute => &y - &value,
        ErrorKind::Relative => &(&y - &value) / &value,
    };
    error.mignitude().to_f64()
}

/// Largest error on a grid that is dense at both ends.
fn grid_error(function: &Function, [a, b]: [f64; 2], coefficients: &[f64], newton: u32) -> f64 {
    let series = Chebyshev::new([a, b], coefficients.to_vec()).unwrap();
    let count = 40 * coefficients.len();
    (0..=count).fold(0.0, |most: f64, i| {
        let cosine = (std::f64::consts::PI * i as f64 / count as f64).cos();
        let x = (f64::midpoint(a, b) + (b - a) / 2.0 * cosine).clamp(a, b);
        most.max(error_at(function, &series, newton, x))
    })
}

/// The functions of the shipped model at its degrees, and smaller cases with refinement.
fn cases() -> Vec<(Function, [f64; 2], usize, u32)> {
    vec![
        (inverse_sqrt(1e-5), [2.9e-4, 7.2e-3], 31, 0),
        (inverse_sqrt(0.0), [0.1, 4.5], 7, 0),
        (inverse_sqrt(0.0), [0.1, 4.5], 3, 2),
        (reciprocal(0.01), [0.0, 4.5], 127, 0),
        (reciprocal(0.01), [0.0, 1.0], 15, 3),
        (Function::Gelu, [-5.4, 5.4], 15, 0),
        (Function::Gelu, [-5.4, 5.4], 31, 0),
        (Function::Gelu, [-1.0, 3.0], 9, 0),
    ]
}

fn newton(iterations: u32) -> Refinement {
    if iterations == 0 { Refinement::None } else { Refinement::Newton { iterations } }
}

/// A certificate is an upper bound of the error on a dense grid, and at most one percent above it.
#[test]
fn certificates_bound_the_error_within_one_percent() {
    for (function, interval, degree, steps) in cases() {
        let coefficients = fit(&function, interval, degree).unwrap();
        let certificate = certify(&function, interval, &coefficients, newton(steps)).unwrap();
        let seen = grid_error(&function, interval, &coefficients, steps);
        assert!(certificate.sup_error >= seen, "{function:?}, degree {degree}: {certificate:?} below {seen:e}");
        assert!(certificate.sup_error <= 1.01 * seen, "{function:?}, degree {degree}: {certificate:?} above {seen:e}");
        assert!(certificate.witness <= certificate.sup_error);
    }
}

/// One coefficient changed by a known amount moves the certified error by about that amount.
#[test]
fn certificates_notice_a_planted_error() {
    let interval = [-5.4, 5.4];
    let mut coefficients = fit(&Function::Gelu, interval, 31).unwrap();
    coefficients[7] += 1e-3;
    let planted = certify(&Function::Gelu, interval, &coefficients, Refinement::None).unwrap();
    // |T_7| reaches 1; the unchanged error is below 1e-6.
    assert!(planted.sup_error > 0.999e-3 && planted.sup_error < 1.02e-3, "{planted:?}");
}

#[test]
fn certification_refuses_what_has_no_bound() {
    let refused = [
        certify(&reciprocal(0.0), [0.0, 1.0], &[1.0], Refinement::None),
        certify(&inverse_sqrt(0.0), [-1.0, 1.0], &[1.0], Refinement::None),
        certify(&Function::Gelu, [1.0, 1.0], &[1.0], Refinement::None),
        certify(&Function::Gelu, [0.0, 1.0], &[], Refinement::None),
        certify(&Function::Gelu, [0.0, 1.0], &[f64::NAN], Refinement::None),
        certify(&Function::Gelu, [0.0, 1.0], &[1.0], Refinement::Newton { iterations: 1 }),
    ];
    assert!(refused.iter().all(Result::is_err), "{refused:?}");
    assert!(fit(&reciprocal(0.0), [0.0, 1.0], 3).is_err());
    assert!(fit(&Function::Gelu, [1.0, 0.0], 3).is_err());
}

/// The closed form has the error that theory gives it, `1 / |T_(n+1)(u(-shift))|`, and the exchange finds the same
/// polynomial.
#[test]
fn best_reciprocal_is_best() {
    let (interval, shift, degree) = ([0.0, 2.0], 0.25, 11);
    let pole: f64 = (2.0 * shift + interval[1]) / interval[1];
    let theory = 1.0 / (12.0 * pole.acosh()).cosh();
    let closed: Vec<f64> = best_reciprocal(interval, shift, degree).iter().map(Float::to_f64).collect();
    let seen = grid_error(&reciprocal(shift), interval, &closed, 0);
    // The grid has 40 points per coefficient: between them a cosine of order 12 falls by (pi / 80)^2 / 2 at most.
    assert!((seen / theory - 1.0).abs() < 1e-3, "{seen:e} against {theory:e}");

    let shifted = |x: &Float| Float::with_val(PREC, x) + shift;
    let exchanged =
        minimax(&|x| shifted(x).recip(), &shifted, &Domain::interval(interval).unwrap(), degree, PREC).unwrap();
    assert!((exchanged.error / theory - 1.0).abs() < 1e-5, "{:e} against {theory:e}", exchanged.error);
    // Strong unicity: a weighted error within `d` of the best means a distance of at most `(2n + 1) d` from the best
    // polynomial in the weighted norm. The weight is at least `shift`, a Chebyshev coefficient at most twice the norm,
    // and the exchange stops at d = 1e-6 of the error.
    let limit = 2.0 / shift * f64::from(2 * degree as u32 + 1) * 1e-6 * theory;
    for (a, b) in closed.iter().zip(&exchanged.coefficients) {
        assert!((a - b.to_f64()).abs() < limit, "{a} and {b}: over {limit:e}");
    }
}

/// The best linear approximation of x^2 on [-1, 1] is 1/2, with error 1/2.
#[test]
fn exchange_finds_a_known_best_approximation() {
    let square = |x: &Float| Float::with_val(PREC, x.square_ref());
    let line =
        minimax(&square, &|_| Float::with_val(PREC, 1), &Domain::interval([-1.0, 1.0]).unwrap(), 1, PREC).unwrap();
    assert!((line.error - 0.5).abs() < 1e-6, "{line:?}");
    assert!((line.coefficients[0].to_f64() - 0.5).abs() < 1e-6 && line.coefficients[1].to_f64().abs() < 1e-6);
}

#[test]
fn interpolation_reproduces_a_polynomial() {
    // x^3 = (3 T_1 + T_3) / 4 on [-1, 1].
    let cube = |x: &Float| Float::with_val(PREC, x.square_ref()) * x;
    let coefficients = interpolate(&cube, [-1.0, 1.0], 5, PREC);
    for (c, expected) in coefficients.iter().zip([0.0, 0.75, 0.0, 0.25, 0.0, 0.0]) {
        assert!((c.to_f64() - expected).abs() < 1e-50, "{coefficients:?}");
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
