//! `touchstone run`: the whole protocol in one process, and how far its result is from the model in the clear.

use super::batched::{self, BatchOptions};
use super::passes::{Client, Pass, Plans};
use super::plan::{bytes, gibibytes};
use super::predicted::Comparison;
use super::profile::ProfileOptions;
use super::{Common, Steps, classify, describe, hexadecimal, kept, peak_bytes, tokenise, within_context};
use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use serde::Serialize;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Instant;
use tokenizers::Tokenizer;
use touchstone_llm::artifact::{Model, load_config};
use touchstone_llm::profile::Profile;
use touchstone_llm::sampling::{Choice, Draws};
use touchstone_spec::artifact::AnyConfig;

const PROMPT: &str = "Once upon a time there was a poor";

/// Arguments of `touchstone run`.
#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    pub(super) common: Common,
    /// Text to continue
    #[arg(long, value_name = "TEXT", default_value = PROMPT)]
    pub(super) prompt: OsString,
    /// Token ids in place of a text: for models without a tokenizer
    #[arg(long, value_name = "IDS", value_delimiter = ',', conflicts_with = "prompt")]
    pub(super) token_ids: Option<Vec<u32>>,
    #[command(flatten)]
    pub(super) batch: BatchOptions,
    /// Tokens to generate: one pass over the prompt, then one decoding step per token behind an encrypted key-value cache
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) max_new_tokens: u16,
    /// Compute every token by a full pass over the prompt so far, without a cache
    #[arg(long)]
    pub(super) no_cache: bool,
    /// Pick among the most likely tokens of this total probability [default: the most likely token]
    #[arg(long, value_name = "P")]
    top_p: Option<f64>,
    /// What logits are divided by before picking among several tokens
    #[arg(long, value_name = "T", default_value_t = 1.0, requires = "top_p")]
    temperature: f64,
    /// Print one JSON object on standard output instead of text
    #[arg(long)]
    pub(super) json: bool,
    /// Write the decrypted logits of the last pass as a JSON array
    #[arg(long, value_name = "FILE")]
    pub(super) logits: Option<PathBuf>,
    #[command(flatten)]
    pub(super) profile: ProfileOptions,
    /// Draw keys and noise from this seed instead of the operating system: no security, repeatable
    #[arg(long, value_name = "HEX", value_parser = hexadecimal)]
    pub(super) insecure_seed: Option<u128>,
    /// Keep the run here after each block, its secret seed too, and go on from there if killed
    #[arg(long, value_name = "DIR")]
    pub(super) checkpoint: Option<PathBuf>,
    /// What to compute [default: next-token for decoders, classify for encoders]
    #[arg(long, value_enum)]
    task: Option<Task>,
    /// Memory that the run may take, such as 20G: a run that is predicted to need more is refused, what is left holds caches
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    memory: Option<u64>,
}

/// What a model is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Task {
    /// The token that follows a prompt.
    NextToken,
    /// The class of a text.
    Classify,
}

/// What is printed.
#[derive(Debug, Serialize)]
struct Outcome {
    prompt_tokens: Vec<u32>,
    new_tokens: Vec<u32>,
    /// None for a prompt of token ids.
    text: Option<String>,
    fidelity: Fidelity,
    /// Passes in order, one per new token.
    passes: Vec<Pass>,
    bootstraps: usize,
    seconds: f64,
    phases: Phases,
    predicted: Option<Comparison>,
    peak_bytes: Option<u64>,
    parameters: String,
}

/// Decrypted logits against the polynomial model in binary64, of one pass or over all.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Fidelity {
    pub(super) max_abs_error: f64,
    /// Largest bound.
    pub(super) bound: f64,
    /// How it was found.
    pub(super) bound_kind: BoundKind,
    /// Largest root-sum-square standard deviation (`r[noise.rss]`).
    pub(super) estimate: f64,
    pub(super) mse: f64,
    pub(super) token_unchanged: bool,
}

/// Where a bound on errors comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum BoundKind {
    /// Composed layer by layer, whatever the dependence of errors (`r[noise.layer]`).
    Composed,
    /// The factor of `r[noise.bound.slot]` times the root-sum-square estimate, which takes errors as independent (`r[noise.rss]`): where
    /// composition over many layers has left the intervals of the polynomials and says nothing.
    RootSumSquare,
}

impl std::fmt::Display for BoundKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Composed => "composed",
            Self::RootSumSquare => "root-sum-square",
        })
    }
}

/// Seconds by phase.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Phases {
    pub(super) predict: f64,
    pub(super) keygen: f64,
    pub(super) encrypt: f64,
    pub(super) compute: f64,
    pub(super) decrypt: f64,
}

