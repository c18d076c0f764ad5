//! Opt-in counts and processor time of what the engine does.
//!
//! Time is booked under an [`Operation`] and, within it, a [`Stage`], each nanosecond of a thread once: entering a nested
//! stage ends the booking of the one around it until it is left. Work that rayon moves to another thread takes the
//! place it was started from along. Nothing here changes a result; without a [`Recording`] a hook costs one relaxed load.
//!
//! Counts are those of the whole process: two recordings at once see each other's work. Take the difference of two
//! [`Snapshot`]s for the work between them.

mod clock;
mod snapshot;

pub use clock::process_time;
pub use snapshot::{Snapshot, Work, snapshot};

use snapshot::{add_calls, cell};
use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::MutexGuard;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What an evaluator, encoder or circuit was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Slots to a plaintext.
    Encode,
    /// Rotation of slots, one key switch.
    Rotate,
    /// Conjugation of slots, one key switch.
    Conjugate,
    /// Relinearisation, one key switch. A rescale fused with it is counted as one, its time is here.
    Relinearise,
    /// To or from the ephemeral secret of bootstrapping, and ModRaise between them.
    RaiseModulus,
    /// Division by a chain prime, with the constant that a change of level multiplies by.
    Rescale,
    /// Product with a plaintext, added to a sum or not.
    MultiplyPlain,
    /// Product with a constant.
    MultiplyConstant,
    /// Product of two ciphertexts, not relinearised.
    Multiply,
    /// Sum or difference.
    Add,
    /// Anything else, such as the transforms of key generation and decryption.
    Other,
}

impl Operation {
    /// All operations, in the order of their declaration.
    pub const ALL: [Self; 11] = [
        Self::Encode,
        Self::Rotate,
        Self::Conjugate,
        Self::Relinearise,
        Self::RaiseModulus,
        Self::Rescale,
        Self::MultiplyPlain,
        Self::MultiplyConstant,
        Self::Multiply,
        Self::Add,
        Self::Other,
    ];

    /// Whether each one switches keys once.
    #[must_use]
    pub fn switches_keys(self) -> bool {
        matches!(self, Self::Rotate | Self::Conjugate | Self::Relinearise)
    }
}

/// Part of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// What is in no other stage.
    Own,
    /// Coefficients to evaluation form, and what is done with the values in the same pass.
    ForwardTransform,
    /// Evaluation form to coefficients.
    InverseTransform,
    /// From one residue basis to another.
    BaseConversion,
    /// Key switch: digits of a polynomial and their lifts, apart from transforms and base conversion.
    Decompose,
    /// Key switch: inner product of digits and key.
    InnerProduct,
    /// Key switch: division by `P`, apart from transforms and base conversion.
    ModDown,
}

impl Stage {
    /// All stages, in the order of their declaration.
    pub const ALL: [Self; 7] = [
        Self::Own,
        Self::ForwardTransform,
        Self::InverseTransform,
        Self::BaseConversion,
        Self::Decompose,
        Self::InnerProduct,
        Self::ModDown,
    ];
}

/// Where a thread's time is booked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key {
    bootstrap: bool,
    operation: Operation,
    stage: Stage,
}

const NOWHERE: Key = Key { bootstrap: false, operation: Operation::Other, stage: Stage::Own };

thread_local! {
    /// The open booking of this thread, and the thread's processor time when it began.
    static HERE: Cell<(Option<Key>, u64)> = const { Cell::new((None, 0)) };
}

/// Recordings under way.
static RECORDINGS: AtomicUsize = AtomicUsize::new(0);

/// While one of these exists, the engine counts.
#[derive(Debug)]
pub struct Recording(());

