//! `polynomials.json`: what replaces the non-polynomial functions, and how large the stream becomes.

use super::{ModelConfig, site_names};
use crate::SpecError;
use crate::hexfloat::HexFloat;
use serde::{Deserialize, Serialize};

/// Version tag of `polynomials.json`.
pub const POLYNOMIALS_FORMAT: &str = "touchstone-polynomials-1";

/// `polynomials.json`: what replaces each non-polynomial function of the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Polynomials {
    /// [`POLYNOMIALS_FORMAT`].
    pub format: String,
    /// How the intervals were found: data, number of tokens, margin.
    pub calibration: String,
    /// One entry per site, in the order in which the model meets them.
    pub sites: Vec<Site>,
    /// Size of the residual stream after each block, or nothing (`r[artifact.streams]`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub streams: Vec<Stream>,
}

/// Size of the residual stream at one tap (`r[artifact.streams]`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stream {
    /// `layers.I.residual`.
    pub tap: String,
    /// Largest absolute value of an entry seen in calibration.
    pub observed: HexFloat,
    /// Absolute value that no entry may exceed.
    pub limit: HexFloat,
}

/// One replaced function (`r[artifact.site]`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// `layers.I.inverse-sqrt`, `layers.I.reciprocal`, `layers.I.gelu` or `final.inverse-sqrt`; a sequential-residual
    /// block has `layers.I.mlp-inverse-sqrt` too. Encoders: `r[encoder.sites]`.
    pub site: String,
    /// The function that is replaced.
    pub function: Function,
    /// Smallest and largest input seen in calibration.
    pub observed: [HexFloat; 2],
    /// Interval on which the replacement is certified.
    pub interval: [HexFloat; 2],
    /// Chebyshev coefficients `c_0, c_1, ...` on `interval`: `sum_k c_k T_k((2x - a - b) / (b - a))`.
    pub coefficients: Vec<HexFloat>,
    /// Iterations that refine the polynomial's value.
    pub refinement: Refinement,
    /// Certified supremum of the error on `interval`, refinement included, in exact arithmetic.
    pub sup_error: HexFloat,
    /// Whether `sup_error` is absolute or relative to the function's value.
    pub error_kind: ErrorKind,
}

/// The functions that a model replaces.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Function {
    /// `1 / sqrt(x + shift)`.
    InverseSqrt {
        /// The LayerNorm epsilon.
        shift: HexFloat,
    },
    /// `1 / (x + shift)`.
    Reciprocal {
        /// The Power-Softmax epsilon.
        shift: HexFloat,
    },
    /// `x (1 + erf(x / sqrt 2)) / 2`.
    Gelu,
    /// The hyperbolic tangent.
    Tanh,
}

/// Iterations after the polynomial (`r[approx.refinement]`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Refinement {
    /// The polynomial alone.
    None,
    /// Newton: `y (3 - (x + shift) y^2) / 2` for inverse square roots, `y (2 - (x + shift) y)` for reciprocals.
    Newton {
        /// Number of iterations.
        iterations: u32,
    },
}

/// What a certified error is relative to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// `|polynomial - function|`.
    Absolute,
    /// `|polynomial / function - 1|`.
    Relative,
}

impl Polynomials {
    /// Reads and checks `polynomials.json` against its model (`r[artifact.polynomials]`).
    ///
    /// # Errors
    /// [`SpecError::Json`] for malformed text; [`SpecError::Field`] for a wrong format tag, a missing or unexpected site,
    /// an empty interval, a number of coefficients outside `1..=4096`, or streams that do not fit.
    pub fn from_json(text: &str, config: &ModelConfig) -> Result<Self, SpecError> {
        Self::from_json_for(text, &site_names(config))
    }

    /// [`Self::from_json`] for a model with the given sites.
    ///
    /// # Errors
    /// As [`Self::from_json`].
    pub fn from_json_for(text: &str, sites: &[String]) -> Result<Self, SpecError> {
        let polynomials: Self = serde_json::from_str(text)
            .map_err(|source| SpecError::Json { what: "polynomials.json".to_owned(), source })?;
        let field = |what: &str, expected: String, got: String| SpecError::Field {
            what: format!("polynomials.json, {what}"),
            expected,
            got,
        };
        if polynomials.format != POLYNOMIALS_FORMAT {
            return Err(field("format", POLYNOMIALS_FORMAT.to_owned(), polynomials.format));
        }
        let expected = sites.join(", ");
        let got: Vec<&str> = polynomials.sites.iter().map(|site| site.site.as_str()).collect();
        if got.join(", ") != expected {
            return Err(field("sites", expected, got.join(", ")));
        }
        polynomials.check_streams()?;
        for site in &polynomials.sites {
            let [a, b] = site.interval.map(|x| x.0);
            if a >= b {
                return Err(field(&site.site, "an interval [a, b] with a < b".to_owned(), format!("[{a}, {b}]")));
            }
            let count = site.coefficients.len();
            if !(1..=4096).contains(&count) {
                return Err(field(&site.site, "1..=4096 coefficients".to_owned(), count.to_string()));
            }
        }
        Ok(polynomials)
    }

