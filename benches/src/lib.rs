//! Criterion benches of the engine; see `benches/benches`.
