//! Keys, encryption and error bounds for tests of circuits.

use crate::ckks::noise::{NoiseModel, SlotError, StepError, mul, slot_bound_factor};
use crate::{
    Ciphertext, Complex64, Context, Encoder, EvaluationKeys, Evaluator, KeyGenerator, Parameters, SecretKey, Security,
    Seed, decrypt, encrypt_secret,
};
use std::cell::Cell;

/// Chance that a correct circuit fails a test, per fixture.
const FAILURE: f64 = 1e-9;
/// Upper bound on the real numbers whose errors enter one fixture's bounds: values, intermediate ones included, times slots.
const COMPARED: f64 = 1e8;

/// One key pair with relinearisation and rotation keys, and the noise bounds that hold for it.
pub(crate) struct Fixture {
    pub(crate) context: Context,
    pub(crate) encoder: Encoder,
    secret: SecretKey,
    keys: EvaluationKeys,
    seed: Seed,
    encrypted: Cell<u32>,
    model: NoiseModel,
}

impl Fixture {
    pub(crate) fn new(preset: &str, seed: u128, rotations: impl IntoIterator<Item = i64>) -> Self {
        println!("{preset}, seed {seed}");
        let context = Context::new(Parameters::preset(preset, Security::AllowInsecure).unwrap()).unwrap();
        let level = context.parameters().max_level();
        let generator = KeyGenerator::new(&context, Seed::insecure(seed));
        let secret = generator.secret_key();
        let mut keys = EvaluationKeys::new();
        keys.insert(generator.relinearisation_key(&secret, level).unwrap());
        for steps in rotations {
            keys.insert(generator.rotation_key(&secret, steps, level).unwrap());
        }
        let model = NoiseModel::new(context.parameters());
        let (encoder, seed) = (Encoder::new(&context), Seed::insecure(seed));
        Self { context, encoder, secret, keys, seed, encrypted: Cell::new(0), model }
    }

    pub(crate) fn evaluator(&self) -> Evaluator {
        Evaluator::new(&self.context, &self.keys)
    }

    pub(crate) fn slots(&self) -> usize {
        self.context.parameters().slots()
    }

    pub(crate) fn top(&self) -> usize {
        self.context.parameters().max_level()
    }

    /// A fresh canonical ciphertext of the top level.
    pub(crate) fn encrypt(&self, values: &[Complex64]) -> Ciphertext {
        let scale = self.context.parameters().canonical_scale(self.top());
        let plain = self.encoder.encode(values, self.top(), scale).unwrap();
        let index = self.encrypted.replace(self.encrypted.get() + 1);
        encrypt_secret(&self.context, &self.secret, &plain, &self.seed, index).unwrap()
    }

    pub(crate) fn encrypt_real(&self, values: &[f64]) -> Ciphertext {
        self.encrypt(&values.iter().map(|v| Complex64::new(*v, 0.0)).collect::<Vec<_>>())
    }

    /// The slots of a ciphertext, which must be canonical and have the given level.
    pub(crate) fn decrypt(&self, ct: &Ciphertext, level: usize) -> Vec<Complex64> {
        assert_eq!(ct.level(), level);
        assert_eq!(ct.scale(), self.context.parameters().canonical_scale(level));
        self.encoder.decode(&decrypt(&self.context, &self.secret, ct).unwrap()).unwrap()
    }

    fn slot_bound(&self, variance: f64, level: usize) -> f64 {
        let scale = self.context.parameters().canonical_scale(level);
        std::f64::consts::SQRT_2 * slot_bound_factor(FAILURE, COMPARED) * self.model.slot_std(variance, scale)
    }

    /// Bound on a slot's error after encoding and encryption.
    pub(crate) fn input_error(&self) -> f64 {
        self.slot_bound(self.model.fresh_secret() + self.encoding_variance(), self.top())
    }

    /// Bound on a slot's error after encoding at the canonical scale of the top level.
    pub(crate) fn encoding_error(&self) -> f64 {
        self.slot_bound(self.encoding_variance(), self.top())
    }

    fn encoding_variance(&self) -> f64 {
        crate::ckks::noise::encode()
    }

    /// Bound on what a rotation of a canonical ciphertext of the top level adds to a slot.
    pub(crate) fn rotation_error(&self) -> f64 {
        self.slot_bound(self.model.key_switch(self.top()), self.top())
    }

    /// Bounds for steps between the top level and `depth` levels below it.
    pub(crate) fn steps(&self, depth: usize) -> StepError {
        self.model.step_error(self.top(), self.top() - depth, slot_bound_factor(FAILURE, COMPARED))
    }
}

/// Asserts that every slot is within its bound of the expected value.
pub(crate) fn assert_close(what: &str, got: &[Complex64], expected: &[f64], bound: impl Fn(usize) -> f64) {
    let mut worst = (0.0, 0);
    for (slot, (got, expected)) in got.iter().zip(expected).enumerate() {
        let ratio = (got - expected).norm() / bound(slot);
        assert!(ratio.is_finite(), "{what}: slot {slot} is {got}");
        if ratio > worst.0 {
            worst = (ratio, slot);
        }
    }
    println!("{what}: worst error/bound {:.2e} at slot {}, bound {:.2e}", worst.0, worst.1, bound(worst.1));
    assert!(worst.0 <= 1.0, "{what}: slot {} off by {:.3} times its bound", worst.1, worst.0);
}

/// `count` reproducible numbers in `[-1, 1)` (a linear congruential generator).
pub(crate) fn numbers(seed: u64, count: usize) -> Vec<f64> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// An exact value with a bound on the error that a ciphertext carries in its place; follows a circuit step by step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tracked {
    pub(crate) value: f64,
    pub(crate) error: f64,
    pub(crate) step: StepError,
}

impl Tracked {
    fn with(self, value: f64, error: f64) -> Self {
        Self { value, error, ..self }
    }

    fn slot(self) -> SlotError {
        SlotError { value: self.value.abs(), error: self.error }
    }

    /// A product after its rescale.
    pub(crate) fn times(self, other: Self) -> Self {
        self.with(self.value * other.value, mul(self.slot(), other.slot()) + self.step.rescale)
    }

    /// `c * self` in a sum before its rescale.
    pub(crate) fn weighted(self, c: f64) -> Self {
        let rounding = SlotError { value: c.abs(), error: self.step.constant };
        self.with(c * self.value, mul(self.slot(), rounding))
    }

    /// Multiplied by an integer.
    pub(crate) fn scaled(self, k: f64) -> Self {
        self.with(k * self.value, k.abs() * self.error)
    }

    pub(crate) fn rescaled(self) -> Self {
        self.with(self.value, self.error + self.step.rescale)
    }

    /// Moved to a lower level, by a product with a rounded 1.
    pub(crate) fn moved(self) -> Self {
        self.weighted(1.0).rescaled()
    }

    pub(crate) fn plus(self, constant: f64) -> Self {
        self.with(self.value + constant, self.error + self.step.constant)
    }

    pub(crate) fn minus(self, other: Self) -> Self {
        self.with(self.value - other.value, self.error + other.error)
    }
}
