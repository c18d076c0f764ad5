//! Vectors of residue arithmetic and of random draws.

use super::suite::{Suite, hex};
use crate::ckks::{Parameters, bconv, centred_shares, mod_down};
use crate::error::ReferenceError;
use crate::ring::{Poly, product, residue};
use crate::sample::{Seed, Stream, StreamId};
use rug::Integer;
use rug::integer::IsPrime;
use std::collections::BTreeMap;
use touchstone_spec::params::ParameterLiteral;
use touchstone_spec::sampling::{SPECIAL_LIMB, domain};
use touchstone_spec::vector::{Accept, Call, Case, DRAW_DOMAIN, Expectation, Group, Level, Value};

/// Seed of all draws of this level.
const SEED: Seed = *b"arithmetic level";

/// Adds all files of this level.
pub(super) fn add(suite: &mut Suite) -> Result<(), ReferenceError> {
    let preset = "toy-n5";
    let params = Parameters::new(&ParameterLiteral::preset(preset)?)?;
    let files = [
        ("arithmetic/modular", "arith.modular", modular(&params)),
        ("arithmetic/negacyclic-product", "arith.ntt", products(&params)?),
        ("arithmetic/base-conversion", "arith.bconv", conversions(&params)?),
        ("arithmetic/sampling", "det.sampling", sampling(&params)?),
    ];
    for (name, feature, cases) in files {
        let group = Group {
            features: vec![feature.to_owned()],
            seed: hex(&SEED),
            rotations: Vec::new(),
            conjugation: false,
            inputs: BTreeMap::new(),
            cases,
        };
        suite.add(Level::Arithmetic, name, preset, vec![group])?;
    }
    Ok(())
}

/// An exact case from named values.
fn exact<const I: usize>(
    id: &str,
    rule: &str,
    about: &str,
    op: &str,
    inputs: [(&str, Value); I],
    outputs: Vec<(&str, Value)>,
) -> Case {
    let expect = |(name, value): (&str, Value)| Expectation { name: name.to_owned(), value, bound: None };
    Case {
        id: id.to_owned(),
        rule: rule.to_owned(),
        about: about.to_owned(),
        flags: Vec::new(),
        call: Call { op: op.to_owned(), inputs: inputs.map(|(name, value)| (name.to_owned(), value)).into() },
        encrypted: Vec::new(),
        taps: Vec::new(),
        outputs: outputs.into_iter().map(expect).collect(),
        accept: Accept::Exact,
    }
}

/// A case that must be refused.
fn reject<const I: usize>(id: &str, about: &str, op: &str, inputs: [(&str, Value); I], flag: &str) -> Case {
    let mut case = exact(id, "ckks.ring", about, op, inputs, Vec::new());
    case.flags = vec![flag.to_owned()];
    case.accept = Accept::Reject { errors: vec!["argument".to_owned()] };
    case
}

/// The largest prime below `2^50` that is 1 modulo `2n`.
fn largest_prime(n: u64) -> u64 {
    let mut candidate = (1u64 << 50) - 2 * n + 1;
    while Integer::from(candidate).is_probably_prime(40) == IsPrime::No {
        candidate -= 2 * n;
    }
    candidate
}

/// Residues where reductions go wrong first.
fn extremes(q: u64) -> [u64; 6] {
    [0, 1, 2, q / 2, q / 2 + 1, q - 1]
}

fn draws(n: usize, q: u64, object: u32) -> Vec<u64> {
    Stream::new(&SEED, StreamId::new(DRAW_DOMAIN, object)).uniform(n, q)
}

