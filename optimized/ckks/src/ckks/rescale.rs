//! Rescaling and level changes (`r[ckks.rescale]`, `r[ckks.level.drop]`).

use super::ciphertext::{Ciphertext, Plaintext};
use super::context::Context;
use super::evaluator::{Evaluator, constant_integers, gaussian_values};
use crate::CkksError;
use crate::instrument::{self, Operation};
use crate::ring::{Buffer, Poly, columns};
use num_complex::Complex64;
use rayon::prelude::*;

/// Residues that are combined at once, within the first-level cache.
const BLOCK: usize = 1024;

/// `Rescale(x)` for a polynomial of level `l >= 1` in evaluation form.
fn rescale_poly(context: &Context, x: &Poly) -> Poly {
    let (level, ring) = (x.level(), context.ring());
    let kernels = ring.kernels();
    let last = centred(context, x.limb(level), level);
    let mut result = ring.scratch(level - 1, false, x.form());
    let scope = instrument::scope();
    result.limbs_mut().par_iter_mut().enumerate().for_each(|(j, out)| {
        let _scope = scope.enter();
        let (modulus, inverse, mut rho) = (ring.modulus(j), context.chain_inverse(level, j), [0; BLOCK]);
        kernels.ntt_integers_then(ring.table(j), out, &last, half(context, level), |start, values| {
            let x = &x.limb(j)[start..start + values.len()];
            for (values, x) in values.chunks_mut(BLOCK).zip(x.chunks(BLOCK)) {
                let rho = &mut rho[..values.len()];
                rho.copy_from_slice(values);
                kernels.sub_mul_scalar(modulus, values, x, rho, inverse);
            }
        });
    });
    result
}

/// A limb modulo `q_level` in evaluation form as its coefficients' centred representatives.
fn centred(context: &Context, limb: &[u64], level: usize) -> Buffer<f64> {
    let mut row = context.scratch_row();
    context.ring().kernels().intt_center(context.ring().table(level), &mut row, limb, 1);
    row
}

/// The largest centred representative modulo `q_level`.
fn half(context: &Context, level: usize) -> f64 {
    (context.ring().modulus(level).value() / 2) as f64
}

/// `Rescale((k_0 + k_1 X^(N/2)) x)` of the limbs `q_0..q_level`, the same integers as one after the other (`r[ckks.fused]`).
///
/// Modulo `q_j`, with `r` the centred last limb of the product: `x k / q_l - r / q_l`.
fn rescale_product(context: &Context, x: &Poly, k: [i64; 2], level: usize) -> Poly {
    let ring = context.ring();
    let kernels = ring.kernels();
    let half = ring.n() / 2;
    let mut last = context.scratch_limb();
    let values = gaussian_values(ring.modulus(level), ring.imaginary(level), k);
    kernels.mul_scalar(ring.modulus(level), &mut last[..half], &x.limb(level)[..half], values[0]);
    kernels.mul_scalar(ring.modulus(level), &mut last[half..], &x.limb(level)[half..], values[1]);
    let last = centred(context, &last, level);
    let mut result = ring.scratch(level - 1, false, x.form());
    let scope = instrument::scope();
    result.limbs_mut().par_iter_mut().enumerate().for_each(|(j, out)| {
        let _scope = scope.enter();
        let modulus = ring.modulus(j);
        let inverse = context.chain_inverse(level, j);
        let mut r = context.scratch_limb();
        kernels.ntt_integers(ring.table(j), &mut r, &last, self::half(context, level));
        let values = gaussian_values(modulus, ring.imaginary(j), k);
        let (low, high) = out.split_at_mut(half);
        // r (1 - 1/q_l) - r is -r / q_l.
        let rest = modulus.sub(1, inverse);
        for (out, range, value) in [(low, 0..half, values[0]), (high, half..2 * half, values[1])] {
            let (x, r) = (&x.limb(j)[range.clone()], &r[range]);
            kernels.combine2_sub(modulus, out, [x, r], [modulus.mul(value, inverse), rest], r);
        }
    });
    result
}

