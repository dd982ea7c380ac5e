//! Updates in place: weights, optimizer state, running statistics.

use std::ops::Range;

use super::rules::{all_floats, arity, dims, fail, is_i64};
use super::{OpDef, ShapeError};
use crate::attrs::{Attr, Attrs};
use crate::types::{DType, Type};

pub const OPS: &[OpDef] = &[
    // w, g[, m], lr[, step]: state of fewer bits is rounded at random, by a seed and the step.
    OpDef { writes: |operands| if 4 <= operands { &[0, 2] } else { &[0] }, ..OpDef::made("sgd", &[], sgd) },
    // The same in three: w, m; then for each part of the gradient g, m; then w, m, lr.
    OpDef { writes: |_| &[1], ..OpDef::made("decay", &[], |operands, _| like_weight(operands, 2, 2, 0)) },
    OpDef { writes: |_| &[1], ..OpDef::made("accumulate", &[], |operands, _| like_weight(operands, 2, 2, 0)) },
    OpDef { writes: |_| &[0], ..OpDef::made("descend", &[], |operands, _| like_weight(operands, 3, 3, 1)) },
    // w, g, m, v, lr, step
    OpDef { writes: |_| &[0, 2, 3], ..OpDef::made("adam", &[], adam) },
    OpDef { writes: |_| &[0, 2, 3], ..OpDef::made("adamw", &[], adam) },
    // g: its norm. Then norms: the factor that makes them, as one vector, no longer than `norm`.
    OpDef::made("gradient_norm", &["norm"], |operands, _| {
        all_floats(operands, 1, 1)?;
        Ok(vec![Type::f32(&[])])
    }),
    OpDef::made("clip_scale", &["clip"], |operands, _| {
        all_floats(operands, 1, usize::MAX)?;
        operands.iter().try_for_each(|it| dims(it, &[], "a norm"))?;
        Ok(vec![Type::f32(&[])])
    }),
    // The operands of the update, and a factor of g.
    OpDef {
        writes: |operands| if 5 <= operands { &[0, 2] } else { &[0] },
        ..OpDef::made("sgd_clipped", &[], |operands, attrs| clipped(operands, attrs, sgd))
    },
    OpDef {
        writes: |_| &[0, 2, 3],
        ..OpDef::made("adam_clipped", &[], |operands, attrs| clipped(operands, attrs, adam))
    },
    OpDef {
        writes: |_| &[0, 2, 3],
        ..OpDef::made("adamw_clipped", &[], |operands, attrs| clipped(operands, attrs, adam))
    },
    // w, dy, indices[, m], lr[, step]: the gradient is rows of dy, summed at indices of rows of w.
    OpDef {
        writes: |operands| if 5 <= operands { &[0, 3] } else { &[0] },
        ..OpDef::made("sgd_rows", &[], |operands, attrs| match rounded(operands, attrs, 3..4)? {
            Some(exact) => with_rows(&exact, 6, 6, 2),
            None => with_rows(operands, 4, 5, 1),
        })
    },
    // w, dy, indices, m, v, lr, step
    OpDef { writes: |_| &[0, 3, 4], ..OpDef::made("adam_rows", &[], adam_rows) },
    OpDef { writes: |_| &[0, 3, 4], ..OpDef::made("adamw_rows", &[], adam_rows) },
];

fn sgd(operands: &[Type], attrs: &Attrs) -> Result<Vec<Type>, ShapeError> {
    match rounded(operands, attrs, 2..3)? {
        Some(exact) => like_weight(&exact, 5, 5, 2),
        None => like_weight(operands, 3, 4, 1),
    }
}

fn adam(operands: &[Type], attrs: &Attrs) -> Result<Vec<Type>, ShapeError> {
    let exact = rounded(operands, attrs, 2..4)?;
    like_weight(exact.as_deref().unwrap_or(operands), 6, 6, 2)
}

fn adam_rows(operands: &[Type], attrs: &Attrs) -> Result<Vec<Type>, ShapeError> {
    let exact = rounded(operands, attrs, 3..5)?;
    with_rows(exact.as_deref().unwrap_or(operands), 7, 7, 2)
}

/// Checks an update whose last operand is a number.
fn clipped(
    operands: &[Type],
    attrs: &Attrs,
    update: fn(&[Type], &Attrs) -> Result<Vec<Type>, ShapeError>,
) -> Result<Vec<Type>, ShapeError> {
    let Some((factor, operands)) = operands.split_last() else { return fail("needs an update's operands") };
    if *factor != Type::f32(&[]) {
        return fail("the factor of the gradient must be f32[]");
    }
    update(operands, attrs)
}

/// The operands as if their state, which a seed says to be of bf16 or of 8 bits, were not rounded; none where there is no
/// seed. The first tensor of state may be below zero, the second may not.
fn rounded(operands: &[Type], attrs: &Attrs, state: Range<usize>) -> Result<Option<Vec<Type>>, ShapeError> {
    match attrs.get("seed") {
        None => return Ok(None),
        Some(Attr::Int(_)) => {}
        Some(other) => return fail(format!("the seed must be a whole number, not {other}")),
    }
    let in_8_bits = matches!(operands.get(state.start), Some(Type::Dynamic { .. }));
    let mut types = operands.to_vec();
    for slot in state.clone() {
        let Some(ty) = types.get_mut(slot) else { return fail("has no state that a seed could round") };
        let dims = ty.dims().to_vec();
        let expected = match in_8_bits {
            true => Type::Dynamic { dims: dims.clone(), signed: slot == state.start },
            false => Type::dense(DType::Bf16, &dims),
        };
        if *ty != expected {
            return fail("state that is rounded by a seed must be bf16, or in 8 bits: signed, a variance unsigned");
        }
        *ty = Type::f32(&dims);
    }
    Ok(Some(types))
}

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
