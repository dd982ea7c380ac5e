//! Softmax along an axis.

use super::Kernel;
use super::call::{Call, Result, wrong};

/// A tensor seen as `[outer, len, inner]`; the softmax goes over `len`.
#[derive(Clone, Debug, PartialEq)]
pub struct Softmax {
    /// All axes before the axis.
    pub outer: usize,
    /// The axis.
    pub len: usize,
    /// All axes behind it.
    pub inner: usize,
}

pub(super) fn softmax(call: &Call<'_>) -> Result<Kernel> {
    Ok(Kernel::Softmax(along_axis(call, 1)?))
}

pub(super) fn log_softmax(call: &Call<'_>) -> Result<Kernel> {
    Ok(Kernel::LogSoftmax(along_axis(call, 1)?))
}

pub(super) fn softmax_grad(call: &Call<'_>) -> Result<Kernel> {
    Ok(Kernel::SoftmaxGrad(along_axis(call, 2)?))
}

pub(super) fn log_softmax_grad(call: &Call<'_>) -> Result<Kernel> {
    Ok(Kernel::LogSoftmaxGrad(along_axis(call, 2)?))
}

fn along_axis(call: &Call<'_>, operands: usize) -> Result<Softmax> {
    call.operands(operands..=operands)?;
    let x = call.f32(0)?;
    for slot in 1..operands {
        call.f32_of(slot, x)?;
    }
    call.result(x)?;
    let axis = call.size("axis", 0)?;
    if x.len() <= axis {
        return Err(wrong("axis", format!("below {}", x.len())));
    }
    let (outer, inner) = (x[..axis].iter().product(), x[axis + 1..].iter().product());
    Ok(Softmax { outer, len: x[axis], inner })
}
