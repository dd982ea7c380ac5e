//! What moves elements and computes nothing.

use super::Kernel;
use super::call::{Call, Result, wrong};
use super::strides::{merge, row_major};
use crate::error::KernelError;
use crate::types::DType;

/// `y = x[offset + at strides]`, y being row-major over `dims`: a transpose or a slice.
#[derive(Clone, Debug, PartialEq)]
pub struct StridedRead {
    /// Axes of y, merged where possible; at least one.
    pub dims: Vec<usize>,
    /// Strides of x for these axes.
    pub strides: Vec<usize>,
    /// Element of x that is first in y.
    pub offset: usize,
    /// Elements of x.
    pub inputs: usize,
    /// Of both tensors.
    pub element: DType,
}

/// `y[offset + at strides] = x` and `value` elsewhere, x being row-major over `dims`: a padding, or a slice's gradient.
#[derive(Clone, Debug, PartialEq)]
pub struct StridedWrite {
    /// Axes of x, merged where possible; at least one.
    pub dims: Vec<usize>,
    /// Strides of y for these axes.
    pub strides: Vec<usize>,
    /// Element of y where the first of x goes.
    pub offset: usize,
    /// Elements of y.
    pub outputs: usize,
    /// What the other elements of y are.
    pub value: f64,
    /// Of both tensors.
    pub element: DType,
}

/// Operands one behind the other along an axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Concat {
    /// All axes before that axis.
    pub outer: usize,
    /// For each operand, its elements for one outer index.
    pub parts: Vec<usize>,
    /// Of all tensors.
    pub element: DType,
}

/// `y = x`.
#[derive(Clone, Debug, PartialEq)]
pub struct Copy {
    /// Elements.
    pub n: usize,
    /// Of both tensors.
    pub element: DType,
}

pub(super) fn reshape(call: &Call<'_>) -> Result<Kernel> {
    call.operands(1..=1)?;
    let ((element, x), shape) = (call.dense(0)?, call.shape()?);
    let n = x.iter().product();
    if n != shape.iter().product::<usize>() {
        return Err(wrong("shape", format!("of {n} elements")));
    }
    call.result_of(element, &shape)?;
    Ok(Kernel::Copy(Copy { n, element }))
}

pub(super) fn transpose(call: &Call<'_>) -> Result<Kernel> {
    call.operands(1..=1)?;
    let (element, x) = call.dense(0)?;
    let perm = call.sizes("perm", x.len(), 0)?;
    if !(0..x.len()).all(|it| perm.contains(&it)) {
        return Err(wrong("perm", format!("an order of {} axes", x.len())));
    }
    let y: Vec<_> = perm.iter().map(|&it| x[it]).collect();
    call.result_of(element, &y)?;
    let own = row_major(x);
    let strides: Vec<_> = perm.iter().map(|&it| own[it]).collect();
    let (dims, [strides, _]) = merge(&y, [&strides, &row_major(&y)]);
    Ok(Kernel::StridedRead(StridedRead { dims, strides, offset: 0, inputs: x.iter().product(), element }))
}

pub(super) fn slice(call: &Call<'_>) -> Result<Kernel> {
    call.operands(1..=1)?;
    let (element, x) = call.dense(0)?;
    let ends = call.sizes("ends", x.len(), 0)?;
    let place = Place::parse(call, x)?;
    if !x.iter().zip(&ends).zip(&place.starts).all(|((&dim, &end), &start)| start < end && end <= dim) {
        return Err(wrong("ends", format!("behind the starts and within {x:?}")));
    }
    let lengths = place.starts.iter().zip(&ends).zip(&place.steps);
    let y: Vec<_> = lengths.map(|((start, end), &step)| (end - start).div_ceil(step)).collect();
    call.result_of(element, &y)?;
    let (dims, [strides, _]) = merge(&y, [&place.strides, &row_major(&y)]);
    Ok(Kernel::StridedRead(StridedRead { dims, strides, offset: place.offset, inputs: x.iter().product(), element }))
}

