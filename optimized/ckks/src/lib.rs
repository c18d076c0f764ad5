//! RNS-CKKS on the CPU: 50-bit primes, f64-FMA kernels, bit-exact semantics.
