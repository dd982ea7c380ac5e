//! Normalization: batch statistics, running statistics, and across channels.

use super::rules::{all_floats, dims, fail, same, same_pair};
use super::{Batch, Estimate, Gradient, Lower, OpDef, ShapeError, nothing};
use crate::attrs::Attrs;
use crate::autodiff::Vjp;
use crate::import::rules;
use crate::types::Type;

pub const OPS: &[OpDef] = &[
    OpDef {
        name: "batch_norm",
        results: &["y"],
        import: &[("BatchNormalization", rules::batch_norm)],
        shape: |operands, _| {
            per_channel(operands, 5)?;
            Ok(vec![operands[0].clone()])
        },
        gradient: Gradient::Rule(running_vjp),
        weight: None,
        estimates: &[],
        batch: Batch::Keeps,
        reuses: &[0],
        writes: nothing,
        lower: Lower::Instruction,
    },
    OpDef {
        reuses: &[0],
        ..OpDef::made("batch_norm_input_grad", &["dx"], |operands, _| {
            per_channel(operands, 3)?;
            Ok(vec![operands[0].clone()])
        })
    },
    OpDef {
        estimates: &[(1, Estimate::Forced)],
        ..OpDef::made("batch_norm_scale_grad", &["dscale"], |operands, _| {
            all_floats(operands, 4, 4)?;
            dims(&operands[1], operands[0].dims(), "x")?;
            let without_x = [operands[0].clone(), operands[2].clone(), operands[3].clone()];
            Ok(vec![Type::f32(&[per_channel(&without_x, 3)?])])
        })
    },
    OpDef {
        name: "batch_norm_train",
        results: &["y", "mean", "rstd"],
        import: &[],
        shape: |operands, _| {
            let channels = Type::f32(&[per_channel(operands, 3)?]);
            Ok(vec![operands[0].clone(), channels.clone(), channels])
        },
        gradient: Gradient::Rule(|at| {
            let operands = [at.cotangent(0), at.operand(0), at.operand(1), at.result(1), at.result(2)];
            at.grads(&[0, 1, 2], "batch_norm_train_grad", &operands, Attrs::new());
        }),
        weight: None,
        estimates: &[],
        batch: Batch::Keeps,
        reuses: &[],
        writes: nothing,
        lower: Lower::Instruction,
    },
    OpDef {
        estimates: &[(1, Estimate::Forced)],
        ..OpDef::made("batch_norm_train_grad", &["dx", "dscale", "dbias"], |operands, _| {
            all_floats(operands, 5, 5)?;
            dims(&operands[1], operands[0].dims(), "x")?;
            let without_x: Vec<Type> = [0, 2, 3, 4].iter().map(|&it| operands[it].clone()).collect();
            let channels = Type::f32(&[per_channel(&without_x, 4)?]);
            Ok(vec![operands[0].clone(), channels.clone(), channels])
        })
    },
    OpDef {
        writes: |_| &[0, 1],
        ..OpDef::made("batch_norm_update", &[], |operands, _| {
            all_floats(operands, 4, 4)?;
            match operands.iter().all(|it| it == &operands[0]) {
                true => Ok(vec![]),
                false => fail("needs four operands of one shape"),
            }
        })
    },
    OpDef {
        name: "lrn",
        results: &["y"],
        import: &[("LRN", rules::lrn)],
        shape: same,
        gradient: Gradient::Rule(|at| {
            let (dy, x, attrs) = (at.cotangent(0), at.operand(0), at.attrs().clone());
            at.grad(0, "lrn_grad", &[dy, x], attrs);
        }),
        weight: None,
        estimates: &[],
        batch: Batch::Keeps,
        reuses: &[],
        writes: nothing,
        lower: Lower::Instruction,
    },
    OpDef::made("lrn_grad", &["dx"], same_pair),
];

/// Checks that all operands but the first are one number for each channel (axis 1); returns their count.
fn per_channel(operands: &[Type], count: usize) -> Result<u64, ShapeError> {
    all_floats(operands, count, count)?;
    let Some(&channels) = operands[0].dims().get(1) else {
        return fail("needs a channel axis");
    };
    for operand in &operands[1..] {
        dims(operand, &[channels], "an operand with one number for each channel")?;
    }
    Ok(channels)
}

fn running_vjp(at: &mut Vjp<'_>) {
    let (dy, x, scale, mean, var) = (at.cotangent(0), at.operand(0), at.operand(1), at.operand(3), at.operand(4));
    let attrs = at.attrs().only(&["epsilon"]);
    if at.wants(0) {
        at.grad(0, "batch_norm_input_grad", &[dy, scale, var], attrs.clone());
    }
    if at.wants(1) {
        at.grad(1, "batch_norm_scale_grad", &[dy, x, mean, var], attrs);
    }
    if at.wants(2) {
        let channels = at.dims(scale)[0];
        at.grad_per_channel(2, dy, channels);
    }
}
