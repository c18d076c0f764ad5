//! The operations that scheme cases compare: for each, the reference's words and the engine's.

use super::draws::Inputs;
use super::fixture::{EngineSide, Output, ReferenceSide};
use super::side;
use crate::ConformError;
use touchstone_ckks::{self as ckks, CkksError, Evaluator};
use touchstone_reference::ckks as exact;
use touchstone_reference::error::ReferenceError;

/// One operation on both sides.
#[derive(Clone, Copy)]
pub struct Operation {
    /// Middle part of the case id.
    pub name: &'static str,
    /// Rule that defines the operation.
    pub rule: &'static str,
    /// What is compared.
    pub about: &'static str,
    /// Lowest level at which it is defined.
    pub min_level: usize,
    /// Admitted difference of an integer coefficient: 1 for encoding (`r[ckks.encode]`), 0 for everything else.
    pub unit_tolerance: u64,
    /// The reference.
    pub reference: fn(&ReferenceSide, &Inputs) -> Result<Output, ReferenceError>,
    /// The engine.
    pub engine: fn(&EngineSide, &Inputs) -> Result<Output, ConformError>,
}

/// All operations, in the order of the book.
pub fn all() -> Vec<Operation> {
    let mut all = client();
    all.extend(linear());
    all.extend(products());
    all.extend(automorphisms());
    all
}

/// Runs the engine's side of an operation on the first ciphertext.
fn engine(
    e: &EngineSide,
    i: &Inputs,
    operation: impl FnOnce(&Evaluator, &ckks::Ciphertext) -> Result<ckks::Ciphertext, CkksError>,
) -> Result<Output, ConformError> {
    let run = || operation(&Evaluator::new(&e.context, &e.keys), &e.ciphertext(&i.a, i.scale)?);
    run().map(|result| e.cipher_output(&result)).map_err(engine_error)
}

fn engine_error(error: CkksError) -> ConformError {
    side("optimized", "operation", error)
}

