//! Numbers of the rungs R2, R3 and R3p: one sequence of scheme operations, three things it can act on.
//!
//! A [`Scheme`] does the operations of `spec/book/ckks.md` on one number; [`Homomorphic`] turns the graph's sums,
//! products and series into such operations by the rules of `spec/book/circuits.md` and keeps the first error.

use crate::approx::Chebyshev;
use crate::circuits::{Basis, Plan, Sum};
use crate::ckks::Parameters;
use crate::error::ReferenceError;
use crate::model::{Real, Ring};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A number that lives at a level with a scale label.
pub trait Scheme: Clone + fmt::Debug + Send + Sync {
    /// Preset, and what else a new number needs.
    type Context: Copy + Send + Sync;

    /// A public number at the top level and its canonical scale.
    ///
    /// # Errors
    /// [`ReferenceError::NotEncodable`] for a number too large for the scale.
    fn public(x: f64, context: Self::Context) -> Result<Self, ReferenceError>;
    /// The preset.
    fn parameters(&self) -> &Parameters;
    /// Level.
    fn level(&self) -> usize;
    /// Scale label (`r[ckks.scale]`).
    fn scale(&self) -> f64;
    /// Sum at equal level and label (`r[ckks.add]`).
    ///
    /// # Errors
    /// [`ReferenceError::LevelMismatch`], [`ReferenceError::ScaleMismatch`].
    fn add(&self, other: &Self) -> Result<Self, ReferenceError>;
    /// The negative.
    #[must_use]
    fn neg(&self) -> Self;
    /// Sum with a constant (`r[ckks.scalar.add]`).
    ///
    /// # Errors
    /// [`ReferenceError::NotEncodable`].
    fn add_constant(&self, constant: f64) -> Result<Self, ReferenceError>;
    /// Product with a constant towards the label `target` (`r[ckks.scalar.mul]`).
    ///
    /// # Errors
    /// [`ReferenceError::NotEncodable`].
    fn mul_constant(&self, constant: f64, target: f64) -> Result<Self, ReferenceError>;
    /// Product at equal level, neither relinearised nor rescaled (`r[ckks.mul]`).
    ///
    /// # Errors
    /// [`ReferenceError::LevelMismatch`].
    fn mul(&self, other: &Self) -> Result<Self, ReferenceError>;
    /// Relinearisation of a sum with products (`r[ckks.relin]`).
    ///
    /// # Errors
    /// Those of the key.
    fn relinearise(&self) -> Result<Self, ReferenceError>;
    /// Division by the last prime (`r[ckks.rescale]`).
    ///
    /// # Errors
    /// [`ReferenceError::LevelExhausted`] at level 0.
    fn rescale(&self) -> Result<Self, ReferenceError>;
    /// The same number at a lower level, label unchanged (`r[ckks.level.drop]`).
    ///
    /// # Errors
    /// [`ReferenceError::LevelExhausted`] for a higher level.
    fn drop_level(&self, level: usize) -> Result<Self, ReferenceError>;
    /// Whether the number, in every slot, lies in `[a, b]`; ciphertexts are decrypted to observe this.
    ///
    /// # Errors
    /// Those of decryption.
    fn within(&self, interval: [f64; 2]) -> Result<bool, ReferenceError>;
    /// The number as text.
    fn describe(&self) -> String;
}

/// A number of the graph under a [`Scheme`], or the first error on the way to it.
#[derive(Clone, Debug)]
pub struct Homomorphic<T>(Result<T, Arc<ReferenceError>>);

impl<T: Scheme> Homomorphic<T> {
    /// Wraps a number of canonical scale, such as a fresh encryption.
    pub fn new(number: T) -> Self {
        Self(Ok(number))
    }

    /// The number.
    ///
    /// # Errors
    /// The first error met in computing it, as [`ReferenceError::Deferred`].
    pub fn number(&self) -> Result<&T, ReferenceError> {
        self.0.as_ref().map_err(|error| ReferenceError::Deferred(Arc::clone(error)))
    }

    fn from(result: Result<T, ReferenceError>) -> Self {
        Self(result.map_err(|error| match error {
            ReferenceError::Deferred(first) => first,
            other => Arc::new(other),
        }))
    }

    fn map(&self, f: impl FnOnce(&T) -> Result<T, ReferenceError>) -> Self {
        Self::from(self.number().and_then(f))
    }

    fn zip(&self, other: &Self, f: impl FnOnce(&T, &T) -> Result<T, ReferenceError>) -> Self {
        let both = || f(self.number()?, other.number()?);
        Self::from(both())
    }
}

/// The label of a product of two canonical numbers of `level` before its rescale.
fn product_label<T: Scheme>(x: &T, level: usize) -> Result<f64, ReferenceError> {
    let scale = x.parameters().canonical_scale(level)?;
    Ok(scale * scale)
}

