//! Commands and what they share: model, prompt, parameters, progress.

mod batched;
mod classify;
mod files;
mod kept;
mod passes;
mod plan;
mod predicted;
mod profile;
mod run;

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};
use indicatif::ProgressBar;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;
use tokenizers::Tokenizer;
use touchstone_ckks::{Parameters, Security, Seed};
use touchstone_llm::LlmError;
use touchstone_llm::artifact::{Model, load_tokenizer, shipped_model};
use touchstone_spec::params::CLASSICAL_128_TERNARY;

/// Next-token inference of a Power-Softmax language model on an encrypted prompt.
#[derive(Debug, Parser)]
#[command(name = "touchstone", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Client and server in one process: encrypt a prompt, compute, decrypt, compare with the model in the clear.
    Run(run::Run),
    /// What a run will do and take: operations, bootstraps, time, keys and memory, without weights or data.
    Plan(plan::Plan),
    /// Client: generate secret.key, public.key and evaluation.keys.
    Keygen(files::Keygen),
    /// Client: encrypt a prompt under public.key.
    Encrypt(files::Encrypt),
    /// Server: compute encrypted logits from an encrypted prompt with the evaluation keys.
    Compute(files::Compute),
    /// Client: decrypt logits and name the next token.
    Decrypt(files::Decrypt),
}

impl Cli {
    /// Runs the command.
    pub fn execute(self) -> Result<()> {
        match self.command {
            Command::Run(run) => run.execute(),
            Command::Plan(plan) => plan.execute(),
            Command::Keygen(keygen) => keygen.execute(),
            Command::Encrypt(encrypt) => encrypt.execute(),
            Command::Compute(compute) => compute.execute(),
            Command::Decrypt(decrypt) => decrypt.execute(),
        }
    }
}

/// Model and parameters: client and server must agree on them.
#[derive(Debug, Args)]
struct Common {
    /// Model directory [default: the model that ships with the project]
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Parameter preset
    #[arg(long, value_name = "NAME", default_value = "n16-boot-deep")]
    preset: String,
    /// Accept presets without 128-bit security
    #[arg(long)]
    allow_toy: bool,
    /// Threads [default: one per processor]
    #[arg(long, value_name = "T", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
}

impl Common {
    fn directory(&self) -> PathBuf {
        self.model.clone().unwrap_or_else(shipped_model)
    }

    fn start_threads(&self) -> Result<()> {
        if let Some(threads) = self.threads {
            rayon::ThreadPoolBuilder::new().num_threads(usize::from(threads)).build_global().context("thread pool")?;
        }
        Ok(())
    }

    fn load(&self) -> Result<Model> {
        self.start_threads()?;
        let directory = self.directory();
        Model::load(&directory).with_context(|| format!("model {}", directory.display()))
    }

    fn tokenizer(&self) -> Result<Tokenizer> {
        let directory = self.directory();
        load_tokenizer(&directory).with_context(|| format!("model {}", directory.display()))
    }

    fn parameters(&self) -> Result<Parameters> {
        let security = if self.allow_toy { Security::AllowInsecure } else { Security::Enforce };
        Parameters::preset(&self.preset, security)
            .with_context(|| format!("parameter preset {} (see --preset and --allow-toy)", self.preset))
    }
}

/// A prompt argument as tokens, at least one and at most a context.
fn tokenise(tokenizer: &Tokenizer, model: &Model, prompt: &OsString) -> Result<Vec<u32>> {
    within_context(model, encode(tokenizer, prompt, false)?)
}

/// A text argument as tokens, with the tokens that mark its ends or without.
fn encode(tokenizer: &Tokenizer, prompt: &OsString, marked: bool) -> Result<Vec<u32>> {
    let refuse = |expected: String, got: String| LlmError::Prompt { expected, got };
    let text = prompt
        .to_str()
        .ok_or_else(|| refuse("text in UTF-8".to_owned(), format!("bytes that are not UTF-8: {prompt:?}")))?;
    let encoding = tokenizer.encode(text, marked).map_err(|error| refuse("text".to_owned(), error.to_string()))?;
    Ok(encoding.get_ids().to_vec())
}

/// Refuses a prompt that is empty or longer than the context.
fn within_context(model: &Model, tokens: Vec<u32>) -> Result<Vec<u32>> {
    let (count, limit) = (tokens.len(), model.config.max_position_embeddings);
    if !(1..=limit).contains(&count) {
        let (expected, got) = (format!("1 to {limit} tokens"), format!("{count} tokens"));
        return Err(LlmError::Prompt { expected, got }.into());
    }
    Ok(tokens)
}

/// The seed of `--insecure-seed`, or one from the operating system.
fn seed(insecure: Option<u128>) -> Result<Seed> {
    match insecure {
        Some(seed) => Ok(Seed::insecure(seed)),
        None => Ok(Seed::from_os()?),
    }
}

fn hexadecimal(text: &str) -> std::result::Result<u128, String> {
    u128::from_str_radix(text.trim_start_matches("0x"), 16).map_err(|error| error.to_string())
}

/// One line on the parameter set and its security.
fn describe(parameters: &Parameters) -> String {
    let limit = CLASSICAL_128_TERNARY.iter().find(|(log_n, _)| *log_n == parameters.log_n());
    let security = match (parameters.is_secure(), limit) {
        (true, Some((_, bits))) => format!("at most {bits} for 128-bit security"),
        _ => "insecure, for tests only".to_owned(),
    };
    let literal = parameters.literal();
    format!(
        "{}: N = 2^{}, {} levels, log2(QP) = {:.1} ({security})",
        literal.name,
        parameters.log_n(),
        parameters.max_level(),
        parameters.log_qp()
    )
}

/// Largest resident set so far, where the operating system tells.
fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

/// Progress on standard error: a spinner on a terminal, plain lines elsewhere.
struct Steps {
    spinner: Option<ProgressBar>,
}

impl Steps {
    fn new() -> Self {
        let spinner = std::io::stderr().is_terminal().then(ProgressBar::new_spinner);
        if let Some(spinner) = &spinner {
            spinner.enable_steady_tick(Duration::from_millis(120));
        }
        Self { spinner }
    }

    fn enter(&self, step: &str) {
        match &self.spinner {
            Some(spinner) => spinner.set_message(step.to_owned()),
            None => eprintln!("{step}"),
        }
    }

    /// Removes the spinner from the terminal.
    fn finish(&self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }
}
