//! `y = x · w + b` and products of two activations.

use super::rules::{all_floats, dims, fail};
use super::{Batch, Estimate, Gradient, Lower, OpDef, ShapeError, nothing};
use crate::attrs::Attrs;
use crate::autodiff::Vjp;
use crate::import::rules;
use crate::types::Type;

pub const OPS: &[OpDef] = &[
    OpDef {
        name: "linear",
        results: &["y"],
        import: &[("MatMul", rules::mat_mul), ("Gemm", rules::gemm)],
        shape: linear,
        gradient: Gradient::Rule(linear_vjp),
        weight: Some(1),
        estimates: &[],
        batch: Batch::Keeps,
        writes: nothing,
        lower: Lower::Instruction,
    },
    OpDef::made("linear_input_grad", &["dx"], linear_input_grad),
    OpDef { estimates: &[(1, Estimate::Safe)], ..OpDef::made("linear_weight_grad", &["dw"], linear_weight_grad) },
    OpDef {
        name: "matmul",
        results: &["y"],
        import: &[],
        shape: matmul,
        gradient: Gradient::Rule(matmul_vjp),
        weight: None,
        estimates: &[(0, Estimate::Published), (1, Estimate::Published)],
        batch: Batch::When(|operands, attrs, together| {
            together[0] && (2 < operands[0].rank() || attrs.int_or("ta", 0) == 0)
        }),
        writes: nothing,
        lower: Lower::Instruction,
    },
];

fn linear(operands: &[Type], attrs: &Attrs) -> Result<Vec<Type>, ShapeError> {
    all_floats(operands, 2, 3)?;
    let (x, w) = (operands[0].dims(), operands[1].dims());
    let (Some((k, rows)), 2) = (x.split_last(), w.len()) else {
        return fail("needs x of rank 1 or more and w of rank 2");
    };
    let (inner, n) = if attrs.int_or("transpose", 0) == 0 { (w[0], w[1]) } else { (w[1], w[0]) };
    if *k != inner {
        return fail(format!("x has {k} features, w takes {inner}"));
    }
    if let Some(b) = operands.get(2) {
        dims(b, &[n], "the bias")?;
    }
    Ok(vec![Type::f32(&[rows, &[n]].concat())])
}

fn linear_vjp(at: &mut Vjp<'_>) {
    let (dy, x, w) = (at.cotangent(0), at.operand(0), at.operand(1));
    let attrs = at.attrs().only(&["transpose"]);
    if at.wants(0) {
        at.grad(0, "linear_input_grad", &[dy, w], attrs.clone());
    }
    if at.wants(1) {
        at.grad(1, "linear_weight_grad", &[dy, x], attrs);
    }
    if at.wants(2) {
        at.grad_reduced(2, dy);
    }
}

fn linear_input_grad(operands: &[Type], attrs: &Attrs) -> Result<Vec<Type>, ShapeError> {
    all_floats(operands, 2, 2)?;
    let flipped = attrs.clone().with("transpose", 1 - attrs.int_or("transpose", 0));
    linear(operands, &flipped)
}

fn linear_weight_grad(operands: &[Type], attrs: &Attrs) -> Result<Vec<Type>, ShapeError> {
    all_floats(operands, 2, 2)?;
    let (Some((n, rows)), Some((k, x_rows))) = (operands[0].dims().split_last(), operands[1].dims().split_last())
    else {
        return fail("needs operands of rank 1 or more");
    };
    if rows != x_rows {
        return fail(format!("dy has rows {rows:?}, x has {x_rows:?}"));
    }
    Ok(vec![Type::f32(&if attrs.int_or("transpose", 0) == 0 { [*k, *n] } else { [*n, *k] })])
}

fn matmul(operands: &[Type], attrs: &Attrs) -> Result<Vec<Type>, ShapeError> {
    all_floats(operands, 2, 2)?;
    let (a, b) = (operands[0].dims(), operands[1].dims());
    if a.len() < 2 || a.len() != b.len() || a[..a.len() - 2] != b[..b.len() - 2] {
        return fail(format!("{a:?} and {b:?} have other leading axes"));
    }
    let batch = a.len() - 2;
    let ends = |dims: &[u64], flip: bool| {
        if flip { (dims[1], dims[0]) } else { (dims[0], dims[1]) }
    };
    let (m, k) = ends(&a[batch..], attrs.int_or("ta", 0) != 0);
    let (inner, n) = ends(&b[batch..], attrs.int_or("tb", 0) != 0);
    if k != inner {
        return fail(format!("{a:?} and {b:?} do not multiply"));
    }
    Ok(vec![Type::f32(&[&a[..batch], &[m, n]].concat())])
}

fn matmul_vjp(at: &mut Vjp<'_>) {
    let (dy, a, b) = (at.cotangent(0), at.operand(0), at.operand(1));
    let (ta, tb) = (at.attrs().int_or("ta", 0), at.attrs().int_or("tb", 0));
    let flags = |ta: i64, tb: i64| Attrs::new().with("ta", ta).with("tb", tb);
    if at.wants(0) {
        match ta {
            0 => at.grad(0, "matmul", &[dy, b], flags(0, 1 - tb)),
            _ => at.grad(0, "matmul", &[b, dy], flags(tb, 1)),
        }
    }
    if at.wants(1) {
        match tb {
            0 => at.grad(1, "matmul", &[a, dy], flags(1 - ta, 0)),
            _ => at.grad(1, "matmul", &[dy, a], flags(1, ta)),
        }
    }
}
