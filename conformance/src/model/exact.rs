//! The reference's rungs of one prompt.

use super::side;
use crate::ConformError;
use std::collections::BTreeMap;
use std::path::Path;
use tokenizers::Tokenizer;
use touchstone_reference::bounds::layer::{Combination, Composed, Run, compose, compose_entrywise};
use touchstone_reference::error::ReferenceError;
use touchstone_reference::interval::Interval;
use touchstone_reference::model::{self, cyclic, forward};
use touchstone_reference::rungs::{Exact, Replaced, Rung, Widened};
use touchstone_spec::artifact::Polynomials;

/// Bits of the interval arithmetic: radii stay far below every bound.
const PRECISION: u32 = 128;

/// Model, replacements and tokenizer as the reference reads them.
pub struct Reference {
    model: model::Model,
    polynomials: Polynomials,
    replaced: Replaced,
    tokenizer: Tokenizer,
}

/// Errors composed by the reference from declared fresh ones.
pub struct Compositions {
    /// Bounds that the run is held against (`r[noise.layer]`).
    pub layer: Composed,
    /// Bounds if all errors had one sign, entry by entry (`r[noise.worst-case]`).
    pub worst_case: Composed,
    /// Deviations if all errors were independent, entry by entry (`r[noise.rss]`).
    pub root_sum_square: Composed,
}

/// A value that the reference certifies.
#[derive(Clone, Copy, Debug)]
pub struct Certified {
    /// Midpoint.
    pub mid: f64,
    /// Radius, the rounding of the midpoint to binary64 included.
    pub rad: f64,
}

/// Values of one rung by tap.
pub type Taps = BTreeMap<String, Vec<Certified>>;

/// R0, R1 and the enclosure of both.
pub struct Ladder {
    /// The exact model.
    pub r0: Taps,
    /// The polynomial model.
    pub r1: Taps,
    /// R0 widened by the certified errors: encloses R0 and R1 (`r[rung.r0-widened]`).
    pub widened: Taps,
    /// Names of the taps in the order of the graph.
    pub names: Vec<String>,
}

/// What the reference says about a prompt, if all of its inputs are inside their intervals.
pub enum Guarded<T> {
    /// They are.
    Inside(T),
    /// An input outside its interval, in words.
    Escaped(String),
}

/// The rungs of a prompt.
pub type Rungs = Guarded<Ladder>;

impl Reference {
    /// Reads a model directory.
    ///
    /// # Errors
    /// [`ConformError::Side`] with the reference's message.
    pub fn load(directory: &Path) -> Result<Self, ConformError> {
        let read = || {
            let model = model::load(directory)?;
            let polynomials = model::load_polynomials(directory, &model.config)?;
            let replaced = Replaced::new(&model.config, &polynomials)?;
            let tokenizer = model::load_tokenizer(directory)?;
            Ok::<_, ReferenceError>(Self { model, polynomials, replaced, tokenizer })
        };
        read().map_err(|e| side("reference", "model", e))
    }

    /// Tokens of a prompt, at most the context.
    ///
    /// # Errors
    /// [`ConformError::Side`] for a text that the tokenizer refuses, an empty one or one beyond the context.
    pub fn tokens(&self, text: &str) -> Result<Vec<u32>, ConformError> {
        let tokens = model::encode(&self.tokenizer, text).map_err(|e| side("reference", "prompt", e))?;
        let limit = self.context();
        if tokens.is_empty() || tokens.len() > limit {
            let message = format!("expected 1..={limit} tokens, got {}", tokens.len());
            return Err(side("reference", "prompt", message));
        }
        Ok(tokens)
    }

    /// Longest prompt in tokens.
    pub fn context(&self) -> usize {
        self.model.config.max_position_embeddings
    }

