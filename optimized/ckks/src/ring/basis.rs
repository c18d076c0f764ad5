//! The primes of a parameter set with their transforms.

use super::{Form, Limb, Poly, Pool};
use crate::arith::{ArithError, Kernels, Modulus, NttTable};
use std::sync::OnceLock;

/// Limbs that the pool keeps for reuse, whatever the ring degree: the intermediate values of a polynomial evaluation.
const POOLED_LIMBS: usize = 1024;

/// The chain primes and the special primes of a parameter set, in this order, with their transforms.
///
/// A *prime index* counts chain primes `0..=L` first and special primes after them. A polynomial of level `l` over
/// `R_{Q_l P}` skips the chain primes above `l`; [`RingBasis::prime_index`] translates.
#[derive(Debug)]
pub struct RingBasis {
    log_n: u32,
    chain_len: usize,
    tables: Vec<NttTable>,
    /// Transforms of subrings, by prime index and `log2` of the length, made on first use.
    subring_tables: Vec<Vec<OnceLock<NttTable>>>,
    /// `psi^(N/2)`, a square root of -1, per prime.
    imaginary: Vec<u64>,
    kernels: Kernels,
    pool: Pool<u64>,
}

impl RingBasis {
    /// Prepares the transforms for ring degree `2^log_n`.
    ///
    /// # Errors
    /// [`ArithError`] if a modulus is not a prime in range or not 1 modulo `2N`.
    pub fn new(log_n: u32, chain: &[u64], special: &[u64], kernels: Kernels) -> Result<Self, ArithError> {
        let table = |&p: &u64| NttTable::new(log_n, Modulus::new(p)?);
        let tables = chain.iter().chain(special).map(table).collect::<Result<Vec<_>, _>>()?;
        let imaginary = tables.iter().map(|t| t.modulus().pow(t.psi(), t.n() as u64 / 2)).collect();
        let pool = Pool::new(1 << log_n, POOLED_LIMBS);
        let subring_tables = tables.iter().map(|_| (0..log_n).map(|_| OnceLock::new()).collect()).collect();
        Ok(Self { log_n, chain_len: chain.len(), tables, subring_tables, imaginary, kernels, pool })
    }

    /// `log2 N`.
    #[must_use]
    pub fn log_n(&self) -> u32 {
        self.log_n
    }

    /// The ring degree `N`.
    #[must_use]
    pub fn n(&self) -> usize {
        1 << self.log_n
    }

    /// The number of chain primes, `L + 1`.
    #[must_use]
    pub fn chain_len(&self) -> usize {
        self.chain_len
    }

    /// The number of special primes.
    #[must_use]
    pub fn special_len(&self) -> usize {
        self.tables.len() - self.chain_len
    }

    /// The transform of prime `index`.
    #[must_use]
    pub fn table(&self, index: usize) -> &NttTable {
        &self.tables[index]
    }

    /// The transform of prime `index` on polynomials in `X^(N / 2^log_n)`, as polynomials of length `2^log_n` in it: their
    /// full evaluation form repeats every value `N / 2^log_n` times in a row. `log_n` is between 4 and `log2 N`.
    pub(crate) fn subring_table(&self, index: usize, log_n: u32) -> &NttTable {
        let table = &self.tables[index];
        match self.subring_tables[index].get(log_n as usize) {
            Some(subring) => subring.get_or_init(|| table.subring(log_n)),
            None => table,
        }
    }

    /// The prime with prime index `index`.
    #[must_use]
    pub fn modulus(&self, index: usize) -> &Modulus {
        self.tables[index].modulus()
    }

    /// The square root of -1 modulo prime `index` that `X^(N/2)` takes in the first half of an evaluation-form limb;
    /// in the second half it takes the negative.
    #[must_use]
    pub fn imaginary(&self, index: usize) -> u64 {
        self.imaginary[index]
    }

    /// The kernels in use.
    #[must_use]
    pub fn kernels(&self) -> Kernels {
        self.kernels
    }

    /// The prime index of limb `limb` of a polynomial of level `level`.
    #[must_use]
    pub fn prime_index(&self, level: usize, limb: usize) -> usize {
        if limb <= level { limb } else { self.chain_len + limb - level - 1 }
    }

    /// The zero polynomial over `R_{Q_level}`, or over `R_{Q_level P}` if `special`.
    #[must_use]
    pub fn zero(&self, level: usize, special: bool, form: Form) -> Poly {
        self.poly(level, special, form, || self.pool.zero())
    }

    /// A polynomial with arbitrary limbs, for callers that overwrite all of them.
    pub(crate) fn scratch(&self, level: usize, special: bool, form: Form) -> Poly {
        self.poly(level, special, form, || self.pool.take())
    }

    /// One limb with arbitrary contents.
    pub(crate) fn scratch_limb(&self) -> Limb {
        self.pool.take()
    }

    /// One limb of zeros.
    pub(crate) fn zero_limb(&self) -> Limb {
        self.pool.zero()
    }

    fn poly(&self, level: usize, special: bool, form: Form, limb: impl FnMut() -> Limb) -> Poly {
        let count = level + 1 + if special { self.special_len() } else { 0 };
        Poly::from_limbs(level, form, std::iter::repeat_with(limb).take(count).collect())
    }
}
