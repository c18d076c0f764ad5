//! Bootstrapping at toy sizes: stages against their meaning, and the precision against its prediction.

use super::*;
use crate::ckks::{Encoder, SecretKey, conjugation_element, decrypt, encrypt_secret};
use crate::sample::{Seed, Stream, StreamId};
use num_complex::Complex64;
use rug::Integer;
use std::collections::BTreeMap;
use std::f64::consts::PI;
use touchstone_spec::params::{BootstrapLiteral, MapFactor, ParameterLiteral};

pub(super) const PRESETS: [&str; 3] = ["toy-n5-boot", "toy-n5-boot-pair", "toy-n8-boot"];

/// Failure probability of every statistical assertion here.
pub(super) const FAILURE: f64 = 1e-9;

pub(super) struct Setup {
    pub(super) params: Parameters,
    pub(super) seed: Seed,
    pub(super) secret: SecretKey,
    pub(super) encoder: Encoder,
    keys: Keys,
    ephemeral: EphemeralKeys,
    maps: BootstrapMaps,
}

impl Setup {
    pub(super) fn new(preset: &str, seed: u8) -> Self {
        println!("{preset}, seed {seed}");
        let params = Parameters::new(&ParameterLiteral::preset(preset).unwrap()).unwrap();
        let seed = [seed; 16];
        let secret = SecretKey::generate(&params, &seed).unwrap();
        let encoder = Encoder::new(&params);
        let maps = BootstrapMaps::encode(&params, &encoder).unwrap();
        let mut keys = Keys::new();
        let top = params.max_level();
        keys.insert(KeySwitchKey::relinearisation(&params, &seed, &secret, top).unwrap());
        let rotations = maps.rotations().into_iter().map(|steps| rotation_element(&params, steps));
        for g in rotations.chain([conjugation_element(&params)]) {
            keys.insert(KeySwitchKey::galois(&params, &seed, &secret, g, top).unwrap());
        }
        let ephemeral = EphemeralKeys::generate(&params, &seed, &secret).unwrap();
        Self { params, seed, secret, encoder, keys, ephemeral, maps }
    }

    pub(super) fn boot(&self) -> &BootstrapLiteral {
        self.params.bootstrap().unwrap()
    }

