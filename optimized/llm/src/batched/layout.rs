//! Which slot holds which token of which prompt (`r[packing.batched]`).

use crate::error::{LlmError, Result};

/// Slots as `[token][place]`: slot `tau * batch + i` holds token `tau` of the prompt at place `i`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchLayout {
    /// Slots of a ciphertext, `N/2`.
    pub slots: usize,
    /// Tokens of a prompt, padded to a power of two.
    pub tokens: usize,
    /// Places for prompts.
    pub batch: usize,
}

impl BatchLayout {
    /// Lays prompts of `tokens` tokens out in ciphertexts of `slots` slots.
    ///
    /// # Errors
    /// [`LlmError::Packing`] where the number of slots is not a power of two or a prompt does not fit.
    pub fn new(slots: usize, tokens: usize) -> Result<Self> {
        let refuse = |expected: String, got: usize| {
            let operation = "ring degree".to_owned();
            Err(LlmError::Packing { operation, expected, got: got.to_string() })
        };
        if !slots.is_power_of_two() {
            return refuse("a power of two of slots".to_owned(), slots);
        }
        if tokens == 0 || tokens > slots {
            return refuse(format!("1 to {slots} tokens in {slots} slots"), tokens);
        }
        let tokens = tokens.next_power_of_two();
        Ok(Self { slots, tokens, batch: slots / tokens })
    }

    /// The slot of a token of the prompt at a place.
    #[must_use]
    pub fn slot(&self, token: usize, place: usize) -> usize {
        token * self.batch + place
    }

    /// The rotation that brings every token `distance` tokens back in its prompt to where a query reads it.
    #[must_use]
    pub fn back(&self, distance: usize) -> i64 {
        -((distance * self.batch) as i64)
    }

    /// A vector of slots from a function of the token, the same for all prompts.
    pub fn fill<T: Clone>(&self, value: impl Fn(usize) -> T) -> Vec<T> {
        (0..self.tokens).flat_map(|token| std::iter::repeat_n(value(token), self.batch)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rules: `r[packing.batched]`.
    #[test]
    fn every_slot_has_one_token_of_one_prompt() {
        let layout = BatchLayout::new(64, 7).unwrap();
        assert_eq!((layout.tokens, layout.batch), (8, 8));
        let slots: Vec<usize> = (0..8)
            .flat_map(|token| (0..8).map(move |place| (token, place)))
            .map(|(token, place)| layout.slot(token, place))
            .collect();
        assert_eq!(slots, (0..64).collect::<Vec<_>>());
        assert_eq!(layout.fill(|token| token)[layout.slot(5, 3)], 5);
        // What a query at token 5 reads two tokens back: rotations move slot `j + steps` to slot `j`.
        let read = layout.slot(5, 3) as i64 + layout.back(2);
        assert_eq!(read as usize, layout.slot(3, 3));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (slots, tokens) in [(48, 4), (16, 0), (16, 17)] {
            let refused = matches!(BatchLayout::new(slots, tokens), Err(LlmError::Packing { .. }));
            assert!(refused, "{slots} slots, {tokens} tokens");
        }
    }
}
