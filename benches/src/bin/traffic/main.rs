//! How close operations are to the limits of the machine: memory bandwidth and the speed of the kernels.
//!
//! `traffic [PRESET LEVEL [THREADS]]`, by default `n15-leveled 14` and `n16-leveled 31` on one thread. For each operation it prints
//! the measured time and beside it
//!
//! - `least`: bytes of operands, keys and plaintexts read once and results written once, which no arrangement avoids;
//! - `moved`: bytes that the engine's passes read and write ([`passes`] says how they are counted), the rate that this
//!   is, and its share of the machine's bandwidth, measured as a triad over arrays larger than the caches;
//! - transforms, rows of base conversions and products of limbs, the time that they would take from a cache, and its share of the
//!   measured time.
//!
//! A share of memory near 100 % means that the operation waits for memory, a share of the kernels near 100 % that it computes all
//! the time. Passes that find their limbs in the last-level cache move fewer bytes than are counted, so that the share of
//! memory can exceed 100 %.

mod machine;
mod passes;

use machine::{Machine, seconds};
use passes::{Shape, Work};
use std::collections::BTreeMap;
use touchstone_benches::Fixture;
use touchstone_ckks::circuits::linear::LinearMap;
use touchstone_ckks::{Complex64, Encoder, Evaluator, Seed, encrypt_public};

/// Rotations of the hoisted case.
const ROTATIONS: [i64; 8] = [1, 2, 3, 4, 5, 6, 7, 8];
/// Diagonals `-REACH..=REACH - 1` of the linear map: eight baby and eight giant steps.
const REACH: i64 = 32;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (cases, threads) = match &arguments[..] {
        [] => (vec![("n15-leveled".to_owned(), 14), ("n16-leveled".to_owned(), 31)], 1),
        [preset, level] => (vec![(preset.clone(), level.parse()?)], 1),
        [preset, level, threads] => (vec![(preset.clone(), level.parse()?)], threads.parse()?),
        _ => return Err("usage: traffic [PRESET LEVEL [THREADS]]".into()),
    };
    rayon::ThreadPoolBuilder::new().num_threads(threads).use_current_thread().build_global()?;
    for (preset, level) in cases {
        report(&preset, level, threads)?;
    }
    Ok(())
}

/// One operation: what it moves and computes, and a run of it.
struct Operation<'a> {
    name: &'static str,
    /// Limbs that must move.
    least: f64,
    work: Work,
    run: Box<dyn Fn() + 'a>,
}

fn report(preset: &str, level: usize, threads: usize) -> Result<(), Box<dyn std::error::Error>> {
    let fixture = Fixture::of(preset, level).ok_or_else(|| format!("no preset {preset} with level {level} >= 1"))?;
    let machine = Machine::measure(fixture.context(), threads);
    println!("{}, {threads} thread(s)", fixture.label());
    println!(
        "memory {:.1} GB/s; from a cache, per limb: transform {:.0} us, row of a conversion {:.1} us, product {:.1} us",
        machine.bandwidth / 1e9,
        machine.transform * 1e6,
        machine.conversion * 1e6,
        machine.product * 1e6
    );
    println!("{:<25}|{:>43} |{:>54}", "", "memory", "kernels");
    println!(
        "{:<25}|{:>9} {:>9} {:>9} {:>6} {:>6} |{:>10} {:>11} {:>6} {:>8} {:>9} {:>5}",
        "operation",
        "ms",
        "least MB",
        "moved MB",
        "GB/s",
        "share",
        "transforms",
        "butterflies",
        "rows",
        "products",
        "ms",
        "share"
    );
    for operation in operations(&fixture)? {
        row(&operation, &machine, fixture.context().parameters().n());
    }
    println!();
    Ok(())
}

/// Runs an operation and prints its line.
fn row(operation: &Operation, machine: &Machine, n: usize) {
    let (time, work, limb) = (seconds(&operation.run), operation.work, 8.0 * n as f64);
    let rate = work.passes * limb / time;
    let kernels = work.transforms as f64 * machine.transform
        + work.conversions as f64 * machine.conversion
        + work.products as f64 * machine.product;
    let butterflies = (work.transforms * n / 2) as f64 * f64::from(n.ilog2());
    print!(
        "{:<25}|{:>9.3} {:>9.1} {:>9.1} {:>6.1} {:>5.0}% |",
        operation.name,
        time * 1e3,
        operation.least * limb / 1e6,
        work.passes * limb / 1e6,
        rate / 1e9,
        100.0 * rate / machine.bandwidth
    );
    println!(
        "{:>10} {:>11.2e} {:>6} {:>8} {:>9.3} {:>4.0}%",
        work.transforms,
        butterflies,
        work.conversions,
        work.products,
        kernels * 1e3,
        100.0 * kernels / time
    );
}

