//! The encrypted GPT-NeoX circuit, written once over [`Backend`] (`spec/book/graphs.md`).
//!
//! Three choices shape it:
//!
//! * The client sends embedding rows without their mean over channels, and everything added to the stream later has
//!   its mean removed in the weights (`r[model.centred]`), so the variance is a plain mean of squares.
//! * The stream is held as `alpha x` with `alpha` such that the sum of squares is, up to a constant, the variable of the next
//!   inverse-square-root polynomial: entering a polynomial's interval costs no level. Scores are scaled for the
//!   reciprocal in the same way.
//! * LayerNorm's factor is applied after the linear maps, which therefore run while the inverse square root is computed,
//!   and Power-Softmax's reciprocal after the weighted sum of values.
//!
//! Not here: bootstrapping. A model that needs more levels than the parameter set has is refused.

mod attention;
mod linear;
mod mlp;
mod places;
mod weights;

pub(crate) use weights::{after_norm, centred, split_qkv};

use crate::artifact::{Linear, Matrix, Model, Norm};
use crate::backend::dry::{DryRun, KeyPlan};
use crate::backend::{Backend, chebyshev_depth};
use crate::error::{LlmError, Result};
use crate::layout::Layout;
use crate::plain::rotary_angle;
use crate::tap::{Blind, Decode, Observer};
use linear::{ComplexForm, RowMap, Steps};
use num_complex::Complex64;
use touchstone_spec::artifact::{Refinement, Site};

/// Size below which decrypted logits must stay, as a fraction of what the last modulus can hold: the last prime is about
/// 2^9 times the scale, values are below half of it, and a factor 2 is left for errors.
const LARGEST_LOGIT: f64 = 128.0;

/// A model laid out in ciphertexts of a certain size.
#[derive(Debug)]
pub struct Circuit<'a> {
    model: &'a Model,
    layout: Layout,
    steps: Steps,
    /// Positions that taps report, and the position whose logits are read is the last of them.
    prompt: usize,
    /// Rotary factor of complex channel `l` at token `tau`.
    turn: Vec<Vec<Complex64>>,
}

/// What must be generated and encrypted to run a circuit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirements {
    /// Level at which the client encrypts: the circuit ends at level 0.
    pub input_level: usize,
    /// Evaluation keys.
    pub keys: KeyPlan,
}

impl<'a> Circuit<'a> {
    /// Lays `model` out in ciphertexts of `slots` slots, for a prompt of `prompt` tokens.
    ///
    /// The server may pass the context length for `prompt`: it only selects what taps report.
    ///
    /// # Errors
    /// [`LlmError::Packing`] if the model does not fit; [`LlmError::File`] for a refinement that the circuit does not have;
    /// [`LlmError::Prompt`] for a prompt that is empty or longer than the context.
    pub fn new(model: &'a Model, slots: usize, prompt: usize) -> Result<Self> {
        let config = &model.config;
        let layout = Layout::new(config, slots)?;
        if !(1..=config.max_position_embeddings).contains(&prompt) {
            let expected = format!("1 to {} tokens", config.max_position_embeddings);
            return Err(LlmError::Prompt { expected, got: format!("{prompt} tokens") });
        }
        for site in &model.polynomials.sites {
            if site.refinement != Refinement::None {
                return Err(LlmError::File {
                    file: "polynomials.json".to_owned(),
                    operation: site.site.clone(),
                    expected: "a polynomial without refinement steps".to_owned(),
                    got: format!("{:?}", site.refinement),
                });
            }
        }
        let half = config.rotary_size() / 2;
        let factor = |l: usize, tau: usize| match l < half {
            true => Complex64::cis(rotary_angle(config.rotary_emb_base, tau, l, half)),
            false => Complex64::ONE,
        };
        let turn = (0..layout.head_pairs).map(|l| (0..layout.tokens).map(|tau| factor(l, tau)).collect()).collect();
        let steps = Steps::new(&layout);
        Ok(Self { model, layout, steps, prompt, turn })
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &'a Model {
        self.model
    }

    /// The slot layout.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Input level and keys for a parameter set with levels `0..=max_level`.
    ///
    /// # Errors
    /// [`LlmError::Levels`] where the circuit runs out of levels, naming the place.
    pub fn requirements(&self, max_level: usize) -> Result<Requirements> {
        let left = *self.run(&DryRun::new(self.layout.slots), &max_level, &mut Blind)?.first().unwrap_or(&0);
        let input_level = max_level - left;
        let dry = DryRun::new(self.layout.slots);
        self.run(&dry, &input_level, &mut Blind)?;
        Ok(Requirements { input_level, keys: dry.keys() })
    }

