//! The canonical embedding as a fast transform over the orbit `5^j` (`r[ckks.encode]`).
//!
//! A real polynomial `m` of degree below `N` is packed as `n = N/2` complex numbers `u_t = m_t + i m_{t+n}`. Because
//! `5^j = 1 (mod 4)`, `zeta^(n 5^j) = i`, so slot `j` is `sum_t u_t zeta^(t 5^j)`: a transform of length `n`.

use crate::arith::Kernels;
use num_complex::Complex64;

/// Roots of one length, with the transforms between slots and packed coefficients.
#[derive(Debug)]
pub(crate) struct Embedding {
    slots: usize,
    /// Roots of all stages: stage `len` (2, 4, .., n) holds `exp(2 pi i (5^j mod 4 len) / (4 len))`, `j < len/2`, from
    /// index `len/2 - 1`.
    roots: Vec<Complex64>,
}

impl Embedding {
    /// Roots for `slots`, a power of two of at least 2.
    pub(crate) fn new(slots: usize) -> Self {
        let mut roots = Vec::with_capacity(slots - 1);
        let mut len = 2;
        while len <= slots {
            let turn = 4 * len;
            let mut power = 1;
            for _ in 0..len / 2 {
                roots.push(root_of_unity(power, turn));
                power = power * 5 % turn;
            }
            len *= 2;
        }
        Self { slots, roots }
    }

    fn stage(&self, len: usize) -> &[Complex64] {
        &self.roots[len / 2 - 1..len - 1]
    }

    /// Packed coefficients to slots, in place.
    pub(crate) fn to_slots(&self, values: &mut [Complex64]) {
        bit_reverse(values);
        let mut len = 2;
        while len <= self.slots {
            for block in values.chunks_exact_mut(len) {
                let (low, high) = block.split_at_mut(len / 2);
                for ((a, b), root) in low.iter_mut().zip(high).zip(self.stage(len)) {
                    let twisted = *b * root;
                    (*a, *b) = (*a + twisted, *a - twisted);
                }
            }
            len *= 2;
        }
    }

    /// `P` slots, `P` a divisor of the length, to the real and imaginary parts of the packed coefficients times `factor P`, rounded
    /// to integers. With `P < n` it is one period of slots of period `P` and the packed coefficients of `X^0, X^(n/P), ..`. Gives the
    /// largest magnitude, infinity if a coefficient is not a number.
    pub(crate) fn to_integers(
        &self,
        kernels: Kernels,
        mut values: Vec<Complex64>,
        factor: f64,
        [re, im]: [&mut [i64]; 2],
    ) -> f64 {
        kernels.slots_to_packed(&self.roots, &mut values);
        kernels.round_packed(factor, &values, re, im)
    }
}

fn bit_reverse(values: &mut [Complex64]) {
    let bits = values.len().trailing_zeros();
    for i in 0..values.len() {
        let j = i.reverse_bits() >> (usize::BITS - bits);
        if i < j {
            values.swap(i, j);
        }
    }
}

