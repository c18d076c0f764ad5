//! Cases that a backend must refuse. Each is first given to the reference, which must refuse it too.

use super::setup::{Operands, Part, Residues, Setup};
use crate::ckks::{Ciphertext, Evaluator};
use crate::error::ReferenceError;
use num_complex::Complex64;
use touchstone_spec::vector::{Accept, Call, Case, Value};

/// A case and what the reference says to it.
struct Refused {
    name: &'static str,
    rule: &'static str,
    about: &'static str,
    flag: &'static str,
    op: &'static str,
    inputs: Vec<(&'static str, Value)>,
    errors: &'static [&'static str],
    reference: Result<Ciphertext, ReferenceError>,
}

/// All refused cases.
pub fn cases(setup: &Setup) -> Result<Vec<Case>, ReferenceError> {
    let all = [mismatches(setup)?, exhausted(setup)?, arguments(setup)?, malformed(setup)?].concat();
    Ok(all)
}

fn finish(setup: &Setup, refused: Vec<Refused>) -> Result<Vec<Case>, ReferenceError> {
    refused.into_iter().map(|refused| refused.case(setup)).collect()
}

impl Refused {
    fn case(self, setup: &Setup) -> Result<Case, ReferenceError> {
        if self.reference.is_ok() {
            return Err(ReferenceError::BadOperand {
                operation: "refused vectors",
                expected: format!("an error from the reference for {}", self.name),
                got: "a result".to_owned(),
            });
        }
        let is_cipher = |(name, value): &&(&str, Value)| *name != "plain" && value.field("", "polys").is_ok();
        Ok(Case {
            id: format!("scheme/refused/{}/{}", setup.params.name(), self.name),
            rule: self.rule.to_owned(),
            about: self.about.to_owned(),
            flags: vec![self.flag.to_owned()],
            encrypted: self.inputs.iter().filter(is_cipher).map(|(name, _)| (*name).to_owned()).collect(),
            call: Call {
                op: self.op.to_owned(),
                inputs: self.inputs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            },
            taps: Vec::new(),
            outputs: Vec::new(),
            accept: Accept::Reject { errors: self.errors.iter().map(|&error| error.to_owned()).collect() },
        })
    }
}

fn draw(setup: &Setup, level: usize) -> Result<Operands, ReferenceError> {
    Operands::draw(setup, level, false, 1, 50)
}

fn value(setup: &Setup, c: &Ciphertext) -> Result<Value, ReferenceError> {
    Ok(Part::Residues(Residues::of(&setup.params, c)?).value())
}

