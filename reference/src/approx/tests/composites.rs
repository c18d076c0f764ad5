//! Compositions: targets are met at the stated depth, certificates are tight, and nothing shallower is overlooked.

use super::*;

const CASES: [(Target, [f64; 2], ErrorKind, f64); 7] = [
    (Target::Reciprocal { shift: 0.01 }, [0.0, 1.0], ErrorKind::Relative, 1e-5),
    (Target::Reciprocal { shift: 0.0 }, [0.5, 6.0], ErrorKind::Relative, 1e-4),
    (Target::Reciprocal { shift: 0.0 }, [1.0, 1.5], ErrorKind::Relative, 0.1),
    (Target::Reciprocal { shift: 0.0 }, [0.25, 2.0], ErrorKind::Absolute, 1e-6),
    (Target::InverseSqrt { shift: 1e-5 }, [0.02, 2.0], ErrorKind::Relative, 1e-4),
    (Target::InverseSqrt { shift: 0.0 }, [0.5, 2.0], ErrorKind::Absolute, 1e-7),
    (Target::InverseSqrt { shift: 0.0 }, [0.9, 1.1], ErrorKind::Relative, 0.2),
];

/// Cost by the rules, from the form alone.
fn cost(target: &Target, [a, b]: [f64; 2], form: &Form) -> (usize, usize) {
    let reciprocal = if let Target::Reciprocal { shift } = target { Some(*shift) } else { None };
    match form {
        Form::Goldschmidt(schedule) => {
            let steps = schedule.factors.len();
            let divided = a + b + 2.0 * reciprocal.unwrap_or(0.0) > 2.0;
            (steps + usize::from(divided), 2 * steps - 2)
        }
        Form::Refined { coefficients, iteration, steps } => {
            let (steps, degree) = (*steps as usize, coefficients.len() - 1);
            let products = if reciprocal.is_some() { 2 } else { 3 };
            let linear = usize::from(degree == 0 && steps > 0);
            let levels = if *iteration == Iteration::Newton || steps == 0 { 2 * steps } else { steps + 1 };
            (polynomial_depth(degree) + levels - linear, polynomial_products(degree) + products * (steps - linear))
        }
    }
}

/// (`r[approx.composite]`)
#[test]
fn compositions_meet_their_target_with_tight_certificates() {
    for (target, interval, kind, error) in CASES {
        let found = optimise(&target, interval, kind, error).unwrap();
        assert!(found.certificate.sup_error <= error, "{found:?}");
        assert_eq!((found.depth, found.products), cost(&target, interval, &found.form), "{found:?}");
        let domain = Domain::interval(interval).unwrap();
        // The value is a polynomial of degree below 2^depth.
        let seen = grid_error(&target, &domain, kind, &found.form, 40 << found.depth);
        assert!(found.certificate.sup_error >= seen, "{found:?} below {seen:e}");
        assert!(found.certificate.sup_error <= 1.01 * seen, "{found:?} above {seen:e}");
    }
}

/// One level less cannot do: the value would be a polynomial of degree below `2^(depth - 1)`, and the best one's error is
/// above the target.
#[test]
fn no_shallower_composition_exists() {
    for (target, interval, kind, error) in CASES {
        let found = optimise(&target, interval, kind, error).unwrap();
        if found.depth == 0 {
            continue;
        }
        let (_, best) = solve(target, &Domain::interval(interval).unwrap(), (1 << (found.depth - 1)) - 1, kind);
        // Goldschmidt's division by the upper end, one of its levels, leaves the degree as it is.
        assert!(best.witness > error, "{target:?} on {interval:?}: {best:?} suffices before depth {}", found.depth);
    }
}

/// (`r[approx.goldschmidt]`) A schedule's certificate, from the range of a scalar, against the Taylor-model certificate of the same values: plain
/// Goldschmidt from `2 / (lo + hi)` is Newton's iteration up to the last centring.
#[test]
fn schedules_have_the_error_of_theory() {
    let [lo, hi] = [0.05, 1.0];
    for steps in [1, 3, 5] {
        let plain = Goldschmidt::new([lo, hi], steps, Relaxation::FirstStep).unwrap();
        let relaxed = Goldschmidt::new([lo, hi], steps, Relaxation::EveryStep).unwrap();
        let [plain_proof, relaxed_proof] = [&plain, &relaxed].map(|s| s.certify([lo, hi], 0.0).unwrap());
        // Before centring the values fill [1 - d, 1], d = ((k-1)/(k+1))^(2^r); centred, the error is d / (2 - d).
        let d = ((hi / lo - 1.0) / (hi / lo + 1.0)).powi(1 << steps);
        assert!((plain_proof.sup_error / (d / (2.0 - d)) - 1.0).abs() < 1e-9, "{plain_proof:?}");
        assert!(relaxed_proof.sup_error <= plain_proof.sup_error * (1.0 + 1e-12), "{relaxed_proof:?}");
        let newton = certify(&reciprocal(0.0), [lo, hi], &[2.0 / (lo + hi)], newton(steps as u32)).unwrap();
        assert!(newton.sup_error >= d && newton.sup_error <= 1.005 * d, "{newton:?} against {d:e}");
        // A factor that is off by a hundredth is noticed.
        let mut planted = relaxed.clone();
        planted.scale *= 1.01;
        assert!(planted.certify([lo, hi], 0.0).unwrap().sup_error > relaxed_proof.sup_error + 0.005);
    }
}

#[test]
fn unsuitable_targets_are_refused() {
    let refused = [
        optimise(&Target::Gelu, [1.0, 2.0], ErrorKind::Absolute, 1e-3),
        optimise(&Target::Reciprocal { shift: 0.0 }, [-2.0, -1.0], ErrorKind::Relative, 1e-3),
        optimise(&Target::Reciprocal { shift: 0.0 }, [0.0, 1.0], ErrorKind::Relative, 1e-3),
        optimise(&Target::Reciprocal { shift: 0.0 }, [1.0, 2.0], ErrorKind::Relative, 0.0),
        optimise(&Target::Reciprocal { shift: 0.0 }, [1.0, 2.0], ErrorKind::Relative, f64::NAN),
    ];
    assert!(refused.iter().all(Result::is_err), "{refused:?}");
    assert!(Goldschmidt::new([0.0, 1.0], 3, Relaxation::EveryStep).is_err());
    assert!(Goldschmidt::new([0.5, 1.0], 0, Relaxation::EveryStep).is_err());
}
