//! Whole networks on batches of encrypted embeddings (`r[vector.op.model]`), written from the book: no line of the reference's
//! graph is used.

use super::circuit::{Circuit, Cts, Outcome, finish};
use super::{EngineSession, Fault, Ran, Run, values};
use touchstone_ckks::{Ciphertext, CkksError};
use touchstone_spec::vector::Value;

/// One list of channels per token.
type Rows = Vec<Cts>;

/// Runs an operation of this family; `None` if it is not one.
pub fn run(session: &mut EngineSession, request: &Run) -> Option<Outcome<Ran>> {
    let decoder = match request.op.as_str() {
        "gpt-neox" => true,
        "bert" => false,
        _ => return None,
    };
    Some(infer(session, request, decoder).map_err(|fault| match fault {
        Fault::Engine(error @ CkksError::LevelExhausted { .. }) => Fault::Levels(error.to_string()),
        other => other,
    }))
}

fn infer(session: &mut EngineSession, request: &Run, decoder: bool) -> Outcome<Ran> {
    let x = session.columns(request, "x")?.columns;
    let mut pass = Pass::new(session, request)?;
    let tokens: usize = pass.circuit.call.integer("tokens")?;
    if tokens == 0 || x.is_empty() || !x.len().is_multiple_of(tokens) {
        return Err(Fault::argument("a whole number of tokens"));
    }
    let rows: Rows = x.chunks(x.len() / tokens).map(<[Ciphertext]>::to_vec).collect();
    let logits = if decoder { pass.gpt_neox(rows)? } else { pass.bert(rows)? };
    pass.taps.push(("logits".to_owned(), logits));
    finish(session, request, pass.taps)
}

/// One run: constants, and the taps so far.
struct Pass {
    circuit: Circuit,
    heads: usize,
    power: u32,
    score_factor: f64,
    taps: Vec<(String, Cts)>,
}

impl Pass {
    fn new(session: &EngineSession, request: &Run) -> Outcome<Self> {
        let circuit = Circuit::new(session, request);
        let call = &circuit.call;
        let (heads, power) = (call.integer("heads")?, circuit.exponent()?);
        let width = session.columns(request, "x")?.columns.len() / call.integer::<usize>("tokens")?.max(1);
        if heads == 0 || !width.is_multiple_of(heads) || width < heads {
            return Err(Fault::argument("a number of heads that divides the width"));
        }
        let score_factor = 1.0 / (((width / heads) as f64).sqrt() * call.real("score-scale")?);
        Ok(Self { circuit, heads, power, score_factor, taps: Vec::new() })
    }

    fn tensor(&self, name: &str) -> Outcome<&Value> {
        Ok(self.circuit.call.input("weights")?.field("weights", name)?)
    }

    fn vector(&self, name: &str, length: usize) -> Outcome<Vec<f64>> {
        let vector = self.tensor(name)?.as_reals(name)?;
        if vector.len() == length { Ok(vector) } else { Err(Fault::argument("tensors of the network's shapes")) }
    }

    /// `W x + b` of each row; without a bias where `bias` is false.
    fn affine(&self, name: &str, rows: &Rows, bias: bool) -> Outcome<Rows> {
        let weight = self.tensor(&format!("{name}.weight"))?.as_rows(name)?;
        let bias = if bias { self.vector(&format!("{name}.bias"), weight.len())? } else { vec![0.0; weight.len()] };
        let row = |x: &Cts| {
            if weight.iter().any(|row| row.len() != x.len()) {
                return Err(Fault::argument("tensors of the network's shapes"));
            }
            weight.iter().zip(&bias).map(|(row, &b)| self.circuit.affine(b, row, x)).collect()
        };
        rows.iter().map(row).collect()
    }

