//! The encoder in binary64.

use super::{Functions, Pass, Rows, Run, affine, centre, each, linear, sum};
use crate::artifact::{Encoder, Norm};
use crate::error::Result;
use crate::tap::Tensor;

/// Runs the encoder on `tokens`, all of them live, and returns every tap of `r[encoder.taps]`; `logits` is last.
///
/// # Errors
/// As [`Encoder::embed`].
pub fn classify(encoder: &Encoder, tokens: &[u32], functions: Functions) -> Result<Pass> {
    let mut run = Run { model: &encoder.body, functions, causal: false, taps: Vec::new(), escapes: Vec::new() };
    let mut x = encoder.embed(tokens)?;
    centre(&mut x);
    run.push("embedding", &x);
    let mut y = run.post_norm("embedding", "", encoder.entry_norm(0), &x)?;
    for (index, layer) in encoder.body.layers.iter().enumerate() {
        let prefix = format!("layers.{index}");
        let attention = run.attention(index, &y)?;
        let after_attention = run.post_norm(&prefix, "attention-", &layer.mlp_norm, &sum(&y, &attention))?;
        let mlp = run.mlp(index, &after_attention)?;
        y = run.post_norm(&prefix, "mlp-", encoder.entry_norm(index + 1), &sum(&after_attention, &mlp))?;
        run.push(&format!("{prefix}.residual"), &y);
    }
    let pooled = run.pool(encoder, &y)?;
    let logits = encoder.body.head.apply(&pooled).iter().zip(&encoder.classifier_bias).map(|(x, b)| x + b).collect();
    run.push_vector("logits", logits);
    Ok(Pass { taps: run.taps, escapes: run.escapes })
}

impl Run<'_> {
    /// A LayerNorm with gain and shift; its site is `prefix.kind inverse-sqrt`, its taps `prefix.kind layernorm.*`.
    fn post_norm(&mut self, prefix: &str, kind: &str, norm: &Norm, x: &Rows) -> Result<Rows> {
        let names = (format!("{prefix}.{kind}layernorm"), format!("{prefix}.{kind}inverse-sqrt"));
        Ok(each(&self.normalise(&names.0, &names.1, x)?, |row| affine(norm, row)))
    }

    /// What the classifier reads (`r[encoder.head]`).
    fn pool(&mut self, encoder: &Encoder, stream: &Rows) -> Result<Vec<f64>> {
        let Some(pooler) = &encoder.pooler else {
            let mean = |c: usize| stream.iter().map(|row| row[c]).sum::<f64>() / stream.len() as f64;
            let pooled: Vec<f64> = (0..encoder.config.hidden_size).map(mean).collect();
            self.push_vector("pooler.input", pooled.clone());
            return Ok(pooled);
        };
        let dense = linear(pooler, &stream[0]);
        let pooled = dense.iter().map(|&x| self.function("pooler.tanh", x)).collect::<Result<Vec<f64>>>()?;
        self.push_vector("pooler.input", dense);
        self.push_vector("pooler.output", pooled.clone());
        Ok(pooled)
    }

    fn push_vector(&mut self, name: &str, values: Vec<f64>) {
        self.taps.push(Tensor { name: name.to_owned(), shape: vec![values.len()], values });
    }
}
