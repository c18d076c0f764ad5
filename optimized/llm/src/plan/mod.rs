//! Where to bootstrap: the placement with the least predicted time, found by dynamic programming over the blocks.
//!
//! A block is entered at some level, bootstrapped before or not, and may bootstrap inside; a dry run of it tells the level at
//! which it ends and what it costs. Costs of blocks add, and what follows depends on the level at the end only, so the
//! best placement for the rest of the model is computed once per block and level, from the last block to the first.

mod bootstrap;
pub mod calibrate;
pub mod costs;
pub mod forecast;
pub mod memory;
pub mod outline;
pub mod work;

pub use bootstrap::BootstrapCost;

use crate::backend::Packing;
use crate::backend::dry::DryRun;
use crate::circuit::Circuit;
use crate::error::{LlmError, Result};
use costs::Costs;
use std::collections::BTreeMap;
use touchstone_ckks::Parameters;
use work::Work;

/// How a part of the circuit takes over the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Whether the stream is bootstrapped first.
    pub bootstrap: bool,
    /// The level to which it is then brought down.
    pub level: usize,
}

impl Entry {
    /// Without a bootstrap.
    #[must_use]
    pub fn at(level: usize) -> Self {
        Self { bootstrap: false, level }
    }
}

/// Decisions about one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockPlan {
    /// The stream before the block.
    pub entry: Entry,
    /// Whether denominators are bootstrapped before the reciprocal.
    pub denominator: bool,
    /// Whether the stream is bootstrapped between attention and MLP; sequential blocks only.
    pub middle: bool,
}

/// Decisions about a whole run.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// One entry per block.
    pub blocks: Vec<BlockPlan>,
    /// The stream before the final LayerNorm.
    pub head: Entry,
    /// Predicted processor seconds, by [`costs::Units::default`].
    pub seconds: f64,
}

impl Plan {
    /// The level at which the client encrypts.
    #[must_use]
    pub fn input_level(&self) -> usize {
        self.blocks.first().map_or(self.head.level, |block| block.entry.level)
    }

    /// How the stream is taken over after block `layer - 1`, or by the head after the last block.
    #[must_use]
    pub fn entry(&self, layer: usize) -> Entry {
        self.blocks.get(layer).map_or(self.head, |block| block.entry)
    }

    /// The placement with the least predicted time.
    ///
    /// # Errors
    /// [`LlmError::Levels`] where the parameter set has too few levels for any placement, with the message of the attempt
    /// that had most levels.
    pub fn find(circuit: &Circuit<'_>, parameters: &Parameters, costs: &Costs) -> Result<Self> {
        Search::new(circuit, parameters, costs).run()
    }
}

/// The best continuation from one level.
#[derive(Clone, Debug)]
struct Best {
    seconds: f64,
    /// Decisions from here on, the last block first.
    blocks: Vec<BlockPlan>,
    head: Entry,
}

/// What dry runs of a block depend on, see [`Circuit::pattern`].
type Pattern = Vec<Vec<bool>>;

/// A way through a block: decisions, level at its end, processor seconds.
type Way = (BlockPlan, usize, f64);

struct Search<'a, 'm> {
    circuit: &'a Circuit<'m>,
    parameters: &'a Parameters,
    costs: &'a Costs,
    /// Input and output level of bootstrapping.
    bootstrapping: Option<(usize, usize)>,
    /// Dry runs of blocks, by [`Circuit::pattern`]: blocks that are alike share them.
    known: BTreeMap<Pattern, Vec<Way>>,
}

impl<'a, 'm> Search<'a, 'm> {
    fn new(circuit: &'a Circuit<'m>, parameters: &'a Parameters, costs: &'a Costs) -> Self {
        let bootstrapping = parameters.bootstrap().map(|boot| (boot.slots_to_coeffs.len(), boot.output_level));
        Self { circuit, parameters, costs, bootstrapping, known: BTreeMap::new() }
    }

    /// The highest level at which the stream is ever taken over.
    fn top(&self) -> usize {
        self.bootstrapping.map_or(self.parameters.max_level(), |(_, output)| output)
    }

    fn run(mut self) -> Result<Plan> {
        let mut failure = None;
        let mut after = self.heads(&mut failure);
        for layer in (0..self.circuit.model().layers.len()).rev() {
            after = self.blocks(layer, &after, &mut failure);
        }
        let best = after.into_iter().flatten().min_by(|a, b| a.seconds.total_cmp(&b.seconds));
        match (best, failure) {
            (Some(best), _) => {
                let blocks = best.blocks.into_iter().rev().collect();
                Ok(Plan { blocks, head: best.head, seconds: best.seconds })
            }
            (None, Some(error)) => Err(error),
            (None, None) => Err(LlmError::Levels { operation: "plan".to_owned(), expected: 1, got: 0 }),
        }
    }

