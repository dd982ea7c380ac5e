//! Truths, integers, and changes of the element type.

use super::Kernel;
use super::call::{Call, Result};
use super::elementwise::{Broadcast, Flat, broadcast_dims, fit};
use super::strides::{broadcast, merge, row_major};
use crate::error::KernelError;
use crate::types::{DType, Type};

/// Another element type. To integers, floats lose their fraction, and those out of range become the nearest integer;
/// what is not a number becomes 0. As truths, all but 0 are true.
#[derive(Clone, Debug, PartialEq)]
pub struct Cast {
    /// Elements.
    pub n: usize,
    /// F32, I64 or Bool.
    pub from: DType,
    /// F32, I64 or Bool.
    pub to: DType,
}

/// How two numbers are compared; nothing holds of what is not a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "named by what holds")]
pub enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// `y = a ? b` for tensors of one element type.
#[derive(Clone, Debug, PartialEq)]
pub struct Compare {
    /// What is asked.
    pub how: Comparison,
    /// F32, I64 or Bool; Bool only to be equal.
    pub element: DType,
    /// Axes of y and strides of the operands.
    pub sizes: Broadcast,
}

/// How two truths make one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "named by what they compute")]
pub enum Connective {
    And,
    Or,
    Xor,
}

/// `y = a ? b` for truths.
#[derive(Clone, Debug, PartialEq)]
pub struct Connect {
    /// What y is.
    pub how: Connective,
    /// Axes of y and strides of the operands.
    pub sizes: Broadcast,
}

/// `y = condition ? a : b`.
#[derive(Clone, Debug, PartialEq)]
pub struct Where {
    /// Axes of y, merged where possible; at least one.
    pub dims: Vec<usize>,
    /// Strides of condition, a and b for these axes; 0 where one is broadcast.
    pub strides: [Vec<usize>; 3],
    /// Of a, b and y.
    pub element: DType,
}

/// `dx = condition == when ? dy : 0`, the condition broadcast to dy.
#[derive(Clone, Debug, PartialEq)]
pub struct Select {
    /// Axes of dy and strides of dy and condition.
    pub sizes: Broadcast,
    /// Where dy is kept.
    pub when: bool,
}

/// What two integers make. Sums and products wrap; whatever is divided by 0 is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// Their sum.
    Add,
    /// Their difference.
    Sub,
    /// Their product.
    Mul,
    /// The quotient without its fraction.
    Div,
    /// The remainder with the sign of the divisor.
    Mod,
    /// The remainder with the sign of the dividend.
    Fmod,
}

/// Arithmetic of i64.
#[derive(Clone, Debug, PartialEq)]
pub struct Integer {
    /// What y is.
    pub how: Arithmetic,
    /// Axes of y and strides of the operands.
    pub sizes: Broadcast,
}

impl Comparison {
    /// Whether it holds.
    #[inline(always)]
    pub fn holds<T: PartialOrd>(self, a: T, b: T) -> bool {
        match self {
            Comparison::Equal => a == b,
            Comparison::Less => a < b,
            Comparison::LessOrEqual => a <= b,
            Comparison::Greater => a > b,
            Comparison::GreaterOrEqual => a >= b,
        }
    }
}

impl Connective {
    /// The truth of both.
    #[inline(always)]
    pub fn of(self, a: bool, b: bool) -> bool {
        match self {
            Connective::And => a && b,
            Connective::Or => a || b,
            Connective::Xor => a != b,
        }
    }
}

impl Arithmetic {
    /// The result; never traps.
    #[inline(always)]
    pub fn of(self, a: i64, b: i64) -> i64 {
        match self {
            Arithmetic::Add => a.wrapping_add(b),
            Arithmetic::Sub => a.wrapping_sub(b),
            Arithmetic::Mul => a.wrapping_mul(b),
            _ if b == 0 => 0,
            Arithmetic::Div => a.wrapping_div(b),
            Arithmetic::Fmod => a.wrapping_rem(b),
            Arithmetic::Mod => match a.wrapping_rem(b) {
                rest if rest != 0 && (rest < 0) != (b < 0) => rest + b,
                rest => rest,
            },
        }
    }
}

pub(super) fn cast(call: &Call<'_>) -> Result<Kernel> {
    call.operands(1..=1)?;
    let (from, dims) = plain(call, 0)?;
    let to = match call.word("to")? {
        "f32" => DType::F32,
        "i64" => DType::I64,
        "bool" => DType::Bool,
        _ => return Err(KernelError::Attr { name: "to", expected: "f32, i64 or bool".into() }),
    };
    call.result_of(to, dims)?;
    Ok(Kernel::Cast(Cast { n: dims.iter().product(), from, to }))
}

pub(super) fn equal(call: &Call<'_>) -> Result<Kernel> {
    compare(call, Comparison::Equal)
}

