//! Operations on residues and random draws (`r[vector.op.arithmetic]`).

use super::values::{bytes, integers, limbs};
use super::{Fault, Ran, Run};
use std::collections::BTreeMap;
use touchstone_ckks::Seed;
use touchstone_ckks::arith::{BaseConverter, Kernels, MAX_BASIS, Modulus, NttTable};
use touchstone_ckks::ckks::Stream;
use touchstone_spec::vector::Value;

/// Runs an operation of this family; `None` if it is not one.
pub fn run(kernels: Kernels, request: &Run) -> Option<Result<Ran, Fault>> {
    let inputs = Inputs(&request.inputs);
    let outputs = match request.op.as_str() {
        "modular" => modular(kernels, &inputs),
        "negacyclic-product" => product(kernels, &inputs),
        "base-conversion" => return Some(conversion(kernels, &inputs)),
        "mod-down" => mod_down(kernels, &inputs),
        "stream-bytes" | "uniform" | "ternary" | "fixed-weight" | "gaussian" => draw(&request.op, &inputs),
        _ => return None,
    };
    Some(outputs.map(|outputs| Ran { outputs, ..Ran::default() }))
}

type Outputs = Result<BTreeMap<String, Value>, Fault>;

struct Inputs<'a>(&'a BTreeMap<String, Value>);

impl Inputs<'_> {
    fn get(&self, name: &str) -> Result<&Value, Fault> {
        self.0.get(name).ok_or_else(|| Fault::Malformed(format!("no input {name:?}")))
    }

    fn modulus(&self) -> Result<Modulus, Fault> {
        Ok(Modulus::new(self.get("modulus")?.as_integer("modulus")?)?)
    }

    /// Residues, all below the modulus.
    fn residues(&self, name: &str, modulus: &Modulus) -> Result<Vec<u64>, Fault> {
        canonical(integers(self.get(name)?, name)?, modulus)
    }

    fn moduli(&self, name: &str) -> Result<Vec<Modulus>, Fault> {
        let primes: Vec<u64> = integers(self.get(name)?, name)?;
        Ok(primes.into_iter().map(Modulus::new).collect::<Result<_, _>>()?)
    }

    /// Rows of residues modulo the given primes, all of one length.
    fn rows(&self, name: &str, moduli: &[Modulus]) -> Result<Vec<Vec<u64>>, Fault> {
        let rows = limbs(self.get(name)?, name)?;
        let length = rows.first().map_or(0, Vec::len);
        if rows.len() != moduli.len() || length == 0 || rows.iter().any(|row| row.len() != length) {
            return Err(Fault::argument("one row of one length per prime"));
        }
        rows.into_iter().zip(moduli).map(|(row, modulus)| canonical(row, modulus)).collect()
    }
}

fn canonical(residues: Vec<u64>, modulus: &Modulus) -> Result<Vec<u64>, Fault> {
    if residues.iter().any(|&x| x >= modulus.value()) {
        return Err(Fault::argument("a residue that is not below its modulus"));
    }
    Ok(residues)
}

