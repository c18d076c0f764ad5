//! The encrypted circuit against its prediction and against the model in binary64, and the binary from outside.

mod batched;
mod checkpoint;
mod cli;
mod encoder;
mod encrypted;
mod model;
mod packing;
mod predicted;
mod protocol;
