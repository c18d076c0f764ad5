//! Parameter literals and the presets that both sides share (`r[ckks.ring]`, `r[ckks.params.security]`).

use crate::SpecError;
use crate::hexfloat::HexFloat;
use serde::{Deserialize, Serialize};

/// A CKKS parameter set as written in a file; nothing in it has been checked yet.
///
/// Each side validates a literal on its own (primality, congruence, scale table, security).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParameterLiteral {
    /// Preset name.
    pub name: String,
    /// What the set is for.
    pub description: String,
    /// Ring degree is `2^log_n`.
    pub log_n: u32,
    /// Chain primes `q_0..q_L`.
    pub q: Vec<u64>,
    /// Special primes.
    pub p: Vec<u64>,
    /// Digit size alpha: consecutive chain primes per key-switching digit.
    pub digit_size: usize,
    /// Canonical scale of the top level.
    pub scale: HexFloat,
    /// Canonical scale of each level, index = level (`r[ckks.scale.canonical]`).
    pub canonical_scales: Vec<HexFloat>,
    /// Distribution of the secret.
    pub secret: SecretDistribution,
    /// Standard deviation of errors; only 3.2 is defined.
    pub sigma: HexFloat,
    /// The security that the set claims.
    pub security: SecurityClaim,
    /// Constants of bootstrapping, for sets that have levels for it (chapter `bootstrapping.md`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bootstrap: Option<BootstrapLiteral>,
}

/// The constants of bootstrapping (`r[boot.params]`).
///
/// A bootstrap takes a canonical ciphertext of level `slots_to_coeffs.len()` to a canonical one of level `output_level`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BootstrapLiteral {
    /// Hamming weight of the ephemeral secret.
    pub ephemeral_weight: usize,
    /// Level of a bootstrapped ciphertext; the canonical scales start anew there (`r[ckks.scale.canonical.sections]`).
    pub output_level: usize,
    /// Messages enter ModRaise at the scale `q_0 / 2^message_ratio`.
    pub message_ratio: u32,
    /// Factors of SlotsToCoeffs in order of application.
    pub slots_to_coeffs: Vec<MapFactor>,
    /// Factors of CoeffsToSlots in order of application.
    pub coeffs_to_slots: Vec<MapFactor>,
    /// EvalMod works on `t / range`, `|t| <= range - 1/4`, but for the failure probability of `r[boot.modraise.range]`.
    pub range: u32,
    /// Levels of the cosine's evaluation at which a step divides by two primes (`r[ckks.step]`), highest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pairs: Vec<usize>,
    /// Double-angle steps after the cosine.
    pub double_angles: u32,
    /// Chebyshev coefficients on `[-1, 1]` of `cos(2 pi range u / 2^double_angles)`; the odd ones are 0.
    pub cosine: Vec<HexFloat>,
    /// Largest error of that polynomial on `[-1, 1]`.
    pub cosine_error: HexFloat,
    /// One to three coefficients of `s`, `s^3`, `s^5` in the result, `s` the sine (`r[boot.output]`).
    pub output: Vec<HexFloat>,
}

/// One factor of SlotsToCoeffs or CoeffsToSlots (`r[boot.factors]`).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MapFactor {
    /// Number of butterfly layers in the factor.
    pub log_radix: u32,
    /// Scale label after the factor's rescale.
    pub label: HexFloat,
}

/// Distribution of the secret polynomial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum SecretDistribution {
    /// Each coefficient uniform in `{-1, 0, 1}` (`r[sample.ternary]`).
    UniformTernary,
    /// Exactly `weight` coefficients are `-1` or `1` (`r[sample.fixed-weight]`).
    FixedWeight {
        /// Hamming weight.
        weight: usize,
    },
}

/// What a parameter set says about its own security.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecurityClaim {
    /// For tests only.
    Insecure,
    /// 128 bits against classical attacks, by the table of `r[ckks.params.security]`.
    #[serde(rename = "classical-128")]
    Classical128,
}

/// `log2(QP)` limits for 128-bit classical security with ternary secrets, as `(log_n, bits)` (`r[ckks.params.security]`).
pub const CLASSICAL_128_TERNARY: [(u32, u32); 8] =
    [(10, 27), (11, 54), (12, 109), (13, 218), (14, 438), (15, 881), (16, 1747), (17, 3523)];

const PRESETS: [(&str, &str); 16] = [
    ("toy-n5", include_str!("../params/toy-n5.json")),
    ("toy-n5-deep", include_str!("../params/toy-n5-deep.json")),
    ("toy-n5-deepest", include_str!("../params/toy-n5-deepest.json")),
    ("toy-n5-boot", include_str!("../params/toy-n5-boot.json")),
    ("toy-n5-boot-pair", include_str!("../params/toy-n5-boot-pair.json")),
    ("toy-n8", include_str!("../params/toy-n8.json")),
    ("toy-n8-boot", include_str!("../params/toy-n8-boot.json")),
    ("toy-n9-deep", include_str!("../params/toy-n9-deep.json")),
    ("small-n12", include_str!("../params/small-n12.json")),
    ("small-n12-boot", include_str!("../params/small-n12-boot.json")),
    ("n15-leveled", include_str!("../params/n15-leveled.json")),
    ("n15-boot", include_str!("../params/n15-boot.json")),
    ("n16-leveled", include_str!("../params/n16-leveled.json")),
    ("n16-boot", include_str!("../params/n16-boot.json")),
    ("n16-boot-deep", include_str!("../params/n16-boot-deep.json")),
    ("n16-boot-17", include_str!("../params/n16-boot-17.json")),
];

impl ParameterLiteral {
    /// Reads a literal from JSON.
    ///
    /// # Errors
    /// [`SpecError::Json`] if the text does not have the form of a literal.
    pub fn from_json(what: &str, text: &str) -> Result<Self, SpecError> {
        serde_json::from_str(text).map_err(|source| SpecError::Json { what: what.to_owned(), source })
    }

    /// The preset called `name`.
    ///
    /// # Errors
    /// [`SpecError::UnknownPreset`] names the presets that exist.
    pub fn preset(name: &str) -> Result<Self, SpecError> {
        match PRESETS.iter().find(|(known, _)| *known == name) {
            Some((_, text)) => Self::from_json(name, text),
            None => Err(SpecError::UnknownPreset { name: name.to_owned(), known: preset_names().join(", ") }),
        }
    }

    /// Whether a step at `level` divides by two primes (`r[ckks.step]`).
    #[must_use]
    pub fn is_pair(&self, level: usize) -> bool {
        self.bootstrap.as_ref().is_some_and(|boot| boot.pairs.contains(&level))
    }

    /// The top level `L`: one less than the number of chain primes.
    #[must_use]
    pub fn max_level(&self) -> usize {
        self.q.len().saturating_sub(1)
    }
}

/// Names of all presets, smallest ring first.
#[must_use]
pub fn preset_names() -> Vec<&'static str> {
    PRESETS.iter().map(|(name, _)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_parse_and_have_one_scale_per_level() {
        for name in preset_names() {
            let literal = ParameterLiteral::preset(name).unwrap();
            assert_eq!(literal.name, name);
            assert_eq!(literal.canonical_scales.len(), literal.q.len(), "{name}");
            assert_eq!(literal.canonical_scales[literal.max_level()], literal.scale, "{name}");
        }
    }

    #[test]
    fn unknown_preset_names_the_known_ones() {
        let message = ParameterLiteral::preset("n99").unwrap_err().to_string();
        assert!(message.contains("n99") && message.contains("n16-leveled"), "{message}");
    }
}
