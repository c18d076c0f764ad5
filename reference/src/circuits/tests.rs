//! Plans on exact numbers, circuits against what they stand for, and refusals.

use super::*;
use crate::ckks::{Encoder, SecretKey, decrypt, encrypt_secret};
use crate::sample::{Seed, Stream, StreamId};
use num_complex::Complex64;
use rug::Rational;
use std::collections::BTreeSet;
use touchstone_spec::params::ParameterLiteral;

/// Failure probability of every statistical assertion here.
const FAILURE: f64 = 1e-9;

struct Setup {
    params: Parameters,
    seed: Seed,
    secret: SecretKey,
    encoder: Encoder,
    keys: Keys,
}

impl Setup {
    fn new(preset: &str, seed: u8, rotations: impl IntoIterator<Item = i64>) -> Self {
        println!("{preset}, seed {seed}");
        let params = Parameters::new(&ParameterLiteral::preset(preset).unwrap()).unwrap();
        let seed = [seed; 16];
        let secret = SecretKey::generate(&params, &seed).unwrap();
        let top = params.max_level();
        let mut keys = Keys::new();
        keys.insert(KeySwitchKey::relinearisation(&params, &seed, &secret, top).unwrap());
        for steps in rotations {
            let g = rotation_element(&params, steps);
            keys.insert(KeySwitchKey::galois(&params, &seed, &secret, g, top).unwrap());
        }
        Self { encoder: Encoder::new(&params), params, seed, secret, keys }
    }

    fn circuits(&self) -> Circuits<'_> {
        Circuits::new(&self.params, &self.keys)
    }

    fn encrypt(&self, slots: &[Complex64], level: usize) -> Ciphertext {
        let scale = self.params.canonical_scale(level).unwrap();
        let message = self.encoder.encode_at(&self.params, slots, level, scale).unwrap();
        encrypt_secret(&self.params, &self.seed, &self.secret, level as u32, &message).unwrap()
    }

    fn encrypt_real(&self, xs: &[f64], level: usize) -> Ciphertext {
        self.encrypt(&xs.iter().map(|x| Complex64::new(*x, 0.0)).collect::<Vec<_>>(), level)
    }

    /// Slots of a canonical result.
    fn slots_of(&self, a: &Ciphertext) -> Vec<Complex64> {
        assert_eq!(a.scale, self.params.canonical_scale(a.level).unwrap(), "the result is not canonical");
        self.encoder.decode(&decrypt(&self.secret, a).unwrap()).unwrap().slots
    }

    /// Numbers in `[-1, 1)`, from the seed.
    fn numbers(&self, index: u32, count: usize) -> Vec<f64> {
        let mut stream = Stream::new(&self.seed, StreamId::new(1002, index));
        (0..count).map(|_| (stream.next_u64() >> 11) as f64 * f64::EPSILON - 1.0).collect()
    }

    /// Bound on a slot's error from one variance per coefficient at the lowest canonical scale (`r[noise.bound.slot]`).
    fn bound(&self, variance: f64) -> f64 {
        let scales = (0..=self.params.max_level()).map(|l| self.params.canonical_scale(l).unwrap());
        let deviation = (self.params.n() as f64 * variance / 2.0).sqrt() / scales.fold(f64::INFINITY, f64::min);
        2f64.sqrt() * (2.0 * self.params.slots() as f64 / FAILURE).ln() / 2f64.sqrt() * deviation
    }

    /// Modulus of the error of one rescale with everything that is rounded together with it: the division by `P` and
    /// the constants of the sum, which weigh less (`r[noise.rescale]`, `r[noise.keyswitch]`).
    fn rescale_error(&self) -> f64 {
        self.bound(2.0 * (self.secret.weight() as f64 + 1.0) / 12.0)
    }

    fn input_error(&self) -> f64 {
        self.bound(3.2f64.powi(2) + 1.0 / 12.0)
    }
}

/// A number with a bound on its error and the error that every rescale adds.
#[derive(Clone, Copy, Debug)]
struct Tracked {
    value: f64,
    error: f64,
    step: f64,
}

