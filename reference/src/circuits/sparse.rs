//! Bootstrapping of slots that repeat with a period (`r[boot.sparse.input]` and the rules after it).

use super::bootstrap::{constants, last, plaintext_scales, raised_label};
use super::{Bootstrap, Circuits, LinearMap, SlotKind, SlotMatrix};
use crate::ckks::{Ciphertext, Cyclotomic, Encoder, Parameters};
use crate::error::ReferenceError;
use crate::ring::inverse;
use rug::Integer;
use std::collections::BTreeMap;
use touchstone_spec::params::MapFactor;

/// The maps for one period as integer plaintexts.
#[derive(Clone, Debug, PartialEq)]
pub struct SparseMaps {
    /// `n'`.
    pub period: usize,
    /// SlotsToCoeffs, in order of application.
    pub slots_to_coeffs: Vec<LinearMap>,
    /// CoeffsToSlots, in order of application.
    pub coeffs_to_slots: Vec<LinearMap>,
    /// The last factor of CoeffsToSlots for complex slots (`r[boot.sparse.packing]`).
    pub packing: LinearMap,
    /// From packed parts to complex slots (`r[boot.sparse.unpack]`).
    pub unpacking: LinearMap,
}

impl SparseMaps {
    /// Encodes the exact maps of `r[boot.sparse.factors]`, `r[boot.sparse.packing]` and `r[boot.sparse.unpack]`.
    ///
    /// # Errors
    /// [`ReferenceError::BadParameters`] for parameters without bootstrapping; [`ReferenceError::BadOperand`] unless the period
    /// is a power of two from 2 to half the slots; [`ReferenceError::NotEncodable`].
    pub fn encode(params: &Parameters, encoder: &Encoder, period: usize) -> Result<Self, ReferenceError> {
        let boot = constants(params)?;
        if !period.is_power_of_two() || !(2..=params.slots() / 2).contains(&period) {
            let expected = "a power of two from 2 to half the slots".to_owned();
            return Err(ReferenceError::BadOperand { operation: "sparse packing", expected, got: period.to_string() });
        }
        let (layers, n) = (period.ilog2(), params.n());
        let down = radices(boot.slots_to_coeffs.iter(), layers);
        let mut up = radices(boot.coeffs_to_slots.iter().rev(), layers);
        up.reverse();
        let encode = |diagonals: &BTreeMap<i64, Vec<Cyclotomic>>, scale| {
            LinearMap::encode_exact(encoder, params.slots(), diagonals, scale)
        };
        let there = SlotMatrix::slots_to_coeffs(n, &down);
        let there: Vec<_> = there.iter().enumerate().map(|(i, m)| diagonals(m, period, i + 1 == down.len())).collect();
        let back = SlotMatrix::coeffs_to_slots(n, &up);
        let turned =
            back.last().map(|m| m.rows_times_roots(|j| if (j / period).is_multiple_of(2) { 0 } else { 3 * n / 2 }));
        let back: Vec<_> = back.iter().enumerate().map(|(i, m)| diagonals(m, period, i == 0)).collect();
        let turned = turned.map(|m| diagonals(&m, period, up.len() == 1)).unwrap_or_default();

        let start = down.len();
        let canonical = params.canonical_scale(start)?;
        let there_scales = plaintext_scales(params, last(&boot.slots_to_coeffs, down.len()), start, canonical);
        let top = raised_level(params, boot.coeffs_to_slots.len(), up.len());
        let label = raised_label(params, boot);
        let back_scales = plaintext_scales(params, last(&boot.coeffs_to_slots, up.len()), top, label);
        let all = |maps: &[BTreeMap<i64, Vec<Cyclotomic>>], scales: &[f64]| {
            maps.iter().zip(scales).map(|(map, scale)| encode(map, *scale)).collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            period,
            slots_to_coeffs: all(&there, &there_scales)?,
            coeffs_to_slots: all(&back, &back_scales)?,
            packing: encode(&turned, back_scales.last().copied().unwrap_or_default())?,
            unpacking: encode(&unpacking(n, period), params.canonical_scale(boot.output_level)?)?,
        })
    }

    /// The steps of all maps and of the trace that are rotations (`r[boot.sparse.keys]`).
    #[must_use]
    pub fn rotations(&self, params: &Parameters) -> Vec<i64> {
        let maps = self.slots_to_coeffs.iter().chain(&self.coeffs_to_slots).chain([&self.packing, &self.unpacking]);
        let trace = Circuits::inner_sum_rotations(copies(params, self.period), self.period as i64);
        maps.flat_map(LinearMap::rotations).chain(trace).collect()
    }
}

/// The numbers of layers of the factors that hold the smallest `layers` ones, from the factor with the smallest.
fn radices<'a>(factors: impl Iterator<Item = &'a MapFactor>, layers: u32) -> Vec<u32> {
    let mut left = layers;
    let own = factors.map(|factor| {
        let own = left.min(factor.log_radix);
        left -= own;
        own
    });
    own.filter(|own| *own > 0).collect()
}

/// Diagonals on vectors of the period; `largest` for the factor with the largest layer.
fn diagonals(matrix: &SlotMatrix, period: usize, largest: bool) -> BTreeMap<i64, Vec<Cyclotomic>> {
    if largest { matrix.diagonals_modulo(period) } else { matrix.diagonals() }
}

