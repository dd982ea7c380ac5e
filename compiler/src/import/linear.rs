//! Products with weights, and of two activations.

use super::node::{At, Refused, refuse};
use crate::attrs::Attrs;
use crate::graph::Value;
use crate::ops::broadcast;

/// MatMul: `linear` where the right side is made of weights alone.
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
    let plain = Attrs::new().with("ta", 0).with("tb", 0);
    // A missing row or column axis is there for the product only.
    let a_full = if a_dims.len() == 1 { vec![1, a_dims[0]] } else { a_dims.clone() };
    let b_full = if b_dims.len() == 1 { vec![b_dims[0], 1] } else { b_dims.clone() };
    if a_full == a_dims && b_full.len() == 2 && 2 < a_full.len() {
        let rows = a_full[..a_full.len() - 1].iter().product::<u64>();
        let flat = reshaped(at, a, &[rows, a_full[a_full.len() - 1]], "rows")?;
        let b = reshaped(at, b, &b_full, "column")?;
        let y = at.emit("matmul", &[flat, b], plain, "flat")?;
        return at.finish_reshaped(y);
    }
    let (a_lead, b_lead) = (&a_full[..a_full.len() - 2], &b_full[..b_full.len() - 2]);
    let lead = broadcast(a_lead, b_lead).map_err(|e| Refused(e.to_string()))?;
    let a = expanded(at, a, &a_full, &lead, "left")?;
    let b = expanded(at, b, &b_full, &lead, "right")?;
    if a_full == a_dims && b_full == b_dims {
        at.make("matmul", &[a, b], plain)?;
        return Ok(());
    }
    let y = at.emit("matmul", &[a, b], plain, "full")?;
    at.finish_reshaped(y)
}

fn reshaped(at: &mut At<'_, '_>, value: Value, dims: &[u64], suffix: &str) -> Result<Value, Refused> {
    if at.dims(value) == dims {
        return Ok(value);
    }
    at.emit("reshape", &[value], Attrs::new().with("shape", dims), suffix)
}

/// `value` as a stack of matrices `full`, broadcast to the leading axes `lead`.
fn expanded(at: &mut At<'_, '_>, value: Value, full: &[u64], lead: &[u64], side: &str) -> Result<Value, Refused> {
    let (leading, matrix) = full.split_at(full.len() - 2);
    let ones = vec![1; lead.len() - leading.len()];
    let stack = reshaped(at, value, &[&ones, leading, matrix].concat(), side)?;
    let dims = [lead, matrix].concat();
    if at.dims(stack) == dims {
        return Ok(stack);
    }
    at.emit("expand", &[stack], Attrs::new().with("shape", dims.as_slice()).with("scale", 1.0), &format!("{side}.all"))
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
