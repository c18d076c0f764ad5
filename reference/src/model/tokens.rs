//! Text to tokens, and the padding convention.

use crate::error::ReferenceError;
use tokenizers::Tokenizer;

/// Tokens of `text`, without special tokens added.
///
/// # Errors
/// [`ReferenceError::BadOperand`] when the tokenizer refuses the text.
pub fn encode(tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>, ReferenceError> {
    let encoding = tokenizer.encode(text, false).map_err(|e| ReferenceError::BadOperand {
        operation: "tokenisation",
        expected: "text that the tokenizer knows".to_owned(),
        got: e.to_string(),
    })?;
    Ok(encoding.get_ids().to_vec())
}

/// `prompt` repeated cyclically to `length` tokens, or cut to that length (`r[model.pad]`).
#[must_use]
pub fn cyclic(prompt: &[u32], length: usize) -> Vec<u32> {
    prompt.iter().copied().cycle().take(length).collect()
}
