//! Looking into a computation while it is developed: ciphertexts are decrypted at named taps and held against what is predicted.
//!
//! A [`DebugSession`] borrows the secret key and cannot exist without it. **Never on a server**: where the key is, nothing is hidden, and a
//! server that holds it computes on plain data. Nothing else of this crate decrypts during a computation.
//!
//! ```
//! use touchstone_ckks::debug::{DebugSession, OnViolation, Tap};
//! use touchstone_ckks::prediction::TrackedEvaluator;
//! use touchstone_ckks::{Complex64, Context, EvaluationKeys, Evaluator, KeyGenerator, Parameters, Security, Seed};
//!
//! # fn main() -> Result<(), touchstone_ckks::CkksError> {
//! let context = Context::new(Parameters::preset("toy-n8", Security::AllowInsecure)?)?;
//! let secret = KeyGenerator::new(&context, Seed::from_os()?).secret_key();
//! let tracked = TrackedEvaluator::new(&Evaluator::new(&context, &EvaluationKeys::new()));
//! let half = vec![Complex64::new(0.5, 0.0); context.parameters().slots()];
//! let ct = tracked.encrypt_secret(&secret, &half, 8, &Seed::from_os()?, 0)?;
//!
//! let mut session = DebugSession::new(&context, &secret, OnViolation::Fail)?;
//! let record = session.tap(&Tap::new("input").expecting(&half).within(0.0, 1.0), &ct)?;
//! println!("{record}");
//! # Ok(())
//! # }
//! ```

use crate::prediction::Tracked;
use crate::{CkksError, Complex64, Context, Encoder, SecretKey, decrypt};
use std::fmt::{self, Display};
use thiserror::Error;

/// What a session does when a tap shows something that was not predicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnViolation {
    /// Keeps it in the tap's record.
    Record,
    /// Keeps it and fails with [`CkksError::Tap`].
    Fail,
}

/// Something that was not predicted.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
pub enum Violation {
    /// An error above the predicted bound.
    #[error("slot {slot}: expected an error of at most {bound:e}, got {error:e}")]
    Bound {
        /// The slot with the largest error.
        slot: usize,
        /// Its error, an absolute value.
        error: f64,
        /// The predicted bound.
        bound: f64,
    },
    /// A slot outside the interval of its tap, by more than the predicted bound.
    #[error("slot {slot}: expected a real number in [{lo:e}, {hi:e}], got {value}")]
    Escape {
        /// The slot furthest outside.
        slot: usize,
        /// Its value.
        value: Complex64,
        /// Lower end of the interval.
        lo: f64,
        /// Upper end.
        hi: f64,
    },
    /// A slot above the magnitude that the prediction rests on, by more than the predicted bound.
    #[error("slot {slot}: expected an absolute value of at most {magnitude:e}, got {value}")]
    Magnitude {
        /// The largest slot.
        slot: usize,
        /// Its value.
        value: Complex64,
        /// The magnitude of the prediction.
        magnitude: f64,
    },
}

/// A place in a computation, and what is known of the values there.
#[derive(Clone, Copy, Debug)]
pub struct Tap<'a> {
    name: &'a str,
    expected: Option<&'a [Complex64]>,
    interval: Option<(f64, f64)>,
}

impl<'a> Tap<'a> {
    /// A tap of which nothing but the prediction is known.
    #[must_use]
    pub fn new(name: &'a str) -> Self {
        Self { name, expected: None, interval: None }
    }

    /// With the slots that an exact computation has here.
    #[must_use]
    pub fn expecting(self, slots: &'a [Complex64]) -> Self {
        Self { expected: Some(slots), ..self }
    }

    /// With an interval in which all slots lie, real numbers: that of a polynomial that follows, for instance.
    #[must_use]
    pub fn within(self, lo: f64, hi: f64) -> Self {
        Self { interval: Some((lo, hi)), ..self }
    }
}

