//! The error budget of a model over several prompts, layer by layer: approximation, predicted noise, measured noise.
//!
//! For models whose composed bounds (`r[noise.layer]`) say nothing any more: errors are held against the slot bound on the
//! root-sum-square deviation (`r[noise.rss]`, `r[noise.bound.slot]`), and a count tells how many lie outside.

mod record;

pub use record::{Budget, PromptBudget, Size, TapBudget, resume, write};

use super::encrypted::{Encrypted, Model, Predicted};
use super::exact::{Certified, Guarded, Reference, Taps};
use super::prompts;
use crate::ConformError;
use std::path::PathBuf;
use std::time::Instant;
use touchstone_llm::tap::Tensor;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Request {
    /// Model directory.
    pub model: PathBuf,
    /// Parameter preset.
    pub preset: String,
    /// Text from which prompts are cut.
    pub text: PathBuf,
    /// Number of prompts.
    pub prompts: usize,
    /// How many of them, the first, are compared at every tap; of the others the logits alone are decrypted.
    pub tapped: usize,
    /// Seed of the keys.
    pub seed: u128,
}

impl Budget {
    /// Runs the prompts of the request that come after those of `budget`; `progress` sees the budget after each of them.
    ///
    /// # Errors
    /// [`ConformError::Side`] from either side, and whatever `progress` returns.
    pub fn measure(
        request: &Request,
        mut budget: Self,
        mut progress: impl FnMut(&Self) -> Result<(), ConformError>,
    ) -> Result<Self, ConformError> {
        let reference = Reference::load(&request.model)?;
        let model = Model::load(&request.model)?;
        let session = Encrypted::new(&model, &request.preset, request.seed)?;
        budget.facts = session.facts();
        let done = budget.done();
        for tokens in prompts::cut(&request.text, &reference, request.prompts)?.into_iter().skip(done) {
            let run = Run { reference: &reference, model: &model, session: &session, tokens: &tokens };
            match budget.done() < request.tapped {
                true => budget.tapped(&run, &request.preset)?,
                false => budget.untapped(&run, &request.preset)?,
            }
            progress(&budget)?;
        }
        Ok(budget)
    }

    /// Runs a prompt and compares every tap with both rungs.
    fn tapped(&mut self, run: &Run<'_>, preset: &str) -> Result<(), ConformError> {
        let Some(ladder) = self.inside(run.reference.pair(run.tokens)?) else { return Ok(()) };
        let predicted = run.model.predict(preset, run.tokens)?;
        let start = Instant::now();
        let taps = run.session.taps(run.model, run.tokens)?;
        let seconds = start.elapsed().as_secs_f64();
        self.add(&ladder.r0, &ladder.r1, &predicted, &taps, &ladder.names)?;
        let expected: Vec<f64> = of(&ladder.r1, "logits")?.iter().map(|value| value.mid).collect();
        let got = &tensor(&taps, "logits")?.values;
        let prompt =
            PromptBudget { tokens: run.tokens.len(), tapped: true, seconds, ..PromptBudget::of(&expected, got)? };
        self.add_prompt(prompt, predicted.estimates.largest_bootstrapped);
        Ok(())
    }

    /// Runs a prompt and compares the logits with R1 in binary64.
    fn untapped(&mut self, run: &Run<'_>, preset: &str) -> Result<(), ConformError> {
        let Some(expected) = self.inside(run.reference.guarded_logits(run.tokens)?) else { return Ok(()) };
        let largest_bootstrapped = run.model.estimate(preset, run.tokens)?.largest_bootstrapped;
        let start = Instant::now();
        let got = run.session.logits(run.model, run.tokens)?;
        let seconds = start.elapsed().as_secs_f64();
        let prompt = PromptBudget { tokens: run.tokens.len(), seconds, ..PromptBudget::of(&expected, &got)? };
        self.add_prompt(prompt, largest_bootstrapped);
        Ok(())
    }

    /// The value, or none for an escape, which is counted.
    fn inside<T>(&mut self, guarded: Guarded<T>) -> Option<T> {
        match guarded {
            Guarded::Inside(value) => Some(value),
            Guarded::Escaped(message) => {
                eprintln!("escape: {message}");
                self.escapes += 1;
                self.escaped += 1;
                None
            }
        }
    }

