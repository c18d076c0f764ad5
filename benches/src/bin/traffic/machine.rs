//! What the machine can do: memory bandwidth, and the engine's kernels on data that stays in a cache.

use rayon::prelude::*;
use std::hint::black_box;
use std::time::Instant;
use touchstone_ckks::Context;
use touchstone_ckks::arith::BaseConverter;

/// Numbers in each array of the bandwidth test: 512 MiB in all three, more than any cache.
const TRIAD: usize = 1 << 24;
/// Numbers that a thread takes at once.
const CHUNK: usize = 1 << 16;
/// Residues of in-cache inputs of products and conversions: all of them fit the second-level cache.
const PART: usize = 4096;
/// Shortest measurement in seconds.
const TURN: f64 = 0.05;
/// Measurements of which the shortest counts.
const TURNS: usize = 5;

/// Rates of one machine, of all threads together.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// Bytes per second of `a = b + c d` on arrays in memory, 24 bytes per element (the triad of STREAM).
    pub bandwidth: f64,
    /// Seconds for a transform of a limb, the mean of both directions.
    pub transform: f64,
    /// Seconds for a row of a base conversion, `N` multiply-adds.
    pub conversion: f64,
    /// Seconds for an element-by-element product of limbs in a key product.
    pub product: f64,
}

impl Machine {
    /// Measures with the kernels and primes of `context` and `threads` threads.
    pub fn measure(context: &Context, threads: usize) -> Self {
        let parts = context.parameters().n() as f64 / PART as f64;
        Self {
            bandwidth: 24.0 * TRIAD as f64 / triad(),
            transform: transform(context) / threads as f64,
            conversion: conversion(context) * parts / threads as f64,
            product: product(context) * parts / threads as f64,
        }
    }
}

/// Seconds of one run of `work`: the shortest of several means.
pub fn seconds(mut work: impl FnMut()) -> f64 {
    work();
    let mut turn = || {
        let (start, mut runs) = (Instant::now(), 0u32);
        while runs == 0 || start.elapsed().as_secs_f64() < TURN {
            work();
            runs += 1;
        }
        start.elapsed().as_secs_f64() / f64::from(runs)
    };
    (0..TURNS).map(|_| turn()).fold(f64::INFINITY, f64::min)
}

fn triad() -> f64 {
    let (mut a, b, c) = (vec![0.0f64; TRIAD], vec![1.5f64; TRIAD], vec![0.5f64; TRIAD]);
    let time = seconds(|| {
        let chunks = a.par_chunks_mut(CHUNK).zip(b.par_chunks(CHUNK)).zip(c.par_chunks(CHUNK));
        chunks.for_each(|((a, b), c)| a.iter_mut().zip(b).zip(c).for_each(|((a, b), c)| *a = b + 3.0 * c));
    });
    black_box(a);
    time
}

fn transform(context: &Context) -> f64 {
    let ring = context.ring();
    let mut limb: Vec<u64> = (0..ring.n() as u64).collect();
    let both = seconds(|| {
        ring.kernels().ntt(ring.table(0), &mut limb);
        ring.kernels().intt(ring.table(0), &mut limb);
    });
    black_box(limb);
    both / 2.0
}

fn conversion(context: &Context) -> f64 {
    let ring = context.ring();
    let rows = ring.special_len();
    let from: Vec<_> = (0..rows).map(|j| *ring.modulus(ring.chain_len() + j)).collect();
    let converter = BaseConverter::new(&from, &[*ring.modulus(0)]).expect("the primes of a parameter set differ");
    let y: Vec<f64> = (0..rows * PART).map(|i| i as f64).collect();
    let mut out = vec![0; PART];
    let time = seconds(|| converter.convert(ring.kernels(), &y, 0, &mut out));
    black_box(out);
    time / rows as f64
}

fn product(context: &Context) -> f64 {
    const DIGITS: usize = 4;
    let ring = context.ring();
    let limbs: Vec<Vec<u64>> = (0..3 * DIGITS as u64).map(|i| (i..i + PART as u64).collect()).collect();
    let views: Vec<&[u64]> = limbs.iter().map(Vec::as_slice).collect();
    let [digits, key0, key1] = [0, 1, 2].map(|i| &views[i * DIGITS..(i + 1) * DIGITS]);
    let (mut out0, mut out1) = (vec![0; PART], vec![0; PART]);
    let time = seconds(|| ring.kernels().dot2(ring.modulus(0), &mut out0, &mut out1, digits, key0, key1));
    black_box((out0, out1));
    time / (2 * DIGITS) as f64
}
