//! Nodes of the network, and which of them an operation of the circuit belongs to.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Kinds of operations of the circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Linear map by diagonals, with its encodings and giant rotations.
    LinearMap,
    /// Chebyshev polynomial, with its products.
    Polynomial,
    /// Ciphertext product, not relinearised.
    CiphertextProduct,
    /// Relinearisation of a sum of products, and its rescale.
    Relinearisation,
    /// Bootstrapping.
    Bootstrap,
    /// Single rotation.
    Rotation,
    /// Rotations of one ciphertext with a shared decomposition.
    HoistedRotations,
    /// Conjugation.
    Conjugation,
    /// Product with an encoded vector, and its rescale.
    PlaintextProduct,
    /// Product with a constant on the way to a lower level.
    Rescale,
    /// Additions and subtractions.
    Add,
}

/// Nodes by which a run is broken down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Node {
    /// Products with weights: rotations, diagonals, masks.
    PlaintextMatmul,
    /// Queries by keys, and powers by values.
    CiphertextMatmul,
    /// Powers, denominator, reciprocal and division of Power-Softmax.
    PowerSoftmax,
    /// The activation polynomial.
    Gelu,
    /// LayerNorm: variance, inverse square root and the product with it.
    InverseSqrt,
    /// Bootstrapping.
    Bootstrap,
    /// Additions, rescales and changes of level.
    Repack,
    /// The map from the last stream to what the client reads.
    Head,
    /// Whatever the names above do not cover, and the time between operations.
    Other,
}

impl Node {
    /// All nodes, in the order of tables and charts.
    pub const ALL: [Self; 9] = [
        Self::PlaintextMatmul,
        Self::CiphertextMatmul,
        Self::PowerSoftmax,
        Self::Gelu,
        Self::InverseSqrt,
        Self::Bootstrap,
        Self::Repack,
        Self::Head,
        Self::Other,
    ];

    /// The node of an operation in a part of the circuit, by the name that the circuit gives the part.
    #[must_use]
    pub fn of(part: &str, operation: Operation) -> Self {
        if operation == Operation::Bootstrap {
            return Self::Bootstrap;
        }
        let node = by_part(part);
        match operation {
            Operation::Add | Operation::Rescale if node != Self::Head => Self::Repack,
            // LayerNorm's factor is applied to what the maps after it give.
            Operation::CiphertextProduct | Operation::Relinearisation if node == Self::PlaintextMatmul => {
                Self::InverseSqrt
            }
            _ => node,
        }
    }
}

fn by_part(part: &str) -> Node {
    match part {
        "query-key products" | "weighted values" => Node::CiphertextMatmul,
        "GELU" => Node::Gelu,
        "bootstrapping" | "key-value cache" => Node::Repack,
        "last token" | "mean over tokens" | "pooler" | "classifier" => Node::Head,
        _ if part.starts_with("layernorm") => Node::InverseSqrt,
        _ if part.starts_with("power-softmax") => Node::PowerSoftmax,
        _ if part.starts_with("residual") => Node::Repack,
        _ if part.ends_with("head") => Node::Head,
        _ if part.ends_with("map") || part.ends_with("maps") => Node::PlaintextMatmul,
        _ => Node::Other,
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::LinearMap => "linear map",
            Self::Polynomial => "polynomial",
            Self::CiphertextProduct => "ciphertext product",
            Self::Relinearisation => "relinearisation",
            Self::Bootstrap => "bootstrap",
            Self::Rotation => "rotation",
            Self::HoistedRotations => "hoisted rotations",
            Self::Conjugation => "conjugation",
            Self::PlaintextProduct => "plaintext product",
            Self::Rescale => "rescale",
            Self::Add => "add",
        })
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::PlaintextMatmul => "plaintext matmul",
            Self::CiphertextMatmul => "ciphertext matmul",
            Self::PowerSoftmax => "Power-Softmax",
            Self::Gelu => "GELU",
            Self::InverseSqrt => "inverse square root",
            Self::Bootstrap => "bootstrap",
            Self::Repack => "add, rescale, repack",
            Self::Head => "head",
            Self::Other => "other",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_belong_to_the_node_of_their_part() {
        use Operation::{Add, Bootstrap, CiphertextProduct, LinearMap, PlaintextProduct, Polynomial, Rotation};
        for (part, operation, node) in [
            ("query, key, value maps", LinearMap, Node::PlaintextMatmul),
            ("query, key, value maps", CiphertextProduct, Node::InverseSqrt),
            ("layernorm variance", Rotation, Node::InverseSqrt),
            ("query-key products", CiphertextProduct, Node::CiphertextMatmul),
            ("power-softmax reciprocal", Polynomial, Node::PowerSoftmax),
            ("power-softmax reciprocal", Bootstrap, Node::Bootstrap),
            ("GELU", Polynomial, Node::Gelu),
            ("GELU", Add, Node::Repack),
            ("LM head", LinearMap, Node::Head),
            ("LM head", Add, Node::Head),
            ("pooler", Polynomial, Node::Head),
            ("residual branch", LinearMap, Node::Repack),
            ("key-value cache", PlaintextProduct, Node::Repack),
            ("nobody knows", Rotation, Node::Other),
        ] {
            assert_eq!(Node::of(part, operation), node, "{part}, {operation:?}");
        }
    }
}
