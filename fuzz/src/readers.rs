//! What is checked of each reader: no panic, no memory beyond the limit that the book states, and, where there is a writer,
//! that what was read is written and read back as the same value.
//!
//! Every function returns whether the bytes were accepted.

use super::models::{checkpoints, decoder, encoder};
use cap::Cap;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use std::alloc::System;
use std::io::Cursor;
use std::path::Path;
use std::sync::OnceLock;
use touchstone_ckks::ckks::serialise::{
    read_ciphertexts, read_evaluation_keys, read_header, read_public_key, read_secret_key, write_ciphertexts,
    write_evaluation_keys, write_public_key, write_secret_key,
};
use touchstone_ckks::{Context, Parameters, Security};
use touchstone_llm::artifact as fast;
use touchstone_reference::{ckks as exact, model};
use touchstone_spec::SpecError;
use touchstone_spec::artifact::{EncoderConfig, ModelConfig, Polynomials, site_names};
use touchstone_spec::hexfloat::HexFloat;
use touchstone_spec::params::ParameterLiteral;
use touchstone_spec::protocol::{Answer, Closed, Dropped, Fetched, Greeting, Opened, Ran, Request, Stored};
use touchstone_spec::vector::{Call, Value, VectorFile};

/// Counts memory; a request above the limit fails, which ends the process.
#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

/// What every reader may hold besides what its rule allows per byte.
const BASE: usize = 1 << 16;

/// A reader's check.
pub type Check = fn(&[u8]) -> bool;

/// All readers by the name of their target.
pub const ALL: [(&str, Check); 14] = [
    ("secret_key", secret_key),
    ("public_key", public_key),
    ("evaluation_keys", evaluation_keys),
    ("ciphertexts", ciphertexts),
    ("checkpoint", checkpoint),
    ("parameters", parameters),
    ("decoder_config", decoder_config),
    ("encoder_config", encoder_config),
    ("polynomials", polynomials),
    ("vectors", vectors),
    ("protocol", protocol),
    ("hexfloat", hexfloat),
    ("decoder_weights", decoder_weights),
    ("encoder_weights", encoder_weights),
];

/// Runs `read` with at most `bytes` more memory than is in use now.
fn limited<T>(bytes: usize, read: impl FnOnce() -> T) -> T {
    // Fails only if other threads hold more meanwhile; the readers run alone.
    let set = |limit| MEMORY.set_limit(limit).is_ok();
    assert!(set(MEMORY.allocated() + bytes));
    let result = read();
    assert!(set(usize::MAX));
    result
}

/// Presets of the binary formats: without and with keys for bootstrapping.
fn contexts() -> &'static [Context; 2] {
    static CONTEXTS: OnceLock<[Context; 2]> = OnceLock::new();
    CONTEXTS.get_or_init(|| {
        ["toy-n5", "toy-n5-boot"].map(|preset| {
            let parameters = Parameters::preset(preset, Security::AllowInsecure).expect("a preset");
            Context::new(parameters).expect("a context")
        })
    })
}

/// The context of the parameter set that a header names.
fn context(data: &[u8]) -> &'static Context {
    let contexts = contexts();
    let named = read_header(data).map(|header| header.fingerprint);
    let own = |context: &&Context| named.as_ref().is_ok_and(|named| *named == context.parameters().fingerprint());
    contexts.iter().find(own).unwrap_or(&contexts[0])
}

/// Limit of `r[format.memory]`.
fn object_limit(context: &Context, data: &[u8]) -> usize {
    let parameters = context.parameters();
    let limbs = parameters.chain().len() + parameters.special().len();
    24 * data.len() + 8 * (8 * parameters.n() * limbs) + BASE
}

/// Limit of `r[format.memory.text]`.
fn text_limit(data: &[u8]) -> usize {
    256 * data.len() + BASE
}

