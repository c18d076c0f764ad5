//! The factors of SlotsToCoeffs and CoeffsToSlots as diagonals (`r[boot.butterfly]`, `r[boot.factors]`,
//! `r[boot.sparse.factors]`).

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

/// The numbers of layers of the factors that hold the `layers` smallest ones, in order of application; factors without a layer are
/// left out (`r[boot.sparse.factors]`).
pub(crate) fn restricted(log_radices: &[u32], layers: u32, direction: Direction) -> Vec<u32> {
    let mut left = layers;
    let mut take = |log_radix: &u32| {
        let own = left.min(*log_radix);
        left -= own;
        own
    };
    let mut kept: Vec<u32> = match direction {
        Direction::SlotsToCoeffs => log_radices.iter().map(&mut take).collect(),
        Direction::CoeffsToSlots => log_radices.iter().rev().map(&mut take).collect(),
    };
    kept.retain(|own| *own > 0);
    if direction == Direction::CoeffsToSlots {
        kept.reverse();
    }
    kept
}

/// The shift modulo the number of slots that stands for one modulo the period: in `[0, period)` in the factor with the largest
/// layer, where shifts fill a group, and the one of least magnitude in the others.
fn lifted(shift: i64, slots: usize, period: usize, largest: bool) -> i64 {
    let period = period as i64;
    let below_zero = !largest && 2 * shift >= period;
    if below_zero { (shift - period).rem_euclid(slots as i64) } else { shift }
}

/// Whether factor `i` of `count` has the largest layer.
fn has_largest(i: usize, count: usize, direction: Direction) -> bool {
    match direction {
        Direction::SlotsToCoeffs => i + 1 == count,
        Direction::CoeffsToSlots => i == 0,
    }
}

/// The shifts of the diagonals of [`factors`], without the diagonals.
pub(crate) fn shifts(slots: usize, period: usize, log_radices: &[u32], direction: Direction) -> Vec<BTreeSet<i64>> {
    let mut sizes = layer_sizes(period, direction).into_iter();
    let sum = |shifts: BTreeSet<i64>, m: usize| {
        let half = (m / 2) as i64;
        let step = |shift: i64| [shift, shift + half, shift - half].map(|sum| sum.rem_euclid(period as i64));
        shifts.into_iter().flat_map(step).collect()
    };
    let factor = |(i, &log_radix): (usize, &u32)| {
        let shifts = sizes.by_ref().take(log_radix as usize).fold(BTreeSet::from([0]), sum);
        let largest = has_largest(i, log_radices.len(), direction);
        shifts.into_iter().map(|shift| lifted(shift, slots, period, largest)).collect()
    };
    log_radices.iter().enumerate().map(factor).collect()
}

/// The factors of a map on slots of a period, in order of application; `log_radices` are their numbers of layers, those of
/// all layers up to the one of the period's size (`r[boot.factors]`, `r[boot.sparse.factors]`).
pub(crate) fn factors(slots: usize, period: usize, log_radices: &[u32], direction: Direction) -> Vec<Diagonals> {
    let mut all = periodic_factors(period, log_radices, direction);
    if let (Direction::CoeffsToSlots, Some(last)) = (direction, all.last_mut()) {
        last.values_mut().flatten().for_each(|entry| *entry *= 0.5);
    }
    let count = all.len();
    let on_all_slots = |(i, factor): (usize, Diagonals)| {
        let diagonal = |(shift, mut diagonal): (i64, Vec<Complex64>)| {
            diagonal = diagonal.repeat(slots / period);
            (lifted(shift, slots, period, has_largest(i, count, direction)), diagonal)
        };
        let kept = factor.into_iter().filter(|(_, diagonal)| diagonal.iter().any(|entry| entry.norm_sqr() != 0.0));
        kept.map(diagonal).collect()
    };
    all.into_iter().enumerate().map(on_all_slots).collect()
}

