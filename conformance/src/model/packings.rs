//! Both packings of one model under encryption, compared tap by tap (`r[packing.twins]`).

use super::encrypted::{Encrypted, Model};
use super::exact::{Certified, Reference, Rungs, Taps};
use super::{missing_model, side};
use crate::metrics::{Expected, compare};
use crate::{CaseOutcome, ConformError, Options, Verdict};
use touchstone_ckks::{Parameters, Security};
use touchstone_llm::LlmError;
use touchstone_llm::batched::{self, BatchedCircuit};
use touchstone_llm::bounds::Bounds;
use touchstone_llm::circuit::Circuit;
use touchstone_llm::session;
use touchstone_llm::tap::Tensor;
use touchstone_spec::params::{ParameterLiteral, SecurityClaim};

/// The preset whose levels are used, and the ring degree: errors follow from both, security plays no part.
const PRESET: &str = "n16-leveled";
const LOG_N: u32 = 8;

/// One packing's decrypted taps of one prompt with the bounds on their errors.
struct Side {
    name: &'static str,
    taps: Vec<Tensor>,
    bounds: Bounds,
}

/// Runs two prompts in both packings at a small ring, and holds every tap of both against R1 and against each other.
///
/// # Errors
/// [`ConformError::Side`] from either side, and those of [`compare`].
pub fn run(options: &Options) -> Result<CaseOutcome, ConformError> {
    if let Some(skip) = missing_model(options) {
        return Ok(skip);
    }
    let model = Model::load(&options.model)?;
    let reference = Reference::load(&options.model)?;
    let whole = reference.tokens(&options.prompt)?;
    let prompts = vec![whole[..whole.len().div_ceil(2)].to_vec(), whole];
    let parameters = parameters().map_err(optimized)?;
    let twin = batched_sides(&model, &parameters, &prompts, options.seed).map_err(optimized)?;
    let (mut taps, mut apart) = (0, Vec::new());
    for (index, (tokens, batched)) in prompts.iter().zip(twin).enumerate() {
        let r1 = match reference.pair(tokens)? {
            Rungs::Inside(ladder) => ladder.r1,
            Rungs::Escaped(message) => return Ok(CaseOutcome::new(Verdict::Escape, message, index + 1)),
        };
        let packed = packed_side(&model, &parameters, tokens, options.seed.wrapping_add(index as u128 + 1))?;
        let found = compared(&r1, [&batched, &packed])?;
        taps += r1.len();
        apart.extend(found.into_iter().map(|text| format!("prompt {index}: {text}")));
    }
    let (verdict, message) = match apart.first() {
        None => (Verdict::Pass, format!("{taps} taps of {} prompts agree between packings and with R1", prompts.len())),
        Some(first) => (Verdict::Fail, format!("{first}; {} in all", apart.len())),
    };
    Ok(CaseOutcome::new(verdict, message, prompts.len()))
}

fn parameters() -> Result<Parameters, LlmError> {
    let security = SecurityClaim::Insecure;
    let literal = ParameterLiteral { log_n: LOG_N, security, ..ParameterLiteral::preset(PRESET)? };
    Ok(Parameters::from_literal(&literal, Security::AllowInsecure)?)
}

fn batched_sides(
    model: &Model,
    parameters: &Parameters,
    prompts: &[Vec<u32>],
    seed: u128,
) -> Result<Vec<Side>, LlmError> {
    let lengths: Vec<usize> = prompts.iter().map(Vec::len).collect();
    let row = lengths.iter().copied().max().unwrap_or(1).next_power_of_two();
    let circuit = BatchedCircuit::new(&model.0, parameters.slots(), row, &lengths)?;
    let session = Encrypted::meeting(circuit.requirements(parameters)?, parameters.clone(), seed)?;
    let taps = session.batched_taps(&circuit, prompts)?;
    let bounds = batched::bounds(parameters, &circuit, prompts)?;
    Ok(taps.into_iter().zip(bounds).map(|(taps, bounds)| Side { name: "batched", taps, bounds }).collect())
}

fn packed_side(model: &Model, parameters: &Parameters, tokens: &[u32], seed: u128) -> Result<Side, ConformError> {
    let prepare = || {
        let circuit = Circuit::new(&model.0, parameters.slots(), tokens.len())?;
        let session = Encrypted::meeting(circuit.requirements(parameters)?, parameters.clone(), seed)?;
        Ok((session, session::bounds(parameters, &circuit, tokens)?))
    };
    let (session, bounds) = prepare().map_err(optimized)?;
    Ok(Side { name: "packed", taps: session.taps(model, tokens)?, bounds })
}

fn optimized(error: LlmError) -> ConformError {
    side("optimized", "encrypted run", error)
}

/// Taps at which a packing is out of its bound from R1, or the two are further apart than the sum of their bounds, in words. Behind the
/// final LayerNorm one side may have the last position alone.
fn compared(r1: &Taps, sides: [&Side; 2]) -> Result<Vec<String>, ConformError> {
    let mut found = Vec::new();
    for (name, reference) in r1 {
        let missing = || ConformError::MissingTap { tap: name.clone(), side: "optimized" };
        let of = |side: &'_ Side| side.taps.iter().position(|tap| tap.name == *name).ok_or_else(missing);
        let (other, tap) = (&sides[0].taps[of(sides[0])?], &sides[1].taps[of(sides[1])?]);
        let count = match name.starts_with("final.") {
            true => reference.len().min(tap.values.len()).min(other.values.len()),
            false => reference.len(),
        };
        let mut bounds = Vec::new();
        for (side, got) in sides.iter().zip([other, tap]) {
            let bound = side.bounds.bound(name).map_err(|_| missing())?;
            let own = expected(last(reference, count), last(&bound, count));
            let comparison = compare(name, &own, last(&got.values, count))?;
            if !comparison.conforms() {
                found.push(format!("{name}, {}: error {:e} from R1", side.name, comparison.worst_error));
            }
            bounds.push(last(&bound, count).to_vec());
        }
        let both: Vec<f64> = bounds[0].iter().zip(&bounds[1]).map(|(a, b)| a + b).collect();
        let between: Vec<Certified> =
            last(&other.values, count).iter().map(|&mid| Certified { mid, rad: 0.0 }).collect();
        let comparison = compare(name, &expected(&between, &both), last(&tap.values, count))?;
        if !comparison.conforms() {
            found.push(format!("{name}: packings apart by {:e}", comparison.worst_error));
        }
    }
    Ok(found)
}

fn expected(values: &[Certified], bounds: &[f64]) -> Vec<Expected> {
    let pairs = values.iter().zip(bounds);
    pairs.map(|(value, &bound)| Expected { mid: value.mid, rad: value.rad, bound }).collect()
}

fn last<T>(values: &[T], count: usize) -> &[T] {
    &values[values.len().saturating_sub(count)..]
}
