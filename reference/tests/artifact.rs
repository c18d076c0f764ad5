//! The shipped artifact proves itself again, and export reproduces its parts.

use std::path::{Path, PathBuf};
use touchstone_reference::approx::{certify, replacement};
use touchstone_reference::export::{Padding, Prompts, calibrate, compare, first_layer_denominator, interval};
use touchstone_reference::model::{cyclic, encode, forward, load, load_polynomials, load_tokenizer};
use touchstone_reference::rungs::{Exact, Replaced, site_function};
use touchstone_spec::artifact::{Function, Refinement};
use touchstone_spec::hexfloat::HexFloat;

fn fairy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/fairy-1l")
}

fn fairy_4l() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/fairy-4l")
}

/// Each stored error is what the proof gives for the stored coefficients, and each fit of the first model is reproduced bit
/// for bit.
///
/// Rules: `r[artifact.polynomials]`, `r[artifact.site]`.
#[test]
fn stored_certificates_hold_and_fits_are_reproducible() {
    for directory in [fairy(), fairy_4l()] {
        prove_again(&directory);
    }
}

fn prove_again(directory: &Path) {
    let model = load(directory).unwrap();
    for site in load_polynomials(directory, &model.config).unwrap().sites {
        let [interval, observed] = [site.interval, site.observed].map(|ends| ends.map(|x| x.0));
        let coefficients: Vec<f64> = site.coefficients.iter().map(|c| c.0).collect();
        let proof = certify(&site.function, interval, &coefficients, site.refinement).unwrap();
        assert_eq!(proof.sup_error, site.sup_error.0, "{}", site.site);
        assert!(interval[0] <= observed[0] && observed[1] <= interval[1], "{}", site.site);
        assert_eq!(site.function, site_function(&model.config, &site.site));
        assert_eq!(site.refinement, Refinement::None);
        if directory != fairy() {
            continue;
        }
        let again = replacement(&site.site, site.function, observed, interval, coefficients.len() - 1).unwrap();
        assert_eq!(again, site);
    }
}

/// A text of two stories: windows and short prompts alternate, stories are not joined, and what calibration sees on it
/// lies inside the shipped intervals, so that the polynomial model has a value on every prompt.
#[test]
fn calibration_sees_windows_and_short_prompts() {
    let model = load(&fairy()).unwrap();
    let tokenizer = load_tokenizer(&fairy()).unwrap();
    let story = "Once upon a time there was a king who had three sons, and he loved them all. ".repeat(12);
    let text = format!("{story}<|endoftext|>{story}");
    let prompts = Prompts::natural(&tokenizer, &text, 64, Padding::Cyclic, 4).unwrap();
    assert_eq!(prompts.lengths, [1, 64, 2, 64, 3, 64, 4, 64]);
    assert!(prompts.windows[0].iter().all(|token| token == &prompts.windows[1][0]));
    assert_eq!(prompts.windows[1], prompts.windows[5], "the second story starts like the first");
    let polynomials = load_polynomials(&fairy(), &model.config).unwrap();
    let agreement = compare(&model, &prompts, &polynomials).unwrap();
    assert_eq!((agreement.prompts, agreement.same_token, agreement.escapes), (8, 8, 0));
    assert!(agreement.max_difference > 0.0 && agreement.max_difference <= 0.02, "{agreement:?}");
    let ranges = calibrate(&model, &[prompts]).unwrap();
    assert_eq!(ranges.len(), polynomials.sites.len() + model.config.num_hidden_layers);
    for site in &polynomials.sites {
        let [low, high] = ranges[&site.site];
        assert!(low < high && site.interval[0].0 <= low && high <= site.interval[1].0, "{}", site.site);
    }
    // Every embedding row counts, whatever the text holds.
    assert_eq!(ranges["layers.0.inverse-sqrt"], polynomials.sites[0].observed.map(|x| x.0));
    assert!(Prompts::natural(&tokenizer, "too short", 64, Padding::Cyclic, 4).is_err());
}

/// The first LayerNorm reads embedding rows: their variances lie inside its interval with the documented margin.
#[test]
fn every_embedding_row_lies_inside_the_first_interval() {
    let model = load(&fairy()).unwrap();
    let site = &load_polynomials(&fairy(), &model.config).unwrap().sites[0];
    assert_eq!(site.site, "layers.0.inverse-sqrt");
    for token in 0..model.embedding.rows {
        let row = model.embedding.row(token);
        let mean = row.iter().sum::<f64>() / row.len() as f64;
        let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / row.len() as f64;
        assert!(1.49 * site.interval[0].0 <= variance && variance <= site.interval[1].0 / 1.49, "token {token}");
    }
}

/// Digits, `q`, accents, symbols and all 1,024 tokens, 64 at a time, have a value and agree with the exact model.
#[test]
fn any_token_can_be_typed() {
    let model = load(&fairy()).unwrap();
    let tokenizer = load_tokenizer(&fairy()).unwrap();
    let polynomials = load_polynomials(&fairy(), &model.config).unwrap();
    let texts = [
        "q",
        "7",
        "In 1789 the queen of Zo\u{eb}'s caf\u{e9} paid 100 %",
        "(age 6)",
        "\u{6771}\u{4eac} \u{1f600} x^2 = 9",
    ];
    let mut prompts: Vec<Vec<u32>> = texts.iter().map(|text| encode(&tokenizer, text).unwrap()).collect();
    let vocabulary: Vec<u32> = (0..model.config.vocab_size as u32).collect();
    prompts.extend(vocabulary.chunks(64).map(<[u32]>::to_vec));
    let lengths = prompts.iter().map(Vec::len).collect::<Vec<_>>();
    let windows: Vec<Vec<u32>> = prompts.iter().map(|prompt| cyclic(prompt, 64)).collect();
    let prompts = Prompts { description: "any token".to_owned(), windows, lengths, padding: Padding::Cyclic };
    let agreement = compare(&model, &prompts, &polynomials).unwrap();
    assert_eq!((agreement.prompts, agreement.escapes), (21, 0));
    assert!(agreement.max_difference <= 0.02, "{agreement:?}");
}

