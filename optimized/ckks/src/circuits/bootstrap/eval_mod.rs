//! EvalMod: the sine by a cosine polynomial and double-angle steps, and the output polynomial (`r[boot.evalmod]`,
//! `r[boot.output]`).

use crate::circuits::polynomial::{Plan, Polynomial, evaluate_plan};
use crate::{Ciphertext, CkksError, Complex64, Evaluator};

/// The constants of EvalMod.
#[derive(Clone, Debug)]
pub(super) struct EvalMod {
    /// `-fl(0.25 / range)`.
    pub(super) shift: f64,
    pub(super) cosine: Plan,
    pub(super) double_angles: u32,
    /// Coefficients of `s`, `s^3`, `s^5`; one to three.
    pub(super) output: Vec<f64>,
    /// The canonical label of the output level.
    pub(super) label: f64,
}

impl EvalMod {
    pub(super) fn new(boot: &touchstone_spec::params::BootstrapLiteral, label: f64) -> Result<Self, CkksError> {
        let cosine = Polynomial::chebyshev(boot.cosine.iter().map(|c| c.0).collect())?;
        Ok(Self {
            shift: -(0.25 / f64::from(boot.range)),
            cosine: Plan::new(&cosine),
            double_angles: boot.double_angles,
            output: boot.output.iter().map(|c| c.0).collect(),
            label,
        })
    }

    /// `sin(2 pi t)` of slots that hold `t / range`: canonical in and out.
    pub(super) fn sine(&self, ev: &Evaluator, ct: &Ciphertext) -> Result<Ciphertext, CkksError> {
        let shifted = ev.add_const(ct, real(self.shift))?;
        let mut value = evaluate_plan(ev, &shifted, &self.cosine)?;
        for _ in 0..self.double_angles {
            let square = ev.mul_lazy(&value, &value)?;
            value = ev.relinearise_rescale(&ev.double(square)?)?;
            ev.add_const_assign(&mut value, real(-1.0))?;
        }
        Ok(value)
    }

    /// The output polynomial of the sine, at the output level.
    pub(super) fn output(&self, ev: &Evaluator, sine: &Ciphertext) -> Result<Ciphertext, CkksError> {
        let mut result = match self.output[..] {
            [_] => sine.clone(),
            [a, b] => self.cubic(ev, sine, [a, b])?,
            [a, b, c] => self.quintic(ev, sine, [a, b, c])?,
            _ => {
                let (operation, expected) = ("bootstrap::output", "one to three coefficients");
                return Err(CkksError::Argument { operation, expected, got: self.output.len().to_string() });
            }
        };
        result.scale = self.label;
        Ok(result)
    }

    fn cubic(&self, ev: &Evaluator, s: &Ciphertext, [a, b]: [f64; 2]) -> Result<Ciphertext, CkksError> {
        let square = ev.mul_rescale(s, s)?;
        let level = square.level();
        let cube = product_label(ev, level, self.label);
        let weighted = weighted(ev, s, b, cube)?;
        self.last_sum(ev, [&weighted, &square], s, a)
    }

    fn quintic(&self, ev: &Evaluator, s: &Ciphertext, [a, b, c]: [f64; 3]) -> Result<Ciphertext, CkksError> {
        let square = ev.mul_rescale(s, s)?;
        let cube = ev.mul_rescale(&ev.to_level(s, square.level())?, &square)?;
        let label = product_label(ev, cube.level(), self.label);
        let weighted = ev.add_const(&weighted(ev, &square, c, label)?, real(b))?;
        self.last_sum(ev, [&weighted, &cube], s, a)
    }

    /// `Rescale(Relin(x y + a s))`, the product's label being the sum's.
    fn last_sum(
        &self,
        ev: &Evaluator,
        [x, y]: [&Ciphertext; 2],
        s: &Ciphertext,
        a: f64,
    ) -> Result<Ciphertext, CkksError> {
        let product = ev.mul_lazy(x, y)?;
        let linear = ev.mul_const(&ev.drop_level(s, y.level())?, real(a), product.scale())?;
        ev.relinearise_rescale(&ev.add(&product, &linear)?)
    }
}

/// The label `fl(fl(target q_l) / D_l)` that a canonical factor of level `l` completes to `target` after a rescale.
fn product_label(ev: &Evaluator, level: usize, target: f64) -> f64 {
    let parameters = ev.context().parameters();
    target * parameters.chain()[level] as f64 / parameters.canonical_scale(level)
}

/// `c x` one level lower, with the given label.
fn weighted(ev: &Evaluator, x: &Ciphertext, c: f64, label: f64) -> Result<Ciphertext, CkksError> {
    let prime = ev.context().parameters().chain()[x.level()] as f64;
    let mut product = ev.rescale(&ev.mul_const(x, real(c), label * prime)?)?;
    product.scale = label;
    Ok(product)
}

fn real(x: f64) -> Complex64 {
    Complex64::new(x, 0.0)
}
