//! Keys, encoding, encryption and single operations (`r[vector.op.scheme]`).

use super::values::{complex, integers, plaintext, record};
use super::{EngineSession, Fault, Item, Ran, Run};
use std::collections::BTreeMap;
use touchstone_ckks::ring::Poly;
use touchstone_ckks::{Ciphertext, CkksError, Complex64, Evaluator, KeyGenerator, SwitchKey, decrypt, encrypt_public};
use touchstone_spec::protocol::handle;
use touchstone_spec::vector::Value;

/// Runs an operation of this family; `None` if it is not one.
pub fn run(session: &mut EngineSession, request: &Run) -> Option<Result<Ran, Fault>> {
    let op = request.op.as_str();
    Some(match op {
        "key-secret" | "key-public" | "key-relinearisation" | "key-galois" => key(session, request),
        "encode" | "decode" | "decrypt" => client(session, request),
        "encrypt-secret" | "encrypt-public" => encrypt(session, request),
        "fresh-error" => fresh_error(session, request),
        "mul" | "mul-rescale" | "relinearise" => product(session, request),
        "rotate-hoisted" => hoisted(session, request),
        "add" | "sub" | "neg" | "add-plain" | "mul-plain" | "add-scalar" | "mul-scalar" | "drop-level" | "rescale"
        | "rotate" | "galois" | "conjugate" => simple(session, request).map(|ct| single(session, "result", ct)),
        _ => return None,
    })
}

fn input<'a>(request: &'a Run, name: &str) -> Result<&'a Value, Fault> {
    request.inputs.get(name).ok_or_else(|| Fault::Malformed(format!("no input {name:?}")))
}

fn number<T: std::str::FromStr>(request: &Run, name: &str) -> Result<T, Fault> {
    Ok(input(request, name)?.as_integer(name)?)
}

fn single(session: &mut EngineSession, name: &str, ct: Ciphertext) -> Ran {
    let stored = handle(&session.store(Item::Cipher(ct)));
    Ran { outputs: BTreeMap::from([(name.to_owned(), stored)]), ..Ran::default() }
}

fn value(name: &str, value: Value) -> Ran {
    Ran { outputs: BTreeMap::from([(name.to_owned(), value)]), ..Ran::default() }
}

fn key(session: &EngineSession, request: &Run) -> Result<Ran, Fault> {
    let keys = &session.keys;
    let generator = KeyGenerator::new(&keys.context, keys.seed.clone());
    let switch = |key: SwitchKey| -> Result<Value, Fault> {
        let mut polys = Vec::new();
        for i in 0..key.digit_count() {
            let (b, a) = key.digit(&keys.context, i)?;
            polys.extend([b, a]);
        }
        Ok(record(&keys.context, &polys.iter().collect::<Vec<_>>(), None))
    };
    let key = match request.op.as_str() {
        "key-secret" => {
            let q = keys.context.ring().modulus(0).value() as i64;
            let limb: Vec<i64> = keys.secret.coefficients().iter().map(|&c| i64::from(c).rem_euclid(q)).collect();
            let polys = Value::List(vec![Value::List(vec![Value::integers(&limb)])]);
            Value::Record([("level".to_owned(), Value::integer(0)), ("polys".to_owned(), polys)].into())
        }
        "key-public" => record(&keys.context, &[keys.public.b(), keys.public.a()], None),
        "key-relinearisation" => switch(generator.relinearisation_key(&keys.secret, number(request, "level")?)?)?,
        _ => switch(generator.galois_key(&keys.secret, number(request, "element")?, number(request, "level")?)?)?,
    };
    Ok(value("key", key))
}

fn client(session: &EngineSession, request: &Run) -> Result<Ran, Fault> {
    let keys = &session.keys;
    match request.op.as_str() {
        "encode" => {
            let slots = complex(input(request, "slots")?, "slots")?;
            let scale = input(request, "scale")?.as_real("scale")?;
            let plain = session.encoder.encode(&slots, number(request, "level")?, scale)?;
            Ok(value("plaintext", record(&keys.context, &[plain.poly()], Some(plain.scale()))))
        }
        "decode" => {
            let plain = plaintext(&session.encoder, &Value::Record(request.inputs.clone()))?;
            let parts: Vec<f64> = session.encoder.decode(&plain)?.iter().flat_map(|z| [z.re, z.im]).collect();
            Ok(value("slots", Value::reals(&parts)))
        }
        _ => {
            let plain = decrypt(&keys.context, &keys.secret, session.cipher(request, "a")?)?;
            Ok(value("plaintext", record(&keys.context, &[plain.poly()], None)))
        }
    }
}

fn encrypt(session: &mut EngineSession, request: &Run) -> Result<Ran, Fault> {
    let plain = plaintext(&session.encoder, input(request, "plain")?)?;
    let (keys, index) = (&session.keys, number(request, "index")?);
    let ct = match request.op.as_str() {
        "encrypt-secret" => session.operations.encrypt(keys, &plain, index)?,
        _ => encrypt_public(&keys.context, &keys.public, &plain, &keys.seed, index)?,
    };
    Ok(single(session, "result", ct))
}

