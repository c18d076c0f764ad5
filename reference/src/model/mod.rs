//! The GPT-NeoX, BERT and RoBERTa graphs with Power-Softmax attention, written once for every rung.
//!
//! [`forward`] and [`encoder_forward`] are generic over the numbers they compute with ([`Ring`]: binary64, intervals or
//! the numbers of the encrypted rungs) and over how the non-polynomial functions are evaluated
//! ([`crate::rungs::Rung`]). They report named intermediate values to an [`Observer`]. Speed is not a goal; the key/value
//! cache of generation belongs to the optimised side.

mod attention;
mod encoder;
mod gpt_neox;
mod graph;
mod iterations;
mod load;
mod norm;
mod power_softmax;
mod rotary;
mod scalar;
mod tokens;
mod weights;

pub use attention::{Head, attention};
pub use encoder::{Encoder, EncoderInput, EncoderLayer, embedding_rows, encoder_forward, encoder_forward_embedded};
pub use gpt_neox::{forward, forward_embedded};
pub use graph::Observer;
pub use iterations::{Goldschmidt, newton_inverse_sqrt, newton_reciprocal};
pub use load::{
    load, load_config, load_encoder, load_encoder_polynomials, load_polynomials, load_tokenizer, read_config,
    read_encoder, read_limited, read_model,
};
pub use norm::{centre, layer_norm, polynomial_layer_norm, variance};
pub use power_softmax::{Form, masked_power_softmax, polynomial_power_softmax, power_softmax};
pub use rotary::rotary;
pub use scalar::{Real, Ring, gelu};
pub use tokens::{cyclic, encode};
pub use weights::{Affine, Layer, Matrix, Model, Norm};
