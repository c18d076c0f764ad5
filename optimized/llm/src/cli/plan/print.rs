//! A plan as a table or as JSON.

use super::{Planned, describe};
use anyhow::Result;
use serde::Serialize;
use touchstone_ckks::circuits::bootstrap::BootstrapError;
use touchstone_llm::backend::dry::Entry;
use touchstone_llm::plan::forecast::Plaintexts;
use touchstone_llm::plan::memory::{KeyRow, Memory};
use touchstone_llm::profile::Node;

/// One JSON object.
#[derive(Serialize)]
struct Record {
    parameters: String,
    tokens: usize,
    threads: usize,
    calibrated: bool,
    seconds: f64,
    cpu_seconds: f64,
    by_node: Vec<NodeSeconds>,
    bootstraps: usize,
    operations: Vec<Row>,
    keys: Vec<KeyRow>,
    plaintexts: Plaintexts,
    memory: Memory,
    peak_bytes: usize,
    fits: Option<bool>,
}

#[derive(Serialize)]
struct NodeSeconds {
    node: Node,
    seconds: f64,
}

/// Operations of one kind in one part of a layer.
#[derive(Serialize)]
struct Row {
    layer: Option<usize>,
    part: &'static str,
    operation: String,
    level_in: usize,
    level_out: usize,
    limbs: usize,
    count: usize,
    key_switches: usize,
    encodings: usize,
    seconds: f64,
    /// Standard deviation of the rounding at the end of each, in a slot.
    rounding: Option<f64>,
}

impl Planned {
    pub(super) fn print_json(&self) -> Result<()> {
        let forecast = &self.forecast;
        let record = Record {
            parameters: describe(&self.parameters),
            tokens: self.tokens,
            threads: self.threads,
            calibrated: self.calibrated,
            seconds: forecast.seconds(),
            cpu_seconds: forecast.cpu_seconds(),
            by_node: forecast.by_node().into_iter().map(|(node, seconds)| NodeSeconds { node, seconds }).collect(),
            bootstraps: forecast.bootstraps,
            operations: forecast.entries.iter().map(|entry| self.row(entry)).collect(),
            keys: forecast.keys.clone(),
            plaintexts: forecast.plaintexts,
            memory: forecast.memory,
            peak_bytes: forecast.memory.total(),
            fits: self.fits(),
        };
        println!("{}", serde_json::to_string(&record)?);
        Ok(())
    }

    fn row(&self, entry: &Entry) -> Row {
        Row {
            layer: entry.layer,
            part: entry.part,
            operation: entry.operation.to_string(),
            level_in: entry.from,
            level_out: entry.to,
            limbs: entry.from + 1,
            count: entry.count,
            key_switches: entry.key_switches,
            encodings: entry.encodings,
            seconds: self.forecast.entry_seconds(entry),
            rounding: self.forecast.rounding(entry),
        }
    }

    fn fits(&self) -> Option<bool> {
        self.memory.map(|memory| self.forecast.memory.total() as u64 <= memory)
    }

    pub(super) fn print(&self) -> Result<()> {
        println!(
            "{:<30} {:<22} {:>4} {:>4} {:>5} {:>6} {:>8} {:>8} {:>9} {:>9}",
            "part", "operation", "in", "out", "limbs", "count", "switches", "encodes", "seconds", "rounding"
        );
        for (layers, entries) in self.forecast.groups() {
            match layers {
                None => println!("outside of layers"),
                Some([first, last]) if first == last => println!("layer {first}"),
                Some([first, last]) => println!("layers {first} to {last}, each"),
            }
            entries.iter().for_each(|entry| print_row(&self.row(entry)));
        }
        self.print_bootstraps()?;
        self.print_keys();
        self.print_totals();
        Ok(())
    }

