//! LayerNorm: the factor `1 / sqrt(var + eps)`.

use super::Run;
use crate::backend::Backend;
use crate::circuit::{Held, coefficients};
use crate::error::Result;
use crate::tap::Observer;

impl<B: Backend, O: Observer<B::Ct>> Run<'_, '_, B, O> {
    /// `1 / (alpha sqrt(var + eps))`, `alpha` the scale of the stream; the variance is a sum of squares over channels. Taps are
    /// called `prefix.*`.
    ///
    /// Levels: variance one below the stream, the factor `depth` further down.
    pub(super) fn normalise(&mut self, (prefix, site): (&str, &str), x: &[B::Ct], held: Held) -> Result<B::Ct> {
        let backend = self.backend;
        let (site, middle, half) = self.circuit.site(site)?;
        let name = |tap: &str| format!("{prefix}.{tap}");
        backend.stage("layernorm variance");
        let mut sum = backend.sum_of_products(&x.iter().map(|x| (x, x)).collect::<Vec<_>>())?;
        if held.halved {
            sum = backend.add(&sum, &sum)?;
        }
        let mut variable = [backend.add_const(&sum, -middle / half)?];
        self.tap(&name("variance"), &mut variable, |prompt| prompt.by_token(half, middle))?;
        backend.stage("layernorm inverse square root");
        let [variable] = variable;
        let mut factor = [backend.chebyshev(&variable, &coefficients(site, 1.0 / held.scale))?];
        self.tap(&name("inverse-sqrt"), &mut factor, |prompt| prompt.by_token(held.scale, 0.0))?;
        let [factor] = factor;
        if self.observer.wants(&name("normalised")) {
            let mut normalised = x.iter().map(|x| backend.mul(x, &factor)).collect::<Result<Vec<_>>>()?;
            self.tap(&name("normalised"), &mut normalised, |prompt| prompt.channels(x.len(), 1.0, 0.0))?;
        }
        Ok(factor)
    }
}
