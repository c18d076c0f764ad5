//! Both packings of one model under encryption, compared tap by tap (`r[packing.twins]`).

use super::encrypted::Model;
use super::exact::{Certified, Reference, Rungs, Taps};
use super::{missing_model, side};
use crate::metrics::{Expected, compare};
use crate::{CaseOutcome, ConformError, Options, Verdict};
use touchstone_ckks::{Ciphertext, Context, KeyGenerator, Parameters, PublicKey, SecretKey, Security, Seed};
use touchstone_llm::LlmError;
use touchstone_llm::batched::{self, BatchedCircuit};
use touchstone_llm::bounds::Bounds;
use touchstone_llm::circuit::{Circuit, Requirements};
use touchstone_llm::session::{self, DecryptedTaps, Server};
use touchstone_llm::tap::{PerPrompt, Tensor};
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

/// Keys of one run.
struct Keys {
    context: Context,
    secret: SecretKey,
    public: PublicKey,
    server: Server,
}

impl Keys {
    fn new(parameters: &Parameters, requirements: &Requirements, seed: u128) -> Result<Self, LlmError> {
        let context = Context::new(parameters.clone())?;
        let generator = KeyGenerator::new(&context, Seed::insecure(seed));
        let secret = generator.secret_key();
        let keys = session::evaluation_keys(&context, &generator, &secret, &requirements.keys)?;
        let server = Server::new(&context, &keys, &requirements.keys)?;
        Ok(Self { public: generator.public_key(&secret)?, secret, server, context })
    }

    fn encrypt(
        &self,
        slots: &[Vec<num_complex::Complex64>],
        requirements: &Requirements,
        seed: u128,
    ) -> Result<Vec<Ciphertext>, LlmError> {
        let level = requirements.plan.input_level();
        session::encrypt(&self.context, &self.public, slots, level, &Seed::insecure(seed))
    }
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
    let optimized = |error: LlmError| side("optimized", "encrypted run", error);
    let parameters = parameters().map_err(optimized)?;
    let twin = batched_sides(&model, &parameters, &prompts, options.seed).map_err(optimized)?;
    let (mut taps, mut apart) = (0, Vec::new());
    for (index, (tokens, batched)) in prompts.iter().zip(twin).enumerate() {
        let r1 = match reference.pair(tokens)? {
            Rungs::Inside(ladder) => ladder.r1,
            Rungs::Escaped(message) => return Ok(CaseOutcome::new(Verdict::Escape, message, index + 1)),
        };
        let seed = options.seed.wrapping_add(2 * index as u128 + 2);
        let packed = packed_side(&model, &parameters, tokens, seed).map_err(optimized)?;
        let found = compared(&r1, [&batched, &packed])?;
        taps += packed.taps.len();
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
    let requirements = circuit.requirements(parameters)?;
    let keys = Keys::new(parameters, &requirements, seed)?;
    let input = keys.encrypt(&circuit.input(prompts)?, &requirements, seed.wrapping_add(1))?;
    let observers = prompts.iter().map(|_| DecryptedTaps::new(&keys.context, &keys.secret)).collect();
    let mut taps = PerPrompt::new(observers);
    keys.server.compute_batch(&circuit, &requirements.plan, &input, &mut taps, &|_| ())?;
    let bounds = batched::bounds(parameters, &circuit, prompts)?;
    let side = |(observer, bounds): (DecryptedTaps<'_>, _)| Side { name: "batched", taps: observer.taps, bounds };
    Ok(taps.observers.into_iter().zip(bounds).map(side).collect())
}

fn packed_side(model: &Model, parameters: &Parameters, tokens: &[u32], seed: u128) -> Result<Side, LlmError> {
    let circuit = Circuit::new(&model.0, parameters.slots(), tokens.len())?;
    let requirements = circuit.requirements(parameters)?;
    let keys = Keys::new(parameters, &requirements, seed)?;
    let input = keys.encrypt(&circuit.input(tokens)?, &requirements, seed.wrapping_add(1))?;
    let mut taps = DecryptedTaps::new(&keys.context, &keys.secret);
    keys.server.compute(&circuit, &requirements.plan, &input, &mut taps, &|_| ())?;
    Ok(Side { name: "packed", taps: taps.taps, bounds: session::bounds(parameters, &circuit, tokens)? })
}

/// Taps at which a packing is out of its bound from R1, or the two are further apart than the sum of their bounds, in words. Behind the
/// final LayerNorm one side may have the last position alone.
fn compared(r1: &Taps, sides: [&Side; 2]) -> Result<Vec<String>, ConformError> {
    let mut found = Vec::new();
    for tap in &sides[1].taps {
        let name = &tap.name;
        let missing = |side| ConformError::MissingTap { tap: name.clone(), side };
        let reference = r1.get(name).ok_or_else(|| missing("reference"))?;
        let other = sides[0].taps.iter().find(|tap| tap.name == *name).ok_or_else(|| missing("optimized"))?;
        let count = match name.starts_with("final.") {
            true => reference.len().min(tap.values.len()).min(other.values.len()),
            false => reference.len(),
        };
        let mut bounds = Vec::new();
        for (side, got) in sides.iter().zip([other, tap]) {
            let bound = side.bounds.bound(name).map_err(|_| missing("optimized"))?;
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
