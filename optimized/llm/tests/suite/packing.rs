//! The packed layout is the one that the book states: slots from its formulas, not from the layout's own functions.

use super::model::{TOKENS, generating_model, small_model, toy_parameters};
use num_complex::Complex64;
use touchstone_llm::Result;
use touchstone_llm::artifact::Model;
use touchstone_llm::backend::dry::{DryCiphertext, DryRun};
use touchstone_llm::circuit::Circuit;
use touchstone_llm::plan::costs::{Costs, Units};
use touchstone_llm::tap::{Decode, Observer};

/// Heads of the small model.
const H: usize = 2;
/// Complex channels of a head.
const M: usize = 4;
/// Turned ones among them.
const TURNED: usize = 2;
/// Tokens of a row.
const T: usize = 8;

/// The two channels of complex channel `l` of a head, `d_k = 8` with 4 turned dimensions.
fn pair(l: usize) -> (usize, usize) {
    if l < TURNED { (l, l + TURNED) } else { (2 * TURNED + l - TURNED, 2 * TURNED + (8 - 2 * TURNED) / 2 + l - TURNED) }
}

/// Rules: `r[packing.channels]`, `r[packing.slots]`.
#[test]
fn inputs_lie_where_the_book_says() {
    let model = small_model(true);
    for log_n in 5..=9 {
        let slots = toy_parameters(log_n).slots();
        let circuit = Circuit::new(&model, slots, TOKENS.len()).unwrap();
        let input = circuit.input(&TOKENS).unwrap();
        let m = M.min(slots / (T * H));
        let replicas = slots / (m * T * H);
        assert_eq!(input.len(), M / m);
        let row = |tau: usize| centred_row(&model, tau);
        // The stream is scaled by one public factor.
        let scale = input[0][0].re / row(0)[0];
        for l in 0..M {
            for (rep, head, tau) in (0..replicas * H * T).map(|i| (i / (H * T), i / T % H, i % T)) {
                let got = input[l / m][((l % m * replicas + rep) * H + head) * T + tau];
                let (a, b) = pair(l);
                let want = Complex64::new(row(tau)[8 * head + a], row(tau)[8 * head + b]) * scale;
                // Two roundings on either side.
                assert!(
                    (got - want).norm() <= 8.0 * f64::EPSILON * want.norm(),
                    "N = 2^{log_n}, {l} {rep} {head} {tau}"
                );
            }
        }
    }
}

/// The embedding of the token at a position of the extended prompt, without its mean.
fn centred_row(model: &Model, tau: usize) -> Vec<f64> {
    let row: Vec<f64> = model.embedding.entries(TOKENS[tau % TOKENS.len()] as usize).collect();
    let mean = row.iter().sum::<f64>() / row.len() as f64;
    row.iter().map(|x| x - mean).collect()
}

/// Rules: `r[packing.slots]`. Eight heads of one complex channel: two heads of eight tokens fill sixteen slots.
#[test]
fn groups_of_heads_lie_where_the_book_says() {
    let (model, _) = generating_model(true, 1, (8, 1.0), &TOKENS);
    let input = Circuit::new(&model, 16, TOKENS.len()).unwrap().input(&TOKENS).unwrap();
    assert_eq!(input.len(), 4);
    let scale = input[0][0].re / centred_row(&model, 0)[0];
    for (head, tau) in (0..8 * T).map(|i| (i / T, i % T)) {
        let (got, row) = (input[head / 2][head % 2 * T + tau], centred_row(&model, tau));
        let want = Complex64::new(row[2 * head], row[2 * head + 1]) * scale;
        assert!((got - want).norm() <= 8.0 * f64::EPSILON * want.norm(), "head {head}, token {tau}");
    }
}

/// Where taps lie.
#[derive(Default)]
struct Places(Vec<(String, Decode)>);

impl Observer<DryCiphertext> for Places {
    fn wants(&self, _name: &str) -> bool {
        true
    }

    fn tap(&mut self, name: &str, _ciphertexts: &[&DryCiphertext], decode: &Decode) -> Result<()> {
        self.0.push((name.to_owned(), decode.clone()));
        Ok(())
    }
}

/// Rules: `r[packing.products]`, `r[packing.units]`.
#[test]
fn scores_and_hidden_units_lie_where_the_book_says() {
    let model = small_model(true);
    for log_n in 5..=9 {
        let parameters = toy_parameters(log_n);
        let slots = parameters.slots();
        let circuit = Circuit::new(&model, slots, T).unwrap();
        let (m, costs) = (M.min(slots / (T * H)), Costs::new(&parameters, Units::default()).unwrap());
        let replicas = slots / (m * T * H);
        let (dry, plan) = (DryRun::new(&parameters, &costs), circuit.requirements(&parameters).unwrap().plan);
        let mut places = Places::default();
        circuit.run(&dry, &plan, &dry.input(M / m, plan.input_level()), &mut places).unwrap();
        let found = |name: &str| places.0.iter().find(|tap| tap.0 == name).unwrap().1.clone();
        let scores = found("layers.0.attention.scores");
        for (i, place) in scores.places.iter().enumerate() {
            let (head, query, key) = (i / (T * T), i / T % T, i % T);
            let distance = query.checked_sub(key);
            let want = distance.map(|d| (d / replicas, (d % replicas * H + head) * T + query));
            assert_eq!(place.map(|place| (place.ciphertext, place.slot)), want, "N = 2^{log_n}, {head} {query} {key}");
        }
        let rows = slots / T;
        for (i, place) in found("layers.0.mlp.hidden").places.iter().enumerate() {
            let (tau, unit) = (i / 32, i % 32);
            let want = (unit / rows, unit % rows * T + tau);
            assert_eq!(place.map(|place| (place.ciphertext, place.slot)), Some(want), "N = 2^{log_n}, {tau} {unit}");
        }
    }
}
