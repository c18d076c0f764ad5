//! The work of a bootstrap, stage by stage.

use super::work::{Basis, Work, passes};
use crate::error::Result;
use std::collections::BTreeMap;
use touchstone_ckks::Parameters;
use touchstone_ckks::circuits::bootstrap::MapShape;
use touchstone_ckks::circuits::polynomial::{Plan, Polynomial, Power, depth_of};

/// What bootstraps with a parameter set do and hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BootstrapCost {
    /// Of complex slots.
    pub complex: Work,
    /// Of real slots.
    pub real: Work,
    /// Of real slots that repeat, by period: the level of the input and the work from there.
    pub periodic: BTreeMap<usize, (usize, Work)>,
    /// The level of other inputs.
    pub input_level: usize,
    /// Bytes of the plaintexts of both maps.
    pub plaintext_bytes: usize,
    /// Limbs of `N` residues that a bootstrap of complex slots holds at most, results and inputs aside.
    pub limbs: usize,
}

impl BootstrapCost {
    /// The cost for a parameter set; nothing for one without bootstrapping.
    ///
    /// # Errors
    /// None for parameters that were checked.
    pub fn of(parameters: &Parameters) -> Result<Self> {
        let Some(boot) = parameters.bootstrap() else { return Ok(Self::default()) };
        let basis = Basis::new(parameters);
        let n = parameters.n();
        let [down, up] = MapShape::of(parameters)?;
        let top = parameters.max_level();
        let middle = top - up.len();

        let cosine = Plan::new(&Polynomial::chebyshev(boot.cosine.iter().map(|c| c.0).collect())?);
        let sine = eval_mod(&basis, middle, &cosine, boot.double_angles as usize, boot.output.len());
        let conjugate = basis.rotate(middle + 1);
        let half = basis.add(middle + 1, 2) + basis.rescale(middle + 1) + sine;
        let shared = maps(&basis, n, &down, &up) + raise(&basis, top) + conjugate;
        let sparse = |period: usize| {
            let [down, up] = MapShape::of_sparse(parameters, period)?;
            let raised = middle + up.len();
            let copies = (parameters.slots() / period).ilog2();
            let trace = passes(2 * (raised + 1)) + (basis.rotate(raised) + basis.add(raised, 2)) * f64::from(copies);
            let work = maps(&basis, n, &down, &up) + raise(&basis, raised) + trace + conjugate + half;
            Ok((period, (down.len(), work)))
        };
        let periods = (1..parameters.slots().ilog2()).map(|log| 1 << log);
        let join = basis.add(boot.output_level, 2) * 2.0;
        let plaintext_bytes = down.iter().chain(&up).map(|map| 8 * map.diagonals * map.coefficients).sum();
        Ok(Self {
            complex: shared + half * 2.0 + passes(2 * (middle + 2)) + join,
            real: shared + half,
            input_level: down.len(),
            periodic: periods.map(sparse).collect::<Result<_>>()?,
            plaintext_bytes,
            limbs: held(&basis, &up, middle, &cosine),
        })
    }
}

/// Both maps; the last factor of CoeffsToSlots is rescaled later.
fn maps(basis: &Basis, n: usize, down: &[MapShape], up: &[MapShape]) -> Work {
    let last = up.len().saturating_sub(1);
    let down: Work = down.iter().map(|map| prepared_map(basis, n, map, true)).sum();
    down + up.iter().enumerate().map(|(i, map)| prepared_map(basis, n, map, i != last)).sum::<Work>()
}

/// A map with both kinds of rotations hoisted, its plaintexts transformed on use.
fn prepared_map(basis: &Basis, n: usize, map: &MapShape, rescaled: bool) -> Work {
    let (level, limbs, extended) = (map.level, map.level + 1, basis.extended(map.level));
    let identity = passes(2 * limbs * (map.babies - map.baby_switches));
    let baby = basis.key_product(level) + passes(limbs + 2 * extended);
    let terms = basis.plaintext(extended, map.coefficients as f64 / n as f64) * map.diagonals as f64;
    let inner = passes(2 * extended * map.giants);
    let giant = basis.mod_down(level) + basis.lift(level) + basis.key_product(level) + passes(4 * extended);
    let lower = if rescaled { basis.mod_down_rescale(level) } else { basis.mod_down(level) };
    let (babies, giants) = (baby * map.baby_switches as f64, giant * map.giant_switches as f64);
    basis.lift(level) + identity + babies + terms + inner + giants + lower * 2.0
}

/// The switch to the ephemeral secret on one limb, ModRaise to the top, and the switch back.
fn raise(basis: &Basis, top: usize) -> Work {
    let limbs = top + 1;
    let to = Work { inverse: 3.0, forward: 3.0, pass: 10.0, ..Work::default() };
    let up = Work { inverse: 2.0, forward: 2.0 * limbs as f64, pass: 2.0 * limbs as f64, ..Work::default() };
    to + up + basis.lift(top) + basis.key_product(top) + basis.mod_down(top) * 2.0
}

/// Cosine, double angles and the output polynomial of one half.
fn eval_mod(basis: &Basis, middle: usize, cosine: &Plan, doublings: usize, output: usize) -> Work {
    let square = |level: usize| basis.product(level) + passes(3 * (level + 1)) + basis.relinearise_rescale(level);
    let bottom = middle - cosine.depth();
    let angles = (0..doublings).map(|done| square(bottom - done));
    let level = bottom - doublings;
    // The square and its product with a weighted sine; a fifth power has a third product on the way.
    let output: Work = match output {
        0 | 1 => Work::default(),
        2 => square(level) + basis.rescale(level) + square(level - 1),
        _ => square(level) + basis.rescale(level) + basis.rescale(level - 1) + square(level - 1) + square(level - 2),
    };
    basis.polynomial(cosine, middle) + angles.sum() + output
}

/// Limbs held while a map's inner sums wait for their rotations, or while both halves of EvalMod hold their powers.
fn held(basis: &Basis, up: &[MapShape], middle: usize, cosine: &Plan) -> usize {
    let map = |map: &MapShape| (map.giant_switches + 2) * basis.extended(map.level) + 2 * (map.level + 1);
    let powers = |power: &Power| 2 * (middle + 1 - depth_of(power.index));
    let sines =
        2 * (cosine.powers().iter().map(powers).sum::<usize>() + 3 * (middle + 1) + basis.key_switch_limbs(middle));
    up.iter().map(map).max().unwrap_or(0).max(sines)
}
