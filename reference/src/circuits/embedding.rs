//! The canonical embedding as a product of sparse factors, in exact numbers (`r[boot.butterfly]`, `r[boot.factors]`).

use crate::ckks::Cyclotomic;
use std::collections::BTreeMap;

/// A matrix on slots with exact entries; entries that are 0 are not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotMatrix {
    /// Ring degree.
    n: usize,
    entries: BTreeMap<(usize, usize), Cyclotomic>,
}

impl SlotMatrix {
    /// The identity on `n/2` slots.
    #[must_use]
    pub fn identity(n: usize) -> Self {
        Self::from_entries(n, (0..n / 2).map(|i| ((i, i), Cyclotomic::root(n, 0))))
    }

    /// The layer `S_m` (`r[boot.butterfly]`).
    #[must_use]
    pub fn layer(n: usize, m: usize) -> Self {
        let one = Cyclotomic::root(n, 0);
        let blocks = Self::butterflies(n, m).flat_map(|(x, y, e)| {
            let root = Cyclotomic::root(n, e);
            [((x, x), one.clone()), ((x, y), root.clone()), ((y, x), one.clone()), ((y, y), root.neg())]
        });
        Self::from_entries(n, blocks)
    }

    /// The inverse of the layer `S_m`.
    #[must_use]
    pub fn inverse_layer(n: usize, m: usize) -> Self {
        let half = Cyclotomic::root(n, 0).half();
        let blocks = Self::butterflies(n, m).flat_map(|(x, y, e)| {
            let root = Cyclotomic::root(n, 2 * n - e).half();
            [((x, x), half.clone()), ((x, y), half.clone()), ((y, x), root.clone()), ((y, y), root.neg())]
        });
        Self::from_entries(n, blocks)
    }

    /// The factors of SlotsToCoeffs with the smallest layers, as many as `log_radices` add up to, in order of application.
    #[must_use]
    pub fn slots_to_coeffs(n: usize, log_radices: &[u32]) -> Vec<Self> {
        let mut sizes = (1..n.ilog2()).map(|log| 1 << log);
        let factor = |layers: &u32| {
            let own = sizes.by_ref().take(*layers as usize);
            own.fold(Self::identity(n), |product, m| Self::layer(n, m).after(&product))
        };
        log_radices.iter().map(factor).collect()
    }

    /// The factors of CoeffsToSlots with the smallest layers, as many as `log_radices` add up to, in order of application; the last
    /// one holds the factor 1/2.
    #[must_use]
    pub fn coeffs_to_slots(n: usize, log_radices: &[u32]) -> Vec<Self> {
        let mut sizes = (1..=log_radices.iter().sum()).rev().map(|log: u32| 1 << log);
        let factor = |layers: &u32| {
            let own = sizes.by_ref().take(*layers as usize);
            own.fold(Self::identity(n), |product, m| Self::inverse_layer(n, m).after(&product))
        };
        let mut factors: Vec<Self> = log_radices.iter().map(factor).collect();
        if let Some(last) = factors.last_mut() {
            last.entries.values_mut().for_each(|entry| *entry = entry.half());
        }
        factors
    }

    /// The map that applies `first` and then this one.
    #[must_use]
    pub fn after(&self, first: &Self) -> Self {
        let products = self.entries.iter().flat_map(|((row, middle), a)| {
            let matching = first.entries.range((*middle, 0)..=(*middle, usize::MAX));
            matching.map(move |((_, column), b)| ((*row, *column), a.mul(b)))
        });
        Self::from_entries(self.n, products)
    }

    /// The entry in a row and a column.
    #[must_use]
    pub fn entry(&self, row: usize, column: usize) -> Cyclotomic {
        self.entries.get(&(row, column)).cloned().unwrap_or_else(|| Cyclotomic::zero(self.n))
    }

    /// The diagonals that are not all zero: `d_r[j]` is the entry in row `j` and column `j + r`, `r` modulo the
    /// number of slots (`r[circuit.linear.map]`).
    #[must_use]
    pub fn diagonals(&self) -> BTreeMap<i64, Vec<Cyclotomic>> {
        let slots = self.n / 2;
        let mut diagonals = BTreeMap::new();
        for ((row, column), entry) in &self.entries {
            let shift = (column + slots - row) % slots;
            let diagonal = diagonals.entry(shift as i64).or_insert_with(|| vec![Cyclotomic::zero(self.n); slots]);
            diagonal[*row] = entry.clone();
        }
        diagonals
    }

