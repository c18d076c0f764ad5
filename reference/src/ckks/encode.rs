//! Encoding and decoding by the canonical embedding, exactly (`r[ckks.encode]`, `r[ckks.decode]`).
//!
//! A coefficient is first computed in multi-precision with an error bound. Where the bound does not settle the
//! rounding, the coefficient's exact value decides: it is a rational combination of `1` and `cos(k pi / N)`,
//! `0 < k < N/2`, which are linearly independent over the rationals. So it is either a rational number, which is
//! rounded as such, or it is irrational, no tie, and more bits settle it.
//!
//! Two routes give the same integers: a fast transform, used by [`Encoder::encode`], and the definition term by
//! term, [`Encoder::encode_by_definition`].

mod cyclotomic;

pub use cyclotomic::Cyclotomic;

use super::{Parameters, Plaintext};
use crate::error::ReferenceError;
use num_complex::Complex64;
use rug::float::Round;
use rug::ops::NegAssign;
use rug::{Complete, Float, Integer, Rational};

/// Bits of the roots that every encoder keeps.
const BASE_PRECISION: u32 = 256;
/// Coefficients of this magnitude or more are refused (`r[ckks.encode]`).
const COEFFICIENT_LIMIT: i64 = 1 << 62;

/// Encodes and decodes vectors of `N/2` slots for one ring degree.
#[derive(Clone, Debug)]
pub struct Encoder {
    log_n: u32,
    roots: Roots,
}

/// Slots with a bound on their error.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// The slots, rounded to binary64.
    pub slots: Vec<Complex64>,
    /// No real or imaginary part differs from the exact value of the definition by more than this.
    pub radius: f64,
}

impl Encoder {
    /// An encoder for the ring degree of `params`.
    #[must_use]
    pub fn new(params: &Parameters) -> Self {
        Self { log_n: params.log_n(), roots: Roots::new(params.log_n(), BASE_PRECISION) }
    }

    /// The integer coefficients of `slots` at `scale`, correctly rounded, ties to even; by a fast transform.
    ///
    /// # Errors
    /// [`ReferenceError::BadOperand`] unless there are `N/2` slots and the scale is positive and finite;
    /// [`ReferenceError::NotEncodable`] for a slot that is NaN or infinite and for a coefficient of magnitude `2^62`
    /// or more.
    pub fn encode(&self, slots: &[Complex64], scale: f64) -> Result<Vec<i64>, ReferenceError> {
        self.check_slots(slots, scale)?;
        let n = self.n();
        let scaled = Scaled::new(slots, scale, BASE_PRECISION);
        let mut values = vec![Mp::zero(BASE_PRECISION); n];
        for (k, z) in self.slot_exponents().zip(&scaled.slots) {
            // The polynomial is real, so its value at the conjugate root is the conjugate.
            values[(2 * n - k - 1) / 2] = z.conjugate();
            values[(k - 1) / 2] = z.clone();
        }
        // m_t = (1/N) sum over odd k of v_k zeta^(-t k), and k = 2u + 1.
        let sums = self.roots.transform(&values, 2 * n - 2);
        let coefficients = sums.iter().enumerate().map(|(t, sum)| (sum * self.roots.power(2 * n - t)).re >> self.log_n);
        // One level of the transform adds less than 2^6 units in the last place of the largest partial sum, of which
        // 2^4 are the error of a root; the sums double per level and the division by N takes that back.
        let error = (scaled.magnitude * (self.log_n + 2) * 256u32) >> BASE_PRECISION;
        self.round(slots, scale, coefficients.collect(), &error)
    }

