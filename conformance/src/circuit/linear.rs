//! Linear maps on slots.
//!
//! Plaintexts are the one place where sides may differ, by the tolerance of `r[ckks.encode]`. A case of its own checks
//! that; every other case hands the engine's plaintexts to the reference and admits no difference.

use super::Circuit;
use super::pair::Pair;
use crate::ConformError;
use crate::scheme::draws::Draws;
use crate::scheme::fixture::Output;
use crate::scheme::side;
use std::collections::{BTreeMap, BTreeSet};
use touchstone_ckks::circuits::linear as fast;
use touchstone_ckks::{Complex64, Evaluator};
use touchstone_reference::circuits::{Circuits, LinearMap};
use touchstone_reference::error::ReferenceError;

pub(super) fn all() -> Vec<Circuit> {
    let circuit = |name, rule, about, draw| Circuit { name, rule, about, unit_tolerance: 0, draw };
    vec![
        Circuit {
            unit_tolerance: 1,
            ..circuit(
                "linear-plaintexts",
                "circuit.linear.plaintext",
                "Schedule and plaintexts of a map, correctly rounded against at most one unit off",
                plaintexts,
            )
        },
        circuit(
            "linear-babies",
            "circuit.linear.baby",
            "Raised rotations of one ciphertext, before any division by P",
            babies,
        ),
        circuit(
            "linear",
            "circuit.linear.giant",
            "A double-hoisted map of a canonical ciphertext, rescaled",
            |pair, draws| double_hoisted(pair, draws, None),
        ),
        circuit(
            "linear-target",
            "circuit.linear.scale",
            "A double-hoisted map of a ciphertext of any label towards a target label",
            |pair, draws| {
                let target = (38.0 + 2.0 * draws.unit()).exp2();
                double_hoisted(pair, draws, Some(target))
            },
        ),
        circuit("linear-unscaled", "circuit.linear.result", "A double-hoisted map before its rescale", unscaled),
        circuit(
            "linear-single",
            "circuit.linear.single",
            "A map on babies that are ciphertexts: sums, rotations, one rescale",
            single,
        ),
    ]
}

/// Random diagonals: for a few shifts that are consecutive, in progression or scattered.
fn diagonals(pair: &Pair<'_>, draws: &mut Draws) -> BTreeMap<i64, Vec<Complex64>> {
    let slots = pair.slots() as i64;
    let count = 1 + draws.below(12.min(slots as u64)) as i64;
    let (first, stride) = (draws.below(slots as u64) as i64, 1 + draws.below(5) as i64);
    let scattered = draws.below(3) == 0;
    let mut shift = |i: i64| if scattered { draws.below(slots as u64) as i64 } else { (first + i * stride) % slots };
    let shifts: Vec<i64> = (0..count).map(&mut shift).collect();
    // A diagonal in four has a period, so that its plaintext is sparse.
    let mut diagonal = || {
        let period = if draws.below(4) == 0 { slots.min(8) } else { slots } as usize;
        let values: Vec<Complex64> = (0..period).map(|_| draws.complex()).collect();
        (0..slots as usize).map(|j| values[j % period]).collect()
    };
    shifts.into_iter().map(|r| (r, diagonal())).collect()
}

/// The engine's map with its plaintexts, and the same plaintexts for the reference.
struct Maps {
    fast: fast::PreparedMap,
    exact: LinearMap,
}

fn maps(pair: &Pair<'_>, diagonals: &BTreeMap<i64, Vec<Complex64>>, scale: f64) -> Result<Maps, ConformError> {
    let prepare = || fast::LinearMap::from_diagonals(pair.slots(), diagonals)?.prepare(&pair.engine.encoder, scale);
    let fast = pair.fast(prepare())?;
    let exact = pair.exact(LinearMap::from_plaintexts(engine_plaintexts(&fast), scale))?;
    Ok(Maps { fast, exact })
}

/// The engine's plaintexts by giant and baby step.
pub fn engine_plaintexts(map: &fast::PreparedMap) -> BTreeMap<(i64, i64), Vec<i64>> {
    let steps = |(g, giant): (usize, &i64)| {
        let babies = map.baby_steps().iter().enumerate();
        let own = babies.filter_map(move |(b, baby)| Some((*baby, map.coefficients(g, b)?)));
        own.map(|(baby, coefficients)| ((*giant, baby), coefficients)).collect::<Vec<_>>()
    };
    map.giant_steps().iter().enumerate().flat_map(steps).collect()
}

/// The integer coefficients of plaintexts, centred modulo a prime so large that none wraps.
pub fn plaintext_output(plaintexts: &BTreeMap<(i64, i64), Vec<i64>>) -> Output {
    // 2^63 - 25, the largest prime below 2^63.
    let prime = (1u64 << 63) - 25;
    let residue = |c: &i64| c.rem_euclid(prime as i64) as u64;
    let polys = plaintexts.values().map(|coefficients| vec![coefficients.iter().map(residue).collect()]).collect();
    Output { polys, primes: vec![prime], scale: 0.0 }
}

