//! Circuits on batches of encrypted rows (`r[vector.op.circuit]`): one ciphertext per entry, one slot per row.

use super::{Columns, EngineSession, Fault, Item, Operations, Ran, Run};
use std::collections::BTreeMap;
use std::rc::Rc;
use touchstone_ckks::circuits::inverse::{Goldschmidt, Relaxation, Start, newton_inverse_sqrt};
use touchstone_ckks::circuits::polynomial::{Polynomial, evaluate, normalise};
use touchstone_ckks::{Ciphertext, Complex64, Evaluator};
use touchstone_spec::protocol::handle;
use touchstone_spec::vector::Call;

pub type Cts = Vec<Ciphertext>;
pub type Outcome<T> = Result<T, Fault>;

/// Taps in the order of their making; the last is the output.
type Values = Vec<(String, Cts)>;

/// Runs an operation of this family; `None` if it is not one.
pub fn run(session: &mut EngineSession, request: &Run) -> Option<Outcome<Ran>> {
    let circuit = Circuit::new(session, request);
    let row_input = |name: &str| session.columns(request, name);
    let values = match request.op.as_str() {
        "polynomial" | "gelu" | "tanh" => row_input("x").and_then(|x| circuit.each("value", &x, Circuit::series)),
        "goldschmidt" => row_input("x").and_then(|x| circuit.each("value", &x, Circuit::goldschmidt)),
        "inverse-sqrt" => row_input("x").and_then(|x| circuit.each("value", &x, Circuit::inverse_sqrt)),
        "linear" => row_input("x").and_then(|x| circuit.linear(&x.columns)),
        "layer-norm" => row_input("x").and_then(|x| circuit.layer_norm(&x.columns)),
        "power-softmax" => row_input("x").and_then(|x| circuit.power_softmax(&x.columns)),
        "rotary" => row_input("x").and_then(|x| circuit.rotary(&x.columns)),
        "attention" => circuit.attention_of(session, request),
        _ => return None,
    };
    Some(values.and_then(|values| finish(session, request, values)))
}

/// Stores the output and the taps that were asked for.
pub fn finish(session: &mut EngineSession, request: &Run, mut values: Values) -> Outcome<Ran> {
    let name = request.inputs.keys().find(|name| ["x", "q"].contains(&name.as_str())).cloned().unwrap_or_default();
    let rows = session.columns(request, &name)?.rows;
    let mut ran = Ran::default();
    let last = values.pop();
    for (name, columns) in values {
        if request.taps.contains(&name) {
            let stored = session.store(Item::Columns(Columns { rows, columns }));
            ran.taps.insert(name, handle(&stored));
        }
    }
    if let Some((name, columns)) = last {
        let stored = session.store(Item::Columns(Columns { rows, columns }));
        ran.outputs = BTreeMap::from([(name, handle(&stored))]);
    }
    Ok(ran)
}

/// One call with what it runs on.
pub struct Circuit {
    evaluator: Evaluator,
    operations: Rc<dyn Operations>,
    /// Operation and inputs.
    pub call: Call,
}

fn real(x: f64) -> Complex64 {
    Complex64::new(x, 0.0)
}

impl Circuit {
    /// The request on the session's evaluator.
    pub fn new(session: &EngineSession, request: &Run) -> Self {
        Self {
            evaluator: session.evaluator.clone(),
            operations: Rc::clone(&session.operations),
            call: Call { op: request.op.clone(), inputs: request.inputs.clone() },
        }
    }

    fn each(&self, name: &str, x: &Columns, f: fn(&Self, &Ciphertext) -> Outcome<Ciphertext>) -> Outcome<Values> {
        Ok(vec![(name.to_owned(), x.columns.iter().map(|ct| f(self, ct)).collect::<Outcome<_>>()?)])
    }

    fn interval(&self) -> Outcome<[f64; 2]> {
        match self.call.reals("interval")?[..] {
            [low, high] => Ok([low, high]),
            _ => Err(Fault::argument("an interval has two ends")),
        }
    }

