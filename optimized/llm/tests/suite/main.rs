//! The encrypted circuit against its prediction and against the model in binary64, and the binary from outside.

mod batched;
mod checkpoint;
mod classify;
mod cli;
mod encoder;
mod encrypted;
mod generate;
mod model;
mod packing;
mod planner;
mod predicted;
mod protocol;
mod resumed;
mod world;
