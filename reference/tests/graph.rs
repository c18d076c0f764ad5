//! The graph against logits of the training code, against its own rungs, and against laws of the architecture.

mod running;

use running::Running;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use touchstone_reference::error::ReferenceError;
use touchstone_reference::interval::Interval;
use touchstone_reference::model::{
    Affine, Layer, Matrix, Model, Norm, cyclic, encode, forward, load, load_polynomials, load_tokenizer,
};
use touchstone_reference::rungs::{Exact, Replaced, Widened};
use touchstone_spec::artifact::{ModelConfig, PowerSoftmax};

const PREC: u32 = 128;

fn fairy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/fairy-1l")
}

/// Five held-out prompts with the logits of the exact model, computed in binary64 by the code that trained it.
#[derive(Deserialize)]
struct Sample {
    ids: Vec<u32>,
    prompt: String,
    argmax: usize,
    last_logits: Vec<f64>,
}

fn samples(directory: &Path) -> Vec<Sample> {
    serde_json::from_str(&std::fs::read_to_string(directory.join("sample-logits.json")).unwrap()).unwrap()
}

/// Every logit of the training code lies within the certified interval plus a running bound of binary64 rounding
/// errors (unit roundoff per operation, `n u / (1 - n u)` times the sum of magnitudes for a sum of n terms in any order).
///
/// Rules: `r[psm.scores]`, `r[model.embed]`.
#[test]
fn logits_agree_with_the_training_code() {
    // The bound of rounding errors grows by several hundred per layer: behind four it says little, and the most likely token
    // says more.
    for (model, prompts, bound) in [("fairy-1l", 5, 1e-8), ("fairy-4l", 2, f64::INFINITY)] {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models").join(model);
        agrees_with_the_training_code(&directory, prompts, bound);
    }
}

/// The first `prompts` samples; the bound of rounding errors is below `bound`.
fn agrees_with_the_training_code(directory: &Path, prompts: usize, bound: f64) {
    let model = load(directory).unwrap();
    let tokenizer = load_tokenizer(directory).unwrap();
    for sample in samples(directory).into_iter().take(prompts) {
        assert_eq!(encode(&tokenizer, &sample.prompt).unwrap(), sample.ids, "{}", sample.prompt);
        let last = sample.ids.len() - 1;
        let exact = forward::<Interval>(&model, &sample.ids, last, &Exact, PREC, &mut ()).unwrap();
        let rounded = forward::<Running>(&model, &sample.ids, last, &Exact, (), &mut ()).unwrap();
        for (token, ((exact, rounded), got)) in exact.iter().zip(&rounded).zip(&sample.last_logits).enumerate() {
            let off = (exact - &Interval::from_f64(*got, PREC)).magnitude().to_f64();
            assert!(
                off <= rounded.error,
                "{}, token {token}: off by {off:e}, bound {:e}",
                sample.prompt,
                rounded.error
            );
            // The bound says something: it is far below the distance between neighbouring logits.
            assert!(rounded.error <= bound, "{:e}", rounded.error);
            // What is measured is the training code's rounding: the interval's radius does not count beside the bound.
            assert!(exact.rad() <= f64::EPSILON * rounded.error.min(1.0), "{exact}, bound {:e}", rounded.error);
        }
        let best = (0..exact.len()).fold(0, |best, i| if exact[i].lo() > exact[best].hi() { i } else { best });
        assert_eq!(best, sample.argmax);
    }
}

type Taps = BTreeMap<String, (Vec<usize>, Vec<Interval>)>;

fn taps(model: &Model, tokens: &[u32], rung: &dyn touchstone_reference::rungs::Rung<Interval>) -> Taps {
    let mut taps = Taps::new();
    let mut observe = |name: &str, shape: &[usize], values: &[Interval]| {
        let old = taps.insert(name.to_owned(), (shape.to_vec(), values.to_vec()));
        assert!(old.is_none(), "{name} is reported twice");
    };
    forward(model, tokens, tokens.len() - 1, rung, PREC, &mut observe).unwrap();
    taps
}

