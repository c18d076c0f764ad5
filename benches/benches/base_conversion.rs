//! Base conversion from ten 49-bit primes at `N = 2^16`, per stage and target.

mod common;

use common::{kernels, limb, primes};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use touchstone_ckks::arith::BaseConverter;

const BASIS: usize = 10;
const TARGETS: usize = 4;

fn conversion(c: &mut Criterion) {
    let log_n = 16;
    let n = 1 << log_n;
    let moduli = primes(49, log_n, BASIS + TARGETS);
    let (from, to) = moduli.split_at(BASIS);
    let converter = BaseConverter::new(from, to).expect("distinct primes");
    let inputs: Vec<Vec<u64>> = from.iter().map(|m| limb(m, n)).collect();
    let views: Vec<&[u64]> = inputs.iter().map(|x| &x[..n]).collect();
    let mut y = vec![0.0; BASIS * n];
    let mut v = vec![0.0; n];
    let mut out: Vec<Vec<u64>> = vec![vec![0; n]; TARGETS];
    let mut group = c.benchmark_group("base_conversion/n16/10 to 1");
    for k in kernels() {
        let name = format!("{:?}", k.kind()).to_lowercase();
        group.bench_function(BenchmarkId::new("scale_inputs", &name), |t| {
            t.iter(|| converter.scale_inputs(k, &views, &mut y));
        });
        group.bench_function(BenchmarkId::new("convert", &name), |t| {
            t.iter(|| converter.convert(k, &y, 0, &mut out[0]));
        });
        group.bench_function(BenchmarkId::new("quotient", &name), |t| t.iter(|| converter.quotient(k, &y, &mut v)));
        group.bench_function(BenchmarkId::new("convert_exact", &name), |t| {
            t.iter(|| converter.convert_exact(k, &y, &v, 0, &mut out[0]));
        });
    }
    group.finish();
}

criterion_group!(benches, conversion);
criterion_main!(benches);
