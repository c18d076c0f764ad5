//! The cache of keys and values (`r[generate.cache]`): what prefill keeps, and what a decoding step reads and extends.
//!
//! Keys and values of token `tau` are at position `tau`, all replicas equal, zero at positions that are not live yet. A new token's are
//! computed at its position alone, so extending the cache is an addition.
//!
//! Each is kept at the level at which a decoding step meets it: keys where queries are, values where powers are.

use super::normal::Normal;
use super::{Circuit, Run};
use crate::artifact::{Linear, Model};
use crate::backend::Backend;
use crate::backend::dry::{DryCiphertext, DryRun};
use crate::error::{LlmError, Result};
use crate::plan::Plan;
use crate::tap::Observer;
use num_complex::Complex64;

/// Levels at which the cache of one layer is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CacheLevels {
    /// Of keys.
    pub key: usize,
    /// Of values.
    pub value: usize,
}

/// Keys and values of one layer, one ciphertext per part each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerCache<C> {
    /// Keys of all tokens so far.
    pub keys: Vec<C>,
    /// Values of all tokens so far.
    pub values: Vec<C>,
}

impl<C> LayerCache<C> {
    /// The keys and then the values of every layer in order.
    pub(crate) fn listed(layers: &[Self]) -> impl Iterator<Item = &C> {
        layers.iter().flat_map(|layer| layer.keys.iter().chain(&layer.values))
    }

    /// Takes a list of [`LayerCache::listed`] apart; none if it is not one of this many layers.
    pub(crate) fn of_list(list: Vec<C>, layers: usize) -> Option<Vec<Self>> {
        let lists = layers.max(1).checked_mul(2)?;
        let parts = list.len() / lists;
        if list.len() != lists * parts || (parts == 0) != (layers == 0) {
            return None;
        }
        let mut list = list.into_iter();
        let mut next = || list.by_ref().take(parts).collect();
        Some((0..layers).map(|_| LayerCache { keys: next(), values: next() }).collect())
    }
}

/// Keys and values of all layers for the live tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache<C> {
    pub(crate) layers: Vec<LayerCache<C>>,
    pub(crate) length: usize,
}

/// Ciphertexts of logits, and the cache that the next step reads.
pub type WithCache<C> = (Vec<C>, Cache<C>);
/// Ciphertexts of logits, and what a pass kept of every layer: nothing if it keeps nothing.
pub type WithLayers<C> = (Vec<C>, Vec<LayerCache<C>>);

/// What a pass does about keys and values.
#[derive(Clone, Copy, Debug)]
pub enum Keeping<'p, C> {
    /// Nothing.
    Nothing,
    /// Keeps those of the prompt, at the given levels by layer or, without, as high as they come. Only here the server must know
    /// the length of the prompt (`r[generate.length]`).
    Prompt(Option<&'p [CacheLevels]>),
    /// Reads those of earlier tokens and extends them by the new one's.
    Step(&'p Cache<C>),
}

/// Where a pass stands between two blocks: enough to go on from there (`r[generate.resume]`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State<C> {
    /// The block that comes next.
    pub next: usize,
    /// What it starts from, one ciphertext per part, at the level that the block before leaves and its canonical scale.
    pub stream: Vec<C>,
    /// Keys and values of the blocks before, of a pass that keeps them, at the levels of [`CacheLevels`].
    pub kept: Vec<LayerCache<C>>,
}

/// Where a pass begins.
#[derive(Clone, Debug)]
pub enum Start<'s, C> {
    /// At the encrypted input.
    Input(&'s [C]),
    /// Where an earlier run of it stopped.
    Saved(State<C>),
}

impl<C> Cache<C> {
    /// Live tokens: the next one has this position.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// Levels by layer, by the given level of a ciphertext.
    pub(crate) fn levels(&self, level: impl Fn(&C) -> usize) -> Vec<CacheLevels> {
        let lowest = |parts: &[C]| parts.iter().map(&level).min().unwrap_or(0);
        let layer = |layer: &LayerCache<C>| CacheLevels { key: lowest(&layer.keys), value: lowest(&layer.values) };
        self.layers.iter().map(layer).collect()
    }
}

/// A decoding step.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// Position of the token.
    pub(super) position: usize,
    /// Levels of the cache that is read.
    pub(super) levels: Vec<CacheLevels>,
}

/// What a pass does about keys and values.
pub(super) enum Memory<'c, C> {
    /// Nothing.
    None,
    /// Keeps them, at the given levels or else as high as they come.
    Fill { levels: Option<&'c [CacheLevels]>, next: &'c mut Vec<LayerCache<C>> },
    /// Reads those of earlier tokens and writes them with the new one's.
    Extend { layers: &'c [LayerCache<C>], next: &'c mut Vec<LayerCache<C>> },
}