/// The widened rung encloses R0 and R1 at every tap (`r[rung.r0-widened]`), and the two differ somewhere.
#[test]
fn widened_rung_encloses_exact_and_replaced() {
    let model = load(&fairy()).unwrap();
    let replaced = Replaced::new(&model.config, &load_polynomials(&fairy(), &model.config).unwrap()).unwrap();
    let tokens = cyclic(&samples(&fairy())[0].ids, 12);
    let exact = taps(&model, &tokens, &Exact);
    let polynomial = taps(&model, &tokens, &replaced);
    let widened = taps(&model, &tokens, &Widened(replaced));
    let mut apart = 0;
    for (name, (shape, values)) in &widened {
        assert_eq!(&exact[name].0, shape);
        for ((wide, r0), r1) in values.iter().zip(&exact[name].1).zip(&polynomial[name].1) {
            assert!(wide.encloses(r0), "{name}: {wide} does not enclose R0 {r0}");
            assert!(wide.encloses(r1), "{name}: {wide} does not enclose R1 {r1}");
            apart += usize::from(!(r0 - r1).contains_zero());
        }
    }
    assert!(apart > 0, "the rungs must differ where a function is replaced");
}

/// Names and shapes of `r[model.taps]`.
#[test]
fn taps_have_the_documented_names_and_shapes() {
    let model = tiny(true);
    let (tokens, d, f, heads, vocabulary) = (5, 8, 6, 2, 7);
    let got = taps(&model, &[1, 2, 3, 4, 5], &Exact);
    let expected = [
        ("layernorm.variance", vec![tokens]),
        ("layernorm.inverse-sqrt", vec![tokens]),
        ("layernorm.normalised", vec![tokens, d]),
        ("attention.query", vec![tokens, d]),
        ("attention.key", vec![tokens, d]),
        ("attention.value", vec![tokens, d]),
        ("attention.scores", vec![heads, tokens, tokens]),
        ("attention.powers", vec![heads, tokens, tokens]),
        ("attention.denominator", vec![heads, tokens]),
        ("attention.reciprocal", vec![heads, tokens]),
        ("attention.heads", vec![tokens, d]),
        ("attention.output", vec![tokens, d]),
        ("mlp.hidden", vec![tokens, f]),
        ("mlp.activation", vec![tokens, f]),
        ("mlp.output", vec![tokens, d]),
        ("residual", vec![tokens, d]),
    ];
    let layers =
        (0..2).flat_map(|i| expected.iter().map(move |(tap, shape)| (format!("layers.{i}.{tap}"), shape.clone())));
    let last = [("variance", vec![tokens]), ("inverse-sqrt", vec![tokens]), ("normalised", vec![tokens, d])];
    let mut all: BTreeMap<String, Vec<usize>> = layers.collect();
    all.extend(last.map(|(tap, shape)| (format!("final.layernorm.{tap}"), shape)));
    all.insert("embedding".to_owned(), vec![tokens, d]);
    all.insert("logits".to_owned(), vec![vocabulary]);
    let shapes: BTreeMap<String, Vec<usize>> =
        got.iter().map(|(name, (shape, _))| (name.clone(), shape.clone())).collect();
    assert_eq!(shapes, all);
    for (name, (shape, values)) in &got {
        assert_eq!(values.len(), shape.iter().product::<usize>(), "{name}");
    }
    let residual = &got["layers.1.residual"].1;
    let sum = residual[..d].iter().fold(Interval::from_f64(0.0, PREC), |sum, x| &sum + x);
    assert!(sum.contains_zero() && sum.rad() < 1e-30, "the residual tap is centred: {sum}");
}

/// Later tokens do not change the logits of earlier positions, so cyclic padding does not either (`r[model.pad]`).
#[test]
fn attention_is_causal() {
    let model = tiny(false);
    let logits = |tokens: &[u32], position| forward::<f64>(&model, tokens, position, &Exact, (), &mut ()).unwrap();
    assert_eq!(logits(&[1, 2, 3], 2), logits(&cyclic(&[1, 2, 3], 8), 2));
    assert_ne!(logits(&[1, 2, 3], 2), logits(&[2, 1, 3], 2), "position matters");
}

/// Sequential and parallel blocks agree when attention adds nothing to the stream, and differ otherwise.
#[test]
fn residual_forms_differ_by_what_the_mlp_reads() {
    let logits = |model: &Model| forward::<f64>(model, &[1, 2, 3, 4], 3, &Exact, (), &mut ()).unwrap();
    let [mut parallel, mut sequential] = [tiny(true), tiny(false)];
    assert_ne!(logits(&parallel), logits(&sequential));
    for model in [&mut parallel, &mut sequential] {
        for layer in &mut model.layers {
            layer.output.weight.values.fill(0.0);
            layer.output.bias.fill(0.0);
        }
    }
    assert_eq!(logits(&parallel), logits(&sequential));
}

