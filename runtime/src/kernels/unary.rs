//! Functions of one number, element by element, and the gradients of those whose derivative is worth a kernel.

use super::Kernel;
use super::call::{Call, Result, wrong};

/// `y = function(x)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Unary {
    /// Elements.
    pub n: usize,
    /// Of each element.
    pub function: Function,
}

/// `dx = dy * function'(x)`.
#[derive(Clone, Debug, PartialEq)]
pub struct UnaryGrad {
    /// Elements.
    pub n: usize,
    /// Of each element of x.
    pub function: Smooth,
}

/// A function of one number. Outside its domain it is NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "what is not documented is what mathematics calls by this name")]
pub enum Function {
    /// `x + offset`.
    Shift {
        /// What is added.
        offset: f64,
    },
    /// `x ^ exponent`, by the rules of IEEE 754's `pow`.
    Power {
        /// To which each is raised.
        exponent: f64,
    },
    /// `1 / x`.
    Reciprocal,
    Exp,
    /// The natural logarithm.
    Log,
    Sqrt,
    Abs,
    /// -1, 0 or 1.
    Sign,
    Floor,
    Ceil,
    /// To the nearest integer; halves go to the even one.
    Round,
    Sin,
    Cos,
    Tan,
    Asin,
    Acos,
    Atan,
    Sinh,
    Cosh,
    Asinh,
    Acosh,
    Atanh,
    Erf,
    /// To the nearest 16-bit float; halves go to the even one.
    RoundF16,
    /// A function whose derivative has a kernel.
    Smooth(Smooth),
}

/// A smooth activation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Smooth {
    /// `x * Φ(x)`, Φ being the normal distribution.
    Gelu,
    /// `x / 2 * (1 + tanh(√(2/π) * (x + 0.044715 * x³)))`.
    GeluTanh,
    /// `x * sigmoid(x)`.
    Silu,
    /// `x * tanh(softplus(x))`.
    Mish,
    /// `x * clip(x / 6 + 0.5, 0, 1)`.
    HardSwish,
    /// `log(1 + e^x)`.
    Softplus,
    /// `x / (1 + |x|)`.
    Softsign,
    /// `0 < x ? x : alpha * (e^x - 1)`.
    Elu {
        /// How far below zero it goes.
        alpha: f64,
    },
}

pub(super) fn shift(call: &Call<'_>) -> Result<Kernel> {
    unary(call, Function::Shift { offset: call.float("offset")? })
}

pub(super) fn power(call: &Call<'_>) -> Result<Kernel> {
    unary(call, Function::Power { exponent: call.float("exponent")? })
}

pub(super) fn gelu(call: &Call<'_>) -> Result<Kernel> {
    unary(call, Function::Smooth(approximate(call)?))
}

pub(super) fn gelu_grad(call: &Call<'_>) -> Result<Kernel> {
    grad(call, approximate(call)?)
}

pub(super) fn elu(call: &Call<'_>) -> Result<Kernel> {
    unary(call, Function::Smooth(Smooth::Elu { alpha: call.float("alpha")? }))
}

pub(super) fn elu_grad(call: &Call<'_>) -> Result<Kernel> {
    grad(call, Smooth::Elu { alpha: call.float("alpha")? })
}

/// An instruction with one operand and one result of its type.
pub(super) fn unary(call: &Call<'_>, function: Function) -> Result<Kernel> {
    call.operands(1..=1)?;
    let dims = call.f32(0)?;
    call.result(dims)?;
    Ok(Kernel::Unary(Unary { n: dims.iter().product(), function }))
}

/// An instruction that makes dx from dy and x.
pub(super) fn grad(call: &Call<'_>, function: Smooth) -> Result<Kernel> {
    call.operands(2..=2)?;
    let dims = call.f32(0)?;
    call.f32_of(1, dims)?;
    call.result(dims)?;
    Ok(Kernel::UnaryGrad(UnaryGrad { n: dims.iter().product(), function }))
}

pub(super) fn approximate(call: &Call<'_>) -> Result<Smooth> {
    match call.word("approximate")? {
        "none" => Ok(Smooth::Gelu),
        "tanh" => Ok(Smooth::GeluTanh),
        _ => Err(wrong("approximate", "none or tanh".into())),
    }
}
