//! Convolutions over one or two spatial axes; over more, `volume` does it.

use super::Kernel;
use super::call::{Call, Result};
use super::pack::Stored;
use super::volume;
use super::window::{axes, image};
use crate::error::KernelError;

/// Geometry of a convolution and its gradients. With one spatial axis, `ih`, `oh` and `kh` are 1.
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
    /// Height of x.
    pub ih: usize,
    /// Width of x.
    pub iw: usize,
    /// Height of y.
    pub oh: usize,
    /// Width of y.
    pub ow: usize,
    /// Height of the window.
    pub kh: usize,
    /// Width of the window.
    pub kw: usize,
    /// Vertical stride.
    pub sh: usize,
    /// Horizontal stride.
    pub sw: usize,
    /// Padding above.
    pub pt: usize,
    /// Padding to the left.
    pub pl: usize,
    /// Padding below.
    pub pb: usize,
    /// Padding to the right.
    pub pr: usize,
    /// Vertical dilation.
    pub dh: usize,
    /// Horizontal dilation.
    pub dw: usize,
    /// Whether there is a third operand b`[o]`; false for the gradients.
    pub bias: bool,
    /// How x is saved.
    pub x: Stored,
    /// Whether a gradient is added onto a third operand; that of w in place.
    pub onto: bool,
}

pub(super) fn conv(call: &Call<'_>) -> Result<Kernel> {
    let bias = call.operands(2..=3)? == 3;
    if 4 < call.f32(0)?.len() {
        return volume::conv(call, bias);
    }
    let (conv, y) = geometry(call, call.f32(0)?, call.f32(1)?, bias)?;
    if bias {
        call.f32_of(2, &[conv.o])?;
    }
    call.result(&y)?;
    Ok(Kernel::Conv(conv))
}

pub(super) fn conv_input_grad(call: &Call<'_>) -> Result<Kernel> {
    let x = call.shape()?;
    if 4 < x.len() {
        call.operands(2..=2)?;
        return volume::conv_input_grad(call, &x);
    }
    let (conv, y) = geometry(call, &x, call.f32(1)?, false)?;
    call.f32_of(0, &y)?;
    Ok(Kernel::ConvInputGrad(Conv { onto: call.sum(2, &x)?, ..conv }))
}

pub(super) fn conv_weight_grad(call: &Call<'_>) -> Result<Kernel> {
    let w = call.shape()?;
    if 4 < w.len() {
        return volume::conv_weight_grad(call, &w, [0, 1]);
    }
    let (x, stored) = call.stored(1, |x| x.get(1..).unwrap_or_default().iter().product())?;
    if let Stored::Pruned(pack) = &stored
        && x.first() != Some(&pack.samples)
    {
        return Err(call.wrong_operand(1, "a sample for each image"));
    }
    let (conv, y) = geometry(call, x, &w, false)?;
    call.f32_of(0, &y)?;
    Ok(Kernel::ConvWeightGrad(Conv { x: stored, onto: call.sum(2, &w)?, ..conv }))
}

/// A transposed convolution's cotangent is what the convolution reads, and its x what the convolution makes.
pub(super) fn conv_transpose_weight_grad(call: &Call<'_>) -> Result<Kernel> {
    let w = call.shape()?;
    if 4 < w.len() {
        return volume::conv_weight_grad(call, &w, [1, 0]);
    }
    let (conv, x) = geometry(call, call.f32(0)?, &w, false)?;
    call.f32_of(1, &x)?;
    Ok(Kernel::ConvTransposeWeightGrad(Conv { onto: call.sum(2, &w)?, ..conv }))
}

/// The geometry, and the axes of y.
fn geometry(call: &Call<'_>, x: &[usize], w: &[usize], bias: bool) -> Result<(Conv, Vec<usize>)> {
    let wrong = || KernelError::Sizes(format!("weights {w:?} cannot be convolved with {x:?}"));
    let groups = call.size("groups", 1)?;
    let ([n, c, ..], [o, per_group, ..]) = ([x, w].map(|it| image(it).unwrap_or_default())).into();
    let fits = x.len() == w.len() && c.is_multiple_of(groups) && o.is_multiple_of(groups) && c / groups == per_group;
    if !fits || n == 0 || o == 0 {
        return Err(wrong());
    }
    let spatial = axes(call, &x[2..], &w[2..])?;
    let [oh, ow] = [spatial[0].output(false)?, spatial[1].output(false)?];
    let [v, h] = spatial;
    let y = if x.len() == 3 { vec![n, o, ow] } else { vec![n, o, oh, ow] };
    let conv = Conv {
        n,
        c,
        o,
        groups,
        ih: v.input,
        iw: h.input,
        oh,
        ow,
        kh: v.kernel,
        kw: h.kernel,
        sh: v.stride,
        sw: h.stride,
        pt: v.begin,
        pl: h.begin,
        pb: v.end,
        pr: h.end,
        dh: v.dilation,
        dw: h.dilation,
        bias,
        x: Stored::Dense,
        onto: false,
    };
    Ok((conv, y))
}
