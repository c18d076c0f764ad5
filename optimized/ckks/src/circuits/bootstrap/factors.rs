//! The factors of SlotsToCoeffs and CoeffsToSlots as diagonals (`r[boot.butterfly]`, `r[boot.factors]`).

use crate::Complex64;
use crate::ckks::embedding::root_of_unity;
use std::collections::{BTreeMap, BTreeSet};

/// Diagonals by shift in `[0, slots)`.
pub(crate) type Diagonals = BTreeMap<i64, Vec<Complex64>>;

/// Which of the two maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Layers `S_2`, `S_4`, ... in this order.
    SlotsToCoeffs,
    /// Their inverses, `S_n^-1` first, and the factor 1/2 at the end.
    CoeffsToSlots,
}

/// Layer `S_m`, or its inverse: shifts 0, `m/2` and `-m/2`.
fn layer(slots: usize, m: usize, direction: Direction) -> Diagonals {
    let half = m / 2;
    let zero = Complex64::new(0.0, 0.0);
    let mut diagonals = [vec![zero; slots], vec![zero; slots], vec![zero; slots]];
    let mut power = 1;
    let roots: Vec<Complex64> = std::iter::repeat_with(|| {
        let root = root_of_unity(power, 4 * m);
        power = power * 5 % (4 * m);
        root
    })
    .take(half)
    .collect();
    for start in (0..slots).step_by(m) {
        for (j, root) in roots.iter().enumerate() {
            let (low, high) = (start + j, start + j + half);
            // out[low] = stay[0] in[low] + cross[0] in[high], out[high] = cross[1] in[low] + stay[1] in[high].
            let one = Complex64::new(1.0, 0.0);
            let (stay, cross) = match direction {
                Direction::SlotsToCoeffs => ([one, -root], [*root, one]),
                Direction::CoeffsToSlots => ([one * 0.5, -root.conj() * 0.5], [one * 0.5, root.conj() * 0.5]),
            };
            (diagonals[0][low], diagonals[0][high]) = (stay[0], stay[1]);
            diagonals[1][low] = cross[0];
            diagonals[2][high] = cross[1];
        }
    }
    let [stay, up, down] = diagonals;
    let shift = half as i64;
    let opposite = (slots - half) as i64;
    let mut layer = BTreeMap::from([(0, stay), (shift, up)]);
    // In the largest layer both shifts are the same modulo the number of slots.
    let merged = layer.entry(opposite).or_insert_with(|| vec![zero; slots]);
    merged.iter_mut().zip(down).for_each(|(a, b)| *a += b);
    layer
}

/// The diagonals of `second` after `first`.
///
/// An entry of a product of layers comes from one path through them, so every sum here has one term that is not 0.
fn compose(slots: usize, second: &Diagonals, first: &Diagonals) -> Diagonals {
    let mut product = Diagonals::new();
    for (a, outer) in second {
        for (b, inner) in first {
            let shift = (a + b).rem_euclid(slots as i64);
            let out = product.entry(shift).or_insert_with(|| vec![Complex64::new(0.0, 0.0); slots]);
            let start = *a as usize;
            for (j, (out, outer)) in out.iter_mut().zip(outer).enumerate() {
                *out += outer * inner[(j + start) % slots];
            }
        }
    }
    product
}

/// Sizes `m` of the layers in order of application.
fn layer_sizes(slots: usize, direction: Direction) -> Vec<usize> {
    let mut sizes: Vec<usize> = (1..=slots.trailing_zeros()).map(|log_m| 1 << log_m).collect();
    if direction == Direction::CoeffsToSlots {
        sizes.reverse();
    }
    sizes
}

/// The shifts of the diagonals of [`factors`], without the diagonals.
pub(crate) fn shifts(slots: usize, log_radices: &[u32], direction: Direction) -> Vec<BTreeSet<i64>> {
    let mut sizes = layer_sizes(slots, direction).into_iter();
    let sum = |shifts: BTreeSet<i64>, m: usize| {
        let half = (m / 2) as i64;
        let step = |shift: i64| [shift, shift + half, shift - half].map(|sum| sum.rem_euclid(slots as i64));
        shifts.into_iter().flat_map(step).collect()
    };
    let factor = |&log_radix: &u32| sizes.by_ref().take(log_radix as usize).fold(BTreeSet::from([0]), sum);
    log_radices.iter().map(factor).collect()
}

