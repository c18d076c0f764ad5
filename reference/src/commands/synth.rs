//! `reference synth`: a polynomial model of any shape with weights drawn from a seed.

use super::card::{file_name, report};
use anyhow::{Context, ensure};
use clap::Args;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use touchstone_reference::export::{Calibration, Prompts, Ranges, Targets, Trained, calibrate, replace_at};
use touchstone_reference::model::read_config;
use touchstone_reference::synth::{Resize, write_weights};

/// Degrees of the shipped four-layer model, so that a synthetic model costs as much as a trained one of its shape.
const DEGREES: [usize; 3] = [63, 127, 31];
/// Prompts of one to four tokens for each one of the full length: where rows are short, denominators spread most.
const SHORT_PROMPTS: usize = 32;

/// Arguments of `reference synth`.
#[derive(Args)]
pub struct Synth {
    /// Shape of the model: a config.json, GPT-NeoX, BERT or RoBERTa.
    #[arg(long)]
    config: PathBuf,
    /// Seed of the weights.
    #[arg(long)]
    seed: u64,
    /// Directory to write.
    #[arg(long)]
    out: PathBuf,
    /// Number of blocks, if another one than the config's.
    #[arg(long)]
    layers: Option<usize>,
    /// Longest prompt, if another one than the config's.
    #[arg(long)]
    tokens: Option<usize>,
    /// Size of the vocabulary, if another one than the config's.
    #[arg(long)]
    vocab: Option<usize>,
    /// Random prompts of the full length for calibration; short ones are added, and a quarter as many for the comparison.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(4..))]
    prompts: u16,
    /// Factor between observed ranges and certified intervals.
    #[arg(long, default_value_t = 1.5)]
    margin: f64,
}

pub fn run(arguments: &Synth) -> anyhow::Result<()> {
    ensure!(arguments.margin >= 1.0, "--margin: expected at least 1, got {}", arguments.margin);
    let resize = Resize { layers: arguments.layers, tokens: arguments.tokens, vocabulary: arguments.vocab };
    let config = resize.apply(read_config(&arguments.config)?)?;
    let out = &arguments.out;
    fs::create_dir_all(out).with_context(|| format!("creating {}", out.display()))?;
    let put = |name: &str, content: String| {
        let path = out.join(name);
        fs::write(&path, content).with_context(|| format!("writing {}", path.display()))
    };
    put("config.json", serde_json::to_string_pretty(&config)? + "\n")?;
    write_weights(&config, arguments.seed, &out.join("model.safetensors"))?;
    let model = Trained::load(out)?;
    let model = model.network();
    let full = usize::from(arguments.prompts);
    let draw = |full: usize, seed| {
        let counts = [full, full * SHORT_PROMPTS];
        Prompts::uniform(model.vocabulary(), model.context(), model.padding(), counts, seed)
    };
    // Seeds of the prompts differ from one another and from those of a neighbouring model.
    let seed = arguments.seed.wrapping_mul(2);
    let (prompts, held_out) = (draw(full, seed), [draw(full / 4, seed.wrapping_add(1))]);
    eprintln!("calibrating on {}", prompts.description);
    let description =
        format!("{}, denominators of all layers together, margin {}", prompts.description, arguments.margin);
    let mut ranges = calibrate(model, &[prompts])?;
    pool_denominators(&mut ranges);
    let calibration = Calibration { ranges, ceilings: BTreeMap::new(), margin: arguments.margin, description };
    let [inverse_sqrt, reciprocal, activation] = DEGREES;
    let targets = Targets { inverse_sqrt, reciprocal, activation, ..Targets::default() };
    let (polynomials, agreements) = replace_at(model, &calibration, &held_out, &targets)?;
    let report = report(&polynomials, &held_out, &agreements);
    put("polynomials.json", serde_json::to_string_pretty(&polynomials)? + "\n")?;
    put(
        "README.md",
        format!(
            "# {}\n\n{}\n\nCalibration: {}.\n\n{report}\n",
            file_name(out),
            origin(arguments),
            polynomials.calibration
        ),
    )?;
    println!("{report}");
    Ok(())
}

/// Gives all reciprocals the range of all denominators: layers are drawn alike, so that a rare large denominator of one
/// may appear in any.
fn pool_denominators(ranges: &mut Ranges) {
    let is_denominator = |site: &str| site.ends_with(".reciprocal");
    let mut all = [f64::INFINITY, f64::NEG_INFINITY];
    for (_, [low, high]) in ranges.iter().filter(|(site, _)| is_denominator(site)) {
        all = [all[0].min(*low), all[1].max(*high)];
    }
    ranges.iter_mut().filter(|(site, _)| is_denominator(site)).for_each(|(_, ends)| *ends = all);
}

fn origin(arguments: &Synth) -> String {
    let mut options = String::new();
    let given = [("layers", arguments.layers), ("tokens", arguments.tokens), ("vocab", arguments.vocab)];
    for (name, value) in given.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        options += &format!(" --{name} {value}");
    }
    format!(
        "Weights drawn from a seed: this model has learnt nothing and has no tokenizer. It serves to measure time, memory \
         and error at this shape. Written by\n\n```sh\ncargo reference synth --config {} --seed {} --out {} --prompts {} \
         --margin {}{options}\n```",
        arguments.config.display(),
        arguments.seed,
        arguments.out.display(),
        arguments.prompts,
        arguments.margin,
    )
}
