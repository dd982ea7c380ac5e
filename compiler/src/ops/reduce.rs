//! Sums and means, and their inverse, expansion.

use super::rules::{alike, all_floats, broadcast, dims, fail, shaped, sizes, sum};
use super::{Batch, Gradient, Import, Lower, OpDef, ShapeError, nothing};
use crate::attrs::Attrs;
use crate::autodiff::Vjp;
use crate::import::rules;
use crate::types::{DType, Type};

pub const OPS: &[OpDef] = &[
    OpDef {
        shape: |operands, attrs| {
            all_floats(operands, 1, 1)?;
            reduce(operands, attrs)
        },
        ..reduction("reduce_mean", MEANS, |at| {
            let (x, y) = (at.operand(0), at.result(0));
            let count = at.ty(x).elements() as f64 / at.ty(y).elements().max(1) as f64;
            expand_grad(at, 1.0 / count);
        })
    },
    reduction("reduce_sum", SUMS, |at| expand_grad(at, 1.0)),
    OpDef {
        name: "expand",
        results: &["y"],
        import: &[("Expand", rules::expand), ("Tile", rules::tile)],
        shape: expand,
        gradient: Gradient::Rule(|at| {
            let dy = at.cotangent(0);
            let factor = at.attrs().float_or("scale", 1.0);
            let scaled = match factor {
                1.0 => dy,
                _ => at.emit("scale", &[dy], Attrs::new().with("factor", factor), 0),
            };
            at.grad_reduced(0, scaled);
        }),
        weight: None,
        estimates: &[],
        batch: Batch::When(|operands, attrs, together| {
            together[0] && sizes(attrs, "shape").is_ok_and(|it| it.first() == operands[0].dims().first())
        }),
        reuses: &[],
        writes: nothing,
        lower: Lower::Instruction,
    },
    OpDef {
        writes: |operands| if operands == 2 { &[1] } else { &[] },
        ..OpDef::made("reduce_to", &["y"], |operands, attrs| {
            sum(operands, 1, |operands| {
                all_floats(operands, 1, 1)?;
                let y = shaped(attrs)?;
                if y[0].rank() > operands[0].rank() {
                    return fail("the result cannot have more axes");
                }
                dims(&operands[0], &broadcast(operands[0].dims(), y[0].dims())?, "the broadcast result")?;
                Ok(y)
            })
        })
    },
];

const SUMS: Import = &[
    ("ReduceSum", rules::reduce_sum),
    ("ReduceSumSquare", rules::reduce_sum_square),
    ("ReduceL1", rules::reduce_l1),
    ("ReduceL2", rules::reduce_l2),
    ("ReduceLogSum", rules::reduce_log_sum),
    ("ReduceLogSumExp", rules::reduce_log_sum_exp),
];

const MEANS: Import = &[("ReduceMean", rules::reduce_mean), ("GlobalAveragePool", rules::global_average_pool)];

/// Some or all axes taken together.
pub const fn reduction(name: &'static str, import: Import, rule: fn(&mut Vjp<'_>)) -> OpDef {
    OpDef {
        name,
        results: &["y"],
        import,
        shape: reduce,
        gradient: Gradient::Rule(rule),
        weight: None,
        estimates: &[],
        batch: Batch::When(|_, attrs, together| together[0] && !attrs.ints("axes").contains(&0)),
        reuses: &[],
        writes: nothing,
        lower: Lower::Instruction,
    }
}

pub fn reduce(operands: &[Type], attrs: &Attrs) -> Result<Vec<Type>, ShapeError> {
    let dtype = match alike(operands, 1, 1)? {
        dtype @ (DType::F32 | DType::I64) => dtype,
        other => return fail(format!("needs f32 or i64, not {other}")),
    };
    let x = operands[0].dims();
    let axes = sizes(attrs, "axes")?;
    if axes.iter().any(|&it| x.len() as u64 <= it) || !axes.is_sorted_by(|a, b| a < b) {
        return fail(format!("axes {axes:?} do not fit {x:?}"));
    }
    let keep = attrs.int_or("keepdims", 1) != 0;
    let y = x.iter().enumerate().filter_map(|(axis, &dim)| match axes.contains(&(axis as u64)) {
        true => keep.then_some(1),
        false => Some(dim),
    });
    Ok(vec![Type::dense(dtype, &y.collect::<Vec<_>>())])
}

/// A shape with `axes` as 1.
pub fn kept(shape: &[u64], axes: &[i64]) -> Vec<u64> {
    shape.iter().enumerate().map(|(axis, &dim)| if axes.contains(&(axis as i64)) { 1 } else { dim }).collect()
}

fn expand(operands: &[Type], attrs: &Attrs) -> Result<Vec<Type>, ShapeError> {
    let y = Type::dense(alike(operands, 1, 1)?, &sizes(attrs, "shape")?);
    dims(&y, &broadcast(operands[0].dims(), y.dims())?, "the broadcast shape")?;
    Ok(vec![y])
}

fn expand_grad(at: &mut Vjp<'_>, scale: f64) {
    let (mut dy, x) = (at.cotangent(0), at.operand(0));
    let shape = at.dims(x);
    if at.ty(dy).rank() < shape.len() {
        let axes = at.attrs().ints("axes");
        let kept = kept(&shape, axes);
        dy = at.emit("reshape", &[dy], Attrs::new().with("shape", kept.as_slice()), 0);
    }
    at.grad(0, "expand", &[dy], Attrs::new().with("shape", shape.as_slice()).with("scale", scale));
}
