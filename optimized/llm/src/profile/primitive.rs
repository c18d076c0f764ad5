//! Primitives of CKKS, and the kernels that they spend their time in.

use super::Levels;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;
use touchstone_ckks::instrument::{Operation, Snapshot, Stage, Work};

/// Primitives by which processor time is broken down; the engine's [`Operation`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Primitive {
    /// Slots to a plaintext in evaluation form.
    Encode,
    /// Rotation with its key switch.
    Rotate,
    /// Conjugation with its key switch.
    Conjugate,
    /// Relinearisation, with the rescale fused to it.
    Relinearise,
    /// ModRaise and the switches of secrets around it.
    RaiseModulus,
    /// Rescale and change of level.
    Rescale,
    /// Product with a plaintext, accumulated.
    MultiplyPlain,
    /// Product with a constant.
    MultiplyConstant,
    /// Product of two ciphertexts.
    Multiply,
    /// Sum or difference.
    Add,
    /// Time in no primitive: weights to diagonals, memory, threads that wait.
    Other,
}

/// Kernels within a primitive; the engine's [`Stage`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kernel {
    /// Products and sums of residues, permutations, and all that is in no other kernel.
    Pointwise,
    /// Forward number-theoretic transforms.
    ForwardTransform,
    /// Inverse number-theoretic transforms.
    InverseTransform,
    /// Base conversion.
    BaseConversion,
    /// Key switch: digits.
    Decompose,
    /// Key switch: inner product with the key.
    InnerProduct,
    /// Key switch: division by `P`.
    ModDown,
}

/// What one primitive took, inside of bootstraps or outside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PrimitiveEntry {
    /// The primitive.
    pub primitive: Primitive,
    /// Whether it was part of bootstraps.
    pub bootstrap: bool,
    /// How many there were.
    pub calls: u64,
    /// Their levels.
    pub levels: Option<Levels>,
    /// By kernel, each nanosecond once.
    pub kernels: Vec<KernelEntry>,
}

/// What one kernel took within a primitive.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct KernelEntry {
    /// The kernel.
    pub kernel: Kernel,
    /// Limbs of `N` residues that it gave; short transforms count by their length.
    pub limbs: f64,
    /// Processor time.
    pub cpu_seconds: f64,
    /// Bytes of keys read.
    pub key_bytes: u64,
    /// Bytes of plaintexts read.
    pub plaintext_bytes: u64,
}

impl KernelEntry {
    pub(super) fn none(kernel: Kernel) -> Self {
        Self { kernel, limbs: 0.0, cpu_seconds: 0.0, key_bytes: 0, plaintext_bytes: 0 }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.limbs += other.limbs;
        self.cpu_seconds += other.cpu_seconds;
        self.key_bytes += other.key_bytes;
        self.plaintext_bytes += other.plaintext_bytes;
    }
}

impl PrimitiveEntry {
    /// What all kernels took.
    #[must_use]
    pub fn total(&self) -> KernelEntry {
        let mut sum = KernelEntry::none(Kernel::Pointwise);
        self.kernels.iter().for_each(|kernel| sum.add(kernel));
        sum
    }
}

impl Kernel {
    /// All kernels, in the order of tables and charts.
    pub const ALL: [Self; 7] = [
        Self::ForwardTransform,
        Self::InverseTransform,
        Self::BaseConversion,
        Self::Decompose,
        Self::InnerProduct,
        Self::ModDown,
        Self::Pointwise,
    ];

    fn of(stage: Stage) -> Self {
        match stage {
            Stage::Own => Self::Pointwise,
            Stage::ForwardTransform => Self::ForwardTransform,
            Stage::InverseTransform => Self::InverseTransform,
            Stage::BaseConversion => Self::BaseConversion,
            Stage::Decompose => Self::Decompose,
            Stage::InnerProduct => Self::InnerProduct,
            Stage::ModDown => Self::ModDown,
        }
    }
}

impl Primitive {
    /// Whether each one switches keys once.
    #[must_use]
    pub fn switches_keys(self) -> bool {
        matches!(self, Self::Rotate | Self::Conjugate | Self::Relinearise)
    }