/// `exp(2 pi i k / turn)`, `turn` a power of two of at least 8, each part accurate to about half a unit in the last place:
/// the angle is brought to the first octant in integers and its rounding error is corrected.
pub(crate) fn root_of_unity(k: usize, turn: usize) -> Complex64 {
    /// `pi` minus its binary64 value.
    const PI_LOW: f64 = 1.224_646_799_147_353_2e-16;
    let (octant, rest) = (k % turn / (turn / 8), k % (turn / 8));
    // Odd octants run backwards, so that the angle counts from the nearest multiple of pi/2.
    let rest = if octant % 2 == 1 { turn / 8 - rest } else { rest };
    let fraction = 2.0 * rest as f64 / turn as f64;
    let angle = fraction * std::f64::consts::PI;
    let error = fraction.mul_add(std::f64::consts::PI, -angle) + fraction * PI_LOW;
    let (sin, cos) = angle.sin_cos();
    let (sin, cos) = (error.mul_add(cos, sin), (-error).mul_add(sin, cos));
    let (re, im) = match octant {
        0 => (cos, sin),
        1 => (sin, cos),
        2 => (-sin, cos),
        3 => (-cos, sin),
        4 => (-cos, -sin),
        5 => (-sin, -cos),
        6 => (sin, -cos),
        _ => (cos, -sin),
    };
    Complex64::new(re, im)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arith::KernelKind;

    /// The definition, in `O(n^2)`.
    fn naive(packed: &[Complex64]) -> Vec<Complex64> {
        let n = packed.len();
        let mut power = 1;
        let mut slots = Vec::new();
        for _ in 0..n {
            let term = |(t, u): (usize, &Complex64)| u * root_of_unity(t * power % (4 * n), 4 * n);
            slots.push(packed.iter().enumerate().map(term).sum());
            power = power * 5 % (4 * n);
        }
        slots
    }

    #[test]
    fn roots_have_modulus_one_and_the_right_angle() {
        for k in 0..64 {
            let root = root_of_unity(k, 64);
            let expected = Complex64::from_polar(1.0, std::f64::consts::TAU * k as f64 / 64.0);
            assert!((root - expected).norm() < 4.0 * f64::EPSILON, "k = {k}: {root} {expected}");
        }
    }

    #[test]
    fn transform_equals_definition_and_inverts() {
        for log_slots in 3..9 {
            let n = 1usize << log_slots;
            let packed: Vec<Complex64> =
                (0..n).map(|t| Complex64::new((t as f64).sin(), (3.0 * t as f64).cos())).collect();
            let embedding = Embedding::new(n);
            let mut values = packed.clone();
            embedding.to_slots(&mut values);
            // Every output is a sum of n terms of modulus at most 2; each stage rounds a few times.
            let bound = 2.0 * n as f64 * 8.0 * f64::from(log_slots) * f64::EPSILON;
            for (j, (got, want)) in values.iter().zip(naive(&packed)).enumerate() {
                assert!((got - want).norm() <= bound, "n = {n}, slot {j}: {got} {want}");
            }
            for kernels in kernels() {
                let unit = 2f64.powi(40);
                let (mut re, mut im) = (vec![0; n], vec![0; n]);
                embedding.to_integers(kernels, values.clone(), unit / n as f64, [&mut re, &mut im]);
                for ((re, im), want) in re.iter().zip(&im).zip(&packed) {
                    let got = Complex64::new(*re as f64, *im as f64) / unit;
                    assert!((got - want).norm() <= bound + 1.0 / unit, "n = {n}: {got} {want}");
                }
            }
        }
    }

    fn kernels() -> impl Iterator<Item = Kernels> {
        KernelKind::available().filter_map(|kind| Kernels::with_kind(kind).ok())
    }

    #[test]
    fn kernels_round_alike() {
        let embedding = Embedding::new(1 << 13);
        for log_slots in 0..14 {
            let n = 1usize << log_slots;
            let values: Vec<Complex64> =
                (0..n).map(|t| Complex64::new((7.0 * t as f64).sin(), (t * t) as f64 / (n * n) as f64)).collect();
            let mut spoilt = values.clone();
            spoilt[n / 3] = Complex64::new(f64::MAX, f64::NAN);
            let constant = vec![Complex64::new(0.25, -0.75); n];
            let cases = [
                (&values, 0.5),
                (&values, 2f64.powi(40)),
                (&values, 2f64.powi(52)), // integers already, and beyond what the vector code converts
                (&values, 2f64.powi(70)), // beyond the range of i64
                (&constant, 2.0 / n as f64), // ties
                (&spoilt, 1.0),
            ];
            for (values, factor) in cases {
                let results: Vec<(Vec<i64>, Vec<i64>, f64)> = kernels()
                    .map(|kernels| {
                        let (mut re, mut im) = (vec![1; n], vec![1; n]);
                        let largest = embedding.to_integers(kernels, values.clone(), factor, [&mut re, &mut im]);
                        (re, im, largest)
                    })
                    .collect();
                assert!(results.iter().all(|result| *result == results[0]), "{n} values, factor {factor}");
            }
        }
    }
}
