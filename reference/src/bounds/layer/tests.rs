//! Laws of composition, and a network with planted errors.

use super::*;
use crate::model::{Layer, forward};
use crate::rungs::Replaced;
use crate::sample::{Stream, StreamId};
use touchstone_spec::artifact::{ErrorKind, ModelConfig, POLYNOMIALS_FORMAT, Refinement, Site, site_names};
use touchstone_spec::hexfloat::HexFloat;

const TOKENS: [u32; 4] = [3, 1, 4, 1];

fn config(parallel: bool) -> ModelConfig {
    ModelConfig::from_json(&format!(
        r#"{{ "model_type": "gpt_neox", "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 12, "vocab_size": 6, "max_position_embeddings": 8, "rotary_pct": 0.5,
        "rotary_emb_base": 10000.0, "use_parallel_residual": {parallel}, "layer_norm_eps": 1e-5,
        "hidden_act": "gelu", "tie_word_embeddings": false,
        "power_softmax": {{ "p": 2, "eps": 0.5, "eps_on": "mean", "score_scale": 1.0 }} }}"#
    ))
    .unwrap()
}

/// Uniform numbers around `centre`.
struct Draws(Stream);

impl Draws {
    fn new(seed: u8) -> Self {
        Self(Stream::new(&[seed; 16], StreamId::new(1002, 0)))
    }

    fn next(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / 2f64.powi(53) - 0.5
    }

    fn many(&mut self, count: usize, centre: f64, size: f64) -> Vec<f64> {
        (0..count).map(|_| centre + size * self.next()).collect()
    }

    fn matrix(&mut self, rows: usize, columns: usize) -> Matrix {
        Matrix { rows, columns, values: self.many(rows * columns, 0.0, 1.0) }
    }

    fn affine(&mut self, rows: usize, columns: usize) -> Affine {
        Affine { weight: self.matrix(rows, columns), bias: self.many(rows, 0.0, 0.5) }
    }

    fn norm(&mut self, size: usize) -> Norm {
        Norm { gamma: self.many(size, 1.0, 0.5), beta: self.many(size, 0.0, 0.5) }
    }
}

fn model(parallel: bool) -> Model {
    let config = config(parallel);
    let mut draws = Draws::new(7);
    let (d, f, v) = (config.hidden_size, config.intermediate_size, config.vocab_size);
    let embedding = Matrix { rows: v, columns: d, values: draws.many(v * d, 0.0, 4.0) };
    let layer = |_| Layer {
        attention_norm: draws.norm(d),
        mlp_norm: draws.norm(d),
        query_key_value: draws.affine(3 * d, d),
        output: draws.affine(d, d),
        up: draws.affine(f, d),
        down: draws.affine(d, f),
    };
    let layers = (0..config.num_hidden_layers).map(layer).collect();
    Model { layers, final_norm: Draws::new(8).norm(d), head: Draws::new(9).matrix(v, d), embedding, config }
}

/// Low-degree replacements: what they replace does not matter here.
fn polynomials(config: &ModelConfig) -> Polynomials {
    let site = |name: String| {
        let function = crate::rungs::site_function(config, &name);
        let gelu = name.ends_with("gelu");
        let interval = if gelu { [-20.0, 20.0] } else { [0.0, 60.0] };
        let coefficients: &[f64] = if gelu { &[1.0, 10.0, 2.0, 0.1] } else { &[0.6, -0.3, 0.1] };
        Site {
            site: name,
            function,
            observed: interval.map(HexFloat),
            interval: interval.map(HexFloat),
            coefficients: coefficients.iter().map(|&c| HexFloat(c)).collect(),
            refinement: Refinement::None,
            sup_error: HexFloat(1.0),
            error_kind: ErrorKind::Absolute,
        }
    };
    let sites = site_names(config).into_iter().map(site).collect();
    Polynomials { format: POLYNOMIALS_FORMAT.to_owned(), calibration: "none".to_owned(), sites, streams: Vec::new() }
}

