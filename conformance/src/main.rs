//! `conform`: runs the conformance suite.

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use touchstone_conformance::case::{Case, Cost, Options};
use touchstone_conformance::runner::{self, Progress};
use touchstone_conformance::{model, report};
use touchstone_spec::rules;

#[derive(Parser)]
#[command(name = "conform", version, about = "Compares reference and optimized, layer by layer")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the cases.
    List {
        /// Only cases whose id contains this text.
        #[arg(long = "case", default_value = "")]
        pattern: String,
    },
    /// Say what a case checks, by which rule, and how to run it.
    Explain {
        /// Id of the case.
        case: String,
    },
    /// Run cases, print the table of errors and bounds, write a record.
    Run(RunArgs),
}

#[derive(Args)]
struct RunArgs {
    /// Only cases whose id contains this text.
    #[arg(long = "case", default_value = "")]
    pattern: String,
    /// Leave out the cases that take minutes.
    #[arg(long)]
    quick: bool,
    /// Draws per scheme case.
    #[arg(long, default_value_t = 1000)]
    draws: usize,
    /// Seed of all draws, hexadecimal.
    #[arg(long, default_value = "746f756368", value_parser = parse_seed)]
    seed: u128,
    /// Model directory.
    #[arg(long, default_value = "models/fairy-1l")]
    model: PathBuf,
    /// Prompt of the tap case.
    #[arg(long, default_value = model::DEFAULT_PROMPT)]
    prompt: String,
    /// Text file from which held-out prompts are cut.
    #[arg(long)]
    prompts_file: Option<PathBuf>,
    /// Number of held-out prompts.
    #[arg(long, default_value_t = 20)]
    prompts: usize,
    /// Where the JSON record goes.
    #[arg(long, default_value = "conform-record.json")]
    record: PathBuf,
}

fn parse_seed(text: &str) -> Result<u128, String> {
    u128::from_str_radix(text.trim_start_matches("0x"), 16)
        .map_err(|_| format!("expected up to 32 hexadecimal digits, got {text:?}"))
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::List { pattern } => Ok(list(&pattern)),
        Command::Explain { case } => Ok(explain(&case)),
        Command::Run(args) => run(args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(3)
    })
}

fn select(pattern: &str, quick: bool) -> Vec<Case> {
    let mut cases = runner::all_cases();
    cases.retain(|case| case.id.contains(pattern) && !(quick && case.cost == Cost::Long));
    cases
}

fn nothing_selected(pattern: &str) -> ExitCode {
    eprintln!("no case id contains {pattern:?}; `conform list` prints the ids");
    ExitCode::from(4)
}

fn list(pattern: &str) -> ExitCode {
    let cases = select(pattern, false);
    if cases.is_empty() {
        return nothing_selected(pattern);
    }
    for case in cases {
        let cost = if case.cost == Cost::Long { " (minutes)" } else { "" };
        println!("{:<44} r[{}]{cost}", case.id, case.rule);
    }
    ExitCode::SUCCESS
}

fn explain(id: &str) -> ExitCode {
    let Some(case) = runner::all_cases().into_iter().find(|case| case.id == id) else {
        return nothing_selected(id);
    };
    println!("{}\n\n{}\n", case.id, case.about);
    if let Some(rule) = rules::find(case.rule) {
        println!("rule r[{}] (spec/book/{}):\n{}\n", rule.id, rule.chapter, rule.text);
    }
    println!("run it: cargo conform run --case {}", case.id);
    ExitCode::SUCCESS
}

fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    let cases = select(&args.pattern, args.quick);
    if cases.is_empty() {
        return Ok(nothing_selected(&args.pattern));
    }
    let options = Options {
        draws: args.draws,
        seed: args.seed,
        model: args.model,
        prompts_file: args.prompts_file,
        prompts: args.prompts,
        prompt: args.prompt,
    };
    let record = runner::run(&cases, &options, |progress| match progress {
        Progress::Start(id) => eprint!("{id} ... "),
        Progress::End(case) => eprintln!("{} ({:.1} s)", case.verdict.name(), case.seconds),
    });
    print!("{}", report::text(&record));
    let json = serde_json::to_string_pretty(&record).context("writing the record as JSON")?;
    std::fs::write(&args.record, json + "\n").with_context(|| format!("writing {}", args.record.display()))?;
    println!("record: {}", args.record.display());
    Ok(ExitCode::from(runner::exit_code(&record)))
}