    /// The slots that the client encrypts: embedded, centred, scaled, extended cyclically (`r[model.pad]`) and packed.
    ///
    /// # Errors
    /// [`LlmError::Prompt`] for a number of tokens other than the circuit's, or a token outside the vocabulary.
    pub fn input(&self, tokens: &[u32]) -> Result<Vec<Complex64>> {
        let embedding = &self.model.embedding;
        if tokens.len() != self.prompt {
            let (expected, got) = (format!("{} tokens", self.prompt), format!("{} tokens", tokens.len()));
            return Err(LlmError::Prompt { expected, got });
        }
        if let Some(token) = tokens.iter().find(|&&token| token as usize >= embedding.rows) {
            let expected = format!("token ids below {}", embedding.rows);
            return Err(LlmError::Prompt { expected, got: token.to_string() });
        }
        let alpha = stream_scale(self.entry_site(0)?, self.model.config.hidden_size);
        let centred = |token: u32| {
            let row = embedding.row(token as usize);
            let mean = row.iter().sum::<f64>() / row.len() as f64;
            row.iter().map(|x| alpha * (x - mean)).collect::<Vec<f64>>()
        };
        let rows: Vec<Vec<f64>> = self.padded(tokens).into_iter().map(centred).collect();
        Ok(self.layout.fill(|l, _, head, tau| {
            let (a, b) = self.layout.real_channels(l * self.layout.heads + head);
            Complex64::new(rows[tau][a], rows[tau][b])
        }))
    }

    /// The prompt repeated up to the packed length.
    #[must_use]
    pub fn padded(&self, tokens: &[u32]) -> Vec<u32> {
        tokens.iter().copied().cycle().take(self.layout.tokens).collect()
    }

    /// Runs the circuit on the encrypted input; returns the ciphertexts of the logits, see [`Circuit::logits`].
    ///
    /// # Errors
    /// [`LlmError::Levels`] without enough levels; whatever backend and observer report.
    pub fn run<B: Backend, O: Observer<B::Ct>>(
        &self,
        backend: &B,
        input: &B::Ct,
        observer: &mut O,
    ) -> Result<Vec<B::Ct>> {
        let mut run = Run { circuit: self, backend, observer };
        let mut x = input.clone();
        let alpha = stream_scale(self.entry_site(0)?, self.model.config.hidden_size);
        run.tap("embedding", &mut [&mut x], || places::channels(&self.layout, self.prompt, 1.0 / alpha))?;
        for layer in 0..self.model.layers.len() {
            x = run.block(layer, &x)?;
        }
        run.head(&x)
    }

    /// How to read the logits of the last prompt position.
    #[must_use]
    pub fn logits(&self) -> Decode {
        places::logits(&self.layout, self.model.head.rows, self.prompt - 1, 1.0 / self.logit_scale())
    }

    /// Power of two by which logits are held smaller, so that no input can make them exceed the last modulus.
    ///
    /// A normalised vector has length at most `sqrt(d)`.
    fn logit_scale(&self) -> f64 {
        let head = head_layer(self.model, 1.0);
        let length = |row: &[f64]| row.iter().map(|w| w * w).sum::<f64>().sqrt();
        let width = (self.model.config.hidden_size as f64).sqrt();
        let reach = (0..head.weight.rows).map(|i| length(head.weight.row(i)) * width + head.bias[i].abs());
        let largest = reach.fold(0.0, f64::max);
        if largest <= LARGEST_LOGIT { 1.0 } else { (-(largest / LARGEST_LOGIT).log2().ceil()).exp2() }
    }

    /// The first site that reads the stream as it enters `layer`; the final one after the last layer.
    fn entry_site(&self, layer: usize) -> Result<&Site> {
        match layer < self.model.layers.len() {
            true => self.model.site(&format!("layers.{layer}.inverse-sqrt")),
            false => self.model.site("final.inverse-sqrt"),
        }
    }
}

/// The LM head on the normalised stream, times `scale`.
pub(crate) fn head_layer(model: &Model, scale: f64) -> Linear {
    weights::after_norm(&model.head, None, &model.final_norm, scale)
}

/// Middle and half width of a site's interval.
pub(crate) fn interval(site: &Site) -> (f64, f64) {
    let [a, b] = site.interval.map(|bound| bound.0);
    ((a + b) / 2.0, (b - a) / 2.0)
}

/// `alpha` for the stream that a LayerNorm reads: `alpha^2 d` times half the interval's width is 1.
fn stream_scale(site: &Site, width: usize) -> f64 {
    (interval(site).1 * width as f64).sqrt().recip()
}

fn coefficients(site: &Site, factor: f64) -> Vec<f64> {
    site.coefficients.iter().map(|c| c.0 * factor).collect()
}

