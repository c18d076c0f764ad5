//! Checks of the section for bootstrapping (`r[boot.params]`).

use super::refuse;
use crate::CkksError;
use touchstone_spec::params::{BootstrapLiteral, ParameterLiteral};

/// Largest failure probability of a bootstrap that is admitted (`r[boot.params]`).
const FAILURE_LIMIT: f64 = 1.0 / (1u64 << 40) as f64;

/// The constants of `r[boot.params]`: they must fit each other, the ring and the levels.
pub(super) fn check(literal: &ParameterLiteral, scales: &[f64]) -> Result<(), CkksError> {
    let Some(boot) = &literal.bootstrap else { return Ok(()) };
    let n = 1usize << literal.log_n;
    if boot.ephemeral_weight == 0 || boot.ephemeral_weight > n {
        return refuse("bootstrap.ephemeral_weight", format_args!("1..={n}"), boot.ephemeral_weight);
    }
    if literal.p.first() < literal.q.first() {
        return refuse("p", format_args!("a first special prime of at least {}", literal.q[0]), literal.p[0]);
    }
    if !(1..=30).contains(&boot.message_ratio) || boot.double_angles > 16 {
        let got = format_args!("{}, {}", boot.message_ratio, boot.double_angles);
        return refuse("bootstrap.message_ratio, double_angles", "1..=30, 0..=16", got);
    }
    if wrap_failure(n, boot) > FAILURE_LIMIT || boot.range > 1 << 16 {
        let expected = format_args!("at most 65536, failure probability at most {FAILURE_LIMIT:e}");
        return refuse("bootstrap.range", expected, boot.range);
    }
    let even = boot.cosine.len() % 2 == 1 && boot.cosine.iter().skip(1).step_by(2).all(|c| c.0 == 0.0);
    let numbers = || boot.cosine.iter().chain(&boot.output).chain([&boot.cosine_error]);
    if !even || boot.cosine.len() > 1024 || numbers().any(|c| !c.0.is_finite()) {
        return refuse(
            "bootstrap.cosine",
            "finite coefficients, even degree up to 1022, the odd ones 0",
            boot.cosine.len(),
        );
    }
    if !(1..=3).contains(&boot.output.len()) || boot.output[0].0 <= 0.0 {
        return refuse("bootstrap.output", "one to three coefficients, the first positive", boot.output.len());
    }
    check_levels(literal, boot, scales)
}

fn check_levels(literal: &ParameterLiteral, boot: &BootstrapLiteral, scales: &[f64]) -> Result<(), CkksError> {
    let (to_coeffs, to_slots) = (&boot.slots_to_coeffs, &boot.coeffs_to_slots);
    for (field, factors) in [("bootstrap.slots_to_coeffs", to_coeffs), ("bootstrap.coeffs_to_slots", to_slots)] {
        let layers: u64 = factors.iter().map(|factor| u64::from(factor.log_radix)).sum();
        if layers + 1 != u64::from(literal.log_n) || factors.iter().any(|factor| factor.log_radix == 0) {
            return refuse(field, format_args!("radices of {} layers in all", literal.log_n - 1), layers);
        }
        if let Some(factor) = factors.iter().find(|factor| !(1.0..=2f64.powi(62)).contains(&factor.label.0)) {
            return refuse(field, "labels of 1 to 2^62", factor.label);
        }
    }
    let depth = boot.cosine.len().next_power_of_two().trailing_zeros() as usize;
    let cosine = depth + boot.pairs.len();
    let used = to_slots.len() + cosine + boot.double_angles as usize + [0, 2, 3][boot.output.len() - 1];
    let top = literal.max_level();
    if boot.output_level < to_coeffs.len() || boot.output_level + used != top {
        let expected = format_args!("at least {}, and {used} levels below the top level {top}", to_coeffs.len());
        return refuse("bootstrap.output_level", expected, boot.output_level);
    }
    let middle = top - to_slots.len();
    check_pairs(&boot.pairs, scales, middle - cosine, middle)?;
    let message = literal.q[0] as f64 / f64::from(boot.message_ratio).exp2();
    if to_coeffs.last().is_none_or(|factor| factor.label.0 != message) {
        return refuse("bootstrap.slots_to_coeffs", format_args!("a last label of {message:e}"), "another label");
    }
    let slots = scales[middle];
    if to_slots.last().is_none_or(|factor| factor.label.0 != slots) {
        return refuse("bootstrap.coeffs_to_slots", format_args!("a last label of {slots:e}"), "another label");
    }
    let above = scales[boot.output_level + 1];
    let linear = above * above / literal.q[boot.output_level + 1] as f64 / boot.output[0].0;
    if boot.output.len() == 1 && scales[boot.output_level] != linear {
        return refuse(
            "canonical_scales",
            format_args!("{linear:e} at level {}", boot.output_level),
            scales[boot.output_level],
        );
    }
    Ok(())
}

/// Pairs lie within the cosine's levels, `bottom` to `middle`, apart from each other, highest first. A summand with coefficient 1
/// must be an integer below `2^62`, whatever level it comes from; the argument, at `middle`, is none: the cosine is even.
fn check_pairs(pairs: &[usize], scales: &[f64], bottom: usize, middle: usize) -> Result<(), CkksError> {
    let mut free = middle + 1;
    for &pair in pairs {
        if pair >= free || pair < bottom + 2 {
            return refuse("bootstrap.pairs", format_args!("disjoint pairs of levels {bottom} to {middle}"), pair);
        }
        free = pair - 1;
        let largest = scales[pair..middle].iter().map(|scale| scales[pair] * scales[pair] / scale).fold(0.0, f64::max);
        if largest >= 2f64.powi(62) {
            return refuse("bootstrap.pairs", "summands below 2^62 at the level of a pair", largest);
        }
    }
    Ok(())
}

