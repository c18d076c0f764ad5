//! The primitives, each with its exact result and its rule.

use super::bench::{Bench, Domain, Limit, Sample, divided, floats, norm};
use super::slots::in_slots;
use crate::bounds::components::{self as rules, MapStep, Noise};
use crate::circuits::{Circuits, Keys, LinearMap};
use crate::ckks::{
    Ciphertext, Evaluator, KeySwitchKey, Parameters, Plaintext, conjugation_element, mod_down, public_product,
    rotation_element,
};
use crate::error::ReferenceError;
use crate::ring::Poly;
use crate::sample::{Stream, StreamId, uniform_poly};
use num_complex::Complex64;
use rug::Integer;
use touchstone_spec::params::ParameterLiteral;

type Result<T> = std::result::Result<T, ReferenceError>;
type Run = Box<dyn Fn(&Bench<'_>) -> Result<Sample> + Send + Sync>;

/// An operation with a way to measure its error and to predict it.
pub struct Primitive {
    /// Name in the table.
    pub name: &'static str,
    /// Rule of the prediction.
    pub rule: &'static str,
    /// What is compared.
    pub domain: Domain,
    run: Run,
}

impl Primitive {
    /// A primitive that `run` measures.
    pub fn new(
        name: &'static str,
        rule: &'static str,
        domain: Domain,
        run: impl Fn(&Bench<'_>) -> Result<Sample> + Send + Sync + 'static,
    ) -> Self {
        Self { name, rule, domain, run: Box::new(run) }
    }

    /// One with an error of white coefficients.
    pub fn plain(
        name: &'static str,
        rule: &'static str,
        run: impl Fn(&Bench<'_>) -> Result<(Vec<f64>, Noise)> + Send + Sync + 'static,
    ) -> Self {
        let sample = move |bench: &Bench<'_>| {
            let (errors, noise) = run(bench)?;
            Ok(Sample::of(bench, errors, &noise))
        };
        Self::new(name, rule, Domain::Coefficients, sample)
    }

    /// Errors and prediction for one seed.
    ///
    /// # Errors
    /// Those of the operations.
    pub fn run(&self, bench: &Bench<'_>) -> Result<Sample> {
        (self.run)(bench)
    }
}

/// Every primitive for a parameter set.
///
/// Key errors are far below the rounding of a key switch wherever `P` exceeds the digits, so one row uses the set with the last special
/// prime left out.
///
/// # Errors
/// [`ReferenceError::BadParameters`] for a set with a single special prime, and as [`Parameters::new`].
pub fn primitives(literal: &ParameterLiteral) -> Result<Vec<Primitive>> {
    let mut short = literal.clone();
    short.p.pop();
    let short = Parameters::new(&short)?;
    let mut list = encryption();
    list.extend(linear());
    list.extend(products());
    list.extend(switches(short));
    list.extend(moduli());
    Ok(list)
}

fn encryption() -> Vec<Primitive> {
    vec![
        Primitive::plain("encode", "noise.encode", encode),
        Primitive::plain("encrypt, secret key", "noise.fresh.secret", encrypted_secret),
        in_slots("encrypt, secret key", "noise.bound.slot", encrypted_secret),
        Primitive::new(
            "encrypt, public key, before division",
            "noise.fresh.public-product",
            Domain::Coefficients,
            |bench| {
                let noise = rules::public_product(bench.params);
                let modulus = bench.params.modulus(bench.level)? * bench.params.p()[0];
                let [u0, u1] = public_product(&bench.seed, bench.public()?, 0, &modulus)?;
                Ok(Sample::of(bench, floats(&phase(bench, &u0, &u1)?), &noise).product(bench, &noise))
            },
        ),
        Primitive::plain("ModDown", "noise.moddown", moddown),
        in_slots("ModDown", "noise.bound.slot", moddown),
        Primitive::plain("encrypt, public key", "noise.fresh.public", encrypted_public),
        in_slots("encrypt, public key", "noise.bound.slot", encrypted_public),
    ]
}

/// No error at all.
fn nothing() -> Noise {
    Noise::new("noise.components", Vec::new())
}

fn encode(bench: &Bench<'_>) -> Result<(Vec<f64>, Noise)> {
    let slots = bench.message(0);
    // An encoding 2^25 times finer stands for the exact coefficients.
    let (coarse, fine) = (bench.encoder.encode(&slots, 20f64.exp2())?, bench.encoder.encode(&slots, 45f64.exp2())?);
    let unit = 25f64.exp2();
    Ok((coarse.iter().zip(&fine).map(|(&c, &f)| c as f64 - f as f64 / unit).collect(), rules::encode()))
}

fn encrypted_secret(bench: &Bench<'_>) -> Result<(Vec<f64>, Noise)> {
    let message = bench.plaintext(0, bench.level, bench.scale()?)?;
    Ok((bench.error(&bench.by_secret(0, &message)?, &message.poly)?, rules::fresh_secret()))
}

fn encrypted_public(bench: &Bench<'_>) -> Result<(Vec<f64>, Noise)> {
    let message = bench.plaintext(0, bench.level, bench.scale()?)?;
    Ok((bench.error(&bench.by_public(0, &message)?, &message.poly)?, rules::fresh_public(bench.params)))
}

/// `a + b s`.
fn phase(bench: &Bench<'_>, a: &Poly, b: &Poly) -> Result<Poly> {
    b.mul(&bench.secret.poly(b.modulus()))?.add(a)
}

fn moddown(bench: &Bench<'_>) -> Result<(Vec<f64>, Noise)> {
    let [u0, u1] = public_product(&bench.seed, bench.public()?, 0, &bench.params.extended_modulus(bench.level)?)?;
    let half = |u: &Poly| mod_down(bench.params, u, bench.level);
    let after = phase(bench, &half(&u0)?, &half(&u1)?)?;
    let errors = divided(&after, &phase(bench, &u0, &u1)?, &bench.params.special_modulus());
    Ok((errors, rules::mod_down(&nothing(), bench.params)))
}

fn linear() -> Vec<Primitive> {
    vec![
        Primitive::plain("add", "noise.add", |bench| sum(bench, Evaluator::add, Poly::add)),
        Primitive::plain("subtract", "noise.add", |bench| sum(bench, Evaluator::sub, Poly::sub)),
        Primitive::plain("add a plaintext", "noise.add.plain", add_plain),
        Primitive::plain("multiply by a plaintext", "noise.mul.plain", mul_plain),
        Primitive::new("add a constant", "noise.scalar.add", Domain::Coefficients, add_scalar),
        Primitive::new("multiply by a constant", "noise.scalar.mul", Domain::Coefficients, mul_scalar),
    ]
}

type OnCiphertexts<'a> = fn(&Evaluator<'a>, &Ciphertext, &Ciphertext) -> Result<Ciphertext>;

fn sum<'a>(
    bench: &Bench<'a>,
    operation: OnCiphertexts<'a>,
    exact: fn(&Poly, &Poly) -> Result<Poly>,
) -> Result<(Vec<f64>, Noise)> {
    let scale = bench.scale()?;
    let [m, w] = [bench.plaintext(0, bench.level, scale)?, bench.plaintext(1, bench.level, scale)?];
    let result = operation(&bench.evaluator(), &bench.by_secret(0, &m)?, &bench.by_public(1, &w)?)?;
    let noise = rules::add(&rules::fresh_secret(), &rules::fresh_public(bench.params));
    Ok((bench.error(&result, &exact(&m.poly, &w.poly)?)?, noise))
}

