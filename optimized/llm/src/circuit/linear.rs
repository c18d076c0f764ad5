//! Linear maps on packed channels as diagonals, split into baby and giant steps.

use super::Run;
use crate::artifact::Matrix;
use crate::backend::Backend;
use crate::error::Result;
use crate::layout::Layout;
use crate::tap::Observer;
use num_complex::Complex64;

/// Baby and giant rotations by channels; every map of a circuit uses the same split.
#[derive(Clone, Debug)]
pub(super) struct Steps {
    /// Channels that baby steps cover.
    pub(super) width: usize,
    /// Baby rotations in slots.
    pub(super) babies: Vec<i64>,
    /// Giant rotations in slots.
    pub(super) giants: Vec<i64>,
}

impl Steps {
    pub(super) fn new(layout: &Layout) -> Self {
        let channels = layout.channels();
        let width = 1 << channels.ilog2().div_ceil(2);
        let rotation = |k: usize| (layout.channel_rotation(k) * layout.tokens) as i64;
        let babies = (0..width).map(rotation).collect();
        let giants = (0..channels / width).map(|g| rotation(g * width)).collect();
        Self { width, babies, giants }
    }
}

/// The weight with which a complex input enters a complex output: a real matrix on pairs of real channels is
/// `y = A z + B conj(z)`, and this is an entry of `A` or of `B`.
pub(super) fn complex_weight(
    matrix: &Matrix,
    outputs: (usize, usize),
    inputs: (usize, usize),
    conjugated: bool,
) -> Complex64 {
    let at = |i: usize, j: usize| if i < matrix.rows { matrix.at(i, j) } else { 0.0 };
    let (w11, w12) = (at(outputs.0, inputs.0), at(outputs.0, inputs.1));
    let (w21, w22) = (at(outputs.1, inputs.0), at(outputs.1, inputs.1));
    match conjugated {
        false => Complex64::new(w11 + w22, w21 - w12) / 2.0,
        true => Complex64::new(w11 - w22, w21 + w12) / 2.0,
    }
}

/// One linear map onto one ciphertext, as weights between rows. Babies come source by source.
pub(super) struct RowMap<'a> {
    pub(super) layout: &'a Layout,
    pub(super) steps: &'a Steps,
    /// `weight(source, output row, input row)`.
    pub(super) weight: &'a (dyn Fn(usize, usize, usize) -> Complex64 + Sync),
}

impl RowMap<'_> {
    /// Rows that meet on the diagonal of giant step `giant` and baby step `step`, as `(output, input)` in the order of the slots,
    /// rotated back by the giant step.
    fn pairs(&self, giant: usize, step: usize) -> impl Iterator<Item = (usize, usize)> {
        let rows = self.layout.rows();
        let back = rows - self.layout.channel_rotation(giant * self.steps.width);
        let forward = self.layout.channel_rotation(step);
        (0..rows).map(move |row| ((row + back) % rows, (row + forward) % rows))
    }

    /// The diagonal of giant step `giant` and baby `baby`.
    pub(super) fn diagonal(&self, giant: usize, baby: usize) -> Option<Vec<Complex64>> {
        let (source, step) = (baby / self.steps.width, baby % self.steps.width);
        let mut slots = Vec::with_capacity(self.layout.slots);
        let mut empty = true;
        for (output, input) in self.pairs(giant, step) {
            let weight = (self.weight)(source, output, input);
            empty &= weight == Complex64::ZERO;
            slots.resize(slots.len() + self.layout.tokens, weight);
        }
        (!empty).then_some(slots)
    }

    /// The diagonal of a map whose weights depend on the token of the output: `weight(source, output row, token, input row)`.
    pub(super) fn diagonal_by_token(
        &self,
        (giant, baby): (usize, usize),
        weight: impl Fn(usize, usize, usize, usize) -> Complex64,
    ) -> Option<Vec<Complex64>> {
        let (source, step) = (baby / self.steps.width, baby % self.steps.width);
        let mut slots = Vec::with_capacity(self.layout.slots);
        for (output, input) in self.pairs(giant, step) {
            slots.extend((0..self.layout.tokens).map(|tau| weight(source, output, tau, input)));
        }
        slots.iter().any(|weight| *weight != Complex64::ZERO).then_some(slots)
    }
}

impl<B: Backend, O: Observer<B::Ct>> Run<'_, '_, B, O> {
    /// A linear map onto one ciphertext, given by weights between rows of the packing.
    pub(super) fn rows(
        &self,
        babies: &[B::Ct],
        weight: &(dyn Fn(usize, usize, usize) -> Complex64 + Sync),
    ) -> Result<B::Ct> {
        let map = RowMap { layout: &self.circuit.layout, steps: &self.circuit.steps, weight };
        self.backend.linear(babies, &self.circuit.steps.giants, &|giant, baby| map.diagonal(giant, baby))
    }

    /// A `d x d` layer from channels to channels, on the babies of parts and conjugates; zero outside replica 0 if
    /// `first_only`.
    pub(super) fn channel_map(&self, babies: &[B::Ct], weight: &Matrix, first_only: bool) -> Result<Vec<B::Ct>> {
        let layout = &self.circuit.layout;
        let map = |part: usize| {
            let entry = |source: usize, output: usize, input: usize| {
                let outputs =
                    layout.real_channels(part, output).filter(|_| !first_only || layout.row_parts(output).1 == 0);
                match (outputs, layout.real_channels(source / 2, input)) {
                    (Some(outputs), Some(inputs)) => complex_weight(weight, outputs, inputs, source % 2 == 1),
                    _ => Complex64::ZERO,
                }
            };
            self.rows(babies, &entry)
        };
        (0..layout.parts).map(map).collect()
    }

    /// A bias over channels of one part as slots, times `factor(row, tau)`.
    pub(super) fn channel_bias(
        &self,
        bias: &[f64],
        part: usize,
        factor: impl Fn(usize, usize) -> Complex64,
    ) -> Vec<Complex64> {
        let layout = &self.circuit.layout;
        layout.fill(|row, tau| match layout.real_channels(part, row) {
            Some((a, b)) => Complex64::new(bias[a], bias[b]) * factor(row, tau),
            None => Complex64::ZERO,
        })
    }

    /// Adds a bias to every part.
    pub(super) fn biased(&self, parts: Vec<B::Ct>, bias: &[f64]) -> Result<Vec<B::Ct>> {
        let add = |(part, ct): (usize, &B::Ct)| {
            self.backend.add_plain(ct, &self.channel_bias(bias, part, |_, _| Complex64::ONE))
        };
        parts.iter().enumerate().map(add).collect()
    }
}
