use super::plan::{Node, depth_of};
use super::*;
use crate::CkksError;
use crate::circuits::testing::{Fixture, assert_close, numbers};
use crate::ckks::noise::StepError;

const DEGREES: [usize; 24] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 15, 16, 17, 24, 27, 31, 32, 59, 63, 64, 100, 119, 127];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Parity {
    Any,
    Odd,
    Even,
}

/// A polynomial whose absolute coefficients sum to 1, so that its values are in [-1, 1].
fn sample(basis: Basis, degree: usize, parity: Parity) -> Polynomial {
    let keep = |i: usize| parity == Parity::Any || (i % 2 == 1) == (parity == Parity::Odd);
    let drawn = numbers(degree as u64, degree + 1);
    let mut coefficients: Vec<f64> = drawn.iter().enumerate().map(|(i, c)| if keep(i) { *c } else { 0.0 }).collect();
    let sum: f64 = coefficients.iter().map(|c| c.abs()).sum();
    coefficients.iter_mut().for_each(|c| *c /= sum.max(f64::MIN_POSITIVE));
    match basis {
        Basis::Chebyshev => Polynomial::chebyshev(coefficients).unwrap(),
        Basis::Monomial => Polynomial::monomial(coefficients).unwrap(),
    }
}

fn samples() -> impl Iterator<Item = (String, Polynomial)> {
    let bases = [Basis::Chebyshev, Basis::Monomial];
    let parities = [Parity::Any, Parity::Odd, Parity::Even];
    let kinds = bases.into_iter().flat_map(move |basis| parities.map(|parity| (basis, parity)));
    kinds.flat_map(|(basis, parity)| {
        DEGREES.into_iter().map(move |d| (format!("{basis:?} {parity:?} {d}"), sample(basis, d, parity)))
    })
}

#[test]
fn plans_compute_their_polynomial() {
    for (name, polynomial) in samples() {
        let plan = Plan::new(&polynomial);
        // A binary64 sum of up to d + 1 terms that add up to at most 1 in absolute value has error d * epsilon, every product
        // epsilon; Clenshaw's recurrence amplifies each of its d roundings by at most d.
        let degree = polynomial.degree().max(1) as f64;
        let step = StepError { rescale: 4.0 * degree * f64::EPSILON, constant: f64::EPSILON };
        let bound = plan.error_bound(0.0, step) + 4.0 * degree * degree * f64::EPSILON;
        for x in numbers(3, 50).into_iter().chain([-1.0, 0.0, 1.0]) {
            let error = (plan.evaluate(x) - polynomial.evaluate(x)).abs();
            assert!(error <= bound, "{name} at {x}: {error:e} above {bound:e}");
        }
    }
}

#[test]
fn evaluation_agrees_with_the_definition() {
    let chebyshev = Polynomial::chebyshev(vec![0.5, -1.0, 0.25, 2.0]).unwrap();
    for x in [-1.0f64, -0.3, 0.0, 0.7, 1.0] {
        let by_cosine: f64 =
            [0.5, -1.0, 0.25, 2.0].iter().enumerate().map(|(i, c)| c * (i as f64 * x.acos()).cos()).sum();
        assert!((chebyshev.evaluate(x) - by_cosine).abs() < 32.0 * f64::EPSILON, "at {x}");
    }
    assert_eq!(Polynomial::monomial(vec![1.0, 2.0, 3.0]).unwrap().evaluate(2.0), 17.0);
}

#[test]
fn depth_is_minimal_and_every_operand_exists_in_time() {
    fn check(node: &Node, name: &str) {
        for (index, _) in &node.terms {
            assert!(depth_of(*index) <= node.depth, "{name}: term {index} at depth {}", node.depth);
        }
        for (giant, child) in &node.products {
            assert!(depth_of(*giant) <= node.depth, "{name}: factor {giant} at depth {}", node.depth);
            assert_eq!(child.depth + 1, node.depth, "{name}");
            check(child, name);
        }
    }
    for (name, polynomial) in samples() {
        let plan = Plan::new(&polynomial);
        let degree = polynomial.degree() as f64;
        assert_eq!(plan.depth(), (degree + 1.0).log2().ceil() as usize, "{name}");
        if let Some(root) = &plan.root {
            assert_eq!(root.depth + 1, plan.depth(), "{name}");
            check(root, &name);
        }
        for power in &plan.powers {
            assert_eq!(power.left + power.right, power.index, "{name}");
            assert!(depth_of(power.left).max(depth_of(power.right)) < depth_of(power.index), "{name}");
        }
    }
}

