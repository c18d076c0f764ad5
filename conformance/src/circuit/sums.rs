//! Level changes, integer products, sums of products, inner sums.

use super::Circuit;
use touchstone_ckks::circuits::linear::{inner_sum, inner_sum_rotations};
use touchstone_ckks::circuits::polynomial::normalise;
use touchstone_reference::circuits::Circuits;

pub fn all() -> Vec<Circuit> {
    vec![
        Circuit {
            name: "to-level",
            rule: "circuit.to-level",
            about: "A ciphertext of any label brought to a lower canonical level with a weight",
            unit_tolerance: 0,
            draw: |pair, draws| {
                let level = pair.level(draws, 1);
                let scale = 2f64.powi(38) * (1.5 + draws.unit() / 2.0);
                let a = pair.labelled(draws, level, scale)?;
                let (weight, lower) = (4.0 * draws.unit(), draws.below(level as u64) as usize);
                pair.run(
                    [],
                    |c| c.weighted_to_level(&a.exact, weight, lower),
                    |e| e.mul_const_to_level(&a.fast, weight.into(), lower),
                )
            },
        },
        Circuit {
            name: "integer",
            rule: "circuit.integer",
            about: "Multiplication by an integer and by i",
            unit_tolerance: 0,
            draw: |pair, draws| {
                let level = pair.level(draws, 0);
                let a = pair.uniform(draws, level)?;
                let k = draws.next() as i64 >> (2 + draws.below(60));
                pair.run(
                    [],
                    |c| c.evaluator().mul_integer(&c.evaluator().mul_integer(&a.exact, [k, 0])?, [0, 1]),
                    |e| e.mul_i(&e.mul_int(&a.fast, k)?),
                )
            },
        },
        Circuit {
            name: "sum-of-products",
            rule: "circuit.product",
            about: "Products and a summand, relinearised once and rescaled once",
            unit_tolerance: 0,
            draw: |pair, draws| {
                let level = pair.level(draws, 1);
                let inputs: Vec<_> = (0..5).map(|_| pair.uniform(draws, level)).collect::<Result<_, _>>()?;
                let [a, b, c, d, s] = &inputs[..] else { unreachable!("five inputs were drawn") };
                let weight = 2.0 * draws.unit();
                pair.run(
                    [],
                    |v| {
                        let ev = v.evaluator();
                        let sum = ev.add(&ev.mul(&a.exact, &b.exact)?, &ev.mul(&c.exact, &d.exact)?)?;
                        let sum = ev.sub(&v.summand(&s.exact, weight, level)?, &sum)?;
                        ev.rescale(&v.relinearise(&sum)?)
                    },
                    |e| {
                        let sum = e.add(&e.mul_lazy(&a.fast, &b.fast)?, &e.mul_lazy(&c.fast, &d.fast)?)?;
                        let target = s.fast.scale() * s.fast.scale();
                        e.relinearise_rescale(&e.sub(&e.mul_const(&s.fast, weight.into(), target)?, &sum)?)
                    },
                )
            },
        },
        Circuit {
            name: "inner-sum",
            rule: "circuit.inner-sum",
            about: "Sums of shifted slots, any count and stride",
            unit_tolerance: 0,
            draw: |pair, draws| {
                let level = pair.level(draws, 0);
                let a = pair.uniform(draws, level)?;
                let count = 1 + draws.below(pair.slots() as u64) as u32;
                let stride = draws.below(9) as i64 - 4;
                let rotations = Circuits::inner_sum_rotations(count, stride).into_iter();
                pair.run(
                    rotations.chain(inner_sum_rotations(count as usize, stride)),
                    |c| c.inner_sum(&a.exact, count, stride),
                    |e| inner_sum(e, &a.fast, count as usize, stride),
                )
            },
        },
        Circuit {
            name: "normalise",
            rule: "circuit.normalise",
            about: "The affine map of an interval to [-1, 1]",
            unit_tolerance: 0,
            draw: |pair, draws| {
                let level = pair.level(draws, 1);
                let a = pair.uniform(draws, level)?;
                let low = 8.0 * draws.unit();
                let high = low + 8.5 + 8.0 * draws.unit();
                pair.run([], |c| c.normalise(&a.exact, low, high), |e| normalise(e, &a.fast, low, high))
            },
        },
    ]
}
