//! The shapes of the maps of bootstrapping, without their diagonals: what a prediction of time and memory needs.

use super::factors::{Direction, shifts};
use crate::circuits::linear::steps_of;
use crate::ckks::ephemeral::section;
use crate::ckks::factor::{SHORTEST_RUN, SHORTEST_TRANSFORM};
use crate::{CkksError, Parameters};
use touchstone_spec::params::MapFactor;

/// One factor of SlotsToCoeffs or CoeffsToSlots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapShape {
    /// The level of its input.
    pub level: usize,
    /// Baby steps, the identity included where used.
    pub babies: usize,
    /// Baby steps that switch keys.
    pub baby_switches: usize,
    /// Giant steps, the identity included where used.
    pub giants: usize,
    /// Giant steps that switch keys.
    pub giant_switches: usize,
    /// Diagonals.
    pub diagonals: usize,
    /// Coefficients that each plaintext is held as: `N`, or fewer if its slots have a period.
    pub coefficients: usize,
}

impl MapShape {
    /// The factors of SlotsToCoeffs, then those of CoeffsToSlots, each in order of application.
    ///
    /// # Errors
    /// [`CkksError::Argument`] for a parameter set without bootstrapping.
    pub fn of(parameters: &Parameters) -> Result<[Vec<Self>; 2], CkksError> {
        Self::of_sparse(parameters, parameters.slots())
    }

    /// The same for real slots of a period (`r[boot.sparse.factors]`), or all slots.
    ///
    /// # Errors
    /// [`CkksError::Argument`] for a parameter set without bootstrapping.
    pub fn of_sparse(parameters: &Parameters, period: usize) -> Result<[Vec<Self>; 2], CkksError> {
        let boot = section(parameters, "MapShape::of")?;
        let middle = parameters.max_level() - boot.coeffs_to_slots.len();
        let down = (&boot.slots_to_coeffs[..], 0, Direction::SlotsToCoeffs);
        let up = (&boot.coeffs_to_slots[..], middle, Direction::CoeffsToSlots);
        Ok([down, up].map(|map| Self::of_map(parameters, period, map)))
    }

    /// The factors of a map that ends at level `bottom`.
    fn of_map(
        parameters: &Parameters,
        period: usize,
        (factors, bottom, direction): (&[MapFactor], usize, Direction),
    ) -> Vec<Self> {
        let slots = parameters.slots();
        let radices = super::radices(factors, period, direction);
        let (mut done, layers) = (0, period.trailing_zeros());
        let top = bottom + radices.len();
        let mut shapes = Vec::with_capacity(radices.len());
        for (i, shifts) in shifts(slots, period, &radices, direction).into_iter().enumerate() {
            // Entries of a layer of size m depend on the slot modulo m.
            let repeats = match direction {
                Direction::SlotsToCoeffs => 1 << (done + radices[i]),
                Direction::CoeffsToSlots => 1 << (layers - done),
            };
            done += radices[i];
            let diagonals = shifts.len();
            let (babies, giants) = steps_of(slots, shifts.into_iter());
            let switches = |steps: &std::collections::BTreeSet<i64>| steps.iter().filter(|step| **step != 0).count();
            shapes.push(Self {
                level: top - i,
                babies: babies.len(),
                baby_switches: switches(&babies),
                giants: giants.len(),
                giant_switches: switches(&giants),
                diagonals,
                coefficients: coefficients(parameters.n(), repeats),
            });
        }
        shapes
    }
}

/// Coefficients of a plaintext of `n` whose slots have a period.
fn coefficients(n: usize, period: usize) -> usize {
    let kept = (2 * period).max(SHORTEST_TRANSFORM);
    if kept * SHORTEST_RUN > n { n } else { kept }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circuits::bootstrap::Bootstrapper;
    use crate::{Context, Security};

    #[test]
    fn shapes_are_those_of_the_prepared_maps() {
        for preset in ["toy-n5-boot", "toy-n8-boot", "small-n12-boot"] {
            let parameters = Parameters::preset(preset, Security::AllowInsecure).unwrap();
            let [down, up] = MapShape::of(&parameters).unwrap();
            let bootstrapper = Bootstrapper::new(&Context::new(parameters).unwrap()).unwrap();
            let maps = bootstrapper.slots_to_coeffs_maps().chain(bootstrapper.coeffs_to_slots_maps());
            let mut bytes = 0;
            for (shape, map) in down.iter().chain(&up).zip(maps) {
                assert_eq!((shape.babies, shape.giants), (map.baby_steps().len(), map.giant_steps().len()), "{preset}");
                assert_eq!(map.bytes(), 8 * shape.diagonals * shape.coefficients, "{preset}, level {}", shape.level);
                bytes += map.bytes();
            }
            assert_eq!(bytes, bootstrapper.plaintext_bytes());
        }
    }

    #[test]
    fn shapes_of_a_period_are_those_of_the_prepared_maps() {
        let parameters = Parameters::preset("small-n12-boot", Security::AllowInsecure).unwrap();
        let mut bootstrapper = Bootstrapper::new(&Context::new(parameters.clone()).unwrap()).unwrap();
        for period in [2, 64, 1024] {
            bootstrapper.prepare_sparse(period).unwrap();
            let sparse = bootstrapper.sparse(period).unwrap();
            let [down, up] = MapShape::of_sparse(&parameters, period).unwrap();
            let maps: Vec<_> = sparse.slots_to_coeffs_maps().chain(sparse.coeffs_to_slots_maps()).collect();
            assert_eq!(maps.len(), down.len() + up.len());
            for (shape, map) in down.iter().chain(&up).zip(maps) {
                assert_eq!((shape.babies, shape.giants), (map.baby_steps().len(), map.giant_steps().len()), "{period}");
                assert_eq!(map.bytes(), 8 * shape.diagonals * shape.coefficients, "{period}, level {}", shape.level);
            }
        }
    }
}
