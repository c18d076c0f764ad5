//! Rotations and conjugation (`r[ckks.galois]`).

use super::ciphertext::Ciphertext;
use super::evaluator::Evaluator;
use super::keys::{SwitchKey, check_galois};
use super::keyswitch::{Lifted, key_product, mod_down_galois};
use crate::CkksError;
use crate::instrument::{self, Operation};
use crate::ring::Poly;

impl Evaluator {
    /// The automorphism `X -> X^g` (`r[ckks.galois]`, error `r[noise.keyswitch]`): level and scale unchanged.
    ///
    /// # Errors
    /// [`CkksError::Argument`] for a `g` that is even or not below `2N`; [`CkksError::MissingKey`];
    /// [`CkksError::KeyLevel`]; [`CkksError::Degree`] for a ciphertext of degree 2; [`CkksError::Fingerprint`].
    pub fn galois(&self, a: &Ciphertext, g: u64) -> Result<Ciphertext, CkksError> {
        let key = self.galois_key("galois", a, g, || format!("automorphism X -> X^{g}"))?;
        self.automorphism(a, g, key, |poly| key_product(self.context(), poly, key))
    }

    /// Rotation (`r[ckks.rotate]`, error `r[noise.keyswitch]`): slot `j` of the result is slot `j + steps`, cyclically;
    /// level and scale unchanged. A rotation by a multiple of `N/2` is a copy.
    ///
    /// # Errors
    /// As [`Evaluator::galois`].
    pub fn rotate(&self, a: &Ciphertext, steps: i64) -> Result<Ciphertext, CkksError> {
        let Some((g, key)) = self.rotation_key("rotate", a, steps)? else { return Ok(a.clone()) };
        self.automorphism(a, g, key, |poly| key_product(self.context(), poly, key))
    }

    /// [`Evaluator::rotate`] by several steps at the price of one lift of the digits: the same integers, in order.
    ///
    /// # Errors
    /// As [`Evaluator::galois`]; all keys are looked up before anything is computed.
    pub fn rotate_hoisted(&self, a: &Ciphertext, steps: &[i64]) -> Result<Vec<Ciphertext>, CkksError> {
        let look_up = |&steps: &i64| self.rotation_key("rotate_hoisted", a, steps);
        let keys = steps.iter().map(look_up).collect::<Result<Vec<_>, _>>()?;
        let _operation = instrument::within(Operation::Rotate);
        let lifted = keys.iter().any(Option::is_some).then(|| Lifted::new(self.context(), &a.polys[1]));
        let rotate = |key: Option<(u64, &SwitchKey)>| match (key, &lifted) {
            (Some((g, key)), Some(lifted)) => self.automorphism(a, g, key, |_| lifted.product(self.context(), key)),
            _ => Ok(a.clone()),
        };
        keys.into_iter().map(rotate).collect()
    }

    /// Conjugation of every slot (`r[ckks.conjugate]`, error `r[noise.keyswitch]`): level and scale unchanged.
    ///
    /// # Errors
    /// As [`Evaluator::galois`].
    pub fn conjugate(&self, a: &Ciphertext) -> Result<Ciphertext, CkksError> {
        let g = self.context().conjugation_element();
        let key = self.galois_key("conjugate", a, g, || "conjugation".to_owned())?;
        self.automorphism(a, g, key, |poly| key_product(self.context(), poly, key))
    }

    /// The stored key is the book's under the inverse automorphism, so the automorphism is applied once, at the end.
    fn automorphism(
        &self,
        a: &Ciphertext,
        g: u64,
        key: &SwitchKey,
        product: impl FnOnce(&Poly) -> (Poly, Poly),
    ) -> Result<Ciphertext, CkksError> {
        debug_assert_eq!(u64::from(key.key_id()), g, "keys are filed under their automorphism");
        let conjugates = g == self.context().conjugation_element();
        let operation = if conjugates { Operation::Conjugate } else { Operation::Rotate };
        let _operation = instrument::operation(operation, a.level());
        let permutation = self.context().permutation(g)?;
        let (u0, u1) = product(&a.polys[1]);
        let (c0, c1) = instrument::join(
            || mod_down_galois(self.context(), u0, Some(&a.polys[0]), Some(&permutation)),
            || mod_down_galois(self.context(), u1, None, Some(&permutation)),
        );
        Ok(Ciphertext { polys: vec![c0, c1], scale: a.scale, fingerprint: a.fingerprint })
    }

    /// The Galois element and the key of a rotation; `None` for the identity.
    pub(crate) fn rotation_key(
        &self,
        operation: &'static str,
        a: &Ciphertext,
        steps: i64,
    ) -> Result<Option<(u64, &SwitchKey)>, CkksError> {
        let g = self.context().galois_element(steps);
        if g == 1 {
            self.context().check_fingerprint(operation, &a.fingerprint)?;
            self.check_degree(operation, a, 1)?;
            return Ok(None);
        }
        Ok(Some((g, self.galois_key(operation, a, g, || format!("rotation by {steps}"))?)))
    }

    fn galois_key(
        &self,
        operation: &'static str,
        a: &Ciphertext,
        g: u64,
        what: impl FnOnce() -> String,
    ) -> Result<&SwitchKey, CkksError> {
        self.context().check_fingerprint(operation, &a.fingerprint)?;
        self.check_degree(operation, a, 1)?;
        check_galois(self.context(), operation, g)?;
        let key = self.keys().galois(g, a.level(), what)?;
        self.context().check_fingerprint(operation, &key.fingerprint)?;
        Ok(key)
    }
}