fn modular(params: &Parameters) -> Vec<Case> {
    let primes = [
        ("top-chain-prime", params.q()[params.max_level()], vec![]),
        ("largest-prime", largest_prime(params.n() as u64), vec!["largest-prime"]),
    ];
    let mut cases = Vec::new();
    for (name, q, flags) in primes {
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for x in extremes(q) {
            for y in extremes(q) {
                a.push(x);
                b.push(y);
            }
        }
        a.extend(draws(28, q, 1));
        b.extend(draws(28, q, 2));
        let each = |f: fn(Integer, u64) -> Integer| -> Vec<u64> {
            a.iter().zip(&b).map(|(&x, &y)| residue(&f(Integer::from(x), y), q)).collect()
        };
        let outputs = vec![
            ("sum", Value::integers(&each(|x, y| x + y))),
            ("difference", Value::integers(&each(|x, y| x - y))),
            ("product", Value::integers(&each(|x, y| x * y))),
        ];
        let inputs = [("modulus", Value::integer(q)), ("a", Value::integers(&a)), ("b", Value::integers(&b))];
        let id = format!("arith/modular/{name}");
        let about = "Sums, differences and products of all pairs of extreme residues, then of random ones.";
        let mut case = exact(&id, "ckks.ring", about, "modular", inputs, outputs);
        case.flags = flags.into_iter().chain(["extreme-residues"]).map(str::to_owned).collect();
        cases.push(case);
    }
    cases
}

