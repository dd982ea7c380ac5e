//! Softmax and its logarithm along one axis.

use super::rules::{all_floats, fail, same_pair};
use super::{Batch, Estimate, Gradient, Import, Lower, OpDef, ShapeError, nothing};
use crate::attrs::Attrs;
use crate::autodiff::Vjp;
use crate::import::rules;
use crate::types::Type;

pub const OPS: &[OpDef] = &[
    along_axis("softmax", &[("Softmax", rules::softmax)], |at| vjp(at, "softmax_grad")),
    OpDef { estimates: &[(1, Estimate::Published)], reuses: &[0], ..OpDef::made("softmax_grad", &["dx"], same_pair) },
    along_axis("log_softmax", &[("LogSoftmax", rules::log_softmax)], |at| vjp(at, "log_softmax_grad")),
    OpDef { reuses: &[0], ..OpDef::made("log_softmax_grad", &["dx"], same_pair) },
];

const fn along_axis(name: &'static str, import: Import, rule: fn(&mut Vjp<'_>)) -> OpDef {
    OpDef {
        name,
        results: &["y"],
        import,
        shape,
        gradient: Gradient::Rule(rule),
        weight: None,
        estimates: &[],
        batch: Batch::Keeps,
        reuses: &[0],
        writes: nothing,
        lower: Lower::Instruction,
    }
}

fn shape(operands: &[Type], attrs: &Attrs) -> Result<Vec<Type>, ShapeError> {
    all_floats(operands, 1, 1)?;
    let axis = attrs.int_or("axis", -1);
    if axis < 0 || operands[0].rank() as i64 <= axis {
        return fail(format!("axis {axis} is not in {:?}", operands[0].dims()));
    }
    Ok(vec![operands[0].clone()])
}

fn vjp(at: &mut Vjp<'_>, op: &str) {
    let (dy, y, attrs) = (at.cotangent(0), at.result(0), at.attrs().clone());
    at.grad(0, op, &[dy, y], attrs);
}
