//! Circuit cases: whole circuits, reference against engine, bit for bit (`r[conform.exact]`).
//!
//! The reference derives the plan of every circuit from the book on its own, so a case that passes says that both do
//! the same operations in an order that gives the same integers. Inputs are ciphertexts of uniform residues: the
//! integers of a circuit do not depend on what they encrypt. One case per circuit, preset and kernel.

mod bootstrap;
mod inverses;
pub(crate) mod linear;
mod pair;
mod polynomials;
mod sparse;
mod sums;
#[cfg(test)]
mod tests;

use crate::case::{Case, Cost};
use crate::scheme::draws::Draws;
use crate::scheme::fixture::{Fixture, Output, kernels};
use crate::scheme::{first_difference, share, side};
use crate::{CaseOutcome, ConformError, Options, Verdict};
use pair::Pair;
use std::cell::OnceCell;
use std::rc::Rc;

/// Presets of the circuit cases, with the divisor of the number of draws that keeps the slow side in minutes.
const PRESETS: [(&str, usize); 3] = [("toy-n5", 20), ("toy-n8", 50), ("toy-n5-deep", 50)];

/// The reference's result and the engine's.
type Outputs = Result<(Output, Output), ConformError>;

/// One circuit on both sides.
#[derive(Clone, Copy)]
struct Circuit {
    /// Middle part of the case id.
    name: &'static str,
    /// Rule that defines the circuit.
    rule: &'static str,
    /// What is compared.
    about: &'static str,
    /// Admitted difference of an integer coefficient: that of `r[ckks.encode]` for encodings, 0 for everything else.
    unit_tolerance: u64,
    /// One draw.
    draw: fn(&Pair<'_>, &mut Draws) -> Outputs,
}

fn all() -> Vec<Circuit> {
    let mut all = sums::all();
    all.extend(linear::all());
    all.extend(polynomials::all());
    all.extend(inverses::all());
    all
}

/// All circuit cases.
#[must_use]
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (preset, divisor) in PRESETS {
        // Made when the first case of the preset runs.
        let fixture: Rc<OnceCell<Fixture>> = Rc::default();
        for circuit in all() {
            for (index, kernel) in kernels().into_iter().enumerate() {
                let fixture = Rc::clone(&fixture);
                let id = format!("circuit/{}/{preset}/{}", circuit.name, format!("{kernel:?}").to_lowercase());
                let about = format!("{}; every limb of the result at {preset}, kernel {kernel:?}.", circuit.about);
                cases.push(Case::new(id, circuit.rule, about, Cost::Quick, move |options| {
                    if fixture.get().is_none() {
                        let _ = fixture.set(Fixture::new(preset, options.seed)?);
                    }
                    let fixture = fixture.get().ok_or_else(|| side("reference", "fixture", "was not made"))?;
                    run(&circuit, fixture, index, share(options.draws, divisor), options)
                }));
            }
        }
    }
    cases.extend(bootstrap::cases());
    cases
}

/// Compares `count` draws under the kernel with the given index.
fn run(
    circuit: &Circuit,
    fixture: &Fixture,
    kernel: usize,
    count: usize,
    options: &Options,
) -> Result<CaseOutcome, ConformError> {
    let pair = Pair::new(&fixture.reference, &fixture.engines[kernel]);
    let mut draws = Draws::new(options.seed, circuit.name);
    let mut compared = 0;
    for draw in 0..count {
        let (expected, got) = (circuit.draw)(&pair, &mut draws)?;
        if let Some(difference) = first_difference(&expected, &got, circuit.unit_tolerance) {
            return Ok(CaseOutcome::new(Verdict::Fail, format!("draw {draw}: {difference}"), draw + 1));
        }
        compared += expected.residue_count();
    }
    let agree = if circuit.unit_tolerance == 0 { "equal" } else { "within the tolerance of encoding" };
    Ok(CaseOutcome::new(Verdict::Pass, format!("{compared} residues {agree}"), count))
}