    /// The site's polynomial (`r[artifact.site]`).
    fn polynomial(&self, site: &str, x: &Ciphertext) -> Outcome<Ciphertext> {
        let polynomial = self.circuit.call.input("polynomials")?.field("polynomials", site)?;
        let coefficients = polynomial.field(site, "coefficients")?.as_reals(site)?;
        match polynomial.field(site, "interval")?.as_reals(site)?[..] {
            [low, high] => self.circuit.series_on(x, [low, high], coefficients),
            _ => Err(Fault::argument("an interval has two ends")),
        }
    }

    fn tap(&mut self, name: &str, rows: &Rows) {
        self.taps.push((name.to_owned(), rows.concat()));
    }

    /// Less the mean over channels.
    fn centre(&self, row: &Cts) -> Outcome<Cts> {
        let mean = self.circuit.affine(0.0, &vec![1.0 / row.len() as f64; row.len()], row)?;
        row.iter().map(|x| self.circuit.sub(x, &mean)).collect()
    }

    /// A tap of `r[model.centred]`.
    fn centred_tap(&mut self, name: &str, rows: &Rows) -> Outcome<()> {
        let centred = rows.iter().map(|row| self.centre(row)).collect::<Outcome<Rows>>()?;
        self.tap(name, &centred);
        Ok(())
    }

    /// `(x - mean) f(var)` with the three taps of a LayerNorm, before gain and offset (`r[ln.polynomial]`).
    fn normalise(&mut self, tap: &str, site: &str, rows: &Rows) -> Outcome<Rows> {
        let centred = rows.iter().map(|row| self.centre(row)).collect::<Outcome<Rows>>()?;
        let variance = |row: &Cts| {
            let squares = row.iter().map(|c| self.circuit.mul(c, c)).collect::<Outcome<Cts>>()?;
            self.circuit.affine(0.0, &vec![1.0 / row.len() as f64; row.len()], &squares)
        };
        let variances = centred.iter().map(variance).collect::<Outcome<Cts>>()?;
        let inverse = variances.iter().map(|x| self.polynomial(site, x)).collect::<Outcome<Cts>>()?;
        let scale = |(row, factor): (&Cts, &Ciphertext)| row.iter().map(|c| self.circuit.mul(c, factor)).collect();
        let normalised = centred.iter().zip(&inverse).map(scale).collect::<Outcome<Rows>>()?;
        self.taps.push((format!("{tap}.variance"), variances));
        self.taps.push((format!("{tap}.inverse-sqrt"), inverse));
        self.tap(&format!("{tap}.normalised"), &normalised);
        Ok(normalised)
    }

    /// Gain and offset of a LayerNorm.
    fn gain(&self, name: &str, rows: &Rows) -> Outcome<Rows> {
        let width = rows.first().map_or(0, Vec::len);
        let gamma = self.vector(&format!("{name}.weight"), width)?;
        let beta = self.vector(&format!("{name}.bias"), width)?;
        let circuit = &self.circuit;
        let row = |x: &Cts| {
            let terms = x.iter().zip(&gamma).zip(&beta);
            terms.map(|((x, &g), &b)| circuit.add_constant(&circuit.scale(x, g)?, b)).collect()
        };
        rows.iter().map(row).collect()
    }

    fn add(&self, a: &Rows, b: &Rows) -> Outcome<Rows> {
        let row = |(a, b): (&Cts, &Cts)| {
            a.iter().zip(b).map(|(a, b)| self.circuit.sum(&[a.clone(), b.clone()])).collect::<Outcome<Cts>>()
        };
        a.iter().zip(b).map(row).collect()
    }

