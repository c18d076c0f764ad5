//! How two sets of values are compared (`r[conform.bound]`, `r[conform.nan]`).
//!
//! Every comparison of real values in a conformance run goes through [`compare`], so that there is one place where a
//! NaN, a wrong length or a single bad slot could hide, and one set of planted-error tests that shows it cannot.

use crate::ConformError;

/// What a value should be: a midpoint with a certified radius, and the error that is allowed on top of it.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// Midpoint of the reference value.
    pub mid: f64,
    /// Certified radius of the reference value.
    pub rad: f64,
    /// Bound on the error of the implementation.
    pub bound: f64,
}

/// Result of comparing one tap.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// Largest distance from a midpoint.
    pub max_error: f64,
    /// Root mean square distance.
    pub rms: f64,
    /// Index of the largest ratio of error to allowance.
    pub worst_index: usize,
    /// Error at that index.
    pub worst_error: f64,
    /// Allowance (bound plus radius) at that index.
    pub worst_allowance: f64,
}

impl Comparison {
    /// Whether every value is inside its allowance.
    #[must_use]
    pub fn conforms(&self) -> bool {
        self.worst_error <= self.worst_allowance
    }

    /// Bits between allowance and error at the worst index; negative if the value is out of bound.
    #[must_use]
    pub fn slack_bits(&self) -> f64 {
        (self.worst_allowance / self.worst_error).log2()
    }
}

/// Compares `got` with `expected`, value by value.
///
/// # Errors
/// [`ConformError::Length`] if the lengths differ or are zero; [`ConformError::NotFinite`] for the first value, bound
/// or radius that is not finite, and for negative bounds and radii.
pub fn compare(what: &str, expected: &[Expected], got: &[f64]) -> Result<Comparison, ConformError> {
    if expected.len() != got.len() || got.is_empty() {
        return Err(ConformError::Length { what: what.to_owned(), expected: expected.len(), got: got.len() });
    }
    let mut result =
        Comparison { max_error: 0.0, rms: 0.0, worst_index: 0, worst_error: 0.0, worst_allowance: f64::INFINITY };
    let mut worst_ratio = -1.0;
    let mut squares = 0.0;
    for (index, (want, &value)) in expected.iter().zip(got).enumerate() {
        let admissible = want.mid.is_finite() && want.rad >= 0.0 && want.bound >= 0.0 && value.is_finite();
        if !admissible || !want.rad.is_finite() || !want.bound.is_finite() {
            return Err(ConformError::NotFinite { what: what.to_owned(), index, expected: *want, got: value });
        }
        let error = (value - want.mid).abs();
        let allowance = want.bound + want.rad;
        let ratio = if error == 0.0 { 0.0 } else { error / allowance };
        squares += error * error;
        result.max_error = result.max_error.max(error);
        if ratio > worst_ratio {
            worst_ratio = ratio;
            result.worst_index = index;
            result.worst_error = error;
            result.worst_allowance = allowance;
        }
    }
    result.rms = (squares / got.len() as f64).sqrt();
    Ok(result)
}

/// Root mean square of differences over predicted deviations, over the values that have one; `None` if no value has.
///
/// # Errors
/// [`ConformError::Length`] if the lengths differ.
pub fn standardised_rms(
    what: &str,
    expected: &[Expected],
    deviations: &[f64],
    got: &[f64],
) -> Result<Option<f64>, ConformError> {
    if let Some(wrong) = [deviations.len(), got.len()].into_iter().find(|length| *length != expected.len()) {
        return Err(ConformError::Length { what: what.to_owned(), expected: expected.len(), got: wrong });
    }
    let ratios = expected.iter().zip(deviations).zip(got).filter(|((_, deviation), _)| **deviation > 0.0);
    let (mut squares, mut count) = (0.0, 0usize);
    for ((want, deviation), value) in ratios {
        squares += ((value - want.mid) / deviation).powi(2);
        count += 1;
    }
    Ok((count > 0).then(|| (squares / count as f64).sqrt()))
}

/// The `x < 1` with `(x^2 e^(1 - x^2))^(groups / 2) = failure`: a smaller standardised rms is too little noise
/// (`r[noise.too-little]`).
#[must_use]
pub fn least_rms(groups: usize, failure: f64) -> f64 {
    let (mut low, mut high) = (0.0f64, 1.0f64);
    let target = 2.0 * failure.ln() / groups.max(1) as f64;
    for _ in 0..200 {
        let x = (low + high) / 2.0;
        if 2.0 * x.ln() + 1.0 - x * x < target { low = x } else { high = x }
    }
    low
}

/// What the bound says about the predicted token (`r[conform.token]`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenVerdict {
    /// Same token, and the margin made any other impossible.
    Same,
    /// The margin is within the bound: no statement, whichever token came out.
    Undecided {
        /// Whether the tokens happen to agree.
        agrees: bool,
    },
    /// Another token although the margin exceeds the bound.
    Different,
}

/// Compares the largest logits of `expected` and `got` under the allowance of each logit.
///
/// # Errors
/// As [`compare`]; a vocabulary of one token has no margin and is a length error.
pub fn compare_token(expected: &[Expected], got: &[f64]) -> Result<TokenVerdict, ConformError> {
    if got.len() < 2 {
        let what = "logits".to_owned();
        return Err(ConformError::Length { what, expected: expected.len().max(2), got: got.len() });
    }
    compare("logits", expected, got)?;
    let first = largest(expected.iter().map(|want| want.mid));
    let agrees = first == largest(got.iter().copied());
    let allowance = |i: usize| expected[i].bound + expected[i].rad;
    let apart = |i: usize| expected[first].mid - expected[i].mid > allowance(first) + allowance(i);
    let decided = (0..expected.len()).all(|i| i == first || apart(i));
    Ok(match decided {
        true if agrees => TokenVerdict::Same,
        true => TokenVerdict::Different,
        false => TokenVerdict::Undecided { agrees },
    })
}

