//! Moving elements without arithmetic.

use super::rules::{alike, arity, fail, sizes};
use super::{Batch, Gradient, Lower, OpDef, ShapeError, nothing};
use crate::attrs::Attrs;
use crate::autodiff::Vjp;
use crate::import::rules;
use crate::types::Type;

pub const OPS: &[OpDef] = &[
    OpDef {
        name: "reshape",
        results: &["y"],
        import: &[
            ("Reshape", rules::view),
            ("Flatten", rules::view),
            ("Squeeze", rules::view),
            ("Unsqueeze", rules::view),
            ("Identity", rules::view),
        ],
        shape: reshape,
        gradient: Gradient::Rule(|at| {
            let (dy, shape) = (at.cotangent(0), at.dims(at.operand(0)));
            at.grad(0, "reshape", &[dy], Attrs::new().with("shape", shape.as_slice()));
        }),
        weight: None,
        estimates: &[],
        batch: Batch::Keeps,
        reuses: &[],
        writes: nothing,
        lower: Lower::View,
    },
    OpDef {
        name: "transpose",
        results: &["y"],
        import: &[
            ("Transpose", rules::transpose),
            ("DepthToSpace", rules::depth_to_space),
            ("SpaceToDepth", rules::space_to_depth),
        ],
        shape: transpose,
        gradient: Gradient::Rule(|at| {
            let dy = at.cotangent(0);
            let perm = at.attrs().ints("perm");
            let inverse = (0..perm.len() as i64).map(|axis| perm.iter().position(|&p| p == axis).unwrap_or(0) as i64);
            let inverse = Attrs::new().with("perm", inverse.collect::<Vec<_>>());
            at.grad(0, "transpose", &[dy], inverse);
        }),
        weight: None,
        estimates: &[],
        batch: Batch::Moves(|_, attrs, axis| attrs.ints("perm").iter().position(|&it| it == axis as i64)),
        reuses: &[],
        writes: nothing,
        lower: Lower::Instruction,
    },
    OpDef {
        name: "concat",
        results: &["y"],
        import: &[("Concat", rules::concat)],
        shape: concat,
        gradient: Gradient::Rule(concat_vjp),
        weight: None,
        estimates: &[],
        // What is joined to each sample, such as a class token, need not come from the input.
        batch: Batch::When(|_, attrs, together| together.contains(&true) && attrs.int_or("axis", 0) != 0),
        reuses: &[],
        writes: nothing,
        lower: Lower::Instruction,
    },
    OpDef {
        name: "slice",
        results: &["y"],
        import: &[("Slice", rules::slice), ("Split", rules::split)],
        shape: slice,
        gradient: Gradient::Rule(|at| {
            let (dy, shape) = (at.cotangent(0), at.dims(at.operand(0)));
            let attrs = at.attrs().only(&["starts", "steps"]).with("shape", shape.as_slice());
            at.grad(0, "unslice", &[dy], attrs);
        }),
        weight: None,
        estimates: &[],
        batch: Batch::Moves(|operands, attrs, axis| {
            let whole = slice(operands, attrs).is_ok_and(|it| it[0].dims()[axis] == operands[0].dims()[axis]);
            whole.then_some(axis)
        }),
        reuses: &[],
        writes: nothing,
        lower: Lower::Instruction,
    },
    OpDef::made("unslice", &["dx"], |operands, attrs| {
        let dtype = alike(operands, 1, 1)?;
        Ok(vec![Type::dense(dtype, &sizes(attrs, "shape")?)])
    }),
    OpDef {
        name: "pad",
        results: &["y"],
        import: &[("Pad", rules::pad)],
        shape: pad,
        gradient: Gradient::Rule(|at| {
            let (dy, shape) = (at.cotangent(0), at.dims(at.operand(0)));
            let starts = at.attrs().ints("pads")[..shape.len()].to_vec();
            let attrs = slice_attrs(&starts, &shape);
            at.grad(0, "slice", &[dy], attrs);
        }),
        weight: None,
        estimates: &[],
        batch: Batch::When(|operands, attrs, together| {
            let pads = attrs.ints("pads");
            together[0] && pads.first() == Some(&0) && pads.get(operands[0].rank()) == Some(&0)
        }),
        reuses: &[],
        writes: nothing,
        lower: Lower::Instruction,
    },
];