pub(super) fn unslice(call: &Call<'_>) -> Result<Kernel> {
    call.operands(1..=1)?;
    let ((element, x), shape) = (call.dense(0)?, call.shape()?);
    if x.len() != shape.len() {
        return Err(wrong("shape", format!("of {} axes", x.len())));
    }
    let place = Place::parse(call, &shape)?;
    let lasts = place.starts.iter().zip(&place.steps).zip(x).map(|((start, step), dim)| start + step * (dim - 1));
    if !lasts.zip(&shape).all(|(last, &dim)| last < dim) {
        return Err(KernelError::Sizes(format!("{x:?} does not lie within {shape:?}")));
    }
    call.result_of(element, &shape)?;
    Ok(Kernel::StridedWrite(place.write(x, &shape, 0.0, element)))
}

pub(super) fn pad(call: &Call<'_>) -> Result<Kernel> {
    call.operands(1..=1)?;
    let (element, x) = call.dense(0)?;
    let rank = x.len();
    let pads = call.sizes("pads", 2 * rank, 0)?;
    let y: Vec<_> = (0..rank).map(|it| pads[it] + x[it] + pads[rank + it]).collect();
    call.result_of(element, &y)?;
    let place = Place::new(&y, pads[..rank].to_vec(), vec![1; rank]);
    Ok(Kernel::StridedWrite(place.write(x, &y, call.float("value")?, element)))
}

pub(super) fn concat(call: &Call<'_>) -> Result<Kernel> {
    let count = call.operands(1..=usize::MAX)?;
    let (element, first) = call.dense(0)?;
    let axis = call.size("axis", 0)?;
    if first.len() <= axis {
        return Err(wrong("axis", format!("below {}", first.len())));
    }
    let mut y = first.to_vec();
    y[axis] = 0;
    let mut parts = Vec::with_capacity(count);
    for slot in 0..count {
        let (dtype, dims) = call.dense(slot)?;
        let alike = dtype == element && dims.len() == y.len() && (0..y.len()).all(|it| it == axis || dims[it] == y[it]);
        if !alike {
            return Err(call.wrong_operand(slot, format!("as operand 0 but for axis {axis}")));
        }
        y[axis] += dims[axis];
        parts.push(dims[axis..].iter().product());
    }
    call.result_of(element, &y)?;
    Ok(Kernel::Concat(Concat { outer: y[..axis].iter().product(), parts, element }))
}

/// Where a slice lies in a tensor.
struct Place {
    starts: Vec<usize>,
    steps: Vec<usize>,
    strides: Vec<usize>,
    offset: usize,
}

impl Place {
    fn parse(call: &Call<'_>, of: &[usize]) -> Result<Place> {
        let (starts, steps) = (call.sizes("starts", of.len(), 0)?, call.sizes("steps", of.len(), 1)?);
        if starts.iter().zip(of).any(|(start, dim)| dim <= start) {
            return Err(wrong("starts", format!("within {of:?}")));
        }
        Ok(Place::new(of, starts, steps))
    }

    fn new(of: &[usize], starts: Vec<usize>, steps: Vec<usize>) -> Place {
        let own = row_major(of);
        let offset = starts.iter().zip(&own).map(|(start, stride)| start * stride).sum();
        // A step behind the last element is never taken, so its stride may saturate.
        let strides = own.iter().zip(&steps).map(|(stride, &step)| stride.saturating_mul(step)).collect();
        Place { starts, steps, strides, offset }
    }

    fn write(self, x: &[usize], y: &[usize], value: f64, element: DType) -> StridedWrite {
        let (dims, [strides, _]) = merge(x, [&self.strides, &row_major(x)]);
        StridedWrite { dims, strides, offset: self.offset, outputs: y.iter().product(), value, element }
    }
}