    /// The same integers as [`Self::encode`], term by term from the definition; time `N^2 / 2`.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn encode_by_definition(&self, slots: &[Complex64], scale: f64) -> Result<Vec<i64>, ReferenceError> {
        self.check_slots(slots, scale)?;
        let scaled = Scaled::new(slots, scale, BASE_PRECISION);
        let coefficients = (0..self.n()).map(|t| self.coefficient(&self.roots, &scaled, t)).collect();
        let error = self.definition_error(&scaled, BASE_PRECISION);
        self.round(slots, scale, coefficients, &error)
    }

    /// [`Self::encode`] as a plaintext of `level`.
    ///
    /// # Errors
    /// As [`Self::encode`]; level errors of [`Parameters::chain`].
    pub fn encode_at(
        &self,
        params: &Parameters,
        slots: &[Complex64],
        level: usize,
        scale: f64,
    ) -> Result<Plaintext, ReferenceError> {
        Plaintext::from_coefficients(params, &self.encode(slots, scale)?, level, scale)
    }

    /// The slots of a plaintext, by a fast transform (`r[ckks.decode]`).
    ///
    /// # Errors
    /// [`ReferenceError::BadOperand`] if the plaintext has another ring degree.
    pub fn decode(&self, plaintext: &Plaintext) -> Result<Decoded, ReferenceError> {
        self.decode_coefficients(&plaintext.poly.centred(), plaintext.scale)
    }

    /// The slots of the polynomial with the given integer coefficients at `scale`.
    ///
    /// # Errors
    /// [`ReferenceError::BadOperand`] unless there are `N` coefficients and the scale is positive and finite.
    pub fn decode_coefficients(&self, coefficients: &[Integer], scale: f64) -> Result<Decoded, ReferenceError> {
        self.check_coefficients(coefficients, scale)?;
        let roots = self.roots_for(coefficients);
        let twisted: Vec<Mp> = coefficients.iter().enumerate().map(|(t, c)| roots.power(t).scaled(c)).collect();
        let values = roots.transform(&twisted, 2);
        let values = self.slot_exponents().map(|k| values[(k - 1) / 2].clone()).collect();
        Ok(self.finish_decoding(values, coefficients, scale, roots.precision))
    }

    /// The same slots as [`Self::decode_coefficients`], term by term from the definition; time `N^2 / 2`.
    ///
    /// # Errors
    /// As [`Self::decode_coefficients`].
    pub fn decode_by_definition(&self, coefficients: &[Integer], scale: f64) -> Result<Decoded, ReferenceError> {
        self.check_coefficients(coefficients, scale)?;
        let roots = self.roots_for(coefficients);
        let value = |k: usize| {
            let terms = coefficients.iter().enumerate().map(|(t, c)| roots.power(t * k).scaled(c));
            terms.fold(Mp::zero(roots.precision), |sum, term| &sum + &term)
        };
        let values = self.slot_exponents().map(value).collect();
        Ok(self.finish_decoding(values, coefficients, scale, roots.precision))
    }

    fn n(&self) -> usize {
        1 << self.log_n
    }

    /// `5^j mod 2N` for `j = 0, 1, ..., N/2 - 1`.
    fn slot_exponents(&self) -> impl Iterator<Item = usize> + use<> {
        let order = 2 * self.n();
        std::iter::successors(Some(1), move |k| Some(k * 5 % order)).take(order / 4)
    }

    /// `(2/N) Re(sum_j D z_j zeta^(-t 5^j))`.
    fn coefficient(&self, roots: &Roots, scaled: &Scaled, t: usize) -> Float {
        let order = 2 * self.n();
        let terms = self.slot_exponents().zip(&scaled.slots).map(|(k, z)| {
            let root = roots.power(order - t * k % order);
            Float::with_val(roots.precision, &z.re * &root.re - &z.im * &root.im)
        });
        terms.fold(Float::new(roots.precision), |sum, term| sum + term) >> (self.log_n - 1)
    }

    /// Bound on the error of [`Self::coefficient`]: a root is off by at most `2^4` units of `2^-precision`, a term by
    /// less than `2^6` units of its magnitude, and `N/2` additions by one unit of the whole sum each.
    fn definition_error(&self, scaled: &Scaled, precision: u32) -> Float {
        (scaled.magnitude.clone() * (128 + 2 * self.n() as u32)) >> precision
    }

    /// Rounds coefficients that are known up to `error`.
    fn round(
        &self,
        slots: &[Complex64],
        scale: f64,
        coefficients: Vec<Float>,
        error: &Float,
    ) -> Result<Vec<i64>, ReferenceError> {
        let too_large = |got: String| ReferenceError::NotEncodable {
            operation: "encode",
            expected: "coefficients below 2^62 in magnitude".to_owned(),
            got,
        };
        // If all coefficients pass this test then the slots are below N 2^63 and the error is far below one half.
        for (t, x) in coefficients.iter().enumerate() {
            if x.clone().abs() - error > COEFFICIENT_LIMIT {
                return Err(too_large(format!("coefficient {t} of about {:e}", x.to_f64())));
            }
        }
        let rounded = coefficients.iter().enumerate().map(|(t, x)| {
            let value = round_within(x, error).unwrap_or_else(|| self.round_exactly(slots, scale, t));
            match value.to_i64() {
                Some(c) if c.abs() < COEFFICIENT_LIMIT => Ok(c),
                _ => Err(too_large(format!("coefficient {t} equal to {value}"))),
            }
        });
        rounded.collect()
    }

    /// Coefficient `t` rounded from its exact value.
    fn round_exactly(&self, slots: &[Complex64], scale: f64, t: usize) -> Integer {
        if let Some(value) = self.rational_coefficient(slots, scale, t) {
            return round_rational(&value);
        }
        let mut precision = BASE_PRECISION;
        loop {
            precision *= 2;
            let scaled = Scaled::new(slots, scale, precision);
            let value = self.coefficient(&Roots::new(self.log_n, precision), &scaled, t);
            if let Some(rounded) = round_within(&value, &self.definition_error(&scaled, precision)) {
                return rounded;
            }
        }
    }

    /// Coefficient `t` if it is a rational number.
    fn rational_coefficient(&self, slots: &[Complex64], scale: f64, t: usize) -> Option<Rational> {
        let n = self.n();
        // Entry k belongs to cos(k pi / N).
        let mut basis = vec![Rational::new(); n / 2];
        let mut add = |k: usize, value: f64| {
            let k = k.min(2 * n - k);
            let value = Rational::from_f64(value).unwrap_or_default();
            match k {
                _ if k < n / 2 => basis[k] += value,
                _ if k > n / 2 => basis[n - k] -= value,
                _ => {}
            }
        };
        for (k, z) in self.slot_exponents().zip(slots) {
            let k = t * k % (2 * n);
            add(k, z.re);
            // sin(x) = cos(x - pi/2)
            add((k + 3 * n / 2) % (2 * n), z.im);
        }
        let (constant, irrational) = basis.split_first()?;
        let scale = Rational::from_f64(scale)?;
        irrational.iter().all(|c| *c == 0).then(|| (constant * scale) >> (self.log_n - 1))
    }

    /// The encoder's roots, or longer ones where the coefficients are too large for them.
    fn roots_for(&self, coefficients: &[Integer]) -> Roots {
        let bits = coefficients.iter().map(Integer::significant_bits).max().unwrap_or(0);
        if bits + 128 <= BASE_PRECISION { self.roots.clone() } else { Roots::new(self.log_n, bits + 128) }
    }

    /// Divides by the scale, rounds to binary64 and bounds the error of both and of the sums.
    fn finish_decoding(&self, values: Vec<Mp>, coefficients: &[Integer], scale: f64, precision: u32) -> Decoded {
        let slots: Vec<Complex64> =
            values.into_iter().map(|v| Complex64::new((v.re / scale).to_f64(), (v.im / scale).to_f64())).collect();
        let largest = coefficients.iter().map(|c| Integer::from(c.abs_ref())).max().unwrap_or_default();
        // Both routes: at most N partial sums, each off by less than 2^8 units of the largest, N times the largest
        // coefficient; upward rounding keeps it a bound.
        let n = self.n() as u64;
        let sums = Float::with_val_round(precision, largest * n * n * 256u32, Round::Up).0 >> precision;
        let sums = Float::with_val_round(53, sums / scale, Round::Up).0.to_f64_round(Round::Up);
        let largest_part = slots.iter().flat_map(|z| [z.re.abs(), z.im.abs()]).fold(0.0, f64::max);
        let radius = (largest_part * f64::EPSILON / 2.0 + sums + f64::from_bits(1)).next_up().next_up();
        Decoded { slots, radius }
    }

    fn check_slots(&self, slots: &[Complex64], scale: f64) -> Result<(), ReferenceError> {
        check_shape("encode", self.n() / 2, "slots", slots.len(), scale)?;
        match slots.iter().position(|z| !z.is_finite()) {
            None => Ok(()),
            Some(j) => Err(ReferenceError::NotEncodable {
                operation: "encode",
                expected: "finite slots".to_owned(),
                got: format!("{} in slot {j}", slots[j]),
            }),
        }
    }

    fn check_coefficients(&self, coefficients: &[Integer], scale: f64) -> Result<(), ReferenceError> {
        check_shape("decode", self.n(), "coefficients", coefficients.len(), scale)
    }
}

