//! `reference eval`: one function in interval arithmetic, from flags or from JSON.

use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::io::Read;
use std::path::PathBuf;
use touchstone_reference::eval::{Answer, decimal, evaluate};
use touchstone_spec::artifact::MAX_JSON_BYTES;
use touchstone_spec::vector::Call;

/// Evaluates one operation and prints midpoint and certified radius.
///
/// Numbers are hexadecimal floats (0x1.8p+1) or decimal; decimal ones are rounded to binary64 first. Entries of a vector
/// are separated by commas, rows of a matrix by semicolons.
#[derive(Args)]
pub struct Eval {
    #[command(subcommand)]
    operation: Option<Operation>,
    /// Read {"op": ..., "inputs": {...}} from this file, or from standard input if it is "-".
    #[arg(long)]
    input: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

/// How the result is computed and printed.
#[derive(Args)]
struct Output {
    /// Bits of the interval ends, 24 to 4096.
    #[arg(long, global = true, default_value_t = 128)]
    precision: u32,
    /// Print {"shape": [...], "mid": [...], "rad": "..."}: every entry lies within rad of its midpoint.
    #[arg(long, global = true)]
    json: bool,
}

/// Operations; the fields are the inputs of the JSON form.
#[derive(Subcommand, Serialize)]
#[serde(tag = "op", content = "inputs", rename_all = "kebab-case")]
enum Operation {
    /// Attention weights of one row of scores.
    PowerSoftmax {
        /// Scores.
        #[command(flatten)]
        #[serde(flatten)]
        x: Numbers,
        /// Which keys are live, one 0 or 1 per score; all by default.
        #[arg(long, value_delimiter = ',')]
        #[serde(skip_serializing_if = "Option::is_none")]
        mask: Option<Vec<String>>,
        #[command(flatten)]
        #[serde(flatten)]
        softmax: Softmax,
    },
    /// LayerNorm of one row.
    LayerNorm {
        #[command(flatten)]
        #[serde(flatten)]
        x: Numbers,
        #[command(flatten)]
        #[serde(flatten)]
        norm: Norm,
    },
    /// LayerNorm of one row with a Chebyshev series, refined by Newton steps, in place of 1 / sqrt(var + eps).
    PolynomialLayerNorm {
        #[command(flatten)]
        #[serde(flatten)]
        x: Numbers,
        #[command(flatten)]
        #[serde(flatten)]
        norm: Norm,
        #[command(flatten)]
        #[serde(flatten)]
        series: Series,
        /// Newton steps after the series.
        #[arg(long, default_value = "0")]
        newton: String,
    },
    /// GELU in its erf form, of each number.
    Gelu(Numbers),
    /// The hyperbolic tangent of each number.
    Tanh(Numbers),
    /// The error function of each number.
    Erf(Numbers),
    /// The exponential of each number.
    Exp(Numbers),
    /// 1 / sqrt(x + shift) of each number.
    InverseSqrt(Shifted),
    /// Newton steps y (3 - x y^2) / 2 for 1 / sqrt(x), of each number.
    NewtonInverseSqrt(Newton),
    /// 1 / (x + shift) of each number.
    Reciprocal(Shifted),
    /// Newton steps y (2 - x y) for 1 / x, of each number.
    NewtonReciprocal(Newton),
    /// Goldschmidt's approximation of 1 / x, of each number.
    Goldschmidt {
        #[command(flatten)]
        #[serde(flatten)]
        x: Numbers,
        /// Interval lo,hi of the arguments.
        #[arg(long, value_delimiter = ',', allow_hyphen_values = true)]
        interval: Vec<String>,
        /// Number of steps.
        #[arg(long)]
        steps: String,
        /// Relax every step instead of the first only.
        #[arg(long)]
        relaxed: bool,
    },
    /// A Chebyshev series of each number.
    Chebyshev {
        #[command(flatten)]
        #[serde(flatten)]
        x: Numbers,
        #[command(flatten)]
        #[serde(flatten)]
        series: Series,
    },
    /// weight x + bias.
    Linear {
        #[command(flatten)]
        #[serde(flatten)]
        x: Numbers,
        /// Matrix, output by input.
        #[arg(long, allow_hyphen_values = true, value_parser = matrix)]
        weight: Value,
        /// One number per row; 0 by default.
        #[arg(long, value_delimiter = ',', allow_hyphen_values = true)]
        #[serde(skip_serializing_if = "Option::is_none")]
        bias: Option<Vec<String>>,
    },
    /// Rotary position embedding of one head's vector.
    Rotary {
        #[command(flatten)]
        #[serde(flatten)]
        x: Numbers,
        /// Position of the token.
        #[arg(long)]
        position: String,
        /// Number of leading dimensions that are turned; all by default.
        #[arg(long)]
        #[serde(skip_serializing_if = "Option::is_none")]
        size: Option<String>,
        /// Base of the frequencies.
        #[arg(long, default_value = "10000")]
        base: String,
    },
    /// Power-Softmax attention of one head.
    Attention {
        /// One row per query.
        #[arg(long, allow_hyphen_values = true, value_parser = matrix)]
        query: Value,
        /// One row per key.
        #[arg(long, allow_hyphen_values = true, value_parser = matrix)]
        key: Value,
        /// One row per key.
        #[arg(long, allow_hyphen_values = true, value_parser = matrix)]
        value: Value,
        /// Which keys are live, one 0 or 1 per key; all by default.
        #[arg(long, value_delimiter = ',')]
        #[serde(skip_serializing_if = "Option::is_none")]
        mask: Option<Vec<String>>,
        /// Query i sees keys up to i only.
        #[arg(long)]
        causal: bool,
        /// Divides the scores on top of sqrt(d_k).
        #[arg(long, default_value = "1")]
        score_scale: String,
        #[command(flatten)]
        #[serde(flatten)]
        softmax: Softmax,
    },
}

#[derive(Args, Serialize)]
struct Numbers {
    /// Numbers, separated by commas.
    #[arg(long, value_delimiter = ',', num_args = 1, allow_hyphen_values = true, required = true)]
    x: Vec<String>,
}

#[derive(Args, Serialize)]
struct Shifted {
    #[command(flatten)]
    #[serde(flatten)]
    x: Numbers,
    /// Added to the argument.
    #[arg(long, default_value = "0", allow_hyphen_values = true)]
    shift: String,
}

#[derive(Args, Serialize)]
struct Newton {
    #[command(flatten)]
    #[serde(flatten)]
    x: Numbers,
    /// First approximation.
    #[arg(long)]
    start: String,
    /// Number of steps.
    #[arg(long)]
    steps: String,
}

#[derive(Args, Serialize)]
struct Norm {
    /// Gain; 1 by default.
    #[arg(long, value_delimiter = ',', allow_hyphen_values = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    gamma: Option<Vec<String>>,
    /// Offset; 0 by default.
    #[arg(long, value_delimiter = ',', allow_hyphen_values = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    beta: Option<Vec<String>>,
    /// Added to the variance.
    #[arg(long, default_value = "1e-5", allow_hyphen_values = true)]
    eps: String,
}

#[derive(Args, Serialize)]
struct Series {
    /// Interval a,b of the arguments.
    #[arg(long, value_delimiter = ',', allow_hyphen_values = true, required = true)]
    interval: Vec<String>,
    /// Coefficients c_0,c_1,... of the Chebyshev polynomials.
    #[arg(long, value_delimiter = ',', allow_hyphen_values = true, required = true)]
    coefficients: Vec<String>,
}

#[derive(Args, Serialize)]
struct Softmax {
    /// Even power, 2 to 12.
    #[arg(long, default_value = "4", allow_hyphen_values = true)]
    p: String,
    /// Added to the denominator, where the form says.
    #[arg(long, default_value = "1e-3", allow_hyphen_values = true)]
    eps: String,
    /// Which form; the ideal one ignores eps.
    #[arg(long, value_enum, default_value_t = FormName::Mean)]
    form: FormName,
    /// Added to the largest magnitude in the stable form.
    #[arg(long, default_value = "1e-6", allow_hyphen_values = true)]
    delta: String,
}

/// Forms of Power-Softmax.
#[derive(Clone, Copy, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
enum FormName {
    /// eps on the mean.
    Mean,
    /// eps on the sum.
    #[value(alias = "eps")]
    Sum,
    /// No eps.
    Ideal,
    /// The mean form on scores divided by their largest magnitude.
    Stable,
}

/// Rows separated by semicolons, entries by commas.
fn matrix(text: &str) -> Result<Value, std::convert::Infallible> {
    let row = |row: &str| row.split(',').map(|x| json!(x.trim())).collect();
    Ok(Value::Array(text.split(';').map(|text| Value::Array(row(text))).collect()))
}

pub fn run(arguments: &Eval) -> anyhow::Result<()> {
    let document = match (&arguments.operation, &arguments.input) {
        (Some(operation), None) => serde_json::to_value(operation)?,
        (None, Some(path)) => read(path)?,
        _ => bail!("expected one operation, either as a subcommand or by --input, got both or neither"),
    };
    let call: Call = serde_json::from_value(texts(document, "")?)
        .context("expected {\"op\": \"...\", \"inputs\": {...}} with numbers, words and arrays as inputs")?;
    print(&evaluate(&call, arguments.output.precision)?, arguments.output.json)
}

fn read(path: &PathBuf) -> anyhow::Result<Value> {
    let mut text = String::new();
    let name = path.display();
    let source: Box<dyn Read> = if path.as_os_str() == "-" {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(path).with_context(|| format!("opening {name}"))?)
    };
    source.take(MAX_JSON_BYTES + 1).read_to_string(&mut text).with_context(|| format!("reading {name}"))?;
    anyhow::ensure!(text.len() as u64 <= MAX_JSON_BYTES, "{name}: expected at most {MAX_JSON_BYTES} bytes");
    serde_json::from_str(&text).with_context(|| format!("{name}: expected JSON"))
}

