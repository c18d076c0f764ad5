//! Tables of the negacyclic number-theoretic transform, and automorphisms as index maps.
//!
//! A limb `f` of `Z_p[X]/(X^N + 1)` in *evaluation form* holds, at memory index `i`, the value
//! `f(psi^(2 brv(i) + 1))` where `brv` reverses `log2 N` bits and `psi` is the primitive `2N`-th root
//! of unity of [`NttTable::psi`].

use std::sync::OnceLock;

#[cfg(target_arch = "x86_64")]
use super::kernels::{avx2::FmaRoots, ifma::IfmaRoots};
use super::{ArithError, Modulus};

/// Smallest supported `log2 N`.
pub const MIN_LOG_N: u32 = 4;
/// Largest supported `log2 N`.
pub const MAX_LOG_N: u32 = 17;

/// Roots of unity of one prime and one length, shared by all kernels.
///
/// Each kernel's own layout of the roots is built on first use.
#[derive(Debug)]
pub struct NttTable {
    log_n: u32,
    modulus: Modulus,
    psi: u64,
    n_inverse: u64,
    scalar: OnceLock<ShoupRoots>,
    #[cfg(target_arch = "x86_64")]
    fma: OnceLock<FmaRoots>,
    #[cfg(target_arch = "x86_64")]
    ifma: OnceLock<IfmaRoots>,
}

/// Roots in bit-reversed order with their Shoup constants: entry `k` is `psi^brv(k)` (forward) or
/// `psi^-brv(k)` (inverse), as `(root, shoup)`.
#[derive(Debug)]
pub(crate) struct ShoupRoots {
    pub(crate) forward: Vec<(u64, u64)>,
    pub(crate) inverse: Vec<(u64, u64)>,
}

impl NttTable {
    /// Finds the root of unity for length `N = 2^log_n`.
    ///
    /// The root is fixed by rule: take the smallest integer `g >= 2` for which
    /// `psi = g^((p-1)/2N)` has order exactly `2N`.
    ///
    /// # Errors
    /// [`ArithError::Size`] unless `4 <= log_n <= 17`; [`ArithError::Modulus`] unless
    /// `p = 1 (mod 2N)`.
    pub fn new(log_n: u32, modulus: Modulus) -> Result<Self, ArithError> {
        check_log_n("NttTable::new", log_n)?;
        let p = modulus.value();
        let two_n = 2u64 << log_n;
        if p % two_n != 1 {
            return Err(ArithError::Modulus {
                operation: "NttTable::new",
                expected: "a prime equal to 1 modulo 2N",
                got: p,
            });
        }
        Ok(Self::with_root(log_n, modulus, primitive_root(&modulus, two_n)))
    }

    /// The table of length `2^log_n`, between 16 and `N`, that evaluates at powers of `psi^(N / 2^log_n)`: polynomials in
    /// `X^(N / 2^log_n)` have their values there.
    pub(crate) fn subring(&self, log_n: u32) -> Self {
        debug_assert!((MIN_LOG_N..=self.log_n).contains(&log_n));
        Self::with_root(log_n, self.modulus, self.modulus.pow(self.psi, 1 << (self.log_n - log_n)))
    }

    fn with_root(log_n: u32, modulus: Modulus, psi: u64) -> Self {
        Self {
            log_n,
            modulus,
            psi,
            n_inverse: modulus.inv(1 << log_n),
            scalar: OnceLock::new(),
            #[cfg(target_arch = "x86_64")]
            fma: OnceLock::new(),
            #[cfg(target_arch = "x86_64")]
            ifma: OnceLock::new(),
        }
    }

    /// `log2 N`.
    #[inline]
    pub const fn log_n(&self) -> u32 {
        self.log_n
    }

    /// The ring degree `N`.
    #[inline]
    pub const fn n(&self) -> usize {
        1 << self.log_n
    }

    /// The prime.
    #[inline]
    pub const fn modulus(&self) -> &Modulus {
        &self.modulus
    }

    /// The primitive `2N`-th root of unity the transform evaluates at.
    #[inline]
    pub const fn psi(&self) -> u64 {
        self.psi
    }

    /// The exponent `e = 2 brv(i) + 1` such that memory index `i` of an evaluation-form limb holds
    /// the value at `psi^e`.
    #[inline]
    pub const fn eval_exponent(&self, i: usize) -> usize {
        2 * bit_reverse(i, self.log_n) + 1
    }

