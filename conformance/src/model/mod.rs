//! Model cases: the exact model, the polynomial model and the decrypted encrypted run, tap by tap.

use crate::case::Case;

/// Prompt of the tap case where the user gives none.
pub const DEFAULT_PROMPT: &str = "Once upon a time there was";

/// All model cases.
#[must_use]
pub fn cases() -> Vec<Case> {
    Vec::new()
}
