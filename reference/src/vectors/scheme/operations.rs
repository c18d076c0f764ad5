//! The operations, in the order of the book.

use super::setup::{Operands, Part, Residues, Setup};
use crate::ckks::{self, Ciphertext, Evaluator, KeySwitchKey, rotation_element};
use crate::error::ReferenceError;
use crate::ring::Poly;

/// Results and intermediate values of one operation.
pub struct Computed {
    pub taps: Vec<(&'static str, Part)>,
    pub outputs: Vec<(&'static str, Part)>,
}

type Result<T> = std::result::Result<T, ReferenceError>;

/// One operation of the table.
#[derive(Clone, Copy)]
pub struct Operation {
    /// Part of case ids.
    pub name: &'static str,
    /// File in which its cases stand.
    pub file: &'static str,
    /// Name in the protocol.
    pub op: &'static str,
    pub rule: &'static str,
    pub about: &'static str,
    /// Names of inputs.
    pub inputs: &'static [&'static str],
    /// Whether it reads residues, so that extreme ones matter.
    pub residues: bool,
    /// Whether it needs a level above 0.
    pub consumes_level: bool,
    pub compute: fn(&Setup, &Operands) -> Result<Computed>,
}

impl Operation {
    /// Inputs that are ciphertexts.
    pub fn ciphertexts(&self) -> Vec<String> {
        let is_cipher = |name: &&&str| ["a", "b", "triple"].contains(*name);
        self.inputs.iter().filter(is_cipher).map(|&name| name.to_owned()).collect()
    }
}

/// All operations.
pub fn all() -> Vec<Operation> {
    [keys(), client(), linear(), products(), automorphisms()].concat()
}

const BASE: Operation = Operation {
    name: "",
    file: "",
    op: "",
    rule: "",
    about: "",
    inputs: &["a"],
    residues: true,
    consumes_level: false,
    compute: |setup, o| cipher(setup, &o.a),
};

fn cipher(setup: &Setup, c: &Ciphertext) -> Result<Computed> {
    Ok(Computed { taps: Vec::new(), outputs: vec![("result", part(setup, c)?)] })
}

fn part(setup: &Setup, c: &Ciphertext) -> Result<Part> {
    Residues::of(&setup.params, c).map(Part::Residues)
}

/// Polynomials of a level without a scale.
fn polys(setup: &Setup, level: usize, polys: &[&Poly]) -> Result<Part> {
    let chain = setup.params.chain(level)?;
    let polys = polys.iter().map(|poly| poly.residues(chain)).collect();
    Ok(Part::Residues(Residues { level, scale: None, polys }))
}

fn key_output(level: usize, polys: Vec<Vec<Vec<u64>>>) -> Result<Computed> {
    let part = Part::Residues(Residues { level, scale: None, polys });
    Ok(Computed { taps: Vec::new(), outputs: vec![("key", part)] })
}

fn switch_key(setup: &Setup, key: &KeySwitchKey) -> Result<Computed> {
    key_output(key.level, key.residues(&setup.params)?.into_iter().flatten().collect())
}

fn keys() -> Vec<Operation> {
    let key = Operation { file: "keys", inputs: &["level"], residues: false, ..BASE };
    vec![
        Operation {
            name: "key-secret",
            op: "key-secret",
            rule: "ckks.key.secret",
            about: "Coefficients of the secret key.",
            inputs: &[],
            compute: |setup, _| {
                let q = setup.params.q()[0];
                let limb = setup.secret.coefficients().iter().map(|c| c.rem_euclid(q as i64) as u64).collect();
                key_output(0, vec![vec![limb]])
            },
            ..key
        },
        Operation {
            name: "key-public",
            op: "key-public",
            rule: "ckks.key.public",
            about: "Both halves of the public key, special limbs last.",
            inputs: &[],
            compute: |setup, _| key_output(setup.params.max_level(), setup.public.residues(&setup.params)?.to_vec()),
            ..key
        },
        Operation {
            name: "key-relinearisation",
            op: "key-relinearisation",
            rule: "ckks.key.relin",
            about: "Every digit of the relinearisation key of a level.",
            compute: |setup, o| switch_key(setup, &setup.relin.truncate(&setup.params, o.level)?),
            ..key
        },
        Operation {
            name: "key-galois",
            op: "key-galois",
            rule: "ckks.key.galois",
            about: "Every digit of a rotation key of a level.",
            inputs: &["level", "element"],
            compute: |setup, o| switch_key(setup, &setup.rotations[&2].truncate(&setup.params, o.level)?),
            ..key
        },
    ]
}

fn client() -> Vec<Operation> {
    vec![
        Operation {
            name: "encode",
            file: "encode",
            op: "encode",
            rule: "ckks.encode",
            about: "Encoding, correctly rounded; one unit off is admitted.",
            inputs: &["slots", "level", "scale"],
            residues: false,
            compute: |setup, o| {
                let plain = setup.encoder.encode_at(&setup.params, &o.slots, o.level, o.scale)?;
                let polys = vec![plain.residues(&setup.params)?];
                let part = Part::Residues(Residues { level: o.level, scale: Some(o.scale), polys });
                Ok(Computed { taps: Vec::new(), outputs: vec![("plaintext", part)] })
            },
            ..BASE
        },
        Operation {
            name: "encrypt-secret",
            file: "encrypt",
            op: "encrypt-secret",
            rule: "ckks.encrypt.secret",
            about: "Encryption under the secret key.",
            inputs: &["plain", "index"],
            residues: false,
            compute: |setup, o| {
                let plain = o.plaintext(setup)?;
                cipher(setup, &ckks::encrypt_secret(&setup.params, &setup.seed, &setup.secret, o.index, &plain)?)
            },
            ..BASE
        },
        Operation {
            name: "encrypt-public-p0",
            file: "encrypt",
            op: "encrypt-public",
            rule: "ckks.encrypt.public",
            about: "Encryption under the public key.",
            inputs: &["plain", "index"],
            residues: false,
            compute: |setup, o| {
                let plain = o.plaintext(setup)?;
                cipher(setup, &ckks::encrypt_public(&setup.params, &setup.seed, &setup.public, o.index, &plain)?)
            },
            ..BASE
        },
        Operation {
            name: "decrypt",
            file: "encrypt",
            op: "decrypt",
            rule: "ckks.decrypt",
            about: "Decryption.",
            compute: |setup, o| {
                let plain = ckks::decrypt(&setup.secret, &o.a)?;
                Ok(Computed { taps: Vec::new(), outputs: vec![("plaintext", polys(setup, o.level, &[&plain.poly])?)] })
            },
            ..BASE
        },
    ]
}

fn evaluator(setup: &Setup) -> Evaluator<'_> {
    Evaluator::new(&setup.params)
}

