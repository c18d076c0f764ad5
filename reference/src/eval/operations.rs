//! The operations, each a translation from inputs to a function of the model.

use super::Answer;
use super::inputs::Inputs;
use crate::approx::Chebyshev;
use crate::error::ReferenceError;
use crate::interval::Interval;
use crate::model::{
    Affine, Form, Goldschmidt, Head, Matrix, Norm, Ring, attention, gelu, layer_norm, masked_power_softmax,
    newton_inverse_sqrt, newton_reciprocal, polynomial_layer_norm, rotary,
};
use crate::rungs::{Replacement, exact};
use touchstone_spec::artifact::{ErrorKind, Function, Refinement, Site};
use touchstone_spec::hexfloat::HexFloat;
use touchstone_spec::vector::Call;

/// An operation: its name, its inputs, and what it computes.
type Operation = (&'static str, &'static [&'static str], fn(&Inputs, u32) -> Result<Answer, ReferenceError>);

const TABLE: [Operation; 16] = [
    ("power-softmax", &["x", "mask", "p", "eps", "form", "delta"], power_softmax_of),
    ("layer-norm", &["x", "gamma", "beta", "eps"], layer_norm_of),
    (
        "polynomial-layer-norm",
        &["x", "gamma", "beta", "eps", "interval", "coefficients", "newton"],
        polynomial_layer_norm_of,
    ),
    ("gelu", &["x"], |inputs, _| map(inputs, gelu)),
    ("tanh", &["x"], |inputs, _| map(inputs, Interval::tanh)),
    ("erf", &["x"], |inputs, _| map(inputs, Interval::erf)),
    ("exp", &["x"], |inputs, _| map(inputs, Interval::exp)),
    ("inverse-sqrt", &["x", "shift"], |inputs, bits| {
        let shift = HexFloat(inputs.real_or("shift", 0.0)?);
        map(inputs, |x| exact(&Function::InverseSqrt { shift }, x, bits))
    }),
    ("newton-inverse-sqrt", &["x", "start", "steps"], |inputs, bits| newton(inputs, newton_inverse_sqrt, bits)),
    ("reciprocal", &["x", "shift"], |inputs, bits| {
        let shift = HexFloat(inputs.real_or("shift", 0.0)?);
        map(inputs, |x| exact(&Function::Reciprocal { shift }, x, bits))
    }),
    ("newton-reciprocal", &["x", "start", "steps"], |inputs, bits| newton(inputs, newton_reciprocal, bits)),
    ("goldschmidt", &["x", "interval", "steps", "relaxed"], goldschmidt_of),
    ("chebyshev", &["x", "interval", "coefficients"], chebyshev_of),
    ("linear", &["x", "weight", "bias"], linear_of),
    ("rotary", &["x", "position", "size", "base"], rotary_of),
    (
        "attention",
        &["query", "key", "value", "mask", "causal", "p", "eps", "form", "delta", "score_scale"],
        attention_of,
    ),
];

/// Names of all operations.
pub const OPERATIONS: [&str; TABLE.len()] = {
    let mut names = [""; TABLE.len()];
    let mut i = 0;
    while i < names.len() {
        names[i] = TABLE[i].0;
        i += 1;
    }
    names
};

/// Runs the operation that the call names.
pub fn run(call: &Call, precision: u32) -> Result<Answer, ReferenceError> {
    match TABLE.iter().find(|(name, ..)| *name == call.op) {
        Some((_, fields, operation)) => operation(&Inputs::new(call, fields, precision)?, precision),
        None => Err(ReferenceError::BadInput {
            field: "op".to_owned(),
            expected: OPERATIONS.join(", "),
            got: format!("{:?}", call.op),
        }),
    }
}

fn vector(values: Vec<Interval>) -> Answer {
    Answer { shape: vec![values.len()], values }
}

fn map(inputs: &Inputs, f: impl Fn(&Interval) -> Interval) -> Result<Answer, ReferenceError> {
    Ok(vector(inputs.points("x")?.iter().map(f).collect()))
}

fn form(inputs: &Inputs) -> Result<Form, ReferenceError> {
    Ok(match inputs.word_or("form", &["ideal", "sum", "eps", "mean", "stable"], "mean")? {
        "ideal" => Form::Ideal,
        "sum" | "eps" => Form::Sum,
        "stable" => Form::Stable { delta: inputs.real_or("delta", 1e-6)? },
        _ => Form::Mean,
    })
}

fn power_softmax_of(inputs: &Inputs, bits: u32) -> Result<Answer, ReferenceError> {
    let scores = inputs.points("x")?;
    let mask = inputs.flags("mask")?.unwrap_or_else(|| vec![true; scores.len()]);
    let (power, eps) = (inputs.integer_or("p", 4)?, inputs.real_or("eps", 1e-3)?);
    masked_power_softmax(form(inputs)?, &scores, &mask, power, eps, bits).map(vector)
}

/// Gain and offset for a row of `size` numbers, by default 1 and 0.
fn norm(inputs: &Inputs, size: usize) -> Result<Norm, ReferenceError> {
    Ok(Norm { gamma: inputs.reals_or("gamma", size, 1.0)?, beta: inputs.reals_or("beta", size, 0.0)? })
}

fn layer_norm_of(inputs: &Inputs, bits: u32) -> Result<Answer, ReferenceError> {
    let x = inputs.points("x")?;
    layer_norm(&x, &norm(inputs, x.len())?, inputs.real_or("eps", 1e-5)?, bits).map(vector)
}

fn polynomial_layer_norm_of(inputs: &Inputs, bits: u32) -> Result<Answer, ReferenceError> {
    let x = inputs.points("x")?;
    let interval = inputs.interval("interval")?.map(HexFloat);
    let iterations = inputs.integer_or("newton", 0)?;
    let site = Site {
        site: "polynomial-layer-norm".to_owned(),
        function: Function::InverseSqrt { shift: HexFloat(inputs.real_or("eps", 1e-5)?) },
        observed: interval,
        interval,
        coefficients: inputs.reals("coefficients")?.into_iter().map(HexFloat).collect(),
        refinement: if iterations == 0 { Refinement::None } else { Refinement::Newton { iterations } },
        // The value of the polynomial itself is asked for, not its distance from the function.
        sup_error: HexFloat(0.0),
        error_kind: ErrorKind::Relative,
    };
    polynomial_layer_norm(&x, &norm(inputs, x.len())?, &Replacement::new(&site)?, bits).map(vector)
}

fn newton(
    inputs: &Inputs,
    iterate: fn(&Interval, f64, u32, u32) -> Result<Interval, ReferenceError>,
    bits: u32,
) -> Result<Answer, ReferenceError> {
    let (start, steps) = (inputs.real("start")?, inputs.integer("steps")?);
    inputs.points("x")?.iter().map(|x| iterate(x, start, steps, bits)).collect::<Result<_, _>>().map(vector)
}

fn goldschmidt_of(inputs: &Inputs, bits: u32) -> Result<Answer, ReferenceError> {
    let schedule = Goldschmidt {
        interval: inputs.interval("interval")?,
        steps: inputs.integer("steps")?,
        relaxed: inputs.flag("relaxed")?,
    };
    inputs.points("x")?.iter().map(|x| schedule.value(x, bits)).collect::<Result<_, _>>().map(vector)
}

fn chebyshev_of(inputs: &Inputs, _: u32) -> Result<Answer, ReferenceError> {
    let series = Chebyshev::new(inputs.interval("interval")?, inputs.reals("coefficients")?)?;
    let [low, high] = series.interval();
    let value = |x: &Interval| {
        let escape = || ReferenceError::Escape { site: "Chebyshev series".to_owned(), low, high, got: x.to_string() };
        if x.within([low, high]) { Ok(series.enclosure(x)) } else { Err(escape()) }
    };
    inputs.points("x")?.iter().map(value).collect::<Result<_, _>>().map(vector)
}

fn linear_of(inputs: &Inputs, bits: u32) -> Result<Answer, ReferenceError> {
    let (x, rows) = (inputs.points("x")?, inputs.rows("weight")?);
    if rows[0].len() != x.len() {
        return Err(ReferenceError::BadInput {
            field: "inputs.weight".to_owned(),
            expected: format!("rows of {} numbers, one per entry of x", x.len()),
            got: rows[0].len().to_string(),
        });
    }
    let bias = inputs.reals_or("bias", rows.len(), 0.0)?;
    let weight = Matrix { rows: rows.len(), columns: x.len(), values: rows.concat() };
    Ok(vector(Affine { weight, bias }.apply(&x, bits)))
}

fn rotary_of(inputs: &Inputs, bits: u32) -> Result<Answer, ReferenceError> {
    let x = inputs.points("x")?;
    let size = inputs.integer_or("size", x.len())?;
    rotary(&x, inputs.integer("position")?, size, inputs.real_or("base", 10000.0)?, bits).map(vector)
}

fn attention_of(inputs: &Inputs, bits: u32) -> Result<Answer, ReferenceError> {
    let [query, key, value] = ["query", "key", "value"].map(|name| inputs.point_rows(name));
    let (query, key, value) = (query?, key?, value?);
    let padding = inputs.flags("mask")?.unwrap_or_else(|| vec![true; key.len()]);
    let causal = inputs.flag("causal")?;
    let sees = |i: usize| padding.iter().enumerate().map(|(j, live)| *live && (!causal || j <= i)).collect();
    let mask: Vec<Vec<bool>> = (0..query.len()).map(sees).collect();
    let head = Head {
        form: form(inputs)?,
        power: inputs.integer_or("p", 4)?,
        eps: inputs.real_or("eps", 1e-3)?,
        score_scale: inputs.real_or("score_scale", 1.0)?,
    };
    let rows = attention(&head, &query, &key, &value, &mask, bits)?;
    Ok(Answer { shape: vec![rows.len(), rows[0].len()], values: rows.concat() })
}
