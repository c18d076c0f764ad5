//! Power-Softmax, rotary embedding and attention.

use super::functions::reciprocal;
use super::{About, encrypted, matrix, per_row, rows};
use crate::error::ReferenceError;
use crate::interval::Interval;
use crate::model::{Form, Real, power_softmax as exact_weights};
use crate::vectors::noise::{PREC, Steps, Tracked, real, split};
use touchstone_spec::vector::{Case, Value};

/// Relative error that a case grants to the reciprocal.
const ERROR: f64 = 1.0 / (1u64 << 20) as f64;

/// Parts of one row of Power-Softmax.
struct Row {
    powers: Vec<Tracked>,
    denominator: Tracked,
    reciprocal: Tracked,
    weights: Vec<Tracked>,
}

/// One row in the mean form; `live` says which scores count.
fn row(scores: &[Tracked], live: &[bool], p: u32, eps: f64, interval: [f64; 2], steps: &Steps) -> Row {
    let count = live.iter().filter(|&&live| live).count();
    let power = |(x, &live): (&Tracked, &bool)| match live {
        true => x.power(p, steps).share(count, steps),
        false => Tracked::zero(),
    };
    let powers: Vec<Tracked> = scores.iter().zip(live).map(power).collect();
    let denominator = powers.iter().fold(Tracked::zero(), |sum, y| sum.add(y));
    let reciprocal = reciprocal(&denominator.add_constant(eps, steps), interval, ERROR, steps);
    let weight = |(y, &live): (&Tracked, &bool)| if live { y.mul(&reciprocal, steps) } else { Tracked::zero() };
    let weights = powers.iter().zip(live).map(weight).collect();
    Row { powers, denominator, reciprocal, weights }
}

/// A Power-Softmax case before its values are computed.
struct Softmax<'a> {
    name: &'a str,
    about: &'a str,
    rule: &'a str,
    flags: &'a [&'a str],
    /// Bound on scores.
    size: f64,
    live: [bool; 8],
    eps: f64,
}

/// All cases of Power-Softmax.
pub fn power_softmax(steps: &Steps) -> Result<Vec<Case>, ReferenceError> {
    let all = [true; 8];
    let eps = 2f64.powi(-10);
    let plain = Softmax { name: "", about: "", rule: "psm.definition", flags: &[], size: 1.0, live: all, eps };
    let mut cases = Vec::new();
    for p in [2, 4, 6, 8, 10, 12] {
        let about = "Scores in [-1, 1]: powers over many binades, one row of the largest scores, one of zeros.";
        cases
            .push(Softmax { name: "wide-spread", about, flags: &["wide-spread", "zero-row"], ..plain }.case(p, steps)?);
    }
    let first = [true, false, false, false, false, false, false, false];
    let some = [true, true, false, true, false, true, true, false];
    let others = [
        Softmax {
            name: "tiny-scores",
            about: "Scores up to 1/4: eps decides, the weights sum to far less than 1.",
            rule: "psm.eps",
            flags: &["eps-hazard"],
            size: 0.25,
            ..plain
        },
        Softmax {
            name: "one-live-key",
            about: "One live key: its weight is x^p / (eps + x^p).",
            flags: &["one-live-key", "masked"],
            live: first,
            ..plain
        },
        Softmax {
            name: "masked",
            about: "Three of eight keys are masked; masked scores are large and must not matter.",
            flags: &["masked"],
            live: some,
            ..plain
        },
        Softmax { name: "small-eps", about: "eps = 2^-14.", flags: &["wide-spread"], eps: 2f64.powi(-14), ..plain },
    ];
    for case in &others {
        cases.push(case.case(4, steps)?);
    }
    cases.extend(refused()?);
    Ok(cases)
}

