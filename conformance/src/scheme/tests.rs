//! Planted differences must be found, and every case must run.

use super::*;
use crate::runner;
use fixture::kernels;

fn output(value: u64) -> Output {
    Output { polys: vec![vec![vec![3, 4], vec![5, value]]], primes: vec![17, 97], scale: 2.0 }
}

#[test]
fn one_wrong_residue_is_found_and_named() {
    let difference = first_difference(&output(6), &output(7), 0).unwrap();
    assert!(difference.contains("limb 1, coefficient 1: expected 6, got 7"), "{difference}");
    assert_eq!(first_difference(&output(6), &output(6), 0), None);
}

#[test]
fn the_encoding_unit_is_cyclic_and_no_more_than_one() {
    assert_eq!(first_difference(&output(0), &output(96), 1), None);
    assert_eq!(first_difference(&output(6), &output(7), 1), None);
    assert!(first_difference(&output(6), &output(8), 1).is_some());
}

#[test]
fn scale_labels_and_shapes_count() {
    let mut other = output(6);
    other.scale = 2.0 + f64::EPSILON * 2.0;
    assert!(first_difference(&output(6), &other, 0).unwrap().contains("scale"));
    other.scale = 2.0;
    other.polys[0].pop();
    assert!(first_difference(&output(6), &other, 0).unwrap().contains("shape"));
}

#[test]
fn a_broken_operation_fails_its_case() {
    let fixture = Fixture::new("toy-n5", 5).unwrap();
    let options = options();
    let mut operations = operations::all().into_iter();
    let mut add = operations.clone().find(|operation| operation.name == "add").unwrap();
    add.engine = operations.find(|operation| operation.name == "sub").unwrap().engine;
    let outcome = run(&add, &fixture, 3, &options).unwrap();
    assert_eq!(outcome.verdict, Verdict::Fail, "{}", outcome.message);
}

#[test]
fn every_scheme_case_passes_on_a_few_draws() {
    let options = options();
    let record = runner::run(&cases(), &options, |_| ());
    for case in &record.cases {
        assert_eq!(case.verdict, Verdict::Pass, "{}: {} (seed {:x})", case.id, case.message, options.seed);
        assert!(case.draws > 0 && !case.message.starts_with("0 residues"), "{} compared nothing", case.id);
    }
    assert!(!kernels().is_empty());
}

fn options() -> Options {
    Options { draws: 20, seed: 0x5eed, model: "none".into(), prompts_file: None, prompts: 0, prompt: String::new() }
}
