//! `reference model`: a whole model on one prompt, with certified radii or, in fixed point, with a bound of the rounding.

use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};
use std::time::Instant;
use touchstone_reference::ckks::Parameters;
use touchstone_reference::error::ReferenceError;
use touchstone_reference::export::Trained;
use touchstone_reference::interval::Interval;
use touchstone_reference::model::{
    EncoderInput, Ring, cyclic, encode, encoder_forward, forward, load_encoder_polynomials, load_polynomials,
    load_tokenizer,
};
use touchstone_reference::rungs::{Exact, Fixed, Homomorphic, Replaced, Rung, Widened};
use touchstone_spec::params::ParameterLiteral;

/// Rungs of `reference model`.
#[derive(Clone, Copy, ValueEnum)]
enum RungName {
    /// The exact functions.
    R0,
    /// The artifact's polynomials.
    R1,
    /// The exact functions widened by the certified errors.
    Widened,
    /// The artifact's polynomials in fixed point, with the levels and scales of a preset.
    R2,
}

/// Arguments of `reference model`.
#[derive(Args)]
pub struct Run {
    /// Model directory.
    #[arg(long)]
    model: PathBuf,
    /// Text whose continuation is scored, or which is classified.
    #[arg(long, required_unless_present = "tokens")]
    prompt: Option<String>,
    /// Token ids in place of a text, for models without a tokenizer.
    #[arg(long, value_delimiter = ',', conflicts_with = "prompt")]
    tokens: Vec<u32>,
    /// What replaces the functions.
    #[arg(long, value_enum, default_value_t = RungName::R0)]
    rung: RungName,
    /// Bits of the interval ends.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(24..=4096))]
    precision: u32,
    /// Preset whose levels and scales R2 uses.
    #[arg(long, default_value = "toy-n5-deep")]
    preset: String,
    /// Extend the prompt cyclically to the full context, as encrypted inference does.
    #[arg(long)]
    pad: bool,
    /// Number of logits to print.
    #[arg(long, default_value_t = 5)]
    top: usize,
}

pub fn run(arguments: &Run) -> anyhow::Result<()> {
    let model = Trained::load(&arguments.model)?;
    let (prompt, tokenizer) = match &arguments.prompt {
        Some(text) => {
            let tokenizer = load_tokenizer(&arguments.model)?;
            (encode(&tokenizer, text)?, Some(tokenizer))
        }
        None => (arguments.tokens.clone(), None),
    };
    anyhow::ensure!(!prompt.is_empty(), "--prompt: expected at least one token, got none");
    let context = model.network().context();
    anyhow::ensure!(prompt.len() <= context, "--prompt: expected at most {context} tokens, got {}", prompt.len());
    let tokens = if arguments.pad { cyclic(&prompt, context) } else { prompt.clone() };
    let replaced = || replaced(&model, &arguments.model);
    let text = Text { tokens: &tokens, live: prompt.len() };
    let start = Instant::now();
    let exact = |rung: &dyn Rung<Interval>| logits(&model, text, rung, arguments.precision);
    let values = match arguments.rung {
        RungName::R0 => exact(&Exact)?,
        RungName::R1 => exact(&replaced()?)?,
        RungName::Widened => exact(&Widened(replaced()?))?,
        RungName::R2 => {
            let params = Parameters::new(&ParameterLiteral::preset(&arguments.preset)?)?;
            let values = logits::<Homomorphic<Fixed>>(&model, text, &replaced()?, &params)?;
            values.iter().map(enclosure).collect::<anyhow::Result<_>>()?
        }
    };
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&i, &j| values[j].mid().total_cmp(&values[i].mid()));
    for &index in order.iter().take(arguments.top) {
        // A class of an encoder is no token.
        let text = tokenizer.as_ref().filter(|_| matches!(model, Trained::Decoder(_)));
        let text = text.and_then(|tokenizer| tokenizer.decode(&[index as u32], false).ok());
        println!("{index:6}  {:<14} {:.20}", text.map_or_else(String::new, |text| format!("{text:?}")), values[index]);
    }
    eprintln!("{} tokens in {:.2} s", tokens.len(), start.elapsed().as_secs_f64());
    Ok(())
}

/// Tokens, of which the first so many are the prompt.
#[derive(Clone, Copy)]
struct Text<'a> {
    tokens: &'a [u32],
    live: usize,
}

/// Logits of the token after the prompt, or of an encoder's classes.
fn logits<S: Ring>(
    model: &Trained,
    text: Text<'_>,
    rung: &dyn Rung<S>,
    numbers: S::Context,
) -> Result<Vec<S>, ReferenceError> {
    let count = text.tokens.len();
    match model {
        Trained::Decoder(model) => forward(model, text.tokens, text.live - 1, rung, numbers, &mut ()),
        Trained::Encoder(model) => {
            let mask: Vec<bool> = (0..count).map(|i| i < text.live).collect();
            let input = EncoderInput { tokens: text.tokens, types: &vec![0; count], mask: &mask };
            encoder_forward(model, &input, rung, numbers, &mut ())
        }
    }
}

/// The replacements in a model's directory.
fn replaced(model: &Trained, directory: &Path) -> anyhow::Result<Replaced> {
    let polynomials = match model {
        Trained::Decoder(model) => load_polynomials(directory, &model.config)?,
        Trained::Encoder(model) => load_encoder_polynomials(directory, &model.config)?,
    };
    Ok(model.network().replaced(&polynomials)?)
}

/// The value of R2 with its bound: an enclosure of the value of R1.
fn enclosure(logit: &Homomorphic<Fixed>) -> anyhow::Result<Interval> {
    let fixed = logit.number()?;
    let value = fixed.exact_value();
    let radius = rug::Float::with_val(value.prec(), fixed.error());
    Ok(Interval::from_float(&value, value.prec()).widen(&radius))
}
