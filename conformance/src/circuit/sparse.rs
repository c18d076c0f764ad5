//! Bootstrapping of slots with a period, stage by stage and whole.

use super::bootstrap::{Sides, compare_maps, exact_map, exact_maps, made};
use super::pair::{Both, Pair};
use crate::case::{Case, Cost};
use crate::scheme::draws::Draws;
use crate::scheme::fixture::Output;
use crate::scheme::{first_difference, share, side};
use crate::{CaseOutcome, ConformError, Options, Verdict};
use std::cell::OnceCell;
use std::rc::Rc;
use touchstone_ckks::circuits::bootstrap::Bootstrapper;
use touchstone_ckks::{Ciphertext, CkksError, Evaluator, KernelKind};
use touchstone_reference::circuits::{Bootstrap, SlotKind, SparseBootstrap, SparseMaps};
use touchstone_reference::ckks as exact;
use touchstone_reference::error::ReferenceError;

/// The periods that are compared: the smallest, one in between, the largest.
pub(super) fn periods(slots: usize) -> [usize; 3] {
    [2, 1 << (slots.ilog2() / 2), slots / 2]
}

/// The engine's maps of a period for the reference.
pub(super) fn engine_maps(bootstrapper: &Bootstrapper, period: usize) -> Result<SparseMaps, ConformError> {
    let sparse = bootstrapper.sparse(period).map_err(|error| side("optimized", "sparse packing", error))?;
    Ok(SparseMaps {
        period,
        slots_to_coeffs: exact_maps(sparse.slots_to_coeffs_maps())?,
        coeffs_to_slots: exact_maps(sparse.coeffs_to_slots_maps())?,
        packing: exact_map(sparse.packing_map())?,
        unpacking: exact_map(sparse.unpacking_map())?,
    })
}

type Exact = Result<exact::Ciphertext, ReferenceError>;
type Fast = Result<Ciphertext, CkksError>;