fn named<const N: usize>(values: [(&str, Value); N]) -> BTreeMap<String, Value> {
    values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn matrix(rows: &[Vec<u64>]) -> Value {
    Value::List(rows.iter().map(|row| Value::integers(row)).collect())
}

fn modular(kernels: Kernels, inputs: &Inputs<'_>) -> Outputs {
    let modulus = inputs.modulus()?;
    let (a, b) = (inputs.residues("a", &modulus)?, inputs.residues("b", &modulus)?);
    if a.len() != b.len() {
        return Err(Fault::argument("operands of two lengths"));
    }
    let each = |f: fn(Kernels, &Modulus, &mut [u64], &[u64], &[u64])| {
        let mut out = vec![0; a.len()];
        f(kernels, &modulus, &mut out, &a, &b);
        Value::integers(&out)
    };
    Ok(named([("sum", each(Kernels::add)), ("difference", each(Kernels::sub)), ("product", each(Kernels::mul))]))
}

fn product(kernels: Kernels, inputs: &Inputs<'_>) -> Outputs {
    let modulus = inputs.modulus()?;
    let (mut a, mut b) = (inputs.residues("a", &modulus)?, inputs.residues("b", &modulus)?);
    if a.len() != b.len() || !a.len().is_power_of_two() {
        return Err(Fault::argument("factors that have not N coefficients"));
    }
    let table = NttTable::new(a.len().ilog2(), modulus)?;
    kernels.ntt(&table, &mut a);
    kernels.ntt(&table, &mut b);
    kernels.mul_assign(table.modulus(), &mut a, &b);
    kernels.intt(&table, &mut a);
    Ok(named([("product", Value::integers(&a))]))
}

fn conversion(kernels: Kernels, inputs: &Inputs<'_>) -> Result<Ran, Fault> {
    let (from, to) = (inputs.moduli("basis")?, inputs.moduli("target")?);
    let x = inputs.rows("x", &from)?;
    let (converter, y) = shares(kernels, &from, &to, &x)?;
    let n = x[0].len();
    let row = |target: usize| {
        let mut out = vec![0; n];
        converter.convert(kernels, &y, target, &mut out);
        out
    };
    let outputs = named([("residues", matrix(&(0..to.len()).map(row).collect::<Vec<_>>()))]);
    let shares = y.chunks_exact(n).map(|row| Value::integers(&row.iter().map(|&y| y as i64).collect::<Vec<_>>()));
    Ok(Ran { outputs, taps: named([("shares", Value::List(shares.collect()))]), ..Ran::default() })
}

fn shares(
    kernels: Kernels,
    from: &[Modulus],
    to: &[Modulus],
    x: &[Vec<u64>],
) -> Result<(BaseConverter, Vec<f64>), Fault> {
    if from.len() > MAX_BASIS {
        return Err(Fault::argument("too many primes"));
    }
    let converter = BaseConverter::new(from, to)?;
    let mut y = vec![0.0; x.len() * x[0].len()];
    converter.scale_inputs(kernels, &x.iter().map(Vec::as_slice).collect::<Vec<_>>(), &mut y);
    Ok((converter, y))
}

fn mod_down(kernels: Kernels, inputs: &Inputs<'_>) -> Outputs {
    let (chain, special) = (inputs.moduli("chain")?, inputs.moduli("special")?);
    let x = inputs.rows("x", &[chain.clone(), special.clone()].concat())?;
    let (high, low) = x.split_at(chain.len());
    let (converter, y) = shares(kernels, &special, &chain, low)?;
    let n = x[0].len();
    let mut v = vec![0.0; n];
    converter.quotient(kernels, &y, &mut v);
    let row = |(j, modulus): (usize, &Modulus)| {
        let (mut remainder, mut out) = (vec![0; n], vec![0; n]);
        converter.convert_exact(kernels, &y, &v, j, &mut remainder);
        kernels.sub(modulus, &mut out, &high[j], &remainder);
        kernels.mul_scalar_assign(modulus, &mut out, inverse(&special, modulus.value()));
        out
    };
    Ok(named([("residues", matrix(&chain.iter().enumerate().map(row).collect::<Vec<_>>()))]))
}

/// The inverse of a product modulo a prime, by Fermat.
fn inverse(factors: &[Modulus], prime: u64) -> u64 {
    let mul = |a: u64, b: u64| (u128::from(a) * u128::from(b) % u128::from(prime)) as u64;
    let base = factors.iter().fold(1, |product, factor| mul(product, factor.value() % prime));
    let (mut power, mut square, mut exponent) = (1, base, prime - 2);
    while exponent > 0 {
        if exponent & 1 == 1 {
            power = mul(power, square);
        }
        square = mul(square, square);
        exponent >>= 1;
    }
    power
}

fn draw(op: &str, inputs: &Inputs<'_>) -> Outputs {
    let seed = Seed::insecure(u128::from_le_bytes(bytes(inputs.get("seed")?.text("seed")?)?));
    let name: Vec<u32> = integers(inputs.get("stream")?, "stream")?;
    let [domain, object, digit, limb] = name[..] else {
        return Err(Fault::argument("a stream is named by four numbers"));
    };
    let count: usize = inputs.get("count")?.as_integer("count")?;
    if count > 1 << 20 {
        return Err(Fault::argument("more than 2^20 draws"));
    }
    let mut stream = Stream::new(&seed.stream_key(domain, object, digit, limb));
    let small = |values: Vec<i8>| named([("coefficients", Value::integers(&values))]);
    Ok(match op {
        "stream-bytes" => {
            let text: String = (0..count).map(|_| format!("{:02x}", stream.byte())).collect();
            named([("bytes", Value::word(&text))])
        }
        "uniform" => {
            let mut residues = vec![0; count];
            stream.uniform(inputs.modulus()?.value(), &mut residues);
            named([("residues", Value::integers(&residues))])
        }
        "ternary" => small(stream.ternary(count)),
        "gaussian" => small(stream.gaussian(count)),
        _ => {
            let weight: usize = inputs.get("weight")?.as_integer("weight")?;
            if weight > count {
                return Err(Fault::argument("a weight above the number of coefficients"));
            }
            small(stream.fixed_weight(count, weight))
        }
    })
}
