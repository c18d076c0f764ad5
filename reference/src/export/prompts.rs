//! Token sequences for calibration and for the comparison of rungs.

use crate::error::ReferenceError;
use crate::model::{cyclic, encode};
use tokenizers::Tokenizer;

/// Text between two stories.
const SEPARATOR: &str = "<|endoftext|>";
/// One token in this many is replaced in a mixed sequence, on average.
const REPLACED_SHARE: u64 = 10;

/// Prompts in the padding convention (`r[model.pad]`).
#[derive(Clone, Debug)]
pub struct Prompts {
    /// What the prompts are, for reports.
    pub description: String,
    /// Token sequences of the context's full length.
    pub windows: Vec<Vec<u32>>,
    /// Number of leading tokens that are the prompt proper, for each window.
    pub lengths: Vec<usize>,
}

impl Prompts {
    /// `count` windows evenly spread over the stories of `text`, each preceded by a short prompt from its beginning,
    /// extended cyclically. The lengths of the short prompts go through `1..context` in turn.
    ///
    /// # Errors
    /// [`ReferenceError::BadOperand`] when the text does not tokenise or is shorter than one window.
    pub fn natural(tokenizer: &Tokenizer, text: &str, context: usize, count: usize) -> Result<Self, ReferenceError> {
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
        let description = format!("{count} windows of text and as many short prompts repeated cyclically");
        let mut prompts = Self { description, windows: Vec::new(), lengths: Vec::new() };
        for i in 0..count {
            let window = &all[i * all.len() / count];
            prompts.push(&window[..1 + i % (context.max(2) - 1)], context);
            prompts.push(window, context);
        }
        Ok(prompts)
    }

    /// Prompts of rare tokens: for each of `natural` one in which every token is replaced with probability 1/10 by a
    /// token drawn uniformly from the vocabulary, and one of as many uniform tokens; then every token of the vocabulary
    /// on its own. All are extended cyclically.
    ///
    /// Draws come from the SplitMix64 generator of Steele, Lea and Flood (2014) started at `seed`.
    #[must_use]
    pub fn rare(natural: &Self, vocabulary: u32, seed: u64) -> Self {
        let mut generator = SplitMix64(seed);
        let count = natural.windows.len();
        let description = format!(
            "{count} of these prompts with one token in {REPLACED_SHARE} replaced by a uniformly random one, {count} prompts \
             of uniformly random tokens, and each of the {vocabulary} tokens alone"
        );
        let mut prompts = Self { description, windows: Vec::new(), lengths: Vec::new() };
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

    fn push(&mut self, prompt: &[u32], context: usize) {
        self.windows.push(cyclic(prompt, context));
        self.lengths.push(prompt.len());
    }
}

/// The SplitMix64 generator: reproducible inputs, no cryptography.
struct SplitMix64(u64);

impl SplitMix64 {
    /// The next 64 bits.
    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// `floor(bound * next / 2^64)`, uniform in `0..bound` up to `bound / 2^64`.
    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// First outputs of the published C implementation for seed 1234567.
    #[test]
    fn generator_is_the_published_one() {
        let mut generator = SplitMix64(1_234_567);
        let outputs: Vec<u64> = (0..3).map(|_| generator.next_u64()).collect();
        assert_eq!(outputs, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn rare_prompts_replace_the_stated_share_and_hold_every_token() {
        let window = vec![1000u32; 64];
        let natural = Prompts { description: String::new(), windows: vec![window; 200], lengths: vec![64; 200] };
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
}