    pub(super) fn bootstrap(&self) -> Bootstrap<'_> {
        Bootstrap::new(Circuits::new(&self.params, &self.keys), &self.ephemeral, &self.maps).unwrap()
    }

    /// A canonical encryption at the level where a bootstrap starts.
    pub(super) fn encrypt(&self, slots: &[Complex64], index: u32) -> Ciphertext {
        let level = self.boot().slots_to_coeffs.len();
        let scale = self.params.canonical_scale(level).unwrap();
        let message = self.encoder.encode_at(&self.params, slots, level, scale).unwrap();
        encrypt_secret(&self.params, &self.seed, &self.secret, index, &message).unwrap()
    }

    pub(super) fn slots_of(&self, a: &Ciphertext) -> Vec<Complex64> {
        self.encoder.decode(&decrypt(&self.secret, a).unwrap()).unwrap().slots
    }

    /// Deviation of a slot's real part from one rescale at a label: `rho` of the chapter.
    fn rho(&self, label: f64) -> f64 {
        ((self.secret.weight() as f64 + 1.0) * self.params.n() as f64 / 24.0).sqrt() / label
    }

    /// Slots in the unit square, from the seed.
    pub(super) fn random(&self, index: u32) -> Vec<Complex64> {
        let mut stream = Stream::new(&self.seed, StreamId::new(1001, index));
        let mut part = || (stream.next_u64() >> 11) as f64 * f64::EPSILON - 1.0;
        (0..self.params.slots()).map(|_| Complex64::new(part(), part())).collect()
    }

    /// Random, constant, one-sided, periodic and single-spike inputs (`r[boot.precision]`).
    pub(super) fn inputs(&self) -> Vec<(&'static str, Vec<Complex64>)> {
        let n = self.params.slots();
        let random = self.random(0);
        let one = Complex64::new(1.0, 1.0);
        vec![
            ("constant", vec![one; n]),
            ("one-sided", random.iter().map(|z| Complex64::new(z.re.abs(), z.im.abs())).collect()),
            ("periodic", (0..n).map(|j| random[j % 4]).collect()),
            ("spike", (0..n).map(|j| if j == n / 3 { one } else { Complex64::ZERO }).collect()),
            ("random", random),
        ]
    }

    /// The variance of a slot of the output that the rescales of both maps and the switch to the ephemeral secret give
    /// (`r[boot.noise]`).
    fn maps_variance(&self) -> f64 {
        let boot = self.boot();
        let unit = f64::from(boot.message_ratio).exp2();
        let (mut layers, mut variance) = (0, 0.0);
        for factor in &boot.slots_to_coeffs {
            layers += factor.log_radix as i32;
            variance += self.rho(factor.label.0).powi(2) * 2f64.powi(-layers);
        }
        layers = 0;
        for factor in boot.coeffs_to_slots.iter().rev() {
            variance += (self.rho(factor.label.0) * f64::from(boot.range) * unit).powi(2) * 2f64.powi(-layers);
            layers += factor.log_radix as i32;
        }
        variance + self.switch_variance()
    }

    /// The variance from the switch to the ephemeral secret.
    fn switch_variance(&self) -> f64 {
        let (boot, unit) = (self.boot(), f64::from(self.boot().message_ratio).exp2());
        let (q0, p0) = (self.params.q()[0] as f64, self.params.p()[0] as f64);
        let key = 3.2f64.powi(2) * self.params.n() as f64 / 12.0 * (q0 / p0).powi(2);
        (key + (boot.ephemeral_weight as f64 + 1.0) / 12.0) * (unit / q0).powi(2)
    }

    /// Adds the keys of rotations.
    pub(super) fn add_rotations(&mut self, steps: Vec<i64>) {
        for steps in steps {
            let g = rotation_element(&self.params, steps);
            let top = self.params.max_level();
            self.keys.insert(KeySwitchKey::galois(&self.params, &self.seed, &self.secret, g, top).unwrap());
        }
    }

    /// Deviation of a slot of a fresh encryption with its encoding.
    pub(super) fn input_deviation(&self) -> f64 {
        let scale = self.params.canonical_scale(self.boot().slots_to_coeffs.len()).unwrap();
        ((3.2f64.powi(2) + 1.0 / 12.0) * self.params.n() as f64 / 2.0).sqrt() / scale
    }

    /// `r[noise.keyswitch]`.
    pub(super) fn keyswitch_variance(&self, level: usize) -> f64 {
        let components = crate::bounds::components::keyswitch(&self.params, level).unwrap().components();
        components[0] + components[1] * self.secret.weight() as f64
    }

    /// What copies share (`r[boot.sparse.noise]`), without the input's error.
    pub(super) fn shared_variance(&self, maps: &SparseMaps) -> f64 {
        let boot = self.boot();
        let copies = self.params.slots() as f64 / maps.period as f64;
        let (unit, q0) = (f64::from(boot.message_ratio).exp2(), self.params.q()[0] as f64);
        let skipped = boot.slots_to_coeffs.len() - maps.slots_to_coeffs.len();
        let mut layers = 0;
        let mut variance = 0.0;
        for (factor, radix) in boot.slots_to_coeffs[skipped..].iter().zip(kept(&boot.slots_to_coeffs, maps.period)) {
            layers += radix;
            variance += self.rho(factor.label.0).powi(2) * 0.5f64.powi(layers as i32) / copies;
        }
        let level = self.params.max_level() - (boot.coeffs_to_slots.len() - maps.coeffs_to_slots.len());
        let switches = copies * (copies - 1.0) * self.keyswitch_variance(level);
        variance + self.switch_variance() + switches * (unit / q0).powi(2)
    }

    /// What every copy has of its own (`r[boot.sparse.noise]`).
    pub(super) fn own_variance(&self, maps: &SparseMaps, kind: SlotKind) -> f64 {
        let boot = self.boot();
        let unit = f64::from(boot.message_ratio).exp2() * f64::from(boot.range);
        let reversed: Vec<_> = boot.coeffs_to_slots.iter().rev().copied().collect();
        let mut layers = 0;
        let mut variance = self.eval_mod_variance();
        for (factor, radix) in reversed.iter().zip(kept(&reversed, maps.period)) {
            variance += (self.rho(factor.label.0) * unit).powi(2) * 0.5f64.powi(layers as i32);
            layers += radix;
        }
        match kind {
            SlotKind::Real => variance,
            SlotKind::Complex => {
                2.0 * variance + self.rho(self.params.canonical_scale(boot.output_level - 1).unwrap()).powi(2)
            }
        }
    }

    /// The variance from EvalMod.
    fn eval_mod_variance(&self) -> f64 {
        let boot = self.boot();
        let steps = boot.double_angles as i32;
        let unit = f64::from(boot.message_ratio).exp2() / (2.0 * PI);
        // What the last `count` double-angle steps make of an error.
        let gain = |count: i32| (1..=count).map(|i| 4.0 * (PI / 2f64.powi(i + 1)).cos()).product::<f64>();
        let plan = Plan::new(Basis::Chebyshev, &boot.cosine.iter().map(|c| c.0).collect::<Vec<_>>()).unwrap();
        let top = self.params.max_level() - boot.coeffs_to_slots.len();
        let at = |steps: usize| self.params.below(top, steps).unwrap();
        let bottom = at(plan.depth());
        let canonical = |level: usize| self.params.canonical_scale(level).unwrap();
        let (last, a) = (boot.output_level, boot.output[0].0);
        // With one coefficient the sine itself ends at the output level, its label not yet replaced.
        let rho = |level: usize| self.rho(if level == last { a * canonical(level) } else { canonical(level) });
        let cosine = evaluation_deviation(&plan, |steps| rho(at(steps))) * gain(steps);
        let doubling = (1..=steps).map(|done| (rho(bottom - done as usize) * gain(steps - done)).powi(2));
        let output = if boot.output.len() > 1 { self.rho(canonical(last)) } else { 0.0 };
        (cosine * cosine + doubling.sum::<f64>()) * unit * unit + output * output
    }

    /// Errors that are not noise (`r[boot.approximation]`), the output polynomial's on a grid.
    pub(super) fn approximation(&self) -> f64 {
        let boot = self.boot();
        let unit = f64::from(boot.message_ratio).exp2() / (2.0 * PI);
        let gain: f64 = (1..=boot.double_angles as i32).map(|i| 4.0 * (PI / 2f64.powi(i + 1)).cos()).product();
        let end = (2.0 * PI / f64::from(boot.message_ratio).exp2()).sin();
        let error = |k: u32| {
            let s = end * f64::from(k) / 4096.0;
            let value = boot.output.iter().rev().fold(0.0, |value, c| value * s * s + c.0) * s;
            (value - unit * s.asin()).abs()
        };
        boot.cosine_error.0 * gain * unit + (0..=4096).map(error).fold(0.0, f64::max)
    }
}

