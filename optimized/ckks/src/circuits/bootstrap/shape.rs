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
        let boot = section(parameters, "MapShape::of")?;
        let down = (&boot.slots_to_coeffs[..], boot.slots_to_coeffs.len(), Direction::SlotsToCoeffs);
        let up = (&boot.coeffs_to_slots[..], parameters.max_level(), Direction::CoeffsToSlots);
        Ok([down, up].map(|(factors, level, direction)| Self::of_map(parameters, factors, level, direction)))
    }

    fn of_map(parameters: &Parameters, factors: &[MapFactor], top: usize, direction: Direction) -> Vec<Self> {
        let slots = parameters.slots();
        let radices: Vec<u32> = factors.iter().map(|factor| factor.log_radix).collect();
        let (mut done, layers) = (0, slots.trailing_zeros());
        let mut shapes = Vec::with_capacity(factors.len());
        for (i, shifts) in shifts(slots, &radices, direction).into_iter().enumerate() {
            // Entries of a layer of size m depend on the slot modulo m.
            let period = match direction {
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
                coefficients: coefficients(parameters.n(), period),
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
}
