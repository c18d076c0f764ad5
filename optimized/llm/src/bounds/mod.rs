//! Bounds on the errors of an encrypted run, composed layer by layer (`r[noise.layer]`).
//!
//! Between two taps errors are fresh and their variances add; the slots backend finds them with every tap cut, that is,
//! with all error dropped after a tap has seen it. Fresh errors of different entries are uncorrelated, so the first sum over
//! entries adds their variances too. What has been through a sum once is composed with the local derivatives of the
//! network without assuming anything: standard deviations add, and a vector's error passes through a matrix with at
//! most its spectral norm. The sum is kept by origin, so that a bound can be taken apart.
//!
//! A bound is `D` standard deviations of a Laplace law (`r[noise.bound.slot]`). Products of two errors are covered by enlarging one factor by
//! its bound.

mod block;
mod norm;
mod spread;
mod stream;

pub use spread::{ORIGINS, Origin, Spread};

use crate::artifact::Model;
use crate::backend::slots::Predictions;
use crate::circuit::{head_layer, interval};
use crate::error::{LlmError, Result};
use block::{compose_block, normaliser};
use rayon::prelude::*;
use spread::VectorError;
use stream::Stream;
use touchstone_ckks::ckks::noise::slot_bound_factor;

/// Failure probability of all bounds of one run together (`r[noise.bound.slot]`): 2^-40.
pub const FAILURE: f64 = 1.0 / (1u64 << 40) as f64;

/// Composed errors of one tap.
#[derive(Clone, Debug)]
pub struct Composed {
    /// Tap name.
    pub name: String,
    /// Bound on the standard deviation of each entry, by origin.
    pub spreads: Vec<Spread>,
}

/// Composed errors of all taps.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Taps in the order of the circuit.
    pub taps: Vec<Composed>,
    /// Standard deviations in a bound.
    pub factor: f64,
}

impl Bounds {
    /// The tap `name`.
    ///
    /// # Errors
    /// [`LlmError::Operand`] if there is no such tap.
    pub fn tap(&self, name: &str) -> Result<&Composed> {
        self.taps.iter().find(|tap| tap.name == name).ok_or_else(|| missing(name))
    }

    /// Bounds on the absolute errors of the entries of tap `name`.
    ///
    /// # Errors
    /// As [`Bounds::tap`].
    pub fn bound(&self, name: &str) -> Result<Vec<f64>> {
        Ok(self.tap(name)?.spreads.iter().map(|spread| self.factor * spread.total()).collect())
    }
}

/// Bounds on the entries of tap `name` that take all errors of a pass as independent: the factor of `r[noise.bound.slot]` times the
/// estimate of `r[noise.rss]`.
///
/// # Errors
/// As [`Bounds::tap`].
pub fn root_sum_square(predictions: &Predictions, name: &str) -> Result<Vec<f64>> {
    let tap = predictions.tap(name).ok_or_else(|| missing(name))?;
    let factor = bound_factor(predictions);
    Ok(tap.deviation.iter().map(|deviation| factor * deviation).collect())
}

/// Standard deviations in a bound, for the entries of all taps together.
fn bound_factor(predictions: &Predictions) -> f64 {
    let compared: usize = predictions.taps.iter().map(|tap| tap.tensor.values.len()).sum();
    slot_bound_factor(FAILURE, compared as f64)
}

fn missing(name: &str) -> LlmError {
    LlmError::Operand { operation: "bounds".to_owned(), expected: format!("tap {name}"), got: "none".to_owned() }
}

/// What composition reads: values and fresh errors at every tap.
struct Local<'a> {
    model: &'a Model,
    predictions: &'a Predictions,
    factor: f64,
}

impl Local<'_> {
    fn values(&self, name: &str) -> Result<&[f64]> {
        Ok(&self.predictions.tap(name).ok_or_else(|| missing(name))?.tensor.values)
    }

    /// Fresh standard deviations at a tap, as spreads of one origin.
    fn fresh(&self, name: &str, origin: Origin) -> Result<Vec<Spread>> {
        let tap = self.predictions.tap(name).ok_or_else(|| missing(name))?;
        Ok(tap.deviation.iter().map(|&size| Spread::of(origin, size)).collect())
    }
}

/// Composes the fresh errors of a run whose taps were cut (see [`crate::session::bounds`]).
///
/// # Errors
/// [`LlmError::Operand`] if a tap is missing.
pub fn compose(model: &Model, predictions: &Predictions) -> Result<Bounds> {
    let local = Local { model, predictions, factor: bound_factor(predictions) };
    let mut taps = Vec::new();
    let embedded = local.fresh("embedding", Origin::Stream)?;
    let mut stream = Stream::new(embedded.chunks(model.config.hidden_size).map(VectorError::of_entries).collect());
    taps.push(Composed { name: "embedding".to_owned(), spreads: embedded });
    for layer in 0..model.layers.len() {
        stream = compose_block(&local, layer, &stream, &mut taps)?;
    }
    head(&local, &stream, &mut taps)?;
    Ok(Bounds { taps, factor: local.factor })
}

/// Final LayerNorm and LM head at the last position.
fn head(local: &Local<'_>, stream: &Stream, taps: &mut Vec<Composed>) -> Result<()> {
    // A wide head reports the last token alone.
    let reported = local.values("final.layernorm.variance")?.len();
    let stream = &stream.last_tokens(reported);
    let normal = normaliser(local, "final.layernorm", "final.inverse-sqrt", stream, taps)?;
    let layer = head_layer(local.model, 1.0);
    let last = stream.tokens() - 1;
    let (inverse, error) = (normal.inverse[last], normal.error[last]);
    let reach = inverse + local.factor * error.total();
    let logits = local.values("logits")?;
    let fresh = local.fresh("logits", Origin::Head)?;
    let spreads = (0..layer.weight.rows).into_par_iter().map(|o| {
        let turned = (logits[o] - layer.bias[o]).abs() / inverse;
        let profile = stream.profile(layer.weight.row(o));
        stream.along(last, &profile) * reach + error * turned + fresh[o]
    });
    taps.push(Composed { name: "logits".to_owned(), spreads: spreads.collect() });
    Ok(())
}

/// Middle and half width of the interval of a site.
fn site_interval(local: &Local<'_>, name: &str) -> Result<(f64, f64)> {
    Ok(interval(local.model.site(name)?))
}
