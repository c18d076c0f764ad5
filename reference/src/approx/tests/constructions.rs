//! Constructions against closed forms.

use super::*;
use rug::float::Constant;

/// The closed form has the error that theory gives it, `1 / |T_(n+1)(u(-shift))|`, and the exchange finds the same
/// polynomial.
#[test]
fn best_reciprocal_is_best() {
    let (interval, shift, degree) = ([0.0, 2.0], 0.25, 11);
    let domain = Domain::interval(interval).unwrap();
    let pole: f64 = (2.0 * shift + interval[1]) / interval[1];
    let theory = 1.0 / (12.0 * pole.acosh()).cosh();
    let closed: Vec<f64> = best_reciprocal(interval, shift, degree).iter().map(Float::to_f64).collect();
    let seen = grid_error(&Target::Reciprocal { shift }, &domain, ErrorKind::Relative, &form(&closed, 0), 480);
    // The grid has 40 points per coefficient: between them a cosine of order 12 falls by (pi / 80)^2 / 2 at most.
    assert!((seen / theory - 1.0).abs() < 1e-3, "{seen:e} against {theory:e}");

    let shifted = |x: &Float| Float::with_val(PREC, x) + shift;
    let exchanged = minimax(&|x| shifted(x).recip(), &shifted, &domain, degree, PREC).unwrap();
    assert!((exchanged.error / theory - 1.0).abs() < 1e-5, "{:e} against {theory:e}", exchanged.error);
    // Strong unicity: a weighted error within `d` of the best means a distance of at most `(2n + 1) d` from the best
    // polynomial in the weighted norm. The weight is at least `shift`, a Chebyshev coefficient at most twice the norm,
    // and the exchange stops at d = 1e-6 of the error.
    let limit = 2.0 / shift * f64::from(2 * degree as u32 + 1) * 1e-6 * theory;
    for (a, b) in closed.iter().zip(&exchanged.coefficients) {
        assert!((a - b.to_f64()).abs() < limit, "{a} and {b}: over {limit:e}");
    }
}

/// The best approximation of `x^(n+1)` by degree n leaves `T_(n+1) / 2^n`, and alternates `n + 2` times.
#[test]
fn best_approximation_of_a_power_leaves_a_chebyshev_polynomial() {
    for degree in [1, 2, 5, 8] {
        let power = |x: &Float| (0..degree).fold(x.clone(), |product, _| product * x);
        let domain = Domain::interval([-1.0, 1.0]).unwrap();
        let best = minimax(&power, &|_| Float::with_val(PREC, 1), &domain, degree, PREC).unwrap();
        let theory = 0.5f64.powi(degree as i32);
        assert!((best.error / theory - 1.0).abs() < 1e-6, "degree {degree}: {:e}", best.error);
        let coefficients: Vec<f64> = best.coefficients.iter().map(Float::to_f64).collect();
        for i in 0..=40 {
            let angle = std::f64::consts::PI * f64::from(i) / 40.0;
            let value: f64 = coefficients.iter().enumerate().map(|(k, c)| c * (k as f64 * angle).cos()).sum();
            let left = angle.cos().powi(degree as i32 + 1) - value;
            let expected = theory * ((degree + 1) as f64 * angle).cos();
            // Strong unicity as above: (2n + 1) of the exchange's tolerance.
            assert!((left - expected).abs() < theory * (2 * degree + 2) as f64 * 1e-6, "degree {degree} at {angle}");
        }
    }
}

