//! The normative draws: domains of streams and the Gaussian table (`r[sample.stream]`, `r[sample.gaussian]`).

/// Stream domains, the first of the four numbers that name a stream (`r[sample.stream]`).
pub mod domain {
    /// The secret key.
    pub const SECRET: u32 = 1;
    /// Uniform half of the public key.
    pub const PUBLIC_UNIFORM: u32 = 2;
    /// Error of the public key.
    pub const PUBLIC_ERROR: u32 = 3;
    /// Uniform half of a key-switching key.
    pub const SWITCH_UNIFORM: u32 = 4;
    /// Error of a key-switching key.
    pub const SWITCH_ERROR: u32 = 5;
    /// Uniform half of a secret-key encryption.
    pub const ENCRYPT_UNIFORM: u32 = 6;
    /// Error of a secret-key encryption.
    pub const ENCRYPT_ERROR: u32 = 7;
    /// The ternary multiplier of a public-key encryption.
    pub const ENCRYPT_TERNARY: u32 = 8;
    /// First error of a public-key encryption.
    pub const ENCRYPT_ERROR_0: u32 = 9;
    /// Second error of a public-key encryption.
    pub const ENCRYPT_ERROR_1: u32 = 10;
    /// The ephemeral secret of bootstrapping (`r[boot.key.ephemeral]`).
    pub const EPHEMERAL_SECRET: u32 = 11;
}

/// Limb id of special prime `p_0`; `p_j` has `SPECIAL_LIMB + j`, chain prime `q_i` has `i`.
pub const SPECIAL_LIMB: u32 = 1 << 31;

/// Key id of the relinearisation key; an automorphism `X -> X^g` has key id `g`.
pub const RELINEARISATION_KEY_ID: u32 = 0;

/// Key id of the key from the ephemeral secret to the secret (`r[boot.key.from-ephemeral]`).
pub const FROM_EPHEMERAL_KEY_ID: u32 = 2;

/// Key id of the key from the secret to the ephemeral one (`r[boot.key.to-ephemeral]`).
pub const TO_EPHEMERAL_KEY_ID: u32 = 4;

/// `T_k = rne(2^63 Pr(|X| <= k))`, `k = 0, 1, ...`, for the discrete Gaussian with sigma 3.2 (`r[sample.gaussian]`).
///
/// Entries that would equal `2^63` are left out. The reference recomputes the table from its definition in a test.
pub const GAUSSIAN_TABLE: [u64; 29] = [
    0x0ff52b4064a1f258,
    0x2e5a25d4026fff6e,
    0x489ae2682e3db9bb,
    0x5d2bc20de6f95106,
    0x6bc8694a862fcdcf,
    0x7532d898e9d195da,
    0x7ab396c980f5facb,
    0x7d9e4e8f6717ea70,
    0x7f054956150a592b,
    0x7fa1ce99f8dbf691,
    0x7fdfb3f00a8f3398,
    0x7ff5e6f7c97d68d9,
    0x7ffd1f95b372bd36,
    0x7fff40f7f7aedc64,
    0x7fffd2e62d057ef0,
    0x7ffff6503aaa2875,
    0x7ffffe1bab99a744,
    0x7fffffaa0140ce53,
    0x7ffffff21f8a3a77,
    0x7ffffffdf72301f4,
    0x7fffffffba9fd472,
    0x7ffffffff79b78ce,
    0x7fffffffff13f6f9,
    0x7fffffffffe8748a,
    0x7ffffffffffdde24,
    0x7fffffffffffd320,
    0x7ffffffffffffca7,
    0x7fffffffffffffc6,
    0x7ffffffffffffffc,
];