    /// Attention up to the weighted values (`r[psm.polynomial]`); row `i` sees the keys `live[i]`.
    fn attention(&mut self, [q, k, v]: &[Rows; 3], live: &[Vec<usize>]) -> Outcome<Rows> {
        for (name, rows) in [("query", q), ("key", k), ("value", v)] {
            self.tap(&format!("layers.0.attention.{name}"), rows);
        }
        let (tokens, size) = (q.len(), q[0].len() / self.heads);
        let circuit = &self.circuit;
        let zero = circuit.sub(&q[0][0], &q[0][0])?;
        let mut heads: Rows = vec![Cts::new(); tokens];
        let [mut scores, mut powers, mut denominators, mut reciprocals] = <[Cts; 4]>::default();
        for head in 0..self.heads {
            let channels = head * size..(head + 1) * size;
            for i in 0..tokens {
                let score = |&j: &usize| {
                    let terms = channels.clone().map(|c| circuit.mul(&q[i][c], &k[j][c])).collect::<Outcome<Cts>>()?;
                    circuit.scale(&circuit.sum(&terms)?, self.score_factor)
                };
                let row = live[i].iter().map(score).collect::<Outcome<Cts>>()?;
                let share = 1.0 / row.len() as f64;
                let power = |x: &Ciphertext| circuit.scale(&circuit.power(x, self.power)?, share);
                let weights = row.iter().map(power).collect::<Outcome<Cts>>()?;
                let denominator = circuit.sum(&weights)?;
                let reciprocal = self.polynomial("layers.0.reciprocal", &denominator)?;
                for c in channels.clone() {
                    let terms = weights.iter().zip(&live[i]).map(|(y, &j)| circuit.mul(y, &v[j][c]));
                    let mixed = circuit.sum(&terms.collect::<Outcome<Cts>>()?)?;
                    heads[i].push(circuit.mul(&mixed, &reciprocal)?);
                }
                for (part, row) in [(&mut scores, row), (&mut powers, weights)] {
                    let start = part.len();
                    part.resize(start + tokens, zero.clone());
                    live[i].iter().zip(row).for_each(|(&j, x)| part[start + j] = x);
                }
                denominators.push(denominator);
                reciprocals.push(reciprocal);
            }
        }
        let parts =
            [("scores", scores), ("powers", powers), ("denominator", denominators), ("reciprocal", reciprocals)];
        self.taps.extend(parts.map(|(name, values)| (format!("layers.0.attention.{name}"), values)));
        self.tap("layers.0.attention.heads", &heads);
        Ok(heads)
    }

    /// `W_down GELU(W_up y + b) + b` with its taps.
    fn mlp(&mut self, up: &str, down: &str, rows: &Rows) -> Outcome<Rows> {
        let hidden = self.affine(up, rows, true)?;
        let activate = |row: &Cts| row.iter().map(|x| self.polynomial("layers.0.gelu", x)).collect::<Outcome<Cts>>();
        let active = hidden.iter().map(activate).collect::<Outcome<Rows>>()?;
        let output = self.affine(down, &active, true)?;
        self.tap("layers.0.mlp.hidden", &hidden);
        self.tap("layers.0.mlp.activation", &active);
        self.centred_tap("layers.0.mlp.output", &output)?;
        Ok(output)
    }

    /// One block of `r[model.block.parallel]` or `r[model.block.sequential]` and the head.
    fn gpt_neox(&mut self, x: Rows) -> Outcome<Cts> {
        let layer = |part: &str| format!("gpt_neox.layers.0.{part}");
        self.centred_tap("embedding", &x)?;
        let normalised = self.normalise("layers.0.layernorm", "layers.0.inverse-sqrt", &x)?;
        let projected = self.affine(
            &layer("attention.query_key_value"),
            &self.gain(&layer("input_layernorm"), &normalised)?,
            true,
        )?;
        let causal: Vec<Vec<usize>> = (0..x.len()).map(|i| (0..=i).collect()).collect();
        let projections = self.split(&projected)?;
        let mixed = self.attention(&projections, &causal)?;
        let attention = self.affine(&layer("attention.dense"), &mixed, true)?;
        self.centred_tap("layers.0.attention.output", &attention)?;
        let after = self.add(&x, &attention)?;
        let input = match self.circuit.call.input("residual")?.text("residual")? {
            "parallel" => normalised,
            "sequential" => self.normalise("layers.0.mlp-layernorm", "layers.0.mlp-inverse-sqrt", &after)?,
            _ => return Err(Fault::argument("a parallel or sequential residual")),
        };
        let input = self.gain(&layer("post_attention_layernorm"), &input)?;
        let mlp = self.mlp(&layer("mlp.dense_h_to_4h"), &layer("mlp.dense_4h_to_h"), &input)?;
        let stream = self.add(&after, &mlp)?;
        self.centred_tap("layers.0.residual", &stream)?;
        let last = self.normalise("final.layernorm", "final.inverse-sqrt", &stream)?.split_off(x.len() - 1);
        let last = self.gain("gpt_neox.final_layer_norm", &last)?;
        Ok(self.affine("embed_out", &last, false)?.concat())
    }

