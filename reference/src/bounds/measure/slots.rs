//! From coefficients to slots.

use super::bench::{Bench, Domain, Limit, Sample};
use super::primitives::Primitive;
use crate::bounds::components::Noise;
use crate::error::ReferenceError;

/// Real and imaginary parts of the slots of an error, each divided by its predicted deviation under the key at hand.
fn standardised(bench: &Bench<'_>, errors: &[f64], noise: &Noise) -> Sample {
    let variances = noise.slot_variances(bench.norms.slots());
    let slots = bench.embedding.slots(errors);
    let parts = slots.iter().zip(variances).flat_map(|(z, variance)| [z.re, z.im].map(|x| x / variance.sqrt()));
    // N independent numbers of variance 1.
    let spread = 2.0 / bench.params.n() as f64;
    Sample { errors: parts.collect(), variances: vec![1.0], limit: Limit::Deviations { factor: 1.0 }, spread }
}

/// The primitive of the given errors and prediction, in slots.
pub(super) fn in_slots(
    name: &'static str,
    rule: &'static str,
    run: impl Fn(&Bench<'_>) -> Result<(Vec<f64>, Noise), ReferenceError> + Send + Sync + 'static,
) -> Primitive {
    Primitive::new(name, rule, Domain::Slots, move |bench| {
        let (errors, noise) = run(bench)?;
        Ok(standardised(bench, &errors, &noise))
    })
}
