//! Secret, public and evaluation keys.

use super::context::Context;
use super::ephemeral::ToEphemeralKey;
use super::sampler::{StreamKey, limb_id};
use super::uniform::{UniformHalf, draw, to_compress};
use crate::CkksError;
use crate::arith::PackedLimb;
use crate::instrument;
use crate::ring::{Form, Poly};
use rayon::prelude::*;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use touchstone_spec::params::SecretDistribution;
use touchstone_spec::sampling::{FROM_EPHEMERAL_KEY_ID, RELINEARISATION_KEY_ID, TO_EPHEMERAL_KEY_ID};
use zeroize::Zeroize;

/// The secret `s` (`r[ckks.key.secret]`). Erased when dropped.
#[derive(Clone)]
pub struct SecretKey {
    /// Coefficients in `{-1, 0, 1}`.
    coefficients: Vec<i8>,
    /// `s` over `R_{Q_L P}` in evaluation form.
    pub(crate) poly: Poly,
    pub(crate) fingerprint: [u8; 32],
}

impl Drop for SecretKey {
    fn drop(&mut self) {
        self.coefficients.zeroize();
        self.poly.erase();
    }
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

impl SecretKey {
    /// The key with the given ternary coefficients, for instance read from a file.
    ///
    /// # Errors
    /// [`CkksError::Slots`] unless there are `N` coefficients; [`CkksError::Argument`] if one is not in `{-1, 0, 1}` or
    /// the weight is not that of the parameter set.
    pub fn from_coefficients(context: &Context, mut coefficients: Vec<i8>) -> Result<Self, CkksError> {
        let checked = check_secret(context, &coefficients);
        if checked.is_err() {
            coefficients.zeroize();
        }
        checked?;
        Ok(Self::from_draw(context, coefficients))
    }

    /// The key with coefficients that are known to be of the parameter set's distribution.
    pub(crate) fn from_draw(context: &Context, coefficients: Vec<i8>) -> Self {
        let poly = context.small_poly(&coefficients, context.parameters().max_level(), true);
        Self { coefficients, poly, fingerprint: context.parameters().fingerprint() }
    }

    /// The coefficients, each in `{-1, 0, 1}`. Handle them like the key itself.
    #[must_use]
    pub fn coefficients(&self) -> &[i8] {
        &self.coefficients
    }

    /// The fingerprint of the parameter set it belongs to.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }
}

fn check_secret(context: &Context, coefficients: &[i8]) -> Result<(), CkksError> {
    let operation = "SecretKey::from_coefficients";
    let n = context.parameters().n();
    if coefficients.len() != n {
        return Err(CkksError::Slots { operation, expected: n, got: coefficients.len() });
    }
    if coefficients.iter().any(|c| !(-1..=1).contains(c)) {
        let got = "another coefficient".to_owned();
        return Err(CkksError::Argument { operation, expected: "coefficients -1, 0 and 1", got });
    }
    if let SecretDistribution::FixedWeight { weight } = context.parameters().secret() {
        let got = coefficients.iter().filter(|&&c| c != 0).count();
        if got != weight {
            let got = got.to_string();
            return Err(CkksError::Argument { operation, expected: "the Hamming weight of the parameter set", got });
        }
    }
    Ok(())
}

/// The public key `(b, a)` over `R_{Q_L P}` (`r[ckks.key.public]`).
#[derive(Debug, Clone, PartialEq)]
pub struct PublicKey {
    pub(crate) b: Poly,
    pub(crate) a: Poly,
    streams: Vec<StreamKey>,
    pub(crate) fingerprint: [u8; 32],
}

impl PublicKey {
    /// The key with first half `b` (evaluation form over `R_{Q_L P}`) and the second half drawn from `streams`, one per
    /// limb in limb order.
    ///
    /// # Errors
    /// [`CkksError::Level`], [`CkksError::Slots`] or [`CkksError::Argument`] if `b` or `streams` have another shape.
    pub fn from_parts(context: &Context, b: Poly, streams: Vec<StreamKey>) -> Result<Self, CkksError> {
        let level = context.parameters().max_level();
        check_half(context, "PublicKey::from_parts", level, &b)?;
        let a = uniform_poly(context, "PublicKey::from_parts", level, true, &streams)?;
        Ok(Self::from_halves(context, b, a, streams))
    }