/// `c x` as a summand of a sum that is formed at `level` (`r[circuit.summand]`).
fn summand<T: Scheme>(x: &T, c: f64, level: usize) -> Result<T, ReferenceError> {
    let target = product_label(x, level)?;
    x.drop_level(level)?.mul_constant(c, target)
}

/// `c x` at a level below that of x, canonical (`r[circuit.to-level]`).
fn weighted<T: Scheme>(x: &T, c: f64, level: usize) -> Result<T, ReferenceError> {
    summand(x, c, level + 1)?.rescale()
}

/// The level below, which the result of a product has.
fn below(operation: &'static str, level: usize) -> Result<usize, ReferenceError> {
    level.checked_sub(1).ok_or(ReferenceError::LevelExhausted { operation, expected: 1, got: 0 })
}

/// `c x` one level lower.
fn scaled<T: Scheme>(x: &T, c: f64) -> Result<T, ReferenceError> {
    weighted(x, c, below("product with a constant", x.level())?)
}

fn to_level<T: Scheme>(x: &T, level: usize) -> Result<T, ReferenceError> {
    if x.level() == level { Ok(x.clone()) } else { weighted(x, 1.0, level) }
}

/// Both numbers at the lower of their levels.
fn aligned<T: Scheme>(a: &T, b: &T) -> Result<(T, T), ReferenceError> {
    let level = a.level().min(b.level());
    Ok((to_level(a, level)?, to_level(b, level)?))
}

/// A product of canonical numbers (`r[circuit.product]`).
fn product<T: Scheme>(a: &T, b: &T) -> Result<T, ReferenceError> {
    below("product", a.level().min(b.level()))?;
    let (a, b) = aligned(a, b)?;
    a.mul(&b)?.relinearise()?.rescale()
}

/// The sum of parts of one level and label; `None` for none.
fn total<T: Scheme>(parts: impl IntoIterator<Item = Result<T, ReferenceError>>) -> Result<Option<T>, ReferenceError> {
    let mut sum: Option<T> = None;
    for part in parts {
        let part = part?;
        sum = Some(match sum {
            None => part,
            Some(sum) => sum.add(&part)?,
        });
    }
    Ok(sum)
}

/// A power by the two halves of its exponent (`r[psm.power]`).
fn power<T: Scheme>(x: &T, exponent: u32) -> Result<T, ReferenceError> {
    match exponent {
        0 => x.add(&x.neg())?.add_constant(1.0),
        1 => Ok(x.clone()),
        _ => {
            let low = power(x, exponent / 2)?;
            let high = if exponent.is_multiple_of(2) { low.clone() } else { power(x, exponent - exponent / 2)? };
            product(&low, &high)
        }
    }
}

/// A Chebyshev series by the plan of `r[circuit.polynomial]`, the argument first mapped to [-1, 1].
fn series<T: Scheme>(x: &T, series: &Chebyshev) -> Result<T, ReferenceError> {
    let plan = Plan::new(Basis::Chebyshev, series.coefficients())?;
    let needed = plan.depth() + 1;
    if x.level() < needed {
        return Err(ReferenceError::LevelExhausted { operation: "Chebyshev series", expected: needed, got: x.level() });
    }
    let [low, high] = series.interval();
    let argument = scaled(x, 2.0 / (high - low))?.add_constant(-(low + high) / (high - low))?;
    let Some(sum) = plan.sum() else {
        return argument.add(&argument.neg())?.add_constant(series.coefficients()[0]);
    };
    let top = argument.level();
    let mut basis = BTreeMap::from([(1, argument)]);
    for (&i, &(left, right)) in plan.powers() {
        let next = basis_polynomial(&basis, top, i, (left, right))?;
        basis.insert(i, next);
    }
    sum_value(&basis, top, sum)
}

/// `T_i` from earlier ones (`r[circuit.polynomial.power]`).
fn basis_polynomial<T: Scheme>(
    basis: &BTreeMap<usize, T>,
    top: usize,
    i: usize,
    (left, right): (usize, usize),
) -> Result<T, ReferenceError> {
    let level = top + 1 - i.next_power_of_two().ilog2() as usize;
    let product = to_level(&basis[&left], level)?.mul(&to_level(&basis[&right], level)?)?;
    let doubled = product.add(&product)?;
    if left == right {
        return doubled.relinearise()?.rescale()?.add_constant(-1.0);
    }
    let difference = summand(&basis[&(left - right)], 1.0, level)?;
    doubled.add(&difference.neg())?.relinearise()?.rescale()
}

