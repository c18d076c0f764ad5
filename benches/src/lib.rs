//! Criterion benches of the engine; see `benches/benches`.
//!
//! All run on one thread, where kernels matter with every kernel that this machine has, so that numbers of one run can be compared.

use touchstone_ckks::{
    Ciphertext, CkksError, Complex64, Context, Encoder, EvaluationKeys, KernelKind, KeyGenerator, Parameters,
    SecretKey, Security, Seed, SwitchKey, encrypt_secret,
};

/// Preset and level of each bench.
const CASES: [(&str, usize); 2] = [("n15-leveled", 14), ("n16-leveled", 31)];

/// Keeps the engine on the calling thread from now on; to be called before anything else.
///
/// # Panics
/// If the engine has started its threads already.
pub fn use_one_thread() {
    rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build_global().expect("called first");
}

/// A parameter set with one kernel, a level and a secret key.
pub struct Fixture {
    preset: String,
    level: usize,
    context: Context,
    secret: SecretKey,
}

impl Fixture {
    /// Every case with every kernel of this machine, slow kernels first.
    ///
    /// # Panics
    /// If a preset is not valid.
    pub fn all() -> impl Iterator<Item = Self> {
        CASES.into_iter().flat_map(|case| KernelKind::available().filter_map(move |kind| Self::new(case, kind)))
    }

    /// Every case with the fastest kernel of this machine, for operations whose kernels are measured elsewhere.
    ///
    /// # Panics
    /// If a preset is not valid.
    pub fn fastest() -> impl Iterator<Item = Self> {
        let kernel = |case| KernelKind::available().rev().find_map(|kind| Self::new(case, kind));
        CASES.into_iter().filter_map(kernel)
    }

    fn new((preset, level): (&'static str, usize), kind: KernelKind) -> Option<Self> {
        let parameters = Parameters::preset(preset, Security::Enforce).expect("presets are valid");
        Some(Self::with_context(preset, level, Context::with_kernel(parameters, kind).ok()?))
    }

    /// A preset of any security with the fastest kernel; `None` if it has no such level, or the level is 0.
    #[must_use]
    pub fn of(preset: &str, level: usize) -> Option<Self> {
        let parameters = Parameters::preset(preset, Security::AllowInsecure).ok()?;
        let valid = (1..=parameters.max_level()).contains(&level);
        valid.then_some(Self::with_context(preset, level, Context::new(parameters).ok()?))
    }

    fn with_context(preset: &str, level: usize, context: Context) -> Self {
        let secret = KeyGenerator::new(&context, Seed::insecure(1)).secret_key();
        Self { preset: preset.to_owned(), level, context, secret }
    }

    /// Names preset, level and kernel.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{}/level {}/{:?}", self.preset, self.level, self.context.kernel()).to_lowercase()
    }

    /// The context.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The secret key.
    #[must_use]
    pub fn secret(&self) -> &SecretKey {
        &self.secret
    }

    /// The generator of all keys.
    #[must_use]
    pub fn generator(&self) -> KeyGenerator {
        KeyGenerator::new(&self.context, Seed::insecure(1))
    }

    /// The level of the measured operations.
    #[must_use]
    pub fn level(&self) -> usize {
        self.level
    }

    /// The canonical scale of the level.
    #[must_use]
    pub fn scale(&self) -> f64 {
        self.context.parameters().canonical_scale(self.level)
    }

    /// Evaluation keys with the one key that `make` generates.
    ///
    /// # Panics
    /// If the key cannot be generated.
    pub fn keys_with(
        &self,
        make: impl FnOnce(&KeyGenerator, &SecretKey) -> Result<SwitchKey, CkksError>,
    ) -> EvaluationKeys {
        let mut keys = EvaluationKeys::new();
        let generator = self.generator();
        keys.insert(make(&generator, &self.secret).expect("the level is valid"));
        keys
    }

    /// Evaluation keys with the given rotations.
    ///
    /// # Panics
    /// If a key cannot be generated.
    pub fn keys_of(&self, rotations: impl IntoIterator<Item = i64>) -> EvaluationKeys {
        let mut keys = EvaluationKeys::new();
        let generator = self.generator();
        for steps in rotations {
            keys.insert(generator.rotation_key(&self.secret, steps, self.level).expect("the level is valid"));
        }
        keys
    }

    /// Slots in the unit square, different for each `index`.
    #[must_use]
    pub fn slots(&self, index: u32) -> Vec<Complex64> {
        let value = |j: usize| Complex64::from_polar(0.9, (j as f64 + 0.5) * f64::from(index + 1));
        (0..self.context.parameters().slots()).map(value).collect()
    }

    /// An encryption of [`Fixture::slots`] at the measured level.
    ///
    /// # Panics
    /// If the engine refuses to encode or encrypt.
    #[must_use]
    pub fn ciphertext(&self, index: u32) -> Ciphertext {
        let plain = Encoder::new(&self.context).encode(&self.slots(index), self.level, self.scale());
        let plain = plain.expect("small slots");
        encrypt_secret(&self.context, &self.secret, &plain, &Seed::insecure(2), index).expect("own key and plaintext")
    }
}