/// The numbers of layers that the factors keep for a period, from the one with the smallest layers.
fn kept(factors: &[MapFactor], period: usize) -> Vec<u32> {
    let mut left = period.ilog2();
    let mut own = Vec::new();
    for factor in factors {
        own.push(left.min(factor.log_radix));
        left -= left.min(factor.log_radix);
    }
    own.retain(|layers| *layers > 0);
    own
}

/// Root sum square of the effects on a plan's value of an error in each of its rescales, `rho(d)` the deviation of one that ends
/// `d` steps below the input, at the worst of 257 arguments.
fn evaluation_deviation(plan: &Plan, rho: impl Fn(usize) -> f64) -> f64 {
    let at = |u: f64| {
        let (exact, depths) = value_with_error(plan, u, usize::MAX);
        let derivative = |place| (value_with_error(plan, u, place).0 - exact) / STEP;
        let effect = |(place, depth): (usize, &usize)| (derivative(place) * rho(*depth)).powi(2);
        depths.iter().enumerate().map(effect).sum::<f64>().sqrt()
    };
    (-128..=128).map(|k| at(f64::from(k) / 128.0)).fold(0.0, f64::max)
}

/// Error that [`value_with_error`] adds: its square is below the rounding of binary64.
const STEP: f64 = 1e-7;