    pub(crate) fn from_halves(context: &Context, b: Poly, a: Poly, streams: Vec<StreamKey>) -> Self {
        Self { b, a, streams, fingerprint: context.parameters().fingerprint() }
    }

    /// The first half, `b = -a s + e`, in evaluation form.
    #[must_use]
    pub fn b(&self) -> &Poly {
        &self.b
    }

    /// The uniform half, in evaluation form.
    #[must_use]
    pub fn a(&self) -> &Poly {
        &self.a
    }

    /// The keys of the streams the uniform half was drawn from, one per limb; public.
    #[must_use]
    pub fn streams(&self) -> &[StreamKey] {
        &self.streams
    }
}

/// A key-switching key (`r[ckks.key.switch]`) for use up to a level.
///
/// It is kept ready for use: the key of an automorphism `X -> X^g` is stored under the inverse automorphism, so that an
/// evaluator may apply the automorphism once, to the result (`r[ckks.galois]`). [`SwitchKey::digit`] gives the key of
/// the book. Residues are packed in whole bytes: keys are most of what an evaluator holds and reads. Clones share the limbs.
/// A [`SwitchKey::compressed`] key takes half the memory, is slower, and gives the same bits.
#[derive(Debug, Clone, PartialEq)]
pub struct SwitchKey {
    key_id: u32,
    level: usize,
    /// Limbs by digit.
    b: Arc<[Vec<PackedLimb>]>,
    a: UniformHalf,
    streams: Arc<[Vec<StreamKey>]>,
    pub(crate) fingerprint: [u8; 32],
}

impl SwitchKey {
    /// The key with the given first halves `b_i` (evaluation form, over `R_{Q_level P}`, as in the book) and the uniform
    /// halves drawn from `streams`: per digit one stream key per limb, in limb order.
    ///
    /// `key_id` is 0 for relinearisation, 2 for the key from the ephemeral secret and `g` for the automorphism `X -> X^g`.
    ///
    /// # Errors
    /// [`CkksError::Level`], [`CkksError::Slots`] or [`CkksError::Argument`] if a part has another shape, or the key id
    /// is not 0, 2 or an odd number below `2N`.
    pub fn from_parts(
        context: &Context,
        key_id: u32,
        level: usize,
        b: Vec<Poly>,
        streams: Vec<Vec<StreamKey>>,
    ) -> Result<Self, CkksError> {
        let operation = "SwitchKey::from_parts";
        context.check_level(operation, level)?;
        let digits = context.parameters().digits(level);
        if b.len() != digits || streams.len() != digits {
            return Err(CkksError::Slots { operation, expected: digits, got: b.len().min(streams.len()) });
        }
        if key_id != RELINEARISATION_KEY_ID && key_id != FROM_EPHEMERAL_KEY_ID {
            check_galois(context, operation, u64::from(key_id))?;
        }
        b.iter().try_for_each(|half| check_half(context, operation, level, half))?;
        let expand = |streams: &Vec<StreamKey>| uniform_poly(context, operation, level, true, streams);
        let a = streams.par_iter().map(expand).collect::<Result<Vec<_>, _>>()?;
        Self::from_book(context, key_id, level, (b, a), streams)
    }

    /// Brings the key of the book to the stored form.
    pub(crate) fn from_book(
        context: &Context,
        key_id: u32,
        level: usize,
        (mut b, mut a): (Vec<Poly>, Vec<Poly>),
        streams: Vec<Vec<StreamKey>>,
    ) -> Result<Self, CkksError> {
        if is_galois(key_id) {
            let inverse = inverse_galois(context, u64::from(key_id));
            for half in b.iter_mut().chain(&mut a) {
                permute_in_place(context, inverse, half)?;
            }
        }
        let fingerprint = context.parameters().fingerprint();
        let [b, a] = [b, a].map(|halves| halves.into_iter().map(|half| pack(context, half)).collect());
        Ok(Self { key_id, level, b, a: UniformHalf::Held(a), streams: streams.into(), fingerprint })
    }

