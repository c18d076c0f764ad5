//! The ephemeral secret of bootstrapping: its keys, the switches to and from it, and ModRaise between them
//! (`r[boot.key.*]`, `r[boot.switch.*]`, `r[boot.modraise]`).

use super::ciphertext::Ciphertext;
use super::context::{Context, small_limb};
use super::evaluator::Evaluator;
use super::keygen::KeyGenerator;
use super::keys::{SecretKey, SwitchKey};
use super::keyswitch::{key_product, mod_down, mod_down_add};
use super::params::Parameters;
use super::sampler::{Seed, Stream, StreamKey};
use crate::CkksError;
use crate::instrument::{self, Operation};
use crate::ring::{Form, Limb, Poly};
use rayon::prelude::*;
use touchstone_spec::params::BootstrapLiteral;
use touchstone_spec::sampling::{FROM_EPHEMERAL_KEY_ID, SPECIAL_LIMB, TO_EPHEMERAL_KEY_ID, domain};
use zeroize::Zeroize;

/// Limbs of `R_{q_0 p_0}`: modulo `q_0` and modulo `p_0`.
const LIMBS: usize = 2;

/// The key from the secret to the ephemeral one (`r[boot.key.to-ephemeral]`), over `R_{q_0 p_0}` in evaluation form.
#[derive(Debug, Clone, PartialEq)]
pub struct ToEphemeralKey {
    b: [Limb; LIMBS],
    a: [Limb; LIMBS],
    streams: [StreamKey; LIMBS],
    fingerprint: [u8; 32],
}

impl ToEphemeralKey {
    /// The key with first half `b`, in evaluation form modulo `q_0` and `p_0`, and the second half drawn from `streams`.
    ///
    /// # Errors
    /// [`CkksError::Slots`] or [`CkksError::Argument`] unless `b` holds canonical residues.
    pub fn from_parts(context: &Context, b: [Vec<u64>; LIMBS], streams: [StreamKey; LIMBS]) -> Result<Self, CkksError> {
        let operation = "ToEphemeralKey::from_parts";
        let ring = context.ring();
        let mut limbs = [context.scratch_limb(), context.scratch_limb()];
        for ((limb, b), prime) in limbs.iter_mut().zip(&b).zip(primes(context)) {
            if b.len() != ring.n() {
                return Err(CkksError::Slots { operation, expected: ring.n(), got: b.len() });
            }
            if let Some(residue) = b.iter().find(|&&residue| residue >= ring.modulus(prime).value()) {
                return Err(CkksError::Argument {
                    operation,
                    expected: "canonical residues",
                    got: residue.to_string(),
                });
            }
            limb.copy_from_slice(b);
        }
        Ok(Self { b: limbs, a: uniform(context, &streams), streams, fingerprint: context.parameters().fingerprint() })
    }

    /// The first half, in evaluation form modulo `q_0` and `p_0`.
    #[must_use]
    pub fn b(&self) -> [&[u64]; LIMBS] {
        [&self.b[0], &self.b[1]]
    }

    /// The uniform half, in evaluation form modulo `q_0` and `p_0`.
    #[must_use]
    pub fn a(&self) -> [&[u64]; LIMBS] {
        [&self.a[0], &self.a[1]]
    }

    pub(crate) fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// The keys of the streams that the uniform half was drawn from; public.
    #[must_use]
    pub fn streams(&self) -> &[StreamKey; LIMBS] {
        &self.streams
    }
}

/// Prime indices of `q_0` and `p_0`.
fn primes(context: &Context) -> [usize; LIMBS] {
    [0, context.ring().chain_len()]
}

fn uniform(context: &Context, streams: &[StreamKey; LIMBS]) -> [Limb; LIMBS] {
    let ring = context.ring();
    let mut limbs = [context.scratch_limb(), context.scratch_limb()];
    for ((limb, prime), key) in limbs.iter_mut().zip(primes(context)).zip(streams) {
        Stream::new(key).uniform(ring.modulus(prime).value(), limb);
        ring.kernels().ntt(ring.table(prime), limb);
    }
    limbs
}

/// The bootstrapping section of the parameter set.
pub(crate) fn section<'a>(
    parameters: &'a Parameters,
    operation: &'static str,
) -> Result<&'a BootstrapLiteral, CkksError> {
    parameters.bootstrap().ok_or_else(|| CkksError::Argument {
        operation,
        expected: "a parameter set with a section for bootstrapping",
        got: parameters.literal().name.clone(),
    })
}

