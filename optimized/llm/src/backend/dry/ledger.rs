//! What a dry run saw, operation by operation.

use crate::plan::work::Work;
use crate::profile::{Node, Operation};

/// Operations of one kind in one part of one layer, between the same levels.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Number of the layer; none outside of all layers.
    pub layer: Option<usize>,
    /// The name that the circuit gives the part.
    pub part: &'static str,
    /// What they are.
    pub operation: Operation,
    /// Level of their operands.
    pub from: usize,
    /// Level of their results.
    pub to: usize,
    /// How many there are.
    pub count: usize,
    /// Rotations, conjugations and relinearisations, those within bootstraps left out.
    pub key_switches: usize,
    /// Vectors encoded.
    pub encodings: usize,
    /// What they do together.
    pub work: Work,
}

impl Entry {
    /// The node of the network that they belong to.
    #[must_use]
    pub fn node(&self) -> Node {
        Node::of(self.part, self.operation)
    }

    /// Whether `other` belongs to the same row.
    fn takes(&self, other: &Self) -> bool {
        let key = |entry: &Self| (entry.layer, entry.part, entry.operation, entry.from, entry.to);
        key(self) == key(other)
    }
}

/// Adds to the entry of the same row, or appends one. Rows of a layer stay together in the order in which they began.
pub(super) fn add(entries: &mut Vec<Entry>, new: Entry) {
    // Rows of other layers are behind or before those of the layer at hand.
    let layer = entries.iter_mut().rev().take_while(|entry| entry.layer == new.layer);
    match layer.into_iter().find(|entry| entry.takes(&new)) {
        Some(entry) => {
            entry.count += new.count;
            entry.key_switches += new.key_switches;
            entry.encodings += new.encodings;
            entry.work += new.work;
        }
        None => entries.push(new),
    }
}