/// LayerNorm does not see a constant added to every channel of the stream (`r[model.centred]`).
#[test]
fn logits_ignore_the_mean_of_the_stream() {
    let model = tiny(true);
    let mut shifted = model.clone();
    for x in &mut shifted.embedding.values {
        *x += 0.5;
    }
    let logits = |model: &Model| forward::<Interval>(model, &[1, 2, 3, 4], 3, &Exact, PREC, &mut ()).unwrap();
    for (a, b) in logits(&model).iter().zip(&logits(&shifted)) {
        // Embeddings are multiples of 2^-23 below 1, so the shift is exact.
        assert!((a - b).contains_zero() && a.rad() < 1e-25, "{a} and {b}");
    }
}

/// Rules: `r[model.shapes]`.
#[test]
fn refuses_what_the_model_cannot_read() {
    let model = tiny(true);
    let run = |tokens: &[u32], position| forward::<f64>(&model, tokens, position, &Exact, (), &mut ());
    for (tokens, position) in [(&[][..], 0), (&[1, 2], 2), (&[7], 0), (&[0; 9], 0)] {
        assert!(matches!(run(tokens, position), Err(ReferenceError::BadOperand { .. })), "{tokens:?}");
    }
}

/// An input outside a certified interval is an escape, named after its site.
#[test]
fn an_input_outside_its_interval_is_an_escape() {
    let mut model = load(&fairy()).unwrap();
    let replaced = Replaced::new(&model.config, &load_polynomials(&fairy(), &model.config).unwrap()).unwrap();
    let run = |model: &Model| forward::<Interval>(model, &[7], 0, &replaced, PREC, &mut ());
    assert!(run(&model).is_ok());
    let columns = model.embedding.columns;
    model.embedding.values[7 * columns..8 * columns].iter_mut().for_each(|x| *x *= 64.0);
    let error = run(&model).unwrap_err();
    assert!(matches!(&error, ReferenceError::Escape { site, .. } if site == "layers.0.inverse-sqrt"), "{error}");
}

/// Two layers with small weights drawn from a fixed sequence.
fn tiny(parallel: bool) -> Model {
    let (d, f, heads, vocabulary) = (8, 6, 2, 7);
    let mut state = 7u64;
    let mut draw = |count: usize| -> Vec<f64> {
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f64 / f64::from(1u32 << 23) - 1.0
        };
        (0..count).map(|_| next()).collect()
    };
    let mut matrix = |rows: usize, columns: usize| Matrix { rows, columns, values: draw(rows * columns) };
    let mut affine = |rows: usize, columns: usize| {
        let bias = matrix(1, rows).values;
        Affine { weight: matrix(rows, columns), bias }
    };
    let layers = (0..2).map(|_| {
        let norms = affine(2, d);
        let norm = |i: usize| Norm { gamma: norms.weight.row(i).to_vec(), beta: norms.weight.row(1 - i).to_vec() };
        Layer {
            attention_norm: norm(0),
            mlp_norm: norm(1),
            query_key_value: affine(3 * d, d),
            output: affine(d, d),
            up: affine(f, d),
            down: affine(d, f),
        }
    });
    let layers = layers.collect();
    let power_softmax =
        PowerSoftmax { p: 4, eps: 0.01, eps_on: "mean".to_owned(), score_scale: 1.0, layer_score_scales: Vec::new() };
    Model {
        config: ModelConfig {
            model_type: "gpt_neox".to_owned(),
            hidden_size: d,
            num_hidden_layers: 2,
            num_attention_heads: heads,
            intermediate_size: f,
            vocab_size: vocabulary,
            max_position_embeddings: 8,
            rotary_pct: 0.5,
            rotary_emb_base: 10000.0,
            use_parallel_residual: parallel,
            layer_norm_eps: 1e-5,
            hidden_act: "gelu".to_owned(),
            tie_word_embeddings: false,
            power_softmax,
        },
        embedding: affine(vocabulary, d).weight,
        layers,
        final_norm: Norm { gamma: vec![1.0; d], beta: vec![0.0; d] },
        head: affine(vocabulary, d).weight,
    }
}
