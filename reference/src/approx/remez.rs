//! Remez exchange in multi-precision for absolute and for weighted errors.

use super::domain::Domain;
use crate::error::ReferenceError;
use rug::Float;
use std::ops::Range;

/// Iterations after which the exchange is given up; it converges quadratically, in fewer than ten.
const MAX_ITERATIONS: usize = 60;
/// Grid points per expected extremum, and at least two extrema's worth per interval, when extrema are looked for.
const DENSITY: usize = 16;
/// Relative spread of the extrema at which the error counts as levelled.
const LEVELLED: f64 = 1e-6;

/// A best approximation, up to the tolerance of the exchange.
#[derive(Clone, Debug)]
pub struct Minimax {
    /// Chebyshev coefficients on the interval.
    pub coefficients: Vec<Float>,
    /// Largest weighted error on the search grid: an estimate, not a proof.
    pub error: f64,
    /// Number of exchanges.
    pub iterations: usize,
}

/// Where a best approximation is sought: arcs of angles, with `x = centre + half cos t`.
pub(super) struct Region {
    pub arcs: Vec<[Float; 2]>,
    pub centre: Float,
    pub half: Float,
}

impl Region {
    /// The domain itself.
    pub(super) fn new(domain: &Domain, prec: u32) -> Self {
        let [a, b] = domain.hull().map(|end| Float::with_val(prec, end));
        let centre = Float::with_val(prec, &a + &b) / 2u32;
        let half = Float::with_val(prec, &b - &a) / 2u32;
        Self { arcs: domain.arcs(prec), centre, half }
    }

    /// Squares of a symmetric domain's points, divided by the largest one: a part of [0, 1].
    pub(super) fn of_squares(domain: &Domain, prec: u32) -> Self {
        let half = Float::with_val(prec, 0.5);
        Self { arcs: domain.square_arcs(prec), centre: half.clone(), half }
    }

    /// `count` angles that split the arcs' total length evenly, from the first end to the last or, `inset`, half a part
    /// away from both.
    fn spread(&self, count: usize, inset: bool, prec: u32) -> Vec<Float> {
        let total = self.arcs.iter().fold(Float::new(prec), |sum, [start, end]| sum + end - start);
        let angle = |i: usize| {
            let (numerator, denominator) = if inset { (2 * i + 1, 2 * count) } else { (i, count - 1) };
            let mut left = Float::with_val(prec, &total * numerator as u64) / denominator as u64;
            for [start, end] in &self.arcs {
                let length = Float::with_val(prec, end - start);
                if left <= length {
                    return left + start;
                }
                left -= length;
            }
            // A rounding error beyond the last arc.
            self.arcs[self.arcs.len() - 1][1].clone()
        };
        (0..count).map(angle).collect()
    }
}

/// The polynomial of degree `degree` that minimises the largest `|weight(x) (p(x) - f(x))|` on `domain`.
///
/// Its Chebyshev coefficients refer to the hull. `weight = 1` gives the best absolute and `weight = 1/|f|` the best
/// relative error. Arithmetic has `prec` bits.
///
/// # Errors
/// [`ReferenceError::BadOperand`] when the error does not level: `f` is then not smooth enough, or symmetric so that the
/// alternation has more points than the degree asks for.
pub fn minimax(
    f: &dyn Fn(&Float) -> Float,
    weight: &dyn Fn(&Float) -> Float,
    domain: &Domain,
    degree: usize,
    prec: u32,
) -> Result<Minimax, ReferenceError> {
    exchange(f, weight, Region::new(domain, prec), degree, prec)
}

/// As [`minimax`]; the weight may be zero in the last point of the region only.
pub(super) fn exchange(
    f: &dyn Fn(&Float) -> Float,
    weight: &dyn Fn(&Float) -> Float,
    region: Region,
    degree: usize,
    prec: u32,
) -> Result<Minimax, ReferenceError> {
    let count = degree + 2;
    let exchange = Exchange::new(f, weight, region, degree, prec);
    let inset = exchange.grid.last().is_some_and(|[.., weight]| weight.is_zero());
    let mut angles = exchange.region.spread(count, inset, prec);
    for iterations in 1..=MAX_ITERATIONS {
        let coefficients = exchange.level(&angles).ok_or_else(|| failure("a singular system".to_owned()))?;
        let extrema = exchange.extrema(&coefficients);
        let Some(extrema) = alternating(extrema, count) else {
            return Err(failure(format!("an error with fewer than {count} alternations")));
        };
        let sizes = || extrema.iter().map(|(_, e)| e.to_f64().abs());
        let (least, most) = (sizes().fold(f64::INFINITY, f64::min), sizes().fold(0.0, f64::max));
        if most - least <= LEVELLED * most {
            return Ok(Minimax { coefficients, error: most, iterations });
        }
        angles = extrema.into_iter().map(|(angle, _)| angle).collect();
    }
    Err(failure(format!("an error that is not levelled after {MAX_ITERATIONS} exchanges")))
}

