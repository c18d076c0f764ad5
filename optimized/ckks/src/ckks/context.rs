//! Everything precomputed for a parameter set.

use super::params::Parameters;
use crate::CkksError;
use crate::arith::{BaseConverter, KernelKind, Kernels, Modulus, galois_permutation};
use crate::ring::{Buffer, Form, Limb, Poly, Pool, RingBasis};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Blocks and rows of doubles that the pools keep for reuse: those of one key switch.
const POOLED_BLOCKS: usize = 40;

/// A parameter set with its transforms, conversion constants and kernels. Clones share all of it.
#[derive(Debug, Clone)]
pub struct Context(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    parameters: Parameters,
    ring: RingBasis,
    /// Conversions from the first `k + 1` primes of digit `i` to all primes: entry `i alpha + k` (`r[ckks.modup]`).
    lifts: Vec<BaseConverter>,
    /// Conversion from the special primes to all chain primes (`r[ckks.moddown]`).
    mod_down: BaseConverter,
    /// Per level `l >= 1` the same with results multiplied by `1 / (P q_l)`, for ModDown and rescale in one; entry `l - 1`.
    mod_down_rescale: Vec<BaseConverter>,
    /// `1/P` modulo each chain prime.
    special_inverse: Vec<u64>,
    /// `P` modulo each chain prime.
    special_product: Vec<u64>,
    /// `1/q_l` modulo `q_j` for `j < l`; entry `l`.
    chain_inverse: Vec<Vec<u64>>,
    /// Blocks of `max(alpha, k)` rows of `N` doubles: room for one digit or the special limbs.
    blocks: Pool<f64>,
    /// Single rows of `N` doubles.
    rows: Pool<f64>,
    permutations: Mutex<BTreeMap<u64, Arc<[u32]>>>,
}

impl Context {
    /// Prepares a parameter set with the fastest kernels of this machine.
    ///
    /// # Errors
    /// [`CkksError::Arith`] if a transform cannot be prepared; validated parameters do not cause it.
    pub fn new(parameters: Parameters) -> Result<Self, CkksError> {
        Self::build(parameters, Kernels::detect())
    }

    /// Prepares a parameter set with the given kernels. Results are the same bit for bit.
    ///
    /// # Errors
    /// [`CkksError::Arith`] if this machine lacks what the kernels need.
    pub fn with_kernel(parameters: Parameters, kind: KernelKind) -> Result<Self, CkksError> {
        Self::build(parameters, Kernels::with_kind(kind)?)
    }

    fn build(parameters: Parameters, kernels: Kernels) -> Result<Self, CkksError> {
        let ring = RingBasis::new(parameters.log_n(), parameters.chain(), parameters.special(), kernels)?;
        let moduli = |range: std::ops::Range<usize>| range.map(|i| *ring.modulus(i)).collect::<Vec<Modulus>>();
        let chain_len = parameters.chain().len();
        let (chain, all) = (moduli(0..chain_len), moduli(0..chain_len + parameters.special().len()));
        let special = &all[chain_len..];
        let alpha = parameters.digit_size();
        let lift = |last: usize| BaseConverter::new(&chain[last / alpha * alpha..=last], &all);
        let lifts = (0..chain_len).map(lift).collect::<Result<_, _>>()?;

        let product = |m: &Modulus| special.iter().fold(1, |acc, p| m.mul(acc, m.reduce_u64(p.value())));
        let special_product: Vec<u64> = chain.iter().map(product).collect();
        let special_inverse: Vec<u64> = chain.iter().zip(&special_product).map(|(m, &p)| m.inv(p)).collect();
        let inverses = |l: usize| chain[..l].iter().map(|m| m.inv(m.reduce_u64(chain[l].value()))).collect();
        let chain_inverse: Vec<Vec<u64>> = (0..chain_len).map(inverses).collect();
        let fused = |l: usize| {
            let scales: Vec<u64> = (0..l).map(|j| chain[j].mul(special_inverse[j], chain_inverse[l][j])).collect();
            BaseConverter::new_scaled(special, &chain[..l], &scales)
        };
        let block_rows = alpha.max(special.len());
        let blocks = Pool::new(parameters.n() * block_rows, POOLED_BLOCKS);
        let rows = Pool::new(parameters.n(), POOLED_BLOCKS);
        Ok(Self(Arc::new(Inner {
            mod_down: BaseConverter::new(special, &chain)?,
            mod_down_rescale: (1..chain_len).map(fused).collect::<Result<_, _>>()?,
            lifts,
            special_inverse,
            special_product,
            chain_inverse,
            blocks,
            rows,
            permutations: Mutex::default(),
            ring,
            parameters,
        })))
    }

    /// The parameter set.
    #[must_use]
    pub fn parameters(&self) -> &Parameters {
        &self.0.parameters
    }

    /// The primes and their transforms.
    #[must_use]
    pub fn ring(&self) -> &RingBasis {
        &self.0.ring
    }

    /// Which kernels compute.
    #[must_use]
    pub fn kernel(&self) -> KernelKind {
        self.0.ring.kernels().kind()
    }

