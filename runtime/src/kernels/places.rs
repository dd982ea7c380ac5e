//! Slices of a tensor, each at a place of its own that indices say.

use super::Kernel;
use super::call::{Call, Result, wrong};
use super::index::{indices, place};
use super::strides::row_major;
use crate::types::DType;

/// Where slices lie in `data`. An index outside its axis takes its slice out of play.
#[derive(Clone, Debug, PartialEq)]
pub struct Places {
    /// Axes over which there is a slice each.
    pub dims: Vec<usize>,
    /// How far a step along each of them leads in `data`, indices apart.
    pub bases: Vec<usize>,
    /// For each index of a slice, the axis of `data` that it counts along: its length and stride.
    pub axes: Vec<(usize, usize)>,
    /// Elements of a slice; they lie together.
    pub inner: usize,
    /// Elements of `data`.
    pub data: usize,
}

/// `y[slice] = data[place of the slice]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Pick {
    /// Where the slices lie in `data`.
    pub places: Places,
    /// Of `data` and y.
    pub element: DType,
}

/// `y = data` with slices of `updates` put in, in their order.
#[derive(Clone, Debug, PartialEq)]
pub struct Put {
    /// Where the slices lie in `data`.
    pub places: Places,
    /// What becomes of an element and its update.
    pub how: Reduction,
    /// Of all tensors.
    pub element: DType,
}

/// What becomes of an element and its update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// The update.
    Set,
    /// 0; there are no updates.
    Clear,
    /// Their sum.
    Add,
    /// Their product.
    Mul,
    /// The smaller.
    Min,
    /// The larger.
    Max,
}

impl Places {
    /// Number of slices.
    pub fn count(&self) -> usize {
        self.dims.iter().product()
    }

    /// Where a slice starts in `data`.
    pub fn of(&self, indices: &[i64], slice: usize) -> Option<usize> {
        let mut rest = slice;
        let mut start = 0;
        for (&dim, &base) in self.dims.iter().zip(&self.bases).rev() {
            start += rest % dim * base;
            rest /= dim;
        }
        let tuple = &indices[slice * self.axes.len()..][..self.axes.len()];
        for (&index, &(len, stride)) in tuple.iter().zip(&self.axes) {
            start += place(index, len)? * stride;
        }
        Some(start)
    }
}

pub(super) fn gather_elements(call: &Call<'_>) -> Result<Kernel> {
    call.operands(2..=2)?;
    let (element, data) = call.dense(0)?;
    let places = along_axis(call, data)?;
    call.result_of(element, indices(call, 1)?)?;
    Ok(Kernel::Pick(Pick { places, element }))
}

pub(super) fn gather_elements_grad(call: &Call<'_>) -> Result<Kernel> {
    call.operands(2..=2)?;
    let shape = call.shape()?;
    let places = along_axis(call, &shape)?;
    call.f32_of(0, indices(call, 1)?)?;
    call.result(&shape)?;
    Ok(Kernel::PickGrad(places))
}

pub(super) fn gather_nd(call: &Call<'_>) -> Result<Kernel> {
    call.operands(2..=2)?;
    let (element, data) = call.dense(0)?;
    let (places, y) = by_tuples(call, data, call.size("batch_dims", 0)?)?;
    call.result_of(element, &y)?;
    Ok(Kernel::Pick(Pick { places, element }))
}

pub(super) fn gather_nd_grad(call: &Call<'_>) -> Result<Kernel> {
    call.operands(2..=2)?;
    let shape = call.shape()?;
    let (places, y) = by_tuples(call, &shape, call.size("batch_dims", 0)?)?;
    call.f32_of(0, &y)?;
    call.result(&shape)?;
    Ok(Kernel::PickGrad(places))
}

pub(super) fn scatter_elements(call: &Call<'_>) -> Result<Kernel> {
    let places = along_axis(call, call.dense(0)?.1)?;
    let updates = indices(call, 1)?;
    put(call, places, updates)
}

pub(super) fn scatter_nd(call: &Call<'_>) -> Result<Kernel> {
    let (places, updates) = by_tuples(call, call.dense(0)?.1, 0)?;
    put(call, places, &updates)
}

fn put(call: &Call<'_>, places: Places, updates: &[usize]) -> Result<Kernel> {
    let (element, data) = call.dense(0)?;
    let how = match call.word("reduction")? {
        "none" => Reduction::Set,
        "clear" => Reduction::Clear,
        "add" => Reduction::Add,
        "mul" => Reduction::Mul,
        "min" => Reduction::Min,
        "max" => Reduction::Max,
        _ => return Err(wrong("reduction", "none, clear, add, mul, min or max".into())),
    };
    let computes = !matches!(how, Reduction::Set | Reduction::Clear);
    if !matches!(element, DType::F32 | DType::I64) && (computes || element != DType::Bool) {
        return Err(call.wrong_operand(0, "f32 or i64, or bool to be set"));
    }
    if how == Reduction::Clear {
        call.operands(2..=2)?;
    } else {
        call.operands(3..=3)?;
        if call.dense(2)? != (element, updates) {
            return Err(call.wrong_operand(2, format!("{element:?}{updates:?}").to_lowercase()));
        }
    }
    call.result_of(element, data)?;
    Ok(Kernel::Put(Put { places, how, element }))
}

/// One element for each index, which replaces the position along one axis.
fn along_axis(call: &Call<'_>, data: &[usize]) -> Result<Places> {
    let (axis, dims) = (call.size("axis", 0)?, indices(call, 1)?);
    if data.len() <= axis {
        return Err(wrong("axis", format!("below {}", data.len())));
    }
    if dims.len() != data.len() || (0..dims.len()).any(|it| it != axis && data[it] < dims[it]) {
        return Err(call.wrong_operand(1, format!("indices within {data:?} but for axis {axis}")));
    }
    let mut bases = row_major(data);
    let axes = vec![(data[axis], bases[axis])];
    bases[axis] = 0;
    Ok(Places { dims: dims.to_vec(), bases, axes, inner: 1, data: data.iter().product() })
}

/// Slices at tuples of indices along the last axis; and the axes of all the slices together.
fn by_tuples(call: &Call<'_>, data: &[usize], batch: usize) -> Result<(Places, Vec<usize>)> {
    let dims = indices(call, 1)?;
    let Some((&tuple, dims)) = dims.split_last() else {
        return Err(call.wrong_operand(1, "indices with axes"));
    };
    if data.len() < batch + tuple || dims.len() < batch || dims[..batch] != data[..batch] {
        return Err(call.wrong_operand(1, format!("tuples of indices into {data:?} behind {batch} axes of it")));
    }
    let strides = row_major(data);
    let bases = (0..dims.len()).map(|it| if it < batch { strides[it] } else { 0 }).collect();
    let axes = (batch..batch + tuple).map(|it| (data[it], strides[it])).collect();
    let slice = &data[batch + tuple..];
    let places =
        Places { dims: dims.to_vec(), bases, axes, inner: slice.iter().product(), data: data.iter().product() };
    Ok((places, [dims, slice].concat()))
}
