//! The project's own engine as a backend.
//!
//! [`Operations`] are the engine's primitives. Tests replace single ones, so that a backend that is wrong in one place runs
//! through everything else unchanged.

mod arithmetic;
mod circuit;
mod model;
mod scheme;
mod values;

use super::{Backend, Reply, Session, refuse};
use crate::ConformError;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Instant;
use touchstone_ckks::arith::Kernels;
use touchstone_ckks::{
    Ciphertext, CkksError, Context, Encoder, EvaluationKeys, Evaluator, KernelKind, KeyGenerator, Parameters,
    Plaintext, PublicKey, SecretKey, Security, Seed, decrypt, encrypt_secret,
};
use touchstone_spec::SpecError;
use touchstone_spec::hexfloat::HexFloat;
use touchstone_spec::protocol::{
    Answer, Closed, Dropped, Fetched, Form, Greeting, Open, Opened, PROTOCOL, Ran, Run, Skip, Stored, as_handle,
};
use touchstone_spec::vector::Value;

/// The primitives that a broken variant may get wrong.
pub trait Operations {
    /// Rescaling.
    ///
    /// # Errors
    /// The engine's.
    fn rescale(&self, evaluator: &Evaluator, ct: &Ciphertext) -> Result<Ciphertext, CkksError> {
        evaluator.rescale(ct)
    }

