//! R1, R2, R3 and R3p on the same functions and the same graph, at a toy preset with a batch of inputs in the slots.

use rayon::prelude::*;
use rug::Float;
use std::collections::BTreeMap;
use std::sync::Mutex;
use touchstone_reference::approx::{Chebyshev, interpolate, replacement};
use touchstone_reference::bounds::noise::tail_factor;
use touchstone_reference::ckks::Parameters;
use touchstone_reference::error::ReferenceError;
use touchstone_reference::interval::Interval;
use touchstone_reference::model::{
    Affine, Goldschmidt, Layer, Matrix, Model, Norm, Ring, forward_embedded, newton_inverse_sqrt, newton_reciprocal,
    polynomial_layer_norm, polynomial_power_softmax,
};
use touchstone_reference::rungs::{
    Exact, Fixed, Homomorphic, Predicted, Prediction, Replaced, Replacement, Rung, Scheme, Session,
};
use touchstone_spec::artifact::{Function, ModelConfig, POLYNOMIALS_FORMAT, Polynomials, PowerSoftmax, site_names};
use touchstone_spec::hexfloat::HexFloat;
use touchstone_spec::params::ParameterLiteral;

const PREC: u32 = 128;
const SEED: [u8; 16] = [3; 16];
/// Probability that correct code fails a comparison of noise.
const FAILURE: f64 = 1.0 / (1u64 << 40) as f64;

/// A function of a few numbers that every rung can evaluate.
enum Case {
    PowerSoftmax(u32, Replacement),
    LayerNorm(Norm, Replacement),
    Replaced(Replacement),
    Series(Chebyshev),
    Goldschmidt(Goldschmidt),
    NewtonInverseSqrt(f64, u32),
    NewtonReciprocal(f64, u32),
}

impl Case {
    fn run<S: Ring>(&self, x: &[S], context: S::Context) -> Result<Vec<S>, ReferenceError> {
        let each = |f: &dyn Fn(&S) -> Result<S, ReferenceError>| x.iter().map(f).collect::<Result<Vec<S>, _>>();
        match self {
            Self::PowerSoftmax(p, reciprocal) => polynomial_power_softmax(x, *p, reciprocal, context),
            Self::LayerNorm(norm, inverse) => polynomial_layer_norm(x, norm, inverse, context),
            Self::Replaced(function) => each(&|x| function.value(x, context)),
            Self::Series(series) => each(&|x| Ok(x.chebyshev(series))),
            Self::Goldschmidt(schedule) => each(&|x| schedule.value(x, context)),
            Self::NewtonInverseSqrt(start, steps) => each(&|x| newton_inverse_sqrt(x, *start, *steps, context)),
            Self::NewtonReciprocal(start, steps) => each(&|x| newton_reciprocal(x, *start, *steps, context)),
        }
    }
}

fn params() -> Parameters {
    preset("toy-n5-deep")
}

fn preset(name: &str) -> Parameters {
    Parameters::new(&ParameterLiteral::preset(name).unwrap()).unwrap()
}

/// Numbers in `[low, high)` from a fixed sequence.
struct Draws(u64);

