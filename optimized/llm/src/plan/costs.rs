//! What operations cost: work of kernels times measured unit costs.
//!
//! Plans are made with [`Units::default`], so that client and server find the same plan on any machine; units that were measured where
//! the circuit runs only say how long the plan takes.

use super::bootstrap::BootstrapCost;
use super::work::{Basis, Work};
use crate::backend::Packing;
use crate::error::Result;
use serde::{Deserialize, Serialize};
use touchstone_ckks::Parameters;

/// Ring degree to whose limbs unit costs refer.
pub const UNIT_DEGREE: f64 = 65536.0;

/// Processor seconds of the kernels by limb of `2^16` residues, and how well threads share the work.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Units {
    /// A forward transform.
    pub forward: f64,
    /// An inverse transform.
    pub inverse: f64,
    /// A row read by a base conversion, for one limb that it gives.
    pub conversion: f64,
    /// A limb of a digit times both halves of a key.
    pub key: f64,
    /// A limb of a plaintext times both halves of a ciphertext, added to a sum.
    pub plain: f64,
    /// Another limb written or added to.
    pub pass: f64,
    /// A vector of `2^15` slots turned into coefficients.
    pub embedding: f64,
    /// Processor time in no kernel (memory, vectors of slots, threads that wait), as a share of that in kernels.
    pub overhead: f64,
    /// Processor seconds by second that passes.
    pub parallel: f64,
}

impl Default for Units {
    /// From benches of the engine at `N = 2^16` on an AMD EPYC (Zen 3) with the AVX2 kernels, one thread, nothing else running: both
    /// transforms 0.427 ms; at level 31 a plaintext product 3.5 ms, a rotation 103 ms and four hoisted ones 250 ms, which leave two
    /// equations for conversions and keys, and an encoding 9.7 ms; a bootstrap 6.2 s on one thread and 3.4 s on two.
    fn default() -> Self {
        Self {
            forward: 0.2135e-3,
            inverse: 0.2135e-3,
            conversion: 0.0194e-3,
            key: 0.0915e-3,
            plain: 0.11e-3,
            pass: 0.055e-3,
            embedding: 1.1e-3,
            overhead: 0.0,
            parallel: 1.82,
        }
    }
}

/// A model of costs for one parameter set.
#[derive(Clone, Debug)]
pub struct Costs {
    units: Units,
    basis: Basis,
    bootstrapping: BootstrapCost,
    /// Residues of a limb, and steps of a transform, relative to [`UNIT_DEGREE`].
    size: f64,
    depth: f64,
}

impl Costs {
    /// Costs of a parameter set.
    ///
    /// # Errors
    /// None for parameters that were checked.
    pub fn new(parameters: &Parameters, units: Units) -> Result<Self> {
        let n = parameters.n() as f64;
        Ok(Self {
            units,
            basis: Basis::new(parameters),
            bootstrapping: BootstrapCost::of(parameters)?,
            size: n / UNIT_DEGREE,
            depth: n.log2() / UNIT_DEGREE.log2(),
        })
    }

    /// Work of operations.
    #[must_use]
    pub fn basis(&self) -> &Basis {
        &self.basis
    }

    /// What bootstraps do and hold.
    #[must_use]
    pub fn bootstrapping(&self) -> &BootstrapCost {
        &self.bootstrapping
    }

    /// Work of one bootstrap of a ciphertext of a level, which is brought to the input level first.
    #[must_use]
    pub fn bootstrap(&self, packing: Packing, level: usize) -> Work {
        let BootstrapCost { complex, real, periodic, input_level, .. } = &self.bootstrapping;
        let (input, work) = match packing {
            Packing::Complex => (*input_level, *complex),
            Packing::Real => (*input_level, *real),
            Packing::Periodic(period) => periodic.get(&period).copied().unwrap_or_default(),
        };
        self.basis.lowered(level, input) + work
    }

    /// Predicted processor seconds.
    #[must_use]
    pub fn seconds(&self, work: &Work) -> f64 {
        let units = &self.units;
        let transforms = work.forward * units.forward + work.inverse * units.inverse + work.embedding * units.embedding;
        let others = work.conversion * units.conversion
            + work.key * units.key
            + work.plain * units.plain
            + work.pass * units.pass;
        self.size * (self.depth * transforms + others) * (1.0 + units.overhead)
    }

    /// Predicted seconds that pass.
    #[must_use]
    pub fn elapsed(&self, work: &Work) -> f64 {
        self.seconds(work) / self.units.parallel
    }
}
