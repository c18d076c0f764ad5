//! The checks find planted faults, and shrink what fails.

use super::bench::Side;
use super::instruction::Operation;
use super::*;
use touchstone_ckks::Ciphertext;
use touchstone_ckks::ring::Form;

fn options() -> Options {
    Options { draws: 0, seed: 0x9209, model: "none".into(), prompts_file: None, prompts: 0, prompt: String::new() }
}

/// What a fault is reported as, with both checks or only that of slots.
fn failure(bits: bool, fault: machine::Fault) -> CaseOutcome {
    let fixture = Fixture::new("toy-n5", 5).unwrap();
    run(&fixture, 200, &options(), Checks { bits, fault: Some(fault) }).unwrap()
}

/// Rotates by one slot too many.
fn rotated(operation: Operation, side: &Side<'_>, result: Ciphertext) -> Ciphertext {
    if operation == Operation::Rotate { side.evaluator.rotate(&result, 1).unwrap() } else { result }
}

/// Rounds a rescaled `c_0` down where it should be rounded to nearest: half of the coefficients are one too low.
fn rounded_down(operation: Operation, side: &Side<'_>, result: Ciphertext) -> Ciphertext {
    if operation != Operation::Rescale {
        return result;
    }
    let ring = side.engine.context.ring();
    let mut polys: Vec<_> = (0..=result.degree()).map(|i| side.engine.context.to_coeff(result.poly(i))).collect();
    for i in 0..=result.level() {
        let q = ring.modulus(i).value();
        polys[0].limb_mut(i).iter_mut().step_by(2).for_each(|c| *c = (*c + q - 1) % q);
    }
    polys.iter_mut().for_each(|poly| poly.make_eval(ring));
    assert!(polys.iter().all(|poly| poly.form() == Form::Eval));
    Ciphertext::from_polys(&side.engine.context, polys, result.scale()).unwrap()
}

#[test]
fn a_rotation_by_one_slot_too_many_is_found_by_either_check() {
    for (bits, rule) in [(true, "r[conform.exact]"), (false, "r[noise.program]")] {
        let outcome = failure(bits, rotated);
        assert_eq!(outcome.verdict, Verdict::Fail);
        assert!(outcome.message.contains(rule), "{}", outcome.message);
        // The title, an encryption, the rotation and the difference: nothing else is needed.
        assert_eq!(outcome.message.lines().count(), 4, "{}", outcome.message);
        assert!(outcome.message.contains("= Rotate("), "{}", outcome.message);
    }
}

#[test]
fn a_missing_rounding_is_found_by_the_residues() {
    let outcome = failure(true, rounded_down);
    assert_eq!(outcome.verdict, Verdict::Fail);
    assert!(
        outcome.message.contains("r[conform.exact]") && outcome.message.contains("= Rescale("),
        "{}",
        outcome.message
    );
}

/// Rules: `r[noise.program]`, `r[conform.exact]`, `r[ckks.keyswitch]`, `r[ckks.modup]`, `r[ckks.scale]`.
#[test]
fn hundreds_of_programs_pass() {
    for (preset, count) in [("toy-n5", 300), ("toy-n8", 20)] {
        let fixture = Fixture::new(preset, 7).unwrap();
        let outcome = run(&fixture, count, &options(), Checks { bits: true, fault: None }).unwrap();
        println!("{preset}: {}", outcome.message);
        assert_eq!(outcome.verdict, Verdict::Pass, "{}", outcome.message);
    }
}