/// Values in binary64 at every tap.
fn values(model: &Model, polynomials: &Polynomials) -> Taps {
    let rung = Replaced::new(&model.config, polynomials).unwrap();
    let mut taps = Taps::new();
    let mut observe = |name: &str, _: &[usize], values: &[f64]| {
        taps.insert(name.to_owned(), values.to_vec());
    };
    forward::<f64>(model, &TOKENS, TOKENS.len() - 1, &rung, (), &mut observe).unwrap();
    taps
}

/// The same deviation at all values of a tap, but 0 above the diagonal, where values are 0 by definition.
fn uniform_fresh(values: &Taps, size: impl Fn(&str) -> f64) -> Taps {
    let of = |name: &str, value: f64| {
        let square = name.ends_with("scores") || name.ends_with("powers");
        if square && value == 0.0 { 0.0 } else { size(name) }
    };
    values.iter().map(|(name, values)| (name.clone(), values.iter().map(|&x| of(name, x)).collect())).collect()
}

struct Setup {
    model: Model,
    polynomials: Polynomials,
    values: Taps,
}

impl Setup {
    fn new(parallel: bool) -> Self {
        let model = model(parallel);
        let polynomials = polynomials(&model.config);
        let values = values(&model, &polynomials);
        Self { values, polynomials, model }
    }

    fn run<'a>(&'a self, fresh: &'a Taps) -> Run<'a> {
        Run { model: &self.model, polynomials: &self.polynomials, values: &self.values, fresh }
    }
}

fn totals(composed: &Composed, name: &str) -> Vec<f64> {
    composed.tap(name).unwrap().iter().map(|bound| bound.total).collect()
}

fn three(run: &Run<'_>) -> [Composed; 3] {
    [
        compose(run).unwrap(),
        compose_entrywise(run, Combination::WorstCase).unwrap(),
        compose_entrywise(run, Combination::RootSumSquare).unwrap(),
    ]
}

#[test]
fn every_tap_has_a_bound_with_terms_of_a_stated_rule() {
    for parallel in [true, false] {
        let setup = Setup::new(parallel);
        let fresh = uniform_fresh(&setup.values, |_| 1e-9);
        for composed in three(&setup.run(&fresh)) {
            assert!(touchstone_spec::rules::find(composed.rule).is_some(), "{}", composed.rule);
            for (name, values) in &setup.values {
                let bounds = composed.tap(name).unwrap();
                assert_eq!(bounds.len(), values.len(), "{name}");
                for bound in bounds {
                    let sum = composed.combination.combine(bound.terms.iter().map(|term| term.value));
                    assert!((bound.total - sum).abs() <= 1e-12 * sum, "{name}");
                }
            }
            assert_eq!(composed.names().count(), setup.values.len());
        }
    }
}

#[test]
fn the_worst_case_exceeds_the_root_of_the_sum_of_squares() {
    let setup = Setup::new(false);
    let fresh = uniform_fresh(&setup.values, |_| 1e-9);
    let [composed, worst, rss] = three(&setup.run(&fresh));
    for name in setup.values.keys() {
        let rss = totals(&rss, name);
        for ((worst, composed), rss) in totals(&worst, name).iter().zip(totals(&composed, name)).zip(rss) {
            assert!(*worst >= rss && composed >= rss, "{name}: {worst}, {composed}, {rss}");
        }
    }
}

/// Rules: `r[noise.layer.fresh]`.
#[test]
fn more_fresh_error_anywhere_never_lowers_a_bound() {
    let setup = Setup::new(true);
    let fresh = uniform_fresh(&setup.values, |_| 1e-9);
    let before = three(&setup.run(&fresh));
    for name in setup.values.keys() {
        let more = uniform_fresh(&setup.values, |tap| if tap == name { 2e-9 } else { 1e-9 });
        for (before, after) in before.iter().zip(three(&setup.run(&more))) {
            for tap in setup.values.keys() {
                let pairs = totals(before, tap).into_iter().zip(totals(&after, tap));
                assert!(pairs.clone().all(|(a, b)| b >= a * (1.0 - 1e-12)), "{name} at {tap}, {}", after.rule);
            }
        }
    }
}