impl<C> Memory<'_, C> {
    /// What has been kept so far.
    pub(super) fn kept(&self) -> &[LayerCache<C>] {
        match self {
            Self::None => &[],
            Self::Fill { next, .. } | Self::Extend { next, .. } => next,
        }
    }
}

impl<'a> Circuit<'a> {
    /// The circuit of a decoding step for the token at `position`, on a cache at the given levels: the token at all positions of
    /// the packing, taps of one token.
    ///
    /// # Errors
    /// As [`Circuit::new`]; [`LlmError::Prompt`] for a position that the context does not have.
    pub fn decoding(model: &'a Model, slots: usize, position: usize, levels: Vec<CacheLevels>) -> Result<Self> {
        let context = model.config.max_position_embeddings;
        if position >= context {
            let expected = format!("room in the cache, which holds {context} tokens");
            return Err(LlmError::Prompt { expected, got: format!("a token at position {position}") });
        }
        Ok(Self { step: Some(Step { position, levels }), ..Self::new(model, slots, 1)? })
    }

    /// Runs the circuit as [`Circuit::run`] does and keeps the keys and values of the prompt, at the given levels by layer or, without,
    /// as high as they come. Only here the server must know the length of the prompt (`r[generate.length]`).
    ///
    /// # Errors
    /// As [`Circuit::run`].
    pub fn prefill<B: Backend, O: Observer<B::Ct>>(
        &self,
        backend: &B,
        (plan, levels): (&Plan, Option<&[CacheLevels]>),
        input: &[B::Ct],
        observer: &mut O,
    ) -> Result<WithCache<B::Ct>> {
        let (logits, kept) = self.pass(backend, plan, Keeping::Prompt(levels), Start::Input(input), observer)?;
        Ok((logits, self.cache(kept)))
    }

    /// Runs a decoding step: the ciphertexts of the logits, and the cache with the new token.
    ///
    /// # Errors
    /// [`LlmError::Operand`] for a circuit that is no decoding step or a cache of another length, number of layers or ciphertexts, or
    /// level; else as [`Circuit::run`].
    pub fn decode<B: Backend, O: Observer<B::Ct>>(
        &self,
        backend: &B,
        plan: &Plan,
        cache: &Cache<B::Ct>,
        input: &[B::Ct],
        observer: &mut O,
    ) -> Result<WithCache<B::Ct>> {
        let (logits, kept) = self.pass(backend, plan, Keeping::Step(cache), Start::Input(input), observer)?;
        Ok((logits, self.cache(kept)))
    }

    /// Any pass, from its beginning or from where it stopped (`r[generate.resume]`): the ciphertexts of the logits, as [`Circuit::run`] gives
    /// them, and what is kept of every layer. An input has one ciphertext per part at [`Plan::input_level`]. Errors of values are those of
    /// a pass that did not stop, bit for bit.
    ///
    /// # Errors
    /// As [`Circuit::run`], [`Circuit::prefill`] and [`Circuit::decode`]; [`LlmError::Operand`] for a state of another circuit.
    pub fn pass<B: Backend, O: Observer<B::Ct>>(
        &self,
        backend: &B,
        plan: &Plan,
        keeping: Keeping<'_, B::Ct>,
        mut start: Start<'_, B::Ct>,
        observer: &mut O,
    ) -> Result<WithLayers<B::Ct>> {
        let mut kept = match &mut start {
            Start::Input(_) => Vec::new(),
            Start::Saved(state) => {
                self.check_state(state, !matches!(keeping, Keeping::Nothing))?;
                std::mem::take(&mut state.kept)
            }
        };
        let memory = match keeping {
            Keeping::Nothing => Memory::None,
            Keeping::Prompt(levels) => Memory::Fill { levels, next: &mut kept },
            Keeping::Step(cache) => {
                self.check_cache(cache, |ct| backend.level(ct))?;
                Memory::Extend { layers: &cache.layers, next: &mut kept }
            }
        };
        let mut run = Run { circuit: self, backend, observer, memory };
        let logits = match start {
            Start::Input(input) => run.whole(plan, input)?,
            Start::Saved(state) => run.from(plan, state.next, state.stream)?,
        };
        Ok((logits, kept))
    }

    /// The cache after a pass of this circuit, from what it kept.
    pub(crate) fn cache<C>(&self, layers: Vec<LayerCache<C>>) -> Cache<C> {
        Cache { layers, length: self.step.as_ref().map_or(self.prompt, |step| step.position + 1) }
    }

