//! Lists of ciphertexts (`r[format.ciphertexts]`).

use super::wire::{Sink, Source, poly_bytes, streams_bytes};
use super::{FormatError, Kind, begin, open};
use crate::CkksError;
use crate::ckks::ciphertext::Ciphertext;
use crate::ckks::context::Context;
use crate::ckks::keys::uniform_poly;
use crate::ckks::sampler::StreamKey;
use std::borrow::Borrow;
use std::io::{Read, Write};

/// Bytes before a ciphertext's polynomials.
const ENTRY_BYTES: u64 = 16;

/// Writes ciphertexts with all their polynomials.
///
/// # Errors
/// [`CkksError::Fingerprint`] for a ciphertext of other parameters, [`CkksError::Format`] if writing fails.
pub fn write_ciphertexts<W: Write, C: Borrow<Ciphertext>>(
    writer: W,
    context: &Context,
    ciphertexts: &[C],
) -> Result<(), CkksError> {
    let entries: Vec<_> = ciphertexts.iter().map(|ct| (ct.borrow(), None)).collect();
    write_entries(writer, context, &entries)
}

/// Writes fresh secret-key ciphertexts, each with the stream keys of its uniform half in place of that half
/// ([`encryption_stream_keys`](crate::ckks::encryption_stream_keys)): half the bytes.
///
/// # Errors
/// As [`write_ciphertexts`], and [`CkksError::Argument`] if stream keys do not give the uniform half.
pub fn write_fresh_ciphertexts<W: Write>(
    writer: W,
    context: &Context,
    ciphertexts: &[(Ciphertext, Vec<StreamKey>)],
) -> Result<(), CkksError> {
    let operation = "write_fresh_ciphertexts";
    for (ct, streams) in ciphertexts {
        context.check_fingerprint(operation, &ct.fingerprint())?;
        let uniform = uniform_poly(context, operation, ct.level(), false, streams)?;
        if ct.degree() != 1 || *ct.poly(1) != uniform {
            let expected = "a fresh ciphertext with the stream keys of its uniform half";
            return Err(CkksError::Argument { operation, expected, got: "another uniform half".to_owned() });
        }
    }
    let entries: Vec<_> = ciphertexts.iter().map(|(ct, streams)| (ct, Some(&streams[..]))).collect();
    write_entries(writer, context, &entries)
}

type Entry<'a> = (&'a Ciphertext, Option<&'a [StreamKey]>);

fn write_entries<W: Write>(writer: W, context: &Context, entries: &[Entry]) -> Result<(), CkksError> {
    for (ct, _) in entries {
        context.check_fingerprint("write_ciphertexts", &ct.fingerprint())?;
    }
    let bytes =
        |(ct, streams): &Entry| ENTRY_BYTES + body_bytes(context, ct.level(), ct.degree() + 1, streams.is_some());
    let payload = 4 + entries.iter().map(bytes).sum::<u64>();
    let mut sink = begin(writer, context, Kind::Ciphertexts, payload)?;
    sink.u32("number of ciphertexts", entries.len() as u32)?;
    entries.iter().try_for_each(|entry| write_entry(&mut sink, context, entry))?;
    Ok(sink.finish()?)
}

fn write_entry<W: Write>(sink: &mut Sink<W>, context: &Context, (ct, streams): &Entry) -> Result<(), FormatError> {
    sink.u32("level", ct.level() as u32)?;
    sink.bytes("number of polynomials", &[ct.degree() as u8 + 1])?;
    sink.bytes("form of the uniform half", &[u8::from(streams.is_some())])?;
    sink.bytes("reserved", &[0, 0])?;
    sink.bytes("scale", &ct.scale().to_bits().to_le_bytes())?;
    sink.poly("ciphertext", context, ct.poly(0))?;
    match streams {
        Some(streams) => sink.streams(streams),
        None => (1..=ct.degree()).try_for_each(|i| sink.poly("ciphertext", context, ct.poly(i))),
    }
}

fn body_bytes(context: &Context, level: usize, polys: usize, seeded: bool) -> u64 {
    let poly = poly_bytes(context, level, false);
    if seeded { poly + streams_bytes(context, level, false) } else { poly * polys as u64 }
}

/// Reads a list of ciphertexts; stream keys are expanded.
///
/// # Errors
/// [`CkksError::Format`].
pub fn read_ciphertexts<R: Read>(reader: R, context: &Context) -> Result<Vec<Ciphertext>, CkksError> {
    let mut source = open(reader, context, Kind::Ciphertexts)?;
    let count = source.u32("number of ciphertexts")?;
    source.expect("ciphertexts", ENTRY_BYTES * u64::from(count))?;
    let mut ciphertexts = Vec::new();
    for _ in 0..count {
        ciphertexts.push(read_entry(&mut source, context)?);
    }
    source.finish()?;
    Ok(ciphertexts)
}

fn read_entry<R: Read>(source: &mut Source<R>, context: &Context) -> Result<Ciphertext, CkksError> {
    let offset = source.offset();
    let refuse = |what, place: u64, expected: String, got: String| {
        CkksError::from(FormatError::Value { what, offset: offset + place, expected, got })
    };
    let top = context.parameters().max_level();
    let level = source.u32("level")? as usize;
    if level > top {
        return Err(refuse("level", 0, format!("at most {top}"), level.to_string()));
    }
    let [polys] = source.array("number of polynomials")?;
    if !(2..=3).contains(&polys) {
        return Err(refuse("number of polynomials", 4, "2 or 3".to_owned(), polys.to_string()));
    }
    let [seeded] = source.array("form of the uniform half")?;
    if seeded > 1 || (seeded == 1 && polys != 2) {
        let expected = "0, or 1 with two polynomials".to_owned();
        return Err(refuse("form of the uniform half", 5, expected, seeded.to_string()));
    }
    let reserved: [u8; 2] = source.array("reserved")?;
    if reserved != [0, 0] {
        return Err(refuse("reserved", 6, "0 0".to_owned(), format!("{reserved:?}")));
    }
    let scale = f64::from_bits(source.u64("scale")?);
    if !(scale > 0.0 && scale.is_finite()) {
        return Err(refuse("scale", 8, "a positive finite number".to_owned(), scale.to_string()));
    }
    source.expect("ciphertext", body_bytes(context, level, usize::from(polys), seeded == 1))?;
    let mut halves = vec![source.poly("ciphertext", context, level, false)?];
    if seeded == 1 {
        let streams = source.streams(context, level, false)?;
        halves.push(uniform_poly(context, "read_ciphertexts", level, false, &streams)?);
    } else {
        for _ in 1..polys {
            halves.push(source.poly("ciphertext", context, level, false)?);
        }
    }
    Ciphertext::from_polys(context, halves, scale)
}