/// The plan's value at `u` with [`STEP`] added after the rescale with number `place`, and where every rescale ends, in steps
/// below the input.
fn value_with_error(plan: &Plan, u: f64, place: usize) -> (f64, Vec<usize>) {
    let mut depths = Vec::new();
    let mut rescale = |x: f64, depth: usize| {
        depths.push(depth);
        if depths.len() - 1 == place { x + STEP } else { x }
    };
    let depth = |i: usize| i.next_power_of_two().ilog2() as usize;
    let mut basis = BTreeMap::from([(1, u)]);
    for (i, (left, right)) in plan.powers() {
        // A factor that has more levels than the product is brought down by a rescale of its own.
        let mut factor =
            |k: &usize| if depth(*k) + 1 < depth(*i) { rescale(basis[k], depth(*i) - 1) } else { basis[k] };
        let product = factor(left) * factor(right);
        let correction = if left == right { 1.0 } else { basis[&(left - right)] };
        let value = rescale(2.0 * product - correction, depth(*i));
        basis.insert(*i, value);
    }
    let value = plan.sum().map_or(0.0, |root| sum_with_error(root, &basis, &mut rescale));
    (value, depths)
}

fn sum_with_error(sum: &Sum, basis: &BTreeMap<usize, f64>, rescale: &mut impl FnMut(f64, usize) -> f64) -> f64 {
    let mut total: f64 = sum.terms.iter().map(|(i, c)| c * basis[i]).sum();
    for (h, factor) in &sum.products {
        let value = sum_with_error(factor, basis, rescale);
        total += value * if h.ilog2() as usize == sum.depth { basis[h] } else { rescale(basis[h], sum.depth) };
    }
    rescale(total, sum.depth + 1) + sum.constant
}

/// `r[boot.butterfly]` and `r[boot.stc]`, from an encryption (`r[boot.input]`).
#[test]
fn slots_become_coefficients_in_bit_reversed_order() {
    for preset in PRESETS {
        let setup = Setup::new(preset, 1);
        let slots = setup.random(1);
        let low = setup.bootstrap().slots_to_coeffs(&setup.encrypt(&slots, 0)).unwrap();
        let label = setup.boot().slots_to_coeffs.last().unwrap().label.0;
        assert_eq!((low.level, low.scale), (0, label));
        let coefficients = decrypt(&setup.secret, &low).unwrap().poly.centred();
        let n = slots.len();
        // In coefficients every slot's error appears divided by sqrt(n/2); the bound of a slot is a bound.
        let deviation = setup.maps_variance().sqrt() + setup.rho(setup.params.canonical_scale(2).unwrap());
        let bound = (2.0 * n as f64 / FAILURE).ln() / 2f64.sqrt() * deviation;
        for (k, z) in slots.iter().enumerate() {
            let t = k.reverse_bits() >> (usize::BITS - n.ilog2());
            let got = Complex64::new(coefficients[t].to_f64() / label, coefficients[t + n].to_f64() / label);
            assert!((got - z).norm() <= bound, "{preset}, slot {k}: {got} for {z}, bound {bound:e}");
        }
    }
}

/// `r[boot.modraise.range]`, with the secret of `r[boot.key.ephemeral]` and the key of `r[boot.key.to-ephemeral]` in
/// `r[boot.switch.to-ephemeral]`.
#[test]
fn the_integer_part_stays_in_range() {
    for preset in PRESETS {
        for seed in 0..4 {
            let setup = Setup::new(preset, seed);
            let bootstrap = setup.bootstrap();
            let low = bootstrap.slots_to_coeffs(&setup.encrypt(&setup.random(2), 0)).unwrap();
            let raised = bootstrap.mod_raise(&bootstrap.to_ephemeral(&low).unwrap()).unwrap();
            let weight = setup.boot().ephemeral_weight;
            let ephemeral = SecretKey::ephemeral(&setup.params, &setup.seed, weight).unwrap();
            let q0 = Integer::from(setup.params.q()[0]);
            let limit = &q0 * Integer::from(weight + 1) / 2u32;
            let largest = decrypt(&ephemeral, &raised).unwrap().poly.centred().into_iter().map(Integer::abs).max();
            // A tenth of the bound: less would mean that nothing wraps, and the test would see nothing.
            let largest = largest.unwrap();
            assert!(largest <= limit && largest.clone() * 10u32 > limit, "{preset}: {largest} against {limit}");
        }
    }
}

