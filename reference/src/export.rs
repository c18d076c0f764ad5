//! Turns a Power-Softmax model into a polynomial-model artifact (`r[artifact.files]`).
//!
//! Intervals come from calibration in binary64 over padded prompts, natural ones and ones of rare tokens, and over every
//! embedding row; degrees are the smallest of a fixed list that meet the stated targets.

mod calibration;
mod ceiling;
mod compare;
mod degrees;
mod network;
mod prompts;
mod random;

pub use calibration::{Calibration, Ranges, calibrate, interval};
pub use ceiling::first_layer_denominator;
pub use compare::{Agreement, compare};
pub use degrees::{Targets, replace, replace_at};
pub use network::{Network, Trained};
pub use prompts::{Padding, Prompts};
pub use random::SplitMix64;