impl Softmax<'_> {
    fn case(&self, p: u32, steps: &Steps) -> Result<Case, ReferenceError> {
        let Self { live, eps, .. } = *self;
        let mut x = rows(600 + p, 8, -self.size, self.size);
        x[1] = vec![self.size; 8];
        x[2] = vec![0.0; 8];
        let interval = [eps, eps + self.size.powi(p as i32)];
        let parts = per_row(&encrypted(&x, steps), |x| row(x, &live, p, eps, interval, steps));
        for (x, part) in x.iter().zip(&parts) {
            self.agree(x, part, p)?;
        }
        let rows = |f: fn(&Row) -> Vec<Tracked>| parts.iter().map(f).collect::<Vec<_>>();
        let values = vec![
            ("powers", rows(|row| row.powers.clone())),
            ("denominator", rows(|row| vec![row.denominator.clone()])),
            ("reciprocal", rows(|row| vec![row.reciprocal.clone()])),
            ("weights", rows(|row| row.weights.clone())),
        ];
        let about = About {
            id: format!("psm/p{p}-n8/{}", self.name),
            rule: self.rule,
            about: self.about,
            flags: self.flags,
            op: "power-softmax",
            encrypted: &["x"],
        };
        let mask: Vec<u32> = live.iter().map(|&live| u32::from(live)).collect();
        let inputs = vec![
            ("x", matrix(&x)),
            ("p", Value::integer(p)),
            ("eps", Value::real(eps)),
            ("form", Value::word("mean")),
            ("live", Value::integers(&mask)),
            ("interval", Value::reals(&interval)),
            ("error", Value::real(ERROR)),
        ];
        about.case(inputs, values)
    }

    /// The tracked weights contain those of the definition: a second route.
    fn agree(&self, x: &[f64], row: &Row, p: u32) -> Result<(), ReferenceError> {
        let alive = |(_, live): &(&f64, &bool)| **live;
        let scores: Vec<Interval> = x.iter().zip(&self.live).filter(alive).map(|(&x, _)| real(x)).collect();
        let weights = exact_weights(Form::Mean, &scores, p, self.eps, PREC)?;
        let tracked = row.weights.iter().zip(&self.live).filter(|(_, live)| **live).map(|(weight, _)| weight);
        for (exact, tracked) in weights.iter().zip(tracked) {
            if !(exact - &tracked.value).contains_zero() {
                return Err(ReferenceError::BadOperand {
                    operation: "Power-Softmax vectors",
                    expected: exact.to_string(),
                    got: tracked.value.to_string(),
                });
            }
        }
        Ok(())
    }
}

fn refused() -> Result<Vec<Case>, ReferenceError> {
    let x = rows(690, 4, -1.0, 1.0);
    let zeros = vec![vec![0.0; 4]; x.len()];
    let table = [
        ("psm/p3-n4/odd-power", "psm.definition", "p = 3.", "odd-power", 3, Form::Mean, "mean", x),
        (
            "psm/p4-n4/ideal-zero-row",
            "psm.ideal",
            "The ideal form of a row of zeros.",
            "zero-row",
            4,
            Form::Ideal,
            "ideal",
            zeros,
        ),
    ];
    let case = |(id, rule, about, flag, p, form, word, x): (&str, _, _, _, _, _, _, Vec<Vec<f64>>)| {
        let scores: Vec<Interval> = x[0].iter().map(|&x| real(x)).collect();
        if exact_weights(form, &scores, p, 0.125, PREC).is_ok() {
            return Err(ReferenceError::BadOperand {
                operation: "refused vectors",
                expected: format!("an error from the reference for {id}"),
                got: "weights".to_owned(),
            });
        }
        let about = About { id: id.to_owned(), rule, about, flags: &[flag], op: "power-softmax", encrypted: &["x"] };
        Ok(about.refused(vec![
            ("x", matrix(&x)),
            ("p", Value::integer(p)),
            ("eps", Value::real(0.125)),
            ("form", Value::word(word)),
            ("live", Value::integers(&[1; 4])),
            ("interval", Value::reals(&[0.125, 2.0])),
            ("error", Value::real(ERROR)),
        ]))
    };
    table.into_iter().map(case).collect()
}

/// Rotary embedding of encrypted rows at a public position.
pub fn rotary(steps: &Steps) -> Result<Vec<Case>, ReferenceError> {
    let (size, base) = (4, 100.0);
    let case = |position: usize| {
        let x = rows(700, 6, -1.0, 1.0);
        let angles: Vec<[Interval; 2]> =
            (0..size / 2).map(|i| <Interval as Real>::rotation(position, i, size, base, PREC)).collect();
        let values = per_row(&encrypted(&x, steps), |x| turn(x, &angles, steps));
        let about = About {
            id: format!("circuit/rotary/position-{position}"),
            rule: "model.rotary",
            about: "The first four of six dimensions are turned in pairs (i, i + 2).",
            flags: &[],
            op: "rotary",
            encrypted: &["x"],
        };
        let inputs = vec![
            ("x", matrix(&x)),
            ("position", Value::integer(position)),
            ("size", Value::integer(size)),
            ("base", Value::real(base)),
        ];
        about.case(inputs, vec![("value", values)])
    };
    [0, 3, 2047].into_iter().map(case).collect()
}

