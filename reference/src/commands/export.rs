//! `reference export`: from a trained model to a polynomial-model directory.

use anyhow::{Context, ensure};
use clap::Args;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use touchstone_reference::export::{Agreement, Prompts, calibrate, replace};
use touchstone_reference::model::{load, load_tokenizer};
use touchstone_spec::artifact::{ErrorKind, Function, ModelConfig, Polynomials, Site};

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
    /// Windows drawn from the calibration text; as many short prompts are added.
    #[arg(long, default_value_t = 4000)]
    windows: usize,
    /// Windows drawn from the held-out text; as many short prompts are added.
    #[arg(long, default_value_t = 100)]
    held_out_windows: usize,
    /// Factor between observed ranges and certified intervals.
    #[arg(long, default_value_t = 1.5)]
    margin: f64,
    /// Text that opens the model card: origin, training and licence, in Markdown.
    #[arg(long)]
    card: Option<PathBuf>,
}

pub fn run(arguments: &Export) -> anyhow::Result<()> {
    ensure!(arguments.margin >= 1.0, "--margin: expected at least 1, got {}", arguments.margin);
    let model = load(&arguments.source)?;
    let tokenizer = load_tokenizer(&arguments.source)?;
    let context = model.config.max_position_embeddings;
    let read = |path: &Path| fs::read_to_string(path).with_context(|| format!("reading {}", path.display()));
    let text = read(&arguments.calibration)?;
    let prompts = Prompts::draw(&tokenizer, &text, context, arguments.windows)?;
    let held_out_text = arguments.held_out.as_deref().map_or_else(|| Ok(text.clone()), read)?;
    let held_out = Prompts::draw(&tokenizer, &held_out_text, context, arguments.held_out_windows)?;
    eprintln!("calibrating on {} sequences of {context} tokens", prompts.windows.len());
    let ranges = calibrate(&model, &prompts)?;
    let calibration = format!(
        "{} sequences of {context} tokens ({} windows of {} and as many short prompts repeated cyclically), margin {}",
        prompts.windows.len(),
        prompts.windows.len() / 2,
        file_name(&arguments.calibration),
        arguments.margin
    );
    let (polynomials, agreement) = replace(&model, &ranges, &held_out, arguments.margin, &calibration)?;
    write(arguments, &model.config, &polynomials, &agreement)?;
    println!("{}", table(&polynomials));
    println!("{}", summary(&agreement));
    Ok(())
}

fn write(
    arguments: &Export,
    config: &ModelConfig,
    polynomials: &Polynomials,
    agreement: &Agreement,
) -> anyhow::Result<()> {
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
    let opening = match &arguments.card {
        Some(path) => fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?,
        None => format!("# {}\n", file_name(&arguments.out)),
    };
    put("README.md", card(arguments, &opening, polynomials, agreement).as_bytes())
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// The model card: the given opening, then what was measured and how.
fn card(arguments: &Export, opening: &str, polynomials: &Polynomials, agreement: &Agreement) -> String {
    let held_out = arguments.held_out.as_deref().unwrap_or(&arguments.calibration);
    format!(
        "{}\n\n## Polynomial replacements\n\nCalibration: {}.\n\n{}\n{}\n\nThe polynomials and this section were \
         written by\n\n```sh\ncargo reference export --source DIR/{} --calibration DIR/{} --held-out DIR/{} --out {} \
         --windows {} --held-out-windows {} --margin {} --card CARD\n```\n",
        opening.trim_end(),
        polynomials.calibration,
        table(polynomials),
        summary(agreement),
        file_name(&arguments.source),
        file_name(&arguments.calibration),
        file_name(held_out),
        arguments.out.display(),
        arguments.windows,
        arguments.held_out_windows,
        arguments.margin,
    )
}

fn summary(agreement: &Agreement) -> String {
    let Agreement { prompts, max_difference, same_token, escapes } = agreement;
    format!(
        "Against the exact functions on {prompts} held-out prompts (half of them windows, half short prompts repeated \
         cyclically; binary64, logits of the last prompt position): largest difference of a logit {max_difference:.2e}, \
         same most likely token in {same_token}, inputs outside their interval in {escapes}."
    )
}

fn table(polynomials: &Polynomials) -> String {
    let mut text =
        String::from("| site | observed | certified on | degree | certified error |\n|---|---|---|---|---|\n");
    for site in &polynomials.sites {
        let [observed, interval] = [site.observed, site.interval].map(|ends| ends.map(|x| format!("{:.5}", x.0)));
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "| {} ({}) | {} .. {} | {} .. {} | {} | {:.3e} {} |",
            site.site,
            formula(site),
            observed[0],
            observed[1],
            interval[0],
            interval[1],
            site.coefficients.len() - 1,
            site.sup_error.0,
            match site.error_kind {
                ErrorKind::Absolute => "absolute",
                ErrorKind::Relative => "relative",
            }
        );
    }
    text
}

fn formula(site: &Site) -> String {
    match site.function {
        Function::InverseSqrt { shift } => format!("1 / sqrt(x + {:e})", shift.0),
        Function::Reciprocal { shift } => format!("1 / (x + {:e})", shift.0),
        Function::Gelu => "GELU".to_owned(),
    }
}