/// The factors of a map, in order of application; `log_radices` are their numbers of layers.
pub(crate) fn factors(slots: usize, log_radices: &[u32], direction: Direction) -> Vec<Diagonals> {
    let mut sizes = layer_sizes(slots, direction).into_iter();
    let mut all: Vec<Diagonals> = Vec::new();
    for &log_radix in log_radices {
        let mut factor: Option<Diagonals> = None;
        for m in sizes.by_ref().take(log_radix as usize) {
            let layer = layer(slots, m, direction);
            factor = Some(match factor {
                Some(factor) => compose(slots, &layer, &factor),
                None => layer,
            });
        }
        all.extend(factor);
    }
    if let (Direction::CoeffsToSlots, Some(last)) = (direction, all.last_mut()) {
        last.values_mut().flatten().for_each(|entry| *entry *= 0.5);
    }
    for factor in &mut all {
        factor.retain(|_, diagonal| diagonal.iter().any(|entry| entry.norm_sqr() != 0.0));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circuits::testing::numbers;
    use crate::ckks::embedding::Embedding;

    fn apply(factors: &[Diagonals], input: &[Complex64]) -> Vec<Complex64> {
        let n = input.len();
        factors.iter().fold(input.to_vec(), |x, factor| {
            let entry = |j: usize| factor.iter().map(|(r, d)| d[j] * x[(j + *r as usize) % n]).sum();
            (0..n).map(entry).collect()
        })
    }

    #[test]
    fn shifts_are_known_without_the_diagonals() {
        for direction in [Direction::SlotsToCoeffs, Direction::CoeffsToSlots] {
            for (log_n, radices) in [(4, vec![4]), (5, vec![2, 3]), (7, vec![1, 5, 1]), (8, vec![3, 3, 2])] {
                let diagonals = factors(1 << log_n, &radices, direction);
                let expected: Vec<BTreeSet<i64>> =
                    diagonals.iter().map(|factor| factor.keys().copied().collect()).collect();
                assert_eq!(shifts(1 << log_n, &radices, direction), expected, "{direction:?} {log_n} {radices:?}");
            }
        }
    }

    #[test]
    fn the_maps_are_the_embedding_up_to_bit_reversal() {
        for (log_n, down, up) in [(5, vec![2, 3], vec![3, 2]), (7, vec![3, 4], vec![1, 5, 1]), (4, vec![4], vec![4])] {
            let n = 1usize << log_n;
            let values: Vec<_> = numbers(1, 2 * n).chunks(2).map(|z| Complex64::new(z[0], z[1])).collect();
            // Slot k of the input becomes packed coefficient rev(k).
            let mut expected: Vec<_> = (0..n).map(|t| values[t.reverse_bits() >> (usize::BITS - log_n)]).collect();
            Embedding::new(n).to_slots(&mut expected);
            let slots = apply(&factors(n, &down, Direction::SlotsToCoeffs), &values);
            // Every stage doubles the values at most and rounds a few times.
            let bound = n as f64 * 16.0 * f64::from(log_n) * f64::EPSILON;
            for (got, expected) in slots.iter().zip(&expected) {
                assert!((got - expected).norm() <= bound, "n = {n}: {got} {expected}");
            }
            let back = apply(&factors(n, &up, Direction::CoeffsToSlots), &slots);
            for (got, expected) in back.iter().zip(&values) {
                assert!((got - 0.5 * expected).norm() <= bound, "n = {n}: {got} {expected}");
            }
        }
    }

    #[test]
    fn factors_have_their_radix_in_diagonals_and_period() {
        let slots = 512;
        for (factor, (count, period)) in
            factors(slots, &[3, 3, 3], Direction::SlotsToCoeffs).iter().zip([(15, 8), (15, 64), (8, 512)])
        {
            assert_eq!(factor.len(), count);
            for diagonal in factor.values() {
                assert!((0..slots).all(|j| diagonal[j] == diagonal[j % period]), "{count} diagonals, period {period}");
            }
        }
    }
}