/// Products of layers on vectors of one period.
fn periodic_factors(period: usize, log_radices: &[u32], direction: Direction) -> Vec<Diagonals> {
    let mut sizes = layer_sizes(period, direction).into_iter();
    let mut all: Vec<Diagonals> = Vec::new();
    for &log_radix in log_radices {
        let mut factor: Option<Diagonals> = None;
        for m in sizes.by_ref().take(log_radix as usize) {
            let layer = layer(period, m, direction);
            factor = Some(match factor {
                Some(factor) => compose(period, &layer, &factor),
                None => layer,
            });
        }
        all.extend(factor);
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
                let diagonals = factors(1 << log_n, 1 << log_n, &radices, direction);
                let expected: Vec<BTreeSet<i64>> =
                    diagonals.iter().map(|factor| factor.keys().copied().collect()).collect();
                assert_eq!(
                    shifts(1 << log_n, 1 << log_n, &radices, direction),
                    expected,
                    "{direction:?} {log_n} {radices:?}"
                );
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
            let slots = apply(&factors(n, n, &down, Direction::SlotsToCoeffs), &values);
            // Every stage doubles the values at most and rounds a few times.
            let bound = n as f64 * 16.0 * f64::from(log_n) * f64::EPSILON;
            for (got, expected) in slots.iter().zip(&expected) {
                assert!((got - expected).norm() <= bound, "n = {n}: {got} {expected}");
            }
            let back = apply(&factors(n, n, &up, Direction::CoeffsToSlots), &slots);
            for (got, expected) in back.iter().zip(&values) {
                assert!((got - 0.5 * expected).norm() <= bound, "n = {n}: {got} {expected}");
            }
        }
    }

    #[test]
    fn factors_have_their_radix_in_diagonals_and_period() {
        let slots = 512;
        for (factor, (count, period)) in
            factors(slots, slots, &[3, 3, 3], Direction::SlotsToCoeffs).iter().zip([(15, 8), (15, 64), (8, 512)])
        {
            assert_eq!(factor.len(), count);
            for diagonal in factor.values() {
                assert!((0..slots).all(|j| diagonal[j] == diagonal[j % period]), "{count} diagonals, period {period}");
            }
        }
    }

    #[test]
    fn periodic_factors_act_on_a_period_as_the_maps_of_fewer_slots() {
        let (slots, all) = (64, [2, 2, 2]);
        for direction in [Direction::SlotsToCoeffs, Direction::CoeffsToSlots] {
            for period in [2usize, 4, 8, 16, 32] {
                let radices = restricted(&all, period.trailing_zeros(), direction);
                let kept = factors(slots, period, &radices, direction);
                let expected: Vec<BTreeSet<i64>> = kept.iter().map(|f| f.keys().copied().collect()).collect();
                assert_eq!(shifts(slots, period, &radices, direction), expected, "{direction:?}, period {period}");
                let one: Vec<_> = numbers(1, 2 * period).chunks(2).map(|z| Complex64::new(z[0], z[1])).collect();
                let few = apply(&factors(period, period, &radices, direction), &one);
                // Sums of the same terms in another order of shifts.
                let bound = period as f64 * 64.0 * f64::EPSILON;
                for (got, expected) in apply(&kept, &one.repeat(slots / period)).iter().zip(few.repeat(slots / period))
                {
                    assert!((got - expected).norm() <= bound, "{direction:?}, period {period}");
                }
            }
        }
    }

    #[test]
    fn factors_keep_the_smallest_layers() {
        use Direction::{CoeffsToSlots, SlotsToCoeffs};
        assert_eq!(restricted(&[5, 4, 3], 8, SlotsToCoeffs), [5, 3]);
        assert_eq!(restricted(&[3, 4, 5], 8, CoeffsToSlots), [3, 5]);
        assert_eq!(restricted(&[3, 4, 5], 12, CoeffsToSlots), [3, 4, 5]);
        assert_eq!(restricted(&[3, 4, 5], 1, CoeffsToSlots), [1]);
    }
}
