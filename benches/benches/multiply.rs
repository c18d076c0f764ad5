//! Ciphertext products with relinearisation and rescale, on one thread, per kernel.

use criterion::{Criterion, criterion_group, criterion_main};
use touchstone_benches::{Fixture, use_one_thread};
use touchstone_ckks::Evaluator;

fn multiply(criterion: &mut Criterion) {
    use_one_thread();
    let mut group = criterion.benchmark_group("multiply+relinearise+rescale");
    group.sample_size(10);
    for fixture in Fixture::all() {
        let keys = fixture.keys_with(|generator, secret| generator.relinearisation_key(secret, fixture.level()));
        let evaluator = Evaluator::new(fixture.context(), &keys);
        let (a, b) = (fixture.ciphertext(0), fixture.ciphertext(1));
        let lazy = evaluator.mul_lazy(&a, &b).expect("equal levels");
        let mut run = |name: &str, work: &dyn Fn()| {
            group.bench_function(format!("{}{name}", fixture.label()), |bencher| bencher.iter(work));
        };
        run("", &|| drop(evaluator.mul_rescale(&a, &b).expect("equal levels and scales")));
        run("/square", &|| drop(evaluator.mul_rescale(&a, &a).expect("a level is left")));
        run("/product alone", &|| drop(evaluator.mul_lazy(&a, &b).expect("equal levels")));
        run("/relinearisation alone", &|| drop(evaluator.relinearise(&lazy).expect("degree 2")));
    }
    group.finish();
}

criterion_group!(benches, multiply);
criterion_main!(benches);
