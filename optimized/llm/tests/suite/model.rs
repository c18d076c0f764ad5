//! A small model with weights from a fixed generator, calibrated on the tokens of the tests, and small parameters.

use touchstone_ckks::{ParameterLiteral, Parameters, Security};
use touchstone_llm::artifact::{Layer, Linear, Matrix, Model, Norm};
use touchstone_llm::plain::{Escape, Functions, exact, forward};
use touchstone_llm::sampling::argmax;
use touchstone_spec::artifact::{
    ErrorKind, Function, ModelConfig, POLYNOMIALS_FORMAT, Polynomials, PowerSoftmax, Refinement, Site, site_names,
};
use touchstone_spec::hexfloat::HexFloat;
use touchstone_spec::params::SecurityClaim;

/// Seed of every generator in these tests.
pub const SEED: u64 = 0x51;
/// The prompt of the tests: shorter than the context, so that it is repeated.
pub const TOKENS: [u32; 7] = [3, 17, 9, 30, 1, 22, 8];

/// The preset of these tests.
pub const PRESET: &str = "toy-n9-deep";

/// 36 levels without security at a ring degree of `2^log_n`, at most `2^9`.
pub fn toy_parameters(log_n: u32) -> Parameters {
    let mut literal = ParameterLiteral::preset(PRESET).unwrap();
    literal.log_n = log_n;
    Parameters::from_literal(&literal, Security::AllowInsecure).unwrap()
}

/// Bootstrapping as in n16-boot-deep, without security, at a ring degree of `2^log_n`, at most `2^10`.
pub fn toy_bootstrapping(log_n: u32) -> Parameters {
    let mut literal = ParameterLiteral::preset("n16-boot-deep").unwrap();
    literal.log_n = log_n;
    literal.security = SecurityClaim::Insecure;
    let boot = literal.bootstrap.as_mut().unwrap();
    for factors in [&mut boot.slots_to_coeffs, &mut boot.coeffs_to_slots] {
        let mut layers = log_n - 1;
        for (done, factor) in factors.iter_mut().enumerate() {
            factor.log_radix = layers.div_ceil(3 - done as u32);
            layers -= factor.log_radix;
        }
    }
    Parameters::from_literal(&literal, Security::AllowInsecure).unwrap()
}

/// Whether sums of so many positive terms may differ so far by rounding alone.
pub fn equal(a: f64, b: f64, terms: usize) -> bool {
    (a - b).abs() <= 2.0 * terms as f64 * f64::EPSILON * a.abs().max(b.abs())
}

/// Numbers in `[-1, 1)` by a linear congruential generator.
pub struct Draws(pub u64);

impl Draws {
    pub fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    fn entry(&mut self, middle: f64, spread: f64) -> f32 {
        (middle + spread * self.next()) as f32
    }

    pub fn vector(&mut self, length: usize, middle: f64, spread: f64) -> Vec<f64> {
        (0..length).map(|_| f64::from(self.entry(middle, spread))).collect()
    }

    pub fn matrix(&mut self, rows: usize, cols: usize, spread: f64) -> Matrix<f32> {
        Matrix { rows, cols, data: (0..rows * cols).map(|_| self.entry(0.0, spread)).collect() }
    }

    pub fn linear(&mut self, rows: usize, cols: usize, spread: f64) -> Linear<f32> {
        Linear { weight: self.matrix(rows, cols, spread), bias: self.vector(rows, 0.0, 0.2) }
    }

    pub fn norm(&mut self, width: usize) -> Norm {
        Norm { gain: self.vector(width, 1.0, 0.3), shift: self.vector(width, 0.0, 0.2) }
    }
}

/// Weights are F32 values, so that a saved model is the same model: d = 16, two heads, 32 hidden units, 32 tokens, context 8, one layer.
pub fn small_model(parallel: bool) -> Model {
    deep_model(parallel, 1)
}

/// [`small_model`] with several layers.
pub fn deep_model(parallel: bool, layers: usize) -> Model {
    let mut model = uncalibrated(parallel, layers, 2, 0.5);
    calibrate(&mut model, &[repeated(&TOKENS)]);
    model
}

/// A model of any shape calibrated for generation from a prompt up to the context limit, and the prompt with what it generates.
pub fn generating_model(
    parallel: bool,
    layers: usize,
    (heads, rotary): (usize, f64),
    prompt: &[u32],
) -> (Model, Vec<u32>) {
    let mut model = uncalibrated(parallel, layers, heads, rotary);
    let mut tokens = prompt.to_vec();
    while tokens.len() < model.config.max_position_embeddings {
        let pass = forward(&model, &tokens, tokens.len() - 1, Functions::Exact).unwrap();
        tokens.push(argmax(pass.logits()));
    }
    calibrate(&mut model, &[repeated(prompt), tokens.clone()]);
    (model, tokens)
}

/// A prompt extended to the context.
pub fn repeated(tokens: &[u32]) -> Vec<u32> {
    tokens.iter().copied().cycle().take(8).collect()
}