/// Encrypts 0 under a fresh index, applies `method`, decrypts (`r[vector.statistical]`).
fn fresh_error(session: &mut EngineSession, request: &Run) -> Result<Ran, Fault> {
    let level = number(request, "level")?;
    let n = session.keys.context.parameters().n();
    let plain = session.encoder.encode_coeffs(&vec![0; n], level, 1.0)?;
    session.encrypted += 1;
    let (keys, index) = (&session.keys, session.encrypted);
    let ct = match input(request, "method")?.text("method")? {
        "encrypt-secret" => session.operations.encrypt(keys, &plain, index)?,
        "encrypt-public" => encrypt_public(&keys.context, &keys.public, &plain, &keys.seed, index)?,
        "rescale" => {
            session.operations.rescale(&session.evaluator, &session.operations.encrypt(keys, &plain, index)?)?
        }
        "rotate" => session.evaluator.rotate(&session.operations.encrypt(keys, &plain, index)?, 1)?,
        other => return Err(Fault::Unsupported(format!("no method {other:?}"))),
    };
    let errors = session.encoder.decode_coeffs(&decrypt(&keys.context, &keys.secret, &ct)?)?;
    Ok(value("errors", Value::reals(&errors)))
}

/// Polynomials without a scale.
fn parts(session: &EngineSession, polys: &[&Poly]) -> Value {
    record(&session.keys.context, polys, None)
}

fn product(session: &mut EngineSession, request: &Run) -> Result<Ran, Fault> {
    let (evaluator, operations) = (session.evaluator.clone(), session.operations.clone());
    let (triple, factors) = match request.op.as_str() {
        "relinearise" => (session.cipher(request, "triple")?.clone(), None),
        _ => {
            let (a, b) = (session.cipher(request, "a")?, session.cipher(request, "b")?);
            (operations.mul_lazy(&evaluator, a, b)?, Some((a.clone(), b.clone())))
        }
    };
    let relinearised = operations.relinearise(&evaluator, &triple)?;
    let mut taps = BTreeMap::new();
    let wants = |name: &str| request.taps.iter().any(|tap| tap == name);
    for (i, name) in ["d0", "d1", "d2"].into_iter().enumerate() {
        if wants(name) {
            taps.insert(name.to_owned(), parts(session, &[triple.poly(i)]));
        }
    }
    if wants("key-switched") {
        // (d_0, d_1) + KS(d_2) less (d_0, d_1).
        let polys = vec![triple.poly(0).clone(), triple.poly(1).clone()];
        let linear = Ciphertext::from_polys(evaluator.context(), polys, triple.scale())?;
        let switched = evaluator.sub(&relinearised, &linear)?;
        taps.insert("key-switched".to_owned(), parts(session, &[switched.poly(0), switched.poly(1)]));
    }
    let mut ran = match (request.op.as_str(), factors) {
        ("mul-rescale", Some((a, b))) => {
            if wants("relinearised") {
                let stored = handle(&session.store(Item::Cipher(relinearised)));
                taps.insert("relinearised".to_owned(), stored);
            }
            let rescaled = operations.mul_rescale(&evaluator, &a, &b)?;
            single(session, "rescaled", rescaled)
        }
        _ => single(session, "relinearised", relinearised),
    };
    ran.taps = taps;
    Ok(ran)
}

fn hoisted(session: &mut EngineSession, request: &Run) -> Result<Ran, Fault> {
    let steps: Vec<i64> = integers(input(request, "rotations")?, "rotations")?;
    let all = session.evaluator.rotate_hoisted(session.cipher(request, "a")?, &steps)?;
    let mut outputs = BTreeMap::new();
    for (i, ct) in all.into_iter().enumerate() {
        outputs.insert(format!("rotated-{i}"), handle(&session.store(Item::Cipher(ct))));
    }
    Ok(Ran { outputs, ..Ran::default() })
}

fn simple(session: &EngineSession, request: &Run) -> Result<Ciphertext, Fault> {
    let (evaluator, a): (&Evaluator, &Ciphertext) = (&session.evaluator, session.cipher(request, "a")?);
    let constant = || -> Result<Complex64, Fault> {
        match input(request, "constant")?.as_reals("constant")?[..] {
            [re, im] => Ok(Complex64::new(re, im)),
            _ => Err(Fault::Malformed("constant: expected a pair".to_owned())),
        }
    };
    let plain = || plaintext(&session.encoder, input(request, "plain")?);
    let result: Result<Ciphertext, CkksError> = match request.op.as_str() {
        "add" => evaluator.add(a, session.cipher(request, "b")?),
        "sub" => evaluator.sub(a, session.cipher(request, "b")?),
        "neg" => evaluator.neg(a),
        "add-plain" => evaluator.add_plain(a, &plain()?),
        "mul-plain" => evaluator.mul_plain(a, &plain()?),
        "add-scalar" => evaluator.add_const(a, constant()?),
        "mul-scalar" => evaluator.mul_const(a, constant()?, input(request, "target")?.as_real("target")?),
        "drop-level" => evaluator.drop_level(a, number(request, "to-level")?),
        "rescale" => session.operations.rescale(evaluator, a),
        "rotate" => evaluator.rotate(a, number(request, "steps")?),
        "galois" => evaluator.galois(a, number(request, "element")?),
        _ => evaluator.conjugate(a),
    };
    Ok(result?)
}