    /// By entry level: the final LayerNorm and the head.
    fn heads(&self, failure: &mut Option<LlmError>) -> Vec<Option<Best>> {
        let head = |level: usize| {
            let dry = DryRun::new(self.parameters, self.costs);
            match self.circuit.dry_head(&dry, level) {
                Ok(()) => Some(Best { seconds: dry.seconds(), blocks: Vec::new(), head: Entry::at(level) }),
                Err(error) => {
                    *failure = Some(error);
                    None
                }
            }
        };
        (0..=self.top()).map(head).collect()
    }

    /// By entry level: block `layer` and what follows, given the continuations after it.
    fn blocks(&mut self, layer: usize, after: &[Option<Best>], failure: &mut Option<LlmError>) -> Vec<Option<Best>> {
        let pattern = self.circuit.pattern(layer);
        if !self.known.contains_key(&pattern) {
            let runs = self.dry_runs(layer, failure);
            self.known.insert(pattern.clone(), runs);
        }
        let mut best = vec![None; self.top() + 1];
        for &(plan, exit, seconds) in &self.known[&pattern] {
            let least: &mut Option<Best> = &mut best[plan.entry.level];
            *least = cheaper(least.take(), self.continued(after, exit, plan, seconds));
        }
        best
    }

    /// Every way through block `layer` that has enough levels: its end and its cost.
    fn dry_runs(&self, layer: usize, failure: &mut Option<LlmError>) -> Vec<Way> {
        let mut runs = Vec::new();
        for level in 0..=self.top() {
            for (denominator, middle) in self.options() {
                let plan = BlockPlan { entry: Entry::at(level), denominator, middle };
                let dry = DryRun::new(self.parameters, self.costs);
                match self.circuit.dry_block(&dry, layer, plan) {
                    Ok(exit) => runs.push((plan, exit, dry.seconds())),
                    Err(error) => *failure = Some(error),
                }
            }
        }
        runs
    }

    fn options(&self) -> Vec<(bool, bool)> {
        let sequential = !self.circuit.model().config.use_parallel_residual;
        match (self.bootstrapping, sequential) {
            (None, _) => vec![(false, false)],
            (Some(_), false) => vec![(false, false), (true, false)],
            (Some(_), true) => vec![(false, false), (true, false), (false, true), (true, true)],
        }
    }

    /// The cheapest way on from level `exit`, with or without a bootstrap.
    fn continued(&self, after: &[Option<Best>], exit: usize, plan: BlockPlan, seconds: f64) -> Option<Best> {
        let next = |bootstrap: bool| {
            let reached = after.iter().enumerate().filter_map(|(level, next)| Some((level, next.as_ref()?)));
            reached.filter_map(move |(level, next)| Some((bootstrap, self.entering(exit, bootstrap, level)?, next)))
        };
        let (bootstrap, extra, next) = next(false).chain(next(true)).min_by(|a, b| {
            let total = |x: &(bool, f64, &Best)| x.1 + x.2.seconds;
            total(a).total_cmp(&total(b))
        })?;
        let mut next = next.clone();
        next.seconds += seconds + extra;
        match next.blocks.last_mut() {
            Some(block) => block.entry.bootstrap = bootstrap,
            None => next.head.bootstrap = bootstrap,
        }
        next.blocks.push(plan);
        Some(next)
    }

    /// What it takes to bring the stream from level `exit` to `level`, with a bootstrap or without; none if that cannot be.
    fn entering(&self, exit: usize, bootstrap: bool, level: usize) -> Option<f64> {
        let basis = self.costs.basis();
        let (work, from) = match bootstrap {
            false => (Work::default(), exit),
            true => {
                let (_, output) = self.bootstrapping.filter(|(input, _)| exit >= *input)?;
                (self.costs.bootstrap(Packing::Complex, exit), output)
            }
        };
        let work = (work + basis.lowered(from, level)) * self.circuit.layout().parts as f64;
        (from >= level).then(|| self.costs.seconds(&work))
    }
}

fn cheaper(a: Option<Best>, b: Option<Best>) -> Option<Best> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if b.seconds < a.seconds { b } else { a }),
        (a, b) => a.or(b),
    }
}
