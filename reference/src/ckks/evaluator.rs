//! Operations on ciphertexts, each the formula of its rule.

use super::base::{mod_down, mod_up, rescale_poly};
use super::{Ciphertext, KeySwitchKey, Parameters, Plaintext, conjugation_element, rotation_element};
use crate::error::ReferenceError;
use crate::ring::Poly;
use num_complex::Complex64;
use rug::{Assign, Integer};
use touchstone_spec::sampling::RELINEARISATION_KEY_ID;

/// Computes on ciphertexts of one parameter set.
///
/// Operands must be of that set; a polynomial of another modulus is refused with [`ReferenceError::BadOperand`] by
/// every operation.
#[derive(Clone, Copy, Debug)]
pub struct Evaluator<'a> {
    params: &'a Parameters,
}

impl<'a> Evaluator<'a> {
    /// An evaluator for `params`.
    #[must_use]
    pub fn new(params: &'a Parameters) -> Self {
        Self { params }
    }

    /// Sum; level and scale as the operands (`r[ckks.add]`). Noise: `noise.add`.
    ///
    /// Either operand may be a product that has not been relinearised: the pair `(c_0, c_1)` is then `(c_0, c_1, 0)`.
    ///
    /// # Errors
    /// [`ReferenceError::LevelMismatch`], [`ReferenceError::ScaleMismatch`] (`r[ckks.scale.mismatch]`).
    pub fn add(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext, ReferenceError> {
        self.zip("addition", a, b, Poly::add)
    }

    /// Difference; otherwise as [`Self::add`].
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn sub(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext, ReferenceError> {
        self.zip("subtraction", a, b, Poly::sub)
    }

    /// Negation; level and scale unchanged (`r[ckks.add]`).
    #[must_use]
    pub fn neg(&self, a: &Ciphertext) -> Ciphertext {
        Ciphertext { polys: a.polys.iter().map(Poly::neg).collect(), ..a.clone() }
    }

    /// Adds a plaintext of the same level and scale to `c_0` (`r[ckks.add]`).
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn add_plain(&self, a: &Ciphertext, m: &Plaintext) -> Result<Ciphertext, ReferenceError> {
        let operation = "plaintext addition";
        check_level(operation, a.level, m.level)?;
        check_scale(operation, a.scale, m.scale)?;
        let mut result = a.clone();
        if let Some(c0) = result.polys.first_mut() {
            *c0 = c0.add(&m.poly)?;
        }
        Ok(result)
    }

    /// Subtracts a plaintext of the same level and scale from `c_0`.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn sub_plain(&self, a: &Ciphertext, m: &Plaintext) -> Result<Ciphertext, ReferenceError> {
        self.add_plain(a, &Plaintext { poly: m.poly.neg(), ..m.clone() })
    }

    /// Product with a plaintext of the same level, scale `fl(s_c s_m)` (`r[ckks.mul.plain]`). Noise: `noise.mul.plain`.
    ///
    /// # Errors
    /// [`ReferenceError::LevelMismatch`].
    pub fn mul_plain(&self, a: &Ciphertext, m: &Plaintext) -> Result<Ciphertext, ReferenceError> {
        check_level("plaintext product", a.level, m.level)?;
        let polys = a.polys.iter().map(|c| c.mul(&m.poly)).collect::<Result<_, _>>()?;
        Ok(Ciphertext { polys, level: a.level, scale: a.scale * m.scale })
    }

    /// Adds a complex constant to every slot; level and scale unchanged (`r[ckks.scalar.add]`).
    ///
    /// # Errors
    /// [`ReferenceError::NotEncodable`] if a part of the constant at the ciphertext's scale is `2^62` or more, or NaN.
    pub fn add_scalar(&self, a: &Ciphertext, constant: Complex64) -> Result<Ciphertext, ReferenceError> {
        let operation = "scalar addition";
        let real = to_constant(operation, constant.re * a.scale)?;
        let imaginary = to_constant(operation, constant.im * a.scale)?;
        let poly = self.constant_poly(&real, &imaginary, a.level)?;
        let mut result = a.clone();
        if let Some(c0) = result.polys.first_mut() {
            *c0 = c0.add(&poly)?;
        }
        Ok(result)
    }

    /// Multiplies every slot by a complex constant such that the result has scale label `target`; the level is
    /// unchanged (`r[ckks.scalar.mul]`). Noise: `noise.scalar.mul`.
    ///
    /// # Errors
    /// [`ReferenceError::NotEncodable`] if a part of the constant at scale `target / s` is `2^62` or more, or NaN;
    /// [`ReferenceError::BadOperand`] if `target` is not positive and finite.
    pub fn mul_scalar(&self, a: &Ciphertext, constant: Complex64, target: f64) -> Result<Ciphertext, ReferenceError> {
        let operation = "scalar product";
        if !(target.is_finite() && target > 0.0) {
            let expected = "a positive finite target scale".to_owned();
            return Err(ReferenceError::BadOperand { operation, expected, got: format!("{target:e}") });
        }
        let real = to_constant(operation, constant.re * target / a.scale)?;
        let imaginary = to_constant(operation, constant.im * target / a.scale)?;
        let poly = self.constant_poly(&real, &imaginary, a.level)?;
        let polys = a.polys.iter().map(|c| c.mul(&poly)).collect::<Result<_, _>>()?;
        Ok(Ciphertext { polys, level: a.level, scale: target })
    }

    /// Multiplies every slot by the Gaussian integer `k_0 + k_1 i`, exactly; level and scale unchanged
    /// (`r[circuit.integer]`). The error grows by the integer's modulus.
    ///
    /// # Errors
    /// [`ReferenceError::NotEncodable`] if a part is `2^62` or more in magnitude.
    pub fn mul_integer(&self, a: &Ciphertext, k: [i64; 2]) -> Result<Ciphertext, ReferenceError> {
        if let Some(part) = k.iter().find(|part| part.unsigned_abs() >= 1 << 62) {
            let expected = "parts below 2^62 in magnitude".to_owned();
            return Err(ReferenceError::NotEncodable { operation: "integer product", expected, got: part.to_string() });
        }
        let poly = self.constant_poly(&k[0].into(), &k[1].into(), a.level)?;
        let polys = a.polys.iter().map(|c| c.mul(&poly)).collect::<Result<_, _>>()?;
        Ok(Ciphertext { polys, level: a.level, scale: a.scale })
    }

    /// Product as a triple `(d_0, d_1, d_2)`, scale `fl(s_a s_b)`, level unchanged (`r[ckks.mul]`). Noise: `noise.mul`.
    ///
    /// # Errors
    /// [`ReferenceError::LevelMismatch`]; [`ReferenceError::BadOperand`] if an operand is not relinearised.
    pub fn mul(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext, ReferenceError> {
        check_level("product", a.level, b.level)?;
        let (a0, a1) = pair("product", a)?;
        let (b0, b1) = pair("product", b)?;
        let d1 = a0.mul(b1)?.add(&a1.mul(b0)?)?;
        Ok(Ciphertext { polys: vec![a0.mul(b0)?, d1, a1.mul(b1)?], level: a.level, scale: a.scale * b.scale })
    }

    /// `(d_0, d_1) + KS(d_2)`; level and scale unchanged (`r[ckks.relin]`). Noise: `noise.keyswitch`.
    ///
    /// # Errors
    /// [`ReferenceError::WrongKey`]; [`ReferenceError::LevelMismatch`] if the key does not reach the level;
    /// [`ReferenceError::BadOperand`] unless `a` has three polynomials.
    pub fn relinearise(&self, a: &Ciphertext, key: &KeySwitchKey) -> Result<Ciphertext, ReferenceError> {
        check_key("relinearisation", RELINEARISATION_KEY_ID, key)?;
        let [d0, d1, d2] = a.polys.as_slice() else {
            return Err(wrong_count("relinearisation", 3, a));
        };
        let (u0, u1) = self.key_switch(d2, a.level, key)?;
        Ok(Ciphertext { polys: vec![d0.add(&u0)?, d1.add(&u1)?], level: a.level, scale: a.scale })
    }

    /// Divides by `q_l`: level `l` to `l - 1`, scale `fl(s / q_l)` (`r[ckks.rescale]`). Noise: `noise.rescale`.
    ///
    /// # Errors
    /// [`ReferenceError::LevelExhausted`] at level 0.
    pub fn rescale(&self, a: &Ciphertext) -> Result<Ciphertext, ReferenceError> {
        let Some(level) = a.level.checked_sub(1) else {
            return Err(ReferenceError::LevelExhausted { operation: "rescale", expected: 1, got: 0 });
        };
        let q = self.params.chain(a.level)?[a.level] as f64;
        let polys = a.polys.iter().map(|c| rescale_poly(self.params, c, a.level)).collect::<Result<_, _>>()?;
        Ok(Ciphertext { polys, level, scale: a.scale / q })
    }

    /// Keeps the limbs `q_0..q_level`; the scale label is unchanged (`r[ckks.level.drop]`).
    ///
    /// # Errors
    /// [`ReferenceError::LevelExhausted`] if `level` is above the ciphertext's.
    pub fn drop_level(&self, a: &Ciphertext, level: usize) -> Result<Ciphertext, ReferenceError> {
        if level > a.level {
            return Err(ReferenceError::LevelExhausted { operation: "level drop", expected: level, got: a.level });
        }
        let modulus = self.params.modulus(level)?;
        let polys = a.polys.iter().map(|c| c.reduce(&modulus)).collect::<Result<_, _>>()?;
        Ok(Ciphertext { polys, level, scale: a.scale })
    }

    /// Slot `j` of the result is slot `j + r` of the input, cyclically; level and scale unchanged (`r[ckks.rotate]`).
    ///
    /// `key` is the Galois key of [`rotation_element`]; a rotation by a multiple of `N/2` is a copy and does not use it.
    /// Noise: `noise.keyswitch`.
    ///
    /// # Errors
    /// As [`Self::galois`].
    pub fn rotate(&self, a: &Ciphertext, r: i64, key: &KeySwitchKey) -> Result<Ciphertext, ReferenceError> {
        if r.rem_euclid(self.params.slots() as i64) == 0 {
            return Ok(a.clone());
        }
        self.galois(a, rotation_element(self.params, r), key)
    }

    /// Every slot is replaced by its conjugate; level and scale unchanged (`r[ckks.conjugate]`).
    ///
    /// `key` is the Galois key of [`conjugation_element`]. Noise: `noise.keyswitch`.
    ///
    /// # Errors
    /// As [`Self::galois`].
    pub fn conjugate(&self, a: &Ciphertext, key: &KeySwitchKey) -> Result<Ciphertext, ReferenceError> {
        self.galois(a, conjugation_element(self.params), key)
    }

    /// `X -> X^g` and a key switch: `(c_0(X^g) + u_0, u_1)` (`r[ckks.galois]`). Noise: `noise.keyswitch`.
    ///
    /// # Errors
    /// [`ReferenceError::WrongKey`]; [`ReferenceError::LevelMismatch`] if the key does not reach the level;
    /// [`ReferenceError::BadOperand`] unless `a` has two polynomials.
    pub fn galois(&self, a: &Ciphertext, g: u32, key: &KeySwitchKey) -> Result<Ciphertext, ReferenceError> {
        check_key("automorphism", g, key)?;
        let (c0, c1) = pair("automorphism", a)?;
        let (u0, u1) = self.key_switch(&c1.automorphism(g.into())?, a.level, key)?;
        Ok(Ciphertext { polys: vec![c0.automorphism(g.into())?.add(&u0)?, u1], level: a.level, scale: a.scale })
    }

    /// The same integers as [`Self::galois`] for several automorphisms, by the other order: the digits of `c_1` are
    /// lifted once and the automorphisms act on the lifts.
    ///
    /// # Errors
    /// As [`Self::galois`].
    pub fn galois_hoisted(
        &self,
        a: &Ciphertext,
        keys: &[(u32, &KeySwitchKey)],
    ) -> Result<Vec<Ciphertext>, ReferenceError> {
        let (c0, c1) = pair("hoisted automorphism", a)?;
        let lifts = mod_up(self.params, c1, a.level)?;
        let one = |&(g, key): &(u32, &KeySwitchKey)| {
            check_key("hoisted automorphism", g, key)?;
            let images: Vec<Poly> = lifts.iter().map(|d| d.automorphism(g.into())).collect::<Result<_, _>>()?;
            let (u0, u1) = self.key_product(&images, a.level, key)?;
            Ok(Ciphertext { polys: vec![c0.automorphism(g.into())?.add(&u0)?, u1], level: a.level, scale: a.scale })
        };
        keys.iter().map(one).collect()
    }

    /// `KS(c)` for `c` in `R_{Q_l}` (`r[ckks.keyswitch]`). Noise: `noise.keyswitch`.
    ///
    /// # Errors
    /// [`ReferenceError::LevelMismatch`] if the key does not reach the level.
    pub fn key_switch(&self, c: &Poly, level: usize, key: &KeySwitchKey) -> Result<(Poly, Poly), ReferenceError> {
        self.key_product(&mod_up(self.params, c, level)?, level, key)
    }

    /// `(ModDown(sum_i d_i b_i), ModDown(sum_i d_i a_i))` for lifted digits.
    fn key_product(&self, lifts: &[Poly], level: usize, key: &KeySwitchKey) -> Result<(Poly, Poly), ReferenceError> {
        let (sum0, sum1) = self.raised_key_product(lifts, level, key)?;
        Ok((mod_down(self.params, &sum0, level)?, mod_down(self.params, &sum1, level)?))
    }

    /// `(sum_i d_i b_i, sum_i d_i a_i)` over `R_{Q_l P}` for the lifts `d_i` of all digits, before the division by `P`.
    ///
    /// # Errors
    /// [`ReferenceError::LevelMismatch`] if the key does not reach the level; [`ReferenceError::BadOperand`] for lifts
    /// of another modulus.
    pub fn raised_key_product(
        &self,
        lifts: &[Poly],
        level: usize,
        key: &KeySwitchKey,
    ) -> Result<(Poly, Poly), ReferenceError> {
        let key = key.truncate(self.params, level)?;
        let modulus = self.params.extended_modulus(level)?;
        let mut sum0 = Poly::zero(self.params.n(), &modulus);
        let mut sum1 = sum0.clone();
        for (d, (b, a)) in lifts.iter().zip(&key.pairs) {
            sum0 = sum0.add(&d.mul(b)?)?;
            sum1 = sum1.add(&d.mul(a)?)?;
        }
        Ok((sum0, sum1))
    }

    /// `k_0 + k_1 X^{N/2}` over `R_{Q_l}`: in every slot `k_0 + k_1 i`.
    fn constant_poly(&self, real: &Integer, imaginary: &Integer, level: usize) -> Result<Poly, ReferenceError> {
        let mut coefficients = vec![Integer::new(); self.params.n()];
        coefficients[0].assign(real);
        coefficients[self.params.n() / 2].assign(imaginary);
        Ok(Poly::from_integers(&coefficients, &self.params.modulus(level)?))
    }

    fn zip(
        &self,
        operation: &'static str,
        a: &Ciphertext,
        b: &Ciphertext,
        f: impl Fn(&Poly, &Poly) -> Result<Poly, ReferenceError>,
    ) -> Result<Ciphertext, ReferenceError> {
        check_level(operation, a.level, b.level)?;
        check_scale(operation, a.scale, b.scale)?;
        let zero = Poly::zero(self.params.n(), &self.params.modulus(a.level)?);
        let at = |c: &Ciphertext, i: usize| c.polys.get(i).unwrap_or(&zero).clone();
        let count = a.polys.len().max(b.polys.len());
        let polys = (0..count).map(|i| f(&at(a, i), &at(b, i))).collect::<Result<_, _>>()?;
        Ok(Ciphertext { polys, level: a.level, scale: a.scale })
    }
}

/// `rne(x)`, refused at `2^62` and above.
fn to_constant(operation: &'static str, x: f64) -> Result<Integer, ReferenceError> {
    let limit = (1u64 << 62) as f64;
    match Integer::from_f64(x.round_ties_even()) {
        Some(k) if x.abs() < limit => Ok(k),
        _ => Err(ReferenceError::NotEncodable {
            operation,
            expected: "a constant below 2^62 in magnitude".to_owned(),
            got: format!("{x:e}"),
        }),
    }
}

fn check_level(operation: &'static str, expected: usize, got: usize) -> Result<(), ReferenceError> {
    if expected == got { Ok(()) } else { Err(ReferenceError::LevelMismatch { operation, expected, got }) }
}

fn check_scale(operation: &'static str, expected: f64, got: f64) -> Result<(), ReferenceError> {
    if expected == got { Ok(()) } else { Err(ReferenceError::ScaleMismatch { operation, expected, got }) }
}

fn check_key(operation: &'static str, expected: u32, key: &KeySwitchKey) -> Result<(), ReferenceError> {
    if key.key_id == expected {
        return Ok(());
    }
    Err(ReferenceError::WrongKey { operation, expected, got: key.key_id })
}

fn pair<'c>(operation: &'static str, a: &'c Ciphertext) -> Result<(&'c Poly, &'c Poly), ReferenceError> {
    match a.polys.as_slice() {
        [c0, c1] => Ok((c0, c1)),
        _ => Err(wrong_count(operation, 2, a)),
    }
}

fn wrong_count(operation: &'static str, expected: usize, a: &Ciphertext) -> ReferenceError {
    let (expected, got) = (format!("{expected} polynomials"), a.polys.len().to_string());
    ReferenceError::BadOperand { operation, expected, got }
}
