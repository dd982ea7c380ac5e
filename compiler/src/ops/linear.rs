//! `y = x · w + b` and products of two activations.

use super::rules::{added, all_floats, broadcast, dims, fail, rounded, sum, unpacked};
use super::{Batch, Estimate, Gradient, Lower, OpDef, ShapeError, nothing, third};
use crate::attrs::Attrs;
use crate::autodiff::Vjp;
use crate::graph::Value;
use crate::import::rules;
use crate::types::Type;

pub const OPS: &[OpDef] = &[
    OpDef {
        name: "linear",
        results: &["y"],
        import: &[
            ("MatMul", rules::mat_mul),
            ("Gemm", rules::gemm),
            ("LSTM", rules::lstm),
            ("GRU", rules::gru),
            ("RNN", rules::rnn),
        ],
        shape: linear,
        gradient: Gradient::Rule(linear_vjp),
        weight: Some(1),
        estimates: &[(0, Estimate::Rounded)],
        batch: Batch::Keeps,
        reuses: &[],
        writes: nothing,
        lower: Lower::Instruction,
    },
    OpDef {
        reuses: &[2],
        ..OpDef::made("linear_input_grad", &["dx"], |operands, attrs| {
            added(operands, 2, |operands| linear_input_grad(operands, attrs))
        })
    },
    OpDef {
        estimates: &[(1, Estimate::Safe)],
        writes: third,
        ..OpDef::made("linear_weight_grad", &["dw"], |operands, attrs| {
            sum(operands, 2, |operands| linear_weight_grad(operands, attrs))
        })
    },
    OpDef {
        name: "matmul",
        results: &["y"],
        import: &[("Einsum", rules::einsum)],
        shape: matmul,
        gradient: Gradient::Rule(matmul_vjp),
        weight: None,
        estimates: &[(0, Estimate::Published), (1, Estimate::Published)],
        batch: Batch::When(|operands, attrs, together| {
            let rank = operands[0].rank().max(operands[1].rank());
            if rank == 2 {
                return together[0] && attrs.int_or("ta", 0) == 0;
            }
            // The outermost axis is that of an operand which has it in full.
            let size = operands.iter().filter(|it| it.rank() == rank).map(|it| it.dims()[0]).max();
            (0..2).any(|slot| {
                together[slot] && operands[slot].rank() == rank && operands[slot].dims().first() == size.as_ref()
            })
        }),
        reuses: &[],
        writes: nothing,
        lower: Lower::Instruction,
    },
];

fn linear(operands: &[Type], attrs: &Attrs) -> Result<Vec<Type>, ShapeError> {
    let operands = &rounded(operands, 0);
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
    // The input's gradient last: it is as large as x, whose pruned copy then is not alive any more.
    if at.wants(1) {
        at.grad(1, "linear_weight_grad", &[dy, x], attrs.clone());
    }
    if at.wants(2) {
        at.grad_reduced(2, dy);
    }
    if at.wants(0) {
        at.grad(0, "linear_input_grad", &[dy, w], attrs);
    }
}

fn linear_input_grad(operands: &[Type], attrs: &Attrs) -> Result<Vec<Type>, ShapeError> {
    all_floats(operands, 2, 2)?;
    let flipped = attrs.clone().with("transpose", 1 - attrs.int_or("transpose", 0));
    linear(operands, &flipped)
}

fn linear_weight_grad(operands: &[Type], attrs: &Attrs) -> Result<Vec<Type>, ShapeError> {
    let operands = &unpacked(operands, 1, |x| x.last().copied().unwrap_or(0));
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
    let ([a_lead @ .., a0, a1], [b_lead @ .., b0, b1]) = (a, b) else {
        return fail(format!("needs matrices or stacks of them, has {a:?} and {b:?}"));
    };
    let (m, k) = if attrs.int_or("ta", 0) != 0 { (*a1, *a0) } else { (*a0, *a1) };
    let (inner, n) = if attrs.int_or("tb", 0) != 0 { (*b1, *b0) } else { (*b0, *b1) };
    if k != inner {
        return fail(format!("{a:?} and {b:?} do not multiply"));
    }
    Ok(vec![Type::f32(&[&broadcast(a_lead, b_lead)?[..], &[m, n]].concat())])
}

fn matmul_vjp(at: &mut Vjp<'_>) {
    let (dy, a, b) = (at.cotangent(0), at.operand(0), at.operand(1));
    let (ta, tb) = (at.attrs().int_or("ta", 0), at.attrs().int_or("tb", 0));
    let flags = |ta: i64, tb: i64| Attrs::new().with("ta", ta).with("tb", tb);
    if at.wants(0) {
        let full = match ta {
            0 => at.emit("matmul", &[dy, b], flags(0, 1 - tb), 0),
            _ => at.emit("matmul", &[b, dy], flags(tb, 1), 0),
        };
        at.grad_reduced(0, full);
    }
    if !at.wants(1) {
        return;
    }
    // Where one matrix on the right meets a stack of which the rows lie together, its gradient is one product.
    let (a_dims, b_dims, dy_dims) = (at.dims(a), at.dims(b), at.dims(dy));
    let alone = b_dims[..b_dims.len() - 2].iter().all(|&it| it == 1);
    let (a, dy) = match ta == 0 && alone && 2 < a_dims.len() && a_dims.len() == dy_dims.len() {
        true => (flat(at, a, &a_dims), flat(at, dy, &dy_dims)),
        false => (a, dy),
    };
    let full = match tb {
        0 => at.emit("matmul", &[a, dy], flags(1 - ta, 0), 1),
        _ => at.emit("matmul", &[dy, a], flags(1, ta), 1),
    };
    if at.dims(full).len() < b_dims.len() {
        at.grad(1, "reshape", &[full], Attrs::new().with("shape", b_dims.as_slice()));
    } else {
        at.grad_reduced(1, full);
    }
}

/// A stack of matrices as one matrix of all their rows.
fn flat(at: &mut Vjp<'_>, value: Value, dims: &[u64]) -> Value {
    let (columns, rows) = (dims[dims.len() - 1], dims[..dims.len() - 1].iter().product());
    at.emit("reshape", &[value], Attrs::new().with("shape", [rows, columns].as_slice()), 1)
}
