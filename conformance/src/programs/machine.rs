//! Runs a program on the reference and on the engine, and compares after every operation.

use super::bench::{Bench, Side};
use super::instruction::{Instruction, Operation};
use crate::metrics::{Expected, compare};
use crate::scheme::first_difference;
use crate::scheme::fixture::Output;
use std::fmt::Display;
use touchstone_ckks::{self as ckks, CkksError, Complex64};
use touchstone_reference::bounds::program::Slots;
use touchstone_reference::circuits::Circuits;
use touchstone_reference::ckks as exact;
use touchstone_reference::error::ReferenceError;

/// Changes a result of the engine: a planted fault.
pub type Fault = fn(Operation, &Side<'_>, ckks::Ciphertext) -> ckks::Ciphertext;

/// What is checked after every operation.
#[derive(Clone, Copy)]
pub struct Checks {
    /// Residues are equal (`r[conform.exact]`).
    pub bits: bool,
    /// A fault of the engine, in tests of the checks.
    pub fault: Option<Fault>,
}

/// What programs did.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Programs that ended.
    pub programs: usize,
    /// Operations that ran.
    pub operations: usize,
    /// Residues compared, over all kernels.
    pub residues: usize,
    /// Slots compared.
    pub slots: usize,
    /// Largest ratio of error to bound, and the operation after which it stood.
    pub worst: (f64, String),
}

impl Tally {
    /// Adds what another program did.
    pub fn add(&mut self, other: Self) {
        self.programs += 1;
        self.operations += other.operations;
        self.residues += other.residues;
        self.slots += other.slots;
        if other.worst.0 > self.worst.0 {
            self.worst = other.worst;
        }
    }
}

/// A ciphertext on both sides, with what it should hold.
pub struct Register {
    pub exact: exact::Ciphertext,
    pub fast: Vec<ckks::Ciphertext>,
    pub slots: Slots,
}

impl Register {
    /// Whether it is a pair.
    pub fn is_pair(&self) -> bool {
        self.exact.polys.len() == 2
    }

    /// Level and label.
    pub fn place(&self) -> (usize, u64) {
        (self.exact.level, self.exact.scale.to_bits())
    }
}

/// An operation that ran on both sides.
pub struct Done {
    pub text: String,
    /// Registers that it read.
    pub operands: Vec<usize>,
    pub exact: Result<exact::Ciphertext, ReferenceError>,
    pub fast: Vec<Result<ckks::Ciphertext, CkksError>>,
    pub slots: Slots,
}

/// Registers of one program.
pub struct Machine<'a> {
    pub bench: &'a Bench<'a>,
    checks: Checks,
    pub registers: Vec<Register>,
    /// What ran, with the registers that each operation read.
    listing: Vec<(String, Vec<usize>)>,
    /// What was compared.
    pub tally: Tally,
}

impl<'a> Machine<'a> {
    /// A machine without registers.
    pub fn new(bench: &'a Bench<'a>, checks: Checks) -> Self {
        Self { bench, checks, registers: Vec::new(), listing: Vec::new(), tally: Tally::default() }
    }

    /// Runs a program on two encrypted inputs.
    ///
    /// # Errors
    /// What differs, in words, after the listing of the operations that lead to it.
    pub fn run(mut self, program: &[Instruction]) -> Result<Tally, String> {
        let input = |operation, data| Instruction { operation, a: 0, b: 0, data };
        let inputs = [input(Operation::EncryptSecret, 1), input(Operation::EncryptPublic, 2)];
        for instruction in inputs.iter().chain(program) {
            for done in self.perform(instruction).unwrap_or_default() {
                self.listing.push((done.text.clone(), done.operands.clone()));
                let accepted = self.accept(instruction.operation, done);
                accepted.map_err(|difference| format!("{}  {difference}", self.lines()))?;
            }
        }
        Ok(self.tally)
    }

    /// The last operation and those that it depends on.
    fn lines(&self) -> String {
        let mut needed = vec![false; self.listing.len()];
        needed.last_mut().into_iter().for_each(|last| *last = true);
        for (index, (_, operands)) in self.listing.iter().enumerate().rev() {
            if needed[index] {
                operands.iter().for_each(|operand| needed[*operand] = true);
            }
        }
        let lines = self.listing.iter().enumerate().filter(|(index, _)| needed[*index]);
        lines.map(|(index, (text, _))| format!("  r{index} = {text}\n")).collect()
    }

