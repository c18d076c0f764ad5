//! Linear maps on babies that are at hand, with plaintexts encoded where they are used.

use crate::circuits::check_input;
use crate::ckks::factor::{SHORTEST_RUN, SHORTEST_TRANSFORM};
use crate::ckks::inner::Term;
use crate::{Ciphertext, CkksError, Complex64, Encoder, Evaluator};
use rayon::prelude::*;

/// Plaintexts that are held as integer coefficients at once, unless one giant step has more.
const TERMS_AT_ONCE: usize = 64;

/// The values of one diagonal.
///
/// Slot `j` of a polynomial is its value at `zeta^(5^j)`, so vectors with a period are polynomials in a power of `X`, with as few
/// coefficients and residues to compute as there are values; products with them need no transform of length `N`. Vectors
/// that are constant on runs of neighbouring slots have no such form.
#[derive(Clone, Debug, PartialEq)]
pub enum Diagonal {
    /// One value per slot.
    Slots(Vec<Complex64>),
    /// One value per slot of a period `P`, a power of two up to `N/2`: slot `j` holds value `j mod P`.
    Periodic(Vec<Complex64>),
}

impl From<Vec<Complex64>> for Diagonal {
    fn from(slots: Vec<Complex64>) -> Self {
        Self::Slots(slots)
    }
}

impl Diagonal {
    /// The encoding's coefficients (`r[circuit.linear.plaintext]`): all of them, or those of `X^0, X^run, ..` for a run that
    /// the kernels take.
    fn coefficients(&self, encoder: &Encoder, scale: f64) -> Result<Vec<i64>, CkksError> {
        let period = match self {
            Self::Slots(slots) => return encoder.coefficients(slots, scale),
            Self::Periodic(period) => period,
        };
        let coefficients = encoder.coefficients_periodic(period, scale)?;
        let n = encoder.context().parameters().n();
        let kept = if coefficients.len() * SHORTEST_RUN > n { n } else { coefficients.len().max(SHORTEST_TRANSFORM) };
        Ok(spread(coefficients, kept))
    }
}

/// The coefficients of the same polynomial in a smaller power of `X`: zeros in between.
fn spread(coefficients: Vec<i64>, length: usize) -> Vec<i64> {
    if coefficients.len() == length {
        return coefficients;
    }
    let mut all = vec![0; length];
    all.iter_mut().step_by(length / coefficients.len()).zip(coefficients).for_each(|(all, c)| *all = c);
    all
}

/// `sum_g rotate(sum_b diagonal(g, b) * babies[b], giant_steps[g])`, every `g` and `b` in range (`r[circuit.linear.single]`).
///
/// `babies` are canonical, of degree 1 and of one level `l >= 1`; they may be any ciphertexts, rotated or conjugated, so that
/// several maps share them. `diagonal(g, b)` is already rotated by `-giant_steps[g]`; `None` means all zeros. Diagonals are
/// asked for once, in no particular order and from several threads, encoded at the canonical scale of `l` and dropped after use:
/// 64 of them, or those of one giant step, are held at a time. Out: canonical scale, level `l - 1`.
///
/// Inner sums are rotated before the one rescale: the key switches run with one limb more, but the map needs one rescale
/// instead of one per giant step, and the error of the key switches is divided by `q_l` and vanishes.
///
/// # Errors
/// [`CkksError::Argument`] without babies or if all diagonals are `None`, [`CkksError::LevelExhausted`],
/// [`CkksError::Scale`], [`CkksError::Degree`], [`CkksError::Level`] for babies of different levels, [`CkksError::Slots`] for a
/// diagonal of another length or a period that does not divide it, [`CkksError::MissingKey`] or [`CkksError::KeyLevel`] for a
/// giant step without a key for level `l`, [`CkksError::Fingerprint`].
pub fn apply_diagonals<F, D>(
    evaluator: &Evaluator,
    encoder: &Encoder,
    babies: &[Ciphertext],
    giant_steps: &[i64],
    diagonal: F,
) -> Result<Ciphertext, CkksError>
where
    F: Fn(usize, usize) -> Option<D> + Sync,
    D: Into<Diagonal>,
{
    let operation = "linear::apply_diagonals";
    check_babies(operation, evaluator, encoder, babies)?;
    let (giants, scale) = (giant_steps.len(), babies[0].scale());
    let giants_at_once = (TERMS_AT_ONCE / babies.len()).max(1);
    let mut total: Option<Ciphertext> = None;
    for first in (0..giants).step_by(giants_at_once) {
        let chunk = first..giants.min(first + giants_at_once);
        let terms = |g| inner_terms(encoder, scale, babies.len(), |b| diagonal(g, b).map(D::into));
        let sums: Vec<(i64, Vec<Term>)> = chunk
            .into_par_iter()
            .map(|g| Ok((giant_steps[g], terms(g)?)))
            .filter(|sum| !matches!(sum, Ok((_, terms)) if terms.is_empty()))
            .collect::<Result<_, CkksError>>()?;
        let (steps, sums): (Vec<i64>, Vec<Vec<Term>>) = sums.into_iter().unzip();
        for (step, sum) in steps.iter().zip(evaluator.sums_of_products(babies, &sums, scale * scale)) {
            let rotated = evaluator.rotate(&sum, *step)?;
            match &mut total {
                Some(total) => evaluator.add_assign(total, &rotated)?,
                None => total = Some(rotated),
            }
        }
    }
    let expected = "at least one diagonal";
    let total = total.ok_or_else(|| CkksError::Argument { operation, expected, got: "none".to_owned() })?;
    evaluator.rescale(&total)
}

fn check_babies(
    operation: &'static str,
    evaluator: &Evaluator,
    encoder: &Encoder,
    babies: &[Ciphertext],
) -> Result<(), CkksError> {
    let context = evaluator.context();
    context.check_fingerprint(operation, &encoder.context().parameters().fingerprint())?;
    let Some(first) = babies.first() else {
        let expected = "at least one baby ciphertext";
        return Err(CkksError::Argument { operation, expected, got: "none".to_owned() });
    };
    for baby in babies {
        context.check_fingerprint(operation, &baby.fingerprint())?;
        check_input(operation, evaluator, baby, 1)?;
        if baby.level() != first.level() {
            return Err(CkksError::Level { operation, expected: first.level(), got: baby.level() });
        }
        if baby.degree() != 1 {
            return Err(CkksError::Degree { operation, expected: 1, got: baby.degree() });
        }
    }
    Ok(())
}

/// The encoded diagonals of one giant step; short ones equally long.
fn inner_terms(
    encoder: &Encoder,
    scale: f64,
    babies: usize,
    diagonal: impl Fn(usize) -> Option<Diagonal> + Sync,
) -> Result<Vec<Term>, CkksError> {
    let encode =
        |baby| Some(diagonal(baby)?.coefficients(encoder, scale).map(|coefficients| Term { baby, coefficients }));
    let mut terms: Vec<Term> = (0..babies).into_par_iter().filter_map(encode).collect::<Result<_, CkksError>>()?;
    let short = |length: &usize| *length < encoder.context().parameters().n();
    let longest = terms.iter().map(|term| term.coefficients.len()).filter(short).max().unwrap_or(0);
    for term in terms.iter_mut().filter(|term| term.coefficients.len() < longest) {
        term.coefficients = spread(std::mem::take(&mut term.coefficients), longest);
    }
    Ok(terms)
}
