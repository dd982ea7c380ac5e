//! Functions of two numbers, element by element, each operand stretched to the other.

use super::Kernel;
use super::call::{Call, Result};
use super::elementwise::{self, Broadcast};

/// `y = operator(a, b)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Binary {
    /// How the operands are stretched.
    pub sizes: Broadcast,
    /// Of each pair of elements.
    pub operator: Operator,
}

/// A function of two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `a ^ b`, by the rules of IEEE 754's `pow`.
    Pow,
    /// Derivative of `a ^ b` by a; 0 where b is 0.
    PowBaseSlope,
    /// Derivative of `a ^ b` by b; 0 where a is 0 and b is not negative.
    PowExponentSlope,
    /// The larger one; NaN if either is.
    Max,
    /// The smaller one; NaN if either is.
    Min,
    /// What of the larger one's cotangent is a's: 1 where a is larger, half where they are equal.
    MaxShare,
    /// The remainder of `a / b` with the sign of a.
    Fmod,
}

pub(super) fn binary(call: &Call<'_>, operator: Operator) -> Result<Kernel> {
    Ok(Kernel::Binary(Binary { sizes: elementwise::binary(call)?, operator }))
}