fn check_shape(
    operation: &'static str,
    count: usize,
    what: &str,
    got: usize,
    scale: f64,
) -> Result<(), ReferenceError> {
    if got == count && scale.is_finite() && scale > 0.0 {
        return Ok(());
    }
    let expected = format!("{count} {what} and a positive finite scale");
    Err(ReferenceError::BadOperand { operation, expected, got: format!("{got} {what} and scale {scale:e}") })
}

/// The nearest integer, ties to even, if it is the same for every number within `error` of `x`.
fn round_within(x: &Float, error: &Float) -> Option<Integer> {
    // The sum and the difference are rounded away from x, so that the interval only grows.
    let low = Float::with_val_round(x.prec(), x - error, Round::Down).0.to_integer_round(Round::Nearest)?.0;
    let high = Float::with_val_round(x.prec(), x + error, Round::Up).0.to_integer_round(Round::Nearest)?.0;
    (low == high).then_some(low)
}

/// The nearest integer, ties to even.
fn round_rational(x: &Rational) -> Integer {
    let doubled = (x * 2u32).complete();
    let floor = Integer::from(x.floor_ref());
    let is_tie = doubled.is_integer() && !x.is_integer();
    if is_tie && floor.is_even() { floor } else { Integer::from((x + Rational::from((1, 2))).floor_ref()) }
}

