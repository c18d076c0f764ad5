//! Raised rotations and sums over `R_{Q_l P}`: linear maps with both kinds of rotations hoisted (`r[circuit.linear.*]`).

use super::ciphertext::Ciphertext;
use super::context::Context;
use super::evaluator::Evaluator;
use super::factor::Factor;
use super::keys::SwitchKey;
use super::keyswitch::{Digits, GROUP, Lifted, mod_down, mod_down_only_rescale};
use crate::CkksError;
use crate::instrument::{self, Operation};
use crate::ring::{Form, Limb, Poly};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;

/// A ciphertext multiplied by `P`: two polynomials of `R_{Q_l P}` in evaluation form. `ModDown` brings it back; sums
/// formed before cost one rounding.
#[derive(Debug, Clone, PartialEq)]
pub struct Extended {
    polys: [Poly; 2],
    scale: f64,
    fingerprint: [u8; 32],
}

impl Extended {
    /// The level.
    #[must_use]
    pub fn level(&self) -> usize {
        self.polys[0].level()
    }

    /// The scale label of the ciphertext that [`Evaluator::mod_down`] gives.
    #[must_use]
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// The polynomial that multiplies `s^i`, `i` 0 or 1, over `R_{Q_l P}` in evaluation form.
    ///
    /// # Panics
    /// If `i` is above 1.
    #[must_use]
    pub fn poly(&self, i: usize) -> &Poly {
        &self.polys[i]
    }
}

/// A rotation with its key, looked up for the level at hand.
pub(crate) struct Step<'a> {
    key: &'a SwitchKey,
    permutation: Arc<[u32]>,
}

/// The plaintexts of a map, modulo one prime and in evaluation form.
pub(crate) trait Plaintexts: Sync {
    /// How many times in a row every value occurs in the limbs.
    fn run(&self) -> usize;

    /// The plaintext of a giant and a baby step, given by number, modulo the prime with index `prime`: `N / run()`
    /// residues. `None` where the map has no such step; every giant step has at least one.
    fn limb(&self, giant: usize, baby: usize, prime: usize) -> Option<Factor<'_>>;
}

impl Evaluator {
    /// Raised rotations of `a` (`r[circuit.linear.baby]`), all from one lift of its digits; level and label of `a`.
    /// [`Evaluator::mod_down`] of one is what [`Evaluator::rotate`] gives.
    ///
    /// # Errors
    /// As [`Evaluator::rotate_hoisted`].
    pub fn rotate_hoisted_extended(&self, a: &Ciphertext, steps: &[i64]) -> Result<Vec<Extended>, CkksError> {
        let steps = self.hoisted_steps("rotate_hoisted_extended", a, steps)?;
        let _operation = instrument::within(Operation::Rotate);
        count_rotations(a.level(), &steps);
        let lifted = Lifted::new(self.context(), &a.polys[1]);
        let raised = Raised { context: self.context(), a };
        let (level, limbs) = (a.level(), a.level() + 1 + self.context().ring().special_len());
        let scope = instrument::scope();
        let rotate = |step: &Option<Step>| {
            let limb = |limb| {
                let _scope = scope.enter();
                raised.limb(step.as_ref(), limb, &lifted.limbs[limb])
            };
            let pairs = (0..limbs).into_par_iter().map(limb);
            let (x, y): (Vec<_>, Vec<_>) = pairs.collect::<Vec<_>>().into_iter().unzip();
            let polys = [x, y].map(|limbs| Poly::from_limbs(level, Form::Eval, limbs));
            Extended { polys, scale: a.scale, fingerprint: a.fingerprint }
        };
        Ok(steps.iter().map(rotate).collect())
    }

    /// Divides by `P` (`r[ckks.moddown]`): level and label unchanged.
    ///
    /// # Errors
    /// [`CkksError::Fingerprint`].
    pub fn mod_down(&self, a: &Extended) -> Result<Ciphertext, CkksError> {
        self.context().check_fingerprint("mod_down", &a.fingerprint)?;
        let _operation = instrument::within(Operation::Rotate);
        let scope = instrument::scope();
        let lower = |poly: &Poly| {
            let _scope = scope.enter();
            mod_down(self.context(), poly.clone())
        };
        let polys = a.polys.par_iter().map(lower).collect();
        Ok(Ciphertext { polys, scale: a.scale, fingerprint: a.fingerprint })
    }

