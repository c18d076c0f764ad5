//! `reference model`: a whole model on one prompt, with certified radii.

use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::time::Instant;
use touchstone_reference::interval::Interval;
use touchstone_reference::model::{cyclic, encode, forward, load, load_polynomials, load_tokenizer};
use touchstone_reference::rungs::{Exact, Replaced, Rung, Widened};

/// Rungs of `reference model`.
#[derive(Clone, Copy, ValueEnum)]
enum RungName {
    /// The exact functions.
    R0,
    /// The artifact's polynomials.
    R1,
    /// The exact functions widened by the certified errors.
    Widened,
}

/// Arguments of `reference model`.
#[derive(Args)]
pub struct Run {
    /// Model directory.
    #[arg(long)]
    model: PathBuf,
    /// Text whose continuation is scored.
    #[arg(long)]
    prompt: String,
    /// What replaces the functions.
    #[arg(long, value_enum, default_value_t = RungName::R0)]
    rung: RungName,
    /// Bits of the interval ends.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(24..=4096))]
    precision: u32,
    /// Extend the prompt cyclically to the full context, as encrypted inference does.
    #[arg(long)]
    pad: bool,
    /// Number of logits to print.
    #[arg(long, default_value_t = 5)]
    top: usize,
}

pub fn run(arguments: &Run) -> anyhow::Result<()> {
    let model = load(&arguments.model)?;
    let tokenizer = load_tokenizer(&arguments.model)?;
    let prompt = encode(&tokenizer, &arguments.prompt)?;
    anyhow::ensure!(!prompt.is_empty(), "--prompt: expected at least one token, got none");
    let context = model.config.max_position_embeddings;
    anyhow::ensure!(prompt.len() <= context, "--prompt: expected at most {context} tokens, got {}", prompt.len());
    let tokens = if arguments.pad { cyclic(&prompt, context) } else { prompt.clone() };
    let replaced = || -> anyhow::Result<Replaced> {
        Ok(Replaced::new(&model.config, &load_polynomials(&arguments.model, &model.config)?)?)
    };
    let rung: Box<dyn Rung<Interval>> = match arguments.rung {
        RungName::R0 => Box::new(Exact),
        RungName::R1 => Box::new(replaced()?),
        RungName::Widened => Box::new(Widened(replaced()?)),
    };
    let start = Instant::now();
    let logits = forward(&model, &tokens, prompt.len() - 1, rung.as_ref(), arguments.precision, &mut ())?;
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&i, &j| logits[j].mid().total_cmp(&logits[i].mid()));
    for &token in order.iter().take(arguments.top) {
        let text = tokenizer.decode(&[token as u32], false).unwrap_or_default();
        println!("{token:6}  {:<14} {:.20}", format!("{text:?}"), logits[token]);
    }
    eprintln!("{} tokens in {:.2} s", tokens.len(), start.elapsed().as_secs_f64());
    Ok(())
}
