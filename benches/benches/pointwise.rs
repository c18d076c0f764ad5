//! Element-by-element kernels and key products on limbs of `2^16` residues of a 49-bit prime.

mod common;

use common::{kernels, limb, prime};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

/// Digits of a key switch at 31 levels.
const DIGITS: usize = 4;

fn pointwise(c: &mut Criterion) {
    let log_n = 16;
    let m = prime(49, log_n);
    let n = 1 << log_n;
    let (a, b) = (limb(&m, n), limb(&m, n));
    let (mut out, mut second) = (a.clone(), a.clone());
    let limbs: Vec<Vec<u64>> = (0..3 * DIGITS).map(|_| limb(&m, n)).collect();
    let views: Vec<&[u64]> = limbs.iter().map(Vec::as_slice).collect();
    let (digits, keys) = views.split_at(DIGITS);
    let (key0, key1) = keys.split_at(DIGITS);
    let scalar = m.value() / 3;
    let mut group = c.benchmark_group("pointwise/n16/49bit");
    for k in kernels() {
        let name = format!("{:?}", k.kind()).to_lowercase();
        group.bench_function(BenchmarkId::new("add", &name), |t| t.iter(|| k.add(&m, &mut out, &a, &b)));
        group.bench_function(BenchmarkId::new("mul", &name), |t| t.iter(|| k.mul(&m, &mut out, &a, &b)));
        group.bench_function(BenchmarkId::new("mul_add_assign", &name), |t| {
            t.iter(|| k.mul_add_assign(&m, &mut out, &a, &b));
        });
        group.bench_function(BenchmarkId::new("sub_mul_scalar", &name), |t| {
            t.iter(|| k.sub_mul_scalar(&m, &mut out, &a, &b, scalar));
        });
        group.bench_function(BenchmarkId::new("dot2 of 4 digits", &name), |t| {
            t.iter(|| k.dot2(&m, &mut out, &mut second, digits, key0, key1));
        });
    }
    group.finish();
}

criterion_group!(benches, pointwise);
criterion_main!(benches);
