//! Operations with plaintexts and constants, and rescaling, on one thread, per kernel.

use criterion::{Criterion, criterion_group, criterion_main};
use touchstone_benches::{Fixture, use_one_thread};
use touchstone_ckks::{Complex64, Encoder, EvaluationKeys, Evaluator};

fn plain(criterion: &mut Criterion) {
    use_one_thread();
    let mut group = criterion.benchmark_group("plain");
    group.sample_size(10);
    for fixture in Fixture::all() {
        let evaluator = Evaluator::new(fixture.context(), &EvaluationKeys::new());
        let encoder = Encoder::new(fixture.context());
        let (a, slots) = (fixture.ciphertext(0), fixture.slots(1));
        let plain = encoder.encode(&slots, fixture.level(), fixture.scale()).expect("small slots");
        let target = fixture.scale() * fixture.scale();
        group.bench_function(format!("{}/multiply", fixture.label()), |bencher| {
            bencher.iter(|| evaluator.mul_plain(&a, &plain).expect("equal levels"));
        });
        group.bench_function(format!("{}/multiply by constant", fixture.label()), |bencher| {
            bencher.iter(|| evaluator.mul_const(&a, Complex64::new(0.3, 0.0), target).expect("a small constant"));
        });
        group.bench_function(format!("{}/rescale", fixture.label()), |bencher| {
            bencher.iter(|| evaluator.rescale(&a).expect("a level is left"));
        });
        group.bench_function(format!("{}/encode", fixture.label()), |bencher| {
            bencher.iter(|| encoder.encode(&slots, fixture.level(), fixture.scale()).expect("small slots"));
        });
    }
    group.finish();
}

criterion_group!(benches, plain);
criterion_main!(benches);
