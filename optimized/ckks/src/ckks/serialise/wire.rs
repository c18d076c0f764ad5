//! Counted reading and writing of the format's elements.

use super::FormatError;
use crate::ckks::context::Context;
use crate::ckks::sampler::StreamKey;
use crate::ring::{Form, Poly};
use std::io::{ErrorKind, Read, Write};

/// Bytes of a stream key.
pub(super) const STREAM_KEY_BYTES: usize = 16;

/// Bytes of one residue: as many as the prime needs.
pub(super) fn residue_bytes(prime: u64) -> usize {
    (u64::BITS - prime.leading_zeros()).div_ceil(8) as usize
}

/// Bytes of a polynomial of level `level`, over `R_{Q_l P}` if `special` (`r[format.poly]`).
pub(super) fn poly_bytes(context: &Context, level: usize, special: bool) -> u64 {
    primes(context, level, special).map(|prime| (residue_bytes(prime) * context.parameters().n()) as u64).sum()
}

/// Bytes of the stream keys of such a polynomial.
pub(super) fn streams_bytes(context: &Context, level: usize, special: bool) -> u64 {
    (primes(context, level, special).count() * STREAM_KEY_BYTES) as u64
}

fn primes(context: &Context, level: usize, special: bool) -> impl Iterator<Item = u64> {
    let parameters = context.parameters();
    let special = if special { parameters.special() } else { &[] };
    parameters.chain()[..=level].iter().chain(special).copied()
}

/// A reader that knows where it is and how much it may still read.
pub(super) struct Source<R> {
    reader: R,
    offset: u64,
    /// Where the payload ends, once the header has said so.
    end: Option<u64>,
}

