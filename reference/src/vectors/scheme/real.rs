//! Cases with real values: decoding, and the size of fresh errors.

use super::setup::{Operands, Setup};
use crate::bounds::noise;
use crate::error::ReferenceError;
use crate::vectors::noise::{bound, expectation};
use touchstone_spec::hexfloat::HexFloat;
use touchstone_spec::vector::{Accept, Call, Case, Value};

/// Failure probability of a statistical case (`r[vector.statistical]`).
const FAILURE: f64 = 1.0 / (1u64 << 40) as f64;

/// Decoding of coefficients (`r[ckks.decode]`).
pub fn decode(setup: &Setup) -> Result<Vec<Case>, ReferenceError> {
    let o = Operands::draw(setup, 1, false, 1, 60)?;
    let mut spike = vec![0i64; setup.params.n()];
    spike[setup.params.n() - 1] = 1 << 41;
    let table: [(&str, &str, &[i64]); 2] = [
        ("uniform", "Random coefficients of 42 bits.", &o.coefficients),
        ("one-coefficient", "One coefficient: every slot has the same modulus and its own angle.", &spike),
    ];
    let case = |(name, about, coefficients): (&str, &str, &[i64])| {
        let plain = crate::ckks::Plaintext::from_coefficients(&setup.params, coefficients, 1, o.scale)?;
        let decoded = setup.encoder.decode(&plain)?;
        let parts: Vec<f64> = decoded.slots.iter().flat_map(|z| [z.re, z.im]).collect();
        // Rounding a part to binary64 is covered by the decoder's own radius.
        let radii = vec![decoded.radius; parts.len()];
        let length: f64 = coefficients.iter().map(|&c| (c as f64).abs()).sum();
        let limit = bound("vector.bound.decode", &[("binary64 transform", 2f64.powi(-44) * length / o.scale)]);
        let inputs = [
            ("coefficients", Value::integers(coefficients)),
            ("level", Value::integer(1)),
            ("scale", Value::real(o.scale)),
        ];
        Ok(Case {
            id: format!("scheme/decode/{}/{name}", setup.params.name()),
            rule: "ckks.decode".to_owned(),
            about: about.to_owned(),
            flags: Vec::new(),
            call: Call { op: "decode".to_owned(), inputs: inputs.map(|(k, v)| (k.to_owned(), v)).into() },
            encrypted: Vec::new(),
            taps: Vec::new(),
            outputs: vec![expectation("slots", &parts, &radii, limit)?],
            accept: Accept::Interval,
        })
    };
    table.into_iter().map(case).collect()
}

/// Errors of encryptions of zero: their deviation is a property that no accuracy test sees (`r[vector.statistical]`).
pub fn noise(setup: &Setup) -> Result<Vec<Case>, ReferenceError> {
    let params = &setup.params;
    let level = 2;
    let h = params.secret_weight();
    let fresh = noise::fresh_secret().total;
    let rotated = fresh + noise::keyswitch(params, level, h)?.total;
    // A ternary secret of few coefficients has a weight far from its mean, on which all but the first depend.
    let mut table = vec![("encrypt-secret", "noise.fresh.secret", fresh, 2.0)];
    if params.n() >= 1 << 12 {
        table.extend([
            ("encrypt-public", "noise.fresh.public", noise::fresh_public(params, h).total, 6.5),
            ("rescale", "noise.rescale", noise::rescale(fresh, params.q()[level], h).total, 6.5),
            ("rotate", "noise.keyswitch", rotated, 6.5),
        ]);
    }
    let draws = (1usize << 14).div_ceil(params.n());
    let case = |(method, rule, variance, kurtosis): (&str, &str, f64, f64)| {
        let samples = (draws * params.n()) as f64;
        let width = 0.5 * (kurtosis / samples).sqrt() * noise::tail_factor(FAILURE, 1)?;
        let predicted = variance.sqrt();
        let inputs = [("method", Value::word(method)), ("level", Value::integer(level))];
        Ok(Case {
            id: format!("scheme/noise/{}/{method}", params.name()),
            rule: rule.to_owned(),
            about: "Standard deviation of the error coefficients of encryptions of zero; both ends matter.".to_owned(),
            flags: vec!["too-little-noise".to_owned()],
            call: Call { op: "fresh-error".to_owned(), inputs: inputs.map(|(k, v)| (k.to_owned(), v)).into() },
            encrypted: Vec::new(),
            taps: Vec::new(),
            outputs: Vec::new(),
            accept: Accept::Statistical {
                draws: draws.to_string(),
                predicted: HexFloat(predicted),
                low: HexFloat(predicted * (1.0 - width)),
                high: HexFloat(predicted * (1.0 + width)),
                rule: rule.to_owned(),
            },
        })
    };
    table.into_iter().map(case).collect()
}