/// The bound of `r[boot.modraise.range]` on the probability that a bootstrap fails.
pub(crate) fn wrap_failure(n: usize, boot: &BootstrapLiteral) -> f64 {
    let (h, range) = (boot.ephemeral_weight as f64, f64::from(boot.range));
    if range >= (h + 1.0) / 2.0 + 0.25 {
        return 0.0;
    }
    let y = h / 2.0 - range + 0.5 + (-f64::from(boot.message_ratio)).exp2();
    // y^h / h!, factor by factor: neither power nor factorial leaves the range of binary64.
    let tail = |y: f64| (1..=boot.ephemeral_weight).map(|i| y.max(0.0) / i as f64).product::<f64>();
    n as f64 * (tail(y) + tail(y - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Parameters, Security};
    use touchstone_spec::hexfloat::HexFloat;
    use touchstone_spec::params::preset_names;

    fn refused_bootstrap(change: impl FnOnce(&mut ParameterLiteral, &mut BootstrapLiteral)) {
        let mut literal = ParameterLiteral::preset("toy-n8-boot").unwrap();
        let mut boot = literal.bootstrap.take().unwrap();
        change(&mut literal, &mut boot);
        literal.bootstrap = Some(boot);
        let error = Parameters::from_literal(&literal, Security::AllowInsecure).unwrap_err();
        assert!(matches!(error, CkksError::Parameters { .. }), "{error}");
    }

    #[test]
    fn bootstrapping_sections_that_do_not_fit_are_refused() {
        refused_bootstrap(|_, b| b.ephemeral_weight = 0);
        refused_bootstrap(|_, b| b.ephemeral_weight = 257);
        refused_bootstrap(|_, b| b.range = 11);
        refused_bootstrap(|_, b| b.range = 1 << 17);
        refused_bootstrap(|_, b| b.slots_to_coeffs[0].log_radix = 2);
        refused_bootstrap(|_, b| b.coeffs_to_slots[0].log_radix = u32::MAX);
        refused_bootstrap(|_, b| b.slots_to_coeffs[0].label = HexFloat(f64::NAN));
        refused_bootstrap(|_, b| b.slots_to_coeffs[1].label.0 *= 2.0);
        refused_bootstrap(|_, b| b.coeffs_to_slots[1].label.0 *= 2.0);
        refused_bootstrap(|_, b| b.message_ratio = u32::MAX);
        refused_bootstrap(|_, b| b.cosine[1] = HexFloat(0.1));
        refused_bootstrap(|_, b| b.cosine.clear());
        refused_bootstrap(|_, b| b.cosine.truncate(21));
        refused_bootstrap(|_, b| b.cosine[2] = HexFloat(f64::INFINITY));
        refused_bootstrap(|_, b| b.double_angles = u32::MAX);
        refused_bootstrap(|_, b| b.output.clear());
        refused_bootstrap(|_, b| b.output[0].0 *= 1.5);
        refused_bootstrap(|_, b| b.output.push(HexFloat(1.0)));
        refused_bootstrap(|_, b| b.output_level = 1);
        // Scales above and below the output level follow the recursion; the one at it is the section's.
        for level in [3, 5] {
            refused_bootstrap(|l, _| l.canonical_scales[level].0 *= 1.0 + 1e-15);
        }
    }

    #[test]
    fn pairs_that_do_not_fit_are_refused() {
        let preset = || ParameterLiteral::preset("toy-n5-boot-pair").unwrap();
        let parameters = Parameters::from_literal(&preset(), Security::AllowInsecure).unwrap();
        let pair = parameters.bootstrap().unwrap().pairs[0];
        assert_eq!((parameters.below(pair, 1), parameters.above(pair - 2)), (Some(pair - 2), pair));
        assert_eq!((parameters.below(pair + 1, 2), parameters.above(pair)), (Some(pair - 2), pair + 1));
        assert_eq!((parameters.below(1, 1), parameters.below(1, 2)), (Some(0), None));
        let changes: [fn(&mut Vec<usize>); 4] =
            [Vec::clear, |pairs| pairs[0] += 1, |pairs| pairs[0] = usize::MAX - 2, |pairs| pairs.push(pairs[0] - 1)];
        for change in changes {
            let mut literal = preset();
            change(&mut literal.bootstrap.as_mut().unwrap().pairs);
            let error = Parameters::from_literal(&literal, Security::AllowInsecure).unwrap_err();
            assert!(matches!(error, CkksError::Parameters { .. }), "{error}");
        }
        let mut scales = [2f64.powi(50); 11];
        assert!(check_pairs(&[9, 7], &scales, 5, 9).is_ok());
        for pairs in [[9, 8], [9, 9], [7, 9], [10, 8], [9, 6]] {
            assert!(check_pairs(&pairs, &scales, 5, 9).is_err(), "{pairs:?}");
        }
        scales[7] = 2f64.powi(56);
        assert!(check_pairs(&[7], &scales, 5, 9).is_err());
    }

    #[test]
    fn the_failure_probability_is_the_stated_one() {
        for name in preset_names() {
            let literal = ParameterLiteral::preset(name).unwrap();
            let Some(boot) = &literal.bootstrap else { continue };
            let bound = wrap_failure(1 << literal.log_n, boot);
            match literal.description.split_once("with probability below 2^") {
                None => assert_eq!(bound, 0.0, "{name}"),
                Some((_, bits)) => {
                    let stated = bits.parse::<f64>().unwrap().exp2();
                    assert!(bound <= stated && bound > stated / 2.0, "{name}: {bound:e} against {stated:e}");
                }
            }
        }
    }
}