/// `Rescale(x m)` of both or all three polynomials, the same integers as one after the other (`r[ckks.fused]`): no product is stored
/// but those of the last limb, and every limb of `m` serves all polynomials before the next one is read.
fn rescale_plain_products(context: &Context, polys: &[Poly], m: &Poly) -> Vec<Poly> {
    let (level, ring) = (m.level(), context.ring());
    let kernels = ring.kernels();
    let scope = instrument::scope();
    let last_limb = |x: &Poly| {
        let _scope = scope.enter();
        let mut product = context.scratch_limb();
        kernels.mul(ring.modulus(level), &mut product, x.limb(level), m.limb(level));
        centred(context, &product, level)
    };
    let last: Vec<Buffer<f64>> = polys.par_iter().map(last_limb).collect();
    let mut results: Vec<Poly> = polys.iter().map(|x| ring.scratch(level - 1, false, x.form())).collect();
    columns(&mut results).into_par_iter().enumerate().for_each(|(j, outs)| {
        let _scope = scope.enter();
        let (modulus, inverse) = (ring.modulus(j), context.chain_inverse(level, j));
        for ((out, x), last) in outs.into_iter().zip(polys).zip(&last) {
            kernels.ntt_integers_then(ring.table(j), out, last, half(context, level), |start, values| {
                let range = start..start + values.len();
                kernels.product_tail(modulus, values, [&x.limb(j)[range.clone()], &m.limb(j)[range]], inverse);
            });
        }
    });
    results
}

impl Evaluator {
    /// The product with a plaintext, rescaled: the integers of [`Evaluator::mul_plain`] and [`Evaluator::rescale`]
    /// (errors `r[noise.mul.plain]`, `r[noise.rescale]`): level `l` to `l - 1`, scale `fl(fl(s_c s_m) / q_l)`.
    ///
    /// # Errors
    /// Those of both.
    pub fn mul_plain_rescale(&self, a: &Ciphertext, plain: &Plaintext) -> Result<Ciphertext, CkksError> {
        let operation = "mul_plain_rescale";
        let level = self.check_rescale(operation, a)?;
        self.check_plain(operation, a, plain)?;
        instrument::count(Operation::MultiplyPlain, level, 1);
        instrument::read_plaintext(plain.poly.limb_count() * self.context().ring().n());
        let _operation = instrument::operation(Operation::Rescale, level);
        let scale = self.rescaled_label(a.scale * plain.scale, level);
        let polys = rescale_plain_products(self.context(), &a.polys, &plain.poly);
        Ok(Ciphertext { polys, scale, fingerprint: a.fingerprint })
    }

    /// Divides by `q_l` (`r[ckks.rescale]`, error `r[noise.rescale]`): level `l` to `l - 1`, scale `s` to `fl(s / q_l)`.
    ///
    /// # Errors
    /// [`CkksError::LevelExhausted`] at level 0; [`CkksError::Fingerprint`].
    pub fn rescale(&self, a: &Ciphertext) -> Result<Ciphertext, CkksError> {
        let level = self.check_rescale("rescale", a)?;
        let _operation = instrument::operation(Operation::Rescale, level);
        let scope = instrument::scope();
        let rescale = |poly: &Poly| {
            let _scope = scope.enter();
            rescale_poly(self.context(), poly)
        };
        let polys = a.polys.par_iter().map(rescale).collect();
        Ok(Ciphertext { polys, scale: self.rescaled_label(a.scale, level), fingerprint: a.fingerprint })
    }

    /// Refuses what cannot be rescaled and gives the level.
    pub(crate) fn check_rescale(&self, operation: &'static str, a: &Ciphertext) -> Result<usize, CkksError> {
        self.context().check_fingerprint(operation, &a.fingerprint)?;
        match a.level() {
            0 => Err(CkksError::LevelExhausted { operation, expected: 1, got: 0 }),
            level => Ok(level),
        }
    }

    /// One rescale, or two at the level of a pair (`r[ckks.step]`, error `r[noise.rescale]`).
    ///
    /// # Errors
    /// As [`Evaluator::rescale`].
    pub(crate) fn step(&self, a: &Ciphertext) -> Result<Ciphertext, CkksError> {
        self.second(a.level(), self.rescale(a)?)
    }

    /// [`Evaluator::relinearise_rescale`], with a second rescale at the level of a pair (`r[ckks.step]`).
    ///
    /// # Errors
    /// As [`Evaluator::relinearise_rescale`].
    pub(crate) fn relinearise_step(&self, a: &Ciphertext) -> Result<Ciphertext, CkksError> {
        self.second(a.level(), self.relinearise_rescale(a)?)
    }

