//! Linear maps: every output is a weighted sum of ciphertexts.

use super::Run;
use crate::artifact::{Linear, Matrix};
use crate::backend::Backend;
use crate::error::Result;
use crate::tap::Observer;

impl<B: Backend, O: Observer<B::Ct>> Run<'_, '_, B, O> {
    /// Row `row` of `weight` on `inputs`, which stand at columns from `first` on, at `level`.
    pub(super) fn weighted(
        &self,
        (weight, row, first): (&Matrix, usize, usize),
        inputs: &[B::Ct],
        level: usize,
    ) -> Result<B::Ct> {
        // An outline has no weights.
        let at = |column: usize| if weight.is_outline() { 0.0 } else { weight.at(row, column) };
        let terms: Vec<(&B::Ct, f64)> = inputs.iter().zip(first..).map(|(ct, column)| (ct, at(column))).collect();
        self.backend.weighted_sum(&terms, level)
    }

    /// `W x + b` one level below `x`.
    pub(super) fn linear(&self, layer: &Linear, x: &[B::Ct]) -> Result<Vec<B::Ct>> {
        let level = self.level(x).saturating_sub(1);
        let output = |row: usize| {
            let sum = self.weighted((&layer.weight, row, 0), x, level)?;
            self.backend.add_const(&sum, layer.bias[row])
        };
        (0..layer.weight.rows).map(output).collect()
    }
}
