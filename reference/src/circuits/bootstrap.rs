//! Bootstrapping stage by stage (`spec/book/bootstrapping.md`).

use super::{Basis, Circuits, LinearMap, Plan, SlotMatrix};
use crate::ckks::{Ciphertext, Encoder, KeySwitchKey, Parameters, SecretKey, conjugation_element};
use crate::error::ReferenceError;
use crate::ring::{Poly, centred};
use crate::sample::{Seed, Stream, StreamId, uniform_poly};
use num_complex::Complex64;
use rug::Integer;
use touchstone_spec::params::{BootstrapLiteral, MapFactor};
use touchstone_spec::sampling::{FROM_EPHEMERAL_KEY_ID, SPECIAL_LIMB, TO_EPHEMERAL_KEY_ID, domain};

/// The keys between the secret and the ephemeral secret.
#[derive(Clone, Debug, PartialEq)]
pub struct EphemeralKeys {
    /// `(b, a)` over `R_{q_0 p_0}` (`r[boot.key.to-ephemeral]`).
    to: (Poly, Poly),
    /// `r[boot.key.from-ephemeral]`.
    from: KeySwitchKey,
}

impl EphemeralKeys {
    /// Draws both keys.
    ///
    /// # Errors
    /// [`ReferenceError::BadParameters`] for parameters without bootstrapping.
    pub fn generate(params: &Parameters, seed: &Seed, secret: &SecretKey) -> Result<Self, ReferenceError> {
        let ephemeral = SecretKey::ephemeral(params, seed, constants(params)?.ephemeral_weight)?;
        let primes = [params.q()[0], params.p()[0]];
        let id = StreamId { domain: domain::SWITCH_UNIFORM, object: TO_EPHEMERAL_KEY_ID, digit: 0, limb: 0 };
        let a = uniform_poly(seed, id, params.n(), &primes, &[0, SPECIAL_LIMB])?;
        let id = StreamId { domain: domain::SWITCH_ERROR, ..id };
        let error = Poly::from_small(&Stream::new(seed, id).gaussian(params.n()), a.modulus());
        let gadget = secret.poly(a.modulus()).mul_integer(&Integer::from(primes[1]));
        let b = error.sub(&a.mul(&ephemeral.poly(a.modulus()))?)?.add(&gadget)?;
        let level = params.max_level();
        let source = ephemeral.poly(&params.extended_modulus(level)?);
        let from = KeySwitchKey::from_secret(params, seed, secret, FROM_EPHEMERAL_KEY_ID, &source, level)?;
        Ok(Self { to: (b, a), from })
    }

    /// Limbs `q_0, p_0` of `b` and of `a` of the key to the ephemeral secret.
    #[must_use]
    pub fn to_residues(&self, params: &Parameters) -> [Vec<Vec<u64>>; 2] {
        let primes = [params.q()[0], params.p()[0]];
        [self.to.0.residues(&primes), self.to.1.residues(&primes)]
    }

    /// The key from the ephemeral secret.
    #[must_use]
    pub fn from(&self) -> &KeySwitchKey {
        &self.from
    }
}

/// The factors of both linear maps as integer plaintexts (`r[boot.factors]`).
#[derive(Clone, Debug, PartialEq)]
pub struct BootstrapMaps {
    /// SlotsToCoeffs, in order of application.
    pub slots_to_coeffs: Vec<LinearMap>,
    /// CoeffsToSlots, in order of application.
    pub coeffs_to_slots: Vec<LinearMap>,
}

