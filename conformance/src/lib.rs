//! Error bounds between reference and optimized, layer by layer.