/// The value of a sum of products and terms (`r[circuit.polynomial.sum]`).
fn sum_value<T: Scheme>(basis: &BTreeMap<usize, T>, top: usize, sum: &Sum) -> Result<T, ReferenceError> {
    let level = top - sum.depth;
    let product = |(h, factor): &(usize, Sum)| sum_value(basis, top, factor)?.mul(&to_level(&basis[h], level)?);
    let term = |(i, c): &(usize, f64)| summand(&basis[i], *c, level);
    let Some(mut value) = total(sum.products.iter().map(product).chain(sum.terms.iter().map(term)))? else {
        return Err(ReferenceError::BadOperand {
            operation: "Chebyshev series",
            expected: "a plan whose sums have terms".to_owned(),
            got: "an empty sum".to_owned(),
        });
    };
    if !sum.products.is_empty() {
        value = value.relinearise()?;
    }
    value.rescale()?.add_constant(sum.constant)
}

/// The lowest level of several numbers, the first error they carry if any.
fn lowest<'a, T: Scheme + 'a>(
    numbers: impl Iterator<Item = &'a Homomorphic<T>>,
) -> Result<Option<usize>, ReferenceError> {
    let mut lowest: Option<usize> = None;
    for number in numbers {
        let level = number.number()?.level();
        lowest = Some(lowest.map_or(level, |lowest| lowest.min(level)));
    }
    Ok(lowest)
}

/// `bias + sum_i w_i x_i`, the sum formed before one rescale (`r[circuit.summand]`).
fn affine<T: Scheme>(
    bias: f64,
    weights: &[f64],
    x: &[Homomorphic<T>],
    context: T::Context,
) -> Result<T, ReferenceError> {
    let Some(level) = lowest(x.iter())? else { return T::public(bias, context) };
    below("affine map", level)?;
    let parts = weights.iter().zip(x).map(|(&w, x)| summand(x.number()?, w, level));
    match total(parts)? {
        Some(sum) => sum.rescale()?.add_constant(bias),
        None => T::public(bias, context),
    }
}

/// `sum_i a_i b_i`, relinearised and rescaled once (`r[circuit.product]`).
fn inner<T: Scheme>(pairs: &[(&Homomorphic<T>, &Homomorphic<T>)], context: T::Context) -> Result<T, ReferenceError> {
    let Some(level) = lowest(pairs.iter().flat_map(|(a, b)| [*a, *b]))? else { return T::public(0.0, context) };
    let product =
        |(a, b): &(&Homomorphic<T>, &Homomorphic<T>)| to_level(a.number()?, level)?.mul(&to_level(b.number()?, level)?);
    match total(pairs.iter().map(product))? {
        Some(sum) => sum.relinearise()?.rescale(),
        None => T::public(0.0, context),
    }
}

impl<T: Scheme> fmt::Display for Homomorphic<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Ok(number) => f.write_str(&number.describe()),
            Err(error) => write!(f, "no value ({error})"),
        }
    }
}

impl<T: Scheme> Ring for Homomorphic<T> {
    type Context = T::Context;
    type Constant = f64;

    fn constants(_: T::Context) {}
    fn point(x: f64, context: T::Context) -> Self {
        Self::from(T::public(x, context))
    }
    fn add(&self, other: &Self) -> Self {
        self.zip(other, |a, b| {
            let (a, b) = aligned(a, b)?;
            a.add(&b)
        })
    }
    fn sub(&self, other: &Self) -> Self {
        self.add(&other.neg())
    }
    fn mul(&self, other: &Self) -> Self {
        self.zip(other, product)
    }
    fn neg(&self) -> Self {
        self.map(|x| Ok(x.neg()))
    }
    fn plus(&self, constant: &f64) -> Self {
        self.map(|x| x.add_constant(*constant))
    }
    fn times(&self, constant: &f64) -> Self {
        self.map(|x| scaled(x, *constant))
    }
    fn over(&self, constant: &f64) -> Self {
        self.map(|x| scaled(x, 1.0.div(constant)))
    }
    fn powi(&self, exponent: u32) -> Self {
        self.map(|x| power(x, exponent))
    }
    fn affine(bias: f64, weights: &[f64], x: &[Self], context: T::Context) -> Self {
        Self::from(affine(bias, weights, x, context))
    }
    fn inner<'a>(pairs: impl Iterator<Item = (&'a Self, &'a Self)>, context: T::Context) -> Self
    where
        Self: 'a,
    {
        Self::from(inner(&pairs.collect::<Vec<_>>(), context))
    }
    fn chebyshev(&self, polynomial: &Chebyshev) -> Self {
        self.map(|x| series(x, polynomial))
    }
    fn within(&self, interval: [f64; 2]) -> bool {
        self.number().and_then(|x| x.within(interval)).unwrap_or(false)
    }
    fn check(&self) -> Result<(), ReferenceError> {
        self.number().map(|_| ())
    }
}