    /// Adds one prompt's entries tap by tap.
    fn add(
        &mut self,
        r0: &Taps,
        r1: &Taps,
        predicted: &Predicted,
        run: &[Tensor],
        names: &[String],
    ) -> Result<(), ConformError> {
        self.factor = predicted.bounds.factor;
        if self.taps.is_empty() {
            self.taps = names.iter().map(|name| TapBudget { name: name.clone(), ..TapBudget::default() }).collect();
        }
        for tap in &mut self.taps {
            let [r0, r1] = [of(r0, &tap.name)?, of(r1, &tap.name)?];
            let got = &tensor(run, &tap.name)?.values;
            let deviations =
                &predicted.estimates.tap(&tap.name).ok_or_else(|| missing(&tap.name, "optimized"))?.deviation;
            let lengths = [r0.len(), got.len(), deviations.len()];
            if let Some(&other) = lengths.iter().find(|&&length| length != r1.len()) {
                return Err(ConformError::Length { what: tap.name.clone(), expected: r1.len(), got: other });
            }
            let pairs = |f: &dyn Fn(usize) -> f64| (0..r1.len()).map(f).collect::<Vec<_>>();
            let errors = pairs(&|i| (got[i] - r1[i].mid).abs());
            tap.outside += errors
                .iter()
                .zip(deviations)
                .zip(r1)
                .filter(|((error, deviation), value)| **error > self.factor * **deviation + value.rad)
                .count();
            let before = tap.values;
            tap.approximation.include(before, &pairs(&|i| (r1[i].mid - r0[i].mid).abs()));
            tap.predicted.include(before, deviations);
            tap.measured.include(before, &errors);
            tap.values += r1.len();
        }
        Ok(())
    }

    fn add_prompt(&mut self, prompt: PromptBudget, largest_bootstrapped: f64) {
        self.escapes += usize::from(largest_bootstrapped > 1.0);
        self.prompts.push(PromptBudget { largest_bootstrapped, ..prompt });
    }
}

/// One prompt and those who work on it.
struct Run<'a> {
    reference: &'a Reference,
    model: &'a Model,
    session: &'a Encrypted,
    tokens: &'a [u32],
}

impl PromptBudget {
    /// The part of it that logits of R1 and of an encrypted run decide.
    fn of(expected: &[f64], got: &[f64]) -> Result<Self, ConformError> {
        if expected.len() != got.len() || got.len() < 2 {
            return Err(ConformError::Length { what: "logits".to_owned(), expected: expected.len(), got: got.len() });
        }
        let errors: Vec<f64> = got.iter().zip(expected).map(|(a, b)| (a - b).abs()).collect();
        let best = largest(expected);
        let second = expected.iter().enumerate().filter(|(i, _)| *i != best).map(|(_, x)| *x);
        Ok(Self {
            tokens: 0,
            tapped: false,
            max_error: errors.iter().copied().fold(0.0, f64::max),
            mse: errors.iter().map(|e| e * e).sum::<f64>() / errors.len() as f64,
            margin: expected[best] - second.fold(f64::NEG_INFINITY, f64::max),
            same_token: largest(got) == best,
            largest_bootstrapped: 0.0,
            seconds: 0.0,
        })
    }
}

fn of<'a>(taps: &'a Taps, name: &str) -> Result<&'a [Certified], ConformError> {
    taps.get(name).map(Vec::as_slice).ok_or_else(|| missing(name, "reference"))
}

fn tensor<'a>(taps: &'a [Tensor], name: &str) -> Result<&'a Tensor, ConformError> {
    taps.iter().find(|tensor| tensor.name == name).ok_or_else(|| missing(name, "optimized"))
}

fn missing(name: &str, side: &'static str) -> ConformError {
    ConformError::MissingTap { tap: name.to_owned(), side }
}

fn largest(values: &[f64]) -> usize {
    values.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::record::tests::request;
    use super::*;
    use std::collections::BTreeMap;

    fn certified(values: &[f64]) -> Taps {
        let entry = |&mid: &f64| Certified { mid, rad: 0.0 };
        Taps::from([("logits".to_owned(), values.iter().map(entry).collect())])
    }

    /// `r[record.budget]`: errors are sorted by cause, and one beyond its bound is counted.
    #[test]
    fn a_value_outside_its_bound_is_counted() {
        use touchstone_llm::backend::slots::{Prediction, Predictions};
        let tensor = |values: Vec<f64>| Tensor { name: "logits".to_owned(), shape: vec![2], values };
        let prediction = Prediction { tensor: tensor(vec![1.0, 2.0]), deviation: vec![1e-3, 1e-3], level: 0 };
        let predicted = Predicted {
            estimates: Predictions { taps: vec![prediction], largest_bootstrapped: 0.5 },
            bounds: touchstone_llm::bounds::Bounds { taps: Vec::new(), factor: 10.0 },
            fresh: BTreeMap::new(),
        };
        let mut budget = Budget::new(&request().1).unwrap();
        let (r0, r1) = (certified(&[1.5, 2.0]), certified(&[1.0, 2.0]));
        // The first error is 9 deviations, the second 11.
        let run = [tensor(vec![1.009, 2.011])];
        budget.add(&r0, &r1, &predicted, &run, &["logits".to_owned()]).unwrap();
        budget.add_prompt(PromptBudget::of(&[1.0, 2.0], &run[0].values).unwrap(), 0.5);
        assert_eq!((budget.outside(), budget.same(), budget.escapes), (1, 1, 0));
        let record = serde_json::to_value(&budget).unwrap();
        assert_eq!(record["format"], "touchstone-budget-1");
        assert_eq!(record["taps"][0]["approximation"]["max"], 0.5);
        assert_eq!(record["prompts"][0]["margin"], 1.0);
    }
}