impl KeyGenerator {
    /// The keys to and from an ephemeral secret of the parameter set's weight, which is drawn, used and erased: that from the
    /// secret to the ephemeral one, and that back, up to the top level (`r[boot.key.from-ephemeral]`).
    ///
    /// # Errors
    /// [`CkksError::Argument`] for a set without bootstrapping; [`CkksError::Fingerprint`] for another set's secret.
    pub fn ephemeral_keys(&self, secret: &SecretKey) -> Result<(ToEphemeralKey, SwitchKey), CkksError> {
        let (context, operation) = (self.context(), "ephemeral_keys");
        let weight = section(context.parameters(), operation)?.ephemeral_weight;
        context.check_fingerprint(operation, &secret.fingerprint)?;
        let (n, top) = (context.parameters().n(), context.parameters().max_level());
        let mut sparse = self.seed().stream(domain::EPHEMERAL_SECRET, 0, 0, 0).fixed_weight(n, weight);
        let source = context.small_poly(&sparse, top, true);
        let to = to_ephemeral_key(context, self.seed(), secret, &source);
        sparse.zeroize();
        let from = self.switch_key(secret, source, FROM_EPHEMERAL_KEY_ID, top)?;
        Ok((to, from))
    }
}

/// `b = -a s_e + e + p_0 s`.
fn to_ephemeral_key(context: &Context, seed: &Seed, secret: &SecretKey, sparse: &Poly) -> ToEphemeralKey {
    let ring = context.ring();
    let streams = [0, SPECIAL_LIMB].map(|limb| seed.stream_key(domain::SWITCH_UNIFORM, TO_EPHEMERAL_KEY_ID, 0, limb));
    let a = uniform(context, &streams);
    let mut errors = seed.stream(domain::SWITCH_ERROR, TO_EPHEMERAL_KEY_ID, 0, 0).gaussian(ring.n());
    let mut b = [context.scratch_limb(), context.scratch_limb()];
    for ((b, a), prime) in b.iter_mut().zip(&a).zip(primes(context)) {
        let (modulus, kernels) = (ring.modulus(prime), ring.kernels());
        small_limb(modulus, &errors, b);
        kernels.ntt(ring.table(prime), b);
        let mut product = context.scratch_limb();
        let sparse = if prime == 0 { sparse.limb(0) } else { sparse.special_limb(0) };
        kernels.mul(modulus, &mut product, a, sparse);
        kernels.sub_assign(modulus, b, &product);
        product.zeroize();
    }
    errors.zeroize();
    // Modulo p_0 the term p_0 s vanishes.
    let p0 = ring.modulus(0).reduce_u64(ring.modulus(ring.chain_len()).value());
    ring.kernels().mul_scalar_add_assign(ring.modulus(0), &mut b[0], secret.poly.limb(0), p0);
    ToEphemeralKey { b, a, streams, fingerprint: context.parameters().fingerprint() }
}

impl Evaluator {
    /// Switches a ciphertext of level 0 to the ephemeral secret (`r[boot.switch.to-ephemeral]`): label unchanged.
    ///
    /// # Errors
    /// [`CkksError::Level`] at another level; [`CkksError::MissingKey`]; [`CkksError::Degree`]; [`CkksError::Fingerprint`].
    pub fn to_ephemeral(&self, a: &Ciphertext) -> Result<Ciphertext, CkksError> {
        let operation = "to_ephemeral";
        let context = self.context();
        context.check_fingerprint(operation, &a.fingerprint)?;
        self.check_degree(operation, a, 1)?;
        if a.level() != 0 {
            return Err(CkksError::Level { operation, expected: 0, got: a.level() });
        }
        let key = self.keys().to_ephemeral()?;
        let _operation = instrument::operation(Operation::RaiseModulus, 0);
        context.check_fingerprint(operation, &key.fingerprint)?;
        let (ring, kernels) = (context.ring(), context.ring().kernels());
        let [q0, p0] = primes(context).map(|prime| ring.table(prime));
        // y in evaluation form modulo q_0 is the limb itself.
        let own = a.polys[1].limb(0);
        let mut coefficients = context.scratch_limb();
        coefficients.copy_from_slice(own);
        kernels.intt(q0, &mut coefficients);
        let mut y = context.scratch_limb();
        kernels.reduce_centered(&coefficients, q0.modulus(), &mut y, p0.modulus());
        kernels.ntt(p0, &mut y);
        let inverse = q0.modulus().inv(q0.modulus().reduce_u64(p0.modulus().value()));
        let half = |key: &[Limb; LIMBS], add: Option<&[u64]>| {
            let [mut high, mut low] = [context.scratch_limb(), context.scratch_limb()];
            kernels.mul(p0.modulus(), &mut low, &y, &key[1]);
            kernels.intt(p0, &mut low);
            let mut remainder = context.scratch_limb();
            kernels.reduce_centered(&low, p0.modulus(), &mut remainder, q0.modulus());
            kernels.ntt(q0, &mut remainder);
            kernels.mul(q0.modulus(), &mut high, own, &key[0]);
            let mut out = context.scratch_limb();
            match add {
                Some(add) => kernels.sub_mul_scalar_add(q0.modulus(), &mut out, &high, &remainder, inverse, add),
                None => kernels.sub_mul_scalar(q0.modulus(), &mut out, &high, &remainder, inverse),
            }
            Poly::from_limbs(0, Form::Eval, vec![out])
        };
        let polys = vec![half(&key.b, Some(a.polys[0].limb(0))), half(&key.a, None)];
        Ok(Ciphertext { polys, scale: a.scale, fingerprint: a.fingerprint })
    }