fn linear() -> Vec<Operation> {
    let linear = |name, rule, about, inputs, compute| Operation {
        name,
        file: "linear",
        op: name,
        rule,
        about,
        inputs,
        compute,
        ..BASE
    };
    vec![
        linear("add", "ckks.add", "Addition.", &["a", "b"], |s, o| cipher(s, &evaluator(s).add(&o.a, &o.b)?)),
        linear("sub", "ckks.add", "Subtraction.", &["a", "b"], |s, o| cipher(s, &evaluator(s).sub(&o.a, &o.b)?)),
        linear("neg", "ckks.add", "Negation.", &["a"], |s, o| cipher(s, &evaluator(s).neg(&o.a))),
        linear("add-plain", "ckks.add", "Addition of a plaintext.", &["a", "plain"], |s, o| {
            cipher(s, &evaluator(s).add_plain(&o.a, &o.plaintext(s)?)?)
        }),
        linear("mul-plain", "ckks.mul.plain", "Product with a plaintext.", &["a", "plain"], |s, o| {
            cipher(s, &evaluator(s).mul_plain(&o.a, &o.plaintext(s)?)?)
        }),
        linear("add-scalar", "ckks.scalar.add", "Addition of a complex constant.", &["a", "constant"], |s, o| {
            cipher(s, &evaluator(s).add_scalar(&o.a, o.constant)?)
        }),
        linear(
            "mul-scalar",
            "ckks.scalar.mul",
            "Product with a complex constant.",
            &["a", "constant", "target"],
            |s, o| cipher(s, &evaluator(s).mul_scalar(&o.a, o.constant, o.target)?),
        ),
        linear("drop-level", "ckks.level.drop", "Dropping limbs.", &["a", "to-level"], |s, o| {
            cipher(s, &evaluator(s).drop_level(&o.a, o.lower)?)
        }),
        Operation {
            consumes_level: true,
            ..linear("rescale", "ckks.rescale", "Rescaling.", &["a"], |s, o| cipher(s, &evaluator(s).rescale(&o.a)?))
        },
    ]
}