/// The prompt with the largest denominator of all is known, and the shipped interval ends 1/64 above it.
#[test]
fn the_hardest_prompt_lies_inside_the_reciprocal_interval() {
    let model = load(&fairy()).unwrap();
    let polynomials = load_polynomials(&fairy(), &model.config).unwrap();
    let hardest = encode(&load_tokenizer(&fairy()).unwrap(), "weredweredage").unwrap();
    assert_eq!(hardest, [773, 773, 686]);
    let mut largest = 0.0f64;
    let mut observe = |name: &str, _: &[usize], values: &[f64]| {
        if name == "layers.0.attention.denominator" {
            largest = values.iter().copied().fold(largest, f64::max);
        }
    };
    forward(&model, &hardest, 2, &Exact, (), &mut observe).unwrap();
    let ratio = polynomials.site("layers.0.reciprocal").unwrap().interval[1].0 / largest;
    assert!((ratio - 65.0 / 64.0).abs() < 1e-12, "{ratio}");
    let replaced = Replaced::new(&model.config, &polynomials).unwrap();
    assert!(forward::<f64>(&model, &hardest, 2, &replaced, (), &mut ()).is_ok());
}

/// The ceiling is the maximum over all prompts: found by trying all of them on a vocabulary of six and a context of four.
///
/// Both sides are binary64 sums of the same 32 products, turned by different angles: they differ by a few hundred roundings.
#[test]
fn ceiling_is_the_maximum_over_all_prompts() {
    let mut model = load(&fairy()).unwrap();
    let rows = [4, 17, 59, 300, 686, 912];
    for matrix in [&mut model.embedding, &mut model.head] {
        matrix.values = rows.iter().flat_map(|&row| matrix.row(row).to_vec()).collect();
        matrix.rows = rows.len();
    }
    model.config.vocab_size = rows.len();
    model.config.max_position_embeddings = 4;
    let mut largest = 0.0f64;
    for number in 0..6u32.pow(4) {
        let tokens: Vec<u32> = (0..4).map(|place| number / 6u32.pow(place) % 6).collect();
        let mut observe = |name: &str, _: &[usize], values: &[f64]| {
            if name == "layers.0.attention.denominator" {
                largest = values.iter().copied().fold(largest, f64::max);
            }
        };
        forward(&model, &tokens, 3, &Exact, (), &mut observe).unwrap();
    }
    let ceiling = first_layer_denominator(&model).unwrap();
    assert!(largest > 0.0 && (ceiling / largest - 1.0).abs() < 1e-12, "{ceiling} against {largest}");
}

/// The four-layer model keeps to the degrees that encrypted inference has levels for, its streams hold what calibration saw,
/// and on a held-out text the polynomials follow the exact functions.
///
/// Rules: `r[artifact.streams]`, `r[train.margin]`.
#[test]
fn four_layers_keep_to_their_degrees_and_streams() {
    let model = load(&fairy_4l()).unwrap();
    let polynomials = load_polynomials(&fairy_4l(), &model.config).unwrap();
    for site in &polynomials.sites {
        let most = match site.function {
            Function::Reciprocal { .. } => 127,
            Function::InverseSqrt { .. } => 63,
            Function::Gelu | Function::Tanh => 31,
        };
        assert!(site.coefficients.len() <= most + 1, "{}", site.site);
    }
    assert_eq!(polynomials.streams.len(), 4);
    assert!(polynomials.streams.iter().all(|stream| stream.limit.0 == 1.5 * stream.observed.0));
    let tokenizer = load_tokenizer(&fairy_4l()).unwrap();
    let story = "Once upon a time there was a king who had three sons, and he loved them all. ".repeat(12);
    let prompts = Prompts::natural(&tokenizer, &story, 64, Padding::Cyclic, 4).unwrap();
    let agreement = compare(&model, &prompts, &polynomials).unwrap();
    assert_eq!((agreement.prompts, agreement.same_token, agreement.escapes), (8, 8, 0));
    assert!(agreement.max_difference > 0.0 && agreement.max_difference <= 0.002, "{agreement:?}");
    let mut tight = polynomials.clone();
    tight.streams[2].limit = HexFloat(1.0);
    assert_eq!(compare(&model, &prompts, &tight).unwrap().escapes, 8);
}

/// Margins widen away from the observed range; denominators reach from 0 to the ceiling where there is one; GELU is
/// symmetric.
#[test]
fn margins_widen_ranges() {
    let shift = HexFloat(0.01);
    assert_eq!(interval(&Function::InverseSqrt { shift }, [1.0, 4.0], 2.0, None), [0.5, 8.0]);
    assert_eq!(interval(&Function::Reciprocal { shift }, [0.25, 4.0], 2.0, None), [0.0, 8.0]);
    assert_eq!(interval(&Function::Reciprocal { shift }, [0.25, 4.0], 2.0, Some(64.0)), [0.0, 65.0]);
    assert_eq!(interval(&Function::Gelu, [-3.0, 2.0], 1.5, None), [-4.5, 4.5]);
}