/// `r[boot.key.from-ephemeral]`, `r[boot.switch.from-ephemeral]` and `r[boot.cts]` undo the stages before them.
#[test]
fn without_eval_mod_slots_come_back_up_to_integers() {
    for preset in PRESETS {
        let setup = Setup::new(preset, 3);
        let bootstrap = setup.bootstrap();
        let slots = setup.random(3);
        let low = bootstrap.slots_to_coeffs(&setup.encrypt(&slots, 0)).unwrap();
        let raised = bootstrap.mod_raise(&bootstrap.to_ephemeral(&low).unwrap()).unwrap();
        let raised = bootstrap.from_ephemeral(&raised).unwrap();
        let (real, imaginary) = bootstrap.coeffs_to_slots(&raised, SlotKind::Complex).unwrap();
        let (real, imaginary) = (setup.slots_of(&real), setup.slots_of(&imaginary.unwrap()));
        let boot = setup.boot();
        let back = |x: f64| {
            let t = x * f64::from(boot.range);
            (t - t.round()) * f64::from(boot.message_ratio).exp2()
        };
        let input = setup.rho(setup.params.canonical_scale(2).unwrap());
        let bound = (2.0 * slots.len() as f64 / FAILURE).ln() / 2f64.sqrt() * (setup.maps_variance().sqrt() + input);
        for ((z, re), im) in slots.iter().zip(&real).zip(&imaginary) {
            let error = (back(re.re) - z.re).abs().max((back(im.re) - z.im).abs());
            assert!(error <= bound, "{preset}: {error:e} above {bound:e}");
        }
    }
}

/// `r[boot.noise]`, `r[boot.noise.cosine]` and `r[boot.approximation]` bound what `r[boot.precision]` measures, with
/// the keys of `r[boot.key.rotations]`; the output is that of `r[boot.output]`.
#[test]
fn bootstrapped_slots_are_within_the_predicted_precision() {
    for preset in PRESETS {
        let setup = Setup::new(preset, 4);
        let level = setup.boot().output_level;
        let noise = (setup.maps_variance() + setup.eval_mod_variance()).sqrt();
        // A fresh encryption and its encoding.
        let scale = setup.params.canonical_scale(setup.boot().slots_to_coeffs.len()).unwrap();
        let input = ((3.2f64.powi(2) + 1.0 / 12.0) * setup.params.n() as f64 / 2.0).sqrt() / scale;
        let deviation = noise.hypot(input);
        let bound =
            (2.0 * setup.params.slots() as f64 / FAILURE).ln() / 2f64.sqrt() * deviation + setup.approximation();
        let mut worst: f64 = 0.0;
        for (index, (name, slots)) in (0..).zip(setup.inputs()) {
            let real: Vec<Complex64> = slots.iter().map(|z| Complex64::new(z.re, 0.0)).collect();
            for (kind, slots) in [(SlotKind::Complex, &slots), (SlotKind::Real, &real)] {
                let result = setup.bootstrap().apply(&setup.encrypt(slots, index), kind).unwrap();
                assert_eq!((result.level, result.scale), (level, setup.params.canonical_scale(level).unwrap()));
                for (got, z) in setup.slots_of(&result).iter().zip(slots.iter()) {
                    let error = (got.re - z.re).abs().max((got.im - z.im).abs());
                    assert!(error <= bound, "{preset}, {name}, {kind:?}: {error:e} above {bound:e}");
                    worst = worst.max(error);
                }
            }
        }
        println!("{preset}: worst {:.1} bits, bound {:.1} bits", -worst.log2(), -bound.log2());
        // A prediction that is right leaves the worst of a few hundred slots within a few deviations of it.
        assert!(worst > deviation / 4.0, "{preset}: worst {worst:e}, predicted deviation {deviation:e}");
    }
}

/// `r[boot.params]`.
#[test]
fn parameters_without_bootstrapping_are_refused() {
    let params = Parameters::new(&ParameterLiteral::preset("toy-n5").unwrap()).unwrap();
    let secret = SecretKey::generate(&params, &[0; 16]).unwrap();
    let refused = EphemeralKeys::generate(&params, &[0; 16], &secret);
    assert!(matches!(refused, Err(ReferenceError::BadParameters { field: "bootstrap", .. })));
    assert!(BootstrapMaps::encode(&params, &Encoder::new(&params)).is_err());
}
