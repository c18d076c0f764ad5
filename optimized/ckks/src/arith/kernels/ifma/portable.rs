//! The lanes in plain integers, for tests on any processor.

use super::lanes::{LANES, Lanes, Pattern};

/// Vectors as arrays.
#[derive(Debug, Clone, Copy)]
pub(super) struct Portable;

type Vector = [u64; LANES];

/// `f` lane by lane.
fn map(a: Vector, b: Vector, f: impl Fn(u64, u64) -> u64) -> Vector {
    std::array::from_fn(|i| f(a[i], b[i]))
}

/// The 104-bit product of the low 52 bits.
fn product(a: u64, b: u64) -> u128 {
    const LOW: u64 = (1 << 52) - 1;
    u128::from(a & LOW) * u128::from(b & LOW)
}

fn bytes(x: Vector) -> [u8; 8 * LANES] {
    std::array::from_fn(|i| x[i / 8].to_le_bytes()[i % 8])
}

fn words(bytes: [u8; 8 * LANES]) -> Vector {
    std::array::from_fn(|i| u64::from_le_bytes(std::array::from_fn(|j| bytes[8 * i + j])))
}

impl Lanes for Portable {
    type Vector = Vector;

    fn splat(self, x: u64) -> Vector {
        [x; LANES]
    }

    fn load(self, x: &[u64]) -> Vector {
        std::array::from_fn(|i| x.get(i).copied().unwrap_or(0))
    }

    fn store(self, x: Vector, out: &mut [u64]) {
        out.iter_mut().zip(x).for_each(|(out, x)| *out = x);
    }

    fn load_bytes(self, x: &[u8], count: usize) -> Vector {
        let x = &x[..count];
        words(std::array::from_fn(|i| x.get(i).copied().unwrap_or(0)))
    }

    fn permute_bytes(self, x: Vector, indices: Vector) -> Vector {
        let (x, indices) = (bytes(x), bytes(indices));
        words(indices.map(|i| x[i as usize % x.len()]))
    }

    fn permute(self, a: Vector, b: Vector, pattern: &Pattern) -> Vector {
        let all = [a, b].concat();
        pattern.map(|i| all[i as usize])
    }

    fn add(self, a: Vector, b: Vector) -> Vector {
        map(a, b, u64::wrapping_add)
    }

    fn sub(self, a: Vector, b: Vector) -> Vector {
        map(a, b, u64::wrapping_sub)
    }

    fn min(self, a: Vector, b: Vector) -> Vector {
        map(a, b, u64::min)
    }

    fn and(self, a: Vector, b: Vector) -> Vector {
        map(a, b, |a, b| a & b)
    }

    fn shift_left(self, a: Vector, count: Vector) -> Vector {
        map(a, count, |a, count| a << count)
    }

    fn shift_right(self, a: Vector, count: Vector) -> Vector {
        map(a, count, |a, count| a >> count)
    }

    fn madd_lo(self, acc: Vector, a: Vector, b: Vector) -> Vector {
        self.add(acc, map(a, b, |a, b| product(a, b) as u64 & ((1 << 52) - 1)))
    }

    fn madd_hi(self, acc: Vector, a: Vector, b: Vector) -> Vector {
        self.add(acc, map(a, b, |a, b| (product(a, b) >> 52) as u64))
    }

    fn add_f64(self, a: Vector, b: Vector) -> Vector {
        map(a, b, |a, b| (f64::from_bits(a) + f64::from_bits(b)).to_bits())
    }
}
