//! Products with weights, and of two activations.

use super::node::{At, Refused, refuse};
use crate::attrs::Attrs;
use crate::graph::Value;

/// MatMul: `linear` where one side is a matrix of weights and the other one is data.
pub fn mat_mul(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let (a, b) = (at.input(0)?, at.input(1)?);
    let (a_dims, b_dims) = (at.dims(a), at.dims(b));
    if a_dims.is_empty() || b_dims.is_empty() {
        return refuse("of a single number is not supported");
    }
    if !at.is_data(b) && b_dims.len() == 2 {
        let (w, transpose) = untransposed(at, b, 0);
        at.make("linear", &[a, w], Attrs::new().with("transpose", transpose))?;
        return Ok(());
    }
    if !at.is_data(b) && b_dims.len() == 1 {
        let w = reshaped(at, b, &[b_dims[0], 1], "column")?;
        let y = at.emit("linear", &[a, w], Attrs::new().with("transpose", 0), "full")?;
        return at.finish_reshaped(y);
    }
    if !at.is_data(a) && a_dims.len() == 2 {
        return weight_on_the_left(at, a, b);
    }
    // A missing row or column axis is there for the product only.
    let a_full = if a_dims.len() == 1 { reshaped(at, a, &[1, a_dims[0]], "row")? } else { a };
    let b_full = if b_dims.len() == 1 { reshaped(at, b, &[b_dims[0], 1], "column")? } else { b };
    let ((a_full, ta), (b_full, tb)) = (unswapped(at, a_full), unswapped(at, b_full));
    let attrs = Attrs::new().with("ta", ta).with("tb", tb);
    if a_dims.len() != 1 && b_dims.len() != 1 {
        at.make("matmul", &[a_full, b_full], attrs)?;
        return Ok(());
    }
    let y = at.emit("matmul", &[a_full, b_full], attrs, "full")?;
    at.finish_reshaped(y)
}

/// `w x = (x' w')'`: so the sum over samples of the weight's gradient is part of one product.
fn weight_on_the_left(at: &mut At<'_, '_>, w: Value, x: Value) -> Result<(), Refused> {
    let rank = at.dims(x).len();
    let (w, transpose) = untransposed(at, w, 1);
    let attrs = Attrs::new().with("transpose", transpose);
    if rank == 1 {
        at.make("linear", &[x, w], attrs)?;
        return Ok(());
    }
    let columns = match unswapped(at, x) {
        (inner, 1) => inner,
        _ => at.emit("transpose", &[x], Attrs::new().with("perm", swap(rank)), "columns")?,
    };
    let rows = at.emit("linear", &[columns, w], attrs, "rows")?;
    at.make("transpose", &[rows], Attrs::new().with("perm", swap(rank)))?;
    Ok(())
}

/// A permutation that swaps the last two axes.
fn swap(rank: usize) -> Vec<i64> {
    let mut perm: Vec<i64> = (0..rank as i64).collect();
    perm.swap(rank - 2, rank - 1);
    perm
}

/// What `value` is a stack of transposed matrices of, and 1; itself and 0 where it is none.
fn unswapped(at: &At<'_, '_>, value: Value) -> (Value, i64) {
    match at.made_by(value, "transpose") {
        Some((inner, attrs)) if attrs.ints("perm") == swap(at.dims(value).len()) => (inner, 1),
        _ => (value, 0),
    }
}

fn reshaped(at: &mut At<'_, '_>, value: Value, dims: &[u64], suffix: &str) -> Result<Value, Refused> {
    at.emit("reshape", &[value], Attrs::new().with("shape", dims), suffix)
}

/// Gemm: `alpha A' B' + beta C`.
pub fn gemm(at: &mut At<'_, '_>) -> Result<(), Refused> {
    let (mut a, b) = (at.input(0)?, at.input(1)?);
    let (trans_a, trans_b) = (at.int("transA", 0), at.int("transB", 0));
    let (alpha, beta) = (at.float("alpha", 1.0), at.float("beta", 1.0));
    if at.dims(a).len() != 2 || at.dims(b).len() != 2 {
        return refuse(format!("of {:?} and {:?} is not supported", at.dims(a), at.dims(b)));
    }
    let n = at.dims(b)[if trans_b != 0 { 0 } else { 1 }];
    let mut term = match at.has(2) && beta != 0.0 {
        true => Some(at.input(2)?),
        false => None,
    };
    let mut last = Attrs::new();
    let (op, mut operands) = match at.is_data(b) {
        true => {
            last = last.with("ta", i64::from(trans_a != 0)).with("tb", i64::from(trans_b != 0));
            ("matmul", vec![a, b])
        }
        false => {
            if trans_a != 0 {
                a = at.emit("transpose", &[a], Attrs::new().with("perm", vec![1, 0]), "a")?;
            }
            let (w, transpose) = untransposed(at, b, i64::from(trans_b != 0));
            last = last.with("transpose", transpose);
            ("linear", vec![a, w])
        }
    };
    if op == "linear"
        && alpha == 1.0
        && beta == 1.0
        && let Some(c) = term
        && let Some(bias) = row_bias(at, c, n)?
    {
        operands.push(bias);
        term = None;
    }
    if alpha == 1.0 && term.is_none() {
        at.make(op, &operands, last)?;
        return Ok(());
    }
    let mut y = at.emit(op, &operands, last, "product")?;
    if alpha != 1.0 {
        y = at.emit("scale", &[y], Attrs::new().with("factor", alpha), "alpha")?;
    }
    if let Some(mut c) = term {
        if beta != 1.0 {
            c = at.emit("scale", &[c], Attrs::new().with("factor", beta), "beta")?;
        }
        at.make("add", &[y, c], Attrs::new())?;
        return Ok(());
    }
    at.finish(y);
    Ok(())
}

/// The weight itself where `w` is its transpose: a weight stays in its own layout.
fn untransposed(at: &At<'_, '_>, w: Value, transpose: i64) -> (Value, i64) {
    match at.made_by(w, "transpose") {
        Some((inner, _)) => (inner, 1 - transpose),
        None => (w, transpose),
    }
}

/// `c` as a bias of `n` features, where it has one number for each.
fn row_bias(at: &mut At<'_, '_>, c: Value, n: u64) -> Result<Option<Value>, Refused> {
    match at.dims(c).as_slice() {
        [features] if *features == n => Ok(Some(c)),
        [1, features] if *features == n => {
            Ok(Some(at.emit("reshape", &[c], Attrs::new().with("shape", [n].as_slice()), "bias")?))
        }
        _ => Ok(None),
    }
}