fn operations(fixture: &Fixture) -> Result<Vec<Operation<'static>>, Box<dyn std::error::Error>> {
    let (context, level) = (fixture.context().clone(), fixture.level());
    let shape = Shape::new(context.parameters(), level);
    let (chain, key) = (shape.chain as f64, shape.key());
    let slots = context.parameters().slots();
    let encoder = Encoder::new(&context);

    let diagonal = |r: i64| (0..slots).map(|j| Complex64::from_polar(0.1, (j as f64 + 0.5) * r as f64)).collect();
    let diagonals: BTreeMap<i64, Vec<Complex64>> = (-REACH..REACH).map(|r| (r, diagonal(r))).collect();
    let map = LinearMap::from_diagonals(slots, &diagonals)?;
    let steps = |steps: &[i64]| steps.iter().filter(|step| **step != 0).count();
    let (babies, giants) = (steps(map.baby_steps()), steps(map.giant_steps()));
    let prepared = map.prepare(&encoder, fixture.scale())?;

    let mut keys = fixture.keys_of(map.rotations().into_iter().chain(ROTATIONS));
    keys.insert(fixture.generator().relinearisation_key(fixture.secret(), level)?);
    let ev = Evaluator::new(&context, &keys);
    let (a, b, values) = (fixture.ciphertext(0), fixture.ciphertext(1), fixture.slots(2));
    let scale = fixture.scale();
    let plain = encoder.encode(&values, level, scale)?;

    let mut all = Vec::new();
    let mut add = |name, least: f64, work, run: Box<dyn Fn()>| all.push(Operation { name, least, work, run });
    let with = || (ev.clone(), a.clone(), b.clone());
    let (e, x, y) = with();
    add("add", 6.0 * chain, shape.add(), Box::new(move || drop(e.add(&x, &y))));
    let (e, x, _) = with();
    let (least, plain) = (5.0 * chain - 2.0, std::rc::Rc::new(plain));
    let p = plain.clone();
    add("multiply by plaintext", 5.0 * chain, shape.mul_plain(), Box::new(move || drop(e.mul_plain(&x, &p))));
    let (e, x, _) = with();
    let p = plain.clone();
    let work = shape.mul_plain_rescale();
    add("the same, rescaled", least, work, Box::new(move || drop(e.mul_plain_rescale(&x, &p))));
    let (e, x, _) = with();
    add("rescale", 4.0 * chain - 2.0, shape.rescale(), Box::new(move || drop(e.rescale(&x))));
    let c = encoder.clone();
    add("encode", chain + 1.0, shape.encode(), Box::new(move || drop(c.encode(&values, level, scale))));
    let (c, public, seed) = (context.clone(), fixture.generator().public_key(fixture.secret())?, Seed::insecure(3));
    let run = Box::new(move || drop(encrypt_public(&c, &public, &plain, &seed, 0)));
    add("encrypt, public key", 5.0 * chain + 2.0, shape.encrypt(), run);
    let (e, x, y) = with();
    let least = 6.0 * chain - 2.0 + key;
    add("multiply, relin, rescale", least, shape.mul_rescale(), Box::new(move || drop(e.mul_rescale(&x, &y))));
    let (e, x, _) = with();
    add("rotate", 4.0 * chain + key, shape.rotate(), Box::new(move || drop(e.rotate(&x, 1))));
    let (e, x, _) = with();
    let (count, least) = (ROTATIONS.len(), 2.0 * chain + ROTATIONS.len() as f64 * (2.0 * chain + key));
    add(
        "eight hoisted rotations",
        least,
        shape.rotate_hoisted(count),
        Box::new(move || drop(e.rotate_hoisted(&x, &ROTATIONS))),
    );
    let (e, x, _) = with();
    // Coefficients of a plaintext are as long as a limb.
    let least = 4.0 * chain - 2.0 + (babies + giants) as f64 * key + ((babies + 1) * (giants + 1)) as f64;
    add(
        "linear map, 64 diagonals",
        least,
        shape.linear_map(babies, giants),
        Box::new(move || drop(prepared.apply(&e, &x, None))),
    );
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use touchstone_ckks::instrument::{Operation as Kind, Recording, Stage, snapshot};

    /// The counts are those that the engine itself keeps: a change of its passes has to be followed here.
    #[test]
    fn counts_are_those_of_the_engine() {
        let fixture = Fixture::of("toy-n8", 7).expect("a preset");
        let n = fixture.context().parameters().n() as u64;
        let _recording = Recording::start();
        for operation in operations(&fixture).expect("valid arguments") {
            let before = snapshot();
            (operation.run)();
            let done = snapshot().since(&before);
            let residues = |stage| Kind::ALL.iter().map(|kind| done.work(false, *kind, stage).residues).sum::<u64>();
            let transforms = (residues(Stage::ForwardTransform) + residues(Stage::InverseTransform)) / n;
            assert_eq!(operation.work.transforms as u64, transforms, "{}: transforms", operation.name);
            assert_eq!(
                (8.0 * n as f64 * operation.work.keys) as u64,
                done.total().key_bytes,
                "{}: keys",
                operation.name
            );
        }
    }
}