/// Name, description, modulus, factors and flags of a product.
type Product<'a> = (&'a str, &'a str, u64, Vec<u64>, Vec<u64>, &'a [&'a str]);

fn products(params: &Parameters) -> Result<Vec<Case>, ReferenceError> {
    let n = params.n();
    let (top, largest) = (params.q()[params.max_level()], largest_prime(n as u64));
    let cycle = |q: u64| (0..n).map(|t| extremes(q)[(5 * t + t * t / 3) % 6]).collect::<Vec<u64>>();
    let monomial = |t: usize, c: u64| (0..n).map(|i| if i == t { c } else { 0 }).collect::<Vec<u64>>();
    let table: [Product<'_>; 5] = [
        ("random", "Random factors.", top, draws(n, top, 3), draws(n, top, 4), &[]),
        ("largest-prime", "Random factors.", largest, draws(n, largest, 5), draws(n, largest, 6), &["largest-prime"]),
        (
            "extremes",
            "Extreme residues.",
            top,
            cycle(top),
            cycle(top).into_iter().rev().collect(),
            &["extreme-residues"],
        ),
        (
            "all-minus-one",
            "All coefficients -1: sums of N products of the largest residues.",
            largest,
            vec![largest - 1; n],
            vec![largest - 1; n],
            &["extreme-residues", "largest-prime"],
        ),
        (
            "sign-change",
            "X^(N-1) times X is -1: the wrap-around that makes the product negacyclic.",
            top,
            monomial(n - 1, 1),
            monomial(1, 1),
            &[],
        ),
    ];
    let mut cases = Vec::new();
    for (name, about, q, a, b, flags) in table {
        let poly = |x: &[u64]| Poly::from_residues(&[x.to_vec()], &[q]);
        let c = poly(&a)?.mul_schoolbook(&poly(&b)?)?.residues(&[q]).concat();
        let inputs = [("modulus", Value::integer(q)), ("a", Value::integers(&a)), ("b", Value::integers(&b))];
        let outputs = vec![("product", Value::integers(&c))];
        let id = format!("arith/product/{name}");
        let mut case = exact(&id, "ckks.ring", about, "negacyclic-product", inputs, outputs);
        case.flags = flags.iter().map(|&flag| flag.to_owned()).collect();
        cases.push(case);
    }
    let short = [
        ("modulus", Value::integer(top)),
        ("a", Value::integers(&draws(n - 1, top, 3))),
        ("b", Value::integers(&draws(n, top, 4))),
    ];
    let about = "Factors of N - 1 and N coefficients.";
    cases.push(reject("arith/product/short-factor", about, "negacyclic-product", short, "malformed"));
    let mut large = draws(n, top, 3);
    large[7] = top;
    let large =
        [("modulus", Value::integer(top)), ("a", Value::integers(&large)), ("b", Value::integers(&draws(n, top, 4)))];
    let about = "A coefficient that equals the modulus.";
    cases.push(reject("arith/product/residue-not-below-modulus", about, "negacyclic-product", large, "malformed"));
    Ok(cases)
}

fn matrix(rows: &[Vec<u64>]) -> Value {
    Value::List(rows.iter().map(|row| Value::integers(row)).collect())
}

fn conversions(params: &Parameters) -> Result<Vec<Case>, ReferenceError> {
    let n = params.n();
    let random = |primes: &[u64], object: u32| -> Vec<Vec<u64>> {
        (object..).zip(primes).map(|(object, &q)| draws(n, q, object)).collect()
    };
    let extreme = |primes: &[u64]| -> Vec<Vec<u64>> {
        (0..).zip(primes).map(|(i, &q)| (0..n).map(|t| extremes(q)[(t + i * (1 + t / 6)) % 6]).collect()).collect()
    };
    let mut cases = Vec::new();
    for (name, from, to, x, flags) in [
        ("one-digit", &params.q()[..2], [&params.q()[2..], params.p()].concat(), random(&params.q()[..2], 10), &[][..]),
        ("extremes", &params.q()[..2], params.p().to_vec(), extreme(&params.q()[..2]), &["extreme-residues"][..]),
        ("one-prime", &params.q()[5..6], params.p().to_vec(), random(&params.q()[5..6], 20), &["partial-digit"][..]),
    ] {
        let poly = Poly::from_residues(&x, from)?;
        let whole = bconv(&poly, from)?;
        let outputs: Vec<Vec<u64>> = to.iter().map(|&q| whole.iter().map(|c| residue(c, q)).collect()).collect();
        let shares = centred_shares(&poly, from)?;
        let shares = Value::List(shares.iter().map(|row| Value::integers(row)).collect());
        let inputs = [("basis", Value::integers(from)), ("target", Value::integers(&to)), ("x", matrix(&x))];
        let about = "Fast base conversion; its overflow by a multiple of the basis product is part of the result.";
        let id = format!("arith/bconv/{name}");
        let mut case = exact(&id, "ckks.bconv", about, "base-conversion", inputs, vec![("residues", matrix(&outputs))]);
        case.taps = vec![Expectation { name: "shares".to_owned(), value: shares, bound: None }];
        case.flags = flags.iter().map(|&flag| flag.to_owned()).collect();
        cases.push(case);
    }
    for (name, level, extreme_input) in [("level-3", 3, false), ("level-0", 0, false), ("extremes", 2, true)] {
        let primes = params.extended_chain(level)?;
        let x = if extreme_input { extreme(&primes) } else { random(&primes, 30) };
        let down = mod_down(params, &Poly::from_residues(&x, &primes)?, level)?;
        let outputs = vec![("residues", matrix(&down.residues(params.chain(level)?)))];
        let inputs = [
            ("chain", Value::integers(params.chain(level)?)),
            ("special", Value::integers(params.p())),
            ("x", matrix(&x)),
        ];
        let about = "Division by P with the rounding correction.";
        let id = format!("arith/mod-down/{name}");
        let mut case = exact(&id, "ckks.moddown", about, "mod-down", inputs, outputs);
        case.flags = if extreme_input { vec!["extreme-residues".to_owned()] } else { Vec::new() };
        case.flags.extend((level == 0).then(|| "lowest-level".to_owned()));
        cases.push(case);
    }
    cases.push(half_way(params)?);
    Ok(cases)
}

/// ModDown of integers next to `(P +- 1) / 2`, where the rounding correction decides.
fn half_way(params: &Parameters) -> Result<Case, ReferenceError> {
    let special = product(params.p());
    let half = Integer::from(&special / 2u32);
    let integers: Vec<Integer> = (0..params.n() as i64)
        .map(|t| Integer::from(&half + (t % 5 - 2)) + Integer::from(&special * (t * 1001)))
        .collect();
    let primes = params.extended_chain(1)?;
    let x = Poly::from_integers(&integers, &params.extended_modulus(1)?);
    let down = mod_down(params, &x, 1)?;
    let inputs = [
        ("chain", Value::integers(params.chain(1)?)),
        ("special", Value::integers(params.p())),
        ("x", matrix(&x.residues(&primes))),
    ];
    let outputs = vec![("residues", matrix(&down.residues(params.chain(1)?)))];
    let about = "Integers within 2 of a multiple of P plus P/2: binary64 rounding of the quotient decides.";
    let mut case = exact("arith/mod-down/half-way", "ckks.moddown", about, "mod-down", inputs, outputs);
    case.flags = vec!["extreme-residues".to_owned()];
    Ok(case)
}

/// The inputs that name a stream.
fn stream_inputs(id: StreamId) -> [(&'static str, Value); 2] {
    let name = Value::integers(&[id.domain, id.object, id.digit, id.limb]);
    [("seed", Value::word(&hex(&SEED))), ("stream", name)]
}

fn sampling(params: &Parameters) -> Result<Vec<Case>, ReferenceError> {
    let n = 64;
    let count = ("count", Value::integer(n));
    let id = StreamId { domain: domain::SWITCH_UNIFORM, object: 5, digit: 1, limb: SPECIAL_LIMB + 1 };
    let bytes: Vec<u8> = {
        let mut stream = Stream::new(&SEED, id);
        (0..n).map(|_| stream.next_byte()).collect()
    };
    let [seed, name] = stream_inputs(id);
    let mut cases = vec![exact(
        "arith/sampling/stream",
        "sample.stream",
        "The first bytes of a stream: four blocks of the cipher.",
        "stream-bytes",
        [seed, name, count.clone()],
        vec![("bytes", Value::word(&hex(&bytes)))],
    )];
    for (case, prime) in [("uniform", params.q()[1]), ("uniform-special", params.p()[1])] {
        let id = StreamId { domain: domain::ENCRYPT_UNIFORM, object: 3, digit: 0, limb: 1 };
        let [seed, name] = stream_inputs(id);
        let drawn = Stream::new(&SEED, id).uniform(n, prime);
        let about = "Residues by rejection; a prime just above a power of two rejects half of the words.";
        let inputs = [seed, name, count.clone(), ("modulus", Value::integer(prime))];
        let outputs = vec![("residues", Value::integers(&drawn))];
        cases.push(exact(&format!("arith/sampling/{case}"), "sample.uniform", about, "uniform", inputs, outputs));
    }
    let id = StreamId::new(domain::ENCRYPT_TERNARY, 9);
    let [seed, name] = stream_inputs(id);
    let outputs = vec![("coefficients", Value::integers(&Stream::new(&SEED, id).ternary(n)))];
    let about = "Ternary coefficients, byte by byte; 255 is rejected.";
    cases.push(exact(
        "arith/sampling/ternary",
        "sample.ternary",
        about,
        "ternary",
        [seed, name, count.clone()],
        outputs,
    ));
    let id = StreamId::new(domain::SECRET, 0);
    let [seed, name] = stream_inputs(id);
    let outputs = vec![("coefficients", Value::integers(&Stream::new(&SEED, id).fixed_weight(n, n / 2)?))];
    let about = "Half of the coefficients are set, so that positions repeat and are rejected.";
    let inputs = [seed, name, count.clone(), ("weight", Value::integer(n / 2))];
    cases.push(exact("arith/sampling/fixed-weight", "sample.fixed-weight", about, "fixed-weight", inputs, outputs));
    let id = StreamId::new(domain::ENCRYPT_ERROR, 2);
    let [seed, name] = stream_inputs(id);
    let count = Value::integer(1024);
    let outputs = vec![("coefficients", Value::integers(&Stream::new(&SEED, id).gaussian(1024)))];
    let about = "Discrete Gaussian coefficients by table; enough for the tail.";
    cases.push(exact(
        "arith/sampling/gaussian",
        "sample.gaussian",
        about,
        "gaussian",
        [seed, name, ("count", count)],
        outputs,
    ));
    Ok(cases)
}