fn plaintexts(pair: &Pair<'_>, draws: &mut Draws) -> Result<(Output, Output), ConformError> {
    let diagonals = diagonals(pair, draws);
    let scale = (38.0 + 2.0 * draws.unit()).exp2();
    let maps = maps(pair, &diagonals, scale)?;
    let exact = pair.exact(LinearMap::encode(&pair.reference.encoder, pair.slots(), &diagonals, scale))?;
    let (expected, got) = (exact.plaintexts(), maps.exact.plaintexts());
    if !expected.keys().eq(got.keys()) {
        let message = format!("steps {:?}, the book's are {:?}", got.keys(), expected.keys());
        return Err(side("optimized", "schedule", message));
    }
    Ok((plaintext_output(expected), plaintext_output(got)))
}

fn babies(pair: &Pair<'_>, draws: &mut Draws) -> Result<(Output, Output), ConformError> {
    let level = pair.level(draws, 0);
    let a = pair.uniform(draws, level)?;
    let slots = pair.slots() as u64;
    let steps: BTreeSet<i64> = (0..3).map(|_| draws.below(slots) as i64).chain([0]).collect();
    let (exact_keys, fast_keys) = pair.keys(steps.iter().copied().filter(|step| *step != 0), level)?;
    let params = &pair.reference.params;
    let expected = pair.exact(Circuits::new(params, &exact_keys).raised_babies(&a.exact, &steps))?;
    let list: Vec<i64> = steps.into_iter().collect();
    let evaluator = Evaluator::new(&pair.engine.context, &fast_keys);
    let got = pair.fast(evaluator.rotate_hoisted_extended(&a.fast, &list))?;
    let primes = pair.exact(params.extended_chain(level))?;
    let polys = expected.values().flat_map(|(x, y)| [x.residues(&primes), y.residues(&primes)]).collect();
    let raised: Vec<_> = got.iter().flat_map(|one| [one.poly(0), one.poly(1)]).collect();
    Ok((Output { polys, primes, scale: a.exact.scale }, pair.engine.output(&raised, a.fast.scale())))
}

fn double_hoisted(pair: &Pair<'_>, draws: &mut Draws, target: Option<f64>) -> Result<(Output, Output), ConformError> {
    let level = pair.level(draws, 1);
    let a = match target {
        None => pair.uniform(draws, level)?,
        Some(_) => {
            let label = (40.0 + draws.unit()).exp2();
            pair.labelled(draws, level, label)?
        }
    };
    // The reference's plaintext scale; an engine that computes another one refuses its own map.
    let scale = match target {
        None => a.exact.scale,
        Some(target) => target * pair.reference.params.q()[level] as f64 / a.exact.scale,
    };
    let maps = maps(pair, &diagonals(pair, draws), scale)?;
    pair.run(
        maps.exact.rotations(),
        |c| c.linear(&a.exact, &maps.exact, target),
        |e| maps.fast.apply(e, &a.fast, target),
    )
}

fn unscaled(pair: &Pair<'_>, draws: &mut Draws) -> Result<(Output, Output), ConformError> {
    let level = pair.level(draws, 0);
    let a = pair.uniform(draws, level)?;
    let mut maps = maps(pair, &diagonals(pair, draws), (35.0 + 3.0 * draws.unit()).exp2())?;
    // Kept transforms change the engine's path, not its integers.
    if draws.below(2) == 0 {
        pair.fast(maps.fast.keep_transforms(level, usize::MAX))?;
    }
    pair.run(
        maps.exact.rotations(),
        |c| c.linear_unscaled(&a.exact, &maps.exact),
        |e| maps.fast.apply_unscaled(e, &a.fast),
    )
}

fn single(pair: &Pair<'_>, draws: &mut Draws) -> Result<(Output, Output), ConformError> {
    let level = pair.level(draws, 1);
    let a = pair.uniform(draws, level)?;
    let diagonals = diagonals(pair, draws);
    let maps = maps(pair, &diagonals, a.exact.scale)?;
    let fast_map = pair.fast(fast::LinearMap::from_diagonals(pair.slots(), &diagonals))?;
    let babies = maps.exact.babies();
    pair.run(
        maps.exact.rotations(),
        |c| {
            let rotate = |&b: &i64| Ok((b, c.rotate(&a.exact, b)?));
            c.linear_single(&babies.iter().map(rotate).collect::<Result<_, ReferenceError>>()?, &maps.exact)
        },
        |e| {
            let rotated = e.rotate_hoisted(&a.fast, fast_map.baby_steps())?;
            fast_map.apply_to_babies(e, &pair.engine.encoder, &rotated)
        },
    )
}