    /// The diagonals for vectors that repeat with a period, on which shifts that differ by a multiple of it are the same: those of
    /// [`Self::diagonals`] with shifts in `[0, period)`.
    #[must_use]
    pub fn diagonals_modulo(&self, period: usize) -> BTreeMap<i64, Vec<Cyclotomic>> {
        let slots = self.n / 2;
        let mut merged = BTreeMap::new();
        for (shift, diagonal) in self.diagonals() {
            let zeros = || vec![Cyclotomic::zero(self.n); slots];
            let sum = merged.entry(shift.rem_euclid(period as i64)).or_insert_with(zeros);
            sum.iter_mut().zip(&diagonal).for_each(|(sum, entry)| *sum = sum.add(entry));
        }
        merged
    }

    /// The map that multiplies row `j` by the root `zeta^exponent(j)` afterwards.
    #[must_use]
    pub fn rows_times_roots(&self, exponent: impl Fn(usize) -> usize) -> Self {
        let turned = |(place, entry): (&(usize, usize), &Cyclotomic)| {
            (*place, entry.mul(&Cyclotomic::root(self.n, exponent(place.0))))
        };
        Self::from_entries(self.n, self.entries.iter().map(turned))
    }

    /// The pairs of slots that `S_m` joins, with the exponent of the root.
    fn butterflies(n: usize, m: usize) -> impl Iterator<Item = (usize, usize, usize)> {
        (0..n / 2).step_by(m).flat_map(move |start| {
            let powers = std::iter::successors(Some(1), move |power| Some(power * 5 % (4 * m)));
            (0..m / 2).zip(powers).map(move |(j, power)| (start + j, start + j + m / 2, power * n / (2 * m)))
        })
    }

    fn from_entries(n: usize, entries: impl IntoIterator<Item = ((usize, usize), Cyclotomic)>) -> Self {
        let mut sums: BTreeMap<(usize, usize), Cyclotomic> = BTreeMap::new();
        for (place, entry) in entries {
            let sum = sums.get(&place).map_or_else(|| entry.clone(), |sum| sum.add(&entry));
            sums.insert(place, sum);
        }
        sums.retain(|_, entry| !entry.is_zero());
        Self { n, entries: sums }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPES: [(usize, &[u32]); 4] = [(32, &[2, 2]), (32, &[1, 3]), (256, &[3, 4]), (64, &[2, 1, 2])];

    fn product(n: usize, factors: &[SlotMatrix]) -> SlotMatrix {
        factors.iter().fold(SlotMatrix::identity(n), |product, factor| factor.after(&product))
    }

    #[test]
    fn factors_multiply_to_the_definition_of_the_embedding() {
        for (n, radices) in SHAPES {
            let (slots, bits) = (n / 2, (n / 2).ilog2());
            let whole = product(n, &SlotMatrix::slots_to_coeffs(n, radices));
            let mut power = 1;
            for row in 0..slots {
                for column in 0..slots {
                    // Slot `row` of `X^rev(column)`; the imaginary part's `X^(n/2)` is i in every slot.
                    let reversed = column.reverse_bits() >> (usize::BITS - bits);
                    let expected = Cyclotomic::root(n, power * reversed % (2 * n));
                    assert_eq!(whole.entry(row, column), expected, "N = {n}, row {row}, column {column}");
                }
                assert_eq!(Cyclotomic::root(n, power * (n / 2)), Cyclotomic::root(n, n / 2));
                power = power * 5 % (2 * n);
            }
        }
    }

    #[test]
    fn coeffs_to_slots_is_half_the_inverse() {
        for (n, radices) in SHAPES {
            let there = product(n, &SlotMatrix::slots_to_coeffs(n, radices));
            let reversed: Vec<u32> = radices.iter().rev().copied().collect();
            let back = product(n, &SlotMatrix::coeffs_to_slots(n, &reversed));
            let mut half = SlotMatrix::identity(n);
            half.entries.values_mut().for_each(|entry| *entry = entry.half());
            assert_eq!(back.after(&there), half, "N = {n}");
            assert_eq!(there.after(&back), half, "N = {n}");
        }
    }

    #[test]
    fn factors_are_sparse() {
        let counts = |factors: Vec<SlotMatrix>| Vec::from_iter(factors.iter().map(|f| f.diagonals().len()));
        // A factor of R layers has 2^(R + 1) - 1 diagonals, and 2^R where its shifts meet modulo the number of slots.
        assert_eq!(counts(SlotMatrix::slots_to_coeffs(256, &[3, 4])), [15, 16]);
        assert_eq!(counts(SlotMatrix::coeffs_to_slots(256, &[4, 3])), [16, 15]);
    }
}