/// `d_0 = (1, i)` and `d_n' = (i, 1)` in the halves of every two periods.
fn unpacking(n: usize, period: usize) -> BTreeMap<i64, Vec<Cyclotomic>> {
    let halves = |first: usize, second: usize| {
        let exponent = |j: usize| if (j / period).is_multiple_of(2) { first } else { second };
        (0..n / 2).map(|j| Cyclotomic::root(n, exponent(j))).collect()
    };
    BTreeMap::from([(0, halves(0, n / 2)), (period as i64, halves(n / 2, 0))])
}

/// `L` less the number of factors of CoeffsToSlots that are left out.
fn raised_level(params: &Parameters, all: usize, kept: usize) -> usize {
    params.max_level() - (all - kept)
}

/// `g = n / n'`.
fn copies(params: &Parameters, period: usize) -> u32 {
    (params.slots() / period) as u32
}

/// A bootstrap of slots with a period; stages that are not here are those of [`Bootstrap`].
#[derive(Clone, Copy, Debug)]
pub struct SparseBootstrap<'a> {
    bootstrap: Bootstrap<'a>,
    maps: &'a SparseMaps,
}

impl<'a> SparseBootstrap<'a> {
    /// A bootstrap with the keys and constants of `bootstrap`.
    #[must_use]
    pub fn new(bootstrap: Bootstrap<'a>, maps: &'a SparseMaps) -> Self {
        Self { bootstrap, maps }
    }

    /// All stages. In: slots of the period (`r[boot.sparse.input]`); out: canonical, of level `o`, for complex slots `o - 1`.
    ///
    /// # Errors
    /// As [`Bootstrap::apply`].
    pub fn apply(&self, a: &Ciphertext, kind: SlotKind) -> Result<Ciphertext, ReferenceError> {
        let low = self.slots_to_coeffs(a)?;
        let raised = self.bootstrap.from_ephemeral(&self.mod_raise(&self.bootstrap.to_ephemeral(&low)?)?)?;
        let value = self.bootstrap.eval_mod(&self.coeffs_to_slots(&self.project(&raised)?, kind)?)?;
        match kind {
            SlotKind::Real => Ok(value),
            SlotKind::Complex => self.unpack(&value),
        }
    }

    /// SlotsToCoeffs with the layers up to the period (`r[boot.sparse.stc]`).
    ///
    /// # Errors
    /// As [`Bootstrap::apply`].
    pub fn slots_to_coeffs(&self, a: &Ciphertext) -> Result<Ciphertext, ReferenceError> {
        self.bootstrap.lowered(a, &self.maps.slots_to_coeffs)
    }

    /// Coefficients of level 0 taken, centred, at the level where CoeffsToSlots starts (`r[boot.sparse.modraise]`).
    ///
    /// # Errors
    /// [`ReferenceError::BadOperand`] unless `a` is a pair of level 0.
    pub fn mod_raise(&self, a: &Ciphertext) -> Result<Ciphertext, ReferenceError> {
        let (params, all) = (self.bootstrap.circuits.params, self.bootstrap.boot.coeffs_to_slots.len());
        self.bootstrap.raised(a, raised_level(params, all, self.maps.coeffs_to_slots.len()))
    }

    /// The projection to the subring (`r[boot.sparse.trace]`).
    ///
    /// # Errors
    /// [`ReferenceError::MissingKey`]; [`ReferenceError::BadOperand`] unless `a` is a pair.
    pub fn project(&self, a: &Ciphertext) -> Result<Ciphertext, ReferenceError> {
        let circuits = self.bootstrap.circuits;
        let copies = copies(circuits.params, self.maps.period);
        let factor = inverse(&Integer::from(copies), &circuits.params.modulus(a.level)?)?;
        let polys = a.polys.iter().map(|c| c.mul_integer(&factor)).collect();
        circuits.inner_sum(&Ciphertext { polys, ..a.clone() }, copies, self.maps.period as i64)
    }

    /// CoeffsToSlots: real parts in all slots, or real and imaginary parts packed (`r[boot.sparse.cts]`,
    /// `r[boot.sparse.packing]`).
    ///
    /// # Errors
    /// As [`Bootstrap::apply`].
    pub fn coeffs_to_slots(&self, a: &Ciphertext, kind: SlotKind) -> Result<Ciphertext, ReferenceError> {
        let mut maps = Vec::from_iter(&self.maps.coeffs_to_slots);
        if kind == SlotKind::Complex {
            maps.pop();
            maps.push(&self.maps.packing);
        }
        let (value, conjugate) = self.bootstrap.conjugate_pair(a, &maps)?;
        self.bootstrap.canonical(&self.bootstrap.circuits.evaluator.add(&value, &conjugate)?)
    }

    /// From packed parts to complex slots (`r[boot.sparse.unpack]`).
    ///
    /// # Errors
    /// As [`Circuits::linear`].
    pub fn unpack(&self, a: &Ciphertext) -> Result<Ciphertext, ReferenceError> {
        self.bootstrap.circuits.linear(a, &self.maps.unpacking, None)
    }
}