    /// The rest of a step that started at `level`, after its first rescale.
    fn second(&self, level: usize, rescaled: Ciphertext) -> Result<Ciphertext, CkksError> {
        if self.context().parameters().is_pair(level) { self.rescale(&rescaled) } else { Ok(rescaled) }
    }

    /// `fl(scale / q_level)`.
    pub(crate) fn rescaled_label(&self, scale: f64, level: usize) -> f64 {
        scale / self.context().parameters().chain()[level] as f64
    }

    /// Keeps the limbs `q_0..q_level` (`r[ckks.level.drop]`): no error, scale unchanged.
    ///
    /// # Errors
    /// [`CkksError::Level`] if `level` is above the ciphertext's; [`CkksError::Fingerprint`].
    pub fn drop_level(&self, a: &Ciphertext, level: usize) -> Result<Ciphertext, CkksError> {
        let operation = "drop_level";
        self.context().check_fingerprint(operation, &a.fingerprint)?;
        if level > a.level() {
            return Err(CkksError::Level { operation, expected: a.level(), got: level });
        }
        let _operation = instrument::within(Operation::Rescale);
        let polys = a.polys.iter().map(|poly| poly.truncated(level)).collect();
        Ok(Ciphertext { polys, scale: a.scale, fingerprint: a.fingerprint })
    }

    /// Brings a ciphertext to a lower level and its canonical scale; a ciphertext that is at `level` already must be
    /// canonical and is copied.
    ///
    /// From a higher level: drop to the level above (`r[ckks.step]`; `level + 1` without pairs), multiply by the constant 1 and
    /// rescale (errors `r[noise.scalar.mul]`, `r[noise.rescale]`). The scale of the input need not be canonical.
    ///
    /// # Errors
    /// [`CkksError::Level`] if `level` is above the ciphertext's; [`CkksError::Scale`] if it is the ciphertext's own and
    /// the scale is not canonical; [`CkksError::Fingerprint`].
    pub fn to_level(&self, a: &Ciphertext, level: usize) -> Result<Ciphertext, CkksError> {
        if level < a.level() {
            return self.mul_const_to_level(a, Complex64::new(1.0, 0.0), level);
        }
        let operation = "to_level";
        let copy = self.drop_level(a, level)?;
        let expected = self.context().parameters().canonical_scale(level);
        if copy.scale != expected {
            return Err(CkksError::Scale { operation, expected, got: copy.scale });
        }
        Ok(copy)
    }

    /// Multiplies by a constant and lands at `level`, which is below the ciphertext's, with the canonical scale: drop to
    /// the level above (`r[ckks.step]`; `level + 1` without pairs), multiply towards `fl(D D)` with `D` the canonical scale there,
    /// rescale (errors `r[noise.scalar.mul]`, `r[noise.rescale]`).
    ///
    /// # Errors
    /// [`CkksError::LevelExhausted`] unless `level` is below the ciphertext's; [`CkksError::Argument`] as
    /// [`Evaluator::mul_const`]; [`CkksError::Scale`] for the step to the output level of bootstrapping, where scales start anew
    /// (`r[ckks.scale.canonical.sections]`); [`CkksError::Fingerprint`].
    pub fn mul_const_to_level(
        &self,
        a: &Ciphertext,
        constant: Complex64,
        level: usize,
    ) -> Result<Ciphertext, CkksError> {
        let operation = "mul_const_to_level";
        let parameters = self.context().parameters();
        let above = parameters.above(level);
        if above > a.level() {
            return Err(CkksError::LevelExhausted { operation, expected: above, got: a.level() });
        }
        self.context().check_fingerprint(operation, &a.fingerprint)?;
        let target = parameters.canonical_scale(above) * parameters.canonical_scale(above);
        let scale = self.rescaled_label(target, above);
        let expected = parameters.canonical_scale(above - 1);
        if scale != expected {
            return Err(CkksError::Scale { operation, expected, got: scale });
        }
        let k = constant_integers(operation, a, constant, target)?;
        instrument::count(Operation::MultiplyConstant, above, 1);
        let _operation = instrument::operation(Operation::Rescale, above);
        let scope = instrument::scope();
        let rescale = |poly: &Poly| {
            let _scope = scope.enter();
            rescale_product(self.context(), poly, k, above)
        };
        let polys = a.polys.par_iter().map(rescale).collect();
        self.second(above, Ciphertext { polys, scale, fingerprint: a.fingerprint })
    }
}
