//! Updates in place: weights, optimizer state, running statistics.

use super::rules::{all_floats, dims};
use super::{OpDef, ShapeError};
use crate::types::Type;

pub const OPS: &[OpDef] = &[
    // w, g[, m], lr
    OpDef {
        writes: |operands| if operands == 4 { &[0, 2] } else { &[0] },
        ..OpDef::made("sgd", &[], |operands, _| like_weight(operands, 3, 4, 1))
    },
    // w, g, m, v, lr, step
    OpDef { writes: |_| &[0, 2, 3], ..OpDef::made("adam", &[], |operands, _| like_weight(operands, 6, 6, 2)) },
    OpDef { writes: |_| &[0, 2, 3], ..OpDef::made("adamw", &[], |operands, _| like_weight(operands, 6, 6, 2)) },
];

/// Checks that all operands but the last `scalars` have the weight's shape, and those none.
fn like_weight(operands: &[Type], least: usize, most: usize, scalars: usize) -> Result<Vec<Type>, ShapeError> {
    all_floats(operands, least, most)?;
    let (tensors, scalars) = operands.split_at(operands.len() - scalars);
    for tensor in &tensors[1..] {
        dims(tensor, tensors[0].dims(), "gradient and state")?;
    }
    for scalar in scalars {
        dims(scalar, &[], "the learning rate and the step")?;
    }
    Ok(vec![])
}
