//! Back Razor: pruned copies of activations.

use super::Kernel;
use super::call::{Call, Result};
use crate::error::KernelError;
use crate::types::{Kept, Topk, Type};

/// A tensor seen as `[samples, n]`, of which `keep` values of each sample are kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Pack {
    /// Samples.
    pub samples: usize,
    /// Elements of a sample.
    pub n: usize,
    /// Kept elements of a sample, 1 to `n`.
    pub keep: usize,
    /// Element of the kept values.
    pub values: Kept,
}

impl Pack {
    /// 64-bit words of one sample's bitmap.
    pub fn words(&self) -> usize {
        self.n.div_ceil(64)
    }
}

/// A tensor seen as `[samples, n]`, of which each sample keeps what is not below its `cut`-th smallest `|x|`.
#[derive(Clone, Debug, PartialEq)]
pub struct MaskTopk {
    /// Samples.
    pub samples: usize,
    /// Elements of a sample.
    pub n: usize,
    /// Rank of the threshold among `|x|`, 1-based from the smallest.
    pub cut: usize,
}

pub(super) fn compress(call: &Call<'_>) -> Result<Kernel> {
    call.operands(1..=1)?;
    let x = call.f32(0)?;
    let result = call.wanted(0)?;
    let Type::Topk(topk) = result else {
        return Err(call.wrong_result(0, "a topk value"));
    };
    call.results(&[Type::Topk(Topk { dims: x.to_vec(), ..topk.clone() })])?;
    Ok(Kernel::Compress(pack(topk)))
}

pub(super) fn decompress(call: &Call<'_>) -> Result<Kernel> {
    call.operands(1..=1)?;
    let topk = call.topk(0)?;
    call.result(&topk.dims)?;
    Ok(Kernel::Decompress(pack(topk)))
}

pub(super) fn mask_topk(call: &Call<'_>) -> Result<Kernel> {
    call.operands(1..=1)?;
    let x = call.f32(0)?;
    call.result(x)?;
    let (elements, samples): (usize, _) = (x.iter().product(), call.size("samples", 1)?);
    if !elements.is_multiple_of(samples) {
        return Err(KernelError::Sizes(format!("{samples} samples do not divide {elements} elements")));
    }
    let n = elements / samples;
    let ratio = call.int("sparsity_ppm", 0..=1_000_000)? as f64 / 1e6;
    let cut = ((n as f64 * ratio) as usize).clamp(1, n);
    Ok(Kernel::MaskTopk(MaskTopk { samples, n, cut }))
}

fn pack(topk: &Topk) -> Pack {
    Pack { samples: topk.samples, n: topk.n(), keep: topk.keep, values: topk.values }
}