impl Run {
    /// Runs the command.
    pub fn execute(self) -> Result<()> {
        let (batched, classifies) = (self.batch.wanted()?, self.classifies()?);
        anyhow::ensure!(!(batched && classifies), "--packing: expected packed for an encoder, got batched");
        if classifies {
            classify::execute(&self)
        } else if batched {
            batched::execute(&self)
        } else {
            self.generate()
        }
    }

    /// Continues a prompt with a decoder.
    fn generate(mut self) -> Result<()> {
        let start = Instant::now();
        let model = self.common.load()?;
        let (tokenizer, prompt) = self.tokens(&model)?;
        let choice = self.choice()?;
        self.insecure_seed = kept::seed(&self)?;
        let steps = Steps::new();
        let parameters = self.common.parameters()?;
        let plans = Plans::find(&self, &model, &parameters)?;
        let mut client = Client::new(&self, (&model, &parameters), &plans, &steps)?;
        let recording = self.profile.recording();
        let (new_tokens, passes) = self.passes(&mut client, &prompt, choice)?;
        drop(recording);
        steps.finish();
        let outcome = Outcome {
            text: tokenizer.as_ref().map(|tokenizer| decode(tokenizer, &new_tokens)).transpose()?,
            prompt_tokens: prompt,
            new_tokens,
            fidelity: merge(&passes.iter().map(|pass| pass.fidelity).collect::<Vec<_>>()),
            bootstraps: passes.iter().map(|pass| pass.bootstraps).sum(),
            passes,
            seconds: start.elapsed().as_secs_f64(),
            phases: client.phases,
            predicted: client.compared(peak_bytes()),
            peak_bytes: peak_bytes(),
            parameters: describe(&parameters),
        };
        self.report(&outcome, client.profile.as_ref())?;
        kept::remove(&self, &client.checkpoints)
    }

    /// The prompt, and the tokenizer that it needed; refuses more new tokens than the context has room for.
    fn tokens(&self, model: &Model) -> Result<(Option<Tokenizer>, Vec<u32>)> {
        let (tokenizer, prompt) = match &self.token_ids {
            Some(ids) => (None, within_context(model, ids.clone())?),
            None => {
                let tokenizer = self.common.tokenizer()?;
                let prompt = tokenise(&tokenizer, model, &self.prompt)?;
                (Some(tokenizer), prompt)
            }
        };
        let limit = model.config.max_position_embeddings + 1 - prompt.len();
        anyhow::ensure!(
            usize::from(self.max_new_tokens) <= limit,
            "--max-new-tokens: expected at most {limit} after a prompt of {} tokens, got {}",
            prompt.len(),
            self.max_new_tokens
        );
        Ok((tokenizer, prompt))
    }

    /// Generates token after token and writes the logits of each where they are wanted.
    fn passes(&self, client: &mut Client<'_>, prompt: &[u32], choice: Choice) -> Result<(Vec<u32>, Vec<Pass>)> {
        let mut draws = self.insecure_seed.map_or_else(Draws::from_os, |seed| Ok(Draws::new(seed)))?;
        let (mut tokens, mut passes) = (prompt.to_vec(), Vec::new());
        for number in 0..self.max_new_tokens {
            let (logits, pass) = client.pass(self, number, &tokens, (choice, draws.draw()))?;
            tokens.push(pass.token);
            passes.push(pass);
            if let Some(path) = &self.logits {
                let text = serde_json::to_string(&logits)?;
                std::fs::write(path, text).with_context(|| format!("{}", path.display()))?;
            }
        }
        Ok((tokens.split_off(prompt.len()), passes))
    }

    fn report(&self, outcome: &Outcome, profile: Option<&Profile>) -> Result<()> {
        if self.json {
            println!("{}", serde_json::to_string(outcome)?);
        } else {
            self.print(outcome);
        }
        let Some(profile) = profile else { return Ok(()) };
        self.profile.report(&format!("touchstone run, {} tokens", outcome.prompt_tokens.len()), profile)?;
        if let Some(predicted) = outcome.predicted.as_ref().filter(|_| self.profile.printed()) {
            predicted.print_nodes();
        }
        Ok(())
    }

    /// Refuses options that a run of a batch does not have.
    pub(super) fn refuse_with_batch(&self) -> Result<()> {
        let given = [
            ("--max-new-tokens", self.max_new_tokens > 1),
            ("--top-p", self.top_p.is_some()),
            ("--checkpoint", self.checkpoint.is_some()),
            ("--memory", self.memory.is_some()),
            ("--logits", self.logits.is_some()),
        ];
        match given.iter().find(|(_, given)| *given) {
            Some((option, _)) => anyhow::bail!("{option}: expected only together with --packing packed"),
            None => Ok(()),
        }
    }

