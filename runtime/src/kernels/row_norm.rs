//! Normalization of rows: by mean and deviation (layer normalization), or by the root mean square.

use super::Kernel;
use super::call::{Call, Result, wrong};
use super::pack::Stored;
use crate::types::Type;

/// A tensor seen as `[rows, len]`; each row is normalized on its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// All axes before the normalized ones.
    pub rows: usize,
    /// The normalized axes.
    pub len: usize,
    /// The mean is taken away first.
    pub centered: bool,
    /// There is a factor for each element of a row.
    pub scale: bool,
    /// There is a summand for each element of a row.
    pub bias: bool,
    /// How the output is saved that a gradient is computed from.
    pub y: Stored,
}

/// How many times its scale an output may be for the normalized value to be taken from it. Beyond, the rounding of a
/// packed copy (2^-9 of the value in bf16) would be a quarter of a deviation and more.
pub const OUTPUT_LIMIT: f64 = 128.0;

/// `y = (x - mean) * rstd * scale + bias` with `rstd = 1 / sqrt(mean of (x - mean)^2 + epsilon)`, mean and rstd being
/// those of the row; the mean counts as zero where rows are not centered.
#[derive(Clone, Debug, PartialEq)]
pub struct RowNorm {
    /// Shape of x.
    pub rows: Rows,
    /// Added to the variance.
    pub epsilon: f64,
}

pub(super) fn layer_norm(call: &Call<'_>) -> Result<Kernel> {
    norm(call, true)
}

pub(super) fn rms_norm(call: &Call<'_>) -> Result<Kernel> {
    norm(call, false)
}

pub(super) fn layer_norm_grad(call: &Call<'_>) -> Result<Kernel> {
    let found = call.operands(4..=5)?;
    let rows = Rows { centered: true, scale: found == 5, bias: false, ..seen(call, 3)? };
    call.f32_of(2, statistic(call, 3)?)?;
    grad(call, &rows, 4)?;
    Ok(Kernel::RowNormGrad(rows))
}

pub(super) fn layer_norm_grad_from_output(call: &Call<'_>) -> Result<Kernel> {
    let found = call.operands(3..=5)?;
    let rows = from_output(call, Rows { centered: true, scale: 4 <= found, bias: found == 5, ..seen(call, 2)? })?;
    grad(call, &rows, 3)?;
    Ok(Kernel::RowNormGradFromOutput(rows))
}

pub(super) fn rms_norm_grad(call: &Call<'_>) -> Result<Kernel> {
    let found = call.operands(3..=4)?;
    let rows = Rows { centered: false, scale: found == 4, bias: false, ..seen(call, 2)? };
    grad(call, &rows, 3)?;
    Ok(Kernel::RowNormGrad(rows))
}

pub(super) fn rms_norm_grad_from_output(call: &Call<'_>) -> Result<Kernel> {
    let found = call.operands(3..=4)?;
    let rows = from_output(call, Rows { centered: false, scale: found == 4, bias: false, ..seen(call, 2)? })?;
    grad(call, &rows, 3)?;
    Ok(Kernel::RowNormGradFromOutput(rows))
}

fn norm(call: &Call<'_>, centered: bool) -> Result<Kernel> {
    let found = call.operands(1..=if centered { 3 } else { 2 })?;
    let x = call.f32(0)?;
    let axis = call.size("axis", 0)?;
    if x.len() <= axis {
        return Err(wrong("axis", format!("below {}", x.len())));
    }
    let (lead, row) = x.split_at(axis);
    for slot in 1..found {
        call.f32_of(slot, row)?;
    }
    let epsilon = call.float("epsilon")?;
    if epsilon < 0.0 {
        return Err(wrong("epsilon", "a float, not negative".into()));
    }
    let statistics = vec![Type::f32(lead); if centered { 2 } else { 1 }];
    call.results(&[vec![Type::f32(x)], statistics].concat())?;
    let rows = Rows {
        rows: lead.iter().product(),
        len: row.iter().product(),
        centered,
        scale: 2 <= found,
        bias: found == 3,
        y: Stored::Dense,
    };
    Ok(Kernel::RowNorm(RowNorm { rows, epsilon }))
}

/// Axes of the statistic in `slot`: some of the first ones of operand 0.
fn statistic<'a>(call: &Call<'a>, slot: usize) -> Result<&'a [usize]> {
    let (dy, statistic) = (call.f32(0)?, call.f32(slot)?);
    match dy.strip_prefix(statistic) {
        Some([_, ..]) => Ok(statistic),
        _ => Err(call.wrong_operand(slot, "one number for each row of operand 0")),
    }
}

/// Operand 0 as rows, of which the statistic in `slot` has a number each.
fn seen(call: &Call<'_>, slot: usize) -> Result<Rows> {
    let (dy, lead) = (call.f32(0)?, statistic(call, slot)?);
    let (rows, len) = (lead.iter().product(), dy[lead.len()..].iter().product());
    Ok(Rows { rows, len, centered: false, scale: false, bias: false, y: Stored::Dense })
}

/// The rows, and how the output in slot 1 is saved.
fn from_output(call: &Call<'_>, rows: Rows) -> Result<Rows> {
    let (dims, y) = call.stored(1, |_| rows.len)?;
    match dims == call.f32(0)? {
        true => Ok(Rows { y, ..rows }),
        false => Err(call.wrong_operand(1, "a tensor with the axes of operand 0")),
    }
}

/// Checks operand 1, scale and bias from slot `scale` on, and the results.
fn grad(call: &Call<'_>, rows: &Rows, scale: usize) -> Result<()> {
    let (dy, lead) = (call.f32(0)?, call.f32(scale - 1)?.len());
    if rows.y == Stored::Dense {
        call.f32_of(1, dy)?;
    }
    for slot in scale..scale + usize::from(rows.scale) + usize::from(rows.bias) {
        call.f32_of(slot, &dy[lead..])?;
    }
    let row = Type::f32(&dy[lead..]);
    let affine = match (rows.scale, rows.centered) {
        (false, _) => 0,
        (true, false) => 1,
        (true, true) => 2,
    };
    call.results(&[vec![Type::f32(dy)], vec![row; affine]].concat())
}
