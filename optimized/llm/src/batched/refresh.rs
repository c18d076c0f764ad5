//! Bootstrapping of the stream, two channels at once (`r[packing.batched.refresh]`).

use super::Run;
use crate::backend::{Backend, Packing, Refresh};
use crate::circuit::Held;
use crate::error::Result;
use crate::plan::Entry;
use crate::tap::Observer;

/// The scale at which a stream is handed over that is then held as `held`: half of it before a bootstrap, because joining doubles.
pub(super) fn handed_over(held: Held, bootstrapped: bool) -> f64 {
    if bootstrapped { held.scale / 2.0 } else { held.scale }
}

impl<B: Backend, O: Observer<B::Ct>> Run<'_, '_, B, O> {
    /// Bootstraps where the plan says so, and brings the stream down to the plan's level.
    pub(super) fn enter(&self, x: &[B::Ct], entry: Entry) -> Result<Vec<B::Ct>> {
        match entry.bootstrap {
            true => self.refreshed(x, Some(entry.level)),
            false => x.iter().map(|ct| self.backend.to_level(ct, entry.level)).collect(),
        }
    }

    /// Twice the stream, bootstrapped, at `level` or as high as possible: one below what bootstrapping gives.
    pub(super) fn refreshed(&self, x: &[B::Ct], level: Option<usize>) -> Result<Vec<B::Ct>> {
        let backend = self.backend;
        backend.stage("bootstrapping");
        let refresh = Refresh { packing: Packing::Complex, summands: x.len() };
        let mut out = Vec::with_capacity(x.len());
        for pair in x.chunks(2) {
            // A channel without a partner is its own.
            let joined = self.join(&pair[0], &pair[pair.len() - 1])?;
            for part in self.split(&backend.bootstrap(&joined, refresh)?)?.iter().take(pair.len()) {
                let level = level.unwrap_or(backend.level(part).saturating_sub(1));
                out.push(backend.scale_to(part, 0.5, level)?);
            }
        }
        Ok(out)
    }

    /// `2 a - 2 i b`. Conjugates are added first so that errors in the imaginary part of one do not become errors of the other.
    fn join(&self, a: &B::Ct, b: &B::Ct) -> Result<B::Ct> {
        let backend = self.backend;
        backend.sub(&backend.twice_real(a)?, &backend.mul_i(&backend.twice_real(b)?)?)
    }

    /// `2 a` and `2 b` of `a - i b`.
    fn split(&self, joined: &B::Ct) -> Result<[B::Ct; 2]> {
        let backend = self.backend;
        Ok([backend.twice_real(joined)?, backend.twice_real(&backend.mul_i(joined)?)?])
    }
}
