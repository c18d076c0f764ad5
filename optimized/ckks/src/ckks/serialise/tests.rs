use super::*;
use crate::ckks::{
    Ciphertext, Encoder, KeyGenerator, Parameters, Security, Seed, encrypt_secret, encryption_stream_keys,
};
use crate::{EvaluationKeys, Evaluator};
use proptest::prelude::*;

struct Fixture {
    context: Context,
    generator: KeyGenerator,
}

impl Fixture {
    fn new(preset: &str) -> Self {
        let context = Context::new(Parameters::preset(preset, Security::AllowInsecure).unwrap()).unwrap();
        let generator = KeyGenerator::new(&context, Seed::insecure(77));
        Self { context, generator }
    }

    fn encrypt(&self, level: usize, index: u32) -> Ciphertext {
        let coefficients: Vec<i64> = (0..self.context.parameters().n() as i64).map(|i| i * 1000 - 7).collect();
        let plain = Encoder::new(&self.context).encode_coeffs(&coefficients, level, 1024.5).unwrap();
        let secret = self.generator.secret_key();
        encrypt_secret(&self.context, &secret, &plain, &Seed::insecure(78), index).unwrap()
    }

    fn streams(&self, level: usize, index: u32) -> Vec<crate::ckks::StreamKey> {
        encryption_stream_keys(&self.context, &Seed::insecure(78), index, level)
    }

    fn evaluation_keys(&self, level: usize) -> EvaluationKeys {
        let secret = self.generator.secret_key();
        let mut keys = EvaluationKeys::new();
        keys.insert(self.generator.relinearisation_key(&secret, level).unwrap());
        keys.insert(self.generator.rotation_key(&secret, 3, level / 2).unwrap());
        keys.insert(self.generator.conjugation_key(&secret, level).unwrap());
        keys
    }

    /// One object of every kind, small enough to be read thousands of times.
    fn objects(&self) -> Vec<(Kind, Vec<u8>)> {
        let secret = self.generator.secret_key();
        let mut objects: Vec<(Kind, Vec<u8>)> = Vec::new();
        let mut add = |kind, write: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = Vec::new();
            write(&mut bytes);
            objects.push((kind, bytes));
        };
        let context = &self.context;
        add(Kind::SecretKey, &|out| write_secret_key(out, context, &secret).unwrap());
        let public = self.generator.public_key(&secret).unwrap();
        add(Kind::PublicKey, &|out| write_public_key(out, context, &public).unwrap());
        add(Kind::EvaluationKeys, &|out| write_evaluation_keys(out, context, &self.evaluation_keys(1)).unwrap());
        let plain = [self.encrypt(1, 0), self.encrypt(0, 1)];
        add(Kind::Ciphertexts, &|out| write_ciphertexts(out, context, &plain).unwrap());
        let fresh = [(self.encrypt(1, 2), self.streams(1, 2))];
        add(Kind::Ciphertexts, &|out| write_fresh_ciphertexts(out, context, &fresh).unwrap());
        objects
    }

    fn read(&self, kind: Kind, bytes: &[u8]) -> Result<(), CkksError> {
        match kind {
            Kind::SecretKey => read_secret_key(bytes, &self.context).map(drop),
            Kind::PublicKey => read_public_key(bytes, &self.context).map(drop),
            Kind::EvaluationKeys => read_evaluation_keys(bytes, &self.context).map(drop),
            Kind::Ciphertexts => read_ciphertexts(bytes, &self.context).map(drop),
        }
    }
}

fn format_error(got: Result<(), CkksError>) -> FormatError {
    match got {
        Err(CkksError::Format(error)) => error,
        other => panic!("expected a format error, got {other:?}"),
    }
}