    /// Refuses to go on from where another circuit stopped.
    fn check_state<C>(&self, state: &State<C>, keeps: bool) -> Result<()> {
        let (blocks, parts) = (self.model.layers.len(), self.layout.parts);
        let (next, stream, kept) = (state.next, state.stream.len(), state.kept.len());
        let refuse = |expected: String, got: usize| {
            let operation = "state between two blocks".to_owned();
            Err(LlmError::Operand { operation, expected, got: got.to_string() })
        };
        if next > blocks {
            return refuse(format!("a next block up to {blocks}"), next);
        }
        if stream != parts {
            return refuse(format!("{parts} ciphertexts"), stream);
        }
        let wanted = if keeps { next } else { 0 };
        if kept != wanted {
            return refuse(format!("keys and values of {wanted} blocks"), kept);
        }
        Ok(())
    }

    /// Refuses a cache that this step cannot read.
    fn check_cache<C>(&self, cache: &Cache<C>, level: impl Fn(&C) -> usize) -> Result<()> {
        let refuse = |expected: String, got: String| {
            Err(LlmError::Operand { operation: "key-value cache".to_owned(), expected, got })
        };
        let Some(step) = &self.step else {
            return refuse("the circuit of a decoding step".to_owned(), "that of a prompt".to_owned());
        };
        if cache.length != step.position {
            return refuse(format!("{} live tokens", step.position), cache.length.to_string());
        }
        let (layers, parts) = (self.model.layers.len(), self.layout.parts);
        if cache.layers.len() != layers {
            return refuse(format!("{layers} layers"), cache.layers.len().to_string());
        }
        let all = cache.layers.iter().flat_map(|layer| [&layer.keys, &layer.values]);
        if let Some(found) = all.map(Vec::len).find(|&found| found != parts) {
            return refuse(format!("{parts} ciphertexts"), found.to_string());
        }
        let found = cache.levels(level);
        if found != step.levels {
            return refuse(format!("levels {:?}", step.levels), format!("{found:?}"));
        }
        Ok(())
    }

    /// For dry runs of single blocks: the cache as levels.
    pub(super) fn dry_cache(&self, dry: &DryRun<'_>) -> Option<Cache<DryCiphertext>> {
        let (step, parts) = (self.step.as_ref()?, self.layout.parts);
        let layer =
            |at: &CacheLevels| LayerCache { keys: dry.input(parts, at.key), values: dry.input(parts, at.value) };
        Some(Cache { layers: step.levels.iter().map(layer).collect(), length: step.position })
    }

    /// `sqrt(d_k)` times the scale of the model's scores (`r[psm.scores]`).
    pub(super) fn score_scale(&self, layer: usize) -> f64 {
        (self.model.config.head_size() as f64).sqrt() * self.model.config.score_scale(layer)
    }
}

impl<B: Backend, O: Observer<B::Ct>> Run<'_, '_, B, O> {
    /// Keeps keys and values of a prompt if that is wanted, from the results of their maps in replica 0.
    pub(super) fn keep(
        &mut self,
        layer: usize,
        [keys, values]: [(&[B::Ct], &Linear); 2],
        normal: &Normal<B::Ct>,
    ) -> Result<()> {
        let Memory::Fill { levels, .. } = &self.memory else { return Ok(()) };
        let highest = self.backend.level(&normal.factor).saturating_sub(1);
        let at = levels.and_then(|levels| levels.get(layer)).copied();
        let at = at.unwrap_or(CacheLevels { key: highest, value: highest });
        self.backend.stage("key-value cache");
        let keys = self.live(keys, normal, true, at.key)?;
        let values = self.live(values, normal, false, at.value)?;
        if let Memory::Fill { next, .. } = &mut self.memory {
            next.push(LayerCache { keys, values });
        }
        Ok(())
    }

    /// Keys or values of live tokens in all replicas, at `level`.
    fn live(
        &self,
        (map, layer): (&[B::Ct], &Linear),
        normal: &Normal<B::Ct>,
        turned: bool,
        level: usize,
    ) -> Result<Vec<B::Ct>> {
        let (layout, prompt) = (&self.circuit.layout, self.circuit.prompt);
        let lowered = self.lowered(map, level + 2)?;
        let part = |(part, map): (usize, &B::Ct)| {
            let slot = |row: usize, tau: usize| match layout.row_parts(row).1 == 0 && tau < prompt {
                true if turned => self.circuit.turn(part, row, tau),
                true => Complex64::ONE,
                false => Complex64::ZERO,
            };
            let kept = self.finish((part, map), &layer.bias, &normal.factor, true, slot)?;
            self.backend.fold(&kept, &layout.spread_replicas())
        };
        lowered.iter().enumerate().map(part).collect()
    }
}
