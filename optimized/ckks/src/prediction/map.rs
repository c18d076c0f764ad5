//! What a prediction needs to know of a linear map.

use crate::circuits::linear::PreparedMap;
use crate::ckks::embedding::Embedding;
use crate::{CkksError, Context};
use num_complex::Complex64;

/// Sums over the diagonals of a [`PreparedMap`] on which its errors depend (`r[noise.linear.map]`): maxima over the slots of the result.
///
/// One transform per diagonal; make it once per map.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MapNorms {
    /// The plaintext scale `T`.
    pub scale: f64,
    /// `sum |d|`: the factor by which the map enlarges a bound on its input.
    pub row_sum: f64,
    /// `sum |d|^2`.
    pub row_square: f64,
    /// `sum |d|^2` over the diagonals whose baby step is not 0.
    pub moved_square: f64,
    /// The largest `|d|`.
    pub largest: f64,
    /// Diagonals.
    pub diagonals: usize,
    /// Giant steps that are not 0.
    pub giant_steps: usize,
}

impl MapNorms {
    /// The sums of a map made for `context`.
    ///
    /// # Errors
    /// [`CkksError::Slots`] for a map of another ring.
    pub fn new(context: &Context, map: &PreparedMap) -> Result<Self, CkksError> {
        let slots = context.parameters().slots();
        let embedding = Embedding::new(slots);
        let (mut sums, mut squares, mut moved) = (vec![0.0; slots], vec![0.0; slots], vec![0.0; slots]);
        let (mut largest, mut diagonals) = (0.0f64, 0);
        for (g, giant) in map.giant_steps().iter().enumerate() {
            for (b, baby) in map.baby_steps().iter().enumerate() {
                let Some(coefficients) = map.coefficients(g, b) else { continue };
                let mut diagonal = slots_of(&embedding, &coefficients, map.scale(), slots)?;
                // Slot j of the inner sum ends in slot j - g of the result.
                diagonal.rotate_left(giant.rem_euclid(slots as i64) as usize);
                diagonals += 1;
                for (j, d) in diagonal.iter().enumerate() {
                    sums[j] += d.norm();
                    squares[j] += d.norm_sqr();
                    moved[j] += if *baby == 0 { 0.0 } else { d.norm_sqr() };
                    largest = largest.max(d.norm());
                }
            }
        }
        let most = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
        Ok(Self {
            scale: map.scale(),
            row_sum: most(&sums),
            row_square: most(&squares),
            moved_square: most(&moved),
            largest,
            diagonals,
            giant_steps: map.giant_steps().iter().filter(|step| **step != 0).count(),
        })
    }
}

/// The slots of a polynomial at the given scale.
fn slots_of(embedding: &Embedding, coefficients: &[i64], scale: f64, n: usize) -> Result<Vec<Complex64>, CkksError> {
    if coefficients.len() != 2 * n {
        let (operation, got) = ("MapNorms::new", coefficients.len() / 2);
        return Err(CkksError::Slots { operation, expected: n, got });
    }
    let (real, imaginary) = coefficients.split_at(n);
    let pack = |(&re, &im): (&i64, &i64)| Complex64::new(re as f64 / scale, im as f64 / scale);
    let mut slots: Vec<_> = real.iter().zip(imaginary).map(pack).collect();
    embedding.to_slots(&mut slots);
    Ok(slots)
}
