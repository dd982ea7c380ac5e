//! Losses. Their first result is a scalar whose cotangent is one.

use super::rules::{arity, dims, fail, floats, is_i64};
use super::{Batch, Gradient, Lower, OpDef, ShapeError, nothing};
use crate::attrs::Attrs;
use crate::autodiff::Vjp;
use crate::types::Type;

pub const OPS: &[OpDef] = &[
    OpDef {
        results: &["loss", "p"],
        ..loss(
            "softmax_cross_entropy",
            |operands, _| Ok(vec![Type::f32(&[]), classes(operands)?]),
            |at| {
                let mut operands = vec![at.result(1), at.operand(1), at.operand(2)];
                operands.extend((3 < at.operands()).then(|| at.operand(3)));
                let attrs = at.attrs().clone();
                at.grad(0, "softmax_cross_entropy_grad", &operands, attrs);
            },
        )
    },
    OpDef::made("softmax_cross_entropy_grad", &["dlogits"], |operands, _| Ok(vec![classes(operands)?])),
    loss("mse", scalar, |at| elementwise(at, "mse_grad")),
    OpDef::made("mse_grad", &["dprediction"], |operands, _| Ok(vec![pair(operands)?])),
    loss("bce_with_logits", scalar, |at| elementwise(at, "bce_with_logits_grad")),
    OpDef::made("bce_with_logits_grad", &["dlogits"], |operands, _| Ok(vec![pair(operands)?])),
    OpDef::made("correct", &["count"], |operands, _| {
        arity(operands, 3, 3)?;
        floats(operands, &[0, 2])?;
        Ok(vec![Type::f32(&[])])
    }),
];

const fn loss(
    name: &'static str,
    shape: fn(&[Type], &Attrs) -> Result<Vec<Type>, ShapeError>,
    rule: fn(&mut Vjp<'_>),
) -> OpDef {
    OpDef {
        name,
        results: &["loss"],
        import: &[],
        shape,
        gradient: Gradient::Rule(rule),
        weight: None,
        estimates: &[],
        batch: Batch::Loses,
        writes: nothing,
        lower: Lower::Instruction,
    }
}

/// Checks scores `[B,C]`, class indices `[B]`, row weights `[B]` and class weights `[C]`; returns the scores' type.
fn classes(operands: &[Type]) -> Result<Type, ShapeError> {
    arity(operands, 3, 4)?;
    floats(operands, &[0, 2])?;
    let &[batch, n_classes] = operands[0].dims() else {
        return fail(format!("needs scores of rank 2, has {}", operands[0]));
    };
    if !is_i64(&operands[1]) {
        return fail("the targets must be i64");
    }
    dims(&operands[1], &[batch], "the targets")?;
    dims(&operands[2], &[batch], "the row weights")?;
    if let Some(weights) = operands.get(3) {
        dims(weights, &[n_classes], "the class weights")?;
    }
    Ok(operands[0].clone())
}

/// Checks a prediction, a target of its shape and row weights; returns the prediction's type.
fn pair(operands: &[Type]) -> Result<Type, ShapeError> {
    arity(operands, 3, 3)?;
    floats(operands, &[0, 1, 2])?;
    dims(&operands[1], operands[0].dims(), "the target")?;
    let batch = operands[0].dims().first().copied().unwrap_or(1);
    dims(&operands[2], &[batch], "the row weights")?;
    Ok(operands[0].clone())
}

fn scalar(operands: &[Type], _: &Attrs) -> Result<Vec<Type>, ShapeError> {
    pair(operands)?;
    Ok(vec![Type::f32(&[])])
}

fn elementwise(at: &mut Vjp<'_>, op: &str) {
    let operands = [at.operand(0), at.operand(1), at.operand(2)];
    at.grad(0, op, &operands, Attrs::new());
}
