//! Where the time of an encrypted run goes: by part of the circuit and by operation.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Kinds of timed operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Linear map by diagonals, with its encodings and giant rotations.
    LinearMap,
    /// Chebyshev polynomial, with its products.
    Polynomial,
    /// Ciphertext product, not relinearised.
    CiphertextProduct,
    /// Relinearisation of a sum of products, and its rescale.
    Relinearisation,
    /// Bootstrapping.
    Bootstrap,
    /// Single rotation.
    Rotation,
    /// Rotations of one ciphertext with a shared decomposition.
    HoistedRotations,
    /// Conjugation.
    Conjugation,
    /// Product with an encoded vector, and its rescale.
    PlaintextProduct,
    /// Product with a constant on the way to a lower level.
    Rescale,
    /// Additions and subtractions.
    Add,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::LinearMap => "linear map",
            Self::Polynomial => "polynomial",
            Self::CiphertextProduct => "ciphertext product",
            Self::Relinearisation => "relinearisation",
            Self::Bootstrap => "bootstrapping",
            Self::Rotation => "rotation",
            Self::HoistedRotations => "hoisted rotations",
            Self::Conjugation => "conjugation",
            Self::PlaintextProduct => "plaintext product",
            Self::Rescale => "constant and rescale",
            Self::Add => "addition",
        })
    }
}

/// Totals of one group of operations.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Total {
    /// Operations.
    pub calls: usize,
    /// Time spent in them.
    pub time: Duration,
    /// Key switches within them: rotations, conjugations, relinearisations.
    pub key_switches: usize,
    /// Vectors encoded within them.
    pub encodings: usize,
}

/// Times and counts of a run.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    stage: &'static str,
    /// In the order in which parts of the circuit began.
    stages: Vec<(&'static str, Total)>,
    operations: BTreeMap<Operation, Total>,
}

impl Profile {
    /// Names the part of the circuit that following records belong to.
    pub fn enter(&mut self, stage: &'static str) {
        self.stage = stage;
        if !self.stages.iter().any(|(name, _)| *name == stage) {
            self.stages.push((stage, Total::default()));
        }
    }

    /// Books one operation.
    pub fn record(&mut self, operation: Operation, time: Duration, key_switches: usize, encodings: usize) {
        let stage = self.stage;
        let add = |total: &mut Total| {
            total.calls += 1;
            total.time += time;
            total.key_switches += key_switches;
            total.encodings += encodings;
        };
        add(self.operations.entry(operation).or_default());
        if let Some((_, total)) = self.stages.iter_mut().find(|(name, _)| *name == stage) {
            add(total);
        }
    }

    /// Totals by part of the circuit, in the order of the circuit.
    #[must_use]
    pub fn stages(&self) -> &[(&'static str, Total)] {
        &self.stages
    }

    /// Totals by operation.
    #[must_use]
    pub fn operations(&self) -> &BTreeMap<Operation, Total> {
        &self.operations
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = |f: &mut fmt::Formatter<'_>, what: &str| {
            writeln!(f, "{what:<32} {:>8} {:>7} {:>13} {:>10}", "seconds", "calls", "key switches", "encodings")
        };
        let row = |f: &mut fmt::Formatter<'_>, name: String, total: &Total| {
            let seconds = total.time.as_secs_f64();
            writeln!(
                f,
                "{name:<32} {seconds:>8.2} {:>7} {:>13} {:>10}",
                total.calls, total.key_switches, total.encodings
            )
        };
        head(f, "part of the circuit")?;
        for (name, total) in &self.stages {
            row(f, (*name).to_owned(), total)?;
        }
        writeln!(f)?;
        head(f, "operation")?;
        for (operation, total) in &self.operations {
            row(f, operation.to_string(), total)?;
        }
        Ok(())
    }
}
