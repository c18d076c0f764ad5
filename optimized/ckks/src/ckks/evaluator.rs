//! Linear operations on ciphertexts. Products, rescaling and rotations extend [`Evaluator`] in their own files.

use super::ciphertext::{Ciphertext, Plaintext};
use super::context::Context;
use super::encoder::COEFFICIENT_LIMIT;
use super::keys::EvaluationKeys;
use crate::CkksError;
use crate::arith::{Kernels, Modulus};
use crate::instrument::{self, Operation};
use crate::ring::{Form, Poly};
use num_complex::Complex64;
use rayon::prelude::*;

/// Operates on ciphertexts without the secret key.
///
/// Levels and scale labels must match as each operation says; nothing is adjusted silently.
#[derive(Debug, Clone)]
pub struct Evaluator {
    context: Context,
    keys: EvaluationKeys,
}

impl Evaluator {
    /// An evaluator that shares the given keys; they are looked up when an operation needs them.
    #[must_use]
    pub fn new(context: &Context, keys: &EvaluationKeys) -> Self {
        Self { context: context.clone(), keys: keys.clone() }
    }

    /// The context.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The keys.
    #[must_use]
    pub fn keys(&self) -> &EvaluationKeys {
        &self.keys
    }

    /// `a + b` (`r[ckks.add]`, error `r[noise.add]`): level and scale unchanged. Degrees may differ.
    ///
    /// # Errors
    /// [`CkksError::Level`] or [`CkksError::Scale`] if the labels differ; [`CkksError::Fingerprint`].
    pub fn add(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext, CkksError> {
        let _operation = instrument::within(Operation::Add);
        let mut sum = a.clone();
        self.add_assign(&mut sum, b)?;
        Ok(sum)
    }

    /// [`Evaluator::add`] in place: `a += b`.
    ///
    /// # Errors
    /// As [`Evaluator::add`].
    pub fn add_assign(&self, a: &mut Ciphertext, b: &Ciphertext) -> Result<(), CkksError> {
        self.check_pair("add", a, b)?;
        let _operation = instrument::operation(Operation::Add, a.level());
        self.zip_limbs(&mut a.polys, &b.polys, |kernels, modulus, a, b| kernels.add_assign(modulus, a, b));
        a.polys.extend(b.polys.iter().skip(a.polys.len()).cloned());
        Ok(())
    }

    /// `a + a`, in place: level and scale unchanged.
    ///
    /// # Errors
    /// [`CkksError::Fingerprint`].
    pub fn double(&self, mut a: Ciphertext) -> Result<Ciphertext, CkksError> {
        self.context.check_fingerprint("double", &a.fingerprint)?;
        let ring = self.context.ring();
        let _operation = instrument::operation(Operation::Add, a.level());
        let scope = instrument::scope();
        for poly in &mut a.polys {
            poly.limbs_mut().par_iter_mut().enumerate().for_each(|(i, limb)| {
                let _scope = scope.enter();
                ring.kernels().mul_scalar_assign(ring.modulus(i), limb, 2);
            });
        }
        Ok(a)
    }

    /// `a - b` (`r[ckks.add]`, error `r[noise.add]`): level and scale unchanged. Degrees may differ.
    ///
    /// # Errors
    /// [`CkksError::Level`] or [`CkksError::Scale`] if the labels differ; [`CkksError::Fingerprint`].
    pub fn sub(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext, CkksError> {
        self.check_pair("sub", a, b)?;
        let _operation = instrument::operation(Operation::Add, a.level());
        let mut difference = a.clone();
        self.zip_limbs(&mut difference.polys, &b.polys, |kernels, modulus, a, b| kernels.sub_assign(modulus, a, b));
        let missing = b.polys.iter().skip(a.polys.len());
        difference.polys.extend(missing.map(|poly| self.neg_poly(poly)));
        Ok(difference)
    }

    /// `-a` (`r[ckks.add]`): error, level and scale unchanged.
    ///
    /// # Errors
    /// [`CkksError::Fingerprint`].
    pub fn neg(&self, a: &Ciphertext) -> Result<Ciphertext, CkksError> {
        self.context.check_fingerprint("neg", &a.fingerprint)?;
        let _operation = instrument::operation(Operation::Add, a.level());
        let polys = a.polys.iter().map(|poly| self.neg_poly(poly)).collect();
        Ok(Ciphertext { polys, scale: a.scale, fingerprint: a.fingerprint })
    }

    /// Adds a plaintext of the same level and scale (`r[ckks.add]`; errors `r[noise.add]`, `r[noise.encode]`).
    ///
    /// # Errors
    /// [`CkksError::Level`] or [`CkksError::Scale`] if the labels differ; [`CkksError::Fingerprint`].
    pub fn add_plain(&self, a: &Ciphertext, plain: &Plaintext) -> Result<Ciphertext, CkksError> {
        self.check_plain("add_plain", a, plain)?;
        self.check_scale("add_plain", a.scale, plain.scale)?;
        let _operation = instrument::operation(Operation::Add, a.level());
        instrument::read_plaintext(plain.poly.limb_count() * self.context.ring().n());
        let mut sum = a.clone();
        let plain = std::slice::from_ref(&plain.poly);
        self.zip_limbs(&mut sum.polys, plain, |kernels, modulus, a, b| kernels.add_assign(modulus, a, b));
        Ok(sum)
    }

    /// Subtracts a plaintext of the same level and scale (`r[ckks.add]`; errors `r[noise.add]`, `r[noise.encode]`).
    ///
    /// # Errors
    /// [`CkksError::Level`] or [`CkksError::Scale`] if the labels differ; [`CkksError::Fingerprint`].
    pub fn sub_plain(&self, a: &Ciphertext, plain: &Plaintext) -> Result<Ciphertext, CkksError> {
        self.check_plain("sub_plain", a, plain)?;
        self.check_scale("sub_plain", a.scale, plain.scale)?;
        let _operation = instrument::operation(Operation::Add, a.level());
        instrument::read_plaintext(plain.poly.limb_count() * self.context.ring().n());
        let mut difference = a.clone();
        let plain = std::slice::from_ref(&plain.poly);
        self.zip_limbs(&mut difference.polys, plain, |kernels, modulus, a, b| kernels.sub_assign(modulus, a, b));
        Ok(difference)
    }

    /// Multiplies by a plaintext of the same level (`r[ckks.mul.plain]`, error `r[noise.mul.plain]`), not rescaled: level
    /// unchanged, scale `fl(s_c s_m)`.
    ///
    /// # Errors
    /// [`CkksError::Level`] if the levels differ; [`CkksError::Fingerprint`].
    pub fn mul_plain(&self, a: &Ciphertext, plain: &Plaintext) -> Result<Ciphertext, CkksError> {
        self.check_plain("mul_plain", a, plain)?;
        let ring = self.context.ring();
        let _operation = instrument::operation(Operation::MultiplyPlain, a.level());
        instrument::read_plaintext(plain.poly.limb_count() * ring.n());
        let scope = instrument::scope();
        let product = |poly: &Poly| {
            let mut out = ring.scratch(poly.level(), false, poly.form());
            out.limbs_mut().par_iter_mut().enumerate().for_each(|(i, out)| {
                let _scope = scope.enter();
                ring.kernels().mul(ring.modulus(i), out, poly.limb(i), plain.poly.limb(i));
            });
            out
        };
        let polys = a.polys.iter().map(product).collect();
        Ok(Ciphertext { polys, scale: a.scale * plain.scale, fingerprint: a.fingerprint })
    }

    /// `acc += a * plain` (`r[ckks.mul.plain]`, `r[ckks.add]`; errors `r[noise.mul.plain]`, `r[noise.add]`). The
    /// accumulator has the level of both factors, the degree of `a` and scale `fl(s_c s_m)`.
    ///
    /// # Errors
    /// [`CkksError::Level`], [`CkksError::Scale`] or [`CkksError::Degree`] if they do not; [`CkksError::Fingerprint`].
    pub fn mul_plain_acc(&self, acc: &mut Ciphertext, a: &Ciphertext, plain: &Plaintext) -> Result<(), CkksError> {
        let operation = "mul_plain_acc";
        self.check_plain(operation, a, plain)?;
        self.check_levels(operation, acc, a)?;
        self.check_scale(operation, a.scale * plain.scale, acc.scale)?;
        self.check_degree(operation, acc, a.degree())?;
        let ring = self.context.ring();
        let _operation = instrument::operation(Operation::MultiplyPlain, a.level());
        instrument::read_plaintext(plain.poly.limb_count() * ring.n());
        let scope = instrument::scope();
        for (acc, poly) in acc.polys.iter_mut().zip(&a.polys) {
            acc.limbs_mut().par_iter_mut().enumerate().for_each(|(i, acc)| {
                let _scope = scope.enter();
                ring.kernels().mul_add_assign(ring.modulus(i), acc, poly.limb(i), plain.poly.limb(i));
            });
        }
        Ok(())
    }

    /// Adds a constant to every slot (`r[ckks.scalar.add]`, error at most half a unit of the scale in two coefficients):
    /// level and scale unchanged.
    ///
    /// # Errors
    /// [`CkksError::Argument`] for a constant that is NaN or reaches `2^62` at this scale; [`CkksError::Fingerprint`].
    pub fn add_const(&self, a: &Ciphertext, constant: Complex64) -> Result<Ciphertext, CkksError> {
        let _operation = instrument::within(Operation::Add);
        let mut sum = a.clone();
        self.add_const_assign(&mut sum, constant)?;
        Ok(sum)
    }

    /// [`Evaluator::add_const`] in place.
    ///
    /// # Errors
    /// As [`Evaluator::add_const`].
    pub fn add_const_assign(&self, a: &mut Ciphertext, constant: Complex64) -> Result<(), CkksError> {
        let operation = "add_const";
        self.context.check_fingerprint(operation, &a.fingerprint)?;
        let k = [integer(operation, constant.re * a.scale)?, integer(operation, constant.im * a.scale)?];
        let _operation = instrument::operation(Operation::Add, a.level());
        self.for_halves(&mut a.polys[0], k, |_, modulus, half, c| {
            for residue in half {
                *residue = modulus.add(*residue, c);
            }
        });
        Ok(())
    }

    /// Multiplies every slot by a constant towards the scale `target` (`r[ckks.scalar.mul]`, error `r[noise.scalar.mul]`),
    /// not rescaled: level unchanged, scale `target`.
    ///
    /// # Errors
    /// [`CkksError::Argument`] for a constant that is NaN or reaches `2^62` in units of `target / scale`, or a target that is
    /// not positive and finite; [`CkksError::Fingerprint`].
    pub fn mul_const(&self, a: &Ciphertext, constant: Complex64, target: f64) -> Result<Ciphertext, CkksError> {
        let operation = "mul_const";
        let k = constant_integers(operation, a, constant, target)?;
        let mut product = self.mul_gaussian(operation, a, k)?;
        product.scale = target;
        Ok(product)
    }

    /// `sum_i c_i x_i` at `level` with scale label `target`, not rescaled: every `x_i`, of level `level` or above, is dropped to
    /// `level`, multiplied by `c_i` towards `target` (`r[ckks.level.drop]`, `r[ckks.scalar.mul]`, error `r[noise.scalar.mul]`) and
    /// added, in one pass over each limb.
    ///
    /// # Errors
    /// [`CkksError::Argument`] without terms and as [`Evaluator::mul_const`]; [`CkksError::Level`] for a term below `level`;
    /// [`CkksError::Degree`] for a term of degree 2; [`CkksError::Fingerprint`].
    pub fn weighted_sum(
        &self,
        terms: &[(&Ciphertext, f64)],
        level: usize,
        target: f64,
    ) -> Result<Ciphertext, CkksError> {
        let operation = "weighted_sum";
        let Some((first, _)) = terms.first() else {
            return Err(CkksError::Argument { operation, expected: "at least one term", got: "none".to_owned() });
        };
        let mut factors = Vec::with_capacity(terms.len());
        for (x, c) in terms {
            self.context.check_fingerprint(operation, &x.fingerprint)?;
            self.check_degree(operation, x, 1)?;
            if x.level() < level {
                return Err(CkksError::Level { operation, expected: level, got: x.level() });
            }
            factors.push(constant_integers(operation, x, Complex64::new(*c, 0.0), target)?[0]);
        }
        let ring = self.context.ring();
        instrument::count(Operation::MultiplyConstant, level, terms.len());
        let _operation = instrument::within(Operation::MultiplyConstant);
        let scope = instrument::scope();
        let sum = |half: usize| {
            let mut out = ring.scratch(level, false, Form::Eval);
            out.limbs_mut().par_iter_mut().enumerate().for_each(|(i, out)| {
                let _scope = scope.enter();
                let modulus = ring.modulus(i);
                let limbs: Vec<&[u64]> = terms.iter().map(|(x, _)| x.polys[half].limb(i)).collect();
                let residues: Vec<u64> = factors.iter().map(|k| modulus.from_i64(*k)).collect();
                ring.kernels().weighted_sum(modulus, out, &limbs, &residues);
            });
            out
        };
        Ok(Ciphertext { polys: vec![sum(0), sum(1)], scale: target, fingerprint: first.fingerprint })
    }

    /// Multiplies every slot by an integer: error times `|k|`, level and scale unchanged.
    ///
    /// # Errors
    /// [`CkksError::Argument`] for an integer of magnitude `2^62` or more; [`CkksError::Fingerprint`].
    pub fn mul_int(&self, a: &Ciphertext, k: i64) -> Result<Ciphertext, CkksError> {
        if k.unsigned_abs() >= 1 << 62 {
            let (operation, expected) = ("mul_int", "an integer below 2^62");
            return Err(CkksError::Argument { operation, expected, got: k.to_string() });
        }
        self.mul_gaussian("mul_int", a, [k, 0])
    }

    /// Multiplies every slot by `i`, which is the exact multiplication by `X^(N/2)`: error, level and scale unchanged.
    ///
    /// # Errors
    /// [`CkksError::Fingerprint`].
    pub fn mul_i(&self, a: &Ciphertext) -> Result<Ciphertext, CkksError> {
        self.mul_gaussian("mul_i", a, [0, 1])
    }

    /// Multiplies by `k_0 + k_1 X^(N/2)`.
    fn mul_gaussian(&self, operation: &'static str, a: &Ciphertext, k: [i64; 2]) -> Result<Ciphertext, CkksError> {
        self.context.check_fingerprint(operation, &a.fingerprint)?;
        let ring = self.context.ring();
        let _operation = instrument::operation(Operation::MultiplyConstant, a.level());
        let scope = instrument::scope();
        let product = |poly: &Poly| {
            let mut out = ring.scratch(poly.level(), false, poly.form());
            out.limbs_mut().par_iter_mut().enumerate().for_each(|(i, out)| {
                let _scope = scope.enter();
                let (modulus, x) = (ring.modulus(i), poly.limb(i));
                let (low, high) = out.split_at_mut(x.len() / 2);
                let [first, second] = gaussian_values(modulus, ring.imaginary(i), k);
                ring.kernels().mul_scalar(modulus, low, &x[..x.len() / 2], first);
                ring.kernels().mul_scalar(modulus, high, &x[x.len() / 2..], second);
            });
            out
        };
        let polys = a.polys.iter().map(product).collect();
        Ok(Ciphertext { polys, scale: a.scale, fingerprint: a.fingerprint })
    }

    /// Hands both halves of every limb to `apply` with the value that `k_0 + k_1 X^(N/2)` takes there.
    fn for_halves(&self, poly: &mut Poly, k: [i64; 2], apply: impl Fn(Kernels, &Modulus, &mut [u64], u64) + Sync) {
        let ring = self.context.ring();
        let scope = instrument::scope();
        poly.limbs_mut().par_iter_mut().enumerate().for_each(|(i, limb)| {
            let _scope = scope.enter();
            let modulus = ring.modulus(i);
            let values = gaussian_values(modulus, ring.imaginary(i), k);
            let (first, second) = limb.split_at_mut(ring.n() / 2);
            apply(ring.kernels(), modulus, first, values[0]);
            apply(ring.kernels(), modulus, second, values[1]);
        });
    }

    /// Applies `apply` to the limbs of the polynomials that both sides have.
    fn zip_limbs(&self, a: &mut [Poly], b: &[Poly], apply: impl Fn(Kernels, &Modulus, &mut [u64], &[u64]) + Sync) {
        let ring = self.context.ring();
        let scope = instrument::scope();
        for (a, b) in a.iter_mut().zip(b) {
            let limbs = a.limbs_mut().par_iter_mut().zip(b.limbs()).enumerate();
            limbs.for_each(|(i, (a, b))| {
                let _scope = scope.enter();
                apply(ring.kernels(), ring.modulus(i), a, b);
            });
        }
    }

    fn neg_poly(&self, poly: &Poly) -> Poly {
        let ring = self.context.ring();
        let mut out = ring.scratch(poly.level(), false, poly.form());
        let scope = instrument::scope();
        out.limbs_mut().par_iter_mut().enumerate().for_each(|(i, out)| {
            let _scope = scope.enter();
            ring.kernels().neg(ring.modulus(i), out, poly.limb(i));
        });
        out
    }

    /// Equal parameters and levels.
    pub(crate) fn check_levels(
        &self,
        operation: &'static str,
        a: &Ciphertext,
        b: &Ciphertext,
    ) -> Result<(), CkksError> {
        self.context.check_fingerprint(operation, &a.fingerprint)?;
        self.context.check_fingerprint(operation, &b.fingerprint)?;
        if a.level() != b.level() {
            return Err(CkksError::Level { operation, expected: a.level(), got: b.level() });
        }
        Ok(())
    }

    /// The degree `expected`.
    pub(crate) fn check_degree(
        &self,
        operation: &'static str,
        a: &Ciphertext,
        expected: usize,
    ) -> Result<(), CkksError> {
        if a.degree() != expected {
            return Err(CkksError::Degree { operation, expected, got: a.degree() });
        }
        Ok(())
    }

    fn check_scale(&self, operation: &'static str, expected: f64, got: f64) -> Result<(), CkksError> {
        if expected != got {
            return Err(CkksError::Scale { operation, expected, got });
        }
        Ok(())
    }

    /// Equal parameters, levels and scales (`r[ckks.scale.mismatch]`).
    fn check_pair(&self, operation: &'static str, a: &Ciphertext, b: &Ciphertext) -> Result<(), CkksError> {
        self.check_levels(operation, a, b)?;
        self.check_scale(operation, a.scale, b.scale)
    }

    pub(super) fn check_plain(
        &self,
        operation: &'static str,
        a: &Ciphertext,
        plain: &Plaintext,
    ) -> Result<(), CkksError> {
        self.context.check_fingerprint(operation, &a.fingerprint)?;
        self.context.check_fingerprint(operation, &plain.fingerprint)?;
        if a.level() != plain.level() {
            return Err(CkksError::Level { operation, expected: a.level(), got: plain.level() });
        }
        Ok(())
    }
}

/// The values of `k_0 + k_1 X^(N/2)` in both halves of a limb in evaluation form.
pub(crate) fn gaussian_values(modulus: &Modulus, imaginary: u64, k: [i64; 2]) -> [u64; 2] {
    let [k0, k1] = k.map(|k| modulus.from_i64(k));
    let imaginary = modulus.mul(k1, imaginary);
    [modulus.add(k0, imaginary), modulus.sub(k0, imaginary)]
}

/// `k_0` and `k_1` of `r[ckks.scalar.mul]`.
pub(crate) fn constant_integers(
    operation: &'static str,
    a: &Ciphertext,
    constant: Complex64,
    target: f64,
) -> Result<[i64; 2], CkksError> {
    if !(target > 0.0 && target.is_finite()) {
        let expected = "a positive finite scale";
        return Err(CkksError::Argument { operation, expected, got: target.to_string() });
    }
    Ok([integer(operation, constant.re * target / a.scale)?, integer(operation, constant.im * target / a.scale)?])
}

/// `rne(x)` if it is below `2^62` in magnitude.
fn integer(operation: &'static str, x: f64) -> Result<i64, CkksError> {
    let rounded = x.round_ties_even();
    if rounded.abs() < COEFFICIENT_LIMIT {
        return Ok(rounded as i64);
    }
    let expected = "a constant below 2^62 in units of its scale";
    Err(CkksError::Argument { operation, expected, got: x.to_string() })
}
