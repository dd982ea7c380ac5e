//! Products of matrices.

use super::Kernel;
use super::call::{Call, Result};

/// `y[rows, n] = x[rows, k] w + b`, with `w[k, n]`, or `w[n, k]` when `transpose`.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// All axes of x but the last.
    pub rows: usize,
    /// Last axis of x.
    pub k: usize,
    /// Last axis of y.
    pub n: usize,
    /// Whether w lies as `[n, k]`.
    pub transpose: bool,
    /// Whether there is a third operand b`[n]`; false for the gradients.
    pub bias: bool,
}

/// `y[batch, m, n] = a[batch, m, k] b[batch, k, n]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Matmul {
    /// All leading axes, equal for both operands.
    pub batch: usize,
    /// Rows of the result.
    pub m: usize,
    /// The axis that is summed over.
    pub k: usize,
    /// Columns of the result.
    pub n: usize,
    /// Whether a lies as `[batch, k, m]`.
    pub ta: bool,
    /// Whether b lies as `[batch, n, k]`.
    pub tb: bool,
}

pub(super) fn linear(call: &Call<'_>) -> Result<Kernel> {
    let bias = call.operands(2..=3)? == 3;
    let (linear, lead) = from_input(call, 0, call.f32(1)?, bias)?;
    if bias {
        call.f32_of(2, &[linear.n])?;
    }
    call.result(&[lead, &[linear.n]].concat())?;
    Ok(Kernel::Linear(linear))
}

pub(super) fn linear_input_grad(call: &Call<'_>) -> Result<Kernel> {
    call.operands(2..=2)?;
    let dy = call.f32(0)?;
    let (n, lead) = dy.split_last().ok_or_else(|| call.wrong_operand(0, "f32[.., n]"))?;
    let transpose = call.flag("transpose")?;
    let k = match *call.f32(1)? {
        [wn, k] if transpose && wn == *n => k,
        [k, wn] if !transpose && wn == *n => k,
        _ => return Err(call.wrong_operand(1, format!("a matrix that makes {n} columns"))),
    };
    call.result(&[lead, &[k]].concat())?;
    Ok(Kernel::LinearInputGrad(Linear { rows: lead.iter().product(), k, n: *n, transpose, bias: false }))
}

pub(super) fn linear_weight_grad(call: &Call<'_>) -> Result<Kernel> {
    call.operands(2..=2)?;
    let (dy, x) = (call.f32(0)?, call.f32(1)?);
    let transpose = call.flag("transpose")?;
    let (Some((&n, lead)), Some((&k, x_lead))) = (dy.split_last(), x.split_last()) else {
        return Err(call.wrong_operand(0, "f32[.., n]"));
    };
    if lead != x_lead {
        return Err(call.wrong_operand(1, format!("a tensor with the leading axes {lead:?}")));
    }
    call.result(&if transpose { [n, k] } else { [k, n] })?;
    Ok(Kernel::LinearWeightGrad(Linear { rows: lead.iter().product(), k, n, transpose, bias: false }))
}

pub(super) fn matmul(call: &Call<'_>) -> Result<Kernel> {
    call.operands(2..=2)?;
    let (ta, tb) = (call.flag("ta")?, call.flag("tb")?);
    let ([lead @ .., a0, a1], [b_lead @ .., b0, b1]) = (call.f32(0)?, call.f32(1)?) else {
        return Err(call.wrong_operand(0, "a stack of matrices, as operand 1"));
    };
    let (m, k) = if ta { (*a1, *a0) } else { (*a0, *a1) };
    let (b_k, n) = if tb { (*b1, *b0) } else { (*b0, *b1) };
    if lead != b_lead || k != b_k {
        return Err(call.wrong_operand(1, format!("matrices with {k} rows and the leading axes {lead:?}")));
    }
    call.result(&[lead, &[m, n]].concat())?;
    Ok(Kernel::Matmul(Matmul { batch: lead.iter().product(), m, k, n, ta, tb }))
}

fn from_input<'a>(call: &Call<'a>, slot: usize, w: &[usize], bias: bool) -> Result<(Linear, &'a [usize])> {
    let x = call.f32(slot)?;
    let (&k, lead) = x.split_last().ok_or_else(|| call.wrong_operand(slot, "f32[.., k]"))?;
    let transpose = call.flag("transpose")?;
    let n = match *w {
        [n, wk] if transpose && wk == k => n,
        [wk, n] if !transpose && wk == k => n,
        _ => return Err(call.wrong_operand(1, format!("a matrix that takes {k} columns"))),
    };
    Ok((Linear { rows: lead.iter().product(), k, n, transpose, bias }, lead))
}
