//! The encrypted transformer, GPT-NeoX or encoder, written once over [`Backend`] (`spec/book/graphs.md`).
//!
//! Choices that shape it:
//!
//! * The client sends embedding rows without their mean over channels, and everything added to the stream later has
//!   its mean removed in the weights (`r[model.centred]`), so the variance is a plain mean of squares.
//! * The stream is held as `alpha x` with `alpha` such that the sum of squares is, up to a constant, the variable of the next
//!   inverse-square-root polynomial: entering a polynomial's interval costs no level. Scores are scaled for the
//!   reciprocal in the same way.
//! * LayerNorm's factor is applied after the linear maps, which therefore run while the inverse square root is computed,
//!   and Power-Softmax's reciprocal after the weighted sum of values.
//! * Only the stream and the denominators are bootstrapped, where a [`Plan`] says so. As long as the variance stays in its
//!   interval, `alpha x` is at most `sqrt(2)` in size: this alone keeps the stream close to the range of bootstrapping.

mod attention;
mod block;
mod cache;
mod classifier;
mod cyclic;
mod decode;
mod distances;
mod encoder;
mod head;
mod linear;
mod mlp;
mod normal;
mod places;
mod weights;

pub use cache::{Cache, CacheLevels, Keeping, LayerCache, Start, State, WithCache, WithLayers};
pub(crate) use head::{head_layer, logit_scale};
pub(crate) use weights::{after_norm, centred, projections, split_qkv};

use crate::artifact::{Encoder, Model};
use crate::backend::dry::{DryCiphertext, DryRun, KeyPlan};
use crate::backend::{Backend, Packing, Refresh};
use crate::error::{LlmError, Result};
use crate::layout::{Layout, Shape};
use crate::plain::rotary_angle;
use crate::plan::costs::{Costs, Units};
use crate::plan::outline::Outline;
use crate::plan::{BlockPlan, Entry, Pattern, Plan, Planned};
use crate::tap::{Blind, Decode, Observer};
use cache::{Memory, Step};
use linear::Steps;
use num_complex::Complex64;
use touchstone_ckks::Parameters;
use touchstone_spec::artifact::{Refinement, Site};

/// A model laid out in ciphertexts of a certain size.
#[derive(Debug)]
pub struct Circuit<'a> {
    model: &'a Model,
    /// The encoder whose blocks the model holds, if it is one.
    encoder: Option<&'a Encoder>,
    layout: Layout,
    steps: Steps,
    /// Positions that taps report, and the position whose logits are read is the last of them.
    prompt: usize,
    /// Rotary factor of complex channel `l` of a head, over all parts of a group, at token `tau`.
    turn: Vec<Vec<Complex64>>,
    /// One token behind a cache in place of a prompt.
    step: Option<Step>,
}

/// What must be generated and encrypted to run a circuit.
#[derive(Clone, Debug, PartialEq)]
pub struct Requirements {
    /// Where levels go; the client encrypts at [`Plan::input_level`].
    pub plan: Plan,
    /// Evaluation keys.
    pub keys: KeyPlan,
    /// Bootstraps of one run.
    pub bootstraps: usize,
}

impl<'a> Circuit<'a> {
    /// Lays `model` out in ciphertexts of `slots` slots, for a prompt of `prompt` tokens.
    ///
    /// The server may pass the context length for `prompt`: it only selects what taps report, except where
    /// [`Circuit::reads_last_token`].
    ///
    /// # Errors
    /// [`LlmError::Packing`] if the model does not fit; [`LlmError::File`] for a refinement that the circuit does not have;
    /// [`LlmError::Prompt`] for a prompt that is empty or longer than the context.
    pub fn new(model: &'a Model, slots: usize, prompt: usize) -> Result<Self> {
        Self::laid_out(model, slots, model.config.max_position_embeddings, prompt)
    }

