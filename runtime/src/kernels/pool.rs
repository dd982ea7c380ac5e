//! Pooling over one or two spatial axes; over more, `volume` does it.

use super::Kernel;
use super::call::{Call, Result};
use super::volume;
use super::window::{axes, image};
use crate::error::KernelError;
use crate::types::{DType, Type};

/// Geometry of a pooling and its gradient. With one spatial axis, `ih`, `oh` and `kh` are 1.
/// Every window covers at least one element of x.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// Samples times channels.
    pub planes: usize,
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
}

/// Largest value of a window and its position there.
#[derive(Clone, Debug, PartialEq)]
pub struct MaxPool {
    /// Where the windows are.
    pub pool: Pool,
    /// Whether positions are i32 rather than u8: windows of more than 256 positions.
    pub wide: bool,
}

/// Mean of a window.
#[derive(Clone, Debug, PartialEq)]
pub struct AvgPool {
    /// Where the windows are.
    pub pool: Pool,
    /// Whether padding (but not what `ceil` adds behind it) counts in the divisor.
    pub count_include_pad: bool,
}

pub(super) fn max_pool(call: &Call<'_>) -> Result<Kernel> {
    call.operands(1..=1)?;
    if 4 < call.f32(0)?.len() {
        return volume::max_pool(call);
    }
    let (max_pool, y, index) = max_geometry(call, call.f32(0)?)?;
    call.results(&[Type::f32(&y), index])?;
    Ok(Kernel::MaxPool(max_pool))
}

pub(super) fn max_pool_grad(call: &Call<'_>) -> Result<Kernel> {
    call.operands(2..=2)?;
    let x = call.shape()?;
    if 4 < x.len() {
        return volume::max_pool_grad(call, &x);
    }
    let (max_pool, y, index) = max_geometry(call, &x)?;
    call.f32_of(0, &y)?;
    call.expect(1, &index)?;
    call.result(&x)?;
    Ok(Kernel::MaxPoolGrad(max_pool))
}

pub(super) fn avg_pool(call: &Call<'_>) -> Result<Kernel> {
    call.operands(1..=1)?;
    if 4 < call.f32(0)?.len() {
        return volume::avg_pool(call);
    }
    let (pool, y) = geometry(call, call.f32(0)?)?;
    call.result(&y)?;
    Ok(Kernel::AvgPool(AvgPool { pool, count_include_pad: call.flag("count_include_pad")? }))
}

pub(super) fn avg_pool_grad(call: &Call<'_>) -> Result<Kernel> {
    call.operands(1..=1)?;
    let x = call.shape()?;
    if 4 < x.len() {
        return volume::avg_pool_grad(call, &x);
    }
    let (pool, y) = geometry(call, &x)?;
    call.f32_of(0, &y)?;
    call.result(&x)?;
    Ok(Kernel::AvgPoolGrad(AvgPool { pool, count_include_pad: call.flag("count_include_pad")? }))
}

fn max_geometry(call: &Call<'_>, x: &[usize]) -> Result<(MaxPool, Vec<usize>, Type)> {
    let (pool, y) = geometry(call, x)?;
    let wide = 256 < pool.kh.saturating_mul(pool.kw);
    let index = Type::Dense(if wide { DType::I32 } else { DType::U8 }, y.clone());
    Ok((MaxPool { pool, wide }, y, index))
}

/// The geometry, and the axes of y.
fn geometry(call: &Call<'_>, x: &[usize]) -> Result<(Pool, Vec<usize>)> {
    let [n, c, ..] = image(x).ok_or_else(|| KernelError::Sizes(format!("{x:?} has no spatial axes to pool over")))?;
    let kernel = call.sizes("kernel", x.len() - 2, 1)?;
    let ceil = call.flag("ceil")?;
    let spatial = axes(call, &x[2..], &kernel)?;
    let [oh, ow] = [spatial[0].output(ceil)?, spatial[1].output(ceil)?];
    let [v, h] = spatial;
    if i32::MAX as usize / v.kernel < h.kernel {
        return Err(KernelError::Sizes(format!("a window of {} x {} is too large", v.kernel, h.kernel)));
    }
    if !v.covers(oh) || !h.covers(ow) {
        return Err(KernelError::Sizes("a window lies wholly in the padding".into()));
    }
    let y = if x.len() == 3 { vec![n, c, ow] } else { vec![n, c, oh, ow] };
    let pool = Pool {
        planes: n * c,
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
    };
    Ok((pool, y))
}
