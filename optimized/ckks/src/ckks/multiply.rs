//! Products of ciphertexts (`r[ckks.mul]`, `r[ckks.relin]`).

use super::ciphertext::Ciphertext;
use super::evaluator::Evaluator;
use super::keys::SwitchKey;
use super::keyswitch::{key_product, mod_down_add, mod_down_rescale};
use crate::CkksError;
use crate::instrument::{self, Operation};
use crate::ring::Form;
use rayon::prelude::*;

/// Residues multiplied at once: four inputs and three outputs of this length stay in the second-level cache.
const BLOCK: usize = 4096;

impl Evaluator {
    /// The product as a ciphertext of degree 2 (`r[ckks.mul]`, error `r[noise.mul]`): level unchanged, scale `fl(s_a s_b)`.
    /// Sums of such products may be relinearised once.
    ///
    /// # Errors
    /// [`CkksError::Level`] if the levels differ; [`CkksError::Degree`] if an operand has degree 2;
    /// [`CkksError::Fingerprint`].
    pub fn mul_lazy(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext, CkksError> {
        let operation = "mul_lazy";
        self.check_levels(operation, a, b)?;
        self.check_degree(operation, a, 1)?;
        self.check_degree(operation, b, 1)?;
        let ring = self.context().ring();
        let (kernels, level) = (ring.kernels(), a.level());
        let _operation = instrument::operation(Operation::Multiply, level);
        let scope = instrument::scope();
        let mut polys: Vec<_> = (0..3).map(|_| ring.scratch(level, false, Form::Eval)).collect();
        let [d0, d1, d2] = &mut polys[..] else { unreachable!("three polynomials were made") };
        let limbs = d0.limbs_mut().par_iter_mut().zip(d1.limbs_mut()).zip(d2.limbs_mut());
        limbs.enumerate().for_each(|(i, ((d0, d1), d2))| {
            let _scope = scope.enter();
            let modulus = ring.modulus(i);
            let block = BLOCK.min(ring.n());
            for start in (0..ring.n()).step_by(block) {
                let range = start..start + block;
                let [a0, a1] = [0, 1].map(|k: usize| &a.polys[k].limb(i)[range.clone()]);
                let [b0, b1] = [0, 1].map(|k: usize| &b.polys[k].limb(i)[range.clone()]);
                kernels.mul(modulus, &mut d0[range.clone()], a0, b0);
                kernels.mul(modulus, &mut d1[range.clone()], a0, b1);
                kernels.mul_add_assign(modulus, &mut d1[range.clone()], a1, b0);
                kernels.mul(modulus, &mut d2[range], a1, b1);
            }
        });
        Ok(Ciphertext { polys, scale: a.scale * b.scale, fingerprint: a.fingerprint })
    }

    /// Brings a ciphertext of degree 2 to degree 1 (`r[ckks.relin]`, error `r[noise.keyswitch]`): level and scale unchanged.
    ///
    /// # Errors
    /// [`CkksError::Degree`] unless the degree is 2; [`CkksError::MissingKey`]; [`CkksError::KeyLevel`];
    /// [`CkksError::Fingerprint`].
    pub fn relinearise(&self, a: &Ciphertext) -> Result<Ciphertext, CkksError> {
        let key = self.relinearisation_key("relinearise", a)?;
        let _operation = instrument::operation(Operation::Relinearise, a.level());
        let (u0, u1) = key_product(self.context(), &a.polys[2], key);
        let (c0, c1) = instrument::join(
            || mod_down_add(self.context(), u0, Some(&a.polys[0])),
            || mod_down_add(self.context(), u1, Some(&a.polys[1])),
        );
        Ok(Ciphertext { polys: vec![c0, c1], scale: a.scale, fingerprint: a.fingerprint })
    }

    /// [`Evaluator::relinearise`] and [`Evaluator::rescale`] in one, the same integers (`r[ckks.fused]`).
    ///
    /// # Errors
    /// Those of both.
    pub fn relinearise_rescale(&self, a: &Ciphertext) -> Result<Ciphertext, CkksError> {
        let operation = "relinearise_rescale";
        let level = self.check_rescale(operation, a)?;
        let key = self.relinearisation_key(operation, a)?;
        instrument::count(Operation::Rescale, level, 1);
        let _operation = instrument::operation(Operation::Relinearise, level);
        let (u0, u1) = key_product(self.context(), &a.polys[2], key);
        let (c0, c1) = instrument::join(
            || mod_down_rescale(self.context(), u0, &a.polys[0]),
            || mod_down_rescale(self.context(), u1, &a.polys[1]),
        );
        let scale = self.rescaled_label(a.scale, level);
        Ok(Ciphertext { polys: vec![c0, c1], scale, fingerprint: a.fingerprint })
    }

    /// The relinearised product (`r[ckks.mul]`, `r[ckks.relin]`; errors `r[noise.mul]`, `r[noise.keyswitch]`), not rescaled:
    /// level unchanged, scale `fl(s_a s_b)`.
    ///
    /// # Errors
    /// Those of [`Evaluator::mul_lazy`] and [`Evaluator::relinearise`].
    pub fn mul(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext, CkksError> {
        self.relinearise(&self.mul_lazy(a, b)?)
    }

    /// The relinearised square, not rescaled: [`Evaluator::mul`] of `a` with itself.
    ///
    /// # Errors
    /// Those of [`Evaluator::mul`].
    pub fn square(&self, a: &Ciphertext) -> Result<Ciphertext, CkksError> {
        self.mul(a, a)
    }

    /// The relinearised and rescaled product, the integers of [`Evaluator::mul`] and [`Evaluator::rescale`]
    /// (errors `r[noise.mul]`, `r[noise.keyswitch]`, `r[noise.rescale]`): level `l` to `l - 1`, scale `fl(fl(s_a s_b) / q_l)`.
    ///
    /// # Errors
    /// Those of [`Evaluator::mul`] and [`Evaluator::rescale`].
    pub fn mul_rescale(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext, CkksError> {
        self.check_rescale("mul_rescale", a)?;
        self.relinearise_rescale(&self.mul_lazy(a, b)?)
    }

    fn relinearisation_key(&self, operation: &'static str, a: &Ciphertext) -> Result<&SwitchKey, CkksError> {
        self.context().check_fingerprint(operation, &a.fingerprint)?;
        self.check_degree(operation, a, 2)?;
        let key = self.keys().relinearisation(a.level())?;
        self.context().check_fingerprint(operation, &key.fingerprint)?;
        Ok(key)
    }
}
