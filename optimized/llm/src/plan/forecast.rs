//! What a plan will take: time by part and node, keys, plaintexts and memory.

use super::costs::{Costs, Units};
use super::memory::{KeyRow, Memory, key_rows};
use super::{BootstrapCost, Plan};
use crate::backend::dry::Entry;
use crate::circuit::{Circuit, Requirements};
use crate::error::Result;
use crate::profile::Node;
use touchstone_ckks::Parameters;
use touchstone_ckks::ckks::noise::NoiseModel;

/// Bytes of plaintexts encoded for linear maps and products.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Plaintexts {
    /// How many vectors are encoded.
    pub count: usize,
    /// As coefficients.
    pub compact: usize,
    /// In evaluation form at their levels.
    pub cached: usize,
}

/// Predictions for one pass of a circuit.
#[derive(Clone, Debug)]
pub struct Forecast {
    /// The plan.
    pub plan: Plan,
    /// Bootstraps.
    pub bootstraps: usize,
    /// Operations in the order in which they begin.
    pub entries: Vec<Entry>,
    /// Keys by level, the highest first.
    pub keys: Vec<KeyRow>,
    /// Vectors that are encoded.
    pub plaintexts: Plaintexts,
    /// Memory at the peak.
    pub memory: Memory,
    costs: Costs,
    noise: NoiseModel,
    scales: Vec<f64>,
}

impl Forecast {
    /// Predictions for a plan, with unit costs measured where it will run.
    ///
    /// # Errors
    /// As [`Circuit::dry_run`].
    pub fn new(
        circuit: &Circuit<'_>,
        parameters: &Parameters,
        requirements: &Requirements,
        units: Units,
    ) -> Result<Self> {
        let costs = Costs::new(parameters, units)?;
        let dry = circuit.dry_run(parameters, &costs, &requirements.plan)?;
        let entries = dry.entries();
        let limb = parameters.n() * size_of::<u64>();
        let count = entries.iter().map(|entry| entry.encodings).sum();
        let limbs: usize = entries.iter().map(|entry| entry.encodings * (entry.from + 1)).sum();
        Ok(Self {
            plan: requirements.plan.clone(),
            bootstraps: requirements.bootstraps,
            keys: key_rows(parameters, &requirements.keys),
            plaintexts: Plaintexts { count, compact: count * limb, cached: limbs * limb },
            memory: Memory::of(parameters, circuit.model(), &requirements.keys, costs.bootstrapping(), &dry),
            noise: NoiseModel::new(parameters),
            scales: (0..=parameters.max_level()).map(|level| parameters.canonical_scale(level)).collect(),
            entries,
            costs,
        })
    }

    /// Processor seconds.
    #[must_use]
    pub fn cpu_seconds(&self) -> f64 {
        self.entries.iter().map(|entry| self.costs.seconds(&entry.work)).sum()
    }

    /// Seconds that pass.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.entries.iter().map(|entry| self.entry_seconds(entry)).sum()
    }

    /// Seconds that pass for the operations of one entry.
    #[must_use]
    pub fn entry_seconds(&self, entry: &Entry) -> f64 {
        self.costs.elapsed(&entry.work)
    }

    /// Seconds by node, in the order of [`Node::ALL`], nodes without operations left out.
    #[must_use]
    pub fn by_node(&self) -> Vec<(Node, f64)> {
        let seconds = |node: Node| {
            let entries = self.entries.iter().filter(|entry| entry.node() == node);
            entries.map(|entry| self.entry_seconds(entry)).sum()
        };
        Node::ALL.into_iter().map(|node| (node, seconds(node))).filter(|(_, seconds)| *seconds > 0.0).collect()
    }

    /// What bootstraps do and hold.
    #[must_use]
    pub fn bootstrapping(&self) -> &BootstrapCost {
        self.costs.bootstrapping()
    }

    /// Standard deviation of the rounding that an operation ends with, in the real part of a slot (`r[noise.rescale]`, ModDown of
    /// `r[noise.keyswitch]`); none for operations without one, nor for bootstraps, whose error is
    /// [`BootstrapError`](touchstone_ckks::circuits::bootstrap::BootstrapError).
    #[must_use]
    pub fn rounding(&self, entry: &Entry) -> Option<f64> {
        use crate::profile::Operation::{Add, Bootstrap, CiphertextProduct};
        match entry.operation {
            Add | CiphertextProduct | Bootstrap => None,
            _ => self.scales.get(entry.to).map(|scale| self.noise.slot_std(self.noise.rounding(), *scale)),
        }
    }

    /// Runs of equal consecutive layers, each with its entries: first and last layer, or none outside of all layers.
    #[must_use]
    pub fn groups(&self) -> Vec<(Option<[usize; 2]>, &[Entry])> {
        let mut groups: Vec<(Option<[usize; 2]>, &[Entry])> = Vec::new();
        for entries in self.entries.chunk_by(|a, b| a.layer == b.layer) {
            let layer = entries[0].layer;
            match (groups.last_mut(), layer) {
                (Some((Some([_, last]), known)), Some(layer)) if same(known, entries) => *last = layer,
                _ => groups.push((layer.map(|layer| [layer; 2]), entries)),
            }
        }
        groups
    }
}

/// Whether two layers have the same operations.
fn same(a: &[Entry], b: &[Entry]) -> bool {
    let equal = |(a, b): (&Entry, &Entry)| Entry { layer: None, ..a.clone() } == Entry { layer: None, ..b.clone() };
    a.len() == b.len() && a.iter().zip(b).all(equal)
}