/// `scale` times a message, up to `2^-25` of a unit: the integers of an encoding `2^25` times finer.
fn fine(bench: &Bench<'_>, object: u32, scale: f64) -> Result<Plaintext> {
    bench.plaintext(object, bench.level, scale * 25f64.exp2())
}

fn add_plain(bench: &Bench<'_>) -> Result<(Vec<f64>, Noise)> {
    let scale = 20f64.exp2();
    let [m, w] = [bench.plaintext(0, bench.level, scale)?, bench.plaintext(1, bench.level, scale)?];
    let result = bench.evaluator().add_plain(&bench.by_public(0, &m)?, &w)?;
    let unit = Integer::from(1) << 25;
    let exact = m.poly.mul_integer(&unit).add(&fine(bench, 1, scale)?.poly)?;
    Ok((divided(&bench.phase(&result)?, &exact, &unit), rules::add_plain(&rules::fresh_public(bench.params))))
}

/// Scales at which the ciphertext's error and the plaintext's contribute alike.
fn mul_plain(bench: &Bench<'_>) -> Result<(Vec<f64>, Noise)> {
    let (scale, plain_scale) = (20f64.exp2(), 17f64.exp2());
    let [m, w] = [bench.plaintext(0, bench.level, scale)?, bench.plaintext(1, bench.level, plain_scale)?];
    let result = bench.evaluator().mul_plain(&bench.by_secret(0, &m)?, &w)?;
    let exact = m.poly.mul(&fine(bench, 1, plain_scale)?.poly)?;
    let errors = divided(&bench.phase(&result)?, &exact, &(Integer::from(1) << 25));
    Ok((errors, rules::mul_plain(&rules::fresh_secret(), norm(&w.poly), norm(&m.poly))))
}

