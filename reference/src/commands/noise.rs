//! `reference noise`: the measured noise of every primitive against its rule.

use clap::Args;
use serde_json::json;
use touchstone_reference::bounds::measure::{Domain, FAILURE, Row, Tolerance, measure, primitives};
use touchstone_reference::ckks::Parameters;
use touchstone_spec::params::ParameterLiteral;

/// Admitted error of a standard deviation where there are seeds enough to measure it.
const RATIO: f64 = 0.05;
/// Seeds from which [`RATIO`] is applied; below, what the number of seeds can tell.
const ENOUGH: u64 = 1000;

/// Arguments of `reference noise`.
#[derive(Args)]
pub struct Noise {
    /// Draws of keys, messages and errors.
    #[arg(long, default_value_t = ENOUGH, value_parser = clap::value_parser!(u64).range(2..))]
    seeds: u64,
    /// Number of the first seed.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Presets, separated by commas; each with at least three levels and two special primes.
    #[arg(long, value_delimiter = ',', default_value = "toy-n5,toy-n8")]
    preset: Vec<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Fails if a standard deviation or an error is out of its bound.
pub fn run(arguments: &Noise) -> anyhow::Result<()> {
    let tolerance = if arguments.seeds >= ENOUGH { Tolerance::Ratio(RATIO) } else { Tolerance::Sampling };
    let mut rows = Vec::new();
    for preset in &arguments.preset {
        let literal = ParameterLiteral::preset(preset)?;
        let seeds = arguments.first..arguments.first.saturating_add(arguments.seeds);
        rows.extend(measure(&Parameters::new(&literal)?, &primitives(&literal)?, seeds, tolerance)?);
    }
    if arguments.json {
        let table: Vec<_> = rows.iter().map(record).collect();
        let document = json!({ "seeds": arguments.seeds, "first": arguments.first, "failure": FAILURE, "rows": table });
        println!("{}", serde_json::to_string_pretty(&document)?);
    } else {
        print(arguments, &rows);
    }
    let failed = rows.iter().filter(|row| row.verdict() != "pass").count();
    anyhow::ensure!(failed == 0, "{failed} of {} rows are out of their bounds", rows.len());
    Ok(())
}

fn domain(row: &Row) -> &'static str {
    match row.domain {
        Domain::Coefficients => "coefficient",
        Domain::Slots => "slot",
    }
}

fn record(row: &Row) -> serde_json::Value {
    json!({
        "primitive": row.primitive, "rule": row.rule, "preset": row.preset, "domain": domain(row),
        "numbers": row.numbers, "predicted": row.predicted, "measured": row.measured, "ratio": row.ratio(),
        "tolerance": row.tolerance, "largest": row.largest, "bound": row.limit, "verdict": row.verdict(),
    })
}

fn print(arguments: &Noise, rows: &[Row]) {
    println!(
        "{} seeds from {}; bounds fail with probability {FAILURE:e} over a preset's numbers; units of the integers, slots in \
         deviations under the key at hand",
        arguments.seeds, arguments.first
    );
    println!(
        "{:<35} {:<27} {:<8} {:<11} {:>8} {:>10} {:>10} {:>7} {:>6} {:>10} {:>10}  verdict",
        "primitive", "rule", "preset", "domain", "numbers", "predicted", "measured", "ratio", "+-", "largest", "bound"
    );
    for row in rows {
        println!(
            "{:<35} {:<27} {:<8} {:<11} {:>8} {:>10.4e} {:>10.4e} {:>7.4} {:>6.3} {:>10.3e} {:>10.3e}  {}",
            row.primitive,
            row.rule,
            row.preset,
            domain(row),
            row.numbers,
            row.predicted,
            row.measured,
            row.ratio(),
            row.tolerance,
            row.largest,
            row.limit,
            row.verdict()
        );
    }
}
