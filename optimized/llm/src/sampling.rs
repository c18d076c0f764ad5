//! How the client picks a token from decrypted logits (`r[generate.pick]`).

use crate::error::{LlmError, Result};
use sha2::{Digest, Sha256};

/// A way to pick.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Choice {
    /// The largest logit; of equal ones the last.
    Greedy,
    /// One of the most likely tokens that together have probability `p`.
    TopP {
        /// Probability, above 0 and at most 1.
        p: f64,
        /// What logits are divided by, above 0.
        temperature: f64,
    },
}

impl Choice {
    /// Picks among the most likely tokens of total probability `p` at a temperature.
    ///
    /// # Errors
    /// [`LlmError::Operand`] for `p` outside `(0, 1]` or a temperature that is not positive and finite.
    pub fn top_p(p: f64, temperature: f64) -> Result<Self> {
        let refuse = |operation: &str, expected: &str, got: f64| {
            let (operation, expected) = (operation.to_owned(), expected.to_owned());
            Err(LlmError::Operand { operation, expected, got: got.to_string() })
        };
        if !(p > 0.0 && p <= 1.0) {
            return refuse("top-p", "a probability above 0, at most 1", p);
        }
        if !(temperature > 0.0 && temperature.is_finite()) {
            return refuse("temperature", "a finite number above 0", temperature);
        }
        Ok(Self::TopP { p, temperature })
    }

    /// The token for a draw from `[0, 1)`, which greedy picking ignores; 0 without logits.
    #[must_use]
    pub fn pick(&self, logits: &[f64], draw: f64) -> u32 {
        let Self::TopP { p, temperature } = *self else { return argmax(logits) };
        let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mut tokens: Vec<(u32, f64)> =
            (0..).zip(logits).map(|(token, logit)| (token, ((logit - largest) / temperature).exp())).collect();
        tokens.sort_by(|a, b| b.1.total_cmp(&a.1));
        let wanted = p * tokens.iter().map(|token| token.1).sum::<f64>();
        let mut kept = 0.0;
        let count = tokens.iter().position(|token| {
            kept += token.1;
            kept >= wanted
        });
        tokens.truncate(count.map_or(tokens.len(), |last| last + 1));
        let mut left = draw * kept;
        let chosen = tokens.iter().find(|token| {
            left -= token.1;
            left < 0.0
        });
        chosen.or(tokens.last()).map_or(0, |token| token.0)
    }
}

/// Index of the largest logit; of equal ones the last.
#[must_use]
pub fn argmax(logits: &[f64]) -> u32 {
    let best = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    best.map_or(0, |(index, _)| index as u32)
}

/// Draws from `[0, 1)`: the first 53 bits of the SHA-256 of the seed and a counter.
#[derive(Clone, Debug)]
pub struct Draws {
    seed: u128,
    count: u64,
}

impl Draws {
    /// Draws of a seed, always the same.
    #[must_use]
    pub fn new(seed: u128) -> Self {
        Self { seed, count: 0 }
    }

    /// Draws of a seed from the operating system.
    ///
    /// # Errors
    /// [`LlmError::Operand`] if the system gives none.
    pub fn from_os() -> Result<Self> {
        let mut seed = [0; 16];
        getrandom::fill(&mut seed).map_err(|error| LlmError::Operand {
            operation: "seed of the draws".to_owned(),
            expected: "randomness of the operating system".to_owned(),
            got: error.to_string(),
        })?;
        Ok(Self::new(u128::from_le_bytes(seed)))
    }

    /// The next draw.
    pub fn draw(&mut self) -> f64 {
        let hash =
            Sha256::new().chain_update(self.seed.to_le_bytes()).chain_update(self.count.to_le_bytes()).finalize();
        self.count += 1;
        let bits = hash.iter().take(8).fold(0u64, |bits, &byte| bits << 8 | u64::from(byte)) >> 11;
        bits as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `r[generate.pick]`: probabilities 1/2, 1/4, 1/8, 1/8 in shuffled order.
    #[test]
    fn top_p_keeps_the_fewest_tokens_that_reach_the_probability() {
        let logits: [f64; 4] = [0.125f64.ln(), 0.5f64.ln(), 0.125f64.ln(), 0.25f64.ln()];
        let pick = |p: f64, draw: f64| Choice::top_p(p, 1.0).unwrap().pick(&logits, draw);
        assert_eq!([0.0, 0.49, 0.51, 0.74, 0.76, 0.99].map(|draw| pick(1.0, draw)), [1, 1, 3, 3, 0, 2]);
        // 3/4 needs two tokens, which then have probabilities 2/3 and 1/3.
        assert_eq!([0.0, 0.66, 0.67, 0.999].map(|draw| pick(0.74, draw)), [1, 1, 3, 3]);
        assert_eq!([0.0, 0.999].map(|draw| pick(0.4, draw)), [1, 1]);
        // At half the temperature probabilities are squared: 16/22, 4/22, 1/22, 1/22.
        let cold = Choice::top_p(1.0, 0.5).unwrap();
        assert_eq!([0.72, 0.73, 0.90, 0.92].map(|draw| cold.pick(&logits, draw)), [1, 3, 3, 0]);
        assert_eq!(Choice::Greedy.pick(&logits, 0.9), 1);
        assert_eq!(Choice::top_p(0.9, 1.0).unwrap().pick(&[], 0.5), 0);
    }

    #[test]
    fn probabilities_and_temperatures_out_of_range_are_refused() {
        for p in [0.0, -0.5, 1.5, f64::NAN] {
            assert!(Choice::top_p(p, 1.0).unwrap_err().to_string().starts_with("top-p: expected"), "{p}");
        }
        for temperature in [0.0, -1.0, f64::INFINITY, f64::NAN] {
            assert!(Choice::top_p(0.5, temperature).unwrap_err().to_string().starts_with("temperature: expected"));
        }
    }

    /// A seed repeats its draws, which are uniform: the mean of 10,000 is within 5 standard deviations, 5 / sqrt(12 * 10,000).
    #[test]
    fn draws_repeat_and_are_uniform() {
        let take = |seed| {
            let mut draws = Draws::new(seed);
            (0..10_000).map(|_| draws.draw()).collect::<Vec<_>>()
        };
        let (first, again, other) = (take(7), take(7), take(8));
        assert_eq!(first, again);
        assert_ne!(first, other);
        assert!(first.iter().all(|draw| (0.0..1.0).contains(draw)));
        let mean = first.iter().sum::<f64>() / 10_000.0;
        assert!((mean - 0.5).abs() < 5.0 / 120_000f64.sqrt(), "{mean}");
        // Tokens of equal logits are picked about equally often: 2,500 each, standard deviation sqrt(10,000 * 3/16) < 44.
        let choice = Choice::top_p(1.0, 1.0).unwrap();
        let mut counts = [0; 4];
        first.iter().for_each(|&draw| counts[choice.pick(&[1.0; 4], draw) as usize] += 1);
        assert!(counts.iter().all(|count| (2_500i32 - count).abs() < 220), "{counts:?}");
    }
}
