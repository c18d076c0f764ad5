//! Unit costs from a few operations on the machine at hand, kept in a file.

use super::costs::{UNIT_DEGREE, Units};
use super::work::{Basis, Work};
use crate::artifact::read_limited;
use crate::error::{LlmError, Result};
use num_complex::Complex64;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;
use touchstone_ckks::circuits::linear;
use touchstone_ckks::instrument::{Operation, Recording, Snapshot, Stage, process_time, snapshot};
use touchstone_ckks::{
    Ciphertext, Context, Encoder, EvaluationKeys, Evaluator, KeyGenerator, Parameters, Seed, encrypt_secret,
};

/// Largest file of unit costs that is read.
const MAX_BYTES: u64 = 1 << 20;
/// Rotations by one to so many slots are measured.
const BABIES: i64 = 8;
/// Level of the measured operations, or the highest one: about that of a circuit's maps.
const LEVEL: usize = 12;
/// Turns of all operations; the least of them counts.
const TURNS: usize = 6;

/// Measured unit costs by machine, in a file.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibrations {
    /// By name of the processor and number of threads.
    machines: BTreeMap<String, Units>,
}

impl Calibrations {
    /// The file, below the user's cache directory; none if the system tells no such directory.
    #[must_use]
    pub fn file() -> Option<PathBuf> {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")))?;
        Some(cache.join("touchstone").join("unit-costs.json"))
    }

    /// Reads a file; a file that does not exist has no machines.
    ///
    /// # Errors
    /// [`LlmError::Io`]; [`LlmError::File`] for a file that is too long or malformed.
    pub fn read(path: &Path) -> Result<Self> {
        if !path.exists() {
            return Ok(Self::default());
        }
        serde_json::from_slice(&read_limited(path, MAX_BYTES)?).map_err(|error| LlmError::File {
            file: path.display().to_string(),
            operation: "unit costs".to_owned(),
            expected: "a file that touchstone plan --calibrate wrote".to_owned(),
            got: error.to_string(),
        })
    }

    /// Writes the file and its directory.
    ///
    /// # Errors
    /// [`LlmError::Io`].
    pub fn write(&self, path: &Path) -> Result<()> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).map_err(LlmError::io(directory))?;
        }
        let text = serde_json::to_string_pretty(self).map_err(|error| LlmError::io(path)(error.into()))?;
        std::fs::write(path, text + "\n").map_err(LlmError::io(path))
    }

    /// Unit costs of this machine with so many threads, if they were measured.
    #[must_use]
    pub fn units(&self, threads: usize) -> Option<Units> {
        self.machines.get(&machine(threads)).copied()
    }

    /// Keeps unit costs of this machine.
    pub fn insert(&mut self, threads: usize, units: Units) {
        self.machines.insert(machine(threads), units);
    }
}

/// Name of the processor and number of threads.
fn machine(threads: usize) -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let name = name.map_or(std::env::consts::ARCH, |(_, name)| name.trim());
    format!("{name}, {threads} threads")
}

/// Measures unit costs with all threads of the pool: a few seconds at `N = 2^16`.
///
/// What the kernels take is divided by the work that the cost model counts for the same operations. Nothing else should run meanwhile.
///
/// # Errors
/// Those of key generation.
pub fn calibrate(parameters: &Parameters) -> Result<Units> {
    let bench = Bench::new(parameters)?;
    bench.turn()?;
    let _recording = Recording::start();
    // Whatever else the machine does only adds to the time of a turn.
    let mut calmest = Turn::of(&bench)?;
    let mut parallel = calmest.parallel();
    for _ in 1..TURNS {
        let turn = Turn::of(&bench)?;
        parallel = parallel.max(turn.parallel());
        if turn.cpu < calmest.cpu {
            calmest = turn;
        }
    }
    Ok(calmest.units(parameters, parallel))
}

/// One turn of all operations.
struct Turn {
    work: Work,
    measured: Snapshot,
    wall: f64,
    cpu: f64,
}

impl Turn {
    fn of(bench: &Bench) -> Result<Self> {
        let (before, start, cpu) = (snapshot(), Instant::now(), process_time());
        let work = bench.turn()?;
        let (wall, cpu) = (start.elapsed().as_secs_f64(), process_time().saturating_sub(cpu).as_secs_f64());
        Ok(Self { work, measured: snapshot().since(&before), wall, cpu })
    }

