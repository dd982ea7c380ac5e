//! Activations that are zero in a gap.

use super::Kernel;
use super::call::{Call, Result};
use super::elementwise;

/// `x < low ? x + bias : high < x ? x - bias : 0`, and where it is outside of the gap.
#[derive(Clone, Debug, PartialEq)]
pub struct Gap {
    /// Elements.
    pub n: usize,
    /// Where the gap begins; may be infinite.
    pub low: f64,
    /// Where the gap ends; may be infinite.
    pub high: f64,
    /// By how much what is outside moves towards the gap.
    pub bias: f64,
}

pub(super) fn thresholded_relu(call: &Call<'_>) -> Result<Kernel> {
    let (low, high) = (f64::NEG_INFINITY, call.float("alpha")?);
    Ok(Kernel::Gap(Gap { n: elementwise::with_bits(call)?, low, high, bias: 0.0 }))
}

pub(super) fn shrink(call: &Call<'_>) -> Result<Kernel> {
    let (lambda, bias) = (call.float("lambda")?, call.float("bias")?);
    Ok(Kernel::Gap(Gap { n: elementwise::with_bits(call)?, low: -lambda, high: lambda, bias }))
}