    /// Lays `encoder` out for a text of `tokens` tokens, all of them live; rows of the packing are as short as that allows.
    ///
    /// # Errors
    /// As [`Circuit::new`].
    pub fn encoder(encoder: &'a Encoder, slots: usize, tokens: usize) -> Result<Self> {
        let model = &encoder.body;
        let channels =
            model.config.num_attention_heads.next_power_of_two() * (model.config.head_size() / 2).next_power_of_two();
        // There are at most as many replicas as tokens in a row.
        let mut context = tokens.clamp(1, model.config.max_position_embeddings).next_power_of_two();
        while context * context * channels < slots {
            context *= 2;
        }
        Ok(Self { encoder: Some(encoder), ..Self::laid_out(model, slots, context, tokens)? })
    }

    /// Lays a model out with `context` tokens in a row.
    fn laid_out(model: &'a Model, slots: usize, context: usize, prompt: usize) -> Result<Self> {
        let config = &model.config;
        let shape = Shape {
            heads: config.num_attention_heads,
            head_size: config.head_size(),
            rotary: config.rotary_size(),
            tokens: context,
        };
        let layout = Layout::new(shape, slots)?;
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
        let channels = layout.group_parts() * layout.head_pairs;
        let turn = (0..channels).map(|l| (0..layout.tokens).map(|tau| factor(l, tau)).collect()).collect();
        let steps = Steps::new(&layout);
        Ok(Self { model, encoder: None, layout, steps, prompt, turn, step: None })
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

    /// The encoder whose blocks the model holds, if it is one.
    pub(crate) fn encoder_model(&self) -> Option<&'a Encoder> {
        self.encoder
    }

    /// The cheapest plan for a parameter set, and the keys that it uses.
    ///
    /// # Errors
    /// [`LlmError::Levels`] where no placement of bootstraps has enough levels, naming the place.
    pub fn requirements(&self, parameters: &Parameters) -> Result<Requirements> {
        // Placement must not depend on the machine, see `Units`.
        let costs = Costs::new(parameters, Units::default())?;
        self.outlined(|circuit| {
            let plan = Plan::find(circuit, parameters, &costs)?;
            let dry = circuit.dry_run(parameters, &costs, &plan)?;
            Ok(Requirements { keys: dry.keys()?, bootstraps: dry.bootstraps(), plan })
        })
    }

    /// Runs the circuit on levels alone.
    ///
    /// # Errors
    /// As [`Circuit::run`].
    pub fn dry_run<'c>(&self, parameters: &'c Parameters, costs: &'c Costs, plan: &Plan) -> Result<DryRun<'c>> {
        let dry = DryRun::new(parameters, costs);
        self.outlined(|circuit| {
            let input = dry.input(circuit.layout.parts, plan.input_level());
            circuit.run(&dry, plan, &input, &mut Blind)
        })?;
        Ok(dry)
    }