/// Rules: `r[format.poly]`, `r[format.secret-key]`, `r[format.public-key]`, `r[format.evaluation-keys]`,
/// `r[format.ciphertexts]`.
#[test]
fn round_trips() {
    for preset in ["toy-n5", "toy-n8", "small-n12"] {
        let fixture = Fixture::new(preset);
        let (context, top) = (&fixture.context, fixture.context.parameters().max_level());
        let secret = fixture.generator.secret_key();
        let mut bytes = Vec::new();
        write_secret_key(&mut bytes, context, &secret).unwrap();
        assert_eq!(read_secret_key(&bytes[..], context).unwrap().coefficients(), secret.coefficients());

        let public = fixture.generator.public_key(&secret).unwrap();
        let mut bytes = Vec::new();
        write_public_key(&mut bytes, context, &public).unwrap();
        assert_eq!(read_public_key(&bytes[..], context).unwrap(), public);

        let keys = fixture.evaluation_keys(top);
        let mut bytes = Vec::new();
        write_evaluation_keys(&mut bytes, context, &keys).unwrap();
        assert_eq!(read_evaluation_keys(&bytes[..], context).unwrap(), keys);

        let fresh = fixture.encrypt(top, 5);
        let evaluator = Evaluator::new(context, &keys);
        let product = evaluator.mul_lazy(&fresh, &fresh).unwrap();
        let list = vec![fresh.clone(), product, fixture.encrypt(0, 6)];
        let mut bytes = Vec::new();
        write_ciphertexts(&mut bytes, context, &list).unwrap();
        assert_eq!(read_ciphertexts(&bytes[..], context).unwrap(), list);

        let mut short = Vec::new();
        write_fresh_ciphertexts(&mut short, context, &[(fresh.clone(), fixture.streams(top, 5))]).unwrap();
        assert_eq!(read_ciphertexts(&short[..], context).unwrap(), std::slice::from_ref(&fresh));
        let mut long = Vec::new();
        write_ciphertexts(&mut long, context, &[fresh]).unwrap();
        println!("{preset}: ciphertext of level {top}: {} bytes, fresh {} bytes", long.len(), short.len());
        assert!(short.len() < long.len() * 3 / 5 + 56);
    }
}

#[test]
fn sizes_are_those_of_the_book() {
    let fixture = Fixture::new("toy-n5");
    let sizes: Vec<usize> = fixture.objects().iter().map(|(_, bytes)| bytes.len()).collect();
    // N = 32. Bytes per residue: q_0 has 49 bits, q_1 and q_4 40, the other chain primes 41, both special primes 48.
    let (level_0, level_1, top, special) = (7, 7 + 5, 7 + 5 + 6 + 6 + 5 + 6, 6 + 6);
    let half = |limbs: usize, widths: usize| 16 * limbs + 32 * widths;
    let key = [half(3, level_0 + special), half(4, level_1 + special)];
    let keys = 4 + 3 * 8 + 2 * key[1] + key[0];
    let lists = [4 + 2 * 16 + 2 * 32 * (level_1 + level_0), 4 + 16 + 32 * level_1 + 2 * 16];
    let public = half(8, top + special);
    assert_eq!(sizes, [32 / 4, public, keys, lists[0], lists[1]].map(|payload| 56 + payload));
}

/// Rules: `r[format.length]`.
#[test]
fn truncation_is_refused_at_every_byte() {
    let fixture = Fixture::new("toy-n5");
    for (kind, bytes) in fixture.objects() {
        for length in 0..bytes.len() {
            let error = format_error(fixture.read(kind, &bytes[..length]));
            let FormatError::Truncated { offset, expected, got, .. } = error else {
                panic!("{kind}, {length}: {error}")
            };
            assert_eq!(offset + got as u64, length as u64, "{kind}, {length}");
            assert!(got < expected, "{kind}, {length}");
        }
    }
}

/// Rules: `r[format.fingerprint]`.
#[test]
fn headers_are_checked() {
    let fixture = Fixture::new("toy-n5");
    for (kind, bytes) in fixture.objects() {
        let header = read_header(&bytes[..]).unwrap();
        assert_eq!((header.kind, header.payload), (kind, bytes.len() as u64 - 56));
        let changed = |at: usize, value: u8| {
            let mut changed = bytes.clone();
            changed[at] = value;
            format_error(fixture.read(kind, &changed))
        };
        assert!(matches!(changed(0, 0), FormatError::Magic { .. }));
        assert_eq!(changed(8, 2), FormatError::Version { offset: 8, expected: 1, got: 2 });
        assert!(matches!(changed(12, 9), FormatError::Value { what: "kind", offset: 12, .. }));
        assert!(matches!(changed(20, bytes[20] ^ 1), FormatError::Parameters { offset: 16, .. }));
        assert!(matches!(changed(48, bytes[48] ^ 1), FormatError::Length { .. }), "{kind}");
        assert!(matches!(changed(55, 0xff), FormatError::Length { .. }), "{kind}");
        let other = if kind == Kind::SecretKey { Kind::PublicKey } else { Kind::SecretKey };
        let expected = FormatError::Kind { offset: 12, expected: other, got: kind };
        assert_eq!(format_error(fixture.read(other, &bytes)), expected);
        let mut longer = bytes.clone();
        longer.push(0);
        let expected = FormatError::Trailing { offset: bytes.len() as u64 };
        assert_eq!(format_error(fixture.read(kind, &longer)), expected);
        let foreign = Fixture::new("toy-n8");
        assert!(matches!(format_error(foreign.read(kind, &bytes)), FormatError::Parameters { .. }));
    }
}

