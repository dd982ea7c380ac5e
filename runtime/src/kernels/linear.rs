//! Products of matrices.

use super::Kernel;
use super::call::{Call, Result};
use super::pack::Stored;
use super::strides::{broadcast, merge};
use crate::types::Type;

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
    /// How x is saved.
    pub x: Stored,
    /// Whether a gradient is added onto a third operand; that of w in place.
    pub onto: bool,
}

/// `y[.., m, n] = a[.., m, k] b[.., k, n]`, the leading axes being broadcast as numpy does.
#[derive(Clone, Debug, PartialEq)]
pub struct Matmul {
    /// Leading axes of y, merged where possible; at least one.
    pub lead: Vec<usize>,
    /// Strides of a for these axes, in matrices; 0 where it is repeated.
    pub a: Vec<usize>,
    /// Strides of b, likewise.
    pub b: Vec<usize>,
    /// Rows of the result.
    pub m: usize,
    /// The axis that is summed over.
    pub k: usize,
    /// Columns of the result.
    pub n: usize,
    /// Whether a lies as `[.., k, m]`.
    pub ta: bool,
    /// Whether b lies as `[.., n, k]`.
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
    let dy = call.f32(0)?;
    let (n, lead) = dy.split_last().ok_or_else(|| call.wrong_operand(0, "f32[.., n]"))?;
    let transpose = call.flag("transpose")?;
    let k = match *call.f32(1)? {
        [wn, k] if transpose && wn == *n => k,
        [k, wn] if !transpose && wn == *n => k,
        _ => return Err(call.wrong_operand(1, format!("a matrix that makes {n} columns"))),
    };
    let onto = call.sum(2, &[lead, &[k]].concat())?;
    Ok(Kernel::LinearInputGrad(Linear {
        rows: lead.iter().product(),
        k,
        n: *n,
        transpose,
        bias: false,
        x: Stored::Dense,
        onto,
    }))
}

pub(super) fn linear_weight_grad(call: &Call<'_>) -> Result<Kernel> {
    let (dy, (x, stored)) = (call.f32(0)?, call.stored(1, |x| x.last().copied().unwrap_or(0))?);
    let transpose = call.flag("transpose")?;
    let (Some((&n, lead)), Some((&k, x_lead))) = (dy.split_last(), x.split_last()) else {
        return Err(call.wrong_operand(0, "f32[.., n]"));
    };
    if lead != x_lead {
        return Err(call.wrong_operand(1, format!("a tensor with the leading axes {lead:?}")));
    }
    let onto = call.sum(2, &if transpose { [n, k] } else { [k, n] })?;
    Ok(Kernel::LinearWeightGrad(Linear { rows: lead.iter().product(), k, n, transpose, bias: false, x: stored, onto }))
}

pub(super) fn matmul(call: &Call<'_>) -> Result<Kernel> {
    call.operands(2..=2)?;
    let (ta, tb) = (call.flag("ta")?, call.flag("tb")?);
    let ([a_lead @ .., a0, a1], [b_lead @ .., b0, b1]) = (call.f32(0)?, call.f32(1)?) else {
        return Err(call.wrong_operand(0, "a stack of matrices, as operand 1"));
    };
    let (m, k) = if ta { (*a1, *a0) } else { (*a0, *a1) };
    let (b_k, n) = if tb { (*b1, *b0) } else { (*b0, *b1) };
    let lead = stretched(a_lead, b_lead);
    let strides = [a_lead, b_lead].map(|it| broadcast(it, &lead));
    let ([Some(a), Some(b)], true) = (strides, k == b_k) else {
        return Err(call.wrong_operand(1, format!("matrices with {k} rows and leading axes that go with {a_lead:?}")));
    };
    call.result(&[&lead[..], &[m, n]].concat())?;
    let (mut lead, [mut a, mut b]) = merge(&lead, [&a, &b]);
    let mut m = m;
    // The same right factor for all makes one product of many rows.
    if !ta && a == [1] && b == [0] {
        m *= lead[0];
        (lead, a, b) = (vec![1], vec![0], vec![0]);
    }
    Ok(Kernel::Matmul(Matmul { lead, a, b, m, k, n, ta, tb }))
}

/// The longer of the axes, aligned from the right. Shapes that do not broadcast do not fit it.
fn stretched(a: &[usize], b: &[usize]) -> Vec<usize> {
    let (long, short) = if a.len() < b.len() { (b, a) } else { (a, b) };
    let mut dims = long.to_vec();
    dims.iter_mut().rev().zip(short.iter().rev()).for_each(|(dim, &other)| *dim = other.max(*dim));
    dims
}

fn from_input<'a>(call: &Call<'a>, slot: usize, w: &[usize], bias: bool) -> Result<(Linear, &'a [usize])> {
    // A product with what is kept alone would be another kernel.
    let (x, stored) = match call.operand(slot)? {
        Type::Quant(_) => call.stored(slot, |_| 1)?,
        _ => (call.f32(slot)?, Stored::Dense),
    };
    let (&k, lead) = x.split_last().ok_or_else(|| call.wrong_operand(slot, "f32[.., k]"))?;
    let transpose = call.flag("transpose")?;
    let n = match *w {
        [n, wk] if transpose && wk == k => n,
        [wk, n] if !transpose && wk == k => n,
        _ => return Err(call.wrong_operand(1, format!("a matrix that takes {k} columns"))),
    };
    Ok((Linear { rows: lead.iter().product(), k, n, transpose, bias, x: stored, onto: false }, lead))
}