/// Errors measured at a tap.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// The largest absolute value of a slot's error.
    pub largest: f64,
    /// Root mean square of the errors of real and imaginary parts.
    pub deviation: f64,
}

/// What was seen at a tap.
#[derive(Clone, Debug, PartialEq)]
pub struct TapRecord {
    /// Name of the tap.
    pub name: String,
    /// Level of the ciphertext.
    pub level: usize,
    /// Its scale label.
    pub scale: f64,
    /// The largest absolute value of a slot.
    pub largest: f64,
    /// Predicted standard deviation of a slot's real or imaginary part.
    pub deviation: f64,
    /// Predicted bound on the absolute value of an error.
    pub bound: f64,
    /// Probability that the bound fails.
    pub failure: f64,
    /// Errors, if expected slots were given.
    pub measured: Option<Measured>,
    /// What was not predicted, none if all is well.
    pub violations: Vec<Violation>,
}

impl TapRecord {
    /// Whether the measured error is inside the predicted bound; `None` without expected slots.
    #[must_use]
    pub fn inside(&self) -> Option<bool> {
        self.measured.map(|measured| measured.largest <= self.bound)
    }
}

impl Display for TapRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, level, largest, deviation, bound, .. } = self;
        write!(f, "{name}: level {level}, scale 2^{:.2}, largest slot {largest:.3e}", self.scale.log2())?;
        write!(f, "; predicted deviation {deviation:.2e}, bound {bound:.2e}")?;
        if let Some(measured) = self.measured {
            write!(f, "; measured deviation {:.2e}, largest {:.2e}", measured.deviation, measured.largest)?;
        }
        self.violations.iter().try_for_each(|violation| write!(f, "; VIOLATION: {violation}"))
    }
}

/// Decrypts at taps. Holds the secret key: for development, never on a server.
#[derive(Debug)]
pub struct DebugSession<'a> {
    context: Context,
    encoder: Encoder,
    secret: &'a SecretKey,
    on_violation: OnViolation,
    records: Vec<TapRecord>,
}

impl<'a> DebugSession<'a> {
    /// A session that decrypts with `secret`.
    ///
    /// # Errors
    /// [`CkksError::Fingerprint`] if the key belongs to other parameters.
    pub fn new(context: &Context, secret: &'a SecretKey, on_violation: OnViolation) -> Result<Self, CkksError> {
        context.check_fingerprint("DebugSession::new", &secret.fingerprint())?;
        let encoder = Encoder::new(context);
        Ok(Self { context: context.clone(), encoder, secret, on_violation, records: Vec::new() })
    }

    /// The records so far, in order.
    #[must_use]
    pub fn records(&self) -> &[TapRecord] {
        &self.records
    }

    /// Decrypts, compares and keeps a record.
    ///
    /// # Errors
    /// [`CkksError::Tap`] for the first violation if the session fails on violations (the record is kept); [`CkksError::Slots`] for
    /// expected slots of another number; [`CkksError::Fingerprint`].
    pub fn tap(&mut self, tap: &Tap, ct: &Tracked) -> Result<&TapRecord, CkksError> {
        let slots = self.encoder.decode(&decrypt(&self.context, self.secret, ct.ciphertext())?)?;
        if let Some(expected) = tap.expected.filter(|expected| expected.len() != slots.len()) {
            let operation = "DebugSession::tap";
            return Err(CkksError::Slots { operation, expected: slots.len(), got: expected.len() });
        }
        let record = look(tap, ct, &slots);
        let violation = record.violations.first().copied();
        self.records.push(record);
        match (self.on_violation, violation) {
            (OnViolation::Fail, Some(violation)) => Err(CkksError::Tap { tap: tap.name.to_owned(), violation }),
            _ => Ok(&self.records[self.records.len() - 1]),
        }
    }
}

