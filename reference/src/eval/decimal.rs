//! Intervals as decimal text that certainly encloses them.

use crate::interval::Interval;
use rug::Float;
use rug::float::Round;

/// Midpoints and one radius in decimal: every entry lies within the radius of its midpoint, both read as exact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decimal {
    /// One number per entry.
    pub mid: Vec<String>,
    /// Covers every entry's radius and the rounding of its midpoint to decimal.
    pub rad: String,
}

/// The entries in decimal, with as many digits as the precision of the intervals holds.
#[must_use]
pub fn decimal(values: &[Interval]) -> Decimal {
    let precision = values.iter().map(Interval::prec).max().unwrap_or(0).max(2);
    // One digit more than `precision` bits distinguish.
    let digits = (f64::from(precision) * std::f64::consts::LOG10_2) as usize + 2;
    let mut radius = Float::new(precision);
    let mid = values.iter().map(|value| {
        let text = value.mid().to_string_radix(10, Some(digits));
        // Read back with guard bits and rounded both ways, so that the distance is certain.
        let read = |round| Float::parse(&text).map(|parsed| Float::with_val_round(precision + 64, parsed, round).0);
        let read = match (read(Round::Down), read(Round::Up)) {
            (Ok(low), Ok(high)) => Interval::new(low, high),
            _ => Interval::whole(precision),
        };
        let distance = (value - &read).magnitude();
        if distance > radius {
            radius = Float::with_val_round(precision, &distance, Round::Up).0;
        }
        text
    });
    let mid = mid.collect();
    Decimal { mid, rad: radius.to_string_radix_round(10, Some(6), Round::Up) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rug::Rational;

    /// The exact value of decimal text.
    fn rational(text: &str) -> Rational {
        let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
        let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits: rug::Integer = format!("{integer}{fraction}").parse().unwrap();
        let shift = exponent.parse::<i32>().unwrap() - fraction.len() as i32;
        let ten = Rational::from(10);
        let power = rug::ops::Pow::pow(&ten, shift.unsigned_abs());
        let power = Rational::from(power);
        if shift < 0 { Rational::from(digits) / power } else { Rational::from(digits) * power }
    }

    proptest! {
        /// Midpoint plus and minus radius, as exact decimal numbers, enclose the interval, and the radius is at most a
        /// decimal digit wider than needed.
        #[test]
        fn text_encloses(x in -1e6..1e6f64, scale in -200..200i32, width in 0.0..1.0f64, precision in 24u32..300) {
            let x = x * 2f64.powi(scale);
            let value = Interval::from_f64_ends(x, x + x.abs() * width * 1e-5, precision);
            let text = decimal(std::slice::from_ref(&value));
            let [mid, rad] = [&text.mid[0], &text.rad].map(|text| rational(text));
            let [lo, hi] = [value.lo(), value.hi()].map(|end| end.to_rational().unwrap());
            prop_assert!(Rational::from(&mid - &rad) <= lo && hi <= Rational::from(&mid + &rad), "{text:?} {value:?}");
            let unit = value.magnitude().to_rational().unwrap() >> (precision - 2);
            let needed = Rational::from(&hi - &lo) / 2u32;
            prop_assert!(rad <= &needed * Rational::from((1001, 1000)) + unit);
        }
    }
}
