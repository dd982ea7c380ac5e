//! Convolutions and pooling over three spatial axes or more.

use super::Kernel;
use super::call::{Call, Result};
use super::window::all_axes;
use crate::error::KernelError;
use crate::types::{DType, Type};

/// One spatial axis: tap `j` of window `i` reads element `i * stride + j * dilation - begin`, if there is one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Axis {
    /// Elements of x.
    pub input: usize,
    /// Windows.
    pub output: usize,
    /// Taps of a window.
    pub kernel: usize,
    /// From one window to the next.
    pub stride: usize,
    /// From one tap to the next.
    pub dilation: usize,
    /// Padding before the first element.
    pub begin: usize,
    /// Padding behind the last element.
    pub end: usize,
}

/// Geometry of a convolution and its gradients.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv {
    /// Samples.
    pub n: usize,
    /// Channels of x; a multiple of `groups`.
    pub c: usize,
    /// Channels of y; a multiple of `groups`.
    pub o: usize,
    /// Groups of channels that are convolved on their own.
    pub groups: usize,
    /// Spatial axes, outermost first.
    pub axes: Vec<Axis>,
    /// Whether there is a third operand b`[o]`; false for the gradients.
    pub bias: bool,
    /// Operands of the weight gradient that are like y and like x.
    pub slots: [usize; 2],
    /// Whether a weight gradient is added onto a third operand, in place.
    pub onto: bool,
}

/// Geometry of a pooling and its gradient. Every window covers at least one element of x.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// Samples times channels.
    pub planes: usize,
    /// Spatial axes, outermost first.
    pub axes: Vec<Axis>,
    /// Of a maximum, whether positions are i32 rather than u8: windows of more than 256 positions.
    pub wide: bool,
    /// Of an average, whether padding (but not what `ceil` adds behind it) counts in the divisor.
    pub count_include_pad: bool,
}

impl Conv {
    /// Elements of a plane of x, of one of y, and taps of a window.
    pub fn sizes(&self) -> [usize; 3] {
        sizes(&self.axes)
    }
}

impl Pool {
    /// Elements of a plane of x, of one of y, and taps of a window.
    pub fn sizes(&self) -> [usize; 3] {
        sizes(&self.axes)
    }
}

fn sizes(axes: &[Axis]) -> [usize; 3] {
    let product = |of: fn(&Axis) -> usize| axes.iter().map(of).product();
    [product(|it| it.input), product(|it| it.output), product(|it| it.kernel)]
}

pub(super) fn conv(call: &Call<'_>, bias: bool) -> Result<Kernel> {
    let (conv, y) = geometry(call, call.f32(0)?, call.f32(1)?)?;
    if bias {
        call.f32_of(2, &[conv.o])?;
    }
    call.result(&y)?;
    Ok(Kernel::VolumeConv(Conv { bias, ..conv }))
}

pub(super) fn conv_input_grad(call: &Call<'_>, x: &[usize]) -> Result<Kernel> {
    let (conv, y) = geometry(call, x, call.f32(1)?)?;
    call.f32_of(0, &y)?;
    call.result(x)?;
    Ok(Kernel::VolumeConvInputGrad(conv))
}

pub(super) fn conv_weight_grad(call: &Call<'_>, w: &[usize], slots: [usize; 2]) -> Result<Kernel> {
    let (conv, y) = geometry(call, call.f32(slots[1])?, w)?;
    call.f32_of(slots[0], &y)?;
    Ok(Kernel::VolumeConvWeightGrad(Conv { slots, onto: call.sum(2, w)?, ..conv }))
}

pub(super) fn max_pool(call: &Call<'_>) -> Result<Kernel> {
    let (pool, y, index) = pooling(call, call.f32(0)?)?;
    call.results(&[Type::f32(&y), index])?;
    Ok(Kernel::VolumeMaxPool(pool))
}

pub(super) fn max_pool_grad(call: &Call<'_>, x: &[usize]) -> Result<Kernel> {
    let (pool, y, index) = pooling(call, x)?;
    call.f32_of(0, &y)?;
    call.expect(1, &index)?;
    call.result(x)?;
    Ok(Kernel::VolumeMaxPoolGrad(pool))
}

pub(super) fn avg_pool(call: &Call<'_>) -> Result<Kernel> {
    let (pool, y, _) = pooling(call, call.f32(0)?)?;
    call.result(&y)?;
    Ok(Kernel::VolumeAvgPool(Pool { count_include_pad: call.flag("count_include_pad")?, ..pool }))
}

pub(super) fn avg_pool_grad(call: &Call<'_>, x: &[usize]) -> Result<Kernel> {
    let (pool, y, _) = pooling(call, x)?;
    call.f32_of(0, &y)?;
    call.result(x)?;
    Ok(Kernel::VolumeAvgPoolGrad(Pool { count_include_pad: call.flag("count_include_pad")?, ..pool }))
}

/// The geometry, and the axes of y.
fn geometry(call: &Call<'_>, x: &[usize], w: &[usize]) -> Result<(Conv, Vec<usize>)> {
    let wrong = || KernelError::Sizes(format!("weights {w:?} cannot be convolved with {x:?}"));
    let groups = call.size("groups", 1)?;
    let ([n, c, input @ ..], [o, per_group, kernel @ ..]) = (x, w) else { return Err(wrong()) };
    let fits = x.len() == w.len() && c.is_multiple_of(groups) && o.is_multiple_of(groups) && c / groups == *per_group;
    if !fits {
        return Err(wrong());
    }
    let axes = spatial(call, input, kernel, false, false)?;
    let y = [*n, *o].into_iter().chain(axes.iter().map(|it| it.output)).collect();
    Ok((Conv { n: *n, c: *c, o: *o, groups, axes, bias: false, slots: [0, 1], onto: false }, y))
}

/// The geometry, the axes of y, and the type of the positions.
fn pooling(call: &Call<'_>, x: &[usize]) -> Result<(Pool, Vec<usize>, Type)> {
    let kernel = call.sizes("kernel", x.len() - 2, 1)?;
    let axes = spatial(call, &x[2..], &kernel, call.flag("ceil")?, true)?;
    let positions =
        kernel.iter().try_fold(1usize, |all, &it| all.checked_mul(it)).filter(|&it| it <= i32::MAX as usize);
    let positions = positions.ok_or_else(|| KernelError::Sizes(format!("a window of {kernel:?} is too large")))?;
    let y: Vec<usize> = x[..2].iter().copied().chain(axes.iter().map(|it| it.output)).collect();
    let wide = 256 < positions;
    let index = Type::Dense(if wide { DType::I32 } else { DType::U8 }, y.clone());
    Ok((Pool { planes: x[0] * x[1], axes, wide, count_include_pad: false }, y, index))
}

fn spatial(call: &Call<'_>, input: &[usize], kernel: &[usize], ceil: bool, covering: bool) -> Result<Vec<Axis>> {
    let axes = all_axes(call, input, kernel)?.into_iter().map(|it| {
        let output = it.output(ceil)?;
        if covering && !it.covers(output) {
            return Err(KernelError::Sizes("a window lies wholly in the padding".into()));
        }
        Ok(Axis {
            input: it.input,
            output,
            kernel: it.kernel,
            stride: it.stride,
            dilation: it.dilation,
            begin: it.begin,
            end: it.end,
        })
    });
    axes.collect()
}