pub(super) fn less(call: &Call<'_>) -> Result<Kernel> {
    compare(call, Comparison::Less)
}

pub(super) fn less_or_equal(call: &Call<'_>) -> Result<Kernel> {
    compare(call, Comparison::LessOrEqual)
}

pub(super) fn greater(call: &Call<'_>) -> Result<Kernel> {
    compare(call, Comparison::Greater)
}

pub(super) fn greater_or_equal(call: &Call<'_>) -> Result<Kernel> {
    compare(call, Comparison::GreaterOrEqual)
}

pub(super) fn and(call: &Call<'_>) -> Result<Kernel> {
    connect(call, Connective::And)
}

pub(super) fn or(call: &Call<'_>) -> Result<Kernel> {
    connect(call, Connective::Or)
}

pub(super) fn xor(call: &Call<'_>) -> Result<Kernel> {
    connect(call, Connective::Xor)
}

pub(super) fn not(call: &Call<'_>) -> Result<Kernel> {
    call.operands(1..=1)?;
    let x = of(call, 0, DType::Bool)?;
    call.result_of(DType::Bool, x)?;
    Ok(Kernel::Not(Flat { n: x.iter().product() }))
}

pub(super) fn choose(call: &Call<'_>) -> Result<Kernel> {
    call.operands(3..=3)?;
    let condition = of(call, 0, DType::Bool)?;
    let (element, a) = plain(call, 1)?;
    let b = of(call, 2, element)?;
    let y = broadcast_dims(&broadcast_dims(condition, a), b);
    call.result_of(element, &y)?;
    let strides = [condition, a, b].map(|it| broadcast(it, &y));
    let [Some(condition), Some(a), Some(b)] = strides else {
        return Err(KernelError::Sizes(format!("{condition:?}, {a:?} and {b:?} cannot be broadcast to {y:?}")));
    };
    let (dims, [condition, a, b, _]) = merge(&y, [&condition, &a, &b, &row_major(&y)]);
    Ok(Kernel::Where(Where { dims, strides: [condition, a, b], element }))
}

pub(super) fn select(call: &Call<'_>) -> Result<Kernel> {
    call.operands(2..=2)?;
    let dy = call.f32(0)?;
    let condition = of(call, 1, DType::Bool)?;
    call.result(dy)?;
    Ok(Kernel::Select(Select { sizes: fit(dy, condition, dy)?, when: call.flag("when")? }))
}

pub(super) fn modulo(call: &Call<'_>) -> Result<Kernel> {
    let how = if call.flag("fmod")? { Arithmetic::Fmod } else { Arithmetic::Mod };
    integer(call, how)?.ok_or_else(|| call.wrong_operand(0, "i64"))
}

/// The kernel, if the first operand is of integers.
pub(super) fn integer(call: &Call<'_>, how: Arithmetic) -> Result<Option<Kernel>> {
    match call.operand(0)? {
        Type::Dense(DType::I64, _) => {
            let sizes = pair(call, DType::I64, DType::I64)?;
            Ok(Some(Kernel::Integer(Integer { how, sizes })))
        }
        _ => Ok(None),
    }
}

fn compare(call: &Call<'_>, how: Comparison) -> Result<Kernel> {
    let (element, _) = plain(call, 0)?;
    if element == DType::Bool && how != Comparison::Equal {
        return Err(call.wrong_operand(0, "f32 or i64"));
    }
    Ok(Kernel::Compare(Compare { how, element, sizes: pair(call, element, DType::Bool)? }))
}

fn connect(call: &Call<'_>, how: Connective) -> Result<Kernel> {
    Ok(Kernel::Connect(Connect { how, sizes: pair(call, DType::Bool, DType::Bool)? }))
}

/// Two operands of one element type, broadcast to each other.
fn pair(call: &Call<'_>, from: DType, to: DType) -> Result<Broadcast> {
    call.operands(2..=2)?;
    let (a, b) = (of(call, 0, from)?, of(call, 1, from)?);
    let y = broadcast_dims(a, b);
    call.result_of(to, &y)?;
    fit(a, b, &y)
}

/// Element and axes of an operand of floats, integers or truths.
fn plain<'a>(call: &Call<'a>, slot: usize) -> Result<(DType, &'a [usize])> {
    match call.dense(slot)? {
        (element @ (DType::F32 | DType::I64 | DType::Bool), dims) => Ok((element, dims)),
        _ => Err(call.wrong_operand(slot, "f32, i64 or bool")),
    }
}

/// Axes of an operand of this element type.
fn of<'a>(call: &Call<'a>, slot: usize, element: DType) -> Result<&'a [usize]> {
    match call.dense(slot)? {
        (found, dims) if found == element => Ok(dims),
        _ => Err(call.wrong_operand(slot, format!("{element:?}").to_lowercase())),
    }
}