fn failure(got: String) -> ReferenceError {
    ReferenceError::BadOperand {
        operation: "Remez exchange",
        expected: "a smooth function whose error alternates degree + 2 times".to_owned(),
        got,
    }
}

/// Sum of a Chebyshev series at `cos(angle)`.
fn series(coefficients: &[Float], cosine: &Float) -> Float {
    let prec = cosine.prec();
    let twice = Float::with_val(prec, cosine * 2u32);
    let (mut next, mut after) = (Float::new(prec), Float::new(prec));
    for c in coefficients.iter().skip(1).rev() {
        let value = Float::with_val(prec, &twice * &next) - &after + c;
        after = std::mem::replace(&mut next, value);
    }
    Float::with_val(prec, cosine * &next) - after + &coefficients[0]
}

struct Exchange<'a> {
    f: &'a dyn Fn(&Float) -> Float,
    weight: &'a dyn Fn(&Float) -> Float,
    region: Region,
    degree: usize,
    prec: u32,
    /// Angle, argument cosine, value and weight on the search grid.
    grid: Vec<[Float; 4]>,
    /// Which part of the grid lies on each arc, and its spacing.
    parts: Vec<(Range<usize>, Float)>,
}

impl<'a> Exchange<'a> {
    fn new(
        f: &'a dyn Fn(&Float) -> Float,
        weight: &'a dyn Fn(&Float) -> Float,
        region: Region,
        degree: usize,
        prec: u32,
    ) -> Self {
        let mut exchange = Self { f, weight, region, degree, prec, grid: Vec::new(), parts: Vec::new() };
        let lengths: Vec<Float> =
            exchange.region.arcs.iter().map(|[start, end]| Float::with_val(prec, end - start)).collect();
        let total = lengths.iter().fold(Float::new(prec), |sum, length| sum + length);
        for (k, length) in lengths.iter().enumerate() {
            let share = (Float::with_val(prec, length / &total) * (DENSITY * (degree + 2)) as u64).to_f64().ceil();
            let cells = (share as usize).max(2 * DENSITY);
            let first = exchange.grid.len();
            for j in 0..=cells {
                let offset = Float::with_val(prec, length * j as u64) / cells as u64;
                let sample = exchange.sample(offset + &exchange.region.arcs[k][0]);
                exchange.grid.push(sample);
            }
            let spacing = Float::with_val(prec, length / cells as u64);
            exchange.parts.push((first..exchange.grid.len(), spacing));
        }
        exchange
    }

    fn sample(&self, angle: Float) -> [Float; 4] {
        let cosine = Float::with_val(self.prec, angle.cos_ref());
        let x = Float::with_val(self.prec, &cosine * &self.region.half) + &self.region.centre;
        [angle, cosine, (self.f)(&x), (self.weight)(&x)]
    }

    fn error(&self, coefficients: &[Float], sample: &[Float; 4]) -> Float {
        let [_, cosine, value, weight] = sample;
        (series(coefficients, cosine) - value) * weight
    }

    /// The polynomial whose weighted error alternates with equal size on the given angles.
    fn level(&self, angles: &[Float]) -> Option<Vec<Float>> {
        let rows = angles.iter().enumerate().map(|(i, angle)| {
            let [angle, _, value, weight] = self.sample(angle.clone());
            let mut row: Vec<Float> =
                (0..=self.degree).map(|k| Float::with_val(self.prec, &angle * k as u64).cos() * &weight).collect();
            row.push(Float::with_val(self.prec, if i % 2 == 0 { 1 } else { -1 }));
            row.push(value * weight);
            row
        });
        let mut solution = solve(rows.collect(), self.prec)?;
        solution.pop();
        Some(solution)
    }