impl Tracked {
    fn product(self, other: Self) -> Self {
        let error = self.value.abs() * other.error + other.value.abs() * self.error + self.error * other.error;
        Self { value: self.value * other.value, error: error + self.step, ..self }
    }

    fn affine(self, slope: f64, offset: f64) -> Self {
        Self { value: slope * self.value + offset, error: slope.abs() * self.error + self.step, ..self }
    }

    /// An exact change of sign and an exact constant.
    fn subtracted_from(self, constant: f64) -> Self {
        Self { value: constant - self.value, ..self }
    }

    /// Brought to a lower level.
    fn lowered(self) -> Self {
        self.affine(1.0, 0.0)
    }
}

fn integers(degree: usize, keep: impl Fn(usize) -> bool) -> Vec<f64> {
    (0..=degree).map(|i| if keep(i) { ((i * i + 3 * i + 1) % 15) as f64 - 7.0 } else { 0.0 }).collect()
}

/// Polynomials whose coefficients are small integers, on which every step of a plan is exact.
fn samples() -> Vec<(Basis, Vec<f64>)> {
    let mut samples = Vec::new();
    for basis in [Basis::Chebyshev, Basis::Monomial] {
        for degree in [0, 1, 2, 3, 4, 5, 7, 8, 9, 11, 15, 16, 17, 24, 31, 32, 56, 59, 63, 64, 100, 127] {
            let kinds: [&dyn Fn(usize) -> bool; 4] =
                [&|_| true, &|i| i % 2 == 1, &|i| i % 2 == 0, &|i| i % 7 == degree % 7];
            samples.extend(kinds.map(|keep| (basis, integers(degree, keep))));
        }
    }
    samples
}

/// `B_0(x), B_1(x), ...` by the recurrences that define them.
fn basis_values(basis: Basis, x: &Rational, count: usize) -> Vec<Rational> {
    let mut values = vec![Rational::from(1), x.clone()];
    for i in 2..count {
        let next = Rational::from(x * &values[i - 1]);
        values.push(match basis {
            Basis::Monomial => next,
            Basis::Chebyshev => next * 2 - &values[i - 2],
        });
    }
    values
}

fn sum_value(sum: &Sum, basis: &BTreeMap<usize, Rational>) -> Rational {
    let exact = |c: f64| Rational::from_f64(c).unwrap();
    let terms = sum.terms.iter().map(|(i, c)| exact(*c) * &basis[i]);
    let products = sum.products.iter().map(|(h, factor)| sum_value(factor, basis) * &basis[h]);
    terms.chain(products).fold(exact(sum.constant), |a, b| a + b)
}

/// `r[circuit.polynomial.divide]`, `r[circuit.polynomial.split]` and the products of `r[circuit.polynomial.powers]`
/// on exact numbers.
#[test]
fn plans_compute_their_polynomial_exactly() {
    for (basis, c) in samples() {
        let plan = Plan::new(basis, &c).unwrap();
        let x = Rational::from((3, 7));
        let direct = basis_values(basis, &x, c.len().max(2));
        let expected =
            c.iter().zip(&direct).fold(Rational::new(), |sum, (c, b)| sum + Rational::from_f64(*c).unwrap() * b);
        let mut formed = BTreeMap::from([(1, x.clone())]);
        for (i, (left, right)) in plan.powers() {
            let product = Rational::from(&formed[left] * &formed[right]);
            let value = match (basis, left - right) {
                (Basis::Monomial, _) => product,
                (Basis::Chebyshev, 0) => product * 2 - 1,
                (Basis::Chebyshev, difference) => product * 2 - &formed[&difference],
            };
            formed.insert(*i, value);
        }
        match plan.sum() {
            Some(sum) => assert_eq!(sum_value(sum, &formed), expected, "{basis:?}, {c:?}"),
            None => assert!(c[1..].iter().all(|c| *c == 0.0), "{c:?}"),
        }
    }
}

