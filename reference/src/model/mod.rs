//! The GPT-NeoX graph with Power-Softmax attention, written once for every rung.
//!
//! [`forward`] is generic over the numbers it computes with ([`Scalar`]: binary64 or intervals) and over how the
//! non-polynomial functions are evaluated ([`crate::rungs::Rung`]). It reports named intermediate values to an
//! [`Observer`]. Speed is not a goal; the key/value cache of generation belongs to the optimised side.

mod graph;
mod load;
mod norm;
mod power_softmax;
mod scalar;
mod tokens;
mod weights;

pub use graph::{Observer, forward};
pub use load::{load, load_polynomials, load_tokenizer, read_limited};
pub use norm::{centre, layer_norm, variance};
pub use power_softmax::{Form, power_softmax};
pub use scalar::{Scalar, gelu};
pub use tokens::{cyclic, encode};
pub use weights::{Affine, Layer, Matrix, Model, Norm};