    /// All rungs for `tokens`; positions after the last token are guarded too, as the encrypted run computes them.
    ///
    /// # Errors
    /// [`ConformError::Side`] for anything but an escape.
    pub fn rungs(&self, tokens: &[u32]) -> Result<Rungs, ConformError> {
        let padded = cyclic(tokens, self.context());
        let guard = forward::<f64>(&self.model, &padded, tokens.len() - 1, &self.replaced, (), &mut ());
        let run = || {
            guard?;
            let (r0, names) = self.taps(tokens, &Exact)?;
            let (r1, _) = self.taps(tokens, &self.replaced)?;
            let (widened, _) = self.taps(tokens, &Widened(self.replaced.clone()))?;
            Ok(Ladder { r0, r1, widened, names })
        };
        escape_or(run())
    }

    /// R1's logits in binary64, whose rounding is far below any error under encryption; positions after the last token are guarded too.
    ///
    /// # Errors
    /// [`ConformError::Side`] for anything but an escape.
    pub fn guarded_logits(&self, tokens: &[u32]) -> Result<Guarded<Vec<f64>>, ConformError> {
        let padded = cyclic(tokens, self.context());
        escape_or(forward::<f64>(&self.model, &padded, tokens.len() - 1, &self.replaced, (), &mut ()))
    }

    /// R0 and R1 alone, for models too deep for the enclosure of both: `widened` stays empty.
    ///
    /// # Errors
    /// As [`Reference::rungs`].
    pub fn pair(&self, tokens: &[u32]) -> Result<Rungs, ConformError> {
        let padded = cyclic(tokens, self.context());
        let run = || {
            forward::<f64>(&self.model, &padded, tokens.len() - 1, &self.replaced, (), &mut ())?;
            let (r0, names) = self.taps(tokens, &Exact)?;
            let (r1, _) = self.taps(tokens, &self.replaced)?;
            Ok(Ladder { r0, r1, widened: Taps::new(), names })
        };
        escape_or(run())
    }

    /// Errors at every tap, composed from the fresh deviations that the implementation declares.
    ///
    /// # Errors
    /// [`ConformError::Side`] if what is declared does not fit the taps.
    pub fn compose(&self, ladder: &Ladder, fresh: &BTreeMap<String, Vec<f64>>) -> Result<Compositions, ConformError> {
        let mids = |values: &Vec<Certified>| values.iter().map(|value| value.mid).collect();
        let values = ladder.r1.iter().map(|(name, values)| (name.clone(), mids(values))).collect();
        let run = Run { model: &self.model, polynomials: &self.polynomials, values: &values, fresh };
        let all = || {
            Ok::<_, ReferenceError>(Compositions {
                layer: compose(&run)?,
                worst_case: compose_entrywise(&run, Combination::WorstCase)?,
                root_sum_square: compose_entrywise(&run, Combination::RootSumSquare)?,
            })
        };
        all().map_err(|e| side("reference", "composed errors", e))
    }

    fn taps(&self, tokens: &[u32], rung: &dyn Rung<Interval>) -> Result<(Taps, Vec<String>), ReferenceError> {
        let (mut taps, mut names) = (Taps::new(), Vec::new());
        let mut observe = |name: &str, _: &[usize], values: &[Interval]| {
            names.push(name.to_owned());
            taps.insert(name.to_owned(), values.iter().map(certified).collect());
        };
        let last = tokens.len() - 1;
        forward(&self.model, tokens, last, rung, PRECISION, &mut observe)?;
        Ok((taps, names))
    }
}

/// An escape is an answer, everything else an error.
fn escape_or<T>(result: Result<T, ReferenceError>) -> Result<Guarded<T>, ConformError> {
    match result {
        Ok(value) => Ok(Guarded::Inside(value)),
        Err(error @ ReferenceError::Escape { .. }) => Ok(Guarded::Escaped(error.to_string())),
        Err(error) => Err(side("reference", "forward pass", error)),
    }
}

fn certified(interval: &Interval) -> Certified {
    let mid = interval.mid().to_f64();
    // The interval lies within [mid - rad, mid + rad] after both are rounded to binary64: one unit of each is added.
    let rounding = mid.abs() * f64::EPSILON + f64::MIN_POSITIVE;
    Certified { mid, rad: interval.rad().to_f64() * (1.0 + f64::EPSILON) + rounding }
}