/// The document with numbers and truth values as text, as the vector format has them; absent options are left out.
fn texts(value: Value, path: &str) -> anyhow::Result<Value> {
    let nested = |(key, value): (String, Value)| {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        Ok((key, texts(value, &path)?))
    };
    Ok(match value {
        Value::Null => bail!("{path}: expected a value, got null"),
        Value::Bool(flag) => Value::String(flag.to_string()),
        Value::Number(number) => Value::String(number.to_string()),
        Value::String(text) => Value::String(text),
        Value::Array(entries) => {
            let entry = |(i, value)| texts(value, &format!("{path}[{i}]"));
            Value::Array(entries.into_iter().enumerate().map(entry).collect::<anyhow::Result<_>>()?)
        }
        Value::Object(fields) => {
            Value::Object(fields.into_iter().map(nested).collect::<anyhow::Result<Map<String, Value>>>()?)
        }
    })
}

/// One line per entry, or JSON with decimal text that encloses every entry.
fn print(answer: &Answer, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        let text = decimal(&answer.values);
        println!("{}", serde_json::to_string(&json!({ "shape": answer.shape, "mid": text.mid, "rad": text.rad }))?);
        return Ok(());
    }
    for value in &answer.values {
        println!("{value:.30}");
    }
    Ok(())
}
