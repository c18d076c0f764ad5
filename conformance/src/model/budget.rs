//! The error budget of a model over several prompts, layer by layer: approximation, predicted noise, measured noise.
//!
//! For models whose composed bounds (`r[noise.layer]`) say nothing any more: errors are held against the slot bound on the
//! root-sum-square deviation (`r[noise.rss]`, `r[noise.bound.slot]`), and a count tells how many lie outside.

use super::encrypted::{Encrypted, Model, Predicted};
use super::exact::{Certified, Reference, Rungs, Taps};
use super::{prompts, side};
use crate::ConformError;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use touchstone_llm::tap::Tensor;

/// Format name of the record.
const FORMAT: &str = "touchstone-budget-1";

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
    /// Seed of the keys.
    pub seed: u128,
}

/// Sizes of errors over entries and prompts.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Size {
    /// Largest absolute value.
    pub max: f64,
    /// Root mean square.
    pub rms: f64,
}

/// One tap over all prompts.
#[derive(Clone, Debug, Default, Serialize)]
pub struct TapBudget {
    /// Tap name.
    pub name: String,
    /// Entries compared.
    pub values: usize,
    /// R1 - R0: what the polynomials cost.
    pub approximation: Size,
    /// Predicted deviations of R4 - R1 (`r[noise.rss]`).
    pub predicted: Size,
    /// R4 - R1: noise and rounding, as decrypted.
    pub measured: Size,
    /// Entries whose error exceeds the slot bound on their predicted deviation.
    pub outside: usize,
}

/// One prompt.
#[derive(Clone, Debug, Serialize)]
pub struct PromptBudget {
    /// Number of tokens.
    pub tokens: usize,
    /// Largest error of a logit against R1.
    pub max_error: f64,
    /// Mean square error of the logits against R1.
    pub mse: f64,
    /// Difference between the two largest logits of R1.
    pub margin: f64,
    /// Whether R1 and the encrypted run predict the same token.
    pub same_token: bool,
    /// Largest part of a slot that entered a bootstrap; at most 1 (`r[boot.input]`).
    pub largest_bootstrapped: f64,
    /// Seconds of the encrypted run, taps decrypted.
    pub seconds: f64,
}

/// The record.
#[derive(Clone, Debug, Serialize)]
pub struct Budget {
    /// `touchstone-budget-1`.
    pub format: &'static str,
    /// Model directory.
    pub model: String,
    /// Parameter preset.
    pub preset: String,
    /// Facts of the run.
    pub facts: BTreeMap<String, String>,
    /// Standard deviations in a bound.
    pub factor: f64,
    /// Prompts with an input outside its certified interval, or a bootstrapped slot beyond 1; the former are not run.
    pub escapes: usize,
    /// Prompts that were run.
    pub prompts: Vec<PromptBudget>,
    /// Taps in the order of the graph.
    pub taps: Vec<TapBudget>,
}

