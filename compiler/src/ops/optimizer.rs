//! Updates in place: weights, optimizer state, running statistics.

use super::rules::{all_floats, arity, dims, fail, is_i64};
use super::{OpDef, ShapeError};
use crate::types::Type;

pub const OPS: &[OpDef] = &[
    // w, g[, m], lr
    OpDef {
        writes: |operands| if operands == 4 { &[0, 2] } else { &[0] },
        ..OpDef::made("sgd", &[], |operands, _| like_weight(operands, 3, 4, 1))
    },
    // The same in three: w, m; then for each part of the gradient g, m; then w, m, lr.
    OpDef { writes: |_| &[1], ..OpDef::made("decay", &[], |operands, _| like_weight(operands, 2, 2, 0)) },
    OpDef { writes: |_| &[1], ..OpDef::made("accumulate", &[], |operands, _| like_weight(operands, 2, 2, 0)) },
    OpDef { writes: |_| &[0], ..OpDef::made("descend", &[], |operands, _| like_weight(operands, 3, 3, 1)) },
    // w, g, m, v, lr, step
    OpDef { writes: |_| &[0, 2, 3], ..OpDef::made("adam", &[], |operands, _| like_weight(operands, 6, 6, 2)) },
    OpDef { writes: |_| &[0, 2, 3], ..OpDef::made("adamw", &[], |operands, _| like_weight(operands, 6, 6, 2)) },
    // w, dy, indices[, m], lr: the gradient is rows of dy, summed at indices of rows of w.
    OpDef {
        writes: |operands| if operands == 5 { &[0, 3] } else { &[0] },
        ..OpDef::made("sgd_rows", &[], |operands, _| with_rows(operands, 4, 5, 1))
    },
    // w, dy, indices, m, v, lr, step
    OpDef { writes: |_| &[0, 3, 4], ..OpDef::made("adam_rows", &[], |operands, _| with_rows(operands, 7, 7, 2)) },
    OpDef { writes: |_| &[0, 3, 4], ..OpDef::made("adamw_rows", &[], |operands, _| with_rows(operands, 7, 7, 2)) },
];

/// Checks a weight, rows of its gradient with their indices, and the rest as [`like_weight`] does.
fn with_rows(operands: &[Type], least: usize, most: usize, scalars: usize) -> Result<Vec<Type>, ShapeError> {
    arity(operands, least, most)?;
    let [w, dy, indices, rest @ ..] = operands else {
        return fail("needs a weight, rows and indices");
    };
    if w.rank() == 0 || !is_i64(indices) || !dy.is_f32() {
        return fail("needs f32 rows and i64 indices for a weight with axes");
    }
    dims(dy, &[indices.dims(), &w.dims()[1..]].concat(), "the rows")?;
    like_weight(&[&[w.clone(), w.clone()], rest].concat(), least - 1, most - 1, scalars)
}

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
