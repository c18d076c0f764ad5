//! Taps: the named values of `r[model.taps]`, and how to read them out of slots.

use crate::circuit::LayerCache;
use crate::error::Result;
use num_complex::Complex64;

/// A named tensor of real numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Tap name, such as `layers.0.attention.scores`.
    pub name: String,
    /// Sizes of the axes, outermost first.
    pub shape: Vec<usize>,
    /// Row-major entries.
    pub values: Vec<f64>,
}

/// Which half of a complex slot holds a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Real part.
    Re,
    /// Imaginary part.
    Im,
}

/// Where one tensor entry lies: `value = factor * part(slot) + offset`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// Which of the tap's ciphertexts.
    pub ciphertext: usize,
    /// Slot within it.
    pub slot: usize,
    /// Real or imaginary part.
    pub part: Part,
    /// Inverse of the public scale factor under which the circuit holds the value.
    pub factor: f64,
    /// Public offset.
    pub offset: f64,
}

/// Reads a tap's tensor from the slots of its ciphertexts; public factors are removed.
#[derive(Clone, Debug, PartialEq)]
pub struct Decode {
    /// Shape of the tensor.
    pub shape: Vec<usize>,
    /// One place per entry in row-major order; `None` for entries that are 0 by definition (above the diagonal).
    pub places: Vec<Option<Place>>,
}

impl Decode {
    /// The tensor's entries from the slots of each ciphertext.
    #[must_use]
    pub fn values<S: AsRef<[Complex64]>>(&self, slots: &[S]) -> Vec<f64> {
        let read = |place: &Place| {
            let slot = slots[place.ciphertext].as_ref()[place.slot];
            let part = if place.part == Part::Re { slot.re } else { slot.im };
            place.factor * part + place.offset
        };
        self.places.iter().map(|place| place.as_ref().map_or(0.0, read)).collect()
    }

    /// Error sizes of the entries from error sizes of the slots (same unit: both absolute, or both standard deviations).
    #[must_use]
    pub fn errors<S: AsRef<[f64]>>(&self, slots: &[S]) -> Vec<f64> {
        let read = |place: &Place| place.factor.abs() * slots[place.ciphertext].as_ref()[place.slot];
        self.places.iter().map(|place| place.as_ref().map_or(0.0, read)).collect()
    }
}

/// Receives ciphertexts at taps while a circuit runs.
pub trait Observer<C> {
    /// Whether a tap that the production path does not compute should be computed for this observer.
    fn wants(&self, name: &str) -> bool;

    /// Called once per tap, in the order of the circuit.
    ///
    /// # Errors
    /// Whatever the observer runs into; the circuit stops.
    fn tap(&mut self, name: &str, ciphertexts: &[&C], decode: &Decode) -> Result<()>;

    /// Called before [`Observer::tap`] where a circuit runs several prompts: the tap is that of prompt `index`.
    fn prompt(&mut self, _index: usize) {}

    /// Called after each block with what the next one, number `next`, starts from, and the keys and values that the pass has kept so far:
    /// a [`State`](crate::circuit::State), to go on from there later.
    ///
    /// # Errors
    /// Whatever the observer runs into; the circuit stops.
    fn boundary(&mut self, _next: usize, _stream: &[C], _kept: &[LayerCache<C>]) -> Result<()> {
        Ok(())
    }
}

/// One observer for each prompt of a batch.
#[derive(Clone, Debug, Default)]
pub struct PerPrompt<O> {
    /// Observers in the order of the prompts.
    pub observers: Vec<O>,
    current: usize,
}

impl<O> PerPrompt<O> {
    /// One observer per prompt.
    #[must_use]
    pub fn new(observers: Vec<O>) -> Self {
        Self { observers, current: 0 }
    }
}

impl<C, O: Observer<C>> Observer<C> for PerPrompt<O> {
    fn wants(&self, name: &str) -> bool {
        self.observers.iter().any(|observer| observer.wants(name))
    }

    fn tap(&mut self, name: &str, ciphertexts: &[&C], decode: &Decode) -> Result<()> {
        match self.observers.get_mut(self.current) {
            Some(observer) if observer.wants(name) => observer.tap(name, ciphertexts, decode),
            _ => Ok(()),
        }
    }

    fn prompt(&mut self, index: usize) {
        self.current = index;
    }
}

/// Observes nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Blind;

impl<C> Observer<C> for Blind {
    fn wants(&self, _name: &str) -> bool {
        false
    }

    fn tap(&mut self, _name: &str, _ciphertexts: &[&C], _decode: &Decode) -> Result<()> {
        Ok(())
    }
}