    /// Takes a ciphertext of level 0 to `level` with the given label (`r[boot.modraise]`, `r[boot.sparse.modraise]`): every
    /// coefficient becomes its centred residue modulo `q_0`, so the message gains multiples of `q_0`.
    ///
    /// # Errors
    /// [`CkksError::Level`] at another level than 0, or towards one above the top; [`CkksError::Argument`] for a bad label;
    /// [`CkksError::Fingerprint`].
    pub fn mod_raise(&self, a: &Ciphertext, level: usize, label: f64) -> Result<Ciphertext, CkksError> {
        let operation = "mod_raise";
        self.context().check_fingerprint(operation, &a.fingerprint)?;
        self.context().check_level(operation, level)?;
        if a.level() != 0 {
            return Err(CkksError::Level { operation, expected: 0, got: a.level() });
        }
        if !(label > 0.0 && label.is_finite()) {
            let expected = "a positive finite label";
            return Err(CkksError::Argument { operation, expected, got: label.to_string() });
        }
        let ring = self.context().ring();
        let kernels = ring.kernels();
        let _operation = instrument::within(Operation::RaiseModulus);
        let scope = instrument::scope();
        let raise = |poly: &Poly| {
            let mut coefficients = self.context().scratch_limb();
            coefficients.copy_from_slice(poly.limb(0));
            kernels.intt(ring.table(0), &mut coefficients);
            let mut raised = ring.scratch(level, false, Form::Eval);
            raised.limbs_mut().par_iter_mut().enumerate().for_each(|(i, limb)| {
                let _scope = scope.enter();
                kernels.reduce_centered(&coefficients, ring.modulus(0), limb, ring.modulus(i));
                kernels.ntt(ring.table(i), limb);
            });
            raised
        };
        let polys = a.polys.iter().map(raise).collect();
        Ok(Ciphertext { polys, scale: label, fingerprint: a.fingerprint })
    }

    /// Multiplies by the inverse of a number modulo `Q_l` (`r[boot.sparse.trace]`): level and label unchanged. The
    /// message is no small integer polynomial afterwards, until it is multiplied by the number again.
    ///
    /// # Errors
    /// [`CkksError::Argument`] for a multiple of a prime of the level, 0 included; [`CkksError::Fingerprint`].
    pub fn mul_inverse(&self, a: &Ciphertext, number: u64) -> Result<Ciphertext, CkksError> {
        let operation = "mul_inverse";
        self.context().check_fingerprint(operation, &a.fingerprint)?;
        let ring = self.context().ring();
        if (0..=a.level()).any(|i| ring.modulus(i).reduce_u64(number) == 0) {
            let expected = "a number that is invertible modulo every prime";
            return Err(CkksError::Argument { operation, expected, got: number.to_string() });
        }
        let _operation = instrument::operation(Operation::MultiplyConstant, a.level());
        let scope = instrument::scope();
        let mut product = a.clone();
        for poly in &mut product.polys {
            poly.limbs_mut().par_iter_mut().enumerate().for_each(|(i, limb)| {
                let _scope = scope.enter();
                let modulus = ring.modulus(i);
                ring.kernels().mul_scalar_assign(modulus, limb, modulus.inv(modulus.reduce_u64(number)));
            });
        }
        Ok(product)
    }

    /// Switches a ciphertext back from the ephemeral secret (`r[boot.switch.from-ephemeral]`, error `r[noise.keyswitch]`):
    /// level and label unchanged.
    ///
    /// # Errors
    /// [`CkksError::MissingKey`]; [`CkksError::KeyLevel`]; [`CkksError::Degree`]; [`CkksError::Fingerprint`].
    pub fn from_ephemeral(&self, a: &Ciphertext) -> Result<Ciphertext, CkksError> {
        let operation = "from_ephemeral";
        let context = self.context();
        context.check_fingerprint(operation, &a.fingerprint)?;
        self.check_degree(operation, a, 1)?;
        let key = self.keys().from_ephemeral(a.level())?;
        let _operation = instrument::within(Operation::RaiseModulus);
        context.check_fingerprint(operation, &key.fingerprint)?;
        let (u0, u1) = key_product(context, &a.polys[1], key);
        let (c0, c1) = instrument::join(|| mod_down_add(context, u0, Some(&a.polys[0])), || mod_down(context, u1));
        Ok(Ciphertext { polys: vec![c0, c1], scale: a.scale, fingerprint: a.fingerprint })
    }
}