/// A constant in the square `[-1/2, 1/2)^2`.
fn constant(bench: &Bench<'_>) -> Complex64 {
    let parts = bench.uniform(9, 2);
    Complex64::new(parts[0] - 0.5, parts[1] - 0.5)
}

/// Relative variance of the mean of two squares of uniform numbers: `(9/5 - 1) / 2`.
const TWO_UNIFORM: f64 = 0.4;

/// The operation's own part: what it adds to the ciphertext's error.
fn add_scalar(bench: &Bench<'_>) -> Result<Sample> {
    let (c, n) = (constant(bench), bench.params.n());
    let ciphertext = bench.by_secret(0, &bench.plaintext(0, bench.level, bench.scale()?)?)?;
    let result = bench.evaluator().add_scalar(&ciphertext, c)?;
    let mut errors = floats(&bench.phase(&result)?.sub(&bench.phase(&ciphertext)?)?);
    errors[0] -= c.re * ciphertext.scale;
    errors[n / 2] -= c.im * ciphertext.scale;
    let sample = Sample::of(bench, errors, &rules::scalar_add(&nothing(), n));
    // The product of constant and scale is rounded to binary64 first.
    let rounding = 0.5 + ciphertext.scale * f64::EPSILON;
    Ok(Sample { limit: Limit::WorstCase { sizes: vec![rounding], random: 0.0 }, spread: TWO_UNIFORM, ..sample })
}

/// At a small scale the rounding of the constant and the ciphertext's error contribute alike.
fn mul_scalar(bench: &Bench<'_>) -> Result<Sample> {
    let (c, n, scale, factor) = (constant(bench), bench.params.n(), 11f64.exp2(), 5f64.exp2());
    let message = bench.plaintext(0, bench.level, scale)?;
    let result = bench.evaluator().mul_scalar(&bench.by_secret(0, &message)?, c, scale * factor)?;
    let m = floats(&message.poly);
    let turned = |t: usize| if t < n / 2 { -m[t + n / 2] } else { m[t - n / 2] };
    let exact = |t: usize| factor * (c.re * m[t] + c.im * turned(t));
    let errors = floats(&bench.phase(&result)?).iter().enumerate().map(|(t, x)| x - exact(t)).collect();
    let constant = c.norm_sqr() * factor * factor;
    let sample =
        Sample::of(bench, errors, &rules::scalar_mul(&rules::fresh_secret(), constant, norm(&message.poly), n));
    let sizes = (0..n).map(|t| (m[t].abs() + turned(t).abs()) / 2.0).collect();
    // The integers are the constant at its scale up to sqrt(1/2).
    let random = bench.variance(&rules::fresh_secret()).total * (constant.sqrt() + 0.5f64.sqrt()).powi(2);
    Ok(Sample { limit: Limit::WorstCase { sizes, random }, spread: TWO_UNIFORM, ..sample })
}