    /// The same key without its uniform half in memory: each use draws it again from its streams, which costs about one
    /// transform per limb and digit more.
    ///
    /// # Errors
    /// [`CkksError::Fingerprint`] for a context of other parameters.
    pub fn compressed(&self, context: &Context) -> Result<Self, CkksError> {
        context.check_fingerprint("SwitchKey::compressed", &self.fingerprint)?;
        let permutation = match is_galois(self.key_id) {
            true => Some(context.permutation(inverse_galois(context, u64::from(self.key_id)))?),
            false => None,
        };
        Ok(Self { a: UniformHalf::Drawn(permutation), ..self.clone() })
    }

    /// 0 for relinearisation, 2 for the key from the ephemeral secret, `g` for the automorphism `X -> X^g`.
    #[must_use]
    pub fn key_id(&self) -> u32 {
        self.key_id
    }

    /// The highest level the key serves; it serves every level below too.
    #[must_use]
    pub fn level(&self) -> usize {
        self.level
    }

    /// Bytes that the key holds in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.b.iter().flatten().map(PackedLimb::size).sum::<usize>() + self.a.bytes()
    }

    /// The number of digits.
    #[must_use]
    pub fn digit_count(&self) -> usize {
        self.b.len()
    }

    /// Digit `i` of the key of the book: `(b_i, a_i)` over `R_{Q_level P}`, in evaluation form.
    ///
    /// # Errors
    /// [`CkksError::Slots`] if there is no digit `i`; [`CkksError::Fingerprint`] for a context of other parameters.
    pub fn digit(&self, context: &Context, i: usize) -> Result<(Poly, Poly), CkksError> {
        let operation = "SwitchKey::digit";
        context.check_fingerprint(operation, &self.fingerprint)?;
        if i >= self.b.len() {
            return Err(CkksError::Slots { operation, expected: self.b.len(), got: i });
        }
        let a: Vec<_> = (0..self.b[i].len()).map(|own| self.uniform_limb(context, i, own)).collect();
        let mut b = unpack(context, self.level, self.b[i].iter());
        let mut a = unpack(context, self.level, a.iter().map(|limb| &**limb));
        if is_galois(self.key_id) {
            permute_in_place(context, u64::from(self.key_id), &mut b)?;
            permute_in_place(context, u64::from(self.key_id), &mut a)?;
        }
        Ok((b, a))
    }

    /// The keys of the streams that the uniform half of digit `i` was drawn from, one per limb; public.
    ///
    /// # Panics
    /// If there is no digit `i`.
    #[must_use]
    pub fn streams(&self, i: usize) -> &[StreamKey] {
        &self.streams[i]
    }

    /// The key for use up to a lower level: a prefix of its digits and chain limbs (`r[ckks.key.switch]`).
    ///
    /// # Errors
    /// [`CkksError::KeyLevel`] if `level` is above the key's own.
    pub fn truncated(&self, context: &Context, level: usize) -> Result<Self, CkksError> {
        if level > self.level {
            return Err(CkksError::KeyLevel { what: self.purpose(), expected: level, got: self.level });
        }
        let digits = context.parameters().digits(level);
        let below = self.level + 1;
        Ok(Self {
            key_id: self.key_id,
            level,
            b: self.b[..digits].iter().map(|half| cut(half, level, below)).collect(),
            a: match &self.a {
                UniformHalf::Held(a) => {
                    UniformHalf::Held(a[..digits].iter().map(|half| cut(half, level, below)).collect())
                }
                drawn @ UniformHalf::Drawn(_) => drawn.clone(),
            },
            streams: self.streams[..digits].iter().map(|streams| cut(streams, level, below)).collect(),
            fingerprint: self.fingerprint,
        })
    }

