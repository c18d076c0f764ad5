//! The forms of Power-Softmax on one row of scores.

use super::scalar::{Real, Ring};
use crate::error::ReferenceError;
use crate::rungs::Replacement;
use touchstone_spec::artifact::Function;

/// Which form of Power-Softmax is meant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form {
    /// `x_j^p / sum_i x_i^p` (`r[psm.ideal]`).
    Ideal,
    /// `x_j^p / (eps + sum_i x_i^p)` (`r[psm.sum-eps]`).
    Sum,
    /// `(x_j^p / n) / (eps + (1/n) sum_i x_i^p)` (`r[psm.definition]`), the form of models.
    Mean,
    /// The mean form evaluated on scores divided by their largest magnitude plus `delta` (`r[psm.stable]`).
    Stable {
        /// Keeps the divisor positive.
        delta: f64,
    },
}

/// Attention weights of one row of live scores; `power` is even in `2..=12` and `eps` sits where the form says.
///
/// # Errors
/// [`ReferenceError::BadOperand`] for an empty row, a power that is not admitted, an `eps` that is not positive and
/// finite (the ideal form ignores it), a `delta` that is not positive and finite, or a denominator that may be zero (a
/// row of zeros in the ideal form has no value).
pub fn power_softmax<S: Real>(
    form: Form,
    scores: &[S],
    power: u32,
    eps: f64,
    context: S::Context,
) -> Result<Vec<S>, ReferenceError> {
    check(form, scores.len(), power, eps)?;
    let eps = S::point(if form == Form::Ideal { 0.0 } else { eps }, context);
    let (scores, eps) = match form {
        Form::Stable { delta } => {
            let largest = scores.iter().fold(S::point(0.0, context), |most, x| most.max(&x.abs()));
            let scale = largest.add(&S::point(delta, context));
            (scores.iter().map(|x| x.div(&scale)).collect(), eps.div(&scale.powi(power)))
        }
        _ => (scores.to_vec(), eps),
    };
    let count = S::point(scores.len() as f64, context);
    let value = |x: &S| match form {
        Form::Ideal | Form::Sum => x.powi(power),
        Form::Mean | Form::Stable { .. } => x.powi(power).div(&count),
    };
    let powers: Vec<S> = scores.iter().map(value).collect();
    let denominator = powers.iter().fold(eps, |sum, y| sum.add(y));
    if denominator.may_be_zero() {
        return Err(refuse("a denominator other than zero", denominator.to_string()));
    }
    Ok(powers.iter().map(|y| y.div(&denominator)).collect())
}

/// Attention weights of a whole row: masked scores count as 0 and get the weight 0, `n` is the number of live keys
/// (`r[psm.mask]`).
///
/// # Errors
/// As [`power_softmax`]; [`ReferenceError::BadOperand`] for a mask of another length or without a live key.
pub fn masked_power_softmax<S: Real>(
    form: Form,
    scores: &[S],
    mask: &[bool],
    power: u32,
    eps: f64,
    context: S::Context,
) -> Result<Vec<S>, ReferenceError> {
    if mask.len() != scores.len() {
        return Err(refuse(&format!("a mask of {} entries", scores.len()), mask.len().to_string()));
    }
    let live: Vec<S> = scores.iter().zip(mask).filter(|(_, live)| **live).map(|(x, _)| x.clone()).collect();
    if live.is_empty() && !scores.is_empty() {
        return Err(refuse("at least one live key", "a mask of zeros".to_owned()));
    }
    let mut weights = power_softmax(form, &live, power, eps, context)?.into_iter();
    let zero = S::point(0.0, context);
    let weight = |&live: &bool| if live { weights.next() } else { None }.unwrap_or_else(|| zero.clone());
    Ok(mask.iter().map(weight).collect())
}

