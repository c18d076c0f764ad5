//! Packing: which slot holds which channel of which token.
//!
//! Slot `((l*R + rep)*h + head)*t + tau` holds complex channel `l` of head `head` at token `tau`; its real and imaginary
//! part are two channels of that head, for rotary channels the pair that rotary embedding turns. There are `R` replicas.
//! The replica index stands between `l` and the head, so that a sum over `l` is a sum of rotations that wraps around the
//! whole ciphertext even where replicas differ (attention keeps another causal shift in each of them).
//!
//! A *row* is a run of `t` slots: row `(l*R + rep)*h + head`.

use crate::error::{LlmError, Result};
use touchstone_spec::artifact::ModelConfig;

/// Slot layout of one model at one ring degree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Slots of a ciphertext, `N/2`.
    pub slots: usize,
    /// Tokens per row: the context length, a power of two.
    pub tokens: usize,
    /// Attention heads `h`.
    pub heads: usize,
    /// Complex channels of one head, half its width.
    pub head_pairs: usize,
    /// Replicas `R` of the residual stream.
    pub replicas: usize,
    /// The two channels (within a head) that complex channel `l` holds.
    pub pairs: Vec<(usize, usize)>,
}

impl Layout {
    /// Lays `config` out in `slots` slots.
    ///
    /// # Errors
    /// [`LlmError::Packing`] where head count or head width is not a power of two, or the slots do not hold one token row
    /// per complex channel, or there would be more replicas than tokens.
    pub fn new(config: &ModelConfig, slots: usize) -> Result<Self> {
        let (heads, head_size) = (config.num_attention_heads, config.head_size());
        power_of_two("number of heads", heads)?;
        power_of_two("width of a head", head_size)?;
        power_of_two("slots", slots)?;
        let head_pairs = head_size / 2;
        let tokens = config.max_position_embeddings.next_power_of_two();
        let block = head_pairs * heads * tokens;
        if head_pairs == 0 || slots < block {
            let expected = format!("at least {block} slots (hidden_size/2 times {tokens} tokens)");
            return Err(LlmError::Packing { operation: "ring degree".to_owned(), expected, got: slots.to_string() });
        }
        let replicas = slots / block;
        if replicas > tokens {
            let expected = format!("at most {} slots, one replica per token", block * tokens);
            return Err(LlmError::Packing { operation: "ring degree".to_owned(), expected, got: slots.to_string() });
        }
        let pairs = pair_channels(head_size, config.rotary_size());
        Ok(Self { slots, tokens, heads, head_pairs, replicas, pairs })
    }

    /// Complex channels of the residual stream, `d/2`.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.head_pairs * self.heads
    }

    /// Rows of a ciphertext: `R * d/2`.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.slots / self.tokens
    }

    /// Row of complex channel `l` of `head` in replica `rep`.
    #[must_use]
    pub fn row(&self, l: usize, rep: usize, head: usize) -> usize {
        (l * self.replicas + rep) * self.heads + head
    }

    /// `(l, rep, head)` of a row.
    #[must_use]
    pub fn row_parts(&self, row: usize) -> (usize, usize, usize) {
        let (outer, head) = (row / self.heads, row % self.heads);
        (outer / self.replicas, outer % self.replicas, head)
    }

    /// Complex channel `l*h + head` that a row holds.
    #[must_use]
    pub fn channel_of_row(&self, row: usize) -> usize {
        let (l, _, head) = self.row_parts(row);
        l * self.heads + head
    }

    /// The two real channels of complex channel `c`.
    #[must_use]
    pub fn real_channels(&self, c: usize) -> (usize, usize) {
        let (l, head) = (c / self.heads, c % self.heads);
        let base = head * 2 * self.head_pairs;
        (base + self.pairs[l].0, base + self.pairs[l].1)
    }

    /// Rotation, in rows, that brings complex channel `c + k` (digit-wise in `l` and head) to channel `c`.
    ///
    /// The digits do not carry into each other, so the rotation of `a + b` is the sum of the rotations of `a` and `b`
    /// whenever `a` and `b` have no binary digit in common: this is what baby and giant steps need.
    #[must_use]
    pub fn channel_rotation(&self, k: usize) -> usize {
        (k / self.heads) * self.replicas * self.heads + k % self.heads
    }

    /// Rotations (in slots) whose running sums add up all `l`.
    #[must_use]
    pub fn fold_channels(&self) -> Vec<i64> {
        doublings(self.head_pairs, self.replicas * self.heads * self.tokens)
    }

    /// Rotations whose running sums add up all heads of a vector that is the same for all `l` and replicas.
    #[must_use]
    pub fn fold_heads(&self) -> Vec<i64> {
        doublings(self.heads, self.tokens)
    }

    /// Rotations whose running sums add up the replicas (into replica 0; into all of them if all `l` are equal).
    #[must_use]
    pub fn fold_replicas(&self) -> Vec<i64> {
        doublings(self.replicas, self.heads * self.tokens)
    }

    /// Rotations whose running sums copy replica 0 of a vector that is zero elsewhere into all replicas.
    #[must_use]
    pub fn spread_replicas(&self) -> Vec<i64> {
        doublings(self.replicas, self.heads * self.tokens).into_iter().map(|step| -step).collect()
    }

    /// Rotations whose running sums copy replica 0 into replica `r` shifted by `r` tokens, for all `r`.
    #[must_use]
    pub fn shift_replicas(&self) -> Vec<i64> {
        doublings(self.replicas, self.heads * self.tokens + 1).into_iter().map(|step| -step).collect()
    }

    /// A vector of slots from a function of `(l, rep, head, tau)`.
    pub fn fill<T>(&self, mut value: impl FnMut(usize, usize, usize, usize) -> T) -> Vec<T> {
        let mut slots = Vec::with_capacity(self.slots);
        for row in 0..self.rows() {
            let (l, rep, head) = self.row_parts(row);
            slots.extend((0..self.tokens).map(|tau| value(l, rep, head, tau)));
        }
        slots
    }
}

fn doublings(count: usize, step: usize) -> Vec<i64> {
    (0..count.ilog2()).map(|i| (step << i) as i64).collect()
}

/// Rotary pairs `(i, i + rot/2)` first, then the remaining channels in two halves.
fn pair_channels(head_size: usize, rotary: usize) -> Vec<(usize, usize)> {
    let half = rotary / 2;
    let rest = (head_size - rotary) / 2;
    let turned = (0..half).map(|i| (i, i + half));
    turned.chain((0..rest).map(|i| (rotary + i, rotary + rest + i))).collect()
}

fn power_of_two(what: &str, value: usize) -> Result<()> {
    if value.is_power_of_two() {
        return Ok(());
    }
    let (expected, got) = ("a power of two".to_owned(), value.to_string());
    Err(LlmError::Packing { operation: what.to_owned(), expected, got })
}