    /// Limb `own` of the key's own level of the uniform half of digit `digit`.
    fn uniform_limb(&self, context: &Context, digit: usize, own: usize) -> Cow<'_, PackedLimb> {
        let prime = context.ring().prime_index(self.level, own);
        self.a.limb(context, (digit, own, prime), &self.streams[digit][own])
    }

    /// `(sum_i d_i b_i, sum_i d_i a_i)` modulo the prime of limb `limb` of `R_{Q_level P}`; `lifts` are the `d_i`.
    pub(crate) fn dot(
        &self,
        context: &Context,
        (level, limb): (usize, usize),
        lifts: &[&[u64]],
        [u0, u1]: [&mut [u64]; 2],
    ) {
        let ring = context.ring();
        let modulus = ring.modulus(ring.prime_index(level, limb));
        let own = if limb <= level { limb } else { limb + self.level - level };
        let b: Vec<&PackedLimb> = self.b[..lifts.len()].iter().map(|half| &half[own]).collect();
        let a: Vec<_> = (0..lifts.len()).map(|digit| self.uniform_limb(context, digit, own)).collect();
        let a: Vec<&PackedLimb> = a.iter().map(|limb| &**limb).collect();
        let _stage = instrument::inner_product(lifts.len() * ring.n(), PackedLimb::width(modulus));
        ring.kernels().dot2_packed(modulus, u0, u1, lifts, &b, &a);
    }

    fn purpose(&self) -> String {
        match self.key_id {
            RELINEARISATION_KEY_ID => "relinearisation".to_owned(),
            FROM_EPHEMERAL_KEY_ID => FROM_EPHEMERAL.to_owned(),
            g => format!("automorphism X -> X^{g}"),
        }
    }
}

fn pack(context: &Context, half: Poly) -> Vec<PackedLimb> {
    let (ring, level) = (context.ring(), half.level());
    let modulus = |i| ring.modulus(ring.prime_index(level, i));
    half.limbs().par_iter().enumerate().map(|(i, limb)| PackedLimb::new(modulus(i), limb)).collect()
}

fn unpack<'a>(context: &Context, level: usize, half: impl Iterator<Item = &'a PackedLimb>) -> Poly {
    let mut poly = context.ring().scratch(level, true, Form::Eval);
    poly.limbs_mut().iter_mut().zip(half).for_each(|(limb, packed)| packed.unpack(limb));
    poly
}

/// The entries `0..=level` and those from `special` on.
fn cut<T: Clone>(entries: &[T], level: usize, special: usize) -> Vec<T> {
    entries[..=level].iter().chain(&entries[special..]).cloned().collect()
}

/// Draws a uniform polynomial in evaluation form from one stream per limb.
pub(crate) fn uniform_poly(
    context: &Context,
    operation: &'static str,
    level: usize,
    special: bool,
    streams: &[StreamKey],
) -> Result<Poly, CkksError> {
    let ring = context.ring();
    let mut poly = ring.scratch(level, special, Form::Eval);
    if streams.len() != poly.limb_count() {
        return Err(CkksError::Slots { operation, expected: poly.limb_count(), got: streams.len() });
    }
    poly.limbs_mut().par_iter_mut().zip(streams).enumerate().for_each(|(i, (limb, key))| {
        draw(context, ring.prime_index(level, i), key, limb);
    });
    Ok(poly)
}

/// The stream keys of a uniform polynomial, one per limb.
pub(crate) fn stream_keys(
    context: &Context,
    level: usize,
    special: bool,
    of_limb: impl Fn(u32) -> StreamKey,
) -> Vec<StreamKey> {
    let ring = context.ring();
    let count = level + 1 + if special { ring.special_len() } else { 0 };
    (0..count).map(|i| of_limb(limb_id(ring.prime_index(level, i), ring.chain_len()))).collect()
}

