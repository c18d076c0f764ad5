//! `reference eval`: one function in interval arithmetic.

use clap::{Args, Subcommand, ValueEnum};
use rug::float::Round;
use serde_json::json;
use touchstone_reference::interval::Interval;
use touchstone_reference::model::{Form, Norm, layer_norm, power_softmax};
use touchstone_reference::rungs::exact;
use touchstone_spec::artifact::Function;
use touchstone_spec::hexfloat::HexFloat;

/// Functions of `reference eval`; numbers are read as binary64.
#[derive(Subcommand)]
pub enum Eval {
    /// Attention weights of one row of live scores.
    PowerSoftmax {
        /// Even power p.
        #[arg(long, default_value_t = 4)]
        p: u32,
        /// Added to the denominator.
        #[arg(long, default_value_t = 1e-3)]
        eps: f64,
        /// Which form; the ideal one ignores eps.
        #[arg(long, value_enum, default_value_t = FormName::Mean)]
        form: FormName,
        /// Added to the largest magnitude in the stable form.
        #[arg(long, default_value_t = 1e-6)]
        delta: f64,
        #[command(flatten)]
        input: Input,
    },
    /// LayerNorm with gain 1 and offset 0.
    LayerNorm {
        /// Added to the variance.
        #[arg(long, default_value_t = 1e-5)]
        eps: f64,
        #[command(flatten)]
        input: Input,
    },
    /// GELU in its erf form, of each number.
    Gelu {
        #[command(flatten)]
        input: Input,
    },
    /// 1 / sqrt(x + shift), of each number.
    InverseSqrt {
        /// Added to the argument.
        #[arg(long, default_value_t = 0.0)]
        shift: f64,
        #[command(flatten)]
        input: Input,
    },
    /// 1 / (x + shift), of each number.
    Reciprocal {
        /// Added to the argument.
        #[arg(long, default_value_t = 0.0)]
        shift: f64,
        #[command(flatten)]
        input: Input,
    },
}

/// Input and output format.
#[derive(Args)]
pub struct Input {
    /// Numbers, separated by commas.
    #[arg(long, value_delimiter = ',', num_args = 1, allow_hyphen_values = true, required = true)]
    x: Vec<f64>,
    /// Bits of the interval ends.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(2..=4096))]
    precision: u32,
    /// Print JSON with hexadecimal floats.
    #[arg(long)]
    json: bool,
}

/// Forms of Power-Softmax.
#[derive(Clone, Copy, ValueEnum)]
pub enum FormName {
    /// eps on the mean.
    Mean,
    /// eps on the sum.
    Sum,
    /// No eps.
    Ideal,
    /// The mean form on scores divided by their largest magnitude.
    Stable,
}

pub fn run(arguments: &Eval) -> anyhow::Result<()> {
    let (input, values) = match arguments {
        Eval::PowerSoftmax { p, eps, form, delta, input } => {
            let form = match form {
                FormName::Mean => Form::Mean,
                FormName::Sum => Form::Sum,
                FormName::Ideal => Form::Ideal,
                FormName::Stable => Form::Stable { delta: *delta },
            };
            (input, power_softmax(form, &input.points(), *p, *eps, input.precision)?)
        }
        Eval::LayerNorm { eps, input } => {
            let size = input.x.len();
            let norm = Norm { gamma: vec![1.0; size], beta: vec![0.0; size] };
            (input, layer_norm(&input.points(), &norm, *eps, input.precision)?)
        }
        Eval::Gelu { input } => (input, input.map(&Function::Gelu)),
        Eval::InverseSqrt { shift, input } => (input, input.map(&Function::InverseSqrt { shift: HexFloat(*shift) })),
        Eval::Reciprocal { shift, input } => (input, input.map(&Function::Reciprocal { shift: HexFloat(*shift) })),
    };
    if let Some(index) = values.iter().position(|value| !value.is_finite()) {
        anyhow::bail!("entry {index}: the function has no value at {}", input.x[index]);
    }
    input.print(&values)
}

impl Input {
    fn points(&self) -> Vec<Interval> {
        self.x.iter().map(|&x| Interval::from_f64(x, self.precision)).collect()
    }

    fn map(&self, function: &Function) -> Vec<Interval> {
        self.points().iter().map(|x| exact(function, x, self.precision)).collect()
    }

    /// One line per value, or JSON in which midpoints are binary64 and radii cover that rounding too.
    fn print(&self, values: &[Interval]) -> anyhow::Result<()> {
        if !self.json {
            for value in values {
                println!("{value:.30}");
            }
            return Ok(());
        }
        let entries: Vec<_> = values
            .iter()
            .map(|value| {
                let midpoint = value.mid().to_f64();
                let off = (value - &Interval::from_f64(midpoint, self.precision.max(64))).magnitude();
                let radius = off.to_f64_round(Round::Up);
                json!({ "midpoint": HexFloat(midpoint).to_string(), "radius": HexFloat(radius).to_string() })
            })
            .collect();
        println!("{}", serde_json::to_string_pretty(&json!({ "values": entries }))?);
        Ok(())
    }
}
