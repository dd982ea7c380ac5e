//! Moving elements to and from places that indices say.

use super::rules::{alike, arity, dims, fail, floats, is_i64, shaped, sum};
use super::{Batch, Gradient, Import, Lower, OpDef, ShapeError, nothing, third};
use crate::attrs::Attrs;
use crate::autodiff::Vjp;
use crate::import::rules;
use crate::types::Type;

pub const OPS: &[OpDef] = &[
    OpDef {
        name: "gather",
        results: &["y"],
        import: &[("Gather", rules::gather)],
        shape: |operands, attrs| {
            arity(operands, 2, 2)?;
            let dtype = alike(&operands[..1], 1, 1)?;
            Ok(vec![Type::dense(dtype, &gathered(operands[0].dims(), &operands[1], attrs)?)])
        },
        gradient: Gradient::Rule(|at| {
            if at.wants(0) {
                picked_grad(at, "gather_grad");
            }
        }),
        weight: None,
        estimates: &[],
        // Rows of a table are looked up for each sample; along any other axis the samples stay where they are.
        batch: Batch::When(|_, attrs, together| together[usize::from(attrs.int_or("axis", 0) == 0)]),
        reuses: &[],
        writes: nothing,
        lower: Lower::Instruction,
    },
    OpDef {
        writes: third,
        ..OpDef::made("gather_grad", &["dx"], |operands, attrs| {
            sum(operands, 2, |operands| {
                arity(operands, 2, 2)?;
                floats(operands, &[0])?;
                let dx = shaped(attrs)?;
                dims(&operands[0], &gathered(dx[0].dims(), &operands[1], attrs)?, "dy")?;
                Ok(dx)
            })
        })
    },
    OpDef {
        gradient: Gradient::Rule(|at| {
            if at.wants(0) {
                picked_grad(at, "gather_elements_grad");
            }
        }),
        batch: Batch::When(|operands, attrs, together| match attrs.int_or("axis", 0) {
            0 => together[1],
            _ => together[0] && operands[0].dims().first() == operands[1].dims().first(),
        }),
        ..pick("gather_elements", &[("GatherElements", rules::gather_elements)], |operands, attrs| {
            arity(operands, 2, 2)?;
            let dtype = alike(&operands[..1], 1, 1)?;
            along_axis(operands[0].dims(), &operands[1], attrs)?;
            Ok(vec![Type::dense(dtype, operands[1].dims())])
        })
    },
    OpDef::made("gather_elements_grad", &["dx"], |operands, attrs| {
        arity(operands, 2, 2)?;
        floats(operands, &[0])?;
        let dx = shaped(attrs)?;
        along_axis(dx[0].dims(), &operands[1], attrs)?;
        dims(&operands[0], operands[1].dims(), "dy")?;
        Ok(dx)
    }),
    OpDef {
        gradient: Gradient::Rule(|at| {
            if at.wants(0) {
                picked_grad(at, "gather_nd_grad");
            }
        }),
        batch: Batch::When(|_, attrs, together| together[usize::from(attrs.int_or("batch_dims", 0) == 0)]),
        ..pick("gather_nd", &[("GatherND", rules::gather_nd)], |operands, attrs| {
            arity(operands, 2, 2)?;
            let dtype = alike(&operands[..1], 1, 1)?;
            let batch = attrs.int_or("batch_dims", 0);
            Ok(vec![Type::dense(dtype, &by_tuples(operands[0].dims(), &operands[1], batch)?)])
        })
    },
    OpDef::made("gather_nd_grad", &["dx"], |operands, attrs| {
        arity(operands, 2, 2)?;
        floats(operands, &[0])?;
        let dx = shaped(attrs)?;
        dims(&operands[0], &by_tuples(dx[0].dims(), &operands[1], attrs.int_or("batch_dims", 0))?, "dy")?;
        Ok(dx)
    }),
    // Data, indices and, unless the reduction is `clear`, updates.
    OpDef {
        gradient: Gradient::Rule(|at| put_vjp(at, "gather_elements", Attrs::new())),
        ..pick(
            "scatter_elements",
            &[("ScatterElements", rules::scatter_elements), ("Scatter", rules::scatter_elements)],
            |operands, attrs| {
                put(operands, attrs, |data, indices| {
                    along_axis(data, indices, attrs)?;
                    Ok(indices.dims().to_vec())
                })
            },
        )
    },
    OpDef {
        gradient: Gradient::Rule(|at| put_vjp(at, "gather_nd", Attrs::new().with("batch_dims", 0))),
        ..pick("scatter_nd", &[("ScatterND", rules::scatter_nd)], |operands, attrs| {
            put(operands, attrs, |data, indices| by_tuples(data, indices, 0))
        })
    },
];

