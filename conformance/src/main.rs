//! `conform`: runs the conformance suite.

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use std::io::Write as _;
use std::io::{stdin, stdout};
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use touchstone_conformance::backend::child::{Child, Launch};
use touchstone_conformance::backend::engine::Engine;
use touchstone_conformance::backend::{Backend, serve};
use touchstone_conformance::case::{Case, Cost, Options};
use touchstone_conformance::coverage::Coverage;
use touchstone_conformance::model::budget::{Budget, Request, resume, write};
use touchstone_conformance::runner::{self, Progress};
use touchstone_conformance::{commands, model, report, vectors};
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
    /// List the rules of the book with what checks them, and those that nothing checks.
    Rules {
        /// Root of the repository.
        #[arg(long, default_value = ".")]
        root: PathBuf,
    },
    /// Measure the error budget of a model over held-out prompts, layer by layer; each prompt is an encrypted run.
    Budget(BudgetArgs),
    /// Speak the plug-in protocol on standard input and output, with the engine behind it.
    ServeEngine,
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
    /// Directory of the test vectors.
    #[arg(long, default_value = vectors::DIRECTORY)]
    vectors: PathBuf,
    /// Program that speaks the plug-in protocol; runs the vectors on it instead of the suite on the engine. Arguments follow
    /// the program, separated by spaces.
    #[arg(long)]
    backend: Option<String>,
    /// Seconds after which a silent backend counts as broken.
    #[arg(long, default_value_t = 60.0)]
    limit: f64,
    /// Check every line of the backend against the protocol.
    #[arg(long)]
    validate_protocol: bool,
    /// Where the JSON record goes.
    #[arg(long, default_value = "conform-record.json")]
    record: PathBuf,
}

#[derive(Args)]
struct BudgetArgs {
    /// Model directory.
    #[arg(long, default_value = "models/fairy-4l")]
    model: PathBuf,
    /// Parameter preset.
    #[arg(long, default_value = "n16-boot-deep")]
    preset: String,
    /// Text file from which held-out prompts are cut.
    #[arg(long)]
    prompts_file: PathBuf,
    /// Number of held-out prompts.
    #[arg(long, default_value_t = 20)]
    prompts: usize,
    /// How many of them, the first, are compared at every tap; of the others the logits are.
    #[arg(long, default_value_t = 20)]
    tapped: usize,
    /// Seed of the keys, hexadecimal.
    #[arg(long, default_value = "746f756368", value_parser = parse_seed)]
    seed: u128,
    /// Where the JSON record goes, brought up to date after every prompt; a record that is there is continued.
    #[arg(long, default_value = "budget-record.json")]
    record: PathBuf,
}

fn parse_seed(text: &str) -> Result<u128, String> {
    u128::from_str_radix(text.trim_start_matches("0x"), 16)
        .map_err(|_| format!("expected up to 32 hexadecimal digits, got {text:?}"))
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::List { pattern } => list(&pattern),
        Command::Explain { case } => explain(&case),
        Command::Run(args) => run(args),
        Command::Rules { root } => list_rules(&root),
        Command::Budget(args) => budget(args),
        Command::ServeEngine => serve_engine(),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(3)
    })
}

/// The suite on the engine, vectors included.
fn suite(directory: &Path) -> anyhow::Result<Vec<Case>> {
    let mut cases = runner::all_cases();
    cases.extend(vectors::cases(directory, Box::new(Engine::detect()))?);
    Ok(cases)
}

fn select(cases: Vec<Case>, pattern: &str, quick: bool) -> Vec<Case> {
    let wanted = |case: &Case| case.id.contains(pattern) && !(quick && case.cost == Cost::Long);
    cases.into_iter().filter(wanted).collect()
}