/// Index of the largest value; the smallest index wins a tie.
pub(crate) fn largest(values: impl Iterator<Item = f64>) -> usize {
    let start = (0, f64::NEG_INFINITY);
    values.enumerate().fold(start, |best, (i, value)| if value > best.1 { (i, value) } else { best }).0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(values: &[f64], bound: f64) -> Vec<Expected> {
        values.iter().map(|&mid| Expected { mid, rad: 0.0, bound }).collect()
    }

    #[test]
    fn one_bad_slot_among_many_decides() {
        let expected = exact(&vec![1.0; 4096], 1e-6);
        let mut got = vec![1.0; 4096];
        got[2077] += 2e-6;
        let comparison = compare("planted", &expected, &got).unwrap();
        assert!(!comparison.conforms());
        assert_eq!(comparison.worst_index, 2077);
        assert!(comparison.rms < 1e-7, "the average hides what the maximum shows");
    }

    #[test]
    fn the_ratio_decides_where_bounds_differ() {
        let mut expected = exact(&[0.0, 0.0], 1.0);
        expected[1].bound = 1e-3;
        let comparison = compare("planted", &expected, &[0.5, 2e-3]).unwrap();
        assert_eq!((comparison.worst_index, comparison.max_error), (1, 0.5));
        assert!(!comparison.conforms() && comparison.slack_bits() < 0.0);
    }

    #[test]
    fn the_radius_is_part_of_the_allowance() {
        let expected = [Expected { mid: 1.0, rad: 0.5, bound: 0.25 }];
        assert!(compare("inside", &expected, &[1.75]).unwrap().conforms());
        assert!(!compare("outside", &expected, &[1.75 + 1e-9]).unwrap().conforms());
    }

    #[test]
    fn zero_allowance_admits_equality_only() {
        let expected = exact(&[1.0, 2.0], 0.0);
        assert!(compare("equal", &expected, &[1.0, 2.0]).unwrap().conforms());
        assert!(!compare("not equal", &expected, &[1.0, 2.0 + f64::EPSILON * 2.0]).unwrap().conforms());
    }

    /// Rules: `r[conform.nan]`.
    #[test]
    fn nan_infinity_and_wrong_lengths_are_errors() {
        let expected = exact(&[0.0, 0.0], 1.0);
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(matches!(compare("v", &expected, &[0.0, bad]), Err(ConformError::NotFinite { index: 1, .. })));
        }
        assert!(matches!(compare("v", &expected, &[0.0]), Err(ConformError::Length { expected: 2, got: 1, .. })));
        assert!(matches!(compare("v", &[], &[]), Err(ConformError::Length { .. })));
        assert!(compare("v", &exact(&[0.0], f64::NAN), &[0.0]).is_err());
        assert!(compare("v", &exact(&[0.0], -1.0), &[0.0]).is_err());
    }

    /// Rules: `r[noise.too-little]`.
    #[test]
    fn little_noise_is_told_from_enough() {
        // 64 groups: a tenth of the deviation is far too little, the deviation itself is not.
        let least = least_rms(64, 2f64.powi(-40));
        assert!((0.3..0.6).contains(&least), "{least}");
        assert!(least_rms(1, 2f64.powi(-40)) < 1e-11 && least_rms(4096, 2f64.powi(-40)) > 0.9);
        let bound = |x: f64| (x * x * (1.0 - x * x).exp()).powi(32);
        assert!((bound(least) / 2f64.powi(-40) - 1.0).abs() < 1e-9);
        let expected = exact(&[0.0, 0.0, 5.0], 1.0);
        let rms = |got: &[f64]| standardised_rms("v", &expected, &[0.5, 0.25, 0.0], got).unwrap().unwrap();
        assert!((rms(&[0.5, 0.25, 9.0]) - 1.0).abs() < 1e-15);
        assert!((rms(&[0.05, 0.0, 5.0]) - 0.1 / 2f64.sqrt()).abs() < 1e-15);
        assert_eq!(standardised_rms("v", &expected, &[0.0; 3], &[1.0; 3]).unwrap(), None);
        assert!(standardised_rms("v", &expected, &[0.0; 2], &[1.0; 3]).is_err());
        assert!(standardised_rms("v", &expected, &[0.0; 3], &[1.0; 2]).is_err());
    }

    #[test]
    fn token_verdicts_follow_the_margin() {
        let reference = |bound| exact(&[0.0, 1.0, 0.9], bound);
        assert_eq!(compare_token(&reference(0.04), &[0.0, 0.95, 0.92]).unwrap(), TokenVerdict::Same);
        assert_eq!(compare_token(&reference(0.04), &[0.0, 0.9, 1.0]).unwrap(), TokenVerdict::Different);
        let open = TokenVerdict::Undecided { agrees: false };
        assert_eq!(compare_token(&reference(0.1), &[0.0, 0.9, 1.0]).unwrap(), open);
        // A logit with a wide bound of its own leaves the token open though it is not the second largest.
        let mut wide = reference(0.04);
        wide[0].bound = 2.0;
        assert_eq!(compare_token(&wide, &[0.0, 1.0, 0.9]).unwrap(), TokenVerdict::Undecided { agrees: true });
        assert!(compare_token(&reference(0.1), &[0.0, f64::NAN, 0.0]).is_err());
        assert!(compare_token(&exact(&[1.0], 0.1), &[1.0]).is_err());
    }
}
