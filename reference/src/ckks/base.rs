//! Base conversion and the changes of modulus that are built on it (`r[ckks.bconv]`, `r[ckks.modup]`,
//! `r[ckks.moddown]`, `r[ckks.rescale]`).

use super::Parameters;
use crate::error::ReferenceError;
use crate::ring::{Poly, centred, inverse, product};
use rug::Integer;

/// `y_j = <x_j (B/b_j)^{-1}>_{b_j}` for each prime `b_j` of `basis`, one vector of coefficients per prime.
///
/// `x` may have any modulus that the basis divides.
///
/// # Errors
/// [`ReferenceError::BadOperand`] if the basis is not coprime.
pub fn centred_shares(x: &Poly, basis: &[u64]) -> Result<Vec<Vec<Integer>>, ReferenceError> {
    let whole = product(basis);
    let share = |&b: &u64| {
        let b = Integer::from(b);
        let factor = inverse(&Integer::from(&whole / &b), &b)?;
        Ok(x.coefficients().iter().map(|c| centred(&Integer::from(c * &factor), &b)).collect())
    };
    basis.iter().map(share).collect()
}

/// `BConv(x) = sum_j y_j (B/b_j)` as integers of magnitude at most `m B / 2`, not reduced (`r[ckks.bconv]`).
///
/// # Errors
/// [`ReferenceError::BadOperand`] if the basis is not coprime.
pub fn bconv(x: &Poly, basis: &[u64]) -> Result<Vec<Integer>, ReferenceError> {
    let whole = product(basis);
    let shares = centred_shares(x, basis)?;
    let weights: Vec<Integer> = basis.iter().map(|&b| Integer::from(&whole / b)).collect();
    let sum = |t: usize| shares.iter().zip(&weights).map(|(y, w)| Integer::from(&y[t] * w)).sum();
    Ok((0..x.len()).map(sum).collect())
}

/// The lifts of all digits of `c` in `R_{Q_l}` to `R_{Q_l P}` (`r[ckks.modup]`).
///
/// # Errors
/// [`ReferenceError::BadOperand`] if `c` is not a polynomial modulo `Q_l`; level errors of [`Parameters::chain`].
pub fn mod_up(params: &Parameters, c: &Poly, level: usize) -> Result<Vec<Poly>, ReferenceError> {
    check_modulus("lift of digits", c, &params.modulus(level)?)?;
    let chain = params.chain(level)?;
    let target = params.extended_modulus(level)?;
    let lift = |digit| Ok(Poly::from_integers(&bconv(c, &chain[digit])?, &target));
    params.digits(level).into_iter().map(lift).collect()
}

/// `(x - (w - v P)) / P` in `R_{Q_l}` for `x` in `R_{Q_l P}` (`r[ckks.moddown]`).
///
/// # Errors
/// [`ReferenceError::BadOperand`] if `x` is not a polynomial modulo `Q_l P`; level errors of [`Parameters::chain`].
pub fn mod_down(params: &Parameters, x: &Poly, level: usize) -> Result<Poly, ReferenceError> {
    check_modulus("division by P", x, &params.extended_modulus(level)?)?;
    let special = params.special_modulus();
    let modulus = params.modulus(level)?;
    let shares = centred_shares(x, params.p())?;
    let weights = bconv(x, params.p())?;
    let coefficients: Vec<Integer> = (0..x.len())
        .map(|t| {
            let v = overflow(shares.iter().map(|y| &y[t]), params.p());
            let remainder = &weights[t] - v * &special;
            Integer::from(&x.coefficients()[t] - &remainder).div_exact(&special)
        })
        .collect();
    Ok(Poly::from_integers(&coefficients, &modulus))
}

/// The correction `v` of `r[ckks.moddown]`: a binary64 sum in the order of the special primes, rounded half to even.
fn overflow<'a>(shares: impl Iterator<Item = &'a Integer>, primes: &[u64]) -> Integer {
    // Shares are below 2^49 in magnitude and exact in binary64. Rust neither fuses nor reorders these operations.
    let mut terms = shares.zip(primes).map(|(y, &p)| y.to_f64() * (1.0 / p as f64));
    let first = terms.next().unwrap_or(0.0);
    let sum = terms.fold(first, |sum, term| sum + term);
    // |sum| is at most half the number of special primes: the conversion is exact.
    Integer::from(sum.round_ties_even() as i64)
}

/// `(x - <x>_p) / p` in `R_{Q_l}` for `x` in `R_{Q_l p}`, `p` the first special prime (`r[ckks.encrypt.public]`).
///
/// # Errors
/// [`ReferenceError::BadOperand`] if `x` is not a polynomial modulo `Q_l p`; level errors of [`Parameters::chain`].
pub fn divide_first_special(params: &Parameters, x: &Poly, level: usize) -> Result<Poly, ReferenceError> {
    let p = Integer::from(params.p()[0]);
    let target = params.modulus(level)?;
    check_modulus("division by the first special prime", x, &Integer::from(&target * &p))?;
    Ok(x.map_into(&target, |c| (c - centred(c, &p)).div_exact(&p)))
}

