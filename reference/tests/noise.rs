//! Measured noise against its rules with few seeds, and faults that the comparison must catch (`r[noise.measured]`).
//!
//! With `S` seeds a standard deviation is known up to `D sqrt(rho / S) / 2`, `D` for a failure probability of 1e-9 over the rows; the
//! full table over 1,000 seeds is `cargo reference noise`.

use touchstone_reference::bounds::components as rules;
use touchstone_reference::bounds::measure::{Bench, Primitive, Row, Tolerance, measure, primitives};
use touchstone_reference::ckks::{Ciphertext, Parameters};
use touchstone_reference::error::ReferenceError;
use touchstone_reference::ring::Poly;
use touchstone_reference::sample::{Stream, StreamId};
use touchstone_spec::params::ParameterLiteral;
use touchstone_spec::sampling::domain;

fn parameters(preset: &str) -> Parameters {
    Parameters::new(&ParameterLiteral::preset(preset).unwrap()).unwrap()
}

fn check(preset: &str, seeds: std::ops::Range<u64>) {
    let list = primitives(&ParameterLiteral::preset(preset).unwrap()).unwrap();
    for row in measure(&parameters(preset), &list, seeds.clone(), Tolerance::Sampling).unwrap() {
        assert_eq!(row.verdict(), "pass", "{preset}, seeds {seeds:?}: {row:?}");
        assert!(
            row.tolerance < 0.5,
            "{preset}: {} is measured on too few seeds to tell a rule from a wrong one",
            row.primitive
        );
        assert!(touchstone_spec::rules::find(row.rule).is_some(), "{} cites r[{}]", row.primitive, row.rule);
    }
}

#[test]
fn every_primitive_follows_its_rule_at_degree_32() {
    check("toy-n5", 5000..5120);
}

#[test]
fn every_primitive_follows_its_rule_at_degree_256() {
    check("toy-n8", 6000..6024);
}

type Errors = Result<(Vec<f64>, rules::Noise), ReferenceError>;

/// Coefficients of the error of an encryption of zero after an operation.
fn errors(bench: &Bench<'_>, ciphertext: &Ciphertext) -> Result<Vec<f64>, ReferenceError> {
    bench.error(ciphertext, &bench.zero(ciphertext.level)?.poly)
}

fn encryption(bench: &Bench<'_>, index: u32) -> Result<Ciphertext, ReferenceError> {
    bench.by_secret(index, &bench.zero(bench.level)?)
}

/// The row of a primitive on 200 seeds.
fn row(run: impl Fn(&Bench<'_>) -> Errors + Send + Sync + 'static) -> Row {
    let primitive = Primitive::plain("planted", "noise.measured", run);
    let rows = measure(&parameters("toy-n5"), &[primitive], 7000..7200, Tolerance::Sampling).unwrap();
    rows.into_iter().next().unwrap()
}

#[test]
fn a_doubled_sigma_is_caught() {
    let row = row(|bench| {
        let mut ciphertext = encryption(bench, 0)?;
        let error = Stream::new(&bench.seed, StreamId::new(domain::ENCRYPT_ERROR, 0)).gaussian(bench.params.n());
        let modulus = ciphertext.polys[0].modulus().clone();
        ciphertext.polys[0] = ciphertext.polys[0].add(&Poly::from_small(&error, &modulus))?;
        Ok((errors(bench, &ciphertext)?, rules::fresh_secret()))
    });
    assert_eq!(row.verdict(), "FAIL: too much noise", "{row:?}");
    assert!((row.ratio() - 2.0).abs() < 2.0 * row.tolerance, "{row:?}");
}

#[test]
fn a_halved_error_is_caught() {
    let row = row(|bench| {
        let halved = errors(bench, &encryption(bench, 0)?)?.iter().map(|e| (e / 2.0).trunc()).collect();
        Ok((halved, rules::fresh_secret()))
    });
    assert_eq!(row.verdict(), "FAIL: too little noise", "{row:?}");
}

/// A rescale of the phase instead of both halves rounds once, which leaves out `h/12`.
#[test]
fn a_missing_rounding_is_caught() {
    let row = row(|bench| {
        let ciphertext = encryption(bench, 0)?;
        let q = bench.params.q()[bench.level];
        let rounded = errors(bench, &ciphertext)?.iter().map(|e| (e / q as f64).round()).collect();
        Ok((rounded, rules::rescale(&rules::fresh_secret(), q, 2)))
    });
    assert_eq!(row.verdict(), "FAIL: too little noise", "{row:?}");
}

/// Division that cuts off instead of rounding: four times the variance.
#[test]
fn a_rounding_to_one_side_is_caught() {
    let row = row(|bench| {
        let ciphertext = encryption(bench, 0)?;
        let q = rug::Integer::from(bench.params.q()[bench.level]);
        let target = bench.params.modulus(bench.level - 1)?;
        let floor = |c: &Poly| c.map_into(&target, |x| rug::Integer::from(x / &q));
        let polys = ciphertext.polys.iter().map(floor).collect();
        let result = Ciphertext { polys, level: bench.level - 1, scale: 1.0 };
        Ok((errors(bench, &result)?, rules::rescale(&rules::fresh_secret(), bench.params.q()[bench.level], 2)))
    });
    assert!(row.verdict() != "pass" && row.ratio() > 1.5, "{row:?}");
}

#[test]
fn a_correlated_error_is_caught() {
    let row = row(|bench| {
        let ciphertext = encryption(bench, 0)?;
        let sum = bench.evaluator().add(&ciphertext, &ciphertext)?;
        Ok((errors(bench, &sum)?, rules::add(&rules::fresh_secret(), &rules::fresh_secret())))
    });
    assert_eq!(row.verdict(), "FAIL: too much noise", "{row:?}");
    assert!((row.ratio() - 2f64.sqrt()).abs() < 2.0 * row.tolerance, "{row:?}");
}

#[test]
fn one_wrong_coefficient_is_caught_by_the_bound() {
    let row = row(|bench| {
        let mut errors = errors(bench, &encryption(bench, 0)?)?;
        if bench.seed[8] == 0x90 {
            errors[17] += 64.0;
        }
        Ok((errors, rules::fresh_secret()))
    });
    assert_eq!(row.verdict(), "FAIL: an error beyond its bound", "{row:?}");
}