fn products() -> Vec<Primitive> {
    vec![
        Primitive::plain("multiply, not relinearised", "noise.mul", |bench| product(bench, false)),
        Primitive::plain("multiply, public key", "noise.mul", |bench| product(bench, true)),
        in_slots("multiply, public key", "noise.bound.slot", |bench| product(bench, true)),
        Primitive::new("multiply zeros", "noise.mul.components", Domain::Coefficients, |bench| {
            let zero = bench.zero(bench.level)?;
            let [a, b] = [bench.by_public(0, &zero)?, bench.by_public(1, &zero)?];
            let fresh = rules::fresh_public(bench.params);
            let noise = rules::mul(&fresh, 0.0, &fresh, 0.0, bench.params.n());
            let errors = floats(&bench.phase(&bench.evaluator().mul(&a, &b)?)?);
            Ok(Sample::of(bench, errors, &noise).product(bench, &noise))
        }),
        Primitive::plain("square", "noise.square", |bench| {
            let message = bench.plaintext(0, bench.level, bench.scale()?)?;
            let a = bench.by_public(0, &message)?;
            let noise = rules::square(&rules::fresh_public(bench.params), norm(&message.poly), bench.params.n());
            Ok((bench.error(&bench.evaluator().mul(&a, &a)?, &message.poly.mul(&message.poly)?)?, noise))
        }),
        Primitive::new("square zero", "noise.square", Domain::Coefficients, |bench| {
            let a = bench.by_secret(0, &bench.zero(bench.level)?)?;
            let noise = rules::square(&rules::fresh_secret(), 0.0, bench.params.n());
            let errors = floats(&bench.phase(&bench.evaluator().mul(&a, &a)?)?);
            Ok(Sample::of(bench, errors, &noise).product(bench, &noise))
        }),
        Primitive::plain("multiply, relinearise, rescale", "noise.rescale", product_rescaled),
    ]
}

fn factors(bench: &Bench<'_>, public: bool) -> Result<([Ciphertext; 2], [Poly; 2], Noise)> {
    let scale = bench.scale()?;
    let [m, w] = [bench.plaintext(0, bench.level, scale)?, bench.plaintext(1, bench.level, scale)?];
    let encrypt =
        |index, message| if public { bench.by_public(index, message) } else { bench.by_secret(index, message) };
    let fresh = if public { rules::fresh_public(bench.params) } else { rules::fresh_secret() };
    let noise = rules::mul(&fresh, norm(&m.poly), &fresh, norm(&w.poly), bench.params.n());
    Ok(([encrypt(0, &m)?, encrypt(1, &w)?], [m.poly, w.poly], noise))
}

fn product(bench: &Bench<'_>, public: bool) -> Result<(Vec<f64>, Noise)> {
    let ([a, b], [m, w], noise) = factors(bench, public)?;
    Ok((bench.error(&bench.evaluator().mul(&a, &b)?, &m.mul(&w)?)?, noise))
}

fn product_rescaled(bench: &Bench<'_>) -> Result<(Vec<f64>, Noise)> {
    let ([a, b], [m, w], noise) = factors(bench, true)?;
    let (evaluator, q) = (bench.evaluator(), bench.params.q()[bench.level]);
    let product = evaluator.relinearise(&evaluator.mul(&a, &b)?, bench.relinearisation()?)?;
    let errors = divided(&bench.phase(&evaluator.rescale(&product)?)?, &m.mul(&w)?, &Integer::from(q));
    let switched = rules::switched(&noise, bench.params, bench.level)?;
    Ok((errors, rules::rescale(&switched, q, 2)))
}