    /// The product before relinearisation.
    ///
    /// # Errors
    /// The engine's.
    fn mul_lazy(&self, evaluator: &Evaluator, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext, CkksError> {
        evaluator.mul_lazy(a, b)
    }

    /// Relinearisation.
    ///
    /// # Errors
    /// The engine's.
    fn relinearise(&self, evaluator: &Evaluator, ct: &Ciphertext) -> Result<Ciphertext, CkksError> {
        evaluator.relinearise(ct)
    }

    /// Product, relinearised and rescaled, by the engine's fused path.
    ///
    /// # Errors
    /// The engine's.
    fn mul_rescale(&self, evaluator: &Evaluator, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext, CkksError> {
        evaluator.mul_rescale(a, b)
    }

    /// Encryption under the secret key.
    ///
    /// # Errors
    /// The engine's.
    fn encrypt(&self, keys: &Keys, plain: &Plaintext, index: u32) -> Result<Ciphertext, CkksError> {
        encrypt_secret(&keys.context, &keys.secret, plain, &keys.seed, index)
    }

    /// What a session says about itself.
    fn opened(&self, opened: Opened) -> Opened {
        opened
    }
}

/// The engine as it is.
pub struct Unchanged;

impl Operations for Unchanged {}

/// What a seed gives at a preset.
pub struct Keys {
    /// Parameters and tables.
    pub context: Context,
    /// Seed of all draws.
    pub seed: Seed,
    /// Secret key.
    pub secret: SecretKey,
    /// Public key.
    pub public: PublicKey,
}

/// The engine under one kernel.
pub struct Engine {
    kernel: KernelKind,
    operations: Rc<dyn Operations>,
}

impl Engine {
    /// The engine with the fastest kernel of this machine.
    #[must_use]
    pub fn detect() -> Self {
        Self::with_kernel(Kernels::detect().kind())
    }

    /// The engine with a given kernel.
    #[must_use]
    pub fn with_kernel(kernel: KernelKind) -> Self {
        Self { kernel, operations: Rc::new(Unchanged) }
    }

    /// The engine with other primitives.
    #[must_use]
    pub fn with_operations(operations: Rc<dyn Operations>) -> Self {
        Self { operations, ..Self::detect() }
    }
}

/// Features of the engine (`r[vector.features]`).
const FEATURES: [&str; 17] = [
    "arith.bconv",
    "arith.modular",
    "arith.ntt",
    "ckks.linear",
    "ckks.mul",
    "ckks.rescale",
    "ckks.rotate",
    "circuit.attention",
    "circuit.inverse",
    "circuit.layernorm",
    "circuit.matmul",
    "circuit.poly",
    "circuit.power-softmax",
    "circuit.rotary",
    "det.sampling",
    "model.block",
    "taps",
];

impl Backend for Engine {
    fn hello(&mut self) -> Reply<Greeting> {
        Ok(Answer::Ok(Greeting {
            protocol: PROTOCOL.to_owned(),
            name: format!("touchstone-ckks {:?}", self.kernel).to_lowercase(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            language: "Rust".to_owned(),
            features: FEATURES.map(str::to_owned).to_vec(),
        }))
    }

    fn open(&mut self, request: &Open) -> Reply<(Opened, Box<dyn Session>)> {
        let operations = Rc::clone(&self.operations);
        Ok(match EngineSession::new(self.kernel, operations, request) {
            Ok((opened, session)) => {
                let session: Box<dyn Session> = Box::new(session);
                Answer::Ok((opened, session))
            }
            Err(fault) => fault.answer(),
        })
    }

    fn restart(&mut self) -> Result<(), ConformError> {
        Ok(())
    }
}

/// Why a request is refused.
enum Fault {
    Engine(CkksError),
    Malformed(String),
    Unsupported(String),
    Handle(String),
    /// A network that is deeper than the preset: skipped (`r[vector.op.model]`).
    Levels(String),
}

impl From<CkksError> for Fault {
    fn from(error: CkksError) -> Self {
        Self::Engine(error)
    }
}

impl From<touchstone_ckks::arith::ArithError> for Fault {
    fn from(error: touchstone_ckks::arith::ArithError) -> Self {
        Self::Engine(error.into())
    }
}

impl From<SpecError> for Fault {
    fn from(error: SpecError) -> Self {
        Self::Malformed(error.to_string())
    }
}

impl Fault {
    fn argument(text: &str) -> Self {
        Self::Engine(CkksError::Argument { operation: "vector", expected: "admissible inputs", got: text.to_owned() })
    }

    fn answer<T>(self) -> Answer<T> {
        match self {
            Self::Engine(error) => refuse(kind(&error), error),
            Self::Malformed(message) => refuse("malformed", message),
            Self::Unsupported(message) => refuse("unsupported", message),
            Self::Handle(name) => refuse("handle", format!("no handle {name:?}")),
            Self::Levels(reason) => Answer::Skipped(Skip { reason, issue: "by design".to_owned() }),
        }
    }
}

/// The protocol's kind of an engine error (`r[protocol.error]`).
fn kind(error: &CkksError) -> &'static str {
    match error {
        CkksError::Level { .. } => "level",
        CkksError::Scale { .. } => "scale",
        CkksError::LevelExhausted { .. } => "level-exhausted",
        CkksError::MissingKey { .. } | CkksError::KeyLevel { .. } => "missing-key",
        CkksError::Arith(_)
        | CkksError::Argument { .. }
        | CkksError::Degree { .. }
        | CkksError::Slots { .. }
        | CkksError::Parameters { .. } => "argument",
        _ => "internal",
    }
}

/// A stored value.
enum Item {
    Cipher(Ciphertext),
    /// Rows of a batch: ciphertext `j` holds entry `j` of every row, row by row over the slots.
    Columns(Columns),
}

/// A batch of encrypted rows.
#[derive(Clone)]
struct Columns {
    rows: usize,
    columns: Vec<Ciphertext>,
}

/// Keys, stored values and counters.
struct EngineSession {
    keys: Keys,
    encoder: Encoder,
    evaluator: Evaluator,
    operations: Rc<dyn Operations>,
    items: BTreeMap<String, Item>,
    made: usize,
    encrypted: u32,
    runs: usize,
    seconds: f64,
}

impl EngineSession {
    fn new(kernel: KernelKind, operations: Rc<dyn Operations>, request: &Open) -> Result<(Opened, Self), Fault> {
        let parameters = Parameters::from_literal(&request.parameters, Security::AllowInsecure)?;
        let context = Context::with_kernel(parameters, kernel)?;
        let seed = request.seed.as_deref().map_or_else(|| Ok(Seed::from_os()?), values::seed)?;
        let generator = KeyGenerator::new(&context, seed.clone());
        let secret = generator.secret_key();
        let top = context.parameters().max_level();
        let mut evaluation = EvaluationKeys::new();
        evaluation.insert(generator.relinearisation_key(&secret, top)?);
        for steps in &request.rotations {
            let steps = Value::word(steps).as_integer("rotations")?;
            evaluation.insert(generator.rotation_key(&secret, steps, top)?);
        }
        if request.conjugation {
            evaluation.insert(generator.conjugation_key(&secret, top)?);
        }
        let parameters = context.parameters();
        let decimal = |primes: &[u64]| primes.iter().map(u64::to_string).collect();
        let opened = operations.opened(Opened {
            session: String::new(),
            chain: decimal(parameters.chain()),
            special: decimal(parameters.special()),
            scale: HexFloat(parameters.canonical_scale(top)).to_string(),
            key_bytes: evaluation.bytes().to_string(),
        });
        let public = generator.public_key(&secret)?;
        let session = Self {
            encoder: Encoder::new(&context),
            evaluator: Evaluator::new(&context, &evaluation),
            keys: Keys { context, seed, secret, public },
            operations,
            items: BTreeMap::new(),
            made: 0,
            encrypted: 0,
            runs: 0,
            seconds: 0.0,
        };
        Ok((opened, session))
    }

    fn store(&mut self, item: Item) -> String {
        self.made += 1;
        let name = format!("h{}", self.made);
        self.items.insert(name.clone(), item);
        name
    }

    fn labels(item: &Item) -> (String, String) {
        let ct = match item {
            Item::Cipher(ct) => Some(ct),
            Item::Columns(columns) => columns.columns.first(),
        };
        let level = ct.map_or(0, Ciphertext::level).to_string();
        (level, HexFloat(ct.map_or(0.0, Ciphertext::scale)).to_string())
    }

    /// Encrypts rows of reals, column by column, repeating rows to fill the slots.
    fn encrypt_rows(&mut self, rows: &[Vec<f64>]) -> Result<Columns, Fault> {
        let slots = self.keys.context.parameters().slots();
        let width = rows.first().map_or(0, Vec::len);
        if rows.len() > slots || width == 0 || rows.iter().any(|row| row.len() != width) {
            return Err(Fault::argument("rows of one length, at most one per slot"));
        }
        let level = self.keys.context.parameters().max_level();
        let scale = self.keys.context.parameters().canonical_scale(level);
        let mut columns = Vec::with_capacity(width);
        let column = |j: usize| -> Vec<f64> { rows.iter().cycle().take(slots).map(|row| row[j]).collect() };
        for column in (0..width).map(column) {
            let plain = self.encoder.encode_real(&column, level, scale)?;
            columns.push(self.operations.encrypt(&self.keys, &plain, self.encrypted)?);
            self.encrypted += 1;
        }
        Ok(Columns { rows: rows.len(), columns })
    }

    fn decrypt_rows(&self, item: &Columns) -> Result<Value, Fault> {
        let mut rows = vec![Vec::new(); item.rows];
        for ct in &item.columns {
            let slots = self.encoder.decode(&decrypt(&self.keys.context, &self.keys.secret, ct)?)?;
            rows.iter_mut().zip(&slots).for_each(|(row, z)| row.push(z.re));
        }
        Ok(Value::List(rows.iter().map(|row| Value::reals(row)).collect()))
    }

    fn try_put(&mut self, value: &Value) -> Result<Item, Fault> {
        match value {
            Value::Record(_) => Ok(Item::Cipher(values::ciphertext(&self.keys.context, value)?)),
            rows => {
                let rows = rows.as_rows("tensor")?;
                self.encrypt_rows(&rows).map(Item::Columns)
            }
        }
    }

    fn try_get(&self, handle: &str, form: Form) -> Result<Value, Fault> {
        let item = self.items.get(handle).ok_or_else(|| Fault::Handle(handle.to_owned()))?;
        match (item, form) {
            (Item::Cipher(ct), Form::Residues) => Ok(values::residues(&self.keys.context, ct)),
            (Item::Cipher(ct), Form::Slots) => self.decrypt_rows(&Columns { rows: 1, columns: vec![ct.clone()] }),
            (Item::Columns(columns), Form::Slots) => self.decrypt_rows(columns),
            (Item::Columns(_), Form::Residues) => Err(Fault::Unsupported("a tensor has no residues".to_owned())),
        }
    }

    fn cipher(&self, request: &Run, name: &str) -> Result<&Ciphertext, Fault> {
        match self.item(request, name)? {
            Item::Cipher(ct) => Ok(ct),
            Item::Columns(_) => Err(Fault::Malformed(format!("{name}: a tensor instead of a ciphertext"))),
        }
    }

    fn columns(&self, request: &Run, name: &str) -> Result<Columns, Fault> {
        match self.item(request, name)? {
            Item::Columns(columns) => Ok(columns.clone()),
            Item::Cipher(_) => Err(Fault::Malformed(format!("{name}: a ciphertext instead of a tensor"))),
        }
    }

    fn item(&self, request: &Run, name: &str) -> Result<&Item, Fault> {
        let value = request.inputs.get(name).ok_or_else(|| Fault::Malformed(format!("no input {name:?}")))?;
        let handle = as_handle(value).ok_or_else(|| Fault::Malformed(format!("{name}: not a handle")))?;
        self.items.get(handle).ok_or_else(|| Fault::Handle(handle.to_owned()))
    }

    fn try_run(&mut self, request: &Run) -> Result<Ran, Fault> {
        if let Some(result) = arithmetic::run(self.keys.context.ring().kernels(), request) {
            return result;
        }
        if let Some(result) = scheme::run(self, request) {
            return result;
        }
        if let Some(result) = model::run(self, request) {
            return result;
        }
        match circuit::run(self, request) {
            Some(result) => result,
            None => Err(Fault::Unsupported(format!("no operation {:?}", request.op))),
        }
    }
}

impl Session for EngineSession {
    fn put(&mut self, value: &Value) -> Reply<Stored> {
        Ok(match self.try_put(value) {
            Ok(item) => {
                let (level, scale) = Self::labels(&item);
                Answer::Ok(Stored { handle: self.store(item), level, scale })
            }
            Err(fault) => fault.answer(),
        })
    }

    fn get(&mut self, handle: &str, form: Form) -> Reply<Fetched> {
        Ok(match self.try_get(handle, form) {
            Ok(value) => {
                let (level, scale) = Self::labels(&self.items[handle]);
                Answer::Ok(Fetched { value, level, scale })
            }
            Err(fault) => fault.answer(),
        })
    }

    fn discard(&mut self, handle: &str) -> Reply<Dropped> {
        Ok(match self.items.remove(handle) {
            Some(_) => Answer::Ok(Dropped {}),
            None => Fault::Handle(handle.to_owned()).answer(),
        })
    }

    fn run(&mut self, request: &Run) -> Reply<Ran> {
        let start = Instant::now();
        let result = self.try_run(request);
        self.runs += 1;
        self.seconds += start.elapsed().as_secs_f64();
        Ok(match result {
            Ok(ran) => Answer::Ok(Ran { seconds: start.elapsed().as_secs_f64(), ..ran }),
            Err(fault) => fault.answer(),
        })
    }

    fn close(&mut self) -> Reply<Closed> {
        self.items.clear();
        Ok(Answer::Ok(Closed { operations: self.runs.to_string(), seconds: self.seconds }))
    }
}
