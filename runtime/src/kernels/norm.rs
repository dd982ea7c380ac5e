//! Normalization, and what else goes by channels (axis 1).

use super::Kernel;
use super::call::{Call, Result, wrong};
use crate::types::Type;

/// A tensor seen as `[n, c, inner]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Channels {
    /// Samples.
    pub n: usize,
    /// Channels.
    pub c: usize,
    /// All axes behind the channels.
    pub inner: usize,
}

/// Batch normalization: `(x - mean[c]) / sqrt(var[c] + epsilon) * scale[c] + bias[c]`.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchNorm {
    /// Shape of x.
    pub channels: Channels,
    /// Added to the variance.
    pub epsilon: f64,
}

/// Local response normalization: `x / (bias + alpha / size * sum of squares of near channels) ^ beta`.
#[derive(Clone, Debug, PartialEq)]
pub struct Lrn {
    /// Shape of x.
    pub channels: Channels,
    /// Near channels: `c - (size - 1) / 2` (rounded down) to `c + size / 2` (rounded down).
    pub size: usize,
    /// Of the sum of squares, before it is divided by `size`.
    pub alpha: f64,
    /// Exponent.
    pub beta: f64,
    /// Added to the scaled sum.
    pub bias: f64,
}

pub(super) fn batch_norm(call: &Call<'_>) -> Result<Kernel> {
    call.operands(5..=5)?;
    let channels = by_channel(call, 0, 1..5)?;
    call.result(call.f32(0)?)?;
    Ok(Kernel::BatchNorm(BatchNorm { channels, epsilon: epsilon(call)? }))
}

pub(super) fn batch_norm_train(call: &Call<'_>) -> Result<Kernel> {
    call.operands(3..=3)?;
    let channels = by_channel(call, 0, 1..3)?;
    let statistic = Type::f32(&[channels.c]);
    call.results(&[call.operand(0)?.clone(), statistic.clone(), statistic])?;
    Ok(Kernel::BatchNormTrain(BatchNorm { channels, epsilon: epsilon(call)? }))
}

pub(super) fn batch_norm_input_grad(call: &Call<'_>) -> Result<Kernel> {
    call.operands(3..=3)?;
    let channels = by_channel(call, 0, 1..3)?;
    call.result(call.f32(0)?)?;
    Ok(Kernel::BatchNormInputGrad(BatchNorm { channels, epsilon: epsilon(call)? }))
}

pub(super) fn batch_norm_scale_grad(call: &Call<'_>) -> Result<Kernel> {
    call.operands(4..=4)?;
    let channels = by_channel(call, 0, 2..4)?;
    call.f32_of(1, call.f32(0)?)?;
    call.result(&[channels.c])?;
    Ok(Kernel::BatchNormScaleGrad(BatchNorm { channels, epsilon: epsilon(call)? }))
}

pub(super) fn batch_norm_train_grad(call: &Call<'_>) -> Result<Kernel> {
    call.operands(5..=5)?;
    let channels = by_channel(call, 0, 2..5)?;
    call.f32_of(1, call.f32(0)?)?;
    let by_channel = Type::f32(&[channels.c]);
    call.results(&[call.operand(0)?.clone(), by_channel.clone(), by_channel])?;
    Ok(Kernel::BatchNormTrainGrad(channels))
}

pub(super) fn lrn(call: &Call<'_>) -> Result<Kernel> {
    call.operands(1..=1)?;
    let lrn = lrn_params(call)?;
    call.result(call.f32(0)?)?;
    Ok(Kernel::Lrn(lrn))
}

pub(super) fn lrn_grad(call: &Call<'_>) -> Result<Kernel> {
    call.operands(2..=2)?;
    call.f32_of(1, call.f32(0)?)?;
    let lrn = lrn_params(call)?;
    call.result(call.f32(0)?)?;
    Ok(Kernel::LrnGrad(lrn))
}

fn lrn_params(call: &Call<'_>) -> Result<Lrn> {
    Ok(Lrn {
        channels: by_channel(call, 0, 0..0)?,
        size: call.size("size", 1)?,
        alpha: call.float("alpha")?,
        beta: call.float("beta")?,
        bias: call.float("bias")?,
    })
}

fn epsilon(call: &Call<'_>) -> Result<f64> {
    let epsilon = call.float("epsilon")?;
    if epsilon < 0.0 { Err(wrong("epsilon", "a float, not negative".into())) } else { Ok(epsilon) }
}

/// The operand at `slot` by channels, if those at `others` have a value for each channel.
fn by_channel(call: &Call<'_>, slot: usize, others: std::ops::Range<usize>) -> Result<Channels> {
    let [n, c, inner @ ..] = call.f32(slot)? else {
        return Err(call.wrong_operand(slot, "f32[n, c, ..]"));
    };
    for other in others {
        call.f32_of(other, &[*c])?;
    }
    Ok(Channels { n: *n, c: *c, inner: inner.iter().product() })
}
