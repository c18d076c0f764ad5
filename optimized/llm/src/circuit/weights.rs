//! Weights as the circuit uses them: gain and shift of LayerNorm folded in, channel means removed, public scales applied.

use crate::artifact::{Layer, Linear, Matrix, Model, Norm};

/// What stands for a folded layer in a dry run, which never looks at its weights.
fn outline(rows: usize, cols: usize) -> Linear {
    Linear { weight: Matrix::outline(rows, cols), bias: vec![0.0; rows] }
}

/// `scale * (weight (gain * x + shift) + bias)` as a linear layer on the normalised `x`.
pub(crate) fn after_norm(weight: &Matrix<f32>, bias: Option<&[f64]>, norm: &Norm, scale: f64) -> Linear {
    if weight.is_outline() {
        return outline(weight.rows, weight.cols);
    }
    let shifted = weight.apply(&norm.shift);
    let bias = (0..weight.rows).map(|i| scale * (shifted[i] + bias.map_or(0.0, |b| b[i]))).collect();
    let mut data: Vec<f64> = weight.data.iter().map(|&w| w.into()).collect();
    for row in data.chunks_mut(weight.cols) {
        row.iter_mut().zip(&norm.gain).for_each(|(w, g)| *w *= scale * g);
    }
    Linear { weight: Matrix { rows: weight.rows, cols: weight.cols, data }, bias }
}

/// `scale * (y - mean of y over outputs)` for `y = weight x + bias` (`r[model.centred]`).
pub(crate) fn centred(layer: &Linear<f32>, scale: f64) -> Linear {
    let (rows, cols) = (layer.weight.rows, layer.weight.cols);
    if layer.weight.is_outline() {
        return outline(rows, cols);
    }
    let mean = |j: usize| (0..rows).map(|i| layer.weight.at(i, j)).sum::<f64>() / rows as f64;
    let means: Vec<f64> = (0..cols).map(mean).collect();
    let mut data: Vec<f64> = layer.weight.data.iter().map(|&w| w.into()).collect();
    for row in data.chunks_mut(cols) {
        row.iter_mut().zip(&means).for_each(|(w, m)| *w = scale * (*w - m));
    }
    let mean = layer.bias.iter().sum::<f64>() / rows as f64;
    let bias = layer.bias.iter().map(|b| scale * (b - mean)).collect();
    Linear { weight: Matrix { rows, cols, data }, bias }
}

/// Query, key and value layers of a block on the normalised stream; queries carry `query_scale`.
pub(crate) fn projections(model: &Model, layer: usize, query_scale: f64) -> [Linear; 3] {
    let layer = &model.layers[layer];
    let [query, key, value] = split_qkv(layer, model.config.head_size());
    let fold = |part: &Linear<f32>, scale| after_norm(&part.weight, Some(&part.bias), &layer.attention_norm, scale);
    [fold(&query, query_scale), fold(&key, 1.0), fold(&value, 1.0)]
}

/// Query, key and value layers, heads side by side (`r[model.qkv]`).
pub(crate) fn split_qkv(layer: &Layer, head_size: usize) -> [Linear<f32>; 3] {
    let d = layer.qkv.weight.cols;
    if layer.qkv.weight.is_outline() {
        return [(); 3].map(|()| Linear { weight: Matrix::outline(d, d), bias: vec![0.0; d] });
    }
    [0, 1, 2].map(|which| {
        let source = |c: usize| (c / head_size * 3 + which) * head_size + c % head_size;
        let data = (0..d).flat_map(|c| layer.qkv.weight.row(source(c)).iter().copied()).collect();
        let bias = (0..d).map(|c| layer.qkv.bias[source(c)]).collect();
        Linear { weight: Matrix { rows: d, cols: d, data }, bias }
    })
}
