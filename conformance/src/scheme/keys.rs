//! Key cases: the same seed must give the same keys on both sides, in the written order of draws.

use super::fixture::{Output, context, kernels, literal};
use super::{first_difference, side};
use crate::{CaseOutcome, ConformError, Verdict};
use touchstone_ckks::ring::Poly;
use touchstone_ckks::{CkksError, Context, KeyGenerator, SecretKey, Seed, SwitchKey};
use touchstone_reference::ckks as exact;
use touchstone_reference::error::ReferenceError;

/// One kind of key.
#[derive(Clone, Copy)]
pub struct KeyCase {
    /// Middle part of the case id.
    pub name: &'static str,
    /// Rule that defines the key.
    pub rule: &'static str,
    /// What is compared.
    pub about: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Secret,
    Public,
    Relinearisation,
    Rotation(i64),
    Conjugation,
}

/// All kinds of keys.
pub fn all() -> Vec<KeyCase> {
    let case = |name, rule, about, kind| KeyCase { name, rule, about, kind };
    vec![
        case("key-secret", "ckks.key.secret", "Coefficients of the secret key", Kind::Secret),
        case("key-public", "ckks.key.public", "Both halves of the public key", Kind::Public),
        case("key-relin", "ckks.key.relin", "Every digit of the relinearisation key", Kind::Relinearisation),
        case("key-rotation", "ckks.key.galois", "Every digit of a rotation key", Kind::Rotation(3)),
        case("key-conjugation", "ckks.key.galois", "Every digit of the conjugation key", Kind::Conjugation),
    ]
}

/// Compares the key of `count` seeds; levels of switching keys run through the chain.
pub fn run(case: &KeyCase, preset: &str, count: usize, seed: u128) -> Result<CaseOutcome, ConformError> {
    let literal = literal(preset)?;
    let params = exact::Parameters::new(&literal).map_err(|e| side("reference", "parameters", e))?;
    let kernels = kernels();
    let contexts = kernels.iter().map(|&kernel| context(&literal, kernel)).collect::<Result<Vec<_>, _>>()?;
    let mut compared = 0;
    for draw in 0..count {
        let seed = seed.wrapping_add(draw as u128);
        let level = draw % (params.max_level() + 1);
        let expected = reference(case.kind, &params, seed, level).map_err(|e| side("reference", case.name, e))?;
        for (context, kernel) in contexts.iter().zip(&kernels) {
            let got = engine(case.kind, context, seed, level).map_err(|e| side("optimized", case.name, e))?;
            if let Some(difference) = first_difference(&expected, &got, 0) {
                let message = format!("seed {seed:x}, kernel {kernel:?}, level {level}: {difference}");
                return Ok(CaseOutcome::new(Verdict::Fail, message, draw + 1));
            }
            compared += expected.residue_count();
        }
    }
    Ok(CaseOutcome::new(Verdict::Pass, format!("{compared} residues equal, kernels {kernels:?}"), count))
}

fn reference(kind: Kind, params: &exact::Parameters, seed: u128, level: usize) -> Result<Output, ReferenceError> {
    let seed = seed.to_le_bytes();
    let secret = exact::SecretKey::generate(params, &seed)?;
    let galois = |g| exact::KeySwitchKey::galois(params, &seed, &secret, g, level);
    let key = match kind {
        Kind::Secret => return Ok(secret_output(secret.coefficients().iter().copied(), params.q()[0])),
        Kind::Public => {
            let halves = exact::PublicKey::generate(params, &seed, &secret)?.residues(params)?;
            let primes = params.extended_chain(params.max_level())?;
            return Ok(Output { polys: halves.to_vec(), primes, scale: 0.0 });
        }
        Kind::Relinearisation => exact::KeySwitchKey::relinearisation(params, &seed, &secret, level)?,
        Kind::Rotation(steps) => galois(exact::rotation_element(params, steps))?,
        Kind::Conjugation => galois(exact::conjugation_element(params))?,
    };
    let polys = key.residues(params)?.into_iter().flatten().collect();
    Ok(Output { polys, primes: params.extended_chain(level)?, scale: 0.0 })
}

fn engine(kind: Kind, context: &Context, seed: u128, level: usize) -> Result<Output, CkksError> {
    let generator = KeyGenerator::new(context, Seed::insecure(seed));
    let secret: SecretKey = generator.secret_key();
    let key = match kind {
        Kind::Secret => {
            let coefficients = secret.coefficients().iter().map(|&c| i64::from(c));
            return Ok(secret_output(coefficients, context.ring().modulus(0).value()));
        }
        Kind::Public => {
            let key = generator.public_key(&secret)?;
            return Ok(output(context, &[key.b().clone(), key.a().clone()]));
        }
        Kind::Relinearisation => generator.relinearisation_key(&secret, level)?,
        Kind::Rotation(steps) => generator.rotation_key(&secret, steps, level)?,
        Kind::Conjugation => generator.conjugation_key(&secret, level)?,
    };
    Ok(output(context, &digits(context, &key)?))
}

fn digits(context: &Context, key: &SwitchKey) -> Result<Vec<Poly>, CkksError> {
    let mut polys = Vec::new();
    for i in 0..key.digit_count() {
        let (b, a) = key.digit(context, i)?;
        polys.extend([b, a]);
    }
    Ok(polys)
}

fn secret_output(coefficients: impl Iterator<Item = i64>, q: u64) -> Output {
    let limb = coefficients.map(|c| c.rem_euclid(q as i64) as u64).collect();
    Output { polys: vec![vec![limb]], primes: vec![q], scale: 0.0 }
}

fn output(context: &Context, polys: &[Poly]) -> Output {
    let (ring, level) = (context.ring(), polys[0].level());
    let limbs = |poly: &Poly| {
        let poly = context.to_coeff(poly);
        (0..poly.limb_count()).map(|i| poly.limb(i).to_vec()).collect::<Vec<_>>()
    };
    let primes = (0..polys[0].limb_count()).map(|i| ring.modulus(ring.prime_index(level, i)).value()).collect();
    Output { polys: polys.iter().map(limbs).collect(), primes, scale: 0.0 }
}
