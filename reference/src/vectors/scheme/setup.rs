//! Keys and operands.

use crate::ckks::{
    Ciphertext, Encoder, KeySwitchKey, Parameters, Plaintext, PublicKey, SecretKey, conjugation_element,
    rotation_element,
};
use crate::error::ReferenceError;
use crate::sample::{Seed, Stream, StreamId};
use num_complex::Complex64;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use touchstone_spec::params::ParameterLiteral;
use touchstone_spec::vector::{DRAW_DOMAIN, Value};

/// Rotations for which there are keys.
const ROTATIONS: [i64; 4] = [1, 2, 7, -3];

/// Everything that the seed of a preset gives.
pub struct Setup {
    pub params: Parameters,
    pub seed: Seed,
    pub encoder: Encoder,
    pub secret: SecretKey,
    pub public: PublicKey,
    pub relin: KeySwitchKey,
    pub rotations: BTreeMap<i64, KeySwitchKey>,
    pub conjugation: KeySwitchKey,
}

impl Setup {
    pub fn new(preset: &str) -> Result<Self, ReferenceError> {
        let params = Parameters::new(&ParameterLiteral::preset(preset)?)?;
        let mut seed = *b"scheme level, at";
        for (byte, letter) in seed.iter_mut().rev().zip(preset.bytes().rev()) {
            *byte ^= letter;
        }
        let top = params.max_level().min(3);
        let secret = SecretKey::generate(&params, &seed)?;
        let galois = |g| KeySwitchKey::galois(&params, &seed, &secret, g, top);
        let rotation = |&steps: &i64| Ok((steps, galois(rotation_element(&params, steps))?));
        Ok(Self {
            encoder: Encoder::new(&params),
            public: PublicKey::generate(&params, &seed, &secret)?,
            relin: KeySwitchKey::relinearisation(&params, &seed, &secret, top)?,
            rotations: ROTATIONS.iter().map(rotation).collect::<Result<_, ReferenceError>>()?,
            conjugation: galois(conjugation_element(&params))?,
            seed,
            secret,
            params,
        })
    }

    /// The rotation key, or any key for a rotation that needs none.
    pub fn rotation(&self, steps: i64) -> &KeySwitchKey {
        self.rotations.get(&steps).unwrap_or(&self.conjugation)
    }
}

/// Polynomials by limbs: `[polynomial][limb][coefficient]`.
#[derive(Clone)]
pub struct Residues {
    pub level: usize,
    /// Scale label; absent where there is none.
    pub scale: Option<f64>,
    pub polys: Vec<Vec<Vec<u64>>>,
}

impl Residues {
    /// The record around an array of residues (`r[vector.ciphertext]`).
    pub fn value(&self, polys: Value) -> Value {
        let mut fields =
            BTreeMap::from([("level".to_owned(), Value::integer(self.level)), ("polys".to_owned(), polys)]);
        fields.extend(self.scale.map(|scale| ("scale".to_owned(), Value::real(scale))));
        Value::Record(fields)
    }

    pub fn of(params: &Parameters, c: &Ciphertext) -> Result<Self, ReferenceError> {
        let polys = (0..c.polys.len()).map(|i| c.residues(params, i)).collect::<Result<_, _>>()?;
        Ok(Self { level: c.level, scale: Some(c.scale), polys })
    }
}

/// An input or a result.
#[derive(Clone)]
pub enum Part {
    Residues(Residues),
    Value(Value),
}

impl Part {
    pub fn value(&self) -> Value {
        match self {
            Self::Residues(residues) => {
                let limbs = |poly: &Vec<Vec<u64>>| Value::List(poly.iter().map(|limb| Value::integers(limb)).collect());
                residues.value(Value::List(residues.polys.iter().map(limbs).collect()))
            }
            Self::Value(value) => value.clone(),
        }
    }

    /// Feeds all residues to a hash, little-endian, row-major (`r[vector.accumulated]`).
    pub fn bytes(&self, hash: &mut Sha256) {
        if let Self::Residues(residues) = self {
            residues.polys.iter().flatten().flatten().for_each(|x| hash.update(x.to_le_bytes()));
        }
    }
}

/// Operands of one draw (`r[vector.draw]`).
pub struct Operands {
    pub level: usize,
    pub scale: f64,
    pub a: Ciphertext,
    pub b: Ciphertext,
    pub triple: Ciphertext,
    pub coefficients: Vec<i64>,
    pub slots: Vec<Complex64>,
    pub constant: Complex64,
    pub target: f64,
    pub steps: i64,
    pub lower: usize,
    pub index: u32,
}