macro_rules! object {
    ($name:ident, $read:ident, $write:ident, $equal:expr, $about:literal) => {
        #[doc = $about]
        pub fn $name(data: &[u8]) -> bool {
            let context = context(data);
            let Ok(value) = limited(object_limit(context, data), || $read(data, context)) else {
                return false;
            };
            let mut written = Vec::new();
            $write(&mut written, context, &value).expect("what was read can be written");
            let again = $read(&written[..], context).expect("what was written can be read");
            assert!($equal(&value, &again), "another value after writing and reading");
            true
        }
    };
}

object!(
    secret_key,
    read_secret_key,
    write_secret_key,
    |a: &touchstone_ckks::SecretKey, b: &touchstone_ckks::SecretKey| a.coefficients() == b.coefficients(),
    "Secret keys (`r[format.secret-key]`)."
);
object!(public_key, read_public_key, write_public_key, PartialEq::eq, "Public keys (`r[format.public-key]`).");
object!(
    evaluation_keys,
    read_evaluation_keys,
    write_evaluation_keys,
    PartialEq::eq,
    "Evaluation keys (`r[format.evaluation-keys]`)."
);
object!(
    ciphertexts,
    read_ciphertexts,
    write_ciphertexts,
    |a: &Vec<touchstone_ckks::Ciphertext>, b: &Vec<touchstone_ckks::Ciphertext>| a == b,
    "Lists of ciphertexts (`r[format.ciphertexts]`)."
);

/// Checkpoints (`r[generate.resume]`) without the hash at their end: a file with a wrong one is not read any further. A cache of keys and values is read by
/// the same functions.
pub fn checkpoint(data: &[u8]) -> bool {
    let context = &contexts()[0];
    let own = checkpoints(context);
    let read = |data: &[u8]| own.read(Cursor::new([data, &Sha256::digest(data)].concat()), Path::new("checkpoint"));
    let limit = object_limit(context, data) + text_limit(&data[..data.len().min(1 << 16)]);
    let Ok(state) = limited(limit, || read(data)) else { return false };
    let mut written = Vec::new();
    own.write(&mut written, &state).expect("what was read can be written");
    let again = read(&written[..written.len() - 32]).expect("what was written can be read");
    assert!(state == again, "another value after writing and reading");
    true
}

/// Reads text by `read` within the limit, writes it as JSON and reads it again.
fn document<T: Serialize + PartialEq>(data: &[u8], read: impl Fn(&str) -> Result<T, SpecError>) -> Option<T> {
    let text = std::str::from_utf8(data).ok()?;
    let value = limited(text_limit(data), || read(text)).ok()?;
    let written = serde_json::to_string(&value).expect("what was read can be written");
    let again = read(&written).unwrap_or_else(|error| panic!("{error}: {written}"));
    assert!(value == again, "another value after writing and reading: {written}");
    Some(value)
}

fn json<T: DeserializeOwned>(text: &str) -> Result<T, SpecError> {
    serde_json::from_str(text).map_err(|source| SpecError::Json { what: "message".to_owned(), source })
}

/// Parameter sets, read and then checked by both sides; the reference has no limits that the engine lacks.
pub fn parameters(data: &[u8]) -> bool {
    let Some(literal) = document(data, |text| ParameterLiteral::from_json("parameters", text)) else {
        return false;
    };
    let fast = limited(text_limit(data), || Parameters::from_literal(&literal, Security::AllowInsecure));
    let exact = limited(text_limit(data), || exact::Parameters::new(&literal));
    if let (Ok(_), Err(error)) = (&fast, &exact) {
        panic!("the engine takes parameters that the reference refuses: {error}");
    }
    fast.is_ok()
}

/// `config.json` of decoders (`r[artifact.config]`).
pub fn decoder_config(data: &[u8]) -> bool {
    let Some(config) = document(data, ModelConfig::from_json) else { return false };
    assert!(config.rotary_size() <= config.head_size() && config.head_size() > 0);
    assert!((0..config.num_hidden_layers).all(|layer| config.score_scale(layer) > 0.0));
    !site_names(&config).is_empty()
}

/// `config.json` of encoders (`r[encoder.config]`).
pub fn encoder_config(data: &[u8]) -> bool {
    let Some(config) = document(data, EncoderConfig::from_json) else { return false };
    assert!(config.max_tokens() > 0 && config.head_size() > 0);
    !config.site_names().is_empty()
}