/// `r[circuit.polynomial]` states the depth, `r[circuit.polynomial.split]` and `r[circuit.polynomial.powers]` where
/// operands exist.
#[test]
fn depth_is_minimal_and_every_operand_exists_in_time() {
    let depth = |i: usize| (i as f64).log2().ceil() as usize;
    for (basis, c) in samples() {
        let plan = Plan::new(basis, &c).unwrap();
        let degree = c.iter().rposition(|c| *c != 0.0).unwrap_or(0);
        assert_eq!(plan.depth(), depth(degree + 1), "{basis:?}, {c:?}");
        for (i, (left, right)) in plan.powers() {
            assert!(left >= right && left + right == *i && depth(*left) < depth(*i), "{basis:?}, {c:?}");
        }
        fn check(sum: &Sum, depth: &impl Fn(usize) -> usize) {
            assert!(sum.terms.iter().all(|(i, _)| depth(*i) <= sum.depth));
            for (h, factor) in &sum.products {
                assert!(depth(*h) <= sum.depth && factor.depth + 1 == sum.depth);
                check(factor, depth);
            }
        }
        if let Some(sum) = plan.sum() {
            assert_eq!(sum.depth + 1, plan.depth());
            check(sum, &depth);
        }
    }
}

/// `r[circuit.polynomial.plan]`.
#[test]
fn costs_are_those_of_the_published_schedules() {
    for (degree, expected) in [(31, (5, 13, 10)), (63, (6, 18, 15)), (127, (7, 27, 20))] {
        // Coefficients that do not cancel in the divisions.
        let dense: Vec<f64> = (0..=degree).map(|i| f64::from(i).sqrt() + 0.3).collect();
        let plan = Plan::new(Basis::Chebyshev, &dense).unwrap();
        assert_eq!((plan.depth(), plan.multiplications(), plan.relinearisations()), expected, "degree {degree}");
    }
}

/// Bound on the error of a plan's value for arguments in `[-1, 1]`, values of the sums at most the sum of their
/// coefficients.
fn plan_error(plan: &Plan, basis: Basis, input: f64, step: f64) -> f64 {
    let number = |error| Tracked { value: 1.0, error, step };
    let mut errors = BTreeMap::from([(1, number(input))]);
    for (i, (left, right)) in plan.powers() {
        let product = errors[left].lowered().product(errors[right].lowered());
        let error = match (basis, left - right) {
            (Basis::Monomial, _) => product.error,
            (Basis::Chebyshev, 0) => 2.0 * product.error,
            (Basis::Chebyshev, difference) => 2.0 * product.error + errors[&difference].error,
        };
        errors.insert(*i, number(error));
    }
    fn value(sum: &Sum, basis: &BTreeMap<usize, Tracked>, step: f64) -> Tracked {
        let terms = sum.terms.iter().map(|(i, c)| (c.abs(), c.abs() * basis[i].error));
        let products = sum.products.iter().map(|(h, factor)| {
            let product = value(factor, basis, step).product(basis[h].lowered());
            (product.value, product.error)
        });
        let (size, error) = terms.chain(products).fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
        Tracked { value: size + sum.constant.abs(), error: error + step, step }
    }
    plan.sum().map_or(0.0, |sum| value(sum, &errors, step).error)
}

/// `r[circuit.polynomial.power]` and `r[circuit.polynomial.sum]`, with levels by `r[circuit.to-level]` and
/// `r[circuit.summand]`.
#[test]
fn encrypted_polynomials_are_within_their_bound() {
    let setup = Setup::new("toy-n8", 1, []);
    let xs = setup.numbers(0, setup.params.slots());
    let input = setup.encrypt_real(&xs, 8);
    for (basis, c) in samples().into_iter().filter(|(_, c)| [3, 8, 16, 32, 101].contains(&c.len())) {
        let plan = Plan::new(basis, &c).unwrap();
        let bound = plan_error(&plan, basis, setup.input_error(), setup.rescale_error());
        let got = setup.slots_of(&setup.circuits().polynomial(&input, &plan).unwrap());
        for (x, got) in xs.iter().zip(got) {
            let direct = basis_values(basis, &Rational::from_f64(*x).unwrap(), c.len().max(2));
            let expected: f64 = c.iter().zip(&direct).map(|(c, b)| c * b.to_f64()).sum();
            assert!((got - expected).norm() <= bound, "{basis:?}, degree {}: {got} {expected}, {bound:e}", c.len() - 1);
        }
    }
}

