//! What the kernels need of a processor: eight 64-bit lanes with the 52-bit multiply-add.

/// Lanes of a vector.
pub(super) const LANES: usize = 8;

/// Selects lane `pattern[i]` of two vectors in a row, 0 to 15, for lane `i`.
pub(super) type Pattern = [u64; LANES];

/// Operations on vectors of eight 64-bit lanes, one per instruction. The value itself is proof that they may be executed.
///
/// Implementations: `Zmm` in intrinsics, `Portable` in plain integers; the kernels are generic over them, so that tests of the one
/// run the code of the other.
pub(super) trait Lanes: Copy {
    /// A vector.
    type Vector: Copy;

    /// `x` in all lanes.
    fn splat(self, x: u64) -> Self::Vector;
    /// The first eight elements; lanes beyond the end of a shorter slice are 0.
    fn load(self, x: &[u64]) -> Self::Vector;
    /// Writes the first eight elements, or all of a shorter slice.
    fn store(self, x: Self::Vector, out: &mut [u64]);
    /// The first `count <= 64` bytes, little-endian; the others are 0.
    fn load_bytes(self, x: &[u8], count: usize) -> Self::Vector;
    /// Byte `i` of the result is byte `indices[i] mod 64` of `x`.
    fn permute_bytes(self, x: Self::Vector, indices: Self::Vector) -> Self::Vector;
    /// The lanes of `a` (0 to 7) and `b` (8 to 15) that `pattern` names.
    fn permute(self, a: Self::Vector, b: Self::Vector, pattern: &Pattern) -> Self::Vector;
    /// `a + b` modulo `2^64`.
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a - b` modulo `2^64`.
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// The smaller unsigned number.
    fn min(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// Bits set in both.
    fn and(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a 2^count` modulo `2^64`, `count < 64`.
    fn shift_left(self, a: Self::Vector, count: Self::Vector) -> Self::Vector;
    /// `floor(a / 2^count)`, `count < 64`.
    fn shift_right(self, a: Self::Vector, count: Self::Vector) -> Self::Vector;
    /// `acc` plus the low 52 bits of the product of the low 52 bits of `a` and `b`, modulo `2^64`.
    fn madd_lo(self, acc: Self::Vector, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `acc` plus bits 52 to 103 of the product of the low 52 bits of `a` and `b`, modulo `2^64`.
    fn madd_hi(self, acc: Self::Vector, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// The sum of lanes read as doubles, rounded to nearest.
    fn add_f64(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// Asks for the line of element `at`, which need not exist, to be brought into the cache.
    #[inline(always)]
    fn prefetch(self, _x: &[u64], _at: usize) {}

    /// [`Lanes::load`] of every input from element `at` on. A loop, because the closures of `array::map` are not always inlined, and so
    /// not compiled for the features.
    #[inline(always)]
    fn load_all<const K: usize>(self, inputs: [&[u64]; K], at: usize) -> [Self::Vector; K] {
        let mut out = [self.splat(0); K];
        for (out, x) in out.iter_mut().zip(&inputs) {
            *out = self.load(&x[at..]);
        }
        out
    }

    /// Whether all lanes are below `bound`; for assertions.
    #[inline(never)]
    fn below(self, x: Self::Vector, bound: u64) -> bool {
        let mut lanes = [0; LANES];
        self.store(x, &mut lanes);
        lanes.into_iter().all(|x| x < bound)
    }
}