    /// Both ciphertexts at the lower of their levels.
    fn level(&self, a: &Ciphertext, b: &Ciphertext) -> Outcome<[Ciphertext; 2]> {
        let level = a.level().min(b.level());
        Ok([self.evaluator.to_level(a, level)?, self.evaluator.to_level(b, level)?])
    }

    pub fn mul(&self, a: &Ciphertext, b: &Ciphertext) -> Outcome<Ciphertext> {
        let [a, b] = self.level(a, b)?;
        Ok(self.operations.mul_rescale(&self.evaluator, &a, &b)?)
    }

    pub fn sub(&self, a: &Ciphertext, b: &Ciphertext) -> Outcome<Ciphertext> {
        let [a, b] = self.level(a, b)?;
        Ok(self.evaluator.sub(&a, &b)?)
    }

    pub fn add_constant(&self, a: &Ciphertext, c: f64) -> Outcome<Ciphertext> {
        Ok(self.evaluator.add_const(a, real(c))?)
    }

    pub fn scale(&self, a: &Ciphertext, c: f64) -> Outcome<Ciphertext> {
        if a.level() == 0 {
            return Ok(self.evaluator.rescale(a)?);
        }
        Ok(self.evaluator.mul_const_to_level(a, real(c), a.level() - 1)?)
    }

    pub fn sum(&self, terms: &[Ciphertext]) -> Outcome<Ciphertext> {
        let (first, rest) = terms.split_first().ok_or_else(|| Fault::argument("a sum of nothing"))?;
        let add = |sum: Ciphertext, term: &Ciphertext| {
            let [a, b] = self.level(&sum, term)?;
            Ok(self.evaluator.add(&a, &b)?)
        };
        rest.iter().try_fold(first.clone(), add)
    }

    /// `bias + sum_i weights_i x_i` with one rescale.
    pub fn affine(&self, bias: f64, weights: &[f64], x: &[Ciphertext]) -> Outcome<Ciphertext> {
        let level = x.iter().map(Ciphertext::level).min().unwrap_or(0);
        let scale = self.evaluator.context().parameters().canonical_scale(level);
        let term = |(weight, x): (&f64, &Ciphertext)| {
            Ok(self.evaluator.mul_const(&self.evaluator.to_level(x, level)?, real(*weight), scale * scale)?)
        };
        let terms = weights.iter().zip(x).map(term).collect::<Outcome<Vec<_>>>()?;
        let (first, rest) = terms.split_first().ok_or_else(|| Fault::argument("a sum of nothing"))?;
        let sum = rest.iter().try_fold(first.clone(), |sum, term| self.evaluator.add(&sum, term))?;
        let sum = self.operations.rescale(&self.evaluator, &sum)?;
        self.add_constant(&sum, bias)
    }

    fn series(&self, x: &Ciphertext) -> Outcome<Ciphertext> {
        self.series_on(x, self.interval()?, self.call.reals("coefficients")?)
    }

    /// A Chebyshev series on `[low, high]`.
    pub fn series_on(&self, x: &Ciphertext, [low, high]: [f64; 2], coefficients: Vec<f64>) -> Outcome<Ciphertext> {
        let polynomial = Polynomial::chebyshev(coefficients)?;
        let argument = if [low, high] == [-1.0, 1.0] { x.clone() } else { normalise(&self.evaluator, x, low, high)? };
        Ok(evaluate(&self.evaluator, &argument, &polynomial)?)
    }

    fn goldschmidt(&self, x: &Ciphertext) -> Outcome<Ciphertext> {
        let [low, high] = self.interval()?;
        let error = self.call.real("error")?;
        let schedule = Goldschmidt::with_relative_error(low, high, 1.0, error, Relaxation::EveryStep)?;
        Ok(schedule.apply(&self.evaluator, x)?)
    }

    fn inverse_sqrt(&self, x: &Ciphertext) -> Outcome<Ciphertext> {
        let start = self.series(x)?;
        let shift = if self.call.op == "layer-norm" { self.call.real("eps")? } else { self.call.real("shift")? };
        let shifted = self.add_constant(x, shift)?;
        let iterations = self.call.integer("iterations")?;
        Ok(newton_inverse_sqrt(&self.evaluator, &shifted, Start::Value(&start), iterations)?)
    }