#[test]
fn fields_are_checked() {
    let fixture = Fixture::new("toy-n5");
    let objects = fixture.objects();
    let refused = |object: usize, at: usize, patch: &[u8]| {
        let (kind, mut bytes) = objects[object].clone();
        bytes[at..at + patch.len()].copy_from_slice(patch);
        format_error(fixture.read(kind, &bytes))
    };
    let value = |error: FormatError, name: &str, place: u64| matches!(error, FormatError::Value { what, offset, .. } if what == name && offset == place);
    assert!(value(refused(0, 57, &[0xff]), "secret coefficients", 57));
    // The public key has eight stream keys, then q_0 residues of seven bytes.
    assert!(value(refused(1, 56 + 128 + 7, &[0xff; 7]), "public key", 56 + 128 + 7));
    assert!(matches!(refused(2, 56, &[0xff; 4]), FormatError::Length { what: "number of keys", offset: 56, .. }));
    assert!(value(refused(2, 60, &[2]), "key id", 60));
    assert!(value(refused(2, 64, &[6]), "key level", 64));
    assert!(matches!(refused(2, 64, &[2]), FormatError::Length { what: "payload length", .. }));
    assert!(value(refused(2, 68, &[0]), "key id", 68), "ids ascend");
    assert!(matches!(refused(3, 56, &[0xff; 4]), FormatError::Length { what: "ciphertexts", .. }));
    assert!(value(refused(3, 60, &[6]), "level", 60));
    assert!(matches!(refused(3, 60, &[5]), FormatError::Length { what: "ciphertext", offset: 76, .. }));
    assert!(value(refused(3, 64, &[4]), "number of polynomials", 64));
    assert!(value(refused(3, 65, &[2]), "form of the uniform half", 65));
    assert!(value(refused(3, 66, &[1]), "reserved", 66));
    assert!(value(refused(3, 68, &f64::NAN.to_le_bytes()), "scale", 68));
    assert!(value(refused(3, 68, &(-1.0f64).to_le_bytes()), "scale", 68));
    assert!(value(refused(3, 76, &[0xff; 7]), "ciphertext", 76));
}

#[test]
fn a_list_with_too_few_entries_leaves_payload_over() {
    let fixture = Fixture::new("toy-n5");
    let (kind, mut bytes) = fixture.objects()[3].clone();
    bytes[56] = 1;
    assert!(matches!(format_error(fixture.read(kind, &bytes)), FormatError::Length { what: "payload", .. }));
}

#[test]
fn keys_are_written_and_read_one_by_one() {
    let fixture = Fixture::new("toy-n8");
    let keys = fixture.evaluation_keys(4);
    let all: Vec<_> = keys.relin.iter().chain(keys.galois.values()).collect();
    let entries: Vec<_> = all.iter().map(|key| (key.key_id(), key.level())).collect();
    let mut bytes = Vec::new();
    let mut writer = EvaluationKeyWriter::new(&mut bytes, &fixture.context, &entries).unwrap();
    assert!(matches!(writer.write(all[1]), Err(CkksError::Argument { .. })), "out of order");
    all.iter().for_each(|key| writer.write(key).unwrap());
    assert!(matches!(writer.write(all[0]), Err(CkksError::Argument { .. })), "one too many");
    writer.finish().unwrap();
    let mut reader = EvaluationKeyReader::new(&bytes[..], &fixture.context).unwrap();
    assert_eq!(reader.entries(), entries);
    for key in all {
        assert_eq!(reader.next_key().unwrap(), Some(key.clone().into()));
    }
    assert_eq!(reader.next_key().unwrap(), None);

    let unsorted = [(5, 1), (3, 1)];
    assert!(EvaluationKeyWriter::new(Vec::new(), &fixture.context, &unsorted).is_err());
    let unfinished = EvaluationKeyWriter::new(Vec::new(), &fixture.context, &entries).unwrap();
    assert!(matches!(unfinished.finish(), Err(CkksError::Argument { .. })));
}

