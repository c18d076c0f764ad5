//! Every circuit case runs, and a circuit that differs fails.

use super::*;
use crate::runner;

fn options() -> Options {
    Options { draws: 100, seed: 0xc1c, model: "none".into(), prompts_file: None, prompts: 0, prompt: String::new() }
}

#[test]
fn every_circuit_case_passes_on_a_few_draws() {
    let options = options();
    let record = runner::run(&cases(), &options, |_| ());
    for case in &record.cases {
        println!("{} {:.2} s: {}", case.id, case.seconds, case.message);
        assert_eq!(case.verdict, Verdict::Pass, "{}: {} (seed {:x})", case.id, case.message, options.seed);
        assert!(case.draws > 0 && !case.message.starts_with("0 residues"), "{} compared nothing", case.id);
    }
}

#[test]
fn a_circuit_that_differs_fails_its_case() {
    let fixture = Fixture::new("toy-n5", 5).unwrap();
    let mut circuit = all().into_iter().find(|circuit| circuit.name == "sum-of-products").unwrap();
    // The engine's result of the next draw: the same circuit on other inputs.
    circuit.draw = |pair, draws| {
        let mut draw = || {
            let (a, b) = (pair.uniform(draws, 2)?, pair.uniform(draws, 2)?);
            pair.run([], |c| c.product(&a.exact, &b.exact), |e| e.mul_rescale(&a.fast, &b.fast))
        };
        Ok((draw()?.0, draw()?.1))
    };
    let outcome = run(&circuit, &fixture, 0, 1, &options()).unwrap();
    assert_eq!(outcome.verdict, Verdict::Fail, "{}", outcome.message);
}