    fn linear(&self, x: &[Ciphertext]) -> Outcome<Values> {
        let (weights, bias) = (self.call.input("weights")?.as_rows("weights")?, self.call.reals("bias")?);
        if weights.len() != bias.len() || weights.iter().any(|row| row.len() != x.len()) {
            return Err(Fault::argument("a matrix that fits the rows"));
        }
        let values = weights.iter().zip(&bias).map(|(row, &b)| self.affine(b, row, x)).collect::<Outcome<_>>()?;
        Ok(vec![("value".to_owned(), values)])
    }

    fn layer_norm(&self, x: &[Ciphertext]) -> Outcome<Values> {
        let (gamma, beta) = (self.call.reals("gamma")?, self.call.reals("beta")?);
        if gamma.len() != x.len() || beta.len() != x.len() {
            return Err(Fault::argument("gain and offset of the row's length"));
        }
        let share = vec![1.0 / x.len() as f64; x.len()];
        let mean = self.affine(0.0, &share, x)?;
        let centred = x.iter().map(|x| self.sub(x, &mean)).collect::<Outcome<Cts>>()?;
        let squares = centred.iter().map(|c| self.mul(c, c)).collect::<Outcome<Cts>>()?;
        let variance = self.affine(0.0, &share, &squares)?;
        let inverse = self.inverse_sqrt(&variance)?;
        let normalised = centred.iter().map(|c| self.mul(c, &inverse)).collect::<Outcome<Cts>>()?;
        let scale = |((x, &g), &b): ((&Ciphertext, &f64), &f64)| self.add_constant(&self.scale(x, g)?, b);
        let value = normalised.iter().zip(&gamma).zip(&beta).map(scale).collect::<Outcome<_>>()?;
        Ok(vec![
            ("variance".to_owned(), vec![variance]),
            ("inverse-sqrt".to_owned(), vec![inverse]),
            ("normalised".to_owned(), normalised),
            ("value".to_owned(), value),
        ])
    }

    pub fn power(&self, x: &Ciphertext, p: u32) -> Outcome<Ciphertext> {
        if p == 2 {
            return self.mul(x, x);
        }
        let high = if p.is_power_of_two() { p / 2 } else { 1 << p.ilog2() };
        let first = self.power(x, high)?;
        if p == 2 * high { self.mul(&first, &first) } else { self.mul(&first, &self.power(x, p - high)?) }
    }

    /// Even power, admitted up to 12.
    pub fn exponent(&self) -> Outcome<u32> {
        let p: u32 = self.call.integer("p")?;
        if p == 0 || !p.is_multiple_of(2) || p > 12 {
            return Err(Fault::argument("an even power from 2 to 12"));
        }
        Ok(p)
    }

    /// `x^p / n`, their sum, and `1 / (eps + sum)`.
    fn row(&self, live: &[Ciphertext]) -> Outcome<(Cts, Ciphertext, Ciphertext)> {
        let (p, share) = (self.exponent()?, 1.0 / live.len() as f64);
        let powers = live.iter().map(|x| self.scale(&self.power(x, p)?, share)).collect::<Outcome<Cts>>()?;
        let denominator = self.sum(&powers)?;
        let reciprocal = self.goldschmidt(&self.add_constant(&denominator, self.call.real("eps")?)?)?;
        Ok((powers, denominator, reciprocal))
    }

    fn power_softmax(&self, x: &[Ciphertext]) -> Outcome<Values> {
        if self.call.input("form")?.text("form")? != "mean" {
            return Err(Fault::argument("the mean form"));
        }
        let live: Vec<u32> = super::values::integers(self.call.input("live")?, "live")?;
        if live.len() != x.len() || !live.contains(&1) {
            return Err(Fault::argument("a mask of the row's length with a live key"));
        }
        let alive: Cts = x.iter().zip(&live).filter(|(_, live)| **live == 1).map(|(x, _)| x.clone()).collect();
        let (powers, denominator, reciprocal) = self.row(&alive)?;
        let weights = powers.iter().map(|y| self.mul(y, &reciprocal)).collect::<Outcome<Cts>>()?;
        Ok(vec![
            ("powers".to_owned(), self.spread(&live, powers)?),
            ("denominator".to_owned(), vec![denominator]),
            ("reciprocal".to_owned(), vec![reciprocal]),
            ("weights".to_owned(), self.spread(&live, weights)?),
        ])
    }

