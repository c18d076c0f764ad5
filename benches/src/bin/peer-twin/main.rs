//! The project's side of `benches/peers/run`: performs named operations on request and reports their times.
//!
//! `peer-twin PRESET LEVEL THREADS` measures the operations on ciphertexts of a level, `peer-twin PRESET bootstrap
//! THREADS MEBIBYTES` bootstrapping with that much memory for transforms of plaintexts. It prints one JSON line with the
//! parameters in force, then reads requests from standard input, one a line: an operation's name and how often to perform
//! it. Each is answered by one JSON line: the nanoseconds of every run, the level of the last result, and its largest slot
//! error, which shows that the work was done. Keys and inputs are made before the first run and are not timed.
//!
//! Parameters of any security are accepted, keys come from a fixed seed: this is for measurements only.

mod bootstrapping;
mod leveled;

use rayon::ThreadPoolBuilder;
use serde_json::{Value, json};
use std::error::Error;
use std::io::{BufRead, Write};
use std::time::Instant;
use touchstone_ckks::{Complex64, Context};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// What can be measured with one set of keys.
trait Side {
    /// The parameters in force and the names of the operations.
    fn parameters(&self) -> Value;

    /// Performs the operation `count` times.
    fn perform(&mut self, operation: &str, count: usize) -> Outcome<Value>;
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let threads = words.get(2).ok_or("usage: peer-twin PRESET LEVEL|bootstrap THREADS [MEBIBYTES]")?;
    ThreadPoolBuilder::new().num_threads(threads.parse()?).use_current_thread().build_global()?;
    let mut side: Box<dyn Side> = match words.as_slice() {
        [preset, "bootstrap", _, mebibytes] => Box::new(bootstrapping::Refresh::new(preset, mebibytes.parse()?)?),
        [preset, level, _] => Box::new(leveled::Operations::new(preset, level.parse()?)?),
        _ => return Err("bootstrapping needs MEBIBYTES, a level does not".into()),
    };
    answer(&side.parameters())?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let mut words = line.split_whitespace();
        let (Some(operation), Some(count)) = (words.next(), words.next()) else {
            return Err(format!("expected OPERATION COUNT, got {line:?}").into());
        };
        answer(&side.perform(operation, count.parse()?)?)?;
    }
    Ok(())
}

fn answer(value: &Value) -> Outcome<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{value}")?;
    Ok(out.flush()?)
}

/// The parameters at a level as both sides report them.
fn describe(context: &Context, level: usize, scale_bits: f64) -> serde_json::Map<String, Value> {
    let parameters = context.parameters();
    let bits = |primes: &[u64]| primes.iter().map(|&q| (q as f64).log2()).collect::<Vec<_>>();
    let (chain, special) = (bits(&parameters.chain()[..=level]), bits(parameters.special()));
    let log_q: f64 = chain.iter().sum();
    let values = [
        ("version", json!(env!("CARGO_PKG_VERSION"))),
        ("kernel", json!(format!("{:?}", context.kernel()).to_lowercase())),
        ("log_n", json!(parameters.log_n())),
        ("levels", json!(level)),
        ("primes", json!(chain.len())),
        ("first_bits", json!(chain[0])),
        ("log_q", json!(log_q)),
        ("special_primes", json!(special.len())),
        ("log_qp", json!(log_q + special.iter().sum::<f64>())),
        ("digits", json!(parameters.digits(level))),
        ("scale_bits", json!(scale_bits)),
        ("secret", json!(format!("{:?}", parameters.secret()))),
        ("secure", json!(parameters.is_secure())),
    ];
    values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Number `index` of the inputs that both sides share: SplitMix64 of a counter, as a number in `[-0.7, 0.7)`, so that
/// complex slots lie in the unit disc.
fn input(seed: u64, index: u64) -> f64 {
    let mut z = seed.wrapping_add((index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    0.7 * ((z >> 11) as f64 * 2f64.powi(-52) - 1.0)
}

fn slots(seed: u64, count: usize) -> Vec<Complex64> {
    (0..count as u64).map(|i| Complex64::new(input(seed, 2 * i), input(seed, 2 * i + 1))).collect()
}

fn largest_error(got: &[Complex64], expected: &[Complex64]) -> f64 {
    got.iter().zip(expected).map(|(a, b)| (a - b).norm()).fold(0.0, f64::max)
}

/// Nanoseconds of every run, and the last result; earlier ones are dropped outside the timed span.
fn time<T>(count: usize, mut run: impl FnMut(u32) -> Outcome<T>) -> Outcome<(Vec<u64>, T)> {
    let mut times = Vec::with_capacity(count);
    let mut last = None;
    for i in 0..u32::try_from(count)? {
        drop(last.take());
        let start = Instant::now();
        let result = run(i)?;
        times.push(u64::try_from(start.elapsed().as_nanos())?);
        last = Some(result);
    }
    Ok((times, last.ok_or("a count of at least one is needed")?))
}
