//! Subcommands of `conform` that are more than a loop over cases.

pub mod rules;
