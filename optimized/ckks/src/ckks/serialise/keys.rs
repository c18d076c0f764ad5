//! Secret, public and evaluation keys (`r[format.secret-key]`, `r[format.public-key]`, `r[format.evaluation-keys]`).

use super::wire::{STREAM_KEY_BYTES, Sink, Source, poly_bytes, residue_bytes, streams_bytes};
use super::{FormatError, Kind, begin, open};
use crate::CkksError;
use crate::arith::NttTable;
use crate::ckks::context::Context;
use crate::ckks::ephemeral::ToEphemeralKey;
use crate::ckks::keys::{EvaluationKey, EvaluationKeys, PublicKey, SecretKey, SwitchKey};
use crate::ckks::sampler::StreamKey;
use std::io::{Read, Write};
use touchstone_spec::sampling::{FROM_EPHEMERAL_KEY_ID, RELINEARISATION_KEY_ID, TO_EPHEMERAL_KEY_ID};
use zeroize::Zeroizing;

/// Coefficients per byte of a secret key.
const PACKED: usize = 4;

/// Writes the secret key. Whoever can read the file can decrypt.
///
/// # Errors
/// [`CkksError::Fingerprint`] for a key of other parameters, [`CkksError::Format`] if writing fails.
pub fn write_secret_key<W: Write>(writer: W, context: &Context, key: &SecretKey) -> Result<(), CkksError> {
    context.check_fingerprint("write_secret_key", &key.fingerprint())?;
    // -1, 0, 1 as 2, 0, 1: the residue modulo 3.
    let pack = |four: &[i8]| four.iter().rev().fold(0, |byte, c| byte << 2 | c.rem_euclid(3) as u8);
    let bytes: Zeroizing<Vec<u8>> = Zeroizing::new(key.coefficients().chunks(PACKED).map(pack).collect());
    let mut sink = begin(writer, context, Kind::SecretKey, bytes.len() as u64)?;
    sink.bytes("secret coefficients", &bytes)?;
    Ok(sink.finish()?)
}

/// Reads a secret key.
///
/// # Errors
/// [`CkksError::Format`]; [`CkksError::Argument`] if its weight is not that of the parameters.
pub fn read_secret_key<R: Read>(reader: R, context: &Context) -> Result<SecretKey, CkksError> {
    let what = "secret coefficients";
    let mut source = open(reader, context, Kind::SecretKey)?;
    let start = source.offset();
    let mut bytes = Zeroizing::new(vec![0; context.parameters().n() / PACKED]);
    check_payload(&source, bytes.len() as u64)?;
    source.fill(what, &mut bytes)?;
    source.finish()?;
    let mut coefficients = Zeroizing::new(Vec::with_capacity(bytes.len() * PACKED));
    for (index, byte) in bytes.iter().enumerate() {
        for code in (0..PACKED).map(|place| byte >> (2 * place) & 3) {
            if code == 3 {
                let (offset, expected) = (start + index as u64, "codes 0, 1 and 2".to_owned());
                return Err(FormatError::Value { what, offset, expected, got: "3".to_owned() }.into());
            }
            coefficients.push(if code == 2 { -1 } else { code as i8 });
        }
    }
    SecretKey::from_coefficients(context, std::mem::take(&mut *coefficients))
}

/// Writes the public key.
///
/// # Errors
/// [`CkksError::Fingerprint`] for a key of other parameters, [`CkksError::Format`] if writing fails.
pub fn write_public_key<W: Write>(writer: W, context: &Context, key: &PublicKey) -> Result<(), CkksError> {
    context.check_fingerprint("write_public_key", &key.fingerprint)?;
    let mut sink = begin(writer, context, Kind::PublicKey, half_bytes(context, context.parameters().max_level()))?;
    sink.streams(key.streams())?;
    sink.poly("public key", context, key.b())?;
    Ok(sink.finish()?)
}

