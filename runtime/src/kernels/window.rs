//! How windows step over spatial axes; shared by convolutions and pooling.

use super::call::{Call, Result};
use crate::error::KernelError;

/// One spatial axis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    pub input: usize,
    pub kernel: usize,
    pub stride: usize,
    pub begin: usize,
    pub end: usize,
    pub dilation: usize,
}

impl Axis {
    /// Positions of the window. One that `ceil` adds must still start in the input or in the padding before it.
    pub fn output(&self, ceil: bool) -> Result<usize> {
        let extent = self.dilation * (self.kernel - 1) + 1;
        let padded = self.input + self.begin + self.end;
        let room = padded.checked_sub(extent).ok_or_else(|| {
            KernelError::Sizes(format!("a window of {extent} does not fit in {padded} elements, padding included"))
        })?;
        let steps = if ceil { room.div_ceil(self.stride) } else { room / self.stride };
        let starts_outside = ceil && self.input + self.begin <= steps * self.stride;
        Ok(if starts_outside { steps } else { steps + 1 })
    }

    /// Whether every one of the windows covers an element of the input. Never wrongly true; wrongly false only where
    /// the dilation is larger than the padded input.
    pub fn covers(&self, outputs: usize) -> bool {
        let first = self.begin <= self.dilation * (self.kernel - 1);
        let padded = self.begin == 0 || self.dilation <= self.input;
        let last = (outputs - 1) * self.stride < self.begin + self.input;
        first && padded && last
    }
}

/// `[n, c, h, w]` of a rank 3 (h = 1) or rank 4 tensor.
pub(super) fn image(dims: &[usize]) -> Option<[usize; 4]> {
    match *dims {
        [n, c, w] => Some([n, c, 1, w]),
        [n, c, h, w] => Some([n, c, h, w]),
        _ => None,
    }
}

/// Both spatial axes; of a rank 3 tensor the first is of length 1.
pub(super) fn axes(call: &Call<'_>, input: &[usize], kernel: &[usize]) -> Result<[Axis; 2]> {
    let flat = Axis { input: 1, kernel: 1, stride: 1, begin: 0, end: 0, dilation: 1 };
    Ok(match all_axes(call, input, kernel)?[..] {
        [line] => [flat, line],
        [rows, columns] => [rows, columns],
        _ => return Err(KernelError::Sizes(format!("{input:?} are not one or two spatial axes"))),
    })
}

/// Every spatial axis.
pub(super) fn all_axes(call: &Call<'_>, input: &[usize], kernel: &[usize]) -> Result<Vec<Axis>> {
    let rank = input.len();
    let (strides, pads) = (call.sizes("strides", rank, 1)?, call.sizes("pads", 2 * rank, 0)?);
    let dilations = call.sizes("dilations", rank, 1)?;
    let axis = |i: usize| Axis {
        input: input[i],
        kernel: kernel[i],
        stride: strides[i],
        begin: pads[i],
        end: pads[rank + i],
        dilation: dilations[i],
    };
    Ok((0..rank).map(axis).collect())
}
