//! `reference export`: from a trained model to a polynomial-model directory.

use super::card::{file_name, report};
use anyhow::{Context, bail, ensure};
use clap::Args;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use touchstone_reference::export::{
    Calibration, Prompts, Targets, Trained, calibrate, first_layer_denominator, replace,
};
use touchstone_reference::model::load_tokenizer;
use touchstone_spec::artifact::{AnyConfig, Polynomials};

/// Seeds of the rare-token prompts for calibration and for the comparison.
const SEEDS: [u64; 2] = [1, 2];

/// Arguments of `reference export`.
#[derive(Args)]
pub struct Export {
    /// Directory of the trained model: config.json, model.safetensors, tokenizer.json.
    #[arg(long)]
    source: PathBuf,
    /// Text for calibration, stories separated by <|endoftext|>.
    #[arg(long)]
    calibration: PathBuf,
    /// Text for the comparison with the exact model; the calibration text by default.
    #[arg(long)]
    held_out: Option<PathBuf>,
    /// Directory to write.
    #[arg(long)]
    out: PathBuf,
    /// Windows drawn from the calibration text; short prompts and prompts of rare tokens are added.
    #[arg(long, default_value_t = 4000)]
    windows: usize,
    /// Windows drawn from the held-out text; short prompts and prompts of rare tokens are added.
    #[arg(long, default_value_t = 100)]
    held_out_windows: usize,
    /// Factor between observed ranges and certified intervals.
    #[arg(long, default_value_t = 1.5)]
    margin: f64,
    /// Let the first layer's denominators reach their maximum over all prompts instead of a margin beyond those seen;
    /// the work grows with the square of the vocabulary.
    #[arg(long)]
    every_prompt: bool,
    /// Largest admitted difference of a logit on the held-out prompts.
    #[arg(long, default_value_t = Targets::default().logits)]
    logit_target: f64,
    /// Largest degrees of inverse square roots, reciprocals and activations.
    #[arg(long, num_args = 3, value_names = ["INVERSE_SQRT", "RECIPROCAL", "ACTIVATION"])]
    degrees: Option<Vec<usize>>,
    /// Text that opens the model card: origin, training and licence, in Markdown.
    #[arg(long)]
    card: Option<PathBuf>,
}

pub fn run(arguments: &Export) -> anyhow::Result<()> {
    ensure!(arguments.margin >= 1.0, "--margin: expected at least 1, got {}", arguments.margin);
    let trained = Trained::load(&arguments.source)?;
    let model = trained.network();
    let tokenizer = load_tokenizer(&arguments.source)?;
    let draw = |path: &Path, windows: usize, seed: u64| -> anyhow::Result<[Prompts; 2]> {
        let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let natural = Prompts::natural(&tokenizer, &text, model.context(), model.padding(), windows)?;
        let rare = Prompts::rare(&natural, model.vocabulary(), seed);
        Ok([natural, rare])
    };
    let prompts = draw(&arguments.calibration, arguments.windows, SEEDS[0])?;
    let held_out = draw(held_out_path(arguments), arguments.held_out_windows, SEEDS[1])?;
    let calibration = measure(arguments, &trained, &prompts)?;
    let (polynomials, agreements) = replace(model, &calibration, &held_out, &targets(arguments))?;
    let report = report(&polynomials, &held_out, &agreements);
    write(arguments, &trained.config(), &polynomials, &report)?;
    println!("{report}");
    Ok(())
}

fn targets(arguments: &Export) -> Targets {
    let mut targets = Targets { logits: arguments.logit_target, ..Targets::default() };
    if let Some(&[inverse_sqrt, reciprocal, activation]) = arguments.degrees.as_deref() {
        targets = Targets { inverse_sqrt, reciprocal, activation, ..targets };
    }
    targets
}

fn held_out_path(arguments: &Export) -> &Path {
    arguments.held_out.as_deref().unwrap_or(&arguments.calibration)
}

/// Ranges of all sites, and the first layer's largest denominator if asked for.
fn measure(arguments: &Export, trained: &Trained, prompts: &[Prompts; 2]) -> anyhow::Result<Calibration> {
    let [natural, rare] = prompts;
    let (count, context) = (natural.windows.len() + rare.windows.len(), trained.network().context());
    eprintln!("calibrating on {count} sequences of {context} tokens");
    let ranges = calibrate(trained.network(), prompts)?;
    let mut description = format!(
        "{count} sequences of {context} tokens ({}: {}; rare tokens: {}), margin {}",
        file_name(&arguments.calibration),
        natural.description,
        rare.description,
        arguments.margin
    );
    let mut ceilings = BTreeMap::new();
    if arguments.every_prompt {
        let Trained::Decoder(model) = trained else { bail!("--every-prompt: expected a decoder, got an encoder") };
        let most = first_layer_denominator(model)?;
        description += &format!("; the first layer's denominators are at most {most:.5} on any prompt");
        ceilings.insert("layers.0.reciprocal".to_owned(), most);
    }
    Ok(Calibration { ranges, ceilings, margin: arguments.margin, description })
}

fn write(arguments: &Export, config: &AnyConfig, polynomials: &Polynomials, report: &str) -> anyhow::Result<()> {
    fs::create_dir_all(&arguments.out).with_context(|| format!("creating {}", arguments.out.display()))?;
    let put = |name: &str, content: &[u8]| {
        let path = arguments.out.join(name);
        fs::write(&path, content).with_context(|| format!("writing {}", path.display()))
    };
    put("config.json", (serde_json::to_string_pretty(config)? + "\n").as_bytes())?;
    put("polynomials.json", (serde_json::to_string_pretty(polynomials)? + "\n").as_bytes())?;
    for name in ["model.safetensors", "tokenizer.json"] {
        let path = arguments.source.join(name);
        put(name, &fs::read(&path).with_context(|| format!("reading {}", path.display()))?)?;
    }
    let samples = arguments.source.join("sample-logits.json");
    if samples.exists() {
        put("sample-logits.json", &fs::read(&samples).with_context(|| format!("reading {}", samples.display()))?)?;
    }
    let opening = match &arguments.card {
        Some(path) => fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?,
        None => format!("# {}\n", file_name(&arguments.out)),
    };
    if arguments.card.is_some() {
        put("CARD.md", opening.as_bytes())?;
    }
    put("README.md", card(arguments, &opening, &polynomials.calibration, report).as_bytes())
}

/// The model card: the given opening, then what was measured and how.
fn card(arguments: &Export, opening: &str, calibration: &str, report: &str) -> String {
    let mut options = String::new();
    if arguments.logit_target != Targets::default().logits {
        options += &format!(" --logit-target {}", arguments.logit_target);
    }
    if let Some(degrees) = &arguments.degrees {
        let degrees: Vec<String> = degrees.iter().map(usize::to_string).collect();
        options += &format!(" --degrees {}", degrees.join(" "));
    }
    if arguments.every_prompt {
        options += " --every-prompt";
    }
    if arguments.card.is_some() {
        options += &format!(" --card {}/CARD.md", arguments.out.display());
    }
    format!(
        "{}\n\n## Polynomial replacements\n\nCalibration: {calibration}.\n\n{report}\n\nThis directory was written \
         by\n\n```sh\ncargo reference export --source DIR/{} --calibration DIR/{} --held-out DIR/{} --out {} --windows \
         {} --held-out-windows {} --margin {}{options}\n```\n",
        opening.trim_end(),
        file_name(&arguments.source),
        file_name(&arguments.calibration),
        file_name(held_out_path(arguments)),
        arguments.out.display(),
        arguments.windows,
        arguments.held_out_windows,
        arguments.margin,
    )
}