    /// `c / N mod p`, the factor that completes an inverse transform.
    pub(crate) fn scaled_n_inverse(&self, c: u64) -> u64 {
        self.modulus.mul(c, self.n_inverse)
    }

    /// The scalar kernel's roots.
    pub(crate) fn shoup_roots(&self) -> &ShoupRoots {
        self.scalar.get_or_init(|| {
            let with_shoup = |roots: Vec<u64>| {
                let pair = |w| (w, self.modulus.shoup(w));
                roots.into_iter().map(pair).collect()
            };
            ShoupRoots {
                forward: with_shoup(self.roots(self.psi)),
                inverse: with_shoup(self.roots(self.modulus.inv(self.psi))),
            }
        })
    }

    /// The FMA kernels' roots; the length must be at least 32.
    #[cfg(target_arch = "x86_64")]
    pub(in crate::arith) fn fma_roots(&self) -> &FmaRoots {
        self.fma.get_or_init(|| FmaRoots::new(self))
    }

    /// The roots of the kernels in 52-bit integers.
    #[cfg(target_arch = "x86_64")]
    pub(in crate::arith) fn ifma_roots(&self) -> &IfmaRoots {
        self.ifma.get_or_init(|| IfmaRoots::new(self))
    }

    /// `root^brv(k)` for `k` in `0..N`.
    pub(crate) fn roots(&self, root: u64) -> Vec<u64> {
        let mut out = vec![0; self.n()];
        let mut power = 1;
        for k in 0..self.n() {
            out[bit_reverse(k, self.log_n)] = power;
            power = self.modulus.mul(power, root);
        }
        out
    }
}

fn check_log_n(operation: &'static str, log_n: u32) -> Result<(), ArithError> {
    if (MIN_LOG_N..=MAX_LOG_N).contains(&log_n) {
        return Ok(());
    }
    Err(ArithError::Size { operation, expected: "log2 N in 4..=17", got: log_n as usize })
}

/// The root of the rule in [`NttTable::new`]; `p = 1 (mod two_n)` guarantees that one exists, since
/// half of all `g` qualify.
fn primitive_root(m: &Modulus, two_n: u64) -> u64 {
    let mut g = 2;
    loop {
        let psi = m.pow(g, (m.value() - 1) / two_n);
        if m.pow(psi, two_n / 2) == m.value() - 1 {
            return psi;
        }
        g += 1;
    }
}

/// Reverses the low `bits` bits of `i < 2^bits`.
const fn bit_reverse(i: usize, bits: u32) -> usize {
    i.reverse_bits() >> (usize::BITS - bits)
}

/// The index map of the automorphism `X -> X^g` in evaluation form: `out[i] = in[perm[i]]`.
///
/// `g` is taken modulo `2N`.
///
/// # Errors
/// [`ArithError::Size`] if `log_n` is out of range or `g` is even.
pub fn galois_permutation(log_n: u32, g: usize) -> Result<Vec<u32>, ArithError> {
    check_log_n("galois_permutation", log_n)?;
    check_galois("galois_permutation", g)?;
    let mask = (2usize << log_n) - 1;
    let g = g & mask;
    let source = |i| {
        let exponent = (g * (2 * bit_reverse(i, log_n) + 1)) & mask;
        bit_reverse(exponent >> 1, log_n) as u32
    };
    Ok((0..1usize << log_n).map(source).collect())
}

/// Applies `X -> X^g` to a limb in coefficient form: `dst(X) = src(X^g) mod (X^N + 1, p)`.
///
/// # Errors
/// [`ArithError::Size`] if `g` is even or the slices are not of one power-of-two length.
pub fn apply_galois_coeff(modulus: &Modulus, g: usize, src: &[u64], dst: &mut [u64]) -> Result<(), ArithError> {
    check_galois("apply_galois_coeff", g)?;
    let n = src.len();
    if !n.is_power_of_two() || dst.len() != n {
        return Err(ArithError::Size {
            operation: "apply_galois_coeff",
            expected: "two slices of one power-of-two length",
            got: dst.len(),
        });
    }
    let mask = 2 * n - 1;
    let mut exponent = 0;
    for &x in src {
        if exponent < n {
            dst[exponent] = x;
        } else {
            dst[exponent - n] = modulus.neg(x);
        }
        exponent = (exponent + g) & mask;
    }
    Ok(())
}

fn check_galois(operation: &'static str, g: usize) -> Result<(), ArithError> {
    if g % 2 == 1 {
        return Ok(());
    }
    Err(ArithError::Size { operation, expected: "an odd Galois element", got: g })
}