/// Slots times the scale.
struct Scaled {
    slots: Vec<Mp>,
    /// No slot has a larger modulus.
    magnitude: Float,
}

impl Scaled {
    fn new(slots: &[Complex64], scale: f64, precision: u32) -> Self {
        // A product of two binary64 numbers has at most 106 bits and is exact here.
        let times = |x: f64| Float::with_val(precision, x) * scale;
        let slots: Vec<Mp> = slots.iter().map(|z| Mp { re: times(z.re), im: times(z.im) }).collect();
        let modulus = |z: &Mp| z.re.clone().abs() + z.im.clone().abs();
        let magnitude = slots.iter().map(modulus).fold(Float::new(precision), |a, b| a.max(&b));
        Self { slots, magnitude }
    }
}

/// A complex number in multi-precision.
#[derive(Clone, Debug)]
struct Mp {
    re: Float,
    im: Float,
}

impl Mp {
    fn zero(precision: u32) -> Self {
        Self { re: Float::new(precision), im: Float::new(precision) }
    }

    fn conjugate(&self) -> Self {
        let mut result = self.clone();
        result.im.neg_assign();
        result
    }

    fn scaled(&self, factor: &Integer) -> Self {
        Self { re: self.re.clone() * factor, im: self.im.clone() * factor }
    }
}

impl std::ops::Add for &Mp {
    type Output = Mp;

    fn add(self, other: Self) -> Mp {
        let precision = self.re.prec();
        Mp {
            re: Float::with_val(precision, &self.re + &other.re),
            im: Float::with_val(precision, &self.im + &other.im),
        }
    }
}

impl std::ops::Sub for &Mp {
    type Output = Mp;

    fn sub(self, other: Self) -> Mp {
        let precision = self.re.prec();
        Mp {
            re: Float::with_val(precision, &self.re - &other.re),
            im: Float::with_val(precision, &self.im - &other.im),
        }
    }
}

impl std::ops::Mul for &Mp {
    type Output = Mp;

    fn mul(self, other: Self) -> Mp {
        let precision = self.re.prec();
        // Each part is rounded once.
        Mp {
            re: Float::with_val(precision, &self.re * &other.re - &self.im * &other.im),
            im: Float::with_val(precision, &self.re * &other.im + &self.im * &other.re),
        }
    }
}

/// The powers of `zeta = exp(i pi / N)`, each part off by at most `2^4` units of `2^-precision`.
#[derive(Clone, Debug)]
struct Roots {
    precision: u32,
    powers: Vec<Mp>,
}

