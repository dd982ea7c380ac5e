//! What moves elements to or from places that indices say.
//!
//! Indices are data: one outside its axis reads nothing and writes nothing. Where a value must come of it all the same,
//! that is NaN, the smallest integer or false, so that a loss made of it is no number and training stops.

use super::Kernel;
use super::call::{Call, Result, wrong};
use crate::types::DType;

/// Slices of `data` along one axis: `y[outer, i, inner] = data[outer, indices[i], inner]`, and its gradient.
#[derive(Clone, Debug, PartialEq)]
pub struct Gather {
    /// All axes before that axis.
    pub outer: usize,
    /// That axis of `data`.
    pub len: usize,
    /// Indices, -len to len - 1.
    pub count: usize,
    /// All axes behind that axis.
    pub inner: usize,
    /// Of `data`.
    pub element: DType,
    /// Whether the gradient is added onto a third operand, in place.
    pub onto: bool,
}

/// The place that an index means in an axis of `len`; negative ones count from its end.
pub fn place(index: i64, len: usize) -> Option<usize> {
    let from_front = if index < 0 { index.checked_add(len as i64)? } else { index };
    usize::try_from(from_front).ok().filter(|&it| it < len)
}

pub(super) fn gather(call: &Call<'_>) -> Result<Kernel> {
    call.operands(2..=2)?;
    let (element, data) = call.dense(0)?;
    let it = sizes(call, element, data)?;
    call.result_of(element, &gathered(call, data)?)?;
    Ok(Kernel::Gather(it))
}

pub(super) fn gather_grad(call: &Call<'_>) -> Result<Kernel> {
    let shape = call.shape()?;
    let it = sizes(call, DType::F32, &shape)?;
    call.f32_of(0, &gathered(call, &shape)?)?;
    Ok(Kernel::GatherGrad(Gather { onto: call.sum(2, &shape)?, ..it }))
}

fn sizes(call: &Call<'_>, element: DType, data: &[usize]) -> Result<Gather> {
    let axis = call.size("axis", 0)?;
    if data.len() <= axis {
        return Err(wrong("axis", format!("below {}", data.len())));
    }
    let count = indices(call, 1)?.iter().product();
    let (outer, inner) = (data[..axis].iter().product(), data[axis + 1..].iter().product());
    Ok(Gather { outer, len: data[axis], count, inner, element, onto: false })
}

/// Axes of y; the axis is checked.
fn gathered(call: &Call<'_>, data: &[usize]) -> Result<Vec<usize>> {
    let axis = call.size("axis", 0)?;
    Ok([&data[..axis], indices(call, 1)?, &data[axis + 1..]].concat())
}

/// Axes of an i64 operand.
pub(super) fn indices<'a>(call: &Call<'a>, slot: usize) -> Result<&'a [usize]> {
    match call.dense(slot)? {
        (DType::I64, dims) => Ok(dims),
        _ => Err(call.wrong_operand(slot, "i64 indices")),
    }
}
