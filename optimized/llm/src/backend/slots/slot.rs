//! Slots with predicted errors.

use num_complex::Complex64;

/// Where an error comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// Encryption (`r[noise.fresh.public]`).
    Fresh = 0,
    /// Rounding of plaintexts, constants and scale labels (`r[noise.encode]`, `r[noise.scalar.mul]`).
    Encode = 1,
    /// Rotations, conjugations and relinearisations (`r[noise.keyswitch]`).
    KeySwitch = 2,
    /// Rescales (`r[noise.rescale]`).
    Rescale = 3,
}

/// All sources, in the order of the arrays that are indexed by source, with their names.
pub const SOURCES: [(Source, &str); 4] = [
    (Source::Fresh, "encryption"),
    (Source::Encode, "encoding"),
    (Source::KeySwitch, "key switch"),
    (Source::Rescale, "rescale"),
];

/// What stands for a ciphertext: its slots and what is predicted about their errors.
#[derive(Clone, Debug)]
pub struct SlotCt {
    /// Values without any error.
    pub values: Vec<Complex64>,
    /// Estimated variance of each real component of a slot.
    pub variance: Vec<f64>,
    /// Bound on the absolute error of a slot, by source; the bound is their sum.
    pub bound: [Vec<f64>; 4],
    /// Level of the ciphertext.
    pub level: usize,
    /// Scale label of the ciphertext.
    pub scale: f64,
}

impl SlotCt {
    /// Slots without error.
    pub(super) fn exact(values: Vec<Complex64>, level: usize, scale: f64) -> Self {
        let zero = vec![0.0; values.len()];
        let bound = [zero.clone(), zero.clone(), zero.clone(), zero.clone()];
        Self { values, variance: zero, bound, level, scale }
    }

    /// Bound on the absolute error of slot `i`.
    #[must_use]
    pub fn total(&self, i: usize) -> f64 {
        self.bound.iter().map(|source| source[i]).sum()
    }

    /// `self + sign * other` with errors as if independent (`r[noise.add]`).
    pub(super) fn combined(&self, other: &Self, sign: f64) -> Self {
        let mut out = self.clone();
        out.values.iter_mut().zip(&other.values).for_each(|(z, w)| *z += sign * w);
        add_into(&mut out.variance, &other.variance);
        out.bound.iter_mut().zip(&other.bound).for_each(|(a, b)| add_into(a, b));
        out
    }

    /// `c * self` for a constant that is represented exactly.
    pub(super) fn times_exact(&self, c: f64) -> Self {
        let mut out = self.clone();
        out.values.iter_mut().for_each(|z| *z *= c);
        out.variance.iter_mut().for_each(|v| *v *= c * c);
        out.bound.iter_mut().flatten().for_each(|b| *b *= c.abs());
        out
    }

    /// Slot-wise product (`r[noise.mul]`): errors `z_1 e_2 + z_2 e_1 + e_1 e_2`, and `2 z e + e^2` for a square.
    pub(super) fn product(&self, other: &Self) -> Self {
        let values: Vec<_> = self.values.iter().zip(&other.values).map(|(a, b)| a * b).collect();
        let mut out = Self::exact(values, self.level, self.scale * other.scale);
        let square = std::ptr::eq(self, other);
        for i in 0..out.values.len() {
            let (a, b) = (self.values[i].norm(), other.values[i].norm());
            let (va, vb) = (self.variance[i], other.variance[i]);
            out.variance[i] = if square { 4.0 * a * a * va } else { a * a * vb + b * b * va } + 2.0 * va * vb;
            let reach = a + self.total(i);
            for source in 0..out.bound.len() {
                out.bound[source][i] = reach * other.bound[source][i] + b * self.bound[source][i];
            }
        }
        out
    }

    /// Adds `ct * weights`, the weights encoded with the given error (`r[noise.mul.plain]`).
    pub(super) fn add_weighted(&mut self, ct: &Self, weights: &[Complex64], deviation: f64, reach: f64) {
        for (i, w) in weights.iter().enumerate() {
            let z = ct.values[i];
            let (size, weight) = (z.norm(), w.norm());
            self.values[i] += z * w;
            self.variance[i] += weight * weight * ct.variance[i] + size * size * deviation * deviation;
            let mut error = 0.0;
            for (mine, theirs) in self.bound.iter_mut().zip(&ct.bound) {
                mine[i] += weight * theirs[i];
                error += theirs[i];
            }
            self.bound[Source::Encode as usize][i] += (size + error) * reach;
        }
    }

    /// Slot `j` becomes slot `j + steps`.
    pub(super) fn rotated(&self, steps: usize) -> Self {
        let mut out = self.clone();
        out.values.rotate_left(steps);
        out.variance.rotate_left(steps);
        out.bound.iter_mut().for_each(|source| source.rotate_left(steps));
        out
    }

    /// Complex conjugate of every slot.
    pub(super) fn conjugated(&self) -> Self {
        let mut out = self.clone();
        out.values.iter_mut().for_each(|z| *z = z.conj());
        out
    }
}

fn add_into(a: &mut [f64], b: &[f64]) {
    a.iter_mut().zip(b).for_each(|(x, y)| *x += y);
}