    /// An operation on the registers `operands`, unless the prediction says that it leaves the range of the scheme.
    pub fn done(
        &self,
        text: impl Display,
        operands: &[usize],
        slots: Option<Slots>,
        exact: impl FnOnce(&Circuits<'_>) -> Result<exact::Ciphertext, ReferenceError>,
        fast: impl Fn(&Side<'_>, usize) -> Result<ckks::Ciphertext, CkksError>,
    ) -> Option<Done> {
        let slots = slots?;
        let circuits = Circuits::new(&self.bench.fixture.reference.params, &self.bench.keys);
        let fast = self.bench.sides.iter().enumerate().map(|(kernel, side)| fast(side, kernel)).collect();
        Some(Done { text: text.to_string(), operands: operands.to_vec(), exact: exact(&circuits), fast, slots })
    }

    fn accept(&mut self, operation: Operation, done: Done) -> Result<(), String> {
        let exact = done.exact.map_err(|error| format!("reference: {error}"))?;
        let reference = &self.bench.fixture.reference;
        let expected = reference.output(&exact).map_err(|error| error.to_string())?;
        let mut fast = Vec::new();
        for (index, (side, result)) in self.bench.sides.iter().zip(done.fast).enumerate() {
            let kernel = side.engine.kernel;
            let result = result.map_err(|error| format!("engine, {kernel:?}: {error}"))?;
            let result = self
                .checks
                .fault
                .map_or(Ok(result.clone()), |fault| Ok::<_, String>(fault(operation, side, result)))?;
            let got = side.engine.cipher_output(&result);
            if self.checks.bits {
                let difference = first_difference(&expected, &got, 0);
                difference.map_or(Ok(()), |difference| Err(format!("r[conform.exact] {kernel:?}: {difference}")))?;
                self.tally.residues += expected.residue_count();
            }
            // Equal residues decrypt to equal slots.
            if index == 0 || !self.checks.bits {
                self.within_bounds(&got, &done.slots, &done.text).map_err(|error| format!("{error}, {kernel:?}"))?;
            }
            fast.push(result);
        }
        self.tally.operations += 1;
        self.registers.push(Register { exact, fast, slots: done.slots });
        Ok(())
    }

    /// Decrypts what the engine made and compares it with the exact program (`r[noise.program]`).
    fn within_bounds(&mut self, got: &Output, slots: &Slots, text: &str) -> Result<(), String> {
        let reference = &self.bench.fixture.reference;
        if (got.polys[0].len(), got.scale) != (slots.level + 1, slots.scale) {
            let (limbs, scale) = (got.polys[0].len(), got.scale);
            return Err(format!(
                "{limbs} limbs at scale {scale:e}, predicted level {} at {:e}",
                slots.level, slots.scale
            ));
        }
        let decode = || {
            let ciphertext = reference.ciphertext(&got.polys, got.scale)?;
            reference.encoder.decode(&exact::decrypt(&reference.secret, &ciphertext)?)
        };
        let decoded = decode().map_err(|error| format!("decryption: {error}"))?;
        let rad = std::f64::consts::SQRT_2 * decoded.radius;
        let expected: Vec<Expected> = slots.bounds.iter().map(|&bound| Expected { mid: 0.0, rad, bound }).collect();
        let distance = |(got, want): (&Complex64, &Complex64)| (got - want).norm();
        let errors: Vec<f64> = decoded.slots.iter().zip(&slots.values).map(distance).collect();
        let comparison = compare("slots", &expected, &errors).map_err(|error| error.to_string())?;
        self.tally.slots += errors.len();
        let ratio = comparison.worst_error / comparison.worst_allowance;
        if !comparison.conforms() {
            let (index, error, bound) = (comparison.worst_index, comparison.worst_error, comparison.worst_allowance);
            return Err(format!("r[noise.program] slot {index}: error {error:e}, bound {bound:e}, ratio {ratio:.3e}"));
        }
        if ratio > self.tally.worst.0 {
            self.tally.worst = (ratio, text.to_owned());
        }
        Ok(())
    }
}