/// Attributes of a slice of `shape`, whole steps, that starts at `starts`.
fn slice_attrs(starts: &[i64], shape: &[u64]) -> Attrs {
    let ends: Vec<i64> = starts.iter().zip(shape).map(|(&start, &dim)| start + dim as i64).collect();
    Attrs::new().with("starts", starts.to_vec()).with("ends", ends).with("steps", vec![1; shape.len()])
}

fn reshape(operands: &[Type], attrs: &Attrs) -> Result<Vec<Type>, ShapeError> {
    arity(operands, 1, 1)?;
    let shape = sizes(attrs, "shape")?;
    let y = match &operands[0] {
        Type::Dense { dtype, .. } => Type::dense(*dtype, &shape),
        packed => match packed.viewed(&shape) {
            Some(it) => it,
            None => return fail(format!("{packed} has no view of {shape:?}")),
        },
    };
    if y.elements() != operands[0].elements() {
        return fail(format!("{} cannot become {y}", operands[0]));
    }
    Ok(vec![y])
}

fn transpose(operands: &[Type], attrs: &Attrs) -> Result<Vec<Type>, ShapeError> {
    let dtype = alike(operands, 1, 1)?;
    let (x, perm) = (operands[0].dims(), sizes(attrs, "perm")?);
    let mut sorted = perm.clone();
    sorted.sort_unstable();
    if !sorted.into_iter().eq(0..x.len() as u64) {
        return fail(format!("{perm:?} does not permute the axes of {x:?}"));
    }
    Ok(vec![Type::dense(dtype, &perm.iter().map(|&p| x[p as usize]).collect::<Vec<_>>())])
}

fn concat(operands: &[Type], attrs: &Attrs) -> Result<Vec<Type>, ShapeError> {
    let dtype = alike(operands, 1, usize::MAX)?;
    let axis = attrs.int_or("axis", 0) as usize;
    let mut y = operands[0].dims().to_vec();
    if y.len() <= axis {
        return fail(format!("axis {axis} is not in {y:?}"));
    }
    for operand in &operands[1..] {
        let dims = operand.dims();
        if dims.len() != y.len() || (0..y.len()).any(|it| it != axis && dims[it] != y[it]) {
            return fail(format!("{y:?} and {dims:?} do not join along axis {axis}"));
        }
        y[axis] = y[axis].saturating_add(dims[axis]);
    }
    Ok(vec![Type::dense(dtype, &y)])
}

fn concat_vjp(at: &mut Vjp<'_>) {
    let dy = at.cotangent(0);
    let axis = at.attrs().int_or("axis", 0) as usize;
    let mut start = 0;
    for slot in 0..at.operands() {
        let shape = at.dims(at.operand(slot));
        if at.wants(slot) {
            let mut starts = vec![0; shape.len()];
            starts[axis] = start;
            at.grad(slot, "slice", &[dy], slice_attrs(&starts, &shape));
        }
        start += shape[axis] as i64;
    }
}

fn slice(operands: &[Type], attrs: &Attrs) -> Result<Vec<Type>, ShapeError> {
    let dtype = alike(operands, 1, 1)?;
    let x = operands[0].dims();
    let (starts, ends, steps) = (sizes(attrs, "starts")?, sizes(attrs, "ends")?, sizes(attrs, "steps")?);
    if [&starts, &ends, &steps].iter().any(|it| it.len() != x.len()) {
        return fail("needs a start, an end and a step for every axis");
    }
    let y = (0..x.len()).map(|axis| {
        if ends[axis] < starts[axis] || x[axis] < ends[axis] || steps[axis] == 0 {
            return fail(format!("{}..{} is not in axis {axis} of {x:?}", starts[axis], ends[axis]));
        }
        Ok((ends[axis] - starts[axis]).div_ceil(steps[axis]))
    });
    Ok(vec![Type::dense(dtype, &y.collect::<Result<Vec<_>, _>>()?)])
}

fn pad(operands: &[Type], attrs: &Attrs) -> Result<Vec<Type>, ShapeError> {
    let dtype = alike(operands, 1, 1)?;
    let (x, pads) = (operands[0].dims(), sizes(attrs, "pads")?);
    if pads.len() != 2 * x.len() {
        return fail(format!("needs {} pads, has {}", 2 * x.len(), pads.len()));
    }
    let padded = |axis: usize| x[axis].saturating_add(pads[axis] + pads[axis + x.len()]);
    Ok(vec![Type::dense(dtype, &(0..x.len()).map(padded).collect::<Vec<_>>())])
}