    /// Local extrema of the weighted error between its sign changes, by increasing angle.
    fn extrema(&self, coefficients: &[Float]) -> Vec<(Float, Float)> {
        let errors: Vec<Float> = self.grid.iter().map(|sample| self.error(coefficients, sample)).collect();
        let larger = |i: usize, j: usize| errors[i].cmp_abs(&errors[j]).is_some_and(std::cmp::Ordering::is_gt);
        let mut peaks: Vec<usize> = Vec::new();
        for i in 0..errors.len() {
            match peaks.last_mut() {
                Some(peak) if errors[*peak].is_sign_negative() == errors[i].is_sign_negative() => {
                    if larger(i, *peak) {
                        *peak = i;
                    }
                }
                _ => peaks.push(i),
            }
        }
        peaks.into_iter().map(|i| self.refine(coefficients, &errors, i)).collect()
    }

    /// Vertex of the parabola through a peak of the grid and its neighbours, where that is larger.
    fn refine(&self, coefficients: &[Float], errors: &[Float], i: usize) -> (Float, Float) {
        let angle = &self.grid[i][0];
        let here = (angle.clone(), errors[i].clone());
        let Some((_, spacing)) = self.parts.iter().find(|(part, _)| part.start < i && i + 1 < part.end) else {
            return here;
        };
        let [left, mid, right] = [&errors[i - 1], &errors[i], &errors[i + 1]];
        let slope = Float::with_val(self.prec, right - left);
        let bend = Float::with_val(self.prec, left + right) - Float::with_val(self.prec, mid * 2u32);
        let vertex = angle.clone() - slope / bend / 2u32 * spacing;
        if !vertex.is_finite() {
            return here;
        }
        let sample = self.sample(vertex);
        let error = self.error(coefficients, &sample);
        if error.cmp_abs(mid).is_some_and(std::cmp::Ordering::is_gt) {
            let [angle, ..] = sample;
            return (angle, error);
        }
        here
    }
}

/// Cuts a list of extrema of alternating sign to `count` without losing the largest; `None` when there are too few.
///
/// One too many: the smaller end goes. Two or more: a neighbouring pair goes whose larger member is smallest.
fn alternating(mut extrema: Vec<(Float, Float)>, count: usize) -> Option<Vec<(Float, Float)>> {
    let less = |a: &Float, b: &Float| a.cmp_abs(b).is_some_and(std::cmp::Ordering::is_lt);
    while extrema.len() > count {
        let last = extrema.len() - 1;
        if extrema.len() == count + 1 {
            extrema.remove(if less(&extrema[0].1, &extrema[last].1) { 0 } else { last });
            continue;
        }
        let larger = |i: usize| {
            let [a, b] = [&extrema[i].1, &extrema[i + 1].1];
            if less(a, b) { b } else { a }
        };
        let pair = (1..last).fold(0, |best, i| if less(larger(i), larger(best)) { i } else { best });
        extrema.drain(pair..pair + 2);
    }
    (extrema.len() == count).then_some(extrema)
}

/// Solves the linear system whose rows hold the coefficients and, last, the right-hand side.
pub(super) fn solve(mut rows: Vec<Vec<Float>>, prec: u32) -> Option<Vec<Float>> {
    let count = rows.len();
    for column in 0..count {
        let pivot = (column..count).reduce(|best, i| {
            let larger = rows[i][column].cmp_abs(&rows[best][column]).is_some_and(std::cmp::Ordering::is_gt);
            if larger { i } else { best }
        })?;
        rows.swap(column, pivot);
        if rows[column][column].is_zero() || !rows[column][column].is_finite() {
            return None;
        }
        let (above, below) = rows.split_at_mut(column + 1);
        let pivot_row = &above[column];
        for row in below {
            let factor = Float::with_val(prec, &row[column] / &pivot_row[column]);
            for (entry, other) in row[column..].iter_mut().zip(&pivot_row[column..]) {
                *entry -= Float::with_val(prec, &factor * other);
            }
        }
    }
    let mut solution = vec![Float::new(prec); count];
    for i in (0..count).rev() {
        let mut sum = rows[i][count].clone();
        for j in i + 1..count {
            sum -= Float::with_val(prec, &rows[i][j] * &solution[j]);
        }
        solution[i] = sum / &rows[i][i];
    }
    Some(solution)
}
