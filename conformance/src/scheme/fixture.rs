//! Both sides of a preset: keys from one seed, and results in one form.

use super::side;
use crate::ConformError;
use std::collections::BTreeMap;
use touchstone_ckks::ring::{Form, Poly};
use touchstone_ckks::{self as ckks, Context, EvaluationKeys, KernelKind, KeyGenerator, Security};
use touchstone_reference::ckks as exact;
use touchstone_reference::error::ReferenceError;
use touchstone_spec::params::ParameterLiteral;

/// Rotations for which both sides hold keys: one wraps, and one is a copy.
pub const ROTATIONS: [i64; 5] = [1, 2, 7, -3, 0];

/// Limbs of one or more polynomials in coefficient form, with the scale label.
pub struct Output {
    /// `[polynomial][limb][coefficient]`.
    pub polys: Vec<Vec<Vec<u64>>>,
    /// Prime of each limb.
    pub primes: Vec<u64>,
    /// Scale label; 0 where an operation has none.
    pub scale: f64,
}

impl Output {
    /// Limb counts and lengths.
    pub fn shape(&self) -> Vec<Vec<usize>> {
        self.polys.iter().map(|poly| poly.iter().map(Vec::len).collect()).collect()
    }

    /// Number of residues.
    pub fn residue_count(&self) -> usize {
        self.polys.iter().flatten().map(Vec::len).sum()
    }
}

/// The reference's parameters and keys.
pub struct ReferenceSide {
    /// Parameters.
    pub params: exact::Parameters,
    /// Seed of keys and encryptions.
    pub seed: [u8; 16],
    /// Exact encoder.
    pub encoder: exact::Encoder,
    /// Secret key.
    pub secret: exact::SecretKey,
    /// Public key.
    pub public: exact::PublicKey,
    /// Relinearisation key for the top level.
    pub relin: exact::KeySwitchKey,
    /// Rotation keys by steps.
    pub rotations: BTreeMap<i64, exact::KeySwitchKey>,
    /// Conjugation key.
    pub conjugation: exact::KeySwitchKey,
}

impl ReferenceSide {
    fn new(literal: &ParameterLiteral, seed: [u8; 16]) -> Result<Self, ReferenceError> {
        let params = exact::Parameters::new(literal)?;
        let top = params.max_level();
        let secret = exact::SecretKey::generate(&params, &seed)?;
        let galois = |g| exact::KeySwitchKey::galois(&params, &seed, &secret, g, top);
        let rotation = |&steps: &i64| Ok((steps, galois(exact::rotation_element(&params, steps))?));
        Ok(Self {
            seed,
            encoder: exact::Encoder::new(&params),
            public: exact::PublicKey::generate(&params, &seed, &secret)?,
            relin: exact::KeySwitchKey::relinearisation(&params, &seed, &secret, top)?,
            rotations: ROTATIONS.iter().map(rotation).collect::<Result<_, ReferenceError>>()?,
            conjugation: galois(exact::conjugation_element(&params))?,
            secret,
            params,
        })
    }

    /// A ciphertext from residues.
    pub fn ciphertext(&self, polys: &[Vec<Vec<u64>>], scale: f64) -> Result<exact::Ciphertext, ReferenceError> {
        exact::Ciphertext::from_residues(&self.params, polys, scale)
    }

    /// A ciphertext's residues.
    pub fn output(&self, ciphertext: &exact::Ciphertext) -> Result<Output, ReferenceError> {
        let polys =
            (0..ciphertext.polys.len()).map(|i| ciphertext.residues(&self.params, i)).collect::<Result<_, _>>()?;
        Ok(Output { polys, primes: self.params.chain(ciphertext.level)?.to_vec(), scale: ciphertext.scale })
    }

    /// A plaintext's residues.
    pub fn plain_output(&self, plaintext: &exact::Plaintext) -> Result<Output, ReferenceError> {
        let primes = self.params.chain(plaintext.level)?.to_vec();
        Ok(Output { polys: vec![plaintext.residues(&self.params)?], primes, scale: plaintext.scale })
    }
}

/// The engine under one kernel.
pub struct EngineSide {
    /// The kernel.
    pub kernel: KernelKind,
    /// Context with that kernel.
    pub context: Context,
    /// Seed of keys and encryptions.
    pub seed: ckks::Seed,
    /// Encoder.
    pub encoder: ckks::Encoder,
    /// Secret key.
    pub secret: ckks::SecretKey,
    /// Public key.
    pub public: ckks::PublicKey,
    /// Relinearisation, rotation and conjugation keys for the top level.
    pub keys: EvaluationKeys,
}