fn check_half(context: &Context, operation: &'static str, level: usize, half: &Poly) -> Result<(), CkksError> {
    let ring = context.ring();
    if half.level() != level {
        return Err(CkksError::Level { operation, expected: level, got: half.level() });
    }
    let expected = level + 1 + ring.special_len();
    if half.limb_count() != expected {
        return Err(CkksError::Slots { operation, expected, got: half.limb_count() });
    }
    let canonical = |(i, limb): (usize, &crate::ring::Limb)| {
        let prime = ring.modulus(ring.prime_index(level, i)).value();
        limb.len() == ring.n() && limb.iter().all(|&residue| residue < prime)
    };
    if half.form() != Form::Eval || !half.limbs().iter().enumerate().all(canonical) {
        let expected = "limbs of N canonical residues in evaluation form";
        return Err(CkksError::Argument { operation, expected, got: "other limbs".to_owned() });
    }
    Ok(())
}

/// Refuses Galois elements that are even or not below `2N`.
pub(crate) fn check_galois(context: &Context, operation: &'static str, g: u64) -> Result<(), CkksError> {
    if g % 2 == 1 && g < 2 * context.parameters().n() as u64 {
        return Ok(());
    }
    Err(CkksError::Argument { operation, expected: "an odd Galois element below 2N", got: g.to_string() })
}

/// Whether a key id is that of an automorphism.
fn is_galois(key_id: u32) -> bool {
    key_id % 2 == 1
}

/// The inverse of the odd number `g` modulo `2N`.
pub(crate) fn inverse_galois(context: &Context, g: u64) -> u64 {
    // Newton: an odd g is its own inverse modulo 8, and every step doubles the number of correct bits.
    let inverse = (0..5).fold(g, |x, _| x.wrapping_mul(2u64.wrapping_sub(g.wrapping_mul(x))));
    inverse & (2 * context.parameters().n() as u64 - 1)
}

fn permute_in_place(context: &Context, g: u64, poly: &mut Poly) -> Result<(), CkksError> {
    let permutation = context.permutation(g)?;
    poly.limbs_mut().par_iter_mut().for_each(|limb| {
        let source = limb.clone();
        context.ring().kernels().permute(&source, &permutation, limb);
    });
    Ok(())
}

/// Purposes of ephemeral keys in errors.
const TO_EPHEMERAL: &str = "the switch to the ephemeral secret";
const FROM_EPHEMERAL: &str = "the switch from the ephemeral secret";

/// A key of any kind that an evaluator may use.
#[derive(Debug, Clone, PartialEq)]
pub enum EvaluationKey {
    /// For relinearisation, an automorphism or the way back from the ephemeral secret.
    Switch(SwitchKey),
    /// For the way to the ephemeral secret.
    ToEphemeral(ToEphemeralKey),
}

impl EvaluationKey {
    /// The key id (`r[sample.stream]`).
    #[must_use]
    pub fn key_id(&self) -> u32 {
        match self {
            Self::Switch(key) => key.key_id,
            Self::ToEphemeral(_) => TO_EPHEMERAL_KEY_ID,
        }
    }
}

impl From<SwitchKey> for EvaluationKey {
    fn from(key: SwitchKey) -> Self {
        Self::Switch(key)
    }
}

impl From<ToEphemeralKey> for EvaluationKey {
    fn from(key: ToEphemeralKey) -> Self {
        Self::ToEphemeral(key)
    }
}

/// The keys an evaluator may use.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EvaluationKeys {
    /// The relinearisation key.
    pub relin: Option<SwitchKey>,
    /// Keys of automorphisms `X -> X^g` by `g`.
    pub galois: BTreeMap<u64, SwitchKey>,
    /// The key to the ephemeral secret of bootstrapping.
    pub to_ephemeral: Option<ToEphemeralKey>,
    /// The key back from it.
    pub from_ephemeral: Option<SwitchKey>,
}

impl EvaluationKeys {
    /// No keys.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a key under its purpose, replacing one of the same purpose.
    pub fn insert(&mut self, key: impl Into<EvaluationKey>) {
        match key.into() {
            EvaluationKey::ToEphemeral(key) => self.to_ephemeral = Some(key),
            EvaluationKey::Switch(key) => match key.key_id {
                RELINEARISATION_KEY_ID => self.relin = Some(key),
                FROM_EPHEMERAL_KEY_ID => self.from_ephemeral = Some(key),
                g => {
                    self.galois.insert(u64::from(g), key);
                }
            },
        }
    }