/// Between sign changes the error of a best approximation reaches the same size, once more than there are coefficients: for
/// a general, an even, an odd and a relative problem, and for a union.
///
/// Rules: `r[approx.construction]`, `r[approx.symmetry]`.
#[test]
fn best_approximations_equioscillate() {
    use ErrorKind::{Absolute, Relative};
    let cases = [
        (Target::Exp, vec![[-1.0, 1.0]], 6, Absolute, 8),
        (Target::InverseSqrt { shift: 0.0 }, vec![[0.1, 4.5]], 7, Relative, 9),
        // Even: 6 coefficients on [0, 1], seen twice; the extremum at 0 is one.
        (Target::Cosine { turns: 1.0 }, vec![[-1.0, 1.0]], 10, Absolute, 13),
        // Odd: 4 coefficients, 5 extrema on either side.
        (Target::Tanh, vec![[-2.0, 2.0]], 7, Absolute, 10),
        (Target::Exp, vec![[-1.0, -0.5], [0.25, 1.0]], 5, Absolute, 7),
    ];
    for (target, pieces, degree, kind, expected) in cases {
        let domain = Domain::new(pieces).unwrap();
        let (coefficients, certificate) = solve(target, &domain, degree, kind);
        let form = form(&coefficients, 0);
        let signed = |x: f64| {
            let x = Float::with_val(PREC, x);
            let exact = target.value(&x);
            let difference = form.value(&target, domain.hull(), &x) - &exact;
            if kind == Relative { (difference / exact).to_f64() } else { difference.to_f64() }
        };
        let mut peaks: Vec<f64> = Vec::new();
        for [a, b] in domain.pieces() {
            for i in 0..=2000 {
                let cosine = -(std::f64::consts::PI * f64::from(i) / 2000.0).cos();
                let error = signed((f64::midpoint(*a, *b) + (b - a) / 2.0 * cosine).clamp(*a, *b));
                match peaks.last_mut() {
                    Some(peak) if *peak * error > 0.0 => *peak = if error.abs() > peak.abs() { error } else { *peak },
                    _ => peaks.push(error),
                }
            }
        }
        // The odd error is zero in the middle, which the grid may meet.
        peaks.retain(|peak| peak.abs() > certificate.witness * 1e-6);
        assert_eq!(peaks.len(), expected, "{target:?} on {domain}: {peaks:?}");
        for peak in &peaks {
            // The exchange levels to 1e-6; 2,000 points for at most 13 extrema miss (13 pi / 4000)^2 / 2.
            let ratio = peak.abs() / certificate.witness;
            assert!((ratio - 1.0).abs() < 5e-3, "{target:?} on {domain}: {peaks:?}");
        }
    }
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

/// `1 / (x + a) = (2 / sqrt(a^2 - 1)) (1/2 + sum_k (-1)^k r^k T_k)`, `r = a - sqrt(a^2 - 1)`.
#[test]
fn series_of_a_reciprocal_is_geometric() {
    let a = Float::with_val(PREC, 1.5);
    let root = (Float::with_val(PREC, a.square_ref()) - 1u32).sqrt();
    let ratio = Float::with_val(PREC, &root - &a);
    let coefficients = series(&|x| Float::with_val(PREC, x + &a).recip(), [-1.0, 1.0], 20, PREC).unwrap();
    let mut expected = Float::with_val(PREC, 2) / &root;
    for (k, c) in coefficients.iter().enumerate() {
        let value = if k == 0 { Float::with_val(PREC, &expected / 2u32) } else { expected.clone() };
        assert!(Float::with_val(PREC, c - value).abs() < 1e-28, "c_{k} = {c}");
        expected *= &ratio;
    }
}

/// (`r[approx.cosine]`) `e^x = I_0(1) + 2 sum_k I_k(1) T_k`, and `cos(w u) = J_0(w) + 2 sum_k (-1)^k J_2k(w) T_2k`.
#[test]
fn series_of_entire_functions_are_bessel_functions() {
    let exponential = series(&|x| Float::with_val(PREC, x.exp_ref()), [-1.0, 1.0], 12, PREC).unwrap();
    for (k, c) in exponential.iter().enumerate() {
        // I_k(1) = sum_m (1/2)^(2m + k) / (m! (m + k)!).
        let mut term = (1..=k).fold(Float::with_val(PREC, 1), |product, j| product / (2 * j) as u64);
        let mut sum = Float::new(PREC);
        for m in 1..40u64 {
            sum += &term;
            term /= 4 * m * (m + k as u64);
        }
        let expected = if k == 0 { sum } else { sum * 2u32 };
        assert!(Float::with_val(PREC, c - expected).abs() < 1e-28, "c_{k} = {c}");
    }
    let argument = Float::with_val(PREC, Constant::Pi) * 2u32 * 4.25f64;
    let (target, domain) = (Target::Cosine { turns: 4.25 }, Domain::interval([-1.0, 1.0]).unwrap());
    let request = Request {
        target,
        domain: &domain,
        degree: 56,
        kind: ErrorKind::Absolute,
        method: Method::Series,
        parity: None,
    };
    for (k, c) in approximate(&request).unwrap().into_iter().enumerate() {
        let sign = if k % 4 == 2 { -2.0 } else { 2.0 };
        let bessel = Float::with_val(PREC, argument.jn_ref(k as i32));
        let expected = if k == 0 { bessel } else { bessel * sign };
        let expected = if k % 2 == 1 { 0.0 } else { expected.to_f64() };
        assert_eq!(c.to_bits(), expected.to_bits(), "c_{k}");
    }
}

/// Least squares of a polynomial is that polynomial, on an interval and on a union; the residual of another function is
/// orthogonal to every basis polynomial.
#[test]
fn least_squares_of_a_polynomial_is_exact() {
    for (pieces, prec) in [(vec![[-1.0, 3.0]], 256), (vec![[-1.0, 0.0], [0.5, 1.0], [2.75, 3.0]], 500)] {
        let domain = Domain::new(pieces).unwrap();
        // 1 - x + x^4 / 8.
        let quartic = |x: &Float| {
            let square = Float::with_val(prec, x.square_ref());
            square.square() / 8u32 - x + 1u32
        };
        let weight = |x: &Float| Float::with_val(prec, x.exp_ref());
        let all: Vec<usize> = (0..=7).collect();
        let fitted = least_squares(&quartic, &weight, &domain, &all, prec).unwrap();
        let expected = interpolate(&quartic, domain.hull(), 7, prec);
        for (a, b) in fitted.iter().zip(&expected) {
            assert!(Float::with_val(prec, a - b).abs() < 1e-50, "{a} and {b} on {domain}");
        }
    }
}

/// Every method on one problem: no certificate is below the minimax one's lower bound, and interpolation and series stay
/// within the factor of a Lebesgue constant.
#[test]
fn minimax_is_best_of_all_methods() {
    let domain = Domain::interval([-2.0, 1.0]).unwrap();
    let (target, degree, kind) = (Target::Exp, 9, ErrorKind::Absolute);
    let (_, best) = solve(target, &domain, degree, kind);
    for method in [Method::Interpolation, Method::Series, Method::LeastSquares] {
        let coefficients =
            approximate(&Request { target, domain: &domain, degree, kind, method, parity: None }).unwrap();
        let other = certify_on(&target, &domain, kind, &coefficients, Refinement::None).unwrap();
        assert!(other.sup_error >= best.witness * (1.0 - 1e-6), "{method:?}: {other:?} below {best:?}");
        // 1 + Lebesgue constant of interpolation: 2 + (2 / pi) log(degree + 1); the series' and this least squares' are
        // smaller.
        let lebesgue = 2.0 + 2.0 / std::f64::consts::PI * 10f64.ln();
        assert!(other.sup_error <= 1.01 * lebesgue * best.sup_error, "{method:?}: {other:?} far above {best:?}");
    }
}

#[test]
fn unsuitable_requests_are_refused() {
    let [one, symmetric] = [[0.5, 1.0], [-1.0, 1.0]].map(|ends| Domain::interval(ends).unwrap());
    let union = Domain::new(vec![[-1.0, -0.5], [0.5, 1.0]]).unwrap();
    let request = |target, domain, method, parity, degree| {
        approximate(&Request { target, domain, degree, kind: ErrorKind::Absolute, method, parity })
    };
    let refused = [
        request(Target::Exp, &symmetric, Method::Minimax, Some(Parity::Even), 4),
        request(Target::Gelu, &symmetric, Method::Minimax, Some(Parity::Even), 4),
        request(Target::Tanh, &symmetric, Method::Minimax, Some(Parity::Even), 4),
        request(Target::Tanh, &one, Method::Minimax, Some(Parity::Odd), 5),
        request(Target::Exp, &union, Method::Interpolation, None, 4),
        request(Target::Exp, &union, Method::Series, None, 4),
        request(Target::Exp, &one, Method::Minimax, None, 1024),
        request(Target::Exp, &one, Method::LeastSquares, None, 256),
        request(Target::Reciprocal { shift: 0.0 }, &symmetric, Method::Minimax, None, 4),
    ];
    assert!(refused.iter().all(Result::is_err), "{refused:?}");
    assert!(fit(&reciprocal(0.0), [0.0, 1.0], 3).is_err());
    assert!(fit(&Function::Gelu, [1.0, 0.0], 3).is_err());
}
