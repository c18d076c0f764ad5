//! Bootstrapping of all complex slots on one thread: the whole and its stages. Keys take gigabytes, so those of sets that a filter
//! leaves out are not made.

use criterion::{Criterion, criterion_group, criterion_main};
use touchstone_benches::use_one_thread;
use touchstone_ckks::circuits::bootstrap::Bootstrapper;
use touchstone_ckks::{
    Complex64, Context, Encoder, EvaluationKeys, Evaluator, KeyGenerator, Parameters, Security, Seed, encrypt_secret,
};

fn bootstrap(criterion: &mut Criterion) {
    use_one_thread();
    let mut group = criterion.benchmark_group("bootstrap");
    group.sample_size(10);
    for preset in
        ["n15-boot", "n16-boot", "n16-boot-deep", "n16-boot-17"].into_iter().filter(|preset| is_wanted(preset))
    {
        let parameters = Parameters::preset(preset, Security::Enforce).expect("presets are valid");
        let context = Context::new(parameters).expect("detected kernels run");
        let boot = Bootstrapper::new(&context).expect("the preset has a section for bootstrapping");
        let generator = KeyGenerator::new(&context, Seed::insecure(1));
        let secret = generator.secret_key();
        let mut keys = EvaluationKeys::new();
        boot.generate_keys(&generator, &secret, &mut keys).expect("own secret");
        let evaluator = Evaluator::new(&context, &keys);
        let (level, slots) = (boot.input_level(), context.parameters().slots());
        let values: Vec<_> = (0..slots).map(|j| Complex64::from_polar(0.9, j as f64)).collect();
        let plain = Encoder::new(&context).encode(&values, level, context.parameters().canonical_scale(level));
        let ct = encrypt_secret(&context, &secret, &plain.expect("small slots"), &Seed::insecure(2), 0);
        let ct = ct.expect("own key and plaintext");

        let down = boot.slots_to_coeffs(&evaluator, &ct).expect("keys were generated");
        let raised = boot.mod_raise(&evaluator, &down).expect("keys were generated");
        let halves = boot.coeffs_to_slots(&evaluator, &raised).expect("keys were generated");
        let mut run = |stage: &str, work: &dyn Fn()| {
            group.bench_function(format!("{preset}/{stage}"), |bencher| bencher.iter(work));
        };
        run("whole", &|| drop(boot.bootstrap(&evaluator, &ct)));
        run("slots to coefficients", &|| drop(boot.slots_to_coeffs(&evaluator, &ct)));
        run("raise", &|| drop(boot.mod_raise(&evaluator, &down)));
        run("coefficients to slots", &|| drop(boot.coeffs_to_slots(&evaluator, &raised)));
        run("sine, one half", &|| drop(boot.eval_mod(&evaluator, &halves[0])));
    }
    group.finish();
}

/// Whether a case of the preset can match the filters of the command line.
fn is_wanted(preset: &str) -> bool {
    let filters: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let matches = |filter: &String| filter.contains(preset) || format!("bootstrap/{preset}/").contains(filter);
    filters.is_empty() || filters.iter().any(matches)
}

criterion_group!(benches, bootstrap);
criterion_main!(benches);
