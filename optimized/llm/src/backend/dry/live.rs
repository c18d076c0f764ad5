//! Ciphertexts of a dry run: levels that count how many limbs exist at a time.

use std::cell::Cell;
use std::rc::Rc;

/// Limbs in memory.
#[derive(Debug, Default)]
pub(super) struct Live {
    now: Cell<usize>,
    peak: Cell<usize>,
}

impl Live {
    /// Largest number of limbs that existed together.
    pub(super) fn peak(&self) -> usize {
        self.peak.get()
    }

    /// Limbs that exist while an operation works, besides operands and results.
    pub(super) fn work(&self, limbs: usize) {
        self.peak.set(self.peak.get().max(self.now.get() + limbs));
    }

    fn add(&self, limbs: usize) {
        self.now.set(self.now.get() + limbs);
        self.work(0);
    }

    fn remove(&self, limbs: usize) {
        self.now.set(self.now.get().saturating_sub(limbs));
    }
}

/// What stands for a ciphertext: its level. A clone is another ciphertext, as it is under encryption.
#[derive(Debug)]
pub struct DryCiphertext {
    level: usize,
    polys: usize,
    live: Rc<Live>,
}

impl DryCiphertext {
    pub(super) fn new(level: usize, polys: usize, live: &Rc<Live>) -> Self {
        live.add(polys * (level + 1));
        Self { level, polys, live: Rc::clone(live) }
    }

    /// Its level.
    #[must_use]
    pub fn level(&self) -> usize {
        self.level
    }
}

impl Clone for DryCiphertext {
    fn clone(&self) -> Self {
        Self::new(self.level, self.polys, &self.live)
    }
}

impl Drop for DryCiphertext {
    fn drop(&mut self) {
        self.live.remove(self.polys * (self.level + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peak_counts_what_exists_together() {
        let live = Rc::new(Live::default());
        let first = DryCiphertext::new(3, 2, &live);
        let second = first.clone();
        drop(first);
        let third = DryCiphertext::new(0, 3, &live);
        assert_eq!(live.peak(), 16);
        live.work(10);
        assert_eq!(live.peak(), 8 + 3 + 10);
        drop((second, third));
        live.work(20);
        assert_eq!(live.peak(), 21);
    }
}