    /// One stream per layer or none, in order, each with `0 < observed <= limit` (`r[artifact.streams]`).
    fn check_streams(&self) -> Result<(), SpecError> {
        // Every layer of either graph has exactly one of these sites.
        let layers = self.sites.iter().filter(|site| site.site.ends_with(".gelu")).count();
        let refuse = |field: &str, expected: String, got: String| {
            Err(SpecError::Field { what: format!("polynomials.json, {field}"), expected, got })
        };
        if !self.streams.is_empty() && self.streams.len() != layers {
            return refuse("streams", format!("none or one per layer, {layers}"), self.streams.len().to_string());
        }
        for (layer, stream) in self.streams.iter().enumerate() {
            let (tap, [observed, limit]) = (stream_tap(layer), [stream.observed.0, stream.limit.0]);
            if stream.tap != tap {
                return refuse("streams", tap, stream.tap.clone());
            }
            if !(observed > 0.0 && observed <= limit && limit.is_finite()) {
                return refuse(&tap, "0 < observed <= limit".to_owned(), format!("{observed} and {limit}"));
            }
        }
        Ok(())
    }

    /// Largest absolute value of the stream after `layer`, if the artifact states it.
    #[must_use]
    pub fn stream_limit(&self, layer: usize) -> Option<f64> {
        self.streams.get(layer).map(|stream| stream.limit.0)
    }

    /// The entry called `name`, if there is one.
    #[must_use]
    pub fn site(&self, name: &str) -> Option<&Site> {
        self.sites.iter().find(|site| site.site == name)
    }
}

/// Tap whose size a stream states: the residual stream after `layer`.
#[must_use]
pub fn stream_tap(layer: usize) -> String {
    format!("layers.{layer}.residual")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A document with one layer and the given streams.
    fn read(streams: &str) -> Result<Polynomials, SpecError> {
        let site = |name: &str| {
            format!(
                r#"{{"site": "{name}", "function": {{"kind": "gelu"}}, "observed": ["0x0p+0", "0x1p+0"],
                "interval": ["-0x1p+0", "0x1p+0"], "coefficients": ["0x0p+0"], "refinement": {{"kind": "none"}},
                "sup_error": "0x1p+0", "error_kind": "absolute"}}"#
            )
        };
        let text = format!(
            r#"{{"format": "{POLYNOMIALS_FORMAT}", "calibration": "none", "sites": [{}, {}]{streams}}}"#,
            site("layers.0.gelu"),
            site("final.inverse-sqrt")
        );
        Polynomials::from_json_for(&text, &["layers.0.gelu".to_owned(), "final.inverse-sqrt".to_owned()])
    }

    fn stream(tap: &str, observed: &str, limit: &str) -> String {
        format!(r#", "streams": [{{"tap": "{tap}", "observed": "{observed}", "limit": "{limit}"}}]"#)
    }

    /// Rule: `r[artifact.streams]`.
    #[test]
    fn streams_are_optional_and_survive_a_round_trip() {
        let without = read("").unwrap();
        assert_eq!(without.stream_limit(0), None);
        assert!(!serde_json::to_string(&without).unwrap().contains("streams"));
        let with = read(&stream("layers.0.residual", "0x1.8p+1", "0x1p+2")).unwrap();
        assert_eq!((with.stream_limit(0), with.stream_limit(1)), (Some(4.0), None));
        let sites: Vec<String> = with.sites.iter().map(|site| site.site.clone()).collect();
        assert_eq!(Polynomials::from_json_for(&serde_json::to_string(&with).unwrap(), &sites).unwrap(), with);
    }

    #[test]
    fn streams_that_do_not_fit_are_refused() {
        let two = r#"{"tap": "layers.0.residual", "observed": "0x1p+0", "limit": "0x1p+0"}"#;
        for (streams, part) in [
            (stream("layers.1.residual", "0x1p+0", "0x1p+1"), "layers.0.residual"),
            (stream("layers.0.residual", "0x1p+1", "0x1p+0"), "observed <= limit"),
            (stream("layers.0.residual", "0x0p+0", "0x1p+0"), "0 < observed"),
            (format!(r#", "streams": [{two}, {two}]"#), "one per layer, 1"),
        ] {
            let text = read(&streams).unwrap_err().to_string();
            assert!(text.contains(part), "{text:?} lacks {part:?}");
        }
    }
}
