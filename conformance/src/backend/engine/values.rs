//! Between vector values and the engine's types.

use super::Fault;
use touchstone_ckks::ring::{Form, Poly};
use touchstone_ckks::{Ciphertext, Complex64, Context, Plaintext, Seed};
use touchstone_spec::hexfloat::HexFloat;
use touchstone_spec::vector::Value;

/// A seed of 32 hexadecimal digits, byte 0 first.
pub fn seed(text: &str) -> Result<Seed, Fault> {
    bytes(text).map(|bytes| Seed::insecure(u128::from_le_bytes(bytes)))
}

/// 16 bytes from 32 hexadecimal digits.
pub fn bytes(text: &str) -> Result<[u8; 16], Fault> {
    let bad = || Fault::Malformed(format!("seed {text:?}: expected 32 hexadecimal digits"));
    if text.len() != 32 || !text.is_ascii() {
        return Err(bad());
    }
    let number = u128::from_str_radix(text, 16).map_err(|_| bad())?;
    Ok(number.to_be_bytes())
}

/// Integers of a list.
pub fn integers<T: std::str::FromStr>(value: &Value, what: &str) -> Result<Vec<T>, Fault> {
    Ok(value.list(what)?.iter().map(|entry| entry.as_integer(what)).collect::<Result<_, _>>()?)
}

/// Rows of residues.
pub fn limbs(value: &Value, what: &str) -> Result<Vec<Vec<u64>>, Fault> {
    value.list(what)?.iter().map(|limb| integers(limb, what)).collect()
}

/// Complex numbers from pairs.
pub fn complex(value: &Value, what: &str) -> Result<Vec<Complex64>, Fault> {
    let pair = |value: &Value| match value.as_reals(what)?[..] {
        [re, im] => Ok(Complex64::new(re, im)),
        _ => Err(Fault::Malformed(format!("{what}: expected pairs of reals"))),
    };
    value.list(what)?.iter().map(pair).collect()
}

/// A ciphertext from its record (`r[vector.ciphertext]`): shape and residues are checked before the engine sees them.
pub fn ciphertext(context: &Context, value: &Value) -> Result<Ciphertext, Fault> {
    let scale = value.field("ciphertext", "scale")?.as_real("scale")?;
    let polys = value.field("ciphertext", "polys")?.list("polys")?;
    let polys =
        polys.iter().map(|poly| self::poly(context, &limbs(poly, "polys")?)).collect::<Result<Vec<_>, Fault>>()?;
    Ok(Ciphertext::from_polys(context, polys, scale)?)
}

fn poly(context: &Context, limbs: &[Vec<u64>]) -> Result<Poly, Fault> {
    let ring = context.ring();
    let bad = |text: &str| Err(Fault::Malformed(format!("polynomial: {text}")));
    if limbs.is_empty() || limbs.len() > ring.chain_len() {
        return bad("a number of limbs that no level has");
    }
    let mut poly = ring.zero(limbs.len() - 1, false, Form::Coeff);
    for (i, limb) in limbs.iter().enumerate() {
        if limb.len() != ring.n() {
            return bad("a limb that has not N residues");
        }
        if limb.iter().any(|&x| x >= ring.modulus(i).value()) {
            return bad("a residue that is not below its prime");
        }
        poly.limb_mut(i).copy_from_slice(limb);
    }
    poly.make_eval(ring);
    Ok(poly)
}

/// The record of a ciphertext.
pub fn residues(context: &Context, ct: &Ciphertext) -> Value {
    let polys: Vec<&Poly> = (0..=ct.degree()).map(|i| ct.poly(i)).collect();
    record(context, &polys, Some(ct.scale()))
}

/// The record of polynomials of one level.
pub fn record(context: &Context, polys: &[&Poly], scale: Option<f64>) -> Value {
    let level = polys.first().map_or(0, |poly| poly.level());
    let limbs = |poly: &&Poly| {
        let poly = context.to_coeff(poly);
        Value::List((0..poly.limb_count()).map(|i| Value::integers(poly.limb(i))).collect())
    };
    let mut fields = vec![
        ("level".to_owned(), Value::integer(level)),
        ("polys".to_owned(), Value::List(polys.iter().map(limbs).collect())),
    ];
    fields.extend(scale.map(|scale| ("scale".to_owned(), Value::Text(HexFloat(scale).to_string()))));
    Value::Record(fields.into_iter().collect())
}

/// A plaintext from its record.
pub fn plaintext(encoder: &touchstone_ckks::Encoder, value: &Value) -> Result<Plaintext, Fault> {
    let coefficients: Vec<i64> = integers(value.field("plaintext", "coefficients")?, "coefficients")?;
    let level = value.field("plaintext", "level")?.as_integer("level")?;
    let scale = value.field("plaintext", "scale")?.as_real("scale")?;
    Ok(encoder.encode_coeffs(&coefficients, level, scale)?)
}