impl Budget {
    /// Runs the prompts; `progress` sees the budget after each of them.
    ///
    /// # Errors
    /// [`ConformError::Side`] from either side, and whatever `progress` returns.
    pub fn measure(
        request: &Request,
        mut progress: impl FnMut(&Self) -> Result<(), ConformError>,
    ) -> Result<Self, ConformError> {
        let reference = Reference::load(&request.model)?;
        let model = Model::load(&request.model)?;
        let session = Encrypted::new(&model, &request.preset, request.seed)?;
        let mut budget = Self {
            format: FORMAT,
            model: request.model.display().to_string(),
            preset: request.preset.clone(),
            facts: session.facts(),
            factor: 0.0,
            escapes: 0,
            prompts: Vec::new(),
            taps: Vec::new(),
        };
        for tokens in prompts::cut(&request.text, &reference, request.prompts)? {
            match reference.pair(&tokens)? {
                Rungs::Escaped(message) => {
                    eprintln!("escape: {message}");
                    budget.escapes += 1;
                }
                Rungs::Inside(ladder) => {
                    let predicted = model.predict(&request.preset, &tokens)?;
                    let start = std::time::Instant::now();
                    let taps = session.taps(&model, &tokens)?;
                    let seconds = start.elapsed().as_secs_f64();
                    budget.add(&ladder.r0, &ladder.r1, &predicted, &taps, &ladder.names)?;
                    budget.add_prompt(&ladder.r1, &predicted, &taps, (tokens.len(), seconds))?;
                }
            }
            progress(&budget)?;
        }
        Ok(budget)
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

    fn add_prompt(
        &mut self,
        r1: &Taps,
        predicted: &Predicted,
        run: &[Tensor],
        (tokens, seconds): (usize, f64),
    ) -> Result<(), ConformError> {
        let expected: Vec<f64> = of(r1, "logits")?.iter().map(|value| value.mid).collect();
        let got = &tensor(run, "logits")?.values;
        let errors: Vec<f64> = got.iter().zip(&expected).map(|(a, b)| (a - b).abs()).collect();
        let best = largest(&expected);
        let second = expected.iter().enumerate().filter(|(i, _)| *i != best).map(|(_, x)| *x);
        let margin = expected.get(best).copied().unwrap_or(0.0) - second.fold(f64::NEG_INFINITY, f64::max);
        let largest_bootstrapped = predicted.estimates.largest_bootstrapped;
        self.escapes += usize::from(largest_bootstrapped > 1.0);
        self.prompts.push(PromptBudget {
            tokens,
            max_error: errors.iter().copied().fold(0.0, f64::max),
            mse: errors.iter().map(|e| e * e).sum::<f64>() / errors.len().max(1) as f64,
            margin,
            same_token: largest(got) == best,
            largest_bootstrapped,
            seconds,
        });
        Ok(())
    }

    /// Entries outside their bounds, over all taps.
    #[must_use]
    pub fn outside(&self) -> usize {
        self.taps.iter().map(|tap| tap.outside).sum()
    }

    /// Prompts whose predicted token is the polynomial model's.
    #[must_use]
    pub fn same(&self) -> usize {
        self.prompts.iter().filter(|prompt| prompt.same_token).count()
    }

    /// A table of the taps and one line on the prompts.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(
            out,
            "{:<38} {:>9} | {:>9} {:>9} | {:>9} {:>9} {:>9} | {:>7}",
            "tap", "values", "R1-R0 rms", "max", "predicted", "R4-R1 rms", "max", "outside"
        );
        for tap in &self.taps {
            let _ = writeln!(
                out,
                "{:<38} {:>9} | {:>9.2e} {:>9.2e} | {:>9.2e} {:>9.2e} {:>9.2e} | {:>7}",
                tap.name,
                tap.values,
                tap.approximation.rms,
                tap.approximation.max,
                tap.predicted.rms,
                tap.measured.rms,
                tap.measured.max,
                tap.outside
            );
        }
        let count = self.prompts.len();
        let mean = self.prompts.iter().map(|prompt| prompt.mse).sum::<f64>() / count.max(1) as f64;
        let most = self.prompts.iter().map(|prompt| prompt.max_error).fold(0.0, f64::max);
        let _ = writeln!(
            out,
            "{count} prompts: same token on {}, largest error of a logit {most:.2e}, mean square {mean:.2e}, {} escapes, \
             {} values outside {:.1} predicted deviations",
            self.same(),
            self.escapes,
            self.outside(),
            self.factor
        );
        out
    }
}

impl Size {
    /// Adds values to the sizes of `before` others.
    fn include(&mut self, before: usize, values: &[f64]) {
        let squares = self.rms * self.rms * before as f64 + values.iter().map(|x| x * x).sum::<f64>();
        self.rms = (squares / (before + values.len()).max(1) as f64).sqrt();
        self.max = values.iter().copied().fold(self.max, f64::max);
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

/// Writes the record, the earlier one staying in place until the new one is whole.
///
/// # Errors
/// [`ConformError::Side`] if the file cannot be written.
pub fn write(budget: &Budget, path: &Path) -> Result<(), ConformError> {
    let fail = |error: &dyn std::fmt::Display| side("optimized", path.display(), error);
    let text = serde_json::to_string_pretty(budget).map_err(|error| fail(&error))?;
    let part = path.with_extension("part");
    std::fs::write(&part, text + "\n").map_err(|error| fail(&error))?;
    std::fs::rename(&part, path).map_err(|error| fail(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certified(values: &[f64]) -> Taps {
        let entry = |&mid: &f64| Certified { mid, rad: 0.0 };
        Taps::from([("logits".to_owned(), values.iter().map(entry).collect())])
    }

    #[test]
    fn sizes_of_parts_make_the_size_of_the_whole() {
        let (mut parts, mut whole) = (Size::default(), Size::default());
        parts.include(0, &[3.0]);
        parts.include(1, &[4.0, 0.0, 12.0]);
        whole.include(0, &[3.0, 4.0, 0.0, 12.0]);
        assert_eq!((parts.max, whole.max), (12.0, 12.0));
        assert!((parts.rms - 6.5).abs() < 1e-12 && (whole.rms - 6.5).abs() < 1e-12);
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
        let mut budget = Budget {
            format: FORMAT,
            model: String::new(),
            preset: String::new(),
            facts: BTreeMap::new(),
            factor: 0.0,
            escapes: 0,
            prompts: Vec::new(),
            taps: Vec::new(),
        };
        let (r0, r1) = (certified(&[1.5, 2.0]), certified(&[1.0, 2.0]));
        // The first error is 9 deviations, the second 11.
        let run = [tensor(vec![1.009, 2.011])];
        budget.add(&r0, &r1, &predicted, &run, &["logits".to_owned()]).unwrap();
        budget.add_prompt(&r1, &predicted, &run, (3, 1.0)).unwrap();
        assert_eq!((budget.outside(), budget.same(), budget.escapes), (1, 1, 0));
        let record = serde_json::to_value(&budget).unwrap();
        assert_eq!(record["format"], "touchstone-budget-1");
        assert_eq!(record["taps"][0]["approximation"]["max"], 0.5);
        assert_eq!(record["prompts"][0]["margin"], 1.0);
    }
}
