//! Linear maps on packed channels as diagonals, split into baby and giant steps.

use crate::artifact::Matrix;
use crate::layout::Layout;
use num_complex::Complex64;

/// `y = A z + B conj(z)` over complex channels: a real matrix acting on pairs of real channels.
#[derive(Clone, Debug)]
pub(crate) struct ComplexForm {
    inputs: usize,
    direct: Vec<Complex64>,
    conjugate: Vec<Complex64>,
}

impl ComplexForm {
    /// The form of a real matrix, whose outputs and inputs are paired as given; `None` pairs have weight 0.
    pub(crate) fn new(
        matrix: &Matrix,
        outputs: impl Iterator<Item = (usize, usize)>,
        inputs: &[(usize, usize)],
    ) -> Self {
        let mut form = Self { inputs: inputs.len(), direct: Vec::new(), conjugate: Vec::new() };
        let at = |i: usize, j: usize| if i < matrix.rows { matrix.at(i, j) } else { 0.0 };
        for (o1, o2) in outputs {
            for &(i1, i2) in inputs {
                let (w11, w12, w21, w22) = (at(o1, i1), at(o1, i2), at(o2, i1), at(o2, i2));
                form.direct.push(Complex64::new(w11 + w22, w21 - w12) / 2.0);
                form.conjugate.push(Complex64::new(w11 - w22, w21 + w12) / 2.0);
            }
        }
        form
    }

    /// Weight of input channel `input` (conjugated or not) in output `output`.
    pub(crate) fn weight(&self, conjugated: bool, output: usize, input: usize) -> Complex64 {
        let at = output * self.inputs + input;
        if conjugated { self.conjugate[at] } else { self.direct[at] }
    }
}

/// Baby and giant rotations by channels; every map of a circuit uses the same split.
#[derive(Clone, Debug)]
pub(crate) struct Steps {
    /// Channels that baby steps cover.
    pub(crate) width: usize,
    /// Baby rotations in slots.
    pub(crate) babies: Vec<i64>,
    /// Giant rotations in slots.
    pub(crate) giants: Vec<i64>,
}

impl Steps {
    pub(crate) fn new(layout: &Layout) -> Self {
        let channels = layout.channels();
        let width = 1 << channels.ilog2().div_ceil(2);
        let rotation = |k: usize| (layout.channel_rotation(k) * layout.tokens) as i64;
        let babies = (0..width).map(rotation).collect();
        let giants = (0..channels / width).map(|g| rotation(g * width)).collect();
        Self { width, babies, giants }
    }
}

/// One linear map: weights by rows of the packing, and a factor per output token.
pub(crate) struct RowMap<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) steps: &'a Steps,
    /// `weight(conjugated, output row, input row)`.
    pub(crate) weight: &'a (dyn Fn(bool, usize, usize) -> Complex64 + Sync),
    /// `turn[l][tau]` multiplies output channel `l` at token `tau` (rotary embedding).
    pub(crate) turn: Option<&'a [Vec<Complex64>]>,
}

impl RowMap<'_> {
    /// The diagonal of giant step `giant` and baby `baby`, rotated back by the giant step.
    ///
    /// Babies are the rotations of the input, followed by those of its conjugate where the caller has appended them.
    pub(crate) fn diagonal(&self, giant: usize, baby: usize) -> Option<Vec<Complex64>> {
        let (layout, rows) = (self.layout, self.layout.rows());
        let (conjugated, step) = (baby >= self.steps.width, baby % self.steps.width);
        let back = rows - layout.channel_rotation(giant * self.steps.width);
        let forward = layout.channel_rotation(step);
        let mut slots = Vec::with_capacity(layout.slots);
        let mut empty = true;
        for row in 0..rows {
            let output = (row + back) % rows;
            let weight = (self.weight)(conjugated, output, (row + forward) % rows);
            empty &= weight == Complex64::ZERO;
            match self.turn {
                Some(turn) => slots.extend(turn[layout.row_parts(output).0].iter().map(|factor| weight * factor)),
                None => slots.resize(slots.len() + layout.tokens, weight),
            }
        }
        if empty { None } else { Some(slots) }
    }
}