    /// The relinearisation key, if it serves `level`.
    ///
    /// # Errors
    /// [`CkksError::MissingKey`] or [`CkksError::KeyLevel`].
    pub fn relinearisation(&self, level: usize) -> Result<&SwitchKey, CkksError> {
        serves(self.relin.as_ref(), level, || "relinearisation".to_owned())
    }

    /// The key to the ephemeral secret.
    ///
    /// # Errors
    /// [`CkksError::MissingKey`].
    pub fn to_ephemeral(&self) -> Result<&ToEphemeralKey, CkksError> {
        let missing = || CkksError::MissingKey { what: TO_EPHEMERAL.to_owned(), level: 0 };
        self.to_ephemeral.as_ref().ok_or_else(missing)
    }

    /// The key from the ephemeral secret, if it serves `level`.
    ///
    /// # Errors
    /// [`CkksError::MissingKey`] or [`CkksError::KeyLevel`].
    pub fn from_ephemeral(&self, level: usize) -> Result<&SwitchKey, CkksError> {
        serves(self.from_ephemeral.as_ref(), level, || FROM_EPHEMERAL.to_owned())
    }

    /// All switching keys, in order of their ids.
    pub fn switch_keys(&self) -> impl Iterator<Item = &SwitchKey> {
        let mut all: Vec<&SwitchKey> =
            self.relin.iter().chain(self.galois.values()).chain(&self.from_ephemeral).collect();
        all.sort_unstable_by_key(|key| key.key_id);
        all.into_iter()
    }

    /// Bytes that all keys hold in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let small: usize = self.to_ephemeral.iter().map(to_ephemeral_bytes).sum();
        small + self.switch_keys().map(SwitchKey::bytes).sum::<usize>()
    }

    /// Brings the keys within `limit` bytes by [`SwitchKey::compressed`], the largest keys first and no more of them than it
    /// takes; gives the bytes held then. Results stay the same bit for bit.
    ///
    /// # Errors
    /// [`CkksError::Argument`] for a limit that compressing all keys does not reach; [`CkksError::Fingerprint`]. The keys
    /// stay as they are then.
    pub fn fit(&mut self, context: &Context, limit: usize) -> Result<usize, CkksError> {
        let mut keys: Vec<&mut SwitchKey> =
            self.relin.iter_mut().chain(self.galois.values_mut()).chain(&mut self.from_ephemeral).collect();
        let uniform: Vec<usize> = keys.iter().map(|key| key.a.bytes()).collect();
        let small: usize = self.to_ephemeral.iter().map(to_ephemeral_bytes).sum();
        let rest = small + keys.iter().zip(&uniform).map(|(key, uniform)| key.bytes() - uniform).sum::<usize>();
        let chosen = to_compress(&uniform, rest, limit)?;
        let compressed = chosen.iter().map(|&i| keys[i].compressed(context)).collect::<Result<Vec<_>, _>>()?;
        chosen.into_iter().zip(compressed).for_each(|(i, key)| *keys[i] = key);
        Ok(self.bytes())
    }

    /// The key of the automorphism `X -> X^g`, if it serves `level`. `what` names the purpose in errors.
    ///
    /// # Errors
    /// [`CkksError::MissingKey`] or [`CkksError::KeyLevel`].
    pub fn galois(&self, g: u64, level: usize, what: impl FnOnce() -> String) -> Result<&SwitchKey, CkksError> {
        serves(self.galois.get(&g), level, what)
    }
}

fn to_ephemeral_bytes(key: &ToEphemeralKey) -> usize {
    2 * size_of::<u64>() * key.b().iter().map(|limb| limb.len()).sum::<usize>()
}

fn serves(key: Option<&SwitchKey>, level: usize, what: impl FnOnce() -> String) -> Result<&SwitchKey, CkksError> {
    match key {
        None => Err(CkksError::MissingKey { what: what(), level }),
        Some(key) if key.level < level => Err(CkksError::KeyLevel { what: what(), expected: level, got: key.level }),
        Some(key) => Ok(key),
    }
}