    /// Calls `work` with the circuit of the same model without its weights.
    fn outlined<T>(&self, work: impl FnOnce(&Circuit<'_>) -> Result<T>) -> Result<T> {
        let outline = Outline::of(self.model, self.encoder);
        let (model, encoder) = outline.parts();
        let (layout, steps, turn) = (self.layout.clone(), self.steps.clone(), self.turn.clone());
        work(&Circuit { model, encoder, layout, steps, prompt: self.prompt, turn, step: self.step.clone() })
    }

    /// The slots that the client encrypts, one vector per part: embedded, centred, scaled, extended cyclically
    /// (`r[model.pad]`, `r[encoder.pad]`) and packed.
    ///
    /// # Errors
    /// [`LlmError::Prompt`] for a number of tokens other than the circuit's, or a token outside the vocabulary.
    pub fn input(&self, tokens: &[u32]) -> Result<Vec<Vec<Complex64>>> {
        if tokens.len() != self.prompt {
            let (expected, got) = (format!("{} tokens", self.prompt), format!("{} tokens", tokens.len()));
            return Err(LlmError::Prompt { expected, got });
        }
        let alpha = stream_scale(self.entry_site(0)?, self.model.config.hidden_size);
        let mut rows = match self.encoder {
            Some(encoder) => encoder.embed(tokens)?,
            None => self.model.embed(tokens)?,
        };
        for row in &mut rows {
            let mean = row.iter().sum::<f64>() / row.len() as f64;
            row.iter_mut().for_each(|x| *x = alpha * (*x - mean));
        }
        let slot = |part: usize, row: usize, tau: usize| match self.layout.real_channels(part, row) {
            Some((a, b)) => Complex64::new(rows[tau % tokens.len()][a], rows[tau % tokens.len()][b]),
            None => Complex64::ZERO,
        };
        Ok((0..self.layout.parts).map(|part| self.layout.fill(|row, tau| slot(part, row, tau))).collect())
    }

    /// The prompt repeated up to the packed length.
    #[must_use]
    pub fn padded(&self, tokens: &[u32]) -> Vec<u32> {
        tokens.iter().copied().cycle().take(self.layout.tokens).collect()
    }

    /// Runs the circuit on the encrypted input, one ciphertext per part, at the level of the plan; returns the ciphertexts
    /// of the logits, see [`Circuit::logits`].
    ///
    /// # Errors
    /// [`LlmError::Levels`] without enough levels; whatever backend and observer report.
    pub fn run<B: Backend, O: Observer<B::Ct>>(
        &self,
        backend: &B,
        plan: &Plan,
        input: &[B::Ct],
        observer: &mut O,
    ) -> Result<Vec<B::Ct>> {
        Run { circuit: self, backend, observer, memory: Memory::None }.whole(plan, input)
    }

    /// The rotary factor of a row of a part at a token.
    fn turn(&self, part: usize, row: usize, tau: usize) -> Complex64 {
        self.turn[self.layout.first_pair(part) + self.layout.row_parts(row).0][tau]
    }

    /// The first site that reads the stream as it enters `layer`; the final one after the last layer.
    fn entry_site(&self, layer: usize) -> Result<&Site> {
        match (self.encoder, layer < self.model.layers.len()) {
            (Some(_), _) => self.model.site(&Encoder::entry_names(layer).0),
            (None, true) => self.model.site(&format!("layers.{layer}.inverse-sqrt")),
            (None, false) => self.model.site("final.inverse-sqrt"),
        }
    }

    /// How the stream is held before block `layer`.
    fn held(&self, layer: usize, entry: Entry) -> Result<Held> {
        let site = self.entry_site(layer)?;
        // The limits of an encoder are those of normalised streams, which are not bootstrapped.
        let before = layer.checked_sub(1).filter(|_| self.encoder.is_none());
        let limit = before.and_then(|before| self.model.polynomials.stream_limit(before));
        Ok(Held::new(site, self.model.config.hidden_size, entry.bootstrap, limit))
    }
}

impl Planned for Circuit<'_> {
    fn model(&self) -> &Model {
        self.model
    }

    fn pattern(&self, layer: usize) -> Pattern {
        let prefix = format!("layers.{layer}.");
        let entry = self.entry_site(layer).ok().into_iter();
        let sites = self.model.polynomials.sites.iter().filter(|site| site.site.starts_with(&prefix));
        let cache = self.step.as_ref().and_then(|step| step.levels.get(layer).copied());
        Pattern { cache, ..Pattern::of(entry.chain(sites)) }
    }

    fn dry_enter(&self, dry: &DryRun<'_>, exit: usize, entry: Entry) -> Result<()> {
        let run = Run { circuit: self, backend: dry, observer: &mut Blind, memory: Memory::None };
        run.enter(dry.input(self.layout.parts, exit), entry).map(|_| ())
    }

    fn dry_block(&self, dry: &DryRun<'_>, layer: usize, plan: BlockPlan) -> Result<usize> {
        let (cache, mut next) = (self.dry_cache(dry), Vec::new());
        let memory = match &cache {
            Some(cache) => Memory::Extend { layers: &cache.layers, next: &mut next },
            None => Memory::None,
        };
        let mut run = Run { circuit: self, backend: dry, observer: &mut Blind, memory };
        let out = run.block(layer, dry.input(self.layout.parts, plan.entry.level), plan, Entry::at(0))?;
        Ok(out.first().map_or(0, DryCiphertext::level))
    }