/// Reads a public key.
///
/// # Errors
/// [`CkksError::Format`].
pub fn read_public_key<R: Read>(reader: R, context: &Context) -> Result<PublicKey, CkksError> {
    let mut source = open(reader, context, Kind::PublicKey)?;
    let level = context.parameters().max_level();
    check_payload(&source, half_bytes(context, level))?;
    let streams = source.streams(context, level, true)?;
    let b = source.poly("public key", context, level, true)?;
    source.finish()?;
    PublicKey::from_parts(context, b, streams)
}

/// Stream keys and first half of one digit, or of the public key.
fn half_bytes(context: &Context, level: usize) -> u64 {
    streams_bytes(context, level, true) + poly_bytes(context, level, true)
}

fn check_payload<R: Read>(source: &Source<R>, expected: u64) -> Result<(), FormatError> {
    let got = source.remaining();
    if got != expected {
        return Err(FormatError::Length { what: "payload length", offset: 48, expected, got });
    }
    Ok(())
}

fn table_payload(context: &Context, entries: &[(u32, usize)]) -> u64 {
    let body = |&(key_id, level): &(u32, usize)| match key_id {
        TO_EPHEMERAL_KEY_ID => to_ephemeral_bytes(context),
        _ => context.parameters().digits(level) as u64 * half_bytes(context, level),
    };
    4 + entries.iter().map(|entry| 8 + body(entry)).sum::<u64>()
}

/// `q_0` and `p_0`.
fn ephemeral_primes(context: &Context) -> [u64; 2] {
    [context.parameters().chain()[0], context.parameters().special()[0]]
}

/// Stream keys and first half of the key to the ephemeral secret.
fn to_ephemeral_bytes(context: &Context) -> u64 {
    let limb = |prime| (STREAM_KEY_BYTES + context.parameters().n() * residue_bytes(prime)) as u64;
    ephemeral_primes(context).into_iter().map(limb).sum()
}

/// Writes evaluation keys one by one, so that each can be dropped before the next is made.
pub struct EvaluationKeyWriter<W> {
    sink: Sink<W>,
    context: Context,
    entries: Vec<(u32, usize)>,
    written: usize,
}

impl<W: Write> EvaluationKeyWriter<W> {
    /// Writes the header and the table of the keys to come: key id (0 for relinearisation, 2 and 4 for the ephemeral secret, `g`
    /// for `X -> X^g`) and level.
    ///
    /// # Errors
    /// [`CkksError::Argument`] unless the key ids ascend strictly, [`CkksError::Level`] for a level above the top one,
    /// [`CkksError::Format`] if writing fails.
    pub fn new(writer: W, context: &Context, entries: &[(u32, usize)]) -> Result<Self, CkksError> {
        let operation = "EvaluationKeyWriter::new";
        entries.iter().try_for_each(|(_, level)| context.check_level(operation, *level))?;
        if let Some(pair) = entries.windows(2).find(|pair| pair[0].0 >= pair[1].0) {
            let got = format!("{} before {}", pair[0].0, pair[1].0);
            return Err(CkksError::Argument { operation, expected: "strictly ascending key ids", got });
        }
        let mut sink = begin(writer, context, Kind::EvaluationKeys, table_payload(context, entries))?;
        sink.u32("number of keys", entries.len() as u32)?;
        for (key_id, level) in entries {
            sink.u32("key id", *key_id)?;
            sink.u32("key level", *level as u32)?;
        }
        Ok(Self { sink, context: context.clone(), entries: entries.to_vec(), written: 0 })
    }

    /// Writes the next key of the table.
    ///
    /// # Errors
    /// [`CkksError::Argument`] for another key than the next, [`CkksError::Fingerprint`], [`CkksError::Format`].
    pub fn write(&mut self, key: &SwitchKey) -> Result<(), CkksError> {
        let operation = "EvaluationKeyWriter::write";
        self.context.check_fingerprint(operation, &key.fingerprint)?;
        self.check_next(operation, (key.key_id(), key.level()))?;
        for digit in 0..key.digit_count() {
            self.sink.streams(key.streams(digit))?;
            let (b, _) = key.digit(&self.context, digit)?;
            self.sink.poly("key-switching key", &self.context, &b)?;
        }
        self.written += 1;
        Ok(())
    }

