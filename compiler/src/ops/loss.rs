//! Losses. Their first result is a scalar; where nothing reads it, it is what is minimized and its cotangent is one.

use super::rules::{arity, dims, fail, floats, is_i64};
use super::{Batch, Gradient, Lower, OpDef, ShapeError, nothing};
use crate::attrs::Attrs;
use crate::autodiff::Vjp;
use crate::graph::Value;
use crate::import::rules;
use crate::types::Type;

pub const OPS: &[OpDef] = &[
    OpDef {
        results: &["loss", "lse"],
        import: &[
            ("SoftmaxCrossEntropyLoss", rules::softmax_cross_entropy_loss),
            ("NegativeLogLikelihoodLoss", rules::negative_log_likelihood_loss),
        ],
        ..loss("softmax_cross_entropy", cross_entropy, cross_entropy_vjp)
    },
    OpDef {
        reuses: &[0],
        ..OpDef::made("softmax_cross_entropy_grad", &["dlogits"], |operands, attrs| {
            let (scores, lse) = operands.split_first().and_then(|(x, rest)| Some((x, rest.first()?))).unzip();
            let (Some(scores), Some(lse)) = (scores, lse) else { return fail("takes scores and their log-sum-exp") };
            floats(operands, &[1])?;
            let others = [std::slice::from_ref(scores), &operands[2..]].concat();
            let positions = classes(&others, attrs)?;
            dims(lse, &positions, "the log-sum-exp")?;
            Ok(vec![scores.clone()])
        })
    },
    loss("mse", scalar, |at| elementwise(at, "mse_grad")),
    OpDef::made("mse_grad", &["dprediction"], |operands, _| Ok(vec![pair(operands)?])),
    loss("mae", scalar, |at| elementwise(at, "mae_grad")),
    OpDef::made("mae_grad", &["dprediction"], |operands, _| Ok(vec![pair(operands)?])),
    loss("huber", scalar, |at| elementwise(at, "huber_grad")),
    OpDef::made("huber_grad", &["dprediction"], |operands, _| Ok(vec![pair(operands)?])),
    loss("bce_with_logits", scalar, |at| elementwise(at, "bce_with_logits_grad")),
    OpDef::made("bce_with_logits_grad", &["dlogits"], |operands, _| Ok(vec![pair(operands)?])),
    // `count` is the weight of the right ones, `of` that of all that count.
    OpDef::made("correct", &["count", "of"], |operands, attrs| {
        arity(operands, 3, 3)?;
        floats(operands, &[0, 2])?;
        match attrs.word("kind") {
            Some("argmax") => drop(classes(operands, attrs)?),
            Some("threshold") => drop(pair(operands)?),
            _ => return fail("kind must be argmax or threshold"),
        }
        Ok(vec![Type::f32(&[]), Type::f32(&[])])
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
        reuses: &[],
        writes: nothing,
        lower: Lower::Instruction,
    }
}

/// The loss, and for each position the logarithm of the sum of e^score: with it the gradient needs no probabilities.
fn cross_entropy(operands: &[Type], attrs: &Attrs) -> Result<Vec<Type>, ShapeError> {
    let positions = classes(operands, attrs)?;
    let loss = match attrs.word("reduction") {
        Some("mean" | "sum") | None => Type::f32(&[]),
        Some("none") => Type::f32(&positions),
        Some(other) => return fail(format!("reduction must be mean, sum or none, not {other}")),
    };
    Ok(vec![loss, Type::f32(&positions)])
}

fn cross_entropy_vjp(at: &mut Vjp<'_>) {
    let others = (1..at.operands()).map(|it| at.operand(it));
    let operands: Vec<Value> = [at.operand(0), at.result(1)].into_iter().chain(others).collect();
    let attrs = at.attrs().clone();
    let axis = attrs.int_or("axis", 1) as usize;
    let own = at.emit("softmax_cross_entropy_grad", &operands, attrs, 0);
    // A loss of each position has a cotangent of each, which all its classes share.
    let outer = at.cotangent_if_any(0).map(|outer| {
        let mut shape = at.dims(outer);
        if shape.is_empty() {
            return outer;
        }
        shape.insert(axis, 1);
        at.emit("reshape", &[outer], Attrs::new().with("shape", shape.as_slice()), 0)
    });
    finish(at, own, outer);
}

/// The cotangent of the prediction is `own`, times what comes from behind the loss.
fn finish(at: &mut Vjp<'_>, own: Value, outer: Option<Value>) {
    match outer {
        None => at.found(0, own),
        Some(outer) => at.grad(0, "mul", &[own, outer], Attrs::new()),
    }
}

/// Checks scores `[B,..,C,..]`, class indices of their shape without the axis of the classes, row weights `[B]`,
/// class weights `[C]` and the weight `[]` that a mean is over; returns the shape of the indices.
fn classes(operands: &[Type], attrs: &Attrs) -> Result<Vec<u64>, ShapeError> {
    arity(operands, 3, 5)?;
    let total = operands[3..].last().is_some_and(|it| it.rank() == 0);
    if total && !matches!(attrs.word("reduction"), Some("mean") | None) {
        return fail("only a mean is over a total");
    }
    let operands = if total { &operands[..operands.len() - 1] } else { operands };
    arity(operands, 3, 4)?;
    floats(operands, &[0, 2])?;
    let axis = attrs.int_or("axis", 1);
    let mut positions = operands[0].dims().to_vec();
    if !(1..positions.len() as i64).contains(&axis) {
        return fail(format!("axis {axis} must be one of {}, behind the batch", operands[0]));
    }
    let n_classes = positions.remove(axis as usize);
    if !is_i64(&operands[1]) {
        return fail("the targets must be i64");
    }
    dims(&operands[1], &positions, "the targets")?;
    dims(&operands[2], &positions[..1], "the row weights")?;
    if let Some(weights) = operands.get(3) {
        floats(operands, &[3])?;
        dims(weights, &[n_classes], "the class weights")?;
    }
    Ok(positions)
}

/// Checks a prediction, a target of its shape, row weights and the weight `[]` that a mean is over; returns the
/// prediction's type.
fn pair(operands: &[Type]) -> Result<Type, ShapeError> {
    arity(operands, 3, 4)?;
    floats(operands, &[0, 1, 2])?;
    if let Some(total) = operands.get(3) {
        floats(operands, &[3])?;
        dims(total, &[], "the total")?;
    }
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
    let operands: Vec<Value> = (0..at.operands()).map(|it| at.operand(it)).collect();
    let attrs = at.attrs().clone();
    let own = at.emit(op, &operands, attrs, 0);
    let outer = at.cotangent_if_any(0);
    finish(at, own, outer);
}
