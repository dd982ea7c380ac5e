//! Resizing along one axis: interpolation, or the nearest element.

use super::rules::{all_floats, dims, fail, shaped};
use super::{Batch, Gradient, Lower, OpDef, ShapeError, nothing};
use crate::attrs::Attrs;
use crate::import::rules;
use crate::types::Type;

pub const OPS: &[OpDef] = &[
    OpDef {
        name: "resize",
        results: &["y"],
        import: &[("Resize", rules::resize), ("Upsample", rules::upsample)],
        shape: resize,
        gradient: Gradient::Rule(|at| {
            let (dy, shape) = (at.cotangent(0), at.dims(at.operand(0)));
            let attrs = at.attrs().clone().with("shape", shape.as_slice());
            at.grad(0, "resize_grad", &[dy], attrs);
        }),
        weight: None,
        estimates: &[],
        batch: Batch::Moves(|_, attrs, axis| (attrs.int_or("axis", 0) != axis as i64).then_some(axis)),
        reuses: &[],
        writes: nothing,
        lower: Lower::Instruction,
    },
    OpDef::made("resize_grad", &["dx"], |operands, attrs| {
        all_floats(operands, 1, 1)?;
        let dx = shaped(attrs)?;
        dims(&operands[0], resize(&dx, attrs)?[0].dims(), "dy")?;
        Ok(dx)
    }),
];

fn resize(operands: &[Type], attrs: &Attrs) -> Result<Vec<Type>, ShapeError> {
    all_floats(operands, 1, 1)?;
    let mut y = operands[0].dims().to_vec();
    let (axis, size) = (attrs.int_or("axis", -1), attrs.int_or("size", 0));
    let Some(dim) = usize::try_from(axis).ok().and_then(|it| y.get_mut(it)) else {
        return fail(format!("axis {axis} is not in {y:?}"));
    };
    if !(1..1 << 31).contains(&size) {
        return fail(format!("size {size} is not from 1 to 2^31"));
    }
    *dim = size as u64;
    Ok(vec![Type::f32(&y)])
}