impl<R: Read> Source<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, offset: 0, end: None }
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn limit(&mut self, payload: u64) {
        self.end = Some(self.offset.saturating_add(payload));
    }

    /// Payload bytes not yet read.
    pub(super) fn remaining(&self) -> u64 {
        self.end.map_or(u64::MAX, |end| end - self.offset)
    }

    /// Refuses a part of `bytes` bytes that does not fit into the payload. Called before the part is allocated.
    pub(super) fn expect(&self, what: &'static str, bytes: u64) -> Result<(), FormatError> {
        let expected = self.remaining();
        if bytes > expected {
            return Err(FormatError::Length { what, offset: self.offset, expected, got: bytes });
        }
        Ok(())
    }

    pub(super) fn fill(&mut self, what: &'static str, buffer: &mut [u8]) -> Result<(), FormatError> {
        self.expect(what, buffer.len() as u64)?;
        let offset = self.offset;
        let mut got = 0;
        while got < buffer.len() {
            match self.reader.read(&mut buffer[got..]) {
                Ok(0) => return Err(FormatError::Truncated { what, offset, expected: buffer.len(), got }),
                Ok(count) => got += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(FormatError::Io { what, offset, message: error.to_string() }),
            }
        }
        self.offset += got as u64;
        Ok(())
    }

    pub(super) fn array<const K: usize>(&mut self, what: &'static str) -> Result<[u8; K], FormatError> {
        let mut bytes = [0; K];
        self.fill(what, &mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, FormatError> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64, FormatError> {
        self.array(what).map(u64::from_le_bytes)
    }

    pub(super) fn streams(
        &mut self,
        context: &Context,
        level: usize,
        special: bool,
    ) -> Result<Vec<StreamKey>, FormatError> {
        let count = primes(context, level, special).count();
        (0..count).map(|_| self.array("stream key").map(StreamKey::from_bytes)).collect()
    }

    /// Canonical residues modulo a prime, in coefficient form.
    pub(super) fn limb(&mut self, what: &'static str, prime: u64, limb: &mut [u64]) -> Result<(), FormatError> {
        let width = residue_bytes(prime);
        let start = self.offset;
        self.expect(what, (limb.len() * width) as u64)?;
        let mut bytes = vec![0; limb.len() * width];
        self.fill(what, &mut bytes)?;
        for (residue, chunk) in limb.iter_mut().zip(bytes.chunks_exact(width)) {
            let mut word = [0; 8];
            word[..width].copy_from_slice(chunk);
            *residue = u64::from_le_bytes(word);
        }
        if let Some(index) = limb.iter().position(|residue| *residue >= prime) {
            let offset = start + (index * width) as u64;
            let got = limb[index].to_string();
            return Err(FormatError::Value { what, offset, expected: format!("a residue below {prime}"), got });
        }
        Ok(())
    }

    /// A polynomial in evaluation form; its bytes are in coefficient form (`r[format.poly]`).
    pub(super) fn poly(
        &mut self,
        what: &'static str,
        context: &Context,
        level: usize,
        special: bool,
    ) -> Result<Poly, FormatError> {
        self.expect(what, poly_bytes(context, level, special))?;
        let mut poly = context.ring().scratch(level, special, Form::Coeff);
        for (limb, prime) in poly.limbs_mut().iter_mut().zip(primes(context, level, special)) {
            self.limb(what, prime, limb)?;
        }
        poly.make_eval(context.ring());
        Ok(poly)
    }

    /// Ends the object: the payload must be used up, and nothing may follow it (`r[format.length]`).
    pub(super) fn finish(&mut self) -> Result<(), FormatError> {
        let offset = self.offset;
        if self.remaining() != 0 {
            let end = self.end.unwrap_or(offset);
            return Err(FormatError::Length { what: "payload", offset, expected: offset, got: end });
        }
        let mut byte = [0];
        loop {
            match self.reader.read(&mut byte) {
                Ok(0) => return Ok(()),
                Ok(_) => return Err(FormatError::Trailing { offset }),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(FormatError::Io { what: "end", offset, message: error.to_string() }),
            }
        }
    }
}

/// A writer that knows where it is.
pub(super) struct Sink<W> {
    writer: W,
    offset: u64,
}

impl<W: Write> Sink<W> {
    pub(super) fn new(writer: W) -> Self {
        Self { writer, offset: 0 }
    }

    pub(super) fn bytes(&mut self, what: &'static str, bytes: &[u8]) -> Result<(), FormatError> {
        let offset = self.offset;
        let failed = |error: std::io::Error| FormatError::Io { what, offset, message: error.to_string() };
        self.writer.write_all(bytes).map_err(failed)?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    pub(super) fn u32(&mut self, what: &'static str, value: u32) -> Result<(), FormatError> {
        self.bytes(what, &value.to_le_bytes())
    }

    pub(super) fn streams(&mut self, streams: &[StreamKey]) -> Result<(), FormatError> {
        streams.iter().try_for_each(|key| self.bytes("stream key", key.as_bytes()))
    }

    /// Writes canonical residues modulo a prime.
    pub(super) fn limb(&mut self, what: &'static str, prime: u64, limb: &[u64]) -> Result<(), FormatError> {
        let width = residue_bytes(prime);
        let bytes: Vec<u8> = limb.iter().flat_map(|residue| residue.to_le_bytes().into_iter().take(width)).collect();
        self.bytes(what, &bytes)
    }

    /// Writes a polynomial in coefficient form (`r[format.poly]`).
    pub(super) fn poly(&mut self, what: &'static str, context: &Context, poly: &Poly) -> Result<(), FormatError> {
        let coefficients = context.to_coeff(poly);
        let special = poly.limb_count() > poly.level() + 1;
        let mut limbs = coefficients.limbs().iter().zip(primes(context, poly.level(), special));
        limbs.try_for_each(|(limb, prime)| self.limb(what, prime, limb))
    }

    pub(super) fn finish(mut self) -> Result<(), FormatError> {
        let offset = self.offset;
        self.writer.flush().map_err(|error| FormatError::Io { what: "end", offset, message: error.to_string() })
    }
}
