//! Where an approximation is wanted: one interval or a union of several.

use crate::error::ReferenceError;
use rug::Float;
use rug::float::Constant;
use std::fmt;

/// Least share of the hull that a piece may have: certificates work with angles of about 2^-70.
const NARROWEST: f64 = 1.0 / (1u64 << 40) as f64;

/// A union of disjoint closed intervals (`r[approx.union]`). Chebyshev series live on its hull.
#[derive(Clone, Debug, PartialEq)]
pub struct Domain {
    pieces: Vec<[f64; 2]>,
}

impl Domain {
    /// The union of `pieces`, given in increasing order.
    ///
    /// # Errors
    /// [`ReferenceError::BadOperand`] when there is no piece, an end is not finite, the ends do not increase strictly, or
    /// a piece is narrower than `2^-40` of the hull.
    pub fn new(pieces: Vec<[f64; 2]>) -> Result<Self, ReferenceError> {
        let ends = pieces.as_flattened();
        if !ends.is_empty() && ends.iter().all(|x| x.is_finite()) && ends.is_sorted_by(|a, b| a < b) {
            let width = ends[ends.len() - 1] - ends[0];
            if width.is_finite() && pieces.iter().all(|[a, b]| b - a >= width * NARROWEST) {
                return Ok(Self { pieces });
            }
        }
        Err(ReferenceError::BadOperand {
            operation: "domain",
            expected: "intervals a < b < c < d < ... with finite ends, none below 2^-40 of the whole".to_owned(),
            got: format!("{ends:?}"),
        })
    }

    /// A single interval.
    ///
    /// # Errors
    /// As [`Domain::new`].
    pub fn interval(interval: [f64; 2]) -> Result<Self, ReferenceError> {
        Self::new(vec![interval])
    }

    /// The intervals, in increasing order.
    #[must_use]
    pub fn pieces(&self) -> &[[f64; 2]] {
        &self.pieces
    }

    /// The smallest interval that holds the domain.
    #[must_use]
    pub fn hull(&self) -> [f64; 2] {
        [self.pieces[0][0], self.pieces[self.pieces.len() - 1][1]]
    }

    /// Whether `-x` lies in the domain for every `x` in it.
    #[must_use]
    pub fn is_symmetric(&self) -> bool {
        self.pieces.iter().zip(self.pieces.iter().rev()).all(|([a, b], [c, d])| *a == -d && *b == -c)
    }

    /// Angles `t` with `x(t)` in the domain, by increasing `t`, for `x = (a + b)/2 + (b - a)/2 cos t` on the hull.
    pub(super) fn arcs(&self, prec: u32) -> Vec<[Float; 2]> {
        let [a, b] = self.hull().map(|end| Float::with_val(prec, end));
        let angle = |x: f64| ((Float::with_val(prec, x) * 2u32 - &a - &b) / Float::with_val(prec, &b - &a)).acos();
        self.whole_arc(prec, |pieces| pieces.iter().rev().map(|&[c, d]| [angle(d), angle(c)]).collect())
    }

    /// Angles of the squares: as [`Self::arcs`] for `z = x^2` on `[0, (hull end)^2]`, for a symmetric domain.
    pub(super) fn square_arcs(&self, prec: u32) -> Vec<[Float; 2]> {
        let end = self.hull()[1];
        // T_k(2 u^2 - 1) = T_2k(u): the angle of the square is twice that of the argument.
        let angle = |x: f64| (Float::with_val(prec, x.max(0.0)) / end).acos() * 2u32;
        self.whole_arc(prec, |pieces| {
            pieces.iter().rev().filter(|[_, d]| *d > 0.0).map(|&[c, d]| [angle(d), angle(c)]).collect()
        })
    }

    /// `[0, pi]` for a single interval, where no angle needs to be computed.
    fn whole_arc(&self, prec: u32, arcs: impl Fn(&[[f64; 2]]) -> Vec<[Float; 2]>) -> Vec<[Float; 2]> {
        if self.pieces.len() == 1 {
            return vec![[Float::new(prec), Float::with_val(prec, Constant::Pi)]];
        }
        arcs(&self.pieces)
    }
}

impl fmt::Display for Domain {
    /// `[a, b] and [c, d]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pieces: Vec<String> = self.pieces.iter().map(|[a, b]| format!("[{a}, {b}]")).collect();
        f.write_str(&pieces.join(" and "))
    }
}