impl Draws {
    fn next(&mut self, low: f64, high: f64) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        low + (high - low) * (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    fn batch(&mut self, values: usize, slots: usize, low: f64, high: f64) -> Vec<Vec<f64>> {
        (0..values).map(|_| (0..slots).map(|_| self.next(low, high)).collect()).collect()
    }
}

/// One prediction per slot of a session's key.
fn predictions(session: &Session) -> Vec<Prediction> {
    let weights = session.slot_weights().unwrap();
    weights.into_iter().map(|weight| Prediction::new(session.params().clone(), weight)).collect()
}

/// The root mean square of `k` independent normal numbers falls below this with probability [`FAILURE`] at most:
/// Chernoff's bound `Pr(chi^2 <= x k) <= (x e^(1-x))^(k/2)`.
fn least_rms(k: usize) -> f64 {
    let target = FAILURE.powf(2.0 / k as f64);
    let (mut low, mut high) = (0.0f64, 1.0f64);
    for _ in 0..100 {
        let x = (low + high) / 2.0;
        if x * (1.0 - x).exp() < target { low = x } else { high = x }
    }
    low.sqrt()
}

/// What a comparison of many values found.
#[derive(Default)]
struct Found {
    /// Largest `|R2 - R1|` relative to its bound.
    quantisation: f64,
    /// Largest `|R3 - R2|` in predicted deviations, and the smallest root mean square over the slots of one value.
    noise: [f64; 2],
    values: usize,
}

/// Compares one value: per slot the exact interval and the prediction; the decrypted slots.
fn compare(name: &str, found: &mut Found, exact: &[Interval], predicted: &[Homomorphic<Predicted>], slots: &[f64]) {
    let mut squares = 0.0;
    for ((exact, predicted), slot) in exact.iter().zip(predicted).zip(slots) {
        let predicted = predicted.number().unwrap();
        let fixed = predicted.fixed();
        let off = (&Interval::from_float(&fixed.exact_value(), 256) - exact).magnitude().to_f64();
        assert!(off <= fixed.error() + exact.rad().to_f64(), "{name}: R2 off by {off:e}, bound {:e}", fixed.error());
        found.quantisation = found.quantisation.max(off / fixed.error());
        let ratio = (slot - fixed.value()) / predicted.deviation();
        found.noise[0] = found.noise[0].max(ratio.abs());
        squares += ratio * ratio;
    }
    let rms = (squares / slots.len() as f64).sqrt();
    found.noise[1] = if found.values == 0 { rms } else { found.noise[1].min(rms) };
    found.values += slots.len();
}

/// Bounds hold on both sides: noise within `D` predicted deviations and not far below them, quantisation bounds within
/// 20 bits of what they bound (`r[conform.slack]`).
fn judge(name: &str, found: &Found, slots: usize) {
    let d = tail_factor(FAILURE, found.values).unwrap();
    println!(
        "{name}: |R2-R1| at most {:.4} of its bound, |R3-R2| at most {:.2} deviations, rms at least {:.2}; {} values, seed {SEED:?}",
        found.quantisation, found.noise[0], found.noise[1], found.values
    );
    assert!(found.noise[0] <= d, "{name}: {} deviations, at most {d}", found.noise[0]);
    assert!(found.noise[1] >= least_rms(slots), "{name}: too little noise, {} of the prediction", found.noise[1]);
    assert!(found.quantisation >= 2f64.powi(-20), "{name}: the bound says nothing");
}

/// The rungs on one function of `inputs[value][slot]`.
fn check(session: &Session, predictions: &[Prediction], name: &str, case: &Case, inputs: &[Vec<f64>]) {
    let encrypted: Vec<_> = inputs.iter().map(|x| Homomorphic::new(session.encrypt(x).unwrap())).collect();
    let ciphers = case.run(&encrypted, session).unwrap();
    let slots: Vec<Vec<f64>> = ciphers.iter().map(|x| x.number().unwrap().slots().unwrap()).collect();
    let per_slot: Vec<_> = predictions
        .par_iter()
        .enumerate()
        .map(|(slot, prediction)| {
            let points: Vec<_> = inputs.iter().map(|x| Interval::from_f64(x[slot], PREC)).collect();
            let fresh: Vec<_> =
                (0u64..).zip(inputs).map(|(i, x)| Homomorphic::new(prediction.encrypt(x[slot], i).unwrap())).collect();
            (case.run(&points, PREC).unwrap(), case.run(&fresh, prediction).unwrap())
        })
        .collect();
    // R2 on its own gives the integers that the prediction carries.
    let fixed: Vec<_> = inputs.iter().map(|x| Homomorphic::new(Fixed::new(x[0], session.params()).unwrap())).collect();
    let fixed = case.run(&fixed, session.params()).unwrap();
    let mut found = Found::default();
    for (i, slots) in slots.iter().enumerate() {
        let exact: Vec<Interval> = per_slot.iter().map(|(exact, _)| exact[i].clone()).collect();
        let predicted: Vec<_> = per_slot.iter().map(|(_, predicted)| predicted[i].clone()).collect();
        let alone = fixed[i].number().unwrap();
        assert_eq!(alone.integer(), predicted[0].number().unwrap().fixed().integer());
        assert_eq!(alone.level(), ciphers[i].number().unwrap().level(), "{name}: every rung is at the same level");
        compare(name, &mut found, &exact, &predicted, slots);
    }
    judge(name, &found, predictions.len());
}

fn replaced(function: Function, interval: [f64; 2], degree: usize) -> Replacement {
    Replacement::new(&replacement("test", function, interval, interval, degree).unwrap()).unwrap()
}

/// Rules: `r[rung.r2]`, `r[rung.r2-bound]`, `r[rung.r3]`, `r[rung.r3p]`, `r[rung.r3-bound]`, `r[rung.operations]`,
/// `r[rung.constants]`, `r[psm.polynomial]`, `r[psm.power]`.
#[test]
fn rungs_agree_on_functions() {
    let session = Session::new(params(), SEED).unwrap();
    let predictions = predictions(&session);
    let n = predictions.len();
    let mut draws = Draws(1);
    let run = |name: &str, case: &Case, inputs: &[Vec<f64>]| check(&session, &predictions, name, case, inputs);
    for p in [2, 4, 6, 8, 10, 12] {
        let reciprocal = replaced(Function::Reciprocal { shift: HexFloat(0.1) }, [0.0, 2.0], 7);
        run(&format!("power-softmax p={p}"), &Case::PowerSoftmax(p, reciprocal), &draws.batch(3, n, -1.1, 1.1));
    }
    let norm = Norm { gamma: vec![1.5, -0.5, 1.0, 0.25], beta: vec![0.5, 0.0, -1.0, 2.0] };
    let inverse = replaced(Function::InverseSqrt { shift: HexFloat(1e-5) }, [0.05, 2.0], 7);
    let mut rows = draws.batch(4, n, 0.4, 1.0);
    rows[1..3].iter_mut().flatten().for_each(|x| *x = -*x);
    run("layer-norm", &Case::LayerNorm(norm, inverse), &rows);
    run("gelu", &Case::Replaced(replaced(Function::Gelu, [-4.0, 4.0], 14)), &draws.batch(2, n, -4.0, 4.0));
    let tanh = |x: &Float| Float::with_val(x.prec(), x.tanh_ref());
    let tanh: Vec<f64> = interpolate(&tanh, [-3.0, 3.0], 15, 256).iter().map(Float::to_f64).collect();
    run("tanh", &Case::Series(Chebyshev::new([-3.0, 3.0], tanh).unwrap()), &draws.batch(2, n, -3.0, 3.0));
    for relaxed in [false, true] {
        let schedule = Goldschmidt { interval: [0.1, 2.0], steps: 4, relaxed };
        run(&format!("goldschmidt relaxed={relaxed}"), &Case::Goldschmidt(schedule), &draws.batch(2, n, 0.1, 2.0));
    }
    run("newton-inverse-sqrt", &Case::NewtonInverseSqrt(0.8, 4), &draws.batch(2, n, 0.5, 2.0));
    run("newton-reciprocal", &Case::NewtonReciprocal(0.6, 4), &draws.batch(2, n, 0.5, 2.0));
}

/// Running out of levels is an error that comes out at the end, an input outside its interval an escape, on every rung.
///
/// Rules: `r[rung.error]`.
#[test]
fn errors_come_out_at_the_end() {
    let session = Session::new(params(), SEED).unwrap();
    let schedule = Case::Goldschmidt(Goldschmidt { interval: [0.1, 2.0], steps: 40, relaxed: true });
    let inside = Homomorphic::new(Fixed::new(1.0, session.params()).unwrap());
    let exhausted = schedule.run(std::slice::from_ref(&inside), session.params()).unwrap();
    let error = exhausted[0].check().unwrap_err();
    assert!(matches!(error.cause(), ReferenceError::LevelExhausted { .. }), "{error}");

    let gelu = replaced(Function::Gelu, [-4.0, 4.0], 6);
    let deferred = gelu.value(&exhausted[0], session.params()).unwrap_err();
    assert!(matches!(deferred.cause(), ReferenceError::LevelExhausted { .. }), "{deferred}");
    let outside = Homomorphic::new(Fixed::new(4.5, session.params()).unwrap());
    assert!(matches!(gelu.value(&outside, session.params()), Err(ReferenceError::Escape { .. })));
    let mut slots = vec![0.0; session.params().slots()];
    slots[5] = -4.5;
    let cipher = Homomorphic::new(session.encrypt(&slots).unwrap());
    assert!(matches!(gelu.value(&cipher, &session), Err(ReferenceError::Escape { .. })));

    let too_large = Homomorphic::<Fixed>::point(1e10, session.params());
    assert!(matches!(too_large.check().unwrap_err().cause(), ReferenceError::NotEncodable { .. }));
    assert!(too_large.mul(&inside).check().is_err());
}

/// Ranges of the inputs of every site, seen with the exact functions.
#[derive(Default)]
struct Recorder(Mutex<BTreeMap<String, [f64; 2]>>);

impl Rung<f64> for Recorder {
    fn evaluate(&self, site: &str, function: &Function, x: &f64, numbers: ()) -> Result<f64, ReferenceError> {
        let mut seen = self.0.lock().unwrap();
        let range = seen.entry(site.to_owned()).or_insert([*x, *x]);
        *range = [range[0].min(*x), range[1].max(*x)];
        Exact.evaluate(site, function, x, numbers)
    }
}

/// A one-layer model with random weights.
fn tiny(draws: &mut Draws, parallel: bool) -> Model {
    let (d, f, heads, vocabulary) = (8, 8, 2, 5);
    let mut matrix = |rows: usize, columns: usize| Matrix {
        rows,
        columns,
        values: (0..rows * columns).map(|_| draws.next(-0.5, 0.5)).collect(),
    };
    let mut affine = |rows: usize, columns: usize| {
        let bias = matrix(1, rows).values;
        Affine { weight: matrix(rows, columns), bias }
    };
    let norm = || Norm { gamma: vec![1.25; d], beta: vec![0.125; d] };
    let layer = Layer {
        attention_norm: norm(),
        mlp_norm: norm(),
        query_key_value: affine(3 * d, d),
        output: affine(d, d),
        up: affine(f, d),
        down: affine(d, f),
    };
    let power_softmax =
        PowerSoftmax { p: 4, eps: 0.1, eps_on: "mean".to_owned(), score_scale: 1.0, layer_score_scales: Vec::new() };
    Model {
        config: ModelConfig {
            model_type: "gpt_neox".to_owned(),
            hidden_size: d,
            num_hidden_layers: 1,
            num_attention_heads: heads,
            intermediate_size: f,
            vocab_size: vocabulary,
            max_position_embeddings: 4,
            rotary_pct: 0.5,
            rotary_emb_base: 10000.0,
            use_parallel_residual: parallel,
            layer_norm_eps: 1e-5,
            hidden_act: "gelu".to_owned(),
            tie_word_embeddings: false,
            power_softmax,
        },
        embedding: affine(vocabulary, d).weight,
        layers: vec![layer],
        final_norm: norm(),
        head: affine(vocabulary, d).weight,
    }
}

/// Polynomials of small degree on the ranges that the batch shows, with a margin that covers their own errors: at these
/// degrees they are poor approximations, which does not matter to the rungs after R1.
fn fitted(model: &Model, batch: &[Vec<Vec<f64>>]) -> Replaced {
    let recorder = Recorder::default();
    for rows in batch {
        forward_embedded(model, rows.clone(), 3, &recorder, (), &mut ()).unwrap();
    }
    let seen = recorder.0.into_inner().unwrap();
    let site = |name: String| {
        let range = seen[&name];
        let largest = 3.0 * range[1].max(-range[0]);
        let function = touchstone_reference::rungs::site_function(&model.config, &name);
        let (interval, degree) = match function {
            Function::InverseSqrt { .. } => ([range[0] / 3.0, largest], 7),
            Function::Reciprocal { .. } => ([0.0, largest], 7),
            _ => ([-largest, largest], 6),
        };
        replacement(&name, function, range, interval, degree).unwrap()
    };
    let sites = site_names(&model.config).into_iter().map(site).collect();
    let format = POLYNOMIALS_FORMAT.to_owned();
    Replaced::new(&model.config, &Polynomials { format, calibration: "a batch".to_owned(), sites, streams: Vec::new() })
        .unwrap()
}

/// Values of all taps under one rung.
fn taps<S: Ring>(model: &Model, rows: Vec<Vec<S>>, rung: &Replaced, numbers: S::Context) -> BTreeMap<String, Vec<S>> {
    let mut taps = BTreeMap::new();
    let mut observe = |name: &str, _: &[usize], values: &[S]| {
        taps.insert(name.to_owned(), values.to_vec());
    };
    forward_embedded(model, rows, 3, rung, numbers, &mut observe).unwrap();
    taps
}

/// The whole graph: at every tap the four rungs are as far apart as predicted.
#[test]
fn rungs_agree_on_a_model() {
    check_model(params(), true);
}

/// The same with the sequential block, which needs more levels.
#[test]
fn rungs_agree_on_a_sequential_model() {
    check_model(preset("toy-n5-deepest"), false);
}

fn check_model(params: Parameters, parallel: bool) {
    let session = Session::new(params, SEED).unwrap();
    let predictions = predictions(&session);
    let (tokens, d, slots) = (4, 8, predictions.len());
    let mut draws = Draws(7);
    let model = tiny(&mut draws, parallel);
    // [slot][token][channel]
    let batch: Vec<Vec<Vec<f64>>> = (0..slots).map(|_| draws.batch(tokens, d, -1.0, 1.0)).collect();
    let rung = fitted(&model, &batch);
    let encrypt = |t: usize, c: usize| {
        let values: Vec<f64> = batch.iter().map(|rows| rows[t][c]).collect();
        Homomorphic::new(session.encrypt(&values).unwrap())
    };
    let encrypted = (0..tokens).map(|t| (0..d).map(|c| encrypt(t, c)).collect()).collect();
    let ciphers = taps(&model, encrypted, &rung, &session);
    let mut found: BTreeMap<&str, Found> = BTreeMap::new();
    let per_slot: Vec<_> = batch
        .iter()
        .zip(&predictions)
        .map(|(rows, prediction)| {
            let points = rows.iter().map(|row| row.iter().map(|&x| Interval::from_f64(x, PREC)).collect()).collect();
            let fresh =
                |t: usize, c: usize| Homomorphic::new(prediction.encrypt(rows[t][c], (t * d + c) as u64).unwrap());
            let fresh = (0..tokens).map(|t| (0..d).map(|c| fresh(t, c)).collect()).collect();
            (taps(&model, points, &rung, PREC), taps(&model, fresh, &rung, prediction))
        })
        .collect();
    for (name, values) in &ciphers {
        let found = found.entry(name).or_default();
        for (i, cipher) in values.iter().enumerate() {
            let predicted: Vec<_> = per_slot.iter().map(|(_, predicted)| predicted[name][i].clone()).collect();
            if predicted[0].number().unwrap().deviation() == 0.0 {
                continue; // A masked entry: a public zero.
            }
            let exact: Vec<Interval> = per_slot.iter().map(|(exact, _)| exact[name][i].clone()).collect();
            compare(name, found, &exact, &predicted, &cipher.number().unwrap().slots().unwrap());
        }
    }
    for (name, found) in &found {
        judge(name, found, slots);
    }
}