/// Runs the reference's side of an operation on the first ciphertext.
fn reference(
    r: &ReferenceSide,
    i: &Inputs,
    operation: impl FnOnce(&exact::Evaluator<'_>, &exact::Ciphertext) -> Result<exact::Ciphertext, ReferenceError>,
) -> Result<Output, ReferenceError> {
    r.output(&operation(&exact::Evaluator::new(&r.params), &r.ciphertext(&i.a, i.scale)?)?)
}

fn reference_plain(r: &ReferenceSide, i: &Inputs) -> Result<exact::Plaintext, ReferenceError> {
    exact::Plaintext::from_coefficients(&r.params, &i.coefficients, i.level, i.scale)
}

fn engine_plain(e: &EngineSide, i: &Inputs) -> Result<ckks::Plaintext, CkksError> {
    e.encoder.encode_coeffs(&i.coefficients, i.level, i.scale)
}

fn exactly(name: &'static str, rule: &'static str, about: &'static str) -> Operation {
    let undefined = |_: &ReferenceSide, _: &Inputs| {
        Err(ReferenceError::BadOperand { operation: "case", expected: "a definition".into(), got: "none".into() })
    };
    let undefined_engine = |_: &EngineSide, _: &Inputs| Err(side("optimized", "case", "has no definition"));
    Operation { name, rule, about, min_level: 0, unit_tolerance: 0, reference: undefined, engine: undefined_engine }
}

fn client() -> Vec<Operation> {
    vec![
        Operation {
            unit_tolerance: 1,
            reference: |r, i| r.plain_output(&r.encoder.encode_at(&r.params, &i.slots, i.level, i.scale)?),
            engine: |e, i| {
                let plain = e.encoder.encode(&i.slots, i.level, i.scale).map_err(engine_error)?;
                Ok(e.output(&[plain.poly()], plain.scale()))
            },
            ..exactly(
                "encode",
                "ckks.encode",
                "Encoding of random slots, correctly rounded against at most one unit off",
            )
        },
        Operation {
            reference: |r, i| {
                let plain = reference_plain(r, i)?;
                r.output(&exact::encrypt_secret(&r.params, &r.seed, &r.secret, i.index, &plain)?)
            },
            engine: |e, i| {
                let encrypt = || ckks::encrypt_secret(&e.context, &e.secret, &engine_plain(e, i)?, &e.seed, i.index);
                encrypt().map(|c| e.cipher_output(&c)).map_err(engine_error)
            },
            ..exactly("encrypt-secret", "ckks.encrypt.secret", "Encryption under the secret key")
        },
        Operation {
            reference: |r, i| {
                let plain = reference_plain(r, i)?;
                r.output(&exact::encrypt_public(&r.params, &r.seed, &r.public, i.index, &plain)?)
            },
            engine: |e, i| {
                let encrypt = || ckks::encrypt_public(&e.context, &e.public, &engine_plain(e, i)?, &e.seed, i.index);
                encrypt().map(|c| e.cipher_output(&c)).map_err(engine_error)
            },
            ..exactly("encrypt-public", "ckks.encrypt.public", "Encryption under the public key")
        },
        Operation {
            reference: |r, i| r.plain_output(&exact::decrypt(&r.secret, &r.ciphertext(&i.a, i.scale)?)?),
            engine: |e, i| {
                let decrypt = || ckks::decrypt(&e.context, &e.secret, &e.ciphertext(&i.a, i.scale)?);
                decrypt().map(|plain| e.output(&[plain.poly()], plain.scale())).map_err(engine_error)
            },
            ..exactly("decrypt", "ckks.decrypt", "Decryption")
        },
    ]
}

fn linear() -> Vec<Operation> {
    vec![
        Operation {
            reference: |r, i| reference(r, i, |v, a| v.add(a, &r.ciphertext(&i.b, i.scale)?)),
            engine: |e, i| engine(e, i, |v, a| v.add(a, &e.ciphertext(&i.b, i.scale)?)),
            ..exactly("add", "ckks.add", "Addition")
        },
        Operation {
            reference: |r, i| reference(r, i, |v, a| v.sub(a, &r.ciphertext(&i.b, i.scale)?)),
            engine: |e, i| engine(e, i, |v, a| v.sub(a, &e.ciphertext(&i.b, i.scale)?)),
            ..exactly("sub", "ckks.add", "Subtraction")
        },
        Operation {
            reference: |r, i| reference(r, i, |v, a| Ok(v.neg(a))),
            engine: |e, i| engine(e, i, |v, a| v.neg(a)),
            ..exactly("neg", "ckks.add", "Negation")
        },
        Operation {
            reference: |r, i| reference(r, i, |v, a| v.add_plain(a, &reference_plain(r, i)?)),
            engine: |e, i| engine(e, i, |v, a| v.add_plain(a, &engine_plain(e, i)?)),
            ..exactly("add-plain", "ckks.add", "Plaintext addition")
        },
        Operation {
            reference: |r, i| reference(r, i, |v, a| v.mul_plain(a, &reference_plain(r, i)?)),
            engine: |e, i| engine(e, i, |v, a| v.mul_plain(a, &engine_plain(e, i)?)),
            ..exactly("mul-plain", "ckks.mul.plain", "Plaintext multiplication")
        },
        Operation {
            reference: |r, i| reference(r, i, |v, a| v.add_scalar(a, i.constant)),
            engine: |e, i| engine(e, i, |v, a| v.add_const(a, i.constant)),
            ..exactly("add-scalar", "ckks.scalar.add", "Addition of a complex constant")
        },
        Operation {
            reference: |r, i| reference(r, i, |v, a| v.mul_scalar(a, i.constant, i.scale * i.scale)),
            engine: |e, i| engine(e, i, |v, a| v.mul_const(a, i.constant, i.scale * i.scale)),
            ..exactly("mul-scalar", "ckks.scalar.mul", "Multiplication by a complex constant")
        },
        Operation {
            min_level: 1,
            reference: |r, i| reference(r, i, |v, a| v.rescale(a)),
            engine: |e, i| engine(e, i, |v, a| v.rescale(a)),
            ..exactly("rescale", "ckks.rescale", "Rescaling")
        },
        Operation {
            reference: |r, i| reference(r, i, |v, a| v.drop_level(a, i.lower)),
            engine: |e, i| engine(e, i, |v, a| v.drop_level(a, i.lower)),
            ..exactly("drop-level", "ckks.level.drop", "Dropping limbs")
        },
    ]
}

fn products() -> Vec<Operation> {
    vec![
        Operation {
            reference: |r, i| reference(r, i, |v, a| v.mul(a, &r.ciphertext(&i.b, i.scale)?)),
            engine: |e, i| engine(e, i, |v, a| v.mul_lazy(a, &e.ciphertext(&i.b, i.scale)?)),
            ..exactly("mul-lazy", "ckks.mul", "Product of degree 2")
        },
        Operation {
            reference: |r, i| {
                let triple = [i.a[0].clone(), i.a[1].clone(), i.c.clone()];
                r.output(&exact::Evaluator::new(&r.params).relinearise(&r.ciphertext(&triple, i.scale)?, &r.relin)?)
            },
            engine: |e, i| {
                let triple = [i.a[0].clone(), i.a[1].clone(), i.c.clone()];
                engine(e, i, |v, _| v.relinearise(&e.ciphertext(&triple, i.scale)?))
            },
            ..exactly("relinearise", "ckks.relin", "Relinearisation of a uniform triple")
        },
        Operation {
            reference: |r, i| {
                reference(r, i, |v, a| v.relinearise(&v.mul(a, &r.ciphertext(&i.b, i.scale)?)?, &r.relin))
            },
            engine: |e, i| engine(e, i, |v, a| v.mul(a, &e.ciphertext(&i.b, i.scale)?)),
            ..exactly("mul-relin", "ckks.relin", "Multiplication with relinearisation")
        },
        Operation {
            min_level: 1,
            reference: |r, i| {
                reference(r, i, |v, a| v.rescale(&v.relinearise(&v.mul(a, &r.ciphertext(&i.b, i.scale)?)?, &r.relin)?))
            },
            engine: |e, i| engine(e, i, |v, a| v.mul_rescale(a, &e.ciphertext(&i.b, i.scale)?)),
            ..exactly("mul-rescale", "ckks.fused", "The fused product against the separate operations")
        },
    ]
}

fn automorphisms() -> Vec<Operation> {
    vec![
        Operation {
            reference: |r, i| reference(r, i, |v, a| v.rotate(a, i.steps, &r.rotations[&i.steps])),
            engine: |e, i| engine(e, i, |v, a| v.rotate(a, i.steps)),
            ..exactly("rotate", "ckks.rotate", "Rotation")
        },
        Operation {
            reference: |r, i| {
                let ciphertext = r.ciphertext(&i.a, i.scale)?;
                let keys: Vec<_> =
                    hoisted().iter().map(|steps| (r.rotations[steps].key_id, &r.rotations[steps])).collect();
                let all = exact::Evaluator::new(&r.params).galois_hoisted(&ciphertext, &keys)?;
                let outputs = all.iter().map(|one| r.output(one)).collect::<Result<Vec<_>, _>>()?;
                Ok(join(outputs))
            },
            engine: |e, i| {
                let rotations = hoisted();
                let rotate = || {
                    let evaluator = Evaluator::new(&e.context, &e.keys);
                    evaluator.rotate_hoisted(&e.ciphertext(&i.a, i.scale)?, &rotations)
                };
                let all = rotate().map_err(engine_error)?;
                Ok(join(all.iter().map(|one| e.cipher_output(one)).collect()))
            },
            ..exactly("rotate-hoisted", "ckks.galois", "Hoisted rotations, all at once")
        },
        Operation {
            reference: |r, i| reference(r, i, |v, a| v.conjugate(a, &r.conjugation)),
            engine: |e, i| engine(e, i, |v, a| v.conjugate(a)),
            ..exactly("conjugate", "ckks.conjugate", "Conjugation")
        },
    ]
}

/// Rotations that switch keys.
fn hoisted() -> Vec<i64> {
    super::fixture::ROTATIONS.into_iter().filter(|&steps| steps != 0).collect()
}

/// Several results of one level as one.
fn join(outputs: Vec<Output>) -> Output {
    let (mut polys, mut primes, mut scale) = (Vec::new(), Vec::new(), 0.0);
    for output in outputs {
        polys.extend(output.polys);
        primes = output.primes;
        scale = output.scale;
    }
    Output { polys, primes, scale }
}
