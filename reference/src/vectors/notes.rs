//! What flags mean (`r[vector.flags]`).

use crate::error::ReferenceError;
use touchstone_spec::vector::Note;

/// Flag, kind of mistake, why implementations make it, what it does.
const NOTES: [(&str, [&str; 3]); 20] = [
    (
        "extreme-residues",
        [
            "Reduction that is wrong at the ends of its range.",
            "Lazy reductions are derived for values below q and are off by one at 0, q - 1 or at the halves where centring changes sign.",
            "A single wrong residue becomes an error of the size of the modulus after decryption.",
        ],
    ),
    (
        "largest-prime",
        [
            "Products that overflow the kernel's number type.",
            "Quotient estimates hold for moduli below 2^50; the largest admissible prime leaves no spare bit.",
            "Wrong residues for few inputs only, which random tests with smaller primes do not meet.",
        ],
    ),
    (
        "partial-digit",
        [
            "Last key-switching digit taken as a full one.",
            "The level is not a multiple of the digit size, so the last digit has fewer primes.",
            "Key switches at these levels add an error of the size of a prime.",
        ],
    ),
    (
        "lowest-level",
        [
            "Loop over limbs that assumes at least two.",
            "Tests start from fresh ciphertexts and rarely reach the bottom.",
            "Results of the last operation of a deep circuit are wrong.",
        ],
    ),
    (
        "wrap-around",
        [
            "Rotation count not taken modulo N/2, or in the wrong direction.",
            "Negative counts and counts above N/2 are natural in packed circuits; slots move to lower indices.",
            "Values of one token meet those of another.",
        ],
    ),
    (
        "identity-rotation",
        [
            "Key switch for a rotation by a multiple of N/2.",
            "The general path needs a key for the automorphism 1, which nobody makes.",
            "A missing-key error, or an error term where none is allowed.",
        ],
    ),
    (
        "scale-mismatch",
        [
            "Silent addition of operands of different scale.",
            "Labels that differ in the last bit are easily compared with a tolerance.",
            "The result is wrong by the ratio of the scales and nothing says so.",
        ],
    ),
    (
        "level-mismatch",
        [
            "Silent truncation to the lower level.",
            "Dropping limbs is cheap, but canonical scales differ between levels.",
            "As scale-mismatch: a relative error of the ratio of the canonical scales.",
        ],
    ),
    (
        "level-exhausted",
        [
            "Rescale without a prime left.",
            "Level arithmetic with unsigned numbers wraps.",
            "A panic, or access outside the limbs.",
        ],
    ),
    (
        "missing-key",
        [
            "Use of a wrong key where the right one was not made.",
            "Keys are looked up by a composed rotation that the planner forgot.",
            "Decryption gives noise of the size of the modulus.",
        ],
    ),
    (
        "oversized",
        [
            "Constant or coefficient that does not fit the integer type.",
            "Casting from floating point saturates or wraps without an error.",
            "A wrong constant in every slot.",
        ],
    ),
    (
        "malformed",
        [
            "Input of a wrong length, or residues that are not below their prime.",
            "Deserialisers trust the shape; kernels assume canonical residues.",
            "Reads outside a buffer, or results outside every proven range.",
        ],
    ),
    (
        "odd-power",
        [
            "Odd p accepted.",
            "Power-Softmax is defined for even p; an odd power keeps signs.",
            "Negative attention weights and a denominator that can vanish.",
        ],
    ),
    (
        "zero-row",
        [
            "Division by a row sum of zero.",
            "The ideal form has no value there, the eps form has the value 0.",
            "NaN, or garbage of any size from a polynomial outside its interval.",
        ],
    ),
    (
        "eps-hazard",
        [
            "eps added to another quantity than in training.",
            "Papers write it on the sum, on the mean, or after division by the maximum.",
            "For small scores the weights sum to anything between 0 and 1.",
        ],
    ),
    (
        "one-live-key",
        [
            "Row length instead of the number of live keys in the mean.",
            "The first token of a causal model sees one key only.",
            "The first token's attention is scaled by the context length.",
        ],
    ),
    (
        "masked",
        [
            "Masked scores counted in sum or mean.",
            "A mask of zeros removes powers but not their count.",
            "Padding changes the answer.",
        ],
    ),
    (
        "wide-spread",
        [
            "Interval of the denominator chosen from averages.",
            "x^p spreads scores over many binades.",
            "A reciprocal outside its interval diverges.",
        ],
    ),
    (
        "interval-end",
        [
            "Approximation used up to the end of its interval.",
            "The error of a best approximation is attained at the ends.",
            "Values slightly outside leave the certified bound.",
        ],
    ),
    (
        "too-little-noise",
        [
            "Error or ternary polynomial drawn with too small a deviation, or not at all.",
            "Results only get more accurate, so tests of accuracy pass.",
            "The scheme is not secure.",
        ],
    ),
];

/// The note of a flag.
///
/// # Errors
/// [`ReferenceError::BadOperand`] for a flag that has none.
pub(super) fn note(flag: &str) -> Result<Note, ReferenceError> {
    let found = NOTES.iter().find(|(name, _)| *name == flag).map(|(_, texts)| texts.map(str::to_owned));
    let [bug, why, effect] = found.ok_or_else(|| ReferenceError::BadOperand {
        operation: "vector flags",
        expected: "a flag with a note".to_owned(),
        got: flag.to_owned(),
    })?;
    Ok(Note { bug, why, effect })
}
