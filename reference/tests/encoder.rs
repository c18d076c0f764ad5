//! The BERT and RoBERTa graphs: against a second route in binary64, laws of masks, loading, and the rungs.

mod running;

use running::Running;
use safetensors::{Dtype, tensor::TensorView};
use std::collections::BTreeMap;
use std::path::PathBuf;
use touchstone_reference::approx::replacement;
use touchstone_reference::bounds::noise::tail_factor;
use touchstone_reference::ckks::Parameters;
use touchstone_reference::error::ReferenceError;
use touchstone_reference::interval::Interval;
use touchstone_reference::model::{
    Encoder, EncoderInput, encoder_forward, encoder_forward_embedded, load_encoder, load_encoder_polynomials,
};
use touchstone_reference::rungs::{
    Exact, Fixed, Homomorphic, Predicted, Prediction, Replaced, Rung, Session, Widened, encoder_site_function,
};
use touchstone_spec::artifact::{Function, POLYNOMIALS_FORMAT, Polynomials};
use touchstone_spec::params::ParameterLiteral;

const PREC: u32 = 128;
const TOKENS: [u32; 5] = [3, 1, 4, 2, 2];
const TYPES: [u32; 5] = [0, 0, 1, 1, 0];
const MASK: [bool; 5] = [true, true, true, false, false];
const INPUT: EncoderInput = EncoderInput { tokens: &TOKENS, types: &TYPES, mask: &MASK };

/// Tensors by name: shape and values.
type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

struct Sample {
    kind: &'static str,
    pooling: &'static str,
    layers: usize,
}

impl Sample {
    fn config(&self) -> String {
        format!(
            r#"{{"model_type": "{}", "hidden_size": 4, "num_hidden_layers": {}, "num_attention_heads": 2,
            "intermediate_size": 6, "vocab_size": 7, "max_position_embeddings": 9, "type_vocab_size": 2,
            "layer_norm_eps": 1e-5, "hidden_act": "gelu", "pad_token_id": 1, "num_labels": 3, "pooling": "{}",
            "hidden_dropout_prob": 0.1,
            "power_softmax": {{"p": 4, "eps": 0.1, "eps_on": "mean", "score_scale": 1.0}}}}"#,
            self.kind, self.layers, self.pooling
        )
    }

    /// Names and shapes of `r[encoder.shapes]`.
    fn shapes(&self) -> Vec<(String, Vec<usize>)> {
        let p = self.kind;
        let mut shapes = Vec::new();
        let mut add = |name: String, shape: &[usize]| shapes.push((name, shape.to_vec()));
        for (name, rows) in [("word_embeddings", 7), ("position_embeddings", 9), ("token_type_embeddings", 2)] {
            add(format!("{p}.embeddings.{name}.weight"), &[rows, 4]);
        }
        let mut norms = vec![format!("{p}.embeddings.LayerNorm")];
        let mut maps = Vec::new();
        for i in 0..self.layers {
            let layer = format!("{p}.encoder.layer.{i}");
            for part in ["query", "key", "value"] {
                maps.push((format!("{layer}.attention.self.{part}"), 4, 4));
            }
            maps.push((format!("{layer}.attention.output.dense"), 4, 4));
            maps.push((format!("{layer}.intermediate.dense"), 6, 4));
            maps.push((format!("{layer}.output.dense"), 4, 6));
            norms.extend([format!("{layer}.attention.output.LayerNorm"), format!("{layer}.output.LayerNorm")]);
        }
        match (self.pooling, self.kind) {
            ("mean", _) => maps.push(("classifier".to_owned(), 3, 4)),
            (_, "bert") => maps.extend([("bert.pooler.dense".to_owned(), 4, 4), ("classifier".to_owned(), 3, 4)]),
            _ => maps.extend([("classifier.dense".to_owned(), 4, 4), ("classifier.out_proj".to_owned(), 3, 4)]),
        }
        for name in norms {
            add(format!("{name}.weight"), &[4]);
            add(format!("{name}.bias"), &[4]);
        }
        for (name, rows, columns) in maps {
            add(format!("{name}.weight"), &[rows, columns]);
            add(format!("{name}.bias"), &[rows]);
        }
        shapes
    }

    /// Weights from a fixed sequence, multiples of 2^-21 in [-1/2, 1/2).
    fn tensors(&self) -> Tensors {
        let mut state = 11u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 43) as f32 / (1u32 << 21) as f32 - 0.5
        };
        let fill = |(name, shape): (String, Vec<usize>)| {
            let values = (0..shape.iter().product()).map(|_| next()).collect();
            (name, (shape, values))
        };
        self.shapes().into_iter().map(fill).collect()
    }

    fn directory(&self, tag: &str, tensors: &Tensors) -> PathBuf {
        let name = format!("touchstone-encoder-{}-{tag}-{}-{}", std::process::id(), self.kind, self.pooling);
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("config.json"), self.config()).unwrap();
        let bytes: BTreeMap<&String, Vec<u8>> =
            tensors.iter().map(|(name, (_, v))| (name, v.iter().flat_map(|x| x.to_le_bytes()).collect())).collect();
        let views = tensors.iter().map(|(name, (shape, _))| {
            (name.clone(), TensorView::new(Dtype::F32, shape.clone(), &bytes[name]).unwrap())
        });
        std::fs::write(path.join("model.safetensors"), safetensors::serialize(views, None).unwrap()).unwrap();
        path
    }

    fn load(&self, tag: &str) -> Encoder {
        let path = self.directory(tag, &self.tensors());
        let model = load_encoder(&path);
        std::fs::remove_dir_all(&path).unwrap();
        model.unwrap()
    }
}

