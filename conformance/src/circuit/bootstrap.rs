//! Bootstrapping, stage by stage and whole.
//!
//! The engine's plaintexts of both linear maps are checked against the exact ones by a case of its own; all other
//! cases hand them to the reference and admit no difference.

use super::linear::{engine_plaintexts, plaintext_output};
use super::pair::{Both, Pair};
use super::sparse;
use crate::case::{Case, Cost};
use crate::scheme::draws::Draws;
use crate::scheme::fixture::{Fixture, Output, kernels};
use crate::scheme::{first_difference, share, side};
use crate::{CaseOutcome, ConformError, Options, Verdict};
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use touchstone_ckks::circuits::bootstrap::Bootstrapper;
use touchstone_ckks::circuits::linear::PreparedMap;
use touchstone_ckks::{Ciphertext, CkksError, EvaluationKeys, Evaluator, KeyGenerator};
use touchstone_reference::circuits::{
    Bootstrap, BootstrapMaps, Circuits, EphemeralKeys, Keys, LinearMap, SlotKind, SparseMaps,
};
use touchstone_reference::ckks as exact;
use touchstone_reference::error::ReferenceError;
use touchstone_spec::params::BootstrapLiteral;

/// Presets with bootstrapping, with the divisor of the number of draws.
pub(super) const PRESETS: [(&str, usize); 3] = [("toy-n5-boot", 50), ("toy-n5-boot-pair", 50), ("toy-n8-boot", 200)];

/// One stage, or all of them.
#[derive(Clone, Copy)]
struct Stage {
    name: &'static str,
    rule: &'static str,
    about: &'static str,
    /// Level and label of the input.
    input: fn(&Sides, &mut Draws) -> (usize, f64),
    reference: fn(&Bootstrap<'_>, &exact::Ciphertext) -> Result<Vec<exact::Ciphertext>, ReferenceError>,
    engine: fn(&Bootstrapper, &Evaluator, &Ciphertext) -> Result<Vec<Ciphertext>, CkksError>,
}

const STAGES: [Stage; 6] = [
    Stage {
        name: "bootstrap-stc",
        rule: "boot.stc",
        about: "SlotsToCoeffs",
        input: |sides, draws| sides.low_input(draws),
        reference: |b, a| Ok(vec![b.slots_to_coeffs(a)?]),
        engine: |b, e, a| Ok(vec![b.slots_to_coeffs(e, a)?]),
    },
    Stage {
        name: "bootstrap-modraise",
        rule: "boot.modraise",
        about: "The switch to the ephemeral secret, ModRaise and the switch back",
        input: |sides, _| (0, sides.boot.slots_to_coeffs.last().map_or(1.0, |factor| factor.label.0)),
        reference: |b, a| Ok(vec![b.from_ephemeral(&b.mod_raise(&b.to_ephemeral(a)?)?)?]),
        engine: |b, e, a| Ok(vec![b.mod_raise(e, a)?]),
    },
    Stage {
        name: "bootstrap-cts",
        rule: "boot.cts",
        about: "CoeffsToSlots, both parts",
        input: |sides, _| {
            let params = &sides.fixture.reference.params;
            (params.max_level(), params.q()[0] as f64 * f64::from(sides.boot.range))
        },
        reference: |b, a| {
            let (real, imaginary) = b.coeffs_to_slots(a, SlotKind::Complex)?;
            Ok(std::iter::once(real).chain(imaginary).collect())
        },
        engine: |b, e, a| Ok(b.coeffs_to_slots(e, a)?.to_vec()),
    },
    Stage {
        name: "bootstrap-evalmod",
        rule: "boot.evalmod",
        about: "EvalMod: cosine, double angles, output polynomial",
        input: |sides, _| {
            let level = sides.fixture.reference.params.max_level() - sides.boot.coeffs_to_slots.len();
            (level, sides.fixture.canonical_scale(level))
        },
        reference: |b, a| Ok(vec![b.eval_mod(a)?]),
        engine: |b, e, a| Ok(vec![b.eval_mod(e, a)?]),
    },
    Stage {
        name: "bootstrap",
        rule: "boot.join",
        about: "A whole bootstrap of complex slots",
        input: |sides, draws| sides.low_input(draws),
        reference: |b, a| Ok(vec![b.apply(a, SlotKind::Complex)?]),
        engine: |b, e, a| Ok(vec![b.bootstrap(e, a)?]),
    },
    Stage {
        name: "bootstrap-real",
        rule: "boot.real",
        about: "A whole bootstrap of real slots",
        input: |sides, draws| sides.low_input(draws),
        reference: |b, a| Ok(vec![b.apply(a, SlotKind::Real)?]),
        engine: |b, e, a| Ok(vec![b.bootstrap_real(e, a)?]),
    },
];

/// Both sides of a preset with the keys and maps of bootstrapping.
pub(super) struct Sides {
    pub(super) fixture: Fixture,
    pub(super) boot: BootstrapLiteral,
    keys: Keys,
    ephemeral: EphemeralKeys,
    /// The engine's plaintexts.
    maps: BootstrapMaps,
    /// The engine's plaintexts for some periods.
    pub(super) sparse: Vec<SparseMaps>,
    pub(super) engines: Vec<(Bootstrapper, Evaluator)>,
}

impl Sides {
    fn new(preset: &str, seed: u128) -> Result<Self, ConformError> {
        let fixture = Fixture::new(preset, seed)?;
        let failed = |error: ReferenceError| side("reference", "bootstrapping", error);
        let engines = fixture.engines.iter().map(|engine| {
            let mut bootstrapper = Bootstrapper::new(&engine.context)?;
            let slots = engine.context.parameters().slots();
            sparse::periods(slots).into_iter().try_for_each(|period| bootstrapper.prepare_sparse(period))?;
            let generator = KeyGenerator::new(&engine.context, engine.seed.clone());
            let mut keys = EvaluationKeys::new();
            bootstrapper.generate_keys(&generator, &engine.secret, &mut keys)?;
            Ok((bootstrapper, Evaluator::new(&engine.context, &keys)))
        });
        let engines: Vec<(Bootstrapper, Evaluator)> =
            engines.collect::<Result<_, CkksError>>().map_err(|e| side("optimized", "bootstrapping", e))?;
        let bootstrapper = &engines[0].0;
        let maps = BootstrapMaps {
            slots_to_coeffs: exact_maps(bootstrapper.slots_to_coeffs_maps())?,
            coeffs_to_slots: exact_maps(bootstrapper.coeffs_to_slots_maps())?,
        };
        let r = &fixture.reference;
        let periods = sparse::periods(r.params.slots());
        let sparse = periods.into_iter().map(|period| sparse::engine_maps(bootstrapper, period));
        let sparse: Vec<SparseMaps> = sparse.collect::<Result<_, _>>()?;
        let mut keys = Keys::new();
        keys.insert(r.relin.clone());
        keys.insert(r.conjugation.clone());
        let rotations = sparse.iter().flat_map(|maps| maps.rotations(&r.params)).chain(maps.rotations());
        for steps in rotations.collect::<BTreeSet<i64>>() {
            let g = exact::rotation_element(&r.params, steps);
            let key = exact::KeySwitchKey::galois(&r.params, &r.seed, &r.secret, g, r.params.max_level());
            keys.insert(key.map_err(failed)?);
        }
        let ephemeral = EphemeralKeys::generate(&r.params, &r.seed, &r.secret).map_err(failed)?;
        let boot = r.params.bootstrap().ok_or_else(|| side("reference", preset, "has no bootstrapping"))?.clone();
        Ok(Self { boot, keys, ephemeral, maps, sparse, engines, fixture })
    }

