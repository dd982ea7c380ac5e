//! Back Razor: pruned copies of activations.

use razorc_proto::packed;

use super::Kernel;
use super::call::{Call, Result};
use super::quant::Quant;
use crate::error::KernelError;
use crate::rng::splitmix64;
use crate::types::{DType, IndexForm, Kept, Topk, Type};

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
    /// How it says which elements are kept.
    pub form: IndexForm,
}

/// How the f32 elements of an operand are saved.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Stored {
    /// As they are.
    #[default]
    Dense,
    /// Some of each sample.
    Pruned(Pack),
    /// All of them in few bits.
    Rounded(Quant),
}

/// Makes a pruned copy.
#[derive(Clone, Debug, PartialEq)]
pub struct Compress {
    /// What is kept, and how.
    pub pack: Pack,
    /// Decides how values of I8 are rounded.
    pub seed: u64,
    /// Whether the number of the step, the second operand, decides it too.
    pub step: bool,
    /// Which elements count, if not all do.
    pub rows: Option<Rows>,
}

/// A sample is seen as rows, and an operand says by a number above zero which of them count: a row of a text is a token's
/// features, and padding is left out. Elements of other rows are taken for zeros, unless no row of the sample counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// Of a sample, at least one.
    pub count: usize,
    /// The operand, `[samples, count]`.
    pub slot: usize,
    /// Its element: I64, Bool or F32.
    pub dtype: DType,
}

/// Levels on either side of zero that a value of I8 is rounded to.
pub const LEVELS: f32 = 127.0;

impl Pack {
    /// Bytes of one sample's index.
    pub fn index_bytes(&self) -> usize {
        packed::index_bytes(self.form, self.n as u64, self.keep as u64).expect("sizes are within bounds") as usize
    }

    /// Bytes of one sample's scales.
    pub fn scale_bytes(&self) -> usize {
        packed::scale_bytes(self.values.proto(), self.keep as u64) as usize
    }

    /// Bytes of one sample's values, scales apart.
    pub fn kept_bytes(&self) -> usize {
        self.keep * self.values.bytes()
    }

    /// Bytes of the whole copy.
    pub fn bytes(&self) -> usize {
        self.samples * (self.index_bytes() + self.scale_bytes() + self.kept_bytes())
    }
}

impl Compress {
    /// Decides all roundings of a step.
    pub fn key(&self, step: u64) -> u64 {
        self.seed ^ splitmix64(step)
    }
}

/// A number in 0..1 for the value of that rank, counted over all samples: it is rounded up if what is lost by rounding down
/// is more than this.
#[inline(always)]
pub fn draw(key: u64, rank: u64) -> f32 {
    let hash = splitmix64(key ^ splitmix64(rank));
    (hash >> 40) as i32 as f32 / (1 << 24) as f32
}

/// The scale of values whose largest magnitude has these bits. Where one of them is infinite or no number, so are all.
#[inline(always)]
pub fn scale(largest: u32) -> f32 {
    let largest = f32::from_bits(largest);
    if largest.is_finite() { largest / LEVELS } else { f32::NAN }
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
    let result = call.wanted(0)?;
    let Type::Topk(topk) = result else {
        return Err(call.wrong_result(0, "a topk value"));
    };
    let random = topk.values == Kept::I8;
    let operands = call.operands(1..=if random { 3 } else { 2 })?;
    let x = call.f32(0)?;
    call.results(&[Type::Topk(Topk { dims: x.to_vec(), ..topk.clone() })])?;
    let step = random && (operands == 3 || operands == 2 && call.operand(1)?.dims().is_empty());
    if step {
        call.f32_of(1, &[])?;
    }
    let slot = if step { 2 } else { 1 };
    let rows = if slot < operands { Some(rows(call, slot, topk)?) } else { None };
    let seed = if random { call.int("seed", i64::MIN..=i64::MAX)? as u64 } else { 0 };
    call.only(if random { &["seed"] } else { &[] })?;
    Ok(Kernel::Compress(Compress { pack: pack(topk), seed, step, rows }))
}

/// The operand that says which rows of a sample count.
fn rows(call: &Call<'_>, slot: usize, topk: &Topk) -> Result<Rows> {
    match call.dense(slot)? {
        (dtype @ (DType::I64 | DType::Bool | DType::F32), &[samples, count])
            if samples == topk.samples && 0 < count && topk.n().is_multiple_of(count) =>
        {
            Ok(Rows { count, slot, dtype })
        }
        _ => {
            let expected = format!(
                "i64, bool or f32 of [{}, rows], of which a sample has whole ones of its {} elements",
                topk.samples,
                topk.n()
            );
            Err(call.wrong_operand(slot, expected))
        }
    }
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

/// The layout of a pruned copy.
pub(super) fn pack(topk: &Topk) -> Pack {
    Pack { samples: topk.samples, n: topk.n(), keep: topk.keep, values: topk.values, form: topk.form }
}
