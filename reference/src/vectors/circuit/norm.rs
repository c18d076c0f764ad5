//! Linear maps and LayerNorm.

use super::functions::Site;
use super::{About, encrypted, matrix, per_row, rows};
use crate::approx::Target;
use crate::error::ReferenceError;
use crate::vectors::noise::{Steps, Tracked};
use touchstone_spec::vector::{Case, Value};

/// `W x + b` with public `W` and `b`.
pub fn linear(steps: &Steps) -> Result<Vec<Case>, ReferenceError> {
    let table: [(&str, usize, usize, f64); 2] = [("4-to-6", 6, 4, 1.0), ("8-to-3", 3, 8, 0.25)];
    let case = |(index, (name, outputs, inputs, size)): (u32, (&str, usize, usize, f64))| {
        let x = rows(400 + index, inputs, -1.0, 1.0);
        let weights = &rows(410 + index, inputs, -size, size)[..outputs];
        let bias: Vec<f64> = rows(420 + index, outputs, -0.5, 0.5).swap_remove(2);
        let values = per_row(&encrypted(&x, steps), |x| {
            weights.iter().zip(&bias).map(|(row, &b)| Tracked::affine(b, row, x, steps)).collect()
        });
        let about = About {
            id: format!("circuit/linear/{name}"),
            rule: "noise.scalar.mul",
            about: "A matrix of public weights times encrypted rows, with bias.",
            flags: &[],
            op: "linear",
            encrypted: &["x"],
        };
        let inputs = vec![("x", matrix(&x)), ("weights", matrix(weights)), ("bias", Value::reals(&bias))];
        about.case(inputs, vec![("value", values)])
    };
    (0..).zip(table).map(case).collect()
}

/// Name, size, interval of the variance, description and flags.
type Rows<'a> = (&'a str, f64, [f64; 2], &'a str, &'a [&'a str]);

/// LayerNorm with its taps.
pub fn layer_norm(steps: &Steps) -> Result<Vec<Case>, ReferenceError> {
    let table: [Rows<'_>; 3] = [
        ("d8", 2.0, [2f64.powi(-4), 4.0], "Rows of ordinary spread.", &[]),
        ("d8-offset", 0.5, [2f64.powi(-6), 1.0], "Rows with a common offset far above their spread.", &["wide-spread"]),
        ("d8-constant-row", 1.0, [0.0, 1.0], "One row is constant: variance 0, the offset comes out.", &["zero-row"]),
    ];
    let case = |(index, (name, size, interval, about, flags)): (u32, Rows<'_>)| {
        let eps = 2f64.powi(-7);
        let d = 8;
        let mut x = rows(500 + index, d, -size, size);
        if flags.contains(&"wide-spread") {
            x.iter_mut().flatten().for_each(|x| *x += 6.0);
        }
        if flags.contains(&"zero-row") {
            x[3] = vec![0.375; d];
        }
        let (gamma, beta) = (rows(510, d, 0.5, 1.5).swap_remove(0), rows(511, d, -0.5, 0.5).swap_remove(0));
        let site = Site::new(Target::InverseSqrt { shift: eps }, interval, 11, 2)?;
        let parts = per_row(&encrypted(&x, steps), |x| normalise(x, &site, steps));
        let output = |normalised: &[Tracked]| -> Vec<Tracked> {
            let pairs = gamma.iter().zip(&beta).zip(normalised);
            pairs.map(|((&g, &b), x)| Tracked::affine(b, &[g], std::slice::from_ref(x), steps)).collect()
        };
        let column = |i: usize| parts.iter().map(|part| part.0[i..=i].to_vec()).collect::<Vec<_>>();
        let values = vec![
            ("variance", column(0)),
            ("inverse-sqrt", column(1)),
            ("normalised", parts.iter().map(|part| part.1.clone()).collect()),
            ("value", parts.iter().map(|part| output(&part.1)).collect()),
        ];
        let case = About {
            id: format!("circuit/layer-norm/{name}"),
            rule: "ln.definition",
            about,
            flags,
            op: "layer-norm",
            encrypted: &["x"],
        };
        let mut inputs = vec![
            ("x", matrix(&x)),
            ("gamma", Value::reals(&gamma)),
            ("beta", Value::reals(&beta)),
            ("eps", Value::real(eps)),
        ];
        inputs.extend(site.inputs());
        case.case(inputs, values)
    };
    (0..).zip(table).map(case).collect()
}

/// `[variance, inverse square root]` and the normalised row.
fn normalise(x: &[Tracked], site: &Site, steps: &Steps) -> ([Tracked; 2], Vec<Tracked>) {
    let d = x.len();
    let share = 1.0 / d as f64;
    let mean = Tracked::affine(0.0, &vec![share; d], x, steps);
    let centred: Vec<Tracked> = x.iter().map(|x| x.sub(&mean)).collect();
    let squares: Vec<Tracked> = centred.iter().map(|c| c.mul(c, steps)).collect();
    let variance = Tracked::affine(0.0, &vec![share; d], &squares, steps);
    let inverse = site.apply(&variance, steps);
    let normalised = centred.iter().map(|c| c.mul(&inverse, steps)).collect();
    ([variance, inverse], normalised)
}