fn mismatches(setup: &Setup) -> Result<Vec<Case>, ReferenceError> {
    let evaluator = Evaluator::new(&setup.params);
    let (high, low) = (draw(setup, 1)?, draw(setup, 0)?);
    let other = Ciphertext { scale: high.b.scale.next_up(), ..high.b.clone() };
    let rule = "ckks.scale.mismatch";
    let mut all = Vec::new();
    type Binary<'a> = &'a dyn Fn(&Ciphertext, &Ciphertext) -> Result<Ciphertext, ReferenceError>;
    let operations: [(&str, [&'static str; 2], Binary<'_>); 2] = [
        ("add", ["add-level-mismatch", "add-scale-mismatch"], &|a, b| evaluator.add(a, b)),
        ("sub", ["sub-level-mismatch", "sub-scale-mismatch"], &|a, b| evaluator.sub(a, b)),
    ];
    for (op, [level_name, scale_name], run) in operations {
        let pair = |b: &Ciphertext| Ok(vec![("a", value(setup, &high.a)?), ("b", value(setup, b)?)]);
        let about = "Operands of levels 1 and 0.";
        let (inputs, reference): (Result<_, ReferenceError>, _) = (pair(&low.b), run(&high.a, &low.b));
        let (name, flag, errors) = (level_name, "level-mismatch", &["level"][..]);
        all.push(Refused { name, rule, about, flag, op, inputs: inputs?, errors, reference });
        let about = "Scale labels that differ in the last bit.";
        let (inputs, reference): (Result<_, ReferenceError>, _) = (pair(&other), run(&high.a, &other));
        let (name, flag, errors) = (scale_name, "scale-mismatch", &["scale"][..]);
        all.push(Refused { name, rule, about, flag, op, inputs: inputs?, errors, reference });
    }
    all.push(Refused {
        name: "mul-level-mismatch",
        rule,
        about: "Factors of levels 1 and 0.",
        flag: "level-mismatch",
        op: "mul",
        inputs: vec![("a", value(setup, &high.a)?), ("b", value(setup, &low.b)?)],
        errors: &["level"],
        reference: evaluator.mul(&high.a, &low.b),
    });
    finish(setup, all)
}

fn exhausted(setup: &Setup) -> Result<Vec<Case>, ReferenceError> {
    let evaluator = Evaluator::new(&setup.params);
    let (o, bottom) = (draw(setup, 1)?, draw(setup, 0)?);
    let all = vec![
        Refused {
            name: "rescale-at-level-0",
            rule: "ckks.rescale",
            about: "No prime is left to divide by.",
            flag: "level-exhausted",
            op: "rescale",
            inputs: vec![("a", value(setup, &bottom.a)?)],
            errors: &["level-exhausted"],
            reference: evaluator.rescale(&bottom.a),
        },
        Refused {
            name: "drop-upwards",
            rule: "ckks.level.drop",
            about: "Limbs cannot be added.",
            flag: "level-exhausted",
            op: "drop-level",
            inputs: vec![("a", value(setup, &o.a)?), ("to-level", Value::integer(2))],
            errors: &["level-exhausted", "level"],
            reference: evaluator.drop_level(&o.a, 2),
        },
        Refused {
            name: "rotation-without-key",
            rule: "ckks.rotate",
            about: "Rotation by 5, for which no key was made.",
            flag: "missing-key",
            op: "rotate",
            inputs: vec![("a", value(setup, &o.a)?), ("steps", Value::integer(5))],
            errors: &["missing-key"],
            reference: evaluator.rotate(&o.a, 5, setup.rotation(1)),
        },
    ];
    finish(setup, all)
}

fn arguments(setup: &Setup) -> Result<Vec<Case>, ReferenceError> {
    let evaluator = Evaluator::new(&setup.params);
    let o = draw(setup, 1)?;
    let large = Complex64::new((1u64 << 23) as f64, 0.0);
    let constant = |z: Complex64| Value::reals(&[z.re, z.im]);
    let triple = evaluator.mul(&o.a, &o.b)?;
    let all = vec![
        Refused {
            name: "constant-of-2^63",
            rule: "ckks.scalar.add",
            about: "At scale 2^40 the constant 2^23 is 2^63.",
            flag: "oversized",
            op: "add-scalar",
            inputs: vec![("a", value(setup, &o.a)?), ("constant", constant(large))],
            errors: &["argument"],
            reference: evaluator.add_scalar(&o.a, large),
        },
        Refused {
            name: "factor-of-2^63",
            rule: "ckks.scalar.mul",
            about: "Towards the square of the scale the factor 2^23 is 2^63.",
            flag: "oversized",
            op: "mul-scalar",
            inputs: vec![
                ("a", value(setup, &o.a)?),
                ("constant", constant(large)),
                ("target", Value::real(o.scale * o.scale)),
            ],
            errors: &["argument"],
            reference: evaluator.mul_scalar(&o.a, large, o.scale * o.scale),
        },
        Refused {
            name: "negative-target-scale",
            rule: "ckks.scalar.mul",
            about: "A target scale below zero.",
            flag: "oversized",
            op: "mul-scalar",
            inputs: vec![
                ("a", value(setup, &o.a)?),
                ("constant", constant(Complex64::new(1.0, 0.0))),
                ("target", Value::real(-o.scale)),
            ],
            errors: &["argument"],
            reference: evaluator.mul_scalar(&o.a, Complex64::new(1.0, 0.0), -o.scale),
        },
        Refused {
            name: "product-of-a-triple",
            rule: "ckks.mul",
            about: "A factor that was not relinearised.",
            flag: "malformed",
            op: "mul",
            inputs: vec![("a", value(setup, &triple)?), ("b", value(setup, &o.b)?)],
            errors: &["argument"],
            reference: evaluator.mul(&triple, &o.b),
        },
    ];
    finish(setup, all)
}

/// Name, description and damage; the number is the first prime.
type Edit = (&'static str, &'static str, fn(&mut Residues, u64));

fn malformed(setup: &Setup) -> Result<Vec<Case>, ReferenceError> {
    let o = draw(setup, 1)?;
    let good = Residues::of(&setup.params, &o.a)?;
    let q = setup.params.q()[0];
    let edits: [Edit; 4] = [
        ("short-limb", "A limb of one residue.", |r, _| r.polys[0][0].truncate(1)),
        ("residue-not-below-prime", "A residue that equals its prime.", |r, q| r.polys[1][0][3] = q),
        ("uneven-levels", "Polynomials of two levels.", |r, _| r.polys[1].truncate(1)),
        ("one-polynomial", "A ciphertext of one polynomial.", |r, _| r.polys.truncate(1)),
    ];
    let mut all = Vec::new();
    for (name, about, edit) in edits {
        let mut bad = good.clone();
        edit(&mut bad, q);
        let reference = Ciphertext::from_residues(&setup.params, &bad.polys, o.scale);
        let inputs = vec![("a", Part::Residues(bad).value())];
        let errors = &["malformed", "argument", "level"];
        all.push(Refused { name, rule: "ckks.ring", about, flag: "malformed", op: "neg", inputs, errors, reference });
    }
    let mut cases = finish(setup, all)?;
    cases.push(short_slots(setup, &o)?);
    Ok(cases)
}

fn short_slots(setup: &Setup, o: &Operands) -> Result<Case, ReferenceError> {
    let slots = &o.slots[1..];
    let refusal = setup.encoder.encode(slots, o.scale);
    let pairs = slots.iter().map(|z| Value::reals(&[z.re, z.im])).collect();
    Refused {
        name: "one-slot-missing",
        rule: "ckks.encode",
        about: "N/2 - 1 slots.",
        flag: "malformed",
        op: "encode",
        inputs: vec![
            ("slots", Value::List(pairs)),
            ("level", Value::integer(o.level)),
            ("scale", Value::real(o.scale)),
        ],
        errors: &["malformed", "argument"],
        reference: refusal.map(|_| o.a.clone()),
    }
    .case(setup)
}
