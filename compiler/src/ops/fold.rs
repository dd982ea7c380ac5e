//! Extremes, products, running sums and orders along axes.

use super::reduce::{kept, reduce, reduction};
use super::rules::{alike, all_floats, arity, dims, fail, floats};
use super::{Batch, Gradient, Import, OpDef, ShapeError};
use crate::attrs::Attrs;
use crate::autodiff::Vjp;
use crate::graph::Value;
use crate::import::rules;
use crate::types::{DType, Type};

pub const OPS: &[OpDef] = &[
    reduction("reduce_max", &[("ReduceMax", rules::reduce_max)], extreme_vjp),
    reduction("reduce_min", &[("ReduceMin", rules::reduce_min)], extreme_vjp),
    reduction("reduce_prod", &[("ReduceProd", rules::reduce_prod)], |at| {
        let (dy, x) = (at.cotangent(0), at.operand(0));
        let dy = with_axes(at, dy);
        let attrs = at.attrs().only(&["axes"]);
        at.grad(0, "reduce_prod_grad", &[dy, x], attrs);
    }),
    // The cotangent, its axes kept as 1, and x.
    OpDef::made("reduce_prod_grad", &["dx"], |operands, attrs| {
        all_floats(operands, 2, 2)?;
        let attrs = attrs.clone().with("keepdims", 1);
        dims(&operands[0], reduce(&operands[1..], &attrs)?[0].dims(), "dy")?;
        Ok(vec![operands[1].clone()])
    }),
    OpDef {
        gradient: Gradient::Rule(|at| {
            let (dy, reverse) = (at.cotangent(0), at.attrs().int_or("reverse", 0));
            let attrs = at.attrs().clone().with("reverse", 1 - reverse);
            at.grad(0, "cumsum", &[dy], attrs);
        }),
        batch: Batch::Keeps,
        ..along("cumsum", &["y"], &[("CumSum", rules::cumsum)], |operands, attrs| {
            Ok(vec![Type::dense(number(operands)?, &axis_to(operands, attrs, None)?)])
        })
    },
    OpDef {
        gradient: Gradient::Rule(|at| {
            let (dy, index, shape) = (at.cotangent(0), at.result(1), at.dims(at.operand(0)));
            let attrs = at.attrs().only(&["axis"]).with("shape", shape.as_slice());
            at.grad(0, "gather_elements_grad", &[dy, index], attrs);
        }),
        ..along("top_k", &["y", "index"], &[("TopK", rules::top_k)], |operands, attrs| {
            arity(operands, 1, 1)?;
            floats(operands, &[0])?;
            let y = axis_to(operands, attrs, Some(attrs.int_or("k", 0)))?;
            Ok(vec![Type::f32(&y), Type::dense(DType::I64, &y)])
        })
    },
    along("arg_extreme", &["index"], &[("ArgMax", rules::arg_max), ("ArgMin", rules::arg_min)], |operands, attrs| {
        number(operands)?;
        Ok(vec![Type::dense(DType::I64, &axis_to(operands, attrs, Some(1))?)])
    }),
];

const fn along(
    name: &'static str,
    results: &'static [&'static str],
    import: Import,
    shape: fn(&[Type], &Attrs) -> Result<Vec<Type>, ShapeError>,
) -> OpDef {
    OpDef {
        import,
        batch: Batch::When(|_, attrs, together| together[0] && attrs.int_or("axis", 0) != 0),
        ..OpDef::made(name, results, shape)
    }
}

/// The cotangent goes to the elements that are the extreme, evenly where there are several.
fn extreme_vjp(at: &mut Vjp<'_>) {
    let (dy, x, y) = (at.cotangent(0), at.operand(0), at.result(0));
    let (dy, y) = (with_axes(at, dy), with_axes(at, y));
    let shape = at.dims(x);
    let chosen = at.emit("equal", &[x, y], Attrs::new(), 0);
    let ones = at.emit("cast", &[chosen], Attrs::new().with("to", "f32"), 0);
    let axes = at.attrs().only(&["axes"]).with("keepdims", 1);
    let count = at.emit("reduce_sum", &[ones], axes, 0);
    let share = at.emit("div", &[dy, count], Attrs::new(), 0);
    let all = at.emit("expand", &[share], Attrs::new().with("shape", shape.as_slice()).with("scale", 1.0), 0);
    at.grad(0, "select", &[all, chosen], Attrs::new().with("when", 1));
}

/// A value of the result's shape with the axes that were folded as 1.
fn with_axes(at: &mut Vjp<'_>, value: Value) -> Value {
    let shape = kept(&at.dims(at.operand(0)), at.attrs().ints("axes"));
    if at.dims(value) == shape {
        return value;
    }
    at.emit("reshape", &[value], Attrs::new().with("shape", shape.as_slice()), 0)
}

fn number(operands: &[Type]) -> Result<DType, ShapeError> {
    match alike(operands, 1, 1)? {
        dtype @ (DType::F32 | DType::I64) => Ok(dtype),
        other => fail(format!("needs f32 or i64, not {other}")),
    }
}

/// Axes of the operand, attr `axis` cut down to `len`.
fn axis_to(operands: &[Type], attrs: &Attrs, len: Option<i64>) -> Result<Vec<u64>, ShapeError> {
    let mut dims = operands[0].dims().to_vec();
    let axis = usize::try_from(attrs.int_or("axis", 0)).unwrap_or(usize::MAX);
    let Some(dim) = dims.get_mut(axis) else {
        return fail(format!("axis {axis} is not in {dims:?}"));
    };
    match len {
        None => {}
        Some(len) if (1..=*dim as i64).contains(&len) => *dim = len as u64,
        Some(len) => return fail(format!("takes {len} of {dim} elements")),
    }
    Ok(dims)
}
