//! Tests of the scheme: operations against slot arithmetic, identities bit for bit, refusals.

mod identities;
mod key_memory;
mod operations;
mod refusals;

use super::*;
use crate::arith::KernelKind;
use num_complex::Complex64;
use touchstone_spec::sampling::RELINEARISATION_KEY_ID;

/// Presets that the tests run on.
const PRESETS: [&str; 2] = ["toy-n8", "small-n12"];
/// Rotations that have a key.
const STEPS: [i64; 4] = [1, -3, 17, 100];
/// Seed of keys and encryptions.
const SEED: u128 = 0x7357;

/// A parameter set with all keys at the top level.
struct Fixture {
    context: Context,
    encoder: Encoder,
    generator: KeyGenerator,
    secret: SecretKey,
    keys: EvaluationKeys,
    evaluator: Evaluator,
}

impl Fixture {
    fn new(preset: &str) -> Self {
        Self::on(Context::new(parameters(preset)).unwrap())
    }

    fn on(context: Context) -> Self {
        println!("{}, kernel {:?}, seed {SEED:#x}", context.parameters().literal().name, context.kernel());
        let top = context.parameters().max_level();
        let generator = KeyGenerator::new(&context, Seed::insecure(SEED));
        let secret = generator.secret_key();
        let mut keys = EvaluationKeys::new();
        keys.insert(generator.relinearisation_key(&secret, top).unwrap());
        keys.insert(generator.conjugation_key(&secret, top).unwrap());
        for steps in STEPS {
            keys.insert(generator.rotation_key(&secret, steps, top).unwrap());
        }
        let evaluator = Evaluator::new(&context, &keys);
        Self { encoder: Encoder::new(&context), context, generator, secret, keys, evaluator }
    }

    fn parameters(&self) -> &Parameters {
        self.context.parameters()
    }

    fn scale(&self, level: usize) -> f64 {
        self.parameters().canonical_scale(level)
    }

    /// Slots with both parts uniform in `[-1, 1]`.
    fn slots(&self, stream: u64) -> Vec<Complex64> {
        let mut state = (SEED as u64) ^ stream.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut draw = || {
            // splitmix64
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (z ^ (z >> 31)) as f64 / 2f64.powi(63) - 1.0
        };
        (0..self.parameters().slots()).map(|_| Complex64::new(draw(), draw())).collect()
    }

    /// An encryption of `slots` at the canonical scale of `level`.
    fn encrypt(&self, slots: &[Complex64], level: usize, index: u32) -> Ciphertext {
        let plain = self.encoder.encode(slots, level, self.scale(level)).unwrap();
        encrypt_secret(&self.context, &self.secret, &plain, &Seed::insecure(SEED + 1), index).unwrap()
    }

    fn decrypt(&self, cipher: &Ciphertext) -> Vec<Complex64> {
        self.encoder.decode(&decrypt(&self.context, &self.secret, cipher).unwrap()).unwrap()
    }

    /// Compares slot by slot; `bound` is on the modulus of the error.
    fn check(&self, what: &str, cipher: &Ciphertext, expected: &[Complex64], bound: f64) {
        let got = self.decrypt(cipher);
        let error = got.iter().zip(expected).map(|(a, b)| (a - b).norm()).fold(0.0, f64::max);
        println!("{what}: error 2^{:.2}, bound 2^{:.2}", error.log2(), bound.log2());
        assert!(error <= bound, "{what}: error {error:e} above {bound:e}");
    }
}

fn parameters(preset: &str) -> Parameters {
    Parameters::preset(preset, Security::AllowInsecure).unwrap()
}

/// All kernels of this machine.
fn kernels() -> impl Iterator<Item = KernelKind> {
    let exists = |kind: &KernelKind| crate::arith::Kernels::with_kind(*kind).is_ok();
    [KernelKind::Scalar, KernelKind::Avx2].into_iter().filter(exists)
}