#[test]
fn small_errors_scale() {
    let setup = Setup::new(true);
    let (one, two) = (uniform_fresh(&setup.values, |_| 1e-13), uniform_fresh(&setup.values, |_| 2e-13));
    for (one, two) in three(&setup.run(&one)).iter().zip(three(&setup.run(&two))) {
        for (a, b) in totals(one, "logits").into_iter().zip(totals(&two, "logits")) {
            assert!((b / a / 2.0 - 1.0).abs() < 1e-6, "{}: {a} and {b}", two.rule);
        }
    }
}

/// Embedding rows with planted errors, against the run without: bounded by all three where fresh error is in the embedding only;
/// the root-sum-square deviation is that of the sample.
#[test]
fn errors_planted_in_the_embedding_stay_inside() {
    const RUNS: usize = 200;
    const SIZE: f64 = 1e-7;
    for parallel in [true, false] {
        let setup = Setup::new(parallel);
        let mut fresh = uniform_fresh(&setup.values, |_| 0.0);
        let embedding = fresh.get_mut("embedding").unwrap();
        embedding.fill(SIZE);
        let [composed, worst, _] = three(&setup.run(&fresh));
        // The mean over channels is not part of the stream's error, so errors without one are planted.
        let mut draws = Draws::new(5);
        let mut largest: BTreeMap<String, f64> = BTreeMap::new();
        for _ in 0..RUNS {
            let mut moved = setup.model.clone();
            let d = moved.config.hidden_size;
            for row in moved.embedding.values.chunks_mut(d) {
                // Uniform with deviation SIZE.
                let mut errors: Vec<f64> = (0..d).map(|_| SIZE * 12f64.sqrt() * draws.next()).collect();
                let mean = errors.iter().sum::<f64>() / d as f64;
                errors.iter_mut().for_each(|e| *e -= mean);
                row.iter_mut().zip(errors).for_each(|(x, e)| *x += e);
            }
            for (name, after) in values(&moved, &setup.polynomials) {
                let bounds = totals(&composed, &name).into_iter().zip(totals(&worst, &name));
                for ((before, after), (bound, worst)) in setup.values[&name].iter().zip(&after).zip(bounds) {
                    let error = (after - before).abs();
                    // Rounding of values up to a few hundred.
                    let rounding = 1e-12 * (1.0 + before.abs());
                    assert!(
                        error <= bound + rounding && error <= worst + rounding,
                        "{name}: {error}, {bound}, {worst}"
                    );
                    let ratio = largest.entry(name.clone()).or_default();
                    *ratio = ratio.max(if bound > 0.0 { error / bound } else { 0.0 });
                }
            }
        }
        // Bounds that nothing comes near would say nothing: at the first sums the planted errors reach a hundredth.
        for name in ["embedding", "layers.0.layernorm.variance", "layers.0.mlp.hidden"] {
            assert!(largest[name] > 0.01, "{name}: {}", largest[name]);
        }
    }
}

#[test]
fn missing_taps_and_bad_deviations_are_refused() {
    let setup = Setup::new(true);
    let mut fresh = uniform_fresh(&setup.values, |_| 1e-9);
    fresh.get_mut("logits").unwrap()[2] = f64::NAN;
    assert!(compose(&setup.run(&fresh)).is_err());
    fresh.get_mut("logits").unwrap().pop();
    assert!(compose(&setup.run(&fresh)).is_err());
    fresh.remove("logits");
    assert!(compose_entrywise(&setup.run(&fresh), Combination::WorstCase).is_err());
}