const fn pick(
    name: &'static str,
    import: Import,
    shape: fn(&[Type], &Attrs) -> Result<Vec<Type>, ShapeError>,
) -> OpDef {
    OpDef { import, batch: Batch::Keeps, ..OpDef::made(name, &["y"], shape) }
}

/// The gradient of data of which a part was picked.
fn picked_grad(at: &mut Vjp<'_>, op: &str) {
    let (dy, indices, shape) = (at.cotangent(0), at.operand(1), at.dims(at.operand(0)));
    let attrs = at.attrs().clone().with("shape", shape.as_slice());
    at.grad(0, op, &[dy, indices], attrs);
}

/// Gradients of data into which updates were put, where they replace or add; import refuses the others.
fn put_vjp(at: &mut Vjp<'_>, pick: &str, attrs: Attrs) {
    let (dy, indices) = (at.cotangent(0), at.operand(1));
    let adds = at.attrs().word("reduction") == Some("add");
    if at.wants(0) && adds {
        at.grad_reduced(0, dy);
    } else if at.wants(0) {
        let (op, attrs) = (at.op(), at.attrs().clone().with("reduction", "clear"));
        at.grad(0, op, &[dy, indices], attrs);
    }
    if at.wants(2) {
        let attrs = at.attrs().get("axis").map_or(attrs, |_| at.attrs().only(&["axis"]));
        at.grad(2, pick, &[dy, indices], attrs);
    }
}

fn put(
    operands: &[Type],
    attrs: &Attrs,
    updated: impl Fn(&[u64], &Type) -> Result<Vec<u64>, ShapeError>,
) -> Result<Vec<Type>, ShapeError> {
    let count = if attrs.word("reduction") == Some("clear") { 2 } else { 3 };
    arity(operands, count, count)?;
    let updates = updated(operands[0].dims(), &operands[1])?;
    if let Some(found) = operands.get(2) {
        alike(&[operands[0].clone(), found.clone()], 2, 2)?;
        dims(found, &updates, "the updates")?;
    }
    Ok(vec![operands[0].clone()])
}

/// Checks indices that replace the position along one axis.
fn along_axis(data: &[u64], indices: &Type, attrs: &Attrs) -> Result<(), ShapeError> {
    let axis = attrs.int_or("axis", 0);
    let within = |it: usize| it as i64 == axis || indices.dims()[it] <= data[it];
    if !is_i64(indices) || indices.rank() != data.len() || !(0..data.len()).all(within) {
        return fail(format!("the indices must be i64 within {data:?} but for axis {axis}, not {indices}"));
    }
    match usize::try_from(axis) {
        Ok(it) if it < data.len() => Ok(()),
        _ => fail(format!("axis {axis} is not in {data:?}")),
    }
}

/// Axes of the slices at tuples of indices along the last axis.
fn by_tuples(data: &[u64], indices: &Type, batch: i64) -> Result<Vec<u64>, ShapeError> {
    let batch = usize::try_from(batch).unwrap_or(usize::MAX);
    let fits = match indices.dims().split_last() {
        Some((&tuple, slices)) if is_i64(indices) && batch <= slices.len().min(data.len()) => {
            slices[..batch] == data[..batch] && tuple <= (data.len() - batch) as u64
        }
        _ => false,
    };
    if !fits {
        return fail(format!("{indices} are no tuples of indices into {data:?} behind {batch} axes"));
    }
    let (&tuple, slices) = indices.dims().split_last().unwrap_or((&0, &[]));
    Ok([slices, &data[batch + tuple as usize..]].concat())
}

fn gathered(data: &[u64], indices: &Type, attrs: &Attrs) -> Result<Vec<u64>, ShapeError> {
    if !is_i64(indices) {
        return fail(format!("the indices must be i64, not {indices}"));
    }
    let axis = usize::try_from(attrs.int_or("axis", 0)).unwrap_or(usize::MAX);
    if data.len() <= axis {
        return fail(format!("axis {axis} is not in {data:?}"));
    }
    Ok([&data[..axis], indices.dims(), &data[axis + 1..]].concat())
}
