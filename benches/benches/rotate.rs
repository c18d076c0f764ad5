//! Rotations, plain and hoisted, and conjugation, on one thread, per kernel.

use criterion::{Criterion, criterion_group, criterion_main};
use touchstone_benches::{Fixture, use_one_thread};
use touchstone_ckks::Evaluator;

fn rotate(criterion: &mut Criterion) {
    use_one_thread();
    let mut group = criterion.benchmark_group("rotate");
    group.sample_size(10);
    for fixture in Fixture::all() {
        let mut keys = fixture.keys_with(|generator, secret| generator.rotation_key(secret, 1, fixture.level()));
        let conjugation = fixture.generator().conjugation_key(fixture.secret(), fixture.level());
        keys.insert(conjugation.expect("a valid level"));
        let evaluator = Evaluator::new(fixture.context(), &keys);
        let a = fixture.ciphertext(0);
        let mut run = |name: &str, work: &dyn Fn()| {
            group.bench_function(format!("{}/{name}", fixture.label()), |bencher| bencher.iter(work));
        };
        run("one", &|| drop(evaluator.rotate(&a, 1).expect("the key was generated")));
        run("four hoisted", &|| drop(evaluator.rotate_hoisted(&a, &[1; 4]).expect("the key was generated")));
        run("eight hoisted", &|| drop(evaluator.rotate_hoisted(&a, &[1; 8]).expect("the key was generated")));
        let mut small = fixture.keys_of([1]);
        small.fit(fixture.context(), small.bytes() / 2).expect("uniform halves are half of the bytes");
        let frugal = Evaluator::new(fixture.context(), &small);
        run("one, compressed key", &|| drop(frugal.rotate(&a, 1).expect("the key was generated")));
        run("conjugate", &|| drop(evaluator.conjugate(&a).expect("the key was generated")));
    }
    group.finish();
}

criterion_group!(benches, rotate);
criterion_main!(benches);