    /// The reference's bootstrap.
    pub(super) fn bootstrap(&self) -> Result<Bootstrap<'_>, ReferenceError> {
        Bootstrap::new(Circuits::new(&self.fixture.reference.params, &self.keys), &self.ephemeral, &self.maps)
    }

    /// Level and label of an input of a bootstrap: canonical, of any level that may be bootstrapped and is not above
    /// the output.
    pub(super) fn low_input(&self, draws: &mut Draws) -> (usize, f64) {
        let low = self.boot.slots_to_coeffs.len();
        let level = low + draws.below((self.boot.output_level - low + 1) as u64) as usize;
        (level, self.fixture.canonical_scale(level))
    }

    fn stage(&self, stage: &Stage, kernel: usize, draws: &mut Draws) -> Result<(Output, Output), ConformError> {
        let pair = Pair::new(&self.fixture.reference, &self.fixture.engines[kernel]);
        let (level, label) = (stage.input)(self, draws);
        let Both { exact, fast } = pair.labelled(draws, level, label)?;
        let bootstrap = pair.exact(self.bootstrap())?;
        let expected = pair.exact((stage.reference)(&bootstrap, &exact))?;
        let (bootstrapper, evaluator) = &self.engines[kernel];
        let got = pair.fast((stage.engine)(bootstrapper, evaluator, &fast))?;
        let expected: Vec<Output> =
            expected.iter().map(|c| pair.exact(pair.reference.output(c))).collect::<Result<_, _>>()?;
        Ok((joined(expected), joined(got.iter().map(|c| pair.engine.cipher_output(c)).collect())))
    }
}

/// The engine's maps for the reference.
pub(super) fn exact_maps<'a>(maps: impl Iterator<Item = &'a PreparedMap>) -> Result<Vec<LinearMap>, ConformError> {
    maps.map(exact_map).collect()
}

/// An engine's map for the reference.
pub(super) fn exact_map(map: &PreparedMap) -> Result<LinearMap, ConformError> {
    let exact = LinearMap::from_plaintexts(engine_plaintexts(map), map.scale());
    exact.map_err(|error| side("reference", "bootstrapping", error))
}

