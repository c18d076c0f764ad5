//! `eval` against values computed by mpmath (`external/generate.py`), and its refusals.

use rug::float::Round;
use rug::ops::Pow;
use rug::{Float, Integer, Rational};
use serde::Deserialize;
use std::path::Path;
use touchstone_reference::error::ReferenceError;
use touchstone_reference::eval::{Answer, OPERATIONS, evaluate};
use touchstone_reference::interval::Interval;
use touchstone_spec::vector::Call;

const PRECISIONS: [u32; 3] = [128, 256, 512];

#[derive(Deserialize)]
struct File {
    op: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    inputs: serde_json::Value,
    values: Vec<String>,
}

impl Case {
    fn call(&self, op: &str) -> Call {
        serde_json::from_value(serde_json::json!({ "op": op, "inputs": self.inputs })).unwrap()
    }
}

fn file(op: &str) -> File {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/external/{op}.json"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Every decimal value lies within the certified interval; the decimals have 170 digits, so that 512 bits are tested too.
///
/// Rules: `r[psm.sum-eps]`, `r[psm.stable]`, `r[psm.mask]`, `r[psm.attention]`, `r[goldschmidt.iteration]`,
/// `r[ln.polynomial]`, `r[approx.series]`.
#[test]
fn mpmath_values_lie_within_the_certified_intervals() {
    for op in OPERATIONS {
        let file = file(op);
        assert_eq!(file.op, op);
        assert!(file.cases.len() >= 50, "{op} has {} cases", file.cases.len());
        for (index, case) in file.cases.iter().enumerate() {
            let call = case.call(op);
            for precision in PRECISIONS {
                let answer = evaluate(&call, precision).unwrap_or_else(|e| panic!("{op} {index}: {e}"));
                assert_eq!(answer.values.len(), case.values.len(), "{op} {index}");
                for (text, value) in case.values.iter().zip(&answer.values) {
                    let read = |round| Float::with_val_round(700, Float::parse(text).unwrap(), round).0;
                    // Half a unit of the last of 170 digits.
                    let off = Float::with_val_round(64, read(Round::Nearest).abs(), Round::Up).0
                        * Float::with_val(64, 1e-169);
                    let expected = Interval::new(read(Round::Down), read(Round::Up)).widen(&off);
                    assert!((value - &expected).contains_zero(), "{op} {index} at {precision} bits: {value}, {text}");
                }
            }
        }
    }
}

/// Radii are as small as the operations that lead to a value allow: [`units`] of `2^(1 - precision)`.
#[test]
fn radii_are_small() {
    for op in OPERATIONS {
        for (index, case) in file(op).cases.iter().enumerate() {
            let call = case.call(op);
            for precision in PRECISIONS {
                let answer = evaluate(&call, precision).unwrap();
                let units = units(&call, &answer);
                for (value, units) in answer.values.iter().zip(units) {
                    // A radius is rounded up once more, to the value's own precision.
                    let limit = Float::with_val(64, units) >> (precision - 1);
                    assert!(value.rad() <= limit, "{op} {index} at {precision} bits: {value}, {limit:e}");
                }
            }
        }
    }
}

/// Intervals of one call at growing precision are nested up to the coarser radius, which shrinks with the precision.
#[test]
fn results_are_nested() {
    for op in OPERATIONS {
        for case in file(op).cases {
            let answers = PRECISIONS.map(|precision| evaluate(&case.call(op), precision).unwrap());
            for pair in answers.windows(2) {
                for (coarse, fine) in pair[0].values.iter().zip(&pair[1].values) {
                    assert!(coarse.encloses(fine), "{op}: {coarse} does not enclose {fine}");
                }
            }
        }
    }
}

/// For each entry a bound of its radius in units of `u = 2^(1 - precision)`, to first order in u.
///
/// An operation on intervals rounds each end by at most u relative to its result, and passes on the relative or absolute
/// widths of its operands. The counts below follow the operations one by one; the factor 1.01 covers second order and
/// the binary64 evaluation of the bound.
fn units(call: &Call, answer: &Answer) -> Vec<Float> {
    let relative = |count: f64| -> Vec<Float> {
        let unit = |value: &Interval| Float::with_val(64, value.magnitude()) * (1.01 * count);
        answer.values.iter().map(unit).collect()
    };
    let absolute = |counts: Vec<f64>| counts.into_iter().map(|c| Float::with_val(64, 1.01 * c)).collect();
    let reals = |name: &str| call.reals(name).unwrap();
    let number = |name: &str| call.real(name).unwrap();
    match call.op.as_str() {
        // One rounding of an elementary function.
        "tanh" | "erf" | "exp" => relative(1.0),
        // sqrt 2, quotient; erfc with condition number at most x^2 + 2; two products.
        "gelu" => {
            let x = reals("x")[0].min(1.0);
            relative(3.0 * (x * x + 2.0) + 3.0)
        }
        "reciprocal" => relative(3.0),
        "inverse-sqrt" => relative(4.0),
        // Positive terms only: scores (two roundings in the stable form) to the power p, mean, sum, quotient, each twice.
        "power-softmax" => {
            let p = call.integer::<f64>("p").unwrap();
            relative(2.0 * (4.0 * p + 8.0) + reals("x").len() as f64)
        }
        "newton-inverse-sqrt" => relative(newton(reals("x")[0], number("start"), call, 3.0)),
        "newton-reciprocal" => relative(newton(reals("x")[0], number("start"), call, 2.0)),
        "goldschmidt" => relative(goldschmidt(call)),
        // Evaluated with 32 more bits, where the rounding of the argument is multiplied by the slope, at most k^2 |c_k|.
        "chebyshev" => {
            let drift: f64 =
                reals("coefficients").iter().enumerate().map(|(k, c)| (8 + k * k * k) as f64 * c.abs()).sum();
            absolute(answer.values.iter().map(|v| v.magnitude().to_f64() + drift * 2f64.powi(-24)).collect())
        }
        "linear" => absolute(linear(call)),
        "rotary" => {
            // Cosine and sine are good to 3 units, product and sum add 2.
            let x = reals("x");
            let largest = x.iter().fold(0.0f64, |most, x| most.max(x.abs()));
            absolute(vec![2.0 * largest * 5.0; x.len()])
        }
        "layer-norm" => absolute(layer_norm(call)),
        "polynomial-layer-norm" => absolute(polynomial_layer_norm(call)),
        "attention" => absolute(attention(call)),
        other => panic!("no bound for {other}"),
    }
}

/// Relative error of Newton's iteration: with `t = a y^(c-1)`, the parenthesis `c - t` has the absolute error
/// `t ((c-1) error + c) + c`, and the step multiplies by it and by a constant.
fn newton(a: f64, start: f64, call: &Call, c: f64) -> f64 {
    let (mut y, mut error) = (start, 0.0);
    for _ in 0..call.integer::<u32>("steps").unwrap() {
        let t = a * y.powf(c - 1.0);
        error += (t * ((c - 1.0) * error + c) + c) / (c - t).abs() + 3.0;
        y *= (c - t) / (c - 1.0);
    }
    // Without a step the start itself is added to zero.
    error + 1.0
}

/// Relative error of the Goldschmidt iteration, by its own recurrences `e = 1 - k x`, `x <- 1 - e^2`.
fn goldschmidt(call: &Call) -> f64 {
    let ends = call.reals("interval").unwrap();
    let relaxed = call.integer::<u32>("relaxed").unwrap() == 1;
    let (mut low, mut x) = (ends[0] / ends[1], call.reals("x").unwrap()[0] / ends[1]);
    let (mut low_error, mut x_error, mut y_error) = (low, 2.0 * x, 3.0);
    for step in 0..call.integer::<u32>("steps").unwrap() {
        let relax = step == 0 || relaxed;
        let k = if relax { 2.0 / (1.0 + low) } else { 1.0 };
        let k_error = if relax { k * (low_error / (1.0 + low) + 2.1) } else { 0.0 };
        let e = 1.0 - k * x;
        let e_error = k * x_error + x * k_error + k * x + 1.0;
        y_error += e_error / (1.0 + e) + 1.0 + k_error / k + 2.0;
        (x, x_error) = (1.0 - e * e, 2.0 * e.abs() * e_error + e * e + 1.0);
        let f = 1.0 - k * low;
        let f_error = k * low_error + low * k_error + k * low + 1.0;
        (low, low_error) = (1.0 - f * f, 2.0 * f.abs() * f_error + f * f + 1.0);
    }
    y_error + low_error / (1.0 + low) + 3.1
}

/// Products are rounded once, sums of n terms n times.
fn linear(call: &Call) -> Vec<f64> {
    let (x, rows) = (call.reals("x").unwrap(), call.input("weight").unwrap().as_rows("weight").unwrap());
    let bias = call.reals("bias").unwrap_or_else(|_| vec![0.0; rows.len()]);
    let row = |(row, bias): (&Vec<f64>, &f64)| {
        let products: f64 = row.iter().zip(&x).map(|(w, x)| (w * x).abs()).sum();
        products + x.len() as f64 * (products + bias.abs())
    };
    rows.iter().zip(&bias).map(row).collect()
}

/// Centred values with their common error, and the variance with its error.
fn moments(x: &[f64]) -> (Vec<f64>, f64, f64, f64) {
    let n = x.len() as f64;
    let mean = x.iter().sum::<f64>() / n;
    let centred: Vec<f64> = x.iter().map(|x| x - mean).collect();
    let widest = centred.iter().fold(0.0f64, |most, c| most.max(c.abs()));
    // A sum of n terms and its quotient by n: the sum of magnitudes; then one subtraction.
    let error = x.iter().map(|x| x.abs()).sum::<f64>() + widest;
    let variance = centred.iter().map(|c| c * c).sum::<f64>() / n;
    let from_centred = centred.iter().map(|c| 2.0 * c.abs() * error).sum::<f64>() / n;
    (centred, error, variance, from_centred + (n + 1.0) * variance)
}

/// Error of `gamma c r + beta` for a factor r of the given relative error.
fn scaled(call: &Call, centred: &[f64], error: f64, r: f64, r_error: f64) -> Vec<f64> {
    let n = centred.len();
    let gamma = call.reals("gamma").unwrap_or_else(|_| vec![1.0; n]);
    let beta = call.reals("beta").unwrap_or_else(|_| vec![0.0; n]);
    let entry = |((c, gamma), beta): ((&f64, &f64), &f64)| {
        let product = (gamma * c * r).abs();
        gamma.abs() * error * r.abs() + product * (r_error + 2.0) + product + beta.abs()
    };
    centred.iter().zip(&gamma).zip(&beta).map(entry).collect()
}

fn layer_norm(call: &Call) -> Vec<f64> {
    let eps = call.real("eps").unwrap_or(1e-5);
    let (centred, error, variance, variance_error) = moments(&call.reals("x").unwrap());
    let shifted = variance + eps;
    // Half the relative error of the argument, then root and quotient.
    let r_error = (variance_error + shifted) / (2.0 * shifted) + 2.1;
    scaled(call, &centred, error, shifted.sqrt().recip(), r_error)
}

fn polynomial_layer_norm(call: &Call) -> Vec<f64> {
    let eps = call.real("eps").unwrap();
    let (centred, error, variance, variance_error) = moments(&call.reals("x").unwrap());
    let (interval, coefficients) = (call.reals("interval").unwrap(), call.reals("coefficients").unwrap());
    let u = (2.0 * variance - interval[0] - interval[1]) / (interval[1] - interval[0]);
    let terms = coefficients.iter().enumerate();
    let mut y: f64 = terms.clone().map(|(k, c)| c * (k as f64 * u.acos()).cos()).sum();
    // |T_k'| <= k^2 on [-1, 1].
    let slope: f64 = terms.map(|(k, c)| (k * k) as f64 * c.abs()).sum::<f64>() * 2.0 / (interval[1] - interval[0]);
    let mut y_error = slope * variance_error / y.abs() + 1.0;
    let shifted_error = variance_error / (variance + eps) + 1.0;
    for _ in 0..call.integer::<u32>("newton").unwrap() {
        let t = (variance + eps) * y * y;
        y_error += (t * (2.0 * y_error + shifted_error + 2.0) + 3.0) / (3.0 - t).abs() + 2.0;
        y *= (3.0 - t) / 2.0;
    }
    scaled(call, &centred, error, y, y_error)
}

fn attention(call: &Call) -> Vec<f64> {
    let rows = |name: &str| call.input(name).unwrap().as_rows(name).unwrap();
    let (query, key, value) = (rows("query"), rows("key"), rows("value"));
    let mask: Vec<u32> =
        call.input("mask").unwrap().list("mask").unwrap().iter().map(|m| m.as_integer("mask").unwrap()).collect();
    let [p, causal] = ["p", "causal"].map(|name| call.integer::<i32>(name).unwrap());
    let size = query[0].len() as f64;
    let divisor = size.sqrt() * call.real("score_scale").unwrap();
    let mut bounds = Vec::new();
    for (i, q) in query.iter().enumerate() {
        let live: Vec<usize> = (0..key.len()).filter(|&j| mask[j] == 1 && (causal == 0 || j <= i)).collect();
        let n = live.len() as f64;
        let share = if call.input("form").unwrap().text("form").unwrap() == "mean" { 1.0 / n } else { 1.0 };
        let eps =
            if call.input("form").unwrap().text("form").unwrap() == "ideal" { 0.0 } else { call.real("eps").unwrap() };
        let powers: Vec<[f64; 2]> = live
            .iter()
            .map(|&j| {
                let products: Vec<f64> = q.iter().zip(&key[j]).map(|(a, b)| a * b).collect();
                let score = products.iter().sum::<f64>() / divisor;
                let error = (size + 1.0) * products.iter().map(|x| x.abs()).sum::<f64>() / divisor + 4.0 * score.abs();
                let power = score.powi(p) * share;
                [power, f64::from(p) * score.powi(p - 1).abs() * share * error + 2.0 * power]
            })
            .collect();
        let total = eps + powers.iter().map(|y| y[0]).sum::<f64>();
        let total_error = powers.iter().map(|y| y[1]).sum::<f64>() + n * total;
        let channel = |c: usize| -> f64 {
            let term = |(y, &j): (&[f64; 2], &usize)| {
                let weight = y[0] / total;
                let weight_error = y[1] / total + weight * total_error / total + 2.0 * weight;
                (weight_error + (1.0 + key.len() as f64) * weight) * value[j][c].abs()
            };
            powers.iter().zip(&live).map(term).sum()
        };
        bounds.extend((0..value[0].len()).map(channel));
    }
    bounds
}

fn call(text: &str) -> Call {
    Call::from_json("test", text).unwrap()
}

/// Every refusal names the field or the operation, what was expected and what was found.
///
/// Rules: `r[eval.input]`, `r[psm.parameters]`.
#[test]
fn bad_input_is_refused_by_name() {
    let cases = [
        (r#"{"op":"softmax","inputs":{}}"#, "op: expected power-softmax"),
        (r#"{"op":"gelu","inputs":{}}"#, "inputs.x"),
        (r#"{"op":"gelu","inputs":{"x":[]}}"#, "at least one number"),
        (r#"{"op":"gelu","inputs":{"x":["1","nan"]}}"#, "inputs.x[1]"),
        (r#"{"op":"gelu","inputs":{"x":["inf"]}}"#, "finite"),
        (r#"{"op":"gelu","inputs":{"x":["1e400"]}}"#, "1e400"),
        (r#"{"op":"gelu","inputs":{"x":["1"],"y":["1"]}}"#, "inputs.y"),
        (r#"{"op":"exp","inputs":{"x":["1e300"]}}"#, "finite value"),
        (r#"{"op":"reciprocal","inputs":{"x":["0"]}}"#, "finite value"),
        (r#"{"op":"inverse-sqrt","inputs":{"x":["-1"]}}"#, "finite value"),
        (r#"{"op":"power-softmax","inputs":{"x":["1"],"p":"3"}}"#, "even power"),
        (r#"{"op":"power-softmax","inputs":{"x":["1"],"p":"14"}}"#, "2..=12"),
        (r#"{"op":"power-softmax","inputs":{"x":["1"],"p":"-2"}}"#, "inputs.p"),
        (r#"{"op":"power-softmax","inputs":{"x":["1"],"eps":"0"}}"#, "eps > 0"),
        (r#"{"op":"power-softmax","inputs":{"x":["1"],"eps":"-1"}}"#, "eps > 0"),
        (r#"{"op":"power-softmax","inputs":{"x":["1"],"form":"best"}}"#, "inputs.form"),
        (r#"{"op":"power-softmax","inputs":{"x":["0","0"],"form":"ideal"}}"#, "other than zero"),
        (r#"{"op":"power-softmax","inputs":{"x":["1","2"],"mask":["1"]}}"#, "2 entries"),
        (r#"{"op":"power-softmax","inputs":{"x":["1","2"],"mask":["0","0"]}}"#, "live key"),
        (r#"{"op":"power-softmax","inputs":{"x":["1","2"],"mask":["0","2"]}}"#, "inputs.mask[1]"),
        (r#"{"op":"layer-norm","inputs":{"x":["1","2"],"gamma":["1"]}}"#, "inputs.gamma"),
        (r#"{"op":"layer-norm","inputs":{"x":["1","2"],"eps":"0"}}"#, "eps > 0"),
        (r#"{"op":"goldschmidt","inputs":{"x":["3"],"interval":["1","2"],"steps":"3"}}"#, "within [1, 2]"),
        (r#"{"op":"goldschmidt","inputs":{"x":["1"],"interval":["0","2"],"steps":"3"}}"#, "0 < lo"),
        (r#"{"op":"goldschmidt","inputs":{"x":["1"],"interval":["1"],"steps":"3"}}"#, "two numbers"),
        (r#"{"op":"goldschmidt","inputs":{"x":["1"],"interval":["1","2"],"steps":"1000"}}"#, "steps"),
        (r#"{"op":"newton-reciprocal","inputs":{"x":["1"],"start":"0","steps":"1"}}"#, "start"),
        (r#"{"op":"chebyshev","inputs":{"x":["9"],"interval":["0","1"],"coefficients":["1"]}}"#, "within [0, 1]"),
        (r#"{"op":"linear","inputs":{"x":["1"],"weight":[["1"],["1","2"]]}}"#, "inputs.weight[1]"),
        (r#"{"op":"linear","inputs":{"x":["1"],"weight":[["1","2"]]}}"#, "one per entry of x"),
        (r#"{"op":"rotary","inputs":{"x":["1","2","3"],"position":"1"}}"#, "even size"),
        (r#"{"op":"attention","inputs":{"query":[["1"]],"key":[["1","2"]],"value":[["1"]]}}"#, "one length"),
    ];
    for (text, part) in cases {
        let message = evaluate(&call(text), 128).unwrap_err().to_string();
        assert!(message.contains(part), "{text}: {message:?} lacks {part:?}");
    }
    let gelu = call(r#"{"op":"gelu","inputs":{"x":["1"]}}"#);
    for precision in [0, 23, 4097] {
        assert!(matches!(evaluate(&gelu, precision), Err(ReferenceError::BadInput { .. })));
    }
}

/// The places of eps differ: totals .643, .999 and .310 of the documented example (`r[psm.eps]`).
#[test]
fn eps_hazard() {
    for (form, x, expected) in [
        ("eps", r#""0.2","0.1","0","-0.1""#, 0.643),
        ("sum", r#""1","0.5","0","-0.5""#, 0.999),
        ("mean", r#""0.2","0.1","0","-0.1""#, 0.310),
        ("stable", r#""0.2","0.1","0","-0.1""#, 0.310),
    ] {
        let text = format!(r#"{{"op":"power-softmax","inputs":{{"x":[{x}],"form":"{form}","eps":"1e-3"}}}}"#);
        let total: f64 = evaluate(&call(&text), 128).unwrap().values.iter().map(|w| w.mid().to_f64()).sum();
        assert!((total - expected).abs() <= 0.0005, "{form}: {total}");
    }
}

/// Closed forms: Goldschmidt in one relaxed step is a line through known points; Newton from the root stays there.
#[test]
fn closed_forms() {
    let value = |text: &str| evaluate(&call(text), 200).unwrap().values[0].clone();
    // [1, 3]: k = 3/2, y = (1/3)(3/2)(2 - a/2), the last lower end is 3/4, so at a = 2 the value is 1/2 * 8/7.
    let line = value(r#"{"op":"goldschmidt","inputs":{"x":["2"],"interval":["1","3"],"steps":"1"}}"#);
    assert!(line.contains(&Float::with_val(300, Rational::from((4, 7)))), "{line}");
    let fixed = value(r#"{"op":"newton-inverse-sqrt","inputs":{"x":["4"],"start":"0.5","steps":"5"}}"#);
    assert!(fixed.contains(&Float::with_val(200, 0.5)), "{fixed}");
    let power = value(r#"{"op":"power-softmax","inputs":{"x":["1","2"],"p":"12","form":"ideal"}}"#);
    let exact = Rational::from((Integer::from(1), Integer::from(2).pow(12) + 1u32));
    assert!(power.contains(&Float::with_val(300, exact)), "{power}");
}