/// The record of a tap from the decrypted slots.
fn look(tap: &Tap, ct: &Tracked, slots: &[Complex64]) -> TapRecord {
    let prediction = ct.prediction();
    let sizes = slots.iter().map(|z| z.norm());
    let (largest_slot, largest) = worst(sizes);
    let mut violations = Vec::new();
    let measured = tap.expected.map(|expected| {
        let errors: Vec<f64> = slots.iter().zip(expected).map(|(got, z)| (got - z).norm()).collect();
        let (slot, error) = worst(errors.iter().copied());
        if exceeds(error, prediction.bound) {
            violations.push(Violation::Bound { slot, error, bound: prediction.bound });
        }
        let parts = 2.0 * errors.len() as f64;
        Measured { largest: error, deviation: (errors.iter().map(|e| e * e).sum::<f64>() / parts).sqrt() }
    });
    if let Some((lo, hi)) = tap.interval {
        let outside = slots.iter().map(|z| (lo - z.re).max(z.re - hi).max(z.im.abs()));
        let (slot, distance) = worst(outside);
        if exceeds(distance, prediction.bound) {
            violations.push(Violation::Escape { slot, value: slots[slot], lo, hi });
        }
    }
    let magnitude = prediction.magnitude;
    if exceeds(largest, magnitude + prediction.bound) {
        violations.push(Violation::Magnitude { slot: largest_slot, value: slots[largest_slot], magnitude });
    }
    TapRecord {
        name: tap.name.to_owned(),
        level: prediction.level,
        scale: prediction.scale,
        largest,
        deviation: prediction.deviation,
        bound: prediction.bound,
        failure: prediction.failure,
        measured,
        violations,
    }
}

/// Whether a number is above a bound, or is none.
fn exceeds(number: f64, bound: f64) -> bool {
    number.is_nan() || number > bound
}