/// `r[circuit.goldschmidt.schedule]`, `r[circuit.newton.start]` and the steps of all iterations, each against its own
/// error.
#[test]
fn encrypted_inverses_follow_their_iteration() {
    let setup = Setup::new("toy-n8", 2, []);
    let circuits = setup.circuits();
    let (low, high, top) = (0.25, 1.0, 8);
    let xs: Vec<f64> = setup.numbers(1, setup.params.slots()).iter().map(|x| 0.625 + 0.375 * x).collect();
    let input = setup.encrypt_real(&xs, top);
    let tracked = |value| Tracked { value, error: setup.input_error(), step: setup.rescale_error() };
    let check = |name: &str,
                 result: Ciphertext,
                 model: &dyn Fn(Tracked) -> Tracked,
                 exact: &dyn Fn(f64) -> f64,
                 tolerance: f64| {
        for (x, got) in xs.iter().zip(setup.slots_of(&result)) {
            let expected = model(tracked(*x));
            assert!((got - expected.value).norm() <= expected.error, "{name} at {x}: {got}, {expected:?}");
            assert!((expected.value / exact(*x) - 1.0).abs() <= tolerance, "{name} at {x}: {expected:?}");
        }
    };

    let reciprocal = |a: f64| 1.0 / a;
    let newton = |a: Tracked, steps: usize| {
        let mut y = a.affine(-1.6 * 1.6, 2.0 * 1.6);
        for _ in 1..steps {
            let factor = a.lowered().product(y.lowered()).subtracted_from(2.0);
            y = y.lowered().lowered().product(factor);
        }
        y
    };
    // 1 - a c is at most 0.6 for c = 1.6 and squares in every step.
    let result = circuits.newton_reciprocal(&input, Start::Constant(1.6), 4).unwrap();
    assert_eq!(result.level, top - 7);
    check("Newton reciprocal", result, &|a| newton(a, 4), &reciprocal, 0.6f64.powi(16));

    let start = circuits.newton_reciprocal(&input, Start::Constant(1.6), 1).unwrap();
    let result = circuits.goldschmidt_refine(&input, &start, 3).unwrap();
    assert_eq!(result.level, top - 1 - 4);
    let refine = |a: Tracked| {
        let mut y = newton(a, 1);
        let mut e = a.lowered().product(y).subtracted_from(1.0);
        for _ in 0..3 {
            y = y.lowered().product(Tracked { value: e.value + 1.0, ..e });
            e = e.product(e);
        }
        y
    };
    check("Goldschmidt refinement", result, &refine, &reciprocal, 0.6f64.powi(16) * 1.01);

    let result = circuits.newton_inverse_sqrt(&input, Start::Constant(1.2), 4).unwrap();
    assert_eq!(result.level, top - 7);
    let inverse_sqrt = |a: Tracked| {
        let mut y = a.affine(-0.5 * 1.2 * 1.2 * 1.2, 1.5 * 1.2);
        let half = a.affine(0.5, 0.0);
        for _ in 1..4 {
            let y0 = y.lowered();
            let cubic = y0.product(y0).product(half.lowered().product(y0));
            let value = 1.5 * y0.value - cubic.value;
            y = Tracked { value, error: 1.5 * y0.error + cubic.error, ..y0 };
        }
        y
    };
    // y sqrt(a) = 1 + d becomes 1 - 3/2 d^2 - d^3/2; d starts at -0.4 at worst.
    let last = (0..4).fold(0.4f64, |d, _| 1.5 * d * d + d.powi(3) / 2.0);
    check("Newton inverse square root", result, &inverse_sqrt, &|a| a.sqrt().recip(), last);

    for relaxation in [Relaxation::FirstStep, Relaxation::EveryStep] {
        let schedule = Goldschmidt::new([low, high], 1.0, 4, relaxation).unwrap();
        let result = circuits.goldschmidt(&input, &schedule).unwrap();
        assert_eq!((schedule.divisor(), result.level), (None, top - 4));
        let goldschmidt = |a: Tracked| {
            let (mut z, mut y) = (a, a.affine(-schedule.weight(), schedule.weight() * schedule.steps()[0].1));
            for (i, (f, tau)) in schedule.steps().iter().enumerate() {
                let f = *f as f64;
                let factor = Tracked { value: f * (tau - z.value), error: f * z.error, ..z };
                y = if i > 0 { y.product(factor) } else { y };
                z = z.product(factor);
            }
            y
        };
        // Factors k_0 = 1.6 and later ones of at least 1: |1 - k_0 x| is at most 0.6 and squares in every step.
        check("Goldschmidt", result, &goldschmidt, &reciprocal, 0.6f64.powi(16));
    }
}

