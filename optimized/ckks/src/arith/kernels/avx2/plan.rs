//! Where the transforms must reduce.
//!
//! Butterflies keep values unreduced between passes. This module follows the largest magnitude through the
//! passes with the bounds `T` and `R` proved in `lanes`, in units of `p`, and picks the cheapest set of
//! reductions that keeps
//!
//! - every factor of [`Field::mul_fixed`](super::lanes::Field::mul_fixed) within `LIMIT < 2^52`, and
//! - every sum within `2 LIMIT < 2^53`, where integers are exact.
//!
//! A 40-bit prime needs no reduction in the forward transform, a 49-bit prime one every few passes.

use crate::arith::Modulus;

/// Largest admitted magnitude of a factor, a little under `2^52`.
const LIMIT: f64 = 0.99 * 4_503_599_627_370_496.0;
/// Covers the second-order terms of the bounds and the rounding of this module's own arithmetic.
const SLACK: f64 = 1.0 + 1.0 / (1u64 << 40) as f64;

/// What one radix-4 inverse pass reduces. Its steps are `y0 = x0 + x1`, `y1 = (x0 - x1) w2`, `y2 = x2 + x3`,
/// `y3 = (x2 - x3) w3`; `z0 = y0 + y2`, `z1 = y1 + y3`, `z2 = (y0 - y2) w1`, `z3 = (y1 - y3) w1`.
pub(super) mod inverse {
    /// Nothing.
    pub const NONE: u8 = 0;
    /// `z0`.
    pub const SUM: u8 = 1;
    /// `z0` and `z1`.
    pub const SUMS: u8 = 2;
    /// `y0`, `y2` and `z1`.
    pub const EARLY: u8 = 3;
}

/// The reductions of both transforms of one prime and one length.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    /// Per radix-4 forward pass before the tail, first pass first: reduce `x0`?
    pub(super) forward: Vec<bool>,
    /// The same for both passes of the forward tail.
    pub(super) forward_tail: bool,
    /// For both passes of the inverse tail.
    pub(super) inverse_tail: u8,
    /// Per radix-4 inverse pass after the tail, first pass first. The last pass of all multiplies every
    /// output, so only `NONE` and `EARLY` occur there.
    pub(super) inverse: Vec<u8>,
}

/// Magnitudes are in units of `p`.
struct Bounds {
    limit: f64,
    /// `p 2^-53`, the growth of a product with its factor.
    slope: f64,
}

impl Bounds {
    /// `T`: a product with a factor of magnitude `x`.
    fn product(&self, x: f64) -> f64 {
        (0.5 + x * self.slope) * SLACK
    }

    /// `R`: a reduced value. `|x| 2^-53 <= 1` and `p >= 2^20` give the second term.
    fn reduced(&self) -> f64 {
        0.5 + 1.0 / (1u64 << 20) as f64
    }

    /// Forward radix-4 pass: `x0 (+-) x2 w1` and `x1 (+-) x3 w1`, the latter times a root, then their sums.
    fn forward(&self, x: f64, reduce: bool) -> Option<f64> {
        let y1 = x + self.product(x);
        let x0 = if reduce { self.reduced() } else { x };
        let out = x0 + self.product(x) + self.product(y1);
        (y1 <= self.limit && out <= self.limit).then_some(out)
    }

    /// Inverse radix-4 pass; `last` if every output is multiplied once more.
    fn inverse(&self, x: f64, mode: u8, last: bool) -> Option<f64> {
        let y0 = if mode == inverse::EARLY { self.reduced() } else { 2.0 * x };
        let z1 = 2.0 * self.product(2.0 * x);
        let fits = 2.0 * x <= self.limit && 2.0 * y0 <= self.limit && z1 <= self.limit;
        if last {
            let admitted = mode == inverse::NONE || mode == inverse::EARLY;
            return (fits && admitted).then(|| self.product((2.0 * y0).max(z1)));
        }
        let sum = if mode == inverse::SUM || mode == inverse::SUMS { self.reduced() } else { 2.0 * y0 };
        let z1_out = if mode == inverse::SUMS || mode == inverse::EARLY { self.reduced() } else { z1 };
        let out = [sum, z1_out, self.product(2.0 * y0), self.product(z1)];
        fits.then(|| out.into_iter().fold(0.0, f64::max))
    }
}

