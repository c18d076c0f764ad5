//! Plaintexts and ciphertexts.

use super::context::Context;
use crate::CkksError;
use crate::ring::{Form, Poly};

/// An encoded message: a polynomial of `R_{Q_l}` in evaluation form with its scale label.
#[derive(Debug, Clone, PartialEq)]
pub struct Plaintext {
    pub(crate) poly: Poly,
    pub(crate) scale: f64,
    pub(crate) fingerprint: [u8; 32],
}

impl Plaintext {
    /// The level.
    #[must_use]
    pub fn level(&self) -> usize {
        self.poly.level()
    }

    /// The scale label (`r[ckks.scale]`).
    #[must_use]
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// The polynomial, in evaluation form.
    #[must_use]
    pub fn poly(&self) -> &Poly {
        &self.poly
    }
}

/// A ciphertext: two polynomials of `R_{Q_l}`, or three after a lazy product, in evaluation form, with their scale label.
#[derive(Debug, Clone, PartialEq)]
pub struct Ciphertext {
    pub(crate) polys: Vec<Poly>,
    pub(crate) scale: f64,
    pub(crate) fingerprint: [u8; 32],
}

impl Ciphertext {
    /// Assembles a ciphertext, for instance from bytes.
    ///
    /// # Errors
    /// [`CkksError::Degree`] unless there are two or three polynomials; [`CkksError::Level`] if their levels differ or
    /// exceed the top one; [`CkksError::Argument`] unless all are in evaluation form over `R_{Q_l}` with canonical
    /// residues and the scale is positive and finite.
    pub fn from_polys(context: &Context, polys: Vec<Poly>, scale: f64) -> Result<Self, CkksError> {
        let operation = "Ciphertext::from_polys";
        if !(2..=3).contains(&polys.len()) {
            return Err(CkksError::Degree { operation, expected: 1, got: polys.len().saturating_sub(1) });
        }
        if !(scale > 0.0 && scale.is_finite()) {
            let expected = "a positive finite scale";
            return Err(CkksError::Argument { operation, expected, got: scale.to_string() });
        }
        let level = polys[0].level();
        context.check_level(operation, level)?;
        for poly in &polys {
            if poly.level() != level {
                return Err(CkksError::Level { operation, expected: level, got: poly.level() });
            }
            check_poly(context, operation, poly)?;
        }
        Ok(Self { polys, scale, fingerprint: context.parameters().fingerprint() })
    }

    /// The level.
    #[must_use]
    pub fn level(&self) -> usize {
        self.polys[0].level()
    }

    /// The scale label (`r[ckks.scale]`).
    #[must_use]
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// The degree in the secret: 1, or 2 after a lazy product.
    #[must_use]
    pub fn degree(&self) -> usize {
        self.polys.len() - 1
    }

    /// The polynomial that multiplies `s^i`, in evaluation form.
    ///
    /// # Panics
    /// If `i` is above [`Ciphertext::degree`].
    #[must_use]
    pub fn poly(&self, i: usize) -> &Poly {
        &self.polys[i]
    }

    /// All polynomials in coefficient form, for comparisons.
    #[must_use]
    pub fn to_coeff(&self, context: &Context) -> Vec<Poly> {
        self.polys.iter().map(|poly| context.to_coeff(poly)).collect()
    }

    /// The fingerprint of the parameter set it belongs to.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }
}

/// Refuses polynomials that do not lie in `R_{Q_l}`, evaluation form, with canonical residues.
pub(crate) fn check_poly(context: &Context, operation: &'static str, poly: &Poly) -> Result<(), CkksError> {
    let ring = context.ring();
    let refuse = |expected, got: String| Err(CkksError::Argument { operation, expected, got });
    if poly.form() != Form::Eval {
        return refuse("evaluation form", format!("{:?}", poly.form()));
    }
    if poly.limb_count() != poly.level() + 1 {
        return refuse("one limb per chain prime", format!("{} limbs", poly.limb_count()));
    }
    for (i, limb) in poly.limbs().iter().enumerate() {
        if limb.len() != ring.n() {
            return refuse("limbs of N residues", limb.len().to_string());
        }
        if let Some(residue) = limb.iter().find(|&&r| r >= ring.modulus(i).value()) {
            return refuse("canonical residues", residue.to_string());
        }
    }
    Ok(())
}
