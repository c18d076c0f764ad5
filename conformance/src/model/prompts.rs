//! Held-out prompts cut from a text.

use super::exact::Reference;
use super::side;
use crate::ConformError;
use std::path::Path;

/// What separates stories in the text.
const SEPARATOR: &str = "<|endoftext|>";
/// Prompts start this many words into their story, so that they are not all opening formulas.
const SKIPPED_WORDS: usize = 40;
/// Shortest and longest prompt in words; lengths run through the range.
const WORDS: std::ops::Range<usize> = 5..35;

/// `count` prompts, one per story in turn, of lengths that run through a range; a prompt beyond the context is cut.
///
/// # Errors
/// [`ConformError::Side`] if the text cannot be read or holds too few stories.
pub fn cut(file: &Path, reference: &Reference, count: usize) -> Result<Vec<Vec<u32>>, ConformError> {
    let text = std::fs::read_to_string(file).map_err(|e| side("reference", file.display(), e))?;
    let stories: Vec<Vec<&str>> = text
        .split(SEPARATOR)
        .map(|story| story.split_whitespace().skip(SKIPPED_WORDS).collect::<Vec<_>>())
        .filter(|words| words.len() >= WORDS.end * 2)
        .collect();
    if stories.is_empty() {
        return Err(side("reference", file.display(), "no story is long enough to cut a prompt from"));
    }
    (0..count)
        .map(|i| {
            let words = &stories[i % stories.len()];
            let length = WORDS.start + (i * 7) % (WORDS.end - WORDS.start);
            // A second round through the stories starts further in.
            let start = (i / stories.len() * WORDS.end) % (words.len() - WORDS.end);
            let prompt = words[start..start + length].join(" ");
            prompt_tokens(reference, &prompt)
        })
        .collect()
}

fn prompt_tokens(reference: &Reference, prompt: &str) -> Result<Vec<u32>, ConformError> {
    let mut words: Vec<&str> = prompt.split(' ').collect();
    loop {
        match reference.tokens(&words.join(" ")) {
            Err(error) if words.len() <= 1 => return Err(error),
            Err(_) => words.pop(),
            Ok(tokens) => return Ok(tokens),
        };
    }
}
