//! Sums over axes, and their inverse.

use super::Kernel;
use super::call::{Call, Result, wrong};
use super::fold::sum;
use super::strides::{broadcast, merge, row_major};
use crate::error::KernelError;
use crate::types::{DType, Type};

/// `y[at strides] += x * scale`, x being row-major over `dims`.
#[derive(Clone, Debug, PartialEq)]
pub struct Reduce {
    /// Axes of x, merged where possible; at least one.
    pub dims: Vec<usize>,
    /// Strides of y for these axes; 0 on those that are summed.
    pub strides: Vec<usize>,
    /// Elements of y.
    pub outputs: usize,
    /// 1, or 1 / count for a mean.
    pub scale: f64,
    /// Whether the sums are added onto a second operand, in place.
    pub onto: bool,
}

/// `y = x[at strides] * scale`, y being row-major over `dims`.
#[derive(Clone, Debug, PartialEq)]
pub struct Expand {
    /// Axes of y, merged where possible; at least one.
    pub dims: Vec<usize>,
    /// Strides of x for these axes; 0 where it is broadcast.
    pub strides: Vec<usize>,
    /// Elements of x.
    pub inputs: usize,
    /// Factor of each element; 1 unless they are f32.
    pub scale: f64,
    /// Of both tensors.
    pub element: DType,
}

pub(super) fn expand(call: &Call<'_>) -> Result<Kernel> {
    call.operands(1..=1)?;
    let (element, x) = call.dense(0)?;
    let shape = call.shape()?;
    call.result_of(element, &shape)?;
    let scale = call.float("scale")?;
    if element != DType::F32 && scale != 1.0 {
        return Err(wrong("scale", "1 for what is not f32".into()));
    }
    let strides = (x.len() == shape.len()).then(|| broadcast(x, &shape)).flatten();
    let strides = strides.ok_or_else(|| KernelError::Sizes(format!("{x:?} cannot be expanded to {shape:?}")))?;
    let (dims, [strides, _]) = merge(&shape, [&strides, &row_major(&shape)]);
    Ok(Kernel::Expand(Expand { dims, strides, inputs: x.iter().product(), scale, element }))
}

pub(super) fn reduce_to(call: &Call<'_>) -> Result<Kernel> {
    let x = call.f32(0)?;
    let shape = call.shape()?;
    let onto = call.sum(1, &shape)?;
    Ok(Kernel::Reduce(Reduce { onto, ..reduce(x, &shape, 1.0)? }))
}

pub(super) fn reduce_sum(call: &Call<'_>) -> Result<Kernel> {
    if let Type::Dense(DType::I64, _) = call.operand(0)? {
        return sum(call);
    }
    over_axes(call, |_| 1.0)
}

pub(super) fn reduce_mean(call: &Call<'_>) -> Result<Kernel> {
    over_axes(call, |count| 1.0 / count as f64)
}

fn over_axes(call: &Call<'_>, scale: fn(usize) -> f64) -> Result<Kernel> {
    call.operands(1..=1)?;
    let x = call.f32(0)?;
    let (sizes, kept, left) = folded(call, x)?;
    call.result(if call.flag("keepdims")? { &kept } else { &left })?;
    let count = sizes.dims.iter().product::<usize>() / sizes.outputs;
    Ok(Kernel::Reduce(Reduce { scale: scale(count), ..sizes }))
}

/// How x is folded over attr `axes`, and the axes of the result: with those kept as 1, and without them.
pub(super) fn folded(call: &Call<'_>, x: &[usize]) -> Result<(Reduce, Vec<usize>, Vec<usize>)> {
    let axes = call.list("axes", 0)?;
    if !axes.is_sorted_by(|a, b| a < b) || axes.iter().any(|&it| x.len() <= it) {
        return Err(wrong("axes", format!("ascending, each below {}", x.len())));
    }
    let kept: Vec<_> = x.iter().enumerate().map(|(i, &dim)| if axes.contains(&i) { 1 } else { dim }).collect();
    let left = x.iter().enumerate().filter(|(i, _)| !axes.contains(i)).map(|(_, &dim)| dim).collect();
    Ok((reduce(x, &kept, 1.0)?, kept, left))
}

fn reduce(x: &[usize], y: &[usize], scale: f64) -> Result<Reduce> {
    let strides = broadcast(y, x).ok_or_else(|| KernelError::Sizes(format!("{x:?} cannot be summed down to {y:?}")))?;
    let (dims, [strides, _]) = merge(x, [&strides, &row_major(x)]);
    Ok(Reduce { dims, strides, outputs: y.iter().product(), scale, onto: false })
}
