//! Rotations, plain and hoisted, on one thread, per kernel.

use criterion::{Criterion, criterion_group, criterion_main};
use touchstone_benches::{Fixture, use_one_thread};
use touchstone_ckks::Evaluator;

fn rotate(criterion: &mut Criterion) {
    use_one_thread();
    let mut group = criterion.benchmark_group("rotate");
    group.sample_size(10);
    for fixture in Fixture::all() {
        let keys = fixture.keys_with(|generator, secret| generator.rotation_key(secret, 1, fixture.level()));
        let evaluator = Evaluator::new(fixture.context(), &keys);
        let a = fixture.ciphertext(0);
        group.bench_function(format!("{}/one", fixture.label()), |bencher| {
            bencher.iter(|| evaluator.rotate(&a, 1).expect("the key was generated"));
        });
        group.bench_function(format!("{}/four hoisted", fixture.label()), |bencher| {
            bencher.iter(|| evaluator.rotate_hoisted(&a, &[1; 4]).expect("the key was generated"));
        });
    }
    group.finish();
}

criterion_group!(benches, rotate);
criterion_main!(benches);