fn uncalibrated(parallel: bool, layers: usize, heads: usize, rotary_pct: f64) -> Model {
    let config = ModelConfig {
        model_type: "gpt_neox".to_owned(),
        hidden_size: 16,
        num_hidden_layers: layers,
        num_attention_heads: heads,
        intermediate_size: 32,
        vocab_size: 32,
        max_position_embeddings: 8,
        rotary_pct,
        rotary_emb_base: 100.0,
        use_parallel_residual: parallel,
        layer_norm_eps: 1e-5,
        hidden_act: "gelu".to_owned(),
        tie_word_embeddings: false,
        power_softmax: PowerSoftmax {
            p: 4,
            eps: 0.05,
            eps_on: "mean".to_owned(),
            score_scale: 1.5,
            layer_score_scales: Vec::new(),
        },
    };
    config.check().unwrap();
    let mut draws = Draws(SEED);
    let mut layer = |_| Layer {
        attention_norm: draws.norm(16),
        mlp_norm: draws.norm(16),
        // Scores of deep models stay small enough for the low degrees of these tests.
        qkv: draws.linear(48, 16, 0.6 / layers as f64),
        dense: draws.linear(16, 16, 0.4),
        up: draws.linear(32, 16, 0.4),
        down: draws.linear(16, 32, 0.3),
    };
    let layers = (0..layers).map(&mut layer).collect();
    let sites = site_names(&config).into_iter().map(|name| site(&config, name, [-2.0, -1.0])).collect();
    let format = POLYNOMIALS_FORMAT.to_owned();
    let polynomials =
        Polynomials { format, calibration: "the tests' own prompt".to_owned(), sites, streams: Vec::new() };
    let embedding = draws.matrix(32, 16, 1.0);
    let head = draws.matrix(32, 16, 0.7);
    let final_norm = draws.norm(16);
    Model { config, polynomials, embedding, layers, final_norm, head }
}

/// Fits intervals and polynomials to texts.
pub fn calibrate(model: &mut Model, texts: &[Vec<u32>]) {
    let mut probe = model.clone();
    let excess = |escape: &Escape| (escape.interval[0] - escape.value).max(escape.value - escape.interval[1]);
    let escapes = |polynomials: &Polynomials| {
        probe.polynomials = polynomials.clone();
        let escapes = |tokens: &Vec<u32>| forward(&probe, tokens, 0, Functions::Exact).unwrap().escapes;
        let mut all: Vec<Escape> = texts.iter().flat_map(escapes).collect();
        // The worst of a site comes first.
        all.sort_by(|a, b| excess(b).total_cmp(&excess(a)));
        all
    };
    model.polynomials = calibrated(&model.config, model.polynomials.clone(), escapes);
}

/// Finds the largest, then the smallest input of each site from what escapes an interval below, then above all inputs.
pub fn calibrated(
    config: &ModelConfig,
    mut polynomials: Polynomials,
    mut escapes: impl FnMut(&Polynomials) -> Vec<Escape>,
) -> Polynomials {
    let mut observed = |interval: [f64; 2]| -> Vec<f64> {
        polynomials.sites.iter_mut().for_each(|site| site.interval = interval.map(HexFloat));
        let escapes = escapes(&polynomials);
        let value = |site: &Site| escapes.iter().find(|escape| escape.site == site.site).unwrap().value;
        polynomials.sites.iter().map(value).collect()
    };
    let (largest, smallest) = (observed([-1e9, -1e8]), observed([1e8, 1e9]));
    for (i, entry) in polynomials.sites.iter_mut().enumerate() {
        let name = entry.site.clone();
        let reach = smallest[i].abs().max(largest[i].abs()) * 1.2;
        let interval = match name.rsplit('.').next() {
            Some("gelu") => [smallest[i] * 1.2, largest[i] * 1.2],
            Some("tanh") => [-reach, reach],
            Some("reciprocal") => [0.0, largest[i] * 1.2],
            _ => [smallest[i] * 0.8, largest[i] * 1.2],
        };
        *entry = site(config, name, interval);
    }
    polynomials
}

/// A Chebyshev interpolant of the site's function.
pub fn site(config: &ModelConfig, name: String, interval: [f64; 2]) -> Site {
    let shift = HexFloat(config.layer_norm_eps);
    let (function, degree) = match name.rsplit('.').next() {
        Some("gelu") => (Function::Gelu, 15usize),
        Some("tanh") => (Function::Tanh, 15),
        Some("reciprocal") => (Function::Reciprocal { shift: HexFloat(config.power_softmax.eps) }, 31),
        _ => (Function::InverseSqrt { shift }, 15),
    };
    let [a, b] = interval;
    let angle = |j: usize| (j as f64 + 0.5) * std::f64::consts::PI / (degree + 1) as f64;
    let value = |j: usize| exact(&function, (a + b) / 2.0 + (b - a) / 2.0 * angle(j).cos());
    let coefficient = |k: usize| {
        let sum: f64 = (0..=degree).map(|j| value(j) * (k as f64 * angle(j)).cos()).sum();
        HexFloat(sum * if k == 0 { 1.0 } else { 2.0 } / (degree + 1) as f64)
    };
    Site {
        site: name,
        observed: interval.map(HexFloat),
        interval: interval.map(HexFloat),
        coefficients: (0..=degree).map(coefficient).collect(),
        refinement: Refinement::None,
        sup_error: HexFloat(0.0),
        error_kind: ErrorKind::Absolute,
        function,
    }
}