    /// Writes the key to the ephemeral secret, which must be the next of the table: key id 4, level 0.
    ///
    /// # Errors
    /// As [`EvaluationKeyWriter::write`].
    pub fn write_to_ephemeral(&mut self, key: &ToEphemeralKey) -> Result<(), CkksError> {
        let operation = "EvaluationKeyWriter::write_to_ephemeral";
        self.context.check_fingerprint(operation, key.fingerprint())?;
        self.check_next(operation, (TO_EPHEMERAL_KEY_ID, 0))?;
        self.sink.streams(key.streams())?;
        for ((b, table), prime) in
            key.b().into_iter().zip(ephemeral_tables(&self.context)).zip(ephemeral_primes(&self.context))
        {
            let mut limb = b.to_vec();
            self.context.ring().kernels().intt(table, &mut limb);
            self.sink.limb("key to the ephemeral secret", prime, &limb)?;
        }
        self.written += 1;
        Ok(())
    }

    fn check_next(&self, operation: &'static str, entry: (u32, usize)) -> Result<(), CkksError> {
        let next = self.entries.get(self.written).copied();
        if next == Some(entry) {
            return Ok(());
        }
        let got = format!("key {} of level {}, next is {next:?}", entry.0, entry.1);
        Err(CkksError::Argument { operation, expected: "the next key of the table", got })
    }

    /// Ends the file.
    ///
    /// # Errors
    /// [`CkksError::Argument`] if keys of the table are missing, [`CkksError::Format`] if writing fails.
    pub fn finish(self) -> Result<(), CkksError> {
        if self.written < self.entries.len() {
            let got = format!("{} of {}", self.written, self.entries.len());
            let operation = "EvaluationKeyWriter::finish";
            return Err(CkksError::Argument { operation, expected: "all keys of the table", got });
        }
        Ok(self.sink.finish()?)
    }
}

/// Writes all keys of a set.
///
/// # Errors
/// [`CkksError::Fingerprint`] for keys of other parameters, [`CkksError::Format`] if writing fails.
pub fn write_evaluation_keys<W: Write>(writer: W, context: &Context, keys: &EvaluationKeys) -> Result<(), CkksError> {
    let mut entries: Vec<_> = keys.switch_keys().map(|key| (key.key_id(), key.level())).collect();
    entries.extend(keys.to_ephemeral.iter().map(|_| (TO_EPHEMERAL_KEY_ID, 0)));
    entries.sort_unstable();
    let mut writer = EvaluationKeyWriter::new(writer, context, &entries)?;
    let mut switch_keys = keys.switch_keys();
    for (key_id, _) in entries {
        match &keys.to_ephemeral {
            Some(key) if key_id == TO_EPHEMERAL_KEY_ID => writer.write_to_ephemeral(key)?,
            _ => switch_keys.next().map_or(Ok(()), |key| writer.write(key))?,
        }
    }
    writer.finish()
}

/// Reads evaluation keys one by one.
pub struct EvaluationKeyReader<R> {
    source: Source<R>,
    context: Context,
    entries: Vec<(u32, usize)>,
    read: usize,
}

impl<R: Read> EvaluationKeyReader<R> {
    /// Reads the header and the table of keys.
    ///
    /// # Errors
    /// [`CkksError::Format`].
    pub fn new(reader: R, context: &Context) -> Result<Self, CkksError> {
        let mut source = open(reader, context, Kind::EvaluationKeys)?;
        let payload = source.remaining();
        let entries = read_table(&mut source, context)?;
        let expected = table_payload(context, &entries);
        if payload != expected {
            return Err(FormatError::Length { what: "payload length", offset: 48, expected, got: payload }.into());
        }
        Ok(Self { source, context: context.clone(), entries, read: 0 })
    }

    /// Key id and level of every key in the file.
    #[must_use]
    pub fn entries(&self) -> &[(u32, usize)] {
        &self.entries
    }

