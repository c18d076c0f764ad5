//! The numbers of a tensor from a seed and the tensor's name.

use crate::export::SplitMix64;
use sha2::{Digest, Sha256};

/// Separates these draws from other uses of the hash.
const DOMAIN: &[u8] = b"touchstone-synth-1";

/// The distribution of a tensor's entries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Draw {
    /// Mean of every entry.
    pub mean: f64,
    /// Standard deviation of every entry.
    pub deviation: f64,
    /// Whether each row is multiplied by a factor of its own, uniform in [1/2, 2].
    pub uneven: bool,
}

impl Draw {
    /// Entries of mean 0.
    #[must_use]
    pub fn around_zero(deviation: f64) -> Self {
        Self { mean: 0.0, deviation, uneven: false }
    }
}

/// Entries of a tensor called `name`, of rows of `columns` entries with one distribution each.
///
/// The SplitMix64 generator starts at the first eight bytes, little-endian, of the SHA-256 of `touchstone-synth-1`, the
/// seed in eight bytes and the name, so that a layer does not depend on how many there are. Each draw takes the
/// upper 24 bits `k` of an output as `u = (k + 1/2) / 2^24`. A row with a factor draws that first, `1/2 + 3u/2`. An entry is
/// `mean + deviation factor sqrt(3) (2u - 1)`, uniform with that mean and deviation, in binary64, rounded to binary32.
#[must_use]
pub fn values(seed: u64, name: &str, columns: usize, rows: &[Draw]) -> Vec<f32> {
    let hash = Sha256::new().chain_update(DOMAIN).chain_update(seed.to_le_bytes()).chain_update(name).finalize();
    let mut start = [0; 8];
    start.copy_from_slice(&hash[..8]);
    let mut generator = SplitMix64::new(u64::from_le_bytes(start));
    let mut uniform = || ((generator.next_u64() >> 40) as f64 + 0.5) / f64::from(1u32 << 24);
    let mut values = Vec::with_capacity(rows.len() * columns);
    for draw in rows {
        let factor = if draw.uneven { 0.5 + 1.5 * uniform() } else { 1.0 };
        let width = draw.deviation * factor * 3f64.sqrt();
        values.extend((0..columns).map(|_| (draw.mean + width * (2.0 * uniform() - 1.0)) as f32));
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mean and deviation are those asked for: five standard errors over 10,000 entries, the same for the mean of squares.
    #[test]
    fn entries_have_the_stated_moments() {
        let draw = Draw { mean: 1.0, deviation: 0.5, uneven: false };
        let entries: Vec<f64> = values(7, "weight", 100, &[draw; 100]).into_iter().map(f64::from).collect();
        let count = entries.len() as f64;
        let mean = entries.iter().sum::<f64>() / count;
        assert!((mean - 1.0).abs() < 5.0 * 0.5 / count.sqrt(), "{mean}");
        let variance = entries.iter().map(|x| (x - 1.0).powi(2)).sum::<f64>() / count;
        // A uniform variable's square has the variance 4/5 of the squared variance.
        assert!((variance / 0.25 - 1.0).abs() < 5.0 * (0.8 / count).sqrt(), "{variance}");
        assert!(entries.iter().all(|x| (x - 1.0).abs() < 0.5 * 3f64.sqrt()));
    }

    /// A draw depends on seed and name alone, and rows with a factor differ in size by up to four.
    #[test]
    fn draws_depend_on_seed_and_name() {
        let rows = [Draw { mean: 0.0, deviation: 1.0, uneven: true }; 200];
        let entries = values(1, "a", 64, &rows);
        assert_eq!(entries, values(1, "a", 64, &rows));
        assert_eq!(entries[..640], values(1, "a", 64, &rows[..10]));
        assert_ne!(entries, values(2, "a", 64, &rows));
        assert_ne!(entries, values(1, "b", 64, &rows));
        let largest = entries.chunks(64).map(|row| row.iter().fold(0f32, |most, x| most.max(x.abs())));
        let ends = largest.fold([f32::MAX, 0.0], |[a, b]: [f32; 2], x| [a.min(x), b.max(x)]);
        assert!(ends[1] / ends[0] > 3.0 && ends[1] <= 2.0 * 3f32.sqrt(), "{ends:?}");
    }
}
