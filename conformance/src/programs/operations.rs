//! Every operation of programs: its words on both sides, and its prediction.

use super::instruction::{Instruction, Operation};
use super::machine::{Done, Machine, Register};
use crate::circuit::linear::engine_plaintexts;
use crate::scheme::draws::Draws;
use crate::scheme::fixture::ROTATIONS;
use touchstone_ckks::circuits::linear as fast_linear;
use touchstone_ckks::circuits::polynomial::{Polynomial, evaluate};
use touchstone_ckks::{self as ckks, Complex64};
use touchstone_reference::bounds::components::{fresh_public, fresh_secret};
use touchstone_reference::bounds::program::Slots;
use touchstone_reference::circuits::{Basis, LinearMap, Plan};
use touchstone_reference::ckks as exact;

/// Integers up to here can be encoded on both sides.
const ENCODABLE: f64 = (1u64 << 61) as f64;
/// A label above this one is that of a product, which can be rescaled.
const PRODUCT_LABEL: f64 = (1u64 << 60) as f64;
/// Largest degree of a polynomial.
const DEGREE: u64 = 7;

impl Machine<'_> {
    /// Runs an instruction; gives nothing if no register fits or the result would leave the range of the scheme.
    pub fn perform(&self, instruction: &Instruction) -> Option<Vec<Done>> {
        let draws = &mut Draws::new(instruction.data.into(), "program");
        let one = match instruction.operation {
            Operation::EncryptSecret | Operation::EncryptPublic => self.encrypt(instruction, draws),
            Operation::Add | Operation::Sub => self.add(instruction),
            Operation::AddPlain | Operation::MulPlain => self.plain(instruction, draws),
            Operation::AddConstant | Operation::MulConstant => self.constant(instruction, draws),
            Operation::Product | Operation::MulLazy => self.multiply(instruction),
            Operation::Neg | Operation::MulI | Operation::Relinearise => self.alone(instruction),
            Operation::Rescale | Operation::DropLevel | Operation::ToLevel => self.descend(instruction, draws),
            Operation::Rotate | Operation::Conjugate => self.automorphism(instruction, draws),
            Operation::Hoisted => return self.hoisted(instruction, draws),
            Operation::Linear => self.linear(instruction, draws),
            Operation::Chebyshev => self.polynomial(instruction, draws, Basis::Chebyshev),
            Operation::Powers => self.polynomial(instruction, draws, Basis::Monomial),
        };
        one.map(|done| vec![done])
    }

    /// The `k`-th newest register that fits, cyclically.
    fn pick(&self, k: usize, fits: impl Fn(&Register) -> bool) -> Option<(usize, &Register)> {
        let fitting: Vec<_> = self.registers.iter().enumerate().rev().filter(|(_, register)| fits(register)).collect();
        fitting.get(k % fitting.len().max(1)).copied()
    }

    fn canonical(&self, level: usize) -> f64 {
        self.bench.fixture.canonical_scale(level)
    }

    /// Whether a register is a pair with the canonical label of its level.
    fn is_canonical(&self, register: &Register) -> bool {
        register.is_pair() && register.exact.scale == self.canonical(register.exact.level)
    }

    fn encrypt(&self, i: &Instruction, draws: &mut Draws) -> Option<Done> {
        let (r, bounds) = (&self.bench.fixture.reference, &self.bench.bounds);
        let level = r.params.max_level().saturating_sub(draws.below(2) as usize);
        let (scale, index) = (self.canonical(level), draws.next() as u32);
        let slots = self.bench.slots(draws);
        let public = i.operation == Operation::EncryptPublic;
        let noise = if public { fresh_public(&r.params) } else { fresh_secret() };
        let coefficients = r.encoder.encode(&slots, scale).ok()?;
        self.done(
            format_args!("{:?}(slots of seed {:#x}) at level {level}", i.operation, i.data),
            &[],
            bounds.encrypt(&slots, level, scale, &noise),
            |_| {
                let plain = exact::Plaintext::from_coefficients(&r.params, &coefficients, level, scale)?;
                match public {
                    true => exact::encrypt_public(&r.params, &r.seed, &r.public, index, &plain),
                    false => exact::encrypt_secret(&r.params, &r.seed, &r.secret, index, &plain),
                }
            },
            |side, _| {
                let e = side.engine;
                let plain = e.encoder.encode_coeffs(&coefficients, level, scale)?;
                match public {
                    true => ckks::encrypt_public(&e.context, &e.public, &plain, &e.seed, index),
                    false => ckks::encrypt_secret(&e.context, &e.secret, &plain, &e.seed, index),
                }
            },
        )
    }

    fn add(&self, i: &Instruction) -> Option<Done> {
        let (p, a) = self.pick(i.a, |_| true)?;
        let (q, b) = self.pick(i.b, |b| b.place() == a.place())?;
        let sub = i.operation == Operation::Sub;
        self.done(
            format_args!("{:?}(r{p}, r{q})", i.operation),
            &[p, q],
            self.bench.bounds.add(&a.slots, &b.slots, if sub { -1.0 } else { 1.0 }),
            |c| match sub {
                true => c.evaluator().sub(&a.exact, &b.exact),
                false => c.evaluator().add(&a.exact, &b.exact),
            },
            |side, k| match sub {
                true => side.evaluator.sub(&a.fast[k], &b.fast[k]),
                false => side.evaluator.add(&a.fast[k], &b.fast[k]),
            },
        )
    }

    fn plain(&self, i: &Instruction, draws: &mut Draws) -> Option<Done> {
        let product = i.operation == Operation::MulPlain;
        let (p, a) = self.pick(i.a, |a| product || 2.0 * a.exact.scale < ENCODABLE)?;
        let (r, level) = (&self.bench.fixture.reference, a.exact.level);
        let scale = if product { self.canonical(level) } else { a.exact.scale };
        let slots = self.bench.slots(draws);
        let coefficients = r.encoder.encode(&slots, scale).ok()?;
        let bounds = &self.bench.bounds;
        self.done(
            format_args!("{:?}(r{p}, slots of seed {:#x})", i.operation, i.data),
            &[p],
            if product { bounds.mul_plain(&a.slots, &slots, scale) } else { bounds.add_plain(&a.slots, &slots) },
            |c| {
                let plain = exact::Plaintext::from_coefficients(&r.params, &coefficients, level, scale)?;
                match product {
                    true => c.evaluator().mul_plain(&a.exact, &plain),
                    false => c.evaluator().add_plain(&a.exact, &plain),
                }
            },
            |side, k| {
                let plain = side.engine.encoder.encode_coeffs(&coefficients, level, scale)?;
                match product {
                    true => side.evaluator.mul_plain(&a.fast[k], &plain),
                    false => side.evaluator.add_plain(&a.fast[k], &plain),
                }
            },
        )
    }

    fn constant(&self, i: &Instruction, draws: &mut Draws) -> Option<Done> {
        let product = i.operation == Operation::MulConstant;
        let constant = draws.complex() * 2.0;
        let (p, a) =
            self.pick(i.a, |a| if product { a.exact.scale < PRODUCT_LABEL } else { 2.0 * a.exact.scale < ENCODABLE })?;
        let target = a.exact.scale * self.canonical(a.exact.level);
        let bounds = &self.bench.bounds;
        self.done(
            format_args!("{:?}(r{p}, {constant})", i.operation),
            &[p],
            if product { bounds.mul_scalar(&a.slots, constant, target) } else { bounds.add_scalar(&a.slots, constant) },
            |c| match product {
                true => c.evaluator().mul_scalar(&a.exact, constant, target),
                false => c.evaluator().add_scalar(&a.exact, constant),
            },
            |side, k| match product {
                true => side.evaluator.mul_const(&a.fast[k], constant, target),
                false => side.evaluator.add_const(&a.fast[k], constant),
            },
        )
    }

    /// A product, rescaled by the engine's fused operation or left as a triple.
    fn multiply(&self, i: &Instruction) -> Option<Done> {
        let lazy = i.operation == Operation::MulLazy;
        let (p, a) = self.pick(i.a, |a| a.is_pair() && (lazy || self.is_canonical(a) && a.exact.level > 0))?;
        let level = a.exact.level;
        let (q, b) = self.pick(i.b, |b| b.is_pair() && b.exact.level == level && (lazy || self.is_canonical(b)))?;
        let bounds = &self.bench.bounds;
        let triple = bounds.mul(&a.slots, &b.slots);
        self.done(
            format_args!("{:?}(r{p}, r{q})", i.operation),
            &[p, q],
            if lazy { triple } else { triple.and_then(|t| bounds.rescale(&bounds.relinearise(&t)?, 2)) },
            |c| if lazy { c.evaluator().mul(&a.exact, &b.exact) } else { c.product(&a.exact, &b.exact) },
            |side, k| match lazy {
                true => side.evaluator.mul_lazy(&a.fast[k], &b.fast[k]),
                false => side.evaluator.mul_rescale(&a.fast[k], &b.fast[k]),
            },
        )
    }

    fn alone(&self, i: &Instruction) -> Option<Done> {
        let relinearise = i.operation == Operation::Relinearise;
        let (p, a) = self.pick(i.a, |a| !relinearise || !a.is_pair())?;
        let bounds = &self.bench.bounds;
        let text = format!("{:?}(r{p})", i.operation);
        match i.operation {
            Operation::Relinearise => self.done(
                text,
                &[p],
                bounds.relinearise(&a.slots),
                |c| c.relinearise(&a.exact),
                |side, k| side.evaluator.relinearise(&a.fast[k]),
            ),
            Operation::MulI => self.done(
                text,
                &[p],
                Some(bounds.turn(&a.slots, Complex64::I)),
                |c| c.evaluator().mul_integer(&a.exact, [0, 1]),
                |side, k| side.evaluator.mul_i(&a.fast[k]),
            ),
            _ => self.done(
                text,
                &[p],
                Some(bounds.turn(&a.slots, (-1.0).into())),
                |c| Ok(c.evaluator().neg(&a.exact)),
                |side, k| side.evaluator.neg(&a.fast[k]),
            ),
        }
    }

    /// To a lower level.
    fn descend(&self, i: &Instruction, draws: &mut Draws) -> Option<Done> {
        let bounds = &self.bench.bounds;
        let fits = |a: &Register| match i.operation {
            Operation::Rescale => a.exact.scale > PRODUCT_LABEL,
            Operation::ToLevel => a.is_pair() && a.exact.scale < PRODUCT_LABEL,
            _ => true,
        };
        let (p, a) = self.pick(i.a, |a| a.exact.level > 0 && fits(a))?;
        let level = draws.below(a.exact.level as u64) as usize;
        match i.operation {
            Operation::Rescale => self.done(
                format_args!("Rescale(r{p})"),
                &[p],
                bounds.rescale(&a.slots, a.exact.polys.len()),
                |c| c.evaluator().rescale(&a.exact),
                |side, k| side.evaluator.rescale(&a.fast[k]),
            ),
            Operation::ToLevel => self.done(
                format_args!("ToLevel(r{p}, {level})"),
                &[p],
                bounds.to_level(&a.slots, level),
                |c| c.to_level(&a.exact, level),
                |side, k| side.evaluator.to_level(&a.fast[k], level),
            ),
            _ => self.done(
                format_args!("DropLevel(r{p}, {level})"),
                &[p],
                bounds.drop_level(&a.slots, level),
                |c| c.evaluator().drop_level(&a.exact, level),
                |side, k| side.evaluator.drop_level(&a.fast[k], level),
            ),
        }
    }

    fn automorphism(&self, i: &Instruction, draws: &mut Draws) -> Option<Done> {
        let (p, a) = self.pick(i.a, Register::is_pair)?;
        let bounds = &self.bench.bounds;
        let steps = ROTATIONS[draws.below(ROTATIONS.len() as u64) as usize];
        match i.operation {
            Operation::Rotate => self.done(
                format_args!("Rotate(r{p}, {steps})"),
                &[p],
                bounds.rotate(&a.slots, steps),
                |c| c.rotate(&a.exact, steps),
                |side, k| side.evaluator.rotate(&a.fast[k], steps),
            ),
            _ => self.done(
                format_args!("Conjugate(r{p})"),
                &[p],
                bounds.conjugate(&a.slots),
                |c| c.evaluator().conjugate(&a.exact, &self.bench.fixture.reference.conjugation),
                |side, k| side.evaluator.conjugate(&a.fast[k]),
            ),
        }
    }

    /// Several rotations at once, each a register.
    fn hoisted(&self, i: &Instruction, draws: &mut Draws) -> Option<Vec<Done>> {
        let (p, a) = self.pick(i.a, Register::is_pair)?;
        let bounds = &self.bench.bounds;
        let mut steps: Vec<i64> = ROTATIONS.into_iter().filter(|steps| *steps != 0).collect();
        steps.truncate(2 + draws.below(2) as usize);
        let own = &self.bench.fixture.reference.rotations;
        let keys: Vec<_> = steps.iter().map(|steps| (own[steps].key_id, &own[steps])).collect();
        let one = |(n, step): (usize, &i64)| {
            self.done(
                format_args!("Hoisted(r{p}, {steps:?})[{n}]"),
                &[p],
                bounds.rotate(&a.slots, *step),
                |c| c.evaluator().galois_hoisted(&a.exact, &keys).map(|mut all| all.swap_remove(n)),
                |side, k| side.evaluator.rotate_hoisted(&a.fast[k], &steps).map(|mut all| all.swap_remove(n)),
            )
        };
        steps.iter().enumerate().map(one).collect()
    }

    /// A linear map; both sides take the plaintexts of the engine's first kernel (`r[circuit.linear.plaintext]`).
    fn linear(&self, i: &Instruction, draws: &mut Draws) -> Option<Done> {
        let (p, a) = self.pick(i.a, |a| self.is_canonical(a) && a.exact.level > 0)?;
        let diagonals = self.bench.diagonals(draws);
        let map = fast_linear::LinearMap::from_diagonals(a.slots.values.len(), &diagonals).ok()?;
        let prepared = map.prepare(self.bench.sides.first()?.encoder(), a.exact.scale).ok()?;
        let exact = LinearMap::from_plaintexts(engine_plaintexts(&prepared), a.exact.scale).ok()?;
        self.done(
            format_args!("Linear(r{p}, diagonals {:?} of seed {:#x})", diagonals.keys(), i.data),
            &[p],
            self.bench.bounds.linear(&a.slots, &exact, &diagonals),
            |c| c.linear(&a.exact, &exact, None),
            |side, k| map.prepare(side.encoder(), a.exact.scale)?.apply(&side.evaluator, &a.fast[k], None),
        )
    }

    /// A polynomial with coefficients below 1 of a register whose slots are at most about 1.
    fn polynomial(&self, i: &Instruction, draws: &mut Draws, basis: Basis) -> Option<Done> {
        let mut coefficients: Vec<f64> = (0..2 + draws.below(DEGREE)).map(|_| draws.unit()).collect();
        if draws.below(2) == 0 {
            coefficients.iter_mut().step_by(2).for_each(|c| *c = 0.0);
        }
        let plan = Plan::new(basis, &coefficients).ok()?;
        let small = |slots: &Slots| slots.magnitude() < 1.5;
        let (p, a) = self.pick(i.a, |a| self.is_canonical(a) && a.exact.level >= plan.depth() && small(&a.slots))?;
        let text = format!("{:?}(r{p}, {coefficients:?})", i.operation);
        let polynomial = match basis {
            Basis::Chebyshev => Polynomial::chebyshev(coefficients),
            Basis::Monomial => Polynomial::monomial(coefficients),
        };
        let polynomial = polynomial.ok()?;
        self.done(
            text,
            &[p],
            self.bench.bounds.polynomial(&a.slots, basis, &plan),
            |c| c.polynomial(&a.exact, &plan),
            |side, k| evaluate(&side.evaluator, &a.fast[k], &polynomial),
        )
    }
}