    /// `a + b` over `R_{Q_l P}`: level and label unchanged.
    ///
    /// # Errors
    /// [`CkksError::Level`] or [`CkksError::Scale`] if the labels differ; [`CkksError::Fingerprint`].
    pub fn add_extended(&self, a: &Extended, b: &Extended) -> Result<Extended, CkksError> {
        let operation = "add_extended";
        self.context().check_fingerprint(operation, &a.fingerprint)?;
        self.context().check_fingerprint(operation, &b.fingerprint)?;
        if a.level() != b.level() {
            return Err(CkksError::Level { operation, expected: a.level(), got: b.level() });
        }
        if a.scale != b.scale {
            return Err(CkksError::Scale { operation, expected: a.scale, got: b.scale });
        }
        let (ring, level) = (self.context().ring(), a.level());
        let _operation = instrument::operation(Operation::Add, level);
        let scope = instrument::scope();
        let mut sum = a.clone();
        for (sum, b) in sum.polys.iter_mut().zip(&b.polys) {
            sum.limbs_mut().par_iter_mut().zip(b.limbs()).enumerate().for_each(|(i, (sum, b))| {
                let _scope = scope.enter();
                ring.kernels().add_assign(ring.modulus(ring.prime_index(level, i)), sum, b);
            });
        }
        Ok(sum)
    }

    /// The two polynomials over `R_{Q_l P}` of `r[circuit.linear.giant]`.
    pub(crate) fn double_hoisted(
        &self,
        operation: &'static str,
        a: &Ciphertext,
        (babies, giants): (&[i64], &[i64]),
        plaintexts: &impl Plaintexts,
    ) -> Result<[Poly; 2], CkksError> {
        let babies = self.hoisted_steps(operation, a, babies)?;
        let giants = self.hoisted_steps(operation, a, giants)?;
        count_rotations(a.level(), &babies);
        count_rotations(a.level(), &giants);
        let _operation = instrument::within(Operation::Rotate);
        let (mut sums, inner) = inner_sums(self.context(), a, &babies, &giants, plaintexts);
        for (giant, w) in giants.iter().zip(inner) {
            if let (Some(giant), Some(w)) = (giant, w) {
                add_rotated_switch(self.context(), &mod_down(self.context(), w), giant, &mut sums);
            }
        }
        Ok(sums)
    }

    /// `ModDown` of both polynomials, as a ciphertext with the given label.
    pub(crate) fn lower(&self, sums: [Poly; 2], a: &Ciphertext, scale: f64) -> Ciphertext {
        let _operation = instrument::within(Operation::Rotate);
        let scope = instrument::scope();
        let lower = |poly: Poly| {
            let _scope = scope.enter();
            mod_down(self.context(), poly)
        };
        let polys = sums.into_par_iter().map(lower).collect();
        Ciphertext { polys, scale, fingerprint: a.fingerprint }
    }

    /// [`Evaluator::lower`] and a rescale, the same integers (`r[ckks.fused]`); level at least 1.
    pub(crate) fn lower_rescale(&self, sums: [Poly; 2], a: &Ciphertext, scale: f64) -> Ciphertext {
        instrument::count(Operation::Rescale, a.level(), 1);
        let _operation = instrument::within(Operation::Rotate);
        let scope = instrument::scope();
        let lower = |poly: Poly| {
            let _scope = scope.enter();
            mod_down_only_rescale(self.context(), poly)
        };
        let polys = sums.into_par_iter().map(lower).collect();
        Ciphertext { polys, scale, fingerprint: a.fingerprint }
    }

    /// Keys and index maps of rotations of `a`; `None` for the identity.
    fn hoisted_steps(
        &self,
        operation: &'static str,
        a: &Ciphertext,
        steps: &[i64],
    ) -> Result<Vec<Option<Step<'_>>>, CkksError> {
        let step = |&steps: &i64| -> Result<Option<Step<'_>>, CkksError> {
            let Some((g, key)) = self.rotation_key(operation, a, steps)? else { return Ok(None) };
            Ok(Some(Step { key, permutation: self.context().permutation(g)? }))
        };
        steps.iter().map(step).collect()
    }
}

/// Counts the rotations of a map, identities left out.
fn count_rotations(level: usize, steps: &[Option<Step>]) {
    instrument::count(Operation::Rotate, level, steps.iter().flatten().count());
}

/// The input of a map while its raised rotations are formed.
struct Raised<'a> {
    context: &'a Context,
    a: &'a Ciphertext,
}