impl BootstrapMaps {
    /// Encodes the exact factors at the plaintext scales of `r[boot.stc]` and `r[boot.cts]`.
    ///
    /// # Errors
    /// [`ReferenceError::BadParameters`] for parameters without bootstrapping; [`ReferenceError::NotEncodable`].
    pub fn encode(params: &Parameters, encoder: &Encoder) -> Result<Self, ReferenceError> {
        let boot = constants(params)?;
        let radices = |factors: &[MapFactor]| Vec::from_iter(factors.iter().map(|factor| factor.log_radix));
        let map = |matrices: Vec<SlotMatrix>, factors: &[MapFactor], top: usize, label: f64| {
            let scales = plaintext_scales(params, factors, top, label);
            let pairs = matrices.iter().zip(scales);
            let encoded =
                pairs.map(|(m, scale)| LinearMap::encode_exact(encoder, params.slots(), &m.diagonals(), scale));
            encoded.collect::<Result<Vec<_>, _>>()
        };
        let there = SlotMatrix::slots_to_coeffs(params.n(), &radices(&boot.slots_to_coeffs));
        let back = SlotMatrix::coeffs_to_slots(params.n(), &radices(&boot.coeffs_to_slots));
        let start = boot.slots_to_coeffs.len();
        let canonical = params.canonical_scale(start)?;
        Ok(Self {
            slots_to_coeffs: map(there, &boot.slots_to_coeffs, start, canonical)?,
            coeffs_to_slots: map(back, &boot.coeffs_to_slots, params.max_level(), raised_label(params, boot))?,
        })
    }

    /// The steps of all factors that are rotations.
    #[must_use]
    pub fn rotations(&self) -> Vec<i64> {
        self.slots_to_coeffs.iter().chain(&self.coeffs_to_slots).flat_map(LinearMap::rotations).collect()
    }
}

/// The plaintext scale of every factor, the first starting at level `top` with `label`.
pub(super) fn plaintext_scales(params: &Parameters, factors: &[MapFactor], top: usize, label: f64) -> Vec<f64> {
    let starts = std::iter::once(label).chain(factors.iter().map(|factor| factor.label.0));
    let steps = factors.iter().zip(starts).zip((0..=top).rev());
    steps.map(|((factor, start), level)| factor.label.0 * params.q()[level] as f64 / start).collect()
}

/// The label after ModRaise, `fl(q_0 range)`.
pub(super) fn raised_label(params: &Parameters, boot: &BootstrapLiteral) -> f64 {
    params.q()[0] as f64 * f64::from(boot.range)
}

pub(super) fn constants(params: &Parameters) -> Result<&BootstrapLiteral, ReferenceError> {
    params.bootstrap().ok_or_else(|| ReferenceError::BadParameters {
        field: "bootstrap",
        expected: "constants of bootstrapping".to_owned(),
        got: format!("none in {}", params.name()),
    })
}

/// Which slots a bootstrap keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotKind {
    /// Real and imaginary parts.
    Complex,
    /// Real parts; the caller states that imaginary parts are 0 (`r[boot.real]`).
    Real,
}

/// A bootstrap of one parameter set; its stages are public so that each can be compared.
#[derive(Clone, Copy, Debug)]
pub struct Bootstrap<'a> {
    pub(super) circuits: Circuits<'a>,
    pub(super) boot: &'a BootstrapLiteral,
    keys: &'a EphemeralKeys,
    maps: &'a BootstrapMaps,
}

impl<'a> Bootstrap<'a> {
    /// A bootstrap with the keys of `circuits`: relinearisation, conjugation and the rotations of `maps`.
    ///
    /// # Errors
    /// [`ReferenceError::BadParameters`] for parameters without bootstrapping.
    pub fn new(
        circuits: Circuits<'a>,
        keys: &'a EphemeralKeys,
        maps: &'a BootstrapMaps,
    ) -> Result<Self, ReferenceError> {
        Ok(Self { circuits, boot: constants(circuits.params)?, keys, maps })
    }

