//! Messages of the plug-in protocol (`spec/book/protocol.md`): one JSON object per line.

use crate::params::ParameterLiteral;
use crate::vector::Value;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version that `hello` names.
pub const PROTOCOL: &str = "touchstone-protocol-1";

/// What the runner sends (`r[protocol.request]`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case")]
pub enum Request {
    /// The first request (`r[protocol.hello]`).
    Hello {
        /// [`PROTOCOL`].
        protocol: String,
    },
    /// Makes keys (`r[protocol.open]`).
    Open(Box<Open>),
    /// Stores an input (`r[protocol.put]`).
    Put {
        /// Session of the answer to `open`.
        session: String,
        /// Ciphertext record, or rows of reals.
        value: Value,
    },
    /// Reads a handle (`r[protocol.get]`).
    Get {
        /// Session.
        session: String,
        /// Handle of the answer to `put` or `run`.
        handle: String,
        /// Residues or decrypted.
        form: Form,
    },
    /// Forgets a handle.
    Drop {
        /// Session.
        session: String,
        /// Handle.
        handle: String,
    },
    /// Runs an operation (`r[protocol.run]`).
    Run(Run),
    /// Ends a session.
    Close {
        /// Session.
        session: String,
    },
}

/// Fields of `open`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Open {
    /// Preset's name.
    pub preset: String,
    /// The preset in full.
    pub parameters: ParameterLiteral,
    /// Seed of all draws, 32 hexadecimal digits, or null.
    pub seed: Option<String>,
    /// Rotations for which keys are needed, decimal.
    pub rotations: Vec<String>,
    /// Whether a conjugation key is needed.
    pub conjugation: bool,
}

/// Fields of `run`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Session.
    pub session: String,
    /// Id of the case, for the backend's own messages.
    pub case: String,
    /// Operation.
    pub op: String,
    /// Inputs: values, or records `{"handle": H}`.
    pub inputs: BTreeMap<String, Value>,
    /// Intermediate values asked for.
    pub taps: Vec<String>,
}

/// How a handle is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// Residues of the ciphertext.
    Residues,
    /// Decrypted rows of reals.
    Slots,
}

/// What a backend writes (`r[protocol.answer]`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer<T> {
    /// The verb's result.
    Ok(T),
    /// Not done (`r[protocol.skip]`).
    Skipped(Skip),
    /// Refused or failed (`r[protocol.error]`).
    Error(Failure),
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Skip {
    /// In words.
    pub reason: String,
    /// Address of an issue, or `by design`.
    pub issue: String,
}

/// An error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// One of [`ERROR_KINDS`].
    pub kind: String,
    /// In words.
    pub message: String,
}

/// Kinds of error (`r[protocol.error]`).
pub const ERROR_KINDS: [&str; 10] = [
    "level",
    "scale",
    "level-exhausted",
    "missing-key",
    "argument",
    "malformed",
    "unsupported",
    "session",
    "handle",
    "internal",
];

/// Answer to `hello`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Greeting {
    /// [`PROTOCOL`].
    pub protocol: String,
    /// Name of the backend.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Implementation language.
    pub language: String,
    /// Feature tags (`r[vector.features]`).
    pub features: Vec<String>,
}

/// Answer to `open`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opened {
    /// Name of the session.
    pub session: String,
    /// Chain primes really used, decimal.
    pub chain: Vec<String>,
    /// Special primes really used, decimal.
    pub special: Vec<String>,
    /// Scale of the top level really used, hexadecimal float.
    pub scale: String,
    /// Size of all keys in bytes, decimal.
    pub key_bytes: String,
}

/// Answer to `put`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stored {
    /// Name of the stored input.
    pub handle: String,
    /// Its level, decimal.
    pub level: String,
    /// Its scale, hexadecimal float.
    pub scale: String,
}

/// Answer to `get`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fetched {
    /// Ciphertext record or rows of reals.
    pub value: Value,
    /// Level, decimal.
    pub level: String,
    /// Scale, hexadecimal float.
    pub scale: String,
}

/// Answer to `run`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ran {
    /// Results: values, or records `{"handle": H}`.
    pub outputs: BTreeMap<String, Value>,
    /// Intermediate values, likewise.
    pub taps: BTreeMap<String, Value>,
    /// Wall time of the operation; reported, never compared.
    pub seconds: f64,
    /// Peak memory in bytes, or 0 where unknown.
    pub peak_bytes: u64,
}

/// Answer to `drop`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dropped {}

/// Answer to `close`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Closed {
    /// Operations run, decimal.
    pub operations: String,
    /// Their wall time.
    pub seconds: f64,
}

/// The record that stands for a stored value.
#[must_use]
pub fn handle(name: &str) -> Value {
    Value::Record(BTreeMap::from([("handle".to_owned(), Value::word(name))]))
}

/// The name of a handle, if the value is one.
#[must_use]
pub fn as_handle(value: &Value) -> Option<&str> {
    let Value::Record(fields) = value else { return None };
    match (fields.len(), fields.get("handle")) {
        (1, Some(Value::Text(name))) => Some(name),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_the_documented_form() {
        let get = Request::Get { session: "s".into(), handle: "h".into(), form: Form::Residues };
        let line = serde_json::to_string(&get).unwrap();
        assert_eq!(line, r#"{"verb":"get","session":"s","handle":"h","form":"residues"}"#);
        let skipped: Answer<Ran> = serde_json::from_str(r#"{"skipped":{"reason":"no","issue":"by design"}}"#).unwrap();
        assert!(matches!(skipped, Answer::Skipped(_)));
        for bad in [
            "{}",
            r#"{"ok":{}}"#,
            r#"{"error":{"kind":"level"}}"#,
            r#"{"ok":{"handle":1,"level":"0","scale":"0x1p+0"}}"#,
        ] {
            assert!(serde_json::from_str::<Answer<Stored>>(bad).is_err(), "{bad}");
        }
        assert_eq!(as_handle(&handle("x")), Some("x"));
        assert_eq!(as_handle(&Value::word("x")), None);
    }
}
