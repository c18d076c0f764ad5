//! Every polynomial that is shipped, in a model directory or in a parameter preset, against its certificate
//! (`r[approx.certificate]`, `r[approx.certificate.tight]`).
//!
//! The other side is plain MPFR arithmetic on a dense grid, refined around its local maxima; nothing of the certification's
//! interval code is used.

use rug::Float;
use std::fs;
use std::path::{Path, PathBuf};
use touchstone_reference::approx::{
    Domain, Form, Iteration, Method, Request, Target, approximate, certify_on, polynomial_depth, polynomial_products,
};
use touchstone_reference::circuits::{Basis, Plan};
use touchstone_reference::model::{load, load_polynomials};
use touchstone_spec::artifact::{ErrorKind, Refinement};
use touchstone_spec::params::ParameterLiteral;

const PREC: u32 = 160;
/// Grid points per degree of the composite.
const DENSITY: usize = 24;
/// Thirds of a bracket kept around a local maximum, again and again: `(2/3)^24` of a grid cell is left.
const ROUNDS: usize = 24;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

/// What is compared: a polynomial with steps, and the function that it replaces.
struct Shipped {
    name: String,
    target: Target,
    interval: [f64; 2],
    form: Form,
    kind: ErrorKind,
}

impl Shipped {
    /// Error at the angle `t` of the interval.
    fn error(&self, t: f64) -> f64 {
        let [a, b] = self.interval;
        let x = Float::with_val(PREC, (f64::midpoint(a, b) + (b - a) / 2.0 * t.cos()).clamp(a, b));
        let exact = self.target.value(&x);
        let difference = self.form.value(&self.target, self.interval, &x) - &exact;
        let error = if self.kind == ErrorKind::Relative { difference / exact } else { difference };
        error.to_f64().abs()
    }

    /// Largest error on a grid of `count` cells, each local maximum followed by a search between its neighbours.
    fn largest(&self, count: usize) -> f64 {
        let step = std::f64::consts::PI / count as f64;
        let errors: Vec<f64> = (0..=count).map(|i| self.error(step * i as f64)).collect();
        let highest = errors.iter().copied().fold(0.0, f64::max);
        // Grid cells are short: a maximum between them is above its neighbours by a few per cent at most.
        let peaks = (1..count).filter(|&i| errors[i] >= errors[i - 1] && errors[i] >= errors[i + 1]);
        let candidates = peaks.filter(|&i| errors[i] >= 0.9 * highest);
        candidates.map(|i| self.climb(step * (i - 1) as f64, step * (i + 1) as f64)).fold(highest, f64::max)
    }

    /// Largest value seen in a search by thirds in `[low, high]`.
    fn climb(&self, mut low: f64, mut high: f64) -> f64 {
        let mut most = 0.0f64;
        for _ in 0..ROUNDS {
            let third = (high - low) / 3.0;
            let [left, right] = [self.error(low + third), self.error(high - third)];
            most = most.max(left).max(right);
            if left < right { low += third } else { high -= third }
        }
        most
    }

    /// The maximum is below the certificate and within one percent of it.
    fn check(&self, certificate: f64, degree: usize) {
        let seen = self.largest(DENSITY * (degree + 1));
        println!("{}: degree {degree}, certificate {certificate:.6e}, maximum {seen:.6e}", self.name);
        assert!(seen <= certificate, "{}: maximum {seen:e} above the certificate {certificate:e}", self.name);
        assert!(certificate <= 1.01 * seen, "{}: certificate {certificate:e} loose above {seen:e}", self.name);
    }
}

fn polynomial(coefficients: &[f64], steps: u32) -> Form {
    Form::Refined { coefficients: coefficients.to_vec(), iteration: Iteration::Newton, steps }
}

/// Every site of every model directory.
#[test]
fn every_shipped_polynomial_of_a_model_is_within_its_certificate() {
    let mut sites = 0;
    for entry in fs::read_dir(folder("models")).unwrap() {
        let directory = entry.unwrap().path();
        if !directory.join("polynomials.json").exists() {
            continue;
        }
        let model = load(&directory).unwrap();
        for site in load_polynomials(&directory, &model.config).unwrap().sites {
            let coefficients: Vec<f64> = site.coefficients.iter().map(|c| c.0).collect();
            let steps = if let Refinement::Newton { iterations } = site.refinement { iterations } else { 0 };
            let shipped = Shipped {
                name: format!("{}, {}", directory.file_name().unwrap().display(), site.site),
                target: Target::from(&site.function),
                interval: site.interval.map(|end| end.0),
                form: polynomial(&coefficients, steps),
                kind: site.error_kind,
            };
            // A Newton step at most triples the degree in the argument.
            shipped.check(site.sup_error.0, coefficients.len() * 3usize.pow(steps) - 1);
            sites += 1;
        }
    }
    assert!(sites >= 4, "only {sites} sites");
}