    /// All stages. In: canonical, level `k` or more, parts of slots in `[-1, 1]` (`r[boot.input]`); out: canonical,
    /// level `o`.
    ///
    /// # Errors
    /// [`ReferenceError::LevelExhausted`] below level `k`; [`ReferenceError::ScaleMismatch`];
    /// [`ReferenceError::MissingKey`].
    pub fn apply(&self, a: &Ciphertext, kind: SlotKind) -> Result<Ciphertext, ReferenceError> {
        let low = self.slots_to_coeffs(a)?;
        let raised = self.from_ephemeral(&self.mod_raise(&self.to_ephemeral(&low)?)?)?;
        let (real, imaginary) = self.coeffs_to_slots(&raised, kind)?;
        let real = self.eval_mod(&real)?;
        match imaginary {
            Some(imaginary) => self.join(&real, &self.eval_mod(&imaginary)?),
            None => Ok(real),
        }
    }

    /// SlotsToCoeffs, from level `k` or above to level 0 (`r[boot.input]`, `r[boot.stc]`).
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub fn slots_to_coeffs(&self, a: &Ciphertext) -> Result<Ciphertext, ReferenceError> {
        self.lowered(a, &self.maps.slots_to_coeffs)
    }

    /// Factors of SlotsToCoeffs, as many as there are maps, down to level 0.
    pub(super) fn lowered(&self, a: &Ciphertext, maps: &[LinearMap]) -> Result<Ciphertext, ReferenceError> {
        let mut value = self.circuits.to_level(a, maps.len())?;
        for (map, factor) in maps.iter().zip(last(&self.boot.slots_to_coeffs, maps.len())) {
            value = self.circuits.linear(&value, map, Some(factor.label.0))?;
        }
        Ok(value)
    }

    /// The switch to the ephemeral secret at level 0 (`r[boot.switch.to-ephemeral]`).
    ///
    /// # Errors
    /// [`ReferenceError::BadOperand`] unless `a` is a pair of level 0.
    pub fn to_ephemeral(&self, a: &Ciphertext) -> Result<Ciphertext, ReferenceError> {
        let [c0, c1] = self.bottom_pair(a)?;
        let (b, key_a) = &self.keys.to;
        let lifted = Poly::from_integers(&c1.centred(), b.modulus());
        let p0 = Integer::from(self.circuits.params.p()[0]);
        let lower = |u: Poly| u.map_into(c0.modulus(), |x| (x - centred(x, &p0)).div_exact(&p0));
        let polys = vec![c0.add(&lower(lifted.mul(b)?))?, lower(lifted.mul(key_a)?)];
        Ok(Ciphertext { polys, level: 0, scale: a.scale })
    }

    /// Coefficients of level 0 taken, centred, at the top level (`r[boot.modraise]`).
    ///
    /// # Errors
    /// [`ReferenceError::BadOperand`] unless `a` is a pair of level 0.
    pub fn mod_raise(&self, a: &Ciphertext) -> Result<Ciphertext, ReferenceError> {
        self.raised(a, self.circuits.params.max_level())
    }

    /// Coefficients of level 0 taken, centred, at a level.
    pub(super) fn raised(&self, a: &Ciphertext, level: usize) -> Result<Ciphertext, ReferenceError> {
        let params = self.circuits.params;
        let modulus = params.modulus(level)?;
        let polys = self.bottom_pair(a)?.map(|c| Poly::from_integers(&c.centred(), &modulus)).to_vec();
        Ok(Ciphertext { polys, level, scale: raised_label(params, self.boot) })
    }

    /// The switch from the ephemeral secret at the top level (`r[boot.switch.from-ephemeral]`).
    ///
    /// # Errors
    /// [`ReferenceError::BadOperand`] unless `a` is a pair.
    pub fn from_ephemeral(&self, a: &Ciphertext) -> Result<Ciphertext, ReferenceError> {
        let [c0, c1] = a.polys.as_slice() else { return Err(not_a_pair(a)) };
        let (v0, v1) = self.circuits.evaluator.key_switch(c1, a.level, &self.keys.from)?;
        Ok(Ciphertext { polys: vec![c0.add(&v0)?, v1], level: a.level, scale: a.scale })
    }

