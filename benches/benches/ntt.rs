//! Transforms of one limb: scalar and vector kernels beside the 64-bit plan of `tfhe-ntt`, in one run.

mod common;

use common::{aligned, kernels, limb, prime};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use touchstone_ckks::arith::NttTable;

fn transforms(c: &mut Criterion) {
    for log_n in [15, 16] {
        for bits in [40, 49] {
            let m = prime(bits, log_n);
            let table = NttTable::new(log_n, m).expect("the prime fits the length");
            let plan = tfhe_ntt::prime64::Plan::try_new(table.n(), m.value()).expect("the prime fits the length");
            let mut storage = limb(&m, table.n());
            let a = aligned(&mut storage);
            let mut group = c.benchmark_group(format!("ntt/n{log_n}/{bits}bit"));
            for k in kernels() {
                let name = format!("{:?}", k.kind()).to_lowercase();
                group.bench_function(BenchmarkId::new("forward", &name), |b| b.iter(|| k.ntt(&table, a)));
                group.bench_function(BenchmarkId::new("inverse", &name), |b| b.iter(|| k.intt(&table, a)));
                let both = |a: &mut [u64]| {
                    k.ntt(&table, a);
                    k.intt(&table, a);
                };
                group.bench_function(BenchmarkId::new("both", &name), |b| b.iter(|| both(a)));
            }
            let name = "tfhe-ntt";
            group.bench_function(BenchmarkId::new("forward", name), |b| b.iter(|| plan.fwd(a)));
            group.bench_function(BenchmarkId::new("inverse", name), |b| b.iter(|| plan.inv(a)));
            // Its inverse leaves the factor N in; normalising is part of a fair comparison.
            let both = |a: &mut [u64]| {
                plan.fwd(a);
                plan.inv(a);
                plan.normalize(a);
            };
            group.bench_function(BenchmarkId::new("both", name), |b| b.iter(|| both(a)));
            group.finish();
        }
    }
}

criterion_group!(benches, transforms);
criterion_main!(benches);