/// Attention weights of one row of live scores with a replaced reciprocal: `(x_j^p / n) rho((1/n) sum_i x_i^p)`
/// (`r[psm.polynomial]`).
///
/// # Errors
/// [`ReferenceError::BadOperand`] for an empty row, a power that is not admitted, or a replacement of another function;
/// what the replacement refuses.
pub fn polynomial_power_softmax<S: Ring>(
    scores: &[S],
    power: u32,
    reciprocal: &Replacement,
    context: S::Context,
) -> Result<Vec<S>, ReferenceError> {
    let Function::Reciprocal { shift } = reciprocal.function() else {
        return Err(refuse("a replacement of 1 / (x + eps)", format!("{:?}", reciprocal.function())));
    };
    check(Form::Mean, scores.len(), power, shift.0)?;
    let count = S::constant(scores.len() as f64, context);
    let powers: Vec<S> = scores.iter().map(|x| x.powi(power).over(&count)).collect();
    let factor = reciprocal.value(&S::sum(&powers, context), context)?;
    Ok(powers.iter().map(|y| y.mul(&factor)).collect())
}

fn check(form: Form, count: usize, power: u32, eps: f64) -> Result<(), ReferenceError> {
    if count == 0 {
        return Err(refuse("at least one score", "an empty row".to_owned()));
    }
    if !(2..=12).contains(&power) || !power.is_multiple_of(2) {
        return Err(refuse("an even power p in 2..=12", format!("p = {power}")));
    }
    if form != Form::Ideal && !(eps.is_finite() && eps > 0.0) {
        return Err(refuse("a finite eps > 0", format!("eps = {eps}")));
    }
    match form {
        Form::Stable { delta } if !(delta.is_finite() && delta > 0.0) => {
            Err(refuse("a finite delta > 0", format!("delta = {delta}")))
        }
        _ => Ok(()),
    }
}