/// One pass through the circuit.
struct Run<'a, 'c, B: Backend, O> {
    circuit: &'c Circuit<'a>,
    backend: &'c B,
    observer: &'c mut O,
}

/// What a LayerNorm provides: its factor, and rotations of the stream and its conjugate for the linear maps after it.
struct Normal<C> {
    /// `1 / (alpha sqrt(var + eps))` in every slot.
    factor: C,
    /// Baby rotations of the stream, then of its conjugate.
    babies: Vec<C>,
}

impl<B: Backend, O: Observer<B::Ct>> Run<'_, '_, B, O> {
    fn tap(&mut self, name: &str, ciphertexts: &mut [&mut B::Ct], decode: impl FnOnce() -> Decode) -> Result<()> {
        if self.observer.wants(name) {
            let shared: Vec<&B::Ct> = ciphertexts.iter().map(|ct| &**ct).collect();
            self.observer.tap(name, &shared, &decode())?;
        }
        for ct in ciphertexts {
            self.backend.cut(ct);
        }
        Ok(())
    }

    /// One block: stream in, stream out, each scaled for the LayerNorm that reads it next.
    fn block(&mut self, layer: usize, x: &B::Ct) -> Result<B::Ct> {
        let (circuit, width) = (self.circuit, self.circuit.model.config.hidden_size);
        let alpha = stream_scale(circuit.entry_site(layer)?, width);
        let next = stream_scale(circuit.entry_site(layer + 1)?, width);
        let prefix = format!("layers.{layer}");
        let normal = self.normalise(&format!("{prefix}.layernorm"), &format!("{prefix}.inverse-sqrt"), x)?;
        let mut out = if circuit.model.config.use_parallel_residual {
            let attention = self.attention(layer, &normal, next)?;
            let mlp = self.mlp(layer, &normal, next, Some(self.backend.level(&attention)))?;
            let level = self.backend.level(&mlp);
            let sum = self.backend.add(&self.backend.to_level(&attention, level)?, &mlp)?;
            self.backend.add(&sum, &self.backend.scale_to(x, next / alpha, level)?)?
        } else {
            let site = format!("{prefix}.mlp-inverse-sqrt");
            let middle = stream_scale(circuit.model.site(&site)?, width);
            let attention = self.attention(layer, &normal, middle)?;
            drop(normal);
            let level = self.backend.level(&attention);
            let x = self.backend.add(&attention, &self.backend.scale_to(x, middle / alpha, level)?)?;
            let normal = self.normalise(&format!("{prefix}.mlp-layernorm"), &site, &x)?;
            let mlp = self.mlp(layer, &normal, next, None)?;
            let level = self.backend.level(&mlp);
            self.backend.add(&mlp, &self.backend.scale_to(&x, next / middle, level)?)?
        };
        self.tap(&format!("{prefix}.residual"), &mut [&mut out], || {
            places::channels(&circuit.layout, circuit.prompt, 1.0 / next)
        })?;
        Ok(out)
    }

    /// Variance, its inverse square root, and the rotations of the stream. Taps are called `prefix.*`.
    ///
    /// Levels: variance at `l - 1`, factor `depth` below, rotations two above the factor so that a masked copy of a
    /// map's result still meets the factor.
    fn normalise(&mut self, prefix: &str, site: &str, x: &B::Ct) -> Result<Normal<B::Ct>> {
        let (circuit, backend) = (self.circuit, self.backend);
        let (layout, site) = (&circuit.layout, circuit.model.site(site)?);
        let alpha = stream_scale(site, circuit.model.config.hidden_size);
        let (middle, half) = interval(site);
        backend.stage("layernorm variance");
        let conjugate = backend.conjugate(x)?;
        let squares = backend.mul(x, &conjugate)?;
        let sums = backend.fold(&squares, &[layout.fold_channels(), layout.fold_heads()].concat())?;
        let mut variable = backend.add_const(&sums, -middle / half)?;
        let (tokens, name) = (circuit.prompt, |tap: &str| format!("{prefix}.{tap}"));
        self.tap(&name("variance"), &mut [&mut variable], || places::tokens(layout, tokens, half, middle))?;
        backend.stage("layernorm inverse square root");
        let mut factor = backend.chebyshev(&variable, &coefficients(site, 1.0 / alpha))?;
        self.tap(&name("inverse-sqrt"), &mut [&mut factor], || places::tokens(layout, tokens, alpha, 0.0))?;
        if self.observer.wants(&name("normalised")) {
            let mut normalised = backend.mul(x, &factor)?;
            self.tap(&name("normalised"), &mut [&mut normalised], || places::channels(layout, tokens, 1.0))?;
        }
        backend.stage("linear maps");
        let level = (backend.level(&factor) + 2).min(backend.level(x));
        let babies = self.babies(&backend.to_level(x, level)?, &backend.to_level(&conjugate, level)?)?;
        Ok(Normal { factor, babies })
    }

