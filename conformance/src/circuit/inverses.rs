//! Reciprocals and inverse square roots.

use super::Circuit;
use super::pair::Pair;
use crate::ConformError;
use crate::scheme::draws::Draws;
use crate::scheme::fixture::Output;
use touchstone_ckks::circuits::inverse as fast;
use touchstone_reference::circuits as exact;

pub fn all() -> Vec<Circuit> {
    let circuit = |name, rule, about, draw| Circuit { name, rule, about, unit_tolerance: 0, draw };
    vec![
        circuit(
            "goldschmidt",
            "circuit.goldschmidt.apply",
            "Goldschmidt schedules of random intervals and steps, relaxed in the first or in every step",
            goldschmidt,
        ),
        circuit(
            "goldschmidt-refine",
            "circuit.goldschmidt.refine",
            "Goldschmidt steps from a ciphertext of another level",
            refine,
        ),
        circuit(
            "newton-reciprocal",
            "circuit.newton.reciprocal",
            "Newton steps for 1/a from both kinds of start",
            |p, d| newton(p, d, Root::Reciprocal),
        ),
        circuit(
            "newton-inverse-sqrt",
            "circuit.newton.inverse-sqrt",
            "Newton steps for 1/sqrt(a) from both kinds of start",
            |p, d| newton(p, d, Root::InverseSquareRoot),
        ),
    ]
}

fn goldschmidt(pair: &Pair<'_>, draws: &mut Draws) -> Result<(Output, Output), ConformError> {
    // Upper ends between 1/4 and 4: with and without the division, which needs one level more.
    let high = (2.0 * draws.unit()).exp2();
    let low = high * (-4.0 - 4.0 * draws.unit()).exp2();
    let (numerator, steps) = (draws.unit(), 1 + draws.below(pair.top().min(6) as u64 - 1) as usize);
    let every = draws.below(2) == 0;
    let relaxation = if every { exact::Relaxation::EveryStep } else { exact::Relaxation::FirstStep };
    let schedule = pair.exact(exact::Goldschmidt::new([low, high], numerator, steps, relaxation))?;
    let relaxation = if every { fast::Relaxation::EveryStep } else { fast::Relaxation::FirstStep };
    let fast_schedule = pair.fast(fast::Goldschmidt::new(low, high, numerator, steps, relaxation))?;
    let level = pair.level(draws, schedule.depth());
    let a = pair.uniform(draws, level)?;
    pair.run([], |c| c.goldschmidt(&a.exact, &schedule), |e| fast_schedule.apply(e, &a.fast))
}

fn refine(pair: &Pair<'_>, draws: &mut Draws) -> Result<(Output, Output), ConformError> {
    let steps = draws.below(4) as usize;
    let levels = [pair.level(draws, steps + 1), pair.level(draws, steps + 1)];
    let (a, start) = (pair.uniform(draws, levels[0])?, pair.uniform(draws, levels[1])?);
    pair.run(
        [],
        |c| c.goldschmidt_refine(&a.exact, &start.exact, steps),
        |e| fast::goldschmidt_refine(e, &a.fast, &start.fast, steps),
    )
}

#[derive(Clone, Copy)]
enum Root {
    Reciprocal,
    InverseSquareRoot,
}

fn newton(pair: &Pair<'_>, draws: &mut Draws, root: Root) -> Result<(Output, Output), ConformError> {
    let constant = (draws.below(2) == 0).then(|| 1.0 + draws.unit() / 2.0);
    let steps = 1 + draws.below((pair.top() as u64 - 1) / 2) as usize;
    // Two levels per step; the inverse square root loses one level of its argument before the first general step.
    let depth = 2 * steps + usize::from(constant.is_none());
    let (level, start_level) = (pair.level(draws, depth), pair.level(draws, 2 * steps));
    let (a, start) = (pair.uniform(draws, level)?, pair.uniform(draws, start_level)?);
    let exact_start = constant.map_or(exact::Start::Value(&start.exact), exact::Start::Constant);
    let fast_start = constant.map_or(fast::Start::Value(&start.fast), fast::Start::Constant);
    match root {
        Root::Reciprocal => pair.run(
            [],
            |c| c.newton_reciprocal(&a.exact, exact_start, steps),
            |e| fast::newton_reciprocal(e, &a.fast, fast_start, steps),
        ),
        Root::InverseSquareRoot => pair.run(
            [],
            |c| c.newton_inverse_sqrt(&a.exact, exact_start, steps),
            |e| fast::newton_inverse_sqrt(e, &a.fast, fast_start, steps),
        ),
    }
}