impl Recording {
    /// Starts counting.
    #[must_use]
    pub fn start() -> Self {
        RECORDINGS.fetch_add(1, Ordering::Relaxed);
        Self(())
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        RECORDINGS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether the engine counts at the moment.
#[inline]
#[must_use]
pub fn is_recording() -> bool {
    RECORDINGS.load(Ordering::Relaxed) != 0
}

/// Books this thread's time elsewhere until it is dropped, on the same thread.
#[must_use]
pub(crate) struct Span {
    /// Where to return to; the outer `None` if nothing is recorded.
    before: Option<Option<Key>>,
    /// Makes the type `Sync` and not `Send`.
    thread: PhantomData<MutexGuard<'static, ()>>,
}

impl Span {
    const OFF: Self = Self { before: None, thread: PhantomData };

    fn to(key: Key) -> Self {
        Self { before: Some(switch(Some(key))), thread: PhantomData }
    }
}

impl Drop for Span {
    #[inline]
    fn drop(&mut self) {
        if let Some(before) = self.before {
            switch(before);
        }
    }
}

/// Ends the open booking and opens another; gives the former.
#[cold]
fn switch(next: Option<Key>) -> Option<Key> {
    let (before, since) = HERE.get();
    if before == next {
        return before;
    }
    let now = clock::thread_time();
    if let Some(key) = before {
        cell(key).add_time(now.saturating_sub(since));
    }
    HERE.set((next, now));
    before
}

fn here() -> Key {
    HERE.get().0.unwrap_or(NOWHERE)
}

/// Counts an operation at `level` and books the time under it.
#[inline]
pub(crate) fn operation(operation: Operation, level: usize) -> Span {
    count(operation, level, 1);
    within(operation)
}

/// Counts operations at `level` without booking time.
#[inline]
pub(crate) fn count(operation: Operation, level: usize, calls: usize) {
    if is_recording() {
        add_calls(here().bootstrap, operation, level, calls);
    }
}

/// Books the time under an operation that is counted elsewhere.
#[inline]
pub(crate) fn within(operation: Operation) -> Span {
    if !is_recording() {
        return Span::OFF;
    }
    Span::to(Key { operation, stage: Stage::Own, ..here() })
}

/// Counts a stage of the operation at hand over so many residues, and books the time under it.
#[inline]
pub(crate) fn stage(stage: Stage, residues: usize) -> Span {
    if !is_recording() {
        return Span::OFF;
    }
    let key = Key { stage, ..here() };
    cell(key).add_residues(residues);
    Span::to(key)
}

/// Counts a bootstrap of a ciphertext of `level`; all within is booked as part of it.
#[inline]
pub(crate) fn bootstrap(level: usize) -> Span {
    if !is_recording() {
        return Span::OFF;
    }
    snapshot::add_bootstrap(level);
    Span::to(Key { bootstrap: true, operation: Operation::Other, stage: Stage::Own })
}

/// [`Stage::InnerProduct`] of so many residues of digits, each with one of either half of a key, which has `width` bytes.
#[inline]
pub(crate) fn inner_product(residues: usize, width: usize) -> Span {
    let span = stage(Stage::InnerProduct, residues);
    if is_recording() {
        cell(here()).add_key_bytes(2 * residues * width);
    }
    span
}

/// Counts residues of plaintexts read by the stage at hand.
#[inline]
pub(crate) fn read_plaintext(residues: usize) {
    if is_recording() {
        cell(here()).add_plaintext_bytes(residues * size_of::<u64>());
    }
}

/// A place to take along to other threads.
#[derive(Clone, Copy)]
pub(crate) struct Scope(Option<Key>);

/// The place at hand.
#[inline]
pub(crate) fn scope() -> Scope {
    if is_recording() { Scope(HERE.get().0) } else { Scope(None) }
}

impl Scope {
    /// Books the time of the thread at hand under the place.
    #[inline]
    pub(crate) fn enter(self) -> Span {
        self.0.map_or(Span::OFF, Span::to)
    }

    fn run<T>(self, task: impl FnOnce() -> T) -> T {
        let _scope = self.enter();
        task()
    }
}

/// [`rayon::join`] of two tasks that stay in the place at hand.
pub(crate) fn join<A: Send, B: Send>(a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B + Send) -> (A, B) {
    let scope = scope();
    rayon::join(|| scope.run(a), || scope.run(b))
}