/// `r[circuit.linear.map]` through `r[circuit.linear.baby]`, `r[circuit.linear.inner]` and `r[circuit.linear.giant]`.
#[test]
fn maps_and_sums_equal_their_definition() {
    let slots = 16;
    for (seed, shifts) in
        [(3, vec![0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]), (4, vec![5]), (5, vec![-3, 0, 4])]
    {
        let schedule = Schedule::new(slots, shifts.clone()).unwrap();
        let sums: BTreeSet<i64> = Circuits::inner_sum_rotations(13, -2).into_iter().collect();
        let setup = Setup::new("toy-n5", seed, schedule.rotations().into_iter().chain(sums));
        let circuits = setup.circuits();
        let complex = |index: u32| -> Vec<Complex64> {
            setup.numbers(index, 2 * slots).chunks(2).map(|z| Complex64::new(z[0], z[1])).collect()
        };
        let diagonals: BTreeMap<i64, Vec<Complex64>> =
            shifts.iter().map(|r| (*r, complex(100 + r.rem_euclid(16) as u32))).collect();
        let input = complex(1);
        let a = setup.encrypt(&input, 5);
        let at = |j: usize, r: i64| input[(j as i64 + r).rem_euclid(slots as i64) as usize];
        let map = LinearMap::encode(&setup.encoder, slots, &diagonals, a.scale).unwrap();
        assert_eq!(map.rotations(), schedule.rotations());
        let babies: BTreeMap<i64, Ciphertext> =
            map.babies().into_iter().map(|b| (b, circuits.rotate(&a, b).unwrap())).collect();
        // Every term multiplies a rotated input by a rounded diagonal, moduli at most sqrt(2).
        let term = 2f64.sqrt() * (setup.input_error() + setup.rescale_error() + setup.bound(1.0 / 12.0));
        let bound = (shifts.len() + 1) as f64 * term;
        for result in [circuits.linear(&a, &map, None).unwrap(), circuits.linear_single(&babies, &map).unwrap()] {
            assert_eq!(result.level, 4);
            for (j, got) in setup.slots_of(&result).iter().enumerate() {
                let expected: Complex64 = diagonals.iter().map(|(r, d)| d[j] * at(j, *r)).sum();
                assert!((got - expected).norm() <= bound, "{shifts:?}, slot {j}: {got} {expected}");
            }
        }
        let sum = circuits.inner_sum(&a, 13, -2).unwrap();
        for (j, got) in setup.slots_of(&sum).iter().enumerate() {
            let expected: Complex64 = (0..13).map(|i| at(j, -2 * i)).sum();
            let bound = 13.0 * (setup.input_error() + 2.0 * setup.rescale_error());
            assert!((got - expected).norm() <= bound, "slot {j}");
        }
        // A target label is exact, and the value does not change.
        let target = 2f64.powi(38);
        let scale = circuits.plaintext_scale(&a, Some(target)).unwrap();
        let map = LinearMap::encode(&setup.encoder, slots, &diagonals, scale).unwrap();
        assert_eq!(circuits.linear(&a, &map, Some(target)).unwrap().scale, target);
        assert!(matches!(circuits.linear(&a, &map, None), Err(ReferenceError::ScaleMismatch { .. })));
    }
}