fn switches(short: Parameters) -> Vec<Primitive> {
    let again = short.clone();
    vec![
        Primitive::new("relinearise", "noise.keyswitch", Domain::Coefficients, |bench| {
            let ([a, b], ..) = factors(bench, false)?;
            let triple = bench.evaluator().mul(&a, &b)?;
            let result = bench.evaluator().relinearise(&triple, bench.relinearisation()?)?;
            key_sample(bench, bench.params, floats(&bench.phase(&result)?.sub(&bench.phase(&triple)?)?), &nothing(), 1)
        }),
        Primitive::new("key switch, small P", "noise.keyswitch", Domain::Coefficients, move |bench| {
            let key = KeySwitchKey::relinearisation(&short, &bench.seed, &bench.secret, bench.level)?;
            let (primes, ids) = (bench.params.chain(bench.level)?, bench.params.limb_ids(bench.level));
            let c = uniform_poly(&bench.seed, StreamId::new(1001, 0), bench.params.n(), primes, &ids[..primes.len()])?;
            let (u0, u1) = Evaluator::new(&short).key_switch(&c, bench.level, &key)?;
            let s = bench.secret.poly(c.modulus());
            let errors = floats(&phase(bench, &u0, &u1)?.sub(&c.mul(&s.mul(&s)?)?)?);
            key_sample(bench, &short, errors, &nothing(), 1)
        }),
        Primitive::new("rotate", "noise.galois", Domain::Coefficients, |bench| {
            let g = rotation_element(bench.params, 1);
            let (ciphertext, message) = fresh(bench)?;
            let result = bench.evaluator().rotate(&ciphertext, 1, &bench.rotation(1)?)?;
            let errors = bench.error(&result, &message.automorphism(g.into())?)?;
            key_sample(bench, bench.params, errors, &rules::fresh_secret(), 1)
        }),
        Primitive::new("conjugate", "noise.galois", Domain::Coefficients, |bench| {
            let g = conjugation_element(bench.params);
            let (ciphertext, message) = fresh(bench)?;
            let result = bench.evaluator().conjugate(&ciphertext, &bench.conjugation()?)?;
            let errors = bench.error(&result, &message.automorphism(g.into())?)?;
            key_sample(bench, bench.params, errors, &rules::fresh_secret(), 1)
        }),
        Primitive::new("rotate, hoisted", "noise.galois", Domain::Coefficients, |bench| {
            let [g, h] = [1, 3].map(|steps| rotation_element(bench.params, steps));
            let (ciphertext, message) = fresh(bench)?;
            let (first, second) = (bench.rotation(1)?, bench.rotation(3)?);
            let results = bench.evaluator().galois_hoisted(&ciphertext, &[(g, &first), (h, &second)])?;
            let mut errors = bench.error(&results[0], &message.automorphism(g.into())?)?;
            errors.extend(bench.error(&results[1], &message.automorphism(h.into())?)?);
            key_sample(bench, bench.params, errors, &rules::fresh_secret(), 1)
        }),
        Primitive::new("inner sum of 4", "noise.inner-sum", Domain::Coefficients, inner_sum),
        Primitive::new("linear map, 2 by 2 steps", "noise.linear.map", Domain::Coefficients, |bench| {
            linear_map(bench, bench.params)
        }),
        Primitive::new("linear map, small P", "noise.linear.map", Domain::Coefficients, move |bench| {
            linear_map(bench, &again)
        }),
    ]
}

fn fresh(bench: &Bench<'_>) -> Result<(Ciphertext, Poly)> {
    let message = bench.plaintext(0, bench.level, bench.scale()?)?;
    Ok((bench.by_secret(0, &message)?, message.poly))
}

/// A sample with `input` noise and that of `switches` key switches.
fn key_sample(
    bench: &Bench<'_>,
    params: &Parameters,
    errors: Vec<f64>,
    input: &Noise,
    switches: usize,
) -> Result<Sample> {
    let p = params.special_modulus().to_f64();
    let raised: Vec<f64> = rules::raised_keyswitch(params, bench.level)?.components();
    let key = raised.iter().map(|v| switches as f64 * v / p / p).collect();
    let noise = rules::switched(input, params, bench.level)?;
    Ok(Sample::of(bench, errors, &noise).product(bench, &Noise::new("noise.keyswitch", vec![("key errors", key)])))
}

fn inner_sum(bench: &Bench<'_>) -> Result<Sample> {
    let (ciphertext, message) = fresh(bench)?;
    let evaluator = bench.evaluator();
    let (mut sum, mut exact) = (ciphertext, message);
    for steps in [1, 2] {
        let g = rotation_element(bench.params, steps);
        sum = evaluator.add(&sum, &evaluator.rotate(&sum, steps, &bench.rotation(steps)?)?)?;
        exact = exact.add(&exact.automorphism(g.into())?)?;
    }
    let noise = rules::inner_sum(&rules::fresh_secret(), bench.params, bench.level, 4)?;
    Ok(Sample::of(bench, bench.error(&sum, &exact)?, &noise).summed(4))
}