    fn babies(&self, x: &B::Ct, conjugate: &B::Ct) -> Result<Vec<B::Ct>> {
        let mut babies = self.backend.rotate_many(x, &self.circuit.steps.babies)?;
        babies.extend(self.backend.rotate_many(conjugate, &self.circuit.steps.babies)?);
        Ok(babies)
    }

    /// A linear map given by weights between rows of the packing.
    fn rows(
        &self,
        babies: &[B::Ct],
        weight: &(dyn Fn(bool, usize, usize) -> Complex64 + Sync),
        turn: Option<&[Vec<Complex64>]>,
    ) -> Result<B::Ct> {
        let map = RowMap { layout: &self.circuit.layout, steps: &self.circuit.steps, weight, turn };
        self.backend.linear(babies, &self.circuit.steps.giants, &|giant, baby| map.diagonal(giant, baby))
    }

    /// A `d x d` layer from channels to channels; zero outside replica 0 if `first_only`.
    fn channel_map(&self, babies: &[B::Ct], weight: &Matrix, first_only: bool, turned: bool) -> Result<B::Ct> {
        let layout = &self.circuit.layout;
        let pairs: Vec<_> = (0..layout.channels()).map(|c| layout.real_channels(c)).collect();
        let form = ComplexForm::new(weight, pairs.iter().copied(), &pairs);
        let entry = |conjugated: bool, output: usize, input: usize| match first_only && layout.row_parts(output).1 != 0
        {
            true => Complex64::ZERO,
            false => form.weight(conjugated, layout.channel_of_row(output), layout.channel_of_row(input)),
        };
        self.rows(babies, &entry, turned.then_some(self.circuit.turn.as_slice()))
    }

    /// A bias over channels as slots, turned like the map it belongs to; `keep(rep, head, tau)` selects slots.
    fn channel_bias(&self, bias: &[f64], turned: bool, keep: impl Fn(usize, usize, usize) -> bool) -> Vec<Complex64> {
        let layout = &self.circuit.layout;
        layout.fill(|l, rep, head, tau| {
            if !keep(rep, head, tau) {
                return Complex64::ZERO;
            }
            let (a, b) = layout.real_channels(l * layout.heads + head);
            let value = Complex64::new(bias[a], bias[b]);
            if turned { value * self.circuit.turn[l][tau] } else { value }
        })
    }

    /// Final LayerNorm and LM head.
    fn head(&mut self, x: &B::Ct) -> Result<Vec<B::Ct>> {
        let (circuit, backend) = (self.circuit, self.backend);
        let layout = &circuit.layout;
        let normal = self.normalise("final.layernorm", "final.inverse-sqrt", x)?;
        backend.stage("LM head");
        let babies: Vec<_> = self.lowered(&normal.babies, backend.level(&normal.factor) + 1)?;
        let layer = head_layer(circuit.model, circuit.logit_scale());
        let (vocabulary, rows) = (layer.weight.rows, layout.rows());
        let inputs: Vec<_> = (0..layout.channels()).map(|c| layout.real_channels(c)).collect();
        let mut logits = Vec::new();
        for part in 0..vocabulary.div_ceil(2 * rows) {
            let first = 2 * part * rows;
            let form = ComplexForm::new(&layer.weight, (0..rows).map(|o| (first + 2 * o, first + 2 * o + 1)), &inputs);
            let entry = |conjugated, output, input| form.weight(conjugated, output, layout.channel_of_row(input));
            let product = backend.mul(&self.rows(&babies, &entry, None)?, &normal.factor)?;
            let bias = |i: usize| layer.bias.get(i).copied().unwrap_or(0.0);
            let pair = |row: usize| Complex64::new(bias(first + 2 * row), bias(first + 2 * row + 1));
            let shift: Vec<_> = (0..layout.slots).map(|slot| pair(slot / layout.tokens)).collect();
            logits.push(backend.add_plain(&product, &shift)?);
        }
        self.tap("logits", &mut logits.iter_mut().collect::<Vec<_>>(), || circuit.logits())?;
        Ok(logits)
    }

    fn lowered(&self, cts: &[B::Ct], level: usize) -> Result<Vec<B::Ct>> {
        cts.iter().map(|ct| self.backend.to_level(ct, level)).collect()
    }

    fn unit_depth(&self, site: &Site) -> usize {
        chebyshev_depth(&coefficients(site, 1.0))
    }

    fn norm(&self, layer: usize, mlp: bool) -> &Norm {
        let layer = &self.circuit.model.layers[layer];
        if mlp { &layer.mlp_norm } else { &layer.attention_norm }
    }
}