impl EngineSide {
    fn new(literal: &ParameterLiteral, kernel: KernelKind, seed: u128) -> Result<Self, ConformError> {
        let failed = |error: ckks::CkksError| side("optimized", "key generation", error);
        let context = context(literal, kernel)?;
        let top = context.parameters().max_level();
        let generator = KeyGenerator::new(&context, ckks::Seed::insecure(seed));
        let secret = generator.secret_key();
        let mut keys = EvaluationKeys::new();
        keys.insert(generator.relinearisation_key(&secret, top).map_err(failed)?);
        keys.insert(generator.conjugation_key(&secret, top).map_err(failed)?);
        for steps in ROTATIONS {
            keys.insert(generator.rotation_key(&secret, steps, top).map_err(failed)?);
        }
        Ok(Self {
            kernel,
            seed: ckks::Seed::insecure(seed),
            encoder: ckks::Encoder::new(&context),
            public: generator.public_key(&secret).map_err(failed)?,
            secret,
            keys,
            context,
        })
    }

    /// A polynomial of `R_{Q_l}` in evaluation form from residues.
    fn poly(&self, limbs: &[Vec<u64>]) -> Poly {
        let ring = self.context.ring();
        let mut poly = ring.zero(limbs.len() - 1, false, Form::Coeff);
        for (i, limb) in limbs.iter().enumerate() {
            poly.limb_mut(i).copy_from_slice(limb);
        }
        poly.make_eval(ring);
        poly
    }

    /// A ciphertext from residues.
    pub fn ciphertext(&self, polys: &[Vec<Vec<u64>>], scale: f64) -> Result<ckks::Ciphertext, ckks::CkksError> {
        let polys = polys.iter().map(|limbs| self.poly(limbs)).collect();
        ckks::Ciphertext::from_polys(&self.context, polys, scale)
    }

    /// Limbs of polynomials of one level, special limbs included where they have them.
    pub fn output(&self, polys: &[&Poly], scale: f64) -> Output {
        let limbs = |poly: &&Poly| {
            let poly = self.context.to_coeff(poly);
            (0..poly.limb_count()).map(|i| poly.limb(i).to_vec()).collect::<Vec<_>>()
        };
        let ring = self.context.ring();
        let level = polys[0].level();
        let primes = (0..polys[0].limb_count()).map(|i| ring.modulus(ring.prime_index(level, i)).value()).collect();
        Output { polys: polys.iter().map(limbs).collect(), primes, scale }
    }

    /// A ciphertext's residues.
    pub fn cipher_output(&self, ciphertext: &ckks::Ciphertext) -> Output {
        let polys: Vec<&Poly> = (0..=ciphertext.degree()).map(|i| ciphertext.poly(i)).collect();
        self.output(&polys, ciphertext.scale())
    }
}

/// Both sides of a preset.
pub struct Fixture {
    /// The reference.
    pub reference: ReferenceSide,
    /// The engine, once per kernel.
    pub engines: Vec<EngineSide>,
    scales: Vec<f64>,
}

impl Fixture {
    /// Keys of both sides from one seed.
    ///
    /// # Errors
    /// [`ConformError::Side`] if a side refuses the preset.
    pub fn new(preset: &str, seed: u128) -> Result<Self, ConformError> {
        let literal = literal(preset)?;
        let reference =
            ReferenceSide::new(&literal, seed.to_le_bytes()).map_err(|e| side("reference", "key generation", e))?;
        let engines =
            kernels().into_iter().map(|kernel| EngineSide::new(&literal, kernel, seed)).collect::<Result<_, _>>()?;
        let scales = literal.canonical_scales.iter().map(|scale| scale.0).collect();
        Ok(Self { reference, engines, scales })
    }

    /// The canonical scale of a level.
    pub fn canonical_scale(&self, level: usize) -> f64 {
        self.scales[level]
    }
}

/// The literal of a preset.
pub fn literal(preset: &str) -> Result<ParameterLiteral, ConformError> {
    ParameterLiteral::preset(preset).map_err(|e| side("reference", "preset", e))
}

/// The kernels of this machine; `scalar` always.
pub fn kernels() -> Vec<KernelKind> {
    KernelKind::available().collect()
}

/// An engine context under one kernel.
pub fn context(literal: &ParameterLiteral, kernel: KernelKind) -> Result<Context, ConformError> {
    ckks::Parameters::from_literal(literal, Security::AllowInsecure)
        .and_then(|parameters| Context::with_kernel(parameters, kernel))
        .map_err(|e| side("optimized", "parameters", e))
}
