//! What goes element by element, and its gradients.

use super::Kernel;
use super::call::{Call, Result};
use super::logic::{Arithmetic, integer};
use super::strides::{broadcast, merge, row_major};
use crate::error::KernelError;
use crate::rng::splitmix64;
use crate::types::Type;

/// A tensor seen flat.
#[derive(Clone, Debug, PartialEq)]
pub struct Flat {
    /// Elements.
    pub n: usize,
}

/// `x < 0 ? alpha * x : x`.
#[derive(Clone, Debug, PartialEq)]
pub struct LeakyRelu {
    /// Elements.
    pub n: usize,
    /// Slope on the negative side.
    pub alpha: f64,
}

/// `min(max(x, self.min), self.max)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Clip {
    /// Elements.
    pub n: usize,
    /// Smallest value of y; may be infinite.
    pub min: f64,
    /// Largest value of y, not below `min`; may be infinite.
    pub max: f64,
}

/// `clip(alpha * x + beta, 0, 1)`.
#[derive(Clone, Debug, PartialEq)]
pub struct HardSigmoid {
    /// Elements.
    pub n: usize,
    /// Slope.
    pub alpha: f64,
    /// Value at 0.
    pub beta: f64,
}

/// `x * factor`.
#[derive(Clone, Debug, PartialEq)]
pub struct Scale {
    /// Elements.
    pub n: usize,
    /// What each is multiplied by.
    pub factor: f64,
}

/// `dy * (bit ? on : off)`.
#[derive(Clone, Debug, PartialEq)]
pub struct MaskedScale {
    /// Elements.
    pub n: usize,
    /// Factor where the bit is set.
    pub on: f64,
    /// Factor elsewhere.
    pub off: f64,
}

/// Two operands over one index space; y is row-major over `dims`.
#[derive(Clone, Debug, PartialEq)]
pub struct Broadcast {
    /// Axes of y, merged where possible; at least one.
    pub dims: Vec<usize>,
    /// Strides of operand a for these axes; 0 where it is broadcast.
    pub a: Vec<usize>,
    /// Strides of operand b for these axes; 0 where it is broadcast.
    pub b: Vec<usize>,
    /// Elements of operand a.
    pub a_len: usize,
    /// Elements of operand b.
    pub b_len: usize,
}

/// Keeps each element with probability `1 - ratio`, scaled by `1 / (1 - ratio)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Dropout {
    /// Elements.
    pub n: usize,
    /// 0 to less than 1.
    pub ratio: f64,
    /// Of the hash.
    pub seed: u64,
}

impl Dropout {
    /// Whether the element is kept at this step (1-based).
    pub fn keeps(&self, step: u64, index: u64) -> bool {
        let hash = splitmix64(self.seed ^ splitmix64(step) ^ splitmix64(index));
        self.ratio <= (hash >> 11) as f64 / (1u64 << 53) as f64
    }
}

pub(super) fn relu(call: &Call<'_>) -> Result<Kernel> {
    Ok(Kernel::Relu(Flat { n: with_bits(call)? }))
}

pub(super) fn leaky_relu(call: &Call<'_>) -> Result<Kernel> {
    Ok(Kernel::LeakyRelu(LeakyRelu { n: with_bits(call)?, alpha: call.float("alpha")? }))
}

pub(super) fn clip(call: &Call<'_>) -> Result<Kernel> {
    let (min, max) = (call.float("min")?, call.float("max")?);
    if max < min {
        return Err(KernelError::Sizes(format!("cannot clip to {min} .. {max}")));
    }
    Ok(Kernel::Clip(Clip { n: with_bits(call)?, min, max }))
}

pub(super) fn hard_sigmoid(call: &Call<'_>) -> Result<Kernel> {
    let (alpha, beta) = (call.float("alpha")?, call.float("beta")?);
    Ok(Kernel::HardSigmoid(HardSigmoid { n: with_bits(call)?, alpha, beta }))
}

pub(super) fn sigmoid(call: &Call<'_>) -> Result<Kernel> {
    Ok(Kernel::Sigmoid(alike(call, 1)?))
}

pub(super) fn tanh(call: &Call<'_>) -> Result<Kernel> {
    Ok(Kernel::Tanh(alike(call, 1)?))
}

pub(super) fn hard_swish(call: &Call<'_>) -> Result<Kernel> {
    Ok(Kernel::HardSwish(alike(call, 1)?))
}

pub(super) fn sigmoid_grad(call: &Call<'_>) -> Result<Kernel> {
    Ok(Kernel::SigmoidGrad(alike(call, 2)?))
}

pub(super) fn tanh_grad(call: &Call<'_>) -> Result<Kernel> {
    Ok(Kernel::TanhGrad(alike(call, 2)?))
}

pub(super) fn hard_swish_grad(call: &Call<'_>) -> Result<Kernel> {
    Ok(Kernel::HardSwishGrad(alike(call, 2)?))
}

pub(super) fn scale(call: &Call<'_>) -> Result<Kernel> {
    let factor = call.float("factor")?;
    Ok(Kernel::Scale(Scale { n: alike(call, 1)?.n, factor }))
}

