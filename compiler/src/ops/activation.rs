//! Activations. Piecewise linear ones save a bit an element; smooth ones save what their derivative is made of.

use super::elementwise::unary;
use super::rules::{all_floats, arity, broadcast, fail, floats, mask, same_pair, shaped, with_mask};
use super::{Batch, Estimate, Gradient, Import, Lower, OpDef, ShapeError, Slope, nothing};
use crate::attrs::Attrs;
use crate::autodiff::Vjp;
use crate::import::rules;
use crate::types::Type;

pub const OPS: &[OpDef] = &[
    masked("relu", &[("Relu", rules::relu)], |at| masked_vjp(at, 1.0, 0.0)),
    masked("leaky_relu", &[("LeakyRelu", rules::leaky_relu)], |at| {
        masked_vjp(at, 1.0, at.attrs().float_or("alpha", 0.01))
    }),
    masked("clip", &[("Clip", rules::clip)], |at| masked_vjp(at, 1.0, 0.0)),
    masked("thresholded_relu", &[("ThresholdedRelu", rules::thresholded_relu)], |at| masked_vjp(at, 1.0, 0.0)),
    masked("shrink", &[("Shrink", rules::shrink)], |at| masked_vjp(at, 1.0, 0.0)),
    masked("hard_sigmoid", &[("HardSigmoid", rules::hard_sigmoid)], |at| {
        masked_vjp(at, at.attrs().float_or("alpha", 0.2), 0.0)
    }),
    OpDef {
        reuses: &[0],
        ..OpDef::made("masked_scale", &["dx"], |operands, _| {
            arity(operands, 2, 2)?;
            floats(operands, &[0])?;
            mask(&operands[1], operands[0].dims())?;
            Ok(vec![operands[0].clone()])
        })
    },
    unary("sigmoid", &[("Sigmoid", rules::sigmoid)], |at| from_result(at, "sigmoid_grad")),
    OpDef { reuses: &[0, 1], ..OpDef::made("sigmoid_grad", &["dx"], same_pair) },
    unary("tanh", &[("Tanh", rules::tanh)], |at| from_result(at, "tanh_grad")),
    OpDef { reuses: &[0, 1], ..OpDef::made("tanh_grad", &["dx"], same_pair) },
    unary("hard_swish", &[("HardSwish", rules::hard_swish)], |at| {
        let (dy, x) = (at.cotangent(0), at.operand(0));
        at.grad(0, "hard_swish_grad", &[dy, x], Attrs::new());
    }),
    OpDef {
        estimates: &[(1, Estimate::Slope(Slope { function: "hard_swish", rounded: false }))],
        reuses: &[0, 1],
        ..OpDef::made("hard_swish_grad", &["dx"], same_pair)
    },
    OpDef {
        name: "prelu",
        results: &["y", "mask"],
        import: &[("PRelu", rules::prelu)],
        shape: prelu,
        gradient: Gradient::Rule(prelu_vjp),
        weight: None,
        estimates: &[],
        batch: Batch::Keeps,
        reuses: &[],
        writes: nothing,
        lower: Lower::Instruction,
    },
    OpDef::made("prelu_input_grad", &["dx"], |operands, _| {
        arity(operands, 3, 3)?;
        floats(operands, &[0, 2])?;
        mask(&operands[1], operands[0].dims())?;
        broadcast(operands[0].dims(), operands[2].dims())?;
        Ok(vec![operands[0].clone()])
    }),
    OpDef::made("prelu_slope_grad", &["dslope"], |operands, attrs| {
        same_pair(operands, attrs)?;
        shaped(attrs)
    }),
    OpDef {
        name: "dropout",
        results: &["y", "mask"],
        import: &[("Dropout", rules::dropout)],
        shape: |operands, _| {
            all_floats(operands, 2, 2)?;
            Ok(vec![operands[0].clone(), Type::bits(operands[0].dims())])
        },
        gradient: Gradient::Rule(|at| masked_vjp(at, 1.0 / (1.0 - at.attrs().float_or("ratio", 0.5)), 0.0)),
        weight: None,
        estimates: &[],
        batch: Batch::Keeps,
        reuses: &[0],
        writes: nothing,
        lower: Lower::Instruction,
    },
];

const fn masked(name: &'static str, import: Import, rule: fn(&mut Vjp<'_>)) -> OpDef {
    OpDef {
        name,
        results: &["y", "mask"],
        import,
        shape: with_mask,
        gradient: Gradient::Rule(rule),
        weight: None,
        estimates: &[],
        batch: Batch::Keeps,
        reuses: &[0],
        writes: nothing,
        lower: Lower::Instruction,
    }
}

/// The derivative is `on` where the mask is set and `off` elsewhere.
fn masked_vjp(at: &mut Vjp<'_>, on: f64, off: f64) {
    let (dy, mask) = (at.cotangent(0), at.result(1));
    at.grad(0, "masked_scale", &[dy, mask], Attrs::new().with("on", on).with("off", off));
}

/// The derivative is a function of the result.
fn from_result(at: &mut Vjp<'_>, op: &str) {
    let (dy, y) = (at.cotangent(0), at.result(0));
    at.grad(0, op, &[dy, y], Attrs::new());
}

fn prelu(operands: &[Type], _: &Attrs) -> Result<Vec<Type>, ShapeError> {
    all_floats(operands, 2, 2)?;
    let x = operands[0].dims();
    if broadcast(x, operands[1].dims())? != x {
        return fail(format!("the slope {:?} does not broadcast to {x:?}", operands[1].dims()));
    }
    Ok(vec![operands[0].clone(), Type::bits(x)])
}

fn prelu_vjp(at: &mut Vjp<'_>) {
    let (dy, x, slope, mask) = (at.cotangent(0), at.operand(0), at.operand(1), at.result(1));
    if at.wants(0) {
        at.grad(0, "prelu_input_grad", &[dy, mask, slope], Attrs::new());
    }
    if at.wants(1) {
        let shape = at.dims(slope);
        at.grad(1, "prelu_slope_grad", &[dy, x], Attrs::new().with("shape", shape.as_slice()));
    }
}