const SAMPLES: [Sample; 4] = [
    Sample { kind: "bert", pooling: "first", layers: 2 },
    Sample { kind: "roberta", pooling: "first", layers: 2 },
    Sample { kind: "bert", pooling: "mean", layers: 1 },
    Sample { kind: "roberta", pooling: "mean", layers: 1 },
];

/// The encoder written a second time, from `spec/book/graphs.md`: binary64, masks multiplied in, no shared code.
struct Direct {
    tensors: Tensors,
    prefix: &'static str,
}

impl Direct {
    fn values(&self, name: &str) -> Vec<f64> {
        self.tensors[name].1.iter().map(|&x| f64::from(x)).collect()
    }

    fn affine(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let (weight, bias) = (self.values(&format!("{name}.weight")), self.values(&format!("{name}.bias")));
        let row = |(i, b): (usize, &f64)| b + (0..x.len()).map(|j| weight[i * x.len() + j] * x[j]).sum::<f64>();
        bias.iter().enumerate().map(row).collect()
    }

    fn norm(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let (gamma, beta) = (self.values(&format!("{name}.weight")), self.values(&format!("{name}.bias")));
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64;
        (0..x.len()).map(|c| gamma[c] * (x[c] - mean) / (variance + 1e-5).sqrt() + beta[c]).collect()
    }

    fn attention(&self, layer: &str, x: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let project = |part: &str| -> Vec<Vec<f64>> {
            x.iter().map(|x| self.affine(&format!("{layer}.attention.self.{part}"), x)).collect()
        };
        let (q, k, v) = (project("query"), project("key"), project("value"));
        let mask = MASK.map(|live| f64::from(u8::from(live)));
        let live: f64 = mask.iter().sum();
        let mixed = |i: usize| -> Vec<f64> {
            let mut row = Vec::new();
            for head in [0, 2] {
                let dot = |j: usize| q[i][head] * k[j][head] + q[i][head + 1] * k[j][head + 1];
                let powers: Vec<f64> = (0..x.len()).map(|j| (mask[j] * dot(j) / 2f64.sqrt()).powi(4) / live).collect();
                let total = 0.1 + powers.iter().sum::<f64>();
                let channel = |c: usize| (0..x.len()).map(|j| powers[j] * v[j][c]).sum::<f64>() / total;
                row.extend([channel(head), channel(head + 1)]);
            }
            row
        };
        (0..x.len()).map(|i| self.affine(&format!("{layer}.attention.output.dense"), &mixed(i))).collect()
    }