    /// The Galois element of the rotation by `steps` slots: `5^steps mod 2N`, `steps` taken modulo `N/2` (`r[ckks.rotate]`).
    #[must_use]
    pub fn galois_element(&self, steps: i64) -> u64 {
        // Powers wrap modulo 2^64, of which 2N is a divisor; an exponent below N/2 <= 2^16 fits.
        let exponent = steps.rem_euclid(self.0.parameters.slots() as i64);
        5u64.wrapping_pow(exponent as u32) & (2 * self.0.parameters.n() as u64 - 1)
    }

    /// The Galois element of the conjugation: `2N - 1` (`r[ckks.conjugate]`).
    #[must_use]
    pub fn conjugation_element(&self) -> u64 {
        2 * self.0.parameters.n() as u64 - 1
    }

    /// A copy of `poly` in coefficient form, for comparisons.
    #[must_use]
    pub fn to_coeff(&self, poly: &Poly) -> Poly {
        let mut copy = poly.clone();
        copy.make_coeff(self.ring());
        copy
    }

    /// Refuses objects of another parameter set.
    pub(crate) fn check_fingerprint(&self, operation: &'static str, got: &[u8; 32]) -> Result<(), CkksError> {
        let expected = self.0.parameters.fingerprint();
        if *got == expected {
            return Ok(());
        }
        let hex = |bytes: &[u8; 32]| bytes[..8].iter().map(|b| format!("{b:02x}")).collect();
        Err(CkksError::Fingerprint { operation, expected: hex(&expected), got: hex(got) })
    }

    /// Refuses levels above the top one.
    pub(crate) fn check_level(&self, operation: &'static str, level: usize) -> Result<(), CkksError> {
        let expected = self.0.parameters.max_level();
        if level > expected {
            return Err(CkksError::Level { operation, expected, got: level });
        }
        Ok(())
    }

    /// The conversion that lifts digit `digit` at level `level`.
    pub(crate) fn lift(&self, digit: usize, level: usize) -> &BaseConverter {
        let end = ((digit + 1) * self.0.parameters.digit_size()).min(level + 1);
        &self.0.lifts[end - 1]
    }

    /// The conversion of ModDown.
    pub(crate) fn mod_down(&self) -> &BaseConverter {
        &self.0.mod_down
    }

    /// The conversion of ModDown followed by a rescale from `level >= 1`.
    pub(crate) fn mod_down_rescale(&self, level: usize) -> &BaseConverter {
        &self.0.mod_down_rescale[level - 1]
    }

    /// `1/P` modulo chain prime `j`.
    pub(crate) fn special_inverse(&self, j: usize) -> u64 {
        self.0.special_inverse[j]
    }

    /// `P` modulo chain prime `j`.
    pub(crate) fn special_product(&self, j: usize) -> u64 {
        self.0.special_product[j]
    }

    /// `1/q_level` modulo chain prime `j < level`.
    pub(crate) fn chain_inverse(&self, level: usize, j: usize) -> u64 {
        self.0.chain_inverse[level][j]
    }

    /// A block of `max(alpha, k)` rows of `N` doubles with arbitrary contents.
    pub(crate) fn scratch_block(&self) -> Buffer<f64> {
        self.0.blocks.take()
    }

    /// A row of `N` doubles with arbitrary contents.
    pub(crate) fn scratch_row(&self) -> Buffer<f64> {
        self.0.rows.take()
    }

    /// A limb with arbitrary contents.
    pub(crate) fn scratch_limb(&self) -> Limb {
        self.ring().scratch_limb()
    }

    /// A limb of zeros.
    pub(crate) fn zero_limb(&self) -> Limb {
        self.ring().zero_limb()
    }

    /// The index map of `X -> X^g` in evaluation form, computed once per `g`.
    pub(crate) fn permutation(&self, g: u64) -> Result<Arc<[u32]>, CkksError> {
        let mut known = self.0.permutations.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(permutation) = known.get(&g) {
            return Ok(Arc::clone(permutation));
        }
        let permutation: Arc<[u32]> = galois_permutation(self.0.parameters.log_n(), g as usize)?.into();
        known.insert(g, Arc::clone(&permutation));
        Ok(permutation)
    }

    /// The polynomial with small signed coefficients, in evaluation form over `R_{Q_level}` or `R_{Q_level P}`.
    pub(crate) fn small_poly(&self, coefficients: &[i8], level: usize, special: bool) -> Poly {
        let ring = self.ring();
        let mut poly = ring.scratch(level, special, Form::Coeff);
        for (i, limb) in poly.limbs_mut().iter_mut().enumerate() {
            small_limb(ring.modulus(ring.prime_index(level, i)), coefficients, limb);
        }
        poly.make_eval(ring);
        poly
    }
}

/// Residues of small signed coefficients.
pub(crate) fn small_limb(modulus: &Modulus, coefficients: &[i8], limb: &mut [u64]) {
    for (residue, &c) in limb.iter_mut().zip(coefficients) {
        let wrap = if c < 0 { modulus.value() } else { 0 };
        *residue = wrap.wrapping_add_signed(i64::from(c));
    }
}
