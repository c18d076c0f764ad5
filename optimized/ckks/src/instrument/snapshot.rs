//! The counters, and copies of them.

use super::{Key, Operation, Stage};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const OPERATIONS: usize = Operation::ALL.len();
const STAGES: usize = Stage::ALL.len();

/// Levels counted apart; operations above them are counted with the last one.
const LEVELS: usize = 128;

/// Sums of one operation and stage.
pub(super) struct Counters {
    residues: AtomicU64,
    key_bytes: AtomicU64,
    plaintext_bytes: AtomicU64,
    nanoseconds: AtomicU64,
}

impl Counters {
    const fn new() -> Self {
        Self {
            residues: AtomicU64::new(0),
            key_bytes: AtomicU64::new(0),
            plaintext_bytes: AtomicU64::new(0),
            nanoseconds: AtomicU64::new(0),
        }
    }

    pub(super) fn add_time(&self, nanoseconds: u64) {
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    pub(super) fn add_residues(&self, residues: usize) {
        self.residues.fetch_add(residues as u64, Ordering::Relaxed);
    }

    pub(super) fn add_key_bytes(&self, bytes: usize) {
        self.key_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn add_plaintext_bytes(&self, bytes: usize) {
        self.plaintext_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn read(&self) -> Work {
        Work {
            residues: self.residues.load(Ordering::Relaxed),
            key_bytes: self.key_bytes.load(Ordering::Relaxed),
            plaintext_bytes: self.plaintext_bytes.load(Ordering::Relaxed),
            time: Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed)),
        }
    }
}

/// Outside of bootstraps, then inside.
static COUNTERS: [[[Counters; STAGES]; OPERATIONS]; 2] =
    [const { [const { [const { Counters::new() }; STAGES] }; OPERATIONS] }; 2];

/// Calls by level, outside of bootstraps and inside.
static CALLS: [[[AtomicU64; LEVELS]; OPERATIONS]; 2] =
    [const { [const { [const { AtomicU64::new(0) }; LEVELS] }; OPERATIONS] }; 2];

/// Bootstraps by level of the input.
static BOOTSTRAPS: [AtomicU64; LEVELS] = [const { AtomicU64::new(0) }; LEVELS];

pub(super) fn cell(key: Key) -> &'static Counters {
    &COUNTERS[usize::from(key.bootstrap)][key.operation as usize][key.stage as usize]
}

pub(super) fn add_calls(bootstrap: bool, operation: Operation, level: usize, calls: usize) {
    let by_level = &CALLS[usize::from(bootstrap)][operation as usize];
    by_level[level.min(LEVELS - 1)].fetch_add(calls as u64, Ordering::Relaxed);
}

pub(super) fn add_bootstrap(level: usize) {
    BOOTSTRAPS[level.min(LEVELS - 1)].fetch_add(1, Ordering::Relaxed);
}

/// Work done in one stage of one operation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Work {
    /// Residues transformed or converted to, of digits multiplied with a key, of polynomials decomposed or divided: `N` to a
    /// limb. 0 for [`Stage::Own`].
    pub residues: u64,
    /// Bytes of keys read.
    pub key_bytes: u64,
    /// Bytes of plaintexts read, in evaluation form.
    pub plaintext_bytes: u64,
    /// Processor time, summed over threads, without that of stages within.
    pub time: Duration,
}

impl std::ops::Add for Work {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            residues: self.residues + other.residues,
            key_bytes: self.key_bytes + other.key_bytes,
            plaintext_bytes: self.plaintext_bytes + other.plaintext_bytes,
            time: self.time + other.time,
        }
    }
}

impl std::iter::Sum for Work {
    fn sum<I: Iterator<Item = Self>>(works: I) -> Self {
        works.fold(Self::default(), |a, b| a + b)
    }
}

/// A copy of all counters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// By bootstrap (outside, inside), operation and stage.
    work: Vec<Work>,
    /// By bootstrap, operation and level; then bootstraps by level.
    calls: Vec<u64>,
}

/// Copies the counters. Work under way is in it up to the last change of its stage.
#[must_use]
pub fn snapshot() -> Snapshot {
    let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
    Snapshot {
        work: COUNTERS.iter().flatten().flatten().map(Counters::read).collect(),
        calls: CALLS.iter().flatten().flatten().chain(&BOOTSTRAPS).map(load).collect(),
    }
}

impl Snapshot {
    /// What was counted after `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let work = |(a, b): (&Work, &Work)| Work {
            residues: a.residues.saturating_sub(b.residues),
            key_bytes: a.key_bytes.saturating_sub(b.key_bytes),
            plaintext_bytes: a.plaintext_bytes.saturating_sub(b.plaintext_bytes),
            time: a.time.saturating_sub(b.time),
        };
        Self {
            work: self.work.iter().zip(&earlier.work).map(work).collect(),
            calls: self.calls.iter().zip(&earlier.calls).map(|(a, b)| a.saturating_sub(*b)).collect(),
        }
    }

    /// Work in one stage of an operation, outside of bootstraps or inside.
    #[must_use]
    pub fn work(&self, bootstrap: bool, operation: Operation, stage: Stage) -> Work {
        self.work[(usize::from(bootstrap) * OPERATIONS + operation as usize) * STAGES + stage as usize]
    }

    /// All work.
    #[must_use]
    pub fn total(&self) -> Work {
        self.work.iter().copied().sum()
    }

    /// Calls of an operation, outside of bootstraps or inside, by level; no more levels than were used.
    #[must_use]
    pub fn calls(&self, bootstrap: bool, operation: Operation) -> &[u64] {
        self.levels(usize::from(bootstrap) * OPERATIONS + operation as usize)
    }

    /// Bootstraps by level of their inputs.
    #[must_use]
    pub fn bootstraps(&self) -> &[u64] {
        self.levels(2 * OPERATIONS)
    }

    /// Rotations, conjugations and relinearisations, in bootstraps and outside.
    #[must_use]
    pub fn key_switches(&self) -> u64 {
        let kinds = || Operation::ALL.into_iter().filter(|operation| operation.switches_keys());
        let calls = |bootstrap| kinds().flat_map(move |operation| self.calls(bootstrap, operation)).sum::<u64>();
        calls(false) + calls(true)
    }

    fn levels(&self, row: usize) -> &[u64] {
        let calls = &self.calls[row * LEVELS..(row + 1) * LEVELS];
        let used = calls.iter().rposition(|count| *count != 0).map_or(0, |last| last + 1);
        &calls[..used]
    }
}
