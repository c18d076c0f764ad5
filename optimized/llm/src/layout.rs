//! Packing: which slot of which ciphertext holds which channel of which token.
//!
//! Slot `((l*R + rep)*h + head)*t + tau` of part `q` holds complex channel `q*m + l` of head `head` at token `tau`; its real and
//! imaginary part are two channels of that head, for rotary channels the pair that rotary embedding turns. There are `R` replicas.
//! The replica index stands between `l` and the head, so that a sum over `l` is a sum of rotations that wraps around the
//! whole ciphertext even where replicas differ (attention keeps another causal shift in each of them).
//!
//! A small activation is replicated in one ciphertext; one that is larger than a ciphertext is cut into *parts* of `m` complex
//! channels of every head. Where not even one channel of all heads fits, heads are divided into *groups* first, and a part has `m = 1`
//! channel of the heads of one group; attention, which keeps heads apart, then works group by group. Heads and channels are
//! padded to powers of two; padded channels are 0.
//!
//! A *row* is a run of `t` slots: row `(l*R + rep)*h + head` of its part.

use crate::error::{LlmError, Result};

/// What the packing of an activation depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Attention heads.
    pub heads: usize,
    /// Channels of one head, even.
    pub head_size: usize,
    /// Channels of one head that rotary embedding turns, even; 0 without it.
    pub rotary: usize,
    /// Tokens of a sequence.
    pub tokens: usize,
}

/// Slot layout of one model at one ring degree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Slots of a ciphertext, `N/2`.
    pub slots: usize,
    /// Tokens per row: the context length, padded to a power of two.
    pub tokens: usize,
    /// Attention heads of one group, all of them padded to a power of two if there is one group.
    pub heads: usize,
    /// Groups of heads; parts of a group stand together.
    pub groups: usize,
    /// Attention heads of the model.
    pub live_heads: usize,
    /// Complex channels of one head in one part.
    pub head_pairs: usize,
    /// Ciphertexts of one activation.
    pub parts: usize,
    /// Replicas `R` of the residual stream; 1 if there are several parts.
    pub replicas: usize,
    /// The two channels (within a head) that complex channel `l` holds, over all parts.
    pub pairs: Vec<(usize, usize)>,
}

impl Layout {
    /// Lays activations of `shape` out in ciphertexts of `slots` slots.
    ///
    /// # Errors
    /// [`LlmError::Packing`] where the number of slots is not a power of two, heads have an odd number of channels, a ciphertext does
    /// not hold one complex channel of one head, or there would be more replicas than tokens.
    pub fn new(shape: Shape, slots: usize) -> Result<Self> {
        let refuse = |operation: &str, expected: String, got: usize| {
            Err(LlmError::Packing { operation: operation.to_owned(), expected, got: got.to_string() })
        };
        let Shape { heads: live_heads, head_size, rotary, tokens } = shape;
        if !slots.is_power_of_two() {
            return refuse("slots", "a power of two".to_owned(), slots);
        }
        if head_size == 0 || !head_size.is_multiple_of(2) {
            return refuse("width of a head", "an even number".to_owned(), head_size);
        }
        let (all_heads, tokens) = (live_heads.next_power_of_two(), tokens.next_power_of_two());
        if slots < tokens {
            return refuse("ring degree", format!("at least {tokens} slots, one per token"), slots);
        }
        let heads = all_heads.min(slots / tokens);
        let (groups, channel) = (all_heads / heads, heads * tokens);
        let pairs = (head_size / 2).next_power_of_two();
        let head_pairs = pairs.min(slots / channel);
        let replicas = slots / (head_pairs * channel);
        if replicas > tokens {
            let most = head_pairs * channel * tokens;
            return refuse("ring degree", format!("at most {most} slots, one replica per token"), slots);
        }
        let (parts, pairs) = (groups * (pairs / head_pairs), pair_channels(head_size, rotary));
        Ok(Self { slots, tokens, heads, groups, live_heads, head_pairs, parts, replicas, pairs })
    }

    /// Parts of one group of heads.
    #[must_use]
    pub fn group_parts(&self) -> usize {
        self.parts / self.groups
    }

    /// Ciphertexts of scores of one group: one per `R` distances between query and key.
    #[must_use]
    pub fn distances(&self) -> usize {
        self.tokens / self.replicas
    }

    /// Complex channels of one part, padding included.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.head_pairs * self.heads
    }

    /// Rows of a ciphertext: `R` times its complex channels.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.slots / self.tokens
    }

    /// Row of complex channel `l` of `head` in replica `rep`, within its part.
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

    /// The two channels of the model that a row of a part holds; none in padding.
    #[must_use]
    pub fn real_channels(&self, part: usize, row: usize) -> Option<(usize, usize)> {
        let (l, _, head) = self.row_parts(row);
        let head = part / self.group_parts() * self.heads + head;
        let base = head * 2 * self.pairs.len();
        let live = head < self.live_heads;
        self.pairs.get(self.first_pair(part) + l).filter(|_| live).map(|pair| (base + pair.0, base + pair.1))
    }

    /// The first complex channel of a part, within a head.
    #[must_use]
    pub fn first_pair(&self, part: usize) -> usize {
        part % self.group_parts() * self.head_pairs
    }

    /// Rotation, in rows, that brings complex channel `c + k` of a part (digit-wise in `l` and head) to channel `c`.
    ///
    /// The digits do not carry into each other, so the rotation of `a + b` is the sum of the rotations of `a` and `b`
    /// whenever `a` and `b` have no binary digit in common: this is what baby and giant steps need.
    #[must_use]
    pub fn channel_rotation(&self, k: usize) -> usize {
        (k / self.heads) * self.replicas * self.heads + k % self.heads
    }

    /// Rotations (in slots) whose running sums add up all `l` of a part.
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

    /// Rotations whose running sums copy the last token of each row, of a vector that is zero elsewhere, to all its tokens.
    #[must_use]
    pub fn spread_last_token(&self) -> Vec<i64> {
        doublings(self.tokens, 1)
    }

    /// Rotations whose running sums add up all tokens of a row, at its first token; other tokens get sums over two rows.
    #[must_use]
    pub fn fold_tokens(&self) -> Vec<i64> {
        doublings(self.tokens, 1)
    }

    /// Rotations whose running sums copy the first token of each row, of a vector that is zero elsewhere, to all its tokens.
    #[must_use]
    pub fn spread_first_token(&self) -> Vec<i64> {
        doublings(self.tokens, 1).into_iter().map(|step| -step).collect()
    }

    /// A vector of slots from a function of `(row, tau)`.
    pub fn fill<T>(&self, mut value: impl FnMut(usize, usize) -> T) -> Vec<T> {
        let mut slots = Vec::with_capacity(self.slots);
        for row in 0..self.rows() {
            slots.extend((0..self.tokens).map(|tau| value(row, tau)));
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
