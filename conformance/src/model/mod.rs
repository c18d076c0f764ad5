//! Model cases: the exact model, the polynomial model and the decrypted encrypted run, tap by tap.
//!
//! R0 and R1 come from the reference in interval arithmetic. The encrypted run and its predicted errors come from the
//! optimised side, which knows nothing of the reference. All prompts are the user's or cut from a held-out text.

pub mod budget;
mod encrypted;
mod exact;
mod ladder;
mod packings;
mod prompts;

use crate::case::{Case, Cost};
use crate::metrics::{TokenVerdict, compare_token};
use crate::{CaseOutcome, ConformError, Options, Verdict};
use encrypted::{Encrypted, Model, Predicted};
use ladder::Bounded;
use std::cell::OnceCell;
use std::rc::Rc;
use touchstone_llm::tap::Tensor;

/// Prompt of the tap cases where the user gives none: 32 tokens of the shipped model's tokenizer.
pub const DEFAULT_PROMPT: &str =
    "Once upon a time there was a poor woodcutter who lived with his wife and two children on the edge of a great wood";
/// Preset of encrypted model cases.
const PRESET: &str = "n16-leveled";

/// All model cases.
#[must_use]
pub fn cases() -> Vec<Case> {
    let session: Rc<OnceCell<Encrypted>> = Rc::default();
    let held_out = Rc::clone(&session);
    vec![
        Case::new(
            "model/circuit-in-the-clear".to_owned(),
            "conform.bound",
            "The packed circuit on plain slots (R3p) against R1 at every tap, within the predicted error bound; R0 \
             against R1 within the width of widened R0. Nothing is encrypted."
                .to_owned(),
            Cost::Quick,
            in_the_clear,
        ),
        Case::new(
            "model/taps".to_owned(),
            "conform.bound",
            format!(
                "The decrypted encrypted run (R4, {PRESET}) against R1 at every tap: within the bound that the reference composes \
                 from the declared fresh errors (noise.layer), and not far below the estimate (noise.too-little)."
            ),
            Cost::Long,
            move |options| taps(options, &session),
        ),
        Case::new(
            "model/packings".to_owned(),
            "packing.twins",
            "The batched twin and the packed circuit under encryption at N = 2^8, without security: two prompts, every tap of \
             both within its bound of R1, and of each other within the sum of the bounds."
                .to_owned(),
            Cost::Quick,
            packings::run,
        ),
        Case::new(
            "model/held-out".to_owned(),
            "conform.token",
            format!("Predicted token and logits of encrypted runs ({PRESET}) against R1 on held-out prompts."),
            Cost::Long,
            move |options| held_out_prompts(options, &held_out),
        ),
    ]
}

fn side(side: &'static str, operation: impl ToString, error: impl ToString) -> ConformError {
    ConformError::Side { side, operation: operation.to_string(), message: error.to_string() }
}

fn missing_model(options: &Options) -> Option<CaseOutcome> {
    let config = options.model.join("config.json");
    let message = format!("no model: {} does not exist", config.display());
    (!config.exists()).then(|| CaseOutcome::new(Verdict::Skip, message, 0))
}

/// The session of the encrypted cases: keys are generated once, when the first case needs them.
fn session<'a>(cell: &'a OnceCell<Encrypted>, model: &Model, options: &Options) -> Result<&'a Encrypted, ConformError> {
    if cell.get().is_none() {
        let _ = cell.set(Encrypted::new(model, PRESET, options.seed)?);
    }
    cell.get().ok_or_else(|| side("optimized", "keys", "were not made"))
}

fn in_the_clear(options: &Options) -> Result<CaseOutcome, ConformError> {
    let mut outcome = one_prompt(options, false, |_, predicted, _| {
        Ok(predicted.estimates.taps.iter().map(|tap| tap.tensor.clone()).collect())
    })?;
    if outcome.verdict == Verdict::Pass {
        // Nothing was encrypted, so the slack of a noise bound says nothing; the message has the count.
        outcome.taps.clear();
    }
    Ok(outcome)
}

fn taps(options: &Options, cell: &OnceCell<Encrypted>) -> Result<CaseOutcome, ConformError> {
    let mut outcome = one_prompt(options, true, |model, _, tokens| session(cell, model, options)?.taps(model, tokens))?;
    outcome.facts.extend(cell.get().map(Encrypted::facts).unwrap_or_default());
    Ok(outcome)
}

