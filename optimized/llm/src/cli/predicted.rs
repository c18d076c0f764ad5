//! What a plan predicts beside what a run took.

use super::plan::{gibibytes, known_units};
use anyhow::{Result, ensure};
use serde::Serialize;
use touchstone_ckks::Parameters;
use touchstone_llm::circuit::{Circuit, Requirements};
use touchstone_llm::plan::forecast::Forecast;
use touchstone_llm::plan::memory::Memory;
use touchstone_llm::profile::{Node, Profile};

/// Prediction and measurement of one pass.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Comparison {
    /// Whether unit costs were measured on this machine.
    calibrated: bool,
    predicted_seconds: f64,
    measured_seconds: Option<f64>,
    predicted_bytes: usize,
    measured_bytes: Option<u64>,
    memory: Memory,
    nodes: Vec<NodeComparison>,
}

/// One node of the network.
#[derive(Clone, Debug, Serialize)]
struct NodeComparison {
    node: Node,
    predicted: f64,
    measured: Option<f64>,
}

impl Comparison {
    /// The prediction of one pass, nothing measured yet.
    pub(super) fn new(circuit: &Circuit<'_>, parameters: &Parameters, requirements: &Requirements) -> Result<Self> {
        let (units, calibrated) = known_units(rayon::current_num_threads());
        let forecast = Forecast::new(circuit, parameters, requirements, units)?;
        let node = |(node, predicted)| NodeComparison { node, predicted, measured: None };
        Ok(Self {
            calibrated,
            predicted_seconds: forecast.seconds(),
            measured_seconds: None,
            predicted_bytes: forecast.memory.total(),
            measured_bytes: None,
            memory: forecast.memory,
            nodes: forecast.by_node().into_iter().map(node).collect(),
        })
    }

    /// With what so many equal passes took together.
    pub(super) fn measured(mut self, seconds: f64, peak: Option<u64>, profile: &Profile) -> Self {
        let passes = profile.passes as f64;
        (self.measured_seconds, self.measured_bytes) = (Some(seconds), peak);
        self.predicted_seconds *= passes;
        for node in &mut self.nodes {
            node.predicted *= passes;
            node.measured = Some(profile.sum(|entry| entry.node == node.node).seconds);
        }
        self
    }

    /// Refuses a run that is predicted to need more memory than there is.
    pub(super) fn require(&self, limit: u64) -> Result<()> {
        let Memory { keys, bootstrapping, weights, ciphertexts, fixed } = self.memory;
        ensure!(
            self.predicted_bytes as u64 <= limit,
            "--memory: expected at least {} (keys {}, bootstrapping {}, weights {}, ciphertexts {}, other {}), got {}",
            gibibytes(self.predicted_bytes),
            gibibytes(keys),
            gibibytes(bootstrapping),
            gibibytes(weights),
            gibibytes(ciphertexts),
            gibibytes(fixed),
            gibibytes(limit as usize)
        );
        Ok(())
    }

    /// Bytes that are left of a budget for what is kept to save time.
    pub(super) fn left(&self, limit: u64) -> usize {
        usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(self.predicted_bytes)
    }

    pub(super) fn print(&self) {
        if let Some(seconds) = self.measured_seconds {
            println!(
                "predicted   computation {:.1} s, measured {seconds:.1} s; unit costs {}",
                self.predicted_seconds,
                if self.calibrated { "measured on this machine" } else { "built in (see touchstone plan --calibrate)" }
            );
        }
        if let Some(peak) = self.measured_bytes {
            let (predicted, peak) = (gibibytes(self.predicted_bytes), gibibytes(peak as usize));
            println!("memory      {peak} at most, predicted {predicted}");
        }
    }

    /// By node, on standard error.
    pub(super) fn print_nodes(&self) {
        eprintln!("{:<24} {:>12} {:>12}", "node, s", "predicted", "measured");
        for NodeComparison { node, predicted, measured } in &self.nodes {
            eprintln!("{:<24} {predicted:>12.2} {:>12.2}", node.to_string(), measured.unwrap_or(0.0));
        }
    }
}