    /// CoeffsToSlots: the real and, unless only that is wanted, the imaginary part, canonical (`r[boot.cts]`).
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub fn coeffs_to_slots(
        &self,
        a: &Ciphertext,
        kind: SlotKind,
    ) -> Result<(Ciphertext, Option<Ciphertext>), ReferenceError> {
        let evaluator = self.circuits.evaluator;
        let (value, conjugate) = self.conjugate_pair(a, &Vec::from_iter(&self.maps.coeffs_to_slots))?;
        let real = self.canonical(&evaluator.add(&value, &conjugate)?)?;
        if kind == SlotKind::Real {
            return Ok((real, None));
        }
        let difference = evaluator.sub(&value, &conjugate)?;
        Ok((real, Some(self.canonical(&evaluator.mul_integer(&difference, [0, -1])?)?)))
    }

    /// `B` and `C` of `r[boot.cts]` by the given factors.
    pub(super) fn conjugate_pair(
        &self,
        a: &Ciphertext,
        maps: &[&LinearMap],
    ) -> Result<(Ciphertext, Ciphertext), ReferenceError> {
        let circuits = self.circuits;
        let mut value = a.clone();
        for (i, (map, factor)) in maps.iter().zip(last(&self.boot.coeffs_to_slots, maps.len())).enumerate() {
            value = if i + 1 < maps.len() {
                circuits.linear(&value, map, Some(factor.label.0))?
            } else {
                circuits.linear_unscaled(&value, map)?
            };
        }
        let key_id = conjugation_element(circuits.params);
        let conjugate = circuits.evaluator.conjugate(&value, circuits.keys.get("conjugation", key_id)?)?;
        Ok((value, conjugate))
    }

    /// The last rescale of CoeffsToSlots, with the canonical label.
    pub(super) fn canonical(&self, x: &Ciphertext) -> Result<Ciphertext, ReferenceError> {
        let rescaled = self.circuits.evaluator.rescale(x)?;
        let scale = self.circuits.params.canonical_scale(rescaled.level)?;
        Ok(Ciphertext { scale, ..rescaled })
    }

    /// From `t / range` to `2^ratio (t - I)` (`r[boot.evalmod]`, `r[boot.output]`).
    ///
    /// # Errors
    /// [`ReferenceError::ScaleMismatch`], [`ReferenceError::LevelExhausted`], [`ReferenceError::MissingKey`].
    pub fn eval_mod(&self, a: &Ciphertext) -> Result<Ciphertext, ReferenceError> {
        let (circuits, evaluator) = (self.circuits, self.circuits.evaluator);
        let shifted = circuits.add_constant(a, -(0.25 / f64::from(self.boot.range)))?;
        let cosine: Vec<f64> = self.boot.cosine.iter().map(|c| c.0).collect();
        let mut y = circuits.polynomial(&shifted, &Plan::new(Basis::Chebyshev, &cosine)?)?;
        for _ in 0..self.boot.double_angles {
            let d = evaluator.mul(&y, &y)?;
            let doubled = evaluator.rescale(&circuits.relinearise(&evaluator.add(&d, &d)?)?)?;
            y = circuits.add_constant(&doubled, -1.0)?;
        }
        let coefficients: Vec<f64> = self.boot.output.iter().map(|c| c.0).collect();
        let label = circuits.params.canonical_scale(self.boot.output_level)?;
        let result = match coefficients[..] {
            [_] => y,
            [a, b] => self.cubic_output(&y, [a, b], label)?,
            [a, b, c] => self.quintic_output(&y, [a, b, c], label)?,
            _ => return Err(not_an_output(coefficients.len())),
        };
        Ok(Ciphertext { scale: label, ..result })
    }