    fn of(operation: Operation) -> Self {
        match operation {
            Operation::Encode => Self::Encode,
            Operation::Rotate => Self::Rotate,
            Operation::Conjugate => Self::Conjugate,
            Operation::Relinearise => Self::Relinearise,
            Operation::RaiseModulus => Self::RaiseModulus,
            Operation::Rescale => Self::Rescale,
            Operation::MultiplyPlain => Self::MultiplyPlain,
            Operation::MultiplyConstant => Self::MultiplyConstant,
            Operation::Multiply => Self::Multiply,
            Operation::Add => Self::Add,
            Operation::Other => Self::Other,
        }
    }
}

/// All primitives that were used. What `spent` has in excess of them is added to [`Primitive::Other`] outside of bootstraps.
pub(super) fn entries(engine: &Snapshot, n: usize, spent: Duration) -> Vec<PrimitiveEntry> {
    let unbooked = spent.saturating_sub(engine.total().time).as_secs_f64();
    let kernel = |stage: Stage, work: Work| KernelEntry {
        kernel: Kernel::of(stage),
        limbs: work.residues as f64 / n as f64,
        cpu_seconds: work.time.as_secs_f64(),
        key_bytes: work.key_bytes,
        plaintext_bytes: work.plaintext_bytes,
    };
    let mut entries = Vec::new();
    for bootstrap in [false, true] {
        for operation in Operation::ALL {
            let calls = engine.calls(bootstrap, operation);
            let works = Stage::ALL.map(|stage| (stage, engine.work(bootstrap, operation, stage)));
            let used = works.into_iter().filter(|(_, work)| *work != Work::default());
            let mut entry = PrimitiveEntry {
                primitive: Primitive::of(operation),
                bootstrap,
                calls: calls.iter().sum(),
                levels: Levels::of_calls(calls),
                kernels: used.map(|(stage, work)| kernel(stage, work)).collect(),
            };
            if (operation, bootstrap) == (Operation::Other, false) {
                add_kernel(
                    &mut entry.kernels,
                    KernelEntry { cpu_seconds: unbooked, ..KernelEntry::none(Kernel::Pointwise) },
                );
            }
            if entry.calls != 0 || !entry.kernels.is_empty() {
                entries.push(entry);
            }
        }
    }
    entries
}

/// Adds to the entry of the same primitive, or appends one.
pub(super) fn add_entry(entries: &mut Vec<PrimitiveEntry>, new: PrimitiveEntry) {
    let same = |entry: &&mut PrimitiveEntry| (entry.primitive, entry.bootstrap) == (new.primitive, new.bootstrap);
    match entries.iter_mut().find(same) {
        Some(entry) => {
            entry.calls += new.calls;
            entry.levels = Levels::union(entry.levels, new.levels);
            new.kernels.into_iter().for_each(|kernel| add_kernel(&mut entry.kernels, kernel));
        }
        None => entries.push(new),
    }
}

pub(super) fn add_kernel(kernels: &mut Vec<KernelEntry>, new: KernelEntry) {
    match kernels.iter_mut().find(|entry| entry.kernel == new.kernel) {
        Some(entry) => entry.add(&new),
        None => kernels.push(new),
    }
}

impl fmt::Display for Primitive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Encode => "encode",
            Self::Rotate => "rotate",
            Self::Conjugate => "conjugate",
            Self::Relinearise => "relinearise",
            Self::RaiseModulus => "raise modulus",
            Self::Rescale => "rescale",
            Self::MultiplyPlain => "multiply by plaintext",
            Self::MultiplyConstant => "multiply by constant",
            Self::Multiply => "multiply ciphertexts",
            Self::Add => "add",
            Self::Other => "no primitive",
        })
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pointwise => "pointwise and rest",
            Self::ForwardTransform => "forward NTT",
            Self::InverseTransform => "inverse NTT",
            Self::BaseConversion => "base conversion",
            Self::Decompose => "digits",
            Self::InnerProduct => "key inner product",
            Self::ModDown => "ModDown",
        })
    }
}
