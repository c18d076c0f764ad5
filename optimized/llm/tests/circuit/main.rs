//! The encrypted circuit against its prediction and against the model in binary64.

mod encrypted;
mod model;
mod predicted;