/// The operation's own part, with plaintexts so small that the giant steps' errors show beside the baby steps'.
fn linear_map(bench: &Bench<'_>, params: &Parameters) -> Result<Sample> {
    let (ciphertext, _) = fresh(bench)?;
    let small = |object| Stream::new(&bench.seed, StreamId::new(1003, object)).ternary(params.n());
    let steps = [(0, 0), (0, 1), (4, 0), (4, 1)];
    let plaintexts: Vec<Vec<i64>> = (0..steps.len() as u32).map(small).collect();
    let map = LinearMap::from_plaintexts(steps.into_iter().zip(plaintexts.iter().cloned()).collect(), 1.0)?;
    let mut keys = Keys::new();
    for step in [1, 4] {
        let g = rotation_element(params, step);
        keys.insert(KeySwitchKey::galois(params, &bench.seed, &bench.secret, g, bench.level)?);
    }
    let result = bench.phase(&Circuits::new(params, &keys).linear_unscaled(&ciphertext, &map)?)?;
    let input = bench.phase(&ciphertext)?;
    let mut exact = Poly::zero(params.n(), input.modulus());
    let mut sizes = Vec::new();
    for ((giant, baby), plaintext) in steps.into_iter().zip(&plaintexts) {
        let turned = input.automorphism(rotation_element(params, baby).into())?;
        let plain = Poly::from_small(plaintext, input.modulus());
        exact = exact.add(&plain.mul(&turned)?.automorphism(rotation_element(params, giant).into())?)?;
        sizes.push(MapStep { baby: baby as usize, giant, plain: norm(&plain) });
    }
    let noise = rules::linear_map(&nothing(), params, bench.level, &sizes, 0.0)?;
    let sample = Sample::of(bench, floats(&result.sub(&exact)?), &noise);
    Ok(sample.product(bench, &noise.only(&["baby key errors", "giant key errors"])).summed(2))
}

fn moduli() -> Vec<Primitive> {
    vec![
        Primitive::plain("rescale", "noise.rescale", rescale),
        in_slots("rescale", "noise.bound.slot", rescale),
        Primitive::plain("rescale, not relinearised", "noise.rescale", |bench| {
            let zero = bench.zero(bench.level)?;
            let triple = bench.evaluator().mul(&bench.by_secret(0, &zero)?, &bench.by_secret(1, &zero)?)?;
            let q = bench.params.q()[bench.level];
            let result = bench.phase(&bench.evaluator().rescale(&triple)?)?;
            let errors = divided(&result, &bench.phase(&triple)?, &Integer::from(q));
            Ok((errors, rules::rescale(&nothing(), q, 3)))
        }),
        Primitive::plain("drop levels", "noise.level-drop", |bench| {
            let level = bench.level / 2;
            let (ciphertext, message) = fresh(bench)?;
            let dropped = bench.evaluator().drop_level(&ciphertext, level)?;
            let exact = message.reduce(&bench.params.modulus(level)?)?;
            Ok((bench.error(&dropped, &exact)?, rules::level_drop(&rules::fresh_secret())))
        }),
        Primitive::plain("raise the modulus, integer part", "noise.modraise", mod_raise),
        in_slots("raise the modulus, integer part", "noise.bound.slot", mod_raise),
    ]
}

fn rescale(bench: &Bench<'_>) -> Result<(Vec<f64>, Noise)> {
    let ciphertext = bench.by_secret(0, &bench.zero(bench.level)?)?;
    let result = bench.phase(&bench.evaluator().rescale(&ciphertext)?)?;
    Ok((floats(&result), rules::rescale(&rules::fresh_secret(), bench.params.q()[bench.level], 2)))
}

/// `(c_0 + c_1 s - m) / q_0` over the integers, for the centred halves of a ciphertext of level 0.
fn mod_raise(bench: &Bench<'_>) -> Result<(Vec<f64>, Noise)> {
    let ciphertext = bench.by_secret(0, &bench.zero(0)?)?;
    let top = bench.params.modulus(bench.params.max_level())?;
    let lift = |poly: &Poly| Poly::from_integers(&poly.centred(), &top);
    let raised = phase(bench, &lift(&ciphertext.polys[0]), &lift(&ciphertext.polys[1]))?;
    let multiples = raised.sub(&lift(&bench.phase(&ciphertext)?))?;
    let q = bench.params.q()[0] as f64;
    Ok((floats(&multiples).iter().map(|x| x / q).collect(), rules::mod_raise()))
}