/// Turned pairs; the exact values use enclosures of the angles, the errors their binary64 roundings.
fn turn(x: &[Tracked], angles: &[[Interval; 2]], steps: &Steps) -> Vec<Tracked> {
    let half = angles.len();
    let mut turned = x.to_vec();
    for (i, [cos, sin]) in angles.iter().enumerate() {
        let ((c, c_off), (s, s_off)) = (split(cos), split(sin));
        let (a, b) = (&x[i], &x[i + half]);
        let pair = [a.clone(), b.clone()];
        let exact = [&(&a.value * cos) - &(&b.value * sin), &(&b.value * cos) + &(&a.value * sin)];
        let [first, second] = exact;
        turned[i] = Tracked::affine(0.0, &[c, -s], &pair, steps).standing_for(first, c_off + s_off);
        turned[i + half] = Tracked::affine(0.0, &[s, c], &pair, steps).standing_for(second, c_off + s_off);
    }
    turned
}

/// Causal attention of one head.
pub fn attention(steps: &Steps) -> Result<Vec<Case>, ReferenceError> {
    let (tokens, size, p, eps) = (3usize, 2usize, 4, 2f64.powi(-6));
    let divisor = 2.0;
    let [q, k, v] = [800, 801, 802].map(|object| rows(object, tokens * size, -1.0, 1.0));
    let interval = [eps, eps + 1.0];
    let [qs, ks, vs] = [&q, &k, &v].map(|x| encrypted(x, steps));
    let mut values: [Vec<Vec<Tracked>>; 5] = Default::default();
    for ((q, k), v) in qs.iter().zip(&ks).zip(&vs) {
        let mut entry: [Vec<Tracked>; 5] = Default::default();
        for i in 0..tokens {
            let dot = |j: usize| {
                let pairs = (0..size).map(|c| q[i * size + c].mul(&k[j * size + c], steps));
                pairs.fold(Tracked::zero(), |sum, y| sum.add(&y)).scale(1.0 / divisor, steps)
            };
            let scores: Vec<Tracked> = (0..=i).map(dot).collect();
            let row = row(&scores, &vec![true; i + 1], p, eps, interval, steps);
            let mix = |c: usize| {
                let terms = row.powers.iter().enumerate().map(|(j, y)| y.mul(&v[j * size + c], steps));
                terms.fold(Tracked::zero(), |sum, y| sum.add(&y)).mul(&row.reciprocal, steps)
            };
            let padding = || vec![Tracked::zero(); tokens - i - 1];
            entry[0].extend(scores.into_iter().chain(padding()));
            entry[4].extend((0..size).map(mix));
            entry[1].extend(row.powers.into_iter().chain(padding()));
            entry[2].push(row.denominator);
            entry[3].push(row.reciprocal);
        }
        values.iter_mut().zip(entry).for_each(|(all, one)| all.push(one));
    }
    let about = About {
        id: "circuit/attention/causal-3".to_owned(),
        rule: "model.taps",
        about: "One causal head on three tokens of size 2: scores, powers, denominators, reciprocals, weighted values.",
        flags: &["one-live-key"],
        op: "attention",
        encrypted: &["q", "k", "v"],
    };
    let inputs = vec![
        ("q", matrix(&q)),
        ("k", matrix(&k)),
        ("v", matrix(&v)),
        ("tokens", Value::integer(tokens)),
        ("p", Value::integer(p)),
        ("eps", Value::real(eps)),
        ("divisor", Value::real(divisor)),
        ("interval", Value::reals(&interval)),
        ("error", Value::real(ERROR)),
    ];
    let names = ["scores", "powers", "denominator", "reciprocal", "heads"];
    Ok(vec![about.case(inputs, names.into_iter().zip(values).collect())?])
}