    fn logits(&self, sample: &Sample) -> Vec<f64> {
        let p = self.prefix;
        let first = if sample.kind == "roberta" { 2 } else { 0 };
        let row =
            |name: &str, i: usize| self.values(&format!("{p}.embeddings.{name}.weight"))[4 * i..4 * i + 4].to_vec();
        let sum = |a: &[f64], b: &[f64]| -> Vec<f64> { a.iter().zip(b).map(|(a, b)| a + b).collect() };
        let mut x: Vec<Vec<f64>> = (0..TOKENS.len())
            .map(|i| {
                let word = row("word_embeddings", TOKENS[i] as usize);
                let kind = row("token_type_embeddings", TYPES[i] as usize);
                let all = sum(&sum(&word, &row("position_embeddings", first + i)), &kind);
                self.norm(&format!("{p}.embeddings.LayerNorm"), &all)
            })
            .collect();
        for i in 0..sample.layers {
            let layer = format!("{p}.encoder.layer.{i}");
            let attention = self.attention(&layer, &x);
            for (x, attention) in x.iter_mut().zip(&attention) {
                let a = self.norm(&format!("{layer}.attention.output.LayerNorm"), &sum(x, attention));
                let hidden = self.affine(&format!("{layer}.intermediate.dense"), &a);
                let active: Vec<f64> = hidden.iter().map(|h| h * (1.0 + libm::erf(h / 2f64.sqrt())) / 2.0).collect();
                let mlp = self.affine(&format!("{layer}.output.dense"), &active);
                *x = self.norm(&format!("{layer}.output.LayerNorm"), &sum(&a, &mlp));
            }
        }
        match (sample.pooling, sample.kind) {
            ("mean", _) => {
                let mean: Vec<f64> = (0..4).map(|c| (x[0][c] + x[1][c] + x[2][c]) / 3.0).collect();
                self.affine("classifier", &mean)
            }
            (_, kind) => {
                let [dense, out] = match kind {
                    "bert" => ["bert.pooler.dense", "classifier"],
                    _ => ["classifier.dense", "classifier.out_proj"],
                };
                let pooled: Vec<f64> = self.affine(dense, &x[0]).iter().map(|x| x.tanh()).collect();
                self.affine(out, &pooled)
            }
        }
    }
}

/// The graph agrees with the second route up to a running bound of binary64 rounding, which is itself small.
///
/// Rules: `r[encoder.embed]`.
#[test]
fn agrees_with_a_second_route() {
    for sample in &SAMPLES {
        let model = sample.load("route");
        let exact = encoder_forward::<Interval>(&model, &INPUT, &Exact, PREC, &mut ()).unwrap();
        let rounded = encoder_forward::<Running>(&model, &INPUT, &Exact, (), &mut ()).unwrap();
        let direct = Direct { tensors: sample.tensors(), prefix: sample.kind }.logits(sample);
        for ((exact, rounded), got) in exact.iter().zip(&rounded).zip(&direct) {
            let off = (exact - &Interval::from_f64(*got, PREC)).magnitude().to_f64();
            // The routes differ in the order of a few operations per value: both are covered by twice the bound.
            assert!(off <= 2.0 * rounded.error, "{} {}: off by {off:e}", sample.kind, sample.pooling);
            assert!(rounded.error < 1e-8 && exact.rad() < 1e-25, "{rounded} {exact}");
        }
    }
}

/// What stands in masked positions does not matter, and live tokens do.
#[test]
fn masked_tokens_do_not_matter() {
    for sample in &SAMPLES {
        let model = sample.load("mask");
        let run = |tokens: &[u32], types: &[u32], mask: &[bool]| {
            encoder_forward::<f64>(&model, &EncoderInput { tokens, types, mask }, &Exact, (), &mut ()).unwrap()
        };
        let logits = run(&TOKENS, &TYPES, &MASK);
        assert_eq!(logits, run(&[3, 1, 4, 6, 0], &[0, 0, 1, 0, 1], &MASK));
        assert_eq!(logits, run(&TOKENS[..3], &TYPES[..3], &MASK[..3]), "padding changes nothing");
        assert_ne!(logits, run(&[3, 1, 5, 2, 2], &TYPES, &MASK));
        assert_ne!(logits, run(&TOKENS, &TYPES, &[true; 5]));
        assert_ne!(logits, run(&[1, 3, 4, 2, 2], &TYPES, &MASK), "position matters");
    }
}

