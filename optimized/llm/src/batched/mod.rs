//! The batched twin of the packed circuit: one ciphertext per channel, `[token][prompt]` in its slots (`r[packing.batched]`).
//!
//! It computes the same model over the same [`Backend`] in the plainest packing there is, so that it can be checked by reading:
//! linear maps are weighted sums of ciphertexts with public weights, LayerNorm and row sums over channels are sums of
//! ciphertexts, and only attention rotates, by whole tokens. Every slot is real. As every ciphertext carries all prompts, it is also
//! the packing for many prompts at once.
//!
//! Choices are those of [`crate::circuit`]: centred streams scaled for the next polynomial, LayerNorm's factor applied after the
//! linear maps, the reciprocal after the weighted sum of values. Bootstrapping takes two channels at once, as real and imaginary
//! parts. Not here: encoders, checkpoints, heads at one position only.

mod attention;
mod block;
mod head;
mod layout;
mod linear;
mod mlp;
mod normal;
mod places;
mod refresh;
mod session;

pub use layout::BatchLayout;
pub use session::{bounds, fresh, predict, predict_tap};

use crate::artifact::Model;
use crate::backend::Backend;
use crate::backend::dry::{DryCiphertext, DryRun};
use crate::circuit::{Held, Requirements, interval, logit_scale};
use crate::error::{LlmError, Result};
use crate::plan::costs::{Costs, Units};
use crate::plan::outline::Outline;
use crate::plan::{BlockPlan, Entry, Pattern, Plan, Planned};
use crate::tap::{Blind, Decode, Observer};
use num_complex::Complex64;
use places::Reported;
use touchstone_ckks::Parameters;
use touchstone_spec::artifact::{Refinement, Site};

/// A model laid out with one ciphertext per channel, for certain prompts.
#[derive(Debug)]
pub struct BatchedCircuit<'a> {
    model: &'a Model,
    layout: BatchLayout,
    /// Tokens of each prompt.
    lengths: Vec<usize>,
}

impl<'a> BatchedCircuit<'a> {
    /// Lays `model` out in ciphertexts of `slots` slots with rows of `tokens` tokens, a power of two or padded to one, for
    /// prompts of these lengths.
    ///
    /// Lengths select what taps and [`BatchedCircuit::logits`] report and what [`BatchedCircuit::input`] expects; the computation
    /// does not depend on them.
    ///
    /// # Errors
    /// [`LlmError::Packing`] if rows are longer than the context or a ciphertext; [`LlmError::Prompt`] for no prompts or more
    /// than there are places, and for a prompt that is empty or longer than a row or the context; [`LlmError::File`] for a
    /// refinement that the circuit does not have.
    pub fn new(model: &'a Model, slots: usize, tokens: usize, lengths: &[usize]) -> Result<Self> {
        let context = model.config.max_position_embeddings;
        if tokens > context.next_power_of_two() {
            let (expected, got) = (format!("at most the context, {context}"), tokens.to_string());
            return Err(LlmError::Packing { operation: "tokens of a row".to_owned(), expected, got });
        }
        let layout = BatchLayout::new(slots, tokens)?;
        let refuse = |expected: String, got: String| Err(LlmError::Prompt { expected, got });
        if !(1..=layout.batch).contains(&lengths.len()) {
            return refuse(format!("1 to {} prompts", layout.batch), format!("{} prompts", lengths.len()));
        }
        let longest = layout.tokens.min(context);
        if let Some(length) = lengths.iter().find(|length| !(1..=longest).contains(*length)) {
            return refuse(format!("1 to {longest} tokens"), format!("{length} tokens"));
        }
        if let Some(site) = model.polynomials.sites.iter().find(|site| site.refinement != Refinement::None) {
            return Err(LlmError::File {
                file: "polynomials.json".to_owned(),
                operation: site.site.clone(),
                expected: "a polynomial without refinement steps".to_owned(),
                got: format!("{:?}", site.refinement),
            });
        }
        Ok(Self { model, layout, lengths: lengths.to_vec() })
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &'a Model {
        self.model
    }

    /// The slot layout.
    #[must_use]
    pub fn layout(&self) -> &BatchLayout {
        &self.layout
    }

