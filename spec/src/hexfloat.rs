//! Hexadecimal floats: every real number in a Touchstone file is written so that it is read back bit for bit.

use crate::SpecError;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// A finite binary64 number that is written as text such as `0x1.8p+1`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Default)]
pub struct HexFloat(pub f64);

impl HexFloat {
    /// Reads `[-]0x1.HHHp[+-]D`, at most 13 hexadecimal digits after the point; also `0x0p+0`.
    ///
    /// # Errors
    /// [`SpecError::HexFloat`] for any other text and for values outside the normal and subnormal range.
    pub fn parse(text: &str) -> Result<Self, SpecError> {
        let bad = || SpecError::HexFloat { text: text.to_owned() };
        let (negative, body) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let body = body.strip_prefix("0x").ok_or_else(bad)?;
        let (mantissa, exponent) = body.split_once('p').ok_or_else(bad)?;
        let exponent: i32 = exponent.parse().map_err(|_| bad())?;
        let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        if fraction.len() > 13 || !fraction.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(bad());
        }
        let lead = match integer {
            "0" => 0u64,
            "1" => 1,
            _ => return Err(bad()),
        };
        let digits = format!("{fraction:0<13}");
        let fraction = u64::from_str_radix(&digits, 16).map_err(|_| bad())?;
        let bits = assemble(lead, fraction, exponent).ok_or_else(bad)?;
        let value = f64::from_bits(bits);
        Ok(Self(if negative { -value } else { value }))
    }
}

/// The bit pattern of `(lead + fraction / 2^52) * 2^exponent` where binary64 holds it.
fn assemble(lead: u64, fraction: u64, exponent: i32) -> Option<u64> {
    match (lead, exponent) {
        (0, _) if fraction == 0 => Some(0),
        (0, -1022) => Some(fraction),
        (1, -1022..=1023) => Some((((exponent + 1023) as u64) << 52) | fraction),
        _ => None,
    }
}

impl fmt::Display for HexFloat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.0.to_bits();
        let sign = if bits >> 63 == 1 { "-" } else { "" };
        let exponent = ((bits >> 52) & 0x7ff) as i32;
        let fraction = bits & ((1 << 52) - 1);
        let digits = format!("{fraction:013x}");
        let digits = digits.trim_end_matches('0');
        let point = if digits.is_empty() { "" } else { "." };
        match (exponent, fraction) {
            (0, 0) => write!(f, "{sign}0x0p+0"),
            (0, _) => write!(f, "{sign}0x0{point}{digits}p-1022"),
            _ => write!(f, "{sign}0x1{point}{digits}p{:+}", exponent - 1023),
        }
    }
}

impl Serialize for HexFloat {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !self.0.is_finite() {
            return Err(serde::ser::Error::custom("a NaN or infinite value has no hexadecimal float"));
        }
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HexFloat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_bit_for_bit() {
        let edges = [0.0, -0.0, 1.0, -1.5, 3.2, f64::MIN_POSITIVE, 5e-324, f64::MAX, f64::EPSILON];
        let drawn = (1..2000u64).map(|i| f64::from_bits(i.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
        for x in edges.into_iter().chain(drawn).filter(|x| x.is_finite()) {
            let text = HexFloat(x).to_string();
            assert_eq!(HexFloat::parse(&text).unwrap().0.to_bits(), x.to_bits(), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_not_a_hex_float() {
        for text in ["", "1.5", "0x", "0x1.8", "0x2p+0", "0x1.gp+0", "0x1.00000000000000p+0", "0x1p+1024", "nan"] {
            assert!(HexFloat::parse(text).is_err(), "{text:?} was accepted");
        }
    }
}