/// `(x - <x>_{q_l}) / q_l` in `R_{Q_{l-1}}` (`r[ckks.rescale]`).
///
/// # Errors
/// [`ReferenceError::LevelExhausted`] at level 0; [`ReferenceError::BadOperand`] if `x` is not modulo `Q_l`.
pub fn rescale_poly(params: &Parameters, x: &Poly, level: usize) -> Result<Poly, ReferenceError> {
    if level == 0 {
        return Err(ReferenceError::LevelExhausted { operation: "rescale", expected: 1, got: 0 });
    }
    check_modulus("rescale", x, &params.modulus(level)?)?;
    let last = Integer::from(params.q()[level]);
    let target = params.modulus(level - 1)?;
    Ok(x.map_into(&target, |c| (c - centred(c, &last)).div_exact(&last)))
}

fn check_modulus(operation: &'static str, x: &Poly, modulus: &Integer) -> Result<(), ReferenceError> {
    if x.modulus() == modulus {
        return Ok(());
    }
    let (expected, got) = (format!("modulus {modulus}"), format!("modulus {}", x.modulus()));
    Err(ReferenceError::BadOperand { operation, expected, got })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{Seed, StreamId, uniform_poly};
    use rug::Complete;
    use touchstone_spec::params::ParameterLiteral;

    fn toy(name: &str) -> Parameters {
        Parameters::new(&ParameterLiteral::preset(name).unwrap()).unwrap()
    }

    fn random(params: &Parameters, level: usize, seed: Seed, extended: bool) -> Poly {
        let mut primes = params.chain(level).unwrap().to_vec();
        if extended {
            primes.extend(params.p());
        }
        let ids: Vec<u32> = (0..primes.len() as u32).collect();
        uniform_poly(&seed, StreamId::new(99, 0), params.n(), &primes, &ids).unwrap()
    }

    #[test]
    fn bconv_is_the_residue_plus_a_multiple_of_the_basis_and_odd() {
        let params = toy("toy-n5");
        for seed in 0..20u8 {
            let x = random(&params, 5, [seed; 16], false);
            let basis = &params.q()[1..4];
            let whole = product(basis);
            let value = bconv(&x, basis).unwrap();
            for (c, y) in x.coefficients().iter().zip(&value) {
                assert!((c - y).complete().is_divisible(&whole), "seed {seed}");
                assert!(Integer::from(y * 2).abs() <= Integer::from(&whole * 3), "seed {seed}");
            }
            let negated: Vec<Integer> = value.into_iter().map(|y| -y).collect();
            assert_eq!(bconv(&x.neg(), basis).unwrap(), negated, "seed {seed}");
        }
    }

    #[test]
    fn digits_recompose_with_the_gadget() {
        let params = toy("toy-n8");
        for level in [0, 4, 8] {
            let x = random(&params, level, [3; 16], false);
            for (digit, lift) in params.digits(level).into_iter().zip(mod_up(&params, &x, level).unwrap()) {
                let primes = &params.q()[digit];
                assert_eq!(lift.residues(primes), x.residues(primes));
            }
        }
    }

    #[test]
    fn mod_down_is_the_nearest_quotient_up_to_half_a_unit() {
        // The binary64 correction can differ from exact rounding only where the fraction is within a few units of
        // 2^-52 of one half, which 20 * 256 random draws do not meet.
        let params = toy("toy-n8");
        let special = params.special_modulus();
        for seed in 0..20u8 {
            let x = random(&params, 3, [seed; 16], true);
            let expected = x.map_into(&params.modulus(3).unwrap(), |c| (c - centred(c, &special)).div_exact(&special));
            assert_eq!(mod_down(&params, &x, 3).unwrap(), expected, "seed {seed}");
        }
    }

    #[test]
    fn rescale_is_the_nearest_quotient() {
        let params = toy("toy-n5");
        let x = random(&params, 3, [9; 16], false);
        let y = rescale_poly(&params, &x, 3).unwrap();
        let q = Integer::from(params.q()[3]);
        for (a, b) in x.centred().iter().zip(y.centred()) {
            assert!((a - b * &q).abs() * 2 < q);
        }
        let wrong_level = rescale_poly(&params, &x, 2);
        assert!(matches!(wrong_level, Err(ReferenceError::BadOperand { .. })));
        let bottom = random(&params, 0, [9; 16], false);
        assert!(matches!(rescale_poly(&params, &bottom, 0), Err(ReferenceError::LevelExhausted { .. })));
    }

    #[test]
    fn changes_of_modulus_commute_with_automorphisms() {
        let params = toy("toy-n5");
        for (seed, g) in (0..20u8).zip((1u64..64).step_by(2)) {
            let x = random(&params, 5, [seed; 16], false);
            let wide = random(&params, 5, [seed; 16], true);
            let image = |p: &Poly| p.automorphism(g).unwrap();
            let lifts = mod_up(&params, &x, 5).unwrap();
            assert_eq!(mod_up(&params, &image(&x), 5).unwrap(), lifts.iter().map(image).collect::<Vec<_>>());
            assert_eq!(mod_down(&params, &image(&wide), 5).unwrap(), image(&mod_down(&params, &wide, 5).unwrap()));
        }
    }
}