/// `polynomials.json` of the smallest decoder (`r[artifact.polynomials]`).
pub fn polynomials(data: &[u8]) -> bool {
    let sites = site_names(&decoder(true));
    document(data, |text| Polynomials::from_json_for(text, &sites)).is_some()
}

/// Vector files and calls (`r[vector.file]`, `r[vector.case]`), with every conversion of their values.
pub fn vectors(data: &[u8]) -> bool {
    let call = document(data, |text| Call::from_json("call", text));
    if let Some(call) = &call {
        call.inputs.values().for_each(convert);
    }
    let Some(file) = document(data, |text| VectorFile::from_json("vectors", text)) else {
        return call.is_some();
    };
    for case in file.cases() {
        case.call.inputs.values().for_each(convert);
        case.taps.iter().chain(&case.outputs).for_each(|expected| convert(&expected.value));
    }
    true
}

/// Every way in which a value can be taken; errors are fine.
fn convert(value: &Value) {
    let _ = value.as_real("value");
    let _ = value.as_integer::<u64>("value");
    let _ = value.as_integer::<i64>("value");
    let _ = value.as_reals("value");
    let _ = value.as_rows("value");
    let _ = value.flatten("value");
    let _ = value.field("value", "polys");
}

/// Protocol messages in both directions (`r[protocol.request]`, `r[protocol.answer]`).
pub fn protocol(data: &[u8]) -> bool {
    let read = [
        document(data, json::<Request>).is_some(),
        document(data, json::<Answer<Greeting>>).is_some(),
        document(data, json::<Answer<Opened>>).is_some(),
        document(data, json::<Answer<Stored>>).is_some(),
        document(data, json::<Answer<Fetched>>).is_some(),
        document(data, json::<Answer<Ran>>).is_some(),
        document(data, json::<Answer<Dropped>>).is_some(),
        document(data, json::<Answer<Closed>>).is_some(),
    ];
    read.contains(&true)
}

/// Hexadecimal floats (`r[notation.hexfloat]`).
pub fn hexfloat(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let Ok(value) = limited(text_limit(data), || HexFloat::parse(text)) else { return false };
    let written = value.to_string();
    let again = HexFloat::parse(&written).expect("what was written can be read");
    assert_eq!(again.0.to_bits(), value.0.to_bits(), "{written}");
    true
}

/// Limit of `r[artifact.memory]`: the header is text, the reference's weights become binary64.
fn weights_limit(data: &[u8]) -> usize {
    let length = data.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let header = usize::try_from(length).map_or(data.len(), |length| length.min(data.len()));
    256 * header + 8 * data.len() + BASE
}

/// Weights of decoders, by both readers, which must agree.
pub fn decoder_weights(data: &[u8]) -> bool {
    let limit = weights_limit(data);
    let mut accepted = false;
    for config in [decoder(false), decoder(true)] {
        let none =
            Polynomials { format: String::new(), calibration: String::new(), sites: Vec::new(), streams: Vec::new() };
        let copy = config.clone();
        let fast = limited(limit, || fast::Model::read(copy, none, data));
        let exact = limited(limit, || model::read_model(&config, data));
        assert_eq!(fast.is_ok(), exact.is_ok(), "one reader refuses");
        if let (Ok(fast), Ok(exact)) = (fast, exact) {
            let widened = |data: &[f32]| data.iter().map(|&x| x.into()).collect::<Vec<f64>>();
            assert_eq!(widened(&fast.embedding.data), exact.embedding.values);
            assert_eq!(fast.layers[0].down.bias, exact.layers[0].down.bias);
            assert_eq!(widened(&fast.head.data), exact.head.values);
            accepted = true;
        }
    }
    accepted
}

/// Weights of encoders.
pub fn encoder_weights(data: &[u8]) -> bool {
    let config = encoder();
    limited(weights_limit(data), || model::read_encoder(&config, data)).is_ok()
}