fn budget(args: BudgetArgs) -> anyhow::Result<ExitCode> {
    let BudgetArgs { model, preset, prompts_file: text, prompts, tapped, seed, record } = args;
    let request = Request { model, preset, text, prompts, tapped, seed };
    let budget = Budget::measure(&request, resume(&request, &record)?, |so_far| {
        so_far.prompts.last().into_iter().for_each(|last| eprintln!("prompt {}: {last}", so_far.done()));
        write(so_far, &record)
    })?;
    print!("{}", budget.text());
    let right = budget.escapes == 0 && budget.outside() == 0 && budget.same() == budget.prompts.len();
    Ok(if right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn serve_engine() -> anyhow::Result<ExitCode> {
    serve::serve(&mut Engine::detect(), stdin().lock(), stdout().lock())?;
    Ok(ExitCode::SUCCESS)
}

fn list_rules(root: &Path) -> anyhow::Result<ExitCode> {
    let coverage = Coverage::of_repository(root)?;
    print(&commands::rules::text(&coverage))?;
    let complete = coverage.unlisted().is_empty() && coverage.stale().is_empty();
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The outside backend of the command line.
fn child(args: &RunArgs, program: &str) -> anyhow::Result<Box<dyn Backend>> {
    let command = program.split_whitespace().map(str::to_owned).collect();
    anyhow::ensure!(args.limit > 0.0 && args.limit < 1e9, "--limit: expected seconds above 0, got {}", args.limit);
    let limit = Duration::from_secs_f64(args.limit);
    Ok(Box::new(Child::start(Launch { command, limit, validate: args.validate_protocol })?))
}

/// Prints to standard output; a reader that stops reading, such as `head`, is no error.
fn print(text: &str) -> anyhow::Result<()> {
    match stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("standard output"),
    }
}

fn nothing_selected(pattern: &str) -> ExitCode {
    eprintln!("no case id contains {pattern:?}; `conform list` prints the ids");
    ExitCode::from(4)
}

fn list(pattern: &str) -> anyhow::Result<ExitCode> {
    let cases = select(suite(Path::new(vectors::DIRECTORY))?, pattern, false);
    if cases.is_empty() {
        return Ok(nothing_selected(pattern));
    }
    let line = |case: &Case| {
        let cost = if case.cost == Cost::Long { " (minutes)" } else { "" };
        format!("{:<44} r[{}]{cost}\n", case.id, case.rule)
    };
    print(&cases.iter().map(line).collect::<String>())?;
    Ok(ExitCode::SUCCESS)
}

fn explain(id: &str) -> anyhow::Result<ExitCode> {
    let Some(case) = suite(Path::new(vectors::DIRECTORY))?.into_iter().find(|case| case.id == id) else {
        return Ok(nothing_selected(id));
    };
    println!("{}\n\n{}\n", case.id, case.about);
    if let Some(rule) = rules::find(case.rule) {
        println!("rule r[{}] (spec/book/{}):\n{}\n", rule.id, rule.chapter, rule.text);
    }
    println!("run it: cargo conform run --case {}", case.id);
    Ok(ExitCode::SUCCESS)
}

fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    let (all, name) = match &args.backend {
        None => (suite(&args.vectors)?, None),
        Some(program) => {
            let mut backend = child(&args, program)?;
            let name = vectors::greet(backend.as_mut())?;
            (vectors::cases(&args.vectors, backend)?, Some(name))
        }
    };
    let cases = select(all, &args.pattern, args.quick);
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
    let mut record = runner::run(&cases, &options, |progress| match progress {
        Progress::Start(id) => eprint!("{id} ... "),
        Progress::End(case) => eprintln!("{} ({:.1} s)", case.verdict.name(), case.seconds),
    });
    record.backend = name.unwrap_or(record.backend);
    print!("{}", report::text(&record));
    let json = serde_json::to_string_pretty(&record).context("writing the record as JSON")?;
    std::fs::write(&args.record, json + "\n").with_context(|| format!("writing {}", args.record.display()))?;
    println!("record: {}", args.record.display());
    Ok(ExitCode::from(runner::exit_code(&record)))
}