/// Several ciphertexts of one level and label as one result.
fn joined(outputs: Vec<Output>) -> Output {
    let (primes, scale) = outputs.first().map_or((Vec::new(), 0.0), |first| (first.primes.clone(), first.scale));
    let same = outputs.iter().all(|output| output.scale.to_bits() == scale.to_bits());
    // Different labels within one result agree with no other result.
    let scale = if same { scale } else { f64::NAN };
    Output { polys: outputs.into_iter().flat_map(|output| output.polys).collect(), primes, scale }
}

/// All cases of bootstrapping.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (preset, divisor) in PRESETS {
        let sides: Rc<OnceCell<Sides>> = Rc::default();
        for (index, kernel) in kernels().into_iter().enumerate() {
            let name = format!("{preset}/{}", format!("{kernel:?}").to_lowercase());
            let at = format!("at {preset}, kernel {kernel:?}");
            let shared = Rc::clone(&sides);
            cases.push(Case::new(
                format!("circuit/bootstrap-plaintexts/{name}"),
                "boot.factors",
                format!(
                    "Plaintexts of both linear maps against the exact ones, within the tolerance of encoding, {at}."
                ),
                Cost::Quick,
                move |options| plaintexts(made(&shared, preset, options)?, index),
            ));
            for stage in STAGES {
                let shared = Rc::clone(&sides);
                let id = format!("circuit/{}/{name}", stage.name);
                let about = format!("{}; every limb of the result {at}.", stage.about);
                cases.push(Case::new(id, stage.rule, about, Cost::Quick, move |options| {
                    run(made(&shared, preset, options)?, &stage, index, share(options.draws, divisor), options)
                }));
            }
            cases.extend(sparse::cases(&sides, (preset, divisor), (index, kernel)));
        }
    }
    cases
}

/// The sides of a preset, made when the first case asks for them.
pub(super) fn made<'a>(cell: &'a OnceCell<Sides>, preset: &str, options: &Options) -> Result<&'a Sides, ConformError> {
    if cell.get().is_none() {
        let _ = cell.set(Sides::new(preset, options.seed)?);
    }
    cell.get().ok_or_else(|| side("reference", "fixture", "was not made"))
}

fn run(
    sides: &Sides,
    stage: &Stage,
    kernel: usize,
    count: usize,
    options: &Options,
) -> Result<CaseOutcome, ConformError> {
    let mut draws = Draws::new(options.seed, stage.name);
    let mut compared = 0;
    for draw in 0..count {
        let (expected, got) = sides.stage(stage, kernel, &mut draws)?;
        if let Some(difference) = first_difference(&expected, &got, 0) {
            return Ok(CaseOutcome::new(Verdict::Fail, format!("draw {draw}: {difference}"), draw + 1));
        }
        compared += expected.residue_count();
    }
    Ok(CaseOutcome::new(Verdict::Pass, format!("{compared} residues equal"), count))
}

/// Every plaintext of the engine against the encoding of the exact diagonal.
fn plaintexts(sides: &Sides, kernel: usize) -> Result<CaseOutcome, ConformError> {
    let r = &sides.fixture.reference;
    let exact = BootstrapMaps::encode(&r.params, &r.encoder).map_err(|e| side("reference", "bootstrapping maps", e))?;
    let bootstrapper = &sides.engines[kernel].0;
    let fast = bootstrapper.slots_to_coeffs_maps().chain(bootstrapper.coeffs_to_slots_maps());
    compare_maps(exact.slots_to_coeffs.iter().chain(&exact.coeffs_to_slots), fast)
}

/// Plaintexts of maps with entries of modulus at most 1 against the engine's, within the tolerance of encoding.
pub(super) fn compare_maps<'a>(
    exact: impl Iterator<Item = &'a LinearMap>,
    fast: impl Iterator<Item = &'a PreparedMap>,
) -> Result<CaseOutcome, ConformError> {
    let mut compared = 0;
    for (factor, (expected, got)) in exact.zip(fast).enumerate() {
        if expected.scale().to_bits() != got.scale().to_bits() {
            let message = format!("factor {factor}: plaintext scale {:e}, got {:e}", expected.scale(), got.scale());
            return Ok(CaseOutcome::new(Verdict::Fail, message, 1));
        }
        let got: BTreeMap<(i64, i64), Vec<i64>> = engine_plaintexts(got);
        if !expected.plaintexts().keys().eq(got.keys()) {
            let message = format!("factor {factor}: steps {:?}, got {:?}", expected.plaintexts().keys(), got.keys());
            return Ok(CaseOutcome::new(Verdict::Fail, message, 1));
        }
        let tolerance = (1.0 + expected.scale() * (-46f64).exp2()) as u64;
        let (want, have) = (plaintext_output(expected.plaintexts()), plaintext_output(&got));
        if let Some(difference) = first_difference(&want, &have, tolerance) {
            return Ok(CaseOutcome::new(Verdict::Fail, format!("factor {factor}: {difference}"), 1));
        }
        compared += want.residue_count();
    }
    Ok(CaseOutcome::new(Verdict::Pass, format!("{compared} coefficients within the tolerance of encoding"), 1))
}
