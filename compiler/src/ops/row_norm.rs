//! Normalization of the last axes, each place of the others on its own: by mean and deviation, or by the root mean square.
//!
//! Each op has two gradients. The one that differentiation emits reads the exact input. The other one reads the output,
//! which the next layer saves anyway, and may do so in its pruned copy: a pass puts it in the first one's place.

use super::rules::{all_floats, dims, fail, unpacked};
use super::{Batch, Estimate, Gradient, Import, Lower, OpDef, ShapeError, nothing};
use crate::attrs::Attrs;
use crate::autodiff::Vjp;
use crate::graph::Value;
use crate::import::rules;
use crate::types::Type;

pub const OPS: &[OpDef] = &[
    norm(
        "layer_norm",
        &["y", "mean", "rstd"],
        LAYER_NORMS,
        |operands, attrs| norm_shape(operands, attrs, 3, 2),
        |at| {
            let statistics = [at.result(1), at.result(2)];
            vjp(at, "layer_norm_grad", &statistics);
        },
    ),
    OpDef {
        estimates: &[(1, Estimate::Published)],
        reuses: &[0],
        ..OpDef::made("layer_norm_grad", &["dx", "dscale", "dbias"], |operands, _| grad_shape(operands, 2, 1, 2))
    },
    OpDef {
        estimates: &[(1, Estimate::Safe)],
        reuses: &[0],
        ..OpDef::made("layer_norm_grad_from_output", &["dx", "dscale", "dbias"], |operands, _| {
            grad_shape(&unpacked(operands, &[1]), 1, 2, 2)
        })
    },
    norm(
        "rms_norm",
        &["y", "rstd"],
        RMS_NORMS,
        |operands, attrs| norm_shape(operands, attrs, 2, 1),
        |at| {
            let statistics = [at.result(1)];
            vjp(at, "rms_norm_grad", &statistics);
        },
    ),
    OpDef {
        estimates: &[(1, Estimate::Published)],
        reuses: &[0],
        ..OpDef::made("rms_norm_grad", &["dx", "dscale"], |operands, _| grad_shape(operands, 1, 1, 1))
    },
    OpDef {
        estimates: &[(1, Estimate::Safe)],
        reuses: &[0],
        ..OpDef::made("rms_norm_grad_from_output", &["dx", "dscale"], |operands, _| {
            grad_shape(&unpacked(operands, &[1]), 1, 1, 1)
        })
    },
];

const LAYER_NORMS: Import = &[
    ("LayerNormalization", rules::layer_norm),
    ("SkipLayerNormalization", rules::skip_layer_norm),
    ("InstanceNormalization", rules::instance_norm),
    ("GroupNormalization", rules::group_norm),
    ("MeanVarianceNormalization", rules::mean_variance_norm),
];

const RMS_NORMS: Import = &[
    ("RMSNormalization", rules::rms_norm),
    ("SimplifiedLayerNormalization", rules::rms_norm),
    ("SkipSimplifiedLayerNormalization", rules::skip_rms_norm),
    ("LpNormalization", rules::lp_norm),
];

const fn norm(
    name: &'static str,
    results: &'static [&'static str],
    import: Import,
    shape: fn(&[Type], &Attrs) -> Result<Vec<Type>, ShapeError>,
    rule: fn(&mut Vjp<'_>),
) -> OpDef {
    OpDef {
        name,
        results,
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

/// x and up to `most - 1` tensors of its normalized axes; y and `statistics` numbers for each place of the other axes.
fn norm_shape(operands: &[Type], attrs: &Attrs, most: usize, statistics: usize) -> Result<Vec<Type>, ShapeError> {
    all_floats(operands, 1, most)?;
    let x = operands[0].dims();
    let axis = attrs.int_or("axis", -1);
    if axis < 0 || x.len() as i64 <= axis {
        return fail(format!("axis {axis} is not in {x:?}"));
    }
    let (lead, row) = x.split_at(axis as usize);
    for operand in &operands[1..] {
        dims(operand, row, "what each normalized element is scaled or shifted by")?;
    }
    Ok([vec![operands[0].clone()], vec![Type::f32(lead); statistics]].concat())
}

/// dy, x or y, `statistics` of the rows, and up to `most` tensors of the normalized axes, the first of them the scale:
/// dx, and where there is a scale, the gradients of `affine` of them.
fn grad_shape(operands: &[Type], statistics: usize, most: usize, affine: usize) -> Result<Vec<Type>, ShapeError> {
    let least = 2 + statistics;
    all_floats(operands, least, least + most)?;
    let dy = operands[0].dims();
    dims(&operands[1], dy, "operand 1")?;
    let lead = operands[2].dims();
    if !dy.starts_with(lead) || dy.len() == lead.len() {
        return fail(format!("{lead:?} is not one number for each row of {dy:?}"));
    }
    let row = &dy[lead.len()..];
    for statistic in &operands[2..least] {
        dims(statistic, lead, "a statistic")?;
    }
    for operand in &operands[least..] {
        dims(operand, row, "scale or bias")?;
    }
    let affine = if least < operands.len() { affine } else { 0 };
    Ok([vec![operands[0].clone()], vec![Type::f32(row); affine]].concat())
}

fn vjp(at: &mut Vjp<'_>, op: &str, statistics: &[Value]) {
    let (dy, x) = (at.cotangent(0), at.operand(0));
    if !at.wants(0) && !at.wants(1) {
        // The bias alone: no need to save anything.
        at.grad_reduced(2, dy);
        return;
    }
    let scale = (1 < at.operands()).then(|| at.operand(1));
    let operands: Vec<_> = [dy, x].into_iter().chain(statistics.iter().copied()).chain(scale).collect();
    let slots: Vec<usize> = (0..at.operands()).collect();
    at.grads(&slots, op, &operands, Attrs::new());
}
