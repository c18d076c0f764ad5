//! Measured against predicted noise: every primitive, keys and randomness redrawn for every seed.
//!
//! A standard deviation is compared from both sides. The largest error is compared with `D` standard deviations of the
//! seed's own prediction, so that neither a wrong average nor a single wrong coefficient passes.

mod bench;
mod primitives;
mod slots;

pub use bench::{Bench, Domain, Limit, Sample};
pub use primitives::{Primitive, primitives};

use super::noise::tail_factor;
use crate::ckks::Parameters;
use crate::error::ReferenceError;
use crate::sample::Seed;
use rayon::prelude::*;

/// Chance that a correct implementation is refused by the limits of one table.
pub const FAILURE: f64 = 1e-9;

/// How far a measured standard deviation may be from the predicted one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tolerance {
    /// A ratio, such as 0.05.
    Ratio(f64),
    /// `D` standard errors of the estimate: `D sqrt(rho / S) / 2` for `S` seeds, `rho` the relative variance of one seed's
    /// mean square ([`Sample::spread`]), `D` for [`FAILURE`] over all rows.
    Sampling,
}

/// What was found about one primitive.
#[derive(Clone, Debug)]
pub struct Row {
    /// The primitive.
    pub primitive: &'static str,
    /// Rule of the prediction.
    pub rule: &'static str,
    /// Name of the parameter set.
    pub preset: String,
    /// Coefficients or slots.
    pub domain: Domain,
    /// Real numbers compared.
    pub numbers: usize,
    /// Root mean square of the predicted standard deviations.
    pub predicted: f64,
    /// Root mean square of the errors.
    pub measured: f64,
    /// Admitted distance of `measured / predicted` from 1.
    pub tolerance: f64,
    /// Error with the largest ratio to its limit.
    pub largest: f64,
    /// Its limit.
    pub limit: f64,
}

impl Row {
    /// Measured over predicted standard deviation.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        self.measured / self.predicted
    }

    /// Whether the standard deviation is within the tolerance, from both sides.
    #[must_use]
    pub fn deviation_holds(&self) -> bool {
        (self.ratio() - 1.0).abs() <= self.tolerance
    }

    /// Whether every error is within its limit.
    #[must_use]
    pub fn limit_holds(&self) -> bool {
        self.largest <= self.limit
    }

    /// `pass`, or what failed.
    #[must_use]
    pub fn verdict(&self) -> &'static str {
        match (self.deviation_holds(), self.limit_holds()) {
            (true, true) => "pass",
            (false, true) if self.ratio() < 1.0 => "FAIL: too little noise",
            (false, true) => "FAIL: too much noise",
            (true, false) => "FAIL: an error beyond its bound",
            (false, false) => "FAIL: deviation and bound",
        }
    }
}

/// Sums over seeds.
#[derive(Clone, Copy, Default)]
struct Sums {
    seeds: f64,
    numbers: usize,
    predicted: f64,
    measured: f64,
    spread: f64,
    /// Error and limit with the largest ratio.
    worst: Option<(f64, f64)>,
}

impl Sums {
    fn of(sample: &Sample, d: f64) -> Self {
        let mut sums = Self { seeds: 1.0, numbers: sample.errors.len(), spread: sample.spread, ..Self::default() };
        for (index, error) in sample.errors.iter().enumerate() {
            let variance = sample.variance(index);
            sums.predicted += variance / sample.errors.len() as f64;
            sums.measured += error * error / sample.errors.len() as f64;
            let limit = sample.limit(index, d);
            sums.worst = worse(sums.worst, Some((error.abs(), limit)));
        }
        sums
    }

    fn plus(self, other: Self) -> Self {
        Self {
            seeds: self.seeds + other.seeds,
            numbers: self.numbers + other.numbers,
            predicted: self.predicted + other.predicted,
            measured: self.measured + other.measured,
            spread: self.spread + other.spread,
            worst: worse(self.worst, other.worst),
        }
    }
}

/// The pair of error and limit with the larger ratio; a NaN is the worst there is.
fn worse(a: Option<(f64, f64)>, b: Option<(f64, f64)>) -> Option<(f64, f64)> {
    match (a, b) {
        (Some((error, limit)), Some((other, bound))) if error * bound >= other * limit || error.is_nan() => {
            Some((error, limit))
        }
        (a, None) => a,
        (_, b) => b,
    }
}

/// Measures primitives on `seeds` draws of keys, messages and errors, starting from the number `first`.
///
/// # Errors
/// Those of the operations, which a parameter set with at least three levels and three special primes or two excludes.
pub fn measure(
    params: &Parameters,
    primitives: &[Primitive],
    seeds: std::ops::Range<u64>,
    tolerance: Tolerance,
) -> Result<Vec<Row>, ReferenceError> {
    let count = primitives.len() * params.n() * seeds.clone().count().max(1);
    let d = tail_factor(FAILURE, count)?;
    let one = |seed: u64| {
        let bench = Bench::new(params, seed_of(seed))?;
        let sums = |primitive: &Primitive| Ok(Sums::of(&primitive.run(&bench)?, d));
        primitives.iter().map(sums).collect::<Result<Vec<_>, ReferenceError>>()
    };
    let none = || vec![Sums::default(); primitives.len()];
    let add = |a: Vec<Sums>, b: Vec<Sums>| Ok(a.into_iter().zip(b).map(|(a, b)| a.plus(b)).collect());
    let sums: Vec<Sums> = seeds.into_par_iter().map(one).try_reduce(none, add)?;
    let rows = primitives.iter().zip(sums).map(|(primitive, sums)| {
        let relative = (sums.spread / sums.seeds / sums.seeds).sqrt() / 2.0;
        let sampling = tail_factor(FAILURE, primitives.len()).map(|d| d * relative)?;
        let (largest, limit) = sums.worst.unwrap_or_default();
        Ok(Row {
            primitive: primitive.name,
            rule: primitive.rule,
            preset: params.name().to_owned(),
            domain: primitive.domain,
            numbers: sums.numbers,
            predicted: (sums.predicted / sums.seeds).sqrt(),
            measured: (sums.measured / sums.seeds).sqrt(),
            tolerance: if let Tolerance::Ratio(ratio) = tolerance { ratio } else { sampling },
            largest,
            limit,
        })
    });
    rows.collect()
}

/// The 16 bytes of a numbered seed.
fn seed_of(number: u64) -> Seed {
    let mut seed = *b"noise...........";
    seed[8..].copy_from_slice(&number.to_le_bytes());
    seed
}
