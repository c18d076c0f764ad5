//! What a run took, as numbers.

use super::{Node, PrimitiveEntry};
use crate::error::{LlmError, Result};
use serde::{Deserialize, Serialize};
use touchstone_ckks::Parameters;
use touchstone_ckks::instrument::{Operation as Engine, Snapshot};

/// `format` of a profile file (`r[profile.format]`).
const FORMAT: &str = "touchstone-profile";

/// The version of the format that this crate reads and writes.
const VERSION: u32 = 1;

/// The name of the part that stands for time between operations.
const BETWEEN: &str = "between operations";

/// Two breakdowns of one or more passes through a circuit, in seconds (`r[profile.format]`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    format: String,
    version: u32,
    /// Name of the parameter set.
    pub parameters: String,
    /// Ring degree `N`.
    pub ring_degree: usize,
    /// Threads that computed.
    pub threads: usize,
    /// Passes through the circuit that are added up here.
    pub passes: u64,
    /// Time that passed.
    pub seconds: f64,
    /// Processor time of all threads.
    pub cpu_seconds: f64,
    /// By layer, node and part of the circuit; seconds add up to the total.
    pub nodes: Vec<NodeEntry>,
    /// By primitive and kernel; processor time adds up to the total. Empty if the engine did not record.
    pub primitives: Vec<PrimitiveEntry>,
}

/// What one part of the circuit took for one node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeEntry {
    /// Number of the layer; none outside of all layers.
    pub layer: Option<usize>,
    /// The node.
    pub node: Node,
    /// The name that the circuit gives the part.
    pub part: String,
    /// What it took.
    #[serde(flatten)]
    pub cost: Cost,
}

/// Sums over operations of the circuit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Operations of the circuit.
    pub calls: u64,
    /// Time that passed.
    pub seconds: f64,
    /// Processor time of all threads.
    pub cpu_seconds: f64,
    /// Levels at which the engine worked, if it recorded.
    pub levels: Option<Levels>,
    /// Rotations, conjugations and relinearisations.
    pub key_switches: u64,
    /// Vectors encoded.
    pub encodings: u64,
    /// Bytes of keys read, if the engine recorded.
    pub key_bytes: u64,
    /// Bytes of plaintexts read, if the engine recorded.
    pub plaintext_bytes: u64,
}

/// A range of levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Levels {
    /// The first and largest one.
    pub highest: usize,
    /// The last one.
    pub lowest: usize,
}

impl Levels {
    /// The range of all operations of the engine.
    pub(super) fn of(engine: &Snapshot) -> Option<Self> {
        let ranges = Engine::ALL
            .into_iter()
            .flat_map(|operation| [false, true].map(|bootstrap| Self::of_calls(engine.calls(bootstrap, operation))));
        ranges.fold(None, Self::union)
    }

    /// The range of calls by level.
    pub(super) fn of_calls(calls: &[u64]) -> Option<Self> {
        let used = |count: &u64| *count != 0;
        Some(Self { highest: calls.iter().rposition(used)?, lowest: calls.iter().position(used)? })
    }

    pub(super) fn union(a: Option<Self>, b: Option<Self>) -> Option<Self> {
        match (a, b) {
            (Some(a), Some(b)) => Some(Self { highest: a.highest.max(b.highest), lowest: a.lowest.min(b.lowest) }),
            (a, b) => a.or(b),
        }
    }
}

impl Cost {
    pub(super) fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.seconds += other.seconds;
        self.cpu_seconds += other.cpu_seconds;
        self.levels = Levels::union(self.levels, other.levels);
        self.key_switches += other.key_switches;
        self.encodings += other.encodings;
        self.key_bytes += other.key_bytes;
        self.plaintext_bytes += other.plaintext_bytes;
    }
}

/// Adds to the entry of the same layer, node and part, or appends one.
pub(super) fn add_node(nodes: &mut Vec<NodeEntry>, new: NodeEntry) {
    let same = |entry: &&mut NodeEntry| (entry.layer, entry.node, &entry.part) == (new.layer, new.node, &new.part);
    match nodes.iter_mut().find(same) {
        Some(entry) => entry.cost.add(&new.cost),
        None => nodes.push(new),
    }
}

/// What is left of the totals.
pub(super) fn between_operations(profile: &Profile) -> NodeEntry {
    let booked = profile.sum(|_| true);
    let cost = Cost {
        seconds: (profile.seconds - booked.seconds).max(0.0),
        cpu_seconds: (profile.cpu_seconds - booked.cpu_seconds).max(0.0),
        ..Cost::default()
    };
    NodeEntry { layer: None, node: Node::Other, part: BETWEEN.to_owned(), cost }
}

impl Profile {
    /// A profile without entries, of one pass.
    #[must_use]
    pub fn new(parameters: &Parameters) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            parameters: parameters.literal().name.clone(),
            ring_degree: parameters.n(),
            threads: rayon::current_num_threads(),
            passes: 1,
            seconds: 0.0,
            cpu_seconds: 0.0,
            nodes: Vec::new(),
            primitives: Vec::new(),
        }
    }

    /// Adds another pass with the same parameters.
    pub fn merge(&mut self, other: Self) {
        self.passes += other.passes;
        self.seconds += other.seconds;
        self.cpu_seconds += other.cpu_seconds;
        for entry in other.nodes {
            add_node(&mut self.nodes, entry);
        }
        for entry in other.primitives {
            super::primitive::add_entry(&mut self.primitives, entry);
        }
    }

    /// The file of a profile (`r[profile.format]`).
    ///
    /// # Errors
    /// None for numbers that are finite.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string_pretty(self).map_err(|error| refuse("finite numbers", error.to_string()))
    }

    /// Reads what [`Profile::to_json`] writes.
    ///
    /// # Errors
    /// [`LlmError::File`] for another format or version.
    pub fn parse(text: &str) -> Result<Self> {
        let profile: Self =
            serde_json::from_str(text).map_err(|error| refuse("fields of r[profile.format]", error.to_string()))?;
        if profile.format != FORMAT || profile.version != VERSION {
            let got = format!("{} version {}", profile.format, profile.version);
            return Err(refuse(&format!("{FORMAT} version {VERSION}"), got));
        }
        Ok(profile)
    }
}

fn refuse(expected: &str, got: String) -> LlmError {
    let (file, operation) = ("profile".to_owned(), "JSON".to_owned());
    LlmError::File { file, operation, expected: expected.to_owned(), got }
}