    fn dry_head(&self, dry: &DryRun<'_>, level: usize) -> Result<()> {
        let mut run = Run { circuit: self, backend: dry, observer: &mut Blind, memory: Memory::None };
        run.head(dry.input(self.layout.parts, level), Entry::at(level)).map(|_| ())
    }
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

/// The factor under which a stream is held for the LayerNorm that reads it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Held {
    /// `alpha`, or `alpha / sqrt(2)` if `halved`.
    pub(crate) scale: f64,
    /// Whether sums of squares are half of what the polynomial's variable needs.
    pub(crate) halved: bool,
}

impl Held {
    /// `limit` bounds the entries of the stream, if the artifact says so (`r[artifact.streams]`).
    ///
    /// A stream that is bootstrapped must lie in `[-1, 1]`. Without a limit, or with one that `alpha` exceeds, it is halved: no entry
    /// exceeds the length of its vector, and `alpha^2 d var` is at most `b / half <= 2` for a variance in the interval `[a, b]`.
    pub(crate) fn new(site: &Site, width: usize, bootstrapped: bool, limit: Option<f64>) -> Self {
        let alpha = stream_scale(site, width);
        let halved = bootstrapped && limit.is_none_or(|limit| alpha * limit > 1.0);
        Self { scale: if halved { alpha * std::f64::consts::FRAC_1_SQRT_2 } else { alpha }, halved }
    }
}

/// Coefficients of a site times `factor`.
pub(crate) fn coefficients(site: &Site, factor: f64) -> Vec<f64> {
    site.coefficients.iter().map(|c| c.0 * factor).collect()
}

/// One pass through the circuit.
struct Run<'a, 'c, B: Backend, O> {
    circuit: &'c Circuit<'a>,
    backend: &'c B,
    observer: &'c mut O,
    memory: Memory<'c, B::Ct>,
}

impl<B: Backend, O: Observer<B::Ct>> Run<'_, '_, B, O> {
    /// All of the circuit.
    fn whole(&mut self, plan: &Plan, input: &[B::Ct]) -> Result<Vec<B::Ct>> {
        let circuit = self.circuit;
        let mut x = input.to_vec();
        let held = circuit.held(0, plan.entry(0))?;
        self.tap_all("embedding", &mut x, || places::channels(&circuit.layout, circuit.prompt, 1.0 / held.scale))?;
        self.from(plan, 0, x)
    }

    /// The circuit from block `layer` on.
    fn from(&mut self, plan: &Plan, layer: usize, mut x: Vec<B::Ct>) -> Result<Vec<B::Ct>> {
        for (layer, block) in plan.blocks.iter().enumerate().skip(layer) {
            self.backend.layer(Some(layer));
            x = self.block(layer, x, *block, plan.entry(layer + 1))?;
            self.observer.boundary(layer + 1, &x, self.memory.kept())?;
        }
        self.backend.layer(None);
        self.head(x, plan.head)
    }

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

    fn tap_all(&mut self, name: &str, ciphertexts: &mut [B::Ct], decode: impl FnOnce() -> Decode) -> Result<()> {
        self.tap(name, &mut ciphertexts.iter_mut().collect::<Vec<_>>(), decode)
    }

    fn lowered(&self, cts: &[B::Ct], level: usize) -> Result<Vec<B::Ct>> {
        cts.iter().map(|ct| self.backend.to_level(ct, level)).collect()
    }

    fn level(&self, cts: &[B::Ct]) -> usize {
        cts.iter().map(|ct| self.backend.level(ct)).min().unwrap_or(0)
    }

    /// Bootstraps where the plan says so, and brings the stream down to the plan's level.
    fn enter(&self, x: Vec<B::Ct>, entry: Entry) -> Result<Vec<B::Ct>> {
        let x = if entry.bootstrap { self.bootstrapped(&x)? } else { x };
        self.lowered(&x, entry.level)
    }

    fn bootstrapped(&self, x: &[B::Ct]) -> Result<Vec<B::Ct>> {
        self.backend.stage("bootstrapping");
        let refresh = Refresh { packing: Packing::Complex, summands: self.circuit.model.config.hidden_size };
        x.iter().map(|part| self.backend.bootstrap(part, refresh)).collect()
    }
}
