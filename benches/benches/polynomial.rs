//! Chebyshev polynomials on every slot, on one thread.

use criterion::{Criterion, criterion_group, criterion_main};
use touchstone_benches::{Fixture, use_one_thread};
use touchstone_ckks::Evaluator;
use touchstone_ckks::circuits::polynomial::{Plan, Polynomial, evaluate_plan};

fn polynomial(criterion: &mut Criterion) {
    use_one_thread();
    let mut group = criterion.benchmark_group("polynomial");
    group.sample_size(10);
    for fixture in Fixture::fastest() {
        let keys = fixture.keys_with(|generator, secret| generator.relinearisation_key(secret, fixture.level()));
        let evaluator = Evaluator::new(fixture.context(), &keys);
        let ct = fixture.ciphertext(0);
        for degree in [7, 31, 127] {
            let coefficients = (0..=degree).map(|k| 1.0 / f64::from(k + 1)).collect();
            let plan = Plan::new(&Polynomial::chebyshev(coefficients).expect("finite coefficients"));
            group.bench_function(format!("{}/degree {degree}", fixture.label()), |bencher| {
                bencher.iter(|| evaluate_plan(&evaluator, &ct, &plan).expect("enough levels"));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, polynomial);
criterion_main!(benches);
