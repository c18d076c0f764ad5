//! Where the entries of each tap of one prompt lie.

use super::layout::BatchLayout;
use crate::tap::{Decode, Part, Place};

/// One prompt of a batch, as far as taps report it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reported<'a> {
    pub(super) layout: &'a BatchLayout,
    /// Place in the batch.
    pub(super) place: usize,
    /// Tokens of the prompt.
    pub(super) tokens: usize,
}

impl Reported<'_> {
    fn at(&self, ciphertext: usize, token: usize, (factor, offset): (f64, f64)) -> Option<Place> {
        let slot = self.layout.slot(token, self.place);
        Some(Place { ciphertext, slot, part: Part::Re, factor, offset })
    }

    /// `[token]` of the one ciphertext: `factor * slot + offset`.
    pub(super) fn by_token(&self, factor: f64, offset: f64) -> Decode {
        let places = (0..self.tokens).map(|token| self.at(0, token, (factor, offset))).collect();
        Decode { shape: vec![self.tokens], places }
    }

    /// `[token][channel]`, one ciphertext per channel.
    pub(super) fn channels(&self, count: usize, factor: f64, offset: f64) -> Decode {
        let row = |token| (0..count).map(move |channel| self.at(channel, token, (factor, offset)));
        Decode { shape: vec![self.tokens, count], places: (0..self.tokens).flat_map(row).collect() }
    }

    /// `[head][token]`, one ciphertext per head.
    pub(super) fn heads(&self, count: usize, factor: f64, offset: f64) -> Decode {
        let row = |head| (0..self.tokens).map(move |token| self.at(head, token, (factor, offset)));
        Decode { shape: vec![count, self.tokens], places: (0..count).flat_map(row).collect() }
    }

    /// `[head][query][key]`, one ciphertext per head and distance; `factor` depends on the query.
    pub(super) fn pairs(&self, heads: usize, factor: impl Fn(usize) -> f64) -> Decode {
        let (all, tokens) = (self.layout.tokens, self.tokens);
        let mut places = Vec::with_capacity(heads * tokens * tokens);
        for head in 0..heads {
            for query in 0..tokens {
                let at = |distance: usize| self.at(head * all + distance, query, (factor(query), 0.0));
                places.extend((0..tokens).map(|key| query.checked_sub(key).and_then(at)));
            }
        }
        Decode { shape: vec![heads, tokens, tokens], places }
    }

    /// `[count]` at the last token, one ciphertext each.
    pub(super) fn last(&self, count: usize, factor: f64) -> Decode {
        let places = (0..count).map(|index| self.at(index, self.tokens - 1, (factor, 0.0))).collect();
        Decode { shape: vec![count], places }
    }
}