/// The cosine (`r[approx.cosine]`) and the output polynomial of every preset that has a section for bootstrapping.
#[test]
fn every_shipped_polynomial_of_a_preset_is_within_its_certificate() {
    let mut sections = 0;
    for entry in fs::read_dir(folder("spec/params")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let preset: ParameterLiteral = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let Some(boot) = preset.bootstrap else { continue };
        let cosine: Vec<f64> = boot.cosine.iter().map(|c| c.0).collect();
        assert!(cosine.iter().skip(1).step_by(2).all(|c| *c == 0.0), "{}: odd coefficients", preset.name);
        let target = Target::Cosine { turns: f64::from(boot.range) / 2f64.powi(boot.double_angles as i32) };
        let domain = Domain::interval([-1.0, 1.0]).unwrap();
        let degree = cosine.len() - 1;
        let kind = ErrorKind::Absolute;
        let request = Request { target, domain: &domain, degree, kind, method: Method::Series, parity: None };
        assert_eq!(approximate(&request).unwrap(), cosine, "{}: not the truncated series", preset.name);
        let shipped = Shipped {
            name: format!("{}, cosine", preset.name),
            target,
            interval: [-1.0, 1.0],
            form: polynomial(&cosine, 0),
            kind,
        };
        shipped.check(boot.cosine_error.0, degree);
        let proof = certify_on(&target, &domain, kind, &cosine, Refinement::None).unwrap();
        shipped.check(proof.sup_error, degree);
        let output: Vec<f64> = boot.output.iter().map(|c| c.0).collect();
        check_output(&preset.name, boot.message_ratio, &output);
        sections += 1;
    }
    assert!(sections >= 6, "only {sections} presets with bootstrapping");
}

/// The odd polynomial after the sine (`r[approx.arcsine]`): certified as it is, and with two or more terms close to the best of its degree.
fn check_output(name: &str, message_ratio: u32, output: &[f64]) {
    let factor = 2f64.powi(message_ratio as i32);
    let end = (std::f64::consts::TAU / factor).sin();
    let domain = Domain::interval([-end, end]).unwrap();
    let (target, kind) = (Target::Arcsine { factor }, ErrorKind::Absolute);
    let coefficients = odd_chebyshev(output, end);
    let certificate = certify_on(&target, &domain, kind, &coefficients, Refinement::None).unwrap();
    let degree = coefficients.len() - 1;
    let shipped = Shipped {
        name: format!("{name}, output"),
        target,
        interval: [-end, end],
        form: polynomial(&coefficients, 0),
        kind,
    };
    shipped.check(certificate.sup_error, degree);
    let request = Request { target, domain: &domain, degree, kind, method: Method::Minimax, parity: None };
    let best = approximate(&request).unwrap();
    let best = certify_on(&target, &domain, kind, &best, Refinement::None).unwrap();
    println!("{name}, output: {:.3e}, best {:.3e}", certificate.sup_error, best.sup_error);
    assert!(
        output.len() == 1 || certificate.witness <= 1.05 * best.sup_error,
        "{name}: {certificate:?}, best {best:?}"
    );
}

/// Chebyshev coefficients on `[-r, r]` of `a s + b s^3 + c s^5`, to binary64: `u^3 = (3 T_1 + T_3) / 4`,
/// `u^5 = (10 T_1 + 5 T_3 + T_5) / 16`.
fn odd_chebyshev(output: &[f64], r: f64) -> Vec<f64> {
    let term = |i: usize| output.get(i).copied().unwrap_or(0.0) * r.powi(2 * i as i32 + 1);
    let [first, third, fifth] = [term(0), term(1), term(2)];
    let all = [0.0, first + 0.75 * third + 0.625 * fifth, 0.0, 0.25 * third + 0.3125 * fifth, 0.0, fifth / 16.0];
    all[..2 * output.len()].to_vec()
}

/// Depth and products of the cost model are those of the plan by which a circuit evaluates a polynomial without zero
/// coefficients (`r[approx.depth]`, `r[approx.products]`).
#[test]
fn costs_are_those_of_the_circuit() {
    for degree in 1..=255usize {
        // Square roots do not cancel in a division by a basis polynomial.
        let coefficients: Vec<f64> = (0..=degree).map(|k| (k as f64 + 2.0).sqrt()).collect();
        let plan = Plan::new(Basis::Chebyshev, &coefficients).unwrap();
        assert_eq!(polynomial_depth(degree), plan.depth(), "degree {degree}");
        assert_eq!(polynomial_products(degree), plan.multiplications(), "degree {degree}");
    }
}
