//! Where the time of an encrypted run goes: by node of the network and by primitive of CKKS.
//!
//! [`Profiler`] collects while a circuit runs, [`Profile`] is what it saw: tables, JSON (`r[profile.format]`) or a page
//! with charts. Primitives, bytes and levels are known only while a
//! [`Recording`](touchstone_ckks::instrument::Recording) exists.

mod chart;
mod html;
mod node;
mod primitive;
mod report;
mod summary;
mod text;

pub use node::{Node, Operation};
pub use primitive::{Kernel, KernelEntry, Primitive, PrimitiveEntry};
pub use report::{Cost, Levels, NodeEntry, Profile};

use std::time::{Duration, Instant};
use touchstone_ckks::Parameters;
use touchstone_ckks::instrument::{Operation as Engine, Snapshot, is_recording, process_time, snapshot};

/// Clocks and counters when something begins.
#[derive(Clone, Debug)]
pub struct Meter {
    wall: Instant,
    cpu: Duration,
    engine: Option<Snapshot>,
}

impl Meter {
    /// Reads clocks and, if the engine records, its counters.
    #[must_use]
    pub fn start() -> Self {
        Self { engine: is_recording().then(snapshot), cpu: process_time(), wall: Instant::now() }
    }

    /// What happened since: time that passed, processor time, what the engine counted.
    fn stop(&self) -> (Duration, Duration, Option<Snapshot>) {
        let (wall, cpu) = (self.wall.elapsed(), process_time().saturating_sub(self.cpu));
        (wall, cpu, self.engine.as_ref().map(|before| snapshot().since(before)))
    }
}

/// Books the operations of one run under the node of the network that they belong to.
#[derive(Clone, Debug)]
pub struct Profiler {
    start: Meter,
    layer: Option<usize>,
    part: &'static str,
    /// In the order in which parts of the circuit began.
    nodes: Vec<NodeEntry>,
}

impl Default for Profiler {
    fn default() -> Self {
        Self { start: Meter::start(), layer: None, part: "input", nodes: Vec::new() }
    }
}

impl Profiler {
    /// Names the part of the circuit that following records belong to.
    pub fn enter(&mut self, part: &'static str) {
        self.part = part;
    }

    /// Names the layer that following records belong to; none outside of all layers.
    pub fn layer(&mut self, layer: Option<usize>) {
        self.layer = layer;
    }

    /// Books an operation that began with `meter` and ends now; its key switches, those within bootstraps left out, and the
    /// vectors it encoded.
    pub fn record(&mut self, operation: Operation, meter: &Meter, key_switches: usize, encodings: usize) {
        let (wall, cpu, engine) = meter.stop();
        let mut cost = Cost {
            calls: 1,
            seconds: wall.as_secs_f64(),
            cpu_seconds: cpu.as_secs_f64(),
            key_switches: key_switches as u64,
            encodings: encodings as u64,
            ..Cost::default()
        };
        if let Some(engine) = engine {
            cost.key_switches += bootstrap_calls(&engine, Engine::switches_keys);
            cost.encodings += bootstrap_calls(&engine, |operation| operation == Engine::Encode);
            cost.levels = Levels::of(&engine);
            let total = engine.total();
            (cost.key_bytes, cost.plaintext_bytes) = (total.key_bytes, total.plaintext_bytes);
        }
        let entry =
            NodeEntry { layer: self.layer, node: Node::of(self.part, operation), part: self.part.to_owned(), cost };
        report::add_node(&mut self.nodes, entry);
    }

    /// What was booked so far. Time that no operation took is a node of its own, and processor time that no primitive took a
    /// primitive, so that parts add up to totals.
    #[must_use]
    pub fn profile(&self, parameters: &Parameters) -> Profile {
        let (wall, cpu, engine) = self.start.stop();
        let mut profile = Profile::new(parameters);
        (profile.seconds, profile.cpu_seconds) = (wall.as_secs_f64(), cpu.as_secs_f64());
        profile.nodes.clone_from(&self.nodes);
        profile.nodes.push(report::between_operations(&profile));
        if let Some(engine) = engine {
            profile.primitives = primitive::entries(&engine, parameters.n(), cpu);
        }
        profile
    }
}

/// Calls inside of bootstraps of the operations that `select` picks.
fn bootstrap_calls(engine: &Snapshot, select: impl Fn(Engine) -> bool) -> u64 {
    let selected = Engine::ALL.into_iter().filter(|operation| select(*operation));
    selected.flat_map(|operation| engine.calls(true, operation)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use touchstone_ckks::Security;

    #[test]
    fn operations_are_booked_by_layer_node_and_part() {
        let mut profiler = Profiler::default();
        let mut record = |layer, part, operation, key_switches| {
            profiler.layer(layer);
            profiler.enter(part);
            profiler.record(operation, &Meter::start(), key_switches, 1);
        };
        record(Some(1), "GELU", Operation::Polynomial, 5);
        record(Some(0), "GELU", Operation::Polynomial, 4);
        record(Some(0), "MLP up map", Operation::LinearMap, 2);
        record(Some(0), "MLP down map", Operation::LinearMap, 1);
        record(Some(1), "GELU", Operation::Polynomial, 5);
        record(None, "LM head", Operation::LinearMap, 3);
        let parameters = Parameters::preset("toy-n5", Security::AllowInsecure).unwrap();
        let profile = profiler.profile(&parameters);
        assert_eq!(profile.layers(), [Some(0), Some(1), None]);
        let key_switches: Vec<_> = profile.by_node().iter().map(|(node, cost)| (*node, cost.key_switches)).collect();
        let expected = [(Node::PlaintextMatmul, 3), (Node::Gelu, 14), (Node::Head, 3), (Node::Other, 0)];
        assert_eq!(key_switches, expected);
        let cost = profile.sum(|entry| entry.layer == Some(1));
        assert_eq!((cost.calls, cost.key_switches, cost.encodings, cost.levels), (2, 10, 2, None));
        let text = profile.to_string();
        assert!(text.contains("layer 0") && text.contains("layer 1") && text.contains("outside"), "{text}");
    }
}