/// `r[circuit.linear.schedule]`.
#[test]
fn schedules_have_the_least_rotations() {
    let rotations = |slots: usize, shifts: Vec<i64>| Schedule::new(slots, shifts).unwrap().rotations().len();
    // 32 babies and 32 giants, one of each is 0.
    assert_eq!(rotations(1024, (0..1024).collect()), 62);
    assert_eq!(rotations(1024, vec![0]), 0);
    assert_eq!(rotations(1024, vec![1023]), 1);
    assert!(Schedule::new(16, []).is_err());
}

/// `r[circuit.affine]` at both ends of an interval (`r[circuit.normalise]`).
#[test]
fn intervals_become_the_unit_interval() {
    let setup = Setup::new("toy-n5", 7, []);
    let (low, high) = (-0.25, 3.0);
    let mut xs: Vec<f64> = setup.numbers(2, 16).iter().map(|x| low + (high - low) * (x + 1.0) / 2.0).collect();
    xs[..2].copy_from_slice(&[low, high]);
    let result = setup.circuits().normalise(&setup.encrypt_real(&xs, 3), low, high).unwrap();
    assert_eq!(result.level, 2);
    let slope = 2.0 / (high - low);
    let bound = slope * setup.input_error() + setup.rescale_error();
    for (x, got) in xs.iter().zip(setup.slots_of(&result)) {
        let expected = (2.0 * x - low - high) / (high - low);
        assert!((got - expected).norm() <= bound, "{x}: {got} {expected}");
    }
}

#[test]
fn unsuitable_inputs_are_refused() {
    let setup = Setup::new("toy-n5", 6, []);
    let circuits = setup.circuits();
    let a = setup.encrypt_real(&[0.5; 16], 3);
    use ReferenceError as E;
    let plan = Plan::new(Basis::Chebyshev, &[1.0; 16]).unwrap();
    assert!(matches!(circuits.polynomial(&a, &plan), Err(E::LevelExhausted { expected: 4, got: 3, .. })));
    let off = Ciphertext { scale: a.scale.next_up(), ..a.clone() };
    let linear = Plan::new(Basis::Monomial, &[0.0, 1.0]).unwrap();
    assert!(matches!(circuits.polynomial(&off, &linear), Err(E::ScaleMismatch { .. })));
    assert!(matches!(circuits.to_level(&off, 3), Err(E::ScaleMismatch { .. })));
    assert!(matches!(circuits.to_level(&a, 4), Err(E::LevelExhausted { .. })));
    assert!(matches!(circuits.rotate(&a, 1), Err(E::MissingKey { key_id: 5, .. })));
    assert!(matches!(circuits.inner_sum(&a, 0, 1), Err(E::BadOperand { .. })));
    assert!(matches!(circuits.sum_of_products(&[]), Err(E::BadOperand { .. })));
    assert!(matches!(circuits.normalise(&a, 1.0, 1.0), Err(E::BadOperand { .. })));
    assert!(matches!(circuits.newton_reciprocal(&a, Start::Constant(1.0), 0), Err(E::BadOperand { .. })));
    assert!(Plan::new(Basis::Monomial, &[f64::NAN]).is_err());
    assert!(Goldschmidt::new([0.0, 1.0], 1.0, 1, Relaxation::FirstStep).is_err());
    assert!(Goldschmidt::new([1e-5, 1e-5], 1.0, 1, Relaxation::FirstStep).is_err());
    assert!(matches!(circuits.evaluator().mul_integer(&a, [1 << 62, 0]), Err(E::NotEncodable { .. })));
}
