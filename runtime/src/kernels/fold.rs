//! What goes over an axis or several and is no sum of floats: extremes, products, running sums, and orders.

use super::Kernel;
use super::call::{Call, Result, wrong};
use super::reduce::{Reduce, folded};
use crate::types::{DType, Type};

/// How elements become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Their sum; wraps.
    Sum,
    /// Their product; wraps.
    Prod,
    /// The largest; what is no number if there is such a thing.
    Max,
    /// The smallest; what is no number if there is such a thing.
    Min,
}

/// Elements folded over axes.
#[derive(Clone, Debug, PartialEq)]
pub struct Fold {
    /// How elements become one.
    pub how: How,
    /// F32 or I64; sums of F32 are another kernel's.
    pub element: DType,
    /// Which elements become which; the scale is 1.
    pub sizes: Reduce,
}

/// One axis of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// All axes before it.
    pub outer: usize,
    /// Its length.
    pub len: usize,
    /// All axes behind it.
    pub inner: usize,
}

/// Sums of all elements up to each along an axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Cumsum {
    /// Where it runs.
    pub axis: Axis,
    /// Whether an element itself does not count.
    pub exclusive: bool,
    /// Whether it runs from the end.
    pub reverse: bool,
    /// F32 or I64.
    pub element: DType,
}

/// The `k` largest or smallest elements along an axis, in order, and where they are. Among equals the one with the lowest
/// index comes first; what is no number is larger than everything else.
#[derive(Clone, Debug, PartialEq)]
pub struct Topk {
    /// Where the elements compete.
    pub axis: Axis,
    /// How many are taken, 1 to `axis.len`.
    pub k: usize,
    /// Whether the largest are.
    pub largest: bool,
}

/// Index of the largest or smallest element along an axis; what is no number is larger than everything else.
#[derive(Clone, Debug, PartialEq)]
pub struct ArgExtreme {
    /// Where the elements compete.
    pub axis: Axis,
    /// Whether the largest wins.
    pub largest: bool,
    /// Whether the last one of equals wins, not the first.
    pub last: bool,
    /// F32 or I64.
    pub element: DType,
}

pub(super) fn reduce_max(call: &Call<'_>) -> Result<Kernel> {
    fold(call, How::Max)
}

pub(super) fn reduce_min(call: &Call<'_>) -> Result<Kernel> {
    fold(call, How::Min)
}

pub(super) fn reduce_prod(call: &Call<'_>) -> Result<Kernel> {
    fold(call, How::Prod)
}

/// `reduce_sum` of integers.
pub(super) fn sum(call: &Call<'_>) -> Result<Kernel> {
    fold(call, How::Sum)
}

/// dy and x; dy keeps the axes.
pub(super) fn reduce_prod_grad(call: &Call<'_>) -> Result<Kernel> {
    call.operands(2..=2)?;
    let x = call.f32(1)?;
    let (sizes, kept, _) = folded(call, x)?;
    call.f32_of(0, &kept)?;
    call.result(x)?;
    Ok(Kernel::ReduceProdGrad(sizes))
}

pub(super) fn cumsum(call: &Call<'_>) -> Result<Kernel> {
    call.operands(1..=1)?;
    let (element, x) = numbers(call)?;
    call.result_of(element, x)?;
    let (exclusive, reverse) = (call.flag("exclusive")?, call.flag("reverse")?);
    Ok(Kernel::Cumsum(Cumsum { axis: axis(call, x)?, exclusive, reverse, element }))
}

pub(super) fn top_k(call: &Call<'_>) -> Result<Kernel> {
    call.operands(1..=1)?;
    let x = call.f32(0)?;
    let axis = axis(call, x)?;
    let k = call.size("k", 1)?;
    if axis.len < k {
        return Err(wrong("k", format!("1 to {}", axis.len)));
    }
    let mut y = x.to_vec();
    y[call.size("axis", 0)?] = k;
    call.results(&[Type::f32(&y), Type::Dense(DType::I64, y)])?;
    Ok(Kernel::TopK(Topk { axis, k, largest: call.flag("largest")? }))
}

pub(super) fn arg_extreme(call: &Call<'_>) -> Result<Kernel> {
    call.operands(1..=1)?;
    let (element, x) = numbers(call)?;
    let axis = axis(call, x)?;
    let mut y = x.to_vec();
    y[call.size("axis", 0)?] = 1;
    call.result_of(DType::I64, &y)?;
    let (largest, last) = (call.flag("largest")?, call.flag("last")?);
    Ok(Kernel::ArgExtreme(ArgExtreme { axis, largest, last, element }))
}

fn fold(call: &Call<'_>, how: How) -> Result<Kernel> {
    call.operands(1..=1)?;
    let (element, x) = numbers(call)?;
    let (sizes, kept, left) = folded(call, x)?;
    call.result_of(element, if call.flag("keepdims")? { &kept } else { &left })?;
    Ok(Kernel::Fold(Fold { how, element, sizes }))
}

/// Element and axes of an operand of floats or integers.
fn numbers<'a>(call: &Call<'a>) -> Result<(DType, &'a [usize])> {
    match call.dense(0)? {
        (element @ (DType::F32 | DType::I64), dims) => Ok((element, dims)),
        _ => Err(call.wrong_operand(0, "f32 or i64")),
    }
}

fn axis(call: &Call<'_>, x: &[usize]) -> Result<Axis> {
    let axis = call.size("axis", 0)?;
    if x.len() <= axis {
        return Err(wrong("axis", format!("below {}", x.len())));
    }
    Ok(Axis { outer: x[..axis].iter().product(), len: x[axis], inner: x[axis + 1..].iter().product() })
}