impl Operands {
    pub fn draw(setup: &Setup, level: usize, extreme: bool, steps: i64, draw: u32) -> Result<Self, ReferenceError> {
        let params = &setup.params;
        let scale = params.canonical_scale(level)?;
        let polys = |first: u32, count: u32| -> Result<Ciphertext, ReferenceError> {
            let poly = |digit| drawn_poly(setup, level, draw, digit, extreme);
            Ciphertext::from_residues(params, &(first..first + count).map(poly).collect::<Result<Vec<_>, _>>()?, scale)
        };
        let mut stream = Stream::new(&setup.seed, StreamId { digit: 100, ..StreamId::new(DRAW_DOMAIN, draw) });
        let coefficients = (0..params.n()).map(|_| stream.next_u64() as i64 >> 22).collect();
        let mut stream = Stream::new(&setup.seed, StreamId { digit: 101, ..StreamId::new(DRAW_DOMAIN, draw) });
        let mut part = || (stream.next_u64() as i64 >> 11) as f64 / (1u64 << 52) as f64;
        Ok(Self {
            level,
            scale,
            a: polys(0, 2)?,
            b: polys(2, 2)?,
            triple: polys(4, 3)?,
            coefficients,
            slots: (0..params.slots()).map(|_| Complex64::new(part(), part())).collect(),
            constant: Complex64::new(-0.731, 0.118),
            target: scale * scale,
            steps,
            lower: level / 2,
            index: draw,
        })
    }

    /// The plaintext of the drawn coefficients.
    pub fn plaintext(&self, setup: &Setup) -> Result<Plaintext, ReferenceError> {
        Plaintext::from_coefficients(&setup.params, &self.coefficients, self.level, self.scale)
    }

    fn plain_record(&self, coefficients: Value) -> Value {
        Value::Record(BTreeMap::from([
            ("level".to_owned(), Value::integer(self.level)),
            ("scale".to_owned(), Value::real(self.scale)),
            ("coefficients".to_owned(), coefficients),
        ]))
    }

    /// The input called `name`, with its values.
    pub fn part(&self, setup: &Setup, name: &str) -> Result<Part, ReferenceError> {
        let cipher = |c: &Ciphertext| Residues::of(&setup.params, c).map(Part::Residues);
        let value = match name {
            "a" => return cipher(&self.a),
            "b" => return cipher(&self.b),
            "triple" => return cipher(&self.triple),
            "plain" => self.plain_record(Value::integers(&self.coefficients)),
            "slots" => {
                let pair = |z: &Complex64| Value::reals(&[z.re, z.im]);
                Value::List(self.slots.iter().map(pair).collect())
            }
            "constant" => Value::reals(&[self.constant.re, self.constant.im]),
            "target" => Value::real(self.target),
            "scale" => Value::real(self.scale),
            "steps" => Value::integer(self.steps),
            "rotations" => Value::integers(&ROTATIONS),
            "to-level" => Value::integer(self.lower),
            "level" => Value::integer(self.level),
            "index" => Value::integer(self.index),
            "element" => Value::integer(rotation_element(&setup.params, 2)),
            other => return Err(unknown(other)),
        };
        Ok(Part::Value(value))
    }

    /// The input called `name`, with a rule for drawing it in place of values (`r[vector.draw]`).
    pub fn drawn(&self, setup: &Setup, name: &str) -> Result<Value, ReferenceError> {
        let cipher = |first: u32, count: u32| {
            let draw = |name: &str, value: u32| (name.to_owned(), Value::integer(value));
            Value::Record(BTreeMap::from([
                ("level".to_owned(), Value::integer(self.level)),
                ("scale".to_owned(), Value::real(self.scale)),
                draw("draw-from", first),
                draw("draw-count", count),
            ]))
        };
        Ok(match name {
            "a" => cipher(0, 2),
            "b" => cipher(2, 2),
            "triple" => cipher(4, 3),
            "plain" => self.plain_record(Value::word("drawn")),
            "index" => Value::word("drawn"),
            "slots" => Value::word("drawn"),
            other => self.part(setup, other)?.value(),
        })
    }
}

fn unknown(name: &str) -> ReferenceError {
    ReferenceError::BadOperand {
        operation: "vector inputs",
        expected: "a drawn operand".to_owned(),
        got: name.to_owned(),
    }
}

/// A polynomial from the draw streams, one per limb; extreme ones pick from five residues by the drawn number.
fn drawn_poly(
    setup: &Setup,
    level: usize,
    draw: u32,
    digit: u32,
    extreme: bool,
) -> Result<Vec<Vec<u64>>, ReferenceError> {
    let limb = |(limb, &q): (u32, &u64)| {
        let id = StreamId { domain: DRAW_DOMAIN, object: draw, digit, limb };
        let drawn = Stream::new(&setup.seed, id).uniform(setup.params.n(), q);
        let pick = |x: &u64| [0, 1, q / 2, q / 2 + 1, q - 1][(x % 5) as usize];
        if extreme { drawn.iter().map(pick).collect() } else { drawn }
    };
    Ok((0u32..).zip(setup.params.chain(level)?).map(limb).collect())
}