impl Raised<'_> {
    /// Limb `limb` of the raised rotation `(x_b, y_b)`; `lifts` are those of the digits of `c_1` for this limb.
    fn limb(&self, step: Option<&Step>, limb: usize, lifts: &[Option<Limb>]) -> (Limb, Limb) {
        let (context, level) = (self.context, self.a.level());
        let ring = context.ring();
        let (kernels, prime) = (ring.kernels(), ring.prime_index(level, limb));
        let modulus = ring.modulus(prime);
        let Some(step) = step else {
            let raise = |i: usize| {
                if limb > level {
                    return context.zero_limb();
                }
                let mut out = context.scratch_limb();
                kernels.mul_scalar(modulus, &mut out, self.a.polys[i].limb(limb), context.special_product(limb));
                out
            };
            return (raise(0), raise(1));
        };
        let own = &self.a.polys[1];
        let (mut u0, mut u1) = (context.scratch_limb(), context.scratch_limb());
        let lifts: Vec<&[u64]> = lifts.iter().map(|lift| lift.as_deref().unwrap_or_else(|| own.limb(limb))).collect();
        step.key.dot(context, (level, limb), &lifts, [&mut u0, &mut u1]);
        if limb <= level {
            let c0 = self.a.polys[0].limb(limb);
            kernels.mul_scalar_add_assign(modulus, &mut u0, c0, context.special_product(limb));
        }
        // The stored key is the book's under the inverse automorphism.
        let (mut x, mut y) = (context.scratch_limb(), context.scratch_limb());
        kernels.permute(&u0, &step.permutation, &mut x);
        kernels.permute(&u1, &step.permutation, &mut y);
        (x, y)
    }
}

/// What one limb contributes: limbs of the two sums, and of `w_g` for every giant step that switches keys.
type LimbSums = ([Limb; 2], Vec<Option<Limb>>);

/// `([sum_g u_g(X^{5^g}), w_0], [w_g])` (`r[circuit.linear.inner]`), all over `R_{Q_l P}`; `None` for the identity.
///
/// Limb by limb, so that only the `w_g` are ever held whole.
fn inner_sums(
    context: &Context,
    a: &Ciphertext,
    babies: &[Option<Step>],
    giants: &[Option<Step>],
    plaintexts: &impl Plaintexts,
) -> ([Poly; 2], Vec<Option<Poly>>) {
    let level = a.level();
    let count = level + 1 + context.ring().special_len();
    let digits = Digits::new(context, &a.polys[1]);
    let raised = Raised { context, a };
    let scope = instrument::scope();
    let of_group = |range: Range<usize>| -> Vec<LimbSums> {
        let _scope = scope.enter();
        let lifts = digits.lift(context, range.clone());
        let of_limb = |(limb, lifts): (usize, Vec<Option<Limb>>)| {
            let rotated: Vec<_> = babies.iter().map(|step| raised.limb(step.as_ref(), limb, &lifts)).collect();
            limb_sums(context, context.ring().prime_index(level, limb), &rotated, giants, plaintexts)
        };
        range.zip(lifts).map(of_limb).collect()
    };
    let groups = (0..count).into_par_iter().step_by(GROUP);
    let limbs: Vec<LimbSums> = groups.flat_map_iter(|start| of_group(start..(start + GROUP).min(count))).collect();
    let poly = |limbs: Vec<Limb>| Poly::from_limbs(level, Form::Eval, limbs);
    let (mut sum0, mut sum1) = (Vec::new(), Vec::new());
    let mut inner: Vec<Option<Vec<Limb>>> = giants.iter().map(|step| step.as_ref().map(|_| Vec::new())).collect();
    for ([a0, a1], ws) in limbs {
        sum0.push(a0);
        sum1.push(a1);
        for (inner, w) in inner.iter_mut().zip(ws) {
            if let (Some(inner), Some(w)) = (inner, w) {
                inner.push(w);
            }
        }
    }
    ([poly(sum0), poly(sum1)], inner.into_iter().map(|limbs| limbs.map(poly)).collect())
}

