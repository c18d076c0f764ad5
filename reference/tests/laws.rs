//! Laws of the model's functions, on certified intervals.

use proptest::prelude::*;
use touchstone_reference::interval::Interval;
use touchstone_reference::model::{
    Form, Goldschmidt, Head, Norm, Ring, attention, gelu, layer_norm, newton_inverse_sqrt, newton_reciprocal, rotary,
};

const PREC: u32 = 192;
/// Far above the radii of a few dozen operations at this precision, far below anything that a law is about.
const SHARP: f64 = 1e-35;

fn point(x: f64) -> Interval {
    Interval::from_f64(x, PREC)
}

fn points(x: &[f64]) -> Vec<Interval> {
    x.iter().map(|&x| point(x)).collect()
}

/// Whether two enclosures may be of the same number, and are sharp enough to say so.
fn agree(a: &Interval, b: &Interval) -> bool {
    let difference = a - b;
    difference.contains_zero() && difference.rad() <= (a.magnitude() + 1u32) * SHARP
}

proptest! {
    // Failures are printed with their inputs; no file of them is kept.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// The error of Goldschmidt's iteration is within its bound everywhere and reaches it at the lower end
    /// (`r[goldschmidt.error]`).
    #[test]
    fn goldschmidt_error_is_its_bound(lo in 0.01..1.0f64, ratio in 1.0..1000.0f64, part in 0.0..=1.0f64, steps in 1u32..12, relaxed: bool) {
        let interval = [lo, lo * ratio];
        let schedule = Goldschmidt { interval, steps, relaxed };
        let bound = schedule.relative_error::<Interval>(PREC).unwrap();
        let one = point(1.0);
        let error = |a: f64| &one - &(&point(a) * &schedule.value(&point(a), PREC).unwrap());
        let a = (lo + (interval[1] - lo) * part).clamp(lo, interval[1]);
        prop_assert!(*error(a).abs().lo() <= *bound.hi(), "at {a}: {} over {bound}", error(a));
        prop_assert!(agree(&error(lo), &bound), "{} and {bound}", error(lo));
    }

    /// More steps never hurt, and relaxed steps are at least as good as plain ones.
    #[test]
    fn goldschmidt_steps_help(ratio in 1.5..1e4f64, steps in 1u32..16) {
        let error = |steps, relaxed| {
            Goldschmidt { interval: [1.0, ratio], steps, relaxed }.relative_error::<Interval>(PREC).unwrap()
        };
        prop_assert!(error(steps + 1, false).lo() < error(steps, false).hi());
        prop_assert!(error(steps, true).lo() <= error(steps, false).hi());
    }

    /// One Newton step maps the error as `r[newton.inverse-sqrt]` and `r[newton.reciprocal]` say.
    #[test]
    fn newton_errors(a in 0.01..100.0f64, t in 0.1..1.6f64, steps in 0u32..6) {
        let (one, three, half) = (point(1.0), point(3.0), point(0.5));
        let root = point(a).sqrt();
        let start = t / a.sqrt();
        let error = |steps| &one - &(&root * &newton_inverse_sqrt(&point(a), start, steps, PREC).unwrap());
        let e = error(steps);
        prop_assert!(agree(&error(steps + 1), &(&(&e.sqr() * &(&three - &e)) * &half)));
        let start = t / a;
        let error = |steps| &one - &(&point(a) * &newton_reciprocal(&point(a), start, steps, PREC).unwrap());
        prop_assert!(agree(&error(steps + 1), &error(steps).sqr()));
    }

    /// A normalised row has mean 0 and variance `v / (v + eps)`, and does not see a shift.
    #[test]
    fn layer_norm_normalises(x in prop::collection::vec(-4.0..4.0f64, 2..9), eps in 1e-6..0.1f64) {
        let n = point(x.len() as f64);
        let norm = Norm { gamma: vec![1.0; x.len()], beta: vec![0.0; x.len()] };
        let rows = layer_norm(&points(&x), &norm, eps, PREC).unwrap();
        prop_assert!(agree(&Interval::sum(&rows, PREC), &point(0.0)));
        let mean = &Interval::sum(&points(&x), PREC) / &n;
        let squares = |row: Vec<Interval>| &Interval::sum(&row.iter().map(Interval::sqr).collect::<Vec<_>>(), PREC) / &n;
        let variance = squares(points(&x).iter().map(|x| x - &mean).collect());
        prop_assert!(agree(&squares(rows.clone()), &(&variance / &(&variance + &point(eps)))));
        let shifted: Vec<Interval> = points(&x).iter().map(|x| x + &point(0.5)).collect();
        for (a, b) in layer_norm(&shifted, &norm, eps, PREC).unwrap().iter().zip(&rows) {
            prop_assert!(agree(a, b));
        }
    }

    /// Turning keeps lengths, and scores depend on the distance of positions only.
    #[test]
    fn rotary_turns(q in prop::collection::vec(-2.0..2.0f64, 6), k in prop::collection::vec(-2.0..2.0f64, 6), m in 0usize..500, n in 0usize..500) {
        let at = |x: &[f64], position| rotary(&points(x), position, 4, 10000.0, PREC).unwrap();
        let dot = |a: &[Interval], b: &[Interval]| Interval::inner(a.iter().zip(b), PREC);
        prop_assert!(agree(&dot(&at(&q, m), &at(&q, m)), &dot(&points(&q), &points(&q))));
        prop_assert!(agree(&dot(&at(&q, m + n), &at(&k, n)), &dot(&at(&q, m), &points(&k))));
        prop_assert_eq!(&at(&q, m)[4..], &points(&q[4..]), "dimensions beyond the size stay");
    }

    /// Constant values come out multiplied by the total weight, and a causal row is the row of the shorter input.
    #[test]
    fn attention_weighs(x in prop::collection::vec(-2.0..2.0f64, 9), p in prop::sample::select(vec![2u32, 4, 6, 8, 10, 12])) {
        let head = Head { form: Form::Ideal, power: p, eps: 1e-3, score_scale: 1.0 };
        let rows: Vec<Vec<Interval>> = x.chunks(3).map(points).collect();
        prop_assume!(x.iter().all(|x| x.abs() > 0.1));
        let ones = vec![points(&[1.0]); 3];
        let causal = [vec![true, false, false], vec![true, true, false], vec![true; 3]];
        let Ok(total) = attention(&head, &rows, &rows, &ones, &causal, PREC) else {
            return Err(TestCaseError::reject("a row of scores around zero"));
        };
        for row in total {
            prop_assert!(row[0].contains(point(1.0).lo()) && row[0].rad() < 1e-20, "{}", row[0]);
        }
        let whole = attention(&head, &rows, &rows, &rows, &causal, PREC).unwrap();
        let short = [vec![true, false], vec![true, true]];
        prop_assert_eq!(&attention(&head, &rows[..2], &rows[..2], &rows[..2], &short, PREC).unwrap(), &whole[..2]);
    }

    /// `GELU(x) - GELU(-x) = x`, and tanh is odd; wide arguments enclose narrow ones, also around GELU's minimum.
    #[test]
    fn activations(x in -9.0..9.0f64, width in 0.0..1.0f64, part in 0.0..=1.0f64) {
        prop_assert!(agree(&(&gelu(&point(x)) - &gelu(&point(-x))), &point(x)));
        prop_assert_eq!(point(-x).tanh(), -&point(x).tanh());
        let width = width.powi(6);
        for x in [x, -0.751_791_5 - width * part] {
            let wide = Interval::from_f64_ends(x, x + width, PREC);
            let inside = point((x + width * part).clamp(x, x + width));
            prop_assert!(gelu(&wide).encloses(&gelu(&inside)), "{x} + [0, {width}] at {inside}");
        }
    }
}