/// Relative costs of the inverse modes, in reductions per four values.
const INVERSE_COST: [u32; 4] = [0, 1, 2, 3];
const INVERSE_MODES: [u8; 4] = [inverse::NONE, inverse::SUM, inverse::SUMS, inverse::EARLY];

impl Plan {
    /// `passes` radix-4 passes outside the tail; `odd` adds a radix-2 pass at the outer end.
    pub(super) fn new(m: &Modulus, passes: usize, odd: bool) -> Self {
        let p = m.value() as f64;
        let bounds = Bounds { limit: LIMIT / p, slope: p / (1u64 << 53) as f64 };
        let (forward, forward_tail) = plan_forward(&bounds, passes, odd);
        let (inverse_tail, inverse) = plan_inverse(&bounds, passes, odd);
        Self { forward, forward_tail, inverse_tail, inverse }
    }
}

/// Reducing in every pass is admissible for all `p < 2^50` (the fixed point of the bound is near `2.1 p`), so
/// the search always succeeds; the tests run it at the extremes.
fn plan_forward(bounds: &Bounds, passes: usize, odd: bool) -> (Vec<bool>, bool) {
    let start = if odd { 1.0 + bounds.product(1.0) } else { 1.0 };
    let mut best = (u32::MAX, (vec![true; passes], true));
    for choice in 0..1u32 << (passes + 1) {
        let flag = |i: usize| choice >> i & 1 == 1;
        let cost = choice.count_ones() + u32::from(flag(passes));
        let through = |x, i| bounds.forward(x, flag(i));
        let fits = (0..passes).chain([passes, passes]).try_fold(start, through).is_some();
        if fits && cost < best.0 {
            best = (cost, ((0..passes).map(flag).collect(), flag(passes)));
        }
    }
    best.1
}

/// As `plan_forward`; `EARLY` everywhere is always admissible (its fixed point is `p`).
fn plan_inverse(bounds: &Bounds, passes: usize, odd: bool) -> (u8, Vec<u8>) {
    let mut best = (u32::MAX, (inverse::EARLY, vec![inverse::EARLY; passes]));
    for choice in 0..1u32 << (2 * (passes + 1)) {
        let mode = |i: usize| INVERSE_MODES[(choice >> (2 * i) & 3) as usize];
        let cost: u32 =
            (0..=passes).map(|i| INVERSE_COST[mode(i) as usize]).sum::<u32>() + INVERSE_COST[mode(0) as usize];
        if cost >= best.0 {
            continue;
        }
        let through = |x, i| bounds.inverse(x, mode(i), !odd && i == passes);
        let end = [0].into_iter().chain(0..=passes).try_fold(1.0, through);
        if end.is_some_and(|x| !odd || 2.0 * x <= bounds.limit) {
            best = (cost, (mode(0), (1..=passes).map(mode).collect()));
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replay(m: &Modulus, plan: &Plan, odd: bool) {
        let p = m.value() as f64;
        let bounds = Bounds { limit: LIMIT / p, slope: p / (1u64 << 53) as f64 };
        let mut x = if odd { 1.0 + bounds.product(1.0) } else { 1.0 };
        for &reduce in plan.forward.iter().chain(&[plan.forward_tail; 2]) {
            x = bounds.forward(x, reduce).expect("forward pass within bounds");
        }
        let mut x = 1.0;
        let modes: Vec<u8> = [plan.inverse_tail; 2].into_iter().chain(plan.inverse.iter().copied()).collect();
        for (i, &mode) in modes.iter().enumerate() {
            x = bounds.inverse(x, mode, !odd && i == modes.len() - 1).expect("inverse pass within bounds");
        }
        assert!(!odd || 2.0 * x <= bounds.limit);
    }

    /// The two largest primes below `2^50`, one of each smaller size, and the smallest.
    #[test]
    fn every_plan_keeps_its_bounds() {
        for p in [(1 << 50) - 27, (1 << 50) - 35, (1 << 49) - 81, (1 << 48) - 59, (1 << 40) - 87, (1 << 20) + 7] {
            let m = Modulus::new(p).expect("prime");
            for (passes, odd) in (0..=6).flat_map(|passes| [(passes, false), (passes, true)]) {
                if passes == 0 && !odd {
                    continue;
                }
                let plan = Plan::new(&m, passes, odd);
                replay(&m, &plan, odd);
                if p < 1 << 40 {
                    assert!(!plan.forward_tail && !plan.forward.contains(&true), "{p} reduces: {plan:?}");
                }
            }
        }
    }
}