/// The ladder of the prompt of the options, with the values of the run under test from `run`; `noisy` if it was encrypted.
fn one_prompt(
    options: &Options,
    noisy: bool,
    run: impl FnOnce(&Model, &Predicted, &[u32]) -> Result<Vec<Tensor>, ConformError>,
) -> Result<CaseOutcome, ConformError> {
    if let Some(skip) = missing_model(options) {
        return Ok(skip);
    }
    let model = Model::load(&options.model)?;
    let reference = exact::Reference::load(&options.model)?;
    let tokens = reference.tokens(&options.prompt)?;
    let rungs = match reference.rungs(&tokens)? {
        exact::Rungs::Inside(rungs) => rungs,
        exact::Rungs::Escaped(message) => return Ok(CaseOutcome::new(Verdict::Escape, message, 1)),
    };
    let predicted = model.predict(PRESET, &tokens)?;
    let bounded = Bounded::new(&reference, rungs, predicted)?;
    let got = run(&model, &bounded.predicted, &tokens)?;
    ladder::outcome(&bounded, &got, &tokens, noisy)
}

fn held_out_prompts(options: &Options, cell: &OnceCell<Encrypted>) -> Result<CaseOutcome, ConformError> {
    if let Some(skip) = missing_model(options) {
        return Ok(skip);
    }
    let Some(file) = &options.prompts_file else {
        let message = "no held-out text: pass --prompts-file FILE".to_owned();
        return Ok(CaseOutcome::new(Verdict::Skip, message, 0));
    };
    let model = Model::load(&options.model)?;
    let reference = exact::Reference::load(&options.model)?;
    let session = session(cell, &model, options)?;
    let mut tally = Tally::default();
    for (index, tokens) in prompts::cut(file, &reference, options.prompts)?.iter().enumerate() {
        let rungs = match reference.rungs(tokens)? {
            exact::Rungs::Inside(rungs) => rungs,
            exact::Rungs::Escaped(message) => {
                return Ok(CaseOutcome::new(Verdict::Escape, format!("prompt {index}: {message}"), index + 1));
            }
        };
        let bounded = Bounded::new(&reference, rungs, model.predict(PRESET, tokens)?)?;
        let got = session.logits(&model, tokens)?;
        tally.add(&bounded, &got, tokens)?;
        eprintln!("  prompt {index}: {} tokens, largest error {:.3e}", tokens.len(), tally.errors[index]);
    }
    let mut outcome = tally.outcome();
    outcome.facts.extend(session.facts());
    Ok(outcome)
}

/// Results over prompts.
#[derive(Default)]
struct Tally {
    errors: Vec<f64>,
    squares: f64,
    values: usize,
    same: usize,
    undecided: usize,
    undecided_agree: usize,
    failures: Vec<String>,
}

impl Tally {
    fn add(&mut self, bounded: &Bounded, got: &[f64], tokens: &[u32]) -> Result<(), ConformError> {
        let index = self.errors.len();
        let expected = ladder::expected(bounded, "logits")?;
        self.failures.extend(ladder::disagreement(bounded, "logits")?.map(|text| format!("prompt {index}: {text}")));
        let comparison = crate::metrics::compare("logits", &expected, got)?;
        if !comparison.conforms() {
            let (error, bound) = (comparison.worst_error, comparison.worst_allowance);
            self.failures
                .push(format!("prompt {index}: logit {} off by {error:e}, bound {bound:e}", comparison.worst_index));
        }
        match compare_token(&expected, got)? {
            TokenVerdict::Same => self.same += 1,
            TokenVerdict::Undecided { agrees } => {
                self.undecided += 1;
                self.undecided_agree += usize::from(agrees);
            }
            TokenVerdict::Different => self.failures.push(format!("prompt {index} ({tokens:?}): another token")),
        }
        self.errors.push(comparison.max_error);
        self.squares += comparison.rms * comparison.rms * got.len() as f64;
        self.values += got.len();
        Ok(())
    }

    fn outcome(self) -> CaseOutcome {
        let count = self.errors.len();
        if count == 0 {
            return CaseOutcome::new(Verdict::Skip, "the text gave no prompts".to_owned(), 0);
        }
        let largest = self.errors.iter().copied().fold(0.0, f64::max);
        let mean = self.errors.iter().sum::<f64>() / count as f64;
        let mse = self.squares / self.values as f64;
        let verdict = match (self.failures.is_empty(), self.same) {
            (false, _) => Verdict::Fail,
            (true, 0) => Verdict::Undecided,
            (true, _) => Verdict::Pass,
        };
        let summary = format!(
            "same token on {} of {} prompts with decided margin, {} undecided of which {} agree; largest error of a \
             logit {largest:.3e}, mean over prompts of the largest error {mean:.3e}, mean squared error {mse:.3e}",
            self.same,
            count - self.undecided,
            self.undecided,
            self.undecided_agree
        );
        let message = self.failures.iter().fold(summary.clone(), |text, failure| format!("{text}; {failure}"));
        let mut outcome = CaseOutcome::new(verdict, message, count);
        outcome.facts.insert("prompts".to_owned(), summary);
        outcome
    }
}
