//! Random programs: sequences of operations on the reference and on the engine under every kernel.
//!
//! After every operation all residues must be equal (`r[conform.exact]`), and what decrypts must be the exactly evaluated
//! program within its bound (`r[noise.program]`). A program that fails is shrunk to a short one, which is printed.

mod bench;
mod instruction;
mod machine;
mod operations;
#[cfg(test)]
mod tests;

use crate::case::{Case, Cost};
use crate::scheme::fixture::Fixture;
use crate::scheme::{share, side};
use crate::{CaseOutcome, ConformError, Options, Verdict};
use bench::Bench;
use instruction::programs;
use machine::{Checks, Machine, Tally};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use std::cell::RefCell;

/// Presets, with the divisor of the number of draws that keeps the slow side in minutes.
const PRESETS: [(&str, usize); 3] = [("toy-n5", 1), ("toy-n8", 10), ("small-n12", 500)];
/// Instructions of a program, besides two encryptions.
const LENGTH: usize = 12;
/// Attempts at a shorter program.
const SHRINKS: u32 = 4096;

/// One case per preset.
#[must_use]
pub fn cases() -> Vec<Case> {
    let case = |(preset, divisor): (&'static str, usize)| {
        let about =
            format!("Random programs of up to {LENGTH} operations at {preset}: residues, and slots within bounds.");
        let id = format!("scheme/programs/{preset}");
        Case::new(id, "noise.program", about, Cost::Quick, move |options| {
            let fixture = Fixture::new(preset, options.seed)?;
            run(&fixture, share(options.draws, divisor), options, Checks { bits: true, fault: None })
        })
    };
    PRESETS.into_iter().map(case).collect()
}

/// Operations on toy rings take microseconds: inside the pool no thread waits for another one to take them over.
fn run(fixture: &Fixture, count: usize, options: &Options, checks: Checks) -> Result<CaseOutcome, ConformError> {
    rayon::scope(|_| run_here(fixture, count, options, checks))
}

fn run_here(fixture: &Fixture, count: usize, options: &Options, checks: Checks) -> Result<CaseOutcome, ConformError> {
    let bench = Bench::new(fixture, count, LENGTH)?;
    let cases = u32::try_from(count).map_err(|error| side("reference", "number of programs", error))?;
    let config = Config { cases, failure_persistence: None, max_shrink_iters: SHRINKS, ..Config::default() };
    let mut seed = [0; 32];
    seed[..16].copy_from_slice(&options.seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    let tally = RefCell::new(Tally::default());
    let result = runner.run(&programs(LENGTH), |program| {
        let one = Machine::new(&bench, checks).run(&program).map_err(TestCaseError::fail)?;
        tally.borrow_mut().add(one);
        Ok(())
    });
    let tally = tally.into_inner();
    let (verdict, message) = match result {
        Ok(()) => (Verdict::Pass, summary(&bench, &tally)),
        Err(TestError::Fail(difference, _)) => (Verdict::Fail, format!("shortest program found:\n{difference}")),
        Err(TestError::Abort(reason)) => return Err(side("reference", "programs", reason)),
    };
    Ok(CaseOutcome::new(verdict, message, count))
}

fn summary(bench: &Bench<'_>, tally: &Tally) -> String {
    let kernels: Vec<String> = bench.sides.iter().map(|side| format!("{:?}", side.engine.kernel)).collect();
    let Tally { programs, operations, residues, slots, worst: (ratio, _) } = tally;
    format!(
        "{programs} programs, {operations} operations, {residues} residues equal, {slots} slots within bounds, none outside, \
         largest error/bound {ratio:.3}, kernels {}",
        kernels.join(" and ")
    )
}
