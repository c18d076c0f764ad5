//! Polynomials of `Z[X]/(X^N + 1)` in residue form (`r[ckks.ring]`).

mod basis;
mod buffer;
mod poly;

pub use basis::RingBasis;
pub(crate) use buffer::Pool;
pub use buffer::{Buffer, Limb};
pub(crate) use poly::columns;
pub use poly::{Form, Poly};
