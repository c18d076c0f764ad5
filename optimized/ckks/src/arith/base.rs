//! Conversion between residue bases (rules `ckks.bconv` and `ckks.moddown`).
//!
//! From a basis `b_1 .. b_m` with product `B`, an integer given by residues `x_j` is carried to a
//! prime `t` in two stages. Stage one is shared by all targets:
//!
//! `y_j` = the representative of `x_j (B/b_j)^-1 mod b_j` in `[-(b_j-1)/2, (b_j-1)/2]`.
//!
//! Stage two is a small inner product per target: `sum_j y_j (B/b_j) mod t`. That sum equals the
//! integer `x` up to a multiple `v B`; [`BaseConverter::convert`] leaves the multiple in (the fast
//! conversion), [`BaseConverter::convert_exact`] removes it with the quotient `v` that
//! [`BaseConverter::quotient`] computes in binary64.

use super::{ArithError, Kernels, Modulus};

/// Largest number of primes in the basis converted from.
pub const MAX_BASIS: usize = 16;

/// Constants of one conversion from a basis of at most [`MAX_BASIS`] primes to a list of targets.
///
/// The intermediate buffer `y` holds `m` rows of `N` doubles, row `j` being `y_j`; every entry is an
/// integer of magnitude below `2^49`, hence exact.
#[derive(Debug, Clone)]
pub struct BaseConverter {
    from: Vec<Modulus>,
    to: Vec<Modulus>,
    /// `(B/b_j)^-1 mod b_j`.
    punctured_inv: Vec<u64>,
    /// `1/b_j` rounded to nearest.
    recips: Vec<f64>,
    /// Per target the centred residues of `B/b_j` for all `j`, then that of `-B`.
    coefficients: Vec<Vec<f64>>,
}

impl BaseConverter {
    /// Prepares the conversion `from -> to`.
    ///
    /// # Errors
    /// [`ArithError::Size`] unless `from` has between 1 and [`MAX_BASIS`] primes;
    /// [`ArithError::Modulus`] if `from` repeats a prime.
    pub fn new(from: &[Modulus], to: &[Modulus]) -> Result<Self, ArithError> {
        Self::new_scaled(from, to, &vec![1; to.len()])
    }

    /// Like [`BaseConverter::new`], but every result for target `i` comes out multiplied by
    /// `scales[i]` modulo that target, at no run-time cost.
    ///
    /// # Errors
    /// As [`BaseConverter::new`], and [`ArithError::Size`] unless there is one scale per target,
    /// [`ArithError::Modulus`] if a scale is not a canonical residue.
    pub fn new_scaled(from: &[Modulus], to: &[Modulus], scales: &[u64]) -> Result<Self, ArithError> {
        check_inputs(from, to, scales)?;
        let punctured_inv = (0..from.len()).map(|j| from[j].inv(punctured(from, j, &from[j]))).collect();
        let row = |(t, &scale): (&Modulus, &u64)| {
            let residue = |c: u64| t.center(t.mul(c, scale)) as f64;
            let mut row: Vec<f64> = (0..from.len()).map(|j| residue(punctured(from, j, t))).collect();
            row.push(residue(t.neg(punctured(from, from.len(), t))));
            row
        };
        Ok(Self {
            from: from.to_vec(),
            to: to.to_vec(),
            punctured_inv,
            recips: from.iter().map(Modulus::recip).collect(),
            coefficients: to.iter().zip(scales).map(row).collect(),
        })
    }

    /// The primes converted from.
    pub fn from(&self) -> &[Modulus] {
        &self.from
    }

    /// The primes converted to.
    pub fn to(&self) -> &[Modulus] {
        &self.to
    }

    /// `(B/b_j)^-1 mod b_j` for all `j`: the scalars of stage one, for callers that fold them into
    /// an inverse transform (see [`Kernels::intt_center`]).
    pub fn input_scalars(&self) -> &[u64] {
        &self.punctured_inv
    }

    /// Stage one: fills `y` (length `m N`) from the `m` input limbs in coefficient form.
    ///
    /// # Panics
    /// If the lengths do not match.
    pub fn scale_inputs(&self, kernels: Kernels, inputs: &[&[u64]], y: &mut [f64]) {
        assert_eq!(inputs.len(), self.from.len(), "one limb per basis prime");
        let n = inputs[0].len();
        assert_eq!(y.len(), n * inputs.len(), "y has one row per basis prime");
        for (j, row) in y.chunks_exact_mut(n).enumerate() {
            kernels.center_scaled(&self.from[j], row, inputs[j], self.punctured_inv[j]);
        }
    }

    /// Stage two of the fast conversion: `dst = sum_j y_j (B/b_j) mod to[target]`.
    ///
    /// # Panics
    /// If `target` is out of range or the lengths do not match.
    pub fn convert(&self, kernels: Kernels, y: &[f64], target: usize, dst: &mut [u64]) {
        let mut rows = [&[][..]; MAX_BASIS + 2];
        let m = self.split_rows(y, dst.len(), &mut rows);
        let coefficients = &self.coefficients[target][..m];
        kernels.combine(&self.to[target], &rows[..m], coefficients, dst);
    }