    /// Whether the model is an encoder, which `--task` must agree with.
    fn classifies(&self) -> Result<bool> {
        let directory = self.common.directory();
        let config = load_config(&directory).with_context(|| format!("model {}", directory.display()))?;
        let task = match config {
            AnyConfig::Encoder(_) => Task::Classify,
            AnyConfig::Decoder(_) => Task::NextToken,
        };
        let name = |task: Task| if task == Task::Classify { "classify" } else { "next-token" };
        if let Some(wanted) = self.task.filter(|wanted| *wanted != task) {
            anyhow::bail!("--task: expected {} for the model at hand, got {}", name(task), name(wanted));
        }
        Ok(task == Task::Classify)
    }

    /// Refuses a run that is predicted to need more than `--memory`.
    pub(super) fn refuse_memory(&self, predicted: &Comparison) -> Result<()> {
        self.memory.map_or(Ok(()), |limit| predicted.require(limit))
    }

    /// Bytes for caches: what `--memory` leaves; none without it.
    pub(super) fn cache_bytes(&self, predicted: &Comparison) -> usize {
        self.memory.map_or(0, |limit| predicted.left(limit))
    }

    fn choice(&self) -> Result<Choice> {
        Ok(self.top_p.map_or(Ok(Choice::Greedy), |p| Choice::top_p(p, self.temperature))?)
    }

    fn print(&self, outcome: &Outcome) {
        match &outcome.text {
            Some(text) => {
                println!("prompt      {:?} ({} tokens)", self.prompt, outcome.prompt_tokens.len());
                println!("next        {text:?} (tokens {:?})", outcome.new_tokens);
            }
            None => {
                println!("prompt      {} tokens", outcome.prompt_tokens.len());
                println!("next        tokens {:?}", outcome.new_tokens);
            }
        }
        outcome.fidelity.print("token");
        outcome.phases.print(outcome.seconds);
        print_passes(&outcome.passes);
        println!("bootstraps  {}", outcome.bootstraps);
        match (&outcome.predicted, outcome.peak_bytes) {
            (Some(predicted), _) => predicted.print(),
            (None, Some(peak)) => println!("memory      {} at most", gibibytes(peak as usize)),
            (None, None) => (),
        }
        println!("parameters  {}", outcome.parameters);
    }
}

impl Fidelity {
    /// One line; `what` the largest logit decides.
    pub(super) fn print(&self, what: &str) {
        let Self { max_abs_error, bound, bound_kind, estimate, mse, token_unchanged } = self;
        println!(
            "fidelity    logits within {max_abs_error:.2e} of the model in the clear ({bound_kind} bound {bound:.2e}, \
             estimate {estimate:.2e}, mean square {mse:.2e}); {what} {}",
            if *token_unchanged { "unchanged" } else { "CHANGED" }
        );
    }
}

impl Phases {
    /// One line.
    pub(super) fn print(&self, seconds: f64) {
        println!(
            "time        {seconds:.1} s: keys {:.1}, encryption {:.1}, computation {:.1}, decryption {:.1}, prediction {:.1}",
            self.keygen, self.encrypt, self.compute, self.decrypt, self.predict
        );
    }
}

/// Seconds per token, if there are several.
fn print_passes(passes: &[Pass]) {
    let [first, later @ ..] = passes else { return };
    let Some(next) = later.first() else { return };
    let seconds = || later.iter().map(|pass| pass.compute);
    println!(
        "per token   {} {:.1} s, then {} {:.1} s each ({:.1} to {:.1})",
        first.kind,
        first.compute,
        next.kind,
        seconds().sum::<f64>() / later.len() as f64,
        seconds().fold(f64::INFINITY, f64::min),
        seconds().fold(0.0, f64::max)
    );
}

pub(super) fn decode(tokenizer: &Tokenizer, tokens: &[u32]) -> Result<String> {
    tokenizer.decode(tokens, false).map_err(|error| anyhow::anyhow!("tokenizer.json: {error}"))
}

pub(super) fn merge(passes: &[Fidelity]) -> Fidelity {
    let largest = |value: fn(&Fidelity) -> f64| passes.iter().map(value).fold(0.0, f64::max);
    Fidelity {
        max_abs_error: largest(|pass| pass.max_abs_error),
        bound: largest(|pass| pass.bound),
        bound_kind: match passes.iter().all(|pass| pass.bound_kind == BoundKind::Composed) {
            true => BoundKind::Composed,
            false => BoundKind::RootSumSquare,
        },
        estimate: largest(|pass| pass.estimate),
        mse: passes.iter().map(|pass| pass.mse).sum::<f64>() / passes.len() as f64,
        token_unchanged: passes.iter().all(|pass| pass.token_unchanged),
    }
}