fn refuse(expected: &str, got: String) -> ReferenceError {
    ReferenceError::BadOperand { operation: "Power-Softmax", expected: expected.to_owned(), got }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interval::Interval;
    use proptest::prelude::*;
    use rug::Rational;

    const PREC: u32 = 128;

    fn points(scores: &[f64]) -> Vec<Interval> {
        scores.iter().map(|&x| Interval::from_f64(x, PREC)).collect()
    }

    fn total(weights: &[Interval]) -> Interval {
        weights.iter().fold(Interval::from_f64(0.0, PREC), |sum, w| &sum + w)
    }

    /// The worked example of the paper's definition: (2, 1, 0, -1) with p = 4 gives (16, 1, 0, 1) / 18.
    #[test]
    fn worked_example() {
        let weights = power_softmax(Form::Ideal, &points(&[2.0, 1.0, 0.0, -1.0]), 4, 0.0, PREC).unwrap();
        for (weight, numerator) in weights.iter().zip([16, 1, 0, 1]) {
            let exact = Interval::from_rational(&Rational::from((numerator, 18)), 4 * PREC);
            assert!(weight.encloses(&exact), "{weight} does not contain {numerator}/18");
        }
    }

    /// The forms differ once eps > 0 (`r[psm.eps]`): totals .643, .999 and .310 of the documented example, the second
    /// being eps on the sum of scores divided by the row's maximum.
    #[test]
    fn eps_sits_in_different_places() {
        let scores = [0.2, 0.1, 0.0, -0.1];
        let scaled: Vec<f64> = scores.iter().map(|x| x / 0.2).collect();
        for (form, scores, expected) in
            [(Form::Sum, &scores[..], 0.643), (Form::Sum, &scaled[..], 0.999), (Form::Mean, &scores[..], 0.310)]
        {
            let sum = total(&power_softmax(form, &points(scores), 4, 1e-3, PREC).unwrap()).mid().to_f64();
            // The documentation gives three decimals.
            assert!((sum - expected).abs() <= 0.0005, "{form:?}: {sum}");
        }
    }

    #[test]
    fn refuses_what_has_no_value() {
        let zeros = points(&[0.0, 0.0]);
        let ones = points(&[1.0, 1.0]);
        assert!(power_softmax(Form::Ideal, &zeros, 4, 0.0, PREC).is_err());
        assert!(power_softmax(Form::Mean, &zeros, 4, 1e-3, PREC).is_ok());
        assert!(power_softmax(Form::Mean, &ones, 3, 1e-3, PREC).is_err());
        assert!(power_softmax(Form::Mean, &ones, 0, 1e-3, PREC).is_err());
        assert!(power_softmax(Form::Mean, &ones, 4, -1.0, PREC).is_err());
        assert!(power_softmax(Form::Stable { delta: 0.0 }, &ones, 4, 1e-3, PREC).is_err());
        assert!(power_softmax::<Interval>(Form::Mean, &[], 4, 1e-3, PREC).is_err());
        assert!(power_softmax(Form::Mean, &ones, 14, 1e-3, PREC).is_err());
        assert!(power_softmax(Form::Sum, &ones, 4, 0.0, PREC).is_err());
        assert!(masked_power_softmax(Form::Mean, &ones, &[true], 4, 1e-3, PREC).is_err());
        assert!(masked_power_softmax(Form::Mean, &ones, &[false, false], 4, 1e-3, PREC).is_err());
    }

    /// Masked keys weigh nothing and do not count; every even power up to 12, also far outside binary64.
    #[test]
    fn masks_drop_keys() {
        let scores = points(&[1e300, 3.0, -2e300, 1e-300]);
        let mask = [true, false, true, false];
        for p in [2, 4, 6, 8, 10, 12] {
            for form in [Form::Ideal, Form::Sum, Form::Mean, Form::Stable { delta: 1e-6 }] {
                let masked = masked_power_softmax(form, &scores, &mask, p, 1e-3, PREC).unwrap();
                let live = power_softmax(form, &points(&[1e300, -2e300]), p, 1e-3, PREC).unwrap();
                assert_eq!([&masked[0], &masked[2]], [&live[0], &live[1]]);
                assert_eq!([&masked[1], &masked[3]], [&Interval::from_f64(0.0, PREC); 2]);
                // 1 : 2^p, and eps does not matter at this size.
                let expected = Interval::from_rational(&Rational::from((1, 1 + (1u64 << p))), PREC);
                assert!((&live[0] - &expected).magnitude() < 1e-35, "p = {p}, {form:?}: {}", live[0]);
            }
        }
    }

    proptest! {
        /// Laws of `r[psm.definition]`: weights are in [0, 1], their sum is S / (eps + S) with S the mean power, the
        /// sign of scores does not matter, order is carried along, larger magnitudes weigh no less; the stable form
        /// is the same function.
        ///
        /// Rules: `r[psm.laws]`.
        #[test]
        fn laws(scores in prop::collection::vec(-3.0..3.0f64, 1..12), p in prop::sample::select(vec![2u32, 4, 6, 8, 10, 12]), eps in 1e-4..0.5f64) {
            let weights = power_softmax(Form::Mean, &points(&scores), p, eps, PREC).unwrap();
            prop_assert!(weights.iter().all(|w| *w.lo() >= 0 && *w.lo() <= 1));
            let powers: Vec<Interval> = points(&scores).iter().map(|x| x.powi(p)).collect();
            let mean = &total(&powers) / &Interval::from_f64(scores.len() as f64, PREC);
            let sum = &mean / &(&mean + &Interval::from_f64(eps, PREC));
            prop_assert!((&total(&weights) - &sum).contains_zero());

            let flipped: Vec<f64> = scores.iter().map(|x| -x).collect();
            prop_assert_eq!(&power_softmax(Form::Mean, &points(&flipped), p, eps, PREC).unwrap(), &weights);

            let reversed: Vec<f64> = scores.iter().rev().copied().collect();
            for (a, b) in power_softmax(Form::Mean, &points(&reversed), p, eps, PREC).unwrap().iter().rev().zip(&weights) {
                prop_assert!((a - b).contains_zero());
            }
            for i in 0..scores.len() {
                for j in 0..scores.len() {
                    if scores[i].abs() >= scores[j].abs() {
                        prop_assert!(weights[i].hi() >= weights[j].lo());
                    }
                }
            }
            for (a, b) in power_softmax(Form::Stable { delta: 0.25 }, &points(&scores), p, eps, PREC).unwrap().iter().zip(&weights) {
                prop_assert!((a - b).contains_zero(), "stable {a}, definition {b}");
                prop_assert!(a.rad() < 1e-30, "the comparison must be sharp");
            }
        }
    }
}