/// Rules: `r[encoder.config]`.
#[test]
fn refuses_what_it_cannot_read() {
    let model = SAMPLES[1].load("refuse");
    let run = |tokens: &[u32], types: &[u32], mask: &[bool]| {
        encoder_forward::<f64>(&model, &EncoderInput { tokens, types, mask }, &Exact, (), &mut ())
    };
    let (long, zeros) = ([0; 8], [true; 8]);
    for result in [
        run(&[], &[], &[]),
        run(&[1], &[0, 0], &[true]),
        run(&[1], &[0], &[false]),
        run(&[7], &[0], &[true]),
        run(&[1], &[2], &[true]),
        run(&long, &long, &zeros),
    ] {
        assert!(matches!(result, Err(ReferenceError::BadOperand { .. })), "{result:?}");
    }
    assert!(run(&long[..7], &long[..7], &zeros[..7]).is_ok(), "nine rows less the offset of 2");
    for (index, (name, _)) in SAMPLES[0].shapes().iter().enumerate() {
        let mut tensors = SAMPLES[0].tensors();
        tensors.remove(name);
        let path = SAMPLES[0].directory(&format!("missing-{index}"), &tensors);
        let text = load_encoder(&path).unwrap_err().to_string();
        std::fs::remove_dir_all(&path).unwrap();
        assert!(text.contains(name.as_str()), "{text:?} lacks {name}");
    }
}

/// Replacements of the given degree, variances down to `low`, as a document that is read back.
fn polynomials(model: &Encoder, degree: usize, low: f64) -> Replaced {
    let site = |name: &String| {
        let function = encoder_site_function(&model.config, name);
        let interval = match function {
            Function::InverseSqrt { .. } => [low, 5.0],
            Function::Reciprocal { .. } => [0.0, 10.0],
            _ => [-6.0, 6.0],
        };
        let degree = if function == Function::Gelu { degree - 1 } else { degree };
        replacement(name, function, interval, interval, degree).unwrap()
    };
    let sites = model.config.site_names().iter().map(site).collect();
    let document = Polynomials {
        format: POLYNOMIALS_FORMAT.to_owned(),
        calibration: "none".to_owned(),
        sites,
        streams: Vec::new(),
    };
    let name = format!("touchstone-encoder-polynomials-{}-{degree}", std::process::id());
    let path = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&path).unwrap();
    std::fs::write(path.join("polynomials.json"), serde_json::to_string(&document).unwrap()).unwrap();
    let read = load_encoder_polynomials(&path, &model.config).unwrap();
    std::fs::remove_dir_all(&path).unwrap();
    assert_eq!(read, document);
    Replaced::for_encoder(&model.config, &read).unwrap()
}

/// R0 widened by the certified errors encloses R0 and R1 (`r[rung.r0-widened]`).
#[test]
fn widened_rung_encloses_exact_and_replaced() {
    let model = SAMPLES[0].load("widened");
    let replaced = polynomials(&model, 95, 0.005);
    let run = |rung: &dyn Rung<Interval>| encoder_forward(&model, &INPUT, rung, PREC, &mut ());
    let (r0, r1) = (run(&Exact).unwrap(), run(&replaced).unwrap());
    assert!(r0.iter().zip(&r1).any(|(r0, r1)| !(r0 - r1).contains_zero()), "the functions are replaced");
    for (wide, (r0, r1)) in run(&Widened(replaced)).unwrap().iter().zip(r0.iter().zip(&r1)) {
        assert!(wide.encloses(r0) && wide.encloses(r1), "{wide}: {r0}, {r1}");
    }
}

