//! Sums, operations with plaintexts and constants, and rescaling, on one thread, per kernel.

use criterion::{Criterion, criterion_group, criterion_main};
use touchstone_benches::{Fixture, use_one_thread};
use touchstone_ckks::{Complex64, Encoder, EvaluationKeys, Evaluator};

fn plain(criterion: &mut Criterion) {
    use_one_thread();
    let mut group = criterion.benchmark_group("plain");
    group.sample_size(10);
    for fixture in Fixture::all() {
        let evaluator = Evaluator::new(fixture.context(), &EvaluationKeys::new());
        let (a, b, level) = (fixture.ciphertext(0), fixture.ciphertext(1), fixture.level());
        let plain = Encoder::new(fixture.context()).encode(&fixture.slots(1), level, fixture.scale());
        let plain = plain.expect("small slots");
        let (c, target) = (Complex64::new(0.3, 0.0), fixture.scale() * fixture.scale());
        let mut run = |name: &str, work: &dyn Fn()| {
            group.bench_function(format!("{}/{name}", fixture.label()), |bencher| bencher.iter(work));
        };
        run("add", &|| drop(evaluator.add(&a, &b).expect("equal levels and scales")));
        run("add plaintext", &|| drop(evaluator.add_plain(&a, &plain).expect("equal levels and scales")));
        run("add constant", &|| drop(evaluator.add_const(&a, c).expect("a small constant")));
        run("multiply", &|| drop(evaluator.mul_plain(&a, &plain).expect("equal levels")));
        run("multiply, rescale", &|| drop(evaluator.mul_plain_rescale(&a, &plain).expect("a level is left")));
        run("multiply by constant", &|| drop(evaluator.mul_const(&a, c, target).expect("a small constant")));
        run("rescale", &|| drop(evaluator.rescale(&a).expect("a level is left")));
        run("multiply by constant, rescale", &|| {
            drop(evaluator.mul_const_to_level(&a, c, level - 1).expect("a level is left"));
        });
    }
    group.finish();
}

criterion_group!(benches, plain);
criterion_main!(benches);