pub(super) fn masked_scale(call: &Call<'_>) -> Result<Kernel> {
    call.operands(2..=2)?;
    let dy = call.f32(0)?;
    call.bits_of(1, dy)?;
    call.result(dy)?;
    Ok(Kernel::MaskedScale(MaskedScale { n: dy.iter().product(), on: call.float("on")?, off: call.float("off")? }))
}

pub(super) fn add(call: &Call<'_>) -> Result<Kernel> {
    integer(call, Arithmetic::Add)?.map_or_else(|| Ok(Kernel::Add(binary(call)?)), Ok)
}

pub(super) fn sub(call: &Call<'_>) -> Result<Kernel> {
    integer(call, Arithmetic::Sub)?.map_or_else(|| Ok(Kernel::Sub(binary(call)?)), Ok)
}

pub(super) fn mul(call: &Call<'_>) -> Result<Kernel> {
    integer(call, Arithmetic::Mul)?.map_or_else(|| Ok(Kernel::Mul(binary(call)?)), Ok)
}

pub(super) fn div(call: &Call<'_>) -> Result<Kernel> {
    integer(call, Arithmetic::Div)?.map_or_else(|| Ok(Kernel::Div(binary(call)?)), Ok)
}

pub(super) fn prelu(call: &Call<'_>) -> Result<Kernel> {
    call.operands(2..=2)?;
    let x = call.f32(0)?;
    call.results(&[Type::f32(x), Type::Bits(x.to_vec())])?;
    Ok(Kernel::Prelu(slope(x, call.f32(1)?)?))
}

pub(super) fn prelu_input_grad(call: &Call<'_>) -> Result<Kernel> {
    call.operands(3..=3)?;
    let dy = call.f32(0)?;
    call.bits_of(1, dy)?;
    call.result(dy)?;
    Ok(Kernel::PreluInputGrad(slope(dy, call.f32(2)?)?))
}

pub(super) fn prelu_slope_grad(call: &Call<'_>) -> Result<Kernel> {
    call.operands(2..=2)?;
    let dy = call.f32(0)?;
    call.f32_of(1, dy)?;
    let shape = call.shape()?;
    call.result(&shape)?;
    Ok(Kernel::PreluSlopeGrad(slope(dy, &shape)?))
}

pub(super) fn dropout(call: &Call<'_>) -> Result<Kernel> {
    call.operands(2..=2)?;
    let x = call.f32(0)?;
    call.f32_of(1, &[])?;
    call.results(&[Type::f32(x), Type::Bits(x.to_vec())])?;
    let ratio = call.float_in("ratio", 0.0..=1.0f64.next_down())?;
    let seed = call.int("seed", i64::MIN..=i64::MAX)? as u64;
    Ok(Kernel::Dropout(Dropout { n: x.iter().product(), ratio, seed }))
}

/// All operands and the result have the axes of the first operand.
fn alike(call: &Call<'_>, operands: usize) -> Result<Flat> {
    call.operands(operands..=operands)?;
    let dims = call.f32(0)?;
    for slot in 1..operands {
        call.f32_of(slot, dims)?;
    }
    call.result(dims)?;
    Ok(Flat { n: dims.iter().product() })
}

/// Elements of the one operand of an op that makes y and bits.
pub(super) fn with_bits(call: &Call<'_>) -> Result<usize> {
    call.operands(1..=1)?;
    let dims = call.f32(0)?;
    call.results(&[Type::f32(dims), Type::Bits(dims.to_vec())])?;
    Ok(dims.iter().product())
}

pub(super) fn binary(call: &Call<'_>) -> Result<Broadcast> {
    call.operands(2..=2)?;
    let (a, b) = (call.f32(0)?, call.f32(1)?);
    let y = broadcast_dims(a, b);
    call.result(&y)?;
    fit(a, b, &y)
}

/// Axes that both can be broadcast to, if there are any.
pub(super) fn broadcast_dims(a: &[usize], b: &[usize]) -> Vec<usize> {
    let rank = a.len().max(b.len());
    let dim = |dims: &[usize], axis: usize| (axis + dims.len()).checked_sub(rank).map_or(1, |it| dims[it]);
    (0..rank).map(|it| dim(a, it).max(dim(b, it))).collect()
}

/// x with a slope that is broadcast to it.
fn slope(x: &[usize], slope: &[usize]) -> Result<Broadcast> {
    fit(x, slope, x)
}

pub(super) fn fit(a: &[usize], b: &[usize], y: &[usize]) -> Result<Broadcast> {
    let strides = broadcast(a, y).zip(broadcast(b, y));
    let (a_strides, b_strides) =
        strides.ok_or_else(|| KernelError::Sizes(format!("{a:?} and {b:?} cannot be broadcast to {y:?}")))?;
    let (dims, [a_strides, b_strides, _]) = merge(y, [&a_strides, &b_strides, &row_major(y)]);
    let (a_len, b_len) = (a.iter().product(), b.iter().product());
    Ok(Broadcast { dims, a: a_strides, b: b_strides, a_len, b_len })
}