    /// The next key; `None` after the last one, once the end of the file has been checked.
    ///
    /// # Errors
    /// [`CkksError::Format`].
    pub fn next_key(&mut self) -> Result<Option<EvaluationKey>, CkksError> {
        let Some(&(key_id, level)) = self.entries.get(self.read) else {
            self.source.finish()?;
            return Ok(None);
        };
        self.read += 1;
        if key_id == TO_EPHEMERAL_KEY_ID {
            return self.read_to_ephemeral().map(|key| Some(key.into()));
        }
        let (mut halves, mut streams) = (Vec::new(), Vec::new());
        for _ in 0..self.context.parameters().digits(level) {
            streams.push(self.source.streams(&self.context, level, true)?);
            halves.push(self.source.poly("key-switching key", &self.context, level, true)?);
        }
        SwitchKey::from_parts(&self.context, key_id, level, halves, streams).map(|key| Some(key.into()))
    }

    fn read_to_ephemeral(&mut self) -> Result<ToEphemeralKey, CkksError> {
        let what = "key to the ephemeral secret";
        self.source.expect(what, to_ephemeral_bytes(&self.context))?;
        let mut stream = || self.source.array("stream key").map(StreamKey::from_bytes);
        let streams = [stream()?, stream()?];
        let n = self.context.parameters().n();
        let mut b = [vec![0; n], vec![0; n]];
        let tables = ephemeral_tables(&self.context);
        for ((limb, table), prime) in b.iter_mut().zip(tables).zip(ephemeral_primes(&self.context)) {
            self.source.limb(what, prime, limb)?;
            self.context.ring().kernels().ntt(table, limb);
        }
        ToEphemeralKey::from_parts(&self.context, b, streams)
    }
}

/// The transforms modulo `q_0` and `p_0`.
fn ephemeral_tables(context: &Context) -> [&NttTable; 2] {
    [context.ring().table(0), context.ring().table(context.ring().chain_len())]
}

fn read_table<R: Read>(source: &mut Source<R>, context: &Context) -> Result<Vec<(u32, usize)>, FormatError> {
    let (n, top) = (context.parameters().n() as u32, context.parameters().max_level());
    // Only a set with bootstrapping has keys to and from an ephemeral secret.
    let known_ids: &[u32] = match context.parameters().bootstrap() {
        Some(_) => &[RELINEARISATION_KEY_ID, FROM_EPHEMERAL_KEY_ID, TO_EPHEMERAL_KEY_ID],
        None => &[RELINEARISATION_KEY_ID],
    };
    let (what, offset) = ("number of keys", source.offset());
    let count = source.u32(what)?;
    if count > n + 1 {
        return Err(FormatError::Length { what, offset, expected: u64::from(n) + 1, got: u64::from(count) });
    }
    source.expect("key table", 8 * u64::from(count))?;
    let mut entries: Vec<(u32, usize)> = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let offset = source.offset();
        let key_id = source.u32("key id")?;
        let known = known_ids.contains(&key_id) || (key_id % 2 == 1 && key_id < 2 * n);
        if !known || entries.last().is_some_and(|(last, _)| *last >= key_id) {
            let expected = format!("one of {known_ids:?} or an odd number below {}, ascending", 2 * n);
            return Err(FormatError::Value { what: "key id", offset, expected, got: key_id.to_string() });
        }
        let offset = source.offset();
        let level = source.u32("key level")?;
        let top = if key_id == TO_EPHEMERAL_KEY_ID { 0 } else { top };
        if level as usize > top {
            let (expected, got) = (format!("at most {top}"), level.to_string());
            return Err(FormatError::Value { what: "key level", offset, expected, got });
        }
        entries.push((key_id, level as usize));
    }
    Ok(entries)
}

/// Reads all keys of a file into a set.
///
/// # Errors
/// [`CkksError::Format`].
pub fn read_evaluation_keys<R: Read>(reader: R, context: &Context) -> Result<EvaluationKeys, CkksError> {
    let mut reader = EvaluationKeyReader::new(reader, context)?;
    let mut keys = EvaluationKeys::new();
    while let Some(key) = reader.next_key()? {
        keys.insert(key);
    }
    Ok(keys)
}
