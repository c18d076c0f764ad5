//! Final LayerNorm and LM head.
//!
//! A small vocabulary is computed at every position, two logits per row. A wide one at the last position only: its channels
//! are copied to all positions of their rows, so that every slot has room for two logits.

use super::linear::{RowMap, complex_weight};
use super::normal::Normal;
use super::{Circuit, Run, places, weights};
use crate::artifact::{Linear, Model};
use crate::backend::Backend;
use crate::error::Result;
use crate::plan::Entry;
use crate::tap::{Decode, Observer};
use num_complex::Complex64;

/// Size below which decrypted logits must stay, as a fraction of what the last modulus can hold: the last prime is about
/// 2^9 times the scale, values are below half of it, and a factor 2 is left for errors.
const LARGEST_LOGIT: f64 = 128.0;
/// Ciphertexts of logits that are computed at every position; a vocabulary that needs more is wide.
const NARROW: usize = 4;

/// The LM head on the normalised stream, times `scale`.
pub(crate) fn head_layer(model: &Model, scale: f64) -> Linear {
    weights::after_norm(&model.head, None, &model.final_norm, scale)
}

impl Circuit<'_> {
    /// Whether only the last position's logits are computed: the server must know then which position that is.
    #[must_use]
    pub fn reads_last_token(&self) -> bool {
        self.encoder.is_none() && self.model.head.rows > NARROW * 2 * self.layout.rows()
    }

    /// How to read the logits: those of the last prompt position, or an encoder's classes.
    #[must_use]
    pub fn logits(&self) -> Decode {
        if let Some(encoder) = self.encoder {
            return self.class_logits(encoder);
        }
        let (vocabulary, factor) = (self.model.head.rows, 1.0 / logit_scale(self.model));
        match self.reads_last_token() {
            true => places::wide_logits(&self.layout, vocabulary, factor),
            false => places::logits(&self.layout, vocabulary, self.prompt - 1, factor),
        }
    }
}

/// Power of two by which logits are held smaller, so that no input can make them exceed the last modulus.
///
/// A normalised vector has length at most `sqrt(d)`.
pub(crate) fn logit_scale(model: &Model) -> f64 {
    if model.head.is_outline() {
        return 1.0;
    }
    // Row by row: a folded copy of a wide head would be the largest allocation of a run.
    let (head, norm) = (&model.head, &model.final_norm);
    let width = (model.config.hidden_size as f64).sqrt();
    let reach = |i: usize| {
        let length = head.entries(i).zip(&norm.gain).map(|(w, g)| (w * g).powi(2)).sum::<f64>().sqrt();
        let bias = head.entries(i).zip(&norm.shift).map(|(w, s)| w * s).sum::<f64>();
        length * width + bias.abs()
    };
    scale_below((0..head.rows).map(reach).fold(0.0, f64::max))
}

/// The power of two that brings logits of at most `largest` into the range of the last modulus.
pub(super) fn scale_below(largest: f64) -> f64 {
    if largest <= LARGEST_LOGIT { 1.0 } else { (-(largest / LARGEST_LOGIT).log2().ceil()).exp2() }
}

impl<B: Backend, O: Observer<B::Ct>> Run<'_, '_, B, O> {
    /// Final LayerNorm and LM head.
    pub(super) fn head(&mut self, x: Vec<B::Ct>, entry: Entry) -> Result<Vec<B::Ct>> {
        let circuit = self.circuit;
        if let Some(encoder) = circuit.encoder {
            return self.classifier(encoder, x, entry);
        }
        let (mut x, mut tokens) = (self.enter(x, entry)?, circuit.prompt);
        // A decoding step has its token at every position already.
        if circuit.reads_last_token() && circuit.step.is_none() {
            (x, tokens) = (self.last_token(&x)?, 1);
        }
        let held = circuit.held(circuit.model.layers.len(), entry)?;
        let normal = self.normalise(("final.layernorm", "final.inverse-sqrt"), &x, held, tokens)?;
        self.backend.stage("LM head");
        let babies: Vec<_> = self.lowered(&normal.babies, self.backend.level(&normal.factor) + 1)?;
        let layer = head_layer(circuit.model, logit_scale(circuit.model));
        let mut logits = match circuit.reads_last_token() {
            true => self.wide_head(&babies, &normal, &layer)?,
            false => self.narrow_head(&babies, &normal, &layer)?,
        };
        self.tap_all("logits", &mut logits, || circuit.logits())?;
        Ok(logits)
    }

    fn narrow_head(&self, babies: &[B::Ct], normal: &Normal<B::Ct>, layer: &Linear) -> Result<Vec<B::Ct>> {
        let layout = &self.circuit.layout;
        let rows = layout.rows();
        let part = |part: usize| {
            let first = 2 * part * rows;
            let entry = |source: usize, output: usize, input: usize| match layout.real_channels(source / 2, input) {
                Some(inputs) => {
                    let outputs = (first + 2 * output, first + 2 * output + 1);
                    complex_weight(&layer.weight, outputs, inputs, source % 2 == 1)
                }
                None => Complex64::ZERO,
            };
            let product = self.backend.mul(&self.rows(babies, &entry)?, &normal.factor)?;
            let shift = layout.fill(|row, _| bias_pair(&layer.bias, first + 2 * row));
            self.backend.add_plain(&product, &shift)
        };
        (0..layer.weight.rows.div_ceil(2 * rows)).map(part).collect()
    }

    fn wide_head(&self, babies: &[B::Ct], normal: &Normal<B::Ct>, layer: &Linear) -> Result<Vec<B::Ct>> {
        let (layout, steps) = (&self.circuit.layout, &self.circuit.steps);
        let map = RowMap { layout, steps, weight: &|_, _, _| Complex64::ZERO };
        let part = |part: usize| {
            let first = 2 * part * layout.slots;
            let at = |row: usize, tau: usize| first + 2 * (row * layout.tokens + tau);
            let weight = |source: usize, output: usize, tau: usize, input: usize| {
                let outputs = (at(output, tau), at(output, tau) + 1);
                let inputs = layout.real_channels(source / 2, input);
                inputs.map_or(Complex64::ZERO, |inputs| complex_weight(&layer.weight, outputs, inputs, source % 2 == 1))
            };
            let diagonals = |giant, baby| map.diagonal_by_token((giant, baby), weight);
            let product = self.backend.linear(babies, &steps.giants, &diagonals)?;
            let product = self.backend.mul(&product, &normal.factor)?;
            self.backend.add_plain(&product, &layout.fill(|row, tau| bias_pair(&layer.bias, at(row, tau))))
        };
        (0..layer.weight.rows.div_ceil(2 * layout.slots)).map(part).collect()
    }

    /// The channels of the last prompt position at every position: one level.
    fn last_token(&self, x: &[B::Ct]) -> Result<Vec<B::Ct>> {
        let (layout, backend, last) = (&self.circuit.layout, self.backend, self.circuit.prompt - 1);
        backend.stage("last token");
        let mask = layout.fill(|_, tau| Complex64::from(f64::from(u8::from(tau == last))));
        let spread = |part: &B::Ct| {
            let kept = backend.mul_plain(part, &mask)?;
            // Running sums reach to the left only, so the token moves to the end of its row first.
            let at_end = backend.rotate(&kept, -((layout.tokens - 1 - last) as i64))?;
            backend.fold(&at_end, &layout.spread_last_token())
        };
        x.iter().map(spread).collect()
    }
}

fn bias_pair(bias: &[f64], first: usize) -> Complex64 {
    let at = |i: usize| bias.get(i).copied().unwrap_or(0.0);
    Complex64::new(at(first), at(first + 1))
}