    fn print_bootstraps(&self) -> Result<()> {
        let plan = &self.forecast.plan;
        println!("\nbootstraps  {}", self.forecast.bootstraps);
        let mut places: Vec<(String, Vec<usize>)> = Vec::new();
        let mut add = |layer: usize, place: &str| match places.iter_mut().find(|(known, _)| known == place) {
            Some((_, layers)) => layers.push(layer),
            None => places.push((place.to_owned(), vec![layer])),
        };
        for (layer, block) in plan.blocks.iter().enumerate() {
            let entry = format!("stream before the block, which takes over at level {}", block.entry.level);
            let chosen = [
                (block.entry.bootstrap, &entry[..]),
                (block.denominator, "denominators"),
                (block.middle, "stream before the MLP"),
            ];
            chosen.iter().filter(|(bootstrap, _)| *bootstrap).for_each(|(_, place)| add(layer, place));
        }
        for (place, layers) in places {
            println!("            {place}: layers {}", ranges(&layers));
        }
        if plan.head.bootstrap {
            println!("            stream before the head, which takes over at level {}", plan.head.level);
        }
        if self.forecast.bootstraps > 0 {
            let error = BootstrapError::of(&self.parameters)?;
            println!(
                "            each adds noise of deviation {:.1e} and at most {:.1e} of approximation to slots up to 1",
                error.deviation, error.approximation
            );
        }
        Ok(())
    }

    fn print_keys(&self) {
        let keys = &self.forecast.keys;
        let count: usize = keys.iter().map(|row| row.count).sum();
        let bytes: usize = keys.iter().map(|row| row.bytes).sum();
        println!("keys        {count}, {}", gibibytes(bytes));
        for row in keys {
            println!("            level {:>2}: {:>3}, {}", row.level, row.count, gibibytes(row.bytes));
        }
    }

    fn print_totals(&self) {
        let forecast = &self.forecast;
        let Plaintexts { count, compact, cached } = forecast.plaintexts;
        println!(
            "plaintexts  {count} encoded on use: {} as coefficients, {} if all were cached",
            gibibytes(compact),
            gibibytes(cached)
        );
        let memory = forecast.memory;
        println!(
            "memory      {} at most: keys {}, bootstrapping {}, weights {}, ciphertexts {}, other {}",
            gibibytes(memory.total()),
            gibibytes(memory.keys),
            gibibytes(memory.bootstrapping),
            gibibytes(memory.weights),
            gibibytes(memory.ciphertexts),
            gibibytes(memory.fixed)
        );
        if let (Some(fits), Some(limit)) = (self.fits(), self.memory) {
            let verdict = if fits { "fits" } else { "DOES NOT FIT" };
            println!("            {verdict} {}", gibibytes(limit as usize));
        }
        for (node, seconds) in forecast.by_node() {
            println!("            {node:<22} {:>10}", duration(seconds));
        }
        println!(
            "time        {} on {} threads, {} of processor time; unit costs {}",
            duration(forecast.seconds()),
            self.threads,
            duration(forecast.cpu_seconds()),
            if self.calibrated { "measured on this machine" } else { "built in (see --calibrate)" }
        );
        println!("tokens      {}", self.tokens);
        println!("parameters  {}", describe(&self.parameters));
    }
}

fn print_row(row: &Row) {
    let rounding = row.rounding.map_or_else(String::new, |rounding| format!("{rounding:.1e}"));
    println!(
        "{:<30} {:<22} {:>4} {:>4} {:>5} {:>6} {:>8} {:>8} {:>9.3} {:>9}",
        row.part,
        row.operation,
        row.level_in,
        row.level_out,
        row.limbs,
        row.count,
        row.key_switches,
        row.encodings,
        row.seconds,
        rounding
    );
}

/// Ascending numbers with runs written as ranges.
fn ranges(numbers: &[usize]) -> String {
    let runs = numbers.chunk_by(|a, b| a + 1 == *b).map(|run| match run {
        [first, .., last] => format!("{first}-{last}"),
        _ => run.iter().map(ToString::to_string).collect(),
    });
    runs.collect::<Vec<_>>().join(", ")
}

/// Bytes with their unit.
pub(in crate::cli) fn gibibytes(bytes: usize) -> String {
    format!("{:.2} GiB", bytes as f64 / f64::from(1 << 30))
}

fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 100.0 => format!("{s:.1} s"),
        s if s < 6000.0 => format!("{:.1} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}