/// The taps of a relinearisation: the three parts, the switched third part.
fn relinearised(setup: &Setup, triple: &Ciphertext) -> Result<(Vec<(&'static str, Part)>, Ciphertext)> {
    let level = triple.level;
    let (u0, u1) = evaluator(setup).key_switch(&triple.polys[2], level, &setup.relin)?;
    let taps = vec![
        ("d0", polys(setup, level, &[&triple.polys[0]])?),
        ("d1", polys(setup, level, &[&triple.polys[1]])?),
        ("d2", polys(setup, level, &[&triple.polys[2]])?),
        ("key-switched", polys(setup, level, &[&u0, &u1])?),
    ];
    Ok((taps, evaluator(setup).relinearise(triple, &setup.relin)?))
}

fn products() -> Vec<Operation> {
    let product = Operation { file: "mul", inputs: &["a", "b"], ..BASE };
    vec![
        Operation {
            name: "mul",
            op: "mul",
            rule: "ckks.mul",
            about: "Product, relinearised.",
            compute: |s, o| {
                let (taps, result) = relinearised(s, &evaluator(s).mul(&o.a, &o.b)?)?;
                Ok(Computed { taps, outputs: vec![("relinearised", part(s, &result)?)] })
            },
            ..product
        },
        Operation {
            name: "relinearise",
            op: "relinearise",
            rule: "ckks.relin",
            about: "Relinearisation of a uniform triple.",
            inputs: &["triple"],
            compute: |s, o| {
                let (taps, result) = relinearised(s, &o.triple)?;
                Ok(Computed {
                    taps: taps.into_iter().skip(3).collect(),
                    outputs: vec![("relinearised", part(s, &result)?)],
                })
            },
            ..product
        },
        Operation {
            name: "mul-rescale",
            op: "mul-rescale",
            rule: "ckks.fused",
            about: "Product, relinearised and rescaled, which may be fused.",
            consumes_level: true,
            compute: |s, o| {
                let (mut taps, result) = relinearised(s, &evaluator(s).mul(&o.a, &o.b)?)?;
                taps.push(("relinearised", part(s, &result)?));
                Ok(Computed { taps, outputs: vec![("rescaled", part(s, &evaluator(s).rescale(&result)?)?)] })
            },
            ..product
        },
    ]
}

fn automorphisms() -> Vec<Operation> {
    let turn = Operation { file: "rotate", ..BASE };
    vec![
        Operation {
            name: "rotate",
            op: "rotate",
            rule: "ckks.rotate",
            about: "Rotation.",
            inputs: &["a", "steps"],
            compute: |s, o| cipher(s, &evaluator(s).rotate(&o.a, o.steps, s.rotation(o.steps))?),
            ..turn
        },
        Operation {
            name: "rotate-hoisted",
            op: "rotate-hoisted",
            rule: "ckks.galois",
            about: "All rotations of a ciphertext at once.",
            inputs: &["a", "rotations"],
            compute: |s, o| {
                let names = ["rotated-0", "rotated-1", "rotated-2", "rotated-3"];
                let keys: Vec<_> = [1i64, 2, 7, -3]
                    .iter()
                    .map(|steps| (rotation_element(&s.params, *steps), &s.rotations[steps]))
                    .collect();
                let all = evaluator(s).galois_hoisted(&o.a, &keys)?;
                let outputs = names.into_iter().zip(&all).map(|(name, one)| Ok((name, part(s, one)?)));
                Ok(Computed { taps: Vec::new(), outputs: outputs.collect::<Result<_>>()? })
            },
            ..turn
        },
        Operation {
            name: "galois",
            op: "galois",
            rule: "ckks.galois",
            about: "An automorphism by its element.",
            inputs: &["a", "element"],
            compute: |s, o| cipher(s, &evaluator(s).galois(&o.a, rotation_element(&s.params, 2), &s.rotations[&2])?),
            ..turn
        },
        Operation {
            name: "conjugate",
            op: "conjugate",
            rule: "ckks.conjugate",
            about: "Conjugation.",
            compute: |s, o| cipher(s, &evaluator(s).conjugate(&o.a, &s.conjugation)?),
            ..turn
        },
    ]
}