    /// Tokens of each prompt.
    #[must_use]
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// Ciphertexts of the encrypted input: one per channel.
    #[must_use]
    pub fn ciphertexts(&self) -> usize {
        self.model.config.hidden_size
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
    /// As [`BatchedCircuit::run`].
    pub fn dry_run<'c>(&self, parameters: &'c Parameters, costs: &'c Costs, plan: &Plan) -> Result<DryRun<'c>> {
        let dry = DryRun::new(parameters, costs);
        self.outlined(|circuit| {
            circuit.run(&dry, plan, &dry.input(circuit.ciphertexts(), plan.input_level()), &mut Blind)
        })?;
        Ok(dry)
    }

    /// Calls `work` with the circuit of the same model without its weights.
    fn outlined<T>(&self, work: impl FnOnce(&BatchedCircuit<'_>) -> Result<T>) -> Result<T> {
        let outline = Outline::of(self.model, None);
        work(&BatchedCircuit { model: outline.parts().0, layout: self.layout.clone(), lengths: self.lengths.clone() })
    }

    /// The prompt at a place of the batch: prompts fill it cyclically (`r[packing.batched.full]`).
    fn prompt_at(&self, place: usize) -> usize {
        place % self.lengths.len()
    }

    /// A prompt repeated up to the row's length (`r[model.pad]`).
    #[must_use]
    pub fn padded(&self, tokens: &[u32]) -> Vec<u32> {
        tokens.iter().copied().cycle().take(self.layout.tokens).collect()
    }

    /// The slots that the client encrypts, one vector per channel: embedded, centred, scaled, every prompt extended cyclically
    /// (`r[model.pad]`), and the batch filled with copies of them (`r[packing.batched.full]`).
    ///
    /// # Errors
    /// [`LlmError::Prompt`] for prompts other than the circuit's, or a token outside the vocabulary.
    pub fn input(&self, prompts: &[Vec<u32>]) -> Result<Vec<Vec<Complex64>>> {
        let lengths: Vec<usize> = prompts.iter().map(Vec::len).collect();
        if lengths != self.lengths {
            let (expected, got) = (format!("prompts of {:?} tokens", self.lengths), format!("{lengths:?} tokens"));
            return Err(LlmError::Prompt { expected, got });
        }
        let scale = self.held(0, Entry::at(0))?.scale;
        let mut batch = Vec::with_capacity(prompts.len());
        for prompt in prompts {
            let mut rows = self.model.embed(prompt)?;
            for row in &mut rows {
                let mean = row.iter().sum::<f64>() / row.len() as f64;
                row.iter_mut().for_each(|x| *x = scale * (*x - mean));
            }
            batch.push(rows);
        }
        let layout = &self.layout;
        let value = |channel: usize, slot: usize| {
            let rows = &batch[self.prompt_at(slot % layout.batch)];
            Complex64::from(rows[slot / layout.batch % rows.len()][channel])
        };
        let channel = |channel| (0..layout.slots).map(|slot| value(channel, slot)).collect();
        Ok((0..self.ciphertexts()).map(channel).collect())
    }

    /// How to read the logits of a prompt at its last position; none for a prompt that the batch does not have.
    #[must_use]
    pub fn logits(&self, prompt: usize) -> Option<Decode> {
        (prompt < self.lengths.len()).then(|| self.last_logits(self.reported(prompt)))
    }

    fn last_logits(&self, prompt: Reported<'_>) -> Decode {
        prompt.last(self.model.head.rows, 1.0 / logit_scale(self.model))
    }

    /// A prompt of the batch; prompt `i` is at place `i`.
    fn reported(&self, prompt: usize) -> Reported<'_> {
        Reported { layout: &self.layout, place: prompt, tokens: self.lengths[prompt] }
    }

    /// Runs the circuit on the encrypted input, one ciphertext per channel, at the level of the plan; returns one ciphertext per
    /// logit, see [`BatchedCircuit::logits`].
    ///
    /// The observer sees every tap of `r[model.taps]` once per prompt, after [`Observer::prompt`].
    ///
    /// # Errors
    /// [`LlmError::Levels`] without enough levels; [`LlmError::Operand`] for another number of ciphertexts; whatever backend and
    /// observer report.
    pub fn run<B: Backend, O: Observer<B::Ct>>(
        &self,
        backend: &B,
        plan: &Plan,
        input: &[B::Ct],
        observer: &mut O,
    ) -> Result<Vec<B::Ct>> {
        if input.len() != self.ciphertexts() {
            let expected = format!("{} ciphertexts", self.ciphertexts());
            let (operation, got) = ("input ciphertexts".to_owned(), input.len().to_string());
            return Err(LlmError::Operand { operation, expected, got });
        }
        let mut run = Run { circuit: self, backend, observer };
        let (mut x, held) = (input.to_vec(), self.held(0, plan.entry(0))?);
        run.tap("embedding", &mut x, |prompt| prompt.channels(self.ciphertexts(), 1.0 / held.scale, 0.0))?;
        for (layer, block) in plan.blocks.iter().enumerate() {
            backend.layer(Some(layer));
            x = run.block(layer, x, *block, plan.entry(layer + 1))?;
            run.observer.boundary(layer + 1, &x, &[])?;
        }
        backend.layer(None);
        run.head(x, plan.head)
    }

    /// How the stream is held in front of block `layer`, or of the head after the last block.
    fn held(&self, layer: usize, entry: Entry) -> Result<Held> {
        let site = match layer < self.model.layers.len() {
            true => self.model.site(&format!("layers.{layer}.inverse-sqrt"))?,
            false => self.model.site("final.inverse-sqrt")?,
        };
        let limit = layer.checked_sub(1).and_then(|before| self.model.polynomials.stream_limit(before));
        Ok(Held::new(site, self.model.config.hidden_size, entry.bootstrap, limit))
    }

    /// Middle and half width of a site's interval, and the site.
    fn site(&self, name: &str) -> Result<(&'a Site, f64, f64)> {
        let site = self.model.site(name)?;
        let (middle, half) = interval(site);
        Ok((site, middle, half))
    }
}

impl Planned for BatchedCircuit<'_> {
    fn model(&self) -> &Model {
        self.model
    }

