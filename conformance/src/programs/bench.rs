//! Parameters and keys of both sides that all programs of a preset share.

use crate::ConformError;
use crate::scheme::draws::Draws;
use crate::scheme::fixture::{EngineSide, Fixture, ROTATIONS};
use crate::scheme::side;
use std::collections::{BTreeMap, BTreeSet};
use touchstone_ckks::{Complex64, Encoder, EvaluationKeys, Evaluator, KeyGenerator};
use touchstone_reference::bounds::program::Program;
use touchstone_reference::circuits::{Keys, Schedule};
use touchstone_reference::ckks as exact;
use touchstone_reference::error::ReferenceError;

/// Failure probability of all bounds of a run.
const FAILURE: f64 = 1.0 / (1u64 << 40) as f64;
/// Most fresh errors that one instruction makes: a polynomial of degree 7 has fewer than 16 products, summands and rescales,
/// with up to three fresh errors each.
const FRESH: usize = 48;

/// Shifts of the linear maps.
const SHIFTS: [&[i64]; 6] = [&[0], &[1], &[0, 1], &[-1, 0, 1], &[0, 1, 2, 3], &[1, 2, 5]];

/// The engine under one kernel, with keys.
pub struct Side<'a> {
    /// Context, encoder and client's keys.
    pub engine: &'a EngineSide,
    /// Operations.
    pub evaluator: Evaluator,
}

/// Both sides, and the bounds.
pub struct Bench<'a> {
    /// The reference's parameters and client's keys, the engine's context per kernel.
    pub fixture: &'a Fixture,
    /// The reference's evaluation keys.
    pub keys: Keys,
    /// The engine, once per kernel.
    pub sides: Vec<Side<'a>>,
    /// Predicted slots and bounds.
    pub bounds: Program<'a>,
}

impl<'a> Bench<'a> {
    /// Keys for programs of up to `length` instructions, and bounds that hold for `count` of them together.
    ///
    /// # Errors
    /// [`ConformError::Side`] if a side refuses.
    pub fn new(fixture: &'a Fixture, count: usize, length: usize) -> Result<Self, ConformError> {
        let reference = &fixture.reference;
        let (params, top) = (&reference.params, reference.params.max_level());
        let refused = |error: ReferenceError| side("reference", "programs", error);
        let mut rotations: BTreeSet<i64> = ROTATIONS.into_iter().filter(|steps| *steps != 0).collect();
        for shifts in SHIFTS {
            let schedule = Schedule::new(params.slots(), shifts.iter().copied()).map_err(refused)?;
            rotations.extend(schedule.rotations());
        }
        let mut keys = Keys::new();
        keys.insert(reference.relin.clone());
        keys.insert(reference.conjugation.clone());
        for steps in &rotations {
            let g = exact::rotation_element(params, *steps);
            let key = exact::KeySwitchKey::galois(params, &reference.seed, &reference.secret, g, top);
            keys.insert(key.map_err(refused)?);
        }
        let sides = fixture.engines.iter().map(|engine| Side::new(engine, &rotations, top));
        let numbers = (count * (length + 2) * FRESH).saturating_mul(params.n());
        Ok(Self {
            fixture,
            keys,
            sides: sides.collect::<Result<_, _>>()?,
            bounds: Program::new(params, &reference.secret, FAILURE, numbers).map_err(refused)?,
        })
    }

    /// Slots of one of four kinds: any, real, equal, or all but one 0.
    pub fn slots(&self, draws: &mut Draws) -> Vec<Complex64> {
        let n = self.fixture.reference.params.slots();
        match draws.below(4) {
            0 => (0..n).map(|_| draws.complex()).collect(),
            1 => (0..n).map(|_| draws.unit().into()).collect(),
            2 => vec![draws.complex(); n],
            _ => {
                let mut slots = vec![Complex64::ZERO; n];
                slots[draws.below(n as u64) as usize] = draws.complex();
                slots
            }
        }
    }

    /// Diagonals of a linear map for which there are keys.
    pub fn diagonals(&self, draws: &mut Draws) -> BTreeMap<i64, Vec<Complex64>> {
        let shifts = SHIFTS[draws.below(SHIFTS.len() as u64) as usize];
        let n = self.fixture.reference.params.slots();
        shifts.iter().map(|shift| (*shift, (0..n).map(|_| draws.complex()).collect())).collect()
    }
}

impl<'a> Side<'a> {
    fn new(engine: &'a EngineSide, rotations: &BTreeSet<i64>, top: usize) -> Result<Self, ConformError> {
        let generator = KeyGenerator::new(&engine.context, engine.seed.clone());
        let mut keys = EvaluationKeys::new();
        let mut fill = || {
            keys.insert(generator.relinearisation_key(&engine.secret, top)?);
            keys.insert(generator.conjugation_key(&engine.secret, top)?);
            rotations.iter().try_for_each(|steps| {
                keys.insert(generator.rotation_key(&engine.secret, *steps, top)?);
                Ok(())
            })
        };
        fill().map_err(|error: touchstone_ckks::CkksError| side("optimized", "programs", error))?;
        Ok(Self { engine, evaluator: Evaluator::new(&engine.context, &keys) })
    }

    /// The engine's encoder.
    pub fn encoder(&self) -> &Encoder {
        &self.engine.encoder
    }
}