impl Roots {
    fn new(log_n: u32, precision: u32) -> Self {
        let pi = Float::with_val(precision, rug::float::Constant::Pi);
        let power = |k: u32| {
            let angle = (pi.clone() * k) >> log_n;
            let (im, re) = angle.sin_cos(Float::new(precision));
            Mp { re, im }
        };
        Self { precision, powers: (0..2u32 << log_n).map(power).collect() }
    }

    /// `zeta^exponent`.
    fn power(&self, exponent: usize) -> &Mp {
        &self.powers[exponent % self.powers.len()]
    }

    /// `sum_u values[u] zeta^(step t u)` for `t = 0, 1, ...`, where `zeta^step` has the order `values.len()`, a power
    /// of two.
    fn transform(&self, values: &[Mp], step: usize) -> Vec<Mp> {
        if let [single] = values {
            return vec![single.clone()];
        }
        let half = |offset: usize| -> Vec<Mp> { values.iter().skip(offset).step_by(2).cloned().collect() };
        let even = self.transform(&half(0), step * 2 % self.powers.len());
        let odd = self.transform(&half(1), step * 2 % self.powers.len());
        let twisted: Vec<Mp> = odd.iter().enumerate().map(|(t, x)| x * self.power(step * t)).collect();
        let low = even.iter().zip(&twisted).map(|(a, b)| a + b);
        let high = even.iter().zip(&twisted).map(|(a, b)| a - b);
        low.chain(high).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ckks::Parameters;
    use proptest::prelude::*;
    use touchstone_spec::params::ParameterLiteral;

    fn encoder(name: &str) -> Encoder {
        Encoder::new(&Parameters::new(&ParameterLiteral::preset(name).unwrap()).unwrap())
    }

    fn slots(count: usize) -> impl Strategy<Value = Vec<Complex64>> {
        let slot = (-1.0..1.0f64, -1.0..1.0f64).prop_map(|(re, im)| Complex64::new(re, im));
        proptest::collection::vec(slot, count)
    }

    /// Rounding moves each coefficient by at most 1/2, hence each slot by at most `N / 2` over the scale.
    fn assert_round_trip(encoder: &Encoder, slots: &[Complex64], scale: f64) {
        let coefficients: Vec<Integer> = encoder.encode(slots, scale).unwrap().into_iter().map(Integer::from).collect();
        let decoded = encoder.decode_coefficients(&coefficients, scale).unwrap();
        let bound = slots.len() as f64 / scale + decoded.radius;
        for (j, (a, b)) in slots.iter().zip(&decoded.slots).enumerate() {
            assert!((a - b).norm() <= bound, "slot {j}: {a} became {b}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn routes_agree_at_n_32(z in slots(16), log_scale in 0u32..60) {
            let encoder = encoder("toy-n5");
            let scale = f64::from(log_scale).exp2();
            prop_assert_eq!(encoder.encode(&z, scale).unwrap(), encoder.encode_by_definition(&z, scale).unwrap());
            assert_round_trip(&encoder, &z, scale);
        }

        #[test]
        fn decoding_routes_agree_within_their_radius(c in proptest::collection::vec(any::<i64>(), 32), wide: bool) {
            let encoder = encoder("toy-n5");
            // Wide coefficients need longer roots than the encoder keeps.
            let c: Vec<Integer> = c.into_iter().map(|x| Integer::from(x) << if wide { 200u32 } else { 0 }).collect();
            let (a, b) = (encoder.decode_coefficients(&c, 3e9).unwrap(), encoder.decode_by_definition(&c, 3e9).unwrap());
            for (x, y) in a.slots.iter().zip(&b.slots) {
                prop_assert!((x.re - y.re).abs() <= a.radius + b.radius);
                prop_assert!((x.im - y.im).abs() <= a.radius + b.radius);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3))]

        #[test]
        fn routes_agree_at_n_256(z in slots(128)) {
            let encoder = encoder("toy-n8");
            let scale = 40f64.exp2();
            prop_assert_eq!(encoder.encode(&z, scale).unwrap(), encoder.encode_by_definition(&z, scale).unwrap());
            assert_round_trip(&encoder, &z, scale);
        }
    }

    #[test]
    fn large_ring_agrees_with_the_definition_in_selected_coefficients() {
        let encoder = encoder("small-n12");
        let z: Vec<Complex64> = (0..2048u32).map(|j| Complex64::cis(f64::from(j * j)) * 0.9).collect();
        let scale = 40f64.exp2();
        let coefficients = encoder.encode(&z, scale).unwrap();
        let scaled = Scaled::new(&z, scale, BASE_PRECISION);
        let error = encoder.definition_error(&scaled, BASE_PRECISION);
        for t in [0usize, 1, 2, 1023, 2048, 3001, 4095] {
            let exact = round_within(&encoder.coefficient(&encoder.roots, &scaled, t), &error).unwrap();
            assert_eq!(exact, coefficients[t], "coefficient {t}");
        }
        assert_round_trip(&encoder, &z, scale);
    }

    #[test]
    fn exact_ties_go_to_even() {
        let encoder = encoder("toy-n5");
        for (constant, expected) in [(0.5, 0), (1.5, 2), (2.5, 2), (-0.5, 0), (-1.5, -2), (0.75, 1)] {
            let mut real = vec![0i64; 32];
            real[0] = expected;
            let z = vec![Complex64::new(constant, 0.0); 16];
            assert_eq!(encoder.encode(&z, 1.0).unwrap(), real);
            assert_eq!(encoder.encode_by_definition(&z, 1.0).unwrap(), real);
            // The constant i is X^(N/2).
            let mut imaginary = vec![0i64; 32];
            imaginary[16] = expected;
            let z = vec![Complex64::new(0.0, constant); 16];
            assert_eq!(encoder.encode(&z, 1.0).unwrap(), imaginary);
        }
    }

    #[test]
    fn rational_coefficients_are_recognised_and_irrational_ones_refined() {
        let encoder = encoder("toy-n5");
        let mut z = vec![Complex64::ZERO; 16];
        z[0] = Complex64::new(1.0, 0.25);
        // Only coefficients 0 and N/2 of a single slot are rational: 2/N times its real and imaginary part.
        assert_eq!(encoder.rational_coefficient(&z, 4.0, 0), Some(Rational::from((1, 4))));
        assert_eq!(encoder.rational_coefficient(&z, 4.0, 16), Some(Rational::from((1, 16))));
        assert_eq!(encoder.rational_coefficient(&z, 4.0, 1), None);
        for (t, c) in encoder.encode(&z, 1e6).unwrap().into_iter().enumerate() {
            assert_eq!(encoder.round_exactly(&z, 1e6, t), c, "coefficient {t}");
        }
    }

    #[test]
    fn monomials_have_the_slots_of_the_definition() {
        let encoder = encoder("toy-n5");
        let mut x = vec![Integer::new(); 32];
        x[1] = Integer::from(1);
        let decoded = encoder.decode_coefficients(&x, 1.0).unwrap();
        let mut power = 1u32;
        for slot in &decoded.slots {
            let root = Complex64::cis(std::f64::consts::PI * f64::from(power) / 32.0);
            // The comparison value itself is computed in binary64: a few units in the last place of an angle below 2 pi.
            assert!((slot - root).norm() <= 16.0 * f64::EPSILON);
            power = power * 5 % 64;
        }
    }

    #[test]
    fn what_cannot_be_encoded_is_refused() {
        let encoder = encoder("toy-n5");
        let encode = |x: f64, scale: f64| encoder.encode(&[Complex64::new(x, 0.0); 16], scale);
        let below = (1i64 << 62) - 512;
        assert_eq!(encode(below as f64, 1.0).unwrap()[0], below);
        let not_encodable = [(1.0, 62f64.exp2()), (f64::NAN, 1.0), (f64::INFINITY, 1.0), (-1e300, 1e300)];
        for (x, scale) in not_encodable {
            assert!(matches!(encode(x, scale), Err(ReferenceError::NotEncodable { .. })), "{x:e} at {scale:e}");
        }
        for scale in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(matches!(encode(1.0, scale), Err(ReferenceError::BadOperand { .. })), "scale {scale}");
        }
        assert!(matches!(encoder.encode(&[Complex64::ZERO; 15], 1.0), Err(ReferenceError::BadOperand { .. })));
        assert!(matches!(encoder.decode_coefficients(&[], 1.0), Err(ReferenceError::BadOperand { .. })));
    }
}