#[test]
fn costs_are_those_of_the_published_schedules() {
    let cost = |degree, parity| {
        let plan = Plan::new(&sample(Basis::Chebyshev, degree, parity));
        (plan.depth(), plan.multiplications(), plan.key_switches())
    };
    assert_eq!(cost(31, Parity::Any), (5, 13, 10));
    assert_eq!(cost(63, Parity::Any), (6, 18, 15));
    assert_eq!(cost(127, Parity::Any), (7, 27, 20));
    for degree in [15, 31, 63, 127] {
        let full = cost(degree, Parity::Any).1;
        assert!(cost(degree, Parity::Odd).1 <= full, "odd {degree}");
        assert!(cost(degree, Parity::Even).1 < full, "even {degree}");
        // Paterson and Stockmeyer: sqrt(2 d) + O(log d) products, and the leading chunk's split.
        let limit = (2.0 * degree as f64).sqrt() + 2.0 * f64::from(degree.ilog2()) + 1.0;
        assert!(full as f64 <= limit, "{degree}: {full} products, at most {limit}");
    }
}

fn check_encrypted(fixture: &Fixture, name: &str, polynomial: &Polynomial) {
    let xs = {
        let mut xs = numbers(17, fixture.slots());
        xs[..3].copy_from_slice(&[-1.0, 0.0, 1.0]);
        xs
    };
    let plan = Plan::new(polynomial);
    let ct = fixture.encrypt_real(&xs);
    let value = evaluate(&fixture.evaluator(), &ct, polynomial).unwrap();
    let expected: Vec<f64> = xs.iter().map(|x| polynomial.evaluate(*x)).collect();
    let bound = plan.error_bound(fixture.input_error(), fixture.steps(plan.depth().max(1)));
    let got = fixture.decrypt(&value, fixture.top() - plan.depth());
    assert_close(name, &got, &expected, |_| bound);
}

#[test]
fn encrypted_values_are_within_the_bound_toy_n8() {
    let fixture = Fixture::new("toy-n8", 5, []);
    for (name, polynomial) in samples() {
        check_encrypted(&fixture, &name, &polynomial);
    }
}

#[test]
fn encrypted_values_are_within_the_bound_small_n12() {
    let fixture = Fixture::new("small-n12", 6, []);
    for (degree, parity) in [(27, Parity::Any), (31, Parity::Any), (63, Parity::Odd), (127, Parity::Any)] {
        let polynomial = sample(Basis::Chebyshev, degree, parity);
        check_encrypted(&fixture, &format!("{parity:?} {degree}"), &polynomial);
    }
}

#[test]
fn normalise_maps_the_interval() {
    let fixture = Fixture::new("toy-n8", 7, []);
    let (lo, hi) = (-0.25, 3.0);
    let xs: Vec<f64> = numbers(1, fixture.slots()).iter().map(|x| lo + (hi - lo) * (x + 1.0) / 2.0).collect();
    let mapped = normalise(&fixture.evaluator(), &fixture.encrypt_real(&xs), lo, hi).unwrap();
    let expected: Vec<f64> = xs.iter().map(|x| (2.0 * x - lo - hi) / (hi - lo)).collect();
    let step = fixture.steps(1);
    let bound = fixture.input_error() * 2.0 / (hi - lo) + step.rescale + step.constant * (hi + 2.0);
    assert_close("normalise", &fixture.decrypt(&mapped, fixture.top() - 1), &expected, |_| bound);
    assert!(matches!(normalise(&fixture.evaluator(), &mapped, 1.0, 1.0), Err(CkksError::Argument { .. })));
}

#[test]
fn unsuitable_inputs_are_refused() {
    assert!(matches!(Polynomial::chebyshev(vec![0.0, f64::NAN]), Err(CkksError::Argument { .. })));
    let fixture = Fixture::new("toy-n8", 8, []);
    let ev = fixture.evaluator();
    let ct = fixture.encrypt_real(&vec![0.5; fixture.slots()]);
    let polynomial = sample(Basis::Chebyshev, 31, Parity::Any);
    let low = ev.to_level(&ct, 4).unwrap();
    let exhausted = CkksError::LevelExhausted { operation: "polynomial::evaluate", expected: 5, got: 4 };
    assert_eq!(evaluate(&ev, &low, &polynomial).unwrap_err(), exhausted);
    let dropped = ev.drop_level(&ct, 6).unwrap();
    assert!(matches!(evaluate(&ev, &dropped, &polynomial), Err(CkksError::Scale { .. })));
    let keys = crate::EvaluationKeys::new();
    let keyless = crate::Evaluator::new(&fixture.context, &keys);
    assert!(matches!(evaluate(&keyless, &ct, &polynomial), Err(CkksError::MissingKey { .. })));
}
