//! A linear map of 63 diagonals, 8 baby and 8 giant steps, on one thread: single hoisting beside double hoisting.

use criterion::{Criterion, criterion_group, criterion_main};
use std::collections::BTreeMap;
use touchstone_benches::{Fixture, use_one_thread};
use touchstone_ckks::circuits::linear::{LinearMap, PreparedMap};
use touchstone_ckks::{Complex64, Encoder, Evaluator, KernelKind};

/// Diagonals `-31..=31`, as a map that merges five stages of a Fourier transform has them.
const REACH: i64 = 31;

/// Diagonals whose entries repeat after `period` slots.
fn diagonals(slots: usize, period: usize) -> BTreeMap<i64, Vec<Complex64>> {
    let value = |shift: i64, slot: usize| Complex64::from_polar(0.1, (slot % period) as f64 * (shift as f64 + 0.5));
    (-REACH..=REACH).map(|shift| (shift, (0..slots).map(|slot| value(shift, slot)).collect())).collect()
}

fn linear(criterion: &mut Criterion) {
    use_one_thread();
    let mut group = criterion.benchmark_group("linear map, 63 diagonals");
    group.sample_size(10);
    for fixture in Fixture::all().filter(|fixture| fixture.context().kernel() != KernelKind::Scalar) {
        let slots = fixture.context().parameters().slots();
        let encoder = Encoder::new(fixture.context());
        let full = LinearMap::from_diagonals(slots, &diagonals(slots, slots)).expect("distinct shifts");
        let keys = fixture.keys_of(full.rotations());
        let evaluator = Evaluator::new(fixture.context(), &keys);
        let ct = fixture.ciphertext(0);
        group.bench_function(format!("{}/single hoisting, encoded on the fly", fixture.label()), |bencher| {
            bencher.iter(|| full.apply(&evaluator, &encoder, &ct).expect("the keys were generated"));
        });
        let prepare = |map: &LinearMap| map.prepare(&encoder, ct.scale()).expect("small diagonals");
        let mut run = |name: &str, prepared: &PreparedMap| {
            group.bench_function(format!("{}/double hoisting, {name}", fixture.label()), |bencher| {
                bencher.iter(|| prepared.apply(&evaluator, &ct, None).expect("the keys were generated"));
            });
        };
        run("compact plaintexts", &prepare(&full));
        let mut kept = prepare(&full);
        assert!(kept.keep_transforms(fixture.level(), usize::MAX).expect("a valid level"));
        run("transformed plaintexts", &kept);
        let short = LinearMap::from_diagonals(slots, &diagonals(slots, 1024)).expect("distinct shifts");
        run("plaintexts of period 1024", &prepare(&short));
    }
    group.finish();
}

criterion_group!(benches, linear);
criterion_main!(benches);