    /// Queries, keys and values side by side (`r[model.qkv]`), queries and keys turned (`r[model.rotary]`).
    fn split(&self, projected: &Rows) -> Outcome<[Rows; 3]> {
        let size = projected[0].len() / (3 * self.heads);
        let call = &self.circuit.call;
        let (rotary, base): (usize, f64) = (call.integer("rotary-size")?, call.real("rotary-base")?);
        if rotary > size || !rotary.is_multiple_of(2) {
            return Err(Fault::argument("an even size within the head"));
        }
        let part = |which: usize| -> Outcome<Rows> {
            let token = |(position, row): (usize, &Cts)| {
                let head = |head: usize| {
                    let start = (3 * head + which) * size;
                    let values = &row[start..start + size];
                    if which == 2 { Ok(values.to_vec()) } else { self.circuit.turn(values, position, rotary, base) }
                };
                Ok((0..self.heads).map(head).collect::<Outcome<Rows>>()?.concat())
            };
            projected.iter().enumerate().map(token).collect()
        };
        Ok([part(0)?, part(1)?, part(2)?])
    }

    /// One block of `r[encoder.block]` and the head with mean pooling (`r[encoder.head]`).
    fn bert(&mut self, x: Rows) -> Outcome<Cts> {
        let layer = |part: &str| format!("bert.encoder.layer.0.{part}");
        let mask: Vec<u32> = values::integers(self.circuit.call.input("live")?, "live")?;
        let live: Vec<usize> = (0..mask.len()).filter(|&i| mask[i] == 1).collect();
        if mask.len() != x.len() || live.is_empty() {
            return Err(Fault::argument("a mask of the tokens with a live one"));
        }
        self.centred_tap("embedding", &x)?;
        let normalised = self.normalise("embedding.layernorm", "embedding.inverse-sqrt", &x)?;
        let stream = self.gain("bert.embeddings.LayerNorm", &normalised)?;
        let [q, k, v] =
            ["query", "key", "value"].map(|part| self.affine(&layer(&format!("attention.self.{part}")), &stream, true));
        let mixed = self.attention(&[q?, k?, v?], &vec![live.clone(); x.len()])?;
        let attention = self.affine(&layer("attention.output.dense"), &mixed, true)?;
        self.centred_tap("layers.0.attention.output", &attention)?;
        let sum = self.add(&stream, &attention)?;
        let normalised = self.normalise("layers.0.attention-layernorm", "layers.0.attention-inverse-sqrt", &sum)?;
        let after = self.gain(&layer("attention.output.LayerNorm"), &normalised)?;
        let mlp = self.mlp(&layer("intermediate.dense"), &layer("output.dense"), &after)?;
        let sum = self.add(&after, &mlp)?;
        let normalised = self.normalise("layers.0.mlp-layernorm", "layers.0.mlp-inverse-sqrt", &sum)?;
        let stream = self.gain(&layer("output.LayerNorm"), &normalised)?;
        self.tap("layers.0.residual", &stream);
        let share = vec![1.0 / live.len() as f64; live.len()];
        let mean = |c: usize| {
            let column: Cts = live.iter().map(|&i| stream[i][c].clone()).collect();
            self.circuit.affine(0.0, &share, &column)
        };
        let pooled = (0..stream[0].len()).map(mean).collect::<Outcome<Cts>>()?;
        self.taps.push(("pooler.input".to_owned(), pooled.clone()));
        Ok(self.affine("classifier", &vec![pooled], true)?.concat())
    }
}