#[test]
fn ephemeral_keys_are_written_and_read() {
    let fixture = Fixture::new("toy-n5-boot");
    let context = &fixture.context;
    let mut keys = fixture.evaluation_keys(1);
    let (to, from) = fixture.generator.ephemeral_keys(&fixture.generator.secret_key()).unwrap();
    keys.insert(to);
    keys.insert(from);
    let mut bytes = Vec::new();
    write_evaluation_keys(&mut bytes, context, &keys).unwrap();
    let reader = EvaluationKeyReader::new(&bytes[..], context).unwrap();
    let ids: Vec<u32> = reader.entries().iter().map(|entry| entry.0).collect();
    assert!(ids.starts_with(&[0, 2, 4]), "{ids:?}");
    assert_eq!(read_evaluation_keys(&bytes[..], context).unwrap(), keys);
    for length in (0..bytes.len()).step_by(7) {
        let error = format_error(fixture.read(Kind::EvaluationKeys, &bytes[..length]));
        assert!(matches!(error, FormatError::Truncated { .. }), "{length}: {error}");
    }
    // The level of key 4, the third entry after header and count, can only be 0.
    let level = 56 + 4 + 2 * 8 + 4;
    bytes[level] = 1;
    let error = format_error(fixture.read(Kind::EvaluationKeys, &bytes));
    assert!(matches!(error, FormatError::Value { what: "key level", .. }), "{error}");
}

/// Rules: `r[format.stream]`.
#[test]
fn stream_keys_of_another_ciphertext_are_refused() {
    let fixture = Fixture::new("toy-n5");
    let wrong = [(fixture.encrypt(1, 0), fixture.streams(1, 1))];
    let refused = write_fresh_ciphertexts(Vec::new(), &fixture.context, &wrong);
    assert!(matches!(refused, Err(CkksError::Argument { .. })));
}

#[test]
fn failing_writers_and_readers_are_reported() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("unplugged"))
        }
    }
    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("unplugged"))
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let fixture = Fixture::new("toy-n5");
    let io =
        |error| matches!(error, FormatError::Io { what: "magic", offset: 0, ref message } if message == "unplugged");
    assert!(io(format_error(read_public_key(Failing, &fixture.context).map(drop))));
    assert!(io(format_error(write_secret_key(Failing, &fixture.context, &fixture.generator.secret_key()))));
}

/// What the object in `bytes` is written as, if it is accepted.
fn rewritten(fixture: &Fixture, kind: Kind, bytes: &[u8]) -> Option<Vec<u8>> {
    let (context, mut again) = (&fixture.context, Vec::new());
    match kind {
        Kind::SecretKey => write_secret_key(&mut again, context, &read_secret_key(bytes, context).ok()?),
        Kind::PublicKey => write_public_key(&mut again, context, &read_public_key(bytes, context).ok()?),
        Kind::EvaluationKeys => write_evaluation_keys(&mut again, context, &read_evaluation_keys(bytes, context).ok()?),
        Kind::Ciphertexts => write_ciphertexts(&mut again, context, &read_ciphertexts(bytes, context).ok()?),
    }
    .unwrap();
    Some(again)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Readers never panic, and what they accept is written back as the same bytes.
    ///
    /// Rules: `r[format.trust]`.
    #[test]
    fn bit_flips_are_refused_or_harmless(object in 0usize..5, flips in prop::collection::vec(any::<(prop::sample::Index, u8)>(), 1..4)) {
        let fixture = Fixture::new("toy-n5");
        let (kind, mut bytes) = fixture.objects().swap_remove(object);
        for (place, bit) in flips {
            let at = place.index(bytes.len());
            bytes[at] ^= 1 << (bit % 8);
        }
        // The last object holds streams, which are written back expanded.
        if let Some(again) = rewritten(&fixture, kind, &bytes) && object != 4 {
            prop_assert_eq!(&again, &bytes);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), valid_header in any::<bool>()) {
        let fixture = Fixture::new("toy-n5");
        for kind in [Kind::SecretKey, Kind::PublicKey, Kind::EvaluationKeys, Kind::Ciphertexts] {
            let mut input = Vec::new();
            if valid_header {
                begin(&mut input, &fixture.context, kind, bytes.len() as u64).unwrap();
            }
            input.extend(&bytes);
            // Any outcome but a panic: most inputs are refused.
            let _ = fixture.read(kind, &input);
        }
    }
}
