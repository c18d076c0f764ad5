//! Pooling and classifier of an encoder (`r[encoder.head]`).

use super::head::scale_below;
use super::linear::complex_weight;
use super::normal::Normal;
use super::{Circuit, Run, coefficients, interval, places, weights};
use crate::artifact::{Encoder, Linear, Matrix};
use crate::backend::Backend;
use crate::error::Result;
use crate::plan::Entry;
use crate::tap::{Decode, Observer};
use num_complex::Complex64;

impl Circuit<'_> {
    /// Places of the classes' logits.
    pub(super) fn class_logits(&self, encoder: &Encoder) -> Decode {
        places::classes(&self.layout, encoder.config.num_labels, class_scale(encoder).recip())
    }
}

/// Power of two by which logits are held smaller, so that no input can make them exceed the last modulus: entries behind tanh are at
/// most 1, and so are those of a mean of normalised vectors over `sqrt(d)`.
fn class_scale(encoder: &Encoder) -> f64 {
    let (head, norm) = (&encoder.body.head, &encoder.body.final_norm);
    if head.is_outline() {
        return 1.0;
    }
    let reach = |class: usize| {
        let row = || head.entries(class);
        let size: f64 = match encoder.pooler {
            Some(_) => row().map(f64::abs).sum(),
            None => {
                let gained = row().zip(&norm.gain).map(|(w, g)| (w * g).powi(2)).sum::<f64>().sqrt();
                let shift = row().zip(&norm.shift).map(|(w, s)| w * s).sum::<f64>();
                gained * (head.cols as f64).sqrt() + shift.abs()
            }
        };
        size + encoder.classifier_bias[class].abs()
    };
    scale_below((0..head.rows).map(reach).fold(0.0, f64::max))
}

impl<B: Backend, O: Observer<B::Ct>> Run<'_, '_, B, O> {
    /// Last LayerNorm, pooling and classifier: classes `2 i` and `2 i + 1` in complex channel `i` of the first token.
    pub(super) fn classifier(&mut self, encoder: &Encoder, x: Vec<B::Ct>, entry: Entry) -> Result<Vec<B::Ct>> {
        let circuit = self.circuit;
        let normal = self.entry(encoder, circuit.model.layers.len(), x, entry)?;
        let scale = class_scale(encoder);
        let Matrix { rows, cols, ref data } = encoder.body.head;
        let head = Matrix { rows, cols, data: data.iter().map(|&w| scale * f64::from(w)).collect() };
        let sums = match &encoder.pooler {
            Some(pooler) => self.first_token(encoder, pooler, &normal, &head)?,
            None => self.mean_of_tokens(encoder, &normal, &head)?,
        };
        let (layout, backend) = (&circuit.layout, self.backend);
        let biased = |(part, sum): (usize, &B::Ct)| {
            let bias = |class: usize| encoder.classifier_bias.get(class).map_or(0.0, |b| scale * b);
            let at = |row: usize| class_of(layout, part, row);
            backend.add_plain(sum, &layout.fill(|row, _| Complex64::new(bias(at(row)), bias(at(row) + 1))))
        };
        let mut logits = sums.iter().enumerate().map(biased).collect::<Result<Vec<_>>>()?;
        self.tap_all("logits", &mut logits, || circuit.class_logits(encoder))?;
        Ok(logits)
    }

    /// The first token through the dense map, tanh and the classifier's matrix. All other tokens hold 0 before tanh, so that none of
    /// them leaves its interval.
    fn first_token(
        &mut self,
        encoder: &Encoder,
        pooler: &Linear<f32>,
        normal: &Normal<B::Ct>,
        head: &Matrix,
    ) -> Result<Vec<B::Ct>> {
        let (circuit, backend) = (self.circuit, self.backend);
        let (layout, width) = (&circuit.layout, pooler.weight.rows);
        let site = circuit.model.site("pooler.tanh")?;
        let (middle, half) = interval(site);
        backend.stage("pooler");
        let dense = weights::after_norm(&pooler.weight, Some(&pooler.bias), &encoder.body.final_norm, half.recip());
        let level = backend.level(&normal.factor).saturating_sub(1);
        let mut units = self.units(&dense, normal, middle / half, level, Some(0))?;
        self.tap_all("pooler.input", &mut units, || places::units_of_first(layout, width, half, middle))?;
        let series = coefficients(site, 1.0);
        let mut units = units.iter().map(|part| backend.chebyshev(part, &series)).collect::<Result<Vec<_>>>()?;
        self.tap_all("pooler.output", &mut units, || places::units_of_first(layout, width, 1.0, 0.0))?;
        backend.stage("classifier");
        let babies = units.iter().map(|part| self.babies(part)).collect::<Result<Vec<_>>>()?.concat();
        let part = |part: usize| {
            let entry = |source: usize, output: usize, input: usize| {
                let (class, unit) = (class_of(layout, part, output), source * layout.rows() + input);
                let weight = |class: usize| if class < head.rows { head.at(class, unit) } else { 0.0 };
                if unit < width { Complex64::new(weight(class), weight(class + 1)) } else { Complex64::ZERO }
            };
            // Each replica holds a partial sum over other units; in replica 0 they add up.
            backend.fold(&self.rows(&babies, &entry)?, &layout.fold_replicas())
        };
        (0..head.rows.div_ceil(2 * layout.channels())).map(part).collect()
    }

    /// The mean over live tokens, at the first one, through the classifier's matrix.
    fn mean_of_tokens(&mut self, encoder: &Encoder, normal: &Normal<B::Ct>, head: &Matrix) -> Result<Vec<B::Ct>> {
        let (circuit, backend) = (self.circuit, self.backend);
        let (layout, live, norm) = (&circuit.layout, circuit.prompt, &encoder.body.final_norm);
        backend.stage("mean over tokens");
        let share = |tau: usize| if tau < live { (live as f64).recip() } else { 0.0 };
        let shares = self.normalised(&self.gained(normal, norm, share)?, normal, &norm.shift, share)?;
        let sums = shares.iter().map(|part| backend.fold(part, &layout.spread_last_token()));
        let mut pooled = sums.collect::<Result<Vec<_>>>()?;
        self.tap_all("pooler.input", &mut pooled, || places::channels_of_first(layout, 1.0))?;
        backend.stage("classifier");
        let babies = self.babies_of_parts(&pooled)?;
        let part = |part: usize| {
            let entry = |source: usize, output: usize, input: usize| {
                let class = class_of(layout, part, output);
                match layout.real_channels(source / 2, input) {
                    Some(inputs) => complex_weight(head, (class, class + 1), inputs, source % 2 == 1),
                    None => Complex64::ZERO,
                }
            };
            self.rows(&babies, &entry)
        };
        (0..head.rows.div_ceil(2 * layout.channels())).map(part).collect()
    }
}

/// The first of the two classes in a row of a ciphertext.
fn class_of(layout: &crate::layout::Layout, part: usize, row: usize) -> usize {
    let (l, _, head) = layout.row_parts(row);
    2 * (part * layout.channels() + l * layout.heads + head)
}
