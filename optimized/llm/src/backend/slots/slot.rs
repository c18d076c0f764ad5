//! Slots with predicted errors.

use num_complex::Complex64;

/// What stands for a ciphertext: its slots and what is predicted about their errors.
#[derive(Clone, Debug)]
pub struct SlotCt {
    /// Values without any error.
    pub values: Vec<Complex64>,
    /// Estimated variance of each real component of a slot.
    pub variance: Vec<f64>,
    /// Level of the ciphertext.
    pub level: usize,
    /// Scale label of the ciphertext.
    pub scale: f64,
}

impl SlotCt {
    /// Slots without error.
    pub(super) fn exact(values: Vec<Complex64>, level: usize, scale: f64) -> Self {
        let variance = vec![0.0; values.len()];
        Self { values, variance, level, scale }
    }

    /// Replaces slots that repeat with a period by the mean over copies, `summands` of which a later sum adds up: what is the same
    /// in all of them counts as often as they are (`r[boot.sparse.noise]`). Copies of one value have its error in common, so the
    /// variance of their mean counts as the mean of variances, which it never exceeds (`r[noise.rss.copies]`).
    pub(super) fn average_copies(&mut self, period: usize, summands: f64) {
        let copies = (self.values.len() / period) as f64;
        for slot in 0..period {
            let of_slot = || (slot..self.values.len()).step_by(period);
            let value = of_slot().map(|i| self.values[i]).sum::<Complex64>() / copies;
            let variance = of_slot().map(|i| self.variance[i]).sum::<f64>() / copies;
            for i in (slot..self.values.len()).step_by(period) {
                (self.values[i], self.variance[i]) = (value, variance * summands);
            }
        }
    }

    /// `self + sign * other` with errors as if independent (`r[noise.add]`).
    pub(super) fn combined(&self, other: &Self, sign: f64) -> Self {
        let mut out = self.clone();
        out.values.iter_mut().zip(&other.values).for_each(|(z, w)| *z += sign * w);
        out.variance.iter_mut().zip(&other.variance).for_each(|(v, w)| *v += w);
        out
    }

    /// `self += other` with errors as if independent.
    pub(super) fn add_combined(&mut self, other: &Self) {
        self.values.iter_mut().zip(&other.values).for_each(|(z, w)| *z += w);
        self.variance.iter_mut().zip(&other.variance).for_each(|(v, w)| *v += w);
    }

    /// `c * self` for a constant that is represented exactly.
    pub(super) fn times_exact(&self, c: f64) -> Self {
        let mut out = self.clone();
        out.values.iter_mut().for_each(|z| *z *= c);
        out.variance.iter_mut().for_each(|v| *v *= c * c);
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
        }
        out
    }

    /// Adds `ct * weights`, the weights encoded with errors of the given deviation (`r[noise.mul.plain]`).
    pub(super) fn add_weighted(&mut self, ct: &Self, weights: &[Complex64], deviation: f64) {
        for (i, w) in weights.iter().enumerate() {
            let z = ct.values[i];
            self.values[i] += z * w;
            self.variance[i] += w.norm_sqr() * ct.variance[i] + z.norm_sqr() * deviation * deviation;
        }
    }

    /// Adds `c * ct`, the constant represented in units of size `unit` (`r[noise.scalar.mul]`).
    pub(super) fn add_scaled(&mut self, ct: &Self, c: f64, unit: f64) {
        let rounding = unit * unit / 12.0;
        for (i, z) in ct.values.iter().enumerate() {
            self.values[i] += c * z;
            self.variance[i] += c * c * ct.variance[i] + z.norm_sqr() * rounding;
        }
    }

    /// Slot `j` becomes slot `j + steps`.
    pub(super) fn rotated(&self, steps: usize) -> Self {
        let mut out = self.clone();
        out.values.rotate_left(steps);
        out.variance.rotate_left(steps);
        out
    }

    /// Complex conjugate of every slot.
    pub(super) fn conjugated(&self) -> Self {
        let mut out = self.clone();
        out.values.iter_mut().for_each(|z| *z = z.conj());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `r[noise.rss.copies]`
    #[test]
    fn the_mean_of_copies_keeps_their_common_error() {
        let values = [1.0, 2.0, 1.5, 2.5].map(Complex64::from).to_vec();
        let mut ct = SlotCt { variance: vec![4.0, 1.0, 2.0, 3.0], ..SlotCt::exact(values, 3, 1.0) };
        ct.average_copies(2, 1.0);
        assert_eq!(ct.values, [1.25, 2.25, 1.25, 2.25].map(Complex64::from));
        assert_eq!(ct.variance, [3.0, 2.0, 3.0, 2.0]);
        // Two copies that a later mean adds up: independent for it, so that a quarter of the sum is the common variance.
        ct.average_copies(2, 2.0);
        assert_eq!((ct.variance[0] + ct.variance[2]) / 4.0, 3.0);
    }
}