/// R2 is within its bound of R1; degrees are small so that a layer fits into the levels of the preset.
///
/// Rules: `r[encoder.sites]`.
#[test]
fn fixed_point_stays_within_its_bound() {
    let model = SAMPLES[3].load("fixed");
    let replaced = polynomials(&model, 3, 0.02);
    let r1 = encoder_forward::<Interval>(&model, &INPUT, &replaced, PREC, &mut ()).unwrap();
    let params = Parameters::new(&ParameterLiteral::preset("toy-n5-deep").unwrap()).unwrap();
    let r2 = encoder_forward::<Homomorphic<Fixed>>(&model, &INPUT, &replaced, &params, &mut ()).unwrap();
    let mut closest = 0.0f64;
    for (r1, r2) in r1.iter().zip(&r2) {
        let fixed = r2.number().unwrap();
        let off = (&Interval::from_float(&fixed.exact_value(), 256) - r1).magnitude().to_f64();
        assert!(off <= fixed.error() + r1.rad().to_f64(), "{off:e} over {:e}", fixed.error());
        closest = closest.max(off / fixed.error());
    }
    assert!(closest >= 2f64.powi(-20), "the bound is {:e} times what it bounds", closest.recip());
}

/// R3, one ciphertext per number, is as far from R2 as R3p predicts: a post-LayerNorm block, pooler and classifier.
#[test]
fn ciphertexts_are_as_far_from_fixed_point_as_predicted() {
    const SEED: [u8; 16] = [5; 16];
    let failure = 2f64.powi(-40);
    let model = Sample { kind: "bert", pooling: "first", layers: 1 }.load("encrypted");
    let replaced = polynomials(&model, 3, 0.02);
    let params = Parameters::new(&ParameterLiteral::preset("toy-n5-deepest").unwrap()).unwrap();
    let session = Session::new(params.clone(), SEED).unwrap();
    let value = |t: usize, c: usize| (5 * t + 3 * c) as f64 / 8.0 % 2.0 - 1.0;
    let (tokens, d) = (MASK.len(), model.config.hidden_size);

    let encrypt = |t, c| Homomorphic::new(session.encrypt(&vec![value(t, c); params.slots()]).unwrap());
    let rows = (0..tokens).map(|t| (0..d).map(|c| encrypt(t, c)).collect()).collect();
    let logits = encoder_forward_embedded(&model, rows, &MASK, &replaced, &session, &mut ()).unwrap();

    let weights = session.slot_weights().unwrap();
    let mut ratios = Vec::new();
    for (slot, weight) in weights.into_iter().enumerate() {
        let prediction = Prediction::new(params.clone(), weight);
        let fresh = |t: usize, c: usize| {
            Homomorphic::<Predicted>::new(prediction.encrypt(value(t, c), (t * d + c) as u64).unwrap())
        };
        let rows = (0..tokens).map(|t| (0..d).map(|c| fresh(t, c)).collect()).collect();
        let predicted = encoder_forward_embedded(&model, rows, &MASK, &replaced, &prediction, &mut ()).unwrap();
        for (cipher, predicted) in logits.iter().zip(&predicted) {
            let predicted = predicted.number().unwrap();
            let got = cipher.number().unwrap().slots().unwrap()[slot];
            ratios.push((got - predicted.fixed().value()) / predicted.deviation());
        }
    }
    let largest = ratios.iter().fold(0.0f64, |largest, ratio| largest.max(ratio.abs()));
    let rms = (ratios.iter().map(|ratio| ratio * ratio).sum::<f64>() / ratios.len() as f64).sqrt();
    println!("|R3-R2| at most {largest:.2} deviations, rms {rms:.2}, {} values, seed {SEED:?}", ratios.len());
    assert!(largest <= tail_factor(failure, ratios.len()).unwrap());
    // Errors of one slot are correlated, so the slots count: as for independent slots, by Chernoff's bound.
    let least = failure.powf(1.0 / params.slots() as f64) / std::f64::consts::E.sqrt();
    assert!(rms >= least, "rms {rms}, at least {least}");
}