    /// [`BaseConverter::convert`] of the `dst.len()` entries from `start` on, for callers that go through several targets
    /// while a part of `y` is in cache.
    ///
    /// # Panics
    /// If `target` is out of range, `y` is not made of `m` equal rows, or a row ends before `start + dst.len()`.
    pub fn convert_part(&self, kernels: Kernels, y: &[f64], start: usize, target: usize, dst: &mut [u64]) {
        let mut rows = [&[][..]; MAX_BASIS + 2];
        let m = self.split_rows(y, y.len() / self.from.len(), &mut rows);
        for row in &mut rows[..m] {
            *row = &row[start..start + dst.len()];
        }
        kernels.combine(&self.to[target], &rows[..m], &self.coefficients[target][..m], dst);
    }

    /// The correction of the exact conversion, shared by all targets: `v` is the nearest integer
    /// (ties to even) to `y_0 r_0 + y_1 r_1 + ..`, `r_j = fl(1/b_j)`, every product and every sum
    /// rounded to binary64, summed in order of `j`.
    ///
    /// # Panics
    /// If the lengths do not match.
    pub fn quotient(&self, kernels: Kernels, y: &[f64], v: &mut [f64]) {
        let mut rows = [&[][..]; MAX_BASIS + 2];
        let m = self.split_rows(y, v.len(), &mut rows);
        kernels.quotient(&rows[..m], &self.recips, v);
    }

    /// Stage two of the exact conversion: `dst = sum_j y_j (B/b_j) - v B mod to[target]` with `v`
    /// from [`BaseConverter::quotient`].
    ///
    /// # Panics
    /// If `target` is out of range or the lengths do not match.
    pub fn convert_exact(&self, kernels: Kernels, y: &[f64], v: &[f64], target: usize, dst: &mut [u64]) {
        assert_eq!(v.len(), dst.len(), "v is as long as the output");
        self.convert_exact_part(kernels, y, v, 0, target, dst);
    }

    /// [`BaseConverter::convert_exact`] of the `dst.len()` entries from `start` on.
    ///
    /// # Panics
    /// If `target` is out of range, `y` is not made of `m` rows as long as `v`, or `v` ends before `start + dst.len()`.
    pub fn convert_exact_part(
        &self,
        kernels: Kernels,
        y: &[f64],
        v: &[f64],
        start: usize,
        target: usize,
        dst: &mut [u64],
    ) {
        let mut rows = [&[][..]; MAX_BASIS + 2];
        let m = self.split_rows(y, v.len(), &mut rows);
        rows[m] = v;
        for row in &mut rows[..=m] {
            *row = &row[start..start + dst.len()];
        }
        kernels.combine(&self.to[target], &rows[..=m], &self.coefficients[target], dst);
    }

    /// [`BaseConverter::convert_exact_part`] plus `extra * c mod to[target]`, where `extra` holds
    /// integers of magnitude below `2^49` (such as a centred limb) and `c` is a canonical residue.
    ///
    /// # Panics
    /// As [`BaseConverter::convert_exact_part`]; if `extra` is not as long as `v` or `c` is not canonical.
    #[expect(clippy::too_many_arguments, reason = "two weighted inputs, a place and an output")]
    pub fn convert_exact_add_part(
        &self,
        kernels: Kernels,
        y: &[f64],
        v: &[f64],
        (extra, c): (&[f64], u64),
        start: usize,
        target: usize,
        dst: &mut [u64],
    ) {
        let to = &self.to[target];
        assert!(c < to.value(), "c is a canonical residue");
        assert_eq!(v.len(), extra.len(), "the extra input is as long as v");
        let mut rows = [&[][..]; MAX_BASIS + 2];
        let m = self.split_rows(y, v.len(), &mut rows);
        rows[m] = v;
        rows[m + 1] = extra;
        for row in &mut rows[..m + 2] {
            *row = &row[start..start + dst.len()];
        }
        let mut coefficients = [0.0; MAX_BASIS + 2];
        coefficients[..=m].copy_from_slice(&self.coefficients[target]);
        coefficients[m + 1] = to.center(c) as f64;
        kernels.combine(to, &rows[..m + 2], &coefficients[..m + 2], dst);
    }

    /// Cuts `y` into its `m` rows and returns `m`.
    fn split_rows<'a>(&self, y: &'a [f64], n: usize, rows: &mut [&'a [f64]; MAX_BASIS + 2]) -> usize {
        let m = self.from.len();
        assert_eq!(y.len(), m * n, "y has one row per basis prime");
        for (row, chunk) in rows.iter_mut().zip(y.chunks_exact(n)) {
            *row = chunk;
        }
        m
    }
}

/// The product of all primes but number `skip`, modulo `t`.
fn punctured(from: &[Modulus], skip: usize, t: &Modulus) -> u64 {
    let others = from.iter().enumerate().filter(|&(i, _)| i != skip);
    others.fold(1, |acc, (_, b)| t.mul(acc, t.reduce_u64(b.value())))
}

fn check_inputs(from: &[Modulus], to: &[Modulus], scales: &[u64]) -> Result<(), ArithError> {
    let operation = "BaseConverter::new";
    if from.is_empty() || from.len() > MAX_BASIS {
        return Err(ArithError::Size { operation, expected: "between 1 and 16 basis primes", got: from.len() });
    }
    if scales.len() != to.len() {
        return Err(ArithError::Size { operation, expected: "one scale per target", got: scales.len() });
    }
    for (j, b) in from.iter().enumerate() {
        if from[..j].contains(b) {
            return Err(ArithError::Modulus { operation, expected: "distinct basis primes", got: b.value() });
        }
    }
    if let Some((_, &got)) = to.iter().zip(scales).find(|(t, s)| **s >= t.value()) {
        return Err(ArithError::Modulus { operation, expected: "scales that are canonical residues", got });
    }
    Ok(())
}