    /// `a s + b s^3`, not yet relabelled.
    fn cubic_output(&self, s: &Ciphertext, [a, b]: [f64; 2], label: f64) -> Result<Ciphertext, ReferenceError> {
        let square = self.circuits.product(s, s)?;
        let scaled = self.labelled_multiple(s, b, self.factor_label(square.level, label)?)?;
        self.output_sum(s, a, &scaled, &square)
    }

    /// `a s + b s^3 + c s^5`, not yet relabelled.
    fn quintic_output(&self, s: &Ciphertext, [a, b, c]: [f64; 3], label: f64) -> Result<Ciphertext, ReferenceError> {
        let square = self.circuits.product(s, s)?;
        let cube = self.circuits.product(&self.circuits.to_level(s, square.level)?, &square)?;
        let scaled = self.labelled_multiple(&square, c, self.factor_label(cube.level, label)?)?;
        self.output_sum(s, a, &self.circuits.add_constant(&scaled, b)?, &cube)
    }

    /// `T = fl(fl(D' q_l) / D_l)`: the label of a factor whose product with a canonical ciphertext of level `l`
    /// becomes `D'` by the rescale.
    fn factor_label(&self, level: usize, label: f64) -> Result<f64, ReferenceError> {
        let params = self.circuits.params;
        Ok(label * params.chain(level)?[level] as f64 / params.canonical_scale(level)?)
    }

    /// `factor * x` one level lower with the label `label`.
    fn labelled_multiple(&self, x: &Ciphertext, factor: f64, label: f64) -> Result<Ciphertext, ReferenceError> {
        let target = label * self.circuits.params.chain(x.level)?[x.level] as f64;
        let scaled = self.circuits.evaluator.mul_scalar(x, Complex64::new(factor, 0.0), target)?;
        Ok(Ciphertext { scale: label, ..self.circuits.evaluator.rescale(&scaled)? })
    }

    /// `Rescale(Relin(w x + a s))`.
    fn output_sum(&self, s: &Ciphertext, a: f64, w: &Ciphertext, x: &Ciphertext) -> Result<Ciphertext, ReferenceError> {
        let evaluator = self.circuits.evaluator;
        let product = evaluator.mul(w, x)?;
        let dropped = evaluator.drop_level(s, product.level)?;
        let linear = evaluator.mul_scalar(&dropped, Complex64::new(a, 0.0), product.scale)?;
        evaluator.rescale(&self.circuits.relinearise(&evaluator.add(&product, &linear)?)?)
    }

    /// `real + i imaginary` (`r[boot.join]`).
    ///
    /// # Errors
    /// [`ReferenceError::LevelMismatch`], [`ReferenceError::ScaleMismatch`].
    pub fn join(&self, real: &Ciphertext, imaginary: &Ciphertext) -> Result<Ciphertext, ReferenceError> {
        let evaluator = self.circuits.evaluator;
        evaluator.add(real, &evaluator.mul_integer(imaginary, [0, 1])?)
    }

    fn bottom_pair<'c>(&self, a: &'c Ciphertext) -> Result<[&'c Poly; 2], ReferenceError> {
        match a.polys.as_slice() {
            [c0, c1] if a.level == 0 => Ok([c0, c1]),
            _ => Err(not_a_pair(a)),
        }
    }
}

/// The last `count` factors of a map.
pub(super) fn last(factors: &[MapFactor], count: usize) -> &[MapFactor] {
    &factors[factors.len().saturating_sub(count)..]
}

fn not_a_pair(a: &Ciphertext) -> ReferenceError {
    let (expected, got) =
        ("a pair of the right level".to_owned(), format!("{} polynomials, level {}", a.polys.len(), a.level));
    ReferenceError::BadOperand { operation: "bootstrapping", expected, got }
}

fn not_an_output(got: usize) -> ReferenceError {
    let expected = "one to three output coefficients".to_owned();
    ReferenceError::BadParameters { field: "bootstrap.output", expected, got: got.to_string() }
}
