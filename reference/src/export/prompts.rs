//! Token sequences for calibration and for the comparison of rungs.

use super::random::SplitMix64;
use crate::error::ReferenceError;
use crate::model::{cyclic, encode};
use tokenizers::Tokenizer;

/// Text between two stories.
const SEPARATOR: &str = "<|endoftext|>";
/// One token in this many is replaced in a mixed sequence, on average.
const REPLACED_SHARE: u64 = 10;

/// Most tokens of a short random prompt.
const SHORT: u64 = 4;

/// How a prompt is extended to the length of the context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// By repetition: decoders (`r[model.pad]`).
    Cyclic,
    /// By a token that no other one sees: encoders (`r[encoder.mask]`).
    Token(u32),
}

impl Padding {
    /// `prompt` extended or cut to `length` tokens.
    #[must_use]
    pub fn extend(self, prompt: &[u32], length: usize) -> Vec<u32> {
        match self {
            Self::Cyclic => cyclic(prompt, length),
            Self::Token(token) => prompt.iter().copied().chain(std::iter::repeat(token)).take(length).collect(),
        }
    }
}

/// Padded prompts.
#[derive(Clone, Debug)]
pub struct Prompts {
    /// What the prompts are, for reports.
    pub description: String,
    /// Token sequences of the context's full length.
    pub windows: Vec<Vec<u32>>,
    /// Number of leading tokens that are the prompt proper, for each window.
    pub lengths: Vec<usize>,
    /// How the prompts are extended.
    pub padding: Padding,
}

impl Prompts {
    /// `count` windows evenly spread over the stories of `text`, each preceded by a short prompt from its beginning,
    /// padded. The lengths of the short prompts go through `1..context` in turn.
    ///
    /// # Errors
    /// [`ReferenceError::BadOperand`] when the text does not tokenise or is shorter than one window.
    pub fn natural(
        tokenizer: &Tokenizer,
        text: &str,
        context: usize,
        padding: Padding,
        count: usize,
    ) -> Result<Self, ReferenceError> {
        let mut all: Vec<Vec<u32>> = Vec::new();
        for story in text.split(SEPARATOR) {
            let tokens = encode(tokenizer, story.trim())?;
            all.extend(tokens.chunks_exact(context).map(<[u32]>::to_vec));
        }
        if all.is_empty() || count == 0 {
            return Err(ReferenceError::BadOperand {
                operation: "calibration",
                expected: format!("at least one window of {context} tokens"),
                got: format!("{} windows, {count} asked for", all.len()),
            });
        }
        let count = count.min(all.len());
        let padded = match padding {
            Padding::Cyclic => "repeated cyclically",
            Padding::Token(_) => "padded",
        };
        let mut prompts = Self::none(format!("{count} windows of text and as many short prompts {padded}"), padding);
        for i in 0..count {
            let window = &all[i * all.len() / count];
            prompts.push(&window[..1 + i % (context.max(2) - 1)], context);
            prompts.push(window, context);
        }
        Ok(prompts)
    }

    /// Prompts of rare tokens: for each of `natural` one in which every token is replaced with probability 1/10 by a
    /// token drawn uniformly from the vocabulary, and one of as many uniform tokens; then every token of the vocabulary
    /// on its own. All are padded.
    ///
    /// Draws come from the generator started at `seed`.
    #[must_use]
    pub fn rare(natural: &Self, vocabulary: u32, seed: u64) -> Self {
        let mut generator = SplitMix64::new(seed);
        let count = natural.windows.len();
        let description = format!(
            "{count} of these prompts with one token in {REPLACED_SHARE} replaced by a uniformly random one, {count} prompts \
             of uniformly random tokens, and each of the {vocabulary} tokens alone"
        );
        let mut prompts = Self::none(description, natural.padding);
        for (window, &length) in natural.windows.iter().zip(&natural.lengths) {
            let mut mixed = window[..length].to_vec();
            for token in &mut mixed {
                if generator.below(REPLACED_SHARE) == 0 {
                    *token = generator.below(u64::from(vocabulary)) as u32;
                }
            }
            prompts.push(&mixed, window.len());
            let uniform: Vec<u32> = (0..length).map(|_| generator.below(u64::from(vocabulary)) as u32).collect();
            prompts.push(&uniform, window.len());
        }
        let context = natural.windows.first().map_or(1, Vec::len);
        for token in 0..vocabulary {
            prompts.push(&[token], context);
        }
        prompts
    }