    fn pattern(&self, layer: usize) -> Pattern {
        let prefix = format!("layers.{layer}.");
        Pattern::of(self.model.polynomials.sites.iter().filter(|site| site.site.starts_with(&prefix)))
    }

    fn dry_enter(&self, dry: &DryRun<'_>, exit: usize, entry: Entry) -> Result<()> {
        let run = Run { circuit: self, backend: dry, observer: &mut Blind };
        run.enter(&dry.input(self.ciphertexts(), exit), entry).map(|_| ())
    }

    fn dry_block(&self, dry: &DryRun<'_>, layer: usize, plan: BlockPlan) -> Result<usize> {
        let mut run = Run { circuit: self, backend: dry, observer: &mut Blind };
        let out = run.block(layer, dry.input(self.ciphertexts(), plan.entry.level), plan, Entry::at(0))?;
        Ok(out.first().map_or(0, DryCiphertext::level))
    }

    fn dry_head(&self, dry: &DryRun<'_>, level: usize) -> Result<()> {
        let mut run = Run { circuit: self, backend: dry, observer: &mut Blind };
        run.head(dry.input(self.ciphertexts(), level), Entry::at(level)).map(|_| ())
    }
}

/// One pass through the circuit.
struct Run<'a, 'c, B: Backend, O> {
    circuit: &'c BatchedCircuit<'a>,
    backend: &'c B,
    observer: &'c mut O,
}

/// A tap whose ciphertexts come one after the other: copies for an observer that wants them.
struct Pieces<C> {
    name: String,
    kept: Option<Vec<C>>,
}

impl<B: Backend, O: Observer<B::Ct>> Run<'_, '_, B, O> {
    fn pieces(&self, name: String) -> Pieces<B::Ct> {
        let kept = self.observer.wants(&name).then(Vec::new);
        Pieces { name, kept }
    }

    /// The next ciphertext of a tap.
    fn piece(&self, pieces: &mut Pieces<B::Ct>, ct: &mut B::Ct) {
        if let Some(kept) = &mut pieces.kept {
            kept.push(ct.clone());
        }
        self.backend.cut(ct);
    }

    /// Hands a tap to the observer, prompt by prompt.
    fn report(&mut self, pieces: Pieces<B::Ct>, decode: impl Fn(Reported<'_>) -> Decode) -> Result<()> {
        let Some(kept) = pieces.kept else { return Ok(()) };
        let shared: Vec<&B::Ct> = kept.iter().collect();
        for prompt in 0..self.circuit.lengths.len() {
            self.observer.prompt(prompt);
            self.observer.tap(&pieces.name, &shared, &decode(self.circuit.reported(prompt)))?;
        }
        Ok(())
    }

    /// A tap whose ciphertexts are all there.
    fn tap(&mut self, name: &str, cts: &mut [B::Ct], decode: impl Fn(Reported<'_>) -> Decode) -> Result<()> {
        let mut pieces = self.pieces(name.to_owned());
        cts.iter_mut().for_each(|ct| self.piece(&mut pieces, ct));
        self.report(pieces, decode)
    }

    fn level(&self, cts: &[B::Ct]) -> usize {
        cts.iter().map(|ct| self.backend.level(ct)).min().unwrap_or(0)
    }
}