/// One limb of [`inner_sums`] from the raised rotations modulo the prime with index `prime`.
fn limb_sums(
    context: &Context,
    prime: usize,
    rotated: &[(Limb, Limb)],
    giants: &[Option<Step>],
    plaintexts: &impl Plaintexts,
) -> LimbSums {
    let (kernels, modulus) = (context.ring().kernels(), context.ring().modulus(prime));
    let _operation = instrument::within(Operation::MultiplyPlain);
    let mut sums = [context.zero_limb(), context.zero_limb()];
    let mut inner = Vec::with_capacity(giants.len());
    let mut image = context.scratch_limb();
    for (g, giant) in giants.iter().enumerate() {
        let (mut factors, mut x, mut y) = (Vec::new(), Vec::new(), Vec::new());
        for (b, (x_b, y_b)) in rotated.iter().enumerate() {
            if let Some(factor) = plaintexts.limb(g, b, prime) {
                factors.push(factor);
                x.push(&x_b[..]);
                y.push(&y_b[..]);
            }
        }
        let factors: Vec<&[u64]> = factors.iter().map(|factor| &factor[..]).collect();
        instrument::read_plaintext(factors.iter().map(|factor| factor.len()).sum());
        let (mut u, mut w) = (context.scratch_limb(), context.scratch_limb());
        if plaintexts.run() == 1 {
            kernels.dot2(modulus, &mut u, &mut w, &factors, &x, &y);
        } else {
            kernels.dot2_repeated(modulus, &mut u, &mut w, &factors, &x, &y);
        }
        match giant {
            Some(giant) => {
                kernels.permute(&u, &giant.permutation, &mut image);
                kernels.add_assign(modulus, &mut sums[0], &image);
                inner.push(Some(w));
            }
            None => {
                kernels.add_assign(modulus, &mut sums[0], &u);
                kernels.add_assign(modulus, &mut sums[1], &w);
                inner.push(None);
            }
        }
    }
    (sums, inner)
}

/// Adds `sum_i d_i b_i` and `sum_i d_i a_i` to the sums, `d_i` the lifts of the digits of `c(X^{5^g})`
/// (`r[circuit.linear.giant]`).
fn add_rotated_switch(context: &Context, c: &Poly, giant: &Step, sums: &mut [Poly; 2]) {
    let (ring, level) = (context.ring(), c.level());
    let digits = Digits::new(context, c);
    let [sum0, sum1] = sums;
    let groups = sum0.limbs_mut().par_chunks_mut(GROUP).zip(sum1.limbs_mut().par_chunks_mut(GROUP));
    let scope = instrument::scope();
    groups.enumerate().for_each(|(i, (sum0, sum1))| {
        let _scope = scope.enter();
        let start = i * GROUP;
        let lifts = digits.lift(context, start..start + sum0.len());
        let [mut u0, mut u1] = [context.scratch_limb(), context.scratch_limb()];
        let mut image = context.scratch_limb();
        for (j, (lifts, sums)) in lifts.iter().zip(sum0.iter_mut().zip(sum1)).enumerate() {
            let limb = start + j;
            let modulus = ring.modulus(ring.prime_index(level, limb));
            let lifts: Vec<&[u64]> = lifts.iter().map(|lift| lift.as_deref().unwrap_or_else(|| c.limb(limb))).collect();
            giant.key.dot(context, (level, limb), &lifts, [&mut u0, &mut u1]);
            for (u, sum) in [(&u0, sums.0), (&u1, sums.1)] {
                ring.kernels().permute(u, &giant.permutation, &mut image);
                ring.kernels().add_assign(modulus, sum, &image);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circuits::testing::{Fixture, numbers};

    #[test]
    fn raised_rotations_come_down_to_rotations() {
        for preset in ["toy-n8", "small-n12"] {
            let fixture = Fixture::new(preset, 50, [1, 3, -7]);
            let ev = fixture.evaluator();
            let ct = fixture.encrypt_real(&numbers(1, fixture.slots()));
            for level in [0, fixture.top()] {
                let ct = ev.drop_level(&ct, level).unwrap();
                let steps = [1, 0, -7];
                let raised = ev.rotate_hoisted_extended(&ct, &steps).unwrap();
                let rotated = ev.rotate_hoisted(&ct, &steps).unwrap();
                for (raised, rotated) in raised.iter().zip(&rotated) {
                    assert!(ev.mod_down(raised).unwrap() == *rotated, "{preset}, level {level}");
                }
                // Raised copies are multiples of P, which come down without rounding.
                let double = ev.add_extended(&raised[1], &raised[1]).unwrap();
                assert!(ev.mod_down(&double).unwrap() == ev.add(&ct, &ct).unwrap(), "{preset}, level {level}");
            }
            let low = ev.rotate_hoisted_extended(&ev.drop_level(&ct, 0).unwrap(), &[0]).unwrap();
            let high = ev.rotate_hoisted_extended(&ct, &[0]).unwrap();
            assert!(matches!(ev.add_extended(&low[0], &high[0]), Err(CkksError::Level { .. })));
        }
    }
}