    /// Puts zeros where a key is masked.
    fn spread(&self, live: &[u32], values: Cts) -> Outcome<Cts> {
        let zero = values.first().map(|ct| self.evaluator.sub(ct, ct)).transpose()?;
        let mut values = values.into_iter();
        let place = |&live: &u32| if live == 1 { values.next() } else { zero.clone() };
        Ok(live.iter().filter_map(place).collect())
    }

    fn rotary(&self, x: &[Ciphertext]) -> Outcome<Values> {
        let (position, size): (usize, usize) = (self.call.integer("position")?, self.call.integer("size")?);
        if size > x.len() || !size.is_multiple_of(2) {
            return Err(Fault::argument("an even size within the row"));
        }
        Ok(vec![("value".to_owned(), self.turn(x, position, size, self.call.real("base")?)?)])
    }

    /// The first `size` entries turned in pairs (`r[model.rotary]`); `size` is even and at most the row's length.
    pub fn turn(&self, x: &[Ciphertext], position: usize, size: usize, base: f64) -> Outcome<Cts> {
        let half = size / 2;
        let mut turned = x.to_vec();
        for i in 0..half {
            let angle = position as f64 * base.powf(-2.0 * i as f64 / size as f64);
            let (sin, cos) = angle.sin_cos();
            let pair = [x[i].clone(), x[i + half].clone()];
            turned[i] = self.affine(0.0, &[cos, -sin], &pair)?;
            turned[i + half] = self.affine(0.0, &[sin, cos], &pair)?;
        }
        Ok(turned)
    }

    fn attention_of(&self, session: &EngineSession, request: &Run) -> Outcome<Values> {
        let column = |name: &str| session.columns(request, name).map(|columns| columns.columns);
        self.attention(&column("q")?, &column("k")?, &column("v")?)
    }

    /// One causal head; entries are tokens by channels.
    fn attention(&self, q: &[Ciphertext], k: &[Ciphertext], v: &[Ciphertext]) -> Outcome<Values> {
        let tokens: usize = self.call.integer("tokens")?;
        if tokens == 0 || !q.len().is_multiple_of(tokens) || k.len() != q.len() || v.len() != q.len() {
            return Err(Fault::argument("queries, keys and values of one shape"));
        }
        let (size, divisor) = (q.len() / tokens, self.call.real("divisor")?);
        let zero = self.evaluator.sub(&q[0], &q[0])?;
        let mut parts: [Cts; 5] = Default::default();
        for i in 0..tokens {
            let score = |j: usize| {
                let terms =
                    (0..size).map(|c| self.mul(&q[i * size + c], &k[j * size + c])).collect::<Outcome<Cts>>()?;
                self.scale(&self.sum(&terms)?, 1.0 / divisor)
            };
            let scores = (0..=i).map(score).collect::<Outcome<Cts>>()?;
            let (powers, denominator, reciprocal) = self.row(&scores)?;
            for c in 0..size {
                let terms: Cts =
                    powers.iter().enumerate().map(|(j, y)| self.mul(y, &v[j * size + c])).collect::<Outcome<_>>()?;
                parts[4].push(self.mul(&self.sum(&terms)?, &reciprocal)?);
            }
            for (part, values) in [scores, powers].into_iter().enumerate() {
                parts[part].extend(values);
                parts[part].resize((i + 1) * tokens, zero.clone());
            }
            parts[2].push(denominator);
            parts[3].push(reciprocal);
        }
        Ok(["scores", "powers", "denominator", "reciprocal", "heads"]
            .map(str::to_owned)
            .into_iter()
            .zip(parts)
            .collect())
    }
}
