//! What programs are made of, and how they are drawn.

use proptest::collection::vec;
use proptest::prelude::*;

/// An operation, without its operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    EncryptSecret,
    EncryptPublic,
    Add,
    Sub,
    Neg,
    AddPlain,
    MulPlain,
    AddConstant,
    MulConstant,
    Product,
    MulLazy,
    Relinearise,
    Rescale,
    DropLevel,
    ToLevel,
    Rotate,
    Hoisted,
    Conjugate,
    MulI,
    Linear,
    Chebyshev,
    Powers,
}

impl Operation {
    /// All operations; products and rescales stand twice, since programs without them stay shallow.
    const DRAWN: [Self; 26] = [
        Self::EncryptSecret,
        Self::EncryptPublic,
        Self::Add,
        Self::Sub,
        Self::Neg,
        Self::AddPlain,
        Self::MulPlain,
        Self::AddConstant,
        Self::MulConstant,
        Self::Product,
        Self::Product,
        Self::MulLazy,
        Self::MulLazy,
        Self::Relinearise,
        Self::Relinearise,
        Self::Rescale,
        Self::Rescale,
        Self::DropLevel,
        Self::ToLevel,
        Self::Rotate,
        Self::Hoisted,
        Self::Conjugate,
        Self::MulI,
        Self::Linear,
        Self::Chebyshev,
        Self::Powers,
    ];
}

/// One step of a program. Operands are picked among the registers that the operation can take; where there are none, the step
/// does nothing, so that every sequence of instructions is a program and stays one when it is shrunk.
#[derive(Clone, Copy, Debug)]
pub struct Instruction {
    /// What is done.
    pub operation: Operation,
    /// Picks the first operand.
    pub a: usize,
    /// Picks the second operand.
    pub b: usize,
    /// Seed of slots, constants, steps and coefficients.
    pub data: u64,
}

/// Programs of up to `length` instructions.
pub fn programs(length: usize) -> impl Strategy<Value = Vec<Instruction>> {
    let operation = proptest::sample::select(&Operation::DRAWN[..]);
    let instruction = (operation, 0..8usize, 0..8usize, any::<u64>()).prop_map(|(operation, a, b, data)| Instruction {
        operation,
        a,
        b,
        data,
    });
    vec(instruction, 1..=length)
}