    /// Prompts of uniformly random tokens: `full` of `context` tokens, as many of 1 to `context` tokens, padded, and `short`
    /// of 1 to 4 tokens, not padded: there the means of powers spread most, and they cost little.
    ///
    /// Draws come from the generator started at `seed`.
    #[must_use]
    pub fn uniform(vocabulary: u32, context: usize, padding: Padding, [full, short]: [usize; 2], seed: u64) -> Self {
        let mut generator = SplitMix64::new(seed);
        let description = format!(
            "{full} prompts of {context} uniformly random tokens, {full} of 1 to {context} tokens, padded, and {short} of 1 \
             to {SHORT} tokens"
        );
        let mut prompts = Self::none(description, padding);
        for i in 0..2 * full + short {
            let length = match i {
                i if i < full => context as u64,
                i if i < 2 * full => 1 + generator.below(context as u64),
                _ => 1 + generator.below(SHORT.min(context as u64)),
            };
            let prompt: Vec<u32> = (0..length).map(|_| generator.below(u64::from(vocabulary)) as u32).collect();
            prompts.push(&prompt, if i < 2 * full { context } else { prompt.len() });
        }
        prompts
    }

    fn none(description: String, padding: Padding) -> Self {
        Self { description, windows: Vec::new(), lengths: Vec::new(), padding }
    }

    fn push(&mut self, prompt: &[u32], context: usize) {
        self.windows.push(self.padding.extend(prompt, context));
        self.lengths.push(prompt.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_prompts_replace_the_stated_share_and_hold_every_token() {
        let window = vec![1000u32; 64];
        let natural = Prompts {
            windows: vec![window; 200],
            lengths: vec![64; 200],
            ..Prompts::none(String::new(), Padding::Cyclic)
        };
        let rare = Prompts::rare(&natural, 500, 7);
        assert_eq!((rare.windows.len(), rare.lengths.len()), (900, 900));
        let mixed = rare.windows[..400].iter().step_by(2).flatten();
        let replaced = mixed.filter(|&&token| token != 1000).count() as f64;
        let (mean, deviation) = (1280.0, (12800.0f64 * 0.1 * 0.9).sqrt());
        assert!((replaced - mean).abs() < 5.0 * deviation, "{replaced} replaced, seed 7");
        for token in 0..500 {
            assert_eq!(rare.windows[400 + token], [token as u32; 64]);
        }
        assert_eq!(Prompts::rare(&natural, 500, 7).windows, rare.windows);
    }

    #[test]
    fn uniform_prompts_have_the_stated_lengths_and_padding() {
        let prompts = Prompts::uniform(100, 16, Padding::Token(100), [5, 40], 3);
        assert_eq!(prompts.lengths[..5], [16; 5]);
        assert!(prompts.lengths[10..].iter().all(|length| (1..=4).contains(length)));
        for (i, (window, &length)) in prompts.windows.iter().zip(&prompts.lengths).enumerate() {
            assert_eq!(window.len(), if i < 10 { 16 } else { length });
            assert!(
                window[..length].iter().all(|&token| token < 100) && window[length..].iter().all(|&token| token == 100)
            );
        }
        assert_eq!(Padding::Cyclic.extend(&[1, 2], 5), [1, 2, 1, 2, 1]);
        assert_eq!(Padding::Token(9).extend(&[1, 2], 1), [1]);
    }
}