    /// Processor seconds by second that passed.
    fn parallel(&self) -> f64 {
        self.cpu / self.wall
    }

    /// What kernels took, by the work that the cost model counts for them.
    fn units(&self, parameters: &Parameters, parallel: f64) -> Units {
        let (n, work) = (parameters.n() as f64, &self.work);
        let (size, depth) = (UNIT_DEGREE / n, UNIT_DEGREE.log2() / n.log2());
        let time = |operation, stage| self.measured.work(false, operation, stage).time.as_secs_f64();
        let stage = |stage| -> f64 { Operation::ALL.into_iter().map(|operation| time(operation, stage)).sum() };
        let (plain, encode) = (time(Operation::MultiplyPlain, Stage::Own), time(Operation::Encode, Stage::Own));
        let passes = stage(Stage::Own) + stage(Stage::Decompose) + stage(Stage::ModDown) - plain - encode;
        // A turn encodes for its linear map only, where every plaintext is reduced as it is multiplied: a pass within encoding, the
        // rest of which is the embedding.
        let reductions = work.plain;
        let pass = passes / (work.pass - reductions);
        let booked = self.measured.total().time.as_secs_f64();
        Units {
            forward: size * depth * stage(Stage::ForwardTransform) / work.forward,
            inverse: size * depth * stage(Stage::InverseTransform) / work.inverse,
            conversion: size * stage(Stage::BaseConversion) / work.conversion,
            key: size * stage(Stage::InnerProduct) / work.key,
            plain: size * plain / work.plain,
            pass: size * pass,
            embedding: size * depth * (encode - reductions * pass).max(0.0) / work.embedding,
            overhead: (self.cpu / booked - 1.0).max(0.0),
            parallel,
        }
    }
}

/// Keys and operands.
struct Bench {
    basis: Basis,
    encoder: Encoder,
    evaluator: Evaluator,
    operand: Ciphertext,
    slots: Vec<Complex64>,
}

impl Bench {
    fn new(parameters: &Parameters) -> Result<Self> {
        let context = Context::new(parameters.clone())?;
        let level = LEVEL.min(parameters.max_level());
        // These keys protect nothing.
        let seed = Seed::insecure(1);
        let generator = KeyGenerator::new(&context, seed.clone());
        let secret = generator.secret_key();
        let mut keys = EvaluationKeys::new();
        keys.insert(generator.relinearisation_key(&secret, level)?);
        for steps in 1..=BABIES {
            keys.insert(generator.galois_key(&secret, context.galois_element(steps), level)?);
        }
        let encoder = Encoder::new(&context);
        let part = |k: usize| ((k * 37 % 101) as f64 / 50.0 - 1.0) / 2.0;
        let slots: Vec<_> = (0..parameters.slots()).map(|k| Complex64::new(part(k), part(k + 7))).collect();
        let plain = encoder.encode(&slots, level, parameters.canonical_scale(level))?;
        let operand = encrypt_secret(&context, &secret, &plain, &seed, 0)?;
        Ok(Self { basis: Basis::new(parameters), encoder, evaluator: Evaluator::new(&context, &keys), operand, slots })
    }

    /// Some operations of each kind, and the work in them.
    fn turn(&self) -> Result<Work> {
        let (ev, basis, operand) = (&self.evaluator, &self.basis, &self.operand);
        let level = operand.level();
        let babies = ev.rotate_hoisted(operand, &(1..=BABIES).collect::<Vec<_>>())?;
        let mut work = basis.rotate_hoisted(level, babies.len());
        linear::apply_diagonals(ev, &self.encoder, &babies, &[0, 1, 2, 3], |_, _| Some(self.slots.clone()))?;
        work += basis.linear(level, 4 * babies.len(), 3);
        for baby in &babies {
            let product = ev.relinearise_rescale(&ev.mul_lazy(operand, baby)?)?;
            ev.add(&product, &ev.to_level(baby, level - 1)?)?;
            work += basis.product(level) + basis.relinearise_rescale(level) + basis.rescale(level);
            work += basis.add(level - 1, 2);
        }
        Ok(work)
    }
}
