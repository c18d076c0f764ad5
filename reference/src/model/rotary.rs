//! Rotary position embedding (`r[model.rotary]`).

use super::scalar::{Real, Ring};
use crate::error::ReferenceError;

/// Cosine and sine of `position * base^(-2 i / size)` for each of the `size / 2` pairs.
pub fn angles<R: Real>(position: usize, size: usize, base: f64, context: R::Context) -> Vec<[R; 2]> {
    (0..size / 2).map(|i| R::rotation(position, i, size, base, context)).collect()
}

/// Turns the pairs `(i, i + angles.len())` of a head's first dimensions; there are at least twice as many values.
pub fn turn<S: Ring>(values: &mut [S], angles: &[[S::Constant; 2]]) {
    let half = angles.len();
    for (i, [cos, sin]) in angles.iter().enumerate() {
        let (a, b) = (values[i].clone(), values[i + half].clone());
        values[i] = a.times(cos).sub(&b.times(sin));
        values[i + half] = b.times(cos).add(&a.times(sin));
    }
}

/// The vector of one head at `position`, its first `size` dimensions turned.
///
/// # Errors
/// [`ReferenceError::BadOperand`] unless `size` is even and at most the vector's length and `base` is finite and above 1.
pub fn rotary<S: Ring>(
    x: &[S],
    position: usize,
    size: usize,
    base: f64,
    context: S::Context,
) -> Result<Vec<S>, ReferenceError> {
    if !size.is_multiple_of(2) || size > x.len() || !(base.is_finite() && base > 1.0) || position >= 1 << 31 {
        return Err(ReferenceError::BadOperand {
            operation: "rotary embedding",
            expected: format!("an even size <= {}, a finite base > 1, a position below 2^31", x.len()),
            got: format!("size {size}, base {base}, position {position}"),
        });
    }
    let mut turned = x.to_vec();
    turn(&mut turned, &angles(position, size, base, S::constants(context)));
    Ok(turned)
}
