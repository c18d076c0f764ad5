//! `touchstone plan`: what a run will do and take, before there are weights, keys or data.

mod print;

pub(super) use print::gibibytes;

use super::{Common, describe};
use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use std::path::Path;
use touchstone_ckks::Parameters;
use touchstone_llm::LlmError;
use touchstone_llm::plan::calibrate::{Calibrations, calibrate};
use touchstone_llm::plan::costs::Units;
use touchstone_llm::plan::forecast::Forecast;
use touchstone_llm::plan::outline::{Degrees, Outline};
use touchstone_spec::artifact::{AnyConfig, MAX_JSON_BYTES, Polynomials};

/// Tokens that are planned for where nothing says how many.
const TOKENS: usize = 128;

/// Arguments of `touchstone plan`. `--model` may also name a config.json, for a model without weights and polynomials.
#[derive(Debug, Args)]
pub struct Plan {
    #[command(flatten)]
    common: Common,
    /// Tokens of the prompt [default: the model's context, or 128 for a config.json]
    #[arg(long, value_name = "L", value_parser = clap::value_parser!(u32).range(1..))]
    tokens: Option<u32>,
    /// Memory that the run may take, such as 20G, 8GiB or a number of bytes
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    memory: Option<u64>,
    /// Degrees of inverse square roots, reciprocals and activations where there is no polynomials.json
    #[arg(long, value_name = "D,D,D", value_parser = degrees, default_value = "63,127,31")]
    degrees: Degrees,
    /// Measure unit costs on this machine first, a few seconds, and keep them for later plans and runs
    #[arg(long)]
    calibrate: bool,
    /// Print one JSON object on standard output instead of text
    #[arg(long)]
    json: bool,
}

/// What is planned for.
struct Planned {
    forecast: Forecast,
    tokens: usize,
    parameters: Parameters,
    threads: usize,
    /// Whether unit costs were measured on this machine.
    calibrated: bool,
    memory: Option<u64>,
}

impl Plan {
    /// Runs the command.
    pub fn execute(self) -> Result<()> {
        self.common.start_threads()?;
        let parameters = self.common.parameters()?;
        let threads = rayon::current_num_threads();
        if self.calibrate {
            keep(threads, calibrate(&parameters)?)?;
        }
        let (outline, tokens) = self.outline(parameters.slots())?;
        let circuit = outline.circuit(parameters.slots(), tokens)?;
        let requirements = circuit.requirements(&parameters)?;
        let (units, calibrated) = known_units(threads);
        let forecast = Forecast::new(&circuit, &parameters, &requirements, units)?;
        let planned = Planned { forecast, tokens, parameters, threads, calibrated, memory: self.memory };
        if self.json { planned.print_json() } else { planned.print() }
    }

    /// Shapes and replacements of the model, and the tokens to plan for.
    fn outline(&self, slots: usize) -> Result<(Outline, usize)> {
        let path = self.common.directory();
        let with_path = || format!("model {}", path.display());
        let read = |file: &Path| -> Result<String> {
            let size = std::fs::metadata(file).map_err(LlmError::io(file))?.len();
            ensure!(size <= MAX_JSON_BYTES, "{}: expected at most {MAX_JSON_BYTES} bytes, got {size}", file.display());
            Ok(std::fs::read_to_string(file).map_err(LlmError::io(file))?)
        };
        let is_config = path.is_file();
        let config = if is_config { path.clone() } else { path.join("config.json") };
        let mut config = AnyConfig::from_json(&read(&config).with_context(with_path)?).with_context(with_path)?;
        let context = match &config {
            AnyConfig::Decoder(config) => config.max_position_embeddings,
            AnyConfig::Encoder(config) => config.max_tokens(),
        };
        let default = if is_config { TOKENS.min(context) } else { context };
        let tokens = self.tokens.map_or(default, |tokens| tokens as usize);
        if tokens > context {
            bail!("--tokens: expected at most {context}, the model's context, got {tokens}");
        }
        if let (AnyConfig::Decoder(config), true) = (&mut config, is_config) {
            // A model of this shape is made with a context of that many tokens.
            config.max_position_embeddings = rows(config.num_attention_heads, config.head_size(), tokens, slots);
        }
        let polynomials = path.join("polynomials.json");
        let polynomials = match !is_config && polynomials.exists() {
            true => Polynomials::from_json_for(&read(&polynomials)?, &config.site_names()).with_context(with_path)?,
            false => self.degrees.typical(&config),
        };
        Ok((Outline::new(&config, polynomials), tokens))
    }
}

/// Tokens of the shortest rows that hold a prompt and have at most as many replicas as tokens.
fn rows(heads: usize, head_size: usize, tokens: usize, slots: usize) -> usize {
    let channels = heads.next_power_of_two() * (head_size / 2).next_power_of_two();
    let mut rows = tokens.next_power_of_two();
    while rows * rows * channels < slots {
        rows *= 2;
    }
    rows
}

/// Unit costs of this machine with so many threads, or the defaults; and whether they were measured here.
pub(super) fn known_units(threads: usize) -> (Units, bool) {
    let Some(path) = Calibrations::file() else { return (Units::default(), false) };
    match Calibrations::read(&path) {
        Ok(known) => known.units(threads).map_or((Units::default(), false), |units| (units, true)),
        Err(error) => {
            eprintln!("warning: {error}; predictions use the built-in unit costs");
            (Units::default(), false)
        }
    }
}

/// Keeps measured unit costs.
fn keep(threads: usize, units: Units) -> Result<()> {
    let path = Calibrations::file().context("--calibrate: expected XDG_CACHE_HOME or HOME to be set")?;
    // A damaged file is replaced.
    let mut known = Calibrations::read(&path).unwrap_or_default();
    known.insert(threads, units);
    known.write(&path)?;
    eprintln!("unit costs written to {}: {}", path.display(), serde_json::to_string(&units)?);
    Ok(())
}

/// A number of bytes, with a unit or not.
pub(super) fn bytes(text: &str) -> std::result::Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: f64 = digits.parse().map_err(|_| format!("expected a number of bytes such as 20G, got {text:?}"))?;
    let unit = match &text[digits.len()..] {
        "" | "B" => 0,
        "K" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        "T" | "TiB" => 40,
        unit => return Err(format!("expected a unit of B, K, M, G or T, got {unit:?}")),
    };
    let bytes = number * f64::from(unit).exp2();
    if !(0.0..1e18).contains(&bytes) {
        return Err(format!("expected up to 10^18 bytes, got {text:?}"));
    }
    Ok(bytes as u64)
}

fn degrees(text: &str) -> std::result::Result<Degrees, String> {
    let refuse = || format!("expected three degrees from 1 to 4095 separated by commas, got {text:?}");
    let numbers: Vec<usize> = text.split(',').map(str::parse).collect::<Result<_, _>>().map_err(|_| refuse())?;
    match numbers[..] {
        [inverse_sqrt, reciprocal, activation] if numbers.iter().all(|degree| (1..4096).contains(degree)) => {
            Ok(Degrees { inverse_sqrt, reciprocal, activation })
        }
        _ => Err(refuse()),
    }
}