/// Place and value of the largest number; a NaN is larger than all.
fn worst(numbers: impl Iterator<Item = f64>) -> (usize, f64) {
    let larger = |a: (usize, f64), b: (usize, f64)| if a.1.is_nan() || b.1 <= a.1 { a } else { b };
    numbers.enumerate().reduce(larger).unwrap_or((0, 0.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prediction::TrackedEvaluator;
    use crate::{Ciphertext, EvaluationKeys, Evaluator, KeyGenerator, Parameters, Security, Seed};

    struct Fixture {
        context: Context,
        secret: SecretKey,
        tracked: TrackedEvaluator,
    }

    fn fixture() -> Fixture {
        let context = Context::new(Parameters::preset("toy-n8", Security::AllowInsecure).unwrap()).unwrap();
        let generator = KeyGenerator::new(&context, Seed::insecure(70));
        let secret = generator.secret_key();
        let mut keys = EvaluationKeys::new();
        keys.insert(generator.relinearisation_key(&secret, 8).unwrap());
        let tracked = TrackedEvaluator::new(&Evaluator::new(&context, &keys));
        Fixture { context, secret, tracked }
    }

    impl Fixture {
        fn encrypt(&self, slots: &[Complex64]) -> Tracked {
            self.tracked.encrypt_secret(&self.secret, slots, 8, &Seed::insecure(71), 0).unwrap()
        }

        fn session(&self, on_violation: OnViolation) -> DebugSession<'_> {
            DebugSession::new(&self.context, &self.secret, on_violation).unwrap()
        }

        fn constant(&self, x: f64) -> Vec<Complex64> {
            vec![Complex64::new(x, 0.0); self.context.parameters().slots()]
        }
    }

    #[test]
    fn taps_record_what_they_see() {
        let fixture = fixture();
        let half = fixture.constant(0.5);
        let ct = fixture.encrypt(&half);
        let mut session = fixture.session(OnViolation::Fail);
        session.tap(&Tap::new("input").expecting(&half).within(0.5, 0.5), &ct).unwrap();
        let square = fixture.tracked.mul_rescale(&ct, &ct).unwrap();
        let record = session.tap(&Tap::new("square").expecting(&fixture.constant(0.25)), &square).unwrap();
        assert_eq!((record.name.as_str(), record.level), ("square", 7));
        assert_eq!(record.scale, square.ciphertext().scale());
        assert_eq!((record.deviation, record.bound), (square.prediction().deviation, square.prediction().bound));
        assert!((record.largest - 0.25).abs() <= record.bound);
        assert_eq!(record.inside(), Some(true));
        let measured = record.measured.unwrap();
        assert!(measured.deviation > 0.0 && measured.deviation <= measured.largest);
        assert!(record.to_string().starts_with("square: level 7"));
        assert_eq!(session.tap(&Tap::new("unknown"), &square).unwrap().inside(), None);
        assert_eq!(session.records().len(), 3);
    }

    /// The ciphertext with one residue changed in one limb, as a faulty machine would.
    fn with_fault(fixture: &Fixture, ct: &Tracked) -> Tracked {
        let mut polys: Vec<_> = (0..2).map(|i| ct.ciphertext().poly(i).clone()).collect();
        let residue = &mut polys[0].limbs_mut()[3][17];
        *residue ^= 1;
        let ciphertext = Ciphertext::from_polys(&fixture.context, polys, ct.ciphertext().scale()).unwrap();
        Tracked::new(ciphertext, *ct.prediction()).unwrap()
    }

    #[test]
    fn an_injected_fault_is_caught() {
        let fixture = fixture();
        let half = fixture.constant(0.5);
        let faulty = with_fault(&fixture, &fixture.encrypt(&half));
        let mut session = fixture.session(OnViolation::Fail);
        let error = session.tap(&Tap::new("input").expecting(&half), &faulty).unwrap_err();
        assert!(
            matches!(&error, CkksError::Tap { tap, violation: Violation::Bound { .. } } if tap == "input"),
            "{error}"
        );
        // Without expected slots the magnitude gives it away.
        let error = session.tap(&Tap::new("input"), &faulty).unwrap_err();
        assert!(matches!(error, CkksError::Tap { violation: Violation::Magnitude { .. }, .. }), "{error}");
        let mut session = fixture.session(OnViolation::Record);
        let record = session.tap(&Tap::new("input").expecting(&half), &faulty).unwrap();
        assert_eq!((record.inside(), record.violations.len()), (Some(false), 2));
    }

    #[test]
    fn a_value_outside_its_interval_is_caught() {
        let fixture = fixture();
        let mut slots = fixture.constant(0.5);
        slots[5] = Complex64::new(-1.25, 0.0);
        let ct = fixture.encrypt(&slots);
        let mut session = fixture.session(OnViolation::Fail);
        session.tap(&Tap::new("wide").within(-1.25, 1.0), &ct).unwrap();
        let error = session.tap(&Tap::new("narrow").within(-1.0, 1.0), &ct).unwrap_err();
        let CkksError::Tap { tap, violation: Violation::Escape { slot, lo, hi, .. } } = &error else {
            panic!("{error}");
        };
        assert_eq!((tap.as_str(), *slot, *lo, *hi), ("narrow", 5, -1.0, 1.0));
        let claimed = ct.with_magnitude(1.0);
        let error = session.tap(&Tap::new("claimed"), &claimed).unwrap_err();
        assert!(matches!(error, CkksError::Tap { violation: Violation::Magnitude { slot: 5, .. }, .. }), "{error}");
    }

    #[test]
    fn unsuitable_arguments_are_refused() {
        let fixture = fixture();
        let ct = fixture.encrypt(&fixture.constant(0.5));
        let mut session = fixture.session(OnViolation::Record);
        let short = &fixture.constant(0.5)[1..];
        assert!(matches!(session.tap(&Tap::new("short").expecting(short), &ct), Err(CkksError::Slots { .. })));
        let other = Context::new(Parameters::preset("toy-n5", Security::AllowInsecure).unwrap()).unwrap();
        let error = DebugSession::new(&other, &fixture.secret, OnViolation::Fail).unwrap_err();
        assert!(matches!(error, CkksError::Fingerprint { .. }));
    }
}