/// One stage, or all of them.
#[derive(Clone, Copy)]
struct Stage {
    name: &'static str,
    rule: &'static str,
    about: &'static str,
    /// Level and label of the input.
    input: fn(&Sides, &SparseMaps, &mut Draws) -> (usize, f64),
    reference: fn(&Bootstrap<'_>, &SparseMaps, &exact::Ciphertext) -> Exact,
    engine: fn(&Bootstrapper, usize, &Evaluator, &Ciphertext) -> Fast,
}

const STAGES: [Stage; 8] = [
    Stage {
        name: "bootstrap-sparse-stc",
        rule: "boot.sparse.stc",
        about: "SlotsToCoeffs for a period",
        input: |sides, _, draws| sides.low_input(draws),
        reference: |b, maps, a| SparseBootstrap::new(*b, maps).slots_to_coeffs(a),
        engine: |b, period, e, a| b.sparse(period)?.slots_to_coeffs(e, a),
    },
    Stage {
        name: "bootstrap-sparse-modraise",
        rule: "boot.sparse.modraise",
        about: "The switch to the ephemeral secret, ModRaise and the switch back, for a period",
        input: |sides, _, _| (0, sides.boot.slots_to_coeffs.last().map_or(1.0, |factor| factor.label.0)),
        reference: |b, maps, a| b.from_ephemeral(&SparseBootstrap::new(*b, maps).mod_raise(&b.to_ephemeral(a)?)?),
        engine: |b, period, e, a| b.sparse(period)?.mod_raise(e, a),
    },
    Stage {
        name: "bootstrap-sparse-projection",
        rule: "boot.sparse.trace",
        about: "The projection to the subring",
        input: raised,
        reference: |b, maps, a| SparseBootstrap::new(*b, maps).project(a),
        engine: |b, period, e, a| b.sparse(period)?.project(e, a),
    },
    Stage {
        name: "bootstrap-sparse-cts",
        rule: "boot.sparse.cts",
        about: "CoeffsToSlots for real slots of a period",
        input: raised,
        reference: |b, maps, a| SparseBootstrap::new(*b, maps).coeffs_to_slots(a, SlotKind::Real),
        engine: |b, period, e, a| b.sparse(period)?.real_slots(e, a),
    },
    Stage {
        name: "bootstrap-sparse-packing",
        rule: "boot.sparse.packing",
        about: "CoeffsToSlots for complex slots of a period, both parts in one ciphertext",
        input: raised,
        reference: |b, maps, a| SparseBootstrap::new(*b, maps).coeffs_to_slots(a, SlotKind::Complex),
        engine: |b, period, e, a| b.sparse(period)?.pack_slots(e, a),
    },
    Stage {
        name: "bootstrap-sparse-unpack",
        rule: "boot.sparse.unpack",
        about: "From packed parts to complex slots",
        input: |sides, _, _| (sides.boot.output_level, sides.fixture.canonical_scale(sides.boot.output_level)),
        reference: |b, maps, a| SparseBootstrap::new(*b, maps).unpack(a),
        engine: |b, period, e, a| b.sparse(period)?.unpack(e, a),
    },
    Stage {
        name: "bootstrap-sparse",
        rule: "boot.sparse.input",
        about: "A whole bootstrap of complex slots of a period",
        input: |sides, _, draws| sides.low_input(draws),
        reference: |b, maps, a| SparseBootstrap::new(*b, maps).apply(a, SlotKind::Complex),
        engine: |b, period, e, a| b.bootstrap_sparse(e, a, period),
    },
    Stage {
        name: "bootstrap-sparse-real",
        rule: "boot.real",
        about: "A whole bootstrap of real slots of a period",
        input: |sides, _, draws| sides.low_input(draws),
        reference: |b, maps, a| SparseBootstrap::new(*b, maps).apply(a, SlotKind::Real),
        engine: |b, period, e, a| b.bootstrap_sparse_real(e, a, period),
    },
];

/// Level and label after ModRaise.
fn raised(sides: &Sides, maps: &SparseMaps, _: &mut Draws) -> (usize, f64) {
    let params = &sides.fixture.reference.params;
    let left_out = sides.boot.coeffs_to_slots.len() - maps.coeffs_to_slots.len();
    (params.max_level() - left_out, params.q()[0] as f64 * f64::from(sides.boot.range))
}

/// The cases of one preset under one kernel.
pub(super) fn cases(
    sides: &Rc<OnceCell<Sides>>,
    (preset, divisor): (&'static str, usize),
    (index, kernel): (usize, KernelKind),
) -> Vec<Case> {
    let name = format!("{preset}/{}", format!("{kernel:?}").to_lowercase());
    let at = format!("at {preset}, kernel {kernel:?}");
    let shared = Rc::clone(sides);
    let plaintexts = Case::new(
        format!("circuit/bootstrap-sparse-plaintexts/{name}"),
        "boot.sparse.factors",
        format!(
            "Plaintexts of all maps for three periods against the exact ones, within the tolerance of encoding, {at}."
        ),
        Cost::Quick,
        move |options| plaintexts(made(&shared, preset, options)?, index),
    );
    let staged = STAGES.into_iter().map(|stage| {
        let shared = Rc::clone(sides);
        let (id, about) =
            (format!("circuit/{}/{name}", stage.name), format!("{}; every limb of the result {at}.", stage.about));
        Case::new(id, stage.rule, about, Cost::Quick, move |options| {
            run(made(&shared, preset, options)?, &stage, index, share(options.draws, divisor), options)
        })
    });
    std::iter::once(plaintexts).chain(staged).collect()
}

/// Draws for every period in turn.
fn run(
    sides: &Sides,
    stage: &Stage,
    kernel: usize,
    count: usize,
    options: &Options,
) -> Result<CaseOutcome, ConformError> {
    let mut draws = Draws::new(options.seed, stage.name);
    let count = count.max(sides.sparse.len());
    let mut compared = 0;
    for (draw, maps) in sides.sparse.iter().cycle().take(count).enumerate() {
        let (expected, got) = one(sides, maps, stage, kernel, &mut draws)?;
        if let Some(difference) = first_difference(&expected, &got, 0) {
            let message = format!("draw {draw}, period {}: {difference}", maps.period);
            return Ok(CaseOutcome::new(Verdict::Fail, message, draw + 1));
        }
        compared += expected.residue_count();
    }
    Ok(CaseOutcome::new(Verdict::Pass, format!("{compared} residues equal"), count))
}

fn one(
    sides: &Sides,
    maps: &SparseMaps,
    stage: &Stage,
    kernel: usize,
    draws: &mut Draws,
) -> Result<(Output, Output), ConformError> {
    let pair = Pair::new(&sides.fixture.reference, &sides.fixture.engines[kernel]);
    let (level, label) = (stage.input)(sides, maps, draws);
    let Both { exact, fast } = pair.labelled(draws, level, label)?;
    let bootstrap = pair.exact(sides.bootstrap())?;
    let expected = pair.exact((stage.reference)(&bootstrap, maps, &exact))?;
    let (bootstrapper, evaluator) = &sides.engines[kernel];
    let got = pair.fast((stage.engine)(bootstrapper, maps.period, evaluator, &fast))?;
    let expected = pair.exact(pair.reference.output(&expected))?;
    Ok((expected, pair.engine.cipher_output(&got)))
}

/// Every plaintext of the engine against the encoding of the exact diagonal.
fn plaintexts(sides: &Sides, kernel: usize) -> Result<CaseOutcome, ConformError> {
    let r = &sides.fixture.reference;
    let mut outcome = CaseOutcome::new(Verdict::Fail, "no periods".to_owned(), 0);
    for maps in &sides.sparse {
        let exact = SparseMaps::encode(&r.params, &r.encoder, maps.period);
        let exact = exact.map_err(|error| side("reference", "sparse packing", error))?;
        let sparse = sides.engines[kernel].0.sparse(maps.period);
        let sparse = sparse.map_err(|error| side("optimized", "sparse packing", error))?;
        let fast = sparse.slots_to_coeffs_maps().chain(sparse.coeffs_to_slots_maps());
        let fast = fast.chain([sparse.packing_map(), sparse.unpacking_map()]);
        let exact_maps = exact.slots_to_coeffs.iter().chain(&exact.coeffs_to_slots);
        outcome = compare_maps(exact_maps.chain([&exact.packing, &exact.unpacking]), fast)?;
        if outcome.verdict != Verdict::Pass {
            return Ok(outcome);
        }
    }
    Ok(outcome)
}
